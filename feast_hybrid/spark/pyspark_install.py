"""The installed PySpark and the Hadoop that it bundles, found without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from feast_hybrid.errors import MissingDependencyError, SessionError


def pyspark_home() -> Path:
    """The folder of the installed PySpark, which also is a ``SPARK_HOME``.

    Raises:
        MissingDependencyError: there is none.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("PySpark is not installed: pip install feast-hybrid")
    return Path(spec.origin).parent


def hadoop_version() -> str:
    """The version of the Hadoop client that the installed PySpark bundles, such as ``3.5.0``.

    Raises:
        SessionError: this PySpark bundles none.
    """
    jars = pyspark_home() / "jars"
    for jar in jars.glob("hadoop-client-api-*.jar"):
        return jar.stem.removeprefix("hadoop-client-api-")
    raise SessionError(
        f"no hadoop-client-api jar in {jars}: this PySpark is built without Hadoop. Set spark.jars.packages to the "
        "hadoop-azure of your Hadoop's version in offline_store.spark.conf."
    )
