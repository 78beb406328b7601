"""How training went."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.figure import Figure
from elision.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


class Training(Figure):
    """Training loss, and the metric that selects on the validation split, against the epoch."""

    name = "training"
    caption = (
        "Training loss, scaled between the lowest and the highest mean of each method, and the metric that selects "
        "checkpoints on the validation split. Lines: mean over the runs that reached the epoch. Bands: one standard "
        "deviation over runs. Markers: epochs whose weights a run kept."
    )
    section, place = "Training and cost", (1050, 0)

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw two panels.

        Losses of methods have scales of their own, so the mean of each is drawn between 0, its lowest, and 1, its
        highest. A marker is an epoch whose weights some run kept. Teachers that methods start from follow the methods;
        what is not optimised has no loss, and is a line across.
        """
        from elision.evaluation.aggregate import FLOOR, VALID
        from elision.evaluation.metrics import metric as metric_of
        from elision.report import curves, drawing
        from elision.report.marks import of_methods
        from elision.report.text import heading

        values = curves.training(results, methods)
        values = values[values["dataset"] == dataset]
        if values.empty:
            return drawing.nothing("No training has a history.")
        shown = [*methods, *sorted(set(values["method"]) - {*methods, FLOOR})]
        styles = {name: style for name, style in drawing.looks(shown).items() if name in set(values["method"])}
        records = {key: record for key, record in results.records.items() if key[0] == dataset and key[1] in styles}
        on_test = any(set(record["checkpoints"]) != {VALID} for record in records.values())
        drawn = of_methods(dataset, styles, results.marks, on_test=on_test)
        figure = drawing.with_legend(list(styles), width=drawing.PAGE, height=2.3, shown=drawn)
        (metric,) = set(values["quantity"]) - {"loss"}
        panels = figure.subplots(1, 2)
        for axes, quantity in zip(panels, ("loss", metric), strict=True):
            series = []
            for name, style in styles.items():
                kept = {c["epoch"] for key, r in records.items() if key[1] == name for c in r["checkpoints"].values()}
                lines = values[(values["method"] == name) & (values["quantity"] == quantity)].set_index("epoch")
                if quantity == "loss":
                    low, high = lines["mean"].min(), lines["mean"].max()
                    lines = lines.assign(mean=lines["mean"] - low)[["mean", "std"]] / ((high - low) or 1)
                elif metric_of(metric).percent:
                    lines = 100 * lines[["mean", "std"]]
                if list(lines.index) == [0]:
                    lines = lines.reindex([0, values["epoch"].max()], method="ffill")
                series.append((name, {**style, "markevery": [epoch in kept for epoch in lines.index]}, lines))
            drawing.draw(axes, series)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(axis="y")
        unit = " (%)" if metric_of(metric).percent else ""
        panels[0].set_title(f"{dataset}: training loss")
        panels[0].set_ylabel("loss (0: lowest, 1: highest)")
        panels[1].set_title(f"{dataset}: validation {heading(metric)}")
        panels[1].set_ylabel(metric_of(metric).name + unit)
        drawing.legend(panels[1], list(styles), shown=drawn)
        return figure
