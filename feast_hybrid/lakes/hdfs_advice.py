"""What to check where an HDFS does not do what it is asked: its servers, and the setting or quota that says so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from feast_hybrid.errors import StorageError, StorageFullError, StorageTimeoutError, UnavailableError

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site

HUNG_UP = "RPC listener disconnected"
NO_NAMENODES = 'InvalidArgument("No NameNode hosts found")'
#: hdfs-native has no DataNode left for a block; Spark's client neither.
_NO_BLOCK = re.compile(r"\bBlockMissingException\b|\bDataTransferError\(|\bcould only be written to \d+ of the \d+ ")
#: hdfs-native's words of a KMS, and a KMS's own; Hadoop's client is in the stack trace.
_NO_KMS = "no KMS provider is configured"
_OF_KMS = re.compile(
    r"\bKMS (?:HTTP error|request failed|rejected)|\[DECRYPT_EEK\] on key\b|\bKMSClientProvider\b|\bFile encryption$"
)
_KMS_PATH = "hadoop.security.key.provider.path"
_UNKNOWN_NAME = re.compile(r"\bUnknownHostException: |\bfailed to lookup address information\b")


def hdfs_advice(meaning: type[StorageError], site: Site, text: str) -> str | None:
    """What to check, in sentences; None where there is nothing to say of HDFS in particular.

    Args:
        meaning: of the error.
        site: of HDFS.
        text: the client's words, with the classes of the exceptions.
    """
    if issubclass(meaning, StorageFullError):
        return (
            "HDFS counts a whole block (dfs.blocksize) for each replica of a file that is being written. Remove what "
            "is not needed there, or have the quota raised (hdfs dfsadmin -setQuota, -setSpaceQuota)."
        )
    if _NO_KMS in text or _OF_KMS.search(text):
        return _kms_advice(meaning, site, text)
    if not issubclass(meaning, UnavailableError):
        return None
    if HUNG_UP in text and site.credential.type != "kerberos":
        return (
            "The NameNode hung up. One that wants Kerberos does so: give the site the credential {type: kerberos, "
            "principal: …, keytab: …}, or {type: kerberos} for the ticket of kinit."
        )
    if "SafeModeException" in text:
        return (
            "It is in safe mode, in which nothing can be written: it leaves it when enough DataNodes have reported "
            "(dfs.namenode.safemode.threshold-pct), or when an administrator has it (hdfs dfsadmin -safemode get)."
        )
    if _NO_BLOCK.search(text):
        return (
            "Its NameNode answers, and no DataNode gives or takes the block: see that they run, are reached from "
            "here (dfs.client.use.datanode.hostname where their names are known and their addresses are not), and "
            "have room (dfs.datanode.du.reserved)."
        )
    if NO_NAMENODES in text or (_UNKNOWN_NAME.search(text) and not site.namenodes and ":" not in site.root.authority):
        return (
            f"{site.root.authority!r} is a nameservice that is not known here (dfs.nameservices): list its servers "
            "in the site's namenodes."
        )
    servers = ", ".join(site.namenodes) or site.root.authority
    if "StandbyException" in text or "is not supported in state standby" in text:
        return f"None of its NameNodes ({servers}) is active: hdfs haadmin -getAllServiceState says what they are."
    more = "ipc.client.rpc-timeout.ms" if issubclass(meaning, StorageTimeoutError) else _ATTEMPTS
    return (
        f"Its NameNodes are {servers}: see that one runs, is active and is reached from here. {more} in the site's "
        "options gives it more time."
    )


_ATTEMPTS = "dfs.client.failover.max.attempts"


def _kms_advice(meaning: type[StorageError], site: Site, text: str) -> str:
    known = site.options.get(_KMS_PATH)
    of_zone = "It lies in an encryption zone"
    if known is None and not issubclass(meaning, UnavailableError) and "DECRYPT_EEK" not in text:
        return f"{of_zone}: set {_KMS_PATH} in the site's options to its KMS, such as kms://http@kms.corp:9600/kms."
    if issubclass(meaning, UnavailableError):
        return f"{of_zone}, and its KMS ({known or _KMS_PATH}) does not answer: see that it runs and is reached."
    return (
        f"{of_zone}, and the KMS ({known or _KMS_PATH}) does not give its key to this user: have the user added to "
        "key.acl.<key>.DECRYPT_EEK of its kms-acls.xml."
    )
