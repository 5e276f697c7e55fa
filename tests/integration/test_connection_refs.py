"""Sources that read and write ADLS by a key that only a vault knows, which their ``connection_ref`` names.

Entra, the vault and the account have Azure's own host names; a proxy leads them to stand-ins and to Azurite.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.testing import session_conf
from feast_hybrid.testing.entra import EntraLake
from tests.integration.places import abfs_speaks_to_azurite, classic_only
from tests.integration.programs import answers_in, run_python

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    classic_only("a program whose proxy is its own"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="PySpark 4.0's ABFS driver cannot speak to Azurite"),
]


def test_a_key_that_only_a_vault_knows_writes_and_reads_its_sources_and_no_other(tmp_path: Path) -> None:
    with EntraLake(vault=True) as lake:
        key = lake.key
        environment = {
            **lake.environment(),
            "AZURE_CLIENT_ID": lake.client,
            "AZURE_TENANT_ID": lake.tenant,
            "AZURE_CLIENT_SECRET": lake.secret,
            "THE_ACCOUNT_KEY": "d3Jvbmc=",  # the site's, with which nobody gets in
        }
        asked = {
            "site": lake.site("cloud", "account_key"),
            "folder": str(tmp_path),
            "spark": {
                "master": "local[2]",
                "conf": {
                    **session_conf(),
                    "spark.driver.extraJavaOptions": lake.java_options(),
                    "spark.sql.shuffle.partitions": "2",
                    "spark.eventLog.enabled": "true",
                    "spark.eventLog.dir": str(tmp_path),
                },
            },
        }
        done = run_python("-m", "tests.integration.connection_program", json.dumps(asked), environment=environment)
    (found,) = answers_in(done)
    expected = {"ours": [10, 20], "spark": [10, 20], "file": [10, 20]}
    assert found["columnar"] == found["window"] == expected
    assert "reads 3 columns of 1 files on site 'cloud'" in found["columnar explained"]
    for strategy in ("columnar", "window"):
        refused = found[f"{strategy} without"]
        assert refused.startswith("AuthenticationError:"), refused
        assert "environment variable THE_ACCOUNT_KEY" in refused
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any("registry" in file.name for file in kept)
    assert [file for file in kept if key.encode() in file.read_bytes()] == []
    assert key not in done.stdout + done.stderr
