"""Why Kerberos does not sign somebody in: what a keytab and a ticket cache hold, and what a KDC says.

Clients say little of it: Java wraps it three times, and hdfs-native has of the reason only that there is one. So this
asks again: the files are read here, and libkrb5, which hdfs-native needs anyway, tries to sign in.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feast_hybrid.errors import AuthenticationError, MissingDependencyError, StorageError, UnavailableError

#: For how long a KDC is asked, when it is to say why.
_SECONDS_TO_ASK = 10.0
_GSSAPI = "libgssapi_krb5.so.2"
_LIBRARIES = ("libkrb5.so.3", "libkrb5.dylib")
#: More than any structure of libkrb5 that is filled here.
_ROOM = 1024
#: Where in libkrb5's ``krb5_creds`` the time is at which the KDC signed in, in seconds since 1970.
_AUTHENTICATED = 48
#: How far clocks may be apart, as KDCs and servers have it unless they are told otherwise.
_SECONDS_OF_SKEW = 300
#: MIT's numbers of a clock that is off, and of no KDC that answers.
_CLOCK_IS_OFF = -1765328347
_NO_ANSWER = -1765328228


@dataclass(frozen=True)
class Fault:
    """Why somebody cannot be signed in.

    Attributes:
        text: who, which file, what was found and what to do; whole sentences.
        meaning: the class of the error.
    """

    text: str
    meaning: type[StorageError] = AuthenticationError


@dataclass(frozen=True)
class Tickets:
    """What a ticket cache holds.

    Attributes:
        principal: whose it is.
        begins: when the last of its tickets for its realm's KDC begins to be good, in seconds since 1970.
        expires: when that one expires; None where there is none.
    """

    principal: str
    begins: float
    expires: float | None


def ticket_cache() -> str:
    """The ticket cache of this process, such as ``FILE:/tmp/krb5cc_1000`` or ``KCM:1000``."""
    given = os.environ.get("KRB5CCNAME")
    return given or _default_cache(os.environ.get("KRB5_CONFIG")) or f"FILE:/tmp/krb5cc_{os.getuid()}"


def ticket_file() -> Path | None:
    """The file of the ticket cache; None where it is kept elsewhere, such as in the kernel's keyring."""
    kind, separator, rest = ticket_cache().partition(":")
    if not separator:
        return Path(kind)
    if kind == "DIR":
        folder = Path(rest.removeprefix(":"))
        if rest.startswith(":"):
            return folder
        try:
            return folder / (folder / "primary").read_text().strip()
        except OSError:
            return folder / "tkt"
    return Path(rest) if kind == "FILE" else None


def keytab_principals(keytab: Path) -> list[str]:
    """The principals whose keys a keytab holds, sorted.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no keytab.
    """
    data = keytab.read_bytes()
    if data[:2] != b"\x05\x02":
        raise ValueError("it does not begin as a keytab does")
    found, position = set(), 2
    try:
        while position + 4 <= len(data):
            (size,) = struct.unpack_from(">i", data, position)
            position += 4
            if size > 0:
                found.add(_Fields(data[position : position + size]).principal_of_key())
            position += abs(size)  # a negative one is of a removed key
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError("it is damaged") from error
    return sorted(found)


def read_tickets(file: Path) -> Tickets | None:
    """What the file of a ticket cache holds; None where it is of an older form than MIT's and Java's of today.

    Raises:
        OSError: it cannot be read.
    """
    data = file.read_bytes()
    if data[:2] != b"\x05\x04":
        return None
    fields = _Fields(data)
    try:
        fields.position = 2
        fields.skip(fields.number(">H"))
        principal, _ = fields.principal()
        found = Tickets(principal, 0.0, None)
        while fields.position < len(data):
            server, begins, expires = fields.ticket()
            if server.startswith("krbtgt/") and expires > (found.expires or 0.0):
                found = Tickets(principal, begins, expires)
    except (struct.error, UnicodeDecodeError):
        return None
    return found


class _Fields:
    """Reads the fields of Kerberos' files one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self.position)
        self.position += struct.calcsize(form)
        return int(value)

    def text(self, form: str) -> str:
        length = self.number(form)
        found = self._data[self.position : self.position + length]
        if len(found) < length:
            raise struct.error("too short")
        self.position += length
        return found.decode()

    def skip(self, count: int) -> None:
        self.position += count

    def principal_of_key(self) -> str:
        """Of a keytab's entry."""
        count = self.number(">H")
        realm = self.text(">H")
        return "/".join(self.text(">H") for _ in range(count)) + f"@{realm}"

    def principal(self) -> tuple[str, str]:
        """Of a ticket cache: the whole name, and its realm."""
        self.number(">I")
        count = self.number(">I")
        realm = self.text(">I")
        return "/".join(self.text(">I") for _ in range(count)) + f"@{realm}", realm

    def ticket(self) -> tuple[str, float, float]:
        """Of a ticket cache: for whom the ticket is, when it begins to be good, and when it expires."""
        self.principal()
        server, _ = self.principal()
        self.number(">H")
        self.skip(self.number(">I"))  # the session's key
        authenticated, start, end = (self.number(">I") for _ in range(3))
        self.number(">I")  # until when it can be renewed
        self.number(">B")
        self.number(">I")
        for _ in range(2):  # addresses, then what the client may do
            for _ in range(self.number(">I")):
                self.number(">H")
                self.skip(self.number(">I"))
        for _ in range(2):  # the ticket, and a second one
            self.skip(self.number(">I"))
        return server, float(start or authenticated), float(end)


