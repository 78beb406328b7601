"""Correlation of scores."""

import numpy as np

from elision.evaluation.metrics._base import Metric
from elision.evaluation.metrics._samples import Scores


def pearson(scores: Scores) -> np.ndarray:
    """Pearson correlation; nan, never 0, where predictions or labels are constant."""
    variance, covariance, label_variance = scores.moments()
    deviations = (np.sqrt(np.where(v > 0, v, np.nan)) for v in (variance, label_variance))
    return np.clip(covariance / next(deviations) / next(deviations), -1, 1)


METRICS = (
    Metric(
        key="corr",
        name="Corr",
        function=pearson,
        reads="scores",
        better="higher",
        unit="",
        description="Pearson correlation of prediction and label; undefined if all predictions are equal.",
        families={"mosi": "mae", "sims": "mae"},
        column=140,
        limits=(-1.0, 1.0),
        headline=3,
    ),
)
