"""Feast's own sources, storages and destinations: what each of their attributes means here."""

from __future__ import annotations

import inspect
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
from feast import BatchFeatureView, BigQuerySource, FeatureView, Field, FileSource, RepoConfig
from feast.data_format import DeltaFormat as DeltaFiles
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.data_sources.contrib.iceberg_catalog.iceberg_source import IcebergSource
from feast.infra.data_sources.contrib.iceberg_catalog.unity_catalog_source import UnityCatalogSource
from feast.infra.offline_stores.bigquery_source import BigQueryLoggingDestination, SavedDatasetBigQueryStorage
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage, SparkSource
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as SavedDatasetStorageProto
from feast.saved_dataset import SavedDatasetStorage
from feast.table_format import DeltaFormat, HudiFormat, IcebergFormat, LanceFormat
from feast.types import Int64

from feast_hybrid import HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import NotSupportedError, RoutingError, SourceError, WriteError
from feast_hybrid.lakes import Allowed, BarePaths, Router, Site, SourceRule
from feast_hybrid.sources.feast_sources import type_words
from feast_hybrid.sources.feast_types import value_type_of_spark
from feast_hybrid.sources.resolve import destination_spec, engine_source_spec, is_read, source_spec, storage_spec
from feast_hybrid.sources.spec import SourceSpec

pytestmark = pytest.mark.filterwarnings("ignore:The spark data source API is an experimental feature:RuntimeWarning")

HDFS = "hdfs://lake/loans"
ADLS = "abfss://features@acct.dfs.core.windows.net/cards"
TIMES: dict[str, Any] = {"timestamp_field": "ts", "created_timestamp_column": "written"}


@pytest.fixture(autouse=True)
def _no_hadoop_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_HOME", "SPARK_REMOTE"):
        monkeypatch.delenv(name, raising=False)


def spark_source(**given: Any) -> SparkSource:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Feast says of the class that it is experimental
        return SparkSource(**{"name": "s", **TIMES, **given})


def file_source(path: str, **given: Any) -> FileSource:
    return FileSource(path=path, **{"name": "s", **TIMES, **given})


def iceberg_source(cls: type[IcebergSource] = IcebergSource, **given: Any) -> IcebergSource:
    return cls(**{"name": "s", "warehouse": "w", "namespace": "risk", "table": "loans", **TIMES, **given})


def ours(**given: Any) -> HybridSparkSource:
    return HybridSparkSource(**{"name": "s", **TIMES, **given})


def from_registry(source: DataSource) -> DataSource:
    """The source as another process reads it."""
    written = DataSourceProto.FromString(source.to_proto().SerializeToString())
    read: DataSource = DataSource.from_proto(written)
    return read


