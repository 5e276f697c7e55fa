"""A view's files, for the strategy that reads them itself: what they are, and how a task opens one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class StoredColumn(Protocol):
    """How a file calls a column."""

    @property
    def name(self) -> str:
        """In the file."""

    @property
    def data_type(self) -> pa.DataType | None:
        """With the names that parts of it have in the file; None where they are the frame's."""

    @property
    def numbered(self) -> pa.Field | None:
        """With the numbers by which the file's columns are known, whatever their names; None where names count."""


class DeletedRows(Protocol):
    """Rows of a file that do not count."""

    def rows(self, open_file: Callable[[str], Any]) -> NDArray[np.int64]:
        """Their numbers from 0, in order; the files where they stand are opened by their paths."""


@dataclass(frozen=True)
class ScanFile:
    """One file.

    Args:
        path: As the scan's opener takes it.
        size: Bytes.
        partitions: The values of the partition columns, as Python values of the types that the view's frame has;
            ``None`` for null. They win over a column of the same name in the file, as in Spark.
        version: Of the file that was listed, as the scan's ``version`` gives it; None where it is not known.
        stored: Frame's column → how the file calls it, where a table's log says which columns there are: one that the
            file lacks is null in it. None where the file's own names count.
        deleted: The rows of the file that do not count.
    """

    path: str
    size: int
    partitions: Mapping[str, Any] = field(default_factory=dict)
    version: object = None
    stored: Mapping[str, StoredColumn] | None = None
    deleted: DeletedRows | None = None


@dataclass(frozen=True)
class Ineligible:
    """Why something cannot be joined by columns, in words for plans."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """The files that a view's frame reads, for tasks that read them without Spark's reader.

    The frame's schema says which columns there are and of which types; a file that lacks one gives nulls. ``files``,
    ``open`` and ``check`` travel to the executors: they must hold no secret.

    Args:
        files: All files; each row of the frame is in one of them. Files that the join's times rule out may be left
            out where the frame leaves them out too.
        open: What pyarrow's readers take, for a file's path; called in tasks, so it is pickled.
        file_format: ``parquet`` or ``orc``.
        version: The version of the file that is at a path, in a task: another one than was listed is refused, since
            its rows would be read in part. None where that cannot be known.
        where: Names the place in plans, such as ``site 'onprem'``.
        check: Raises where tasks cannot open files: run in executors, until they once could.
        is_far: Whether the files are on servers, for whose answers a reader waits.
        within: Chooses from ``files`` those that can hold rows between two times in microseconds, None for no bound;
            None where nothing is known of a file's times without opening it.
    """

    files: tuple[ScanFile, ...]
    open: Callable[[str], Any]
    file_format: str = "parquet"
    version: Callable[[str], object] | None = None
    where: str = "local files"
    check: Callable[[], None] | None = None
    is_far: bool = False
    within: Callable[[int | None, int | None], tuple[ScanFile, ...]] | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
