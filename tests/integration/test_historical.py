"""``get_historical_features`` over both lakes: what goes in, what comes out, and what must not happen on the way."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureService, Field, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import EntityFrameError, HybridError, JoinError, SchemaError, SourceNotFoundError
from tests.integration.places import answers, at, entity, feature_store, retrieve, rows_of, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import DataFrame, SparkSession

    from tests.integration.conftest import MakeStore, Write, Zone
    from tests.integration.jobs import Jobs
    from tests.integration.places import Place, Places

pytestmark = [pytest.mark.connect, pytest.mark.matrix]

DRIVER = entity("driver", join_key="driver_id")
CITY = entity("city", ValueType.STRING)


@pytest.fixture(scope="module")
def store(lakes_to_test: Places, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Drivers' statistics on premises, weather in the cloud, and on-demand views over both and a request."""
    onprem, cloud = lakes_to_test
    stats = onprem.write(
        f"{onprem.uri}/historical/stats",
        {
            "driver_id": [1, 1, 2, 2],
            "event_timestamp": [at(0), at(1), at(0), at(2)],
            "created": [at(0), at(1), at(0), at(9)],
            "rate": [0.1, 0.2, 0.3, 0.4],
            "trips": [1, 2, 3, 4],
        },
    )
    weather = cloud.write(
        f"{cloud.uri}/historical/weather",
        {
            "city": ["ams", "ams", "ber"],
            "event_timestamp": [at(0), at(1), at(0)],
            "temp": [10, 11, 20],
            "sky": ["grey", "blue", "red"],
        },
    )
    stats_view = view("stats", source("stats_rows", stats, "created"), DRIVER, ttl=timedelta(days=1))
    weather_view = view("weather", source("weather_rows", weather), CITY, ttl=timedelta(days=1))
    asked = RequestSource(name="asked", schema=[Field(name="bonus", dtype=Int64)])

    @on_demand_feature_view(
        sources=[stats_view, asked],
        schema=[Field(name="paid", dtype=Int64), Field(name="unpaid", dtype=Int64)],
        mode="python",
    )
    def pay(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = list(zip(inputs["trips"], inputs["bonus"], strict=True))
        return {"paid": [(trips or 0) + bonus for trips, bonus in pairs], "unpaid": [0 for _ in pairs]}

    @on_demand_feature_view(
        sources=[weather_view],
        schema=[Field(name="fahrenheit", dtype=Float64), Field(name="hot", dtype=Int64)],
        mode="pandas",
    )
    def heat(inputs: pd.DataFrame) -> pd.DataFrame:
        fahrenheit = inputs["temp"].astype("float64") * 1.8 + 32
        return pd.DataFrame({"fahrenheit": fahrenheit, "hot": (fahrenheit > 60).astype("int64")})

    service = FeatureService(name="both", features=[stats_view[["rate"]], weather_view])
    return feature_store(
        lakes_to_test.sites(),
        tmp_path_factory.mktemp("historical"),
        *(DRIVER, CITY, stats_view, weather_view, pay, heat, service),
    )


FEATURES = ["stats:rate", "stats:trips", "weather:temp"]
ASKED = [(2, "ams", 1.5), (1, "ber", 0), (1, "ams", 2), (3, None, 0), (1, "ams", 2)]
ANSWERS = [(0.3, 3, 11), (0.1, 1, 20), (0.2, 2, 11), (None, None, None), (0.2, 2, 11)]
ROWS = [(key, city, *answer) for (key, city, _), answer in zip(ASKED, ANSWERS, strict=True)]
COLUMNS = ("driver_id", "city", "rate", "trips", "temp")


def entity_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "driver_id": [key for key, _, _ in ASKED],
            "city": [city for _, city, _ in ASKED],
            "event_timestamp": [at(hours) for _, _, hours in ASKED],
            "note": ["a", None, "c", "d", "e"],
        },
        index=[9, 3, 3, 1, 0],
    )


def by_text(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=str)


# One plan, lazily


def test_one_plan_reads_both_lakes(store: FeatureStore) -> None:
    told = retrieve(store, entity_frame(), FEATURES).explain().splitlines()
    assert re.match(r"view 'stats': columnar .* 1 files on site 'onprem'", told[0])
    assert re.match(r"view 'weather': columnar .* 1 files on site 'cloud'", told[1])


def test_one_plan_of_spark_s_own_readers_reads_both_lakes(
    make_store: MakeStore, write: Write, onprem: Place, cloud: Place
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [at(0)]}
    near = view("near", source("near_rows", write(onprem, "near", {**rows, "a": [1]})), DRIVER)
    far = view("far", source("far_rows", write(cloud, "far", {**rows, "b": [1]})), DRIVER)
    store = make_store(DRIVER, near, far, join={"strategy": "window"})
    frame = retrieve(store, entity_frame(), ["near:a", "far:b"]).to_spark_df()
    read = [uri.partition("/historical/") for uri in frame.inputFiles()]
    assert {(place.rstrip("/"), name.split("/")[1]) for place, _, name in read} == {
        (onprem.uri.rstrip("/"), "near"),
        (cloud.uri.rstrip("/"), "far"),
    }


