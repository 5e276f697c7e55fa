"""Formats that Spark has in packages, and what is said where a session lacks one."""

from __future__ import annotations

import pyspark
import pytest
from pyspark.errors import AnalysisException

from feast_hybrid.errors import SessionError
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.formats import package, package_hint


@pytest.mark.parametrize(
    ("file_format", "spark", "found"),
    [
        ("avro", "4.0.1", "org.apache.spark:spark-avro_2.13:4.0.2"),
        ("avro", "4.2.1", "org.apache.spark:spark-avro_2.13:4.1.1"),
        ("avro", "4.3.0", "org.apache.spark:spark-avro_2.13:4.1.1"),
        ("delta", "4.2.1", "io.delta:delta-spark_4.2_2.13:4.4.0"),
        ("delta", "4.3.0", None),
        ("iceberg", "4.1.4", "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"),
        ("iceberg", "4.2.1", None),
    ],
)
def test_the_package_of_a_format_is_one_that_works_on_that_spark(
    file_format: str, spark: str, found: str | None
) -> None:
    assert package(file_format, spark) == found


def test_where_no_package_works_the_newest_spark_that_has_one_is_named() -> None:
    assert "delta: none for PySpark 4.3.0, the last is for 4.2" in package_hint("4.3.0")
    assert "iceberg: none for PySpark 4.3.0, the last is for 4.1" in package_hint("4.3.0")


def test_a_session_without_a_format_is_told_which_package_to_start_with() -> None:
    error = AnalysisException("[AVRO_DATA_SOURCE_NOT_ENABLED] Failed to find data source: avro. Deploy its module.")
    with (
        pytest.raises(SessionError, match=r"source 'rows' \(site 'onprem'\): the session does not know") as caught,
        translate_spark_errors("source 'rows'", "site 'onprem'"),
    ):
        raise error
    assert package_hint(pyspark.__version__) in str(caught.value)
