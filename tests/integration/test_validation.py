"""What Feast asks of a source, and its validation of training sets and of logged features, on both lakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import FeatureService, Field
from feast.dqm.errors import ValidationFailed
from feast.dqm.profilers.profiler import Profile, Profiler, ValidationError, ValidationReport
from feast.feature_logging import LoggingConfig
from feast.types import Int64

from feast_hybrid import HybridSparkLoggingDestination, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import SchemaError, SourceNotFoundError
from tests.integration.places import Place, Places, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.saved_dataset import ValidationReference

    from tests.integration.conftest import MakeStore, Write

pytestmark = pytest.mark.filterwarnings("ignore:.*validation is an experimental feature:RuntimeWarning")

STATS: dict[str, list[Any]] = {"driver_id": [1, 2, 3], "event_timestamp": [hour(0)] * 3, "trips": [10, 20, 90]}


class Range(Profile, ValidationReport):
    """Values that end with a name must lie between the reference's lowest and highest."""

    def __init__(self, name: str, values: pd.Series) -> None:
        self._name = name
        self._low, self._high = values.min(), values.max()
        self._wrong: list[ValidationError] = []

    def validate(self, dataset: pd.DataFrame) -> ValidationReport:
        values = _column(dataset, self._name)
        if not values.between(self._low, self._high).all():
            self._wrong = [ValidationError("range", self._name, observed_value=values.max())]
        return self

    @property
    def is_success(self) -> bool:
        return not self._wrong

    @property
    def errors(self) -> list[ValidationError]:
        return self._wrong

    def to_proto(self) -> Any:
        raise NotImplementedError

    @classmethod
    def from_proto(cls, proto: Any) -> Profile:
        raise NotImplementedError


class RangeProfiler(Profiler):
    def analyze_dataset(self, dataset: pd.DataFrame) -> Profile:
        return Range("trips", _column(dataset, "trips"))

    def to_proto(self) -> Any:
        raise NotImplementedError

    @classmethod
    def from_proto(cls, proto: Any) -> Profiler:
        raise NotImplementedError


def _column(dataset: pd.DataFrame, name: str) -> pd.Series:
    (column,) = (column for column in dataset.columns if column.endswith(name))
    found: pd.Series = dataset[column]
    return found


def entity_rows(*drivers: int) -> pd.DataFrame:
    return pd.DataFrame({"driver_id": drivers, "event_timestamp": [hour(1)] * len(drivers)})


def reference_of(store: FeatureStore, place: Place, folder: str, *drivers: int) -> ValidationReference:
    """The ranges of a dataset that is saved on a lake and read back from there."""
    storage = SavedDatasetHybridSparkStorage(path=f"{place.uri}{folder}/reference")
    store.create_saved_dataset(retrieve(store, entity_rows(*drivers), ["stats:trips"]), "reference", storage)
    return store.get_saved_dataset("reference").as_reference("ranges", RangeProfiler())


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_training_set_is_validated_against_a_saved_dataset(
    make_store: MakeStore, write: Write, lakes_to_test: Places, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    driver = entity("driver", join_key="driver_id")
    store = make_store(driver, view("stats", source("rows", write(place, "stats", STATS)), driver))
    reference = reference_of(store, place, folder, 1, 2)
    within = retrieve(store, entity_rows(2, 1, 2), ["stats:trips"])
    assert list(within.to_df(validation_reference=reference)["trips"]) == [20, 10, 20]
    beyond = retrieve(store, entity_rows(2, 3), ["stats:trips"])
    with pytest.raises(ValidationFailed) as failed:
        beyond.to_df(validation_reference=reference)
    assert [(error.column_name, error.observed_value) for error in failed.value.report.errors] == [("trips", 90)]


def test_logged_features_are_validated_within_the_times_asked_for(
    make_store: MakeStore, write: Write, onprem: Place, cloud: Place, folder: str
) -> None:
    driver = entity("driver", join_key="driver_id")
    schema = [Field(name="trips", dtype=Int64)]
    stats = view("stats", source("rows", write(onprem, "stats", STATS)), driver, schema=schema)
    destination = HybridSparkLoggingDestination(path=f"{cloud.uri}{folder}/logs")
    service = FeatureService(name="served", features=[stats], logging_config=LoggingConfig(destination=destination))
    store = make_store(driver, stats, service)
    logged = {
        "driver_id": [1, 2, 3],
        "stats__trips": [12, 20, 90],
        "stats__trips__timestamp": [hour(0)] * 3,
        "stats__trips__status": [1, 1, 1],
        "__log_timestamp": [hour(1), hour(2), hour(3)],
        "__log_date": [hour(1).date()] * 3,
        "__request_id": ["a", "b", "c"],
    }
    write(cloud, "logs", logged)
    reference = reference_of(store, onprem, folder, 1, 2)

    def validated(start: float, end: float) -> ValidationFailed | None:
        found = store.validate_logged_features(
            service, hour(start), hour(end), reference, throw_exception=False, cache_profile=False
        )
        assert found is None or isinstance(found, ValidationFailed)
        return found

    assert validated(1, 2) is None
    failed = validated(2, 3)
    assert failed is not None
    assert failed.report.errors[0].observed_value == 90


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_source_is_validated_and_described_through_the_offline_store(
    make_store: MakeStore, write: Write, lakes_to_test: Places, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    store = make_store()
    provider = store.provider
    path = write(place, "stats", STATS)
    provider.validate_data_source(store.config, source("stats", path))
    assert list(provider.get_table_column_names_and_types_from_data_source(store.config, source("stats", path))) == [
        ("driver_id", "bigint"),
        ("event_timestamp", "timestamp"),
        ("trips", "bigint"),
    ]
    with pytest.raises(SchemaError, match="created_timestamp_column is 'created', but the columns are driver_id"):
        provider.validate_data_source(store.config, source("stats", path, "created"))
    missing = source("stats", f"{path}_not")
    for call in (
        provider.validate_data_source,
        provider.get_table_column_names_and_types_from_data_source,
    ):
        with pytest.raises(SourceNotFoundError, match=f"nothing is at site '{place.site_name}'"):
            call(store.config, missing)
