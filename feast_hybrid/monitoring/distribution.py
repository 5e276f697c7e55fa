"""How features' values are distributed, measured in Spark: what Feast's ``MetricsCalculator`` finds on the same rows.

Columns are exploded into (feature, value) rows, so that the plan stays small and the work spreads over features,
however many there are. Only what was measured is collected.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegralType,
    NumericType,
    StringType,
)

from feast_hybrid.arrow.utc import from_epoch_micros
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.frames import collect
from feast_hybrid.spark.times import micros, require_time

logger = logging.getLogger(__name__)

_PERCENTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99}


#: So many distinct numbers, over all features of a call, are held in memory to find exact percentiles.
EXACT_VALUES = 1_000_000
#: Beyond that, a percentile is off by at most one in so many of the ranks.
_PERCENTILE_ACCURACY = 10_000

#: Types of a column that has metrics, for each type of feature that Feast's monitoring knows.
_MEASURABLE: dict[str, tuple[type[DataType], ...]] = {
    "numeric": (NumericType,),
    "categorical": (NumericType, StringType, BooleanType, DateType),
}


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
    data_types = [field.dataType for field in frame.schema.fields]
    positions = {name: position for position, name in enumerate(frame.columns)}
    measurable: dict[str, dict[str, int]] = {feature_type: {} for feature_type in _MEASURABLE}
    for feature, feature_type, column in features:
        if column not in positions:
            logger.warning("%s: no metrics of feature %r, there is no column %r", what, feature, column)
            continue
        data_type = data_types[positions[column]]
        if isinstance(data_type, _MEASURABLE.get(feature_type, ())):
            measurable[feature_type][feature] = positions[column]
        else:
            logger.warning(
                "%s: no metrics of feature %r, which is %s in a column of %s",
                *(what, feature, feature_type, data_type.simpleString()),
            )
    # Whatever columns are called, from here on they go by their position.
    numbered = frame.toDF(*(f"c{position}" for position in range(len(data_types))))
    metrics = {
        **_numeric(numbered, measurable["numeric"], bins, what),
        **_categorical(numbered, measurable["categorical"], data_types, top, what),
    }
    return [metrics[feature] for feature, _, _ in features if feature in metrics]


def latest_time(frame: DataFrame, timestamp: str, *, what: str) -> datetime | None:
    """The greatest instant in a column, in UTC; None where there is none.

    Raises:
        SchemaError: the column is of a type that names no instant.
    """
    data_type = {field.name: field.dataType for field in frame.schema.fields}[timestamp]
    require_time(data_type, owner=what, role="event time", name=timestamp)
    latest = frame.agg(F.max(micros(F.col(quoted(timestamp)), data_type)).alias("latest"))
    (epoch_micros,) = collect(latest, timeout=None, what=what)["latest"].to_pylist()
    return None if epoch_micros is None else from_epoch_micros(epoch_micros)


def _metric(feature: str, feature_type: str, rows: int, known: int) -> dict[str, Any]:
    """A feature's metrics, before any of its values is looked at; ``known`` rows have one."""
    return {
        "feature_name": feature,
        "feature_type": feature_type,
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


def _exploded(frame: DataFrame, columns: Iterable[int], data_type: str) -> DataFrame:
    """One row for each row and column: the column's number in the order given, and its value in one type for all."""
    values = F.array(*(F.col(f"c{column}").cast(data_type) for column in columns))
    return frame.select(F.posexplode(values).alias("feature", "value"))


def _numeric(frame: DataFrame, columns: Mapping[str, int], bins: int, what: str) -> dict[str, dict[str, Any]]:
    """The metrics of numeric features, by their names."""
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
        F.min(finite).alias("least_finite"),
        F.max(finite).alias("greatest_finite"),
        F.count(finite).alias("finite"),
        F.approx_count_distinct(number).alias("distinct"),
    )
    summaries = {row["feature"]: row for row in collect(summary, timeout=None, what=what).to_pylist()}
    shapes: dict[int, dict[str, Any]] = {}
    if any(row["known"] for row in summaries.values()):
        shapes = _shapes(values, summaries, bins, len(columns), what)
    metrics = {}
    for index, feature in enumerate(columns):
        row = summaries.get(index, {"rows": 0, "known": 0})
        metric = _metric(feature, "numeric", row["rows"], row["known"])
        for statistic in ("mean", "stddev", "min_val", "max_val"):
            metric[statistic] = _finite(row.get(statistic))
        metric.update(shapes.get(index, {}))
        metrics[feature] = metric
    return metrics


