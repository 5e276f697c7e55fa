"""Entity rows of other libraries and of other columns, over both lakes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import Field, ValueType
from feast.types import Int32, String

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import EntityFrameError
from tests.integration.historical.rows import COLUMNS, FEATURES, ROWS, by_text, entity_frame
from tests.integration.places import answers, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_a_frame_of_pandas_on_spark_is_named_with_what_to_call(store: FeatureStore, spark: SparkSession) -> None:
    rows: Any = spark.createDataFrame(entity_frame()).pandas_api()
    with pytest.raises(
        EntityFrameError, match=r"a pyspark\.pandas\.frame\.DataFrame, .* give entity_df\.to_spark\(\)"
    ):
        retrieve(store, rows, FEATURES)


def test_uuid_keys_are_their_text(onprem: Place, write: Write, make_store: MakeStore) -> None:
    key = uuid.UUID("1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    uri = write(onprem, "by_uuid", {"u": [str(key)], "event_timestamp": [hour(0)], "n": [7]})
    by_uuid = entity("by_uuid", ValueType.STRING, join_key="u")
    store = make_store(by_uuid, view("uuids", source("uuid_source", uri), by_uuid))
    rows = entity_frame().head(1).assign(u=pd.Series([key], index=[9], dtype=object), event_timestamp=[hour(1)])
    assert answers(retrieve(store, rows, ["uuids:n"]), "u", "n") == [(str(key), 7)]


@pytest.fixture
def char_table(spark: SparkSession) -> Iterator[str]:
    """A table whose key ``c`` is ``CHAR(5)``: Spark pads what it gives of it."""
    name = f"chars_{uuid.uuid4().hex}"
    spark.sql(f"CREATE TABLE {name} (c CHAR(5), event_timestamp TIMESTAMP, n INT) USING parquet")
    rows = spark.createDataFrame([("ab", hour(1), 2), ("abcde", hour(1), 5)], ["c", "event_timestamp", "n"])
    rows.write.insertInto(name)
    yield name
    spark.sql(f"DROP TABLE {name}")


CHARS = entity("by_char", ValueType.STRING, join_key="c")


def test_char_keys_of_entity_rows_compare_without_padding(
    spark: SparkSession, onprem: Place, write: Write, make_store: MakeStore, char_table: str
) -> None:
    uri = write(onprem, "by_char", {"c": ["ab", "abcde"], "event_timestamp": [hour(0)] * 2, "n": [2, 5]})
    store = make_store(CHARS, view("chars", source("char_source", uri), CHARS))
    found = answers(retrieve(store, spark.table(char_table).drop("n"), ["chars:n"]), "c", "n")
    assert by_text([(c.strip(), n) for c, n in found]) == [("ab", 2), ("abcde", 5)]


@pytest.mark.parametrize("form", ["pandas", "spark", "table"])
def test_char_keys_of_a_source_compare_without_padding(
    spark: SparkSession, make_store: MakeStore, char_table: str, form: str
) -> None:
    of = HybridSparkSource(table=char_table, site="onprem", timestamp_field="event_timestamp")
    schema = [Field(name="c", dtype=String), Field(name="n", dtype=Int32)]
    store = make_store(CHARS, view("chars", of, CHARS, schema=schema))
    frame = pd.DataFrame({"c": ["ab", "abcde", "ab "], "event_timestamp": [hour(2)] * 3})
    rows: Any = {"pandas": frame, "spark": spark.createDataFrame(frame), "table": spark.table(char_table).drop("n")}[
        form
    ]
    found = answers(retrieve(store, rows, ["chars:n"]), "c", "n")
    assert set(found) >= ({("ab", 2), ("abcde", 5)} if form != "table" else {("ab   ", 2), ("abcde", 5)})


@pytest.mark.parametrize("form", ["polars", "spark", "sql"])
def test_rows_without_request_data_are_refused_when_they_are_given(
    store: FeatureStore, spark: SparkSession, form: str
) -> None:
    """Those of pandas are by Feast itself."""
    text = "SELECT 1L AS driver_id, TIMESTAMP '2026-01-10 02:00' AS event_timestamp"
    rows: Any = {
        "polars": pl.from_pandas(entity_frame()),
        "spark": spark.createDataFrame(entity_frame()),
        "sql": text,
    }
    with pytest.raises(
        EntityFrameError, match="lacks the request data bonus of on-demand feature view 'pay'; it has"
    ):
        retrieve(store, rows[form], ["pay:paid"])


def test_a_spark_column_that_cannot_be_collected_is_refused(store: FeatureStore, spark: SparkSession) -> None:
    rows = spark.sql(
        "SELECT 1001 AS driver_id, 'Basel' AS city, TIMESTAMP '2026-01-01' AS event_timestamp, "
        "make_interval(1, 2) AS odd"
    )
    with pytest.raises(EntityFrameError, match="entity_df column 'odd' is interval"):
        retrieve(store, rows, FEATURES)


@pytest.mark.parametrize(
    "text",
    [
        "FROM VALUES (1001L, TIMESTAMP '2026-01-11', 0) AS t(driver_id, event_timestamp, b) |> DROP b",
        "FROM VALUES (1000L, TIMESTAMP '2026-01-11') AS t(driver_id, event_timestamp) |> SET driver_id = 1001L",
    ],
)
def test_syntax_that_the_parser_does_not_know_is_offered_a_spark_frame(
    store: FeatureStore, spark: SparkSession, text: str
) -> None:
    with pytest.raises(EntityFrameError, match=r"give a Spark frame instead, entity_df=spark\.sql"):
        retrieve(store, text, ["stats:trips"])
    assert retrieve(store, spark.sql(text), ["stats:trips"]).to_df()["driver_id"].tolist() == [1001]
