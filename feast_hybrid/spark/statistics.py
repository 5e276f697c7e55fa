"""How much there is in a frame, as Spark's optimizer has it. Runs no job of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from feast_hybrid.spark.plan_text import is_cut_off
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Spark's word for a size that it does not know is 8 EiB; and of two unknown ones it makes a product.
_UNKNOWN = 1 << 50
_UNITS = {unit: 1 << (10 * n) for n, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))}
#: What gives another number of rows than it takes, which Spark's statistics know nothing of: code, and explode().
_UNFORESEEN = re.compile(
    r"^[\s:+-]*(MapIn|PythonMapIn|FlatMap|MapPartitions|MapElements|ScriptTransformation|Generate|Expand)",
    re.MULTILINE,
)
_SIZE = re.compile(r"Statistics\(sizeInBytes=([\d.E+]+) (\w+)")


def frame_bytes(frame: DataFrame) -> int | None:
    """About how many bytes a frame's rows take, compressed where its files are; None where Spark does not know.

    What Spark says of a join is the product of its sides, so that it is never taken for more than what is read.
    """
    try:
        sizes = _from_server(frame) if is_connect(frame) else _from_jvm(frame)
    except Exception:  # the plan may be one that only fails: it will say so when it runs
        return None
    if sizes is None:
        return None
    whole, leaves = sizes
    size = min(whole, sum(leaves)) if leaves else whole
    return size if size < _UNKNOWN else None


def count_files(frame: Any) -> int:
    """How many files Spark has found for a frame."""
    return len(frame.inputFiles()) if is_connect(frame) else len(frame._jdf.inputFiles())


def _from_jvm(frame: Any) -> tuple[int, list[int]] | None:
    plan = frame._jdf.queryExecution().optimizedPlan()
    text = plan.treeString()
    if is_cut_off(text) or _UNFORESEEN.search(text):
        return None
    leaves = plan.collectLeaves()
    return _size(plan), [_size(leaves.apply(n)) for n in range(leaves.size())]


def _from_server(frame: Any) -> tuple[int, list[int]] | None:
    return sizes_in_plan(frame._explain_string(mode="cost"))


def _size(plan: Any) -> int:
    return int(str(plan.stats().sizeInBytes()))


def sizes_in_plan(text: str) -> tuple[int, list[int]] | None:
    """The size of a plan and those of its leaves, from Spark's text of it with its costs; None where it says nothing.

    Args:
        text: what Spark explains.
    """
    logical = text.partition("Physical Plan")[0]
    if is_cut_off(text) or _UNFORESEEN.search(logical):
        return None
    nodes = []
    for line in logical.splitlines():
        if found := _SIZE.search(line):
            depth = len(line) - len(line.lstrip(" :+-"))
            nodes.append((depth, int(float(found[1]) * _UNITS.get(found[2], _UNKNOWN))))
    return (nodes[0][1], _leaves(nodes)) if nodes else None


def _leaves(nodes: Sequence[tuple[int, int]]) -> list[int]:
    below = [*(depth for depth, _ in nodes[1:]), 0]
    return [size for (depth, size), following in zip(nodes, below, strict=True) if following <= depth]
