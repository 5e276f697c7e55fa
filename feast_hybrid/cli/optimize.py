"""``feast-hybrid optimize``: small files of a source made into fewer, sorted ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from feast_hybrid.cli.options import repo_option
from feast_hybrid.errors import ConfigError

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.writing.optimize import Outcome

_MEGABYTE = 1 << 20
_SECONDS_BETWEEN_NOTES = 10.0
#: How many files that stay as they are are named.
_NAMED = 5


@click.command()
@click.argument("view")
@repo_option
@click.option("--dry-run", is_flag=True, help="Say what it would gain; write nothing.")
@click.option("--partition", default="", metavar="FOLDER", help="This folder alone, such as day=2026-01-10.")
@click.option(
    "--target-size", type=click.IntRange(1), default=128, show_default=True, metavar="MB", help="Of the new files."
)
@click.option(
    "--memory",
    type=click.IntRange(64),
    default=1024,
    show_default=True,
    metavar="MB",
    help="What may be held at once; a file that needs more stays as it is.",
)
def optimize(view: str, repo: Path, dry_run: bool, partition: str, target_size: int, memory: int) -> None:
    """Make the small Parquet files of a feature view's source into fewer ones, sorted by key and time.

    Readers see the old rows or the new ones, which are the same; rows that are added meanwhile stay. No Spark.
    """
    from feast_hybrid.writing.optimize import Budget
    from feast_hybrid.writing.optimize import optimize as run

    store, feature_view = _found(repo, view)
    next_note = time.monotonic() + _SECONDS_BETWEEN_NOTES

    def note(done: int, of: int) -> None:
        nonlocal next_note
        if time.monotonic() > next_note:
            next_note = time.monotonic() + _SECONDS_BETWEEN_NOTES
            click.echo(f"{done:,} of {of:,} folders", err=True)

    budget = Budget(target_size * _MEGABYTE, memory * _MEGABYTE)
    outcome = run(store, feature_view, budget=budget, partition=partition, dry_run=dry_run, progress=note)
    click.echo(_text(outcome, dry_run=dry_run))


def _found(repo: Path, name: str) -> tuple[HybridSparkOfflineStoreConfig, FeatureView]:
    from feast import FeatureStore
    from feast.errors import FeatureViewNotFoundException

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.sources.resolve import router_of

    store = FeatureStore(repo_path=str(repo))
    if not isinstance(store.config.offline_store, HybridSparkOfflineStoreConfig):
        raise ConfigError(f"{repo}: offline_store.type is {store.config.offline_store.type!r}, not this store's.")
    router_of(store.config)
    try:
        try:
            return store.config.offline_store, store.get_feature_view(name)
        except FeatureViewNotFoundException:
            return store.config.offline_store, store.get_stream_feature_view(name)
    except FeatureViewNotFoundException:
        known = ", ".join(sorted(view.name for view in store.list_batch_feature_views())) or "none"
        raise ConfigError(f"there is no feature view {name!r} in {repo}; those with a source: {known}.") from None


def _text(outcome: Outcome, *, dry_run: bool) -> str:
    before, after = outcome.before, outcome.after
    order = f"sorted by {', '.join(outcome.sorted_by)}" if outcome.sorted_by else "without an order"
    would = "would be " if dry_run else ""
    lines = [
        f"{outcome.source}: {order}",
        f"{'':8}{'files':>12}{'MB':>14}{'row groups':>14}",
        f"{'before':8}{before.files:>12,}{before.size / _MEGABYTE:>14,.1f}{before.row_groups:>14,}",
        f"{'after':8}{after.files:>12,}{after.size / _MEGABYTE:>14,.1f}{after.row_groups:>14,}",
        f"{outcome.folders:,} folders {would}rewritten." if outcome.folders else "There is nothing to gain.",
    ]
    for path, reason in list(outcome.left.items())[:_NAMED]:
        lines.append(f"left as it is: {path}: {reason}")
    if len(outcome.left) > _NAMED:
        lines.append(f"and {len(outcome.left) - _NAMED:,} more files")
    return "\n".join(lines)
