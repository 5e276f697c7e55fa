"""Small Parquet files of a source made into fewer ones, sorted by key and time; no rows, types or names change.

Folder by folder, files of one schema are read, sorted, written beside, read again and compared, and then put in the
place of the old ones, for readers in one step (:class:`feast_hybrid.lakes.replace.Exchange`). What is held in memory
at once is bounded: where files of a folder are more, they are done in several parts, each with times of its own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_hybrid.errors import SourceError, WriteError
from feast_hybrid.files.globs import SIGNS
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.lakes.markers import BEING_REPLACED_ADVICE
from feast_hybrid.lakes.replace import Exchange, recover
from feast_hybrid.lakes.versions import FilesChangedError, modified
from feast_hybrid.sources.file_schema import reader_options, source_errors
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.writing.batches import key_and_time
from feast_hybrid.writing.naming import TASK_FILE, TASKS_MAY_RETRY
from feast_hybrid.writing.parquet_layout import (
    ROW_GROUP_ROWS,
    SORTED_BYTES,
    empty_file,
    encoded,
    is_sorted_by,
    sort_columns,
    sorted_rows,
)
from feast_hybrid.writing.row_sums import RowSums

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.files.listing import DataFile, Listing
    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

#: How many footers are read at once.
_FOOTERS_AT_ONCE = 16
#: The rows in memory, the same in another order, and a file that is made of them.
_COPIES = 4
#: How often a folder is done that others write to meanwhile.
_TRIES = 3
#: Rows that are written in a dry run, in memory, to know how small they get.
_SAMPLE_ROWS = 200_000
#: How Spark calls the files of bucketed tables, by whose names it knows which keys they have.
_BUCKET_FILE = re.compile(r"part-\d{5,}-.*_\d{5,}\.c\d{3,}\..*")
#: Beginnings of what Spark notes of a file by which it reads its values. The notes of others are not kept.
_SPARKS_NOTES = b"org.apache.spark."
_ROW_METADATA = b"org.apache.spark.sql.parquet.row.metadata"


@dataclass(frozen=True)
class Budget:
    """What is aimed at, in bytes.

    Attributes:
        file_bytes: the size of new files; files of half of it or more are not small.
        memory_bytes: what may be held at once.
    """

    file_bytes: int = 128 << 20
    memory_bytes: int = 1 << 30

    @property
    def rows_bytes(self) -> int:
        """How many bytes of rows may be held at once, as Arrow has them."""
        return min(self.memory_bytes // _COPIES, SORTED_BYTES)


@dataclass(frozen=True)
class Totals:
    """What is there."""

    files: int = 0
    size: int = 0
    row_groups: int = 0

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(self.files + other.files, self.size + other.size, self.row_groups + other.row_groups)


@dataclass
class Outcome:
    """What was, or would be, done.

    Attributes:
        source: its name and place.
        sorted_by: columns, in their order.
        before: all files of the source.
        after: the same, then; in a dry run the bytes are reckoned from a sample.
        folders: how many have files that are, or would be, rewritten.
        left: path of a file that stays as it is, though it is small or not sorted → why.
    """

    source: str
    sorted_by: tuple[str, ...] = ()
    before: Totals = field(default_factory=Totals)
    after: Totals = field(default_factory=Totals)
    folders: int = 0
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shape:
    """What files have in common that can be written as one.

    Attributes:
        key: equal for files of one shape.
        schema: Arrow's, with what Spark notes of the files.
        int96: whether times are INT96.
        store_schema: whether Arrow has noted its schema in the files.
        reason: why such files are not written by us; empty where they are.
    """

    key: str
    schema: pa.Schema
    int96: bool
    store_schema: bool
    reason: str

    def encoded(self, rows: pa.Table, sorted_by: Sequence[str], options: Mapping[str, str]) -> pa.Buffer:
        return encoded(rows, sorted_by, options, int96=self.int96, store_schema=self.store_schema)


@dataclass(frozen=True)
class _File:
    """A file, by its footer."""

    listed: DataFile
    rows: int
    row_groups: int
    plain_bytes: int
    is_sorted: bool
    first_time: Any
    shape: _Shape

    @property
    def name(self) -> str:
        return self.listed.path.rpartition("/")[2]

    @property
    def totals(self) -> Totals:
        return Totals(1, self.listed.size, self.row_groups)


def optimize(
    store: HybridSparkOfflineStoreConfig,
    view: FeatureView,
    *,
    budget: Budget | None = None,
    partition: str = "",
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Compact and sort the Parquet files of a feature view's source.

    Each exchange of old files for new ones is seen whole or not at all, and changes no rows: so what was done before
    an error, or before Ctrl-C, stays and is good. What others add meanwhile stays too.

    Args:
        store: the offline store.
        view: whose source it is; its join keys and event time are what rows are sorted by.
        budget: sizes of files and of memory.
        partition: only folders below this one of the source's, such as ``day=2026-01-10``.
        dry_run: whether nothing is written.
        progress: gets how many folders are done, and of how many.

    Raises:
        SourceError: the source is none of plain Parquet files, or nothing is there.
        WriteError: the lake refused it, or rows would not be the same afterwards.
        ReplacementError: an exchange could be neither finished nor taken back; it says what is there.
    """
    source = source_spec(view.batch_source, store.router, view=view)
    location = _plain(source)
    work = _Optimization(source, location, key_and_time(view, source), budget or Budget(), partition)
    what = f"optimizing {source.label} ({source.describe()})"
    with translate_client_errors(WriteError, what, "failed", sites=[location.site]):
        return work.planned() if dry_run else work.done(progress)


