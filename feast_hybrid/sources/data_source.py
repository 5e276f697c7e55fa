"""The data source, as Feast's registry holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from feast.credentials import TAG_PREFIX, ConnectionRef
from feast.data_format import FileFormat
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto

from feast_hybrid.errors import SourceError
from feast_hybrid.lakes import parse_uri
from feast_hybrid.lakes.uri import shown
from feast_hybrid.sources.connections import refuse_unless_of_a_path, signed_in
from feast_hybrid.sources.feast_types import value_type_of_spark
from feast_hybrid.sources.registry_entry import parse_entry, write_entry
from feast_hybrid.sources.source_rules import checked_options, refuse_format
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.spark.columns import quoted

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig
    from feast.value_type import ValueType

    from feast_hybrid.lakes import Router, Site

#: The registry's entry of a source has tags with this beginning, which say where its rows are.
_PLACE_TAG = "feast_hybrid."

#: What Feast's own fields of a source have no place for; in the registry it is an entry of ours.
_OWN_FIELDS = ("path", "file_format", "options", "table", "query", "site", "date_partition_column_format")


class HybridSparkSource(DataSource):
    """A batch source on HDFS or on Azure Data Lake Gen2, distinguished by the scheme of its URI.

    Exactly one of ``path``, ``table`` and ``query`` says where the rows are.

    Args:
        name: unique in the project; the table's name where it is left out. In the SQL text of an ``entity_df``
            this name stands for the source's rows.
        path: a URI of files, such as ``hdfs://lake/flights`` or ``abfss://c@acct.dfs.core.windows.net/weather``.
        file_format: what Spark's ``format()`` knows: ``parquet`` (the default), ``orc``, ``avro``, ``csv``,
            ``json``, ``delta``, ``iceberg`` …; or the name of a Java class, whose case counts. Feast's
            ``ParquetFormat()`` and ``DeltaFormat()`` are taken for their names.
        options: reader options of that format, such as ``{"header": "true"}``. Never credentials.
        table: a table of the session's catalogs, by its full name.
        query: one SELECT.
        site: the configured site of a table or query; needed where several sites are configured, and no rule of
            ``offline_store.sources`` gives it one. A path's site is that of its URI.
        timestamp_field: the event time. A ``timestamp`` column is an instant; ``timestamp_ntz`` is UTC; a ``date``
            is its midnight in UTC. Feast infers it only for its own sources, so name it, but for a source that
            only stores a saved dataset.
        created_timestamp_column: when the row was written; ranks rows of one event time.
        date_partition_column: a partition column derived from the event time in UTC, by which reads are cut.
        date_partition_column_format: its values, as ``strftime`` writes them.
        field_mapping: column in the source → name in Feast; for features, join keys and timestamps. All at once:
            two columns can swap their names. A column whose name another one is given cannot be seen from Feast,
            unless it is given another name too.
        description: for people.
        tags: for people and tools; none may begin with ``feast_hybrid.``. The registry's entry gets
            ``feast_hybrid.lake``, ``feast_hybrid.site`` and ``feast_hybrid.location`` besides, and its description
            ends with where the rows are, for whoever looks for data in Feast's UI, REST API or command line.
        owner: for people; an e-mail address as a rule.
        connection_ref: a secret of one of Feast's credential providers, with which this source's path is read and
            written in place of its site's credential; only on ADLS, and only as far as
            ``offline_store.connection_refs`` allows it.

    Raises:
        SourceError: none or several of path, table and query; an option that belongs to a site; a query that is
            not one SELECT; a connection_ref without a path.
        RoutingError: the path names no lake that is known.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        path: str | None = None,
        file_format: str | FileFormat | None = None,
        options: Mapping[str, str] | None = None,
        table: str | None = None,
        query: str | None = None,
        site: str | None = None,
        timestamp_field: str | None = None,
        created_timestamp_column: str | None = None,
        date_partition_column: str | None = None,
        date_partition_column_format: str | None = None,
        field_mapping: dict[str, str] | None = None,
        description: str | None = "",
        tags: dict[str, str] | None = None,
        owner: str | None = "",
        connection_ref: ConnectionRef | None = None,
    ) -> None:
        name = name or table
        if not name:
            raise SourceError("HybridSparkSource: give it a name; only a table's name can stand for one.")
        what = f"source {shown(name)}"
        if timestamp_field and timestamp_field == created_timestamp_column:
            raise SourceError(
                f"{what}: timestamp_field and created_timestamp_column are both {timestamp_field!r}; leave out "
                "created_timestamp_column if there is none."
            )
        super().__init__(
            name=name,
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            field_mapping=field_mapping,
            description=description,
            tags=tags,
            owner=owner,
            date_partition_column=date_partition_column,
            connection_ref=connection_ref,
        )
        given = [key for key, value in (("path", path), ("table", table), ("query", query)) if value]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise SourceError(f"{what}: give exactly one of path, table and query; found {found}.")
        if path is None and (file_format or options):
            raise SourceError(f"{what}: file_format and options go with path, not with {given[0]}.")
        if path is not None:
            if site is not None:
                raise SourceError(f"{what}: leave out site; the path's URI tells it.")
            parse_uri(path, what=f"path of {what}")
        if query is not None:
            from feast_hybrid.spark.sql import single_select  # a path needs no parser of SQL

            single_select(query, what=f"{what}: query", error=SourceError)
            query = query.strip().rstrip("; \t\r\n")
        if connection_ref is not None:
            refuse_unless_of_a_path(connection_ref, path, what=what)
        for tag in tags or {}:
            if tag.startswith(_PLACE_TAG):
                raise SourceError(f"{what}: the tag {tag!r} is written by the source itself; leave it out.")
        self.path = path
        self.file_format = _spark_format(file_format or "parquet", what) if path is not None else None
        self.options = checked_options(options or {}, what=what, file_format=self.file_format)
        self.table = table
        self.query = query
        self.site = site
        self.date_partition_column_format = date_partition_column_format or "%Y-%m-%d"

    @property
    def table_ref(self) -> str:
        """How SQL text names this source's rows: its name, quoted."""
        return quoted(self.name)

    @property
    def location(self) -> str:
        """Where the rows are, for people: the URI, the table's name or ``a query``."""
        return self.path or (f"table {self.table}" if self.table else "a query")

    def resolve(self, router: Router, *, at_home: bool = False) -> SourceSpec:
        """What this source means, with its place found on its site.

        Args:
            router: finds the site.
            at_home: whether a table or query that does not say on which of several sites it is belongs to the
                catalogs of the session that we work in, and to none of the sites.

        Raises:
            RoutingError: it is on none of the configured sites, or does not say on which of several.
            CredentialError: its connection_ref is not allowed, or signs in to no lake of this kind.
            SourceError: its format, its table's name or its query is one that may do more than to read its rows.
        """
        what = f"source {shown(self.name)}"
        location = router.locate(self.path, what=f"path of {what}") if self.path is not None else None
        if self.file_format is not None:
            refuse_format(self.file_format, router.allowed, what=what)
        else:
            from feast_hybrid.sources.sql_text import refuse_query, refuse_table  # a path needs no parser of SQL

            if self.table is not None:
                refuse_table(self.table, what=what)
            if self.query is not None:
                refuse_query(self.query, router.allowed, what=what)
        if location is not None and self.connection_ref is not None:
            location = signed_in(location, self.connection_ref, router, what=what)
        if location is not None:
            site: Site | None = location.site
        else:
            named = self.site if self.site is not None else router.by_rule(self.name)
            is_home = at_home and named is None and len(router.sites) > 1
            site = None if is_home else router.named(named, what=what)
        return SourceSpec(
            name=self.name,
            location=location,
            table=self.table,
            query=self.query,
            site=site,
            file_format=self.file_format,
            options=self.options,
            timestamp_field=self.timestamp_field or "",
            created_timestamp_field=self.created_timestamp_column or None,
            date_partition_column=self.date_partition_column or None,
            date_partition_format=self.date_partition_column_format,
            field_mapping=self.field_mapping or {},
        )

    def _place_tags(self) -> dict[str, str]:
        """Where the rows are, for those who read the registry: its JSON reaches them as bytes in base 64."""
        place = {"location": self.path or self.table or self.query or ""}
        if self.path is not None:
            uri = parse_uri(self.path)
            place |= {"lake": uri.lake.value, "site": f"{uri.scheme}://{uri.authority}"}
        elif self.site:
            place["site"] = self.site
        return {_PLACE_TAG + key: value for key, value in place.items()}

    def _place_in_words(self) -> str:
        """Where the rows are, at the end of the entry's description: of a custom source Feast's UI shows no more."""
        if self.path is not None:
            return f"[{parse_uri(self.path).lake.value}: {self.path}]"
        return f"[{self.location}{f' of site {self.site}' if self.site else ''}]"

    def source_type(self) -> DataSourceProto.SourceType.ValueType:
        """Feast's word for a source that it does not ship."""
        return DataSourceProto.CUSTOM_SOURCE

    def own_fields(self) -> dict[str, Any]:
        """What the base class does not keep, by the names of the constructor; what is empty is left out."""
        return {name: value for name in _OWN_FIELDS if (value := getattr(self, name))}

    @staticmethod
    def from_proto(data_source: DataSourceProto) -> HybridSparkSource:
        """Read a source from the registry.

        Raises:
            SourceError: the entry was not written by this class.
        """
        own_fields = parse_entry(
            data_source.custom_options.configuration,
            keys=_OWN_FIELDS,
            what=f"source {data_source.name!r}",
            class_name="HybridSparkSource",
        )
        source = HybridSparkSource(
            name=data_source.name,
            timestamp_field=data_source.timestamp_field,
            created_timestamp_column=data_source.created_timestamp_column,
            date_partition_column=data_source.date_partition_column,
            field_mapping=dict(data_source.field_mapping),
            tags={
                tag: value
                for tag, value in data_source.tags.items()
                if not tag.startswith((_PLACE_TAG, TAG_PREFIX))  # which the entry alone has
            },
            owner=data_source.owner,
            connection_ref=ConnectionRef.from_tags(dict(data_source.tags)),
            **own_fields,
        )
        written, place = data_source.description, source._place_in_words()
        source.description = written.removesuffix(place).removesuffix(" ") if written.endswith(place) else written
        return source

    def _to_proto_impl(self) -> DataSourceProto:
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type="feast_hybrid.HybridSparkSource",
            custom_options=DataSourceProto.CustomSourceOptions(configuration=write_entry(self.own_fields()).encode()),
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            date_partition_column=self.date_partition_column,
            field_mapping=self.field_mapping,
            description=" ".join(filter(None, (self.description, self._place_in_words()))),
            tags={**self.tags, **self._place_tags()},
            owner=self.owner,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HybridSparkSource):
            return NotImplemented
        return bool(super().__eq__(other)) and self.own_fields() == other.own_fields()

    def __hash__(self) -> int:
        return int(super().__hash__())

    def __repr__(self) -> str:
        return f"HybridSparkSource(name={self.name!r}, location={self.location!r})"

    def validate(self, config: RepoConfig) -> None:
        """Ask the site whether the rows are there and have the columns that this source and its views name.

        Where the rows are those that a view's transformation will write (``sink_source``), they may be missing yet.

        Raises:
            SourceNotFoundError: nothing is there, or the site cannot be reached. Says which site was asked.
            SchemaError: a column that this source names is missing, or a view's join key; or what a view declares is
                not what a column holds.
            NotSupportedError: a view asks for what cannot be answered.
        """
        from feast_hybrid.sources.applied import validate_applied

        store = config.offline_store
        validate_applied(self, lambda: self.resolve(store.router), store)

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        """From Spark's type names to Feast's value types."""
        return value_type_of_spark

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        """Names and Spark type names of the columns; for Parquet and ORC paths without a JVM.

        Raises:
            SourceNotFoundError: nothing is there, or the site cannot be reached. Says which site was asked.
            SchemaError: a view's join key is missing; or views declare what a column does not hold, or what does not
                go together.
            NotSupportedError: a view asks for what cannot be answered.
        """
        from feast_hybrid.sources.applied import applied_columns

        store = config.offline_store
        return applied_columns(self, lambda: self.resolve(store.router), store)

    def get_table_query_string(self) -> str:
        """How SQL text names this source's rows; see :attr:`table_ref`."""
        return self.table_ref


# Feast writes a class's own module into feature views at first, and our name for it afterwards: let them be one.
HybridSparkSource.__module__ = "feast_hybrid"


def _spark_format(file_format: str | FileFormat, what: str) -> str:
    """A format's short name in one spelling, since Spark takes any; a Java class's as it is."""
    if isinstance(file_format, FileFormat):
        return str(file_format)
    if not isinstance(file_format, str):
        raise SourceError(
            f"{what}: file_format must be text, such as 'parquet', 'orc' or 'delta'; found "
            f"{type(file_format).__name__}."
        )
    return file_format if "." in file_format else file_format.lower()
