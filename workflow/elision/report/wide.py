"""Frames with a row per method and condition and columns per metric, and how they are shown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from elision.evaluation.aggregate import FLOOR, averaged, statistics
from elision.evaluation.metrics import METRICS, Family, metric
from elision.evaluation.metrics import family as family_of
from elision.report import words
from elision.report.marks import notes as marks_of
from elision.report.text import NAN, Block, Cell, estimate, heading, number, spread, within

WORSE = "*"


def of(metrics: pd.DataFrame, corruptions: Iterable[str]) -> pd.DataFrame:
    """Return the metrics under some corruptions."""
    return metrics[metrics["corruption"].isin(list(corruptions))]


def by_condition(metrics: pd.DataFrame) -> pd.DataFrame:
    """Name the conditions of all corruptions in a column ``condition``: see ``words.conditions``.

    Sets of modalities of a kind without levels stand there again as ``mean``. Of a kind with levels, those are left out
    that are in no mean.
    """
    complete = metrics["modalities"] == ""
    metrics = metrics[metrics.index.isin(averaged(metrics).index) | complete & ~_has_levels(metrics)]
    sets = words.corruptions(levels=False, sets=True)
    start = metrics["corruption"].map({name: words.label(name, "none").removesuffix("none") for name in sets})
    name = (start + metrics["modalities"].replace("", "none")).where(start.notna(), metrics["corruption"])
    means = start.notna() & (metrics["modalities"] != "")
    rows = metrics.assign(condition=name)
    rows = pd.concat([rows, rows[means].assign(condition=start[means] + "mean")], ignore_index=True)
    return rows.assign(condition=pd.Categorical(rows["condition"], list(words.conditions())))


def _has_levels(metrics: pd.DataFrame) -> pd.Series:
    levels = [*words.corruptions(levels=True, sets=False), *words.corruptions(levels=True, sets=True)]
    return metrics["corruption"].isin(levels)


def with_means(metrics: pd.DataFrame, column: str) -> pd.DataFrame:
    """Name the sets of modalities in a column: "none", "text", ..., and all but "none" again as "mean"."""
    sets = metrics["modalities"].replace("", "none")
    rows = metrics.assign(**{column: sets})
    rows = pd.concat([rows, rows[sets != "none"].assign(**{column: "mean"})], ignore_index=True)
    return rows.assign(**{column: pd.Categorical(rows[column], ["none", *words.SETS, "mean"])})


def wide(
    metrics: pd.DataFrame,
    methods: Sequence[str],
    by: Sequence[str] = (),
    chosen: Callable[[Family], tuple[str, ...]] = lambda family: (*family.reported, *family.swapped),
) -> pd.DataFrame:
    """Average in each run, over the folds of each seed, and over seeds.

    Parameters
    ----------
    metrics : pd.DataFrame
        Rows of ``aggregate``, of the conditions to average.
    methods : sequence of str
        Rows and their order; the floor is always the last.
    by : sequence of str
        Columns that stay apart.
    chosen : callable
        Metrics of a family.

    Returns
    -------
    frame : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, those of ``by``, ``checkpoints`` ("valid", or "TEST" where they
        were chosen on the test split), ``runs``, ``seeds``, ``folds`` (of a seed), ``over`` ("seeds", "folds" or "":
        what deviations are over), ``conditions`` (averaged in each run), ``undefined`` (values that are nan), and per
        metric the mean and the sample standard deviation (ddof = 1; nan for one run).
    """
    order = [*(method for method in methods if method != FLOOR), FLOOR]
    metrics = metrics[metrics["method"].isin(order)]
    shown = {name: chosen(family_of(name)) for name in sorted(metrics["family"].unique())}
    pairs = pd.MultiIndex.from_frame(metrics[["family", "metric"]])
    metrics = metrics[pairs.isin([(name, key) for name, keys in shown.items() for key in keys])]
    long = statistics(metrics.assign(method=pd.Categorical(metrics["method"], order)), by)
    rows = ["dataset", "family", "method", *by]
    columns = dict.fromkeys(("runs", "seeds", "folds", "over", "conditions"), "max")
    table = long.groupby(rows, observed=True).agg({**columns, "undefined": "sum", "on_test": "any"})
    table.insert(0, "checkpoints", np.where(table.pop("on_test"), "TEST", "valid"))
    values = long.set_index([*rows, "metric"])[["mean", "std"]].unstack("metric").reindex(table.index)
    for key in dict.fromkeys([*METRICS, *(key for keys in shown.values() for key in keys)]):
        if ("mean", key) in values:
            table[f"{key}_mean"], table[f"{key}_std"] = values["mean", key], values["std", key]
    names = [column for column in ("method", *by) if table.index.get_level_values(column).dtype == "category"]
    return table.reset_index().astype(dict.fromkeys(names, str))


def from_best(frame: pd.DataFrame, tests: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Add to each mean of a metric how sure it is that the best method of its column is better.

    Parameters
    ----------
    frame : pd.DataFrame
        Of `wide`.
    tests : pd.DataFrame
        Comparisons of ``evaluation.significance``, with the columns ``by``.
    by : sequence of str
        As of the frame.

    Returns
    -------
    frame : pd.DataFrame
        With columns ``{metric}_p``: p of the difference from the best method, corrected (Holm); nan of the best, and
        where nothing was tested. A metric without tests has no such column. ``alpha``: p below this is significant.
    """
    tests, keys = tests[tests["p_holm"].notna()], ["dataset", *by]
    pairs = {}
    for *at, name, method, other, p in tests[[*keys, "metric", "method", "other", "p_holm"]].itertuples(index=False):
        pairs[*at, name, method, other] = pairs[*at, name, other, method] = p
    found = frame.copy()
    groups = frame[frame["method"] != FLOOR].groupby(keys, observed=True)
    for name in (name for name in tests["metric"].unique() if f"{name}_mean" in frame):
        means = frame[f"{name}_mean"] * (1 if metric(name).better == "higher" else -1)
        best = {
            at: frame["method"][means[rows.index].idxmax()] for at, rows in groups if means[rows.index].notna().any()
        }
        rows = zip(frame[keys].itertuples(index=False, name=None), frame["method"], strict=True)
        found[f"{name}_p"] = [pairs.get((*at, name, method, best.get(at)), np.nan) for at, method in rows]
    alpha = 1 - tests.groupby("dataset")["confidence"].max()
    return found.assign(alpha=found["dataset"].map(alpha.astype(float).round(6))) if len(alpha) else found


