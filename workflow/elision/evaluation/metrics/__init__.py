"""Metrics of sentiment regression and of emotion classification: a file of this folder, one or several metrics.

A file whose name does not begin with "_" has a tuple ``METRICS`` of ``Metric``. The files are found by their place: to
add a metric, add a file (docs/add-a-metric.md). Each metric has one function, of weighted samples: a score counts every
sample once, a bootstrap as often as a sample was drawn. Families, tables, intervals and docs follow from the metrics.

Metrics of scores are those of the evaluation code of MMSA and LNLN (``core/metric.py``), with its bins, its treatment
of zero and its half-to-even rounding. Metrics of classes are those of MMIN's official code (WA, UA, macro F1) and of
MulT's one-against-the-rest tasks. All are unrounded: rounding belongs to display. Shares are fractions of 1.

A training depends on the files of the metrics that choose its checkpoints (``deciding``), and on no other metric.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from elision.errors import ElisionError
from elision.evaluation.metrics import _catalogue
from elision.evaluation.metrics._base import CONVENTIONS, Metric
from elision.evaluation.metrics._catalogue import (
    METRICS,
    PER_CLASS,
    Family,
    deciding,
    emotion_family_name,
    family,
    family_kind,
    family_name,
    metric,
    modules,
)
from elision.evaluation.metrics._samples import Classes, Once, Scores, Weights
from elision.settings.protocols import protocol as protocol_of

__all__ = [
    "METRICS",
    "PER_CLASS",
    "Classes",
    "Family",
    "Metric",
    "Once",
    "Scores",
    "Weights",
    "classify",
    "confusion_matrix",
    "deciding",
    "emotion_family_name",
    "family",
    "family_kind",
    "family_name",
    "metric",
    "modules",
    "score",
    "score_outputs",
    "weighted",
]


def classify(values: npt.ArrayLike, *, family: str, classes: int) -> np.ndarray:
    """Sort scores into the ordered classes of a metric family; class numbers stay as they are.

    ``mosi``: two classes are negative and non-negative; more are the integers to which the clipped scores round, half
    to even. ``sims``: right-closed bins, so that exactly 0 is negative of two.

    Parameters
    ----------
    values : array-like [shape=(..., N)]
        Predictions or labels.
    family : str
        See ``family``.
    classes : int
        2, 3, 5 or, for ``mosi``, 7; of an emotion family, how many it has.

    Returns
    -------
    number : np.ndarray [shape=(..., N), dtype=int64]
        Of scores, 0 (most negative) to ``classes - 1``.

    Examples
    --------
    >>> classify([-2.4, 0.5, 1.5, 9.0], family="mosi", classes=7).tolist()
    [1, 3, 5, 6]
    """
    values = np.asarray(values)
    return CONVENTIONS[family].classify(values, classes) if family in CONVENTIONS else values.astype(np.int64)


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


def weighted(
    prediction: np.ndarray, label: np.ndarray, family: str, *, weights: Weights, keys: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Compute metrics of weighted samples, under many conditions and weightings at once.

    Parameters
    ----------
    prediction : np.ndarray [shape=(K, N)]
        Finite scores, or class numbers, under K conditions.
    label : np.ndarray [shape=(N,)]
    family : str
        See ``family``.
    weights : Weights
        R weightings.
    keys : iterable of str, optional
        Metrics; by default all of the family.

    Returns
    -------
    values : dict of str to np.ndarray [shape=(R, K)]
        nan where a metric is undefined.
    """
    of = _catalogue.family(family)
    reader = _Reader(of, prediction, label[None], weights)
    values = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for key in of.metrics if keys is None else keys:
            entry = of.metrics[key]
            value = entry.function(reader.read(entry.reads, entry.classes, entry.label))
            of_each = value.shape[1] == len(prediction)  # not of a metric of labels alone
            values[key] = value if of_each else np.broadcast_to(value, (len(value), len(prediction)))
    return values


