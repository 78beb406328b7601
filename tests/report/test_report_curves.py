import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from report_results import results

from elision.evaluation.aggregate import FLOOR, summary
from elision.report import CURVES, curves
from elision.report.text import csv

REPOSITORY = Path(__file__).parent.parent.parent


def history(losses, scores, metric="mae"):
    return pd.DataFrame({"epoch": range(1, len(scores) + 1), "loss": losses, f"valid_{metric}": scores})


HISTORIES = {
    ("mosi_data", "steady", "seed-1111"): history([4.0, 2.0, 1.0], [0.9, 0.7, 0.8]),
    ("mosi_data", "steady", "seed-1112"): history([6.0, 4.0], [1.1, 0.8]),
    ("mosi_data", "mmin_teacher", "seed-1111"): history([1.0], [1.2]),
    ("mosi_data", FLOOR, "seed-1111"): pd.DataFrame({"epoch": [0], "valid_mae": [1.3]}),
    ("mosi_data", "not_shown", "seed-1111"): history([1.0], [1.0]),
    ("emotion_data", "steady", "seed-1111.fold-1"): history([1.0], [0.4], "ua"),
}


def test_curves_over_the_missing_rate_are_those_of_both_headline_metrics(metrics, methods):
    table = curves.missing_rate(results(metrics), methods)
    assert set(table["panel"]) == {
        "emotion_data: F1 weighted ↑",
        "emotion_data: UA ↑",
        "mosi_data: F1 neg/pos ↑",
        "mosi_data: MAE ↓",
        "sims_data: F1 ↑",
        "sims_data: MAE ↓",
    }
    assert len(table) == 3 * 2 * 3 * 10
    row = table.query("panel == 'mosi_data: MAE ↓' and method == 'steady' and rate == 0.3").iloc[0]
    chosen = metrics.query("dataset == 'mosi_data' and method == 'steady' and corruption == 'random' and level == 0.3")
    values = chosen[chosen["metric"] == "mae"]["value"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["std"] == pytest.approx(values.std(ddof=1))
    assert not row["on_test"]
    assert set(curves.missing_rate(results(metrics), ["steady"])["method"]) == {"steady", FLOOR}


def test_curves_of_checkpoints_chosen_on_test_say_so(metrics, metrics_on_test, methods):
    marked, plain = (curves.missing_rate(results(m), methods) for m in (metrics_on_test, metrics))
    assert marked["on_test"].all()
    assert marked["panel"].str.contains("TEST").all()
    assert not plain["panel"].str.contains("TEST").any()


def test_training_is_averaged_over_the_runs_that_reached_an_epoch(metrics, methods):
    table = curves.training(results(metrics, histories=HISTORIES), methods).set_index(["method", "quantity", "epoch"])
    mosi = table[table["dataset"] == "mosi_data"]
    assert mosi.loc[("steady", "loss", 1), "mean"] == 5
    assert mosi.loc[("steady", "loss", 1), "std"] == pytest.approx(np.sqrt(2))
    assert mosi.loc[("steady", "mae", 2), ["mean", "runs"]].tolist() == pytest.approx([0.75, 2])
    assert mosi.loc[("steady", "mae", 3), ["mean", "runs"]].tolist() == pytest.approx([0.8, 1])
    assert np.isnan(mosi.loc[("steady", "mae", 3), "std"])
    assert mosi.loc[(FLOOR, "mae", 0), "mean"] == 1.3
    assert set(mosi.index.get_level_values("method")) == {"steady", "mmin_teacher", FLOOR}
    emotion = table[table["dataset"] == "emotion_data"]
    assert set(emotion["panel"]) == {"emotion_data: training loss", "emotion_data: validation UA"}


def test_the_learning_index_is_a_share_of_the_gradient_norms(metrics, methods):
    norms = {"gradient_text": [3.0, 1.0], "gradient_audio": [1.0, 0.0], "gradient_vision": [0.0, 3.0]}
    two = {"gradient_text": [1.0, np.nan], "gradient_audio": [1.0, np.nan]}
    alone = {"gradient_text": [2.0, 1.0]}
    histories = {
        ("mosi_data", "steady", "seed-1111"): pd.DataFrame({"epoch": [1, 2], **norms}),
        ("mosi_data", "steady", "seed-1112"): pd.DataFrame({"epoch": [1, 2], **two}),
        ("mosi_data", "mmin_teacher", "seed-1111"): pd.DataFrame({"epoch": [1, 2], **alone}),
        ("mosi_data", FLOOR, "seed-1111"): pd.DataFrame({"epoch": [0]}),
    }
    table = curves.learning(results(metrics, histories=histories), methods).set_index(["quantity", "epoch"])
    assert set(table["method"]) == {"steady"}
    assert table.loc[("text", 1), ["mean", "runs"]].tolist() == pytest.approx([0.625, 2])
    assert table.loc[("audio", 1), "mean"] == pytest.approx(0.375)
    assert table.loc[("vision", 2), ["mean", "runs"]].tolist() == pytest.approx([0.75, 1])


def test_the_order_of_runs_changes_no_bit(metrics, methods):
    backwards = dict(reversed(HISTORIES.items()))
    first, second = (curves.training(results(metrics, histories=h), methods) for h in (HISTORIES, backwards))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_what_is_not_there_gives_empty_curves(metrics, methods):
    nothing = results(metrics[metrics["corruption"] == "absent"])
    for make in CURVES.values():
        table = make(nothing, methods)
        assert table.empty
        assert {"panel", "dataset", "method", "mean", "std"} <= set(table)


def dvc(folder, *arguments):
    command = [sys.executable, "-m", "dvc", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def fields(specification):
    """Names of the columns that a plot of Vega-Lite reads."""
    if isinstance(specification, list):
        return set().union(*map(fields, specification))
    if isinstance(specification, dict):
        inner = set().union(*map(fields, specification.values()))
        return inner | {specification["field"]} if "field" in specification else inner
    return set()


def test_dvc_draws_the_curves_and_shows_the_headline_metrics(metrics, methods, tmp_path):
    shutil.copytree(REPOSITORY / ".dvc" / "plots", tmp_path / ".dvc" / "plots")
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    declared = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    (written,) = declared["stages"]["report"]["metrics"]
    document = {"plots": declared["plots"], "metrics": list(written)}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "params.yaml").write_text("results: results\n")
    made = {name: make(results(metrics, histories=HISTORIES), methods) for name, make in CURVES.items()}
    for name, table in made.items():
        path = tmp_path / "results" / "plots" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(csv(table))
    (tmp_path / "results" / "metrics.json").write_text(json.dumps(summary(metrics)))

    drawn = dvc(tmp_path, "plots", "show")
    assert "errors" not in drawn
    assert list(drawn["data"]) == ["Robustness", "Training"]
    for (plot,), table, x in zip(drawn["data"].values(), made.values(), ("rate", "epoch"), strict=True):
        content = plot["content"]
        points = content["data"]["values"]
        assert "<DVC_" not in json.dumps(content)
        assert len(points) == len(table)
        assert fields(content["spec"]) | fields(content["facet"]) == {"panel", "method", "rev", "mean", x}
        assert all(point.keys() >= {"panel", "method", "rev", "mean", x} for point in points)
        assert [float(point["mean"]) for point in points] == table["mean"].tolist()
    assert dvc(tmp_path, "metrics", "show")[""]["data"]["results/metrics.json"]["data"] == summary(metrics)
