"""``feast-hybrid check``: what it says of repositories of other stores."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from feast_hybrid.adopt.check import check
from feast_hybrid.adopt.differences import DIFFERENCES
from feast_hybrid.cli.main import main

if TYPE_CHECKING:
    from feast_hybrid.adopt.report import CheckReport, Finding

ROOT = Path(__file__).parents[2]

HEAD = """
    from datetime import timedelta

    from feast import Entity, FeatureView, Field, FileSource, SnowflakeSource
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
    from feast.types import Float64

    driver = Entity(name="driver", join_keys=["driver_id"])
    car = Entity(name="car", join_keys=["car_id"])

    def view(source, entities=(driver,), ttl=timedelta(days=1), **given):
        schema = [Field(name="rate", dtype=Float64)]
        return FeatureView(
            name=source.name, entities=list(entities), ttl=ttl, schema=schema, source=source, **given
        )
"""


@pytest.fixture(autouse=True)
def _no_hadoop_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_HOME", "SPARK_REMOTE"):
        monkeypatch.delenv(name, raising=False)


def repository(folder: Path, offline_store: str, definitions: str = "", **files: str) -> Path:
    settings = f"project: p\nregistry: data/registry.db\nprovider: local\n{dedent(offline_store)}"
    (folder / "feature_store.yaml").write_text(settings)
    if definitions:
        (folder / "features.py").write_text(dedent(HEAD) + dedent(definitions))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text))
    return folder


def found(report: CheckReport) -> dict[str, Finding]:
    assert not report.fault
    return {finding.name: finding for finding in report.views}


def reasons(finding: Finding) -> str:
    return " | ".join(f"{refusal.when}: {refusal.reason}" for refusal in finding.refused)


SPARK = """
    offline_store:
      type: spark
      spark_conf:
        spark.hadoop.fs.azure.account.key.acct.dfs.core.windows.net: ${NOT_SET}
        spark.hadoop.fs.defaultFS: hdfs://lake
