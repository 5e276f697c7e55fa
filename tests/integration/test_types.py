"""Every value type of Feast, from files on either lake to training sets and online values, and both the same."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast import types as ft

from tests.integration.faulty import MINUTES
from tests.integration.places import Place, Places, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from tests.integration.conftest import MakeStore, Write

pytestmark = pytest.mark.connect

INSTANT, NAIVE = pa.timestamp("us", tz="UTC"), pa.timestamp("us")
T1, T2 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)
N1, N2 = T1.replace(tzinfo=None), T2.replace(tzinfo=None)
ID1, ID2 = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-4000-8000-000000000001"
ID3 = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
STRUCT = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])
NESTED = pa.struct([("m", pa.map_(pa.string(), pa.int64())), ("l", pa.list_(pa.struct([("x", pa.int64())])))])


class FeatureType(NamedTuple):
    """A column of three rows: two values and a null.

    Attributes:
        arrow: its type in the file.
        first, second: the values.
        declared: the type in the feature view's schema.
        inferred: the type that ``feast apply`` infers; the declared one by default.
    """

    arrow: pa.DataType
    first: Any
    second: Any
    declared: Any
    inferred: Any = None


def lists(
    name: str, arrow: pa.DataType, one: Any, two: Any, declared: Any, inferred: Any = None
) -> dict[str, FeatureType]:
    """A type by itself, in lists and in sets."""
    inferred = inferred or declared
    many = pa.list_(arrow)
    return {
        name: FeatureType(arrow, one, two, declared, inferred),
        f"{name}_list": FeatureType(many, [one, two, one], [], ft.Array(declared), ft.Array(inferred)),
        f"{name}_set": FeatureType(many, [one, two], [], ft.Set(declared), ft.Array(inferred)),
    }


TYPES = {
    **lists("int32", pa.int32(), 2**31 - 1, -1, ft.Int32),
    **lists("int64", pa.int64(), 2**53, 0, ft.Int64),
    **lists("float32", pa.float32(), 1.5, 0.0, ft.Float32),
    **lists("float64", pa.float64(), 0.1, -1e300, ft.Float64),
    **lists("bool", pa.bool_(), True, False, ft.Bool),
    **lists("text", pa.string(), "a'b`c", "", ft.String),
    **lists("bytes", pa.binary(), b"\x00\xff", b"", ft.Bytes),
    **lists("instant", INSTANT, T1, T2, ft.UnixTimestamp),
    **lists("naive", NAIVE, N1, N2, ft.UnixTimestamp),
    **lists("decimal", pa.decimal128(10, 2), Decimal("12345678.90"), Decimal("-0.01"), ft.Decimal),
    **lists("uuid", pa.string(), ID2, ID1, ft.Uuid, ft.String),
    **lists("time_uuid", pa.string(), ID1, ID3, ft.TimeUuid, ft.String),
    "day": FeatureType(pa.date32(), date(2026, 1, 2), date(1969, 12, 31), ft.UnixTimestamp),
    "days": FeatureType(pa.list_(pa.date32()), [date(2026, 1, 2)], [], ft.Array(ft.UnixTimestamp)),
    "small": FeatureType(pa.int8(), 127, -128, ft.Int32),
    "pdf": FeatureType(pa.binary(), b"%PDF", b"", ft.PdfBytes, ft.Bytes),
    "image": FeatureType(pa.binary(), b"GIF8", b"", ft.ImageBytes, ft.Bytes),
    "json": FeatureType(pa.string(), '{"a": [1, null]}', "[]", ft.Json, ft.String),
    "jsons": FeatureType(pa.list_(pa.string()), ['{"a": 1}', "2"], [], ft.Array(ft.Json), ft.Array(ft.String)),
    "texts": FeatureType(pa.map_(pa.string(), pa.string()), [("k", "v"), ("é", "")], [], ft.Map),
    "numbers": FeatureType(pa.map_(pa.string(), pa.float64()), [("k", 0.1), ("l", None)], [], ft.Map),
    "maps": FeatureType(pa.list_(pa.map_(pa.string(), pa.int64())), [[("k", 1)], []], [], ft.Array(ft.Map)),
    "struct": FeatureType(
        STRUCT,
        {"a": 1, "b": ["x"]},
        {"a": None, "b": ["y", "z"]},
        ft.Struct({"a": ft.Int64, "b": ft.Array(ft.String)}),
        ft.Struct({"_value": ft.String}),
    ),
    "nested": FeatureType(
        NESTED,
        {"m": [("k", 1)], "l": [{"x": 1}, {"x": None}]},
        {"m": [], "l": [{"x": 4}]},
        ft.Struct({"m": ft.Map, "l": ft.Array(ft.Struct({"x": ft.Int64}))}),
        ft.Struct({"_value": ft.String}),
    ),
    "structs": FeatureType(
        pa.list_(STRUCT),
        [{"a": 1, "b": ["x"]}],
        [],
        ft.Array(ft.Struct({"a": ft.Int64, "b": ft.Array(ft.String)})),
        ft.Array(ft.Struct({"_value": ft.String})),
    ),
    "matrix": FeatureType(
        pa.list_(pa.list_(pa.int64())), [[1, 2], [3]], [], ft.Array(ft.Array(ft.Int64)), ft.Array(ft.Array(ft.String))
    ),
    "groups": FeatureType(
        pa.list_(pa.list_(pa.string())),
        [["a"], ["b"]],
        [],
        ft.Set(ft.Array(ft.String)),
        ft.Array(ft.Array(ft.String)),
    ),
}

#: Types that Feast has for training sets alone: its conversion to online values takes no Arrow column for them.
OFFLINE_ONLY = {
    "scalar_map": FeatureType(pa.map_(pa.int64(), pa.string()), [(1, "a")], [], ft.ScalarMap, ft.Map),
    "zoned": FeatureType(INSTANT, T1, T2, ft.ZonedTimestamp, ft.UnixTimestamp),
}

KEY = entity("k")
ROWS = pd.DataFrame({"k": [3, 1, 2], "event_timestamp": [hour(1)] * 3})


def column(feature_type: FeatureType) -> pa.Array:
    return pa.array([feature_type.first, feature_type.second, None], feature_type.arrow)


def plain(value: Any) -> Any:
    """A value in Python's own types, times in UTC, wherever it came from."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, (np.datetime64, pd.Timestamp)):
        value = None if pd.isna(value) else pd.Timestamp(value).to_pydatetime()
    if isinstance(value, (np.generic, bytearray)):
        value = value.item() if isinstance(value, np.generic) else bytes(value)
    if value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if hasattr(value, "asDict"):
        value = value.asDict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [plain(item) for item in value]
        return dict(items) if items and all(isinstance(item, tuple) for item in items) else items
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def without_emptiness(value: Any) -> Any:
    """An empty map and an empty list look the same where a map is a list of pairs."""
    if isinstance(value, dict):
        return {key: without_emptiness(item) for key, item in value.items()} or []
    return [without_emptiness(item) for item in value] if isinstance(value, list) else value


