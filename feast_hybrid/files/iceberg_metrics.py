"""What a manifest says of a data file's columns, by which readers leave the file out: counts, and bounds of values.

A bound that is wrong makes rows vanish, so they are found in the rows themselves, in the numbers that Iceberg keeps:
the statistics of Parquet go through Python's times, which end in the year 9999, and leave out long texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import to_bytes
from pyiceberg.types import BinaryType, NestedField, PrimitiveType, StringType
from pyiceberg.utils.truncate import truncate_upper_bound_binary_string, truncate_upper_bound_text_string

from feast_hybrid.arrow.convert import combined
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.iceberg_types import leaf_numbers

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

_DEFAULT_MODE = "write.metadata.metrics.default"
_COLUMN_MODE = "write.metadata.metrics.column."
#: What Iceberg's own writers keep of long texts.
_USUAL = "truncate(16)"


@dataclass(frozen=True)
class Metrics:
    """What is known of a file's columns, by their numbers.

    Attributes:
        sizes: bytes in the file.
        values: values, nulls included.
        nulls: nulls among them.
        nans: and values that are no number: 0, where there are none.
        lower: no value is less; as Iceberg writes single values.
        upper: no value is greater.
    """

    sizes: dict[int, int]
    values: dict[int, int] = field(default_factory=dict)
    nulls: dict[int, int] = field(default_factory=dict)
    nans: dict[int, int] = field(default_factory=dict)
    lower: dict[int, bytes] = field(default_factory=dict)
    upper: dict[int, bytes] = field(default_factory=dict)


def metrics_of(rows: pa.Table, schema: Schema, footer: Any, properties: Mapping[str, str]) -> Metrics:
    """The metrics of a file.

    Args:
        rows: in the file, in the schema's columns.
        schema: of the table.
        footer: of the file, as pyarrow gives it.
        properties: of the table, which say how much is kept.

    Raises:
        SchemaError: a property is none that Iceberg has.
    """
    metrics = Metrics(_sizes(footer, leaf_numbers(schema)))
    for column in schema.fields:
        keeps = _Kept.of(column.name, properties)
        if keeps.counts and isinstance(column.field_type, PrimitiveType):
            _describe(metrics, column, combined(rows.column(column.name)), keeps)
    return metrics


def _sizes(footer: Any, numbers: Sequence[int]) -> dict[int, int]:
    groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
    return {
        number: sum(group.column(place).total_compressed_size for group in groups)
        for place, number in enumerate(numbers)
    }


@dataclass(frozen=True)
class _Kept:
    """How much a table keeps of a column: see ``write.metadata.metrics`` of Iceberg."""

    counts: bool
    bounds: bool
    length: int | None = None

    @classmethod
    def of(cls, column: str, properties: Mapping[str, str]) -> _Kept:
        name = _COLUMN_MODE + column if _COLUMN_MODE + column in properties else _DEFAULT_MODE
        mode = properties.get(name, _USUAL).strip().lower()
        known = {"none": cls(False, False), "counts": cls(True, False), "full": cls(True, True)}
        if mode in known:
            return known[mode]
        length = mode.removeprefix("truncate(").removesuffix(")")
        if mode != f"truncate({length})" or not length.isdecimal() or not int(length):
            raise SchemaError(f"the table's property {name} is {mode!r}; it has to be one such as {_USUAL!r}")
        return cls(True, True, int(length))


def _describe(metrics: Metrics, column: NestedField, values: pa.Array, keeps: _Kept) -> None:
    number = column.field_id
    metrics.values[number], metrics.nulls[number] = len(values), values.null_count
    if pa.types.is_floating(values.type):
        if pc.any(pc.is_nan(values)).as_py():
            # Spark ranks NaN above all numbers, and Iceberg's readers take it for none: they would leave a file out
            # by what it holds besides, or for nothing but NaN. So nothing is said, and it is looked into.
            return
        metrics.nans[number] = 0
    if not keeps.bounds:
        return
    found = pc.min_max(in_numbers(values))
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is None:
        return
    data_type = column.field_type
    assert isinstance(data_type, PrimitiveType)
    if isinstance(low, float):  # of two zeros the negative one comes first
        low, high = (-0.0 if low == 0 else low), (0.0 if high == 0 else high)
    if isinstance(data_type, StringType):
        low, high = low[: keeps.length], truncate_upper_bound_text_string(high, keeps.length)
        high = None if high is not None and _has_surrogate(high) else high
    elif isinstance(data_type, BinaryType):
        low, high = low[: keeps.length], truncate_upper_bound_binary_string(high, keeps.length)
    metrics.lower[number] = to_bytes(data_type, low)
    if high is not None:
        metrics.upper[number] = to_bytes(data_type, high)


def _has_surrogate(text: str) -> bool:
    """Whether the next letter, by which a bound was raised, is none that UTF-8 has."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def in_numbers(values: pa.Array) -> pa.Array:
    """Days, times and instants as the whole numbers by which Iceberg keeps them; other values as they are."""
    is_ = pa.types
    if is_.is_date32(values.type):
        return values.view(pa.int32())
    if is_.is_timestamp(values.type) or is_.is_time64(values.type):
        return values.view(pa.int64())
    return values
