"""Files that readers of a lake see whole or not at all."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, ContentSettings
from fsspec.asyn import sync

from feast_hybrid.errors import CommitUnknownError
from feast_hybrid.lakes.errors import lost_connection, raise_from, redacted_summary
from feast_hybrid.lakes.replace_hdfs import rename_once
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: Azure takes a block of up to 4000 MiB; small ones can be sent again quickly.
_BLOCK_BYTES = 32 * 2**20


def publish(files: Mapping[Location, Any], *, replace: bool = False) -> None:
    """Put files into a lake: all are sent first, where no reader sees them, and then shown one after another.

    One file appears at one moment: on HDFS by a rename, on ADLS when its list of blocks is committed. Several
    appear within the time of as many requests to the lake's name service, which carry no data. A file whose step was
    done counts as shown, also where the answer was lost.

    Args:
        files: what is to be at each place, as bytes; all on one lake.
        replace: whether a file of that name may be replaced, as by a task that is run again. Then a failure
            leaves what was shown already: it may be the work of the task's other attempt.

    Raises:
        CommitUnknownError: the lake does not answer any more, and what was shown could not be taken back.
        OSError, AzureError: the lake refused something; without ``replace``, no file is there.
    """
    if not files:
        return
    steps = steps_for(next(iter(files)))
    sent: dict[Location, Callable[[], None]] = {}
    try:
        for file, content in files.items():
            sent[file] = steps.send(file, memoryview(content).cast("B"))
        shown: list[Location] = []
        try:
            for file, show in sent.items():
                shown.append(file)
                show()
        except BaseException as error:
            if not replace:
                _take_back(steps, shown, error)
            raise
    except BaseException:
        steps.clean_up()
        raise


def _take_back(steps: RenameSteps | BlobSteps, shown: Sequence[Location], error: BaseException) -> None:
    """Remove files that were shown, the last one perhaps.

    Raises:
        CommitUnknownError: the lake refused that.
    """
    for number, file in enumerate(shown):
        try:
            steps.remove(file)
        except Exception as second:
            if isinstance(error, Exception):
                _unknown(shown[number:], error, second)
            return


def _unknown(files: Sequence[Location], error: Exception, second: Exception) -> NoReturn:
    names = f"{files[0]}{f' and {len(files) - 1} more files' if len(files) > 1 else ''}"
    text = (
        f"{names} may be there or not: the answer to the last step was lost ({redacted_summary(error)}), and it "
        f"could not be taken back ({redacted_summary(second)}). Read the rows before you write them again."
    )
    raise_from(CommitUnknownError(text), error)


def steps_for(file: Location) -> RenameSteps | BlobSteps:
    """The steps by which files appear on a file's lake."""
    return BlobSteps() if file.lake is LakeType.ADLS else RenameSteps()


class RenameSteps:
    """HDFS, and a local disk: a hidden file beside the place, then a rename, which is one step of the NameNode."""

    def __init__(self) -> None:
        self._filesystem: Any = None
        self._hidden: set[Location] = set()
        self._folders: list[Location] = []

    def send(self, file: Location, content: memoryview) -> Callable[[], None]:
        """Write a hidden file; return the step that renames it."""
        filesystem = self._filesystem = self._filesystem or file.fs
        folder = file.parent()
        if not filesystem.exists(folder.path):
            self._folders.append(folder)
        _make_folder(filesystem, folder.path)
        written = set(self._hidden)
        try:
            hidden = self._write(file, content)
        except Exception as error:
            if not lost_connection(error):
                raise
            spoilt = self._hidden - written  # as when NameNodes change places
            hidden = self._write(file, content)
            self._remove_hidden(spoilt)

        def show() -> None:
            rename_once(lambda: filesystem.mv(hidden.path, file.path, overwrite=True), filesystem, hidden, file)
            self._hidden.discard(hidden)

        return show

    def _write(self, file: Location, content: memoryview) -> Location:
        hidden = file.parent().child(f".{file.name}.{uuid.uuid4().hex[:12]}.writing")
        self._hidden.add(hidden)
        with self._filesystem.open(hidden.path, "wb") as opened:
            opened.write(content)
        return hidden

    def remove(self, file: Location) -> None:
        """Remove a file if it was shown."""
        with suppress(FileNotFoundError):
            self._filesystem.rm(file.path)

    def clean_up(self) -> None:
        """Remove the hidden files that were not shown, and the folders that were made for them and hold nothing."""
        self._remove_hidden(set(self._hidden))
        for folder in reversed(self._folders):
            with suppress(Exception):
                self._filesystem.rmdir(folder.path)

    def _remove_hidden(self, files: set[Location]) -> None:
        for hidden in files:
            with suppress(Exception):
                self._filesystem.rm(hidden.path)
        self._hidden -= files


