"""Spark's errors in words of our own."""

from __future__ import annotations

import pytest
from pyspark.errors import PythonException

from feast_hybrid.errors import HybridError, RetrievalError, SourceNotFoundError
from feast_hybrid.spark_errors import explained

WORKER = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "read.py", line 7, in read_piece
    raise KeyError("not this")
KeyError: 'not this'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "worker.py", line 1, in main
    process()
{raised}

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)
Caused by: java.io.IOException: not this either
"""


def told(raised: str) -> HybridError:
    with pytest.raises(HybridError) as caught, explained("features of both", "site 'cloud'"):
        raise PythonException(WORKER.format(raised=raised))
    return caught.value


def test_an_error_of_this_package_in_a_python_worker_is_that_error() -> None:
    error = told("feast_hybrid.errors.SourceNotFoundError: view 'v': /a.parquet is gone?sig=abc")
    assert type(error) is SourceNotFoundError
    assert str(error) == "features of both: view 'v': /a.parquet is gone?sig=…"


@pytest.mark.parametrize("raised", ["OSError: the disk is full", "pyarrow.lib.ArrowInvalid: no Parquet: Error"])
def test_any_other_error_in_a_python_worker_is_told_by_its_last_line(raised: str) -> None:
    error = told(raised)
    assert type(error) is RetrievalError
    assert str(error) == f"features of both (site 'cloud'): {raised}"
