"""Delta and Iceberg on a path: writes that the format's own log commits, seen whole or not at all."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.lake_options import spark_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

#: Held while a session has a site's settings: another thread's would take them for its own when it puts them back.
_catalog_creation = threading.Lock()


def replace_table(frame: DataFrame, target: SourceSpec, location: Location) -> None:
    """Make a frame the whole content of a Delta or Iceberg path, which need not be there yet.

    Earlier versions stay in the format's history until they are vacuumed or expired.

    Args:
        frame: the rows; their schema replaces the one that is there.
        target: its format is one of :data:`feast_hybrid.spark.formats.TABLE_FORMATS`.
        location: its path.
    """
    if target.file_format == "iceberg":
        with iceberg_table(frame.sparkSession, location) as name:
            # Iceberg keeps the paths of its files, so a table cannot be written aside and moved.
            frame.writeTo(name).options(**target.options).createOrReplace()
        return
    path = spark_path(frame.sparkSession, location, "delta")
    writer = frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    writer.options(**path.options(target.options)).save(path.uri)


def has_log(location: Location) -> bool:
    """Whether a commit of Delta or Iceberg is at a path, whoever made it."""
    for folder, suffix in (("_delta_log", ".json"), ("metadata", ".metadata.json")):
        try:
            entries = location.fs.ls(location.child(folder).path, detail=False)
        except FileNotFoundError:
            continue
        if any(str(entry).endswith(suffix) for entry in entries):
            return True
    return False


def add_to_iceberg(
    frame: DataFrame, source: SourceSpec, location: Location, *, partition: str | None, new: bool
) -> None:
    """Add rows to an Iceberg path in one commit; a ``new`` one becomes a table, partitioned by a column or not."""
    with iceberg_table(frame.sparkSession, location) as name:
        writer = frame.writeTo(name).options(**source.options)
        if not new:
            writer.append()
        elif partition is None:
            writer.create()
        else:
            writer.partitionedBy(F.col(quoted(partition))).create()


@contextmanager
def iceberg_table(spark: SparkSession, location: Location) -> Iterator[str]:
    """The name under which an Iceberg path can be created and written while this context lasts.

    Iceberg creates no table from a bare path: here its parent is the warehouse of a catalog that no one else sees,
    which signs in as the site does.
    """
    catalog = f"fh_{uuid.uuid4().hex[:12]}"
    settings = {
        "": "org.apache.iceberg.spark.SparkCatalog",
        ".type": "hadoop",
        ".warehouse": str(location.parent()),
        ".cache-enabled": "false",
    }
    name = f"{catalog}.{quoted(location.name)}"
    with _session_settings(spark, {f"spark.sql.catalog.{catalog}{key}": value for key, value in settings.items()}):
        # A catalog takes the session's settings when it is made, which is when it is first asked for something, and
        # keeps them. Its own ones must hold no secret: Spark writes all that begins with "spark" into the properties
        # of each job, and so into its event log.
        with _catalog_creation, _session_settings(spark, spark_path(spark, location, "iceberg").settings):
            spark.catalog.tableExists(name)
        yield name


@contextmanager
def _session_settings(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Settings of a session while this context lasts; what was set before comes back."""
    before = {key: spark.conf.get(key, None) for key in settings}
    try:
        for key, value in settings.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, value_before in before.items():
            if value_before is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, value_before)
