from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from feast_hybrid.asof import JoinPlan
from feast_hybrid.asof.join_plan import Step
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from feast_hybrid.retrieval.notebook import as_html


def _shown(html: str) -> list[list[str]]:
    """The cells of the rows."""
    rows = ET.fromstring(f"<p>{html}</p>").iter("tr")  # noqa: S314 - our own
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def test_each_view_is_a_row_with_its_place_its_strategy_and_its_notes() -> None:
    steps = (
        Step(
            view="stats",
            strategy="columnar",
            reason="blocks of columns are the cheapest",
            where="site 'onprem', hdfs://lake/stats",
            reads="3 columns of 2 files",
            notes=("version 7", "1 empty file was left out"),
        ),
        Step(view="a<b>&c", strategy="window", reason="not columnar: `<x>`", where="a query"),
    )
    html = as_html(
        "historical features of stats, a<b>&c",
        JoinPlan(steps=steps, entities="2, counted by a pass", engine="Spark: <x>"),
    )
    assert _shown(html) == [
        ["feature view", "read from", "joined", "reads"],
        [
            "stats",
            "site 'onprem', hdfs://lake/stats",
            "columnar (blocks of columns are the cheapest)",
            "3 columns of 2 files; version 7; 1 empty file was left out",
        ],
        ["a<b>&c", "a query", "window (not columnar: `<x>`)", ""],
    ]
    assert "entity rows: 2, counted by a pass" in html
    assert "engine: Spark: &lt;x&gt;" in html
    assert "a&lt;b&gt;&amp;c</b>" in html


@pytest.mark.parametrize("plan", [None, JoinPlan(steps=())])
def test_without_views_there_is_no_table(plan: JoinPlan | None) -> None:
    html = as_html("rows of stats", plan)
    assert _shown(html) == []
    assert "rows of stats" in html


def test_rows_of_one_source_say_where_they_are() -> None:
    reads = "site 'a<b', hdfs://lake/stats"
    rows: Any = type("Rows", (), {"what": "source 'stats'", "plan": None, "reads": reads, "engine": "a & b"})()
    job = HybridSparkRetrievalJob(rows, router=None)  # type: ignore[arg-type]
    assert job.explain() == f"no join: the rows of {reads}\nengine: a & b"
    assert (
        "read from site &#x27;a&lt;b&#x27;, hdfs://lake/stats</div><div>engine: a &amp; b</div>" in job._repr_html_()
    )


def test_a_prompt_shows_what_explain_says() -> None:
    rows: Any = type("Rows", (), {"what": "historical features of stats", "plan": JoinPlan(steps=())})()
    job = HybridSparkRetrievalJob(rows, router=None)  # type: ignore[arg-type]
    assert repr(job) == (
        "<HybridSparkRetrievalJob: historical features of stats>\nno views: the entity rows as they are"
    )
    assert "<b>historical features of stats</b>" in job._repr_html_()
