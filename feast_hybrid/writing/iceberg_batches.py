"""Arrow rows added to an Iceberg table at a path as one commit: without Spark, so it works in an executor too.

All that a batch adds lies beside the table before the file of its version is created, by which it counts. Writers
agree by that file: a version is whose who creates it, and the others go on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.table.metadata import TableMetadataUtil

from feast_hybrid.arrow.utc import in_microseconds
from feast_hybrid.errors import SchemaError, WriteError
from feast_hybrid.files.iceberg_commit import (
    Addition,
    IcebergFeatureError,
    appending_needs,
    columns_need,
    data_paths,
    encoded,
    first_metadata,
    forgotten_files,
    is_there,
    manifests_of,
    metadata_suffix,
)
from feast_hybrid.files.iceberg_files import data_files
from feast_hybrid.files.iceberg_places import TableFiles, place_of, require_own_place
from feast_hybrid.files.iceberg_types import arrow_schema, iceberg_schema
from feast_hybrid.files.iceberg_versions import (
    METADATA_FOLDER,
    TableVersion,
    is_taken,
    last_version,
    make_known,
    was_overtaken,
)
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.create_once import create_once
from feast_hybrid.sources.file_schema import source_errors
from feast_hybrid.writing.naming import batch_name
from feast_hybrid.writing.readable import require_readable
from feast_hybrid.writing.table_rows import CONFLICTS, add_once, in_table_columns, removed_unless_committed

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile

    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

#: Options by which a source is read as it was, or in part.
_VERSIONS = frozenset(
    {
        "snapshot-id",
        "as-of-timestamp",
        "branch",
        "tag",
        "start-snapshot-id",
        "end-snapshot-id",
        "versionasof",
        "timestampasof",
    }
)
#: Options of Spark's writer that stand for properties of the table.
_PROPERTIES = {
    "compression-codec": "write.parquet.compression-codec",
    "compression-level": "write.parquet.compression-level",
}
#: Options that change nothing in what one file holds, or only how rows are read.
_WITHOUT_EFFECT = frozenset(
    {
        "target-file-size-bytes",
        "fanout-enabled",
        "distribution-mode",
        "use-table-distribution-and-ordering",
        "check-ordering",
        "check-nullability",
        "mergeschema",
        "split-size",
        "lookback",
        "file-open-cost",
        "vectorization-enabled",
        "batch-size",
        "locality",
    }
)


def append_to_iceberg(
    table: pa.Table, source: SourceSpec, first_schema: Callable[[], pa.Schema], *, what: str
) -> None:
    """Add rows to an Iceberg table, which need not be there yet, as one commit.

    A batch of a Spark task that is run again is added once.

    Args:
        table: the rows, in the source's names.
        source: the path of the table.
        first_schema: the columns where there is no table yet, in the source's names.
        what: how an error names the rows and the place.

    Raises:
        IcebergFeatureError: the table, or an option, asks for what this package does not do; nothing was written.
        SchemaError: the rows do not fit the table.
        SourceError: a catalog keeps the table, or it is damaged.
        WriteError: the lake refused them, or others commit all the time; nothing of them is there.
        CommitUnknownError: the answer to the commit was lost.
    """
    assert source.location is not None
    require_readable(source, what=what)
    options = {name.lower(): value for name, value in source.options.items()}
    if named := sorted(options.keys() & _VERSIONS):
        raise WriteError(
            f"{what}: the source reads a certain version or branch of its table, so rows that are added would not be "
            f"read back. Leave out {', '.join(named)}."
        )
    if unknown := sorted(options.keys() - _WITHOUT_EFFECT - _PROPERTIES.keys()):
        raise IcebergFeatureError(f"the option {', '.join(unknown)} is not one that feast-hybrid writes by")
    name = batch_name(str(source.location))
    properties = {_PROPERTIES[option]: value for option, value in options.items() if option in _PROPERTIES}
    batch = _Batch(table, source, first_schema, what, name.text if name.replaces else None, properties)
    add_once(batch.is_committed, source.location, what=what)


@dataclass(frozen=True)
class _Written:
    """The files of a batch, which no commit names yet.

    Attributes:
        basis: what of a table they were written for; None for a new table.
        addition: what is committed.
        manifest: the one that names the files.
        first: the metadata of a new table.
        places: where they are, and the list of manifests for the commit that is being tried, as the last one.
    """

    basis: Mapping[str, Any] | None
    addition: Addition
    manifest: ManifestFile
    first: Mapping[str, Any]
    places: list[Location] = field(default_factory=list)

    def fits(self, table: TableVersion | None) -> bool:
        """Whether they are files of the table as it is now."""
        return self.basis == (None if table is None else _basis(table))

    def remove(self) -> None:
        """Remove the files; what stays is for Iceberg's ``remove_orphan_files``."""
        for place in self.places:
            _remove(place)


def _remove(place: Location) -> None:
    with suppress(Exception):
        place.fs.rm(place.path)