def check_library() -> None:
    """See that libgssapi_krb5 is installed, which hdfs-native loads when it signs in.

    Raises:
        MissingDependencyError: it is not.
    """
    if sys.platform == "linux" and not _loads(_GSSAPI):
        raise MissingDependencyError(
            f"Kerberos needs {_GSSAPI} to read HDFS without a JVM. Install it (Debian: apt-get install "
            "libgssapi-krb5-2; Red Hat: dnf install krb5-libs)."
        )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def find_fault(principal: str | None, keytab: Path | None) -> Fault | None:
    """Why somebody is not signed in; None where nothing is wrong that can be seen from here.

    Args:
        principal: who; None for whoever the ticket cache is of.
        keytab: holds their key; None where the ticket cache is to be used.
    """
    if keytab is None:
        return ticket_fault(principal)
    return keytab_fault(principal or "", keytab) or _answer_fault(principal or "", keytab)


def keytab_fault(principal: str, keytab: Path) -> Fault | None:
    """What is wrong with a keytab itself: it cannot be read, or holds no key of the principal."""
    make = f"have one made (kadmin: ktadd -k {keytab} {principal})"
    try:
        held = keytab_principals(keytab)
    except OSError as error:
        return Fault(
            f"keytab {keytab} of principal {principal} cannot be read: {error.strerror}. Check the path and who may "
            f"read it, or {make}."
        )
    except ValueError as error:
        return Fault(f"{keytab} is no keytab: {error}. Give the keytab of {principal}, or {make}.")
    if principal in held or ("@" not in principal and any(each.partition("@")[0] == principal for each in held)):
        return None
    others = f"It holds keys of {', '.join(held)}" if held else "It holds no key"
    return Fault(
        f"keytab {keytab} holds no key of principal {principal}. {others}: set principal to one that it holds, or "
        f"{make}."
    )


