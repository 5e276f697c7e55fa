"""fsspec's file systems of the lakes, as sites need them: signed in by the site alone, paths taken as data."""

from __future__ import annotations

from typing import Any

from adlfs import AzureBlobFileSystem
from fsspec import AbstractFileSystem
from hdfs_native import Client
from hdfs_native.fsspec import HdfsFileSystem, ViewfsFileSystem


class SiteBlobFileSystem(AzureBlobFileSystem):
    """adlfs, signed in by its arguments alone.

    adlfs fills what it is not given from ``AZURE_STORAGE_*`` variables, and a connection string found there wins over
    every argument: it would read another account, or with other rights than the site's.
    """

    def __init__(self, *, account_name: str, **arguments: Any) -> None:
        self._given = arguments
        super().__init__(account_name=account_name, anon=True, **arguments)

    def do_connect(self) -> None:
        """Connect with what was given."""
        for argument in ("connection_string", "account_key", "sas_token", "credential"):
            setattr(self, argument, self._given.get(argument))
        super().do_connect()


class _PathsAsData(AbstractFileSystem):
    """hdfs-native takes paths for URLs and cuts them at ``?`` and ``#``, which HDFS allows in names."""

    protocol = "hdfs"

    def __init__(self, host: str, port: int | None = None, **options: Any) -> None:
        kerberos = {key: options.pop(key) for key in list(options) if key.startswith("kerberos_")}
        super().__init__(host, port, **options)
        if kerberos:
            self.client = Client(f"{self.protocol}://{host}{f':{port}' if port else ''}", options, **kerberos)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        scheme, separator, rest = path.partition("://")
        if separator and scheme == cls.protocol:
            path = "/" + rest.partition("/")[2]
        return path.rstrip("/") or "/"


class SiteHdfsFileSystem(_PathsAsData, HdfsFileSystem):
    """hdfs-native on ``hdfs://``."""

    protocol = "hdfs"


class SiteViewfsFileSystem(_PathsAsData, ViewfsFileSystem):
    """hdfs-native on ``viewfs://``."""

    protocol = "viewfs"
