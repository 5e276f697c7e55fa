"""Whether a site's servers can be reached: names, ports, TLS, and whose clock is right."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from feast_hybrid.doctor.checking import Checks, GaveUpError
from feast_hybrid.doctor.report import Status
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.credentials import Emulator, ServicePrincipal, WorkloadIdentity

if TYPE_CHECKING:
    from feast_hybrid.lakes import Site

#: Seconds for a connection, and for an answer.
CONNECT_SECONDS = 5.0
#: Where a NameNode listens unless something else is said.
NAMENODE_PORT = 8020
#: By how many seconds a clock may be off: Kerberos and Entra take five minutes, a shared key fifteen.
CLOCK_WARNING_SECONDS, CLOCK_LIMIT_SECONDS = 60, 300
#: A certificate that ends so soon is warned of.
_DAYS_OF_WARNING = 14


@dataclass(frozen=True)
class Server:
    """A server that a site is reached by.

    Attributes:
        host: a name or an address.
        port: of TCP.
        secure: whether it speaks TLS.
        speaks_http: whether it tells the time in its answers.
    """

    host: str
    port: int
    secure: bool = False
    speaks_http: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def servers_of(site: Site) -> list[Server]:
    """The servers by which a site is reached; none where only Hadoop's own files say them."""
    if site.lake is LakeType.ADLS:
        return _servers_of_account(site)
    if site.lake is LakeType.LOCAL:
        return []
    addresses = site.namenodes or [site.root.authority]
    split = [address.partition(":") for address in addresses]
    if site.root.scheme == "viewfs" or (not site.namenodes and _is_nameservice(site.root.authority)):
        return []
    return [Server(host, int(port) if port else NAMENODE_PORT) for host, _, port in split]


def _servers_of_account(site: Site) -> list[Server]:
    credential = site.credential
    if isinstance(credential, Emulator):
        host, _, port = credential.endpoint.partition(":")
        return [Server(host, int(port), speaks_http=True)]
    dfs = site.root.account_host
    # Spark speaks to the first, what needs no Spark to the second.
    hosts = [dfs, dfs.replace(".dfs.", ".blob.", 1)]
    if isinstance(credential, (ServicePrincipal, WorkloadIdentity)):
        hosts.append(credential.authority.removeprefix("https://"))
    return [Server(host, 443, secure=True, speaks_http=True) for host in hosts]


