"""Confusion matrices of the best method."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from elision.report.figure import Figure
from elision.report.results import Results
from elision.report.words import of_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


class Confusion(Figure):
    """Of the method that is best on average: a column per missing rate, a row per number of classes."""

    name = "confusion"
    caption = (
        "True and predicted classes of one method. Colour: share of the true class. Number: samples, summed over runs. "
        "A single dark column is lazy behaviour: the method gives one answer for every input."
    )
    drawn = True

    def __init__(self) -> None:
        first = of_shape(levels=True, sets=False)[0]
        self.section, self.place = first.heading, (first.rank, 9)

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw those of the best of the methods, or of the floor, where none is ranked.

        Colour is the share of the true class (row) in percent, the number the count, summed over runs.
        """
        from elision.evaluation.aggregate import CONFUSION_RATES, FLOOR
        from elision.evaluation.metrics import family
        from elision.report import drawing
        from elision.report.marks import of_methods, signs

        best = results.ranked.loc[results.ranked["dataset"] == dataset, "method"]
        method = best.iloc[0] if len(best) else FLOOR
        rows = results.confusions
        rows = rows[(rows["dataset"] == dataset) & (rows["method"] == method)]
        rates = [rate for rate in CONFUSION_RATES if (rows["level"] == rate).any()]
        if not rates:
            listed = ", ".join(f"{rate:g}" for rate in CONFUSION_RATES)
            return drawing.nothing(f"The missing rates {listed} were not evaluated.")
        names = list(family(rows["family"].iloc[0]).confusions.values())
        shown = of_methods(dataset, [method], results.marks, on_test=drawing.on_test(rows))
        figure = drawing.figure_of(drawing.PAGE, 1.6 * len(names) + 0.7, shown)
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
                axes.set_xticks(
                    np.arange(classes) + 0.5, labels, rotation=30 if len(labels[0]) > 2 else 0, fontsize=5.5
                )
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
