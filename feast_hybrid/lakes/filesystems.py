"""fsspec's file systems of the lakes, as sites need them: signed in by the site alone, paths taken as data."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from adlfs import AzureBlobFileSystem
from fsspec import AbstractFileSystem
from hdfs_native import Client
from hdfs_native.fsspec import HdfsFileSystem, ViewfsFileSystem

from feast_hybrid.lakes import timeouts

#: How many entries a NameNode lists in one answer.
_LISTED = 1000


class SiteBlobFileSystem(AzureBlobFileSystem):
    """adlfs, signed in by its arguments alone, and with a client that does not wait for long.

    adlfs fills what it is not given from ``AZURE_STORAGE_*`` variables, and a connection string found there wins over
    every argument: it would read another account, or with other rights than the site's. Nor does it pass anything on
    to Azure's client that says how often and for how long it tries.
    """

    def __init__(self, *, account_name: str, limits: Mapping[str, str] | None = None, **arguments: Any) -> None:
        self._given = arguments
        self._limits = limits or {}
        super().__init__(account_name=account_name, anon=True, **arguments)

    def do_connect(self) -> None:
        """Make the client, of what was given; it connects when it is asked something."""
        from azure.storage.blob.aio import BlobServiceClient

        for argument in ("connection_string", "account_key", "sas_token", "credential"):
            setattr(self, argument, self._given.get(argument))
        more = timeouts.blob_client_options(self._limits)
        if self.connection_string is not None:
            self.service_client = BlobServiceClient.from_connection_string(self.connection_string, **more)
            return
        token = f"?{self.sas_token}" if self.sas_token else ""
        self.account_url = f"https://{self._given['account_host']}"
        self.service_client = BlobServiceClient(
            self.account_url + token, credential=self.credential or self.account_key, **more
        )


class _Bounded:
    """hdfs-native's client, with an end to the waiting for answers.

    Only questions are given up. What changes something is not: the NameNode may be doing it.
    """

    def __init__(self, client: Any, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_file_info(self, path: str) -> Any:
        return self._ask(lambda: self._client.get_file_info(path))

    def get_content_summary(self, path: str) -> Any:
        return self._ask(lambda: self._client.get_content_summary(path))

    def read(self, path: str) -> Any:
        return self._ask(lambda: self._client.read(path))

    def list_status(self, path: str, recursive: bool) -> Iterator[Any]:
        entries = iter(self._ask(lambda: self._client.list_status(path, recursive)))
        while some := self._ask(lambda: list(itertools.islice(entries, _LISTED))):
            yield from some

    def _ask(self, question: Callable[[], Any]) -> Any:
        answer: list[Any] = []
        error: list[BaseException] = []

        def wait() -> None:
            try:
                answer.append(question())
            except BaseException as raised:
                error.append(raised)

        # A daemon: one that waits for ever must not keep the process.
        thread = threading.Thread(target=wait, name="feast-hybrid-hdfs", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if error:
            raise error[0]
        if not answer:
            raise TimeoutError(
                f"timed out: no answer within {self._seconds:g} s ({timeouts.RPC_TIMEOUT} in the site's options)"
            )
        return answer[0]


class _PathsAsData(AbstractFileSystem):
    """hdfs-native takes paths for URLs and cuts them at ``?`` and ``#``, which HDFS allows in names."""

    protocol = "hdfs"

    def __init__(self, host: str, port: int | None = None, **options: Any) -> None:
        kerberos = {key: options.pop(key) for key in list(options) if key.startswith("kerberos_")}
        options = timeouts.hdfs_options(options)
        super().__init__(host, port, **options)
        if kerberos:
            self.client = Client(f"{self.protocol}://{host}{f':{port}' if port else ''}", options, **kerberos)
        seconds = int(options[timeouts.RPC_TIMEOUT]) / 1000
        self.client.inner = _Bounded(self.client.inner, seconds)  # type: ignore[assignment]  # it has all of it

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
