"""Which files a version of a Delta table has, by the log that lies beside them."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.files.delta_log import BrokenLogError, NoSuchVersionError, Snapshot, read_snapshot
from feast_hybrid.lakes import Router
from tests.integration.format_limits import Limit, format_limit

SCHEMA = json.dumps({"type": "struct", "fields": [{"name": "n", "type": "long", "nullable": True, "metadata": {}}]})
PROTOCOL = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}


def metadata(**properties: str) -> dict[str, Any]:
    return {
        "metaData": {
            "id": "1",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": SCHEMA,
            "partitionColumns": [],
            "configuration": properties,
        }
    }


def add(path: str, **more: Any) -> dict[str, Any]:
    return {
        "add": {"path": path, "partitionValues": {}, "size": 9, "modificationTime": 0, "dataChange": True, **more}
    }


def remove(path: str, **more: Any) -> dict[str, Any]:
    return {"remove": {"path": path, "dataChange": True, **more}}


def commit(table: Path, version: int, *actions: dict[str, Any]) -> Path:
    log = table / "_delta_log"
    log.mkdir(exist_ok=True, parents=True)
    path = log / f"{version:020}.json"
    path.write_text("".join(f"{json.dumps(action)}\n" for action in actions))
    return path


def checkpoint(table: Path, name: str, *actions: dict[str, Any]) -> Path:
    """A checkpoint in Parquet, typed as Spark's are: maps as maps."""
    of_text = pa.map_(pa.string(), pa.string())
    vector = pa.struct(
        [
            ("storageType", pa.string()),
            ("pathOrInlineDv", pa.string()),
            ("offset", pa.int32()),
            ("sizeInBytes", pa.int32()),
            ("cardinality", pa.int64()),
        ]
    )
    schema = pa.schema(
        [
            ("add", pa.struct([("path", pa.string()), ("partitionValues", of_text), ("size", pa.int64()),
                               ("modificationTime", pa.int64()), ("dataChange", pa.bool_()), ("stats", pa.string()),
                               ("deletionVector", vector)])),
            ("remove", pa.struct([("path", pa.string())])),
            ("protocol", pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32()),
                                    ("readerFeatures", pa.list_(pa.string()))])),
            ("metaData", pa.struct([("id", pa.string()), ("schemaString", pa.string()),
                                    ("format", pa.struct([("provider", pa.string()), ("options", of_text)])),
                                    ("partitionColumns", pa.list_(pa.string())), ("configuration", of_text)])),
            ("sidecar", pa.struct([("path", pa.string()), ("sizeInBytes", pa.int64())])),
        ]
    )  # fmt: skip
    path = table / "_delta_log" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(pa.Table.from_pylist([dict(action) for action in actions], schema=schema), path)
    return path


def snapshot(table: Path, **of: Any) -> Snapshot:
    return read_snapshot(Router([]).locate(f"file://{table}"), **of)


def paths(table: Path, **of: Any) -> list[str]:
    return [file.path for file in snapshot(table, **of).files]


def test_files_that_were_removed_or_replaced_are_none(tmp_path: Path) -> None:
    commit(tmp_path, 0, PROTOCOL, metadata(), add("a"), add("b"))
    commit(tmp_path, 1, remove("a"), add("c"), {"commitInfo": {}}, {"txn": {"appId": "x", "version": 1}})
    commit(tmp_path, 2, add("a"))
    assert [paths(tmp_path, version=n) for n in range(3)] == [["a", "b"], ["b", "c"], ["a", "b", "c"]]
    assert paths(tmp_path) == ["a", "b", "c"]
    assert snapshot(tmp_path).version == 2


