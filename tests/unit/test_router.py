"""Which site a URI, a table or a query belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from feast_hybrid.errors import ConfigError, CredentialError, HybridError, RoutingError
from feast_hybrid.lakes import LakeType, Router, Site

CLOUD = "abfss://features@acct.dfs.core.windows.net"


def site(name: str, uri: str, **more: Any) -> Site:
    return Site(name=name, uri=uri, **more)


def key(variable: str = "KEY") -> dict[str, Any]:
    return {"type": "account_key", "account_key": {"env": variable}}


ROUTER = Router(
    [
        site("onprem", "hdfs://lake"),
        site("risk", "hdfs://lake/risk"),
        site("models", "hdfs://lake/risk/models"),
        site("cloud", f"{CLOUD}/gold"),
    ]
)


def refusal(error_class: type[HybridError], router: Router, uri: str) -> str:
    with pytest.raises(error_class) as refused:
        router.route(uri, what="path of source 's'")
    return str(refused.value)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hdfs://lake/flights", "onprem"),
        ("hdfs://lake", "onprem"),
        ("hdfs://lake/risk", "risk"),
        ("hdfs://lake/risk/a", "risk"),
        ("hdfs://lake/risks/a", "onprem"),
        ("hdfs://lake/risk/models/1", "models"),
        ("hdfs://LAKE/risk/a", "risk"),
        (f"{CLOUD}/gold/weather", "cloud"),
    ],
)
def test_the_longest_prefix_by_whole_segments_wins(uri: str, name: str) -> None:
    assert ROUTER.route(uri).name == name


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("abfss://lake@nn1.corp/flights", "hdfs://warehouse/flights"),
        ("abfss://data@warehouse.corp/flights", None),
        ("hdfs://acct/gold/a", f"{CLOUD}/gold/a"),
    ],
)
def test_a_uri_of_the_other_lake_gets_the_one_that_was_meant(uri: str, meant: str | None) -> None:
    router = Router([site("onprem", "hdfs://warehouse", namenodes=["nn1.corp:8020"]), site("cloud", f"{CLOUD}/gold")])
    text = refusal(RoutingError, router, uri)
    assert text.startswith(f"path of source 's': {uri} is under none of the configured sites")
    assert (f"is reached: did you mean {meant}?" in text) == (meant is not None)
    assert ("did you mean" in text) == (meant is not None)


def test_this_machines_files_need_a_site_but_for_what_the_configuration_names() -> None:
    with pytest.raises(RoutingError, match=r"\{name: local, uri: 'file:///staging'\}"):
        ROUTER.locate("file:///staging/x")
    assert ROUTER.locate("file:///staging/x", configured=True).site.name == "local"
    assert Router().route("file:///staging/x").name == "local"
    with_disk = Router([*ROUTER.sites, site("disk", "file:///staging")])
    assert with_disk.route("file:///staging/x").name == "disk"
    with pytest.raises(RoutingError):
        with_disk.route("file:///staging2/x")


def test_the_order_of_the_sites_does_not_matter() -> None:
    assert Router(ROUTER.sites[::-1]).route("hdfs://lake/risk/models/1").name == "models"


@pytest.mark.parametrize(
    ("uri", "lake"),
    [
        ("hdfs://lake/a", LakeType.HDFS),
        ("hdfs://nn1.corp:8020/a", LakeType.HDFS),
        ("viewfs://cluster/a", LakeType.HDFS),
        (f"{CLOUD}/a", LakeType.ADLS),
        (f"abfss://{'c' * 63}@{'a' * 24}.dfs.core.windows.net/a", LakeType.ADLS),
        ("abfss://$logs@acct.dfs.core.windows.net/a", LakeType.ADLS),
        ("file:///tmp", LakeType.LOCAL),
    ],
)
def test_without_sites_the_scheme_decides_and_the_platform_signs_in(uri: str, lake: LakeType) -> None:
    found = Router().route(uri)
    assert (found.lake, found.credential.type, found.hadoop_options()) == (lake, "platform", {})


def test_a_uri_under_no_site_is_refused_naming_the_sites() -> None:
    router = Router([site("onprem", "hdfs://lake/data"), site("cloud", CLOUD)])
    assert refusal(RoutingError, router, "hdfs://lake/other") == (
        "path of source 's': hdfs://lake/other is under none of the configured sites "
        f"(onprem: hdfs://lake/data; cloud: {CLOUD}/)."
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hdfs://lakes/flights/2013", "hdfs://lake/flights/2013"),
        ("abfss://feature@acct.dfs.core.windows.net/gold/a", f"{CLOUD}/gold/a"),
        ("abfs://features@acct.dfs.core.windows.net/gold/a", f"{CLOUD}/gold/a"),
    ],
)
def test_a_slip_in_the_authority_gets_the_uri_that_was_meant(typed: str, meant: str) -> None:
    assert refusal(RoutingError, ROUTER, typed).endswith(f"Did you mean {meant}?")


def test_a_malformed_uri_is_refused_by_the_router_too() -> None:
    assert refusal(RoutingError, ROUTER, "/flights").startswith("path of source 's': '/flights' names no lake")


@pytest.mark.parametrize("again", ["hdfs://lake/risk", "hdfs://lake/risk/", "hdfs://lake//risk", "HDFS://LAKE/risk"])
def test_two_sites_cannot_claim_one_prefix(again: str) -> None:
    with pytest.raises(ConfigError, match=r"sites 'a' and 'b' claim the same prefix hdfs://(lake|LAKE)/risk\."):
        Router([site("a", "hdfs://lake/risk"), site("b", again)])


def test_two_sites_cannot_have_one_name() -> None:
    with pytest.raises(ConfigError, match=r"sites: the name 'a' stands twice; names must differ\."):
        Router([site("a", "hdfs://one"), site("a", "hdfs://two")])


def test_two_sites_of_one_authority_cannot_sign_in_differently() -> None:
    with pytest.raises(CredentialError) as refused:
        Router([site("a", f"{CLOUD}/x", credential=key("A")), site("b", f"{CLOUD}/y", credential=key("B"))])
    assert str(refused.value) == (
        "sites 'a' and 'b' share features@acct.dfs.core.windows.net but sign in differently. Hadoop's "
        "settings are those of a whole account, so a session for tables and queries could hold one of the two alone: "
        "give both the same credential."
    )


def test_tls_or_not_makes_no_other_authority() -> None:
    with pytest.raises(CredentialError, match="sign in differently"):
        Router(
            [site("a", CLOUD, credential=key("A")), site("b", CLOUD.replace("abfss", "abfs"), credential=key("B"))]
        )


def test_two_sites_of_one_authority_may_sign_in_alike() -> None:
    router = Router([site("a", f"{CLOUD}/x", credential=key()), site("b", f"{CLOUD}/y", credential=key())])
    assert router.route(f"{CLOUD}/y/1").name == "b"


def test_two_containers_of_one_account_may_sign_in_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "YS1rZXk=")
    monkeypatch.setenv("B", "Yi1rZXk=")
    other = CLOUD.replace("features", "raw")
    router = Router([site("a", CLOUD, credential=key("A")), site("b", other, credential=key("B"))])
    setting = "fs.azure.account.key.acct.dfs.core.windows.net"
    assert router.route(f"{CLOUD}/x").hadoop_options()[setting] == "YS1rZXk="
    assert router.route(f"{other}/x").hadoop_options()[setting] == "Yi1rZXk="


def test_one_session_cannot_hold_two_keys_of_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "Y2FuYXJ5LWE=")
    monkeypatch.setenv("B", "Y2FuYXJ5LWI=")
    router = Router(
        [site("a", CLOUD, credential=key("A")), site("b", CLOUD.replace("features", "raw"), credential=key("B"))]
    )
    with pytest.raises(CredentialError) as refused:
        router.hadoop_options()
    assert "sites 'a' and 'b' need fs.azure.account.key.acct.dfs.core.windows.net to differ" in str(refused.value)
    assert "Y2Fu" not in str(refused.value)


def test_one_nameservice_has_one_list_of_namenodes() -> None:
    with pytest.raises(ConfigError, match="sites 'a' and 'b' share lake but list other namenodes"):
        Router([site("a", "hdfs://lake/x", namenodes=["nn1:8020", "nn2:8020"]), site("b", "hdfs://lake/y")])


def test_spark_signs_in_with_one_principal() -> None:
    def kerberos(user: str) -> dict[str, Any]:
        return {"type": "kerberos", "principal": f"{user}@CORP", "keytab": f"/etc/{user}.keytab"}

    Router([site("a", "hdfs://one", credential=kerberos("x")), site("b", "hdfs://two", credential=kerberos("x"))])
    with pytest.raises(CredentialError, match="sites 'a' and 'b' sign in with Kerberos differently"):
        Router([site("a", "hdfs://one", credential=kerberos("x")), site("b", "hdfs://two", credential=kerberos("y"))])
    with pytest.raises(CredentialError, match="give both the same principal and keytab"):
        Router(
            [
                site("a", "hdfs://one", credential=kerberos("x")),
                site("b", "hdfs://two", credential={"type": "kerberos"}),
            ]
        )


class TestTablesAndQueries:
    def test_the_only_site_is_meant_where_none_is_named(self) -> None:
        only = site("onprem", "hdfs://lake")
        assert Router([only]).named(None, what="source 's'") == only

    def test_without_sites_there_is_none_to_name(self) -> None:
        assert Router().named(None, what="source 's'") is None

    def test_among_several_sites_one_has_to_be_named(self) -> None:
        with pytest.raises(RoutingError) as refused:
            ROUTER.named(None, what="source 's'")
        assert str(refused.value) == (
            "source 's': a table or query has no URI to tell its site by; set site= to one of cloud, models, onprem, "
            "risk, or write a rule in offline_store.sources."
        )

    def test_a_site_is_found_by_its_name(self) -> None:
        found = ROUTER.named("risk", what="source 's'")
        assert found is not None
        assert found.name == "risk"

    def test_an_unknown_name_gets_the_one_that_was_meant(self) -> None:
        with pytest.raises(RoutingError) as refused:
            ROUTER.named("onprm", what="source 's'")
        assert str(refused.value) == (
            "source 's': site 'onprm' is not configured (configured: cloud, models, onprem, risk). "
            "Did you mean 'onprem'?"
        )

    def test_a_name_where_no_sites_are_configured_is_refused(self) -> None:
        with pytest.raises(RoutingError, match=r"\(configured: none: offline_store.sites is empty\)"):
            Router().named("cloud", what="source 's'")

    def test_one_session_for_all_sites_knows_all_nameservices(self) -> None:
        router = Router(
            [
                site("a", "hdfs://One", namenodes=["nn1:8020", "nn2:8020"]),
                site("b", "hdfs://two", namenodes=["nn3:8020"]),
                site("c", "hdfs://nn4.corp:8020"),
            ]
        )
        options = router.hadoop_options()
        assert options["dfs.nameservices"] == "One,two"
        assert options["dfs.ha.namenodes.One"] == "nn1,nn2"
        assert options["dfs.namenode.rpc-address.two.nn1"] == "nn3:8020"


class TestSites:
    def test_namenodes_become_hadoops_settings_for_a_nameservice(self) -> None:
        assert site("a", "hdfs://Lake", namenodes=["nn1.corp:8020", "nn2.corp:8020"]).hadoop_options() == {
            "dfs.nameservices": "Lake",
            "dfs.ha.namenodes.Lake": "nn1,nn2",
            "dfs.namenode.rpc-address.Lake.nn1": "nn1.corp:8020",
            "dfs.namenode.rpc-address.Lake.nn2": "nn2.corp:8020",
            "dfs.client.failover.proxy.provider.Lake": (
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
            ),
        }

    @pytest.mark.parametrize(
        ("uri", "namenodes", "message"),
        [
            (CLOUD, ["nn1:8020"], "site 'a': namenodes belong to hdfs://, not to abfss://."),
            ("viewfs://lake", ["nn1:8020"], "site 'a': namenodes belong to hdfs://, not to viewfs://."),
            ("hdfs://lake", ["nn1"], "site 'a': namenode 'nn1' must be host:port, such as nn1.corp:8020."),
            (
                "hdfs://lake",
                ["hdfs://nn1:8020"],
                "site 'a': namenode 'hdfs://nn1:8020' must be host:port, such as nn1.corp:8020.",
            ),
            (
                "hdfs://nn1:8020",
                ["nn1:8020"],
                (
                    "site 'a': namenodes name the servers of a nameservice, but uri 'hdfs://nn1:8020' has a port; "
                    "write hdfs://<nameservice>."
                ),
            ),
        ],
    )
    def test_namenodes_that_cannot_be_meant_are_refused(self, uri: str, namenodes: list[str], message: str) -> None:
        with pytest.raises(ConfigError) as refused:
            site("a", uri, namenodes=namenodes)
        assert str(refused.value) == message

    def test_a_sites_own_options_come_last(self) -> None:
        options = site("a", "hdfs://lake", options={"dfs.client.use.datanode.hostname": True, "dfs.replication": 2})
        assert options.hadoop_options() == {"dfs.client.use.datanode.hostname": "true", "dfs.replication": "2"}

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("fs.azure.account.key.acct.dfs.core.windows.net", "holds a secret; use credential instead"),
            ("fs.azure.account.oauth2.client.secret", "holds a secret; use credential instead"),
            ("FS.Azure.sas.fixed.token.acct.dfs.core.windows.net", "holds a secret; use credential instead"),
            ("fs.azure.sas.container.acct.blob.core.windows.net", "holds a secret; use credential instead"),
            ("spark.hadoop.fs.azure.account.key", "holds a secret; use credential instead"),
            ("spark.hadoop.dfs.replication", "options are Hadoop's own; write 'dfs.replication'"),
            ("spark.sql.shuffle.partitions", "it belongs in offline_store.spark.conf"),
        ],
    )
    def test_an_option_that_belongs_elsewhere_is_refused(self, option: str, message: str) -> None:
        with pytest.raises(ConfigError) as refused:
            site("a", CLOUD, options={option: "canary"})
        assert "site 'a': " in str(refused.value)
        assert message in str(refused.value)
        assert "canary" not in str(refused.value)

    @pytest.mark.parametrize(
        "option",
        [
            "fs.azure.oauth.token.fetch.retry.max.retries",
            "fs.azure.account.keyprovider.acct.dfs.core.windows.net",
            "fs.azure.account.oauth2.refresh.token.endpoint",
            "fs.azure.sas.token.renew.period.for.streams",
            "fs.azure.sas.token.provider.type",
            "fs.azure.sas.expiry.period",
        ],
    )
    def test_an_option_that_only_sounds_like_a_secret_is_taken(self, option: str) -> None:
        assert option in site("a", CLOUD, options={option: "x"}).hadoop_options()

    @pytest.mark.parametrize(
        ("uri", "credential", "ways"),
        [
            ("hdfs://lake", key(), "kerberos, platform, simple"),
            (
                CLOUD,
                {"type": "kerberos"},
                "account_key, emulator, managed_identity, platform, sas, service_principal, workload_identity",
            ),
            ("file:///data", {"type": "simple"}, "platform"),
        ],
    )
    def test_a_credential_of_another_lake_is_refused_naming_the_ways_there_are(
        self, uri: str, credential: dict[str, Any], ways: str
    ) -> None:
        with pytest.raises(CredentialError) as refused:
            site("a", uri, credential=credential)
        scheme = uri.partition("://")[0]
        assert str(refused.value) == (
            f"site 'a': credential type {credential['type']!r} is not for {scheme}://; use one of {ways}."
        )
