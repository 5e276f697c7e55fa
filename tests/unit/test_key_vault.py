"""Azure Key Vault as a credential provider: against a server of HTTP that stands for a vault."""

from __future__ import annotations

import http.server
import json
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from feast import credentials as of_feast
from feast.credentials import ConnectionRef, CredentialResolutionError, get_credential_provider

from feast_hybrid import KeyVaultProvider
from feast_hybrid.errors import CredentialError
from feast_hybrid.lakes.connections import KEY_VAULT, Reference
from feast_hybrid.sources import key_vault
from feast_hybrid.sources.connections import fetch

CANARY = "c4nary+Key/9Zq=="


class Identity:
    """Signs in with a token that says for whom it is."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        if self.error:
            raise self.error
        return AccessToken(f"for {' '.join(scopes)}", int(time.time()) + 3600)


class Vault(http.server.BaseHTTPRequestHandler):
    """Says what it was told to say, in this order, the last for ever; and notes what it was asked."""

    answers: list[tuple[int, Any]]
    asked: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path, self.headers.get("Authorization", "")))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Vault]]:
    handler = type("OfATest", (Vault,), {"answers": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class ToTheServer(RequestsTransport):
        """Sends there what is for a vault."""

        def send(self, request: Any, **more: Any) -> Any:
            scheme, _, rest = request.url.partition("://")
            host, _, path = rest.partition("/")
            assert scheme == "https"
            url, request.headers["Host"] = request.url, host
            request.url = f"http://127.0.0.1:{server.server_port}/{path}"
            try:
                return super().send(request, **more)
            finally:
                request.url = url

    monkeypatch.setattr(key_vault, "RequestsTransport", ToTheServer)
    monkeypatch.setitem(key_vault._LIMITS, "retry_backoff_factor", 0)
    yield handler
    server.shutdown()
    server.server_close()


def resolve(identity: Identity | None = None, **ref: Any) -> dict[str, str]:
    given = {"provider": KEY_VAULT, "name": "cards", "namespace": "bank", **ref}
    return KeyVaultProvider(identity or Identity()).resolve(ConnectionRef(**given))


def refusal(**given: Any) -> str:
    with pytest.raises(CredentialResolutionError) as refused:
        resolve(**given)
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    return str(refused.value)


def test_a_secret_is_a_json_object_of_keys(vault: type[Vault]) -> None:
    keys = {"tenant_id": "t", "client_id": "c", "client_secret": CANARY}
    vault.answers = [(200, {"value": json.dumps(keys)})]
    assert resolve() == keys
    assert vault.asked == [
        ("bank.vault.azure.net", "/secrets/cards?api-version=7.4", "Bearer for https://vault.azure.net/.default")
    ]


def test_a_secret_is_one_text_of_which_the_reference_says_what_it_is(vault: type[Vault]) -> None:
    vault.answers = [(200, {"value": CANARY})]
    assert resolve(params={"key": "account_key"}) == {"account_key": CANARY}


@pytest.mark.parametrize(
    ("namespace", "host", "scope"),
    [
        ("https://bank.vault.azure.net/", "bank.vault.azure.net", "https://vault.azure.net/.default"),
        ("bank.vault.azure.cn", "bank.vault.azure.cn", "https://vault.azure.cn/.default"),
    ],
)
def test_a_vault_is_named_or_addressed(vault: type[Vault], namespace: str, host: str, scope: str) -> None:
    vault.answers = [(200, {"value": "x"})]
    version = "0" * 32
    resolve(namespace=namespace, name=f"cards/{version}", params={"key": "account_key"})
    assert vault.asked == [(host, f"/secrets/cards/{version}?api-version=7.4", f"Bearer for {scope}")]


@pytest.mark.parametrize(
    "ref",
    [
        {"namespace": ""},
        {"namespace": "https://bank.vault.azure.net.evil.org"},
        {"namespace": "http://bank.vault.azure.net"},
        {"namespace": "https://evil.org"},
        {"namespace": "https://bank.vault.azure.net@evil.org"},
        {"namespace": "https://evil.org:443/.vault.azure.net"},
        {"namespace": "https://bank.vault.azure.net/secrets"},
        {"namespace": "bank.sub.vault.azure.net"},
        {"name": "../keys/x"},
        {"name": "cards?x=1"},
        {"name": "cards/latest"},
        {"name": ""},
    ],
    ids=lambda ref: " ".join(ref.values()) or "empty",
)
def test_nothing_is_sent_to_what_is_no_vault_and_asked_for_what_is_no_secret(
    vault: type[Vault], ref: dict[str, str]
) -> None:
    said = refusal(**ref)
    assert said.startswith(f"{next(iter(ref))} must be")
    assert vault.asked == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, {"error": {"message": CANARY}}), "bank.vault.azure.net answers 403 for the secret 'cards': whoever"),
        ((404, {}), "bank.vault.azure.net answers 404 for the secret 'cards': there is none of this name"),
        ((302, {}), "bank.vault.azure.net answers 302 for the secret 'cards'"),
        ((200, b"<html>"), "bank.vault.azure.net has no text in the secret 'cards'"),
        ((200, {"value": ""}), "bank.vault.azure.net has no text in the secret 'cards'"),
        ((200, {"value": CANARY}), "the secret is no JSON object of texts; of a single text, params must say which"),
        ((200, {"value": json.dumps({"account_key": [CANARY]})}), "the secret is no JSON object of texts"),
    ],
    ids=str.split("forbidden none elsewhere no_vault empty one_text nested"),
)
def test_what_a_vault_does_not_give(vault: type[Vault], answer: tuple[int, Any], message: str) -> None:
    vault.answers = [answer]
    assert refusal().startswith(message)


def test_a_vault_that_is_busy_is_asked_again(vault: type[Vault]) -> None:
    vault.answers = [(429, {}), (503, {}), (200, {"value": CANARY})]
    assert resolve(params={"key": "sas_token"}) == {"sas_token": CANARY}
    vault.answers = [(503, {})]
    assert refusal() == "bank.vault.azure.net answers 503 for the secret 'cards'"
    assert len(vault.asked) == 3 + 4


def test_nobody_is_signed_in(vault: type[Vault]) -> None:
    said = refusal(identity=Identity(ClientAuthenticationError("AADSTS7000215: Invalid client secret provided.")))
    assert said == "nobody is signed in to bank.vault.azure.net: AADSTS7000215: Invalid client secret provided."
    assert vault.asked == []


def test_it_is_there_without_being_registered_and_leaves_another_one(
    vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_feast, "_PROVIDERS", dict(of_feast._PROVIDERS))
    of_feast._PROVIDERS.pop(KEY_VAULT, None)
    with pytest.raises(
        CredentialError, match=r"^connection_ref to 'x y' in 'bank' of provider 'azure-key-vault': name"
    ):
        fetch(Reference(KEY_VAULT, "x y", "bank", fetch=fetch))
    assert isinstance(get_credential_provider(KEY_VAULT), KeyVaultProvider)
    own = KeyVaultProvider(Identity())
    of_feast.register_credential_provider(own)
    vault.answers = [(200, {"value": json.dumps({"account_key": CANARY})})]
    assert fetch(Reference(KEY_VAULT, "cards", "bank", fetch=fetch)) == {"account_key": CANARY}
    assert get_credential_provider(KEY_VAULT) is own
