"""How strongly each modality is learned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.figure import Figure
from elision.report.results import Results
from elision.task import MODALITIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


class Learning(Figure):
    """The learning index of each modality against the epoch: a panel per modality."""

    name = "learning"
    caption = (
        "Learning index: the share of a modality in the sum of the gradient norms of the encoders of all modalities. "
        "A modality with a share near 0 is hardly learned. Lines: mean over the runs that reached the epoch. "
        "Bands: one standard deviation over runs. Methods without encoders of single modalities are left out."
    )
    section, place = "Training and cost", (1050, 1)

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw a panel per modality that some method has an encoder of."""
        from elision.report import curves, drawing
        from elision.report.marks import of_methods

        values = curves.learning(results, methods)
        values = values[values["dataset"] == dataset]
        if values.empty:
            return drawing.nothing("No method has encoders of single modalities.")
        shown = [*methods, *sorted(set(values["method"]) - {*methods})]
        styles = {name: style for name, style in drawing.looks(shown).items() if name in set(values["method"])}
        present = [name for name in MODALITIES if name in set(values["quantity"])]
        drawn = of_methods(dataset, styles, results.marks, on_test=False)
        figure = drawing.with_legend(list(styles), width=drawing.PAGE, height=2.3, shown=drawn)
        panels = figure.subplots(1, len(present), squeeze=False, sharey=True)[0]
        for axes, modality in zip(panels, present, strict=True):
            parts = values[values["quantity"] == modality].set_index(["method", "epoch"])[["mean", "std"]]
            # Each method has a line in each panel, so that the legend has all.
            series = [
                (name, style, parts.loc[name] if name in parts.index else parts.iloc[:0].droplevel(0))
                for name, style in styles.items()
            ]
            drawing.draw(axes, [(name, {**style, "marker": ""}, 100 * lines) for name, style, lines in series])
            axes.set_title(f"{dataset}: {modality}")
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(axis="y")
        panels[0].set_ylabel("learning index (%)")
        drawing.legend(panels[-1], list(styles), shown=drawn)
        return figure
