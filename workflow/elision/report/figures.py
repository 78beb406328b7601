"""Figures: robustness curves, absent modalities, confusion matrices. The same data give the same bytes.

Bands and bars are one standard deviation over seeds, or over the folds of a single seed.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from elision.evaluation.aggregate import CONFUSION_RATES, FLOOR, VALID, statistics
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import metric as metric_of
from elision.report.tables import ABSENT, ON_TEST, heading
from elision.store import replacing

INK = "#1c1b22"

# Okabe and Ito's colours that stand out on light and on dark ground alike. Colour, marker and line repeat with
# different periods, so that no two of the first 72 methods look the same.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "-.", ":")
_STYLE = style.context(
    [
        "default",  # whatever the user's matplotlibrc says
        {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
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
        },
    ],
)


def _figure(width: float, height: float, *, on_test: bool) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_gid("background")
    if on_test:
        figure.suptitle(f"{ON_TEST[0].upper()}{ON_TEST[1:]}", color="#d55e00", fontsize=9, fontweight="bold")
    return figure


def _on_test(rows: pd.DataFrame) -> bool:
    return bool((rows["checkpoint"] != VALID).any())


def _nothing(message: str) -> Figure:
    figure = _figure(6, 1.2, on_test=False)
    figure.text(0.5, 0.5, message, ha="center", va="center")
    return figure


def _look(position: int) -> dict:
    return {
        "color": _COLOURS[position % len(_COLOURS)],
        "marker": _MARKERS[position % len(_MARKERS)],
        "linestyle": _LINES[position // len(_COLOURS) % len(_LINES)],
        "linewidth": 1.6,
        "markersize": 5,
    }


_FLOOR_LOOK = {"color": INK, "linestyle": "--", "linewidth": 1.4}


def _series(rows: pd.DataFrame, methods: Sequence[str], metric: str, by: str) -> list[tuple[str, dict, pd.DataFrame]]:
    """Method, its look, and its mean and std by condition; in percent where the metric is; the floor last."""
    values = statistics(rows[rows["metric"] == metric], [by])
    values[["mean", "std"]] *= 100 if metric_of(metric).percent else 1
    order = [method for method in methods if method != FLOOR]
    looks = {method: _look(position) for position, method in enumerate(order)} | {FLOOR: _FLOOR_LOOK}
    series = ((method, look, values[values["method"] == method].set_index(by)) for method, look in looks.items())
    return [(method, look, lines) for method, look, lines in series if not lines.empty]


def _axes(series: list, *, on_test: bool) -> Axes:
    """Axes with room for the legend of all series."""
    return _figure(6.4 + 1.4 * _legend_columns(series), 4.2, on_test=on_test).subplots()


def _legend_columns(series: list) -> int:
    return 1 + (len(series) - 1) // 16


def _finish(axes: Axes, dataset: str, metric: str, series: list) -> Figure:
    axes.set_title(f"{dataset}: {heading(metric)}")
    axes.set_ylabel(metric_of(metric).name + (" (%)" if metric_of(metric).percent else ""))
    axes.grid(axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **_legend(axes, series))
    return axes.figure


def _legend(axes: Axes, series: list) -> dict:
    handles, labels = axes.get_legend_handles_labels()
    handles = [handles[labels.index(method)] for method, _, _ in series]
    return {"handles": handles, "ncols": _legend_columns(series), "handlelength": 3}


def _draw(axes: Axes, series: list) -> None:
    """Draw means against the missing rate, with bands."""
    for method, look, values in series:
        axes.plot(values.index, values["mean"], label=method, **look)
        if values["std"].notna().any():
            low, high = values["mean"] - values["std"], values["mean"] + values["std"]
            axes.fill_between(
                values.index, low, high, color=look["color"], alpha=min(0.15, 1 / len(series)), linewidth=0
            )
    axes.set_xticks(sorted({level for _, _, values in series for level in values.index}))


@_STYLE
def curve(metrics: pd.DataFrame, *, dataset: str, metric: str, methods: Sequence[str]) -> Figure:
    """Draw a metric against the missing rate; the floor is dashed.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    metric : str
        See ``metrics.metric``.
    methods : sequence of str
        What is drawn; the position gives the look.
    """
    rows = metrics[
        (metrics["dataset"] == dataset) & (metrics["corruption"] == "random") & (metrics["metric"] == metric)
    ]
    series = _series(rows, methods, metric, "level")
    if not series:
        return _nothing("No random-missing condition was evaluated.")
    axes = _axes(series, on_test=_on_test(rows))
    _draw(axes, series)
    axes.set_xlabel("missing rate r")
    return _finish(axes, dataset, metric, series)


@_STYLE
def class_curves(
    metrics: pd.DataFrame, *, dataset: str, methods: Sequence[str], kind: str = "f1_binary_weighted"
) -> Figure:
    """Draw a metric of each class against the missing rate, a panel per class.

    Parameters
    ----------
    kind : str
        Key of ``metrics.PER_CLASS``.
    """
    rows = metrics[(metrics["dataset"] == dataset) & (metrics["corruption"] == "random")]
    if rows.empty:
        return _nothing("No random-missing condition was evaluated.")
    labels = family_of(rows["family"].iloc[0]).labels
    panels = {label: _series(rows, methods, f"{kind}.{label}", "level") for label in labels}
    shown = next(iter(panels.values()))
    columns = math.ceil(math.sqrt(len(labels)))
    lines = math.ceil(len(labels) / columns)
    figure = _figure(3.2 * columns + 1.4 * _legend_columns(shown), 2.6 * lines + 0.4, on_test=_on_test(rows))
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (label, series) in zip(grid, panels.items(), strict=False):
        _draw(axes, series)
        axes.set_title(heading(f"{kind}.{label}"))
        axes.grid(axis="y")
        axes.tick_params(labelbottom=True)
    for axes in grid[len(labels) :]:
        axes.remove()
    figure.supxlabel(f"missing rate r ({dataset})", fontsize=9)
    figure.supylabel("F1 of one class against the rest (%)", fontsize=9)
    figure.legend(loc="outside right center", **_legend(grid[0], shown))
    return figure


@_STYLE
def absent(metrics: pd.DataFrame, *, dataset: str, metric: str, methods: Sequence[str]) -> Figure:
    """Draw a metric for each set of absent modalities; the floor is a dashed line at each."""
    rows = metrics[
        (metrics["dataset"] == dataset) & (metrics["corruption"] == "absent") & (metrics["metric"] == metric)
    ]
    series = _series(rows, methods, metric, "modalities")
    if not series:
        return _nothing("No condition with absent modalities was evaluated.")
    axes = _axes(series, on_test=_on_test(rows))
    sets = [name for name in ("", *ABSENT) if name in set(rows["modalities"])]
    places = np.arange(len(sets))
    offsets = np.linspace(-0.3, 0.3, len(series)) if len(series) > 2 else np.zeros(len(series))
    for offset, (method, look, values) in zip(offsets, series, strict=True):
        values = values.reindex(sets)
        if method == FLOOR:
            axes.hlines(values["mean"], places - 0.42, places + 0.42, label=method, **_FLOOR_LOOK)
            continue
        std = values["std"].fillna(0)
        point = {key: look[key] for key in ("color", "marker", "markersize")}
        axes.errorbar(places + offset, values["mean"], std, label=method, linestyle="none", elinewidth=1.2, **point)
    axes.set_xticks(places, [name.replace("+", "\n+ ") or "nothing" for name in sets])
    axes.set_xlabel("absent")
    return _finish(axes, dataset, metric, series)


@_STYLE
def confusion(confusions: pd.DataFrame, *, dataset: str, method: str) -> Figure:
    """Draw the confusion matrices of one method, a column per missing rate, a row per number of classes.

    Colour is the share of the true class (row) in percent, the number the count, summed over runs.
    """
    rows = confusions[(confusions["dataset"] == dataset) & (confusions["method"] == method)]
    rates = [rate for rate in CONFUSION_RATES if (rows["level"] == rate).any()]
    if not rates:
        return _nothing(
            f"None of the missing rates {', '.join(f'{rate:g}' for rate in CONFUSION_RATES)} was evaluated."
        )
    names = list(family_of(rows["family"].iloc[0]).confusions.values())
    figure = _figure(2.4 * len(rates) + 0.9, 1.9 * len(names) + 1.2, on_test=_on_test(rows))
    figure.supxlabel(f"predicted ({dataset}, {method})", fontsize=9)
    figure.supylabel("true", fontsize=9)
    grid = figure.subplots(len(names), len(rates), squeeze=False)
    for line, labels in zip(grid, names, strict=True):
        classes = len(labels)
        for axes, rate in zip(line, rates, strict=True):
            here = rows[(rows["classes"] == classes) & (rows["level"] == rate)]
            counts = here.pivot_table("count", "truth", "predicted", aggfunc="sum").to_numpy()
            totals = counts.sum(1, keepdims=True)
            share = counts / np.where(totals > 0, totals, 1)
            mesh = axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="#8888", linewidth=0.3)
            for (i, j), count in np.ndenumerate(counts):
                # Not INK, which follows the page's colours while the cells do not.
                colour = "#ffffff" if share[i, j] > 0.5 else "#202020"
                axes.text(j + 0.5, i + 0.5, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=6.5)
            axes.set_title(f"r = {rate:g}")
            axes.set_xticks(np.arange(classes) + 0.5, labels, rotation=30 if len(labels[0]) > 2 else 0, fontsize=6.5)
            axes.set_yticks(np.arange(classes) + 0.5, labels if axes is line[0] else [], fontsize=6.5)
            axes.tick_params(length=0)
            axes.invert_yaxis()
            axes.set_aspect("equal")
            axes.spines[:].set_visible(False)
    # In steps, because matplotlib embeds a smooth scale as a bitmap.
    steps = {"boundaries": np.linspace(0, 1, 21), "ticks": [0, 0.5, 1]}
    bar = figure.colorbar(mesh, ax=grid, shrink=1 / len(names), aspect=30, label="share of the true class", **steps)
    bar.outline.set_visible(False)
    return figure


@_STYLE
def svg(figure: Figure) -> str:
    """Render as SVG text, without date or version."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", facecolor="white", metadata=nothing)
    return file.getvalue()


@_STYLE
def write(figure: Figure, stem: Path) -> str:
    """Write ``stem``.svg and ``stem``.png (atomically), and return the SVG text."""
    text = svg(figure)
    figure.set_layout_engine("none")  # what was laid out for the SVG holds for the PNG
    with replacing(stem.with_name(f"{stem.name}.svg")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with replacing(stem.with_name(f"{stem.name}.png")) as temporary:
        figure.savefig(temporary, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return text
