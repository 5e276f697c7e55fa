"""What tests of the columnar strategy's tasks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.asof.columnar.keys import KeyForm
from feast_hybrid.asof.columnar.spec import (
    FileSplit,
    KeyColumn,
    SourceColumn,
    ViewSpec,
)

UTC = pa.timestamp("us", tz="UTC")


WHOLE = KeyForm("whole number", pa.int64())


TEXT = KeyForm("string", pa.string())


MAX = 2**62


def view_of(
    keys: Sequence[tuple[str, KeyForm, pa.DataType]] = (("k", WHOLE, pa.int64()),),
    values: Sequence[tuple[str, pa.DataType]] = (("v", pa.float64()),),
    *,
    view_id: int = 0,
    created: bool = True,
    by_created: bool = False,
    **more: Any,
) -> ViewSpec:
    return ViewSpec(
        view_id=view_id,
        what=f"view 'view {view_id}'",
        keys=tuple(KeyColumn(form, SourceColumn(name, data_type)) for name, form, data_type in keys),
        timestamp=SourceColumn("ts", UTC),
        created=SourceColumn("c", UTC) if created else None,
        by_created=by_created,
        values=tuple(SourceColumn(name, data_type) for name, data_type in values),
        ranked=tuple(sorted(range(len(values)), key=lambda n: values[n][0])),
        outputs=tuple(f"{view_id}.{name}" for name, _ in values),
        **{"ttl": None, **more},
    )


class Reads:
    """Opens files, and keeps count of the bytes that were asked for."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, path: str) -> Any:
        counted = self

        class Counting:
            def __init__(self) -> None:
                self._file = Path(path).open("rb")  # noqa: SIM115

            def read(self, size: int = -1) -> bytes:
                content = self._file.read(size)
                counted.bytes += len(content)
                return content

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

        return pa.PythonFile(Counting(), mode="r")


def plain(path: str) -> str:
    return path


def file_splits(view_id: int, *files: Path, opened: Any = plain, **partitions: Any) -> tuple[FileSplit, ...]:
    return tuple(FileSplit(view_id, str(file), 0, MAX, partitions, opened) for file in files)


def history(tmp_path: Path, name: str = "h.parquet", groups: int = 10, **columns: Any) -> Path:
    """Ten rows for each of some keys, one key to a row group unless columns are given."""
    file = tmp_path / name
    table = pa.table(columns) if columns else pa.table({
        "k": np.repeat(np.arange(groups), 10_000),
        "ts": pa.array(np.tile(np.arange(10_000), groups)).view(UTC),
        "v": np.random.default_rng(0).random(10_000 * groups),
        "unwanted": np.random.default_rng(1).random(10_000 * groups),
    })  # fmt: skip
    pq.write_table(table, file, row_group_size=10_000)
    return file
