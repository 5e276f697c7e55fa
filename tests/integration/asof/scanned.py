"""Views whose frames are on local disk as Parquet, so that the columnar strategy can read them itself."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.asof import AsOfView, Ineligible, JoinPlan, JoinRequest, Scan, ScanFile, asof_join, planned_join

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def open_local(path: str) -> str:
    return path


def scan_of(folder: Path) -> Scan:
    """All Parquet files of a folder."""
    files = [ScanFile(str(file), file.stat().st_size) for file in sorted(folder.rglob("*.parquet"))]
    return Scan(files=tuple(files), open=open_local)


def scanned(view: AsOfView, folder: Path) -> AsOfView:
    """The view with its frame's rows in files of small row groups; as it is where blocks do not hold a type of it."""
    fields = view.frame.schema.fields
    repeats = len({field.name for field in fields}) < len(fields)
    if repeats or any(arrow_type_of_spark(field.dataType) is None for field in fields):
        return dataclasses.replace(view, scan=Ineligible("its types are not written to Parquet"))
    folder.mkdir(parents=True, exist_ok=True)
    table = view.frame.toArrow()
    half = table.num_rows // 2
    for n, part in enumerate((table.slice(0, half), table.slice(half))):
        pq.write_table(part, folder / f"part-{n}.parquet", row_group_size=7)
    return dataclasses.replace(view, scan=scan_of(folder))


def join(entities: DataFrame, views: Sequence[AsOfView], *, strategy: str, **more: Any) -> DataFrame:
    """``asof_join``; for the columnar strategy the views' rows are put into files first, or they stay Spark's."""
    if strategy == "columnar":
        folder = Path(tempfile.mkdtemp(prefix="fh-asof-"))
        views = [scanned(view, folder / str(n)) for n, view in enumerate(views)]
    name = "columnar" if strategy == "rows by Spark" else strategy
    return asof_join(entities, views, strategy=name, **more)


def plan(entities: DataFrame, views: Sequence[AsOfView], **more: Any) -> JoinPlan:
    """How ``asof_join`` would do it, with the same arguments."""
    return planned_join(JoinRequest(entities=entities, views=views, **more))[1]
