"""Values that Arrow carries and that are none: text that is no UTF-8."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa


def first_invalid(column: pa.Array | pa.ChunkedArray) -> tuple[int, str] | None:
    """The first row whose value is none of the column's type, and why; None where all are."""
    start = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        reason = _fault(chunk)
        if reason is not None:
            return start + first_row(len(chunk), partial(_starts_well, chunk)), reason
        start += len(chunk)
    return None


def first_row(rows: int, holds: Callable[[int], bool]) -> int:
    """The first row with which so many rows from the start hold no longer."""
    good, bad = 0, rows
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def _starts_well(array: pa.Array, rows: int) -> bool:
    return _fault(array.slice(0, rows)) is None


def _fault(array: pa.Array) -> str | None:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as fault:
        return str(fault)
    return None
