"""URIs of the lakes: the schemes, what a well-formed URI of each looks like, and what is said of the others."""

from __future__ import annotations

import pytest

from feast_hybrid.errors import RoutingError
from feast_hybrid.lakes import SCHEMES, LakeType, parse_uri

ACCOUNT = "acct.dfs.core.windows.net"
EXAMPLE = "<container>@<account>.dfs.core.windows.net/<folder>"
NO_HOST = "is neither a nameservice nor host:port: letters, digits, '-' and '.', then a port if there is one."


def refusal(uri: object) -> str:
    with pytest.raises(RoutingError) as refused:
        parse_uri(uri, what="path of source 'weather'")
    message = str(refused.value)
    assert message.startswith("path of source 'weather': ")
    return message.removeprefix("path of source 'weather': ")


def test_the_schemes_and_their_lakes() -> None:
    assert SCHEMES == {
        "hdfs": LakeType.HDFS,
        "viewfs": LakeType.HDFS,
        "abfs": LakeType.ADLS,
        "abfss": LakeType.ADLS,
        "file": LakeType.LOCAL,
    }


@pytest.mark.parametrize(
    ("uri", "lake", "scheme", "authority", "path"),
    [
        ("hdfs://lake/flights", LakeType.HDFS, "hdfs", "lake", "/flights"),
        ("hdfs://lake", LakeType.HDFS, "hdfs", "lake", "/"),
        ("hdfs://nn1.corp:8020/a/b", LakeType.HDFS, "hdfs", "nn1.corp:8020", "/a/b"),
        ("hdfs://10.0.0.1:8020/a", LakeType.HDFS, "hdfs", "10.0.0.1:8020", "/a"),
        ("viewfs://cluster/a", LakeType.HDFS, "viewfs", "cluster", "/a"),
        (f"abfs://c01@{ACCOUNT}/a", LakeType.ADLS, "abfs", f"c01@{ACCOUNT}", "/a"),
        (f"abfss://my-features@{ACCOUNT}", LakeType.ADLS, "abfss", f"my-features@{ACCOUNT}", "/"),
        (f"abfss://$web@{ACCOUNT}/a", LakeType.ADLS, "abfss", f"$web@{ACCOUNT}", "/a"),
        (
            "abfss://raw@acct.dfs.core.usgovcloudapi.net/a",
            LakeType.ADLS,
            "abfss",
            "raw@acct.dfs.core.usgovcloudapi.net",
            "/a",
        ),
        (
            "abfss://raw@acct.z01.dfs.storage.azure.net/a",
            LakeType.ADLS,
            "abfss",
            "raw@acct.z01.dfs.storage.azure.net",
            "/a",
        ),
        ("file:///tmp/a", LakeType.LOCAL, "file", "", "/tmp/a"),
        ("file:/tmp/a", LakeType.LOCAL, "file", "", "/tmp/a"),
        ("file://localhost/tmp/a", LakeType.LOCAL, "file", "", "/tmp/a"),
    ],
)
def test_a_uri_is_taken_apart(uri: str, lake: LakeType, scheme: str, authority: str, path: str) -> None:
    parsed = parse_uri(uri)
    assert (parsed.lake, parsed.scheme, parsed.authority, parsed.path) == (lake, scheme, authority, path)


def test_an_adls_uri_names_container_account_and_host() -> None:
    parsed = parse_uri(f"abfss://features@{ACCOUNT}/weather")
    assert (parsed.container, parsed.account, parsed.account_host) == ("features", "acct", ACCOUNT)


@pytest.mark.parametrize(
    ("uri", "plain"),
    [
        ("HDFS://lake/a", "hdfs://lake/a"),
        ("Abfss://raw@Acct.DFS.core.windows.net/A", f"abfss://raw@{ACCOUNT}/A"),
        ("hdfs://lake/a/", "hdfs://lake/a"),
        ("hdfs://lake//a///b//", "hdfs://lake/a/b"),
        ("hdfs://lake/", "hdfs://lake/"),
        ("file:/tmp//a/", "file:///tmp/a"),
    ],
)
def test_scheme_account_and_slashes_are_written_in_one_way(uri: str, plain: str) -> None:
    assert str(parse_uri(uri)) == plain


def test_a_nameservice_keeps_its_case_since_hadoop_finds_its_settings_by_it() -> None:
    assert str(parse_uri("hdfs://ProdLake/a")) == "hdfs://ProdLake/a"


def test_nameservices_are_one_whatever_their_case() -> None:
    assert parse_uri("hdfs://PRODLAKE/a/b").is_under(parse_uri("hdfs://prodlake/a"))


