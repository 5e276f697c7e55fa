"""What Feast's registry holds of sources, saved datasets and logging destinations beyond its own fields, in JSON.

An entry is text that anybody may have written: another version of this package, or none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from feast_hybrid.errors import SourceError

#: The keys whose values are maps of text to text; those of all others are text.
_MAPS = frozenset({"options"})


def write_entry(values: Mapping[str, Any]) -> str:
    """The text of an entry: the same for the same values; empty ones are left out."""
    return json.dumps({key: value for key, value in values.items() if value}, sort_keys=True, ensure_ascii=False)


def parse_entry(entry: bytes | str, *, keys: Collection[str], what: str, class_name: str) -> dict[str, Any]:
    """Read an entry of the registry, and check that it is what :func:`write_entry` writes.

    Args:
        entry: JSON, in UTF-8 where it is bytes.
        keys: those that an entry of this class can have.
        what: how an error names the entry, such as ``source 'weather'``.
        class_name: the class that should have written it.

    Returns:
        The values that are there: text, and a map of text to text for ``options``.

    Raises:
        SourceError: it is no JSON of that class, it has keys of a newer version, or a value has another type. The
            message repeats no value.
    """
    values = _parse_json(entry)
    if not isinstance(values, dict):
        raise SourceError(f"{what}: its entry in the registry is not a {class_name}'s JSON.")
    if not values.keys() <= set(keys):
        raise SourceError(f"{what}: its entry in the registry was written by a newer feast-hybrid; upgrade this one.")
    for key, value in values.items():
        expected = "a map of text to text" if key in _MAPS else "text"
        if not (_is_map_of_text(value) if key in _MAPS else _is_text(value)):
            raise SourceError(
                f"{what}: its entry in the registry has {key!r} of type {type(value).__name__}, not {expected}; "
                "define it again and run feast apply."
            )
    return values


def _parse_json(entry: bytes | str) -> Any:
    """The value of a JSON text; None where it is no JSON, or is nested more deeply than Python can follow."""
    try:
        return json.loads(entry.decode() if isinstance(entry, bytes) else entry)
    except (ValueError, RecursionError):
        return None


def _is_text(value: object) -> bool:
    """Whether it is text that can be written down: JSON can name half a character."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_map_of_text(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(key) and _is_text(text) for key, text in value.items())
