"""Paths with glob signs, expanded as Hadoop does it and so Spark: ``*``, ``?``, ``[a-c]``, ``[^a]`` and ``{a,b}``.

A sign stands for characters of one name; none matches a slash. A backslash before a sign makes it a plain character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import SourceError

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: The characters that make a path a pattern to Spark.
SIGNS = frozenset("{}[]*?\\")

#: Stands for a star until a pattern is put together.
_ANY = "\0"
#: For how many patterns one with braces may stand; each is looked for.
MOST_PATTERNS = 1000

_BRACES = re.compile(r"(?<!\\)\{([^{}]*)\}")


def expand(location: Location) -> list[str]:
    """The path of a location itself, or the paths of what is there that match it.

    Raises:
        FileNotFoundError: it is a pattern and nothing matches it.
        SourceError: it is no pattern that Hadoop takes.
    """
    path = location.path
    if not SIGNS & set(path):
        return [path]
    found = sorted({match for pattern in without_braces(path) for match in _matches(location.fs, pattern)})
    if not found:
        raise FileNotFoundError(path)
    return found


def escape(path: str) -> str:
    """The pattern that stands for a path alone."""
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", path)


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches a pattern.

    Raises:
        SourceError: it is no pattern that Hadoop takes.
    """
    found = [re.compile(_regex(each, pattern), re.DOTALL) for each in without_braces(pattern)]
    return lambda name: any(regex.fullmatch(name) for regex in found)


def without_braces(pattern: str) -> Iterator[str]:
    """The patterns that ``{a,b}`` stands for, the innermost taken apart first.

    Raises:
        SourceError: it stands for more than :data:`MOST_PATTERNS`.
    """
    for count, each in enumerate(_alternatives(pattern), 1):
        if count > MOST_PATTERNS:
            raise SourceError(f"{pattern} stands for more than {MOST_PATTERNS:,} patterns: write fewer braces.")
        yield each


def _alternatives(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    for alternative in match[1].split(","):
        yield from _alternatives(pattern[: match.start()] + alternative + pattern[match.end() :])


def _matches(filesystem: Any, pattern: str) -> Iterator[str]:
    """The paths that match a pattern without braces."""
    is_absolute = pattern.startswith("/")
    found = [""]
    has_been_listed = True
    for segment in pattern.strip("/").split("/"):
        if SIGNS & set(segment):
            regex = re.compile(_regex(segment, pattern), re.DOTALL)
            found = [
                f"{folder}/{name}" if folder or is_absolute else name
                for folder in found
                for name in _names(filesystem, folder or "/")
                if regex.fullmatch(name)
            ]
            has_been_listed = True
        else:
            found = [f"{folder}/{segment}" if folder or is_absolute else segment for folder in found]
            has_been_listed = False
    yield from (path for path in found if has_been_listed or filesystem.exists(path))


def _names(filesystem: Any, folder: str) -> list[str]:
    """The names of what a folder holds; none where it is a file or nothing."""
    try:
        entries = filesystem.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [str(entry["name"]).rstrip("/") for entry in entries]
    below = folder.strip("/") + "/" if folder.strip("/") else ""
    return [path.rpartition("/")[2] for path in paths if path.lstrip("/").startswith(below)]


def _regex(segment: str, pattern: str) -> str:
    """The regular expression for a name, of a pattern's segment."""
    parts: list[str] = []
    place = 0
    while place < len(segment):
        sign = segment[place]
        if sign == "\\":
            if place + 1 == len(segment):
                raise SourceError(f"{pattern} is no pattern: nothing follows the last backslash of {segment!r}.")
            parts.append(re.escape(segment[place + 1]))
            place += 2
        elif sign == "[":
            characters = re.compile(r"\[([!^]?)(\]?[^\]]*)\]").match(segment, place)
            if characters is None or not characters[2]:
                raise SourceError(f"{pattern} is no pattern: a [ of {segment!r} is not closed.")
            inner = re.sub(r"([\[&~|])", r"\\\1", characters[2])
            parts.append(f"[{'^' if characters[1] else ''}{inner}]")
            place = characters.end()
        else:
            parts.append({"*": _ANY, "?": "."}.get(sign) or re.escape(sign))
            place += 1
    # The first place where the characters after a star are found will do, unless no star follows: no going back.
    head, *tails = "".join(parts).split(_ANY)
    tails = [tail for n, tail in enumerate(tails) if tail or n == len(tails) - 1]
    return head + "".join(f"(?>.*?{tail})" for tail in tails[:-1]) + "".join(f".*{tail}" for tail in tails[-1:])
