"""Ways to sign in: what each of them becomes, for Hadoop and for fsspec.

Hadoop's names are those of ``ConfigurationKeys`` in hadoop-azure; what ends in the account's host counts for that
account only.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from feast_hybrid.errors import AuthenticationError, CredentialError
from feast_hybrid.lakes import Site, parse_uri
from tests.integration.reliability import reliability
from tests.unit.kerberos_files import write_keytab, write_tickets

HOST = "acct.dfs.core.windows.net"
CLOUD = f"abfss://features@{HOST}"
OAUTH = "org.apache.hadoop.fs.azurebfs.oauth2"
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"


@pytest.fixture(autouse=True)
def _secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", "czNjcmV0")
    monkeypatch.setenv("THE_SAS", "sv=1&sig=czNjcmV0")


def site(credential: dict[str, Any] | None, uri: str = CLOUD) -> Site:
    return Site.model_validate({"name": "cloud", "uri": uri} | ({"credential": credential} if credential else {}))


REFERENCE = {"env": "THE_SECRET"}
ACCOUNT_KEY = {"type": "account_key", "account_key": REFERENCE}
SAS = {"type": "sas", "token": {"env": "THE_SAS"}}
SERVICE_PRINCIPAL = {
    "type": "service_principal",
    "tenant_id": TENANT,
    "client_id": CLIENT,
    "client_secret": REFERENCE,
}
WORKLOAD = {"type": "workload_identity", "tenant_id": TENANT, "client_id": CLIENT}
EMULATOR = {"type": "emulator", "account_key": REFERENCE, "endpoint": "127.0.0.1:10000"}


@pytest.mark.parametrize(
    ("credential", "settings"),
    [
        (None, {}),
        ({"type": "platform"}, {}),
        (
            ACCOUNT_KEY,
            {f"fs.azure.account.auth.type.{HOST}": "SharedKey", f"fs.azure.account.key.{HOST}": "czNjcmV0"},
        ),
        (SAS, {f"fs.azure.account.auth.type.{HOST}": "SAS", f"fs.azure.sas.fixed.token.{HOST}": "sv=1&sig=czNjcmV0"}),
        (
            SERVICE_PRINCIPAL,
            {
                f"fs.azure.account.auth.type.{HOST}": "OAuth",
                f"fs.azure.account.oauth.provider.type.{HOST}": f"{OAUTH}.ClientCredsTokenProvider",
                f"fs.azure.account.oauth2.client.endpoint.{HOST}": (
                    f"https://login.microsoftonline.com/{TENANT}/oauth2/token"
                ),
                f"fs.azure.account.oauth2.client.id.{HOST}": CLIENT,
                f"fs.azure.account.oauth2.client.secret.{HOST}": "czNjcmV0",
            },
        ),
        (
            {"type": "managed_identity"},
            {
                f"fs.azure.account.auth.type.{HOST}": "OAuth",
                f"fs.azure.account.oauth.provider.type.{HOST}": f"{OAUTH}.MsiTokenProvider",
            },
        ),
        (
            {"type": "managed_identity", "client_id": CLIENT, "tenant_id": TENANT},
            {
                f"fs.azure.account.auth.type.{HOST}": "OAuth",
                f"fs.azure.account.oauth.provider.type.{HOST}": f"{OAUTH}.MsiTokenProvider",
                f"fs.azure.account.oauth2.client.id.{HOST}": CLIENT,
                f"fs.azure.account.oauth2.msi.tenant.{HOST}": TENANT,
            },
        ),
        (
            WORKLOAD,
            {
                f"fs.azure.account.auth.type.{HOST}": "OAuth",
                f"fs.azure.account.oauth.provider.type.{HOST}": f"{OAUTH}.WorkloadIdentityTokenProvider",
                f"fs.azure.account.oauth2.msi.authority.{HOST}": "https://login.microsoftonline.com",
                f"fs.azure.account.oauth2.msi.tenant.{HOST}": TENANT,
                f"fs.azure.account.oauth2.client.id.{HOST}": CLIENT,
                f"fs.azure.account.oauth2.token.file.{HOST}": "/var/run/secrets/azure/tokens/azure-identity-token",
            },
        ),
        (
            EMULATOR,
            {
                f"fs.azure.account.auth.type.{HOST}": "SharedKey",
                f"fs.azure.account.key.{HOST}": "czNjcmV0",
                f"fs.azure.account.hns.enabled.{HOST}": "false",
                f"fs.azure.abfs.endpoint.{HOST}": "127.0.0.1:10000",
                f"fs.azure.fns.account.service.type.{HOST}": "BLOB",
                f"fs.azure.networking.library.{HOST}": "JDK_HTTP_URL_CONNECTION",
                "fs.azure.always.use.https": "false",
                "fs.azure.metrics.collection.enabled": "false",
            },
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) and "type" in value else None,
)
def test_how_hadoop_signs_in_to_adls(credential: dict[str, Any] | None, settings: dict[str, str]) -> None:
    assert site(credential).hadoop_options() == settings


@pytest.mark.parametrize(
    ("credential", "settings"),
    [
        (None, {}),
        ({"type": "platform"}, {}),
        ({"type": "simple"}, {}),
        ({"type": "kerberos"}, {"hadoop.security.authentication": "kerberos"}),
        (
            {"type": "kerberos", "principal": "feast@CORP", "keytab": "/etc/feast.keytab"},
            {"hadoop.security.authentication": "kerberos"},
        ),
    ],
)
def test_how_hadoop_signs_in_to_hdfs(credential: dict[str, Any] | None, settings: dict[str, str]) -> None:
    assert site(credential, "hdfs://lake").hadoop_options() == settings


def test_a_keytab_goes_to_the_session_which_renews_the_executors_tokens() -> None:
    kerberos = {"type": "kerberos", "principal": "feast@CORP", "keytab": "/etc/feast.keytab"}
    assert site(kerberos, "hdfs://lake").session_conf() == {
        "spark.kerberos.principal": "feast@CORP",
        "spark.kerberos.keytab": "/etc/feast.keytab",
    }
    assert site({"type": "kerberos"}, "hdfs://lake").session_conf() == {}
    assert site(ACCOUNT_KEY).session_conf() == {}


def test_a_keytab_needs_its_principal() -> None:
    with pytest.raises(CredentialError) as refused:
        site({"type": "kerberos", "keytab": "/etc/feast.keytab"}, "hdfs://lake")
    assert str(refused.value) == "site 'cloud': a keytab needs the principal whose key it holds."


def test_a_keytab_has_to_be_there_where_it_is_used(tmp_path: Path) -> None:
    keytab = tmp_path / "feast.keytab"
    kerberos = {"type": "kerberos", "principal": "feast@CORP", "keytab": str(keytab)}
    configured = site(kerberos, "hdfs://lake")
    with pytest.raises(CredentialError) as refused:
        configured.filesystem()
    assert str(refused.value) == f"site 'cloud': there is no keytab at {keytab}."
    keytab.write_bytes(b"\5\2")
    configured.credential.require_files("cloud")


@reliability("Secrets", "an account key that is no base64", "refused where it is read")
@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("not base64!", ""),
        ("czNjcmV0 ", " There is white space around it."),
        ("\u043a\u043b\u044e\u0447", ""),
        (
            "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=czNjcmV0;EndpointSuffix=core.windows.net",
            (" It looks like a connection string: give what follows AccountKey= alone, up to the next semicolon."),
        ),
        ("sv=2024-08-04&sig=czNjcmV0", " It looks like a shared access signature: use credential type sas."),
    ],
)
@pytest.mark.parametrize("credential", [ACCOUNT_KEY, EMULATOR], ids=["account_key", "emulator"])
def test_an_account_key_that_is_none_is_refused_where_it_is_read(
    credential: dict[str, Any], given: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_SECRET", given)
    configured = site(credential)
    for use in (configured.hadoop_options, configured.filesystem):
        with pytest.raises(CredentialError) as refused:
            use()
        assert str(refused.value) == (
            "account_key of site 'cloud': what stands in environment variable THE_SECRET is no account key, which is "
            f"base64 text that ends in '=='.{hint}"
        )
        assert refused.value.__context__ is None


def test_a_sovereign_cloud_has_its_own_authority() -> None:
    government = SERVICE_PRINCIPAL | {"authority": "https://login.microsoftonline.us/"}
    assert site(government).hadoop_options()[f"fs.azure.account.oauth2.client.endpoint.{HOST}"] == (
        f"https://login.microsoftonline.us/{TENANT}/oauth2/token"
    )


def test_the_question_mark_before_a_copied_token_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SAS", "?sv=1&sig=x")
    assert site(SAS).hadoop_options()[f"fs.azure.sas.fixed.token.{HOST}"] == "sv=1&sig=x"


def arguments(credential: dict[str, Any] | None, uri: str = CLOUD) -> dict[str, Any]:
    chosen = site(credential, uri)
    return chosen.credential.to_fsspec_kwargs(chosen.root, chosen.name)


ACCOUNT = {"account_name": "acct", "account_host": "acct.blob.core.windows.net"}


@pytest.mark.parametrize(
    ("credential", "given"),
    [
        (ACCOUNT_KEY, ACCOUNT | {"account_key": "czNjcmV0"}),
        (SAS, ACCOUNT | {"sas_token": "sv=1&sig=czNjcmV0"}),
        (
            EMULATOR,
            {
                "account_name": "acct",
                "connection_string": (
                    "DefaultEndpointsProtocol=http;AccountName=acct;AccountKey=czNjcmV0;"
                    "BlobEndpoint=http://127.0.0.1:10000/acct;"
                ),
            },
        ),
    ],
)
def test_how_adlfs_signs_in(credential: dict[str, Any], given: dict[str, Any]) -> None:
    assert arguments(credential) == given


@pytest.mark.parametrize(
    ("credential", "credential_class"),
    [
        (None, "DefaultAzureCredential"),
        (SERVICE_PRINCIPAL, "ClientSecretCredential"),
        ({"type": "managed_identity", "client_id": CLIENT}, "ManagedIdentityCredential"),
        (WORKLOAD, "ClientAssertionCredential"),
    ],
)
def test_how_adlfs_signs_in_by_entra(credential: dict[str, Any] | None, credential_class: str) -> None:
    given = arguments(credential)
    assert type(given.pop("credential")).__name__ == credential_class
    assert given == ACCOUNT


def test_another_clouds_account_keeps_its_domain() -> None:
    given = arguments(ACCOUNT_KEY, "abfss://features@acct.dfs.core.usgovcloudapi.net")
    assert given["account_host"] == "acct.blob.core.usgovcloudapi.net"


@pytest.mark.parametrize(
    ("credential", "given"),
    [
        (None, {}),
        ({"type": "simple"}, {}),
    ],
)
def test_how_hdfs_native_signs_in(credential: dict[str, Any] | None, given: dict[str, Any]) -> None:
    assert arguments(credential, "hdfs://lake") == given


class TestHdfsNativeWithKerberos:
    def test_a_keytab_signs_in_into_tickets_of_its_own(self, tmp_path: Path) -> None:
        keytab = write_keytab(tmp_path / "keytab", "feast@CORP")
        credential = {"type": "kerberos", "principal": "feast@CORP", "keytab": str(keytab)}
        given = arguments(credential, "hdfs://lake")
        cache = given.pop("kerberos_cache")
        assert cache.startswith("MEMORY:")
        assert given == {
            "hadoop.security.authentication": "kerberos",
            "dfs.data.transfer.protection": "privacy",
            "kerberos_principal": "feast@CORP",
            "kerberos_keytab": str(keytab),
        }
        write_keytab(keytab, "feast@CORP", removed=4)
        assert arguments(credential, "hdfs://lake")["kerberos_cache"] != cache

    def test_without_one_the_ticket_cache_does(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
        write_tickets(tmp_path / "tickets", "feast@CORP", krbtgt=time.time() + 60)
        given = {"hadoop.security.authentication": "kerberos", "dfs.data.transfer.protection": "privacy"}
        assert arguments({"type": "kerberos"}, "hdfs://lake") == given
        named = arguments({"type": "kerberos", "principal": "feast@CORP"}, "hdfs://lake")
        assert named == {**given, "kerberos_principal": "feast@CORP"}

    def test_a_keytab_of_others_and_a_ticket_that_expired_are_found_before_anybody_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keytab = write_keytab(tmp_path / "keytab", "other@CORP")
        with pytest.raises(AuthenticationError, match=rf"keytab {keytab} holds no key of principal feast@CORP"):
            arguments({"type": "kerberos", "principal": "feast@CORP", "keytab": str(keytab)}, "hdfs://lake")
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/tickets")
        write_tickets(tmp_path / "tickets", "feast@CORP", krbtgt=time.time() - 60)
        with pytest.raises(AuthenticationError, match=r"ticket of principal feast@CORP .* expired at"):
            arguments({"type": "kerberos"}, "hdfs://lake")


class TestFileSystems:
    """The file systems that need no JVM. Making one connects to nothing."""

    def test_adls_is_read_by_the_sites_own_sign_in_whatever_the_environment_holds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("THE_SECRET", "czNjcmV0")
        for name, value in {
            "CONNECTION_STRING": "AccountName=other;AccountKey=b3RoZXI=;BlobEndpoint=http://other:1/other",
            "ACCOUNT_NAME": "other",
            "ACCOUNT_KEY": "b3RoZXI=",
            "SAS_TOKEN": "sv=other",
            "CLIENT_ID": CLIENT,
            "ANON": "true",
        }.items():
            monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
        by_key = site(ACCOUNT_KEY).filesystem()
        monkeypatch.setenv("THE_SAS", "sv=ours&sig=ours")
        by_sas = site(SAS).filesystem()
        assert by_key.service_client.url == "https://acct.blob.core.windows.net/"
        assert by_key.service_client.credential.account_name == "acct"
        assert by_key.service_client.credential.account_key == "czNjcmV0"
        assert by_sas.service_client.url == "https://acct.blob.core.windows.net/?sv=ours&sig=ours"
        assert by_sas.service_client.credential is None

    def test_the_emulator_is_read_at_its_endpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("THE_SECRET", "czNjcmV0")
        assert site(EMULATOR).filesystem().service_client.url == "http://127.0.0.1:10000/acct/"

    @pytest.mark.parametrize(
        ("uri", "path"),
        [
            (f"{CLOUD}/a #b%20c/d", "features/a #b%20c/d"),
            (CLOUD, "features/"),
            ("hdfs://lake/a #b%20c?d", "/a #b%20c?d"),
            ("file:///a #b?c", "/a #b?c"),
        ],
    )
    def test_a_path_reaches_the_file_system_as_it_is(self, uri: str, path: str) -> None:
        assert site(None, uri).fsspec_path(parse_uri(uri)) == path

    @pytest.mark.parametrize("path", ["/a?b", "/a#b", "/a;b", "/a%20b", "/a//b", "/süß"])
    @pytest.mark.parametrize("scheme", ["hdfs", "viewfs"])
    def test_hdfs_native_takes_a_path_as_data(self, scheme: str, path: str) -> None:
        from feast_hybrid.lakes.filesystems import SiteHdfsFileSystem, SiteViewfsFileSystem

        filesystem = {"hdfs": SiteHdfsFileSystem, "viewfs": SiteViewfsFileSystem}[scheme]
        assert filesystem._strip_protocol(path) == path
        assert filesystem._strip_protocol(f"{scheme}://lake{path}") == path
        assert filesystem._strip_protocol(f"{scheme}://lake") == "/"

    def test_hdfs_native_gets_namenodes_and_options(self) -> None:
        chosen = Site(name="a", uri="hdfs://Lake", namenodes=["nn1:8020", "nn2:8020"], options={"x.y": "1"})
        files = chosen.filesystem()
        assert (files.host, files.port) == ("Lake", None)
        assert files.storage_options["dfs.ha.namenodes.Lake"] == "nn1,nn2"
        assert files.storage_options["dfs.namenode.rpc-address.Lake.nn2"] == "nn2:8020"
        assert files.storage_options["x.y"] == "1"

    def test_hdfs_native_gets_host_and_port(self) -> None:
        files = site(None, "hdfs://nn1.corp:8020").filesystem()
        assert (files.protocol, files.host, files.port) == ("hdfs", "nn1.corp", 8020)

    def test_viewfs_takes_its_mounts_from_the_sites_options(self) -> None:
        mount = {"fs.viewfs.mounttable.cluster.linkFallback": "hdfs://nn1.corp:8020/"}
        assert Site(name="a", uri="viewfs://cluster", options=mount).filesystem().protocol == "viewfs"
