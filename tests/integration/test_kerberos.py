"""HDFS with Kerberos, from the configuration alone: who signs in, and what is said where nobody can.

A realm and an HDFS of the module's own, whose calls and blocks are encrypted. Nothing here has Hadoop's files.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.errors import AuthenticationError, StorageError, UnavailableError
from feast_hybrid.lakes import Site
from feast_hybrid.lakes.errors import storage_error
from feast_hybrid.testing import KerberosRealm, SecureHdfsLake, start_kerberos
from tests.integration.places import classic_only, hour
from tests.integration.programs import answers_in, run_python
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = classic_only("a realm, and clients of a process's own")


@pytest.fixture(scope="module")
def realm() -> Iterator[KerberosRealm]:
    with start_kerberos() as started:
        yield started


@pytest.fixture(scope="module")
def lake(realm: KerberosRealm) -> Iterator[SecureHdfsLake]:
    with SecureHdfsLake(realm) as started:
        yield started


@pytest.fixture(autouse=True)
def _tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tickets of the test's own, and none at first."""
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)


def site(lake: SecureHdfsLake, **credential: Any) -> Site:
    return Site.model_validate({"name": "onprem", "uri": lake.uri, "credential": {"type": "kerberos", **credential}})


def by_keytab(lake: SecureHdfsLake, name: str, keytab: Path) -> Site:
    return site(lake, principal=lake.realm.principal(name), keytab=str(keytab))


def refusal(of: Site) -> StorageError:
    """What a listing of the root raises, as every reader and writer says it."""
    try:
        of.filesystem().ls("/")
    except StorageError as error:
        return error
    except Exception as error:
        if found := storage_error(error, what="source 's'", where="site 'onprem', hdfs://…", sites=[of]):
            return found
        raise
    pytest.fail("nothing was refused")


