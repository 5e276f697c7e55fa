"""``feast-hybrid explain``: how a retrieval would be done, told without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import ConfigError, EntityFrameError

if TYPE_CHECKING:
    import pandas as pd


def explained_retrieval(
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

    Raises:
        ConfigError: the repository has another offline store.
        EntityFrameError: more than one form of entity rows is given, or the file cannot be read.
    """
    from feast import FeatureStore

    from feast_hybrid.retrieval.job import HybridSparkRetrievalJob

    given = [
        name for name, value in (("--entities", entities), ("--sql", sql), ("--start/--end", any(dates))) if value
    ]
    if len(given) > 1:
        raise EntityFrameError(f"entity rows are given by {' and '.join(given)}; give one of them.")
    store = FeatureStore(repo_path=str(repo))
    wanted: Any = list(features)
    if len(features) == 1 and ":" not in features[0]:
        wanted = store.get_feature_service(features[0])
    entity_df: Any = _read(entities) if entities is not None else sql
    between: dict[str, Any] = {} if entity_df is not None else {"start_date": dates[0], "end_date": dates[1]}
    job = store.get_historical_features(entity_df, wanted, **between)
    if not isinstance(job, HybridSparkRetrievalJob):
        raise ConfigError(f"{repo}: offline_store.type is {store.config.offline_store.type!r}, not this store's.")
    return job.explain()


def _read(file: Path) -> pd.DataFrame:
    """Entity rows of a file; of a CSV file, ``event_timestamp`` as times."""
    import pandas as pd

    from feast_hybrid.retrieval.entity_rows import EVENT_TIMESTAMP

    try:
        if file.suffix.lower() == ".csv":
            rows = pd.read_csv(file)
            if EVENT_TIMESTAMP in rows:
                rows[EVENT_TIMESTAMP] = pd.to_datetime(rows[EVENT_TIMESTAMP], utc=True)
            return rows
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's and pandas' own errors are among these
        raise EntityFrameError(
            f"{file} cannot be read as {'CSV' if file.suffix == '.csv' else 'Parquet'}: {error}"
        ) from error
