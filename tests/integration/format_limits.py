"""What ``docs/formats.md`` says is left to Spark or refused, beside the test that shows it.

``scripts/write-format-limits`` writes the tables.

>>> @format_limit("Delta", "a commit that is missing", "refused", "lacks the commit")
... def test_a_missing_commit_is_refused(limit: Limit) -> None:
...     with pytest.raises(BrokenLogError, match=re.escape(limit("lacks the commit"))):
...         ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import pytest

#: In the order of the page; each has a pair of comments there.
Format = Literal["ORC", "Tables", "Delta", "Delta, adding a batch", "Iceberg", "Iceberg, adding a batch"]
Then = Literal["left to Spark", "refused", "left to Spark's package, else refused"]


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        format: whose table it is.
        what: is not read by this package.
        then: what happens.
        reads: a piece of what the user reads: in ``job.explain()``, or in the error.
    """

    format: Format
    what: str
    then: Then
    reads: str


#: Gives the text of the test's only row, or a row's own text, and notes that the test looks for it.
Limit = Callable[..., str]


def format_limit(format: Format, what: str, then: Then, reads: str) -> pytest.MarkDecorator:  # noqa: A002
    """Give a test, or one of its parameters, a row; a test may have several.

    All arguments are literals, since nothing is imported to write the tables. The test looks for each ``reads``,
    which the fixture ``limit`` gives.
    """
    return pytest.mark.format_limit(Row(format, what, then, reads))


@pytest.fixture
def limit(request: pytest.FixtureRequest) -> Iterator[Limit]:
    """The texts of the test's rows, or of its parameter's; what has rows has to look for each."""
    rows = [row for marker in request.node.iter_markers("format_limit") for row in marker.args]
    texts = {row.reads for row in rows}
    asked: set[str] = set()

    def text(reads: str | None = None) -> str:
        if reads is None:
            (reads,) = texts
        assert reads in texts, f"this test has no row that says {reads!r}: tests.integration.format_limits"
        asked.add(reads)
        return reads

    yield text
    assert asked == texts, "what a row says was not looked for"