@pytest.mark.parametrize("lake", ["hdfs://lake", f"abfss://raw@{ACCOUNT}", "file://"])
@pytest.mark.parametrize(
    "path",
    [
        "/100%25/a",
        "/a b/c",
        "/a#b",
        "/süß/数据",
        "/day=*/part-[0-9].parquet",
        "/{a,b}",
        "/a;b=c&d",
        "/a:b@c",
        "/...",
        "/.hidden/..x",
        "/key=__HIVE_DEFAULT_PARTITION__",
    ],
)
def test_what_stands_in_a_path_is_data(lake: str, path: str) -> None:
    assert parse_uri(lake + path).path == path
    assert str(parse_uri(lake + path)) == lake + path


@pytest.mark.parametrize("lake", ["hdfs://lake", "file://"])
def test_a_question_mark_is_data_too_but_on_adls(lake: str) -> None:
    assert parse_uri(f"{lake}/a?b/c").path == "/a?b/c"


@pytest.mark.parametrize(
    ("uri", "prefix", "under"),
    [
        ("hdfs://lake/a/b", "hdfs://lake/a", True),
        ("hdfs://lake/a", "hdfs://lake/a", True),
        ("hdfs://lake/a", "hdfs://lake/a/", True),
        ("hdfs://lake/a", "hdfs://lake", True),
        ("hdfs://lake", "hdfs://lake", True),
        ("hdfs://lake/ab", "hdfs://lake/a", False),
        ("hdfs://lake", "hdfs://lake/a", False),
        ("hdfs://lake/A", "hdfs://lake/a", False),
        ("hdfs://lake2/a", "hdfs://lake", False),
        ("hdfs://lake:8020/a", "hdfs://lake", False),
        ("viewfs://lake/a", "hdfs://lake", False),
        (f"abfs://raw@{ACCOUNT}/a", f"abfss://raw@{ACCOUNT}", False),
        (f"abfss://raw@{ACCOUNT}/a", f"abfss://raw2@{ACCOUNT}", False),
    ],
)
def test_a_uri_is_under_a_prefix_by_whole_segments(uri: str, prefix: str, under: bool) -> None:
    assert parse_uri(uri).is_under(parse_uri(prefix)) is under


