"""The oracle of operations under faults finds what is wrong: rows that are lost, mixed, twice, or were refused."""

from __future__ import annotations

import pytest

from tests.integration.faults.oracle import DRIVERS, Batches, Dataset


def of(*numbers: int) -> list[int]:
    return [Batches.value(number, driver) for number in numbers for driver in DRIVERS]


@pytest.fixture
def batches() -> Batches:
    found = Batches()
    for number, end in ((1, "ok"), (2, "refused"), (3, "unknown"), (4, "ok")):
        found.written(number, end)  # type: ignore[arg-type]
    return found


def test_what_was_written_is_right(batches: Batches) -> None:
    batches.check_all(of(1, 4))
    batches.check_latest(3, of(1))
    batches.check_latest(0, [None] * len(DRIVERS))
    batches.check_latest(3, of(3))
    batches.check_latest(9, of(4))
    batches.check_all(of(1, 3), between=(0, 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (of(1), r"\{4\} are not there"),
        (of(1, 2, 4), r"\{2\} were refused"),
        (of(1, 4)[:-1], None),
        ([*of(1, 4), of(4)[0]], None),
    ],
    ids=["lost", "refused", "in-part", "twice"],
)
def test_wrong_rows_are_found(batches: Batches, values: list[int], message: str | None) -> None:
    with pytest.raises(AssertionError, match=message):
        batches.check_all(values)


@pytest.mark.parametrize(
    ("hours", "values"),
    [(3, of(2)), (9, of(3)), (9, of(1)), (9, [None] * len(DRIVERS)), (9, [*of(4)[:3], of(1)[3]]), (2, of(4))],
    ids=["refused", "not-the-latest", "older", "none", "mixed", "of-the-future"],
)
def test_a_wrong_latest_row_is_found(batches: Batches, hours: int, values: list[int | None]) -> None:
    with pytest.raises(AssertionError):
        batches.check_latest(hours, values)


def test_what_was_seen_once_has_to_stay(batches: Batches) -> None:
    batches.check_all(of(1, 3, 4))
    with pytest.raises(AssertionError, match=r"\{3\} are not there"):
        batches.check_all(of(1, 4))


def test_of_a_dataset_one_whole_set_is_right() -> None:
    dataset = Dataset()
    dataset.saved(1, "ok")
    dataset.saved(2, "refused")
    dataset.saved(3, "unknown")
    for number in (1, 3):
        dataset.check([number] * Dataset.rows(number))
    for wrong in ([2] * Dataset.rows(2), [1], [1, 3], []):
        with pytest.raises(AssertionError):
            dataset.check(wrong)
