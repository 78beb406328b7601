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
            "MOSI, MOSEI: share of samples whose prediction and label round to the same integer after clipping to "
            "[-2, 2]. SIMS: share of samples whose prediction and label are in the same of five bins, with edges at "
            "-0.7, -0.1, 0.1 and 0.7."
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
            "MOSI, MOSEI: share of samples whose prediction and label round to the same integer after clipping to "
            "[-1, 1]. SIMS: share of samples whose prediction and label are in the same of three bins, with edges at "
            "-0.1 and 0.1."
        ),
        families={"mosi": "", "sims": "acc3"},
        column=30,
    ),
    _accuracy(
        key="acc2_negpos",
        name="Acc-2 neg/pos",
        reads="signs",
        description="Accuracy for two classes: positive, and zero or negative. Samples with the label 0 are left out.",
        families={"mosi": "acc2_negpos"},
        column=40,
    ),
    _accuracy(
        key="acc2_nonneg",
        name="Acc-2 neg/non-neg",
        reads="classes",
        classes=2,
        description="Accuracy for two classes, over all samples: negative, and zero or positive.",
        families={"mosi": "acc2_nonneg"},
        column=60,
    ),
    _accuracy(
        key="acc2",
        name="Acc-2",
        reads="classes",
        classes=2,
        description="Accuracy for two classes, over all samples: positive, and zero or negative.",
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
