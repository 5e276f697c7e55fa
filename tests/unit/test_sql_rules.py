"""SQL text of users computes on sources and tables, and does nothing else."""

from __future__ import annotations

import re

import pytest

from feast_hybrid.errors import SourceError
from feast_hybrid.lakes import Allowed, Router
from feast_hybrid.sources.source_rules import FILE_FORMATS, checked_options
from tests.integration.reliability import Row, reliability
from tests.unit.definitions import source


def refused(query: str, *functions: str) -> str:
    router = Router(allowed=Allowed(functions=frozenset(functions)))
    with pytest.raises(SourceError, match="source 's': ") as caught:
        source(name="s", path=None, query=query).resolve(router)
    return str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "select transform(xs, x -> x + 1) from t",
        "select /*+ broadcast(u) */ t.a, abs (b), system.builtin.upper(c) from t join u using (a)",
        "with x(a, b) as (select 1, 2) select * from x as y(c, d) where (c, d) in ((1, 2))",
        "select * from sales.eu.orders where day between date '2026-01-01' and current_date()",
        "select max(a) filter (where b), first(c) ignore nulls over (partition by d order by e) from t",
        "select * from t lateral view outer posexplode(xs) p as i, x",
        "select * from stack(2, 1, 2), lateral (select explode(array(1, 2)))",
        "select timestampdiff(hour, a, b), try_cast(c as decimal(10, 2)), cast(d as varchar(3)) from t",
        "select named_struct('a', 1).a, m['k'], xs[0], percentile_cont(0.5) within group (order by a) from t",
        "select * from t version as of 3 tablesample (10 percent)",
        "with upper2(a) as (select 1) select * from upper2, range(2) as lower2(b), `team/orders`",
        "select a from t group by cube(a), grouping sets ((a), ()) having count(distinct b) > 1",
        "from t |> where a > 1 |> select b",
        "select from_json(a, 'x INT, y STRUCT<z: STRING>').x, from_csv(b, 'c DATE', map('sep', ';')) from t",
        "select from_json(concat('{', a, '}'), schema_of_json('{\"x\": 1}')), variant_get(v, '$.a[0]', 'int') from t",
        "select array[array[array[1, 2]]], struct(struct(date(a))), " + "(" * 20 + "1" + ")" * 20 + " from t",
        "select 'reflect(x)', `transform (a) using` from t -- java_method('a')",
    ],
)
def test_what_computes_is_taken(query: str) -> None:
    assert source(path=None, query=query).resolve(Router()).query == query


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("select transform(a, b) using 'sh -c \"touch /tmp/x\"' as (c) from t", "TRANSFORM … USING"),
        ("select t.* from (from u select transform(*) using 'cat' as (a)) t", "TRANSFORM … USING"),
        ("select reflect('java.lang.System', 'getenv', 'KEY')", "reflect"),
        ("select `Java_Method`('a', 'b')", "java_method"),
        ("select 1 from t where try_reflect/**/('a', 'b') is null", "try_reflect"),
        ("select transform(xs, x -> reflect('a', x)) from t", "reflect"),
        ("with a as (select (select max(reflect('a', 'b')))) select * from a", "reflect"),
        ("select sum(a) over (order by java_method('a', 'b')) from t", "java_method"),
        ("select * from t lateral view reflect('a') x as y", "reflect"),
        ("select from_avro(a, '{}', map('avroSchemaUrl', 'file:///etc/x')) from t", "from_avro"),
        ("select from_protobuf(a, 'M', '/etc/passwd') from t", "from_protobuf"),
        ("select sales.net_price(a) from t", "sales.net_price"),
        ("select net_price(a) from t", "net_price"),
        ("select system.abs(1)", "system.abs"),
        ("select repartition(1)", "repartition"),
        ("select xpath_string(concat('<!DOCTYPE a SYSTEM \"http://h/', a, '\"><a/>'), 'a') from t", "xpath_string"),
        ('select from_json(a, \'{"type": "udt", "class": "C"}\') from t', "from_json with a type that is not"),
        ("select `From_Json` (a, 'x ' '{}') from t", "from_json with a type"),
        ("select from_json(a, schema => 'x INT') from t", "from_json with a type"),
        ("select system.builtin.from_csv(a, '\\173') from t", "from_csv with a type"),
        ("select from_csv(a, r'{}') from t", "from_csv with a type"),
        ("select from_json(a, (select max(b) from u)) from t", "from_json with a type"),
        ("select from_json(a, 'x INT', map('mode', b)) from t", "from_json with a type"),
        ("select try_variant_get(a, '$', upper('int')) from t", "try_variant_get with a type"),
        ("select * from read_files('abfss://c@a.dfs.core.windows.net/x')", "read_files"),
        ("select * from identifier('parquet.`/etc`')", "identifier"),
        ("select ai_query('m', a), secret('scope', 'key') from t", "ai_query"),
        ("select * from python_worker_logs()", "python_worker_logs"),
        ("select * from parquet.`hdfs://lake/a`", "parquet.hdfs://lake/a"),
        ("select * from TEXT.`etc`", "TEXT.etc"),
        ("select * from spark_catalog.`/warehouse/x`", "spark_catalog./warehouse/x"),
        ("select 1 where exists (select 1 from csv.`/etc/passwd`)", "csv./etc/passwd"),
        ("with reflect(x) as (select 1) select reflect('a', 'b') from reflect", "reflect"),
        ("select java_method('a', 'b') from range(1) as java_method(x)", "java_method"),
        ("select r'\\', reflect('a', 'b'), '\\'", "reflect"),
        ("select '${env:KEY}' as mood", "${…}"),
        ("select * from `${spark.app.name}`", "${…}"),
        ("select :key from t", "parameter marker"),
        ("select 1 /* a /* b */ */", "comment within a comment"),
        ("select 1 -- a \\\n , 2", "a backslash in one"),
    ],
)
def test_what_does_more_is_refused_by_its_name(query: str, names: str) -> None:
    assert names in refused(query)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select " + "array[" * 40 + "1" + "]" * 40, "nested too deeply"),
        ("select " + "map[struct(" * 20 + "1" + ")]" * 20, "nested too deeply"),
        ("select " + "(" * 500 + "1" + ")" * 500, "nested too deeply"),
        ("select date_trunc(", "the parser fails on it"),
        ("select map( day 1e5", "the parser fails on it"),
    ],
)
def test_text_that_the_parser_does_not_get_through_is_refused_at_once(query: str, reason: str) -> None:
    assert reason in refused(query)


