"""When Azure's client asks again: what passes, for how long, and what an account that was given up gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core import exceptions as azure

from feast_hybrid.lakes.patience import Patience, PatientRetry, read_whole

QUICK = {
    "fs.azure.io.retry.max.retries": "3",
    "fs.azure.io.retry.min.backoff.interval": "1",
    "fs.azure.io.retry.backoff.interval": "1",
    "fs.azure.io.retry.max.backoff.interval": "5",
}


class Clock:
    """Time that passes only by sleeping, and by what an answer takes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def policy_of(clock: Clock, options: dict[str, str] | None = None) -> PatientRetry:
    return PatientRetry(replace(Patience.of(options or {}), clock=clock.monotonic))


def answer(status: int, **headers: str) -> Any:
    response = SimpleNamespace(status_code=status, headers=headers)
    return SimpleNamespace(http_response=response, context={})


class Account:
    """What stands behind the policy: gives or raises what it is told to, and counts."""

    def __init__(self, clock: Clock, says: Callable[[float], Any], seconds: float = 0.0) -> None:
        self.clock, self.says, self.seconds = clock, says, seconds
        self.began = clock.now
        self.asked: list[float] = []
        self.read_timeouts: list[float | None] = []

    async def send(self, request: Any) -> Any:
        self.asked.append(self.clock.now - self.began)
        self.read_timeouts.append(request.context.options.get("read_timeout"))
        self.clock.now += self.seconds
        found = self.says(self.clock.now - self.began)
        if isinstance(found, BaseException):
            raise found
        return found


