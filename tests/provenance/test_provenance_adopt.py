import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elision.errors import ElisionError
from elision.files import sha256
from elision.provenance import adopt, kept, manifest
from elision.provenance.layout import Layout
from elision.provenance.recipe import Recipes, digest
from elision.settings import params as parameters
from elision.store import write_table, write_tensors

RUN = ("mine", "majority", "seed-1")


@pytest.fixture
def lock(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    path.parent.mkdir(parents=True)
    path.write_text("results/report.html")
    return path


def test_a_lock_that_nobody_holds_is_removed(lock):
    assert adopt.unlock()
    assert not lock.exists()
    assert not adopt.unlock()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["snakemake"], "Snakemake is"),
        (["-m", "elision", "train"], r"train \(a job of a Snakemake that was killed\) is"),
    ],
)
def test_the_lock_of_what_still_runs_is_left(lock, tmp_path, words, what):
    for name in ("snakemake", "elision.py"):
        (tmp_path / name).write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(ElisionError, match=rf"{what} running .* process {process.pid} to end"):
            adopt.unlock()
        assert lock.exists()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Layout:
    """Conditions and a trained run of a dataset whose files are not here, as Snakemake made them."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "datasets": {"mine": {"source": "mmsa", "file": "mine.pkl"}},
        "methods": ["majority"],
        "seeds": [1],
        "corruption": {"random": [0.0, 0.5], "absent": False},
    }
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    layout, recipes = Layout(), Recipes(parameters.load("params.yaml"))
    draws, description = layout.corruptions("mine")
    write_tensors(draws, {"uniform": np.zeros(3)}, {**recipes.corrupt("mine"), "data": "abc"})
    description.write_text("{}")
    weights, history, record = layout.model(*RUN)
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    history.write_text("epoch\n")
    provenance = {**recipes.train(*RUN), "data": "abc"}
    record.write_text(json.dumps({"provenance": provenance, "weights": sha256(weights)}))
    for stage in ("corruptions", "models"):
        manifest.collect(layout, stage, layout.stage(stage, parameters.load("params.yaml")), folders=[])
    return layout


@pytest.fixture
def snakemake(monkeypatch) -> list[list[str]]:
    """The commands with which Snakemake would be told."""
    told: list[list[str]] = []

    def run(command, **_):
        told.append(command[2:])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(adopt.subprocess, "run", run)
    return told


def change(**sections):
    settings = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**settings, **sections}))


def run() -> set[str]:
    """Adopt, and return what is there afterwards."""
    adopt.adopt(parameters.load("params.yaml"), Layout())
    return {path.relative_to("results").as_posix() for path in Path("results").rglob("*") if path.is_file()}


def everything(folder: Layout) -> set[str]:
    return {path.relative_to("results").as_posix() for path in Path("results").rglob("*") if path.is_file()}


def test_files_that_came_from_elsewhere_are_refused_until_they_are_adopted(folder, snakemake):
    with pytest.raises(ElisionError, match=r"results/corruptions, results/models: .* run once: elision adopt"):
        adopt.refuse_unknown(folder.root)
    before = everything(folder)
    assert run() == before
    (command,) = snakemake
    assert "--touch" in command
    adopt.refuse_unknown(folder.root)
    assert run() == before
    assert len(snakemake) == 1, "told twice"


def test_what_was_typed_by_hand_is_no_checkout_and_is_taken_back_by_the_jobs(folder, snakemake, capsys):
    params = parameters.load("params.yaml")
    adopt.put_typed_aside(params, folder)
    assert not folder.unused.exists(), "with a manifest, it came from elsewhere"
    for stage in ("corruptions", "models"):
        folder.manifest(stage).unlink()
    before = everything(folder)
    adopt.put_typed_aside(params, folder)
    assert "results/corruptions, results/models: made by verbs typed by hand" in capsys.readouterr().err
    adopt.refuse_unknown(folder.root)
    draws, _ = folder.corruptions("mine")
    *_, record = folder.model(*RUN)
    assert not draws.exists() and not record.exists()
    recipes = Recipes(params)
    assert kept.make_room(folder, draws, recipes.corrupt("mine")["identity"])
    assert kept.make_room(folder, record, recipes.train(*RUN)["identity"])
    assert everything(folder) == before

    adopt.begin(params, folder)  # from here on, Snakemake knows what is made
    adopt.put_typed_aside(params, folder)
    assert draws.exists() and record.exists()


def test_a_stage_that_is_checked_out_again_is_unknown(folder, snakemake):
    run()
    path = folder.root / "models" / "MANIFEST"
    path.write_text(path.read_text() + "\n")
    assert adopt.unknown(folder.root) == [folder.root / "models"]


def test_a_final_file_that_is_checked_out_again_is_unknown_and_judged(folder, snakemake):
    run()
    recipe = Recipes(parameters.load("params.yaml")).significance
    for name in ("intervals", "comparisons"):
        write_table(folder.root / f"{name}.parquet", pd.DataFrame({"value": [0.5]}), recipe)
        adopt.remember(folder.root / f"{name}.parquet")
    adopt.refuse_unknown(folder.root)
    write_table(folder.root / "intervals.parquet", pd.DataFrame({"value": [0.25]}), {**recipe, "identity": "other"})
    with pytest.raises(ElisionError, match=r"^results/intervals\.parquet: Snakemake did not make these results"):
        adopt.refuse_unknown(folder.root)
    left = run()
    assert "intervals.parquet" not in left
    assert "comparisons.parquet" in left
    assert len(snakemake) == 2


def test_what_other_settings_made_is_removed_where_snakemake_does_not_know_it(folder, snakemake):
    change(train={"epochs": 3})
    left = run()
    assert "models/mine/majority/seed-1/run.json" not in left
    assert "models/MANIFEST" not in left
    assert {"corruptions/mine.safetensors", "corruptions/MANIFEST"} <= left


def test_what_other_settings_made_here_is_left_to_snakemake(folder, snakemake):
    before = run()
    change(train={"epochs": 3})
    assert run() == before
    assert len(snakemake) == 1


def test_what_was_made_from_other_data_is_removed_in_any_case(folder, snakemake, store):
    from elision.datasets._prepare import write_samples

    run()
    recipe = Recipes(parameters.load("params.yaml")).store("mine")
    write_samples(folder.samples("mine"), store.samples, store.modalities, recipe)
    left = run()
    assert {"corruptions/mine.safetensors", "models/mine/majority/seed-1/run.json"}.isdisjoint(left)
    assert "datasets/mine/samples.parquet" in left


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00\x01", b'{"provenance": []}'])
def test_what_cannot_be_read_is_removed(folder, snakemake, damage):
    *_, record = folder.model(*RUN)
    record.write_bytes(damage)
    assert "models/mine/majority/seed-1/run.json" not in run()


def test_what_the_params_do_not_ask_for_is_not_touched(folder, snakemake):
    other = folder.root / "models" / "mine" / "other" / "run.json"
    other.parent.mkdir(parents=True)
    other.write_text("anything")
    assert "models/mine/other/run.json" in run()


def test_a_manifest_of_other_content_is_made_again(folder, snakemake):
    _, history, _ = folder.model(*RUN)
    history.write_text("epoch\n1\n")
    left = run()
    assert "models/MANIFEST" not in left
    assert "models/mine/majority/seed-1/history.csv" in left


def test_methods_are_checked_until_a_run_has_begun_and_again_when_they_or_their_code_change(folder, monkeypatch):
    def is_checked(**sections) -> bool:
        change(**{"methods": ["majority"], "teachers": {}, **sections})
        return adopt.is_checked(parameters.load("params.yaml"), Layout())

    assert not is_checked()
    adopt.begin(parameters.load("params.yaml"), Layout())
    assert is_checked()
    assert is_checked(seeds=[1, 2], train={"epochs": 3}, corruption={"random": [0.0]})
    assert not is_checked(methods=["majority", "ae"])
    assert not is_checked(methods=[{"majority": {"epochs": 1}}])
    assert not is_checked(teachers={"mmin_teacher": {"epoch": 1}})
    assert is_checked()
    monkeypatch.setattr("elision.provenance.adopt.code", lambda *_, **__: "other code")
    assert not is_checked()


def test_nothing_is_known_of_files_that_snakemake_could_not_mark(folder, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "no space", "")
    monkeypatch.setattr(adopt.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ElisionError, match="no space"):
        run()
    assert adopt.unknown(folder.root) == [folder.root / "corruptions", folder.root / "models"]


def test_what_was_made_otherwise_is_put_aside_before_snakemake_deletes_it(folder, snakemake):
    """Snakemake deletes the outputs of a job before it runs the job."""
    run()
    *_, record = folder.model(*RUN)
    before, identity = record.read_bytes(), json.loads(record.read_text())["provenance"]["identity"]
    change(train={"epochs": 3})
    adopt.begin(parameters.load("params.yaml"), folder)
    assert not record.exists()
    assert (folder.unused / identity / record.relative_to(folder.root)).read_bytes() == before
    assert folder.manifest("models").exists()
    assert all(path.exists() for path in folder.corruptions("mine"))


def test_two_results_folders_are_known_each_by_itself(folder, snakemake):
    run()
    adopt.refuse_unknown(folder.root)
    folder.root.rename("elsewhere")
    with pytest.raises(
        ElisionError, match=r"elsewhere/corruptions, elsewhere/models: Snakemake did not make these results"
    ):
        adopt.refuse_unknown(Path("elsewhere"))
    adopt.adopt(parameters.load("params.yaml"), Layout(Path("elsewhere")), file=Path("params.yaml"))
    adopt.refuse_unknown(Path("elsewhere"))
    assert {"results=elsewhere", "params=params.yaml"} <= set(snakemake[-1])


@pytest.fixture
def edit_code(monkeypatch):
    """Change the code of steps: all that a step's digest is taken of counts as other code from then on."""
    from elision.provenance import recipe

    original, changed = recipe.code, {}

    def edit(**modules: str) -> None:
        changed.update(modules)

    def code(*modules, **options):
        marks = [changed[name] for name in (m.partition(".")[0] for m in modules) if name in changed]
        return recipe.digest([original(*modules, **options), *marks]) if marks else original(*modules, **options)

    monkeypatch.setattr(recipe, "code", code)
    return edit


