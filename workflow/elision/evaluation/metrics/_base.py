"""What a metric is, and how the families of metrics read scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

EMOTION = "emotion"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: how it is computed, called, read, printed and used.

    Attributes
    ----------
    key : str
        Name in files and columns, such as ``acc7``.
    name : str
        Name in tables and figures, such as ``Acc-7``. The name of a metric per class holds ``{label}``.
    function : callable
        Takes what the metric reads of R weightings of N samples under K conditions, ``Scores`` or ``Classes``, and
        returns the values [shape=(R, K) or (R, 1)], nan where the metric is undefined. Divisions by 0 may happen.
    reads : "scores", "signs" or "classes"
        ``scores``: predictions and labels as they are, clipped where the family says so. ``signs``: positive (1)
        against negative (0), without the samples whose label is 0. ``classes``: class numbers.
    classes : int, optional
        How many classes scores are sorted into; left out where labels are classes.
    better : "higher", "lower" or None
        None where neither is better: such a metric has no interval.
    unit : "percent", "label" or ""
        ``percent``: printed times 100 with two decimals; ``label``: in units of the label; "": a plain number. The last
        two are printed with three decimals.
    description : str
        For the glossary and the docs.
    families : mapping of str to str
        The families that have the metric (``mosi``, ``sims`` or ``emotion``), and for each the metric whose best
        checkpoint on the test split this metric is read from, where checkpoints are chosen so. "" is a metric that is
        computed and not shown in tables, and has no checkpoint.
    column : float
        Tables show metrics in ascending order; the default is the last column.
    headline : int
        1: curves and rankings show this metric; 2: they show it beside the first; from 3 on: methods are only compared
        by it; 0: none of these.
    selects : bool
        This metric on the validation split chooses the checkpoint.
    confusion : bool
        The confusion matrix of the classes that this metric reads is shown.
    swapped : bool
        A metric with swapped arguments, computed only where the protocol says so.
    per_class : bool
        Each class has its own: the function reads two classes, all others (0) and the class (1).
    label : str
        The class, for one of these.
    limits : tuple of float, optional
        What the metric can be at least and at most, where it is not in percent: intervals end there.
    """

    key: str
    name: str
    function: Callable[[Any], np.ndarray]
    reads: Literal["scores", "signs", "classes"]
    better: Literal["higher", "lower"] | None
    unit: Literal["percent", "label", ""]
    description: str
    families: Mapping[str, str]
    classes: int | None = None
    column: float = np.inf
    headline: int = 0
    selects: bool = False
    confusion: bool = False
    swapped: bool = False
    per_class: bool = False
    label: str = ""
    limits: tuple[float, float] = (-np.inf, np.inf)

    @property
    def ends(self) -> tuple[float, float]:
        """What the metric can be at least and at most."""
        return (0.0, 1.0) if self.percent else self.limits

    @property
    def percent(self) -> bool:
        """Whether the metric is printed times 100."""
        return self.unit == "percent"

    def of(self, label: str) -> "Metric":
        """Return a metric per class for one class."""
        return replace(self, key=f"{self.key}.{label}", name=self.name.format(label=label), label=label)


@dataclass(frozen=True)
class Convention:
    """How a family reads scores.

    Attributes
    ----------
    end : float
        Scores are clipped to [-end, end] for metrics that read scores.
    classify : callable
        Takes scores and a number of classes to class numbers, 0 for the most negative.
    names : mapping of int to tuple of str
        Names of the classes of confusion matrices, by how many there are.
    """

    end: float
    classify: Callable[[np.ndarray, int], np.ndarray]
    names: Mapping[int, tuple[str, ...]]


def _rounded(values: np.ndarray, classes: int) -> np.ndarray:
    """Negative and non-negative, or the integers to which the clipped scores round, half to even."""
    if classes == 2:
        return (values >= 0).astype(np.int64)
    end = classes // 2
    return np.round(np.clip(values, -end, end)).astype(np.int64) + end


# Right-closed bins, compared in float32 as in MMSA: a label of -0.1 read as float32 is in the bin that ends at -0.1.
_SIMS_EDGES = {
    2: np.array([0.0], np.float32),
    3: np.array([-0.1, 0.1], np.float32),
    5: np.array([-0.7, -0.1, 0.1, 0.7], np.float32),
}


def _binned(values: np.ndarray, classes: int) -> np.ndarray:
    """Right-closed bins, so that exactly 0 is negative of two."""
    return np.searchsorted(_SIMS_EDGES[classes], np.clip(values, -1, 1).astype(np.float32), side="left")


CONVENTIONS = {
    "mosi": Convention(
        end=np.inf,
        classify=_rounded,
        names={7: ("-3", "-2", "-1", "0", "1", "2", "3"), 2: ("negative", "non-negative")},
    ),
    "sims": Convention(
        end=1.0,
        classify=_binned,
        names={
            5: ("negative", "weakly neg.", "neutral", "weakly pos.", "positive"),
            2: ("negative", "positive"),
        },
    ),
}
