"""What a commit that adds files to an Iceberg table at a path says, and what a table asks of whoever adds some.

The table's metadata is taken as it was read and added to, so that what this package does not know of it stays. What
it does not do for a table, such as to write the manifests of format version 3, is refused by name.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.manifest import (
    DataFile,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    read_manifest_list,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.snapshots import Operation, SnapshotSummaryCollector, Summary, update_snapshot_summaries
from pyiceberg.transforms import IdentityTransform

from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.iceberg_avro import avro_input, naming
from feast_hybrid.files.iceberg_files import partition_columns
from feast_hybrid.files.iceberg_types import arrow_schema, never_null_part
from feast_hybrid.files.listed_tables import TableFeatureError

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata

#: The versions of the format whose manifests are written.
_WRITTEN_VERSIONS = (1, 2)
#: Properties by which a writer has more to do, or does it elsewhere, and what that is.
_PROPERTIES = {
    "write.metadata.path": "metadata elsewhere than in its folder",
    "write.location-provider.impl": "a class that names its files",
    "write.py-location-provider.impl": "a class that names its files",
    "write.folder-storage.path": "a folder of data by its old name",
    "write.object-storage.path": "a folder of data by its old name",
    "encryption.key-id": "encryption",
}
_AVRO_CODEC = "write.avro.compression-codec"
_METADATA_CODEC = "write.metadata.compression-codec"
#: What metadata, manifests and data files are compressed by, the usual codec first.
_CODECS = {
    _METADATA_CODEC: ("none", "gzip"),
    _AVRO_CODEC: ("gzip", "zstd", "snappy", "uncompressed"),
    "write.parquet.compression-codec": ("zstd", "gzip", "snappy", "brotli", "lz4", "uncompressed"),
}
_FORMAT = "write.format.default"
_KEPT = "write.metadata.previous-versions-max"
_DELETED = "write.metadata.delete-after-commit.enabled"
#: What a snapshot says of the batch that it added, by which another attempt of a task knows it.
BATCH = "feast-hybrid.batch"
#: What the metadata of no snapshot calls it.
_NO_SNAPSHOT = -1


class IcebergFeatureError(TableFeatureError):
    """A table needs what this package does not do."""


def appending_needs(raw: Mapping[str, Any]) -> str | None:
    """What a table asks of a writer that this package does not do; None where it can add rows.

    Args:
        raw: the table's metadata, of any version of the format.
    """
    version_of_format = raw.get("format-version")
    if version_of_format not in _WRITTEN_VERSIONS:
        return f"version {version_of_format} of the format in what is written"
    properties = raw.get("properties") or {}
    for name, what in _PROPERTIES.items():
        if properties.get(name):
            return f"{what} ({name})"
    file_format = properties.get(_FORMAT, "parquet").lower()
    if file_format != "parquet":
        return f"data files of {file_format} ({_FORMAT})"
    for name, known in _CODECS.items():
        codec = properties.get(name, known[0]).lower()
        if codec not in known:
            return f"the compression {codec} ({name})"
    if any("manifest-list" not in snapshot for snapshot in raw.get("snapshots") or ()):
        return "snapshots without a list of manifests"
    return None


def columns_need(metadata: TableMetadata) -> str | None:
    """What a table's columns and partitions ask of a writer that this package does not do; None where they do not."""
    if (part := never_null_part(metadata.schema())) is not None:
        return f"a part of a column that is never null ({part!r}) to be checked"
    try:
        arrow_schema(metadata.schema())
        partition_columns(metadata.schema(), metadata.spec())
    except SchemaError as error:
        return str(error)
    return None


def metadata_suffix(properties: Mapping[str, str]) -> str:
    """How the name of a metadata file ends."""
    return ".gz.metadata.json" if properties.get(_METADATA_CODEC, "none").lower() == "gzip" else ".metadata.json"


def encoded(raw: Mapping[str, Any], name: str) -> bytes:
    """The content of a metadata file."""
    content = json.dumps(raw).encode()
    return gzip.compress(content) if name.endswith(".gz.metadata.json") else content


def data_paths(metadata: TableMetadata, names: Sequence[str]) -> list[str]:
    """Where data files belong: URIs, as the table writes them.

    Args:
        metadata: of the table.
        names: of the files, with the folders of their partitions.
    """
    properties = metadata.properties
    provider = load_location_provider(metadata.location, properties)
    if properties.get("write.object-storage.partitioned-paths", "true").lower() == "false" and (
        properties.get("write.object-storage.enabled", "false").lower() == "true"
    ):
        names = [name.rpartition("/")[2] for name in names]
    return [provider.new_data_location(name) for name in names]


