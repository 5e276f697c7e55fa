"""What a source means, once it is known where its rows are: for all who read, cut, list or write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.lakes import Location, Router, Site


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """A data source in our own words; :func:`feast_hybrid.sources.resolve.source_spec` makes it of Feast's object.

    Exactly one of ``location``, ``table`` and ``query`` is given.

    Attributes:
        name: the source's name in the registry; in SQL text it stands for the rows.
        location: a path, on its site.
        table: a table of the session's catalogs, by its full name.
        warehouse: the warehouse that the source says its catalog has, which the session's catalog of that name must
            not contradict; empty where it says none.
        query: one SELECT.
        site: where a table or query is, or a path; None where no sites are configured.
        file_format: what Spark's ``format()`` takes for a path; None for a table or a query.
        options: reader and writer options of that format.
        timestamp_field: the event time, by Feast's name or the source's; empty for rows that no feature view reads.
        created_timestamp_field: when a row was written, by either name; None where it is not known.
        date_partition_column: a partition column that is derived from the event time in UTC.
        date_partition_format: its values, as ``strftime`` writes them.
        field_mapping: column in the source → name in Feast.
        view: the feature view that it is read for, for messages; None where it is read by itself.
        declared: what the feature view says of its columns, by the source's names: their types in Arrow.
        written_to: where batches of rows go, if that is another place than the rows are read from: Feast's
            ``SparkSource`` may have a query and a path.
    """

    name: str
    location: Location | None = None
    table: str | None = None
    warehouse: str = field(default="", compare=False)
    query: str | None = None
    site: Site | None = None
    file_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    timestamp_field: str = ""
    created_timestamp_field: str | None = None
    date_partition_column: str | None = None
    date_partition_format: str = "%Y-%m-%d"
    field_mapping: Mapping[str, str] = field(default_factory=dict)
    view: str | None = None
    declared: Mapping[str, pa.DataType] = field(default_factory=dict)
    written_to: SourceSpec | None = None

    @property
    def label(self) -> str:
        """The view, where there is one, and the source, for messages."""
        source = f"source {self.name!r}"
        return source if self.view is None else f"view {self.view!r}: {source}"

    @property
    def timestamp(self) -> str:
        """The source's column of the event time."""
        return self.column_of(self.timestamp_field)

    @property
    def created_timestamp(self) -> str | None:
        """The source's column that says when a row was written."""
        return self.column_of(self.created_timestamp_field) if self.created_timestamp_field else None

    @property
    def is_table_by_days(self) -> bool:
        """Whether it is a table that a column derived from the event time partitions."""
        return self.table is not None and self.date_partition_column is not None

    @property
    def named_columns(self) -> tuple[str, ...]:
        """The columns that the source itself names, whether its rows have them or not."""
        own = (self.timestamp if self.timestamp_field else None, self.created_timestamp, self.date_partition_column)
        return (*filter(None, own), *self.field_mapping)

    def column_of(self, feast_name: str) -> str:
        """The source's column for a name of Feast's, by the field mapping; other names stand for themselves."""
        return self._columns_by_feast_name.get(feast_name, feast_name)

    @cached_property
    def _columns_by_feast_name(self) -> dict[str, str]:
        return {feast_name: column for column, feast_name in self.field_mapping.items()}

    def describe(self) -> str:
        """The site and what is read there, for messages."""
        if self.location is not None:
            return self.location.describe()
        rows = f"table {self.table}" if self.table is not None else "a query"
        return f"site {self.site.name!r}, {rows}" if self.site is not None else rows


def sites_of(source: SourceSpec, router: Router) -> Sequence[Site]:
    """The sites that an error may be of where a source is read or written: a path's own, else any."""
    return [source.location.site] if source.location is not None else router.sites
