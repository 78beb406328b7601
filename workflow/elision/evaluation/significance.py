"""How sure the metrics are: bootstrap intervals over utterances, tests between methods, ranks over conditions.

A resample draws as many clusters (speakers, dialogues, videos, or single utterances) as the test split has, with
replacement, and takes all utterances of a cluster as often as it was drawn. The draws are the same for all methods of a
dataset, so that differences between methods are paired. Only the test utterances are drawn: an interval tells how far a
number would be off with other people, not with other seeds, over which ``aggregate.statistics`` has the deviation.

Intervals and tests are one procedure: a value, its standard error over the resamples, and the t distribution.
Percentiles of the resamples are too narrow for few clusters, and cannot give the small p that many pairs need
(``benchmarks/coverage.py`` measures the coverage of both).

Every metric is a function of sums over utterances (``metrics.Weights``), so that all resamples of all conditions are
products of matrices.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy import special

from elision.corruption.kind import kind_of
from elision.corruption.missing import generator
from elision.errors import ElisionError
from elision.evaluation.aggregate import CONDITION, Predictions, Run, averaged, checked, incomplete, pool
from elision.evaluation.metrics import Family, Weights, metric, weighted
from elision.evaluation.metrics import family as family_of
from elision.progress import track
from elision.settings.params import Statistics, check_cluster
from elision.training.selection import VALID

VIDEO = "$_$"
UTTERANCE = "utterance"
# Fewer clusters than these tell too little of how much clusters differ: the next finer unit is drawn.
FEWEST = 8

# Units from coarse to fine, with the columns that hold them; the last, which is always known, is the utterance.
_UNITS = {
    unit: re.compile(rf"({words})[ _-]?(id|name|no)?", re.IGNORECASE)
    for unit, words in {"speaker": "speaker", "dialogue": "dialog(ue)?|conversation", "video": "video"}.items()
}
# Share of resamples that may be undefined. With more of them, those that are left tell too little.
_UNDEFINED = 0.05
# Numbers in a factor of a product of matrices: 64 MiB. What metrics are made of is computed anew for each block.
_BLOCK = 2**23
# Whole numbers up to this have a float32.
_WHOLE = 2**24
# Where metrics, which are of the order of 1, count as equal.
_EQUAL = 1e-12


@dataclass(frozen=True, eq=False)
class Clusters:
    """The utterances of a test split that are drawn together.

    Attributes
    ----------
    asked : str
        The unit that the params ask for.
    asked_count : int
        How many of them the test split has; 0 where the unit of some utterance is unknown.
    unit : str
        The unit that is drawn: ``asked``, or a finer one.
    names : np.ndarray [shape=(N,), dtype=object]
        Cluster of each utterance.
    """

    asked: str
    asked_count: int
    unit: str
    names: np.ndarray

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return len(set(self.names))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a standard error over the clusters: one fewer than clusters of equal size would give.

        A few large clusters decide a standard error nearly alone. G clusters of n_g utterances are worth
        (sum n_g)^2 / sum n_g^2 equal ones (as in Carter, Schnepel and Steigerwald, Review of Economics and Statistics
        99(4), 2017).
        """
        sizes = np.unique(self.names, return_counts=True)[1]
        return max(float(sizes.sum() ** 2 / (sizes**2).sum()) - 1, 1.0)