@pytest.mark.parametrize("form", ["pandas", "spark", "sql", "dates"])
def test_nothing_runs_before_rows_are_asked_for(
    form: str, store: FeatureStore, spark: SparkSession, jobs: Jobs
) -> None:
    entity_df: Any = {
        "pandas": entity_frame().assign(bonus=1),
        "spark": spark.createDataFrame(entity_frame().assign(bonus=1)),
        "sql": "SELECT driver_id, 'ams' AS city, 1 AS bonus, event_timestamp FROM stats_rows",
        "dates": None,
    }[form]
    features = [*FEATURES, *([] if form == "dates" else ["pay:paid"])]
    dates = {"start_date": at(0), "end_date": at(5)} if form == "dates" else {}
    last = jobs.last()
    frame = retrieve(store, entity_df, features, **dates).to_spark_df()
    ran = jobs.names_after(last)
    frame.collect()
    # Reading a footer to learn a schema is a job of Spark's: called load, or by Connect, which runs it, analyzePlan.
    # Executors are asked once for each site whether they can open its files.
    planning = re.compile(r"(load|analyzePlan) at|collect at .*asof/probe\.py|Spark Connect - .*\bprobe\b", re.DOTALL)
    assert [name for name in ran if not planning.match(name)] == []
    assert len(jobs.names_after(last)) > len(ran)


def test_a_frame_stays_valid_after_the_call_and_after_others(store: FeatureStore) -> None:
    query = "SELECT driver_id, event_timestamp FROM stats_rows WHERE driver_id = {}"
    first = retrieve(store, query.format(1), ["stats:trips"]).to_spark_df()
    second = retrieve(store, query.format(2), ["stats:rate"]).to_spark_df()
    assert sorted(row["rate"] for row in second.collect()) == [0.3, 0.4]
    assert sorted(row["trips"] for row in first.collect()) == [1, 2]
    assert sorted(row["trips"] for row in first.where("trips > 1").collect()) == [2]


# The forms of entity rows


def test_a_pandas_frame_comes_back_in_its_order_with_its_duplicates(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame(), FEATURES)
    assert answers(job, *COLUMNS) == ROWS
    frame = job.to_df()
    assert list(frame["note"].fillna("-")) == ["a", "-", "c", "d", "e"]
    assert list(frame.columns) == ["driver_id", "city", "event_timestamp", "note", "rate", "trips", "temp"]
    assert list(frame["temp"].fillna(-1)) == [11, 20, 11, -1, 11]


