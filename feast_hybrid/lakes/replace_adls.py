"""A folder of ADLS put in the place of another, by the Blob service, which renames nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import WriteError

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

#: The unreadable file: no reader passes it over for its name, and text readers try to unzip it.
BEING_REPLACED = "part-being-replaced-"
_SUFFIX = ".gz"
#: After this a writer that has said nothing more is dead.
_DEAD_AFTER = timedelta(minutes=5)
_HEARTBEAT = timedelta(minutes=1)
_MAX_PARALLEL_REQUESTS = 16


class BlobReplacement:
    """Puts folders in the place of ``target``, with and without a hierarchical namespace, and from any process."""

    def __init__(self, target: Location) -> None:
        self._target = target
        self._filesystem = target.fs
        self._prefix = _prefix(target)

    def create(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`, where nothing may be there."""
        if self._target.exists():
            raise FileExistsError(str(self._target))
        self.replace(new)

    def replace(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`."""
        self._run(self._replace(_prefix(new)))

    def recover(self) -> None:
        """See :func:`feast_hybrid.lakes.replace.recover`."""
        self._run(self._recover())

    def _run(self, work: Any) -> None:
        from fsspec.asyn import sync

        async def awaited() -> None:
            await work

        sync(self._filesystem.loop, awaited)

    def _container(self) -> Any:
        return self._filesystem.service_client.get_container_client(self._target.uri.container)

    async def _replace(self, new: str) -> None:
        async with self._container() as container:
            old = [blob.name async for blob in container.list_blobs(name_starts_with=self._prefix)]
            names = [
                blob.name.removeprefix(new)
                async for blob in container.list_blobs(name_starts_with=new, include=["metadata"])
                if not _is_folder(blob)
            ]
            marker = f"{self._prefix}{BEING_REPLACED}{uuid.uuid4().hex[:12]}{_SUFFIX}"
            content = json.dumps({"new": names}).encode()
            await container.upload_blob(marker, content)
            alive = asyncio.create_task(
                _again_and_again(lambda: container.upload_blob(marker, content, overwrite=True))
            )
            mine = [self._prefix + name for name in names]
            try:
                await _all(self._copy(container, new + name, self._prefix + name) for name in names)
                await self._delete(container, [name for name in old if name not in mine])
            except BaseException:
                there = {blob.name async for blob in container.list_blobs(name_starts_with=self._prefix)}
                if there.issuperset(old):  # else the new files are whole: the next writer finishes this
                    await _stopped(alive)
                    await self._delete(container, mine)
                    await container.delete_blob(marker)
                raise
            finally:
                await _stopped(alive)
            await container.delete_blob(marker)
            await self._delete(container, [new + name for name in names])

    async def _recover(self) -> None:
        async with self._container() as container:
            markers = container.list_blobs(name_starts_with=self._prefix + BEING_REPLACED)
            async for marker in markers:
                age = datetime.now(UTC) - marker.last_modified
                if age < _DEAD_AFTER:
                    raise WriteError(
                        f"{self._target} has been under replacement for {age.seconds} s. Wait for that writer; "
                        f"should it have died, this can be called again after {_DEAD_AFTER.seconds} s."
                    )
                logger.warning("%s was being replaced when its writer died: finishing that.", self._target)
                content = await (await container.download_blob(marker.name)).readall()
                new = {self._prefix + name for name in json.loads(content)["new"]}
                there = [blob.name async for blob in container.list_blobs(name_starts_with=self._prefix)]
                # Old files go only when all the new ones are there; so those are whole, or the old ones are.
                whole = new <= {name for name in there if await self._is_copied(container, name, new)}
                going = [name for name in there if name != marker.name and (name in new) != whole]
                await self._delete(container, going)
                await container.delete_blob(marker.name)

    async def _is_copied(self, container: Any, name: str, new: set[str]) -> bool:
        if name not in new:
            return False
        return bool((await container.get_blob_client(name).get_blob_properties()).copy.status == "success")

    async def _copy(self, container: Any, source: str, target: str) -> None:
        blob = container.get_blob_client(target)
        await blob.start_copy_from_url(container.get_blob_client(source).url)
        while (status := (await blob.get_blob_properties()).copy.status) == "pending":
            await asyncio.sleep(0.1)
        if status != "success":
            raise OSError(f"{target} could not be copied: {status}")

    async def _delete(self, container: Any, names: list[str]) -> None:
        """Files before the folders that hold them, which a hierarchical namespace lists too."""
        from azure.core.exceptions import ResourceNotFoundError

        async def delete(name: str) -> None:
            try:
                await container.delete_blob(name)
            except ResourceNotFoundError:
                return

        for depth in sorted({name.count("/") for name in names}, reverse=True):
            await _all(delete(name) for name in names if name.count("/") == depth)


def _prefix(folder: Location) -> str:
    """What the names of a folder's blobs begin with."""
    return folder.path.partition("/")[2].rstrip("/") + "/"


def _is_folder(blob: Any) -> bool:
    metadata = {key.lower(): value for key, value in (blob.metadata or {}).items()}
    return metadata.get("hdi_isfolder") == "true" or (not blob.size and blob.name.endswith("/"))


async def _again_and_again(call: Callable[[], Awaitable[Any]]) -> None:
    """Say every minute that this writer is alive; that it could not be said once does no harm."""
    while True:
        await asyncio.sleep(_HEARTBEAT.seconds)
        with suppress(Exception):
            await call()


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _all(work: Any) -> None:
    """Await many requests, some at a time; the first failure is raised when all have ended."""
    gate = asyncio.Semaphore(_MAX_PARALLEL_REQUESTS)

    async def one(request: Any) -> None:
        async with gate:
            await request

    for outcome in await asyncio.gather(*map(one, list(work)), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
