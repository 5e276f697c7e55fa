"""The join of this process, and its rows, as brute force says; and threads that share what the entity rows are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from feast_hybrid.asof import Ineligible
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.spec import SourceColumn, ViewSpec, rows_spec
from feast_hybrid.asof.local import reading
from feast_hybrid.asof.local.join import join_locally
from feast_hybrid.asof.local.reading import Reading, estimate
from feast_hybrid.asof.local.rows import latest_spec, read_latest, read_rows
from feast_hybrid.asof.local.view import bind_view
from feast_hybrid.asof.local.work import Watch
from tests.unit.local_worlds import Draw, Row, plain_values

if TYPE_CHECKING:
    from feast_hybrid.asof.scan import Scan

SEEDS = range(50)


@pytest.fixture(autouse=True)
def _in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is looked through by itself, and files are read in parts."""
    monkeypatch.setattr(reading, "_MIN_CHUNK", 1)
    monkeypatch.setattr(reading, "_MIN_PART", 300)


def reading_of(spec: ViewSpec, scan: Scan) -> Reading:
    return Reading(spec, scan, scan.files, estimate(spec, scan))


@pytest.mark.parametrize("seed", SEEDS)
def test_features_are_as_brute_force_says(seed: int, tmp_path: Path) -> None:
    draw = Draw(seed, tmp_path)
    columns, entities, times = draw.entities()
    histories = [draw.history(n) for n in range(draw.chance.choice([1, 2, 4]))]
    by_created = draw.chance.random() < 0.4
    types = {name: array.type for name, array in columns.items()}
    bound = []
    for n, history in enumerate(histories):
        found = bind_view(history.view, n, types, by_created=by_created)
        assert not isinstance(found, Ineligible), found.reason
        bound.append((found, reading_of(found.spec, history.view.scan)))
    answer = join_locally(
        bound,
        columns,
        pa.array(times, pa.int64()),
        Watch(),
        threads=draw.chance.choice([1, 2, 4]),
        memory=draw.chance.choice([1 << 20, 1 << 30]),
    )
    for history, (view, _), values in zip(histories, bound, answer, strict=True):
        assert [name for _, name in view.outputs] == [name for _, name in history.view.features]
        for array, (name, _) in zip((values[place] for place, _ in view.outputs), history.view.features, strict=True):
            assert array.type == history.by_name[name]
        lists = [plain_values(values[place]) for place, _ in view.outputs]
        wanted = [history.answer(row, time, by_created=by_created) for row, time in zip(entities, times, strict=True)]
        assert repr([[each[n] for each in lists] for n in range(len(times))]) == repr(wanted), history.view


@pytest.mark.parametrize("seed", SEEDS)
def test_pulled_rows_are_as_brute_force_says(seed: int, tmp_path: Path) -> None:
    draw = Draw(seed, tmp_path)
    history = draw.history(0)
    view, chance = history.view, draw.chance
    low, high = draw.time(), draw.time()
    threads, memory = chance.choice([1, 2, 4]), chance.choice([1 << 20, 1 << 30])
    columns = [SourceColumn(name, data_type) for name, data_type in history.by_name.items()]
    time = next(each for each in columns if each.name == "ts")
    spec = rows_spec(columns, time, low, high, what="source")
    rows = read_rows(reading_of(spec, view.scan), ["ts"], Watch(), threads=threads, memory=memory)
    assert rows.schema == view.schema
    assert repr(as_rows(rows)) == repr(list(history.within(low, high)))

    keys = [name for _, name in view.keys]
    once = [SourceColumn(name, history.by_name[name]) for name in dict.fromkeys([*keys, "ts"])]
    spec = rows_spec(once, time, low, high, what="source")
    found = as_rows(
        read_rows(reading_of(spec, view.scan), ["ts"], Watch(), distinct=True, threads=threads, memory=memory)
    )
    wanted = [{each.name: row[each.name] for each in once} for row in history.within(low, high)]
    assert sorted(map(repr, found)) == sorted({repr(row) for row in wanted})

    values = chance.sample([*history.by_name], chance.randint(1, len(columns)))
    latest = latest_spec(
        view.schema,
        keys=keys,
        timestamp="ts",
        created=view.created,
        values=values,
        low=low,
        high=high,
        what="source",
    )
    assert not isinstance(latest, Ineligible), latest.reason
    found = as_rows(read_latest(reading_of(latest, view.scan), Watch(), threads=threads, memory=memory))
    names = list(found[0]) if found else []
    wanted = [{name: row[name] for name in names} for row in history.latest(keys, values, low, high)]
    assert in_one_order(found, keys) == in_one_order(wanted, keys)


def in_one_order(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """Rows that compare; which zero of equal keys comes back is not said."""
    return sorted(
        repr({k: 0.0 if k in keys and v == 0 and isinstance(v, float) else v for k, v in r.items()}) for r in rows
    )


def as_rows(table: pa.Table) -> Sequence[Row]:
    lists = {name: plain_values(table[name]) for name in table.column_names}
    return [{name: values[n] for name, values in lists.items()} for n in range(table.num_rows)]


def test_a_table_of_codes_that_another_thread_is_making_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = pa.array([3, 1, 2])
    known = EntityKeys([keys], pa.array([0, 0, 0]))
    seen: list[Any] = []
    arange = np.arange

    def meanwhile(count: int) -> Any:
        monkeypatch.setattr(np, "arange", arange)
        seen.append(known.encode([keys], 3).tolist())
        return arange(count)

    monkeypatch.setattr(np, "arange", meanwhile)
    assert known.encode([keys], 3).tolist() == [2, 0, 1]
    assert seen == [[2, 0, 1]]
