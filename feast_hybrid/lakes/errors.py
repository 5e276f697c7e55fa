"""What a lake's client says, in the words of this package: refused, silent, or something else."""

from __future__ import annotations

import re

#: A status stands by itself: the digits of a port may be the same.
_REFUSED = re.compile(
    r"AuthorizationFailure|AuthenticationFailed|ClientAuthenticationError|failed to authenticate"
    r"|AuthorizationPermissionMismatch|AccessControlException|PermissionError|\b403\b"
)
_SILENT = re.compile(
    r"Connection refused|Connect call failed|Cannot connect to host|ServiceRequestError|UnknownHostException"
    r"|ConnectException|failed to lookup address|timed out|ServiceResponse(Timeout)?Error|Connection timeout"
)
#: An error that was raised in one of Spark's Python workers, in its traceback.
_IN_PYTHON = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)$", re.MULTILINE)
#: Lines before the one that says what is wrong: py4j's, and an exception's name alone.
_SAYS_NOTHING = re.compile(r"An error occurred|[\w.$]+: *$")
SECRET_IN_TEXT = re.compile(r"(sig=|AccountKey=)[^\s&;]+", re.IGNORECASE)
STRUCK_OUT = r"\1…"


def classify_storage_error(text: str) -> str | None:
    """What a client's or Spark's error says of the lake itself; None where it says nothing of it."""
    if _REFUSED.search(text):
        return "does not let us in"
    if _SILENT.search(text):
        return "does not answer"
    return None


def redacted_summary(text: str) -> str:
    """The line of a long error that says what is wrong, with signatures and keys struck out."""
    if raised := _IN_PYTHON.findall(text):
        text = raised[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _SAYS_NOTHING.match(line)]
    return SECRET_IN_TEXT.sub(STRUCK_OUT, lines[0] if lines else text)[:600]
