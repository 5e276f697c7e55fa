"""Frames of paths whose columns Spark finds out: CSV, JSON, Avro and others, and tables of Delta and Iceberg.

So are Parquet and ORC files that cannot be read from here. Nowhere does Spark guess what the names of folders mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructField, StructType

from feast_hybrid.arrow.names import value_of
from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.arrow.unify import ConflictsWithDeclaredError, resolve_type, spark_form
from feast_hybrid.errors import SchemaError, SourceError, UnavailableError
from feast_hybrid.files.avro import require_in_each_file
from feast_hybrid.files.folder_columns import FolderColumns, folder_columns
from feast_hybrid.files.globs import SIGNS, expand
from feast_hybrid.files.listing import Listing, list_files
from feast_hybrid.files.resolution import spark_widens
from feast_hybrid.lakes.errors import was_reached
from feast_hybrid.sources import missing_columns
from feast_hybrid.sources.file_schema import (
    folders_of,
    note_left_out,
    note_once,
    reader_options,
    refuse_other_sites,
    source_errors,
)
from feast_hybrid.sources.spark_listing import list_by_spark, require_listed
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.formats import CALENDAR_OPTIONS, FILE_OPTIONS
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.spark.reader_settings import deviating_setting, require_utc_for
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

    from feast_hybrid.files.listing import DataFile
    from feast_hybrid.files.selection import FileSelection
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.sources.spec import SourceSpec

_STRICT = {"mode": "FAILFAST", "columnNameOfCorruptRecord": "_corrupt_record"}

#: Formats of Spark's own, whose reader takes a time zone, for times without one, and finds partitions in folders.
#: What they are read with, unless the source says otherwise: a row that cannot be read is an error and no nulls, a
#: file's header is looked at and not its order, and no column is lost that some files lack.
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "parquet": {**FILE_OPTIONS, **CALENDAR_OPTIONS["parquet"], "mergeSchema": "true"},
    "orc": {**FILE_OPTIONS, "mergeSchema": "true"},
    "avro": {**FILE_OPTIONS, **CALENDAR_OPTIONS["avro"]},
    "csv": {**FILE_OPTIONS, **_STRICT, "enforceSchema": "false"},
    "json": {**FILE_OPTIONS, **_STRICT},
    "xml": {**FILE_OPTIONS, **_STRICT},
    "text": FILE_OPTIONS,
}

#: Formats whose files say of which types their columns are.
_TYPED = frozenset({"parquet", "orc"})

#: Formats whose files may have other columns than the next, which Spark fills with nulls.
_UNITED = frozenset({"parquet", "orc", "avro", "json", "xml"})

_NOT_NOTICED = "a file that lacks a key or the event time is not noticed, and its rows are found by nobody"

#: Formats in which Spark looks for times in text.
_TEXTS = frozenset({"csv", "json", "xml"})


def is_zoned(file_format: str) -> bool:
    """Whether Spark's reader of a format takes a time zone."""
    return file_format in _DEFAULTS


