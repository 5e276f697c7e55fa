"""What is said where ADLS, or Entra, refuses a sign-in: the site, the way, where the secret is from, what to check.

The account has Azure's own host names, so the clients are those of programs of their own: see ``test_entra.py``.
"""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.testing import session_conf
from feast_hybrid.testing.entra import EntraLake
from tests.integration.faulty import MINUTES, SEEDS
from tests.integration.places import abfs_speaks_to_azurite, classic_only
from tests.integration.programs import answers_in, run_python
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Iterator

    Answers = dict[str, dict[str, Any]]

pytestmark = [
    classic_only("a program whose proxy is its own"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="PySpark 4.0's ABFS driver cannot speak to Azurite"),
]

ROWS = "n\n1\n"
#: For which a token is good. Python's client asks for another then, Hadoop's a few minutes before.
TOKEN_SECONDS = 6


@pytest.fixture(scope="module")
def lake() -> Iterator[EntraLake]:
    with EntraLake(seconds=TOKEN_SECONDS) as started:
        yield started


def run(lake: EntraLake, sites: dict[str, Any], steps: list[dict[str, Any]], **secrets: str) -> Answers:
    """What a program finds in each of its steps, by their names; none of the secrets is in what it prints."""
    spark = {
        **session_conf(),
        "spark.driver.extraJavaOptions": lake.java_options(),
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
    }
    asked = json.dumps({"sites": sites, "steps": steps, "spark": spark})
    program = "tests.integration.faults.signing_in"
    done = run_python("-m", program, asked, seconds=400, environment={**lake.environment(), **secrets})
    for secret in (lake.secret, lake.key, lake.sas().rpartition("sig=")[2], *secrets.values()):
        assert secret not in done.stdout + done.stderr
    return {answer["name"]: answer for answer in answers_in(done)}


def site(lake: EntraLake, **credential: Any) -> dict[str, Any]:
    return {**lake.site("cloud"), "credential": credential}


#: What happens to a token's file after it was used.
FILES = ("rotated", "vanished")


def sites_of(lake: EntraLake, folder: Path) -> dict[str, Any]:
    """Sites of one account, one for each thing that may be wrong with a sign-in, and a right one."""
    entra = lake.credentials()
    principal, workload = entra["service_principal"], entra["workload_identity"]
    signatures = ("expired", "future", "tampered", "other", "reader")
    return {
        "right": lake.site("cloud", "sas"),
        **{name: site(lake, type="sas", token={"env": f"SAS_{name.upper()}"}) for name in signatures},
        "wrong key": site(lake, type="account_key", account_key={"env": "WRONG_KEY"}),
        "wrong secret": site(lake, **{**principal, "client_secret": {"env": "WRONG_SECRET"}}),
        "unknown application": site(lake, **{**principal, "client_id": str(uuid.UUID(int=7))}),
        "unknown tenant": site(lake, **{**principal, "tenant_id": str(uuid.UUID(int=8))}),
        "missing file": site(lake, **{**workload, "token_file": str(folder / "nowhere")}),
        **{name: site(lake, **{**workload, "token_file": str(folder / name)}) for name in FILES},
    }


def secrets_of(lake: EntraLake) -> dict[str, str]:
    good, _, signature = lake.sas().rpartition("sig=")
    letter = "B" if signature[0] != "B" else "C"
    return {
        "SAS_EXPIRED": lake.sas(hours=-1, since=-3),
        "SAS_FUTURE": lake.sas(hours=3, since=1),
        "SAS_TAMPERED": f"{good}sig={letter}{signature[1:]}",
        "SAS_OTHER": "canary=of another kind of secret",
        "SAS_READER": lake.sas(permissions="rl"),
        "WRONG_KEY": base64.b64encode(b"of another account, 64 bytes long as the real ones are ........").decode(),
        "WRONG_SECRET": "canary-of-a-wrong-client-secret",
    }


