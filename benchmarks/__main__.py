"""The as-of join against its peers, shape by shape: ``make bench``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.applying import measure_apply
from benchmarks.cold import measure_cold
from benchmarks.measure import STUCK
from benchmarks.report import ASIDE, PLOT, draw, report
from benchmarks.results import load, missing, save
from benchmarks.shapes import Shape, shapes

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / ".results"


def run_shape(shape: Shape, scale: float, runs: int, contenders: list[str], folder: Path) -> bool:
    """Measure a shape in a process of its own; again, without it, where a contender could not be stopped."""
    without: list[str] = []
    with tempfile.TemporaryDirectory() as aside:
        out = Path(aside) / "out.json"
        while True:
            command = [sys.executable, "-m", "benchmarks.measure", "--shape", shape.name, "--scale", str(scale)]
            command += ["--runs", str(runs), "--contenders", ",".join(contenders), "--out", str(out), *without]
            code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
            if code != STUCK:
                break
            stuck = json.loads(out.read_text())
            click.echo(f"{shape.name}: {stuck['stuck']} could not be stopped; once more without it", err=True)
            without += ["--without", stuck["stuck"], str(stuck["limit"])]
        found = load(Path(aside)) if code == 0 else {}
    for result in found.values():
        save(result, folder)
    return bool(found)


@click.command()
@click.option("--shapes", "chosen", default="", help="With commas between them; all, apply and cold by default.")
@click.option("--scale", default=1.0, show_default=True, help="How many keys and entity rows, of the full size.")
@click.option("--runs", default=3, show_default=True, help="Counted runs of each contender.")
@click.option(
    "--contenders", default="", help="Instead of those of each shape; ours-window and the like are known too."
)
@click.option("--again", is_flag=True, help="Measure what was measured before, too.")
def main(chosen: str, scale: float, runs: int, contenders: str, again: bool) -> None:
    """Measure the shapes that are not yet measured, and write the report."""
    known = shapes(scale)
    wanted = [name.strip() for name in chosen.split(",") if name.strip()] or [*known, *ASIDE]
    if unknown := set(wanted) - set(known) - set(ASIDE):
        raise click.BadParameter(f"no shape {', '.join(sorted(unknown))}; there are {', '.join([*known, *ASIDE])}")
    folder = RESULTS / f"{scale:g}"
    failed = []
    for name in missing(wanted, folder, again=again):
        began = time.monotonic()
        if name == "apply":
            save(measure_apply(runs), folder)
        elif name == "cold":
            save(measure_cold(known["small"], runs), folder)
        else:
            shape = known[name]
            names = contenders.split(",") if contenders else list(shape.contenders)
            if not run_shape(shape, scale, runs, names, folder):
                failed.append(name)
        click.echo(f"{name}: {time.monotonic() - began:.0f} s in all", err=True)
    write_report(folder, scale)
    if failed:
        raise click.ClickException(f"not measured: {', '.join(failed)}")


def write_report(folder: Path, scale: float) -> None:
    """Print the report; at full size it is docs/benchmarks.md, else it stays beside the results."""
    results = load(folder)
    docs = ROOT / "docs" if scale == 1 else folder
    plotted = draw(results, docs / PLOT)
    text = report(results, scale, PLOT if plotted else None)
    folder.mkdir(parents=True, exist_ok=True)
    target = docs / ("benchmarks.md" if scale == 1 else "report.md")
    target.write_text(text)
    click.echo(text)
    click.echo(f"{os.path.relpath(target)}", err=True)


if __name__ == "__main__":
    main()
