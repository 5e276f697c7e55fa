"""Feast's monitoring tables, kept on a lake."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.monitoring.monitoring_utils import monitoring_table_meta, normalize_monitoring_row

from feast_hybrid.errors import ConfigError, HybridError, RetrievalError, WriteError
from feast_hybrid.monitoring.keyed_files import WRITTEN, Filter, KeyedFiles

if TYPE_CHECKING:
    from feast_hybrid.config import HybridSparkOfflineStoreConfig

#: What Feast can ask for.
METRIC_TYPES = ("feature", "feature_view", "feature_service", "job")

_TIMES = ("computed_at", "max_event_timestamp", "started_at", "completed_at")
_COUNTS = (
    *("row_count", "null_count", "total_row_count", "total_features", "features_with_nulls", "total_feature_views"),
)
_NUMBERS = (
    *("null_rate", "mean", "stddev", "min_val", "max_val", "p50", "p75", "p90", "p95", "p99"),
    *("avg_null_rate", "max_null_rate"),
)

_COMPARISONS = {"=": operator.eq, ">=": operator.ge, "<=": operator.le}

#: Baselines that were cleared: rows that say of which metrics, and since when. A null stands for all.
_CLEARED = "feast_monitoring_cleared_baselines"
_CLEARED_KEY = ("project_id", "feature_view_name", "feature_name", "data_source_type")

#: Folders of their own keep small what one query reads and one merge rewrites.
_FOLDERS = ("project_id", "feature_view_name", "feature_service_name")


def check_location(store: HybridSparkOfflineStoreConfig) -> None:
    """Raise ConfigError where no place for metrics is configured. Folders come with the first row."""
    _table(store, "feature")


def save_metrics(
    store: HybridSparkOfflineStoreConfig, metric_type: str, metrics: Iterable[Mapping[str, Any]]
) -> None:
    """Keep metrics; one that is there already, by Feast's key of its type, is replaced as a whole.

    Raises:
        ConfigError: no place is configured, or there is no such type.
        WriteError: a metric lacks a part of its key or has a value of another type, or the lake refused.
    """
    table, columns, key = _table(store, metric_type)
    table.put([_row(metric, columns, key, metric_type) for metric in metrics])


def query_metrics(
    store: HybridSparkOfflineStoreConfig,
    project: str,
    metric_type: str,
    filters: Mapping[str, Any] | None = None,
    start: date | None = None,
    end: date | None = None,
) -> list[dict[str, Any]]:
    """The metrics of a type, by date ascending, in the form that Feast's own stores give.

    Args:
        store: says where metrics are kept.
        project: the project; empty for all, as Feast looks up jobs.
        metric_type: one of :data:`METRIC_TYPES`.
        filters: columns and the value that they must have; None for any.
        start: the first ``metric_date``, inclusive.
        end: the last ``metric_date``, inclusive.

    Raises:
        ConfigError: no place is configured, or there is no such type.
        RetrievalError: a filter names no column, or the lake refused.
    """
    table, columns, key = _table(store, metric_type)
    wanted = {column: value for column, value in (filters or {}).items() if value is not None}
    for column in wanted:
        if column not in columns:
            raise RetrievalError(
                f"monitoring metrics of type {metric_type!r} have no column {column!r}; they have "
                f"{', '.join(columns)}."
            )
    wanted = {column: _typed(column, value, RetrievalError) for column, value in wanted.items()}
    if project:
        wanted["project_id"] = project
    conditions: list[Filter] = [(column, "=", value) for column, value in wanted.items()]
    conditions += [("metric_date", sign, day) for sign, day in ((">=", start), ("<=", end)) if day is not None]
    # Of a key the newest row counts, so that only columns of the key may decide which rows are read.
    rows = table.rows([condition for condition in conditions if condition[0] in key])
    if metric_type == "feature":
        # Read after the rows: a baseline that is saved after a clearing is never seen without the clearing.
        _apply(_cleared(store).rows([("project_id", "=", project)] if project else []), rows)
    found = [row for row in rows if all(_COMPARISONS[sign](row[name], value) for name, sign, value in conditions)]
    found.sort(key=lambda row: (row["metric_date"], *(str(row[column]) for column in key)))
    return [normalize_monitoring_row({column: row[column] for column in columns}) for row in found]


def clear_baseline(
    store: HybridSparkOfflineStoreConfig,
    project: str,
    feature_view_name: str | None = None,
    feature_name: str | None = None,
    data_source_type: str | None = None,
) -> None:
    """From now on no feature metric that is kept by now is a baseline; None stands for all.

    Nothing is rewritten: a metric that somebody saves meanwhile is not lost.

    Raises:
        ConfigError: no place is configured.
        WriteError: the lake refused.
    """
    values = (project, feature_view_name, feature_name, data_source_type)
    _cleared(store).put([dict(zip(_CLEARED_KEY, values, strict=True))])


def _apply(cleared: Iterable[Mapping[str, Any]], rows: Iterable[dict[str, Any]]) -> None:
    """Take the baselines back that were cleared after they were saved."""
    clearings = list(cleared)
    for row in rows:
        if row["is_baseline"] and any(
            clearing[WRITTEN] > row[WRITTEN]
            and all(clearing[column] in (None, row[column]) for column in _CLEARED_KEY)
            for clearing in clearings
        ):
            row["is_baseline"] = False


def _table(store: HybridSparkOfflineStoreConfig, metric_type: str) -> tuple[KeyedFiles, list[str], list[str]]:
    """The table of a type, its columns and its key."""
    if metric_type not in METRIC_TYPES:
        raise ConfigError(f"there are no monitoring metrics of type {metric_type!r}; use {', '.join(METRIC_TYPES)}.")
    name, columns, key = monitoring_table_meta(metric_type)
    folders = [column for column in _FOLDERS if column in key]
    return _keyed_files(store, name, columns, key, folders), columns, key


def _cleared(store: HybridSparkOfflineStoreConfig) -> KeyedFiles:
    return _keyed_files(store, _CLEARED, _CLEARED_KEY, _CLEARED_KEY, ["project_id"])


def _keyed_files(
    store: HybridSparkOfflineStoreConfig,
    name: str,
    columns: Iterable[str],
    key: Iterable[str],
    folders: Iterable[str],
) -> KeyedFiles:
    if not store.monitoring_location:
        raise ConfigError(
            "monitoring keeps its metrics on a lake: set offline_store.monitoring_location to a folder, such as "
            "hdfs://lake/feast_monitoring or abfss://features@acct.dfs.core.windows.net/feast_monitoring."
        )
    root = store.router.locate(store.monitoring_location, what="offline_store.monitoring_location", configured=True)
    schema = pa.schema([(column, arrow_type(column)) for column in columns])
    return KeyedFiles(root.child(name), schema, key=tuple(key), folders=tuple(folders))


def arrow_type(column: str) -> pa.DataType:
    """The type of a column of Feast's monitoring tables; what has no other is kept as text."""
    if column == "metric_date":
        return pa.date32()
    if column == "is_baseline":
        return pa.bool_()
    if column in _TIMES:
        return pa.timestamp("us", tz="UTC")
    if column in _COUNTS:
        return pa.int64()
    return pa.float64() if column in _NUMBERS else pa.string()


def _row(metric: Mapping[str, Any], columns: Iterable[str], key: Iterable[str], metric_type: str) -> dict[str, Any]:
    row = {column: _typed(column, metric.get(column), WriteError) for column in columns}
    missing = [column for column in key if row[column] is None]
    if missing:
        raise WriteError(f"a monitoring metric of type {metric_type!r} lacks {', '.join(missing)}.")
    return row


def _typed(column: str, value: Any, error: type[HybridError]) -> Any:
    """A value in its column's type; dates and times may be given as ISO texts, naive times are UTC."""
    if value is None:
        return None
    try:
        if column == "metric_date":
            value = datetime.fromisoformat(value) if isinstance(value, str) else value
            return value.date() if isinstance(value, datetime) else value
        if column in _TIMES:
            value = datetime.fromisoformat(value) if isinstance(value, str) else value
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if column == "is_baseline":
            return bool(value)
        if column in _COUNTS:
            return int(value)
        if column in _NUMBERS:
            return float(value)
    except (ValueError, TypeError, AttributeError):
        raise error(f"monitoring metrics: {column} cannot be {value!r}.") from None
    return value if isinstance(value, str) else json.dumps(value)
