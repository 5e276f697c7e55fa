"""What a retrieval job says of itself, where a notebook or a prompt shows it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from feast_hybrid.asof import JoinPlan

_HEAD = ("feature view", "read from", "joined", "reads")


def as_html(what: str, plan: JoinPlan | None, reads: str = "", engine: str = "") -> str:
    """A table of a job's feature views for a notebook: where each is read, how it is joined, and what is read of it.

    Args:
        what: how errors call the job's rows.
        plan: how they are joined; None for the rows of one source.
        reads: of these, where they are and what is read of them.
        engine: which engine gives these, and why; empty where the caller chose one.
    """
    paragraphs = [f"<b>{escape(what)}</b>"]
    if plan is not None and plan.steps:
        rows = [
            (
                step.view,
                step.where,
                f"{step.strategy} ({step.reason})",
                "; ".join(filter(None, (step.reads, *step.notes))),
            )
            for step in plan.steps
        ]
        paragraphs.append(_table(_HEAD, rows))
    if reads:
        paragraphs.append(f"read from {escape(reads)}")
    if plan is not None:
        engine = plan.engine
        if plan.entities:
            paragraphs.append(f"entity rows: {escape(plan.entities)}")
    if engine:
        paragraphs.append(f"engine: {escape(engine)}")
    paragraphs.append("Lazy: <code>to_df()</code>, <code>to_arrow()</code> and <code>to_spark_df()</code> run it.")
    return "".join(f"<div>{paragraph}</div>" for paragraph in paragraphs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(
        [
            "<table><thead>",
            _row("th", head),
            "</thead><tbody>",
            *(_row("td", row) for row in rows),
            "</tbody></table>",
        ]
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
