"""Spark's columns of join keys in the common form in which they are compared: see :mod:`feast_hybrid.asof.key_types`.

Every key is brought to a *domain*, a type in which equality of values is plain equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.types import DecimalType, DoubleType, FloatType, NullType

from feast_hybrid.asof.key_types import DECIMAL, FLOAT, INSTANT, TEXT, VOID, WHOLE, KeyType, compared_as
from feast_hybrid.spark.times import micros

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

#: Digits of the greatest ``bigint``.
_LONG_DIGITS = 19


def _family(data_type: DataType) -> str | None:
    """The family within which types compare by value; None for what can be no key."""
    table: tuple[tuple[type[DataType] | tuple[type[DataType], ...], str], ...] = (
        (T.IntegralType, WHOLE),
        ((T.FloatType, T.DoubleType), FLOAT),
        ((T.StringType, T.CharType, T.VarcharType), TEXT),
        ((T.TimestampType, T.TimestampNTZType), INSTANT),
        (T.BooleanType, "boolean"),
        (T.BinaryType, "binary"),
        (T.DateType, "date"),
        ((T.DayTimeIntervalType, T.YearMonthIntervalType), data_type.simpleString()),
        (T.NullType, VOID),
    )
    for types, family in table:
        if isinstance(data_type, types):
            return family
    return data_type.simpleString() if data_type.typeName() == "time" else None


@dataclass(frozen=True)
class Domain:
    """The form in which both sides of a key are compared.

    Args:
        family: The family of types that are compared.
        type: The Spark type of the compared form.
    """

    family: str
    type: DataType

    def of(self, column: Column, data_type: DataType) -> Column:
        """A key in this form; null where it is null, or equals no value of the other side's type.

        Args:
            column: The key as it stands in its frame.
            data_type: Its type there.
        """
        if isinstance(data_type, NullType):
            return F.lit(None).cast(self.type)
        if self.family == INSTANT:
            return micros(column, data_type)
        if self.family == WHOLE and isinstance(data_type, FloatType | DoubleType):
            value = column.cast("double")
            whole = value.try_cast("long")
            return F.when((whole.cast("double") == value) & (value < F.lit(2.0**63)), whole)
        if isinstance(data_type, T.CharType):
            return F.rtrim(column)  # Spark pads it when it reads it
        if self.family == FLOAT:
            # As Spark's own joins: every NaN equals every NaN, and -0.0 equals 0.0.
            value = column.cast("double")
            return F.when(F.isnan(value), F.lit(float("nan"))).when(value == 0, F.lit(0.0)).otherwise(value)
        if self.family == DECIMAL and data_type != self.type:
            cut = column.try_cast(self.type)
            back = data_type if isinstance(data_type, DecimalType) else DecimalType(_LONG_DIGITS, 0)
            return F.when(cut.try_cast(back) == column.cast(back), cut)
        return column.cast(self.type)


def domain(entity: DataType, source: DataType, *, view: str, entity_column: str, source_column: str) -> Domain:
    """The form in which an entity key and a source key are compared.

    Args:
        entity: Type of the entity frame's column.
        source: Type of the view's column.
        view: The view's name, for the error.
        entity_column: The entity frame's column, for the error.
        source_column: The view's column, for the error.

    Raises:
        SchemaError: The types cannot be compared by value, such as a string and a number.
    """
    found = compared_as(
        _key_type(entity), _key_type(source), view=view, entity_column=entity_column, source_column=source_column
    )
    if found.digits is not None:
        whole, fraction = found.digits
        return Domain(found.family, DecimalType(whole + fraction, fraction))
    own = source if isinstance(entity, NullType) else entity
    return Domain(found.family, _COMPARED.get(found.family, own))


#: The types of those families in which there are several.
_COMPARED: dict[str, DataType] = {
    WHOLE: T.LongType(),
    FLOAT: T.DoubleType(),
    TEXT: T.StringType(),
    INSTANT: T.LongType(),
}


def _key_type(data_type: DataType) -> KeyType:
    name = data_type.simpleString()
    if isinstance(data_type, DecimalType):
        return KeyType(DECIMAL, name, (data_type.precision - data_type.scale, data_type.scale))
    return KeyType(_family(data_type), name)
