"""Transformations of batch feature views: history is what materialisation puts online, with each engine and mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import BatchFeatureView, Field, PushSource, StreamFeatureView
from feast.batch_feature_view import batch_feature_view
from feast.types import Float64, Int64

from feast_hybrid.errors import NotSupportedError, RetrievalError, SchemaError
from tests.integration.places import (
    Place,
    Places,
    answers,
    classic_only,
    entity,
    feature_store,
    hour,
    retrieve,
    source,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import Write

pytestmark = [
    pytest.mark.connect,
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Return type for RayTransformation"),
    pytest.mark.filterwarnings("ignore:There are some mismatches in your feature view"),
]

DRIVER = entity("driver_id")
#: ``km`` is a column of the source and of what the transformation makes of it, in other units.
ROWS: dict[str, list[Any]] = {
    "driver_id": [1, 1, 2, 3, 1],
    "event_timestamp": [hour(1), hour(2), hour(2), hour(3), hour(9)],
    "created": [hour(1), hour(2), hour(2), hour(3), hour(9)],
    "km": [90.0, 30.0, 20.0, None, 1.0],
    "hours": [2.0, 1.0, 1.0, 1.0, 1.0],
    "stops": [4, 5, None, 7, 8],
}
SCHEMA = [
    Field(name="driver_id", dtype=Int64),
    Field(name="km", dtype=Float64),
    Field(name="speed", dtype=Float64),
    Field(name="stops", dtype=Int64),
]
FEATURES = ["trips:km", "trips:speed", "trips:stops"]
NAMES = ("driver_id", "km", "speed", "stops")


def by_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(speed=frame["km"] / frame["hours"], km=frame["km"] * 1000)
    return frame.drop(columns=["hours"])


def by_spark(frame: Any) -> pd.DataFrame:  # Feast takes no other word for what a function of mode "pandas" gives
    frame = frame.withColumn("speed", frame["km"] / frame["hours"]).withColumn("km", frame["km"] * 1000)
    made: pd.DataFrame = frame.drop("hours")
    return made


def by_decorator(frame: pd.DataFrame) -> pd.DataFrame:  # the decorator changes the function's module
    return frame.assign(speed=frame["km"] / frame["hours"], km=frame["km"] * 1000).drop(columns=["hours"])


def by_polars(frame: Any) -> pd.DataFrame:
    made: pd.DataFrame = frame.with_columns(speed=frame["km"] / frame["hours"], km=frame["km"] * 1000).drop("hours")
    return made


def total(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(km=frame.groupby("driver_id")["km"].transform("sum"), speed=1.0)


def broken(frame: pd.DataFrame) -> pd.DataFrame:
    raise KeyError("altitude")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(speed="fast")


def mark_by_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(mark=frame["speed"] + 1)[["driver_id", "event_timestamp", "mark"]]


def mark_by_spark(frame: Any) -> pd.DataFrame:
    made: pd.DataFrame = frame.withColumn("mark", frame["speed"] + 1).select("driver_id", "event_timestamp", "mark")
    return made


def per_km(trips: Any, tips: Any) -> Any:
    joined = trips.join(tips.drop("event_timestamp"), "driver_id")
    return joined.selectExpr("driver_id", "event_timestamp", "round(km / tip) AS per_km")


FUNCTIONS = {"local": by_pandas, "spark.engine": by_spark}


def batch_view(of: Any, function: Callable[..., Any], mode: str = "pandas", **more: Any) -> BatchFeatureView:
    given: dict[str, Any] = {"name": "trips", "entities": [DRIVER], "schema": SCHEMA, "online": True, **more}
    return BatchFeatureView(source=of, mode=mode, udf=function, udf_string="", **given)


@pytest.fixture(params=["local", "spark.engine"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_with(lakes_to_test: Places, spark: SparkSession, tmp_path: Path) -> Callable[..., FeatureStore]:
    """``store_with(engine, view, …)``"""

    def make(engine: str | dict[str, str], *objects: Any) -> FeatureStore:
        repo = {"batch_engine": {"type": engine} if isinstance(engine, str) else engine}
        return feature_store(lakes_to_test.sites(), tmp_path, DRIVER, *objects, repo=repo)

    return make


def online(store: FeatureStore, features: list[str], drivers: list[int]) -> list[tuple[Any, ...]]:
    found = store.get_online_features(features, [{"driver_id": driver} for driver in drivers]).to_dict()
    names = ["driver_id", *(feature.partition(":")[2] for feature in features)]
    return list(zip(*(found[name] for name in names), strict=True))


def entity_rows(drivers: list[int], time: Any) -> pd.DataFrame:
    return pd.DataFrame({"driver_id": drivers, "event_timestamp": [pd.Timestamp(time)] * len(drivers)})


@pytest.mark.parametrize("mode", ["python", "pandas", "ray"])
def test_history_is_what_materialisation_puts_online(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place, engine: str, mode: str
) -> None:
    rows = source("trip_rows", write(cloud, "trips", ROWS), "created")
    store = store_with(engine, batch_view(rows, FUNCTIONS[engine], mode))
    store.materialize(hour(0), hour(5))
    expected = [(1, 30000.0, 30.0, 5), (2, 20000.0, 20.0, None), (3, None, None, 7), (4, None, None, None)]
    assert online(store, FEATURES, [1, 2, 3, 4]) == expected
    assert answers(retrieve(store, entity_rows([1, 2, 3, 4], hour(5)), FEATURES), *NAMES) == expected


def test_all_kinds_of_entity_rows_get_the_same(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place, engine: str, spark: SparkSession
) -> None:
    rows = source("trip_rows", write(onprem, "trips", ROWS), "created")
    store = store_with(engine, batch_view(rows, FUNCTIONS[engine]))
    expected = [(1, 30000.0, 30.0, 5), (2, 20000.0, 20.0, None)]
    frame = spark.createDataFrame(entity_rows([1, 2], hour(5)))
    assert sorted(answers(retrieve(store, frame, FEATURES), *NAMES)) == expected
    time = f"TIMESTAMP '{hour(5)}'"
    text = f"SELECT * FROM VALUES (1L, {time}), (2L, {time}) AS t(driver_id, event_timestamp)"
    assert sorted(answers(retrieve(store, text, FEATURES), *NAMES)) == expected
    dated = retrieve(store, None, FEATURES, start_date=hour(2), end_date=hour(5))
    assert sorted(answers(dated, *NAMES))[:2] == expected


def test_what_looks_across_rows_sees_those_up_to_the_last_entity_row(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place, spark: SparkSession
) -> None:
    store = store_with("local", batch_view(source("trip_rows", write(cloud, "trips", ROWS), "created"), total))
    store.materialize(hour(0), hour(5))
    expected = [(1, 120.0), (2, 20.0)]
    assert online(store, ["trips:km"], [1, 2]) == expected
    asked = entity_rows([1, 2], hour(5))
    for rows in (asked, spark.createDataFrame(asked)):
        assert sorted(answers(retrieve(store, rows, ["trips:km"]), "driver_id", "km")) == expected


def test_a_field_mapping_comes_before_the_transformation(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place, engine: str
) -> None:
    mapping = {"fahrer": "driver_id", "zeit": "event_timestamp", "strecke": "km"}
    german = {next((old for old, new in mapping.items() if new == name), name): ROWS[name] for name in ROWS}
    rows = source("trip_rows", write(onprem, "trips", german), "created", field_mapping=mapping)
    store = store_with(engine, batch_view(rows, FUNCTIONS[engine]))
    store.materialize(hour(0), hour(5))
    expected = [(1, 30000.0, 30.0, 5), (2, 20000.0, 20.0, None)]
    assert online(store, FEATURES, [1, 2]) == expected
    assert answers(retrieve(store, entity_rows([1, 2], hour(5)), FEATURES), *NAMES) == expected


def test_a_function_for_spark_is_run_on_spark_where_the_local_engine_could_not(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place
) -> None:
    store = store_with("local", batch_view(source("trip_rows", write(cloud, "trips", ROWS)), by_spark, "python"))
    assert answers(retrieve(store, entity_rows([1], hour(5)), FEATURES), *NAMES) == [(1, 30000.0, 30.0, 5)]


def test_a_local_engine_on_polars(store_with: Callable[..., FeatureStore], write: Write, cloud: Place) -> None:
    store = store_with(
        {"type": "local", "backend": "polars"},
        batch_view(source("trip_rows", write(cloud, "trips", ROWS)), by_polars),
    )
    expected = [(1, 30000.0, 30.0, 5), (2, 20000.0, 20.0, None)]
    assert answers(retrieve(store, entity_rows([1, 2], hour(5)), FEATURES), *NAMES) == expected


def test_a_decorated_function_is_run_unless_its_rows_would_go_into_its_own_source(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place
) -> None:
    """The decorator's default is ``offline=True``, for which Feast's engines add what they make to the source."""
    rows = source("trip_rows", write(onprem, "trips", ROWS))
    entities: Any = [DRIVER]
    decorated = {"mode": "pandas", "entities": entities, "schema": SCHEMA, "source": rows}
    trips: Any = batch_feature_view(**decorated, offline=False)(by_decorator)
    trips.name = trips.projection.name = "trips"
    store = store_with("local", trips)
    assert answers(retrieve(store, entity_rows([1], hour(5)), FEATURES), *NAMES) == [(1, 30000.0, 30.0, 5)]

    trips.offline = True
    store.apply(trips)
    with pytest.raises(NotSupportedError, match=r"view 'trips' has a transformation and offline=True"):
        retrieve(store, entity_rows([1], hour(5)), FEATURES)


def test_a_function_that_fails_is_named(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place, engine: str
) -> None:
    store = store_with(engine, batch_view(source("trip_rows", write(cloud, "trips", ROWS)), broken))
    with pytest.raises(RetrievalError, match=r"the transformation of view 'trips' failed on a .* frame, .*altitude"):
        retrieve(store, entity_rows([1], hour(5)), FEATURES)


def test_a_column_that_it_does_not_make_is_named(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place, engine: str
) -> None:
    store = store_with(engine, batch_view(source("trip_rows", write(cloud, "trips", ROWS)), lambda frame: frame))
    with pytest.raises(SchemaError, match=r"view 'trips': its transformation gives no column speed; it gives .*km"):
        retrieve(store, entity_rows([1], hour(5)), FEATURES)


def test_a_type_that_is_not_the_declared_one_is_named(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place
) -> None:
    store = store_with("local", batch_view(source("trip_rows", write(cloud, "trips", ROWS)), as_text))
    with pytest.raises(SchemaError, match=r"view 'trips': its transformation gives column 'speed' as .*string, decl"):
        retrieve(store, entity_rows([1], hour(5)), FEATURES)


class TestOfAnotherView:
    """Views that are made of other views, and kept in a sink."""

    def test_without_offline_history_is_computed(
        self, store_with: Callable[..., FeatureStore], write: Write, cloud: Place, onprem: Place, engine: str
    ) -> None:
        store = store_with(engine, *self.chain(write(cloud, "trips", ROWS), f"{onprem.uri}/sink_{engine}", engine))
        store.materialize(hour(0), hour(5), feature_views=["marks"])
        asked = retrieve(store, entity_rows([1, 2], hour(5)), ["marks:mark"])
        assert answers(asked, "driver_id", "mark") == [(1, 31.0), (2, 21.0)]
        assert online(store, ["marks:mark"], [1, 2]) == [(1, 31.0), (2, 21.0)]

    def test_with_offline_history_is_what_is_in_the_sink(
        self, store_with: Callable[..., FeatureStore], write: Write, cloud: Place, onprem: Place
    ) -> None:
        sink = {
            "driver_id": [1],
            "event_timestamp": [hour(2)],
            "mark": [99.0],
        }
        kept = write(onprem, "sink", sink)
        store = store_with("local", *self.chain(write(cloud, "trips", ROWS), kept, "local", offline=True))
        asked = retrieve(store, entity_rows([1, 2], hour(5)), ["marks:mark"])
        assert answers(asked, "driver_id", "mark") == [(1, 99.0), (2, None)]

    def test_materialisation_fills_the_sink_that_history_then_reads(
        self,
        store_with: Callable[..., FeatureStore],
        write: Write,
        cloud: Place,
        onprem: Place,
        folder: str,
        engine: str,
    ) -> None:
        chain = self.chain(write(cloud, "trips", ROWS), f"{onprem.uri}{folder}/sink", engine, offline=True)
        store = store_with(engine, *chain)
        store.materialize(hour(0), hour(5), feature_views=["marks"])
        asked = retrieve(store, entity_rows([1, 2], hour(5)), ["marks:mark"])
        assert "a transformation makes its rows" not in asked.explain()
        assert answers(asked, "driver_id", "mark") == online(store, ["marks:mark"], [1, 2]) == [(1, 31.0), (2, 21.0)]

    def test_with_offline_and_nothing_in_the_sink_history_is_computed(
        self,
        store_with: Callable[..., FeatureStore],
        write: Write,
        cloud: Place,
        onprem: Place,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        missing = f"{onprem.uri}/sink_that_is_missing"
        store = store_with("local", *self.chain(write(cloud, "trips", ROWS), missing, "local", offline=True))
        asked = retrieve(store, entity_rows([1], hour(5)), ["marks:mark"])
        assert answers(asked, "driver_id", "mark") == [(1, 31.0)]
        assert "view 'marks': nothing is at its sink yet" in caplog.text

    def test_of_several_views_history_is_what_materialisation_put_into_the_sink(
        self, store_with: Callable[..., FeatureStore], write: Write, cloud: Place, onprem: Place, folder: str
    ) -> None:
        """Only Feast's Spark engine gives a function several frames: the latest rows of each view."""
        tips = {"driver_id": [1, 2], "event_timestamp": [hour(1), hour(3)], "tip": [2.0, 3.0]}
        number = Field(name="driver_id", dtype=Int64)
        parents: list[Any] = [
            view(
                name,
                source(f"{name}_rows", write(role, name, rows)),
                DRIVER,
                schema=[number, Field(name=of, dtype=Float64)],
            )
            for role, name, rows, of in ((cloud, "trips", ROWS, "km"), (onprem, "tips", tips, "tip"))
        ]
        function: Any = per_km
        both = BatchFeatureView(
            name="both",
            entities=[DRIVER],
            source=parents,
            sink_source=source("sink", f"{onprem.uri}{folder}/sink"),
            schema=[number, Field(name="per_km", dtype=Float64)],
            mode="python",
            udf=function,
            udf_string="",
            online=True,
            offline=True,
        )
        store = store_with("spark.engine", *parents, both)
        store.materialize(hour(0), hour(5), feature_views=["both"])
        asked = retrieve(store, entity_rows([1, 2], hour(5)), ["both:per_km"])
        assert (
            answers(asked, "driver_id", "per_km") == online(store, ["both:per_km"], [1, 2]) == [(1, 15.0), (2, 7.0)]
        )

    @staticmethod
    def chain(path: str, sink: str, engine: str, **more: Any) -> list[BatchFeatureView]:
        trips = batch_view(source("trip_rows", path), FUNCTIONS[engine])
        marks = batch_view(
            trips,
            mark_by_pandas if engine == "local" else mark_by_spark,
            name="marks",
            sink_source=source("sink", sink),
            schema=[Field(name="driver_id", dtype=Int64), Field(name="mark", dtype=Float64)],
            **more,
        )
        return [trips, marks]


