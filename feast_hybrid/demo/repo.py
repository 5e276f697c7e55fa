"""The Feast repo that the demo leaves behind: its files, and whose they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from feast_hybrid.demo.console import DemoError

_TEMPLATE = Path(__file__).with_name("template")
_MARKER = ".feast-hybrid-demo.json"
_ONPREM, _CLOUD = "hdfs://namenode:8020", "abfs://lake@account.dfs.core.windows.net"

#: Folders that the demo fills: made anew each time.
EVENTS, DATA = "spark-events", "data"

_YAML_HEAD = "# Two lakes behind one offline store. Written by `feast-hybrid demo`.\n"


def claim(repo: Path) -> Path:
    """Make the folder, or empty it of what an earlier demo has left there; other files stay.

    Returns:
        Its absolute path.

    Raises:
        DemoError: there are files and none of them is a demo's, or one of the demo's has been edited since.
    """
    repo = repo.absolute()
    if repo.exists() and not repo.is_dir():
        raise DemoError(f"{repo} is a file; give --repo another folder.")
    marker = repo / _MARKER
    if marker.exists():
        written = json.loads(marker.read_text(encoding="utf-8"))
        edited = [name for name, digest in written.items() if _digest(repo / name) not in (digest, None)]
        if edited:
            raise DemoError(
                f"{repo / edited[0]} has been edited since the last demo; keep it, and give --repo another folder."
            )
        for name in written:
            (repo / name).unlink(missing_ok=True)
        for folder in (EVENTS, DATA, "__pycache__"):
            shutil.rmtree(repo / folder, ignore_errors=True)
    elif repo.exists() and any(repo.iterdir()):
        raise DemoError(f"{repo} holds files that are not an earlier demo's; give --repo an empty or new folder.")
    for folder in (EVENTS, DATA):
        (repo / folder).mkdir(parents=True)
    marker.write_text("{}", encoding="utf-8")
    return repo


def write(repo: Path, sites: Sequence[Mapping[str, Any]], session: Mapping[str, str], *, progress: bool) -> None:
    """Write the repo's files.

    Args:
        repo: a folder that was claimed.
        sites: the entries of ``offline_store.sites``: on premises, cloud.
        session: what a Spark session needs to reach them.
        progress: whether Spark shows a progress bar for what takes long.
    """
    store = {
        "project": "flight_delays",
        "provider": "local",
        "registry": f"{DATA}/registry.db",
        "online_store": {"type": "sqlite", "path": f"{DATA}/online.db"},
        "offline_store": {
            "type": "feast_hybrid.HybridSparkOfflineStore",
            "sites": [dict(site) for site in sites],
            "spark": {
                "master": "local[*]",
                "app_name": "flight-delays",
                "conf": _session_settings(repo, session, progress=progress),
            },
        },
        "entity_key_serialization_version": 3,
    }
    files = {"feature_store.yaml": _YAML_HEAD + yaml.safe_dump(store, sort_keys=False, width=1000)}
    for template in _TEMPLATE.iterdir():
        if template.is_file() and template.name != "__init__.py":
            files[template.name] = template.read_text(encoding="utf-8")
    onprem, cloud = (str(site["uri"]) for site in sites)
    files["features.py"] = files["features.py"].replace(_ONPREM, onprem).replace(_CLOUD, cloud)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    (repo / _MARKER).write_text(json.dumps(digests, indent=1), encoding="utf-8")
    for name, text in files.items():
        (repo / name).write_text(text, encoding="utf-8")


def write_secret(repo: Path, name: str, secret: str) -> Path:
    """Write a file among the repo's data that only its owner can read."""
    file = repo / DATA / name
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")
    return file


def _session_settings(repo: Path, session: Mapping[str, str], *, progress: bool) -> dict[str, str]:
    """The Spark settings of the repo: a quiet log, and an event log that anyone may read through for keys."""
    return {
        **session,
        "spark.driver.memory": "2g",
        "spark.sql.shuffle.partitions": "8",
        "spark.driver.extraJavaOptions": f"-Dlog4j.configurationFile={(repo / 'log4j2.xml').as_uri()}",
        "spark.ui.showConsoleProgress": str(progress).lower(),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (repo / EVENTS).as_uri(),
        "spark.eventLog.compress": "false",
    }


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
