"""What the as-of tests ask of the run's Spark session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from pyspark.sql import SparkSession

from feast_hybrid.asof.native import SYNTAX
from tests.integration.places import on_connect

Settings = Callable[..., AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def _as_of_syntax(request: pytest.FixtureRequest) -> None:
    """On Connect the syntax of ``native`` must be on in the session that uses its frames: the caller's affair."""
    if on_connect() and "spark" in request.fixturenames:
        request.getfixturevalue("spark").conf.set(SYNTAX, "true")


@pytest.fixture(params=["window", "native", "columnar"])
def strategy(request: pytest.FixtureRequest, spark: SparkSession) -> str:
    """Each strategy that this Spark can do."""
    name: str = request.param
    skip_unless_available(spark, name)
    return name


def available(spark: SparkSession) -> list[str]:
    major, minor = (int(part) for part in spark.version.split(".")[:2])
    return ["window", "columnar", *(["native"] if (major, minor) >= (4, 3) else [])]


def skip_unless_available(spark: SparkSession, name: str) -> None:
    if name not in available(spark):
        pytest.skip(f"Spark {spark.version} has no as-of operator")


@pytest.fixture
def settings(spark: SparkSession) -> Settings:
    """``with settings(zone=…, ansi=…):`` the session's settings, put back afterwards."""

    @contextmanager
    def change(*, zone: str | None = None, ansi: bool | None = None) -> Iterator[None]:
        wanted = {
            "spark.sql.session.timeZone": zone,
            "spark.sql.ansi.enabled": None if ansi is None else str(ansi).lower(),
        }
        wanted = {key: value for key, value in wanted.items() if value is not None}
        before = {key: spark.conf.get(key, None) for key in wanted}
        try:
            for key, value in wanted.items():
                spark.conf.set(key, str(value))
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    spark.conf.unset(key)
                else:
                    spark.conf.set(key, value)

    return change
