"""Tables of the session's catalog, joined by columns where their files are plain, and by Spark where not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import Field, ValueType
from feast.types import Float64, Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SourceError
from feast_hybrid.sources import table_scan
from feast_hybrid.sources.reader import Reader
from feast_hybrid.spark.catalog import partition_entries
from tests.integration.faulty import MINUTES
from tests.integration.format_limits import Limit, format_limit
from tests.integration.places import answers, classic_only, entity, feature_store, hour, on_connect, retrieve, rows_of
from tests.integration.places import view as feature_view
from tests.integration.programs import answers_in, run_python

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from pyspark.sql import SparkSession

    from tests.integration.places import Place, Places

pytestmark = pytest.mark.connect

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])

DRIVER = entity("driver", ValueType.INT64, join_key="k")
ENTITY_ROWS = pd.DataFrame({"k": [1, 2, 1, 3], "event_timestamp": [hour(30), hour(30), hour(2), hour(30)]})
DAY = timedelta(days=1)

#: Rows of two days, and one whose day is not known.
ROWS = """
    SELECT CAST(k AS BIGINT) AS k, CAST(t AS TIMESTAMP) AS event_timestamp, CAST(v AS DOUBLE) AS v, s,
           CAST(c AS TIMESTAMP) AS seen, CAST(d AS DATE) AS day, p
    FROM VALUES
      (1, '2026-01-10 00:00:00', 0.5, 'a', '2026-01-09 23:59:59.123456', '2026-01-10', 'x:y/é %'),
      (1, '2026-01-10 01:00:00.000001', 1.5, 'b', NULL, '2026-01-10', 'x:y/é %'),
      (1, '2026-01-11 05:00:00', 2.5, 'c', '1970-01-01 00:00:00', '2026-01-11', 'x:y/é %'),
      (2, '2026-01-11 06:00:00', 3.5, NULL, '1969-12-31 23:59:59.5', '2026-01-11', NULL),
      (3, '2026-01-11 05:30:00', 4.5, 'e', NULL, NULL, 'z')
    AS rows(k, t, v, s, c, d, p)
