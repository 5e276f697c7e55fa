"""Runs services as containers, in the host's network.

The host's network makes an address mean the same everywhere: to a client on the host, to a Spark executor in a
container, and to the DataNode that advertises itself. On Docker Desktop it has to be switched on in the
settings.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import TestServerError
from feast_hybrid.testing import images
from feast_hybrid.testing.services import GUARD

if TYPE_CHECKING:
    from pathlib import Path

    from feast_hybrid.testing.services import Running, Service

_REMOVE = "import docker, sys; docker.from_env().api.remove_container(sys.argv[1], force=True, v=True)"


class _Container:
    def __init__(self, service: Service, tag: str) -> None:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        # Our own guard removes the container, whatever becomes of this process; Ryuk, testcontainers' way of
        # doing that, is an image more to pull.
        if "TESTCONTAINERS_RYUK_DISABLED" not in os.environ:
            testcontainers_config.ryuk_disabled = True
        self.name = service.name
        name = f"feast-hybrid-{service.name}-{secrets.token_hex(4)}"
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-E", str(GUARD), "--at-end", sys.executable, "-c", _REMOVE, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._container: Any = (
            DockerContainer(tag)
            .with_name(name)
            .with_command(list(service.arguments))
            .with_envs(**service.environment)
            .with_kwargs(network_mode="host")
        )
        for path in service.mounts:
            self._container.with_volume_mapping(path, path, "ro")
        try:
            self._container.start()
        except Exception as error:
            self.stop()
            raise TestServerError(f"The container {name} of {tag} did not start: {error}") from error

    def alive(self) -> bool:
        container = self._container.get_wrapped_container()
        container.reload()
        return bool(container.status in ("created", "running"))

    def log(self) -> str:
        out, err = self._container.get_logs()
        return str((out + err).decode(errors="replace"))

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def stop(self) -> None:
        with suppress(Exception):
            self._container.stop()
        client = self._container.get_docker_client().client
        client.close()
        self._guard.terminate()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()


class ContainerRunner:
    """Runs services by testcontainers, from the images under ``docker/``."""

    def prepare(self, image: str) -> None:
        """Build the image where it is missing."""
        images.ensure(image)

    def start(self, service: Service, folder: Path, *, keep: bool = False) -> Running:  # noqa: ARG002  # data stays in it
        """Start the service, building its image first where it is missing."""
        return _Container(service, images.ensure(service.image))