def _plain(source: SourceSpec) -> Location:
    """The place of a source of Parquet files.

    Raises:
        SourceError: it is another one; the error says what to use for it.
    """
    location = source.location
    found = ""
    if location is None:
        kind = "a table" if source.table is not None else "a query"
        found = f"is {kind}, whose files are not ours to rewrite. Its engine compacts it"
    elif source.file_format in TABLE_FORMATS:
        statement = {"delta": "OPTIMIZE … ZORDER BY", "iceberg": "rewrite_data_files"}.get(
            source.file_format or "", "compaction"
        )
        found = f"is of {source.file_format}, whose log says which files count: use its own {statement}"
    elif source.file_format != "parquet":
        found = f"is of {source.file_format}; only Parquet files are rewritten"
    elif SIGNS & set(location.uri.path):
        found = "is a pattern; name one folder"
    elif options := _options(source):
        found = f"has options that say which files count, or how they are read: {', '.join(options)}"
    if found or location is None:
        raise SourceError(f"{source.label} ({source.describe()}) {found}.")
    return location


def _options(source: SourceSpec) -> list[str]:
    options = reader_options(source)
    return sorted(options.to_spark)


class _Optimization:
    """The work on one source."""

    def __init__(
        self, source: SourceSpec, location: Location, order: Sequence[str], budget: Budget, partition: str
    ) -> None:
        self._source, self._location, self._order = source, location, order
        self._budget = budget
        self._root = location.path.rstrip("/")
        self._partition = partition.strip("/")
        self._shapes: dict[str, _Shape] = {}
        self._outcome = Outcome(f"{source.label} ({source.describe()})")

    # What is there.

    def planned(self) -> Outcome:
        """What would be done."""
        chosen: list[list[_File]] = []
        for files in self._folders(self._listed()).values():
            groups = self._groups(self._noted(files))
            chosen += groups
            self._outcome.folders += bool(groups)
        largest = max(chosen, key=lambda group: sum(file.rows for file in group), default=[])
        ratio = self._ratio_of_sample(largest)
        after = self._outcome.before
        for group in chosen:
            after = _less(after, group).plus(self._expected(group, ratio))
        self._outcome.after = after
        return self._outcome

    def done(self, progress: Callable[[int, int], None] | None) -> Outcome:
        """Do it."""
        listing = self._listed()
        if listing.markers:
            for marker in listing.markers:
                if marker.startswith(f"{self._root}/"):  # what is about a folder above is not ours to end
                    recover(self._below(marker.rpartition("/")[0]))
            listing = self._listed()
            if listing.markers:
                raise WriteError(f"{listing.markers[0]}: {BEING_REPLACED_ADVICE}")
        folders = self._folders(listing)
        for number, (path, files) in enumerate(folders.items()):
            after = self._done_in(self._below(path), self._noted(files))
            self._outcome.after = self._outcome.after.plus(after)
            if progress is not None:
                progress(number + 1, len(folders))
        return self._outcome

    def _listed(self) -> Listing:
        with source_errors(self._source):
            listing = list_files(self._location, read_by_us=True)
            if any(file.path == self._root for file in listing.files):
                raise SourceError("it is one file; only folders of files are rewritten")
        prefix = f"{self._root}/{self._partition}/" if self._partition else f"{self._root}/"
        listing.files = [file for file in listing.files if file.path.startswith(prefix)]
        if not listing.files:
            raise SourceError(f"{self._source.label}: {self._source.describe()} holds no files {self._partition}.")
        return listing

    def _below(self, path: str) -> Location:
        name = path.removeprefix(self._root).strip("/")
        return self._location.child(name) if name else self._location

    def _folders(self, listing: Listing) -> dict[str, list[DataFile]]:
        folders: dict[str, list[DataFile]] = {}
        for file in listing.files:
            folders.setdefault(file.path.rpartition("/")[0], []).append(file)
        return folders

    def _noted(self, files: Iterable[DataFile]) -> list[_File]:
        """The footers of files, which count among those that were there before."""
        found = self._footers(files)
        self._outcome.before = self._outcome.before.plus(_total(found))
        return found

    def _footers(self, files: Iterable[DataFile]) -> list[_File]:
        with source_errors(self._source), ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
            return list(threads.map(self._footer, files))

    def _footer(self, listed: DataFile) -> _File:
        with self._opened(listed.path) as file:
            metadata = file.metadata
            shape = self._shape(file)
            columns = sort_columns(shape.schema, self._order)
            self._outcome.sorted_by = self._outcome.sorted_by or columns
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            return _File(
                listed,
                metadata.num_rows,
                metadata.num_row_groups,
                sum(group.total_byte_size for group in groups),
                not columns or is_sorted_by(metadata, columns),
                _first_time(metadata, self._source.timestamp if self._source.timestamp_field else ""),
                shape,
            )

    @contextmanager
    def _opened(self, path: str) -> Iterator[pq.ParquetFile]:
        with (
            self._location.fs.open(path, "rb") as source,
            pq.ParquetFile(source, coerce_int96_timestamp_unit="us") as file,
        ):
            yield file

    def _shape(self, file: pq.ParquetFile) -> _Shape:
        noted = file.metadata.metadata or {}
        notes = {name: value for name, value in noted.items() if name.startswith(_SPARKS_NOTES)}
        schema = file.schema_arrow.remove_metadata()
        stored = b"ARROW:schema" in noted
        leaves = _leaves(file.metadata.schema)
        key = repr((leaves, schema.serialize().to_pybytes(), sorted(notes.items()), stored))
        if key not in self._shapes:
            int96 = any(leaf.physical == "INT96" for leaf in leaves)
            reason = _why_left(schema, leaves, notes, str(file.metadata.schema), int96=int96)
            self._shapes[key] = _Shape(key, schema.with_metadata(notes or None), int96, stored, reason)
        return self._shapes[key]

    # What is to be done.

    def _groups(self, files: Iterable[_File]) -> list[list[_File]]:
        """The files of a folder that are to be written anew, those together that can be one, in order of times."""
        by_shape: dict[str, list[_File]] = {}
        for file in files:
            by_shape.setdefault(file.shape.key, []).append(file)
        groups = []
        for of_shape in by_shape.values():
            found = [file for file in of_shape if self._is_small(file) or not file.is_sorted]
            if not self._is_worth_it(found):
                continue
            chosen = []
            for file in found:
                if reason := self._why_left(file):
                    self._outcome.left[str(self._below(file.listed.path))] = reason
                else:
                    chosen.append(file)
            if self._is_worth_it(chosen):
                order = sorted(chosen, key=lambda file: (file.first_time is not None, file.first_time or 0))
                groups += self._parts(order)
        return groups

    def _is_small(self, file: _File) -> bool:
        return file.listed.size * 2 < self._file_bytes

    @property
    def _file_bytes(self) -> int:
        """The size of new files: no more than is held at once, or what was written would be small again."""
        return max(1, min(self._budget.file_bytes, self._budget.rows_bytes // 2))

    @staticmethod
    def _is_worth_it(files: Sequence[_File]) -> bool:
        """Several small files, or one whose row groups can be told apart by their keys."""
        return len(files) > 1 or any(not file.is_sorted and file.rows > ROW_GROUP_ROWS for file in files)

    def _why_left(self, file: _File) -> str:
        if file.shape.reason:
            return file.shape.reason
        if file.plain_bytes > self._budget.rows_bytes:
            return f"it takes more than a quarter of the memory, {self._budget.memory_bytes >> 20} MB: see --memory"
        if _BUCKET_FILE.fullmatch(file.name):
            return "its name says which bucket of a table it is"
        if TASK_FILE.fullmatch(file.name):
            written = modified(self._location.fs.info(file.listed.path))
            if written is not None and datetime.now(UTC) - written < TASKS_MAY_RETRY:
                return "a task of Spark's wrote it, and may write it again within a day"
        return ""

    def _parts(self, files: Sequence[_File]) -> list[list[_File]]:
        """Files divided by what may be held at once."""
        parts: list[list[_File]] = [[]]
        size = 0
        for file in files:
            if parts[-1] and size + file.plain_bytes > self._budget.rows_bytes:
                parts.append([])
                size = 0
            parts[-1].append(file)
            size += file.plain_bytes
        return [part for part in parts if self._is_worth_it(part)]

    def _expected(self, files: Sequence[_File], ratio: float) -> Totals:
        """What a group becomes.

        Args:
            files: of it.
            ratio: of the bytes after and before.
        """
        size, rows = int(_total(files).size * ratio), sum(file.rows for file in files)
        # Not more than there were, unless it is one large file.
        most = len(files) if len(files) > 1 else rows
        number = max(1, min(round(size / self._file_bytes), most))
        return Totals(number, size, number * max(1, -(-rows // number // ROW_GROUP_ROWS)))

    def _ratio_of_sample(self, files: Sequence[_File]) -> float:
        """How small the first rows of some files get."""
        if not files:
            return 1.0
        rows = [sum(file.rows for file in files[: number + 1]) for number in range(len(files))]
        enough = next((number for number, found in enumerate(rows) if found >= _SAMPLE_ROWS), len(files) - 1)
        sample, read = self._rows_of(files[: enough + 1])
        return self._ratio(sample, read) if read else 1.0

    def _ratio(self, rows: pa.Table, files: Sequence[_File]) -> float:
        """How small the rows of some files get, by writing some of them to memory."""
        if not rows.num_rows:
            return 1.0
        sample = rows.slice(0, _SAMPLE_ROWS)
        columns = sort_columns(sample.schema, self._order)
        new = files[0].shape.encoded(sorted_rows(sample, columns), columns, self._source.options).size
        return float(new / (_total(files).size * sample.num_rows / rows.num_rows))

    # How it is done.

    def _done_in(self, folder: Location, files: Sequence[_File]) -> Totals:
        """Do a folder.

        Returns:
            What is there then.

        Raises:
            WriteError: others write its files anew all the time.
        """
        for tries_left in reversed(range(_TRIES)):
            after = _total(files)
            groups = self._groups(files)
            try:
                for number, group in enumerate(groups):
                    after = _less(after, group)
                    left = group
                    while left:
                        new, taken = self._exchanged(folder, left, number)
                        after = after.plus(new)
                        left = left[len(taken) :]
            except FilesChangedError as changed:
                if not tries_left:
                    raise WriteError(f"{changed} It was so {_TRIES} times. Try again when fewer write.") from None
                with source_errors(self._source):
                    listed = list_files(folder, read_by_us=True).files
                path = folder.path.rstrip("/")
                files = self._footers(file for file in listed if file.path.rpartition("/")[0] == path)
            else:
                self._outcome.folders += bool(groups)
                return after
        raise AssertionError

    def _exchanged(self, folder: Location, files: Sequence[_File], place: int) -> tuple[Totals, list[_File]]:
        """Put one or more new files in the place of old ones; of as many of these as may be held at once.

        Args:
            folder: of the files.
            files: in order of their times.
            place: of the group in the folder: what is in the first file's columns comes first when it is read.

        Returns:
            What was written, and the files that are done.

        Raises:
            FilesChangedError: an old one was written or deleted meanwhile; nothing was changed.
        """
        rows, read = self._rows_of(files)
        if not read:
            self._outcome.left[str(self._below(files[0].listed.path))] = (
                f"its rows take more than a quarter of the memory, {self._budget.memory_bytes >> 20} MB: see --memory"
            )
            return files[0].totals, [files[0]]
        if not self._is_worth_it(read):
            return _total(read), read
        before = RowSums().plus(rows)
        number_of_files = self._expected(read, self._ratio(rows, read)).files
        shape = read[0].shape
        columns = sort_columns(shape.schema, self._order)
        exchange = Exchange(folder)
        written: dict[str, int] = {}
        try:
            total = Totals()
            for number, part in enumerate(_divided(rows, number_of_files, self._time_of(rows))):
                name = f"part-{place:05d}-{number:05d}-optimized-{uuid.uuid4().hex}.parquet"
                content = shape.encoded(sorted_rows(part, columns), columns, self._source.options)
                file = exchange.place(name)
                with file.fs.open(file.path, "wb") as opened:
                    opened.write(memoryview(content).cast("B"))
                written[name] = content.size
                total = total.plus(Totals(1, content.size, pq.read_metadata(pa.BufferReader(content)).num_row_groups))
            del rows
            self._require_same(folder, [exchange.place(name).path for name in written], before)
            _in_full(lambda: exchange.put_in_place(list(written), {file.name: file.listed.version for file in read}))
        finally:
            exchange.discard()
        return total, read

    def _require_same(self, folder: Location, paths: Sequence[str], before: RowSums) -> None:
        after = RowSums()
        for path in paths:
            with self._opened(path) as file:
                for number in range(file.num_row_groups):
                    after = after.plus(file.read_row_group(number))
        if after != before:
            raise WriteError(
                f"{folder}: what was written is not what was read ({before.rows:,} rows before and {after.rows:,} "
                "after, or other values). Nothing was changed; please report this with the files' schema."
            )

    def _rows_of(self, files: Sequence[_File]) -> tuple[pa.Table, list[_File]]:
        """The rows of the first files, of as many as may be held at once; of none where the first one is too large.

        Raises:
            FilesChangedError: a file is gone, or another one is in its place.
        """
        parts: list[pa.Table] = []
        read: list[_File] = []
        size = 0
        schema = files[0].shape.schema
        for file in files:
            of_file: list[pa.Table] = []
            try:
                with self._opened(file.listed.path) as opened:
                    self._require_shape(opened, file)
                    for number in range(opened.num_row_groups):
                        of_file.append(opened.read_row_group(number).replace_schema_metadata(schema.metadata))
                        size += of_file[-1].nbytes
                        if size > self._budget.rows_bytes:
                            return pa.concat_tables([schema.empty_table(), *parts]), read
            except Exception:
                place = self._below(file.listed.path)
                if not place.exists():  # clients have several words for that
                    raise FilesChangedError(f"{place} was deleted meanwhile.") from None
                raise
            parts += of_file
            read.append(file)
        return pa.concat_tables([schema.empty_table(), *parts]), read

    def _require_shape(self, opened: pq.ParquetFile, file: _File) -> None:
        if self._shape(opened).key != file.shape.key:
            raise FilesChangedError(f"{self._below(file.listed.path)} was written meanwhile.")

    def _time_of(self, rows: pa.Table) -> str | None:
        columns = sort_columns(rows.schema, [self._source.timestamp] if self._source.timestamp_field else [])
        return columns[0] if columns else None


def _in_full(step: Callable[[], None]) -> None:
    """Do a step that takes moments, and wait for its end also where Ctrl-C comes meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(step).result()


def _divided(rows: pa.Table, number: int, time: str | None) -> Iterator[pa.Table]:
    """Rows for so many files, each with times of its own."""
    if number == 1 or not rows.num_rows:  # many files without rows may be large by their footers
        yield rows
        return
    if time is not None:
        rows = rows.take(pc.sort_indices(rows[time]))
    size = -(-rows.num_rows // number)
    for start in range(0, rows.num_rows, size):
        yield rows.slice(start, size)


def _total(files: Iterable[_File]) -> Totals:
    total = Totals()
    for file in files:
        total = total.plus(file.totals)
    return total


def _less(total: Totals, files: Iterable[_File]) -> Totals:
    gone = _total(files)
    return Totals(total.files - gone.files, total.size - gone.size, total.row_groups - gone.row_groups)


def _first_time(metadata: pq.FileMetaData, column: str) -> Any:
    """The least event time of a file, as Parquet holds it; None where it does not say."""
    places = [place for place in range(len(metadata.schema)) if metadata.schema.column(place).path == column]
    if len(places) != 1:
        return None
    found = [metadata.row_group(number).column(places[0]).statistics for number in range(metadata.num_row_groups)]
    if not found or not all(each is not None and each.has_min_max for each in found):
        return None
    least = [each.min_raw for each in found]
    return min(least) if all(isinstance(each, int) for each in least) else None


# What can be written as it is.


@dataclass(frozen=True)
class _Leaf:
    """A column of a Parquet file, or a part of one, as the format has it."""

    path: str
    physical: str
    logical: tuple[tuple[str, str], ...]
    levels: tuple[int, int]

    def is_kept_by(self, other: _Leaf) -> bool:
        # Decimals are kept in integers or in bytes, which is one to all readers.
        is_decimal = ("Type", "Decimal") in self.logical
        return (self.logical, self.levels) == (other.logical, other.levels) and (
            self.physical == other.physical or is_decimal
        )


#: Parts of a type's description that say only by which of two names a writer noted it.
_OF_NOTES = ("is_from_converted_type", "force_set_converted_type")


def _leaves(schema: pq.ParquetSchema) -> list[_Leaf]:
    columns = [schema.column(place) for place in range(len(schema))]
    return [
        _Leaf(
            column.path,
            column.physical_type,
            tuple(sorted(_logical_type(column.logical_type.to_json()).items())),
            (column.max_definition_level, column.max_repetition_level),
        )
        for column in columns
    ]


def _logical_type(text: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in json.loads(text).items() if name not in _OF_NOTES}


def _why_left(
    schema: pa.Schema, leaves: Sequence[_Leaf], notes: Mapping[bytes, bytes], text: str, *, int96: bool
) -> str:
    """Why files of a schema are not written by pyarrow: some column would not be what it was."""
    if len(set(schema.names)) != len(schema.names):
        return "two of its columns have one name"
    if re.search(rb'"(interval|variant)', notes.get(_ROW_METADATA, b"")) or "variant" in text.lower():
        return "it has a type that only Spark writes"
    try:
        schema.empty_table().take(pa.array([], pa.int64()))  # views of text are not sorted
        content = empty_file(schema, use_deprecated_int96_timestamps=int96)
    except (pa.ArrowException, ValueError) as error:
        return f"Arrow does not sort or write its columns ({type(error).__name__})"
    with pq.ParquetFile(pa.BufferReader(content), coerce_int96_timestamp_unit="us") as file:
        new = _leaves(file.metadata.schema)
    if len(new) != len(leaves):
        return "Arrow would write its columns otherwise"
    changed = [old.path for old, written in zip(leaves, new, strict=True) if not old.is_kept_by(written)]
    return f"Arrow would write column {changed[0]!r} otherwise" if changed else ""