def first_metadata(schema: Schema, partition: str | None, location: str) -> dict[str, Any]:
    """The metadata of a table that holds nothing yet.

    Args:
        schema: its columns.
        partition: the column by whose values it is partitioned, if any.
        location: its URI.
    """
    fields = []
    if partition is not None:
        source = schema.find_field(partition)
        fields.append(PartitionField(source.field_id, PARTITION_FIELD_ID_START, IdentityTransform(), partition))
    spec = PartitionSpec(*fields, spec_id=0)
    return {
        "format-version": 2,
        "table-uuid": str(uuid.uuid4()),
        "location": location,
        "last-sequence-number": 0,
        "last-updated-ms": _now(),
        "last-column-id": schema.highest_field_id,
        "current-schema-id": 0,
        "schemas": [json.loads(schema.model_dump_json())],
        "default-spec-id": 0,
        "partition-specs": [json.loads(spec.model_dump_json())],
        "last-partition-id": max([PARTITION_FIELD_ID_START - 1, *(part.field_id for part in fields)]),
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {"write.parquet.compression-codec": "zstd"},
        "current-snapshot-id": _NO_SNAPSHOT,
        "refs": {},
        "snapshots": [],
        "statistics": [],
        "partition-statistics": [],
        "snapshot-log": [],
        "metadata-log": [],
    }


def _now() -> int:
    return int(time.time() * 1000)


def is_there(raw: Mapping[str, Any], *, batch: str | None = None, snapshot_id: int | None = None) -> bool:
    """Whether a batch, or a snapshot, was committed to a table; it counts also where somebody has taken it back."""
    for snapshot in raw.get("snapshots") or ():
        if snapshot["snapshot-id"] == snapshot_id:
            return True
        if batch is not None and (snapshot.get("summary") or {}).get(BATCH) == batch:
            return True
    return False


@dataclass(frozen=True)
class Addition:
    """Data files that are to be added to a table by one commit, however often that is tried.

    Attributes:
        metadata: of the table that they were written for.
        files: what manifests say of them.
        batch: what the writer calls them, so that they are added once; None where it does not.
        snapshot_id: of the commit.
        token: in the names of its files.
    """

    metadata: TableMetadata
    files: Sequence[DataFile]
    batch: str | None
    snapshot_id: int
    token: str = field(default_factory=lambda: str(uuid.uuid4()))

    def manifest(self) -> tuple[ManifestFile, bytes]:
        """The manifest that names the files."""
        to = _Memory(f"{self._folder}/{self.token}-m0.avro")
        metadata = self.metadata
        writer = write_manifest(
            metadata.format_version, metadata.spec(), metadata.schema(), to, self.snapshot_id, self._codec
        )
        with writer:
            for file in self.files:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self.snapshot_id,
                    sequence_number=None,
                    file_sequence_number=None,
                    data_file=file,
                )
                writer.add(entry)
        return writer.to_manifest_file(), to.content

    def commit(
        self, raw: Mapping[str, Any], file: str | None, earlier: Sequence[ManifestFile], manifest: ManifestFile
    ) -> Commit:
        """The commit that follows another one.

        Args:
            raw: the metadata of that one, of a table that is what the files were written for.
            file: its URI; None for a table that is not there yet.
            earlier: the manifests of its current snapshot.
            manifest: of the files that are added.
        """
        name = f"snap-{self.snapshot_id}-{uuid.uuid4()}.avro"
        to = _Memory(f"{self._folder}/{name}")
        parent = _current(raw)
        sequence = int(raw.get("last-sequence-number") or 0) + 1
        # The writer of lists puts the commit's sequence number into what it gets, which the next try would keep.
        kept = (each for each in earlier if each.has_added_files() or each.has_existing_files())
        listed = [_copied(manifest), *kept]
        with write_manifest_list(
            self.metadata.format_version,
            to,
            self.snapshot_id,
            None if parent is None else parent["snapshot-id"],
            sequence,
            self._codec,
        ) as writer:
            writer.add_manifests(listed)
        snapshot = {
            "snapshot-id": self.snapshot_id,
            **({} if parent is None else {"parent-snapshot-id": parent["snapshot-id"]}),
            **({} if self.metadata.format_version == 1 else {"sequence-number": sequence}),
            "timestamp-ms": max(_now(), int(raw["last-updated-ms"])),
            "summary": self._summary(parent),
            "manifest-list": to.location,
            **({"schema-id": raw["current-schema-id"]} if "current-schema-id" in raw else {}),
        }
        return Commit(name, to.content, _followed(raw, file, snapshot))

    @property
    def _folder(self) -> str:
        return f"{self.metadata.location.rstrip('/')}/metadata"

    @property
    def _codec(self) -> Any:
        return self.metadata.properties.get(_AVRO_CODEC, "gzip").lower()

    def _summary(self, parent: Mapping[str, Any] | None) -> dict[str, str]:
        limit = self.metadata.properties.get("write.summary.partition-limit", "0")
        collector = SnapshotSummaryCollector(int(limit) if limit.isdecimal() else 0)
        for file in self.files:
            collector.add_file(file, self.metadata.schema(), self.metadata.spec())
        more = {"engine-name": "feast-hybrid", "engine-version": version("feast-hybrid")}
        if self.batch is not None:
            more[BATCH] = self.batch
        before = {} if parent is None else dict(parent.get("summary") or {"total-records": ""})
        totals = {key: value for key, value in before.items() if key.startswith("total-") and value.isdecimal()}
        if parent is not None and not totals:  # not said: they are not counted from nothing
            return dict(Summary(Operation.APPEND, **collector.build(), **more).model_dump())
        summary = update_snapshot_summaries(Summary(Operation.APPEND, **collector.build(), **more), totals)
        return dict(summary.model_dump())


