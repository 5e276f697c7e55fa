"""Where PySpark is not installed, what needs none works, and what needs it says what to install."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feast_hybrid.errors import HybridError, MissingDependencyError, SessionError, SparkNotInstalledError
from feast_hybrid.spark import installed
from tests.unit.without_pyspark import PythonWithoutSpark

#: The modules that need PySpark; all others are imported without it.
NEED_PYSPARK = {
    "asof": "join keys latest planner prepare settings ties window entity_stats.collect",
    "asof.columnar": "executor_check frame_view plan rows_frame",
    "demo": "* agreement data history model repo run steps console",
    "doctor": "spark_part",
    "monitoring": "distribution",
    "retrieval": "entity_df frame_rows history_rows join on_demand online_encoding pandas_join pull spark_history"
    " spark_rows spark_views transformed",
    "sources": "files_frame missing_columns reader spark_listing table_folders table_scan text_frame time_filter",
    "spark": "arrow_frames catalog connect driver_version errors frames iceberg_catalogs isolated jobs lake_options"
    " plan_text reader_settings redaction runtime session sql_plans statistics times",
    "testing.universal": "configs peer",
    "writing": "by_spark catalog_tables datasets table_formats",
}

IMPORT_ALL = """
import importlib, json, pkgutil
import feast_hybrid
failed = {}
for module in pkgutil.walk_packages(feast_hybrid.__path__, "feast_hybrid.", onerror=lambda name: None):
    if module.name.endswith("__main__") or ".demo.template." in module.name:
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        failed[module.name] = error.name
print(json.dumps(failed))
"""

FEATURES = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.feature_logging import LoggingConfig
from feast.types import Float64, Int64
from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource

account = Entity(name="account", join_keys=["account"], value_type=ValueType.INT64)
FORMATS = ("parquet", "delta", "iceberg", "orc")

def view(file_format):
    place = {"path": f"file://FOLDER/{file_format}", "file_format": file_format}
    return FeatureView(
        name=f"by_{file_format}", entities=[account], ttl=timedelta(days=1),
        schema=[Field(name="account", dtype=Int64), Field(name="balance", dtype=Float64)],
        source=HybridSparkSource(name=f"of_{file_format}", timestamp_field="seen", **place),
    )

views = {name: view(name) for name in FORMATS}
by_parquet, by_delta, by_iceberg, by_orc = views.values()
log = LoggingConfig(destination=HybridSparkLoggingDestination(path="file://FOLDER/logs"))
service = FeatureService(name="balances", features=[by_parquet], logging_config=log)
"""

