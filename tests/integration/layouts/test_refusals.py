"""What cannot be read is one error in every verb: it names the view or the source, the file, and the column."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field
from feast.types import Int64, String

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError, SchemaError, SourceError
from tests.integration.places import Place, entity, hour, retrieve, source

if TYPE_CHECKING:
    from feast import FeatureStore

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


def with_damaged_page() -> bytes:
    """A file whose footer is whole and whose columns' pages are not."""
    content = bytearray(parquet({"k": [1] * 1000, "event_timestamp": [hour(1)] * 1000, "v": list(range(1000))}))
    content[4:400] = b"\xff" * 396
    return bytes(content)


def without(name: str) -> bytes:
    return parquet({column: values for column, values in GOOD.items() if column != name})


@dataclass(frozen=True)
class Fault:
    """A folder that cannot be read.

    Attributes:
        files: beside one that can be.
        named: what the error has to name.
        error: its class.
        at_apply: whether it can be seen without reading rows.
    """

    files: dict[str, bytes]
    named: tuple[str, ...]
    error: type[HybridError] = SourceError
    file_format: str = "parquet"
    declared: Any = Int64
    at_apply: bool = True


FAULTS = {
    "cut off": Fault({"b.parquet": parquet(GOOD)[:-20]}, ("b.parquet",)),
    "another format": Fault({"b.parquet": b"k,v\n1,2\n"}, ("b.parquet",)),
    "a damaged page": Fault({"b.parquet": with_damaged_page()}, ("b.parquet",), HybridError, at_apply=False),
    "ORC that is cut off": Fault({"b.orc": orc(GOOD)[:-20]}, ("b.orc",), file_format="orc"),
    "ORC that is text": Fault({"b.orc": b"hello, world"}, ("b.orc",), file_format="orc"),
    "no key": Fault({"b.parquet": without("k")}, ("b.parquet", "'k'"), SchemaError),
    "no event time": Fault(
        {"b.parquet": without("event_timestamp")}, ("b.parquet", "'event_timestamp'"), SchemaError
    ),
    "text and numbers": Fault(
        {"b.parquet": parquet({**GOOD, "v": ["x"]})},
        ("b.parquet", "'v'", "int64", "string"),
        SchemaError,
    ),
    "text declared as a number": Fault(
        {"a.parquet": parquet({**GOOD, "v": ["x"]})}, ("a.parquet", "'v'", "string", "int64"), SchemaError
    ),
    "a table of Delta": Fault({"_delta_log/0.json": b"{}"}, ("'delta'",)),
    "a table of Hudi": Fault({".hoodie/hoodie.properties": b"x=1"}, ("'hudi'",)),
    "a folder within": Fault({"more/b.parquet": parquet(GOOD)}, ("more",), SchemaError),
    "a fraction declared as a whole number": Fault(
        {"b.parquet": parquet({**GOOD, "v": [1.5]})}, ("b.parquet", "'v'", "1.5"), SchemaError, at_apply=False
    ),
    "a partition that is no number": Fault({"a.parquet": b"", "v=x/b.parquet": without("v")}, ("'v'",), SchemaError),
}


@pytest.fixture
def broken(fault: str, make_store: MakeStore, place: Place, folder: str) -> tuple[FeatureStore, FeatureView]:
    """A store, and its one view as the repository's module holds it."""
    of_folder = FAULTS[fault]
    uri = f"{place.uri}{folder}"
    good = orc(GOOD) if of_folder.file_format == "orc" else parquet(GOOD)
    for path, content in {f"a.{of_folder.file_format}": good, **of_folder.files}.items():
        place.put(f"{uri}/{path}", content)
    key = entity("k")
    schema = [Field(name="k", dtype=Int64), Field(name="v", dtype=of_folder.declared)]
    of = source("rows_of_it", uri, file_format=of_folder.file_format)
    view = FeatureView(name="the_view", entities=[key], schema=schema, source=of, ttl=timedelta(days=1))
    return make_store(key, view), view


def verbs(store: FeatureStore, view: FeatureView) -> dict[str, Callable[[], Any]]:
    frame = pd.DataFrame({"k": [1, 2], "event_timestamp": [hour(2)] * 2})

    def history(strategy: str) -> Any:
        offline = store.config.offline_store
        join = offline.join.model_copy(update={"strategy": strategy})
        config = store.config.model_copy(update={"offline_store": offline.model_copy(update={"join": join})})
        return HybridSparkOfflineStore.get_historical_features(
            config, [view], ["the_view:v"], frame, store.registry, store.project
        )

    assert view.batch_source is not None
    of = view.batch_source
    return {
        "apply": lambda: of.validate(store.config),
        "to_df": lambda: history("columnar").to_df(),
        "to_arrow": lambda: history("window").to_arrow(),
        "to_spark_df": lambda: history("auto").to_spark_df().toArrow(),
        "materialize": lambda: store.materialize(hour(0), hour(9), ["the_view"]),
    }


@pytest.mark.parametrize("role", ["onprem", "cloud"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_verb_names_what_is_wrong(broken: tuple[FeatureStore, FeatureView], fault: str) -> None:
    expected = FAULTS[fault]
    for verb, call in verbs(*broken).items():
        if verb == "apply" and not expected.at_apply:
            continue
        # A frame of Spark's is out of our hands: what it raises while it runs is Spark's.
        errors = (expected.error,) if verb != "to_spark_df" or expected.at_apply else (Exception,)
        with pytest.raises(errors) as caught:
            call()
        text = str(caught.value)
        assert "the_view" in text or "rows_of_it" in text, (verb, text)
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
