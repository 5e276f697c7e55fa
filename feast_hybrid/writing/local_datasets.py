"""Saved datasets and exports of rows that this process has: by pyarrow, without Spark.

What is promised is what :mod:`feast_hybrid.writing.datasets` promises: the rows are written beside their place, and
then put into it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.arrow.convert import combined, spark_compatible
from feast_hybrid.arrow.types import has_spark_type
from feast_hybrid.arrow.utc import in_microseconds
from feast_hybrid.errors import RetrievalTimeoutError, WriteError
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.lakes.replace import remove
from feast_hybrid.writing.parquet_layout import SORTED_BYTES, WRITER_OPTIONS, encoded, sort_columns, sorted_rows
from feast_hybrid.writing.readable import require_readable
from feast_hybrid.writing.whole_path import put_whole, recover_and_look

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router, Site
    from feast_hybrid.sources.spec import SourceSpec

#: Bytes of rows of a file, as they are in memory, at the most.
_FILE_BYTES = 256 << 20


def can_save_locally(target: SourceSpec) -> bool:
    """Whether rows of this process can be saved to a place without Spark: to a path, as Parquet."""
    is_parquet = target.location is not None and target.file_format in (None, "parquet")
    return is_parquet and {name.lower() for name in target.options} <= WRITER_OPTIONS


def save_locally(
    make_rows: Callable[[], pa.Table],
    target: SourceSpec,
    *,
    timeout: float | None,
    overwrite: bool,
    sites: Sequence[Site] = (),
    order: Sequence[str] = (),
) -> None:
    """Write rows as the whole content of a path; see :func:`feast_hybrid.writing.datasets.save`.

    Args:
        make_rows: makes the rows, once it is known that they may be put there.
        target: the path.
        timeout: seconds; None for no limit. What has begun to take its place by then is waited for.
        overwrite: whether what is there may be replaced.
        sites: those that are read and written, which an error may be of.
        order: columns by which each file's rows are sorted, where they have them.

    Raises:
        WriteError: something is there and may not be replaced, the source's own options would hide the rows from
            its readers, a column has a type that a lake's readers do not have, or the write failed.
        ReplacementError: it failed, and the old rows could not be put back; it says where they are.
        RetrievalTimeoutError: the time ran out; nothing was changed.
    """
    began = time.monotonic()
    location = target.location
    assert location is not None
    what = f"saving to {target.describe()}"
    require_readable(target, what=what)
    with translate_client_errors(WriteError, what, "failed; nothing was changed", sites=sites):
        recover_and_look(location, what, overwrite=overwrite)
        table = _for_readers(make_rows(), what)

        def write(new: Location) -> None:
            _write(table, new, order, target.options)
            _refuse_if_late(began, timeout, what)

        put_whole(write, location, what, overwrite=overwrite)


def _refuse_if_late(began: float, timeout: float | None, what: str) -> None:
    if timeout is not None and time.monotonic() > began + timeout:
        raise RetrievalTimeoutError(f"{what} did not end within {timeout:g} s and was cancelled.")


def export_locally(
    table: pa.Table,
    staging_location: str,
    router: Router,
    *,
    order: Sequence[str] = (),
) -> list[str]:
    """Write rows as Parquet files into a new folder of the staging location.

    Returns:
        The URIs of the files.

    Raises:
        WriteError: they could not be written, or a column has a type that a lake's readers do not have.
    """
    staging = router.locate(staging_location, what="offline_store.staging_location", configured=True)
    folder = staging.child(f"export-{uuid.uuid4().hex}")
    with translate_client_errors(WriteError, f"exporting to {folder}", "failed", sites=[folder.site]):
        try:
            files = _write(_for_readers(table, f"exporting to {folder}"), folder, order, {})
        except BaseException:
            remove(folder)
            raise
    return [str(file) for file in files]


def _for_readers(table: pa.Table, what: str) -> pa.Table:
    """The rows in types that the readers of a lake have; times to the microsecond.

    Raises:
        WriteError: a column has none; it is named.
    """
    columns = [spark_compatible(combined(column)) for column in table.columns]
    for name, column in zip(table.column_names, columns, strict=True):
        if not has_spark_type(column.type) or pa.types.is_duration(column.type):
            raise WriteError(
                f"{what}: column {name!r} is {column.type}, which readers of a lake have no type for: cast it, or "
                "leave it out of entity_df."
            )
    found = pa.Table.from_arrays(columns, table.column_names)
    schema = in_microseconds(found.schema)
    return found if schema.equals(found.schema) else found.cast(schema, safe=False)


def _write(table: pa.Table, folder: Location, order: Sequence[str], options: Mapping[str, str]) -> list[Location]:
    """The rows in Parquet files of a folder: one where they are few."""
    files = []
    for number, part in enumerate(_parts(table)):
        columns = sort_columns(part.schema, order) if part.nbytes <= SORTED_BYTES else ()
        file = folder.child(f"part-{number:05}-{uuid.uuid4().hex}.parquet")
        publish({file: encoded(sorted_rows(part, columns), columns, options)})
        files.append(file)
    return files


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    count = max(1, -(-table.nbytes // _FILE_BYTES))
    rows = max(1, -(-table.num_rows // count))
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows)
