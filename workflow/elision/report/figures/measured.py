"""What was measured of corrupted media, against the severity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from elision.corruption.kind import Kind
from elision.report.figure import KindFigure
from elision.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_COLUMNS = 3
_LINE = 34  # characters of a title


class Measured(KindFigure):
    """A panel for each measurement: its mean over the test clips at every severity."""

    levels, sets = True, False
    part = "measured"
    number = 10  # after the curves of metrics

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = (
            f"{kind.caption}: measurements of the test clips by severity, mean over clips. 0: the clean clips."
        )

    @classmethod
    def each(cls) -> list[Self]:
        """Make one for each kind of which something is measured."""
        return [figure for figure in super().each() if figure.kind.measured]

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw the panels, three beside each other."""
        import textwrap

        from elision.report import drawing

        rows = results.measured
        if rows is not None:
            rows = rows[(rows["dataset"] == dataset) & (rows["kind"] == self.kind.name)]
        if rows is None or rows.empty:
            return drawing.nothing(drawing.untested(self.kind))
        names = list(rows["measurement"].unique())
        lines = -(-len(names) // _COLUMNS)
        figure = drawing.figure_of(drawing.PAGE, 1.9 * lines)
        panels = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            values = rows[rows["measurement"] == name].set_index("severity")["mean"].sort_index()
            axes.plot(values.index, values, **drawing.look(0))
            axes.set_title(textwrap.fill(self.kind.measured[name], _LINE))
            axes.set_xticks(sorted(rows["severity"].unique()))
            axes.set_xlabel(self.kind.level)
            axes.grid(axis="y")
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        return figure
