"""What a lake's client raised, in the classes of this package; and no secret in it, nor in what is behind it."""

from __future__ import annotations

import errno
import socket
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core import exceptions as azure

from feast_hybrid.errors import (
    AccessDeniedError,
    AuthenticationError,
    SchemaError,
    SourceNotFoundError,
    StorageError,
    StorageFullError,
    StorageTimeoutError,
    UnavailableError,
    WriteError,
)
from feast_hybrid.lakes import Site
from feast_hybrid.lakes.errors import (
    classify_remote_text,
    classify_storage_error,
    raise_from,
    redacted_summary,
    storage_error,
    translate_client_errors,
)
from tests.unit.exception_texts import texts


def answered(status: int, code: str | None = None, reason: str = "A reason") -> azure.HttpResponseError:
    """An error with an answer of Azure's, as azure-storage-blob makes it."""
    response: Any = SimpleNamespace(status_code=status, reason=reason, headers={}, text=lambda: "")
    error = azure.HttpResponseError("Not done.", response=response)
    error.error_code = code  # type: ignore[attr-defined]  # azure-storage-blob sets it
    return error


def behind(error: BaseException, wrapper: BaseException, *, as_cause: bool) -> BaseException:
    """A wrapper's error that was raised for, or while handling, another."""
    if as_cause:
        wrapper.__cause__ = error
    else:
        wrapper.__context__ = error
    return wrapper


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (azure.ClientAuthenticationError("no token"), AuthenticationError),
        (
            behind(azure.ServiceRequestError("no route"), azure.ClientAuthenticationError("no token"), as_cause=True),
            UnavailableError,
        ),
        (answered(401), AuthenticationError),
        (answered(403, "AuthenticationFailed"), AuthenticationError),
        (answered(403, "AuthorizationPermissionMismatch"), AccessDeniedError),
        (answered(403), AccessDeniedError),
        (
            answered(403, "AuthorizationFailure", "Server failed to authenticate the request. Make sure"),
            AuthenticationError,
        ),
        (answered(429), UnavailableError),
        (answered(500, "OperationTimedOut"), StorageTimeoutError),
        (answered(503, "ServerBusy"), UnavailableError),
        (answered(404, "ContainerNotFound"), None),
        (answered(409, "LeaseAlreadyPresent"), None),
        (azure.ServiceRequestError("no route"), UnavailableError),
        (azure.ServiceRequestTimeoutError("no route"), UnavailableError),
        (azure.ServiceResponseError("cut"), UnavailableError),
        (azure.ServiceResponseTimeoutError("slow"), StorageTimeoutError),
        (behind(TimeoutError(), azure.ServiceResponseError("slow"), as_cause=False), StorageTimeoutError),
        (PermissionError(errno.EACCES, "Permission denied"), AccessDeniedError),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), UnavailableError),
        (OSError(errno.EHOSTUNREACH, "No route to host"), UnavailableError),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (socket.gaierror(-2, "Name or service not known"), UnavailableError),
        (TimeoutError("no answer"), StorageTimeoutError),
        (FileNotFoundError("/403"), None),
        (ValueError("Task 403 failed: Connection refused"), None),
    ],
    ids=repr,
)
def test_the_class_and_the_code_of_an_error_say_what_it_means(
    error: BaseException, meaning: type[StorageError] | None
) -> None:
    assert classify_storage_error(error) is meaning


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (OSError("Connection refused (os error 111)"), UnavailableError),
        (OSError("Connection timed out (os error 110)"), StorageTimeoutError),
        (OSError("No space left on device (os error 28)"), None),
        (OSError("failed to lookup address information: Name or service not known"), UnavailableError),
        (
            RuntimeError(
                'RPCError("org.apache.hadoop.security.AccessControlException", "Permission denied: user=a")'
            ),
            AccessDeniedError,
        ),
        (RuntimeError('RPCError("org.apache.hadoop.ipc.StandbyException", "state standby")'), UnavailableError),
        (RuntimeError('RPCError("java.lang.Error", "java.net.ConnectException said")'), UnavailableError),
        (RuntimeError('GSSAPIError(Error { major: 851968, "No credentials" })'), AuthenticationError),
        (RuntimeError("NoSASLMechanism"), AuthenticationError),
        (RuntimeError('InvalidArgument("No NameNode hosts found")'), UnavailableError),
        (RuntimeError('InvalidArgument("a path")'), None),
        (RuntimeError('DataTransferError("All DataNodes failed: [DatanodeInfoProto { … }]")'), UnavailableError),
        (
            RuntimeError(
                'RPCError("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota")'
            ),
            StorageFullError,
        ),
        (
            RuntimeError(
                'RPCError("java.io.IOException", "File /a b could only be written to 0 of the 1 minReplication '
                'nodes. There are 0 datanode(s) running")'
            ),
            UnavailableError,
        ),
        (RuntimeError("org.apache.hadoop.security.AccessControlException"), None),
    ],
    ids=repr,
)
def test_errors_of_hdfs_native_are_told_by_the_form_of_their_texts(
    error: BaseException, meaning: type[StorageError] | None
) -> None:
    assert classify_storage_error(error) is meaning