DAYS: dict[str, Any] = {"date_partition_column": "day", "date_partition_column_format": "%Y%m%d"}
SAME: list[tuple[str, DataSource, HybridSparkSource]] = [
    ("a path", spark_source(path=HDFS, file_format="parquet"), ours(path=HDFS)),
    ("CSV", spark_source(path=ADLS, file_format="csv"), ours(path=ADLS, file_format="csv")),
    ("JSON", spark_source(path=ADLS, file_format="json"), ours(path=ADLS, file_format="json")),
    ("Avro", spark_source(path=HDFS, file_format="avro"), ours(path=HDFS, file_format="avro")),
    ("a table", spark_source(table="risk.loans"), ours(table="risk.loans")),
    ("a table whose name is no word", spark_source(table="risk.new-loans"), ours(table="`risk`.`new-loans`")),
    ("a table whose name is a number to Spark", spark_source(table="risk.5d"), ours(table="`risk`.`5d`")),
    ("a table of other letters", spark_source(table="risk.кредит"), ours(table="`risk`.`кредит`")),
    ("a query", spark_source(query="SELECT * FROM loans;"), ours(query="SELECT * FROM loans")),
    ("a field mapping", spark_source(table="t", field_mapping={"a": "b"}), ours(table="t", field_mapping={"a": "b"})),
    ("days", spark_source(path=HDFS, file_format="parquet", **DAYS), ours(path=HDFS, **DAYS)),
    (
        "days in Feast's own spelling",
        spark_source(table="t", date_partition_column="day"),
        ours(table="t", date_partition_column="day"),
    ),
    (
        "no created time",
        spark_source(table="t", created_timestamp_column=None),
        ours(table="t", created_timestamp_column=None),
    ),
    ("no times", spark_source(table="t", timestamp_field=None), ours(table="t", timestamp_field=None)),
    ("Delta", spark_source(path=HDFS, table_format=DeltaFormat()), ours(path=HDFS, file_format="delta")),
    (
        "a table's format beside the files'",
        spark_source(path=HDFS, file_format="parquet", table_format=DeltaFormat()),
        ours(path=HDFS, file_format="delta"),
    ),
    (
        "a version of a Delta table",
        spark_source(path=HDFS, table_format=DeltaFormat(properties={"versionAsOf": "5"})),
        ours(path=HDFS, file_format="delta", options={"versionAsOf": "5"}),
    ),
    (
        "what Delta's reader does not know",
        spark_source(
            path=HDFS,
            table_format=DeltaFormat("s3://b/checkpoints", properties={"delta.autoOptimize.autoCompact": "true"}),
        ),
        ours(path=HDFS, file_format="delta"),
    ),
    (
        "a snapshot of an Iceberg table",
        spark_source(
            path=ADLS,
            table_format=IcebergFormat(
                "c",
                "n",
                {"snapshot-id": "7", "warehouse": "s3://b/w", "format-version": "2", "write.distribution-mode": "x"},
            ),
        ),
        ours(path=ADLS, file_format="iceberg", options={"snapshot-id": "7"}),
    ),
    (
        "the name of an Iceberg table",
        spark_source(path="lakehouse.risk.loans", table_format=IcebergFormat("lakehouse", "risk")),
        ours(table="lakehouse.risk.loans"),
    ),
    ("files", file_source(ADLS, file_format=ParquetFormat()), ours(path=ADLS)),
    ("files of no format", file_source(HDFS), ours(path=HDFS)),
    ("Delta files", file_source(HDFS, file_format=DeltaFiles()), ours(path=HDFS, file_format="delta")),
    ("an S3 endpoint without S3", file_source(HDFS, s3_endpoint_override="http://minio:9000"), ours(path=HDFS)),
    ("mapped files", file_source(HDFS, field_mapping={"a": "b"}), ours(path=HDFS, field_mapping={"a": "b"})),
    ("Iceberg's catalog", iceberg_source(), ours(table="feast_iceberg.risk.loans")),
    (
        "another catalog",
        iceberg_source(catalog_name="lakehouse", namespace="risk.eu"),
        ours(table="lakehouse.risk.eu.loans"),
    ),
    ("Unity Catalog", iceberg_source(UnityCatalogSource, endpoint="https://x"), ours(table="w.risk.loans")),
]


@pytest.mark.parametrize("read", [lambda source: source, from_registry], ids=["defined", "from the registry"])
@pytest.mark.parametrize(("what", "feasts", "same"), SAME, ids=[case[0] for case in SAME])
def test_a_source_means_what_one_of_ours_means(
    what: str, feasts: DataSource, same: HybridSparkSource, read: Any
) -> None:
    router = Router()
    assert is_read(feasts)
    assert source_spec(read(feasts), router) == same.resolve(router)


def test_what_an_iceberg_source_says_of_its_catalog_is_kept_to_be_checked() -> None:
    assert source_spec(from_registry(iceberg_source()), Router()).warehouse == "w"
    assert source_spec(iceberg_source(UnityCatalogSource, endpoint="https://x"), Router()).warehouse == ""


@pytest.mark.parametrize("cls", [SparkSource, FileSource, IcebergSource, UnityCatalogSource])
def test_the_page_says_what_becomes_of_each_argument(cls: type[DataSource]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "feast-sources.md").read_text()
    given = [name for name in inspect.signature(cls).parameters if f"`{name}`" not in page]
    assert given == []


def test_hudi_is_a_format_that_the_configuration_allows() -> None:
    feasts = spark_source(path=HDFS, table_format=HudiFormat(properties={"hoodie.metadata.enable": "false"}))
    with pytest.raises(SourceError, match=r"file_format 'hudi' is none of .* allow it: offline_store.file_formats"):
        source_spec(feasts, Router())
    spec = source_spec(feasts, Router(allowed=Allowed(file_formats=frozenset({"hudi"}))))
    assert (spec.file_format, spec.options) == ("hudi", {"hoodie.metadata.enable": "false"})


