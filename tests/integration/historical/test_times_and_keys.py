"""``get_historical_features`` over both lakes: which rows count by their time, and which keys match."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import Field, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import JoinError, SchemaError, SourceNotFoundError
from tests.integration.places import answers, entity, hour, retrieve, rows_of, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write, Zone
    from tests.integration.places import Place

from tests.integration.historical.rows import DRIVER, FEATURES, entity_frame

pytestmark = [pytest.mark.connect, pytest.mark.matrix]


# Time


@pytest.mark.parametrize("ttl", [None, timedelta(0)])
def test_without_a_ttl_a_row_never_grows_too_old(
    ttl: timedelta | None, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    old = datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC)
    path = write(onprem, "old", {"driver_id": [1], "event_timestamp": [old], "n": [1]})
    store = make_store(DRIVER, view("old", source("old", path), DRIVER, ttl=ttl))
    times = [hour(0), old, old - timedelta(microseconds=1)]
    entity_df = pd.DataFrame({"driver_id": [1, 1, 1], "event_timestamp": times})
    assert answers(retrieve(store, entity_df, ["old:n"]), "n") == [(1,), (1,), (None,)]


def test_a_row_counts_as_long_as_the_ttl_and_not_a_microsecond_longer(store: FeatureStore) -> None:
    edge = hour(1) + timedelta(days=1)
    times = [edge, edge + timedelta(microseconds=1)]
    entity_df = pd.DataFrame({"driver_id": [1, 1], "event_timestamp": times})
    assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(2,), (None,)]


def test_rows_written_later_do_not_count_when_filtered_by_created(store: FeatureStore) -> None:
    # The row of hour 2 was written at hour 9.
    entity_df = pd.DataFrame({"driver_id": [2, 2], "event_timestamp": [hour(3), hour(9)]})
    assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(4,), (4,)]
    filtered = retrieve(store, entity_df, ["stats:trips"], filter_by_created_timestamp=True)
    assert answers(filtered, "trips") == [(3,), (4,)]


def test_event_times_may_be_dates_or_have_no_zone(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    days = {"driver_id": [1, 1], "event_timestamp": [date(2026, 1, 10), date(2026, 1, 11)], "day": [10, 11]}
    naive = [hour(0).replace(tzinfo=None), hour(24).replace(tzinfo=None)]
    hours = {"driver_id": [1, 1], "event_timestamp": naive, "created": naive, "hour": [0, 24]}
    store = make_store(
        DRIVER,
        view("days", source("days", write(onprem, "days", days)), DRIVER, ttl=timedelta(hours=20)),
        view("hours", source("hours", write(cloud, "hours", hours), "created"), DRIVER, ttl=timedelta(hours=20)),
    )
    times = [hour(-0.001), hour(0), hour(20), hour(21), hour(24), hour(44), hour(45)]
    entity_df = pd.DataFrame({"driver_id": [1] * 7, "event_timestamp": times})
    job = retrieve(store, entity_df, ["days:day", "hours:hour"], filter_by_created_timestamp=True)
    expected = [(None, None), (10, 0), (10, 0), (None, None), (11, 24), (11, 24), (None, None)]
    assert answers(job, "day", "hour") == expected


# Keys


def test_a_text_key_against_a_number_is_refused_with_view_and_types(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": ["1"], "event_timestamp": [hour(1)]})
    with pytest.raises(SchemaError, match=r"(?s)stats.*driver_id.*string.*bigint|stats.*bigint.*string"):
        retrieve(store, entity_df, ["stats:trips"])


def test_keys_of_other_integer_widths_match_by_value(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
    for width in ("int8", "int32", "uint64", "float64", "Int64"):
        job = retrieve(store, entity_df.astype({"driver_id": width}), ["stats:trips"])
        assert answers(job, "trips") == [(2,), (3,)], width


def test_a_key_declared_as_text_over_an_integer_column_still_matches(
    onprem: Place, write: Write, make_store: MakeStore
) -> None:
    customer = entity("customer", ValueType.STRING)
    path = write(onprem, "orders", {"customer": [1001], "event_timestamp": [hour(0)], "orders": [3]})
    schema = [Field(name="customer", dtype=String), Field(name="orders", dtype=Int64)]
    store = make_store(customer, view("orders", source("orders", path), customer, schema=schema))
    entity_df = pd.DataFrame({"customer": [1001, 1002], "event_timestamp": [hour(1), hour(1)]})
    assert answers(retrieve(store, entity_df, ["orders:orders"]), "orders") == [(3,), (None,)]


def test_null_keys_match_nothing_and_come_back_null(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": [1, None], "city": [None, "ber"], "event_timestamp": [hour(1), hour(1)]})
    job = retrieve(store, entity_df, ["stats:trips", "weather:temp"])
    assert answers(job, "driver_id", "city", "trips", "temp") == [(1, None, 2, None), (None, "ber", None, 20)]


# What reads as a time, or as a name, in one place only


def test_an_on_demand_view_sees_times_in_utc_on_spark_too(
    onprem: Place, write: Write, make_store: MakeStore, session_zone: Zone
) -> None:
    seen = source("seen", write(onprem, "seen", {"driver_id": [1], "event_timestamp": [hour(0)], "last": [hour(0)]}))
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
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(2)]})
    with session_zone("America/New_York"):
        job = retrieve(store, entity_df, ["seen:last", "clock:hour", "clock:later"])
        assert answers(job, "hour", "later") == [(0, hour(1))]
        frame = job.to_spark_df()
        assert frame.schema["later"].dataType.simpleString() == "timestamp"
        assert rows_of(frame.toArrow(), "hour", "later", "last") == [(0, hour(1), hour(0))]


def test_times_without_a_zone_in_sql_text_are_utc(store: FeatureStore, session_zone: Zone) -> None:
    with session_zone("America/New_York"):
        text = "SELECT 1L AS driver_id, TIMESTAMP '2026-01-10 02:00:00' AS event_timestamp"
        assert answers(retrieve(store, text, ["stats:trips"]), "event_timestamp", "trips") == [(hour(2), 2)]


@pytest.mark.parametrize("name", ["trips", "Trips"])
def test_a_pandas_column_that_has_a_feature_s_name_is_refused(store: FeatureStore, name: str) -> None:
    with pytest.raises(JoinError, match=f"feature column 'trips' of view 'stats' and entity column '{name}'"):
        retrieve(store, entity_frame().assign(**{name: 0}), FEATURES)


def test_a_number_for_an_event_time_is_named_with_its_source(
    onprem: Place, write: Write, make_store: MakeStore
) -> None:
    numbers = source("numbers", write(onprem, "numbers", {"driver_id": [1], "event_timestamp": [17], "n": [1]}))
    store = make_store(DRIVER, view("numbers", numbers, DRIVER))
    requests: list[tuple[Any, dict[str, Any]]] = [
        (entity_frame(), {}),
        (None, {"start_date": hour(0), "end_date": hour(1)}),
    ]
    for entity_df, dates in requests:
        with pytest.raises(SchemaError, match=r"'numbers'.*'event_timestamp' is bigint"):
            retrieve(store, entity_df, ["numbers:n"], **dates)


@pytest.mark.parametrize("strategy", ["columnar", "window"])
def test_rows_whose_partition_is_null_may_be_of_any_time(
    strategy: str, onprem: Place, write: Write, make_store: MakeStore, spark: SparkSession
) -> None:
    rows = {"event_timestamp": [hour(0)], "n": [1]}
    uri = write(onprem, "days/day=2026-01-10", {"driver_id": [1], **rows})
    write(onprem, "days/day=__HIVE_DEFAULT_PARTITION__", {"driver_id": [2], **rows})
    days = source("days", uri.rpartition("/")[0], date_partition_column="day")
    store = make_store(DRIVER, view("days", days, DRIVER, ttl=timedelta(days=1)), join={"strategy": strategy})
    entity_rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
    for entity_df in (entity_rows, spark.createDataFrame(entity_rows)):
        assert sorted(answers(retrieve(store, entity_df, ["days:n"]), "driver_id", "n")) == [(1, 1), (2, 1)]


@pytest.mark.parametrize("strategy", ["columnar", "window"])
@pytest.mark.parametrize(
    ("text_format", "folders", "outside"),
    [
        ("%Y-%m-%d", ["2026-01-10", "2026-1-10", "20260110", "unknown", "2026-02-30"], "2027-01-10"),
        ("%Y%m%d", ["20260110", "2026110", "0"], "20270110"),
    ],
)
def test_only_folders_that_are_named_as_the_format_says_are_cut(
    strategy: str,
    text_format: str,
    folders: list[str],
    outside: str,
    onprem: Place,
    write: Write,
    make_store: MakeStore,
) -> None:
    for key, day in enumerate([*folders, outside]):
        rows = {"driver_id": [key], "event_timestamp": [hour(0)], "n": [key]}
        uri = write(onprem, f"days/day={day}", rows)
    days = source(
        "days",
        uri.rpartition("/")[0],
        date_partition_column="day",
        date_partition_column_format=text_format,
    )
    store = make_store(DRIVER, view("days", days, DRIVER, ttl=timedelta(days=1)), join={"strategy": strategy})
    keys = range(len(folders) + 1)
    entity_rows = pd.DataFrame({"driver_id": keys, "event_timestamp": [hour(1)] * len(keys)})
    there = [(key, key) for key in range(len(folders))]
    expected = [*there, (len(folders), None)]
    assert sorted(answers(retrieve(store, entity_rows, ["days:n"]), "driver_id", "n")) == expected
    pulled = HybridSparkOfflineStore.pull_all_from_table_or_query(
        store.config, days, ["driver_id"], ["n"], "event_timestamp", None, hour(0), hour(1)
    )
    assert sorted(answers(pulled, "driver_id", "n")) == there


def test_a_file_that_went_away_after_the_call_is_named(onprem: Place, write: Write, make_store: MakeStore) -> None:
    uri = write(onprem, "going", {"driver_id": [1], "event_timestamp": [hour(0)], "n": [1]})
    job = retrieve(make_store(DRIVER, view("going", source("going", uri), DRIVER)), entity_frame(), ["going:n"])
    onprem.lake.filesystem().rm(onprem.inside(uri), recursive=True)
    with pytest.raises(SourceNotFoundError, match=r"part-0\.parquet"):
        job.to_df()
