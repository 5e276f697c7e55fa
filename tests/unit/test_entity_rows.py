"""Entity rows in a pandas frame: the time column, its bounds, and what of the rows travels to Spark."""

from __future__ import annotations

import decimal
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval import pandas_join
from feast_hybrid.retrieval.entity_rows import pick_timestamp
from feast_hybrid.retrieval.pandas_rows import PandasRows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Session:
    """Takes the place of a Spark session: what would travel is given back."""

    def createDataFrame(self, table: pa.Table) -> pa.Table:  # Spark's name
        return table


SPARK = cast("SparkSession", Session())


def frame(times: Any = (NOON, NOON), **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"event_timestamp": times, **columns})


def numbered(rows: pd.DataFrame, *keys: str) -> pa.Table:
    return cast("pa.Table", pandas_join.numbered(PandasRows.of(rows), SPARK, keys))


def key(values: Any) -> pa.Array:
    column = numbered(frame([NOON] * len(values), k=values), "k")["k"]
    return column.combine_chunks()


def times(values: Any) -> list[int]:
    """The times that would travel, in microseconds."""
    column = numbered(frame(values))["event_timestamp"]
    assert column.type == pa.timestamp("us", tz="UTC")
    return cast("list[int]", column.cast(pa.int64()).to_pylist())


def refusal(rows: pd.DataFrame, *keys: str) -> str:
    with pytest.raises(EntityFrameError) as refused:
        numbered(rows, *keys)
    return str(refused.value)


class TestTimeColumn:
    @pytest.mark.parametrize(
        ("names", "of_time_type", "picked"),
        [
            (["k", "event_timestamp"], [], "event_timestamp"),
            (["event_timestamp", "t", "u"], ["t", "u"], "event_timestamp"),
            (["k", "t"], ["t"], "t"),
        ],
    )
    def test_it_is_event_timestamp_or_the_only_one_of_a_time_type(
        self, names: list[str], of_time_type: list[str], picked: str
    ) -> None:
        assert pick_timestamp(names, of_time_type) == picked

    @pytest.mark.parametrize(
        ("of_time_type", "found"), [([], "no time column"), (["t", "u"], "several time columns (t, u)")]
    )
    def test_otherwise_it_has_to_be_named(self, of_time_type: list[str], found: str) -> None:
        with pytest.raises(EntityFrameError) as refused:
            pick_timestamp(["t", "u"], of_time_type)
        assert str(refused.value) == f"entity_df has {found}; name the one to join on 'event_timestamp'."

    @pytest.mark.parametrize(
        "values",
        [
            pd.to_datetime(["2024-01-01 12:00"]),
            pd.to_datetime(["2024-01-01 12:00"]).tz_localize("UTC"),
            pd.to_datetime(["2024-01-01 21:00"]).tz_localize("Asia/Tokyo"),
            pd.Series(["2024-01-01 12:00"], dtype="datetime64[s]"),
        ],
    )
    def test_any_column_of_a_time_type_will_do(self, values: Any) -> None:
        rows = PandasRows.of(pd.DataFrame({"k": [1], "seen_at": values}))
        assert (rows.timestamp, rows.bounds()) == ("seen_at", (NOON, NOON))

    @pytest.mark.parametrize("unit", ["us, tz=UTC", "ns, tz=Asia/Tokyo", "s", "ns"])
    def test_a_column_of_arrows_time_type_will_do(self, unit: str) -> None:
        naive = NOON if "tz" in unit else NOON.replace(tzinfo=None)
        rows = PandasRows.of(
            pd.DataFrame({"k": [1], "seen_at": pd.Series([naive], dtype=f"timestamp[{unit}][pyarrow]")})
        )
        assert (rows.timestamp, rows.bounds()) == ("seen_at", (NOON, NOON))
        assert cast("pa.Table", pandas_join.numbered(rows, SPARK, ["k"]))["seen_at"].to_pylist() == [NOON]

    def test_names_must_differ(self) -> None:
        twice = pd.DataFrame([[NOON, 1, 2]], columns=["event_timestamp", "k", "k"])
        assert refusal(twice) == "entity_df has several columns named k; names must differ."

    def test_names_must_differ_also_as_text(self) -> None:
        twice = pd.DataFrame([[NOON, 1, 2]], columns=["event_timestamp", 1, "1"])
        assert refusal(twice) == "entity_df has several columns named 1; names must differ."

    def test_names_become_text(self) -> None:
        rows = PandasRows.of(pd.DataFrame([[NOON, 7]], columns=["event_timestamp", 1]))
        assert rows.columns == ["event_timestamp", "1"]

    def test_names_of_several_levels_are_refused(self) -> None:
        names = pd.MultiIndex.from_tuples([("event_timestamp", ""), ("k", "x")])
        message = refusal(pd.DataFrame([[NOON, 1]], columns=names), "k")
        assert message.startswith("entity_df has column names of 2 levels; give each column one name")


