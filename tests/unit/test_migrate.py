"""``feast-hybrid migrate``: ``feature_store.yaml`` and Feast's sources made ours, and nothing else changed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from feast_hybrid.adopt.check import check
from feast_hybrid.adopt.python_edit import rewrite_sources
from feast_hybrid.adopt.settings import adopt_section
from feast_hybrid.adopt.yaml_edit import with_section
from feast_hybrid.cli.main import main
from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError
from feast_hybrid.lakes import parse_uri
from tests.unit.test_feast_templates import _as_before, change, feast, forget_modules  # noqa: F401 - a fixture

OURS = "feast_hybrid.HybridSparkOfflineStore"
ACCOUNT = "acct.dfs.core.windows.net"
CARDS = f"abfss://cards@{ACCOUNT}/c"
KEY = "bm90LWEtcmVhbC1rZXk="


@pytest.fixture(autouse=True)
def _no_hadoop_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_HOME", "SPARK_REMOTE"):
        monkeypatch.delenv(name, raising=False)


def edited(text: str, *used: str) -> str:
    text = dedent(text).lstrip()
    given = yaml.safe_load(text).get("offline_store") or {}
    section = {"type": given} if isinstance(given, str) else {"type": "dask", **given}
    adopted = adopt_section(section, [parse_uri(uri) for uri in used])
    assert not adopted.problems
    return with_section(text, adopted)


def test_lines_move_with_their_comments_and_all_others_stay() -> None:
    before = f"""
        # ours
        project: p
        offline_store:
            # Feast's own
            type: spark   # for now
            spark_conf:
                # where it runs
                spark.master: "spark://m:7077"  # a cluster

                spark.executor.memory: 4g  # enough
                spark.hadoop.fs.azure.account.key.{ACCOUNT}: ${{CARDS_KEY}}
                # of Hadoop
                spark.hadoop.fs.azure.read.request.size: 8388608
            staging_location: {CARDS}/staging
        # online
        online_store: &online {{type: sqlite}}
        other: *online
    """
    after = f"""
        # ours
        project: p
        offline_store:
            # Feast's own
            type: {OURS}   # for now
            sites:
            - name: acct
              uri: abfss://cards@{ACCOUNT}
              credential:
                type: account_key
                account_key:
                  env: CARDS_KEY
            - name: lake
              uri: hdfs://lake
            spark:
                master: "spark://m:7077"  # a cluster
                conf:
                    # where it runs

                    spark.executor.memory: 4g  # enough
                    # of Hadoop
                    spark.hadoop.fs.azure.read.request.size: 8388608
            staging_location: {CARDS}/staging
        # online
        online_store: &online {{type: sqlite}}
        other: *online
    """
    made = edited(before, CARDS, "hdfs://lake/loans")
    assert made == dedent(after).lstrip()
    HybridSparkOfflineStoreConfig(**yaml.safe_load(made)["offline_store"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("project: p\nprovider: local\n# c\nonline_store: x\n", f"  type: {OURS}\n# c"),
        ("project: p", f"project: p\noffline_store:\n  type: {OURS}"),
        ("offline_store: spark\nproject: p\n", f"offline_store:\n  type: {OURS}\nproject: p\n"),
        ("offline_store: {type: dask}\n", f"offline_store:\n  type: {OURS}\n"),
        ("offline_store:\n  type: file\n", f"offline_store:\n  type: {OURS}\n"),
        (
            "offline_store:\n  type: spark\n  spark_conf: {spark.master: local, a.b: 1}\n",
            f"  type: {OURS}\n  spark:\n    master: local\n    conf:\n      a.b: 1\n",
        ),
        (
            "offline_store:\n  type: spark\n  spark_conf: &c\n    a.b: 1\nbatch_engine: {type: local, x: *c}\n",
            "  spark:\n    conf: &c\n      a.b: 1\nbatch_engine:",
        ),
        ("offline_store:\n  type: spark\n  region: x\n  spark_conf:\nproject: p\n", f"  type: {OURS}\nproject: p\n"),
        ("offline_store:\n  type: spark\n  spark_conf:\n    spark.master: local\n", "  spark:\n    master: local\n"),
    ],
)
def test_forms_of_a_section(before: str, after: str) -> None:
    assert after in edited(before)


def test_the_ends_of_lines_and_of_the_file_stay() -> None:
    text = "offline_store:\r\n  type: spark\r\n  spark_conf:\r\n    a.b: 1\r\nproject: p"
    adopted = adopt_section({"type": "spark", "spark_conf": {"a.b": 1}})
    made = with_section(text, adopted)
    assert made == (f"offline_store:\r\n  type: {OURS}\r\n  spark:\r\n    conf:\r\n      a.b: 1\r\nproject: p")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &s {type: spark}\noffline_store: *s\n", "offline_store is an alias"),
        (
            "offline_store:\n  type: spark\n  spark_conf: &c\n    spark.master: local\n    a.b: 1\nx: *c\n",
            r"spark_conf is repeated elsewhere \(\*c\)",
        ),
        ("offline_store:\n  type: spark\n  spark_conf: {\n    # why\n    a.b: 1}\n", "a comment would be lost"),
    ],
)
def test_what_is_not_changed_safely_is_left(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        edited(text)


AZURE = f"spark.hadoop.fs.azure.account.%s.{ACCOUNT}"
OAUTH = "org.apache.hadoop.fs.azurebfs.oauth2."
LOGIN = "https://login.microsoftonline.com/tenant-1/oauth2/token"


@pytest.mark.parametrize(
    ("conf", "credential"),
    [
        ({AZURE % "key": KEY}, {"type": "account_key", "account_key": {"env": "ACCT_ACCOUNT_KEY"}}),
        ({"fs.azure.account.key": "$K"}, {"type": "account_key", "account_key": {"env": "K"}}),
        (
            {AZURE % "auth.type": "SAS", f"spark.hadoop.fs.azure.sas.fixed.token.{ACCOUNT}": "${S}"},
            {"type": "sas", "token": {"env": "S"}},
        ),
        (
            {
                AZURE % "auth.type": "OAuth",
                AZURE % "oauth.provider.type": f"{OAUTH}ClientCredsTokenProvider",
                AZURE % "oauth2.client.id": "app",
                AZURE % "oauth2.client.secret": "${S}",
                AZURE % "oauth2.client.endpoint": LOGIN,
            },
            {
                "type": "service_principal",
                "tenant_id": "tenant-1",
                "client_id": "app",
                "client_secret": {"env": "S"},
            },
        ),
        (
            {"fs.azure.account.oauth.provider.type": f"{OAUTH}MsiTokenProvider", AZURE % "oauth2.client.id": "app"},
            {"type": "managed_identity", "client_id": "app"},
        ),
    ],
)
def test_sign_in_to_azure_becomes_a_credential(conf: dict[str, str], credential: dict[str, Any]) -> None:
    adopted = adopt_section({"type": "spark", "spark_conf": {**conf, "a.b": "1"}}, [parse_uri(CARDS)])
    (site,) = adopted.section["sites"]
    assert site == {"name": "acct", "uri": f"abfss://cards@{ACCOUNT}", "credential": credential}
    assert adopted.section["spark"] == {"conf": {"a.b": "1"}}
    assert KEY not in repr(adopted)
    HybridSparkOfflineStoreConfig(**adopted.section)


def test_nameservices_and_kerberos_become_a_site() -> None:
    conf = {
        "spark.hadoop.dfs.nameservices": "lake",
        "spark.hadoop.dfs.ha.namenodes.lake": "a,b",
        "spark.hadoop.dfs.namenode.rpc-address.lake.a": "nn1:8020",
        "spark.hadoop.dfs.namenode.rpc-address.lake.b": "nn2:8020",
        "spark.kerberos.principal": "feast@CORP",
        "spark.kerberos.keytab": "/etc/feast.keytab",
    }
    adopted = adopt_section({"type": "spark", "spark_conf": conf})
    credential = {"type": "kerberos", "principal": "feast@CORP", "keytab": "/etc/feast.keytab"}
    nodes = ["nn1:8020", "nn2:8020"]
    assert adopted.section["sites"] == [
        {"name": "lake", "uri": "hdfs://lake", "namenodes": nodes, "credential": credential}
    ]
    assert "spark" not in adopted.section
    HybridSparkOfflineStoreConfig(**adopted.section)


def test_a_sign_in_for_which_no_container_is_known_is_not_dropped() -> None:
    adopted = adopt_section({"type": "spark", "spark_conf": {AZURE % "key": KEY}})
    assert "--site abfss://CONTAINER@ACCOUNT" in adopted.problems[0]
    assert KEY not in repr(adopted.problems)


SPARK_SOURCE = "feast.infra.offline_stores.contrib.spark_offline_store.spark_source"
REWRITTEN = [
    (
        f"""
        from feast import FeatureView, FileSource
        from {SPARK_SOURCE} import (
            SparkSource,
        )

        a = SparkSource(  # the lake
            name="a",
            path="hdfs://lake/a",  # é: by bytes
            file_format="parquet",
            timestamp_field="ts",
        )
        b = FileSource(path=f"hdfs://{{lake}}/b", timestamp_field="ts")
        c = SparkSource(table="db.c", query=None, timestamp_field="ts")
        """,
        """
        from feast import FeatureView
        from feast_hybrid import HybridSparkSource

        a = HybridSparkSource(  # the lake
            name="a",
            path="hdfs://lake/a",  # é: by bytes
            file_format="parquet",
            timestamp_field="ts",
        )
        b = HybridSparkSource(name=f'hdfs://{lake}/b', path=f"hdfs://{lake}/b", timestamp_field="ts")
        c = HybridSparkSource(table="db.c", timestamp_field="ts")
        """,
    ),
    (
        f"""
        from {SPARK_SOURCE} import SparkSource as S
        from feast.table_format import DeltaFormat

        a = S(
            name="a",
            path="hdfs://lake/a",
            file_format="parquet",
            table_format=DeltaFormat(),
            timestamp_field="ts",
        )
        assert isinstance(a, S)
        """,
        f"""
        from {SPARK_SOURCE} import SparkSource as S
        from feast.table_format import DeltaFormat
        from feast_hybrid import HybridSparkSource

        a = HybridSparkSource(
            name="a",
            path="hdfs://lake/a",
            file_format="delta",
            timestamp_field="ts",
        )
        assert isinstance(a, S)
        """,
    ),
]


@pytest.mark.parametrize(("before", "after"), REWRITTEN)
def test_calls_are_rewritten_and_all_else_stays(before: str, after: str) -> None:
    made = rewrite_sources(dedent(before).lstrip(), several_sites=False)
    assert made.text == dedent(after).lstrip()
    assert rewrite_sources(made.text, several_sites=False).text == made.text


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("SparkSource(**given)", "**arguments"),
        ('SparkSource(name="a", path="/a", timestamp_field="t")', "no URI"),
        ('SparkSource(name="a", path=PATH, timestamp_field="t")', "computed"),
        ('SparkSource(name="a", path="hdfs://l/a")', "no timestamp_field"),
        ('SparkSource(name="a", path="hdfs://l/a", query="q", timestamp_field="t")', "found path and query"),
        ('SparkSource(name="a", table=f"{db}.t", timestamp_field="t")', "plain words"),
        ('SparkSource(name="a", table="1.t", timestamp_field="t")', "plain words"),
        (
            'SparkSource(name="a", path="hdfs://l/a", timestamp_field="t", table_format=IcebergFormat(catalog="c"))',
            "more than a name",
        ),
        ('FileSource(path="data/a.parquet", timestamp_field="t")', "no URI"),
        ('FileSource(path="hdfs://l/a", timestamp_field="t", s3_endpoint_override="e")', "s3_endpoint_override"),
        ('feast.FileSource(path="hdfs://l/a", timestamp_field="t")', "by its module's name"),
    ],
)
def test_what_the_text_does_not_say_is_left(call: str, reason: str) -> None:
    text = f"import feast\nfrom feast import FileSource\nfrom {SPARK_SOURCE} import SparkSource\nx = {call}\n"
    made = rewrite_sources(text, several_sites=False)
    assert (made.text, made.count) == (text, 0)
    (left,) = made.left
    assert reason in left.reason
    assert left.line == 4


def migrate(repo: Path, *options: str) -> Result:
    result = CliRunner().invoke(main, ["migrate", "-c", str(repo), *options])
    forget_modules()
    return result


def test_secrets_are_struck_out_of_the_diff_and_gone_from_the_file(tmp_path: Path) -> None:
    settings = tmp_path / "feature_store.yaml"
    settings.write_text(
        f"project: p\nregistry: {{registry_type: sql, path: 'postgresql://u:hush-hush@h/db'}}\nprovider: local\n"
        f"offline_store:\n  type: spark\n  spark_conf:\n    {AZURE % 'key'}: {KEY}\n"
    )
    (tmp_path / "features.py").write_text("import feast\n")
    refused = migrate(tmp_path)
    assert refused.exit_code == 1
    assert "--site abfss://CONTAINER@ACCOUNT" in refused.output
    shown = migrate(tmp_path, "--site", CARDS)
    assert shown.exit_code == 0
    assert KEY in settings.read_text(), "nothing was written"
    for text in (refused.output, shown.output):
        assert KEY not in text
        assert "hush-hush" not in text
    assert "+        env: ACCT_ACCOUNT_KEY" in shown.output
    assert "set the variable ACCT_ACCOUNT_KEY" in shown.output
    assert migrate(tmp_path, "--site", CARDS, "--apply").exit_code == 0
    assert KEY not in settings.read_text()
    assert "hush-hush" in settings.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feature_store.yaml", "features.py"]


def test_a_store_that_keeps_its_rows_elsewhere_is_left(tmp_path: Path) -> None:
    settings = tmp_path / "feature_store.yaml"
    settings.write_text("project: p\nregistry: r.db\nprovider: local\noffline_store: {type: bigquery}\n")
    (tmp_path / "features.py").write_text("import feast\n")
    result = migrate(tmp_path, "--apply")
    assert result.exit_code == 1
    assert "offline_store.type 'bigquery' keeps its rows where this store does not read" in result.output
    assert "bigquery" in settings.read_text()


def test_the_folder_of_a_registry_s_client_is_migrated_once(tmp_path: Path) -> None:
    settings = tmp_path / "feature_store.yaml"
    settings.write_text("project: p\nregistry: gone/registry.db\nprovider: local\noffline_store: {type: dask}\n")
    first = migrate(tmp_path, "--apply")
    assert first.exit_code == 0
    assert "its registry is not there" in first.stderr
    assert OURS in settings.read_text()
    second = migrate(tmp_path)
    assert (second.exit_code, second.stdout) == (0, "")


@pytest.mark.parametrize("template", ["local", "spark"])
@pytest.mark.filterwarnings("ignore:The spark data source API is an experimental feature:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_template_of_feast_is_migrated_checked_planned_and_applied(template: str, tmp_path: Path) -> None:
    feast("init", "--template", template, "--repo-path", str(tmp_path / "begun"), "begun")
    repo = tmp_path / "begun" / "feature_repo"
    (repo / "test_workflow.py").unlink()
    if template == "spark":  # whose join keys are columns of no file
        change(repo, 'name="customer",', 'name="customer", join_keys=["customer_id"],')
        change(repo, 'name="driver",', 'name="driver", join_keys=["driver_id"],')
        change(repo, r"path=.*driver_hourly_stats[^,\n]*,", f'path="file://{repo}/data/driver_hourly_stats.parquet",')
    forget_modules()
    before = check(repo)
    assert before.exit_code == 0
    assert migrate(repo, "--sources", "--apply").exit_code == 0
    assert ("HybridSparkSource(" in (repo / "feature_definitions.py").read_text()) == (template == "spark")
    again = migrate(repo, "--sources")
    assert again.stdout == ""
    assert "There is nothing to change." in again.stderr
    after = check(repo)
    assert after.exit_code == 0
    assert [(view.name, view.reads) for view in after.views] == [(view.name, view.reads) for view in before.views]
    forget_modules()
    feast("--chdir", str(repo), "plan")
    forget_modules()
    feast("--chdir", str(repo), "apply")
