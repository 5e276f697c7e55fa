"""Which tables a query reads: those of its text that are no common table expressions of its own."""

from __future__ import annotations

import pytest

from feast_hybrid.errors import SourceError
from feast_hybrid.spark.sql import single_select, tables_read


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT a FROM t", {"t"}),
        ("SELECT a FROM T JOIN `u v` ON true", {"t", "u v"}),
        ("SELECT a FROM db.t", set()),
        ("SELECT a FROM t WHERE k IN (SELECT k FROM u)", {"t", "u"}),
        ("WITH t AS (SELECT 1 AS a) SELECT a FROM t", set()),
        ("WITH T AS (SELECT 1 AS a) SELECT a FROM t", set()),
        ("WITH t AS (SELECT a FROM t) SELECT a FROM t", {"t"}),
        ("WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3) SELECT a FROM t", set()),
        ("WITH t AS (SELECT a FROM u), v AS (SELECT a FROM t) SELECT a FROM v", {"u"}),
        ("WITH v AS (SELECT a FROM t), t AS (SELECT 1 AS a) SELECT a FROM v JOIN t", {"t"}),
        ("WITH t AS (SELECT 1 AS a) SELECT a FROM u WHERE a IN (SELECT a FROM t)", {"u"}),
        ("SELECT a FROM (WITH t AS (SELECT 1 AS a) SELECT a FROM t) JOIN t", {"t"}),
        ("WITH t AS (SELECT 1 AS a) SELECT a FROM t UNION ALL SELECT a FROM t", set()),
        ("WITH t AS (SELECT 1 AS a) SELECT a FROM db.t", set()),
    ],
)
def test_a_query_reads_the_tables_that_it_does_not_define(query: str, tables: set[str]) -> None:
    assert tables_read(single_select(query, what="the query", error=SourceError)) == tables
