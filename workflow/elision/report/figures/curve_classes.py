"""The F1 of each class against the levels of a kind of corruption that takes from all modalities alike."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import Kind
from elision.report.figure import KindFigure
from elision.report.results import Results
from elision.report.words import about
from elision.task import TaskKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_METRIC = "f1_binary_weighted"


class CurveClasses(KindFigure):
    """A panel per class."""

    levels, sets = True, False
    part = style = "curve_classes"
    number = 0
    tasks = (TaskKind.CLASSIFICATION,)

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.section, self.place = "Class by class", (1000, kind.rank)
        text = f"F1 of each class against the rest, by {kind.condition}. F1 is high even for a rare class that is "
        self.caption = about(kind, text + "never predicted: compare with {floor} (dashed).")

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw means with bands."""
        from elision.evaluation.metrics import family
        from elision.report import drawing, wide
        from elision.report.marks import of_methods
        from elision.report.text import heading

        rows = wide.of(results.metrics, self.kind.corruptions)
        rows = rows[rows["dataset"] == dataset]
        if rows.empty:
            return drawing.nothing(drawing.untested(self.kind))
        labels = family(rows["family"].iloc[0]).labels
        panels = {label: drawing.series_of(rows, methods, f"{_METRIC}.{label}", "level") for label in labels}
        names = drawing.labels(next(iter(panels.values())))
        columns = math.ceil(math.sqrt(len(labels)))
        lines = math.ceil(len(labels) / columns)
        shown = of_methods(dataset, names, results.marks, on_test=drawing.on_test(rows))
        figure = drawing.with_legend(names, width=drawing.PAGE, height=2.0 * lines + 0.3, shown=shown)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (label, series) in zip(grid, panels.items(), strict=False):
            drawing.draw(axes, series)
            drawing.levels(axes, series)
            axes.set_title(heading(f"{_METRIC}.{label}"))
            axes.grid(axis="y")
            axes.tick_params(labelbottom=True)
        for axes in grid[len(labels) :]:
            axes.remove()
        for axes in grid[max(0, len(labels) - columns) : len(labels)]:
            axes.set_xlabel(self.kind.level)
        figure.supylabel("F1 of one class against the rest (%)", fontsize=7.5)
        drawing.legend(grid[0], names, dataset, shown)
        return figure
