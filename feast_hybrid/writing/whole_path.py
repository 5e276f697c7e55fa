"""Rows as the whole content of a path: written beside their place, then put into it, by whatever writes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from feast.errors import SavedDatasetLocationAlreadyExists

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.replace import aside, put_in_place, recover, remove

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location


class DatasetExistsError(WriteError, SavedDatasetLocationAlreadyExists):
    """Something is where a saved dataset should go, and may not be replaced."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


def recover_and_look(location: Location, what: str, *, overwrite: bool) -> bool:
    """Put in order what another writer left half done; whether something is there then.

    Raises:
        DatasetExistsError: it is, and may not be replaced.
    """
    recover(location)
    exists = location.exists()
    if exists and not overwrite:
        raise _taken(what)
    return exists


def put_whole(
    write: Callable[[Location], None],
    location: Location,
    what: str,
    *,
    overwrite: bool,
    placing: Callable[[], AbstractContextManager[object]] = nullcontext,
    clean_up: Callable[[Location], None] = remove,
) -> None:
    """Write rows beside a path, and put them into it.

    Args:
        write: writes them into the folder that it gets, which is not there yet.
        location: the path.
        what: how errors call this.
        overwrite: whether what is there may be replaced.
        placing: entered while they are put into it.
        clean_up: removes what was written where that failed, or was given up.

    Raises:
        DatasetExistsError: something has come there meanwhile, and may not be replaced.
        ReplacementError: the old rows could not be put back; it says where they are.
    """
    new = aside(location)
    try:
        write(new)
        with placing():
            put_in_place(new, location, overwrite=overwrite)
    except FileExistsError as error:
        remove(new)
        if not overwrite:
            raise _taken(what) from error
        raise
    except BaseException:
        clean_up(new)
        raise
    remove(new)


def _taken(what: str) -> DatasetExistsError:
    return DatasetExistsError(f"{what}: something is there already; allow_overwrite=True replaces it.")