#: What each site's error says beside its name and the way of signing in: the class, and pieces of the text.
REFUSED: dict[str, tuple[str, list[str]]] = {
    "expired": ("AuthenticationError", ["sas' with token from environment variable SAS_EXPIRED"]),
    "future": ("AuthenticationError", ["sas' with token from environment variable SAS_FUTURE"]),
    "tampered": ("AuthenticationError", ["sas' with token from environment variable SAS_TAMPERED"]),
    "wrong key": ("AuthenticationError", ["account_key' with account_key from environment variable WRONG_KEY"]),
    "wrong secret": (
        "AuthenticationError",
        ["service_principal' with client_secret from environment variable WRONG_SECRET"],
    ),
    "unknown application": ("AuthenticationError", ["service_principal'", "AADSTS700016"]),
    "unknown tenant": ("AuthenticationError", ["service_principal'", "AADSTS90002"]),
    "rotated": ("AuthenticationError", ["workload_identity'", "/rotated", "AADSTS7000215"]),
}

ROWS_OF_PAGE = {
    "expired": reliability(
        "Sign-in",
        "a shared access signature that has expired",
        "an error that names the site, the way, where the signature is from, the service's code, and since when",
        "which has expired: it was good until",
    ),
    "future": reliability(
        "Sign-in",
        "a signature that is not good yet",
        "an error that names the site, the way, where the signature is from, and from when on it is good",
        "which is not good yet",
    ),
    "tampered": reliability(
        "Sign-in",
        "a signature that was tampered with, or is of another account",
        "an error that names the site, the way, where the secret is from, and the service's code",
        "was copied whole",
    ),
    "wrong key": reliability(
        "Sign-in",
        "a wrong account key under the names of Azure",
        "an error that names the site, the way, where the secret is from, and the service's code",
        "Check that the secret or the ticket is that of this lake",
    ),
    "wrong secret": reliability(
        "Sign-in",
        "a wrong client secret",
        "an error that names the site, the way, where the secret is from, and Entra's code",
        "AADSTS7000215",
    ),
    "unknown application": reliability(
        "Sign-in",
        "an application that Entra does not know",
        "an error that names the site, the way, where the secret is from, and the service's code",
        "AADSTS700016",
    ),
    "unknown tenant": reliability(
        "Sign-in",
        "an unknown tenant",
        "an error that names the site, the way, where the secret is from, and the service's code",
        "AADSTS90002",
    ),
    "rotated": reliability(
        "Sign-in",
        "a token that expires in the middle of the work, when Entra gives no new one",
        "an error that names the site, the way and the file, and Entra's code; what was read before was right",
        "does not accept the sign-in",
    ),
}
BY_SPARK = len(SEEDS) > 1


