"""Tables of Iceberg at a path: read by their metadata, without Spark's package of that format.

Their rows are read as those of Parquet paths are, by the same readers. What this package does not read is left to
Spark's package where the session has it; else the error names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.files.iceberg_manifests import needs
from feast_hybrid.files.iceberg_table import IcebergTable, SnapshotChoice, read_table
from feast_hybrid.sources.file_schema import source_errors
from feast_hybrid.sources.one_folder import one_folder

if TYPE_CHECKING:
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec

_NUMBERS = ("snapshot-id", "as-of-timestamp")
_NAMES = ("branch", "tag")
#: Options that change nothing in what is read.
_WITHOUT_EFFECT = frozenset(
    {
        "split-size",
        "lookback",
        "file-open-cost",
        "vectorization-enabled",
        "batch-size",
        "locality",
        "streaming-skip-delete-snapshots",
        "streaming-skip-overwrite-snapshots",
        # Of writers.
        "target-file-size-bytes",
        "fanout-enabled",
        "distribution-mode",
        "use-table-distribution-and-ordering",
        "check-ordering",
        "check-nullability",
        "mergeschema",
        "compression-codec",
        "compression-level",
    }
)


def iceberg_table(source: SourceSpec, router: Router) -> IcebergTable:
    """The snapshot of a source's table that it means: the current one, unless its options say another.

    Raises:
        IcebergFeatureError: the table, or an option, needs what this package does not read.
        SourceNotFoundError: nothing is there.
        SourceError: what is there is no Iceberg table, it is damaged, or the snapshot is not there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        RoutingError: the path is a pattern that also expands to what is on another site.
    """
    choice = _choice(source)
    unknown = sorted({name.lower() for name in source.options} - _WITHOUT_EFFECT - {*_NUMBERS, *_NAMES})
    with source_errors(source):
        if unknown:
            raise needs(f"the option {', '.join(unknown)}")
        location = one_folder(source, router, what="Iceberg table")
        try:
            return read_table(location, choice)
        except FileNotFoundError:
            if not location.exists():
                raise
            raise SourceError(
                "no Iceberg table is there: it has no v1.metadata.json, or a later one, in its folder metadata. Name "
                "the table's own folder, or set file_format to what the files are"
            ) from None


def _choice(source: SourceSpec) -> SnapshotChoice:
    options = {name.lower(): value.strip() for name, value in source.options.items()}
    given = [name for name in (*_NUMBERS, *_NAMES) if name in options]
    if len(given) > 1:
        raise SourceError(f"{source.label}: the options {' and '.join(given)} are given. Leave out all but one.")
    for name in _NUMBERS:
        if name in options and not options[name].isdecimal():
            what = "the number of a snapshot" if name == "snapshot-id" else "milliseconds since 1970"
            raise SourceError(f"{source.label}: option {name} is {options[name]!r}; it has to be {what}.")
    numbers = [int(options[name]) if name in options else None for name in _NUMBERS]
    return SnapshotChoice(numbers[0], numbers[1], options.get("branch"), options.get("tag"))
