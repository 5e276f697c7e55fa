"""Feast's templates with the store's type changed: applied as they are, or after doing what the errors say.

Only those that need no cloud, and whose ``feast init`` neither asks for passwords nor needs a client's package. Where
a template's online store is a server, SQLite takes its place.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from feast.cli.cli import cli

from feast_hybrid.errors import RoutingError, SchemaError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.filterwarnings("ignore:Entity value_type will be mandatory"),
    pytest.mark.filterwarnings("ignore:There are some mismatches in your feature view"),
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Return type for RayTransformation"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

MODULES = ("feature_definitions", "example_repo", "static_artifacts")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = Path.cwd()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    os.chdir(before)
    forget_modules()


def forget_modules() -> None:
    """All templates call their modules alike, and Feast imports them by these names."""
    for name in MODULES:
        sys.modules.pop(name, None)
    gc.collect()  # what a view of another template declares is no view's of this one


def feast(*arguments: str) -> None:
    """One command; what it raises comes through.

    Raises:
        AssertionError: it ended otherwise than well.
    """
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def init(template: str, folder: Path) -> Path:
    """``feast init``, the type of the store ours, and every source a ``HybridSparkSource``."""
    repo = init_as_it_is(template, folder)
    settings = repo / "feature_store.yaml"
    config = yaml.safe_load(settings.read_text())
    config["offline_store"].pop("spark_conf", None)
    settings.write_text(yaml.safe_dump(config))
    for module in repo.glob("*.py"):
        text = re.sub(
            r"feast\.infra\.offline_stores\.contrib\.\w+\.\w+ import", "feast_hybrid import", module.read_text()
        )
        text = re.sub(r"\b(FileSource(?=\()|(Spark|Ray)Source\b)", "HybridSparkSource", text)
        if "HybridSparkSource(" in text:
            # Of Ray's source alone, whose other readers are none of files.
            text = re.sub(r"^ *reader_type=.*\n", "", text, flags=re.MULTILINE)
            module.write_text(f"from feast_hybrid import HybridSparkSource\n{text}")
    return repo


def init_as_it_is(template: str, folder: Path) -> Path:
    """``feast init``, and nothing changed but the type of the offline store."""
    feast("init", "--template", template, "--repo-path", str(folder / "begun"), "begun")
    repo = folder / "begun" / "feature_repo"
    (repo / "test_workflow.py").unlink()
    settings = repo / "feature_store.yaml"
    config = yaml.safe_load(settings.read_text())
    kept = {key: value for key, value in config.get("offline_store", {}).items() if key == "spark_conf"}
    config["offline_store"] = {"type": "feast_hybrid.HybridSparkOfflineStore", **kept}
    config["online_store"] = {"type": "sqlite", "path": "data/online_store.db"}
    config.pop("batch_engine", None)  # of Ray, which only its own store has
    settings.write_text(yaml.safe_dump(config))
    return repo


def change(repo: Path, pattern: str, replacement: str) -> None:
    module = next(path for path in repo.glob("*.py") if re.search(r"Source\(", path.read_text()))
    changed, count = re.subn(pattern, lambda _: replacement, module.read_text())
    assert count, pattern
    module.write_text(changed)


def do_what_it_says(repo: Path, error: str) -> str:
    """Change a repository as an error says; what was changed."""
    if found := re.search(
        r"'\S*?([\w-]+\.parquet)' names no lake.* Write (file://\S+) for this machine's disk", error
    ):
        name, uri = found.groups()
        change(repo, rf"path=.*{re.escape(name)}[^,\n]*,", f"path={uri!r},")
        return f"path of {name}"
    found = re.search(r"entity '(\w+)' has the join key '\1', .* lacks; it has (.*)\. Give .* \(join_keys=\[", error)
    assert found, error
    entity, columns = found.groups()
    (key,) = [column for column in columns.split(", ") if column == f"{entity}_id"]
    change(repo, rf'name="{entity}",', f'name="{entity}", join_keys=["{key}"],')
    return f"join_keys of {entity}"


def apply(repo: Path) -> list[str]:
    """``feast apply``, until it has done; what had to be changed."""
    changed: list[str] = []
    while True:
        forget_modules()
        try:
            feast("--chdir", str(repo), "apply")
        except (RoutingError, SchemaError) as error:
            changed.append(do_what_it_says(repo, str(error)))
            assert len(changed) < 9
        else:
            return changed


@pytest.mark.parametrize(
    ("template", "changed"),
    [
        ("local", []),
        ("spark", ["join_keys of customer", "join_keys of driver"]),  # which Feast's own store finds in no column
        ("milvus", []),
        ("hbase", []),
        ("rag", []),
        ("pytorch_nlp", []),
    ],
)
@pytest.mark.filterwarnings("ignore:The spark data source API is an experimental feature:RuntimeWarning")
def test_a_template_is_applied_as_it_is(template: str, changed: list[str], tmp_path: Path) -> None:
    assert sorted(apply(init_as_it_is(template, tmp_path))) == sorted(changed)


@pytest.mark.parametrize(
    ("template", "changed"),
    [
        ("local", ["path of driver_stats.parquet", "path of driver_quality_labels.parquet"]),
        (
            "spark",
            [
                "path of driver_hourly_stats.parquet",
                "path of customer_daily_profile.parquet",
                "join_keys of customer",
                "join_keys of driver",
            ],
        ),
        ("ray", ["path of driver_stats.parquet", "path of customer_daily_profile.parquet"]),
        ("milvus", ["path of driver_stats.parquet"]),
        ("hbase", ["path of driver_stats.parquet"]),
        ("rag", ["path of city_wikipedia_summaries_with_embeddings.parquet"]),
        ("pytorch_nlp", ["path of sentiment_data.parquet"]),
    ],
)
def test_a_template_is_applied_after_what_the_errors_say(template: str, changed: list[str], tmp_path: Path) -> None:
    assert sorted(apply(init(template, tmp_path))) == sorted(changed)


def test_the_template_whose_transformation_makes_its_join_key_is_refused(tmp_path: Path) -> None:
    """Feast's engines ask the source for the join keys, and only Ray's own store gives them what it has instead."""
    repo = init("ray_rag", tmp_path)
    with pytest.raises(SourceError, match="HybridSparkSource: give it a name"):
        apply(repo)
    change(repo, r"HybridSparkSource\(", 'HybridSparkSource(name="movies",')
    with pytest.raises(
        AssertionError, match=r"'document_id_pk', which source 'movies' .* lacks; it has id, Name, Des"
    ):
        apply(repo)
