"""Random folders of files mean the same to all who read them, and what an oracle reads in them file by file.

``LAYOUTS`` says how many are tried, half of them on each lake; ``make test`` tries 200, and ``make test-faults`` 500.
``LAYOUTS_EVERY_VERB=1`` puts each through every verb.
A failure names the seed that makes its layout again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from feast.types import Decimal as FeastDecimal
from feast.types import FeastType, Float64, Int64, String, UnixTimestamp
from pyspark.errors import PySparkException

from feast_hybrid import HybridSparkOfflineStore, HybridSparkRetrievalJob
from feast_hybrid.errors import SchemaError
from tests.integration.layouts.cases import KEY, Case, Stored
from tests.integration.layouts.drifts import END, KEY_NUMBERS, KEY_TEXTS, START
from tests.integration.layouts.oracle import instant
from tests.integration.places import with_offline_store

if TYPE_CHECKING:
    from feast import FeatureStore

#: Whether each layout goes through every verb, and not only through the columnar join and one more.
EVERY_VERB = bool(os.environ.get("LAYOUTS_EVERY_VERB"))
#: How many views are in one call: plans of the window grow with them.
_VIEWS = 12
SPARK_ENGINE = "spark.engine"
#: Why a view is not joined by columns.
_IS_SPARKS = re.compile("which blocks do not hold|are ranked by Spark")


class Agreement:
    """Every reader of some stored layouts agrees with the oracle, or all refuse."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.store = stored.store
        self.failures: list[Exception] = []
        self.verbs: tuple[Callable[[Sequence[Case]], None], ...] = (
            self.window,
            self.without_entities,
            self.pull_all,
            self.pull_latest,
            self.online_by_the_local_engine,
            self.online_by_the_spark_engine,
        )

    def check(self) -> None:
        """Try all layouts.

        Raises:
            ExceptionGroup: what is not as it should be, each with the layout's seed.
        """
        readable = self.stored.readable
        self._try(self.history, readable)
        # What takes longest for each view, the window and Feast's Spark engine, gets fewer.
        *quick, spark_engine = self.verbs
        turns = [*quick, *quick, *quick[1:], spark_engine]
        for verb in self.verbs:
            cases = [case for n, case in enumerate(readable) if EVERY_VERB or turns[n % len(turns)] == verb]
            for start in range(0, len(cases), _VIEWS):
                self._try(verb, cases[start : start + _VIEWS])
        for n, case in enumerate(case for case in self.stored.cases if case.history is None):
            calls = self._calls(case)
            first = case.layout.seed + n
            for name in [*calls] if EVERY_VERB else [[*calls][(first + more) % len(calls)] for more in (0, 3)]:
                self._try(partial(_refused, call=calls[name], in_spark=name == SPARK_ENGINE), [case], name)
        if self.failures:
            raise ExceptionGroup("layouts that are read otherwise than they should be", self.failures)

    def _try(self, verb: Callable[[Sequence[Case]], None], cases: Sequence[Case], name: str = "") -> None:
        """Put layouts through a verb together, and where that fails each by itself, which says which it was."""
        if not cases:
            return
        try:
            verb(cases)
        except Exception as error:
            if len(cases) > 1:
                before = len(self.failures)
                for case in cases:
                    self._try(verb, [case], name)
                if len(self.failures) > before:
                    return
            seeds = ", ".join(str(case.layout.seed) for case in cases)
            error.add_note(
                f"{name or getattr(verb, '__name__', '')}: layouts of the seeds {seeds}, keys {self.stored.key}"
            )
            self.failures.append(error)

    # What is asked.

    def history(self, cases: Sequence[Case]) -> None:
        """Of all histories together, by blocks of columns."""
        self._history(cases, "columnar")

    def window(self, cases: Sequence[Case]) -> None:
        """Of all histories together, by Spark's windows."""
        self._history(cases, "window")

    def _history(self, cases: Sequence[Case], strategy: str) -> None:
        """Of each history its keys, a minute after some of its rows, and before all of them; each row asks all."""
        pairs = {(row["k"], _later(row["ts"])) for case in cases for row in case.meaning.rows[::2]}
        pairs |= {(row["k"], START) for case in cases for row in case.meaning.rows[:1]}
        rows = [(key, time) for key, time in sorted(pairs, key=repr) if key is not None]
        found = self._historical(cases, strategy, self._frame(rows)).to_pylist()
        assert len(found) == len(rows)
        for case in cases:
            for answer, (key, time) in zip(found, rows, strict=True):
                wanted = case.answer(case.meaning.as_of(key, time))
                assert case.values(answer, wanted) == case.values(wanted, wanted), (key, time, answer)

    def without_entities(self, cases: Sequence[Case]) -> None:
        """The rows of all histories, each with what all of them say."""
        found = self._historical(cases, "auto", None, start_date=START, end_date=END).to_pylist()
        rows = {(row["k"], row["ts"]) for case in cases for row in case.in_range.rows}
        answers = {(row[KEY], instant(row["event_timestamp"])): row for row in found}
        assert len(found) == len(answers)
        assert answers.keys() == rows
        for case in cases:
            for key, time in rows:
                wanted = case.answer(case.meaning.as_of(key, time))
                answer = answers[key, time]
                assert case.values(answer, wanted) == case.values(wanted, wanted), (key, time, answer)

    def pull_all(self, cases: Sequence[Case]) -> None:
        """Of each all rows."""
        for case in cases:
            self._compare_pulled(case, "all", case.in_range.rows)

    def pull_latest(self, cases: Sequence[Case]) -> None:
        """Of each the last rows."""
        for case in cases:
            self._compare_pulled(case, "latest", case.in_range.latest())

    def _compare_pulled(self, case: Case, verb: str, rows: Sequence[Mapping[str, Any]]) -> None:
        # What goes to Feast's engines as text is text, and so may its decimals be.
        forms: dict[FeastType, Callable[[Any], Any]] = {String: str, FeastDecimal: lambda value: Decimal(str(value))}
        by_column = {name: forms[t] for name in case.columns if (t := case.layout.declared[name]) in forms}

        def encoded(row: Mapping[str, Any]) -> dict[str, Any]:
            return {n: by_column[n](v) if n in by_column and v is not None else v for n, v in row.items()}

        names = ["k", "ts", *(["created"] if case.layout.created else []), *case.columns]
        pulled = self._pulled(case, verb).to_pylist()
        for row in pulled:
            assert all(
                isinstance(row[n], (str, type(None))) for n in case.columns if case.layout.declared[n] == String
            )
        found = [case.values({**encoded(row), "ts": instant(row["ts"])}, names) for row in pulled]
        wanted = [case.values(encoded(row), names) for row in rows]
        assert sorted(found, key=repr) == sorted(wanted, key=repr), (case.name, found, wanted)

    def online_by_the_local_engine(self, cases: Sequence[Case]) -> None:
        """By Feast's own engine, which gets all rows where none tie, and the latest where some do."""
        ties = [case for case in cases if case.in_range.has_ties()]
        self._online("local", ties, latest=True)
        rest = [case for case in cases if not case.in_range.has_ties()]
        # Most null keys Feast does not take there.
        null_keys = [case for case in rest if any(row["k"] is None for row in case.in_range.rows)]
        self._online("local", [case for case in rest if case not in null_keys], latest=False)
        for case in null_keys:
            try:
                self._online("local", [case], latest=False)
            except ValueError as error:
                if "Value type not supported" not in str(error):
                    raise

    def online_by_the_spark_engine(self, cases: Sequence[Case]) -> None:
        """By Feast's Spark engine."""
        self._online(SPARK_ENGINE, cases, latest=True)

    def _online(self, engine: str, cases: Sequence[Case], *, latest: bool) -> None:
        """What goes online is the last row of each key, in the types that Feast gives declared features."""
        # Feast's SQLite takes no row without a created time where its source has one.
        cases = [case for case in cases if not (case.history and case.lacks_created)]
        if not cases:
            return
        store = self.stored.with_engine(engine, latest=latest)
        store.materialize(START, END, [case.name for case in cases])
        for case in cases:
            rows = case.in_range.latest()
            if rows:
                _compare_online(store, case, rows)

    def _calls(self, case: Case) -> dict[str, Callable[[], Any]]:
        """All that a layout which cannot be read can be asked, by the verbs' names."""
        # All keys: a value that is not looked at is not found to be wrong.
        keys: Sequence[Any] = KEY_NUMBERS if self.stored.key == Int64 else KEY_TEXTS
        frame = self._frame([(key, END) for key in keys])
        return {
            "columnar": lambda: self._historical([case], "columnar", frame),
            "window": lambda: self._historical([case], "window", frame),
            "without entities": lambda: self._historical([case], "auto", None, start_date=START, end_date=END),
            "pull all": lambda: self._pulled(case, "all"),
            "pull latest": lambda: self._pulled(case, "latest"),
            "local": lambda: self._online("local", [case], latest=False),
            SPARK_ENGINE: lambda: self._online(SPARK_ENGINE, [case], latest=True),
        }

    # How it is asked.

    def _historical(self, cases: Sequence[Case], strategy: str, entity_df: Any, **dates: Any) -> pa.Table:
        join = self.store.config.offline_store.join.model_copy(update={"strategy": strategy})
        config = with_offline_store(self.store.config, join=join)
        job = HybridSparkOfflineStore.get_historical_features(
            config,
            [self.store.get_feature_view(case.name) for case in cases],
            [f"{case.name}:{name}" for case in cases for name in case.layout.columns],
            entity_df,
            self.store.registry,
            self.store.project,
            full_feature_names=True,
            **dates,
        )
        assert isinstance(job, HybridSparkRetrievalJob)
        for line in job.explain().splitlines() if strategy == "columnar" else ():
            # Only what blocks cannot hold is left to Spark, whatever the format.
            assert not line.startswith("view") or ": columnar (" in line or _IS_SPARKS.search(line), line
        return job.to_arrow()

    def _frame(self, rows: Sequence[tuple[Any, datetime]]) -> pd.DataFrame:
        keys = pd.Series([key for key, _ in rows], dtype="Int64" if self.stored.key == Int64 else "object")
        times = pa.array([time for _, time in rows], pa.timestamp("us", "UTC"))
        return pd.DataFrame({KEY: keys, "event_timestamp": times.to_pandas(timestamp_as_object=False)})

    def _pulled(self, case: Case, verb: str) -> pa.Table:
        pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
        view = self.store.get_feature_view(case.name)  # Feast's engines hold it too
        created = "created" if case.layout.created else None
        return pull(self.store.config, view.batch_source, ["k"], case.columns, "ts", created, START, END).to_arrow()


