"""Entity rows and history in one frame, sorted by key and time: a row's match is the last history above."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from feast_hybrid.asof.prepare import CREATED, ENTITY_TS, TS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.asof.prepare import History

_ROW, _ORDER, _IS_ENTITY = "__fh_row", "__fh_order", "__fh_is_entity"


def window(rows: DataFrame, history: History, match: str) -> DataFrame:
    """Join by a running window over the union of entity rows and history.

    One shuffle and one sort, whatever the number of rows per key. Works on every Spark since 4.0.
    """
    seen_at = F.greatest(TS, CREATED) if history.by_created else F.col(TS)
    ranked = [TS, *([CREATED] if history.created else []), *history.values]
    carried = StructType([field for field in rows.schema.fields if field.name not in history.keys])
    above = history.frame.select(
        *history.keys,
        seen_at.alias(_ORDER),
        F.lit(False).alias(_IS_ENTITY),
        *ranked,
        F.lit(None).cast(carried).alias(_ROW),
    )
    data_types = {field.name: field.dataType for field in history.frame.schema.fields}
    below = rows.select(
        *history.keys,
        F.col(ENTITY_TS).alias(_ORDER),
        F.lit(True).alias(_IS_ENTITY),
        *(F.lit(None).cast(data_types[name]).alias(name) for name in ranked),
        F.struct(*carried.names).alias(_ROW),
    )
    in_order = [F.col(_ORDER), F.col(_IS_ENTITY)]
    best = F.when(~F.col(_IS_ENTITY), F.struct(TS, *history.values))
    created = [F.col(CREATED)] if history.created else []
    if history.by_created:
        # A row counts from max(ts, created) on, but rows rank by ts: the greatest so far, not the last.
        rank = F.when(~F.col(_IS_ENTITY), F.struct(TS, *created, *history.ranks))
        take = F.max_by(best, rank)
    else:
        in_order += [column.asc_nulls_first() for column in (*created, *history.ranks)]
        take = F.last(best, ignorenulls=True)
    # Without keys, all rows are of one partition: said in words, or Spark Connect's client warns of it.
    running = Window.partitionBy(*(history.keys or [F.lit(0)])).orderBy(*in_order)
    running = running.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    joined = below.union(above).select(*history.keys, _IS_ENTITY, _ROW, take.over(running).alias(match))
    # Keys as columns of the union: Spark then knows how the rows are partitioned, and needs no further shuffle for
    # the next view of the same keys.
    columns = [F.col(name if name in history.keys else f"{_ROW}.{name}") for name in rows.columns]
    return joined.where(F.col(_IS_ENTITY)).select(*columns, match)
