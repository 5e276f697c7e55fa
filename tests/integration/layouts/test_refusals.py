"""What cannot be read is one error in every verb: it names the view or the source, the file, and the column."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field
from feast.types import Array, Bool, Float64, Int64, Map, String, UnixTimestamp
from polars import selectors

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError, SchemaError, SourceError
from tests.integration.places import Place, Places, entity, feature_store, hour, retrieve, source, with_offline_store

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore

GOOD = {"k": [1], "event_timestamp": [hour(1)], "v": [10]}


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def orc(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pa.orc.write_table(pa.table(columns), sink)
    return sink.getvalue()


def avro(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    # Polars writes no times with a zone there; without one they are instants of Avro's.
    pl.DataFrame(columns).with_columns(selectors.datetime().dt.replace_time_zone(None)).write_avro(sink, name="row")
    return sink.getvalue()


def with_damaged_page() -> bytes:
    """A file whose footer is whole and whose columns' pages are not."""
    content = bytearray(parquet({"k": [1] * 1000, "event_timestamp": [hour(1)] * 1000, "v": list(range(1000))}))
    content[4:400] = b"\xff" * 396
    return bytes(content)


def without(name: str) -> bytes:
    return parquet({column: values for column, values in GOOD.items() if column != name})


def map_with_a_key_twice() -> pa.Array:
    return pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))


def text_that_is_no_utf8() -> pa.Array:
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"a\xff")])


CSV = b"k,event_timestamp,v\n1,2026-01-10T01:00:00Z,10\n"
JSON = b'{"k": 1, "event_timestamp": "2026-01-10T01:00:00Z", "v": 10}\n'
GOOD_FILES = {"parquet": parquet(GOOD), "orc": orc(GOOD), "csv": CSV, "json": JSON, "avro": avro(GOOD)}


@dataclass(frozen=True)
class Fault:
    """A folder that cannot be read.

    Attributes:
        files: beside one that can be, ``a``, or in its place.
        named: what the error has to name.
        error: its class.
        file_format: of the source.
        declared: the type of ``v``.
        at_apply: whether it can be seen without reading rows.
        each_lake: whether bytes are what is wrong, which each lake's client reads in its own way; of what is seen in
            footers and names one lake is asked.
        in_spark: whether Spark itself refuses it, where its frame is used.
    """

    files: dict[str, bytes]
    named: tuple[str, ...]
    error: type[HybridError] = SourceError
    file_format: str = "parquet"
    declared: Any = Int64
    at_apply: bool = True
    each_lake: bool = False
    in_spark: bool = True


def drifting(values: Any, *types: str) -> Fault:
    return Fault({"b.parquet": parquet({**GOOD, "v": values})}, ("b.parquet", "'v'", *types), SchemaError)


def declared(values: Any, data_type: Any, *types: str) -> Fault:
    files = {"a.parquet": parquet({**GOOD, "v": values})}
    return Fault(files, ("a.parquet", "'v'", *types), SchemaError, declared=data_type)


