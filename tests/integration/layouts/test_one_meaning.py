"""What the lake holds is the same for all who read it, whatever the session says."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field
from feast.types import Array, Int64, Map, String, Struct, UnixTimestamp

from feast_hybrid import HybridSparkOfflineStore, HybridSparkRetrievalJob
from feast_hybrid.errors import HybridError, SchemaError, SourceError
from tests.integration.places import Place, classic_only, entity, hour, source, with_offline_store

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.types import FeastType
    from pyspark.sql import DataFrame, SparkSession

    from tests.integration.conftest import MakeStore

START, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


def parquet(columns: Any, **more: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink, **more)
    return sink.getvalue()


def orc(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pa.orc.write_table(pa.table(columns), sink)
    return sink.getvalue()


@contextmanager
def session_setting(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    before = spark.conf.get(name, None)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(name)
        else:
            spark.conf.set(name, before)


class OneView:
    """A view of some files, with the key ``k``."""

    def __init__(self, make_store: MakeStore, uri: str, features: dict[str, FeastType], **more: Any) -> None:
        self.features = list(features)
        key = entity("k")
        schema = [Field(name="k", dtype=Int64), *(Field(name=name, dtype=of) for name, of in features.items())]
        self.view = FeatureView(
            name="the_view", entities=[key], schema=schema, source=source("rows_of_it", uri, **more), ttl=timedelta(0)
        )
        self.store: FeatureStore = make_store(key, self.view)

    def verbs(self) -> dict[str, Callable[[], list[Any]]]:
        """By a verb's name what gives the features of the entity 1."""
        return {
            "columnar": lambda: self._history("columnar"),
            "window": lambda: self._history("window"),
            "latest": lambda: self._pulled("latest"),
            "all": lambda: self._pulled("all"),
        }

    def answers(self) -> dict[str, list[Any]]:
        """What each verb gives."""
        return {name: verb() for name, verb in self.verbs().items()}

    def refusals(self, error: type[Exception]) -> dict[str, str]:
        """What each verb says."""
        texts = {}
        for name, verb in self.verbs().items():
            with pytest.raises(error) as caught:
                verb()
            texts[name] = str(caught.value)
        return texts

    def plan(self, strategy: str) -> str:
        """How the history is joined."""
        return self._job(strategy).explain().splitlines()[0]

    def _job(self, strategy: str) -> HybridSparkRetrievalJob:
        join = self.store.config.offline_store.join.model_copy(update={"strategy": strategy})
        config = with_offline_store(self.store.config, join=join)
        job = HybridSparkOfflineStore.get_historical_features(
            config,
            [self.view],
            [f"the_view:{name}" for name in self.features],
            pd.DataFrame({"k": [1], "event_timestamp": [hour(9)]}),
            self.store.registry,
            self.store.project,
            full_feature_names=True,
        )
        assert isinstance(job, HybridSparkRetrievalJob)
        return job

    def _history(self, strategy: str) -> list[Any]:
        table = self._job(strategy).to_arrow()
        return [self._plain(table.column(f"the_view__{name}")) for name in self.features]

    def _pulled(self, verb: str) -> list[Any]:
        pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
        arguments = {"start_date": START, "end_date": END, "created_timestamp_column": None}
        job = pull(
            config=self.store.config,
            data_source=self.view.batch_source,
            join_key_columns=["k"],
            feature_name_columns=self.features,
            timestamp_field="event_timestamp",
            **arguments,
        )
        table = job.to_arrow()
        rows = table.filter(pa.compute.equal(table.column("k"), 1))
        return [self._plain(rows.column(name)) for name in self.features]

    def _plain(self, column: pa.ChunkedArray) -> Any:
        assert len(column) == 1
        if pa.types.is_timestamp(column.type):
            return str(column.type.tz), column.cast(pa.int64())[0].as_py()
        if pa.types.is_date(column.type):
            return column.cast(pa.int32())[0].as_py()  # Python has not all of them
        return column[0].as_py()


def same(answers: dict[str, list[Any]], wanted: list[Any]) -> None:
    assert answers == dict.fromkeys(answers, wanted)


ROW = {"k": [1], "event_timestamp": [hour(1)]}


