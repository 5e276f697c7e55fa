"""Both lakes, one Spark session and feature stores on them, for all integration tests of one run.

``LAKES`` says how the servers run; the tests do not know it. ``SPARK=connect`` runs them on Spark Connect instead of
Spark Classic.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from feast_hybrid.spark.formats import SETTINGS
from feast_hybrid.testing import Lakes, SparkConnectServer, artifacts, session_conf, start_hdfs
from feast_hybrid.testing import lakes as start_lakes
from tests.integration.faulty import LAKES_IN_TURNS, SEEDS
from tests.integration.jobs import ClassicJobs, ConnectJobs, Jobs
from tests.integration.places import Place, Places, abfs_speaks_to_azurite, feature_store, format_jars, on_connect
from tests.integration.spark_classes import SHORT_LIVED, jvm_options

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore
    from pyspark.sql import SparkSession

#: Parameters that say where rows lie and who computes, of which Connect, for one test, has one value.
TURNS = {"role": ("onprem", "cloud"), "engine": ("local", "spark.engine"), "strategy": ("columnar", "window")}
#: Modules that take more than a minute, which are begun first: one that is begun last has two processes wait for it.
LONGEST = (
    "test_tables_by_columns",
    "test_transformations",
    "test_demo",
    "test_monitoring_service",
    "test_applications",
    "test_replaced_tables",
    "test_first_minutes",
    "test_asof_ties",
    "test_asof_keys",
    "test_cluster",
    "test_layouts_cloud",
    "test_layouts_onprem",
    "test_connect",
    "test_cli_round",
    "test_optimize",
    "test_one_meaning",
    "test_persist",
    "test_formats",
    "test_tasks_run_again",
    "test_shared_filesystems",
    "test_replace_concurrently",
    "test_random_faults",
    "test_adls_in_spark",
    "test_kerberos",
)


def pytest_configure(config: pytest.Config) -> None:
    # What has been imported stays: whoever looks at all objects, as sources do for their views, need not look at it.
    gc.collect()
    gc.freeze()
    if "SPARK_SUBMIT_OPTS" not in os.environ:
        os.environ["SPARK_SUBMIT_OPTS"] = jvm_options()  # of each session that is started here or by a test
    os.environ.setdefault("SPARK_DAEMON_JAVA_OPTS", SHORT_LIVED)  # of a cluster's master and worker
    if artifacts.pyspark_version().startswith(("4.0.", "4.1.")):
        # Their toArrow() and toPandas() leave their socket to the garbage collector.
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest modules first; on Spark Connect a test of :data:`TURNS` runs with one value of each, in turns.

    Spark Classic runs it with all, but for lakes that :data:`LAKES_IN_TURNS` marks. What is left to
    ``make test-faults`` takes no turn.
    """
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for name, values in TURNS.items():
        those = items if on_connect() else _with_lakes_in_turns(items) if name == "role" else []
        left_out = set(_out_of_turn(those, name, values))
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _with_lakes_in_turns(items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if item.get_closest_marker(LAKES_IN_TURNS.name)] if len(SEEDS) < 2 else []


def _out_of_turn(items: list[pytest.Item], name: str, values: tuple[str, ...]) -> Iterator[pytest.Item]:
    """Of tests that are the same but for the value of a parameter, all but one, where each value has its test."""
    same: dict[str, dict[str, pytest.Item]] = {}
    for item in items:
        value = getattr(getattr(item, "callspec", None), "params", {}).get(name)
        if value in values and not any(mark.args[0] for mark in item.iter_markers("skipif")):
            without = re.sub(rf"\b({'|'.join(map(re.escape, values))})\b", "", item.nodeid)
            same.setdefault(without, {})[value] = item
    for without, of_value in same.items():
        if len(of_value) == len(values):
            keep = values[(sha256(without.encode()).digest()[0] + on_connect()) % len(values)]
            yield from (item for value, item in of_value.items() if value != keep)


@pytest.fixture(scope="session", autouse=True)
def _quick_to_import_feast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start import Feast in 1.5 seconds of processor time instead of 4.5.

    The rest is typeguard's, which compiles checks of types into each of Feast's functions again for every process.
    The tests' own process has them.
    """
    folder = tmp_path_factory.mktemp("instead_of_typeguard")
    (folder / "typeguard.py").write_text("def typechecked(target):\n    return target\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True)
def _same_working_directory() -> Iterator[None]:
    """Feast's commands change it to the repository's folder, and leave it there."""
    before = Path.cwd()
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def lakes() -> Iterator[Lakes]:
    """The real HDFS and the real ADLS."""
    with start_lakes() as both:
        yield both


@pytest.fixture(scope="session")
def lakes_to_test(request: pytest.FixtureRequest) -> Iterator[Places]:
    """The lakes in their roles. PySpark 4.0's ABFS driver cannot speak to Azurite: there HDFS has both roles."""
    if abfs_speaks_to_azurite():
        both: Lakes = request.getfixturevalue("lakes")
        yield Places(Place("onprem", both.hdfs), Place("cloud", both.adls))
        return
    with start_hdfs() as hdfs:
        yield Places(Place("onprem", hdfs, "/onprem"), Place("cloud", hdfs, "/cloud"))


