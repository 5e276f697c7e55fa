"""What unit and integration tests share."""

from __future__ import annotations

from tests.integration.reliability import promise

__all__ = ["promise"]
