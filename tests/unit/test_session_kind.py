"""A process that its environment sets to Spark Connect."""

from __future__ import annotations

from typing import Any

import pytest

from feast_hybrid.errors import SessionError
from feast_hybrid.spark.config import SparkConfig
from feast_hybrid.spark.session import get_session


@pytest.mark.parametrize(
    ("environment", "spark"),
    [
        ({"SPARK_CONNECT_MODE_ENABLED": "1"}, {}),
        ({"SPARK_CONNECT_MODE_ENABLED": "1"}, {"master": "local[1]"}),
        ({"SPARK_REMOTE": "sc://127.0.0.1:1"}, {"master": "local[1]"}),
        ({"SPARK_REMOTE": "local"}, {}),
    ],
)
def test_a_process_set_to_connect_without_a_server_is_told_what_to_set(
    environment: dict[str, str], spark: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (setting,) = environment
    with pytest.raises(SessionError, match=rf"Spark Connect \({setting};.*offline_store.spark.remote"):
        get_session(SparkConfig(**spark))


def test_with_the_client_for_connect_alone_no_setting_is_blamed_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyspark.util._is_remote_only", True)
    with pytest.raises(
        SessionError, match=r"client of Spark Connect alone.*set offline_store.spark.remote"
    ) as caught:
        get_session(SparkConfig())
    assert "SPARK_CONNECT_MODE_ENABLED" not in str(caught.value)
