"""Feast's ``connection_ref`` of a source: who gives its secret, and at which site it may sign in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from feast.credentials import (
    ConnectionRef,
    CredentialResolutionError,
    get_credential_provider,
    register_credential_provider,
    resolve_credentials,
)

from feast_hybrid.errors import CredentialError, SourceError
from feast_hybrid.lakes.connections import KEY_VAULT, Reference, require_lake
from feast_hybrid.lakes.errors import redacted_summary

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router

#: Feast's words for a secret that this package signs in with; ``sigv4`` and ``basic`` are for other services.
_AUTH_TYPES = ("", "secret", "oauth2")
#: What a provider might take for another place than a pattern of the configuration was asked about.
_LEADS_ELSEWHERE = re.compile(r"(?:^|/)\.\.?(?:/|$)|[%?#\\\x00-\x1f\x7f]")


def fetch(reference: Reference) -> Mapping[str, str]:
    """What a provider that is registered with Feast has under a reference.

    Raises:
        CredentialError: there is no such provider in this process, or it does not give the secret. Of an error of
            another kind than Feast's only the name is repeated: its text may hold the secret.
    """
    if reference.provider == KEY_VAULT:
        register_key_vault()
    ref = ConnectionRef(
        provider=reference.provider,
        name=reference.name,
        namespace=reference.namespace,
        params=dict(reference.params),
    )
    try:
        return dict(resolve_credentials(ref))
    except CredentialResolutionError as error:
        fault = redacted_summary(str(error)).rstrip(".")
    except Exception as error:  # whose text may be a secret
        fault = type(error).__name__
    # Outside of the except: a context would carry the provider's own objects along.
    raise CredentialError(f"{reference.describe()}: {fault}.")


def register_key_vault() -> None:
    """Have Feast know this package's provider of Azure Key Vault, unless it has one of that name."""
    try:
        get_credential_provider(KEY_VAULT)
    except CredentialResolutionError:
        from feast_hybrid.sources.key_vault import KeyVaultProvider  # azure-identity takes a while to load

        register_credential_provider(KeyVaultProvider())


def refuse_unless_of_a_path(ref: ConnectionRef, path: str | None, *, what: str) -> None:
    """Refuse a reference that cannot be followed, whatever the configuration is.

    Raises:
        SourceError: the source is no path; or the reference asks for another service's way to sign in, or for all
            variables of the environment, or its name may lead a provider elsewhere.
    """
    if path is None:
        raise SourceError(
            f"{what}: a connection_ref signs in to a path alone. Tables and queries are read in one session for all "
            "sites, which signs in as offline_store.sites and the session's catalogs say: leave it out."
        )
    if ref.auth_type not in _AUTH_TYPES:
        raise SourceError(
            f"{what}: its connection_ref has auth_type {ref.auth_type!r}; this store knows secret and oauth2."
        )
    for key, value in (("name", ref.name), ("namespace", ref.namespace)):
        if _LEADS_ELSEWHERE.search(value):
            raise SourceError(
                f"{what}: {key} of its connection_ref must be plain: without '.' and '..' between slashes, and "
                "without any of % ? # \\ and control characters."
            )
    if ref.provider == "env" and not ref.name.strip("* "):
        raise SourceError(
            f"{what}: its connection_ref names all variables of the environment; name what those begin with that "
            "are meant, such as BANK_."
        )


def signed_in(location: Location, ref: ConnectionRef, router: Router, *, what: str) -> Location:
    """A source's place, signed in to by what its ``connection_ref`` names, for this source alone.

    Nothing is fetched here.

    Raises:
        CredentialError: the configuration does not allow it, or its lake has no sign-in of a single source.
    """
    require_lake(location.lake, what)
    site = location.site
    params = tuple(sorted(ref.params.items()))
    reference = Reference(ref.provider, ref.name, ref.namespace, params, fetch=fetch)
    if not any(rule.allows(reference, site.name) for rule in router.connection_rules):
        scope = f", namespace: {ref.namespace!r}" if ref.namespace else ""
        raise CredentialError(
            f"{what}: offline_store.connection_refs does not allow a source on site {site.name!r} to sign in with "
            f"its {reference.describe()}: the registry alone may not choose among the secrets of this process. To "
            f"allow it, add {{provider: {ref.provider!r}, name: {ref.name!r}{scope}, site: {site.name!r}}}; else "
            "leave connection_ref out."
        )
    return router.signed_in(location, reference)
