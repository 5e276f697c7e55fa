"""What the doctor says: its table, its JSON and its exit codes, and what it makes of what it finds here."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from feast_hybrid.cli.main import main
from feast_hybrid.doctor.checking import Checks, GaveUpError, run_all
from feast_hybrid.doctor.lake import look_at_site, probe_place
from feast_hybrid.doctor.machine import look_at_machine
from feast_hybrid.doctor.network import Server, look_at_network, note_clock, servers_of
from feast_hybrid.doctor.report import Check, Report, Status
from feast_hybrid.errors import UnavailableError
from feast_hybrid.lakes import Site
from feast_hybrid.spark.config import SparkConfig

CANARY = "c4nary+Key/9Zq=="
CLOUD = "abfss://features@acct.dfs.core.windows.net"

REPORT = Report(
    (
        Check("configuration", "feature_store.yaml", Status.OK, "/repo/feature_store.yaml; sites: cloud"),
        Check("machine", "Java", Status.FAILED, "no java on PATH", "Install one."),
        Check("site", "list", Status.OK, "3 entries in abfss://…", site="cloud", seconds=0.1234),
        Check("site", "write", Status.WARNING, "word " * 40 + "end", "Look at it.", site="cloud"),
        Check("site by spark", "write", Status.NOT_TRIED, "there is no Spark session", site="cloud"),
        Check("site by spark", "read", Status.NOT_TRIED, "there is no Spark session", site="cloud"),
    )
)


def test_the_table_has_a_part_for_each_area_and_site_and_counts() -> None:
    assert REPORT.to_text() == "\n".join(
        [
            "configuration",
            "  ok        feature_store.yaml /repo/feature_store.yaml; sites: cloud",
            "",
            "machine",
            f"  failed    {'Java':18} no java on PATH",
            " " * 31 + "→ Install one.",
            "",
            "site cloud",
            f"  ok        {'list':18} 3 entries in abfss://…",
            f"  warning   {'write':18} " + ("word " * 17).strip(),
            " " * 31 + ("word " * 17).strip(),
            " " * 31 + "word " * 6 + "end",
            " " * 31 + "→ Look at it.",
            "",
            "site cloud by spark",
            f"  not tried {'write, read':18} there is no Spark session",
            "",
            "2 ok, 1 warning, 1 failed, 2 not tried",
        ]
    )


def test_the_json_has_the_same_for_programs() -> None:
    content = json.loads(REPORT.to_json())
    assert (content["version"], content["ok"], content["exit_code"]) == (1, False, 1)
    assert content["checks"][2] == {
        "area": "site",
        "name": "list",
        "status": "ok",
        "found": "3 entries in abfss://…",
        "advice": "",
        "site": "cloud",
        "seconds": 0.12,
    }


@pytest.mark.parametrize(
    ("area", "status", "code"),
    [
        ("machine", Status.OK, 0),
        ("machine", Status.WARNING, 0),
        ("site", Status.NOT_TRIED, 0),
        ("site", Status.FAILED, 1),
        ("spark", Status.FAILED, 1),
        ("configuration", Status.FAILED, 2),
    ],
)
def test_the_exit_code_says_whether_all_works(area: str, status: Status, code: int) -> None:
    assert Report((Check(area, "x", status, ""),)).exit_code == code


def test_secrets_are_struck_out_wherever_they_stand() -> None:
    report = Report((Check("site", "list", Status.FAILED, f"got {CANARY}", f"not {CANARY}"),)).without([CANARY])
    assert CANARY not in report.to_text() + report.to_json()


class TestSteps:
    def test_what_is_raised_is_what_was_found(self) -> None:
        checks = Checks("site", "cloud")
        with pytest.raises(GaveUpError), checks.step("list"):
            raise UnavailableError("site 'cloud' is unavailable")
        with pytest.raises(GaveUpError), checks.step("read", lambda error: UnavailableError(f"meant by {error}")):
            raise OSError("x")
        assert [(check.name, check.status, check.found) for check in checks.made] == [
            ("list", Status.FAILED, "site 'cloud' is unavailable"),
            ("read", Status.FAILED, "meant by x"),
        ]

    def test_what_does_not_end_is_left_behind(self) -> None:
        going_on = threading.Event()

        def hang(checks: Checks) -> None:
            checks.begin("list")
            checks.ok("done")
            checks.begin("write")
            going_on.wait(10)

        def work(checks: Checks) -> None:
            checks.begin("list")
            checks.ok("done")

        began = time.monotonic()
        made = run_all([(Checks("site", "slow"), hang), (Checks("site", "well"), work)], seconds=0.3)
        going_on.set()
        assert time.monotonic() - began < 5
        assert [(check.site, check.name, check.status, check.found) for check in made] == [
            ("slow", "list", Status.OK, "done"),
            ("slow", "write", Status.FAILED, "not ended within 0.3 s"),
            ("well", "list", Status.OK, "done"),
        ]


def site(uri: str, credential: dict[str, Any] | None = None, **more: Any) -> Site:
    return Site.model_validate(
        {"name": "s", "uri": uri, **more, **({"credential": credential} if credential else {})}
    )


class TestNetwork:
    @pytest.mark.parametrize(
        ("of", "servers"),
        [
            (site("hdfs://nn1.corp:9000"), ["nn1.corp:9000"]),
            (site("hdfs://nn1.corp"), ["nn1.corp:8020"]),
            (site("hdfs://lake", namenodes=["nn1.corp:8020", "nn2.corp:8021"]), ["nn1.corp:8020", "nn2.corp:8021"]),
            (site(CLOUD), ["acct.dfs.core.windows.net:443", "acct.blob.core.windows.net:443"]),
            (
                site(CLOUD, {"type": "emulator", "account_key": {"env": "K"}, "endpoint": "127.0.0.1:10000"}),
                ["127.0.0.1:10000"],
            ),
            (
                site(
                    CLOUD,
                    {"type": "service_principal", "tenant_id": "t", "client_id": "c", "client_secret": {"env": "K"}},
                ),
                [
                    "acct.dfs.core.windows.net:443",
                    "acct.blob.core.windows.net:443",
                    "login.microsoftonline.com:443",
                ],
            ),
            (site("file:///data"), []),
        ],
    )
    def test_which_servers_a_site_has(self, of: Site, servers: list[str]) -> None:
        assert [str(server) for server in servers_of(of)] == servers

    def test_a_nameservice_of_hadoops_own_files_is_left_to_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "hdfs-site.xml").write_text(
            "<configuration><property><name>dfs.ha.namenodes.lake</name><value>a,b</value></property></configuration>"
        )
        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        assert servers_of(site("hdfs://lake")) == []
        assert servers_of(site("hdfs://pond")) == [Server("pond", 8020)]

    @pytest.mark.parametrize(
        "proxy",
        ["http://127.0.0.1:1", "http://user:p@ss@127.0.0.1:1/", "user:12/hunter2@127.0.0.1:1", "u@127.0.0.1:1"],
    )
    def test_of_a_proxy_the_address_alone_is_shown(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        checks = Checks("site", "cloud")
        with pytest.raises(GaveUpError):
            look_at_network(checks, site(CLOUD))
        found = [check.found for check in checks.made if check.name == "proxy"]
        assert found
        assert all("is reached by the proxy 127.0.0.1:1, as" in each for each in found)

    def test_a_name_that_is_unknown_says_what_to_do(self) -> None:
        checks = Checks("site", "s")
        with pytest.raises(GaveUpError):
            look_at_network(checks, site("hdfs://no-such-nameservice.invalid"))
        (check,) = checks.made
        assert (check.name, check.status) == ("name", Status.FAILED)
        assert check.advice.startswith("If no-such-nameservice.invalid is a nameservice, list its servers")

    def test_one_namenode_of_two_is_enough_and_warned_of(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as up, socket.create_server(("127.0.0.1", 0)) as down:
            ports = [server.getsockname()[1] for server in (up, down)]
            down.close()
            checks = Checks("site", "s")
            look_at_network(checks, site("hdfs://lake", namenodes=[f"127.0.0.1:{port}" for port in ports]))
        port = checks.made[-1]
        assert (port.name, port.status) == ("port", Status.WARNING)
        assert f"127.0.0.1:{ports[1]}: Connection refused" in port.found

    @pytest.mark.parametrize(
        ("seconds", "status"),
        [(0.3, Status.OK), (-59, Status.OK), (90, Status.WARNING), (-301, Status.FAILED), (3600, Status.FAILED)],
    )
    def test_how_far_clocks_may_be_apart(self, seconds: float, status: Status) -> None:
        checks = Checks("site", "s")
        checks.begin("clock")
        note_clock(checks, seconds, "acct's")
        assert checks.made[0].status is status

    def test_a_service_whose_clock_differs_is_noticed(self, service_of_the_past: int) -> None:
        emulator = {"type": "emulator", "account_key": {"env": "K"}, "endpoint": f"127.0.0.1:{service_of_the_past}"}
        checks = Checks("site", "s")
        look_at_network(checks, site(CLOUD, emulator))
        clock = checks.made[-1]
        assert (clock.name, clock.status) == ("clock", Status.FAILED)
        assert "ahead of 127.0.0.1's" in clock.found


@pytest.fixture
def service_of_the_past() -> Iterator[int]:
    class Past(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(400)
            self.send_header("Date", "Mon, 06 Jan 2025 10:00:00 GMT")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Past) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class TestLocalSite:
    def test_all_is_tried_and_nothing_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "rows").mkdir()
        local = site(f"file://{tmp_path}")
        checks = Checks("site", "s")
        look_at_site(checks, local, probe_place(local, None))
        assert [(check.name, check.status) for check in checks.made] == [
            ("credential", Status.OK),
            ("name", Status.NOT_TRIED),
            ("port", Status.NOT_TRIED),
            ("list", Status.OK),
            ("write", Status.OK),
            ("read", Status.OK),
            ("delete", Status.OK),
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["rows"]

    def test_the_probe_of_a_doctor_that_was_killed_is_named(self, tmp_path: Path) -> None:
        (tmp_path / ".feast-hybrid-doctor-0123456789ab").mkdir()
        checks = Checks("site", "s")
        look_at_site(checks, site(f"file://{tmp_path}"), None)
        (probe,) = [check for check in checks.made if check.name == "probe"]
        assert probe.status is Status.WARNING
        assert ".feast-hybrid-doctor-0123456789ab is the probe of a doctor" in probe.found

    def test_without_writing_some_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "part-0.parquet").write_bytes(b"PAR1")
        checks = Checks("site", "s")
        look_at_site(checks, site(f"file://{tmp_path}"), None)
        read = checks.made[-1]
        assert (read.name, read.status) == ("read", Status.OK)
        assert read.found.endswith("a/b/part-0.parquet")

    def test_a_place_that_may_not_be_written_says_how_to_leave_that_out(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        local = site(f"file://{tmp_path}")
        checks = Checks("site", "s")
        below_a_file = probe_place(local, f"file://{tmp_path}/file")
        look_at_site(checks, local, below_a_file)
        (write,) = [check for check in checks.made if check.name == "write"]
        assert write.status is Status.FAILED
        assert "--no-write" in write.advice

    def test_the_probe_is_where_results_are_staged(self, tmp_path: Path) -> None:
        local = site(f"file://{tmp_path}")
        probe = probe_place(local, f"file://{tmp_path}/_staging")
        assert str(probe).startswith(f"file://{tmp_path}/_staging/.feast-hybrid-doctor-")


class TestMachine:
    @pytest.fixture
    def no_java(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))

    @pytest.mark.usefixtures("no_java")
    @pytest.mark.parametrize(
        ("config", "starts_spark", "status"),
        [
            (SparkConfig(), True, Status.FAILED),
            (SparkConfig(), False, Status.NOT_TRIED),
            (SparkConfig(remote="sc://h:1"), True, Status.NOT_TRIED),
        ],
    )
    def test_java_is_needed_where_a_session_is_started(
        self, config: SparkConfig, starts_spark: bool, status: Status
    ) -> None:
        checks = Checks("machine")
        look_at_machine(checks, config, uses_adls=False, starts_spark=starts_spark)
        (java,) = [check for check in checks.made if check.name == "Java"]
        assert (java.status, "no java on PATH" in java.found) == (status, True)

    @pytest.mark.parametrize(
        ("conf", "status", "found"),
        [
            ({}, Status.OK, "from Maven"),
            ({"spark.jars": "/x/hadoop-azure-3.3.6.jar"}, Status.FAILED, "hadoop-azure 3.3.6 from spark.jars, but"),
            ({"spark.jars": "/x/hadoop-azure.jar"}, Status.WARNING, "of an unknown version"),
        ],
    )
    def test_the_driver_is_of_sparks_own_hadoop(self, conf: dict[str, str], status: Status, found: str) -> None:
        checks = Checks("machine")
        look_at_machine(checks, SparkConfig(conf=conf), uses_adls=True, starts_spark=False)
        (jars,) = [check for check in checks.made if check.name == "Spark's jars"]
        assert jars.status is status
        assert found in jars.found


class TestCommand:
    def run(self, folder: Path, offline_store: str, *arguments: str, answer: str = "") -> Result:
        (folder / "feature_store.yaml").write_text(
            f"project: p\nprovider: local\nregistry: {folder}/registry.db\n"
            f"online_store: {{type: sqlite, path: {folder}/online.db}}\nentity_key_serialization_version: 3\n"
            f"offline_store:\n  type: feast_hybrid.HybridSparkOfflineStore\n{offline_store}"
        )
        return CliRunner().invoke(main, ["doctor", "-c", str(folder), "--no-spark", *arguments], input=answer)

    def test_a_repository_of_which_all_works(self, tmp_path: Path) -> None:
        lake = tmp_path / "lake"
        lake.mkdir()
        done = self.run(tmp_path, f"  sites: [{{name: disk, uri: 'file://{lake}'}}]\n")
        assert done.exit_code == 0, done.output
        assert "site disk" in done.output
        assert "not tried session            --no-spark" in done.output
        assert list(lake.iterdir()) == []

    def test_places_that_the_configuration_writes_to_are_tried(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        places = (
            f"  staging_location: file://{tmp_path}/file/staging\n  monitoring_location: file://{tmp_path}/metrics\n"
        )
        done = self.run(tmp_path, places)
        assert done.exit_code == 1, done.output
        table = " ".join(done.output.split())
        assert f"failed offline_store.staging_location site 'local', file://{tmp_path}/file/staging" in table
        assert f"ok offline_store.monitoring_location file://{tmp_path}/metrics" in table
        assert list((tmp_path / "metrics").iterdir()) == []

    def test_a_configuration_that_cannot_be_read_is_2(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, "  sitez: []\n", "--json")
        assert done.exit_code == 2
        (check,) = json.loads(done.stdout)["checks"]
        assert check["found"].startswith("offline_store.sitez: unknown key; did you mean 'sites'?")

    def test_no_configuration_is_2(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(main, ["doctor", "-c", str(tmp_path)])
        assert done.exit_code == 2
        assert "feature_store.yaml is not there" in " ".join(done.output.split())

    def test_a_site_that_is_not_configured_is_named(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, "  sites: [{name: disk, uri: 'file:///tmp'}]\n", "--site", "dsk")
        assert done.exit_code == 1
        assert "site 'dsk' is not configured (configured: disk)" in done.output

    def test_what_dead_writers_have_left_is_listed_and_removed_on_request(self, tmp_path: Path) -> None:
        lake = tmp_path / "lake"
        left, young = (lake / f".rows.{letter * 12}.writing" for letter in "ab")
        for folder in (left, young):
            folder.mkdir(parents=True)
            (folder / "part-0.parquet").write_bytes(b"PAR1")
        two_days_ago = time.time() - 2 * 86_400
        for path in (left / "part-0.parquet", left):
            os.utime(path, (two_days_ago, two_days_ago))
        offline_store = f"  sites: [{{name: disk, uri: 'file://{lake}'}}]\n"

        looked_at = self.run(tmp_path, offline_store, "--json")
        (found,) = [check for check in json.loads(looked_at.stdout)["checks"] if check["name"] == "leftovers"]
        assert (looked_at.exit_code, found["status"]) == (0, "warning")
        assert left.name in found["found"]

        refused = self.run(tmp_path, offline_store, "--clean", answer="n\n")
        assert refused.exit_code == 0
        assert "Remove 1 of these 1?" in refused.output
        assert left.exists()

        cleaned = self.run(tmp_path, offline_store, "--clean", "--yes")
        assert cleaned.exit_code == 0
        assert [path.name for path in lake.iterdir()] == [young.name]

        with_nothing_left = self.run(tmp_path, offline_store, "--clean")
        assert with_nothing_left.exit_code == 0
        assert "nothing is left of writers" in " ".join(with_nothing_left.output.split())

    def test_a_secret_that_is_not_there_fails_its_site_alone(self, tmp_path: Path) -> None:
        done = self.run(
            tmp_path,
            f"  sites:\n    - {{name: disk, uri: 'file://{tmp_path}'}}\n"
            f"    - {{name: cloud, uri: '{CLOUD}',"
            " credential: {type: account_key, account_key: {env: NO_SUCH_VARIABLE}}}\n",
            "--json",
            "--no-write",
        )
        assert done.exit_code == 1
        failed = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "failed"]
        assert [(check["site"], check["name"], check["found"]) for check in failed] == [
            (
                "cloud",
                "credential",
                "account_key of site 'cloud': environment variable NO_SUCH_VARIABLE is not set, or is empty.",
            )
        ]

    def test_a_literal_secret_is_warned_of_and_not_shown(self, tmp_path: Path) -> None:
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        done = self.run(
            tmp_path,
            f"  sites: [{{name: cloud, uri: '{CLOUD}', credential: {{type: emulator, endpoint: '127.0.0.1:{port}',"
            f" account_key: '{CANARY}'}}}}]\n",
        )
        assert done.exit_code == 1
        assert "account_key of site 'cloud': a secret stands as text" in " ".join(done.output.split())
        assert "Connection refused" in done.output
        assert CANARY not in done.output
