"""``feast validate``: logs of served features on a lake against a saved dataset on a lake.

Feast keeps a validation reference in its registry only with a profiler of Great Expectations, of a release that holds
back much else, so ``make test-universal`` runs this, whose environment has it.
"""

from __future__ import annotations

from importlib.util import find_spec
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import FeatureStore
from feast.saved_dataset import ValidationReference

from feast_hybrid import SavedDatasetHybridSparkStorage
from tests.integration.places import Places, hour
from tests.integration.test_cli_round import Repo

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.conftest import Write

pytestmark = [
    pytest.mark.skipif(
        find_spec("great_expectations") is None, reason="needs great_expectations<1: make test-universal has it"
    ),
    pytest.mark.filterwarnings("ignore:.*is an experimental feature:RuntimeWarning"),
    # Of Great Expectations and what it stands on.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*Number.* field should not be instantiated"),
]

DEFINITIONS = """
    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.feature_logging import LoggingConfig
    from feast.types import Int64
    from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource

    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    stats = FeatureView(
        name="stats",
        entities=[driver],
        schema=[Field(name="trips", dtype=Int64)],
        source=HybridSparkSource(name="stats_rows", path={stats!r}, timestamp_field="event_timestamp"),
    )
    served = FeatureService(
        name="served",
        features=[stats],
        logging_config=LoggingConfig(destination=HybridSparkLoggingDestination(path={logs!r})),
    )
"""


def ranges(dataset: Any) -> Any:
    """The trips of a dataset as the range to expect."""
    low, high = int(dataset["stats__trips"].min()), int(dataset["stats__trips"].max())
    dataset.expect_column_values_to_be_between("stats__trips", low, high)
    return dataset.get_expectation_suite(discard_failed_expectations=False)


def test_logs_are_validated_against_a_reference_that_the_registry_keeps(
    lakes_to_test: Places,
    spark: SparkSession,
    write: Write,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from feast.dqm.profilers.ge_profiler import GEProfiler

    onprem, cloud = lakes_to_test
    keys = {"driver_id": [1, 2, 3], "event_timestamp": [hour(0)] * 3}
    stats = write(onprem, "stats", {**keys, "trips": [10, 20, 90]})
    logged = {
        "driver_id": [1, 2, 3],
        "stats__trips": [12, 20, 90],
        "stats__trips__timestamp": [hour(0)] * 3,
        "stats__trips__status": [1, 1, 1],
        "__log_timestamp": [hour(1), hour(2), hour(3)],
        "__log_date": [hour(1).date()] * 3,
        "__request_id": ["a", "b", "c"],
    }
    logs = write(cloud, "logs", logged)
    (tmp_path / "validated_features.py").write_text(dedent(DEFINITIONS).format(stats=stats, logs=logs))
    (tmp_path / "data").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    repo = Repo(tmp_path)
    repo.configure(lakes_to_test)
    repo.feast("apply")

    store = FeatureStore(str(tmp_path))
    rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1)] * 2})
    job = store.get_historical_features(rows, ["stats:trips"], full_feature_names=True)
    storage = SavedDatasetHybridSparkStorage(path=f"{onprem.uri}{folder}/reference")
    store.create_saved_dataset(job, "seen", storage)
    store.apply([ValidationReference(name="expected", dataset_name="seen", profiler=GEProfiler(ranges))])
    assert "seen" in repo.feast("saved-datasets", "list")
    assert "expected" in repo.feast("validation-references", "list")

    command = ["validate", "--feature-service", "served", "--reference", "expected"]
    assert "Validation successful!" in repo.feast(*command, hour(1).isoformat(), hour(2).isoformat())
    failed = repo.feast(*command, hour(2).isoformat(), hour(3).isoformat(), code=1)
    assert "Validation failed!" in failed
    assert "stats__trips" in failed
