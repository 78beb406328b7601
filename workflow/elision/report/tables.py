"""Tables in the manner of the papers: as data frames, and as csv, Markdown and LaTeX text.

The frames hold unrounded numbers (shares as fractions of 1); a row is a method under a condition, and each metric has
a column ``{metric}_mean`` and ``{metric}_std``. Text is made from ``blocks``, which round, rank and group them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from elision.errors import plural
from elision.evaluation.aggregate import FLOOR, POOLED, statistics
from elision.evaluation.metrics import METRICS, Family, metric
from elision.evaluation.metrics import family as family_of
from elision.task import MODALITIES

ON_TEST = "checkpoints chosen on the TEST set"
NAN = "–"
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
}

_EMPTY = {"per_class": "No dataset has classes.", "pooled": "No dataset has folds."}
_NOTHING = "No such condition was evaluated."
# Values of the column ``condition``, in which the conditions of several corruptions stand below each other.
_CONDITIONS = ["random", "combined", *NOISE, "none", *ABSENT, "mean"]
_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def random_missing(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method: mean over the missing rates of each run, over folds, then mean and deviation over seeds.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
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
    return _wide(metrics[metrics["corruption"] == "random"], methods)


def per_rate(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and missing rate (column ``level``); see ``random_missing``."""
    return _wide(metrics[metrics["corruption"] == "random"], methods, by=["level"])


