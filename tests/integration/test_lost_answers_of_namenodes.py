"""Calls of a NameNode that are done and whose answers are lost: the write is done, or nothing of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.lakes import Location, Router, Site, replace
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.testing import RpcFaultProxy
from tests.integration.batches import DRIVER, add, rows, stats
from tests.integration.faulty import ended
from tests.integration.places import Place, feature_store

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


def test_a_first_dataset_whose_rename_lost_its_answer_is_there(proxy: RpcFaultProxy, target: Location) -> None:
    new = replace.aside(target)
    publish({new.child(name): b"new" for name in FILES})
    target.fs.rm(target.path, recursive=True)
    proxy.lose("rename2")
    replace.put_in_place(new, target, overwrite=False)
    assert {target.fs.cat_file(target.child(name).path) for name in FILES} == {b"new"}


@pytest.mark.parametrize("method", ["mkdirs", "create", "addBlock", "complete", "rename2"])
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
