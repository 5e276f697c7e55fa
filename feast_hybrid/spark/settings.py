"""Whether a running session has the settings that were asked for, and whether somebody has set one of Hadoop's."""

from __future__ import annotations

import os
import re
from typing import Any

#: Settings that Spark rewrites when it starts.
_FILE_LISTS = ("spark.jars", "spark.files", "spark.submit.pyFiles")
_JAVA_OPTIONS = ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions")
_ORIGIN = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?")


def same_setting(key: str, wanted: str, found: str | None) -> bool:
    """Whether a session has the value that was asked for, in the spelling that Spark gives it when it starts."""
    if found is None or found == wanted:
        return found == wanted
    if key == "spark.sql.warehouse.dir":
        return _same_path(wanted, found)
    if key in _FILE_LISTS:  # the jars of spark.jars.packages are added to spark.jars
        files = [path.strip() for path in found.split(",")]
        return all(any(_same_path(path.strip(), file) for file in files) for path in wanted.split(","))
    if key == "spark.redaction.regex":  # the lakes' secrets are added to it
        return found.startswith(f"{wanted}|")
    # Spark puts its own options before the ones that were given.
    return key in _JAVA_OPTIONS and found.endswith(f" {wanted}")


def _same_path(wanted: str, found: str) -> bool:
    if _ORIGIN.match(wanted):
        wanted, found = (re.sub("^file:///", "file:/", path).rstrip("/") for path in (wanted, found))
        return wanted == found
    return _ORIGIN.sub("", found).rstrip("/") == os.path.abspath(wanted)  # Spark has put fs.defaultFS before it


def is_set(hadoop: Any, key: str) -> bool:
    """Whether a Hadoop configuration has a setting from elsewhere than Hadoop's own defaults."""
    sources = hadoop.getPropertySources(key)
    return sources is not None and not str(list(sources)[-1]).endswith("-default.xml")