"""
EXPECTED = [(2.5, "c", "x:y/é %"), (3.5, None, None), (1.5, "b", "x:y/é %"), (4.5, "e", "z")]


class Tables:
    """Makes tables on a lake, as a user's session does that has the lake's settings, and drops them."""

    def __init__(self, place: Place, lakes_to_test: Places, folder: str, spark: SparkSession, tmp_path: Path) -> None:
        self.place, self.tmp_path, self.sites = place, tmp_path, lakes_to_test.sites()
        self.uri = f"{place.uri}{folder}"
        store = feature_store(self.sites, tmp_path)
        self.spark = Reader(spark, store.config.offline_store.router).child()
        self._made: list[tuple[str, str]] = []
        # Spark's own catalog makes the folders of partitions with the settings of the whole application alone.
        self._of_application = dict(place.lake.hadoop_options()) if place.scheme != "hdfs" else {}
        if self._of_application and on_connect():
            pytest.skip("the catalog of the server has no settings of this lake")
        for name, value in self._of_application.items():
            self._application.set(name, value)

    @property
    def _application(self) -> Any:
        session: Any = self.spark
        return session._jsparkSession.sharedState().hadoopConf()

    def sql(self, text: str) -> None:
        self.spark.sql(text).collect()

    def make(self, name: str, text: str, what: str = "TABLE") -> None:
        self._made.append((what, name))
        self.sql(f"CREATE {what} {name} {text}")

    def plain(self, name: str, file_format: str) -> None:
        """A table with :data:`ROWS`, partitioned by day and text."""
        self.make(name, f"USING {file_format} PARTITIONED BY (day, p) LOCATION '{self.uri}/{name}' AS {ROWS}")

    def drop(self) -> None:
        for what, name in reversed(self._made):
            self.sql(f"DROP {what} IF EXISTS {name}")
        for name in self._of_application:
            # The driver asks the configuration that it was opened with which HTTP client it has, again and again.
            if not name.startswith("fs.azure.networking.library"):
                self._application.unset(name)

    def view(self, name: str, table: str, features: tuple[str, ...], **more: Any) -> FeatureView:
        types = {"v": Float64, "s": String, "seen": UnixTimestamp, "p": String, "n": Int64}
        rows = HybridSparkSource(
            name=f"{name}_rows", table=table, site=self.place.site_name, timestamp_field="event_timestamp", **more
        )
        schema = [Field(name="k", dtype=Int64), *(Field(name=each, dtype=types[each]) for each in features)]
        return feature_view(name, rows, DRIVER, schema=schema, ttl=DAY)

    def store(self, table: str, strategy: str, features: tuple[str, ...], **more: Any) -> FeatureStore:
        stats = self.view("stats", table, features, **more)
        folder = self.tmp_path / f"{table}_{strategy}_{len(features)}"
        folder.mkdir(exist_ok=True)
        return feature_store(self.sites, folder, DRIVER, stats, join={"strategy": strategy})

    def asked(
        self,
        table: str,
        strategy: str = "auto",
        *,
        features: tuple[str, ...] = ("v", "s", "seen", "p"),
        entity_df: Any = None,
        **more: Any,
    ) -> tuple[str, list[tuple[Any, ...]]]:
        """How a view over the table is joined, and what comes of it."""
        store = self.store(table, strategy, features, **more)
        rows = ENTITY_ROWS if entity_df is None else entity_df
        job = retrieve(store, rows, [f"stats:{name}" for name in features])
        return job.explain().splitlines()[0], answers(job, *features)

    def asked_together(
        self, strategy: str, tables: Mapping[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, list[tuple[Any, ...]]]]:
        """The same of some tables, by their names, in one history; each with its features."""
        views = [self.view(table, table, features) for table, features in tables.items()]
        folder = self.tmp_path / f"{'_'.join(tables)}_{strategy}"
        folder.mkdir(exist_ok=True)
        store = feature_store(self.sites, folder, DRIVER, *views, join={"strategy": strategy})
        references = [f"{table}:{feature}" for table, features in tables.items() for feature in features]
        job = retrieve(store, ENTITY_ROWS, references, full_feature_names=True)
        rows, lines = job.to_arrow(), job.explain().splitlines()
        return {
            table: (
                next(line for line in lines if line.startswith(f"view '{table}': ")),
                rows_of(rows, *(f"{table}__{feature}" for feature in features)),
            )
            for table, features in tables.items()
        }


@pytest.fixture
def tables(place: Place, lakes_to_test: Places, folder: str, spark: SparkSession, tmp_path: Path) -> Iterator[Tables]:
    made = Tables(place, lakes_to_test, folder, spark, tmp_path)
    yield made
    made.drop()


@pytest.mark.parametrize(
    ("file_format", "role"),
    [("parquet", "onprem"), ("orc", "cloud"), pytest.param("orc", "onprem", marks=MINUTES)],
)
def test_a_plain_table_is_joined_by_columns_and_only_needed_partitions_are_asked_for(
    tables: Tables, file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"by_columns_{file_format}"
    tables.plain(name, file_format)
    asked: list[Any] = []

    def noted(session: Any, table: str, partitions: Any, total: int) -> Any:
        asked.extend(partitions)
        return partition_entries(session, table, partitions, total)

    monkeypatch.setattr("feast_hybrid.sources.table_scan.partition_entries", noted)
    plan, found = tables.asked(name)
    assert plan.startswith("view 'stats': columnar"), plan
    assert "reads 6 columns of" in plan
    assert len(asked) == 4
    _, by_spark = tables.asked(name, "window")
    assert found == by_spark
    assert [(v, s, p) for v, s, _, p in found] == EXPECTED
    # Of a day without rows near the entity rows' times nobody asks.
    tables.sql(
        f"INSERT INTO {name} PARTITION (day = DATE'2020-01-01', p = 'old') "
        "SELECT 1L, TIMESTAMP'2020-01-01 00:00:00', 9.5D, 'old', NULL"
    )
    asked.clear()
    plan, again = tables.asked(name, date_partition_column="Day")
    assert "columnar" in plan
    assert again == found
    assert {partition["day"] for partition in asked} == {"2026-01-10", "2026-01-11", None}
    # A day that partitions nothing cuts nothing.
    days = f"USING {file_format} LOCATION '{tables.uri}/days_{name}'"
    tables.make(f"days_{name}", f"{days} AS SELECT k, event_timestamp, v, DATE'2020-01-01' AS day FROM {name}")
    for strategy in ("auto", "window"):
        _, uncut = tables.asked(f"days_{name}", strategy, features=("v",), date_partition_column="day")
        assert uncut == [(v,) for v, *_ in EXPECTED], strategy


class Falls:
    """Tables whose rows come from Spark, each for a reason; the answers are the window's."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._reasons: dict[str, str] = {}
        self._features: dict[str, tuple[str, ...]] = {}

    def __call__(self, name: str, reason: str, features: tuple[str, ...] = ("v", "s")) -> None:
        """One that is there when they are checked."""
        self._reasons[name], self._features[name] = reason, features

    def check(self) -> None:
        """Ask all of them together, as the tables and the settings are now."""
        found, by_window = (self.tables.asked_together(strategy, self._features) for strategy in ("auto", "window"))
        for name, reason in self._reasons.items():
            plan, rows = found[name]
            assert reason.lower() in plan.partition("; rows by Spark: ")[2].lower(), plan
            assert rows == by_window[name][1], name
        self._reasons, self._features = {}, {}


