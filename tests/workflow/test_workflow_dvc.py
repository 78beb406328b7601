"""DVC and Snakemake together: what is done again after a change, wherever the artifacts came from."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from workflow_project import METRICS, TINY, Repository, Warm, WarmRepository, changed, write_arrays

from elision.store import read_table, write_table

pytestmark = [pytest.mark.workflow, pytest.mark.orchestration]

MODEL = "results/models/first/ae/seed-1/model.safetensors"
MADE_OF_RUNS = {"aggregate": 1, "significance": 1, "report": 1}
EVALUATED = {"evaluate_first": 2, "predictions": 1, "representations": 1}
ALL_RUNS = {"train": 2, "models": 1, **EVALUATED}
CHANGES = {
    "epochs": ({"train": {"epochs": 12}}, {**ALL_RUNS, **MADE_OF_RUNS}),
    "a missing rate added": (
        {"corruption": {"random": [0.0, 0.3, 0.5]}},
        {
            "corrupt": 1,
            "corruptions": 1,
            **EVALUATED,
            **MADE_OF_RUNS,
        },
    ),
    "a seed added": (
        {"seeds": [1, 2]},
        {"train": 2, "models": 1, "evaluate": 2, "predictions": 1, **MADE_OF_RUNS},
    ),
    "a method dropped": (
        {"methods": ["majority"]},
        # Nothing reads the text vectors any more: they are no part of the datasets.
        {"datasets": 1, "models": 1, "predictions": 1, "representations": 1, **MADE_OF_RUNS},
    ),
    "a dataset added": (
        {"datasets": {"second": {**TINY["datasets"]["first"], "standardise": False}}},
        {
            "prepare_sequences": 1,
            "align": 1,
            "encode": 1,
            "datasets": 1,
            "corrupt": 1,
            "corruptions": 1,
            **ALL_RUNS,
            **MADE_OF_RUNS,
        },
    ),
    "a setting of the machine": ({"train": {"device": "auto", "jobs_per_gpu": 2}}, {}),
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Repository:
    """A commit of the project as it stands, whose artifacts were made by `dvc repro` and pushed."""
    made = Repository.of_project(tmp_path_factory.mktemp("dvc") / "origin")
    made.dvc("remote", "add", "-q", "--default", "store", str(made.folder.parent / "remote"))
    made.git("commit", "-qam", "a remote")
    made.dvc("repro")
    made.git("add", "-A")
    made.git("commit", "-qm", "first results")
    made.dvc("push", "-q")
    return made


@pytest.fixture
def pulled(origin, tmp_path) -> Repository:
    """A new clone with all artifacts, of which its Snakemake knows nothing."""
    return origin.clone(tmp_path / "clone")


@pytest.fixture(scope="module")
def adopted(origin, tmp_path_factory) -> Repository:
    """A new clone that has adopted all artifacts; tests put back what they change, and run no jobs in it."""
    clone = origin.clone(tmp_path_factory.mktemp("adopted") / "clone")
    assert clone.elision("adopt").returncode == 0
    return clone


@pytest.fixture
def edited(adopted) -> Iterator[WarmRepository]:
    yield WarmRepository(adopted.folder, TINY)
    adopted.git("checkout", "-q", "--", ".")


@pytest.fixture(scope="module")
def forced(tmp_path_factory):
    """Make the metrics of a full run from nothing."""
    made: dict[str, dict[str, bytes]] = {}

    def run(sections: dict, names: tuple[str, ...] = METRICS) -> dict[str, bytes]:
        key = json.dumps([sections, names], sort_keys=True)
        if key not in made:
            project = Warm(tmp_path_factory.mktemp("forced") / "project", changed(TINY, **sections))
            write_arrays(project.folder / "data" / "first")
            project.snakemake("--cores", "2", *(f"results/{name}" for name in names))
            made[key] = {name: (project.folder / "results" / name).read_bytes() for name in names}
        return made[key]

    return run


def test_a_second_repro_has_nothing_to_do(origin):
    lock = (origin.folder / "dvc.lock").read_bytes()
    assert "Data and pipelines are up to date." in origin.dvc("repro")
    assert (origin.folder / "dvc.lock").read_bytes() == lock
    assert "Data and pipelines are up to date." in origin.dvc("status")
    assert "Nothing to be done" in origin.snakemake("-n")
    assert origin.git("status", "--short") == ""
    assert "ae" in origin.dvc("metrics", "show", "--json")


def test_a_clone_that_pulled_has_nothing_to_do_once_it_adopted(pulled):
    before = pulled.tree()
    refused = pulled.snakemake("-n", check=False)
    assert "run once: elision adopt" in refused
    assert "Building DAG" not in refused
    assert pulled.tree() == before, "a dry run changed files"

    done = pulled.elision("adopt")
    assert done.returncode == 0, done.stderr
    assert "removed" not in done.stdout
    assert "Nothing to be done" in pulled.snakemake("-n")
    assert "Data and pipelines are up to date." in pulled.dvc("status")
    assert pulled.git("status", "--short") == ""


@pytest.mark.parametrize(("sections", "jobs"), CHANGES.values(), ids=CHANGES)
def test_after_adoption_a_change_reruns_exactly_the_jobs_that_depend_on_it(edited, sections, jobs):
    edited.write(changed(TINY, **sections))
    assert edited.jobs() == jobs


@pytest.mark.parametrize("change", ["a method dropped", "a dataset added"])
def test_after_a_change_the_metrics_are_those_of_a_full_run(edited, forced, tmp_path, change):
    """The other changes are made as experiments, below."""
    copy = WarmRepository(tmp_path / "copy", TINY)
    shutil.copytree(edited.folder, copy.folder, dirs_exist_ok=True)
    before, sections, measured = copy.metrics(), CHANGES[change][0], METRICS[:3]
    copy.write(changed(TINY, **sections))
    copy.snakemake("--cores", "2", *(f"results/{name}" for name in measured))
    full, after = forced(sections, measured), copy.metrics()
    assert all(after[name] == full[name] != before[name] for name in measured)


@pytest.mark.parametrize("change", ["epochs", "a method dropped"])
def test_a_change_before_adoption_is_seen_too(edited, tmp_path, change):
    """Hazard: without Snakemake's records, only times count, and a changed parameter is not seen."""
    sections, jobs = CHANGES[change]
    copy = WarmRepository(tmp_path / "copy", TINY)
    shutil.copytree(edited.folder, copy.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".snakemake"))
    copy.write(changed(TINY, **sections))
    assert copy.jobs("--config", "adopt=1") == {}, "the naive set-up sees it: this test is of no use"
    assert copy.elision("adopt").returncode == 0
    # The manifest of a dataset of features may list more than the params ask for, such as text vectors.
    assert copy.jobs() == {rule: count for rule, count in jobs.items() if rule != "datasets"}