class TestWithoutAJvm:
    @reliability(
        "Kerberos",
        "none: a keytab and no `HADOOP_CONF_DIR`, without a JVM",
        "reads and writes as its principal; the user's own tickets are left alone",
    )
    def test_a_keytab_reads_and_writes_as_its_principal(self, lake: SecureHdfsLake, tmp_path: Path) -> None:
        files = Site.model_validate(lake.site("onprem")).filesystem()
        content = os.urandom(300_000)
        files.pipe("/by_keytab", content)
        assert files.cat("/by_keytab") == content
        assert files.info("/by_keytab")["owner"] == "feast"
        assert not (tmp_path / "tickets").exists()  # the user's own tickets are left alone

    @reliability("Kerberos", "two principals in one process, without a JVM", "each writes as itself")
    def test_two_principals_in_one_process_are_each_themselves(
        self, lake: SecureHdfsLake, realm: KerberosRealm
    ) -> None:
        for name in ("alice", "bob"):
            files = by_keytab(lake, name, realm.keytab(f"{name}.keytab", name)).filesystem()
            files.pipe(f"/of_{name}", name.encode())
            assert files.info(f"/of_{name}")["owner"] == name

    @reliability("Kerberos", "none: a ticket of kinit, without a JVM", "reads and writes as its principal")
    @pytest.mark.parametrize("named", [True, False])
    def test_a_ticket_signs_in(self, lake: SecureHdfsLake, realm: KerberosRealm, tmp_path: Path, named: bool) -> None:
        realm.tickets("feast", lake.keytab, file=str(tmp_path / "tickets"))
        files = site(lake, **({"principal": realm.principal("feast")} if named else {})).filesystem()
        files.pipe(f"/by_ticket_{named}", b"1")
        assert files.info(f"/by_ticket_{named}")["owner"] == "feast"

    @reliability(
        "Kerberos",
        "no ticket",
        "refused before anybody is asked",
        "Run kinit, or give the site's credential a principal and a keytab.",
    )
    def test_no_ticket_says_where_it_was_looked_for_and_to_run_kinit(
        self, lake: SecureHdfsLake, tmp_path: Path, promise: Row
    ) -> None:
        error = refusal(site(lake))
        assert isinstance(error, AuthenticationError)
        assert str(error) == (
            f"site 'onprem': there is no Kerberos ticket in FILE:{tmp_path}/tickets. {promise.reads}"
        )

    @reliability(
        "Kerberos",
        "a ticket that has expired",
        "refused with its principal, its file and when it expired",
        "Run kinit feast@FEAST.TEST",
    )
    def test_an_expired_ticket_says_whose_and_when(
        self, lake: SecureHdfsLake, realm: KerberosRealm, tmp_path: Path, promise: Row
    ) -> None:
        realm.tickets("feast", lake.keytab, file=str(tmp_path / "tickets"), lifetime="1s")
        time.sleep(1.5)
        text = str(refusal(site(lake)))
        assert f"ticket of principal feast@FEAST.TEST in FILE:{tmp_path}/tickets expired at " in text
        assert promise.reads in text

    @reliability(
        "Kerberos",
        "a keytab whose key is no longer the right one",
        "refused with the keytab and the principal",
        "kadmin: ktadd -k KEYTAB carol@FEAST.TEST",
    )
    def test_a_keytab_with_an_old_key_is_named(
        self, lake: SecureHdfsLake, realm: KerberosRealm, promise: Row
    ) -> None:
        keytab = realm.keytab("carol.keytab", "carol")
        realm.change_key("carol")
        error = refusal(by_keytab(lake, "carol", keytab))
        assert isinstance(error, AuthenticationError)
        assert "site 'onprem', hdfs://… does not accept the sign-in" in str(error)
        assert (
            f"Keytab {keytab} holds a key of principal carol@FEAST.TEST that is not, or no longer, the right"
            in str(error)
        )
        assert promise.reads in str(error)

    @reliability(
        "Kerberos",
        "a principal that the KDC does not know",
        "refused with the principal",
        "The KDC of its realm does not know principal dave@FEAST.TEST",
    )
    def test_a_principal_that_is_gone_is_named(
        self, lake: SecureHdfsLake, realm: KerberosRealm, promise: Row
    ) -> None:
        keytab = realm.keytab("dave.keytab", "dave")
        realm.delete("dave")
        assert promise.reads in str(refusal(by_keytab(lake, "dave", keytab)))

    @reliability(
        "Kerberos",
        "a keytab without the principal's key",
        "refused with the principals that it has",
        "It holds keys of feast@FEAST.TEST",
    )
    def test_a_keytab_of_others_names_them(self, lake: SecureHdfsLake, promise: Row) -> None:
        text = str(refusal(by_keytab(lake, "erin", lake.keytab)))
        assert f"keytab {lake.keytab} holds no key of principal erin@FEAST.TEST. {promise.reads}" in text

    @reliability(
        "Kerberos",
        "a site without a credential before an HDFS with Kerberos",
        "refused with what to write",
        "give the site the credential {type: kerberos, ",
    )
    def test_a_site_without_kerberos_is_told_what_to_write(self, lake: SecureHdfsLake, promise: Row) -> None:
        options = {"dfs.client.failover.max.attempts": "1"}
        simple = Site.model_validate({**lake.site("onprem"), "credential": {"type": "simple"}, "options": options})
        # hdfs-native loses the NameNode's own words.
        text = str(refusal(simple))
        assert f"One that wants Kerberos does so: {promise.reads}" in text


class TestKdcs:
    """Realms of a test's own: nobody gets so far as an HDFS."""

    @reliability(
        "Kerberos",
        "a clock that is off by two hours, by keytab and ticket, without a JVM and in Java",
        "refused with the clock as the reason",
        "his machine's clock and the KDC's differ by more than Kerberos allows",
    )
    def test_a_clock_that_is_off_is_named(
        self, lake: SecureHdfsLake, realm: KerberosRealm, tmp_path: Path, promise: Row
    ) -> None:
        keytab = realm.keytab("ivan.keytab", "ivan")
        with KerberosRealm(clock="+2h", beside=realm) as late:
            text = str(refusal(by_keytab(lake, "ivan", keytab)))
            late.tickets("ivan", keytab, file=str(tmp_path / "tickets"))
            of_tickets = str(refusal(site(lake)))
            (by_java,) = sign_in_by_java([kerberos_site(lake, "ivan", keytab)])
        for said, file in (
            (text, f"keytab {keytab}"),
            (by_java, f"keytab {keytab}"),
            (of_tickets, f"the ticket cache FILE:{tmp_path}/tickets"),
        ):
            assert f"{promise.reads}, five minutes as a rule" in said
            assert f"principal ivan@FEAST.TEST is not signed in by {file}" in said

    @reliability(
        "Kerberos",
        "a KDC that does not answer",
        "unavailable, and no wrong keytab",
        "No KDC of the realm of principal judy@GONE.TEST answers",
    )
    def test_a_kdc_that_is_gone_is_no_wrong_keytab(self, lake: SecureHdfsLake, promise: Row) -> None:
        with start_kerberos("GONE.TEST") as gone:
            keytab = gone.keytab("judy.keytab", "judy")
            of = site(lake, principal=gone.principal("judy"), keytab=str(keytab))
            gone.pause()
            error = refusal(of)
        assert isinstance(error, UnavailableError)
        assert promise.reads in str(error)


