"""Random folders of files mean the same to all who read them, and what an oracle reads in them file by file.

``LAYOUTS`` says how many are tried; a failure names the seed that makes its layout again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, RepoConfig
from feast.types import FeastType, Float64, Int64, String

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import SchemaError
from tests.integration.layouts.generate import START, Layout, layout
from tests.integration.layouts.oracle import History, RefusedError, comparable, history
from tests.integration.places import Place, Places, feature_store, source

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from feast import FeatureStore
    from pyspark.sql import SparkSession

COUNT = int(os.environ.get("LAYOUTS", "500"))
#: Layouts of one store, whose histories are asked for in one call.
_TOGETHER = 5
#: Whether each layout goes through every verb, and not only through the columnar join and one more.
EVERY_VERB = bool(os.environ.get("LAYOUTS_EVERY_VERB"))
END = START + timedelta(days=1200)


@dataclass(frozen=True)
class Case:
    """A layout on a lake, and what the oracle reads in it; None where it is to be refused."""

    layout: Layout
    name: str
    view: FeatureView
    entity: Entity
    meaning: History | None

    @property
    def key(self) -> str:
        """The join key."""
        return self.entity.join_key

    @property
    def features(self) -> list[str]:
        return list(self.layout.declared)


def put(seed: int, place: Place) -> Case:
    made = layout(seed)
    name = f"layout_{seed}"
    uri = f"{place.uri}/layouts/{name}"
    for path, content in made.files.items():
        place.put(f"{uri}/{path}", content)
    key = f"k{seed}"
    declared = {"k": made.key.declared, **made.declared}
    entity = Entity(name=key, join_keys=[key], value_type=made.key.declared.to_value_type())
    view = FeatureView(
        name=name,
        entities=[entity],
        schema=[Field(name=key, dtype=made.key.declared)]
        + [Field(name=n, dtype=t) for n, t in made.declared.items()],
        source=source(name, uri, timestamp_field="ts", field_mapping={"k": key}),
    )
    try:
        meaning = history(made.files, declared, made.in_folders)
    except RefusedError:
        meaning = None
    return Case(made, name, view, entity, meaning)


class MakeBatch(Protocol):
    def __call__(self, first: int) -> tuple[FeatureStore, list[Case]]: ...


@pytest.fixture
def batch(lakes_to_test: Places, spark: SparkSession, tmp_path: Path) -> MakeBatch:
    """``batch(first)``: some layouts in one store, on one lake or on the other."""

    def make(first: int) -> tuple[FeatureStore, list[Case]]:
        place = lakes_to_test[(first // _TOGETHER) % 2]
        with ThreadPoolExecutor(_TOGETHER) as threads:
            cases = list(threads.map(lambda seed: put(seed, place), range(first, min(first + _TOGETHER, COUNT))))
        objects = [thing for case in cases for thing in (case.entity, case.view)]
        return feature_store(lakes_to_test.sites(), tmp_path, *objects), cases

    return make


def with_strategy(store: FeatureStore, strategy: str) -> RepoConfig:
    """The store's configuration, with another strategy of the join."""
    offline = store.config.offline_store
    join = offline.join.model_copy(update={"strategy": strategy})
    return store.config.model_copy(update={"offline_store": offline.model_copy(update={"join": join})})


def historical(store: FeatureStore, cases: Sequence[Case], strategy: str, entity_df: Any, **dates: Any) -> pa.Table:
    job = HybridSparkOfflineStore.get_historical_features(
        with_strategy(store, strategy),
        [store.get_feature_view(case.name) for case in cases],
        [f"{case.name}:{name}" for case in cases for name in case.features],
        entity_df,
        store.registry,
        store.project,
        full_feature_names=True,
        **dates,
    )
    return job.to_arrow()


def entity_frame(cases: Sequence[Case]) -> tuple[pd.DataFrame, list[tuple[Case, Any, datetime]]]:
    """For each row of each history its key, and a time after it; one row for each case is before all of them."""
    rows: list[tuple[Case, Any, datetime]] = []
    for case in cases:
        assert case.meaning is not None
        known = [(row["k"], row["ts"] + timedelta(minutes=1)) for row in case.meaning.rows if row["k"] is not None]
        rows += [(case, key, time) for key, time in [*known, *((key, START) for key, _ in known[:1])]]
    frame = pd.DataFrame({"event_timestamp": pd.to_datetime([time for _, _, time in rows], utc=True)})
    for case in cases:
        keys = [key if of is case else None for of, key, _ in rows]
        frame[case.key] = pd.Series(keys, dtype="Int64" if case.layout.key.declared == Int64 else "object")
    return frame, rows


