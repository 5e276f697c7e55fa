"""What can be read of an exception: where tests look for a secret."""

from __future__ import annotations

import traceback
from collections.abc import Iterator


def texts(error: BaseException) -> Iterator[str]:
    """All that can be read of an exception, and of all that are behind it."""
    yield from traceback.format_exception(error)
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield from (str(each), repr(each), repr(each.args), repr(vars(each)))
            waiting += [each.__cause__, each.__context__]
