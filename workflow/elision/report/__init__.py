"""Tables, figures and the page, from metrics.

What is written follows from the params alone, so that the workflow can name it; nothing here imports pandas or
matplotlib before a report is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from elision.errors import ElisionError
from elision.task import TaskKind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TABLES = (
    "random_missing",
    "per_rate",
    "absent",
    "combined",
    "noise",
    "per_class",
    "pooled",
    "against_published",
    "cost",
    "selection",
    "area",
    "intervals",
    "comparisons",
    "ranks",
)

CURVES = ("missing_rate", "training")
FORMATS = ("svg", "png", "pdf")


@dataclass(frozen=True)
class Results:
    """All that a report is made from.

    Attributes
    ----------
    metrics, confusions : pd.DataFrame
        Of ``evaluation.aggregate``.
    intervals, comparisons : pd.DataFrame
        Of ``evaluation.significance``.
    records : dict
        ``run.json`` by (dataset, method, run); stages that methods start from are there too.
    histories : dict
        ``history.csv`` by the same keys.
    representations : dict
        Arrays by (dataset, method), of its first run.
    published : dict of str to str
        For each dataset, the corpus of the published tables that it may be compared with.
    protocols : dict of str to str
        For each dataset, its protocol as text.
    made_with : dict
        By (dataset, method, run): versions of the libraries that made its predictions, by step (see ``versions``).
    accepted : dict
        By (dataset, method): steps whose code was accepted though it had changed.
    """

    metrics: "pd.DataFrame"
    confusions: "pd.DataFrame"
    intervals: "pd.DataFrame"
    comparisons: "pd.DataFrame"
    records: dict[tuple[str, str, str], dict]
    histories: dict[tuple[str, str, str], "pd.DataFrame"]
    representations: dict[tuple[str, str], dict[str, "np.ndarray"]]
    published: dict[str, str]
    protocols: dict[str, str]
    made_with: dict[tuple[str, str, str], dict[str, dict[str, str]]] = field(default_factory=dict)
    accepted: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def marks(self) -> dict[tuple[str, str], dict[str, str]]:
        """What is to be known of rows, by dataset and method; see ``report.marks``."""
        from elision.provenance.versions import of_run
        from elision.report.marks import marks

        trained = {key: of_run(record) for key, record in self.records.items()}
        return marks({**trained, **self.made_with}, self.accepted)

    def only(self, methods: Sequence[str]) -> "Results":
        """Leave out the numbers of all other methods; the records of their runs stay."""
        tables = {name: getattr(self, name) for name in ("metrics", "confusions", "intervals", "comparisons")}
        chosen = {name: table[table["method"].isin(methods)] for name, table in tables.items()}
        chosen["comparisons"] = chosen["comparisons"][chosen["comparisons"]["other"].isin(methods)]
        kept = {key: value for key, value in self.representations.items() if key[1] in methods}
        return replace(self, **chosen, representations=kept)


def figure_kinds(task: TaskKind) -> list[str]:
    """List the figures of a dataset: ``{kind}_{dataset}`` is the name of each."""
    if task == TaskKind.CLASSIFICATION:
        return ["curve_f1", "curve_ua", "absent", "confusion", "curve_classes", "training", "representations", "ranks"]
    return ["curve_f1", "curve_mae", "absent", "confusion", "training", "representations", "ranks"]


def files(tasks: Mapping[str, TaskKind]) -> list[str]:
    """List what ``build`` writes, relative to its folder: it depends on the datasets' names and tasks alone."""
    figures = [f"{kind}_{name}" for name, task in tasks.items() for kind in figure_kinds(task)]
    return [
        *(f"tables/{name}.{ending}" for name in TABLES for ending in ("csv", "md", "tex")),
        *(f"figures/{name}.{ending}" for name in figures for ending in FORMATS),
        *(f"plots/{name}.csv" for name in CURVES),
        "report.html",
    ]


def build(
    results: Results,
    folder: Path,
    *,
    methods: Sequence[str],
    settings: Mapping,
    title: str = "Robustness under missing data",
    provenance: str = "",
) -> None:
    """Write every table and figure and the page; the same input gives the same bytes.

    The confusion matrices are those of the method that is best on average over the missing rates.

    Parameters
    ----------
    results : Results
    folder : Path
        ``files`` says what is written there.
    methods : sequence of str
        What is shown, in this order; ``majority`` is shown in any case, as the floor.
    settings : mapping
        How the runs were made, for the page, which shows the records of the runs beside them.
    title : str
    provenance : str
        Identity of the recipe, and digest of the data.

    Raises
    ------
    ElisionError
        If none of the methods has metrics.
    """
    from elision.evaluation.aggregate import FLOOR
    from elision.evaluation.metrics import family as family_of
    from elision.files import replacing
    from elision.report import curves, figures, page, tables
    from elision.report.marks import marked

    folder = Path(folder)
    results = results.only([*methods, FLOOR])
    metrics = results.metrics
    if metrics.empty:
        raise ElisionError(f"metrics: nothing of {', '.join(methods)}; evaluate and aggregate these methods first")
    marks = results.marks
    made = {name: marked(table(results, methods), marks) for name, table in tables.TABLES.items()}
    for name, table in made.items():
        texts = {"csv": tables.csv(table), "md": tables.markdown(table, name), "tex": tables.latex(table, name)}
        for ending, text in texts.items():
            with replacing(folder / "tables" / f"{name}.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8")
    for name, curve in curves.CURVES.items():
        with replacing(folder / "plots" / f"{name}.csv") as temporary:
            temporary.write_text(tables.csv(curve(results, methods)), encoding="utf-8")
    ranked, drawn = tables.headlines(metrics), {}
    for dataset, rows in metrics.groupby("dataset"):
        family = family_of(rows["family"].iloc[0])
        best = ranked.loc[ranked["dataset"] == dataset, "method"]
        what = {"dataset": dataset, "methods": methods}
        shown = {
            "curve_f1": figures.curve(rows, metric=family.f1, marks=marks, **what),
            f"curve_{family.second}": figures.curve(rows, metric=family.second, marks=marks, **what),
            "absent": figures.absent(rows, metric=family.f1, marks=marks, **what),
            "confusion": figures.confusion(
                results.confusions, dataset=dataset, method=best.iloc[0] if len(best) else FLOOR, marks=marks
            ),
        }
        shown["training"] = figures.training(results, **what)
        shown["representations"] = figures.representations(results, **what)
        shown["ranks"] = figures.critical_difference(results, **what)
        if family.labels:
            shown["curve_classes"] = figures.class_curves(rows, marks=marks, **what)
        for kind, figure in shown.items():
            name = f"{kind}_{dataset}"
            drawn[name] = figures.write(figure, folder / "figures" / name)
    page.write(
        folder / "report.html",
        results=results,
        methods=methods,
        tables=made,
        figures=drawn,
        settings=settings,
        title=title,
        provenance=provenance,
    )


def headline(metrics: "pd.DataFrame", marks: Mapping[tuple[str, str], Mapping[str, str]] | None = None) -> str:
    """Write the ranking of each dataset as plain text for a terminal; ``marks`` as of ``report.marks``."""
    from elision.report.tables import headline as text_of

    return text_of(metrics, marks)