def _shapes(
    values: DataFrame, summaries: Mapping[int, Mapping[str, Any]], bins: int, features: int, what: str
) -> dict[int, dict[str, Any]]:
    """Percentiles and histogram of each feature, by its number."""
    value = F.col("value")
    number = F.when(~F.isnan(value), value)
    fits_memory = F.col("feature").isin(_with_few_values(summaries))
    quantiles = list(_PERCENTILES.values())
    edges = [_edges(summaries.get(index), bins) for index in range(features)]
    inner_edges = F.array(
        *(F.lit([float(edge) for edge in of_feature[1:-1]] if of_feature else [math.nan]) for of_feature in edges)
    )
    edges_of_row = F.get(inner_edges, F.col("feature"))
    finite = F.abs(value) < F.lit(math.inf)
    shape = values.groupBy("feature").agg(
        F.percentile(F.when(fits_memory, number), quantiles).alias("exact"),
        F.percentile_approx(F.when(~fits_memory, number), quantiles, _PERCENTILE_ACCURACY).alias("approximate"),
        # How many values are at or above each edge between two bins.
        *(
            F.count_if(finite & (value >= F.get(edges_of_row, F.lit(edge)))).alias(f"from_edge{edge}")
            for edge in range(bins - 1)
        ),
    )
    shapes: dict[int, dict[str, Any]] = {}
    for row in collect(shape, timeout=None, what=what).to_pylist():
        index = row["feature"]
        percentiles = row["exact"] or row["approximate"] or [None] * len(quantiles)
        shapes[index] = dict(zip(_PERCENTILES, map(_finite, percentiles), strict=True))
        if edges[index]:
            above = [summaries[index]["finite"], *(row[f"from_edge{edge}"] for edge in range(bins - 1)), 0]
            shapes[index]["histogram"] = {
                "bins": edges[index],
                "counts": [above[bin_] - above[bin_ + 1] for bin_ in range(bins)],
                "bin_width": edges[index][1] - edges[index][0],
            }
    return shapes


def _with_few_values(summaries: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """The features whose distinct values fit into memory together, those with the fewest first."""
    fitting: list[int] = []
    total = 0
    for index in sorted(summaries, key=lambda index: (summaries[index]["distinct"], index)):
        total += summaries[index]["distinct"]
        if total <= EXACT_VALUES:
            fitting.append(index)
    return fitting


def _edges(summary: Mapping[str, Any] | None, bins: int) -> list[float]:
    """NumPy's edges of a histogram; none where there are no finite values, or they are too near or too far apart."""
    if not summary or summary["least_finite"] is None:
        return []
    least, greatest = summary["least_finite"], summary["greatest_finite"]
    if not math.isfinite(greatest - least):
        return []
    try:
        return [float(edge) for edge in np.histogram_bin_edges([least, greatest], bins=bins)]
    except ValueError:  # fewer floats lie between them than there are bins
        return []


def _categorical(
    frame: DataFrame, columns: Mapping[str, int], data_types: Sequence[DataType], top: int, what: str
) -> dict[str, dict[str, Any]]:
    """The metrics of categorical features, by their names."""
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
    most_frequent = ranked.where(F.col("rank") <= max(top, 1))
    rows_of: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(collect(most_frequent, timeout=None, what=what).to_pylist(), key=lambda row: row["rank"]):
        rows_of.setdefault(row["feature"], []).append(row)
    metrics = {}
    for index, (feature, column) in enumerate(columns.items()):
        found = rows_of.get(index)
        if found is None:
            metrics[feature] = _metric(feature, "categorical", 0, 0)
            continue
        known = found[0]["all"] - found[0]["nulls"]
        metric = _metric(feature, "categorical", found[0]["all"], known)
        if known:
            categories = [row for row in found if row["value"] is not None][:top]
            metric["histogram"] = {
                "values": [
                    {"value": _category(row["value"], data_types[column]), "count": row["rows"]} for row in categories
                ],
                "other_count": known - sum(row["rows"] for row in categories),
                "unique_count": found[0]["unique"],
            }
        metrics[feature] = metric
    return metrics


def _category(text: str, data_type: DataType) -> Any:
    """A category in its column's own type, where JSON has it; else its text."""
    if isinstance(data_type, BooleanType):
        return text == "true"
    if isinstance(data_type, IntegralType):
        return int(text)
    if isinstance(data_type, FloatType | DoubleType) and math.isfinite(float(text)):
        return float(text)
    return text