def _cells(
    methods: Sequence[str], rows: pd.DataFrame, name: str, complete: Mapping[str, float] | None = None
) -> list[Cell]:
    """Cells of one column; what prints the same has the same rank, and the floor has none.

    ``complete`` has the values on complete data, by method.
    """
    means = rows[f"{name}_mean"].to_dict()
    shown = {method: float(number(mean, name)) for method, mean in means.items() if not np.isnan(mean)}
    distinct = {value for method, value in shown.items() if method != FLOOR}
    better = metric(name).better
    ranking = sorted(distinct, reverse=better == "higher")[:2] if better and len(distinct) > 1 else []
    ranks = {
        method: 1 + ranking.index(shown[method]) for method in shown if method != FLOOR and shown[method] in ranking
    }
    form, columns = (within, ("low", "high")) if f"{name}_low" in rows else (estimate, ("std",))
    widths = rows[[f"{name}_{column}" for column in columns]].itertuples(name=None)
    texts = {method: form(means[method], *values, name) for method, *values in widths}
    worse = set(rows.index[rows[f"{name}_p"] < rows["alpha"]]) if f"{name}_p" in rows else set()
    shares = {m: means[m] / of for m, of in (complete or {}).items() if of > 0 and m in means} if better else {}
    return [
        Cell(
            means.get(method, np.nan),
            texts.get(method, NAN),
            ranks.get(method, 0),
            WORSE if method in worse else "",
            shares.get(method, np.nan),
        )
        for method in methods
    ]


def metrics_of(frame: pd.DataFrame) -> list[str]:
    """Return the metrics of a frame of one dataset, in the order of their family."""
    family = family_of(frame["family"].iloc[0])
    names = [name for name in (*family.reported, *family.per_class) if f"{name}_mean" in frame]
    return names + [name for name in family.swapped if f"{name}_mean" in frame and frame[f"{name}_mean"].notna().any()]


def _block(
    title: str,
    methods: Sequence[str],
    columns: Iterable[tuple[str, str, pd.DataFrame]],
    complete: pd.DataFrame | None = None,
    *,
    folded: bool = False,
) -> Block:
    """Make a block of columns: heading, metric, and rows by method, as those of complete data are."""
    columns = list(columns)
    cells = [
        _cells(methods, rows, name, None if complete is None else complete[f"{name}_mean"].to_dict())
        for _, name, rows in columns
    ]
    lines = [(method, list(row)) for method, *row in zip(methods, *cells, strict=True)]
    return Block(title, [name for name, _, _ in columns], lines, folded)