def clusters(ids: Sequence[str] | np.ndarray, samples: pd.DataFrame, by: str) -> Clusters:
    """Find the utterances that belong together.

    A unit is drawn if it is known for all utterances, and there are ``FEWEST`` of it or more. Otherwise the next finer
    one is: a speaker's dialogues, their videos, and last single utterances.

    Parameters
    ----------
    ids : sequence of N str
        Utterances of the test split.
    samples : pd.DataFrame
        Columns ``id`` and, if known, ``speaker``, those of dialogues and videos, and the column that ``by`` names.
    by : str
        "speaker", "video", "none" or a column. Where no column has the video of an utterance, it is what is before
        "$_$" in the id, as in MMSA's.

    Returns
    -------
    clusters : Clusters

    Raises
    ------
    ElisionError
        If an utterance is none of the samples, or there is no such column.
    """
    check_cluster(by, samples.columns)
    if unknown := sorted(set(ids) - set(samples["id"])):
        raise ElisionError(
            f'sample "{unknown[0]}" has predictions, but is not in samples.parquet; delete the predictions and run '
            "evaluate again"
        )
    if by in ("none", "id"):
        return Clusters(UTTERANCE, len(ids), UTTERANCE, np.asarray(ids, object))
    rows = samples.set_index("id").loc[list(ids)]
    kind = next((unit for unit, pattern in _UNITS.items() if pattern.fullmatch(by)), "")
    finer = list(_UNITS)[list(_UNITS).index(kind) + 1 :] if kind else list(_UNITS)
    chain = {unit: _names(unit, rows) for unit in (by, *finer)}
    counts = {unit: 0 if pd.isna(names).any() else len(set(names)) for unit, names in chain.items()}
    unit = next((unit for unit, count in counts.items() if count >= FEWEST), UTTERANCE)
    return Clusters(by, counts[by], unit, np.asarray(chain.get(unit, ids), object))


def _names(unit: str, rows: pd.DataFrame) -> np.ndarray:
    """Return the unit of each utterance: of the column of this name, or of one that holds such units; None: unknown."""
    pattern = _UNITS.get(unit)
    if column := next((name for name in rows if name == unit or (pattern and pattern.fullmatch(name))), None):
        return rows[column].to_numpy(object)
    of_id = [name.rpartition(VIDEO)[0] if unit == "video" else "" for name in rows.index]
    return np.array([name or None for name in of_id], object)


def draw(count: int, *, resamples: int, key: Sequence[int | str]) -> np.ndarray:
    """Draw clusters with replacement.

    Parameters
    ----------
    count : int
        Clusters; each resample draws as many.
    resamples : int
    key : sequence of int or str
        What the draws depend on, besides ``count``.

    Returns
    -------
    times : np.ndarray [shape=(resamples, count), dtype=uint16]
        How often each cluster was drawn.
    """
    random = generator(*key)
    rows = (np.bincount(random.integers(count, size=count), minlength=count) for _ in range(resamples))
    return np.stack([row.astype(np.uint16) for row in rows])


