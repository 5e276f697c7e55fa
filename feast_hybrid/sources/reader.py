"""A source's rows as a Spark frame."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from feast_hybrid.asof import Ineligible, Scan
from feast_hybrid.errors import (
    AccessDeniedError,
    AuthenticationError,
    HybridError,
    SchemaError,
    SessionError,
    SourceError,
    SourceNotFoundError,
    UnavailableError,
)
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes.errors import raise_from, redacted_summary, was_reached
from feast_hybrid.sources.file_schema import file_schema, ineligibility_reason, note_once, source_errors
from feast_hybrid.sources.files_frame import NoReaderError, SourceFrame, files_frame
from feast_hybrid.sources.iceberg_catalogs import location_in_catalog, require_warehouse
from feast_hybrid.sources.moved_rows import open_where_rows_are
from feast_hybrid.sources.spark_listing import MovedWhileListedError
from feast_hybrid.sources.spec import sites_of
from feast_hybrid.sources.table_folders import refuse_unread_tables
from feast_hybrid.sources.table_scan import partitions_of, table_scan
from feast_hybrid.sources.tables import lists_its_files, open_table_version, version_key
from feast_hybrid.sources.text_frame import frame_as_declared, is_zoned, text_frame
from feast_hybrid.sources.time_filter import partitions_between
from feast_hybrid.spark.catalog import describe, table_entry
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.formats import SESSION_FORMATS
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.iceberg_catalogs import iceberg_table_name, warehouse_of
from feast_hybrid.spark.isolated import child_session, clone_session_for, home_of_frames
from feast_hybrid.spark.lake_options import session_options
from feast_hybrid.spark.reader_settings import PLAIN_SETTINGS
from feast_hybrid.spark.redaction import keep_secrets_out_of_plans, warn_of_shown_secrets
from feast_hybrid.spark.runtime import is_connect
from feast_hybrid.spark.session import get_session, warn_of_waiting_for_hosts
from feast_hybrid.spark.sql_plans import refuse_unsafe_plan

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.files.listed_tables import ListedTable
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.sources.tables import VersionKey
    from feast_hybrid.spark.config import SparkConfig
    from feast_hybrid.spark.iceberg_catalogs import CatalogTable

#: How often files are listed that are away for a moment, and seconds in between.
_LISTINGS, _PAUSE = 4, 0.25


class Reader:
    """Reads the sources of one call, each from its site, into frames of one Spark application.

    Paths carry their site's settings as reader options, so the session keeps its own. Tables, queries and the formats
    that ask the session take no options: they are read in one child session of this call, which holds the settings of
    all sites. On Spark Connect, where frames of two sessions cannot be joined, a call that needs the child works in
    it altogether.
    """

    def __init__(self, spark: SparkSession, router: Router, *, child: SparkSession | None = None) -> None:
        self.spark = spark
        self.router = router
        self._child = child
        #: Which version of its table each view, or source by itself, was read in.
        self.versions: dict[str, str] = {}
        #: The tables that were opened, each in one version for all that is read of it in a call.
        self.tables: dict[VersionKey, ListedTable] = {}
        self._in_catalogs: dict[str | None, Location | Ineligible] = {}

    def child(self) -> SparkSession:
        """The call's own session, in UTC and with the settings of all sites."""
        if self._child is None:
            # In SQL text too, a time without a zone is UTC. Not in a session that a caller's own frame is moved to.
            options = session_options(self.spark, self.router)
            settings = {**options, **PLAIN_SETTINGS, "spark.sql.session.timeZone": "UTC"}
            self._child = child_session(self.spark, settings)
        return self._child

    def in_child(self) -> Reader:
        """A reader that does all of the call's work in the child session."""
        return Reader(self.child(), self.router, child=self.child())

    def read(
        self, source: SourceSpec, columns: Collection[str] | None = None, *, session: SparkSession | None = None
    ) -> DataFrame:
        """The rows of a source, lazily; see :meth:`open`."""
        required = [source.timestamp] if source.timestamp_field else []
        return self.open(source, columns, required=required, session=session).frame

    def open(
        self,
        source: SourceSpec,
        columns: Collection[str] | None = None,
        *,
        required: Collection[str] = (),
        between: tuple[datetime | None, datetime | None] = (None, None),
        session: SparkSession | None = None,
        scan: bool = False,
    ) -> SourceFrame:
        """The rows of a source, lazily, and its files where they are known.

        Args:
            source: where the rows are.
            columns: the source's columns that will be used; None for all, each of which has to be readable. The frame
                has them under these names, whatever their letters' case in the source, and may have others too.
            required: those that each file has to have: join keys and event time. Without them a file's rows would be
                lost.
            between: no rows before the first time and after the second are wanted; the frame may hold some.
            session: the session to read in; by default the call's, or its child for what takes no options.
            scan: whether to find the files of a table, for which the catalog is asked. Those of a path are found
                anyway.

        Raises:
            SourceNotFoundError: nothing is there.
            SourceError: a file cannot be read.
            StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
            SchemaError: types of a column do not go together, a file lacks a required column, or a name may mean
                several columns.
        """
        found, note = open_where_rows_are(
            source, lambda place: self._open_listed(place, columns, required, between, session, scan=scan)
        )
        if note:
            found = dataclasses.replace(found, notes=(*found.notes, note))
        named = (*required, *(columns or ()), *source.named_columns)
        return found.named(named, what=f"{source.label} ({source.describe()})", others=columns is None)

    def _open_listed(self, *of: Any, scan: bool) -> SourceFrame:
        """As :meth:`_open`, some times more where the files are away for a moment."""
        for _ in range(_LISTINGS - 1):
            try:
                return self._open(*of, scan=scan)
            except MovedWhileListedError:
                time.sleep(_PAUSE)
        return self._open(*of, scan=scan)

    def _open(
        self,
        source: SourceSpec,
        columns: Collection[str] | None,
        required: Collection[str],
        between: tuple[datetime | None, datetime | None],
        session: SparkSession | None,
        *,
        scan: bool,
    ) -> SourceFrame:
        if lists_its_files(source):
            return self._open_table(source, columns, required, between, session)
        reason = ineligibility_reason(source)
        if reason is None:
            try:
                resolved = file_schema(source, self.router, required)
            except UnavailableError as error:
                # A client of Spark Connect may not reach what its server does.
                if not is_connect(session or self.spark) or was_reached(error):
                    raise
                reason = f"its files cannot be listed from here: {type(error).__name__}"
            else:
                sites = sites_of(source, self.router)
                return files_frame(session or self.spark, source, resolved, columns, required, between, sites)
        if source.location is not None:
            frame, notes = text_frame(session or self.spark, source, source.location, self.router, required)
            return SourceFrame(frame, Ineligible(reason), notes)
        with translate_spark_errors(source.label, source.describe(), sites_of(source, self.router)):
            child = session or self.child()
            if source.table is None:
                rows = analysed(self._selected(child, source))
                refuse_unread_tables(rows, self.router, source.label)
                return SourceFrame(rows, Ineligible(reason))
            in_catalog = iceberg_table_name(child, source.table)
        require_warehouse(source, warehouse_of(child, source.table))
        if in_catalog is not None:
            return self._open_in_catalog(source, in_catalog, columns, required, between, session)
        with translate_spark_errors(source.label, source.describe(), sites_of(source, self.router)):
            rows = analysed(_table(child, source.table))
            entry = table_entry(child, source.table) if scan or source.is_table_by_days else None
        files: Scan | Ineligible = Ineligible(reason)
        if scan:
            wanted = [*(rows.columns if columns is None else columns), *required]
            files = table_scan(source, entry, rows.schema, child, self.router, wanted, required, between)
        with translate_spark_errors(source.label, source.describe(), sites_of(source, self.router)):
            is_listed = isinstance(files, Scan)
            partitions = partitions_between(source, rows, *between)
            refuse_unread_tables(rows, self.router, source.label, wanted=partitions, is_listed=is_listed)
        return SourceFrame(rows, files, partitions=partitions_of(entry, rows.columns))

    def _open_table(
        self,
        source: SourceSpec,
        columns: Collection[str] | None,
        required: Collection[str],
        between: tuple[datetime | None, datetime | None],
        session: SparkSession | None,
    ) -> SourceFrame:
        """The rows of a table whose metadata lists its files; else by Spark's package, where the session has it."""
        found = self._by_metadata(source, columns, required, between, session)
        if isinstance(found, SourceFrame):
            return found
        assert source.location is not None
        if source.file_format in SESSION_FORMATS and source.location.site.credential.of_one_source:
            raise SourceError(
                f"{str(found).rstrip('.')}. By Spark: its package of {(source.file_format or '').capitalize()} takes "
                "no sign-in of a single source, which a connection_ref is. Leave it out, and have the site sign in "
                "(offline_store.sites)."
            )
        try:
            own = self.child() if session is None and source.file_format in SESSION_FORMATS else session or self.spark
            frame, notes = text_frame(own, source, source.location, self.router, required)
        except SessionError as missing:
            raise_from(SourceError(f"{str(found).rstrip('.')}. By Spark: {missing}"), missing)
        file_format = (source.file_format or "").capitalize()
        by_spark = f"read by Spark's package of {file_format}: {redacted_summary(str(found))}"
        frame = frame_as_declared(frame, source)
        return SourceFrame(frame, Ineligible(by_spark), (*notes, note_once(source, by_spark)))

    def _by_metadata(
        self,
        source: SourceSpec,
        columns: Collection[str] | None,
        required: Collection[str],
        between: tuple[datetime | None, datetime | None],
        session: SparkSession | None,
    ) -> SourceFrame | HybridError:
        """The rows of a table whose metadata lists its files; or why Spark's package may read them and we do not."""
        here = session or self.spark
        try:
            table = self._table_version(source)
            with source_errors(source):
                resolved = table.resolve(source.declared, required=required)
            files = dataclasses.replace(source, file_format="parquet", options={})
            sites = sites_of(source, self.router)
            found = files_frame(here, files, resolved, columns, required, between, sites)
            self.versions[source.view or source.name] = note = table.note
            return dataclasses.replace(found, notes=(note, *found.notes))
        except (TableFeatureError, NoReaderError) as error:
            return error
        except UnavailableError as error:
            if not is_connect(here) or was_reached(error):
                raise
            return error

    def _open_in_catalog(
        self,
        source: SourceSpec,
        table: CatalogTable,
        columns: Collection[str] | None,
        required: Collection[str],
        between: tuple[datetime | None, datetime | None],
        session: SparkSession | None,
    ) -> SourceFrame:
        """The rows of a table of one of Iceberg's catalogs: by its metadata, else by Spark's package.

        What is refused of a path because of a column is left to the package here: the catalog is Spark's to ask. So
        is what the site's credential may not read: a REST catalog may hand out to the package what it signs in with.
        """
        if source.table not in self._in_catalogs:  # asked once in a call: later, it may be a later version
            self._in_catalogs[source.table] = location_in_catalog(table, self.router)
        location = self._in_catalogs[source.table]
        if isinstance(location, Ineligible):
            reason = location.reason
        else:
            placed = dataclasses.replace(source, table=None, location=location, file_format="iceberg", options={})
            try:
                found = self._by_metadata(placed, columns, required, between, session)
            except (
                SchemaError,
                SourceNotFoundError,  # such as a table of the table's own metadata
                AuthenticationError,
                AccessDeniedError,
            ) as error:
                found = error
            if isinstance(found, SourceFrame):
                return found
            reason = redacted_summary(str(found)).removeprefix(f"{source.label}: ")
        try:
            with translate_spark_errors(source.label, source.describe(), sites_of(source, self.router)):
                rows = analysed(_table(session or self.child(), source.table or ""))
        except HybridError as error:
            raise_from(type(error)(f"{source.label}: {reason.rstrip('.')}. By Spark: {error}"), error)
        by_spark = f"read by Spark's package of Iceberg: {reason}"
        return SourceFrame(rows, Ineligible(by_spark), (note_once(source, by_spark),))

    def _table_version(self, source: SourceSpec) -> ListedTable:
        """A source's table, in one version for all that is read of it in a call."""
        key = version_key(source)
        if key not in self.tables:
            self.tables[key] = open_table_version(source, self.router)
        return self.tables[key]

    def _selected(self, session: SparkSession, source: SourceSpec) -> DataFrame:
        query, functions = source.query or "", self.router.allowed.functions
        what = f"{source.label}: query"
        refuse_unsafe_plan(session, query, what=what, error=SourceError, more_functions=functions)
        return session.sql(query)


