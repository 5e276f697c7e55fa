"""What the footers of Parquet and ORC files say of their columns: read in parallel, and kept in the process."""

from __future__ import annotations

import io
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.arrow.faults import is_arrows
from feast_hybrid.arrow.old_calendar import columns_with_old_times
from feast_hybrid.arrow.unify import spark_form
from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.orc import FoundSchema, read_orc_footer
from feast_hybrid.lakes.errors import classify_storage_error
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.lakes.versions import file_version

if TYPE_CHECKING:
    from feast_hybrid.files.listing import DataFile
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

#: How many footers are read at once. Each waits for its lake, and for little else.
_CONCURRENT_READS = 32

#: Bytes at the end of a file that are read at first; few footers are longer.
_TAIL_BYTES = 64 << 10

#: Where Spark notes in a Parquet file which types its columns have.
_SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"

#: How many files' footers are kept. Files of one schema share what is said of it.
_KEPT_FOOTERS = 200_000

#: After how long it is said, each time, that footers are still being read.
_SECONDS_BETWEEN_NOTES = 20.0


class DamagedFileError(SourceError):
    """A file is none of its format, or not all of it."""


@dataclass(frozen=True)
class FileColumn:
    """A column of a file.

    Attributes:
        name: its name.
        data_type: its type as Spark has it; None where Spark has none.
        unreadable: why it has none; empty otherwise.
        only_ours: why Spark's own reader would fail on it or read it otherwise than we do; empty otherwise.
        times: how its times are kept, where Spark reads them by what a session or a JVM says: ``INT96`` or ``ORC``;
            empty otherwise.
        only_sparks: what it is or holds that our reader would read otherwise than Spark's; empty otherwise.
    """

    name: str
    data_type: pa.DataType | None
    unreadable: str = ""
    only_ours: str = ""
    times: str = ""
    only_sparks: str = ""


@dataclass(frozen=True)
class Footer:
    """What a file's footer says.

    Attributes:
        columns: in the file's order; one object for all files of a schema.
        int96: whether times are INT96.
        has_rows: whether there are any.
        has_no_names: see :class:`feast_hybrid.files.orc.FoundSchema`.
    """

    columns: tuple[FileColumn, ...]
    int96: bool
    has_rows: bool
    has_no_names: bool = False


class FooterCache:
    """The footers that this process has read, the last used ones; safe to use from several threads.

    Args:
        size: how many it keeps.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._footers: OrderedDict[object, Footer] = OrderedDict()

    def get(self, key: object) -> Footer | None:
        """The footer of a key, if it is kept."""
        with self._lock:
            footer = self._footers.get(key)
            if footer is not None:
                self._footers.move_to_end(key)
            return footer

    def put(self, key: object, footer: Footer) -> None:
        """Keep a footer, and let the one go that has not been used for longest."""
        with self._lock:
            self._footers[key] = footer
            self._footers.move_to_end(key)
            while len(self._footers) > self._size:
                self._footers.popitem(last=False)

    def __len__(self) -> int:
        return len(self._footers)


_CACHE = FooterCache(_KEPT_FOOTERS)


def read_footers(
    location: Location,
    file_format: str,
    files: Sequence[DataFile],
    *,
    skip_damaged: bool = False,
    cache: FooterCache = _CACHE,
) -> dict[str, Footer]:
    """The footers of files, by their paths: of all files, however many there are.

    What a source's columns are must not depend on how many footers could be read in some time.

    Args:
        location: whose file system has the files.
        file_format: ``parquet`` or ``orc``.
        files: in the order of their paths.
        skip_damaged: whether a file that cannot be read is left out of the result.
        cache: where footers are kept by file system, path and version.

    Raises:
        FileNotFoundError: a file is gone since it was listed, or another one is in its place.
        SourceError: a file is none of the format, or damaged; it is named.
    """
    filesystem = location.fs
    place = _identity(location)
    found: dict[str, Footer] = {}
    to_read = []
    for file in files:
        footer = cache.get((place, file_format, file.path, file.version)) if file.version.mark else None
        if footer is None:
            to_read.append(file)
        else:
            found[file.path] = footer
    is_local = location.lake is LakeType.LOCAL
    has_failed = Event()

    def read(file: DataFile) -> None:
        if has_failed.is_set():
            return
        try:
            footer = _read_footer(filesystem, file_format, file, is_local=is_local)
        except DamagedFileError:
            if skip_damaged:
                return
            raise
        if file.version.mark:
            cache.put((place, file_format, file.path, file.version), footer)
        found[file.path] = footer

    if len(to_read) == 1:
        read(to_read[0])
    elif to_read:
        next_note = time.monotonic() + _SECONDS_BETWEEN_NOTES
        with ThreadPoolExecutor(min(len(to_read), _CONCURRENT_READS)) as threads:
            try:
                for _ in threads.map(read, to_read):
                    if time.monotonic() > next_note:
                        next_note += _SECONDS_BETWEEN_NOTES
                        logger.warning(
                            "%s: %s of %s footers are read; in fewer and larger files this would take less long.",
                            location.describe(),
                            f"{len(found):,}",
                            f"{len(files):,}",
                        )
            except BaseException:
                has_failed.set()  # the others need not begin
                raise
    return found


def _identity(location: Location) -> object:
    """What tells one file system from another in this process, and who is signed in."""
    return location.site.name, location.site.uri, location.site.sign_in_key(location.uri)


def _read_footer(filesystem: Any, file_format: str, file: DataFile, *, is_local: bool) -> Footer:
    read = read_orc_footer if file_format == "orc" else _read_parquet_footer
    # On a machine's own disk Arrow opens the file itself, which is faster.
    source = file.path if is_local else _Tail(filesystem, file.path, file.size)
    try:
        found = read(source)
        notes = frozenset(found.spark_types.items()), frozenset(found.only_sparks.items())
        columns = _columns(found.schema, found.int96, file_format, *notes)
        return Footer(columns, bool(found.int96), found.rows > 0, found.has_no_names)
    except (pa.ArrowException, OSError, UnicodeError, ValueError) as error:
        if (isinstance(error, OSError) and not is_arrows(error)) or classify_storage_error(error) is not None:
            raise  # it is the lake that did not give it, as hdfs-native says in an OSError too
        if file_version(filesystem.info(file.path)) != file.version:
            raise FileNotFoundError(file.path) from None  # not the one that was listed
        if file_format == "parquet" and _ends_with_mark_of_encryption(filesystem, file):
            raise SourceError(
                f"{file.path} is a Parquet file with an encrypted footer. Spark reads it where its session has the "
                "keys (spark.hadoop.parquet.crypto.factory.class and what that needs). Give the source an option "
                "that begins with parquet.encryption., such as parquet.encryption.kms.instance.id, to leave its "
                "files to Spark."
            ) from None
        name = "ORC" if file_format == "orc" else "Parquet"
        raise DamagedFileError(
            f"{file.path} is no {name} file, or a damaged one ({_one_line(error)}). Write it anew, or move it away."
        ) from None


def _ends_with_mark_of_encryption(filesystem: Any, file: DataFile) -> bool:
    return bool(filesystem.cat_file(file.path, start=max(0, file.size - 4), end=file.size) == b"PARE")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]


def _read_parquet_footer(source: Any) -> FoundSchema:
    with pq.ParquetFile(source) as file:
        schema, rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows  # it is hashed below
        spark_types = _spark_types((file.metadata.metadata or {}).get(_SPARK_SCHEMA, b""))
        only_sparks = columns_with_old_times(file)
        if not _may_hold_int96(schema):
            return FoundSchema(schema, frozenset(), rows, spark_types, only_sparks)
        leaves = [file.schema.column(position) for position in range(len(file.schema))]
        int96 = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
    names = [name for name in schema.names if any(leaf == name or leaf.startswith(f"{name}.") for leaf in int96)]
    return FoundSchema(schema, frozenset(names), rows, spark_types, only_sparks)


@lru_cache(maxsize=256)
def _spark_types(noted: bytes) -> dict[str, str]:
    """Of the columns that Spark noted in a Parquet file those of a type that Parquet has not: intervals, variants."""
    if b"interval" not in noted and b"variant" not in noted:
        return {}
    try:
        fields = json.loads(noted)["fields"]
        found = {str(field["name"]): _only_sparks(field["type"]) for field in fields}
    except (ValueError, KeyError, TypeError):  # it is a note, and not what the file holds
        return {}
    return {name: spark_type for name, spark_type in found.items() if spark_type is not None}


def _only_sparks(data_type: Any) -> str | None:
    """The first type within a type of Spark's, as it notes them, that nobody else has; None where there is none."""
    if isinstance(data_type, str):
        return data_type if data_type.startswith("interval") or data_type == "variant" else None
    parts = [data_type[key] for key in ("elementType", "keyType", "valueType") if key in data_type]
    parts += [field["type"] for field in data_type.get("fields", ())]
    return next(filter(None, map(_only_sparks, parts)), None)


