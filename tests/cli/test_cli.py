import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from elision import cli
from elision.cli import people, steps
from elision.cli.doctor import examine
from elision.datasets._prepare import write_samples
from elision.errors import ElisionError
from elision.provenance.layout import Layout
from elision.provenance.recipe import Recipes
from elision.settings import params as parameters
from elision.settings.params import method_names
from elision.store import read_table, read_tensors, write_sequences, write_tensors

REPOSITORY = Path(__file__).parents[2]
runner = CliRunner()


def run(*arguments):
    return runner.invoke(cli.app, [*arguments, "--params", str(REPOSITORY / "params.yaml")])


def test_every_verb_has_help():
    for command in steps.app.registered_commands + people.app.registered_commands:
        result = runner.invoke(cli.app, [command.callback.__name__.replace("_", "-"), "--help"])
        assert result.exit_code == 0
        assert command.callback.__doc__.split(".")[0].split(",")[0] in " ".join(result.output.split())


def test_a_mistake_of_the_user_ends_with_its_message_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "elision", "train", "--dataset", "demo", "--method", "lnln", "--run", "seed-1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "ELISION_PARAMS"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("elision: params.yaml: the file does not exist")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "--dataset", "dmo"), "params.yaml has no dataset 'dmo'; did you mean demo?"),
        (("extract", "smell", "--dataset", "demo", "--shard", "0"), "allowed: text, audio, vision"),
        (("collect", "model"), "unknown stage 'model'; did you mean models?"),
        (("params", "show", "lnl", "--dataset", "demo"), "did you mean lnln?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(arguments, message):
    result = run(*arguments)
    assert isinstance(result.exception, ElisionError)
    assert message in str(result.exception)


def test_methods_are_listed_with_task_paper_and_needs():
    result = runner.invoke(cli.app, ["methods"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    for name in method_names():
        assert name in result.output
    assert "Zhang et al. 2024" in result.output
    assert "NeurIPS 2024" in runner.invoke(cli.app, ["methods", "lnln"]).output


def test_parameter_counts_are_json():
    result = runner.invoke(cli.app, ["methods", "--json", "--dataset-dims", "mosi"])
    counts = {entry["name"]: entry for entry in json.loads(result.output)}
    assert counts["lnln"]["parameters"] == 6483012
    assert counts["self_mm"]["parameters"] == 159332
    assert all(sum(entry["submodules"].values()) == entry["parameters"] for entry in counts.values())


def test_show_tells_the_origin_of_every_value():
    result = run("params", "show", "lnln", "--dataset", "demo")
    assert result.exit_code == 0
    assert "card default" in result.output
    assert "demo default" in result.output


def test_the_doctor_finds_what_this_machine_has():
    findings = {finding.name: finding for finding in examine("minilm")}
    assert findings["PyTorch"].found
    assert findings["text encoder minilm"].found
    assert findings["face model"].found.startswith("mediapipe")
    assert "h264" in findings["video and audio decoding"].found


def test_the_doctor_says_what_a_missing_thing_prevents(tmp_path):
    findings = {finding.name: finding for finding in examine(str(tmp_path))}
    missing = findings[f"text encoder {tmp_path}"]
    assert (missing.found, missing.needed) == ("", True)
    assert "every method that reads text" in missing.prevents


@pytest.fixture
def prepared(tmp_path, monkeypatch, store) -> Layout:
    """A folder with params.yaml and a finished dataset."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "datasets": {"mine": {"source": "mmsa", "file": "mine.pkl"}},
        "methods": ["majority", {"by_words": {"method": "majority", "alignment": "words"}}],
        "seeds": [1],
        "corruption": {"random": [0.0, 0.5], "absent": False},
        "train": {"device": "cpu"},
    }
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    layout, recipe = Layout(), Recipes(parameters.load("params.yaml")).store("mine")
    for name, sequences in store.modalities.items():
        sequences.header.provenance = recipe
        write_sequences(layout.sequences("mine", name), sequences)
    write_samples(layout.samples("mine"), store.samples, store.modalities, recipe)
    return layout


def invoke(verb, method=None):
    """Run a verb on the prepared dataset."""
    options = ["--method", method, "--run", "seed-1"] if method else []
    result = runner.invoke(cli.app, [verb, "--dataset", "mine", *options])
    if isinstance(result.exception, ElisionError):
        raise result.exception
    assert result.exit_code == 0, result.exception


def test_a_run_by_words_goes_from_the_alignment_to_predictions(prepared):
    for verb in ("align", "corrupt"):
        invoke(verb)
    for verb in ("train", "evaluate"):
        invoke(verb, "by_words")
    table, _ = read_table(prepared.predictions("mine", "by_words", "seed-1"))
    assert len(table) == 2 * 6
    spans, provenance = read_tensors(prepared.alignment("mine"))
    assert set(spans) == {"audio", "vision"}
    assert provenance["identity"] == Recipes(parameters.load("params.yaml")).align("mine")["identity"]


def test_the_alignment_is_opened_only_for_those_who_ask_for_it(prepared):
    invoke("train", "majority")
    with pytest.raises(ElisionError, match=r"alignment\.safetensors does not exist; make the file"):
        invoke("train", "by_words")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": "older"}, "was made from data that have changed"),
        ({"identity": "x"}, "does not fit the current params"),
    ],
)
def test_a_stale_alignment_is_refused(prepared, changed, message):
    invoke("align")
    path = prepared.alignment("mine")
    spans, provenance = read_tensors(path)
    write_tensors(path, dict(spans), {**provenance, **changed})
    with pytest.raises(ElisionError, match=rf"alignment\.safetensors {message}"):
        invoke("train", "by_words")


def test_the_alignment_is_kept_with_its_dataset(prepared):
    invoke("align")
    runner.invoke(cli.app, ["collect", "datasets"], catch_exceptions=False)
    manifest = json.loads(Path("results/datasets/MANIFEST").read_text())
    kept = (f"mine/{name}.safetensors" for name in ("text", "audio", "vision", "alignment"))
    assert set(manifest) == {"mine/samples.parquet", *kept}
