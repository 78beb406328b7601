"""Compiled methods compute what they compute otherwise, and a machine that cannot compile is told so."""

import pytest
import torch
from test_methods_battery import TRAINED_TASKS, task_id
from tiny_methods import SPEC, make, make_batch
from torch import nn

from elision import compilers
from elision.cli.doctor import examine
from elision.errors import ElisionError
from elision.methods.base import Method, Prediction
from elision.training.loop import fused_optimizers
from elision.training.run import compile_functions

CPU = torch.device("cpu")


class Mean(Method):
    """As little as can be compiled, with random numbers."""

    def __init__(self) -> None:
        super().__init__(Method.Hyperparameters(), SPEC, nn.Identity())
        self.layer, self.dropout = nn.Linear(SPEC.audio, 1), nn.Dropout(0.5)

    def predict(self, batch):
        pooled = self.dropout(batch.audio.values.mean(1))
        return Prediction(self.readout(self.layer(pooled)), pooled)

    def loss(self, batch):
        return {"error": self.error(self.predict(batch).output, batch.label)}


@pytest.mark.skipif(bool(compilers.missing(on_gpu=False)), reason=", ".join(compilers.missing(on_gpu=False)))
def test_a_compiled_method_computes_the_same_within_rounding():
    learnt = []
    for compiled in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            method = Mean()
            if compiled:
                compile_functions(method, CPU)
            method.train().update(make_batch(7), fused_optimizers(method), 0)
        learnt.append(method.layer.weight.detach())
    torch.testing.assert_close(*learnt, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "spec"), TRAINED_TASKS, ids=task_id)
def test_what_is_compiled_is_what_the_trainer_calls(name, spec, monkeypatch):
    called = []

    def compile_nothing(function, **options):
        return lambda *arguments: called.append(function.__name__) or function(*arguments)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setattr(compilers, "missing", lambda *, on_gpu: [])
    method = make(name, spec=spec)
    compile_functions(method, CPU)
    batch = make_batch(7, spec=spec)
    method.train().update(batch, fused_optimizers(method), 0)
    learning = set(called)
    assert learning
    method.eval().predict(batch)
    assert "predict" in called
    assert len(method.state_dict()) == len(make(name, spec=spec).state_dict())


def test_a_machine_without_a_compiler_is_told_what_is_missing(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -v")
    with pytest.raises(ElisionError, match=r"train.compile: true needs the C\+\+ compiler no-such-compiler, which"):
        compile_functions(Mean(), CPU)
    (found,) = (finding for finding in examine("minilm", compiled=True) if finding.name == "C++ compiler")
    assert found.needed
    assert not found.found


def test_a_gpu_needs_triton(monkeypatch):
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)
    assert compilers.missing(on_gpu=True)[-1] == "the package triton"
    assert "the package triton" not in compilers.missing(on_gpu=False)