def test_changed_code_reruns_the_steps_that_it_belongs_to(edited):
    assert edited.jobs() == {}
    method = edited.folder / "workflow" / "elision" / "methods" / "ae.py"
    text = method.read_text()
    method.write_text(text + "\n# One comment more.\n")
    assert edited.jobs() == {}
    method.write_text(text + "\nONE_CONSTANT_MORE = 1\n")
    runs = {"train": 1, "models": 1, "evaluate_first": 1, "predictions": 1, "representations": 1}
    assert edited.jobs() == {**runs, **MADE_OF_RUNS}
    method.write_text(text)
    page = edited.folder / "workflow" / "elision" / "report" / "page.css"
    page.write_text(page.read_text() + "\nmark { color: inherit }\n")
    assert edited.jobs() == {"report": 1}
    assert "workflow/elision" in edited.dvc("status")


@pytest.mark.parametrize(
    ("lost", "jobs"),
    [
        ("tables/random_missing.csv", {"report": 1}),
        ("metrics.json", {"aggregate": 1, "report": 1}),
        ("comparisons.parquet", {"significance": 1, "report": 1}),
    ],
)
def test_a_lost_file_is_made_again_though_the_page_is_there(edited, tmp_path, lost, jobs):
    """Hazard: Snakemake asks only whether the files are there that a target names."""
    kept = tmp_path / "kept"
    shutil.copy2(edited.folder / "results" / lost, kept)
    (edited.folder / "results" / lost).unlink()
    assert edited.jobs() == jobs
    shutil.copy2(kept, edited.folder / "results" / lost)


def look_newer(results: Path) -> None:
    """Give all files one time that is later than now, as a checkout may."""
    later = time.time() + 60
    for path in results.rglob("*"):
        os.utime(path, (later, later))


def test_final_files_that_other_settings_made_are_seen_though_snakemake_knows_their_names(edited, tmp_path):
    """Hazard: `dvc checkout` of files that differ in nothing but how they are made from the same predictions."""
    copy = WarmRepository(tmp_path / "copy", TINY)
    shutil.copytree(edited.folder, copy.folder, dirs_exist_ok=True)
    path = copy.folder / "results" / "intervals.parquet"
    table, provenance = read_table(path)
    write_table(path, table.iloc[:1], {**provenance, "identity": "of other settings"})
    look_newer(copy.folder / "results")
    assert copy.jobs("--config", "adopt=1") == {}, "the naive set-up sees it: this test is of no use"
    assert "intervals.parquet: Snakemake did not make these results" in copy.snakemake("-n", check=False)
    assert "other settings or other code made it" in copy.elision("adopt").stdout
    assert copy.jobs() == {"significance": 1, "report": 1}