class TestNames:
    """The same name, or else the only one that differs by case alone."""

    @pytest.mark.parametrize("case_sensitive", ["false", "true"])
    def test_letters_case_is_ignored_where_no_name_is_the_same(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, case_sensitive: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        onprem.put(f"{uri}/a.parquet", parquet({"K": [1], "Event_Timestamp": [hour(1)], "fare": [7]}))
        onprem.put(f"{uri}/b.parquet", parquet({"K": [2], "Event_Timestamp": [hour(1)], "fare": [8]}))
        of = OneView(make_store, uri, {"Fare": Int64})
        with session_setting(spark, "spark.sql.caseSensitive", case_sensitive):
            assert of.view.batch_source is not None
            of.view.batch_source.validate(of.store.config)
            same(of.answers(), [7])

    @pytest.mark.parametrize("case_sensitive", ["false", "true"])
    def test_letters_case_of_folders_is_ignored_too(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, case_sensitive: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        onprem.put(f"{uri}/Fare=7/a.parquet", parquet(ROW))
        onprem.put(f"{uri}/Fare=8/b.parquet", parquet({**ROW, "k": [2]}))
        of = OneView(make_store, uri, {"fare": Int64})
        with session_setting(spark, "spark.sql.caseSensitive", case_sensitive):
            same(of.answers(), [7])

    @pytest.mark.parametrize("case_sensitive", ["false", "true"])
    def test_of_two_that_differ_by_case_alone_the_one_of_the_very_name_is_meant(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, case_sensitive: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        onprem.put(f"{uri}/a.parquet", parquet({**ROW, "fare": [7], "Fare": [8]}))
        of = OneView(make_store, uri, {"Fare": Int64})
        with session_setting(spark, "spark.sql.caseSensitive", case_sensitive):
            same(of.answers(), [8])

    @pytest.mark.parametrize("case_sensitive", ["false", "true"])
    def test_a_name_that_may_mean_either_is_refused(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, case_sensitive: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        onprem.put(f"{uri}/a.parquet", parquet({**ROW, "fare": [7], "Fare": [8]}))
        of = OneView(make_store, uri, {"FARE": Int64})
        with session_setting(spark, "spark.sql.caseSensitive", case_sensitive):
            for text in of.refusals(SchemaError).values():
                assert "column 'FARE' may be 'fare' or 'Fare'" in text
                assert "the_view" in text or "rows_of_it" in text


MOMENT = datetime(2026, 1, 10, 12, 30, tzinfo=UTC)
MICROS = int(MOMENT.timestamp()) * 10**6


class TestSettings:
    """What a session says of reading changes no answer, or the error names it."""

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("spark.sql.parquet.int96TimestampConversion", "true"),
            ("spark.sql.parquet.int96AsTimestamp", "false"),
            ("spark.sql.parquet.int96RebaseModeInRead", "LEGACY"),
            ("spark.sql.files.ignoredPathSegmentRegex", "parquet$"),
            ("spark.sql.timestampType", "TIMESTAMP_NTZ"),
        ],
    )
    def test_times_of_int96_are_the_same(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, setting: str, value: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        columns = {"k": [1], "event_timestamp": [hour(1)], "v": pa.array([MOMENT], pa.timestamp("us", "UTC"))}
        onprem.put(f"{uri}/a.parquet", parquet(columns, use_deprecated_int96_timestamps=True))
        of = OneView(make_store, uri, {"v": UnixTimestamp})
        with (
            session_setting(spark, "spark.sql.session.timeZone", "America/New_York"),
            session_setting(spark, setting, value),
        ):
            same(of.answers(), [("UTC", MICROS)])

    @pytest.mark.parametrize(
        ("setting", "value"),
        [("spark.sql.timestampType", "TIMESTAMP_NTZ"), ("spark.sql.columnNameOfCorruptRecord", "w")],
    )
    @pytest.mark.parametrize("file_format", ["csv", "json"])
    def test_text_is_the_same(
        self,
        make_store: MakeStore,
        onprem: Place,
        folder: str,
        spark: SparkSession,
        setting: str,
        value: str,
        file_format: str,
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        rows = {
            "csv": "k,event_timestamp,t,w\n1,2026-01-10 01:00:00,2026-01-10 12:30:00,x\n",
            "json": '{"k":1,"event_timestamp":"2026-01-10T01:00:00","t":"2026-01-10T12:30:00","w":"x"}\n',
        }
        onprem.put(f"{uri}/a.{file_format}", rows[file_format].encode())
        options = {"csv": {"header": "true", "inferSchema": "true"}, "json": {"inferTimestamp": "true"}}[file_format]
        of = OneView(make_store, uri, {"t": UnixTimestamp, "w": String}, file_format=file_format, options=options)
        with session_setting(spark, setting, value):
            same(of.answers(), [("UTC", MICROS), "x"])

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("spark.sql.legacy.timeParserPolicy", "LEGACY"),
            ("spark.sql.files.ignoredPathSegmentRegex", "csv$"),
        ],
    )
    def test_what_cannot_be_overruled_is_named(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, setting: str, value: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        onprem.put(f"{uri}/a.csv", b"k,event_timestamp,day\n1,2026-01-10 01:00:00,2026-01-10\n")
        options = {"header": "true", "inferSchema": "true"}
        of = OneView(make_store, uri, {"day": String}, file_format="csv", options=options)
        with session_setting(spark, setting, value):
            for text in of.refusals(SourceError).values():
                assert f"{setting}={value}" in text


def put_rows(frame: DataFrame, file_format: str, aside: Path, place: Place, uri: str) -> None:
    """Put what Spark writes onto a lake."""
    frame.coalesce(1).write.mode("overwrite").format(file_format).save(f"file://{aside}/written")
    (file,) = (aside / "written").glob(f"part-*.{file_format}")
    place.put(f"{uri}/part-0.{file_format}", file.read_bytes())


class TestSparksOwnTypes:
    """What Spark alone knows of a file's columns."""

    def test_times_without_a_zone_in_orc_are_times(
        self, make_store: MakeStore, onprem: Place, folder: str, spark: SparkSession, tmp_path: Path
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        frame = spark.sql(
            "SELECT 1L AS k, timestamp_micros(1768003200000000) AS event_timestamp, "
            "timestamp_ntz'2026-01-10 12:30:00' AS v, array(timestamp_ntz'2026-01-10 12:30:00') AS l"
        )
        put_rows(frame, "orc", tmp_path, onprem, uri)
        of = OneView(make_store, uri, {"v": UnixTimestamp}, file_format="orc")
        same(of.answers(), [("None", MICROS)])
        # Beside another type, which Spark's reader does not widen.
        onprem.put(f"{uri}/more.orc", orc({"k": [2.0], "event_timestamp": [hour(1)]}))
        of = OneView(make_store, uri, {"v": UnixTimestamp}, file_format="orc")
        same(of.answers(), [("None", MICROS)])

    @pytest.mark.parametrize("file_format", ["parquet", "orc"])
    def test_intervals_are_refused_where_they_are_asked_for(
        self,
        make_store: MakeStore,
        onprem: Place,
        folder: str,
        spark: SparkSession,
        tmp_path: Path,
        file_format: str,
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        frame = spark.sql(
            "SELECT 1L AS k, timestamp_micros(1768003200000000) AS event_timestamp, "
            "INTERVAL '1' DAY AS v, INTERVAL '1-2' YEAR TO MONTH AS w, 7L AS x"
        )
        put_rows(frame, file_format, tmp_path, onprem, uri)
        same(OneView(make_store, uri, {"x": Int64}, file_format=file_format).answers(), [7])
        for name in ("v", "w"):
            of = OneView(make_store, uri, {name: Int64}, file_format=file_format)
            for text in of.refusals(SchemaError).values():
                assert f"column {name!r}" in text
                assert "Spark wrote it as interval" in text
                assert f".{file_format}" in text


#: Reads ORC files with a JVM that is not in UTC, and writes one.
IN_NEW_YORK = """
import sys
from pathlib import Path

import pandas as pd
from feast import FeatureView, Field
from feast.types import Int64, UnixTimestamp
from pyspark.sql import SparkSession

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError
from tests.integration.places import entity, feature_store, hour, source

folder = Path(sys.argv[1])
SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
key = entity("k")
schema = [Field(name="k", dtype=Int64), Field(name="t", dtype=UnixTimestamp), Field(name="x", dtype=Int64)]
views = [
    FeatureView(name=name, entities=[key], schema=schema, source=source(name, f"file://{folder}/{name}", **more))
    for name, more in {"orc": {"file_format": "orc"}, "parquet": {}}.items()
]
store = feature_store([], folder, key, *views)
frame = pd.DataFrame({"k": [1], "event_timestamp": [hour(9)]})
for view in views:
    try:
        print(view.name, store.get_historical_features(frame, [f"{view.name}:t"]).to_arrow()["t"].to_pylist())
    except HybridError as error:
        print(view.name, type(error).__name__, error)
try:
    storage = SavedDatasetHybridSparkStorage(path=f"file://{folder}/saved", file_format="orc")
    store.get_historical_features(frame, ["parquet:t"]).persist(storage)
except HybridError as error:
    print("saved", type(error).__name__, error)
"""


@classic_only("starts a JVM of its own")
def test_a_jvm_in_another_zone_neither_reads_nor_writes_times_of_orc(tmp_path: Path) -> None:
    columns = {"k": [1], "event_timestamp": [hour(1)], "t": pa.array([MOMENT], pa.timestamp("us")), "x": [7]}
    for file_format, content in {"orc": orc(columns), "parquet": parquet(columns)}.items():
        (tmp_path / file_format).mkdir()
        (tmp_path / file_format / f"a.{file_format}").write_bytes(content)
    options = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} -Duser.timezone=America/New_York"
    done = subprocess.run(
        [sys.executable, "-c", IN_NEW_YORK, str(tmp_path)],
        check=False,
        env={**os.environ, "SPARK_SUBMIT_OPTS": options, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    for name, view_or_place in (("orc", "view 'orc'"), ("saved", "saved")):
        assert lines[name].startswith("SessionError"), done.stdout + done.stderr
        assert "America/New_York" in lines[name]
        assert view_or_place in lines[name]
    assert lines["parquet"] == f"[{MOMENT.replace(tzinfo=None)!r}]"
    assert not (tmp_path / "saved").exists()


#: Times at the edges, in microseconds.
EDGES = {
    "the first day": -62_135_596_800_000_000,
    "the last day": 253_402_214_400_000_000,
    "year 12975": 347_317_200_000_000_000,
    "minus infinity": -(2**63),
    "the least but one": -(2**63) + 1,
    "the greatest": 2**63 - 1,
    "before 1582": -12_244_089_600_000_000,
}


@pytest.mark.parametrize("far", [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)], ids=str)
@pytest.mark.parametrize("is_wanted", [True, False])
def test_times_of_orc_that_arrow_would_wrap_around_are_refused_where_only_our_reader_reads(
    make_store: MakeStore, spark: SparkSession, onprem: Place, folder: str, far: datetime, is_wanted: bool
) -> None:
    uri = f"{onprem.uri}{folder}"
    columns = {**ROW, "until": pa.array([far], pa.timestamp("us", "UTC")), "x": [7]}
    onprem.put(f"{uri}/a.orc", orc(columns))
    onprem.put(f"{uri}/b.orc", orc({**columns, "k": [2.0], "until": pa.array([hour(1)], pa.timestamp("us", "UTC"))}))
    wanted: dict[str, FeastType] = {"x": Int64, **({"until": UnixTimestamp} if is_wanted else {})}
    of = OneView(make_store, uri, wanted, file_format="orc")
    if not is_wanted:  # then it does not matter
        same(of.answers(), [7])
        return
    for verb, text in of.refusals(SourceError).items():
        assert "the_view" in text or "rows_of_it" in text, verb
        assert "column 'until' of" in text, verb
        assert "a.orc" in text, verb
        assert "2262-04-11" in text, verb


#: Files of ORC that Arrow's reader would read otherwise than Spark's, without saying so; and why, in a plan.
ORC_OF_SPARK: dict[str, tuple[dict[str, Any], FeastType, str]] = {
    "dates before 1582": ({"v": pa.array([date(1500, 3, 1)])}, UnixTimestamp, "holds dates before 1582-10-15"),
    "times in another zone": (
        {"v": pa.array([datetime(2026, 1, 10, 3)], pa.timestamp("us"))},
        UnixTimestamp,
        "of a writer in the zone CET",
    ),
    "a name that is also a path": ({"v.x": [7], "v": [{"x": 8}]}, Int64, "may be that of a part of another column"),
}


@pytest.mark.parametrize("case", ORC_OF_SPARK)
def test_orc_that_only_spark_reads_right_is_left_to_spark(
    make_store: MakeStore, onprem: Place, folder: str, case: str
) -> None:
    columns, data_type, reason = ORC_OF_SPARK[case]
    name = next(iter(columns))
    sink = io.BytesIO()
    pa.orc.write_table(pa.table({**ROW, **columns}), sink, compression="uncompressed")
    content = sink.getvalue()
    if "zone" in case:
        assert content.count(b"GMT") == 1
        content = content.replace(b"GMT", b"CET")
    uri = f"{onprem.uri}{folder}"
    onprem.put(f"{uri}/a.orc", content)
    of = OneView(make_store, uri, {name: data_type}, file_format="orc")
    answers = of.answers()
    assert all(found == answers["window"] for found in answers.values()), answers
    assert reason in of.plan("columnar")


class TestEdges:
    """Times at the edges are the same for all who read; maps with a key twice are in no training set."""

    @pytest.mark.parametrize("drift", [False, True])
    @pytest.mark.parametrize("zone", ["UTC", None])
    def test_times(self, make_store: MakeStore, onprem: Place, folder: str, zone: str | None, drift: bool) -> None:
        uri = f"{onprem.uri}{folder}"
        times = {f"t{n}": pa.array([edge]).view(pa.timestamp("us", zone)) for n, edge in enumerate(EDGES.values())}
        onprem.put(f"{uri}/a.parquet", parquet({**ROW, **times}))
        if drift:  # then Spark's reader does not read them
            onprem.put(f"{uri}/b.parquet", parquet({**ROW, "k": [2.0]}))
        of = OneView(make_store, uri, dict.fromkeys(times, UnixTimestamp))
        same(of.answers(), [(str(zone), edge) for edge in EDGES.values()])

    def test_days(self, make_store: MakeStore, onprem: Place, folder: str) -> None:
        uri = f"{onprem.uri}{folder}"
        days = [-719_162, 2_932_896, 4_019_875, -141_714, 2**31 - 1, -(2**31)]
        columns = {f"t{n}": pa.array([day], pa.int32()).view(pa.date32()) for n, day in enumerate(days)}
        onprem.put(f"{uri}/a.parquet", parquet({**ROW, **columns}))
        same(OneView(make_store, uri, dict.fromkeys(columns, UnixTimestamp)).answers(), days)

    def test_seconds_and_nanoseconds(self, make_store: MakeStore, onprem: Place, folder: str) -> None:
        uri = f"{onprem.uri}{folder}"
        far = pa.array([-(2**63) + 1]).view(pa.timestamp("ns", "UTC"))
        onprem.put(f"{uri}/a.parquet", parquet({**ROW, "t": far}))
        same(OneView(make_store, uri, {"t": UnixTimestamp}).answers(), [("UTC", -(2**63) // 1000)])

    def test_milliseconds_beyond_64_bits_of_microseconds_are_refused(
        self, make_store: MakeStore, onprem: Place, folder: str
    ) -> None:
        uri = f"{onprem.uri}{folder}"
        far = pa.array([2**62]).view(pa.timestamp("ms", "UTC"))
        onprem.put(f"{uri}/a.parquet", parquet({**ROW, "t": far}))
        for text in OneView(make_store, uri, {"t": UnixTimestamp}).refusals(HybridError).values():
            assert "a.parquet" in text

    @pytest.mark.parametrize("drift", [False, True])
    def test_maps_with_a_key_twice(self, make_store: MakeStore, onprem: Place, folder: str, drift: bool) -> None:
        """However deep they lie: each verb refuses the columns that hold one, and gives those that hold none."""
        uri = f"{onprem.uri}{folder}"
        maps, struct = pa.map_(pa.string(), pa.int64()), pa.struct([("m", pa.map_(pa.string(), pa.int64()))])
        once, twice = [("a", 1), ("b", 2)], [("a", 1), ("a", 2)]
        shapes: dict[str, tuple[pa.DataType, Callable[[Any], Any], FeastType]] = {
            "plain": (maps, lambda inner: inner, Map),
            "in_list": (pa.list_(maps), lambda inner: [[], inner], Array(Map)),
            "in_map": (pa.map_(pa.string(), maps), lambda inner: [("x", None), ("y", inner)], Map),
            "in_struct": (struct, lambda inner: {"m": inner}, Struct({"m": Map})),
            "in_struct_in_map": (pa.map_(pa.string(), struct), lambda inner: [("x", {"m": inner})], Map),
        }
        types = {name: feast_type for name, (_, _, feast_type) in shapes.items()}
        for kind, inner in (("once", once), ("twice", twice)):
            columns = {name: pa.array([put(inner)], data_type) for name, (data_type, put, _) in shapes.items()}
            onprem.put(f"{uri}/{kind}/a.parquet", parquet({**ROW, **columns}))
            if drift:
                onprem.put(f"{uri}/{kind}/b.parquet", parquet({**ROW, "k": [2.0]}))
        for name in ("plain", "in_struct_in_map") if drift else types:
            of = OneView(make_store, f"{uri}/twice", {name: types[name]})
            for verb, text in of.refusals(HybridError).items():
                column = f"the_view__{name}" if verb in ("columnar", "window") else name
                assert f"column '{column}' has a map with" in text
                assert "twice" in text
        texts = {
            "plain": '{"a":1,"b":2}',
            "in_list": '[{},{"a":1,"b":2}]',
            "in_map": '{"x":null,"y":{"a":1,"b":2}}',
            "in_struct": '{"m":{"a":1,"b":2}}',
            "in_struct_in_map": '{"x":{"m":{"a":1,"b":2}}}',
        }
        answers = OneView(make_store, f"{uri}/once", types).answers()
        assert answers["latest"] == answers["all"] == list(texts.values())  # Feast's engines get maps as JSON text
        assert answers["columnar"] == answers["window"] == [put(once) for _, put, _ in shapes.values()]
