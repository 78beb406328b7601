"""What was measured of corrupted media: how strong a corruption was, and what the extraction still found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from elision.corruption.kind import Kind
from elision.report.results import Results
from elision.report.table import KindTable
from elision.report.words import sign

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

COLUMNS = ["dataset", "severity", "level", "measurement", "about", "mean", "clips"]


class Measured(KindTable):
    """One row per measurement: the mean over the test clips at every severity, and of the clean clips."""

    levels, sets = True, False
    part = "measured"
    number = 1
    of = "measurement"
    empty = "Nothing was measured."

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.caption = f"{kind.caption}: measurements of the test clips, mean over clips"

    @classmethod
    def each(cls) -> list[Self]:
        """Make one for each kind of which something is measured."""
        return [table for table in super().each() if table.kind.measured]

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Return the rows of ``Results.measured`` of the kind.

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``severity`` (0: the clean clips), ``level`` (what the severity is), ``measurement``,
            ``about`` (what it is), ``mean`` and ``clips`` (that have such a value).
        """
        import pandas as pd

        if results.measured is None:
            return pd.DataFrame(columns=COLUMNS)
        rows = results.measured[results.measured["kind"] == self.kind.name]
        level, about = rows["severity"].map(self.kind.level_name), rows["measurement"].map(self.kind.measured)
        return rows.assign(level=level, about=about)[COLUMNS].reset_index(drop=True)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Print means, with severities as columns; nothing is ranked."""
        from elision.report.text import NAN, Block, Cell

        severities = frame.drop_duplicates("severity").sort_values("severity")
        columns = [
            row.level if not row.severity else f"{sign(self.kind)} = {row.severity:g} ({row.level})"
            for row in severities.itertuples()
        ]
        means = frame.set_index(["about", "severity"])["mean"].to_dict()
        rows = [
            (
                about,
                [
                    Cell(value, NAN if value != value else f"{value:.3g}", 0)
                    for value in (means.get((about, severity), float("nan")) for severity in severities["severity"])
                ],
            )
            for about in frame["about"].unique()
        ]
        return [Block("", columns, rows)]

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say what the numbers are means over."""
        clips = frame["clips"]
        least = f"{clips.min()} to " if clips.min() < clips.max() else ""
        return [
            f"Means over {least}{clips.max()} test clips. A clip without a value is left out, such as a clip without "
            "sound.",
            "The csv file has the number of clips of each mean.",
        ]