def _whole(complete: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the rows of complete data by method; None without any."""
    return None if complete is None or complete.empty else complete.set_index("method")


def block(
    title: str, frame: pd.DataFrame, rows: pd.DataFrame | None = None, complete: pd.DataFrame | None = None
) -> Block:
    """Make a block of rows of a frame (by default all) with metrics as columns.

    The frame tells methods and metrics, and ``complete`` are its rows of complete data.
    """
    rows = (frame if rows is None else rows).set_index("method")
    columns = ((heading(name), name, rows) for name in metrics_of(frame))
    return _block(title, frame["method"].unique(), columns, _whole(complete))


def per_metric(
    frame: pd.DataFrame, parts: Mapping[str, pd.DataFrame], title: str = "", complete: pd.DataFrame | None = None
) -> list[Block]:
    """Make a block per metric, with the named parts of a frame as columns; what is neither good nor bad is folded."""
    methods, whole = frame["method"].unique(), _whole(complete)
    indexed = {part: rows.set_index("method") for part, rows in parts.items()}
    return [
        _block(
            title + heading(name),
            methods,
            ((part, name, rows) for part, rows in indexed.items()),
            whole,
            folded=metric(name).better is None,
        )
        for name in metrics_of(frame)
    ]


def per_level(
    frame: pd.DataFrame, column: str, sign: str, title: str = "", rows: pd.DataFrame | None = None
) -> list[Block]:
    """Make a block per metric, with levels as columns; at level 0, data are complete."""
    rows = frame if rows is None else rows
    parts = {f"{sign} = {value:g}": rows[rows[column] == value] for value in sorted(rows[column].unique())}
    return per_metric(frame, parts, title, rows[rows[column] == 0])


def per_condition(
    frame: pd.DataFrame, column: str, titles: Mapping[str, Callable[[int], str]], complete: pd.DataFrame | None = None
) -> list[Block]:
    """Make a block per value of a column, in the order of their titles, which take the number of conditions."""
    parts = {name: frame[frame[column] == name] for name in titles if (frame[column] == name).any()}
    return [block(titles[name](int(rows["conditions"].max())), frame, rows, complete) for name, rows in parts.items()]


def by_title(frame: pd.DataFrame) -> list[Block]:
    """Make a block per value of the column ``condition``: see ``words.conditions``."""
    present = words.present(words.conditions()[name][1] for name in frame["condition"].unique())
    titles = {name: partial(words.title, name, present=present) for name in words.conditions()}
    return per_condition(frame, "condition", titles)


def made(frame: pd.DataFrame) -> list[str]:
    """Say what is marked, and what the numbers and deviations are."""
    return [*marks_of(frame), "Accuracies, F1 and shares are in percent.", _deviation(frame)]


def tested(frame: pd.DataFrame) -> list[str]:
    """Say what the sign of what is worse means, where differences were tested."""
    names = [name for name in metrics_of(frame) if f"{name}_p" in frame and frame[f"{name}_p"].notna().any()]
    if not names:
        return []
    level = f"p < {frame['alpha'].max():g} after Holm's correction"
    what = f"{WORSE} significantly worse than the best method of the column ({level})"
    of = words.listed([metric(name).name for name in names])
    return [f"{what}. Tested: {of}. A method without the sign cannot be told apart from the best."]


def ranked(second: str) -> str:
    """Say what is set in bold."""
    return f"In each column, the best method is bold, and the second best is {second}."


def floor(frame: pd.DataFrame) -> list[str]:
    """Say what the floor is, where there is one."""
    what = "is the floor: the prediction is the same for every sample. The floor is not ranked."
    return [f"{FLOOR} {what}"] if FLOOR in set(frame["method"]) else []


def compared(frame: pd.DataFrame, second: str) -> list[str]:
    """Say how methods are compared."""
    return [*([ranked(second)] if len({*frame["method"]} - {FLOOR}) > 1 else []), *tested(frame), *floor(frame)]


def undefined(rows: pd.DataFrame) -> list[str]:
    """Say what has no value, and how often."""
    counts = rows.groupby("method", sort=False)["undefined"].sum()
    if not counts.any():
        return []
    listed = ", ".join(f"{method} {count}" for method, count in counts[counts > 0].items())
    classes = bool(family_of(rows["family"].iloc[0]).labels)
    example = "the F1 of a class that no sample has" if classes else "the correlation of constant predictions"
    return [
        f"{NAN}: undefined, for example {example}. A mean over runs or conditions is undefined if one value is "
        f"undefined. Number of undefined values: {listed}."
    ]


def counts(values: pd.Series, noun: str) -> str:
    """Print the least and the most of some counts."""
    return spread(values.min(), values.max(), noun)


def _deviation(table: pd.DataFrame) -> str:
    """Say what the deviations of a table are over."""
    spread = table[table["over"] != ""]
    if spread.empty:
        return "One run: no standard deviation."
    seeds, folds = spread[spread["over"] == "seeds"], spread[spread["over"] == "folds"]
    parts = []
    if len(seeds):
        parts.append(counts(seeds["seeds"], "seed"))
        if seeds["folds"].max() > 1:
            parts[-1] += f" (each the mean over {counts(seeds['folds'], 'fold')})"
    if len(folds):
        parts.append(f"{counts(folds['folds'], 'fold')} of one seed")
    return f"±: sample standard deviation (ddof = 1) over {' or '.join(parts)}."