FAULTS = {
    # Types drift.
    "text and numbers": drifting(["x"], "int64", "string"),
    "a list and a number": drifting([[1]], "int64", "list"),
    "a flag and a number": drifting([True], "int64", "bool"),
    # Columns come and go.
    "no key": Fault({"b.parquet": without("k")}, ("b.parquet", "'k'"), SchemaError),
    "no event time": Fault(
        {"b.parquet": without("event_timestamp")}, ("b.parquet", "'event_timestamp'"), SchemaError
    ),
    "no key in ORC": Fault(
        {"b.orc": orc({n: GOOD[n] for n in ("v", "event_timestamp")})}, ("b.orc", "'k'"), SchemaError, "orc"
    ),
    # The declared type.
    "text declared as a number": declared(["x"], Int64, "string", "int64"),
    "a number declared as a list": declared([1], Array(Int64), "int64", "list"),
    "text declared as a time": declared(["x"], UnixTimestamp, "string", "timestamp"),
    "a flag declared as a number": declared([True], Int64, "bool", "int64"),
    "a number declared as a flag": declared([1], Bool, "int64", "bool"),
    "a fraction declared as a whole number": Fault(
        {"b.parquet": parquet({**GOOD, "v": [1.5]})}, ("b.parquet", "'v'", "1.5"), SchemaError, at_apply=False
    ),
    "fractions alone declared as whole numbers": Fault(
        {"a.parquet": parquet({**GOOD, "v": [1.5]})}, ("a.parquet", "'v'", "1.5"), SchemaError, at_apply=False
    ),
    "bytes that are no text, declared as text": Fault(
        {"a.parquet": parquet({**GOOD, "v": [b"\xff"]})},
        ("a.parquet", "'v'", r"b'\xff'"),
        SchemaError,
        declared=String,
        at_apply=False,
    ),
    # Partition folders.
    "a folder within": Fault({"more/b.parquet": parquet(GOOD)}, ("more",), SchemaError),
    "a partition that is no number": Fault({"a.parquet": b"", "v=x/b.parquet": without("v")}, ("'v'",), SchemaError),
    "a partition that is no UTF-8": Fault(
        {"a.parquet": b"", "v=%FF/b.parquet": without("v")}, ("v=%FF",), SchemaError, declared=String
    ),
    # Table formats.
    "a table of Delta": Fault({"_delta_log/0.json": b"{}"}, ("'delta'",)),
    "a table of Hudi": Fault({".hoodie/hoodie.properties": b"x=1"}, ("'hudi'",)),
    "a table of Iceberg": Fault({"metadata/v1.metadata.json": b"{}"}, ("'iceberg'",)),
    # Broken files.
    "cut off": Fault({"b.parquet": parquet(GOOD)[:-20]}, ("b.parquet",), each_lake=True),
    "another format": Fault({"b.parquet": b"k,v\n1,2\n"}, ("b.parquet",)),
    "a damaged page": Fault(
        {"b.parquet": with_damaged_page()}, ("b.parquet",), HybridError, at_apply=False, each_lake=True
    ),
    "ORC that is cut off": Fault({"b.orc": orc(GOOD)[:-20]}, ("b.orc",), file_format="orc", each_lake=True),
    "ORC that is text": Fault({"b.orc": b"hello, world"}, ("b.orc",), file_format="orc"),
    "CSV with a line that is too short": Fault(
        {"b.csv": b"k,event_timestamp,v\n2,2026-01-10T01:00:00Z\n"}, (), HybridError, "csv", at_apply=False
    ),
    "JSON without the key": Fault(
        {"b.json": JSON.replace(b'"k"', b'"key"')}, ("b.json", "'k'"), SchemaError, "json", at_apply=False
    ),
    "JSON that is cut off": Fault({"b.json": JSON[:-9]}, (), HybridError, "json", at_apply=False),
    "Avro without the key": Fault(
        {"b.avro": avro({n: GOOD[n] for n in ("v", "event_timestamp")})},
        ("b.avro", "'k'"),
        SchemaError,
        "avro",
        at_apply=False,
    ),
    "Avro that is cut off": Fault(
        {"b.avro": avro(GOOD)[:40]}, ("b.avro",), HybridError, "avro", at_apply=False, in_spark=False
    ),
    "Avro that is text": Fault(
        {"b.avro": b"hello, world"}, ("b.avro",), HybridError, "avro", at_apply=False, in_spark=False
    ),
    # Times at the edges.
    "an event time that is no time": Fault(
        {"b.parquet": parquet({**GOOD, "event_timestamp": [1_767_225_600]})},
        ("b.parquet", "'event_timestamp'", "int64"),
        SchemaError,
    ),
    "an event time with the month first": Fault(
        {"a.parquet": parquet({**GOOD, "event_timestamp": ["03/04/2026"]})},
        ("'event_timestamp'", "string"),
        SchemaError,
    ),
    "an event time in ORC that counts seconds": Fault(
        {"a.orc": orc({**GOOD, "event_timestamp": [1_767_225_600]})}, ("'event_timestamp'",), SchemaError, "orc"
    ),
    # Values that do not convert.
    "text that is no UTF-8": Fault(
        {"a.parquet": parquet({**GOOD, "v": text_that_is_no_utf8()})},
        ("'v'",),
        HybridError,
        declared=String,
        at_apply=False,
        in_spark=False,
    ),
    "a map with a key twice": Fault(
        {"a.parquet": parquet({**GOOD, "v": map_with_a_key_twice()})},
        ("'v'",),
        HybridError,
        declared=Map,
        at_apply=False,
        in_spark=False,
    ),
    "a whole number that no double is": Fault(
        {"a.parquet": parquet({**GOOD, "v": [0.5]}), "b.parquet": parquet({**GOOD, "v": [2**53 + 1]})},
        ("b.parquet", "'v'", str(2**53 + 1)),
        SchemaError,
        declared=Float64,
        at_apply=False,
    ),
}

#: What is wrong, and the site: the two take turns, but where bytes are wrong.
CASES = [
    (fault, role)
    for number, (fault, of_folder) in enumerate(FAULTS.items())
    for role in (("onprem", "cloud") if of_folder.each_lake else [("onprem", "cloud")[number % 2]])
]


