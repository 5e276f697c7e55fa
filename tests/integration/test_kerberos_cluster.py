"""Kerberos on a Spark Standalone cluster, whose executors cannot sign in, and with every protection.

The worker has no ticket and no ``krb5.conf``: executors have the tokens that the driver hands out, and nothing else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.testing import KerberosRealm, SecureHdfsLake, SparkCluster, start_kerberos
from tests.integration.places import classic_only
from tests.integration.reliability import reliability
from tests.integration.test_kerberos import put_rows, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    classic_only("a realm, a cluster, and drivers of their own"),
    pytest.mark.skipif("FEAST_HYBRID_FAULT_ROUNDS" not in os.environ, reason="takes minutes: make test-faults"),
]


@pytest.fixture(scope="module")
def realm() -> Iterator[KerberosRealm]:
    with start_kerberos() as started:
        yield started


@pytest.fixture(params=["authentication", "integrity", "privacy"])
def lake(realm: KerberosRealm, request: pytest.FixtureRequest) -> Iterator[SecureHdfsLake]:
    with SecureHdfsLake(realm, protection=request.param) as started:
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkCluster]:
    """Its worker was started without the realm's configuration, and without a ticket."""
    before = {name: os.environ.pop(name) for name in ("KRB5_CONFIG", "KRB5CCNAME") if name in os.environ}
    with SparkCluster("process", cores=2) as started:
        os.environ.update(before)
        yield started


@reliability(
    "Kerberos",
    "executors on other machines that have no ticket and no `krb5.conf`",
    "read and write with tokens that the driver hands out, under each SASL protection",
)
def test_executors_have_tokens_by_a_keytab_and_by_a_ticket(
    cluster: SparkCluster, realm: KerberosRealm, lake: SecureHdfsLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_rows(lake)
    spark: dict[str, Any] = {"master": cluster.uri, "conf": {"spark.executor.memory": "1g", "spark.cores.max": "2"}}
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/none")
    step = {"sites": [lake.site("onprem")], "path": path, "saved": f"{lake.uri}/by_keytab/saved"}
    (by_keytab,) = run_program([step], tmp_path / "keytab", **spark)
    assert by_keytab.get("columnar") == by_keytab.get("window") == by_keytab.get("saved") == [10, 20], by_keytab

    tickets = realm.tickets("feast", lake.keytab, file=str(tmp_path / "tickets"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tickets}")
    by_ticket_site = {**lake.site("onprem"), "credential": {"type": "kerberos"}}
    step = {"sites": [by_ticket_site], "path": path, "saved": f"{lake.uri}/by_ticket/saved"}
    (by_ticket,) = run_program([step], tmp_path / "ticket", **spark)
    assert by_ticket.get("columnar") == by_ticket.get("window") == by_ticket.get("saved") == [10, 20], by_ticket
    for folder in ("by_keytab", "by_ticket"):
        assert {entry["owner"] for entry in lake.filesystem().ls(f"/{folder}/saved", detail=True)} == {"feast"}
