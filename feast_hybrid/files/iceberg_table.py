"""A snapshot of an Iceberg table as a source: its schema and files, for whoever reads Parquet files.

The table's metadata is all that is asked: https://iceberg.apache.org/spec/ says what it means. What it says that this
package does not read is refused by name, or left to Spark's package: ``IcebergFeatureError``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.transforms import IdentityTransform, VoidTransform
from pyiceberg.types import DateType, TimestampNanoType, TimestampType, TimestamptzNanoType, TimestamptzType

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.utc import DAY_MICROS
from feast_hybrid.errors import RoutingError, SchemaError, SourceError
from feast_hybrid.files.deletion_vectors import DeletionVector
from feast_hybrid.files.iceberg_columns import name_mapping, table_column
from feast_hybrid.files.iceberg_deletes import PositionDeletes
from feast_hybrid.files.iceberg_equality import EqualityDeletes, EqualityFile, is_comparable
from feast_hybrid.files.iceberg_manifests import FileDeletes, ListedFile, ListedFiles, needs, read_manifests
from feast_hybrid.files.iceberg_places import TableFiles, place_of
from feast_hybrid.files.iceberg_versions import METADATA_FOLDER, TableVersion, last_version, read_version
from feast_hybrid.files.listed_tables import TableColumn, resolve_table
from feast_hybrid.files.resolved import DeletedRows, ResolvedFile, ResolvedSchema
from feast_hybrid.lakes.versions import FileVersion

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.types import IcebergType

    from feast_hybrid.lakes.location import Location

#: The newest version of the format that is read.
_NEWEST = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Types that pyiceberg does not know, and one that it does, which nobody reads either.
_UNKNOWN, _STAND_IN = frozenset({"variant"}), "unknown"
#: Bytes in front of and behind a deletion vector in its file: its length and its checksum.
_AROUND_VECTOR = 8
_INSTANTS = (TimestampType, TimestamptzType)
_NANOS = (TimestampNanoType, TimestamptzNanoType)


@dataclass(frozen=True)
class SnapshotChoice:
    """Which snapshot of a table is meant; the current one where nothing is given.

    Attributes:
        snapshot_id: its number.
        as_of: the time, in milliseconds since 1970, at which it was the current one.
        branch: whose last one it is.
        tag: that names it.
    """

    snapshot_id: int | None = None
    as_of: int | None = None
    branch: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class _FileTimes:
    """The times in a data file: see :class:`feast_hybrid.files.resolved.ColumnTimes`."""

    schema: Schema
    lower: Mapping[int, bytes]
    upper: Mapping[int, bytes]

    def between(self, column: str) -> tuple[int, int] | None:
        """The first and the last time that the file can have in a column; None where the manifest does not say it."""
        field = next((field for field in self.schema.fields if field.name == column), None)
        if field is None:
            return None
        low, high = (_micros(bounds.get(field.field_id), field.field_type) for bounds in (self.lower, self.upper))
        return None if low is None or high is None or low > high else (low, high)


def _micros(bound: bytes | None, data_type: IcebergType) -> int | None:
    """A bound as a time in microseconds; None where it is none, or of a type that the column had once."""
    if bound is None:
        return None
    if isinstance(data_type, DateType) and len(bound) == 4:
        return int(struct.unpack("<i", bound)[0]) * DAY_MICROS
    if len(bound) != 8 or not isinstance(data_type, _INSTANTS + _NANOS):
        return None
    (value,) = struct.unpack("<q", bound)
    return int(value // 1000 if isinstance(data_type, _NANOS) else value)


@dataclass(frozen=True, eq=False)
class IcebergTable:
    """A snapshot of a table, for readers that declare other types.

    Attributes:
        location: the table's folder.
        metadata: of the table.
        unknown: number of a column → its type, where pyiceberg has no such type.
        schema: the one that the snapshot is read by.
        snapshot: None where the table holds nothing yet.
        files: of the snapshot.
    """

    location: Location
    metadata: TableMetadata
    unknown: Mapping[int, str]
    schema: Schema
    snapshot: Snapshot | None
    files: ListedFiles

    @property
    def note(self) -> str:
        """Which version it is."""
        if self.snapshot is None:
            return "no snapshot of the Iceberg table, which is empty"
        time = _EPOCH + timedelta(milliseconds=self.snapshot.timestamp_ms)
        return f"snapshot {self.snapshot.snapshot_id} of {time:%Y-%m-%dT%H:%M:%SZ} of the Iceberg table"

    def resolve(
        self, declared: Mapping[str, pa.DataType] | None = None, *, required: Collection[str] = ()
    ) -> ResolvedSchema:
        """The schema of the table for a reader: the snapshot's, a declared type where that is wider.

        Args:
            declared: types that are declared for columns of the source.
            required: columns that the table must have; files that were written before it had them give nulls.

        Raises:
            SchemaError: a required column is missing, or cannot be read.
            SourceError: a manifest gives a partition a value that is none of its column's type.
        """
        return resolve_table(
            self.location,
            self._columns,
            declared,
            required,
            partition_columns=list(dict.fromkeys(self._identities.values())),
            files=self._resolved_files,
            only_ours="the metadata of the Iceberg table says which files count",
        )

    @cached_property
    def _columns(self) -> list[TableColumn]:
        mapping = name_mapping(self.metadata.properties)
        return [table_column(field, mapping, self.unknown) for field in self.schema.fields]

    @cached_property
    def _identities(self) -> dict[tuple[int, int], str]:
        """Number of a partitioning, and of a field in it, whose values are a column's own → that column."""
        names = {field.field_id: field.name for field in self.schema.fields}
        return {
            (spec.spec_id, field.field_id): names[field.source_id]
            for spec in self.metadata.partition_specs
            for field in spec.fields
            if isinstance(field.transform, IdentityTransform) and field.source_id in names
        }

    @cached_property
    def places(self) -> tuple[tuple[ListedFile, str, DeletedRows | None], ...]:
        """Each file of rows, where it is, and which of its rows are deleted.

        Raises:
            IcebergFeatureError: a file is not on the table's site, or rows are deleted by what this package does not
                compare.
            SourceError: the manifest's value of a partition is none of its column's type.
        """
        everywhere = [
            spec.spec_id
            for spec in self.metadata.partition_specs
            if all(isinstance(field.transform, VoidTransform) for field in spec.fields)
        ]
        return tuple(
            (file, self._place(file.uri), self._deleted(file, deletes))
            for file, deletes in self.files.deletes_of(everywhere)
        )

    def _deleted(self, file: ListedFile, deletes: FileDeletes) -> DeletedRows | None:
        found: DeletedRows | None = None
        if (vector := deletes.vector) is not None:
            size = vector.size - _AROUND_VECTOR
            found = DeletionVector(self._place(vector.uri), vector.offset, size, vector.count)
        elif deletes.positions:
            found = PositionDeletes(file.uri, tuple(self._place(each.uri) for each in deletes.positions))
        if not deletes.equality:
            return found
        files = tuple(self._equality_files[each.uri] for each in deletes.equality)
        wanted = {number for each in deletes.equality for number in each.equality_ids}
        return EqualityDeletes(self._place(file.uri), files, self._constants(file, wanted), found)

    @cached_property
    def _equality_files(self) -> dict[str, EqualityFile]:
        return {
            each.uri: EqualityFile(
                self._place(each.uri), tuple(self._equality_columns[number] for number in each.equality_ids)
            )
            for each in self.files.equality
        }

    @cached_property
    def _equality_columns(self) -> dict[int, pa.Field]:
        """The columns by which rows are deleted, by their numbers, those too that the table has no more."""
        mapping = name_mapping(self.metadata.properties)
        schemas = (*self.metadata.schemas, self.metadata.schema())  # that of today last: its types are the widest
        columns = {
            field.field_id: table_column(field, mapping, self.unknown)
            for schema in schemas
            for field in schema.fields
        }
        found = {}
        for file in self.files.equality:
            for number in file.equality_ids:
                column = columns.get(number)
                if column is None:
                    raise needs(f"deletes by equality of a part of a column ({file.uri})")
                numbered = column.stored.numbered
                if numbered is None:
                    raise needs(f"deletes by equality of {column.name!r}, which {column.unreadable} ({file.uri})")
                if not is_comparable(numbered.type):
                    raise needs(f"deletes by equality of {column.name!r}, which is {numbered.type} ({file.uri})")
                found[number] = numbered
        return found

    def _constants(self, file: ListedFile, wanted: Collection[int]) -> dict[int, Any]:
        """What a file's partition says of columns, by their numbers."""
        spec = self.metadata.specs().get(file.spec)
        if spec is None:
            raise SourceError(f"the table's metadata has no partitioning {file.spec}, which {file.uri} has")
        found = {}
        for field in spec.fields:
            number = field.source_id
            if number in wanted and isinstance(field.transform, IdentityTransform):
                column = self._equality_columns[number]
                value = file.partition.get(field.field_id)
                found[number] = _partition_value(value, column.type, column.type, column.name, file)
        return found

    def _place(self, uri: str) -> str:
        try:
            return place_of(self.location, self.metadata.location, uri).path
        except (SourceError, RoutingError) as error:
            raise needs(f"a file that is not on the table's site ({uri})") from error

    def _resolved_files(self, types: Mapping[str, pa.DataType]) -> Iterator[ResolvedFile]:
        own = {column.name: column.stored.numbered.type for column in self._columns if column.stored.numbered}
        for file, path, deleted in self.places:
            values: dict[str, Any] = {}
            for number, value in file.partition.items():
                name = self._identities.get((file.spec, number))
                if name is not None and name in types:
                    values[name] = _partition_value(value, own[name], types[name], name, file)
            times = _FileTimes(self.schema, file.lower, file.upper)
            yield ResolvedFile(path, FileVersion(file.size), values, deleted, times)


