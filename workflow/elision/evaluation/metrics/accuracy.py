"""Accuracy: the share of the samples whose class is predicted."""

from functools import partial

import numpy as np

from elision.evaluation.metrics._base import Metric
from elision.evaluation.metrics._samples import Classes


def share_right(classes: Classes) -> np.ndarray:
    """Share of the samples whose class is predicted; nan where there is no sample."""
    return classes.right / classes.size


_accuracy = partial(Metric, function=share_right, better="higher", unit="percent")

METRICS = (
    _accuracy(
        key="acc7",
        name="Acc-7",
        reads="classes",
        classes=7,
        description="Share of samples whose prediction and label round to the same integer from -3 to 3.",
        families={"mosi": "acc7"},
        column=10,
    ),
    _accuracy(
        key="acc5",
        name="Acc-5",
        reads="classes",
        classes=5,
        description=(
            "MOSI, MOSEI: share of samples whose prediction and label, clipped to -2 to 2, round to the same integer. "
            "SIMS: share in the same of the five bins cut at -0.7, -0.1, 0.1 and 0.7."
        ),
        families={"mosi": "acc5", "sims": "acc5"},
        column=20,
    ),
    _accuracy(
        key="acc3",
        name="Acc-3",
        reads="classes",
        classes=3,
        description=(
            "MOSI, MOSEI: share of samples whose prediction and label, clipped to -1 to 1, round to the same integer. "
            "SIMS: share in the same of the three bins cut at -0.1 and 0.1."
        ),
        families={"mosi": "", "sims": "acc3"},
        column=30,
    ),
    _accuracy(
        key="acc2_negpos",
        name="Acc-2 neg/pos",
        reads="signs",
        description="Accuracy of positive against the rest, over the samples whose label is not exactly 0.",
        families={"mosi": "acc2_negpos"},
        column=40,
    ),
    _accuracy(
        key="acc2_nonneg",
        name="Acc-2 neg/non-neg",
        reads="classes",
        classes=2,
        description="Accuracy of negative against zero or more, over all samples.",
        families={"mosi": "acc2_nonneg"},
        column=60,
    ),
    _accuracy(
        key="acc2",
        name="Acc-2",
        reads="classes",
        classes=2,
        description="Accuracy of more than zero against the rest, over all samples.",
        families={"sims": "acc2"},
        column=110,
    ),
    _accuracy(
        key="wa",
        name="WA",
        reads="classes",
        description="Weighted accuracy: share of the samples whose class is predicted correctly.",
        families={"emotion": "wa"},
        column=210,
    ),
)
