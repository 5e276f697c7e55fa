from __future__ import annotations

from typing import Any

import pytest

from feast_hybrid.errors import SessionError
from feast_hybrid.spark import plan_text

PARSED = "== Parsed Logical Plan ==\n'Project ['id]\n\n== Analyzed Logical Plan ==\nid: bigint\nProject [id#1L]\n"
READS = "+- Relation spark_catalog.default.t[id#1L] parquet\n"


class _Frame:
    def __init__(self, text: str) -> None:
        self._text = text

    def _explain_string(self, *, extended: bool) -> str:
        assert extended
        return self._text


@pytest.fixture(autouse=True)
def _of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_text, "is_connect", lambda _: True)


def leaves(text: str) -> str:
    frame: Any = _Frame(text)
    return plan_text.leaves_as_text(frame)


def test_a_server_s_analysed_plan_alone_is_looked_at() -> None:
    text = leaves(f"{PARSED}{READS}\n== Optimized Logical Plan ==\nRelation spark_catalog.default.other[id#1L]\n")
    assert READS.strip() in text
    assert "other" not in text
    assert "'Project" not in text


@pytest.mark.parametrize(
    "text",
    [
        "Truncated plan of 317 characters",
        f"{PARSED}+- Relation sp... 147 more characters",
        PARSED[:30] + "... 9 more characters",
    ],
)
def test_what_a_server_cuts_off_is_refused(text: str) -> None:
    with pytest.raises(SessionError, match=r"spark\.sql\.maxPlanStringLength higher"):
        leaves(text)


def test_what_is_cut_off_behind_the_analysed_plan_does_not_matter() -> None:
    text = f"{PARSED}{READS}\n== Optimized Logical Plan ==\nRel... 147 more characters"
    assert READS.strip() in leaves(text)