def expected(feature_type: FeatureType) -> list[Any]:
    """The values in the order of the entity rows."""
    return [None, *(without_emptiness(plain(value)) for value in column(feature_type).to_pylist()[:2])]


def as_online(name: str, values: list[Any]) -> list[Any]:
    """What Feast makes of a value when it serves it."""
    if name.endswith("_set"):
        values = [None if value is None else sorted(value, key=repr) for value in values]
    if name.startswith("json"):
        texts = [json.loads(value) if isinstance(value, str) else value for value in values]
        return [[json.loads(item) for item in value] if name == "jsons" and value else value for value in texts]
    return values


def served(name: str, values: list[Any]) -> list[Any]:
    def simple(value: Any) -> Any:
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, (list, set)):
            items = [simple(item) for item in value]
            return sorted(items, key=repr) if name.endswith("_set") else items
        return value

    return [without_emptiness(plain(simple(value))) for value in values]


@pytest.mark.parametrize(
    ("schema", "role"),
    [
        ("inferred", "onprem"),
        ("inferred", "cloud"),
        pytest.param("declared", "onprem", marks=MINUTES),
        ("declared", "cloud"),
    ],
)
def test_a_value_is_the_same_in_the_file_in_a_training_set_and_online(
    make_store: MakeStore, write: Write, lakes_to_test: Places, role: str, schema: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    types = {**TYPES, **OFFLINE_ONLY}
    times = {"k": [1, 2, 3], "event_timestamp": [hour(0)] * 3}
    uri = write(
        place, "wide", pa.table({**times, **{name: column(feature_type) for name, feature_type in types.items()}})
    )
    # The second view takes what the first one leaves: Feast infers all columns, or those that are declared.
    wide = source("wide_source", uri)
    if schema == "declared":
        features = {name: [Field(name=name, dtype=feature_type.declared)] for name, feature_type in types.items()}
        views = [
            view("wide", wide, KEY, schema=[field for name in TYPES for field in features[name]]),
            view("offline", wide, KEY, schema=[field for name in OFFLINE_ONLY for field in features[name]]),
        ]
        store = make_store(KEY, *views)
        names = list(TYPES)
    else:
        store = make_store(KEY, view("all", wide, KEY))
        found = {feature.name: feature.dtype for feature in store.get_feature_view("all").features}
        assert {name: str(dtype) for name, dtype in found.items()} == {
            name: str(feature_type.inferred or feature_type.declared) for name, feature_type in types.items()
        }
        return
    references = [f"wide:{name}" for name in names] + [f"offline:{name}" for name in OFFLINE_ONLY]
    job = retrieve(store, ROWS, references)
    arrow, pandas = job.to_arrow(), job.to_df()
    spark = {row["k"]: row for row in job.to_spark_df().collect()}
    for name, feature_type in types.items():
        want = expected(feature_type)
        assert [without_emptiness(plain(value)) for value in arrow[name].to_pylist()] == want, f"Arrow: {name}"
        assert [without_emptiness(plain(value)) for value in pandas[name]] == want, f"pandas: {name}"
        assert [without_emptiness(plain(spark[k][name])) for k in ROWS["k"]] == want, f"Spark: {name}"

    store.materialize(hour(-1), hour(1), feature_views=["wide"])
    online = store.get_online_features([f"wide:{name}" for name in names], [{"k": k} for k in ROWS["k"]]).to_dict()
    for name in names:
        assert served(name, online[name]) == as_online(name, expected(TYPES[name])), f"online: {name}"