class TestWithSpark:
    @reliability(
        "Kerberos",
        "two principals on one Spark session, which signs in once",
        "the first reads and writes; the second is refused",
        "and this process's Spark session is signed in as feast@",
    )
    def test_a_keytab_reads_and_writes_and_nobody_takes_its_place(
        self, lake: SecureHdfsLake, realm: KerberosRealm, tmp_path: Path, promise: Row
    ) -> None:
        path = put_rows(lake)
        other = realm.keytab("heidi.keytab", "heidi")
        steps = [
            {"sites": [lake.site("onprem")], "path": path, "saved": f"{lake.uri}/spark/saved"},
            {"sites": [kerberos_site(lake, "heidi", other)], "path": path},
        ]
        right, another = run_program(steps, tmp_path)
        assert right.get("columnar") == right["window"] == right["saved"] == [10, 20], right
        assert "view 'stats': columnar" in right["columnar plan"]
        owners = {entry["owner"] for entry in lake.filesystem().ls("/spark/saved", detail=True)}
        assert owners == {"feast"}
        assert another["error"] == "SessionError"
        assert f"signs in as heidi@FEAST.TEST, {promise.reads}" in another["text"]

    @reliability(
        "Kerberos",
        "a wrong keytab and an unknown principal, in Spark",
        "refused in the same words as without a JVM",
        "the KDC of its realm does not know principal grace@FEAST.TEST.",
    )
    def test_what_java_refuses_is_said_in_the_same_words(
        self, lake: SecureHdfsLake, realm: KerberosRealm, promise: Row
    ) -> None:
        old = realm.keytab("frank.keytab", "frank")
        realm.change_key("frank")
        gone = realm.keytab("grace.keytab", "grace")
        realm.delete("grace")
        wrong, unknown = sign_in_by_java([kerberos_site(lake, "frank", old), kerberos_site(lake, "grace", gone)])
        assert wrong.startswith(f"site 'onprem': keytab {old} holds a key of principal frank@FEAST.TEST that is not")
        assert unknown.startswith(f"site 'onprem': {promise.reads}")


def put_rows(lake: SecureHdfsLake) -> str:
    sink = pa.BufferOutputStream()
    columns = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "trips": [10, 20]}
    pq.write_table(pa.table(columns), sink)
    files = lake.filesystem()
    files.makedirs("/rows", exist_ok=True)
    files.pipe("/rows/part-0.parquet", sink.getvalue().to_pybytes())
    return f"{lake.uri}/rows"


def kerberos_site(lake: SecureHdfsLake, name: str, keytab: Path) -> dict[str, Any]:
    credential = {"type": "kerberos", "principal": lake.realm.principal(name), "keytab": str(keytab)}
    return {"name": "onprem", "uri": lake.uri, "credential": credential}


SIGN_IN = """
import json, sys
from types import SimpleNamespace
from pyspark import SparkContext
from feast_hybrid.errors import StorageError
from feast_hybrid.lakes import Router, Site
from feast_hybrid.spark.kerberos import sign_in

SparkContext._ensure_initialized()
session = SimpleNamespace(sparkContext=SparkContext)
for site in json.loads(sys.argv[1]):
    try:
        sign_in(session, Router([Site.model_validate(site)]))
        print("signed in")
    except StorageError as error:
        print(error)
"""


def sign_in_by_java(sites: list[dict[str, Any]]) -> list[str]:
    """What a JVM of a process's own says to each site's sign-in, one after the other."""
    return run_python("-c", SIGN_IN, json.dumps(sites)).stdout.splitlines()


def run_program(steps: list[dict[str, Any]], folder: Path, **spark: Any) -> list[dict[str, Any]]:
    conf = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.sql.shuffle.partitions": "2"}
    spark = {"master": "local[2]", **spark, "conf": {**conf, **spark.get("conf", {})}}
    given = {"spark": spark, "steps": steps, "folder": str(folder)}
    return answers_in(run_python("-m", "tests.integration.kerberos_program", json.dumps(given)))
