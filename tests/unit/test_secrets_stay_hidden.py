"""Canaries: secrets planted in every way to sign in show in no text of ours, and by reference in none of Feast's."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from feast.repo_config import FeastConfigError, RepoConfig, load_repo_config
from pydantic import ValidationError

from feast_hybrid import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError, HybridError
from feast_hybrid.lakes import Secret
from tests.integration.reliability import reliability

CANARY = "c4nary+Key/9Zq=="
CLOUD = "abfss://features@acct.dfs.core.windows.net"
TYPE = "feast_hybrid.HybridSparkOfflineStore"

#: Each way to sign in that has a secret, and the field that holds it.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "account_key": ("account_key", {}),
    "sas": ("token", {}),
    "service_principal": ("client_secret", {"tenant_id": "t", "client_id": "c"}),
    "emulator": ("account_key", {"endpoint": "127.0.0.1:10000"}),
}


def secret_with_canary(way: str) -> str:
    """The canary as a secret of a way to sign in: a signature is a part of a text."""
    return f"sv=1&sig={CANARY}" if way == "sas" else CANARY


@pytest.fixture
def secret_text(request: pytest.FixtureRequest) -> str:
    callspec: Any = getattr(request.node, "callspec", None)
    return secret_with_canary(callspec.params.get("way", "") if callspec else "")


@pytest.fixture(autouse=True)
def _canary_in_the_environment(monkeypatch: pytest.MonkeyPatch, secret_text: str) -> None:
    monkeypatch.setenv("CANARY", secret_text)


@pytest.fixture
def canary_file(tmp_path: Path, secret_text: str) -> Path:
    file = tmp_path / "canary"
    file.write_text(secret_text)
    return file


def cloud(way: str, secret: Any, **more: Any) -> dict[str, Any]:
    field, others = WAYS[way]
    return {"name": "cloud", "uri": CLOUD, "credential": {"type": way, field: secret, **others, **more}}


def quietly(make: Callable[[], Any]) -> Any:
    """A literal warns, which is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* as text", UserWarning)
        return make()


def texts(error: BaseException) -> Iterator[str]:
    """All that can be read of an exception: as text, as code, as a traceback, and so for those behind it."""
    yield from traceback.format_exception(error)
    seen: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in seen:
        seen.append(behind)
        yield from (str(behind), repr(behind), repr(behind.args))
        if isinstance(behind, ValidationError):
            yield repr(behind.errors())
        behind = behind.__cause__ or behind.__context__


def assert_hidden(text: str | bytes) -> None:
    shown = text.decode("latin-1") if isinstance(text, bytes) else text
    assert CANARY not in shown
    assert CANARY[:10] not in shown


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["env", "file", "literal"])
class TestObjects:
    @pytest.fixture
    def config(self, way: str, form: str, canary_file: Path) -> HybridSparkOfflineStoreConfig:
        literal = secret_with_canary(way)
        secret: Any = {"env": {"env": "CANARY"}, "file": {"file": str(canary_file)}, "literal": literal}[form]
        made = quietly(lambda: HybridSparkOfflineStoreConfig(sites=[cloud(way, secret)]))
        assert isinstance(made, HybridSparkOfflineStoreConfig)
        return made

    def test_the_secret_is_the_canary(self, config: HybridSparkOfflineStoreConfig) -> None:
        assert any(CANARY in value for value in config.sites[0].hadoop_options().values())

    def test_no_text_of_an_object_shows_it(self, config: HybridSparkOfflineStoreConfig) -> None:
        site = config.sites[0]
        for holder in (config, site, site.credential, site.root, config.router, vars(config.router)):
            assert_hidden(str(holder))
            assert_hidden(repr(holder))

    def test_no_dump_shows_it(self, config: HybridSparkOfflineStoreConfig) -> None:
        for holder in (config, config.sites[0], config.sites[0].credential):
            assert_hidden(repr(holder.model_dump()))
            assert_hidden(json.dumps(holder.model_dump(mode="json")))
            assert_hidden(holder.model_dump_json())
            assert_hidden(repr(dict(holder)))

    def test_a_reference_is_pickled_as_a_reference(self, config: HybridSparkOfflineStoreConfig, form: str) -> None:
        pickled = pickle.dumps(config)
        if form != "literal":
            assert_hidden(pickled)
        again = pickle.loads(pickled)
        assert again.sites == config.sites
        assert again.router.route(CLOUD).hadoop_options() == config.sites[0].hadoop_options()

    def test_a_copy_hides_it_too(self, config: HybridSparkOfflineStoreConfig) -> None:
        assert_hidden(repr(copy.deepcopy(config)))


