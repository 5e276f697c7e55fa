"""The latest row of each key: the as-of join's ranking without entity rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from feast_hybrid.asof import ties
from feast_hybrid.spark.columns import position
from feast_hybrid.spark.times import micros, require_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


def latest_rows(
    frame: DataFrame,
    *,
    what: str,
    keys: Sequence[str],
    timestamp: str,
    created: str | None = None,
    values: Sequence[str] = (),
) -> DataFrame:
    """Of all rows with the same keys the one with the greatest (``timestamp``, ``created``).

    Rows that tie on both are ranked by their values, as in :func:`feast_hybrid.asof.asof_join`. Rows with a null
    key or a null time are left out: nothing could be looked up by them. Without keys, the one latest row.

    Args:
        frame: the rows.
        what: how an error names them: the source and its place.
        keys: the columns that identify an entity; may be empty.
        timestamp: the event time.
        created: when the row was written; a null ranks lowest.
        values: the columns to keep besides the keys and times; they rank ties.

    Returns:
        ``keys``, ``values``, ``timestamp`` and ``created``, each once.

    Raises:
        SchemaError: a column is missing, or its type is unfit.
    """
    names = list(dict.fromkeys([*keys, *values, timestamp, *([created] if created else [])]))
    fields = frame.schema.fields
    positions = {name: position(name, frame.columns, owner=what, role="column") for name in names}
    own = {name: f"__fh_l{i}" for i, name in enumerate(names)}
    data_types = {name: fields[place].dataType for name, place in positions.items()}
    numbered = frame.toDF(*(f"__fh_s{i}" for i in range(len(fields))))
    rows = numbered.select(*(F.col(f"__fh_s{place}").alias(own[name]) for name, place in positions.items()))
    # Not dropna(), which would drop a key of NaN too.
    for name in (*keys, timestamp):
        rows = rows.where(F.col(own[name]).isNotNull())
    order = []
    for name, role in (
        (timestamp, "timestamp column"),
        *([(created, "created timestamp column")] if created else []),
    ):
        require_time(data_types[name], owner=what, role=role, name=name)
        order.append(micros(F.col(own[name]), data_types[name]))
    order += ties.ranks([(name, own[name], data_types[name]) for name in values if name not in keys])
    rank = F.struct(*(column.alias(f"r{i}") for i, column in enumerate(order)))
    best = F.max_by(F.struct(*(F.col(own[name]) for name in names)), rank).alias("__fh_best")
    grouped = rows.groupBy(*(own[name] for name in keys)).agg(best).where(F.col("__fh_best").isNotNull())
    return grouped.select("__fh_best.*").toDF(*names)
