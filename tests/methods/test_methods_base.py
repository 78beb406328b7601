"""What a method gets from the base class alone."""

import pytest
import torch
from tiny_methods import SPEC, learn, make_batch, recording, tiny_encoder
from torch import nn

import elision.methods
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.methods.layers.text_encoder import StubEncoder, TextEncoder
from elision.settings.params import Params
from elision.training.loop import train
from elision.training.run import Run


class Small(Method):
    """Every line of it is needed: the rest is of the base class."""

    name = "small"

    def __init__(self, hyperparameters, spec, encoder):
        super().__init__(hyperparameters, spec, encoder)
        self.head = nn.Linear(encoder.width, 1)

    def predict(self, batch):
        tokens = self.encoder(batch.text).mean(1)
        return Prediction(self.head(tokens).squeeze(1), tokens)

    def loss(self, batch):
        return {"sentiment": (self.predict(batch).output - batch.label).square().mean()}


def small(**hyperparameters) -> Small:
    torch.manual_seed(0)
    return Small(Small.Hyperparameters(**hyperparameters), SPEC, tiny_encoder(dropout=0.0)).train()


def groups(method: Method) -> dict:
    (optimizer,) = method.optimizers()
    return {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}


def test_learning_rates_and_weight_decay_are_those_of_the_hyperparameters():
    assert groups(small(learning_rate=0.1)) == {"method": (0.1, 0.0), "text encoder": (0.1, 0.0)}
    both = groups(small(learning_rate=0.1, learning_rate_text_encoder=0.2, weight_decay=0.3))
    assert both == {"method": (0.1, 0.3), "text encoder": (0.2, 0.3)}
    assert set(groups(small(finetune_text_encoder=False))) == {"method"}


def test_the_optimizer_is_that_of_the_class(monkeypatch):
    assert type(small().optimizers()[0]) is torch.optim.AdamW
    monkeypatch.setattr(Small, "optimizer", torch.optim.SGD)
    method = small(learning_rate=0.5, finetune_text_encoder=False)
    before = method.head.weight.detach().clone()
    learn(method, [make_batch()], method.optimizers(), epoch=1)
    assert torch.equal(method.head.weight, before - 0.5 * method.head.weight.grad)


@pytest.mark.parametrize("limit", [None, 1e-3])
def test_the_norm_of_the_gradient_is_limited_where_a_limit_is_given(limit):
    method = small(gradient_clip=limit)
    learn(method, [make_batch()], method.optimizers(), epoch=1)
    norm = torch.stack([p.grad.norm() for p in method.parameters() if p.grad is not None]).norm().item()
    assert norm > 0.1 if limit is None else norm == pytest.approx(limit, rel=1e-3)


def test_the_trainer_reads_every_hyperparameter_that_is_its_own(store, tmp_path, monkeypatch):
    resolve, records = elision.methods.resolve, []

    def resolved(*arguments):
        hyperparameters, origins = resolve(*arguments)
        hyperparameters, read = recording(hyperparameters)
        records.append(read)
        return hyperparameters, origins

    monkeypatch.setattr(elision.methods, "resolve", resolved)
    monkeypatch.setattr(TextEncoder, "load", lambda *_, **__: StubEncoder(8))
    entry = {"mine": {"method": "text_only", "epochs": 1, "corruption": "noise"}}
    params = Params(datasets={"demo": {"source": "demo"}}, methods=[entry], seeds=[1], train={"device": "cpu"})
    recipe = {"step": "train", "identity": "abc"}
    train(Run(params, "demo", "mine", "seed-1"), store=store, plan=None, folder=tmp_path, recipe=recipe)
    assert set(TrainingHyperparameters.model_fields) <= set().union(*records)