@pytest.mark.parametrize("form", ["pandas", "spark"])
def test_entity_columns_may_have_the_names_that_we_use_ourselves(
    form: str, spark: SparkSession, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    uri = write(onprem, "rows", {"__fh_row": [7, 8], "event_timestamp": [at(0), at(0)], "n": [70, 80]})
    key = entity("odd", join_key="__fh_row")
    store = make_store(key, view("odd_rows", source("odd_source", uri), key))
    asked = [(8, at(1), "x"), (7, at(1), "y"), (9, at(1), "z")]
    columns = ["__fh_row", "event_timestamp", "__fh_order"]
    rows = pd.DataFrame(asked, columns=columns) if form == "pandas" else spark.createDataFrame(asked, columns)
    job = retrieve(store, rows, ["odd_rows:n"])
    assert by_text(answers(job, "__fh_row", "__fh_order", "n")) == [(7, "y", 70), (8, "x", 80), (9, "z", None)]


@pytest.mark.parametrize("kind", ["s", "ns, tz=Asia/Tokyo"])
def test_a_pandas_frame_may_hold_arrow_s_times(kind: str, store: FeatureStore) -> None:
    times = [at(2) if "tz" in kind else at(2).replace(tzinfo=None)] * 2
    dtype: Any = f"timestamp[{kind}][pyarrow]"
    rows = pd.DataFrame({"driver_id": [1, 2], "seen_at": pd.Series(times, dtype=dtype)})
    job = retrieve(store, rows, ["stats:trips"])
    assert answers(job, "driver_id", "trips") == [(1, 2), (2, 4)]
    assert [row.trips for row in job.to_spark_df().orderBy("driver_id").collect()] == [2, 4]


def test_the_caller_s_frame_is_not_changed(store: FeatureStore) -> None:
    frame = entity_frame().astype({"driver_id": "int32", "note": "category"})
    job = retrieve(store, frame, FEATURES)
    job.to_df()
    job.to_spark_df()
    pd.testing.assert_frame_equal(frame, entity_frame().astype({"driver_id": "int32", "note": "category"}))


def test_naive_times_are_utc(store: FeatureStore) -> None:
    frame = entity_frame()
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_localize(None)
    result = retrieve(store, frame, FEATURES).to_df()
    # Feast itself makes them aware of it, unless coerce_tz_aware is false.
    assert list(result["event_timestamp"]) == list(frame["event_timestamp"].dt.tz_localize("UTC"))
    assert list(result["trips"].fillna(-1)) == [3, 1, 2, -1, 2]
    store.config.coerce_tz_aware = False
    result = retrieve(store, frame, FEATURES).to_df()
    assert list(result["event_timestamp"]) == list(frame["event_timestamp"])
    assert list(result["trips"].fillna(-1)) == [3, 1, 2, -1, 2]


def test_nanoseconds_are_floored_for_matching_and_come_back_as_they_were(store: FeatureStore) -> None:
    # Half a microsecond before the row of hour 1 does not see it.
    times = pd.to_datetime([at(1), at(1)], utc=True).as_unit("ns") + pd.to_timedelta([-500, 999], unit="ns")
    result = retrieve(store, pd.DataFrame({"driver_id": [1, 1], "event_timestamp": times}), ["stats:trips"]).to_df()
    assert list(result["trips"]) == [1, 2]
    assert list(result["event_timestamp"]) == list(times)


def test_times_of_another_zone_are_the_same_instants(store: FeatureStore) -> None:
    frame = entity_frame()
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("Asia/Kolkata")
    assert answers(retrieve(store, frame, FEATURES), *COLUMNS) == ROWS


def test_a_spark_frame_gives_entity_rows(store: FeatureStore, spark: SparkSession) -> None:
    schema = "driver_id int, city string, event_timestamp timestamp"
    rows = [(key, city, at(hours)) for key, city, hours in ASKED]
    job = retrieve(store, spark.createDataFrame(rows, schema), FEATURES)
    assert by_text(answers(job, *COLUMNS)) == by_text(ROWS)


def test_sql_text_names_sources_of_both_lakes(store: FeatureStore) -> None:
    query = """
        SELECT s.driver_id, w.city, s.event_timestamp
        FROM stats_rows AS s JOIN `weather_rows` AS w ON s.event_timestamp = w.event_timestamp
    """
    job = retrieve(store, query, FEATURES)
    assert by_text(answers(job, *COLUMNS)) == [
        (1, "ams", 0.1, 1, 10),
        (1, "ams", 0.2, 2, 11),
        (1, "ber", 0.1, 1, 20),
        (2, "ams", 0.3, 3, 10),
        (2, "ber", 0.3, 3, 20),
    ]


def test_a_source_named_as_another_source_s_table_does_not_stand_in_for_it(
    spark: SparkSession, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    rows = {"driver_id": [1, 2], "event_timestamp": [at(0), at(0)]}
    schema = "driver_id bigint, event_timestamp timestamp, n bigint"
    spark.createDataFrame([(1, at(0), 10)], schema).write.saveAsTable("a_trips")
    try:
        # Read in the order of their names: the table's source after the one that has the table's name.
        named_so = view("named_so", source("a_trips", write(onprem, "paths", {**rows, "n": [1, 2]})), DRIVER)
        table = HybridSparkSource(name="b_table", table="a_trips", site="onprem", timestamp_field="event_timestamp")
        store = make_store(DRIVER, named_so, view("of_table", table, DRIVER))
        for query, found in (
            ("SELECT driver_id, event_timestamp, n AS m FROM b_table", [(1, 10)]),
            ("SELECT driver_id, event_timestamp, n AS m FROM a_trips", [(1, 1), (2, 2)]),
            ("SELECT b.driver_id, b.event_timestamp, b.n AS m FROM b_table b, a_trips a WHERE a.n = 1", [(1, 10)]),
        ):
            job = retrieve(store, query, ["of_table:n"])
            assert by_text(answers(job, "driver_id", "m")) == found
    finally:
        spark.sql("DROP TABLE a_trips")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DROP TABLE stats_rows", "entity_df must be a single SELECT; found DROP."),
        ("SELECT 1 AS a; SELECT 2 AS b", "entity_df must be a single SELECT; found SELECT, SELECT."),
        ("SELECT", "entity_df selects no columns."),
    ],
)
def test_sql_text_that_is_not_one_select_is_refused(store: FeatureStore, query: str, message: str) -> None:
    with pytest.raises(EntityFrameError) as refused:
        retrieve(store, query, FEATURES)
    assert str(refused.value) == message


def test_no_one_else_sees_the_names_of_a_sql_text(store: FeatureStore, spark: SparkSession) -> None:
    job = retrieve(store, "SELECT driver_id, event_timestamp FROM stats_rows", ["stats:rate"])
    assert spark.catalog.listTables() == []
    job.to_df()
    assert spark.catalog.listTables() == []


