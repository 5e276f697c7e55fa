"""Answers of an account without their body, as Spark's driver reads them over TLS: by Apache's HTTP client.

Java's own client, which is used without TLS, takes such an answer for the end of the file where nothing of it came.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.testing import AdlsLake, Fault, FaultProxy, entra, session_conf
from tests.integration.faulty import MINUTES, OPTIONS
from tests.integration.places import abfs_speaks_to_azurite, classic_only, outside_of_spark
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    classic_only("a program whose certificates are its own"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="PySpark 4.0's ABFS driver cannot speak to Azurite"),
]

COUNT = 500
READS = 12


class TlsProxy(FaultProxy):
    """Speaks TLS to its clients."""

    def __init__(self, upstream: str, folder: Path) -> None:
        super().__init__(upstream)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "server.pem", folder / "server.key")

    def _serve(self, connection: socket.socket) -> None:
        with self._tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as secure:
            super()._serve(secure)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    entra._write_certificates(tmp_path)
    return tmp_path


@pytest.fixture
def proxy(certificates: Path) -> Iterator[tuple[AdlsLake, TlsProxy]]:
    with AdlsLake("process") as lake, TlsProxy(lake.endpoint, certificates) as found:
        text = "n\n" + "".join(f"{number}\n" for number in range(COUNT))
        lake.filesystem().pipe_file("lake/rows/part-0.csv", text.encode())
        yield lake, found


@MINUTES
@reliability("ADLS", "answers without their body, while Spark reads CSV over TLS", "read anew; never fewer rows")
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_no_row_is_lost(proxy: tuple[AdlsLake, TlsProxy], certificates: Path, kept: float) -> None:
    lake, front = proxy
    host = lake.uri.partition("@")[2]
    site: dict[str, Any] = {
        **lake.site("cloud"),
        "uri": lake.uri.replace("abfs:", "abfss:"),
        "options": {
            **OPTIONS,
            "fs.azure.always.use.https": "true",
            f"fs.azure.networking.library.{host}": "APACHE_HTTP_CLIENT",
        },
    }
    site["credential"] = {**site["credential"], "endpoint": front.endpoint}
    trust = f"-Djavax.net.ssl.trustStore={certificates / 'authority.p12'} -Djavax.net.ssl.trustStorePassword=changeit"
    spark = {**session_conf(), "spark.driver.extraJavaOptions": trust, "spark.ui.enabled": "false"}
    steps = [{"do": "spark", "site": "tls", "name": str(number)} for number in range(READS)]
    with front.having(Fault("short", "GET", r"\.csv", kept=kept, probability=0.5), seed=2):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.integration.faults.signing_in",
                json.dumps({"sites": {"tls": site}, "steps": steps, "spark": spark}),
            ],
            env=outside_of_spark(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        injected = front.injected
    assert done.returncode == 0, done.stderr[-6000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [answer.get("found", answer) for answer in answers] == [str(list(range(COUNT)))] * READS
    assert len(injected) >= READS // 4
