"""A metric against the levels of a kind of corruption that takes from all modalities alike."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Self

from elision.corruption.kind import Kind
from elision.report.figure import KindFigure
from elision.report.results import Results
from elision.report.words import about, of_shape
from elision.task import TaskKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# Of each metric: for which tasks there is a figure, and its caption; "f1" is that of the dataset's family.
_METRICS = {
    "f1": (
        tuple(TaskKind),
        "{{f1}} by {level}. Bands: one standard deviation over {{over}}. Dashed: {{floor}}.",
    ),
    "mae": ((TaskKind.REGRESSION,), "MAE by {level}. Lower is better."),
    "ua": ((TaskKind.CLASSIFICATION,), "UA (mean recall of the classes) by {level}."),
}


class Curve(KindFigure):
    """The mean of a metric over runs at every level; the floor is dashed."""

    levels, sets = True, False
    part = "curve"
    drawn = True

    def __init__(self, kind: Kind, metric: str, number: int, tasks: Collection[TaskKind], caption: str) -> None:
        self.number = number
        super().__init__(kind)
        self.metric, self.tasks = metric, tasks
        self.name, self.style = f"{self.name}_{metric}", f"curve_{metric}"
        self.caption = about(kind, caption.format(level=kind.condition))

    @classmethod
    def each(cls) -> list[Self]:
        """Make one for each kind and metric."""
        kinds = of_shape(levels=cls.levels, sets=cls.sets)
        return [cls(kind, name, i, *entry) for kind in kinds for i, (name, entry) in enumerate(_METRICS.items())]

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw means with bands."""
        from elision.evaluation.metrics import family
        from elision.report import drawing, wide
        from elision.report.marks import of_methods

        rows = wide.of(results.metrics[results.metrics["dataset"] == dataset], self.kind.corruptions)
        if rows.empty:
            return drawing.nothing(drawing.untested(self.kind))
        metric = family(rows["family"].iloc[0]).f1 if self.metric == "f1" else self.metric
        rows = rows[rows["metric"] == metric]
        series = drawing.series_of(rows, methods, metric, "level")
        names = drawing.labels(series)
        shown = of_methods(dataset, names, results.marks, on_test=drawing.on_test(rows))
        axes = drawing.with_legend(names, width=drawing.COLUMN, height=2.3, shown=shown).subplots()
        drawing.draw(axes, series)
        drawing.levels(axes, series)
        axes.set_xlabel(self.kind.level)
        return drawing.finish(axes, dataset, metric, series, shown)
