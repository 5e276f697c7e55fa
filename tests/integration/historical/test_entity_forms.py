"""Entity rows of other libraries and of other columns, over both lakes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import ValueType

from feast_hybrid.errors import EntityFrameError
from tests.integration.historical.rows import COLUMNS, FEATURES, ROWS, by_text, entity_frame
from tests.integration.places import answers, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place

pytestmark = [pytest.mark.connect]


@pytest.mark.parametrize("form", ["polars", "pyarrow", "duckdb"])
def test_rows_in_arrow_are_taken_as_those_of_pandas_are(form: str, store: FeatureStore) -> None:
    table = pa.Table.from_pandas(entity_frame(), preserve_index=False)
    rows: Any = {
        "polars": lambda: pl.from_arrow(table),
        "pyarrow": lambda: table,
        "duckdb": lambda: duckdb.connect().from_arrow(table),
    }[form]()
    job = retrieve(store, rows, FEATURES)
    assert answers(job, *COLUMNS) == ROWS
    assert len(job.to_df()) == len(ROWS)
    assert job.to_spark_df().count() == len(ROWS)


def test_uuid_keys_are_their_text(onprem: Place, write: Write, make_store: MakeStore) -> None:
    key = uuid.UUID("1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    uri = write(onprem, "by_uuid", {"u": [str(key)], "event_timestamp": [hour(0)], "n": [7]})
    by_uuid = entity("by_uuid", ValueType.STRING, join_key="u")
    store = make_store(by_uuid, view("uuids", source("uuid_source", uri), by_uuid))
    rows = entity_frame().head(1).assign(u=pd.Series([key], index=[9], dtype=object), event_timestamp=[hour(1)])
    assert answers(retrieve(store, rows, ["uuids:n"]), "u", "n") == [(str(key), 7)]


def test_char_keys_compare_without_padding(
    spark: SparkSession, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    uri = write(onprem, "by_char", {"c": ["ab", "abcde"], "event_timestamp": [hour(0)] * 2, "n": [2, 5]})
    by_char = entity("by_char", ValueType.STRING, join_key="c")
    store = make_store(by_char, view("chars", source("char_source", uri), by_char))
    name = f"chars_{uuid.uuid4().hex}"
    spark.sql(f"CREATE TABLE {name} (c CHAR(5), event_timestamp TIMESTAMP) USING parquet")
    try:
        spark.createDataFrame([("ab", hour(1)), ("abcde", hour(1))], ["c", "event_timestamp"]).write.insertInto(name)
        found = answers(retrieve(store, spark.table(name), ["chars:n"]), "c", "n")
        assert by_text([(c.strip(), n) for c, n in found]) == [("ab", 2), ("abcde", 5)]
    finally:
        spark.sql(f"DROP TABLE {name}")


def test_a_spark_column_that_cannot_be_collected_is_refused(store: FeatureStore, spark: SparkSession) -> None:
    rows = spark.sql(
        "SELECT 1001 AS driver_id, 'Basel' AS city, TIMESTAMP '2026-01-01' AS event_timestamp, "
        "make_interval(1, 2) AS odd"
    )
    with pytest.raises(EntityFrameError, match="entity_df column 'odd' is interval"):
        retrieve(store, rows, FEATURES)


def test_syntax_that_the_parser_does_not_know_is_offered_a_spark_frame(store: FeatureStore) -> None:
    with pytest.raises(EntityFrameError, match=r"give a Spark frame instead, entity_df=spark\.sql"):
        retrieve(store, "SELECT 1 AS a FROM VALUES (1) AS t(a) |> |> SELECT", FEATURES)
