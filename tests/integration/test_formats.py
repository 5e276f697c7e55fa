"""Files of other formats, in folders, globs and partitions; and ``feast apply`` over what it has applied before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from feast import Field
from feast.types import Int64

from tests.integration.places import Places, answers, at, entity, retrieve, source, view

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])
DRIVER = entity("driver", join_key="driver_id")


@pytest.fixture
def entity_df() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [at(1), at(1)]})


@pytest.mark.matrix
@ROLES
def test_avro_is_read_where_the_session_has_its_package(
    lakes_to_test: Places, make_store: MakeStore, spark: SparkSession, folder: str, entity_df: pd.DataFrame, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/rows"
    rows = spark.createDataFrame([(1, at(0), 7), (2, at(0), 8)], "driver_id long, event_timestamp timestamp, n long")
    rows.coalesce(1).write.format("avro").options(**place.lake.hadoop_options()).save(uri)
    store = make_store(DRIVER, view("rows", source("avro_rows", uri, file_format="avro"), DRIVER))
    assert [(feature.name, feature.dtype) for feature in store.get_feature_view("rows").features] == [("n", Int64)]
    assert answers(retrieve(store, entity_df, ["rows:n"]), "driver_id", "n") == [(2, 8), (1, 7)]


@ROLES
def test_csv_in_partitions_is_read_with_its_options(
    lakes_to_test: Places, make_store: MakeStore, spark: SparkSession, folder: str, entity_df: pd.DataFrame, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/rows"
    for n, day in ((1, "2026-01-10"), (2, "2026-01-10"), (1, "2026-01-09")):
        line = f"driver_id;event_timestamp;n\n{n};{day}T00:00:00Z;{n * 10 + int(day[-2:])}\n"
        place.put(f"{uri}/dt={day}/part-{n}.csv", line.encode())
    rows = source(
        "csv_rows",
        uri,
        file_format="csv",
        options={"header": "true", "sep": ";", "inferSchema": "true"},
        date_partition_column="dt",
    )
    store = make_store(DRIVER, view("rows", rows, DRIVER, schema=[Field(name="n", dtype=Int64)]))
    assert answers(retrieve(store, entity_df, ["rows:n"]), "driver_id", "n") == [(2, 30), (1, 20)]


@ROLES
def test_a_glob_takes_the_folders_that_it_matches_and_no_others(
    lakes_to_test: Places,
    make_store: MakeStore,
    write: Write,
    spark: SparkSession,
    entity_df: pd.DataFrame,
    role: str,
) -> None:
    place: Place = getattr(lakes_to_test, role)
    for n, name in enumerate(("eu-1", "eu-2", "us-1"), start=1):
        uri = write(place, name, {"driver_id": [n % 2 + 1], "event_timestamp": [at(n / 10)], "n": [n]})
    store = make_store(DRIVER, view("rows", source("globbed", uri.rpartition("/")[0] + "/eu-*"), DRIVER))
    assert [feature.name for feature in store.get_feature_view("rows").features] == ["n"]
    assert answers(retrieve(store, entity_df, ["rows:n"]), "driver_id", "n") == [(2, 1), (1, 2)]


def registered(store: FeatureStore) -> dict[str, Any]:
    """All that the registry holds, but the times at which it was written."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_times(item) for key, item in value.items() if not key.endswith("Timestamp")}
        return [without_times(item) for item in value] if isinstance(value, list) else value

    held = MessageToDict(store.registry.proto())
    kinds = ("dataSources", "entities", "featureViews")
    return {kind: sorted(map(str, without_times(held[kind]))) for kind in kinds}


def test_a_second_apply_changes_nothing(make_store: MakeStore, write: Write, onprem: Place, cloud: Place) -> None:
    rows = {"driver_id": [1], "event_timestamp": [at(0)]}
    paths = [write(onprem, "here", {**rows, "n": [1]}), write(cloud, "there", {**rows, "m": [1.5], "t": ["x"]})]

    def definitions() -> list[Any]:
        views = [view(f"view{n}", source(f"rows{n}", path), DRIVER) for n, path in enumerate(paths)]
        return [entity("driver", join_key="driver_id"), *views]

    store = make_store(*definitions())
    first = registered(store)
    store.apply(definitions())
    assert registered(store) == first
    assert [len(first[kind]) for kind in ("dataSources", "featureViews")] == [2, 2]
