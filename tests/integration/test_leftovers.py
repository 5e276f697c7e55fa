"""What killed writers leave on both lakes is found, and removed on request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from azure.storage.blob import BlobBlock, BlobServiceClient

from feast_hybrid.lakes import Location, Router, Site, blob_claim, replace_adls
from feast_hybrid.lakes.leftovers import find_leftovers, remove_leftovers
from feast_hybrid.lakes.markers import CLAIM, ReplacementRecord
from tests.integration.batches import ROLES
from tests.integration.places import Place, Places, abfs_speaks_to_azurite, outside_of_spark
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from feast_hybrid.testing import Lakes

TOKEN = "0123456789ab"
NOW = timedelta(0)
NEEDS_ADLS = pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark")


def located(place: Place, uri: str) -> Location:
    return Router([Site.model_validate(place.site())]).locate(uri)


def found(folder: Location, older_than: timedelta = NOW) -> list[str]:
    """The places below the folder's parent, and what they are."""
    leftovers = find_leftovers(folder, older_than=older_than)
    return [f"{each.location}: {each.what}".removeprefix(f"{folder.parent()}/") for each in leftovers]


@reliability(
    "Writers",
    "what killed writers leave: hidden folders and files, `_temporary`",
    "found, and removed on request when old enough; rows stay",
)
@ROLES
def test_folders_and_files_of_killed_writers_are_found_and_removed(place: Place, folder: str) -> None:
    uri = f"{place.uri}{folder}"
    for neighbour in ("set1", "set"):  # for which "set[1]" would stand, were it a pattern
        place.put(f"{uri}/{neighbour}/part-1.parquet", b"rows")
    place.put(f"{uri}/set[1]/_temporary/0/part-0.parquet", b"rows")
    of_signs = located(place, f"{uri}/set[1]")
    assert remove_leftovers(find_leftovers(of_signs, older_than=NOW)) == []
    assert found(of_signs) == []
    for name in (
        "set/part-0.parquet",
        "set/day=1/part-0.parquet",
        f"set/day=1/.batch.parquet.{TOKEN}.writing",
        "set/_temporary/0/_temporary/attempt_0/part-1.parquet",
        f".set.{TOKEN}.writing/_temporary/0/part-0.parquet",
        f".set.20260110T090000.000000Z-{TOKEN}.replaced/part-0.parquet",
        f".other.{TOKEN}.writing/part-0.parquet",
    ):
        place.put(f"{uri}/{name}", b"rows")
    target = located(place, f"{uri}/set")
    assert found(target, timedelta(hours=1)) == []
    assert found(target) == [
        f".set.{TOKEN}.writing: rows that a writer had not put in their place",
        f".set.20260110T090000.000000Z-{TOKEN}.replaced: old rows that were replaced",
        "set/_temporary: what a job of Spark's had not committed",
        f"set/day=1/.batch.parquet.{TOKEN}.writing: rows that a writer had not put in their place",
    ]
    assert remove_leftovers(find_leftovers(target, older_than=NOW)) == []
    assert found(target) == []
    filesystem = place.lake.filesystem()
    files = {path.removeprefix(place.inside(uri)) for path in filesystem.find(place.inside(uri))}
    assert {file for file in files if file.endswith("parquet")} == {
        "/set1/part-1.parquet",
        "/set/part-1.parquet",
        "/set/part-0.parquet",
        "/set/day=1/part-0.parquet",
        f"/.other.{TOKEN}.writing/part-0.parquet",
    }