class TestTimes:
    @pytest.mark.parametrize(
        "values",
        [
            [datetime(2024, 1, 1, 12)],
            [NOON],
            [datetime(2024, 1, 1, 21, tzinfo=timezone(timedelta(hours=9)))],
            [pd.Timestamp("2024-01-01 13:00", tz="Europe/Zurich")],
            ["2024-01-01T12:00:00Z"],
            ["2024-01-01 12:00:00"],
            pd.Series([NOON], dtype="timestamp[us, tz=UTC][pyarrow]"),
            pd.Series([datetime(2024, 1, 1, 12)], dtype="datetime64[ms]"),
        ],
        ids=str,
    )
    def test_they_are_instants_and_naive_ones_are_utc(self, values: Any) -> None:
        assert times(values) == [1_704_110_400_000_000]

    def test_zones_may_be_mixed(self) -> None:
        mixed = pd.Series(
            [NOON, datetime(2024, 1, 1, 12), pd.Timestamp("2024-01-01 21:00", tz="Asia/Tokyo")], dtype=object
        )
        assert times(mixed) == [1_704_110_400_000_000] * 3

    def test_a_date_is_its_midnight_in_utc(self) -> None:
        assert times([date(2024, 1, 1)]) == [1_704_067_200_000_000]

    @pytest.mark.parametrize(
        ("nanoseconds", "microseconds"),
        [(1_999, 1), (1_000, 1), (999, 0), (0, 0), (-1, -1), (-999, -1), (-1_000, -1), (-1_001, -2)],
    )
    def test_nanoseconds_are_floored_before_and_after_1970(self, nanoseconds: int, microseconds: int) -> None:
        assert times(np.array([nanoseconds], dtype="datetime64[ns]")) == [microseconds]

    def test_a_missing_time_travels_as_null(self) -> None:
        assert times([pd.NaT, NOON])[0] is None

    @pytest.mark.parametrize(
        "values", [["yesterday"], [[1]], [True], pd.period_range("2024-01", periods=1, freq="M")], ids=str
    )
    def test_what_is_no_time_is_refused(self, values: Any) -> None:
        assert refusal(frame(values)).startswith("entity_df column 'event_timestamp' does not hold times: ")

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([1_704_110_400], "int64"),
            ([1_704_110_400.0, None], "float64"),
            (pd.Series([1_704_110_400, None], dtype="Int64"), "Int64"),
            (pd.Series([1_704_110_400], dtype="int64[pyarrow]"), "int64[pyarrow]"),
            (pd.Series([NOON, 1_704_110_400], dtype=object), "object"),
            ([decimal.Decimal(1_704_110_400)], "object"),
            (pd.Categorical([1_704_110_400]), "category"),
            ([True], "bool"),
        ],
        ids=str,
    )
    def test_numbers_are_refused_since_they_do_not_say_their_unit(self, values: Any, dtype: str) -> None:
        assert refusal(frame(values)) == (
            f"entity_df column 'event_timestamp' does not hold times: it has numbers (dtype {dtype}), which do not "
            "say their unit. Turn them into times first, such as by "
            "pd.to_datetime(entity_df['event_timestamp'], unit='s', utc=True)."
        )

    def test_only_the_column_that_is_joined_on_must_hold_times(self) -> None:
        rows = pd.DataFrame({"event_timestamp": [NOON], "seen_at": [1_704_110_400]})
        assert PandasRows.of(rows).bounds() == (NOON, NOON)

    @pytest.mark.parametrize("dtype", ["float64", "object", "datetime64[ns]"])
    def test_a_column_without_any_value_is_of_no_times(self, dtype: str) -> None:
        assert PandasRows.of(frame(pd.Series([None, None], dtype=dtype))).bounds() is None


