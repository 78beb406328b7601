"""Runs that share a job end as they do alone: to the bit, after a failure, and when one of them is missing."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflow_project import TINY, Project, changed, write_arrays

pytestmark = pytest.mark.workflow

RUNS = ["seed-1", "seed-2", "seed-3"]
METHODS = [{"ae": {"batch_size": 8, "learning_rate": 0.01}}]
ALONE = changed(TINY, methods=METHODS, seeds=[1, 2, 3], train={"epochs": 2})
TOGETHER = changed(ALONE, train={"seeds_per_job": "all"})
TARGETS = ("--cores", "2", "predictions", "models")
JOB = "first.ae.seed-1-to-seed-3"


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Project:
    """A project with one job for all runs; nobody changes it."""
    project = Project(tmp_path_factory.mktemp("seeds") / "together", TOGETHER)
    write_arrays(project.folder / "data" / "first")
    project.snakemake(*TARGETS)
    return project


@pytest.fixture
def project(together, tmp_path) -> Project:
    """A copy of it, which Snakemake knows as its own."""
    copy = Project(tmp_path / "project", TOGETHER)
    shutil.copytree(together.folder, copy.folder, dirs_exist_ok=True)
    return copy


def trained(project: Project, run: str) -> tuple[bytes, bytes]:
    """The weights and the history of a run."""
    folder = project.folder / "results" / "models" / "first" / "ae" / run
    return (folder / "model.safetensors").read_bytes(), (folder / "history.csv").read_bytes()


def records(project: Project, *runs: str) -> list[bytes]:
    """What differs between two trainings of the same weights, too."""
    return [(project.folder / "results" / "models" / "first" / "ae" / run / "run.json").read_bytes() for run in runs]


def predictions(project: Project, run: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results" / "predictions" / "first" / "ae" / f"{run}.parquet")


def log(project: Project, verb: str, job: str = JOB) -> str:
    return (project.folder / "results" / "logs" / verb / f"{job}.log").read_text()


def forget(project: Project) -> None:
    """Delete what was trained and predicted."""
    for stage in ("models", "predictions", "representations"):
        shutil.rmtree(project.folder / "results" / stage)


@pytest.mark.orchestration
def test_results_are_equal_to_the_bit_to_those_of_separate_jobs(together, project):
    assert len({trained(together, run) for run in RUNS}) == len(RUNS)
    assert [path.stem for path in (together.folder / "results" / "logs" / "train").iterdir()] == [JOB]
    assert not (together.folder / "results" / "unused").exists()
    forget(project)
    project.write(ALONE)
    project.snakemake("--cores", "2", "results/predictions/first/ae/seed-2.parquet")
    assert "run 1 of" not in log(project, "train", "first.ae.seed-2")
    assert trained(project, "seed-2") == trained(together, "seed-2")
    pd.testing.assert_frame_equal(predictions(project, "seed-2"), predictions(together, "seed-2"), check_exact=True)


@pytest.mark.orchestration
def test_a_missing_run_is_made_alone(project):
    others, weights = records(project, "seed-1", "seed-3"), trained(project, "seed-2")
    shutil.rmtree(project.folder / "results" / "models" / "first" / "ae" / "seed-2")
    project.elision("adopt")
    project.snakemake(*TARGETS)
    assert records(project, "seed-1", "seed-3") == others
    assert trained(project, "seed-2") == weights
    assert log(project, "train").count("is up to date") == 2
    assert "seed-2: run 1 of the 1 that this job makes" in log(project, "train")
    assert log(project, "evaluate").count("is up to date") == 4
    assert "Nothing to be done" in project.snakemake("-n", *TARGETS)


@pytest.mark.orchestration
def test_a_failing_run_loses_no_finished_one_and_the_log_names_it(together, project):
    forget(project)
    in_the_way = project.folder / "results" / "models" / "first" / "ae" / "seed-2" / ".lock"
    in_the_way.mkdir(parents=True)
    said = project.snakemake("--cores", "2", "models", check=False)
    assert "seed-2: run 2 of the 3 that this job makes" in said
    assert "seed-3: run" not in said
    in_the_way.rmdir()
    project.snakemake("--cores", "2", "models")
    assert "seed-2: run 1 of the 2 that this job makes" in log(project, "train")
    assert "train first ae seed-1" not in log(project, "train")
    assert [trained(project, run) for run in RUNS] == [trained(together, run) for run in RUNS]


@pytest.mark.orchestration
def test_another_number_of_runs_per_job_trains_nothing(project):
    before = records(project, *RUNS)
    project.write(ALONE)
    project.snakemake(*TARGETS)
    assert records(project, *RUNS) == before
    assert "Nothing to be done" in project.snakemake("-n", *TARGETS)


def test_a_profile_sets_resources_of_all_rules_that_are_made_of_one(tmp_path):
    project = Project(tmp_path / "project", changed(ALONE, train={"seeds_per_job": 2}, seeds=[1, 2, 3, 4, 5]))
    write_arrays(project.folder / "data" / "first")
    (tmp_path / "profile").mkdir()
    settings = {"set-resources": {"train": {"mem_mb": 1234}, "evaluate": {"mem_mb": 2345}}}
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(settings))
    said = project.snakemake("-n", *TARGETS, "--profile", str(tmp_path / "profile"))
    asked = {}
    for part in said.split("\nrule ")[1:]:
        name, _, what = part.partition(":")
        if name.startswith(("train", "evaluate")):
            asked[name] = next(word for word in what.replace(",", " ").split() if word.startswith("mem_mb="))
    assert asked == {
        "train": "mem_mb=1234",
        "train_2": "mem_mb=1234",
        "train_3": "mem_mb=1234",
        "evaluate": "mem_mb=2345",
        "evaluate_2": "mem_mb=2345",
        "evaluate_first": "mem_mb=8000",
    }


def test_folds_count_as_runs(tmp_path):
    folds = {"by": "speaker", "count": 3, "validation": 0.2}
    first = {**TINY["datasets"]["first"], "folds": folds}
    params = {**changed(ALONE, train={"seeds_per_job": 2}, seeds=[1, 2]), "datasets": {"first": first}}
    project = Project(tmp_path / "project", params)
    write_arrays(project.folder / "data" / "first")
    jobs = project.jobs("predictions", "models")
    assert {name: count for name, count in jobs.items() if name.startswith(("train", "evaluate"))} == {
        "train": 1,
        "train_2": 1,
        "train_3": 1,
        "evaluate": 1,
        "evaluate_2": 1,
        "evaluate_first": 1,
    }


@pytest.mark.parametrize(
    ("number", "jobs"), [(1, RUNS), (2, ["seed-1-to-seed-2", "seed-3"]), ("all", ["seed-1-to-seed-3"])]
)
def test_logs_and_benchmarks_have_the_names_of_the_runs(tmp_path, number, jobs):
    project = Project(tmp_path / "project", changed(ALONE, train={"seeds_per_job": number}))
    write_arrays(project.folder / "data" / "first")
    words = set(project.snakemake("-n", *TARGETS).replace(",", " ").split())
    for verb in ("train", "evaluate"):
        for folder, ending in (("logs", "log"), ("benchmarks", "tsv")):
            found = {Path(word).name for word in words if word.startswith(f"results/{folder}/{verb}/")}
            assert found == {f"first.ae.{job}.{ending}" for job in jobs}
