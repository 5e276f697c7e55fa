"""The proxy that does to requests what networks and busy services do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from feast_hybrid.testing import Fault, FaultProxy

CONTENT = b"0123456789" * 1000


class Server(ThreadingHTTPServer):
    """Keeps what was put, and gives it back."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: list[tuple[str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.kept.append((self.path, self.rfile.read(length)))
        self._answer(201, b"")

    def do_GET(self) -> None:
        self._answer(200, CONTENT)

    def do_HEAD(self) -> None:
        self._answer(200, CONTENT, sends=False)

    def _answer(self, status: int, body: bytes, *, sends: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sends else b"")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(f"127.0.0.1:{server.server_address[1]}") as running:
        yield running


def ask(proxy: FaultProxy, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_faults_all_is_passed_on_over_one_connection(proxy: FaultProxy, server: Server) -> None:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
    for number in range(3):
        connection.request("PUT", f"/a%20b?n={number}", b"x" * number)
        assert connection.getresponse().read() == b""
    connection.request("HEAD", "/a")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "10000", b"")
    connection.request("GET", "/a")
    assert connection.getresponse().read() == CONTENT
    connection.close()
    assert server.kept == [(f"/a%20b?n={number}", b"x" * number) for number in range(3)]
    assert proxy.injected == []


def test_a_body_in_chunks_arrives(proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
    connection.request("GET", "/a", iter([b"one", b"two"]), encode_chunked=True, headers={"X": "y"})
    assert connection.getresponse().read() == CONTENT
    connection.close()


def test_an_answer_of_its_own_says_when_to_come_again_and_the_server_sees_nothing(
    proxy: FaultProxy, server: Server
) -> None:
    with proxy.having(Fault("answer", "PUT", status=429, retry_after=3)):
        connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
        connection.request("PUT", "/a", b"x")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
        assert b"<Code>ServerBusy</Code>" in answer.read()
        connection.request("GET", "/a")
        assert connection.getresponse().read() == CONTENT
        connection.close()
    assert server.kept == []
    assert proxy.injected == ["answer 429 PUT /a"]


@pytest.mark.parametrize(("action", "arrives"), [("reset", False), ("lose", True)])
def test_a_connection_is_reset_before_or_after_the_server_does_its_work(
    proxy: FaultProxy, server: Server, action: Any, arrives: bool
) -> None:
    with proxy.having(Fault(action, nth=1)), pytest.raises(ConnectionResetError):
        ask(proxy, "PUT", "/a", b"x")
    assert server.kept == ([("/a", b"x")] if arrives else [])
    assert ask(proxy, "PUT", "/b", b"y") == (201, b"")


def test_a_body_is_cut_whose_headers_say_that_it_is_whole(proxy: FaultProxy) -> None:
    with proxy.having(Fault("cut", "GET")):
        connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
        connection.request("GET", "/a")
        answer = connection.getresponse()
        assert answer.headers["Content-Length"] == "10000"
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
        connection.close()


@pytest.mark.parametrize("kept", [0.0, 0.25, 0.5])
def test_a_body_may_end_early_and_the_connection_in_good_order(proxy: FaultProxy, kept: float) -> None:
    with proxy.having(Fault("short", "GET", kept=kept)):
        connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
        connection.request("GET", "/a")
        answer = connection.getresponse()
        assert answer.headers["Content-Length"] == "10000"
        with pytest.raises(http.client.IncompleteRead) as short:
            answer.read()
        assert len(short.value.partial) == kept * 10_000
        connection.close()


def test_a_fault_that_lasts_for_a_time_is_over_after_it(proxy: FaultProxy) -> None:
    with proxy.having(Fault("answer", lasting=0.3)):
        assert [ask(proxy, "GET", "/a")[0] for _ in range(2)] == [503, 503]
        time.sleep(0.4)
        assert ask(proxy, "GET", "/a") == (200, CONTENT)


def test_a_request_that_is_delayed_arrives_when_the_client_has_given_up(proxy: FaultProxy, server: Server) -> None:
    with proxy.having(Fault("delay", seconds=0.5)):
        connection = http.client.HTTPConnection(proxy.endpoint, timeout=0.1)
        connection.request("PUT", "/a", b"x")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        assert server.kept == []
        deadline = time.monotonic() + 10
        while not server.kept and time.monotonic() < deadline:
            time.sleep(0.02)
    assert server.kept == [("/a", b"x")]


def test_a_fault_is_for_a_method_a_target_and_the_nth_of_them(proxy: FaultProxy) -> None:
    with proxy.having(Fault("answer", "PUT|GET", r"^/a b\?comp=x$", nth=2, status=500)):
        statuses = [ask(proxy, method, "/a%20b?comp=x", b"")[0] for method in ("GET", "HEAD", "PUT", "GET")]
        statuses.append(ask(proxy, "GET", "/a")[0])
    assert statuses == [200, 200, 500, 200, 200]
    assert proxy.injected == ["answer 500 PUT /a b?comp=x"]


def test_what_happens_by_chance_happens_again_with_the_seed(proxy: FaultProxy) -> None:
    def statuses(seed: int) -> list[int]:
        with proxy.having(Fault("answer", probability=0.5), seed=seed):
            return [ask(proxy, "GET", "/a")[0] for _ in range(30)]

    first = statuses(1)
    assert set(first) == {200, 503}
    assert statuses(1) == first
    assert statuses(2) != first
