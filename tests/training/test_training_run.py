"""A run is what the params say of it, and the same wherever it is assembled."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from elision.errors import ElisionError
from elision.methods import resolve
from elision.settings.params import Params
from elision.store import Sequences, Store
from elision.task import MODALITIES
from elision.training.loop import train
from elision.training.run import Run, predict
from elision.training.view import View, recorded_scales

FOLDS = {"by": "speaker", "count": 3, "validation": 0.2}
CLASSES = {"task": "classification", "classes": ["sad", "glad"], "cuts": [0]}


def params(*methods, dataset=None, **train):
    return Params(
        datasets={"demo": {"source": "demo", **(dataset or {})}},
        methods=list(methods),
        seeds=[1, 20],
        train={"device": "cpu", **train},
    )


def test_the_name_of_a_run_says_its_seed_and_its_fold():
    settings = params("majority", dataset={**CLASSES, "folds": FOLDS})
    found = [Run(settings, "demo", "majority", name) for name in settings.runs("demo")]
    assert [(run.seed, run.fold) for run in found] == [(seed, fold) for seed in (1, 20) for fold in (1, 2, 3)]
    assert all(run.view.fold == run.fold for run in found)
    assert str(found[0]) == "demo majority seed-1.fold-1"


def test_complete_training_samples_are_as_the_method_says_or_the_params_or_the_protocol():
    def trained_complete(own, **train):
        row = {"mine": {"method": "mmin", **own}}
        return Run(params(row, dataset=CLASSES, **train), "demo", "mine", "seed-1").mixture.options.with_complete

    assert trained_complete({})
    assert not trained_complete({}, with_complete=False)
    assert trained_complete({"with_complete": True}, with_complete=False)
    assert not trained_complete({"with_complete": False})


@given(
    batch_size=st.integers(1, 64),
    epochs=st.one_of(st.none(), st.integers(1, 9)),
    own=st.one_of(st.none(), st.integers(1, 9)),
    modalities=st.lists(st.sampled_from(MODALITIES), min_size=1, unique=True),
    alignment=st.sampled_from(["none", "words", "pooled"]),
)
def test_hyperparameters_are_those_of_the_method_with_what_the_params_set(
    batch_size, epochs, own, modalities, alignment
):
    given_here = {"batch_size": batch_size, "modalities": modalities, "alignment": alignment}
    given_here |= {} if own is None else {"epochs": own}
    settings = params({"mine": {"method": "self_mm", **given_here}}, epochs=epochs)
    run = Run(settings, "demo", "mine", "seed-1")
    expected, _ = resolve("self_mm", "demo", given_here)
    if own is None and epochs is not None:
        expected = expected.model_copy(update={"epochs": epochs})
    assert run.hyperparameters == expected
    assert run.view == View(tuple(modalities), alignment, "tokens", 0)


@pytest.mark.parametrize("selection", ["valid", "test_oracle"])
def test_a_teacher_is_never_chosen_on_the_test_split(selection):
    run = Run(params("mmin", selection=selection), "demo", "mmin", "seed-1")
    teacher = run.teacher("mmin_teacher")
    assert run.oracle == (selection == "test_oracle")
    assert not teacher.oracle
    assert (teacher.method, teacher.dataset, teacher.run) == ("mmin_teacher", "demo", "seed-1")


def test_a_device_is_asked_for_when_it_is_used_and_not_before(store):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    run = Run(params("majority", device="cuda"), "demo", "majority", "seed-1")
    with pytest.raises(ElisionError, match="cuda is not available"):
        run.build(run.sizes(store))


def test_a_trained_run_is_frozen_and_has_the_weights_and_splits_of_its_training(store, tmp_path):
    run = Run(params({"mine": {"method": "majority"}}), "demo", "mine", "seed-1")
    train(run, store=store, plan=None, folder=tmp_path, recipe={"identity": "x"})
    model = run.trained(store, tmp_path / "model.safetensors")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == {f"valid/{name}" for name in model.state_dict() if not name.startswith("encoder.")}
    measured = recorded_scales(json.loads((tmp_path / "run.json").read_text()))
    batch = run.split(store, "train", scales=measured).batch(torch.arange(3), None)
    assert batch.label.tolist() == pytest.approx(store.samples["label"].iloc[:3].tolist())
    first = np.concatenate([store.modalities["audio"][row] for row in range(3)])
    seen = batch.audio.values[batch.audio.valid]
    assert torch.equal(seen, torch.from_numpy((first - measured["audio"].mean) / measured["audio"].std))


SILENT = "import torch"
EARLIER = f'{SILENT}; torch.set_float32_matmul_precision("medium"); torch.backends.cudnn.allow_tf32 = True'
LATER = f'{SILENT}; torch.backends.fp32_precision = "tf32"; torch.backends.mkldnn.matmul.fp32_precision = "bf16"'
LOOK = """
from elision.methods import resolve
from elision.training.run import Assembled
assert Assembled("majority", resolve("majority", "demo")[0], device="cpu", threads=1).device.type == "cpu"
b = torch.backends
libraries = (b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn)
assert [library.fp32_precision for library in libraries] == ["ieee"] * 6
assert (b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()) == (False, False, "highest")
"""


@pytest.mark.parametrize("asked", [SILENT, EARLIER, LATER], ids=["silent", "earlier", "later"])
def test_float32_is_never_computed_in_tf32(asked):
    environment = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", asked + LOOK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_bfloat16_is_recorded_and_predicts_as_it_trained(store, tmp_path):
    records, tokens = {}, store.modalities["text"]
    values = np.random.default_rng(1).normal(size=(len(tokens.values), 6)).astype(np.float32)
    vectors = Sequences(values, tokens.offsets, tokens.header)
    store = Store(store.samples, {**store.modalities, "text_features": vectors}, store.provenance)
    for precision in ("float32", "bfloat16"):
        settings = params({"mine": {"method": "ae", "epochs": 2, "batch_size": 4}}, precision=precision)
        run = Run(settings, "demo", "mine", "seed-1")
        folder = tmp_path / precision
        train(run, store=store, plan=None, folder=folder, recipe={"step": "train", "identity": precision})
        records[precision] = json.loads((folder / "run.json").read_text())
        assert records[precision]["precision"] == precision
        data = run.split(store, "valid", scales=recorded_scales(records[precision]))
        model = run.trained(store, folder / "model.safetensors")
        validation = data.validation_corruptions(run.mixture, seed=settings.corruption.seed)
        parts = [predict(model, data, corrupted) for corrupted in validation]
        score = records[precision]["checkpoints"]["valid"]["score"]
        assert np.mean([abs(output - labels) for output, labels in parts]) == pytest.approx(score, abs=1e-6)
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in records}
    assert {tensor.dtype for tensor in weights["bfloat16"].values()} <= {torch.float32, torch.int64}
    assert any(not torch.equal(tensor, weights["bfloat16"][name]) for name, tensor in weights["float32"].items())
