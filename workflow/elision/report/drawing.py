"""What figures share: style, looks of methods, legends, and files.

The same data give the same bytes. Figures are as wide as one or two columns of a paper. Bands and bars are one standard
deviation over seeds, or over the folds of a single seed.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context

from elision.corruption.kind import Kind
from elision.evaluation.aggregate import FLOOR, VALID, statistics
from elision.evaluation.metrics import metric as metric_of
from elision.files import replacing
from elision.report.marks import capital, headings, signs
from elision.report.text import heading

INK = "#1c1b22"
NOTHING = "nothing"  # label of figures in which nothing is drawn
COLUMN, PAGE = 3.5, 7.2  # inches: one column of a paper, and both

# Okabe and Ito's colours that stand out on light and on dark ground alike. Colour, marker and line repeat with
# different periods, so that no two of the first 72 methods look the same.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "-.", ":")
STYLE = partial(
    context,
    [
        "default",  # whatever the user's matplotlibrc says
        {
            "font.family": "DejaVu Sans",
            "font.size": 7.5,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 8,
            "axes.titlelocation": "left",
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": INK,
            "grid.alpha": 0.12,
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "text.parse_math": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "elision",
            "pdf.fonttype": 42,  # fonts as outlines that can be edited, which journals ask for
        },
    ],
)


def figure_of(width: float, height: float, shown: pd.DataFrame | None = None) -> Figure:
    """Figure with the headings of what is marked; ``shown``: see ``marks.of_methods``."""
    told = [capital(text) for text, _ in headings(shown)] if shown is not None else []
    lines = [line for text in told for line in textwrap.wrap(text, int(14 * width))]
    figure = Figure(figsize=(width, height + 0.15 * max(0, len(lines) - 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_gid("background")
    if lines:
        figure.suptitle("\n".join(lines), color="#d55e00", fontsize=8, fontweight="bold")
    return figure


def on_test(rows: pd.DataFrame) -> bool:
    """Return whether a checkpoint was chosen on the test split."""
    return bool((rows["checkpoint"] != VALID).any())


def nothing(message: str) -> Figure:
    """Make a figure that says why there is none; the page leaves it out."""
    figure = figure_of(COLUMN, 0.8)
    figure.set_label(NOTHING)
    figure.text(0.5, 0.5, message, ha="center", va="center")
    return figure


def untested(kind: Kind) -> str:
    """Say that nothing was evaluated under a kind of corruption."""
    (name, *_) = kind.corruptions.values()
    what = f"condition with {kind.sets} modalities" if kind.sets else f"{name.replace(' ', '-')} condition"
    return f"No {what} was evaluated."


def look(position: int) -> dict:
    """Colour, marker and line of the method that stands at a position."""
    return {
        "color": _COLOURS[position % len(_COLOURS)],
        "marker": _MARKERS[position % len(_MARKERS)],
        "linestyle": _LINES[position // len(_COLOURS) % len(_LINES)],
        "linewidth": 1.2,
        "markersize": 3.5,
    }


FLOOR_LOOK = {"color": INK, "linestyle": "--", "linewidth": 1.2}


def looks(methods: Sequence[str]) -> dict[str, dict]:
    """Looks by method: the position gives each, and the floor, which is the last, has its own."""
    order = [method for method in methods if method != FLOOR]
    return {method: look(position) for position, method in enumerate(order)} | {FLOOR: FLOOR_LOOK}


def series_of(rows: pd.DataFrame, methods: Sequence[str], metric: str, by: str) -> list[tuple[str, dict, pd.DataFrame]]:
    """Method, its look, and its mean and std by condition; in percent where the metric is; the floor last."""
    values = statistics(rows[rows["metric"] == metric], [by])
    values[["mean", "std"]] *= 100 if metric_of(metric).percent else 1
    series = ((name, style, values[values["method"] == name].set_index(by)) for name, style in looks(methods).items())
    return [(name, style, lines) for name, style, lines in series if not lines.empty]


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Count the columns of a legend that fit into a width in inches."""
    return max(1, min(len(names), int(width / (0.6 + 0.07 * max(map(len, names))))))


def with_legend(names: Sequence[str], *, width: float, height: float, shown: pd.DataFrame) -> Figure:
    """Figure that is higher by a legend of all names."""
    lines = math.ceil(len(names) / _legend_columns(names, width))
    return figure_of(width, height + 0.15 * lines + 0.1, shown)


def legend(axes: Axes, names: Sequence[str], title: str | None = None, shown: pd.DataFrame | None = None) -> None:
    """Put a legend under all axes, in the order of the names, with the signs of what is marked."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    sign = signs(shown) if shown is not None else {}
    texts = [name + sign.get(name, "") for name in names]
    columns = _legend_columns(texts, axes.figure.get_figwidth())
    where = {"loc": "outside lower center", "ncols": columns, "handlelength": 3, "title": title}
    axes.figure.legend([handles[name] for name in names], texts, **where)


def finish(axes: Axes, dataset: str, metric: str, series: list, shown: pd.DataFrame) -> Figure:
    """Set title, axis and legend of a plot of one metric."""
    axes.set_title(f"{dataset}: {heading(metric)}")
    axes.set_ylabel(metric_of(metric).name + (" (%)" if metric_of(metric).percent else ""))
    axes.grid(axis="y")
    legend(axes, labels(series), shown=shown)
    return axes.figure


def labels(series: list) -> list[str]:
    """Return the methods of some series."""
    return [name for name, _, _ in series]


def draw(axes: Axes, series: list) -> None:
    """Draw means, with bands."""
    for name, style, values in series:
        axes.plot(values.index, values["mean"], label=name, **style)
        if values["std"].notna().any():
            low, high = values["mean"] - values["std"], values["mean"] + values["std"]
            alpha = min(0.15, 1 / len(series))
            axes.fill_between(values.index, low, high, color=style["color"], alpha=alpha, linewidth=0)


def levels(axes: Axes, series: list) -> None:
    """Put a tick at each level."""
    axes.set_xticks(sorted({level for _, _, values in series for level in values.index}))


@STYLE()
def svg(figure: Figure) -> str:
    """Render as SVG text, without date or version."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", dpi=200, facecolor="white", metadata=nothing)
    return file.getvalue()


@STYLE()
def write(figure: Figure, stem: Path) -> str:
    """Write ``stem``.svg, ``stem``.png and ``stem``.pdf (atomically), and return the SVG text."""
    text = svg(figure)
    figure.set_layout_engine(None)  # what was laid out for the SVG holds for the others; "none" would draw them twice
    with replacing(stem.with_name(f"{stem.name}.svg")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for kind, nothing in (("png", ("Software",)), ("pdf", ("CreationDate", "Creator", "Producer"))):
        with replacing(stem.with_name(f"{stem.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=300, facecolor="white", metadata=dict.fromkeys(nothing))
    return text
