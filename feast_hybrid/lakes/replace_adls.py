"""A folder of ADLS put in the place of another, by the Blob service, which renames nothing.

The steps, for a folder ``set`` and new files in ``.set.….writing``. The claim is a file in ``set`` that one writer at
a time can have (:mod:`feast_hybrid.lakes.blob_claim`) and that no reader can read; it names the new files and the old
ones, by which our own readers find the rows that are whole (:mod:`feast_hybrid.files.replaced_folders`):

=======================  =============================  ============  ============  ==================================
step                     in ``set`` there are           Spark sees    we read       the next writer does
=======================  =============================  ============  ============  ==================================
0 before                 old files                      the old rows  the old rows  replaces them
1 claim created          old files, claim               an error      the old rows  refuses for 5 minutes after the
                                                                                    last sign of life, then removes
                                                                                    the claim
2 new files copied in    old files, claim, new files    an error      the old rows  refuses …, then removes the new
                         (some, then all)                                           files and the claim; with all
                                                                                    there as in 3
3 old files deleted      old files (some, then none),   an error      the new rows  refuses …, then removes the old
                         claim, new files                                           files and the claim
4 ``.writing`` deleted   claim, new files               an error      the new rows  as in 3
5 claim deleted          new files                      the new rows  the new rows  replaces them
=======================  =============================  ============  ============  ==================================

What fails in step 1 or 2 takes the new files back. From step 3 on there is no way back, since a deletion whose answer
was lost may still be done: what fails there twice, or fails to be taken back, is a
:class:`~feast_hybrid.errors.ReplacementError`, which says what is there.

A request whose answer was given up may still be on its way. So whoever takes new files back, and whoever ends a
replacement, first removes what they are copied from: a copy that comes late then copies nothing.

A writer that was taken for dead and goes on does no harm: who takes its claim over first removes what it copies from;
files are deleted only as they were listed, by their ETags; and it looks at its claim before each step.

A new file that is called like an old one gets another name: copied over it, it could not be taken back.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from fsspec.asyn import sync

from feast_hybrid.errors import ReplacementError, WriteError
from feast_hybrid.lakes.blob_claim import DEAD_AFTER, Claim, ClaimLostError, FoundClaim, find_claim
from feast_hybrid.lakes.errors import raise_from, redacted_summary
from feast_hybrid.lakes.markers import BEING_REPLACED, CLAIM, ReplacementRecord
from feast_hybrid.lakes.removal import is_folder
from feast_hybrid.lakes.versions import FilesChangedError, FileVersion

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

_MAX_PARALLEL_REQUESTS = 16
_CONFLICT = 409


class BlobReplacement:
    """Puts folders in the place of ``target``, with and without a hierarchical namespace, and from any process."""

    def __init__(self, target: Location) -> None:
        self._target = target
        self._filesystem = target.fs
        self._prefix = _prefix(target)

    def create(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`, where nothing may be there."""
        self._run(self._replace(_prefix(new), overwrite=False))

    def replace(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`."""
        self._run(self._replace(_prefix(new), overwrite=True))

    def exchange(self, new: Location, old: Mapping[str, FileVersion]) -> None:
        """See :meth:`feast_hybrid.lakes.replace.Exchange.put_in_place`.

        Args:
            new: the folder with the new files, from :func:`feast_hybrid.lakes.replace.aside`.
            old: the names of the target's own files that go, and their versions.
        """
        self._run(self._replace(_prefix(new), overwrite=True, only=old))

    def recover(self) -> None:
        """See :func:`feast_hybrid.lakes.replace.recover`."""
        self._run(self._recover())

    def _run(self, work: Any) -> None:
        async def awaited() -> None:
            await work

        sync(self._filesystem.loop, awaited)

    def _container(self) -> Any:
        return self._filesystem.service_client.get_container_client(self._target.uri.container)

    async def _replace(self, new: str, *, overwrite: bool, only: Mapping[str, FileVersion] | None = None) -> None:
        async with self._container() as container:
            claim = Claim(container, self._prefix + CLAIM, ReplacementRecord("", new_folder=new))
            await self._take(claim, container)
            async with claim.kept():
                old: list[Any] = []
                copies: dict[str, str] = {}
                try:
                    old = [blob for blob in await self._blobs(container) if blob.name != claim.name]
                    self._require_leave(old, overwrite=overwrite)
                    if only is not None:
                        old = self._chosen(old, only)
                    copies = _copies(await _files(container, new), new, self._prefix, old)
                    await claim.announce(
                        self._below(copies.values()), self._below(blob.name for blob in old if not is_folder(blob))
                    )
                    await _all(self._copy(container, claim, source, target) for source, target in copies.items())
                except BaseException as error:
                    await self._take_back(container, claim, copies, old, error)
                    raise
                await self._end(container, claim, [blob for blob in old if blob.name not in copies.values()])

    def _below(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of blobs in the target, below it."""
        return tuple(name.removeprefix(self._prefix) for name in names)

    def _require_leave(self, old: list[Any], *, overwrite: bool) -> None:
        if old and not overwrite:
            raise FileExistsError(str(self._target))

    def _chosen(self, blobs: list[Any], wanted: Mapping[str, FileVersion]) -> list[Any]:
        """The blobs of some names, as they were when their rows were read.

        Raises:
            FilesChangedError: one is not there so any more.
        """
        by_name = {blob.name.removeprefix(self._prefix): blob for blob in blobs}
        for name, version in wanted.items():
            blob = by_name.get(name)
            if blob is None or _unquoted(blob.etag) != _unquoted(version.mark.removeprefix("etag ")):
                raise FilesChangedError(f"{self._target.child(name)} was written or deleted meanwhile.")
        return [by_name[name] for name in wanted]

    async def _take(self, claim: Claim, container: Any) -> None:
        if await claim.take():
            return
        await self._recover_in(container)
        if not await claim.take():
            raise WriteError(f"{self._target} is being replaced by another writer at this moment. {_AGAIN}")

    async def _take_back(
        self, container: Any, claim: Claim, copies: dict[str, str], old: list[Any], error: BaseException
    ) -> None:
        """Remove the new files and the claim; the old files are all there.

        Raises:
            ReplacementError: that failed.
            WriteError: another writer has taken the claim over.
        """
        try:
            await claim.verify()
            if copies:
                await self._delete(container, claim, await self._blobs(container, claim.record.new_folder))
                added = {*copies.values()} - {blob.name for blob in old}
                found = await self._blobs(container)
                await self._delete(container, claim, [blob for blob in found if blob.name in added])
            await claim.release()
        except ClaimLostError:
            raise_from(self._lost(), error)
        except Exception as second:
            self._unfinished(error, f"what was done could not be taken back: {redacted_summary(second)}")

    async def _end(self, container: Any, claim: Claim, old: list[Any]) -> None:
        """Remove the old files, what the new ones were copied from, and the claim.

        Raises:
            ReplacementError: that failed, also when it was tried again.
            WriteError: another writer has taken the claim over, and does so.
        """
        try:
            try:
                await self._delete(container, claim, old)
            except ClaimLostError:
                raise
            except Exception:
                await self._delete(container, claim, old)
            await self._remove_copied(container, claim)
            await claim.release()
        except ClaimLostError as error:
            raise_from(self._lost(), error)
        except Exception as error:
            self._unfinished(error, "its new files are all there, and its old ones in part")

    async def _remove_copied(self, container: Any, claim: Claim) -> None:
        folder = claim.record.new_folder
        try:
            await self._delete(container, claim, await self._blobs(container, folder))
        except ClaimLostError:
            raise
        except Exception as error:
            logger.warning("%s is hidden from readers, and could not be removed: %s", folder, type(error).__name__)

    def _lost(self) -> WriteError:
        return WriteError(
            f"{self._target}: nothing was heard of this writer for {DEAD_AFTER.seconds} s, and another one has ended "
            f"its replacement. {_AGAIN}"
        )

    def _unfinished(self, error: BaseException, what: str) -> NoReturn:
        text = (
            f"{self._target} is half replaced ({redacted_summary(error)}): {what}. Until that is ended, a file that "
            f"cannot be read stands there. Write again in {DEAD_AFTER.seconds} s, which ends it first."
        )
        raise_from(ReplacementError(text, old_rows=str(self._target)), error)

    async def _blobs(self, container: Any, prefix: str | None = None) -> list[Any]:
        """All blobs in the target, or in another folder."""
        listed = container.list_blobs(name_starts_with=prefix or self._prefix, include=["metadata"])
        return [blob async for blob in listed]

    async def _recover(self) -> None:
        async with self._container() as container:
            await self._recover_in(container)

    async def _recover_in(self, container: Any) -> None:
        listed = [blob async for blob in container.list_blobs(name_starts_with=self._prefix + BEING_REPLACED)]
        for blob in sorted(listed, key=lambda blob: blob.last_modified, reverse=True):
            if (found := await find_claim(container, blob.name)) is None:
                continue  # its writer has ended, or the one of a later claim said that this file goes
            if found.age < DEAD_AFTER:
                raise WriteError(
                    f"{self._target} is being replaced by another writer, whose last sign of life is "
                    f"{max(int(found.age.total_seconds()), 0)} s old. Wait for it; should it have died, this can be "
                    f"called again after {DEAD_AFTER.seconds} s."
                )
            claim = Claim(container, found.name, found.record)
            if not await claim.take_over(found):
                raise WriteError(f"{self._target} is being replaced by another writer at this moment. {_AGAIN}")
            try:
                async with claim.kept():
                    await self._finish(container, claim, found)
            except ClaimLostError as error:
                lost = WriteError(f"{self._target} is being replaced by another writer at this moment. {_AGAIN}")
                raise_from(lost, error)

    async def _finish(self, container: Any, claim: Claim, found: FoundClaim) -> None:
        """Finish or take back what a dead writer has begun; the claim is ours."""
        logger.warning("%s was being replaced when its writer died: finishing that.", self._target)
        # Should it be alive after all, it finds nothing to copy any more; so what is there now stays as it is.
        if self._is_aside(found.record.new_folder):
            await self._delete(container, claim, await self._blobs(container, found.record.new_folder))
        new = {self._prefix + name for name in found.record.new_files}
        blobs = [blob for blob in await self._blobs(container) if blob.name != claim.name]
        names = {blob.name for blob in blobs}
        # Files that somebody has added meanwhile are neither.
        stated = found.record.old_files
        old = names - new if stated is None else {self._prefix + name for name in stated}
        # Old files go only when all the new ones are there; so those are whole, or the old ones are.
        copied = {blob.name for blob in blobs if await self._is_copied(container, blob.name, new)}
        is_whole = bool(new) and new <= copied
        gone = old - new if is_whole else new - old
        await self._delete(container, claim, [blob for blob in blobs if blob.name in gone])
        await claim.release()

    def _is_aside(self, folder: str) -> bool:
        """Whether a folder is one that :func:`feast_hybrid.lakes.replace.aside` makes for the target."""
        parent, separator, name = self._prefix.rstrip("/").rpartition("/")
        pattern = rf"{re.escape(f'{parent}{separator}.{name}.')}[0-9a-f]+\.writing/"
        return re.fullmatch(pattern, folder) is not None

    async def _is_copied(self, container: Any, name: str, new: set[str]) -> bool:
        if name not in new:
            return False
        return bool((await container.get_blob_client(name).get_blob_properties()).copy.status == "success")

    async def _copy(self, container: Any, claim: Claim, source: str, target: str) -> None:
        await claim.check()
        blob = container.get_blob_client(target)
        await blob.start_copy_from_url(container.get_blob_client(source).url)
        while (status := (await blob.get_blob_properties()).copy.status) == "pending":
            await asyncio.sleep(0.1)
        if status != "success":
            raise OSError(f"{target} could not be copied: {status}")

    async def _delete(self, container: Any, claim: Claim | None, blobs: list[Any]) -> None:
        """Delete blobs as they were listed; a later blob of the same name stays.

        Files before the folders that hold them, which a hierarchical namespace lists too.
        """

        async def delete(blob: Any) -> None:
            if claim is not None:
                await claim.check()
            # A folder's ETag may change with what is in it.
            condition = {} if is_folder(blob) else _as_listed(blob)
            client = container.get_blob_client(blob.name)
            try:
                await client.delete_blob(**condition)
            except ResourceNotFoundError:
                return
            except ResourceModifiedError:
                # Also said where it is gone, as when the answer was lost and the client has asked again.
                if await _etag(client) == _unquoted(blob.etag):
                    raise
            except HttpResponseError as error:
                if not (is_folder(blob) and error.status_code == _CONFLICT):
                    raise  # else it holds new files

        depths = {blob.name.rstrip("/").count("/") for blob in blobs}
        for depth in sorted(depths, reverse=True):
            await _all(delete(blob) for blob in blobs if blob.name.rstrip("/").count("/") == depth)


#: What the loser of a race is told to do.
_AGAIN = "Those rows, or the ones that were there, are whole. Save again to have these rows there."


async def _files(container: Any, prefix: str) -> list[str]:
    """The names of the files in a folder and below."""
    listed = container.list_blobs(name_starts_with=prefix, include=["metadata"])
    return [blob.name async for blob in listed if not is_folder(blob)]


def _prefix(folder: Location) -> str:
    """What the names of a folder's blobs begin with."""
    return folder.path.partition("/")[2].rstrip("/") + "/"


async def _etag(client: Any) -> str | None:
    """The ETag of a blob; None where there is none."""
    try:
        return _unquoted((await client.get_blob_properties()).etag)
    except ResourceNotFoundError:
        return None


def _as_listed(blob: Any) -> dict[str, Any]:
    """The condition that a blob is as it was listed, where its ETag has no quotation marks."""
    return {"etag": f'"{_unquoted(blob.etag)}"', "match_condition": MatchConditions.IfNotModified}


def _unquoted(etag: str) -> str:
    return etag.strip('"')


def _copies(files: list[str], new: str, prefix: str, old: Iterable[Any]) -> dict[str, str]:
    """Where each new file is copied to: to its name below the target, or to a free one beside it.

    Hidden files, such as ``_SUCCESS``, hold no rows: they keep their names.
    """
    taken = {blob.name for blob in old}
    copies: dict[str, str] = {}
    for file in files:
        folder, _, name = f"{prefix}{file.removeprefix(new)}".rpartition("/")
        target = f"{folder}/{name}"
        if target in taken and not name.startswith(("_", ".")):
            stem, dot, extension = name.partition(".")
            target = f"{folder}/{stem}-{uuid.uuid4().hex[:12]}{dot}{extension}"
        copies[file] = target
    return copies


async def _all(work: Any) -> None:
    """Await many requests, some at a time; the first failure is raised when all have ended."""
    gate = asyncio.Semaphore(_MAX_PARALLEL_REQUESTS)

    async def one(request: Any) -> None:
        async with gate:
            await request

    for outcome in await asyncio.gather(*map(one, list(work)), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
