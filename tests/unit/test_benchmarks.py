"""``make bench``: its data, its tables, and how a run is taken up again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders import SPARK_CONTENDERS, Ours, chain
from benchmarks.data import Task, View, write_history
from benchmarks.far import view_bytes
from benchmarks.local import LocalProcess
from benchmarks.oracle import differences, row_differences
from benchmarks.report import number, report, seconds_table, table, targets_table
from benchmarks.results import Outcome, Result, load, missing, save
from benchmarks.shapes import START, History, shapes
from benchmarks.targets import LOCAL_TARGETS, TARGETS, Target, against_best_strategy, against_fastest

HOUR = timedelta(hours=1)


def result(shape: str = "dense", **seconds: float | None) -> Result:
    """A result with the medians given; None for a contender that was stopped after 60 s."""
    outcomes = {
        name: Outcome(limit=60.0) if median is None else Outcome(seconds=[median] * 3, warm_up=median)
        for name, median in seconds.items()
    }
    return Result(shape=shape, what="words", outcomes=outcomes)


def test_medians_are_of_the_counted_runs() -> None:
    assert Outcome(seconds=[9.0, 1.0, 2.0], warm_up=100.0).median == 2.0


def test_a_contender_that_was_stopped_or_failed_has_no_median() -> None:
    assert Outcome(seconds=[1.0], limit=30.0).median is None
    assert Outcome(seconds=[1.0], failed="out of memory").median is None


def test_a_ratio_to_a_contender_that_was_stopped_is_one_to_its_limit() -> None:
    assert result(ours=6.0, feast=None).ratio("feast") == pytest.approx(0.1)


def test_there_is_no_ratio_to_who_did_not_take_part() -> None:
    assert result(ours=6.0).ratio("tempo") is None


def test_ours_is_compared_with_the_fastest_spark_peer_and_not_with_duckdb() -> None:
    assert against_fastest(result(ours=6.0, chain=12.0, feast=3.0, tempo=None, duckdb=1.0)) == pytest.approx(2.0)


def test_the_worst_shape_counts() -> None:
    results = {"dense": result(ours=1.0, chain=2.0), "small": result("small", ours=3.0, chain=2.0)}
    worst = TARGETS[0]
    assert worst.value(results) == pytest.approx(1.5)
    assert worst.met(results) is False


def test_the_planner_s_choice_is_compared_with_the_better_strategy_where_both_took_part() -> None:
    chosen = result("views", ours=6.0, **{"ours-columnar": 5.0, "ours-window": None})
    assert against_best_strategy(chosen) == pytest.approx(1.2)
    assert against_best_strategy(result("dense", ours=6.0, chain=1.0)) is None


def test_targets_between_shapes_need_both_of_them() -> None:
    (four,) = [target for target in TARGETS if target.text.startswith("four times")]
    assert four.met({"four": result("four", ours=8.0)}) is None
    assert four.met({"four": result("four", ours=8.0), "dense": result(ours=2.0)}) is True


@pytest.mark.parametrize("targets", [TARGETS, LOCAL_TARGETS], ids=["all", "local"])
def test_every_target_is_silent_about_what_was_not_measured(targets: tuple[Target, ...]) -> None:
    assert [target.value({}) for target in targets] == [None] * len(targets)


def test_the_local_engine_is_measured_against_duckdb_and_its_own_time_for_less() -> None:
    results = {
        "dense": result(ours=9.0, local=2.0, duckdb=4.0),
        "four": result("four", ours=9.0, local=10.0),
    }
    found = {target.text: target.value(results) for target in LOCAL_TARGETS}
    assert {text: value for text, value in found.items() if value is not None} == {
        "dense: ours (local) ÷ DuckDB": 0.5,
        "four times the history: ours (local) ÷ itself in dense": 5.0,
    }


def test_a_cold_start_counts_from_the_quicker_of_feast_s_own() -> None:
    cold = result("cold", local=3.5, start=2.5, **{"start-file": 2.75})
    (target,) = [target for target in LOCAL_TARGETS if target.text.startswith("cold")]
    assert target.value({"cold": cold}) == pytest.approx(1.0)
    assert target.met({"cold": cold}) is False


def test_a_report_has_a_table_of_the_local_engine_s_targets_where_one_of_them_was_measured() -> None:
    title = "## Targets of the local engine"
    assert title in report({"dense": result(ours=1.0, local=1.0, duckdb=2.0)}, 1.0, None)
    assert title not in report({"dense": result(ours=1.0, duckdb=2.0)}, 1.0, None)


def test_all_of_ours_beside_the_local_engine_are_in_spark() -> None:
    ours = [kind for kind in SPARK_CONTENDERS.values() if issubclass(kind, Ours)]
    assert len(ours) == 4
    for kind in ours:
        contender = kind.__new__(kind)
        contender.lakes = None
        assert contender.store_config()["engine"] == "spark"


def test_bytes_are_compared_at_the_worst_run() -> None:
    far = result("far", ours=1.0)
    far.needed = {"hdfs": 100, "adls": 200}
    far.outcomes["ours"].bytes_read = [{"hdfs": 100, "adls": 200}, {"hdfs": 150, "adls": 200}]
    found = {target.text: target.value({"far": far}) for target in TARGETS if "bytes" in target.text}
    assert list(found.values()) == [1.5, 1.0]


def test_tables_are_aligned() -> None:
    assert table(["a", "long"], [["xyz", "1"]]).splitlines() == ["| a   | long |", "|-----|------|", "| xyz | 1    |"]


def test_a_line_of_seconds_has_ratios_limits_and_other_answers() -> None:
    found = result(ours=3.0, chain=6.0, feast=None, duckdb=1.0)
    found.outcomes["chain"].differs = ["sum of v0__f0 is 1 instead of 2"]
    line = seconds_table({"dense": found}).splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("dense", "3.00", "6.00 (0.50) ≠", "> 60 (<0.050)", "1.00 (3.00)", "0.50")
    ]


def test_numbers_keep_what_counts() -> None:
    numbers = (0.0, 0.0711, 0.711, 7.11, 71.1, 711.1, -0.554)
    assert [number(value) for value in numbers] == ["0", "0.071", "0.71", "7.11", "71.1", "711", "-0.55"]


def test_a_target_that_is_missed_shows() -> None:
    assert "| **no** |" in targets_table({"dense": result(ours=3.0, chain=6.0)})


def test_a_report_says_why_a_contender_failed() -> None:
    found = result(ours=1.0)
    found.outcomes["tempo"] = Outcome(failed="AttributeError: no such thing")
    assert "dbl-tempo failed: AttributeError: no such thing" in report({"dense": found}, 1.0, None)


def test_a_report_of_a_smaller_size_says_so() -> None:
    assert "At 0.1 of the size" in report({"dense": result(ours=1.0)}, 0.1, None)
    assert "of the size" not in report({"dense": result(ours=1.0)}, 1.0, None).partition("## The shapes")[0]


def test_finished_shapes_are_not_measured_again_unless_asked_for(tmp_path: Path) -> None:
    save(result(ours=1.0), tmp_path)
    assert missing(["dense", "sparse"], tmp_path, again=False) == ["sparse"]
    assert missing(["dense", "sparse"], tmp_path, again=True) == ["dense", "sparse"]


def test_a_result_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    kept = result(ours=1.0, feast=None)
    save(kept, tmp_path)
    assert load(tmp_path) == {"dense": kept}


def test_a_shape_that_was_interrupted_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / ".dense.json").write_text(json.dumps({"shape": "de"})[:5])
    assert missing(["dense"], tmp_path, again=False) == ["dense"]


def test_a_checksum_may_differ_in_the_order_of_additions_only() -> None:
    assert differences({"rows": 3, "sum of a": 1.0}, {"rows": 3, "sum of a": 1.0 + 1e-14}) == []
    assert differences({"rows": 3, "sum of a": 1.0}, {"rows": 4, "sum of a": 1.00001}) == [
        "rows is 4 instead of 3",
        "sum of a is 1.00001 instead of 1.0",
    ]


def test_rows_are_compared_value_by_value_in_whatever_order_they_come() -> None:
    import pandas as pd

    view = View(history=history(used_features=1), path="/rows")
    task = Task(entities="/entities", keys=("k",), views=(view,), pandas=False)
    expected = pd.DataFrame({"row": [0, 1, 2], "k": [5, 6, 7], "v0__f0": [0.5, None, 0.25]})
    assert row_differences(task, expected, expected.iloc[::-1]) == []
    changed: Any = [0.5, 0.25, None]
    assert row_differences(task, expected, expected.assign(v0__f0=changed)) == ["v0__f0 differs in 2 rows"]
    assert row_differences(task, expected, expected[:2]) == ["2 rows instead of 3"]


@pytest.mark.parametrize("name", list(shapes()))
def test_scaling_leaves_the_rows_of_a_key_as_they_are(name: str) -> None:
    full, tenth = shapes()[name], shapes(0.1)[name]
    assert [h.steps for h in full.histories] == [h.steps for h in tenth.histories]
    assert full.history_rows in (tenth.history_rows, pytest.approx(10 * tenth.history_rows, rel=1e-3))


def history(**changes: object) -> History:
    return History(**{"name": "v0", "keys": 20, "steps": 12, "features": 2, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "features", [history(), history(hot=120), history(share=0.5, step=12 * HOUR, partitioned=True)], ids=repr
)
def test_histories_have_no_ties_and_as_many_rows_as_they_say(features: History, tmp_path: Path) -> None:
    import pandas as pd

    write_history(features, tmp_path)
    files = sorted(tmp_path.rglob("*.parquet"))
    rows = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    assert len(rows) == features.rows
    assert not rows.duplicated(["k", "ts"]).any()
    assert rows["ts"].is_monotonic_increasing
    assert rows["ts"].between(START, features.end, inclusive="left").all()
    assert (rows["k"] == 0).sum() == (
        features.hot or pytest.approx(features.steps * features.share, abs=features.steps)
    )


def test_a_partition_holds_its_day(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_history(history(step=12 * HOUR, partitioned=True), tmp_path)
    assert [folder.name for folder in sorted(tmp_path.iterdir())] == [f"day=2026-01-0{day}" for day in range(1, 7)]
    times = pq.ParquetFile(tmp_path / "day=2026-01-02" / "part-0.parquet").read()["ts"].to_pylist()
    assert {time.day for time in times} == {2}


def test_files_hold_as_many_steps_as_they_are_to(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_history(history(file_steps=5), tmp_path)
    assert [pq.read_metadata(file).num_rows for file in sorted(tmp_path.iterdir())] == [100, 100, 40]


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_history(history(), tmp_path / name)
    one, two = (next((tmp_path / name).iterdir()).read_bytes() for name in ("one", "two"))
    assert one == two


def test_needed_are_the_columns_and_row_groups_that_matter(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    features = history(step=12 * HOUR, partitioned=True, used_features=1, ttl=timedelta(days=1))
    write_history(features, tmp_path)
    footer = pq.read_metadata(tmp_path / "day=2026-01-06" / "part-0.parquet").row_group(0)
    columns = {footer.column(i).path_in_schema: footer.column(i).total_compressed_size for i in range(5)}
    wanted = sum(size for name, size in columns.items() if name != "f1")
    view = View(history=features, path=str(tmp_path))
    # The ttl reaches back into the middle of the day before.
    found = view_bytes(view, features.end - 12 * HOUR, features.end)
    assert wanted < found < 2.5 * wanted


def test_the_chain_reads_only_what_is_asked_for_and_applies_the_ttl() -> None:
    view = View(history=history(used_features=1, ttl=timedelta(days=2)), path="/rows")
    text = chain(Task(entities="/entities", keys=("k",), views=(view,), pandas=False))
    assert "LEFT ASOF JOIN (SELECT k, ts, f0 FROM v0) v0 MATCH_CONDITION (e.event_timestamp >= v0.ts)" in text
    assert "CASE WHEN v0.ts >= e.event_timestamp - INTERVAL '172800' SECOND THEN v0.f0 END AS v0__f0" in text


def test_the_local_engine_answers_in_a_process_of_its_own_and_says_why_it_cannot(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = history(used_features=1)
    write_history(features, tmp_path / "rows")
    entities = {
        "row": [0, 1],
        "k": [3, 99],
        "event_timestamp": pa.array([features.end] * 2, pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(entities), tmp_path / "entities.parquet")

    def task(form: str) -> Task:
        view = View(history=history(used_features=1, form=form), path=str(tmp_path / "rows"))
        return Task(entities=str(tmp_path / "entities.parquet"), keys=("k",), views=(view,), pandas=False)

    local = LocalProcess(task("parquet"), "1g")
    try:
        local.tidy()
        assert local.run(hand_over=False) is None
        answer = local.run(hand_over=True)
    finally:
        local.close()
    assert answer is not None
    found = answer.sort_values("row")["v0__f0"]
    assert list(found.isna()) == [False, True]

    local = LocalProcess(task("query"), "1g")
    try:
        with pytest.raises(RuntimeError, match=r"NotSupportedError: .*the local engine cannot answer this"):
            local.run(hand_over=False)
    finally:
        local.close()
