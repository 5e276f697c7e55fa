"""Files of JSON and XML that lack a column of which others have values: Spark unites their columns, and leaves nulls.

Without its key or its event time a row is found by nobody, so such a file must not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyspark.sql import functions as F

from feast_hybrid.arrow.names import find_name, positions_of
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.globs import escape
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.jobs import run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader

    from feast_hybrid.files.listing import DataFile

#: Formats of which each file says by itself which columns it has, one that is null in all of its rows too.
FORMATS = frozenset({"json", "xml"})

#: With these Spark finds all columns of a file.
_FIND_ALL = {"dropFieldIfAllNull": "false", "samplingRatio": "1.0"}

#: For how many files it is remembered that they were looked through.
_REMEMBERED = 200_000

_seen: set[Hashable] = set()


def require_in_each_file(
    frame: DataFrame,
    required: Collection[str],
    *,
    given: Collection[str],
    reader: DataFrameReader,
    place: str,
    what: str,
    read_as: Hashable,
    listed: Sequence[DataFile] = (),
) -> None:
    """Refuse a file with rows that lacks a column without which they would be found by nobody.

    Spark looks for the columns of each file by itself in which such a column has no value: nulls may be written.
    Reads all rows, unless they are those of files that were seen before.

    Args:
        frame: the rows of all files.
        required: the columns: keys and event time. Those that no file has are left to who needs them.
        given: the columns that folders give.
        reader: reads files as the frame does, but for a schema, which it finds.
        place: what stands before the path in the URIs of the files.
        what: names the source and its place, for errors.
        read_as: the place and all options: what tells this way to read the files from others.
        listed: the files, as far as they are known.

    Raises:
        SchemaError: names the file and the column.
        PySparkException: the rows cannot be read.
    """
    found = {name: find_name(name, frame.columns) for name in required if not positions_of(name, list(given))}
    names = {column: name for name, column in found.items() if column is not None}
    keys = {(read_as, frozenset(names), file.path, file.version) for file in listed if file.version.mark}
    if not names or (listed and len(keys) == len(listed) and keys <= _seen):
        return
    for file, nulls in _files_of_nulls(frame, list(names), what).items():
        path = unquote(urlsplit(file).path)
        columns = analysed(reader.options(**_FIND_ALL).load(f"{place}{escape(path)}")).columns
        missing = sorted(nulls - set(columns))
        if missing:
            raise SchemaError(
                f"{what}: {path} has no column {names[missing[0]]!r}, without which its rows would be lost. Write it "
                "anew with the column, or move it away."
            )
    if len(_seen) > _REMEMBERED:
        _seen.clear()
    _seen.update(keys)


def _files_of_nulls(frame: DataFrame, columns: Sequence[str], what: str) -> Mapping[str, set[str]]:
    """The URIs of files with rows in which columns have no value, and these columns."""
    own = {column: f"c{n}" for n, column in enumerate(frame.columns)}  # others may differ by case alone
    flags = [F.col(own[column]).isNotNull().alias(f"f{n}") for n, column in enumerate(columns)]
    by_file = frame.toDF(*own.values()).select(F.input_file_name().alias("file"), *flags).groupBy("file")
    have = by_file.agg(*(F.max(f"f{n}").alias(f"f{n}") for n in range(len(flags))))
    rows = run(frame.sparkSession, have.collect, timeout=None, what=f"columns that files lack: {what}")
    nulls = {row["file"]: {column for n, column in enumerate(columns) if not row[f"f{n}"]} for row in rows}
    return {file: lacking for file, lacking in sorted(nulls.items()) if lacking}
