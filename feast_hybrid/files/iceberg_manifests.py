"""The files of a snapshot of an Iceberg table, as its manifests list them, with the deletes that go for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

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
        equality_ids: the numbers of the columns by which it deletes; empty for other files than deletes by equality.
    """

    uri: str
    size: int
    rows: int
    spec: int
    partition: Mapping[int, Any]
    sequence: int
    lower: Mapping[int, bytes]
    upper: Mapping[int, bytes]
    equality_ids: tuple[int, ...] = ()

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


class FileDeletes(NamedTuple):
    """What deletes rows of a data file.

    Attributes:
        vector: its deletion vector; None where it has none.
        positions: the files of positions that may have some of it; empty beside a vector, which holds all of them.
        equality: the files of values.
    """

    vector: ListedVector | None
    positions: tuple[ListedFile, ...]
    equality: tuple[ListedFile, ...]


@dataclass(frozen=True)
class ListedFiles:
    """What the manifests of a snapshot have.

    Attributes:
        data: the files of rows.
        deletes: the files of positions.
        vectors: URI of a data file → its deletion vector.
        equality: the files of values, whose rows are deleted.
    """

    data: Sequence[ListedFile] = ()
    deletes: Sequence[ListedFile] = ()
    vectors: Mapping[str, ListedVector] = field(default_factory=dict)
    equality: Sequence[ListedFile] = ()

    def deletes_of(self, unpartitioned: Collection[int]) -> Iterator[tuple[ListedFile, FileDeletes]]:
        """Each file of rows, and what deletes some of them.

        https://iceberg.apache.org/spec/#scan-planning has the rules. Positions count for files of their own commit
        too, values for those of earlier ones alone.

        Args:
            unpartitioned: the numbers of the partitionings without a field: values that are deleted by one are so in
                all partitions.
        """
        positions = _by_partition(self.deletes)
        everywhere = [each for each in self.equality if each.spec in unpartitioned]
        values = _by_partition(each for each in self.equality if each.spec not in unpartitioned)
        for file in self.data:
            key = file.partition_key if positions or values else ()
            near = [*everywhere, *values.get(key, ())]
            equality = tuple(each for each in near if file.sequence < each.sequence)
            vector = self.vectors.get(file.uri)
            if vector is not None and file.sequence <= vector.sequence:
                yield file, FileDeletes(vector, (), equality)
            else:
                found = tuple(each for each in positions.get(key, ()) if _is_of(each, file))
                yield file, FileDeletes(None, found, equality)


def _by_partition(files: Iterable[ListedFile]) -> dict[tuple[Any, ...], list[ListedFile]]:
    found: dict[tuple[Any, ...], list[ListedFile]] = {}
    for file in files:
        found.setdefault(file.partition_key, []).append(file)
    return found


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
    of_content: dict[DataFileContent, list[ListedFile]] = {content: [] for content in DataFileContent}
    vectors: dict[str, ListedVector] = {}
    for entry, file in (pair for entries in found for pair in entries):
        of = entry.data_file
        content, file_format = of.content, of.file_format
        if of.key_metadata is not None:
            raise needs(f"files that are encrypted ({of.file_path})")
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
        elif content == DataFileContent.EQUALITY_DELETES and not file.equality_ids:
            raise SourceError(f"the table does not say by which columns {of.file_path} deletes rows")
        else:
            of_content[content].append(file)
    data, deletes, equality = (
        of_content[content]
        for content in (DataFileContent.DATA, DataFileContent.POSITION_DELETES, DataFileContent.EQUALITY_DELETES)
    )
    return ListedFiles(data, deletes, vectors, equality)


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
        equality_ids=tuple(sorted(of.equality_ids or ())) if of.content == DataFileContent.EQUALITY_DELETES else (),
    )
