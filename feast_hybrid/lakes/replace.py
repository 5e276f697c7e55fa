"""A folder put in the place of another: readers find the old files or the new ones, or for a moment an error.

HDFS renames a folder in one step, so two renames do it, with nothing there between them. Azure's Blob service renames
nothing: new files are copied in and old ones deleted one by one, while a file that no reader can read stands among
them. What a writer that died has left is finished or taken back by the next one.
"""

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
from feast_hybrid.lakes.uri import Lake

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site
    from feast_hybrid.lakes.uri import LakeUri

logger = logging.getLogger(__name__)

#: The unreadable file: no reader passes it over for its name, and text readers try to unzip it.
BEING_REPLACED = "part-being-replaced-"
_SUFFIX = ".gz"
#: The file with which Spark says that a folder is all of what a job wrote; batches have none.
_COMPLETE = "_SUCCESS"
#: After this a writer that has said nothing more is dead.
_DEAD = timedelta(minutes=5)
_HEARTBEAT = timedelta(minutes=1)
_AT_ONCE = 16


def aside(at: LakeUri) -> LakeUri:
    """Where to write what is to replace a folder: beside it, hidden from readers."""
    return at.parent().child(f".{at.name}.{uuid.uuid4().hex[:12]}.writing")


def put_in_place(site: Site, new: LakeUri, at: LakeUri, *, overwrite: bool = True) -> None:
    """Make a folder's files the whole content of another, whose own files go.

    Args:
        site: the site of both.
        new: the folder with the new files, from :func:`aside`.
        at: the other.
        overwrite: whether something may be there. While the new files were written somebody else may have come.

    Raises:
        FileExistsError: something is there that may not be replaced.
        WriteError: another writer was faster, or the lake refused something; the old files are there.
    """
    mover = _mover(site, at)
    if overwrite:
        mover.replace(new)
    else:
        mover.create(new)


def recover(site: Site, at: LakeUri) -> None:
    """Finish or take back a replacement whose writer died.

    Raises:
        WriteError: a writer has been at it within the last minutes, and may be alive.
    """
    _mover(site, at).recover()


def left_over(site: Site, at: LakeUri) -> LakeUri | None:
    """The old folder, hidden, while or after a writer replaces it; None where there is none."""
    return None if site.lake is Lake.ADLS else _Folders(site, at).replaced()


def remove(site: Site, at: LakeUri) -> None:
    """Remove a folder that no reader looks at; only warns where that fails."""
    filesystem = site.filesystem(at)
    path = site.fsspec_path(at)
    try:
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)
    except Exception as error:
        logger.warning("%s is hidden from readers, and could not be removed: %s", at, type(error).__name__)


def _mover(site: Site, at: LakeUri) -> _Folders | _Blobs:
    return _Blobs(site, at) if site.lake is Lake.ADLS else _Folders(site, at)


class _Folders:
    """HDFS and a local disk."""

    def __init__(self, site: Site, at: LakeUri) -> None:
        self._site = site
        self._at = at
        self._filesystem = site.filesystem(at)

    def _rename(self, one: LakeUri, other: LakeUri) -> None:
        """Strictly: HDFS refuses a place that is taken, where older interfaces would move into it."""
        if self._site.lake is Lake.LOCAL and self._exists(other):
            raise FileExistsError(str(other))
        self._filesystem.mv(self._site.fsspec_path(one), self._site.fsspec_path(other))

    def _exists(self, at: LakeUri) -> bool:
        return bool(self._filesystem.exists(self._site.fsspec_path(at)))

    def create(self, new: LakeUri) -> None:
        try:
            self._rename(new, self._at)
        except Exception as error:
            if self._exists(self._at):
                raise FileExistsError(str(self._at)) from error
            raise

    def replace(self, new: LakeUri) -> None:
        if not self._exists(self._at):
            self._rename(new, self._at)
            return
        old = self._at.parent().child(f".{self._at.name}.{uuid.uuid4().hex[:12]}.replaced")
        self._rename(self._at, old)
        try:
            self._rename(new, self._at)
        except BaseException as error:
            if self._exists(self._at):
                if self._exists(self._at.child(_COMPLETE)):
                    # Another writer found nothing here, and put its own rows in.
                    remove(self._site, old)
                elif self._exists(old):  # else another writer took us for dead and put it back
                    self._put_back_beside_batches(old)
                raise WriteError(f"{self._at} was written by somebody else at the same time.") from error
            self._rename(old, self._at)
            raise
        remove(self._site, old)

    def _put_back_beside_batches(self, old: LakeUri) -> None:
        """Have the old rows again where somebody, who found nothing, has begun to add rows of their own to them."""
        added = self._at.parent().child(f".{self._at.name}.{uuid.uuid4().hex[:12]}.added")
        self._rename(self._at, added)
        self._rename(old, self._at)
        self._move_into(added, self._at)
        remove(self._site, added)

    def _move_into(self, folder: LakeUri, at: LakeUri) -> None:
        for entry in self._filesystem.ls(self._site.fsspec_path(folder), detail=False):
            name = str(entry).rstrip("/").rpartition("/")[2]
            one, other = folder.child(name), at.child(name)
            if self._exists(other):  # a partition's folder: files have names of their own
                self._move_into(one, other)
            else:
                self._rename(one, other)

    def replaced(self) -> LakeUri | None:
        parent = self._at.parent()
        try:
            entries = self._filesystem.ls(self._site.fsspec_path(parent), detail=False)
        except FileNotFoundError:
            return None
        names = (str(entry).rstrip("/").rpartition("/")[2] for entry in entries)
        ours = [name for name in names if name.startswith(f".{self._at.name}.") and name.endswith(".replaced")]
        return parent.child(max(ours)) if ours else None

    def recover(self) -> None:
        if not self._exists(self._at) and (old := self.replaced()) is not None:
            logger.warning("%s was being replaced when its writer died; the old rows are put back.", self._at)
            self._rename(old, self._at)


class _Blobs:
    """ADLS, by the Blob service: with and without a hierarchical namespace, and from any process."""

    def __init__(self, site: Site, at: LakeUri) -> None:
        self._site = site
        self._at = at
        self._filesystem = site.filesystem(at)
        self._prefix = site.fsspec_path(at).partition("/")[2].rstrip("/") + "/"

    def create(self, new: LakeUri) -> None:
        if self._site.filesystem(self._at).exists(self._site.fsspec_path(self._at)):
            raise FileExistsError(str(self._at))
        self.replace(new)

    def replace(self, new: LakeUri) -> None:
        self._run(self._replace(self._site.fsspec_path(new).partition("/")[2].rstrip("/") + "/"))

    def recover(self) -> None:
        self._run(self._recover())

    def _run(self, work: Any) -> None:
        from fsspec.asyn import sync

        async def awaited() -> None:
            await work

        sync(self._filesystem.loop, awaited)

    def _container(self) -> Any:
        return self._filesystem.service_client.get_container_client(self._at.container)

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
                if age < _DEAD:
                    raise WriteError(
                        f"{self._at} has been under replacement for {age.seconds} s. Wait for that writer; should it "
                        f"have died, this can be called again after {_DEAD.seconds} s."
                    )
                logger.warning("%s was being replaced when its writer died: finishing that.", self._at)
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
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(request: Any) -> None:
        async with gate:
            await request

    for outcome in await asyncio.gather(*map(one, list(work)), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
