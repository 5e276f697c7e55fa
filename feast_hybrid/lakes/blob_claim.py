"""A writer's claim on a folder of ADLS: a blob that one writer can create, and only its owner changes.

The service decides: the blob is created only where there is none (``If-None-Match: *``), and changed and deleted only
as it was seen last (``If-Match`` with its ETag). Its owner writes it anew every minute; where that has not been done
for five minutes, by the service's own clock, another writer may take it over, by the same condition.

An owner that could not write it for three minutes does so before it goes on, or stops: nobody can have taken it over
before.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.markers import ReplacementRecord

#: A claim that has not been renewed for so long may be taken over.
DEAD_AFTER = timedelta(minutes=5)
#: How often its owner renews it, and after how long without success it does nothing else before.
_RENEWED_EVERY = timedelta(minutes=1)
_STALE_AFTER = timedelta(minutes=3)


class ClaimLostError(WriteError):
    """The claim is another writer's now."""

    def __init__(self, claim: str) -> None:
        super().__init__(
            f"{claim}: nothing was heard of this writer for {DEAD_AFTER.seconds} s, and another one has taken its "
            "claim on the folder over. Save again."
        )


@dataclass(frozen=True)
class FoundClaim:
    """A claim as it is on the lake.

    Attributes:
        name: of the blob.
        etag: of what was read.
        record: whose it is, and which files it is about.
        age: since it was renewed last, by the service's clock.
        content: what was read.
    """

    name: str
    etag: str
    record: ReplacementRecord
    age: timedelta
    content: bytes


async def find_claim(container: Any, name: str) -> FoundClaim | None:
    """The claim in a blob; None where there is none."""
    dates: list[str] = []

    def note_date(answer: Any) -> None:
        dates.append(answer.http_response.headers.get("Date") or "")

    try:
        stream = await container.get_blob_client(name).download_blob(raw_response_hook=note_date)
        content = await stream.readall()
    except ResourceNotFoundError:
        return None
    now = parsedate_to_datetime(dates[0]) if dates and dates[0] else datetime.now(UTC)
    age = now - stream.properties.last_modified
    return FoundClaim(name, stream.properties.etag, ReplacementRecord.from_bytes(content), age, content)


class Claim:
    """A claim of this writer.

    Args:
        container: Azure's client of the container.
        name: of the blob.
        record: what it says of the files; its writer is put in here.
    """

    def __init__(self, container: Any, name: str, record: ReplacementRecord) -> None:
        self.name = name
        self._container = container
        self.record = replace(record, writer=uuid.uuid4().hex)
        self._etag = ""
        self._renewed_at = 0.0
        self._lost = False
        self._changing = asyncio.Lock()

    async def take(self) -> bool:
        """Create the blob; whether there was none."""
        try:
            await self._write({"overwrite": False})
        except ResourceExistsError:
            return False
        return True

    async def take_over(self, found: FoundClaim) -> bool:
        """Make another writer's claim this one's; whether it was still as it was found."""
        try:
            await self._write(_as_seen(found.etag))
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        return True

    async def announce(self, new_files: tuple[str, ...], old_files: tuple[str, ...]) -> None:
        """Say which files will be copied in, and which ones go then.

        Raises:
            ClaimLostError: the claim is another writer's.
        """
        async with self._changing:
            self.record = replace(self.record, new_files=new_files, old_files=old_files)
            await self._renew()

    async def verify(self) -> None:
        """Ask the service whether the claim is still this writer's.

        Raises:
            ClaimLostError: it is not.
        """
        async with self._changing:
            await self._renew()

    async def check(self) -> None:
        """Before each step: see that the claim cannot be another writer's.

        Raises:
            ClaimLostError: it is.
            AzureError: it may be, and the service could not be asked.
        """
        if self._lost:
            raise ClaimLostError(self.name)
        if time.monotonic() - self._renewed_at > _STALE_AFTER.total_seconds():
            await self.verify()

    async def release(self) -> None:
        """Delete the blob.

        Raises:
            ClaimLostError: the claim is another writer's.
        """
        await self.check()
        async with self._changing:
            while not await self._delete():
                found = await find_claim(self._container, self.name)
                if found is not None and found.record.writer == self.record.writer:
                    self._etag = found.etag  # it was renewed, and the answer was lost
                    continue
                # Nobody can have taken it over yet: it was deleted, and the answer was lost.
                if found is None or time.monotonic() - self._renewed_at < DEAD_AFTER.total_seconds():
                    return
                self._lost = True
                raise ClaimLostError(self.name)

    async def _delete(self) -> bool:
        """Whether the blob was as it was seen last, and is gone."""
        blob = self._container.get_blob_client(self.name)
        try:
            await blob.delete_blob(etag=self._etag, match_condition=MatchConditions.IfNotModified)
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        return True

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the claim every minute while this context lasts; that it could not be done once does no harm."""

        async def renew_often() -> None:
            while not self._lost:
                await asyncio.sleep(_RENEWED_EVERY.total_seconds())
                with suppress(Exception):
                    await self.verify()

        renewing = asyncio.create_task(renew_often())
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew(self) -> None:
        try:
            await self._write(_as_seen(self._etag))
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            self._lost = True
            raise ClaimLostError(self.name) from error

    async def _write(self, condition: dict[str, Any]) -> None:
        content = self.record.to_bytes()
        began = time.monotonic()
        try:
            answer = await self._container.get_blob_client(self.name).upload_blob(content, **condition)
            self._etag = answer["etag"]
        except Exception:
            # Where an answer is lost Azure's client asks again, and then meets what it has written itself.
            found = None
            with suppress(Exception):
                found = await find_claim(self._container, self.name)
            if found is None or found.content != content:
                raise
            self._etag = found.etag
        self._renewed_at = began


def _as_seen(etag: str) -> dict[str, Any]:
    return {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}
