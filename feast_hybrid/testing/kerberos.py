"""A Kerberos realm of its own: MIT's KDC on this machine's loopback, with its principals, keytabs and tickets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from feast_hybrid.errors import MissingDependencyError, TestServerError
from feast_hybrid.testing.lake import Server
from feast_hybrid.testing.services import HOST, Service, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
FAKETIME = "libfaketime.so.1"

_CLIENT = """
[libdefaults]
  default_realm = {realm}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
  ticket_lifetime = 1d
  renew_lifetime = 7d
  default_ccache_name = FILE:{folder}/tickets

[realms]
  {realm} = {{
    kdc = {host}:{port}
  }}
"""

_SERVER = """
[kdcdefaults]
  kdc_listen = {host}:{port}
  kdc_tcp_listen = {host}:{port}

[realms]
  {realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    max_life = 1d
    max_renewable_life = 7d
    default_principal_flags = +preauth
    master_key_type = aes256-cts-hmac-sha1-96
    supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal
  }}

[logging]
  kdc = STDERR
"""


class KerberosRealm(Server):
    """A KDC as a plain process, in any mode; while it runs, ``KRB5_CONFIG`` of this process names its realm.

    Args:
        realm: its name.
        clock: how far the KDC's clock is off, such as ``+2h``; needs libfaketime.
        beside: another realm that runs, of whose name and principals this is a second KDC.

    Attributes:
        realm: its name.
    """

    server_type = image = "kdc"

    def __init__(
        self, realm: str = "FEAST.TEST", *, clock: str | None = None, beside: KerberosRealm | None = None
    ) -> None:
        super().__init__("process")
        self.realm: str = beside.realm if beside else realm
        self._beside = beside
        self._clock = clock
        self._port = 0
        self._before: str | None = None

    @property
    def uri(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"{HOST}:{self._port}"

    @property
    def config(self) -> Path:
        """The ``krb5.conf`` of its clients."""
        return self._folder / "krb5.conf"

    def principal(self, name: str) -> str:
        """``NAME@REALM``."""
        return f"{name}@{self.realm}"

    def keytab(self, file: str, *names: str) -> Path:
        """A new keytab with the keys of principals, which are made where they are missing.

        Args:
            file: its name.
            names: the principals, without the realm.
        """
        path = self._folder / file
        path.unlink(missing_ok=True)
        known = self._admin("listprincs").split()
        for name in names:
            if self.principal(name) not in known:
                self._admin(f"addprinc -randkey {name}")
            self._admin(f"ktadd -k {path} -norandkey {name}")
        return path

    def change_key(self, name: str) -> None:
        """Give a principal another key, so that its keytabs hold an old one."""
        self._admin(f"cpw -randkey {name}")

    def delete(self, name: str) -> None:
        """Have the realm know a principal no more."""
        self._admin(f"delprinc -force {name}")

    def tickets(self, name: str, keytab: Path, *, lifetime: str = "1h", file: str = "tickets") -> Path:
        """The file of a ticket cache with a new ticket, as ``kinit`` makes it.

        Args:
            name: the principal, without the realm.
            keytab: holds its key.
            lifetime: as ``kinit -l`` takes it.
            file: the cache's name.
        """
        path = self._folder / file
        self._run(["kinit", "-k", "-t", str(keytab), "-c", f"FILE:{path}", "-l", lifetime, name])
        return path

    def pause(self) -> None:
        """End the KDC; its files stay until the realm is stopped."""
        for running in self._running:
            running.stop()

    @property
    def _folder(self) -> Path:
        if self.folder is None:
            raise TestServerError("This Kerberos realm does not run.")
        return self.folder

    def _environment(self, folder: Path) -> dict[str, str]:
        return {"KRB5_CONFIG": str(folder / "krb5.conf"), "KRB5_KDC_PROFILE": str(folder / "kdc.conf")}

    def _fetch(self) -> None:
        for program in PROGRAMS:
            find_program(program)
        if self._clock:
            find_faketime()

    def _plan(self, folder: Path) -> list[Service]:
        (self._port,) = free_ports(1)
        values = {"realm": self.realm, "host": HOST, "port": self._port}
        (folder / "krb5.conf").write_text(_CLIENT.format(folder=folder, **values))
        database = self._beside.config.parent if self._beside else folder
        (folder / "kdc.conf").write_text(_SERVER.format(folder=database, **values))
        environment = self._environment(folder)
        if not self._beside:
            create = [find_program("kdb5_util"), "create", "-s", "-r", self.realm, "-P", "of a test"]
            self._run(create, environment=environment)
        if self._clock:
            environment |= {"LD_PRELOAD": find_faketime(), "FAKETIME": self._clock}
        return [Service("kdc", (find_program("krb5kdc"), "-n"), image="", arguments=(), environment=environment)]

    def _ready(self) -> str | None:
        try:
            socket.create_connection((HOST, self._port), timeout=2).close()
        except OSError:
            return "the KDC to answer"
        return None

    def _started(self) -> None:
        self._before = os.environ.get("KRB5_CONFIG")
        os.environ["KRB5_CONFIG"] = str(self.config)

    def _stopped(self) -> None:
        if self._before is None:
            os.environ.pop("KRB5_CONFIG", None)
        else:
            os.environ["KRB5_CONFIG"] = self._before

    def _admin(self, query: str) -> str:
        return self._run([find_program("kadmin.local"), "-r", self.realm, "-q", query])

    def _run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
        environment = environment or self._environment(self._folder)
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        # kadmin.local ends well even where its query does not.
        failed = done.returncode != 0 or "while" in done.stderr
        if failed:
            raise TestServerError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def find_program(name: str) -> str:
    """The path of one of MIT Kerberos' programs, in the folders of administrators too.

    Raises:
        MissingDependencyError: it is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        raise MissingDependencyError(
            f"A Kerberos realm to test against needs MIT Kerberos, and there is no {name}. Install it (Debian, as "
            "root: scripts/ensure-kerberos, or apt-get install krb5-kdc krb5-admin-server krb5-user)."
        )
    return found


def find_faketime() -> str:
    """The path of the library that gives a program another clock.

    Raises:
        MissingDependencyError: it is not installed.
    """
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        if found := sorted(Path(folder).glob(f"**/faketime/{FAKETIME}")):
            return str(found[0])
    raise MissingDependencyError(
        "A KDC whose clock is off needs libfaketime. Install it (Debian, as root: scripts/ensure-kerberos, or "
        "apt-get install libfaketime)."
    )
