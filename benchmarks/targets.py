"""What is wanted of the measurements, and whether it is so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.results import Result
from benchmarks.shapes import FORMS, SPARK_PEERS, STRATEGIES

Results = Mapping[str, Result]


@dataclass(frozen=True)
class Target:
    """A number that is not to exceed a bound.

    Attributes:
        text: what it is.
        bound: the largest that will do.
        value: finds it; None where it was not measured.
    """

    text: str
    bound: float
    value: Callable[[Results], float | None]

    def met(self, results: Results) -> bool | None:
        """None where it was not measured."""
        value = self.value(results)
        return None if value is None else value <= self.bound


def fastest_peer(result: Result) -> float | None:
    """The seconds of the fastest of Spark's peers that finished."""
    found = [seconds for peer in SPARK_PEERS if (seconds := result.median(peer)) is not None]
    return min(found, default=None)


def against_fastest(result: Result) -> float | None:
    """Ours, as a multiple of the fastest Spark peer; of the limit where none finished."""
    ours = result.median("ours")
    limits = [seconds for peer in SPARK_PEERS if (seconds := result.at_least(peer)) is not None]
    peer = fastest_peer(result) or min(limits, default=None)
    return None if ours is None or peer is None else ours / peer


def against_best_strategy(result: Result) -> float | None:
    """Ours, whose strategy the planner has chosen, as a multiple of the best of the strategies."""
    mine = result.median("ours")
    strategies = [seconds for name in STRATEGIES if (seconds := result.at_least(name)) is not None]
    return None if mine is None or not strategies else mine / min(strategies)


def _worst_choice(results: Results) -> float | None:
    found = [ratio for result in results.values() if (ratio := against_best_strategy(result)) is not None]
    return max(found, default=None)


def _ratio(shape: str, to: str, of: str = "ours") -> Callable[[Results], float | None]:
    return lambda results: results[shape].ratio(to, of) if shape in results else None


def _between(shape: str, other: str, of: str = "ours") -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        if shape not in results or other not in results:
            return None
        ours, base = results[shape].median(of), results[other].median(of)
        return None if ours is None or base is None else ours / base

    return value


def _worst(results: Results) -> float | None:
    found = [ratio for result in results.values() if (ratio := against_fastest(result)) is not None]
    return max(found, default=None)


def _wrong(results: Results) -> float | None:
    """How many contenders' answers differ, ours among them."""
    checked = [o for result in results.values() for o in result.outcomes.values() if o.warm_up is not None]
    return float(sum(bool(outcome.differs) for outcome in checked)) if checked else None


def bytes_ratio(result: Result, lake: str, contender: str = "ours") -> float | None:
    """The most that a counted run read from a lake, as a multiple of what it had to."""
    outcome = result.outcomes.get(contender)
    if outcome is None or not outcome.bytes_read or not result.needed.get(lake):
        return None
    return max(read[lake] for read in outcome.bytes_read) / result.needed[lake]


def _bytes(lake: str) -> Callable[[Results], float | None]:
    return lambda results: bytes_ratio(results["far"], lake) if "far" in results else None


def _unfinished(shape: str) -> Callable[[Results], float | None]:
    return lambda results: float(results[shape].median("ours") is None) if shape in results else None


def _jvms(results: Results) -> float | None:
    started = results["apply"].environment.get("JVMs started") if "apply" in results else None
    return None if started is None else float(started)


def over_feast(result: Result, contender: str) -> float | None:
    """The seconds that a contender's cold start takes beyond Feast's, the quicker of the two that are measured."""
    seconds = result.median(contender)
    starts = [found for name in FEAST_STARTS if (found := result.median(name)) is not None]
    return None if seconds is None or not starts else seconds - min(starts)


def _cold(results: Results) -> float | None:
    return over_feast(results["cold"], "local") if "cold" in results else None


FEAST_STARTS = ("start", "start-file")
"""In the shape ``cold``: Feast loads the same repository, or one of its own file store, and nothing is retrieved."""

TARGETS = (
    Target("every shape: ours ÷ the fastest Spark peer, the worst of them", 1, _worst),
    Target("every shape: answers that differ from the oracle's", 0, _wrong),
    Target("every shape with both strategies: ours ÷ the better of them, the worst", 1.2, _worst_choice),
    Target("dense: ours ÷ the chain", 0.18, _ratio("dense", "chain")),
    Target("dense: ours ÷ DuckDB", 3, _ratio("dense", "duckdb")),
    Target("sparse: ours ÷ the chain", 0.1, _ratio("sparse", "chain")),
    Target("sparse: ours ÷ DuckDB", 1, _ratio("sparse", "duckdb")),
    Target("recent: ours ÷ the chain", 0.15, _ratio("recent", "chain")),
    Target("far: ours ÷ the chain", 0.7, _ratio("far", "chain")),
    Target("far: bytes read from HDFS ÷ bytes needed", 1.1, _bytes("hdfs")),
    Target("far: bytes read from ADLS ÷ bytes needed", 1.1, _bytes("adls")),
    Target("hot: ours ÷ Feast's own store", 0.1, _ratio("hot", "feast")),
    Target("skew: ours ÷ ours in dense", 2, _between("skew", "dense")),
    Target("query: ours ÷ the chain", 0.7, _ratio("query", "chain")),
    *(
        target
        for shape in (*FORMS, "hive")
        for target in (
            Target(f"{shape}: ours ÷ ours on Parquet paths", 1.3, _ratio(shape, "ours-path")),
            Target(f"{shape}: ours ÷ the chain", 0.4, _ratio(shape, "chain")),
        )
    ),
    *(
        Target(f"{shape}: ours ÷ DuckDB", bound, _ratio(shape, "duckdb"))
        for shape, bound in (("recent", 1.3), ("wide", 1.3), ("skew", 1.3), ("hot", 2), ("many", 2))
    ),
    Target("small: ours ÷ Feast's own store", 0.6, _ratio("small", "feast")),
    Target("four times the history: ours ÷ ours in dense", 4.4, _between("four", "dense")),
    Target("large: runs of ours that did not finish", 0, _unfinished("large")),
    Target("feast apply of 50 views on both lakes: JVMs started", 0, _jvms),
    Target("feast apply of 50 views: both lakes ÷ local FileSources", 3, _ratio("apply", "files")),
)

#: Each of them against what the same run measured of the others.
LOCAL_TARGETS = (
    Target("dense: ours (local) ÷ DuckDB", 0.7, _ratio("dense", "duckdb", "local")),
    Target("sparse: ours (local) ÷ DuckDB", 0.3, _ratio("sparse", "duckdb", "local")),
    *(
        Target(f"{shape}: ours (local) ÷ DuckDB", bound, _ratio(shape, "duckdb", "local"))
        for shape, bound in (
            *(("recent", 0.8), ("wide", 0.8), ("skew", 0.8)),
            *(("hot", 1.0), ("many", 1.0), ("small", 1.2)),
        )
    ),
    Target("four times the history: ours (local) ÷ itself in dense", 4.2, _between("four", "dense", "local")),
    Target("cold: seconds of ours (local) over what Feast itself takes to start", 0.5, _cold),
)
