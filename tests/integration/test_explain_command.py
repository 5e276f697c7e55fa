"""``feast-hybrid explain``: how a training set would be joined, from each form of entity rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from feast import FeatureService

from feast_hybrid.cli.main import main
from tests.integration.places import entity, feature_store, hour, source, view

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.conftest import Write
    from tests.integration.places import Places

DRIVER = entity("driver", join_key="driver_id")
ROWS = {"driver_id": [1], "event_timestamp": [hour(0)]}


@pytest.fixture
def repo(lakes_to_test: Places, spark: SparkSession, write: Write, tmp_path: Path) -> Path:
    """A Feast repo with a view on each lake and a service of both."""
    near = view("near", source("near_rows", write(lakes_to_test.onprem, "near", {**ROWS, "a": [1]})), DRIVER)
    far = view("far", source("far_rows", write(lakes_to_test.cloud, "far", {**ROWS, "b": [2]})), DRIVER)
    service = FeatureService(name="both", features=[near, far])
    store = feature_store(lakes_to_test.sites(), tmp_path, DRIVER, near, far, service)
    config = store.config.model_dump(exclude_unset=True, mode="json", by_alias=True)
    config["offline_store"] = {
        "type": "feast_hybrid.HybridSparkOfflineStore",
        "engine": "spark",
        "sites": lakes_to_test.sites(),
    }
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config))
    pd.DataFrame(ROWS).to_parquet(tmp_path / "rows.parquet")
    pd.DataFrame(ROWS).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(
    "form",
    [
        ["--entities", "rows.parquet"],
        ["--entities", "rows.csv"],
        ["--sql", "SELECT driver_id, event_timestamp FROM near_rows"],
        ["--start", "2026-01-01", "--end", "2026-02-01"],
    ],
    ids=["parquet", "csv", "sql", "dates"],
)
@pytest.mark.parametrize("features", [["near:a", "far:b"], ["both"]], ids=["references", "service"])
def test_each_view_s_strategy_and_its_reason_are_said(features: list[str], form: list[str], repo: Path) -> None:
    given = [str(repo / word) if word.startswith("rows.") else word for word in form]
    result = CliRunner().invoke(main, ["explain", "-c", str(repo), *given, *features])
    assert result.exit_code == 0, result.output
    # How many rows these two forms have is not known, and there is little to read.
    strategy = "window" if form[0] in ("--sql", "--start") else "columnar"
    for name in ("near", "far"):
        assert any(f"view {name!r}: {strategy} (" in line for line in result.output.splitlines())


def test_two_forms_of_entity_rows_are_refused(repo: Path) -> None:
    arguments = ["explain", "-c", str(repo), "--sql", "SELECT 1", "--entities", str(repo / "rows.csv"), "near:a"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "--entities and --sql" in result.output


def test_a_file_that_holds_no_table_is_named(repo: Path) -> None:
    result = CliRunner().invoke(main, ["explain", "-c", str(repo), "--entities", __file__, "near:a"])
    assert result.exit_code == 1
    assert "test_explain_command.py cannot be read as Parquet" in result.output