@pytest.mark.parametrize(
    ("uri", "parent", "name"),
    [
        ("hdfs://lake/a/b", "hdfs://lake/a", "b"),
        ("hdfs://lake/a", "hdfs://lake/", "a"),
        ("hdfs://lake", "hdfs://lake/", ""),
    ],
)
def test_a_uri_has_a_parent_and_a_name(uri: str, parent: str, name: str) -> None:
    parsed = parse_uri(uri)
    assert (str(parsed.parent()), parsed.name) == (parent, name)
    if name:
        assert parsed.parent().child(name) == parsed


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("/data/flights", "/data/flights"),
        ("data/flights", "/repo/data/flights"),
        ("./data/flights", "/repo/data/flights"),
    ],
)
def test_a_bare_path_is_refused_with_both_spellings_to_choose_from(
    path: str, local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.cwd", lambda: "/repo")
    assert refusal(path) == (
        f"{path!r} names no lake: Hadoop would read it from fs.defaultFS, which differs between clusters. "
        f"Write file://{local} for this machine's disk, or hdfs://<nameservice>/data/flights for HDFS."
    )


@pytest.mark.parametrize(
    ("uri", "right"),
    [
        ("wasb://raw@acct.blob.core.windows.net/a", f"abfs://raw@{ACCOUNT}/a"),
        ("wasbs://raw@acct.blob.core.windows.net/a/b", f"abfss://raw@{ACCOUNT}/a/b"),
        ("WASBS://raw@acct.blob.core.windows.net", f"abfss://raw@{ACCOUNT}"),
        ("wasbs://acct.blob.core.windows.net/a", f"abfss://{EXAMPLE}"),
    ],
)
def test_wasb_is_refused_with_the_abfs_uri_of_the_same_data(uri: str, right: str) -> None:
    message = refusal(uri)
    assert "is gone from Hadoop" in message
    assert message.endswith(right)
    if "<" not in right:
        parse_uri(right)


@pytest.mark.parametrize("scheme", ["s3", "s3a", "gs", "dbfs", "adl", "http", "c"])
def test_another_scheme_is_refused_naming_the_ones_that_work(scheme: str) -> None:
    message = refusal(f"{scheme}://bucket/a")
    assert message.startswith(
        f"{scheme}:// is a lake that feast-hybrid does not know. It knows hdfs://, viewfs://, abfs://, abfss://, file://."
    )


@pytest.mark.parametrize(
    ("typed", "meant"), [("hdsf", "hdfs"), ("abfsss", "abfss"), ("adfss", "abfss"), ("fil", "file")]
)
def test_a_scheme_with_a_slip_gets_the_one_that_was_meant(typed: str, meant: str) -> None:
    assert refusal(f"{typed}://x/a").endswith(f"Did you mean {meant}://?")


@pytest.mark.parametrize("endpoint", ["blob", "dfs"])
def test_the_portals_https_url_is_refused_with_the_abfss_uri_of_the_same_data(endpoint: str) -> None:
    message = refusal(f"https://acct.{endpoint}.core.windows.net/features/weather/a.parquet?sv=2024&sig=abc")
    assert message.endswith(f"The same data is at abfss://features@{ACCOUNT}/weather/a.parquet")
    assert "sig" not in message


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (f"abfss://{ACCOUNT}", f"'abfss://{ACCOUNT}/' has no container before the account. Write abfss://{EXAMPLE}."),
        (
            f"abfss://{ACCOUNT}/features/weather",
            (
                f"'abfss://{ACCOUNT}/features/weather' has no container before the account. "
                f"Write abfss://features@{ACCOUNT}/weather."
            ),
        ),
        ("abfss:///a", f"'abfss:///a' has no container before the account. Write abfss://{EXAMPLE}."),
        (
            f"abfss://Features@{ACCOUNT}/a",
            "'Features' is no container's name: 3 to 63 lower-case letters, digits and single hyphens.",
        ),
        (
            f"abfss://@{ACCOUNT}/a",
            "'' is no container's name: 3 to 63 lower-case letters, digits and single hyphens.",
        ),
        (
            "abfss://raw@acct/a",
            (
                "'acct' is no storage account with its domain, such as acct.dfs.core.windows.net: the account's "
                "name is 3 to 24 lower-case letters and digits."
            ),
        ),
        (f"abfss://raw@{ACCOUNT}:443/a", f"abfss:// takes no port, found '{ACCOUNT}:443'. Write abfss://{EXAMPLE}."),
        (
            "abfss://raw@acct.blob.core.windows.net/a",
            f"acct.blob.core.windows.net is the account's Blob endpoint. Write abfss://raw@{ACCOUNT}/a.",
        ),
        (f"abfss:/raw@{ACCOUNT}/a", f"abfss: must be followed by //, as in abfss://{EXAMPLE}."),
    ],
)
def test_an_adls_uri_that_is_not_of_its_form_is_refused(uri: str, message: str) -> None:
    assert refusal(uri) == message


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "hdfs:///flights",
            "hdfs:///… names no nameservice, which leaves it to fs.defaultFS. Write hdfs://<nameservice>/<folder>.",
        ),
        ("hdfs:/flights", "hdfs: must be followed by //, as in hdfs://<nameservice>/<folder>."),
        (
            "hdfs://my_lake/a",
            "'my_lake' " + NO_HOST + " Java's URIs know no underscore in a host.",
        ),
        (
            "hdfs://nn1:rpc/a",
            "'nn1:rpc' " + NO_HOST,
        ),
        (
            "hdfs://nn1:/a",
            "'nn1:' " + NO_HOST,
        ),
    ],
)
def test_an_hdfs_uri_that_is_not_of_its_form_is_refused(uri: str, message: str) -> None:
    assert refusal(uri) == message


def test_a_file_uri_with_two_slashes_would_name_a_host() -> None:
    assert refusal("file://tmp/a") == (
        "file:// with two slashes names a host; for this machine there are three: write file:///tmp/a."
    )


@pytest.mark.parametrize(
    "uri",
    [
        "hdfs://lake/a/../b",
        "hdfs://lake/./a",
        f"abfss://raw@{ACCOUNT}/..",
        "file:///a/..",
        r"hdfs://lake/a/\.\./b",
        r"hdfs://lake/a/{x,.\.}/b",
    ],
)
def test_a_dot_segment_is_refused_since_it_would_leave_its_site(uri: str) -> None:
    assert refusal(uri).endswith("has a '.' or '..' segment; write the path out.")


@pytest.mark.parametrize(
    "uri", [" hdfs://lake/a", "hdfs://lake/a\n", "hdfs://lake/a ", "hdfs://la\tke/a", "hdfs://lake/a\0b"]
)
def test_white_space_around_and_control_characters_within_are_slips(uri: str) -> None:
    assert "begins or ends with white space, or holds a line break or another control character" in refusal(uri)


