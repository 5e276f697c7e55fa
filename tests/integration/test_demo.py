"""The demo as a user runs it: one process from its first step to its last line, then the commands that it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import yaml

from feast_hybrid.demo.data import Tables, read_tables

BIN = Path(sys.executable).parent
SECONDS = 900


@dataclass
class Demo:
    """A demo that has come to its last lines, its lakes still running."""

    folder: Path
    output: str
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> list[str]:
        return [line.split("  # ")[0].strip() for line in self.output.splitlines()[-3:]]

    def file(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    where = tmp_path_factory.mktemp("demo")
    log = where / "output.txt"
    command = [str(BIN / "feast-hybrid"), "--debug", "demo", "--repo", "here", "--flights", "5000", "--keep"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=where, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + SECONDS
        while "# and in the past" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the demo did not come to its end:\n{log.read_text()}")
            time.sleep(1)
        found = Demo(where / "here", log.read_text())
        found.answers = {command: _shell(command, where) for command in found.commands}
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to all that share the terminal
        process.wait(60)
        yield found
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def _shell(command: str, where: Path) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tables() -> Tables:
    return read_tables()


def _values(printed: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in printed.splitlines() if len(line.split(maxsplit=1)) == 2)


def test_every_step_says_its_site_and_how_long_it_took(demo: Demo) -> None:
    steps = re.findall(r"^\[(\d+)/(\d+)\] .+ · (.+)$", demo.output, re.MULTILINE)
    assert [int(number) for number, _, _ in steps] == list(range(1, 12))
    assert {total for _, total, _ in steps} == {"11"}
    assert len(re.findall(r"^ {6}\d+\.\d s$", demo.output, re.MULTILINE)) == len(steps)


def test_the_downloads_are_told_apart(demo: Demo) -> None:
    assert re.search(r"^Done in \d+ s, and \d+ s of downloads\.$", demo.output, re.MULTILINE)


def test_spark_s_log_is_quiet(demo: Demo) -> None:
    assert not re.search(r"\b(WARN|INFO|ERROR)\b|Warning:|Traceback", demo.output)


def test_the_lakes_features_make_a_better_model(demo: Demo) -> None:
    booking = re.search(r"the booking alone +(0\.\d{3}) +(0\.\d{3})", demo.output)
    lakes = re.search(r"with both lakes +(0\.\d{3}) +(0\.\d{3})", demo.output)
    assert booking is not None
    assert lakes is not None
    assert float(booking[1]) + 0.05 < float(lakes[1]) < 0.9  # above that it would know the future


def test_training_and_serving_agree(demo: Demo) -> None:
    found = re.search(
        r"(\d+) flights: ([\d,]+) values compared \(([\d,]+) of them null.*\), (\d+) mismatches", demo.output
    )
    assert found is not None
    flights, values, nulls, mismatches = (int(number.replace(",", "")) for number in found.groups())
    assert flights > 300
    assert values == 27 * flights
    assert nulls < values // 5
    assert mismatches == 0


def test_the_event_log_was_written_and_no_file_or_output_holds_the_key(demo: Demo) -> None:
    store = yaml.safe_load(demo.file("feature_store.yaml"))
    key_file = Path(store["offline_store"]["sites"][1]["credential"]["account_key"]["file"])
    key = key_file.read_text()
    assert len(key) > 40
    events = [file for file in (demo.folder / "spark-events").rglob("*") if "events" in file.name and file.is_file()]
    assert sum(file.stat().st_size for file in events) > 100_000
    texts = {str(file): file.read_bytes() for file in demo.folder.rglob("*") if file.is_file() and file != key_file}
    texts |= {"output": demo.output.encode()} | {name: text.encode() for name, text in demo.answers.items()}
    assert demo.folder / "data" / "registry.db" in {Path(name) for name in texts}
    assert [name for name, text in texts.items() if key.encode() in text] == []


def test_the_event_log_is_of_a_session_that_wrote_to_the_cloud(demo: Demo) -> None:
    written = b"".join(file.read_bytes() for file in (demo.folder / "spark-events").rglob("events_*"))
    account = re.search(r"abfs://lake@(\w+)", demo.file("features.py"))
    assert account is not None
    assert account[1].encode() in written


def test_the_first_command_lists_the_views(demo: Demo) -> None:
    listed = demo.answers[demo.commands[0]]
    for view in ("weather", "carrier_delays", "aircraft_delays", "route_delays", "wind_on_course"):
        assert view in listed


def test_the_second_command_works_without_the_lakes(demo: Demo) -> None:
    again = _shell(demo.commands[1], demo.folder.parent)  # they have ended by now
    assert again == demo.answers[demo.commands[1]]
    assert float(_values(again)["carrier_delays__mean_delay_24h"]) == pytest.approx(0, abs=500)


def test_the_third_command_knows_what_had_been_loaded_and_nothing_later(demo: Demo, tables: Tables) -> None:
    answer = _values(demo.answers[demo.commands[2]])
    event_timestamp = pd.Timestamp(answer["event_timestamp"])
    past = tables.flights[
        tables.flights["arrived"] <= event_timestamp.floor("h")
    ]  # arrivals are loaded each full hour

    airline = past[past["carrier"] == answer["carrier"]]
    assert float(answer["carrier_delays__mean_delay_24h"]) == pytest.approx(_mean(airline, hours=24))
    assert float(answer["carrier_delays__flights_24h"]) == len(_last(airline, hours=24))
    route = past[(past["origin"] == answer["origin"]) & (past["dest"] == answer["dest"])]
    assert float(answer["route_delays__late_share_7d"]) == pytest.approx(_last(route, hours=168)["late"].mean())
    ten = past[past["tailnum"] == answer["tailnum"]].sort_values("arrived").tail(10)
    assert float(answer["aircraft_delays__mean_delay_10"]) == pytest.approx(ten["arr_delay"].mean())
    reports = tables.weather[tables.weather["origin"] == answer["origin"]]
    report = reports[reports["event_timestamp"] <= event_timestamp].sort_values("event_timestamp").iloc[-1]
    assert float(answer["weather__temp"]) == report["temp"]


def _last(flights: pd.DataFrame, *, hours: int) -> pd.DataFrame:
    arrived = flights["arrived"]
    last: pd.DataFrame = flights.loc[arrived > arrived.max() - pd.Timedelta(hours=hours)]
    return last


def _mean(flights: pd.DataFrame, *, hours: int) -> float:
    return float(_last(flights, hours=hours)["arr_delay"].mean())


def test_both_lakes_have_ended_with_ctrl_c(demo: Demo) -> None:
    folder = re.escape(str(demo.folder))
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not re.search(folder, running)
    port = re.search(r"hdfs://127\.0\.0\.1:(\d+)", demo.file("features.py"))
    assert port is not None
    assert f"127.0.0.1:{port[1]}" not in running