def _is_nameservice(authority: str) -> bool:
    """Whether Hadoop's own files explain an authority."""
    folder = os.environ.get("HADOOP_CONF_DIR")
    if ":" in authority or folder is None:
        return False
    try:
        text = (Path(folder) / "hdfs-site.xml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(rf"<name>\s*dfs\.ha\.namenodes\.{re.escape(authority)}\s*</name>", text) is not None


def look_at_network(checks: Checks, site: Site) -> None:
    """Note whether a site's servers are found, answer, and agree on the time.

    Raises:
        GaveUpError: the site cannot be reached.
    """
    servers = servers_of(site)
    if not servers:
        checks.skip(
            ("name", "port"), "a local disk" if site.lake is LakeType.LOCAL else "Hadoop's files name the servers"
        )
        return
    servers = _through_proxy(checks, servers)
    named = _each(checks, "name", servers, _found_name, _advice_for_names(site), needs_all=_needs_all(site))
    reached = _each(checks, "port", named, _connected, _advice_for_ports(site), needs_all=_needs_all(site))
    secure = [server for server in reached if server.secure]
    if secure:
        _each(checks, "TLS", secure, _certificate, _TLS_ADVICE, needs_all=True)
    if clocks := [server for server in reached if server.speaks_http]:
        _clock(checks, clocks[0])


_TLS_ADVICE = (
    "If this network inspects TLS, its own certificate authority must be known: SSL_CERT_FILE for Python, a "
    "truststore (-Djavax.net.ssl.trustStore) for Spark."
)


def _needs_all(site: Site) -> bool:
    """Whether each server is needed: of NameNodes one is enough."""
    return site.lake is LakeType.ADLS


def _advice_for_names(site: Site) -> str:
    if site.lake is LakeType.ADLS:
        return "Check the account's name in the site's uri, and this machine's DNS (private endpoints have a zone)."
    if not site.namenodes and ":" not in site.root.authority:
        return (
            f"If {site.root.authority} is a nameservice, list its servers in the site's namenodes, or set "
            "HADOOP_CONF_DIR to the folder of its hdfs-site.xml."
        )
    return "Check the site's namenodes or uri, and this machine's DNS."


def _advice_for_ports(site: Site) -> str:
    if site.lake is LakeType.ADLS:
        return "Check that the account is there and its firewall and this network's let this machine through."
    return "Check that the NameNode runs and listens there (dfs.namenode.rpc-address), and firewalls between."


def _through_proxy(checks: Checks, servers: list[Server]) -> list[Server]:
    """The proxies that stand before servers of HTTP, in their place."""
    proxies = urllib.request.getproxies()
    found: list[Server] = []
    for server in servers:
        proxy = proxies.get("https" if server.secure else "http") if server.speaks_http else None
        if proxy is None or urllib.request.proxy_bypass(server.host):
            found.append(server)
            continue
        # A password may hold any sign, unescaped too: what is before the last @ is never looked at.
        address = re.match(r"(?:\w+://)?(\[[^\]]*\]|[^:/]+):?(\d*)", proxy.rpartition("@")[2])
        if address is None:
            continue
        behind = Server(address[1], int(address[2] or 80))
        checks.add(
            Status.WARNING,
            f"{server.host} is reached by the proxy {behind}, as the environment says; Spark's JVM goes by its own "
            "settings (-Dhttps.proxyHost) alone",
            name="proxy",
        )
        found.append(behind)
    return list(dict.fromkeys(found))


def _each(
    checks: Checks, name: str, servers: list[Server], look: Callable[[Server], str], advice: str, *, needs_all: bool
) -> list[Server]:
    """Look at each server; those that are well."""
    checks.begin(name)
    well, texts, faults = [], [], []
    for server in servers:
        try:
            texts.append(look(server))
            well.append(server)
        except OSError as error:
            faults.append(f"{server}: {error.strerror or error}")
    if not faults:
        checks.ok(", ".join(texts))
    elif well and not needs_all:
        checks.add(Status.WARNING, ", ".join([*faults, *texts]), advice)
    else:
        checks.fail(", ".join([*faults, *texts]), advice)
        raise GaveUpError(name)
    return well


def _found_name(server: Server) -> str:
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)}
    return f"{server.host} is {', '.join(sorted(found))}" if found != {server.host} else server.host


def _connected(server: Server) -> str:
    began = time.monotonic()
    socket.create_connection((server.host, server.port), timeout=CONNECT_SECONDS).close()
    return f"{server} in {(time.monotonic() - began) * 1000:.0f} ms"


def _certificate(server: Server) -> str:
    """Speak TLS as Python's clients do."""
    context = ssl.create_default_context()
    with (
        socket.create_connection((server.host, server.port), timeout=CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=server.host) as secure,
    ):
        certificate = secure.getpeercert() or {}
        days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86_400
        soon = f", whose certificate ends in {days:.0f} days" if days < _DAYS_OF_WARNING else ""
        return f"{secure.version()} with {server.host}{soon}"


def _clock(checks: Checks, server: Server) -> None:
    checks.begin("clock")
    connect = http.client.HTTPSConnection if server.secure else http.client.HTTPConnection
    connection = connect(server.host, server.port, timeout=CONNECT_SECONDS)
    try:
        connection.request("HEAD", "/")
        dated = connection.getresponse().getheader("Date")
        now = time.time()
    except (OSError, http.client.HTTPException) as error:
        checks.add(Status.WARNING, f"{server} does not tell the time: {error}")
        return
    finally:
        connection.close()
    if dated is None:
        checks.skip(["clock"], f"{server} does not tell the time")
        return
    note_clock(checks, now - parsedate_to_datetime(dated).timestamp(), f"{server.host}'s")


def note_clock(checks: Checks, seconds: float, whose: str) -> None:
    """Note by how much this machine's clock is ahead of another one."""
    off = f"this machine's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {whose}"
    if abs(seconds) < CLOCK_WARNING_SECONDS:
        checks.ok(f"within {max(abs(seconds), 1):.0f} s of {whose}")
    elif abs(seconds) < CLOCK_LIMIT_SECONDS:
        checks.add(Status.WARNING, off, "Have this machine's clock kept by NTP.")
    else:
        checks.fail(off, "Have this machine's clock kept by NTP: sign-ins are refused where clocks differ.")
