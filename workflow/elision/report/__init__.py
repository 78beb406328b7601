"""Tables, figures and the page, from metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from elision.errors import ElisionError
from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import FAMILIES
from elision.report import figures, page, tables
from elision.report.tables import headline, headlines
from elision.store import replacing

__all__ = ["build", "files", "headline"]

_WRITERS = {
    "csv": lambda table, name: tables.csv(table),
    "md": tables.markdown,
    "tex": tables.latex,
}


def files(datasets: Sequence[str]) -> list[str]:
    """List what ``build`` writes, relative to its folder: it depends on the names of the datasets alone."""
    return [
        *(f"tables/{name}.{kind}" for name in tables.TABLES for kind in _WRITERS),
        *(f"figures/{kind}_{name}.{ending}" for name in datasets for kind in page.FIGURES for ending in ("svg", "png")),
        "report.html",
    ]


def build(
    metrics: pd.DataFrame,
    confusions: pd.DataFrame,
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
    folder = Path(folder)
    metrics = metrics[metrics["method"].isin([*methods, FLOOR])]
    if metrics.empty:
        raise ElisionError(f"metrics: nothing of {', '.join(methods)}; evaluate and aggregate these methods first")
    made = {name: table(metrics, methods) for name, table in tables.TABLES.items()}
    for name, table in made.items():
        for kind, text_of in _WRITERS.items():
            with replacing(folder / "tables" / f"{name}.{kind}") as temporary:
                temporary.write_text(text_of(table, name), encoding="utf-8")
    ranked, drawn = headlines(metrics), {}
    for dataset, rows in metrics.groupby("dataset"):
        f1 = FAMILIES[rows["family"].iloc[0]].f1
        best = ranked.loc[ranked["dataset"] == dataset, "method"]
        shown = {
            "curve_f1": figures.curve(rows, dataset=dataset, metric=f1, methods=methods),
            "curve_mae": figures.curve(rows, dataset=dataset, metric="mae", methods=methods),
            "absent": figures.absent(rows, dataset=dataset, metric=f1, methods=methods),
            "confusion": figures.confusion(confusions, dataset=dataset, method=best.iloc[0] if len(best) else FLOOR),
        }
        for kind, figure in shown.items():
            name = f"{kind}_{dataset}"
            drawn[name] = figures.write(figure, folder / "figures" / name)
    page.write(folder / "report.html", metrics=metrics, tables=made, figures=drawn, settings=settings, title=title)
