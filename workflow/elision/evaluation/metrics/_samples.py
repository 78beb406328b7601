"""What a metric reads: predictions and labels of samples, each with a weight.

A metric is a function of weighted sums over samples. It does not know whether every sample counts once, or as often as
a bootstrap drew the sample: ``Weights`` knows, and adds up many weightings at once.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np


class Weights(ABC):
    """How often each of N samples counts, under R weightings at once."""

    @abstractmethod
    def total(self, values: np.ndarray) -> np.ndarray:
        """Add up values of samples [shape=(K, N) or (1, N)]; returns the sums [shape=(R, K) or (R, 1)]."""

    @abstractmethod
    def moments(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sample variance of ``a``, the covariance, and the sample variance of ``b``.

        The denominator is the weight of all samples minus 1.

        Parameters
        ----------
        a, b : np.ndarray [shape=(K, N) or (1, N)]

        Returns
        -------
        variance_a, covariance, variance_b : np.ndarray [shape=(R, K) or (R, 1)]
            The variance of values that are all the same is exactly 0. All are nan where the weight is 1.
        """

    def by_class(
        self, prediction: np.ndarray, label: np.ndarray, classes: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Add up the samples of each class that are found, that there are, and that the class is predicted for.

        Parameters
        ----------
        prediction : np.ndarray [shape=(K, N), dtype=int64]
        label : np.ndarray [shape=(1, N), dtype=int64]
            -1 leaves the sample out.
        classes : int

        Returns
        -------
        found, true, predicted : np.ndarray [shape=(classes, R, K), (classes, R, 1) and (classes, R, K)]
        """
        kept, numbers = label >= 0, range(classes)
        found = np.stack([self.total((label == c) & (prediction == c)) for c in numbers])
        true = np.stack([self.total(label == c) for c in numbers])
        return found, true, np.stack([self.total(kept & (prediction == c)) for c in numbers])


class Once(Weights):
    """Every sample counts once: one weighting, R = 1."""

    def total(self, values: np.ndarray) -> np.ndarray:
        """Add up values of samples; see ``Weights``."""
        if values.dtype == bool:
            return np.array([[np.count_nonzero(row) for row in values]], np.float64)
        return values.sum(axis=-1, dtype=np.float64)[None]

    def moments(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return variances and covariance; see ``Weights``."""
        found = np.full((3, 1, max(len(a), len(b))), np.nan)
        for k, (x, y) in enumerate(zip(*np.broadcast_arrays(a, b), strict=True)):
            if len(x) > 1:
                # The mean of equal values is rounded, so that their variance would not be 0.
                varies_x, varies_y = x.min() < x.max(), y.min() < y.max()
                found[:, 0, k] = np.cov(x, y)[[0, 0, 1], [0, 1, 1]] * (varies_x, varies_x and varies_y, varies_y)
        return found[0], found[1], found[2]

    def by_class(
        self, prediction: np.ndarray, label: np.ndarray, classes: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Add up the samples of each class, counting pairs of classes; see ``Weights``."""
        if label.min(initial=0) < 0:
            kept = label[0] >= 0
            prediction, label = prediction[:, kept], label[:, kept]
        pairs = label * classes + prediction
        counts = np.array([np.bincount(row, minlength=classes**2) for row in pairs], np.float64)
        counts = counts.reshape(-1, 1, classes, classes).T  # predicted, true, 1, K
        return counts.diagonal().transpose(2, 0, 1), counts[..., :1].sum(0), counts.sum(1)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of N samples under K conditions: what a metric reads that ``reads="scores"``.

    Attributes
    ----------
    prediction : np.ndarray [shape=(K, N), dtype=float64]
        In units of the label.
    label : np.ndarray [shape=(1, N), dtype=float64]
    weights : Weights
    """

    prediction: np.ndarray
    label: np.ndarray
    weights: Weights

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the weighted mean of values of samples [shape=(K, N) or (1, N)] as [shape=(R, K) or (R, 1)]."""
        return self.weights.total(values) / self.weights.total(np.ones((1, values.shape[-1]), bool))

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the variance of the predictions, the covariance, and the variance of the labels [shape=(R, K)]."""
        return self.weights.moments(self.prediction, self.label)


@dataclass(frozen=True, eq=False)
class Classes:
    """Class numbers of N samples under K conditions: what a metric reads that ``reads="classes"`` or ``"signs"``.

    Each sum is computed when a metric first asks for the sum, and serves all metrics of the same classes.

    Attributes
    ----------
    prediction : np.ndarray [shape=(K, N), dtype=int64]
        Numbers from 0 to ``count - 1``.
    label : np.ndarray [shape=(1, N), dtype=int64]
        Likewise; -1 leaves the sample out.
    count : int
        How many classes there are.
    weights : Weights
    """

    prediction: np.ndarray
    label: np.ndarray
    count: int
    weights: Weights

    @cached_property
    def size(self) -> np.ndarray:
        """Weight of all samples [shape=(R, 1)]."""
        return self.weights.total(self.label >= 0)

    @cached_property
    def right(self) -> np.ndarray:
        """Weight of the samples whose class is predicted [shape=(R, K)]."""
        return self.weights.total(self.label == self.prediction)

    @cached_property
    def _by_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.weights.by_class(self.prediction, self.label, self.count)

    @property
    def found(self) -> np.ndarray:
        """Weight of the samples of each class whose class is predicted [shape=(count, R, K)]."""
        return self._by_class[0]

    @property
    def true(self) -> np.ndarray:
        """Weight of the samples of each class [shape=(count, R, 1)]."""
        return self._by_class[1]

    @property
    def predicted(self) -> np.ndarray:
        """Weight of the samples that each class is predicted for [shape=(count, R, K)]."""
        return self._by_class[2]

    def against_rest(self, number: int) -> "Classes":
        """Return the two classes of the task that tells one class (1) from all others (0)."""
        label = np.where(self.label < 0, -1, self.label == number)
        rest = Classes((self.prediction == number).astype(np.int64), label, 2, self.weights)
        true, predicted, both = (of[number] for of in (self.true, self.predicted, self.found))
        neither = self.size - true - predicted + both
        sums = (neither, both), (self.size - true, true), (self.size - predicted, predicted)
        vars(rest)["_by_class"] = tuple(np.stack(of) for of in sums)  # what they are, without adding up again
        return rest
