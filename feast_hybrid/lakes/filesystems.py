"""fsspec's file systems of the lakes, as sites need them: signed in by the site alone, paths taken as data."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import os
import weakref
from collections.abc import Mapping
from typing import Any, NoReturn

from adlfs import AzureBlobFile, AzureBlobFileSystem
from azure.core.exceptions import IncompleteReadError
from azure.storage.blob.aio import BlobServiceClient
from fsspec import AbstractFileSystem
from fsspec.asyn import sync_wrapper
from hdfs_native import Client
from hdfs_native.fsspec import HdfsFileSystem, ViewfsFileSystem

from feast_hybrid.lakes import timeouts
from feast_hybrid.lakes.answering import in_order, note_first
from feast_hybrid.lakes.bounded_hdfs import BoundedClient
from feast_hybrid.lakes.patience import Patience, PatientRetry, read_whole

#: For how long the end of a process waits for its sockets to be closed.
_SECONDS_TO_CLOSE = 2.0


#: Azure's client tells each request here, in twenty lines at ``INFO``, the level that Feast's commands set for all.
_REQUESTS = "azure.core.pipeline.policies.http_logging_policy"

#: fsspec would pickle the arguments, secrets included.
_NOT_PICKLED = "a site's file system holds its sign-in and is not pickled; pickle a Location"


def _keep_requests_to_debug() -> None:
    """Leave Azure's requests out of a log of level ``INFO``, unless a level of Azure's own asks for them."""
    found = logging.getLogger(_REQUESTS)
    while found.parent is not None:
        if found.level != logging.NOTSET:
            return
        found = found.parent
    if logging.DEBUG < found.level <= logging.INFO:
        logging.getLogger(_REQUESTS).setLevel(logging.WARNING)


class SiteBlobFileSystem(AzureBlobFileSystem):
    """adlfs, signed in by its arguments alone, and with a client that does not wait for long.

    adlfs fills what it is not given from ``AZURE_STORAGE_*`` variables, and a connection string found there wins over
    every argument: it would read another account, or with other rights than the site's. Nor does it pass anything on
    to Azure's client that says how often and for how long it tries.
    """

    def __init__(self, *, account_name: str, limits: Mapping[str, str] | None = None, **arguments: Any) -> None:
        self._given = arguments
        self._limits = limits or {}
        self.patience = Patience.of(self._limits)
        # Others write too: a listing is not kept. It would be for as long as the file system, which is long.
        super().__init__(account_name=account_name, anon=True, use_listings_cache=False, **arguments)
        _keep_requests_to_debug()
        self._close_with_last_user()

    def _close_with_last_user(self) -> None:
        """Have the client closed when nobody holds this any more.

        adlfs too closes it in a finalizer, but hands that the file system itself, which so lives until the process
        ends, and its sockets with it.
        """
        for finalizer in list(getattr(weakref.finalize, "_registry", ())):
            if (found := finalizer.peek()) is not None and found[0] is self:
                finalizer.detach()
        closing = weakref.finalize(self, _close, os.getpid(), self.loop, self.service_client, self.credential)
        closing.atexit = False  # see _close_all
        _closings.difference_update([each for each in _closings if not each.alive])
        _closings.add(closing)

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLED)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **arguments: Any) -> AzureBlobFile:
        arguments = {"cache_type": "readahead", **arguments}
        return _SiteBlobFile(fs=self, path=path, mode=mode, block_size=block_size or self.blocksize, **arguments)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **arguments: Any) -> bytes:
        cat_file = super()._cat_file
        return await read_whole(lambda: cat_file(path, start, end, **arguments), self.patience)

    async def _ls_containers(self, return_glob: bool = False) -> list[dict[str, Any]]:  # noqa: ARG002
        """All containers; adlfs reads them back from its cache of listings."""
        found = self.service_client.list_containers(include_metadata=True)
        details: list[dict[str, Any]] = await self._details([container async for container in found])
        return details

    def do_connect(self) -> None:
        """Make the client, of what was given; it connects when it is asked something."""
        for argument in ("connection_string", "account_key", "sas_token", "credential"):
            setattr(self, argument, self._given.get(argument))
        more = _blob_client_options(self._limits, self.patience)
        if self.connection_string is not None:
            self.service_client = BlobServiceClient.from_connection_string(self.connection_string, **more)
            return
        token = f"?{self.sas_token}" if self.sas_token else ""
        self.account_url = f"https://{self._given['account_host']}"
        self.service_client = BlobServiceClient(
            self.account_url + token, credential=self.credential or self.account_key, **more
        )


class _SiteBlobFile(AzureBlobFile):
    """A blob, of which each range that is read is whole."""

    async def _async_fetch_range(self, start: int, end: int | None = None, **kwargs: Any) -> bytes:
        fetch = super()._async_fetch_range
        wanted = (self.size if end is None else min(end, self.size)) - start

        async def read() -> bytes:
            found: bytes = await fetch(start, end, **kwargs)
            if len(found) != wanted:
                raise IncompleteReadError(f"{self.path}: {len(found)} bytes of {wanted} from {start} on")
            return found

        return await read_whole(read, self.fs.patience)

    _fetch_range = sync_wrapper(_async_fetch_range)


def _blob_client_options(options: Mapping[str, str], patience: Patience) -> dict[str, Any]:
    """Arguments of Azure's asynchronous blob client; times in seconds."""
    return {
        "retry_policy": PatientRetry(patience),
        "connection_timeout": int(options.get(timeouts.BLOB_CONNECT_TIMEOUT, 5_000)) / 1000,
        "read_timeout": patience.read_timeout,
    }


