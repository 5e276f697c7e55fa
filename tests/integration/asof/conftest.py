"""What the as-of tests ask of the run's Spark session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Settings = Callable[..., AbstractContextManager[None]]


#: As :func:`tests.integration.asof.scanned.join` takes them: ``columnar`` is of files, ``rows by Spark`` the same
#: strategy over frames.
STRATEGIES = ["window", "columnar", "rows by Spark"]


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    """Each strategy."""
    name: str = request.param
    return name


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
