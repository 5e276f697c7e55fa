"""``offline_store`` in ``feature_store.yaml``: what may stand there, and what is said where something else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from feast_hybrid import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError, CredentialError, HybridError, RoutingError
from feast_hybrid.lakes import Secret

CLOUD = "abfss://features@acct.dfs.core.windows.net"
SITE_KEYS = "name, uri, namenodes, credential, options"
TYPES = (
    "platform, account_key, sas, service_principal, managed_identity, workload_identity, emulator, simple, kerberos"
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "czNjcmV0")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


def load(text: str) -> HybridSparkOfflineStoreConfig:
    return HybridSparkOfflineStoreConfig(**(yaml.safe_load(text) or {}))


def refusal(text: str, error_class: type[HybridError] = ConfigError) -> str:
    with pytest.raises(HybridError) as refused:
        load(text)
    assert type(refused.value) is error_class
    return str(refused.value)


def test_a_full_configuration_is_read() -> None:
    config = load(
        """
        type: feast_hybrid.HybridSparkOfflineStore
        sites:
          - name: onprem
            uri: hdfs://lake
            namenodes: [nn1.corp:8020, nn2.corp:8020]
            credential: {type: simple}
          - name: cloud
            uri: abfss://features@acct.dfs.core.windows.net
            credential: {type: account_key, account_key: {env: KEY}}
            options: {fs.azure.io.retry.max.retries: 3}
        spark:
          master: spark://spark:7077
          conf: {spark.executor.memory: 4g}
        join: {strategy: window}
        staging_location: abfss://features@acct.dfs.core.windows.net/_staging
        """
    )
    assert [site.name for site in config.sites] == ["onprem", "cloud"]
    assert config.router.route(f"{CLOUD}/a").name == "cloud"
    assert config.join.strategy == "window"
    assert config.spark.conf == {"spark.executor.memory": "4g"}


@pytest.mark.parametrize("text", ["", "sites:\nspark:\njoin:\nstaging_location:", "sites: []\nspark: {}\njoin: {}"])
def test_everything_may_be_left_out_also_by_leaving_a_key_empty(text: str) -> None:
    config = load(text)
    assert (config.sites, config.spark.master, config.spark.conf) == ([], None, {})
    assert (config.join.strategy, config.staging_location) == ("auto", None)


def test_spark_conf_of_feasts_own_store_is_read_as_the_session_to_start() -> None:
    settings = 'spark.master: "local[2]"\n  spark.app.name: loans\n  spark.ui.enabled: "false"\n'
    found = load(f"spark_conf:\n  {settings}").spark
    assert found == load('spark: {master: "local[2]", app_name: loans, conf: {spark.ui.enabled: "false"}}').spark
    assert load("spark_conf: {spark.remote: 'sc://host:15002'}").spark.remote == "sc://host:15002"
    assert load("spark_conf:").spark == load("").spark


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spark_conf: {a: b}\nspark: {master: yarn}", "offline_store: spark_conf is Feast's own name for spark.conf"),
        ("spark_conf: [a]", "offline_store.spark_conf: must hold 'key: value' lines."),
        ("spark_conf: {spark.hadoop.fs.azure.account.key.a: x}", "sign in by offline_store.sites[].credential"),
    ],
)
def test_spark_conf_that_cannot_be_meant(text: str, message: str) -> None:
    assert message in refusal(text)


def test_settings_are_text_whatever_yaml_reads_them_as() -> None:
    config = load("spark: {conf: {spark.sql.shuffle.partitions: 8, spark.sql.ansi.enabled: true, spark.x: 0.5}}")
    assert config.spark.conf == {
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.ansi.enabled": "true",
        "spark.x": "0.5",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sitez: []",
            (
                "offline_store.sitez: unknown key; did you mean 'sites'? there are type, sites, sources, "
                "connection_refs, spark, engine, local, join, sql, file_formats, staging_location, "
                "monitoring_location."
            ),
        ),
        (
            "sites: [{name: a, uri: hdfs://lake, credental: {type: simple}}]",
            f"offline_store.sites[0].credental: unknown key; did you mean 'credential'? there are {SITE_KEYS}.",
        ),
        (
            "sites: [{name: a, uri: hdfs://lake, xyz: 1}]",
            f"offline_store.sites[0].xyz: unknown key; there are {SITE_KEYS}.",
        ),
        ("sites: [{uri: hdfs://lake}]", "offline_store.sites[0].name: missing."),
        ("sites: [{name: a}]", "offline_store.sites[0].uri: missing."),
        ("sites: {a: {uri: hdfs://lake}}", "offline_store.sites: must be a list, with lines that begin with '-'."),
        ("sites: [hdfs://lake]", "offline_store.sites[0]: must hold 'key: value' lines."),
        (
            "sites: [{name: on prem, uri: hdfs://lake}]",
            (
                "offline_store.sites[0].name: use letters, digits, '_', '.' and '-', beginning with a letter or a "
                "digit."
            ),
        ),
        ("sites: [{name: a, uri: 3}]", "offline_store.sites[0].uri: must be text."),
        (
            "sites: [{name: a, uri: hdfs://lake, namenodes: nn1:8020}]",
            "offline_store.sites[0].namenodes: must be a list, with lines that begin with '-'.",
        ),
        (
            "sites: [{name: a, uri: hdfs://lake, credential: simple}]",
            "offline_store.sites[0].credential: must hold 'key: value' lines.",
        ),
        (
            "sites: [{name: a, uri: hdfs://lake, credential: {principal: x}}]",
            "offline_store.sites[0].credential: missing key 'type'.",
        ),
        (
            f"sites: [{{name: a, uri: '{CLOUD}', credential: {{type: acount_key, account_key: {{env: KEY}}}}}}]",
            (
                "offline_store.sites[0].credential: unknown credential type; did you mean 'account_key'? "
                f"there are {TYPES}."
            ),
        ),
        (
            f"sites: [{{name: a, uri: '{CLOUD}', credential: {{type: account_key, acount_key: {{env: KEY}}}}}}]",
            (
                "offline_store.sites[0].credential.account_key: missing; "
                "offline_store.sites[0].credential.acount_key: unknown key; did you mean "
                "'account_key'? there are type, account_key."
            ),
        ),
        (
            f"sites: [{{name: a, uri: '{CLOUD}', credential: {{type: platform, account_key: {{env: KEY}}}}}}]",
            "offline_store.sites[0].credential.account_key: unknown key; there are type.",
        ),
        (
            "spark: {masters: local}",
            (
                "offline_store.spark.masters: unknown key; did you mean 'master'? there are master, remote, "
                "token, app_name, conf."
            ),
        ),
        ("spark: local", "offline_store.spark: must hold 'key: value' lines."),
        ("spark: {conf: {spark.x: [1]}}", "offline_store.spark.conf.spark.x: must be text."),
        (
            "join: {strategy: fast}",
            "offline_store.join.strategy: Input should be 'auto', 'columnar' or 'window'.",
        ),
        (
            "join: {strategy: native}",
            (
                "offline_store.join.strategy: 'native' was removed: Spark's as-of operator was never faster than "
                "'window', and 30 times slower where a key has many rows; write 'auto' or 'window'."
            ),
        ),
        ("join: {how: window}", "offline_store.join.how: unknown key; there are strategy."),
        (
            "spark: {master: 'local[2]', remote: 'sc://host'}",
            "offline_store.spark: give master (Spark Classic) or remote (Spark Connect), not both.",
        ),
        (
            "spark: {conf: {spark.master: local}}",
            "offline_store.spark.conf: spark.master belongs in offline_store.spark.master.",
        ),
        ("connection_refs: [{provider: env, name: X}]", "offline_store.connection_refs[0].site: missing."),
        (
            "connection_refs: [{provider: '', name: X, site: a}]",
            "offline_store.connection_refs[0].provider: is empty.",
        ),
        (
            "connection_refs: [{provider: env, name: X, site: a, vault: y}]",
            ("offline_store.connection_refs[0].vault: unknown key; there are provider, name, namespace, site."),
        ),
        (
            "{sites: [{name: azure, uri: hdfs://one}], connection_refs: [{provider: env, name: X, site: azur}]}",
            (
                "offline_store.connection_refs[0] (name: 'X'): site 'azur' is not configured (configured: azure). "
                "Did you mean 'azure'?"
            ),
        ),
        ("sources: [{match: bank_*}]", "offline_store.sources[0].site: missing."),
        (
            "{sites: [{name: a, uri: hdfs://one}], sources: [{match: b, site: a}, {mach: bank_*, site: a}]}",
            (
                "offline_store.sources[1].match: missing; offline_store.sources[1].mach: unknown key; did you mean "
                "'match'? there are match, site."
            ),
        ),
        (
            "{sites: [{name: a, uri: hdfs://one}], sources: [{match: ' ', site: a}]}",
            "offline_store.sources[0].match: is empty: write a pattern of names, such as bank_*.",
        ),
        (
            "{sites: [{name: azure, uri: hdfs://one}], sources: [{match: '*', site: azure}, {match: b, site: azur}]}",
            (
                "offline_store.sources[1] (match: 'b'): site 'azur' is not configured (configured: azure). Did you "
                "mean 'azure'?"
            ),
        ),
        (
            "sources: [{match: b, site: azure}]",
            (
                "offline_store.sources[0] (match: 'b'): site 'azure' is not configured (configured: none: "
                "offline_store.sites is empty)."
            ),
        ),
        (
            "{sites: [{name: a, uri: hdfs://one}], sources: [{match: b, site: a}, {match: b, site: a}]}",
            (
                "offline_store.sources[1] (match: 'b'): offline_store.sources[0] (match: 'b') has the same pattern, "
                "and the first match counts; leave one out."
            ),
        ),
        (
            "sites: [{name: a, uri: hdfs://one}, {name: a, uri: hdfs://two}]",
            "sites: the name 'a' stands twice; names must differ.",
        ),
        (
            "sites: [{name: a, uri: hdfs://one}, {name: b, uri: hdfs://one/}]",
            "sites 'a' and 'b' claim the same prefix hdfs://one/.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("sites: [{name: a, uri: /data}]", "uri of site 'a': '/data' names no lake"),
        (
            "sites: [{name: a, uri: 's3://bucket'}]",
            "uri of site 'a': s3:// is a lake that feast-hybrid does not know.",
        ),
        (
            "sites: [{name: a, uri: 'abfs://acct.dfs.core.windows.net'}]",
            "uri of site 'a': 'abfs://acct.dfs.core.windows.net/' has no container before the account.",
        ),
        ("staging_location: /tmp/staging", "offline_store.staging_location: '/tmp/staging' names no lake"),
        ("monitoring_location: /tmp/kept", "offline_store.monitoring_location: '/tmp/kept' names no lake"),
        (
            "sites: [{name: a, uri: hdfs://lake}]\nstaging_location: hdfs://other/staging",
            "offline_store.staging_location: hdfs://other/staging is under none of the configured sites (a: hdfs://lake/).",
        ),
    ],
)
def test_a_uri_that_belongs_to_no_lake_is_refused_at_load(text: str, beginning: str) -> None:
    assert refusal(text, RoutingError).startswith(beginning)


def test_staging_on_this_machines_disk_is_allowed_beside_any_sites() -> None:
    assert load("sites: [{name: a, uri: hdfs://lake}]\nstaging_location: file:///tmp/staging").staging_location


@pytest.mark.parametrize(
    "setting",
    [
        "spark.hadoop.fs.azure.account.key.acct.dfs.core.windows.net",
        "fs.azure.account.key.acct.dfs.core.windows.net",
        "spark.hadoop.fs.azure.account.oauth2.client.secret",
        "spark.hadoop.fs.azure.sas.fixed.token.acct.dfs.core.windows.net",
    ],
)
def test_a_lakes_secret_in_sparks_settings_is_refused_for_it_would_be_in_the_event_log(setting: str) -> None:
    message = refusal(f"spark: {{conf: {{{setting}: canary}}}}")
    assert message.startswith(f"offline_store.spark.conf: {setting} would be readable")
    assert "canary" not in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("staging_location: '${UNSET}/x'", "offline_store.staging_location"),
        ("sites: [{name: '${UNSET}', uri: hdfs://lake}]", "offline_store.sites[0].name"),
        ("sites: [{name: a, uri: 'hdfs://${UNSET}'}]", "offline_store.sites[0].uri"),
        ("sites: [{name: a, uri: hdfs://lake, namenodes: ['${UNSET}:8020']}]", "offline_store.sites[0].namenodes[0]"),
        ("sites: [{name: a, uri: hdfs://lake, options: {x: '${UNSET}'}}]", "offline_store.sites[0].options.x"),
        ("spark: {conf: {spark.a: '${UNSET}'}}", "offline_store.spark.conf.spark.a"),
        ("spark: {conf: {'${UNSET}': x}}", "a key of offline_store.spark.conf"),
        ("spark: {master: '${UNSET}'}", "offline_store.spark.master"),
        (
            f"sites: [{{name: a, uri: '{CLOUD}', credential: {{type: account_key, account_key: '${{UNSET}}'}}}}]",
            "offline_store.sites[0].credential.account_key",
        ),
        (
            f"sites: [{{name: a, uri: '{CLOUD}', credential: {{type: sas, token: {{env: '${{UNSET}}'}}}}}}]",
            "offline_store.sites[0].credential.token.env",
        ),
    ],
)
def test_a_variable_that_feast_could_not_expand_is_refused_wherever_it_stands(text: str, place: str) -> None:
    assert refusal(text) == f"{place}: environment variable ${{UNSET}} is not set."


def test_a_default_as_shells_know_it_is_refused_since_feast_leaves_it_as_it_is() -> None:
    assert refusal("sites: [{name: a, uri: 'hdfs://${LAKE:-lake}'}]") == (
        "offline_store.sites[0].uri: Feast does not know a default in ${LAKE:-…}; write ${LAKE} and set it."
    )


@pytest.mark.parametrize("value", ["${spark.app.name}", "{{APP_ID}}", "${env:HOME}", "$1", "100%"])
def test_what_spark_expands_by_itself_is_left_to_spark(value: str) -> None:
    conf = {"spark.a": value}
    assert HybridSparkOfflineStoreConfig(spark={"conf": conf}).spark.conf == conf


def key(reference: Any) -> dict[str, Any]:
    return {"name": "cloud", "uri": CLOUD, "credential": {"type": "account_key", "account_key": reference}}


class TestSecrets:
    def test_a_variable_is_read_when_it_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = HybridSparkOfflineStoreConfig(sites=[key({"env": "KEY"})])
        monkeypatch.setenv("KEY", "cm90YXRlZA==")
        assert "cm90YXRlZA==" in config.sites[0].hadoop_options().values()

    def test_a_file_is_read_when_it_is_used_without_its_last_line_break(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text("czNjcmV0\n")
        config = HybridSparkOfflineStoreConfig(sites=[key({"file": str(file)})])
        assert "czNjcmV0" in config.sites[0].hadoop_options().values()
        file.write_text("cm90YXRlZA==\n")
        assert "cm90YXRlZA==" in config.sites[0].hadoop_options().values()

    def test_a_file_may_be_in_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "key").write_text("czNjcmV0")
        assert Secret.parse({"file": "~/key"}).resolve("x") == "czNjcmV0"

    @pytest.mark.parametrize("variable", ["UNSET", "EMPTY"])
    def test_a_variable_that_is_unset_or_empty_is_refused_where_it_is_used(self, variable: str) -> None:
        config = HybridSparkOfflineStoreConfig(sites=[key({"env": variable})])
        with pytest.raises(CredentialError) as refused:
            config.sites[0].hadoop_options()
        assert str(refused.value) == (
            f"account_key of site 'cloud': environment variable {variable} is not set, or is empty."
        )

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "cannot be read: No such file or directory."),
            (b"\xff\xfe\x00", "cannot be read: not a text file."),
            (b" \n", "is empty."),
        ],
    )
    def test_a_file_without_a_secret_is_refused_where_it_is_used(
        self, tmp_path: Path, content: bytes | None, reason: str
    ) -> None:
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)
        config = HybridSparkOfflineStoreConfig(sites=[key({"file": str(file)})])
        with pytest.raises(CredentialError) as refused:
            config.sites[0].filesystem()
        assert str(refused.value) == f"account_key of site 'cloud': file {file} {reason}"

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        config = HybridSparkOfflineStoreConfig(sites=[key({"file": str(tmp_path)})])
        with pytest.raises(CredentialError, match="cannot be read: Is a directory"):
            config.sites[0].hadoop_options()

    def test_a_literal_is_taken_with_a_warning_that_names_it(self) -> None:
        expected = (
            r"^account_key of site 'cloud': a secret stands as text .* Feast's RepoConfig printed or logged\. "
            r"Refer to it instead: \{env: NAME\} or \{file: /path\}\."
        )
        with pytest.warns(UserWarning, match=expected):
            config = HybridSparkOfflineStoreConfig(sites=[key("czNjcmV0")])
        assert "czNjcmV0" in config.sites[0].hadoop_options().values()

    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            ("", "a secret is empty: the ${VARIABLE} it came from may be unset."),
            ("  ", "a secret is empty: the ${VARIABLE} it came from may be unset."),
            ("$UNSET", "a secret is a variable of the form $NAME: that environment variable is not set."),
            (None, "a secret must be {env: NAME} or {file: /path}; found something else."),
            (7, "a secret must be {env: NAME} or {file: /path}; found something else."),
            (["czNjcmV0"], "a secret must be {env: NAME} or {file: /path}; found something else."),
            ({}, "a secret must be {env: NAME} or {file: /path}; found something else."),
            ({"vault": "x"}, "a secret must be {env: NAME} or {file: /path}; found something else."),
            ({"env": "KEY", "file": "/x"}, "a secret must be {env: NAME} or {file: /path}; found something else."),
            ({"env": 7}, "a secret must be {env: NAME} or {file: /path}; found something else."),
            (
                {"env": "not a name"},
                (
                    "env: must be followed by the name of an environment variable; found something else, which is "
                    "not shown since it may be the secret itself."
                ),
            ),
            (
                {"file": "relative/key"},
                (
                    "file: must be followed by an absolute path, since drivers and executors work in other folders; "
                    "found something else, which is not shown since it may be the secret itself."
                ),
            ),
        ],
    )
    def test_what_is_no_reference_is_refused_at_its_place(self, reference: Any, message: str) -> None:
        with pytest.raises(CredentialError) as refused:
            HybridSparkOfflineStoreConfig(sites=[key(reference)])
        assert str(refused.value) == f"offline_store.sites[0].credential.account_key: {message}"


@pytest.mark.parametrize(
    ("credential", "place"),
    [
        ({"type": "emulator", "account_key": {"env": "KEY"}, "endpoint": "http://127.0.0.1:10000"}, "endpoint"),
        ({"type": "emulator", "account_key": {"env": "KEY"}, "endpoint": "127.0.0.1"}, "endpoint"),
        (
            {"type": "service_principal", "tenant_id": "a b", "client_id": "c", "client_secret": {"env": "KEY"}},
            "tenant_id",
        ),
        (
            {
                "type": "service_principal",
                "tenant_id": "t",
                "client_id": "c",
                "client_secret": {"env": "KEY"},
                "authority": "login.microsoftonline.us",
            },
            "authority",
        ),
    ],
)
def test_a_credentials_other_fields_are_checked_at_load(credential: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as refused:
        HybridSparkOfflineStoreConfig(sites=[{"name": "cloud", "uri": CLOUD, "credential": credential}])
    assert str(refused.value).startswith(f"offline_store.sites[0].credential.{place}: expected ")


def test_references_survive_being_written_out_and_read_again() -> None:
    config = HybridSparkOfflineStoreConfig(sites=[key({"env": "KEY"})])
    again = HybridSparkOfflineStoreConfig(**config.model_dump())
    assert again.sites == config.sites
    assert again.model_dump() == config.model_dump()
