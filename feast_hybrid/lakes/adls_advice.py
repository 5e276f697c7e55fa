"""What to check, and what to set, where an ADLS account does not serve: by the words and answers of its clients."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from feast_hybrid.lakes.timeouts import BLOB_READ_TIMEOUT, BLOB_RETRIES

#: By how many seconds clocks may differ before it is said: a shared key is refused after 15 minutes, a token after 5.
_CLOCK_SECONDS = 240

#: An account that was reached and said that it cannot serve now, as Hadoop's driver writes it, and as we do.
_ANSWERED = re.compile(r'Operation failed: "[^\n]*", (?:408|429|5\d\d), | \((?:408|429|5\d\d)[,)]')
#: Connections to it that ended before their answers did.
_HUNG_UP = re.compile(
    r"\b(?:IncompleteReadError|ClientPayloadError|ServerDisconnectedError|ClientOSError|SocketException|SocketTimeoutException)\b"
    r"|Connection reset|Premature end|failed to respond"
)


def waiting_advice(text: str, *, timed_out: bool) -> str:
    """What to check and to set where an account could not serve.

    Args:
        text: the classes and words of what was raised, with status and code.
        timed_out: whether it was reached and said nothing.
    """
    if _ANSWERED.search(text):
        return (
            "The account says that it is busy or has failed. Ask it for less at once, or let it be asked more often: "
            f"{BLOB_RETRIES} in the site's options."
        )
    if timed_out or _HUNG_UP.search(text):
        return (
            f"Check that the account is well, and the network to it. For more tries and more time set {BLOB_RETRIES} "
            f"and {BLOB_READ_TIMEOUT} in the site's options."
        )
    return (
        "Check the host and the port in the site's uri, and that this machine reaches them. For more tries set "
        f"{BLOB_RETRIES} in the site's options."
    )


def clock_fault(errors: Iterable[BaseException]) -> str:
    """By how much this machine's clock is off, where the service that refused a sign-in told the time; else nothing.

    Args:
        errors: an exception and those behind it.
    """
    for date in filter(None, (header(error, "Date") for error in errors)):
        try:
            seconds = time.time() - parsedate_to_datetime(date).timestamp()
        except ValueError:
            continue
        if abs(seconds) > _CLOCK_SECONDS:
            return (
                f" This machine's clock is {abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'} "
                "the service's, and sign-ins are refused where clocks differ: have it kept by NTP."
            )
    return ""


def header(error: BaseException, name: str) -> str:
    """A header of the answer that an error of Azure's client is for; empty where it has none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return str(headers.get(name) or "")