def of_other_kinds(tables: Tables, falls: Falls, limit: Limit, tmp_path: Path) -> None:
    """Tables that are left to Spark by what the catalog says of them."""

    def at(name: str) -> str:
        return f"LOCATION '{tables.uri}/{name}'"

    falls("seen_through", limit("a view"))
    tables.make("seen_through", "AS SELECT * FROM plain WHERE v > 1", "VIEW")
    falls("bucketed", limit("a bucketed table"))
    tables.make("bucketed", f"USING parquet CLUSTERED BY (k) INTO 2 BUCKETS {at('bucketed')} AS {ROWS}")
    falls("of_text", limit("a table of csv"), features=("v",))
    tables.make("of_text", f"USING csv {at('of_text')} AS SELECT k, event_timestamp, v FROM plain")
    falls("with_options", limit("a table with options, which are Spark's to follow: recursiveFileLookup"))
    tables.make("with_options", f"USING orc OPTIONS (recursiveFileLookup 'true') {at('with_options')} AS {ROWS}")
    falls("outside", limit("its files are under none of the configured sites"))
    tables.make("outside", f"USING orc LOCATION 'file://{tmp_path}/outside' AS {ROWS}")
    falls("char_column", limit("column 's' is char"))
    tables.make(
        "char_column", f"(k BIGINT, event_timestamp TIMESTAMP, s CHAR(3), v DOUBLE) USING orc {at('char_column')}"
    )
    tables.sql("INSERT INTO char_column SELECT k, event_timestamp, s, v FROM plain")
    falls("with_default", limit("column 'n' has a default"), features=("v", "n"))
    tables.make("with_default", f"USING parquet {at('with_default')} AS {ROWS}")
    tables.sql("ALTER TABLE with_default ADD COLUMN n BIGINT DEFAULT 7")


