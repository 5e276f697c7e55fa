"""Sources with reader options, and lakes that the client cannot list: the resolved schema all the same."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field
from feast.types import Float64, Int64, String

from feast_hybrid.errors import HybridError, RoutingError, UnavailableError
from feast_hybrid.files.listing import list_files
from feast_hybrid.files.selection import FileSelection
from feast_hybrid.lakes import Allowed, Router, Site
from feast_hybrid.sources import file_schema, text_frame
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.spark_listing import list_by_spark
from tests.integration.faulty import LAKES_IN_TURNS
from tests.integration.places import Place, answers, connect_only, entity, hour, retrieve, source
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore

pytestmark = [pytest.mark.connect, LAKES_IN_TURNS]

EACH_LAKE = pytest.mark.parametrize("role", ["onprem", "cloud"])
FILES: dict[str, Any] = {
    "zip=01234/a.parquet": {"k": [1], "event_timestamp": [hour(0)], "n": [1]},
    "zip=90210/b.parquet": {"k": [2], "event_timestamp": [hour(0)], "n": [2.0], "w": [0.5]},
}
ANSWERS = [("01234", 1.0, None), ("90210", 2.0, 0.5)]


def encoded(rows: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(rows), sink)
    return bytes(sink.getvalue())


def lay(place: Place, folder: str, files: dict[str, Any] = FILES) -> str:
    for name, rows in files.items():
        place.put(f"{place.uri}{folder}/{name}", rows if isinstance(rows, bytes) else encoded(rows))
    return f"{place.uri}{folder}"


def store_of(make_store: MakeStore, uri: str, **more: Any) -> FeatureStore:
    key = entity("k")
    types = {"k": Int64, "zip": String, "n": Float64, "w": Float64}
    schema = [Field(name=name, dtype=data_type) for name, data_type in types.items()]
    of = source("rows", uri, **more)
    return make_store(key, FeatureView(name="rows", entities=[key], schema=schema, source=of, ttl=timedelta(days=1)))


def asked(store: FeatureStore, *features: str) -> tuple[list[tuple[Any, ...]], str]:
    frame = pd.DataFrame({"k": [1, 2], "event_timestamp": [hour(2)] * 2})
    job = retrieve(store, frame, [f"rows:{name}" for name in features or ("zip", "n", "w")])
    return answers(job, *(features or ("zip", "n", "w"))), job.explain()


@EACH_LAKE
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"pathGlobFilter": "*.parquet"}, ""),
        ({"modifiedAfter": "2020-01-01T00:00:00"}, ""),
        ({"basePath": "{folder}", "timeZone": "Asia/Tokyo"}, "/zip=*"),
    ],
)
def test_options_that_choose_files_are_followed_by_our_reader_too(
    make_store: MakeStore, place: Place, folder: str, options: dict[str, str], path: str
) -> None:
    uri = lay(place, folder)
    options = {name: value.format(folder=uri) for name, value in options.items()}
    found, plan = asked(store_of(make_store, uri + path, options=options))
    assert found == ANSWERS
    assert "view 'rows': columnar" in plan


@EACH_LAKE
def test_an_option_of_sparks_reader_changes_no_type(make_store: MakeStore, place: Place, folder: str) -> None:
    alike = {
        "zip=01234/a.parquet": FILES["zip=01234/a.parquet"] | {"n": [1.0]},
        "zip=90210/b.parquet": FILES["zip=90210/b.parquet"],
    }
    uri = lay(place, folder, alike)
    options = {"int96RebaseMode": "LEGACY", "recursiveFileLookup": "false"}
    found, plan = asked(store_of(make_store, uri, options=options))
    assert found == ANSWERS
    assert "; rows by Spark: reader options, which are Spark's to follow: int96RebaseMode)" in plan


@EACH_LAKE
def test_an_option_of_sparks_reader_on_files_that_only_ours_reads_is_refused(
    make_store: MakeStore, place: Place, folder: str
) -> None:
    store = store_of(make_store, lay(place, folder), options={"int96RebaseMode": "LEGACY"})
    with pytest.raises(HybridError, match=r"column 'n' is .* feast-hybrid's reader cannot be used: reader options"):
        asked(store)


@EACH_LAKE
def test_in_a_recursive_look_folders_have_any_name(make_store: MakeStore, place: Place, folder: str) -> None:
    rows = {"k": [1], "event_timestamp": [hour(0)], "n": [1.0], "w": [0.5], "zip": ["x"]}
    uri = lay(place, folder, {"any/zip=01234/a.parquet": rows, "b.parquet": rows | {"k": [2], "zip": ["y"]}})
    found, _ = asked(store_of(make_store, uri, options={"recursiveFileLookup": "true"}))
    assert found == [("x", 1.0, 0.5), ("y", 1.0, 0.5)]


@EACH_LAKE
def test_folders_of_text_below_a_base_keep_their_text(make_store: MakeStore, place: Place, folder: str) -> None:
    line = b"k,event_timestamp,n,w\n%d,2026-01-10T00:00:00Z,1.0,0.5\n"
    uri = lay(place, folder, {"zip=01234/a.csv": line % 1, "zip=90210/b.csv": line % 2, "zip=90210/c.txt": b"?"})
    options = {"header": "true", "inferSchema": "true", "basePath": uri, "pathGlobFilter": "*.csv"}
    found, _ = asked(store_of(make_store, f"{uri}/zip=*", file_format="csv", options=options), "zip", "n")
    assert found == [("01234", 1.0), ("90210", 1.0)]


@reliability(
    "Text that is code",
    "a pattern in a path that leads to another site, such as {v,../team_b/secret}",
    "refused before anything there is opened",
    "also expands to",
)
@EACH_LAKE
@pytest.mark.parametrize("file_format", ["csv", "json", "text", "parquet", "binaryFile"])
def test_a_pattern_that_leads_to_another_site_is_refused_in_any_format(
    spark: SparkSession, place: Place, folder: str, file_format: str, promise: Row
) -> None:
    uri = lay(place, folder, {"a/x": FILES["zip=01234/a.parquet"], "b/x": FILES["zip=01234/a.parquet"]})
    sites = [Site(**place.site()), Site(**place.site() | {"name": "other", "uri": f"{uri}/b"})]
    router = Router(sites, allowed=Allowed(file_formats=frozenset({"binaryfile"})))
    of = source_spec(source("rows", f"{uri}/*/x", file_format=file_format), router)
    with pytest.raises(RoutingError, match=rf"source 'rows': .* {promise.reads} .*/b(/x)?, which is on site 'other'"):
        Reader(spark, router).read(of)


def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise UnavailableError("this client does not reach the lake")

    monkeypatch.setattr(file_schema, "read_files", unavailable)
    monkeypatch.setattr(text_frame, "list_files", unavailable)


@EACH_LAKE
@connect_only("a client that does not reach what its server does")
def test_what_the_client_cannot_list_is_listed_by_its_server(
    make_store: MakeStore, place: Place, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = {
        "zip=01234/a.parquet": FILES["zip=01234/a.parquet"] | {"n": [1.0]},
        "zip=90210/b.parquet": FILES["zip=90210/b.parquet"],
    }
    store = store_of(make_store, lay(place, folder, alike))
    unlisted(monkeypatch)
    found, plan = asked(store)
    assert found == ANSWERS
    assert "its files cannot be listed from here (UnavailableError), so that Spark finds the columns" in plan


@EACH_LAKE
@connect_only("a client that does not reach what its server does")
def test_what_the_client_cannot_list_is_not_taken_for_what_it_is_not(
    make_store: MakeStore, place: Place, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"zip=01234/a.parquet": FILES["zip=01234/a.parquet"] | {"n": ["one"]}}
    store = store_of(make_store, lay(place, f"{folder}/texts", texts))
    unlisted(monkeypatch)
    with pytest.raises(HybridError, match=r"view 'rows'.*column 'n' is declared double, but is string"):
        asked(store, "n")


@EACH_LAKE
def test_a_session_lists_what_we_list(spark: SparkSession, place: Place, folder: str) -> None:
    router = Router([Site(**place.site())])
    names = ["day=1/zip=01234/a.parquet", "day=2/zip=S%20P/b.parquet", "day=2/zip=x/_hidden.parquet"]
    uri = lay(place, folder, dict.fromkeys(names, FILES["zip=01234/a.parquet"]))
    for path, options in (
        (uri, {}),
        (f"{uri}/day=*", {}),
        (f"{uri}/{{day=1,day=2/zip=S*}}", {}),
        (f"{uri}/day=1/zip=01234/a.parquet", {}),
        (f"{uri}/day=*", {"basePath": uri}),
        (uri, {"recursiveFileLookup": "true"}),
        (uri, {"pathGlobFilter": "b.*"}),
    ):
        location = router.locate(path)
        selection = FileSelection.of(options, location)
        here, there = (
            list_files(location, selection=selection),
            list_by_spark(spark, location, selection, selection.to_spark(options)),
        )
        prefix = location.path.removesuffix(location.uri.path)
        assert [(prefix + file.path, file.partitions) for file in there.files] == [
            (file.path, file.partitions) for file in here.files
        ]
        assert there.files


@EACH_LAKE
@pytest.mark.parametrize(
    ("log", "rows", "path"),
    [
        ("t/_delta_log/0.json", "t/a.parquet", "t"),
        ("t/_delta_log/0.json", "t/day=1/a.parquet", "t/day=1"),
        ("t/.hoodie/hoodie.properties", "t/a.parquet", "t/*.parquet"),
        ("t/metadata/v1.metadata.json", "t/data/a.parquet", "t/data"),
        ("t/day=1/_delta_log/0.json", "t/day=1/a.parquet", "t"),
    ],
)
def test_tables_are_found_by_us_and_by_a_session(
    spark: SparkSession, place: Place, folder: str, log: str, rows: str, path: str
) -> None:
    router = Router([Site(**place.site())])
    uri = lay(place, folder, {rows: FILES["zip=01234/a.parquet"]})
    location = router.locate(f"{uri}/{path}")
    assert list_by_spark(spark, location, FileSelection(), {}).files
    assert list_files(location).files
    place.put(f"{uri}/{log}", b"{}")
    for find in (list_files, lambda _: list_by_spark(spark, location, FileSelection(), {})):
        with pytest.raises(HybridError, match=r"is a table of (Delta|Hudi|Iceberg)"):
            find(location)
