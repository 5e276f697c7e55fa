"""Files that readers of a lake see whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock
from fsspec.asyn import sync

from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: Azure takes a block of up to 4000 MiB; small ones can be sent again quickly.
_BLOCK_BYTES = 32 * 2**20


def publish(files: Mapping[Location, Any], *, replace: bool = False) -> None:
    """Put files into a lake: all are sent first, where no reader sees them, and then shown one after another.

    One file appears at one moment: on HDFS by a rename, on ADLS when its list of blocks is committed. Several
    appear within the time of as many requests to the lake's name service, which carry no data.

    Args:
        files: what is to be at each place, as bytes; all on one lake.
        replace: whether a file of that name may be replaced, as by a task that is run again. Then a failure
            leaves what was shown already: it may be the work of the task's other attempt.

    Raises:
        OSError: the lake refused something; without ``replace``, no file is there.
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
        except BaseException:
            if not replace:
                for file in shown:
                    steps.remove(file)
            raise
    except BaseException:
        steps.clean_up()
        raise


def steps_for(file: Location) -> RenameSteps | BlobSteps:
    """The steps by which files appear on a file's lake."""
    return BlobSteps() if file.lake is LakeType.ADLS else RenameSteps()


class RenameSteps:
    """HDFS, and a local disk: a hidden file beside the place, then a rename, which is one step of the NameNode."""

    def __init__(self) -> None:
        self._filesystem: Any = None
        self._hidden: set[Location] = set()

    def send(self, file: Location, content: memoryview) -> Callable[[], None]:
        """Write a hidden file; return the step that renames it."""
        filesystem = self._filesystem = self._filesystem or file.fs
        hidden = file.parent().child(f".{file.name}.{uuid.uuid4().hex[:12]}.writing")
        filesystem.makedirs(file.parent().path, exist_ok=True)
        self._hidden.add(hidden)
        with filesystem.open(hidden.path, "wb") as opened:
            opened.write(content)

        def show() -> None:
            filesystem.mv(hidden.path, file.path, overwrite=True)
            self._hidden.discard(hidden)

        return show

    def remove(self, file: Location) -> None:
        """Remove a file that was shown; a failure is ignored."""
        with suppress(Exception):
            self._filesystem.rm(file.path)

    def clean_up(self) -> None:
        """Remove the hidden files that were not shown."""
        for hidden in self._hidden:
            with suppress(Exception):
                self._filesystem.rm(hidden.path)


class BlobSteps:
    """ADLS, with and without a hierarchical namespace: blocks that belong to no blob until their list is committed.

    Blob storage has no rename: to copy a file to its name would show it no sooner and cost it twice.
    """

    def __init__(self) -> None:
        self._filesystem: Any = None

    def send(self, file: Location, content: memoryview) -> Callable[[], None]:
        """Send the blocks; return the step that commits their list."""
        filesystem = self._filesystem = self._filesystem or file.fs
        container, _, name = file.path.partition("/")
        # Azure wants the identifiers of one blob's blocks to be of one length.
        blocks = {
            uuid.uuid4().hex: content[start : start + _BLOCK_BYTES] for start in range(0, len(content), _BLOCK_BYTES)
        }

        async def stage() -> None:
            async with filesystem.service_client.get_blob_client(container, name) as blob:
                for identifier, part in blocks.items():
                    await blob.stage_block(identifier, bytes(part), length=len(part))

        async def commit() -> None:
            async with filesystem.service_client.get_blob_client(container, name) as blob:
                try:
                    await blob.commit_block_list([BlobBlock(identifier) for identifier in blocks])
                except HttpResponseError as error:
                    if getattr(error, "error_code", None) not in ("InvalidBlockList", "InvalidBlobOrBlock"):
                        raise
                    # Another attempt of this task has committed this blob, whereby our blocks were dropped.
                    await blob.upload_blob(bytes(content), overwrite=True)

        sync(filesystem.loop, stage)
        return lambda: sync(filesystem.loop, commit)

    def remove(self, file: Location) -> None:
        """Remove a file that was shown; a failure is ignored."""
        with suppress(Exception):
            self._filesystem.rm_file(file.path)

    def clean_up(self) -> None:
        """Azure drops blocks that nobody commits after a week; they are in no listing."""
