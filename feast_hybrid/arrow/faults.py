"""What pyarrow raises, told from what the file system raises that it reads from."""

from __future__ import annotations


def is_arrows(error: OSError) -> bool:
    """Whether pyarrow itself raised an ``OSError``, as of a damaged page: its own have no class and no number."""
    return type(error) is OSError and error.errno is None
