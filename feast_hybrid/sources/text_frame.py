"""Frames of paths whose columns Spark finds out: CSV, JSON, Avro and others, and tables of Delta and Iceberg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructField, StructType

from feast_hybrid.errors import SourceError, UnavailableError
from feast_hybrid.files.schema import FolderColumns, folder_columns
from feast_hybrid.sources.file_schema import note_empty_files, source_errors
from feast_hybrid.spark.formats import FILE_OPTIONS
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.lake_options import location_options
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

#: Formats of Spark's own, whose reader takes a time zone, for times without one, and finds partitions in folders.
#: What they are read with, unless the source says otherwise: a row that cannot be read is an error and no nulls, and
#: a file's header is looked at and not its order.
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "parquet": FILE_OPTIONS,
    "orc": FILE_OPTIONS,
    "avro": FILE_OPTIONS,
    "csv": {**FILE_OPTIONS, "mode": "FAILFAST", "enforceSchema": "false"},
    "json": {**FILE_OPTIONS, "mode": "FAILFAST"},
    "xml": {**FILE_OPTIONS, "mode": "FAILFAST"},
    "text": FILE_OPTIONS,
}

#: Formats whose partition columns Spark guesses from the names of folders.
_WITH_FOLDERS = frozenset(_DEFAULTS) - {"parquet", "orc"}


def is_zoned(file_format: str) -> bool:
    """Whether Spark's reader of a format takes a time zone."""
    return file_format in _DEFAULTS


def text_frame(session: SparkSession, source: SourceSpec, location: Location) -> tuple[DataFrame, tuple[str, ...]]:
    """The rows of a path, with the columns that Spark finds, but for those that folders give.

    Returns:
        The frame, and what a reader of the plan should know.

    Raises:
        SourceError: folders have names that Spark reads otherwise.
        SchemaError: a folder's name is none of the declared type.
    """
    file_format = source.file_format or "parquet"
    given = {name.lower() for name in source.options}
    defaults = {name: value for name, value in _DEFAULTS.get(file_format, {}).items() if name.lower() not in given}
    reader = session.read.format(file_format).options(**defaults)
    # The site's settings come last: a source cannot overrule how a site is signed in to.
    reader = reader.options(**source.options).options(**location_options(session, location))
    folders = _folders(session, source, location) if file_format in _WITH_FOLDERS else FolderColumns({}, None, ())
    notes = note_empty_files(source, folders.empty_files)
    frame = analysed(reader.load(str(location)))
    typed = {field.name.lower(): field for field in from_arrow_schema(pa.schema(list(folders.types.items())))}
    fields = [_retyped(field, typed.get(field.name.lower())) for field in frame.schema.fields]
    if fields != frame.schema.fields:
        frame = analysed(reader.schema(StructType(fields)).load(str(location)))
    return frame, notes


def _retyped(field: StructField, of_folders: StructField | None) -> StructField:
    return field if of_folders is None else StructField(field.name, of_folders.dataType, field.nullable)


def _folders(session: SparkSession, source: SourceSpec, location: Location) -> FolderColumns:
    """The columns that folders give, in the types that they have wherever they are read."""
    try:
        with source_errors(source):
            found = folder_columns(location, source.declared)
    except UnavailableError:
        if is_connect(session):  # its server may reach what this process cannot
            return FolderColumns({}, None, ())
        raise
    if found.types and found.only_ours is not None:
        raise SourceError(
            f"{source.label} ({source.describe()}): {found.only_ours}, which Spark's reader of {source.file_format} "
            "takes for something else. Rename the folders, or keep the rows as Parquet."
        )
    return found
