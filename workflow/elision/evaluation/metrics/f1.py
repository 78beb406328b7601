"""F1 of classes, and its averages."""

from functools import partial

import numpy as np

from elision.evaluation.metrics._base import Metric
from elision.evaluation.metrics._samples import Classes


def class_f1(classes: Classes) -> np.ndarray:
    """F1 of each class [shape=(count, R, K)]; nan for a class that is neither true nor predicted."""
    return 2 * classes.found / (classes.true + classes.predicted)


def _average(classes: Classes, support: np.ndarray) -> np.ndarray:
    return (support * np.nan_to_num(class_f1(classes))).sum(0) / support.sum(0)


def weighted_f1(classes: Classes) -> np.ndarray:
    """F1 of each class, averaged with the true shares of the classes; nan where there is no sample.

    A class that is never predicted counts 0.
    """
    return _average(classes, classes.true)


def swapped_f1(classes: Classes) -> np.ndarray:
    """F1 of each class, averaged with the PREDICTED shares of the classes.

    LNLN's code swapped the arguments so before April 2025; the rows of LNLN and ALMT in its paper are such values. A
    constant predictor of accuracy a scores 2a / (1 + a) instead of 2a^2 / (1 + a).
    """
    return _average(classes, classes.predicted)


def macro_f1(classes: Classes) -> np.ndarray:
    """F1 of each class, averaged with equal weights over the classes that occur or are predicted."""
    values = class_f1(classes)
    defined = ~np.isnan(values)
    return np.where(defined, values, 0).sum(0) / defined.sum(0)


def last_f1(classes: Classes) -> np.ndarray:
    """F1 of the last class: of two, the positive one."""
    return class_f1(classes)[-1]


_f1 = partial(Metric, better="higher", unit="percent")

METRICS = (
    _f1(
        key="f1_negpos",
        name="F1 neg/pos",
        function=weighted_f1,
        reads="signs",
        description="F1 of the classes of Acc-2 neg/pos, averaged with the true shares of the classes.",
        families={"mosi": "acc2_negpos"},
        column=50,
        headline=1,
    ),
    _f1(
        key="f1_nonneg",
        name="F1 neg/non-neg",
        function=weighted_f1,
        reads="classes",
        classes=2,
        description="F1 of the classes of Acc-2 neg/non-neg, averaged with the true shares of the classes.",
        families={"mosi": "acc2_nonneg"},
        column=70,
    ),
    _f1(
        key="f1_negpos_swapped",
        name="F1 neg/pos (swapped)",
        function=swapped_f1,
        reads="signs",
        description=(
            "F1 of the classes of Acc-2 neg/pos, averaged with the PREDICTED shares of the classes. "
            "LNLN's code before April 2025 had this mistake (swapped arguments). A constant output scores too well."
        ),
        families={"mosi": "acc2_negpos"},
        column=80,
        swapped=True,
    ),
    _f1(
        key="f1_nonneg_swapped",
        name="F1 neg/non-neg (swapped)",
        function=swapped_f1,
        reads="classes",
        classes=2,
        description=(
            "F1 of the classes of Acc-2 neg/non-neg, averaged with the PREDICTED shares; see F1 neg/pos (swapped)."
        ),
        families={"mosi": "acc2_nonneg"},
        column=90,
        swapped=True,
    ),
    _f1(
        key="f1_swapped",
        name="F1 (swapped)",
        function=swapped_f1,
        reads="classes",
        classes=2,
        description=(
            "F1 of the classes of Acc-2, averaged with the PREDICTED shares of the classes; see F1 neg/pos (swapped)."
        ),
        families={"sims": "acc2"},
        column=100,
        swapped=True,
    ),
    _f1(
        key="f1",
        name="F1",
        function=weighted_f1,
        reads="classes",
        classes=2,
        description="F1 of the classes of Acc-2, averaged with the true shares of the classes.",
        families={"sims": "acc2"},
        column=120,
        headline=1,
    ),
    _f1(
        key="f1_weighted",
        name="F1 weighted",
        function=weighted_f1,
        reads="classes",
        description="F1 of each class, averaged with the true shares of the classes.",
        families={"emotion": "f1_weighted"},
        column=230,
        headline=1,
    ),
    _f1(
        key="f1_macro",
        name="F1 macro",
        function=macro_f1,
        reads="classes",
        description="F1 of each class, averaged with equal weights over the classes that occur or are predicted.",
        families={"emotion": "f1_macro"},
        column=240,
    ),
    _f1(
        key="f1_binary_weighted",
        name="F1 {label}/rest",
        function=weighted_f1,
        reads="classes",
        description=(
            "F1 for two classes, one class and the rest, averaged with the true shares of the two. The value is high "
            "even for a rare class that is never predicted."
        ),
        families={"emotion": "f1_weighted"},
        column=270,
        per_class=True,
    ),
    _f1(
        key="f1_binary_pos",
        name="F1 {label}",
        function=last_f1,
        reads="classes",
        description=(
            "F1 of one class: harmonic mean of precision and recall. Undefined if no sample has the class, and no "
            "prediction is the class."
        ),
        families={"emotion": "f1_weighted"},
        column=280,
        per_class=True,
    ),
)
