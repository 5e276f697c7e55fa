"""Spark's daemon of Python workers, with what tests' tasks use loaded before it forks them.

A worker that loads Feast itself takes four seconds of processor time to its first row, and Spark ends workers that
have had nothing to do for a minute. Programs that tests start by themselves have Spark's own daemon.
"""

from __future__ import annotations

import gc

import pandas  # noqa: F401, ICN001
import pyarrow.dataset
import pyarrow.orc
import pyarrow.parquet  # noqa: F401
from pyspark import daemon, worker  # noqa: F401

import feast_hybrid.asof.columnar.join
import feast_hybrid.asof.columnar.read
import feast_hybrid.asof.columnar.read_rows
import feast_hybrid.asof.columnar.split_rows
import feast_hybrid.lakes.filesystems  # noqa: F401

if __name__ == "__main__":
    gc.freeze()  # workers collect garbage after each task
    daemon.manager()
