"""What the documents name is there: modules, tests, other documents, and make's targets."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md")])
ROOMS = [path.name for path in (ROOT / "feast_hybrid").iterdir() if (path / "__init__.py").exists()]
PATH = re.compile(
    rf"`((?:feast_hybrid|tests|docs|benchmarks|scripts|{'|'.join(sorted(ROOMS))})/[\w./-]*\w/?|[a-z_]+\.py)`"
)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
#: Files of a Feast repository and of Feast itself, and what benchmarks leave behind.
ELSEWHERE = {
    "features.py",
    "online.py",
    "past.py",
    "rows.py",
    "test_workflow.py",
    "train.py",
    "benchmarks/.results/",
    "tests/integration/offline_store",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_path_that_is_named_is_there(page: Path) -> None:
    named = set(PATH.findall(page.read_text())) - ELSEWHERE
    roots = (ROOT, ROOT / "feast_hybrid", ROOT / "tests" / "integration")
    assert [path for path in sorted(named) if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_to_a_file(page: Path) -> None:
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_contributing_names_each_room_and_make_s_targets() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert [room for room in ROOMS if f"`{room}/`" not in text] == []
    targets = set(re.findall(r"make (test-[a-z-]+|lint|bench)", text))
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_links_of_the_readme_can_be_followed_from_an_index() -> None:
    page = runpy.run_path(str(ROOT / "setup.py"))["page"]
    readme = (ROOT / "README.md").read_text()
    assert LINK.findall(readme)
    assert LINK.findall(page(readme, None)) == []
    assert "[Feast](https://feast.dev)" in page(readme, None)
    there = page(readme, "https://example.org/blob/main")
    assert len(LINK.findall(readme)) == there.count("](https://example.org/blob/main/")
    assert page("the [demo](docs/demo.md#run), [docs/a.md](docs/a.md), [x](#x)", None) == (
        "the demo (docs/demo.md#run), docs/a.md, [x](#x)"
    )
