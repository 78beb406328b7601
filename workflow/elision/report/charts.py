"""Data of the page's interactive curves and confusion matrices, with the looks of the figures.

The page draws them with a script of its own (``page.js``). Vega-Altair was tried on the same data: its bundle makes
every page 0.9 MB larger and its installation 94 MB, and none of its marks can be reached with the keyboard.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from elision.corruption.kind import Kind, kind_of, kinds
from elision.evaluation.aggregate import CONFUSION_RATES, FLOOR, statistics
from elision.evaluation.metrics import Family
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import metric as metric_of
from elision.report import empty
from elision.report.drawing import FLOOR_LOOK, look
from elision.report.results import Results
from elision.report.text import heading
from elision.report.words import SETS, named, of_set, present

_DASHES = {"-": "", "--": "7 4", "-.": "9 3 2 3", ":": "2 3"}
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}


def marker(name: str) -> str:
    """Return the outline of one of matplotlib's markers, about 1 wide, as the data of an SVG path."""
    style = MarkerStyle(name)
    segments = style.get_path().transformed(style.get_transform()).iter_segments(simplify=False)
    return "".join(
        "Z" if code == Path.CLOSEPOLY else _LETTERS[code] + " ".join(f"{v:.3g}" for v in vertices * _upwards(vertices))
        for vertices, code in segments
    )


def _upwards(vertices: np.ndarray) -> np.ndarray:
    """In SVG, y grows downwards."""
    return np.tile([1, -1], len(vertices) // 2)


def styles(methods: Sequence[str]) -> list[dict]:
    """Name, colour, dashes and marker of every method, as in the figures; the floor last, without a marker."""
    shown = [(method, look(i)) for i, method in enumerate(method for method in methods if method != FLOOR)]
    return [
        {
            "name": method,
            "colour": style["color"] if method != FLOOR else "currentColor",
            "dash": _DASHES[style["linestyle"]],
            "marker": marker(style["marker"]) if "marker" in style else "",
        }
        for method, style in [*shown, (FLOOR, FLOOR_LOOK)]
    ]


def _numbers(values: np.ndarray) -> list:
    """Five digits, which is more than can be seen; nan as None."""
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values]


def plots(metrics: pd.DataFrame, intervals: pd.DataFrame) -> Iterator[dict]:
    """Collect the series of one dataset, a plot per corruption that was evaluated.

    Parameters
    ----------
    metrics, intervals : pd.DataFrame
        Rows of one dataset of ``Results.metrics`` and ``Results.intervals``.

    Yields
    ------
    plot : dict
        ``title``; ``kind``, the heading of its kind; ``x``, its label; ``places``, what stands there; ``level``,
        whether these are numbers, and of sets their ``names``, the ``others`` of each and what is said of these,
        ``below``; ``empty``, at each place the percentage of samples of which nothing is left, where there are any;
        and ``series``, by metric and method: for each place mean, standard deviation, and the ends of the 95 %
        interval, in percent where the metric is.
    """
    names = {m: metric_of(m) for m in metrics["metric"].unique()}
    for corruption, kind in ((name, each) for each in kinds().values() for name in each.corruptions):
        rows = metrics[metrics["corruption"] == corruption]
        if rows.empty:
            continue
        by = "level" if kind.level else "modalities"
        values = statistics(rows, [by])
        ends = intervals[intervals["corruption"] == corruption]
        # Of a mean over sets there is no interval.
        ends = ends.iloc[:0] if kind.level and kind.sets else ends
        values = values.merge(ends[["method", "metric", by, "low", "high"]], "left", ["method", "metric", by])
        columns = ["mean", "std", "low", "high"]
        percent = values["metric"].map(lambda m: 100 if names[m].percent else 1)
        values[columns] = values[columns].astype(float).mul(percent, axis=0)
        shares = empty.shares(rows, kind) if kind.level and not kind.sets else pd.Series(dtype=float)
        places = sorted(rows[by].unique())
        if kind.sets and not kind.level:
            places = [name for name in ("", *SETS) if name in places]
        series: dict[str, dict[str, list]] = {}
        for (name, method), part in values.groupby(["metric", "method"], observed=True):
            at = part.set_index(by)[columns].reindex(places).to_numpy()
            series.setdefault(name, {})[method] = [_numbers(row) for row in at]
        yield {
            "title": kind.plot.format(named(corruption)) or kind.caption,
            "kind": kind.heading,
            "x": kind.level or kind.sets or "rates",
            "places": [float(place) if kind.level else place or "nothing" for place in places],
            "level": bool(kind.level),
            **(_sets(kind, places) if kind.sets and not kind.level else {}),
            **({"empty": _numbers(100 * shares.reindex(places).to_numpy())} if shares.any() else {}),
            "series": series,
        }


