"""One file system for each lake and sign-in in a process: shared, closed after its last user, never stale."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from feast_hybrid.errors import CredentialError
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.lakes.opener import SiteOpener
from feast_hybrid.lakes.shared_filesystems import SHARED

CLOUD = "abfss://features@acct.dfs.core.windows.net"
KEY = "czNjcmV0"


@pytest.fixture(autouse=True)
def _the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)


def cloud(secret: Any = None, **more: Any) -> Site:
    credential = {"type": "account_key", "account_key": secret or {"env": "THE_KEY"}}
    return Site.model_validate({"name": "cloud", "uri": CLOUD, "credential": credential, **more})


def onprem(**more: Any) -> Site:
    return Site.model_validate({"name": "onprem", "uri": "hdfs://127.0.0.1:9", **more})


@pytest.fixture(params=[cloud, onprem])
def make(request: pytest.FixtureRequest) -> Callable[..., Site]:
    chosen: Callable[..., Site] = request.param
    return chosen


def locations(site: Site) -> list[Location]:
    router = Router([site])
    return [router.locate(f"{site.uri}/{name}") for name in "ab"]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    return condition()


class TestShared:
    def test_all_locations_of_a_site_have_one(self, make: Callable[..., Site]) -> None:
        one, other = locations(make())
        assert one.fs is other.fs is one.parent().fs is one.child("c").fs

    def test_two_sites_that_sign_in_alike_have_one(self, make: Callable[..., Site]) -> None:
        one, other = make(), make(name="other")
        assert one.filesystem() is other.filesystem()

    def test_another_sign_in_or_option_has_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("b3RoZXI=")
        sites = [cloud(), cloud({"file": str(tmp_path / "key")}), cloud(options={"a": "1"}), onprem()]
        assert len({id(filesystem) for filesystem in [site.filesystem() for site in sites]}) == 4

    def test_threads_get_one(self, make: Callable[..., Site]) -> None:
        site = make()
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: site.filesystem(), range(64)))
        assert len(set(map(id, found))) == 1

    def test_it_is_gone_with_its_last_user(self, make: Callable[..., Site]) -> None:
        site = make(options={"only": "here"})
        location = locations(site)[0]
        open_one = weakref.ref(location.fs)
        del site
        gc.collect()
        assert open_one() is not None
        del location
        assert eventually(lambda: open_one() is None)


class TestSecrets:
    def test_a_variable_that_has_changed_counts_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        location = locations(cloud())[0]
        before = location.fs
        monkeypatch.setenv("THE_KEY", "cm90YXRlZA==")
        assert location.fs is not before
        assert location.fs.service_client.credential.account_key == "cm90YXRlZA=="
        monkeypatch.setenv("THE_KEY", KEY)
        assert location.fs is before, "somebody holds it still"

    def test_a_file_that_has_changed_counts_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(KEY)
        location = locations(cloud({"file": str(tmp_path / "key")}))[0]
        assert location.fs.service_client.credential.account_key == KEY
        (tmp_path / "key").write_text("cm90YXRlZA==")
        assert location.fs.service_client.credential.account_key == "cm90YXRlZA=="

    def test_a_secret_that_has_gone_is_missed_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        location = locations(cloud())[0]
        assert location.fs
        monkeypatch.delenv("THE_KEY")
        with pytest.raises(CredentialError, match="account_key of site 'cloud': environment variable THE_KEY"):
            _ = location.fs

    def test_another_user_of_hdfs_counts_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        location = locations(onprem())[0]
        before = location.fs
        monkeypatch.setenv("HADOOP_USER_NAME", "somebody-else")
        assert location.fs is not before

    def test_a_new_keytab_or_ticket_counts_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "keytab").write_bytes(b"1")
        keytab = {"type": "kerberos", "principal": "feast@CORP", "keytab": str(tmp_path / "keytab")}
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
        for credential, file in ((keytab, "keytab"), ({"type": "kerberos"}, "tickets")):
            site = onprem(credential=credential)
            (state,) = [site.credential.sign_in_state(site.root, "onprem")]
            (tmp_path / file).write_bytes(b"22")
            assert site.credential.sign_in_state(site.root, "onprem") != state

    def test_the_key_of_the_registry_shows_none(self) -> None:
        site = cloud()
        assert site.filesystem()
        assert all(KEY.encode() not in key for key in SHARED._open)
        settings = {"secret": KEY}
        assert SHARED.key(place="a", settings=settings) == SHARED.key(place="a", settings=settings)


class TestCopies:
    def test_no_file_system_is_pickled_with_a_site_a_location_or_an_opener(self, make: Callable[..., Site]) -> None:
        location = locations(make())[0]
        held = location.fs
        assert held is not None
        for holder in (location.site, location, SiteOpener(location)):
            pickled = pickle.dumps(holder)
            assert b"FileSystem" not in pickled.replace(b"KeptFileSystem", b"")
            assert KEY.encode() not in pickled
        again = pickle.loads(pickle.dumps(location))
        assert again == location
        assert again.site == location.site
        assert copy.deepcopy(location.site) == location.site

    def test_openers_of_one_site_say_the_same_so_that_executors_are_tried_once(
        self, make: Callable[..., Site], tmp_path: Path
    ) -> None:
        first, second = (repr(SiteOpener(location)) for location in locations(make()))
        assert first == second
        disk = Site(name="disk", uri=f"file://{tmp_path}")  # parts of which may be mounted here alone
        assert len({repr(SiteOpener(location)) for location in locations(disk)}) == 2

    def test_a_file_system_itself_is_refused(self, make: Callable[..., Site]) -> None:
        with pytest.raises(TypeError, match="pickle a Location"):
            pickle.dumps(make().filesystem())

    def test_a_site_that_has_been_used_equals_one_that_has_not(self, make: Callable[..., Site]) -> None:
        used = make()
        assert used.filesystem()
        assert used == make()


FORKS = """
import os, sys, threading, time, signal
from feast_hybrid.lakes import Site
from feast_hybrid.lakes.shared_filesystems import SHARED
site = Site.model_validate({site})
before = site.filesystem()
holds = threading.Lock()
threading.Thread(target=lambda: (SHARED._lock.acquire(), time.sleep(3), SHARED._lock.release()), daemon=True).start()
time.sleep(0.5)
child = os.fork()
if child == 0:
    signal.alarm(20)
    after = site.filesystem()
    assert after is not before
    try:
        after.ls("features/a")
    except Exception as error:
        print(type(error).__name__, flush=True)
    del before, after, site
    {end}
_, status = os.waitpid(child, 0)
assert before is site.filesystem()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
@pytest.mark.parametrize("lake", ["adls", "hdfs"])
def test_a_forked_process_has_its_own_and_leaves_its_parents_alone(lake: str, end: str) -> None:
    short = {"dfs.client.failover.max.attempts": "0", "fs.azure.io.retry.max.retries": "0"}
    credential = {"type": "emulator", "account_key": {"env": "THE_KEY"}, "endpoint": "127.0.0.1:9"}
    uri = "abfs://features@acct.dfs.core.windows.net"
    sites: dict[str, dict[str, Any]] = {
        "adls": {"name": "cloud", "uri": uri, "credential": credential, "options": short},
        "hdfs": {"name": "onprem", "uri": "hdfs://127.0.0.1:9", "options": short},
    }
    program = FORKS.format(site=sites[lake], end=end)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "THE_KEY": KEY},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == {"adls": "ServiceRequestError\n", "hdfs": "OSError\n"}[lake]