@pytest.mark.parametrize("as_cause", [True, False])
def test_what_a_wrapper_was_raised_for_counts(as_cause: bool) -> None:
    wrapped = behind(answered(403, "AuthenticationFailed"), RuntimeError("Failed to upload"), as_cause=as_cause)
    assert classify_storage_error(behind(wrapped, ValueError("x"), as_cause=True)) is AuthenticationError


def test_errors_in_a_circle_are_looked_at_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert classify_storage_error(one) is None


ABFS = 'Operation failed: "{reason}", {status}, {method}, http://127.0.0.1:1/a?timeout=90, rId: 1-2{more}'


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "java.nio.file.AccessDeniedException: "
            + ABFS.format(
                reason="Server failed to authenticate the request. Make sure", status=403, method="HEAD", more=""
            ),
            AuthenticationError,
        ),
        (
            ABFS.format(reason="Forbidden", status=403, method="GET", more=', AuthenticationFailed, "Server …"'),
            AuthenticationError,
        ),
        (
            ABFS.format(
                reason="This request is not authorized to perform this operation using this permission.",
                status=403,
                method="PUT",
                more=', AuthorizationPermissionMismatch, "This …"',
            ),
            AccessDeniedError,
        ),
        (ABFS.format(reason="x", status=401, method="GET", more=""), AuthenticationError),
        (
            ABFS.format(
                reason="The authentication information was not provided in the correct format. Verify the value",
                status=400,
                method="HEAD",
                more="",
            ),
            AuthenticationError,
        ),
        (ABFS.format(reason="One of the request inputs is out of range.", status=400, method="HEAD", more=""), None),
        (ABFS.format(reason="x", status=503, method="GET", more=""), UnavailableError),
        (ABFS.format(reason="x", status=404, method="GET", more=""), None),
        (
            "org.apache.hadoop.fs.azurebfs.oauth2.AzureADAuthenticator$HttpException: HTTP Error 400; url='…'",
            AuthenticationError,
        ),
        (
            "org.apache.hadoop.fs.azurebfs.oauth2.AzureADAuthenticator$HttpException: HTTP Error 503; url='…'",
            UnavailableError,
        ),
        ("org.apache.hadoop.security.AccessControlException: Permission denied: user=a", AccessDeniedError),
        ("java.net.ConnectException: Call From a/1 to b:8020 failed", UnavailableError),
        (
            "Status code: -1 error code: null error message: java.net.SocketException: Connection resetjava.net.…",
            UnavailableError,
        ),
        (
            "Status code: -1 error code: null error message: java.net.SocketTimeoutException: Read timed out",
            StorageTimeoutError,
        ),
        ("java.net.SocketException: Connection reset", None),
        ("java.net.UnknownHostException: b", None),
        ("java.net.UnknownHostException: b\n\tat org.apache.hadoop.security.SecurityUtil.a(b)", UnavailableError),
        ("java.net.ConnectException: Connection refused\n\tat org.apache.spark.network.client.a(b)", None),
        ("Traceback …\nTimeoutError: the model's server", None),
        ("Traceback …\n  File site-packages/azure/storage/blob/x.py\nTimeoutError: it", StorageTimeoutError),
        ("org.apache.hadoop.net.ConnectTimeoutException: 60000 millis timeout", UnavailableError),
        ("java.net.SocketTimeoutException: 60000 millis timeout", StorageTimeoutError),
        ("Traceback …\nazure.core.exceptions.ClientAuthenticationError: Server failed", AuthenticationError),
        ("azure.core.exceptions.HttpResponseError: no\nErrorCode:AuthorizationFailure", AccessDeniedError),
        ("azure.core.exceptions.ServiceRequestError: Cannot connect", UnavailableError),
        ("Traceback …\nPermissionError: /a", None),
        ("Traceback …\n  File feast_hybrid/lakes/x.py\nPermissionError: /a", AccessDeniedError),
        ("OSError: Connection refused (os error 111)", UnavailableError),
        ("Lost task 403.0 in stage 1.0 (TID 403): java.lang.IllegalStateException", None),
        ("Task 403 failed, 403, and again", None),
        ("org.apache.hadoop.hdfs.protocol.NSQuotaExceededException: The NameSpace quota", StorageFullError),
        ("org.apache.hadoop.hdfs.BlockMissingException: Could not obtain block: BP-1 file=/a", UnavailableError),
        (
            "org.apache.hadoop.ipc.RemoteException(java.io.IOException): File /a could only be written to 0 of the …",
            UnavailableError,
        ),
        ("java.lang.IllegalStateException: my File a could only be written to 0 of the 1 minReplication nodes", None),
        ("java.lang.RuntimeException: the model timed out; PermissionError is its name", None),
        ("[USER_RAISED_EXCEPTION] Connection refused by the customer", None),
    ],
)
def test_a_text_from_another_process_is_told_by_its_classes_and_codes(
    text: str, meaning: type[StorageError] | None
) -> None:
    assert classify_remote_text(text) is meaning


