"""Keeping sign-ins apart in Hadoop's cache of file systems.

A JVM keeps each file system that Hadoop opens, by the scheme and authority of its URI and by the JVM's user, until
the JVM ends. Whoever asks for one that is there gets it, whatever settings they sign in with. So a site with a
sign-in of its own takes no part in that:

- Files are read and written under a scheme of their own, such as ``abfss-c4mqz5xk2vbtn7ra``, which Hadoop is told to
  open with the same driver. It is made of all settings of the read: the same ones share a file system, on the driver
  and in executors, and other ones have another.
- Tables, whose logs and catalogs name their files by the plain scheme, are read and written with file systems that
  are not kept (``fs.abfss.impl.disable.cache``).

Why there are two ways, and what each costs: ``docs/adr/0009-file-systems-of-a-sign-in.md``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site

#: The drivers of ADLS's schemes, as Hadoop's own ``core-default.xml`` names them.
ABFS_DRIVERS = {
    "abfs": "org.apache.hadoop.fs.azurebfs.AzureBlobFileSystem",
    "abfss": "org.apache.hadoop.fs.azurebfs.SecureAzureBlobFileSystem",
}

#: 80 bits, as 16 letters and digits: too many to find other settings with the same ones.
_DIGEST_BYTES = 10
_OWN_SCHEME = re.compile(r"\b(abfss?)-[a-z2-7]{16}(?=:)")


def driver_setting(scheme: str) -> str:
    """The Hadoop setting that names the driver of a scheme."""
    return f"fs.{scheme}.impl"


def own_scheme(scheme: str, settings: Mapping[str, str]) -> str:
    """The scheme under which Hadoop keeps the file systems of these settings.

    Args:
        scheme: one of :data:`ABFS_DRIVERS`.
        settings: all Hadoop settings of a read or write, secrets resolved. What is made of them can be shown: it
            tells nothing of keys and tokens, which are as long as they are random.
    """
    text = json.dumps([scheme, dict(settings)], sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES, person=b"feast-hybrid").digest()
    return f"{scheme}-{base64.b32encode(digest).decode().lower()}"


def with_plain_schemes(text: str) -> str:
    """A text of Spark's with the schemes that its readers know: ``abfss`` for ``abfss-c4mqz5xk2vbtn7ra``."""
    return _OWN_SCHEME.sub(r"\1", text)


def uncached(site: Site) -> dict[str, str]:
    """The settings with which Hadoop opens a site's file systems anew each time; none where it has no own sign-in.

    The user of HDFS is the JVM's, by which Hadoop tells file systems apart itself. But NameNodes that only the site
    knows are the servers of a name that may mean others elsewhere.
    """
    if not has_own_file_systems(site):
        return {}
    schemes = list(ABFS_DRIVERS) if site.lake is LakeType.ADLS else [site.root.scheme]
    return {f"{driver_setting(scheme)}.disable.cache": "true" for scheme in schemes}


def has_own_file_systems(site: Site) -> bool:
    """Whether a site says how its lake is reached, as opposed to the cluster's or the session's settings."""
    if site.lake is LakeType.ADLS:
        return site.credential.type != "platform"
    return site.lake is LakeType.HDFS and bool(site.namenodes or site.options)