@reliability(
    "Writers",
    "ADLS: blocks that were sent and not committed",
    "found, and dropped on request; what was committed meanwhile stays",
)
@NEEDS_ADLS
def test_on_adls_blocks_that_were_not_committed_are_found_and_dropped(lakes: Lakes, folder: str) -> None:
    place = Place("cloud", lakes.adls)
    uri = place.write(f"{place.uri}{folder}/set", {"n": [1]})
    names = [f"{folder.lstrip('/')}/set/{name}.parquet" for name in ("sent", "committed")]
    with BlobServiceClient.from_connection_string(lakes.adls.connection_string) as client:
        blobs = [client.get_blob_client(lakes.adls.container, name) for name in names]
        for blob in blobs:
            blob.stage_block("0" * 32, b"rows")
        target = located(place, uri)
        what = "blocks of a file that were sent and not committed; Azure drops them after a week"
        assert found(target) == [f"set/committed.parquet: {what}", f"set/sent.parquet: {what}"]
        leftovers = find_leftovers(target, older_than=NOW)
        blobs[1].commit_block_list([BlobBlock("0" * 32)])
        assert remove_leftovers(leftovers) == []
        assert found(target) == []
        assert place.names(uri) == ["committed.parquet", "part-0.parquet"], "what was committed meanwhile stays"
        with pytest.raises(Exception, match="InvalidBlockList"):
            blobs[0].commit_block_list([BlobBlock("0" * 32)])


@reliability(
    "Writers",
    "ADLS: a replacement whose writer died",
    "readers have the old rows; it is ended on request once its writer is dead for five minutes",
    "is being replaced by another writer",
)
@NEEDS_ADLS
def test_on_adls_a_replacement_whose_writer_died_is_ended_on_request(
    lakes: Lakes, folder: str, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    place = Place("cloud", lakes.adls)
    uri = f"{place.uri}{folder}/set"
    place.put(f"{uri}/old.parquet", b"rows")
    place.put(f"{uri}/new.parquet", b"some of the new rows")
    record = ReplacementRecord("dead", "aside/", ("new.parquet", "newer.parquet"), ("old.parquet",))
    place.put(f"{uri}/{CLAIM}", record.to_bytes())
    target = located(place, uri)
    leftovers = find_leftovers(target, older_than=NOW)
    assert [each.what for each in leftovers] == ["a replacement of rows that was not ended"]
    ((_, reason),) = remove_leftovers(leftovers)
    assert promise.reads in reason, "it may be alive for five minutes"
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", NOW)
    assert remove_leftovers(leftovers) == []
    assert place.names(uri) == ["old.parquet"]


PROGRAM = """
import json, sys
from feast_hybrid.lakes import Router, Site, replace
from feast_hybrid.lakes.atomic_write import publish
target = Router([Site.model_validate(json.loads(sys.argv[1]))]).locate(sys.argv[2])
new = replace.aside(target)
publish({new.child(f"part-{n}.parquet"): b"new" for n in range(200)})
print("sent", flush=True)
replace.put_in_place(new, target)
sys.stdin.read()
"""


@reliability(
    "Writers",
    "ADLS: a writer is killed while its files take the place of others",
    "the old rows come back whole on request, and nothing is left",
)
@NEEDS_ADLS
def test_a_writer_that_is_killed_while_it_replaces_leaves_whole_rows_and_is_cleaned_up_after(
    lakes_to_test: Places, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lakes_to_test.cloud
    uri = f"{place.uri}{folder}/set"
    for number in range(3):
        place.put(f"{uri}/old-{number}.parquet", b"old")
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(place.site()), uri]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=outside_of_spark()) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"sent\n"
        deadline = time.monotonic() + 30
        while len([name for name in place.names(uri) if name.startswith("part-")]) < 20:
            assert time.monotonic() < deadline
        os.kill(writer.pid, signal.SIGKILL)
    names = place.names(uri)
    assert CLAIM in names
    assert 20 < len(names) < 204
    target = located(place, uri)
    aside, claim = find_leftovers(target, older_than=NOW)
    assert aside.what == "rows that a writer had not put in their place"
    assert claim.location == target.child(CLAIM)
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", NOW)
    monkeypatch.setattr(blob_claim, "DEAD_AFTER", NOW)
    assert remove_leftovers([claim]) == []
    assert place.names(uri) == [f"old-{number}.parquet" for number in range(3)]
    assert find_leftovers(target, older_than=NOW) == [], "what it would have copied is gone too"
