"""The Spark session: finding or starting it, sessions beside it, running and cancelling.

The only package that knows which kind of session it has, Classic or Connect.
"""

from __future__ import annotations

from feast_hybrid.session.children import child_session, home_of_frames, moved
from feast_hybrid.session.finding import get_session, keep_secrets_out_of_plans
from feast_hybrid.session.hadoop import with_hadoop_azure
from feast_hybrid.session.kind import is_connect, parallelism, tasks_run_here
from feast_hybrid.session.running import run
from feast_hybrid.session.settings import same_setting

__all__ = [
    "child_session",
    "get_session",
    "home_of_frames",
    "is_connect",
    "keep_secrets_out_of_plans",
    "moved",
    "parallelism",
    "run",
    "same_setting",
    "tasks_run_here",
    "with_hadoop_azure",
]
