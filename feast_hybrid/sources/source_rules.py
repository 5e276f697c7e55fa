"""What a source may be: the registry is written by people who may have fewer rights than whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.lakes.secrets import literal_secrets

if TYPE_CHECKING:
    from feast_hybrid.lakes.router import Allowed

#: What Spark may be asked to read and write: files, by formats that open nothing but the files of the path.
FILE_FORMATS = ("parquet", "orc", "avro", "csv", "json", "xml", "text", "delta", "iceberg")

#: Options with these beginnings set up a file system or a session, which is a site's business.
_OF_A_SITE = ("fs.", "dfs.", "spark.", "hadoop.")
#: With which the options with a dot begin that a format's reader or writer knows; others are settings of Hadoop, such
#: as ``io.compression.codecs``, which loads a class, and ``parquet.private.read.filter.predicate``, a Java object.
_OF_A_FORMAT = (
    *("parquet.encryption.", "parquet.crypto.", "parquet.bloom.filter.", "parquet.column.index."),
    *("parquet.block.size", "parquet.page.size", "parquet.page.row.count.limit"),
    *("parquet.compression", "parquet.enable.dictionary", "parquet.dictionary.page.size", "parquet.writer.version"),
    *("orc.compress", "orc.stripe.size", "orc.row.index.stride", "orc.bloom.filter.", "orc.create.index"),
    *("orc.dictionary.key.threshold", "orc.column.encoding.direct", "orc.mask", "orc.encrypt"),
    *("delta.", "snapshot-property."),
)
#: Options that name another file than the path's, or a service or class: ``rowValidationXSDPath``, ``avroSchemaUrl``.
_NAMES_A_PLACE = re.compile(r"(path|url|uri|location|file|dir|directory|jar|class|driver|host|server|catalog)s?$")
#: Holds keys themselves, though its name does not sound so.
_KEYS_OF_PARQUET = "parquet.encryption.key.list"
#: Theirs are no places, or one above the path, which Spark holds them to.
_NAMES_NONE = ("ignorecorruptfiles", "ignoremissingfiles", "basepath")


def refuse_format(file_format: str, allowed: Allowed, *, what: str) -> None:
    """Refuse a format that may open more than the path's files.

    Raises:
        SourceError: it is neither one of :data:`FILE_FORMATS` nor allowed by the configuration.
    """
    if file_format.lower() not in (*FILE_FORMATS, *allowed.file_formats):
        raise SourceError(
            f"{what}: file_format {file_format!r} is none of {', '.join(FILE_FORMATS)}. Where it is one that you "
            f"trust with this store's rights, allow it: offline_store.file_formats: [{file_format}]."
        )


def checked_options(options: Mapping[str, str], *, what: str, file_format: str | None = None) -> dict[str, str]:
    """Options of a format, none of which names a file, a service or a file system.

    Args:
        options: of a source or a dataset.
        what: names it, for errors.
        file_format: None for Parquet. Options of formats that only the configuration allows may have dots in their
            names, as Hudi's have: who allows a format trusts what it does.

    Raises:
        SourceError: one does, or is not text.
    """
    if not isinstance(options, Mapping):
        raise SourceError(f"{what}: options must be a dict, found {type(options).__name__}.")
    for key, value in options.items():
        if not isinstance(key, str):
            raise SourceError(f"{what}: the name of option {key!r} must be text, found {type(key).__name__}.")
        name = key.lower()
        if name.startswith(_OF_A_SITE):
            raise SourceError(
                f"{what}: option {key!r} sets up a file system or a session; it belongs to the site in "
                "feature_store.yaml (offline_store.sites)."
            )
        if name in ("path", "paths"):
            raise SourceError(f"{what}: option {key!r} would overrule path; give path alone.")
        if not isinstance(value, str):
            raise SourceError(f"{what}: option {key!r} must be text, found {type(value).__name__}.")
        is_ours = (file_format or "parquet").lower() in FILE_FORMATS
        if is_ours and "." in name and not name.startswith(_OF_A_FORMAT):
            raise SourceError(
                f"{what}: option {key!r} is a setting of Hadoop, which a source must not have: leave it out, or have "
                f"it in the session's configuration, as spark.hadoop.{key}."
            )
        if name == _KEYS_OF_PARQUET or literal_secrets({key: value}):
            raise SourceError(
                f"{what}: option {key!r} is a secret, which whoever reads the registry would read: leave it out, "
                f"and set spark.hadoop.{key} in the session."
            )
        if name not in _NAMES_NONE and (_NAMES_A_PLACE.search(name) or "://" in value):
            raise SourceError(
                f"{what}: option {key!r} names a file, a service or a class besides the path, which a source must "
                "not: leave it out"
                + (f", and set spark.hadoop.{key} in the session." if name.startswith("parquet.") else ".")
            )
    return dict(options)
