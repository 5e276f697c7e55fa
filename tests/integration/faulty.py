"""An ADLS behind a proxy that does to requests what networks and busy services do: shared by the tests of writers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from feast_hybrid.errors import CommitUnknownError, HybridError, ReplacementError
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.testing import AdlsLake, Fault, FaultProxy
from tests.integration.places import Place

#: Of what happens by chance; ``make test-faults`` sets more of them.
SEEDS = range(int(os.environ.get("FEAST_HYBRID_FAULT_ROUNDS", "1")))
#: Tests that only ``make test-faults`` has the time for.
MINUTES = pytest.mark.skipif(len(SEEDS) < 2, reason="minutes: make test-faults")
#: For modules that are about no lake: each of their tests is run on one, in turns, and on the other on Spark Connect
#: where it is run there too. ``make test-faults`` runs them on both.
LAKES_IN_TURNS = pytest.mark.lakes_in_turns

WRITES = "PUT|DELETE"
STORM = (
    Fault("lose", WRITES, probability=0.06),
    Fault("lose", "GET|HEAD", probability=0.03),
    Fault("reset", probability=0.04),
    Fault("answer", status=503, probability=0.04),
    Fault("answer", status=500, probability=0.03),
    Fault("answer", status=429, retry_after=1, probability=0.005),
    Fault("cut", "GET", probability=0.03),
    Fault("delay", probability=0.03, seconds=0.3),
)

#: Pauses of fractions of seconds, for Spark's driver and without a JVM.
OPTIONS = {
    "fs.azure.io.retry.max.retries": "6",
    "fs.azure.io.retry.min.backoff.interval": "50",
    "fs.azure.io.retry.backoff.interval": "50",
    "fs.azure.io.retry.max.backoff.interval": "300",
}


class Lake(NamedTuple):
    """An ADLS, reached through a proxy by those who are tested, and directly by the tests."""

    place: Place
    proxy: FaultProxy

    def site(self, **options: str) -> dict[str, Any]:
        site = self.place.site()
        credential = {**site["credential"], "endpoint": self.proxy.endpoint}
        return {**site, "credential": credential, "options": {**OPTIONS, **options}}

    def located(self, uri: str, **options: str) -> Location:
        return located(self.site(**options), uri)


def located(site: dict[str, Any], uri: str) -> Location:
    return Router([Site.model_validate(site)]).locate(uri)


@contextmanager
def faulty_lake() -> Iterator[Lake]:
    """A new account: what has been opened without the proxy is not this."""
    with AdlsLake() as adls, FaultProxy(adls.endpoint) as proxy:
        yield Lake(Place("cloud", adls), proxy)


def ended(work: Callable[[], object]) -> str:
    """How a verb ended: ``ok``, ``unknown`` where it says that it does not know, or ``refused``."""
    try:
        work()
    except (CommitUnknownError, ReplacementError):
        return "unknown"
    except HybridError:
        return "refused"
    return "ok"
