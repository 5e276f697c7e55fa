"""The data source: what defines one, what is refused, and how it travels through Feast's registry."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import RoutingError, SourceError

PATH = "hdfs://lake/flights"


def source(**changes: Any) -> HybridSparkSource:
    given: dict[str, Any] = {"name": "s", "path": PATH, "timestamp_field": "ts"} | changes
    return HybridSparkSource(**{key: value for key, value in given.items() if value is not None})


def refusal(**changes: Any) -> str:
    with pytest.raises(SourceError) as refused:
        source(**changes)
    return str(refused.value)


class TestDefinition:
    def test_a_path_is_parquet_unless_said_otherwise(self) -> None:
        assert (source().file_format, source(file_format="CSV").file_format) == ("parquet", "csv")

    def test_a_file_format_that_is_a_class_keeps_its_case(self) -> None:
        assert source(file_format="com.corp.lake.RowFormat").file_format == "com.corp.lake.RowFormat"

    def test_a_table_has_no_file_format(self) -> None:
        assert source(path=None, table="db.t").file_format is None

    @pytest.mark.parametrize(
        ("changes", "location"),
        [
            ({}, PATH),
            ({"path": None, "table": "db.t"}, "table db.t"),
            ({"path": None, "query": "select 1 as a"}, "a query"),
        ],
    )
    def test_where_the_rows_are_in_words(self, changes: dict[str, Any], location: str) -> None:
        assert source(**changes).location == location
        assert repr(source(**changes)) == f"HybridSparkSource(name='s', location={location!r})"

    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"path": None}, "none of them"),
            ({"table": "t"}, "path and table"),
            ({"query": "select 1 as a"}, "path and query"),
            ({"path": None, "table": "t", "query": "select 1 as a"}, "table and query"),
            ({"table": "t", "query": "select 1 as a"}, "path and table and query"),
            ({"path": None, "table": ""}, "none of them"),
        ],
    )
    def test_exactly_one_of_path_table_and_query(self, changes: dict[str, Any], found: str) -> None:
        assert refusal(**changes) == f"source 's': give exactly one of path, table and query; found {found}."

    def test_an_empty_path_as_from_an_unset_variable_is_refused(self) -> None:
        with pytest.raises(RoutingError, match=r"path of source 's': expected a URI such as hdfs://lake/folder"):
            source(path="", table="t")

    def test_a_name_is_needed(self) -> None:
        assert refusal(name=None) == "HybridSparkSource: give it a name; only a table's name can stand for one."

    def test_a_tables_name_can_stand_for_the_sources(self) -> None:
        assert source(name=None, path=None, table="db.t").name == "db.t"

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("/data/flights", "path of source 's': '/data/flights' names no lake"),
            ("s3://bucket/flights", "path of source 's': s3:// is a lake that feast-hybrid does not know."),
            ("wasbs://a@b.blob.core.windows.net/c", "abfss://a@b.dfs.core.windows.net/c"),
        ],
    )
    def test_a_path_that_names_no_lake_is_refused_when_it_is_defined(self, path: str, message: str) -> None:
        with pytest.raises(RoutingError) as refused:
            source(path=path)
        assert message in str(refused.value)

    def test_a_paths_site_is_told_by_its_uri(self) -> None:
        assert refusal(site="onprem") == "source 's': leave out site; the path's URI tells it."

    @pytest.mark.parametrize("changes", [{"table": "t"}, {"query": "select 1 as a"}])
    def test_a_table_or_query_may_name_its_site(self, changes: dict[str, Any]) -> None:
        assert source(path=None, site="onprem", **changes).site == "onprem"
        assert source(path=None, **changes).site is None

    @pytest.mark.parametrize("extra", [{"file_format": "csv"}, {"options": {"header": "true"}}])
    def test_file_format_and_options_go_with_a_path(self, extra: dict[str, Any]) -> None:
        assert refusal(path=None, table="t", **extra) == (
            "source 's': file_format and options go with path, not with table."
        )

    def test_event_time_and_created_time_are_two_columns(self) -> None:
        assert "timestamp_field and created_timestamp_column are both 'ts'" in refusal(created_timestamp_column="ts")


class TestOptions:
    @pytest.mark.parametrize(
        "option",
        [
            "fs.azure.account.key.acct.dfs.core.windows.net",
            "FS.defaultFS",
            "dfs.replication",
            "spark.sql.parquet.mergeSchema",
            "hadoop.security.authentication",
        ],
    )
    def test_an_option_that_sets_up_a_lake_belongs_to_a_site(self, option: str) -> None:
        message = refusal(options={option: "canary"})
        assert message == (
            f"source 's': option {option!r} sets up a file system or a session; it belongs to the site in "
            "feature_store.yaml (offline_store.sites)."
        )

    @pytest.mark.parametrize("option", ["path", "paths", "PATH"])
    def test_an_option_cannot_overrule_the_path(self, option: str) -> None:
        assert (
            refusal(options={option: "/x"}) == f"source 's': option {option!r} would overrule path; give path alone."
        )

    @pytest.mark.parametrize(("value", "found"), [(True, "bool"), (1, "int"), (None, "NoneType")])
    def test_an_option_is_text(self, value: Any, found: str) -> None:
        assert refusal(options={"header": value}) == f"source 's': option 'header' must be text, found {found}."

    @pytest.mark.parametrize(("options", "found"), [([("a", "b")], "list"), ("header", "str")])
    def test_options_are_a_dict(self, options: Any, found: str) -> None:
        assert refusal(options=options) == f"source 's': options must be a dict, found {found}."

    def test_an_options_name_is_text(self) -> None:
        assert refusal(options={1: "a"}) == "source 's': the name of option 1 must be text, found int."

    def test_options_are_copied(self) -> None:
        options = {"header": "true"}
        made = source(options=options)
        options["sep"] = ";"
        assert made.options == {"header": "true"}


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
            "select * from parquet.`hdfs://lake/a`",
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


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("flights", "`flights`"), ("db.t", "`db.t`"), ("a b", "`a b`"), ("a`b", "`a``b`"), ("select", "`select`")],
)
def test_sql_text_names_a_source_by_its_quoted_name(name: str, quoted: str) -> None:
    assert source(name=name).table_ref == quoted
    assert source(name=name).get_table_query_string() == quoted


#: Every way in which one source can differ from ``source()``.
DIFFERENCES: list[dict[str, Any]] = [
    {"name": "other"},
    {"path": PATH + "/2013"},
    {"path": None, "table": "t"},
    {"path": None, "query": "select 1 as a"},
    {"file_format": "orc"},
    {"options": {"mergeSchema": "true"}},
    {"timestamp_field": "other"},
    {"created_timestamp_column": "created"},
    {"date_partition_column": "day"},
    {"date_partition_column_format": "%Y%m%d"},
    {"field_mapping": {"a": "b"}},
    {"description": "words"},
    {"tags": {"team": "risk"}},
    {"owner": "a@corp"},
]


class TestEquality:
    def test_two_of_one_definition_are_equal(self) -> None:
        assert source() == source()
        assert hash(source()) == hash(source())

    @pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
    def test_any_difference_counts(self, difference: dict[str, Any]) -> None:
        assert source(**difference) != source()

    def test_the_site_counts(self) -> None:
        tables = [source(path=None, table="t", site=site) for site in (None, "a", "b")]
        assert len({table.site for table in tables}) == 3
        assert tables[0] != tables[1] != tables[2] != tables[0]

    def test_another_kind_of_source_is_not_equal(self) -> None:
        assert source() != object()
        assert source() is not None


names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
segments = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z"), exclude_characters="/?"),
    min_size=1,
    max_size=9,
).filter(lambda segment: segment.strip() == segment and segment not in (".", ".."))
paths = st.tuples(
    st.sampled_from(["hdfs://lake", "abfss://raw@acct.dfs.core.windows.net", "file://"]),
    st.lists(segments, min_size=1, max_size=3),
).map(lambda parts: "/".join([parts[0], *parts[1]]))
option_names = names.filter(
    lambda name: (
        name.lower() not in ("path", "paths") and not name.lower().startswith(("fs.", "dfs.", "spark.", "hadoop."))
    )
)
places: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"path": paths},
        optional={
            "file_format": st.sampled_from(["parquet", "CSV", "delta", "my.Format"]),
            "options": st.dictionaries(option_names, texts, max_size=3),
        },
    ),
    st.fixed_dictionaries({"table": names}, optional={"site": names}),
    st.fixed_dictionaries(
        {"query": names.map(lambda name: f"select 1 as `{name.replace('`', '``')}`")}, optional={"site": names}
    ),
)
definitions = st.tuples(
    places,
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "timestamp_field": names.map(lambda name: "ts" + name),
            "created_timestamp_column": names.map(lambda name: "c" + name),
            "date_partition_column": names,
            "date_partition_column_format": st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%F"]),
            "field_mapping": st.dictionaries(names, names, max_size=3),
            "description": texts,
            "tags": st.dictionaries(names, texts, max_size=3),
            "owner": texts,
        },
    ),
).map(lambda parts: parts[0] | parts[1])


class TestRegistry:
    @pytest.mark.parametrize(
        ("definition", "place"),
        [
            (
                {"path": "hdfs://lake/flights"},
                {"lake": "hdfs", "site": "hdfs://lake", "location": "hdfs://lake/flights"},
            ),
            (
                {"path": "abfss://raw@acct.dfs.core.windows.net/w"},
                {
                    "lake": "adls",
                    "site": "abfss://raw@acct.dfs.core.windows.net",
                    "location": "abfss://raw@acct.dfs.core.windows.net/w",
                },
            ),
            ({"table": "db.t", "site": "onprem"}, {"site": "onprem", "location": "db.t"}),
            ({"query": "select 1 as a"}, {"location": "select 1 as a"}),
        ],
        ids=["hdfs", "adls", "table", "query"],
    )
    def test_its_entry_says_in_tags_where_the_rows_are(
        self, definition: dict[str, Any], place: dict[str, str]
    ) -> None:
        tagged = HybridSparkSource(name="s", tags={"team": "risk"}, **definition)
        entry = tagged.to_proto()
        assert dict(entry.tags) == {"team": "risk"} | {f"feast_hybrid.{key}": value for key, value in place.items()}
        assert tagged.tags == DataSource.from_proto(entry).tags == {"team": "risk"}

    def test_a_tag_of_ours_is_refused(self) -> None:
        with pytest.raises(SourceError, match=r"the tag 'feast_hybrid\.site' is written by the source itself"):
            HybridSparkSource(name="s", path=PATH, tags={"feast_hybrid.site": "mine"})

    @given(definitions)
    @settings(max_examples=200, deadline=None)
    def test_what_goes_in_comes_back(self, definition: dict[str, Any]) -> None:
        before = HybridSparkSource(**definition)
        written = DataSourceProto.FromString(before.to_proto().SerializeToString())
        after = DataSource.from_proto(written)
        assert isinstance(after, HybridSparkSource)
        assert after == before
        assert after.to_proto() == before.to_proto()
        for field in ("path", "file_format", "options", "table", "query", "site", "date_partition_column_format"):
            assert getattr(after, field) == getattr(before, field)

    @pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
    def test_any_difference_survives(self, difference: dict[str, Any]) -> None:
        assert DataSource.from_proto(source(**difference).to_proto()) == source(**difference)

    def test_it_is_a_custom_source_in_json_that_people_can_read(self) -> None:
        proto = source(path="hdfs://lake/zürich", options={"mergeSchema": "true"}).to_proto()
        assert proto.type == DataSourceProto.CUSTOM_SOURCE
        assert json.loads(proto.custom_options.configuration) == {
            "path": "hdfs://lake/zürich",
            "file_format": "parquet",
            "options": {"mergeSchema": "true"},
            "date_partition_column_format": "%Y-%m-%d",
        }
        assert "zürich" in proto.custom_options.configuration.decode()

    def test_the_same_source_is_written_in_the_same_bytes(self) -> None:
        one, two = source(options={"a": "1", "b": "2"}), source(options={"b": "2", "a": "1"})
        assert one.to_proto().custom_options == two.to_proto().custom_options

    def test_nothing_is_pickled(self) -> None:
        configuration = source().to_proto().custom_options.configuration
        assert configuration.startswith(b"{")
        assert b"\x80\x04" not in configuration

    @pytest.mark.parametrize("configuration", [b"", b"\x80\x04K\x01.", b"not json", b"[1]", b"\xff"])
    def test_an_entry_of_another_kind_is_refused(self, configuration: bytes) -> None:
        proto = source().to_proto()
        proto.custom_options.configuration = configuration
        with pytest.raises(SourceError) as refused:
            DataSource.from_proto(proto)
        assert str(refused.value) == "source 's': its entry in the registry is not a HybridSparkSource's JSON."

    def test_an_entry_of_a_newer_version_asks_for_an_upgrade(self) -> None:
        proto = source().to_proto()
        spec = json.loads(proto.custom_options.configuration) | {"catalog": "x"}
        proto.custom_options.configuration = json.dumps(spec).encode()
        with pytest.raises(SourceError) as refused:
            DataSource.from_proto(proto)
        assert str(refused.value) == (
            "source 's': its entry in the registry was written by a newer feast-hybrid; upgrade this one."
        )

    def test_it_is_registered_under_its_public_name(self) -> None:
        assert source().to_proto().data_source_class_type == "feast_hybrid.HybridSparkSource"

    def test_feast_knows_it_by_its_public_name_too(self) -> None:
        assert HybridSparkSource.__module__ == "feast_hybrid"
