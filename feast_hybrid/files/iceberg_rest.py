"""Where a REST catalog of Iceberg's has the last metadata of a table.

https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml has the questions and the answers. The
catalog is asked for the place alone: files are opened as their site signs in. So whatever an answer has besides what
is known here, such as a rule about which rows may be read, leaves the table to who knows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog.rest import Endpoints, RestCatalog

from feast_hybrid.lakes.bounded_calls import BoundedCalls

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds for all questions about a table.
_SECONDS = 60
#: What an answer about a table may have.
_KNOWN_PARTS = frozenset({"metadata-location", "metadata", "config", "storage-credentials"})
#: What a server may say of itself.
_KNOWN_SETTINGS = frozenset({"prefix", "namespace-separator", "warehouse"})
#: How settings begin by which files are opened, or written: the site has its own.
_OF_FILES = ("adls.", "s3.", "gcs.", "gs.", "client.", "write.", "hdfs.")

_questions = BoundedCalls(_SECONDS, setting="for a REST catalog", name="feast-hybrid-iceberg-rest")


class UnknownAnswerError(Exception):
    """An answer says something that is not known here; its names are shown, and no values."""


def metadata_place(settings: Mapping[str, str], namespace: Sequence[str], name: str) -> tuple[str, str]:
    """Where the last metadata of a table is, and where the table says that it is.

    Args:
        settings: of the catalog: ``uri``, and what it is signed in by.
        namespace: of the table, part by part.
        name: of the table.

    Returns:
        The URI of the metadata file, and that of the table.

    Raises:
        UnknownAnswerError: the server says something that is not known here.
        TimeoutError: it does not answer in time.
        Exception: whatever pyiceberg or its HTTP client raise, whose texts may be secrets.
    """
    found: tuple[str, str] = _questions.run(lambda: _asked(settings, namespace, name))
    return found


class _Catalog(RestCatalog):
    """A catalog whose server may not change by what, or where, it is signed in."""

    def _fetch_config(self) -> None:
        own = dict(self.properties)
        super()._fetch_config()
        # Before the credential is sent again, which would go to wherever the server says.
        _require_known(self.properties.keys() - own.keys(), what="of the server")
        if changed := sorted(key for key, value in own.items() if self.properties.get(key) != value):
            raise UnknownAnswerError(f"the server has settings of its own for {', '.join(changed)}")


def _asked(settings: Mapping[str, str], namespace: Sequence[str], name: str) -> tuple[str, str]:
    known: dict[str, Any] = dict(settings)
    if not settings.keys() & {"token", "credential"}:
        known["auth"] = {"type": "noop"}  # else it signs in as "None"
    catalog = _Catalog("feast-hybrid", **known)
    try:
        parts = catalog._split_identifier_for_path((*namespace, name))
        response = catalog._session.get(catalog.url(Endpoints.load_table, prefixed=True, **parts))
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
    finally:
        catalog.close()
    if others := sorted(answer.keys() - _KNOWN_PARTS):
        raise UnknownAnswerError(f"the answer has {', '.join(others)}")
    _require_known(answer.get("config") or {}, what="of the table")
    place = answer.get("metadata-location")
    if not place:
        raise UnknownAnswerError("the answer does not say where the metadata is")
    return str(place), str(answer["metadata"]["location"])


def _require_known(names: Iterable[str], *, what: str) -> None:
    others = sorted(name for name in names if name not in _KNOWN_SETTINGS and not name.startswith(_OF_FILES))
    if others:
        raise UnknownAnswerError(f"settings {what} are not known: {', '.join(others)}")
