"""Proxies before a server that do to its requests what networks and busy services do: HTTP, and a NameNode's calls.

>>> with FaultProxy(lake.endpoint, [Fault("lose", "PUT", r"comp=blocklist", nth=2)]) as proxy:  # doctest: +SKIP
...     site = {**lake.site("cloud"), "credential": {..., "endpoint": proxy.endpoint}}

Clients that talk to :attr:`FaultProxy.endpoint` are served by the true server, but for the requests that a
:class:`Fault` is for. Each connection is served by one thread, so that a request that is held up holds up no other.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Self
from urllib.parse import unquote

from feast_hybrid.testing.services import HOST

Action = Literal["answer", "reset", "lose", "cut", "short", "delay"]

#: What stands in each call of a client to a NameNode.
_CLIENTS_CALLS = b"hdfs.protocol.ClientProtocol"

_REASONS = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
_CODES = {429: "ServerBusy", 500: "InternalError", 503: "ServerBusy"}


@dataclass(frozen=True)
class Fault:
    """What happens to some requests.

    Attributes:
        action: ``answer`` with a status, and the server sees nothing of the request; ``reset`` the connection before
            it does; have it do its work and ``lose`` the answer; ``cut`` the answer's body in the middle, with the
            headers of all of it, by a reset, or leave it ``short`` and close the connection in good order; ``delay``
            the request, which arrives all the same if the client has given it up.
        method: a pattern that the whole method matches.
        target: a pattern that is looked for in the path and the query, percent signs resolved.
        nth: of the requests that match, counted from one, the one that this happens to; None for all.
        probability: with which it happens.
        status: of an answer.
        retry_after: seconds that an answer says, or nothing.
        seconds: of a delay.
        kept: the share of a body that is sent all the same.
        lasting: for how many seconds from its first request on it happens; None for always.
    """

    action: Action
    method: str = ".*"
    target: str = ""
    nth: int | None = None
    probability: float = 1.0
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.0
    kept: float = 0.5
    lasting: float | None = None

    def __str__(self) -> str:
        return f"{self.action} {self.status}" if self.action == "answer" else self.action


@dataclass(frozen=True)
class _Message:
    """A request or an answer as it was sent: the first line and the headers, and the body."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return unquote(self.head.split(b" ", 2)[1].decode())

    def with_headers(self, *without: bytes, **added: str) -> bytes:
        """All of it, without some headers and with others."""
        first, *headers = self.head.rstrip(b"\r\n").split(b"\r\n")
        kept = [header for header in headers if header.split(b":", 1)[0].strip().lower() not in without]
        more = [f"{name}: {value}".encode() for name, value in added.items()]
        return b"\r\n".join([first, *kept, *more]) + b"\r\n\r\n" + self.body


class _Proxy(ABC):
    """A server on this machine's loopback, each of whose connections is served by a thread. A context manager."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def endpoint(self) -> str:
        """``127.0.0.1:PORT``."""
        assert self._socket is not None
        return f"{HOST}:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._socket = socket.create_server((HOST, 0), backlog=128)
        threading.Thread(target=self._accept, args=(self._socket,), name="fault-proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._socket is not None
        _shut(self._socket)
        self._socket.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._served, args=(connection,), name="fault-proxy", daemon=True).start()

    def _served(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve(connection)
        except (OSError, ValueError):
            return  # one side has gone
        finally:
            with self._lock:
                self._open.discard(connection)

    @abstractmethod
    def _serve(self, connection: socket.socket) -> None:
        """Serve a client until it ends."""


def _shut(connection: socket.socket) -> None:
    """Have whoever waits for the connection wait no more."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class FaultProxy(_Proxy):
    """A server on this machine's loopback that passes requests on. A context manager.

    Args:
        upstream: ``host:port`` of the true server.
        faults: the first that is for a request happens to it.
        seed: of the dice for faults that happen with a probability. With several clients at once the order of the
            requests decides too.
    """

    def __init__(self, upstream: str, faults: Sequence[Fault] = (), *, seed: int = 0) -> None:
        super().__init__(upstream)
        self.injected: list[str] = []
        """What has happened to requests: the action, the method, and the path with its query."""
        self._set(faults, seed)

    def _set(self, faults: Sequence[Fault], seed: int) -> None:
        with self._lock:
            self._faults = [(fault, re.compile(fault.method), re.compile(fault.target)) for fault in faults]
            self._matched = [0] * len(self._faults)
            self._began: list[float | None] = [None] * len(self._faults)
            self._dice = random.Random(seed)  # noqa: S311  # not for secrets
            self.injected = []

    @contextmanager
    def having(self, *faults: Fault, seed: int = 0) -> Iterator[Self]:
        """These faults in place of others while the context lasts; none afterwards."""
        self._set(faults, seed)
        try:
            yield self
        finally:
            injected = self.injected
            self._set((), 0)
            self.injected = injected

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as incoming:
            while (request := _read(incoming, connection)) is not None and self._handle(connection, request):
                pass

    def _handle(self, connection: socket.socket, request: _Message) -> bool:
        """Answer a request; whether the connection goes on."""
        fault = self._fault_for(request)
        action = fault.action if fault else None
        if fault is not None and action == "answer":
            connection.sendall(_answer(fault))
            return True
        if action == "reset":
            _reset(connection)
            return False
        if fault is not None and action == "delay":
            time.sleep(fault.seconds)
        answer = self._ask(request)
        if answer is None or action == "lose":
            _reset(connection)
            return False
        sent = answer.with_headers(b"connection")
        if fault is not None and action in ("cut", "short"):
            lost = max(1, len(answer.body) - int(len(answer.body) * fault.kept))
            connection.sendall(sent[:-lost])
            if action == "cut":
                time.sleep(0.05)  # a reset would overtake what was sent
                _reset(connection)
            return False
        connection.sendall(sent)
        return True

    def _fault_for(self, request: _Message) -> Fault | None:
        target, method = request.target, request.method
        with self._lock:
            chosen = None
            for number, (fault, of_method, of_target) in enumerate(self._faults):
                if not (of_method.fullmatch(method) and of_target.search(target)):
                    continue
                self._matched[number] += 1
                now = time.monotonic()
                began = self._began[number] = self._began[number] or now
                happens = fault.nth in (None, self._matched[number])
                happens = happens and (fault.lasting is None or now - began < fault.lasting)
                if chosen is None and happens and self._dice.random() < fault.probability:
                    chosen = fault
            if chosen is not None:
                self.injected.append(f"{chosen} {method} {target}")
            return chosen

    def _ask(self, request: _Message) -> _Message | None:
        """What the true server answers; None where it does not."""
        try:
            with socket.create_connection(self._upstream) as upstream, upstream.makefile("rb") as incoming:
                upstream.sendall(request.with_headers(b"connection", b"expect", Connection="close"))
                head = _read_head(incoming)
                return _Message(head, incoming.read()) if head else None
        except OSError:
            return None