class TestBounds:
    def test_they_are_the_first_and_the_last_time(self) -> None:
        rows = PandasRows.of(frame([NOON + timedelta(hours=1), NOON, pd.NaT]))
        assert rows.bounds() == (NOON, NOON + timedelta(hours=1))

    def test_they_are_in_utc(self) -> None:
        rows = PandasRows.of(frame([pd.Timestamp("2024-01-01 21:00", tz="Asia/Tokyo")]))
        low, high = rows.bounds() or (None, None)
        assert low == high == NOON
        assert low is not None
        assert low.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("none", [pd.Series([], dtype="datetime64[ns]"), [pd.NaT]])
    def test_without_a_time_there_are_none(self, none: Any) -> None:
        assert PandasRows.of(frame(none)).bounds() is None

    def test_they_are_floored_as_the_times_that_travel_are(self) -> None:
        values = np.array([-1, 1_999], dtype="datetime64[ns]")
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        first, last = (epoch + timedelta(microseconds=micros) for micros in times(values))
        assert PandasRows.of(frame(values)).bounds() == (first, last)


class TestKeys:
    @pytest.mark.parametrize(
        ("values", "data_type", "travels"),
        [
            ([1, 2], pa.int64(), [1, 2]),
            (np.array([1], dtype="int8"), pa.int8(), [1]),
            ([1.0, np.nan, 3.0], pa.int64(), [1, None, 3]),
            (np.array([1, np.nan], dtype="float32"), pa.int64(), [1, None]),
            (np.array([1.0], dtype="float16"), pa.int64(), [1]),
            ([-0.0], pa.int64(), [0]),
            ([np.nan], pa.int64(), [None]),
            ([1.5, np.nan], pa.float64(), [1.5, None]),
            ([np.inf, 1.0], pa.float64(), [np.inf, 1.0]),
            ([2.0**53], pa.float64(), [2.0**53]),
            ([2.0**53 - 1], pa.int64(), [2**53 - 1]),
            (pd.Series([1, None], dtype="Int64"), pa.int64(), [1, None]),
            (pd.Series([1, None], dtype="Float64"), pa.int64(), [1, None]),
            (pd.Series([1, None], dtype="int32[pyarrow]"), pa.int32(), [1, None]),
            (np.array([255], dtype="uint8"), pa.int16(), [255]),
            (np.array([65535], dtype="uint16"), pa.int32(), [65535]),
            (np.array([2**32 - 1], dtype="uint32"), pa.int64(), [2**32 - 1]),
            (np.array([2**64 - 1], dtype="uint64"), pa.decimal128(20, 0), [decimal.Decimal(2**64 - 1)]),
            (["a", None], pa.string(), ["a", None]),
            (pd.Series(["a"], dtype="string"), pa.string(), ["a"]),
            (pd.Series(["a"], dtype="large_string[pyarrow]"), pa.string(), ["a"]),
            (pd.Categorical(["b", None, "a"]), pa.string(), ["b", None, "a"]),
            (pd.Categorical([2.0, None]), pa.int64(), [2, None]),
            ([True, None], pa.bool_(), [True, None]),
            ([date(2024, 1, 1)], pa.date32(), [date(2024, 1, 1)]),
            ([b"\x00"], pa.binary(), [b"\x00"]),
            ([decimal.Decimal("1.50")], pa.decimal128(3, 2), [decimal.Decimal("1.50")]),
        ],
        ids=str,
    )
    def test_they_travel_in_a_type_that_spark_can_compare(
        self, values: Any, data_type: pa.DataType, travels: Any
    ) -> None:
        array = key(values)
        assert (array.type, array.to_pylist()) == (data_type, travels)

    @pytest.mark.parametrize("values", [[1, "a"], [{"a": 1}, 1]], ids=str)
    def test_values_of_several_types_are_refused_naming_the_column(self, values: list[Any]) -> None:
        message = refusal(frame([NOON] * len(values), k=values), "k")
        assert message.startswith("entity_df column 'k' holds values of no one type: ")

    def test_one_that_is_missing_is_named_with_those_there_are(self) -> None:
        assert refusal(frame(a=[1, 2]), "a", "b", "c") == (
            "entity_df lacks the join keys b, c; it has event_timestamp, a."
        )

    def test_only_keys_time_and_row_numbers_travel(self) -> None:
        table = numbered(frame(k=[7, 8], other=["x", "y"], more=[1, 2]), "k")
        number, *others = table.column_names
        assert others == ["k", "event_timestamp"]
        assert table[number].to_pylist() == [0, 1]

    def test_the_time_itself_may_be_a_key(self) -> None:
        assert numbered(frame(), "event_timestamp").column_names[1:] == ["event_timestamp"]

    def test_the_index_plays_no_part(self) -> None:
        rows = frame(k=[7, 8])
        rows.index = pd.Index([5, 5])
        table = numbered(rows, "k")
        assert (table[0].to_pylist(), table["k"].to_pylist()) == ([0, 1], [7, 8])

    def test_the_row_numbers_take_no_other_columns_name(self) -> None:
        names = {numbered(frame()).column_names[0] for _ in range(3)}
        assert len(names) == 3
        assert "__fh_row" not in names


