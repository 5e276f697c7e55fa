"""What all test servers have in common: they start, say when they are ready, keep their logs, and end."""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self, get_args

from feast_hybrid.errors import TestServerError
from feast_hybrid.testing.services import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feast_hybrid.testing.services import Runner, Running, Service

log = logging.getLogger(__name__)

Mode = Literal["container", "process"]
"""How servers are run. Both ways have the same interface."""

START_SECONDS = 240.0
"""Seconds are what it takes. But where cgroups share the processors out, all containers together get what one
busy process gets, and a machine with a load of 20 needed more than 90; what has ended is noticed at once."""

PORT_TRIES, FIRST_PORT = 3, 18020

ADDRESSES = "addresses.json"
"""The file, among data that are kept, that says where their server listens."""


def resolve_mode(mode: str | None = None) -> Mode:
    """The mode given, or else the environment variable ``LAKES``, or else containers.

    Raises:
        TestServerError: It is neither ``container`` nor ``process``.
    """
    chosen = mode or os.environ.get("LAKES") or "container"
    for known in get_args(Mode):
        if chosen == known:
            return known  # type: ignore[no-any-return]  # get_args is untyped
    raise TestServerError(f"Lakes run as 'container' or 'process', not {chosen!r}: see LAKES in the environment.")


def _runner(mode: Mode) -> Runner:
    if mode == "process":
        from feast_hybrid.testing.services import ProcessRunner

        return ProcessRunner()
    from feast_hybrid.testing.containers import ContainerRunner

    return ContainerRunner()


