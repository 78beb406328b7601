"""Trained runs are checked with their own weights, sizes and hyperparameters, and every way of asking says the same."""

import json

import pytest
import torch
from typer.testing import CliRunner

from elision import cli
from elision.errors import ElisionError
from elision.evaluation import examine
from elision.methods.checks import all_checks
from elision.methods.checks._bert import TinyBert
from elision.methods.layers.text_encoder import TextEncoder
from elision.settings.params import Params
from elision.store import read_table, write_table
from elision.training.loop import train
from elision.training.run import Run

OF_RUNS = {name for name, check in all_checks().items() if check.of_runs}


@pytest.fixture(autouse=True)
def small_encoder(monkeypatch):
    def load(name: str, *, pooler: bool = False) -> TextEncoder:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return TextEncoder(TinyBert(vocabulary=2100), pooler=pooler)

    monkeypatch.setattr(TextEncoder, "load", load)
    monkeypatch.setattr("elision.provenance.contents.encoder", lambda _name: "tiny")


@pytest.fixture
def quick(monkeypatch):
    """Leave out the checks that take long."""
    every = all_checks()
    kept = {name: every[name] for name in every if name in OF_RUNS - {"finite"} | {"optimizers"}}
    monkeypatch.setattr("elision.methods.checks._check.all_checks", lambda: kept)


def trained(store, folder, method="text_only", name="mine", **overrides):
    """A run of one epoch in a folder of results; returns its folder."""
    if method != "majority":
        overrides = {"epochs": 1, "batch_size": 4, "accumulate": 1, **overrides}
    settings = Params(
        datasets={"demo": {"source": "demo"}},
        # A row with the name of a teacher shows the teacher.
        methods=[name if name == method else {name: {"method": method, **overrides}}],
        teachers={name: overrides} if name == method else {},
        seeds=[3],
        train={"device": "cpu"},
    )
    run = Run(settings, "demo", name, "seed-3")
    folder = folder / "models" / "demo" / name / "seed-3"
    train(run, store=store, plan=None, folder=folder, recipe={"step": "train", "identity": "abc"})
    return folder


def statuses(document):
    return {each["check"]: each["status"] for each in document["checks"]}


def findings(document, check):
    (found,) = (each["findings"] for each in document["checks"] if each["check"] == check)
    return [each["text"] for each in found]


@pytest.mark.parametrize("method", ["text_only", "misa", "majority"])
def test_a_sound_run_passes(store, tmp_path, quick, method):
    document = examine.of_run(trained(store, tmp_path, method))
    assert document["passed"] and document["dataset"] == "demo" and document["method"] == method
    assert set(statuses(document).values()) <= {"passed", "skipped", "declared"}


def test_hyperparameters_of_a_run_decide_what_learns(store, tmp_path, quick):
    """A weight of zero leaves parts without a gradient, although the method passes with its own values."""
    assert statuses(examine.of_method("misa"))["gradients"] == "passed"
    document = examine.of_run(trained(store, tmp_path, "misa", reconstruction_weight=0.0))
    assert statuses(document)["gradients"] == "failed"
    assert any("gradient of zero throughout" in told for told in findings(document, "gradients"))


def test_weights_of_a_run_decide_what_is_finite(store, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    from elision.files import sha256

    folder = trained(store, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["valid/head.weight"].fill_(torch.inf)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ElisionError, match="damaged, or belongs to another run"):
        examine.of_run(folder)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "weights": sha256(folder / "model.safetensors")}))
    every = {name: all_checks()[name] for name in ("alone", "finite")}
    monkeypatch.setattr("elision.methods.checks._check.all_checks", lambda: every)
    document = examine.of_run(folder)
    assert not document["passed"] and statuses(document)["alone"] == "passed"
    assert statuses(document)["finite"] == "failed"
    assert "nothing observed: the output has NaN." in findings(document, "finite")


def test_a_teacher_has_the_hyperparameters_of_its_run_beside_the_student(store, tmp_path):
    trained(store, tmp_path, "hrlf_teacher", name="hrlf_teacher", width=20)
    subject = examine.Subject.small("hrlf")
    for models, width in {tmp_path / "models" / "demo": 20, tmp_path: 40}.items():
        student = examine._with_teachers(subject, models, "seed-3")
        assert student.teachers["hrlf_teacher"].hyperparameters.width == width


def test_the_command_says_what_fails_and_ends_with_1(store, tmp_path, quick):
    folder = trained(store, tmp_path, "misa", reconstruction_weight=0.0)
    shown = CliRunner().invoke(cli.app, ["check", str(folder)])
    assert shown.exit_code == 1
    words = " ".join(shown.output.split())
    assert "FAILED" in words and "gradients: " in words and "1 check of " in words
    as_json = CliRunner().invoke(cli.app, ["check", str(folder), "text_only", "--json"])
    run, method = json.loads(as_json.stdout)
    assert as_json.exit_code == 1 and (run["passed"], method["passed"]) == (False, True)
    assert (run["run"], method["run"], method["dataset"]) == (str(folder), None, None)


def test_several_are_a_row_each(quick):
    shown = CliRunner().invoke(cli.app, ["check", "majority", "text_only"])
    assert shown.exit_code == 0
    assert [line.split()[3] for line in shown.output.splitlines() if line.startswith("│ ok")] == [
        "majority",
        "text_only",
    ]


def test_the_table_for_the_report_has_a_row_for_each_finding_and_each_check_that_passes(store, tmp_path, quick):
    folders = {("demo", "sound"): trained(store, tmp_path / "a")}
    folders["demo", "faulty"] = trained(store, tmp_path / "b", "misa", reconstruction_weight=0.0)
    table = examine.table(folders)
    assert tuple(table) == examine.COLUMNS
    sound, faulty = (table[table["method"] == name] for name in ("sound", "faulty"))
    assert sound["check"].is_unique and set(sound["status"]) <= {"passed", "skipped"}
    assert (faulty["check"] == "gradients").sum() > 1
    assert set(faulty.loc[faulty["check"] == "gradients", "status"]) == {"failed"}
    write_table(tmp_path / "checks.parquet", table, {"step": "examine"})
    read, found = read_table(tmp_path / "checks.parquet")
    assert found["step"] == "examine" and read.to_dict("records") == table.to_dict("records")