@pytest.fixture(scope="module")
def broken(
    lakes_to_test: Places, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FeatureStore, dict[tuple[str, str], FeatureView]]:
    """One store, and a view of each folder, as a repository's module would hold it."""
    key = entity("k")
    views = {}
    for number, case in enumerate(CASES):
        of_folder, place = FAULTS[case[0]], getattr(lakes_to_test, case[1])
        uri = f"{place.uri}/refusals/{number}"
        suffix = of_folder.file_format
        # A file of our own in its place is the only one.
        for path, content in {f"a.{suffix}": GOOD_FILES[suffix], **of_folder.files}.items():
            if content:
                place.put(f"{uri}/{path}", content)
        options: dict[str, Any] = {"options": {"header": "true"}} if suffix == "csv" else {}
        views[case] = FeatureView(
            name=f"view_{number}",
            entities=[key],
            schema=[Field(name="k", dtype=Int64), Field(name="v", dtype=of_folder.declared)],
            source=source(f"rows_{number}", uri, file_format=suffix, **options),
            ttl=timedelta(days=1),
        )
    folder = tmp_path_factory.mktemp("refusals")
    return feature_store(lakes_to_test.sites(), folder, key, *views.values()), views


def verbs(store: FeatureStore, view: FeatureView) -> dict[str, Callable[[], Any]]:
    frame = pd.DataFrame({"k": [1, 2], "event_timestamp": [hour(2)] * 2})
    of: Any = view.batch_source

    def history(strategy: str) -> Any:
        join = store.config.offline_store.join.model_copy(update={"strategy": strategy})
        config = with_offline_store(store.config, join=join)
        return HybridSparkOfflineStore.get_historical_features(
            config, [view], [f"{view.name}:v"], frame, store.registry, store.project
        )

    return {
        "apply": lambda: of.validate(store.config),
        "to_df": lambda: history("columnar" if of.file_format in ("parquet", "orc") else "auto").to_df(),
        "to_arrow": lambda: history("window").to_arrow(),
        "to_spark_df": lambda: history("auto").to_spark_df().toArrow(),
        "materialize": lambda: store.materialize(hour(0), hour(9), [view.name]),
    }


@pytest.mark.parametrize(("fault", "role"), CASES)
def test_every_verb_names_what_is_wrong(
    broken: tuple[FeatureStore, dict[tuple[str, str], FeatureView]], fault: str, role: str
) -> None:
    expected = FAULTS[fault]
    store, views = broken
    view = views[fault, role]
    assert view.batch_source is not None
    for verb, call in verbs(store, view).items():
        if (verb == "apply" and not expected.at_apply) or (verb == "to_spark_df" and not expected.in_spark):
            continue
        # A frame of Spark's is out of our hands: what it raises while it runs is Spark's.
        errors = (expected.error,) if verb != "to_spark_df" or expected.at_apply else (Exception,)
        with pytest.raises(errors) as caught:
            call()
        text = str(caught.value)
        assert view.name in text or view.batch_source.name in text, (verb, text)
        for name in expected.named:
            assert name in text, (verb, text)


def test_a_column_that_nobody_asks_for_may_be_anything(make_store: MakeStore, onprem: Place, folder: str) -> None:
    uri = f"{onprem.uri}{folder}"
    odd = pa.array([None], pa.time64("us"))
    onprem.put(f"{uri}/a.parquet", parquet({**GOOD, "odd": odd, "mixed": [1]}))
    onprem.put(f"{uri}/b.parquet", parquet({**GOOD, "k": [2], "mixed": ["x"]}))
    key = entity("k")
    schema = [Field(name="k", dtype=Int64), Field(name="v", dtype=Int64), Field(name="mixed", dtype=String)]
    store = make_store(key, FeatureView(name="rows", entities=[key], schema=schema, source=source("rows", uri)))
    frame = pd.DataFrame({"k": [1, 2], "event_timestamp": [hour(2)] * 2})
    assert retrieve(store, frame, ["rows:v"]).to_df()["v"].tolist() == [10, 10]


def test_sql_text_reads_the_columns_that_it_names(make_store: MakeStore, cloud: Place, folder: str) -> None:
    uri = f"{cloud.uri}{folder}"
    cloud.put(f"{uri}/a.parquet", parquet({**GOOD, "mixed": [1]}))
    cloud.put(f"{uri}/b.parquet", parquet({**GOOD, "k": [2], "mixed": [[1]]}))
    key = entity("k")
    schema = [Field(name="k", dtype=Int64), Field(name="v", dtype=Int64)]
    store = make_store(key, FeatureView(name="view", entities=[key], schema=schema, source=source("rows", uri)))
    job = retrieve(store, "SELECT k, event_timestamp FROM rows", ["view:v"])
    assert sorted(job.to_df()["v"]) == [10, 10]
    with pytest.raises(SchemaError, match=r"source 'rows'.*column 'mixed' is "):
        retrieve(store, "SELECT * FROM rows", ["view:v"])
