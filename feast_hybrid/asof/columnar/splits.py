"""Which parts of which files each reading task takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from feast_hybrid.asof.columnar.spec import FileSplit

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.columnar_view import ColumnarView
    from feast_hybrid.asof.scan import Scan, ScanFile

#: What each reading task takes.
Tasks = tuple[tuple[FileSplit, ...], ...]

#: Bytes of files that a reading task takes. Between two tasks a Python worker does nothing for some 100 ms.
_MIN_TASK_BYTES, _MAX_TASK_BYTES = 8 << 20, 512 << 20
#: And of one file at a time: Arrow reads them ahead.
MAX_SPLIT_BYTES = 64 << 20
#: So often the range is halved in which the size of the largest task is looked for.
_HALVINGS = 20


def plan_splits(views: Sequence[ColumnarView], parallelism: int) -> Tasks:
    """What each reading task takes: some small files, or a range of a large one.

    Args:
        views: What is read, in the order of their numbers.
        parallelism: How many tasks run at once.
    """
    needed = sum(file.size * view.estimate.column_share for view in views for file in view.files)
    task_bytes = min(max(needed / (2 * parallelism), _MIN_TASK_BYTES), _MAX_TASK_BYTES)
    count = max(1, math.ceil(needed / task_bytes - 0.25))
    if count > parallelism:  # no core waits for a last one
        count = parallelism * math.ceil(count / parallelism - 0.25)
    return _share_out(list(_splits(views, min(task_bytes, MAX_SPLIT_BYTES))), count)


def _share_out(splits: Sequence[tuple[FileSplit, float]], count: int) -> Tasks:
    """Parts of files divided among so many tasks, or fewer, the largest of which is as small as can be.

    Each task has neighbours, since what it keeps of a view's rows is the less, the more of them it has seen. The
    largest task comes first.
    """
    sizes = [size for _, size in splits]
    low, high = max(max(sizes, default=0.0), sum(sizes) / count), sum(sizes)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_runs(sizes, middle)) <= count else (middle, high)
    runs = sorted(_runs(sizes, high), key=lambda run: sum(sizes[run[0] : run[1]]), reverse=True)
    return tuple(tuple(split for split, _ in splits[begin:end]) for begin, end in runs)


def _runs(sizes: Sequence[float], most: float) -> list[tuple[int, int]]:
    """Neighbours together as long as they are no more than a bound: the first place of each run, and its end."""
    runs: list[tuple[int, int]] = []
    begin, held = 0, 0.0
    for place, size in enumerate(sizes):
        if held + size > most and place > begin:
            runs.append((begin, place))
            begin, held = place, 0.0
        held += size
    return [*runs, (begin, len(sizes))] if sizes else []


def pack_tasks(splits: Iterable[tuple[FileSplit, float]], task_bytes: float) -> Tasks:
    """Parts of files divided among tasks, in their order.

    Args:
        splits: each with the bytes that are read of it.
        task_bytes: after which a task takes no further part.
    """
    tasks: list[tuple[FileSplit, ...]] = []
    pending: list[FileSplit] = []
    size = 0.0
    for split, needed_bytes in splits:
        pending.append(split)
        size += needed_bytes
        if size >= task_bytes:
            tasks.append(tuple(pending))
            pending, size = [], 0.0
    if pending:
        tasks.append(tuple(pending))
    return tuple(tasks)


def _splits(views: Sequence[ColumnarView], max_bytes: float) -> Iterator[tuple[FileSplit, float]]:
    """Each file in ranges of equal length, and of how many bytes of needed columns each is."""
    for view in views:
        share = max(view.estimate.column_share, 1e-6)
        for file in view.files:
            count = max(1, math.ceil(file.size * share / max_bytes))
            for split in split_file(file, view.scan, count, view_id=view.spec.view_id):
                yield split, (split.end - split.start) * share


def split_file(file: ScanFile, scan: Scan, count: int, *, view_id: int) -> Iterator[FileSplit]:
    """A file of a scan in so many ranges of equal length."""
    length = math.ceil(file.size / count)
    for start in (n * length for n in range(count)):
        yield FileSplit(
            view_id,
            file.path,
            start,
            start + length,
            file.partitions,
            scan.open,
            scan.file_format,
            file.version,
            scan.version,
            file.stored,
            file.deleted,
        )
