"""The workflow with tuning: trials before trainings, winners reproduced, budgets told, nothing tried twice."""

import json
import shutil

import pandas as pd
import pytest
from workflow_project import REPOSITORY, TINY, Warm, changed, write_arrays

from elision.store import read_table, write_table

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


def test_tables_state_the_budget_and_the_page_has_trials_and_importances(tuned):
    results = tuned.folder / "results"
    for table in ("random_missing", "tuning"):
        assert "◊ ae: tuned: 3 trials." in (results / f"tables/{table}.md").read_text()
    assert (results / "figures/tuning_first.svg").exists()
    page = (results / "report.html").read_text()
    assert "tuned: 3 trials" in page and "Tuning of hyperparameters on the validation split" in page
    assert "tuned: 3 trials" in tuned.elision("headline").stdout
    listed = json.loads((results / "tuning/MANIFEST").read_text())
    assert set(listed) == {f"first/ae/seed-1/{name}.parquet" for name in ("trials", "trial-0", "trial-1", "trial-2")}


def test_params_show_names_tuning_as_the_origin_of_a_value(tuned):
    shown = tuned.elision("params", "show", "ae", "--dataset", "first").stdout
    line = next(line for line in shown.splitlines() if "reconstruction_w" in line)
    assert "tuned" in line
    assert "tuned" not in tuned.elision("params", "show", "majority", "--dataset", "first").stdout


def copied(tuned, folder):
    """A copy of the finished workflow, of which Snakemake knows all."""
    shutil.copytree(tuned.folder, folder, symlinks=True)
    return Warm(folder, TUNED)


def test_results_that_came_from_elsewhere_are_adopted_with_their_trials(tuned, tmp_path):
    project = copied(tuned, tmp_path / "elsewhere")
    shutil.rmtree(project.folder / ".snakemake")
    before = rows(project)
    done = project.elision("adopt", "--", "-s", str(REPOSITORY / "Snakefile"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.jobs() == {} and rows(project) == before


def test_a_search_goes_on_after_an_interruption_and_more_trials_begin_with_the_same_ones(tuned, tmp_path):
    project = copied(tuned, tmp_path / "more")
    before = rows(project)
    for name in ("trials", "trial-2"):
        (project.folder / STUDY / f"{name}.parquet").unlink()
    kept = (project.folder / STUDY / "trial-1.parquet").stat().st_mtime_ns
    project.snakemake("--cores", "1", f"{STUDY}/trials.parquet")
    assert rows(project) == before
    project.write(changed(TUNED, tune={"trials": 4}))
    project.snakemake("--cores", "1", f"{STUDY}/trials.parquet")
    assert rows(project)[:3] == before and len(rows(project)) == 4
    assert (project.folder / STUDY / "trial-1.parquet").stat().st_mtime_ns == kept
    project.write(TUNED)
    project.snakemake("--cores", "1", f"{STUDY}/trials.parquet")
    assert rows(project) == before
    assert "taken from results/unused" in (project.folder / "results/logs/tune/first.ae.seed-1.log").read_text()


def test_a_score_that_the_training_does_not_reach_stops_the_workflow(tuned, tmp_path):
    project = copied(tuned, tmp_path / "other")
    path = project.folder / STUDY / "trials.parquet"
    table, provenance = read_table(path)
    table.loc[table["number"] == provenance["winner"]["trial"], "score"] += 0.01
    write_table(path, table, provenance)
    shutil.rmtree(project.folder / "results/models/first/ae/seed-1")
    output = project.snakemake("--cores", "1", "results/models/first/ae/seed-1/run.json", check=False)
    assert "validation score is" in output and "but tuning found" in output
    assert not (project.folder / "results/models/first/ae/seed-1/run.json").exists()


def test_a_job_per_trial_makes_the_same_trials_in_any_order(tmp_path):
    made = {}
    for name, cores, extra in (("one", "1", []), ("two", "2", ["--prioritize", f"{STUDY}/trial-3.parquet"])):
        project = Warm(tmp_path / name, changed(TUNED, tune={"trials": 4, "trials_at_once": 2}))
        write_arrays(project.folder / "data" / "first")
        target = f"{STUDY}/trials.parquet"
        assert {rule: n for rule, n in project.jobs(target).items() if "tune" in rule} == {"tune": 1, "tune_trial": 4}
        project.snakemake("--cores", cores, *extra, target)
        made[name] = rows(project)
    assert made["one"] == made["two"]
    assert project.elision("tune", "--dataset", "first", "--method", "ae", "--run", "seed-1", "--trial", "4").returncode
