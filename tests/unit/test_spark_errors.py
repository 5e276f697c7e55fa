"""Spark's errors in words of our own."""

from __future__ import annotations

import pytest
from pyspark.errors import PythonException

from feast_hybrid.errors import HybridError, RetrievalError, SourceNotFoundError
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.spark.errors import translate_spark_errors

WORKER = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "read.py", line 7, in read_piece
    raise KeyError("not this")
KeyError: 'not this'

During handling of the above exception, another exception occurred:

Caused by: org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1, in main
    process()
{raised}

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)
Caused by: java.io.IOException: not this either
"""


def told(raised: str) -> HybridError:
    with pytest.raises(HybridError) as caught, translate_spark_errors("features of both", "site 'cloud'"):
        raise PythonException(WORKER.format(raised=raised))
    return caught.value


def test_an_error_of_this_package_in_a_python_worker_is_that_error() -> None:
    error = told("feast_hybrid.errors.SourceNotFoundError: view 'v': /a.parquet is gone?sig=abc")
    assert type(error) is SourceNotFoundError
    assert str(error) == "features of both: view 'v': /a.parquet is gone?sig=…"


@pytest.mark.parametrize(
    "raised", ["OSError: full", "pyarrow.lib.ArrowInvalid: no Parquet: Error", "zlib.error: bad", "AssertionError"]
)
def test_any_other_error_in_a_python_worker_is_told_by_its_last_line(raised: str) -> None:
    error = told(raised + "\nContent: <xml>")
    assert type(error) is RetrievalError
    assert str(error) == f"features of both (site 'cloud'): {raised}"


def test_of_a_long_error_the_line_is_kept_that_says_what_is_wrong() -> None:
    said = "An error occurred while calling o1.create.\n: ignored"
    assert redacted_summary(said) == ": ignored"
    parsing = "ParseException: \n[PARSE_EMPTY_STATEMENT] Syntax error, unexpected empty statement.\n\n== SQL ==\n^^^"
    assert redacted_summary(parsing) == "[PARSE_EMPTY_STATEMENT] Syntax error, unexpected empty statement."
    assert redacted_summary("ValueError: no such day\nat line 3") == "ValueError: no such day"
    assert redacted_summary("ValueError:") == "ValueError:"


def test_signatures_and_keys_are_struck_out() -> None:
    assert redacted_summary("GET https://x/?sv=1&sig=abc%3D failed: AccountKey=def;x") == (
        "GET https://x/?sv=1&sig=… failed: AccountKey=…;x"
    )