def test_rows_come_from_a_query_and_batches_go_to_a_path() -> None:
    feasts = spark_source(query="SELECT * FROM raw", path=ADLS, file_format="parquet", field_mapping={"a": "b"})
    spec = source_spec(feasts, Router())
    assert spec == SourceSpec(
        name="s",
        query="SELECT * FROM raw",
        timestamp_field="ts",
        created_timestamp_field="written",
        field_mapping={"a": "b"},
        written_to=ours(path=ADLS, field_mapping={"a": "b"}).resolve(Router()),
    )


class TestSites:
    router = Router([Site(name="onprem", uri="hdfs://lake"), Site(name="cloud", uri=ADLS.removesuffix("/cards"))])

    @pytest.mark.parametrize("feasts", [spark_source, iceberg_source], ids=["SparkSource", "IcebergSource"])
    def test_a_tag_says_where_a_table_is(self, feasts: Any) -> None:
        source = feasts(table="t", tags={"feast_hybrid.site": "cloud"})
        found = source_spec(from_registry(source), self.router).site
        assert found is not None
        assert found.name == "cloud"

    @pytest.mark.parametrize(
        "source",
        [spark_source(table="t"), spark_source(query="SELECT 1 AS a"), iceberg_source()],
        ids=["a table", "a query", "of Iceberg's catalog"],
    )
    def test_without_it_a_table_is_at_home_and_on_no_site(self, source: DataSource) -> None:
        assert source_spec(source, self.router).site is None
        with pytest.raises(RoutingError, match="set site= to one of cloud, onprem"):
            source_spec(ours(table="t"), self.router)

    def test_a_saved_dataset_in_a_table_is_at_home_too(self) -> None:
        storage = SavedDatasetSparkStorage(table="t")
        kept = storage_spec(storage, self.router)
        assert (kept.table, kept.site) == ("t", None)
        assert source_spec(storage.to_data_source(), self.router) == kept

    def test_without_it_a_table_is_on_the_only_site(self) -> None:
        router = Router([Site(name="onprem", uri="hdfs://lake")])
        assert source_spec(spark_source(query="SELECT 1 AS a"), router).site == router.sites[0]
        assert source_spec(spark_source(table="t"), Router()).site is None

    @pytest.mark.parametrize(
        ("source", "error"),
        [
            (
                spark_source(table="t", tags={"feast_hybrid.site": "clod"}),
                r"source 's', tag feast_hybrid.site: site 'clod' is not configured .* Did you mean 'cloud'\?$",
            ),
            (
                spark_source(path=HDFS, file_format="parquet", tags={"feast_hybrid.site": "cloud"}),
                r"its tag feast_hybrid.site is 'cloud', but its path belongs to site 'onprem', hdfs://lake/loans\. L",
            ),
            (
                spark_source(
                    query="SELECT 1 AS a", path=HDFS, file_format="csv", tags={"feast_hybrid.site": "cloud"}
                ),
                r"its tag feast_hybrid.site is 'cloud', but its path belongs to site 'onprem', hdfs://lake/loans\. L",
            ),
        ],
        ids=["unknown", "of another site than the path", "of another site than where batches go"],
    )
    def test_a_tag_that_is_wrong(self, source: DataSource, error: str) -> None:
        with pytest.raises(RoutingError, match=error):
            source_spec(source, self.router)

    @pytest.mark.parametrize(
        ("source", "site"),
        [
            (spark_source(name="bank_a", table="t"), "cloud"),
            (spark_source(name="bank_a", query="SELECT 1 AS a"), "cloud"),
            (iceberg_source(name="bank_a"), "cloud"),
            (ours(name="bank_a", table="t"), "cloud"),
            (ours(name="bank_old_a", table="t"), "onprem"),
            (ours(name="bank_a", query="SELECT 1 AS a", site="onprem"), "onprem"),
            (spark_source(name="bank_a", table="t", tags={"feast_hybrid.site": "onprem"}), "onprem"),
            (spark_source(name="bank_a", path=HDFS, file_format="parquet"), "onprem"),
            (ours(name="bank_a", path=HDFS), "onprem"),
            (spark_source(name="Bank_a", table="t"), None),
            (spark_source(name="of_bank_a", table="t"), None),
        ],
        ids=str.split(
            "a_table a_query of_Iceberg ours the_first_match explicit a_tag a_URI ours_with_a_URI case the_whole_name"
        ),
    )
    def test_a_rule_says_where_a_source_is_that_does_not_say_it(self, source: DataSource, site: str | None) -> None:
        rules = [SourceRule(match="bank_old_*", site="onprem"), SourceRule(match="bank_*", site="cloud")]
        found = source_spec(from_registry(source), Router(self.router.sites, rules=rules)).site
        assert (found.name if found else None) == site

    @pytest.mark.parametrize("by", ["a rule", "a tag"])
    def test_a_bare_path_of_spark_is_on_the_site_that_a_rule_or_a_tag_names(self, by: str) -> None:
        rules = [SourceRule(match="s", site="cloud")] if by == "a rule" else []
        tags = {"feast_hybrid.site": "cloud"} if by == "a tag" else {}
        router = Router(self.router.sites, rules=rules)
        found = source_spec(spark_source(path="/cards", file_format="parquet", tags=tags), router)
        assert str(found.location) == ADLS
        with pytest.raises(RoutingError, match=r"'cards' is relative to a user's folder of abfss://features@acct"):
            source_spec(spark_source(path="cards", file_format="parquet", tags=tags), router)

    def test_a_rule_leaves_a_bare_path_of_this_machine(self) -> None:
        local = Site(name="local", uri="file:///data")
        router = Router([*self.router.sites, local], rules=[SourceRule(match="*", site="cloud")])
        assert str(source_spec(file_source("/data/x.parquet"), router).location) == "file:///data/x.parquet"

    def test_a_saved_dataset_is_on_the_site_of_a_rule_to_write_and_to_read(self) -> None:
        router = Router(self.router.sites, rules=[SourceRule(match="of-bank*", site="cloud")])
        storage = SavedDatasetSparkStorage(table="of-bank")
        kept = storage_spec(storage, router)
        assert kept.site is not None
        assert kept.site.name == "cloud"
        assert source_spec(storage.to_data_source(), router).site == kept.site

    @pytest.mark.parametrize("feasts", [spark_source, iceberg_source], ids=["SparkSource", "IcebergSource"])
    @pytest.mark.parametrize(
        ("tag", "hint"),
        [
            ("feast_hybrid.sites", r" Did you mean 'feast_hybrid\.site'\?"),
            ("Feast_Hybrid.Site", r" Did you mean 'feast_hybrid\.site'\?"),
            ("feast_hybrid.owner", ""),
        ],
    )
    def test_a_tag_that_is_misspelt_is_refused(self, feasts: Any, tag: str, hint: str) -> None:
        source = from_registry(feasts(table="t", tags={"team": "risk", tag: "cloud"}))
        with pytest.raises(
            SourceError, match=rf"^source 's': the tag '{tag}' is none .*: there is feast_hybrid\.site\.{hint}"
        ):
            source_spec(source, self.router)

    def test_files_of_this_machine_need_a_site_where_there_are_sites(self) -> None:
        with pytest.raises(
            RoutingError, match=r"file:///data/x.parquet is under none of .*name: local, uri: 'file:///data'"
        ):
            source_spec(file_source("/data/x.parquet"), self.router)


