"""What batches of tables with a log have in common: their columns, and how often a commit is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feast_hybrid.arrow.convert import convert_for_writing, require_columns
from feast_hybrid.errors import CommitUnknownError, SchemaError, UnavailableError, WriteError
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.writing.partitions import with_date_partition

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

#: How many commits of others a batch gives way to before it is written anew.
CONFLICTS = 50
#: How often a batch is written anew because the table has other columns meanwhile, or is there at all.
_TRIES = 5


def add_once(attempt: Callable[[], bool], location: Location, *, what: str) -> None:
    """Try a commit until it is done.

    Args:
        attempt: adds the rows to the version that is there; says whether that is done, and no other commit came in
            between that asks for them to be written anew.
        location: the table's folder.
        what: how an error names the rows and the place.

    Raises:
        WriteError: the lake refused it, or others commit all the time; nothing of the rows is there.
        CommitUnknownError: the answer to the commit was lost.
        HybridError: what the attempt says.
    """
    with translate_client_errors(WriteError, what, "failed; nothing was written", sites=[location.site]):
        try:
            for _ in range(_TRIES):
                if attempt():
                    return
        except UnavailableError as error:  # while the log was read
            raise WriteError(f"{what}: nothing was written: {error}") from error
    raise WriteError(f"{what} failed; nothing was written: others commit to the table all the time. Try again.")


@contextmanager
def removed_unless_committed(remove: Callable[[], None]) -> Iterator[None]:
    """Remove a batch's files where an error says that no commit names them.

    They stay where the answer to the commit was lost, or this is interrupted: they may belong to the table then.
    """
    try:
        yield
    except CommitUnknownError:
        raise
    except Exception:
        remove()
        raise


def in_table_columns(
    rows: pa.Table, source: SourceSpec, schema: pa.Schema, required: Sequence[str], *, what: str
) -> pa.Table:
    """Rows in a table's columns and types, with the day that its source is partitioned by.

    Args:
        rows: in the source's names.
        source: says the day's column and format.
        schema: of the table.
        required: the columns that are never null.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: they do not fit.
        WriteError: they have another day than their time.
    """
    day = source.date_partition_column
    if day and day in schema.names:
        rows = with_date_partition(rows, source, schema.field(day).type, what=what)
    require_columns(rows.column_names, schema.names, what=what)
    rows = convert_for_writing(rows.select(schema.names), schema, what=what)
    for name in required:
        if rows.column(name).null_count:
            raise SchemaError(f"{what}: column {name!r} has nulls, and the table says that it has none.")
    return rows
