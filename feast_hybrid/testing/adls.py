"""ADLS Gen2 as far as it can be had without Azure: Azurite's Blob endpoint with sorted listings."""

from __future__ import annotations

import base64
import os
import re
import secrets
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.testing import artifacts
from feast_hybrid.testing.lake import Lake
from feast_hybrid.testing.services import HOST, Service

if TYPE_CHECKING:
    from feast_hybrid.lakes.credentials import Emulator

SCRIPT = Path(__file__).with_name("azurite.js")
KEY_VARIABLE = re.compile(r"FEAST_HYBRID_\w+_KEY")
"""How the variables are called that hold the keys of accounts."""


class AdlsLake(Lake):
    """A storage account with one container, reached by its account key.

    The account's name is new at each start: Hadoop keeps an opened filesystem by its name, and whoever reads without
    a site would go on using the port of an earlier one. What it cannot show: the hierarchical namespace, ACLs, Entra
    roles.

    Args:
        mode: ``container`` or ``process``.
        container: The name of the container (filesystem) to create.
        kept: ``data`` and ``first_port``; see :class:`Server`. The account's name is ``feasthybrid`` then, and a file
            there holds its key.
    """

    server_type = image = "adls"

    def __init__(self, mode: str | None = None, *, container: str = "lake", **kept: Any) -> None:
        super().__init__(mode, **kept)
        self.container = container
        self.account = self._key = ""
        self._port = 0

    @property
    def uri(self) -> str:
        """``abfs://CONTAINER@ACCOUNT.dfs.core.windows.net``."""
        return f"abfs://{self.container}@{self._host}"

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the account's key while the lake runs."""
        return f"FEAST_HYBRID_{self.account.upper()}_KEY"

    @property
    def key(self) -> str:
        """The account's key. It guards a server on this machine's loopback, for as long as that runs."""
        return self._key

    @property
    def endpoint(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"{HOST}:{self._port}"

    @property
    def connection_string(self) -> str:
        """What Azure's own clients are given."""
        from feast_hybrid.lakes.uri import parse_uri

        given: str = self._credential().to_fsspec_kwargs(parse_uri(self.uri), "adls")["connection_string"]
        return given

    def site(self, name: str) -> dict[str, Any]:
        """A site with the ``emulator`` credential, whose key is in the environment, or among data that are kept."""
        key = {"env": self.key_variable} if self._key_file is None else {"file": str(self._key_file)}
        credential = {"type": "emulator", "account_key": key, "endpoint": self.endpoint}
        return {"name": name, "uri": self.uri, "credential": credential}

    def hadoop_options(self) -> dict[str, str]:
        """The ABFS driver's settings, as a site with the ``emulator`` credential has them."""
        from feast_hybrid.lakes.uri import parse_uri

        return self._credential().to_hadoop_options(parse_uri(self.uri), "adls")

    def filesystem(self) -> Any:
        """``adlfs``'s. Paths begin with the container: ``lake/folder/file``."""
        from adlfs import AzureBlobFileSystem

        return AzureBlobFileSystem(connection_string=self.connection_string, skip_instance_cache=True)

    def bytes_read(self) -> int:
        """How many bytes of blobs, with the headers of those answers, have been sent to readers since the start."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.endpoint}/-/bytes-read", timeout=5) as answer:
            return int(answer.read())

    def _credential(self) -> Emulator:
        """The sign-in of a site, with the key itself: Azurite is started before its variable is set."""
        from pydantic import SecretStr

        from feast_hybrid.lakes.credentials import Emulator
        from feast_hybrid.lakes.secrets import Secret

        return Emulator(type="emulator", account_key=Secret(literal=SecretStr(self._key)), endpoint=self.endpoint)

    @property
    def _key_file(self) -> Path | None:
        return None if self._data is None else self._data / "account.key"

    @property
    def _host(self) -> str:
        return f"{self.account}.dfs.core.windows.net"

    def _fetch(self) -> None:
        if self.mode == "process":
            artifacts.azurite()

    def _locate(self) -> None:
        (self._port,) = self._own_ports(1)
        self.account = "lake" + secrets.token_hex(6)  # 3 to 24 lower-case letters and digits
        self._key = base64.b64encode(secrets.token_bytes(64)).decode()
        if self._key_file is not None:
            self.account = "feasthybrid"
            if not self._key_file.exists():
                self._key_file.touch(mode=0o600)
                self._key_file.write_text(self._key, encoding="utf-8")
            self._key = self._key_file.read_text(encoding="utf-8")

    def _plan(self, folder: Path) -> list[Service]:
        where = str(folder / "azurite") if self.mode == "process" else "/data"
        options = (
            *("--blobHost", HOST, "--blobPort", str(self._port), "--location", where),
            *("--skipApiVersionCheck", "--disableTelemetry", "--silent"),
        )
        command: tuple[str, ...] = ()
        if self.mode == "process":
            main = artifacts.azurite().path / "node_modules/azurite/dist/src/blob/main.js"
            command = (str(artifacts.node()), str(SCRIPT), str(main), *options)
        environment = {"AZURITE_ACCOUNTS": f"{self.account}:{self._key}"}
        return [Service("azurite", command, image="adls", arguments=options, environment=environment)]

    def _ready(self) -> str | None:
        return make_container(self.connection_string, self.container)

    def _started(self) -> None:
        os.environ[self.key_variable] = self._key

    def _stopped(self) -> None:
        os.environ.pop(self.key_variable, None)


def make_container(connection_string: str, container: str, **options: Any) -> str | None:
    """Make a container as soon as an Azurite answers.

    Args:
        connection_string: of the account.
        container: its name.
        options: further ones of the client.

    Returns:
        What is waited for; None once the container is there.
    """
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobServiceClient

    client = BlobServiceClient.from_connection_string(
        connection_string, retry_total=0, connection_timeout=2, read_timeout=5, **options
    )
    with client:
        try:
            found = client.get_container_client(container)
            if not found.exists():
                found.create_container()
        except AzureError:
            return "Azurite to answer"
    return None