@lru_cache(maxsize=256)
def _may_hold_int96(schema: pa.Schema) -> bool:
    return any("timestamp[ns]" in str(data_type) for data_type in schema.types)


@lru_cache(maxsize=1024)
def _columns(
    schema: pa.Schema,
    int96: frozenset[str],
    file_format: str,
    spark_types: frozenset[tuple[str, str]],
    only_sparks: frozenset[tuple[str, str]],
) -> tuple[FileColumn, ...]:
    is_orc = file_format == "orc"
    without_type, with_reason = dict(spark_types), dict(only_sparks)
    columns = []
    for field in schema:
        if field.name in without_type:
            reason = f"Spark wrote it as {without_type[field.name]}, for which Feast has no type"
            columns.append(FileColumn(field.name, None, reason))
            continue
        is_instant = field.name in int96
        times = "INT96" if is_instant else "ORC" if is_orc and str(INSTANT) in str(field.type) else ""
        try:
            data_type = spark_form(field.type, naive_is_instant=is_instant)
        except SchemaError as error:
            columns.append(FileColumn(field.name, None, str(error)))
            continue
        only_ours = _only_ours(field.type, has_nanos=not is_instant)
        columns.append(FileColumn(field.name, data_type, "", only_ours, times, with_reason.get(field.name, "")))
    return tuple(columns)


def _only_ours(data_type: pa.DataType, *, has_nanos: bool) -> str:
    """Why Spark's reader would not read a column as we do; empty where it does."""
    text = str(data_type)
    if has_nanos and "timestamp[ns" in text:
        return "nanoseconds"
    if "halffloat" in text:
        return "half-precision numbers"
    if pa.types.is_null(data_type) or ": null" in text:
        return "null as its type"
    return ""


class _Tail(io.RawIOBase):
    """A file whose end is read in one request, and any other part when it is wanted."""

    def __init__(self, filesystem: Any, path: str, size: int) -> None:
        super().__init__()
        self._read_range: Callable[[int, int], Any] = lambda start, end: filesystem.cat_file(
            path, start=start, end=end
        )
        self._size, self._place = size, 0
        self._start = max(0, size - _TAIL_BYTES)
        self._tail = bytes(self._read_range(self._start, size))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = origin + offset
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._place + size)
        start, self._place = self._place, max(self._place, end)
        if start >= end:
            return b""
        if start >= self._start:
            return self._tail[start - self._start : end - self._start]
        return bytes(self._read_range(start, end))
