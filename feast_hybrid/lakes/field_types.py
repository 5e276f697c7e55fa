"""Texts of the configuration that must have a form; what was given is never repeated: it may hold a secret."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

#: Where Entra signs in, in Azure's public cloud.
LOGIN = "https://login.microsoftonline.com"


def _authority(value: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+/?", value):
        raise PydanticCustomError("authority", "expected an https:// URL without a path, such as " + LOGIN)
    return value.rstrip("/")


def _host_and_port(value: str) -> str:
    # A whole connection string, with its key, is a likely mistake.
    if not re.fullmatch(r"[A-Za-z0-9.-]+:[0-9]{1,5}", value):
        raise PydanticCustomError("endpoint", "expected host:port of the Blob service, such as 127.0.0.1:10000")
    return value


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]+", value):
        raise PydanticCustomError("identifier", "expected an Entra identifier, such as a GUID; it is not shown")
    return value


#: A tenant's or an application's name in Entra: a GUID, or a tenant's domain.
Identifier = Annotated[str, AfterValidator(_identifier)]
#: Where Entra signs in; other than the default in sovereign clouds.
AuthorityHost = Annotated[str, AfterValidator(_authority)]
HostPort = Annotated[str, AfterValidator(_host_and_port)]
