"""CSV and JSON in partition folders, and rows of them that cannot be read: nothing is guessed, no row vanishes."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import FeatureView, Field
from feast.types import Int64, String

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError, SchemaError
from tests.integration.faulty import LAKES_IN_TURNS
from tests.integration.places import Place, answers, entity, hour, on_connect, retrieve, source

if TYPE_CHECKING:
    from collections.abc import Callable

    from feast import FeatureStore

    from tests.integration.conftest import MakeStore

pytestmark = [pytest.mark.connect, LAKES_IN_TURNS]

EACH_LAKE = pytest.mark.parametrize("role", ["onprem", "cloud"])
CSV = {"header": "true", "inferSchema": "true"}
JSON = {"inferTimestamp": "true"}
LINES = {
    "csv": "k,event_timestamp,v\n{k},2026-01-10T01:00:00Z,{v}\n",
    "json": '{{"k": {k}, "event_timestamp": "2026-01-10T01:00:00Z", "v": {v}}}\n',
}


def rows_of(file_format: str, *rows: tuple[int, int]) -> bytes:
    header = LINES[file_format].splitlines()[0] + "\n" if file_format == "csv" else ""
    line = LINES[file_format].splitlines()[-1] + "\n"
    return (header + "".join(line.format(k=k, v=v) for k, v in rows)).encode()


@pytest.fixture
def store_of(make_store: MakeStore, place: Place, folder: str) -> Callable[..., FeatureStore]:
    """``store_of("csv", {path: content})``: a store whose view ``rows`` reads these files."""

    def make(file_format: str, files: dict[str, bytes], **more: Any) -> FeatureStore:
        uri = f"{place.uri}{folder}"
        for path, content in files.items():
            place.put(f"{uri}/{path}", content)
        key = entity("k")
        of = source("rows", uri, file_format=file_format, options=CSV if file_format == "csv" else JSON)
        schema = [Field(name="k", dtype=Int64), Field(name="v", dtype=Int64)]
        schema += [Field(name=name, dtype=data_type) for name, data_type in more.items()]
        return make_store(
            key, FeatureView(name="rows", entities=[key], schema=schema, source=of, ttl=timedelta(days=1))
        )

    return make


def asked(store: FeatureStore, *features: str, keys: list[int] | None = None) -> list[tuple[Any, ...]]:
    keys = keys or [1, 2]
    frame = pd.DataFrame({"k": keys, "event_timestamp": [hour(2)] * len(keys)})
    return answers(retrieve(store, frame, [f"rows:{name}" for name in features]), *features)


@EACH_LAKE
@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_a_folders_text_stays_text(store_of: Callable[..., FeatureStore], file_format: str) -> None:
    files = {
        "zip=01234/a": rows_of(file_format, (1, 10)),
        "zip=90210/b": rows_of(file_format, (2, 20)),
    }
    store = store_of(file_format, files, zip=String)
    assert asked(store, "zip", "v") == [("01234", 10), ("90210", 20)]
    view = store.get_feature_view("rows")
    assert view.batch_source is not None
    pulled = HybridSparkOfflineStore.pull_latest_from_table_or_query(
        store.config, view.batch_source, ["k"], ["zip"], "event_timestamp", None, hour(0), hour(9)
    )
    assert sorted(answers(pulled, "k", "zip")) == [(1, "01234"), (2, "90210")]


@EACH_LAKE
@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_folders_that_spark_would_read_otherwise_are_refused(
    store_of: Callable[..., FeatureStore], file_format: str
) -> None:
    files = {"town=S%C3%A3o/a": rows_of(file_format, (1, 10)), "town=x/b": rows_of(file_format, (2, 20))}
    store = store_of(file_format, files, town=String)
    with pytest.raises(HybridError, match=r"rows.*Rename the folders, or keep the rows as Parquet"):
        asked(store, "town")


@EACH_LAKE
@pytest.mark.parametrize(
    ("file_format", "bad"),
    [("csv", b"k,event_timestamp,v\n2,2026-01-10T01:00:00Z\n"), ("json", b'{"k": 2, "event_timestamp": "2026-')],
)
def test_a_row_that_cannot_be_read_is_an_error(
    store_of: Callable[..., FeatureStore], file_format: str, bad: bytes
) -> None:
    store = store_of(file_format, {"a": rows_of(file_format, (1, 10)), "b": bad})
    with pytest.raises(HybridError, match="rows"):
        asked(store, "v")


@EACH_LAKE
def test_a_file_whose_header_has_another_order_is_an_error(store_of: Callable[..., FeatureStore]) -> None:
    swapped = b"v,event_timestamp,k\n20,2026-01-10T01:00:00Z,2\n"
    store = store_of("csv", {"a": rows_of("csv", (1, 10)), "b": swapped})
    with pytest.raises(HybridError, match="rows"):
        asked(store, "v")


@EACH_LAKE
@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_a_file_of_no_bytes_is_left_out_and_noted(
    store_of: Callable[..., FeatureStore], file_format: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(file_format, {"a.txt": rows_of(file_format, (1, 10)), "b.txt": b""})
    with caplog.at_level(logging.WARNING):
        frame = pd.DataFrame({"k": [1], "event_timestamp": [hour(2)]})
        job = retrieve(store, frame, ["rows:v"])
    assert answers(job, "v") == [(10,)]
    assert "b.txt, of 0 bytes" in job.explain()
    if not on_connect():
        assert "b.txt, of 0 bytes" in caplog.text


@EACH_LAKE
def test_nulls_that_are_written_are_no_missing_column(
    store_of: Callable[..., FeatureStore], place: Place, folder: str
) -> None:
    """Not in files with odd names either; one without the column is refused once it is there."""
    nulls = rows_of("json", (1, 10)).replace(b'"k": 1', b'"k" : null')
    rows = rows_of("json", (1, 10), (2, 20))
    store = store_of("json", {"a.json": rows, "b {1} *[x] %41.json": nulls})
    assert asked(store, "v") == [(10,), (20,)]
    without = rows_of("json", (3, 30)).replace(b'"k"', b'"more": {"k": 3}, "key"')
    place.put(f"{place.uri}{folder}/d {{1}} *[x] %41.json", without)
    with pytest.raises(SchemaError, match=r"rows.*/d \{1\} \*\[x\] %41\.json has no column 'k'"):
        asked(store, "v")
