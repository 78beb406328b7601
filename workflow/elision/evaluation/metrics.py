"""Metrics of sentiment regression, defined once.

They are those of the evaluation code of MMSA and LNLN (``core/metric.py``), with its bins, its treatment of zero and
its half-to-even rounding, but unrounded: rounding belongs to display. Shares are fractions of 1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from elision.errors import ElisionError


@dataclass(frozen=True)
class Metric:
    """How a metric is called, read and printed.

    Attributes
    ----------
    name : str
        Name in tables and figures.
    better : "higher", "lower" or None
        None where neither is better.
    percent : bool
        Printed times 100 with two decimals; otherwise as it is with three.
    description : str
    """

    name: str
    better: Literal["higher", "lower"] | None
    percent: bool
    description: str


METRICS = {
    "acc7": Metric(
        "Acc-7", "higher", True, "Share of samples whose prediction and label round to the same integer of -3 to 3."
    ),
    "acc5": Metric(
        "Acc-5",
        "higher",
        True,
        "MOSI, MOSEI: share of samples whose prediction and label, clipped to -2 to 2, round to the same integer. "
        "SIMS: share in the same of the five bins cut at -0.7, -0.1, 0.1 and 0.7.",
    ),
    "acc3": Metric(
        "Acc-3",
        "higher",
        True,
        "MOSI, MOSEI: share of samples whose prediction and label, clipped to -1 to 1, round to the same integer. "
        "SIMS: share in the same of the three bins cut at -0.1 and 0.1.",
    ),
    "acc2_negpos": Metric(
        "Acc-2 neg/pos",
        "higher",
        True,
        "Accuracy of positive against the rest, over the samples whose label is not exactly 0.",
    ),
    "f1_negpos": Metric(
        "F1 neg/pos", "higher", True, "F1 of the classes of Acc-2 neg/pos, averaged with the classes' true shares."
    ),
    "acc2_nonneg": Metric(
        "Acc-2 neg/non-neg", "higher", True, "Accuracy of negative against zero or more, over all samples."
    ),
    "f1_nonneg": Metric(
        "F1 neg/non-neg",
        "higher",
        True,
        "F1 of the classes of Acc-2 neg/non-neg, averaged with the classes' true shares.",
    ),
    "acc2": Metric("Acc-2", "higher", True, "Accuracy of more than zero against the rest, over all samples."),
    "f1": Metric("F1", "higher", True, "F1 of the classes of Acc-2, averaged with the classes' true shares."),
    "mae": Metric(
        "MAE", "lower", False, "Mean absolute error, in units of the label (SIMS: of predictions clipped to -1 to 1)."
    ),
    "corr": Metric(
        "Corr",
        "higher",
        False,
        "Pearson correlation of prediction and label; undefined where all predictions are the same.",
    ),
    "majority_share_7": Metric(
        "One-class share of 7",
        None,
        True,
        "Share of the predictions that fall into the most frequent predicted class of Acc-7; 100 % is a constant "
        "output (lazy behaviour).",
    ),
    "majority_share_5": Metric(
        "One-class share of 5", None, True, "Share of the predictions in the most frequent predicted class of Acc-5."
    ),
    "majority_share_2": Metric(
        "One-class share of 2",
        None,
        True,
        "Share of the predictions in the most frequent predicted class of Acc-2 (neg/non-neg for MOSI, MOSEI).",
    ),
}


@dataclass(frozen=True)
class Family:
    """The metrics that a corpus is reported with.

    Attributes
    ----------
    reported : tuple of str
        Columns of its tables, in their order.
    f1 : str
        The F1 that curves and rankings are drawn from.
    selected_by : dict of str to str
        For each metric, the one by which LNLN's code chooses its checkpoint on the test split; a metric that is not
        there has no checkpoint of its own.
    classes : dict of int to tuple of str
        Class names of the confusion matrices, by the number of classes.
    """

    reported: tuple[str, ...]
    f1: str
    selected_by: dict[str, str]
    classes: dict[int, tuple[str, ...]]


FAMILIES = {
    "mosi": Family(
        reported=(
            *("acc7", "acc5", "acc2_negpos", "f1_negpos", "acc2_nonneg", "f1_nonneg", "mae", "corr"),
            *("majority_share_7", "majority_share_2"),
        ),
        f1="f1_negpos",
        selected_by={
            "acc7": "acc7",
            "acc5": "acc5",
            "acc2_negpos": "acc2_negpos",
            "f1_negpos": "acc2_negpos",
            "acc2_nonneg": "acc2_nonneg",
            "f1_nonneg": "acc2_nonneg",
            "mae": "mae",
            "corr": "mae",
            "majority_share_7": "acc7",
            "majority_share_2": "acc2_nonneg",
        },
        classes={7: ("-3", "-2", "-1", "0", "1", "2", "3"), 2: ("negative", "non-negative")},
    ),
    "sims": Family(
        reported=("acc5", "acc3", "acc2", "f1", "mae", "corr", "majority_share_5", "majority_share_2"),
        f1="f1",
        selected_by={
            "acc5": "acc5",
            "acc3": "acc3",
            "acc2": "acc2",
            "f1": "acc2",
            "mae": "mae",
            "corr": "mae",
            "majority_share_5": "acc5",
            "majority_share_2": "acc2",
        },
        classes={5: ("negative", "weakly neg.", "neutral", "weakly pos.", "positive"), 2: ("negative", "positive")},
    ),
}

# Right-closed bins, compared in float32 as in MMSA: a label of -0.1 read as float32 is in the bin that ends at -0.1.
_SIMS_EDGES = {
    2: np.array([0.0], np.float32),
    3: np.array([-0.1, 0.1], np.float32),
    5: np.array([-0.7, -0.1, 0.1, 0.7], np.float32),
}


def classify(values: npt.ArrayLike, *, family: str, classes: int) -> np.ndarray:
    """Sort scores into the ordered classes of a metric family.

    ``mosi``: two classes are negative and non-negative; more are the integers to which the clipped scores round, half
    to even. ``sims``: right-closed bins, so that exactly 0 is negative of two.

    Parameters
    ----------
    values : array-like [shape=(N,)]
        Predictions or labels.
    family : {"mosi", "sims"}
    classes : int
        2, 3, 5 or, for ``mosi``, 7.

    Returns
    -------
    number : np.ndarray [shape=(N,), dtype=int64]
        0 (most negative) to ``classes - 1``.
    """
    values = np.asarray(values)
    if family == "sims":
        return np.searchsorted(_SIMS_EDGES[classes], np.clip(values, -1, 1).astype(np.float32), side="left")
    if classes == 2:
        return (values >= 0).astype(np.int64)
    end = classes // 2
    return np.round(np.clip(values, -end, end)).astype(np.int64) + end


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """Count each pair of true and predicted class.

    Parameters
    ----------
    truth, predicted : np.ndarray [shape=(N,), dtype=int64]
        Class numbers from 0.
    classes : int

    Returns
    -------
    counts : np.ndarray [shape=(classes, classes), dtype=int64]
        Rows are true classes, columns predicted ones.
    """
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(counts: np.ndarray) -> float:
    """Share of the diagonal of a confusion matrix; nan where it is empty."""
    return float(np.trace(counts) / counts.sum()) if counts.any() else float("nan")


def weighted_f1(counts: np.ndarray) -> float:
    """F1 of each class, averaged with the true shares of the classes (rows); nan for an empty matrix.

    A class that is never predicted counts 0. With the arguments swapped, as in LNLN's code before April 2025 and in
    the rows of LNLN and ALMT in its paper, the weights would be the predicted shares, and a constant predictor of
    accuracy a would score 2a / (1 + a) instead of 2a^2 / (1 + a).
    """
    if not counts.any():
        return float("nan")
    support, both = counts.sum(1), counts.sum(0) + counts.sum(1)
    f1 = 2 * np.diag(counts) / np.where(both > 0, both, 1)
    return float((support * f1).sum() / support.sum())


def majority_share(counts: np.ndarray) -> float:
    """Share of the most frequent predicted class (column) of a confusion matrix: 1 is a constant predictor."""
    return float(counts.sum(0).max() / counts.sum())


def correlation(prediction: np.ndarray, label: np.ndarray) -> float:
    """Pearson correlation; nan, never 0, where one of the two is constant."""
    if np.ptp(prediction) == 0 or np.ptp(label) == 0:
        return float("nan")
    return float(np.corrcoef(prediction, label)[0, 1])


def score(prediction: npt.ArrayLike, label: npt.ArrayLike, family: str) -> dict[str, float]:
    """Compute every metric of a family.

    Parameters
    ----------
    prediction, label : array-like [shape=(N,)]
        Scores, in units of the label; ``label`` lies in [-3, 3] (``mosi``) or [-1, 1] (``sims``).
    family : {"mosi", "sims"}
        ``sims`` clips both to [-1, 1] first, also for MAE and correlation.

    Returns
    -------
    values : dict of str to float
        Unrounded, by the keys of ``METRICS``. Correlation is nan where it is undefined, and so are the metrics that
        leave out zeros when every label is 0.

    Raises
    ------
    ElisionError
        If there is no sample, or a value is nan or infinite.
    """
    prediction, label = (np.asarray(values, np.float64).ravel() for values in (prediction, label))
    if prediction.shape != label.shape or not label.size:
        raise ElisionError(f"{prediction.size} predictions for {label.size} labels: nothing to compare")
    for name, values in (("prediction", prediction), ("label", label)):
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ElisionError(f"{name} of sample number {first} is {values[first]}; metrics need finite numbers")

    def counts(classes: int) -> np.ndarray:
        truth, predicted = (classify(values, family=family, classes=classes) for values in (label, prediction))
        return confusion_matrix(truth, predicted, classes=classes)

    binary, five = counts(2), counts(5)
    values = {"acc5": accuracy(five), "acc3": accuracy(counts(3)), "majority_share_2": majority_share(binary)}
    if family == "sims":
        prediction, label = np.clip(prediction, -1, 1), np.clip(label, -1, 1)
        values |= {"acc2": accuracy(binary), "f1": weighted_f1(binary), "majority_share_5": majority_share(five)}
    else:
        kept, seven = label != 0, counts(7)
        signs = (label[kept] > 0).astype(np.int64), (prediction[kept] > 0).astype(np.int64)
        signed = confusion_matrix(*signs, classes=2)
        values |= {"acc7": accuracy(seven), "majority_share_7": majority_share(seven)}
        values |= {"acc2_negpos": accuracy(signed), "f1_negpos": weighted_f1(signed)}
        values |= {"acc2_nonneg": accuracy(binary), "f1_nonneg": weighted_f1(binary)}
    return values | {"mae": float(np.abs(prediction - label).mean()), "corr": correlation(prediction, label)}
