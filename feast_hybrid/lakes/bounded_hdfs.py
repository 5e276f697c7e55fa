"""hdfs-native's client, with an end to the waiting for answers."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from feast_hybrid.errors import StorageTimeoutError, UnavailableError
from feast_hybrid.lakes import timeouts
from feast_hybrid.lakes.bounded_calls import BoundedCalls
from feast_hybrid.lakes.errors import classify_storage_error, lost_connection

#: How many entries a NameNode lists in one answer.
_ENTRIES_PER_ANSWER = 1000
#: A client none of whose calls has been answered for so long is replaced: its connection may be dead.
_SECONDS_UNTIL_NEW_CLIENT = 60.0
#: Clients of one file system that are kept waiting; with so many, only an answer or a new process helps.
_MAX_HUNG_CLIENTS = 4
#: For how long one of several NameNodes may say nothing until another is asked.
_SECONDS_FOR_ONE = 6.0
#: An HDFS that has just been waited for in vain is not waited for as long again: a verb cleans up then.
_SECONDS_ONCE_AWAY, _SECONDS_REMEMBERED = 5.0, 30.0
#: A NameNode that has answered within so long is taken to answer.
_SECONDS_FRESH = 2.0
#: What a NameNode raises that wants the call again, and when it gets it.
_PATIENCE_PLEASE, _PAUSE_SECONDS = "org.apache.hadoop.ipc.RetriableException", 1.0
#: For how many seconds a read is begun again that DataNodes do not answer: half a minute is carried, in which one is
#: started again, and with the last try it is an error within a minute. And the pauses between tries.
_SECONDS_OF_READS, _FIRST_PAUSE_OF_READS, _LONGEST_PAUSE_OF_READS = 32.0, 0.5, 4.0
#: What a slow network transfers in a second.
_BYTES_PER_SECOND = 2**20


class BoundedClient:
    """A client of one HDFS, as hdfs-native's own.

    A question that one of several NameNodes does not answer is put to the next. A call that changes something is not,
    since the first may be doing it; so before it a question is put, which finds the NameNode that answers. Where a
    change is given up, it may still be done.

    Args:
        connect: makes a client that begins with the n-th NameNode.
        seconds: for how long an answer is waited for, all tries together.
        namenodes: how many are known.
    """

    def __init__(self, connect: Callable[[int], Any], seconds: float, namenodes: int = 1) -> None:
        self._connect = connect
        self._seconds = seconds
        self._namenodes = max(namenodes, 1)
        self._lock = threading.Lock()
        self._hung: list[BoundedCalls] = []
        self._first = 0
        self._away_at: float | None = None
        self._no_datanode_at: float | None = None
        self._answered_at = float("-inf")
        self._client, self._calls = self._connected()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_file_info(self, path: str) -> Any:
        """What is at a path."""
        return self._ask(lambda client: client.get_file_info(path))

    def get_content_summary(self, path: str) -> Any:
        """What a folder holds in all."""
        return self._ask(lambda client: client.get_content_summary(path))

    def list_status(self, path: str, recursive: bool) -> Iterator[Any]:
        """The entries of a folder."""
        # The first answer comes with the question: an iterator of another client knows nothing of the one before.
        entries, some = self._ask(lambda client: _begun(client.list_status(path, recursive)))
        while some:
            yield from some
            some = self._ask(lambda _: list(itertools.islice(entries, _ENTRIES_PER_ANSWER)), of_one=True)

    def read(self, path: str) -> Any:
        """A file to read."""
        return _BoundedFile(self._ask(lambda client: client.read(path)), self)

    def create(self, path: str, write_options: Any) -> Any:
        """A file to write."""
        again = bool(write_options.overwrite)
        return _BoundedFile(self._change(path, lambda client: client.create(path, write_options), again=again), self)

    def mkdirs(self, path: str, permission: int, create_parent: bool) -> None:
        """Make a folder."""
        self._change(path, lambda client: client.mkdirs(path, permission, create_parent), again=True)

    def rename(self, src: str, dst: str, overwrite: bool) -> None:
        """Rename a file or folder."""
        self._change(src, lambda client: client.rename(src, dst, overwrite), again=False)

    def delete(self, path: str, recursive: bool) -> Any:
        """Delete a file or folder."""
        return self._change(path, lambda client: client.delete(path, recursive), again=True)

    def transfer(self, call: Callable[[], Any], size: int) -> Any:
        """What a call returns that reads or writes so many bytes of an open file."""
        return self._run(call, self._patience() + size / _BYTES_PER_SECOND)

    def ask_again(self, read: Callable[[], Any]) -> Any:
        """What a read gives of an open file, which is tried again for a while where DataNodes are away.

        The blocks' places are known, so that no NameNode is asked, and each may be back: hdfs-native itself asks each
        of them once. What has just been given up is not waited for again.
        """
        began = time.monotonic()
        pause = _FIRST_PAUSE_OF_READS
        away = self._no_datanode_at is not None and began - self._no_datanode_at < _SECONDS_REMEMBERED
        most = min(_SECONDS_OF_READS, _SECONDS_ONCE_AWAY) if away else _SECONDS_OF_READS
        while True:
            try:
                return read()
            except Exception as error:
                if not lost_connection(error):
                    raise
                if time.monotonic() - began + pause > most:
                    self._no_datanode_at = time.monotonic()
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_OF_READS)

    def _change(self, path: str, change: Callable[[Any], Any], *, again: bool) -> Any:
        """Do what changes something; ``again`` if to do it twice is to do it once, where its answer was lost."""
        self._require_answer(path)
        try:
            return self._ask(change, of_one=True)
        except Exception as error:
            if not (again and lost_connection(error)):
                raise
        self._require_answer(path)
        return self._ask(change, of_one=True)

    def _require_answer(self, path: str) -> None:
        if time.monotonic() - self._answered_at > _SECONDS_FRESH:
            with suppress(FileNotFoundError):
                self.get_file_info(path)

    def _ask(self, question: Callable[[Any], Any], *, of_one: bool = False) -> Any:
        """What a client answers; of several NameNodes the next is asked where one says nothing, if it may be."""
        deadline = time.monotonic() + self._patience()
        # Each once, and no more: a client that waits for all of them to be active says in the end what they said. The
        # one in turn may be the one that says nothing: hdfs-native goes on with the one that was active last.
        turns = 0 if of_one or self._namenodes == 1 else self._namenodes
        while True:
            client, calls = self._current()
            left = deadline - time.monotonic()
            seconds = min(left, self._seconds_for_one) if turns else left
            try:
                return self._run(lambda: question(client), seconds, calls)  # noqa: B023  # it is run here
            except TimeoutError:
                if left <= seconds or not turns or not self._turn_from(client):
                    raise
                turns -= 1
            except RuntimeError as error:
                # As one that is starting, or is too busy.
                if _PATIENCE_PLEASE not in str(error) or left < 2 * _PAUSE_SECONDS:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _run(self, call: Callable[[], Any], seconds: float, calls: BoundedCalls | None = None) -> Any:
        began = time.monotonic()
        try:
            found = (calls or self._calls).run(call, seconds)
        except Exception as error:
            self._answered_at = float("-inf")
            # What has just been lost may be back in a moment.
            waited = time.monotonic() - began > self._seconds / 2
            if waited and classify_storage_error(error) in (UnavailableError, StorageTimeoutError):
                self._away_at = time.monotonic()
            raise
        self._away_at, self._answered_at = None, time.monotonic()
        return found

    @property
    def _seconds_for_one(self) -> float:
        return min(_SECONDS_FOR_ONE, self._seconds / (self._namenodes + 1))

    def _patience(self) -> float:
        away = self._away_at is not None and time.monotonic() - self._away_at < _SECONDS_REMEMBERED
        return min(_SECONDS_ONCE_AWAY, self._seconds) if away else self._seconds

    def _current(self) -> tuple[Any, BoundedCalls]:
        with self._lock:
            if self._calls.seconds_hung > _SECONDS_UNTIL_NEW_CLIENT:
                self._replace_client()
            return self._client, self._calls

    def _turn_from(self, client: Any) -> bool:
        """Have another NameNode be the first to be asked, if it still is the one of this client; whether it is so."""
        with self._lock:
            if client is not self._client:
                return True
            self._first = (self._first + 1) % self._namenodes
            return self._replace_client()

    def _replace_client(self) -> bool:
        self._hung = [calls for calls in self._hung if calls.hung]
        if len(self._hung) >= _MAX_HUNG_CLIENTS:
            return False
        self._hung.append(self._calls)
        self._client, self._calls = self._connected()
        return True

    def _connected(self) -> tuple[Any, BoundedCalls]:
        calls = BoundedCalls(
            self._seconds, setting=f"{timeouts.RPC_TIMEOUT} in the site's options", name="feast-hybrid-hdfs"
        )
        weakref.finalize(self, calls.close).atexit = False
        return self._connect(self._first), calls


def _begun(entries: Any) -> tuple[Iterator[Any], list[Any]]:
    entries = iter(entries)
    return entries, list(itertools.islice(entries, _ENTRIES_PER_ANSWER))


class _BoundedFile:
    """A file of hdfs-native's that is read or written: its DataNodes and, at its end, its NameNode have to answer."""

    def __init__(self, file: Any, client: BoundedClient) -> None:
        self._file = file
        self._client = client
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int) -> Any:
        wanted = size if size >= 0 else self._file.file_length()
        position = self._file.tell()

        def read() -> Any:
            self._file.seek(position)  # whatever became of a try before
            return self._client.transfer(lambda: self._file.read(size), wanted)

        return self._client.ask_again(read)

    def read_range(self, offset: int, size: int) -> Any:
        return self._client.ask_again(
            lambda: self._client.transfer(lambda: self._file.read_range(offset, size), size)
        )

    def write(self, content: Any) -> Any:
        return self._client.transfer(lambda: self._file.write(content), memoryview(content).nbytes)

    def close(self) -> None:
        # Once: a garbage collection closes a file again, and would wait for a lock that is held where it comes.
        if not self._closed:
            self._closed = True
            self._client.transfer(self._file.close, 0)
