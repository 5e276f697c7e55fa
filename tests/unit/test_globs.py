"""Patterns that somebody else wrote: they match as Hadoop's do, and cost little whatever they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_hybrid.errors import SourceError
from feast_hybrid.files.globs import MOST_PATTERNS, name_matcher, without_braces


@given(pattern=st.text("ab*?", max_size=8), name=st.text("abc\n", max_size=10))
def test_stars_match_as_a_regular_expression_that_goes_back_would(pattern: str, name: str) -> None:
    plain = re.compile(pattern.replace("*", ".*").replace("?", "."), re.DOTALL)
    assert name_matcher(pattern)(name) == (plain.fullmatch(name) is not None)


def test_many_stars_do_not_go_back() -> None:
    assert not name_matcher("*a" * 20 + "b")("a" * 5000)
    assert name_matcher("*a" * 20 + "*b")("a" * 5000 + "b")


def test_braces_stand_for_so_many_patterns_and_no_more() -> None:
    assert len(list(without_braces("x{a,b}" * 9))) == 512
    with pytest.raises(SourceError, match=f"more than {MOST_PATTERNS:,} patterns"):
        name_matcher("{a,b}" * 30)