class TestOfAStream:
    """Stream feature views with a function, whose tag says which rows the batch source holds."""

    @staticmethod
    def stream(of: Any, tag: str, mode: str = "pandas", function: Any = by_pandas) -> StreamFeatureView:
        return StreamFeatureView(
            name="trips",
            entities=[DRIVER],
            schema=SCHEMA,
            source=PushSource(name="pushed", batch_source=of),
            mode=mode,
            udf=function,
            udf_string="",
            tags={"feast_hybrid.batch_rows": tag},
        )

    @pytest.mark.parametrize("mode", ["pandas", "python"])
    def test_history_of_raw_rows_is_what_materialisation_puts_online(
        self, store_with: Callable[..., FeatureStore], write: Write, cloud: Place, mode: str
    ) -> None:
        rows = source("trip_rows", write(cloud, "trips", ROWS), "created")
        store = store_with("local", self.stream(rows, "raw", mode))
        store.materialize(hour(0), hour(5))
        expected = [(1, 30000.0, 30.0, 5), (2, 20000.0, 20.0, None), (3, None, None, 7)]
        assert online(store, FEATURES, [1, 2, 3]) == expected
        assert answers(retrieve(store, entity_rows([1, 2, 3], hour(5)), FEATURES), *NAMES) == expected

    def test_history_of_rows_that_the_function_made_has_them_as_they_are(
        self, store_with: Callable[..., FeatureStore], write: Write, onprem: Place
    ) -> None:
        rows = source("trip_rows", write(onprem, "trips", {**ROWS, "speed": [1.0] * 5}), "created")
        store = store_with("local", self.stream(rows, "transformed"))
        assert answers(retrieve(store, entity_rows([1], hour(5)), FEATURES), *NAMES) == [(1, 30.0, 1.0, 5)]

    @classic_only("Feast starts a classic session when it reads a transformation for Spark")
    def test_a_function_for_spark_is_run_on_spark(
        self, store_with: Callable[..., FeatureStore], write: Write, onprem: Place
    ) -> None:
        rows = source("trip_rows", write(onprem, "trips", ROWS), "created")
        store = store_with("local", self.stream(rows, "raw", "spark", by_spark))
        assert answers(retrieve(store, entity_rows([1], hour(5)), FEATURES), *NAMES) == [(1, 30000.0, 30.0, 5)]


