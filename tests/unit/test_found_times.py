"""What is older than the matches that were found is not read; what can still be a match is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.found_times import FoundTimes
from feast_hybrid.asof.columnar.match import BestMatches
from feast_hybrid.asof.columnar.read import read_split
from feast_hybrid.asof.local import join, reading
from feast_hybrid.asof.local.join import join_locally
from feast_hybrid.asof.local.reading import Reading, estimate
from feast_hybrid.asof.local.view import LocalView, bind_view
from feast_hybrid.asof.local.work import Watch
from tests.unit.columnar import UTC, plain, view_of

KEYS = range(20)


@pytest.fixture(autouse=True)
def _in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is looked through by itself."""
    monkeypatch.setattr(reading, "_MIN_CHUNK", 1)
    monkeypatch.setattr(reading, "_MAX_CHUNK", 1)


def test_which_entity_rows_can_have_a_match_among_rows_of_a_span() -> None:
    entities = EntityKeys([pa.array([1, 1, 2, None])], pa.array([10, 20, 30, 40]))
    found = FoundTimes(entities)
    assert found.wanted(11, 50).tolist() == [False, True, True, False]
    found.found(np.array([1, 2]), np.array([15, 12]))
    assert found.wanted(0, 15).tolist() == [True, True, True, False]
    # Of equal times what was written later wins, or the greater value: so it is looked for.
    assert found.wanted(12, 15).tolist() == [False, True, True, False]
    assert found.wanted(12, 14).tolist() == [False, False, True, False]
    assert not found.may_match(11, 11)
    # What is found later can be earlier: it does not count.
    found.found(np.array([1]), np.array([14]))
    assert found.wanted(12, 14).tolist() == [False, False, True, False]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("file_format", ["parquet", "orc"])
def test_days_before_the_matches_are_not_read(
    file_format: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(*args: object) -> object:
        for rows in read_split(*args):  # type: ignore[arg-type]
            read.append(rows.num_rows)
            yield rows

    monkeypatch.setattr(join, "read_split", counted)
    # The last days lack key 0, of which day 6 has the last row.
    view = history([[key for key in KEYS if key or day < 7] for day in range(10)], tmp_path, file_format)
    asked = [(key, 100) for key in KEYS] + [(3, 45)]
    assert joined(view, asked, threads) == [[600, *(900 + key for key in KEYS[1:]), 403]]
    if threads == 1:  # those that begin at once do not know of each other's matches yet
        assert read == [19, 19, 19, 20, 20]  # the last three days', and days 6 and 4 for keys 0 and 3


def test_of_equal_times_in_two_files_the_greater_value_wins_whichever_is_read_first(tmp_path: Path) -> None:
    for n, days in enumerate(([[1], [1]], [[1, 1], []], [[1], [1], [1]])):
        folder = tmp_path / str(n)
        folder.mkdir()
        view = history(days, folder, "parquet", same_time=True)
        values = [100 * day + 1 for day, keys in enumerate(days) for _ in keys]
        for threads in (1, 3):
            assert joined(view, [(1, 500)], threads) == [[max(values)]]


@pytest.mark.parametrize("knows_found", [False, True])
def test_many_entity_rows_with_one_match_hold_no_rows_that_are_none(knows_found: bool) -> None:
    entities = EntityKeys([pa.array([7] * 1000)], pa.array([1_000_000] * 1000))
    view = view_of(created=False, found=FoundTimes(entities) if knows_found else None)
    best = BestMatches(view, entities)
    sizes = []
    for start in range(0, 500, 10):  # each chunk has a later row
        rows = [pa.array([7] * 10), pa.array(range(start, start + 10)), pa.array(np.arange(start, start + 10) * 1.0)]
        best.add(pa.RecordBatch.from_arrays(rows, schema=view.block_schema()))
        best.compact()
        sizes.append((best.nbytes - 8 * 1000) // (3 * 8))
    assert max(sizes) <= 2
    assert best.columns()[0].to_pylist() == [499.0] * 1000


def history(days: list[list[int]], folder: Path, file_format: str, *, same_time: bool = False) -> LocalView:
    """A file for each day, with a row for each key: a day is ten seconds, values are 100 x the day + the key."""
    schema = pa.schema([("k", pa.int64()), ("ts", UTC), ("v", pa.int64())])
    files = []
    for day, keys in enumerate(days):
        times = pa.array([0 if same_time else 10_000_000 * day] * len(keys), pa.int64()).cast(UTC)
        table = pa.table(
            [pa.array(keys, pa.int64()), times, pa.array([100 * day + k for k in keys], pa.int64())], schema
        )
        path = folder / f"{day}.{file_format}"
        (orc.write_table if file_format == "orc" else pq.write_table)(table, path)
        files.append(ScanFile(str(path), path.stat().st_size))
    scan = Scan(files=tuple(files), open=plain, file_format=file_format)
    return LocalView(
        name="view",
        schema=schema,
        keys=[("k", "k")],
        timestamp="ts",
        created=None,
        ttl=None,
        features=[("v", "v")],
        scan=scan,
    )


def joined(view: LocalView, asked: list[tuple[int, int]], threads: int) -> list[list[int]]:
    """The feature of some pairs of key and second; a key's rows are looked through file by file."""
    keys = {"k": pa.array([key for key, _ in asked])}
    bound = bind_view(view, 0, {"k": pa.int64()}, by_created=False)
    assert not isinstance(bound, Ineligible)
    of_view = Reading(bound.spec, view.scan, view.scan.files, estimate(bound.spec, view.scan))
    times = pa.array([1_000_000 * time for _, time in asked], pa.int64())
    [columns] = join_locally([(bound, of_view)], keys, times, Watch(), threads=threads, memory=1 << 30)
    return [column.to_pylist() for column in columns]
