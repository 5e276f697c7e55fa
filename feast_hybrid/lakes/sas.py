"""What a shared access signature says of itself: since when and until when it is good. Nothing of it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl


def sas_fault(token: str) -> str:
    """What is wrong with a signature that was refused, as the end of a sentence that says where it is from.

    Args:
        token: as it is appended to a URL.
    """
    fields = dict(parse_qsl(token))
    now = datetime.now(UTC)
    until, begins = _time(fields.get("se")), _time(fields.get("st"))
    if until is not None and until <= now:
        return f", which has expired: it was good until {until:%Y-%m-%d %H:%M} UTC. Make a new one."
    if begins is not None and begins > now:
        return (
            f", which is not good yet: by this machine's clock it is so from {begins:%Y-%m-%d %H:%M} UTC on. Make "
            "one without a start, or that starts a quarter of an hour ago."
        )
    return (
        ". By its own text it is good now. Check that it is of this account or container and was copied whole, that "
        "the key it was made with has not been changed since, and that this machine's clock is right (feast-hybrid "
        "doctor compares it)."
    )


def _time(text: str | None) -> datetime | None:
    """A time in a signature, which is of UTC; None where there is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
