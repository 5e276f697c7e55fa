"""Saved datasets whose place another writer takes meanwhile; on this machine's disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import WriteError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.writing import datasets, stragglers
from feast_hybrid.writing.datasets import save
from feast_hybrid.writing.whole_path import DatasetExistsError


class Frame:
    """Stands for a Spark frame: calls something while it is written, and leaves one file."""

    def __init__(self, meanwhile: Any) -> None:
        self.write = self
        self.sparkSession = None
        self._meanwhile = meanwhile

    def format(self, _: str) -> Frame:
        return self

    def options(self, **_: str) -> Frame:
        return self

    def mode(self, _: str) -> Frame:
        return self

    def save(self, uri: str) -> None:
        put(Path(uri.removeprefix("file://")) / "mine")
        self._meanwhile()


def put(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(file.name)


def save_to(folder: Path, frame: Any, file_format: str, *, overwrite: bool) -> None:
    target = HybridSparkSource(name="set", path=f"file://{folder}", file_format=file_format)
    save(frame, source_spec(target, Router()), Cancellation(), overwrite=overwrite)


def test_what_another_writer_has_put_there_meanwhile_is_not_replaced_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stragglers, "STRAGGLER_SECONDS", 0)
    folder = tmp_path / "set"
    with pytest.raises(DatasetExistsError, match="allow_overwrite=True"):
        save_to(folder, Frame(lambda: put(folder / "theirs")), "parquet", overwrite=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "theirs"]

    save_to(folder, Frame(lambda: put(folder / "theirs")), "parquet", overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["_SUCCESS", "mine", "set"]


@pytest.mark.parametrize(
    ("file_format", "log"),
    [("delta", "_delta_log/00000000000000000000.json"), ("iceberg", "metadata/v1.metadata.json")],
)
def test_a_first_write_that_fails_leaves_the_table_that_another_writer_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str, log: str
) -> None:
    folder = tmp_path / "set"

    def loses(*_: Any) -> None:
        put(folder / log)
        raise OSError("another writer was faster")

    monkeypatch.setattr(datasets, "replace_table", loses)
    with pytest.raises(WriteError, match="another writer was faster"):
        save_to(folder, None, file_format, overwrite=True)
    assert (folder / log).exists()


@pytest.mark.parametrize("file_format", ["delta", "iceberg"])
def test_a_first_write_that_fails_leaves_no_files_that_no_log_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    def fails(*_: Any) -> None:
        put(tmp_path / "set" / "part-0.parquet")
        raise OSError("no")

    monkeypatch.setattr(datasets, "replace_table", fails)
    with pytest.raises(WriteError, match="no"):
        save_to(tmp_path / "set", None, file_format, overwrite=True)
    assert not (tmp_path / "set").exists()
