from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.errors import TestServerError
from feast_hybrid.testing import artifacts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEAST_HYBRID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put_file(folder: Path) -> None:
    (folder / "a.jar").write_text("content")


def test_an_artifact_is_downloaded_once() -> None:
    first = artifacts.fetch("thing", "thing 1.0", put_file)
    second = artifacts.fetch("thing", "thing 1.0", lambda _: pytest.fail("downloaded again"))
    assert first.path == second.path
    assert first.seconds > 0
    assert second.seconds == 0.0
    assert second.jars() == [str(first.path / "a.jar")]


def test_another_specification_is_another_folder() -> None:
    one = artifacts.fetch("thing", "thing 1.0", put_file)
    two = artifacts.fetch("thing", "thing 2.0", put_file)
    assert one.path != two.path


def test_a_download_that_fails_leaves_nothing_and_is_tried_again(cache: Path) -> None:
    def fail(folder: Path) -> None:
        put_file(folder)
        raise TestServerError("no network")

    with pytest.raises(TestServerError, match="no network"):
        artifacts.fetch("thing", "thing 1.0", fail)
    assert [path.name for path in cache.iterdir()] == ["locks"]
    assert artifacts.fetch("thing", "thing 1.0", put_file).jars()


def test_what_a_dead_process_left_half_done_is_not_used(cache: Path) -> None:
    final = artifacts.fetch("thing", "thing 1.0", put_file).path
    aside = final.with_name(f".{final.name}.part")
    final.rename(aside)
    (aside / "half.jar").touch()
    assert artifacts.fetch("thing", "thing 1.0", put_file).jars() == [str(final / "a.jar")]


def test_two_at_once_download_once() -> None:
    downloads: list[Path] = []

    def slow(folder: Path) -> None:
        downloads.append(folder)
        time.sleep(0.2)
        put_file(folder)

    threads = [threading.Thread(target=artifacts.fetch, args=("thing", "thing 1.0", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 1
