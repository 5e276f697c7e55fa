"""One type for a column that files hold in several types: the smallest that holds all, or the declared one.

Types are brought to the forms that Spark has (:func:`spark_form`) before they are compared. :func:`resolve_type` then
says which type a column has. All functions are pure: they know types alone, neither files nor values. Where a type
holds values of another only as far as they fit (whole numbers in doubles, doubles in integers),
:func:`feast_hybrid.arrow.convert.convert_for_reading` checks each value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import combinations

import pyarrow as pa

from feast_hybrid.arrow.types import MAX_DIGITS, fits_spark, is_any_list, replace_leaf_types
from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError

#: What Spark has in place of other types of Arrow, by Arrow's own names, since older versions of pyarrow lack some.
_SPARK_FORMS = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.int16(),
    "uint16": pa.int32(),
    "uint32": pa.int64(),
    "uint64": pa.decimal128(20, 0),
    "halffloat": pa.float32(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "large_string": pa.string(),
    "string_view": pa.string(),
    "binary": pa.binary(),
    "large_binary": pa.binary(),
    "binary_view": pa.binary(),
    "date32[day]": pa.date32(),
    "date64[ms]": pa.date32(),
}

#: Decimal digits that hold every integer of a width in bits.
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}

#: What Spark makes of a column that holds nothing but nulls.
_TYPE_OF_NULLS = pa.int32()


class NoCommonTypeError(Exception):
    """No type holds the values of two.

    Attributes:
        left: the one.
        right: the other.
        path: the way to the part that they differ in, such as ``[].price``; empty for the types themselves.
        positions: of the whole types among those that were to be united; None where it is not known.
    """

    def __init__(self, left: pa.DataType, right: pa.DataType, path: str = "") -> None:
        super().__init__(f"{left} and {right}")
        self.left, self.right, self.path = left, right, path
        self.positions: tuple[int, int] | None = None


class ConflictsWithDeclaredError(Exception):
    """Values of a type cannot be meant by the type that is declared.

    Attributes:
        found: the type that is there.
        declared: the other.
        path: the way to the part that they differ in.
    """

    def __init__(self, found: pa.DataType, declared: pa.DataType, path: str = "") -> None:
        super().__init__(f"{found} and {declared}")
        self.found, self.declared, self.path = found, declared, path


def spark_form(data_type: pa.DataType, *, naive_is_instant: bool = False) -> pa.DataType:
    """The type that Spark has for a column of this type, in Arrow.

    Unsigned integers become the next wider signed type, dictionaries their values, times are in microseconds, lists
    have one layout. What is null by its type stays so, and so does a duration, which Spark has as a number, but whose
    unit says what goes together with it: :func:`resolve_type` settles both.

    Args:
        data_type: of a file's column.
        naive_is_instant: whether a timestamp without a zone is an instant all the same, as INT96 is.

    Raises:
        SchemaError: Spark has no such type.
    """

    def inner(part: pa.DataType) -> pa.DataType:
        return spark_form(part, naive_is_instant=naive_is_instant)

    is_ = pa.types
    if (simple := _SPARK_FORMS.get(str(data_type))) is not None:
        return simple
    if is_.is_timestamp(data_type):
        return INSTANT if data_type.tz or naive_is_instant else pa.timestamp("us")
    if is_.is_decimal(data_type):
        if fits_spark(data_type):
            return pa.decimal128(data_type.precision, data_type.scale)
    elif is_.is_fixed_size_binary(data_type):
        return pa.binary()
    elif is_.is_duration(data_type):
        return data_type
    elif is_.is_dictionary(data_type):
        return inner(data_type.value_type)
    elif (nested := _nested_form(data_type, inner)) is not None:
        return nested
    raise SchemaError(f"Spark has no type for Arrow's {data_type}")


def _nested_form(data_type: pa.DataType, inner: Callable[[pa.DataType], pa.DataType]) -> pa.DataType | None:
    """Spark's form of a type with parts, or of one that stands for another; None for other types."""
    is_ = pa.types
    if is_.is_map(data_type):
        return _map(inner(data_type.key_type), inner(data_type.item_type))
    if is_.is_struct(data_type):
        names = [field.name.lower() for field in data_type]
        if not names:
            raise SchemaError("Spark has no struct without fields")
        if len(set(names)) < len(names):
            raise SchemaError(f"fields of {data_type} differ by case alone, or not at all")
        return pa.struct([pa.field(field.name, inner(field.type)) for field in data_type])
    if isinstance(data_type, pa.BaseExtensionType):
        if data_type.extension_name == "arrow.uuid":
            raise SchemaError("Spark cannot read Parquet's UUID: write UUIDs as text")
        return inner(data_type.storage_type)
    return _list(inner(data_type.value_type)) if is_any_list(data_type) else None