def values(row: Mapping[str, Any] | None, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(comparable((row or {}).get(name)) for name in names)


def check_history(store: FeatureStore, cases: Sequence[Case], strategy: str) -> None:
    frame, rows = entity_frame(cases)
    if not rows:
        return
    found = historical(store, cases, strategy, frame).to_pylist()
    assert len(found) == len(rows)
    for case in cases:
        columns = [f"{case.name}__{name}" for name in case.features]
        for answer, (of, key, time) in zip(found, rows, strict=True):
            assert case.meaning is not None
            wanted = case.meaning.as_of(key, time) if of is case else None
            assert values(answer, columns) == values(wanted, case.features), (strategy, case.name, key, time)


def check_without_entities(store: FeatureStore, case: Case) -> None:
    assert case.meaning is not None
    rows = historical(store, [case], "auto", None, start_date=START, end_date=END).to_pylist()
    found = [
        (row[case.key], row["event_timestamp"], *values(row, [f"{case.name}__{n}" for n in case.features]))
        for row in rows
    ]
    wanted = {(row["k"], row["ts"]): row for row in case.meaning.rows}
    assert len(found) == len(wanted), case.name
    for key, time, *answer in found:
        assert tuple(answer) == values(wanted[key, comparable(time)], case.features), case.name


def pull(store: FeatureStore, case: Case, verb: str) -> pa.Table:
    method = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
    view = store.get_feature_view(case.name)  # Feast's engines hold it too
    return method(store.config, view.batch_source, ["k"], case.features, "ts", None, START, END).to_arrow()


def check_pull(store: FeatureStore, case: Case, verb: str) -> None:
    assert case.meaning is not None
    names = ["k", "ts", *case.features]
    rows = case.meaning.latest() if verb == "latest" else case.meaning.rows
    found = sorted((values(row, names) for row in pull(store, case, verb).to_pylist()), key=repr)
    assert found == sorted((values(row, names) for row in rows), key=repr), (verb, case.name)


def check_online(store: FeatureStore, case: Case) -> None:
    """What goes online is the last row of each key, in the types that Feast gives declared features."""
    assert case.meaning is not None
    store.materialize(START, END, [case.name])
    latest = case.meaning.latest()
    if not latest:
        return
    features = [f"{case.name}:{name}" for name in case.features]
    online = store.get_online_features(features, [{case.key: row["k"]} for row in latest]).to_dict()
    for name in case.features:
        declared = case.layout.declared[name]
        assert list(map(comparable, online[name])) == [online_value(declared, row[name]) for row in latest], case.name


def online_value(declared: FeastType, value: Any) -> Any:
    """What Feast's online store gives back for a value."""
    if value is None:
        return None
    if declared == String:
        return str(value)
    if declared == Float64:
        return float(value)
    return comparable(value)


def check_refused(store: FeatureStore, case: Case) -> None:
    """Every verb says the same, and names view or source, and column."""
    keys = [1] if case.layout.key.declared == Int64 else ["a"]
    frame = pd.DataFrame({case.key: keys, "event_timestamp": pd.to_datetime([END], utc=True)})
    verbs: list[Callable[[], Any]] = [
        lambda: historical(store, [case], "columnar", frame),
        lambda: historical(store, [case], "window", frame),
        lambda: historical(store, [case], "auto", None, start_date=START, end_date=END),
        lambda: pull(store, case, "all"),
        lambda: pull(store, case, "latest"),
        lambda: store.materialize(START, END, [case.name]),
    ]
    for verb in verbs:
        with pytest.raises(SchemaError) as caught:
            verb()
        assert repr(case.layout.refused) in str(caught.value)
        assert case.name in str(caught.value)


@pytest.mark.parametrize("first", range(0, COUNT, _TOGETHER))
def test_all_readers_agree_with_the_oracle(first: int, batch: MakeBatch) -> None:
    store, cases = batch(first)
    readable = [case for case in cases if case.meaning is not None]
    check_history(store, readable, "columnar")
    number = first // _TOGETHER
    if EVERY_VERB or number % 10 == 0:
        check_history(store, readable, "window")
    for n, case in enumerate(readable):
        checks: list[Callable[[], None]] = [
            partial(check_without_entities, store, case),
            partial(check_pull, store, case, "all"),
            partial(check_pull, store, case, "latest"),
            partial(check_online, store, case),
        ]
        for check in checks if EVERY_VERB else [checks[(number + n) % len(checks)]]:
            check()
    for case in cases:
        if case.meaning is None:
            check_refused(store, case)