@pytest.mark.parametrize(
    "source",
    [
        spark_source(path="s3://bucket/x", file_format="parquet"),
        spark_source(path="gs://bucket/x", table_format=IcebergFormat()),
        file_source("s3://bucket/x", s3_endpoint_override="http://minio:9000"),
        spark_source(query="SELECT 1 AS a", path="s3a://bucket/x", file_format="parquet"),
    ],
    ids=["s3", "gs", "FileSource", "where batches go"],
)
def test_a_lake_that_is_not_known_is_refused_by_name(source: DataSource) -> None:
    with pytest.raises(
        RoutingError, match=r"path of source 's': (s3|s3a|gs):// is a lake that feast-hybrid does not know"
    ):
        source_spec(source, Router())


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            spark_source(path="risk.loans", table_format=IcebergFormat(properties={"snapshot-id": "7"})),
            "'risk.loans' is the name of an Iceberg table, which takes no options; found snapshot-id",
        ),
        (
            spark_source(path=HDFS, table_format=DeltaFormat(properties={"fs.azure.account.key.a": "x"})),
            "option 'fs.azure.account.key.a' sets up a file system or a session",
        ),
        (spark_source(path=HDFS, table_format=LanceFormat(tag="a")), "file_format 'lance' is none of"),
        (spark_source(query="SELECT reflect('a', 'b')"), "reflect"),
        (spark_source(query="DELETE FROM loans"), "query"),
        (spark_source(table="parquet.`/x`"), "table reads the path 'parquet./x' as a table"),
    ],
    ids=["options of a named table", "a sign-in", "Lance", "a call into the JVM", "no SELECT", "a path as a table"],
)
def test_what_a_source_of_ours_may_not_one_of_feasts_may_not(source: DataSource, error: str) -> None:
    with pytest.raises(SourceError, match=error):
        source_spec(source, Router())


