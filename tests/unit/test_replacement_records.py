"""What a writer's file says of the rows that it replaces: which of the files that are there are whole rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feast_hybrid.lakes.markers import ReplacementRecord
from feast_hybrid.lakes.versions import FileVersion

RECORD = ReplacementRecord(
    "writer",
    "aside/",
    ("new.parquet", "day=1/new.parquet", "_SUCCESS"),
    ("old.parquet", "day=1/old.parquet", "_SUCCESS"),
)
OLD, NEW = set(RECORD.old_files or ()), set(RECORD.new_files)


def test_it_comes_back_from_the_bytes_that_it_makes() -> None:
    assert ReplacementRecord.from_bytes(RECORD.to_bytes()) == RECORD
    begun = ReplacementRecord("writer", "aside/")
    assert ReplacementRecord.from_bytes(begun.to_bytes()) == begun
    versions = replace(RECORD, old_versions=("1 bytes, written 1", "2 bytes", "0 bytes"))
    assert ReplacementRecord.from_bytes(versions.to_bytes()) == versions


def test_files_that_were_written_since_are_told_by_their_versions_where_both_are_known() -> None:
    old = FileVersion(1, "written 1", "inode")
    record = ReplacementRecord("writer", "", ("new",), ("old",), (str(old.without_inode()),))
    assert not record.rewritten({"old": old, "new": FileVersion(1, "written 2")})
    assert not record.rewritten({"old": FileVersion(1)})
    assert record.rewritten({"old": FileVersion(1, "written 2")}) == {"old"}
    assert not RECORD.rewritten({"old.parquet": FileVersion(1, "written 2")})


@pytest.mark.parametrize("content", [b"", b"[]", b"PAR1", b"\xff"])
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ReplacementRecord.from_bytes(content)


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (OLD, OLD),
        (OLD | {"new.parquet"}, OLD),
        (OLD | NEW, OLD),
        (NEW | {"old.parquet"}, NEW),
        (NEW, NEW),
        (OLD | {"batch.parquet"}, OLD | {"batch.parquet"}),
        (NEW | {"day=1/old.parquet", "batch.parquet"}, NEW | {"batch.parquet"}),
    ],
    ids=["before", "some-new", "all-new", "some-old-gone", "all-old-gone", "added-before", "added-after"],
)
def test_the_old_rows_count_until_one_of_them_goes_and_then_the_new_ones(names: set[str], left: set[str]) -> None:
    superseded = RECORD.superseded(names)
    assert superseded is not None
    assert names - superseded == left


def test_what_is_neither_is_not_known() -> None:
    assert RECORD.superseded({"old.parquet", "new.parquet"}) is None
    assert RECORD.superseded(set()) is None
    # Of a claim that was written before old files were named:
    assert ReplacementRecord("writer", "aside/", ("new.parquet",)).superseded({"new.parquet"}) is None


def test_before_anything_is_announced_all_is_old() -> None:
    assert ReplacementRecord("writer", "aside/").superseded({"old.parquet"}) == frozenset()