@format_limit("Tables", "a view", "left to Spark", "a view")
@format_limit("Tables", "a bucketed table", "left to Spark", "a bucketed table")
@format_limit("Tables", "a table of another format", "left to Spark", "a table of csv")
@format_limit(
    "Tables",
    "options, or properties such as `orc.force.positional.evolution`, that change what is read",
    "left to Spark",
    "a table with options, which are Spark's to follow: recursiveFileLookup",
)
@format_limit(
    "Tables",
    "a location under no site",
    "left to Spark",
    "its files are under none of the configured sites",
)
@format_limit("Tables", "a column of `char(n)`, asked for", "left to Spark", "column 's' is char")
@format_limit("Tables", "a column with a default, asked for", "left to Spark", "column 'n' has a default")
@format_limit("Tables", "a file that lacks a key or the event time", "left to Spark", "has no column 'k'")
@format_limit("Tables", "a folder without rows beside the files", "left to Spark", "there is a folder")
@format_limit(
    "Tables",
    "a partition whose location is not the table's folder for it",
    "left to Spark",
    "is elsewhere",
)
@format_limit("Tables", "a partition, or a table, that has no folder", "left to Spark", "has no folder")
@format_limit(
    "Tables",
    "ORC that Arrow would read otherwise, see above",
    "left to Spark",
    "holds times before 1677-09-21",
)
@format_limit(
    "Tables",
    "files whose columns are called `_col0` and so on",
    "left to Spark",
    "names its columns _col0",
)
@format_limit(
    "Tables",
    "more than 1,000 partitions within the entity rows' times",
    "left to Spark",
    "more than are asked for one by one",
)
@format_limit(
    "Tables",
    "files that cannot be listed from here",
    "left to Spark",
    "its files cannot be listed from here",
)
@format_limit(
    "Tables",
    "a column in a type which is not the table's or narrower",
    "left to Spark",
    "is float in the table and double in",
)
@classic_only("of a server's catalog the same is asked, which plain tables show")
@pytest.mark.parametrize("role", ["onprem", pytest.param("cloud", marks=MINUTES)])
def test_what_is_not_plain_is_sparks(
    tables: Tables, place: Place, tmp_path: Path, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(name: str) -> str:
        return f"LOCATION '{tables.uri}/{name}'"

    falls = Falls(tables)
    tables.plain("plain", "parquet")
    of_other_kinds(tables, falls, limit, tmp_path)
    falls.check()
    falls("renamed", limit("has no column 'k'"), features=("v",))
    tables.make("with_id", f"USING orc {at('renamed')} AS SELECT k AS id, event_timestamp, v FROM plain")
    tables.make("renamed", f"(k BIGINT, event_timestamp TIMESTAMP, v DOUBLE) USING orc {at('renamed')}")
    falls("nested", limit("there is a folder"))
    tables.make("nested", f"USING parquet {at('nested')} AS {ROWS}")
    place.put(f"{tables.uri}/nested/more/0", b"")  # files with rows there are refused: test_table_folders
    falls("moved", limit("is elsewhere"))
    tables.plain("moved", "parquet")
    tables.sql(
        "ALTER TABLE moved PARTITION (day = DATE'2026-01-11', p = 'x:y/é %') "
        f"SET LOCATION '{tables.uri}/plain/day=2026-01-10/p=x%3Ay%2Fé %25'"
    )
    falls("without_folder", limit("has no folder"))
    tables.plain("without_folder", "parquet")
    tables.sql("ALTER TABLE without_folder ADD PARTITION (day = DATE'2026-01-11', p = 'made')")
    made = f"{tables.uri}/without_folder/day=2026-01-11/p=made"
    if place.exists(made):
        place.lake.filesystem().rm(place.inside(made), recursive=True)
    falls("before_arrow", limit("holds times before 1677-09-21"), features=("v", "seen"))
    old = "SELECT k, event_timestamp, v, TIMESTAMP'0099-01-01 00:00:00' AS seen FROM plain"
    tables.make("before_arrow", f"USING orc {at('before_arrow')} AS {old}")
    falls("by_places", limit("names its columns _col0"), features=("v",))
    numbered = "SELECT k AS _col0, event_timestamp AS _col1, v AS _col2 FROM plain"
    tables.make("numbered", f"USING orc {at('by_places')} AS {numbered}")
    tables.make("by_places", f"(k BIGINT, event_timestamp TIMESTAMP, v DOUBLE) USING orc {at('by_places')}")
    falls.check()
    tables.make("wide", f"USING orc {at('wide')} AS SELECT k, event_timestamp, v FROM plain")
    tables.make("narrow", f"(k BIGINT, event_timestamp TIMESTAMP, v FLOAT) USING orc {at('wide')}")
    plan = retrieve(tables.store("narrow", "auto", ("v",)), ENTITY_ROWS, ["stats:v"]).explain()
    assert limit("is float in the table and double in") in plan
    falls("plain", limit("more than are asked for one by one"))
    monkeypatch.setattr(table_scan, "_MAX_PARTITIONS", 3)
    falls.check()
    monkeypatch.setattr(table_scan, "_MAX_PARTITIONS", 1000)
    falls("plain", limit("its files cannot be listed from here"))
    monkeypatch.setattr(table_scan, "files_in", Path.read_bytes)  # which knows no list of folders
    falls.check()


@ROLES
def test_files_that_lack_a_column_or_have_narrower_ones_are_what_the_table_says(tables: Tables) -> None:
    there = f"USING orc LOCATION '{tables.uri}/grown'"
    tables.make("grown", f"(k BIGINT, event_timestamp TIMESTAMP, v DOUBLE, s STRING) {there}")
    tables.make("small", f"(K SMALLINT, Event_Timestamp TIMESTAMP, v FLOAT) {there}")
    tables.sql("INSERT INTO small SELECT 1S, TIMESTAMP'2026-01-11 05:00:00', 0.5F")
    tables.sql("REFRESH TABLE grown")
    tables.sql("INSERT INTO grown SELECT 2L, TIMESTAMP'2026-01-11 05:00:00', 1.5D, 'x'")
    plan, found = tables.asked("grown", features=("v", "s"))
    assert "columnar" in plan, plan
    assert found == [(0.5, None), (1.5, "x"), (None, None), (None, None)]
    assert found == tables.asked("grown", "window", features=("v", "s"))[1]


@ROLES
def test_a_hive_acid_table_is_refused_by_name(tables: Tables) -> None:
    tables.make("with_deltas", f"USING orc LOCATION '{tables.uri}/with_deltas' AS {ROWS}")
    tables.sql("ALTER TABLE with_deltas SET TBLPROPERTIES ('transactional' = 'true')")
    with pytest.raises(SourceError, match=r"table default\.with_deltas is a Hive ACID table"):
        tables.asked("with_deltas")


def test_a_spark_frame_s_times_leave_out_partitions_too(tables_onprem: Tables, spark: SparkSession) -> None:
    tables_onprem.plain("for_frames", "orc")
    rows = tables_onprem.spark.createDataFrame([(1, hour(2))], "k long, event_timestamp timestamp")
    plan, found = tables_onprem.asked(
        "for_frames", "columnar", features=("v", "s"), entity_df=rows, date_partition_column="day"
    )
    assert "columnar (asked for)" in plan
    assert found == [(1.5, "b")]


@pytest.fixture
def tables_onprem(
    onprem: Place, lakes_to_test: Places, folder: str, spark: SparkSession, tmp_path: Path
) -> Iterator[Tables]:
    made = Tables(onprem, lakes_to_test, folder, spark, tmp_path)
    yield made
    made.drop()


@format_limit("Tables", "a partition in another format than the table", "left to Spark", "in another format than the")
@format_limit("Tables", "a Hive ACID table (`transactional=true`)", "refused", "is a Hive ACID table")
@format_limit(
    "Tables",
    "a session with settings that change what Spark reads",
    "left to Spark",
    "spark.sql.hive.convertMetastoreOrc is false",
)
@classic_only("it has a Spark application of its own")
def test_tables_of_a_hive_metastore_that_hive_wrote(tmp_path: Path, limit: Limit) -> None:
    (found,) = answers_in(run_python("-m", "tests.integration.hive_program", str(tmp_path), seconds=1200))
    for table in ("of_parquet", "of_orc"):
        plan, rows = found[f"{table} auto"]
        assert "columnar (blocks of columns are the cheapest); reads 9 columns of 4 files" in plan, plan
        assert rows == found[f"{table} window"][1]
        assert [row[:2] for row in rows] == [["1.5", "b"], ["2.5", "None"], ["0.5", "a"]]
        assert [row[-2:] for row in rows] == [["None", "3"], ["2026-01-11", "7"], ["2026-01-10", "1"]]
    assert "column 'c' is char" in found["char auto"][0]
    assert found["char auto"][1] == found["char window"][1]
    assert "column 'c' of" in found["path auto"][0]
    assert "is char, of whose blanks only Spark knows" in found["path auto"][0]
    assert (
        found["path auto"][1]
        == found["path window"][1]
        == [["1.5", "b", "b"], ["2.5", "None", "None"], ["0.5", "a", "a"]]
    )
    assert limit("in another format than the") in found["mixed auto"][0]
    assert "columnar (blocks" in found["not_null auto"][0]
    assert "columnar (blocks" in found["grown auto"][0] or "has no folder" in found["grown auto"][0]
    assert "is elsewhere" in found["elsewhere auto"][0]
    assert "a view" in found["view auto"][0]
    assert limit("spark.sql.hive.convertMetastoreOrc is false") in found["by_hive auto"][0]
    for strategy in ("auto", "window"):
        for name in ("in_deltas", "view_of_deltas"):
            assert f"in_deltas {limit('is a Hive ACID table')} (transactional=true)" in found[f"{name} {strategy}"][0]
        assert "HIVE_UNION_SUBDIR_1" in found[f"in_union {strategy}"][0]
        # Of entity rows at 30, 31 and 2 hours.
        assert found[f"not_null {strategy}"][1] == [["None"], ["None"], ["0.5"]]
        assert found[f"grown {strategy}"][1] == [["1.5", "8"], ["2.5", "7"], ["0.5", "None"]]
        assert found[f"elsewhere {strategy}"][1] == [["1.5"], ["2.5"], ["0.5"]]
        assert found[f"view {strategy}"][1] == found[f"by_hive {strategy}"][1] == [row[:2] for row in rows]
