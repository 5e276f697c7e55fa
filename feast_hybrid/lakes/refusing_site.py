"""Which of several sites an error is of, by the hosts that its text names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site

#: What only one lake's clients write.
_ADLS = re.compile(r"\bazurebfs\b|\bazure\.\w|\bOperation failed: \"|\bErrorCode:")
_HDFS = re.compile(r"\borg\.apache\.hadoop\.(?:hdfs|ipc|security)\b|\bCall From \S+ to |\b(?:SASL|GSSAPI|RPC)Error\b")


def site_of(text: str, sites: Sequence[Site]) -> Site | None:
    """The site that an error's text is of; None where that is not known.

    Args:
        text: of all causes, with stack traces where there are.
        sites: those that were read or written. A single one is it, unless the text is of the other lake.
    """
    lakes = [lake for lake, words in ((LakeType.ADLS, _ADLS), (LakeType.HDFS, _HDFS)) if words.search(text)]
    candidates = [site for site in sites if site.lake in (lakes or (LakeType.ADLS, LakeType.HDFS))]
    folded = text.lower()
    # Containers of one account may be signed in to differently.
    by_host = [site for site in candidates if any(host in folded for host in _hosts(site))]
    by_container = [
        site for site in by_host if any(f"{host}/{site.root.container}" in folded for host in _hosts(site))
    ]
    for found in (by_container, by_host, candidates):
        if found and all(site.credential == found[0].credential for site in found):
            return found[0]
    return None


def _hosts(site: Site) -> Iterator[str]:
    """What a text has of a site, in lower case."""
    if site.lake is LakeType.HDFS:
        yield from (server.lower() for server in (site.root.authority, *site.namenodes) if server)
        return
    host = site.root.account_host.lower()
    endpoint = getattr(site.credential, "endpoint", None)
    yield from (host, host.replace(".dfs.", ".blob.", 1), *([f"{endpoint}/{site.root.account}"] if endpoint else ()))
