"""docs/reliability.md is what the tests say."""

from __future__ import annotations

import shutil
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "write-reliability"


@pytest.fixture
def script() -> Any:
    spec = spec_from_loader("write_reliability", SourceFileLoader("write_reliability", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tests_say() -> None:
    done = subprocess.run([SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def tree(folder: Path, test: str) -> Path:
    tests = folder / "tests" / "integration"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "integration" / "reliability.py", tests)
    (tests / "test_lake.py").write_text(test)
    return folder


def test_a_test_a_parameter_and_a_constant_have_rows(script: Any, tmp_path: Path) -> None:
    text = """
CASES = [
    pytest.param(1, marks=reliability("HDFS", "one", "read | written", reads="a text")),
    pytest.param(2, marks=[MINUTES, reliability("HDFS", "two", "refused")]),
]

@reliability("ADLS", "three", "carried")
def test_plain(): ...

class TestMany:
    @pytest.mark.parametrize("case", CASES)
    def test_each(self, case, promise): ...

@MINUTES
@reliability("Load", "four", "carried")
def test_long(): ...

@pytest.mark.parametrize("seed", SEEDS)
@reliability("Load", "five", "carried")
def test_seeds(seed): ...
"""
    page = script.page(tree(tmp_path, text))
    assert "## ADLS" in page
    assert "## Kerberos" not in page
    assert page.index("## ADLS") < page.index("## HDFS") < page.index("## Load")
    assert [line for line in page.splitlines() if "::" in line] == [
        "| three | carried |  | `integration/test_lake.py::test_plain` |",
        r"| one | read \| written | `a text` | `integration/test_lake.py::TestMany::test_each` |",
        "| two | refused |  | `integration/test_lake.py::TestMany::test_each`, `make test-faults` |",
        "| four | carried |  | `integration/test_lake.py::test_long`, `make test-faults` |",
        "| five | carried |  | `integration/test_lake.py::test_seeds`, many seeds in `make test-faults` |",
    ]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ('@reliability("ADLS", "a", NAME)\ndef test_a(): ...', "literal texts"),
        ('@reliability("ADLS", "a")\ndef test_a(): ...', "lacks happens"),
        ('@reliability("ADLS", "a", "b", reads="c")\ndef test_a(): ...', "fixture promise"),
        ('@reliability("ADLS", "a", "b")\ndef helper(): ...', "stands at no test"),
        ('@reliability("Adls", "a", "b")\ndef test_a(): ...', "there is no area 'Adls'"),
        (
            '@reliability("ADLS", "a", "b")\ndef test_a(): ...\n@reliability("ADLS", "a", "c")\ndef test_b(): ...',
            "the same area and fault",
        ),
    ],
)
def test_a_row_that_cannot_be_written_is_named(script: Any, tmp_path: Path, test: str, message: str) -> None:
    with pytest.raises(script.Mistake, match=message):
        script.page(tree(tmp_path, test))
