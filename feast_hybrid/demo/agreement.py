"""Whether training and serving see the same values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore


@dataclass(frozen=True)
class Agreement:
    """The outcome of a comparison, value by value.

    Attributes:
        entities: how many rows were requested.
        values: how many values were compared.
        nulls: how many of them are null on both sides.
        mismatches: ``feature of row: historical value, online value``, one for each that differs.
    """

    entities: int
    values: int
    nulls: int
    mismatches: list[str]


def compare(store: FeatureStore, service: str, rows: pd.DataFrame, as_of: pd.Timestamp) -> Agreement:
    """Read the same rows from the lakes as of ``as_of`` and from the online store, and compare all features.

    Args:
        store: materialised up to ``as_of``.
        service: the feature service.
        rows: join keys and request data.
        as_of: the end of what was materialised.
    """
    features = store.get_feature_service(service)
    rows = rows.reset_index(drop=True)
    trained = store.get_historical_features(
        rows.assign(event_timestamp=as_of), features, full_feature_names=True, filter_by_created_timestamp=True
    ).to_df()
    requests = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
    served = store.get_online_features(features, requests, full_feature_names=True).to_dict()
    names = [name for name in served if name not in rows.columns]
    missing = [name for name in names if name not in trained.columns]
    mismatches = [f"{name}: not among the historical features" for name in missing]
    values = nulls = 0
    for name in names:
        if name in missing:
            continue
        for number, (then, now) in enumerate(zip(trained[name].tolist(), served[name], strict=True)):
            values += 1
            if _null(then) and _null(now):
                nulls += 1
            elif _null(then) or _null(now) or then != now:
                mismatches.append(f"{name} of {requests[number]}: {then!r} historically, {now!r} online")
    return Agreement(len(rows), values, nulls, mismatches)


def _null(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124 - true of NaN alone
