"""Random folders of files mean the same to all who read them, and what an oracle reads in them file by file.

``LAYOUTS`` says how many are tried, half of them on each lake; ``LAYOUTS_EVERY_VERB=1`` puts each through every verb.
A failure names the seed that makes its layout again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field
from feast.types import FeastType, Float64, Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import SchemaError
from tests.integration.layouts.generate import KEY_TEXTS, START, Layout, layout
from tests.integration.layouts.oracle import History, RefusedError, Row, comparable, history, instant
from tests.integration.places import Place, feature_store, source

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from feast import FeatureStore

#: How many layouts are tried on each lake, and how many of them are in one store.
COUNT = int(os.environ.get("LAYOUTS", "500")) // 2
TOGETHER = 10
#: Whether each layout goes through every verb, and not only through the columnar join and one more.
EVERY_VERB = bool(os.environ.get("LAYOUTS_EVERY_VERB"))
END = START + timedelta(days=1200)
_KEY = "key"


@dataclass(frozen=True)
class Case:
    """A layout on a lake, and what the oracle reads in it; None where it is to be refused."""

    layout: Layout
    view: FeatureView
    meaning: History | None

    @property
    def name(self) -> str:
        """The view's, and the source's."""
        return self.view.name

    @property
    def features(self) -> list[str]:
        """Their names."""
        return list(self.layout.declared)

    @property
    def rows(self) -> list[Row]:
        """What the oracle reads."""
        assert self.meaning is not None
        return self.meaning.rows


@dataclass(frozen=True)
class Batch:
    """Some layouts whose keys are declared alike, in one store."""

    store: FeatureStore
    key: FeastType
    cases: list[Case]

    @classmethod
    def of(cls, first: int, place: Place, sites: list[dict[str, Any]], folder: Path) -> Batch:
        """Put the layouts of some seeds onto a lake."""
        key = (Int64, String)[first // TOGETHER % 2]
        entity = Entity(name=_KEY, join_keys=[_KEY], value_type=key.to_value_type())
        with ThreadPoolExecutor(4) as threads:
            cases = list(threads.map(lambda seed: _put(seed, key, entity, place), range(first, first + TOGETHER)))
        return cls(feature_store(sites, folder, entity, *(case.view for case in cases)), key, cases)

    def check(self) -> None:
        """Every reader agrees with the oracle, or all refuse."""
        readable = [case for case in self.cases if case.meaning is not None]
        self._history(readable, "columnar")
        first = self.cases[0].layout.seed
        for n, case in enumerate(readable):
            verbs: list[Callable[[Case], None]] = [
                lambda case: self._history([case], "window"),
                self._without_entities,
                partial(self._pull, verb="all"),
                partial(self._pull, verb="latest"),
                self._online,
            ]
            for verb in verbs if EVERY_VERB else [verbs[(first // TOGETHER + n) % len(verbs)]]:
                verb(case)
        for case in self.cases:
            if case.meaning is None:
                self._refused(case)

    def _historical(self, cases: Sequence[Case], strategy: str, entity_df: Any, **dates: Any) -> pa.Table:
        offline = self.store.config.offline_store
        join = offline.join.model_copy(update={"strategy": strategy})
        config = self.store.config.model_copy(update={"offline_store": offline.model_copy(update={"join": join})})
        return HybridSparkOfflineStore.get_historical_features(
            config,
            [self.store.get_feature_view(case.name) for case in cases],
            [f"{case.name}:{name}" for case in cases for name in case.features],
            entity_df,
            self.store.registry,
            self.store.project,
            full_feature_names=True,
            **dates,
        ).to_arrow()

    def _keys(self, keys: Sequence[Any]) -> pd.Series[Any]:
        return pd.Series(keys, dtype="Int64" if self.key == Int64 else "object")

    def _history(self, cases: Sequence[Case], strategy: str) -> None:
        """Of each history its keys, a minute after some of its rows, and before all of them; each row asks all."""
        pairs = {(row["k"], row["ts"] + timedelta(minutes=1)) for case in cases for row in case.rows[::2]}
        pairs |= {(row["k"], START) for case in cases for row in case.rows[:1]}
        rows = [(key, time) for key, time in sorted(pairs, key=repr) if key is not None]
        frame = pd.DataFrame({_KEY: self._keys([key for key, _ in rows])})
        frame["event_timestamp"] = pd.to_datetime([time for _, time in rows], utc=True)
        found = self._historical(cases, strategy, frame).to_pylist()
        assert len(found) == len(rows)
        for case in cases:
            assert case.meaning is not None
            columns = [f"{case.name}__{name}" for name in case.features]
            for answer, (key, time) in zip(found, rows, strict=True):
                wanted = case.meaning.as_of(key, time)
                assert values(answer, columns) == values(wanted, case.features), (strategy, case.name, key, time)

    def _without_entities(self, case: Case) -> None:
        rows = self._historical([case], "auto", None, start_date=START, end_date=END).to_pylist()
        columns = [f"{case.name}__{name}" for name in case.features]
        assert case.meaning is not None
        # A null key is in the history, and equals nothing.
        wanted = {
            (row["k"], row["ts"]): values(row if row["k"] is not None else None, case.features) for row in case.rows
        }
        found = {(row[_KEY], comparable(row["event_timestamp"])): values(row, columns) for row in rows}
        assert len(rows) == len(found)
        assert found == wanted, case.name

    def _pulled(self, case: Case, verb: str) -> pa.Table:
        pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
        view = self.store.get_feature_view(case.name)  # Feast's engines hold it too
        return pull(self.store.config, view.batch_source, ["k"], case.features, "ts", None, START, END).to_arrow()

    def _pull(self, case: Case, verb: str) -> None:
        assert case.meaning is not None
        rows = case.meaning.latest() if verb == "latest" else case.rows
        # What goes to Feast's engines as text is text.
        texts = {name for name, declared in case.layout.declared.items() if declared == String}
        rows = [{n: str(v) if n in texts and v is not None else v for n, v in row.items()} for row in rows]
        found = [
            values({**row, "ts": instant(row["ts"])}, ["k", "ts", *case.features])
            for row in self._pulled(case, verb).to_pylist()
        ]
        wanted = [values(row, ["k", "ts", *case.features]) for row in rows]
        assert sorted(found, key=repr) == sorted(wanted, key=repr), (verb, case.name)

    def _online(self, case: Case) -> None:
        """What goes online is the last row of each key, in the types that Feast gives declared features."""
        assert case.meaning is not None
        if any(row["k"] is None for row in case.rows):
            with pytest.raises(ValueError, match="Value type not supported"):  # Feast's, of a pull of all rows
                self.store.materialize(START, END, [case.name])
            return
        self.store.materialize(START, END, [case.name])
        latest = case.meaning.latest()
        if not latest:
            return
        features = [f"{case.name}:{name}" for name in case.features]
        online = self.store.get_online_features(features, [{_KEY: row["k"]} for row in latest]).to_dict()
        for name, declared in case.layout.declared.items():
            wanted = [online_value(declared, row[name]) for row in latest]
            assert [online_value(declared, value) for value in online[name]] == wanted, (case.name, name)

    def _refused(self, case: Case) -> None:
        """Every verb says the same, and names view or source, and column."""
        # All keys: a value that is not looked at is not found to be wrong.
        frame = pd.DataFrame({_KEY: self._keys([1, 2, 3] if self.key == Int64 else KEY_TEXTS)})
        frame["event_timestamp"] = pd.to_datetime([END] * len(frame), utc=True)
        verbs: list[Callable[[], Any]] = [
            lambda: self._historical([case], "columnar", frame),
            lambda: self._historical([case], "window", frame),
            lambda: self._historical([case], "auto", None, start_date=START, end_date=END),
            lambda: self._pulled(case, "all"),
            lambda: self._pulled(case, "latest"),
            lambda: self.store.materialize(START, END, [case.name]),
        ]
        for verb in verbs:
            with pytest.raises(SchemaError) as caught:
                verb()
            assert re.search("|".join(map(repr, case.features)), str(caught.value)), case.name
            assert case.name in str(caught.value)


def _put(seed: int, key: FeastType, entity: Entity, place: Place) -> Case:
    made = layout(seed, key)
    name = f"layout_{seed}"
    uri = f"{place.uri}/layouts/{name}"
    for path, content in made.files.items():
        place.put(f"{uri}/{path}", content)
    view = FeatureView(
        name=name,
        entities=[entity],
        schema=[Field(name=n, dtype=t) for n, t in {_KEY: key, **made.declared}.items()],
        source=source(name, uri, timestamp_field="ts", field_mapping={"k": _KEY}),
    )
    try:
        meaning = history(made.files, {"k": key, **made.declared}, made.in_folders)
    except RefusedError:
        meaning = None
    return Case(made, view, meaning)


def values(row: Mapping[str, Any] | None, names: Sequence[str]) -> tuple[Any, ...]:
    """A row's values in a form that compares; nulls where there is no row."""
    return tuple(comparable((row or {}).get(name)) for name in names)


def online_value(declared: FeastType, value: Any) -> Any:
    """What Feast's online store gives back for a value."""
    if value is None:
        return None
    if declared == UnixTimestamp:
        return instant(value).replace(microsecond=0)
    if isinstance(value, list):  # Feast makes NaN of a null within
        return comparable([float("nan") if part is None else part for part in value])
    if declared == String:
        return str(value)
    return float(value) if declared == Float64 else comparable(value)
