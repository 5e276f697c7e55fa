"""What unit and integration tests share."""

from __future__ import annotations

from hypothesis import settings

from tests.integration.format_limits import limit
from tests.integration.reliability import promise

__all__ = ["limit", "promise"]

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("feast-hybrid", deadline=None)
settings.load_profile("feast-hybrid")
