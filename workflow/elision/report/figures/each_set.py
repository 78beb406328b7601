"""F1 under each set of modalities of a kind of corruption that has no levels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from elision.corruption.kind import Kind
from elision.report.figure import KindFigure
from elision.report.results import Results
from elision.report.words import SETS, present

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


def _tick(modalities: str, present: Sequence[str]) -> str:
    """Name a set and, in brackets, the others."""
    others = [name for name in present if name not in modalities.split("+")]
    text = modalities.replace("+", "\n+ ")
    return f"{text}\n({', '.join(others)})" if text and others else text or "nothing"


class EachSet(KindFigure):
    """A point per method and set; the floor is a dashed line at each."""

    levels, sets = False, True
    number = 0
    drawn = True

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        what = kind.caption[0].lower() + kind.caption[1:]
        self.caption = f"{{f1}} with {what}. Bars: one standard deviation over {{over}}. Dashed: {{floor}}."

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw means with bars."""
        from elision.evaluation.aggregate import FLOOR
        from elision.evaluation.metrics import family
        from elision.report import drawing, wide
        from elision.report.marks import of_methods

        rows = wide.of(results.metrics[results.metrics["dataset"] == dataset], self.kind.corruptions)
        if rows.empty:
            return drawing.nothing(drawing.untested(self.kind))
        metric = family(rows["family"].iloc[0]).f1
        rows = rows[rows["metric"] == metric]
        series = drawing.series_of(rows, methods, metric, "modalities")
        names = drawing.labels(series)
        shown = of_methods(dataset, names, results.marks, on_test=drawing.on_test(rows))
        axes = drawing.with_legend(names, width=drawing.PAGE, height=2.3, shown=shown).subplots()
        sets = [name for name in ("", *SETS) if name in set(rows["modalities"])]
        places = np.arange(len(sets))
        offsets = np.linspace(-0.3, 0.3, len(series)) if len(series) > 2 else np.zeros(len(series))
        for offset, (name, style, values) in zip(offsets, series, strict=True):
            values = values.reindex(sets)
            if name == FLOOR:
                axes.hlines(values["mean"], places - 0.42, places + 0.42, label=name, **drawing.FLOOR_LOOK)
                continue
            std = values["std"].fillna(0)
            point = {key: style[key] for key in ("color", "marker", "markersize")}
            axes.errorbar(places + offset, values["mean"], std, label=name, linestyle="none", elinewidth=1, **point)
        axes.set_xticks(places, [_tick(name, present(sets)) for name in sets])
        axes.set_xlabel(f"{self.kind.sets} (in brackets: {self.kind.others})")
        return drawing.finish(axes, dataset, metric, series, shown)
