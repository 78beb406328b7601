"""Samples of which nothing is left, whose predictions are constants whatever a method has learnt.

Where an utterance is one vector per modality, a missing rate of 0.9 leaves nothing of 73 % of the samples. Means are
over the levels at which this holds for no more than a tenth of the samples (``aggregate.averaged``).
"""

import pandas as pd

from elision.corruption.kind import Kind
from elision.evaluation.aggregate import MOST_EMPTY, averaged
from elision.report.words import sign


def shares(metrics: pd.DataFrame, kind: Kind) -> pd.Series:
    """Return the share of empty samples at each level of a kind, of one dataset; nothing without levels or shares."""
    rows = metrics[metrics["corruption"].isin(list(kind.corruptions))]
    return rows.groupby("level")["empty"].max() if kind.level and "empty" in rows else pd.Series(dtype=float)


def left_out(metrics: pd.DataFrame, kind: Kind) -> pd.Series:
    """Return the shares of empty samples at the levels that no mean over the levels of a kind has, of one dataset."""
    rows = metrics[metrics["corruption"].isin(list(kind.corruptions))]
    found = shares(rows, kind)
    return found[~found.index.isin(averaged(rows)["level"])]


def listed(levels: pd.Series, kind: Kind) -> str:
    """Print levels, as in "r = 0.5 to 0.9"; ``levels`` has all those of the kind, and True where they are meant."""
    numbers = [f"{level:g}" for level in levels.index[levels]]
    together = len(numbers) > 2 and levels.astype(int).diff().abs().sum() <= 1
    return f"{sign(kind)} = {f'{numbers[0]} to {numbers[-1]}' if together else ', '.join(numbers)}"


def percent(found: pd.Series) -> str:
    """Print the least and the most of some shares, as in "12 to 73 %"."""
    ends = list(dict.fromkeys(f"{100 * share:.0f}" for share in (found.min(), found.max())))
    return f"{' to '.join(ends)} %"


def sentences(metrics: pd.DataFrame, kind: Kind) -> list[str]:
    """Say which levels of a kind are in no mean of a dataset, or that all are in spite of their empty samples."""
    every, out = shares(metrics, kind), left_out(metrics, kind)
    if len(out):
        where = listed(every.index.to_series().isin(out.index), kind)
        return [
            f"At {where}, {percent(out)} of the samples have nothing left, of any modality.",
            f"No mean over {kind.condition}s includes these {kind.condition}s.",
        ]
    if len(every) and (every > MOST_EMPTY).all():
        return [f"At every {kind.condition}, {percent(every)} of the samples have nothing left, of any modality."]
    return []
