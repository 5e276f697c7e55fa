"""Which column a name means."""

from __future__ import annotations

import pytest

from feast_hybrid.arrow.names import find_name, names_for
from feast_hybrid.errors import SchemaError


@pytest.mark.parametrize(
    ("name", "found"), [("a", "a"), ("A", "A"), ("b", "B"), ("STRASSE", "Strasse"), ("x", None), ("Ab", None)]
)
def test_the_same_name_wins_then_the_only_one_but_for_case(name: str, found: str | None) -> None:
    assert find_name(name, ["a", "A", "B", "Strasse", "ab", "AB"]) == found


def test_columns_get_the_names_that_they_are_asked_for_by() -> None:
    names = names_for(["Fare", "k", "absent"], ["K", "fare", "other"], what="source 's'", others=False)
    assert names == ["k", "Fare", "other"]


@pytest.mark.parametrize(("wanted", "name"), [(["Fare", "fare"], "fare"), (["FARE", "Fare"], "FARE")])
def test_a_column_that_is_asked_for_by_two_names_has_the_very_one_or_the_first(wanted: list[str], name: str) -> None:
    assert names_for(wanted, ["k", "fare"], what="source 's'", others=False) == ["k", name]


def test_of_columns_that_differ_by_case_alone_only_those_that_are_asked_for_stay() -> None:
    columns = ["k", "fare", "Fare", "x", "X"]
    assert names_for(["k", "Fare"], columns, what="source 's'", others=False) == ["k", None, "Fare", None, None]


@pytest.mark.parametrize(
    ("wanted", "others", "message"),
    [
        (["FARE"], False, "column 'FARE' may be 'fare' or 'Fare'"),
        (["Fare", "fare"], False, "columns 'fare' or 'Fare' differ by case alone"),
        ([], True, "columns 'fare' or 'Fare' differ by case alone"),
    ],
)
def test_what_spark_would_not_tell_apart_is_refused(wanted: list[str], others: bool, message: str) -> None:
    with pytest.raises(SchemaError, match=f"source 's': .*{message}"):
        names_for(wanted, ["k", "fare", "Fare"], what="source 's'", others=others)