def _copied(manifest: ManifestFile) -> ManifestFile:
    """A manifest that shares nothing with the other, as ``copy`` would have it."""
    return ManifestFile(*[manifest[place] for place in range(len(manifest))])


@dataclass(frozen=True)
class Commit:
    """A commit that nobody has made yet.

    Attributes:
        list_name: the name of its list of manifests, in the table's folder of metadata.
        list_content: that list.
        raw: the table's metadata after it.
    """

    list_name: str
    list_content: bytes
    raw: Mapping[str, Any]


def _current(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The current snapshot; None where there is none.

    Raises:
        SourceError: the metadata has not the one that it names.
    """
    at = raw.get("current-snapshot-id")
    if at in (None, _NO_SNAPSHOT):
        return None
    for snapshot in raw.get("snapshots") or ():
        if snapshot["snapshot-id"] == at:
            return dict(snapshot)
    raise SourceError(f"the table's metadata is damaged: it has no snapshot {at}, which is its current one")


def _followed(raw: Mapping[str, Any], file: str | None, snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with a snapshot more, which is the current one."""
    after = copy.deepcopy(dict(raw))
    now, number = snapshot["timestamp-ms"], snapshot["snapshot-id"]
    after["last-updated-ms"] = now
    if "sequence-number" in snapshot:
        after["last-sequence-number"] = snapshot["sequence-number"]
    after["snapshots"] = [*(after.get("snapshots") or ()), snapshot]
    after["current-snapshot-id"] = number
    main = (after.get("refs") or {}).get("main", {})
    after["refs"] = {**(after.get("refs") or {}), "main": {**main, "snapshot-id": number, "type": "branch"}}
    after["snapshot-log"] = [*(after.get("snapshot-log") or ()), {"timestamp-ms": now, "snapshot-id": number}]
    if file is not None:
        entry = {"timestamp-ms": raw["last-updated-ms"], "metadata-file": file}
        log = [*(after.get("metadata-log") or ()), entry]
        after["metadata-log"] = log[-_kept(after) :]
    return after


def _kept(raw: Mapping[str, Any]) -> int:
    """How many earlier metadata files a table knows of."""
    text = (raw.get("properties") or {}).get(_KEPT, "100").strip()
    return max(int(text), 1) if text.isdecimal() else 100


def deletes_metadata(raw: Mapping[str, Any]) -> bool:
    """Whether a table wants metadata files to be deleted that it knows of no more."""
    return str((raw.get("properties") or {}).get(_DELETED, "false")).lower() == "true"


def forgotten_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The metadata files that a commit forgets and the table wants to be deleted: URIs, as the table writes them."""
    if not deletes_metadata(after):
        return []
    known = {entry["metadata-file"] for entry in after.get("metadata-log") or ()}
    earlier = [entry["metadata-file"] for entry in before.get("metadata-log") or ()]
    return [file for file in earlier if file not in known]


def manifests_of(raw: Mapping[str, Any], files: FileIO) -> list[ManifestFile]:
    """The manifests of the current snapshot; none where there is none.

    Args:
        raw: the table's metadata.
        files: opens the list of them.

    Raises:
        SourceError: the list is gone, or damaged.
    """
    current = _current(raw)
    if current is None:
        return []
    with naming(current["manifest-list"]):
        return list(read_manifest_list(avro_input(files, current["manifest-list"])))


class _Kept(io.BytesIO):
    """Bytes that stay when the file is closed."""

    def __init__(self, memory: _Memory) -> None:
        super().__init__()
        self._memory = memory

    def close(self) -> None:
        if not self.closed:
            self._memory.content = self.getvalue()
        super().close()


class _Memory(OutputFile):
    """A file that is written in memory."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.content = b""

    def __len__(self) -> int:
        return len(self.content)

    def exists(self) -> bool:
        return False

    def to_input_file(self) -> InputFile:
        raise NotImplementedError

    def create(self, overwrite: bool = False) -> Any:  # noqa: ARG002
        return _Kept(self)
