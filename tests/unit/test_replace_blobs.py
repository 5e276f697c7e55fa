"""A folder of ADLS put in the place of another by writers that meet at every step: a blob service in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, Self

import fsspec.asyn
import pytest
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from feast_hybrid.errors import HybridError, WriteError
from feast_hybrid.lakes import Location, Router, Site, blob_claim, replace
from feast_hybrid.lakes.markers import BEING_REPLACED, CLAIM, ReplacementRecord

#: What each writer's files are called; ``data.parquet`` is a name of the old rows' too.
FILES = ("data.parquet", "day=1/more.parquet", "_SUCCESS")


@dataclass
class Blob:
    content: bytes
    etag: str
    last_modified: datetime
    copied: bool = False


@dataclass
class Service:
    """A blob service whose clock only a test moves."""

    blobs: dict[str, Blob] = field(default_factory=dict)
    now: datetime = datetime(2026, 11, 26, tzinfo=UTC)
    seen: list[set[bytes]] = field(default_factory=list)
    _versions: int = 0

    def put(self, name: str, content: bytes, *, copied: bool = False) -> Blob:
        self._versions += 1
        self.blobs[name] = Blob(content, f'"{self._versions}"', self.now, copied)
        self.seen.append(self.rows())
        return self.blobs[name]

    def delete(self, name: str) -> None:
        del self.blobs[name]
        self.seen.append(self.rows())

    def rows(self) -> set[bytes]:
        """What a reader finds who lists the folder now; nothing where an unreadable file is among it."""
        names = [name for name in self.blobs if name.startswith("lake/set/")]
        if any(BEING_REPLACED in name for name in names):
            return set()
        return {self.blobs[name].content for name in names if not name.endswith("_SUCCESS")}


class KilledError(Exception):
    """What a writer sees that is no more: every request fails, so it takes nothing back either."""


@dataclass
class Client:
    """One writer's client: what happens before and after each of its requests is the test's to say."""

    service: Service
    meet: Callable[[int], Awaitable[None]] | None = None
    requests: int = 0
    killed_at: int | None = None
    lost_answers: bool = False
    asked_twice_at: int | None = None
    given_up_at: int | None = None
    on_their_way: list[Callable[[], Any]] = field(default_factory=list)

    async def request(self, do: Callable[[], Any]) -> Any:
        self.requests += 1
        if self.killed_at is not None and self.requests > self.killed_at:
            raise KilledError
        if self.meet is not None:
            await self.meet(self.requests)
        if self.requests == self.given_up_at:
            self.on_their_way.append(do)
            raise OSError("no answer")
        answer = do()
        if self.requests == self.asked_twice_at:  # what Azure's client does when an answer is lost
            answer = do()
        await asyncio.sleep(0)
        return answer

    def arrive(self) -> None:
        """Have what was given up reach the service after all."""
        for do in self.on_their_way:
            with suppress(ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
                do()

    # What adlfs has.
    @property
    def loop(self) -> Any:
        return fsspec.asyn.get_loop()

    @property
    def service_client(self) -> Any:
        return SimpleNamespace(get_container_client=lambda _: Container(self))


@dataclass
class Container:
    client: Client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def list_blobs(self, name_starts_with: str, include: object = None) -> Any:  # noqa: ARG002
        blobs = self.client.service.blobs
        found = await self.client.request(lambda: [(name, blobs[name]) for name in blobs])
        for name, blob in found:
            if name.startswith(name_starts_with):
                # As a listing has it, without quotation marks.
                yield SimpleNamespace(
                    name=name,
                    etag=blob.etag.strip('"'),
                    size=len(blob.content),
                    metadata=None,
                    last_modified=blob.last_modified,
                )

    def get_blob_client(self, name: str) -> BlobClient:
        return BlobClient(self.client, name)


@dataclass
class BlobClient:
    client: Client
    name: str

    @property
    def url(self) -> str:
        return f"https://account/{self.name}"

    def _found(self, etag: str | None = None) -> Blob:
        if (blob := self.client.service.blobs.get(self.name)) is None:
            raise ResourceNotFoundError(self.name)
        if etag is not None and etag != blob.etag:
            raise ResourceModifiedError(self.name)
        return blob

    async def upload_blob(
        self, content: bytes, *, overwrite: bool, etag: str | None = None, match_condition: object = None
    ) -> dict[str, str]:
        assert (etag is None) == (match_condition is None)

        def do() -> dict[str, str]:
            if not overwrite and self.name in self.client.service.blobs:
                raise ResourceExistsError(self.name)
            if etag is not None:
                self._found(etag)
            return {"etag": self.client.service.put(self.name, content).etag}

        answer: dict[str, str] = await self.client.request(do)
        if self.client.lost_answers:  # as Azure's client then does, it asks again
            answer = await self.client.request(do)
        return answer

    async def download_blob(self, *, raw_response_hook: Callable[[Any], None]) -> Any:
        blob = await self.client.request(self._found)
        headers = {"Date": format_datetime(self.client.service.now, usegmt=True)}
        raw_response_hook(SimpleNamespace(http_response=SimpleNamespace(headers=headers)))

        async def readall() -> bytes:
            content: bytes = blob.content
            return content

        return SimpleNamespace(
            properties=SimpleNamespace(etag=blob.etag, last_modified=blob.last_modified), readall=readall
        )

    async def get_blob_properties(self) -> Any:
        blob = await self.client.request(self._found)
        return SimpleNamespace(etag=blob.etag, copy=SimpleNamespace(status="success" if blob.copied else None))

    async def start_copy_from_url(self, url: str) -> None:
        def do() -> None:
            source = BlobClient(self.client, url.removeprefix("https://account/"))._found()
            self.client.service.put(self.name, source.content, copied=True)

        await self.client.request(do)

    async def delete_blob(self, *, etag: str | None = None, match_condition: object = None) -> None:
        assert (etag is None) == (match_condition is None)

        def do() -> None:
            self._found(etag)
            self.client.service.delete(self.name)

        await self.client.request(do)


@dataclass
class Writer:
    """A writer with rows of its own, of which no other has any."""

    name: str
    client: Client
    target: Location
    outcome: BaseException | None = None

    @property
    def rows(self) -> set[bytes]:
        return {f"{self.name}/{file}".encode() for file in FILES if file != "_SUCCESS"}

    @property
    def aside(self) -> Location:
        return self.target.parent().child(f".set.{self.name.encode().hex()}.writing")

    def send(self) -> None:
        prefix = self.aside.path.partition("/")[2]
        for file in FILES:
            self.client.service.put(f"{prefix}/{file}", f"{self.name}/{file}".encode())

    def save(self, *, overwrite: bool = True) -> BaseException | None:
        """What ``persist`` does once the rows are sent; what it raises."""
        try:
            replace.recover(self.target)
            replace.put_in_place(self.aside, self.target, overwrite=overwrite)
        except Exception as error:
            self.outcome = error
        return self.outcome


OLD_ROWS = {b"old/data.parquet", b"old/other.parquet"}


class World:
    """A service with a folder that has old rows, and writers who want to replace them."""

    def __init__(self, *, empty: bool = False) -> None:
        self.service = Service()
        self.clients: dict[str, Client] = {}
        for row in () if empty else OLD_ROWS:
            self.service.put(f"lake/set/{row.decode().removeprefix('old/')}", row)
        self.service.seen.clear()

    def writer(self, name: str) -> Writer:
        self.clients[name] = Client(self.service)
        key = {"type": "account_key", "account_key": {"env": "KEY"}}
        site = Site.model_validate(
            {"name": name, "uri": "abfss://box@account.dfs.core.windows.net/", "credential": key}
        )
        writer = Writer(name, self.clients[name], Router([site]).locate(f"{site.uri}lake/set"))
        writer.send()
        return writer

    def assert_never_mixed(self, *writers: Writer, empty: bool = False) -> None:
        """At no moment has a reader seen anything but one writer's rows, whole, or the old ones."""
        whole = [set(), *(writer.rows for writer in writers), *([] if empty else [OLD_ROWS])]
        assert [rows for rows in self.service.seen if rows not in whole] == []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    worlds: list[World] = []

    def make(*, empty: bool = False) -> World:
        worlds.append(World(empty=empty))
        return worlds[-1]

    monkeypatch.setattr(Location, "fs", property(lambda self: worlds[-1].clients[self.site.name]))
    return make


