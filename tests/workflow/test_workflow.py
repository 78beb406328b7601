import json
import os
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from workflow_project import CLASSES, FOLDS, REPOSITORY, SMALL, Project, Warm, browse, changed

pytestmark = pytest.mark.workflow


@pytest.fixture
def edited(small):
    """The finished project, whose params.yaml is put back at the end."""
    yield Warm(small.folder, SMALL)
    small.write(SMALL)


def test_everything_that_was_asked_for_is_there(small):
    results = small.folder / "results"
    metrics = pd.read_parquet(results / "metrics.parquet")
    assert set(metrics["method"]) == {"majority", "self_mm-short"}
    conditions = metrics[["corruption", "level", "modalities"]].drop_duplicates()
    assert len(conditions) == 3 + 7
    assert "self_mm-short" in (results / "report.html").read_text()
    for name in ("random_missing", "per_rate", "absent"):
        for kind in ("csv", "md", "tex"):
            assert (results / "tables" / f"{name}.{kind}").stat().st_size
    for stage in ("datasets", "corruptions", "models", "predictions", "representations"):
        manifest = json.loads((results / stage / "MANIFEST").read_text())
        files = {p.relative_to(results / stage).as_posix() for p in (results / stage).rglob("*") if p.is_file()}
        assert files == {"MANIFEST", *manifest}
    assert json.loads((results / "metrics.json").read_text())


def test_a_clip_that_is_asked_about_gets_the_predictions_of_the_evaluation(edited):
    results = edited.folder / "results"
    stored = pd.read_parquet(results / "predictions" / "demo" / "self_mm-short" / "seed-1.parquet")
    stored = stored[stored["id"] == stored["id"].iloc[-1]]
    clips = pd.read_parquet(results / "datasets" / "demo" / "clips.parquet").set_index("id")
    clip, model = clips.loc[stored["id"].iloc[0]], "results/models/demo/self_mm-short/seed-1"
    options = ["--text", clip["text"], "--rates", "0,0.5,0.9", "--json"]
    done = edited.elision("predict", clip["path"], *options, "--model", model)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["clips"]
    found = {(p["corruption"], p["level"], "+".join(p["modalities"])): p["prediction"] for p in answer["predictions"]}
    keys = zip(stored["corruption"], stored["level"], stored["modalities"], strict=True)
    # The last bits depend on the other samples of a batch.
    assert found == pytest.approx(dict(zip(keys, stored["prediction"], strict=True)), rel=0, abs=1e-6)


def test_the_page_opens_on_a_phone(small):
    browse(small.folder / "results" / "report.html")


def test_teachers_and_databases_are_made_once_per_fold(edited):
    edited.write(
        changed(
            datasets={"demo": {**SMALL["datasets"]["demo"], **CLASSES, "folds": FOLDS}},
            methods=["nmer", "men", "mmin", "ramer", {"ramer-2": {"method": "ramer", "top_k": 2}}],
        )
    )
    planned = edited.snakemake("-n", "--cores", "2")
    for teacher in ("nmer_teacher", "mmin_teacher", "ramer_encoders"):
        for run in ("seed-1.fold-1", "seed-1.fold-2"):
            assert planned.count(f"output: results/models/demo/{teacher}/{run}/model.safetensors") == 1
    jobs = edited.jobs()
    assert jobs["index"] == 2
    assert jobs["train"] == (3 + 5) * 2
    assert jobs["evaluate_first"] == jobs["evaluate"] == 5
    assert "extract" not in jobs


def test_a_second_run_has_nothing_to_do(small):
    assert "Nothing to be done" in small.snakemake("--cores", "2")


# The first run of both methods, which is represented, too.
EVALUATED = {"evaluate_first": 2, "predictions": 1, "representations": 1}
AFTERWARDS = {"aggregate": 1, "significance": 1, "report": 1}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            changed(corruption={"random": [0.0, 0.3, 0.5, 0.9]}),
            {"corrupt": 1, "corruptions": 1, **EVALUATED, **AFTERWARDS},
        ),
        (
            changed(seeds=[1, 2]),
            {"train": 2, "models": 1, "evaluate": 2, "predictions": 1, **AFTERWARDS},
        ),
        (
            changed(methods=SMALL["methods"][:1]),
            {"models": 1, "predictions": 1, "representations": 1, **AFTERWARDS},
        ),
        (
            changed(train={"redraw": "never"}),
            {"train": 2, "models": 1, **EVALUATED, **AFTERWARDS},
        ),
        (changed(train={"device": "auto"}), {}),
    ],
    ids=["a rate added", "a seed added", "a method dropped", "another training", "another device"],
)
def test_a_changed_parameter_reruns_the_jobs_that_depend_on_it(edited, params, expected):
    edited.write(params)
    assert edited.jobs() == expected


