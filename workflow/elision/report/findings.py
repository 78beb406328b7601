"""What the numbers of a dataset say, as sentences: who is best, by how much, what breaks it down, and who is lazy."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from elision.corruption.kind import Kind, kind_of
from elision.errors import plural
from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import Family, metric
from elision.evaluation.metrics import family as family_of
from elision.report import certainty, empty
from elision.report.floors import below_floors
from elision.report.results import Results
from elision.report.tables.each_level import EachLevel
from elision.report.tables.each_set import EachSet
from elision.report.text import estimate, number, p_value
from elision.report.words import counted, is_first, sign, unit
from elision.task import MODALITIES

LAZY = 0.95
_LISTED = 6  # methods in the lead


def findings(
    results: Results, dataset: str, *, frames: Mapping[str, pd.DataFrame]
) -> tuple[tuple[str, str], list[tuple[str, list[str]]]]:
    """Sum up a dataset.

    Parameters
    ----------
    results : Results
    dataset : str
    frames : mapping of str to pd.DataFrame
        Tables by name; those of every level and every set of modalities are read.

    Returns
    -------
    lead : tuple of str
        The sentence that matters most, and what follows.
    facts : list of (str, list of str)
        What each is about, and its sentences.
    """
    metrics, intervals, comparisons, ranked = (
        table[table["dataset"] == dataset]
        for table in (results.metrics, results.intervals, results.comparisons, results.ranked)
    )
    family = family_of(metrics["family"].iloc[0])
    ranked = ranked[(ranked["method"] != FLOOR) & ranked["f1"].notna()]
    if ranked.empty:
        return ("No method was evaluated with incomplete data.", ""), list(below_floors(results, dataset).items())
    best, others = ranked.iloc[0], ranked.iloc[1:]
    levels, sets = _of_kinds(EachLevel, frames, dataset), _of_kinds(EachSet, frames, dataset)
    facts: dict[str, list[str]] = {}
    pairs = _pairs(best, family.f1, comparisons)
    facts["Runner-up"] = _runner_up(best, others, family.f1, pairs) if len(others) else []
    facts["Limits"] = certainty.limits(intervals.iloc[0]) if len(intervals) else []
    facts["Empty samples"] = empty.sentences(metrics, kind_of(best.corruption))
    facts |= below_floors(results, dataset)
    facts["Loss"] = []
    for kind, rows in (*levels, *sets):
        lost = (_over_levels if kind.level else _without)(rows[rows["method"] == best.method], kind, family.f1)
        facts["Loss"] += [text if is_first(kind) else f"{kind.caption}: {text}" for text in lost]
    for kind, rows in levels:
        under = "" if is_first(kind) else f", {kind.corruptions[next(iter(kind.corruptions))]}"
        facts[f"Down to {FLOOR}{under}"] = _falls(rows, kind, intervals, family.f1)
        facts[f"Lazy behaviour{under}"] = _lazy(rows, kind, family)
    return _lead(best, others, family, pairs), [(name, sentences) for name, sentences in facts.items() if sentences]


def _of_kinds(
    table: type[EachLevel] | type[EachSet], frames: Mapping[str, pd.DataFrame], dataset: str
) -> list[tuple[Kind, pd.DataFrame]]:
    """Return the kinds of corruption that a dataset was tested under, each with its rows of a table."""
    found = [(each.kind, frames[each.name]) for each in table.each() if each.name in frames]
    of_dataset = ((kind, frame[frame["dataset"] == dataset]) for kind, frame in found)
    return [(kind, rows) for kind, rows in of_dataset if len(rows)]


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


def _pairs(best: pd.Series, f1: str, comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the tested differences of the best method from others, by the other one."""
    chosen = comparisons[(comparisons["corruption"] == f"mean_{best.corruption}") & (comparisons["metric"] == f1)]
    chosen = chosen[chosen["p_holm"].notna()]
    ahead, behind = chosen[chosen["method"] == best.method], chosen[chosen["other"] == best.method]
    behind = behind.assign(other=behind["method"], low_holm=-behind["high_holm"], high_holm=-behind["low_holm"])
    pairs = pd.concat([ahead, behind]).set_index("other")
    return pairs.assign(apart=certainty.significant(pairs["p_holm"], pairs["confidence"]))


def _lead(best: pd.Series, others: pd.DataFrame, family: Family, pairs: pd.DataFrame) -> tuple[str, str]:
    """Say who is best, as far as that is known, and then how good."""
    score = _score(best.f1, best.f1_std, family.f1)
    if family.labels:
        score += f" ({_score(best.second, best.second_std, family.second)})"
    over = counted(best.corruption, int(best.conditions))
    if np.isnan(best.over_floor):
        above = f"{FLOOR}, the floor, was not evaluated"
        return _best(best, others, pairs), f"On average over {over}, {best.method} has {score}. {above}."
    above = f"{_points(best.over_floor, family.f1)} {'above' if best.over_floor > 0 else 'below'} {FLOOR}, the floor"
    mean = f"On average over {over}, {best.method} has {score}, {above}."
    return (_best(best, others, pairs), mean) if best.over_floor > 0 else ("No method is above the floor.", mean)


