"""Keytabs and ticket caches, written field by field as MIT's documents have them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_keytab(file: Path, *principals: str, removed: int = 0) -> Path:
    """A keytab with a key of each principal, after the hole of a removed one of so many bytes."""
    data = b"\x05\x02"
    if removed:
        data += struct.pack(">i", -removed) + bytes(removed)
    for principal in principals:
        name, _, realm = principal.partition("@")
        entry = struct.pack(">H", len(name.split("/"))) + _counted(realm, ">H")
        entry += b"".join(_counted(part, ">H") for part in name.split("/"))
        entry += struct.pack(">IIBH", 1, 1_700_000_000, 3, 18) + _counted("k" * 32, ">H")
        data += struct.pack(">i", len(entry)) + entry
    file.write_bytes(data)
    return file


def write_tickets(file: Path, principal: str, **expires: float) -> Path:
    """A ticket cache with a ticket for each service named, such as ``krbtgt``, and when each expires."""
    realm = principal.partition("@")[2]
    data = struct.pack(">HH", 0x0504, 12) + struct.pack(">HHii", 1, 8, 0, 0) + _principal(principal)
    for service, end in expires.items():
        data += _principal(principal) + _principal(f"{service}/{realm}@{realm}")
        data += struct.pack(">H", 18) + _counted("s" * 32, ">I")
        data += struct.pack(">IIIIBI", 1, 1, int(end), 0, 0, 0)
        data += struct.pack(">I", 1) + struct.pack(">H", 2) + _counted("addr", ">I")
        data += struct.pack(">I", 0) + _counted("ticket", ">I") + _counted("", ">I")
    file.write_bytes(data)
    return file


def _principal(principal: str) -> bytes:
    name, _, realm = principal.partition("@")
    parts = name.split("/")
    return (
        struct.pack(">II", 1, len(parts)) + _counted(realm, ">I") + b"".join(_counted(part, ">I") for part in parts)
    )


def _counted(text: str, form: str) -> bytes:
    return struct.pack(form, len(text.encode())) + text.encode()