def text_frame(
    session: SparkSession, source: SourceSpec, location: Location, router: Router, required: Collection[str] = ()
) -> tuple[DataFrame, tuple[str, ...]]:
    """The rows of a path, with the columns that Spark finds, but for those that folders give.

    Args:
        session: reads.
        source: where the rows are.
        location: its path.
        router: knows the sites.
        required: columns that each file has to have: join keys and event time. Of Avro, JSON and XML this is seen in
            the files; where it cannot be, the notes say so.

    Returns:
        The frame, and what a reader of the plan should know.

    Raises:
        SourceError: folders have names that Spark reads otherwise, or the session has a setting by which it reads
            otherwise; files are those of a table.
        SessionError: the files are ORC with times, and Spark's JVMs are not in UTC.
        SchemaError: a folder's name, or a column, is none of the declared type; a file lacks a required column.
        RoutingError: the path is a pattern that also expands to what is on another site.
    """
    file_format = source.file_format or "parquet"
    selection = reader_options(source).selection
    options = _options_for_spark(source, selection)
    found = _found(session, source, location, router, required, selection)
    folders = found.folders
    deviating = deviating_setting(session, file_format, ("INT96",)) if file_format in _DEFAULTS else None
    if deviating is not None:
        raise SourceError(
            f"{source.label} ({source.describe()}): the session has {deviating}, with which Spark reads files of "
            f"{file_format} otherwise. Unset it."
        )
    given = {name.lower() for name in options}
    defaults = {name: value for name, value in _DEFAULTS.get(file_format, {}).items() if name.lower() not in given}
    with translate_spark_errors(source.label, source.describe(), [location.site]):
        path = spark_path(session, location, file_format)

        def reader_of() -> DataFrameReader:
            return session.read.format(file_format).options(**defaults).options(**path.options(options))

        reader = reader_of()
        frame = analysed(reader.load(path.uri))
        require_utc_for(frame, file_format, f"{source.label} ({source.describe()})")
        typed = {field.name.lower(): field for field in from_arrow_schema(pa.schema(list(folders.types.items())))}
        declared = source.declared if file_format in _TYPED else {}
        by_spark = _with_instants(frame.schema) if file_format in _TEXTS else frame.schema
        fields = [typed_field(source, field, typed.get(field.name.lower()), declared) for field in by_spark.fields]
        if fields != frame.schema.fields:
            frame = analysed(reader.schema(StructType(fields)).load(path.uri))
        require_listed(frame, location, found.files, what=f"{source.label} ({source.describe()})")
        if required and file_format in missing_columns.FORMATS:
            missing_columns.require_in_each_file(
                frame,
                required,
                given=folders.types,
                reader=reader_of(),
                place=path.uri.removesuffix(location.uri.path),
                what=f"{source.label} ({source.describe()})",
                read_as=(location.site.name, str(location), file_format, tuple(sorted(options.items()))),
                listed=found.files,
            )
    return frame, found.notes


def _with_instants(schema: StructType) -> StructType:
    """The columns that Spark found in text, whose times without a zone are UTC whatever the session calls a time."""

    def replaced(part: Any) -> Any:
        if isinstance(part, list):
            return [replaced(each) for each in part]
        if not isinstance(part, dict):
            return "timestamp" if part == "timestamp_ntz" else part
        return {key: value if key in ("name", "metadata") else replaced(value) for key, value in part.items()}

    return StructType.fromJson(replaced(schema.jsonValue()))


def typed_field(
    source: SourceSpec, field: StructField, of_folders: StructField | None, declared: Mapping[str, pa.DataType]
) -> StructField:
    """A column that Spark has found, in the type that folders give it, or that is declared where that is wider.

    Raises:
        SchemaError: it is of no type that the declared one can mean.
    """
    if of_folders is not None:
        return StructField(field.name, of_folders.dataType, field.nullable)
    meant = value_of(field.name, declared)
    found = arrow_type_of_spark(field.dataType)
    if meant is None or found is None:
        return field
    try:
        found = spark_form(found)
        resolved = resolve_type([found], meant)
    except ConflictsWithDeclaredError as error:
        raise _declared_otherwise(source, field.name, error.found, error.declared) from None
    if pa.types.is_binary(found) and pa.types.is_string(resolved):  # Spark's reader checks no UTF-8
        raise _declared_otherwise(source, field.name, found, resolved)
    if resolved == found or not spark_widens(found, resolved):
        return field
    return StructField(field.name, from_arrow_schema(pa.schema([("c", resolved)]))[0].dataType, field.nullable)


def frame_as_declared(frame: DataFrame, source: SourceSpec) -> DataFrame:
    """A frame whose columns have their types from a table, in the types that are declared where those are wider.

    Raises:
        SchemaError: see :func:`typed_field`.
    """
    fields = [typed_field(source, field, None, source.declared) for field in frame.schema.fields]
    if fields == frame.schema.fields:
        return frame
    return frame.select(*(F.col(quoted(field.name)).cast(field.dataType).alias(field.name) for field in fields))