class BlobSteps:
    """ADLS, with and without a hierarchical namespace: blocks that belong to no blob until their list is committed.

    Blob storage has no rename: to copy a file to its name would show it no sooner and cost it twice.
    """

    def __init__(self) -> None:
        self._filesystem: Any = None

    def send(self, file: Location, content: memoryview) -> Callable[[], None]:
        """Send the blocks; return the step that commits their list."""
        filesystem = self._filesystem = self._filesystem or file.fs
        # Azure wants the identifiers of one blob's blocks to be of one length.
        blocks = {
            uuid.uuid4().hex: content[start : start + _BLOCK_BYTES] for start in range(0, len(content), _BLOCK_BYTES)
        }
        digest = bytearray(hashlib.md5(content, usedforsecurity=False).digest())
        settings = ContentSettings(content_md5=digest)

        async def stage() -> None:
            async with _blob(filesystem, file) as blob:
                for identifier, part in blocks.items():
                    await blob.stage_block(identifier, bytes(part), length=len(part))

        async def commit() -> None:
            async with _blob(filesystem, file) as blob:
                try:
                    await _commit(blob, list(blocks), content, settings)
                except Exception:
                    if not await _holds(blob, digest):
                        raise

        sync(filesystem.loop, stage)
        return lambda: sync(filesystem.loop, commit)

    def remove(self, file: Location) -> None:
        """Remove a file if it was shown, and see that it is not shown by a commit that is still on its way."""

        async def removed() -> None:
            async with _blob(self._filesystem, file) as blob:
                # It drops the blocks that were sent. An empty file holds no rows, for the moment that it is there.
                await blob.commit_block_list([])
                with suppress(ResourceNotFoundError):
                    await blob.delete_blob()

        sync(self._filesystem.loop, removed)

    def clean_up(self) -> None:
        """Azure drops blocks that nobody commits after a week; they are in no listing."""


def _make_folder(filesystem: Any, path: str) -> None:
    try:
        filesystem.makedirs(path, exist_ok=True)
    except Exception:
        with suppress(Exception):
            if filesystem.isdir(path):
                return  # it was done, and the answer was lost
        raise


def _blob(filesystem: Any, file: Location) -> Any:
    """Azure's client of a blob."""
    container, _, name = file.path.partition("/")
    return filesystem.service_client.get_blob_client(container, name)


async def _commit(blob: Any, blocks: Sequence[str], content: memoryview, settings: ContentSettings) -> None:
    try:
        await blob.commit_block_list([BlobBlock(block) for block in blocks], content_settings=settings)
    except HttpResponseError as error:
        if getattr(error, "error_code", None) not in ("InvalidBlockList", "InvalidBlobOrBlock"):
            raise
        # Another attempt of this task has committed this blob, whereby our blocks were dropped.
        await blob.upload_blob(bytes(content), overwrite=True, content_settings=settings)


async def _holds(blob: Any, digest: bytearray) -> bool:
    """Whether a blob was committed with this content, and the answer was lost."""
    try:
        found = await blob.get_blob_properties()
    except Exception:  # what the commit itself said is what there is to say
        return False
    return bool(found.content_settings.content_md5 == digest)
