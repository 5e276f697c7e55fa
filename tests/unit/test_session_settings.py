"""Which settings of an active session count as those that were asked for: Spark rewrites some when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from feast_hybrid.spark.settings import same_setting

JARS, WAREHOUSE = "spark.jars", "spark.sql.warehouse.dir"
DRIVER_OPTIONS = "spark.driver.extraJavaOptions"


@pytest.mark.parametrize(
    ("key", "wanted", "found"),
    [
        ("spark.executor.memory", "1g", "1g"),
        ("spark.master", "local[2]", "local[2]"),
        (WAREHOUSE, "/a/b", "file:/a/b"),
        (WAREHOUSE, "file:///a/b", "file:/a/b"),
        (WAREHOUSE, "file:/a/b/", "file:/a/b"),
        (WAREHOUSE, "a", f"file:{Path.cwd()}/a"),
        (WAREHOUSE, "/a", "hdfs://lake/a"),
        (WAREHOUSE, "hdfs://lake/a", "hdfs://lake/a/"),
        (JARS, "/a.jar", "file:///a.jar"),
        (JARS, "/a.jar, hdfs://lake/b.jar", "hdfs://lake/b.jar,file:///ivy/c.jar,file:///a.jar"),
        (DRIVER_OPTIONS, "-Xss4m", "-Djava.net.preferIPv6Addresses=false -XX:+X -Xss4m"),
    ],
)
def test_a_value_in_sparks_spelling_is_the_one_that_was_asked_for(key: str, wanted: str, found: str) -> None:
    assert same_setting(key, wanted, found)


@pytest.mark.parametrize(
    ("key", "wanted", "found"),
    [
        ("spark.executor.memory", "1g", None),
        ("spark.executor.memory", "1g", "2g"),
        ("spark.master", "local[2]", "local[*]"),
        (WAREHOUSE, "/a", "file:/b"),
        (WAREHOUSE, "/a", "file:/b/a"),
        (WAREHOUSE, "file:///a", "hdfs://lake/a"),
        (WAREHOUSE, "hdfs://lake/a", "hdfs://pond/a"),
        (JARS, "/a.jar,/b.jar", "file:///a.jar"),
        (DRIVER_OPTIONS, "-Xss4m", "-Xss8m"),
    ],
)
def test_another_value_differs(key: str, wanted: str, found: str | None) -> None:
    assert not same_setting(key, wanted, found)
