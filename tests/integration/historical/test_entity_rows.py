"""``get_historical_features`` over both lakes: the forms that entity rows have."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import EntityFrameError
from tests.integration.places import answers, entity, feature_store, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place, Places

from tests.integration.historical.rows import COLUMNS, DRIVER, ENTITY_ROWS, FEATURES, ROWS, by_text, entity_frame

pytestmark = [pytest.mark.connect, pytest.mark.matrix]


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
    uri = write(onprem, "rows", {"__fh_row": [7, 8], "event_timestamp": [hour(0), hour(0)], "n": [70, 80]})
    key = entity("odd", join_key="__fh_row")
    store = make_store(key, view("odd_rows", source("odd_source", uri), key))
    entity_rows = [(8, hour(1), "x"), (7, hour(1), "y"), (9, hour(1), "z")]
    columns = ["__fh_row", "event_timestamp", "__fh_order"]
    rows = (
        pd.DataFrame(entity_rows, columns=columns)
        if form == "pandas"
        else spark.createDataFrame(entity_rows, columns)
    )
    job = retrieve(store, rows, ["odd_rows:n"])
    assert by_text(answers(job, "__fh_row", "__fh_order", "n")) == [(7, "y", 70), (8, "x", 80), (9, "z", None)]


@pytest.mark.parametrize("unit", ["s", "ns, tz=Asia/Tokyo"])
def test_a_pandas_frame_may_hold_arrow_s_times(unit: str, store: FeatureStore) -> None:
    times = [hour(2) if "tz" in unit else hour(2).replace(tzinfo=None)] * 2
    dtype: Any = f"timestamp[{unit}][pyarrow]"
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
    times = pd.to_datetime([hour(1), hour(1)], utc=True).as_unit("ns") + pd.to_timedelta([-500, 999], unit="ns")
    result = retrieve(store, pd.DataFrame({"driver_id": [1, 1], "event_timestamp": times}), ["stats:trips"]).to_df()
    assert list(result["trips"]) == [1, 2]
    assert list(result["event_timestamp"]) == list(times)


def test_times_of_another_zone_are_the_same_instants(store: FeatureStore) -> None:
    frame = entity_frame()
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("Asia/Kolkata")
    assert answers(retrieve(store, frame, FEATURES), *COLUMNS) == ROWS


def test_a_spark_frame_gives_entity_rows(store: FeatureStore, spark: SparkSession) -> None:
    schema = "driver_id int, city string, event_timestamp timestamp"
    rows = [(key, city, hour(hours)) for key, city, hours in ENTITY_ROWS]
    job = retrieve(store, spark.createDataFrame(rows, schema), FEATURES)
    assert by_text(answers(job, *COLUMNS)) == by_text(ROWS)


def test_a_common_table_expression_called_like_a_source_stands_for_itself(
    onprem: Place, write: Write, make_store: MakeStore
) -> None:
    uri = write(onprem, "seen", {"driver_id": [1], "event_timestamp": [hour(0)], "n": [7]})
    store = make_store(
        DRIVER, view("seen", source("seen_rows", uri), DRIVER), source("gone_rows", f"{onprem.uri}/nothing/is/here")
    )
    query = f"WITH gone_rows AS (SELECT 1 AS driver_id, TIMESTAMP '{hour(1).isoformat()}' AS event_timestamp) "
    assert answers(retrieve(store, query + "SELECT * FROM gone_rows", ["seen:n"]), "driver_id", "n") == [(1, 7)]


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
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)]}
    schema = "driver_id bigint, event_timestamp timestamp, n bigint"
    spark.createDataFrame([(1, hour(0), 10)], schema).write.saveAsTable("a_trips")
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
        table = {"driver_id": [n], "event_timestamp": [hour(0)], "trips": [n * 100]}
        rows = view("same", source("same_rows", write(place, "same", table)), DRIVER)
        folder = tmp_path_factory.mktemp("same")
        stores.append(feature_store(lakes_to_test.sites(), folder, DRIVER, rows))
    together = threading.Barrier(4)

    def retrieve_rows(n: int) -> list[tuple[Any, ...]]:
        together.wait(60)
        job = retrieve(stores[n % 2], "SELECT * FROM same_rows", ["same:trips"], full_feature_names=True)
        together.wait(60)
        return answers(job, "driver_id", "same__trips")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(retrieve_rows, range(4))) == [[(0, 0)], [(1, 100)], [(0, 0)], [(1, 100)]]


def test_without_entity_rows_the_view_s_own_rows_between_the_dates_are_taken(store: FeatureStore) -> None:
    job = retrieve(store, None, ["stats:trips"], start_date=hour(0), end_date=hour(1))
    found = sorted(answers(job, "driver_id", "event_timestamp", "trips"))
    assert found == [(1, hour(0), 1), (1, hour(1), 2), (2, hour(0), 3)]


def test_naive_dates_are_utc(store: FeatureStore) -> None:
    start, end = hour(1).replace(tzinfo=None), hour(2).replace(tzinfo=None)
    job = retrieve(store, None, ["stats:trips"], start_date=start, end_date=end)
    assert sorted(answers(job, "driver_id", "event_timestamp", "trips")) == [(1, hour(1), 2), (2, hour(2), 4)]


def test_without_entity_rows_views_of_the_same_keys_are_united(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    rides = write(onprem, "rides", {"driver_id": [1, 1], "event_timestamp": [hour(0), hour(2)], "rides": [5, 6]})
    # The same key in another width, one (key, time) in common.
    keys = pa.array([1, 2], pa.int32())
    tips = write(
        cloud, "tips", pa.table({"driver_id": keys, "event_timestamp": [hour(0), hour(1)], "tip": [0.5, 0.6]})
    )
    rides_view = view("rides", source("rides", rides), DRIVER)
    store = make_store(DRIVER, rides_view, view("tips", source("tips", tips), DRIVER))
    job = retrieve(store, None, ["rides:rides", "tips:tip"], start_date=hour(0), end_date=hour(9))
    assert sorted(answers(job, "driver_id", "event_timestamp", "rides", "tip")) == [
        (1, hour(0), 5, 0.5),
        (1, hour(2), 6, 0.5),
        (2, hour(1), None, 0.6),
    ]


def test_without_entity_rows_keys_that_a_view_lacks_are_null(store: FeatureStore) -> None:
    job = retrieve(store, None, ["stats:trips", "weather:temp"], start_date=hour(1), end_date=hour(2))
    assert by_text(answers(job, "driver_id", "city", "event_timestamp", "trips", "temp")) == by_text(
        [(1, None, hour(1), 2, None), (2, None, hour(2), 4, None), (None, "ams", hour(1), None, 11)]
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
        retrieve(store, None, ["stats:rate"], start_date=hour(2), end_date=hour(1))


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
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
    assert answers(retrieve(store, entity_df, ["none:n"]), "driver_id", "n") == [(1, None)]
