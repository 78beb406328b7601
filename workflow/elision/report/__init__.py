"""Tables, figures and the page, from metrics.

What is written follows from the params alone, so that the workflow can name it; nothing here imports pandas or
matplotlib before a report is made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elision.errors import ElisionError
from elision.report.curves import CURVES
from elision.report.figure import all_figures
from elision.report.results import Asked, Results
from elision.report.table import all_tables
from elision.task import MODALITIES

if TYPE_CHECKING:
    import pandas as pd

    from elision.settings.params import Params

FORMATS = ("svg", "png", "pdf")


def asked(params: "Params") -> dict[str, Asked]:
    """Return what the params say of each dataset, as far as names of tables and figures depend on it."""
    from elision.corruption.kind import kind_of
    from elision.corruption.plan import conditions

    listed = {name: conditions(params.corruption_for(name), MODALITIES) for name in params.datasets}
    return {
        test: Asked(
            params.datasets[name].task,
            frozenset(kind_of(condition.corruption).name for condition in listed[name]),
            params.report.check,
            bool(params.tuned) and trained_on == name,
        )
        for test, (trained_on, name) in params.tests.items()
    }


def table_names(asked: Mapping[str, Asked]) -> list[str]:
    """List the tables of a report on some datasets."""
    return [name for name, table in all_tables().items() if table.applies(asked.values())]


def figure_names(asked: Mapping[str, Asked]) -> list[tuple[str, str]]:
    """List dataset and name of each figure; ``{figure}_{dataset}`` are its files."""
    return [(dataset, name) for dataset, what in asked.items() for name, f in all_figures().items() if f.applies(what)]


def files(asked: Mapping[str, Asked]) -> list[str]:
    """List what ``build`` writes, relative to its folder."""
    return [
        *(f"tables/{name}.{ending}" for name in table_names(asked) for ending in ("csv", "md", "tex")),
        *(f"figures/{name}_{dataset}.{ending}" for dataset, name in figure_names(asked) for ending in FORMATS),
        *(f"plots/{name}.csv" for name in CURVES),
        "report.html",
    ]


def build(
    results: Results,
    folder: Path,
    *,
    methods: Sequence[str],
    settings: Mapping,
    asked: Mapping[str, Asked] | None = None,
    title: str = "Robustness under missing data",
    provenance: str = "",
) -> None:
    """Write every table and figure and the page; the same input gives the same bytes.

    Parameters
    ----------
    results : Results
    folder : Path
        ``files`` says what is written there.
    methods : sequence of str
        What is shown, in this order; ``majority`` is shown in any case, as the floor.
    settings : mapping
        How the runs were made, for the page, which shows the records of the runs beside them.
    asked : mapping of str to Asked, optional
        What the params say of each dataset; by default what it has metrics of.
    title : str
    provenance : str
        Identity of the recipe, and digest of the data.

    Raises
    ------
    ElisionError
        If none of the methods has metrics.
    """
    from elision.evaluation.aggregate import FLOOR
    from elision.files import replacing
    from elision.report import drawing, page, text
    from elision.report.marks import marked

    folder = Path(folder)
    results = results.only([*methods, FLOOR])
    if results.metrics.empty:
        raise ElisionError(
            f"the metrics have no rows for {', '.join(methods)}; run evaluate and aggregate for these methods first"
        )
    asked = results.asked if asked is None else asked
    frames = {name: marked(all_tables()[name].frame(results, methods), results.marks) for name in table_names(asked)}
    if any(trained_on != tested_on for trained_on, tested_on in results.tests.values()):
        for frame in frames.values():
            frame.insert(1, "tested_on", [results.tests[name][1] for name in frame["dataset"]])
    for name, frame in frames.items():
        table = all_tables()[name]
        texts = {"csv": text.csv(frame), "md": text.markdown(table, frame), "tex": text.latex(table, frame)}
        for ending, written in texts.items():
            with replacing(folder / "tables" / f"{name}.{ending}") as temporary:
                temporary.write_text(written, encoding="utf-8")
    for name, curve in CURVES.items():
        with replacing(folder / "plots" / f"{name}.csv") as temporary:
            temporary.write_text(text.csv(curve(results, methods)), encoding="utf-8")
    drawn = {}
    for dataset, name in figure_names(asked):
        figure = all_figures()[name].made(results, dataset=dataset, methods=methods)
        written = drawing.write(figure, folder / "figures" / f"{name}_{dataset}")
        if figure.get_label() != drawing.NOTHING:
            drawn[dataset, name] = written
    page.write(
        folder / "report.html",
        results=results,
        methods=methods,
        frames=frames,
        figures=drawn,
        settings=settings,
        title=title,
        provenance=provenance,
    )


def headline(metrics: "pd.DataFrame", marks: Mapping[tuple[str, str], Mapping[str, str]] | None = None) -> str:
    """Write the ranking of each dataset as plain text for a terminal; ``marks`` as of ``report.marks``."""
    from elision.report.headlines import headline as text_of

    return text_of(metrics, marks)
