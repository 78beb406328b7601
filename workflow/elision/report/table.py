"""What a table is. Each file of ``report/tables/`` defines one, or one for each kind of corruption of a shape.

A frame holds unrounded numbers (shares as fractions of 1). In most, a row is a method under a condition, and each
metric has a column ``{metric}_mean`` and ``{metric}_std``. Text is made from blocks, which round, rank and group them.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Self

from elision.report.results import Asked, Results
from elision.report.words import OfKind

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block


class Table:
    """A table: the base class of those in ``report/tables/``.

    Attributes
    ----------
    name : str
        Of its files.
    caption : str
    section : str
        Heading of its section of the page.
    place : tuple of (int, int)
        Of its section among the sections, and its own in it; the section of a kind of corruption has the kind's rank.
    folded : bool
        The page shows the caption alone until the reader opens it.
    empty : str
        What its text says where it has no rows.
    of : str
        What a row is, as the heading of the first column.
    means : str
        Column in which ``mean`` is a mean over rows that the frame also has.
    """

    name: str
    caption: str
    section: str = "More"
    place: tuple[int, int] = (9999, 0)
    folded: bool = False
    empty: str = "No condition of this table was evaluated."
    of: str = "method"
    means: str = ""

    @classmethod
    def each(cls) -> list[Self]:
        """Make the tables that the file defines."""
        return [cls()]

    def applies(self, asked: Iterable[Asked]) -> bool:
        """Return whether a report on some datasets has it."""
        return True

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Compute it.

        Parameters
        ----------
        results : Results
        methods : sequence of str
            Rows and their order; the floor is always the last.

        Returns
        -------
        frame : pd.DataFrame
            With columns ``dataset``, ``family``, ``method`` and ``checkpoints``.
        """
        raise NotImplementedError(f"table {self.name}: define frame")

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Round, rank and group the rows of one dataset; by default, metrics are the columns of one block.

        Ranks compare printed values, so that what looks equal is equal.
        """
        from elision.report import wide

        return [wide.block("", frame)]

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Return the sentences under the rows of one dataset, in plain text; ``second``: how the second best is set."""
        from elision.report import wide

        rows = frame[frame[self.means] != "mean"] if self.means else frame
        return [*wide.made(frame), *self.remarks(rows), *wide.compared(frame, second), *wide.undefined(rows)]

    def remarks(self, rows: "pd.DataFrame") -> list[str]:
        """Return what only this table has to say; ``rows`` are those that are no means over others."""
        return []


class KindTable(OfKind, Table):
    """A table that each kind of corruption of a shape has."""


@cache
def all_tables() -> dict[str, Table]:
    """Return all tables by name, as they stand on the page.

    Raises
    ------
    ValueError
        If two tables have one name.
    """
    return found_in("tables", Table)


def found_in(folder: str, base: type) -> dict:
    """Make all that the files of a folder define, sorted by place, by name."""
    package = importlib.import_module(f"elision.report.{folder}")
    found: list = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"elision.report.{folder}.{info.name}")
        own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
        found += [made for item in own if issubclass(item, base) for made in item.each()]
    found.sort(key=lambda each: each.place)
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{package.__path__[0]}: two {folder} have the name {twice[0]!r}")
    return dict(zip(names, found, strict=True))