def ticket_fault(principal: str | None = None) -> Fault | None:
    """What is wrong with the ticket cache: none, of somebody else, or expired."""
    cache, file = ticket_cache(), ticket_file()
    do = f"Run kinit{f' {principal}' if principal else ''}, or give the site's credential a principal and a keytab."
    if file is None:
        return None
    who = f"of principal {principal} " if principal else ""
    try:
        found = read_tickets(file)
    except FileNotFoundError:
        return Fault(f"there is no Kerberos ticket {who}in {cache}. {do}")
    except OSError as error:
        return Fault(f"the ticket cache {cache} cannot be read: {error.strerror}. {do}")
    if found is None:
        return None
    if principal and found.principal.partition("@" if "@" not in principal else "\0")[0] != principal:
        return Fault(
            f"the ticket cache {cache} is of principal {found.principal}, and {principal} is to sign in. {do}"
        )
    do = f"Run kinit {found.principal}, or give the site's credential a principal and a keytab."
    if found.expires is None:
        return Fault(f"the ticket cache {cache} holds no ticket of principal {found.principal}. {do}")
    if found.begins > time.time() + _SECONDS_OF_SKEW:
        return _fault(next(each for each in _ANSWERS if each.number == _CLOCK_IS_OFF), found.principal, None)
    if found.expires <= time.time():
        then = datetime.fromtimestamp(found.expires, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return Fault(f"the Kerberos ticket of principal {found.principal} in {cache} expired at {then}. {do}")
    return None


#: What is said of a sign-in that a KDC, or the library before it, refuses.
_UNKNOWN = (
    "the KDC of its realm does not know principal {principal}. Check the name in the site's credential, or have it "
    "made (kadmin: addprinc -randkey {principal})."
)
_WRONG_KEY = (
    "{file} holds a key of principal {principal} that is not, or no longer, the right one: it was changed since. "
    "Have the keytab made anew (kadmin: ktadd -k KEYTAB {principal})."
)
_SKEW = (
    "this machine's clock and the KDC's differ by more than Kerberos allows, five minutes as a rule, so principal "
    "{principal} is not signed in by {file}. Set both by NTP (timedatectl, chronyc tracking)."
)
_UNREACHABLE = (
    "no KDC of the realm of principal {principal} answers, so nobody is signed in by {file}. Check the realm's kdc "
    "in {config}, and that this machine reaches it."
)
_NO_REALM = (
    "no KDC is known of the realm of principal {principal}, who was to sign in by {file}. Name one under [realms] in "
    "{config}; KRB5_CONFIG names another file."
)
_LOCKED = (
    "the KDC refuses principal {principal} of {file}: it is locked or has expired (kadmin: getprinc {principal})."
)


@dataclass(frozen=True)
class _Answer:
    number: int
    java: str
    text: str
    meaning: type[StorageError] = AuthenticationError


#: MIT's numbers, and the words of Java's ``KrbException``.
_ANSWERS = (
    _Answer(-1765328378, "Client not found in Kerberos database", _UNKNOWN),
    _Answer(-1765328360, "Pre-authentication information was invalid", _WRONG_KEY),
    _Answer(-1765328353, "Checksum failed|Integrity check on decrypted field failed", _WRONG_KEY),
    _Answer(_CLOCK_IS_OFF, "Clock skew too great", _SKEW),
    _Answer(-1765328351, "Ticket not yet valid", _SKEW),
    _Answer(_NO_ANSWER, "Connection refused|[Tt]imed out", _UNREACHABLE, UnavailableError),
    _Answer(-1765328230, "Cannot locate KDC|Cannot locate default realm", _NO_REALM, UnavailableError),
    _Answer(-1765328366, "credentials have been revoked", _LOCKED),
    _Answer(-1765328383, "Client's entry in database has expired", _LOCKED),
    _Answer(-1765328361, "Password has expired", _LOCKED),
)
_OF_KERBEROS = re.compile(r"\b(?:KrbException|LoginException|KerberosAuthException|GSSException)\b")


def fault_in_text(text: str, principal: str | None, keytab: Path | None) -> Fault | None:
    """What Java's words say of a sign-in, where they are known."""
    for answer in _ANSWERS if _OF_KERBEROS.search(text) else ():
        if re.search(answer.java, text):
            return _fault(answer, principal or "(the ticket cache's)", keytab)
    return None


def _fault(answer: _Answer, principal: str, keytab: Path | None) -> Fault:
    said = answer.text.format(
        principal=principal,
        file=f"keytab {keytab}" if keytab else f"the ticket cache {ticket_cache()}",
        config=os.environ.get("KRB5_CONFIG", "/etc/krb5.conf"),
    )
    return Fault(said, answer.meaning)


def _answer_fault(principal: str, keytab: Path) -> Fault | None:
    """What the KDC says when the keytab is tried; None where all is well, or nobody can be asked."""
    number = _in_time(lambda: _try_keytab(principal, keytab))
    return next((_fault(answer, principal, keytab) for answer in _ANSWERS if answer.number == number), None)


def _in_time(ask: Callable[[], int | None]) -> int | None:
    """An answer; that there is no KDC where it takes too long."""
    answers: list[int | None] = []
    asking = threading.Thread(target=lambda: answers.append(ask()), name="feast-hybrid-kdc", daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ASK)
    return answers[0] if answers else _NO_ANSWER


def _library() -> Any:
    """libkrb5; None where it is not installed."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.krb5_cc_default_name.restype = ctypes.c_char_p
        return library
    return None


@functools.lru_cache
def _default_cache(_config: str | None) -> str | None:
    """The default ticket cache as ``krb5.conf`` has it; None where the library is not there to ask."""
    library, context = _library(), ctypes.c_void_p()
    if library is None or library.krb5_init_context(ctypes.byref(context)):
        return None
    try:
        name = library.krb5_cc_default_name(context)
        return name.decode() if name else None
    finally:
        library.krb5_free_context(context)


def _try_keytab(principal: str, keytab: Path) -> int | None:
    """Sign in, and keep nothing of it: libkrb5's number, 0 where that goes well; None where it cannot be asked."""
    library, context = _library(), ctypes.c_void_p()
    if library is None or library.krb5_init_context(ctypes.byref(context)):
        return None
    who, keys = ctypes.c_void_p(), ctypes.c_void_p()
    tickets = ctypes.create_string_buffer(_ROOM)
    try:
        number = int(library.krb5_parse_name(context, principal.encode(), ctypes.byref(who)))
        number = number or int(library.krb5_kt_resolve(context, f"FILE:{keytab}".encode(), ctypes.byref(keys)))
        if not number:
            number = int(library.krb5_get_init_creds_keytab(context, tickets, who, keys, 0, None, None))
            if not number:
                # libkrb5 goes by the KDC's clock by itself. Servers do not, nor does Java.
                (signed_in,) = struct.unpack_from("=i", tickets, _AUTHENTICATED)
                number = _CLOCK_IS_OFF if abs(signed_in - time.time()) > _SECONDS_OF_SKEW else 0
                library.krb5_free_cred_contents(context, tickets)
        return number
    finally:
        if keys:
            library.krb5_kt_close(context, keys)
        if who:
            library.krb5_free_principal(context, who)
        library.krb5_free_context(context)
