"""What the registry and SQL text hold is no code: no shell, no JVM, no path that no site has."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Int64, String

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import EntityFrameError, RoutingError, SourceError
from feast_hybrid.spark.sql_plans import refuse_unsafe_plan
from tests.integration.places import classic_only, hour
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place, Places

pytestmark = pytest.mark.connect

DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


def view(source: HybridSparkSource) -> FeatureView:
    schema = [Field(name="driver_id", dtype=Int64), Field(name="mood", dtype=String)]
    return FeatureView(name="moods", entities=[DRIVER], schema=schema, source=source)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(
            "select transform(driver_id) using 'touch {canary}' as (mood) from values (1) t(driver_id)",
            marks=reliability(
                "Text that is code",
                "a source's query that runs a script",
                "refused by `feast apply`, retrieval and materialisation; nothing runs",
                "has TRANSFORM … USING, which runs a script",
            ),
            id="script",
        ),
        pytest.param(
            "select 1L as driver_id, timestamp'2026-01-01' as ts, reflect('java.lang.System', 'getenv', 'X') as mood",
            marks=reliability(
                "Text that is code",
                "a source's query that calls into the JVM",
                "refused by `feast apply`, retrieval and materialisation; nothing runs",
                "calls reflect, which is none of the functions that SQL text may call",
            ),
            id="jvm",
        ),
        pytest.param(
            "select 1L as driver_id, timestamp'2026-01-01' as ts, value as mood from text.`{file}`",
            marks=reliability(
                "Text that is code",
                "a source's query that takes a path for a table",
                "refused by `feast apply`, retrieval and materialisation; nothing is read",
                "as a table. SQL text reads sources by their names",
            ),
            id="path",
        ),
    ],
)
def test_a_query_of_a_source_runs_nothing(
    query: str, canary: Path, tmp_path: Path, make_store: MakeStore, promise: Row
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    text = query.format(canary=canary, file=tmp_path / "secret.txt")
    source = HybridSparkSource(name="moods", query=text, site="onprem", timestamp_field="ts")
    store = make_store(DRIVER, view(source))
    with pytest.raises(SourceError, match=rf"source 'moods'.* {re.escape(promise.reads)}"):
        source.validate(store.config)
    with pytest.raises(SourceError, match=rf"source 'moods'.* {re.escape(promise.reads)}"):
        store.get_historical_features(None, ["moods:mood"], start_date=hour(0), end_date=hour(9)).to_arrow()
    with pytest.raises(SourceError, match=rf"source 'moods'.* {re.escape(promise.reads)}"):
        store.materialize(hour(0), hour(9), ["moods"])
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "select transform(driver_id) using 'touch {canary}' as (driver_id) from moods",
            marks=reliability(
                "Text that is code",
                "SQL entity rows that run a script",
                "refused; nothing runs",
                "has TRANSFORM … USING, which runs a script",
            ),
            id="script",
        ),
        pytest.param(
            "select driver_id, event_timestamp, java_method('java.lang.System', 'getenv', 'PATH') as p from moods",
            marks=reliability(
                "Text that is code",
                "SQL entity rows that call into the JVM",
                "refused; nothing runs",
                "calls java_method, which is none of the functions that SQL text may call",
            ),
            id="jvm",
        ),
        pytest.param(
            "select 1L as driver_id, timestamp'2026-01-01' as event_timestamp, value from text.`{file}`",
            marks=reliability(
                "Text that is code",
                "SQL entity rows that take a path for a table",
                "refused; nothing is read",
                "as a table. SQL text reads sources by their names",
            ),
            id="path",
        ),
    ],
)
def test_sql_entity_rows_run_nothing(
    text: str, canary: Path, tmp_path: Path, onprem: Place, write: Write, make_store: MakeStore, promise: Row
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    uri = write(onprem, "moods", {"driver_id": [1], "event_timestamp": [hour(1)], "mood": ["calm"]})
    store = make_store(DRIVER, view(HybridSparkSource(name="moods", path=uri, timestamp_field="event_timestamp")))
    good = store.get_historical_features("select driver_id, event_timestamp from moods", ["moods:mood"])
    assert good.to_arrow()["mood"].to_pylist() == ["calm"]
    with pytest.raises(EntityFrameError, match=rf"entity_df .*{re.escape(promise.reads)}"):
        store.get_historical_features(
            text.format(canary=canary, file=tmp_path / "secret.txt"), ["moods:mood"]
        ).to_arrow()
    assert not canary.exists()


@reliability(
    "Text that is code",
    "a source on this machine's disk that no site covers, such as file:///etc/secrets",
    "refused by `feast apply` and by retrieval, with the line to add",
    "uri: 'file:///etc'",
)
def test_files_of_this_machine_need_a_site(
    lakes_to_test: Places, tmp_path: Path, make_store: MakeStore, promise: Row
) -> None:
    source = HybridSparkSource(name="moods", path=Path("/etc/secrets").as_uri(), timestamp_field="ts")
    store = make_store(DRIVER, view(source))
    with pytest.raises(RoutingError, match=promise.reads):
        store.get_historical_features(None, ["moods:mood"], start_date=hour(0), end_date=hour(9))
    with pytest.raises(RoutingError, match=promise.reads):
        source.validate(store.config)


@reliability(
    "Text that is code",
    "SQL text that Spark's parser understands otherwise than ours",
    "Spark Classic's own plan of it is checked too, and refused",
)
@classic_only("it shows its parser's plan")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select transform(a) using 'cat' as (b) from values (1) t(a)", "ScriptTransformation"),
        ("select * from t where exists (select reflect('a', 'b'))", "reflect"),
        ("with a as (select java_method('a', 'b')) select * from a", "java_method"),
        ("select * from values (reflect('a', 'b'))", "reflect"),
        ("select * from t lateral view reflect('a') x as y", "reflect"),
        ("select * from a, lateral (select try_reflect('a', 'b'))", "try_reflect"),
        ("select * from parquet.`/etc`", "parquet./etc"),
        ("select * from identifier('a' || 'b')", "UnresolvedIdentifier"),
        ("select * from read_files('a')", "read_files"),
        ("insert into a select 1", "InsertIntoStatement"),
        ("delete from a", "DeleteFromTable"),
        ("create table a as select 1", "CreateTableAsSelect"),
        ("select * from parquet.`/etc` version as of 1", "parquet./etc"),
        ('select from_json(a, \'{"type": "udt"}\') from t', "from_json with a type"),
        ("select from_csv(a, concat('x ', 'INT')) from t", "from_csv with a type"),
        ("select from_json(a, schema => 'x INT') from t", "from_json with a type"),
        ("select xpath(a, 'b') from t", "xpath"),
        ("select system.abs(1)", "system.abs"),
    ],
)
def test_sparks_own_parser_is_asked_too(text: str, names: str, spark: SparkSession) -> None:
    with pytest.raises(SourceError, match=names):
        refuse_unsafe_plan(spark, text, what="query", error=SourceError)


@classic_only("it shows its parser's plan")
def test_what_spark_parses_to_a_select_is_taken(spark: SparkSession) -> None:
    text = """
        with a as (select *, row_number() over (partition by x order by y) as n from values (1, 2) t(x, y))
        select a.x, transform(array(n), z -> z + 1), if(n in (select 1), 'a', 'b'), struct(x, y), current_date,
            from_json('{}', 'x INT', map('mode', 'FAILFAST')), from_json('{}', schema_of_json('{"a": 1}'))
        from a lateral view explode(array(1)) e as f where (x, y) in ((1, 2)) order by upper('x') limit 3
    """
    refuse_unsafe_plan(spark, text, what="query", error=SourceError)


@reliability(
    "Text that is code",
    "`${env:…}` in SQL text, if it got past the check",
    "stays text: the session puts no variable into it",
)
def test_no_variable_is_put_into_a_text(
    onprem: Place, write: Write, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the look at the text would fail, the session's setting still holds."""
    monkeypatch.setattr("feast_hybrid.retrieval.entity_df.refuse_unsafe", lambda *_, **__: None)
    uri = write(onprem, "moods", {"driver_id": [1], "event_timestamp": [hour(1)], "mood": ["calm"]})
    store = make_store(DRIVER, view(HybridSparkSource(name="moods", path=uri, timestamp_field="event_timestamp")))
    rows = store.get_historical_features(
        "select driver_id, event_timestamp, '${env:PATH}' as text from moods", ["moods:mood"]
    ).to_arrow()
    assert rows["text"].to_pylist() == ["${env:PATH}"]


@reliability(
    "Text that is code",
    "a path as a table in SQL text, if it got past the check",
    "the session finds no such table: it reads no path as one",
)
def test_no_path_is_a_table_in_the_sessions_of_queries(
    tmp_path: Path, onprem: Place, write: Write, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both looks at the text would fail, the session's setting still holds."""
    rules: Any = pytest.importorskip("feast_hybrid.spark.sql_rules")
    plans: Any = pytest.importorskip("feast_hybrid.spark.sql_plans")
    monkeypatch.setattr(rules, "path_as_table", lambda _: None)
    monkeypatch.setattr(plans, "path_as_table", lambda _: None)
    uri = write(onprem, "moods", {"driver_id": [1], "event_timestamp": [hour(1)], "mood": ["calm"]})
    store = make_store(DRIVER, view(HybridSparkSource(name="moods", path=uri, timestamp_field="event_timestamp")))
    with pytest.raises(Exception, match=r"TABLE_OR_VIEW_NOT_FOUND|cannot be found"):
        store.get_historical_features(f"select driver_id, event_timestamp from parquet.`{uri}`", ["moods:mood"])
    assert os.listdir(tmp_path)
