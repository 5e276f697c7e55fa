"""What decides between the local engine and Spark beside the request, and forms that both give to Feast."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid.arrow.convert import spark_compatible
from feast_hybrid.arrow.types import has_spark_type
from feast_hybrid.asof.key_types import key_type_of_arrow
from feast_hybrid.asof.local import work
from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError, EntityFrameError
from feast_hybrid.retrieval.local_encoding import encode_locally
from feast_hybrid.retrieval.local_run import sparks_by_settings
from feast_hybrid.retrieval.pandas_rows import PandasRows
from feast_hybrid.spark import sparks_reader

NOON = pd.Timestamp("2026-01-10T12:00Z")


def active(monkeypatch: pytest.MonkeyPatch, get: Any) -> None:
    """A session that is active in this process."""
    session = SimpleNamespace(conf=SimpleNamespace(get=get))
    module = SimpleNamespace(SparkSession=SimpleNamespace(getActiveSession=lambda: session))
    monkeypatch.setitem(sys.modules, "pyspark.sql", module)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.sql.files.ignoreCorruptFiles", "true"),
        ("spark.sql.parquet.datetimeRebaseModeInRead", "LEGACY"),
        ("spark.sql.caseSensitive", "true"),
    ],
)
def test_settings_that_only_spark_follows_leave_the_answer_to_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    store = HybridSparkOfflineStoreConfig(spark={"conf": {name: value}})
    active(monkeypatch, lambda *_: None)
    reason = sparks_by_settings(store)
    assert reason is not None
    assert name in reason.reason
    plain = HybridSparkOfflineStoreConfig()
    assert sparks_by_settings(plain) is None
    active(monkeypatch, lambda key, _: value if key == name else None)
    assert sparks_by_settings(plain) == reason


def test_a_session_that_has_died_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise ConnectionError("the JVM is gone")

    active(monkeypatch, gone)
    assert sparks_by_settings(HybridSparkOfflineStoreConfig()) is None


def test_a_server_is_elsewhere_whoever_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    monkeypatch.delitem(sys.modules, "pyspark.sql.connect.session", raising=False)
    assert not sparks_reader.spark_is_elsewhere(None)
    assert sparks_reader.spark_is_elsewhere("sc://host")
    monkeypatch.setenv("SPARK_REMOTE", "sc://host")
    assert sparks_reader.spark_is_elsewhere(None)


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 2), ("max 100000", 64), ("100000 100000", 1)])
def test_a_container_s_share_of_cores_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(work, "_CONTAINER_CORES", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    assert work.cores() == cores


@pytest.mark.parametrize(("cores", "far"), [(1, 2), (2, 4), (8, 16), (12, 16), (64, 64)])
def test_more_threads_read_from_servers_than_from_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cores: int, far: int
) -> None:
    monkeypatch.setattr(work, "_CONTAINER_CORES", tmp_path / "none")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    local = HybridSparkOfflineStoreConfig().local
    assert local.thread_count(far=True) == far
    assert local.thread_count(far=False) == cores


def test_sizes_are_read_as_people_write_them() -> None:
    local = HybridSparkOfflineStoreConfig(local={"memory": "1GiB", "max_read": "10MB", "threads": 3}).local
    assert (local.memory_bytes, int(local.max_read)) == (1 << 30, 10_000_000)
    assert local.thread_count(far=True) == local.thread_count(far=False) == 3
    with pytest.raises(ConfigError, match=r"offline_store\.local\.memory: "):
        HybridSparkOfflineStoreConfig(local={"memory": "1MiB"})


def test_values_are_given_to_feast_as_spark_gives_them() -> None:
    data_type = pa.struct([("a", pa.list_(pa.float32())), ("b", pa.map_(pa.string(), pa.float64()))])
    rows = [{"a": [np.float32(0.1), None, float("nan")], "b": [("é", 1.5)]}, None]
    table = pa.table({"f": pa.array(rows, data_type), "n": pa.array([7, None])})
    found = encode_locally(table, ["f", "n"], {"n": pa.string()}, what="rows")
    assert found["f"].to_pylist() == ['{"a":[0.1,null,"NaN"],"b":{"é":1.5}}', None]
    assert found["n"].to_pylist() == ["7", None]


def test_text_for_feast_is_written_as_spark_writes_it() -> None:
    data_type = pa.struct([("n", pa.list_(pa.float64())), ("f", pa.float32()), ("t", pa.string()), ("b", pa.bool_())])
    numbers = [0.0, -0.0, 1e-3, 9.99e-4, -1.5e-5, 9999999.0, 1e7, 1.25e20, 100.0]
    table = pa.table({"f": pa.array([{"n": numbers, "f": 2.0**24, "t": 'é"\\\x1f\n\x7f', "b": True}], data_type)})
    (found,) = encode_locally(table, ["f"], what="rows")["f"].to_pylist()
    assert found == (
        '{"n":[0.0,-0.0,0.001,9.99E-4,-1.5E-5,9999999.0,1.0E7,1.25E20,100.0],"f":1.6777216E7,'
        '"t":"é\\"\\\\\\u001F\\n\x7f","b":true}'
    )


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_times_that_are_keys_are_in_microseconds(unit: str) -> None:
    keys = pd.Series(pa.array([NOON], pa.timestamp(unit, "UTC")), dtype=pd.ArrowDtype(pa.timestamp(unit, "UTC")))
    rows = PandasRows.of(pd.DataFrame({"event_timestamp": [NOON], "k": keys}))
    assert rows.key_arrays(["k"])["k"].type == pa.timestamp("us", "UTC")


def test_errors_call_times_of_any_zone_as_spark_does() -> None:
    names = [key_type_of_arrow(pa.timestamp("us", zone)).name for zone in (None, "UTC", "Europe/Berlin")]
    assert names == ["timestamp_ntz", "timestamp", "timestamp"]


def test_a_time_beyond_microseconds_is_refused() -> None:
    keys = pd.Series(pa.array([2**60], pa.timestamp("s")), dtype=pd.ArrowDtype(pa.timestamp("s")))
    rows = PandasRows.of(pd.DataFrame({"event_timestamp": [NOON], "k": keys}))
    with pytest.raises(EntityFrameError, match="entity_df column 'k' holds what Spark has no type for"):
        rows.key_arrays(["k"])


@pytest.mark.parametrize("data_type", [pa.large_binary(), pa.binary(2), pa.binary_view()])
def test_bytes_are_keys_in_any_layout(data_type: pa.DataType) -> None:
    series = pd.Series([b"ab"], dtype=object)
    rows = PandasRows.of(pd.DataFrame({"event_timestamp": [NOON], "k": series}))
    assert rows.key_arrays(["k"])["k"].type == pa.binary()
    assert spark_compatible(pa.array([b"ab"]).cast(data_type)).type == pa.binary()


def test_decimals_are_in_the_bits_that_spark_has_or_refused() -> None:
    for wide in (pa.decimal256(38, 2), pa.decimal32(5, 2), pa.decimal64(12, 2)):
        found = spark_compatible(pa.array([Decimal("1.5")], wide))
        assert (found.type, found.to_pylist()) == (pa.decimal128(wide.precision, 2), [Decimal("1.50")])
    # pandas' objects of so many digits in all: they come back as they are, and no reader of a lake has them.
    many = pd.DataFrame({"event_timestamp": [NOON, NOON], "k": [Decimal(10**30), Decimal("1e-12")]})
    with pytest.raises(EntityFrameError, match=r"entity_df column 'k' is decimal256\(43, 12\), which no join key"):
        PandasRows.of(many).key_arrays(["k"])
    for column in (many["k"], many["k"].map(lambda value: [value])):
        assert not has_spark_type(pa.array(column).type)
