"""A folder of ADLS put in the place of another, by the Blob service, which renames nothing.

The steps, for a folder ``set`` and new files in ``.set.….writing``; the marker is a file in ``set`` that no reader
can read, and its content names the new files:

======================  =============================  =============  ======================================
step                    in ``set`` there are           a reader sees  the next writer does
======================  =============================  =============  ======================================
0 before                old files                      the old rows   replaces them
1 marker written        old files, marker              an error       refuses for 5 minutes after the last
                                                                      sign of life, then removes the marker
2 new files copied in   old files, marker, new files   an error       refuses …, then removes the new files
                        (some, then all)                              and the marker; with all there as in 3
3 old files deleted     old files (some, then none),   an error       refuses …, then removes the old files
                        marker, new files                             and the marker
4 marker deleted        new files                      the new rows   replaces them
======================  =============================  =============  ======================================

What fails in step 1 or 2 takes the new files back. From step 3 on there is no way back: what fails there, or fails to
be taken back, is a :class:`~feast_hybrid.errors.ReplacementError`, which says what is there.

A new file that is called like an old one gets another name: copied over it, it could not be taken back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from azure.core.exceptions import ResourceNotFoundError
from fsspec.asyn import sync

from feast_hybrid.errors import ReplacementError, WriteError
from feast_hybrid.lakes.errors import raise_from, redacted_summary

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
        async def awaited() -> None:
            await work

        sync(self._filesystem.loop, awaited)

    def _container(self) -> Any:
        return self._filesystem.service_client.get_container_client(self._target.uri.container)

    async def _replace(self, new: str) -> None:
        async with self._container() as container:
            old = await self._names(container)
            copies = _copies([name async for name in self._files(container, new)], new, self._prefix, old)
            marker = f"{self._prefix}{BEING_REPLACED}{uuid.uuid4().hex[:12]}{_SUFFIX}"
            try:
                await self._put_in(container, marker, copies, old)
            except BaseException as error:
                await self._take_back(container, marker, copies, old, error)
                raise
            try:
                await self._delete(container, [*copies])
            except Exception as error:
                logger.warning("%s is hidden from readers, and could not be removed: %s", new, type(error).__name__)

    async def _put_in(self, container: Any, marker: str, copies: dict[str, str], old: list[str]) -> None:
        content = json.dumps({"new": [name.removeprefix(self._prefix) for name in copies.values()]}).encode()

        async def say_alive() -> None:
            await container.upload_blob(marker, content, overwrite=True)

        await say_alive()
        heartbeat = asyncio.create_task(_repeat(say_alive))
        try:
            await _all(self._copy(container, source, target) for source, target in copies.items())
            await self._delete(container, [name for name in old if name not in copies.values()])
        finally:
            await _stopped(heartbeat)
        await self._delete(container, [marker])

    async def _take_back(
        self, container: Any, marker: str, copies: dict[str, str], old: list[str], error: BaseException
    ) -> None:
        """Remove the new files and the marker, if all old files are there.

        Raises:
            ReplacementError: they are not, or that failed.
        """
        try:
            if not set(old) <= set(await self._names(container)):
                self._unfinished(error, "its new files are all there, its old ones in part")
            await self._delete(container, [name for name in copies.values() if name not in old])
            await self._delete(container, [marker])
        except ReplacementError:
            raise
        except Exception as second:
            self._unfinished(error, f"what was done could not be taken back: {redacted_summary(second)}")

    def _unfinished(self, error: BaseException, what: str) -> NoReturn:
        text = (
            f"{self._target} is half replaced ({redacted_summary(error)}): {what}. Until that is ended, a file that "
            f"cannot be read stands there. Write again in {_DEAD_AFTER.seconds} s, which ends it first."
        )
        raise_from(ReplacementError(text, old_rows=str(self._target)), error)

    async def _names(self, container: Any) -> list[str]:
        """All blobs in the target."""
        return [blob.name async for blob in container.list_blobs(name_starts_with=self._prefix)]

    async def _files(self, container: Any, prefix: str) -> AsyncIterator[str]:
        async for blob in container.list_blobs(name_starts_with=prefix, include=["metadata"]):
            if not _is_folder(blob):
                yield blob.name

    async def _recover(self) -> None:
        async with self._container() as container:
            listed = container.list_blobs(name_starts_with=self._prefix + BEING_REPLACED)
            markers = sorted([marker async for marker in listed], key=lambda marker: marker.last_modified)
            for marker in reversed(markers):
                age = datetime.now(UTC) - marker.last_modified
                if age < _DEAD_AFTER:
                    raise WriteError(
                        f"{self._target} has been under replacement for {age.seconds} s. Wait for that writer; "
                        f"should it have died, this can be called again after {_DEAD_AFTER.seconds} s."
                    )
                await self._finish(container, marker.name)

    async def _finish(self, container: Any, marker: str) -> None:
        """Finish or take back what a dead writer has begun."""
        try:
            content = await (await container.download_blob(marker)).readall()
        except ResourceNotFoundError:
            return  # the one of a later writer said that its file goes
        logger.warning("%s was being replaced when its writer died: finishing that.", self._target)
        new = {self._prefix + name for name in json.loads(content)["new"]}
        found = await self._names(container)
        # Old files go only when all the new ones are there; so those are whole, or the old ones are.
        whole = new <= {name for name in found if await self._is_copied(container, name, new)}
        await self._delete(container, [name for name in found if name != marker and (name in new) != whole])
        await self._delete(container, [marker])

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


def _copies(files: list[str], new: str, prefix: str, old: list[str]) -> dict[str, str]:
    """Where each new file is copied to: to its name below the target, or to a free one beside it.

    Hidden files, such as ``_SUCCESS``, hold no rows: they keep their names.
    """
    taken = set(old)
    copies: dict[str, str] = {}
    for file in files:
        folder, _, name = f"{prefix}{file.removeprefix(new)}".rpartition("/")
        target = f"{folder}/{name}"
        if target in taken and not name.startswith(("_", ".")):
            stem, dot, extension = name.partition(".")
            target = f"{folder}/{stem}-{uuid.uuid4().hex[:12]}{dot}{extension}"
        copies[file] = target
    return copies


async def _repeat(call: Callable[[], Awaitable[Any]]) -> None:
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
