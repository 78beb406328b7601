"""Weights that are not those of their record are refused by all that uses them: exit code 2, and what to type."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from elision import cli
from elision.evaluation.predict import Evaluation
from elision.provenance.versions import versions
from elision.store import read_provenance, read_table, read_tensors, write_table, write_tensors

SMALL = {"epochs": 1, "batch_size": 4, "hidden": 12, "feed_forward": 16}
STAGE, RUN = "ramer_encoders", "seed-1"
PARAMS = {
    "datasets": {
        "mine": {
            "source": "arrays",
            "table": "table.csv",
            "task": "classification",
            "classes": ["sad", "glad"],
            "cuts": [0],
            "audio": {"file": "audio.npy"},
            "vision": {"file": "vision.npy"},
        }
    },
    "methods": [{"ours": {"method": "ramer", "top_k": 2, **SMALL}}],
    "teachers": {STAGE: SMALL},
    "seeds": [1],
    "train": {"device": "cpu", "threads": 1},
    "corruption": {"random": [0.0, 0.5], "absent": False},
}
WAYS = {
    "evaluate": ["evaluate", "--dataset", "mine", "--method", "ours"],
    "index": ["index", "--dataset", "mine", "--teacher", STAGE],
    "a start": ["train", "--dataset", "mine", "--method", "ours"],
}


def elision(monkeypatch, *words: str) -> int:
    """Run a verb as the command line does; returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["elision", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def write_project(folder: Path) -> None:
    random = np.random.default_rng(3)
    splits = ["train"] * 12 + ["valid"] * 6 + ["test"] * 6
    rows = [f"s{i},{(-1) ** i},{split},some words here" for i, split in enumerate(splits)]
    (folder / "table.csv").write_text("\n".join(["id,label,split,text", *rows]) + "\n")
    for name, width in (("audio", 4), ("vision", 3)):
        np.save(folder / f"{name}.npy", random.normal(size=(len(splits), 5, width)).astype(np.float32))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project with a teacher, its database, and a method that starts from both."""
    folder = tmp_path_factory.mktemp("weights")
    write_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ELISION_PARAMS", raising=False)
        for verb in ("prepare", "align", "encode", "corrupt"):
            assert elision(patch, verb, "--dataset", "mine") == 0
        assert elision(patch, "train", "--dataset", "mine", "--method", STAGE, "--run", RUN) == 0
        for name in ("index", "a start", "evaluate"):
            assert elision(patch, *WAYS[name], "--run", RUN) == 0
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch) -> Path:
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.delenv("ELISION_PARAMS", raising=False)
    return tmp_path / "copy" / "results"


def zeroed(path: Path) -> None:
    save_file({name: np.zeros_like(value) for name, value in load_file(path).items()}, path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_another_run(path: Path) -> None:
    """Whole weights of the same shapes, as those of another seed are."""
    save_file({name: np.asarray(value + 1, value.dtype) for name, value in load_file(path).items()}, path)


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [zeroed, truncated, of_another_run, gone])
@pytest.mark.parametrize("way", WAYS)
def test_weights_that_are_not_those_of_the_record_are_refused(project, monkeypatch, capfd, way, damage):
    method = "ours" if way == "evaluate" else STAGE
    weights = project / "models" / "mine" / method / RUN / "model.safetensors"
    damage(weights)
    if way == "a start":  # the run itself is not finished
        (project / "models" / "mine" / "ours" / RUN / "run.json").unlink()
    made = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert elision(monkeypatch, *WAYS[way], "--run", RUN) == 2
    said = capfd.readouterr().err
    assert f"results/models/mine/{method}/{RUN}/model.safetensors" in said
    assert f"snakemake --cores all --force results/models/mine/{method}/{RUN}/run.json" in said
    assert "Traceback" not in said
    written = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.name != ".lock"}
    assert {path: text for path, text in written.items() if path in made} == {
        path: text for path, text in made.items() if path.name != ".lock"
    }


def test_a_damaged_run_is_not_taken_for_a_finished_one(project, monkeypatch):
    folder = project / "models" / "mine" / STAGE / RUN
    before = (folder / "model.safetensors").read_bytes()
    zeroed(folder / "model.safetensors")
    assert elision(monkeypatch, "train", "--dataset", "mine", "--method", STAGE, "--run", RUN) == 0
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_record_that_cannot_be_read_is_refused(project, monkeypatch, capfd):
    record = project / "models" / "mine" / "ours" / RUN / "run.json"
    record.write_text(record.read_text()[:-20])
    assert elision(monkeypatch, *WAYS["evaluate"], "--run", RUN) == 2
    assert "run.json is damaged" in capfd.readouterr().err


@pytest.mark.parametrize("way", ["evaluate", "a start"])
def test_a_database_of_other_weights_is_refused(project, monkeypatch, capfd, way):
    vectors = project / "models" / "mine" / STAGE / RUN / "database" / "vectors.safetensors"
    tensors, header = read_tensors(vectors)
    tensors = {name: np.array(value) for name, value in tensors.items()}
    header["provenance"]["weights"] = "0" * 64
    write_tensors(vectors, tensors, header)
    if way == "a start":
        (project / "models" / "mine" / "ours" / RUN / "run.json").unlink()
    assert elision(monkeypatch, *WAYS[way], "--run", RUN) == 2
    said = capfd.readouterr().err
    assert f"was made with other weights of {STAGE}" in said
    assert "vectors.safetensors" in said


def test_predictions_of_other_versions_are_marked_in_metrics_and_headline(project, monkeypatch, capfd):
    """Of the one method of the project there is one run, whose predictions were made in two goes."""
    (path,) = (project / "predictions").rglob("*.parquet")
    table, provenance = read_table(path)
    assert elision(monkeypatch, "aggregate") == 0
    assert "versions" not in json.loads((project / "metrics.json").read_text())["mine"]["ours"]
    provenance["made_with"]["train"]["torch"] = "2.13.0 and 2.14.1"
    write_table(path, table, provenance)
    assert elision(monkeypatch, "aggregate") == 0
    told = "runs have different versions: training (torch 2.13.0 and 2.14.1)"
    assert json.loads((project / "metrics.json").read_text())["mine"]["ours"]["versions"] == told
    assert set(read_provenance(project / "metrics.parquet")["made_with"]) == {f"mine/ours/{RUN}"}
    capfd.readouterr()
    assert elision(monkeypatch, "headline") == 0
    shown = capfd.readouterr().out
    assert "ours ‡" in shown and f"‡ ours: {told}." in shown


def test_all_that_is_made_says_with_which_versions(trained):
    results, here = trained / "results", versions("train")
    paths = {
        "prepare": results / "datasets" / "mine" / "samples.parquet",
        "corrupt": next((results / "corruptions").rglob("*.safetensors")),
        "index": results / "models" / "mine" / STAGE / RUN / "database" / "vectors.safetensors",
        "evaluate": next((results / "predictions").rglob("*.parquet")),
        "align": results / "datasets" / "mine" / "alignment.safetensors",
        "encode": results / "datasets" / "mine" / "text_vectors.safetensors",
    }
    for step, path in paths.items():
        found = read_provenance(path)
        assert found["step"] == step
        assert found["versions"]["numpy"] == here["numpy"], path
    record = json.loads((results / "models" / "mine" / "ours" / RUN / "run.json").read_text())
    assert here.items() <= record["versions"].items()
    assert {"torch", "transformers"} <= set(record["versions"])
    assert set(record["made_with"]) == {"prepare", "encode", f"train {STAGE}"}
    assert "versions" not in record["provenance"]
    steps = {"prepare", "encode", f"train {STAGE}", "train", "corrupt"}
    assert set(read_provenance(paths["evaluate"])["made_with"]) == steps


@pytest.mark.parametrize("lost", [(), ("predictions",), ("representations",), ("predictions", "representations")])
def test_the_first_run_is_evaluated_and_represented_in_one_load_of_the_model(project, monkeypatch, lost):
    """Whatever of the two is among the unused work, the other is made, and the same to the byte."""
    paths = [next((project / name).rglob("seed-1.*")) for name in ("predictions", "representations")]
    before = {path: path.read_bytes() for path in paths}
    identity = {read_provenance(path)["identity"] for path in paths}
    assert len(identity) == 1
    for path in paths:
        if path.relative_to(project).parts[0] not in lost:
            target = project / "unused" / next(iter(identity)) / path.relative_to(project)
            target.parent.mkdir(parents=True)
            path.rename(target)
        else:
            path.unlink()
    loaded, load = [], Evaluation.__init__

    def counted(self, run, **found):
        loaded.append(str(run))
        load(self, run, **found)

    monkeypatch.setattr(Evaluation, "__init__", counted)
    assert elision(monkeypatch, *WAYS["evaluate"], "--run", RUN) == 0
    assert {path: path.read_bytes() for path in paths} == before
    assert loaded == (["mine ours seed-1"] if lost else [])


def test_a_later_run_is_not_represented(project, monkeypatch):
    params = {**PARAMS, "seeds": [0, 1]}
    (project.parent / "params.yaml").write_text(yaml.safe_dump(params))
    for path in (project / "predictions", project / "representations"):
        shutil.rmtree(path)
    assert elision(monkeypatch, *WAYS["evaluate"], "--run", RUN) == 0
    assert [path.name for path in (project / "predictions").rglob("*.parquet")] == ["seed-1.parquet"]
    assert not (project / "representations").exists()
