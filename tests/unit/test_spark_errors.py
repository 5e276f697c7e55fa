"""Spark's errors in words of our own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
from grpc import StatusCode
from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException
from pyspark.errors.exceptions.connect import SparkConnectGrpcException

from feast_hybrid.errors import (
    AccessDeniedError,
    AuthenticationError,
    HybridError,
    RetrievalError,
    SchemaError,
    SessionError,
    SourceNotFoundError,
    StorageTimeoutError,
    UnavailableError,
)
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


class JavaThrowable:
    """A Java exception as py4j shows it, with its cause."""

    def __init__(self, name: str, message: str | None, cause: JavaThrowable | None = None) -> None:
        self.name, self.message, self.cause = name, message, cause
        self._target_id = "o1"

    def getClass(self) -> JavaThrowable:
        return self

    def getName(self) -> str:
        return self.name

    def getMessage(self) -> str | None:
        return self.message

    def getCause(self) -> JavaThrowable | None:
        return self.cause


class JavaError(Py4JJavaError):
    """An error of Spark Classic, which knows its text without a JVM."""

    def __str__(self) -> str:
        lines, throwable = ["An error occurred while calling o1.collect."], self.java_exception
        while throwable is not None:
            begin = ": " if len(lines) == 1 else "Caused by: "
            lines += [f"{begin}{throwable.name}: {throwable.message}", "\tat a.b(C.java:1)"]
            throwable = throwable.cause
        return "\n".join(lines)


Chain = list[tuple[str, str]]


def classic(chain: Chain) -> Exception:
    throwable: JavaThrowable | None = None
    for name, message in reversed(chain):
        throwable = JavaThrowable(name, message, throwable)
    return JavaError("An error occurred while calling o1.collect.", throwable)


def connect(chain: Chain) -> Exception:
    (name, message), *causes = chain
    lines = [name, "\tat a.b(C.java:1)"]
    for cause, text in causes:
        lines += [f"Caused by: {cause}: {text}", "\tat a.b(C.java:1)"]
    condition = re.match(r"\[([A-Z0-9_.]+)\]", message)
    return SparkConnectGrpcException(
        message,
        errorClass=condition[1] if condition else None,
        reason=None if condition else name,
        server_stacktrace="\n".join(lines),
    )


def translated(error: Exception) -> HybridError:
    with pytest.raises(HybridError) as caught, translate_spark_errors("features of both", "site 'cloud'"):
        raise error
    return caught.value


both_kinds = pytest.mark.parametrize("made", [classic, connect])

IN_ANOTHER_THREAD = ("org.apache.spark.SparkException", "Exception thrown in awaitResult: ")
READING = (
    "org.apache.spark.SparkException",
    "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file abfs://c@a.dfs.core.windows.net/x.  SQLSTATE: 1",
)
ABFS = "org.apache.hadoop.fs.azurebfs.contracts.exceptions.AbfsRestOperationException"


@both_kinds
@pytest.mark.parametrize(
    ("chain", "meaning", "text"),
    [
        (
            [
                IN_ANOTHER_THREAD,
                (
                    "java.util.concurrent.ExecutionException",
                    "org.apache.spark.SparkRuntimeException: [DIVIDE_BY_ZERO] x",
                ),
                ("org.apache.spark.SparkRuntimeException", "[DIVIDE_BY_ZERO] Division by zero. Use `try_divide`."),
            ],
            RetrievalError,
            "features of both (site 'cloud'): [DIVIDE_BY_ZERO] Division by zero. Use `try_divide`.",
        ),
        (
            [IN_ANOTHER_THREAD, ("java.io.IOException", "the disk is full")],
            RetrievalError,
            "features of both (site 'cloud'): IOException: the disk is full",
        ),
        (
            [("org.apache.spark.SparkRuntimeException", "[USER_RAISED_EXCEPTION] Task 403 does not exist")],
            RetrievalError,
            "features of both (site 'cloud'): [USER_RAISED_EXCEPTION] Task 403 does not exist",
        ),
        (
            [
                (
                    "org.apache.spark.SparkException",
                    "Job aborted due to stage failure: Task 403 in stage 1.0 is too large",
                )
            ],
            RetrievalError,
            "SparkException: Job aborted due to stage failure: Task 403 in stage 1.0 is too large",
        ),
        (
            [
                (
                    "org.apache.spark.SparkRuntimeException",
                    "[USER_RAISED_EXCEPTION] java.net.ConnectException: was here",
                )
            ],
            RetrievalError,
            "[USER_RAISED_EXCEPTION]",
        ),
        (
            [("org.apache.spark.sql.AnalysisException", "[PATH_NOT_FOUND] Path does not exist: abfs://x.")],
            SourceNotFoundError,
            "features of both: nothing is at site 'cloud'.",
        ),
        (
            [
                (
                    "java.io.FileNotFoundException",
                    'Operation failed: "The specified container does not exist.", 404, HEAD',
                )
            ],
            SourceNotFoundError,
            "nothing is at site 'cloud'.",
        ),
        (
            [
                IN_ANOTHER_THREAD,
                (
                    "org.apache.spark.SparkException",
                    "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file f.",
                ),
                ("java.io.FileNotFoundException", "f"),
            ],
            SourceNotFoundError,
            "is gone; ask for the features again. [FAILED_READ_FILE.NO_HINT] Encountered error while reading file f.",
        ),
        (
            [
                (
                    "org.apache.spark.SparkException",
                    "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file f.",
                ),
                ("java.lang.RuntimeException", "f is not a Parquet file"),
            ],
            RetrievalError,
            "while reading file f. Cause: RuntimeException: f is not a Parquet file",
        ),
        (
            [
                (
                    "org.apache.spark.sql.catalyst.ExtendedAnalysisException",
                    "[TABLE_OR_VIEW_NOT_FOUND] The table `t` …",
                )
            ],
            SourceNotFoundError,
            "no such table (site 'cloud'): [TABLE_OR_VIEW_NOT_FOUND] The table `t` …",
        ),
        *(
            (
                [("org.apache.spark.sql.AnalysisException", f"[{condition}] … `lakehouse`.`risk`.`loans`.")],
                SourceNotFoundError,
                "the session has no catalog of that name. Start it with spark.sql.catalog.<name>",
            )
            for condition in ("REQUIRES_SINGLE_PART_NAMESPACE", "CATALOG_NOT_FOUND")
        ),
        (
            [
                ("org.apache.spark.SparkClassNotFoundException", "[DATA_SOURCE_NOT_FOUND] Failed to find: csw."),
                ("a.B", "x"),
            ],
            SessionError,
            "does not know this file format",
        ),
        (
            [
                ("java.lang.RuntimeException", "x"),
                ("java.lang.NoSuchMethodError", "'void org.apache.hadoop.fs.azurebfs.A.b()'"),
            ],
            SessionError,
            "is of another version than its Hadoop",
        ),
        (
            [
                READING,
                ("java.io.EOFException", ""),
            ],
            RetrievalError,
            "abfs://c@a.dfs.core.windows.net/x",
        ),
        (
            [
                READING,
                (ABFS, "Status code: -1 error code: null error message: java.net.SocketException: Connection reset"),
            ],
            UnavailableError,
            ", file abfs://c@a.dfs.core.windows.net/x: ",
        ),
        (
            [
                (ABFS, "Status code: -1 error code: null error message: Auth failure: File '/token' does not exist"),
                ("java.io.FileNotFoundException", "File '/token' does not exist"),
            ],
            AuthenticationError,
            "Auth failure: File '/token' does not exist",
        ),
        (
            [
                ("java.lang.RuntimeException", "x"),
                ("java.lang.ClassNotFoundException", "Class a.fs.azurebfs.C not found"),
            ],
            SessionError,
            "has no driver for the lake",
        ),
        (
            [("org.apache.spark.SparkSQLException", "[INVALID_HANDLE.SESSION_CLOSED] The handle is invalid.")],
            SessionError,
            "the Spark Connect session is gone",
        ),
        (
            [
                (
                    "java.nio.file.AccessDeniedException",
                    'Operation failed: "This request is …", 403, GET, http://h/x, , ""',
                ),
                (ABFS, 'Operation failed: "This request is not authorized", 403, GET, http://h/x'),
            ],
            AccessDeniedError,
            "site 'cloud' denies access",
        ),
        (
            [
                IN_ANOTHER_THREAD,
                (
                    ABFS,
                    'Operation failed: "Server failed to authenticate the request. Make sure", 403, HEAD, http://h/x',
                ),
            ],
            AuthenticationError,
            "site 'cloud' does not accept the sign-in",
        ),
        (
            [("org.apache.hadoop.security.AccessControlException", "Permission denied: user=u, access=READ_EXECUTE")],
            AccessDeniedError,
            "denies access",
        ),
        (
            [
                ("java.net.ConnectException", "Call From a to b:1 failed"),
                ("java.net.ConnectException", "Connection refused"),
            ],
            UnavailableError,
            "is unavailable",
        ),
        (
            [
                IN_ANOTHER_THREAD,
                ("org.apache.spark.shuffle.FetchFailedException", "Failed to connect to executor-1/10.0.0.1:7337"),
                ("java.net.ConnectException", "Connection refused"),
            ],
            RetrievalError,
            "Connection refused",
        ),
        (
            [("java.net.SocketTimeoutException", "60000 millis timeout while waiting")],
            StorageTimeoutError,
            "did not answer in time",
        ),
        (
            [
                (
                    "org.apache.spark.SparkException",
                    "[FAILED_READ_FILE.NO_HINT] While reading a/part-being-replaced-0a.gz.",
                )
            ],
            RetrievalError,
            "its rows are being replaced",
        ),
        (
            [
                (
                    "org.apache.spark.sql.AnalysisException",
                    "[PARQUET_TYPE_ILLEGAL] Illegal: INT64 (TIMESTAMP(NANOS,true)).",
                )
            ],
            SchemaError,
            "as microseconds",
        ),
    ],
)
def test_a_condition_has_one_meaning(
    made: Callable[[Chain], Exception], chain: Chain, meaning: type[HybridError], text: str
) -> None:
    error = translated(made(chain))
    assert type(error) is meaning
    assert text in str(error)


LOST_TASK = (
    "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent failure: Lost task 0.3 in "
    "stage 1.0 (TID 7) (10.0.0.3 executor 2): {raised}\n\tat a.b(C.java:1)\n{cause}\n\nDriver stacktrace:"
)


@both_kinds
def test_of_a_task_whose_exception_did_not_reach_the_driver_the_job_s_text_is_read(
    made: Callable[[Chain], Exception],
) -> None:
    cause = (
        "Caused by: org.apache.hadoop.security.AccessControlException: Permission denied: user=u\n\tat a.b(C.java:1)"
    )
    text = LOST_TASK.format(raised="org.apache.spark.SparkException: Task failed", cause=cause)
    assert type(translated(made([("org.apache.spark.SparkException", text)]))) is AccessDeniedError


@both_kinds
def test_what_spark_does_not_show_holds_no_secret_either(made: Callable[[Chain], Exception]) -> None:
    request = "GET, http://h/x?sv=1&sig=canary%3D, rId: 1"
    error = translated(made([IN_ANOTHER_THREAD, ("java.io.IOException", f"failed to {request}")]))
    assert "sig=…" in str(error)
    waiting: list[BaseException | None] = [error]
    while waiting:
        behind = waiting.pop()
        if behind is not None:
            assert "canary" not in f"{behind} {behind!r} {vars(behind)}"
            waiting += [behind.__cause__, behind.__context__]


@both_kinds
def test_without_a_secret_sparks_own_error_is_the_cause(made: Callable[[Chain], Exception]) -> None:
    original = made([("java.io.IOException", "the disk is full")])
    assert translated(original).__cause__ is original


@pytest.mark.skipif(
    "grpc_status_code" not in inspect.signature(SparkConnectGrpcException).parameters,
    reason="this PySpark has no status in its error",
)
def test_a_connect_server_that_is_gone_is_no_fault_of_a_lake() -> None:
    error = SparkConnectGrpcException(
        "failed to connect to all addresses: Connection refused", grpc_status_code=StatusCode.UNAVAILABLE
    )
    assert type(translated(error)) is SessionError


def test_a_connect_server_that_is_gone_is_known_by_the_text_of_an_older_pyspark() -> None:
    text = (
        "<_MultiThreadedRendezvous of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n\tdetails = ..."
    )
    assert type(translated(SparkConnectGrpcException(text))) is SessionError


def test_an_error_that_is_not_sparks_passes() -> None:
    with pytest.raises(ZeroDivisionError), translate_spark_errors("features of both", "site 'cloud'"):
        raise ZeroDivisionError


def test_an_error_of_this_package_in_a_python_worker_is_that_error() -> None:
    error = in_worker("feast_hybrid.errors.SourceNotFoundError: view 'v': /a.parquet is gone?sig=abc")
    assert type(error) is SourceNotFoundError
    assert str(error) == "features of both: view 'v': /a.parquet is gone?sig=…"


@pytest.mark.parametrize(
    "raised",
    [
        "OSError: full",
        "pyarrow.lib.ArrowInvalid: no Parquet: Error",
        "zlib.error: bad",
        "AssertionError",
        "TimeoutError: no model",
        "PermissionError: x",
    ],
)
def test_any_other_error_in_a_python_worker_is_told_by_its_last_line(raised: str) -> None:
    error = in_worker(raised + "\nContent: <xml>")
    assert type(error) is RetrievalError
    assert str(error) == f"features of both (site 'cloud'): {raised}"


def in_worker(raised: str) -> HybridError:
    return translated(PythonException(WORKER.format(raised=raised)))


def test_of_a_long_error_the_line_is_kept_that_says_what_is_wrong() -> None:
    text = "An error occurred while calling o1.create.\n: ignored"
    assert redacted_summary(text) == redacted_summary(f"Py4JJavaError: {text}") == "ignored"
    parsing = "ParseException: \n[PARSE_EMPTY_STATEMENT] Syntax error, unexpected empty statement.\n\n== SQL ==\n^^^"
    assert redacted_summary(parsing) == "[PARSE_EMPTY_STATEMENT] Syntax error, unexpected empty statement."
    assert redacted_summary("ValueError: no such day\nat line 3") == "ValueError: no such day"
    assert redacted_summary("ValueError:") == "ValueError:"


def test_signatures_and_keys_are_struck_out() -> None:
    assert redacted_summary("GET https://x/?sv=1&sig=abc%3D failed: AccountKey=def;x") == (
        "GET https://x/?sv=1&sig=… failed: AccountKey=…;x"
    )
