"""The tables of limits in docs/formats.md are what the tests say."""

from __future__ import annotations

import shutil
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "write-format-limits"
TEST = """
@format_limit("Delta", "a commit | gone", "refused", "lacks `it`")
@format_limit("Delta", "a clone", "left to Spark", reads="a clone")
def test_delta(limit): ...
"""
BLOCK = "before\n<!-- limits of Delta -->\nold\n<!-- end of limits -->\nafter\n"


@pytest.fixture
def script() -> Any:
    spec = spec_from_loader("write_format_limits", SourceFileLoader("write_format_limits", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(folder: Path, test: str = TEST, page: str = BLOCK) -> Path:
    tests = folder / "tests" / "integration"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "integration" / "format_limits.py", tests)
    (tests / "test_lake.py").write_text(test)
    (folder / "docs").mkdir()
    (folder / "docs" / "formats.md").write_text(page)
    return folder


def test_the_tables_are_what_the_tests_say() -> None:
    done = subprocess.run([SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_table_is_written_between_its_comments(script: Any, tmp_path: Path) -> None:
    root = tree(tmp_path)
    written = script.page(root)
    assert written.startswith("before\n<!-- limits of Delta -->\n\n| what | then |")
    assert "| a commit \\| gone | refused | lacks `it` | `integration/test_lake.py::test_delta` |\n" in written
    assert "| a clone | left to Spark | `a clone` | `integration/test_lake.py::test_delta` |\n" in written
    assert written.endswith("|\n\n<!-- end of limits -->\nafter\n")
    (root / "docs" / "formats.md").write_text(written)
    assert script.page(root) == written


@pytest.mark.parametrize(
    ("test", "page", "match"),
    [
        (TEST.replace("limit):", "):"), BLOCK, "give it the fixture limit"),
        (TEST.replace('"refused"', '"ignored"'), BLOCK, "then is one of"),
        (TEST.replace("a commit | gone", "a clone"), BLOCK, "with the same text"),
        (TEST.replace('"lacks `it`"', '""'), BLOCK, "lacks reads"),
        (TEST.replace('"Delta"', '"ORC"'), BLOCK, "needs the comments <!-- limits of ORC -->"),
        (TEST, BLOCK + BLOCK, "needs the comments <!-- limits of Delta -->"),
        (TEST, BLOCK.replace("Delta", "Lance"), "there is no format 'Lance'"),
    ],
)
def test_what_cannot_be_written_is_named(script: Any, tmp_path: Path, test: str, page: str, match: str) -> None:
    with pytest.raises(script.Mistake, match=match):
        script.page(tree(tmp_path, test, page))
