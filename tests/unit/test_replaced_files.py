"""A file that is not the one that was listed is never read in part: the error says that it was replaced."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.asof import Scan
from feast_hybrid.asof.columnar.read import read_split
from feast_hybrid.asof.columnar.read_rows import ReadRows
from feast_hybrid.asof.columnar.splits import split_file
from feast_hybrid.errors import SourceError, SourceNotFoundError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.file_schema import file_schema
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.scan import scan_of
from tests.unit.columnar import view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from feast_hybrid.asof.columnar.spec import FileSplit, ViewSpec

VIEW = view_of(created=False)


def write(file: Path, rows: int, start: int = 0) -> None:
    numbers = np.arange(start, start + rows)
    table = pa.table({"k": numbers, "ts": pa.array(numbers).view(pa.timestamp("us")), "v": numbers / 2})
    if file.suffix == ".orc":
        pyarrow.orc.write_table(table, file)
    else:
        pq.write_table(table, file, row_group_size=1000)


def listed(folder: Path, file_format: str, *, here: bool) -> Scan:
    of = HybridSparkSource(name="rows", path=f"file://{folder}", file_format=file_format, timestamp_field="ts")
    spec = source_spec(of, Router())
    found = scan_of(spec, file_schema(spec, Router()), None, None, tasks_run_here=here)
    assert isinstance(found, Scan)
    return found


def by_columns(split: FileSplit, view: ViewSpec) -> int:
    return sum(rows.num_rows for rows in read_split(split, view))


def by_rows(split: FileSplit, view: ViewSpec) -> int:
    reader = pickle.loads(pickle.dumps(ReadRows(((split,),), view, frozenset())))
    return sum(rows.num_rows for rows in reader(iter([pa.record_batch({"id": [0]})])))


def longer(file: Path) -> None:
    write(file, 30_000)


def shorter(file: Path) -> None:
    write(file, 5_000)


def as_long(file: Path) -> None:
    size = file.stat().st_size
    write(file, 10_000, start=70_000)
    padding = size - file.stat().st_size
    assert padding >= -100_000
    os.truncate(file, size)


def newer(file: Path) -> None:
    os.utime(file, (1, 1))


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("read", [by_columns, by_rows])
@pytest.mark.parametrize("replace", [longer, shorter, as_long, newer])
@pytest.mark.parametrize("suffix", ["parquet", "orc"])
def test_another_file_is_refused_whichever_part_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    replace: Callable[[Path], None],
    read: Callable[[FileSplit, ViewSpec], int],
    here: bool,
) -> None:
    file = tmp_path / f"a.{suffix}"
    write(file, 10_000)
    scan = listed(tmp_path, suffix, here=here)
    parts = list(split_file(scan.files[0], scan, 3 if suffix == "parquet" else 1, view_id=0))
    assert sum(read(part, VIEW) for part in parts) == 10_000
    replace(file)
    for part in parts:
        with pytest.raises(
            SourceError, match=rf"view 'view 0': {file} was replaced after the plan was made: it had "
        ):
            read(part, VIEW)


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    write(file, 10_000)
    scan = listed(tmp_path, "parquet", here=True)
    [part] = split_file(scan.files[0], scan, 1, view_id=0)
    rows = read_split(part, VIEW)
    next(rows)
    other = tmp_path / "b"
    write(other, 10_000)
    other.replace(file)
    with pytest.raises(SourceError, match="was replaced"):
        list(rows)


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    write(file, 10)
    scan = listed(tmp_path, "parquet", here=True)
    file.unlink()
    [part] = split_file(scan.files[0], scan, 1, view_id=0)
    with pytest.raises(SourceNotFoundError, match="was there when the plan was made, and is gone"):
        by_columns(part, VIEW)