@pytest.mark.parametrize(
    ("uri", "found"), [("", "''"), ("  ", "'  '"), (None, "None"), (3, "a int"), (["hdfs://lake"], "a list")]
)
def test_what_is_no_text_is_refused(uri: object, found: str) -> None:
    assert refusal(uri) == f"expected a URI such as hdfs://lake/folder, found {found}."


SIGNATURE = "canaryS1gnature"


@pytest.mark.parametrize(
    "uri",
    [
        f"abfss://raw@{ACCOUNT}/a?sv=2024-01-01&sig={SIGNATURE}",
        f"abfss://{ACCOUNT}/a?sig={SIGNATURE}",
        f"abfss:/raw@{ACCOUNT}?{SIGNATURE}",
        f"abfss://raw:{SIGNATURE}@{ACCOUNT}/a",
        f"abfss://raw:{SIGNATURE}@{ACCOUNT}/a?sv=1",
        f"wasbs://raw@acct.blob.core.windows.net/a?sig={SIGNATURE}",
        f"wasbs://raw:{SIGNATURE}@acct.blob.core.windows.net/a",
        f"https://acct.blob.core.windows.net/raw/a?sig={SIGNATURE}",
        f"https://user:{SIGNATURE}@acct.blob.core.windows.net/raw/a",
        f"hdfs://user:{SIGNATURE}@lake/a",
        f"hdfs:///a?sig={SIGNATURE}",
        f"hdfs://lake/../a?sig={SIGNATURE}",
        f"file://host/a?sig={SIGNATURE}",
        f"acct.dfs.core.windows.net/raw/a?sig={SIGNATURE}",
        f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={SIGNATURE}",
        f"BlobEndpoint=https://acct.blob.core.windows.net;SharedAccessSignature=sv=1&sig={SIGNATURE}",
        f" hdfs://lake/a?sig={SIGNATURE}",
        f"abfss://raw:{SIGNATURE}/x@{ACCOUNT}/a",
        f"abfss://raw:1/{SIGNATURE}@{ACCOUNT}/a",
        f"abfss://raw:x/y@{SIGNATURE}@{ACCOUNT}/a",
        f"abfss://raw:{SIGNATURE}?x@{ACCOUNT}/a",
        f"hdfs://alice:{SIGNATURE}/x@lake/a",
        f"hdfs://alice:x/{SIGNATURE}@lake/a",
        f"hdfs://alice:{SIGNATURE}@lake/a\n",
        f" abfss://raw:x/{SIGNATURE}@{ACCOUNT}/a",
        f"wasbs://raw:{SIGNATURE}/x@acct.blob.core.windows.net/a",
        f"file://alice:{SIGNATURE}/x@host/a",
        f"//alice:{SIGNATURE}/x@lake/a",
    ],
)
def test_a_signature_a_key_and_a_password_are_never_repeated(uri: str) -> None:
    assert SIGNATURE not in refusal(uri)


@pytest.mark.parametrize(
    ("uri", "right"),
    [
        (f"hdfs://raw@{ACCOUNT}/a/b", f"abfss://raw@{ACCOUNT}/a/b"),
        ("hdfs://raw@acct.blob.core.windows.net/a", f"abfss://raw@{ACCOUNT}/a"),
        (f"hdfs://{ACCOUNT}/a", f"abfss://<container>@{ACCOUNT}/<folder>"),
        ("viewfs://ws@onelake.dfs.fabric.microsoft.com/a", "abfss://ws@onelake.dfs.fabric.microsoft.com/a"),
    ],
)
def test_a_storage_account_is_no_hdfs(uri: str, right: str) -> None:
    assert refusal(uri).endswith(f"Write {right}.")
    assert parse_uri("hdfs://nn.dfs.corp/a").authority == "nn.dfs.corp"


def test_a_sas_token_is_sent_to_the_site_it_belongs_to() -> None:
    assert refusal(f"abfss://raw@{ACCOUNT}/a?sv=1&sig=x") == (
        f"abfss://raw@{ACCOUNT}/a is followed by a query string, which is not part of a path. "
        "A SAS token belongs to the site: credential: {type: sas, token: {env: NAME}}."
    )


@pytest.mark.parametrize(
    ("uri", "user_info"), [("hdfs://alice@lake/a", "user"), (f"abfss://a:b@{ACCOUNT}/a", "user or password")]
)
def test_who_signs_in_is_not_part_of_a_uri(uri: str, user_info: str) -> None:
    message = refusal(uri)
    assert f"takes no {user_info}" in message
    assert message.endswith("sign-in belongs to the site's credential.")
