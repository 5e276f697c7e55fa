"""Which PySpark is installed, if one is: without importing it, and where it comes with no package's metadata.

What needs Spark and finds none says so from here.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from feast_hybrid.errors import SparkNotInstalledError

#: PySpark's versions that are supported, as pyproject.toml has them in the extra ``spark``.
LEAST, BELOW = (4, 0, 5), (4, 4)

_VERSION = re.compile(r"""^__version__\b[^=]*=\s*["']([^"']+)["']""", re.MULTILINE)


def find_pyspark() -> Path | None:
    """The folder of the installed PySpark, without importing it; None where none is installed.

    PySpark's client for Connect alone counts, and so does what a platform has put on the path of modules.
    """
    spec = importlib.util.find_spec("pyspark")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def pyspark_version() -> str | None:
    """The version of the installed PySpark, such as ``4.3.0``; None where none is installed, or it does not say."""
    home = find_pyspark()
    if home is None:
        return None
    try:
        found = _VERSION.search((home / "version.py").read_text(encoding="utf-8"))
    except OSError:
        return None
    return None if found is None else found[1]


def pyspark_home() -> Path:
    """The folder of the installed PySpark, which also is a ``SPARK_HOME``.

    Raises:
        SparkNotInstalledError: there is none.
    """
    home = find_pyspark()
    if home is None:
        raise SparkNotInstalledError(f"PySpark is not installed: {HOW_TO_INSTALL}")
    return home


def require_pyspark(what: str) -> None:
    """Refuse work that is Spark's where PySpark is not installed, or too old for what is called here.

    A platform's own PySpark may have a number that pip knows nothing of, or an old one with what later ones repair:
    those are the doctor's to warn of.

    Args:
        what: asked for Spark, as a sentence begins: ``the source 'rides' (a query)``.

    Raises:
        SparkNotInstalledError: names what asked, what was found, and how to install it.
    """
    if find_pyspark() is None:
        raise SparkNotInstalledError(f"{what} needs Spark, and PySpark is not installed: {HOW_TO_INSTALL}")
    installed = pyspark_version()
    if installed is not None and _numbers(installed) < LEAST[:2]:
        raise SparkNotInstalledError(
            f"{what} needs Spark, and PySpark {installed} is installed, which is too old; needed is {SUPPORTED}: "
            f"{HOW_TO_INSTALL}"
        )


def is_supported(version: str) -> bool:
    """Whether a PySpark's version is one that feast-hybrid supports."""
    return LEAST <= _numbers(version) < BELOW


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


#: The supported versions, in words.
SUPPORTED = f"{'.'.join(map(str, LEAST))} and later, below {'.'.join(map(str, BELOW))}"

#: What to do where there is no PySpark, or another one.
HOW_TO_INSTALL = (
    "pip install 'feast-hybrid[spark]', or 'feast-hybrid[connect]' for a server of Spark Connect. On Databricks, EMR "
    "and other platforms that bring their own, run where the platform's PySpark is on the path, and install no other "
    "beside it."
)
