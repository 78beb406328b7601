"""What a figure is. Each file of ``report/figures/`` defines one, or one for each kind of corruption of a shape."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING, Self

from elision.report.results import Asked, Results
from elision.report.table import found_in
from elision.report.words import OfKind
from elision.task import TaskKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


class Figure:
    """A figure of each dataset: the base class of those in ``report/figures/``.

    Attributes
    ----------
    name : str
        Of its files, before the name of the dataset.
    caption : str
        On the page; ``{f1}`` is the name of the metric that ranks, ``{over}`` what deviations are over, and ``{floor}``
        the name of the floor.
    section : str
        Heading of its section of the page, where figures stand above tables.
    place : tuple of (int, int)
        Of its section among the sections, and its own in it.
    tasks : collection of TaskKind
        What a dataset must be for.
    style : str
        Its class in the page's style sheet; by default the name.
    drawn : bool
        The interactive curves and matrices stand for it on a screen; print shows it.
    """

    name: str
    caption: str
    section: str = "More"
    place: tuple[int, int] = (9999, 0)
    tasks: Collection[TaskKind] = tuple(TaskKind)
    style: str = ""
    drawn: bool = False

    @classmethod
    def each(cls) -> list[Self]:
        """Make the figures that the file defines."""
        return [cls()]

    def applies(self, asked: Asked) -> bool:
        """Return whether a dataset has it."""
        return asked.task in self.tasks

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw it in the style of ``drawing.STYLE``, also where there is nothing to draw.

        Parameters
        ----------
        results : Results
        dataset : str
        methods : sequence of str
            What is drawn; the position gives the look.
        """
        raise NotImplementedError(f"figure {self.name}: define draw")

    def made(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw it in the style of all figures, whatever the user's matplotlibrc says."""
        from elision.report.drawing import STYLE

        with STYLE():
            return self.draw(results, dataset=dataset, methods=methods)


class KindFigure(OfKind, Figure):
    """A figure that each kind of corruption of a shape has."""

    def applies(self, asked: Asked) -> bool:
        """Return whether the kind is tested, or is always shown."""
        return asked.task in self.tasks and OfKind.applies(self, [asked])


@cache
def all_figures() -> dict[str, Figure]:
    """Return all figures by name, as they stand on the page.

    Raises
    ------
    ValueError
        If two figures have one name.
    """
    return found_in("figures", Figure)