class TestBarePaths:
    def test_of_files_are_this_machines_from_the_repository_on(self, tmp_path: Path) -> None:
        router = Router(bare_paths=BarePaths(repo=tmp_path, settings={"spark.hadoop.fs.defaultFS": "hdfs://lake"}))
        found = [str(source_spec(file_source(path), router).location) for path in ("data/a.parquet", "/b/c", "./d")]
        assert found == [f"file://{tmp_path}/data/a.parquet", "file:///b/c", f"file://{tmp_path}/d"]

    def test_of_files_lead_where_the_machine_leads(self, tmp_path: Path) -> None:
        (tmp_path / "far" / "repo").mkdir(parents=True)
        (tmp_path / "repo").symlink_to(tmp_path / "far" / "repo")
        router = Router(bare_paths=BarePaths(repo=tmp_path / "repo"))
        assert str(source_spec(file_source("../data"), router).location) == f"file://{tmp_path}/far/data"

    def test_of_files_that_are_there_and_patterns_too(self, tmp_path: Path) -> None:
        """``a[1]`` is a folder of that name to Feast's Dask store, and the pattern of ``a1`` to its DuckDB store."""
        router = Router(bare_paths=BarePaths(repo=tmp_path))
        for name in ("a1", "a[1]", "b1"):
            (tmp_path / name).mkdir()
        with pytest.raises(
            SourceError, match=r"source 's': file://.*/a\[1\] is there, and its name is a pattern too"
        ):
            source_spec(file_source("a[1]"), router)
        assert str(source_spec(file_source("b[1]"), router).location) == f"file://{tmp_path}/b[1]"

    def test_without_a_repository_begin_in_the_working_directory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert str(source_spec(file_source("a"), Router()).location) == f"file://{tmp_path}/a"

    def test_of_spark_are_this_machines_where_nothing_else_is_said(self, tmp_path: Path) -> None:
        source = spark_source(path="/data/x", file_format="parquet")
        assert str(source_spec(source, Router(bare_paths=BarePaths(repo=tmp_path))).location) == "file:///data/x"

    @pytest.mark.parametrize("default", [HDFS.removesuffix("/loans"), HDFS.removesuffix("/loans") + "/"])
    def test_of_spark_are_where_hadoops_default_points(
        self, default: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = spark_source(path="/loans", file_format="parquet")
        by_settings = Router(bare_paths=BarePaths(settings={"spark.hadoop.fs.defaultFS": default}, elsewhere="yarn"))
        assert str(source_spec(source, by_settings).location) == HDFS
        configuration = (
            f"<configuration><property><name>fs.defaultFS</name><value> {default} </value></property></configuration>"
        )
        (tmp_path / "core-site.xml").write_text(configuration)
        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        assert str(source_spec(source, Router()).location) == HDFS
        assert str(source_spec(file_source("/loans"), Router()).location) == "file:///loans"

    def test_of_spark_are_where_the_running_session_has_them(self) -> None:
        settings = {"spark.hadoop.fs.defaultFS": "hdfs://other"}
        paths = BarePaths(settings=settings, of_session="hdfs://lake", elsewhere="yarn")
        source = spark_source(path="/loans", file_format="parquet")
        assert paths.by_hadoop(source.path, what="it") == HDFS

    def test_of_spark_relative_to_a_folder_that_is_not_known(self) -> None:
        router = Router(bare_paths=BarePaths(settings={"spark.hadoop.fs.defaultFS": "hdfs://lake"}))
        with pytest.raises(
            RoutingError, match="path of source 's': 'loans' is relative to a user's folder of hdfs://lake"
        ):
            source_spec(spark_source(path="loans", file_format="parquet"), router)

    @pytest.mark.parametrize("spark", [{"remote": "sc://host:15002"}, {"master": "yarn"}], ids=str)
    def test_of_spark_are_refused_where_spark_runs_elsewhere(self, spark: dict[str, str]) -> None:
        router = HybridSparkOfflineStoreConfig(spark=spark).router
        with pytest.raises(RoutingError, match=r"'/loans' names no lake.*Write file:///loans .* or hdfs://"):
            source_spec(spark_source(path="/loans", file_format="parquet"), router)
        assert str(source_spec(file_source("/loans"), router).location) == "file:///loans"

    def test_of_spark_behind_two_slashes_name_a_server_to_hadoop(self) -> None:
        router = Router(bare_paths=BarePaths(settings={"spark.hadoop.fs.defaultFS": "hdfs://lake"}))
        with pytest.raises(RoutingError, match="'//nn2/loans' begins with two slashes"):
            source_spec(spark_source(path="//nn2/loans", file_format="parquet"), router)

    @pytest.mark.parametrize("line", ["{key} {uri}", " {key}=hdfs://old\n{key}  =  {uri}  ", "{key}:{uri}"])
    def test_of_spark_are_where_the_files_of_spark_point(
        self, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its defaults count more than Hadoop's files, as in a session that is started here."""
        source, uri = spark_source(path="/loans", file_format="parquet"), HDFS.removesuffix("/loans")
        for folder, default in (("spark", "hdfs://spark"), ("hadoop", "hdfs://hadoop"), ("yarn", "hdfs://yarn")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "core-site.xml").write_text(
                f"<configuration><property><name>fs.defaultFS</name><value>{default}</value></property></configuration>"
            )
        found = []
        for variable, folder in (("YARN", "yarn"), ("HADOOP", "hadoop"), ("SPARK", "spark")):
            monkeypatch.setenv(f"{variable}_CONF_DIR", str(tmp_path / folder))
            found.append(str(source_spec(source, Router()).location))
        assert found == ["hdfs://yarn/loans", "hdfs://hadoop/loans", "hdfs://spark/loans"]
        defaults = tmp_path / "spark" / "spark-defaults.conf"
        key = "spark.hadoop.fs.defaultFS"
        defaults.write_text(f"# {key} hdfs://no\nspark.master yarn\n{line.format(key=key, uri=uri)}\n")
        assert str(source_spec(source, Router()).location) == HDFS
        by_settings = Router(bare_paths=BarePaths(settings={key: "hdfs://set"}))
        assert str(source_spec(source, by_settings).location) == "hdfs://set/loans"

    def test_of_spark_are_refused_where_the_environment_names_a_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPARK_REMOTE", "sc://host:15002")
        with pytest.raises(RoutingError, match=r"Spark runs at a server of Spark Connect\): '/loans' names no lake"):
            source_spec(spark_source(path="/loans", file_format="parquet"), Router())

    def test_an_unreadable_configuration_of_hadoop(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "core-site.xml").write_text("<configuration>")
        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        with pytest.raises(RoutingError, match=r"core-site.xml: its fs.defaultFS, .* is unreadable"):
            source_spec(spark_source(path="/loans", file_format="parquet"), Router())


class TestStorages:
    @pytest.mark.parametrize(
        ("storage", "same"),
        [
            (SavedDatasetSparkStorage(path=HDFS, file_format="parquet"), {"path": HDFS}),
            (SavedDatasetSparkStorage(path=ADLS, file_format="avro"), {"path": ADLS, "file_format": "avro"}),
            (SavedDatasetSparkStorage(path=ADLS, table_format=DeltaFormat()), {"path": ADLS, "file_format": "delta"}),
            (SavedDatasetSparkStorage(table="risk.saved"), {"table": "risk.saved"}),
            (SavedDatasetFileStorage(path=HDFS), {"path": HDFS}),
            (SavedDatasetFileStorage(path=HDFS, file_format=DeltaFiles()), {"path": HDFS, "file_format": "delta"}),
        ],
        ids=["Parquet", "Avro", "Delta", "a table", "files", "Delta files"],
    )
    def test_where_a_dataset_is_kept_and_read(self, storage: SavedDatasetStorage, same: dict[str, str]) -> None:
        written = SavedDatasetStorageProto.FromString(storage.to_proto().SerializeToString())
        assert written == storage.to_proto()
        for found in (storage, SavedDatasetStorage.from_proto(written)):
            kept = storage_spec(found, Router())
            read = source_spec(found.to_data_source(), Router())
            expected = HybridSparkSource(name=kept.name, **same).resolve(Router())  # type: ignore[arg-type]
            assert kept == expected
            assert read == expected

    def test_of_a_query(self) -> None:
        with pytest.raises(
            SourceError, match=r"a saved dataset needs a path or a table to be kept in; .* has a query"
        ):
            storage_spec(SavedDatasetSparkStorage(query="SELECT 1"), Router())

    def test_of_another_class(self) -> None:
        with pytest.raises(WriteError, match="SavedDatasetFileStorage; found SavedDatasetBigQueryStorage"):
            storage_spec(SavedDatasetBigQueryStorage(table="t"), Router())


class TestDestinations:
    def test_are_folders_of_parquet(self, tmp_path: Path) -> None:
        router = Router(bare_paths=BarePaths(repo=tmp_path))
        for path, uri in ((ADLS, ADLS), ("data/logs", f"file://{tmp_path}/data/logs")):
            destination = FileLoggingDestination(path=path)
            spec = destination_spec(destination, router)
            assert (str(spec.location), spec.file_format) == (uri, "parquet")
            assert source_spec(destination.to_data_source(), router) == spec

    def test_with_folders_that_nobody_reads_again(self) -> None:
        with pytest.raises(SourceError, match=r"partition_by=\['__log_date'\].*Leave it out"):
            destination_spec(FileLoggingDestination(path=ADLS, partition_by=["__log_date"]), Router())

    def test_of_another_class(self) -> None:
        with pytest.raises(
            WriteError, match="are logged to a BigQueryLoggingDestination; this offline store logs to"
        ):
            destination_spec(BigQueryLoggingDestination(table_ref="t"), Router())


@pytest.mark.parametrize(
    "path",
    [
        f"{ADLS}?sv=1&sig=SeCrEt",
        "acct.blob.core.windows.net/cards?sv=1&sig=SeCrEt",
        "hdfs://user:SeCrEt@lake/loans",
        "s3://key:SeCrEt@bucket/loans",
    ],
)
@pytest.mark.parametrize(
    "named",
    [
        lambda path: source_spec(FileSource(path=path), Router()),
        lambda path: source_spec(spark_source(path=path, file_format="csv"), Router()),
        lambda path: storage_spec(SavedDatasetSparkStorage(path=path, file_format="csv"), Router()),
        lambda path: storage_spec(SavedDatasetFileStorage(path=path), Router()),
        lambda path: destination_spec(FileLoggingDestination(path=path), Router()),
        lambda path: SavedDatasetHybridSparkStorage(path=path),
    ],
    ids=["FileSource", "SparkSource", "Spark storage", "file storage", "destination", "storage of ours"],
)
def test_a_path_with_a_secret_is_refused_and_repeated_nowhere(named: Any, path: str) -> None:
    """Feast calls what has no name of its own by its path."""
    with pytest.raises(RoutingError) as refused:
        named(path)
    assert "SeCrEt" not in "".join(traceback.format_exception(refused.value, limit=0))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            lambda: source_spec(None, Router()),
            "the source is a none; this offline store reads and writes HybridSparkSource",
        ),
        (
            lambda: source_spec(BigQuerySource(name="b", table="t"), Router()),
            "source 'b' is a BigQuerySource; this offline store reads and writes HybridSparkSource, and Feast's own",
        ),
        (
            lambda: source_spec(
                BigQuerySource(name="b", table="t"),
                Router(),
                view=FeatureView(name="v", source=spark_source(table="t")),
            ),
            "feature view 'v' has a batch source of type BigQuerySource; this .* Change the source in the repository",
        ),
    ],
    ids=["none", "by itself", "of a view"],
)
def test_other_sources_are_refused_by_their_class(given: Any, error: str) -> None:
    with pytest.raises(SourceError, match=error):
        given()


