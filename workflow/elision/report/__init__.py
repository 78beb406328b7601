"""Tables, figures and the page, from metrics.

What is written follows from the params alone, so that the workflow can name it; nothing here imports pandas or
matplotlib before a report is made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elision.errors import ElisionError
from elision.task import TaskKind

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("random_missing", "per_rate", "absent", "combined", "noise", "per_class", "pooled")


def figure_kinds(task: TaskKind) -> list[str]:
    """List the figures of a dataset: ``{kind}_{dataset}`` is the name of each."""
    if task == TaskKind.CLASSIFICATION:
        return ["curve_f1", "curve_ua", "absent", "confusion", "curve_classes"]
    return ["curve_f1", "curve_mae", "absent", "confusion"]


def files(tasks: Mapping[str, TaskKind]) -> list[str]:
    """List what ``build`` writes, relative to its folder: it depends on the datasets' names and tasks alone."""
    figures = [f"{kind}_{name}" for name, task in tasks.items() for kind in figure_kinds(task)]
    return [
        *(f"tables/{name}.{ending}" for name in TABLES for ending in ("csv", "md", "tex")),
        *(f"figures/{name}.{ending}" for name in figures for ending in ("svg", "png")),
        "report.html",
    ]


def build(
    metrics: "pd.DataFrame",
    confusions: "pd.DataFrame",
    folder: Path,
    *,
    methods: Sequence[str],
    settings: Mapping,
    title: str = "Robustness under missing data",
) -> None:
    """Write every table and figure and the page; the same input gives the same bytes.

    The confusion matrices are those of the method that is best on average over the missing rates.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    confusions : pd.DataFrame
        Of ``aggregate.confusions``.
    folder : Path
        ``files`` says what is written there.
    methods : sequence of str
        What is shown, in this order; ``majority`` is shown in any case, as the floor.
    settings : mapping
        How the runs were made, for the page.
    title : str

    Raises
    ------
    ElisionError
        If none of the methods has metrics.
    """
    from elision.evaluation.aggregate import FLOOR
    from elision.evaluation.metrics import family as family_of
    from elision.report import figures, page, tables
    from elision.store import replacing

    folder = Path(folder)
    metrics = metrics[metrics["method"].isin([*methods, FLOOR])]
    if metrics.empty:
        raise ElisionError(f"metrics: nothing of {', '.join(methods)}; evaluate and aggregate these methods first")
    made = {name: table(metrics, methods) for name, table in tables.TABLES.items()}
    for name, table in made.items():
        texts = {"csv": tables.csv(table), "md": tables.markdown(table, name), "tex": tables.latex(table, name)}
        for ending, text in texts.items():
            with replacing(folder / "tables" / f"{name}.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8")
    ranked, drawn = tables.headlines(metrics), {}
    for dataset, rows in metrics.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        best = ranked.loc[ranked["dataset"] == dataset, "method"]
        what = {"dataset": dataset, "methods": methods}
        shown = {
            "curve_f1": figures.curve(rows, metric=family.f1, **what),
            f"curve_{family.second}": figures.curve(rows, metric=family.second, **what),
            "absent": figures.absent(rows, metric=family.f1, **what),
            "confusion": figures.confusion(confusions, dataset=dataset, method=best.iloc[0] if len(best) else FLOOR),
        }
        if family.labels:
            shown["curve_classes"] = figures.class_curves(rows, **what)
        for kind, figure in shown.items():
            name = f"{kind}_{dataset}"
            drawn[name] = figures.write(figure, folder / "figures" / name)
    page.write(folder / "report.html", metrics=metrics, tables=made, figures=drawn, settings=settings, title=title)


def headline(metrics: "pd.DataFrame") -> str:
    """Write the ranking of each dataset as plain text for a terminal."""
    from elision.report.tables import headline as text_of

    return text_of(metrics)
