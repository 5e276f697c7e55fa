from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from feast_hybrid.cli.main import main
from feast_hybrid.demo import repo
from feast_hybrid.errors import HybridError


def test_help_names_the_commands() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.output
    assert "explain" in result.output


def test_help_imports_nothing_heavy() -> None:
    check = (
        "import sys; from feast_hybrid.cli.main import main; main(['demo', '--help'], standalone_mode=False); "
        "print([name for name in ('feast', 'pandas', 'pyspark', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version_is_the_package_s() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output.strip() == f"feast-hybrid, version {version('feast-hybrid')}"


def test_python_runs_the_package_as_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "feast_hybrid", "--help"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("Usage: feast-hybrid ")


def test_a_known_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    result = CliRunner().invoke(main, ["demo", "--repo", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path} holds files that are not an earlier demo's")
    assert len(result.output.splitlines()) == 1


def test_debug_lets_a_known_error_through(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    result = CliRunner().invoke(main, ["--debug", "demo", "--repo", str(tmp_path)])
    assert isinstance(result.exception, HybridError)


def test_the_demo_leaves_other_files_in_its_folder_alone(tmp_path: Path) -> None:
    folder = repo.claim(tmp_path / "demo")
    _write(folder)
    (folder / "notes.txt").write_text("mine")
    repo.claim(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "feature_store.yaml").exists()


def test_the_demo_does_not_replace_what_was_edited(tmp_path: Path) -> None:
    folder = repo.claim(tmp_path / "demo")
    _write(folder)
    (folder / "features.py").write_text("# mine")
    with pytest.raises(HybridError, match=r"features\.py has been edited"):
        repo.claim(folder)
    assert (folder / "past.py").exists()


def test_a_demo_that_was_cut_short_can_be_run_again(tmp_path: Path) -> None:
    repo.claim(tmp_path / "demo")
    repo.claim(tmp_path / "demo")


def test_the_account_key_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = repo.claim(tmp_path / "demo")
    assert repo.write_secret(folder, "adls.key", "k").stat().st_mode & 0o777 == 0o600


def test_the_registered_paths_are_on_the_lakes_that_were_started(tmp_path: Path) -> None:
    folder = repo.claim(tmp_path / "demo")
    _write(folder)
    features = (folder / "features.py").read_text()
    assert 'ONPREM = "hdfs://127.0.0.1:9000"' in features
    assert 'CLOUD = "abfs://lake@demo.dfs.core.windows.net"' in features


def _write(folder: Path) -> None:
    sites = [
        {"name": "onprem", "uri": "hdfs://127.0.0.1:9000"},
        {"name": "cloud", "uri": "abfs://lake@demo.dfs.core.windows.net"},
    ]
    repo.write(folder, sites, {"spark.jars": "a.jar"}, progress=False)
    assert json.loads((folder / ".feast-hybrid-demo.json").read_text())
