"""Intervals, differences and ranks of ``evaluation.significance``, as tables and figures read them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from elision.corruption.kind import kind_of, kinds
from elision.errors import plural
from elision.evaluation.aggregate import CONDITION, FLOOR, averaged, incomplete
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import metric
from elision.evaluation.significance import ranks as rank
from elision.report import wide as means
from elision.report import words
from elision.report.marks import notes as marks_of
from elision.report.results import Results
from elision.report.text import NAN

# The summaries of conditions, as the column ``corruption`` of intervals names them: summary and corruption of each.
SUMMARIES = {
    f"{summary}_{name}": (summary, name)
    for kind in kinds().values()
    for name in kind.corruptions
    for summary in kind.summaries
}
MADE = ["checkpoints", "seeds", "samples", "asked", "asked_clusters", "cluster", "clusters", "freedom", "resamples"]
MADE += ["confidence"]
# Clusters, and test samples, below which the reader is told that they are few.
_FEW_CLUSTERS = 20
_FEW_SAMPLES = 200


def _order(methods: Sequence[str]) -> list[str]:
    return [*(method for method in methods if method != FLOOR), FLOOR]


def summaries(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """Return the rows of summaries.

    Returns
    -------
    rows : pd.DataFrame
        Those of ``Results.intervals``, with ``summary`` ("mean" or "area"), ``condition`` (see ``words.conditions``),
        ``conditions`` (how many it is made of) and ``checkpoints``.
    """
    rows = results.intervals[results.intervals["method"].isin(_order(methods))]
    single = rows[rows["level"].notna()].drop_duplicates(["dataset", *CONDITION])
    counted = {"mean": averaged(single), "area": incomplete(single)}
    counts = pd.concat({name: of.groupby(["dataset", "corruption"]).size() for name, of in counted.items()})
    chosen = rows[rows["corruption"].isin(list(SUMMARIES))]
    made_of = [SUMMARIES[name] for name in chosen["corruption"]]
    labels = [words.summary(*pair) for pair in made_of]
    keys = pd.MultiIndex.from_arrays([[name for name, _ in made_of], chosen["dataset"], [of for _, of in made_of]])
    return chosen.assign(
        method=pd.Categorical(chosen["method"], _order(methods)),
        summary=[summary for summary, _ in made_of],
        condition=pd.Categorical(labels, list(words.conditions())),
        conditions=counts.reindex(keys).to_numpy(),
        checkpoints=np.where(chosen["on_test"].astype(bool), "TEST", "valid"),
    )


def wide(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Make one row per method.

    Returns
    -------
    frame : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, those of ``by``, ``MADE``, ``conditions``, and per metric with a
        direction ``{metric}_mean``, ``{metric}_low`` and ``{metric}_high``.
    """
    keys = ["dataset", "family", "method", *by]
    groups = rows.groupby(keys, observed=True)
    table = groups[[*MADE, "conditions"]].max()
    table["checkpoints"] = np.where(groups["on_test"].any().astype(bool), "TEST", "valid")
    for name in dict.fromkeys(
        name for family in sorted(rows["family"].unique()) for name in family_of(family).reported
    ):
        values = rows[rows["metric"] == name].set_index(keys)
        if metric(name).better and len(values):
            table[f"{name}_mean"], table[f"{name}_low"] = values["value"], values["low"]
            table[f"{name}_high"] = values["high"]
    return table.reset_index().astype({"method": str, **dict.fromkeys(by, str)})


