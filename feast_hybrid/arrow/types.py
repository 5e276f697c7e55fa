"""From Arrow's types to Spark's names for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa


def spark_type_of_arrow(arrow_type: pa.DataType, *, naive_is_instant: bool = False) -> str:
    """The name of the type that Spark gives to a Parquet column of this Arrow type.

    Unsigned integers become the next wider signed type, as in Spark's Parquet reader.

    Args:
        arrow_type: the type in Arrow.
        naive_is_instant: whether a timestamp without a zone is one all the same, as INT96 is.

    Raises:
        SchemaError: Spark has no such type.
    """
    import pyarrow as pa

    def named(inner: pa.DataType) -> str:
        return spark_type_of_arrow(inner, naive_is_instant=naive_is_instant)

    if (name := _SIMPLE.get(str(arrow_type))) is not None:
        return name
    kinds = pa.types
    if kinds.is_timestamp(arrow_type):
        if arrow_type.unit == "ns" and not naive_is_instant:
            raise SchemaError(
                "Spark cannot read Parquet's nanosecond timestamps; write microseconds (pyarrow and pandas: "
                "coerce_timestamps='us')."
            )
        return "timestamp" if arrow_type.tz or naive_is_instant else "timestamp_ntz"
    if kinds.is_decimal(arrow_type) and 0 <= arrow_type.scale <= arrow_type.precision <= 38:
        return f"decimal({arrow_type.precision},{arrow_type.scale})"
    if kinds.is_fixed_size_binary(arrow_type):
        return "binary"
    if kinds.is_duration(arrow_type):
        return "bigint"
    if kinds.is_dictionary(arrow_type):
        return named(arrow_type.value_type)
    if kinds.is_map(arrow_type):
        return f"map<{named(arrow_type.key_type)},{named(arrow_type.item_type)}>"
    if kinds.is_struct(arrow_type):
        return f"struct<{','.join(f'{field.name}:{named(field.type)}' for field in arrow_type)}>"
    if isinstance(arrow_type, pa.BaseExtensionType) and arrow_type.extension_name != "arrow.uuid":
        return named(arrow_type.storage_type)
    if "list" in type(arrow_type).__name__.lower():  # of any of Arrow's layouts
        return f"array<{named(arrow_type.value_type)}>"
    raise SchemaError(f"Spark has no type for Arrow's {arrow_type}.")


#: By Arrow's own names, since older versions of pyarrow lack some of these types.
_SIMPLE = {
    "null": "int",  # stored as 32-bit integers, of which there are none
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "int",
    "uint32": "bigint",
    "uint64": "decimal(20,0)",
    "float": "float",
    "double": "double",
    "string": "string",
    "large_string": "string",
    "string_view": "string",
    "binary": "binary",
    "large_binary": "binary",
    "binary_view": "binary",
    "date32[day]": "date",
    "date64[ms]": "date",
}