def steps(world: Callable[..., World], *, empty: bool = False) -> int:
    """How many requests an undisturbed writer makes."""
    writer = world(empty=empty).writer("alone")
    assert writer.save() is None
    return writer.client.requests


async def in_thread(function: Callable[[], Any]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, function)


def refused(error: BaseException | None) -> bool:
    """A clear error of ours, which names the place."""
    return isinstance(error, HybridError) and "lake/set" in str(error)


@pytest.mark.parametrize("empty", [False, True], ids=["old-rows", "nothing-there"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_another_writer_who_comes_at_any_step_leaves_one_of_the_two_whole(
    world: Callable[..., World], empty: bool, overwrite: bool
) -> None:
    for step in range(1, steps(world, empty=empty) + 1):
        here = world(empty=empty)
        first, second = here.writer("first"), here.writer("second")

        async def meet(request: int, step: int = step, second: Writer = second) -> None:
            if request == step:
                await in_thread(lambda: second.save(overwrite=overwrite))

        first.client.meet = meet
        first.save(overwrite=overwrite)
        if first.client.requests < step:
            break  # it was refused before
        here.assert_never_mixed(first, second, empty=empty)
        found = here.service.rows()
        good = [writer for writer in (first, second) if writer.outcome is None]
        if not overwrite and not empty:
            assert good == []
            assert found == OLD_ROWS
            continue
        assert good, f"somebody gets through, {step}"
        assert found in [writer.rows for writer in good], f"what succeeded is there, {step}"
        if not overwrite:
            assert len(good) == 1
            loser = second if good == [first] else first
            assert refused(loser.outcome) or isinstance(loser.outcome, FileExistsError)
        for writer in (first, second):
            assert writer.outcome is None or not overwrite or refused(writer.outcome)


def test_an_answer_that_is_lost_at_any_step_counts_as_done(world: Callable[..., World]) -> None:
    for step in range(1, steps(world) + 1):
        here = world()
        writer = here.writer("writer")
        writer.client.asked_twice_at = step
        assert writer.save() is None, step
        here.assert_never_mixed(writer)
        assert here.service.rows() == writer.rows
        assert not any(BEING_REPLACED in name for name in here.service.blobs), step


def test_the_rows_count_as_put_in_place_when_the_next_writer_comes_before_the_claim_is_deleted_again(
    world: Callable[..., World],
) -> None:
    last = steps(world)
    here = world()
    first, second = here.writer("first"), here.writer("second")

    def lost(do: Callable[[], Any]) -> Callable[[], Any]:
        def twice() -> Any:
            do()
            assert Claiming(here.service, second).take()
            return do()

        return twice

    request = first.client.request

    async def losing(do: Callable[[], Any]) -> Any:
        return await request(lost(do) if first.client.requests == last - 1 else do)

    first.client.request = losing  # type: ignore[method-assign]
    assert first.save() is None
    assert any(BEING_REPLACED in name for name in here.service.blobs), "the other's claim is left alone"


@dataclass
class Claiming:
    """Another writer's first step."""

    service: Service
    writer: Writer

    def take(self) -> bool:
        record = ReplacementRecord(self.writer.name, new_folder=self.writer.aside.path.partition("/")[2])
        self.service.put(f"lake/set/{CLAIM}", record.to_bytes())
        return True


def test_a_request_that_was_given_up_at_any_step_and_arrives_late_changes_no_rows(
    world: Callable[..., World],
) -> None:
    for step in range(1, steps(world) + 1):
        here = world()
        writer, later = here.writer("writer"), here.writer("later")
        writer.client.given_up_at = step
        writer.save()
        writer.client.arrive()
        here.service.now += timedelta(minutes=6)
        replace.recover(writer.target)
        rows = here.service.rows()
        assert rows == writer.rows if writer.outcome is None else rows in (OLD_ROWS, writer.rows), step
        here.assert_never_mixed(writer)
        assert later.save() is None
        writer.client.arrive()
        here.service.now += timedelta(minutes=6)
        replace.recover(writer.target)
        assert here.service.rows() == later.rows, step


@pytest.mark.parametrize("killed_at", [4, 6, 9, 12])
def test_what_somebody_adds_while_a_dead_writers_replacement_waits_is_not_lost(
    world: Callable[..., World], killed_at: int
) -> None:
    here = world()
    dead, later = here.writer("dead"), here.writer("later")
    dead.client.killed_at = killed_at
    dead.save()
    assert any(BEING_REPLACED in name for name in here.service.blobs)
    here.service.put("lake/set/batch.parquet", b"a batch")
    here.service.now += timedelta(minutes=6)
    replace.recover(later.target)
    assert here.service.rows() - {b"a batch"} in (OLD_ROWS, dead.rows)
    assert b"a batch" in here.service.rows()


def test_what_a_writer_left_that_was_killed_at_any_step_is_ended_by_the_next_after_five_minutes(
    world: Callable[..., World],
) -> None:
    for step in range(steps(world)):
        here = world()
        dead, later = here.writer("dead"), here.writer("later")
        dead.client.killed_at = step
        assert dead.save() is not None or dead.client.requests > step
        claimed = any(BEING_REPLACED in name for name in here.service.blobs)
        here.service.now += timedelta(minutes=4, seconds=59)
        early = later.save()
        assert refused(early) == claimed, step
        if claimed:
            here.service.now += timedelta(seconds=2)
            replace.recover(later.target)
            assert here.service.rows() in (OLD_ROWS, dead.rows)
            later.outcome = None
            assert later.save() is None
        assert here.service.rows() == later.rows
        here.assert_never_mixed(dead, later)


def test_a_writer_that_was_taken_for_dead_at_any_step_and_goes_on_harms_nobody(world: Callable[..., World]) -> None:
    for step in range(1, steps(world) + 1):
        here = world()
        slow, other = here.writer("slow"), here.writer("other")

        async def meet(request: int, step: int = step, here: World = here, other: Writer = other) -> None:
            if request == step:
                here.service.now += timedelta(minutes=6)
                await in_thread(other.save)

        slow.client.meet = meet
        slow.save()
        assert other.outcome is None
        assert slow.outcome is None or refused(slow.outcome), step
        here.assert_never_mixed(slow, other)
        assert here.service.rows() in ([other.rows] if slow.outcome else [slow.rows, other.rows])


def test_two_who_find_a_dead_writer_do_not_end_its_replacement_both(world: Callable[..., World]) -> None:
    def dead_world() -> World:
        here = world()
        dead = here.writer("dead")
        dead.client.killed_at = 9
        dead.save()
        assert any(BEING_REPLACED in name for name in here.service.blobs)
        here.service.now += timedelta(minutes=6)
        return here

    here = dead_world()
    alone = here.writer("alone")
    assert alone.save() is None
    for step in range(1, alone.client.requests + 1):
        here = dead_world()
        first, second = here.writer("first"), here.writer("second")

        async def meet(request: int, step: int = step, second: Writer = second) -> None:
            if request == step:
                await in_thread(second.save)

        first.client.meet = meet
        first.save()
        here.assert_never_mixed(first, second, here.writer("dead"))
        good = [writer for writer in (first, second) if writer.outcome is None]
        assert here.service.rows() in [writer.rows for writer in good]
        assert all(writer in good or refused(writer.outcome) for writer in (first, second))


@pytest.mark.parametrize("seed", range(12))
def test_eight_writers_whose_requests_are_mixed_by_chance(world: Callable[..., World], seed: int) -> None:
    here = world()
    dice = random.Random(seed)
    writers = [here.writer(f"w{number}") for number in range(8)]

    async def meet(_: int) -> None:
        for _ in range(dice.choice((0, 0, 1, 3, 30))):
            await asyncio.sleep(0)

    for writer in writers:
        writer.client.meet = meet
    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(Writer.save, writers))
    here.assert_never_mixed(*writers)
    good = [writer for writer in writers if writer.outcome is None]
    assert here.service.rows() in [writer.rows for writer in good]
    assert all(writer in good or refused(writer.outcome) for writer in writers)


@pytest.mark.parametrize("seed", range(12))
def test_of_many_who_find_a_dead_writer_one_ends_its_replacement(world: Callable[..., World], seed: int) -> None:
    here = world()
    dead = here.writer("dead")
    dead.client.killed_at = 9
    dead.save()
    here.service.now += timedelta(minutes=6)
    dice = random.Random(seed)
    writers = [here.writer(f"w{number}") for number in range(6)]

    async def meet(_: int) -> None:
        for _ in range(dice.choice((0, 1, 3, 10))):
            await asyncio.sleep(0)

    for writer in writers:
        writer.client.meet = meet
    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(Writer.save, writers))
    here.assert_never_mixed(dead, *writers)
    good = [writer for writer in writers if writer.outcome is None]
    assert here.service.rows() in [writer.rows for writer in good]
    assert all(writer in good or refused(writer.outcome) for writer in writers)