def test_a_function_that_is_trusted_is_allowed_by_its_full_name() -> None:
    query = "select sales.Net_Price(a) from t"
    assert "allow_functions: [sales.net_price]" in refused(query, "net_price")
    allowed = Router(allowed=Allowed(functions=frozenset({"sales.net_price"})))
    assert source(path=None, query=query).resolve(allowed).query == query


class TestTable:
    @pytest.mark.parametrize("table", ["orders", "sales.orders", "`a b`.`c.d`.orders"])
    def test_a_name_is_taken(self, table: str) -> None:
        assert source(path=None, table=table).resolve(Router()).table == table

    @pytest.mark.parametrize(
        "table", ["parquet.`/etc`", "delta.`abfss://c@a/t`", "spark_catalog.`hdfs://lake/t`", "Json.secrets"]
    )
    def test_a_path_is_refused(self, table: str) -> None:
        with pytest.raises(SourceError, match="as a table"):
            source(path=None, table=table).resolve(Router())

    @pytest.mark.parametrize("table", ["a b", "a.", "range(3)", "a; drop", "'a'.b.", "`a", "`${fs.a.key}`"])
    def test_what_is_no_name_is_refused(self, table: str) -> None:
        with pytest.raises(SourceError, match="full name"):
            source(path=None, table=table).resolve(Router())


