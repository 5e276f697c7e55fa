"""A source's ``connection_ref``: what it signs in with, for this source alone, and where nothing of it shows."""

from __future__ import annotations

import base64
import pickle
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from feast import FileSource
from feast.credentials import (
    ConnectionRef,
    CredentialProvider,
    CredentialResolutionError,
    get_credential_provider,
    register_credential_provider,
)
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import CredentialError, HybridError, SourceError
from feast_hybrid.lakes import ConnectionRule, Location, Router, Site, connections
from feast_hybrid.lakes.hadoop_cache import has_own_file_systems
from feast_hybrid.lakes.opener import CanOpen, SiteOpener
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec

ADLS = "abfss://features@acct.dfs.core.windows.net"
HOST = "acct.dfs.core.windows.net"
KEY = base64.b64encode(b"a key that nobody sees").decode()
OTHER = base64.b64encode(b"another one").decode()


class Vault(CredentialProvider):
    """Has what a test puts in it, and counts who asks."""

    def __init__(self) -> None:
        self.holds: dict[str, Any] = {"cards": {"account_key": KEY}}
        self.asked: list[ConnectionRef] = []

    def provider_type(self) -> str:
        return "vault"

    def resolve(self, ref: ConnectionRef) -> dict[str, str]:
        self.asked.append(ref)
        found = self.holds[ref.name]
        if isinstance(found, Exception):
            raise found
        return dict(found)


@pytest.fixture
def vault() -> Iterator[Vault]:
    before, vault = get_credential_provider("vault"), Vault()
    register_credential_provider(vault)
    yield vault
    register_credential_provider(before)


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_FETCHED", connections._Fetched())


def router(credential: dict[str, Any] | None = None, *rules: dict[str, str]) -> Router:
    cloud = Site.model_validate({"name": "cloud", "uri": ADLS, "credential": credential or {"type": "platform"}})
    given = rules or ({"provider": "vault", "name": "*"}, {"provider": "env", "name": "*"})
    sites = [cloud, Site(name="onprem", uri="hdfs://lake"), Site(name="disk", uri="file:///data")]
    return Router(
        sites, connection_rules=[ConnectionRule.model_validate({"site": "cloud", **rule}) for rule in given]
    )


def ref(name: str = "cards", provider: str = "vault", **more: Any) -> ConnectionRef:
    return ConnectionRef(provider=provider, name=name, **more)


def ours(connection_ref: ConnectionRef, **given: Any) -> HybridSparkSource:
    place: dict[str, Any] = {"path": f"{ADLS}/cards"} if not {"path", "table", "query"} & given.keys() else {}
    return HybridSparkSource(name="s", timestamp_field="ts", connection_ref=connection_ref, **place, **given)


def spark_source(connection_ref: ConnectionRef, **given: Any) -> SparkSource:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return SparkSource(name="s", timestamp_field="ts", connection_ref=connection_ref, **given)


def from_registry(source: DataSource) -> DataSource:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        read: DataSource = DataSource.from_proto(DataSourceProto.FromString(source.to_proto().SerializeToString()))
    return read


def place_of(source: DataSource, of: Router) -> Location:
    location = source_spec(source, of).location
    assert location is not None
    return location


def connection_of(place: Location) -> connections.Connection:
    credential: Any = place.site.credential
    assert isinstance(credential, connections.Connection)
    return credential


def refusal(error_class: type[HybridError], place: Location) -> str:
    """Why a place cannot be signed in to; nothing of a secret is in it, nor in what is behind it."""
    with pytest.raises(error_class) as refused:
        place.hadoop_options  # noqa: B018 - what it raises
    shown = "".join(traceback.format_exception(refused.value))
    assert KEY not in shown
    assert OTHER not in shown
    return str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        ours(ref()),
        spark_source(ref(), path=f"{ADLS}/cards", file_format="parquet"),
        FileSource(name="s", timestamp_field="ts", path=f"{ADLS}/cards", connection_ref=ref()),
    ],
    ids=lambda source: type(source).__name__,
)
def test_a_source_is_read_with_what_its_reference_names_and_no_other_is(vault: Vault, source: DataSource) -> None:
    of = router()
    read = from_registry(source)
    assert read.connection_ref == ref()
    place = place_of(read, of)
    assert vault.asked == []  # what touches no lake needs no secret
    assert place.hadoop_options == {
        f"fs.azure.account.auth.type.{HOST}": "SharedKey",
        f"fs.azure.account.key.{HOST}": KEY,
    }
    assert place.child("part-0").hadoop_options == place.hadoop_options
    assert source_spec(read, of).site is place.site  # and keeps its file system
    assert place.site.name == "cloud"
    assert has_own_file_systems(place.site)
    assert of.locate(f"{ADLS}/cards").hadoop_options == {}
    assert of.hadoop_options() == {}


