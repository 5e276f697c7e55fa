"""The tables of a run, in Markdown, and the plot of time against the size of the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import FLOOR, WARM, WARM_WITHOUT_JVM
from benchmarks.session import SETTINGS, THREADS
from benchmarks.shapes import shapes
from benchmarks.targets import LOCAL_TARGETS, TARGETS, Target, bytes_ratio, fastest_peer, over_feast

if TYPE_CHECKING:
    from benchmarks.results import Outcome, Result

TITLES = {
    "ours": "ours",
    "local": "ours (local)",
    "ours-path": "ours, on Parquet paths",
    "ours-columnar": "ours, columnar",
    "ours-window": "ours, window",
    "chain": "ASOF chain",
    "feast": "Feast's Spark store",
    "tempo": "dbl-tempo",
    "duckdb": "DuckDB",
}
#: What is measured beside the shapes.
ASIDE = ("apply", "cold")
#: The shapes that differ in nothing but the length of the history.
GROWING = ("dense", "twice", "four", "large")
PLOT = "benchmarks.svg"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned so that it reads in a terminal too."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def in_order(results: Mapping[str, Result]) -> list[Result]:
    """As the shapes are listed."""
    return [results[name] for name in shapes() if name in results]


def _contenders(results: Iterable[Result]) -> list[str]:
    found = {name for result in results for name in result.outcomes}
    return [*(name for name in TITLES if name in found), *sorted(found - set(TITLES))]


def _cell(result: Result, name: str) -> str:
    outcome = result.outcomes.get(name)
    if outcome is None:
        return ""
    text = _time(outcome)
    ratio = result.ratio(name)
    if name != "ours" and ratio is not None:
        text += f" ({'<' if outcome.limit else ''}{number(ratio)})"
    return text + (" ≠" if outcome.differs else "")


def _time(outcome: Outcome) -> str:
    if outcome.failed:
        return "failed"
    if outcome.limit:
        return f"> {outcome.limit:.0f}"
    return number(outcome.median) if outcome.median is not None else ""


def number(value: float) -> str:
    """Two digits that count, or three: 0.071, 1.4, 33.6, 120."""
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:.{digits}f}"


def seconds_table(results: Mapping[str, Result]) -> str:
    """A line for each shape: the seconds of each contender, and what part of them ours takes."""
    ordered = in_order(results)
    names = _contenders(ordered)
    rows = []
    for result in ordered:
        peer, seconds = fastest_peer(result), result.median("ours")
        against = number(seconds / peer) if peer and seconds else ""
        rows.append([result.shape, *(_cell(result, name) for name in names), against])
    return table(["shape", *(TITLES.get(name, name) for name in names), "ours ÷ fastest Spark peer"], rows)


def targets_table(results: Mapping[str, Result], targets: Iterable[Target] = TARGETS) -> str:
    """A line for each target that could be measured; nothing where none could."""
    rows = []
    for target in targets:
        value = target.value(results)
        if value is not None:
            rows.append(
                [target.text, f"≤ {target.bound:g}", number(value), "yes" if target.met(results) else "**no**"]
            )
    return table(["target", "wanted", "found", "met"], rows) if rows else ""


def remarks(results: Mapping[str, Result]) -> list[str]:
    """What failed or differed, in words."""
    found = []
    for result in results.values():
        for name, outcome in result.outcomes.items():
            label = f"{result.shape}, {TITLES.get(name, name)}"
            if outcome.failed:
                found.append(f"- {label} failed: {outcome.failed}")
            if outcome.differs:
                more = f", and {len(outcome.differs) - 1} more" if len(outcome.differs) > 1 else ""
                found.append(f"- {label}: another answer: {outcome.differs[0]}{more}")
            if outcome.spilled:
                found.append(f"- {label}: spilled {outcome.spilled / 2**20:,.0f} MiB in all its runs")
    return found


def _far(result: Result) -> str:
    rows = []
    for name, outcome in result.outcomes.items():
        for lake, needed in result.needed.items():
            ratio = bytes_ratio(result, lake, name)
            if ratio is not None:
                most = max(read[lake] for read in outcome.bytes_read)
                rows.append(
                    [TITLES.get(name, name), lake, f"{needed / 1e6:,.1f}", f"{most / 1e6:,.1f}", number(ratio)]
                )
    return table(["contender", "lake", "MB needed", "MB read, at the server", "ratio"], rows)


def report(results: Mapping[str, Result], scale: float, plot: str | None) -> str:
    """The whole of it."""
    ordered = in_order(results)
    parts = [
        "# Benchmarks",
        "Written by `make bench`. Seconds are medians; in brackets, ours as a multiple of that contender.",
    ]
    if scale != 1:
        parts.append(f"**At {scale:g} of the size.** Only the full size counts.")
    parts += [seconds_table(results), "`> n` was stopped after n seconds; `≠` gave another answer (below)."]
    for title, targets in (("Targets", TARGETS), ("Targets of the local engine", LOCAL_TARGETS)):
        if found := targets_table(results, targets):
            parts += [f"## {title}", found]
    if plot:
        parts += ["## Time and the size of the history", f"![seconds against rows of history]({plot})"]
    if "far" in results and results["far"].needed:
        parts += ["## Bytes from the lakes", _far(results["far"])]
        parts.append(
            "Counted by the DataNode (0.8 % are checksums) and at Azurite (answers to reads, with headers).\n"
            "Needed are the column chunks of key, times and what is asked for, in the row groups that matter; no "
            "footers."
        )
    if "apply" in results:
        environment = results["apply"].environment
        parts += ["## feast apply of 50 views", _apply(results["apply"]), environment.get("where the time goes", "")]
    if "cold" in results:
        parts += ["## A new process", _cold(results["cold"])]
    left = [name for name in [*shapes(scale), *ASIDE] if name not in results]
    if left:
        parts.append(f"Not measured in this report: {', '.join(left)}.")
    notes = remarks(results)
    if notes:
        parts += ["## Remarks", "\n".join(notes)]
    parts += ["## The shapes", table(["shape", "what", "heap"], [[r.shape, r.what, r.heap] for r in ordered])]
    parts += ["## How", _how(), "## Where and when", _environment(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _apply(result: Result) -> str:
    names = {
        "ours": "25 on HDFS, 25 on ADLS",
        "files": "50 local `FileSource`s",
        "empty": "none: what is Feast's start",
    }
    rows = [[text, number(result.median(name) or 0)] for name, text in names.items() if result.median(name)]
    return table(["sources", "seconds"], rows)


def _cold(result: Result) -> str:
    names = {
        "start": "Feast starts: `import feast`, the repository, its registry",
        "start-file": "the same with Feast's file store",
        "local": "the same as the first, and ours (local) retrieves",
        "duckdb": "DuckDB's join alone, without Feast",
    }
    rows = []
    for name, text in names.items():
        seconds, over = result.median(name), over_feast(result, name)
        if seconds is not None:
            rows.append([text, number(seconds), f"{over:+.2f}" if over is not None and name == "local" else ""])
    return (
        table(["process", "seconds", "over the quicker start of Feast"], rows)
        + f"\n\nWhole processes, {result.what}; each reads the same pandas frame of entity rows."
    )


def _how() -> str:
    settings = ", ".join(f"`{key}={value}`" for key, value in SETTINGS.items() if key.startswith("spark.sql"))
    return f"""\
