"""Whether executors can run this package and open views' files: they try it once, in a tiny job."""

from __future__ import annotations

import importlib
import pickle
import platform
import re
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pyspark import cloudpickle
from pyspark.sql import functions as F

from feast_hybrid.asof.scan import Ineligible, Scan
from feast_hybrid.errors import AccessDeniedError, AuthenticationError
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    #: Its name in plans, and how its files are opened.
    Place = tuple[str, str]

#: The places and sign-ins with which executors can open files: for each session of Spark Connect, which has its own
#: Python files, and for each application of Spark Classic, whose sessions share their executors.
_readable_by_session: weakref.WeakKeyDictionary[Any, set[Place]] = weakref.WeakKeyDictionary()
_readable_by_application: dict[str | None, set[Place]] = {}
#: What Spark says of a Python that cannot run tasks, in the traces of a job that fails.
_NO_PYTHON = re.compile(
    r"(?<=\[PYTHON_VERSION_MISMATCH\] )[^\n]*|Cannot run program \"[^\"]*\"[^\n]*|\w*Error: No module named [\w.']*"
)
#: What was warned of.
_warned_of: set[str] = set()


class UnfitPython(Ineligible):
    """The workers' Python cannot run this package, whatever it is to read."""


def check_executors(
    session: SparkSession, scans: Iterable[Scan], parallelism: int | None = None
) -> list[Scan | Ineligible]:
    """The scans, or why the session's executors cannot read their files.

    Runs a job for each place, until a session or application has once succeeded for it, unless there is nothing to
    check. Warns, once, of a Python that cannot run this package's code.

    Raises:
        AuthenticationError: a lake does not accept from an executor what it is signed in to by here.
        AccessDeniedError: nor does it let it.
    """
    readable = _readable_places(session)
    unreadable: dict[Place, Ineligible] = {}
    found: list[Scan | Ineligible] = []
    for scan in scans:
        place = (scan.where, repr(scan.open))
        if scan.check is not None and place not in readable and place not in unreadable:
            failure = _run_check(session, scan.check, scan.where, parallelism or 2)
            if failure is not None:
                unreadable[place] = failure
            else:
                readable.add(place)  # not what failed, which may be fixed
        found.append(unreadable.get(place, scan))
    return found


def check_python(session: SparkSession, parallelism: int | None = None) -> Ineligible | None:
    """Why the session's executors cannot run this package's code on rows that Spark hands them, if they cannot.

    Runs a job until a session or application has once succeeded. Warns, once, of a Python that is unfit.
    """
    readable = _readable_places(session)
    if readable:
        return None  # whoever opens files runs this package
    failure = _run_check(session, _do_nothing, "", parallelism or 2)
    if failure is None:
        readable.add(("", ""))
    return failure


def _do_nothing() -> None:
    """What there is to check where no file is opened."""


def _readable_places(session: SparkSession) -> set[Place]:
    if is_connect(session):
        return _readable_by_session.setdefault(session, set())
    return _readable_by_application.setdefault(session.conf.get("spark.app.id", None), set())


def _run_check(session: SparkSession, check: Callable[[], None], where: str, tasks: int) -> Ineligible | None:
    """What executors say, each thing once; None where all can do what is checked."""
    # As bytes, which are unpickled where an error can be caught.
    pickled = cloudpickle.dumps(check)

    # A function within a function travels by value, and so arrives where this package is not installed. It uses the
    # standard library alone, and is no Arrow function: Arrow may be what is missing.
    def probe(_: int) -> str:
        try:
            importlib.import_module("feast_hybrid.asof.columnar.read")
            pickle.loads(pickled)()  # noqa: S301  # the driver has made it
        except ImportError as error:
            lacks = f"has no module {error.name!r}" if error.name else "cannot import this package"
            return f"python {sys.executable} (Python {platform.python_version()}) {lacks}"
        except Exception as error:
            name = type(error).__name__
            if not type(error).__module__.startswith("feast_hybrid."):
                # The error's own text might hold what was given to a file system.
                return f"error {name}"
            refused = name in ("AuthenticationError", "AccessDeniedError")
            return f"refused {name} {error}" if refused else f"error {name}: {error}"
        return ""

    try:
        answers = session.range(0, tasks, 1, tasks).select(F.udf(probe, "string", useArrow=False)("id")).collect()
    except Exception as error:
        # A Python that is not there, or of another version, fails before the function is called.
        found = _NO_PYTHON.search(str(error))
        reason = f"the workers' Python cannot run tasks: {found[0] if found else type(error).__name__}"
        _warn_of(reason)
        return UnfitPython(reason)
    failures = []
    is_unfit = False
    for failure in sorted({row[0] for row in answers} - {""}):
        what, _, text = failure.partition(" ")
        if what == "refused":
            # It is what Spark's own reader would sign in with.
            name, _, text = text.partition(" ")
            raise AuthenticationError(text) if name == "AuthenticationError" else AccessDeniedError(text)
        if what == "python":
            text = f"the workers' Python, {text}"
            is_unfit = True
            _warn_of(text)
        else:
            text = f"executors cannot open files on {where}: {text}" if where else f"executors cannot run it: {text}"
        failures.append(text)
    if not failures:
        return None
    reason = ", ".join(failures)
    return UnfitPython(reason) if is_unfit else Ineligible(reason)


def _warn_of(reason: str) -> None:
    if reason not in _warned_of:
        _warned_of.add(reason)
        warnings.warn(
            f"Spark reads feature views by itself, which takes longer: {reason}. Install feast-hybrid there, or set "
            "PYSPARK_PYTHON, before the session starts, to a Python that has it.",
            UserWarning,
            stacklevel=2,
        )
