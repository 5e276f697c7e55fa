"""Several writers that replace one folder at once, in threads and processes: one of them is there, whole.

As a program, ``SITE URI NAME ROUNDS`` is one writer and prints how each of its rounds ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes import Location, Router, Site, replace
from feast_hybrid.lakes.markers import BEING_REPLACED
from tests.integration.faulty import SEEDS
from tests.integration.places import Place, abfs_speaks_to_azurite, outside_of_spark
from tests.integration.reliability import reliability

#: What a writer's file is called, and that all writers have; the more files, the longer is a moment on ADLS.
FILES = ("data.parquet", "day=1/part.parquet", "day=2/part.parquet", "more.parquet")
#: How often each writer does: more often in ``make test-faults``.
ROUNDS = 6 if len(SEEDS) > 1 else 3
THREADS, PROCESSES = 4, 2


def located(site: dict[str, object], uri: str) -> Location:
    return Router([Site.model_validate(site)]).locate(uri)


def save(target: Location, rows: str) -> str:
    """What ``persist`` does with files of its own; empty, or the error's text."""
    new = replace.aside(target)
    filesystem = target.fs
    for name in (*FILES, "_SUCCESS"):
        file = new.child(name)
        filesystem.makedirs(file.parent().path, exist_ok=True)
        with filesystem.open(file.path, "wb") as opened:
            opened.write(f"{rows}/{name}".encode())
    try:
        replace.recover(target)
        replace.put_in_place(new, target)
    except WriteError as error:
        return str(error)
    finally:
        replace.remove(new)
    return ""


def rows_at(target: Location) -> dict[str, int] | None:
    """Whose files are there, and how many of each; None where a reader would have failed."""
    filesystem = target.fs
    listed = filesystem.find(target.path, detail=True)
    if any(BEING_REPLACED in file for file in listed):
        return None
    found: Counter[str] = Counter()
    try:
        for file in listed:
            if not file.endswith("_SUCCESS"):
                found[filesystem.cat_file(file).decode().partition("/")[0]] += 1
        same = filesystem.find(target.path, detail=True) == listed
    except FileNotFoundError:
        return None
    return dict(found) if same else None


def write(target: Location, writer: str, rounds: int) -> list[tuple[str, str]]:
    names = [f"{writer}-{number}" for number in range(rounds)]
    return [(name, save(target, name)) for name in names]


@reliability(
    "Writers",
    "six writers in threads and processes replace one folder, on each lake",
    "one of them is there, whole; readers never see a part or a mix",
)
@pytest.mark.parametrize(
    "role",
    ["onprem", pytest.param("cloud", marks=pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="no ADLS"))],
)
def test_writers_at_once_leave_one_writers_rows_whole(place: Place, folder: str) -> None:
    uri = f"{place.uri}{folder}/set"
    target = located(place.site(), uri)
    assert save(target, "first") == ""
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(place.site()), uri, f"process{number}", str(ROUNDS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=outside_of_spark(),
        )
        for number in range(PROCESSES)
    ]
    done = threading.Event()
    seen: list[dict[str, int]] = []

    def watch() -> None:
        while not done.is_set():
            if rows := rows_at(target):
                seen.append(rows)

    with ThreadPoolExecutor(THREADS + 1) as pool:
        watching = pool.submit(watch)
        try:
            writers = [pool.submit(write, target, f"thread{number}", ROUNDS) for number in range(THREADS)]
            outcomes = [outcome for writer in writers for outcome in writer.result()]
        finally:
            done.set()
        watching.result()
    for program in programs:
        printed, complaint = program.communicate(timeout=300)
        assert program.returncode == 0, complaint
        outcomes += [(name, error) for name, error in json.loads(printed.splitlines()[-1])]

    assert len(outcomes) == ROUNDS * (THREADS + PROCESSES)
    good = {name for name, error in outcomes if not error} | {"first"}
    assert all(uri in error for _, error in outcomes if error)
    assert not any("half replaced" in error or "could not be put back" in error for _, error in outcomes)
    assert len(good) > ROUNDS / 2
    last = rows_at(target)
    assert last in [{name: len(FILES)} for name in good]
    assert seen
    assert [rows for rows in seen if [*rows.values()] != [len(FILES)]] == [], "a part or a mix was read"


if __name__ == "__main__":
    _, described, place_uri, own_name, count = sys.argv
    print(json.dumps(write(located(json.loads(described), place_uri), own_name, int(count))))
