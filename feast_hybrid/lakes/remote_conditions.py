"""What a text from a JVM or another process says of a lake: names of exception classes, and codes.

Each condition is the name of an exception's class, or a code where its sender puts codes: Azure's client in Python
writes ``ErrorCode:…``, Hadoop's ABFS driver ``Operation failed: "…", 403, GET, …, AuthorizationPermissionMismatch,
"…"``. Classes that anything on a network or a disk raises, such as a user's own function or a shuffle of Spark's,
count only where a lake's client raised them.
"""

from __future__ import annotations

import re

from feast_hybrid.errors import (
    AccessDeniedError,
    AuthenticationError,
    StorageError,
    StorageFullError,
    StorageTimeoutError,
    UnavailableError,
)

#: Azure's error codes whose meaning is not that of their HTTP status.
AZURE_CODES: dict[str, type[StorageError]] = {
    "AuthenticationFailed": AuthenticationError,
    "InvalidAuthenticationInfo": AuthenticationError,
    "NoAuthenticationInformation": AuthenticationError,
    "KeyBasedAuthenticationNotPermitted": AuthenticationError,
    "OperationTimedOut": StorageTimeoutError,
    "ServerBusy": UnavailableError,
}

#: What Azure's status line of a 403 begins with, when it is the sign-in that failed.
AUTHENTICATION_REASON = "Server failed to authenticate the request"
_NOT_AUTHENTICATED = "|".join(code for code, meaning in AZURE_CODES.items() if meaning is AuthenticationError)

#: What a client, or a NameNode, says of the two sides of Kerberos, and what to do about it.
KERBEROS_ADVICE = {
    "SIMPLE authentication is not enabled": (
        "This HDFS wants Kerberos: give the site the credential {type: kerberos, principal: …, keytab: …}, or "
        "{type: kerberos} for the ticket of kinit."
    ),
    "Client cannot authenticate via:": (
        "Whoever asked has neither a ticket nor a token: executors get theirs from a session that feast-hybrid "
        "started, and a server of Spark Connect has to sign in itself."
    ),
    "Server asks us to fall back to SIMPLE auth": (
        "This HDFS has no Kerberos: give the site the credential {type: simple}, and read it in another process "
        "than the ones that have it."
    ),
    "Failed to specify server's Kerberos principal name": (
        "Set dfs.namenode.kerberos.principal in the site's options to the NameNode's, such as hdfs/_HOST@REALM."
    ),
    "Server has invalid Kerberos principal": (
        "Set dfs.namenode.kerberos.principal in the site's options to the NameNode's, such as hdfs/_HOST@REALM."
    ),
    "No common protection layer between client and server": (
        "Leave hadoop.rpc.protection out of the site's options, or set it to what the NameNode has."
    ),
}
_NO_KERBEROS = "|".join(map(re.escape, KERBEROS_ADVICE))

_LOST_CONNECTION = r"java\.net\.\w+Exception|Connection reset|Premature end|failed to respond"

_Conditions = tuple[tuple[str, type[StorageError]], ...]