class _Reader:
    """Gives metrics what they read; metrics that read the same share it."""

    def __init__(self, family: Family, prediction: np.ndarray, label: np.ndarray, weights: Weights) -> None:
        self._family, self._prediction, self._label, self._weights = family, prediction, label, weights
        self._known: dict[tuple, Scores | Classes] = {}

    def read(self, reads: str, classes: int | None, one: str) -> Scores | Classes:
        """Return scores or classes; ``one`` is the class that is told from the rest."""
        key = reads, classes, one
        if key not in self._known:
            self._known[key] = self._made(reads, classes, one)
        return self._known[key]

    def _made(self, reads: str, classes: int | None, one: str) -> Scores | Classes:
        labels, prediction, label = self._family.labels, self._prediction, self._label
        if one:
            together = self.read(reads, classes, "")
            assert isinstance(together, Classes), "one class is told from other classes"
            return together.against_rest(labels.index(one))
        if labels:
            return Classes(prediction.astype(np.int64), label.astype(np.int64), len(labels), self._weights)
        if reads == "signs":
            signs = (prediction > 0).astype(np.int64), np.where(label == 0, -1, label > 0)
            return Classes(*signs, 2, self._weights)
        if reads == "classes" and classes:
            sort = CONVENTIONS[self._family.kind].classify
            return Classes(sort(prediction, classes), sort(label, classes), classes, self._weights)
        end = CONVENTIONS[self._family.kind].end
        return Scores(np.clip(prediction, -end, end), np.clip(label, -end, end), self._weights)


def score(
    prediction: npt.ArrayLike, label: npt.ArrayLike, family: str, *, protocol: str = "elision"
) -> dict[str, float]:
    """Compute every metric of a family.

    Parameters
    ----------
    prediction, label : array-like [shape=(N,)]
        Scores, in units of the label; ``label`` lies in [-3, 3] (``mosi``) or [-1, 1] (``sims``). Of an emotion
        family, class numbers from 0 (integers).
    family : str
        See ``family``. ``sims`` clips both to [-1, 1] first, also for MAE and correlation.
    protocol : str
        Name of a protocol, which may round, and add the F1 with swapped arguments.

    Returns
    -------
    values : dict of str to float
        Unrounded but for the protocol, by names that ``metric`` knows. Correlation is nan where it is undefined, and so
        are the metrics that leave out zeros when every label is 0, and the F1 of a class that is neither true nor
        predicted.

    Raises
    ------
    ElisionError
        If there is no sample, a score is nan or infinite, or a class number is none of the family's.

    Examples
    --------
    >>> values = score([1.2, -0.4, 2.0], [1.0, -1.0, 3.0], "mosi")
    >>> round(values["mae"], 3), values["acc2_nonneg"]
    (0.6, 1.0)
    """
    prediction, label = (np.asarray(values).ravel() for values in (prediction, label))
    if prediction.shape != label.shape or not label.size:
        raise ElisionError(
            f"{prediction.size} predictions for {label.size} labels; give one prediction per label, and at least one"
        )
    of, how = _catalogue.family(family), protocol_of(protocol).report
    for name, values in (("prediction", prediction), ("label", label)):
        _check_values(name, values, of)
    if not of.labels:
        prediction, label = prediction.astype(np.float64), label.astype(np.float64)
    keys = [key for key, entry in of.metrics.items() if how.swapped_f1 or not entry.swapped]
    found = weighted(prediction[None], label, family, weights=Once(), keys=keys)
    single = {key: float(value[0, 0]) for key, value in found.items()}
    decimals = how.decimals.get(family)
    return single if decimals is None else {name: round(value, decimals) for name, value in single.items()}


def _check_values(name: str, values: np.ndarray, of: Family) -> None:
    """Refuse what is no score or no class."""
    if of.labels:
        wrong, why = (
            ~np.isin(values, np.arange(len(of.labels))),
            f"; classes are numbers from 0 to {len(of.labels) - 1}",
        )
    else:
        wrong, why = ~np.isfinite(values), "; metrics need finite numbers"
    if wrong.any():
        first = int(wrong.argmax())
        raise ElisionError(f"{name} of sample number {first} is {values[first]}{why}")


def score_outputs(outputs: np.ndarray, labels: np.ndarray, family: str, *, protocol: str) -> dict[str, float]:
    """Score what a method gives for each sample.

    Parameters
    ----------
    outputs : np.ndarray [shape=(N,)] or [shape=(N, C)]
        Scores, or logits of classes, of which the largest answers.
    labels : np.ndarray [shape=(N,)]
    family, protocol : str
        See ``score``.
    """
    return score(outputs if outputs.ndim == 1 else outputs.argmax(1), labels, family, protocol=protocol)