def test_changed_data_are_seen_even_if_all_results_look_newer(edited, tmp_path):
    """Hazard: with linked caches DVC copies outs before a stage, and they become newer than what they are made from."""
    copy = WarmRepository(tmp_path / "copy", TINY)
    shutil.copytree(edited.folder, copy.folder, dirs_exist_ok=True)
    write_arrays(copy.folder / "data" / "first", seed=8)
    look_newer(copy.folder / "results")
    for _ in range(2):
        jobs = copy.jobs()
        assert jobs["prepare_sequences"] == 1
        assert jobs["train"] == 2
        assert copy.elision("adopt").returncode == 0, "and adoption changes nothing"


def link(repository: Repository, kind: str) -> None:
    """Make all outs links to the cache."""
    repository.dvc("config", "cache.type", kind)
    repository.dvc("checkout", "-q", "--relink")
    repository.git("commit", "-qam", kind)


def test_a_seed_added_and_taken_back_leaves_no_trace_with_symbolic_links(pulled, forced):
    link(pulled, "symlink")
    assert (pulled.folder / MODEL).is_symlink()
    lock, before = (pulled.folder / "dvc.lock").read_bytes(), pulled.metrics()
    sections = CHANGES["a seed added"][0]
    pulled.write(changed(TINY, **sections))
    pulled.dvc("repro")
    assert pulled.metrics() == forced(sections) != before
    pulled.git("checkout", "-q", "--", "params.yaml")
    pulled.dvc("repro")
    assert pulled.git("status", "--short") == ""
    assert (pulled.folder / "dvc.lock").read_bytes() == lock


def test_experiments_have_the_metrics_of_full_runs_with_hard_links(pulled, forced):
    link(pulled, "hardlink")
    assert (pulled.folder / MODEL).stat().st_nlink > 1
    before, sections = pulled.metrics(), CHANGES["epochs"][0]
    # All of them start from the params of the workspace, which the last one changes.
    pulled.dvc("exp", "run", "--queue", "-n", "queued", "-S", "seeds=[1,2]")
    pulled.dvc("queue", "start")
    deadline = time.monotonic() + 600
    while "Queued" in (status := pulled.dvc("queue", "status")) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(15)
    assert "Success" in status
    pulled.dvc("exp", "run", "--temp", "-n", "elsewhere", "-S", "corruption.random=[0.0,0.3,0.5]")
    pulled.dvc("exp", "run", "-n", "here", "-S", "train.epochs=12")
    assert pulled.metrics() == forced(sections) != before

    (baseline,) = [entry for entry in json.loads(pulled.dvc("exp", "show", "--json")) if entry["rev"] != "workspace"]
    found = {
        experiment["name"]: experiment["revs"][-1]["data"]["metrics"]["results/metrics.json"]["data"]
        for experiment in baseline["experiments"]
    }
    names = {"here": "epochs", "elsewhere": "a missing rate added", "queued": "a seed added"}
    # Of the one that no other test compares, the metrics alone.
    wanted = {"elsewhere": ("metrics.json",)}
    full = {
        name: json.loads(forced(CHANGES[change][0], wanted.get(name, METRICS))["metrics.json"])
        for name, change in names.items()
    }
    assert found == full
    difference = json.loads(pulled.dvc("metrics", "diff", "--json"))["results/metrics.json"]
    old, new = json.loads(before["metrics.json"])["first"]["ae"], full["here"]["first"]["ae"]
    changes = {name: (values["old"], values["new"]) for name, values in difference.items()}
    assert changes == {f"first.ae.{name}": (old[name], new[name]) for name in old}
    pulled.dvc("plots", "diff", "--out", "plots", "HEAD", "here")
    page = (pulled.folder / "plots" / "index.html").read_text()
    assert '"rev": "HEAD"' in page
    assert '"rev": "here"' in page

    # The old artifacts in the cache were not written through the links.
    pulled.git("checkout", "-q", "--", "params.yaml", "dvc.lock")
    pulled.dvc("checkout", "-q")
    assert "Data and pipelines are up to date." in pulled.dvc("status")
    assert pulled.metrics() == before
