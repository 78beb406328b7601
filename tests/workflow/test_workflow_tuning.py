"""The workflow with tuning: trials before trainings, winners reproduced, budgets told, nothing tried twice."""

import json

import pandas as pd
import pytest
from workflow_project import TINY, Warm, changed, write_arrays

pytestmark = pytest.mark.workflow

STUDY = "results/tuning/first/ae/seed-1"
TUNED = changed({**TINY, "tune": {"trials": 3}}, train={"epochs": 3}, seeds=[1, 2])


def rows(project, study=STUDY):
    table = pd.read_parquet(project.folder / study / "trials.parquet")
    return table[["number", "state", "values", "score", "epoch", "errors"]].to_dict("records")


def record(project, run="seed-1", method="ae"):
    return json.loads((project.folder / f"results/models/first/{method}/{run}/run.json").read_text())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A finished workflow with a tuned method; tests that change it make a project of their own."""
    project = Warm(tmp_path_factory.mktemp("tuned"), TUNED)
    write_arrays(project.folder / "data" / "first")
    project.snakemake("--cores", "2")
    return project


def test_runs_have_the_values_of_the_best_trial_and_reproduce_its_score(tuned):
    found = rows(tuned)
    assert [row["number"] for row in found] == [0, 1, 2]
    best = min(found, key=lambda row: min(json.loads(row["errors"])))
    values = json.loads(best["values"])
    for run in ("seed-1", "seed-2"):
        made = record(tuned, run)
        assert made["provenance"]["tuned"] == {"trial": best["number"], "values": values}
        assert values.items() <= made["hyperparameters"].items()
    assert record(tuned)["checkpoints"]["valid"] == {"epoch": best["epoch"], "score": best["score"]}
    assert "tuned" not in record(tuned, method="majority")["provenance"]
    assert {"tuned"} & set(record(tuned)["provenance"]["inputs"]) == {"tuned"}


def test_nothing_runs_again(tuned):
    assert tuned.jobs() == {}
