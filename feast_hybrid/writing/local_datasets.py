"""Saved datasets and exports of rows that this process has: by pyarrow, without Spark.

What is promised is what :mod:`feast_hybrid.writing.datasets` promises: the rows are written beside their place, and
then put into it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.arrow.convert import combined, spark_compatible
from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.lakes.replace import aside, put_in_place, recover, remove
from feast_hybrid.writing.existing import DatasetExistsError
from feast_hybrid.writing.parquet_layout import SORTED_BYTES, encoded, sort_columns, sorted_rows
from feast_hybrid.writing.readable import require_readable

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router, Site
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.spark.cancellation import Cancellation

#: Bytes of rows of a file, as they are in memory, at the most.
_FILE_BYTES = 256 << 20
#: Options of a path that say how Parquet is written.
_KNOWN_OPTIONS = frozenset({"compression"})


def can_save_locally(target: SourceSpec) -> bool:
    """Whether rows of this process can be saved to a place without Spark: to a path, as Parquet."""
    is_parquet = target.location is not None and target.file_format in (None, "parquet")
    return is_parquet and {name.lower() for name in target.options} <= _KNOWN_OPTIONS


def save_locally(
    table: pa.Table,
    target: SourceSpec,
    cancellation: Cancellation,
    *,
    overwrite: bool,
    sites: Sequence[Site] = (),
    order: Sequence[str] = (),
) -> None:
    """Write rows as the whole content of a path; see :func:`feast_hybrid.writing.datasets.save`.

    Raises:
        WriteError: something is there and may not be replaced, the source's own options would hide the rows from
            its readers, or the write failed.
        ReplacementError: it failed, and the old rows could not be put back; it says where they are.
        WriteCancelledError: the caller has given up.
    """
    location = target.location
    assert location is not None
    what = f"saving to {target.describe()}"
    require_readable(target, what=what)
    compression = next((value for name, value in target.options.items() if name.lower() == "compression"), None)
    with translate_client_errors(WriteError, what, "failed; nothing was changed", sites=sites):
        recover(location)
        taken = DatasetExistsError(f"{what}: something is there already; allow_overwrite=True replaces it.")
        if location.exists() and not overwrite:
            raise taken
        new = aside(location)
        try:
            _write(table, new, order, compression)
            with cancellation.committing():
                put_in_place(new, location, overwrite=overwrite)
        except FileExistsError as error:
            remove(new)
            if not overwrite:
                raise taken from error
            raise
        except BaseException:
            remove(new)
            raise
        remove(new)


def export_locally(
    table: pa.Table,
    staging_location: str,
    router: Router,
    cancellation: Cancellation,
    *,
    order: Sequence[str] = (),
) -> list[str]:
    """Write rows as Parquet files into a new folder of the staging location.

    Returns:
        The URIs of the files.

    Raises:
        WriteError: they could not be written.
        WriteCancelledError: the caller has given up.
    """
    staging = router.locate(staging_location, what="offline_store.staging_location", configured=True)
    folder = staging.child(f"export-{uuid.uuid4().hex}")
    with translate_client_errors(WriteError, f"exporting to {folder}", "failed", sites=[folder.site]):
        try:
            files = _write(table, folder, order, None)
            with cancellation.committing():
                return [str(file) for file in files]
        except BaseException:
            remove(folder)
            raise


def _write(table: pa.Table, folder: Location, order: Sequence[str], compression: str | None) -> list[Location]:
    """The rows in Parquet files of a folder: one where they are few."""
    table = pa.Table.from_arrays([spark_compatible(combined(column)) for column in table.columns], table.column_names)
    files = []
    for number, part in enumerate(_parts(table)):
        columns = sort_columns(part.schema, order) if part.nbytes <= SORTED_BYTES else ()
        file = folder.child(f"part-{number:05}-{uuid.uuid4().hex}.parquet")
        publish({file: encoded(sorted_rows(part, columns), columns, compression=compression)})
        files.append(file)
    return files


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    count = max(1, -(-table.nbytes // _FILE_BYTES))
    rows = max(1, -(-table.num_rows // count))
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows)