def unify(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    """The smallest type that holds the values of both; commutative but for the order of a struct's fields.

    Args:
        left: a type of Spark's form. ``null`` holds no value.
        right: another.

    Raises:
        NoCommonTypeError: there is none.
    """
    is_ = pa.types
    if left == right or is_.is_null(right):
        return left
    if is_.is_null(left):
        return right
    if is_.is_struct(left) and is_.is_struct(right):
        return _united_struct([left, right], lambda _, types: reduce(unify, types))
    if is_.is_map(left) and is_.is_map(right):
        key = _within("{key}", lambda: unify(left.key_type, right.key_type))
        return _map(key, _within("{value}", lambda: unify(left.item_type, right.item_type)))
    if is_.is_list(left) and is_.is_list(right):
        return _list(_within("[]", lambda: unify(left.value_type, right.value_type)))
    united = _united_number(left, right) if _is_number(left) and _is_number(right) else None
    if united is None and _is_time(left) and _is_time(right):
        united = INSTANT  # a date is its midnight in UTC, and a naive time is UTC
    if united is None:
        raise NoCommonTypeError(left, right)
    return united


def resolve_type(types: Sequence[pa.DataType], declared: pa.DataType | None) -> pa.DataType:
    """The type of a column that files hold in some types and for which one may be declared.

    Without a declared type it is the smallest that holds all. A declared one widens it where it holds every value of
    the type that is there, never narrows it, and decides where the types of files do not go together without loss:
    fractions declared as integers are integers, alone or beside whole numbers; whole numbers and text declared as
    text are text, and so are bytes.

    Args:
        types: the files', of Spark's form; none for a column that no file has.
        declared: None where nothing is declared.

    Returns:
        A type of Spark's, in which nothing is null by its type, and a duration is the number of its units.

    Raises:
        NoCommonTypeError: no type holds all.
        ConflictsWithDeclaredError: what is there cannot be what is declared.
    """
    return without_durations(resolve_type_in_files(types, declared))


def without_durations(data_type: pa.DataType) -> pa.DataType:
    """The type with 64-bit integers for durations, as Spark has what Arrow writes of them."""
    return replace_leaf_types(data_type, lambda leaf: pa.int64() if pa.types.is_duration(leaf) else leaf)


def resolve_type_in_files(types: Sequence[pa.DataType], declared: pa.DataType | None) -> pa.DataType:
    """The type of :func:`resolve_type` as writers need it: durations are such, and have their unit."""
    if declared is not None:
        try:
            declared = spark_form(declared)
        except SchemaError:
            declared = None
    distinct = list(dict.fromkeys(types))
    try:
        return _without_nulls(_resolved(distinct, declared), declared)
    except NoCommonTypeError:
        for pair in combinations(distinct, 2):
            try:
                _resolved(list(pair), declared)
            except NoCommonTypeError as error:
                error.positions = types.index(pair[0]), types.index(pair[1])
                raise error from None
        raise  # decimals: each two fit, all of them do not


def go_together(left: pa.DataType, right: pa.DataType) -> bool:
    """Whether values of two types can mean the same: numbers are numbers, whatever holds them; else by the types."""
    if _is_number(left) and _is_number(right):
        return True
    try:
        unify(spark_form(left), spark_form(right))
    except (NoCommonTypeError, SchemaError):
        return False
    return True


def _without_nulls(data_type: pa.DataType, declared: pa.DataType | None = None) -> pa.DataType:
    """The type with the declared one, or a 32-bit integer as Spark has it, for what is null by its type."""
    is_ = pa.types
    if is_.is_null(data_type):
        return _TYPE_OF_NULLS if declared is None or is_.is_null(declared) else _without_nulls(declared)
    if is_.is_list(data_type):
        element = declared.value_type if declared is not None and is_.is_list(declared) else None
        return _list(_without_nulls(data_type.value_type, element))
    if is_.is_map(data_type):
        key, item = (None, None)
        if declared is not None and is_.is_map(declared):
            key, item = declared.key_type, declared.item_type
        return _map(_without_nulls(data_type.key_type, key), _without_nulls(data_type.item_type, item))
    if is_.is_struct(data_type):
        fields = [(field, _field_type(declared, field.name)) for field in data_type]
        return pa.struct([pa.field(field.name, _without_nulls(field.type, wanted)) for field, wanted in fields])
    return data_type


def _resolved(types: list[pa.DataType], declared: pa.DataType | None) -> pa.DataType:
    is_ = pa.types
    types = [data_type for data_type in types if not is_.is_null(data_type)]
    if not types:
        return pa.null()
    if declared is not None:
        for found in types:
            _refuse_conflict(found, declared)
        if all(is_.is_list(found) for found in types):
            element = declared.value_type if is_.is_list(declared) else None
            return _list(_within("[]", lambda: _resolved([found.value_type for found in types], element)))
        if all(is_.is_map(found) for found in types):
            key, item = (declared.key_type, declared.item_type) if is_.is_map(declared) else (None, None)
            keys = _within("{key}", lambda: _resolved([found.key_type for found in types], key))
            return _map(keys, _within("{value}", lambda: _resolved([found.item_type for found in types], item)))
        if all(is_.is_struct(found) for found in types):
            return _united_struct(types, lambda name, parts: _resolved(parts, _field_type(declared, name)))
        if (decided := _decided(types, declared)) is not None:
            return decided
    united = reduce(unify, types)
    plain = without_durations(united)
    if declared is None or declared == plain:
        return united
    return declared if _holds_by_type(declared, plain) else united


def _decided(types: list[pa.DataType], declared: pa.DataType) -> pa.DataType | None:
    """The type that is declared for a mixture that has no common type, or none that it is meant to have."""
    is_ = pa.types
    integers = [found for found in types if is_.is_integer(found)]
    fractions = [found for found in types if is_.is_floating(found) or (is_.is_decimal(found) and found.scale > 0)]
    if is_.is_integer(declared) and fractions and len(integers) + len(fractions) == len(types):
        # Integers that became doubles, as pandas makes them beside a gap. Online Feast would cut off a fraction.
        return reduce(unify, integers, declared)
    has_text = any(is_.is_string(found) for found in types)
    if is_.is_string(declared) and (has_text or any(is_.is_binary(found) for found in types)):
        if all(is_.is_string(found) or _is_whole(found) or is_.is_binary(found) for found in types):
            return declared
    elif is_.is_binary(declared) and has_text and all(is_.is_string(t) or is_.is_binary(t) for t in types):
        return declared
    return None


def _holds_by_type(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Whether a type holds every value of another, so that none need be looked at."""
    is_ = pa.types
    if not (_is_number(wide) and _is_number(narrow)):
        return False
    if is_.is_floating(wide) and is_.is_integer(narrow):
        return bool(narrow.bit_width * 2 <= wide.bit_width)
    if is_.is_floating(wide) and is_.is_decimal(narrow):
        return False
    try:
        return bool(unify(wide, narrow) == wide)
    except NoCommonTypeError:
        return False


#: By the family of what is declared, the families of what cannot be meant by it. Text may stand for all that Feast
#: has no type in Arrow for; whole numbers may stand for seconds.
_CONFLICTS: dict[str, frozenset[str]] = {
    "text": frozenset(),
    "bytes": frozenset({"bool", "integer", "fraction", "time", "list", "map"}),
    "bool": frozenset({"integer", "fraction", "text", "bytes", "time", "list", "map"}),
    "integer": frozenset({"bool", "text", "bytes", "time", "list", "map"}),
    "fraction": frozenset({"bool", "text", "bytes", "time", "list", "map"}),
    "decimal": frozenset({"bool", "bytes", "time", "list", "map"}),
    "time": frozenset({"bool", "fraction", "text", "bytes", "list", "map"}),
    "list": frozenset({"bool", "integer", "fraction", "text", "bytes", "time", "map"}),
    "map": frozenset({"bool", "integer", "fraction", "bytes", "time", "list"}),
}


def _refuse_conflict(found: pa.DataType, declared: pa.DataType) -> None:
    family, declared_family = _family(found), _family(declared)
    if declared_family == "null" or family == "null":
        return
    if ("fraction" if family == "decimal" else family) in _CONFLICTS[declared_family]:
        raise ConflictsWithDeclaredError(found, declared)
    is_ = pa.types
    if is_.is_list(found) and is_.is_list(declared):
        _within("[]", lambda: _refuse_conflict(found.value_type, declared.value_type))
    elif is_.is_map(found) and is_.is_map(declared):
        _within("{key}", lambda: _refuse_conflict(found.key_type, declared.key_type))
        _within("{value}", lambda: _refuse_conflict(found.item_type, declared.item_type))
    elif is_.is_struct(found) and is_.is_struct(declared):
        for field in found:
            wanted = _field_type(declared, field.name)
            if wanted is not None:
                _within(f".{field.name}", partial(_refuse_conflict, field.type, wanted))


def _family(data_type: pa.DataType) -> str:
    is_ = pa.types
    families: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
        ("null", is_.is_null),
        ("bool", is_.is_boolean),
        ("integer", lambda found: is_.is_integer(found) or is_.is_duration(found)),
        ("fraction", is_.is_floating),
        ("decimal", is_.is_decimal),
        ("text", is_.is_string),
        ("bytes", is_.is_binary),
        ("time", _is_time),
        ("list", is_.is_list),
    )
    return next((name for name, matches in families if matches(data_type)), "map")


def _united_number(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    is_ = pa.types
    if is_.is_decimal(left) or is_.is_decimal(right):
        if is_.is_floating(left) or is_.is_floating(right):
            return None
        sizes = [
            (found.precision - found.scale, found.scale) if is_.is_decimal(found) else (_DIGITS[found.bit_width], 0)
            for found in (left, right)
        ]
        whole, scale = (max(digits) for digits in zip(*sizes, strict=True))
        return pa.decimal128(whole + scale, scale) if whole + scale <= MAX_DIGITS else None
    if is_.is_floating(left) == is_.is_floating(right):
        return left if left.bit_width >= right.bit_width else right
    number, integer = (left, right) if is_.is_floating(left) else (right, left)
    return number if integer.bit_width <= 16 else pa.float64()


def _united_struct(
    types: Sequence[pa.DataType], unite: Callable[[str, list[pa.DataType]], pa.DataType]
) -> pa.DataType:
    """A struct with the fields of all, by their names: the same, or but for case."""
    fields: dict[str, tuple[str, list[pa.DataType]]] = {}
    for struct in types:
        for field in struct:
            fields.setdefault(field.name.lower(), (field.name, []))[1].append(field.type)
    return pa.struct(
        [pa.field(name, _within(f".{name}", partial(unite, name, parts))) for name, parts in fields.values()]
    )


def _within(part: str, resolve: Callable[[], pa.DataType | None]) -> pa.DataType:
    """What is resolved for a part of a type; errors say which part."""
    try:
        return resolve()
    except (NoCommonTypeError, ConflictsWithDeclaredError) as error:
        error.path = part + error.path
        raise


def _field_type(struct: pa.DataType | None, name: str) -> pa.DataType | None:
    """The type of a struct's field by its name, the same or but for case; None where there is none."""
    if struct is None or not pa.types.is_struct(struct):
        return None
    return next((field.type for field in struct if field.name.lower() == name.lower()), None)


def _list(element: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", element))


def _map(key: pa.DataType, value: pa.DataType) -> pa.DataType:
    return pa.map_(pa.field("key", key, nullable=False), pa.field("value", value))


def _is_number(data_type: pa.DataType) -> bool:
    return _is_plain_number(data_type) or bool(pa.types.is_decimal(data_type))


def _is_plain_number(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(data_type) or pa.types.is_floating(data_type))


def _is_whole(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(data_type) or (pa.types.is_decimal(data_type) and data_type.scale == 0))


def _is_time(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(data_type) or pa.types.is_date(data_type))
