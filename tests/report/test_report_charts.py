import json

import numpy as np
import pytest
from report_results import results

from elision.evaluation.aggregate import FLOOR
from elision.report import charts, drawing


def test_styles_are_those_of_the_figures_with_a_marker_each(methods):
    made = charts.styles([FLOOR, *(f"m{i}" for i in range(8))])
    assert [style["name"] for style in made] == [*(f"m{i}" for i in range(8)), FLOOR]
    assert [style["colour"] for style in made[:-1]] == [drawing.look(i)["color"] for i in range(8)]
    assert len({style["marker"] for style in made}) == 9
    assert made[-1] == {"name": FLOOR, "colour": "currentColor", "dash": "7 4", "marker": ""}


def test_markers_are_outlines_of_one_unit_with_y_downwards():
    assert charts.marker("^") == "M0 -0.5L-0.5 0.5L0.5 0.5Z"
    for name in drawing._MARKERS:
        numbers = [float(v) for v in charts.marker(name).translate(str.maketrans("MLQCZ", "     ")).split()]
        assert len(numbers) % 2 == 0
        assert max(map(abs, numbers)) <= 0.75


def test_series_hold_means_deviations_and_intervals_in_percent(five):
    made = charts.data(five, ["steady", "fifth", FLOOR])
    scores = made["datasets"][1]
    assert scores["name"] == "mosi_data"
    assert [plot["title"] for plot in scores["plots"]] == ["Random missing", "Whole modalities absent"]
    random, absent = scores["plots"]
    assert random["places"] == [rate / 10 for rate in range(10)]
    assert absent["places"][:2] == ["nothing", "text"]
    runs = five.metrics.query(
        "dataset == 'mosi_data' and method == 'steady' and metric == 'f1_negpos' and corruption == 'random'"
    )
    values = runs.loc[runs["level"] == 0.3, "value"]
    ends = five.intervals.query(
        "dataset == 'mosi_data' and method == 'steady' and metric == 'f1_negpos' and corruption == 'random'"
    ).query("level == 0.3")
    expected = [values.mean(), values.std(ddof=1), ends["low"].iloc[0], ends["high"].iloc[0]]
    assert random["series"]["f1_negpos"]["steady"][3] == pytest.approx([100 * v for v in expected], rel=1e-4)
    mae = five.metrics.query(
        "dataset == 'mosi_data' and method == 'steady' and metric == 'mae' and modalities == 'text'"
    )
    assert absent["series"]["mae"]["steady"][1][0] == pytest.approx(mae["value"].mean(), rel=1e-4)
    assert scores["ranked"][-1] == FLOOR


def test_plots_of_sets_name_what_is_absent_and_what_is_present(five):
    absent = charts.data(five, ["steady"])["datasets"][1]["plots"][1]
    assert absent["names"][:2] == [
        "nothing absent (text, audio and vision present)",
        "text absent (audio and vision present)",
    ]
    assert absent["others"][:2] == [["text", "audio", "vision"], ["audio", "vision"]]
    assert (absent["x"], absent["below"]) == ("absent", "present")
    assert len(absent["names"]) == len(absent["others"]) == len(absent["places"])


def test_the_scores_on_complete_data_are_those_of_the_first_kind_and_positive(five):
    scores = charts.data(five, ["steady", FLOOR])["datasets"][1]
    first = scores["plots"][0]["series"]
    for name, of in scores["complete"].items():
        assert of == pytest.approx({method: first[name][method][0][0] for method in of})
    assert {"f1_negpos", "mae", "corr"} <= set(scores["complete"])
    assert FLOOR not in scores["complete"]["corr"]  # undefined
    assert not [name for name in scores["complete"] if "entropy" in name or "share" in name]


def test_what_is_undefined_is_none_in_valid_json(five):
    made = json.loads(json.dumps(charts.data(five, ["steady", FLOOR]), allow_nan=False))
    corr = made["datasets"][1]["plots"][0]["series"]["corr"][FLOOR]
    assert corr == [[None, None, None, None]] * 10


def test_without_intervals_there_is_nothing_to_choose(metrics):
    made = charts.data(results(metrics), ["steady"])
    assert [dataset["intervals"] for dataset in made["datasets"]] == [False] * 3
    assert all(point[2:] == [None, None] for point in made["datasets"][1]["plots"][0]["series"]["mae"]["steady"])


def test_confusion_matrices_are_summed_over_runs_and_in_the_order_of_rates(five):
    found = charts.data(five, ["steady", FLOOR])["datasets"][0]["confusions"]["steady"]
    assert [matrix["level"] for matrix in found] == [0, 0.1, 0.5, 0.9]
    assert {np.sum(matrix["counts"]) for matrix in found} == {2 * 2 * 30}
    assert found[0]["labels"] == ("happy", "angry", "sad", "neutral")