class TestFull:
    def full(self, rows: pd.DataFrame) -> pa.Table:
        return cast("pa.Table", pandas_join.full(PandasRows.of(rows), SPARK))

    def test_all_columns_travel_in_their_order(self) -> None:
        rows = pd.DataFrame({"b": [1], "event_timestamp": [NOON], "a": ["x"]})
        assert self.full(rows).column_names == ["b", "event_timestamp", "a"]

    def test_a_float_stays_a_float_where_it_is_no_key(self) -> None:
        assert self.full(frame([NOON], a=[1.0]))["a"].type == pa.float64()

    def test_times_of_the_day_have_no_type_in_spark(self) -> None:
        rows = frame([NOON], odd=[time(7, 30)])
        with pytest.raises(EntityFrameError, match=r"^entity_df column 'odd' is time64\[us\], .* to_arrow"):
            self.full(rows)
        assert PandasRows.of(rows).attach(pa.table({"f": [1]}))["odd"].to_pylist() == [time(7, 30)]
        assert refusal(rows, "odd").startswith("entity_df column 'odd' is time64[us], which no join key can be")

    @pytest.mark.parametrize("nanoseconds", [-1, 1_999])
    def test_other_times_are_floored_too_and_keep_their_zone(self, nanoseconds: int) -> None:
        other = (
            pd.Series(np.array([nanoseconds], dtype="datetime64[ns]"))
            .dt.tz_localize("UTC")
            .dt.tz_convert("Asia/Tokyo")
        )
        column = self.full(frame([NOON], other=other))["other"]
        assert column.type == pa.timestamp("us", tz="Asia/Tokyo")
        assert column.cast(pa.int64()).to_pylist() == [nanoseconds // 1_000]


class TestAttach:
    FEATURES = pa.table({"f": ["a", "b", "c"]})

    def test_answers_are_put_beside_the_rows_they_belong_to(self) -> None:
        rows = PandasRows.of(frame([NOON] * 3, k=[7, 8, 9]))
        table = rows.attach(self.FEATURES)
        assert table.select(["k", "f"]).to_pylist() == [{"k": 7, "f": "a"}, {"k": 8, "f": "b"}, {"k": 9, "f": "c"}]

    def test_entity_columns_come_back_as_they_went_in(self) -> None:
        given = frame(
            np.array([1, -1, 1_999], dtype="datetime64[ns]"),
            k=pd.Categorical(["x", None, "y"]),
            u=np.array([1, 2, 2**64 - 1], dtype="uint64"),
            gaps=[1.0, np.nan, 3.0],
        )
        given.index = pd.Index([3, 3, 1])
        back = PandasRows.of(given).attach(self.FEATURES).to_pandas().drop(columns="f")
        pd.testing.assert_frame_equal(back, given.reset_index(drop=True))

    def test_a_feature_named_as_an_entity_column_is_put_beside_it(self) -> None:
        features = self.FEATURES.rename_columns(["k"])
        assert PandasRows.of(frame([NOON] * 3, k=[1, 2, 3])).attach(features).column_names == [
            "event_timestamp",
            "k",
            "k",
        ]

    def test_a_column_that_arrow_cannot_hold_is_refused(self) -> None:
        with pytest.raises(EntityFrameError, match=r"entity_df column 'k' .* row 1 \(the first is 0\) is 'a'"):
            PandasRows.of(frame([NOON] * 3, k=[1, "a", object()]))

    @pytest.mark.parametrize("rows", [2, 4])
    def test_a_row_too_many_or_too_few_is_our_fault(self, rows: int) -> None:
        with pytest.raises(AssertionError, match=f"{rows} entity rows have 3 answers"):
            PandasRows.of(frame([NOON] * rows)).attach(self.FEATURES)


def test_the_callers_frame_is_never_changed() -> None:
    given = pd.DataFrame(
        {
            "event_timestamp": np.array([-1, 5], dtype="datetime64[ns]"),
            1: [1.0, np.nan],
            "c": pd.Categorical(["a", "b"]),
        }
    )
    given.index = pd.Index([4, 2])
    before = given.copy(deep=True)
    rows = PandasRows.of(given)
    rows.bounds()
    pandas_join.numbered(rows, SPARK, ["1", "c"])
    pandas_join.full(rows, SPARK)
    rows.attach(pa.table({"f": [1, 2]}))
    pd.testing.assert_frame_equal(given, before)
