"""What the numbers of a dataset say, as sentences: who is best, by how much, what breaks it down, and who is lazy."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from elision.errors import plural
from elision.evaluation.aggregate import FLOOR, HEADLINES
from elision.evaluation.metrics import Family, metric
from elision.evaluation.metrics import family as family_of
from elision.report import Results
from elision.report.tables import estimate, number
from elision.task import MODALITIES

SIGNIFICANT = 0.05
LAZY = 0.95


def findings(
    results: Results, dataset: str, *, ranked: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> tuple[str, list[tuple[str, list[str]]]]:
    """Sum up a dataset.

    Parameters
    ----------
    results : Results
    dataset : str
    ranked : pd.DataFrame
        Of ``tables.headlines``.
    tables : mapping of str to pd.DataFrame
        ``per_rate`` and ``absent`` are read.

    Returns
    -------
    lead : str
        The sentence that matters most.
    facts : list of (str, list of str)
        What each is about, and its sentences.
    """
    metrics, intervals, comparisons, ranked, rates, absent = (
        table[table["dataset"] == dataset]
        for table in (
            *(results.metrics, results.intervals, results.comparisons),
            *(ranked, tables["per_rate"], tables["absent"]),
        )
    )
    family = family_of(metrics["family"].iloc[0])
    ranked = ranked[(ranked["method"] != FLOOR) & ranked["f1"].notna()]
    if ranked.empty:
        return "No method was evaluated under incomplete data.", []
    best, others = ranked.iloc[0], ranked.iloc[1:]
    facts = {
        "Runner-up": _runner_up(best, others, family.f1, comparisons) if len(others) else [],
        "Loses": _losses(
            *(table.loc[table["method"] == best.method] for table in (rates, absent)), family=family, method=best.method
        ),
        f"Down to {FLOOR}": _falls(rates, intervals, family.f1),
        "Lazy behaviour": _lazy(rates, family),
    }
    return _lead(best, family), [(name, sentences) for name, sentences in facts.items() if sentences]


def percent(share: float) -> str:
    """Print a share as in "95 %"."""
    return f"{100 * share:g} %"


def _points(difference: float, name: str) -> str:
    unit = "points" if metric(name).percent else ""
    return f"{number(abs(difference), name)} {unit}".rstrip()


def _score(mean: float, std: float, name: str) -> str:
    return f"{metric(name).name} {estimate(mean, std, name)}{' %' if metric(name).percent else ''}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _lead(best: pd.Series, family: Family) -> str:
    score = _score(best.f1, best.f1_std, family.f1)
    if family.labels:
        score += f" ({_score(best.second, best.second_std, family.second)})"
    over = plural(int(best.conditions), HEADLINES[best.corruption])
    if np.isnan(best.over_floor):
        return f"{best.method} is best on average over {over}: {score}. There is no {FLOOR} to compare with."
    if best.over_floor > 0:
        above = f"{_points(best.over_floor, family.f1)} above {FLOOR}, the floor"
        return f"{best.method} is best on average over {over}: {score}, {above}."
    under = f"{_points(best.over_floor, family.f1)} under it"
    return f"No method is above the floor on average over {over}: {best.method}, the best, is {under}: {score}."


def _runner_up(best: pd.Series, others: pd.DataFrame, f1: str, comparisons: pd.DataFrame) -> list[str]:
    """Say how far the second is behind, and which methods cannot be told apart from the best."""
    chosen = comparisons[(comparisons["corruption"] == f"mean_{best.corruption}") & (comparisons["metric"] == f1)]
    chosen = chosen[chosen["p_holm"].notna()]
    ahead, behind = chosen[chosen["method"] == best.method], chosen[chosen["other"] == best.method]
    behind = behind.assign(other=behind["method"], low=-behind["high"], high=-behind["low"])
    pairs = pd.concat([ahead, behind]).set_index("other")
    second = others.iloc[0]
    gap = best.f1 - second.f1
    sentence = f"{second.method}, {_points(gap, f1)} behind"
    if not float(number(gap, f1)):
        sentence = f"{second.method}, equal as printed"
    if second.method in pairs.index:
        at = pairs.loc[second.method]
        p = "p < 0.001" if at.p_holm < 0.001 else f"p = {at.p_holm:.3f}"
        ends = f"{number(at.low, f1)} to {number(at.high, f1)}{' points' if metric(f1).percent else ''}"
        verdict = "significant" if at.p_holm < SIGNIFICANT else "not significant"
        sentence += f": {verdict} ({p} after Holm's correction; {percent(at.confidence)} interval {ends})"
    elif gap < np.nanmax([best.f1_std, second.f1_std, -1]):
        sentence += ", less than runs differ by (one standard deviation)"
    sentences = [f"{sentence}."]
    compared = [method for method in others["method"] if method in pairs.index]
    if len(compared) > 1:
        level = [method for method in compared if pairs.loc[method, "p_holm"] >= SIGNIFICANT]
        sentences.append(
            f"Of {len(compared)} others, {_listed(level)} cannot be told apart from {best.method}."
            if level
            else f"{best.method} is significantly better than all {len(compared)} others."
        )
    return sentences


def _losses(rates: pd.DataFrame, absent: pd.DataFrame, *, family: Family, method: str) -> list[str]:
    """Say what a method loses from the lowest to the highest rate, and without single modalities."""
    column = f"{family.f1}_mean"
    sentences = []
    by_rate = rates.set_index("level")[column].sort_index() if column in rates else pd.Series(dtype=float)
    if by_rate.notna().sum() > 1 and by_rate.iloc[[0, -1]].notna().all():
        change, (first, last) = by_rate.iloc[-1] - by_rate.iloc[0], by_rate.index[[0, -1]]
        verb = "loses" if change < 0 else "gains"
        sentences.append(f"From r = {first:g} to r = {last:g}, {method} {verb} {_points(change, family.f1)}.")
    by_set = absent.set_index("absent")[column] if column in absent else pd.Series(dtype=float)
    lost = (by_set.get("none", np.nan) - by_set.reindex(MODALITIES)).dropna()
    if len(lost) > 1 and lost.max() > 0:
        loss = _points(lost.max(), family.f1)
        sentences.append(f"Without {lost.idxmax()} it loses {loss}, more than without any other single modality.")
    return sentences


def _falls(rates: pd.DataFrame, intervals: pd.DataFrame, f1: str) -> list[str]:
    """Name, for each rate, the methods that come down to the floor there for the first time.

    Their intervals do, where all are known, and otherwise their means.
    """
    if rates.empty or FLOOR not in set(rates["method"]):
        return []
    values = rates.pivot(index="level", columns="method", values=f"{f1}_mean")
    floor, values = values[FLOOR], values.drop(columns=FLOOR)
    rows = intervals[(intervals["corruption"] == "random") & (intervals["metric"] == f1)]
    lows = rows.pivot(index="level", columns="method", values="low").reindex_like(values)
    known = not lows.empty and bool(lows.notna().all(axis=None))
    what = f"the {percent(rows['confidence'].iloc[0])} interval of F1" if known else "mean F1"
    where: dict[float, list[str]] = {}
    for method, at in (lows if known else values).items():
        where.setdefault(at.index[at <= floor].min(), []).append(method)
    return [
        *(
            f"{'At no rate' if np.isnan(rate) else f'At r = {rate:g}'}: {_listed(where[rate])}."
            for rate in sorted(where, key=lambda rate: (np.isnan(rate), rate))
        ),
        f"It is where {what} first reaches down to that of {FLOOR}.",
    ]


def _lazy(rates: pd.DataFrame, family: Family) -> list[str]:
    """Name the methods that give one class from some rate on, or the one that comes nearest."""
    share, labels = next(iter(family.confusions.items()))
    rows = rates[rates["method"] != FLOOR]
    if rows.empty:
        return []
    shares = rows.pivot(index="level", columns="method", values=f"{share}_mean")
    what = f"{percent(LAZY)} or more of the predictions in one class of {len(labels)}"
    since = (shares >= LAZY)[::-1].cummin()[::-1]
    lazy = {method: since.index[since[method]].min() for method in shares if since[method].any()}
    if lazy:
        return [f"{method} has {what} from r = {rate:g} on." for method, rate in lazy.items()]
    level, method = shares.stack().idxmax()
    nearest = f"{method} comes nearest, with {number(shares.loc[level, method], share)} % at r = {level:g}"
    return [f"None keeps {what}; {nearest}."]