class TestFeastsSparkEngine:
    """To a ``SparkSource`` it writes by itself, past this store."""

    @staticmethod
    def config(engine: str) -> RepoConfig:
        return RepoConfig(
            project="p",
            provider="local",
            registry="registry.db",
            offline_store={"type": "feast_hybrid.HybridSparkOfflineStore"},
            batch_engine={"type": engine, "spark.remote": "sc://server"},  # which Feast's class of it does not know
            entity_key_serialization_version=3,
        )

    @staticmethod
    def made_of(source: DataSource, sink: DataSource) -> tuple[BatchFeatureView, DataSource]:
        """A view that is made of another, and what Feast's engine pulls for it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            parent = BatchFeatureView(name="parent", source=source, schema=[Field(name="a", dtype=Int64)])
            made = BatchFeatureView(
                name="child", source=[parent], sink_source=sink, udf=lambda rows: rows, udf_string="", offline=True
            )
        assert parent.batch_source is not None
        return made, parent.batch_source

    def test_does_not_write_a_view_that_is_made_of_another(self) -> None:
        """Of which it pulls the other's source."""
        source = spark_source(path=HDFS, file_format="parquet")
        _view, pulled = self.made_of(source, spark_source(name="sink", path=ADLS, file_format="parquet"))
        with pytest.raises(
            NotSupportedError, match="view 'child' has offline=True and a SparkSource, to which Feast"
        ):
            engine_source_spec(pulled, self.config("spark.engine"))
        assert str(engine_source_spec(pulled, self.config("local")).location) == HDFS
        # The same source of the other view by itself, which is another object where Feast has read the registry.
        assert str(engine_source_spec(from_registry(source), self.config("spark.engine")).location) == HDFS

    def test_writes_to_a_source_of_ours_by_this_store(self) -> None:
        _view, pulled = self.made_of(spark_source(path=HDFS, file_format="parquet"), ours(name="sink", path=ADLS))
        assert str(engine_source_spec(pulled, self.config("spark.engine")).location) == HDFS


