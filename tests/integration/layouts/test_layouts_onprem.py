"""Random layouts on HDFS; in a module of its own, so that the two lakes' can run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.layouts.cases import Stored, first_seeds
from tests.integration.layouts.checks import Agreement

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.places import Places


@pytest.mark.parametrize("first", first_seeds("onprem"))
def test_all_readers_agree_with_the_oracle(
    first: int, lakes_to_test: Places, spark: SparkSession, tmp_path: Path
) -> None:
    Agreement(Stored.put(first, lakes_to_test.onprem, lakes_to_test.sites(), tmp_path, spark)).check()
