"""What the statistics of an ORC file say of its columns: what only Spark reads right, and which values there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import DAY_MICROS

if TYPE_CHECKING:
    from feast_hybrid.arrow.orc_footer import OrcFooter, Stripe

#: The first and the last millisecond since 1970, in UTC, that Arrow's reader of ORC can hold, as nanoseconds.
_FIRST_MS, _LAST_MS = -(2**63) // 1_000_000 + 1, (2**63 - 1) // 1_000_000 - 1
#: By how much a time may be another in the zone of its writer, which is all that statistics before ORC 1.5 know.
_ZONES_MS = 2 * 86_400_000
#: Statistics of times are in milliseconds, and some writers rounded them to the second before 1970.
_ROUNDING_MICROS = 1_000_000
#: 1582-10-15, before which the calendars differ that Spark and Arrow take a file's days for.
_FIRST_GREGORIAN_DAY = -141_427

#: ORC's kinds of columns.
BYTE, SHORT, INT, LONG, STRING, BINARY, TIMESTAMP = 1, 2, 3, 4, 7, 8, 9
DECIMAL, DATE, VARCHAR, CHAR, INSTANT = 14, 15, 16, 17, 18
WHOLE_NUMBERS = frozenset({BYTE, SHORT, INT, LONG})
TEXTS = frozenset({STRING, VARCHAR})
_TIMES = frozenset({TIMESTAMP, INSTANT})

#: Names of UTC, as writers note the zone of a stripe's times.
_UTC = frozenset({"UTC", "GMT", "Etc/UTC", "Etc/GMT", "Z", "Zulu", "Universal", "Etc/Universal"})

_READERS_ZONE = "GMT"

#: Writers before this one compared text by characters, and may have left out some of it.
_FIRST_WRITER_OF_BYTES = 1

#: Bytes of a value in memory.
_WIDTHS = {0: 1, BYTE: 1, SHORT: 2, INT: 4, LONG: 8, 5: 4, 6: 8, TIMESTAMP: 8, INSTANT: 8, DECIMAL: 16, DATE: 4}
_VARIABLE_WIDTH = 4


def only_sparks(
    footer: OrcFooter, columns: Collection[str], stripes: Sequence[Stripe] | None = None
) -> dict[str, str]:
    """The columns that Arrow's reader would read otherwise than Spark's, without saying so.

    Args:
        footer: of the file.
        columns: of the file, which matter with all that is in them.
        stripes: whose zones are looked at; the last one's by default, whose footer is at hand.

    Returns:
        Column → what it is or holds, in words that go on a sentence about it.
    """
    of_zones = footer.stripes[-1:] if stripes is None else stripes
    found: dict[str, str] = {}
    names = set(footer.types[0].fieldNames)
    for name in columns:
        if footer.is_encrypted:
            found[name] = "is in a file with encrypted columns"
        elif any(name.startswith(f"{other}.") for other in names):
            found[name] = "has a name that may be that of a part of another column"
        else:
            reasons = (_only_sparks(footer, number, of_zones) for number in footer.numbers(name))
            reason = next(filter(None, reasons), None)
            if reason is not None:
                found[name] = reason
    return found


def as_instants(footer: OrcFooter) -> tuple[frozenset[str], int, bytes] | None:
    """A file's end that says of its times that they are instants, so that no zone is looked up for each of them.

    What it stands for is the same where the writer's zone is UTC: see :func:`only_sparks` for others. ORC's reader
    takes UTC for another zone than its own, which it calls GMT, and takes twice as long.

    Returns:
        The columns whose kind is another then, where the end begins, and what stands there; None where there are no
        such columns, or where the writer calls its zone as the reader does.
    """
    root = footer.types[0]
    kinds = {
        number: name
        for name, number in zip(root.fieldNames, root.subtypes, strict=True)
        if footer.types[number].kind == TIMESTAMP
    }
    if not kinds or not footer.stripes or footer.zone(footer.stripes[-1]) == _READERS_ZONE:
        return None
    return frozenset(kinds.values()), *footer.with_kinds(dict.fromkeys(kinds, INSTANT))


def _only_sparks(footer: OrcFooter, number: int, stripes: Sequence[Stripe]) -> str | None:
    column = footer.types[number]
    if column.kind == CHAR:
        return "is char, of whose blanks only Spark knows which count"
    if column.kind == DECIMAL and not column.precision:
        return "is a decimal without a precision"
    if column.kind not in _TIMES and column.kind != DATE:
        return None
    statistics = footer.statistics[number] if number < len(footer.statistics) else None
    if statistics is not None and statistics.HasField("numberOfValues") and not statistics.numberOfValues:
        return None
    if column.kind == DATE:
        dates = None if statistics is None else statistics.dateStatistics
        if dates is None or not dates.HasField("minimum"):
            return "has no statistics of its dates"
        return "holds dates before 1582-10-15" if dates.minimum < _FIRST_GREGORIAN_DAY else None
    first, last = (None, None) if statistics is None else _span(statistics.timestampStatistics)
    if first is None or last is None:
        return "has no statistics of its times"
    if first < _FIRST_MS or last > _LAST_MS:
        return "holds times before 1677-09-21 or after 2262-04-11"
    if column.kind == TIMESTAMP:
        zones = {footer.zone(stripe) for stripe in stripes} - _UTC
        if zones:
            return f"holds times of a writer in the zone {min(zones) or 'that it had'}, and not in UTC"
    return None


def _span(times: Any) -> tuple[int | None, int | None]:
    """No later than the first time, and no earlier than the last one, in milliseconds since 1970."""
    first = last = None
    if times.HasField("minimumUtc"):
        first = times.minimumUtc
    elif times.HasField("minimum"):
        first = times.minimum - _ZONES_MS
    if times.HasField("maximumUtc"):
        last = times.maximumUtc
    elif times.HasField("maximum"):
        last = times.maximum + _ZONES_MS
    return first, last


def time_range(column: Any, statistics: Any) -> tuple[int, int] | None:
    """No later than the first time of a column and no earlier than the last, in microseconds; None if not known.

    Args:
        column: its type in the footer.
        statistics: of some of its rows.
    """
    if column.kind == DATE:
        dates = statistics.dateStatistics
        if dates.HasField("minimum") and dates.HasField("maximum"):
            return dates.minimum * DAY_MICROS, dates.maximum * DAY_MICROS
        return None
    times = statistics.timestampStatistics
    # Without these two, the zone in which the others count is not known.
    if column.kind not in _TIMES or not (times.HasField("minimumUtc") and times.HasField("maximumUtc")):
        return None
    return times.minimumUtc * 1000 - _ROUNDING_MICROS, (times.maximumUtc + 1) * 1000 + _ROUNDING_MICROS


def number_range(statistics: Any) -> tuple[int, int] | None:
    """The least and the greatest of some whole numbers; None if not known."""
    found = statistics.intStatistics
    if found.HasField("minimum") and found.HasField("maximum"):
        return found.minimum, found.maximum
    return None


def text_range(footer: OrcFooter, statistics: Any) -> tuple[bytes, bytes] | None:
    """No greater than the least of some texts, and no less than the greatest, by their bytes; None if not known."""
    found = statistics.stringStatistics
    low = next((getattr(found, name) for name in ("minimum", "lowerBound") if found.HasField(name)), None)
    high = next((getattr(found, name) for name in ("maximum", "upperBound") if found.HasField(name)), None)
    if low is None or high is None or footer.writer_version < _FIRST_WRITER_OF_BYTES:
        return None
    return low, high


def memory_bytes(footer: OrcFooter, columns: Collection[str]) -> int:
    """About how many bytes the values of some columns take in memory, those of all stripes."""
    return sum(_bytes_of(footer, number) for name in columns for number in footer.numbers(name))


def _bytes_of(footer: OrcFooter, number: int) -> int:
    statistics: Any = footer.statistics[number] if number < len(footer.statistics) else None
    has_values = statistics is not None and statistics.HasField("numberOfValues")
    values = max(statistics.numberOfValues, 0) if has_values else footer.rows
    kind = footer.types[number].kind
    texts = 0
    if statistics is not None and kind in (STRING, VARCHAR, CHAR):
        texts = max(statistics.stringStatistics.sum, 0)
    elif statistics is not None and kind == BINARY:
        texts = max(statistics.binaryStatistics.sum, 0)
    return int(values) * _WIDTHS.get(kind, _VARIABLE_WIDTH) + texts


def stripe_bytes(footer: OrcFooter, columns: Collection[str], stripe: Stripe) -> tuple[int, int]:
    """How many bytes of a stripe some columns are, and how many all are."""
    numbers = {number for name in columns for number in footer.numbers(name)}
    lengths = [(stream.column in numbers, stream.length) for stream in footer.streams(stripe)]
    return sum(length for is_wanted, length in lengths if is_wanted), sum(length for _, length in lengths)


def data_ranges(footer: OrcFooter, columns: Collection[str], stripe: Stripe) -> Iterator[tuple[int, int]]:
    """The first byte, and that after the last one, of what is read for some columns of a stripe."""
    numbers = {0, *(number for name in columns for number in footer.numbers(name))}
    data = stripe.offset + stripe.index_bytes
    for stream in footer.streams(stripe):
        if stream.column in numbers and stream.length and stream.start >= data:
            yield stream.start, stream.start + stream.length
    yield stripe.footer, stripe.end
