"""The file formats that Spark has in packages of their own: which package fits which Spark."""

from __future__ import annotations

#: Spark's Avro module for a PySpark by its first two numbers. Maven Central has none after 4.1.1 (2026-11-24), and
#: that one reads and writes on 4.2 and 4.3 as well.
_AVRO = {"4.0": "4.0.2", "4.1": "4.1.1", "4.2": "4.1.1", "4.3": "4.1.1"}


def avro_package(spark_version: str) -> str:
    """The Maven coordinates of the Avro module that fits a Spark, for ``spark.jars.packages``.

    For a Spark that was not tried it is that of the newest one that was.
    """
    release = _AVRO.get(".".join(spark_version.split(".")[:2]), max(_AVRO.values()))
    return f"org.apache.spark:spark-avro_2.13:{release}"
