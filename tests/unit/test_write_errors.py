"""What a write fails with: what it has left, and nothing of a secret in the error or in what is behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid import HybridSparkOfflineStoreConfig, HybridSparkSource
from feast_hybrid.errors import HybridError, ReplacementError, RetrievalError, WriteError
from feast_hybrid.lakes import Router
from feast_hybrid.monitoring import keyed_files, metrics_store
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.writing import datasets, parquet_files, stragglers, whole_path
from tests.unit.exception_texts import texts

CANARY = "c4nary%2BKey9Zq"


def fails(*_: Any, **__: Any) -> Any:
    """Raise what a lake's client might, with a secret in what is behind it."""
    try:
        raise OSError(f"GET https://a.blob.core.windows.net/c?sv=1&sig={CANARY}&se=2 failed")
    except OSError as error:
        raise RuntimeError("Failed to upload") from error


class FailingFrame:
    """Stands for a Spark frame that cannot be written."""

    sparkSession: Any = None

    def __init__(self) -> None:
        self.write = self

    def format(self, _: str) -> FailingFrame:
        return self

    def options(self, **_: str) -> FailingFrame:
        return self

    def mode(self, _: str) -> FailingFrame:
        return self

    save = parquet = fails


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(stragglers, "STRAGGLER_SECONDS", 0)
    return f"file://{tmp_path}/folder"


def append(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "publish", fails)
    source = source_spec(HybridSparkSource(name="rows", path=folder), Router())
    table = pa.table({"n": [1]})
    parquet_files.append_parquet(table, source, lambda: table.schema, what="writing rows")


def save(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = source_spec(HybridSparkSource(name="set", path=folder), Router())
    frame: Any = FailingFrame()
    datasets.save(frame, target, Cancellation(), overwrite=True)


def export(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame: Any = FailingFrame()
    datasets.export(frame, folder, Router(), Cancellation())


METRIC = {
    "project_id": "p",
    "feature_view_name": "stats",
    "feature_name": "trips",
    "metric_date": date(2026, 1, 10),
    "granularity": "daily",
    "data_source_type": "batch",
}


def save_metrics(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_files, "publish", fails)
    metrics_store.save_metrics(HybridSparkOfflineStoreConfig(monitoring_location=folder), "feature", [METRIC])


def query_metrics(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HybridSparkOfflineStoreConfig(monitoring_location=folder)
    metrics_store.save_metrics(store, "feature", [METRIC])
    monkeypatch.setattr(LocalFileSystem, "cat_file", fails)
    metrics_store.query_metrics(store, "p", "feature")


@pytest.mark.parametrize(
    ("call", "error_class", "message"),
    [
        (append, WriteError, r"writing rows: failed; nothing was written: .*Failed to upload"),
        (save, WriteError, r"saving to site 'local'.* failed; nothing was changed: .*Failed to upload"),
        (export, WriteError, r"exporting to file://.*: failed: .*Failed to upload"),
        (save_metrics, WriteError, r"monitoring metrics at site 'local'.*: could not be written: .*Failed to upload"),
        (query_metrics, RetrievalError, r"monitoring metrics at .*: could not be read: .*Failed to upload"),
    ],
)
def test_an_error_says_what_failed_and_holds_no_secret_nor_does_what_is_behind_it(
    call: Callable[[str, pytest.MonkeyPatch], None],
    error_class: type[HybridError],
    message: str,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(error_class, match=message) as caught:
        call(folder, monkeypatch)
    for text in texts(caught.value):
        assert CANARY not in text


def test_that_nothing_was_changed_is_not_said_where_the_old_rows_could_not_be_put_back(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loses(*_: Any, **__: Any) -> None:
        raise ReplacementError("the old rows are at file:///elsewhere", old_rows="file:///elsewhere")

    monkeypatch.setattr(FailingFrame, "save", lambda *_: None)
    monkeypatch.setattr(whole_path, "put_in_place", loses)
    with pytest.raises(ReplacementError, match=r"^the old rows are at file:///elsewhere$"):
        save(folder, monkeypatch)


@pytest.mark.parametrize("file_format", ["delta", "iceberg"])
def test_a_commit_whose_answer_was_lost_is_not_called_undone(
    folder: str, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    def loses(*_: Any) -> None:
        raise RuntimeError("org.apache.iceberg.exceptions.CommitStateUnknownException: connection reset")

    monkeypatch.setattr(datasets, "replace_table", loses)
    target = source_spec(HybridSparkSource(name="set", path=folder, file_format=file_format), Router())
    frame: Any = FailingFrame()
    with pytest.raises(WriteError, match="whether the rows were committed before is not known"):
        datasets.save(frame, target, Cancellation(), overwrite=True)