def test_a_source_of_ours_is_the_same_from_the_registry() -> None:
    source = ours(ref(namespace="bank", params={"account_name": "acct"}), tags={"team": "risk"})
    read = from_registry(source)
    assert read == source
    assert read.tags == {"team": "risk"}
    assert ours(ref("others")) != ours(ref())


WAYS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("account key", {"account_key": KEY}, {f"fs.azure.account.key.{HOST}": KEY}),
    ("Azure's variable", {"AZURE_STORAGE_KEY": KEY}, {f"fs.azure.account.key.{HOST}": KEY}),
    ("Kubernetes' spelling", {"account-key": KEY}, {f"fs.azure.account.key.{HOST}": KEY}),
    ("the account too", {"account_name": "acct", "account_key": KEY}, {f"fs.azure.account.key.{HOST}": KEY}),
    ("sas", {"sas_token": f"?sv=1&sig={KEY}"}, {f"fs.azure.sas.fixed.token.{HOST}": f"sv=1&sig={KEY}"}),
    (
        "service principal",
        {"tenant_id": "t", "client_id": "c", "client_secret": KEY},
        {
            f"fs.azure.account.oauth2.client.id.{HOST}": "c",
            f"fs.azure.account.oauth2.client.secret.{HOST}": KEY,
            f"fs.azure.account.oauth2.client.endpoint.{HOST}": "https://login.microsoftonline.com/t/oauth2/token",
        },
    ),
]


