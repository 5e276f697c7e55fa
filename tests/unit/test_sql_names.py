"""Which tables an SQL text reads: a common table expression that is called like a source is none."""

from __future__ import annotations

import pytest

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.spark.sql import columns_read, single_select, tables_read


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT * FROM trips", {"trips"}),
        ("WITH trips AS (SELECT 1 AS k) SELECT * FROM trips", set()),
        # Its own text is outside of its scope.
        ("WITH trips AS (SELECT * FROM trips WHERE k > 0) SELECT * FROM trips", {"trips"}),
        ("WITH `Trips` AS (SELECT 1 AS k) SELECT * FROM TRIPS t JOIN mood m ON t.k = m.k", {"mood"}),
        # In the scope of one part of a union alone.
        ("SELECT k FROM (WITH trips AS (SELECT 1 AS k) SELECT k FROM trips) UNION SELECT k FROM trips", {"trips"}),
        ("WITH a AS (WITH trips AS (SELECT 1 AS k) SELECT * FROM trips) SELECT * FROM a", set()),
        ("WITH a AS (WITH trips AS (SELECT 1 AS k) SELECT * FROM trips) SELECT * FROM a, trips", {"trips"}),
        ("WITH trips AS (SELECT 1 AS k), b AS (SELECT * FROM trips) SELECT * FROM b", set()),
        ("WITH b AS (SELECT * FROM trips), trips AS (SELECT 1 AS k) SELECT * FROM b, trips", {"trips"}),
        ("WITH trips AS (SELECT 1 AS k) SELECT * FROM mood WHERE k IN (SELECT k FROM trips)", {"mood"}),
        ("WITH trips AS (SELECT 1 AS k) SELECT (SELECT max(k) FROM trips) AS top FROM mood", {"mood"}),
        ("SELECT * FROM mood WHERE EXISTS (WITH mood AS (SELECT 1 AS k) SELECT * FROM mood)", {"mood"}),
        ("WITH trips AS (SELECT 1 AS k) SELECT * FROM db.trips", set()),
        ("SELECT trips.k FROM mood AS trips", {"mood"}),
        ("SELECT * FROM parquet.`/a/trips`", set()),
        ("WITH RECURSIVE n AS (SELECT 1 AS k UNION ALL SELECT k + 1 FROM n WHERE k < 3) SELECT * FROM n", set()),
        ("FROM trips SELECT k", {"trips"}),
        ("SELECT * FROM `two words`", {"two words"}),
    ],
)
def test_the_names_that_a_query_reads(query: str, names: set[str]) -> None:
    assert tables_read(single_select(query, what="entity_df", error=EntityFrameError)) == names


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("SELECT a, b AS c FROM t WHERE `D` > 1", {"a", "b", "c", "D", "t"}),
        ("SELECT count(*) AS n FROM t GROUP BY k", {"n", "t", "k"}),
        ("SELECT * FROM t", None),
        ("SELECT t.* FROM t", None),
        ("SELECT k, event_timestamp FROM t NATURAL JOIN u", None),
        ("SELECT a FROM t PIVOT (sum(n) FOR m IN ('x', 'y'))", None),
        ("WITH x AS (SELECT * FROM t) SELECT a FROM x", None),
    ],
)
def test_the_columns_that_a_query_may_read(query: str, columns: set[str] | None) -> None:
    assert columns_read(single_select(query, what="entity_df", error=EntityFrameError)) == columns
