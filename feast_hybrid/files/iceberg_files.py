"""Rows as data files of an Iceberg table, one for each partition, and what a manifest says of them.

All is made in memory: what others may see of it is for the caller to say.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema, sanitize_column_names
from pyiceberg.transforms import DayTransform, HourTransform, MonthTransform, VoidTransform, YearTransform
from pyiceberg.typedef import Record

from feast_hybrid.arrow.convert import combined, convert_by_position
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.iceberg_metrics import in_numbers, metrics_of
from feast_hybrid.files.iceberg_types import arrow_schema

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionField, PartitionSpec

_CODEC = "write.parquet.compression-codec"
_LEVEL = "write.parquet.compression-level"
_HOUR_MICROS = 3_600_000_000


@dataclass(frozen=True)
class NewFile:
    """A data file that is nowhere yet.

    Attributes:
        name: below the folder of the table's data.
        content: of the file.
        rows: that it holds.
        partition: its values, one for each field of the table's partitioning.
        described: what a manifest says of it besides.
    """

    name: str
    content: pa.Buffer
    rows: int
    partition: Record
    described: Mapping[str, Any]

    def entry(self, path: str, spec_id: int) -> DataFile:
        """What a manifest says of the file at a path."""
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=path,
            file_format=FileFormat.PARQUET,
            partition=self.partition,
            record_count=self.rows,
            file_size_in_bytes=self.content.size,
            spec_id=spec_id,
            **self.described,
        )


def data_files(rows: pa.Table, schema: Schema, spec: PartitionSpec, properties: Mapping[str, str]) -> list[NewFile]:
    """The files of rows, one for each partition that they are in.

    Args:
        rows: in the columns and types of :func:`~feast_hybrid.files.iceberg_types.arrow_schema`.
        schema: the table's.
        spec: its partitioning.
        properties: its properties.

    Raises:
        SchemaError: a value is in none of the partitions that the table can have, or a property is none of Iceberg's.
    """
    batch = uuid.uuid4()
    files = []
    for number, (partition, part) in enumerate(_divided(rows, schema, spec)):
        content, footer = _encoded(part, schema, properties)
        metrics = metrics_of(part, schema, footer, properties)
        folder = f"{_folder(spec, partition, schema)}/" if spec.fields else ""
        described = {
            "column_sizes": metrics.sizes,
            "value_counts": metrics.values,
            "null_value_counts": metrics.nulls,
            "nan_value_counts": metrics.nans,
            "lower_bounds": metrics.lower,
            "upper_bounds": metrics.upper,
            "split_offsets": _offsets(footer),
        }
        name = f"{folder}00000-{number}-{batch}.parquet"
        files.append(NewFile(name, content, part.num_rows, partition, described))
    return files


def _encoded(rows: pa.Table, schema: Schema, properties: Mapping[str, str]) -> tuple[pa.Buffer, Any]:
    """A Parquet file and its footer."""
    in_file = arrow_schema(sanitize_column_names(schema))  # names are such as Avro has, too
    columns = [
        column.combine_chunks() if column.type == field.type else convert_by_position(combined(column), field.type)
        for column, field in zip(rows.columns, in_file, strict=True)
    ]
    codec, level = properties.get(_CODEC, "zstd").lower(), properties.get(_LEVEL, "").strip()
    sink = pa.BufferOutputStream()
    try:
        writer = pq.ParquetWriter(
            sink,
            in_file,
            compression="none" if codec == "uncompressed" else codec,
            compression_level=int(level) if level and level != "null" else None,
            store_decimal_as_integer=True,  # as Iceberg asks for
        )
    except (ValueError, OSError, pa.ArrowException) as error:
        raise SchemaError(f"the table's property {_CODEC} is {codec!r} ({_LEVEL}: {level!r}): {error}") from None
    with writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=in_file))
    return sink.getvalue(), writer.writer.metadata


def _offsets(footer: Any) -> list[int]:
    """Where the row groups begin."""
    offsets = []
    for number in range(footer.num_row_groups):
        first = footer.row_group(number).column(0)
        offsets.append(
            min(first.dictionary_page_offset, first.data_page_offset)
            if first.has_dictionary_page
            else first.data_page_offset
        )
    return sorted(offsets)


def _divided(rows: pa.Table, schema: Schema, spec: PartitionSpec) -> list[tuple[Record, pa.Table]]:
    """The rows of each partition, in their order."""
    if not spec.fields:
        return [(Record(), rows)]
    values, places = [], []
    for field in spec.fields:
        of_field, place = _partition_values(rows, schema, field)
        values.append(of_field)
        places.append(place)
    found, of_row = np.unique(np.stack(places, axis=1), axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)
    divided = []
    for number, combination in enumerate(found):
        partition = Record(*[of_field[place] for of_field, place in zip(values, combination, strict=True)])
        divided.append((partition, rows.take(pa.array(np.flatnonzero(of_row == number)))))
    if sum(part.num_rows for _, part in divided) != rows.num_rows:
        raise AssertionError("rows belong to no partition")
    return divided


def _partition_values(rows: pa.Table, schema: Schema, field: PartitionField) -> tuple[list[Any], Any]:
    """The values of a field of partitions, as Iceberg keeps them, and the position of each row's among them."""
    if isinstance(field.transform, VoidTransform):  # of a field that the table has no more
        return [None], np.zeros(rows.num_rows, np.int64)
    column = schema.find_field(field.source_id)
    numbers = in_numbers(combined(rows.column(column.name)))
    if isinstance(field.transform, YearTransform | MonthTransform | DayTransform | HourTransform) and (
        pa.types.is_timestamp(rows.schema.field(column.name).type)
    ):  # which an hour has one of: there are fewer of them than instants
        with suppress(pa.ArrowInvalid):  # of the first hour that 64 bits hold, only the end is there
            numbers = pc.subtract_checked(numbers, _modulo(numbers, _HOUR_MICROS))
    encoded = numbers.dictionary_encode()
    apply = field.transform.transform(column.field_type)
    distinct: dict[Any, int] = {}
    position = []
    for value in [*encoded.dictionary.to_pylist(), None]:
        if isinstance(value, float) and math.isnan(value):
            raise SchemaError(f"column {column.name!r}, which the table is partitioned by, holds NaN")
        try:
            transformed = None if value is None else apply(value)
        except (OverflowError, ValueError) as error:
            raise SchemaError(
                f"column {column.name!r} holds a value that the partition {field.transform} of the table takes not: "
                f"{error}"
            ) from None
        position.append(distinct.setdefault(_key(transformed), len(distinct)))
    values = [key[0] for key in distinct]
    of_row = encoded.indices.fill_null(len(position) - 1).to_numpy(zero_copy_only=False)
    return values, np.array(position)[of_row]


