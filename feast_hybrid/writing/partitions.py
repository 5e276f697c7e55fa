"""Rows divided among the folders of a partitioned place, ``day=2026-01-10/hour=7``, as Spark and Hive name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import combined
from feast_hybrid.errors import SchemaError, WriteError
from feast_hybrid.files.partitions import HIDDEN_SUFFIX, NULL_PARTITION, folder_name, partition_type

if TYPE_CHECKING:
    from feast_hybrid.sources.spec import SourceSpec

_TEXT = ("string", "large_string", "string_view")


def split(table: pa.Table, columns: Sequence[str], kept: Sequence[str]) -> dict[str, pa.Table]:
    """The rows of each folder.

    Args:
        table: the rows; order within a folder is kept.
        columns: the partition columns, the outermost first. None: one folder without a name, ``""``.
        kept: the columns that files hold; as a rule not those that folders tell.

    Raises:
        SchemaError: a partition column is of a type whose values have no one text.
    """
    if not columns:
        return {"": table.select(kept)}
    folders = [[folder_name(column, text) for text in texts_of(table.column(column), column)] for column in columns]
    rows = table.select(kept)
    encoded = pa.array(["/".join(levels) for levels in zip(*folders, strict=True)]).dictionary_encode()
    return {
        str(name): rows.filter(pc.equal(encoded.indices, number)) for number, name in enumerate(encoded.dictionary)
    }


def texts_of(column: pa.ChunkedArray, name: str) -> list[str | None]:
    """Values of a partition column as text.

    Raises:
        SchemaError: its type has no one text for a value, as floating point has not.
    """
    data_type, is_ = column.type, pa.types
    if is_.is_dictionary(data_type):
        return texts_of(column.cast(data_type.value_type), name)
    plain = is_.is_integer(data_type) or is_.is_boolean(data_type) or is_.is_date(data_type) or is_.is_null(data_type)
    if plain or str(data_type) in _TEXT:
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
        return texts
    raise SchemaError(
        f"partition column {name!r} is {data_type}; the name of a folder takes text, integers, dates and booleans."
    )


def require_kept(table: pa.Table, columns: Sequence[str], *, what: str, suffix_is_encoded: bool = False) -> None:
    """Refuse rows whose text the name of a folder does not keep: it would be read as null, or not at all.

    Args:
        table: the rows.
        columns: the partition columns.
        what: how an error names the rows and the place.
        suffix_is_encoded: whether who writes encodes the name that readers leave out, as :func:`split` does.

    Raises:
        WriteError: names the column, the row and the text.
    """
    for column in columns:
        values = table.column(column)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if str(values.type) not in _TEXT:
            continue
        values = values.cast(pa.string())
        wrong = pc.is_in(values, pa.array(["", NULL_PARTITION]))
        meaning = "is read as null"
        if not suffix_is_encoded and not pc.any(wrong).as_py():
            wrong, meaning = pc.ends_with(values, HIDDEN_SUFFIX), "is read by nobody"
        row = pc.index(wrong, True).as_py()
        if row >= 0:
            raise WriteError(
                f"{what}: row {row} has {values[row].as_py()!r} in the partition column {column!r}, which as the "
                f"name of a folder {meaning}. Nothing was written."
            )


def require_fitting(
    table: pa.Table, column: str, declared: pa.DataType | None, there: pa.DataType | None, *, what: str
) -> None:
    """Refuse rows whose value in a partition column is none of the column's type: reading would refuse all rows.

    Args:
        table: the rows.
        column: of folders alone.
        declared: its type by what is declared.
        there: its type by that and by the folders that are there; None where none are.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: names the column, the row, the value and the type.
    """
    texts = texts_of(table.column(column), column)
    for text in dict.fromkeys(filter(None, texts)):
        if not _fits(column, text, declared, there):
            raise SchemaError(
                f"{what}: row {texts.index(text)} has {text!r} in the partition column {column!r}, which is "
                f"{there if declared is None else declared}. Nothing was written."
            )


def _fits(column: str, text: str, declared: pa.DataType | None, there: pa.DataType | None) -> bool:
    try:
        found = partition_type(column, [text], declared)
    except SchemaError:
        return False
    if declared is not None or there is None:
        return True
    # Undeclared folders have the type that all are written in, or else they are text.
    is_ = pa.types
    return bool(found == there or is_.is_string(there) or (is_.is_integer(found) and is_.is_integer(there)))


def dates_of(times: pa.ChunkedArray, text_format: str) -> pa.Array:
    """The text of each time in UTC, as ``strftime`` writes it; null for a null.

    Args:
        times: instants, naive times in UTC, or dates.
        text_format: of a partition column.
    """
    seconds = combined(pc.floor_temporal(times.cast(pa.timestamp("us"), safe=False), unit="second"))
    encoded = seconds.dictionary_encode()
    texts = pa.array([time.strftime(text_format) for time in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def with_dates(table: pa.Table, column: str, dates: pa.Array, *, what: str) -> pa.Table:
    """The rows with the partition column that their times give.

    Raises:
        WriteError: they have that column with another value: a read that is cut by time would never find them.
    """
    if column not in table.column_names:
        return table.append_column(column, dates)
    for row, (given, date) in enumerate(zip(texts_of(table.column(column), column), dates.to_pylist(), strict=True)):
        # An integer is written without the zeros that a format may ask for.
        if given is not None and given != date and given != (date or "").lstrip("0"):
            raise WriteError(
                f"{what}: row {row} has {given!r} in the partition column {column!r}, but its time belongs to "
                f"{date!r}. Leave that to feast-hybrid: null will do."
            )
    return table.set_column(table.column_names.index(column), column, dates)


def with_date_partition(table: pa.Table, source: SourceSpec, data_type: pa.DataType | None, *, what: str) -> pa.Table:
    """The rows with the source's ``date_partition_column``, derived from their event times in UTC.

    Args:
        table: the rows, in the source's names.
        source: says the column, its format, and the event time.
        data_type: of the column where files or a table hold it; None for text, as folders have it.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: the rows have no event time.
        WriteError: they have that column with another value.
    """
    column = source.date_partition_column
    assert column is not None
    if source.timestamp not in table.column_names:
        raise SchemaError(
            f"{what}: columns missing {source.timestamp}, the event time that {column} is derived from."
        )
    dates = dates_of(table.column(source.timestamp), source.date_partition_format)
    table = with_dates(table, column, dates, what=what)
    if data_type is None:
        return table
    return table.set_column(table.column_names.index(column), column, dates.cast(data_type))
