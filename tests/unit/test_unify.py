"""Which type a column has that files hold in several, and for which one may be declared."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from itertools import permutations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.unify import (
    ConflictsWithDeclaredError,
    NoCommonTypeError,
    resolve_type,
    spark_form,
    unify,
)
from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError

NAIVE = pa.timestamp("us")


def struct(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


class TestSparkForm:
    @pytest.mark.parametrize(
        ("found", "form"),
        [
            (pa.uint8(), pa.int16()),
            (pa.uint32(), pa.int64()),
            (pa.uint64(), pa.decimal128(20, 0)),
            (pa.float16(), pa.float32()),
            (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
            (pa.large_binary(), pa.binary()),
            (pa.binary(16), pa.binary()),
            (pa.date64(), pa.date32()),
            (pa.timestamp("ns"), NAIVE),
            (pa.timestamp("s", tz="Asia/Tokyo"), INSTANT),
            (pa.bool8(), pa.int8()),
            (pa.large_list(pa.uint16()), pa.list_(pa.field("element", pa.int32()))),
            (pa.list_(pa.float32(), 3), pa.list_(pa.field("element", pa.float32()))),
            (pa.map_(pa.string(), pa.timestamp("ms")), pa.map_(pa.string(), NAIVE)),
            (struct(a=pa.large_string()), struct(a=pa.string())),
        ],
        ids=str,
    )
    def test_it_is_what_spark_has(self, found: pa.DataType, form: pa.DataType) -> None:
        assert spark_form(found) == form
        assert spark_form(form) == form

    def test_a_naive_time_is_an_instant_where_that_is_known(self) -> None:
        assert spark_form(pa.list_(pa.timestamp("ns")), naive_is_instant=True).value_type == INSTANT

    @pytest.mark.parametrize(
        "found",
        [
            pa.time64("us"),
            pa.decimal256(39, 0),
            pa.uuid(),
            pa.month_day_nano_interval(),
            pa.struct([]),
            struct(a=pa.int8(), A=pa.int8()),
            pa.list_(pa.time32("s")),
            pa.dense_union([pa.field("a", pa.int8())]),
        ],
        ids=str,
    )
    def test_what_spark_has_not_is_refused(self, found: pa.DataType) -> None:
        with pytest.raises(SchemaError):
            spark_form(found)


class TestUnify:
    @pytest.mark.parametrize(
        ("left", "right", "united"),
        [
            (pa.int8(), pa.int64(), pa.int64()),
            (pa.float32(), pa.float64(), pa.float64()),
            (pa.int16(), pa.float32(), pa.float32()),
            (pa.int32(), pa.float32(), pa.float64()),
            (pa.int64(), pa.float64(), pa.float64()),
            (pa.decimal128(5, 2), pa.decimal128(6, 0), pa.decimal128(8, 2)),
            (pa.int32(), pa.decimal128(4, 2), pa.decimal128(12, 2)),
            (pa.date32(), INSTANT, INSTANT),
            (pa.date32(), NAIVE, INSTANT),
            (NAIVE, INSTANT, INSTANT),
            (pa.null(), pa.string(), pa.string()),
            (pa.list_(pa.int8()), pa.list_(pa.int32()), pa.list_(pa.int32())),
            (struct(a=pa.int8()), struct(A=pa.int16(), b=pa.string()), struct(a=pa.int16(), b=pa.string())),
            (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.float64()), pa.map_(pa.string(), pa.float64())),
        ],
        ids=str,
    )
    def test_the_smallest_type_that_holds_both(
        self, left: pa.DataType, right: pa.DataType, united: pa.DataType
    ) -> None:
        assert unify(spark_form(left), spark_form(right)) == spark_form(united)

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (pa.string(), pa.int64()),
            (pa.string(), pa.binary()),
            (pa.bool_(), pa.int8()),
            (pa.float64(), pa.decimal128(5, 2)),
            (pa.decimal128(38, 0), pa.decimal128(38, 2)),
            (pa.int64(), pa.decimal128(38, 30)),
            (pa.date32(), pa.string()),
            (pa.list_(pa.int8()), pa.int8()),
            (pa.duration("ms"), pa.duration("us")),
            (pa.duration("ns"), pa.int64()),
            (pa.list_(pa.duration("s")), pa.list_(pa.int64())),
        ],
        ids=str,
    )
    def test_nothing_holds_both(self, left: pa.DataType, right: pa.DataType) -> None:
        for pair in ((left, right), (right, left)):
            with pytest.raises(NoCommonTypeError):
                unify(*map(spark_form, pair))

    def test_the_part_is_named(self) -> None:
        left, right = (struct(rows=pa.list_(struct(price=inner))) for inner in (pa.string(), pa.int8()))
        with pytest.raises(NoCommonTypeError) as error:
            unify(spark_form(left), spark_form(right))
        assert error.value.path == ".rows[].price"
        assert {error.value.left, error.value.right} == {pa.string(), pa.int8()}


class TestDeclared:
    @pytest.mark.parametrize(
        ("found", "declared", "resolved"),
        [
            ([], pa.string(), pa.string()),
            ([], None, pa.int32()),
            ([pa.null()], pa.float32(), pa.float32()),
            ([pa.null()], pa.list_(pa.string()), pa.list_(pa.string())),
            ([pa.list_(pa.null())], pa.list_(pa.string()), pa.list_(pa.string())),
            ([pa.list_(pa.null())], None, pa.list_(pa.int32())),
            # wider without a loss
            ([pa.int32()], pa.int64(), pa.int64()),
            ([pa.int32()], pa.float64(), pa.float64()),
            ([pa.float32()], pa.float64(), pa.float64()),
            ([pa.list_(pa.int32())], pa.list_(pa.int64()), pa.list_(pa.int64())),
            ([pa.duration("ms")], None, pa.int64()),
            ([pa.duration("ms")], pa.int64(), pa.int64()),
            ([pa.duration("us")], pa.decimal128(20, 0), pa.decimal128(20, 0)),
            ([struct(a=pa.list_(pa.duration("s")))], None, struct(a=pa.list_(pa.int64()))),
            # never narrower, nor by the values
            ([pa.int64()], pa.int32(), pa.int64()),
            ([pa.float64()], pa.float32(), pa.float64()),
            ([pa.int64()], pa.float64(), pa.int64()),
            ([pa.int32(), pa.int64()], pa.int32(), pa.int64()),
            ([pa.decimal128(9, 2)], pa.float64(), pa.decimal128(9, 2)),
            # what Feast has no type in Arrow for, or takes for another
            ([pa.int64()], pa.string(), pa.int64()),
            ([pa.int64()], INSTANT, pa.int64()),
            ([pa.date32()], INSTANT, pa.date32()),
            ([NAIVE], INSTANT, NAIVE),
            ([pa.string()], pa.map_(pa.string(), pa.string()), pa.string()),
            ([struct(a=pa.int8())], pa.string(), struct(a=pa.int8())),
            ([struct(a=pa.int8())], pa.map_(pa.string(), pa.string()), struct(a=pa.int8())),
            ([pa.string()], pa.decimal128(5, 2), pa.string()),
            ([pa.int64()], pa.time64("us"), pa.int64()),
            # it decides where files differ
            ([pa.int64(), pa.float64()], pa.int64(), pa.int64()),
            ([pa.float64(), pa.int32()], pa.int32(), pa.int32()),
            ([pa.int64(), pa.float64()], pa.int32(), pa.int64()),
            ([pa.float64()], pa.int64(), pa.int64()),
            ([pa.decimal128(5, 2)], pa.int32(), pa.int32()),
            ([pa.decimal128(5, 2), pa.int64()], pa.int64(), pa.int64()),
            ([pa.uint64()], pa.int64(), pa.decimal128(20, 0)),
            ([pa.list_(pa.float32())], pa.list_(pa.int64()), pa.list_(pa.int64())),
            ([pa.int64(), pa.float64()], pa.float32(), pa.float64()),
            ([pa.int64(), pa.string()], pa.string(), pa.string()),
            ([pa.uint64(), pa.string(), pa.binary()], pa.string(), pa.string()),
            ([pa.string(), pa.binary()], pa.binary(), pa.binary()),
            ([pa.binary(2)], pa.string(), pa.string()),
            ([pa.list_(pa.int64()), pa.list_(pa.float64())], pa.list_(pa.int64()), pa.list_(pa.int64())),
            (
                [struct(a=pa.int64()), struct(a=pa.string(), b=pa.null())],
                struct(a=pa.string(), b=pa.bool_()),
                struct(a=pa.string(), b=pa.bool_()),
            ),
            ([pa.date32(), NAIVE], INSTANT, INSTANT),
        ],
        ids=str,
    )
    def test_it_widens_and_decides(
        self, found: list[pa.DataType], declared: pa.DataType | None, resolved: pa.DataType
    ) -> None:
        for types in permutations(map(spark_form, found)):
            assert resolve_type(types, declared) == spark_form(resolved)

    @pytest.mark.parametrize(
        ("found", "declared", "path"),
        [
            (pa.string(), pa.int64(), ""),
            (pa.string(), pa.float32(), ""),
            (pa.int8(), pa.bool_(), ""),
            (pa.bool_(), pa.int64(), ""),
            (pa.bool_(), pa.float64(), ""),
            (pa.list_(pa.bool_()), pa.list_(pa.int32()), "[]"),
            (pa.string(), pa.bool_(), ""),
            (pa.string(), INSTANT, ""),
            (pa.string(), pa.list_(pa.string()), ""),
            (pa.int64(), pa.list_(pa.int64()), ""),
            (INSTANT, struct(a=INSTANT), ""),
            (INSTANT, pa.int64(), ""),
            (pa.float64(), INSTANT, ""),
            (pa.list_(pa.int8()), pa.int8(), ""),
            (pa.list_(pa.string()), pa.list_(pa.int64()), "[]"),
            (pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.int64()), "{value}"),
            (struct(a=pa.string()), struct(A=pa.int64()), ".a"),
        ],
        ids=str,
    )
    def test_what_cannot_be_meant_is_refused(self, found: pa.DataType, declared: pa.DataType, path: str) -> None:
        for others in ([], [pa.null()], [spark_form(found)]):
            with pytest.raises(ConflictsWithDeclaredError) as error:
                resolve_type([*others, spark_form(found)], declared)
            assert error.value.path == path

    def test_the_two_that_do_not_go_together_are_known(self) -> None:
        types = [pa.null(), pa.int8(), pa.int64(), pa.string(), pa.int32()]
        with pytest.raises(NoCommonTypeError) as error:
            resolve_type(types, None)
        assert error.value.positions == (1, 3)
        types = [pa.int64(), pa.string(), pa.bool_()]  # the first two are text as declared
        with pytest.raises(NoCommonTypeError) as error:
            resolve_type(types, pa.string())
        assert error.value.positions == (0, 2)


SCALARS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    **{
        width: st.integers(-(2 ** (width.bit_width - 1)), 2 ** (width.bit_width - 1) - 1)
        for width in (pa.int8(), pa.int16(), pa.int32())
    },
    pa.int64(): st.integers(-(2**53), 2**53),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.decimal128(5, 2): st.decimals(-999, 999, places=2),
    pa.decimal128(20, 0): st.decimals(-(10**20) + 1, 10**20 - 1, places=0),
    pa.string(): st.text(),
    pa.binary(): st.binary(),
    pa.date32(): st.dates(),
    NAIVE: st.datetimes(),
}
TYPES = st.recursive(
    st.sampled_from([*SCALARS, pa.null(), INSTANT]),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(lambda fields: struct(**fields)),
        inner.map(lambda value: pa.map_(pa.string(), value)),
    ),
    max_leaves=4,
).map(spark_form)


def united(*types: pa.DataType) -> pa.DataType | None:
    """The type that holds all, with the fields of structs sorted; None where there is none."""

    def by_name(data_type: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(data_type):
            fields = sorted(data_type, key=lambda field: field.name)
            return pa.struct([field.with_type(by_name(field.type)) for field in fields])
        if pa.types.is_list(data_type):
            return pa.list_(by_name(data_type.value_type))
        if pa.types.is_map(data_type):
            return pa.map_(by_name(data_type.key_type), by_name(data_type.item_type))
        return data_type

    try:
        first, *others = types
        for other in others:
            first = unify(first, other)
        return by_name(first)
    except NoCommonTypeError:
        return None


@given(TYPES, TYPES, TYPES)
def test_the_order_of_files_does_not_matter(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    assert united(a, b) == united(b, a)
    assert united(a, a) == united(a)
    assert len({str(united(*order)) for order in permutations([a, b, c])}) == 1


@given(st.data())
def test_the_type_of_two_holds_the_values_of_both(data: st.DataObject) -> None:
    left, right = (data.draw(st.sampled_from(list(SCALARS))) for _ in range(2))
    both = united(left, right)
    assume(both is not None)
    for data_type in (left, right):
        values = data.draw(st.lists(st.none() | SCALARS[data_type], max_size=3))
        found = pa.array(values, data_type)
        shown = convert_for_reading(found, both)
        assert shown.type == both
        if pa.types.is_date(data_type):
            assert shown.cast(NAIVE if shown.type != data_type else data_type).cast(pa.date32()) == found
        else:
            assert [plain(v) for v in shown.to_pylist()] == [plain(v) for v in found.to_pylist()]


def plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return Decimal(value) if isinstance(value, float) else value
