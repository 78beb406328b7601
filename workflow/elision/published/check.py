"""Arithmetic on printed tables: what cannot be right, whoever printed it.

Four checks, each of which names values and says why:

- ``average``: an average is not that of the numbers that are printed for it;
- ``copied``: a column stands a second time, where another dataset or other conditions should;
- ``outlier``: at one missing rate, a value is far above, or far below, those at both neighbouring rates;
- ``swapped_f1``: F1 is higher than that of any predictor with the accuracy beside it can be, as it is where the
  arguments of F1 were swapped.

What is wrong in a column is wrong in its average, so that is named, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from elision.corruption.kind import kind_of, kinds
from elision.published import AREAS, AVERAGES, WHERE, errata

# F1, the accuracy from the same predictions, and the share of the largest class of the test split in both.
LARGEST_CLASS = {
    ("mosi", "f1_negpos"): ("acc2_negpos", 379 / 656),
    ("mosi", "f1_nonneg"): ("acc2_nonneg", 379 / 686),
    ("mosei", "f1_negpos"): ("acc2_negpos", 2284 / 3634),
    ("mosei", "f1_nonneg"): ("acc2_nonneg", 3309 / 4659),
    ("sims", "f1"): ("acc2", 317 / 457),
}
# The one value of LNLN's tables that is known to be wrong in this way is off by 0.33, the next by 0.034.
_FAR = 0.1
# As many numbers in a row are no coincidence: in LNLN's tables none stand twice in a run of 3 to 5.
_RUN = 6
# Accuracy and F1 were both rounded twice: in each run, and in print. Of the last printed decimal:
_ROUNDED = 4 * 0.5

_SERIES = ["source", "method", "dataset", "metric", "corruption"]


@dataclass(frozen=True, order=True)
class Finding:
    """What cannot be right: a check, and where (patterns, as in ``errata.csv``); ``why`` is for people."""

    check: str
    source: str
    table: str
    method: str
    dataset: str
    corruption: str
    level: str
    modalities: str
    metric: str
    why: str = field(compare=False)


def findings(numbers: pd.DataFrame) -> list[Finding]:
    """Run every check.

    Parameters
    ----------
    numbers : pd.DataFrame
        Of ``elision.published.load``.

    Returns
    -------
    findings : list of Finding
        Sorted.
    """
    return sorted([*_averages(numbers), *_copies(numbers), *_outliers(numbers), *_swapped_f1(numbers)])


def known() -> list[Finding]:
    """Return the errata that a check finds, as findings."""
    listed = errata()
    return sorted(
        Finding(*row) for row in listed[listed["check"] != ""][["check", *WHERE, "why"]].itertuples(index=False)
    )


def unexpected(found: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Compare findings with the errata: those that are no erratum, and errata that were not found."""
    listed = known()
    return [f for f in found if f not in listed], [f for f in listed if f not in found]


