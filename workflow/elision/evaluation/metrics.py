"""Metrics of sentiment regression and of emotion classification, defined once.

Those of scores are those of the evaluation code of MMSA and LNLN (``core/metric.py``), with its bins, its treatment of
zero and its half-to-even rounding; those of classes are those of MMIN's official code (WA, UA, macro F1) and of MulT's
one-against-the-rest tasks. All are unrounded: rounding belongs to display. Shares are fractions of 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from elision.errors import ElisionError
from elision.settings.protocols import protocol as protocol_of
from elision.task import CORPORA


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
    "f1_negpos_swapped": Metric(
        "F1 neg/pos (swapped)",
        "higher",
        True,
        "F1 of the classes of Acc-2 neg/pos, averaged with the classes' PREDICTED shares, as with swapped arguments in "
        "LNLN's code before April 2025: a constant output scores too well.",
    ),
    "f1_nonneg_swapped": Metric(
        "F1 neg/non-neg (swapped)",
        "higher",
        True,
        "F1 of the classes of Acc-2 neg/non-neg, averaged with the PREDICTED shares; see the other swapped F1.",
    ),
    "f1_swapped": Metric(
        "F1 (swapped)",
        "higher",
        True,
        "F1 of the classes of Acc-2, averaged with the classes' PREDICTED shares; see F1 neg/pos (swapped).",
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
    "entropy_7": Metric(
        "Entropy ratio of 7",
        None,
        False,
        "Entropy of the distribution of the predictions over the classes of Acc-7, divided by that of the labels: 0 is "
        "a constant output, 1 one as varied as the labels.",
    ),
    "entropy_5": Metric(
        "Entropy ratio of 5", None, False, "Entropy of the predictions over the classes of Acc-5 by that of the labels."
    ),
    "entropy_2": Metric(
        "Entropy ratio of 2",
        None,
        False,
        "Entropy of the predictions over the classes of Acc-2 (neg/non-neg for MOSI, MOSEI) by that of the labels.",
    ),
    "wa": Metric("WA", "higher", True, "Weighted accuracy: share of the samples whose class is predicted."),
    "ua": Metric(
        "UA",
        "higher",
        True,
        "Unweighted accuracy: the recall of each class, averaged with equal weights over the classes that occur.",
    ),
    "f1_weighted": Metric("F1 weighted", "higher", True, "F1 of each class, averaged with the classes' true shares."),
    "f1_macro": Metric(
        "F1 macro",
        "higher",
        True,
        "F1 of each class, averaged with equal weights over the classes that occur or are predicted.",
    ),
    "majority_share": Metric(
        "One-class share",
        None,
        True,
        "Share of the predictions in the most frequent predicted class; 100 % is a constant output (lazy behaviour).",
    ),
    "entropy": Metric(
        "Entropy ratio",
        None,
        False,
        "Entropy of the distribution of the predicted classes, divided by that of the labels: 0 is a constant output, "
        "1 one as varied as the labels.",
    ),
}

# Metrics of one class, of which each class has its own: `metric("f1_binary_pos.happy")`.
PER_CLASS = {
    "f1_binary_weighted": Metric(
        "F1 {label}/rest",
        "higher",
        True,
        "F1 of the two classes of the task that tells one class from the rest, averaged with their true shares. A "
        "class that is rare and never predicted still has a high one.",
    ),
    "f1_binary_pos": Metric(
        "F1 {label}",
        "higher",
        True,
        "F1 of one class: harmonic mean of its precision and its recall; undefined where it is neither true nor "
        "predicted.",
    ),
}


def metric(name: str) -> Metric:
    """Look up a metric: a key of ``METRICS``, or ``f1_binary_weighted.CLASS`` or ``f1_binary_pos.CLASS``."""
    kind, _, label = name.partition(".")
    return replace(PER_CLASS[kind], name=PER_CLASS[kind].name.format(label=label)) if label else METRICS[name]


@dataclass(frozen=True)
class Family:
    """The metrics that a dataset is reported with.

    Attributes
    ----------
    reported : tuple of str
        Columns of its tables, in their order.
    f1 : str
        The F1 that curves and rankings are drawn from.
    second : str
        The metric that stands beside it.
    selection : (str, bool)
        The metric on the validation split that chooses the checkpoint, and whether larger is better.
    selected_by : dict of str to str
        For each metric, the one by which its checkpoint is chosen on the test split (of scores: as LNLN's code does);
        a metric that is not there has no checkpoint of its own.
    confusions : dict of str to tuple of str
        Class names of each confusion matrix, by the metric that is the share of its most frequent predicted class.
    labels : tuple of str
        Names of the classes that are predicted, in the order of their numbers; empty for scores.
    per_class : tuple of str
        Metrics of single classes, computed beside those reported; empty for scores.
    swapped : tuple of str
        Metrics with swapped arguments, which are computed only where the protocol says so.
    """

    reported: tuple[str, ...]
    f1: str
    second: str
    selection: tuple[str, bool]
    selected_by: dict[str, str]
    confusions: dict[str, tuple[str, ...]]
    labels: tuple[str, ...] = ()
    per_class: tuple[str, ...] = ()
    swapped: tuple[str, ...] = ()

    def error(self, values: Mapping[str, float]) -> float:
        """Return what schedules minimise: the value of the metric of ``selection``, or 1 minus it.

        Parameters
        ----------
        values : mapping of str to float
            Of ``score``, on the validation split.
        """
        name, larger_is_better = self.selection
        return 1 - values[name] if larger_is_better else values[name]

    @property
    def checkpoints(self) -> dict[str, bool]:
        """The metrics that have a checkpoint of their own on the test split, and whether larger is better."""
        return {name: metric(name).better == "higher" for name in sorted(set(self.selected_by.values()))}


_SCORES = {
    "mosi": Family(
        reported=(
            *("acc7", "acc5", "acc2_negpos", "f1_negpos", "acc2_nonneg", "f1_nonneg", "mae", "corr"),
            *("majority_share_7", "majority_share_2", "entropy_7", "entropy_2"),
        ),
        f1="f1_negpos",
        second="mae",
        selection=("mae", False),
        selected_by={
            "acc7": "acc7",
            "acc5": "acc5",
            "acc2_negpos": "acc2_negpos",
            "f1_negpos": "acc2_negpos",
            "f1_negpos_swapped": "acc2_negpos",
            "acc2_nonneg": "acc2_nonneg",
            "f1_nonneg": "acc2_nonneg",
            "f1_nonneg_swapped": "acc2_nonneg",
            "mae": "mae",
            "corr": "mae",
            "majority_share_7": "acc7",
            "majority_share_2": "acc2_nonneg",
            "entropy_7": "acc7",
            "entropy_2": "acc2_nonneg",
        },
        confusions={
            "majority_share_7": ("-3", "-2", "-1", "0", "1", "2", "3"),
            "majority_share_2": ("negative", "non-negative"),
        },
        swapped=("f1_negpos_swapped", "f1_nonneg_swapped"),
    ),
    "sims": Family(
        reported=(
            *("acc5", "acc3", "acc2", "f1", "mae", "corr"),
            *("majority_share_5", "majority_share_2", "entropy_5", "entropy_2"),
        ),
        f1="f1",
        second="mae",
        selection=("mae", False),
        selected_by={
            "acc5": "acc5",
            "acc3": "acc3",
            "acc2": "acc2",
            "f1": "acc2",
            "f1_swapped": "acc2",
            "mae": "mae",
            "corr": "mae",
            "majority_share_5": "acc5",
            "majority_share_2": "acc2",
            "entropy_5": "acc5",
            "entropy_2": "acc2",
        },
        confusions={
            "majority_share_5": ("negative", "weakly neg.", "neutral", "weakly pos.", "positive"),
            "majority_share_2": ("negative", "positive"),
        },
        swapped=("f1_swapped",),
    ),
}

_EMOTION = "emotion:"


def emotion_family_name(classes: Sequence[str]) -> str:
    """Name the metric family of a classification: "emotion:" and the class names in the order of their numbers.

    Raises
    ------
    ElisionError
        If there are fewer than two, one stands there twice, is empty or holds a comma or a colon.
    """
    if len(classes) < 2:
        raise ElisionError(f"{len(classes)} class names ({', '.join(classes)}): a classification needs two or more")
    for name in classes:
        if not name or "," in name or ":" in name or list(classes).count(name) > 1:
            raise ElisionError(f"class name {name!r}: must not be empty, hold , or :, or stand there twice; rename it")
    return _EMOTION + ",".join(classes)


def family_name(corpus: str, classes: Sequence[str]) -> str:
    """Name the metric family of a dataset: that of its classes where it has some, else that of its corpus.

    Parameters
    ----------
    corpus : str
        Key of ``CORPORA``.
    classes : sequence of str
        In the order of their numbers; empty for scores.
    """
    return emotion_family_name(classes) if classes else CORPORA[corpus].metrics


def _labels(family: str) -> tuple[str, ...]:
    """Class names of a family; none for scores."""
    return tuple(family.removeprefix(_EMOTION).split(",")) if family.startswith(_EMOTION) else ()


@lru_cache
def family(name: str) -> Family:
    """Return a metric family.

    Parameters
    ----------
    name : str
        "mosi" or "sims" for scores, or what ``emotion_family_name`` returns, as in "emotion:happy,angry,sad,neutral".
    """
    if not (labels := _labels(name)):
        return _SCORES[name]
    chosen = ("wa", "ua", "f1_weighted", "f1_macro")
    per_class = tuple(f"{kind}.{label}" for kind in PER_CLASS for label in labels)
    return Family(
        reported=(*chosen, "majority_share", "entropy"),
        f1="f1_weighted",
        second="ua",
        selection=("ua", True),
        selected_by={m: m for m in chosen} | dict.fromkeys(("majority_share", "entropy", *per_class), "f1_weighted"),
        confusions={"majority_share": labels},
        labels=labels,
        per_class=per_class,
    )


# Right-closed bins, compared in float32 as in MMSA: a label of -0.1 read as float32 is in the bin that ends at -0.1.
_SIMS_EDGES = {
    2: np.array([0.0], np.float32),
    3: np.array([-0.1, 0.1], np.float32),
    5: np.array([-0.7, -0.1, 0.1, 0.7], np.float32),
}


def classify(values: npt.ArrayLike, *, family: str, classes: int) -> np.ndarray:
    """Sort scores into the ordered classes of a metric family; class numbers stay as they are.

    ``mosi``: two classes are negative and non-negative; more are the integers to which the clipped scores round, half
    to even. ``sims``: right-closed bins, so that exactly 0 is negative of two.

    Parameters
    ----------
    values : array-like [shape=(N,)]
        Predictions or labels.
    family : str
        See ``family``.
    classes : int
        2, 3, 5 or, for ``mosi``, 7; of an emotion family, how many it has.

    Returns
    -------
    number : np.ndarray [shape=(N,), dtype=int64]
        Of scores, 0 (most negative) to ``classes - 1``.
    """
    values = np.asarray(values)
    if _labels(family):
        return values.astype(np.int64)
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


def class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class of a confusion matrix [shape=(classes,)]; nan for one that is neither true nor predicted."""
    both = counts.sum(0) + counts.sum(1)
    return np.divide(2 * np.diag(counts), both, out=np.full(len(counts), np.nan), where=both > 0)


def weighted_f1(counts: np.ndarray) -> float:
    """F1 of each class, averaged with the true shares of the classes (rows); nan for an empty matrix.

    A class that is never predicted counts 0. With the arguments swapped, as in LNLN's code before April 2025 and in
    the rows of LNLN and ALMT in its paper, the weights would be the predicted shares, and a constant predictor of
    accuracy a would score 2a / (1 + a) instead of 2a^2 / (1 + a).
    """
    if not counts.any():
        return float("nan")
    support = counts.sum(1)
    return float((support * np.nan_to_num(class_f1(counts))).sum() / support.sum())


def macro_recall(counts: np.ndarray) -> float:
    """Recall of each class, averaged with equal weights over the classes (rows) that occur in the truth."""
    support = counts.sum(1)
    return float((np.diag(counts)[support > 0] / support[support > 0]).mean())


def one_against_rest(counts: np.ndarray, number: int) -> np.ndarray:
    """Confusion matrix of the task that tells class ``number`` (1) from all others (0) [shape=(2, 2)]."""
    both, true, predicted = counts[number, number], counts[number].sum(), counts[:, number].sum()
    return np.array([[counts.sum() - true - predicted + both, predicted - both], [true - both, both]])


def majority_share(counts: np.ndarray) -> float:
    """Share of the most frequent predicted class (column) of a confusion matrix: 1 is a constant predictor."""
    return float(counts.sum(0).max() / counts.sum())


def entropy_ratio(counts: np.ndarray) -> float:
    """Entropy of the predicted classes (columns) of a confusion matrix, divided by that of the true ones (rows).

    0 is a constant predictor, 1 one as varied as the labels; nan where the labels are constant, or there are none.
    """
    labels = _entropy(counts.sum(1))
    return _entropy(counts.sum(0)) / labels if labels else float("nan")


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float((shares * np.log(1 / shares)).sum())


def correlation(prediction: np.ndarray, label: np.ndarray) -> float:
    """Pearson correlation; nan, never 0, where one of the two is constant."""
    if np.ptp(prediction) == 0 or np.ptp(label) == 0:
        return float("nan")
    return float(np.corrcoef(prediction, label)[0, 1])


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
        Key of ``PROTOCOLS``, which may round, and add the F1 with swapped arguments.

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
    """
    prediction, label = (np.asarray(values).ravel() for values in (prediction, label))
    if prediction.shape != label.shape or not label.size:
        raise ElisionError(f"{prediction.size} predictions for {label.size} labels: nothing to compare")
    if labels := _labels(family):
        values = _score_classes(prediction, label, labels)
    else:
        values = _score_scores(prediction.astype(np.float64), label.astype(np.float64), family)
    how = protocol_of(protocol).report
    if not how.swapped_f1:
        values = {name: value for name, value in values.items() if not name.endswith("_swapped")}
    decimals = how.decimals.get(family)
    return values if decimals is None else {name: round(value, decimals) for name, value in values.items()}


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


def _score_classes(prediction: np.ndarray, label: np.ndarray, labels: tuple[str, ...]) -> dict[str, float]:
    for name, values in (("prediction", prediction), ("label", label)):
        if (unknown := ~np.isin(values, np.arange(len(labels)))).any():
            first = int(unknown.argmax())
            raise ElisionError(
                f"{name} of sample number {first} is {values[first]}, no class of 0 to {len(labels) - 1}"
            )
    counts = confusion_matrix(label.astype(np.int64), prediction.astype(np.int64), classes=len(labels))
    values = {
        "wa": accuracy(counts),
        "ua": macro_recall(counts),
        "f1_weighted": weighted_f1(counts),
        "f1_macro": float(np.nanmean(class_f1(counts))),
        "majority_share": majority_share(counts),
        "entropy": entropy_ratio(counts),
    }
    for number, name in enumerate(labels):
        binary = one_against_rest(counts, number)
        values[f"f1_binary_weighted.{name}"] = weighted_f1(binary)
        values[f"f1_binary_pos.{name}"] = float(class_f1(binary)[1])
    return values


def _score_scores(prediction: np.ndarray, label: np.ndarray, family: str) -> dict[str, float]:
    for name, values in (("prediction", prediction), ("label", label)):
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ElisionError(f"{name} of sample number {first} is {values[first]}; metrics need finite numbers")

    def counts(classes: int) -> np.ndarray:
        truth, predicted = (classify(values, family=family, classes=classes) for values in (label, prediction))
        return confusion_matrix(truth, predicted, classes=classes)

    binary, five = counts(2), counts(5)
    values = {"acc5": accuracy(five), "acc3": accuracy(counts(3))}
    values |= {"majority_share_2": majority_share(binary), "entropy_2": entropy_ratio(binary)}
    if family == "sims":
        prediction, label = np.clip(prediction, -1, 1), np.clip(label, -1, 1)
        values |= {"acc2": accuracy(binary), "f1": weighted_f1(binary), "f1_swapped": weighted_f1(binary.T)}
        values |= {"majority_share_5": majority_share(five), "entropy_5": entropy_ratio(five)}
    else:
        kept, seven = label != 0, counts(7)
        signs = (label[kept] > 0).astype(np.int64), (prediction[kept] > 0).astype(np.int64)
        signed = confusion_matrix(*signs, classes=2)
        values |= {"acc7": accuracy(seven)}
        values |= {"majority_share_7": majority_share(seven), "entropy_7": entropy_ratio(seven)}
        values |= {"acc2_negpos": accuracy(signed), "f1_negpos": weighted_f1(signed)}
        values |= {"acc2_nonneg": accuracy(binary), "f1_nonneg": weighted_f1(binary)}
        values |= {"f1_negpos_swapped": weighted_f1(signed.T), "f1_nonneg_swapped": weighted_f1(binary.T)}
    return values | {"mae": float(np.abs(prediction - label).mean()), "corr": correlation(prediction, label)}
