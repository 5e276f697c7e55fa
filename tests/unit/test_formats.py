"""Formats that Spark has in packages of their own, and what is said where a session lacks one."""

from __future__ import annotations

import pyspark
import pytest
from pyspark.errors import AnalysisException

from feast_hybrid.errors import SessionError
from feast_hybrid.formats import avro_package
from feast_hybrid.spark_errors import explained


@pytest.mark.parametrize(
    ("spark", "release"),
    [("4.0.1", "4.0.2"), ("4.1.0", "4.1.1"), ("4.2.0", "4.1.1"), ("4.3.0", "4.1.1"), ("4.4.0.dev1", "4.1.1")],
)
def test_the_avro_package_of_a_spark_is_one_that_exists(spark: str, release: str) -> None:
    assert avro_package(spark) == f"org.apache.spark:spark-avro_2.13:{release}"


def test_a_session_without_avro_is_told_which_package_to_start_with() -> None:
    said = AnalysisException("Failed to find data source: avro. Please deploy the application as per the guide.")
    with (
        pytest.raises(SessionError, match=r"source 'rows' \(site 'onprem'\): the session does not know") as caught,
        explained("source 'rows'", "site 'onprem'"),
    ):
        raise said
    assert avro_package(pyspark.__version__) in str(caught.value)
