"""Layouts on a lake in one feature store, and what the oracle reads in each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import FeastType, Int64, String

from tests.integration.faulty import MINUTES
from tests.integration.layouts.by_spark import WrittenBySpark
from tests.integration.layouts.drifts import END, START
from tests.integration.layouts.generate import Layout, layout
from tests.integration.layouts.oracle import History, RefusedError, Row, comparable, history
from tests.integration.places import Place, feature_store, on_connect, source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: How many layouts are tried on each lake, and how many of them are in one store. Connect gets one store.
COUNT = int(os.environ.get("LAYOUTS", "500")) // 2
TOGETHER = 20 if on_connect() else 50
#: Of how many stores one has layouts that Spark writes, and of how many of its layouts one is: what Spark's writer
#: takes is for the files' folders and for each job, however many layouts it writes.
_STORES_BY_SPARK, _BY_SPARK = 3, 4
_WITH_FOLDERS = ("hdfs", "file")
KEY = "key"


def first_seeds(role: str) -> list[Any]:
    """The first seeds of the stores on a lake, for parameters of tests.

    ``make test`` has the stores in which Spark has written some layouts: Parquet and ORC, with keys of each type, two
    of the four on each lake; and the first store on ADLS on Connect. ``make test-faults`` has all.
    """
    start = 0 if role == "onprem" else COUNT
    firsts = range(start, start + COUNT, TOGETHER)
    if on_connect():
        return [pytest.param(start, marks=pytest.mark.connect if role == "cloud" else ()), *firsts[1:]]
    every = "LAYOUTS" in os.environ
    return [first if every or _is_partly_by_spark(first) else pytest.param(first, marks=MINUTES) for first in firsts]


def _is_partly_by_spark(first: int) -> bool:
    return first // TOGETHER % _STORES_BY_SPARK == 0


@dataclass(frozen=True)
class Case:
    """A layout on a lake, and what the oracle reads in it.

    Attributes:
        layout: the files.
        view: reads them; its name is its source's, too, and has the seed.
        history: None where the layout is to be refused.
        named: what an error has to name one of where it is.
    """

    layout: Layout
    view: FeatureView
    history: History | None
    named: tuple[str, ...] = ()

    @classmethod
    def of(cls, made: Layout, entity: Entity, uri: str) -> Case:
        """A layout that is at a URI."""
        name = f"layout_{made.seed}"
        renamed = {column: feature for feature, column in made.columns.items() if feature != column}
        types = {KEY: made.declared["k"], **made.features}
        view = FeatureView(
            name=name,
            entities=[entity],
            schema=[Field(name=feature, dtype=data_type) for feature, data_type in types.items()],
            source=source(
                name,
                uri,
                "created" if made.created else None,
                timestamp_field="ts",
                file_format=made.file_format,
                field_mapping={"k": KEY, **renamed},
            ),
        )
        try:
            return cls(made, view, history(made))
        except RefusedError as error:
            return cls(made, view, None, error.named)

    @property
    def name(self) -> str:
        """The view's, and the source's."""
        return str(self.view.name)

    @property
    def columns(self) -> list[str]:
        """The features', in the files."""
        return list(self.layout.columns.values())

    @property
    def meaning(self) -> History:
        """What the oracle reads."""
        assert self.history is not None
        return self.history

    @cached_property
    def in_range(self) -> History:
        """What of it is pulled and materialised."""
        return self.meaning.between(START, END)

    @property
    def lacks_created(self) -> bool:
        """Whether a row that goes online has no created time, though the view has one."""
        return self.layout.created and any(row["created"] is None for row in self.in_range.latest())

    def values(self, row: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, Any]]:
        """A row's values in a form that compares."""
        return [(name, self.comparable(row[name])) for name in names]

    def comparable(self, value: Any) -> Any:
        """A value in a form that compares; zeros without a sign where Spark's reader of ORC may change it."""
        return comparable(value, signed_zeros=self.layout.file_format != "orc")

    def answer(self, row: Row | None) -> dict[str, Any]:
        """A row of the history as the join gives it; nulls for none."""
        columns = self.layout.columns.items()
        return {f"{self.name}__{name}": None if row is None else row[column] for name, column in columns}


@dataclass(frozen=True)
class Stored:
    """Some layouts whose keys are declared alike, in one store."""

    store: FeatureStore
    folder: Path
    key: FeastType
    cases: list[Case]

    @classmethod
    def put(
        cls,
        first: int,
        place: Place,
        sites: Sequence[dict[str, Any]],
        folder: Path,
        spark: SparkSession | None,
        **offline_store: Any,
    ) -> Stored:
        """Put the layouts of the seeds from a first one on onto a lake; make a store of them.

        Without a session none of them is written by Spark.
        """
        key = (Int64, String)[first // 10 % 2]
        entity = Entity(name=KEY, join_keys=[KEY], value_type=key.to_value_type())
        seeds = range(first, first + TOGETHER)
        root = f"{place.uri}/layouts/{first}_of_{TOGETHER}"
        by_spark = [seed for seed in seeds if not seed % _BY_SPARK] if spark and _is_partly_by_spark(first) else []
        made = [layout(seed, key) for seed in seeds if seed not in by_spark]
        _write(made, root, place)
        cases = [Case.of(each, entity, f"{root}/{each.seed}") for each in made]
        turn = first // TOGETHER // _STORES_BY_SPARK
        uri, file_format = f"{root}/by_spark", ("parquet", "orc")[(turn + turn // 2) % 2]  # with keys of each type
        if spark and by_spark:
            written = WrittenBySpark(spark, place, uri, key, file_format).layouts(by_spark)
            cases += [Case.of(each, entity, f"{uri}/layout={each.seed}") for each in written]
        views = [case.view for case in cases]
        return cls(feature_store(list(sites), folder, entity, *views, **offline_store), folder, key, cases)

    @property
    def readable(self) -> list[Case]:
        """The cases that are not to be refused."""
        return [case for case in self.cases if case.history is not None]

    def with_engine(self, engine: str, *, latest: bool) -> FeatureStore:
        """The store as it materialises by an engine, with an online store of its own.

        Args:
            engine: its type.
            latest: whether it pulls the latest rows alone.
        """
        online = self.folder / f"online_{engine}_{latest}.db"
        if not online.exists():
            shutil.copy(self.folder / "online.db", online)
        config = self.store.config
        return FeatureStore(
            config=type(config)(
                project=config.project,
                provider="local",
                registry=config.registry_config,
                online_store={"type": "sqlite", "path": str(online)},
                offline_store=cast("Any", config.offline_config),
                batch_engine={"type": engine},
                materialization={"pull_latest_features": latest},
                entity_key_serialization_version=3,
            )
        )


def _write(layouts: Sequence[Layout], root: str, place: Place) -> None:
    filesystem = place.lake.filesystem()
    base = place.inside(root)
    folders = {f"{base}/{made.seed}/{path}".rpartition("/")[0] for made in layouts for path in made.files}
    if place.scheme in _WITH_FOLDERS:  # ADLS has none that hold nothing
        folders |= {f"{base}/{made.seed}/{folder}" for made in layouts for folder in made.folders}
    files = [(f"{base}/{made.seed}/{path}", content) for made in layouts for path, content in made.files.items()]
    with ThreadPoolExecutor(16) as threads:
        if place.scheme in _WITH_FOLDERS:
            list(threads.map(lambda folder: filesystem.makedirs(folder, exist_ok=True), folders))
        list(threads.map(lambda file: filesystem.pipe_file(*file), files))
