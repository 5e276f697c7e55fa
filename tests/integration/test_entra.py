"""Sign-ins to ADLS that are not by an emulator's key: a signature, and Entra's, by Spark's driver and without a JVM.

The account has Azure's own host names; a proxy leads them to Azurite, and Entra's to a token service. Clients take
tokens and send them over TLS as they do to Azure. Roles and access control lists are not to be had here: see
``test_real_account.py``.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.testing import session_conf
from feast_hybrid.testing.entra import EntraLake
from tests.integration.places import abfs_speaks_to_azurite, classic_only
from tests.integration.programs import answers_in, run_python
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    classic_only("a program whose proxy is its own"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="PySpark 4.0's ABFS driver cannot speak to Azurite"),
]

WAYS = ("account_key", "sas", "service_principal", "managed_identity", "workload_identity", "platform")


@pytest.fixture(scope="module")
def lake() -> Iterator[EntraLake]:
    with EntraLake() as started:
        yield started


def run(lake: EntraLake, sites: dict[str, Any], folder: Path, **given: Any) -> dict[str, dict[str, Any]]:
    application = {"AZURE_CLIENT_ID": lake.client, "AZURE_TENANT_ID": lake.tenant, "AZURE_CLIENT_SECRET": lake.secret}
    asked = json.dumps({"sites": sites, "folder": str(folder), **given})
    done = run_python(
        "-m", "tests.integration.entra_program", asked, environment={**lake.environment(), **application}
    )
    assert lake.secret not in done.stdout + done.stderr
    return {answer["name"]: answer for answer in answers_in(done)}


@reliability(
    "Sign-in",
    "each credential of ADLS: account key, SAS, service principal, managed identity, workload identity, platform",
    "reads and writes, by Spark and without a JVM",
)
@pytest.mark.skipif("FEAST_HYBRID_FAULT_ROUNDS" not in os.environ, reason="takes minutes: make test-faults")
def test_each_way_reads_and_writes_by_spark_and_without_a_jvm(lake: EntraLake, tmp_path: Path) -> None:
    sites = {name: lake.site("cloud", name) for name in WAYS}
    conf = {
        **session_conf(),
        "spark.driver.extraJavaOptions": lake.java_options(),
        "spark.sql.shuffle.partitions": "2",
        # What a cluster has of its own, for the credential type 'platform'.
        **lake.platform_settings(),
    }
    found = run(lake, sites, tmp_path, spark={"master": "local[2]", "conf": conf})
    for name in WAYS:
        assert found[name] == {"name": name, "without a JVM": [10, 20], "spark": [10, 20], "saved": [10, 20]}


@reliability(
    "Sign-in",
    "a wrong client secret, and the token file of another workload",
    "refused with the site, the credential, where the secret is from and Entra's code",
    "does not accept the sign-in",
)
def test_a_refused_sign_in_names_the_site_the_way_and_where_the_secret_is_from(
    lake: EntraLake, tmp_path: Path, promise: Row
) -> None:
    secret = {
        **lake.site("cloud"),
        "credential": {**lake.credentials()["service_principal"], "client_secret": {"env": "THE_SAS"}},
    }
    (tmp_path / "of_another_pod").write_text("of another pod")
    assertion = {**lake.credentials()["workload_identity"], "token_file": str(tmp_path / "of_another_pod")}
    found = run(
        lake,
        {"secret": secret, "assertion": {**lake.site("cloud"), "credential": assertion}},
        tmp_path,
    )
    assert found["secret"]["error"] == found["assertion"]["error"] == "AuthenticationError", found
    assert f"site 'cloud' {promise.reads}" in found["secret"]["text"]
    assert "client_secret from environment variable THE_SAS" in found["secret"]["text"]
    assert "AADSTS7000215" in found["secret"]["text"]
