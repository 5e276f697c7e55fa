"""The images under ``docker/``: their build contexts are staged from the artifact cache, then built.

A build fetches nothing but Debian's packages. Each image has the hash of all that it is made of as its tag, so
that it is built again only when something changed; ``latest`` is what ``docker/compose.yaml`` uses.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import MissingDependencyError, TestServerError
from feast_hybrid.spark.installed import pyspark_home
from feast_hybrid.testing import artifacts

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

DEBIAN = "debian:bookworm-slim"
PACKAGE = Path(__file__).parents[1]
DOCKER = PACKAGE.parent / "docker"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps the certificate authorities that a machine's owner has added."""

AZURITE_SCRIPT = Path(__file__).with_name("azurite.js")


_LEFT_OUT = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*")
"""What debootstrap leaves behind that no image needs."""


@dataclass(frozen=True)
class Image:
    """One image of ``docker/``.

    Attributes:
        name: Its folder, and its name after ``feast-hybrid/``.
        base: The image that it stands on; None for Debian itself.
        made_of: What is staged, as text; with the folder's own files it makes the tag.
        stage: Puts that into the build context.
    """

    name: str
    base: Image | None
    made_of: Callable[[], str]
    stage: Callable[[Path], None]

    @property
    def repository(self) -> str:
        """Its name without a tag."""
        return f"feast-hybrid/{self.name}"

    def tag(self) -> str:
        """Its name with the hash of its content as the tag."""
        digest = hashlib.sha256((self.base.tag() if self.base else DEBIAN).encode())
        digest.update(self.made_of().encode())
        for file in sorted(path for path in _folder(self.name).rglob("*") if path.is_file()):
            digest.update(file.name.encode() + file.read_bytes())
        return f"{self.repository}:{digest.hexdigest()[:12]}"


def _certificates() -> list[Path]:
    return sorted(CERTIFICATES.rglob("*.crt"))


def _stage_certificates(context: Path) -> None:
    (context / "certificates").mkdir()
    for certificate in _certificates():
        shutil.copy(certificate, context / "certificates")


def _stage_hdfs(context: Path) -> None:
    _link_tree(artifacts.hdfs_jars().path, context / "lib")


def _stage_adls(context: Path) -> None:
    _link_tree(artifacts.azurite().path / "node_modules", context / "node_modules")
    _link(artifacts.node(), context / "node")
    shutil.copy(AZURITE_SCRIPT, context)


def _stage_spark_base(context: Path) -> None:
    for folder in ("bin", "jars", "python/lib"):
        _link_tree(pyspark_home() / folder, context / "spark" / folder)
    if artifacts.workers_run_this_python():
        _link_tree(artifacts.workers_packages().path / "packages", context / "packages")
    else:
        (context / "packages").mkdir()


def _spark_base_is_made_of() -> str:
    packages = artifacts.workers_packages().path.name if artifacts.workers_run_this_python() else "no packages"
    return f"{artifacts.pyspark_version()} {packages}"


def _stage_spark(context: Path) -> None:
    for file in _package_files():
        target = context / PACKAGE.name / file.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


def _package_files() -> list[Path]:
    """This package's own modules."""
    return sorted(PACKAGE.rglob("*.py"))


def _package_hash() -> str:
    digest = hashlib.sha256()
    for file in _package_files():
        digest.update(str(file.relative_to(PACKAGE)).encode() + file.read_bytes())
    return digest.hexdigest()


def _certificates_text() -> str:
    return "".join(file.read_text() for file in _certificates())


JAVA = Image("java", None, _certificates_text, _stage_certificates)
HDFS = Image("hdfs", JAVA, lambda: artifacts.hdfs_jars().path.name, _stage_hdfs)
ADLS = Image(
    "adls",
    JAVA,
    lambda: f"{artifacts.azurite().path.name} {artifacts.node_version()} {AZURITE_SCRIPT.read_text()}",
    _stage_adls,
)
SPARK_BASE = Image("spark-base", JAVA, _spark_base_is_made_of, _stage_spark_base)
# This package changes more often than what it stands on: it is a layer of its own, which takes a second.
SPARK = Image("spark", SPARK_BASE, _package_hash, _stage_spark)
REDIS = Image("redis", JAVA, lambda: "", lambda _: None)
PYTHON = Image("python", None, _certificates_text, _stage_certificates)
SERVERS = (HDFS, ADLS, SPARK, REDIS)
IMAGES = {image.name: image for image in (*SERVERS, PYTHON)}


