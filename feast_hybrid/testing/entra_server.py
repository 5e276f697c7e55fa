"""Entra, as far as a storage client sees it, and the way there: a proxy of this machine's loopback.

Clients keep Azure's own host names and are given this as their proxy. It leads ``login.microsoftonline.com`` to a
token service, the instance metadata address to another, and the accounts to Azurite; everything else it refuses. Run
as a script, with the standard library alone::

    python entra_server.py CONFIG.json

The file has ``port`` (of the proxy), ``login_port``, ``vault_port``, ``storage_port`` (Azurite's), ``secrets`` (of
the vault, by their names), ``certificate`` and ``key`` (files), ``tenant``, ``client``, ``secret``,
``assertion_file``, ``audience`` and ``seconds`` (for which a token is good).
"""

from __future__ import annotations

import base64
import http.server
import json
import select
import socket
import socketserver
import ssl
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

METADATA = "169.254.169.254"


VAULT = "https://vault.azure.net"


def token(config: dict[str, Any], audience: str) -> str:
    """A token as Azurite checks it: issuer, audience and times, and no signature."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{config['tenant']}/",
        "iat": now,
        "nbf": now - 60,
        "exp": now + config["seconds"],
        "appid": config["client"],
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)] + [b"unsigned"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def answer_with_token(config: dict[str, Any], wanted: str) -> dict[str, Any]:
    """What a token endpoint sends; a token is for storage, unless what is wanted is Key Vault."""
    seconds = config["seconds"]
    audience = VAULT if wanted.startswith(VAULT) else config["audience"]
    return {
        "access_token": token(config, audience),
        "token_type": "Bearer",
        "expires_in": str(seconds),
        "expires_on": str(int(time.time()) + seconds),
        "resource": audience,
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers in JSON."""

    protocol_version = "HTTP/1.1"
    config: dict[str, Any]

    def reply(self, status: int, body: dict[str, Any]) -> None:
        """Send a status and a body."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Login(Handler):
    """The token endpoints of one tenant."""

    def do_POST(self) -> None:
        """Give a token to the application whose secret, or whose assertion, is right."""
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        path = self.path.partition("?")[0]
        if path not in (f"/{self.config['tenant']}/oauth2/token", f"/{self.config['tenant']}/oauth2/v2.0/token"):
            self.reply(
                400, {"error": "invalid_request", "error_description": f"AADSTS90002: Tenant of {path} not found"}
            )
            return
        assertion = Path(self.config["assertion_file"]).read_text()
        right = form.get("client_secret") == self.config["secret"] or form.get("client_assertion") == assertion
        if form.get("grant_type") != "client_credentials" or form.get("client_id") != self.config["client"]:
            self.reply(
                400, {"error": "unauthorized_client", "error_description": "AADSTS700016: Application not found"}
            )
        elif not right:
            self.reply(
                401,
                {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."},
            )
        else:
            self.reply(200, answer_with_token(self.config, form.get("scope", form.get("resource", ""))))

    def do_GET(self) -> None:
        """Where the endpoints of the tenant are, which some clients ask first."""
        tenant = self.config["tenant"]
        if self.path.partition("?")[0] != f"/{tenant}/v2.0/.well-known/openid-configuration":
            self.reply(404, {"error": "only the tenant is stood for"})
            return
        of_tenant = f"https://login.microsoftonline.com/{tenant}"
        self.reply(
            200,
            {
                "issuer": f"{of_tenant}/v2.0",
                "authorization_endpoint": f"{of_tenant}/oauth2/v2.0/authorize",
                "token_endpoint": f"{of_tenant}/oauth2/v2.0/token",
            },
        )


class Vault(Handler):
    """A vault of Azure Key Vault, with the secrets of its configuration."""

    def do_GET(self) -> None:
        """A secret, to whom Entra gave a token for Key Vault."""
        path, _, query = self.path.partition("?")
        kind, _, token_given = self.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or audience_of(token_given) != VAULT:
            self.reply(401, {"error": {"code": "Unauthorized"}})
        elif not path.startswith("/secrets/") or "api-version=" not in query:
            self.reply(400, {"error": {"code": "BadParameter"}})
        elif (name := path.removeprefix("/secrets/")) not in self.config["secrets"]:
            self.reply(404, {"error": {"code": "SecretNotFound"}})
        else:
            place = f"https://{self.headers['Host']}/secrets/{name}/{'0' * 32}"
            self.reply(200, {"value": self.config["secrets"][name], "id": place, "attributes": {"enabled": True}})


def audience_of(given: str) -> str:
    """Whom a token is for; empty where it is none."""
    try:
        claims = given.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["aud"])
    except (IndexError, KeyError, ValueError):
        return ""


class Proxy(Handler):
    """Leads clients to the servers that stand for Azure's."""

    def do_CONNECT(self) -> None:
        """A tunnel to the token service or to Azurite."""
        host = self.path.rpartition(":")[0]
        if host.startswith("login."):
            port = self.config["login_port"]
        elif host.endswith(".vault.azure.net"):
            port = self.config["vault_port"]
        elif ".blob." in host or ".dfs." in host:
            port = self.config["storage_port"]
        else:
            self.reply(403, {"error": f"{host} is not among the hosts that are stood for"})
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            self.send_response(200, "Connection established")
            self.end_headers()
            self.wfile.flush()
            pump(self.connection, server)
        self.close_connection = True

    def do_GET(self) -> None:
        """A token for the machine's identity."""
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.hostname != METADATA or self.headers.get("Metadata") != "true":
            self.reply(403, {"error": "only the metadata service is stood for"})
        elif query.get("client_id", self.config["client"]) != self.config["client"]:
            self.reply(400, {"error": "invalid_request", "error_description": "Identity not found"})
        else:
            self.reply(200, answer_with_token(self.config, query.get("resource", "")))


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    others = {one: other, other: one}
    while True:
        readable, _, _ = select.select(list(others), [], [])
        for end in readable:
            try:
                some = end.recv(65_536)
            except OSError:
                return
            if not some:
                return
            others[end].sendall(some)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Many connections at once, which never keep the process."""

    daemon_threads = True
    request_queue_size = 128


def main(file: str) -> None:
    """Serve until the process is ended."""
    config = json.loads(Path(file).read_text())
    Handler.config = config
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["certificate"], config["key"])
    for port, handler in (("login_port", Login), ("vault_port", Vault)):
        server = Server(("127.0.0.1", config[port]), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    Server(("127.0.0.1", config["port"]), Proxy).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
