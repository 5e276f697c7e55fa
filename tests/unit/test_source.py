"""The data source: what defines one, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from feast.data_format import DeltaFormat, FileFormat, ParquetFormat

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import RoutingError
from tests.unit.definitions import DIFFERENCES, PATH, refusal, source


class TestDefinition:
    def test_a_path_is_parquet_unless_said_otherwise(self) -> None:
        assert (source().file_format, source(file_format="CSV").file_format) == ("parquet", "csv")

    @pytest.mark.parametrize(("of_feast", "name"), [(ParquetFormat(), "parquet"), (DeltaFormat(), "delta")])
    def test_a_file_format_may_be_one_of_feast_s_objects(self, of_feast: FileFormat, name: str) -> None:
        made = source(file_format=of_feast)
        assert made.file_format == name
        assert HybridSparkSource.from_proto(made.to_proto()) == made

    def test_another_object_is_no_file_format(self) -> None:
        assert refusal(file_format=7) == (
            "source 's': file_format must be text, such as 'parquet', 'orc' or 'delta'; found int."
        )

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


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("flights", "`flights`"), ("db.t", "`db.t`"), ("a b", "`a b`"), ("a`b", "`a``b`"), ("select", "`select`")],
)
def test_sql_text_names_a_source_by_its_quoted_name(name: str, quoted: str) -> None:
    assert source(name=name).table_ref == quoted
    assert source(name=name).get_table_query_string() == quoted


#: Every way in which one source can differ from ``source()``.


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