class Server(ABC):
    """One or more services that are started and ended together. A context manager.

    Args:
        mode: ``container`` or ``process``; by default what ``LAKES`` says, or else containers.
        data: a folder in which it keeps its data and its addresses, so that it can be started again with them; for
            processes. None for new ones at each start.
        first_port: of the ports that it has one after another, where data are kept; None for any that are free.

    Raises:
        TestServerError: data are to be kept, and it is to run in containers.
    """

    server_type: str
    image: str

    def __init__(
        self, mode: str | None = None, *, data: Path | None = None, first_port: int | None = FIRST_PORT
    ) -> None:
        self.mode = resolve_mode(mode)
        self._first_port = first_port
        self._data = None if data is None else data.absolute() / self.server_type
        if data is not None and self.mode != "process":
            raise TestServerError("only servers that are processes keep their data: add --mode process.")
        self.start_seconds = 0.0
        """How long the last start took, downloads and image builds not counted."""
        self.folder: Path | None = None
        self._running: list[Running] = []
        self._services: dict[str, Service] = {}
        self._lock: IO[str] | None = None

    @property
    @abstractmethod
    def uri(self) -> str:
        """What clients are given to reach it."""

    @abstractmethod
    def _fetch(self) -> None:
        """Get what is to be run as a process; its time is not start time."""

    def _locate(self) -> None:  # noqa: B027  # a hook, not a gap
        """Know ports and names: those that data were kept with, else new ones. Needs nothing that servers run on."""

    @abstractmethod
    def _plan(self, folder: Path) -> list[Service]:
        """The services in the order of their start; what :meth:`_locate` does not, is chosen anew."""

    @abstractmethod
    def _ready(self) -> str | None:
        """None when clients can use it, else what it is waiting for."""

    def _started(self) -> None:  # noqa: B027  # a hook, not a gap
        """Called once it is ready."""

    def _stopped(self) -> None:  # noqa: B027
        """Called before its services are ended."""

    def start(self) -> Self:
        """Start it and return when it can be used.

        Raises:
            TestServerError: It did not get ready; the message has the last log lines and where the logs are.
            MissingDependencyError: Java, Node.js or a container engine is missing.
        """
        if self._running:
            raise TestServerError(f"This {self.server_type} runs already, at {self.uri}.")
        runner = _runner(self.mode)
        runner.prepare(self.image)
        self._fetch()
        for attempt in range(1, PORT_TRIES + 1):
            began = time.monotonic()
            self.folder = self._data or Path(tempfile.mkdtemp(prefix=f"feast-hybrid-{self.server_type}-"))
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_data()
            try:
                self._locate()
                self._services = {service.name: service for service in self._plan(self.folder)}
                for service in self._services.values():
                    self._running.append(runner.start(service, self.folder, keep=self._data is not None))
                self._wait(began + START_SECONDS)
                self._started()
            except BaseException as error:
                logs = self.logs()
                self._end(keep_logs=True)
                taken = isinstance(error, TestServerError) and _port_taken(logs)
                if taken and self._data is not None:
                    raise TestServerError(
                        f"Another program has a port of the {self.server_type}; its ports are in "
                        f"{self._data / ADDRESSES}. If no other server runs there, remove that file, and start it "
                        "with another --first-port."
                    ) from None
                if taken and attempt < PORT_TRIES:
                    log.warning("another program took a port of the %s first: trying other ports", self.server_type)
                    continue
                raise
            self.start_seconds = time.monotonic() - began
            atexit.register(self.stop)
            log.info("%s at %s, ready in %.1f s", self.server_type, self.uri, self.start_seconds)
            break
        return self

    def stop(self) -> None:
        """End it, and remove its data unless they are to be kept. Does nothing where it does not run."""
        atexit.unregister(self.stop)
        if self._running:
            self._stopped()
        self._end(keep_logs=False)

    def stop_service(self, name: str) -> None:
        """End one of its services, such as ``datanode``; nothing listens on its ports then."""
        running = self._service_named(name)
        self._running.remove(running)
        running.stop()

    def start_service(self, name: str) -> None:
        """Start one of its services again, on the same ports; returns before it can be used."""
        assert self.folder is not None
        running = _runner(self.mode).start(self._services[name], self.folder, keep=self._data is not None)
        self._running.append(running)

    def wait_until_ready(self) -> None:
        """Return when it can be used again.

        Raises:
            TestServerError: it takes too long.
        """
        self._wait(time.monotonic() + START_SECONDS)

    @contextmanager
    def service_paused(self, name: str) -> Iterator[None]:
        """Hold one of its services still while the context lasts: it accepts connections and says nothing."""
        running = self._service_named(name)
        running.pause()
        try:
            yield
        finally:
            running.resume()

    def _service_named(self, name: str) -> Running:
        return next(running for running in self._running if running.name == name)

    def logs(self) -> str:
        """What its services have written so far."""
        return "\n".join(f"--- {running.name}\n{running.log()}" for running in self._running)

    def __enter__(self) -> Self:
        return self if self._running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _lock_data(self) -> None:
        """Have no other program start it with the same data, until it is ended or this process is."""
        if self._data is None:
            return
        lock = (self._data / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise TestServerError(f"The {self.server_type} of {self._data} runs already.") from None
        self._lock = lock

    def _own_ports(self, count: int) -> list[int]:
        """Where it listens: where it did before, if data are kept; else where nothing does."""
        if self._data is None:
            return free_ports(count)
        file = self._data / ADDRESSES
        if not file.exists():
            first = self._first_port
            ports = free_ports(count) if first is None else [first + n for n in range(count)]
            file.write_text(json.dumps(ports), encoding="utf-8")
        return [int(port) for port in json.loads(file.read_text(encoding="utf-8"))]

    def _wait(self, deadline: float) -> None:
        while (waiting_for := self._ready()) is not None:
            ended = [running.name for running in self._running if not running.alive()]
            if ended or time.monotonic() > deadline:
                reason = f"its {ended[0]} ended" if ended else f"still waiting for {waiting_for}"
                last = "\n".join(line for running in self._running for line in running.log().splitlines()[-15:])
                raise TestServerError(
                    f"The {self.server_type} did not start: {reason}. Logs are in {self.folder}. Last lines:\n{last}"
                )
            time.sleep(0.1)

    def _end(self, *, keep_logs: bool) -> None:
        for running in reversed(self._running):
            if keep_logs and self.folder is not None:
                with suppress(Exception):
                    (self.folder / f"{running.name}.log").write_text(running.log())
            running.stop()
        self._running = []
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._data is not None:
            return
        if self.folder is not None and not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


class Lake(Server):
    """A server that holds files."""

    @abstractmethod
    def site(self, name: str) -> dict[str, Any]:
        """Its entry under ``offline_store.sites`` of ``feature_store.yaml``, called ``name``."""

    @abstractmethod
    def hadoop_options(self) -> dict[str, str]:
        """The Hadoop settings that reach it, to be given as reader and writer options."""

    def attach(self) -> Self:
        """Know where it is, which another program has started with the same data; needs no Java and no PySpark.

        Raises:
            TestServerError: it does not run there.
        """
        if self._data is None or not (self._data / ADDRESSES).exists():
            raise TestServerError(f"No {self.server_type} was started with these data: {self._data}.")
        self._locate()
        if (waiting_for := self._ready()) is not None:
            raise TestServerError(
                f"The {self.server_type} of {self._data} does not run: it would wait for {waiting_for}."
            )
        return self

    @abstractmethod
    def filesystem(self) -> Any:
        """An fsspec filesystem of it, which needs no JVM. Paths are as in its URIs' path part."""

    @abstractmethod
    def bytes_read(self) -> int:
        """How many bytes of files it has sent to readers since its start, as the server counts them."""


def _port_taken(logs: str) -> bool:
    return any(sign in logs for sign in ("BindException", "EADDRINUSE", "Address already in use"))