async def _closed(client: BlobServiceClient, credential: Any) -> None:
    await client.close()
    if close := getattr(credential, "close", None):
        await close()


def _close(process: int, loop: asyncio.AbstractEventLoop, client: BlobServiceClient, credential: Any) -> None:
    """Close a client's sockets, which its file system has left behind.

    It does not wait: a garbage collection may call it in any thread, that of the loop included.
    """
    if os.getpid() == process and loop.is_running():
        closing = asyncio.run_coroutine_threadsafe(_closed(client, credential), loop)
        _being_closed.add(closing)
        closing.add_done_callback(_being_closed.discard)


#: What is closed when nobody uses it; and what is being closed.
_closings: set[weakref.finalize[Any, Any]] = set()
_being_closed: set[concurrent.futures.Future[None]] = set()


@atexit.register
def _close_all() -> None:
    """At the end of the process close what is open, and wait a moment for it."""
    for closing in list(_closings):
        # A finalizer does nothing any more when it is called, once weakref's own hook has run.
        if (found := closing.detach()) is not None:
            _, close, arguments, _ = found
            close(*arguments)
    concurrent.futures.wait(list(_being_closed), timeout=_SECONDS_TO_CLOSE)


class _SiteFileSystem(AbstractFileSystem):
    """hdfs-native with bounded waiting, and with paths taken as data.

    It takes paths for URLs and cuts them at ``?`` and ``#``, which HDFS allows in names.
    """

    protocol = "hdfs"

    def __init__(self, host: str, port: int | None = None, **options: Any) -> None:
        kerberos = {key: options.pop(key) for key in list(options) if key.startswith("kerberos_")}
        names = f"dfs.ha.namenodes.{host}"
        namenodes = options[names].split(",") if names in options else [host] if port else []
        options = timeouts.hdfs_options(options, len(namenodes))
        super().__init__(host, port, **options)
        url = f"{self.protocol}://{host}{f':{port}' if port else ''}"

        def connect(first: int) -> Any:
            order = {}
            if names in options:
                note_first(host, namenodes[first])
                order[names] = ",".join(in_order(host, namenodes))
            return Client(url, {**options, **order}, **kerberos).inner

        seconds = int(options[timeouts.RPC_TIMEOUT]) / 1000
        self.client.inner = BoundedClient(connect, seconds, len(namenodes))

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLED)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        scheme, separator, rest = path.partition("://")
        if separator and scheme == cls.protocol:
            path = "/" + rest.partition("/")[2]
        return path.rstrip("/") or "/"


class SiteHdfsFileSystem(_SiteFileSystem, HdfsFileSystem):
    """hdfs-native on ``hdfs://``."""

    protocol = "hdfs"


class SiteViewfsFileSystem(_SiteFileSystem, ViewfsFileSystem):
    """hdfs-native on ``viewfs://``."""

    protocol = "viewfs"