def test_two_threads_with_the_same_names_in_sql_do_not_mix(
    onprem: Place, cloud: Place, write: Write, lakes_to_test: Places, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stores = []
    for n, place in enumerate([onprem, cloud]):
        table = {"driver_id": [n], "event_timestamp": [at(0)], "trips": [n * 100]}
        rows = view("same", source("same_rows", write(place, "same", table)), DRIVER)
        folder = tmp_path_factory.mktemp("same")
        stores.append(feature_store(lakes_to_test.sites(), folder, DRIVER, rows))
    together = threading.Barrier(4)

    def ask(n: int) -> list[tuple[Any, ...]]:
        together.wait(60)
        job = retrieve(stores[n % 2], "SELECT * FROM same_rows", ["same:trips"], full_feature_names=True)
        together.wait(60)
        return answers(job, "driver_id", "same__trips")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [[(0, 0)], [(1, 100)], [(0, 0)], [(1, 100)]]


def test_without_entity_rows_the_view_s_own_rows_between_the_dates_are_taken(store: FeatureStore) -> None:
    job = retrieve(store, None, ["stats:trips"], start_date=at(0), end_date=at(1))
    found = sorted(answers(job, "driver_id", "event_timestamp", "trips"))
    assert found == [(1, at(0), 1), (1, at(1), 2), (2, at(0), 3)]


def test_naive_dates_are_utc(store: FeatureStore) -> None:
    start, end = at(1).replace(tzinfo=None), at(2).replace(tzinfo=None)
    job = retrieve(store, None, ["stats:trips"], start_date=start, end_date=end)
    assert sorted(answers(job, "driver_id", "event_timestamp", "trips")) == [(1, at(1), 2), (2, at(2), 4)]


def test_without_entity_rows_views_of_the_same_keys_are_united(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    rides = write(onprem, "rides", {"driver_id": [1, 1], "event_timestamp": [at(0), at(2)], "rides": [5, 6]})
    # The same key in another width, one (key, time) in common.
    keys = pa.array([1, 2], pa.int32())
    tips = write(cloud, "tips", pa.table({"driver_id": keys, "event_timestamp": [at(0), at(1)], "tip": [0.5, 0.6]}))
    rides_view = view("rides", source("rides", rides), DRIVER)
    store = make_store(DRIVER, rides_view, view("tips", source("tips", tips), DRIVER))
    job = retrieve(store, None, ["rides:rides", "tips:tip"], start_date=at(0), end_date=at(9))
    assert sorted(answers(job, "driver_id", "event_timestamp", "rides", "tip")) == [
        (1, at(0), 5, 0.5),
        (1, at(2), 6, 0.5),
        (2, at(1), None, 0.6),
    ]


def test_without_entity_rows_keys_that_a_view_lacks_are_null(store: FeatureStore) -> None:
    job = retrieve(store, None, ["stats:trips", "weather:temp"], start_date=at(1), end_date=at(2))
    assert by_text(answers(job, "driver_id", "city", "event_timestamp", "trips", "temp")) == by_text(
        [(1, None, at(1), 2, None), (2, None, at(2), 4, None), (None, "ams", at(1), None, 11)]
    )


def test_without_dates_the_range_is_the_longest_ttl_up_to_now(
    onprem: Place, write: Write, make_store: MakeStore
) -> None:
    now = datetime.now(tz=UTC)
    times = [now - timedelta(days=days) for days in (1, 3, 5)] + [now + timedelta(days=1)]
    table = {"driver_id": [1, 2, 3, 4], "event_timestamp": times, "n": [1, 2, 3, 4]}
    path = write(onprem, "recent", table)
    store = make_store(
        DRIVER,
        view("short", source("short", path), DRIVER, ttl=timedelta(days=2)),
        view("long", source("long", path), DRIVER, ttl=timedelta(days=4)),
    )
    job = retrieve(store, None, ["short:n", "long:n"], full_feature_names=True)
    assert sorted(answers(job, "driver_id", "short__n", "long__n")) == [(1, 1, 1), (2, 2, 2)]


def test_dates_in_the_wrong_order_are_refused(store: FeatureStore) -> None:
    with pytest.raises(EntityFrameError, match=r"start_date 2026-01-10T02.* is after end_date 2026-01-10T01"):
        retrieve(store, None, ["stats:rate"], start_date=at(2), end_date=at(1))


# Which features, by which names


def test_full_feature_names_begin_with_the_view(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame().assign(bonus=1), [*FEATURES, "pay:paid"], full_feature_names=True)
    names = ["stats__rate", "stats__trips", "weather__temp", "pay__paid"]
    assert job.to_arrow().column_names[-4:] == names
    assert job.to_spark_df().columns[-4:] == names


def test_a_feature_service_gives_its_projections(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame(), store.get_feature_service("both"))
    assert job.to_arrow().column_names == ["driver_id", "city", "event_timestamp", "note", "rate", "temp", "sky"]


def test_one_view_under_two_names_and_keys(onprem: Place, cloud: Place, write: Write, make_store: MakeStore) -> None:
    location, rider = entity("location"), entity("rider")
    places = write(onprem, "places", {"location": [1, 2], "event_timestamp": [at(0), at(0)], "height": [-2, 34]})
    ages = write(cloud, "ages", {"rider": [7], "event_timestamp": [at(0)], "age": [30]})
    heights = view("heights", source("places", places), location)
    ages_view = view("ages", source("ages", ages), rider)
    store = make_store(location, rider, heights, ages_view)
    heights = store.get_feature_view("heights")
    service = FeatureService(
        name="trip",
        features=[
            heights.with_name("origin").with_join_key_map({"location": "from_id"}),
            heights.with_name("destination").with_join_key_map({"location": "to_id"}),
            store.get_feature_view("ages"),
        ],
    )
    store.apply([service])
    entity_df = pd.DataFrame({"from_id": [1, 2], "to_id": [2, 3], "rider": [7, 8], "event_timestamp": [at(1)] * 2})
    job = retrieve(store, entity_df, service, full_feature_names=True)
    assert answers(job, "from_id", "to_id", "origin__height", "destination__height", "ages__age") == [
        (1, 2, -2, 34, 30),
        (2, 3, 34, None, None),
    ]


def test_a_field_mapping_renames_keys_features_and_times(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    mapped = source(
        "mapped",
        write(
            onprem,
            "mapped",
            {
                "DRV": [1, 1],
                "when `at`": [at(0), at(0)],
                "written; at": [at(1), at(2)],
                "val_.*": [5, 6],
            },
        ),
        "created",
        timestamp_field="event_timestamp",
        field_mapping={
            "DRV": "driver_id",
            "when `at`": "event_timestamp",
            "written; at": "created",
            "val_.*": "value",
        },
    )
    other = source("other", write(cloud, "other", {"driver_id": [1], "event_timestamp": [at(0)], "n": [9]}))
    store = make_store(DRIVER, view("mapped", mapped, DRIVER), view("other", other, DRIVER))
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [at(3)]})
    job = retrieve(store, entity_df, ["mapped:value", "other:n"])
    assert answers(job, "driver_id", "value", "n") == [(1, 6, 9)]
    by_dates = retrieve(store, None, ["mapped:value"], start_date=at(0), end_date=at(1))
    assert answers(by_dates, "driver_id", "event_timestamp", "value") == [(1, at(0), 6)]


def test_several_views_read_one_source(store: FeatureStore, onprem: Place, make_store: MakeStore) -> None:
    rows = source("shared", f"{onprem.uri}/historical/stats")
    several = make_store(
        DRIVER,
        view("rates", rows, DRIVER, schema=[Field(name="rate", dtype=Float64)], ttl=timedelta(hours=1)),
        view("counts", rows, DRIVER, schema=[Field(name="trips", dtype=Int64)]),
    )
    entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [at(3), at(3)]})
    job = retrieve(several, entity_df, ["rates:rate", "counts:trips"])
    assert answers(job, "driver_id", "rate", "trips") == [(1, None, 2), (2, 0.4, 4)]


