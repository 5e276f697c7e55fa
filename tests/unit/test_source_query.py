"""A source that is a query: one SELECT, and nothing else."""

from __future__ import annotations

import logging

import pytest

from tests.unit.definitions import refusal, source


class TestQuery:
    @pytest.mark.parametrize(
        "query",
        [
            "select a from t",
            "SELECT * FROM t WHERE b > 1 ORDER BY c LIMIT 3",
            "with x as (select 1 as a) select * from x",
            "select a from t union all select a from u",
            "select a from t except select a from u",
            "(select a from t)",
            "((select a from t) union (select a from u))",
            "select a from t -- with a comment",
            "/* first */ select a from t",
            "select ';' as a",
            "select `a;b` from `drop table`",
            "select a, row_number() over (partition by b order by c) as r from t qualify r = 1",
            "select x from t lateral view explode(xs) as x",
            "from t select a",
        ],
    )
    def test_a_single_select_is_taken_as_it_is(self, query: str) -> None:
        assert source(path=None, query=query).query == query

    @pytest.mark.parametrize("query", ["select 1 as a;", "  select 1 as a ; ", "\nselect 1 as a\n;\n"])
    def test_space_around_and_a_semicolon_behind_are_taken_off(self, query: str) -> None:
        assert source(path=None, query=query).query == "select 1 as a"

    def test_a_comment_may_follow_the_semicolon(self) -> None:
        assert source(path=None, query="select 1 as a; -- done").query

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("insert into t select 1", "INSERT"),
            ("drop table t", "DROP"),
            ("delete from t", "DELETE"),
            ("update t set a = 1", "UPDATE"),
            ("merge into t using s on 1=1 when matched then delete", "MERGE"),
            ("create table x as select 1", "CREATE"),
            ("set spark.x=1", "SET"),
            ("show tables", "SHOW"),
            ("explain select 1", "EXPLAIN"),
            ("execute immediate 'drop table x'", "EXECUTE"),
            ("with x as (select 1) insert into t select * from x", "INSERT"),
            ("select 1 as a; select 2 as b", "SELECT, SELECT"),
            ("select 1 as a; drop table t", "SELECT, DROP"),
            ("flights", "FLIGHTS"),
            (";", ";"),
            ("-- nothing", "nothing"),
        ],
    )
    def test_anything_else_is_refused_quietly(self, query: str, found: str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            assert refusal(path=None, query=query) == f"source 's': query must be a single SELECT; found {found}."
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_an_insert_into_many_tables_is_refused_whether_or_not_the_parser_knows_it(self) -> None:
        found = refusal(path=None, query="from a insert into b select *")
        assert found.startswith("source 's': query must be a single SELECT; found MULTITABLEINSERTS.") or (
            "does not parse as Spark SQL" in found and "column 13" in found  # SQLGlot before 30.25
        )

    @pytest.mark.parametrize(
        "query",
        [
            "select a from",
            "select (a from t",
            "select a from t where",
            "select 'a from t",
            "select * from (insert into x select 1)",
        ],
    )
    def test_what_does_not_parse_is_refused_with_the_place(self, query: str) -> None:
        message = refusal(path=None, query=query)
        assert message.startswith("source 's': query does not parse as Spark SQL: ")
        assert "\x1b" not in message
        assert "\n" not in message

    def test_a_select_of_nothing_is_refused(self) -> None:
        assert refusal(path=None, query="select") == "source 's': query selects no columns."
