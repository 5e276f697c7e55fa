"""The columns of an ORC file, read by pyarrow: no JVM, one footer."""

from __future__ import annotations

from typing import Any

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.errors import SchemaError


def orc_columns_of_file(filesystem: Any, path: str) -> list[tuple[str, str]]:
    """Names and Spark type names of an ORC file's columns.

    A timestamp counts as an instant, with or without a zone, as Spark reads it; that Spark has written a
    ``timestamp_ntz`` cannot be seen from here, which to Feast is the same type.

    Raises:
        SchemaError: Spark has no type for a column.
    """
    import pyarrow.orc

    with filesystem.open(path, "rb") as file:
        schema = pyarrow.orc.ORCFile(file).schema
    columns = []
    for field in schema:
        try:
            columns.append((field.name, spark_type_of_arrow(field.type, naive_is_instant=True)))
        except SchemaError as error:
            raise SchemaError(f"column {field.name!r}: {error}") from None
    return columns
