"""Files of JSON and XML that lack a column of which others have values: Spark unites their columns, and leaves nulls.

Without its key or its event time a row is found by nobody, so such a file must not go unnoticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyspark.sql import functions as F

from feast_hybrid.arrow.names import find_name, positions_of
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.globs import escape

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from feast_hybrid.files.listing import DataFile

#: In how many files of nulls one job looks for the names of columns.
_FILES_OF_A_JOB = 1000
#: For how many files it is remembered that they were looked through.
_REMEMBERED = 200_000

_seen: set[object] = set()


def require_in_each_text(
    frame: DataFrame,
    required: Collection[str],
    *,
    file_format: str,
    given: Collection[str],
    read_text: Callable[[list[str]], DataFrame],
    what: str,
    listed: Sequence[DataFile] = (),
) -> None:
    """Refuse a file with rows that lacks a column without which they would be found by nobody.

    A file in which a column has no value at all is searched for the column's name: nulls may be written as such.
    Reads all rows, unless they are those of files that were seen before.

    Args:
        frame: the rows of all files.
        required: the columns: keys and event time. Those that no file has are left to who needs them.
        file_format: ``json`` or ``xml``.
        given: the columns that folders give.
        read_text: gives the lines of files, by the paths of their URIs, glob signs escaped.
        what: names the source and its place, for errors.
        listed: the files, as far as they are known.

    Raises:
        SchemaError: names the file and the column.
        PySparkException: the rows cannot be read.
    """
    found = {name: find_name(name, frame.columns) for name in required if not positions_of(name, list(given))}
    columns = [column for column in found.values() if column is not None]
    keys = {(what, tuple(columns), file.path, file.version) for file in listed if file.version.mark}
    if not columns or (listed and len(keys) == len(listed) and keys <= _seen):
        return
    names = {column: name for name, column in found.items() if column is not None}
    suspects = _files_of_nulls(frame, list(names))
    for start in range(0, len(suspects), _FILES_OF_A_JOB):
        some = dict(list(suspects.items())[start : start + _FILES_OF_A_JOB])
        named = _names_in(read_text([escape(_path(file)) for file in some]), list(names), file_format)
        for file, nulls in some.items():
            missing = nulls - named.get(file, set())
            if missing:
                raise SchemaError(
                    f"{what}: {_path(file)} has no column {names[min(missing)]!r}, without which its rows would be "
                    "lost. Write it anew with the column, or move it away."
                )
    if len(_seen) > _REMEMBERED:
        _seen.clear()
    _seen.update(keys)


def _files_of_nulls(frame: DataFrame, columns: Sequence[str]) -> dict[str, set[str]]:
    """The URIs of files with rows in which columns have no value, and these columns."""
    own = {column: f"c{n}" for n, column in enumerate(frame.columns)}  # others may differ by case alone
    values = _by_file(frame.toDF(*own.values()), {column: F.col(own[column]).isNotNull() for column in columns})
    nulls = {file: set(columns) - have for file, have in values.items()}
    return {file: columns for file, columns in sorted(nulls.items()) if columns}


def _names_in(lines: DataFrame, columns: Sequence[str], file_format: str) -> dict[str, set[str]]:
    """Which columns the lines of files name, by the files' URIs."""
    return _by_file(lines, {column: F.col("value").rlike(_pattern(column, file_format)) for column in columns})


def _by_file(frame: DataFrame, conditions: Mapping[str, Column]) -> dict[str, set[str]]:
    """The names of the conditions that any row of a file meets, by the files' URIs."""
    flags = [condition.alias(f"f{n}") for n, condition in enumerate(conditions.values())]
    by_file = frame.select(F.input_file_name().alias("file"), *flags).groupBy("file")
    met = by_file.agg(*(F.max(f"f{n}").alias(f"f{n}") for n in range(len(flags)))).collect()
    return {row["file"]: {name for n, name in enumerate(conditions) if row[f"f{n}"]} for row in met}


def _pattern(column: str, file_format: str) -> str:
    """What a line has that names a column."""
    if file_format == "json":
        spellings = {json.dumps(column), json.dumps(column, ensure_ascii=False)}
        return "|".join(rf"{re.escape(spelling)}\s*:" for spelling in sorted(spellings))
    return rf"(^|\W){re.escape(column.removeprefix('_'))}(\W|$)"


def _path(file: str) -> str:
    return unquote(urlsplit(file).path)
