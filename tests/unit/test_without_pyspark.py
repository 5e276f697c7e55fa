"""Where PySpark is not installed, what needs none works, and what needs it says what to install."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feast_hybrid.errors import HybridError, MissingDependencyError, SessionError, SparkNotInstalledError
from feast_hybrid.spark import installed
from tests.unit.without_pyspark import PythonWithoutSpark
from tests.without_spark import check, make_repository

#: The modules that need PySpark; all others are imported without it.
NEED_PYSPARK = {
    "asof": "join keys latest planner prepare settings ties window entity_stats.collect",
    "asof.columnar": "executor_check frame_view plan rows_frame",
    "demo": "* agreement data history model repo run steps console",
    "doctor": "spark_part",
    "monitoring": "distribution",
    "retrieval": "entity_df frame_rows history_rows join on_demand online_encoding pandas_join pull spark_history"
    " spark_rows spark_views transformed",
    "sources": "files_frame iceberg_catalogs missing_columns reader spark_listing table_folders table_scan text_frame"
    " time_filter",
    "spark": "arrow_frames catalog connect driver_version errors frames iceberg_catalogs isolated jobs lake_options"
    " plan_text reader_settings redaction runtime session sql_plans statistics times",
    "testing.universal": "peer",
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


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> PythonWithoutSpark:
    return PythonWithoutSpark(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    make_repository(tmp_path, [f"file://{tmp_path}"])
    return tmp_path


def test_every_module_but_those_of_spark_is_imported(python: PythonWithoutSpark) -> None:
    failed = json.loads(python.output("-c", IMPORT_ALL))
    listed = [(room, name) for room, names in NEED_PYSPARK.items() for name in names.split()]
    needing = {f"feast_hybrid.{room}.{name}".removesuffix(".*") for room, name in listed}
    assert set(failed) - needing == set()
    assert "feast_hybrid.spark.session" in failed  # else there is a PySpark after all
    assert set(failed.values()) <= {"pyspark", "py4j"}


def test_a_repository_is_applied_and_written_to(python: PythonWithoutSpark, repo: Path) -> None:
    check(python.output("program.py", cwd=repo), places=1)


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
