"""What no emulator shows: a real storage account with Entra's roles, access control lists, hierarchical namespace.

Runs where the environment names an account, and is skipped elsewhere:

- ``FEAST_HYBRID_ACCOUNT_URI``: a folder that may be written, such as ``abfss://tests@acct.dfs.core.windows.net/ci``;
- ``FEAST_HYBRID_ACCOUNT_CREDENTIAL``: the site's ``credential`` as JSON;
- ``FEAST_HYBRID_ACCOUNT_DENIED``: optional, a folder of that account that the credential may not read.

``docs/configuration.md`` says how to run it.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import AccessDeniedError
from feast_hybrid.lakes import Site, parse_uri
from feast_hybrid.lakes.errors import storage_error
from tests.integration.places import entity, feature_store, hour, retrieve, source, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

URI = os.environ.get("FEAST_HYBRID_ACCOUNT_URI", "")
DENIED = os.environ.get("FEAST_HYBRID_ACCOUNT_DENIED", "")

pytestmark = [
    pytest.mark.account,
    pytest.mark.skipif(not URI, reason="no real storage account: FEAST_HYBRID_ACCOUNT_URI is not set"),
]


def site() -> dict[str, Any]:
    root = parse_uri(DENIED or URI)
    credential = json.loads(os.environ.get("FEAST_HYBRID_ACCOUNT_CREDENTIAL", '{"type": "platform"}'))
    return {"name": "account", "uri": f"{root.scheme}://{root.authority}", "credential": credential}


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder of the test's own, removed afterwards."""
    made = f"{URI.rstrip('/')}/{uuid.uuid4().hex}"
    parsed = Site.model_validate(site())
    path = parsed.fsspec_path(parse_uri(made))
    yield made
    files = parsed.filesystem()
    if files.exists(path):
        files.rm(path, recursive=True)


@reliability(
    "Sign-in",
    "none: a real account, with Entra and hierarchical namespace",
    "rows are written, replaced and read by Spark and without a JVM",
)
def test_rows_are_written_replaced_and_read_both_ways(folder: str, spark: SparkSession, tmp_path: Path) -> None:
    assert spark  # the run's session, with the ABFS driver
    parsed = Site.model_validate(site())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "trips": [10, 20]}), sink)
    path = parsed.fsspec_path(parse_uri(f"{folder}/rows/part-0.parquet"))
    parsed.filesystem().pipe(path, sink.getvalue().to_pybytes())
    driver = entity("driver", join_key="driver_id")
    stats = view("stats", source("stats_rows", f"{folder}/rows"), driver)
    again = view("again", source("saved_rows", f"{folder}/saved"), driver)
    rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
    for strategy in ("columnar", "window"):
        store = feature_store([site()], tmp_path, driver, stats, join={"strategy": strategy})
        job = retrieve(store, rows, ["stats:trips"])
        assert job.to_df().sort_values("driver_id")["trips"].tolist() == [10, 20]
        job.persist(SavedDatasetHybridSparkStorage(path=f"{folder}/saved"), allow_overwrite=True)
        store.apply([again])
        saved = retrieve(store, rows, ["again:trips"]).to_df()
        assert saved.sort_values("driver_id")["trips"].tolist() == [10, 20]


@reliability(
    "Sign-in",
    "roles or access control lists that deny a folder",
    "denied, and never taken for a folder that is not there",
    "Check its role on the container",
)
@pytest.mark.skipif(not DENIED, reason="FEAST_HYBRID_ACCOUNT_DENIED is not set")
def test_what_roles_and_lists_deny_is_denied_by_name(promise: Row) -> None:
    parsed = Site.model_validate(site())
    with pytest.raises(Exception) as refused:  # the client's own, whichever it is
        parsed.filesystem().ls(parsed.fsspec_path(parse_uri(DENIED)))
    error = storage_error(refused.value, what="source 's'", where="site 'account'", sites=[parsed])
    assert isinstance(error, AccessDeniedError)
    assert promise.reads in str(error)
