"""What is trained on one dataset is tested on the test split of another, too."""

import json

import numpy as np
import pandas as pd
import pytest
from workflow_project import TINY, Warm, changed, write_arrays

pytestmark = pytest.mark.workflow

FIRST = TINY["datasets"]["first"]
SECOND = json.loads(json.dumps(FIRST).replace("data/first", "data/second"))
APART = changed(datasets={"first": FIRST, "second": SECOND}, original=TINY)
TOGETHER = changed(datasets={"first": {**FIRST, "test_on": "second"}, "second": SECOND}, original=TINY)


@pytest.fixture
def project(tmp_path):
    project = Warm(tmp_path / "project", APART)
    for seed, name in ((7, "first"), (8, "second")):
        write_arrays(project.folder / "data" / name, seed=seed)
    return project


def test_a_test_on_another_dataset_trains_nothing_again_and_has_rows_of_its_own(project):
    project.snakemake("--cores", "2", "results/metrics.parquet")
    results = project.folder / "results"
    before = pd.read_parquet(results / "metrics.parquet")
    weights = {path: path.stat().st_mtime_ns for path in (results / "models").rglob("model.safetensors")}
    project.write(TOGETHER)
    jobs = project.jobs()
    assert jobs.pop("evaluate_first") == 2  # a job for each method
    assert not set(jobs) & {"prepare_sequences", "align", "corrupt", "train"}, jobs
    project.snakemake("--cores", "2")
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    after = pd.read_parquet(results / "metrics.parquet")
    assert set(after["dataset"]) == {"first", "second", "first-on-second"}
    own = after[after["dataset"] != "first-on-second"]
    pd.testing.assert_frame_equal(own.reset_index(drop=True), before.reset_index(drop=True))

    predicted = {
        name: pd.read_parquet(results / "predictions" / name / "ae" / "seed-1.parquet")
        for name in ("first", "second", "first-on-second")
    }
    same = ["id", "corruption", "level", "modalities", "label"]  # the conditions of the tested dataset
    assert predicted["first-on-second"][same].equals(predicted["second"][same])
    logits = [predicted[name].filter(like="logit.").to_numpy() for name in ("second", "first-on-second")]
    assert not np.allclose(*logits)
    floor = pd.read_parquet(results / "predictions" / "first-on-second" / "majority" / "seed-1.parquet")
    assert floor["prediction"].nunique() == 1

    table = pd.read_csv(results / "tables" / "random_missing.csv")
    assert table.groupby("dataset")["tested_on"].unique().map(list).to_dict() == {
        "first": ["first"],
        "first-on-second": ["second"],
        "second": ["second"],
    }
    assert set(table.groupby("dataset")["method"].nunique()) == {2}
    page = (results / "report.html").read_text()
    assert page.count("Trained on first, tested on the test split of second.") == 1
    assert project.jobs() == {}


def test_datasets_with_other_features_are_refused_before_anything_is_trained(project):
    arrays = dict(np.load(project.folder / "data" / "second" / "arrays.npz"))
    arrays["audio"] = arrays["audio"][:, :3]
    np.savez(project.folder / "data" / "second" / "arrays.npz", **arrays)
    project.write(TOGETHER)
    told = "second cannot test what is trained on first: dimensions of audio: 4 (first) and 3 (second)"
    stores = [f"results/datasets/{name}/samples.parquet" for name in ("first", "second")]
    assert told in project.snakemake("--cores", "1", *stores, check=False)
    assert not (project.folder / "results" / "models").exists()
    project.write(APART)
    project.snakemake("--cores", "1", *stores)
    project.write(TOGETHER)
    assert told in project.snakemake("-n", "--cores", "1", check=False)  # where both are there, at once
    write_arrays(project.folder / "data" / "second", seed=8)
    assert "prepare_sequences" in project.jobs()  # of the data that were corrected