class LocalAgreement(Agreement):
    """The same of the local engine: all verbs that need no Spark."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.verbs = (self.without_entities, self.pull_all, self.pull_latest, self.online_by_the_local_engine)

    def history(self, cases: Sequence[Case]) -> None:
        """Of all histories together."""
        self._history(cases, "auto")

    def _calls(self, case: Case) -> dict[str, Callable[[], Any]]:
        of_spark = ("columnar", "window", SPARK_ENGINE)
        return {name: call for name, call in super()._calls(case).items() if name not in of_spark}


def _refused(cases: Sequence[Case], call: Callable[[], Any], *, in_spark: bool) -> None:
    """Every verb says the same of a layout, and names view or source, and the column or the folder.

    Args:
        cases: one.
        call: asks for it.
        in_spark: whether Feast runs a frame of Spark's, which is out of our hands: Spark's error has ours in it.
    """
    (case,) = cases
    try:
        call()
    except (SchemaError, PySparkException) as error:
        if not in_spark and not isinstance(error, SchemaError):
            raise
        text = str(error)
    else:
        raise AssertionError(f"{case.name} is not refused, though {case.named} cannot be read")
    assert case.name in text
    # A column by the name that it has in the file, which may differ in case.
    assert any(name.lower() in text.lower() for name in case.named), (case.named, text)


def _later(time: datetime) -> datetime:
    """A minute after a time; itself at the end of all times."""
    return time + timedelta(minutes=1) if time.year < 9999 else time


def _compare_online(store: FeatureStore, case: Case, rows: Sequence[Mapping[str, Any]]) -> None:
    features = [f"{case.name}:{name}" for name in case.layout.columns]
    online = store.get_online_features(features, [{KEY: row["k"]} for row in rows]).to_dict()
    for name, declared in case.layout.features.items():
        column = case.layout.columns[name]
        wanted = [_online_value(case, declared, row[column]) for row in rows]
        found = [_online_value(case, declared, value) for value in online[name]]
        assert found == wanted, (case.name, name, found, wanted)


def _online_value(case: Case, declared: FeastType, value: Any) -> Any:
    """What Feast's online store gives back for a value."""
    if value is None or (declared == Float64 and value != value):  # noqa: PLR0124  # NaN is null there
        return None
    if declared == UnixTimestamp:
        return instant(value).replace(microsecond=0)
    if isinstance(value, list):  # Feast makes NaN of a null within
        return case.comparable([float("nan") if part is None else part for part in value])
    if declared == String:
        return str(value)
    return case.comparable(float(value)) if declared == Float64 else case.comparable(value)
