"""What killed writers have left on a site: listed, and removed on request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from feast_hybrid.doctor.report import Status
from feast_hybrid.errors import HybridError
from feast_hybrid.lakes import Location
from feast_hybrid.lakes.errors import redacted_summary, storage_error
from feast_hybrid.lakes.leftovers import Leftover, find_leftovers, remove_leftovers

if TYPE_CHECKING:
    from feast_hybrid.doctor.checking import Checks
    from feast_hybrid.lakes import Site

_NAME = "leftovers"


def look_for_leftovers(checks: Checks, site: Site, older_than: timedelta) -> list[Leftover]:
    """Note what is left on a site, which lists all of it. Nothing is changed.

    Args:
        checks: where to note.
        site: to look through.
        older_than: what was written later may be a living writer's, and is passed over.

    Returns:
        What was found.
    """
    folder = Location(site, site.root)
    checks.begin(_NAME)
    try:
        found = find_leftovers(folder, older_than=older_than)
    except Exception as error:
        refused = storage_error(error, what="doctor", where=folder.describe(), sites=[site])
        checks.fail(str(error if isinstance(error, HybridError) else refused or redacted_summary(error)))
        return []
    hours = older_than / timedelta(hours=1)
    if not found:
        checks.ok(f"nothing is left of writers in {folder} that is older than {hours:g} hours")
    for leftover in found:
        advice = "feast-hybrid doctor --clean removes it." if leftover.can_be_removed else ""
        checks.add(Status.WARNING, str(leftover), advice)
    return found


def clean(checks: Checks, found: Sequence[Leftover]) -> None:
    """Remove what was found, where nothing is lost with it, and note each."""
    checks.begin(_NAME)
    stayed = {str(leftover.location): reason for leftover, reason in remove_leftovers(found)}
    for leftover in found:
        place = str(leftover.location)
        if not leftover.can_be_removed:
            checks.add(Status.NOT_TRIED, f"{place} stays: {leftover.what}", name=_NAME)
        elif place in stayed:
            checks.add(Status.FAILED, f"{place} could not be removed: {stayed[place]}", name=_NAME)
        else:
            checks.add(Status.OK, f"{place} was removed", name=_NAME)
