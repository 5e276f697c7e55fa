"""Sources as tests define them."""

from __future__ import annotations

from typing import Any

import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SourceError

PATH = "hdfs://lake/flights"


def source(**changes: Any) -> HybridSparkSource:
    given: dict[str, Any] = {"name": "s", "path": PATH, "timestamp_field": "ts"} | changes
    return HybridSparkSource(**{key: value for key, value in given.items() if value is not None})


def refusal(**changes: Any) -> str:
    with pytest.raises(SourceError) as refused:
        source(**changes)
    return str(refused.value)


#: Each makes a source another one than :func:`source` does.
DIFFERENCES: list[dict[str, Any]] = [
    {"name": "other"},
    {"path": PATH + "/2013"},
    {"path": None, "table": "t"},
    {"path": None, "query": "select 1 as a"},
    {"file_format": "orc"},
    {"options": {"mergeSchema": "true"}},
    {"timestamp_field": "other"},
    {"created_timestamp_column": "created"},
    {"date_partition_column": "day"},
    {"date_partition_column_format": "%Y%m%d"},
    {"field_mapping": {"a": "b"}},
    {"description": "words"},
    {"tags": {"team": "risk"}},
    {"owner": "a@corp"},
]