def test_a_view_without_entities_answers_every_row(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    rates = write(onprem, "usd", {"event_timestamp": [at(0), at(2)], "usd": [1.1, 1.2]})
    trips = write(cloud, "trips", {"driver_id": [1], "event_timestamp": [at(0)], "trips": [3]})
    store = make_store(DRIVER, view("usd", source("usd", rates)), view("trips", source("trips", trips), DRIVER))
    entity_df = pd.DataFrame({"driver_id": [1, 2, 3], "event_timestamp": [at(1), at(2), at(-1)]})
    job = retrieve(store, entity_df, ["usd:usd", "trips:trips"])
    assert answers(job, "driver_id", "usd", "trips") == [(1, 1.1, 3), (2, 1.2, None), (3, None, None)]


# On-demand feature views

ON_DEMAND = ["stats:trips", "weather:temp", "pay:paid", "heat:fahrenheit", "heat:hot"]


def test_on_demand_views_give_equal_values_in_pandas_arrow_and_spark(store: FeatureStore) -> None:
    entity_df = entity_frame().assign(bonus=[10, 20, 30, 40, 50], city="ams", event_timestamp=[at(1)] * 5)
    job = retrieve(store, entity_df, ON_DEMAND)
    columns = ("driver_id", "bonus", "paid", "fahrenheit", "hot")
    expected = [(2, 10, 13), (1, 20, 22), (1, 30, 32), (3, 40, 40), (1, 50, 52)]
    arrow = [tuple(round(value, 6) for value in row) for row in answers(job, *columns)]
    assert arrow == [(*row, 51.8, 0) for row in expected]
    pandas = [tuple(round(value, 6) for value in row) for row in job.to_df()[list(columns)].itertuples(index=False)]
    assert pandas == arrow
    spark = [tuple(round(value, 6) for value in row) for row in job.to_spark_df().select(*columns).collect()]
    assert sorted(spark) == sorted(arrow)


def test_only_the_features_of_an_on_demand_view_that_were_asked_for_come_back(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame().assign(bonus=1), ["pay:paid"])
    names = ["driver_id", "city", "event_timestamp", "note", "bonus", "trips", "rate", "paid"]
    assert set(job.to_arrow().column_names) <= set(names)
    assert "unpaid" not in job.to_arrow().column_names
    assert "paid" in job.to_arrow().column_names
    assert sorted(job.to_spark_df().columns) == sorted(job.to_arrow().column_names)


def test_on_demand_views_follow_sql_entity_rows(store: FeatureStore) -> None:
    query = "SELECT driver_id, event_timestamp, CAST(5 AS BIGINT) AS bonus FROM stats_rows"
    job = retrieve(store, query, ["pay:paid"])
    expected = [(1, 6), (1, 7), (2, 8), (2, 9)]
    assert sorted(answers(job, "driver_id", "paid")) == expected
    assert sorted(tuple(row) for row in job.to_spark_df().select("driver_id", "paid").collect()) == expected


# Time


@pytest.mark.parametrize("ttl", [None, timedelta(0)])
def test_without_a_ttl_a_row_never_grows_too_old(
    ttl: timedelta | None, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    old = datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC)
    path = write(onprem, "old", {"driver_id": [1], "event_timestamp": [old], "n": [1]})
    store = make_store(DRIVER, view("old", source("old", path), DRIVER, ttl=ttl))
    times = [at(0), old, old - timedelta(microseconds=1)]
    entity_df = pd.DataFrame({"driver_id": [1, 1, 1], "event_timestamp": times})
    assert answers(retrieve(store, entity_df, ["old:n"]), "n") == [(1,), (1,), (None,)]


def test_a_row_counts_as_long_as_the_ttl_and_not_a_microsecond_longer(store: FeatureStore) -> None:
    edge = at(1) + timedelta(days=1)
    times = [edge, edge + timedelta(microseconds=1)]
    entity_df = pd.DataFrame({"driver_id": [1, 1], "event_timestamp": times})
    assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(2,), (None,)]


