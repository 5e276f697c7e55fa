"""A file that is overwritten between the plan and the job is refused on each lake, by whatever of ours reads it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid.errors import HybridError
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes import Router, Site
from feast_hybrid.lakes.opener import SiteOpener
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
