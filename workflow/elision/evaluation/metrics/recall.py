"""Recall of classes, each of which counts the same."""

import numpy as np

from elision.evaluation.metrics._base import Metric
from elision.evaluation.metrics._samples import Classes


def macro_recall(classes: Classes) -> np.ndarray:
    """Recall of each class, averaged with equal weights over the classes that occur in the truth."""
    occurs = classes.true > 0
    return np.where(occurs, classes.found / classes.true, 0).sum(0) / occurs.sum(0)


METRICS = (
    Metric(
        key="ua",
        name="UA",
        function=macro_recall,
        reads="classes",
        better="higher",
        unit="percent",
        description=(
            "Unweighted accuracy: the recall of each class, averaged with equal weights over the classes that occur."
        ),
        families={"emotion": "ua"},
        column=220,
        headline=2,
        selects=True,
    ),
)
