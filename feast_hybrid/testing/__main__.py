"""``python -m feast_hybrid.testing up``: the test lakes, until Ctrl-C."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from feast_hybrid.errors import HybridError
from feast_hybrid.testing import AdlsLake, HdfsLake, SparkCluster, SparkConnectServer, artifacts, start_all

if TYPE_CHECKING:
    from feast_hybrid.testing import Server


@click.group()
def main() -> None:
    """Lakes to try feast-hybrid on: HDFS, ADLS Gen2 (Azurite), a Spark cluster, a Spark Connect server."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("feast_hybrid").setLevel(logging.INFO)


_MODE = click.option(
    "--mode",
    type=click.Choice(["process", "container"]),
    help="How servers run. By default what LAKES in the environment says, or else container.",
)


@main.command()
@_MODE
@click.option("--spark", "with_spark", is_flag=True, help="Start a Spark Standalone cluster too.")
@click.option("--connect", "with_connect", is_flag=True, help="Start a Spark Connect server too.")
def up(mode: str | None, with_spark: bool, with_connect: bool) -> None:
    """Start both lakes, print an offline_store section for them, and stay until Ctrl-C."""
    hdfs, adls = HdfsLake(mode), AdlsLake(mode)
    servers: list[Server] = []
    spark = SparkCluster(mode) if with_spark else None
    if spark is not None:
        servers.append(spark)
    connect = SparkConnectServer(mode) if with_connect else None
    if connect is not None:
        servers.append(connect)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        # Spark's workers get the lakes' keys.
        with start_all((hdfs, adls)), start_all(servers):
            click.echo(offline_store_section(hdfs, adls, spark, connect))
            click.echo("Ready. Ctrl-C ends them, and all their data with them.", err=True)
            over.wait()
    except KeyboardInterrupt:
        click.echo("Ended.", err=True)
    except HybridError as error:
        raise click.ClickException(str(error)) from error


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


def offline_store_section(
    hdfs: HdfsLake,
    adls: AdlsLake,
    spark: SparkCluster | None = None,
    connect: SparkConnectServer | None = None,
) -> str:
    """The ``offline_store`` section of ``feature_store.yaml`` for these servers.

    The account's key stands there as ``{env: NAME}``; a comment has the line that sets the variable in
    another shell.
    """
    lines = [
        f"# in the shell that uses it: export {adls.key_variable}='{adls.key}'",
        "offline_store:",
        "  type: feast_hybrid.HybridSparkOfflineStore",
        "  sites:",
    ]
    for site in (hdfs.site("onprem"), adls.site("cloud")):
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
