"""Why Kerberos signs nobody in, as far as keytabs, ticket caches and a client's words say it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from feast_hybrid.errors import AuthenticationError, UnavailableError
from feast_hybrid.lakes.kerberos import (
    fault_in_text,
    find_fault,
    keytab_fault,
    keytab_principals,
    read_tickets,
    ticket_cache,
    ticket_fault,
    ticket_file,
)
from tests.unit.kerberos_files import write_keytab, write_tickets

ME = "feast@CORP.TEST"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
    return tmp_path / "tickets"


def text_of(principal: str | None = None) -> str:
    fault = ticket_fault(principal)
    assert fault is not None
    return fault.text


class TestKeytabs:
    def test_it_names_the_principals_of_its_keys(self, tmp_path: Path) -> None:
        keytab = write_keytab(tmp_path / "keytab", "nn/host.corp@CORP.TEST", ME, ME, removed=7)
        assert keytab_principals(keytab) == [ME, "nn/host.corp@CORP.TEST"]

    @pytest.mark.parametrize("principal", [ME, "feast"])
    def test_nothing_is_wrong_with_one_that_holds_the_principal_s_key(self, tmp_path: Path, principal: str) -> None:
        assert keytab_fault(principal, write_keytab(tmp_path / "keytab", "other@CORP.TEST", ME)) is None

    def test_one_of_others_names_them(self, tmp_path: Path) -> None:
        keytab = write_keytab(tmp_path / "keytab", "a@CORP.TEST", "b@CORP.TEST")
        fault = keytab_fault(ME, keytab)
        assert fault is not None
        assert fault.text == (
            f"keytab {keytab} holds no key of principal {ME}. It holds keys of a@CORP.TEST, b@CORP.TEST: set "
            f"principal to one that it holds, or have one made (kadmin: ktadd -k {keytab} {ME})."
        )

    @pytest.mark.parametrize("content", [b"", b"no keytab", b"\x05\x02\x00\x00\x00\x30\x00\x01"])
    def test_another_file_is_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "keytab").write_bytes(content)
        fault = keytab_fault(ME, tmp_path / "keytab")
        assert fault is not None
        assert fault.text.startswith(f"{tmp_path}/keytab is no keytab: ")

    def test_one_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        fault = find_fault(ME, tmp_path / "keytab")
        assert fault is not None
        assert fault.text.startswith(f"keytab {tmp_path}/keytab of principal {ME} cannot be read: No such file")


class TestTickets:
    def test_the_last_ticket_of_the_kdc_counts(self, cache: Path) -> None:
        found = read_tickets(write_tickets(cache, ME, krbtgt=2_000, nn=9_000))
        assert found is not None
        assert (found.principal, found.begins, found.expires) == (ME, 1.0, 2_000.0)

    def test_nothing_is_wrong_with_one_that_is_valid(self, cache: Path) -> None:
        write_tickets(cache, ME, krbtgt=time.time() + 60)
        assert ticket_fault() is None
        assert ticket_fault(ME) is None
        assert ticket_fault("feast") is None

    def test_one_that_expired_says_when(self, cache: Path) -> None:
        write_tickets(cache, ME, krbtgt=1_700_000_000)
        assert text_of() == (
            f"the Kerberos ticket of principal {ME} in FILE:{cache} expired at 2023-11-14 22:13:20 UTC. Run kinit "
            f"{ME}, or give the site's credential a principal and a keytab."
        )

    def test_none_says_where_it_was_looked_for(self, cache: Path) -> None:
        assert text_of() == (
            f"there is no Kerberos ticket in FILE:{cache}. Run kinit, or give the site's credential a principal and "
            "a keytab."
        )
        assert text_of(ME).startswith(
            f"there is no Kerberos ticket of principal {ME} in FILE:{cache}. Run kinit {ME},"
        )
        write_tickets(cache, ME, nn=time.time() + 60)
        assert text_of().startswith(f"the ticket cache FILE:{cache} holds no ticket of principal {ME}.")

    def test_those_of_somebody_else_are_not_used(self, cache: Path) -> None:
        write_tickets(cache, "other@CORP.TEST", krbtgt=time.time() + 60)
        assert f"is of principal other@CORP.TEST, and {ME} is to sign in. Run kinit {ME}," in text_of(ME)

    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("FILE:/a/b", "/a/b"),
            ("/a/b", "/a/b"),
            ("DIR::/a/tkt1", "/a/tkt1"),
            ("KCM:0", None),
            ("KEYRING:persistent:0", None),
        ],
    )
    def test_not_every_cache_is_a_file(self, monkeypatch: pytest.MonkeyPatch, name: str, file: str | None) -> None:
        monkeypatch.setenv("KRB5CCNAME", name)
        assert ticket_cache() == name
        assert ticket_file() == (Path(file) if file else None)

    def test_a_folder_of_caches_names_its_primary_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KRB5CCNAME", f"DIR:{tmp_path}")
        (tmp_path / "primary").write_text("tktab\n")
        assert ticket_file() == tmp_path / "tktab"


@pytest.mark.parametrize(
    ("words", "begins", "meaning"),
    [
        (
            "Client not found in Kerberos database (6)",
            "the KDC of its realm does not know principal feast@CORP.TEST.",
            AuthenticationError,
        ),
        ("Checksum failed", "keytab /k holds a key of principal feast@CORP.TEST that is not", AuthenticationError),
        (
            "Pre-authentication information was invalid (24)",
            "keytab /k holds a key of principal feast@CORP.TEST that is not",
            AuthenticationError,
        ),
        ("Clock skew too great (37)", "this machine's clock and the KDC's differ", AuthenticationError),
        ("Cannot locate KDC", "no KDC is known of the realm of principal feast@CORP.TEST", UnavailableError),
    ],
)
def test_what_java_says_of_a_sign_in(words: str, begins: str, meaning: type[Exception]) -> None:
    text = f"KerberosAuthException: failure to login: javax.security.auth.login.LoginException: {words}"
    fault = fault_in_text(text, ME, Path("/k"))
    assert fault is not None
    assert fault.text.startswith(begins)
    assert fault.meaning is meaning


def test_other_words_say_nothing_of_a_sign_in() -> None:
    assert fault_in_text("org.apache.hadoop.ipc.StandbyException: no", ME, None) is None
