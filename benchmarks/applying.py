"""``feast apply`` of many views: on both lakes, and as local FileSources for comparison."""

from __future__ import annotations

import os
import pstats
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import far
from benchmarks.environment import read_environment
from benchmarks.results import Outcome, Result

VIEWS, FEATURES = 50, 5
REPO = """\
from datetime import timedelta
from feast import Entity, FeatureView, FileSource, ValueType
from feast_hybrid import HybridSparkSource

k = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
for number, path in enumerate({paths!r}):
    source = {source}(name=f"source{{number}}", path=path, timestamp_field="ts", created_timestamp_column="created")
    view = FeatureView(name=f"view{{number}}", entities=[k], ttl=timedelta(days=1), source=source)
    globals()[view.name] = view
"""
STORE = """\
project: benchmarks
provider: local
registry: registry.db
online_store: {{type: sqlite, path: online.db}}
entity_key_serialization_version: 3
offline_store: {store}
"""


def measure_apply(runs: int) -> Result:
    """Seconds of the whole command, in turns; what a Java that is started leaves behind; where the time goes."""
    with tempfile.TemporaryDirectory() as name, far.started() as lakes:
        folder = Path(name)
        rows = folder / "rows.parquet"
        _write_rows(rows)
        uris = _upload(rows, lakes)
        locals_ = [f"{folder}/local/{number}.parquet" for number in range(VIEWS)]
        (folder / "local").mkdir()
        for path in locals_:
            Path(path).write_bytes(rows.read_bytes())
        store = f"{{type: feast_hybrid.HybridSparkOfflineStore, sites: {lakes.sites()!r}}}"
        repos = {"ours": _repo(folder / "lakes", uris, "HybridSparkSource", store)}
        repos["files"] = _repo(folder / "files", locals_, "FileSource", "{type: file}")
        repos["empty"] = _repo(folder / "empty", [], "FileSource", "{type: file}")
        marks, environment = no_java(folder)
        outcomes = {name: Outcome(warm_up=_apply(repo, environment)) for name, repo in repos.items()}
        for contender in ("ours", "files"):
            _require_views(repos[contender])
        for _ in range(runs):
            for contender, repo in repos.items():
                (repo / "registry.db").unlink()
                outcomes[contender].seconds.append(_apply(repo, environment))
        (repos["ours"] / "registry.db").unlink()
        found = read_environment()
        found["JVMs started"] = str(len(marks.read_text().splitlines()) if marks.exists() else 0)
        found["where the time goes"] = _profile(repos["ours"], environment, folder / "profile")
    return Result(
        shape="apply",
        what=f"feast apply of {VIEWS} views",
        outcomes=outcomes,
        environment=found,
    )


def _write_rows(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    time = pa.array([0], pa.timestamp("us", tz="UTC"))
    columns = {"k": pa.array([1]), "ts": time, "created": time}
    pq.write_table(pa.table(columns | {f"f{i}": pa.array([0.5]) for i in range(FEATURES)}), path)


def _upload(rows: Path, lakes: far.Lakes) -> list[str]:
    uris = []
    systems = {lakes.hdfs: lakes.hdfs.filesystem(), lakes.adls: lakes.adls.filesystem()}
    for number in range(VIEWS):
        lake = lakes.adls if number % 2 else lakes.hdfs
        root = f"/{lakes.adls.container}" if number % 2 else ""
        systems[lake].makedirs(f"{root}/source{number}", exist_ok=True)
        systems[lake].put_file(str(rows), f"{root}/source{number}/part-0.parquet")
        uris.append(f"{lake.uri}/source{number}")
    return uris


def _repo(folder: Path, paths: list[str], source: str, store: str) -> Path:
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(STORE.format(store=store))
    (folder / "views.py").write_text(REPO.format(paths=paths, source=source))
    return folder


def no_java(folder: Path) -> tuple[Path, dict[str, str]]:
    """A file that is not there yet, and an environment whose Java writes into it that it was started, and fails."""
    marks, binary = folder / "java-was-started", folder / "java" / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\necho started >> {marks}\nexit 1\n")
    binary.chmod(binary.stat().st_mode | stat.S_IEXEC)
    path = f"{binary.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return marks, {**os.environ, "JAVA_HOME": str(binary.parents[1]), "PATH": path}


def _apply(repo: Path, environment: Mapping[str, str], *options: str) -> float:
    command = [sys.executable, *options, "-m", "feast.cli.cli", "-c", str(repo), "apply"]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=repo, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"feast apply failed in {repo}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.monotonic() - began


def _require_views(repo: Path) -> None:
    """Nothing was measured unless all views are there, with the features that only their files tell.

    Raises:
        RuntimeError: they are not.
    """
    from feast.protos.feast.core.Registry_pb2 import Registry

    views = Registry.FromString((repo / "registry.db").read_bytes()).feature_views
    if len(views) != VIEWS or any(len(view.spec.features) != FEATURES for view in views):
        raise RuntimeError(f"{repo}: not {VIEWS} views of {FEATURES} features, but {len(views)}")


def _profile(repo: Path, environment: Mapping[str, str], out: Path) -> str:
    """The parts of one more run, with the profiler's own cost in them."""
    took = _apply(repo, environment, "-m", "cProfile", "-o", str(out))
    stats = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    parts = {
        "finding columns": "parquet_columns",
        "of that: listing": "_first_file",
        "of that: footers": "_footer_columns",
    }
    seconds = dict.fromkeys(parts, 0.0)
    for (_, _, function), (_, calls, _, cumulative, _) in stats.items():
        for text, wanted in parts.items():
            if function == wanted and calls:
                seconds[text] = max(seconds[text], cumulative)
    seconds_text = ", ".join(f"{text} {value:.1f} s" for text, value in seconds.items())
    return f"Where the time goes, under a profiler: {took:.1f} s, {seconds_text}; the rest is Feast's."