def _partition_value(value: Any, own: pa.DataType, data_type: pa.DataType, name: str, file: ListedFile) -> Any:
    """A file's value of a column in the type that a reader has for it; None for null."""
    if value is None:
        return None
    try:
        if pa.types.is_timestamp(own):
            held = pa.array([value], pa.int64()).view(own)
        elif pa.types.is_date(own):
            held = pa.array([value], pa.int32()).view(own)
        else:
            held = pa.array([value], own)
        return convert_for_reading(held, data_type)[0].as_py()
    except SchemaError as error:
        raise SchemaError(f"partition column {name!r} of the file {file.uri}: {error}") from None
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        raise SourceError(
            f"the manifest gives the file {file.uri} {value!r} for the partition column {name!r}, which is no {own} "
            "that Python has"
        ) from None


def read_table(location: Location, choice: SnapshotChoice) -> IcebergTable:
    """A snapshot of the table at a place.

    Args:
        location: the table's folder, or one of its metadata files, which is taken as the last one.
        choice: which snapshot.

    Raises:
        IcebergFeatureError: the table needs what this package does not read.
        FileNotFoundError: no table is there.
        SourceError: a catalog keeps the table, it is damaged, or there is no such snapshot.
    """
    if location.name.endswith((".metadata.json", ".metadata.json.gz")) and location.parent().name == METADATA_FOLDER:
        version: TableVersion | None = read_version(location)
    else:
        version = last_version(location)
    if version is None:
        raise FileNotFoundError(location.path)
    raw, unknown = _with_known_types(version.raw)
    number = raw.get("format-version")
    if isinstance(number, int) and number > _NEWEST:
        raise needs(f"version {number} of the format")
    if any("manifest-list" not in snapshot for snapshot in raw.get("snapshots") or ()):  # pyiceberg knows no such
        raise needs("snapshots without a list of manifests")
    metadata = TableVersion(version.location, version.number, version.file, raw).metadata
    if metadata.properties.get("encryption.key-id"):
        raise needs("encryption (encryption.key-id)")
    snapshot, schema = _chosen(metadata, choice)
    if snapshot is None:
        files = ListedFiles()
    else:
        files = read_manifests(TableFiles(version.location, metadata.location), snapshot.manifest_list)
    table = IcebergTable(version.location, metadata, unknown, schema, snapshot, files)
    assert table.places is not None
    return table


