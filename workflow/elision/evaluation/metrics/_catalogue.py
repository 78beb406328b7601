"""The catalogue of metrics, and the families of metrics that datasets are reported with."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from elision.errors import ElisionError
from elision.evaluation.metrics._base import CONVENTIONS, EMOTION, Metric
from elision.task import CORPORA, TaskKind


def _found() -> dict[str, tuple[Metric, str]]:
    """Every metric and its module, by key, in the order of columns.

    Raises
    ------
    ElisionError
        If a file defines no metric, two metrics have the same key, or a family lacks what it needs.
    """
    found: dict[str, tuple[Metric, str]] = {}
    for _, name, _ in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if name.startswith("_"):
            continue
        module = importlib.import_module(f"elision.evaluation.metrics.{name}")
        if not (entries := getattr(module, "METRICS", ())):
            raise ElisionError(f"{module.__file__} defines no metrics; add METRICS = (Metric(...), ...)")
        for entry in entries:
            if entry.key in found:
                raise ElisionError(
                    f"{module.__file__}: metric {entry.key!r} is also defined in "
                    f"{found[entry.key][1]}; rename one of the two"
                )
            found[entry.key] = entry, f"evaluation.metrics.{name}"
    ordered = dict(sorted(found.items(), key=lambda item: (item[1][0].column, item[0])))
    for kind in (*CONVENTIONS, EMOTION):
        _check(kind, [entry for entry, _ in ordered.values() if kind in entry.families])
    for entry, place in ordered.values():
        if unknown := set(entry.families) - {*CONVENTIONS, EMOTION}:
            raise ElisionError(
                f"{place}: metric {entry.key!r}: unknown family {min(unknown)!r}; "
                f"use {', '.join(CONVENTIONS)} or {EMOTION}"
            )
    return ordered


def _check(kind: str, metrics: list[Metric]) -> None:
    shown = {entry.key for entry in metrics if entry.families[kind] and not entry.swapped}
    for entry in metrics:
        if (checkpoint := entry.families[kind]) and checkpoint not in shown:
            raise ElisionError(
                f"metric {entry.key!r}: family {kind!r} reads it from the checkpoint of {checkpoint!r}, "
                f"which is none of its metrics; use {', '.join(sorted(shown))}"
            )
        if (entry.headline or entry.selects) and (entry.key not in shown or not entry.better):
            raise ElisionError(
                f"metric {entry.key!r}: headline and selects need a direction and a place in the tables of family "
                f"{kind!r}; set better and families"
            )
    for what, having in (
        ("selects=True", [entry.key for entry in metrics if entry.selects]),
        ("headline=1", [entry.key for entry in metrics if entry.headline == 1]),
        ("headline=2", [entry.key for entry in metrics if entry.headline == 2]),
    ):
        if len(having) != 1:
            raise ElisionError(
                f"metrics of family {kind!r}: {what} in {', '.join(having) or 'none'}; exactly one metric needs it"
            )


_METRICS = _found()

# Metrics by key, in the order of columns; then those of one class, of which each class has its own:
# `metric("f1_binary_pos.happy")`.
METRICS = {key: entry for key, (entry, _) in _METRICS.items() if not entry.per_class}
PER_CLASS = {key: entry for key, (entry, _) in _METRICS.items() if entry.per_class}


def metric(name: str) -> Metric:
    """Look up a metric: a key of ``METRICS``, or a key of ``PER_CLASS``, a dot and the name of a class."""
    key, _, label = name.partition(".")
    return PER_CLASS[key].of(label) if label else METRICS[name]


def modules(kind: str, keys: Iterable[str] | None = None) -> tuple[str, ...]:
    """Name the modules that define metrics, for digests of code.

    Parameters
    ----------
    kind : str
        A family of scores, or "emotion".
    keys : iterable of str, optional
        Metrics; by default all of the family.

    Returns
    -------
    modules : tuple of str
        Sorted, without the name of the package: "evaluation.metrics.accuracy".
    """
    chosen = [key for key, (entry, _) in _METRICS.items() if kind in entry.families] if keys is None else keys
    return tuple(sorted({_METRICS[key][1] for key in chosen}))


def deciding(kind: str, *, on_test: bool = False) -> tuple[str, ...]:
    """Name the modules of the metrics that decide which weights a training keeps.

    Parameters
    ----------
    kind : str
        A family of scores, or "emotion".
    on_test : bool
        Whether checkpoints are chosen on the test split, too, one for each metric that has its own.
    """
    of_kind = [entry for entry, _ in _METRICS.values() if kind in entry.families]
    keys = {entry.key for entry in of_kind if entry.selects}
    return modules(kind, keys | ({entry.families[kind] for entry in of_kind} - {""} if on_test else set()))


def _of_scores(corpus: str) -> str:
    """Return the family of the scores of a corpus.

    Raises
    ------
    ElisionError
        If the corpus has classes alone.
    """
    if (found := CORPORA[corpus].metrics) is None:
        raise ElisionError(f"corpus {corpus} has classes and no scores; write task: classification")
    return found


def family_kind(corpus: str, task: TaskKind) -> str:
    """Return the kind of the metric family of a dataset: a family of scores, or "emotion".

    Parameters
    ----------
    corpus : str
        Key of ``CORPORA``.
    task : TaskKind
    """
    return EMOTION if task is TaskKind.CLASSIFICATION else _of_scores(corpus)


@dataclass(frozen=True)
class Family:
    """The metrics that a dataset is reported with.

    Attributes
    ----------
    kind : str
        A family of scores, or "emotion".
    labels : tuple of str
        Names of the classes that are predicted, in the order of their numbers; empty for scores.
    """

    kind: str
    labels: tuple[str, ...] = ()

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """All metrics by key, in the order of columns; those of one class for each class."""
        plain = {key: entry for key, entry in METRICS.items() if self.kind in entry.families}
        single = [entry.of(label) for entry in PER_CLASS.values() for label in self.labels]
        return plain | {entry.key: entry for entry in single if self.kind in entry.families}

    @cached_property
    def selected_by(self) -> dict[str, str]:
        """For each metric, the metric by which its checkpoint is chosen on the test split (of scores: as LNLN's code).

        A metric that is not there has no checkpoint of its own.
        """
        return {key: entry.families[self.kind] for key, entry in self.metrics.items() if entry.families[self.kind]}

    @cached_property
    def reported(self) -> tuple[str, ...]:
        """Columns of tables, in their order."""
        return tuple(k for k in self.selected_by if not (self.metrics[k].swapped or self.metrics[k].per_class))

    @cached_property
    def per_class(self) -> tuple[str, ...]:
        """Metrics of single classes, computed beside those reported; empty for scores."""
        return tuple(key for key in self.selected_by if self.metrics[key].per_class)

    @cached_property
    def swapped(self) -> tuple[str, ...]:
        """Metrics with swapped arguments, which are computed only where the protocol says so."""
        return tuple(key for key in self.selected_by if self.metrics[key].swapped)

    @cached_property
    def directed(self) -> tuple[str, ...]:
        """Metrics that have intervals: those reported of which one end is better."""
        return tuple(key for key in self.reported if self.metrics[key].better)

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """Metrics by which methods are compared with each other; the first two are ``f1`` and ``second``."""
        ranked = sorted((entry.headline, key) for key, entry in self.metrics.items() if entry.headline)
        return tuple(key for _, key in ranked)

    @property
    def f1(self) -> str:
        """The F1 that curves and rankings are drawn from."""
        return self.compared[0]

    @property
    def second(self) -> str:
        """The metric that curves and rankings show beside the F1."""
        return self.compared[1]

    @cached_property
    def selection(self) -> tuple[str, bool]:
        """The metric on the validation split that chooses the checkpoint, and whether larger is better."""
        (entry,) = (entry for entry in self.metrics.values() if entry.selects)
        return entry.key, entry.better == "higher"

    @cached_property
    def confusions(self) -> dict[str, tuple[str, ...]]:
        """Class names of each confusion matrix, by the metric of the share of the most frequent predicted class."""
        shown = {key: self.metrics[key] for key in self.reported if self.metrics[key].confusion}
        return {key: self.labels or CONVENTIONS[self.kind].names[entry.classes or 0] for key, entry in shown.items()}

    @cached_property
    def checkpoints(self) -> dict[str, bool]:
        """The metrics that have a checkpoint of their own on the test split, and whether larger is better."""
        return {key: self.metrics[key].better == "higher" for key in sorted(set(self.selected_by.values()))}

    def error(self, values: Mapping[str, float]) -> float:
        """Return what schedules minimise: the value of the metric of ``selection``, or 1 minus it.

        Parameters
        ----------
        values : mapping of str to float
            Of ``score``, on the validation split.
        """
        name, larger_is_better = self.selection
        return 1 - values[name] if larger_is_better else values[name]


def emotion_family_name(classes: Sequence[str]) -> str:
    """Name the metric family of a classification: "emotion:" and the class names in the order of their numbers.

    Raises
    ------
    ElisionError
        If there are fewer than two, one is the name of two classes, is empty or holds a comma or a colon.
    """
    if len(classes) < 2:
        raise ElisionError(f"{len(classes)} class names ({', '.join(classes)}): a classification needs two or more")
    for name in classes:
        if not name or "," in name or ":" in name or list(classes).count(name) > 1:
            raise ElisionError(f"class name {name!r}: is empty, holds , or :, or names two classes; rename the class")
    return f"{EMOTION}:{','.join(classes)}"


def family_name(corpus: str, classes: Sequence[str]) -> str:
    """Name the metric family of a dataset: that of its classes where it has some, else that of its corpus.

    Parameters
    ----------
    corpus : str
        Key of ``CORPORA``.
    classes : sequence of str
        In the order of their numbers; empty for scores.
    """
    return emotion_family_name(classes) if classes else _of_scores(corpus)


@lru_cache
def family(name: str) -> Family:
    """Return a metric family.

    Parameters
    ----------
    name : str
        "mosi" or "sims" for scores, or what ``emotion_family_name`` returns, as in "emotion:happy,angry,sad,neutral".

    Raises
    ------
    KeyError
        If there is no such family.
    """
    kind, colon, classes = name.partition(":")
    if kind == EMOTION and colon:
        return Family(kind, tuple(classes.split(",")))
    if name not in CONVENTIONS:
        raise KeyError(name)
    return Family(name)
