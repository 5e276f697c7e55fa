"""Options of a source that say which of its files count, and what their folders say."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import RoutingError, SourceError, SourceNotFoundError
from feast_hybrid.files.listing import list_files, listing_of
from feast_hybrid.files.selection import FileSelection
from feast_hybrid.lakes import Allowed, Router, Site
from feast_hybrid.sources.file_schema import file_schema, ineligibility_reason, reader_options
from feast_hybrid.sources.inference import validate_source
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.text_frame import text_frame

if TYPE_CHECKING:
    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.sources.spec import SourceSpec


def write(folder: Path, *files: str, **columns: Any) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"ts": [1], **columns}), folder / name)


def spec(path: Path | str, **options: str) -> SourceSpec:
    of = HybridSparkSource(name="rows", path=f"file://{path}", timestamp_field="ts", options=options)
    return source_spec(of, Router())


def resolve(path: Path | str, **options: str) -> ResolvedSchema:
    of = spec(path, **options)
    assert ineligibility_reason(of) is None
    return file_schema(of, Router())


def names(schema: ResolvedSchema) -> list[str]:
    return [Path(file.path).name for file in schema.files]


def columns(schema: ResolvedSchema) -> dict[str, pa.DataType]:
    return {column.name: column.data_type for column in schema.columns}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("*.parquet", ["a.parquet"]), ("[bc].*", ["b.pq", "c.txt"]), ("{a,b}.*", ["a.parquet", "b.pq"])],
)
def test_a_pattern_chooses_files_by_their_names(tmp_path: Path, pattern: str, found: list[str]) -> None:
    write(tmp_path, "zip=01234/a.parquet", "zip=1/b.pq", "zip=2/c.txt")
    schema = resolve(tmp_path, pathGlobFilter=pattern)
    assert names(schema) == found
    assert columns(schema)["zip"] == pa.string()


def test_what_is_left_out_need_not_be_of_the_format(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet")
    (tmp_path / "b.txt").write_text("no Parquet")
    (tmp_path / "c.txt").touch()
    schema = resolve(tmp_path, pathGlobFilter="*.parquet")
    assert names(schema) == ["a.parquet"]
    assert schema.empty_files == ()


def test_in_a_recursive_look_no_folder_is_a_partition(tmp_path: Path) -> None:
    write(tmp_path, "any/zip=01234/a.parquet", "b.parquet", "zip=1/c.parquet", "_hidden/d.parquet")
    schema = resolve(tmp_path, recursiveFileLookup="TRUE")
    assert names(schema) == ["a.parquet", "b.parquet", "c.parquet"]
    assert list(columns(schema)) == ["ts"]


@pytest.mark.parametrize("path", ["sales/zip=01234", "sales/zip=*", "sales/zip=01234/a.parquet"])
def test_folders_between_the_base_and_the_path_are_partitions(tmp_path: Path, path: str) -> None:
    write(tmp_path, "sales/zip=01234/a.parquet")
    for base in (tmp_path, tmp_path / "sales"):
        schema = resolve(tmp_path / path, basePath=f"file://{base}")
        assert columns(schema)["zip"] == pa.string()
        assert [file.partitions for file in schema.files] == [{"zip": "01234"}]
        assert schema.only_ours is None
    assert "zip" not in columns(resolve(tmp_path / path))


def test_times_choose_files_by_when_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, "early.parquet", "late.parquet")
    for name, hour in (("early", 9), ("late", 11)):
        time = datetime(2026, 1, 10, hour, tzinfo=UTC).timestamp()
        os.utime(tmp_path / f"{name}.parquet", (time, time))
    assert names(resolve(tmp_path, modifiedAfter="2026-01-10T10:00:00")) == ["late.parquet"]
    assert names(resolve(tmp_path, modifiedBefore="2026-01-10T10:00:00")) == ["early.parquet"]
    assert names(resolve(tmp_path, modifiedAfter="2026-01-10T08:00:00", modifiedBefore="2026-01-10 10:00:00")) == [
        "early.parquet"
    ]
    noon_in_paris = {"modifiedAfter": "2026-01-10T11:30:00", "timeZone": "Europe/Paris"}
    assert names(resolve(tmp_path, **noon_in_paris)) == ["late.parquet"]
    assert reader_options(spec(tmp_path, **noon_in_paris)).to_spark == {"modifiedAfter": "2026-01-10T10:30:00.000000"}
    with pytest.raises(SourceNotFoundError, match=r"source 'rows': .* holds no Parquet files"):
        resolve(tmp_path, modifiedAfter="2027-01-01T00:00:00")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("recursiveFileLookup", "yes", "'recursiveFileLookup' is 'yes'; it takes 'true' or 'false'"),
        ("modifiedAfter", "yesterday", "'modifiedAfter' is 'yesterday'; it takes a time such as"),
        ("pathGlobFilter", "[a", r"\[a is no pattern"),
        ("basePath", "file:///elsewhere", "'basePath' is 'file:///elsewhere', which is no folder above file://"),
        ("basePath", "/bare", "option 'basePath': '/bare' names no lake"),
        ("ignoreCorruptFiles", "1", "'ignoreCorruptFiles' is '1'"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(tmp_path: Path, option: str, value: str, reason: str) -> None:
    write(tmp_path, "a.parquet")
    with pytest.raises(SourceError, match=rf"source 'rows' .*{reason}"):
        resolve(tmp_path, **{option: value})


def test_damaged_files_are_left_out_only_where_the_source_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a.parquet")
    (tmp_path / "b.parquet").write_text("no Parquet")
    with pytest.raises(SourceError, match=r"b\.parquet is no Parquet file"):
        resolve(tmp_path, ignoreCorruptFiles="false")
    schema = resolve(tmp_path, ignoreCorruptFiles="true")
    assert names(schema) == ["a.parquet"]
    assert schema.damaged_files == (f"{tmp_path}/b.parquet",)
    assert f"left out {tmp_path}/b.parquet, damaged, by the option ignoreCorruptFiles" in caplog.text


def test_what_only_sparks_reader_follows_is_told_from_what_changes_nothing(tmp_path: Path) -> None:
    given = {
        "mergeSchema": "false",
        "compression": "zstd",
        "timeZone": "Asia/Tokyo",
        "ignoreMissingFiles": "FALSE",
        "int96RebaseMode": "CORRECTED",
        "pathGlobFilter": "*",
        "datetimeRebaseMode": "LEGACY",
        "ignoreCorruptFiles": "true",
        "something": "else",
    }
    options = reader_options(spec(tmp_path, **given))
    assert options.for_spark == {"datetimeRebaseMode": "LEGACY", "ignoreCorruptFiles": "true", "something": "else"}
    assert options.to_spark == {**options.for_spark, "pathGlobFilter": "*"}
    assert "encrypted" in (ineligibility_reason(spec(tmp_path, **{"parquet.encryption.footer.key": "x"})) or "")


def test_times_that_sparks_reader_of_text_would_shift_are_refused(tmp_path: Path) -> None:
    options = {"modifiedAfter": "2026-01-10T10:00:00", "timeZone": "Asia/Tokyo"}
    of = HybridSparkSource(name="rows", path=f"file://{tmp_path}", file_format="csv", options=options)
    session: Any = None
    source = source_spec(of, Router())
    assert source.location is not None
    with pytest.raises(SourceError, match=r"source 'rows' .*'Asia/Tokyo', Spark's reader takes modifiedAfter"):
        text_frame(session, source, source.location, Router())


@pytest.mark.parametrize("file_format", ["csv", "json", "text", "xml", "avro", "binaryFile"])
def test_a_pattern_that_leads_to_another_site_is_refused_before_spark_is_asked(
    tmp_path: Path, file_format: str
) -> None:
    for name in ("a/x", "b/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("{}")
    sites = [Site(name=name, uri=f"file://{tmp_path}{path}") for name, path in (("one", ""), ("other", "/b"))]
    router = Router(sites, allowed=Allowed(file_formats=frozenset({"binaryfile"})))
    of = HybridSparkSource(name="rows", path=f"file://{tmp_path}/*", file_format=file_format)
    session: Any = None
    source = source_spec(of, router)
    assert source.location is not None
    with pytest.raises(RoutingError, match=r"source 'rows': .* also expands to .*/b, which is on site 'other'"):
        text_frame(session, source, source.location, router)


def test_a_pattern_that_leads_to_another_site_is_refused_when_it_is_applied(tmp_path: Path) -> None:
    write(tmp_path, "a/x", "b/x")
    sites = [Site(name=name, uri=f"file://{tmp_path}{path}") for name, path in (("one", ""), ("other", "/b"))]
    of = HybridSparkSource(name="rows", path=f"file://{tmp_path}/*", timestamp_field="ts")
    spark: Any = None
    with pytest.raises(RoutingError, match=r"source 'rows': .* also expands to .*/b, which is on site 'other'"):
        validate_source(source_spec(of, Router(sites)), spark, Router(sites))


@pytest.mark.parametrize("file_format", ["parquet", "orc", "csv"])
def test_nothing_of_the_other_site_is_opened_before_it_is_refused(tmp_path: Path, file_format: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "_delta_log").mkdir(parents=True)
    (tmp_path / "b" / "_delta_log" / "0.json").write_text("{}")  # a table, which a listing would refuse
    (tmp_path / "b" / "x").write_text("damaged")
    sites = [Site(name=name, uri=f"file://{tmp_path}{path}") for name, path in (("one", ""), ("other", "/b"))]
    router = Router(sites)
    of = HybridSparkSource(name="rows", path=f"file://{tmp_path}/{{a,b}}", file_format=file_format)
    session: Any = None
    source = source_spec(of, router)
    assert source.location is not None
    location = source.location
    read = {"csv": lambda: text_frame(session, source, location, router)}
    with pytest.raises(RoutingError, match=r"also expands to .*/b, which is on site 'other'"):
        read.get(file_format, lambda: file_schema(source, router))()


def test_a_footer_that_is_encrypted_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PARE" + bytes(64) + b"PARE")
    with pytest.raises(SourceError, match=r"a\.parquet is a Parquet file with an encrypted footer\. Spark"):
        resolve(tmp_path)


def test_what_another_has_listed_means_the_same(tmp_path: Path) -> None:
    files = ("day=1/zip=01234/a", "day=2/zip=1/b", "day=2/zip=S%20P/c")
    write(tmp_path, *files)
    here = list_files(Router().locate(f"file://{tmp_path}"))
    there = listing_of({f"{tmp_path}/{name}": str(tmp_path) for name in files}, selection=FileSelection(), base=None)
    assert there.folder_texts == here.folder_texts == {"day": {"1", "2"}, "zip": {"01234", "1", "S P"}}
    assert [(file.path, file.partitions) for file in there.files] == [
        (file.path, file.partitions) for file in here.files
    ]
    assert there.only_ours is None
    odd = listing_of({"/r/a": "/r/a", "/r/zip=01/b": "/r"}, selection=FileSelection(), base=None)
    assert odd.only_ours is not None