"""


def test_views_of_a_spark_repository_are_routed_refused_and_compared(tmp_path: Path) -> None:
    repo = repository(
        tmp_path,
        SPARK,
        """
        box = "abfss://cards@acct.dfs.core.windows.net"
        cards = view(SparkSource(name="cards", path=f"{box}/c", file_format="parquet", timestamp_field="ts"),
                     entities=[driver, car])
        loans = view(SparkSource(name="loans", path="/warehouse/loans", file_format="csv", timestamp_field="ts"))
        bucket = view(SparkSource(name="bucket", path="s3a://b/c", file_format="parquet", timestamp_field="ts"))
        risk = view(SparkSource(name="risk", table="risk.scores", timestamp_field="ts"), ttl=None)
        script = view(SparkSource(name="script", query="SELECT reflect('a', 'b')", timestamp_field="ts"))
        old = view(SparkSource(name="old", table="t", timestamp_field="ts"), ttl=timedelta(days=-1))
        """,
    )
    report = check(repo)
    views = found(report)
    assert report.exit_code == 1
    cards, loans = views["cards"], views["loans"]
    assert cards.reads is not None
    assert (cards.reads.site, cards.reads.lake, cards.source_class) == ("acct", "adls", "SparkSource")
    assert {"ties", "keys", "time-zone", "ttl-in-time-zone"} <= set(cards.differs)
    assert loans.reads is not None
    assert (loans.reads.at, loans.reads.site) == ("hdfs://lake/warehouse/loans", "lake")
    assert "text-files" in loans.differs
    assert "keys" not in loans.differs
    assert views["risk"].reads is not None
    assert views["risk"].reads.at == "risk.scores"
    assert "catalog" in views["risk"].differs
    assert "ttl-in-time-zone" not in views["risk"].differs
    assert {name for name, finding in views.items() if finding.refused} == {"bucket", "script", "old"}
    assert "s3a:// is a lake that feast-hybrid does not know" in reasons(views["bucket"])
    assert "reflect" in reasons(views["script"])
    assert reasons(views["old"]).startswith("history: view 'old': its ttl is -86400 seconds")
    assert "view old (FeatureView)" in report.to_text()


def test_settings_that_are_refused_hide_no_view(tmp_path: Path) -> None:
    repo = repository(
        tmp_path,
        "offline_store: {type: spark, spark_conf: {spark.master: '${NO_SUCH_MASTER}'}}",
        'risk = view(SparkSource(name="risk", table="t", timestamp_field="ts"))',
    )
    report = check(repo)
    assert report.exit_code == 1
    assert not found(report)["risk"].refused
    assert report.refused == ["offline_store.spark.master: environment variable ${NO_SUCH_MASTER} is not set."]


def test_sources_that_another_store_has_are_refused_one_by_one(tmp_path: Path) -> None:
    repo = repository(
        tmp_path,
        "offline_store: {type: snowflake.offline, account: a, password: s3cr3t-word}",
        """
        stats = view(SnowflakeSource(name="stats", table="T", timestamp_field="ts"))
        files = view(FileSource(name="files", path="hdfs://lake/files", timestamp_field="ts"))
        """,
    )
    report = check(repo)
    assert "has a batch source of type SnowflakeSource" in reasons(found(report)["stats"])
    assert not found(report)["files"].refused
    assert "s3cr3t-word" not in report.to_text() + report.to_json()


def test_a_file_that_cannot_be_imported_hides_no_other(tmp_path: Path) -> None:
    repo = repository(
        tmp_path,
        "",
        'files = view(FileSource(name="files", path="hdfs://lake/files", timestamp_field="ts"))',
        broken="""
            from feast import FeatureView
            import no_such_package
            lost = FeatureView(name="lost", source=None)
        """,
        of_postgres="""
            from feast import FeatureView
            from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
            rows = FeatureView(
                name="rows", source=PostgreSQLSource(name="rows", query="SELECT 1", timestamp_field="ts")
            )
        """,
        script='raise SystemExit("usage: script")',
    )
    before = list(sys.path), set(sys.modules)
    report = check(repo)
    assert set(found(report)) == {"files", "rows"}
    assert "has a batch source of type PostgreSQLSource" in reasons(found(report)["rows"])
    assert "stood in for while the files were read: psycopg" in " ".join(report.notes)
    assert [(each.file, each.views, each.defines) for each in report.unread] == [
        ("broken.py", ("lost",), True),
        ("script.py", (), False),
    ]
    assert report.exit_code == 2
    assert "not read broken.py (views lost): ModuleNotFoundError: No module named 'no_such_package'" in (
        report.to_text()
    )
    assert before[0] == sys.path
    left = set(sys.modules) - before[1]
    assert not [name for name in left if name in ("features", "broken", "script") or "psycopg" in name]


def test_files_of_this_machine_are_looked_at_as_feast_apply_does(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    times = pa.array([0], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"driver": [1], "ts": times, "rate": [0.5]}), tmp_path / "stats.parquet")
    repo = repository(
        tmp_path,
        "offline_store: {type: duckdb}",
        """
        stats = view(FileSource(name="stats", path="stats.parquet", timestamp_field="ts"))
        gone = view(FileSource(name="gone", path="gone.parquet", timestamp_field="ts"))
        """,
    )
    views = found(check(repo))
    assert "apply: view 'stats': entity 'driver' has the join key 'driver_id'" in reasons(views["stats"])
    assert not views["gone"].refused
    assert "its columns were not looked at" in views["gone"].notes[0]


def test_the_registry_is_read_where_there_are_no_files(tmp_path: Path) -> None:
    from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
    from feast.types import Float64

    from feast_hybrid import HybridSparkSource

    repository(tmp_path, "offline_store: {type: feast_hybrid.HybridSparkOfflineStore}")
    config = RepoConfig(
        project="p",
        registry=str(tmp_path / "data/registry.db"),
        provider="local",
        offline_store={"type": "feast_hybrid.HybridSparkOfflineStore"},
        online_store=None,
        entity_key_serialization_version=3,
    )
    source = HybridSparkSource(name="s", path="hdfs://lake/s", timestamp_field="ts")
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [Field(name="rate", dtype=Float64)]
    view = FeatureView(name="stats", entities=[driver], source=source, schema=schema)
    registry = FeatureStore(config=config).registry
    registry.apply_data_source(source, "p")
    registry.apply_entity(driver, "p")
    registry.apply_feature_view(view, "p")
    report = check(tmp_path)
    assert report.read_from == "the registry"
    assert (report.exit_code, list(found(report))) == (0, ["stats"])
    assert not report.texts, "nothing differs from this very store"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (None, "feature_store.yaml is not there; give the repository's folder: -c FOLDER"),
        ("project: [", "line 2: this is no YAML"),
        ("- a", "expected 'key: value' lines, found list"),
        ("project: p\nregistry: none.db\nprovider: local", "define neither views nor sources, and its registry is"),
        (
            "project: p\noffline_store: {type: feast_hybrid.HybridSparkOfflineStore, sitess: []}",
            "offline_store.sitess: unknown key; did you mean 'sites'?",
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_exit_code_2(settings: str | None, said: str, tmp_path: Path) -> None:
    if settings is not None:
        (tmp_path / "feature_store.yaml").write_text(f"{settings}\n")
    result = CliRunner().invoke(main, ["check", "-c", str(tmp_path)])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_json_is_one_object_whatever_the_files_print(tmp_path: Path) -> None:
    repo = repository(
        tmp_path,
        "offline_store: {type: spark}",
        """
        print("hello")
        risk = view(SparkSource(name="risk", table="t", timestamp_field="ts"))
        """,
    )
    result = CliRunner().invoke(main, ["check", "--json", "-c", str(repo)])
    content: dict[str, Any] = json.loads(result.stdout)
    assert (content["version"], content["ok"], content["exit_code"]) == (1, True, 0)
    (view,) = content["views"]
    assert view["reads"] == {"kind": "table", "at": "t", "lake": None, "site": None, "file_format": None}
    assert set(view["differs"]) | set(content["differs"]) == set(content["differences"])


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.id)
def test_each_difference_is_in_the_documents(difference: Any) -> None:
    page, _, anchor = difference.docs.partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert anchor in anchors
