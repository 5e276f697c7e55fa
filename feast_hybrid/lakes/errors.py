"""Errors of the lakes' clients in the words of this package, and nothing of a secret in them.

What a client raised in this process is recognised by its class and by the service's own codes
(:func:`classify_storage_error`). What a JVM or another process raised reaches us as text, in which names of exception
classes and codes beside their keyword count, and no other words (:func:`classify_remote_text`).
"""

from __future__ import annotations

import errno
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from feast_hybrid.errors import (
    AccessDeniedError,
    AuthenticationError,
    HybridError,
    StorageError,
    StorageFullError,
    StorageTimeoutError,
    UnavailableError,
)
from feast_hybrid.lakes.adls_advice import clock_fault, header, waiting_advice
from feast_hybrid.lakes.hadoop_cache import with_plain_schemes
from feast_hybrid.lakes.hdfs_advice import HUNG_UP, NO_NAMENODES, hdfs_advice
from feast_hybrid.lakes.refusing_site import site_of
from feast_hybrid.lakes.remote_conditions import AUTHENTICATION_REASON, AZURE_CODES, KERBEROS_ADVICE, remote_meaning
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site

_HTTP_STATUSES: dict[int, type[StorageError]] = {
    401: AuthenticationError,
    403: AccessDeniedError,
    408: StorageTimeoutError,
    429: UnavailableError,
    500: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: StorageTimeoutError,
}

#: Numbers of the operating system that Python gives no class of its own.
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET})

#: hdfs-native's own errors (``HdfsError``), which reach Python as the text of a RuntimeError or a plain OSError.
_HDFS_NATIVE = re.compile(
    r"(?P<variant>(?:Fatal)?RPCError|SASLError|GSSAPIError|NoSASLMechanism|InvalidArgument|DataTransferError"
    r"|OperationFailed)\b"
)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_RUST_IO: dict[str, type[StorageError]] = {
    "failed to lookup address information": UnavailableError,
    "timed out": StorageTimeoutError,
    "deadline has elapsed": StorageTimeoutError,
    HUNG_UP: UnavailableError,
}

#: What is said of a lake, and what is to be checked.
_PHRASES: dict[type[StorageError], str] = {
    AuthenticationError: "does not accept the sign-in",
    AccessDeniedError: "denies access",
    UnavailableError: "is unavailable",
    StorageTimeoutError: "did not answer in time",
    StorageFullError: "has no room",
}

#: An error that was raised in one of Spark's Python workers, in its traceback.
_IN_PYTHON = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)$", re.MULTILINE)
#: Lines before the one that says what is wrong: py4j's, and an exception's name alone.
_SAYS_NOTHING = re.compile(r"(?:Py4J\w+: )?An error occurred|[\w.$]+: *$")
#: hdfs-native has a remote error's stack in one line.
_ESCAPED_STACK = r"\n\tat "
_SUMMARY_CHARACTERS = 600

