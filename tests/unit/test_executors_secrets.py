"""A task reads a file itself only with the secrets of whoever made the plan."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from feast_hybrid.errors import AccessDeniedError, AuthenticationError, CredentialError
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.lakes.opener import CanOpen, SiteOpener

CLOUD = "abfss://features@acct.dfs.core.windows.net"
KEY = "czNjcmV0"


@pytest.fixture
def location(monkeypatch: pytest.MonkeyPatch) -> Location:
    monkeypatch.setenv("THE_KEY", KEY)
    credential = {"type": "account_key", "account_key": {"env": "THE_KEY"}}
    site = Site.model_validate({"name": "cloud", "uri": CLOUD, "credential": credential})
    return Router([site]).locate(f"{CLOUD}/rows")


def refuses_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(SiteOpener, "__call__", refuse)


def test_another_secret_is_refused_and_none_is_shown(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    check = pickle.loads(pickle.dumps(CanOpen(SiteOpener.of(location), "features/rows/a")))
    assert KEY.encode() not in pickle.dumps(check)
    monkeypatch.setenv("THE_KEY", "b3RoZXI=")
    with pytest.raises(CredentialError, match=r"another one there .*environment variable THE_KEY\)") as refused:
        check()
    assert "b3RoZXI=" not in str(refused.value)
    monkeypatch.delenv("THE_KEY")
    with pytest.raises(CredentialError, match="THE_KEY is not set"):
        check()


def test_executors_are_tried_again_for_another_secret(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    before = repr(SiteOpener.of(location))
    assert repr(SiteOpener.of(location)) == before
    monkeypatch.setenv("THE_KEY", "b3RoZXI=")
    assert repr(SiteOpener.of(location)) != before


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_same_secret_is_the_lake_s_answer(
    location: Location, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    from azure.core.exceptions import HttpResponseError

    error = HttpResponseError("no")
    error.status_code = status
    refuses_with(monkeypatch, error)
    expected = {401: AuthenticationError, 403: AccessDeniedError}[status]
    with pytest.raises(expected, match=r"a task of Spark's: site 'cloud' .*environment variable THE_KEY"):
        CanOpen(SiteOpener.of(location), "features/rows/a")()


def test_the_platform_s_way_for_python_may_be_none_where_spark_has_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuses_with(monkeypatch, PermissionError("not yours"))
    opener = SiteOpener.of(Router().locate(f"file://{tmp_path}/a"))
    assert opener.secret_digest == ""
    with pytest.raises(PermissionError):
        CanOpen(opener, "a")()