def ranks(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """Rank the methods under every condition; complete data count once.

    Returns
    -------
    ranks : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``metric`` (F1, and that beside it), ``rank`` (1 is best),
        ``critical_difference`` (Nemenyi), ``p`` (Friedman), ``conditions``, ``confidence`` and ``checkpoints``.
    """
    rows = results.intervals[results.intervals["level"].notna() & results.intervals["method"].isin(_order(methods))]
    tables = []
    for (dataset, family), of_dataset in rows.groupby(["dataset", "family"]):
        complete = (of_dataset["level"] == 0) & (of_dataset["modalities"] == "")
        first = min(of_dataset.loc[complete, "corruption"], key=lambda name: kind_of(name).rank, default="")
        of_dataset = of_dataset[~complete | (of_dataset["corruption"] == first)]
        for name in (family_of(family).f1, family_of(family).second):
            chosen = of_dataset[of_dataset["metric"] == name]
            values = chosen.pivot(index=CONDITION, columns="method", values="value")
            values = values[[method for method in _order(methods) if method in values]].dropna()
            confidence = chosen["confidence"].iloc[0]
            average, critical, p = rank(values.to_numpy(), better=metric(name).better, confidence=confidence)
            on_test = chosen.groupby("method")["on_test"].any()[values.columns]
            table = pd.DataFrame({"dataset": dataset, "family": family, "method": values.columns, "metric": name})
            table = table.assign(rank=average, critical_difference=critical, p=p, conditions=len(values))
            table = table.assign(confidence=confidence, checkpoints=np.where(on_test, "TEST", "valid"))
            tables.append(table)
    columns = ["dataset", "family", "method", "metric", "rank", "critical_difference", "p", "conditions", "confidence"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*columns, "checkpoints"])


def significant(p: pd.Series, confidence: pd.Series) -> pd.Series:
    """Tell where a difference is significant: where the interval that belongs to p leaves 0 out."""
    return 1 - p > confidence


def instead(row: pd.Series) -> list[str]:
    """Say which unit was drawn in place of the one that the params ask for, and why, if so."""
    if row["cluster"] == row["asked"]:
        return []
    asked, found = row["asked"], int(row["asked_clusters"])
    why = f"{asked} has {plural(found, 'cluster')} in the test split"
    if not found:
        why = f"{asked} is unknown for some or all test samples"
    drawn = plural(int(row["clusters"]), row["cluster"])
    sentences = [f"{why}; the statistics resample {drawn} instead."]
    return [*sentences, f"The intervals do not say how much the choice of {asked} matters."] if found else sentences


def limits(row: pd.Series) -> list[str]:
    """Say what the intervals, tests and deviations of a dataset do not cover, or where they are rough.

    Parameters
    ----------
    row : pd.Series
        A row of ``Results.intervals``: ``MADE`` without ``checkpoints``.
    """
    sentences, count = instead(row), int(row["clusters"])
    worth = row["freedom"] + 1
    if count < _FEW_CLUSTERS:
        few = f"{plural(count, row['cluster'])} in the test split: a small number"
        sentences.append(f"{few}, so the intervals are wide.")
    elif worth < _FEW_CLUSTERS:
        of = f"Utterances are spread unevenly over {plural(count, row['cluster'])}"
        sentences.append(f"{of}, which count as {worth:.0f} of equal size: the intervals are wide.")
    if row["samples"] < _FEW_SAMPLES:
        share = f"one sample is {100 / row['samples']:.2f} points of accuracy"
        sentences.append(f"{plural(int(row['samples']), 'sample')} in the test split: a small number, {share}.")
    if row["seeds"] == 1:
        sentences.append("One seed: the variation between trainings is unknown.")
    return sentences


def made(frame: pd.DataFrame) -> list[str]:
    """Say how intervals were made."""
    row = frame.iloc[0]
    drawn = plural(int(row["clusters"]), row["cluster"])
    whole = "" if row["cluster"] == "utterance" else f" (all utterances of a {row['cluster']} together)"
    return [
        "Accuracies and F1 are in percent.",
        f"[ ]: {100 * row['confidence']:g} % interval, from {row['resamples']} resamples of {drawn}{whole}, the same "
        "for all methods. The interval covers the choice of test samples, not the choice of seeds. The interval is "
        f"that of the mean over {means.counts(frame['seeds'], 'seed')}.",
        *instead(row),
    ]


def undefined(some: bool) -> list[str]:
    """Say why some numbers are not there, if so."""
    text = (
        f"{NAN}: the value is undefined, for example the correlation of constant predictions. No [ ]: the value is "
        "undefined in too many resamples."
    )
    return [text] if some else []


def notes(frame: pd.DataFrame, *remarks: str, second: str) -> list[str]:
    """Return the notes of a table of intervals."""
    ends = [f"{name}_low" for name in family_of(frame["family"].iloc[0]).reported if f"{name}_low" in frame]
    return [
        *marks_of(frame),
        *made(frame),
        *remarks,
        *undefined(frame[ends].isna().any(axis=None)),
        *means.compared(frame, second),
    ]
