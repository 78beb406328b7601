"""What coincides is predicted once, and equal tokens are encoded once; no prediction changes by it."""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch

from elision.corruption.plan import Plan, conditions, draw
from elision.evaluation import predict as module
from elision.evaluation.predict import Evaluation
from elision.methods.checks._bert import TinyBert
from elision.methods.layers.text_encoder import TextEncoder
from elision.settings.params import Params
from elision.training.loop import train
from elision.training.run import Run
from elision.training.split import Corrupted, NoiseField

RATES = [round(0.1 * k, 1) for k in range(10)]


@pytest.fixture(autouse=True)
def small_encoder(monkeypatch):
    def load(name: str, *, pooler: bool = False) -> TextEncoder:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return TextEncoder(TinyBert(vocabulary=2100), pooler=pooler)

    monkeypatch.setattr(TextEncoder, "load", load)


def trained(store, folder, method) -> Evaluation:
    """A run of an epoch, and the 17 conditions of LNLN's protocol."""
    overrides = {} if method == "majority" else {"epochs": 1, "batch_size": 4, "accumulate": 1}
    settings = Params(
        datasets={"demo": {"source": "demo"}},
        methods=[{"mine": {"method": method, **overrides}}],
        corruption={"random": RATES, "absent": True},
        seeds=[3],
        train={"device": "cpu"},
    )
    run = Run(settings, "demo", "mine", "seed-3")
    train(run, store=store, plan=None, folder=folder, recipe={"step": "train", "identity": "abc"})
    _, uniforms = draw(store, settings.corruption_for("demo"))
    listed = conditions(settings.corruption_for("demo"), store.present)
    record = json.loads((folder / "run.json").read_text())
    plan = Plan(listed, 1111, uniforms, {})
    return Evaluation(run, store=store, plan=plan, weights=folder / "model.safetensors", record=record)


def encoded(evaluation: Evaluation) -> list[str]:
    """The batches of tokens that its text encoder is given from now on."""
    seen = []
    evaluation.model.encoder.model.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(str(given["input_ids"].tolist())), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("method", ["text_only", "misa"])
def test_equal_tokens_are_encoded_once_and_predictions_stay_the_same(store, tmp_path, monkeypatch, method):
    evaluation = trained(store, tmp_path, method)
    assert len(evaluation.plan.conditions) == 17
    seen = encoded(evaluation)
    once = evaluation.predictions()
    # Six samples are two batches; ten missing rates and no text at all are eleven texts, of so short ones even fewer.
    assert len(seen) == len(set(seen)) <= 2 * 11
    distinct = set(seen)
    seen.clear()
    monkeypatch.setattr(module, "remembering", lambda _model: nullcontext())
    again = evaluation.predictions()
    assert len(seen) == 2 * 16  # of 17 conditions, two lose nothing
    assert set(seen) == distinct
    pd.testing.assert_frame_equal(once, again)


def test_a_method_that_changes_hidden_states_inside_encodes_every_time(store, tmp_path):
    evaluation = trained(store, tmp_path, "cenet")
    seen = encoded(evaluation)
    evaluation.predictions()
    assert len(seen) == 2 * 16


def test_conditions_that_coincide_are_predicted_once_and_copied(store, tmp_path, monkeypatch):
    evaluation = trained(store, tmp_path, "self_mm")
    made, predict = [], module.predict
    monkeypatch.setattr(module, "predict", lambda *given: made.append(given[2]) or predict(*given))
    table = evaluation.predictions()
    assert len(made) == 16
    assert len(table) == 17 * 6
    complete = table[table["level"] == 0]
    assert complete["corruption"].value_counts().to_dict() == {"random": 6, "absent": 6}
    assert np.array_equal(*(part["prediction"] for _, part in complete.groupby("corruption")))


def test_what_is_missing_has_an_identity_and_noise_has_none(store, tmp_path):
    evaluation = trained(store, tmp_path, "majority")
    identities = {}
    for condition in evaluation.plan.conditions:
        lost = evaluation._corrupted(condition)
        assert lost.identity == evaluation._corrupted(condition).identity
        identities.setdefault(lost.identity, []).append(condition)
    assert [(each.corruption, each.level) for each in identities.pop(b"")] == [("random", 0.0), ("absent", 0.0)]
    assert all(len(same) == 1 for same in identities.values())
    noisy = Corrupted(lost.rates, lost.lost, {"audio": NoiseField(lost.rates, lost.rates, per_batch=True)})
    assert (noisy.identity, noisy.of_batches, lost.of_batches) == (None, True, False)
