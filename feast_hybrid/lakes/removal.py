"""Folders removed as they are called: signs of patterns in their names are plain characters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceNotFoundError
from fsspec.asyn import sync

from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

_REQUESTS_AT_ONCE = 16


def remove_tree(folder: Location) -> None:
    """Remove a folder or file with all that is below it.

    Raises:
        ValueError: it is the root of a container or file system.
        FileNotFoundError: on HDFS or a local disk: nothing is there.
        OSError, AzureError: the lake refused something.
    """
    if not folder.name:
        raise ValueError(f"{folder} is a root, which is not removed")
    if folder.lake is LakeType.ADLS:  # adlfs takes the path for a pattern
        sync(folder.fs.loop, _remove_blobs, folder)
        folder.fs.invalidate_cache()
    else:
        folder.fs.rm(folder.path, recursive=True)


async def _remove_blobs(folder: Location) -> None:
    container_name, _, path = folder.path.rstrip("/").partition("/")
    async with folder.fs.service_client.get_container_client(container_name) as container:
        listed = container.list_blobs(name_starts_with=path, include=["metadata"])
        blobs = [blob async for blob in listed if f"{blob.name}/".startswith(f"{path}/")]
        folders = [blob.name for blob in blobs if is_folder(blob)]
        files = [blob.name for blob in blobs if not is_folder(blob)]
        limit = asyncio.Semaphore(_REQUESTS_AT_ONCE)

        async def removed(name: str) -> None:
            async with limit:
                await _remove_blob(container, name)

        await asyncio.gather(*map(removed, files))
        # With a hierarchical namespace a folder has to be empty.
        for name in sorted(folders, reverse=True):
            await _remove_blob(container, name)


async def _remove_blob(container: Any, name: str) -> None:
    try:
        await container.delete_blob(name)
    except ResourceNotFoundError:
        return


def is_folder(blob: Any) -> bool:
    """Whether a blob, listed with its metadata, is the marker of a folder."""
    metadata = {key.lower(): value for key, value in (blob.metadata or {}).items()}
    return metadata.get("hdi_isfolder") == "true" or (not blob.size and blob.name.endswith("/"))
