"""A source's resolved schema, from its files: which columns they are, of which types, and in which files.

Everyone who reads, writes or checks a path of Parquet or ORC files takes it from here: Spark's reader, the columnar
strategy, both pulls, batches, and ``feast apply``.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import TYPE_CHECKING

from feast_hybrid.errors import HybridError, SchemaError, SourceError, SourceNotFoundError
from feast_hybrid.files.schema import ResolvedSchema, resolve_schema
from feast_hybrid.files.table_formats import TableFormatError
from feast_hybrid.lakes.errors import raise_from, redacted_summary, storage_error
from feast_hybrid.spark.formats import package

if TYPE_CHECKING:
    from feast_hybrid.sources.spec import SourceSpec

_FORMATS = frozenset({"parquet", "orc"})

#: Options that change nothing in what is read: the first is a writer's, and the schemas of files are always merged.
_WITHOUT_EFFECT = frozenset({"compression", "mergeschema"})


def ineligibility_reason(source: SourceSpec) -> str | None:
    """Why a source's schema is Spark's to find, in words for plans; None where it is resolved from its files."""
    if source.location is None:
        return "a table or query: its files are Spark's to know"
    if source.file_format not in _FORMATS:
        return f"its files are {source.file_format}"
    if any(name.lower() not in _WITHOUT_EFFECT for name in source.options):
        return "reader options, which are Spark's to follow"
    return None


def file_schema(source: SourceSpec, required: Collection[str] = ()) -> ResolvedSchema:
    """The resolved schema of a source whose :func:`ineligibility_reason` is None.

    Args:
        source: a path of Parquet or ORC files.
        required: the source's columns that each file has to have: join keys and event time.

    Raises:
        SourceNotFoundError: nothing is there, or no file with rows.
        SourceError: a file cannot be read.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: types of a column do not go together, or a file lacks a required column.
    """
    location = source.location
    assert location is not None
    where = location.describe()
    try:
        resolved = resolve_schema(
            location, source.file_format or "parquet", declared=source.declared, required=required
        )
    except FileNotFoundError:
        raise SourceNotFoundError(f"{source.label}: nothing is at {where}.") from None
    except TableFormatError as error:
        raise SourceError(f"{source.label} ({where}): {error}. {_package_hint(error.file_format)}") from None
    except (SchemaError, SourceError) as error:
        raise type(error)(f"{source.label} ({where}): {error}") from None
    except HybridError:  # such as a secret that is not set
        raise
    except Exception as error:
        refused = storage_error(error, what=source.label, where=where, sites=[location.site])
        raise_from(
            refused or SourceError(f"{source.label}: {where} cannot be read: {redacted_summary(error)}"), error
        )
    if resolved is None:
        format_name = "ORC" if source.file_format == "orc" else "Parquet"
        raise SourceNotFoundError(f"{source.label}: {where} holds no {format_name} files.")
    return resolved


def _package_hint(file_format: str) -> str:
    """What reads a table format with the Spark that is installed."""
    spark = version("pyspark")
    needed = package(file_format, spark)
    if needed is None:
        return f"No package of that format is known for PySpark {spark}; docs/formats.md lists those that are tested."
    return f"Spark needs its package: {needed} (spark.jars.packages)."