#: What stands before a secret in a URL, a connection string, a header or a form; ``%3D`` is ``=`` in a URL in a URL.
_SECRET = re.compile(
    r"((?:sig|AccountKey|SharedAccessKey|client_secret|client_assertion|access_token|refresh_token|password"
    r"|[;?&]token|account\.key[\w.]*|client\.secret[\w.]*|-D[\w.-]*(?:secret|passw|token|key)[\w.-]*)(?:=|%(?:25)*3D)"
    r"|\bAuthorization: *\w+ |\bBearer |\bSharedKey \w+:"
    r"|\"(?:access_token|refresh_token|client_secret|account_key|password)\": *\")"
    r"[^\s&;\"',)}]+",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(://[^/\s:@]+:)[^/\s]*(?=@)")
_STRUCK_OUT = r"\1…"


def redacted(text: str) -> str:
    """A text with signatures, keys and tokens struck out."""
    return _IN_URL.sub(_STRUCK_OUT, _SECRET.sub(_STRUCK_OUT, text))


def redacted_summary(error: BaseException | str) -> str:
    """The line of a long error that says what is wrong, with signatures, keys and tokens struck out.

    Args:
        error: an exception, whose class is named before its text; or a text, taken as it is.
    """
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    text = with_plain_schemes(text.partition(_ESCAPED_STACK)[0])
    if raised := _IN_PYTHON.findall(text):
        text = raised[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _SAYS_NOTHING.match(line)]
    lines = [line.removeprefix(": ") for line in lines]  # py4j's, before what a JVM says
    return redacted(lines[0] if lines else text)[:_SUMMARY_CHARACTERS]


class RedactedError(HybridError):
    """Stands for an exception whose text held a secret: the same text, the secret struck out."""


def raise_from(new: HybridError, error: BaseException) -> NoReturn:
    """Raise an error with another as its cause; where that, or one behind it, holds a secret, with a redacted copy.

    Used in place of ``raise new from error``, which keeps the text of ``error`` for every traceback.
    """
    if new is error:
        raise new
    try:
        raise new from _without_secrets(error)
    except HybridError:
        # Python has just set the context, to what is being handled where this is called.
        if new.__context__ is not None and _shows_secret(new.__context__):
            new.__context__ = None
        raise


@contextmanager
def translate_client_errors(
    error_class: type[HybridError], what: str, failed: str, *, sites: Sequence[Site] = ()
) -> Iterator[None]:
    """Turn what a lake's client, or Spark on a lake, raises inside into an error of ours; ours pass as they are.

    Args:
        error_class: of the error.
        what: the thing, and what was to be done with it.
        failed: what is said where the lake itself is not the reason, such as ``failed; nothing was written``.
        sites: those that are read or written: the error names the one that refused, and how it is signed in to.

    Raises:
        HybridError: of ``error_class``; its cause is a StorageError where the lake is the reason.
    """
    try:
        yield
    except HybridError:
        raise
    except Exception as error:
        # A JVM's error says by its text only what it was.
        text = f"{type(error).__name__}: {error}"
        refused = storage_error(error, what=what, where="the lake", sites=sites) or storage_error(
            text, what=what, where="the lake", sites=sites
        )
        if refused is None:
            raise_from(error_class(f"{what}: {failed}: {redacted_summary(error)}"), error)
        refused.__cause__ = _without_secrets(error)
        raise_from(error_class(str(refused)), refused)


def _without_secrets(error: BaseException) -> BaseException:
    """The error itself, or a chain of copies of it and of those behind it if one of them shows a secret."""
    if not _shows_secret(error):
        return error
    chain = list(error_chain(error))
    copies: list[BaseException] = [
        each if isinstance(each, RedactedError) else RedactedError(redacted(f"{type(each).__qualname__}: {each}"))
        for each in chain
    ]
    for copy, original, behind in zip(copies, chain, [*copies[1:], None], strict=True):
        copy.with_traceback(original.__traceback__)
        copy.__cause__ = behind
        copy.__context__ = None
    return copies[0]


def _shows_secret(error: BaseException) -> bool:
    """Whether a traceback of the error would show a secret."""
    return any(
        redacted(text) != text
        for each in error_chain(error)
        for text in (str(each), repr(each), *map(str, getattr(each, "__notes__", ())))
    )


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that are behind it, by cause or else by context, suppressed ones too."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [behind for behind in (each.__cause__, each.__context__) if behind is not None]


def classify_storage_error(error: BaseException) -> type[StorageError] | None:
    """What an exception that a lake's client raised says of the lake; None where it says nothing of it.

    Clients wrap errors of each other, so the causes are looked at too; the first that says something counts. That
    something does not exist is no error of a lake.
    """
    for each in error_chain(error):
        if isinstance(each, StorageError):
            return type(each)
        if meaning := _of_azure(each) or _of_system(each) or _of_hdfs_native(each):
            return meaning
    return None


def was_reached(error: BaseException) -> bool:
    """Whether a lake that is unavailable was reached from here: it answered, or did not come to an end of it."""
    if any(type(each) is RuntimeError and str(each).startswith("RPCError(") for each in error_chain(error)):
        return True  # a NameNode's own words; its DataNodes may be out of reach from here
    azure: Any = sys.modules.get("azure.core.exceptions")
    if azure is None:
        return False
    return any(
        isinstance(each, azure.ServiceResponseError)
        or (isinstance(each, azure.HttpResponseError) and isinstance(each.status_code, int))
        for each in error_chain(error)
    )


def lost_connection(error: BaseException) -> bool:
    """Whether a lake is away, or was when an answer was to come; not where it was waited for in vain."""
    return classify_storage_error(error) is UnavailableError


def classify_remote_text(text: str, trace: str = "") -> type[StorageError] | None:
    """What a text from a JVM or another process says of a lake; None where it says nothing of it.

    Names of exception classes and codes beside their keyword count; a number or a word of a job's own text does not.

    Args:
        text: the classes and messages.
        trace: the stack trace of what raised it, where that is not in the text.
    """
    if meaning := remote_meaning(text, trace):
        return meaning
    if (number := _OS_ERROR.search(text)) and text.lstrip().startswith("OSError"):
        return _of_system(OSError(int(number[1]), ""))
    return None


def _of_azure(error: BaseException) -> type[StorageError] | None:
    # Where its module was never loaded, no exception of Azure's can be here; to load it takes a while.
    azure: Any = sys.modules.get("azure.core.exceptions")
    if azure is None or not isinstance(error, azure.AzureError):
        return None
    if isinstance(error, azure.ServiceResponseTimeoutError):
        return StorageTimeoutError
    if isinstance(error, azure.ServiceResponseError):
        timed_out = any(isinstance(each, TimeoutError) for each in error_chain(error))
        return StorageTimeoutError if timed_out else UnavailableError
    if isinstance(error, (azure.ServiceRequestError, azure.IncompleteReadError)):
        return UnavailableError
    if isinstance(error, azure.ClientAuthenticationError):
        # Where Entra could not be asked, the sign-in is not to blame.
        behind = [
            each
            for each in error_chain(error)
            if isinstance(each, (azure.ServiceRequestError, azure.ServiceResponseError))
        ]
        status = error.status_code if isinstance(error.status_code, int) else 0
        unavailable = _HTTP_STATUSES.get(status) if status not in (401, 403) else None
        return _of_azure(behind[0]) if behind else unavailable or AuthenticationError
    if isinstance(error, azure.HttpResponseError):
        # Azurite has the code of a refused action for a wrong key, but this reason in its status line.
        if str(error.reason or "").startswith(AUTHENTICATION_REASON):
            return AuthenticationError
        status = error.status_code if isinstance(error.status_code, int) else 0
        return AZURE_CODES.get(_azure_code(error)) or _HTTP_STATUSES.get(status)
    return None


def _azure_code(error: BaseException) -> str:
    """Azure's own code, such as ``AuthorizationPermissionMismatch``; empty where there is none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _of_system(error: BaseException) -> type[StorageError] | None:
    if isinstance(error, TimeoutError):
        return StorageTimeoutError
    if isinstance(error, PermissionError):
        return AccessDeniedError
    if isinstance(error, (ConnectionError, socket.gaierror)):
        return UnavailableError
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return UnavailableError
    return None


def _of_hdfs_native(error: BaseException) -> type[StorageError] | None:
    """hdfs-native has no exceptions of its own: Rust's errors are texts, of fixed forms."""
    text = str(error)
    if isinstance(error, NotImplementedError) and text == "File encryption":  # of releases before 0.14.2
        return AccessDeniedError
    if isinstance(error, OSError) and error.errno is None:
        if number := _OS_ERROR.search(text):
            return _of_system(OSError(int(number[1]), ""))
        return next((meaning for begins, meaning in _RUST_IO.items() if text.startswith(begins)), None)
    if type(error) is RuntimeError and (found := _HDFS_NATIVE.match(text)):
        if found["variant"].endswith("RPCError"):  # RPCError("java.class.Name", "what it says")
            return classify_remote_text(text)
        if found["variant"] == "DataTransferError":
            return UnavailableError
        if found["variant"] == "OperationFailed":
            return classify_remote_text(f"RuntimeError: {text}")  # of a key server
        if found["variant"] == "InvalidArgument":
            return UnavailableError if text == NO_NAMENODES else None
        return AuthenticationError
    return None


def storage_error(
    error: BaseException | str,
    *,
    what: str,
    where: str,
    sites: Sequence[Site] = (),
    trace: str = "",
    here: bool = True,
) -> StorageError | None:
    """The error to raise for one that a lake's client raised; None where that says nothing of the lake.

    Raise it by :func:`raise_from`.

    Args:
        error: what a client raised; or what a JVM or another process said.
        what: the thing, such as ``source 'weather'``.
        where: the site and the place, such as :meth:`Location.describe` gives.
        sites: those that it may be of. The one that the error is of says how it is signed in to, and its name is in
            the error.
        trace: of a text, the stack trace.
        here: whether the client ran on this machine, so that its files say why a sign-in failed.

    Returns:
        AuthenticationError, AccessDeniedError, UnavailableError or StorageTimeoutError, with its cause. Its message
        has the client's first line, the service's code, and what to check; never a secret.
    """
    meaning = classify_remote_text(error, trace) if isinstance(error, str) else classify_storage_error(error)
    if meaning is None:
        return None
    if isinstance(error, StorageError):
        return error
    texts = (error, trace) if isinstance(error, str) else (f"{type(each)}: {each}" for each in error_chain(error))
    text = "\n".join(texts)
    site = site_of(text, sites)
    if site is not None and f"site {site.name!r}" not in where:
        where = f"site {site.name!r}"
    summary = redacted_summary(_telling_line(error, meaning) if isinstance(error, str) else error).rstrip(".")
    fault = site.credential.find_fault(text, here=here) if site and meaning is AuthenticationError else None
    clock = clock_fault(error_chain(error)) if meaning is AuthenticationError and not isinstance(error, str) else ""
    codes = _codes(error)
    if fault and not clock:
        meaning, advice = fault.meaning, f"{fault.text[0].upper()}{fault.text[1:]}"
    else:
        advice = _advice(meaning, site, f"{text}{codes}", summary) + clock
    said = f"{what}: {where} {_PHRASES[meaning]}: {summary}{codes}. {advice}"
    if site is not None and site.lake is LakeType.ADLS and str(site.root).rstrip("/") not in said:
        said = f"{said} The site is {site.root}."
    made = meaning(said)
    made.__cause__ = _without_secrets(error) if isinstance(error, BaseException) else None
    return made


def _telling_line(text: str, meaning: type[StorageError]) -> str:
    """The line of an exception's text, and of those behind it, that says so; all of it where none does by itself."""
    lines = (line.strip().removeprefix("Caused by: ") for line in text.splitlines())
    own = (line for line in lines if not line.startswith(("at ", "... ")))
    return next((line for line in own if classify_remote_text(line) is meaning), text)


def _codes(error: BaseException | str) -> str:
    """Azure's status and code, in brackets."""
    if isinstance(error, str):
        return ""
    for each in error_chain(error):
        if _of_azure(each):
            status = getattr(each, "status_code", None)
            found = [str(code) for code in (status, _azure_code(each)) if code]
            if after := header(each, "Retry-After"):
                found.append(f"Retry-After {after}")
            return f" ({', '.join(found)})" if found else ""
    return ""


def _advice(meaning: type[StorageError], site: Site | None, text: str, summary: str) -> str:
    signed_in = f"It was signed in to by {site.credential.describe()}. " if site else ""
    if meaning is AuthenticationError:
        for words, advice in KERBEROS_ADVICE.items():
            if words in text:
                return f"{signed_in}{advice}"
        check = f"{signed_in}Check that the secret or the ticket is that of this lake and has not expired."
        if site is None or site.lake is not LakeType.ADLS:
            return check
        return f"{check} Clocks that differ are refused too: feast-hybrid doctor compares them."
    if site is not None and site.lake is LakeType.HDFS and (of_hdfs := hdfs_advice(meaning, site, text)):
        return of_hdfs
    if meaning is AccessDeniedError:
        if site is not None and site.lake is LakeType.ADLS:
            return (
                f"{signed_in}Check its role on the container, such as Storage Blob Data Reader or Contributor, its "
                "access control lists, what a shared access signature allows, and the account's firewall."
            )
        return f"{signed_in}Check the owner and the permissions of the path and of the folders above it."
    if NO_NAMENODES in summary:
        return "The uri's host is a nameservice that is not known here: list its servers in the site's namenodes."
    if site is not None and site.lake is LakeType.ADLS:
        return waiting_advice(text, timed_out=meaning is StorageTimeoutError)
    if meaning is StorageFullError:
        return "Remove what is not needed there."
    if meaning is StorageTimeoutError:
        return "Check that the lake is well; the site's options can give it more time."
    return "Check the host and the port in the site's uri, and that this machine reaches them."
