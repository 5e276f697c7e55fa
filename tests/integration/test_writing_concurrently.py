"""Many writers of batches at once, in threads, processes and Spark's tasks: no row is lost, and none is twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import WriteError
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore
    from tests.integration.places import Place
from tests.integration.batches import ROLES, add, by_pyarrow, by_spark, rows, stats


class TestManyAtOnce:
    @reliability(
        "Writers",
        "five threads push batches to one place, on each lake",
        "no row is lost or twice; readers see whole batches",
    )
    @ROLES
    def test_threads_lose_nothing_and_a_reader_sees_whole_batches(
        self, make_store: MakeStore, place: Place, folder: str
    ) -> None:
        uri = f"{place.uri}{folder}/busy"
        store, of = make_store(), stats(uri)
        add(store, of, rows(0, 0, 0, 0, 0))
        seen: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                found = by_pyarrow(place, uri)["trips"].to_pylist()
                seen.extend(found.count(number) for number in set(found))

        with ThreadPoolExecutor(5) as pool:
            watching = pool.submit(watch)
            list(pool.map(lambda number: add(store, of, rows(*[number] * 5)), range(1, 25)))
            done.set()
            watching.result()
        assert sorted(by_pyarrow(place, uri)["trips"].to_pylist()) == sorted(list(range(25)) * 5)
        assert set(seen) == {5}

    @reliability("Writers", "two processes push batches to one place, on each lake", "no row is lost or twice")
    @ROLES
    def test_processes_lose_nothing_and_need_no_jvm(
        self, make_store: MakeStore, place: Place, folder: str, tmp_path: Path
    ) -> None:
        uri = f"{place.uri}{folder}/processes"
        config = tmp_path / "config"
        config.write_bytes(dill.dumps((make_store().config, stats(uri).to_proto().SerializeToString())))
        program = (
            "import sys, dill, pyarrow as pa\n"
            "from datetime import datetime, timezone\n"
            "from feast import FeatureView\n"
            "from feast.protos.feast.core.FeatureView_pb2 import FeatureView as Proto\n"
            "from feast_hybrid import HybridSparkOfflineStore\n"
            f"config, view = dill.loads(open({str(config)!r}, 'rb').read())\n"
            "view = FeatureView.from_proto(Proto.FromString(view))\n"
            "for n in range(5):\n"
            "    number = int(sys.argv[1]) * 10 + n\n"
            "    rows = {'driver_id': [number], 'trips': [number],\n"
            "            'event_timestamp': [datetime(2026, 1, 10, tzinfo=timezone.utc)]}\n"
            "    HybridSparkOfflineStore.offline_write_batch(config, view, pa.table(rows), None)\n"
            "assert 'pyspark' not in sys.modules or sys.modules['pyspark'].SparkContext._gateway is None\n"
        )
        running = [
            subprocess.Popen([sys.executable, "-W", "ignore", "-c", program, str(n)], stderr=subprocess.PIPE)
            for n in range(2)
        ]
        for process in running:
            _, message = process.communicate(timeout=120)
            assert process.returncode == 0, message.decode()
        assert sorted(by_pyarrow(place, uri)["trips"].to_pylist()) == [*range(5), *range(10, 15)]


class TestSparkTasks:
    @reliability(
        "Executors and drivers",
        "a task of Spark that writes a batch is run again",
        "its file takes the place of the first one's: no row is twice",
    )
    @pytest.mark.matrix
    @ROLES
    def test_a_task_that_is_run_again_adds_no_rows(
        self, make_store: MakeStore, place: Place, spark: SparkSession, folder: str
    ) -> None:
        """As Feast's spark.engine does it: a batch is written from inside an executor's Python."""
        uri = f"{place.uri}{folder}/tasks"
        packed = dill.dumps((make_store().config, stats(uri)))
        frame = spark.range(0, 4000, 1, 2).selectExpr(
            "id as driver_id", "id as trips", "timestamp'2026-01-10 00:00:00Z' as event_timestamp"
        )

        def write_twice(batches: Any) -> Any:
            import dill
            import pyarrow as pa
            from pyspark import TaskContext

            from feast_hybrid.writing import naming

            config, of = dill.loads(packed)
            for attempt in ("first", "second"):
                if attempt == "first":
                    batches = list(batches)
                naming._current = None  # as in the new worker of another attempt
                for batch in batches:
                    table = pa.Table.from_batches([batch])
                    HybridSparkOfflineStore.offline_write_batch(config, of, table, None)
            task = TaskContext.get()
            assert task is not None
            yield pa.RecordBatch.from_pydict({"n": [len(batches)]})

        before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
        try:
            assert [row.n for row in frame.mapInArrow(write_twice, "n long").collect()] == [2, 2]
            assert sorted(row.trips for row in by_spark(spark, place, uri).collect()) == list(range(4000))
            assert len(place.names(uri)) == 4
            # Another job is another stage: its rows are its own.
            frame.mapInArrow(write_twice, "n long").collect()
            assert by_spark(spark, place, uri).count() == 8000
        finally:
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(before))

    def test_what_is_not_parquet_needs_a_session(
        self, make_store: MakeStore, onprem: Place, spark: SparkSession, folder: str
    ) -> None:
        packed = dill.dumps((make_store().config, stats(f"{onprem.uri}{folder}/orc", file_format="orc")))

        def write(batches: Any) -> Any:
            import dill
            import pyarrow as pa

            config, of = dill.loads(packed)
            for batch in batches:
                try:
                    HybridSparkOfflineStore.offline_write_batch(config, of, pa.Table.from_batches([batch]), None)
                except WriteError as error:
                    yield pa.RecordBatch.from_pydict({"message": [str(error)]})

        frame = spark.range(1).selectExpr("id as driver_id", "id as trips", "current_timestamp() as event_timestamp")
        (message,) = [row.message for row in frame.mapInArrow(write, "message string").collect()]
        assert (
            "inside a Spark task only Parquet files, and Delta and Iceberg tables by path, can be written, found orc"
            in message
        )
