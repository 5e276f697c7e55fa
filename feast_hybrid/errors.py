"""Every exception that feast-hybrid raises of itself, in one tree rooted at :class:`HybridError`.

No class here derives from ``ValueError``: pydantic turns a ``ValueError`` raised by a validator into a
``ValidationError``, which prints the whole input, secrets included.

A message names the thing (view, site, file, column), what was expected, what was found and what to change.
It never holds the value of a secret.
"""

from __future__ import annotations


class HybridError(Exception):
    """The root: catch this to catch everything that feast-hybrid raises of itself."""


class ConfigError(HybridError):
    """``feature_store.yaml`` holds something that cannot be meant, or lacks something."""


class CredentialError(ConfigError):
    """A credential is incomplete, or a secret that it refers to is not there."""


class RoutingError(HybridError):
    """A URI belongs to no lake: wrong scheme, no scheme, or under none of the configured sites."""


class SourceError(HybridError):
    """A :class:`~feast_hybrid.HybridSparkSource` is defined in a way that cannot be read."""


class SourceNotFoundError(SourceError):
    """What a source points to does not exist on its site."""


class StorageError(HybridError):
    """A lake did not do what it was asked to: see the classes below for what a caller can act on."""


class AuthenticationError(StorageError):
    """A lake does not know who asks: a wrong key, an expired token or ticket, a clock that is off."""


class AccessDeniedError(StorageError):
    """A lake knows who asks, and does not let them."""


class UnavailableError(StorageError):
    """A lake cannot be reached, or answers that it cannot serve now."""


class StorageTimeoutError(UnavailableError):
    """A lake was reached and did not answer in time."""


class StorageFullError(StorageError):
    """A lake has no room for more: a quota is reached, or its disks are full."""


class SchemaError(HybridError):
    """Columns are missing, or their types do not go together."""


class EntityFrameError(HybridError):
    """The entity rows that the caller gave cannot be used."""


class SessionError(HybridError):
    """The Spark session cannot do what is asked of it, such as a lake's driver missing from its class path."""


class RetrievalError(HybridError):
    """A retrieval failed while it ran."""


class RetrievalTimeoutError(RetrievalError):
    """A retrieval did not end within the time given to it, and was cancelled."""


class WriteError(HybridError):
    """Rows could not be written; nothing of them is to be seen, unless the message says what is."""


class ReplacementError(WriteError):
    """Rows could not be put in the place of others, and those could not be put back, or not yet.

    Any other WriteError of a replacement means that the old rows are where they were.

    Attributes:
        old_rows: where the old rows are, for a person to look.
    """

    def __init__(self, message: str, *, old_rows: str = "") -> None:
        super().__init__(message)
        self.old_rows = old_rows


class CommitUnknownError(WriteError):
    """The answer to a commit was lost: the rows may be there or not; read before writing again."""


class WriteCancelledError(WriteError):
    """The caller gave up waiting before anything was changed, and nothing will be."""


class NotSupportedError(HybridError, NotImplementedError):
    """Feast asks for something that has no meaning in this store, or that the configuration does not provide for."""


class JoinError(HybridError):
    """An as-of join was asked for that cannot be done."""


class TestServerError(HybridError):
    """A test lake's server could not be set up, started or reached."""

    __test__ = False  # pytest takes a class called Test… for tests


class MissingDependencyError(HybridError):
    """A package, a program or a container engine that this needs is not installed."""


class SparkNotInstalledError(SessionError, MissingDependencyError):
    """Something needs Spark, and no PySpark that is supported is installed. What needs none works without."""