@pytest.mark.parametrize("secret", [CANARY, {"env": "CANARY"}, {"file": "/canary"}])
def test_a_secret_by_itself_shows_where_it_is_at_most(secret: Any) -> None:
    parsed = quietly(lambda: Secret.parse(secret))
    assert_hidden(repr(parsed))
    assert_hidden(str(parsed))
    assert_hidden(f"{parsed}")


def test_a_token_in_the_address_of_a_connect_server_is_not_shown() -> None:
    config = quietly(lambda: HybridSparkOfflineStoreConfig(spark={"remote": f"sc://host:443/;token={CANARY}"}))
    assert CANARY not in repr(config)
    assert CANARY not in str(config.spark)


def test_equal_references_are_equal() -> None:
    assert Secret.parse({"env": "A"}) == Secret.parse({"env": "A"})
    assert len({Secret.parse({"env": "A"}), Secret.parse({"env": "A"}), Secret.parse({"file": "/A"})}) == 2


def site(credential: Any, **more: Any) -> dict[str, Any]:
    return {"name": "cloud", "uri": CLOUD, "credential": credential, **more}


def misplaced(way: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Configurations of one way to sign in, each wrong in one way, with the canary somewhere in them."""
    field, others = WAYS[way]
    right = {"type": way, field: CANARY, **others}
    yield "an unknown key beside it", {"sites": [site(right | {"other": 1})]}
    yield "its key misspelled", {"sites": [site({"type": way, field[:-1]: CANARY, **others})]}
    yield "an unknown key of the site", {"sites": [site(right, keys=CANARY)]}
    yield "an unknown type", {"sites": [site(right | {"type": "magic"})]}
    yield "the type in its place", {"sites": [site(right | {"type": CANARY})]}
    yield "no type", {"sites": [site({key: value for key, value in right.items() if key != "type"})]}
    yield "a type of no text", {"sites": [site(right | {"type": [CANARY]})]}
    yield "a list", {"sites": [site(right | {field: [CANARY]})]}
    yield "a nested list", {"sites": [site(right | {field: {"env": [CANARY]}})]}
    yield "a dict", {"sites": [site(right | {field: {"value": CANARY}})]}
    yield "a key of a dict", {"sites": [site(right | {field: {CANARY: "env"}})]}
    yield "two references", {"sites": [site(right | {field: {"env": "CANARY", "file": CANARY}})]}
    yield "bytes", {"sites": [site(right | {field: CANARY.encode()})]}
    yield "a set", {"sites": [site(right | {field: {CANARY}})]}
    yield "as the name of a variable", {"sites": [site(right | {field: {"env": CANARY}})]}
    yield "as the name of a file", {"sites": [site(right | {field: {"file": CANARY}})]}
    yield "as an unset variable", {"sites": [site(right | {field: "$" + "canaryc4nary"})]}
    yield "in a shell's default", {"sites": [site(right | {field: "${UNSET:-" + CANARY + "}"})]}
    yield "instead of the credential", {"sites": [site(CANARY)]}
    yield "a list of credentials", {"sites": [site([right])]}
    yield "an unset variable elsewhere", {"sites": [site(right, options={"x": "${UNSET_ELSEWHERE}"})]}
    yield "no name", {"sites": [{"uri": CLOUD, "credential": right}]}
    yield "as the name", {"sites": [site(right) | {"name": CANARY}]}
    yield "a uri of another lake", {"sites": [site(right) | {"uri": "hdfs://lake"}]}
    yield "a uri with a signature", {"sites": [site(right) | {"uri": f"{CLOUD}/a?sig={CANARY}"}]}
    yield "a connection string for a uri", {"sites": [site(right) | {"uri": f"AccountName=a;AccountKey={CANARY}"}]}
    yield "namenodes of an account", {"sites": [site(right, namenodes=["nn1:8020"])]}
    yield "in an option", {"sites": [site(right, options={"fs.azure.account.key": CANARY})]}
    yield "in an option of no text", {"sites": [site(right, options={"fs.x": [CANARY]})]}
    yield "in Spark's settings", {"spark": {"conf": {"spark.hadoop.fs.azure.account.key.a": CANARY}}}
    yield "in a Spark setting of no text", {"spark": {"conf": {"spark.x": {"y": CANARY}}}}
    yield (
        "one name twice",
        {"sites": [site(right), site(right) | {"uri": "hdfs://lake", "credential": {"type": "simple"}}]},
    )
    yield "one prefix twice", {"sites": [site(right), site(right) | {"name": "b"}]}
    yield "two sign-ins", {"sites": [site(right), site({"type": "platform"}) | {"name": "b", "uri": f"{CLOUD}/b"}]}
    yield "sites of no list", {"sites": {"cloud": site(right)}}
    yield "an unknown key beside sites", {"sites": [site(right)], "joins": 1}
    yield "an unknown strategy", {"sites": [site(right)], "join": {"strategy": CANARY}}
    yield "a bad staging location", {"sites": [site(right)], "staging_location": f"/x?sig={CANARY}"}
    yield "a bad monitoring location", {"sites": [site(right)], "monitoring_location": f"/x?sig={CANARY}"}
    yield "another type", {"sites": [site(right)], "type": "spark"}
    if way == "service_principal":
        yield "for the client", {"sites": [site(right | {"client_id": CANARY})]}
        yield "for the tenant", {"sites": [site(right | {"tenant_id": [CANARY]})]}
        yield "in the authority", {"sites": [site(right | {"authority": f"https://x:{CANARY}@login"})]}
    if way == "emulator":
        yield "a connection string for an endpoint", {"sites": [site(right | {"endpoint": f"AccountKey={CANARY}"})]}
        yield "an endpoint with a path", {"sites": [site(right | {"endpoint": f"127.0.0.1:1/{CANARY}"})]}


MISPLACED = [pytest.param(config, id=f"{way}: {what}") for way in WAYS for what, config in misplaced(way)]


@reliability(
    "Secrets",
    "a secret in the wrong place of `feature_store.yaml`",
    "an error that does not show it, nor do its causes",
)
@pytest.mark.parametrize("config", MISPLACED)
def test_no_error_of_ours_shows_it(config: dict[str, Any]) -> None:
    with pytest.raises(HybridError) as refused:
        quietly(lambda: HybridSparkOfflineStoreConfig(**config))
    for text in texts(refused.value):
        assert_hidden(text)
        assert "canaryc4nary" not in text


def repo(offline_store: dict[str, Any], folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "project": "canary",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "offline_store": {"type": TYPE, **offline_store},
        **more,
    }


@pytest.mark.parametrize("config", [case for case in MISPLACED if "another type" not in str(case.id)])
def test_no_error_passed_on_by_feast_shows_it(config: dict[str, Any], tmp_path: Path) -> None:
    """Feast raises our error as it is: pydantic keeps out of it, since it is no ValueError."""
    with pytest.raises(HybridError) as refused:
        quietly(lambda: RepoConfig(**repo(config, tmp_path)))
    for text in texts(refused.value):
        assert_hidden(text)


@pytest.mark.parametrize("way", WAYS)
class TestFeast:
    @pytest.fixture(params=["env", "file"])
    def offline_store(self, way: str, request: pytest.FixtureRequest, canary_file: Path) -> dict[str, Any]:
        secret = {"env": "CANARY"} if request.param == "env" else {"file": str(canary_file)}
        return {"sites": [cloud(way, secret)]}

    def test_its_configurations_text_shows_no_reference_resolved(
        self, offline_store: dict[str, Any], tmp_path: Path
    ) -> None:
        config = RepoConfig(**repo(offline_store, tmp_path))
        assert config.offline_store.sites[0].hadoop_options()
        for text in (repr(config), str(config), config.model_dump_json(), repr(config.offline_store)):
            assert_hidden(text)
        assert_hidden(pickle.dumps(config))

    @reliability("Secrets", "Feast's own errors of a configuration", "show no secret that is a reference")
    @pytest.mark.parametrize(
        "wrong",
        [
            {"project": ["x"]},
            {"entity_key_serialization_version": "three"},
            {"online_store": {"type": "sqlite", "x": 1}},
        ],
    )
    def test_its_own_errors_show_no_reference_resolved(
        self, offline_store: dict[str, Any], wrong: dict[str, Any], tmp_path: Path
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            RepoConfig(**repo(offline_store, tmp_path, **wrong))
        for text in texts(refused.value):
            assert_hidden(text)

    def test_its_error_for_a_file_shows_no_reference_resolved(
        self, offline_store: dict[str, Any], tmp_path: Path
    ) -> None:
        file = tmp_path / "feature_store.yaml"
        file.write_text(yaml.safe_dump(repo(offline_store, tmp_path, project=["x"])))
        with pytest.raises(FeastConfigError) as refused:
            load_repo_config(tmp_path, file)
        for text in texts(refused.value):
            assert_hidden(text)

    def test_our_error_for_a_file_shows_no_reference_resolved(
        self, offline_store: dict[str, Any], tmp_path: Path
    ) -> None:
        offline_store["sites"][0]["credential"]["other"] = 1
        file = tmp_path / "feature_store.yaml"
        file.write_text(yaml.safe_dump(repo(offline_store, tmp_path)))
        with pytest.raises(
            ConfigError, match=r"offline_store\.sites\[0\]\.credential\.other: unknown key"
        ) as refused:
            load_repo_config(tmp_path, file)
        for text in texts(refused.value):
            assert_hidden(text)

    def test_a_variable_in_the_file_is_a_literal_and_warns(
        self, way: str, offline_store: dict[str, Any], tmp_path: Path
    ) -> None:
        field = WAYS[way][0]
        offline_store["sites"][0]["credential"][field] = "${CANARY}"
        file = tmp_path / "feature_store.yaml"
        file.write_text(yaml.safe_dump(repo(offline_store, tmp_path)))
        with pytest.warns(UserWarning, match="a secret stands as text") as warned:
            config = load_repo_config(tmp_path, file).offline_store
        assert_hidden(repr(config))
        for warning in warned:
            assert_hidden(str(warning.message))


def test_a_router_shows_it_in_no_error() -> None:
    other = cloud("account_key", {"env": "OTHER"}) | {"name": "b", "uri": CLOUD.replace("features", "raw")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTHER", CANARY[::-1])
        config = HybridSparkOfflineStoreConfig(sites=[cloud("account_key", {"env": "CANARY"}), other])
        for call in (
            config.router.hadoop_options,
            lambda: config.router.route("hdfs://lake/a"),
            lambda: config.router.named("clowd", what="source 's'"),
        ):
            with pytest.raises(HybridError) as refused:
                call()
            for text in texts(refused.value):
                assert_hidden(text)
                assert CANARY[::-1] not in text
