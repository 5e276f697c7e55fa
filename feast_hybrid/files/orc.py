"""The footer of an ORC file, read by pyarrow."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.orc


def read_orc_footer(source: Any) -> tuple[pa.Schema, frozenset[str], int]:
    """A file's schema, no columns of INT96, which ORC does not know, and its number of rows.

    Args:
        source: a path, or a file that is open.
    """
    file = pyarrow.orc.ORCFile(source)
    return file.schema, frozenset(), file.nrows