@pytest.fixture(scope="module")
def answers(lake: EntraLake, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What one program found with all the sites, without a JVM, and in ``make test-faults`` by Spark alone."""
    folder = tmp_path_factory.mktemp("signing-in")
    files = {name: str(folder / name) for name in FILES}
    right = lake.assertion_file.read_text()
    fill = [{"do": "change", "file": file, "text": right} for file in files.values()]
    steps: list[dict[str, Any]] = [*fill, {"do": "write", "site": "right"}]
    for do in ("read", "spark") if BY_SPARK else ("read",):
        steps += [*fill, *({"do": do, "site": name, "name": f"{do} {name} before"} for name in FILES)]
        steps += [{"do": "change", "file": files["rotated"], "text": "of another pod"}]
        steps += [{"do": "remove", "file": files["vanished"]}, {"do": "sleep", "seconds": TOKEN_SECONDS + 1}]
        steps += [{"do": do, "site": name} for name in (*REFUSED, "vanished", "other", "missing file", "reader")]
    steps += [{"do": "write", "site": "reader"}, *fill, {"do": "read", "site": "rotated", "name": "after"}]
    return run(lake, sites_of(lake, folder), steps, **secrets_of(lake))


@pytest.mark.parametrize("name", [pytest.param(name, marks=row) for name, row in ROWS_OF_PAGE.items()])
def test_a_sign_in_that_is_refused_says_which_and_why(
    answers: Answers, lake: EntraLake, name: str, promise: Row
) -> None:
    found = answers[f"read {name}"]
    error, pieces = REFUSED[name]
    assert found["error"] == error, found
    assert f"rows: site 'cloud', {lake.uri}/rows does not accept the sign-in: " in found["text"]
    for piece in (promise.reads, *pieces):
        assert piece in found["text"], found["text"]


@MINUTES
@pytest.mark.parametrize("name", REFUSED)
def test_so_it_is_where_spark_alone_is_refused(answers: Answers, lake: EntraLake, name: str) -> None:
    found = answers[f"spark {name}"]
    error, pieces = REFUSED[name]
    assert found["error"] == error, found
    assert f"rows: site 'cloud', {lake.uri}/rows does not accept the sign-in: " in found["text"]
    for piece in pieces:
        assert piece in found["text"], found["text"]


def test_what_was_read_before_a_token_expired_was_right(answers: Answers) -> None:
    assert answers["read rotated before"]["found"] == answers["read vanished before"]["found"] == ROWS
    assert answers["after"]["found"] == ROWS
    assert answers["read reader"]["found"] == ROWS
    if BY_SPARK:
        assert answers["spark rotated before"]["found"] == "[1]"


@reliability(
    "Sign-in", "a missing token file of workload_identity", "an error that names the file", "cannot be read: No such"
)
def test_a_token_file_that_is_missing_is_no_path_that_is(answers: Answers, promise: Row) -> None:
    for name in ("read missing file", "read vanished"):
        found = answers[name]
        assert found["error"] == "CredentialError", found
        assert promise.reads in found["text"]
        assert "token_file" in found["text"]
    if BY_SPARK:
        found = answers["spark missing file"]
        assert found["error"] == "AuthenticationError", found
        assert "/nowhere" in found["text"]


@reliability(
    "Sign-in", "something else in a signature's variable", "refused where it is read", "is no shared access signature"
)
def test_what_is_no_signature_is_not_sent(answers: Answers, promise: Row) -> None:
    for found in (answers["read other"], *([answers["spark other"]] if BY_SPARK else [])):
        assert found["error"] == "CredentialError", found
        assert promise.reads in found["text"]
        assert "environment variable SAS_OTHER" in found["text"]


@reliability("Sign-in", "rights that do not suffice: ADLS says 403", "an error of its own", "denies access")
def test_rights_that_do_not_suffice_are_told_from_a_sign_in_that_is_refused(answers: Answers, promise: Row) -> None:
    found = answers["write reader"]
    assert found["error"] == "WriteError", found
    assert promise.reads in found["text"]
    assert "what a shared access signature allows" in found["text"]
    assert "sas' with token from environment variable SAS_READER" in found["text"]


@pytest.mark.parametrize(
    "hours",
    [
        pytest.param(
            -1,
            marks=reliability(
                "Sign-in",
                "a clock that is an hour ahead",
                "an error that says by how much",
                "This machine's clock is 60 minutes ahead of the service's",
            ),
        ),
        pytest.param(
            1,
            marks=[
                MINUTES,
                reliability(
                    "Sign-in",
                    "a clock that is an hour behind",
                    "an error that says by how much",
                    "This machine's clock is 60 minutes behind the service's",
                ),
            ],
        ),
    ],
)
def test_a_clock_that_is_off_is_said_to_be(hours: int, promise: Row) -> None:
    with EntraLake(seconds=1200, clock=3600 * hours) as off:
        sites = {"token": off.site("cloud"), "signature": site(off, type="sas", token={"env": "SAS_OF_NOW"})}
        steps = [{"do": "read", "site": name} for name in sites]
        found = run(off, sites, steps, SAS_OF_NOW=off.sas(hours=0.5, since=-0.5))
    for answer in found.values():
        assert answer["error"] == "AuthenticationError", answer
        assert promise.reads in answer["text"]
        assert "credential type" in answer["text"]