def _key(value: Any) -> tuple[Any, str]:
    """Tells the two zeros of floats apart, as Iceberg does."""
    return value, repr(value) if isinstance(value, float) else ""


def _modulo(numbers: pa.Array, divisor: int) -> pa.Array:
    """What is left of a division that rounds towards the past."""
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(values % divisor, pa.int64())


def _folder(spec: PartitionSpec, partition: Record, schema: Schema) -> str:
    """The folder of a partition, whose name means nothing."""
    try:
        return spec.partition_to_path(partition, schema)
    except (OverflowError, ValueError):  # a time that Python has not
        return "partition"


def partition_columns(schema: Schema, spec: PartitionSpec) -> Sequence[str]:
    """The columns of a table that its partitions are made from.

    Raises:
        SchemaError: a partition is made in a way that this package does not know, or from a part of a column.
    """
    columns = {column.field_id: column for column in schema.fields}
    names = []
    for field in spec.fields:
        if isinstance(field.transform, VoidTransform):
            continue
        column = columns.get(field.source_id)
        if column is None:
            raise SchemaError(f"partitions from a part of a column ({field.name!r})")
        if not field.transform.can_transform(column.field_type):
            name = getattr(field.transform, "_transform", field.transform)  # of one that pyiceberg does not know
            raise SchemaError(f"partitions by {name} ({field.name!r})")
        names.append(column.name)
    return names