def test_a_file_with_other_rows_deleted_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    first, second = (
        {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": 1, "cardinality": 1} for text in "xy"
    )
    commit(tmp_path, 0, PROTOCOL, metadata(), add("a"))
    commit(tmp_path, 1, add("a", deletionVector=first), remove("a"))
    commit(tmp_path, 2, add("a", deletionVector=second), remove("a", deletionVector=first))
    found = [snapshot(tmp_path, version=n).files[0].deletion_vector for n in range(3)]
    assert found == [None, first, second]
    commit(tmp_path, 3, add("a"))
    with pytest.raises(BrokenLogError, match="has the file a twice"):
        snapshot(tmp_path)


@format_limit(
    "Delta",
    "a file that is removed without the deletion vector that it has, as by Trino's OPTIMIZE",
    "refused",
    "with other rows deleted than it has",
)
def test_a_file_that_is_removed_without_its_deletion_vector_is_refused(tmp_path: Path, limit: Limit) -> None:
    # https://github.com/trinodb/trino/issues/31253: the rows would be there twice.
    vector = {"storageType": "u", "pathOrInlineDv": "x", "offset": 1}
    commit(tmp_path, 0, PROTOCOL, metadata(), add("a", deletionVector=vector), add("b"))
    commit(tmp_path, 1, {"remove": {"path": "gone"}}, {"remove": {"path": "b"}}, add("c"))
    assert paths(tmp_path) == ["a", "c"]
    commit(tmp_path, 2, {"remove": {"path": "a"}}, add("compacted"))
    with pytest.raises(BrokenLogError, match=f"the file a {limit()}"):
        snapshot(tmp_path)
    assert paths(tmp_path, version=1) == ["a", "c"]


def test_paths_are_decoded_once(tmp_path: Path) -> None:
    commit(tmp_path, 0, PROTOCOL, metadata(), add("t=50%2525/%C3%BC%20.parquet"))
    assert paths(tmp_path) == ["t=50%25/ü .parquet"]
    commit(tmp_path, 1, add("%FF"))
    with pytest.raises(BrokenLogError, match="'%FF', which is no encoded UTF-8"):
        snapshot(tmp_path)


def test_a_checkpoint_stands_for_the_commits_before_it(tmp_path: Path) -> None:
    checkpoint(
        tmp_path,
        f"{2:020}.checkpoint.parquet",
        PROTOCOL,
        metadata(**{"delta.appendOnly": "true"}),
        add("a", partitionValues={"day": "2026-01-10", "town": None}),
        add("b"),
        remove("gone"),
    )
    commit(tmp_path, 3, remove("b"), add("c"))
    found = snapshot(tmp_path)
    assert [(file.path, file.partitions) for file in found.files] == [
        ("a", {"day": "2026-01-10", "town": None}),
        ("c", {}),
    ]
    assert found.properties == {"delta.appendOnly": "true"}
    assert paths(tmp_path, version=2) == ["a", "b"]
    with pytest.raises(NoSuchVersionError, match="there is no version 1: the log has the versions 2 to 3"):
        snapshot(tmp_path, version=1)


def test_a_checkpoint_of_parts_counts_once_all_are_there(tmp_path: Path) -> None:
    commit(tmp_path, 0, PROTOCOL, metadata(), add("a"))
    commit(tmp_path, 1, add("b"))
    checkpoint(tmp_path, f"{1:020}.checkpoint.{1:010}.{2:010}.parquet", PROTOCOL, metadata(), add("of_part_1"))
    assert paths(tmp_path) == ["a", "b"]
    checkpoint(tmp_path, f"{1:020}.checkpoint.{2:010}.{2:010}.parquet", add("of_part_2"))
    assert paths(tmp_path) == ["of_part_1", "of_part_2"]


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_a_checkpoint_names_the_files_beside_it(tmp_path: Path, form: str) -> None:
    checkpoint(tmp_path, "_sidecars/one.parquet", add("a"))
    checkpoint(tmp_path, "_sidecars/other.parquet", add("b"))
    sidecars = [{"sidecar": {"path": name, "sizeInBytes": 1}} for name in ("one.parquet", "other.parquet")]
    name = f"{4:020}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.{form}"
    if form == "json":
        commit(tmp_path, 4, PROTOCOL, metadata(), *sidecars).rename(tmp_path / "_delta_log" / name)
    else:
        checkpoint(tmp_path, name, PROTOCOL, metadata(), *sidecars)
    commit(tmp_path, 5, add("c"))
    assert paths(tmp_path) == ["a", "b", "c"]
    (tmp_path / "_delta_log" / "_sidecars" / "other.parquet").unlink()
    with pytest.raises(BrokenLogError, match=r"other\.parquet"):
        snapshot(tmp_path)


def test_what_is_no_commit_is_not_looked_at(tmp_path: Path) -> None:
    commit(tmp_path, 0, PROTOCOL, metadata(), add("a"))
    log = tmp_path / "_delta_log"
    for name in (
        f"{0:020}.crc",
        "_last_checkpoint",
        f"{0:020}.{3:020}.compacted.json",
        f".{1:020}.json.crc",
        "x.json",
    ):
        (log / name).write_text("damaged")
    (log / f"{1:020}.json").mkdir()
    assert paths(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", marks=format_limit("Delta", "an empty commit", "refused", "01.json of the log is empty")),
        pytest.param(
            '{"add": {"path"\n',
            marks=format_limit("Delta", "a damaged commit", "refused", "01.json of the log is damaged"),
        ),
        pytest.param(
            "[1]\n",
            marks=format_limit("Delta", "a commit with other JSON in it", "refused", "of the log is damaged"),
        ),
    ],
)
def test_a_damaged_commit_is_refused_by_name(tmp_path: Path, content: str, limit: Limit) -> None:
    commit(tmp_path, 0, PROTOCOL, metadata(), add("a"))
    commit(tmp_path, 1).write_text(content)
    with pytest.raises(BrokenLogError, match=re.escape(limit())):
        snapshot(tmp_path)
    assert paths(tmp_path, version=0) == ["a"]


