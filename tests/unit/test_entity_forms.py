"""Forms and values of entity rows that come from a caller: taken, or refused with column and row before any job."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import dask.dataframe
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_df import entity_rows_of

if TYPE_CHECKING:
    from feast_hybrid.retrieval.pandas_rows import PandasRows

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MICROS = int(NOON.timestamp()) * 1_000_000


def rows_of(entity_df: Any) -> PandasRows:
    nothing: Any = None
    return cast("PandasRows", entity_rows_of(entity_df, [], nothing, nothing, "", (None, None)))


def refusal(entity_df: Any) -> str:
    with pytest.raises(EntityFrameError) as refused:
        rows_of(entity_df)
    return str(refused.value)


def with_column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"event_timestamp": [NOON] * len(values), "odd": values})


def micros(values: Any) -> list[int | None]:
    column = rows_of(pd.DataFrame({"event_timestamp": values})).times
    return cast("list[int | None]", column.view(pa.int64()).to_pylist())


FEATURES = pa.table({"f": ["first", "second"]})


def test_what_its_owner_does_to_a_frame_later_changes_no_rows() -> None:
    frame = pd.DataFrame({"event_timestamp": [NOON, NOON], "k": [1, 2]})
    rows = rows_of(frame)
    frame.loc[0, "k"] = 7
    frame.drop(index=1, inplace=True)  # noqa: PD002
    frame["more"] = 1
    assert rows.key_arrays(["k"])["k"].to_pylist() == [1, 2]
    assert rows.attach(FEATURES).select(["k", "f"]).to_pydict() == {"k": [1, 2], "f": ["first", "second"]}


class TestArrow:
    TABLE = pa.table(
        {
            "event_timestamp": pa.array([1, -1], pa.timestamp("ns")),
            "k": pa.array(["a", None], pa.large_string()),
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "none": pa.nulls(2),
            "part": pa.array([{"a": 1}, None]),
        }
    )

    @pytest.mark.parametrize(
        "form",
        [lambda t: t, pa.RecordBatchReader.from_stream, lambda t: t.to_batches()[0]],
        ids=["table", "reader", "batch"],
    )
    def test_columns_of_pyarrow_come_back_as_they_went_in(self, form: Any) -> None:
        back = rows_of(form(self.TABLE)).attach(FEATURES)
        assert back.drop_columns("f").equals(self.TABLE)
        assert back["f"].to_pylist() == ["first", "second"]
        assert back.to_pandas()["k"].tolist() == ["a", None]

    def test_whatever_exports_a_stream_is_taken(self) -> None:
        """A library that pyarrow does not know: all that it has is the protocol."""

        class Exporter:
            def __arrow_c_stream__(self, requested_schema: object = None) -> object:
                return TestArrow.TABLE.__arrow_c_stream__(requested_schema)

        assert rows_of(Exporter()).attach(FEATURES).drop_columns("f").equals(self.TABLE)

    def test_a_polars_frame_is_taken(self) -> None:
        frame = pl.DataFrame(
            {
                "k": pl.Series(["b", "a"], dtype=pl.Categorical),
                "seen": pl.Series([NOON.replace(tzinfo=None), None]).cast(pl.Datetime("us")),
                "note": ["x", None],
            }
        )
        rows = rows_of(frame)
        assert (rows.timestamp, rows.bounds()) == ("seen", (NOON, NOON))
        back = rows.attach(FEATURES)
        assert back.to_pandas()["note"].tolist() == ["x", None]
        assert back["k"].to_pylist() == ["b", "a"]

    def test_a_relation_of_duckdb_is_taken(self) -> None:
        relation = duckdb.sql("SELECT 7 AS k, TIMESTAMP '2026-11-01 12:00' AS event_timestamp")
        assert rows_of(relation).bounds() == (NOON, NOON)

    def test_text_that_is_no_utf8_is_refused(self) -> None:
        offsets = pa.array([0, 1, 2], pa.int32()).buffers()[1]
        text = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xff")])
        message = refusal(pa.table({"event_timestamp": [NOON, NOON], "odd": text}))
        assert message.startswith("entity_df column 'odd' is string, which row 1 (the first is 0) is not: ")

    def test_a_map_with_a_key_twice_is_refused(self) -> None:
        maps = pa.array([[("a", 1)], [("b", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))
        message = refusal(pa.table({"event_timestamp": [NOON, NOON], "odd": maps}))
        assert message == "entity_df column 'odd' has in row 1 (the first is 0) a map with the key 'b' twice."

    def test_columns_of_pandas_in_arrows_types_are_looked_at_too(self) -> None:
        offsets = pa.array([0, 1, 2], pa.int32()).buffers()[1]
        text = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xff")])
        maps = pa.array([[("a", 1)], [("b", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))
        for odd, fault in ((text, "is string, which row 1"), (maps, "has in row 1 (the first is 0) a map")):
            series = pd.Series(pd.arrays.ArrowExtensionArray(odd))
            assert fault in refusal(pd.DataFrame({"event_timestamp": [NOON, NOON], "odd": series}))

    def test_a_type_that_pyarrow_lacks_is_named(self) -> None:
        frame = pl.DataFrame({"event_timestamp": [NOON], "odd": pl.Series([1], dtype=pl.Int128)})
        message = refusal(frame)
        assert "polars.dataframe.frame.DataFrame" in message
        assert "odd (Int128)" in message

    def test_objects_of_polars_are_refused(self) -> None:
        frame = pl.DataFrame({"event_timestamp": [NOON], "odd": pl.Series([object()], dtype=pl.Object)})
        assert refusal(frame).startswith("entity_df column 'odd' is Object in Polars, ")

    def test_uuids_of_arrow_are_their_text(self) -> None:
        key = uuid.UUID("6f1c0d1e-3f5b-4a52-9f5e-0c8a0a3f9b11")
        keys = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([key.bytes, None], pa.binary(16)))
        rows = rows_of(pa.table({"event_timestamp": [NOON] * 2, "odd": keys}))
        assert rows.attach(FEATURES)["odd"].to_pylist() == [str(key), None]

    @pytest.mark.parametrize("values", [[7, 7], ["a", None]], ids=str)
    def test_runs_are_decoded(self, values: list[Any]) -> None:
        encoded = pc.run_end_encode(pa.array(values))
        rows = rows_of(pa.table({"event_timestamp": [NOON] * 2, "odd": encoded}))
        assert rows.attach(FEATURES)["odd"].equals(pa.chunked_array([pa.array(values)]))

    def test_a_type_that_pandas_lacks_is_named(self) -> None:
        union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
        message = refusal(pa.table({"event_timestamp": [NOON], "fine": [1], "odd": union}))
        assert message.startswith("entity_df column 'odd' is sparse_union<")


class TestOtherForms:
    def test_lazy_frames_are_named_with_what_to_call(self) -> None:
        message = refusal(pl.LazyFrame({"event_timestamp": [NOON]}))
        assert message.startswith("entity_df is a polars.lazyframe.frame.LazyFrame, ")
        assert message.endswith("give entity_df.collect().")

    @pytest.mark.parametrize(
        ("module", "call"), [("pyspark.pandas.frame", "to_spark"), ("dask.dataframe", "compute")]
    )
    def test_frames_elsewhere_are_named_with_what_to_call(self, module: str, call: str) -> None:
        stand_in = type("DataFrame", (), {"__module__": module, call: id, "__arrow_c_stream__": id})()
        message = refusal(stand_in)
        assert message.startswith(f"entity_df is a {module}.DataFrame, ")
        assert message.endswith(f"give entity_df.{call}().")

    def test_a_frame_of_dask_is_named_with_what_to_call(self) -> None:
        message = refusal(dask.dataframe.from_pandas(with_column([1]), npartitions=1))
        assert message.startswith("entity_df is a dask.dataframe.")
        assert message.endswith("give entity_df.compute().")

    def test_anything_else_is_named_in_full(self) -> None:
        assert refusal([1]).startswith("entity_df is a builtins.list, which exports no Arrow stream")


class TestColumnsThatCannotTravel:
    @pytest.mark.parametrize(
        ("values", "row", "shown"),
        [
            ([1, 2, "three"], 2, "'three'"),
            (["a", 2.5], 1, "2.5"),
            (["a", "\ud800"], 1, r"'\ud800'"),
            (pd.Series([1, 2**70], dtype=object), 1, str(2**70)),
            (pd.Series([1j], dtype=object), 0, "1j"),
        ],
        ids=["mixed", "text and number", "surrogate", "big", "complex objects"],
    )
    def test_the_first_bad_row_is_named(self, values: Any, row: int, shown: str) -> None:
        message = refusal(with_column(values))
        assert (
            f"entity_df column 'odd' holds values of no one type: row {row} (the first is 0) is {shown} " in message
        )
        message.encode()

    @pytest.mark.parametrize(
        ("values", "remedy"),
        [
            (pd.arrays.SparseArray([1, 0]), "to_dense"),
            (np.array([1j]), "real and imaginary"),
            (pd.period_range("2026-01", periods=1, freq="M"), "to_timestamp"),
            (pd.interval_range(0, 1), "left"),
        ],
        ids=["sparse", "complex", "period", "interval"],
    )
    def test_types_without_a_counterpart_are_refused(self, values: Any, remedy: str) -> None:
        message = refusal(with_column(values))
        assert message.startswith("entity_df column 'odd' is ")
        assert remedy in message

    @pytest.mark.parametrize("other", [np.datetime64("2026-11-01", "D"), "2026-11-01"], ids=str)
    def test_times_that_arrow_has_no_one_type_for_come_back_as_instants(self, other: Any) -> None:
        times = pd.Series([np.datetime64("2026-11-01T12:00", "ns"), other], dtype=object)
        rows = pd.DataFrame({"event_timestamp": times})
        back = rows_of(rows).attach(FEATURES)["event_timestamp"]
        assert back.to_pylist() == [NOON, datetime(2026, 11, 1, tzinfo=UTC)]
        assert rows["event_timestamp"].dtype == object

    def test_uuid_objects_are_their_text(self) -> None:
        key = uuid.UUID("6f1c0d1e-3f5b-4a52-9f5e-0c8a0a3f9b11")
        assert rows_of(with_column([key, None])).attach(FEATURES)["odd"].to_pylist() == [str(key), None]


class TestTextTimes:
    @pytest.mark.parametrize(
        "text",
        [
            "2026-11-01T12:00:00Z",
            "2026-11-01 12:00",
            "2026-11-01T12:00:00.0000009Z",
            "2026-11-01 21:00:00+09:00",
            "20261101T120000Z",
            "2026-11-01T07:00-05",
        ],
    )
    def test_iso_8601_is_taken(self, text: str) -> None:
        assert micros([text]) == [MICROS]

    @pytest.mark.parametrize(
        "text", ["11/01/2026", "1 Nov 2026", "2026/11/01", "now", "2026-13-01", "1793534400", "", "2026-11"]
    )
    def test_other_text_is_refused_with_its_row(self, text: str) -> None:
        message = refusal(pd.DataFrame({"event_timestamp": ["2026-11-01", text]}))
        assert message.startswith(
            f"entity_df column 'event_timestamp' does not hold times: row 1 (the first is 0) is {text!r}"
        )

    def test_text_of_arrow_is_read_alike(self) -> None:
        assert rows_of(pa.table({"event_timestamp": ["2026-11-01T12:00:00Z", None]})).bounds() == (NOON, NOON)
        assert "row 0" in refusal(pa.table({"event_timestamp": ["01.11.2026"]}))

    def test_years_beyond_those_of_python_are_kept(self) -> None:
        rows = rows_of(pd.DataFrame({"event_timestamp": np.array(["12975-01-01", "0001-01-01"], "datetime64[s]")}))
        assert rows.bounds() is None
        assert rows.times.view(pa.int64()).to_pylist() == [347_284_281_600_000_000, -62_135_596_800_000_000]

    def test_a_time_beyond_64_bits_is_refused(self) -> None:
        message = refusal(pd.DataFrame({"event_timestamp": np.array([0, 2**60], "datetime64[s]")}))
        assert "column 'event_timestamp' has in row 1 (the first is 0) a time that microseconds" in message
