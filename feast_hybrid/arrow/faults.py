"""What pyarrow raises, told from what the file system raises that it reads from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from feast_hybrid.errors import HybridError, SourceError, SourceNotFoundError

#: What the note of an error begins with that says which file was read.
_READING = "while this was read: "


def file_read(error: BaseException) -> str | None:
    """Which file :func:`read_faults` saw an error in that it let pass; None where it saw none."""
    notes = getattr(error, "__notes__", ())
    return next((note.removeprefix(_READING) for note in notes if note.startswith(_READING)), None)


def is_arrows(error: OSError) -> bool:
    """Whether pyarrow itself raised an ``OSError``, as of a damaged page: its own have no class and no number."""
    return type(error) is OSError and error.errno is None


@contextmanager
def read_faults(file: str, *of_readers: type[Exception]) -> Iterator[None]:
    """Have what is raised while a listed file is read name the file; what a lake raises stays, with a note of it.

    Args:
        file: how an error names it.
        of_readers: what a reader of ours raises, besides pyarrow, where the file is damaged.

    Raises:
        SourceError: it cannot be read.
        SourceNotFoundError: it is gone.
    """
    try:
        yield
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"{file} was there when the plan was made, and is gone; ask for the features again"
        ) from None
    except (pa.ArrowException, *of_readers) as error:
        raise SourceError(f"{file} cannot be read: {error}") from None
    except OSError as error:
        if not is_arrows(error):
            error.add_note(f"{_READING}{file}")
            raise
        raise SourceError(f"{file} cannot be read: {error}") from error
    except HybridError:
        raise
    except Exception as error:
        error.add_note(f"{_READING}{file}")
        raise
