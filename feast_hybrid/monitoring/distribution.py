"""How features' values are distributed, measured in Spark: what Feast's ``MetricsCalculator`` finds on the same rows.

Columns are exploded into (feature, value) rows, so that the plan stays small and the work spreads over features,
however many there are. Only what was measured is collected.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast_hybrid.retrieval.job import collect

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

logger = logging.getLogger(__name__)

_PERCENTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99}

#: So many distinct numbers, over all features of a call, are held in memory to find exact percentiles.
EXACT_VALUES = 1_000_000
#: Beyond that, a percentile is off by at most one in so many of the ranks.
_RANKS = 10_000


def distributions(
    frame: DataFrame,
    features: Sequence[tuple[str, str, str]],
    *,
    bins: int,
    top: int,
    what: str,
) -> list[dict[str, Any]]:
    """The metrics of each feature, in the order given and in the form of Feast's ``MetricsCalculator.compute_all``.

    Nulls are counted and otherwise left out. NaN and infinity are values: with one of them there is no mean and no
    standard deviation; percentiles ignore NaN, and the histogram shows the finite values. Whatever is not a finite
    number is None in the result. Equally frequent categories are ordered by their text.

    Args:
        frame: the rows to measure, lazily.
        features: triples of (feature, ``numeric`` or ``categorical``, column). A feature whose column is missing or
            of an unfit type is left out, with a warning: the others are measured all the same.
        bins: of the histogram of a numeric feature, all of one width.
        top: how many of the most frequent values of a categorical feature are named.
        what: how errors and warnings call the rows.

    Raises:
        RetrievalError: Spark failed.
    """
    kinds = [field.dataType for field in frame.schema.fields]
    at = {name: position for position, name in enumerate(frame.columns)}
    wanted: dict[str, dict[str, int]] = {"numeric": {}, "categorical": {}}
    for feature, kind, column in features:
        if column not in at:
            logger.warning("%s: no metrics of feature %r, there is no column %r", what, feature, column)
        elif kind not in wanted or not _fits(kind, kinds[at[column]]):
            found = kinds[at[column]].simpleString()
            logger.warning("%s: no metrics of feature %r, which is %s in a column of %s", what, feature, kind, found)
        else:
            wanted[kind][feature] = at[column]
    # Whatever columns are called, from here on they go by their position.
    numbered = frame.toDF(*(f"c{position}" for position in range(len(kinds))))
    measured = {
        **_numeric(numbered, wanted["numeric"], bins, what),
        **_categorical(numbered, wanted["categorical"], kinds, top, what),
    }
    return [measured[feature] for feature, _, _ in features if feature in measured]


def latest_time(frame: DataFrame, timestamp: str, *, what: str) -> datetime | None:
    """The greatest instant in a column, in UTC; None where there is none.

    Raises:
        SchemaError: the column is of a type that names no instant.
    """
    from datetime import UTC, datetime, timedelta

    from pyspark.sql import functions as F

    from feast_hybrid.spark.columns import quoted
    from feast_hybrid.spark.times import micros, require_time

    kind = {field.name: field.dataType for field in frame.schema.fields}[timestamp]
    require_time(kind, owner=what, role="event time", name=timestamp)
    latest = frame.agg(F.max(micros(F.col(quoted(timestamp)), kind)).alias("latest"))
    (found,) = collect(latest, timeout=None, what=what)["latest"].to_pylist()
    return None if found is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=found)


def _fits(kind: str, found: DataType) -> bool:
    from pyspark.sql.types import BooleanType, DateType, NumericType, StringType

    if kind == "numeric":
        return isinstance(found, NumericType)
    return isinstance(found, NumericType | StringType | BooleanType | DateType)


def _metric(feature: str, kind: str, rows: int, known: int) -> dict[str, Any]:
    """A feature's metrics, before any of its values is looked at."""
    return {
        "feature_name": feature,
        "feature_type": kind,
        "row_count": rows,
        "null_count": rows - known,
        "null_rate": (rows - known) / rows if rows else 0.0,
        "mean": None,
        "stddev": None,
        "min_val": None,
        "max_val": None,
        **dict.fromkeys(_PERCENTILES),
        "histogram": None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _exploded(frame: DataFrame, columns: Iterable[int], kind: str) -> DataFrame:
    """One row for each row and column: the column's number in the order given, and its value."""
    from pyspark.sql import functions as F

    values = F.array(*(F.col(f"c{column}").cast(kind) for column in columns))
    return frame.select(F.posexplode(values).alias("feature", "value"))


def _numeric(frame: DataFrame, columns: Mapping[str, int], bins: int, what: str) -> dict[str, dict[str, Any]]:
    from pyspark.sql import functions as F

    if not columns:
        return {}
    value = F.col("value")
    number = F.when(~F.isnan(value), value)
    finite = F.when(F.abs(value) < F.lit(math.inf), value)  # NaN is greater than infinity to Spark
    values = _exploded(frame, columns.values(), "double")
    summary = values.groupBy("feature").agg(
        F.count(F.lit(1)).alias("rows"),
        F.count(value).alias("known"),
        F.avg(value).alias("mean"),
        F.stddev_samp(value).alias("stddev"),
        F.min(number).alias("min_val"),
        F.max(number).alias("max_val"),
        F.min(finite).alias("low"),
        F.max(finite).alias("high"),
        F.count(finite).alias("finite"),
        F.approx_count_distinct(number).alias("distinct"),
    )
    found = {row["feature"]: row for row in collect(summary, timeout=None, what=what).to_pylist()}
    shapes = _shapes(values, found, bins, len(columns), what) if any(row["known"] for row in found.values()) else {}
    metrics = {}
    for position, feature in enumerate(columns):
        row = found.get(position, {"rows": 0, "known": 0})
        metric = _metric(feature, "numeric", row["rows"], row["known"])
        for statistic in ("mean", "stddev", "min_val", "max_val"):
            metric[statistic] = _finite(row.get(statistic))
        metric.update(shapes.get(position, {}))
        metrics[feature] = metric
    return metrics


def _shapes(
    values: DataFrame, found: Mapping[int, Mapping[str, Any]], bins: int, features: int, what: str
) -> dict[int, dict[str, Any]]:
    """Percentiles and histogram of each feature, by its number."""
    from pyspark.sql import functions as F

    value = F.col("value")
    number = F.when(~F.isnan(value), value)
    few = F.col("feature").isin(_with_few_values(found))
    quantiles = list(_PERCENTILES.values())
    edges = [_edges(found.get(position), bins) for position in range(features)]
    inner = F.array(*(F.lit([float(edge) for edge in of[1:-1]] if of else [math.nan]) for of in edges))
    mine = F.get(inner, F.col("feature"))
    finite = F.abs(value) < F.lit(math.inf)
    shape = values.groupBy("feature").agg(
        F.percentile(F.when(few, number), quantiles).alias("exact"),
        F.percentile_approx(F.when(~few, number), quantiles, _RANKS).alias("near"),
        # How many values are at or above each edge between two bins.
        *(F.count_if(finite & (value >= F.get(mine, F.lit(i)))).alias(f"from{i}") for i in range(bins - 1)),
    )
    shapes: dict[int, dict[str, Any]] = {}
    for row in collect(shape, timeout=None, what=what).to_pylist():
        position = row["feature"]
        exact = row["exact"] or row["near"] or [None] * len(quantiles)
        mine_edges = edges[position]
        shapes[position] = dict(zip(_PERCENTILES, map(_finite, exact), strict=True))
        if mine_edges:
            above = [found[position]["finite"], *(row[f"from{i}"] for i in range(bins - 1)), 0]
            shapes[position]["histogram"] = {
                "bins": mine_edges,
                "counts": [above[i] - above[i + 1] for i in range(bins)],
                "bin_width": mine_edges[1] - mine_edges[0],
            }
    return shapes


def _with_few_values(found: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """The features whose distinct values fit into memory together, those with the fewest first."""
    fitting: list[int] = []
    total = 0
    for position in sorted(found, key=lambda position: (found[position]["distinct"], position)):
        total += found[position]["distinct"]
        if total <= EXACT_VALUES:
            fitting.append(position)
    return fitting


def _edges(found: Mapping[str, Any] | None, bins: int) -> list[float]:
    """NumPy's edges of a histogram; none where there are no finite values, or they are too near or too far apart."""
    import numpy as np

    if not found or found["low"] is None or not math.isfinite(found["high"] - found["low"]):
        return []
    try:
        return [float(edge) for edge in np.histogram_bin_edges([found["low"], found["high"]], bins=bins)]
    except ValueError:  # fewer floats lie between them than there are bins
        return []


def _categorical(
    frame: DataFrame, columns: Mapping[str, int], kinds: Sequence[DataType], top: int, what: str
) -> dict[str, dict[str, Any]]:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if not columns:
        return {}
    value, rows = F.col("value"), F.col("rows")
    counted = (
        _exploded(frame, columns.values(), "string").groupBy("feature", "value").agg(F.count(F.lit(1)).alias("rows"))
    )
    all_values = Window.partitionBy("feature")
    by_frequency = all_values.orderBy(value.isNull(), rows.desc(), value)
    ranked = counted.select(
        "feature",
        "value",
        "rows",
        F.row_number().over(by_frequency).alias("rank"),
        F.sum(rows).over(all_values).alias("all"),
        F.coalesce(F.sum(F.when(value.isNull(), rows)).over(all_values), F.lit(0)).alias("nulls"),
        F.count(value).over(all_values).alias("unique"),
    )
    # One row at least, since it holds the totals too.
    best = ranked.where(F.col("rank") <= max(top, 1))
    found: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(collect(best, timeout=None, what=what).to_pylist(), key=lambda row: row["rank"]):
        found.setdefault(row["feature"], []).append(row)
    metrics = {}
    for position, (feature, column) in enumerate(columns.items()):
        values = found.get(position)
        if values is None:
            metrics[feature] = _metric(feature, "categorical", 0, 0)
            continue
        known = values[0]["all"] - values[0]["nulls"]
        metric = _metric(feature, "categorical", values[0]["all"], known)
        if known:
            named = [row for row in values if row["value"] is not None][:top]
            metric["histogram"] = {
                "values": [{"value": _value(row["value"], kinds[column]), "count": row["rows"]} for row in named],
                "other_count": known - sum(row["rows"] for row in named),
                "unique_count": values[0]["unique"],
            }
        metrics[feature] = metric
    return metrics


def _value(text: str, kind: DataType) -> Any:
    """A category in its column's own type, where JSON has it; else its text."""
    from pyspark.sql.types import BooleanType, DoubleType, FloatType, IntegralType

    if isinstance(kind, BooleanType):
        return text == "true"
    if isinstance(kind, IntegralType):
        return int(text)
    if isinstance(kind, FloatType | DoubleType) and math.isfinite(float(text)):
        return float(text)
    return text
