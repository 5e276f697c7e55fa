"""A shape's files on the real servers of both lakes, and the bytes that are read there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.testing import AdlsLake, HdfsLake, session_conf, start_all

if TYPE_CHECKING:
    from benchmarks.data import Task, View


@dataclass(frozen=True)
class Lakes:
    """Both lakes, running."""

    hdfs: HdfsLake
    adls: AdlsLake

    def sites(self) -> list[dict[str, Any]]:
        """``offline_store.sites``."""
        return [self.hdfs.site("onprem"), self.adls.site("cloud")]

    def conf(self) -> dict[str, str]:
        """The session's settings, with those by which contenders that know no sites reach the lakes."""
        options = {**self.hdfs.hadoop_options(), **self.adls.hadoop_options()}
        return {**session_conf(), **{f"spark.hadoop.{key}": value for key, value in options.items()}}

    def bytes_read(self) -> dict[str, int]:
        """What the servers have sent of files so far."""
        return {"hdfs": self.hdfs.bytes_read(), "adls": self.adls.bytes_read()}


@contextmanager
def started() -> Iterator[Lakes]:
    """Both lakes as processes of this machine."""
    lakes = Lakes(HdfsLake("process"), AdlsLake("process"))
    with start_all((lakes.hdfs, lakes.adls)):
        yield lakes


def upload(task: Task, lakes: Lakes) -> Task:
    """The task with its first view on HDFS and the others on ADLS."""
    views = []
    for number, view in enumerate(task.views):
        lake = lakes.adls if number else lakes.hdfs
        root = f"/{lakes.adls.container}/{view.name}" if number else f"/{view.name}"
        filesystem = lake.filesystem()
        files = sorted(Path(view.path).rglob("*.parquet"))
        for file in files:
            target = f"{root}/{file.relative_to(view.path)}"
            filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(file), target)
        views.append(replace(view, path=f"{lake.uri}/{view.name}"))
    return replace(task, views=tuple(views))


def needed_bytes(task: Task, since: datetime, until: datetime) -> dict[str, int]:
    """The size of the columns and row groups that matter, by lake, from the footers of the local files.

    Key, time, created time and what is asked for; row groups with rows between ``since`` less the ttl and ``until``.
    """
    found = {"hdfs": 0, "adls": 0}
    for number, view in enumerate(task.views):
        found["adls" if number else "hdfs"] += view_bytes(view, since, until)
    return found


def view_bytes(view: View, since: datetime, until: datetime) -> int:
    """The part of one view."""
    import pyarrow.parquet as pq

    wanted = {view.history.key, "ts", "created", *view.features}
    begin = since - view.history.ttl if view.history.ttl is not None else None
    total = 0
    for file in sorted(Path(view.path).rglob("*.parquet")):
        footer = pq.read_metadata(file)
        for group in range(footer.num_row_groups):
            chunks = [footer.row_group(group).column(i) for i in range(footer.num_columns)]
            times = next(chunk.statistics for chunk in chunks if chunk.path_in_schema == "ts")
            if times.min > until or (begin is not None and times.max < begin):
                continue
            total += sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in wanted)
    return total
