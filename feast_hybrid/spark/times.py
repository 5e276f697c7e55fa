"""Times as instants: microseconds since 1970-01-01T00:00Z, in a ``bigint``.

None of these expressions consults the session's time zone. A cast from ``timestamp_ntz`` or ``date`` to
``timestamp`` would, and so do ``timestampdiff`` and ``unix_micros`` of those types.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import DateType, TimestampNTZType, TimestampType

from feast_hybrid.arrow.utc import no_time, to_epoch_micros

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_LONG_MIN = -(2**63)


def is_time(data_type: DataType) -> bool:
    """Whether a column of this type can say when."""
    return isinstance(data_type, TimestampType | TimestampNTZType | DateType)


def require_time(data_type: DataType, *, owner: str, role: str, name: str) -> None:
    """Refuse a time column of a type that names no instant.

    Raises:
        SchemaError: The column is no timestamp, timestamp_ntz or date.
    """
    if not is_time(data_type):
        raise no_time(data_type.simpleString(), owner=owner, role=role, name=name)


def micros(column: Column, data_type: DataType) -> Column:
    """The instant as microseconds since the epoch; null where it is null or does not fit into 64 bits."""
    if isinstance(data_type, TimestampType):
        return F.unix_micros(column)
    if isinstance(data_type, DateType):
        return F.try_multiply(F.unix_date(column).cast("long"), F.lit(_DAY))
    # A naive time is split into its fields: Spark reads those in UTC, not in the session's zone.
    days = F.unix_date(column.cast("date")).cast("long")
    minutes = F.hour(column).cast("long") * F.lit(60) + F.minute(column)
    within = (F.date_part(F.lit("SECOND"), column) * F.lit(_SECOND)).cast("long")
    return F.try_add(F.try_multiply(days, F.lit(_DAY)), minutes * F.lit(60 * _SECOND) + within)


def within_ttl(ts: Column, timestamp: Column, ttl: int) -> Column:
    """Whether ``ts`` is no more than ``ttl`` microseconds before ``timestamp``; both ends count."""
    return ts >= F.coalesce(F.try_subtract(timestamp, F.lit(ttl)), F.lit(_LONG_MIN))


def bounded(column: Column, data_type: DataType, bound: datetime, *, at_least: bool) -> Column:
    """Whether a time is not before, or not after, an instant.

    The bound is a literal of the column's own type, so that file formats can skip what lies outside.

    Args:
        column: The time.
        data_type: Its type, one of those that say when.
        bound: The instant, in UTC.
        at_least: Whether it is the first that is wanted, or the last.
    """
    if isinstance(data_type, DateType):
        literal = F.lit(bound.date())
        if at_least and bound.time() != datetime.min.time():
            # A date is its midnight in UTC, so a start within a day excludes that day.
            return column > literal
    elif isinstance(data_type, TimestampNTZType):
        literal = F.lit(bound.replace(tzinfo=None).isoformat(sep=" ")).cast("timestamp_ntz")
    else:
        literal = F.timestamp_micros(F.lit(to_epoch_micros(bound)))
    return column >= literal if at_least else column <= literal
