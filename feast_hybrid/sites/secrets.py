"""Secrets as references: where a secret is, not what it is."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from feast_hybrid.errors import CredentialError

_VARIABLE = re.compile(r"^\$\{\w+\}$")


class Secret:
    """A reference to a secret: ``{env: NAME}`` or ``{file: PATH}``; a literal is taken with a warning.

    A reference is resolved each time it is used, so that the value is in no configuration object, no repr and
    no pickle. A literal cannot be kept from Feast, whose ``RepoConfig`` holds the raw text of the file.
    """

    __slots__ = ("_kind", "_where")

    def __init__(self, kind: str, where: str) -> None:
        self._kind = kind
        self._where = where

    @classmethod
    def parse(cls, value: Any) -> Secret:
        """Read a reference as it stands in ``feature_store.yaml``.

        Raises:
            CredentialError: the value has neither form. What it holds is not repeated.
        """
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            if not value:
                raise CredentialError("a secret is empty: the ${VARIABLE} it came from may be unset.")
            if _VARIABLE.match(value):
                # Feast expands variables in the file and leaves the ones that are not set as they are.
                raise CredentialError(f"a secret is {value}: that environment variable is not set.")
            warnings.warn(
                "a secret stands as text in the offline store's configuration, where Feast's repr of RepoConfig "
                "shows it. Refer to it instead: {env: NAME} or {file: /path}.",
                UserWarning,
                stacklevel=2,
            )
            return cls("literal", value)
        if isinstance(value, dict) and len(value) == 1:
            kind, where = next(iter(value.items()))
            if kind in ("env", "file") and isinstance(where, str) and where:
                return cls(kind, where)
        raise CredentialError("a secret must be {env: NAME} or {file: /path}; found something else.")

    def check(self, what: str) -> None:
        """Raise if the secret is not there now; see :meth:`resolve`."""
        self.resolve(what)

    def resolve(self, what: str) -> str:
        """The secret itself. Pass it on at once; keep it nowhere.

        Args:
            what: how an error names it, e.g. ``account_key of site 'cloud'``.

        Raises:
            CredentialError: the variable or file is missing or empty.
        """
        if self._kind == "literal":
            return self._where
        if self._kind == "env":
            value = os.environ.get(self._where, "")
            if not value:
                raise CredentialError(f"{what}: environment variable {self._where} is not set, or is empty.")
            return value
        try:
            value = Path(self._where).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise CredentialError(f"{what}: file {self._where} cannot be read: {reason}.") from None
        if not value:
            raise CredentialError(f"{what}: file {self._where} is empty.")
        return value

    def __repr__(self) -> str:
        return "Secret(literal)" if self._kind == "literal" else f"Secret({self._kind}={self._where})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._kind, self._where) == (other._kind, other._where)

    def __hash__(self) -> int:
        return hash((self._kind, self._where))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(repr),
        )
