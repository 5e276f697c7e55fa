"""``feast-hybrid explain``: how a retrieval would be done, without doing it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feast_hybrid.cli.options import repo_option
from feast_hybrid.errors import ConfigError, EntityFrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


@click.command()
@click.argument("features", nargs=-1, required=True)
@repo_option
@click.option(
    "--entities",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The entity rows: a Parquet or a CSV file.",
)
@click.option("--sql", help="The entity rows: SQL text in which a source's name stands for its rows.")
@click.option("--start", type=click.DateTime(), help="Without entity rows: the first event time, in UTC.")
@click.option("--end", type=click.DateTime(), help="Without entity rows: the last event time, in UTC.")
def explain(
    features: tuple[str, ...],
    repo: Path,
    entities: Path | None,
    sql: str | None,
    start: datetime | None,
    end: datetime | None,
) -> None:
    """Say how a training set would be joined, and why so, without making it.

    FEATURES are view:feature each, or one feature service. The entity rows are a file's, a query's, or, with
    neither, the views' own between --start and --end.
    """
    click.echo(explain_retrieval(repo, features, entities=entities, sql=sql, dates=(start, end)))


def explain_retrieval(
    repo: Path,
    features: Sequence[str],
    *,
    entities: Path | None = None,
    sql: str | None = None,
    dates: tuple[datetime | None, datetime | None] = (None, None),
) -> str:
    """How each feature view of a request is joined, why so, and what is read of it: a line each.

    Args:
        repo: the folder of ``feature_store.yaml``.
        features: ``view:feature`` each, or the name of one feature service.
        entities: a Parquet or CSV file of entity rows.
        sql: SQL text that gives the entity rows.
        dates: start and end of the views' own rows, where neither file nor SQL text is given; naive ones are UTC.

    Returns:
        The text of ``HybridSparkRetrievalJob.explain()``.

    Raises:
        ConfigError: the repository has another offline store.
        EntityFrameError: more than one form of entity rows is given, or the file cannot be read.
    """
    from feast import FeatureStore

    from feast_hybrid.retrieval.job import HybridSparkRetrievalJob

    options = {"--entities": entities, "--sql": sql, "--start/--end": any(dates)}
    given = [option for option, value in options.items() if value]
    if len(given) > 1:
        raise EntityFrameError(f"entity rows are given by {' and '.join(given)}; give one of them.")
    store = FeatureStore(repo_path=str(repo))
    requested: Any = list(features)
    if len(features) == 1 and ":" not in features[0]:
        requested = store.get_feature_service(features[0])
    entity_df: Any = _read_entity_rows(entities) if entities is not None else sql
    time_range: dict[str, Any] = {} if entity_df is not None else {"start_date": dates[0], "end_date": dates[1]}
    job = store.get_historical_features(entity_df, requested, **time_range)
    if not isinstance(job, HybridSparkRetrievalJob):
        raise ConfigError(f"{repo}: offline_store.type is {store.config.offline_store.type!r}, not this store's.")
    return job.explain()


def _read_entity_rows(file: Path) -> pd.DataFrame:
    """Entity rows of a file; of a CSV file, ``event_timestamp`` as times."""
    import pandas as pd

    from feast_hybrid.retrieval.entity_times import EVENT_TIMESTAMP

    is_csv = file.suffix.lower() == ".csv"
    try:
        rows = pd.read_csv(file) if is_csv else pd.read_parquet(file)
        if is_csv and EVENT_TIMESTAMP in rows:
            rows[EVENT_TIMESTAMP] = pd.to_datetime(rows[EVENT_TIMESTAMP], utc=True)
    except (OSError, ValueError) as error:  # pyarrow's and pandas' own errors are among these
        raise EntityFrameError(f"{file} cannot be read as {'CSV' if is_csv else 'Parquet'}: {error}") from error
    return rows
