"""How varied a method's output is: a constant output is called lazy behaviour."""

from functools import partial

import numpy as np

from elision.evaluation.metrics._base import Metric
from elision.evaluation.metrics._samples import Classes


def majority_share(classes: Classes) -> np.ndarray:
    """Share of the most frequent predicted class: 1 is a constant predictor."""
    return classes.predicted.max(0) / classes.size


def entropy_ratio(classes: Classes) -> np.ndarray:
    """Entropy of the predicted classes, divided by the entropy of the true classes.

    0 is a constant predictor, 1 a predictor as varied as the labels; nan where the labels are constant, or there are
    none.
    """
    labels = _entropy(classes.true, classes.size)
    return np.where(labels > 0, _entropy(classes.predicted, classes.size) / labels, np.nan)


def _entropy(totals: np.ndarray, size: np.ndarray) -> np.ndarray:
    shares = totals / size
    return np.where(totals > 0, shares * np.log(1 / shares), 0).sum(0)


_share = partial(Metric, function=majority_share, reads="classes", better=None, unit="percent", confusion=True)
_entropy_ratio = partial(Metric, function=entropy_ratio, reads="classes", better=None, unit="")

METRICS = (
    _share(
        key="majority_share_7",
        name="One-class share of 7",
        classes=7,
        description=(
            "Share of the predictions that are the most frequent predicted class of Acc-7. 100 % is a constant output "
            "(lazy behaviour)."
        ),
        families={"mosi": "acc7"},
        column=150,
    ),
    _share(
        key="majority_share_5",
        name="One-class share of 5",
        classes=5,
        description="Share of the predictions that are the most frequent predicted class of Acc-5.",
        families={"sims": "acc5"},
        column=160,
    ),
    _share(
        key="majority_share_2",
        name="One-class share of 2",
        classes=2,
        description=(
            "Share of the predictions that are the most frequent predicted class of Acc-2 (MOSI, MOSEI: neg/non-neg)."
        ),
        families={"mosi": "acc2_nonneg", "sims": "acc2"},
        column=170,
    ),
    _entropy_ratio(
        key="entropy_7",
        name="Entropy ratio of 7",
        classes=7,
        description=(
            "Entropy of the predicted classes of Acc-7, divided by the entropy of the true classes. 0: the output is "
            "constant. 1: the output is as varied as the labels."
        ),
        families={"mosi": "acc7"},
        column=180,
    ),
    _entropy_ratio(
        key="entropy_5",
        name="Entropy ratio of 5",
        classes=5,
        description="Entropy of the predicted classes of Acc-5, divided by the entropy of the true classes.",
        families={"sims": "acc5"},
        column=190,
    ),
    _entropy_ratio(
        key="entropy_2",
        name="Entropy ratio of 2",
        classes=2,
        description=(
            "Entropy of the predicted classes of Acc-2 (MOSI, MOSEI: neg/non-neg), divided by the entropy of the true "
            "classes."
        ),
        families={"mosi": "acc2_nonneg", "sims": "acc2"},
        column=200,
    ),
    _share(
        key="majority_share",
        name="One-class share",
        description=(
            "Share of the predictions that are the most frequent predicted class. 100 % is a constant output (lazy "
            "behaviour)."
        ),
        families={"emotion": "f1_weighted"},
        column=250,
    ),
    _entropy_ratio(
        key="entropy",
        name="Entropy ratio",
        description=(
            "Entropy of the predicted classes, divided by the entropy of the true classes. 0: the output is constant. "
            "1: the output is as varied as the labels."
        ),
        families={"emotion": "f1_weighted"},
        column=260,
    ),
)