def test_rows_written_later_do_not_count_when_filtered_by_created(store: FeatureStore) -> None:
    # The row of hour 2 was written at hour 9.
    entity_df = pd.DataFrame({"driver_id": [2, 2], "event_timestamp": [at(3), at(9)]})
    assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(4,), (4,)]
    filtered = retrieve(store, entity_df, ["stats:trips"], filter_by_created_timestamp=True)
    assert answers(filtered, "trips") == [(3,), (4,)]


def test_event_times_may_be_dates_or_have_no_zone(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    days = {"driver_id": [1, 1], "event_timestamp": [date(2026, 1, 10), date(2026, 1, 11)], "day": [10, 11]}
    naive = [at(0).replace(tzinfo=None), at(24).replace(tzinfo=None)]
    hours = {"driver_id": [1, 1], "event_timestamp": naive, "created": naive, "hour": [0, 24]}
    store = make_store(
        DRIVER,
        view("days", source("days", write(onprem, "days", days)), DRIVER, ttl=timedelta(hours=20)),
        view("hours", source("hours", write(cloud, "hours", hours), "created"), DRIVER, ttl=timedelta(hours=20)),
    )
    times = [at(-0.001), at(0), at(20), at(21), at(24), at(44), at(45)]
    entity_df = pd.DataFrame({"driver_id": [1] * 7, "event_timestamp": times})
    job = retrieve(store, entity_df, ["days:day", "hours:hour"], filter_by_created_timestamp=True)
    expected = [(None, None), (10, 0), (10, 0), (None, None), (11, 24), (11, 24), (None, None)]
    assert answers(job, "day", "hour") == expected


# Keys


def test_a_text_key_against_a_number_is_refused_with_view_and_types(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": ["1"], "event_timestamp": [at(1)]})
    with pytest.raises(SchemaError, match=r"(?s)stats.*driver_id.*string.*bigint|stats.*bigint.*string"):
        retrieve(store, entity_df, ["stats:trips"])


def test_keys_of_other_integer_widths_match_by_value(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [at(1), at(1)]})
    for width in ("int8", "int32", "uint64", "float64", "Int64"):
        job = retrieve(store, entity_df.astype({"driver_id": width}), ["stats:trips"])
        assert answers(job, "trips") == [(2,), (3,)], width


def test_a_key_declared_as_text_over_an_integer_column_still_matches(
    onprem: Place, write: Write, make_store: MakeStore
) -> None:
    customer = entity("customer", ValueType.STRING)
    path = write(onprem, "orders", {"customer": [1001], "event_timestamp": [at(0)], "orders": [3]})
    schema = [Field(name="customer", dtype=String), Field(name="orders", dtype=Int64)]
    store = make_store(customer, view("orders", source("orders", path), customer, schema=schema))
    entity_df = pd.DataFrame({"customer": [1001, 1002], "event_timestamp": [at(1), at(1)]})
    assert answers(retrieve(store, entity_df, ["orders:orders"]), "orders") == [(3,), (None,)]


def test_null_keys_match_nothing_and_come_back_null(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": [1, None], "city": [None, "ber"], "event_timestamp": [at(1), at(1)]})
    job = retrieve(store, entity_df, ["stats:trips", "weather:temp"])
    assert answers(job, "driver_id", "city", "trips", "temp") == [(1, None, 2, None), (None, "ber", None, 20)]


# What is missing


def test_a_missing_join_key_is_named(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [at(1)]})
    with pytest.raises(EntityFrameError, match=r"city.*driver_id, event_timestamp"):
        retrieve(store, entity_df, FEATURES)


def test_entity_rows_without_a_time_are_refused(store: FeatureStore) -> None:
    with pytest.raises(EntityFrameError, match="no time column"):
        retrieve(store, pd.DataFrame({"driver_id": [1]}), ["stats:trips"])


@pytest.mark.parametrize(
    ("lacking", "named"), [("n", "feature column"), ("driver_id", "key column"), ("event_timestamp", "timestamp")]
)
def test_a_column_that_the_files_lack_is_named_with_its_view(
    lacking: str, named: str, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    columns = {"driver_id": [1], "event_timestamp": [at(0)], "n": [1], "m": [2]}
    path = write(onprem, "rows", columns)
    store = make_store(DRIVER, view("counts", source("counts", path), DRIVER))
    write(onprem, "rows", {name: values for name, values in columns.items() if name != lacking})
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [at(1)]})
    with pytest.raises(SchemaError, match=f"counts.*{named}.*{lacking}|counts.*{lacking}"):
        retrieve(store, entity_df, ["counts:n"])


