"""Paths without a scheme, as Feast's own sources have them: whose they are, and how they are written out.

A source of ours has none. What Feast reads by pyarrow is on this machine; what it reads by Spark is where Hadoop's
``fs.defaultFS`` points.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from feast_hybrid.errors import RoutingError
from feast_hybrid.lakes.uri import LakeType, LakeUri, may_hold_secret, parse_uri

#: Where Spark runs that is reached by Spark Connect.
SERVER = "a server of Spark Connect"
_SETTING = "fs.defaultFS"
_OF_SPARK = "spark.hadoop."
#: A line of ``spark-defaults.conf``, in Java's form of properties.
_DEFAULT = re.compile(rf"\s*{re.escape(_OF_SPARK + _SETTING)}(?:\s*[=:]\s*|\s+)(?P<value>\S+)")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class BarePaths:
    """What paths without a scheme mean to a repository.

    Attributes:
        repo: the repository's folder, where relative ones of this machine begin; None for the working directory.
        settings: of the Spark session that would be started, such as ``spark.hadoop.fs.defaultFS``.
        of_session: ``fs.defaultFS`` of the session that runs in this process; None where none does.
        elsewhere: where Spark runs, if not in this process: a master or a server; its default file system is its own.
    """

    repo: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    of_session: str | None = None
    elsewhere: str | None = None

    def on_this_machine(self, path: str, *, what: str) -> str:
        """The URI of a path as Feast reads it by pyarrow: on this machine's disk; any other URI as it is.

        Raises:
            RoutingError: it may hold a secret, which the error does not repeat.
        """
        if not is_bare(path):
            return path
        if may_hold_secret(path):
            parse_uri(path, what=what)  # which refuses it
        found = Path(self.repo or "", path)
        # Links lead where they lead: only then does ".." mean the folder above.
        found = found.resolve() if ".." in found.parts else found.absolute()
        return f"file://{found}"

    def by_hadoop(self, path: str, *, what: str) -> str:
        """The URI of a path as Spark reads it: where ``fs.defaultFS`` points; any other URI as it is.

        That is the setting of the running session, else of ``offline_store.spark.conf``, else of what a session of
        this machine reads (``spark-defaults.conf``, ``core-site.xml``), else this machine's disk, as Hadoop has it.

        Raises:
            RoutingError: Spark runs elsewhere, where another setting may count; or it is relative to a folder of
                Hadoop's that is not known here; or it begins with two slashes; or it may hold a secret, which the
                error does not repeat.
        """
        if not is_bare(path):
            return path
        _refuse_unclear(path, what)
        setting = self.of_session or self.settings.get(f"{_OF_SPARK}{_SETTING}") or _of_files()
        if setting is None and self.elsewhere is not None:
            parse_uri(path, what=f"{what} (Spark runs at {self.elsewhere})")  # which refuses it, with the spellings
        default = parse_uri(setting, what=f"{_SETTING}, which a path without a scheme needs,") if setting else None
        if default is None or default.lake is LakeType.LOCAL:
            return BarePaths().on_this_machine(path, what=what)
        return _below(default, path, what)

    def on_site(self, path: str, root: LakeUri, *, what: str) -> str:
        """The URI of a path as Spark would read it whose ``fs.defaultFS`` is a site; any other URI as it is.

        Args:
            path: as the source has it.
            root: the site's URI. Only its scheme and authority count: the path begins at the root of the file system.
            what: how an error names the thing.

        Raises:
            RoutingError: as :meth:`by_hadoop`.
        """
        if not is_bare(path):
            return path
        _refuse_unclear(path, what)
        return self.on_this_machine(path, what=what) if root.lake is LakeType.LOCAL else _below(root, path, what)


def _refuse_unclear(path: str, what: str) -> None:
    if may_hold_secret(path):
        parse_uri(path, what=what)  # which refuses it
    if path.startswith("//"):
        raise RoutingError(
            f"{what}: {path!r} begins with two slashes, after which Hadoop expects a server's name; write one "
            "slash, or the whole URI."
        )


def _below(default: LakeUri, path: str, what: str) -> str:
    if not path.startswith("/"):
        raise RoutingError(
            f"{what}: {path!r} is relative to a user's folder of {default.scheme}://{default.authority}; write "
            "it out from there."
        )
    return str(LakeUri(default.lake, default.scheme, default.authority, path))


def is_bare(path: str) -> bool:
    """Whether a path has no scheme, and is not empty."""
    return bool(path.strip()) and _SCHEME.match(path) is None


def _of_files() -> str | None:
    """``fs.defaultFS`` of the files that a session of this machine would read; None where none names it.

    As Spark's launcher has it: its own defaults count most; then the first ``core-site.xml`` on its class path.
    """
    home = os.environ.get("SPARK_HOME")
    of_spark = os.environ.get("SPARK_CONF_DIR") or (home and str(Path(home, "conf")))
    defaults = Path(of_spark, "spark-defaults.conf") if of_spark else None
    if defaults is not None and defaults.is_file():
        try:
            lines = defaults.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(defaults, error) from None
        found = [match["value"] for match in map(_DEFAULT.match, lines) if match is not None]
        if found:
            return found[-1]
    folders = filter(None, [of_spark, os.environ.get("HADOOP_CONF_DIR"), os.environ.get("YARN_CONF_DIR")])
    file = next((file for folder in folders if (file := Path(folder, "core-site.xml")).is_file()), None)
    if file is None:
        return None
    try:
        root = ET.parse(file).getroot()  # noqa: S314 - this machine's own configuration
    except (ET.ParseError, OSError) as error:
        raise _unreadable(file, error) from None
    for setting in root.iter("property"):
        if setting.findtext("name", "").strip() == _SETTING:
            return setting.findtext("value", "").strip() or None
    return None


def _unreadable(file: Path, error: Exception) -> RoutingError:
    return RoutingError(f"{file}: its {_SETTING}, which a path without a scheme needs, is unreadable: {error}")