class Resamples(Weights):
    """Utterances of each cluster count as often as the cluster was drawn.

    The sums are exact, apart from a rounding of the values of each cluster to 2^-52, so that they do not depend on the
    order in which a matrix product adds: on the number of threads, or on the processor.

    Parameters
    ----------
    names : np.ndarray [shape=(N,)]
        Cluster of each utterance.
    times : np.ndarray [shape=(R, clusters)]
        Clusters are in sorted order.
    """

    def __init__(self, names: np.ndarray, times: np.ndarray) -> None:
        order = np.argsort(names, kind="stable")
        starts = np.unique(names[order], return_index=True)[1]
        self._order = None if (order == np.arange(len(order))).all() else order
        self._starts = None if len(starts) == len(order) else starts
        self._times = times.astype(np.float64)
        most = (self._times @ np.diff(starts, append=len(order))).max(initial=0)
        self._counts = self._times.astype(np.float32) if most < _WHOLE else self._times

    def total(self, values: np.ndarray) -> np.ndarray:
        """Add up values of utterances; see ``Weights``."""
        if values.dtype == bool:  # in half of the bits, and as exactly
            return (self._counts @ self._by_cluster(values, self._counts.dtype).T).astype(np.float64)
        sums = self._by_cluster(values, np.float64)
        # Sums of multiples of 2^-20 fit into a float64 up to 2^33, and those of what is left, being small, too.
        coarse = np.rint(sums * 2**20) / 2**20
        if (coarse == sums).all():
            return self._times @ coarse.T
        return self._times @ coarse.T + self._times @ (np.rint((sums - coarse) * 2**52) / 2**52).T

    def _by_cluster(self, values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
        """Add up the values of the utterances of each cluster."""
        values = values if self._order is None else values[:, self._order]
        return values.astype(dtype) if self._starts is None else np.add.reduceat(values, self._starts, 1, dtype=dtype)

    def moments(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return variances and covariance; see ``Weights``."""
        a, b = _centred(a), _centred(b)
        count = self.total(np.ones((1, a.shape[1]), bool))
        sum_a, sum_b, square_a, square_b = (self.total(values) for values in (a, b, a**2, b**2))

        def variance(total: np.ndarray, square: np.ndarray) -> np.ndarray:
            found = square - total**2 / count
            # What is left of equal values is the rounding of their difference.
            return np.where(found > _EQUAL * square, found, 0) / (count - 1)

        covariance = (self.total(a * b) - sum_a * sum_b / count) / (count - 1)
        return variance(sum_a, square_a), covariance, variance(sum_b, square_b)


def _centred(values: np.ndarray) -> np.ndarray:
    """Take the mean of all utterances from values [shape=(K, N)], so that squares lose no digits."""
    values = values - values[:, :1]  # exactly 0 where all are the same
    return values - values.mean(1, keepdims=True)


def standard_error(resampled: np.ndarray, count: int) -> np.ndarray:
    """Clustered bootstrap standard error: the deviation over resamples, times sqrt(G / (G - 1)) for G clusters.

    Of a mean over clusters of equal size, that is the usual standard error.

    Parameters
    ----------
    resampled : np.ndarray [shape=(R, ...)]
        Undefined ones are left out.
    count : int
        Clusters, two or more.

    Returns
    -------
    error : np.ndarray [shape=(...)]
        0 where all resamples are the same, and nan where more than 5 % of them are undefined.
    """
    undefined = np.isnan(resampled)
    if not undefined.any():  # what is below, found without copies
        error = resampled.std(0, ddof=1)
    else:
        number = (~undefined).sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(undefined, 0, resampled).sum(0) / number
            error = np.sqrt((np.where(undefined, 0, resampled - mean) ** 2).sum(0) / (number - 1))
        error = np.where(undefined.mean(0) > _UNDEFINED, np.nan, error)
    error = error * np.sqrt(count / max(count - 1, 1))
    return np.where(error <= _EQUAL, 0.0, error)  # nan stays nan


def interval(
    value: np.ndarray,
    error: np.ndarray,
    freedom: float,
    confidence: float | np.ndarray,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a value: the values that the test of ``p_value`` does not reject.

    Parameters
    ----------
    value, error : np.ndarray [shape=(...)]
    freedom : float
        Degrees of freedom; see ``Clusters``.
    confidence : float or np.ndarray [shape=(...)]
    limits : tuple of float
        Of what a value can be: the ends are not beyond.

    Returns
    -------
    low, high : np.ndarray [shape=(...)]
        nan where the value or its error is.
    """
    reach = -special.stdtrit(freedom, (1 - np.asarray(confidence)) / 2) * error
    return np.maximum(value - reach, limits[0]), np.minimum(value + reach, limits[1])


def p_value(difference: np.ndarray, error: np.ndarray, freedom: float) -> np.ndarray:
    """Test whether a difference is 0: a two-sided t test on its clustered bootstrap standard error.

    p is below 1 minus a confidence exactly where the ``interval`` of that confidence leaves 0 out. For a mean over
    single utterances, such as MAE, this is the paired t test. Other than the share of resamples beyond 0, p can be as
    small as Holm's correction for many pairs needs, whatever the number of resamples.

    Parameters
    ----------
    difference, error : np.ndarray [shape=(...)]
    freedom : float
        Degrees of freedom; see ``Clusters``.

    Returns
    -------
    p : np.ndarray [shape=(...)]
        1 for methods whose predictions score the same in all resamples.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(freedom, -np.abs(difference) / error)
    same = np.where(np.abs(difference) <= _EQUAL, 1.0, 0.0)
    return np.where(np.isnan(difference) | np.isnan(error), np.nan, np.where(error > 0, p, same))


def holm(p: np.ndarray) -> np.ndarray:
    """Find by what Holm's correction (1979), step down, multiplies the p of several tests; nan is no test.

    Parameters
    ----------
    p : np.ndarray [shape=(tests,)]

    Returns
    -------
    factor : np.ndarray [shape=(tests,)]
        1 or more. A test is significant at a level if ``p * factor`` is below it: then the chance that any true null
        hypothesis of them is rejected is at most that level. The interval of confidence ``1 - level / factor`` leaves
        0 out exactly where the test is significant.

    Examples
    --------
    >>> p = np.array([0.01, 0.04, 0.03])
    >>> (p * holm(p)).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    left = np.count_nonzero(~np.isnan(p)) - np.arange(len(p))
    factor = np.empty_like(p)
    with np.errstate(invalid="ignore", divide="ignore"):
        stepped = np.maximum.accumulate(p[order] * left) / p[order]
    factor[order] = np.where(p[order] == 0, left, stepped)
    return factor


def summaries(conditions: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Give the rows of conditions, and their weights, of which each summary is the weighted sum.

    A kind of corruption says how its conditions are summarised. ``mean_random`` and ``mean_absent`` are means over the
    missing rates, and over the sets of absent modalities (none is not one of them). ``area_random`` is NIAT's AUILC
    over the range of the rates: the area under the metric over the missing rates r_i that were evaluated, by
    trapezoids, sum of (m_i + m_{i+1}) / 2 * (r_{i+1} - r_i), divided by the last rate minus the first. A metric of 1 at
    all rates has an area of 1.

    Parameters
    ----------
    conditions : pd.DataFrame
        Columns ``corruption``, ``level`` and ``modalities``, and, if known, ``empty`` (see ``aggregate.averaged``: what
        is left out there is in no mean, but in the area).

    Returns
    -------
    summaries : dict of str to (rows, weights)
        By the summary and the corruption. Those for which there are not enough conditions are left out.
    """
    counted = incomplete(conditions)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for corruption, of in counted.groupby("corruption"):
        levels = of["level"].sort_values(kind="stable")
        rows, steps = levels.index.to_numpy(), np.diff(levels)
        in_mean = rows[np.isin(rows, averaged(of).index)]
        for summary in kind_of(str(corruption)).summaries:
            if summary == "mean":
                found[f"mean_{corruption}"] = in_mean, np.full(len(in_mean), 1 / len(in_mean))
            elif steps.sum() > 0:
                areas = (np.append(0, steps) + np.append(steps, 0)) / 2
                found[f"area_{corruption}"] = rows, areas / steps.sum()
    return found


def ranks(values: np.ndarray, *, better: str, confidence: float) -> tuple[np.ndarray, float, float]:
    """Average ranks of methods over conditions, with Nemenyi's critical difference (Demsar, JMLR 7, 2006).

    Two methods differ if their average ranks do by more than q sqrt(k (k + 1) / (6 n)), for k methods and n conditions,
    with q the studentised range over sqrt(2). Conditions are taken to be independent, as data sets are; those of one
    test set are not, so both that and p promise too much.

    Parameters
    ----------
    values : np.ndarray [shape=(conditions, methods)]
        Conditions with nan are left out.
    better : str
        "higher" or "lower".
    confidence : float

    Returns
    -------
    average : np.ndarray [shape=(methods,)]
        1 is best; equal values share their mean rank.
    critical : float
    p : float
        Of Friedman's test that all methods rank the same (chi-squared, corrected for ties); nan for two methods or one
        condition.
    """
    values = values[~np.isnan(values).any(1)]
    count, methods = values.shape
    if not count or methods < 2:
        return np.full(methods, np.nan), np.nan, np.nan
    from scipy import stats  # takes a second

    ranked = stats.rankdata(values if better == "lower" else -values, axis=1)
    quantile = stats.studentized_range.ppf(confidence, methods, np.inf) / np.sqrt(2)
    p = np.nan
    if methods > 2 and count > 1:
        p = 1.0 if np.ptp(ranked, axis=1).max() == 0 else stats.friedmanchisquare(*ranked.T).pvalue
    return ranked.mean(0), float(quantile * np.sqrt(methods * (methods + 1) / (6 * count))), float(p)


def significance(
    tables: Iterable[Predictions], samples: Mapping[str, pd.DataFrame], settings: Statistics
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute intervals of all metrics, and compare all methods with each other, under every condition.

    A resample's value is the mean over seeds of the metric on the same utterances; with folds, on those of all folds of
    a seed, pooled. ``summaries`` are made in each resample.

    Parameters
    ----------
    tables : iterable of (dataset, family, method, run, predictions)
        As for ``aggregate``. The order of tables and rows does not change a bit of the result.
    samples : mapping of str to pd.DataFrame
        Columns ``id`` and, if known, ``speaker`` of each dataset.
    settings : Statistics

    Returns
    -------
    intervals : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``corruption`` (or a summary, with level nan and no modalities),
        ``level``, ``modalities``, ``empty`` (as in ``aggregate``; nan for a summary), ``metric`` (those with a
        direction), ``value``, ``low``, ``high``, ``seeds``,
        ``samples`` (utterances of the test split), ``asked`` (the unit that the settings name), ``asked_clusters`` (how
        many of them there are; 0: unknown), ``cluster`` (the unit that was drawn), ``clusters`` (how many),
        ``freedom`` (degrees of freedom), ``resamples``, ``confidence`` and ``on_test`` (a checkpoint was chosen on the
        test split). Of a single cluster, and where ``standard_error`` has none, ``low`` and ``high`` are nan.
    comparisons : pd.DataFrame
        Columns ``dataset``, ``corruption``, ``level``, ``modalities``, ``metric`` (F1, that beside it, correlation),
        ``method`` and ``other`` (each pair once), ``difference`` (the first minus the other), ``low``, ``high``, ``p``
        (of ``p_value``; nan where there is no interval), ``low_holm``, ``high_holm``, ``p_holm`` (corrected over the
        pairs of this dataset, condition and metric), and the last nine of ``intervals``. An interval leaves 0 out
        exactly where the p of the same name is below 1 minus ``confidence``.

    Raises
    ------
    ElisionError
        Of ``aggregate``, or if methods have predictions of different samples.
    """
    found = [
        _resample(dataset, family, methods, samples[dataset], settings)
        for dataset, (family, methods) in _by_dataset(tables).items()
    ]
    return _table(found, _intervals, _INTERVALS), _table(found, _comparisons, _COMPARISONS)


_MADE = ["samples", "asked", "asked_clusters", "cluster", "clusters", "freedom", "resamples", "confidence", "on_test"]
_INTERVALS = ["dataset", "family", "method", *CONDITION, "empty", "metric", "value", "low", "high", "seeds", *_MADE]
_COMPARISONS = ["dataset", *CONDITION, "metric", "method", "other", "difference", "low", "high", "p"]
_COMPARISONS += ["low_holm", "high_holm", "p_holm", *_MADE]


@dataclass(frozen=True)
class _Values:
    """Values of one dataset [shape=(methods, metrics, 1 + resamples, conditions)]; the first are those of the test set.

    ``conditions`` has a row for each summary, too.
    """

    dataset: str
    family: str
    seeds: dict[str, int]
    metrics: list[str]
    conditions: pd.DataFrame
    values: np.ndarray
    on_test: np.ndarray
    made: dict


def _by_dataset(tables: Iterable[Predictions]) -> dict[str, tuple[str, dict[str, list[Run]]]]:
    """Family, and of each method one run per seed, folds pooled; all of a dataset have the same utterances."""
    parts: dict[str, dict[str, dict[int, dict[str, Run]]]] = {}
    families = {}
    for (dataset, family, method, _, seed, fold), run in checked(tables):
        families[dataset] = family
        parts.setdefault(dataset, {}).setdefault(method, {}).setdefault(seed, {})[fold] = run
    found = {}
    for dataset, methods in sorted(parts.items()):
        pooled = {
            method: [pool(folds, f"{dataset}/{method}/seed-{seed}") for seed, folds in sorted(seeds.items())]
            for method, seeds in sorted(methods.items())
        }
        (name, (first, *_)), *_ = pooled.items()
        for method, runs in pooled.items():
            if not all(np.array_equal(r.ids, first.ids) and np.array_equal(r.label, first.label) for r in runs):
                raise ElisionError(
                    f"predictions of {dataset}/{method} and of {dataset}/{name} have different samples, folds or "
                    "labels; delete both and run evaluate again"
                )
        found[dataset] = families[dataset], pooled
    return found


def _by_checkpoint(runs: list[Run], family: Family, metrics: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Group metrics by the checkpoint of each run that they are read from."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name in metrics:
        chosen = family.selected_by[name]
        read = tuple(chosen if chosen in set(run.keys["checkpoint"]) else VALID for run in runs)
        found.setdefault(read, []).append(name)
    return found


def _resample(
    dataset: str, family: str, methods: dict[str, list[Run]], samples: pd.DataFrame, settings: Statistics
) -> _Values:
    known = family_of(family)
    metrics = list(known.directed)
    first = next(iter(methods.values()))[0]
    conditions = first.keys[CONDITION].assign(empty=first.empty / len(first.ids))
    conditions = conditions.drop_duplicates(CONDITION, ignore_index=True)
    drawn_by = clusters(first.ids, samples, settings.cluster_of(dataset))
    names, count = drawn_by.names, drawn_by.count
    drawn = draw(count, resamples=settings.resamples, key=(settings.seed, "bootstrap", dataset))
    times = np.concatenate([np.ones((1, count), drawn.dtype), drawn])
    values = np.empty((len(methods), len(metrics), len(times), len(conditions)))
    on_test = np.empty(values.shape[:2], bool)
    rows = max(1, _BLOCK // count)
    for start in track(range(0, len(times), rows), f"bootstrap {dataset}"):
        block = slice(start, start + rows)
        weights = Resamples(names, times[block])
        for i, runs in enumerate(methods.values()):
            for read, keys in _by_checkpoint(runs, known, metrics).items():
                prediction = np.concatenate(
                    [run.prediction[run.keys["checkpoint"] == of] for run, of in zip(runs, read, strict=True)]
                )
                scores = weighted(prediction, first.label, family, weights=weights, keys=keys)
                for key, value in scores.items():
                    values[i, metrics.index(key), block] = value.reshape(len(value), len(runs), -1).mean(1)
                    on_test[i, metrics.index(key)] = any(checkpoint != VALID for checkpoint in read)
    made_of = summaries(conditions)
    if made_of:
        parts = [(values[..., rows] * weights).sum(-1, keepdims=True) for rows, weights in made_of.values()]
        values = np.concatenate([values, *parts], axis=-1)
        extra = pd.DataFrame({"corruption": list(made_of), "level": np.nan, "modalities": ""})
        conditions = pd.concat([conditions, extra], ignore_index=True)
    if count == 1:
        values[:, :, 1:] = np.nan
    made = {
        "samples": len(names),
        "asked": drawn_by.asked,
        "asked_clusters": drawn_by.asked_count,
        "cluster": drawn_by.unit,
        "clusters": count,
        "freedom": drawn_by.freedom,
        "resamples": settings.resamples,
        "confidence": settings.confidence,
    }
    seeds = {method: len(runs) for method, runs in methods.items()}
    return _Values(dataset, family, seeds, metrics, conditions, values, on_test, made)


def _intervals(found: _Values) -> pd.DataFrame:
    """Make the rows of one dataset: by method, metric and condition."""
    methods, metrics, _, conditions = found.values.shape
    low, high = (np.empty((methods, metrics, conditions)) for _ in range(2))
    for each in np.ndindex(methods, metrics):
        values, ends = found.values[each], metric(found.metrics[each[1]]).ends
        error = standard_error(values[1:], found.made["clusters"])
        low[each], high[each] = interval(values[0], error, found.made["freedom"], found.made["confidence"], ends)
    numbers = {"value": found.values[:, :, 0], "low": low, "high": high, "on_test": found.on_test[..., None]}
    labels: dict[str, tuple[int, list]] = {"method": (0, list(found.seeds)), "metric": (1, found.metrics)}
    labels["seeds"] = 0, list(found.seeds.values())
    return _rows(found, (methods, metrics), labels, numbers).assign(family=found.family)


def _comparisons(found: _Values) -> pd.DataFrame:
    """Make the rows of one dataset: by metric, pair of methods and condition."""
    names, compared = list(found.seeds), list(family_of(found.family).compared)
    first, second = np.array(list(combinations(range(len(names)), 2)), int).reshape(-1, 2).T
    of = [found.metrics.index(name) for name in compared]
    shape = len(compared), len(first), len(found.conditions)
    difference, error = (np.empty(shape) for _ in range(2))
    for k, (metric_at, number) in enumerate(product(of, range(len(first)))):
        each = divmod(k, len(first))
        differences = found.values[first[number], metric_at] - found.values[second[number], metric_at]
        difference[each], error[each] = differences[0], standard_error(differences[1:], found.made["clusters"])
    freedom, level = found.made["freedom"], 1 - found.made["confidence"]
    p = p_value(difference, error, freedom)
    factor = np.empty(shape)
    for at in np.ndindex(shape[0], shape[2]):
        factor[at[0], :, at[1]] = holm(p[at[0], :, at[1]])
    numbers = {"difference": difference, "p": p, "p_holm": np.minimum(p * factor, 1)}
    numbers["low"], numbers["high"] = interval(difference, error, freedom, 1 - level)
    numbers["low_holm"], numbers["high_holm"] = interval(difference, error, freedom, 1 - level / factor)
    numbers["on_test"] = (found.on_test[first] | found.on_test[second])[:, of].T[..., None]
    labels: dict[str, tuple[int, list]] = {
        "metric": (0, compared),
        "method": (1, [names[i] for i in first]),
        "other": (1, [names[j] for j in second]),
    }
    return _rows(found, shape[:2], labels, numbers)


def _rows(
    found: _Values, outer: tuple[int, int], labels: dict[str, tuple[int, list]], numbers: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Make a row for each of ``outer`` and each condition; labels are along one of its axes."""
    count = len(found.conditions)
    places = np.indices((*outer, count)).reshape(3, -1)
    columns = found.conditions.iloc[places[2]].reset_index(drop=True)
    named = {name: pd.Series(values).take(places[axis]).to_numpy() for name, (axis, values) in labels.items()}
    shaped = {name: np.broadcast_to(values, (*outer, count)).ravel() for name, values in numbers.items()}
    return columns.assign(dataset=found.dataset, **named, **shaped, **found.made)


def _table(found: list[_Values], rows: Callable[[_Values], pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    parts = [part for part in map(rows, found) if len(part)]
    if not parts:
        return pd.DataFrame(columns=columns)
    keys = [name for name in columns if name in ("dataset", *CONDITION, "metric", "method", "other")]
    return pd.concat(parts)[columns].sort_values(keys, ignore_index=True)
