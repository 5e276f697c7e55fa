"""The ABFS driver ``hadoop-azure``, which PySpark leaves out of the Hadoop that it bundles.

The installed PySpark is looked at without importing it.
"""

from __future__ import annotations

from collections.abc import Mapping

from feast_hybrid.errors import SessionError
from feast_hybrid.spark.installed import pyspark_home


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


def with_hadoop_azure(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of a session to start, with the ABFS driver of the bundled Hadoop's version.

    Args:
        settings: what the session is started with. Where they name a driver, or PySpark has one among its jars, they
            are returned as they are.
    """
    merged = dict(settings)
    given = " ".join(
        merged.get(key, "") for key in ("spark.jars", "spark.jars.packages", "spark.driver.extraClassPath")
    )
    bundled = any((pyspark_home() / "jars").glob("hadoop-azure-*.jar"))
    if "hadoop-azure" in given or bundled:
        return merged
    packages = [package for package in merged.get("spark.jars.packages", "").split(",") if package]
    packages.append(f"org.apache.hadoop:hadoop-azure:{hadoop_version()}")
    merged["spark.jars.packages"] = ",".join(packages)
    return merged
