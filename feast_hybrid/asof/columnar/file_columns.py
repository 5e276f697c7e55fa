"""A file's columns by the names that a source's frame has for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.errors import JoinError, SchemaError

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import SourceColumn

_YEAR_1900 = -2_208_988_800 * 1_000_000


class FileColumns:
    """A file's columns by the names that the source's frame has for them.

    Args:
        path: The file's, for messages.
        names: Of the file's columns.
        metadata: What the file's writer noted.
        partitions: What the folders on the way to the file say, by the frame's names; they win over the file.
        wanted: The columns that are read.
        required: Those of them that each file has to have: the keys and the event time, without which its rows
            would vanish.
        case_sensitive: Whether names that differ by case alone are different.
        what: Names the view or the source, for messages.

    Attributes:
        in_file: The wanted columns that the file has: names in the frame and in the file.

    Raises:
        SchemaError: A wanted column could be several of the file's, or a required one is not there.
    """

    def __init__(
        self,
        path: str,
        names: Sequence[str],
        metadata: Mapping[bytes, bytes],
        partitions: Mapping[str, Any],
        *,
        wanted: Sequence[SourceColumn],
        required: Collection[str] = (),
        case_sensitive: bool = False,
        what: str,
    ) -> None:
        self._path, self._partitions, self._what = path, partitions, what
        self._has_old_calendar = _has_old_calendar(metadata)
        self.in_file: dict[str, str] = {}
        for column in wanted:
            if column.name in partitions:
                continue
            found = [name for name in names if name == column.name]
            if not found and not case_sensitive:
                found = [name for name in names if name.lower() == column.name.lower()]
            if len(found) > 1:
                raise SchemaError(f"{self._describe(column)}: the file has {', '.join(map(repr, found))}")
            if found:
                self.in_file[column.name] = found[0]
            elif column.name in required:
                raise SchemaError(
                    f"{self._describe(column)}: the file has no such column, so its rows would be lost; it has "
                    f"{', '.join(names)}. Write it anew with the column, or move it away"
                )

    def _describe(self, column: SourceColumn) -> str:
        return f"{self._what}: column {column.name!r} of {self._path}"

    def get(self, column: SourceColumn, batch: pa.RecordBatch | None, rows: int) -> pa.Array:
        """A column in the frame's type; of the folder's name or of nulls where the file does not have it.

        Args:
            column: A wanted one.
            batch: Rows of the file, None where no column of it is wanted.
            rows: How many rows there are.

        Raises:
            SchemaError: The file has it in a type that does not go with the frame's, or a value that does not.
            JoinError: It has times that another calendar would have moved.
        """
        if column.name in self._partitions:
            value = self._partitions[column.name]
            return self._in_our_calendar(column, pa.repeat(pa.scalar(value, column.data_type), rows))
        name = self.in_file.get(column.name)
        if name is None or batch is None:
            return pa.nulls(rows, column.data_type)
        try:
            array = convert_for_reading(batch.column(batch.schema.get_field_index(name)), column.data_type)
        except (SchemaError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"{self._describe(column)}: {error}") from None
        return self._in_our_calendar(column, array)

    def _in_our_calendar(self, column: SourceColumn, array: pa.Array) -> pa.Array:
        """The array, unless a file of an old Spark holds times in it that another calendar would have moved."""
        if not self._has_old_calendar or not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
            return array
        first = pc.min(epoch_micros_of_array(array)).as_py()
        if first is not None and first < _YEAR_1900:
            raise JoinError(
                f"{self._describe(column)} holds times before 1900 in the calendar of an old Spark, which Spark's"
                " own reader converts: use another strategy than 'columnar' for it (offline_store.join.strategy)"
            )
        return array


def _has_old_calendar(metadata: Mapping[bytes, bytes]) -> bool:
    """Whether Spark's reader would convert times before 1900: in files of Spark 2, and of its legacy mode."""
    version = metadata.get(b"org.apache.spark.version", b"3").split(b".")[0]
    legacy = b"org.apache.spark.legacyDateTime" in metadata or b"org.apache.spark.legacyINT96" in metadata
    return legacy or (version.isdigit() and int(version) < 3)
