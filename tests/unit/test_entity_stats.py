"""What tasks say of the entity rows' keys and times, however the rows are spread over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from feast_hybrid.asof.columnar.keys import KeyForm
from feast_hybrid.asof.entity_stats.collect import KeysSeen, merge_keys, task_budget

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.spec import KeyFilter

WHOLE = KeyForm("whole number", pa.int64())
MAX_BYTES = 1 << 20
#: A pair of key and time has 16 bytes in a task, and about as many for the readers.
PAIRS_WANTED = MAX_BYTES // 32

CollectedKeys = tuple[bytes | None, bytes | None]


def collect_keys(task: int, keys: np.ndarray, times: np.ndarray, batch: int = 10_000) -> CollectedKeys:
    """What a task with these rows gives: pairs, hashes."""
    seen = KeysSeen([WHOLE], MAX_BYTES, task)
    for start in range(0, len(keys), batch):
        rows = slice(start, start + batch)
        seen.add([pa.array(keys[rows])], pa.array(times[rows]))
    return seen.pairs(), seen.hashes()


def size(tasks: list[CollectedKeys]) -> int:
    return sum(len(found) for task in tasks for found in task if found is not None)


def merged(tasks: list[CollectedKeys]) -> tuple[KeyFilter | None, EntityKeys | None]:
    return merge_keys(tasks, MAX_BYTES)


def spread(counts: list[int]) -> list[CollectedKeys]:
    """Tasks with so many rows each, every one with a key of its own."""
    starts = np.cumsum([0, *counts])
    return [
        collect_keys(task, np.arange(starts[task], starts[task] + count), np.full(count, 5))
        for task, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    "counts",
    [
        [PAIRS_WANTED],
        [PAIRS_WANTED // 8] * 8,
        [0, 0, 0, PAIRS_WANTED],
        [0] * 20 + [PAIRS_WANTED // 4] + [0] * 20,
        [100] * 40 + [PAIRS_WANTED // 8] + [100] * 9,
        # One task of 200 has four times its even share.
        [PAIRS_WANTED // 200] * 199 + [4 * PAIRS_WANTED // 200],
    ],
    ids=["one", "even", "all in the last", "all in the midst", "most in one", "the last of many"],
)
def test_few_rows_are_told_whole_however_they_are_spread(counts: list[int]) -> None:
    key_filter, entity_keys = merged(spread(counts))
    assert entity_keys is not None
    assert len(entity_keys.codes) == sum(counts)
    assert key_filter is not None


def test_pairs_that_repeat_count_once() -> None:
    keys, times = np.tile(np.arange(100), 20_000), np.tile(np.arange(50), 40_000)
    tasks = [collect_keys(9, keys, times)]
    _, entity_keys = merged(tasks)
    assert entity_keys is not None
    assert len(entity_keys.codes) == 100
    assert size(tasks) < task_budget(MAX_BYTES, 9) + 10_000  # they are 2,000,000 pairs of 16 bytes


@pytest.mark.parametrize("batch", [1_000, 70_000, 1_000_000])
def test_where_pairs_are_too_many_the_keys_are_told(batch: int) -> None:
    keys, times = np.arange(500_000) % 3_000, np.arange(500_000)
    tasks = [collect_keys(0, keys, times, batch), collect_keys(1, keys[:10], times[:10])]
    assert tasks[0][0] is None
    key_filter, entity_keys = merged(tasks)
    assert entity_keys is None
    assert key_filter is not None
    slots = np.unpackbits(key_filter.slots)
    assert 0.9 * 3_000 < slots.sum() <= 3_000


def test_a_task_that_has_too_many_keys_leaves_them_unknown() -> None:
    seen = KeysSeen([WHOLE], 16, 1_000)
    for start in range(0, 400_000, 50_000):
        keys = pa.array(np.arange(start, start + 50_000))
        seen.add([keys], keys)
    assert (seen.pairs(), seen.hashes()) == (None, None)
    assert merged([(None, None), collect_keys(0, np.arange(3), np.arange(3))]) == (None, None)


def test_null_keys_and_times_are_none_of_the_keys() -> None:
    seen = KeysSeen([WHOLE], MAX_BYTES, 0)
    seen.add([pa.array([1, None, 3])], pa.array([5, 5, None], pa.int64()))
    key_filter, entity_keys = merged([(seen.pairs(), seen.hashes())])
    assert key_filter is not None
    assert np.asarray(key_filter.exact).tolist() == [1, 3]
    assert entity_keys is not None
    assert entity_keys.timestamps.tolist() == [5]


def test_what_all_tasks_may_give_is_bounded() -> None:
    total = 32 << 20
    budgets = [task_budget(total, task) for task in range(1_000)]
    assert budgets[0] == total
    assert sum(budgets) < 23 * total
    # Each gives all that it has, or nothing: tasks that have as much as each other give four times the total at most.
    for held in (1_000, 100_000, 3_000_000):
        assert sum(held for budget in budgets if held <= budget) <= 4 * total
