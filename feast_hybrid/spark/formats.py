"""The file formats that Spark has in packages: which of them fits which Spark, and what each needs of a session."""

from __future__ import annotations

#: The newest release of each format's package for a PySpark by its first two numbers, as Maven Central has them
#: (2026-11-24) and as they were seen to work. Spark's own Avro has no release after 4.1.1, which reads and writes on
#: 4.2 and 4.3 too; no Delta runs on 4.3, no Iceberg on 4.2 and 4.3.
_PACKAGES: dict[str, dict[str, str]] = {
    "avro": {
        "4.0": "org.apache.spark:spark-avro_2.13:4.0.2",
        "4.1": "org.apache.spark:spark-avro_2.13:4.1.1",
        "4.2": "org.apache.spark:spark-avro_2.13:4.1.1",
        "4.3": "org.apache.spark:spark-avro_2.13:4.1.1",
    },
    "delta": {
        "4.0": "io.delta:delta-spark_4.0_2.13:4.4.0",
        "4.1": "io.delta:delta-spark_4.1_2.13:4.4.0",
        "4.2": "io.delta:delta-spark_4.2_2.13:4.4.0",
    },
    "iceberg": {
        "4.0": "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.11.0",
        "4.1": "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0",
    },
}

#: What a session must be started with, besides the package.
SETTINGS: dict[str, dict[str, str]] = {
    "delta": {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    },
}

#: How files of Spark's own formats are read, whatever the session says: a time without a zone is UTC, and no file is
#: left out in silence.
FILE_OPTIONS = {"timeZone": "UTC", "ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}

#: And in which calendar their times are, where a file does not say it.
CALENDAR_OPTIONS = {
    "parquet": {"datetimeRebaseMode": "CORRECTED", "int96RebaseMode": "CORRECTED"},
    "avro": {"datetimeRebaseMode": "CORRECTED"},
}

#: Formats that keep a log of which files hold the rows: what commits a write, instead of a rename.
TABLE_FORMATS = frozenset({"delta", "iceberg"})

#: Formats that look for a lake's settings in the session, and not in the options of a read or write.
SESSION_FORMATS = frozenset({"iceberg"})


def package(file_format: str, spark_version: str) -> str | None:
    """The Maven coordinates of a format's package that works on a Spark; None where none is known to."""
    return _PACKAGES.get(file_format, {}).get(".".join(spark_version.split(".")[:2]))


def package_hint(spark_version: str) -> str:
    """The packages of all formats for a Spark, in words; where there is none, the newest Spark that has one."""
    hints = []
    for file_format, releases in _PACKAGES.items():
        found = (
            package(file_format, spark_version)
            or f"none for PySpark {spark_version}, the last is for {max(releases)}"
        )
        hints.append(f"{file_format}: {found}")
    return "; ".join(hints)