class OfOurBank(SparkSource):
    """Where a bank's sources are, and no other way to read them."""


class LastYears(SparkSource):
    """Reads other rows than its table."""

    def get_table_query_string(self) -> str:
        return f"(SELECT * FROM {self.table} WHERE year = 2025)"


def test_a_subclass_is_read_if_it_reads_as_feasts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        plain, other = OfOurBank(table="t"), LastYears(table="t")
    assert source_spec(plain, Router()).table == "t"
    with pytest.raises(SourceError, match="source 't' is a LastYears; this offline store reads and writes"):
        source_spec(other, Router())


def test_a_call_without_a_configuration_is_for_feasts_own_methods() -> None:
    """Feast's ``IcebergSource`` looks at none: it says that nothing is at an empty address."""
    with pytest.raises(ValueError, match=r"Could not load table 'w\.risk\.loans' from catalog"):
        iceberg_source().validate(None)  # type: ignore[arg-type]


WORDS = ["boolean", "int", "bigint", "float", "double", "string", "binary"]
TIMES_AND_NESTED = [
    *("timestamp", "timestamp_ntz", "smallint", "tinyint", "varchar(3)", "map<string,int>", "struct<a:int>"),
    *("array<bigint>", "array<string>", "array<double>", "array<timestamp>"),
]
SPARK, FILE, ICEBERG = spark_source(table="t"), file_source(HDFS), iceberg_source()


@pytest.mark.parametrize(
    ("source", "spark_type"),
    [
        *((source, word) for source in (SPARK, FILE, ICEBERG) for word in WORDS),
        *((source, word) for source in (SPARK, FILE) for word in TIMES_AND_NESTED),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_a_type_is_the_same_to_each_class(source: DataSource, spark_type: str) -> None:
    """But to ``IcebergSource``, which takes times for whole numbers and knows no lists."""
    found = source.source_datatype_to_feast_value_type()(type_words(source)(spark_type))
    assert found == value_type_of_spark(spark_type)