@pytest.fixture(scope="session")
def connect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkConnectServer]:
    """A Spark Connect server that can read both lakes. A process in any mode: its Python workers, which run on-demand
    feature views and the columnar join, need this environment's packages.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)  # where the daemon is
        server = SparkConnectServer("process", conf=_settings(tmp_path_factory), memory="2g").start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one Spark session of the run, able to read both lakes: local and small, or on a Connect server.

    The lakes start first: Python workers have the environment in which the JVM was started, and the lakes' keys are
    in it.
    """
    from pyspark.sql import SparkSession

    request.getfixturevalue("lakes_to_test")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if on_connect():
        server: SparkConnectServer = request.getfixturevalue("connect_server")
        session = SparkSession.builder.remote(server.uri).create()
        yield session
        session.stop()
        return
    builder = SparkSession.builder.master("local[2]").appName("feast-hybrid integration tests")
    for key, value in {**session_conf(), **_settings(tmp_path_factory)}.items():
        builder = builder.config(key, value)
    started: Any = builder.getOrCreate()
    for name in ("functions", "PythonUtils"):  # PySpark looks for them in some 300 jars, each time
        setattr(started._jvm, name, getattr(started._jvm, name))
    yield started


def _settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    formats = ["avro", "delta", "iceberg"]
    jars = [session_conf()["spark.jars"], *(jar for name in formats for jar in format_jars(name))]
    return {
        **(SETTINGS["delta"] if format_jars("delta") else {}),
        "spark.jars": ",".join(jars),
        "spark.sql.shuffle.partitions": "4",
        "spark.default.parallelism": "4",
        "spark.sql.codegen.cache.maxEntries": "1000",  # tests of one kind have many plans alike
        "spark.python.daemon.module": "tests.integration.worker_daemon",
        "spark.python.sql.dataFrameDebugging.enabled": "false",  # as in the sessions that are started for users
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
    }


@pytest.fixture
def jobs(request: pytest.FixtureRequest, spark: SparkSession) -> Jobs:
    """The jobs of the run's Spark application."""
    return ConnectJobs(request.getfixturevalue("connect_server")) if on_connect() else ClassicJobs(spark)


@pytest.fixture
def onprem(lakes_to_test: Places) -> Place:
    return lakes_to_test.onprem


@pytest.fixture
def cloud(lakes_to_test: Places) -> Place:
    return lakes_to_test.cloud


@pytest.fixture
def place(lakes_to_test: Places, role: str) -> Place:
    """The lake that the parameter ``role`` of a test names."""
    found: Place = getattr(lakes_to_test, role)
    return found


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A folder of the test's own, as the path part of a URI."""
    module = request.path.stem.removeprefix("test_")
    return f"/{module}/" + re.sub(r"\W+", "_", request.node.name)


class Write(Protocol):
    def __call__(self, place: Place, name: str, table: pa.Table | dict[str, Any], *, file: str = ...) -> str: ...


@pytest.fixture
def write(folder: str) -> Write:
    """``write(cloud, "weather", {column: values})`` puts a Parquet folder onto a lake and gives its URI."""

    def put(place: Place, name: str, table: pa.Table | dict[str, Any], *, file: str = "part-0.parquet") -> str:
        return place.write(f"{place.uri}{folder}/{name}", table, file=file)

    return put


class MakeStore(Protocol):
    def __call__(self, *objects: Any, **offline_store: Any) -> FeatureStore: ...


@pytest.fixture
def make_store(lakes_to_test: Places, spark: SparkSession, tmp_path: Path) -> MakeStore:
    """``make_store(entity, view, …)``: a feature store over both lakes with these objects applied."""

    def make(*objects: Any, **offline_store: Any) -> FeatureStore:
        return feature_store(lakes_to_test.sites(), tmp_path, *objects, **offline_store)

    return make


Zone = Callable[[str], Any]


@pytest.fixture
def session_zone(spark: SparkSession) -> Zone:
    """``with session_zone("America/New_York"):`` the session's time zone, put back afterwards."""

    @contextmanager
    def change(name: str) -> Iterator[None]:
        before = spark.conf.get("spark.sql.session.timeZone")
        spark.conf.set("spark.sql.session.timeZone", name)
        try:
            yield
        finally:
            spark.conf.set("spark.sql.session.timeZone", str(before))

    return change