def test_an_audio_setting_extracts_audio_again_and_no_other_modality(edited):
    edited.write(changed(features={"audio": {"mfcc": 13}}))
    jobs = edited.jobs()
    assert "prepare_clips" not in jobs
    assert jobs["align"] == 1
    assert jobs["train"] == jobs["evaluate_first"] == 2


def test_a_wrong_parameter_stops_before_any_job(edited):
    edited.write(changed(train={"epoch": 3}))
    output = edited.snakemake("--cores", "2", check=False)
    assert "train.epoch: unknown key; did you mean epochs?" in output
    assert "Building DAG" not in output


def test_a_stale_artifact_is_refused_by_hand(edited):
    edited.write(changed(features={"vision": {"fps": 5}}))
    done = edited.elision("corrupt", "--dataset", "demo")
    assert done.returncode == 2
    assert "does not fit the current params" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_refuses_params_that_changed_while_the_workflow_runs(edited):
    done = edited.elision("corrupt", "--dataset", "demo", "--recipe", "0123456789abcdef")
    assert done.returncode == 2
    assert "changed while the workflow was running" in done.stderr


def kill(project, condition, *arguments):
    """Start the workflow, kill all of it with SIGKILL once a condition holds, and return whether it was running."""
    process = project.start(*arguments)
    deadline = time.monotonic() + 300
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def test_a_killed_run_goes_on_and_ends_in_the_same_weights_on_one_core(small, tmp_path):
    project = Project(tmp_path / "killed", SMALL)
    results = project.folder / "results"
    model = Path("models", "demo", "self_mm-short", "seed-1")
    target = ("--cores", "1", f"results/{model}/run.json")
    shards = results / "datasets" / "demo" / "shards"
    assert kill(project, lambda: len(list(shards.glob("*.safetensors"))) >= 2, *target), "was over too early"
    kept = {path: path.stat().st_mtime_ns for path in shards.glob("[a-z]*.safetensors")}
    assert not (results / "models").exists()

    assert project.elision("adopt").returncode == 0
    assert kill(project, (results / model / "state.pt").exists, *target), "was over too early"
    assert all(not path.exists() or path.stat().st_mtime_ns == time for path, time in kept.items()), (
        "shards were redone"
    )

    assert project.elision("adopt").returncode == 0
    project.snakemake(*target)
    log = (results / "logs" / "train" / "demo.self_mm-short.seed-1.log").read_text()
    assert "continues after epoch" in log
    for name in ("model.safetensors", "history.csv"):
        assert (results / model / name).read_bytes() == (small.folder / "results" / model / name).read_bytes(), name


def test_what_the_params_no_longer_ask_for_is_not_counted(small, tmp_path):
    project = Warm(tmp_path / "copy", SMALL)
    shutil.copytree(small.folder, project.folder, dirs_exist_ok=True)
    project.write(changed(methods=SMALL["methods"][:1]))
    project.snakemake("--cores", "2", "results/metrics.parquet", "results/models/MANIFEST")
    results = project.folder / "results"
    assert set(pd.read_parquet(results / "metrics.parquet")["method"]) == {"majority"}
    assert not (results / "models" / "demo" / "self_mm-short").exists()


def test_the_snakemake_report_holds_the_tables_and_figures(edited, tmp_path):
    edited.snakemake("--report", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "random_missing.csv" in page
    assert "curve_f1_demo.svg" in page


def test_the_verbs_of_the_steps_are_those_that_rules_call():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    verbs = {
        line.split("python -m elision ")[1].split()[0] for line in rules.splitlines() if "python -m elision " in line
    }
    from elision.cli.steps import app

    assert verbs == {command.callback.__name__.replace("_", "-") for command in app.registered_commands}
