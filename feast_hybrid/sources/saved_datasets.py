"""Where saved datasets and logs are kept, as Feast's registry holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import feast.saved_dataset
from feast.feature_logging import LoggingDestination
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingConfigProto
from feast.saved_dataset import CUSTOM_STORAGE_CLASS_KEY, SavedDatasetStorage

from feast_hybrid.errors import SourceError
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.registry_entry import parse_entry, write_entry

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as SavedDatasetStorageProto


class _Stored:
    """What is kept at a place that a source reads."""

    _source: HybridSparkSource

    def to_data_source(self) -> HybridSparkSource:
        """The source that reads what is kept here."""
        return self._source

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _storage_fields(self._source) == _storage_fields(other._source)

    def __hash__(self) -> int:
        return hash(self._source.location)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(location={self._source.location!r})"


class SavedDatasetHybridSparkStorage(_Stored, SavedDatasetStorage):
    """Where a saved dataset is kept: a path on either lake, or a table.

    Args:
        path: a URI of a folder.
        file_format: ``parquet`` by default.
        options: reader and writer options of the format.
        table: a table of the session's catalogs.
        site: the table's site, where several are configured.
    """

    _proto_attr_name = "custom_storage"

    def __init__(
        self,
        path: str | None = None,
        file_format: str | None = None,
        options: Mapping[str, str] | None = None,
        table: str | None = None,
        site: str | None = None,
    ) -> None:
        self._source = _storage_source(type(self).__name__, path, file_format, options, table, site)

    @staticmethod
    def from_proto(storage_proto: SavedDatasetStorageProto) -> SavedDatasetHybridSparkStorage:
        """Read the storage from the registry.

        Raises:
            SourceError: the entry was not written by this class, or by a newer version of it.
            RoutingError: its path names no lake that is known.
        """
        fields = parse_entry(
            storage_proto.custom_storage.configuration,
            keys=(*_STORAGE_FIELDS, CUSTOM_STORAGE_CLASS_KEY),
            what="a saved dataset",
            class_name="SavedDatasetHybridSparkStorage",
        )
        fields.pop(CUSTOM_STORAGE_CLASS_KEY, None)  # Feast's own: it says which class to call
        return SavedDatasetHybridSparkStorage(**fields)

    def to_proto(self) -> SavedDatasetStorageProto:
        """The registry's entry, with the class's name, so that any process can read it."""
        configuration = write_entry(_storage_fields(self._source)).encode()
        return self._custom_storage_proto(DataSourceProto.CustomSourceOptions(configuration=configuration))

    @staticmethod
    def from_data_source(data_source: DataSource) -> SavedDatasetHybridSparkStorage:
        """The storage that a source reads.

        Raises:
            SourceError: the source is of another kind, or is a query.
        """
        if not isinstance(data_source, HybridSparkSource) or data_source.query:
            raise SourceError(
                f"a saved dataset needs the path or table of a HybridSparkSource, found {data_source!r}."
            )
        storage = SavedDatasetHybridSparkStorage(**_storage_fields(data_source))
        # Feast's offline server is told the place of a saved dataset by the name of a source.
        storage._source = HybridSparkSource(name=data_source.name, **_storage_fields(data_source))
        return storage


class HybridSparkLoggingDestination(_Stored, LoggingDestination):
    """Where the features that a feature service served are logged: a path on either lake, or a table.

    Args:
        path: a URI of a folder.
        file_format: ``parquet`` by default.
        options: writer options of the format.
        table: a table of the session's catalogs.
        site: the table's site, where several are configured.
    """

    _proto_kind = "feast_hybrid"

    def __init__(
        self,
        *,
        path: str | None = None,
        file_format: str | None = None,
        options: Mapping[str, str] | None = None,
        table: str | None = None,
        site: str | None = None,
    ) -> None:
        self._source = _storage_source(type(self).__name__, path, file_format, options, table, site)

    def to_data_source(self) -> HybridSparkSource:
        """The source that reads the logs; where a feature was added to the service, older logs hold none of it."""
        if self._source.file_format != "parquet":
            return self._source
        fields = _storage_fields(self._source)
        fields["options"] = {"mergeSchema": "true", **self._source.options}
        return HybridSparkSource(name=self._source.name, **fields)

    @classmethod
    def from_proto(cls, config_proto: LoggingConfigProto) -> HybridSparkLoggingDestination:
        """Read the destination from the registry.

        Raises:
            SourceError: the entry was not written by this class, or by a newer version of it.
            RoutingError: its path names no lake that is known.
        """
        fields = parse_entry(
            config_proto.custom_destination.config.get("spec", ""),
            keys=_STORAGE_FIELDS,
            what="a logging destination",
            class_name="HybridSparkLoggingDestination",
        )
        return cls(**fields)

    def to_proto(self) -> LoggingConfigProto:
        """The registry's entry."""
        entry = write_entry(_storage_fields(self._source))
        return LoggingConfigProto(
            custom_destination=LoggingConfigProto.CustomDestination(kind=self._proto_kind, config={"spec": entry})
        )


# The registry holds these names, wherever the classes live.
SavedDatasetHybridSparkStorage.__module__ = "feast_hybrid"
HybridSparkLoggingDestination.__module__ = "feast_hybrid"

# Feast's offline server asks this table for the storage of a source.
feast.saved_dataset._DATA_SOURCE_TO_SAVED_DATASET_STORAGE.setdefault(
    "HybridSparkSource", "feast_hybrid.SavedDatasetHybridSparkStorage"
)

#: What says where something is kept, by the names of the constructors.
_STORAGE_FIELDS = ("path", "file_format", "options", "table", "site")


def _storage_source(
    keeper: str,
    path: str | None,
    file_format: str | None,
    options: Mapping[str, str] | None,
    table: str | None,
    site: str | None,
) -> HybridSparkSource:
    given = [key for key, value in (("path", path), ("table", table)) if value]
    if len(given) != 1:
        raise SourceError(f"{keeper}: give exactly one of path and table; found {' and '.join(given) or 'neither'}.")
    return HybridSparkSource(
        name=table or path, path=path, file_format=file_format, options=options, table=table, site=site
    )


def _storage_fields(source: HybridSparkSource) -> dict[str, Any]:
    return {name: value for name, value in source.own_fields().items() if name in _STORAGE_FIELDS}