def _table(session: SparkSession, name: str) -> DataFrame:
    """A table's rows, in a session whose zone may be a caller's: times without one in a table of text are UTC."""
    if session.conf.get("spark.sql.session.timeZone") == "UTC":
        return session.table(name)
    known = describe(session, name)
    zoned = is_zoned(known.get("Provider", "").lower())
    # Spark refuses another value of an option that the table has itself.
    own = "timezone=" in known.get("Storage Properties", "").lower()
    return session.read.option("timeZone", "UTC").table(name) if zoned and not own else session.table(name)


def reader_for(spark: SparkConfig, router: Router, sources: Sequence[SourceSpec]) -> Reader:
    """A reader in the session to work in.

    Args:
        spark: the session to start where none is active.
        router: knows the sites whose settings a session gets.
        sources: what will be read: a session is started with what these need.
    """
    lakes = {source.location.lake for source in sources if source.location is not None}
    reader = Reader(get_session(spark, router, lakes), router)
    return reader.in_child() if _works_in_child(reader.spark, sources) else reader


def reader_beside(frame: DataFrame, router: Router, sources: Sequence[SourceSpec]) -> tuple[Reader, DataFrame]:
    """A reader whose frames can be joined with a caller's frame, and that frame as it can be joined."""
    lakes = {source.location.lake for source in sources if source.location is not None}
    warn_of_waiting_for_hosts(frame.sparkSession, lakes | router.lakes)
    warn_of_shown_secrets(frame.sparkSession)
    if _works_in_child(frame.sparkSession, sources):
        frame = clone_session_for(frame, session_options(frame.sparkSession, router))
        return Reader(frame.sparkSession, router, child=frame.sparkSession), frame
    keep_secrets_out_of_plans(frame.sparkSession)
    return Reader(frame.sparkSession, router), frame


def _works_in_child(spark: SparkSession, sources: Sequence[SourceSpec]) -> bool:
    """Whether a call does all its work in a session of its own, so that the one it begins in stays as it is."""
    return home_of_frames(spark) and any(
        source.location is None or source.file_format in SESSION_FORMATS for source in sources
    )