def _with_known_types(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, str]]:
    """Metadata without the types that pyiceberg does not know, and the numbers of the columns that have them."""
    unknown: dict[int, str] = {}

    def known(part: Any) -> Any:
        if isinstance(part, list):
            return [known(each) for each in part]
        if not isinstance(part, dict):
            return part
        found = {key: known(value) for key, value in part.items()}
        for key, number in (("type", "id"), ("element", "element-id"), ("key", "key-id"), ("value", "value-id")):
            if isinstance(found.get(key), str) and found[key] in _UNKNOWN and number in found:
                unknown[found[number]] = found[key]
                found[key] = _STAND_IN
        return found

    patched = {**raw, **{name: known(raw[name]) for name in ("schema", "schemas") if name in raw}}
    return json.loads(json.dumps(patched)), unknown


def _chosen(metadata: TableMetadata, choice: SnapshotChoice) -> tuple[Snapshot | None, Schema]:
    """The snapshot that is meant, and the schema that it is read by: as Iceberg's own readers have it.

    Raises:
        SourceError: there is none.
    """
    if choice.branch is not None:
        return _snapshot(metadata, _referenced(metadata, choice.branch, "branch")), metadata.schema()
    if choice.tag is not None:
        number: int | None = _referenced(metadata, choice.tag, "tag")
    elif choice.as_of is not None:
        number = _as_of(metadata, choice.as_of)
    else:
        number = choice.snapshot_id
    if number is None:
        current = metadata.current_snapshot_id
        return None if current is None else _current(metadata, current), metadata.schema()
    snapshot = _snapshot(metadata, number)
    schema = next((schema for schema in metadata.schemas if schema.schema_id == snapshot.schema_id), None)
    if schema is None and snapshot.schema_id is not None:
        raise SourceError(f"the table's metadata has no schema {snapshot.schema_id}, which snapshot {number} has")
    return snapshot, schema or metadata.schema()