def test_older_code_is_accepted_by_name(folder, edit_code, capsys):
    params = parameters.load("params.yaml")
    before = Recipes(params)
    assert [before.train(*RUN), before.evaluate(*RUN), before.report]  # from now on they are kept
    edit_code(training="one line mended", evaluation="another")
    assert Recipes(params).train(*RUN)["identity"] != before.train(*RUN)["identity"]
    adopt.accept(params, folder, ["train"])
    assert "train: 1 artifact of older code accepted" in capsys.readouterr().out
    now = Recipes(params)
    assert now.train(*RUN)["identity"] == before.train(*RUN)["identity"]
    assert now.train(*RUN)["accepted"] == ["train"]
    assert now.train(*RUN)["code_here"] != now.train(*RUN)["code"] == before.train(*RUN)["code"]
    assert now.evaluate(*RUN)["identity"] != before.evaluate(*RUN)["identity"], "another step was accepted, too"
    assert now.evaluate(*RUN)["accepted"] == ["train"], "what is made from accepted code is marked"
    assert now.accepted == {"mine/majority": ["train"]}
    assert now.report["identity"] != before.report["identity"]
    assert now.report["settings"]["accepted"] == now.aggregate["settings"]["accepted"] == now.accepted
    assert not {"accepted"} & {*before.report["settings"], *before.aggregate["settings"]}
    assert "accepted" not in now.corrupt("mine")


