"""Folders as Spark's own writer leaves them: INT96 and microseconds, ``_SUCCESS``, folders in Spark's spelling."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from feast.types import Decimal as FeastDecimal
from feast.types import FeastType, Float64, Int64, String, UnixTimestamp

from tests.integration.layouts.drifts import EDGES, START
from tests.integration.layouts.generate import Layout

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.places import Place

#: What one write and then another have in a column: Spark's types and values.
_DRIFTS: tuple[tuple[FeastType, tuple[tuple[str, tuple[Any, ...]], ...]], ...] = (
    (Int64, (("int", (1, -5, None)), ("bigint", (2**40, None)))),
    (Int64, (("bigint", (1, None)), ("double", (3.0, -2.0)))),
    (Float64, (("float", (0.5, None)), ("double", (0.1,)))),
    (FeastDecimal, (("decimal(5,2)", (Decimal("1.25"), None)), ("decimal(12,4)", (Decimal("7.5"),)))),
    (UnixTimestamp, (("date", (date(2026, 1, 2), None)), ("timestamp", (START,)))),
    (UnixTimestamp, (("timestamp_ntz", (START.replace(tzinfo=None), None)), ("timestamp", (START,)))),
    (String, (("string", ("São", "", None)), ("string", ("007",)))),
)
_TEXTS = ("a b", "São", "x/y", "100%", "k=1", None, "", "[x]", "a:b", "007", "2026-01-01", "{c}*?", "ä#'\"")
_KEYS: dict[FeastType, tuple[Any, ...]] = {Int64: (1, 2, 3), String: ("a", "São", "7")}
_INT96 = "spark.sql.parquet.outputTimestampType"


@dataclass(frozen=True)
class WrittenBySpark:
    """Layouts that are folders of one table, which two jobs of Spark write: ``layout=<seed>/z=<text>/…``."""

    spark: SparkSession
    place: Place
    uri: str
    key: FeastType
    file_format: str

    def layouts(self, seeds: Sequence[int]) -> list[Layout]:
        """Write the layouts of some seeds; they hold what is on the lake then."""
        chance = random.Random(f"{seeds}")
        declared, drift = chance.choice(_DRIFTS)
        # pyarrow, which the oracle reads with, has ORC's times in nanoseconds: from 1677 to 2262.
        edges = () if self.file_format == "orc" else EDGES
        for (data_type, values), times in zip(drift, ("INT96", "TIMESTAMP_MICROS"), strict=True):
            rows = [
                (
                    seed,
                    chance.choice(_KEYS[self.key]),
                    chance.choice(edges) if edges and chance.random() < 0.2 else self._time(chance),
                    chance.choice(values),
                    chance.choice(("a", None)),
                    chance.choice(_TEXTS),
                    chance.choice((1, 2, None)),
                )
                for seed in seeds
                for _ in range(chance.randint(1, 3))
            ]
            key = "bigint" if self.key == Int64 else "string"
            schema = f"layout bigint, k {key}, ts timestamp, v {data_type}, w string, z string, y bigint"
            frame = self.spark.createDataFrame(rows, schema).coalesce(1)
            if times == "TIMESTAMP_MICROS":  # a column that comes later
                frame = frame.withColumnRenamed("w", "u")
            with self._times_as(times):
                writer = frame.write.mode("append").options(**self.place.lake.hadoop_options())
                writer.partitionBy("layout", "z", "y").format(self.file_format).save(self.uri)
        view = {"k": self.key, "v": declared, "w": String, "u": String, "z": String, "y": Int64}
        columns = {name: name for name in view if name != "k"}
        filesystem = self.place.lake.filesystem()
        layouts = []
        for seed in seeds:
            root = self.place.inside(f"{self.uri}/layout={seed}")
            files = {
                path.partition(f"{root.strip('/')}/")[2]: filesystem.cat_file(path) for path in filesystem.find(root)
            }
            layouts.append(Layout(seed, dict(view), self.file_format, columns, files=files))
        return layouts

    @staticmethod
    def _time(chance: random.Random) -> Any:
        return START + timedelta(hours=chance.randint(1, 30), microseconds=chance.choice((0, 1, 999_999)))

    @contextmanager
    def _times_as(self, parquet_type: str) -> Iterator[None]:
        before = self.spark.conf.get(_INT96)
        self.spark.conf.set(_INT96, parquet_type)
        try:
            yield
        finally:
            self.spark.conf.set(_INT96, str(before))
