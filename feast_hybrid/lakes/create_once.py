"""A file that one writer creates where several try: a step by which a log is agreed on.

On ADLS it is a PUT that the service refuses where a blob is (``If-None-Match: *``), on HDFS a rename onto a name that
is free, on a local disk a link. Where an answer is lost, what is there tells whether it was done.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from azure.core.exceptions import ResourceExistsError
from fsspec.asyn import sync

from feast_hybrid.errors import CommitUnknownError, StorageTimeoutError, UnavailableError
from feast_hybrid.lakes.errors import classify_storage_error, raise_from, redacted_summary
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: How often a step is done again whose answer was lost, which is one step all the same.
_TRIES = 3


def create_once(file: Location, content: bytes) -> bool:
    """Create a file, whole, where there is none.

    Args:
        file: in a folder that is there, or that its lake makes.
        content: no other writer's is the same.

    Returns:
        Whether it was created; else another writer's is there.

    Raises:
        CommitUnknownError: the lake does not answer any more, and it may be done.
        OSError, AzureError: the lake refused it; it is not done.
    """
    create = _put if file.lake is LakeType.ADLS else _rename
    for tries_left in reversed(range(_TRIES)):
        try:
            create(file, content)
        except Exception as error:
            try:
                found: bytes | None = file.fs.cat_file(file.path)
            except FileNotFoundError:
                found = None
            except Exception as second:
                _unknown(file, error, second)
            if found is not None:
                return found == content
            if isinstance(error, FileExistsError | ResourceExistsError):
                continue  # whose it was, that took it away again
            kind = classify_storage_error(error)
            if kind is StorageTimeoutError or (kind is UnavailableError and not tries_left):
                _unknown(file, error, error)
            if kind is not UnavailableError:
                raise
        else:
            return True
    raise FileExistsError(f"{file} comes and goes")


def _unknown(file: Location, error: Exception, second: Exception) -> NoReturn:
    text = (
        f"whether {file} was committed is not known: the answer was lost ({redacted_summary(error)}), and it is not "
        f"seen there ({redacted_summary(second)}). Read the rows before you write them again."
    )
    raise_from(CommitUnknownError(text), error)


def _put(file: Location, content: bytes) -> None:
    filesystem = file.fs
    container, _, name = file.path.partition("/")

    async def upload() -> None:
        async with filesystem.service_client.get_blob_client(container, name) as blob:
            await blob.upload_blob(content, overwrite=False)

    sync(filesystem.loop, upload)


def _rename(file: Location, content: bytes) -> None:
    filesystem: Any = file.fs
    filesystem.makedirs(file.parent().path, exist_ok=True)
    hidden = file.parent().child(f".{file.name}.{uuid.uuid4().hex[:12]}.writing")
    try:
        with filesystem.open(hidden.path, "wb") as opened:
            opened.write(content)
        if file.lake is LakeType.LOCAL:
            os.link(hidden.path, file.path)
        else:
            filesystem.mv(hidden.path, file.path)
    except BaseException:
        with suppress(Exception):
            filesystem.rm(hidden.path)
        raise
    if file.lake is LakeType.LOCAL:
        filesystem.rm(hidden.path)