#: The first that is met decides.
_OF_LAKES: _Conditions = (
    (rf"(?:ErrorCode:|rId: [^\s,]*, )(?:{_NOT_AUTHENTICATED})\b", AuthenticationError),
    # An answer to HEAD has no body, so the code is not there: the reason is the one of the status line.
    (rf'Operation failed: "{AUTHENTICATION_REASON}\b', AuthenticationError),
    # InvalidAuthenticationInfo, a 400: the way to sign in is not the account's, as a key where it wants a token.
    (
        r'Operation failed: "(?:The a|A)uthentication information (?:is|was) not (?:given|provided) in the correct',
        AuthenticationError,
    ),
    (r'Operation failed: "[^\n]*", 401, [A-Z]+, ', AuthenticationError),
    # Entra itself may be down, or be asked too often.
    (r"\bAzureADAuthenticator\$\w+: HTTP Error (?:429|5\d\d)\b", UnavailableError),
    (r"\bAzureADAuthenticator\$(?:HttpException|UnexpectedResponseException)\b", AuthenticationError),
    # The driver could not sign a request: it has no token, and the words after that say why.
    (
        r"\bAuth failure: [^\n]*(?:(?:Connect|UnknownHost|SocketTimeout)Exception|Connection re\w+|timed out)",
        UnavailableError,
    ),
    (r"\bAuth failure: ", AuthenticationError),
    (r"\bazure\.core\.exceptions\.ClientAuthenticationError\b", AuthenticationError),
    (r"\bazure\.identity\.\w*\.?CredentialUnavailableError\b", AuthenticationError),
    (r"\b(?:javax\.security\.sasl\.SaslException|org\.ietf\.jgss\.GSSException)\b", AuthenticationError),
    (r"\borg\.apache\.hadoop\.security\.KerberosAuthException\b", AuthenticationError),
    (r"\borg\.apache\.hadoop\.security\.token\.SecretManager\$InvalidToken\b", AuthenticationError),
    (r"^RuntimeError: (?:GSSAPIError|SASLError|NoSASLMechanism)\b", AuthenticationError),
    # Hadoop says most of these by the class of a refused action.
    (
        rf"\b(?:AccessControlException|IOException|IllegalArgumentException)\b[^\n]{{0,200}}(?:{_NO_KERBEROS})",
        AuthenticationError,
    ),
    (r"\borg\.apache\.hadoop\.security\.AccessControlException\b", AccessDeniedError),
    (r"\borg\.apache\.hadoop\.security\.authorize\.AuthorizationException\b", AccessDeniedError),
    (r'Operation failed: "[^\n]*", 403, [A-Z]+, ', AccessDeniedError),
    (
        r"ErrorCode:(?:Authorization\w+|InsufficientAccountPermissions|AccountIsDisabled)\b",
        AccessDeniedError,
    ),
    # What the driver says when its last try has failed, its own class perhaps left out.
    (r"\bStatus code: -1 error code: null error message: [^\n]*\bSocketTimeoutException\b", StorageTimeoutError),
    (
        rf"\bStatus code: -1 error code: null error message: [^\n]*\b(?:{_LOST_CONNECTION})\b",
        UnavailableError,
    ),
    (r"\bazure\.core\.exceptions\.ServiceResponseTimeoutError\b", StorageTimeoutError),
    (r'Operation failed: "[^\n]*", (?:408|504), [A-Z]+, ', StorageTimeoutError),
    (r"ErrorCode:OperationTimedOut\b", StorageTimeoutError),
    (r"\borg\.apache\.hadoop\.net\.ConnectTimeoutException\b", UnavailableError),
    (r"\borg\.apache\.hadoop\.ipc\.(?:StandbyException|RetriableException)\b", UnavailableError),
    (r"\borg\.apache\.hadoop\.hdfs\.server\.namenode\.SafeModeException\b", UnavailableError),
    (
        r"\borg\.apache\.hadoop\.hdfs\.protocol\.(?:(?:NS|DS)?Quota|QuotaByStorageType)ExceededException\b",
        StorageFullError,
    ),
    # An encryption zone, and its key server.
    (
        r'^RuntimeError: OperationFailed\("(?:File is in an HDFS encryption zone|KMS request failed \(403)',
        AccessDeniedError,
    ),
    (r'^RuntimeError: OperationFailed\("KMS (?:request failed \(401|rejected SPNEGO)', AuthenticationError),
    (r'^RuntimeError: OperationFailed\("KMS (?:HTTP error|request failed \(5)', UnavailableError),
    (r"\bFailed to connect to: https?://[^\s/]+/kms/v1/", UnavailableError),
    # No DataNode has a block, or takes one.
    (r"\borg\.apache\.hadoop\.hdfs\.BlockMissingException\b", UnavailableError),
    (r"^RuntimeError: DataTransferError\(", UnavailableError),
    (
        r"\b(?:java\.io\.IOException|RemoteException)\W{1,6}File [^\n]{1,4000}? could only be written to \d+ of the ",
        UnavailableError,
    ),
    (r'Operation failed: "[^\n]*", (?:429|500|502|503), [A-Z]+, ', UnavailableError),
    (r"ErrorCode:ServerBusy\b", UnavailableError),
    (r"\bazure\.core\.exceptions\.Service(?:Request|Response)(?:Timeout)?Error\b", UnavailableError),
)

#: The same for classes that are no lake's own.
_OF_ANYTHING: _Conditions = (
    (r"^PermissionError: ", AccessDeniedError),
    (r"\bjava\.nio\.file\.AccessDeniedException\b", AccessDeniedError),
    (r"\bjava\.net\.SocketTimeoutException\b", StorageTimeoutError),
    (r"^TimeoutError: ", StorageTimeoutError),
    (
        r"\bjava\.net\.(?:ConnectException|UnknownHostException|NoRouteToHostException)\b",
        UnavailableError,
    ),
    (r"^Connection\w*Error: ", UnavailableError),
    (r"^OSError: failed to lookup address information\b", UnavailableError),
)

#: What only a lake's client writes: its packages in a class or a stack trace, and its words.
_CLIENT = re.compile(
    r"\borg\.apache\.hadoop\.(?:fs\.azurebfs|hdfs|ipc|net|security)\b"
    r"|\b(?:hdfs_native|adlfs)\b|\bazure[./](?:core|identity|storage)\b|\bfeast_hybrid/lakes/"
    r"|\bOperation failed: \"|\bCall From \S+ to \S+ failed\b|\b\d+ millis timeout\b"
    r"|\bRPCError\(|\(os error \d+\)|^OSError: failed to lookup address information\b",
    re.MULTILINE,
)


def remote_meaning(text: str, trace: str = "") -> type[StorageError] | None:
    """What a text says of a lake; None where it says nothing of it.

    Args:
        text: the classes and messages.
        trace: the stack trace of what raised it, where that is not in the text.
    """
    for conditions in (_OF_LAKES, _OF_ANYTHING if _CLIENT.search(f"{text}\n{trace}") else ()):
        for condition, meaning in conditions:
            if re.search(condition, text, re.MULTILINE):
                return meaning
    return None
