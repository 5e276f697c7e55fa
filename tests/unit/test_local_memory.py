"""What the local engine takes of memory, in fresh processes; and answers that are larger than one Arrow array."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.asof.columnar.sizes import take_in_pieces, value_sizes
from feast_hybrid.asof.local.reading import Reading, estimate
from feast_hybrid.asof.local.rows import read_rows
from feast_hybrid.asof.local.work import MemoryLimitError, Watch
from feast_hybrid.errors import RetrievalError
from feast_hybrid.retrieval.pulled import in_one_piece

ROWS, KEYS = 1_500_000, 1000
MEMORY = 128 << 20
#: What is taken beside it: modules, threads' stacks, and what Arrow keeps of what it has freed.
BESIDE = 96 << 20
MICROS = pa.timestamp("us", "UTC")


def history(folder: Path, group_rows: int) -> Path:
    """About 60 MiB in a file of plain numbers, and 1.5 GB of text that is stored once for each distinct value."""
    numbers = np.arange(ROWS)
    texts = pa.array([f"{n:03d}" + "x" * 1000 for n in range(100)])
    columns = {
        "k": numbers % KEYS,
        "ts": pa.array(numbers).view(MICROS),
        **{f"n{n}": numbers.astype(float) for n in range(3)},
        "text": pa.DictionaryArray.from_arrays(pa.array((numbers % 100).astype(np.int32)), texts),
    }
    path = folder / f"{group_rows}.parquet"
    pq.write_table(
        pa.table(columns), path, row_group_size=group_rows, compression="none", use_dictionary=["text"],
        store_schema=False,
    )  # fmt: skip
    return path


#: Joins a file's history in a new process, and prints by how much that grew, and what the answers are.
PROGRAM = """
import sys
import numpy as np, pyarrow as pa
from feast_hybrid.asof import Scan, ScanFile
from feast_hybrid.asof.local.join import join_locally
from feast_hybrid.asof.local.reading import Reading, estimate
from feast_hybrid.asof.local.view import LocalView, bind_view
from feast_hybrid.asof.local.work import Watch
from pathlib import Path

path, memory, rows, keys = sys.argv[1], *map(int, sys.argv[2:])
schema = pa.schema([("k", pa.int64()), ("ts", pa.timestamp("us", "UTC")),
    *[(f"n{n}", pa.float64()) for n in range(3)], ("text", pa.string())])
scan = Scan(open=str, file_format="parquet", files=(ScanFile(path, Path(path).stat().st_size, {}),), where="here")
view = LocalView(name="v", schema=schema, keys=[("k", "k")], timestamp="ts", created=None, ttl=None,
    features=[("n0", "n0"), ("n1", "n1"), ("n2", "n2"), ("text", "text")], scan=scan)
bound = bind_view(view, 0, {"k": pa.int64()}, by_created=False)
reading = Reading(bound.spec, scan, scan.files, estimate(bound.spec, scan))

def peak():
    found = dict(line.split(":") for line in open("/proc/self/status"))
    return int(found["VmHWM"].split()[0]) << 10

before = peak()
(found,) = join_locally([(bound, reading)], {"k": pa.array(np.arange(keys))}, pa.array(np.full(keys, rows)), Watch(),
    threads=2, memory=memory)
last = np.arange(rows - keys, rows)
assert found[0].to_pylist() == found[2].to_pylist() == last.astype(float).tolist()
assert [text[:3] for text in found[3].to_pylist()] == [f"{n % 100:03d}" for n in last]
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what a process took at the most")
@pytest.mark.parametrize("group_rows", [ROWS, 100_000], ids=["one row group", "many"])
def test_a_history_takes_no_more_than_it_may(tmp_path: Path, group_rows: int) -> None:
    path = history(tmp_path, group_rows)
    arguments = [str(path), *map(str, (MEMORY, ROWS, KEYS))]
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < MEMORY + BESIDE


def test_rows_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    from feast_hybrid.asof import Scan, ScanFile
    from feast_hybrid.asof.columnar.spec import SourceColumn, rows_spec

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"ts": pa.array(np.arange(10_000)).view(MICROS), "n": np.zeros(10_000)}), path)
    scan = Scan(open=str, file_format="parquet", files=(ScanFile(str(path), path.stat().st_size, {}),), where="here")
    columns = [SourceColumn("ts", MICROS), SourceColumn("n", pa.float64())]
    spec = rows_spec(columns, columns[0], None, None, what="s")
    reading = Reading(spec, scan, scan.files, estimate(spec, scan))
    assert read_rows(reading, [], Watch(), threads=1, memory=1 << 30).num_rows == 10_000
    with pytest.raises(MemoryLimitError, match=r"3\d\d,000 bytes of rows are held, and 100,000 may be"):
        read_rows(reading, [], Watch(), threads=1, memory=200_000)


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (pa.array(["", "ab", None]), [4, 6, 4]),
        (pa.array([[1], [1, 2, 3], None], pa.list_(pa.int64())), [4 + 11, 4 + 33, 4]),
        (pa.array([{"x": "abc"}, {"x": ""}]), [1 + 7, 1 + 4]),
    ],
)
def test_sizes_are_about_right(values: pa.Array, sizes: list[float]) -> None:
    assert value_sizes(values).tolist() == pytest.approx(sizes, rel=0.3)


def test_what_one_array_cannot_hold_comes_in_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from feast_hybrid.asof.columnar import sizes

    monkeypatch.setattr(sizes, "_MAX_CHUNK", 64)
    places = np.array([0, -1, 1, 1, 0, 2, 2, 1] * 3)
    texts = ["a" * 10, "b" * 100, None]
    for column in (pa.array(texts), pa.array([None if text is None else [text] for text in texts])):
        counted: list[int] = []
        found = take_in_pieces(column, places, counted.append)
        assert found.to_pylist() == [None if place < 0 else column[place].as_py() for place in places.tolist()]
        assert found.num_chunks > 5
        assert counted[0] >= 3 * (3 * 100 + 2 * 10)
    assert take_in_pieces(pa.nulls(0, pa.string()), np.full(2, -1)).to_pylist() == [None, None]
    assert take_in_pieces(column, places[:0]).to_pylist() == []


def test_a_pull_of_several_pieces_is_refused_since_engines_take_the_first() -> None:
    # Pages that nobody has written to take no memory.
    size = (1 << 30) + 8
    zeros = pa.py_buffer(np.zeros(size, np.uint8))
    offsets = pa.py_buffer(np.array([0, size], np.int32))
    text: Any = pa.Array.from_buffers(pa.string(), 1, [None, offsets, zeros])
    small = pa.table({"n": pa.chunked_array([[1], [2]])})
    assert in_one_piece(small, "source 's'").column("n").num_chunks == 1
    with pytest.raises(RetrievalError, match=r"source 's': column 'text' has more than 2 GiB in 2 rows, of which"):
        in_one_piece(small.append_column("text", pa.chunked_array([text, text])), "source 's'")
