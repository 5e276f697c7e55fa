"""Feast's own Spark store gave four wrong answers when it was measured; here are the right ones.

Each test joins one view on premises with one in the cloud.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from tests.integration.places import answers, entity, hour, source, view
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write, Zone
    from tests.integration.places import Place

pytestmark = pytest.mark.matrix


def test_keys_that_read_alike_when_written_together_do_not_mix(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    shop, shelf = entity("shop"), entity("shelf")
    keys = {"shop": [1, 11], "shelf": [11, 1], "event_timestamp": [hour(0), hour(0)]}
    stock = source("stock", write(onprem, "stock", {**keys, "items": [100, 200]}))
    sales = source("sales", write(cloud, "sales", {**keys, "sold": [1, 2]}))
    store = make_store(
        shop,
        shelf,
        view("stock", stock, shop, shelf, ttl=timedelta(days=1)),
        view("sales", sales, shop, shelf, ttl=timedelta(days=1)),
    )
    entity_df = pd.DataFrame({"shop": [1, 11], "shelf": [11, 1], "event_timestamp": [hour(1), hour(1)]})
    job = store.get_historical_features(entity_df, ["stock:items", "sales:sold"])
    assert answers(job, "shop", "shelf", "items", "sold") == [
        (1, 11, 100, 1),
        (11, 1, 200, 2),
    ]


def test_rows_that_tie_give_one_answer_and_always_the_same(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore, spark: SparkSession
) -> None:
    driver = entity("driver", join_key="driver_id")
    # Every row ties with 20 others on key, event time and created; in files, so that partitions reorder them.
    for file in range(7):
        rows = [(key, value) for key in (1, 2) for value in (3 * file, 3 * file + 1, 3 * file + 2)]
        table = {
            "driver_id": [key for key, _ in rows],
            "event_timestamp": [hour(0)] * len(rows),
            "created": [hour(1)] * len(rows),
        }
        trips = write(onprem, "trips", {**table, "trips": [v for _, v in rows]}, file=f"part-{file}.parquet")
        moods = write(cloud, "moods", {**table, "mood": [f"m{v:02}" for _, v in rows]}, file=f"part-{file}.parquet")
    store = make_store(
        driver,
        view("trips", source("trips", trips, "created"), driver),
        view("moods", source("moods", moods, "created"), driver),
    )
    entity_df = pd.DataFrame({"driver_id": [2, 1, 2], "event_timestamp": [hour(2), hour(2), hour(3)]})
    found = []
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    try:
        for partitions, split in ((1, "128m"), (3, "1k"), (7, "4k")):
            spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
            spark.conf.set("spark.sql.files.maxPartitionBytes", split)
            job = store.get_historical_features(entity_df, ["trips:trips", "moods:mood"])
            found.append(answers(job, "driver_id", "trips", "mood"))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")
        spark.conf.set("spark.sql.files.maxPartitionBytes", str(before))
    # The documented rule: the greatest value of the requested features.
    assert found == [[(2, 20, "m20"), (1, 20, "m20"), (2, 20, "m20")]] * 3


@pytest.mark.parametrize(
    ("night", "zone"),
    [
        pytest.param(datetime(2026, 1, 10, 3, tzinfo=UTC), "America/New_York", id="a winter night"),
        pytest.param(datetime(2026, 3, 8, 7, tzinfo=UTC), "America/New_York", id="the hour that is left out"),
        pytest.param(datetime(2026, 11, 1, 6, tzinfo=UTC), "America/New_York", id="the hour that is there twice"),
    ],
)
def test_the_time_zone_of_the_session_changes_no_answer(
    onprem: Place,
    cloud: Place,
    write: Write,
    make_store: MakeStore,
    session_zone: Zone,
    night: datetime,
    zone: str,
) -> None:
    sensor = entity("sensor")
    times = [night + timedelta(minutes=minutes) for minutes in (-60, -30, 0, 30, 60)]
    values = [0, 1, 2, 3, 4]
    heat = write(onprem, "heat", {"sensor": [7] * 5, "event_timestamp": times, "heat": values})
    # The same instants, without a zone: these are UTC.
    naive = [time.replace(tzinfo=None) for time in times]
    wind = write(cloud, "wind", {"sensor": [7] * 5, "event_timestamp": naive, "wind": values})
    store = make_store(
        sensor,
        view("heat", source("heat", heat), sensor, ttl=timedelta(minutes=20)),
        view("wind", source("wind", wind), sensor, ttl=timedelta(minutes=20)),
    )
    entity_times = [night + timedelta(minutes=minutes) for minutes in (-60, -39, -30, -15, 0, 20, 21, 45, 75)]
    expected: list[int | None] = [0, None, 1, 1, 2, 2, None, 3, 4]
    wanted = [(time, value, value) for time, value in zip(entity_times, expected, strict=True)]
    features = ["heat:heat", "wind:wind"]
    aware = pd.DataFrame({"sensor": [7] * 9, "event_timestamp": entity_times})
    unaware = aware.assign(event_timestamp=aware["event_timestamp"].dt.tz_localize(None))
    for name in ("UTC", zone):
        with session_zone(name):
            assert (
                answers(store.get_historical_features(aware, features), "event_timestamp", "heat", "wind") == wanted
            )
            job = store.get_historical_features(unaware, features)
            assert answers(job, "heat", "wind") == [row[1:] for row in wanted]


@reliability("Load", "threads that retrieve on one session at once", "each gets its own answers")
def test_threads_on_one_session_each_get_their_own_answers(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore, spark: SparkSession
) -> None:
    driver = entity("driver", join_key="driver_id")
    views = []
    for n in range(3):
        rows = {"driver_id": [1, 2, 3], "event_timestamp": [hour(0)] * 3}
        numbers = write(onprem, f"numbers{n}", {**rows, "value": [n * 10 + key for key in (1, 2, 3)]})
        texts = write(cloud, f"texts{n}", {**rows, "text": [f"{n}-{key}" for key in (1, 2, 3)]})
        views.append(view(f"numbers{n}", source(f"numbers{n}", numbers), driver))
        views.append(view(f"texts{n}", source(f"texts{n}", texts), driver))
    store = make_store(driver, *views)

    def retrieve_rows(caller: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        n, key, form = caller % 3, 1 + caller % 2, caller % 4
        frame = pd.DataFrame({"driver_id": [key, 3], "event_timestamp": [hour(1)] * 2, "caller": [caller] * 2})
        entity_df: Any = frame
        if form == 1:
            entity_df = spark.createDataFrame(frame)
        elif form >= 2:
            # All of these callers give one name to rows of their own.
            entity_df = (
                f"WITH mine AS (SELECT driver_id, event_timestamp FROM numbers{n} WHERE driver_id IN ({key}, 3)) "
                f"SELECT driver_id, event_timestamp, {caller} AS caller FROM mine"
            )
        job = store.get_historical_features(entity_df, [f"numbers{n}:value", f"texts{n}:text"])
        found = answers(job, "caller", "driver_id", "value", "text")
        expected = [(caller, k, n * 10 + k, f"{n}-{k}") for k in (key, 3)]
        return sorted(found), sorted(expected)

    with ThreadPoolExecutor(16) as pool:
        for found, expected in pool.map(retrieve_rows, range(18)):
            assert found == expected
