"""How often, and for how long, Azure's client asks an account again that refuses connections, is busy or is silent.

Azure's own policy asks again after 5xx and lost connections, but never after 429, whatever ``Retry-After`` says; and
it counts tries, so that the time until it gives up depends on what happens to each. Here the time counts, as long as
a site's ``options`` name no number of tries: what lasts for half a minute is carried, and what lasts is said within a
minute. An account that was just given up is asked once by each further request, until it answers one.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
)
from azure.storage.blob.aio import ExponentialRetry

from feast_hybrid.lakes import timeouts

#: Seconds after which nobody is asked again who was busy, or hung up, or was silent.
_SECONDS = 36.0
#: The same for an account to which there is no connection: more often its name or a port is wrong.
_SECONDS_UNCONNECTED = 18.0
#: Seconds of the first pause, which doubles, and of the longest one.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
#: For how long it counts that an account was given up, and how long it then has for an answer, in seconds.
_SECONDS_GIVEN_UP, _LAST_ANSWER = 60.0, 3.0
#: The policy of Azure's that ours takes the place of is to leave all counting to us.
_ANY_NUMBER = 1 << 30


@dataclass(frozen=True)
class Patience:
    """When an account is asked again; times in seconds.

    Attributes:
        retries: how often; None for as often as there is time.
        shortest: what each pause has at least, where the number is given.
        growth: what it grows by, as the pauses of Hadoop's driver do.
        longest: what no pause is longer than.
        read_timeout: how long there may be nothing of an answer.
        clock: gives the time.
    """

    retries: int | None = None
    shortest: float = 3.0
    growth: float = 4.0
    longest: float = 13.0
    read_timeout: float = 10.0
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Patience:
        """As a site's options have it, by the names and with the meaning that they have for Hadoop's driver."""

        def seconds(name: str, default: float) -> float:
            return int(options[name]) / 1000 if name in options else default

        return cls(
            int(options[timeouts.BLOB_RETRIES]) if timeouts.BLOB_RETRIES in options else None,
            seconds(timeouts.BLOB_SHORTEST_PAUSE, cls.shortest),
            seconds(timeouts.BLOB_PAUSE, cls.growth),
            seconds(timeouts.BLOB_LONGEST_PAUSE, cls.longest),
            seconds(timeouts.BLOB_READ_TIMEOUT, cls.read_timeout),
        )

    def begin(self) -> Waiting:
        """The first try of something begins now."""
        return Waiting(self, self.clock())

    def pause(self, number: int) -> float:
        """The pause before the try of a number, the first of which is 1; more or less by chance."""
        chance = random.uniform(0.8, 1.2)  # noqa: S311  # not for secrets
        if self.retries is None:
            return min(_FIRST_PAUSE * 2.0 ** (number - 1), _LONGEST_PAUSE) * chance
        return min(self.shortest + (2.0**number - 1) * self.growth * chance, self.longest)


@dataclass
class Waiting:
    """How often something was tried, and since when."""

    patience: Patience
    began: float
    tries: int = 0

    @property
    def seconds(self) -> float:
        """Since the first try began."""
        return self.patience.clock() - self.began

    def next_pause(self, *, connected: bool = True, wanted: float = 0.0) -> float | None:
        """How long to wait before the next try; None where there is to be none.

        Args:
            connected: whether there was a connection to the account.
            wanted: by the account itself, in seconds.
        """
        self.tries += 1
        pause = max(self.patience.pause(self.tries), wanted)
        if self.patience.retries is not None:
            # The longest pause is the site's to say, whatever an account wants.
            return min(pause, max(self.patience.longest, 0.0)) if self.tries <= self.patience.retries else None
        most = _SECONDS if connected else _SECONDS_UNCONNECTED
        return pause if self.seconds + pause <= most else None


class PatientRetry(ExponentialRetry):
    """Sends a request of Azure's client again as a :class:`Patience` says; of one client.

    Args:
        patience: when, and how often.
    """

    def __init__(self, patience: Patience) -> None:
        counts: dict[str, Any] = dict.fromkeys(("connect", "read", "status"), _ANY_NUMBER)
        super().__init__(retry_total=_ANY_NUMBER, **{f"retry_{what}": number for what, number in counts.items()})
        self._patience = patience
        self._given_up = -math.inf

    async def send(self, request: Any) -> Any:  # type: ignore[override]  # Azure types the class that waits
        """The answer to a request: a good one, or the last one.

        Raises:
            AzureError: there was none.
        """
        settings = self.configure_retries(request)
        waiting = self._patience.begin()
        may_wait = self._patience.clock() - self._given_up > _SECONDS_GIVEN_UP
        if not may_wait:
            request.context.options.setdefault("read_timeout", min(self._patience.read_timeout, _LAST_ANSWER))
        while True:
            response, error = None, None
            try:
                sending: Any = self.next.send(request)
                response = await sending
            except AzureError as raised:
                error = raised
            if not (is_passing(error) if error else _is_busy(response.http_response)):  # type: ignore[union-attr]
                if error is None:
                    self._given_up = -math.inf
                break
            wanted = 0.0 if response is None else _retry_after(response.http_response)
            pause = waiting.next_pause(connected=_was_connected(error), wanted=wanted) if may_wait else None
            answered = None if response is None else response.http_response
            if pause is None or not self.increment(settings, request.http_request, answered, error):
                self._given_up = self._patience.clock()
                break
            await request.context.transport.sleep(pause)
        if error is not None:
            raise error
        assert response is not None
        if settings["history"]:
            response.context["history"] = settings["history"]
        response.http_response.location_mode = settings["mode"]
        return response


async def read_whole(read: Callable[[], Awaitable[bytes]], patience: Patience) -> bytes:
    """What a download gives, which is begun anew where the connection ended in the middle of it.

    Azure's client itself tries three times within three seconds.

    Raises:
        AzureError: it ended so each time.
    """
    waiting = patience.begin()
    try:
        return await read()
    except AzureError as raised:
        error = raised
    while was_cut(error) and (pause := waiting.next_pause()) is not None:
        await asyncio.sleep(pause)
        left = None if patience.retries is not None else max(_SECONDS - waiting.seconds, 0) + patience.read_timeout
        try:
            async with asyncio.timeout(left):
                return await read()
        except AzureError as raised:
            error = raised
        except TimeoutError:
            break
    raise error


def was_cut(error: AzureError) -> bool:
    """Whether an answer has begun, and ended before its end or came to a stand."""
    if isinstance(error, IncompleteReadError):
        return True
    # So Azure's client wraps it; what was given up before an answer began it raises as it is, or has an answer of.
    behind = (IncompleteReadError, DecodeError, ServiceResponseError)
    return isinstance(error, HttpResponseError) and error.response is None and isinstance(error.__cause__, behind)


def is_passing(error: AzureError) -> bool:
    """Whether what a request met may be over at the next try."""
    if isinstance(error, ClientAuthenticationError):
        # A token could not be had: Entra too may be busy, or not be reached.
        status = error.status_code
        return _is_busy_status(status) if isinstance(status, int) else any(map(_is_of_network, _behind(error)))
    return _is_of_network(error)


def _is_of_network(error: BaseException) -> bool:
    return isinstance(error, (ServiceRequestError, ServiceResponseError, IncompleteReadError))


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _was_connected(error: AzureError | None) -> bool:
    """Whether an error shows that there was a connection; an answer does."""
    if not isinstance(error, ServiceRequestError):
        return True
    if isinstance(error, ServiceRequestTimeoutError):
        return False
    # aiohttp's classes: a connection that could not be made, as opposed to one that ended.
    names = {each.__name__ for behind in _behind(error) for each in type(behind).__mro__}
    return "ClientConnectorError" not in names


def _is_busy(response: Any) -> bool:
    return _is_busy_status(response.status_code)


def _is_busy_status(status: int) -> bool:
    return status in (408, 429) or (status >= 500 and status not in (501, 505))


def _retry_after(response: Any) -> float:
    """Seconds that an answer says to wait; zero where it says none."""
    for name, unit in (("x-ms-retry-after-ms", 0.001), ("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        text = str(response.headers.get(name) or "").strip()
        if text.isdecimal():
            return int(text) * unit
        if text:
            try:
                return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
            except ValueError:
                continue
    return 0.0
