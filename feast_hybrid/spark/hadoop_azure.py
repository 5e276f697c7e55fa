"""The ABFS driver, which PySpark leaves out, among the settings of a session to start."""

from __future__ import annotations

from collections.abc import Mapping

from feast_hybrid.spark.pyspark_install import hadoop_version, pyspark_home


def with_hadoop_azure(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings with the ABFS driver of the bundled Hadoop's version, unless they have one already."""
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
