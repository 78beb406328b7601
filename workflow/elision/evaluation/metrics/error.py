"""Mean absolute error of scores."""

import numpy as np

from elision.evaluation.metrics._base import Metric
from elision.evaluation.metrics._samples import Scores


def absolute_error(scores: Scores) -> np.ndarray:
    """Mean absolute difference of prediction and label, in units of the label."""
    return scores.mean(np.abs(scores.prediction - scores.label))


METRICS = (
    Metric(
        key="mae",
        name="MAE",
        function=absolute_error,
        reads="scores",
        better="lower",
        unit="label",
        description="Mean absolute error, in units of the label. For SIMS, predictions are clipped to [-1, 1] first.",
        families={"mosi": "mae", "sims": "mae"},
        column=130,
        limits=(0.0, np.inf),
        headline=2,
        selects=True,
    ),
)