ROUND = """
import json, sys
from datetime import timedelta
from pathlib import Path
import pandas as pd, pyarrow as pa, pyarrow.orc, pyarrow.parquet as pq
from feast import FeatureStore
from feast.feature_logging import FeatureServiceLoggingSource
from feast.repo_config import load_repo_config
from feast.repo_operations import apply_total, plan
from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import SparkNotInstalledError
from feast_hybrid.sources.inference import source_columns
import features

repo = Path.cwd()
config = load_repo_config(repo, repo / "feature_store.yaml")
now = pa.array([pd.Timestamp("2026-01-10", tz="UTC")] * 2, pa.timestamp("us", tz="UTC"))
rows = pa.table({"account": pa.array([1, 2]), "seen": now, "balance": pa.array([0.5, 1.5])})
for name in ("parquet", "delta", "iceberg"):
    HybridSparkOfflineStore.offline_write_batch(config, features.views[name], rows, None)
(repo / "orc").mkdir()
pyarrow.orc.write_table(rows, repo / "orc" / "part.orc")
plan(config, repo, skip_source_validation=False)
apply_total(config, repo, skip_source_validation=False)
store = FeatureStore(repo_path=".")
schema = FeatureServiceLoggingSource(features.service, config.project).get_schema(store.registry)
logged = pa.table({field.name: pa.nulls(1, field.type) for field in schema})
store.write_logged_features(logged, features.service)

def refusal(call):
    try:
        call()
    except SparkNotInstalledError as error:
        return str(error)
    return "not refused"

router, spark = config.offline_store.router, config.offline_store.spark
def source(**place):
    from feast_hybrid.sources.resolve import source_spec
    return source_spec(HybridSparkSource(name="elsewhere", timestamp_field="seen", **place), router)

query = source(query="select * from t")
avro = features.FeatureView(
    name="by_avro", entities=[features.account], schema=features.by_parquet.schema,
    source=HybridSparkSource(name="a", path=f"file://{repo}/avro", file_format="avro", timestamp_field="seen"),
)
entities = pd.DataFrame({"account": [1], "event_timestamp": [pd.Timestamp("2026-01-10", tz="UTC")]})
refs = [f"by_{name}:balance" for name in features.FORMATS]
job = store.get_historical_features(entities, refs, full_feature_names=True)
dates = {"start_date": now[0].as_py(), "end_date": now[0].as_py()}
storage = SavedDatasetHybridSparkStorage(path=f"file://{repo}/saved")
store.create_saved_dataset(job, "saved", storage)
store.materialize(now[0].as_py() - timedelta(days=1), now[0].as_py() + timedelta(days=1))
found = {
    "columns": {
        name: source_columns(source(path=f"file://{repo}/{name}", file_format=name), spark, router)
        for name in features.FORMATS
    },
    "rows": {
        name: sum(pq.read_metadata(file).num_rows for file in (repo / name).rglob("*.parquet"))
        for name in ("parquet", "delta", "iceberg")
    },
    "logs": len(list((repo / "logs").glob("*.parquet"))),
    "a query": refusal(lambda: source_columns(query, spark, router)),
    "a batch of Avro": refusal(lambda: HybridSparkOfflineStore.offline_write_batch(config, avro, rows, None)),
    "a Spark frame": refusal(job.to_spark_df),
    "history": job.to_df().filter(like="balance").to_dict("records"),
    "by dates": sorted(store.get_historical_features(None, refs[:1], **dates).to_df()["balance"]),
    "saved": len(store.get_saved_dataset("saved").to_df()),
    "exported": len(store.get_historical_features(entities, refs[:1]).to_remote_storage()),
    "online": store.get_online_features(refs[:1], [{"account": 2}]).to_dict()["balance"],
    "loaded": "pyspark" in sys.modules,
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> PythonWithoutSpark:
    return PythonWithoutSpark(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "feature_store.yaml").write_text(
        "project: p\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "online_store: {type: sqlite, path: online.db}\n"
        "offline_store: {type: feast_hybrid.HybridSparkOfflineStore, staging_location: 'file:///STAGING'}\n".replace(
            "/STAGING", f"{tmp_path}/staging"
        )
    )
    return tmp_path


def test_every_module_but_those_of_spark_is_imported(python: PythonWithoutSpark) -> None:
    failed = json.loads(python.program(IMPORT_ALL))
    listed = [(room, name) for room, names in NEED_PYSPARK.items() for name in names.split()]
    needing = {f"feast_hybrid.{room}.{name}".removesuffix(".*") for room, name in listed}
    assert set(failed) - needing == set()
    assert "feast_hybrid.spark.session" in failed  # else there is a PySpark after all
    assert set(failed.values()) <= {"pyspark", "py4j"}


def test_a_repository_is_applied_and_written_to(python: PythonWithoutSpark, repo: Path) -> None:
    (repo / "features.py").write_text(FEATURES.replace("FOLDER", str(repo)))
    found = json.loads(python.program(ROUND, cwd=repo).splitlines()[-1])
    install = "PySpark is not installed: pip install 'feast-hybrid[spark]'"
    assert found.pop("a query").startswith(f"source 'elsewhere' (a query) needs Spark, and {install}")
    assert install in found.pop("a batch of Avro")
    assert install in found.pop("a Spark frame")
    assert found.pop("history") == [{f"by_{name}__balance": 0.5 for name in ("parquet", "delta", "iceberg", "orc")}]
    assert (found.pop("by dates"), found.pop("online")) == ([0.5, 1.5], [1.5])
    assert (found.pop("saved"), found.pop("exported")) == (1, 1)
    columns = [["account", "bigint"], ["balance", "double"], ["seen", "timestamp"]]
    assert {name: sorted(of_it) for name, of_it in found["columns"].items()} == dict.fromkeys(
        ("parquet", "delta", "iceberg", "orc"), columns
    )
    assert found["rows"] == {"parquet": 2, "delta": 2, "iceberg": 2}
    assert (found["logs"], found["loaded"]) == (1, False)


def test_the_command_line_and_its_doctor(python: PythonWithoutSpark, repo: Path) -> None:
    shown = python.run("-m", "feast_hybrid", "--help")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, "Usage: feast-hybrid [OPTIONS] COMMAND [ARGS]...")
    done = python.run("-m", "feast_hybrid", "doctor", "-c", str(repo), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {(check["area"], check["name"]): check for check in json.loads(done.stdout)["checks"]}
    pyspark = checks["machine", "PySpark"]
    assert (pyspark["status"], pyspark["found"].split(".")[0]) == ("not tried", "not installed")
    assert "pip install 'feast-hybrid[spark]'" in pyspark["advice"]
    assert checks["spark", "session"]["status"] == "not tried"
    refused = python.run("-m", "feast_hybrid", "demo")
    assert refused.stderr.startswith("Error: feast-hybrid demo needs Spark, and PySpark is not installed: pip ")


class TestSupported:
    @pytest.mark.parametrize(
        ("version", "is_supported"),
        [("4.0.5", True), ("4.3.0", True), ("4.3.1.dev", True), ("4.0.4", False), ("3.5.8", False), ("4.4.0", False)],
    )
    def test_which_versions_are(self, version: str, is_supported: bool) -> None:
        assert installed.is_supported(version) == is_supported

    def test_another_one_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "version.py").write_text('__version__: str = "3.5.8"\n')
        monkeypatch.setattr(installed, "find_pyspark", lambda: tmp_path)
        with pytest.raises(SparkNotInstalledError, match=r"x needs Spark, and PySpark 3\.5\.8 is installed"):
            installed.require_pyspark("x")

    def test_this_environments_is_taken(self) -> None:
        from importlib.metadata import version

        assert installed.pyspark_version() == version("pyspark")
        installed.require_pyspark("x")

    def test_the_error_is_of_sessions_and_of_what_is_missing(self) -> None:
        assert issubclass(SparkNotInstalledError, SessionError)
        assert issubclass(SparkNotInstalledError, MissingDependencyError)
        assert issubclass(SparkNotInstalledError, HybridError)
