"""Which types of join keys go together, and as what they are compared: one rule for Spark's types and Arrow's.

Every key is brought to a form in which equality of values is plain equality. What has no place in it becomes null
there, and null matches nothing: a ``double`` of 1.5 equals no integer.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.arrow.utc import INSTANT as INSTANT_TYPE
from feast_hybrid.errors import SchemaError

WHOLE = "whole number"
FLOAT = "floating-point number"
DECIMAL = "decimal number"
INSTANT = "instant"
TEXT = "string"
VOID = "void"
_LONG_DIGITS = 19


@dataclass(frozen=True)
class KeyType:
    """The type of a key column.

    Args:
        family: Of types that are compared by value; None for what can be no key.
        name: Spark's name for the type, for errors.
        digits: Of a decimal number, before and after its point.
    """

    family: str | None
    name: str
    digits: tuple[int, int] = (_LONG_DIGITS, 0)


@dataclass(frozen=True)
class KeyDomain:
    """As what two keys are compared.

    Args:
        family: Of both.
        digits: Of decimal numbers, before and after the point; None for other families.
    """

    family: str
    digits: tuple[int, int] | None = None


def compared_as(entity: KeyType, source: KeyType, *, view: str, entity_column: str, source_column: str) -> KeyDomain:
    """As what an entity key and a source key are compared.

    Args:
        entity: Type of the entity rows' column.
        source: Type of the view's column.
        view: The view's name, for the error.
        entity_column: The entity rows' column, for the error.
        source_column: The view's column, for the error.

    Raises:
        SchemaError: The types cannot be compared by value, such as a string and a number.
    """
    where = (
        f"view {view!r}: key column {source_column!r} is {source.name} and entity column {entity_column!r} is "
        f"{entity.name}"
    )
    left, right = entity.family, source.family
    if left is None or right is None:
        wrong = entity if left is None else source
        raise SchemaError(f"{where}; {wrong.name} cannot be a join key")
    if VOID in (left, right):
        known = source if left == VOID else entity
        left = right = known.family or VOID
        entity = source = known
    pair = {left, right}
    if pair <= {WHOLE, FLOAT}:
        return KeyDomain(WHOLE if WHOLE in pair else FLOAT)
    if pair <= {WHOLE, DECIMAL}:
        return KeyDomain(DECIMAL, _narrower(_digits(entity), _digits(source)))
    if left != right:
        raise SchemaError(f"{where}; keys are compared by value, never by text: cast one of the two")
    return KeyDomain(left)


def key_type_of_arrow(data_type: pa.DataType) -> KeyType:
    """What a key column of an Arrow type is."""
    try:
        own = INSTANT_TYPE if getattr(data_type, "tz", None) else data_type  # Spark has no time zones of columns
        name = "void" if pa.types.is_null(own) else spark_type_of_arrow(own)
    except SchemaError:
        name = str(data_type)
    if pa.types.is_decimal(data_type):
        return KeyType(DECIMAL, name, (data_type.precision - data_type.scale, data_type.scale))
    families = (
        (pa.types.is_integer, WHOLE),
        (pa.types.is_floating, FLOAT),
        (pa.types.is_string, TEXT),
        (pa.types.is_timestamp, INSTANT),
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_binary, "binary"),
        (pa.types.is_date32, "date"),
        (pa.types.is_null, VOID),
    )
    return KeyType(next((family for is_it, family in families if is_it(data_type)), None), name)


def _digits(key: KeyType) -> tuple[int, int]:
    return key.digits if key.family == DECIMAL else (_LONG_DIGITS, 0)


def _narrower(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    """Of the values that both types can hold, and so of all values that can be equal; one digit or more."""
    whole, fraction = min(left[0], right[0]), min(left[1], right[1])
    return max(whole, 1 - fraction), fraction
