"""Figures: robustness curves, absent modalities, confusion matrices, training, representations.

The same data give the same bytes. Figures are as wide as one or two columns of a paper. Bands and bars are one standard
deviation over seeds, or over the folds of a single seed.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.style import context

from elision.evaluation.aggregate import CONFUSION_RATES, FLOOR, VALID, statistics
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import metric as metric_of
from elision.files import replacing
from elision.report import Results
from elision.report.certainty import ranks
from elision.report.curves import training as training_curves
from elision.report.marks import Marks, capital, headings, of_methods, signs
from elision.report.tables import ABSENT, heading, headlines

INK = "#1c1b22"
COLUMN, PAGE = 3.5, 7.2  # inches: one column of a paper, and both
_BEST, _BASELINE = 4, "text_only"
_NONE: Marks = {}  # nothing is marked

# Okabe and Ito's colours that stand out on light and on dark ground alike. Colour, marker and line repeat with
# different periods, so that no two of the first 72 methods look the same.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "-.", ":")
_STYLE = context(
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


def _figure(width: float, height: float, shown: pd.DataFrame | None = None) -> Figure:
    """Figure with the headings of what is marked; ``shown``: see ``marks.of_methods``."""
    told = [capital(text) for text, _ in headings(shown)] if shown is not None else []
    lines = [line for text in told for line in textwrap.wrap(text, int(14 * width))]
    figure = Figure(figsize=(width, height + 0.15 * max(0, len(lines) - 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_gid("background")
    if lines:
        figure.suptitle("\n".join(lines), color="#d55e00", fontsize=8, fontweight="bold")
    return figure


def _on_test(rows: pd.DataFrame) -> bool:
    return bool((rows["checkpoint"] != VALID).any())


def _nothing(message: str) -> Figure:
    figure = _figure(COLUMN, 0.8)
    figure.text(0.5, 0.5, message, ha="center", va="center")
    return figure


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


def _looks(methods: Sequence[str]) -> dict[str, dict]:
    """Looks by method: the position gives each, and the floor, which is the last, has its own."""
    order = [method for method in methods if method != FLOOR]
    return {method: look(position) for position, method in enumerate(order)} | {FLOOR: FLOOR_LOOK}


def _series(rows: pd.DataFrame, methods: Sequence[str], metric: str, by: str) -> list[tuple[str, dict, pd.DataFrame]]:
    """Method, its look, and its mean and std by condition; in percent where the metric is; the floor last."""
    values = statistics(rows[rows["metric"] == metric], [by])
    values[["mean", "std"]] *= 100 if metric_of(metric).percent else 1
    series = ((name, style, values[values["method"] == name].set_index(by)) for name, style in _looks(methods).items())
    return [(name, style, lines) for name, style, lines in series if not lines.empty]


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Count the columns of a legend that fit into a width in inches."""
    return max(1, min(len(names), int(width / (0.6 + 0.07 * max(map(len, names))))))


def _with_legend(names: Sequence[str], *, width: float, height: float, shown: pd.DataFrame) -> Figure:
    """Figure that is higher by a legend of all names."""
    lines = math.ceil(len(names) / _legend_columns(names, width))
    return _figure(width, height + 0.15 * lines + 0.1, shown)


