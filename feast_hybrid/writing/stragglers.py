"""Folders that a job of Spark's has failed to write, and into which its last tasks may still write."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from feast_hybrid.lakes.replace import remove

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location

#: For how long tasks of a job that has failed may go on writing.
STRAGGLER_SECONDS = 2.0


def remove_with_stragglers(folder: Location) -> None:
    """Remove a folder, and what is written into it after that."""
    remove(folder)
    time.sleep(STRAGGLER_SECONDS)
    remove(folder)
