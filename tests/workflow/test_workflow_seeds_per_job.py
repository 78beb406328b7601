"""Runs that share a job end as they do alone: to the bit, after a failure, and when one of them is missing."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from workflow_project import TINY, Project, changed, write_arrays

pytestmark = [pytest.mark.workflow, pytest.mark.orchestration]

SEEDS = [1, 2, 3]
RUNS = [f"seed-{seed}" for seed in SEEDS]
ALONE = changed(TINY, methods=[{"ae": {"batch_size": 8, "learning_rate": 0.01}}], seeds=SEEDS, train={"epochs": 2})
TOGETHER = changed(ALONE, train={"seeds_per_job": "all"})
TARGETS = ("--cores", "2", "predictions", "representations", "models")


def started(folder: Path, params: dict) -> Project:
    project = Project(folder, params)
    write_arrays(project.folder / "data" / "first")
    return project


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Project:
    """A project with a job for each run; nobody changes it."""
    project = started(tmp_path_factory.mktemp("seeds") / "alone", ALONE)
    project.snakemake(*TARGETS)
    return project


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Project:
    """A project with one job for all runs; nobody changes it."""
    project = started(tmp_path_factory.mktemp("seeds") / "together", TOGETHER)
    assert project.jobs("models", "predictions") | {} == project.jobs("models", "predictions")
    project.snakemake(*TARGETS)
    return project


@pytest.fixture
def project(together, tmp_path) -> Project:
    """A copy of it, which Snakemake knows as its own."""
    copy = Project(tmp_path / "project", TOGETHER)
    shutil.copytree(together.folder, copy.folder, dirs_exist_ok=True)
    return copy


def weights(project: Project, run: str) -> dict[str, bytes]:
    folder = project.folder / "results" / "models" / "first" / "ae" / run
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / "model.safetensors").items()}


def predictions(project: Project, run: str) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results" / "predictions" / "first" / "ae" / f"{run}.parquet")


def log(project: Project, job: str) -> str:
    return (project.folder / "results" / "logs" / f"{job}.log").read_text()


def test_results_are_equal_to_the_bit_to_those_of_separate_jobs(alone, together):
    for run in RUNS:
        assert weights(alone, run) == weights(together, run)
        pd.testing.assert_frame_equal(predictions(alone, run), predictions(together, run), check_exact=True)
    assert weights(alone, RUNS[0]) != weights(alone, RUNS[1])
    counts = [len(list((each.folder / "results" / "logs" / "train").iterdir())) for each in (alone, together)]
    assert counts == [3, 1]
    assert "Nothing to be done" in together.snakemake("-n", *TARGETS)
    assert not (together.folder / "results" / "unused").exists()


def test_a_missing_run_is_made_alone(project):
    results = project.folder / "results"
    shutil.rmtree(results / "models" / "first" / "ae" / "seed-2")
    (results / "predictions" / "first" / "ae" / "seed-2.parquet").unlink()
    kept = [results / "models" / "first" / "ae" / run / "run.json" for run in ("seed-1", "seed-3")]
    before = [path.read_bytes() for path in kept]
    expected = predictions(Project(project.folder, TOGETHER), "seed-1")
    project.snakemake(*TARGETS)
    assert [path.read_bytes() for path in kept] == before
    for verb in ("train", "evaluate"):
        said = log(project, f"{verb}/first.ae.seed-1-to-seed-3")
        assert said.count("is up to date") >= 2
        assert "seed-2: run 1 of the 1 that this job makes" in said
    pd.testing.assert_frame_equal(predictions(project, "seed-1"), expected)
    assert "Nothing to be done" in project.snakemake("-n", *TARGETS)


def test_a_failing_run_loses_no_finished_one_and_the_log_names_it(tmp_path, alone):
    project = started(tmp_path / "project", TOGETHER)
    folder = project.folder / "results" / "models" / "first" / "ae"
    # Where the weights of the second run should be, there is a folder.
    (folder / "seed-2" / "model.safetensors" / "in the way").mkdir(parents=True)
    said = project.snakemake("--cores", "2", "models", check=False)
    assert "seed-2: run 2 of the 3 that this job makes" in said
    assert "train first ae seed-3" not in said
    shutil.rmtree(folder / "seed-2" / "model.safetensors", ignore_errors=True)
    project.snakemake("--cores", "2", "models")
    said = log(project, "train/first.ae.seed-1-to-seed-3")
    assert "seed-2: run 1 of the 2 that this job makes" in said
    assert "train first ae seed-1" not in said
    assert all(weights(project, run) == weights(alone, run) for run in RUNS)


def test_another_number_of_seeds_per_job_trains_nothing(project):
    before = {run: (project.folder / f"results/models/first/ae/{run}/run.json").read_bytes() for run in RUNS}
    for number in (2, 1):
        project.write(changed(TOGETHER, train={"seeds_per_job": number}))
        project.snakemake(*TARGETS)
        for run in RUNS:
            assert (project.folder / f"results/models/first/ae/{run}/run.json").read_bytes() == before[run]
    assert "Nothing to be done" in project.snakemake("-n", *TARGETS)


def test_a_profile_sets_resources_of_all_jobs_of_a_rule(tmp_path):
    project = started(tmp_path / "project", changed(ALONE, train={"seeds_per_job": 2}))
    (tmp_path / "profile").mkdir()
    settings = {"set-resources": {"train": {"mem_mb": 1234}, "evaluate": {"mem_mb": 2345}}, "set-threads": {"train": 2}}
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(settings))
    said = project.snakemake("-n", *TARGETS, "--profile", str(tmp_path / "profile"))
    jobs = [part for part in said.split("\nrule ") if part.startswith(("train", "evaluate"))]
    asked = {part.split(":")[0]: part for part in jobs}
    assert sorted(asked) == ["evaluate", "evaluate_first", "train", "train_2"]
    for name in ("train", "train_2"):
        assert "mem_mb=1234" in asked[name]
        assert "threads: 2" in asked[name]
    assert "mem_mb=2345" in asked["evaluate"]
    assert "mem_mb=8000" in asked["evaluate_first"]
