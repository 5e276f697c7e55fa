"""Tables of Spark's catalogs that are replaced by a saved dataset: no row is lost, what is known of them stays."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid import HybridSparkOfflineStoreConfig, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import WriteError
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from tests.integration.places import classic_only, outside_of_spark
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.connect


def replace(table: str, frame: DataFrame) -> None:
    job = HybridSparkRetrievalJob(FrameRows(frame, "rows"), router=HybridSparkOfflineStoreConfig().router)
    job.persist(SavedDatasetHybridSparkStorage(table=table), allow_overwrite=True)


def trips(spark: SparkSession, *rows: tuple[int, int]) -> DataFrame:
    return spark.createDataFrame(rows, "trips BIGINT, driver_id BIGINT")


def rows_of(spark: SparkSession, table: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, spark.table(table).collect()))


def tables_of(spark: SparkSession, database: str) -> list[str]:
    return sorted(table.name for table in spark.catalog.listTables(database))


def options_of(spark: SparkSession, table: str) -> dict[str, str]:
    """The options in a table's ``CREATE`` statement."""
    ((statement,),) = spark.sql(f"SHOW CREATE TABLE {table}").collect()
    _, _, options = statement.partition("OPTIONS (")
    return dict(re.findall(r"'(\w+)' = '(.*?)'", options.partition(")")[0]))


Named = str


@pytest.fixture
def database(spark: SparkSession) -> Iterator[Named]:
    """A database of the test's own."""
    name = f"db_{uuid.uuid4().hex[:8]}"
    spark.sql(f"CREATE DATABASE {name}")
    yield name
    spark.sql(f"DROP DATABASE {name} CASCADE")


@contextmanager
def failing(
    monkeypatch: pytest.MonkeyPatch, spark: SparkSession, statement: str, *, done: bool = False
) -> Iterator[None]:
    """Have SQL statements that match fail: before anything is done, or when all is."""
    sql: Callable[..., Any] = type(spark).sql

    def spoilt(self: SparkSession, text: str, *arguments: Any, **more: Any) -> Any:
        if not re.search(statement, text):
            return sql(self, text, *arguments, **more)
        if done:
            sql(self, text, *arguments, **more)
        raise OSError("the catalog is away")

    with monkeypatch.context() as patched:
        patched.setattr(type(spark), "sql", spoilt)
        yield


@pytest.mark.parametrize(
    "folder_name",
    ["plain", pytest.param("a 50% %20 ä+b", marks=classic_only("the statements are the same, and sent as text"))],
)
@pytest.mark.parametrize("in_catalog", [True, False], ids=["partitions-in-catalog", "partitions-in-folders"])
def test_a_partitioned_table_with_rows_is_replaced_again_and_again(
    spark: SparkSession, tmp_path: Path, folder_name: str, in_catalog: bool
) -> None:
    name = f"db_{uuid.uuid4().hex[:8]}"
    spark.sql(f"CREATE DATABASE {name} LOCATION '{tmp_path}/{folder_name}'")
    setting = "spark.sql.hive.manageFilesourcePartitions"
    before = spark.conf.get(setting)
    try:
        spark.conf.set(setting, str(in_catalog).lower())
        spark.sql(f"CREATE TABLE {name}.t (trips BIGINT, driver_id BIGINT) USING parquet PARTITIONED BY (driver_id)")
        spark.sql(f"INSERT INTO {name}.t VALUES (1, 1), (2, 2)")
        for n in (10, 20, 30):
            replace(f"{name}.t", trips(spark, (n, 1), (n, 2), (n, 3)))
            spark.catalog.refreshTable(f"{name}.t")
            assert rows_of(spark, f"{name}.t") == [(n, 1), (n, 2), (n, 3)]
        with pytest.raises(WriteError, match="nothing was changed"):
            replace(f"{name}.t", trips(spark, (40, 1)).selectExpr("trips", "raise_error('no') AS driver_id"))
        assert rows_of(spark, f"{name}.t") == [(30, 1), (30, 2), (30, 3)]
        assert tables_of(spark, name) == ["t"]
    finally:
        spark.conf.set(setting, str(before))
        spark.sql(f"DROP DATABASE {name} CASCADE")


