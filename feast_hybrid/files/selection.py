"""Which files below a path are a source's: options of Spark's readers that say so, followed in our own listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.errors import HybridError, SourceError
from feast_hybrid.files.globs import SIGNS, name_matcher
from feast_hybrid.lakes.uri import parse_uri
from feast_hybrid.lakes.versions import modified

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: Spark's options that say which files are read, in lower case.
SELECTING_OPTIONS = frozenset(
    {"pathglobfilter", "recursivefilelookup", "basepath", "modifiedafter", "modifiedbefore"}
)


@dataclass(frozen=True)
class FileSelection:
    """Which of the files at a location count, and from where on folders are partitions.

    Attributes:
        name_pattern: a pattern as in Hadoop that the names of files match (``pathGlobFilter``).
        is_recursive: whether files in any folder count, and no folder is a partition (``recursiveFileLookup``).
        base: the folder, as the file system has it, below which folders are partitions (``basePath``); by default
            the location itself.
        after: only files that were written later count (``modifiedAfter``).
        before: and earlier (``modifiedBefore``).
    """

    name_pattern: str | None = None
    is_recursive: bool = False
    base: str | None = None
    after: datetime | None = None
    before: datetime | None = None

    @classmethod
    def of(cls, options: Mapping[str, str], location: Location) -> FileSelection:
        """What a source's options say.

        Raises:
            SourceError: a value is none that Spark takes.
        """
        given = {name.lower(): value for name, value in options.items()}
        zone = given.get("timezone", "UTC")
        return cls(
            name_pattern=given.get("pathglobfilter"),
            is_recursive=option_is_true("recursiveFileLookup", given.get("recursivefilelookup", "false")),
            base=_base(given["basepath"], location) if "basepath" in given else None,
            after=_time("modifiedAfter", given.get("modifiedafter"), zone),
            before=_time("modifiedBefore", given.get("modifiedbefore"), zone),
        )

    def to_spark(self, options: Mapping[str, str]) -> dict[str, str]:
        """Those of a source's options that this was made of, so that Spark's reader takes them alike."""
        chosen = {name: value for name, value in options.items() if name.lower() in SELECTING_OPTIONS}
        times = {"modifiedafter": self.after, "modifiedbefore": self.before}
        # Its readers get times in UTC: those in another zone it compares with files' times in that zone.
        return {
            name: time.strftime("%Y-%m-%dT%H:%M:%S.%f") if (time := times.get(name.lower())) else value
            for name, value in chosen.items()
        }

    def file_filter(self) -> Callable[[str, Mapping[str, Any]], bool]:
        """Whether a file counts, by its name and what the file system says of it.

        Raises:
            SourceError: the pattern is none; or, when called, the file system does not say when a file was written.
        """
        matches = name_matcher(self.name_pattern) if self.name_pattern is not None else None

        def counts(name: str, entry: Mapping[str, Any]) -> bool:
            if matches is not None and not matches(name):
                return False
            if self.after is None and self.before is None:
                return True
            time = modified(entry)
            if time is None:
                raise SourceError(
                    f"{entry['name']} comes without the time at which it was written, by which modifiedAfter and "
                    "modifiedBefore choose: leave these options out."
                )
            return (self.after is None or time > self.after) and (self.before is None or time < self.before)

        return counts


def option_is_true(name: str, value: str) -> bool:
    """What an option says that is true or false.

    Raises:
        SourceError: the value is neither.
    """
    if value.lower() not in ("true", "false"):
        raise SourceError(f"option {name!r} is {value!r}; it takes 'true' or 'false'.")
    return value.lower() == "true"


def _base(uri: str, location: Location) -> str:
    try:
        base = parse_uri(uri, what="option 'basePath'")
    except HybridError as error:
        raise SourceError(str(error)) from None
    if SIGNS & set(base.path) or not location.uri.is_under(base):
        raise SourceError(f"option 'basePath' is {uri!r}, which is no folder above {location}.")
    return location.site.fsspec_path(base).rstrip("/")


def _time(name: str, text: str | None, zone: str) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        return time.astimezone(UTC) if time.tzinfo else as_utc(time.replace(tzinfo=ZoneInfo(zone)))
    except (ValueError, OverflowError, OSError, KeyError):
        in_zone = "" if zone == "UTC" else f" in the zone {zone!r}"
        raise SourceError(
            f"option {name!r} is {text!r}{in_zone}; it takes a time such as 2026-01-10T09:30:00."
        ) from None
