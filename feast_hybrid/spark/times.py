"""Times as instants: microseconds since 1970-01-01T00:00Z, in a ``bigint``.

None of these expressions consults the session's time zone. A cast from ``timestamp_ntz`` or ``date`` to
``timestamp`` would, and so do ``timestampdiff`` and ``unix_micros`` of those types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import DateType, TimestampNTZType, TimestampType

from feast_hybrid.errors import SchemaError

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
        raise SchemaError(
            f"{owner}: {role} {name!r} is {data_type.simpleString()}; "
            "it has to be timestamp, timestamp_ntz (naive: UTC) or date (midnight UTC)"
        )


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