def engine() -> Any:
    """A client of the container engine.

    Raises:
        MissingDependencyError: None answers, or its Python client is not installed.
    """
    docker = _docker()
    try:
        # A build sends hundreds of megabytes and may say nothing for long.
        client = docker.from_env(timeout=900)
        client.ping()
    except docker.errors.DockerException as error:
        raise MissingDependencyError(
            f"No container engine answers ({error}). On Debian, docker/ensure-engine sets one up; "
            "or run the lakes as processes: LAKES=process."
        ) from error
    return client


def ensure(name: str, client: Any = None) -> str:
    """Build the image where it is missing, and return it with its tag."""
    client = client or engine()
    with artifacts.locked("images"):
        return _ensure(IMAGES[name], client)


def _docker() -> Any:
    # Not an import statement: where it is read by a tool in the source tree, "docker" is the folder of that name.
    try:
        return importlib.import_module("docker")
    except ImportError as error:
        raise MissingDependencyError(
            "Lakes in containers need the extra 'testing': pip install 'feast-hybrid[testing]'"
        ) from error


def _ensure(image: Image, client: Any) -> str:
    docker = _docker()
    tag = image.tag()
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        base = _ensure(image.base, client) if image.base else _debian(client)
        began = time.monotonic()
        log.info("building %s", tag)
        _build(image, tag, base, client)
        log.info("built %s in %.1f s", tag, time.monotonic() - began)
    client.images.get(tag).tag(image.repository, "latest")
    return tag


def _build(image: Image, tag: str, base: str, client: Any) -> None:
    # In the cache, so that hard links do instead of copies.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=artifacts.cache_dir()) as folder:
        context = Path(folder)
        shutil.copytree(_folder(image.name), context, dirs_exist_ok=True)
        image.stage(context)
        output: list[str] = []
        for step in client.api.build(
            path=str(context),
            tag=tag,
            buildargs={"BASE": base},
            network_mode="host",  # a build has the network that the host has
            rm=True,
            forcerm=True,
            decode=True,
        ):
            output.extend(str(step.get("stream", "")).splitlines())
            if "error" in step:
                last = "\n".join(output[-20:])
                raise TestServerError(f"The image {tag} could not be built: {step['error']}. Last lines:\n{last}")


def _debian(client: Any) -> str:
    """Debian's image: the one that is there, or pulled, or made by debootstrap."""
    docker = _docker()
    try:
        client.images.get(DEBIAN)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(DEBIAN)
        except docker.errors.APIError as error:
            log.info("%s cannot be pulled: making it with debootstrap", DEBIAN)
            _bootstrap(client, error)
    return DEBIAN


def _bootstrap(client: Any, pull_error: Exception) -> None:
    debootstrap = shutil.which("debootstrap")
    if debootstrap is None or os.geteuid() != 0:
        raise MissingDependencyError(
            f"{DEBIAN} cannot be pulled ({pull_error}), and making it takes debootstrap and root. "
            "Run the lakes as processes instead: LAKES=process."
        )
    repository, tag = DEBIAN.split(":")
    with tempfile.TemporaryDirectory(prefix="feast-hybrid-debian-") as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        for command in (
            [debootstrap, "--variant=minbase", "bookworm", str(root)],
            ["tar", "-C", str(root), "-c", "-f", str(archive), *_LEFT_OUT, "."],
        ):
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                last = "\n".join(done.stdout.splitlines()[-10:])
                raise TestServerError(f"{command[0]} failed with exit code {done.returncode}:\n{last}")
        client.api.import_image(src=str(archive), repository=repository, tag=tag)


def _folder(name: str) -> Path:
    folder = DOCKER / name
    if not folder.is_dir():
        raise TestServerError(
            f"Images are built from the folder docker/ of the source tree, and {folder} is not there. "
            "Work from a checkout, or run the lakes as processes: LAKES=process."
        )
    return folder


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(
        source,
        target,
        copy_function=_link,
        symlinks=True,
        ignore=shutil.ignore_patterns("*.map", "*.d.ts", "*.cmd", ".package-lock.json"),
    )


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another filesystem
        shutil.copy2(source, target)


def main() -> None:
    """Build every server's image that is missing, or the named ones; log what was done to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    client = engine()
    for name in sys.argv[1:] or [image.name for image in SERVERS]:
        sys.stdout.write(f"{ensure(name, client)}\n")


if __name__ == "__main__":
    main()