@pytest.mark.parametrize(("held", "expected"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_each_way_to_sign_in_by_the_keys_of_the_secret(
    vault: Vault, held: dict[str, str], expected: dict[str, str]
) -> None:
    vault.holds["cards"] = held
    assert expected.items() <= place_of(ours(ref()), router()).hadoop_options.items()


@pytest.mark.parametrize(
    ("held", "params", "message"),
    [
        (
            {"account_key": KEY, "akey": OTHER},
            {},
            "unknown keys akey; there are account_name, account_key, sas_token,",
        ),
        ({"account_key": ""}, {}, r"nothing is in account_key\.$"),
        ({}, {}, r"give the keys of one way to sign in \(account_key; sas_token; client_id and .*\); found none of"),
        ({"client_secret": KEY, "client_id": "c"}, {}, "found keys client_id, client_secret"),
        ({"account_key": KEY, "sas_token": OTHER}, {}, "found keys account_key, sas_token"),
        ({"account_key": KEY, "AZURE_STORAGE_KEY": OTHER}, {}, "account_key is there twice, with two values"),
        ({"account_key": KEY, "account_name": OTHER}, {}, "account_name is not 'acct', the account of abfss://"),
        ({"account_key": KEY}, {"account_key": KEY}, "params account_key: there are account_name, tenant_id,"),
        ({"account_key": KEY}, {"authority": "https://x"}, "params authority: there are account_name, tenant_id, cl"),
        (
            {"account_key": KEY, "account_name": "acct"},
            {"account_name": OTHER},
            "params and the provider say different things of account_name",
        ),
        (
            {"tenant_id": OTHER, "client_id": "c", "client_secret": KEY},
            {},
            "tenant_id: expected an Entra identifier, such as a GUID; it is not shown",
        ),
        (
            {"sas_token": KEY},
            {},
            "what stands in sas_token of connection_ref to 'cards' of provider 'vault' is no sh",
        ),
        ({"account_key": f"{KEY}%"}, {}, "what stands in account_key of connection_ref to 'cards' of provider 'vaul"),
        (CredentialResolutionError("sealed"), {}, r"^connection_ref to 'cards' of provider 'vault': sealed\.$"),
        (ValueError(KEY), {}, r"^connection_ref to 'cards' of provider 'vault': ValueError\.$"),
    ],
    ids=str.split(
        "unknown empty nothing a_part two_ways twice another_account a_secret_as_a_param whom_to_send_it_to "
        "two_accounts no_identifier no_signature no_key refused an_error_with_a_secret"
    ),
)
def test_what_cannot_be_meant_is_refused_by_the_names_of_keys(
    vault: Vault, held: Any, params: dict[str, str], message: str
) -> None:
    vault.holds["cards"] = held
    said = refusal(CredentialError, place_of(ours(ref(params=params)), router()))
    with pytest.raises(CredentialError, match=message):
        raise CredentialError(said)


def test_variables_are_those_that_begin_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_ACCOUNT_KEY", KEY)
    for name in ("BANK", "BANK_"):
        assert place_of(ours(ref(name, "env")), router()).hadoop_options[f"fs.azure.account.key.{HOST}"] == KEY
    monkeypatch.setenv("BANK_OF_ENGLAND_ACCOUNT_KEY", OTHER)
    said = refusal(CredentialError, place_of(ours(ref("BANK_O", "env")), router()))
    assert "unknown keys BANK_OF_ENGLAND_ACCOUNT_KEY" in said
    for everything in ("*", " "):
        with pytest.raises(SourceError, match="names all variables of the environment"):
            ours(ref(everything, "env"))


def test_an_emulator_stays_where_it_is_and_sovereign_clouds_have_their_entra(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", OTHER)
    emulator = {"type": "emulator", "account_key": {"env": "THE_KEY"}, "endpoint": "127.0.0.1:10000"}
    options = place_of(ours(ref()), router(emulator)).hadoop_options
    assert options[f"fs.azure.account.key.{HOST}"] == KEY
    assert options[f"fs.azure.abfs.endpoint.{HOST}"] == "127.0.0.1:10000"
    vault.holds["app"] = {"tenant_id": "t", "client_id": "c", "client_secret": KEY}
    assert "the site is an emulator" in refusal(CredentialError, place_of(ours(ref("app")), router(emulator)))
    china = "https://login.chinacloudapi.cn"
    principal = {
        "type": "service_principal",
        "tenant_id": "a",
        "client_id": "b",
        "client_secret": {"env": "THE_KEY"},
        "authority": china,
    }
    options = place_of(ours(ref("app")), router(principal)).hadoop_options
    assert options[f"fs.azure.account.oauth2.client.endpoint.{HOST}"] == f"{china}/t/oauth2/token"


class TestAllowed:
    @pytest.mark.parametrize(
        ("rule", "allowed"),
        [
            ({"provider": "vault", "name": "cards"}, True),
            ({"provider": "vault", "name": "c*"}, True),
            ({"provider": "vault", "name": "c*", "namespace": "*"}, True),
            ({"provider": "vault", "name": "c*", "namespace": "bank"}, False),
            ({"provider": "vault", "name": "C*"}, False),
            ({"provider": "vault", "name": "card"}, False),
            ({"provider": "env", "name": "cards"}, False),
        ],
    )
    def test_the_configuration_says_which_secrets_a_source_may_refer_to(
        self, rule: dict[str, str], allowed: bool
    ) -> None:
        of = router(None, rule)
        if allowed:
            assert place_of(ours(ref()), of).site.name == "cloud"
            return
        with pytest.raises(CredentialError, match=r"add \{provider: 'vault', name: 'cards', site: 'cloud'\}"):
            source_spec(ours(ref()), of)

    def test_a_namespace_has_to_be_allowed(self) -> None:
        of = router(None, {"provider": "vault", "name": "cards"})
        with pytest.raises(CredentialError, match=r"add \{provider: 'vault', name: 'cards', namespace: 'bank', site"):
            source_spec(ours(ref(namespace="bank")), of)

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("hdfs://lake/cards", "a connection_ref cannot sign in to HDFS: a JVM is one user to it"),
            ("file:///data/cards", "this machine's files need no sign-in; leave out connection_ref"),
        ],
    )
    def test_not_on_hdfs_nor_on_this_machines_disk(self, path: str, message: str) -> None:
        with pytest.raises(CredentialError, match=f"^source 's': {message}"):
            source_spec(ours(ref(), path=path), router())

    @pytest.mark.parametrize("place", [{"table": "t"}, {"query": "SELECT 1 AS a"}], ids=["a table", "a query"])
    def test_not_on_tables_and_queries(self, place: dict[str, str]) -> None:
        with pytest.raises(SourceError, match="source 's': a connection_ref signs in to a path alone"):
            ours(ref(), **place)
        with pytest.raises(SourceError, match="source 's': a connection_ref signs in to a path alone"):
            source_spec(spark_source(ref(), **place), router())

    @pytest.mark.parametrize(
        "name", ["cards/../admin", "..", "cards/.", "cards%2f..", "cards?x", "cards#x", "a\\b", "a\n"]
    )
    def test_a_name_that_leads_elsewhere_than_its_pattern_says(self, name: str) -> None:
        with pytest.raises(SourceError, match=r"^source 's': name of its connection_ref must be plain"):
            ours(ref(name))
        with pytest.raises(SourceError, match=r"^source 's': namespace of its connection_ref must be plain"):
            ours(ref(namespace=name))
        assert ours(ref("cards..v1/a.b", namespace="https://bank.vault.azure.net"))

    def test_not_by_sparks_package_of_iceberg_which_reads_for_all_sites(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        of = router()
        spec = source_spec(ours(ref(), path=f"{ADLS}/cards", file_format="iceberg"), of)
        monkeypatch.setattr(Reader, "_by_metadata", lambda *_: SourceError("source 's' needs a reader of version 4."))
        unused: Any = None
        with pytest.raises(
            SourceError, match=r"of version 4\. By Spark: its package of Iceberg takes no sign-in of a si"
        ):
            Reader(unused, of)._open_table(spec, None, (), (None, None), None)

    def test_another_services_way_to_sign_in(self) -> None:
        with pytest.raises(SourceError, match="auth_type 'sigv4'; this store knows secret and oauth2"):
            ours(ref(auth_type="sigv4"))


class TestWhereItIs:
    def test_a_task_asks_the_provider_itself(self, vault: Vault) -> None:
        place = place_of(ours(ref()), router())
        opener = SiteOpener.of(place)
        pickled = pickle.dumps(CanOpen(opener, "features/cards/a"))
        assert KEY.encode() not in pickled
        assert KEY not in f"{opener!r}{place!r}{place.site!r}{connections._FETCHED!r}"
        assert repr(pickle.loads(pickle.dumps(opener))) == repr(opener)
        assert place.site.credential.safe_to_pickle
        connections._FETCHED.forget(connection_of(place).reference)  # as in another process
        vault.holds["cards"] = {"account_key": OTHER}
        with pytest.raises(
            CredentialError, match=r"is another one there .*connection_ref to 'cards' of provider 'vaul"
        ):
            pickle.loads(pickled)()

    def test_a_provider_is_asked_once_for_a_while_and_again_after_a_refusal(
        self, vault: Vault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = place_of(ours(ref()), router())
        keys = {place.site.sign_in_key(place.uri) for _ in range(3)}
        assert (len(keys), len(vault.asked)) == (1, 1)
        vault.holds["cards"] = {"account_key": OTHER}
        assert place.site.credential.find_fault() is None  # as errors of a refused sign-in do
        assert place.hadoop_options[f"fs.azure.account.key.{HOST}"] == OTHER
        assert len(vault.asked) == 2
        assert place.site.sign_in_key(place.uri) not in keys
        monkeypatch.setattr(connections, "SECONDS_KEPT", 0.0)
        place.site.credential.find_fault()
        assert place.hadoop_options == place.hadoop_options
        assert len(vault.asked) == 4

    def test_what_a_provider_did_not_say_is_asked_for_again(self, vault: Vault) -> None:
        vault.holds["cards"] = CredentialResolutionError("sealed")
        place = place_of(ours(ref()), router())
        assert "sealed" in refusal(CredentialError, place)
        vault.holds["cards"] = {"account_key": KEY}
        assert place.hadoop_options

    def test_a_provider_that_does_not_answer_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "SECONDS_TO_ANSWER", 0.1)
        monkeypatch.setattr(connections, "_FETCHED", connections._Fetched())
        waiting = threading.Event()
        reference = connections.Reference("vault", "cards", fetch=lambda _: {"late": str(waiting.wait(30))})
        with pytest.raises(
            CredentialError, match=r"provider 'vault': the provider timed out: no answer within 0\.1 s"
        ):
            connections._FETCHED.get(reference)
        waiting.set()

    def test_two_sources_of_one_container_sign_in_each_in_its_way(self, vault: Vault) -> None:
        vault.holds["loans"] = {"account_key": OTHER}
        of = router()
        cards, loans = place_of(ours(ref()), of), place_of(ours(ref("loans")), of)
        assert cards == loans  # one place
        assert cards.hadoop_options != loans.hadoop_options
        assert cards.site.sign_in_key(cards.uri) != loans.site.sign_in_key(loans.uri)
        assert cards.site.filesystem() is not loans.site.filesystem()
