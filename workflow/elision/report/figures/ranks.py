"""Average ranks, with the critical difference."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from elision.report.figure import Figure
from elision.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


class Ranks(Figure):
    """Average ranks by F1 over all conditions, as Demsar draws them (JMLR 7, 2006)."""

    name = "ranks"
    caption = (
        "Average ranks by {f1} over all conditions; 1 is best. Bars join methods that differ by less than the critical "
        "difference (Nemenyi). The test assumes independent conditions, but conditions of one test set are not "
        "independent. Dashed: {floor}."
    )
    section, place = "Differences between methods", (15, 0)

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw a line with the methods at their ranks; bars join what does not differ.

        The floor is ranked with them, and has a dashed line.
        """
        from elision.evaluation.aggregate import FLOOR
        from elision.evaluation.metrics import family, metric
        from elision.report import certainty, drawing
        from elision.report.marks import of_methods, signs

        rows = certainty.ranks(results, methods)
        rows = rows[(rows["dataset"] == dataset) & rows["critical_difference"].notna()]
        if rows.empty:
            return drawing.nothing("Fewer than two methods were evaluated.")
        name = family(rows["family"].iloc[0]).f1
        rows = rows[rows["metric"] == name].sort_values("rank", kind="stable").reset_index(drop=True)
        count, first = len(rows), rows.iloc[0]
        groups = alike(rows["rank"].tolist(), first["critical_difference"])
        left, depth = math.ceil(count / 2), 0.5 * len(groups) + 0.5
        width = drawing.COLUMN if rows["method"].str.len().max() <= 15 else drawing.PAGE
        height = 0.65 + 0.15 * (left + depth + 4)
        shown = of_methods(dataset, rows["method"], results.marks, on_test=(rows["checkpoints"] == "TEST").any())
        sign = signs(shown)
        axes = drawing.figure_of(width, height, shown).subplots()
        axes.set_axis_off()
        axes.set_ylim(-depth - left, 4)
        axes.set_title(f"{dataset}: average rank by {metric(name).name}")
        line = {"color": drawing.INK, "linewidth": 0.8, "solid_capstyle": "butt"}
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
            axes.plot(ends, [-0.5 * (number + 1)] * 2, color=drawing.INK, linewidth=2.5, solid_capstyle="butt")
        axes.text(
            0.5,
            -depth - left,
            f"Bars join methods without a significant difference (Nemenyi, {100 * first['confidence']:g} %),\n"
            f"assuming {first['conditions']} independent conditions, which they are not.",
            transform=axes.get_yaxis_transform(),
            ha="center",
            va="top",
            fontsize=6.5,
        )
        return axes.figure


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