def test_a_join_key_that_the_source_lacks_is_refused(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place
) -> None:
    """In a registry that was written before, as Feast leaves it: a view with entities and without their keys."""
    stats = view("stats", source("trip_rows", write(cloud, "trips", ROWS)), DRIVER, schema=SCHEMA[1:2])
    store = store_with("local", stats)
    other = entity("driver_by_name")
    broken = store.get_feature_view("stats")
    broken.entities = ["driver_by_name"]
    broken.entity_columns = []
    store.registry.apply_entity(other, store.project)
    store.registry.apply_feature_view(broken, store.project)
    text = (
        r"view 'stats': entity 'driver_by_name' has the join key 'driver_by_name', which source 'trip_rows' .* lacks;"
    )
    with pytest.raises(SchemaError, match=rf"{text} it has .*driver_id.*; entity_df has driver_id, event_timestamp"):
        retrieve(store, entity_rows([1], hour(5)), ["stats:km"])
    with pytest.raises(SchemaError, match=r"driver_by_name.*lacks|lacks.*driver_by_name"):
        store.materialize(hour(0), hour(5), feature_views=["stats"])


def test_a_join_key_that_feast_did_not_find_for_its_mapping_is_joined_on(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place
) -> None:
    rows = {"fahrer": [1, 2], "event_timestamp": [hour(1), hour(1)], "km": [1.0, 2.0]}
    mapped = source("mapped_rows", write(cloud, "mapped", rows), field_mapping={"fahrer": "driver_id"})
    store = store_with("local", view("stats", mapped, DRIVER, schema=SCHEMA[1:2]))
    without_keys = store.get_feature_view("stats")
    without_keys.entity_columns = []
    store.registry.apply_feature_view(without_keys, store.project)
    assert answers(retrieve(store, entity_rows([1, 2], hour(5)), ["stats:km"]), "driver_id", "km") == [
        (1, 1.0),
        (2, 2.0),
    ]