def absent(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and set of absent modalities, as in LNLN's Tables 11 to 14; see ``random_missing``.

    The column ``absent`` is "none", "text", ..., or "mean": the mean over the sets (none is not one of them).
    """
    rows = _conditions(metrics[metrics["corruption"] == "absent"])
    return _wide(rows.rename(columns={"condition": "absent"}), methods, by=["absent"])


def combined(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method, set of absent modalities and missing rate of the others; see ``random_missing``.

    The column ``absent`` is "text", ..., or "mean": the mean over the sets that were evaluated.
    """
    rows = metrics[metrics["corruption"] == "combined"]
    rows = pd.concat([rows.assign(absent=rows["modalities"]), rows.assign(absent="mean")], ignore_index=True)
    rows["absent"] = pd.Categorical(rows["absent"], [*ABSENT, "mean"])
    return _wide(rows, methods, by=["absent", "level"])


def noise(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method, kind of noise, intensity and set of noisy modalities; see ``random_missing``.

    The column ``noisy`` is "text", ..., or "mean": the mean over the sets that were evaluated. Text shows the means.
    """
    rows = metrics[metrics["corruption"].isin(NOISE)]
    rows = rows.assign(noise=rows["corruption"], intensity=rows["level"], noisy=rows["modalities"])
    rows = pd.concat([rows, rows.assign(noisy="mean")], ignore_index=True)
    rows["noisy"] = pd.Categorical(rows["noisy"], [*ABSENT, "+".join(MODALITIES), "mean"])
    return _wide(rows, methods, by=["noise", "intensity", "noisy"])


def per_class(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and condition, with the metrics of single classes; see ``random_missing``.

    The column ``condition`` is "random" (mean over the missing rates), "combined" (mean over rates and sets),
    "gaussian" or "impulse" (mean over intensities and sets), "none", "text", ... (absent modalities), or "mean" (over
    the sets of absent modalities).
    """
    return _wide(_conditions(metrics), methods, by=["condition"], chosen=lambda family: family.per_class)


def pooled(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and condition (as in ``per_class``), from the predictions of all folds of a seed, pooled."""
    rows = metrics[metrics["fold"] == POOLED]
    return _wide(_conditions(rows.assign(fold="")), methods, by=["condition"])


TABLES: dict[str, Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame]] = {
    "random_missing": random_missing,
    "per_rate": per_rate,
    "absent": absent,
    "combined": combined,
    "noise": noise,
    "per_class": per_class,
    "pooled": pooled,
}


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
    chosen: Callable[[Family], tuple[str, ...]] = lambda family: family.reported,
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
    present = set(long["metric"])
    for key in dict.fromkeys([*METRICS, *(key for keys in shown.values() for key in keys)]):
        if key in present:
            values = long[long["metric"] == key].set_index(rows)
            table[f"{key}_mean"], table[f"{key}_std"] = values["mean"], values["std"]
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


def _cells(methods: Sequence[str], rows: pd.DataFrame, name: str) -> list[Cell]:
    """Cells of one column; what prints the same has the same rank, and the floor has none."""
    means, stds = rows[f"{name}_mean"].to_dict(), rows[f"{name}_std"].to_dict()
    shown = {method: float(number(mean, name)) for method, mean in means.items() if not np.isnan(mean)}
    distinct = {value for method, value in shown.items() if method != FLOOR}
    better = metric(name).better
    ranking = sorted(distinct, reverse=better == "higher")[:2] if better and len(distinct) > 1 else []
    ranks = {
        method: 1 + ranking.index(shown[method]) for method in shown if method != FLOOR and shown[method] in ranking
    }
    numbers = [(means.get(method, np.nan), stds.get(method, np.nan), ranks.get(method, 0)) for method in methods]
    return [Cell(mean, estimate(mean, std, name), rank) for mean, std, rank in numbers]


def blocks(table: pd.DataFrame) -> list[Block]:
    """Round, rank and group the rows of one dataset.

    Metrics are the columns; of a table with rates or intensities, these are, and each metric is a block. Ranks compare
    printed values, so that what looks equal is equal.
    """
    if table.empty:
        return []
    methods = list(table["method"].unique())
    family = family_of(table["family"].iloc[0])
    metrics = [name for name in (*family.reported, *family.per_class) if f"{name}_mean" in table]
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
    if column := next((name for name in ("absent", "condition") if name in table), ""):
        parts = {name: table[table[column] == name] for name in _CONDITIONS if (table[column] == name).any()}
        return [block(_title(name, rows), [(heading(m), m, rows) for m in metrics]) for name, rows in parts.items()]
    return [block("", [(heading(m), m, table) for m in metrics])]


def _title(condition: str, rows: pd.DataFrame) -> str:
    count = int(rows["conditions"].max())
    titles = {
        "random": f"random missing, mean over {plural(count, 'rate')}",
        "combined": f"modalities absent and others missing at random, mean over {plural(count, 'condition')}",
        "none": "nothing absent",
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
    sentences = []
    if (table["checkpoints"] == "TEST").any():
        which = table.loc[table["checkpoints"] == "TEST", "method"].unique()
        sentences.append(f"{ON_TEST[0].upper()}{ON_TEST[1:]}, for each metric its own: {', '.join(which)}.")
    sentences += ["Accuracies, F1 and shares in percent.", _deviation(table)]
    single = table
    for column in {"absent", "condition", "noisy"} & set(table):
        single = single[single[column] != "mean"]
    if "noisy" in table:
        sets = single.groupby(["noise", "intensity"])["noisy"].nunique()
        sentences.append(f"Mean over {_range(sets, 'set')} of noisy modalities; the csv file has each on its own.")
    methods = set(table["method"])
    if len(methods - {FLOOR}) > 1:
        sentences.append(f"Bold: best, {second}: second best of the methods in its column.")
    if FLOOR in methods:
        sentences.append(f"{FLOOR} is the floor: it answers the same for every sample, and is not ranked.")
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
    if (table["checkpoints"] == "TEST").any():
        lines += [f"> **{ON_TEST[0].upper()}{ON_TEST[1:]}.** Only for comparing with numbers that were made so.", ""]
    for dataset, rows in table.groupby("dataset"):
        lines += [f"## {_markdown_text(dataset)}", ""]
        for block in blocks(rows):
            lines += [f"### {_markdown_text(block.title)}", ""] if block.title else []
            body = [
                [_markdown_text(method), *(_MARKDOWN_RANKS[cell.rank].format(cell.text) for cell in cells)]
                for method, cells in block.rows
            ]
            lines += [*_markdown_table([["method", *block.columns], *body]), ""]
        lines += [*(f"- {_markdown_text(sentence)}" for sentence in notes(rows, second="italic")), ""]
    return "\n".join(lines if not table.empty else [*lines, _EMPTY.get(name, _NOTHING), ""])


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"},
    **{">": r"\textgreater{}", "±": r"$\pm$", "–": "--", "↑": r"$\uparrow$", "↓": r"$\downarrow$"},
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
        on_test = (rows["checkpoints"] == "TEST").any()
        caption = f"{CAPTIONS[name]} ({dataset}). {' '.join(notes(rows))}"
        lines += [
            *([f"% {ON_TEST.upper()}"] if on_test else []),
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{_latex_text(caption)}}}",
            rf"\label{{tab:{name.replace('_', '-')}-{dataset}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            *([rf"\multicolumn{{{len(columns) + 1}}}{{c}}{{\textbf{{{ON_TEST}}}}} \\"] if on_test else []),
            " & ".join(["Method", *map(_latex_text, columns)]) + r" \\",
        ]
        for block in grouped:
            lines.append(r"\midrule")
            if block.title:
                lines.append(rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{{_latex_text(block.title)}}}}} \\")
            for method, cells in block.rows:
                lines += [r"\addlinespace[2pt]"] if method == FLOOR else []
                texts = [_LATEX_RANKS[cell.rank].format(_latex_text(cell.text)) for cell in cells]
                lines.append(" & ".join([_latex_text(method), *texts]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    return "\n".join(lines if not table.empty else [*lines, f"% {_EMPTY.get(name, _NOTHING)}", ""])


def headlines(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rank the methods of each dataset by their mean F1 over the missing rates, and compare them with the floor.

    Returns
    -------
    headlines : pd.DataFrame
        Best first, the floor last: columns ``dataset``, ``family``, ``method``, ``checkpoints``, ``runs``, ``seeds``,
        ``folds``, ``conditions`` (rates), ``f1``, ``f1_std``, ``second``, ``second_std`` (of the family's second
        metric), ``over_floor`` (difference of F1 to the floor; nan without one) and ``falls_at`` (lowest rate at which
        mean F1 is not above the floor's; nan when it is above at all).
    """
    methods = sorted(metrics["method"].unique())
    means, rates = random_missing(metrics, methods), per_rate(metrics, methods)
    datasets = []
    for dataset, rows in means.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        f1, second = family.f1, family.second
        by_rate = rates[rates["dataset"] == dataset].pivot(index="level", columns="method", values=f"{f1}_mean")
        floor = by_rate[FLOOR] if FLOOR in by_rate else pd.Series(np.nan, by_rate.index)
        ranked = rows.assign(
            f1=rows[f"{f1}_mean"],
            f1_std=rows[f"{f1}_std"],
            second=rows[f"{second}_mean"],
            second_std=rows[f"{second}_std"],
            over_floor=rows[f"{f1}_mean"] - floor.mean(),
            falls_at=[by_rate.index[by_rate[method] <= floor].min() for method in rows["method"]],
            last=rows["method"] == FLOOR,
        )
        datasets.append(ranked.sort_values(["last", "f1"], ascending=[True, False], kind="stable"))
    columns = ["dataset", "family", "method", "checkpoints", "runs", "seeds", "folds", "conditions"]
    columns += ["f1", "f1_std", "second", "second_std", "over_floor", "falls_at"]
    return pd.concat(datasets, ignore_index=True)[columns] if datasets else pd.DataFrame(columns=columns)


def headline(metrics: pd.DataFrame) -> str:
    """Write the ranking of each dataset as plain text for a terminal."""
    ranked = headlines(metrics)
    if ranked.empty:
        return "No random-missing condition was evaluated."
    sections = []
    for dataset, rows in ranked.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        f1, second = family.f1, family.second
        body = [["method", heading(f1), heading(second), f"over {FLOOR}", f"down to {FLOOR} at"]]
        for row in rows.itertuples(index=False):
            means = estimate(row.f1, row.f1_std, f1), estimate(row.second, row.second_std, second)
            over = f"{100 * row.over_floor:+.2f}" if row.method != FLOOR and not np.isnan(row.over_floor) else NAN
            at = NAN if over == NAN else "no rate" if np.isnan(row.falls_at) else f"r = {row.falls_at:g}"
            body.append([row.method, *means, over, at])
        title = f"{dataset}: mean over {plural(int(rows['conditions'].max()), 'missing rate')}, "
        folds, seeds = int(rows["folds"].max()), int(rows["seeds"].max())
        title += f"{plural(seeds, 'seed')} with {plural(folds, 'fold')}" if folds > 1 else plural(seeds, "run")
        if (rows["checkpoints"] == "TEST").any():
            title += f" ({ON_TEST})"
        sections.append("\n".join([title, *(f"  {'  '.join(line).rstrip()}" for line in _padded(body))]))
    return "\n\n".join(sections)
