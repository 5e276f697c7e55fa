"""Which tests of Feast's suite need Spark, and why.

Where PySpark is not installed (``--spark none``), each of them must end with the error that says so, and all others
must pass.
"""

from __future__ import annotations

#: By the test's module and name, without its parameters: words of the error, which say what needs Spark.
NEEDS_SPARK = {
    "tests/integration/offline_store/test_universal_historical_retrieval.py"
    "::test_historical_features_with_entities_from_query": "entity_df is SQL text",
}


def name_of(node_id: str) -> str:
    """The name of a test as it is listed: pytest's id without parameters."""
    return node_id.partition("[")[0]


def listed_in(tests: str) -> dict[str, str]:
    """What is listed of the tests that are asked for: those of a folder, of a module, or one by its id."""
    return {name: why for name, why in NEEDS_SPARK.items() if name.startswith(tests) or tests.startswith(name)}
