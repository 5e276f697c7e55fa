"""A small table with a key on a lake: Parquet files that are only ever added; of a key the newest row counts.

Read and written by pyarrow and fsspec, without a JVM. There are no locks, and none are needed:

- A write adds a file under a name of its own, seen whole or not at all. Writers never touch each other's files.
- Each row carries the time of its writing. Reading takes the newest row of each key, whatever file it is in.
- A folder with many files is merged by a writer: the merged file is added first, the files that it holds are deleted
  then. Two that merge at once leave rows twice, which reading makes one of; a reader whose file was deleted under
  its hands looks again.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.errors import HybridError, RetrievalError, WriteError
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import redacted_summary, translate_client_errors

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

#: A column of the key, an operator (``=``, ``>=``, ``<=``) and a value that a row must compare to so.
Filter = tuple[str, str, Any]

#: The column that says when a row was written, in nanoseconds since 1970 by the writer's clock.
WRITTEN = "written_at_ns"

#: A folder with more files than this is merged into one.
MANY_FILES = 64

_MAX_PARALLEL_READS = 8
#: How often a folder is listed anew when a file is gone that has just been listed.
_MAX_LISTINGS = 5

_clock = threading.Lock()
_last = 0


def now_ns() -> int:
    """The time in nanoseconds, later than at any call before in this process."""
    global _last
    with _clock:
        _last = max(_last + 1, time.time_ns())
        return _last


class KeyedFiles:
    """Rows of which there is one for each key.

    Args:
        root: the table's folder.
        schema: the columns and their types, :data:`WRITTEN` left out.
        key: the columns that tell rows apart; nulls are values here.
        folders: those columns of the key, in this order, whose values have folders of their own.
    """

    def __init__(self, root: Location, schema: pa.Schema, *, key: Sequence[str], folders: Sequence[str] = ()) -> None:
        self._root = root
        self._schema = schema.append(pa.field(WRITTEN, pa.int64(), nullable=False))
        self._key = tuple(key)
        self._folders = tuple(folders)

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, or replace those of the same keys; of two rows with one key the later counts.

        Args:
            rows: values of the schema's types; a missing column is null.

        Raises:
            WriteError: the lake refused or did not answer. Rows are seen folder by folder, each whole.
        """
        by_folder: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for row in rows:
            by_folder.setdefault(tuple(str(row[column]) for column in self._folders), []).append(row)
        for values, of_folder in by_folder.items():
            written = now_ns()
            newest = self._newest({**row, WRITTEN: written} for row in of_folder)
            folder = self._folder(values)
            with self._translate_errors("could not be written", WriteError):
                self._add(folder, newest)
            self._merge_if_many(folder)

    def rows(self, filters: Sequence[Filter] = ()) -> list[dict[str, Any]]:
        """The rows, :data:`WRITTEN` included, in no promised order.

        Args:
            filters: what all of them must be like.

        Raises:
            RetrievalError: the lake refused or did not answer.
        """
        folders = {column: str(value) for column, operator, value in filters if operator == "="}
        with self._translate_errors("could not be read", RetrievalError):
            for remaining in reversed(range(_MAX_LISTINGS)):
                try:
                    files = list(self._files(self._root, self._folders, folders))
                    return self._newest(self._read(files, filters))
                except FileNotFoundError:
                    if not remaining:
                        raise
        raise AssertionError  # the last listing returns or raises

    def _newest(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        newest: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            key = tuple(row.get(column) for column in self._key)
            if key not in newest or newest[key][WRITTEN] <= row[WRITTEN]:
                newest[key] = row
        return list(newest.values())

    # Files and folders

    def _folder(self, values: Sequence[str]) -> Location:
        folder = self._root
        for column, value in zip(self._folders, values, strict=True):
            folder = folder.child(_folder_name(column, value))
        return folder

    def _files(self, folder: Location, below: Sequence[str], values: Mapping[str, str]) -> Iterator[Location]:
        """The files in a folder; where folders lie between, only in those of the values, if they are given."""
        if below and below[0] in values:
            name = _folder_name(below[0], values[below[0]])
            yield from self._files(folder.child(name), below[1:], values)
            return
        for name in self._names(folder):
            if below:
                yield from self._files(folder.child(name), below[1:], values)
            elif name.endswith(".parquet") and not name.startswith("."):
                yield folder.child(name)

    def _names(self, folder: Location) -> list[str]:
        try:
            self._root.fs.invalidate_cache()
            entries = self._root.fs.ls(folder.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted({str(entry).rstrip("/").rpartition("/")[2] for entry in entries})

    def _read(self, files: Sequence[Location], filters: Sequence[Filter] = ()) -> Iterator[dict[str, Any]]:
        """The rows of some files.

        Raises:
            FileNotFoundError: one is gone.
        """

        def content(file: Location) -> bytes:
            return bytes(self._root.fs.cat_file(file.path))

        with ThreadPoolExecutor(_MAX_PARALLEL_READS) as pool:
            for found in pool.map(content, files):
                table = pq.read_table(pa.BufferReader(found), schema=self._schema, filters=list(filters) or None)
                yield from table.to_pylist()

    def _add(self, folder: Location, rows: Sequence[Mapping[str, Any]]) -> Location:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=self._schema), sink)
        newest = max(row[WRITTEN] for row in rows)
        file = folder.child(f"{newest:020d}-{uuid.uuid4().hex[:12]}.parquet")
        publish({file: sink.getvalue().to_pybytes()})
        return file

    def _merge_if_many(self, folder: Location) -> None:
        """Make one file of many. The rows are safe already: what fails here is tried again after the next write."""
        try:
            files = list(self._files(folder, (), {}))
            if len(files) <= MANY_FILES:
                return
            self._add(folder, self._newest(self._read(files)))
            for file in files:
                with suppress(FileNotFoundError):
                    self._root.fs.rm_file(file.path)
        except Exception as error:
            logger.warning("%s: its many files could not be merged: %s", folder, redacted_summary(error))

    def _translate_errors(self, failed: str, error_class: type[HybridError]) -> AbstractContextManager[None]:
        what = f"monitoring metrics at {self._root.describe()}"
        return translate_client_errors(error_class, what, failed, sites=[self._root.site])


def _folder_name(column: str, value: str) -> str:
    return f"{column}={quote(value, safe='')}"
