"""Join keys compare by value: which types go together, and the common form in which they are compared.

Every key is brought to a *domain*, a type in which equality of values is plain equality. What has no place in
the domain becomes null there, and null matches nothing: a ``double`` of 1.5 equals no integer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.types import DecimalType, DoubleType, FloatType, NullType

from feast_hybrid.errors import SchemaError
from feast_hybrid.spark.times import micros

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

_WHOLE = "whole number"
_FLOAT = "floating-point number"
_DECIMAL = "decimal number"
_INSTANT = "instant"
_LONG_DIGITS = 19


def _family(data_type: DataType) -> str | None:
    """The family within which types compare by value; None for what can be no key."""
    table: tuple[tuple[type[DataType] | tuple[type[DataType], ...], str], ...] = (
        (T.IntegralType, _WHOLE),
        ((T.FloatType, T.DoubleType), _FLOAT),
        (T.DecimalType, _DECIMAL),
        ((T.StringType, T.CharType, T.VarcharType), "string"),
        ((T.TimestampType, T.TimestampNTZType), _INSTANT),
        (T.BooleanType, "boolean"),
        (T.BinaryType, "binary"),
        (T.DateType, "date"),
        ((T.DayTimeIntervalType, T.YearMonthIntervalType), data_type.simpleString()),
        (T.NullType, "void"),
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
        if self.family == _INSTANT:
            return micros(column, data_type)
        if self.family == _WHOLE and isinstance(data_type, FloatType | DoubleType):
            value = column.cast("double")
            whole = value.try_cast("long")
            return F.when((whole.cast("double") == value) & (value < F.lit(2.0**63)), whole)
        if isinstance(data_type, T.CharType):
            return F.rtrim(column)  # Spark pads it when it reads it
        if self.family == _FLOAT:
            # As Spark's own joins: every NaN equals every NaN, and -0.0 equals 0.0.
            value = column.cast("double")
            return F.when(F.isnan(value), F.lit(float("nan"))).when(value == 0, F.lit(0.0)).otherwise(value)
        if self.family == _DECIMAL and data_type != self.type:
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
    left, right = _family(entity), _family(source)
    where = (
        f"view {view!r}: key column {source_column!r} is {source.simpleString()} "
        f"and entity column {entity_column!r} is {entity.simpleString()}"
    )
    if left is None or right is None:
        wrong = entity if left is None else source
        raise SchemaError(f"{where}; {wrong.simpleString()} cannot be a join key")
    if left == "void" or right == "void":
        left = right = right if left == "void" else left
        entity = source = source if isinstance(entity, T.NullType) else entity
    pair = {left, right}
    if pair <= {_WHOLE, _FLOAT}:
        return Domain(_WHOLE, T.LongType()) if _WHOLE in pair else Domain(_FLOAT, T.DoubleType())
    if pair <= {_WHOLE, _DECIMAL}:
        return Domain(_DECIMAL, _narrower(_as_decimal(entity), _as_decimal(source)))
    if left != right:
        raise SchemaError(f"{where}; keys are compared by value, never by text: cast one of the two")
    if left == "string":
        return Domain(left, T.StringType())
    if left == _INSTANT:
        return Domain(left, T.LongType())
    return Domain(left, entity)


def _as_decimal(data_type: DataType) -> tuple[int, int]:
    """Digits before and after the decimal point."""
    if isinstance(data_type, DecimalType):
        return data_type.precision - data_type.scale, data_type.scale
    return _LONG_DIGITS, 0


def _narrower(left: tuple[int, int], right: tuple[int, int]) -> DataType:
    """The decimal type of the values that both types can hold, and so of all values that can be equal."""
    whole, fraction = min(left[0], right[0]), min(left[1], right[1])
    return DecimalType(max(whole + fraction, 1), fraction)
