"""Tables in the manner of the papers: as data frames, and as csv, Markdown and LaTeX text.

The frames hold unrounded numbers (shares as fractions of 1); a row is a method under a condition, and each metric has
a column ``{metric}_mean`` and ``{metric}_std``. Text is made from ``blocks``, which round, rank and group them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from elision.errors import plural
from elision.evaluation.aggregate import CONDITION, FLOOR, HEADLINES, POOLED, headline_rows, statistics
from elision.evaluation.metrics import METRICS, Family, metric
from elision.evaluation.metrics import family as family_of
from elision.published import SOURCES, load
from elision.report import Results
from elision.report.against import against_published
from elision.report.certainty import area, comparisons, intervals, ranks
from elision.report.marks import ON_TEST, Marks, capital, headings, marked, signs
from elision.report.marks import notes as marks_of
from elision.settings.params import stage_names
from elision.task import MODALITIES
from elision.training.selection import VALID

NAN = "–"
_ERRATUM = "†"
ABSENT = ["+".join(subset) for size in (1, 2) for subset in combinations(MODALITIES, size)]
NOISE = {"gaussian": "Gaussian noise", "impulse": "Impulse noise"}
CAPTIONS = {
    "random_missing": "Random missing: mean over the missing rates",
    "per_rate": "Random missing, rate by rate",
    "absent": "Whole modalities absent",
    "combined": "Modalities absent, and frames and tokens of the others missing at random",
    "noise": "Noise in place of modalities: mean over the sets of noisy modalities",
    "per_class": "Single classes, each against the rest",
    "pooled": "Predictions of all folds, pooled",
    "against_published": "Ours beside published numbers",
    "cost": "What training costs",
    "selection": "Random missing: what choosing checkpoints on the test set adds",
    "area": "Area under the metric over the missing rates (AUILC)",
    "intervals": "How sure the means are: over missing rates, and over sets of absent modalities",
    "comparisons": "Differences from the best method",
    "ranks": "Average ranks over conditions",
}

_EMPTY = {
    "per_class": "No dataset has classes.",
    "pooled": "No dataset has folds.",
    "cost": "There is no record of a training.",
    "against_published": "No dataset may stand beside published numbers (its setting published), or none of their "
    "methods was run under their conditions.",
    "selection": "Nothing was chosen on the test set.",
    "area": "Fewer than two missing rates were evaluated.",
    "comparisons": "There are no two methods to compare.",
}
_NOTHING = "No such condition was evaluated."
# Values of the column ``condition``, in which the conditions of several corruptions stand below each other.
_CONDITIONS = ["random", "combined", *NOISE, "none", *ABSENT, "mean"]
_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def random_missing(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method: mean over the missing rates of each run, over folds, then mean and deviation over seeds.

    Parameters
    ----------
    results : Results
    methods : sequence of str
        Rows and their order; the floor is always the last.

    Returns
    -------
    table : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``checkpoints`` ("valid", or "TEST" where they were chosen on the
        test split), ``runs``, ``seeds``, ``folds`` (of a seed), ``over`` ("seeds", "folds" or "": what deviations are
        over), ``conditions`` (averaged in each run), ``undefined`` (values that are nan), and per metric the mean and
        the sample standard deviation (ddof = 1; nan for one run).
    """
    return _wide(_random(results.metrics), methods)