def test_none_of_these_is_a_source_that_is_not_there() -> None:
    for meaning in (AuthenticationError, AccessDeniedError, UnavailableError, StorageTimeoutError):
        assert not issubclass(meaning, SourceNotFoundError)
        assert issubclass(meaning, StorageError)


def site(**credential: Any) -> Site:
    uri = "abfss://features@acct.dfs.core.windows.net" if credential["type"] != "simple" else "hdfs://lake"
    return Site.model_validate({"name": "cloud", "uri": uri, "credential": credential})


class TestMessages:
    def test_a_refused_sign_in_names_site_code_credential_and_where_its_secret_is_from(self) -> None:
        error = storage_error(
            answered(403, "AuthenticationFailed"),
            what="source 's'",
            where="site 'cloud', abfss://…",
            sites=[site(type="account_key", account_key={"env": "THE_KEY"})],
        )
        assert type(error) is AuthenticationError
        assert str(error) == (
            "source 's': site 'cloud', abfss://… does not accept the sign-in: HttpResponseError: Not done "
            "(403, AuthenticationFailed). It was signed in to by credential type 'account_key' with account_key from "
            "environment variable THE_KEY. Check that the secret or the ticket is that of this lake and has not "
            "expired. Clocks that differ are refused too: feast-hybrid doctor compares them. The site is "
            "abfss://features@acct.dfs.core.windows.net/."
        )

    def test_denied_access_says_what_to_check_on_each_lake(self) -> None:
        denied = PermissionError("no")
        of_adls = storage_error(denied, what="s", where="there", sites=[site(type="sas", token={"file": "/token"})])
        assert "credential type 'sas' with token from file /token. Check its role on the container" in str(of_adls)
        of_hdfs = storage_error(denied, what="s", where="there", sites=[site(type="simple")])
        assert str(of_hdfs) == (
            "s: site 'cloud' denies access: PermissionError: no. It was signed in to by credential type 'simple'. "
            "Check the owner and the permissions of the path and of the folders above it."
        )

    def test_a_stack_of_java_is_left_out(self) -> None:
        text = (
            'RPCError("org.apache.hadoop.security.AccessControlException", "Permission denied: user=a, access=WRITE'
        )
        error = storage_error(RuntimeError(text + r'\n\tat org.x.Y(Y.java:1)\n")'), what="s", where="there")
        assert str(error).startswith(f"s: there denies access: RuntimeError: {text}. Check")

    def test_a_nameservice_that_is_not_known_wants_namenodes(self) -> None:
        error = storage_error(RuntimeError('InvalidArgument("No NameNode hosts found")'), what="s", where="there")
        assert "list its servers in the site's namenodes" in str(error)

    def test_what_says_nothing_of_the_lake_is_left_to_the_caller(self) -> None:
        assert storage_error(ValueError("x"), what="s", where="there") is None
        assert storage_error("Task 403", what="s", where="there") is None


CANARY = "c4nary%2BKey9Zq"

SHOWS_SECRET = [
    azure.ServiceRequestError(f"https://a.blob.core.windows.net/c?sv=1&sig={CANARY}&se=2 cannot be reached"),
    azure.ClientAuthenticationError(f"AccountName=a;AccountKey={CANARY};BlobEndpoint=http://x"),
    OSError(f"GET https://a/b?u=https%3A%2F%2Fc%3Fsig%3D{CANARY} failed"),
    RuntimeError(f"Authorization: Bearer {CANARY}"),
    RuntimeError(f'{{"access_token": "{CANARY}"}}'),
    RuntimeError(f"grant_type=client_credentials&client_secret={CANARY}"),
    ValueError(f"Incorrect: SharedKey acct:{CANARY}"),
]


