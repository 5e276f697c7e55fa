"""The files of a snapshot of an Iceberg table, as its manifests list them, with the deletes that go for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pyiceberg.avro.file import AvroFile
from pyiceberg.manifest import (
    DATA_FILE_TYPE,
    MANIFEST_ENTRY_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    read_manifest_list,
)

from feast_hybrid.errors import SourceError
from feast_hybrid.files.iceberg_avro import avro_input, naming
from feast_hybrid.files.iceberg_commit import IcebergFeatureError

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.types import StructType

#: Manifests that are read at once.
_THREADS = 8
#: Where the newest manifests have what the older ones have not.
_NEWEST = 3
_PARTITION, _FILE_PATH = 102, 2147483546
#: Where the newest form of an entry has the data file that is meant, and where its deletion vector stands.
_VECTOR = [
    position
    for position, field in enumerate(DATA_FILE_TYPE[_NEWEST].fields)
    if field.field_id in (143, 144, 145)  # referenced_data_file, content_offset, content_size_in_bytes
]


def needs(feature: str) -> IcebergFeatureError:
    """The error for what this package does not read."""
    return IcebergFeatureError(f"the Iceberg table needs {feature}, which feast-hybrid does not read")


@dataclass(frozen=True)
class ListedFile:
    """A file as a manifest has it.

    Attributes:
        uri: as the table writes it.
        size: in bytes.
        rows: how many it has.
        spec: the number of its partitioning.
        partition: number of a field of that → its value, as Avro has it.
        sequence: the number of the commit that it counts from.
        lower: number of a column → no value is less; as Iceberg writes single values.
        upper: no value is greater.
    """

    uri: str
    size: int
    rows: int
    spec: int
    partition: Mapping[int, Any]
    sequence: int
    lower: Mapping[int, bytes]
    upper: Mapping[int, bytes]

    @property
    def partition_key(self) -> tuple[Any, ...]:
        """The same for the files of one partition, for NaN too."""
        return (self.spec, *(f"{number} {value!r}" for number, value in sorted(self.partition.items())))


@dataclass(frozen=True)
class ListedVector:
    """A deletion vector of a data file: where it stands, and from which commit it counts."""

    uri: str
    offset: int
    size: int
    count: int
    sequence: int


@dataclass(frozen=True)
class ListedFiles:
    """What the manifests of a snapshot have.

    Attributes:
        data: the files of rows.
        deletes: the files of positions.
        vectors: URI of a data file → its deletion vector.
    """

    data: Sequence[ListedFile]
    deletes: Sequence[ListedFile]
    vectors: Mapping[str, ListedVector]

    def deletes_of(self) -> Iterator[tuple[ListedFile, ListedVector | None, tuple[str, ...]]]:
        """Each file of rows, with its deletion vector, or else the URIs of the files of positions that go for it."""
        by_partition: dict[tuple[Any, ...], list[ListedFile]] = {}
        for deletes in self.deletes:
            by_partition.setdefault(deletes.partition_key, []).append(deletes)
        for file in self.data:
            vector = self.vectors.get(file.uri)
            if vector is not None and file.sequence <= vector.sequence:
                yield file, vector, ()
                continue
            found = by_partition.get(file.partition_key, ()) if by_partition else ()
            yield file, None, tuple(each.uri for each in found if _is_of(each, file))


def _is_of(deletes: ListedFile, file: ListedFile) -> bool:
    """Whether a file of positions of a file's partition may have some of the file."""
    if file.sequence > deletes.sequence:
        return False
    path = file.uri.encode()
    low, high = deletes.lower.get(_FILE_PATH), deletes.upper.get(_FILE_PATH)
    return (low is None or low <= path) and (high is None or path <= high)


def read_manifests(files: FileIO, manifest_list: str) -> ListedFiles:
    """The files of a snapshot.

    Args:
        files: opens those of the table.
        manifest_list: the URI of the list of its manifests.

    Raises:
        IcebergFeatureError: it needs what this package does not read.
        SourceError: a manifest is gone, or damaged.
    """
    with naming(manifest_list):
        listed = read_manifest_list(avro_input(files, manifest_list))
        manifests = [each for each in listed if each.has_added_files() or each.has_existing_files()]
    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(lambda manifest: _entries(files, manifest), manifests))
    data: list[ListedFile] = []
    deletes: list[ListedFile] = []
    vectors: dict[str, ListedVector] = {}
    for entry, file in (pair for entries in found for pair in entries):
        of = entry.data_file
        content, file_format = of.content, of.file_format
        if of.key_metadata is not None:
            raise needs(f"files that are encrypted ({of.file_path})")
        if content == DataFileContent.EQUALITY_DELETES:
            raise needs(f"deletes by equality ({of.file_path})")
        if content == DataFileContent.POSITION_DELETES and file_format == FileFormat.PUFFIN:
            referenced, offset, size = (of[place] for place in _VECTOR)
            if referenced is None or offset is None or size is None:
                raise SourceError(f"the table does not say where in {of.file_path} a deletion vector stands")
            if referenced in vectors:
                raise SourceError(f"the table has two deletion vectors of {referenced}")
            vectors[referenced] = ListedVector(file.uri, offset, size, file.rows, file.sequence)
        elif file_format != FileFormat.PARQUET:
            what = "data" if content == DataFileContent.DATA else "deletes"
            raise needs(f"files of {what} in {str(file_format.value).capitalize()} ({of.file_path})")
        else:
            (data if content == DataFileContent.DATA else deletes).append(file)
    return ListedFiles(data, deletes, vectors)


def _entries(files: FileIO, manifest: ManifestFile) -> list[tuple[ManifestEntry, ListedFile]]:
    """The entries of a manifest that count."""
    if manifest.key_metadata is not None:
        raise needs(f"manifests that are encrypted ({manifest.manifest_path})")
    with (
        naming(manifest.manifest_path),
        AvroFile[ManifestEntry](
            avro_input(files, manifest.manifest_path),
            MANIFEST_ENTRY_SCHEMAS[_NEWEST],
            read_types={-1: ManifestEntry, 2: DataFile},
            read_enums={0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent},
        ) as reader,
    ):
        partition = cast("StructType", reader.schema.find_field(_PARTITION).field_type)
        fields = [field.field_id for field in partition.fields]
        return [
            (entry, _listed(entry, manifest, fields))
            for entry in reader
            if entry.status != ManifestEntryStatus.DELETED
        ]


def _listed(entry: ManifestEntry, manifest: ManifestFile, fields: Sequence[int]) -> ListedFile:
    of = entry.data_file
    sequence = entry.sequence_number
    if sequence is None:  # a new file's is that of the commit, which the list has
        if entry.status != ManifestEntryStatus.ADDED and manifest.sequence_number:
            raise SourceError(f"{manifest.manifest_path} is damaged: {of.file_path} has no sequence number")
        sequence = manifest.sequence_number or 0
    return ListedFile(
        uri=of.file_path,
        size=of.file_size_in_bytes,
        rows=of.record_count,
        spec=manifest.partition_spec_id,
        partition={number: of.partition[place] for place, number in enumerate(fields)},
        sequence=sequence,
        lower=of.lower_bounds or {},
        upper=of.upper_bounds or {},
    )
