"""One file system for each lake and sign-in in a process, shared by all who use it, and closed after the last."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any


class SharedFileSystems:
    """The file systems that are open in this process.

    They are held weakly: who uses one holds it, as a :class:`~feast_hybrid.lakes.Site` does. A process that was
    forked opens its own. The parent's are neither used nor destroyed there: their threads were not forked, and
    hdfs-native's client would wait for them for ever. A child that is forked within seconds of a read of HDFS may
    still hang in its own first read: seen with hdfs-native alone too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()
        self._of_parent: list[Any] = []
        self._salt = secrets.token_bytes(32)
        os.register_at_fork(after_in_child=self._forked)

    def get(self, key: bytes, make: Callable[[], Any]) -> Any:
        """The file system of a key; made where none is open."""
        with self._lock:
            filesystem = self._open.get(key)
            if filesystem is None:
                filesystem = self._open[key] = make()
            return filesystem

    def key(self, *, place: str, settings: Mapping[str, Any]) -> bytes:
        """A digest of all that a file system is made of.

        Args:
            place: scheme and authority.
            settings: JSON values, secrets among them. They cannot be had back from the digest, nor be guessed and
                compared: it is salted for each process.
        """
        text = json.dumps([place, settings], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=32).digest()

    def _forked(self) -> None:
        self._of_parent += self._open.values()
        self._lock = threading.Lock()
        self._open = weakref.WeakValueDictionary()


#: Those of this process.
SHARED = SharedFileSystems()


class KeptFileSystem:
    """What a site keeps open between its uses: the file system that it used last.

    It is no part of the site's value: any two are equal, and a copy or a pickle of one is empty.
    """

    __slots__ = ("_filesystem",)

    def __init__(self) -> None:
        self._filesystem: Any = None

    def get(self, key: bytes, make: Callable[[], Any]) -> Any:
        """See :meth:`SharedFileSystems.get`; the one that was kept before is let go."""
        self._filesystem = filesystem = SHARED.get(key, make)
        return filesystem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptFileSystem)

    def __hash__(self) -> int:
        return 0

    def __reduce__(self) -> tuple[type[KeptFileSystem], tuple[()]]:
        return KeptFileSystem, ()
