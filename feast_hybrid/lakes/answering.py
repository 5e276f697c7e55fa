"""Which of several NameNodes is asked first in this process: one after whose turn another said nothing.

Spark opens file systems again and again, each of which would wait anew for a NameNode that is held still.
"""

from __future__ import annotations

from collections.abc import Sequence

_first: dict[str, str] = {}


def note_first(nameservice: str, namenode: str) -> None:
    """Have a NameNode be asked first from now on."""
    _first[nameservice] = namenode


def in_order(nameservice: str, namenodes: Sequence[str]) -> list[str]:
    """The NameNodes, the one first that is to be asked first."""
    start = namenodes.index(_first[nameservice]) if _first.get(nameservice) in namenodes else 0
    return [*namenodes[start:], *namenodes[:start]]
