"""Two models on the same flights: one knows the booking, the other also what the lakes knew in time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

#: What is known when a ticket is sold.
BOOKING = ("carrier", "origin", "dest", "hour", "weekday", "month", "distance")
_CATEGORIES = ("carrier", "origin", "dest")


@dataclass(frozen=True)
class Score:
    """How well a model ranks the flights that it has not seen.

    Attributes:
        roc_auc: the chance that a late flight is ranked above one that is not; 0.5 is guessing.
        average_precision: the area under precision and recall; the share of late flights is guessing.
    """

    roc_auc: float
    average_precision: float


@dataclass(frozen=True)
class Scores:
    """Both models, and what they were measured on.

    Attributes:
        booking: of the model that knows the booking alone.
        lakes: of the model with the lakes' features.
        trained_on: flights that had arrived before the split.
        tested_on: flights predicted from the split on.
        late_share: of the flights tested on.
    """

    booking: Score
    lakes: Score
    trained_on: int
    tested_on: int
    late_share: float


def compare(flights: pd.DataFrame, lake_features: Sequence[str], split: pd.Timestamp) -> Scores:
    """Train both on what had happened before ``split``, and score them on what was predicted afterwards.

    Args:
        flights: the training set: ``event_timestamp`` (when the prediction is made), ``arrived``, ``late``, and the
            features.
        lake_features: the columns that came from the lakes.
        split: the end of the training time.
    """
    known = flights[flights["arrived"] < split]
    unseen = flights[flights["event_timestamp"] >= split]
    return Scores(
        booking=_score(known, unseen, BOOKING),
        lakes=_score(known, unseen, (*BOOKING, *lake_features)),
        trained_on=len(known),
        tested_on=len(unseen),
        late_share=float(unseen["late"].mean()),
    )


def _score(known: pd.DataFrame, unseen: pd.DataFrame, columns: Sequence[str]) -> Score:
    # Read once, when OpenMP is loaded: its idle threads would else spin, and starve a machine that is busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
    from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: PLC0415

    def inputs(frame: pd.DataFrame) -> pd.DataFrame:
        # A missing value is one the lakes did not have yet: the trees have a branch for it.
        numbers = {name: frame[name].astype("float64") for name in columns if name not in _CATEGORIES}
        categories = {name: pd.Categorical(frame[name], sorted(known[name].unique())) for name in _CATEGORIES}
        return pd.DataFrame({**categories, **numbers}, index=frame.index)

    model = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=150,
        min_samples_leaf=50,
        l2_regularization=1.0,
        categorical_features="from_dtype",
        early_stopping=False,
        random_state=0,
    )
    model.fit(inputs(known), known["late"].astype(int))
    chance = model.predict_proba(inputs(unseen))[:, 1]
    late = unseen["late"].astype(int)
    return Score(float(roc_auc_score(late, chance)), float(average_precision_score(late, chance)))
