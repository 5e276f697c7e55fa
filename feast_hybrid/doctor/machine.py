"""What is installed on this machine: Python, packages, Java, and the jars that Spark would start with."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from feast_hybrid.doctor.report import Status
from feast_hybrid.errors import HybridError
from feast_hybrid.spark.hadoop_azure import hadoop_version, with_hadoop_azure
from feast_hybrid.spark.installed import (
    HOW_TO_INSTALL,
    SUPPORTED,
    find_pyspark,
    is_supported,
    pyspark_home,
    pyspark_version,
)
from feast_hybrid.spark.java import find_java, java_version

if TYPE_CHECKING:
    from feast_hybrid.doctor.checking import Checks
    from feast_hybrid.spark.config import SparkConfig

#: What this package works with, by the names of their distributions.
_PACKAGES = (
    *("feast-hybrid", "feast", "pyarrow", "pandas", "numpy", "fsspec", "adlfs", "azure-identity"),
    *("azure-storage-blob", "hdfs-native"),
)
#: What works without PySpark, and what does not.
_WITHOUT_PYSPARK = (
    "not installed. feast apply needs none for Parquet, ORC, Delta and Iceberg by path, nor does writing to Parquet, "
    "Delta and Iceberg by path. Tables, queries, other formats and joins in Spark do."
)
_DRIVER = re.compile(r"hadoop-azure[:-](\d+(?:\.\d+)+)")


def look_at_machine(checks: Checks, config: SparkConfig, *, uses_adls: bool, starts_spark: bool) -> None:
    """Note what is installed.

    Args:
        checks: where to note.
        config: the session that is worked in.
        uses_adls: whether a site is on ADLS, which needs the ABFS driver.
        starts_spark: whether a session is started in this process, so that Java is needed.
    """
    checks.begin("Python")
    checks.ok(f"{platform.python_version()}, {sys.executable}")
    _packages(checks)
    if _has_pyspark(checks, config):
        _java(checks, starts_spark=starts_spark and not config.remote)
        _hadoop_azure(checks, config, uses_adls=uses_adls)
    _hadoop_files(checks)


def _has_pyspark(checks: Checks, config: SparkConfig) -> bool:
    """Note which PySpark there is; none is no fault where the configuration says nothing of Spark.

    Returns:
        Whether there is one.
    """
    checks.begin("PySpark")
    home = find_pyspark()
    if home is None:
        wanted = sorted(config.model_fields_set)
        checks.add(
            Status.FAILED if wanted else Status.NOT_TRIED,
            f"not installed, and offline_store.spark sets {', '.join(wanted)}" if wanted else _WITHOUT_PYSPARK,
            HOW_TO_INSTALL,
        )
        return False
    found = pyspark_version()
    if found is not None and not is_supported(found):
        checks.add(Status.WARNING, f"{found}, {home}; what is tested is {SUPPORTED}", HOW_TO_INSTALL)
    else:
        checks.ok(f"{found or 'of an unknown version'}, {home}")
    return True


def installed(packages: tuple[str, ...] = _PACKAGES) -> dict[str, str | None]:
    """The versions of packages; None for what is not installed."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _packages(checks: Checks) -> None:
    checks.begin("packages")
    found = installed()
    missing = [name for name, there in found.items() if there is None]
    text = ", ".join(f"{name} {there}" for name, there in found.items() if there)
    if missing:
        checks.fail(f"{', '.join(missing)} missing; {text}", "pip install feast-hybrid")
    else:
        checks.ok(text)


def _java(checks: Checks, *, starts_spark: bool) -> None:
    checks.begin("Java")
    try:
        path = find_java()
    except HybridError as error:
        checks.add(Status.FAILED if starts_spark else Status.NOT_TRIED, str(error))
    else:
        checks.ok(f"{java_version(path)}, {path}")


def _hadoop_azure(checks: Checks, config: SparkConfig, *, uses_adls: bool) -> None:
    """The ABFS driver of a session that would be started here: it must be of the very version of Spark's Hadoop."""
    checks.begin("Spark's jars")
    if config.remote:
        checks.skip(["Spark's jars"], "those of the Spark Connect server count")
        return
    try:
        hadoop = hadoop_version()
    except HybridError as error:
        checks.add(Status.WARNING, str(error))
        return
    if not uses_adls:
        checks.ok(f"Hadoop {hadoop}; no site needs hadoop-azure")
        return
    driver, origin = _driver(with_hadoop_azure(config.conf))
    if driver is None:
        checks.add(Status.WARNING, f"Hadoop {hadoop}; hadoop-azure of an unknown version from {origin}")
    elif driver != hadoop:
        checks.fail(
            f"hadoop-azure {driver} from {origin}, but Spark bundles Hadoop {hadoop}",
            f"Take hadoop-azure {hadoop}: the two must be of one version.",
        )
    else:
        checks.ok(f"Hadoop {hadoop}, hadoop-azure {driver} from {origin}")


def _driver(settings: Mapping[str, str]) -> tuple[str | None, str]:
    """The version of the driver that a session would get, and where from."""
    for setting in ("spark.jars.packages", "spark.jars", "spark.driver.extraClassPath"):
        if found := _DRIVER.search(settings.get(setting, "")):
            return found[1], "Maven" if setting == "spark.jars.packages" else setting
    for jar in (pyspark_home() / "jars").glob("hadoop-azure-*.jar"):
        if found := _DRIVER.search(jar.name):
            return found[1], str(jar.parent)
    return None, "the session's settings"


def _hadoop_files(checks: Checks) -> None:
    """Hadoop's own configuration, from which Spark and hdfs-native take what the sites do not say."""
    checks.begin("Hadoop's files")
    folder = os.environ.get("HADOOP_CONF_DIR")
    if folder is None:
        checks.ok("HADOOP_CONF_DIR is not set: the sites say all")
        return
    found = [name for name in ("core-site.xml", "hdfs-site.xml") if (Path(folder) / name).is_file()]
    if found:
        checks.ok(f"{' and '.join(found)} in {folder}")
    else:
        checks.add(
            Status.WARNING,
            f"HADOOP_CONF_DIR={folder} has neither core-site.xml nor hdfs-site.xml",
            "Set it to the folder that holds them, or unset it.",
        )
