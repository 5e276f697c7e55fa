"""Instants in UTC: as datetimes, as microseconds since the epoch, and as columns of Arrow tables.

A naive time is UTC wherever it is met. Precision is microseconds, the finest that Spark keeps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.types import replace_leaf_types
from feast_hybrid.errors import SchemaError

#: The type of an instant in what we write, and of Spark's ``timestamp`` in Arrow.
INSTANT = pa.timestamp("us", tz="UTC")

DAY_MICROS = 86_400 * 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64_MAX = 2**63 - 1


def as_utc(time: datetime) -> datetime:
    """The instant in UTC; a naive time is UTC already."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def to_epoch_micros(time: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z, without floating point; a naive time is UTC."""
    return (as_utc(time) - _EPOCH) // timedelta(microseconds=1)


def from_epoch_micros(micros: int) -> datetime:
    """The instant, in UTC, that is so many microseconds after 1970-01-01T00:00Z.

    Raises:
        OverflowError: it is before the year 1 or after the year 9999, which a datetime cannot hold.
    """
    return _EPOCH + timedelta(microseconds=micros)


def datetimes_of(low: int | None, high: int | None) -> tuple[datetime, datetime] | None:
    """The instants of two counts of microseconds; None without them, or where no datetime is one of them."""
    if low is None or high is None:
        return None
    try:
        return from_epoch_micros(low), from_epoch_micros(high)
    except OverflowError:
        return None


def datetime_of(micros: int | None) -> datetime | None:
    """The instant; None for None, and where no datetime is it."""
    try:
        return None if micros is None else from_epoch_micros(micros)
    except OverflowError:
        return None


def epoch_micros_of_array(array: pa.Array) -> pa.Array:
    """Times as microseconds since the epoch, as :func:`feast_hybrid.spark.times.micros` gives them.

    Args:
        array: timestamps in microseconds, naive or with a zone, or 32-bit dates, which are their midnight in UTC.

    Returns:
        64-bit integers; null for null, and for a date whose microseconds 64 bits do not hold.
    """
    if pa.types.is_timestamp(array.type):
        return array.view(pa.int64())
    days = array.view(pa.int32()).cast(pa.int64())
    limit = _INT64_MAX // DAY_MICROS
    fits = pc.and_(pc.less_equal(days, limit), pc.greater_equal(days, -limit))
    return pc.multiply(pc.if_else(fits, days, None), DAY_MICROS)


def is_time(data_type: pa.DataType) -> bool:
    """Whether a column of this type can say when."""
    return bool(pa.types.is_timestamp(data_type) or pa.types.is_date32(data_type))


def no_time(type_name: str, *, owner: str, role: str, name: str) -> SchemaError:
    """The error of a time column of a type that names no instant.

    Args:
        type_name: Spark's name for the type.
        owner: whose column it is, for the message.
        role: what the column is for.
        name: the column's.
    """
    return SchemaError(
        f"{owner}: {role} {name!r} is {type_name}; it has to be timestamp, timestamp_ntz (naive: UTC) or date "
        "(midnight UTC)"
    )


def floor_to_micros(array: pa.Array) -> pa.Array:
    """Timestamps in nanoseconds as microseconds, rounded towards the past, also before 1970; their zone stays."""
    # Arrow's own rounding goes back to nanoseconds, which the first microsecond, in 1677, begins before.
    nanos = array.cast(pa.int64())
    towards_1970 = pc.divide(nanos, 1000)
    is_later = pc.greater(pc.multiply(towards_1970, 1000), nanos)
    micros = pc.subtract(towards_1970, is_later.cast(pa.int64()))
    return micros.cast(pa.timestamp("us")).cast(pa.timestamp("us", tz=array.type.tz))


def in_utc(table: pa.Table) -> pa.Table:
    """The same instants, labelled UTC instead of the session's time zone; naive times stay naive."""

    def labelled(data_type: pa.DataType) -> pa.DataType:
        is_instant = pa.types.is_timestamp(data_type) and data_type.tz is not None
        return pa.timestamp(data_type.unit, tz="UTC") if is_instant else data_type

    schema = pa.schema([field.with_type(replace_leaf_types(field.type, labelled)) for field in table.schema])
    return table if schema.equals(table.schema) else table.cast(schema)


def in_instants(schema: pa.Schema) -> pa.Schema:
    """The schema with an instant in microseconds for each timestamp, whatever its unit and zone; naive is UTC."""

    def instant(data_type: pa.DataType) -> pa.DataType:
        return INSTANT if pa.types.is_timestamp(data_type) else data_type

    return pa.schema([field.with_type(replace_leaf_types(field.type, instant)) for field in schema])


def in_microseconds(schema: pa.Schema) -> pa.Schema:
    """The schema with microseconds for nanoseconds, which Spark cannot read from Parquet."""

    def coarsened(data_type: pa.DataType) -> pa.DataType:
        is_nanos = pa.types.is_timestamp(data_type) and data_type.unit == "ns"
        return pa.timestamp("us", tz=data_type.tz) if is_nanos else data_type

    return pa.schema([field.with_type(replace_leaf_types(field.type, coarsened)) for field in schema])