def _best(best: pd.Series, others: pd.DataFrame, pairs: pd.DataFrame) -> str:
    if others.empty:
        return f"{best.method} is the only method."
    known = [method for method in others["method"] if method in pairs.index]
    if not known:
        return f"{best.method} has the best mean; whether the difference is significant is unknown."
    level = [method for method in others["method"] if method not in known or not pairs.loc[method, "apart"]]
    if not level:
        return f"{best.method} is significantly best."
    names = [best.method, *level]
    if len(names) > _LISTED:
        names = [*names[: _LISTED - 1], plural(len(names) - _LISTED + 1, "other method")]
    return f"No method is significantly best: {', '.join(names)}."


def _runner_up(best: pd.Series, others: pd.DataFrame, f1: str, pairs: pd.DataFrame) -> list[str]:
    """Say how far the second is behind, and which methods cannot be told apart from the best."""
    second = others.iloc[0]
    gap = best.f1 - second.f1
    sentence = f"{second.method}, {_points(gap, f1)} behind"
    if not float(number(gap, f1)):
        sentence = f"{second.method}, with the same printed value"
    if second.method in pairs.index:
        at = pairs.loc[second.method]
        ends = f"{number(at.low_holm, f1)} to {number(at.high_holm, f1)}{' points' if metric(f1).percent else ''}"
        verdict = "significant" if at.apart else "not significant"
        tested = f"{p_value(at.p_holm)}, {percent(at.confidence)} interval {ends}, both after Holm's correction"
        sentence += f": {verdict} ({tested})"
    elif gap < np.nanmax([best.f1_std, second.f1_std, -1]):
        sentence += ", less than one standard deviation over runs"
    sentences = [f"{sentence}."]
    compared = [method for method in others["method"] if method in pairs.index]
    if len(compared) > 1:
        level = [method for method in compared if not pairs.loc[method, "apart"]]
        sentences.append(
            f"No significant difference from {best.method} (of {len(compared)} methods): {_listed(level)}."
            if level
            else f"{best.method} is significantly better than all {len(compared)} other methods."
        )
    return sentences


def _over_levels(rows: pd.DataFrame, kind: Kind, f1: str) -> list[str]:
    """Say what a method loses from the lowest to the highest level."""
    by_level = rows.set_index(kind.column)[f"{f1}_mean"].sort_index()
    if by_level.notna().sum() < 2 or by_level.iloc[[0, -1]].isna().any():
        return []
    change, (first, last) = by_level.iloc[-1] - by_level.iloc[0], by_level.index[[0, -1]]
    verb, method = "loses" if change < 0 else "gains", rows["method"].iloc[0]
    of, to = (f"{sign(kind)} = {level:g}" for level in (first, last))
    return [f"From {of} to {to}, {method} {verb} {_points(change, f1)}."]


def _without(rows: pd.DataFrame, kind: Kind, f1: str) -> list[str]:
    """Say without which single modality a method loses most."""
    by_set = rows.set_index(kind.sets)[f"{f1}_mean"]
    lost = (by_set.get("none", np.nan) - by_set.reindex(MODALITIES)).dropna()
    if len(lost) < 2 or lost.max() <= 0:
        return []
    loss = _points(lost.max(), f1)
    without = f"Without {lost.idxmax()}, {rows['method'].iloc[0]} loses {loss}"
    return [f"{without}, more than without any other single modality."]


def _falls(frame: pd.DataFrame, kind: Kind, intervals: pd.DataFrame, f1: str) -> list[str]:
    """Name, for each level, the methods that come down to the floor there for the first time.

    Their intervals do, where all are known, and otherwise their means.
    """
    if FLOOR not in set(frame["method"]):
        return []
    values = frame.pivot(index=kind.column, columns="method", values=f"{f1}_mean")
    floor, values = values[FLOOR], values.drop(columns=FLOOR)
    rows = intervals[intervals["corruption"].isin(list(kind.corruptions)) & (intervals["metric"] == f1)]
    lows = rows.pivot(index="level", columns="method", values="low").reindex_like(values)
    known = not lows.empty and bool(lows.notna().all(axis=None))
    what = f"the {percent(rows['confidence'].iloc[0])} interval of F1" if known else "mean F1"
    where: dict[float, list[str]] = {}
    for method, at in (lows if known else values).items():
        where.setdefault(at.index[at <= floor].min(), []).append(method)
    return [
        *(
            f"{f'At no {unit(kind)}' if np.isnan(level) else f'At {sign(kind)} = {level:g}'}: {_listed(where[level])}."
            for level in sorted(where, key=lambda level: (np.isnan(level), level))
        ),
        f"At this {unit(kind)}, {what} is first not above the F1 of {FLOOR}.",
    ]


def _lazy(frame: pd.DataFrame, kind: Kind, family: Family) -> list[str]:
    """Name the methods that give one class from some level on, or the one that comes nearest."""
    share, labels = next(iter(family.confusions.items()))
    rows = frame[frame["method"] != FLOOR]
    if rows.empty:
        return []
    shares = rows.pivot(index=kind.column, columns="method", values=f"{share}_mean")
    what = f"{percent(LAZY)} or more of the predictions are one of {len(labels)} classes"
    at = sign(kind)
    since = (shares >= LAZY)[::-1].cummin()[::-1]
    lazy = {method: since.index[since[method]].min() for method in shares if since[method].any()}
    if lazy:
        return [f"{method}: {what} from {at} = {level:g} upwards." for method, level in lazy.items()]
    level, method = shares.stack().idxmax()
    nearest = f"The highest share is {number(shares.loc[level, method], share)} % ({method} at {at} = {level:g})"
    return [f"For no method, {what}. {nearest}."]
