"""The doctor on real lakes: one that works, one that is down, one whose key is wrong, and a machine without Java."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from feast_hybrid.testing import session_conf
from feast_hybrid.testing.services import free_ports
from tests.integration.places import Places, classic_only, on_connect, outside_of_spark
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = "from feast_hybrid.cli.main import main; main()"
WRONG = base64.b64encode(b"another account's key").decode()


def doctor(
    folder: Path, offline_store: dict[str, Any], *arguments: str, **environment: str
) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the checks, and all that was printed."""
    (folder / "feature_store.yaml").write_text(
        yaml.safe_dump(
            {
                "project": "doctor",
                "provider": "local",
                "registry": str(folder / "registry.db"),
                "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
                "offline_store": {"type": "feast_hybrid.HybridSparkOfflineStore", **offline_store},
                "entity_key_serialization_version": 3,
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "doctor", "-c", str(folder), "--json", *arguments],
        env=outside_of_spark(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.startswith("{"), done.stderr[-4000:]
    return done.returncode, json.loads(done.stdout)["checks"], done.stdout + done.stderr


def statuses(checks: list[dict[str, Any]], area: str, site: str | None = None) -> dict[str, str]:
    return {check["name"]: check["status"] for check in checks if (check["area"], check["site"]) == (area, site)}


def secrets(sites: list[dict[str, Any]]) -> list[str]:
    keys = [site["credential"].get("account_key") for site in sites]
    return [os.environ[key["env"]] for key in keys if key]


@pytest.mark.connect
def test_where_all_works_nothing_fails_and_no_probe_is_left(
    lakes_to_test: Places, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    spark: dict[str, Any] = {"master": "local[2]", "conf": {**session_conf(), "spark.sql.shuffle.partitions": "2"}}
    if on_connect():
        spark = {"remote": request.getfixturevalue("connect_server").uri}
    code, checks, printed = doctor(tmp_path, {"sites": lakes_to_test.sites(), "spark": spark})
    assert code == 0, [check for check in checks if check["status"] == "failed"]
    for site in ("onprem", "cloud"):
        without_jvm = statuses(checks, "site", site)
        assert {without_jvm[name] for name in ("credential", "port", "list", "write", "read", "delete", "clock")} == {
            "ok"
        }
        assert statuses(checks, "site by spark", site) == dict.fromkeys(("write", "read", "delete"), "ok")
    assert set(statuses(checks, "spark").values()) == {"ok"}
    assert set(statuses(checks, "spark")) == {"session", "Hadoop", "workers' Python"}
    for place in (lakes_to_test.onprem, lakes_to_test.cloud):
        assert not [name for name in place.names(place.uri) if "doctor" in name]
    assert not [secret for secret in secrets(lakes_to_test.sites()) if secret in printed]


@reliability(
    "Sign-in",
    "one lake down, one key wrong and no Java: what `feast-hybrid doctor` prints",
    "each is named with what to do, and the rest is checked, within 60 seconds",
)
@classic_only("no Spark is in it")
def test_a_lake_that_is_down_a_wrong_key_and_no_java_are_each_named_with_what_to_do(
    lakes_to_test: Places, tmp_path: Path
) -> None:
    onprem, cloud = lakes_to_test.sites()
    (closed,) = free_ports(1)
    wrong = {**cloud, "credential": {**cloud["credential"], "account_key": {"env": "WRONG_KEY"}}}
    down = {"name": "down", "uri": f"hdfs://127.0.0.1:{closed}", "credential": {"type": "simple"}}
    began = time.monotonic()
    environment = {"WRONG_KEY": WRONG, "PATH": str(tmp_path), "JAVA_HOME": ""}
    code, checks, printed = doctor(tmp_path, {"sites": [onprem, down, wrong]}, **environment)
    assert time.monotonic() - began < 60
    assert code == 1
    failed = {(check["site"], check["name"]): check for check in checks if check["status"] == "failed"}
    assert set(failed) == {(None, "Java"), ("down", "port"), ("cloud", "list"), (None, "session")}
    assert "apt-get install openjdk-17-jre-headless" in failed[None, "Java"]["found"]
    assert "Connection refused" in failed["down", "port"]["found"]
    assert "Check that the NameNode runs" in failed["down", "port"]["advice"]
    assert "does not accept the sign-in" in failed["cloud", "list"]["found"]
    assert "with account_key from environment variable WRONG_KEY" in failed["cloud", "list"]["found"]
    assert statuses(checks, "site", "onprem")["delete"] == "ok"
    assert WRONG not in printed
