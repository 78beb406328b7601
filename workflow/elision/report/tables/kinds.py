"""Every method under every kind of corruption: what a training on one kind is worth under the others."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import kind_of, kinds
from elision.report.results import Asked, Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block, Cell

_TRAINED = "trained on"


class Kinds(Table):
    """One row per method and kind of corruption: the mean over the conditions of the kind."""

    name = "kinds"
    caption = "Methods under each kind of corruption: mean over the conditions of the kind"
    section, place = "Kinds of corruption", (12, 0)
    empty = "No condition was evaluated."

    def applies(self, asked: Iterable[Asked]) -> bool:
        """Return whether a dataset is tested under several kinds."""
        return any(len(each.kinds) > 1 for each in asked)

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``wide.wide``, of what is ``aggregate.averaged``.

        The column ``kind`` names the kind, and ``trained_on`` what the runs were trained on.

        Complete data count among the conditions where they are a level, as in the tables of means over levels.
        """
        import pandas as pd

        from elision.evaluation.aggregate import FLOOR, averaged
        from elision.report import wide
        from elision.report.text import NAN

        rows = averaged(results.metrics)
        of = {name: kind_of(name).name for name in rows["corruption"].unique()}
        kind = pd.Categorical(rows["corruption"].map(of), [name for name in kinds() if name in of.values()])
        frame = wide.wide(rows.assign(kind=kind), methods, by=["kind"])
        trained: dict[tuple[str, str], set[str]] = {}
        for (dataset, method, _), record in results.records.items():
            if method == FLOOR:  # which reads no input
                continue
            trained.setdefault((dataset, method), set()).add(record.get("training_corruption", NAN))
        pairs = zip(frame["dataset"].map(results.trained_on), frame["method"], strict=True)
        frame.insert(3, "trained_on", [", ".join(sorted(trained.get(pair, {NAN}))) for pair in pairs])
        return frame

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a matrix for each of the two metrics that curves show: kinds are columns, and one scale colours them."""
        from dataclasses import replace

        import numpy as np

        from elision.evaluation.metrics import family as family_of
        from elision.evaluation.metrics import metric
        from elision.report import wide
        from elision.report.text import Cell, heading

        family = family_of(frame["family"].iloc[0])
        shown = [kinds()[name] for name in frame["kind"].unique()]
        headings = [kind.heading for kind in shown]
        parts = {
            kind.heading if headings.count(kind.heading) == 1 else kind.caption: frame[frame["kind"] == kind.name]
            for kind in shown
        }
        trained = frame.drop_duplicates("method").set_index("method")["trained_on"]
        better = {heading(name): metric(name).better for name in (family.f1, family.second)}
        matrices = [block for block in wide.per_metric(frame, parts) if block.title in better]
        return [
            replace(
                block,
                columns=[_TRAINED, *block.columns],
                rows=[
                    (method, [Cell(np.nan, trained[method], 0), *cells])
                    for method, cells in _coloured(block.rows, better[block.title])
                ],
            )
            for block in matrices
        ]

    def remarks(self, rows: "pd.DataFrame") -> list[str]:
        """Say how to read it."""
        return [
            "A method knows the pattern that it was trained on. All other columns show patterns without such a prior.",
            "The csv file has all metrics.",
        ]


def _coloured(rows: "list[tuple[str, list[Cell]]]", better: str | None) -> "list[tuple[str, list[Cell]]]":
    """Shade each cell by its place between the worst and the best value of all."""
    from dataclasses import replace

    values = sorted((cell.value for _, cells in rows for cell in cells if cell.value == cell.value), reverse=True)
    if not values or values[0] == values[-1]:
        return rows
    best, worst = values[:: len(values) - 1] if better == "higher" else values[:: 1 - len(values)]
    return [
        (method, [replace(cell, shade=(cell.value - worst) / (best - worst)) for cell in cells])
        for method, cells in rows
    ]
