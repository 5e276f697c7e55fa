"""What lies in a lake as people have it: the same rows as Hive tables, ORC, Delta and Iceberg, and behind a query.

Parquet files are generated (:mod:`benchmarks.data`); the other forms are made from them before anything is measured.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.testing.artifacts import cache_dir, fetch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from benchmarks.data import Task, View

#: What all rows pass that are asked of a query: features are between 0 and 1.
FILTER = "f0 >= 0"
#: Of what is made here: another number makes all anew.
FORMAT = 1


@dataclass(frozen=True)
class Form:
    """One of the forms.

    Attributes:
        prepare: makes it, and gives the view with its path.
        source: what our data source says of the view, besides its columns.
        frame: the view's rows as Spark's peers read them.
        metastore: whether its tables are those of a Hive metastore.
    """

    prepare: Callable[[SparkSession, View], View]
    source: Callable[[View], dict[str, Any]]
    frame: Callable[[SparkSession, View], DataFrame]
    metastore: bool = False


def prepared(spark: SparkSession, task: Task) -> Task:
    """The task in the forms of its views."""
    return replace(task, views=tuple(form(view).prepare(spark, view) for view in task.views))


def form(view: View) -> Form:
    """The form of a view."""
    return FORMS[view.history.form]


def session_settings(task: Task, folder: Path) -> dict[str, str]:
    """What a session needs for the task's forms; a Hive metastore has its Derby database in ``folder``."""
    if not any(form(view).metastore for view in task.views):
        return {}
    return {
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder}/metastore;create=true",
    }


def as_uri(path: str) -> str:
    """A path of this machine as a URI; a URI as it is."""
    return path if "://" in path else Path(path).as_uri()


def table_name(view: View) -> str:
    """What the view's rows are called in the session's catalog."""
    return f"{view.name}_rows"


def _as_it_is(_spark: SparkSession, view: View) -> View:
    return view


def _path_source(file_format: str) -> Callable[[View], dict[str, Any]]:
    return lambda view: {"path": as_uri(view.path), "file_format": file_format}


def _parquet_rows(spark: SparkSession, view: View) -> DataFrame:
    return spark.read.parquet(view.path)


def _table_source(view: View) -> dict[str, Any]:
    return {"table": table_name(view)}


def _table_rows(spark: SparkSession, view: View) -> DataFrame:
    return spark.table(table_name(view))


def _spark_table(spark: SparkSession, view: View) -> View:
    spark.sql(f"CREATE TABLE {table_name(view)} USING parquet LOCATION '{as_uri(view.path)}'")
    return view


def _hive_table(stored_as: str) -> Callable[[SparkSession, View], View]:
    """An external table of Hive's, by days where the view has such folders, which ``MSCK`` finds."""

    def create(spark: SparkSession, view: View) -> View:
        features = "".join(f", f{number} DOUBLE" for number in range(view.history.features))
        by_day = " PARTITIONED BY (day STRING)" if view.history.partitioned else ""
        spark.sql(
            f"CREATE EXTERNAL TABLE {table_name(view)} ({view.history.key} BIGINT, ts TIMESTAMP, created TIMESTAMP"
            f"{features}){by_day} STORED AS {stored_as} LOCATION '{as_uri(view.path)}'"
        )
        if view.history.partitioned:
            spark.sql(f"MSCK REPAIR TABLE {table_name(view)}")
        return view

    return create


def _query_source(view: View) -> dict[str, Any]:
    return {"query": f"SELECT * FROM {table_name(view)} WHERE {FILTER}"}


def _query_rows(spark: SparkSession, view: View) -> DataFrame:
    return _table_rows(spark, view).where(FILTER)


def _orc_files(spark: SparkSession, view: View) -> View:
    """As Spark writes them, a file for each of Parquet's."""

    def write(folder: Path) -> None:
        for number, file in enumerate(sorted(Path(view.path).rglob("*.parquet"))):
            spark.read.parquet(str(file)).coalesce(1).write.orc(str(folder / f"rows/{number:05}"))
        for number, file in enumerate(sorted((folder / "rows").glob("*/*.orc"))):
            file.rename(folder / f"rows/part-{number:05}.orc")
        for left in [path for path in (folder / "rows").iterdir() if path.is_dir()]:
            shutil.rmtree(left)

    kept = fetch(f"bench-orc-{view.name}", f"{FORMAT} {view.path}", write)
    return replace(view, path=str(kept.path / "rows"), generated=view.path)


def _orc_rows(spark: SparkSession, view: View) -> DataFrame:
    return spark.read.orc(view.path)


def _orc_table(spark: SparkSession, view: View) -> View:
    return _hive_table("ORC")(spark, _orc_files(spark, view))


def _delta_table(_spark: SparkSession, view: View) -> View:
    """The same Parquet files, with a log beside them."""

    def write(folder: Path) -> None:
        import deltalake

        _link(view.path, folder / "rows")
        deltalake.convert_to_deltalake(folder / "rows")

    kept = fetch(f"bench-delta-{view.name}", f"{FORMAT} {view.path}", write)
    return replace(view, path=str(kept.path / "rows"), generated=view.path)


def _iceberg_table(_spark: SparkSession, view: View) -> View:
    """The same Parquet files, with metadata beside them that a catalog has made; from then on its path is its name.

    The metadata names files by their places, so it is made anew for each run.
    """
    import pyarrow.parquet as pq
    from pyiceberg.catalog.sql import SqlCatalog

    folder = Path(tempfile.mkdtemp(prefix=f"bench-iceberg-{view.name}-", dir=cache_dir()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _link(view.path, folder / "table" / "data")
    files = sorted(map(str, (folder / "table" / "data").rglob("*.parquet")))
    catalog = SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("db")
    table = catalog.create_table(f"db.{view.name}", pq.read_schema(files[0]), location=f"file://{folder}/table")
    table.add_files([f"file://{file}" for file in files])
    metadata = folder / "table" / "metadata"
    for file in metadata.glob("*.metadata.json"):
        file.unlink()
    (metadata / "v1.metadata.json").write_text(table.metadata.model_dump_json())
    (metadata / "version-hint.text").write_text("1")
    return replace(view, path=str(folder / "table"), generated=view.path)


def _generated_rows(spark: SparkSession, view: View) -> DataFrame:
    return spark.read.parquet(view.on_path.path)


def _link(source: str, target: Path) -> None:
    for file in sorted(Path(source).rglob("*.parquet")):
        linked = target / file.relative_to(source)
        linked.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, linked)


#: By the name that :class:`benchmarks.shapes.History` gives. No package of Spark's reads Delta or Iceberg on PySpark
#: 4.3: peers read the tables' files, of which none was removed.
FORMS = {
    "parquet": Form(_as_it_is, _path_source("parquet"), _parquet_rows),
    "query": Form(_spark_table, _query_source, _query_rows),
    "table": Form(_hive_table("PARQUET"), _table_source, _table_rows, metastore=True),
    "orc": Form(_orc_files, _path_source("orc"), _orc_rows),
    "orc-table": Form(_orc_table, _table_source, _table_rows, metastore=True),
    "delta": Form(_delta_table, _path_source("delta"), _generated_rows),
    "iceberg": Form(_iceberg_table, _path_source("iceberg"), _generated_rows),
}
