"""Spark 4.3's ``LEFT ASOF JOIN``, over a history that has been reduced to one row for each key and time.

Spark's operator (``SortMergeAsOfJoinExec``) looks for the match of each entity row from the start of its
key's history: its time grows with entity rows x history rows *of a key*. It breaks no ties.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feast_hybrid.asof.prepare import AT, CREATED, TS
from feast_hybrid.errors import JoinError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.asof.prepare import History

#: Switches the syntax on. Read when SQL is parsed: on Classic once, on Connect at each use of the frame.
SYNTAX = "spark.sql.join.asofJoin.enabled"
_FROM = "__fh_from"
_switching = threading.Lock()


def native(rows: DataFrame, history: History, answer: str) -> DataFrame:
    """Join by Spark's own as-of operator. Spark 4.3 and later, and at least one key.

    Raises:
        JoinError: The session is one of Spark Connect, and the syntax is not switched on in it.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    steps = _steps(history, answer)
    session = rows.sparkSession
    if steps.sparkSession is not session:
        # SQL finds its frames as temp views of one session; a union belongs to the session of its first part.
        empty = [F.lit(None).cast(field.dataType).alias(field.name) for field in steps.schema.fields]
        steps = rows.select(*empty).where(F.lit(False)).union(steps)
    right = steps.withColumnsRenamed({key: f"{key}_r" for key in history.keys})
    # Only names of ours are in this text: the caller's are gone since prepare().
    on = " AND ".join(f"l.{key} = r.{key}_r" for key in history.keys)
    query = (
        f"SELECT l.*, r.{answer} FROM {{l}} AS l LEFT ASOF JOIN {{r}} AS r "
        f"MATCH_CONDITION (l.{AT} >= r.{_FROM}) ON {on}"
    )
    with _syntax(session):
        joined = session.sql(query, l=rows, r=right)
    joined = joined.select(*rows.columns, F.col(answer))
    try:
        # Spark Connect parses the query whenever it is used: better to learn that now than when it runs.
        joined.schema  # noqa: B018 - asks for the analysis
    except PySparkException as error:
        raise JoinError(
            f"view {history.name!r}: strategy 'native' cannot be used: this session parses the query again "
            f"when rows are asked for; set {SYNTAX} to true in it, or use 'auto'"
        ) from error
    return joined


def _steps(history: History, answer: str) -> DataFrame:
    """The answer from each moment on at which it changes: (keys, moment, answer)."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    best = F.struct(TS, *history.values)
    created = [F.col(CREATED)] if history.created else []
    by_key = Window.partitionBy(*history.keys)
    if history.by_created:
        # A row counts from max(ts, created) on; rows of one moment share a frame, and so their answer.
        rank = F.struct(TS, *created, *history.ranks)
        running = by_key.orderBy(_FROM).rangeBetween(Window.unboundedPreceding, Window.currentRow)
        seen = history.frame.withColumn(_FROM, F.greatest(TS, CREATED))
        return seen.select(*history.keys, _FROM, F.max_by(best, rank).over(running).alias(answer))
    order = [F.col(TS), *(column.asc_nulls_first() for column in (*created, *history.ranks))]
    following = F.lead(TS).over(by_key.orderBy(*order))
    last = history.frame.withColumn("__fh_next", following)
    last = last.where(F.col("__fh_next").isNull() | (F.col("__fh_next") != F.col(TS)))
    return last.select(*history.keys, F.col(TS).alias(_FROM), best.alias(answer))


@contextmanager
def _syntax(session: SparkSession) -> Iterator[None]:
    """Allow the syntax in this session for as long as a query takes to be parsed."""
    with _switching:
        before = session.conf.get(SYNTAX, None)
        if before == "true":
            yield
            return
        session.conf.set(SYNTAX, "true")
        try:
            yield
        finally:
            if before is None:
                session.conf.unset(SYNTAX)
            else:
                session.conf.set(SYNTAX, before)
