"""On-demand feature views on Spark: Feast's own transformation, applied to Arrow batches in the executors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from feast.type_map import feast_value_type_to_pa
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

if TYPE_CHECKING:
    from feast.on_demand_feature_view import OnDemandFeatureView
    from pyspark.sql import DataFrame


def with_on_demand_features(
    frame: DataFrame,
    views: Sequence[OnDemandFeatureView],
    feature_refs: Sequence[str],
    full_feature_names: bool,
) -> DataFrame:
    """Add the requested features of on-demand feature views to a frame, lazily.

    A transformation sees the rows of one batch at a time, as it does when it serves; one that looks across rows
    (a mean, a rank) gives other results on a batch than on the whole, here as there.

    Args:
        frame: holds the views' inputs.
        views: the views.
        feature_refs: ``view:feature`` of what was asked for.
        full_feature_names: whether features are called ``view__feature``.
    """

    # Inside, so that it travels to the executors by itself: they need Feast, but not this package.
    def in_utc(data_type: pa.DataType, *, naive: bool) -> pa.DataType:
        """Times and lists of them in UTC, naive ones too if asked for: none of Feast's other types holds times."""
        if pa.types.is_timestamp(data_type) and (data_type.tz or naive):
            return pa.timestamp(data_type.unit, tz="UTC")
        if pa.types.is_list(data_type):
            return pa.list_(data_type.value_field.with_type(in_utc(data_type.value_type, naive=naive)))
        return data_type

    outputs: list[tuple[OnDemandFeatureView, dict[str, pa.DataType]]] = []
    for view in views:
        view_name = view.projection.name_to_use()
        columns = {}
        for feature in view.features:
            if f"{view_name}:{feature.name}" in feature_refs:
                name = f"{view_name}__{feature.name}" if full_feature_names else feature.name
                columns[name] = in_utc(feast_value_type_to_pa(feature.dtype.to_value_type()), naive=True)
        outputs.append((view, columns))
    added = [
        StructField(name, from_arrow_type(data_type)) for _, columns in outputs for name, data_type in columns.items()
    ]

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            # Spark labels instants with the session's zone, which a transformation that asks for the hour would see.
            zoned = [field.with_type(in_utc(field.type, naive=False)) for field in batch.schema]
            table = pa.Table.from_batches([batch]).cast(pa.schema(zoned))
            for view, columns in outputs:
                transformed = view.transform_arrow(table, full_feature_names)
                for name, data_type in columns.items():
                    table = table.append_column(name, transformed[name].cast(data_type))
            yield from table.combine_chunks().to_batches()

    return frame.mapInArrow(transform, StructType([*frame.schema.fields, *added]))
