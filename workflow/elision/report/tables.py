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
from elision.evaluation.aggregate import FLOOR, statistics
from elision.evaluation.metrics import FAMILIES, METRICS
from elision.task import MODALITIES

ON_TEST = "checkpoints chosen on the TEST set"
NAN = "–"
ABSENT = ["+".join(subset) for size in (1, 2) for subset in combinations(MODALITIES, size)]
CAPTIONS = {
    "random_missing": "Random missing: mean over the missing rates",
    "per_rate": "Random missing, rate by rate",
    "absent": "Whole modalities absent",
}

_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def random_missing(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method: mean over the missing rates of each run, then mean and deviation over runs.

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
        test split), ``runs``, ``conditions`` (averaged in each run), ``undefined`` (values that are nan), and per
        metric the mean and the sample standard deviation over runs (ddof = 1; nan for one run).
    """
    return _wide(metrics[metrics["protocol"] == "random"], methods)


def per_rate(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and missing rate (column ``level``); see ``random_missing``."""
    return _wide(metrics[metrics["protocol"] == "random"], methods, by=["level"])


def absent(metrics: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row per method and set of absent modalities, as in LNLN's Tables 11 to 14; see ``random_missing``.

    The column ``absent`` is "none", "text", ..., or "mean": the mean over the sets (none is not one of them).
    """
    rows = metrics[metrics["protocol"] == "absent"]
    rows = rows.assign(absent=rows["modalities"].replace("", "none"))
    mean = rows[rows["absent"].isin(ABSENT)].assign(absent="mean")
    both = pd.concat([rows, mean], ignore_index=True)
    both["absent"] = pd.Categorical(both["absent"], ["none", *ABSENT, "mean"])
    return _wide(both, methods, by=["absent"]).astype({"absent": str})


TABLES: dict[str, Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame]] = {
    "random_missing": random_missing,
    "per_rate": per_rate,
    "absent": absent,
}


def _wide(metrics: pd.DataFrame, methods: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    order = [*(method for method in methods if method != FLOOR), FLOOR]
    chosen = metrics[metrics["method"].isin(order)]
    pairs = pd.MultiIndex.from_frame(chosen[["family", "metric"]])
    chosen = chosen[pairs.isin([(name, metric) for name in FAMILIES for metric in FAMILIES[name].reported])]
    long = statistics(chosen.assign(method=pd.Categorical(chosen["method"], order)), by)
    rows = ["dataset", "family", "method", *by]
    columns = {"runs": "max", "conditions": "max", "undefined": "sum", "on_test": "any"}
    table = long.groupby(rows, observed=True).agg(columns)
    table.insert(0, "checkpoints", np.where(table.pop("on_test"), "TEST", "valid"))
    for metric in filter(set(long["metric"]).__contains__, METRICS):
        values = long[long["metric"] == metric].set_index(rows)
        table[f"{metric}_mean"], table[f"{metric}_std"] = values["mean"], values["std"]
    return table.reset_index().astype({"method": str})


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


def heading(metric: str) -> str:
    """Name of a metric with an arrow that says which way is better."""
    return METRICS[metric].name + _ARROWS[METRICS[metric].better]


def number(value: float, metric: str) -> str:
    """Print a value: percent with two decimals, others with three; nan as a dash."""
    if np.isnan(value):
        return NAN
    text = f"{100 * value:.2f}" if METRICS[metric].percent else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def estimate(mean: float, std: float, metric: str) -> str:
    """Print a mean with its standard deviation, where there is one."""
    return (
        number(mean, metric) if np.isnan(mean) or np.isnan(std) else f"{number(mean, metric)} ± {number(std, metric)}"
    )


def _cells(methods: Sequence[str], rows: pd.DataFrame, metric: str) -> list[Cell]:
    """Cells of one column; what prints the same has the same rank, and the floor has none."""
    means, stds = rows[f"{metric}_mean"].to_dict(), rows[f"{metric}_std"].to_dict()
    shown = {method: float(number(mean, metric)) for method, mean in means.items() if not np.isnan(mean)}
    distinct = {value for method, value in shown.items() if method != FLOOR}
    better = METRICS[metric].better
    ranking = sorted(distinct, reverse=better == "higher")[:2] if better and len(distinct) > 1 else []
    ranks = {
        method: 1 + ranking.index(shown[method]) for method in shown if method != FLOOR and shown[method] in ranking
    }
    numbers = [(means.get(method, np.nan), stds.get(method, np.nan), ranks.get(method, 0)) for method in methods]
    return [Cell(mean, estimate(mean, std, metric), rank) for mean, std, rank in numbers]


def blocks(table: pd.DataFrame) -> list[Block]:
    """Round, rank and group the rows of one dataset.

    Metrics are the columns; of a table with rates, the rates are, and each metric is a block. Ranks compare printed
    values, so that what looks equal is equal.
    """
    if table.empty:
        return []
    methods = list(table["method"].unique())
    metrics = FAMILIES[table["family"].iloc[0]].reported
    table = table.set_index("method")

    def block(title: str, columns: list[tuple[str, str, pd.DataFrame]]) -> Block:
        cells = [_cells(methods, rows, metric) for _, metric, rows in columns]
        rows = [(method, list(row)) for method, *row in zip(methods, *cells, strict=True)]
        return Block(title, [name for name, _, _ in columns], rows)

    if "level" in table:
        rates = sorted(table["level"].unique())
        by_rate = {f"r = {rate:g}": table[table["level"] == rate] for rate in rates}
        return [block(heading(m), [(name, m, rows) for name, rows in by_rate.items()]) for m in metrics]
    if "absent" in table:
        groups = table.groupby("absent", sort=False)
        order = [name for name in ("none", *ABSENT, "mean") if name in groups.groups]
        sets = len(set(order) & set(ABSENT))
        titles = {"none": "nothing absent", "mean": f"mean over the {plural(sets, 'set')} of absent modalities"}
        return [
            block(titles.get(name, f"{name.replace('+', ' and ')} absent"), [(heading(m), m, rows) for m in metrics])
            for name in order
            for rows in [groups.get_group(name)]
        ]
    return [block("", [(heading(m), m, table) for m in metrics])]


def notes(table: pd.DataFrame, *, second: str = "underlined") -> list[str]:
    """Sentences that belong under a table, in plain text.

    Parameters
    ----------
    second : str
        How the second best is set.
    """
    if table.empty:
        return ["No such condition was evaluated."]
    runs = table["runs"]
    sentences = []
    if (table["checkpoints"] == "TEST").any():
        which = table.loc[table["checkpoints"] == "TEST", "method"].unique()
        sentences.append(f"{ON_TEST[0].upper()}{ON_TEST[1:]}, for each metric its own: {', '.join(which)}.")
    sentences.append("Accuracies, F1 and shares in percent.")
    if runs.max() == 1:
        sentences.append("One run, so no standard deviation.")
    else:
        over = f"{runs.min()} to {runs.max()} runs" if runs.min() < runs.max() else plural(int(runs.max()), "run")
        sentences.append(f"±: sample standard deviation (ddof = 1) over {over}.")
    methods = set(table["method"])
    if len(methods - {FLOOR}) > 1:
        sentences.append(f"Bold: best, {second}: second best of the methods in its column.")
    if FLOOR in methods:
        sentences.append(f"{FLOOR} is the floor: it answers the same for every sample, and is not ranked.")
    single = table[table["absent"] != "mean"] if "absent" in table else table
    counts = single.groupby("method", sort=False)["undefined"].sum()
    if counts.any():
        listed = ", ".join(f"{method} {count}" for method, count in counts[counts > 0].items())
        sentences.append(
            f"{NAN}: undefined, as the correlation of constant predictions is, and so every mean over runs and "
            f"conditions that has one (how many: {listed})."
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
    return "\n".join(lines if not table.empty else [*lines, *notes(table), ""])


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
    return "\n".join(lines if not table.empty else [*lines, *(f"% {sentence}" for sentence in notes(table)), ""])


def headlines(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rank the methods of each dataset by their mean F1 over the missing rates, and compare them with the floor.

    Returns
    -------
    headlines : pd.DataFrame
        Best first, the floor last: columns ``dataset``, ``family``, ``method``, ``checkpoints``, ``runs``,
        ``conditions`` (rates), ``f1``, ``f1_std``, ``mae``, ``mae_std``, ``over_floor`` (difference of F1 to the
        floor; nan without one) and ``falls_at`` (lowest rate at which mean F1 is not above the floor's; nan when it is
        above at all).
    """
    methods = sorted(metrics["method"].unique())
    means, rates = random_missing(metrics, methods), per_rate(metrics, methods)
    datasets = []
    for dataset, rows in means.groupby("dataset"):
        f1 = FAMILIES[rows["family"].iloc[0]].f1
        by_rate = rates[rates["dataset"] == dataset].pivot(index="level", columns="method", values=f"{f1}_mean")
        floor = by_rate[FLOOR] if FLOOR in by_rate else pd.Series(np.nan, by_rate.index)
        ranked = rows.assign(
            f1=rows[f"{f1}_mean"],
            f1_std=rows[f"{f1}_std"],
            mae=rows["mae_mean"],
            over_floor=rows[f"{f1}_mean"] - floor.mean(),
            falls_at=[by_rate.index[by_rate[method] <= floor].min() for method in rows["method"]],
            last=rows["method"] == FLOOR,
        )
        datasets.append(ranked.sort_values(["last", "f1"], ascending=[True, False], kind="stable"))
    columns = ["dataset", "family", "method", "checkpoints", "runs", "conditions", "f1", "f1_std", "mae", "mae_std"]
    columns += ["over_floor", "falls_at"]
    return pd.concat(datasets, ignore_index=True)[columns] if datasets else pd.DataFrame(columns=columns)


def headline(metrics: pd.DataFrame) -> str:
    """Write the ranking of each dataset as plain text for a terminal."""
    ranked = headlines(metrics)
    if ranked.empty:
        return "No random-missing condition was evaluated."
    sections = []
    for dataset, rows in ranked.groupby("dataset"):
        f1 = FAMILIES[rows["family"].iloc[0]].f1
        body = [["method", heading(f1), heading("mae"), f"over {FLOOR}", f"down to {FLOOR} at"]]
        for row in rows.itertuples(index=False):
            means = estimate(row.f1, row.f1_std, f1), estimate(row.mae, row.mae_std, "mae")
            over = f"{100 * row.over_floor:+.2f}" if row.method != FLOOR and not np.isnan(row.over_floor) else NAN
            at = NAN if over == NAN else "no rate" if np.isnan(row.falls_at) else f"r = {row.falls_at:g}"
            body.append([row.method, *means, over, at])
        title = f"{dataset}: mean over {plural(int(rows['conditions'].max()), 'missing rate')}, "
        title += plural(int(rows["runs"].max()), "run")
        if (rows["checkpoints"] == "TEST").any():
            title += f" ({ON_TEST})"
        sections.append("\n".join([title, *(f"  {'  '.join(line).rstrip()}" for line in _padded(body))]))
    return "\n\n".join(sections)