def _legend(axes: Axes, names: Sequence[str], title: str | None = None, shown: pd.DataFrame | None = None) -> None:
    """Put a legend under all axes, in the order of the names, with the signs of what is marked."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    sign = signs(shown) if shown is not None else {}
    texts = [name + sign.get(name, "") for name in names]
    columns = _legend_columns(texts, axes.figure.get_figwidth())
    where = {"loc": "outside lower center", "ncols": columns, "handlelength": 3, "title": title}
    axes.figure.legend([handles[name] for name in names], texts, **where)


def _finish(axes: Axes, dataset: str, metric: str, series: list, shown: pd.DataFrame) -> Figure:
    axes.set_title(f"{dataset}: {heading(metric)}")
    axes.set_ylabel(metric_of(metric).name + (" (%)" if metric_of(metric).percent else ""))
    axes.grid(axis="y")
    _legend(axes, _names(series), shown=shown)
    return axes.figure


def _names(series: list) -> list[str]:
    return [name for name, _, _ in series]


def _draw(axes: Axes, series: list) -> None:
    """Draw means, with bands."""
    for name, style, values in series:
        axes.plot(values.index, values["mean"], label=name, **style)
        if values["std"].notna().any():
            low, high = values["mean"] - values["std"], values["mean"] + values["std"]
            alpha = min(0.15, 1 / len(series))
            axes.fill_between(values.index, low, high, color=style["color"], alpha=alpha, linewidth=0)


def _rates(axes: Axes, series: list) -> None:
    axes.set_xticks(sorted({level for _, _, values in series for level in values.index}))


@_STYLE
def curve(metrics: pd.DataFrame, *, dataset: str, metric: str, methods: Sequence[str], marks: Marks = _NONE) -> Figure:
    """Draw a metric against the missing rate; the floor is dashed.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    metric : str
        See ``metrics.metric``.
    methods : sequence of str
        What is drawn; the position gives the look.
    marks : mapping
        Of ``marks.marks``.
    """
    rows = metrics[
        (metrics["dataset"] == dataset) & (metrics["corruption"] == "random") & (metrics["metric"] == metric)
    ]
    series = _series(rows, methods, metric, "level")
    if not series:
        return _nothing("No random-missing condition was evaluated.")
    shown = of_methods(dataset, _names(series), marks, on_test=_on_test(rows))
    axes = _with_legend(_names(series), width=COLUMN, height=2.3, shown=shown).subplots()
    _draw(axes, series)
    _rates(axes, series)
    axes.set_xlabel("missing rate r")
    return _finish(axes, dataset, metric, series, shown)


@_STYLE
def class_curves(
    metrics: pd.DataFrame,
    *,
    dataset: str,
    methods: Sequence[str],
    kind: str = "f1_binary_weighted",
    marks: Marks = _NONE,
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
    names = _names(next(iter(panels.values())))
    columns = math.ceil(math.sqrt(len(labels)))
    lines = math.ceil(len(labels) / columns)
    shown = of_methods(dataset, names, marks, on_test=_on_test(rows))
    figure = _with_legend(names, width=PAGE, height=2.0 * lines + 0.3, shown=shown)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (label, series) in zip(grid, panels.items(), strict=False):
        _draw(axes, series)
        _rates(axes, series)
        axes.set_title(heading(f"{kind}.{label}"))
        axes.grid(axis="y")
        axes.tick_params(labelbottom=True)
    for axes in grid[len(labels) :]:
        axes.remove()
    for axes in grid[max(0, len(labels) - columns) : len(labels)]:
        axes.set_xlabel("missing rate r")
    figure.supylabel("F1 of one class against the rest (%)", fontsize=7.5)
    _legend(grid[0], names, dataset, shown)
    return figure


@_STYLE
def absent(metrics: pd.DataFrame, *, dataset: str, metric: str, methods: Sequence[str], marks: Marks = _NONE) -> Figure:
    """Draw a metric for each set of absent modalities; the floor is a dashed line at each."""
    rows = metrics[
        (metrics["dataset"] == dataset) & (metrics["corruption"] == "absent") & (metrics["metric"] == metric)
    ]
    series = _series(rows, methods, metric, "modalities")
    if not series:
        return _nothing("No condition with absent modalities was evaluated.")
    shown = of_methods(dataset, _names(series), marks, on_test=_on_test(rows))
    axes = _with_legend(_names(series), width=PAGE, height=2.3, shown=shown).subplots()
    sets = [name for name in ("", *ABSENT) if name in set(rows["modalities"])]
    places = np.arange(len(sets))
    offsets = np.linspace(-0.3, 0.3, len(series)) if len(series) > 2 else np.zeros(len(series))
    for offset, (name, style, values) in zip(offsets, series, strict=True):
        values = values.reindex(sets)
        if name == FLOOR:
            axes.hlines(values["mean"], places - 0.42, places + 0.42, label=name, **FLOOR_LOOK)
            continue
        std = values["std"].fillna(0)
        point = {key: style[key] for key in ("color", "marker", "markersize")}
        axes.errorbar(places + offset, values["mean"], std, label=name, linestyle="none", elinewidth=1, **point)
    axes.set_xticks(places, [name.replace("+", "\n+ ") or "nothing" for name in sets])
    axes.set_xlabel("absent")
    return _finish(axes, dataset, metric, series, shown)


@_STYLE
def confusion(confusions: pd.DataFrame, *, dataset: str, method: str, marks: Marks = _NONE) -> Figure:
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
    shown = of_methods(dataset, [method], marks, on_test=_on_test(rows))
    figure = _figure(PAGE, 1.6 * len(names) + 0.7, shown)
    figure.supxlabel(f"predicted ({dataset}, {method}{signs(shown).get(method, '')})", fontsize=7.5)
    figure.supylabel("true", fontsize=7.5)
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
                axes.text(j + 0.5, i + 0.5, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=5)
            axes.set_title(f"r = {rate:g}")
            axes.set_xticks(np.arange(classes) + 0.5, labels, rotation=30 if len(labels[0]) > 2 else 0, fontsize=5.5)
            axes.set_yticks(np.arange(classes) + 0.5, labels if axes is line[0] else [], fontsize=5.5)
            axes.tick_params(length=0)
            axes.invert_yaxis()
            axes.set_aspect("equal")
            axes.spines[:].set_visible(False)
    # In steps, because matplotlib embeds a smooth scale as a bitmap.
    steps = {"boundaries": np.linspace(0, 1, 21), "ticks": [0, 0.5, 1]}
    bar = figure.colorbar(mesh, ax=grid, shrink=1 / len(names), aspect=30, label="share of the true class", **steps)
    bar.outline.set_visible(False)
    return figure


def alike(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Find the longest groups of sorted average ranks of which no two differ by the critical difference or more.

    Returns
    -------
    groups : list of (int, int)
        Positions of the first and the last of each group of two or more.
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.searchsorted(np.asarray(ranks) - rank, critical)) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


@_STYLE
def critical_difference(results: Results, *, dataset: str, methods: Sequence[str]) -> Figure:
    """Draw average ranks by F1 over all conditions, as Demsar does (JMLR 7, 2006): bars join what does not differ.

    Parameters
    ----------
    results : Results
    methods : sequence of str
        The floor is ranked with them, and has a dashed line.
    """
    rows = ranks(results, methods)
    rows = rows[(rows["dataset"] == dataset) & rows["critical_difference"].notna()]
    if rows.empty:
        return _nothing("There are no two methods to rank.")
    name = family_of(rows["family"].iloc[0]).f1
    rows = rows[rows["metric"] == name].sort_values("rank", kind="stable").reset_index(drop=True)
    count, first = len(rows), rows.iloc[0]
    groups = alike(rows["rank"].tolist(), first["critical_difference"])
    left, depth = math.ceil(count / 2), 0.5 * len(groups) + 0.5
    width = COLUMN if rows["method"].str.len().max() <= 15 else PAGE
    height = 0.65 + 0.15 * (left + depth + 4)
    shown = of_methods(dataset, rows["method"], results.marks, on_test=(rows["checkpoints"] == "TEST").any())
    sign = signs(shown)
    axes = _figure(width, height, shown).subplots()
    axes.set_axis_off()
    axes.set_ylim(-depth - left, 4)
    axes.set_title(f"{dataset}: average rank by {metric_of(name).name}")
    line = {"color": INK, "linewidth": 0.8, "solid_capstyle": "butt"}
    axes.plot([1, count], [0, 0], **line)
    step = max(1, count // 10)
    for place in range(1, count + 1, step):
        axes.plot([place, place], [0, 0.3], **line)
        axes.text(place, 0.45, f"{place}", ha="center", va="bottom")
    axes.plot([1, 1 + first["critical_difference"]], [2.3, 2.3], marker="|", markersize=5, **line)
    axes.text(1, 2.55, f"critical difference {first['critical_difference']:.2f}", ha="left", va="bottom")
    edge = 0.04 * (count - 1)
    for number, row in rows.iterrows():
        best = number < left
        end, side = (1 - edge, "right") if best else (count + edge, "left")
        y = -depth - (number if best else count - 1 - number)
        dashes = {"linestyle": (0, (3, 2))} if row["method"] == FLOOR else {}
        axes.plot([row["rank"], row["rank"], end], [0, y, y], **line, **dashes)
        method = row["method"] + sign.get(row["method"], "")
        text = f"{method}  {row['rank']:.2f}" if best else f"{row['rank']:.2f}  {method}"
        axes.text(end + (-0.3 if best else 0.3) * edge, y, text, ha=side, va="center")
    for number, (start, stop) in enumerate(groups):
        ends = [rows["rank"][start] - 0.5 * edge, rows["rank"][stop] + 0.5 * edge]
        axes.plot(ends, [-0.5 * (number + 1)] * 2, color=INK, linewidth=2.5, solid_capstyle="butt")
    axes.text(
        0.5,
        -depth - left,
        f"Bars join methods that do not differ (Nemenyi, {100 * first['confidence']:g} %) by\n{first['conditions']} "
        "conditions, if these were independent, which they are not.",
        transform=axes.get_yaxis_transform(),
        ha="center",
        va="top",
        fontsize=6.5,
    )
    return axes.figure


@_STYLE
def training(results: Results, *, dataset: str, methods: Sequence[str]) -> Figure:
    """Draw the training loss, and the metric that selects on the validation split, against the epoch.

    Losses of methods have scales of their own, so the mean of each is drawn between 0, its lowest, and 1, its highest.
    A marker is an epoch whose weights some run kept. Stages that methods start from follow the methods; what is not
    optimised has no loss, and is a line across.
    """
    values = training_curves(results, methods)
    values = values[values["dataset"] == dataset]
    if values.empty:
        return _nothing("There is no training history.")
    shown = [*methods, *sorted(set(values["method"]) - {*methods, FLOOR})]
    styles = {name: style for name, style in _looks(shown).items() if name in set(values["method"])}
    records = {key: record for key, record in results.records.items() if key[0] == dataset and key[1] in styles}
    on_test = any(set(record["checkpoints"]) != {VALID} for record in records.values())
    drawn = of_methods(dataset, styles, results.marks, on_test=on_test)
    figure = _with_legend(list(styles), width=PAGE, height=2.3, shown=drawn)
    (metric,) = set(values["quantity"]) - {"loss"}
    panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("loss", metric), strict=True):
        series = []
        for name, style in styles.items():
            kept = {c["epoch"] for key, r in records.items() if key[1] == name for c in r["checkpoints"].values()}
            lines = values[(values["method"] == name) & (values["quantity"] == quantity)].set_index("epoch")
            if quantity == "loss":
                low, high = lines["mean"].min(), lines["mean"].max()
                lines = lines.assign(mean=lines["mean"] - low)[["mean", "std"]] / ((high - low) or 1)
            elif metric_of(metric).percent:
                lines = 100 * lines[["mean", "std"]]
            if list(lines.index) == [0]:
                lines = lines.reindex([0, values["epoch"].max()], method="ffill")
            series.append((name, {**style, "markevery": [epoch in kept for epoch in lines.index]}, lines))
        _draw(axes, series)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y")
    unit = " (%)" if metric_of(metric).percent else ""
    panels[0].set_title(f"{dataset}: training loss")
    panels[0].set_ylabel("loss (0: its lowest, 1: its highest)")
    panels[1].set_title(f"{dataset}: validation {heading(metric)}")
    panels[1].set_ylabel(metric_of(metric).name + unit)
    _legend(panels[1], list(styles), shown=drawn)
    return figure


def represented(results: Results, dataset: str) -> list[str]:
    """Choose the methods whose representations are drawn, best first.

    They are the four of the best mean F1 over the missing rates, and ``text_only``; a constant, such as that of
    ``majority``, is none to draw.
    """
    found = {method: a["values"] for (of, method), a in results.representations.items() if of == dataset}
    # A plane takes two samples and two dimensions that vary.
    has = [
        method
        for method, values in found.items()
        if values.size and values.shape[1] > 1 and (np.ptp(values, axis=(0, 1)) > 0).sum() > 1
    ]
    ranked = headlines(results.metrics[results.metrics["dataset"] == dataset])["method"]
    chosen = [method for method in ranked if method in has]
    return chosen[:_BEST] + [method for method in chosen[_BEST:] if method == _BASELINE]


def views(clean: np.ndarray, corrupted: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Show representations in two dimensions.

    Parameters
    ----------
    clean, corrupted : np.ndarray [shape=(N, D)]
        Of the same samples.

    Returns
    -------
    views : dict of str to (np.ndarray [shape=(N, 2)], np.ndarray [shape=(N, 2)])
        ``PCA``: the plane in which clean ones vary most, with corrupted ones projected onto it (HRLF, figure 6).
        ``t-SNE``: of both together, from their PCA. Neither depends on the number of threads.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        plane = PCA(2, svd_solver="full").fit(clean)
        both = np.concatenate([clean, corrupted])
        neighbours = min(30, (len(both) - 1) / 3)
        nearby = TSNE(perplexity=neighbours, max_iter=500, init="pca", random_state=0, n_jobs=1).fit_transform(both)
    return {"PCA": (plane.transform(clean), plane.transform(corrupted)), "t-SNE": tuple(np.split(nearby, 2))}


@_STYLE
def representations(results: Results, *, dataset: str, methods: Sequence[str]) -> Figure:
    """Draw the representations of test samples, complete and with parts missing, a row per method of ``represented``.

    Parts are missing at r = 0.5, or the highest rate that there is. Complete and corrupted panels of a view share their
    axes. Points are drawn as a bitmap.
    """
    chosen = [method for method in represented(results, dataset) if method in methods]
    arrays = [results.representations[dataset, method] for method in chosen]
    rates = arrays[0]["rates"].round(6) if arrays else np.zeros(0)
    if not (rates == 0).any() or len(rates) < 2:
        return _nothing("No representations at r = 0 and at another of the missing rates.")
    rate = 0.5 if (rates == 0.5).any() else rates.max()
    on_test = any(a["checkpoint"] != VALID for a in arrays)
    shown = of_methods(dataset, chosen, results.marks, on_test=on_test)
    figure, sign = _figure(PAGE, 1.5 * len(chosen) + 0.6, shown), signs(shown)
    labels = arrays[0]["labels"]
    classes = family_of(results.metrics.loc[results.metrics["dataset"] == dataset, "family"].iloc[0]).labels
    groups = _groups(labels, classes)
    grid = figure.subplots(len(chosen), 4, squeeze=False)
    for number, (line, method, found) in enumerate(zip(grid, chosen, arrays, strict=True)):
        pair = [found["values"][(rates == level).argmax()] for level in (0, rate)]
        for panels, (view, points) in zip((line[:2], line[2:]), views(*pair).items(), strict=True):
            panels[1].sharex(panels[0])
            panels[1].sharey(panels[0])
            for axes, level, places in zip(panels, (0, rate), points, strict=True):
                for name, (rows, style) in groups.items():
                    axes.scatter(*places[rows].T, s=7, linewidths=0.2, edgecolors="#0006", label=name, **style)
                axes.set_rasterization_zorder(2)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.margins(0.05)
                axes.set_title("" if number else f"{view}, r = {level:g}")
        line[0].set_ylabel(method + sign.get(method, ""))
    of = f", checkpoint of the best {metric_of(str(arrays[0]['checkpoint'])).name} on TEST" if on_test else ""
    if not classes:
        scores = next(iter(groups.values()))[1]
        mesh = ScalarMappable(scores["norm"], scores["cmap"])
        figure.colorbar(mesh, ax=grid, label="score", aspect=40, pad=0.01)
    _legend(grid[0, 0], list(groups), f"{dataset}: {len(labels)} test samples of the first run{of}")
    return figure


def _groups(labels: np.ndarray, classes: Sequence[str]) -> dict[str, tuple[np.ndarray, dict]]:
    """Rows of each class with its look; of scores, of each sign, with their values as colours."""
    if classes:
        return {
            name: (labels == number, {"color": look(number)["color"], "marker": look(number)["marker"]})
            for number, name in enumerate(classes)
        }
    norm = Normalize(-abs(labels).max(), abs(labels).max())
    signs = {"negative": ("v", labels < 0), "zero": ("o", labels == 0), "positive": ("^", labels > 0)}
    return {
        name: (rows, {"c": labels[rows], "norm": norm, "cmap": "coolwarm", "marker": marker})
        for name, (marker, rows) in signs.items()
        if rows.any()
    }


@_STYLE
def svg(figure: Figure) -> str:
    """Render as SVG text, without date or version."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", dpi=200, facecolor="white", metadata=nothing)
    return file.getvalue()


@_STYLE
def write(figure: Figure, stem: Path) -> str:
    """Write ``stem``.svg, ``stem``.png and ``stem``.pdf (atomically), and return the SVG text."""
    text = svg(figure)
    figure.set_layout_engine("none")  # what was laid out for the SVG holds for the others
    with replacing(stem.with_name(f"{stem.name}.svg")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for kind, nothing in (("png", ("Software",)), ("pdf", ("CreationDate", "Creator", "Producer"))):
        with replacing(stem.with_name(f"{stem.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=300, facecolor="white", metadata=dict.fromkeys(nothing))
    return text
