"""Numbers as they are printed, and tables as csv, Markdown and LaTeX text."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, groupby

import numpy as np
import pandas as pd

from elision.errors import plural
from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import metric
from elision.report.marks import capital, headings, signs
from elision.report.table import Table

NAN = "–"
_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes
    ----------
    value : float
    text : str
        As it is printed, with its ±.
    rank : int
        1 (best), 2, or 0.
    sign : str
        What stands behind it, and a note tells.
    relative : float
        Share of the value on complete data; nan where that is unknown.
    shade : float in [0, 1]
        Where the page colours the cell: 0 for the worst of the values that share a scale, 1 for the best; else nan.
    """

    value: float
    text: str
    rank: int
    sign: str = ""
    relative: float = np.nan
    shade: float = np.nan

    @property
    def empty(self) -> bool:
        """Whether nothing stands there."""
        return self.text in ("", NAN)


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
    folded : bool
        The page shows the title alone until the reader opens it.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    folded: bool = False


def alike(blocks: Iterable[Block]) -> list[list[Block]]:
    """Group blocks that follow each other and have the same columns."""
    return [list(group) for _, group in groupby(blocks, key=lambda block: block.columns)]


def filled(table: Table, frame: pd.DataFrame) -> tuple[list[list[Block]], list[str]]:
    """Return the blocks of a table as they are shown, and what is left out.

    Blocks that follow each other and have the same columns are one group. A column in which no method of a group has a
    value is left out, and a note says so.
    """
    groups, empty = [], {}
    for group in alike(table.blocks(frame)):
        rows = [cells for block in group for _, cells in block.rows]
        kept = [i for i in range(len(group[0].columns)) if not all(cells[i].empty for cells in rows)]
        empty |= dict.fromkeys(name for i, name in enumerate(group[0].columns) if i not in kept)
        groups.append([_with(block, kept) for block in group])
    told = [f"Left out, because no method has a value: {_listed(empty)}."] if empty else []
    return groups, told


def _listed(columns: Iterable[str]) -> str:
    """List columns; those that differ in what follows a comma, such as the kind of corruption, are listed together."""
    groups: dict[str, list[str]] = {}
    for column in columns:
        name, _, of = column.partition(", ")
        groups.setdefault(name, []).extend([of] if of else [])
    return ", ".join(f"{name} ({', '.join(of)})" if of else name for name, of in groups.items())


def _with(block: Block, columns: list[int]) -> Block:
    rows = [(method, [cells[i] for i in columns]) for method, cells in block.rows]
    return replace(block, columns=[block.columns[i] for i in columns], rows=rows)


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


def signed(difference: float, name: str) -> str:
    """Print a difference of a metric with its sign."""
    text = number(abs(difference), name)
    return text if text == NAN or float(text) == 0 else f"{'−' if difference < 0 else '+'}{text}"


def p_value(value: float) -> str:
    """Print a p value."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def spread(low: float, high: float, noun: str) -> str:
    """Print two counts, as in "2 to 3 seeds"."""
    low, high = int(low), int(high)
    return f"{low} to {plural(high, noun)}" if low < high else plural(high, noun)


def csv(frame: pd.DataFrame) -> str:
    """Full precision, shares as fractions of 1, nan as an empty field."""
    return frame.to_csv(index=False, lineterminator="\n")


def padded(rows: list[list[str]]) -> list[list[str]]:
    """Pad every column to one width, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]


def _markdown_table(rows: list[list[str]]) -> list[str]:
    head, *body = padded(rows)
    rule = ["-" * len(head[0]), *("-" * (len(text) - 1) + ":" for text in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *body)]


_MARKDOWN_RANKS = ("{}", "**{}**", "*{}*")


def _markdown_text(text: str) -> str:
    return "".join(f"\\{sign}" if sign in r"\|*`<[" else sign for sign in text)


def markdown(table: Table, frame: pd.DataFrame) -> str:
    """Write a table for reading as text and on a code host: a section per dataset, a table per block."""
    lines = [f"# {table.caption}", ""]
    for text, advice in headings(frame):
        lines += [f"> **{capital(text)}.** {advice}", ""]
    for dataset, rows in frame.groupby("dataset"):
        lines += [f"## {_markdown_text(dataset)}", ""]
        sign = signs(rows)
        groups, left_out = filled(table, rows)
        for block in chain.from_iterable(groups):
            lines += [f"### {_markdown_text(block.title)}", ""] if block.title else []
            body = [
                [
                    _markdown_text(method + sign.get(method, "")),
                    *(_MARKDOWN_RANKS[cell.rank].format(cell.text) + _markdown_text(cell.sign) for cell in cells),
                ]
                for method, cells in block.rows
            ]
            lines += [*_markdown_table([[table.of, *block.columns], *body]), ""]
        lines += [
            *(f"- {_markdown_text(sentence)}" for sentence in [*table.notes(rows, second="italic"), *left_out]),
            "",
        ]
    return "\n".join(lines if not frame.empty else [*lines, table.empty, ""])


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"},
    **{">": r"\textgreater{}", "±": r"$\pm$", "–": "--", "↑": r"$\uparrow$", "↓": r"$\downarrow$"},
    **{"−": "$-$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "§": r"\S{}", "¶": r"\P{}", "²": "$^2$", "*": "$^*$"},
    "◊": r"$\diamond$",
}


_LATEX_RANKS = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex(table: Table, frame: pd.DataFrame) -> str:
    r"""Write a table for a paper: a ``table`` per dataset, with booktabs' rules.

    Needs ``\usepackage{booktabs}`` and, as the tables are wide, ``\usepackage{graphicx}``.
    """
    lines = [r"% Needs \usepackage{booktabs,graphicx}", ""]
    for dataset, rows in frame.groupby("dataset"):
        groups, left_out = filled(table, rows)
        marked_by, sign = [text for text, _ in headings(rows)], signs(rows)
        caption = f"{table.caption} ({dataset}). {' '.join([*table.notes(rows), *left_out])}"
        lines += [
            *(f"% {text.upper()}" for text in marked_by),
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{_latex_text(caption)}}}",
            rf"\label{{tab:{table.name.replace('_', '-')}-{dataset}}}",
        ]
        for number, grouped in enumerate(groups):
            columns = grouped[0].columns
            lines += [
                *([r"\\[2ex]"] if number else []),
                r"\resizebox{\linewidth}{!}{%",
                rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
                r"\toprule",
                *(
                    rf"\multicolumn{{{len(columns) + 1}}}{{c}}{{\textbf{{{_latex_text(text)}}}}} \\"
                    for text in marked_by
                ),
                " & ".join([table.of.capitalize(), *map(_latex_text, columns)]) + r" \\",
            ]
            for block in grouped:
                lines.append(r"\midrule")
                if block.title:
                    lines.append(
                        rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{{_latex_text(block.title)}}}}} \\"
                    )
                for method, cells in block.rows:
                    lines += [r"\addlinespace[2pt]"] if method == FLOOR else []
                    texts = [
                        _LATEX_RANKS[cell.rank].format(_latex_text(cell.text)) + _latex_text(cell.sign)
                        for cell in cells
                    ]
                    lines.append(" & ".join([_latex_text(method + sign.get(method, "")), *texts]) + r" \\")
            lines += [r"\bottomrule", r"\end{tabular}}"]
        lines += [r"\end{table}", ""]
    return "\n".join(lines if not frame.empty else [*lines, f"% {table.empty}", ""])