- Each shape has a process and a JVM of its own; all Spark contenders share its session:
  `local[{THREADS}]`, the heap of the table, {settings}, all else as Spark has it. Between
  runs temporary views and caches are dropped and garbage is collected.
- A first run of each contender is not counted, and its answer is compared with DuckDB's: number of rows, and of each
  column count, sum and sum weighted by row; where entity rows are a pandas frame every value of every row. Further
  ones are not counted until it has run for {WARM:g} seconds, so that the JVM is as warm for each, or for
  {WARM_WITHOUT_JVM:g} where it has none. Then they take turns: A B C A B C ….
- A run begins with reading the schemas or looking up the registry. It ends when all values are computed: in Spark's
  `noop` sink, in DuckDB's batches, of which none is kept; in `small` and `views-pandas` from a pandas frame into a
  pandas frame.
- Ours and Feast's Spark store go through Feast's `get_historical_features`. The chain is SQL that reads only the
  columns asked for, and applies the ttl afterwards; dbl-tempo gets only those columns too. DuckDB reads the same
  files with {THREADS} threads, and as much memory as the heap.
- `ours` is in Spark (`engine: spark`), and what the planner chooses; `ours, columnar` and `ours, window` are held to
  one strategy, in the shapes where the choice is not plain from the size.
- `ours (local)` has a process of its own, without Spark (`engine: local`), with {THREADS} threads and as much memory
  as the heap. It takes turns with the others, and goes through Feast too. Its run begins with reading the file of
  entity rows into the pandas frame that it is given, and ends with an Arrow table; where the shape has a pandas frame
  it goes from that into one. Every value of its first answer is compared with DuckDB's.
- A peer that takes more than 5 times the first run of ours (10 times in `hot`), and more than {FLOOR:g} s, is
  stopped, and counts with that.
- Histories have no two rows of one key and time, so there is one right answer. Files are in the order of time.
- `ours, on Parquet paths` reads the Parquet files from which the other forms were made, or over which the table lies.
  The chain, dbl-tempo and ours read the same tables; no package of Delta or Iceberg runs on PySpark 4.3, so there the
  peers read the tables' Parquet files.
- `far`: the servers run on the same machine, and take their part of its processors."""


def _environment(results: Mapping[str, Result]) -> str:
    groups: dict[tuple[str, ...], list[str]] = {}
    keys = ("commit", "machine", "system", "versions")
    for result in results.values():
        groups.setdefault(tuple(result.environment.get(key, "") for key in keys), []).append(result.shape)
    lines = []
    for values, names in groups.items():
        dates = sorted(results[name].environment.get("date", "") for name in names)
        label = "all" if len(groups) == 1 else ", ".join(names)
        lines.append(
            f"- {label}, {dates[0]} to {dates[-1]}: "
            + "; ".join(f"{k}: {v}" for k, v in zip(keys, values, strict=True))
        )
    return "\n".join(lines)


def draw(results: Mapping[str, Result], path: Path) -> bool:
    """Plot seconds against millions of rows. False where there are no two sizes."""
    sizes = [results[name] for name in GROWING if name in results]
    if len(sizes) < 2:
        return False
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "feast-hybrid"  # the same plot is the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name in _contenders(sizes):
        points = [(r.history_rows / 1e6, seconds) for r in sizes if (seconds := r.median(name)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=TITLES.get(name, name))
    axes.set(xlabel="million rows of history, three views together", ylabel="seconds", ylim=(0, None), xlim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True
