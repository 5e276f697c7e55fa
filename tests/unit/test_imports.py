"""What an import costs: Feast and Spark are loaded where they are used, so that the command line is instant."""

from __future__ import annotations

import subprocess
import sys

import pytest

import feast_hybrid
import feast_hybrid.asof

HEAVY = ("feast", "pyspark", "pandas", "pyarrow", "pydantic", "adlfs", "azure", "hdfs_native", "sqlglot")


def loaded_by(statement: str) -> set[str]:
    """The packages of the heavy ones that a new process has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import feast_hybrid", set()),
        ("import feast_hybrid; dir(feast_hybrid); feast_hybrid.__version__", set()),
        ("import feast_hybrid.errors", set()),
        ("import feast_hybrid.asof", set()),
        ("import feast_hybrid.testing", set()),
        ("from feast_hybrid.testing import AdlsLake; AdlsLake('process')", set()),
        ("import feast_hybrid.testing.universal.__main__", set()),
        ("import feast_hybrid.lakes", {"pydantic"}),
        ("import feast_hybrid.files.schema", {"pyarrow", "pydantic"}),
    ],
)
def test_what_a_new_process_has_loaded(statement: str, loaded: set[str]) -> None:
    assert loaded_by(statement) == loaded


@pytest.mark.parametrize(
    "statement",
    [
        "from feast_hybrid import HybridSparkSource",
        "from feast_hybrid import HybridSparkOfflineStore",
        "import feast_hybrid.config",
        "import feast_hybrid.sources.inference",
    ],
)
def test_what_feast_apply_loads_has_neither_spark_nor_a_lakes_driver(statement: str) -> None:
    assert loaded_by(statement).isdisjoint({"adlfs", "azure", "hdfs_native", "pyspark", "sqlglot"})


KERNEL = (
    *("spec", "read", "read_rows", "file_batches", "file_columns", "row_groups", "match", "entity_keys", "ranks"),
    *("blocks", "join", "keys", "candidates", "split_rows"),
)


def test_what_the_tasks_of_the_columnar_join_run_loads_neither_spark_nor_feast() -> None:
    statement = "import " + ", ".join(f"feast_hybrid.asof.columnar.{name}" for name in KERNEL)
    assert loaded_by(statement) == {"pyarrow"}


def test_the_names_of_the_join_are_loaded_when_they_are_used() -> None:
    names = set(feast_hybrid.asof.__all__)
    assert set(dir(feast_hybrid.asof)) == names
    assert all(getattr(feast_hybrid.asof, name) is not None for name in names)
    with pytest.raises(AttributeError, match=r"module 'feast_hybrid\.asof' has no attribute 'plan'"):
        _ = feast_hybrid.asof.plan


def test_the_public_names_are_listed() -> None:
    assert dir(feast_hybrid) == sorted(feast_hybrid.__all__)
    assert set(feast_hybrid.__all__) == {
        "HybridSparkLoggingDestination",
        "HybridSparkOfflineStore",
        "HybridSparkOfflineStoreConfig",
        "HybridSparkRetrievalJob",
        "HybridSparkSource",
        "KeyVaultProvider",
        "SavedDatasetHybridSparkStorage",
        "__version__",
    }


@pytest.mark.parametrize("name", [name for name in feast_hybrid.__all__ if name != "__version__"])
def test_each_public_name_can_be_had(name: str) -> None:
    assert getattr(feast_hybrid, name).__name__ == name


def test_the_version_is_the_installed_packages() -> None:
    from importlib.metadata import version

    assert feast_hybrid.__version__ == version("feast-hybrid")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'feast_hybrid' has no attribute 'HybridSparkSources'"):
        _ = feast_hybrid.HybridSparkSources