@pytest.fixture
def older(folder) -> tuple[Layout, str]:
    """A table of samples that an earlier version made, in which the step had another name; and its identity."""
    change(datasets={"mine": {"source": "clips", "folder": "mine"}})
    recipe = Recipes(parameters.load("params.yaml")).store("mine")
    made = {key: recipe[key] for key in ("settings", "inputs")} | {"step": "complete", "code": "older"}
    path = folder.samples("mine")
    path.parent.mkdir(parents=True)
    write_table(path, pd.DataFrame({"id": ["a"]}), {**made, "identity": digest(made), "data": "abc"})
    return folder, digest(made)


def test_work_of_a_step_that_was_renamed_is_accepted_by_its_new_name(older, capsys):
    folder, identity = older
    params = parameters.load("params.yaml")
    assert Recipes(params).store("mine")["identity"] != identity
    adopt.accept(params, folder, ["assemble"])
    assert "assemble: 1 artifact of older code accepted" in capsys.readouterr().out
    assert Recipes(params).store("mine")["identity"] == identity
    assert Recipes(params).store("mine")["step"] == "assemble"


def test_work_of_a_step_that_was_renamed_is_kept(older, snakemake):
    _, identity = older
    assert f"unused/{identity}/datasets/mine/samples.parquet" in run()


def test_code_of_a_step_that_was_accepted_by_its_old_name_stays_accepted(older):
    folder, identity = older
    here = Recipes(parameters.load("params.yaml")).store("mine")["code"]
    folder.accepted.write_text(json.dumps({"complete": {here: "older"}}))
    assert Recipes(parameters.load("params.yaml")).store("mine")["identity"] == identity


def test_code_that_changes_again_is_not_accepted(folder, edit_code):
    params = parameters.load("params.yaml")
    before = Recipes(params).train(*RUN)["identity"]
    edit_code(training="one line mended")
    adopt.accept(params, folder, ["all"])
    assert Recipes(params).train(*RUN)["identity"] == before
    edit_code(training="and one more")
    assert Recipes(params).train(*RUN)["identity"] != before
    adopt.accept(params, folder, ["train"])
    assert Recipes(params).train(*RUN)["identity"] == before


def test_other_settings_or_inputs_are_not_accepted(folder, edit_code, capsys):
    edit_code(training="one line mended")
    change(train={"epochs": 3})
    params = parameters.load("params.yaml")
    expected = Recipes(params).train(*RUN)["identity"]
    adopt.accept(params, folder, ["all"])
    assert Recipes(params).train(*RUN)["identity"] == expected
    assert "train: nothing to accept" in capsys.readouterr().out


def test_an_unknown_step_is_refused(folder):
    with pytest.raises(ElisionError, match=r"unknown step 'trian'; did you mean train\?"):
        adopt.accept(parameters.load("params.yaml"), folder, ["trian"])


@pytest.mark.parametrize("damage", ["", "[]", '{"train": 3}', "\x00"])
def test_a_damaged_list_of_accepted_code_is_refused(folder, damage):
    folder.accepted.write_text(damage)
    with pytest.raises(ElisionError, match=r"accepted\.json cannot be read"):
        Recipes(parameters.load("params.yaml"))
