"""``get_historical_features`` over both lakes: what the job promises, and says of itself."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast.types import Bytes, String

from feast_hybrid.errors import HybridError
from tests.integration.places import hour, retrieve, rows_of, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import DataFrame, SparkSession

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.jobs import Jobs
    from tests.integration.places import Place

from tests.integration.historical.rows import DRIVER, FEATURES, entity_frame

pytestmark = [pytest.mark.connect, pytest.mark.matrix]


# One plan, lazily


def test_one_plan_reads_both_lakes(store: FeatureStore) -> None:
    description = retrieve(store, entity_frame(), FEATURES).explain().splitlines()
    assert re.match(r"view 'stats': columnar .* 1 files on site 'onprem'", description[0])
    assert re.match(r"view 'weather': columnar .* 1 files on site 'cloud'", description[1])


def test_one_plan_of_spark_s_own_readers_reads_both_lakes(
    make_store: MakeStore, write: Write, onprem: Place, cloud: Place
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)]}
    near = view("near", source("near_rows", write(onprem, "near", {**rows, "a": [1]})), DRIVER)
    far = view("far", source("far_rows", write(cloud, "far", {**rows, "b": [1]})), DRIVER)
    store = make_store(DRIVER, near, far, join={"strategy": "window"})
    frame = retrieve(store, entity_frame(), ["near:a", "far:b"]).to_spark_df()
    # A scheme of ours is by the sign-in: abfs-abcdefghijklmnop.
    read = [re.sub(r"^(abfss?)-[a-z2-7]+:", r"\1:", uri).partition("/job/") for uri in frame.inputFiles()]
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
    dates = {"start_date": hour(0), "end_date": hour(5)} if form == "dates" else {}
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


# What else a job says, and the types it carries


def test_metadata_says_features_keys_and_the_first_and_last_time(store: FeatureStore, spark: SparkSession) -> None:
    for entity_df in (entity_frame(), spark.createDataFrame(entity_frame())):
        found = retrieve(store, entity_df, FEATURES).metadata
        assert found is not None
        assert sorted(found.features) == sorted(FEATURES)
        assert sorted(found.keys) == ["city", "driver_id", "note"]
        assert (found.min_event_timestamp, found.max_event_timestamp) == (hour(0), hour(2))


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
    keys = {"driver_id": pa.array([1]), "event_timestamp": pa.array([hour(0)], pa.timestamp("us", "UTC"))}
    return pa.table({**keys, **{name: pa.array([value], data_type) for name, (data_type, value) in columns.items()}})


def test_values_of_every_type_come_back_equal(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    table = every_type()
    names = table.column_names[2:]
    stored = {place: source(f"types_{place.site_name}", write(place, "types", table)) for place in (onprem, cloud)}
    # A declared type does not change what is read; but bytes that are declared as text are text.
    is_bytes = {name: pa.types.is_binary(table[name].type) for name in names}
    fields = [Field(name=name, dtype=Bytes if is_bytes[name] else String) for name in names]
    store = make_store(
        DRIVER,
        view("here", stored[onprem], DRIVER, schema=fields),
        view("there", stored[cloud], DRIVER, schema=fields),
    )
    entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
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