def _sets(kind: Kind, places: Sequence[str]) -> dict:
    """Name sets of modalities, and list the others of each, with what is said of these."""
    there = present(places)
    return {
        "names": [of_set(kind, place or "none", present=there) for place in places],
        "others": [[name for name in there if name not in place.split("+")] for place in places],
        "below": kind.others,
    }


def _complete(metrics: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Give the means on complete data by metric and method, as the plots have them: of the first corruption."""
    rows = metrics[(metrics["level"] == 0) & (metrics["modalities"] == "")]
    first = min(rows["corruption"].unique(), key=lambda name: kind_of(name).rank, default="")
    found: dict[str, dict[str, float]] = {}
    for row in statistics(rows[rows["corruption"] == first]).itertuples(index=False) if first else ():
        of, (value,) = metric_of(row.metric), _numbers(np.array([row.mean]))
        if value and value > 0 and of.better:
            found.setdefault(row.metric, {})[row.method] = value * (100 if of.percent else 1)
    return found


def _metrics(family: Family, present: set[str]) -> list[dict]:
    """What can be chosen: the metric of the ranking first."""
    names = dict.fromkeys([family.f1, family.second, *family.reported, *family.per_class])
    return [
        {"key": name, "name": heading(name), "percent": metric_of(name).percent, "better": metric_of(name).better}
        for name in names
        if name in present
    ]


def matrices(confusions: pd.DataFrame, family: Family) -> dict[str, list[dict]]:
    """Collect the confusion matrices of one dataset by method: class names, rate, and counts summed over runs."""
    found: dict[str, list[dict]] = {}
    shown = confusions[confusions["level"].isin(CONFUSION_RATES)]
    names = {len(labels): labels for labels in family.confusions.values()}
    for (method, classes, level), rows in shown.groupby(["method", "classes", "level"], observed=True):
        counts = rows.pivot_table("count", "truth", "predicted", aggfunc="sum").to_numpy()
        matrix = {"labels": names[classes], "level": float(level), "counts": counts.astype(int).tolist()}
        found.setdefault(method, []).append(matrix)
    return {method: sorted(several, key=lambda m: (-len(m["labels"]), m["level"])) for method, several in found.items()}


def data(results: Results, methods: Sequence[str]) -> dict:
    """Collect all that the page's script draws.

    Parameters
    ----------
    results : Results
    methods : sequence of str
        In the order that gives them their looks.

    Returns
    -------
    data : dict
        A JSON value: ``methods`` (``styles``), ``floor``, and ``datasets``, each with its ``name``, ``ranked`` methods
        (best first), ``metrics``, ``plots``, ``complete`` (means on complete data), ``intervals`` (whether there are
        any) and ``confusions``.
    """
    ranked = results.ranked
    datasets = []
    for dataset, metrics in results.metrics.groupby("dataset"):
        family = family_of(metrics["family"].iloc[0])
        intervals = results.intervals[results.intervals["dataset"] == dataset]
        best = ranked.loc[ranked["dataset"] == dataset, "method"]
        datasets.append(
            {
                "name": dataset,
                "ranked": [*best, *sorted(set(metrics["method"]) - set(best))],
                "metrics": _metrics(family, set(metrics["metric"])),
                "plots": list(plots(metrics, intervals)),
                "complete": _complete(metrics),
                "intervals": not intervals.empty,
                "confusions": matrices(results.confusions[results.confusions["dataset"] == dataset], family),
            }
        )
    return {"methods": styles(methods), "floor": FLOOR, "datasets": datasets}
