"""What ``docs/reliability.md`` says of a fault, beside the test that shows it.

``scripts/write-reliability`` writes the page.

>>> @reliability("ADLS", "a wrong account key", "nothing is read", "does not accept the sign-in")
... def test_a_wrong_key_is_said_to_be_refused(store: FeatureStore, promise: Row) -> None:
...     with pytest.raises(AuthenticationError, match=re.escape(promise.reads)):
...         ...
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import pytest

Area = Literal[
    "ADLS",
    "HDFS",
    "Sign-in",
    "Kerberos",
    "Secrets",
    "Text that is code",
    "Writers",
    "Executors and drivers",
    "Load",
]
#: In the order of the page.
AREAS: tuple[str, ...] = get_args(Area)


class Row(NamedTuple):
    """A row of the page.

    Attributes:
        area: the table that the row is in.
        fault: what goes wrong.
        happens: what then happens, and what does not.
        reads: a piece of the text that the user reads; empty where nothing goes wrong for them.
    """

    area: Area
    fault: str
    happens: str
    reads: str = ""


def reliability(area: Area, fault: str, happens: str, reads: str = "") -> pytest.MarkDecorator:
    """Give a test, or one of its parameters, a row of the page. All arguments are literals, since nothing is imported
    to write it. A test with ``reads`` looks for that text in the error, by the fixture ``promise``.
    """
    return pytest.mark.reliability(Row(area, fault, happens, reads))


@pytest.fixture
def promise(request: pytest.FixtureRequest) -> Row:
    """The row of the test, or of its parameter."""
    marker = request.node.get_closest_marker("reliability")
    assert marker is not None, "this test has no row: tests.integration.reliability"
    (row,) = marker.args
    assert isinstance(row, Row)
    return row
