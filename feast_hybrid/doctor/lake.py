"""A site as this package reaches it without a JVM: sign in, list, write, read and delete a probe."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync

from feast_hybrid.doctor.checking import Checks, GaveUpError
from feast_hybrid.doctor.network import look_at_network, note_clock
from feast_hybrid.doctor.report import Status
from feast_hybrid.errors import AccessDeniedError, HybridError
from feast_hybrid.lakes import LakeType, Location, parse_uri, timeouts
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import storage_error
from feast_hybrid.lakes.removal import remove_tree
from feast_hybrid.lakes.versions import modified

if TYPE_CHECKING:
    from feast_hybrid.lakes import Site

#: Hidden from every reader of rows; whoever finds one may delete it.
PROBE = ".feast-hybrid-doctor-"
#: How many entries of a folder are listed, and how deep a file is looked for.
_ENTRIES, _DEPTH = 20, 3
_PROBED = ("list", "write", "read", "delete")

#: A site's own options count more. A lake that is well answers in milliseconds.
_SHORT = {
    timeouts.RPC_TIMEOUT: "8000",
    "dfs.client.failover.max.attempts": "2",
    timeouts.BLOB_RETRIES: "1",
    timeouts.BLOB_CONNECT_TIMEOUT: "5000",
    timeouts.BLOB_READ_TIMEOUT: "8000",
}


def impatient(site: Site) -> Site:
    """A site of the same lake and sign-in that does not wait for long."""
    return site.model_copy(update={"options": {**_SHORT, **site.options}})


def probe_place(site: Site, staging_location: str | None) -> Location:
    """Where a site's probe goes: below ``staging_location`` where that is the site's, else at the site's root."""
    folder = Location(site, site.root)
    if staging_location is not None:
        staging = parse_uri(staging_location, what="offline_store.staging_location")
        if staging.is_under(site.root):
            folder = Location(site, staging)
    return folder.child(PROBE + secrets.token_hex(6))


def look_at_location(checks: Checks, name: str, location: Location) -> None:
    """Note whether files can be written and deleted at a place that the configuration names.

    Args:
        checks: where to note.
        name: of the setting.
        location: that it gives.
    """
    with checks.step(name, partial(_meaning, place=location)):
        probe = location.child(PROBE + secrets.token_hex(6))
        try:
            publish({probe.child("probe"): b"feast-hybrid"})
        finally:
            _remove(probe)
        checks.ok(f"{location}: a probe was written and deleted")


def look_at_site(checks: Checks, site: Site, probe: Location | None) -> None:
    """Note what can be done on a site.

    Args:
        checks: where to note.
        site: to look at.
        probe: the folder to make and delete again; None to write nothing.
    """
    try:
        _credential(checks, site)
        look_at_network(checks, site)
        root = Location(site, site.root)
        listed = _list(checks, root)
    except GaveUpError:
        tried = {check.name for check in checks.made}
        checks.skip([name for name in _PROBED if name not in tried], "because of what failed above")
        return
    if probe is None:
        checks.skip(("write", "delete"), "--no-write")
        _read_something(checks, root, listed)
    else:
        _write_read_delete(checks, probe, root, listed)


def _credential(checks: Checks, site: Site) -> None:
    with checks.step("credential"):
        for secret, what in site.credential.named_secrets(site.name):
            secret.resolve(what)
        site.credential.require_files(site.name)
        site.credential.to_hadoop_options(site.root, site.name)
        checks.ok(f"{site.root}, {site.credential.describe()}")


def _list(checks: Checks, folder: Location) -> list[dict[str, Any]]:
    """List a folder. A refusal that is not of the sign-in leaves the rest to be tried."""
    checks.begin("list")
    try:
        entries = list(_some_entries(folder))
    except FileNotFoundError:
        checks.ok(f"nothing is at {folder} yet")
        return []
    except Exception as error:
        refused = _meaning(error, folder)
        checks.fail(str(refused))
        if isinstance(refused, AccessDeniedError):
            return []
        raise GaveUpError("list") from None
    more = f"{_ENTRIES} entries or more" if len(entries) == _ENTRIES else f"{len(entries)} entries"
    checks.ok(f"{more} in {folder}")
    for entry in entries:
        name = str(entry["name"]).rstrip("/").rpartition("/")[2]
        if name.startswith(PROBE):
            checks.add(
                Status.WARNING,
                f"{folder.child(name)} is the probe of a doctor that was killed, or that works at this moment",
                "Delete it if no other doctor is at work.",
                name="probe",
            )
    return entries


