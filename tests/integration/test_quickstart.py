"""The page docs/quickstart.md, line by line: lakes whose data and addresses stay, a repository, a training set."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
#: The lines of the first terminal, and those of the second.
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
TESTING = [sys.executable, "-m", "feast_hybrid.testing"]
SECONDS = 120


def _free_ports(count: int) -> int:
    """The first of some ports, one after another, that nothing listens on."""
    for first in range(33_000, 60_000, 100):
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", first + n)) for n in range(count)):
                return first
    pytest.fail("no ports are free")


@contextmanager
def _lakes_up(command: list[str], folder: Path, ends: signal.Signals) -> Iterator[str]:
    """What ``up`` prints until its lakes are ready; it ends by a signal, and says no more."""
    log = folder / "up.log"
    with log.open("w") as output:
        run = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + SECONDS
        while "Ready." not in log.read_text():
            assert run.poll() is None and time.monotonic() < deadline, log.read_text()  # noqa: PT018 - the same words
            time.sleep(0.2)
        yield log.read_text()
    finally:
        run.send_signal(ends)
        code = run.wait(60)
    assert code == 0, log.read_text()


def test_each_line_of_the_page_works_and_the_rows_are_there_at_the_next_start(tmp_path: Path) -> None:
    first = str(_free_ports(6))
    install, second = (block.splitlines() for block in BLOCKS)
    assert install[-1].split()[:4] == ["python", "-m", "feast_hybrid.testing", "up"]
    up = [*TESTING, *install[-1].split()[3:], "--first-port", first]
    again = [*TESTING, "up", "--mode", "process", "--data", "lakes", "--first-port", first]
    repo = tmp_path / "quickstart"
    with _lakes_up(up, tmp_path, signal.SIGHUP) as said:
        assert f"uri: hdfs://127.0.0.1:{first}" in said
        assert "; their data stay." in said
        assert f"hdfs://127.0.0.1:{first}/stats" in (repo / "features.py").read_text()
        key = (tmp_path / "lakes" / "adls" / "account.key").read_text()
        assert key not in said
        assert second[0].endswith("&& cd quickstart")
        for line in second[1:]:
            done = _run(line, repo)
        (expected,) = re.findall(r"^```\n(   driver .*?)```", PAGE, re.DOTALL | re.MULTILINE)
        assert done.startswith(expected)
        assert "view 'stats': " in done
        for command, error in ((up, "feature_store.yaml is there already: name another"), (again, "runs already")):
            refused = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            assert error in refused.stderr
    put = [*TESTING, "put", "--data", "lakes", "quickstart/stats.parquet", "onprem:/stats"]
    gone = subprocess.run(put, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert "does not run" in gone.stderr
    with _lakes_up(again, tmp_path, signal.SIGINT) as said:
        assert f"uri: hdfs://127.0.0.1:{first}" in said
        assert _run(second[-1], repo).startswith(expected)


def test_the_readme_has_the_same_lines_and_the_page_the_example_s_files() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Quickstart")[2]
    assert re.findall(r"```console\n(.*?)```", readme, re.DOTALL)[:2] == BLOCKS
    assert sum(len(block.splitlines()) for block in BLOCKS) <= 10
    example = ROOT / "feast_hybrid" / "testing" / "example"
    shown = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert shown == [(example / name).read_text() for name in ("features.py", "rows.py", "train.py")]


def test_the_example_is_of_a_repository(tmp_path: Path) -> None:
    up = [*TESTING, "up", "--example"]
    done = subprocess.run(up, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert "--example is written into the folder of --repo" in done.stderr


def _run(line: str, folder: Path) -> str:
    """Run a line of a shell, with this environment's programs; what it prints."""
    program, *arguments = line.split()
    known = {"python": sys.executable, "feast": str(Path(sys.executable).with_name("feast"))}
    done = subprocess.run(
        [known[program], *arguments], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("to", ["stats", "elsewhere:/stats", "onprem:", "onprem:/"])
def test_a_place_that_is_none_is_refused(to: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    put = [*TESTING, "put", "--data", "lakes", "a.parquet", to]
    done = subprocess.run(put, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert "is not onprem:/FOLDER or cloud:/FOLDER" in done.stderr


def test_containers_keep_no_data(tmp_path: Path) -> None:
    up = [*TESTING, "up", "--mode", "container", "--data", str(tmp_path / "lakes")]
    done = subprocess.run(up, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert "add --mode process" in done.stderr