class Options(dict[str, Any]):
    """A request's context."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}
        self.transport = clock


def send(policy: PatientRetry, account: Account) -> Any:
    policy.next = account  # type: ignore[assignment]
    http_request = SimpleNamespace(method="GET", body=None, url="http://x")
    return asyncio.run(policy.send(SimpleNamespace(http_request=http_request, context=Options(account.clock))))


BUSY = [429, 408, 500, 503]


@pytest.mark.parametrize("status", BUSY)
def test_half_a_minute_of_a_busy_account_is_carried(clock: Clock, status: int) -> None:
    account = Account(clock, lambda now: answer(200 if now > 30 else status))
    assert send(policy_of(clock), account).http_response.status_code == 200
    assert account.asked[-1] > 30


def test_so_are_connections_that_end_and_answers_that_do_not_come(clock: Clock) -> None:
    for error, seconds in ((azure.ServiceRequestError("ended"), 0.0), (azure.ServiceResponseTimeoutError("x"), 10.0)):

        def says(now: float, error: Any = error, seconds: float = seconds) -> Any:
            return answer(200) if now - seconds > 30 else error

        assert send(policy_of(clock), Account(clock, says, seconds)).http_response.status_code == 200


@pytest.mark.parametrize(
    ("says", "seconds"),
    [
        (answer(503), 0.0),
        (answer(429, **{"Retry-After": "1"}), 0.0),
        (azure.ServiceRequestError("ended"), 0.0),
        (azure.ServiceResponseTimeoutError("slow"), 10.0),
    ],
    ids=["503", "429", "resets", "silence"],
)
def test_what_does_not_end_is_given_up_within_a_minute(clock: Clock, says: Any, seconds: float) -> None:
    account = Account(clock, lambda _: says, seconds)
    if isinstance(says, azure.AzureError):
        with pytest.raises(type(says)):
            send(policy_of(clock), account)
    else:
        assert send(policy_of(clock), account).http_response is says.http_response
    assert 30 < clock.now - account.began < 55


def test_where_nobody_listens_it_is_said_in_some_20_seconds(clock: Clock) -> None:
    class ClientConnectorError(OSError):
        """As aiohttp calls it."""

    error = azure.ServiceRequestError("Cannot connect")
    error.__cause__ = ClientConnectorError()
    account = Account(clock, lambda _: error)
    with pytest.raises(azure.ServiceRequestError):
        send(policy_of(clock), account)
    assert 8 < clock.now - account.began < 20


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 501])
def test_what_will_be_the_same_the_next_time_is_not_asked_again(clock: Clock, status: int) -> None:
    account = Account(clock, lambda _: answer(status))
    assert send(policy_of(clock), account).http_response.status_code == status
    assert len(account.asked) == 1


def test_a_token_that_is_refused_is_not_asked_for_again_and_one_that_cannot_be_had_is(clock: Clock) -> None:
    refused = azure.ClientAuthenticationError("AADSTS7000215")
    refused.status_code = 401
    account = Account(clock, lambda _: refused)
    with pytest.raises(azure.ClientAuthenticationError):
        send(policy_of(clock), account)
    assert len(account.asked) == 1
    busy = azure.ClientAuthenticationError("Entra is busy")
    busy.status_code = 503
    lost = azure.ClientAuthenticationError("no token")
    lost.__cause__ = azure.ServiceRequestError("ended")
    for error in (busy, lost):

        def says(now: float, error: Any = error) -> Any:
            return error if now < 5 else answer(200)

        account = Account(clock, says)
        assert send(policy_of(clock), account).http_response.status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [("Retry-After", "7"), ("x-ms-retry-after-ms", "7000"), ("Retry-After", None)],
    ids=["seconds", "milliseconds", "a date"],
)
def test_the_pause_that_an_account_asks_for_is_made(clock: Clock, header: str, value: str | None) -> None:
    value = value or format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
    account = Account(clock, lambda now: answer(429, **{header: value}) if not now else answer(200))
    send(policy_of(clock), account)
    assert 6 < clock.slept[0] < 9


def test_one_that_is_longer_than_there_is_time_is_not_waited_for(clock: Clock) -> None:
    account = Account(clock, lambda _: answer(429, **{"Retry-After": "120"}))
    assert send(policy_of(clock), account).http_response.status_code == 429
    assert clock.slept == []


def test_the_options_of_a_site_give_the_number_of_tries_and_the_longest_pause(clock: Clock) -> None:
    account = Account(clock, lambda _: answer(429, **{"Retry-After": "120"}))
    send(policy_of(clock, QUICK), account)
    assert len(account.asked) == 4
    assert max(clock.slept) <= 0.005
    many = Account(clock, lambda _: answer(503))
    send(policy_of(clock, {"fs.azure.io.retry.max.retries": "20"}), many)
    assert len(many.asked) == 21
    assert clock.now - many.began > 120


def test_an_account_that_was_given_up_is_asked_once_until_it_answers(clock: Clock) -> None:
    policy, account = policy_of(clock), Account(clock, lambda _: answer(503))
    send(policy, account)
    account.asked.clear()
    account.read_timeouts.clear()
    send(policy, account)
    assert len(account.asked) == 1
    assert account.read_timeouts == [3.0]
    send(policy, Account(clock, lambda _: answer(404)))
    account.asked.clear()
    send(policy, account)
    assert len(account.asked) > 5


class TestBodies:
    @staticmethod
    def cut() -> azure.HttpResponseError:
        """As azure-storage-blob raises it after its own tries."""
        error = azure.HttpResponseError("Response payload is not completed")
        error.__cause__ = azure.IncompleteReadError("cut")
        return error

    def read(self, fails: int, error: Callable[[], BaseException], options: dict[str, str]) -> tuple[bytes, int]:
        calls = 0

        async def download() -> bytes:
            nonlocal calls
            calls += 1
            if calls <= fails:
                raise error()
            return b"whole"

        return asyncio.run(read_whole(download, Patience.of(options))), calls

    def test_a_download_that_is_cut_is_begun_anew(self) -> None:
        assert self.read(2, self.cut, QUICK) == (b"whole", 3)

    def test_one_that_is_always_cut_is_given_up(self) -> None:
        with pytest.raises(azure.HttpResponseError):
            self.read(9, self.cut, QUICK)

    def test_what_was_no_cut_is_raised_at_once(self) -> None:
        for error in (azure.ServiceResponseError("silent"), azure.ResourceNotFoundError("404"), ValueError("x")):
            with pytest.raises(type(error)):
                self.read(1, lambda error=error: error, QUICK)  # type: ignore[misc]
