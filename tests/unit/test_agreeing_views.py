"""Views of one source that declare a column otherwise: each holds by itself, and all of them together."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, RepoConfig, ValueType
from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SchemaError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.declared import LiveObjects
from feast_hybrid.sources.file_schema import file_schema
from feast_hybrid.sources.resolve import source_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = Entity(name="agreed_key", join_keys=["k"], value_type=ValueType.INT64)


@pytest.fixture
def config(tmp_path: Path) -> RepoConfig:
    return RepoConfig(
        project="agreement",
        provider="local",
        registry=str(tmp_path / "registry.db"),
        offline_store={"type": "feast_hybrid.HybridSparkOfflineStore"},
        entity_key_serialization_version=3,
    )


def rows(folder: Path, *files: dict[str, Any], partition: str = "") -> HybridSparkSource:
    for number, columns in enumerate(files):
        (folder / "rows" / partition).mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table({"k": [1], "ts": pa.array([0], pa.timestamp("us", "UTC")), **columns}),
            folder / "rows" / partition / f"{number}.parquet",
        )
    return HybridSparkSource(name="rows", path=f"file://{folder}/rows", timestamp_field="ts")


def view(name: str, of: HybridSparkSource, **types: Any) -> FeatureView:
    schema = [Field(name=column, dtype=data_type) for column, data_type in {"k": Int64, **types}.items()]
    return FeatureView(name=name, entities=[KEY], source=of, schema=schema)


EACH_WAY: list[Callable[[HybridSparkSource, RepoConfig], object]] = [
    lambda source, config: source.validate(config),
    lambda source, config: source.get_table_column_names_and_types(config),
]


@pytest.mark.parametrize("apply", EACH_WAY, ids=["feast apply", "inference"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_view_that_the_files_contradict_is_refused_whatever_others_declare(
    tmp_path: Path, config: RepoConfig, order: int, apply: Callable[[HybridSparkSource, RepoConfig], object]
) -> None:
    source = rows(tmp_path, {"v": ["text"]})
    views = [view("right", source, v=String), view("wrong", source, v=Int64)][::order]
    with pytest.raises(SchemaError, match=r"view 'wrong': source 'rows' .*'v' is declared int64, but is string"):
        apply(source, config)
    del views


@pytest.mark.parametrize("apply", EACH_WAY, ids=["feast apply", "inference"])
@pytest.mark.parametrize(
    ("files", "partition", "one", "other"),
    [
        ([{}], "v=01234", String, Int64),
        ([{"v": [None]}], "", String, UnixTimestamp),
        ([{"v": [None]}], "", Bool, Array(Int64)),
    ],
)
def test_views_to_which_a_column_is_two_things_are_refused(
    tmp_path: Path,
    config: RepoConfig,
    apply: Callable[[HybridSparkSource, RepoConfig], object],
    files: list[dict[str, Any]],
    partition: str,
    one: Any,
    other: Any,
) -> None:
    source = rows(tmp_path, *files, partition=partition)
    views = [view("one", source, v=one), view("other", source, v=other)]
    with pytest.raises(SchemaError) as refused:
        apply(source, config)
    for part in ("source 'rows'", "column 'v'", "view 'one', which declares", "view 'other', which declares"):
        assert part in str(refused.value)
    del views


@pytest.mark.parametrize(
    ("files", "one", "other"),
    [
        ([{"v": pa.array([1], pa.int32())}], (Int64, pa.int64()), (Float64, pa.float64())),
        ([{"v": [1]}, {"v": [2.0]}], (Int64, pa.int64()), (Float64, pa.float64())),
        ([{"v": [1]}], (String, pa.int64()), (Int64, pa.int64())),
    ],
)
def test_views_that_both_hold_have_their_own_types(
    tmp_path: Path, config: RepoConfig, files: list[dict[str, Any]], one: Any, other: Any
) -> None:
    source = rows(tmp_path, *files)
    views = [view("one", source, v=one[0]), view("other", source, v=other[0])]
    source.validate(config)
    for found, (_, data_type) in zip(views, (one, other), strict=True):
        column = file_schema(source_spec(source, Router(), view=found), Router()).find("v")
        assert column is not None
        assert column.data_type == data_type


def test_a_definition_that_was_corrected_under_its_name_counts(tmp_path: Path, config: RepoConfig) -> None:
    source = rows(tmp_path, {"v": ["text"]})
    kept = [view("rows", source, v=Int64)]
    with pytest.raises(SchemaError):
        source.validate(config)
    kept.append(view("rows", source, v=String))
    source.validate(config)


def test_where_spark_knows_the_columns_alone_a_warning_names_both_views(
    monkeypatch: pytest.MonkeyPatch, config: RepoConfig, caplog: pytest.LogCaptureFixture
) -> None:
    source = HybridSparkSource(name="rows", table="rows", timestamp_field="ts")
    views = [view("one", source, v=String), view("other", source, v=Bool)]
    _without_spark(monkeypatch)
    with pytest.raises(RuntimeError, match="no Spark here"):
        source.get_table_column_names_and_types(config)
    [warning] = [message for message in caplog.messages if "column 'v'" in message]
    assert "to view 'one', which declares it string, and bool to view 'other', which declares it bool" in warning
    del views


def _without_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_session(*_: object) -> None:
        raise RuntimeError("no Spark here")

    monkeypatch.setattr("feast_hybrid.sources.reader.reader_for", no_session)


@pytest.mark.parametrize("apply", EACH_WAY, ids=["feast apply", "inference"])
def test_one_look_at_the_process_serves_a_source(
    tmp_path: Path,
    config: RepoConfig,
    apply: Callable[[HybridSparkSource, RepoConfig], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = rows(tmp_path, {"v": [1]})
    views = [view("one", source, v=Int64), view("other", source, v=Int64)]
    looks: list[LiveObjects] = []
    find = LiveObjects.find

    def counting() -> LiveObjects:
        looks.append(find())
        return looks[-1]

    monkeypatch.setattr(LiveObjects, "find", staticmethod(counting))
    monkeypatch.setattr(gc, "get_objects", lambda *_: pytest.fail("another look"))
    apply(source, config)
    assert len(looks) == 1
    assert {id(found) for found in looks[0].views_of(source)} == {id(found) for found in views}
