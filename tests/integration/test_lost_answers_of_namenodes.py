"""Calls of a NameNode that are done and whose answers are lost: the write is done, or nothing of it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.lakes import Location, Router, Site, replace
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.testing import RpcFaultProxy
from tests.integration.batches import DRIVER, add, rows, stats
from tests.integration.faulty import MINUTES, SEEDS, ended, located
from tests.integration.places import Place, feature_store
from tests.integration.reliability import reliability
from tests.integration.test_replace_concurrently import rows_at
from tests.integration.test_writers_under_faults import OF_ROWS, batches, save, saves, watching

if TYPE_CHECKING:
    from feast_hybrid.testing import Lakes

QUICKLY = {"dfs.client.failover.sleep.base.millis": "50", "dfs.client.failover.sleep.max.millis": "200"}
FILES = ("a.parquet", "day=1/b.parquet", "_SUCCESS")


@pytest.fixture(scope="module")
def proxy(lakes: Lakes) -> Iterator[RpcFaultProxy]:
    with RpcFaultProxy(lakes.hdfs.uri.removeprefix("hdfs://")) as running:
        yield running


@pytest.fixture
def target(proxy: RpcFaultProxy, folder: str) -> Location:
    """A folder with old files."""
    uri = f"hdfs://{proxy.endpoint}"
    found = Router(
        [Site.model_validate({"name": "onprem", "uri": uri, "credential": {"type": "simple"}, "options": QUICKLY})]
    ).locate(f"{uri}{folder}/set")
    publish({found.child(name): b"old" for name in FILES})
    return found


@reliability("Writers", "HDFS: the answer to a rename is lost while a dataset is replaced", "the replacement is done")
@pytest.mark.parametrize("nth", [1, 2], ids=["the-old-rows-move-away", "the-new-rows-come"])
def test_a_replacement_whose_rename_lost_its_answer_is_done(proxy: RpcFaultProxy, target: Location, nth: int) -> None:
    new = replace.aside(target)
    publish({new.child(name): b"new" for name in FILES})
    proxy.lose("rename2", nth)
    lost = len(proxy.lost)
    replace.put_in_place(new, target)
    assert len(proxy.lost) == lost + 1
    assert {target.fs.cat_file(target.child(name).path) for name in FILES} == {b"new"}
    parent = target.parent()
    assert [Path(entry).name for entry in target.fs.ls(parent.path, detail=False)] == ["set"]


@reliability("Writers", "HDFS: the answer to the rename of a first dataset is lost", "the dataset is there")
def test_a_first_dataset_whose_rename_lost_its_answer_is_there(proxy: RpcFaultProxy, target: Location) -> None:
    new = replace.aside(target)
    publish({new.child(name): b"new" for name in FILES})
    target.fs.rm(target.path, recursive=True)
    proxy.lose("rename2")
    replace.put_in_place(new, target, overwrite=False)
    assert {target.fs.cat_file(target.child(name).path) for name in FILES} == {b"new"}


@reliability(
    "Writers",
    "HDFS: the answer to any call of a batch is lost",
    "the batch is there once, or refused and not there",
)
@pytest.mark.parametrize(
    "method", ["mkdirs", "create", pytest.param("addBlock", marks=MINUTES), "complete", "rename2"]
)
def test_a_batch_of_which_a_call_lost_its_answer_is_there_once_or_refused(
    proxy: RpcFaultProxy, lakes: Lakes, folder: str, tmp_path: Path, method: str
) -> None:
    uri = f"hdfs://{proxy.endpoint}{folder}/rows"
    site = {"name": "onprem", "uri": f"hdfs://{proxy.endpoint}", "credential": {"type": "simple"}, "options": QUICKLY}
    store = feature_store([site], tmp_path, DRIVER, stats(uri))
    lost = len(proxy.lost)
    proxy.lose(method)
    end = ended(lambda: add(store, stats(uri), rows(1)))
    assert proxy.lost[lost:] == [method]
    place = Place("onprem", lakes.hdfs)
    found = [name for name in place.names(f"{place.uri}{folder}/rows") if name.endswith(".parquet")]
    hidden = [name for name in found if name.startswith(".")]
    assert len(found) - len(hidden) == {"ok": 1, "refused": 0}[end]
    if method in ("mkdirs", "rename2"):
        assert end == "ok"


@reliability(
    "Writers",
    "HDFS: four writers replace one folder while answers are lost and connections reset",
    "one of them is there, whole; readers never see a part or a mix",
)
@MINUTES
@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_who_replace_a_folder_while_calls_are_lost_one_is_there_whole(
    proxy: RpcFaultProxy, lakes: Lakes, target: Location, seed: int
) -> None:
    place = Place("onprem", lakes.hdfs)
    direct = located(place.site(), f"{place.uri}{target.path}")
    target.fs.rm(target.path, recursive=True)
    assert save(direct, "first") == "ok"
    lost = len(proxy.lost)
    with proxy.by_chance(0.02, seed=seed), watching(direct) as seen, ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(saves, target, f"thread{number}", 2) for number in range(4)]
        outcomes = {"first": "ok"}
        for thread in threads:
            outcomes |= thread.result()
    assert len(proxy.lost) > lost
    replace.recover(direct)
    found = rows_at(direct)
    assert found is not None
    (name,) = found
    assert found == {name: OF_ROWS}
    assert outcomes[name] in ("ok", "unknown"), (outcomes, seed)
    assert [each for each in seen if [*each.values()] != [OF_ROWS]] == [], "a part or a mix was read"


@reliability(
    "Writers",
    "HDFS: batches of four writers while answers are lost and connections reset",
    "each is there once, or refused and not there",
)
@pytest.mark.parametrize("seed", SEEDS)
def test_batches_of_many_writers_while_calls_are_lost_are_there_once_or_not_at_all(
    proxy: RpcFaultProxy, lakes: Lakes, folder: str, tmp_path: Path, seed: int
) -> None:
    uri = f"hdfs://{proxy.endpoint}{folder}/rows"
    site = {"name": "onprem", "uri": f"hdfs://{proxy.endpoint}", "credential": {"type": "simple"}, "options": QUICKLY}
    store = feature_store([site], tmp_path, DRIVER, stats(uri))
    add(store, stats(uri), rows(*[-1] * 5))
    with proxy.by_chance(0.01, seed=seed), ThreadPoolExecutor(4) as pool:
        outcomes: dict[str, str] = {}
        for of_one in pool.map(lambda number: batches(store, uri, [number]), range(16)):
            outcomes |= of_one
    place = Place("onprem", lakes.hdfs)
    filesystem = lakes.hdfs.filesystem()
    visible = [name for name in place.names(f"{place.uri}{folder}/rows") if not name.startswith(".")]
    tables = [pq.read_table(pa.BufferReader(filesystem.cat_file(f"{folder}/rows/{name}"))) for name in visible]
    found = Counter(number for table in tables for number in table["trips"].to_pylist())
    allowed = {"ok": (5,), "refused": (0,), "unknown": (0, 5)}
    assert {name: end for name, end in outcomes.items() if found[int(name)] not in allowed[end]} == {}, seed
    assert Counter(outcomes.values())["ok"] > 8