class TestFormat:
    @pytest.mark.parametrize("file_format", [*FILE_FORMATS, "Parquet", "CSV"])
    def test_formats_of_files_are_taken(self, file_format: str) -> None:
        assert source(file_format=file_format).resolve(Router())

    @reliability(
        "Text that is code",
        "a `file_format` that opens more than files, such as jdbc",
        "refused; `file_formats` in the configuration allows it",
        "file_formats: [",
    )
    @pytest.mark.parametrize(
        "file_format", ["jdbc", "kafka", "binaryFile", "org.apache.spark.sql.jdbc", "socket", "python_source"]
    )
    def test_others_are_refused_until_they_are_allowed(self, file_format: str, promise: Row) -> None:
        with pytest.raises(
            SourceError, match=re.escape(promise.reads + (source(file_format=file_format).file_format or ""))
        ):
            source(file_format=file_format).resolve(Router())
        allowed = Router(allowed=Allowed(file_formats=frozenset({file_format.lower()})))
        assert source(file_format=file_format).resolve(allowed)

    @reliability(
        "Text that is code",
        "an option of a source that names another file or service",
        "refused with the option's name",
    )
    @pytest.mark.parametrize(
        "option",
        ["rowValidationXSDPath", "avroSchemaUrl", "badRecordsPath", "url", "dbtable.location", "driver", "JAR"],
    )
    def test_options_that_name_a_place_are_refused(self, option: str) -> None:
        with pytest.raises(SourceError, match=repr(option)):
            checked_options({option: "x"}, what="source 's'")

    @pytest.mark.parametrize(
        "option",
        [
            "io.compression.codecs",
            "mapreduce.input.fileinputformat.inputdir",
            "avro.mapred.ignore",
            "a.b",
            "parquet.read.filter",
        ],
    )
    def test_settings_of_hadoop_are_refused(self, option: str) -> None:
        with pytest.raises(SourceError, match=rf"option '{option}' is a setting of Hadoop.* spark\.hadoop\.{option}"):
            checked_options({option: "x"}, what="source 's'")

    @pytest.mark.parametrize("option", ["parquet.encryption.key.access.token", "parquet.encryption.key.list"])
    def test_secrets_are_refused(self, option: str) -> None:
        with pytest.raises(SourceError, match=rf"{option}' is a secret.* set spark\.hadoop\.{option} in the session"):
            checked_options({option: "k1:AAECAwQFBgcICQoLDA0ODw=="}, what="source 's'")

    def test_a_class_that_opens_encrypted_files_belongs_to_the_session(self) -> None:
        with pytest.raises(SourceError, match=r"set spark\.hadoop\.parquet\.crypto\.factory\.class in the session"):
            checked_options({"parquet.crypto.factory.class": "x"}, what="source 's'")

    def test_formats_that_are_allowed_have_dots_in_their_options(self) -> None:
        options = {"hoodie.datasource.query.type": "snapshot"}
        assert checked_options(options, what="source 's'", file_format="hudi") == options

    def test_so_are_values_that_are_urls(self) -> None:
        with pytest.raises(SourceError, match="'comment'"):
            checked_options({"comment": "jdbc:derby://x"}, what="source 's'")

    def test_options_of_the_formats_are_taken(self) -> None:
        options = {"header": "true", "sep": "/", "ignoreMissingFiles": "false", "pathGlobFilter": "*.csv"}
        options |= {"parquet.encryption.kms.instance.id": "x", "delta.x": "y", "orc.mask": "z"}
        options |= {"parquet.bloom.filter.enabled#k": "true", "snapshot-property.x": "y"}
        options |= {"versionAsOf": "3", "dateFormat": "MM/dd/yyyy", "recursiveFileLookup": "true"}
        assert checked_options(options, what="source 's'") == options
