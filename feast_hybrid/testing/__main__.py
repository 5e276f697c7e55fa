"""``python -m feast_hybrid.testing up``: the test lakes, until Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feast_hybrid.errors import HybridError
from feast_hybrid.testing import (
    RUNNING_LAKES,
    AdlsLake,
    HdfsLake,
    SparkCluster,
    SparkConnectServer,
    artifacts,
    start_all,
)
from feast_hybrid.testing.lake import FIRST_PORT

if TYPE_CHECKING:
    from feast_hybrid.testing import Server


@click.group()
def main() -> None:
    """Lakes to try feast-hybrid on: HDFS, ADLS Gen2 (Azurite), a Spark cluster, a Spark Connect server."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("feast_hybrid").setLevel(logging.INFO)


#: How the lakes are called in what is printed, and by who puts files there.
SITES = ("onprem", "cloud")
_STORE = "feature_store.yaml"
#: A small repository for the lakes, whose URIs are those of ``up --data FOLDER``.
_EXAMPLE = Path(__file__).with_name("example")
_EXAMPLE_ADLS = "abfs://lake@feasthybrid.dfs.core.windows.net"
_EXAMPLE_FILES = ("features.py", "rows.py", "train.py")
_REPOSITORY = """\
project: quickstart
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""

_KEPT: Any = {
    "type": click.Path(path_type=Path, file_okay=False),
    "help": "The folder in which the lakes keep their data and addresses.",
}
_DATA = click.option("--data", **_KEPT)
_DATA_NEEDED = click.option("--data", required=True, **_KEPT)
_MODE = click.option(
    "--mode",
    type=click.Choice(["process", "container"]),
    help="How servers run. By default what LAKES in the environment says, or else container.",
)


@main.command()
@_MODE
@click.option("--spark", "with_spark", is_flag=True, help="Start a Spark Standalone cluster too.")
@click.option("--connect", "with_connect", is_flag=True, help="Start a Spark Connect server too.")
@_DATA
@click.option(
    "--first-port",
    type=click.IntRange(1024, 65000),
    default=FIRST_PORT,
    show_default=True,
    help="With --data: of the six ports that the lakes listen on, one after another.",
)
@click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a feature_store.yaml for the lakes into this folder, which has none.",
)
@click.option(
    "--example", is_flag=True, help=f"With --repo: write an example there too, {', '.join(_EXAMPLE_FILES)}."
)
def up(
    mode: str | None,
    with_spark: bool,
    with_connect: bool,
    data: Path | None,
    first_port: int,
    repo: Path | None,
    example: bool,
) -> None:
    """Start both lakes, print an offline_store section for them, and stay until Ctrl-C or another signal ends it.

    With --data, what is put there stays, and the next start has the same addresses.
    """
    try:
        hdfs, adls = _lakes(mode, data, first_port)
    except HybridError as error:
        raise click.ClickException(str(error)) from error
    if example and repo is None:
        raise click.UsageError("--example is written into the folder of --repo: name one")
    for name in (_STORE, *(_EXAMPLE_FILES if example else ())):
        if repo is not None and (repo / name).exists():
            raise click.ClickException(f"{repo / name} is there already: name another folder, or leave --repo out.")
    servers: list[Server] = []
    spark = SparkCluster(mode) if with_spark else None
    if spark is not None:
        servers.append(spark)
    connect = SparkConnectServer(mode) if with_connect else None
    if connect is not None:
        servers.append(connect)
    over = threading.Event()
    for ends in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, lambda *_: over.set())
    try:
        # Spark's workers get the lakes' keys.
        with start_all((hdfs, adls)), start_all(servers):
            section = offline_store_section(hdfs, adls, spark, connect)
            click.echo(section)
            if repo is not None:
                repo.mkdir(parents=True, exist_ok=True)
                (repo / _STORE).write_text(f"{_REPOSITORY}{section}\n", encoding="utf-8")
                if example:
                    _write_example(repo, hdfs, adls)
            kept = "; their data stay" if data is not None else ", and all their data with them"
            click.echo(f"Ready. Ctrl-C ends them{kept}.", err=True)
            over.wait()
    except KeyboardInterrupt:
        click.echo("Ended.", err=True)
    except HybridError as error:
        raise click.ClickException(str(error)) from error


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> None:
    """Start both lakes as processes, run COMMAND, and end them; ends with what the command ended with.

    FEAST_HYBRID_LAKES in the command's environment names the folder by which a Python without PySpark, or a container
    without Java, finds these lakes (feast_hybrid.testing.running_lakes). All their data go with them.
    """
    for ends in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, lambda number, _: sys.exit(128 + number))  # and the command is ended
    with tempfile.TemporaryDirectory(prefix="feast-hybrid-lakes-") as folder:
        both = _lakes("process", Path(folder), None)
        try:
            with start_all(both):
                ended = subprocess.run(command, env={**os.environ, RUNNING_LAKES: folder}, check=False).returncode
        except (HybridError, OSError) as error:
            raise click.ClickException(str(error)) from error
    sys.exit(ended if ended >= 0 else 128 - ended)  # of a signal, as shells say it


@main.command()
@_DATA_NEEDED
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.argument("to")
def put(data: Path, files: tuple[Path, ...], to: str) -> None:
    """Put files, or folders of them, into a folder of a lake that `up --data` has started.

    TO is the lake and the folder: onprem:/stats or cloud:/weather. What has the same name there is replaced.
    """
    name, colon, folder = to.partition(":")
    if name not in SITES or not colon or not folder.strip("/"):
        raise click.BadParameter(f"{to!r} is not {' or '.join(f'{site}:/FOLDER' for site in SITES)}", param_hint="TO")
    try:
        lake = dict(zip(SITES, _lakes("process", data), strict=True))[name].attach()
    except HybridError as error:
        raise click.ClickException(str(error)) from error
    inside = folder.strip("/")
    top = f"{lake.container}/{inside}" if isinstance(lake, AdlsLake) else f"/{inside}"
    filesystem = lake.filesystem()
    for given in files:
        found = [file for file in sorted(given.rglob("*")) if file.is_file()] if given.is_dir() else [given]
        for file in found:
            target = f"{top}/{file.relative_to(given.parent if given.is_file() else given).as_posix()}"
            filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(file), target)
    click.echo(f"{lake.uri}/{inside}")


@main.command()
def fetch() -> None:
    """Download all that processes and images need, and say how long it took."""
    try:
        for name, get in (
            ("HDFS", artifacts.hdfs_jars),
            ("Azurite", artifacts.azurite),
            ("hadoop-azure", artifacts.azure_jars),
        ):
            artifact = get()
            took = f"downloaded in {artifact.seconds:.1f} s" if artifact.seconds else "was there"
            click.echo(f"{name}: {artifact.path} ({took})")
    except HybridError as error:
        raise click.ClickException(str(error)) from error


def _write_example(repo: Path, hdfs: HdfsLake, adls: AdlsLake) -> None:
    for name in _EXAMPLE_FILES:
        text = (_EXAMPLE / name).read_text(encoding="utf-8")
        for written, uri in ((f"hdfs://127.0.0.1:{FIRST_PORT}", hdfs.uri), (_EXAMPLE_ADLS, adls.uri)):
            text = text.replace(written, uri)
        (repo / name).write_text(text, encoding="utf-8")


def _lakes(mode: str | None, data: Path | None, first_port: int | None = FIRST_PORT) -> tuple[HdfsLake, AdlsLake]:
    """Both lakes; one after another from the first port on, where data are kept, or on any that are free."""
    hdfs = HdfsLake(mode, data=data, first_port=first_port)
    after = None if first_port is None else first_port + HdfsLake.ports
    return hdfs, AdlsLake(mode, data=data, first_port=after)


def offline_store_section(
    hdfs: HdfsLake,
    adls: AdlsLake,
    spark: SparkCluster | None = None,
    connect: SparkConnectServer | None = None,
) -> str:
    """The ``offline_store`` section of ``feature_store.yaml`` for these servers.

    The account's key stands there as ``{env: NAME}``, and a comment has the line that sets the variable in another
    shell; or as ``{file: PATH}``, where data are kept.
    """
    by_variable = "env" in adls.site(SITES[1])["credential"]["account_key"]
    lines = [
        *([f"# in the shell that uses it: export {adls.key_variable}='{adls.key}'"] if by_variable else []),
        "offline_store:",
        "  type: feast_hybrid.HybridSparkOfflineStore",
        "  sites:",
    ]
    for site in (hdfs.site(SITES[0]), adls.site(SITES[1])):
        lines += [f"    - name: {site['name']}", f"      uri: {site['uri']}"]
        lines += [f"      credential: {_flow(site['credential'])}"]
    if connect is not None:
        lines += ["  spark:", f"    remote: {connect.uri}", f"  staging_location: {adls.uri}/_staging"]
        return "\n".join(lines)
    conf = spark.session_conf() if spark else {"spark.jars": ",".join(artifacts.azure_jars().jars())}
    master = conf.pop("spark.master", "local[*]")
    lines += ["  spark:", f"    master: {master}", "    conf:"]
    lines += [f"      {key}: {json.dumps(value)}" for key, value in conf.items()]
    lines += [f"  staging_location: {adls.uri}/_staging"]
    return "\n".join(lines)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    plain = isinstance(value, str) and re.fullmatch("[A-Za-z_][A-Za-z_0-9]*", value)
    return value if plain else json.dumps(value)  # JSON's strings are YAML's


if __name__ == "__main__":
    main(prog_name="python -m feast_hybrid.testing")