def per_rate(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and missing rate (column ``level``); see ``random_missing``."""
    return _wide(_random(results.metrics), methods, by=["level"])


def absent(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and set of absent modalities, as in LNLN's Tables 11 to 14; see ``random_missing``.

    The column ``absent`` is "none", "text", ..., or "mean": the mean over the sets (none is not one of them).
    """
    rows = _conditions(results.metrics[results.metrics["corruption"] == "absent"])
    return _wide(rows.rename(columns={"condition": "absent"}), methods, by=["absent"])


def combined(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method, set of absent modalities and missing rate of the others; see ``random_missing``.

    The column ``absent`` is "text", ..., or "mean": the mean over the sets that were evaluated.
    """
    rows = results.metrics[results.metrics["corruption"] == "combined"]
    rows = pd.concat([rows.assign(absent=rows["modalities"]), rows.assign(absent="mean")], ignore_index=True)
    rows["absent"] = pd.Categorical(rows["absent"], [*ABSENT, "mean"])
    return _wide(rows, methods, by=["absent", "level"])


def noise(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method, kind of noise, intensity and set of noisy modalities; see ``random_missing``.

    The column ``noisy`` is "text", ..., or "mean": the mean over the sets that were evaluated. Text shows the means.
    """
    rows = results.metrics[results.metrics["corruption"].isin(NOISE)]
    rows = rows.assign(noise=rows["corruption"], intensity=rows["level"], noisy=rows["modalities"])
    rows = pd.concat([rows, rows.assign(noisy="mean")], ignore_index=True)
    rows["noisy"] = pd.Categorical(rows["noisy"], [*ABSENT, "+".join(MODALITIES), "mean"])
    return _wide(rows, methods, by=["noise", "intensity", "noisy"])


def per_class(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and condition, with the metrics of single classes; see ``random_missing``.

    The column ``condition`` is "random" (mean over the missing rates), "combined" (mean over rates and sets),
    "gaussian" or "impulse" (mean over intensities and sets), "none", "text", ... (absent modalities), or "mean" (over
    the sets of absent modalities).
    """
    return _wide(_conditions(results.metrics), methods, by=["condition"], chosen=lambda family: family.per_class)


def pooled(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and condition (as in ``per_class``), from the predictions of all folds of a seed, pooled."""
    rows = results.metrics[results.metrics["fold"] == POOLED]
    return _wide(_conditions(rows.assign(fold="")), methods, by=["condition"])


def selection(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and how its checkpoints were chosen, of trainings whose checkpoints were chosen on test.

    The column ``chosen`` is "validation", "TEST", or "difference": TEST minus validation, in each run and under each
    condition; the two are checkpoints of the same training.
    """
    rows = _random(results.metrics[results.metrics["fold"] != POOLED])
    on_test = rows["checkpoint"] != VALID
    keys = [column for column in rows if column not in ("checkpoint", "value")]
    pairs = rows[on_test].merge(rows[~on_test], on=keys, suffixes=("", "_on_validation"))
    before = pairs["value_on_validation"]
    values = {"validation": before, "TEST": pairs["value"], "difference": pairs["value"] - before}
    rows = pd.concat([pairs.assign(chosen=name, value=value) for name, value in values.items()], ignore_index=True)
    table = _wide(rows.assign(chosen=pd.Categorical(rows["chosen"], list(values))), methods, by=["chosen"])
    return table.assign(checkpoints=table["checkpoints"].where(table["chosen"] != "validation", "valid"))


# Heading and format of what a training costs.
_COSTS = {
    "seconds_per_epoch": ("s per epoch", ".2f"),
    "epochs": ("epochs", ".1f"),
    "seconds": ("s in all", ".1f"),
    "peak_memory_mb": ("peak memory (MB)", ".0f"),
    "parameters": ("parameters", ",.0f"),
    "text_encoder_parameters": ("parameters of the text encoder", ",.0f"),
}


def cost(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method, and per stage that methods start from: what the training of a run cost.

    Returns
    -------
    table : pd.DataFrame
        Columns ``dataset``, ``method``, ``checkpoints``, ``runs``, ``devices``, and mean and sample standard deviation
        (ddof = 1) over runs of ``seconds_per_epoch`` (wall-clock, with validation), ``epochs``, ``seconds`` (of all
        epochs), ``peak_memory_mb`` (of the process, or of the GPU), ``parameters`` (without those of the text encoder)
        and ``text_encoder_parameters``.
    """
    order = [*(method for method in methods if method != FLOOR), *stage_names(), FLOOR]
    rows = [
        {
            "dataset": dataset,
            "method": method,
            "on_test": set(record["checkpoints"]) != {VALID},
            "device": record["device"],
            "seconds": record["seconds_per_epoch"] * record["epochs"],
            **{name: record[name] for name in _COSTS if name != "seconds"},
        }
        for (dataset, method, _), record in sorted(results.records.items())
        if method in order
    ]
    runs = pd.DataFrame(rows, columns=["dataset", "method", "on_test", "device", *_COSTS])
    runs["method"] = pd.Categorical(runs["method"], order)
    groups = runs.groupby(["dataset", "method"], observed=True)
    table = pd.DataFrame({"runs": groups.size()})
    table.insert(0, "checkpoints", np.where(groups["on_test"].any().astype(bool), "TEST", "valid"))
    table["devices"] = groups["device"].agg(lambda names: ", ".join(sorted(set(names))))
    for name in _COSTS:
        table[f"{name}_mean"], table[f"{name}_std"] = groups[name].mean(), groups[name].std(ddof=1)
    return table.reset_index().astype({"method": str})


TABLES: dict[str, Callable[[Results, Sequence[str]], pd.DataFrame]] = {
    "random_missing": random_missing,
    "per_rate": per_rate,
    "absent": absent,
    "combined": combined,
    "noise": noise,
    "per_class": per_class,
    "pooled": pooled,
    "against_published": against_published,
    "cost": cost,
    "selection": selection,
    "area": area,
    "intervals": intervals,
    "comparisons": comparisons,
    "ranks": ranks,
}


def _random(metrics: pd.DataFrame) -> pd.DataFrame:
    return metrics[metrics["corruption"] == "random"]


def _conditions(metrics: pd.DataFrame) -> pd.DataFrame:
    """Name the conditions of all corruptions in a column; sets of absent modalities stand there again as "mean"."""
    name = metrics["modalities"].replace("", "none").where(metrics["corruption"] == "absent", metrics["corruption"])
    rows = metrics.assign(condition=name)
    rows = pd.concat([rows, rows[name.isin(ABSENT)].assign(condition="mean")], ignore_index=True)
    return rows.assign(condition=pd.Categorical(rows["condition"], _CONDITIONS))


def _wide(
    metrics: pd.DataFrame,
    methods: Sequence[str],
    by: Sequence[str] = (),
    chosen: Callable[[Family], tuple[str, ...]] = lambda family: (*family.reported, *family.swapped),
) -> pd.DataFrame:
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


@dataclass(frozen=True)
class Cell:
    """A number, as it is printed with its ±, and its ``rank``: 1 (best), 2, or 0."""

    value: float
    text: str
    rank: int


@dataclass(frozen=True)
class Block:
    """Rows that are compared with each other, column by column.

    Attributes
    ----------
    title : str
        "" when the table has one block.
    columns : list of str
    rows : list of (str, list of Cell)
        Method and its cells.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def heading(name: str) -> str:
    """Name of a metric with an arrow that says which way is better."""
    return metric(name).name + _ARROWS[metric(name).better]


def number(value: float, name: str) -> str:
    """Print a value of a metric: percent with two decimals, others with three; nan as a dash."""
    if np.isnan(value):
        return NAN
    text = f"{100 * value:.2f}" if metric(name).percent else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def estimate(mean: float, std: float, name: str) -> str:
    """Print a mean with its standard deviation, where there is one."""
    return number(mean, name) if np.isnan(mean) or np.isnan(std) else f"{number(mean, name)} ± {number(std, name)}"


def within(value: float, low: float, high: float, name: str) -> str:
    """Print a value with its interval, where there is one."""
    ends = "" if np.isnan(low) else f" [{number(low, name)}, {number(high, name)}]"
    return number(value, name) + ends


def _cells(methods: Sequence[str], rows: pd.DataFrame, name: str) -> list[Cell]:
    """Cells of one column; what prints the same has the same rank, and the floor has none."""
    means = rows[f"{name}_mean"].to_dict()
    shown = {method: float(number(mean, name)) for method, mean in means.items() if not np.isnan(mean)}
    distinct = {value for method, value in shown.items() if method != FLOOR}
    better = metric(name).better
    ranking = sorted(distinct, reverse=better == "higher")[:2] if better and len(distinct) > 1 else []
    ranks = {
        method: 1 + ranking.index(shown[method]) for method in shown if method != FLOOR and shown[method] in ranking
    }
    form, columns = (within, ("low", "high")) if f"{name}_low" in rows else (estimate, ("std",))
    spread = rows[[f"{name}_{column}" for column in columns]].itertuples(name=None)
    texts = {method: form(means[method], *values, name) for method, *values in spread}
    return [Cell(means.get(method, np.nan), texts.get(method, NAN), ranks.get(method, 0)) for method in methods]


def blocks(table: pd.DataFrame) -> list[Block]:
    """Round, rank and group the rows of one dataset.

    Metrics are the columns; of a table with rates or intensities, these are, and each metric is a block. Ranks compare
    printed values, so that what looks equal is equal.
    """
    if table.empty:
        return []
    if "seconds_mean" in table:
        return [_costs(table)]
    if "theirs" in table:
        return _beside(table)
    if "p_holm" in table:
        return _compared(table)
    if "critical_difference" in table:
        return [_ranked(table)]
    methods = list(table["method"].unique())
    family = family_of(table["family"].iloc[0])
    metrics = [name for name in (*family.reported, *family.per_class) if f"{name}_mean" in table]
    metrics += [name for name in family.swapped if f"{name}_mean" in table and table[f"{name}_mean"].notna().any()]
    table = table.set_index("method")

    def block(title: str, columns: list[tuple[str, str, pd.DataFrame]]) -> Block:
        cells = [_cells(methods, rows, name) for _, name, rows in columns]
        rows = [(method, list(row)) for method, *row in zip(methods, *cells, strict=True)]
        return Block(title, [name for name, _, _ in columns], rows)

    def series(title: str, rows: pd.DataFrame, column: str, sign: str) -> list[Block]:
        parts = {f"{sign} = {value:g}": rows[rows[column] == value] for value in sorted(rows[column].unique())}
        return [block(title + heading(m), [(name, m, part) for name, part in parts.items()]) for m in metrics]

    if {"absent", "level"} <= set(table):
        sets = [name for name in _CONDITIONS if (table["absent"] == name).any()]
        parts = [(name, table[table["absent"] == name]) for name in sets]
        return [b for name, rows in parts for b in series(f"{_title(name, rows)}: ", rows, "level", "r")]
    if "level" in table:
        return series("", table, "level", "r")
    if "noise" in table:
        means = table[table["noisy"] == "mean"]
        kinds = [kind for kind in NOISE if (means["noise"] == kind).any()]
        return [
            b for kind in kinds for b in series(f"{NOISE[kind]}: ", means[means["noise"] == kind], "intensity", "t")
        ]
    if "chosen" in table:
        parts = {name: table[table["chosen"] == name] for name in table["chosen"].unique()}
        made = [block(heading(m), [(name, m, rows) for name, rows in parts.items()]) for m in metrics]
        # A difference is no result to be ranked.
        return [replace(b, rows=[(m, [*cells[:-1], replace(cells[-1], rank=0)]) for m, cells in b.rows]) for b in made]
    if column := next((name for name in ("absent", "condition") if name in table), ""):
        parts = {name: table[table[column] == name] for name in _CONDITIONS if (table[column] == name).any()}
        return [block(_title(name, rows), [(heading(m), m, rows) for m in metrics]) for name, rows in parts.items()]
    return [block("", [(heading(m), m, table) for m in metrics])]


def _summed_up(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``against_published`` that text shows: averages and complete data, or all where there are none."""
    chosen = table["corruption"].str.startswith("mean_") | (table["level"] == 0)
    return table[chosen] if chosen.any() else table


def _beside(table: pd.DataFrame) -> list[Block]:
    """Give ours, theirs and the difference in three rows per method; a block per printed table and condition."""
    family = family_of(table["family"].iloc[0])
    metrics = [m for m in (*family.reported, *family.swapped, *family.per_class) if (table["metric"] == m).any()]

    def cells(rows: pd.DataFrame, column: str, text: Callable[..., str]) -> list[Cell]:
        found = {row.metric: Cell(getattr(row, column), text(row), 0) for row in rows.itertuples(index=False)}
        return [found.get(name, Cell(np.nan, "", 0)) for name in metrics]

    found, sign = [], signs(table)
    places = ["source", "table", "corruption", "level", "modalities"]
    for (source, number_of_table, *condition), rows in _summed_up(table).groupby(places, sort=False, dropna=False):
        lines = []
        for (method, printed), own in rows.groupby(["method", "printed"], sort=False):
            ours, theirs = own[["protocol", "their_protocol"]].iloc[0]
            mark = sign.get(method, "")
            lines += [
                (
                    f"{method}{mark}: ours ({ours})",
                    cells(own, "ours", lambda row: estimate(row.ours, row.std, row.metric)),
                ),
                (f"{method}: {printed}, printed ({theirs})", cells(own, "theirs", _printed)),
                (f"{method}: difference", cells(own, "difference", lambda row: _signed(row.difference, row.metric))),
            ]
        place = f"Table {number_of_table}" if number_of_table.isdigit() else number_of_table
        title = f"{SOURCES[source].name}, {place}: {_condition(*condition)}"
        found.append(Block(title, [heading(name) for name in metrics], lines))
    return found


def _printed(row: tuple) -> str:
    text = number(row.theirs, row.metric) + (_ERRATUM if row.erratum else "")
    return text if np.isnan(row.corrected) else f"{text} (corrected: {number(row.corrected, row.metric)})"


def _signed(difference: float, name: str) -> str:
    text = number(abs(difference), name)
    return text if text == NAN or float(text) == 0 else f"{'−' if difference < 0 else '+'}{text}"


def _condition(corruption: str, level: float, modalities: str) -> str:
    if level == 0:
        return "nothing missing"
    return {
        "random": f"random missing, r = {level:g}",
        "absent": f"{modalities.replace('+', ' and ')} absent",
        "mean_random": "random missing, mean over 10 rates",
        "mean_absent": "mean over the 6 sets of absent modalities",
        "mean_gaussian": f"Gaussian noise, t = {level:g}, mean over the 6 sets of noisy modalities",
    }[corruption]


def _beside_notes(table: pd.DataFrame) -> list[str]:
    sentences = []
    for (name, ours, theirs), _ in table.groupby(["source", "protocol", "their_protocol"], sort=False):
        source = SOURCES[name]
        same = "also ours" if ours == theirs else f"NOT ours, which is {ours}"
        sentences.append(f"{source.name}: {source.title}; {source.where}. Protocol {theirs}, {same}. {source.note}")
    for (source, differs), rows in table[table["differs"] != ""].groupby(["source", "differs"], sort=False):
        which = ", ".join(rows["method"].unique())
        sentences.append(f"Not as in {SOURCES[source].name}: {which}: {differs}.")
    wrong = table[table["erratum"] != ""]
    for (source, printed, erratum), rows in wrong.groupby(["source", "printed", "erratum"], sort=False):
        which = ", ".join(metric(name).name for name in rows["metric"].unique())
        tables = ", ".join(rows["table"].unique())
        sentences.append(f"{_ERRATUM} {printed} in {SOURCES[source].name}, table {tables}: {which}: {erratum}.")
    if len(_summed_up(table)) < len(table):
        sentences.append("Averages and complete data; the csv file has every condition on its own.")
    corpus, there = table["published"].iloc[0], ["source", "table", "printed", *CONDITION]
    swapped = table["metric"].str.endswith("_swapped")
    count = len(table[~swapped].drop_duplicates([*there, "metric"]))
    total = int((load()["dataset"] == corpus).sum())
    alone = f"{total - count} of {total} printed numbers of {corpus}"
    return [*sentences, f"{alone} stand alone: nothing of ours was run for them."]


def _costs(table: pd.DataFrame) -> Block:
    """Print what training costs; more is not better, and nothing is ranked."""
    rows = []
    for row in table.to_dict("records"):
        cells = []
        for name, (_, form) in _COSTS.items():
            mean, std = row[f"{name}_mean"], row[f"{name}_std"]
            text = f"{mean:{form}} ± {std:{form}}" if std > 0 else f"{mean:{form}}"
            cells.append(Cell(mean, text, 0))
        rows.append((row["method"], cells))
    return Block("", [title for title, _ in _COSTS.values()], rows)


def _compared(table: pd.DataFrame) -> list[Block]:
    """Differences from the best method; a block per summary."""
    methods, found, nothing = list(table["method"].unique()), [], Cell(np.nan, NAN, 0)

    def cell(row: dict, name: str) -> Cell:
        if row["method"] == row["best"]:
            return Cell(row["value"], f"best: {number(row['value'], name)}", 1)
        ends = ", ".join(_signed(row[end], name) for end in ("low", "high"))
        text = f"{_signed(row['difference'], name)} [{ends}], {_p(row['p_holm'])}"
        return nothing if np.isnan(row["p_holm"]) else Cell(row["difference"], text, 0)

    for condition, rows in table.groupby("condition", observed=True, sort=False):
        columns = {
            name: {row["method"]: cell(row, name) for row in part.to_dict("records")}
            for name, part in rows.groupby("metric", sort=False)
        }
        lines = [(method, [cells.get(method, nothing) for cells in columns.values()]) for method in methods]
        found.append(Block(_title(condition, rows), [heading(name) for name in columns], lines))
    return found


def _ranked(table: pd.DataFrame) -> Block:
    """Average ranks, a column per metric."""
    values = table.pivot(index="method", columns="metric", values="rank")
    metrics, methods = list(table["metric"].unique()), list(table["method"].unique())
    columns = []
    for name in metrics:
        shown = {method: round(values.loc[method, name], 2) for method in methods if method != FLOOR}
        best = sorted(set(shown.values()))[:2] if len(set(shown.values())) > 1 else []
        ranks = {method: 1 + best.index(value) for method, value in shown.items() if value in best}
        numbers = [(values.loc[method, name], ranks.get(method, 0)) for method in methods]
        columns.append([Cell(value, NAN if np.isnan(value) else f"{value:.2f}", place) for value, place in numbers])
    lines = [(method, list(cells)) for method, *cells in zip(methods, *columns, strict=True)]
    return Block("", [metric(name).name for name in metrics], lines)


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _rank_notes(table: pd.DataFrame) -> list[str]:
    sentences = [f"1 is the best of {plural(table['method'].nunique(), 'method')}; equal ones share their mean rank."]
    for name, rows in table.groupby("metric", sort=False):
        row = rows.iloc[0]
        text = f"{metric(name).name}: {plural(int(row['conditions']), 'condition')}"
        if row["conditions"]:
            text += f", critical difference {row['critical_difference']:.2f} (Nemenyi, {100 * row['confidence']:g} %)"
        sentences.append(text + ("." if np.isnan(row["p"]) else f", Friedman's {_p(row['p'])}."))
    return [
        *sentences,
        "Both take the conditions as independent. Those of one test set are not: the critical difference and p are too "
        "small. The differences from the best method, which are tested on utterances, do without.",
    ]


def _interval_notes(table: pd.DataFrame) -> list[str]:
    row = table.iloc[0]
    drawn = plural(int(row["clusters"]), row["cluster"])
    whole = "" if row["cluster"] == "utterance" else f", all utterances of a {row['cluster']} together"
    sentences = [
        "Accuracies and F1 in percent.",
        f"[ ]: {100 * row['confidence']:g} % percentile interval over {row['resamples']} resamples of {drawn}{whole}, "
        "the same for all methods. It tells how far other people would move the number, not other seeds: it is that of "
        f"the mean over {_range(table['seeds'], 'seed')}.",
    ]
    if "last" in table:
        width = row["last"] - row["first"]
        sentences.append(
            f"Trapezoids over the rates {row['first']:g} to {row['last']:g}: 100 % at all of them is {100 * width:.2f}."
        )
    if "p_holm" in table:
        sentences += [
            "Method minus best. p: two-sided t test of the paired difference on its bootstrap standard error, with "
            f"{plural(int(row['clusters']) - 1, 'degree')} of freedom, after Holm's correction for the "
            f"{_range(table['pairs'], 'pair')} of methods of a metric and block, not for metrics and blocks.",
            "The best was chosen by these same numbers, and may look a little better than it is.",
        ]
    names = family_of(row["family"]).reported
    if "p_holm" in table:
        undefined = table.loc[table["method"] != table["best"], "p_holm"].isna().any()
    else:
        undefined = table[[f"{name}_low" for name in names if f"{name}_low" in table]].isna().any(axis=None)
    if undefined:
        sentences.append(
            f"{NAN}, or no [ ]: undefined, as the correlation of constant predictions is, or undefined in so many "
            "resamples that there is no interval."
        )
    return sentences


def _title(condition: str, rows: pd.DataFrame) -> str:
    count = int(rows["conditions"].max())
    titles = {
        "random": f"random missing, mean over {plural(count, 'rate')}",
        "combined": f"modalities absent and others missing at random, mean over {plural(count, 'condition')}",
        "none": "nothing absent",
        "area": "area over the missing rates (AUILC)",
        "mean": f"mean over the {plural(count, 'set')} of absent modalities",
        **{kind: f"{name}, mean over {plural(count, 'condition')}" for kind, name in NOISE.items()},
    }
    return titles.get(condition, f"{condition.replace('+', ' and ')} absent")


def _range(values: pd.Series, noun: str) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low} to {plural(high, noun)}" if low < high else plural(high, noun)


def _deviation(table: pd.DataFrame) -> str:
    """Say what the deviations of a table are over."""
    spread = table[table["over"] != ""]
    if spread.empty:
        return "One run, so no standard deviation."
    seeds, folds = spread[spread["over"] == "seeds"], spread[spread["over"] == "folds"]
    parts = []
    if len(seeds):
        parts.append(_range(seeds["seeds"], "seed"))
        if seeds["folds"].max() > 1:
            parts[-1] += f", each the mean over its {_range(seeds['folds'], 'fold')}"
    if len(folds):
        parts.append(f"{_range(folds['folds'], 'fold')} of one seed")
    return f"±: sample standard deviation (ddof = 1) over {' or '.join(parts)}."


def notes(table: pd.DataFrame, *, second: str = "underlined") -> list[str]:
    """Sentences that belong under a table, in plain text.

    Parameters
    ----------
    second : str
        How the second best is set.
    """
    if table.empty:
        return [_NOTHING]
    if "seconds_mean" in table:
        over = f"Mean over {_range(table['runs'], 'run')}, ±: sample standard deviation (ddof = 1)."
        return [
            *marks_of(table, signed=True),
            over if table["runs"].max() > 1 else "One run, so no standard deviation.",
            f"Devices: {'; '.join(sorted(set(table['devices'])))}.",
            "Seconds are wall-clock time of training with validation, and memory is that of the process, or of the GPU "
            "where one was used: they differ from run to run, and between machines. A stage is trained once for all "
            "methods that start from it.",
        ]
    sentences = marks_of(table)
    ranked = f"Bold: best, {second}: second best of the methods in its column."
    if "critical_difference" in table:
        return [*sentences, *_rank_notes(table), ranked]
    certain = "confidence" in table
    sentences += _interval_notes(table) if certain else ["Accuracies, F1 and shares in percent.", _deviation(table)]
    if "theirs" in table:
        return sentences + _beside_notes(table)
    single = table
    for column in {"absent", "condition", "noisy"} & set(table):
        single = single[single[column] != "mean"]
    if "noisy" in table:
        sets = single.groupby(["noise", "intensity"])["noisy"].nunique()
        sentences.append(f"Mean over {_range(sets, 'set')} of noisy modalities; the csv file has each on its own.")
    methods = set(table["method"])
    if len(methods - {FLOOR}) > 1 and "p_holm" not in table:
        sentences.append(ranked)
    if FLOOR in methods:
        sentences.append(f"{FLOOR} is the floor: it answers the same for every sample, and is not ranked.")
    if certain:
        return sentences
    counts = single.groupby("method", sort=False)["undefined"].sum()
    if counts.any():
        listed = ", ".join(f"{method} {count}" for method, count in counts[counts > 0].items())
        classes = bool(family_of(table["family"].iloc[0]).labels)
        example = "the F1 of a class that no sample has" if classes else "the correlation of constant predictions"
        sentences.append(
            f"{NAN}: undefined, as {example} is, and so every mean over runs and conditions that has one (how many: "
            f"{listed})."
        )
    return sentences


def csv(table: pd.DataFrame) -> str:
    """Full precision, shares as fractions of 1, nan as an empty field."""
    return table.to_csv(index=False, lineterminator="\n")


def _padded(rows: list[list[str]]) -> list[list[str]]:
    """Pad every column to one width, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]


def _markdown_table(rows: list[list[str]]) -> list[str]:
    head, *body = _padded(rows)
    rule = ["-" * len(head[0]), *("-" * (len(text) - 1) + ":" for text in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)]


_MARKDOWN_RANKS = ("{}", "**{}**", "*{}*")


def _markdown_text(text: str) -> str:
    return "".join(f"\\{sign}" if sign in r"\|*`<[" else sign for sign in text)


def markdown(table: pd.DataFrame, name: str) -> str:
    """Write a table for reading as text and on a code host: a section per dataset, a table per block.

    Parameters
    ----------
    name : str
        Key of ``CAPTIONS``.
    """
    lines = [f"# {CAPTIONS[name]}", ""]
    for text, advice in headings(table):
        lines += [f"> **{capital(text)}.** {advice}", ""]
    for dataset, rows in table.groupby("dataset"):
        lines += [f"## {_markdown_text(dataset)}", ""]
        sign = signs(rows)
        for block in blocks(rows):
            lines += [f"### {_markdown_text(block.title)}", ""] if block.title else []
            body = [
                [
                    _markdown_text(method + sign.get(method, "")),
                    *(_MARKDOWN_RANKS[cell.rank].format(cell.text) for cell in cells),
                ]
                for method, cells in block.rows
            ]
            lines += [*_markdown_table([["method", *block.columns], *body]), ""]
        lines += [*(f"- {_markdown_text(sentence)}" for sentence in notes(rows, second="italic")), ""]
    return "\n".join(lines if not table.empty else [*lines, _EMPTY.get(name, _NOTHING), ""])


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"},
    **{">": r"\textgreater{}", "±": r"$\pm$", "–": "--", "↑": r"$\uparrow$", "↓": r"$\downarrow$"},
    **{"−": "$-$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "§": r"\S{}", "²": "$^2$"},
}


_LATEX_RANKS = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex(table: pd.DataFrame, name: str) -> str:
    r"""Write a table for a paper: a ``table`` per dataset, with booktabs' rules.

    Needs ``\usepackage{booktabs}`` and, as the tables are wide, ``\usepackage{graphicx}``.

    Parameters
    ----------
    name : str
        Key of ``CAPTIONS``.
    """
    lines = [r"% Needs \usepackage{booktabs,graphicx}", ""]
    for dataset, rows in table.groupby("dataset"):
        grouped = blocks(rows)
        columns = grouped[0].columns
        marked_by, sign = [text for text, _ in headings(rows)], signs(rows)
        caption = f"{CAPTIONS[name]} ({dataset}). {' '.join(notes(rows))}"
        lines += [
            *(f"% {text.upper()}" for text in marked_by),
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{_latex_text(caption)}}}",
            rf"\label{{tab:{name.replace('_', '-')}-{dataset}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            *(rf"\multicolumn{{{len(columns) + 1}}}{{c}}{{\textbf{{{_latex_text(text)}}}}} \\" for text in marked_by),
            " & ".join(["Method", *map(_latex_text, columns)]) + r" \\",
        ]
        for block in grouped:
            lines.append(r"\midrule")
            if block.title:
                lines.append(rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{{_latex_text(block.title)}}}}} \\")
            for method, cells in block.rows:
                lines += [r"\addlinespace[2pt]"] if method == FLOOR else []
                texts = [_LATEX_RANKS[cell.rank].format(_latex_text(cell.text)) for cell in cells]
                lines.append(" & ".join([_latex_text(method + sign.get(method, "")), *texts]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    return "\n".join(lines if not table.empty else [*lines, f"% {_EMPTY.get(name, _NOTHING)}", ""])


def headlines(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rank the methods of each dataset by their mean F1 over ``headline_rows``, and compare them with the floor.

    Returns
    -------
    headlines : pd.DataFrame
        Best first, the floor last: columns ``dataset``, ``family``, ``method``, ``checkpoints``, ``runs``, ``seeds``,
        ``folds``, ``conditions``, ``corruption`` (key of ``HEADLINES``), ``f1``, ``f1_std``, ``second``, ``second_std``
        (of the family's second metric), ``over_floor`` (difference of F1 to the floor; nan without one) and
        ``falls_at`` (lowest missing rate at which mean F1 is not above the floor's; nan when it is above at all).
    """
    methods = sorted(metrics["method"].unique())
    chosen = headline_rows(metrics)
    means, rates = _wide(chosen, methods), _wide(_random(chosen), methods, by=["level"])
    datasets, corruptions = [], chosen.groupby("dataset")["corruption"].first()
    for dataset, rows in means.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        f1, second = family.f1, family.second
        by_rate = pd.DataFrame(columns=rows["method"])
        if corruptions[dataset] == "random":
            by_rate = rates[rates["dataset"] == dataset].pivot(index="level", columns="method", values=f"{f1}_mean")
        falls = by_rate.le(by_rate[FLOOR], axis=0) if FLOOR in by_rate else by_rate.isna() & False
        ranked = rows.assign(
            f1=rows[f"{f1}_mean"],
            f1_std=rows[f"{f1}_std"],
            second=rows[f"{second}_mean"],
            second_std=rows[f"{second}_std"],
            corruption=corruptions[dataset],
            over_floor=rows[f"{f1}_mean"] - rows.loc[rows["method"] == FLOOR, f"{f1}_mean"].mean(),
            falls_at=[by_rate.index[falls[method].astype(bool)].min() for method in rows["method"]],
            last=rows["method"] == FLOOR,
        )
        datasets.append(ranked.sort_values(["last", "f1"], ascending=[True, False], kind="stable"))
    columns = ["dataset", "family", "method", "checkpoints", "runs", "seeds", "folds", "conditions", "corruption"]
    columns += ["f1", "f1_std", "second", "second_std", "over_floor", "falls_at"]
    return pd.concat(datasets, ignore_index=True)[columns] if datasets else pd.DataFrame(columns=columns)


def headline(metrics: pd.DataFrame, marks: Marks | None = None) -> str:
    """Write the ranking of each dataset as plain text for a terminal.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    marks : mapping, optional
        Of ``marks.marks``.
    """
    ranked = marked(headlines(metrics), marks or {})
    if ranked.empty:
        return "Nothing was evaluated under incomplete data."
    sections = []
    for dataset, rows in ranked.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        f1, second, sign = family.f1, family.second, signs(rows)
        body = [["method", heading(f1), heading(second), f"over {FLOOR}", f"down to {FLOOR} at"]]
        for row in rows.itertuples(index=False):
            means = estimate(row.f1, row.f1_std, f1), estimate(row.second, row.second_std, second)
            over = f"{100 * row.over_floor:+.2f}" if row.method != FLOOR and not np.isnan(row.over_floor) else NAN
            at = NAN if over == NAN else "no rate" if np.isnan(row.falls_at) else f"r = {row.falls_at:g}"
            body.append([row.method + sign.get(row.method, ""), *means, over, at])
        over = HEADLINES[rows["corruption"].iloc[0]]
        title = f"{dataset}: mean over {plural(int(rows['conditions'].max()), over)}, "
        folds, seeds = int(rows["folds"].max()), int(rows["seeds"].max())
        title += f"{plural(seeds, 'seed')} with {plural(folds, 'fold')}" if folds > 1 else plural(seeds, "run")
        told = [*(f"  {'  '.join(line).rstrip()}" for line in _padded(body))]
        if (rows["checkpoints"] == "TEST").any():
            title += f" ({ON_TEST})"
        told += [f"  {note}" for note in marks_of(rows, signed=True)]
        sections.append("\n".join([title, *told]))
    return "\n\n".join(sections)
