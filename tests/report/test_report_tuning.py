"""What the report says of tuning: budgets at every tuned row, a table of searches, a figure of importances."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from report_results import TABLES, draw, latex, markdown, notes, results

from elision import report
from elision.evaluation.aggregate import FLOOR
from elision.report import drawing
from elision.report.marks import marked
from elision.report.results import Asked
from elision.report.table import all_tables
from elision.task import TaskKind

METHODS = ["steady", "brittle_one", FLOOR]


def trials(method, run="seed-1111", importances=None, scores=(0.9, 0.8, 0.7)):
    rows = [
        {
            "number": number,
            "state": ["complete", "pruned", "complete", "failed"][number],
            "values": json.dumps({"learning_rate": 0.001 / (number + 1)}),
            "score": score,
            "seconds": 1800.0,
        }
        for number, score in enumerate((*scores, float("nan")))
    ]
    shares = json.dumps({"learning_rate": 0.75, "dropout": 0.25} if importances is None else importances)
    return pd.DataFrame(rows).assign(dataset="mosi_data", method=method, run=run, winner=2, importances=shares)


TUNED = {("mosi_data", "steady"): "4 trials", ("mosi_data", "brittle_one"): "4 trials"}


@pytest.fixture
def source(metrics):
    found = pd.concat([trials("brittle_one"), trials("steady", importances={})], ignore_index=True)
    return results(metrics, tuned=TUNED, tuning=found)


def test_every_table_states_the_budget_of_tuned_rows_and_of_no_others(source):
    for name in ("random_missing", "absent"):
        table = marked(TABLES[name](source, METHODS), source.marks)
        text = markdown(table, name)
        assert "◊ steady, brittle_one: tuned: 4 trials." in text or "◊ brittle_one, steady: tuned: 4 trials." in text
        assert "steady ◊" in text and f"{FLOOR} ◊" not in text
        assert r"steady $\diamond$" in latex(table, name)
    assert "tuned: 4 trials" in report.headline(source.metrics, source.marks)


def test_the_table_has_a_row_per_search_in_the_order_of_the_methods(source):
    table = TABLES["tuning"](source, METHODS)
    assert table["method"].tolist() == ["steady", "brittle_one"]
    (row, _) = table.to_dict("records")
    assert {key: row[key] for key in ("trials", "pruned", "failed", "first", "best", "trial", "seconds")} == {
        **{"trials": 4, "pruned": 1, "failed": 1, "first": 0.9, "best": 0.7, "trial": 2, "seconds": 7200.0},
    }
    text = markdown(marked(table, source.marks), "tuning")
    assert "| steady ◊ " in text and " 0.9000 " in text and " 2.00 |" in text
    assert "steady: learning_rate 0.000333." in notes("tuning", table)


def test_folds_have_a_block_each(source):
    both = [trials("steady", "seed-1111.fold-1"), trials("steady", "seed-1111.fold-2")]
    table = TABLES["tuning"](replace(source, tuning=pd.concat(both, ignore_index=True)), METHODS)
    assert [block.title for block in all_tables()["tuning"].blocks(table)] == ["seed-1111.fold-1", "seed-1111.fold-2"]
    assert "The csv file has the chosen values of every fold." in notes("tuning", table)


def test_the_figure_has_bars_of_each_search_with_importances(source):
    figure = draw("tuning", source, "mosi_data", METHODS)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title("left") for axes in shown] == ["brittle_one"]
    assert [round(bar.get_width()) for bar in shown[0].patches] == [25, 75]
    assert [text.get_text() for text in shown[0].get_yticklabels()] == ["dropout", "learning_rate"]
    empty = draw("tuning", replace(source, tuning=trials("steady", importances={})), "mosi_data", METHODS)
    assert empty.get_label() == drawing.NOTHING


def test_a_report_without_tuning_has_neither(metrics):
    asked = {"mosi_data": Asked(TaskKind.REGRESSION)}
    assert "tuning" not in report.table_names(asked) and ("mosi_data", "tuning") not in report.figure_names(asked)
    asked = {"mosi_data": Asked(TaskKind.REGRESSION, tuned=True)}
    assert "tuning" in report.table_names(asked) and ("mosi_data", "tuning") in report.figure_names(asked)
    assert TABLES["tuning"](results(metrics), METHODS).empty
    assert draw("tuning", results(metrics), "mosi_data", METHODS).get_label() == drawing.NOTHING
