"""Random layouts on ADLS; in a module of its own, so that the two lakes' can run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.layouts.checks import COUNT, TOGETHER, Batch

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.places import Places


@pytest.mark.parametrize("first", range(COUNT, COUNT + COUNT, TOGETHER))
def test_all_readers_agree_with_the_oracle(
    first: int, lakes_to_test: Places, spark: SparkSession, tmp_path: Path
) -> None:
    Batch.of(first, lakes_to_test.cloud, lakes_to_test.sites(), tmp_path).check()