def test_a_table_whose_partitions_are_in_the_catalog_is_replaced_where_the_session_does_not_look_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    name = f"db_{uuid.uuid4().hex[:8]}"
    spark.sql(f"CREATE DATABASE {name} LOCATION '{tmp_path}/a b'")
    setting = "spark.sql.hive.manageFilesourcePartitions"
    before = spark.conf.get(setting)
    try:
        spark.sql(f"CREATE TABLE {name}.t (trips BIGINT, driver_id BIGINT) USING parquet PARTITIONED BY (driver_id)")
        spark.sql(f"INSERT INTO {name}.t VALUES (1, 1), (2, 2)")
        spark.conf.set(setting, "false")
        for n in (10, 20):
            replace(f"{name}.t", trips(spark, (n, 1), (n, 2)))
            assert rows_of(spark, f"{name}.t") == [(n, 1), (n, 2)]
    finally:
        spark.conf.set(setting, str(before))
        spark.sql(f"DROP DATABASE {name} CASCADE")


@reliability(
    "Writers",
    "the catalog fails in any statement while a table is replaced",
    "the old table is there",
    "nothing was changed",
)
@pytest.mark.parametrize("done", [False, True], ids=["not-done", "done-all-the-same"])
@pytest.mark.parametrize("statement", [r"RENAME TO \S+_old`$", r"_new` RENAME TO", "MSCK REPAIR TABLE .*_old`"])
def test_a_statement_that_fails_leaves_the_old_rows(
    spark: SparkSession, tmp_path: Path, statement: str, done: bool, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    name = f"db_{uuid.uuid4().hex[:8]}"
    spark.sql(f"CREATE DATABASE {name} LOCATION '{tmp_path}/a b'")
    try:
        spark.sql(f"CREATE TABLE {name}.t (trips BIGINT, driver_id BIGINT) USING parquet PARTITIONED BY (driver_id)")
        spark.sql(f"INSERT INTO {name}.t VALUES (1, 1), (2, 2)")
        with (
            failing(monkeypatch, spark, statement, done=done),
            pytest.raises(WriteError, match=f"{promise.reads}: OSError: the catalog is away"),
        ):
            replace(f"{name}.t", trips(spark, (10, 1), (10, 3)))
        spark.catalog.refreshTable(f"{name}.t")
        assert rows_of(spark, f"{name}.t") == [(1, 1), (2, 2)]
        assert tables_of(spark, name) == ["t"]
        replace(f"{name}.t", trips(spark, (10, 1), (10, 3)))
        assert rows_of(spark, f"{name}.t") == [(10, 1), (10, 3)]
    finally:
        spark.sql(f"DROP DATABASE {name} CASCADE")


@reliability(
    "Writers",
    "the catalog is away before an old table can be put back",
    "an error with the statement that puts it back",
    "what was there could not be put back",
)
def test_old_rows_that_cannot_be_put_back_are_named_with_what_to_do(
    spark: SparkSession, database: Named, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    trips(spark, (1, 1)).write.saveAsTable(f"{database}.t")
    with (
        failing(monkeypatch, spark, r"RENAME TO `\w+`\.`t`$"),  # the new one's, and the old one's back
        pytest.raises(WriteError, match=promise.reads) as caught,
    ):
        replace(f"{database}.t", trips(spark, (10, 1)))
    assert "nothing was changed" not in str(caught.value)
    (undo,) = re.findall(r"ALTER TABLE `\w+`\.`t_\w+_old` RENAME TO `\w+`\.`t`", str(caught.value))
    spark.sql(undo)
    assert rows_of(spark, f"{database}.t") == [(1, 1)]


def test_an_old_table_that_cannot_be_dropped_is_named_and_the_new_rows_are_said_to_be_there(
    spark: SparkSession, database: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips(spark, (1, 1)).write.saveAsTable(f"{database}.t")
    with (
        failing(monkeypatch, spark, r"DROP TABLE .*_old`"),
        pytest.raises(WriteError, match="the new rows are there, but") as caught,
    ):
        replace(f"{database}.t", trips(spark, (10, 1)))
    assert rows_of(spark, f"{database}.t") == [(10, 1)]
    (drop,) = re.findall(r"DROP TABLE `\w+`\.`t_\w+_old`", str(caught.value))
    spark.sql(drop)
    assert tables_of(spark, database) == ["t"]


def test_a_table_of_another_catalog_is_refused_and_one_of_the_same_name_here_is_untouched(
    spark: SparkSession, tmp_path: Path
) -> None:
    catalog, name = (f"{of}_{uuid.uuid4().hex[:8]}" for of in ("other", "db"))
    spark.conf.set(
        f"spark.sql.catalog.{catalog}", "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog"
    )
    spark.conf.set(f"spark.sql.catalog.{catalog}.url", f"jdbc:derby:{tmp_path}/derby;create=true")
    spark.conf.set(f"spark.sql.catalog.{catalog}.driver", "org.apache.derby.iapi.jdbc.AutoloadedDriver")
    spark.sql(f"CREATE NAMESPACE {catalog}.{name}")
    spark.sql(f"CREATE DATABASE {name}")
    try:
        spark.sql(f"CREATE TABLE {catalog}.{name}.t (trips BIGINT, driver_id BIGINT)")
        spark.sql(f"INSERT INTO {catalog}.{name}.t VALUES (1, 1)")
        trips(spark, (5, 5)).write.saveAsTable(f"{name}.t")
        with pytest.raises(WriteError, match=rf"in the catalog {catalog}.* current catalog, spark_catalog") as caught:
            replace(f"{catalog}.{name}.t", trips(spark, (10, 1)))
        assert f"Make {catalog} the current one" in str(caught.value)
        assert rows_of(spark, f"{catalog}.{name}.t") == [(1, 1)]
        assert rows_of(spark, f"{name}.t") == [(5, 5)]
        assert tables_of(spark, name) == ["t"]
    finally:
        spark.sql(f"DROP DATABASE {name} CASCADE")


@pytest.mark.parametrize(
    ("file_format", "options", "files"),
    [
        ("csv", {"sep": ";", "header": "true", "nullValue": "[a, b=c]", "quote": "|"}, ".csv"),
        ("parquet", {"compression": "gzip"}, ".gz.parquet"),
        ("orc", {}, ".orc"),
    ],
)
def test_the_options_of_a_table_stay(
    spark: SparkSession, database: Named, file_format: str, options: dict[str, str], files: str
) -> None:
    given = ", ".join(f"'{name}' '{value}'" for name, value in options.items())
    spark.sql(
        f"CREATE TABLE {database}.t (trips BIGINT, driver_id BIGINT) USING {file_format} "
        + (f"OPTIONS ({given})" if given else "")
    )
    for n in (10, 20):
        replace(f"{database}.t", trips(spark, (n, 1), (n, 2)))
        assert options_of(spark, f"{database}.t") == options
        assert rows_of(spark, f"{database}.t") == [(n, 1), (n, 2)]
    names = spark.table(f"{database}.t").selectExpr("_metadata.file_name AS name").collect()
    assert all(row.name.endswith(files) for row in names)


def test_a_table_with_an_option_that_spark_does_not_show_is_refused(spark: SparkSession, database: Named) -> None:
    spark.sql(f"CREATE TABLE {database}.t (trips BIGINT, driver_id BIGINT) USING csv OPTIONS (password 'hidden')")
    spark.sql(f"INSERT INTO {database}.t VALUES (1, 1)")
    with pytest.raises(WriteError, match="does not show the value of its option or property password"):
        replace(f"{database}.t", trips(spark, (10, 1)))
    assert rows_of(spark, f"{database}.t") == [(1, 1)]


def test_partitions_and_comments_stay_where_columns_differ_in_case_alone(
    spark: SparkSession, database: Named
) -> None:
    spark.sql(
        f"CREATE TABLE {database}.t (Trips BIGINT COMMENT 'how many', Driver_ID BIGINT) USING parquet "
        "PARTITIONED BY (Driver_ID)"
    )
    replace(f"{database}.t", trips(spark, (10, 1)))
    columns = {column.name: column for column in spark.catalog.listColumns(f"{database}.t")}
    assert [name for name, column in columns.items() if column.isPartition] == ["driver_id"]
    assert columns["trips"].description == "how many"


def test_columns_that_differ_in_case_are_two_where_the_session_says_so(spark: SparkSession, database: Named) -> None:
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        spark.sql(f"CREATE TABLE {database}.t (n BIGINT, ID BIGINT) USING parquet PARTITIONED BY (ID)")
        replace(f"{database}.t", spark.range(2))
        assert [(column.name, column.isPartition) for column in spark.catalog.listColumns(f"{database}.t")] == [
            ("id", False)
        ]
    finally:
        spark.conf.set("spark.sql.caseSensitive", "false")


#: Replaces tables of a Hive metastore, and prints what is in them afterwards or the error, as the last line.
WITH_HIVE = """
import json, sys
from pyspark.sql import SparkSession
from feast_hybrid.errors import WriteError
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.writing.catalog_tables import replace_catalog_table

folder = sys.argv[1]
builder = SparkSession.builder.master("local[2]").enableHiveSupport()
for key, value in {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.warehouse.dir": folder + "/a warehouse",
    "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:{folder}/metastore;create=true",
    "spark.hadoop.datanucleus.schema.autoCreateAll": "true",
    "spark.hadoop.hive.metastore.schema.verification": "false",
    "spark.hadoop.hive.exec.dynamic.partition.mode": "nonstrict",
}.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
found = {}
for name, how in {
    "of_spark": "USING parquet PARTITIONED BY (k)",
    "csv": "USING csv OPTIONS (sep ';', header 'true')",
    "parquet": "PARTITIONED BY (k) STORED AS parquet",
    "text": "PARTITIONED BY (k) STORED AS textfile",
    "avro": "STORED AS avro",
    "whole": "STORED AS parquet",
}.items():
    spark.sql(f"CREATE TABLE {name} (n BIGINT, k BIGINT) {how}")
    spark.sql(f"INSERT INTO {name} SELECT 1L, 1L")
    try:
        for n in (10, 20):
            frame = spark.sql(f"SELECT {n}L AS n, id AS k FROM range(1, 3)")
            replace_catalog_table(frame, name, f"saving {name}", Cancellation())
    except WriteError as error:
        found[name + "'s error"] = str(error)
    found[name] = sorted(map(list, spark.table(name).select("n", "k").collect()))
found["tables"] = sorted(table.name for table in spark.catalog.listTables())
((found["made"],),) = spark.sql("SHOW CREATE TABLE csv").collect()
print(json.dumps(found))
"""


@classic_only("it has a Spark application of its own")
def test_a_hive_metastore_s_tables_are_replaced_or_refused_and_none_changes_its_format(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITH_HIVE, str(tmp_path)],
        cwd=tmp_path,
        env=outside_of_spark(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tables"] == ["avro", "csv", "of_spark", "parquet", "text", "whole"]
    assert found["of_spark"] == found["csv"] == found["parquet"] == found["whole"] == [[20, 1], [20, 2]]
    assert re.search(r"USING csv\s+OPTIONS \(\s*'header' = 'true',\s*'sep' = ';'\)", found["made"])
    for refused, files in (("text", "TextInputFormat"), ("avro", "AvroContainerInputFormat")):
        assert found[refused] == [[1, 1]]
        assert re.search(rf"table of Hive's with files of \S+\.{files}", found[f"{refused}'s error"])