def test_a_writer_that_was_stopped_for_a_while_asks_first_whether_the_claim_is_still_its_own(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(1, steps(world) + 1):
        for taken_over in (False, True):
            here = world()
            slow, other = here.writer("slow"), here.writer("other")
            monotonic = [0.0]
            monkeypatch.setattr(blob_claim, "time", SimpleNamespace(monotonic=lambda clock=monotonic: clock[0]))

            async def meet(
                request: int,
                step: int = step,
                here: World = here,
                other: Writer = other,
                clock: list[float] = monotonic,
                taken_over: bool = taken_over,
            ) -> None:
                if request == step:
                    clock[0] = 301.0
                    here.service.now += timedelta(seconds=301)
                    if taken_over:
                        with suppress(WriteError):  # another request of the writer's has renewed it before
                            await in_thread(lambda: replace.recover(other.target))

            slow.client.meet = meet
            slow.save()
            here.assert_never_mixed(slow)
            assert slow.outcome is None or (taken_over and refused(slow.outcome))
            assert here.service.rows() in ([OLD_ROWS, slow.rows] if slow.outcome else [slow.rows])


def test_a_claim_that_is_renewed_all_the_time_is_its_owners(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = steps(world)
    monkeypatch.setattr(blob_claim, "_RENEWED_EVERY", timedelta(0))
    here = world()
    writer = here.writer("busy")
    assert writer.save() is None
    assert writer.client.requests > needed
    assert here.service.rows() == writer.rows
    assert not any(BEING_REPLACED in name for name in here.service.blobs)


def test_an_answer_that_is_lost_leaves_the_claim_its_owners(world: Callable[..., World]) -> None:
    here = world()
    writer = here.writer("unlucky")
    writer.client.lost_answers = True
    assert writer.save() is None
    assert here.service.rows() == writer.rows
    assert not any(BEING_REPLACED in name for name in here.service.blobs)
