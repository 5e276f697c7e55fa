"""A file that is overwritten between the plan and the job is refused on each lake, by whatever of ours reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid.errors import HybridError, SourceNotFoundError
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes import Router, Site
from feast_hybrid.lakes.opener import SiteOpener
from feast_hybrid.sources import files_frame
from feast_hybrid.spark import lake_options
from tests.integration.places import Place, entity, hour, retrieve, source, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from tests.integration.conftest import MakeStore, Write

pytestmark = [pytest.mark.connect, pytest.mark.parametrize("role", ["onprem", "cloud"])]


def rows(count: int) -> pa.Table:
    times = pa.array(np.full(count, int(hour(0).timestamp()) * 10**9)).cast(pa.timestamp("ns", "UTC"))
    return pa.table({"k": np.arange(count), "event_timestamp": times, "v": np.random.default_rng(0).random(count)})


def test_a_listing_and_the_file_itself_tell_one_version(place: Place, write: Write) -> None:
    uri = write(place, "rows", rows(10))
    location = Router([Site(**place.site())]).locate(uri)
    [file] = list_files(location).files
    assert file.version.mark
    assert SiteOpener(location).version(file.path) == file.version
    write(place, "rows", rows(10))
    assert SiteOpener(location).version(file.path) != file.version


@reliability(
    "Executors and drivers",
    "a file that is overwritten between the plan and the job, on each lake",
    "refused, and never read in part",
    "was replaced after the plan was made",
)
@pytest.mark.parametrize("strategy", ["columnar", "window"])  # Spark's own reader reads no nanoseconds
@pytest.mark.parametrize("count", [50_000, 5])
def test_it_is_refused_and_read_when_it_is_asked_for_again(
    make_store: MakeStore, place: Place, write: Write, strategy: str, count: int, promise: Row
) -> None:
    key = entity("k")
    of = source("rows", write(place, "rows", rows(10_000)))
    options: dict[str, Any] = {"join": {"strategy": strategy}}
    store = make_store(key, view("rows", of, key, ttl=timedelta(days=1)), **options)
    frame = pd.DataFrame({"k": [1, 4], "event_timestamp": [hour(1)] * 2})
    job = retrieve(store, frame, ["rows:v"])
    write(place, "rows", rows(count))
    with pytest.raises(HybridError, match=rf"rows.*part-0\.parquet {promise.reads}: it had "):
        job.to_df()
    assert retrieve(store, frame, ["rows:v"]).to_df()["v"].notna().all()


@reliability(
    "Executors and drivers",
    "a folder on HDFS is away for the moment in which Spark lists it, since a writer replaces it",
    "it is listed again; where it stays away, an error says so. Spark by itself would read no rows",
)
@pytest.mark.parametrize("times", [1, 100])
def test_a_folder_that_is_away_while_spark_lists_it_is_not_an_empty_one(
    make_store: MakeStore, place: Place, write: Write, role: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if role == "cloud":
        pytest.skip("nothing is renamed there")
    of_us = lake_options.spark_path
    away = iter(range(times))
    uri = write(place, "rows", {"k": [1], "event_timestamp": [hour(0)], "v": [7.0]})
    place.lake.filesystem().makedirs(f"{place.inside(uri)}-empty", exist_ok=True)

    def path_of(*given: Any) -> Any:
        path = of_us(*given)
        return path if next(away, None) is None else replace(path, uri=f"{path.uri}-empty")

    monkeypatch.setattr(files_frame, "spark_path", path_of)
    monkeypatch.setattr("feast_hybrid.sources.reader._PAUSE", 0)
    key = entity("k")
    store = make_store(key, view("rows", source("rows", uri), key), join={"strategy": "window"})
    frame = pd.DataFrame({"k": [1], "event_timestamp": [hour(1)]})
    if times == 1:
        assert retrieve(store, frame, ["rows:v"]).to_df()["v"].tolist() == [7.0]
    else:
        with pytest.raises(SourceNotFoundError, match=r"source 'rows'.* files were gone when Spark listed them"):
            retrieve(store, frame, ["rows:v"]).to_df()
