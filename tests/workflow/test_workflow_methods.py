"""Methods, and a protocol, from clips to the report."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from workflow_project import CLASSES, FOLDS, SMALL, Warm, changed

from elision.settings.params import needs

pytestmark = pytest.mark.workflow

# One of each way of training with classes (the demo has those with scores); that every method learns is tested without
# the workflow.
EMOTION = ["mmin", "nmer", "ramer"]
TEACHERS = {teacher for method in EMOTION for teacher in needs(method)}


def test_emotion_methods_go_from_classes_to_the_report(small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "all")
    noise = {"kinds": ["gaussian"], "intensities": [20, 100]}
    params = changed(
        datasets={"demo": {**SMALL["datasets"]["demo"], **CLASSES}},
        train={"epochs": 1},
        corruption={"random": [0.0, 0.9], "combined": [0.5], "noise": noise},
    )
    # Another number of neighbours, as in RAMER's studies: no teacher is trained again for it.
    studies = [{"ramer-2": {"method": "ramer", "top_k": 2}}]
    project = Warm(tmp_path / "all", {**params, "methods": ["majority", *EMOTION, *studies]})
    jobs = project.jobs()
    assert not {"prepare_clips", "extract"} & set(jobs)
    assert jobs["encode"] == 1
    assert jobs["train"] == 1 + len(EMOTION) + len(studies) + len(TEACHERS)
    assert jobs["index"] == 1
    assert jobs["evaluate_first"] == 1 + len(EMOTION) + len(studies)
    project.snakemake("--cores", "2", PYTHONPROFILEIMPORTTIME="1")
    metrics = pd.read_parquet(project.folder / "results" / "metrics.parquet")
    assert set(metrics["method"]) == {"majority", *EMOTION, "ramer-2"}
    assert set(metrics["corruption"]) == {"random", "absent", "combined", "gaussian"}
    for name in ("wa", "ua", "f1_weighted", "f1_macro"):
        assert metrics.loc[metrics["metric"] == name, "value"].between(0, 1).all(), name
    # Text is encoded once: the jobs of methods that read vectors load no text encoder.
    logs = {path.relative_to(project.folder / "results" / "logs"): path.read_text() for path in _logs(project)}
    loading = {str(path) for path, log in logs.items() if " transformers\n" in log}
    assert loading == {"encode/demo.log"}
    assert {path.parts[0] for path in logs} >= {"encode", "train", "index", "evaluate"}


def _logs(project: Warm) -> list[Path]:
    """Logs of the jobs that this project ran itself."""
    found = (project.folder / "results" / "logs").rglob("*.log")
    return [path for path in found if "self_mm" not in path.name]


def test_a_protocol_without_missing_rates_goes_from_classes_to_the_report(small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "protocol")
    entry = {**SMALL["datasets"]["demo"], **CLASSES, "folds": FOLDS, "protocol": "nmer"}
    params = {**SMALL, "datasets": {"demo": entry}, "methods": ["majority", "ae"]}
    del params["corruption"]
    project = Warm(tmp_path / "protocol", {**params, "train": {"device": "cpu", "epochs": 1}})
    project.snakemake("--cores", "2")
    metrics = pd.read_parquet(project.folder / "results" / "metrics.parquet")
    assert set(metrics["corruption"]) == {"gaussian", "impulse"}
    assert set(metrics["protocol"]) == {"nmer"}
    record = json.loads((project.folder / "results/models/demo/ae/seed-1.fold-2/run.json").read_text())
    assert record["protocol"] == "nmer (train.epochs: 1)"
    page = (project.folder / "results" / "report.html").read_text()
    assert "Protocol: nmer (train.epochs: 1)" in page
    assert "30 Gaussian noise conditions" in page


def test_a_protocol_of_ones_own_that_trains_and_tests_on_bursts_goes_to_the_report(small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "bursts")
    own = tmp_path / "bursts" / "mine.yaml"
    tested = "corruption: {random: [], absent: false, burst: {rates: [0.0, 0.5, 0.9], length: 5}}\n"
    own.write_text(f"source: ours\n{tested}train: {{corruption: burst}}\n")
    params = {**SMALL, "protocol": "mine.yaml", "methods": ["majority", {"text_only": {"epochs": 1, "batch_size": 4}}]}
    del params["corruption"]
    project = Warm(tmp_path / "bursts", params)
    project.snakemake("--cores", "2")
    results = project.folder / "results"
    assert set(pd.read_parquet(results / "metrics.parquet")["corruption"]) == {"burst"}
    assert {"mean_burst", "area_burst"} < set(pd.read_parquet(results / "intervals.parquet")["corruption"])
    assert set(pd.read_csv(results / "tables" / "burst_per_level.csv")["level"]) == {0.0, 0.5, 0.9}
    assert (results / "figures" / "burst_curve_f1_demo.svg").exists()
    record = json.loads((results / "models/demo/text_only/seed-1/run.json").read_text())
    assert (record["training_corruption"], record["protocol"]) == ("burst", "mine.yaml")
    assert "Bursts missing" in (results / "report.html").read_text()
    # Other rates of the test change no training; another length of the spans does.
    own.write_text(own.read_text().replace("0.9]", "0.8]"))
    assert "\ntrain " not in project.snakemake("--cores", "2", "-n")
    own.write_text(own.read_text().replace("length: 5", "length: 6"))
    assert "\ntrain " in project.snakemake("--cores", "2", "-n")


def test_runs_are_checked_where_the_params_say_so_and_nothing_else_is_made_again(small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "checked")
    project = Warm(tmp_path / "checked", {**SMALL, "report": {"check": True}})
    assert project.jobs() == {"examine": 1, "report": 1}
    project.snakemake("--cores", "2")
    results = project.folder / "results"
    found = pd.read_parquet(results / "checks.parquet")
    assert set(found["method"]) == {"majority", "self_mm-short"}
    assert set(found["status"]) <= {"passed", "skipped", "declared"}
    table = pd.read_csv(results / "tables" / "checks.csv")
    assert (table["failed"] == 0).all() and (table["passed"] > 3).all()
    assert "Checks of the methods" in (results / "report.html").read_text()
    assert project.jobs() == {}
