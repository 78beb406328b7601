"""Finished work is never lost, and no number is old: two params files, dropped methods, and files replaced behind."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from workflow_project import TINY, Warm, changed, write_arrays

pytestmark = [pytest.mark.workflow, pytest.mark.orchestration]

PARAMS = changed(TINY, train={"epochs": 2})
# Another dataset, another training of a method of the same name, and a method fewer.
OTHER = {
    **changed(PARAMS, methods=["majority"], train={"epochs": 1}),
    "datasets": {"first": PARAMS["datasets"]["first"], "second": PARAMS["datasets"]["first"]},
}
TARGETS = ("--cores", "2", "predictions", "models", "datasets", "corruptions")
MODEL = "models/first/ae/seed-1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Warm:
    """A project whose models and predictions are made; nobody changes what is in it for good."""
    project = Warm(tmp_path_factory.mktemp("kept") / "project", PARAMS)
    write_arrays(project.folder / "data" / "first")
    project.snakemake(*TARGETS)
    return project


@pytest.fixture
def project(finished, tmp_path) -> Warm:
    """A copy of it, which Snakemake knows as its own."""
    copy = Warm(tmp_path / "project", PARAMS)
    shutil.copytree(finished.folder, copy.folder, dirs_exist_ok=True)
    (copy.folder / "other.yaml").write_text(yaml.safe_dump(OTHER))
    return copy


def content(folder: Path, *names: str) -> dict[str, Path]:
    """Where files of these names are, by their checksum."""
    files = (path for name in names for path in folder.rglob(name) if path.is_file())
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files}


FINISHED = ("model.safetensors", "seed-1.parquet", "samples.parquet", "audio.safetensors", "first.safetensors")


def test_nothing_finished_is_lost_and_all_comes_back_without_training(project):
    results = project.folder / "results"
    before = content(results, *FINISHED)
    assert len(before) >= 6

    said = project.snakemake(*TARGETS, "--config", "params=other.yaml")
    after = content(results, *FINISHED)
    assert set(before) < set(after)
    assert {path.name for path in (results / "models" / "first").iterdir()} == {"majority"}
    assert "elision clean --unused" in said
    assert "2 trained runs" in said  # ae, and majority with other epochs

    project.write(changed(PARAMS, methods=["majority"]))
    assert "3 trained runs" in project.snakemake(*TARGETS)  # two of the other params file, and ae
    project.write(PARAMS)
    project.snakemake(*TARGETS)
    assert set(after) <= set(content(results, *FINISHED))
    found = content(results / "models", *FINISHED)
    assert {path.relative_to(results) for path in found.values()} == {
        Path(MODEL, "model.safetensors"),
        Path("models/first/majority/seed-1/model.safetensors"),
    }
    assert set(found) < set(before)
    for job in ("train/first.ae.seed-1", "evaluate/first.ae.seed-1"):
        log = (results / "logs" / f"{job}.log").read_text()
        assert "taken from results/unused" in log
        assert "loss" not in log
    assert "Nothing to be done" in project.snakemake(*TARGETS)

    told = project.elision("clean")
    assert told.returncode == 0
    assert "2 trained runs" in told.stdout
    assert "deleted results/unused" in project.elision("clean", "--unused").stdout
    assert not (results / "unused").exists()
    assert set(found) <= set(content(results, *FINISHED))


def test_two_params_files_with_results_of_their_own_leave_each_other_alone(project):
    results = project.folder / "results"
    before = content(results, "*")
    project.snakemake(*TARGETS, "--config", "params=other.yaml", "results=other")
    assert content(results, "*") == before
    assert "Nothing to be done" in project.snakemake(*TARGETS)
    assert "Nothing to be done" in project.snakemake(*TARGETS, "--config", "params=other.yaml", "results=other")
    (project.folder / "third.yaml").write_text(yaml.safe_dump({**OTHER, "results": "other"}))
    assert "Nothing to be done" in project.snakemake(*TARGETS, "--config", "params=third.yaml")
    done = project.elision("adopt", "--params", "third.yaml")
    assert done.returncode == 0, done.stderr
    assert "moved" not in done.stdout
    assert not (results / "unused").exists()


@pytest.fixture
def edited(finished) -> Iterator[Warm]:
    """The finished project, whose data are put back at the end."""
    data = finished.folder / "data" / "first"
    shutil.copytree(data, finished.folder / "backup")
    yield finished
    shutil.rmtree(data)
    (finished.folder / "backup").rename(data)


def older(data: Path) -> None:
    write_arrays(data.parent / "new", seed=8)
    os.utime(data.parent / "new" / "arrays.npz", (1, 1))
    (data.parent / "new" / "arrays.npz").replace(data / "arrays.npz")
    shutil.rmtree(data.parent / "new")


def in_place(data: Path) -> None:
    before = (data / "samples.csv").stat()
    (data / "samples.csv").write_text((data / "samples.csv").read_text().replace("someone_1", "someone_2"))
    os.utime(data / "samples.csv", ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("replace", [older, in_place])
def test_files_that_look_old_are_read_again(edited, replace):
    assert edited.jobs(*TARGETS) == {}
    replace(edited.folder / "data" / "first")
    jobs = edited.jobs(*TARGETS)
    assert jobs["prepare_sequences"] == 1
    assert jobs["train"] == jobs["evaluate_first"] == 2


def test_files_that_are_touched_cost_nothing(edited):
    for path in (edited.folder / "data" / "first").iterdir():
        os.utime(path)
    assert edited.jobs(*TARGETS) == {}
