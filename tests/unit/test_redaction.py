"""No secret in what Spark's clients log, and a warning of each that stands somewhere as text."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from feast_hybrid import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError, CredentialError
from feast_hybrid.lakes.secrets import literal_secrets
from feast_hybrid.spark.connect import with_token
from feast_hybrid.spark.redaction import redact_logs, unlogged, with_redaction
from feast_hybrid.spark.settings import same_setting
from tests.integration.reliability import reliability

CANARY = "c4nary+Key/9Zq=="
KEY = "fs.azure.account.key.acct.dfs.core.windows.net"


@pytest.fixture(params=["py4j.clientserver", "py4j.java_gateway"])
def py4j(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> logging.Logger:
    redact_logs()
    caplog.set_level(logging.DEBUG)
    return logging.getLogger(request.param)


def command(*parts: str) -> str:
    """As py4j writes a call of a method with texts."""
    return "Command to send: c\no42\n" + "\n".join([parts[0], *(f"s{part}" for part in parts[1:]), "e\n"])


class TestPy4j:
    @pytest.mark.parametrize(
        "setting",
        [
            KEY,
            f"spark.hadoop.{KEY}",
            "FS.AZURE.ACCOUNT.KEY",
            "fs.azure.account.oauth2.client.secret.acct.dfs.core.windows.net",
            "fs.azure.sas.fixed.token.acct.dfs.core.windows.net",
            "spark.hadoop.fs.s3a.secret.key",
            "spark.ssl.keyPassword",
        ],
    )
    @pytest.mark.parametrize("method", ["option", "set"])
    def test_a_secret_option_is_logged_without_its_value(
        self, py4j: logging.Logger, caplog: pytest.LogCaptureFixture, method: str, setting: str
    ) -> None:
        py4j.debug(command(method, setting, CANARY))
        assert CANARY not in caplog.text
        assert caplog.messages == [command(method, setting, "…")]

    def test_other_options_are_logged_as_they_are(
        self, py4j: logging.Logger, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = command("option", "fs.azure.account.auth.type.acct.dfs.core.windows.net", "SharedKey")
        py4j.debug(text)
        py4j.debug("Answer received: %s", "!yv")
        assert caplog.messages == [text, "Answer received: !yv"]

    def test_what_a_thread_asks_unlogged_is_not_logged_and_what_others_do_is(
        self, py4j: logging.Logger, caplog: pytest.LogCaptureFixture
    ) -> None:
        with unlogged():
            with unlogged():
                py4j.debug("Answer received: !ys" + CANARY)
            py4j.debug("Answer received: !ys" + CANARY)
            other = threading.Thread(target=lambda: py4j.debug("of another thread"))
            other.start()
            other.join()
        py4j.debug("after it")
        assert caplog.messages == ["of another thread", "after it"]

    def test_twice_is_once(self, py4j: logging.Logger) -> None:
        before = list(py4j.filters)
        redact_logs()
        assert py4j.filters == before


def test_a_message_to_a_connect_server_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    connect_log = pytest.importorskip("pyspark.sql.connect.logging").logger

    class _Session:
        """Stands for a session of Spark Connect: only where its class is from is looked at."""

        __module__ = "pyspark.sql.connect.session"

    stand_in: Any = _Session()
    redact_logs(stand_in)
    caplog.set_level(logging.DEBUG)
    entry = 'options { key: "%s" value: "%s" } options { key: "header" value: "true" }'
    for filtering in connect_log.filters:
        record = logging.makeLogRecord({"msg": entry % (KEY, CANARY + r"\"" + CANARY)})
        assert filtering.filter(record)
        assert record.getMessage() == entry % (KEY, "…")
    assert connect_log.filters


def test_a_session_that_is_started_hides_the_lakes_settings_and_what_was_hidden_before() -> None:
    assert with_redaction({})["spark.redaction.regex"].startswith("(?i)secret|password|token|access[.]?key|(?i)fs")
    given = with_redaction({"spark.redaction.regex": "mine", "spark.x": "y"})
    assert given["spark.redaction.regex"].startswith("mine|(?i)fs")
    assert given["spark.x"] == "y"
    assert same_setting("spark.redaction.regex", "mine", given["spark.redaction.regex"])


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"spark.hadoop.fs.s3a.secret.key": "x"}, ["spark.hadoop.fs.s3a.secret.key"]),
        ({"spark.ssl.keyStorePassword": "x"}, ["spark.ssl.keyStorePassword"]),
        ({"spark.authenticate.secret": "x"}, ["spark.authenticate.secret"]),
        ({"my.host.password": "x"}, ["my.host.password"]),
        (
            {"spark.ssl.keyPassword": "482913", "db.pwd": "x", "db.pass": "1"},
            ["spark.ssl.keyPassword", "db.pwd", "db.pass"],
        ),
        ({"spark.bypass": "x", "compass": "1", "a.passThrough": "x", "a.password": "true"}, []),
        ({"spark.x": "https://user:pass@host/"}, ["spark.x"]),
        ({"spark.x": "BlobEndpoint=http://x;AccountKey=x;"}, ["spark.x"]),
        ({"spark.x": "https://a.blob.core.windows.net/c?sv=1&sig=x"}, ["spark.x"]),
        (
            {"spark.driver.extraJavaOptions": "-Xss4m -Djavax.net.ssl.trustStorePassword=x -Dother=y -Da.token=z"},
            [
                "spark.driver.extraJavaOptions (-Djavax.net.ssl.trustStorePassword)",
                "spark.driver.extraJavaOptions (-Da.token)",
            ],
        ),
    ],
)
def test_what_is_a_secret_as_text(settings: dict[str, str], found: list[str]) -> None:
    assert literal_secrets(settings) == found


@pytest.mark.parametrize(
    "setting",
    [
        "spark.hadoop.hadoop.security.credential.provider.path",
        "spark.kubernetes.authenticate.driver.oauthTokenFile",
        "spark.hadoop.fs.s3a.aws.credentials.provider",
        "spark.security.credentials.hive.enabled",
        "fs.azure.account.oauth2.refresh.token.endpoint",
        "fs.azure.account.keyprovider.acct.dfs.core.windows.net",
        "spark.kerberos.keytab",
        "spark.sql.shuffle.partitions",
        "spark.redaction.regex",
    ],
)
def test_what_only_says_where_a_secret_is(setting: str) -> None:
    assert literal_secrets({setting: "x"}) == []


@pytest.mark.parametrize("value", ["true", "16", "1h", ""])
def test_numbers_and_switches_are_no_secrets(value: str) -> None:
    assert literal_secrets({"spark.network.crypto.secret": value}) == []


@reliability(
    "Secrets",
    "a secret that stands as text in the configuration, options or Java options",
    "works, with a warning that names each place",
)
@pytest.mark.parametrize(
    ("offline_store", "named"),
    [
        (
            {"spark": {"conf": {"spark.hadoop.fs.s3a.secret.key": CANARY}}},
            r"^offline_store\.spark\.conf: spark\.hadoop\.fs\.s3a\.secret\.key .* command line of Spark's JVM.* UI",
        ),
        (
            {"spark": {"remote": "sc://h:1", "conf": {"spark.some.password": CANARY}}},
            r"^offline_store\.spark\.conf: spark\.some\.password .* the event log of the server\.",
        ),
        (
            {"spark": {"conf": {"spark.driver.extraJavaOptions": f"-Dx.password={CANARY}"}}},
            r"^offline_store\.spark\.conf: spark\.driver\.extraJavaOptions \(-Dx\.password\) ",
        ),
        (
            {"spark": {"remote": f"sc://h:1/;use_ssl=true;token={CANARY}"}},
            r"^offline_store\.spark\.remote: token stands as text .* offline_store\.spark\.token: \{env: NAME\}\.",
        ),
        (
            {"spark": {"remote": "sc://h:1", "token": CANARY}},
            r"^offline_store\.spark\.token: a secret stands as text",
        ),
        (
            {"sites": [{"name": "a", "uri": "hdfs://lake", "options": {"dfs.some.password": CANARY}}]},
            r"^site 'a': option dfs\.some\.password holds a secret as text\.",
        ),
    ],
)
def test_a_literal_is_warned_of_with_each_place_where_it_shows(offline_store: dict[str, Any], named: str) -> None:
    with pytest.warns(UserWarning, match=named) as warned:
        config = HybridSparkOfflineStoreConfig(**offline_store)
    assert len(warned) == 1
    assert CANARY not in str(warned[0].message)
    assert CANARY not in repr(config)


class TestTokenOfAServer:
    def test_it_is_read_where_it_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = HybridSparkOfflineStoreConfig(spark={"remote": "sc://h:1", "token": {"env": "SPARK_TOKEN"}}).spark
        with pytest.raises(CredentialError, match=r"^offline_store\.spark\.token: environment variable SPARK_TOKEN"):
            config.resolved_token()
        monkeypatch.setenv("SPARK_TOKEN", CANARY)
        assert config.resolved_token() == CANARY
        assert CANARY not in repr(config)

    def test_it_needs_a_server(self) -> None:
        with pytest.raises(ConfigError, match=r"needs remote beside it"):
            HybridSparkOfflineStoreConfig(spark={"token": {"env": "SPARK_TOKEN"}})

    @pytest.mark.parametrize(
        "url", ["sc://h:1", "sc://h:1/", "sc://h:1/;", "sc://h:1/;user_id=me", "sc://h:1/;user_id=me;"]
    )
    @pytest.mark.parametrize("token", [CANARY, "a;b=c&d/e?f g%41"])
    def test_pyspark_gets_it_as_it_is(self, url: str, token: str) -> None:
        client = pytest.importorskip("pyspark.sql.connect.client")
        builder = client.DefaultChannelBuilder(with_token(url, token))
        assert (builder.token, builder.endpoint) == (token, "h:1")
        assert builder.userId == ("me" if "user_id" in url else None)

    def test_there_is_one(self) -> None:
        with pytest.raises(ConfigError, match=r"has a token of its own") as refused:
            HybridSparkOfflineStoreConfig(
                spark={"remote": f"sc://h:1/;token={CANARY}", "token": {"env": "SPARK_TOKEN"}}
            )
        assert CANARY not in str(refused.value)
