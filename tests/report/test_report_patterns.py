"""The table of all kinds, and what is shown where each modality has a missing rate of its own."""

from dataclasses import replace

import pandas as pd
import pytest
from report_results import blocks, frame, markdown, results

from elision.evaluation.aggregate import FLOOR, aggregate
from elision.report import asked, charts, table_names
from elision.report.headlines import headlines
from elision.report.words import one_condition
from elision.settings.params import Params

METHODS = ["steady", "brittle_one", FLOOR]


@pytest.fixture(scope="module")
def random(inputs_of):
    """Results of one dataset under missing rates and absent modalities, with what each method was trained on."""
    metrics = aggregate(inputs_of(datasets=("mosi_data",)))
    runs = metrics[["dataset", "method", "run"]].drop_duplicates().itertuples(index=False, name=None)
    trained = {"steady": "block", "brittle_one": "random", FLOOR: "complete"}
    return replace(results(metrics), records={key: {"training_corruption": trained[key[1]]} for key in runs})


@pytest.fixture(scope="module")
def imbalanced(random):
    """Two rates of the same numbers again, as if each modality had its own."""
    rows = random.metrics[(random.metrics["corruption"] == "random") & random.metrics["level"].isin([0.2, 0.5])]
    names = rows["level"].map({0.2: "text 0.4+audio 0.2", 0.5: "text 0.9+vision 0.6"})
    rows = rows.assign(corruption="random_imbalanced", modalities=names)
    return replace(random, metrics=pd.concat([random.metrics, rows], ignore_index=True))


def test_a_row_for_each_method_and_a_column_for_each_kind(random):
    found = frame("kinds", random, METHODS)
    assert found["kind"].unique().tolist() == ["random", "absent"]
    assert found.groupby("method")["trained_on"].first().to_dict() == {
        "steady": "block",
        "brittle_one": "random",
        FLOOR: "–",
    }
    for table, kind in (("random_missing", "random"), ("absent", "absent")):
        expected = frame(table, random, METHODS)
        expected = expected[expected["absent"] == "mean"] if kind == "absent" else expected
        mine = found[found["kind"] == kind]
        assert mine["mae_mean"].tolist() == pytest.approx(expected["mae_mean"].tolist(), rel=1e-12)
    shown = blocks("kinds", found)
    assert [block.title for block in shown] == ["F1 neg/pos ↑", "MAE ↓"]
    assert shown[0].columns == ["trained on", "Random missing", "Absent modalities"]
    assert [cells[0].text for _, cells in shown[0].rows] == ["block", "random", "–"]
    assert "block |" in markdown(found, "kinds") and "without such a prior" in markdown(found, "kinds")


def test_rates_of_single_modalities_have_a_table_and_a_plot_and_change_no_other(random, imbalanced):
    found = frame("random_imbalanced", imbalanced, METHODS)
    assert found["rates"].unique().tolist() == ["text 0.4+audio 0.2", "text 0.9+vision 0.6"]
    levels = frame("per_rate", random, METHODS)
    expected = levels[levels["level"] == 0.5]["mae_mean"].tolist()
    assert found[found["rates"] == "text 0.9+vision 0.6"]["mae_mean"].tolist() == expected
    assert [block.title for block in blocks("random_imbalanced", found)] == [
        "text 0.4, audio 0.2",
        "text 0.9, vision 0.6",
    ]
    for name in ("random_missing", "per_rate", "absent"):
        pd.testing.assert_frame_equal(frame(name, imbalanced, METHODS), frame(name, random, METHODS))
    pd.testing.assert_frame_equal(headlines(imbalanced.metrics), headlines(random.metrics))
    plots = {plot["title"]: plot for plot in charts.data(imbalanced, METHODS)["datasets"][0]["plots"]}
    plot = plots["Random missing, a rate for each modality"]
    assert (plot["x"], plot["level"]) == ("rates", False)
    assert plot["places"] == ["text 0.4+audio 0.2", "text 0.9+vision 0.6"]
    words = one_condition("random_imbalanced", 0.3, "text 0.4+audio 0.2")
    assert words == "random missing, a rate for each modality, text 0.4, audio 0.2"


def test_the_report_of_such_rates_has_their_table():
    params = Params(
        datasets={"d": {"source": "demo"}}, methods=["majority"], corruption={"random": [0.5, {"text": 0.8}]}
    )
    assert {"kinds", "random_imbalanced"} <= set(table_names(asked(params)))
    assert "random_imbalanced" not in table_names(
        asked(Params(datasets={"d": {"source": "demo"}}, methods=["majority"]))
    )


def test_rows_of_a_test_on_another_dataset_know_the_records_of_their_training(random):
    other = random.metrics.assign(dataset="mosi_data-on-other")
    tests = {"mosi_data": ("mosi_data", "mosi_data"), "mosi_data-on-other": ("mosi_data", "other")}
    both = replace(random, metrics=pd.concat([random.metrics, other], ignore_index=True), tests=tests)
    found = frame("kinds", both, METHODS)
    parts = [found[found["dataset"] == name].drop(columns="dataset").reset_index(drop=True) for name in tests]
    pd.testing.assert_frame_equal(*parts)
    pd.testing.assert_frame_equal(parts[0], frame("kinds", random, METHODS).drop(columns="dataset"))