def _read(incoming: BinaryIO, connection: socket.socket) -> _Message | None:
    """The next request; None where the client has ended."""
    head = _read_head(incoming)
    if not head:
        return None
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _Message(head, _read_chunks(incoming))
    return _Message(head, incoming.read(int(headers.get("content-length") or 0)))


def _read_head(incoming: BinaryIO) -> bytes:
    """The first line and the headers, with the empty line; nothing where there is no more."""
    lines = []
    while line := incoming.readline():
        lines.append(line)
        if line in (b"\r\n", b"\n"):
            return b"".join(lines)
    return b""


def _read_chunks(incoming: BinaryIO) -> bytes:
    """A chunked body, as it was sent."""
    raw = []
    while True:
        size = incoming.readline()
        raw.append(size)
        length = int(size.split(b";")[0], 16)
        raw.append(incoming.read(length) + incoming.readline())
        if not length:
            return b"".join(raw)


def _answer(fault: Fault) -> bytes:
    code = _CODES.get(fault.status, "InternalError")
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>A fault.</Message></Error>'
    headers: dict[str, Any] = {
        "Content-Type": "application/xml",
        "Content-Length": len(body),
        "x-ms-error-code": code,
    }
    if fault.retry_after is not None:
        headers["Retry-After"] = fault.retry_after
    lines = [f"HTTP/1.1 {fault.status} {_REASONS.get(fault.status, 'Fault')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _reset(connection: socket.socket) -> None:
    """Have the client see a reset: what was not sent is dropped."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class RpcFaultProxy(_Proxy):
    """A server before a NameNode that passes all on, but for the answers to some calls. A context manager.

    Args:
        upstream: ``host:port`` of the NameNode.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._method = b""
        self._left = 0
        self._chance = 0.0
        self._dice = random.Random(0)  # noqa: S311  # not for secrets
        self.lost: list[str] = []
        """The methods of the calls whose answers were lost; ``lose`` and ``reset`` for what happened by chance."""

    def lose(self, method: str, nth: int = 1) -> None:
        """Have the NameNode do the nth call of a method from now on, such as ``rename2``, and lose its answer."""
        with self._lock:
            # In a call's header stands the length of the name before it, as a byte.
            self._method, self._left = bytes([len(method)]) + method.encode(), nth

    @contextmanager
    def by_chance(self, probability: float, *, seed: int) -> Iterator[Self]:
        """While the context lasts lose answers with a probability, and reset connections before a call with it."""
        with self._lock:
            self._chance, self._dice = probability, random.Random(seed)  # noqa: S311  # not for secrets
        try:
            yield self
        finally:
            with self._lock:
                self._chance = 0.0

    def _serve(self, connection: socket.socket) -> None:
        lost = threading.Event()
        with socket.create_connection(self._upstream) as upstream:
            with self._lock:
                self._open.add(upstream)
            answering = threading.Thread(target=self._answer, args=(upstream, connection, lost), daemon=True)
            answering.start()
            try:
                while data := connection.recv(2**16):
                    fault = self._fault_for(data)
                    if fault == "reset":
                        break
                    if fault == "lose":
                        lost.set()
                    upstream.sendall(data)
            finally:
                _shut(upstream)
                answering.join()
                with self._lock:
                    self._open.discard(upstream)

    def _answer(self, upstream: socket.socket, connection: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while (data := upstream.recv(2**16)) and not lost.is_set():
                connection.sendall(data)
        _shut(connection)

    def _fault_for(self, data: bytes) -> Literal["lose", "reset"] | None:
        with self._lock:
            if self._left and self._method in data:
                self._left -= 1
                if not self._left:
                    self.lost.append(self._method[1:].decode())
                    return "lose"
            if not self._chance or _CLIENTS_CALLS not in data:
                return None
            thrown = self._dice.random()
            if thrown >= 2 * self._chance:
                return None
            if thrown < self._chance:
                self.lost.append("reset")
                return "reset"
            self.lost.append("lose")
            return "lose"
