"""Arrow rows added to a Delta table at a path as one commit: without Spark, so it works in an executor too.

Writers agree by the log: a version is whose who creates its file, and the others go on with the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.arrow.utc import in_microseconds
from feast_hybrid.errors import SchemaError, WriteError
from feast_hybrid.files.delta_commit import (
    AddedFile,
    commit_content,
    first_actions,
    require_appendable,
    required_columns,
)
from feast_hybrid.files.delta_log import LOG_FOLDER, Snapshot
from feast_hybrid.files.delta_table import DeltaTable, read_table
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.create_once import create_once
from feast_hybrid.sources.delta import names_a_version
from feast_hybrid.sources.file_schema import source_errors
from feast_hybrid.writing.naming import batch_name
from feast_hybrid.writing.partitions import split, texts_of
from feast_hybrid.writing.readable import require_readable
from feast_hybrid.writing.table_rows import CONFLICTS, add_once, in_table_columns, removed_unless_committed

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec


def append_to_delta(table: pa.Table, source: SourceSpec, first_schema: Callable[[], pa.Schema], *, what: str) -> None:
    """Add rows to a Delta table, which need not be there yet, as one commit.

    A batch of a Spark task that is run again is added once.

    Args:
        table: the rows, in the source's names.
        source: the path of the table.
        first_schema: the columns where there is no table yet, in the source's names.
        what: how an error names the rows and the place.

    Raises:
        DeltaFeatureError: the table asks for what this package does not do; nothing was written.
        SchemaError: the rows do not fit the table.
        WriteError: the lake refused them, or others commit all the time; nothing of them is there.
        CommitUnknownError: the answer to the commit was lost.
    """
    assert source.location is not None
    require_readable(source, what=what)
    if names_a_version(source):
        raise WriteError(
            f"{what}: the source reads an earlier version of its table, so rows that are added would not be read "
            "back. Leave out versionAsOf and timestampAsOf."
        )
    location, name = source.location, batch_name(str(source.location))
    batch = _Batch(table, source, first_schema, what, f"feast-hybrid-{name.text}" if name.replaces else None)
    add_once(batch.is_committed, location, what=what)


@dataclass(frozen=True)
class _Written:
    """The files of a batch, which no commit names yet.

    Attributes:
        basis: protocol and metadata that they were written for; None for a new table.
        files: what a commit says of them.
        places: where they are.
        first: what a new table's commit says besides.
    """

    basis: tuple[Mapping[str, object], Mapping[str, object]] | None
    files: Sequence[AddedFile]
    places: Sequence[Location]
    first: Sequence[Mapping[str, object]]

    def fits(self, table: DeltaTable | None) -> bool:
        """Whether they are files of the table as it is now."""
        return self.basis == (None if table is None else _basis(table.snapshot))

    def remove(self) -> None:
        """Remove the files; what stays is the table's vacuum's."""
        for place in self.places:
            with suppress(Exception):
                place.fs.rm(place.path)


def _basis(snapshot: Snapshot) -> tuple[Mapping[str, object], Mapping[str, object]]:
    return snapshot.protocol, snapshot.metadata


@dataclass(frozen=True)
class _Batch:
    """Rows that are to be added once.

    Attributes:
        rows: in the source's names.
        source: the path of the table.
        first_schema: the columns where there is no table yet.
        what: how an error names the rows and the place.
        transaction: by which another attempt of the same task knows them; None where there is none.
    """

    rows: pa.Table
    source: SourceSpec
    first_schema: Callable[[], pa.Schema]
    what: str
    transaction: str | None

    def is_committed(self) -> bool:
        """Add the rows to the version that is there; whether that is done, and no other commit came in between."""
        location = self.source.location
        assert location is not None
        found = self.table_there()
        if found is not None and self.transaction in found.snapshot.transactions:
            return True  # by another attempt
        written = self.write(found)
        with removed_unless_committed(written.remove):
            number = 0 if found is None else found.version + 1
            for _ in range(CONFLICTS):
                commit = location.child(f"{LOG_FOLDER}/{number:020}.json")
                if create_once(commit, commit_content(written.files, written.first, transaction=self.transaction)):
                    return True
                found = self.table_there()
                if not written.fits(found) or found is None or self.transaction in found.snapshot.transactions:
                    break
                number = found.version + 1
        written.remove()
        return False

    def table_there(self) -> DeltaTable | None:
        """The table; None where none is yet."""
        assert self.source.location is not None
        with source_errors(self.source):
            try:
                return read_table(self.source.location)
            except FileNotFoundError:
                return None

    def write(self, table: DeltaTable | None) -> _Written:
        """Put the rows beside the table, in files that nobody reads yet."""
        location, source = self.source.location, self.source
        assert location is not None
        first: Sequence[Mapping[str, object]] = ()
        if table is None:
            schema = in_microseconds(self.first_schema())
            day = source.date_partition_column
            if day:
                schema = schema.append(pa.field(day, pa.string()))
            partitions: tuple[str, ...] = (day,) if day else ()
            first = first_actions(schema, partitions)
        else:
            require_appendable(table.snapshot)
            schema, partitions = table.table_schema(), table.partition_columns
        required = [] if table is None else required_columns(table.snapshot)
        rows = in_table_columns(self.rows, source, schema, required, what=self.what)
        self._refuse_empty_texts(rows, partitions)
        by_folder = split(rows, partitions, schema.names)
        files, contents = [], {}
        for folder, part in by_folder.items():
            kept = part.drop_columns(list(partitions))
            content = _encoded(kept, source.options)
            name = f"part-00000-{uuid.uuid4()}-c000.parquet"
            path = f"{folder}/{name}" if folder else name
            values = {column: texts_of(part.column(column).slice(0, 1), column)[0] for column in partitions}
            files.append(AddedFile(path, content.size, values, kept))
            contents[location.child(path)] = content
        publish(contents)
        return _Written(None if table is None else _basis(table.snapshot), files, list(contents), first)

    def _refuse_empty_texts(self, rows: pa.Table, partitions: Sequence[str]) -> None:
        for column in partitions:
            if "" in texts_of(rows.column(column), column):
                raise SchemaError(
                    f"{self.what}: the partition column {column!r} has an empty text, which a Delta table does not "
                    "tell from null."
                )


def _encoded(rows: pa.Table, options: Mapping[str, str]) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    given = {name.lower(): value.lower() for name, value in options.items()}
    compression = given.get("compression", "snappy")
    pq.write_table(rows, sink, compression="none" if compression == "uncompressed" else compression)
    return sink.getvalue()
