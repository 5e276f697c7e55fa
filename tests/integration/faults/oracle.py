"""What must be on the lakes, whatever has failed: kept beside the operations, and compared with each answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

#: How an operation ended: ``unknown`` where it says that it does not know.
End = Literal["ok", "unknown", "refused"]

DRIVERS = range(4)


class Batches:
    """Batches of one place: batch ``n`` has a row of each driver, at hour ``n``, whose value is of driver and ``n``.

    A batch is there as a whole or not at all. One whose end is unknown is so too: which of both, answers tell.
    """

    def __init__(self) -> None:
        self.there: set[int] = set()
        self.unknown: set[int] = set()

    @staticmethod
    def value(number: int, driver: int) -> int:
        """What the row of a driver in a batch has."""
        return number * len(DRIVERS) + driver

    def written(self, number: int, end: End) -> None:
        """A batch was written, or not."""
        if end == "ok":
            self.there.add(number)
        elif end == "unknown":
            self.unknown.add(number)

    def check_latest(self, hours: int, values: Sequence[int | None]) -> None:
        """Check the drivers' values as of an hour, one of each driver."""
        batches = {None if value is None else value // len(DRIVERS) for value in values}
        assert len(batches) == 1, f"drivers of several batches: {values}"
        (found,) = batches
        best = max((number for number in self.there if number <= hours), default=None)
        if found != best:
            assert found is not None, f"the rows of batch {best} are not there: {values}"
            assert found in self.unknown, f"batch {found} was refused, or never written: {values}"
            assert best is None or best < found <= hours, f"batch {found} is not the latest of hour {hours}"
        if found is not None:
            assert list(values) == [self.value(found, driver) for driver in DRIVERS]
            self._seen(found)

    def check_all(self, values: Iterable[int], *, between: tuple[int, int] | None = None) -> None:
        """Check all rows, or those of some hours, both ends included."""
        first, last = between or (0, 2**31)
        found = Counter(values)
        expected = {number for number in self.there if first <= number <= last}
        batches = {value // len(DRIVERS) for value in found}
        assert expected <= batches, f"the rows of batches {expected - batches} are not there"
        assert batches - expected <= self.unknown, f"batches {batches - expected - self.unknown} were refused"
        assert found == Counter(self.value(number, driver) for number in batches for driver in DRIVERS)
        for number in batches:
            self._seen(number)

    def _seen(self, number: int) -> None:
        self.unknown.discard(number)
        self.there.add(number)


class Dataset:
    """A saved dataset that is replaced: set ``n`` has so many rows, each with its number."""

    SIZES = (2, 3, 5, 7)

    def __init__(self) -> None:
        self.possible: set[int | None] = {None}

    @classmethod
    def rows(cls, number: int) -> int:
        """How many rows a set has."""
        return cls.SIZES[number % len(cls.SIZES)]

    def saved(self, number: int, end: End) -> None:
        """A set was saved, or not."""
        if end == "ok":
            self.possible = {number}
        elif end == "unknown":
            self.possible.add(number)

    def check(self, numbers: Sequence[int]) -> None:
        """Check what a reader found: the number of each row. What is there may still be put back, or be finished."""
        found = set(numbers)
        assert len(found) == 1, f"rows of several sets, or none: {sorted(found)}"
        (number,) = found
        assert number in self.possible, f"set {number} is there; possible are {self.possible}"
        assert len(numbers) == self.rows(number), f"a part of set {number}"
