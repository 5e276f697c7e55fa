"""How many tasks read, and how many buckets are joined."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from feast_hybrid.asof.columnar.columnar_view import ColumnarView
from feast_hybrid.asof.columnar.estimate import ScanEstimate
from feast_hybrid.asof.columnar.plan import BUCKET_BYTES, bucket_count
from feast_hybrid.asof.columnar.splits import plan_splits
from feast_hybrid.asof.scan import Scan, ScanFile
from tests.unit.columnar import plain, view_of


@pytest.mark.parametrize(("size", "cores", "tasks"), [(1 << 10, 8, 1), (100 << 20, 2, 4), (10 << 30, 4, 20)])
def test_tasks_share_the_bytes_and_read_a_bounded_piece_at_a_time(size: int, cores: int, tasks: int) -> None:
    scan = Scan(files=(ScanFile("a", size), ScanFile("b", size)), open=plain)
    view: Any = SimpleNamespace(scan=scan)
    whole = ColumnarView(view, view_of(), scan.files, ScanEstimate(1, size, size, 0.5))
    found = plan_splits([whole], cores)
    assert len(found) == tasks
    read = [file_split for task in found for file_split in task]
    assert max(file_split.end - file_split.start for file_split in read) * 0.5 <= 64 << 20
    for name in ("a", "b"):
        ends = sorted((file_split.start, file_split.end) for file_split in read if file_split.path == name)
        assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
        assert ends[-1][1] >= size


def test_no_core_waits_long_for_another_where_files_are_of_unequal_sizes() -> None:
    sizes = {f"{view}{file}": size << 20 for view in "abc" for file, size in enumerate((59, 59, 59, 13))}
    scan = Scan(files=tuple(ScanFile(*file) for file in sizes.items()), open=plain)
    view: Any = SimpleNamespace(scan=scan)
    found = plan_splits([ColumnarView(view, view_of(), scan.files, ScanEstimate(1, 570, 570, 1.0))], 2)
    loads = [sum(sizes[file_split.path] for file_split in task) >> 20 for task in found]
    assert loads == [177, 131, 131, 131]
    assert sorted(file_split.path for task in found for file_split in task) == sorted(sizes)


@pytest.mark.parametrize(
    ("size", "parallelism", "expected"),
    [
        (0, 8, 1),
        (BUCKET_BYTES // 2, 8, 4),  # the least for which a task is worth its start
        (BUCKET_BYTES, 8, 8),
        (3 * BUCKET_BYTES, 8, 8),
        (3 * BUCKET_BYTES, 2, 2),  # three would be two rounds, the second of one
        (4 * BUCKET_BYTES, 2, 4),
        (21 * BUCKET_BYTES, 4, 20),
        (10**15, 8, 4096),
    ],
)
def test_buckets_fit_into_memory_and_keep_all_cores_busy(size: int, parallelism: int, expected: int) -> None:
    assert bucket_count(size, parallelism) == expected