def _snapshot(metadata: TableMetadata, number: int) -> Snapshot:
    found = metadata.snapshot_by_id(number)
    if found is None:
        known = sorted(metadata.snapshots, key=lambda snapshot: snapshot.timestamp_ms)
        listed = ", ".join(str(snapshot.snapshot_id) for snapshot in known[-5:]) or "none"
        raise SourceError(f"the table has no snapshot {number}: it was expired, or never was. The last are {listed}")
    return found


def _current(metadata: TableMetadata, number: int) -> Snapshot:
    found = metadata.snapshot_by_id(number)
    if found is None:
        raise SourceError(f"the table's metadata is damaged: it has no snapshot {number}, which is its current one")
    return found


def _referenced(metadata: TableMetadata, name: str, kind: str) -> int:
    of_kind = {key: ref.snapshot_id for key, ref in metadata.refs.items() if ref.snapshot_ref_type.value == kind}
    if name not in of_kind:
        raise SourceError(f"the table has no {kind} {name!r}. There are: {', '.join(sorted(of_kind)) or 'none'}")
    return of_kind[name]


def _as_of(metadata: TableMetadata, as_of: int) -> int:
    found = [entry for entry in metadata.snapshot_log if entry.timestamp_ms <= as_of]
    if found:
        return found[-1].snapshot_id
    log = metadata.snapshot_log
    first = f"the first is of {log[0].timestamp_ms}" if log else "it has none"
    raise SourceError(f"the table has no snapshot as old as {as_of} (milliseconds since 1970); {first}")
