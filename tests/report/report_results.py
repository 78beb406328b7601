"""Results of a report from single tables, and tables and figures by name."""

import pandas as pd

from elision.report import text
from elision.report.figure import all_figures
from elision.report.results import Results
from elision.report.table import all_tables
from elision.report.words import SETS

MADE = ["samples", "asked", "asked_clusters", "cluster", "clusters", "freedom", "resamples", "confidence", "on_test"]
INTERVALS = ["dataset", "family", "method", "corruption", "level", "modalities", "empty", "metric", "value"]
INTERVALS += ["low", "high", "seeds", *MADE]
COMPARISONS = ["dataset", "corruption", "level", "modalities", "metric", "method", "other", "difference"]
COMPARISONS += ["low", "high", "p", "low_holm", "high_holm", "p_holm", *MADE]
ABSENT = SETS[:6]
TABLES = {name: table.frame for name, table in all_tables().items()}


def results(metrics, **others):
    """``Results`` with these metrics, and nothing else but ``others``."""
    nothing = {
        "confusions": pd.DataFrame(columns=["dataset", "method", "level", "classes", "truth", "predicted", "count"]),
        "intervals": pd.DataFrame(columns=INTERVALS),
        "comparisons": pd.DataFrame(columns=COMPARISONS),
        "records": {},
        "histories": {},
        "representations": {},
        "published": {},
        "protocols": {},
    }
    return Results(metrics, **{**nothing, **others})


def frames(source, methods):
    """All tables by name."""
    return {name: make(source, methods) for name, make in TABLES.items()}


def frame(name, source, methods):
    return TABLES[name](source, methods)


def blocks(name, table):
    return all_tables()[name].blocks(table)


def notes(name, table):
    return all_tables()[name].notes(table)


def markdown(table, name):
    return text.markdown(all_tables()[name], table)


def latex(table, name):
    return text.latex(all_tables()[name], table)


def draw(name, source, dataset, methods):
    return all_figures()[name].made(source, dataset=dataset, methods=methods)
