"""Secrets as references: where a secret is, not what it is."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from feast_hybrid.errors import CredentialError

_VARIABLE = re.compile(r"^\$(\{(?P<braced>\w+)[^}]*\}|[A-Za-z_]\w*$)")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")

#: Hadoop settings that hold a secret, whatever account or container they end in: one pattern for what is refused in
#: the configuration and for what Spark redacts, so it is a regular expression of Java's too. Case does not count.
SIGN_IN_SETTINGS = (
    r"fs\.azure\.("
    r"account\.key|account\.oauth2\.(client\.secret|user\.password|refresh\.token(?!\.endpoint))|"
    r"metrics\.account\.key|sas\.(?!token\.(provider|renew)\b|expiry\.period$)"
    r")"
)
_SECRET_SETTING = re.compile(rf"^(spark\.hadoop\.)?{SIGN_IN_SETTINGS}(\.|$|(?<=\.))", re.IGNORECASE)


def holds_secret(setting: str) -> bool:
    """Whether a Hadoop setting, by its name, is one that signs in to Azure."""
    return _SECRET_SETTING.match(setting) is not None


#: What the names of settings have that hold secrets, of whatever system; a part of a pattern, for names in logs too.
SENSITIVE_NAMES = (
    r"secret|passw(?:or)?d|passphrase|(?:^|[._-])(?:pwd|pass)\b|token|credentials?\b"
    r"|(?:access|account|api|private)[._-]?key"
)
_SOUNDS_SECRET = re.compile(SENSITIVE_NAMES, re.IGNORECASE)
#: Ends of names that say where a secret is, or something about it.
_ABOUT_A_SECRET = re.compile(
    r"(?:provider|endpoint|ur[il]|path|file|dir|type|class|classes|name|id|regex|enabled|algorithm|service|host|port|"
    r"timeout|interval|duration|lifetime|period|size|length|retries|expiry|streams)s?"
    r"(?:\.\w+\.(?:dfs|blob)\.[\w.-]+)?$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:true|false|[\d.]+\w?|)$", re.IGNORECASE)
#: Of these names numbers are secrets too.
_PASSWORD = re.compile(r"passw(?:or)?d|passphrase|(?:^|[._-])(?:pwd|pass)\b", re.IGNORECASE)
_JAVA_PROPERTY = re.compile(r"-D([\w.-]+)=(\S+)")
#: A secret within a value: a connection string, a signature, a URL with a password.
_SECRET_VALUE = re.compile(
    r"(?:accountkey|sharedaccess(?:key|signature)|[?&]sig|[;?&]token|password)=|://[^/\s:@]+:[^/\s@]+@", re.IGNORECASE
)


def literal_secrets(settings: Mapping[str, str]) -> list[str]:
    """Which settings hold a secret as text, by what their names sound like; of Java's options, which of them.

    Args:
        settings: of Spark, Hadoop or whatever else.
    """
    found = []
    for key, value in settings.items():
        properties = [name for name, given in _JAVA_PROPERTY.findall(value) if _is_secret(name, given)]
        found += [f"{key} (-D{name})" for name in properties]
        if not properties and (_is_secret(key, value) or _SECRET_VALUE.search(value)):
            found.append(key)
    return found


def _is_secret(name: str, value: str) -> bool:
    if _NO_SECRET.match(value) and not (_PASSWORD.search(name) and value[:1].isdigit()):
        return False
    return holds_secret(name) or (_SOUNDS_SECRET.search(name) is not None and not _ABOUT_A_SECRET.search(name))


#: What stands for a literal where the configuration is written out.
_HIDDEN = "(literal, not shown)"


@dataclass(frozen=True)
class Secret:
    """A reference to a secret: ``{env: NAME}`` or ``{file: PATH}``; a literal is taken with a warning.

    A reference is resolved each time it is used, so that the value is in no configuration object, no repr and
    no pickle. A literal cannot be kept from Feast, whose ``RepoConfig`` holds the raw text of the file.

    Attributes:
        env: the name of an environment variable.
        file: an absolute path.
        literal: the secret itself. One of the three is given.
        origin: where a literal came from, if not from the configuration; for messages.
    """

    env: str | None = None
    file: str | None = None
    literal: SecretStr | None = None
    origin: str = "the configuration itself"

    @classmethod
    def parse(cls, value: Any) -> Secret:
        """Read a reference as it stands in ``feature_store.yaml``.

        Raises:
            CredentialError: the value has neither form. What it holds is not repeated.
        """
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls._parse_literal(value)
        match value:
            case {"env": str(name)} if len(value) == 1:
                if not _NAME.match(name):
                    raise CredentialError(
                        "env: must be followed by the name of an environment variable; found something else, which "
                        "is not shown since it may be the secret itself."
                    )
                return cls(env=name)
            case {"file": str(path)} if len(value) == 1:
                if not path.startswith(("/", "~/")):
                    raise CredentialError(
                        "file: must be followed by an absolute path, since drivers and executors work in other "
                        "folders; found something else, which is not shown since it may be the secret itself."
                    )
                return cls(file=path)
        raise CredentialError("a secret must be {env: NAME} or {file: /path}; found something else.")

    @classmethod
    def _parse_literal(cls, value: str) -> Secret:
        if not value.strip() or value == _HIDDEN:
            raise CredentialError("a secret is empty: the ${VARIABLE} it came from may be unset.")
        if unset := _VARIABLE.match(value):
            # Feast expands variables in the file and leaves the ones that are not set as they are. Without
            # braces it might also be a secret that begins with a dollar sign: not repeated.
            name = f"${{{unset['braced']}}}" if unset["braced"] else "a variable of the form $NAME"
            raise CredentialError(f"a secret is {name}: that environment variable is not set.")
        return cls(literal=SecretStr(value))

    @property
    def is_literal(self) -> bool:
        """Whether the secret itself is in here, so that this must not be pickled."""
        return self.literal is not None

    def describe(self) -> str:
        """Where the secret is, for messages."""
        if self.env is not None:
            return f"environment variable {self.env}"
        return self.origin if self.file is None else f"file {self.file}"

    def warn_if_literal(self, what: str) -> None:
        """Warn of a literal, with all places where it shows.

        Args:
            what: as :meth:`resolve` has it.
        """
        if self.is_literal:
            warnings.warn(
                f"{what}: a secret stands as text in the offline store's configuration: whoever reads "
                "feature_store.yaml sees it, and so does whoever sees Feast's RepoConfig printed or logged. Refer to "
                "it instead: {env: NAME} or {file: /path}.",
                UserWarning,
                stacklevel=2,
            )

    def resolve(self, what: str) -> str:
        """The secret itself. Pass it on at once; keep it nowhere.

        Args:
            what: how an error names it, e.g. ``account_key of site 'cloud'``.

        Raises:
            CredentialError: the variable or file is missing or empty.
        """
        if self.literal is not None:
            return self.literal.get_secret_value()
        if self.env is not None:
            value = os.environ.get(self.env, "")
            if not value:
                raise CredentialError(f"{what}: environment variable {self.env} is not set, or is empty.")
            return value
        path = Path(self.file or "").expanduser()
        if path.is_fifo():  # which might be waited for without end
            raise CredentialError(f"{what}: {self.file} is a pipe; give a plain file.")
        try:
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            fault = CredentialError(f"{what}: file {self.file} cannot be read: {reason}.")
        else:
            if value:
                return value
            fault = CredentialError(f"{what}: file {self.file} is empty.")
        raise fault  # outside of the except: a context would carry the file's bytes along

    def _as_configured(self) -> Any:
        """As it stands in the configuration; a literal is left out."""
        if self.literal is not None:
            return _HIDDEN
        return {"file": self.file} if self.env is None else {"env": self.env}

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _parse_in_place,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._as_configured),
        )


def _parse_in_place(value: Any) -> Secret:
    """Have pydantic say at which place of the configuration a secret cannot be read."""
    try:
        return Secret.parse(value)
    except CredentialError as error:
        message = str(error)
    raise PydanticCustomError("credential", "{message}", {"message": message})
