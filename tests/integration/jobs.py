"""Which jobs a Spark application has run, seen from outside of the code under test."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.testing import SparkConnectServer


class Jobs(Protocol):
    """The jobs of the run's Spark application."""

    def running(self) -> list[int]:
        """The numbers of the jobs that run now."""

    def last(self) -> int:
        """The number of the last job that was begun; -1 before the first."""

    def names_after(self, last: int) -> list[str]:
        """What Spark calls the jobs that were begun after one: the call that ran them."""

    def words_after(self, last: int) -> str:
        """What else Spark's UI shows of those jobs: descriptions, groups and tags."""


class ClassicJobs:
    def __init__(self, spark: SparkSession) -> None:
        self._store = spark.sparkContext._jsc.sc().statusStore()

    def running(self) -> list[int]:
        return [job.jobId() for job in self._jobs() if job.status().toString() == "RUNNING"]

    def last(self) -> int:
        return max((job.jobId() for job in self._jobs()), default=-1)

    def names_after(self, last: int) -> list[str]:
        return [job.name() for job in self._jobs() if job.jobId() > last]

    def words_after(self, last: int) -> str:
        return "\n".join(
            f"{_shown(job.description())} {_shown(job.jobGroup())}" for job in self._jobs() if job.jobId() > last
        )

    def _jobs(self) -> list[Any]:
        found = self._store.jobsList(None)
        return [found.apply(i) for i in range(found.size())]


def _shown(option: Any) -> Any:
    """What a Scala ``Option`` holds, or an empty text: py4j hands no ``None`` to ``getOrElse``."""
    return option.get() if option.isDefined() else ""


class ConnectJobs:
    def __init__(self, server: SparkConnectServer) -> None:
        self._server = server

    def running(self) -> list[int]:
        return [job["jobId"] for job in self._server.jobs("running")]

    def last(self) -> int:
        return max((job["jobId"] for job in self._server.jobs()), default=-1)

    def names_after(self, last: int) -> list[str]:
        return [job["name"] for job in self._server.jobs() if job["jobId"] > last]

    def words_after(self, last: int) -> str:
        return "\n".join(" ".join(job["jobTags"]) for job in self._server.jobs() if job["jobId"] > last)


def ended(jobs: Jobs, *, seconds: float = 20) -> bool:
    """Whether all jobs end within some seconds."""
    deadline = time.monotonic() + seconds
    while jobs.running():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
