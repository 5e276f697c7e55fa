"""The columns of an ORC file, read by pyarrow: no JVM, one footer."""

from __future__ import annotations

from typing import Any

import pyarrow.orc

from feast_hybrid.files.footers import Columns, spark_columns


def orc_columns_of_file(filesystem: Any, path: str) -> Columns:
    """Names and Spark type names of an ORC file's columns.

    A timestamp counts as an instant, with or without a zone, as Spark reads it; that Spark has written a
    ``timestamp_ntz`` cannot be seen from here, which to Feast is the same type.

    Raises:
        SchemaError: Spark has no type for a column.
    """
    with filesystem.open(path, "rb") as file:
        schema = pyarrow.orc.ORCFile(file).schema
    return spark_columns(schema, is_instant=lambda _: True)