@format_limit(
    "Delta", "a log without a protocol or a schema", "refused", "says nothing of the table's protocol or schema"
)
@format_limit("Delta", "a commit that is missing", "refused", ".json is missing")
@format_limit("Delta", "a damaged checkpoint", "refused", "checkpoint.parquet cannot be read")
def test_a_missing_commit_or_schema_and_a_damaged_checkpoint_are_refused(tmp_path: Path, limit: Limit) -> None:
    commit(tmp_path, 0, PROTOCOL, add("a"))
    with pytest.raises(BrokenLogError, match=limit("says nothing of the table's protocol or schema")):
        snapshot(tmp_path)
    commit(tmp_path, 2, metadata())
    with pytest.raises(BrokenLogError, match=f"the commit {1:020}{limit('.json is missing')}"):
        snapshot(tmp_path)
    path = checkpoint(tmp_path, f"{1:020}.checkpoint.parquet", PROTOCOL, metadata(), add("a"))
    assert paths(tmp_path) == ["a"]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BrokenLogError, match=limit("checkpoint.parquet cannot be read")):
        snapshot(tmp_path)


def test_a_folder_without_a_log_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        snapshot(tmp_path)
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(FileNotFoundError):
        snapshot(tmp_path)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 10, hour, minute, tzinfo=UTC)


def written(path: Path, time: datetime) -> None:
    os.utime(path, (time.timestamp(), time.timestamp()))


def versions_at(table: Path, *times: datetime) -> list[int]:
    return [snapshot(table, timestamp=time).version for time in times]


def test_a_time_means_the_version_that_was_the_latest_then(tmp_path: Path) -> None:
    for version, hour in enumerate((6, 9, 8, 12)):  # a clock that went backwards
        made = [PROTOCOL, metadata()] if version == 0 else []
        written(commit(tmp_path, version, *made, add(f"{version}")), at(hour))
    # The third counts as made a millisecond after the second.
    assert versions_at(tmp_path, at(6), at(8, 59), at(9), at(9, 1), at(12)) == [0, 0, 1, 2, 3]
    first = re.escape(f"no version as old as {at(5).isoformat()}; the first known is of {at(6).isoformat()}")
    with pytest.raises(NoSuchVersionError, match=first):
        snapshot(tmp_path, timestamp=at(5))
    latest = re.escape(f"no version as new as {at(13).isoformat()}: the latest, 3, is of {at(12).isoformat()}")
    with pytest.raises(NoSuchVersionError, match=latest):
        snapshot(tmp_path, timestamp=at(13))


def test_times_in_the_commits_count_from_when_the_table_has_them(tmp_path: Path) -> None:
    properties = {
        "delta.enableInCommitTimestamps": "true",
        "delta.inCommitTimestampEnablementVersion": "1",
    }
    written(commit(tmp_path, 0, PROTOCOL, metadata(), add("0")), at(6))
    for version, hour in ((1, 7), (2, 9)):
        info = {"commitInfo": {"inCommitTimestamp": int(at(hour).timestamp() * 1000)}}
        made = [metadata(**properties)] if version == 1 else []
        written(commit(tmp_path, version, info, *made, add(f"{version}")), at(20))  # copied later
    assert versions_at(tmp_path, at(6, 59), at(7), at(8, 59), at(9)) == [0, 1, 1, 2]
    commit(tmp_path, 3, add("3"))
    with pytest.raises(BrokenLogError, match="does not say when it was committed"):
        snapshot(tmp_path, timestamp=at(9))
