"""A source's files as this process reads them itself, without Spark."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.arrow.names import names_for
from feast_hybrid.asof.scan import Ineligible, Scan
from feast_hybrid.errors import UnavailableError
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.sources.file_schema import (
    file_schema,
    ineligibility_reason,
    left_out_notes,
    reader_options,
    source_errors,
)
from feast_hybrid.sources.moved_rows import open_where_rows_are
from feast_hybrid.sources.resolved_columns import not_to_be_had, only_sparks
from feast_hybrid.sources.scan import renamed_scan, scan_of
from feast_hybrid.sources.tables import lists_its_files, open_table_version, version_key

if TYPE_CHECKING:
    from datetime import datetime

    from feast_hybrid.files.listed_tables import ListedTable
    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.sources.tables import VersionKey


@dataclass(frozen=True, eq=False)
class LocalFiles:
    """A source's columns and files.

    Attributes:
        schema: the columns, under the names that were asked for, in Spark's forms of Arrow types.
        scan: the files.
        notes: what a reader of the plan should know.
    """

    schema: pa.Schema
    scan: Scan
    notes: tuple[str, ...] = ()


class LocalReader:
    """Opens the sources of one call, each in one version. Its calls may come from several threads.

    Args:
        router: knows the sites.
        elsewhere: whether Spark, if it is asked instead, runs where lakes may answer that do not answer here.
        tables: the tables that were opened in the call, which are put here; None where nobody else asks for them.
    """

    def __init__(
        self, router: Router, *, elsewhere: bool = False, tables: dict[VersionKey, ListedTable] | None = None
    ) -> None:
        self.router = router
        #: Which version of its table each view, or source by itself, was read in.
        self.versions: dict[str, str] = {}
        self._elsewhere = elsewhere
        self._lock = threading.Lock()
        self._tables = {} if tables is None else tables

    def open(
        self,
        source: SourceSpec,
        columns: Collection[str] | None,
        *,
        required: Collection[str] = (),
        between: tuple[datetime | None, datetime | None] = (None, None),
    ) -> LocalFiles | Ineligible:
        """A source's files; see :meth:`feast_hybrid.sources.reader.Reader.open`, which gives Spark's frame of them.

        Args:
            source: where the rows are.
            columns: the source's columns that will be used; None for all, each of which has to be readable.
            required: those that each file has to have.
            between: no rows before the first time and after the second are wanted.

        Returns:
            Why they are Spark's to read, where they are.

        Raises:
            SourceNotFoundError: nothing is there.
            SourceError: a file cannot be read.
            StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
            SchemaError: types of a column do not go together, a file lacks a required column, or a name may mean
                several columns.
        """
        is_listed = lists_its_files(source)
        reason = None if is_listed else ineligibility_reason(source)
        if reason is not None:
            return Ineligible(reason)
        if not is_listed and (for_spark := reader_options(source).for_spark):
            return Ineligible(f"reader options, which are Spark's to follow: {', '.join(for_spark)}")
        try:
            found, note = open_where_rows_are(source, lambda place: self._open(place, columns, required, between))
        except UnavailableError as error:
            if not self._elsewhere:
                raise
            return Ineligible(f"its files cannot be listed from here: {type(error).__name__}")
        if isinstance(found, Ineligible):
            return found
        wanted = (*required, *(columns or ()), *source.named_columns)
        found = _named(found, wanted, what=f"{source.label} ({source.describe()})", others=columns is None)
        return replace(found, notes=(*found.notes, note)) if note else found

    def _open(
        self,
        source: SourceSpec,
        columns: Collection[str] | None,
        required: Collection[str],
        between: tuple[datetime | None, datetime | None],
    ) -> LocalFiles | Ineligible:
        if not lists_its_files(source):
            return self._resolved(source, file_schema(source, self.router, required), columns, required, between)
        try:
            table = self._table_version(source)
            with source_errors(source):
                resolved = table.resolve(source.declared, required=required)
        except TableFeatureError as error:
            return Ineligible(redacted_summary(str(error)))
        files = replace(source, file_format="parquet", options={})
        found = self._resolved(files, resolved, columns, required, between)
        self.versions[source.view or source.name] = note = table.note
        return found if isinstance(found, Ineligible) else replace(found, notes=(note, *found.notes))

    def _resolved(
        self,
        source: SourceSpec,
        resolved: ResolvedSchema,
        columns: Collection[str] | None,
        required: Collection[str],
        between: tuple[datetime | None, datetime | None],
    ) -> LocalFiles | Ineligible:
        if reason := only_sparks(resolved, columns, required):
            return Ineligible(reason)
        what = f"{source.label} ({source.describe()})"
        resolved.require(not_to_be_had(resolved, columns, required), what=what)
        scan = scan_of(source, resolved, *between, tasks_run_here=None)
        if isinstance(scan, Ineligible):
            return scan
        return LocalFiles(resolved.to_arrow(), scan, left_out_notes(resolved.empty_files, resolved.damaged_files))

    def _table_version(self, source: SourceSpec) -> ListedTable:
        """A source's table, in one version for all that is read of it in a call."""
        key = version_key(source)
        with self._lock:
            found = self._tables.get(key)
        if found is None:
            opened = open_table_version(source, self.router)
            with self._lock:
                found = self._tables.setdefault(key, opened)
        return found


def _named(files: LocalFiles, wanted: Collection[str], *, what: str, others: bool) -> LocalFiles:
    """The same with the names that are asked for: see :func:`feast_hybrid.arrow.names.names_for`."""
    columns = files.schema.names
    names = names_for(wanted, columns, what=what, others=others)
    if names == columns:
        return files
    renamed: Mapping[str, str | None] = dict(zip(columns, names, strict=True))
    fields = [pa.field(name, files.schema.field(n).type) for n, name in enumerate(names) if name is not None]
    return replace(files, schema=pa.schema(fields), scan=renamed_scan(files.scan, renamed))
