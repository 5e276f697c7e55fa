"""A version of a Delta table as a source: its schema and files, for whoever reads Parquet files.

The table's log is all that is asked. What it says that this package does not read is refused by name, or left to
Spark's package: :class:`DeltaFeatureError`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.deletion_vectors import DeletionVector, deletion_vector
from feast_hybrid.files.delta_log import BrokenLogError, LoggedFile, Snapshot, read_snapshot
from feast_hybrid.files.delta_schema import table_columns
from feast_hybrid.files.delta_statistics import LoggedTimes
from feast_hybrid.files.listed_tables import TableColumn, TableFeatureError, resolve_table
from feast_hybrid.files.partitions import partition_value
from feast_hybrid.files.resolved import ResolvedFile, ResolvedSchema
from feast_hybrid.lakes.versions import FileVersion

if TYPE_CHECKING:
    from datetime import datetime

    from feast_hybrid.lakes.location import Location

#: The features by which a reader has to go, and by which this package does.
_READ_FEATURES = frozenset(
    {
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "typeWidening",
        "typeWidening-preview",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        # Of columns alone, which are left out where they cannot be read.
        "variantType",
        "variantType-preview",
        "variantShredding",
        "variantShredding-preview",
    }
)
#: The newest version of the protocol, by which a table names its features.
_NAMED_FEATURES = 3

_MAPPING_MODE = "delta.columnMapping.mode"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class DeltaFeatureError(TableFeatureError):
    """A table needs what this package does not read."""


def needs(feature: str) -> DeltaFeatureError:
    """The error for a feature that this package does not read."""
    return DeltaFeatureError(f"the Delta table needs {feature}, which feast-hybrid does not read")


@dataclass(frozen=True, eq=False)
class DeltaTable:
    """A version of a table, for readers that declare other types.

    Attributes:
        location: the table's folder.
        snapshot: what its log says of the version.
    """

    location: Location
    snapshot: Snapshot

    @property
    def version(self) -> int:
        """Its number."""
        return self.snapshot.version

    def resolve(
        self, declared: Mapping[str, pa.DataType] | None = None, *, required: Collection[str] = ()
    ) -> ResolvedSchema:
        """The schema of the table for a reader: the log's, a declared type where that is wider.

        Args:
            declared: types that are declared for columns of the source.
            required: columns that the table must have; files that were written before it had them give nulls.

        Raises:
            SchemaError: a required column is missing, or cannot be read.
            BrokenLogError: a partition's value is none of its column's type.
            DeltaFeatureError: see :func:`read_table`.
        """
        columns = [self._as_partition(column) for column in self._columns.values()]
        return resolve_table(
            self.location,
            columns,
            declared,
            required,
            partition_columns=self.partition_columns,
            files=self._files,
            only_ours="the log of the Delta table says which files count",
        )

    @property
    def note(self) -> str:
        """Which version it is."""
        return f"version {self.version} of the Delta table"

    def _as_partition(self, column: TableColumn) -> TableColumn:
        """A column, which cannot be read where it is a partition column whose values no text gives."""
        own = column.data_type
        if own is None or column.name not in self.partition_columns or _is_partition_type(own):
            return column
        return replace(column, data_type=None, unreadable=f"it is a partition column of the type {own}")

    @cached_property
    def _columns(self) -> dict[str, TableColumn]:
        mapped = _mapping_mode(self.snapshot) != "none"
        return {
            column.name: column for column in table_columns(self.snapshot.metadata["schemaString"], mapped=mapped)
        }

    def table_schema(self) -> pa.Schema:
        """The table's columns, partition columns too, for writers.

        Raises:
            DeltaFeatureError: one of them is of a type that this package does not know.
        """
        for column in self._columns.values():
            if column.data_type is None:
                raise DeltaFeatureError(f"the Delta table has the column {column.name!r}, which {column.unreadable}")
        return pa.schema([(column.name, column.data_type) for column in self._columns.values()])

    @cached_property
    def partition_columns(self) -> tuple[str, ...]:
        """Its partition columns, the outermost first.

        Raises:
            BrokenLogError: they are none of its columns.
        """
        names = tuple(self.snapshot.metadata.get("partitionColumns") or ())
        if unknown := [name for name in names if name not in self._columns]:
            raise BrokenLogError(f"the log has the partition column {unknown[0]!r}, and no such column in its schema")
        return names

    @cached_property
    def _places(self) -> tuple[tuple[str, DeletionVector | None], ...]:
        """Of each file, where it is, and which of its rows are deleted."""
        root = self.location.path.rstrip("/")
        return tuple(
            (f"{root}/{self._below_root(file.path)}", self._deleted(file, root)) for file in self.snapshot.files
        )

    def require_readable(self) -> None:
        """See that this package reads the table.

        Raises:
            DeltaFeatureError: it does not.
            BrokenLogError: the log's schema cannot be read.
        """
        assert self.partition_columns is not None
        assert self._places is not None

    def _files(self, types: Mapping[str, pa.DataType]) -> Iterator[ResolvedFile]:
        partitions = {
            column.stored.name: column
            for name, column in self._columns.items()
            if name in self.partition_columns and name in types
        }
        for file, (path, deleted) in zip(self.snapshot.files, self._places, strict=True):
            values: dict[str, Any] = {}
            for physical_name, column in partitions.items():
                if physical_name not in file.partitions:
                    raise BrokenLogError(f"the log gives the file {file.path} no value of partition {column.name!r}")
                text = file.partitions[physical_name]
                values[column.name] = _partition_value(text, column, types[column.name], file)
            times = LoggedTimes(file.statistics) if file.statistics else None
            yield ResolvedFile(path, FileVersion(file.size), values, deleted, times)

    def _below_root(self, path: str) -> str:
        prefix = f"{self.location}/"
        if path.startswith(prefix):
            return path.removeprefix(prefix)
        if _URI.match(path) or path.startswith("/"):
            raise needs(f"a file that is not in the table's folder ({path}), as a shallow clone has them")
        return path

    def _deleted(self, file: LoggedFile, root: str) -> DeletionVector | None:
        if not file.deletion_vector:
            return None
        if file.deletion_vector.get("storageType") == "p":
            raise needs("a deletion vector that is not in the table's folder, as a shallow clone has them")
        return deletion_vector(file.deletion_vector, root)


def read_table(location: Location, *, version: int | None = None, timestamp: datetime | None = None) -> DeltaTable:
    """A version of the table at a place; see :func:`feast_hybrid.files.delta_log.read_snapshot`.

    Raises:
        DeltaFeatureError: the table needs what this package does not read.
        FileNotFoundError, NoSuchVersionError, BrokenLogError: it is not to be had.
    """
    snapshot = read_snapshot(location, version=version, timestamp=timestamp)
    _refuse_features(snapshot)
    table = DeltaTable(location, snapshot)
    table.require_readable()
    return table


def _refuse_features(snapshot: Snapshot) -> None:
    reader_version = int(snapshot.protocol["minReaderVersion"])
    if reader_version > _NAMED_FEATURES:
        raise needs(f"version {reader_version} of the protocol for readers")
    if reader_version == _NAMED_FEATURES:
        unknown = sorted(set(snapshot.protocol.get("readerFeatures") or ()) - _READ_FEATURES)
        if unknown:
            raise needs(f"the reader feature {', '.join(unknown)}")
    mode = _mapping_mode(snapshot)
    if mode not in ("none", "name"):
        raise needs(f"column mapping by {mode}")
    provider = (snapshot.metadata.get("format") or {}).get("provider", "parquet")
    if provider != "parquet":
        raise needs(f"files of {provider}")


def _mapping_mode(snapshot: Snapshot) -> str:
    """How files' columns are found: ``none`` by their names, ``name`` by names that the log gives, ``id``."""
    # The property counts from the protocol's second version on.
    if int(snapshot.protocol["minReaderVersion"]) < 2:
        return "none"
    return snapshot.properties.get(_MAPPING_MODE, "none").lower()


def _is_partition_type(data_type: pa.DataType) -> bool:
    """Whether the log's text for a value of this type can be read."""
    is_ = pa.types
    return not (is_.is_binary(data_type) or is_.is_nested(data_type))


def _partition_value(text: str | None, column: TableColumn, data_type: pa.DataType, file: LoggedFile) -> Any:
    """A file's value of a partition column in the type that a reader has for it; None for null.

    Raises:
        BrokenLogError: it is none of the column's own type.
        SchemaError: it is none of the reader's.
    """
    if not text:  # an empty text is null, by the protocol
        return None
    own = column.data_type
    assert own is not None
    try:
        value = partition_value(text, own)
        held = pa.array([value], own)
    except (ValueError, ArithmeticError, AssertionError, pa.ArrowException):
        raise BrokenLogError(
            f"the log gives the file {file.path} {text!r} for the partition column {column.name!r}, which is no {own}"
        ) from None
    if own == data_type:
        return value
    try:
        return convert_for_reading(held, data_type)[0].as_py()
    except SchemaError as error:
        raise SchemaError(f"partition column {column.name!r} of the file {file.path}: {error}") from None