# Few rows


@pytest.mark.parametrize("form", ["pandas", "spark", "sql"])
def test_no_entity_rows_give_no_rows_of_the_right_types(form: str, store: FeatureStore, spark: SparkSession) -> None:
    query = "SELECT driver_id, 'ams' AS city, event_timestamp FROM stats_rows WHERE false"
    schema = "driver_id bigint, city string, event_timestamp timestamp"
    forms: dict[str, Any] = {
        "pandas": entity_frame()[["driver_id", "city", "event_timestamp"]].iloc[:0],
        "spark": spark.createDataFrame([], schema),
        "sql": query,
    }
    job = retrieve(store, forms[form], FEATURES)
    table = job.to_arrow()
    assert table.num_rows == 0
    features = {"rate": pa.float64(), "trips": pa.int64(), "temp": pa.int64()}
    assert {name: table.schema.field(name).type for name in features} == features
    assert table.schema.field("driver_id").type == pa.int64()
    assert pa.types.is_timestamp(table.schema.field("event_timestamp").type)
    assert job.to_df().empty
    assert job.to_spark_df().columns == table.column_names


def test_one_entity_row_gives_one_row(store: FeatureStore) -> None:
    assert answers(retrieve(store, entity_frame().iloc[:1], FEATURES), *COLUMNS) == ROWS[:1]


def test_a_view_without_rows_gives_nulls(onprem: Place, write: Write, make_store: MakeStore) -> None:
    schema = pa.schema({"driver_id": pa.int64(), "event_timestamp": pa.timestamp("us", "UTC"), "n": pa.int64()})
    store = make_store(DRIVER, view("none", source("none", write(onprem, "none", schema.empty_table())), DRIVER))
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [at(1)]})
    assert answers(retrieve(store, entity_df, ["none:n"]), "driver_id", "n") == [(1, None)]


# What else a job says, and the types it carries


def test_metadata_says_features_keys_and_the_first_and_last_time(store: FeatureStore, spark: SparkSession) -> None:
    for entity_df in (entity_frame(), spark.createDataFrame(entity_frame())):
        found = retrieve(store, entity_df, FEATURES).metadata
        assert found is not None
        assert sorted(found.features) == sorted(FEATURES)
        assert sorted(found.keys) == ["city", "driver_id", "note"]
        assert (found.min_event_timestamp, found.max_event_timestamp) == (at(0), at(2))


def every_type() -> pa.Table:
    columns: dict[str, tuple[pa.DataType, Any]] = {
        "a_bool": (pa.bool_(), True),
        "an_int": (pa.int32(), -7),
        "a_float": (pa.float32(), 0.5),
        "a_text": (pa.string(), "žluťoučký; `kůň`"),
        "a_binary": (pa.binary(), b"\x00\xff"),
        "a_decimal": (pa.decimal128(20, 3), Decimal("12345678901234.567")),
        "a_date": (pa.date32(), date(1969, 12, 31)),
        "a_time": (pa.timestamp("us", "UTC"), datetime(2026, 3, 8, 7, 30, 0, 123456, tzinfo=UTC)),
        "a_list": (pa.list_(pa.float64()), [1.5, None, 2.5]),
        "a_struct": (pa.struct({"x": pa.int64(), "y": pa.list_(pa.string())}), {"x": 1, "y": ["a", "b"]}),
        "a_map": (pa.map_(pa.string(), pa.int64()), [("one", 1), ("two", 2)]),
    }
    keys = {"driver_id": pa.array([1]), "event_timestamp": pa.array([at(0)], pa.timestamp("us", "UTC"))}
    return pa.table({**keys, **{name: pa.array([value], kind) for name, (kind, value) in columns.items()}})


def test_values_of_every_type_come_back_equal(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    table = every_type()
    names = table.column_names[2:]
    stored = {place: source(f"types_{place.site_name}", write(place, "types", table)) for place in (onprem, cloud)}
    fields = [Field(name=name, dtype=String) for name in names]  # a declared type does not change what is read
    store = make_store(
        DRIVER,
        view("here", stored[onprem], DRIVER, schema=fields),
        view("there", stored[cloud], DRIVER, schema=fields),
    )
    entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [at(1), at(1)]})
    refs = [f"{name}:{feature}" for name in ("here", "there") for feature in names]
    job = retrieve(store, entity_df, refs, full_feature_names=True)
    arrow = job.to_arrow()
    for name in names:
        for of in ("here", "there"):
            column = arrow[f"{of}__{name}"]
            assert column.to_pylist() == [table[name][0].as_py(), None], name
            assert column.type == table[name].type, name
    frame: DataFrame = job.to_spark_df().where("driver_id = 1")
    assert rows_of(frame.toArrow(), *frame.columns[2:]) == rows_of(arrow.slice(0, 1), *arrow.column_names[2:])
    pandas = job.to_df()
    assert pandas["there__a_time"][0] == pd.Timestamp(table["a_time"][0].as_py())
    assert list(pandas["here__a_list"][0])[::2] == [1.5, 2.5]
    assert dict(pandas["there__a_map"][0]) == {"one": 1, "two": 2}
    assert pandas["there__a_decimal"][0] == Decimal("12345678901234.567")