def _series(numbers: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    """Rows of each series, in the order of print, by source, method, dataset, metric and corruption."""
    return dict(iter(numbers.groupby(_SERIES, sort=False)))


def _average(series: dict[tuple[str, ...], pd.DataFrame], key: tuple[str, ...]) -> Iterator[pd.Series]:
    """Give the printed averages over a series."""
    for name, (corruption, _) in AVERAGES.items():
        if corruption == key[-1] and (rows := series.get((*key[:-1], name))) is not None:
            yield from (row for _, row in rows.iterrows())


def _at(check: str, row: pd.Series, why: str) -> Finding:
    level = "" if np.isnan(row["level"]) else f"{row['level']:g}"
    return Finding(check, **{name: row[name] for name in WHERE if name != "level"}, level=level, why=why)


def _averages(numbers: pd.DataFrame) -> Iterator[Finding]:
    series = _series(numbers)
    for key, rows in series.items():
        corruption, count = AVERAGES.get(key[-1], ("", 0))
        parts = series.get((*key[:-1], corruption))
        if parts is None:
            continue
        parts = parts[parts["level"] > 0] if kind_of(corruption).sets else parts
        for _, row in rows.iterrows():
            values = parts if np.isnan(row["level"]) else parts[parts["level"] == row["level"]]
            mean = values["value"].mean()
            allowed = 0.5 * (10.0 ** -row["decimals"] + 10.0 ** -values["decimals"].max())
            if len(values) == count and abs(mean - row["value"]) > allowed + 1e-9:
                yield _at("average", row, f"printed {row['value']:g}, mean of its {count} numbers {mean:.4f}")


def _copies(numbers: pd.DataFrame) -> Iterator[Finding]:
    """Name each series that equals an earlier one, or a run of numbers within it."""
    series = _series(numbers)
    seen: dict[tuple, pd.Series] = {}
    for key, rows in series.items():
        values, size = tuple(rows["value"]), len(rows)
        if key[-1] in AVERAGES:
            continue
        if (first := seen.get((key[0], values))) is not None:
            why = f"the numbers of {first['method']} on {first['dataset']}, table {first['table']}"
            yield replace(_at("copied", rows.iloc[0], why), level="*", modalities="*")
            yield from (_at("copied", row, f"average of {why}") for row in _average(series, key))
        runs = (values[i:j] for i in range(size) for j in range(i + _RUN, size + 1))
        seen.update({(key[0], run): rows.iloc[0] for run in runs if (key[0], run) not in seen})


def _outliers(numbers: pd.DataFrame) -> Iterator[Finding]:
    series = _series(numbers)
    over_levels = {name for kind in kinds().values() if kind.level and not kind.sets for name in kind.corruptions}
    for key, rows in series.items():
        if key[-1] not in over_levels:
            continue
        rows = rows.sort_values("level")
        values = rows["value"].to_numpy()
        before, here, after = values[:-2], values[1:-1], values[2:]
        off = np.maximum(here - np.maximum(before, after), np.minimum(before, after) - here)
        for i in np.flatnonzero(off > _FAR) + 1:
            why = f"{values[i]:g} between {values[i - 1]:g} and {values[i + 1]:g} at the neighbouring rates"
            yield _at("outlier", rows.iloc[i], why)
            yield from (_at("outlier", row, f"average with {why}") for row in _average(series, key))


def highest_f1(accuracy: np.ndarray, largest: float) -> np.ndarray:
    """Bound the weighted F1 of two classes, given the accuracy.

    The bound holds for a single predictor and for means over runs: it is the concave envelope, over the accuracies, of
    the highest F1 of all confusion matrices that have the accuracy.

    Parameters
    ----------
    accuracy : np.ndarray [shape=(N,)]
    largest : float
        Share of the larger class in the labels.

    Returns
    -------
    bound : np.ndarray [shape=(N,)]
    """
    smaller = 1 - largest
    grid, share = np.meshgrid(np.linspace(0, 1, 501), np.linspace(0, 1, 501), indexing="ij")
    low, high = np.maximum(0, grid - smaller), np.minimum(largest, grid)
    first = low + share * (high - low)  # right answers of the larger class, as a share of all samples
    second = grid - first
    f1 = largest * 2 * first / (largest + first + smaller - second)
    f1 += smaller * 2 * second / (smaller + second + largest - first)
    # The lowest of the straight lines that are above all.
    slopes = np.linspace(-1, 3, 8001)[:, None]
    heights = (f1.max(axis=1) - slopes * grid[:, 0]).max(axis=1, keepdims=True)
    return (heights + slopes * np.asarray(accuracy)).min(axis=0)


def _swapped_f1(numbers: pd.DataFrame) -> Iterator[Finding]:
    place = [name for name in WHERE if name != "metric"]
    for (dataset, f1), (accuracy, largest) in LARGEST_CLASS.items():
        rows = numbers[numbers["dataset"] == dataset]
        beside = rows[rows["metric"] == accuracy][[*place, "value"]]
        both = rows[rows["metric"] == f1].merge(beside, on=place, suffixes=("", "_accuracy"))
        if both.empty:
            continue
        # An area divided by its range is a mean over runs.
        span = both["level"].where(both["corruption"].isin(AREAS), 1.0)
        value, right = both["value"] / span, both["value_accuracy"] / span
        rounded = _ROUNDED * 10.0 ** -both["decimals"] / span
        bound = highest_f1(right.to_numpy(), largest)
        swapped = 2 * right / (1 + right)
        both = both.assign(above=value > bound + rounded, constant=(value - swapped).abs() <= rounded)
        for (source, method), cells in both.groupby(["source", "method"], sort=False):
            if not cells["above"].any():
                continue
            why = f"{cells['above'].sum()} of {len(cells)} values are higher than any predictor of that accuracy has"
            if count := int(cells["constant"].sum()):
                why += f"; {count} are 2a/(1+a), that of a constant predictor with swapped arguments"
            yield Finding("swapped_f1", source, "*", method, dataset, "*", "*", "*", f1, why)
