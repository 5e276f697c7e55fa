"""The local engine beside Spark's on the same rows: keys of odd values, errors, files that change or are damaged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import ValueType

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError
from tests.integration.places import Place, entity, feature_store, hour, retrieve, source, view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.places import Places

ENGINES = ("spark", "local")

#: The session of all tests, lest the store starts one of its own.
pytestmark = pytest.mark.usefixtures("spark")
NAN = float("nan")


def pulled(sites: list[dict[str, Any]], folder: Path, engine: str, of: Any, keys: list[str], **more: Any) -> pa.Table:
    store = feature_store(sites, folder, engine=engine)
    verb = getattr(HybridSparkOfflineStore, f"pull_{more.pop('verb', 'latest')}_from_table_or_query")
    features, created = more.get("features", ["n"]), more.get("created")
    job = verb(store.config, of, keys, features, more.get("time", "event_timestamp"), created, hour(-1), hour(9))
    return job.to_arrow()


@pytest.mark.parametrize("kind", ["double", "float"])
def test_the_latest_of_odd_keys_is_that_of_spark(lakes_to_test: Places, tmp_path: Path, kind: str) -> None:
    keys = [-0.0, 0.0, NAN, NAN, None, None, 1.5, 0.0, -0.0]
    data_type = pa.float64() if kind == "double" else pa.float32()
    rows = {
        "k": pa.array(keys, data_type, from_pandas=False),
        "word": ["a", "a", "a", "a", "a", "a", None, "b", "b"],
        "event_timestamp": [hour(n) for n in (1, 2, 2, 1, 1, 2, 0, 4, 3)],
        "n": list(range(9)),
    }
    of = source("odd", lakes_to_test.onprem.write(f"{lakes_to_test.onprem.uri}/odd_keys/{kind}", pa.table(rows)))
    for number, names in enumerate((["k"], ["k", "word"], [])):
        folders = [tmp_path / f"{engine}{number}" for engine in ENGINES]
        for folder in folders:
            folder.mkdir()
        tables = [
            pulled(lakes_to_test.sites(), folder, engine, of, names)
            for engine, folder in zip(ENGINES, folders, strict=True)
        ]
        wanted, found = (sorted(map(str, table.to_pylist())) for table in tables)
        assert found == wanted
        assert tables[0].schema.equals(tables[1].schema)


def refused(work: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(HybridError) as caught:
        work()
    return type(caught.value).__name__, str(caught.value)


def test_what_is_wrong_is_said_in_the_same_words(lakes_to_test: Places, tmp_path: Path) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)], "n": [1], "text": ["a"]}
    path = lakes_to_test.onprem.write(f"{lakes_to_test.onprem.uri}/same_words", rows)
    of = source("rows", path)
    pulls: list[dict[str, Any]] = [
        {"keys": ["driver_id"], "features": ["nowhere"]},
        {"keys": ["nowhere"], "features": ["n"]},
        {"keys": ["driver_id"], "created": "nowhere"},
        {"keys": ["driver_id"], "time": "nowhere"},
        {"keys": ["driver_id"], "time": "text"},
        {"keys": ["one", "two"], "features": ["three"], "time": "four"},
        {"keys": ["driver_id"], "features": [], "time": "nowhere"},
        {"keys": ["nowhere"], "features": []},
    ]
    for number, wrong in enumerate(pulls):
        for verb in ("latest", "all"):
            said = []
            for engine in ENGINES:
                folder = tmp_path / f"{engine}{verb}{number}"
                folder.mkdir()
                said.append(refused(lambda: pulled(lakes_to_test.sites(), folder, engine, of, verb=verb, **wrong)))  # noqa: B023
            assert said[0] == said[1]
            assert said[0][0] == "SchemaError"


def test_of_several_bad_views_both_engines_name_the_same(lakes_to_test: Places, tmp_path: Path) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)], "n": [1], "m": [1], "text": ["a"]}
    place = lakes_to_test.onprem
    uris = [f"{place.uri}/bad_views/{name}" for name in "abc"]
    stores = []
    for engine in ENGINES:
        for uri in uris:
            place.write(uri, rows)
        key, texts = entity("driver_id"), entity("text", ValueType.STRING)
        views = [
            view(name, source(name, uri), texts if name == "b" else key)
            for name, uri in zip("abc", uris, strict=True)
        ]
        (tmp_path / engine).mkdir()
        stores.append(feature_store(lakes_to_test.sites(), tmp_path / engine, key, texts, *views, engine=engine))
    frame = pd.DataFrame({"driver_id": [1], "text": [5], "event_timestamp": [hour(1)]})
    for dropped in (["n"], ["event_timestamp"]):
        for uri in uris[1:]:
            place.write(uri, {name: values for name, values in rows.items() if name not in dropped})
        said = [
            refused(lambda: retrieve(store, frame, ["a:n", "b:n", "c:n"], full_feature_names=True).to_arrow())  # noqa: B023
            for store in stores
        ]
        assert said[0] == said[1]


def damaged(place: Place, uri: str, content: bytes, how: str) -> None:
    filesystem = place.lake.filesystem()
    path = place.inside(uri)
    if how == "deleted":
        filesystem.rm(path)
        return
    middle = len(content) // 2
    new = {
        "truncated": content[:middle],
        "footer": content[:-12] + b"\xff" * 12,
        "page": content[:200] + b"\xee" * 3000 + content[3200:],
    }[how]
    place.put(uri, new)


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_files_that_change_or_are_damaged_are_named(lakes_to_test: Places, tmp_path: Path, role: str) -> None:
    place: Place = getattr(lakes_to_test, role)
    base = f"{place.uri}/damaged"
    rows = {
        "driver_id": list(range(2000)),
        "event_timestamp": [hour(0)] * 2000,
        "n": [n * 7919 % 10007 for n in range(2000)],
    }
    keys = list(range(2000))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(rows), sink, row_group_size=500, use_dictionary=False, compression="snappy")
    content = sink.getvalue().to_pybytes()
    stores = {}
    for engine in ENGINES:
        folder = tmp_path / engine
        folder.mkdir()
        place.put(f"{base}/part-0.parquet", content)
        place.put(f"{base}/part-1.parquet", content)
        of = source("rows", base)
        stores[engine] = feature_store(
            lakes_to_test.sites(), folder, entity("driver_id"), view("s", of, entity("driver_id")), engine=engine
        )
    frame = pd.DataFrame({"driver_id": keys, "event_timestamp": [hour(1)] * 2000})

    def said_by(engine: str, how: str, *, planned: bool) -> str:
        place.put(f"{base}/part-1.parquet", content)
        job = retrieve(stores[engine], frame, ["s:n"]) if planned else None
        damaged(place, f"{base}/part-1.parquet", content, how)
        _, said = refused(lambda: (job or retrieve(stores[engine], frame, ["s:n"])).to_arrow())  # noqa: PLW0108  # the plan too
        assert "part-1.parquet" in said
        return re.sub(r"etag \S+|written \S+", "", said).removeprefix("historical features of s: ")

    for how in ("deleted", "truncated", "page"):
        found = [said_by(engine, how, planned=True) for engine in ENGINES]
        assert found[0] == found[1]
        assert ("is gone" if how == "deleted" else "was replaced after the plan was made") in found[0]
    for how in ("truncated", "footer", "page"):
        found = [said_by(engine, how, planned=False) for engine in ENGINES]
        assert found[0] == found[1]
        assert ("cannot be read" if how == "page" else "is no Parquet file, or a damaged one") in found[0]