def test_every_error_of_a_retrieval_is_a_hybrid_error(store: FeatureStore) -> None:
    bad: list[Any] = [5, "SELECT 1; SELECT 2", "DROP TABLE stats_rows", "SELECT nothing FROM nowhere"]
    for entity_df in bad:
        with pytest.raises(HybridError):
            retrieve(store, entity_df, ["stats:trips"])


# What reads as a time, or as a name, in one place only


def test_an_on_demand_view_sees_times_in_utc_on_spark_too(
    onprem: Place, write: Write, make_store: MakeStore, session_zone: Zone
) -> None:
    seen = source("seen", write(onprem, "seen", {"driver_id": [1], "event_timestamp": [at(0)], "last": [at(0)]}))
    seen_view = view("seen", seen, DRIVER)

    @on_demand_feature_view(
        sources=[seen_view],
        schema=[Field(name="hour", dtype=Int64), Field(name="later", dtype=UnixTimestamp)],
        mode="pandas",
    )
    def clock(inputs: pd.DataFrame) -> pd.DataFrame:
        last = inputs["last"]
        return pd.DataFrame({"hour": last.dt.hour.astype("int64"), "later": last + pd.Timedelta(hours=1)})

    store = make_store(DRIVER, seen_view, clock)
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [at(2)]})
    with session_zone("America/New_York"):
        job = retrieve(store, entity_df, ["seen:last", "clock:hour", "clock:later"])
        assert answers(job, "hour", "later") == [(0, at(1))]
        frame = job.to_spark_df()
        assert frame.schema["later"].dataType.simpleString() == "timestamp"
        assert rows_of(frame.toArrow(), "hour", "later", "last") == [(0, at(1), at(0))]


def test_times_without_a_zone_in_sql_text_are_utc(store: FeatureStore, session_zone: Zone) -> None:
    with session_zone("America/New_York"):
        text = "SELECT 1L AS driver_id, TIMESTAMP '2026-01-10 02:00:00' AS event_timestamp"
        assert answers(retrieve(store, text, ["stats:trips"]), "event_timestamp", "trips") == [(at(2), 2)]


@pytest.mark.parametrize("name", ["trips", "Trips"])
def test_a_pandas_column_that_has_a_feature_s_name_is_refused(store: FeatureStore, name: str) -> None:
    with pytest.raises(JoinError, match=f"feature column 'trips' of view 'stats' and entity column '{name}'"):
        retrieve(store, entity_frame().assign(**{name: 0}), FEATURES)


def test_a_number_for_an_event_time_is_named_with_its_source(
    onprem: Place, write: Write, make_store: MakeStore
) -> None:
    numbers = source("numbers", write(onprem, "numbers", {"driver_id": [1], "event_timestamp": [17], "n": [1]}))
    store = make_store(DRIVER, view("numbers", numbers, DRIVER))
    asked: list[tuple[Any, dict[str, Any]]] = [(entity_frame(), {}), (None, {"start_date": at(0), "end_date": at(1)})]
    for entity_df, dates in asked:
        with pytest.raises(SchemaError, match=r"'numbers'.*'event_timestamp' is bigint"):
            retrieve(store, entity_df, ["numbers:n"], **dates)


@pytest.mark.parametrize("strategy", ["columnar", "window"])
def test_rows_whose_partition_is_null_may_be_of_any_time(
    strategy: str, onprem: Place, write: Write, make_store: MakeStore, spark: SparkSession
) -> None:
    rows = {"event_timestamp": [at(0)], "n": [1]}
    uri = write(onprem, "days/day=2026-01-10", {"driver_id": [1], **rows})
    write(onprem, "days/day=__HIVE_DEFAULT_PARTITION__", {"driver_id": [2], **rows})
    days = source("days", uri.rpartition("/")[0], date_partition_column="day")
    store = make_store(DRIVER, view("days", days, DRIVER, ttl=timedelta(days=1)), join={"strategy": strategy})
    asked = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [at(1), at(1)]})
    for entity_df in (asked, spark.createDataFrame(asked)):
        assert sorted(answers(retrieve(store, entity_df, ["days:n"]), "driver_id", "n")) == [(1, 1), (2, 1)]


def test_a_file_that_went_away_after_the_call_is_named(onprem: Place, write: Write, make_store: MakeStore) -> None:
    uri = write(onprem, "going", {"driver_id": [1], "event_timestamp": [at(0)], "n": [1]})
    job = retrieve(make_store(DRIVER, view("going", source("going", uri), DRIVER)), entity_frame(), ["going:n"])
    onprem.lake.filesystem().rm(onprem.inside(uri), recursive=True)
    with pytest.raises(SourceNotFoundError, match=r"part-0\.parquet"):
        job.to_df()