def _declared_otherwise(source: SourceSpec, column: str, found: pa.DataType, declared: pa.DataType) -> SchemaError:
    return SchemaError(
        f"{source.label} ({source.describe()}): column {column!r} is declared {declared}, but is {found} in the "
        "files. Declare the type that the files hold, or write the files anew."
    )


def _options_for_spark(source: SourceSpec, selection: FileSelection) -> dict[str, str]:
    """A source's options as Spark's reader takes them.

    Raises:
        SourceError: they ask for times in a zone of which Spark's reader would take others.
    """
    options = {**source.options, **selection.to_spark(source.options)}
    zone = next((name for name in options if name.lower() == "timezone"), None)
    if zone is None:
        return options
    if source.file_format in _TYPED:  # it is for the times by which files are chosen, which are in UTC by now
        del options[zone]
        return options
    if options[zone] != "UTC" and (selection.after is not None or selection.before is not None):
        raise SourceError(
            f"{source.label} ({source.describe()}): with the option timeZone, {options[zone]!r}, Spark's reader "
            "takes modifiedAfter and modifiedBefore for other times. Leave out the one or the other."
        )
    return options


class _Found(NamedTuple):
    """What is known of a path before Spark looks into its files.

    Attributes:
        folders: the columns that folders give, in the types that they have wherever they are read.
        files: as far as they were listed from here.
        notes: for plans.
    """

    folders: FolderColumns
    files: Sequence[DataFile]
    notes: tuple[str, ...]


def _found(
    session: SparkSession,
    source: SourceSpec,
    location: Location,
    router: Router,
    required: Collection[str],
    selection: FileSelection,
) -> _Found:
    if source.file_format not in _DEFAULTS:
        if SIGNS & set(location.uri.path):
            with source_errors(source):
                paths = expand(location)
            refuse_other_sites(source, paths, router)
        return _Found(FolderColumns({}, None), (), ())
    listing, unlisted = _listing(session, source, location, router, selection)
    refuse_other_sites(source, folders_of(listing), router)
    with source_errors(source):
        folders = folder_columns(listing, source.declared)
    if folders.types and folders.only_ours is not None:
        raise SourceError(
            f"{source.label} ({source.describe()}): {folders.only_ours}, which Spark's reader of "
            f"{source.file_format} takes for something else. Rename the folders, or keep the rows as Parquet."
        )
    notes = [*unlisted, *note_left_out(source, listing.empty_files)]
    if required and not unlisted and _names_columns_itself(source):
        with source_errors(source):
            require_in_each_file(location, listing.files, required, folders.types)
    elif required and source.file_format in _UNITED - missing_columns.FORMATS:
        notes.append(_NOT_NOTICED)
    return _Found(folders, () if unlisted else listing.files, tuple(notes))


def _names_columns_itself(source: SourceSpec) -> bool:
    """Whether each file's header says which of Spark's columns it has, as in Avro unless an option has the say."""
    given = {name.lower() for name in source.options}
    return source.file_format == "avro" and not given & {"avroschema", "positionalfieldmatching"}


def _listing(
    session: SparkSession, source: SourceSpec, location: Location, router: Router, selection: FileSelection
) -> tuple[Listing, tuple[str, ...]]:
    """The files, listed from here, or else by the server of Spark Connect, and notes for plans."""
    try:
        with source_errors(source):
            return list_files(
                location,
                selection=selection,
                check_roots=lambda roots: refuse_other_sites(source, roots, router),
            ), ()
    except UnavailableError as error:
        if not is_connect(session) or was_reached(error):
            raise
        reason = f"its files cannot be listed from here ({type(error).__name__})"
    with (
        source_errors(source),
        translate_spark_errors(source.label, source.describe(), [location.site]),
    ):
        listing = list_by_spark(session, location, selection, selection.to_spark(source.options))
    return listing, (note_once(source, f"{reason}, so that Spark finds the columns"),)
