"""Under which scheme, and with which settings, Spark reads and writes: nobody's file system is another's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from feast_hybrid.lakes import Router, Site
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.lakes.hadoop_cache import own_scheme, uncached, with_plain_schemes
from feast_hybrid.spark.lake_options import SparkPath, session_options, spark_path

CLOUD = "abfss://features@acct.dfs.core.windows.net"
KEY = "czNjcmV0"
UNCACHED = {"fs.abfs.impl.disable.cache": "true", "fs.abfss.impl.disable.cache": "true"}


class Session:
    """As much of a Spark Classic session as is asked, which says nothing but these settings."""

    def __init__(self, **settings: str) -> None:
        self.conf = SimpleNamespace(get=lambda key, default=None: settings.get(key, default))
        hadoop = SimpleNamespace(
            get=settings.get, getPropertySources=lambda key: ["spark"] if key in settings else None
        )
        self.sparkContext = SimpleNamespace(_jsc=SimpleNamespace(hadoopConfiguration=lambda: hadoop))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_A", KEY)
    monkeypatch.setenv("KEY_B", "b3RoZXI=")


def cloud(variable: str = "KEY_A", **more: Any) -> Site:
    credential = {"type": "account_key", "account_key": {"env": variable}}
    return Site.model_validate({"name": "cloud", "uri": CLOUD, "credential": credential, **more})


def path_of(site: Site, file_format: str = "parquet", session: Session | None = None) -> SparkPath:
    spark: Any = session or Session()
    return spark_path(spark, Router([site]).locate(f"{site.uri}/a b/rows"), file_format)


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro", "csv", "json", "xml", "text", "binaryFile"])
def test_files_are_read_under_a_scheme_of_the_sign_in_s_own(file_format: str) -> None:
    path = path_of(cloud(), file_format)
    assert re.fullmatch("abfss-[a-z2-7]{16}", path.scheme)
    assert path.uri == f"{path.scheme}://features@acct.dfs.core.windows.net/a b/rows"
    assert path.settings[f"fs.{path.scheme}.impl"] == "org.apache.hadoop.fs.azurebfs.SecureAzureBlobFileSystem"
    assert not any("disable.cache" in name for name in path.settings)
    assert KEY not in path.uri
    assert KEY not in repr(path)


def test_the_same_sign_in_has_the_same_scheme_and_another_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    first = path_of(cloud()).scheme
    assert path_of(cloud()).scheme == first
    assert path_of(cloud("KEY_B")).scheme != first
    assert path_of(cloud(options={"fs.azure.io.retry.max.retries": "1"})).scheme != first
    monkeypatch.setenv("KEY_A", "cm90YXRlZA==")
    assert path_of(cloud()).scheme != first
    monkeypatch.setenv("KEY_A", KEY)
    assert path_of(cloud()).scheme == first


def test_schemes_with_and_without_tls_are_kept_apart() -> None:
    settings = {"fs.azure.account.key.x": "1"}
    assert own_scheme("abfs", settings).partition("-")[2] != own_scheme("abfss", settings).partition("-")[2]


@pytest.mark.parametrize("file_format", ["delta", "iceberg", "hudi"])
def test_tables_keep_their_plain_names_and_no_file_system(file_format: str) -> None:
    path = path_of(cloud(), file_format)
    assert path.uri == f"{CLOUD}/a b/rows"
    assert path.settings.items() >= UNCACHED.items()


@pytest.mark.parametrize(
    "site",
    [
        Site(name="cloud", uri=CLOUD),
        Site(name="onprem", uri="hdfs://nn1:8020"),
        Site.model_validate({"name": "onprem", "uri": "hdfs://lake", "credential": {"type": "kerberos"}}),
        Site(name="disk", uri="file:///data"),
    ],
    ids=["platform", "simple", "kerberos", "disk"],
)
def test_who_signs_in_by_the_cluster_uses_the_cluster_s_file_systems(site: Site) -> None:
    path = path_of(site)
    assert path.uri == f"{site.uri}/a b/rows"
    assert not any(".impl" in name for name in path.settings)
    assert uncached(site) == {}


def test_namenodes_that_only_the_site_knows_are_no_others() -> None:
    site = Site(name="onprem", uri="hdfs://lake", namenodes=["nn1:8020", "nn2:8020"])
    assert path_of(site).settings["fs.hdfs.impl.disable.cache"] == "true"
    assert path_of(site).uri == "hdfs://lake/a b/rows"


def test_a_session_for_tables_keeps_no_file_system_of_a_sign_in() -> None:
    spark: Any = Session()
    assert session_options(spark, Router([cloud()])).items() >= UNCACHED.items()
    plain = session_options(spark, Router([Site(name="cloud", uri=CLOUD)]))
    assert not any("disable.cache" in name for name in plain)


@pytest.mark.parametrize("given", ["session", "site"])
def test_a_driver_of_another_name_is_that_of_the_own_scheme(given: str) -> None:
    other = {"fs.abfss.impl": "shaded.SecureAzureBlobFileSystem"}
    path = path_of(cloud(options=other)) if given == "site" else path_of(cloud(), session=Session(**other))
    assert path.settings[f"fs.{path.scheme}.impl"] == "shaded.SecureAzureBlobFileSystem"


MANIFESTS = "org.apache.hadoop.fs.azurebfs.commit.AzureManifestCommitterFactory"
FOLDERS = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
FACTORY = "mapreduce.outputcommitter.factory.scheme"
PROTOCOL = "spark.sql.sources.commitProtocolClass"
OF_SPARK = "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol"


@pytest.mark.parametrize(
    "protocol", ["", "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol"]
)
def test_who_commits_by_spark_s_protocol_does_so_from_folders_of_tasks(protocol: str) -> None:
    settings = {f"{FACTORY}.abfss": MANIFESTS}
    if protocol:
        settings[PROTOCOL] = protocol
    path = path_of(cloud(), session=Session(**settings))
    assert path.settings[f"{FACTORY}.{path.scheme}"] == FOLDERS
    plain = path_of(Site(name="cloud", uri=CLOUD), session=Session(**settings))
    assert plain.scheme == "abfss"
    assert plain.settings[f"{FACTORY}.abfss"] == FOLDERS
    spark: Any = Session(**settings)
    assert session_options(spark, Router([cloud()]))[f"{FACTORY}.abfss"] == FOLDERS
    onprem = Site(name="onprem", uri="hdfs://lake:8020")
    assert not any(FACTORY in name for name in session_options(spark, Router([onprem])))


def test_who_commits_by_another_protocol_does_so_by_the_plain_scheme_s_factory() -> None:
    protocol = {
        "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol"
    }
    path = path_of(cloud(), session=Session(**protocol, **{f"{FACTORY}.abfss": MANIFESTS}))
    assert path.settings[f"{FACTORY}.{path.scheme}"] == MANIFESTS
    assert not any(FACTORY in name for name in path_of(cloud(), session=Session(**protocol)).settings)


def test_options_follow_the_path_and_do_not_overrule_it() -> None:
    path = path_of(cloud())
    name = next(name for name in path.settings if "account.key" in name)
    given: Mapping[str, str] = {"basePath": f"{CLOUD}/a b", "header": "abfss: a word", name: "mine"}
    options = path.options(given)
    assert options["basePath"] == f"{path.scheme}://features@acct.dfs.core.windows.net/a b"
    assert options["header"] == "abfss: a word"
    assert options[name] == KEY
    assert path.renamed("hdfs://lake/x") == "hdfs://lake/x"


def test_errors_have_the_schemes_that_readers_know() -> None:
    scheme = path_of(cloud()).scheme
    text = f"[PATH_NOT_FOUND] Path does not exist: {scheme}://features@acct.dfs.core.windows.net/x"
    assert redacted_summary(text) == f"[PATH_NOT_FOUND] Path does not exist: {CLOUD}/x"
    assert with_plain_schemes("abfss-and-no-digest:") == "abfss-and-no-digest:"