def _basis(table: TableVersion) -> dict[str, Any]:
    """What files that are added depend on."""
    raw = table.raw
    named = ("format-version", "table-uuid", "location", "schema", "schemas", "current-schema-id")
    partitions = ("partition-spec", "partition-specs", "default-spec-id", "properties")
    return {name: raw.get(name) for name in (*named, *partitions)}


@dataclass(frozen=True)
class _Batch:
    """Rows that are to be added once.

    Attributes:
        rows: in the source's names.
        source: the path of the table.
        first_schema: the columns where there is no table yet.
        what: how an error names the rows and the place.
        name: by which another attempt of the same task knows them; None where there is none.
        properties: what the source's options say instead of the table's properties.
    """

    rows: pa.Table
    source: SourceSpec
    first_schema: Callable[[], pa.Schema]
    what: str
    name: str | None
    properties: Mapping[str, str]

    @property
    def location(self) -> Location:
        assert self.source.location is not None
        return self.source.location

    def is_committed(self) -> bool:
        """Add the rows to the version that is there; whether that is done, and no other commit came in between."""
        found = self.table_there()
        if found is not None and is_there(found.raw, batch=self.name):
            return True  # by another attempt
        written = self.write(found)
        with removed_unless_committed(written.remove):
            for _ in range(CONFLICTS):
                if self.commit(written, found):
                    return True
                found = self.table_there()
                if found is not None and is_there(found.raw, snapshot_id=written.addition.snapshot_id):
                    return True
                _remove(written.places.pop())  # the list of manifests
                if found is not None and is_there(found.raw, batch=self.name):
                    break  # another attempt was faster
                if not written.fits(found) or found is None:
                    break
        written.remove()
        return False

    def table_there(self) -> TableVersion | None:
        """The table; None where none is yet."""
        with source_errors(self.source):
            found = last_version(self.location)
            if found is not None:
                require_own_place(self.location, str(found.raw.get("location")))
            return found

    def write(self, table: TableVersion | None) -> _Written:
        """Put the rows beside the table, in files that nobody reads yet."""
        if table is None:
            first = self._first()
            metadata = TableMetadataUtil.parse_obj(dict(first))
        else:
            first = {}
            need = appending_needs(table.raw)
            if need is None:
                metadata = table.metadata
                need = columns_need(metadata)
            if need is not None:
                raise IcebergFeatureError(f"the Iceberg table needs {need}, which feast-hybrid does not do")
        schema, spec = metadata.schema(), metadata.spec()
        required = [column.name for column in schema.fields if column.required]
        rows = in_table_columns(self.rows, self.source, arrow_schema(schema), required, what=self.what)
        try:
            files = data_files(rows, schema, spec, {**metadata.properties, **self.properties})
        except SchemaError as error:
            raise SchemaError(f"{self.what}: {error}.") from None
        paths = data_paths(metadata, [file.name for file in files])
        addition = Addition(
            metadata,
            [file.entry(path, spec.spec_id) for file, path in zip(files, paths, strict=True)],
            self.name,
            metadata.new_snapshot_id(),
        )
        manifest, content = addition.manifest()
        contents: dict[Location, Any] = {
            place_of(self.location, metadata.location, path): file.content
            for file, path in zip(files, paths, strict=True)
        }
        contents[place_of(self.location, metadata.location, manifest.manifest_path)] = content
        publish(contents)
        return _Written(None if table is None else _basis(table), addition, manifest, first, list(contents))

    def commit(self, written: _Written, table: TableVersion | None) -> bool:
        """Create the next version with the files; whether it is what readers see, and no other's.

        Raises:
            CommitUnknownError: the answer was lost.
        """
        raw: Mapping[str, Any] = written.first if table is None else table.raw
        base = written.addition.metadata.location
        earlier = manifests_of(raw, TableFiles(self.location, base))
        commit = written.addition.commit(raw, self._uri(table), earlier, written.manifest)
        folder = self.location.child(METADATA_FOLDER)
        number = 1 if table is None else table.number + 1
        name = f"v{number}{metadata_suffix(written.addition.metadata.properties)}"
        version = TableVersion(self.location, number, folder.child(name), commit.raw)
        listed = folder.child(commit.list_name)
        publish({listed: commit.list_content})
        written.places.append(listed)
        if is_taken(version) or not create_once(version.file, encoded(commit.raw, name)):
            return False
        if was_overtaken(version, written.addition.snapshot_id):
            return False
        make_known(version)
        for forgotten in forgotten_files(raw, commit.raw):
            with suppress(Exception):
                _remove(place_of(self.location, base, forgotten))
        return True

    def _uri(self, table: TableVersion | None) -> str | None:
        """How a table writes where its metadata is."""
        if table is None:
            return None
        return f"{table.raw['location'].rstrip('/')}/{METADATA_FOLDER}/{table.file.name}"

    def _first(self) -> dict[str, Any]:
        schema = in_microseconds(self.first_schema())
        day = self.source.date_partition_column or None
        if day:
            schema = schema.append(pa.field(day, pa.string()))
        return first_metadata(iceberg_schema(schema), day, str(self.location))
