"""One server of a lake, and how it is run as a plain process."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

HOST = "127.0.0.1"
"""Every server listens here, and nowhere else."""

GUARD = Path(__file__).with_name("_guard.py")


@dataclass(frozen=True)
class Service:
    """A server, described once for each way of running it.

    Attributes:
        name: Its role, such as ``namenode``; names its log.
        command: What to run as a process.
        image: The folder under ``docker/`` whose image runs it.
        arguments: What the image's entry point gets.
        environment: Variables that it has in either case.
        mounts: Folders of the host that its container sees, read only, under the same paths.
    """

    name: str
    command: tuple[str, ...]
    image: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()


class Running(Protocol):
    """A started service."""

    name: str

    def alive(self) -> bool:
        """Whether it still runs."""

    def log(self) -> str:
        """What it has written so far."""

    def stop(self) -> None:
        """End it, and wait until it has ended."""

    def pause(self) -> None:
        """Hold it still: it accepts connections and says nothing."""

    def resume(self) -> None:
        """Have it go on."""


class Runner(Protocol):
    """A way of running services: as processes, or as containers."""

    def prepare(self, image: str) -> None:
        """Do what need not be done at each start, and is not start time: build the image."""

    def start(self, service: Service, folder: Path, *, keep: bool = False) -> Running:
        """Start the service; ``folder`` is its lake's own, for data and logs, which stay if they are to be kept."""


class _Process:
    def __init__(self, service: Service, folder: Path, *, keep: bool) -> None:
        self.name = service.name
        self._log = folder / f"{service.name}.log"
        work = folder / service.name
        work.mkdir(exist_ok=True)
        with self._log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-S", "-E", str(GUARD), "--keep" if keep else "--data", str(work), *service.command],
                stdin=subprocess.PIPE,  # held open for as long as the service shall live
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=work,
                env={**os.environ, **service.environment},
                start_new_session=True,  # Ctrl-C is for us: we end the servers in our order
            )

    def alive(self) -> bool:
        return self._guard.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        assert self._guard.stdin is not None  # given as a pipe above
        with suppress(OSError):
            self._guard.stdin.close()
        self._guard.wait()

    def pause(self) -> None:
        self._guard.send_signal(signal.SIGUSR1)

    def resume(self) -> None:
        self._guard.send_signal(signal.SIGUSR2)


class ProcessRunner:
    """Runs services as child processes, which end with this process at the latest."""

    def prepare(self, image: str) -> None:
        """Nothing: there is no image."""

    def start(self, service: Service, folder: Path, *, keep: bool = False) -> Running:
        """Start the service with ``folder/NAME`` as its working folder and ``folder/NAME.log`` as its log."""
        return _Process(service, folder, keep=keep)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on now.

    They lie below the range that systems give to outgoing connections, so that none of those takes them
    before the server does.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(15_000, 32_000)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            if port not in ports:
                ports.append(port)
    return ports
