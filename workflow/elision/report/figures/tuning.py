"""Which hyperparameters matter, as tuning saw it."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.figure import Figure
from elision.report.results import Asked, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_COLUMNS = 2
_MOST = 6  # bars of a panel


class Tuning(Figure):
    """The share of each hyperparameter in the variance of the validation error of the trials."""

    name = "tuning"
    caption = (
        "Importance of each hyperparameter: its share in the variance of the validation error over the complete trials "
        f"(fANOVA). Mean over folds, if there are folds. The {_MOST} most important ones of each method are shown."
    )
    section, place = "Tuning", (1055, 0)

    def applies(self, asked: Asked) -> bool:
        """There are trials where the params have ``tune``."""
        return asked.tuned

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw a panel with bars for each tuned method."""
        import pandas as pd

        from elision.report import drawing

        shares = {}
        if results.tuning is not None:
            searches = results.tuning[results.tuning["dataset"] == dataset].drop_duplicates(["method", "run"])
            for method, rows in searches.groupby("method"):
                means = pd.DataFrame([json.loads(text) for text in rows["importances"]]).mean()
                if len(means):
                    shares[method] = means.sort_values(ascending=False, kind="stable").head(_MOST)
        if not shares:
            return drawing.nothing("Too few trials are complete to tell which hyperparameters matter.")
        names = [name for name in methods if name in shares]
        names += sorted(set(shares) - set(names))
        lines = -(-len(names) // _COLUMNS)
        figure = drawing.figure_of(drawing.PAGE, 1.6 * lines)
        panels = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            values = 100 * shares[name][::-1]
            axes.barh(values.index, values, color=drawing.look(0)["color"], height=0.6)
            axes.set_title(name)
            axes.set_xlim(0, 100)
            axes.set_xlabel("importance (%)")
            axes.grid(axis="x")
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        return figure
