"""Figures: robustness curves, absent modalities, confusion matrices. The same data give the same bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from elision.evaluation.aggregate import CONFUSION_RATES, FLOOR, VALID, statistics
from elision.evaluation.metrics import FAMILIES, METRICS
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
    values[["mean", "std"]] *= 100 if METRICS[metric].percent else 1
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
    axes.set_ylabel(METRICS[metric].name + (" (%)" if METRICS[metric].percent else ""))
    axes.grid(axis="y")
    handles, labels = axes.get_legend_handles_labels()
    handles = [handles[labels.index(method)] for method, _, _ in series]
    columns = _legend_columns(series)
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns, handlelength=3)
    return axes.figure


@_STYLE
def curve(metrics: pd.DataFrame, *, dataset: str, metric: str, methods: Sequence[str]) -> Figure:
    """Draw a metric against the missing rate; bands are one standard deviation over runs, the floor is dashed.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    metric : str
        Key of ``METRICS``.
    methods : sequence of str
        What is drawn; the position gives the look.
    """
    rows = metrics[(metrics["dataset"] == dataset) & (metrics["protocol"] == "random") & (metrics["metric"] == metric)]
    series = _series(rows, methods, metric, "level")
    if not series:
        return _nothing("No random-missing condition was evaluated.")
    axes = _axes(series, on_test=_on_test(rows))
    for method, look, values in series:
        axes.plot(values.index, values["mean"], label=method, **look)
        if values["std"].notna().any():
            low, high = values["mean"] - values["std"], values["mean"] + values["std"]
            axes.fill_between(
                values.index, low, high, color=look["color"], alpha=min(0.15, 1 / len(series)), linewidth=0
            )
    axes.set_xlabel("missing rate r")
    axes.set_xticks(sorted(rows["level"].unique()))
    return _finish(axes, dataset, metric, series)


@_STYLE
def absent(metrics: pd.DataFrame, *, dataset: str, metric: str, methods: Sequence[str]) -> Figure:
    """Draw a metric for each set of absent modalities; bars are one standard deviation over runs."""
    rows = metrics[(metrics["dataset"] == dataset) & (metrics["protocol"] == "absent") & (metrics["metric"] == metric)]
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
    names = FAMILIES[rows["family"].iloc[0]].classes
    figure = _figure(2.4 * len(rates) + 0.9, 5.0, on_test=_on_test(rows))
    figure.supxlabel(f"predicted ({dataset}, {method})", fontsize=9)
    figure.supylabel("true", fontsize=9)
    grid = figure.subplots(len(names), len(rates), squeeze=False)
    for line, (classes, labels) in zip(grid, names.items(), strict=True):
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
    bar = figure.colorbar(mesh, ax=grid, shrink=0.5, aspect=30, label="share of the true class", **steps)
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
