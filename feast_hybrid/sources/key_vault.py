"""Azure Key Vault as one of Feast's credential providers, which ships none: ``provider="azure-key-vault"``.

By Key Vault's REST interface ("Get Secret", api-version 7.4), with the client that azure-core has for all of Azure's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential
from feast.credentials import ConnectionRef, CredentialProvider, CredentialResolutionError

from feast_hybrid.lakes.connections import KEY_PARAM, KEY_VAULT
from feast_hybrid.lakes.errors import redacted_summary

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

#: Of Azure's clouds; a host elsewhere is sent no token.
DOMAINS = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net")
_API = "7.4"
_VAULT = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]")
_SECRET = re.compile(r"[A-Za-z0-9-]{1,127}(?:/[0-9a-fA-F]{32})?")
#: Within the time that :mod:`feast_hybrid.lakes.connections` gives a provider.
_LIMITS: dict[str, Any] = {"retry_total": 3, "retry_backoff_factor": 1, "retry_backoff_max": 8}
_TIMEOUTS: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 10}


class KeyVaultProvider(CredentialProvider):
    """Reads credentials from secrets of Azure Key Vault.

    ``ref.namespace`` is the vault: its name, or its address such as ``https://bank.vault.azure.net``. ``ref.name`` is
    the secret's name, with a version behind a slash if it is to be that one. The secret is a JSON object of texts by
    the names of their keys; or it is a single text, and ``ref.params["key"]`` says which key it is.

    Args:
        credential: signs in to the vault; by default azure-identity's ``DefaultAzureCredential``: the environment's
            application, the workload's or the machine's identity, or a developer's own.
    """

    def __init__(self, credential: TokenCredential | None = None) -> None:
        self._credential = credential

    def provider_type(self) -> str:
        """The name in ``ConnectionRef``."""
        return KEY_VAULT

    def resolve(self, ref: ConnectionRef) -> dict[str, str]:
        """The keys and texts of a secret.

        Raises:
            CredentialResolutionError: the vault cannot be reached, or does not give the secret; or it is neither a
                JSON object of texts, nor does the reference say which key it is. Nothing of the secret is shown.
        """
        host, domain = _vault(ref.namespace)
        if not _SECRET.fullmatch(ref.name):
            raise CredentialResolutionError(
                "name must be that of a secret of Key Vault: letters, digits and '-', and behind a slash a version"
            )
        value = self._get(host, domain, ref.name)
        key = ref.params.get(KEY_PARAM)
        return {key: value} if key else _keys_of(value)

    def _get(self, host: str, domain: str, name: str) -> str:
        request = HttpRequest("GET", f"https://{host}/secrets/{name}", params={"api-version": _API})
        request.headers["Accept"] = "application/json"
        policies = [
            RetryPolicy(**_LIMITS),
            BearerTokenCredentialPolicy(self._signs_in(), f"https://{domain}/.default"),
        ]
        fault = None
        try:
            with Pipeline(RequestsTransport(**_TIMEOUTS), policies) as pipeline:
                response = pipeline.run(request).http_response
                status, text = response.status_code, response.text()
        except ClientAuthenticationError as error:
            fault = f"nobody is signed in to {host}: {redacted_summary(str(error))}"
        except AzureError as error:
            fault = f"{host} cannot be reached: {type(error).__name__}"
        if fault is not None:  # outside of the except: what is behind it may hold a token
            raise CredentialResolutionError(fault)
        if status != 200:
            raise CredentialResolutionError(f"{host} answers {status} for the secret {name!r}{_advice(status)}")
        answer = _json(text)
        value = answer.get("value") if isinstance(answer, Mapping) else None
        if not isinstance(value, str) or not value:
            raise CredentialResolutionError(f"{host} has no text in the secret {name!r}")
        return value

    def _signs_in(self) -> TokenCredential:
        if self._credential is None:
            self._credential = DefaultAzureCredential()
        return self._credential


def _vault(namespace: str) -> tuple[str, str]:
    """A vault's host, and its domain, by which tokens are asked for.

    Raises:
        CredentialResolutionError: it is no vault of Azure's.
    """
    address = namespace if "://" in namespace else f"https://{namespace}"
    parts = urlsplit(address)
    name, _, domain = parts.netloc.partition(".")
    domain = domain or DOMAINS[0]
    if (
        parts.scheme != "https"
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or not _VAULT.fullmatch(name)
        or domain not in DOMAINS
    ):
        raise CredentialResolutionError(
            f"namespace must be the vault: its name, or https://NAME.{DOMAINS[0]} "
            f"(of other clouds: {', '.join(DOMAINS[1:])})"
        )
    return f"{name}.{domain}", domain


def _keys_of(value: str) -> dict[str, str]:
    found = _json(value)
    if not isinstance(found, Mapping) or not all(isinstance(each, str) for each in found.values()):
        raise CredentialResolutionError(
            "the secret is no JSON object of texts; of a single text, params must say which key it is, such as "
            f"{{{KEY_PARAM!r}: 'account_key'}}"
        )
    return dict(found)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _advice(status: int) -> str:
    return {
        401: ": it does not accept the sign-in, or belongs to another tenant",
        403: (
            ": whoever signs in may not read it (role 'Key Vault Secrets User', or an access policy with Get), or "
            "the vault's firewall refuses this machine, or the secret is disabled or expired"
        ),
        404: ": there is none of this name, or of this version",
        429: ": it is busy",
    }.get(status, "")