def _some_entries(folder: Location) -> Iterator[dict[str, Any]]:
    """The first entries of a folder, however many there are."""
    filesystem = folder.fs
    if folder.lake is LakeType.HDFS:
        listed = filesystem.client.inner.list_status(folder.path, False)
        for status in itertools.islice(listed, _ENTRIES):
            yield {"name": status.path, "type": "directory" if status.isdir else "file"}
        return
    if folder.lake is LakeType.LOCAL:
        yield from itertools.islice(filesystem.ls(folder.path, detail=True), _ENTRIES)
        return
    yield from sync(filesystem.loop, _some_blobs, filesystem.service_client, folder)


async def _some_blobs(client: Any, folder: Location) -> list[dict[str, Any]]:
    """One page of the blobs and prefixes in a folder: what an account with millions of them answers at once."""
    prefix = f"{folder.uri.path.strip('/')}/".lstrip("/")
    found: list[dict[str, Any]] = []
    async with client.get_container_client(folder.uri.container) as container:
        async for blob in container.walk_blobs(name_starts_with=prefix or None, results_per_page=_ENTRIES):
            is_folder = blob.name.endswith("/")
            name = f"{folder.uri.container}/{blob.name.rstrip('/')}"
            found.append({"name": name, "type": "directory" if is_folder else "file"})
            if len(found) == _ENTRIES:
                break
    return found


def _meaning(error: Exception, place: Location) -> HybridError:
    """What an error of a lake's client says, as this package says it everywhere."""
    if isinstance(error, HybridError):
        return error
    meant = storage_error(error, what="doctor", where=place.describe(), sites=[place.site])
    return meant or HybridError(f"{place.describe()}: {type(error).__name__}: {error}")


def _write_read_delete(checks: Checks, probe: Location, root: Location, listed: list[dict[str, Any]]) -> None:
    content = secrets.token_bytes(1024)
    file = probe.child("probe")

    def meant(error: Exception) -> HybridError:
        return _meaning(error, file)

    checks.begin("write")
    try:
        publish({file: content})
    except Exception as error:
        checks.fail(str(_meaning(error, file)), "A site that is only to be read is looked at with --no-write.")
        _remove(probe)
        _read_something(checks, root, listed)
        checks.skip(["delete"], "nothing was written")
        return
    checks.ok(f"{len(content)} bytes at {file}")
    try:
        with checks.step("read", meant):
            if file.fs.cat_file(file.path) != content:
                checks.fail(f"{file} holds other bytes than those written", "Look for a cache or a proxy between.")
                raise GaveUpError("read")
            checks.ok("the same bytes")
        if probe.lake is LakeType.HDFS:
            _clock(checks, file)
    finally:
        _delete(checks, probe, meant)


def _clock(checks: Checks, file: Location) -> None:
    with suppress(Exception), checks.step("clock"):
        written = modified(file.fs.info(file.path))
        if written is not None:
            note_clock(checks, time.time() - written.timestamp(), "the NameNode's")


def _delete(checks: Checks, probe: Location, meant: Any) -> None:
    with checks.step("delete", meant):
        remove_tree(probe)
        if probe.exists():
            checks.fail(f"{probe} is still there after it was deleted")
            raise GaveUpError("delete")
        checks.ok("the probe is gone")


def _remove(probe: Location) -> None:
    """Remove what half a write may have left."""
    with suppress(Exception):
        remove_tree(probe)


def _read_something(checks: Checks, root: Location, listed: list[dict[str, Any]]) -> None:
    """Read the first bytes of some file that is there."""
    checks.begin("read")
    try:
        path = _some_file(root, listed, _DEPTH)
        if path is None:
            checks.add(Status.NOT_TRIED, f"no file was found near {root}")
            return
        with root.fs.open(path, "rb") as opened:
            opened.read(4)
    except Exception as error:
        checks.fail(str(_meaning(error, root)))
    else:
        checks.ok(f"the first bytes of {path}")


def _some_file(folder: Location, entries: list[dict[str, Any]], depth: int) -> str | None:
    for entry in entries:
        if entry["type"] == "file":
            return str(entry["name"])
    for entry in entries[:3] if depth else []:
        below = folder.child(str(entry["name"]).rstrip("/").rpartition("/")[2])
        if (found := _some_file(below, list(_some_entries(below)), depth - 1)) is not None:
            return found
    return None