def write(error: BaseException) -> None:
    """What a caller does with an error of a lake's client."""
    try:
        raise error
    except Exception as raised:
        refused = storage_error(raised, what="s", where="there")
        raise_from(WriteError(str(refused or redacted_summary(raised))), refused or raised)


@pytest.mark.parametrize("error", SHOWS_SECRET, ids=lambda error: type(error).__name__)
class TestSecrets:
    def test_a_summary_shows_none(self, error: Exception) -> None:
        assert CANARY not in redacted_summary(error)
        assert CANARY not in redacted_summary(str(error))

    @pytest.mark.parametrize("as_cause", [True, False])
    def test_an_error_raised_for_one_that_shows_it_hides_it(self, error: Exception, as_cause: bool) -> None:
        with pytest.raises(WriteError) as caught:
            write(behind(error, RuntimeError("Failed to upload"), as_cause=as_cause))
        for text in texts(caught.value):
            assert CANARY not in text
        assert "Failed to upload" in "".join(traceback.format_exception(caught.value)), "the rest can be read"


@pytest.mark.parametrize("error", SHOWS_SECRET, ids=lambda error: type(error).__name__)
def test_what_a_client_raises_is_translated_without_its_secret(error: Exception) -> None:
    failing = behind(error, RuntimeError("Failed to upload"), as_cause=True)
    with (
        pytest.raises(WriteError, match="writing rows: ") as caught,
        translate_client_errors(WriteError, "writing rows", "failed; nothing was written"),
    ):
        raise failing
    for text in texts(caught.value):
        assert CANARY not in text
    shown = "".join(traceback.format_exception(caught.value))
    assert "Failed to upload" in shown, "the rest can be read"


ABFS_REFUSES = ABFS.format(reason="Server failed to authenticate the request. x", status=403, method="GET", more="")


def adls(name: str, container: str, account: str) -> Site:
    credential = {"type": "account_key", "account_key": {"env": f"{name.upper()}_KEY"}}
    uri = f"abfss://{container}@{account}.dfs.core.windows.net"
    return Site.model_validate({"name": name, "uri": uri, "credential": credential})


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://first.dfs.core.windows.net/raw/x", "first"),
        ("https://second.blob.core.windows.net/raw?restype=container", "second"),
        ("https://second.dfs.core.windows.net/curated/x", "third"),
        ("https://elsewhere.dfs.core.windows.net/raw/x", None),
    ],
)
def test_of_several_sites_the_one_is_named_that_refused(url: str, name: str | None) -> None:
    sites = [adls("first", "raw", "first"), adls("second", "raw", "second"), adls("third", "curated", "second")]
    sites.append(Site.model_validate({"name": "onprem", "uri": "hdfs://lake"}))
    with (
        pytest.raises(WriteError, match="does not accept the sign-in") as caught,
        translate_client_errors(WriteError, "saving", "failed", sites=sites),
    ):
        raise RuntimeError(f"{ABFS_REFUSES} {url}")
    named = [each for each in ("first", "second", "third", "onprem") if f"site {each!r}" in str(caught.value)]
    assert named == ([name] if name else [])
    assert (f"account_key from environment variable {str(name).upper()}_KEY" in str(caught.value)) == bool(name)


def test_of_one_hdfs_and_one_adls_a_refusal_of_hdfs_is_that_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
    onprem = {"name": "onprem", "uri": "hdfs://lake", "credential": {"type": "kerberos", "principal": "me@CORP"}}
    text = "org.apache.hadoop.security.KerberosAuthException: failure to login"
    error = storage_error(
        text, what="rows", where="while it ran", sites=[adls("first", "raw", "first"), Site.model_validate(onprem)]
    )
    assert "rows: site 'onprem' does not accept the sign-in" in str(error)
    assert f"There is no Kerberos ticket of principal me@CORP in FILE:{tmp_path}/tickets. Run kinit me@CORP" in str(
        error
    )


def test_a_translated_error_has_the_lakes_reason_as_its_cause_and_ours_pass() -> None:
    with (
        pytest.raises(WriteError, match="the lake denies access") as caught,
        translate_client_errors(WriteError, "writing rows", "failed"),
    ):
        raise PermissionError("no")
    assert isinstance(caught.value.__cause__, AccessDeniedError)
    ours = SchemaError("columns missing x")
    with pytest.raises(SchemaError) as raised, translate_client_errors(WriteError, "writing rows", "failed"):
        raise ours
    assert raised.value is ours


def test_an_error_that_shows_no_secret_stays_the_cause() -> None:
    error = OSError("no room")
    with pytest.raises(WriteError) as caught:
        write(error)
    assert caught.value.__cause__ is error
    assert caught.value.__context__ is error
