"""A training step never waits for the device: what it dispatches next does not depend on values that are computed."""

from dataclasses import replace

import pytest
import torch
from test_methods_battery import TRAINED_TASKS, task_id
from tiny_methods import learn, make, make_batch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from elision.batch import Batch
from elision.methods.layers import transformer
from elision.task import MODALITIES
from elision.training.loop import fused_optimizers

# Operations whose result, or its size, the processor must know before it goes on.
WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")
# On a CPU these do nothing, and dispatch nothing.
COPIES = ("cpu", "tolist", "numpy")


class Waiting(TorchDispatchMode):
    """Note what a training on a device would wait for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False
        for name in COPIES:
            monkeypatch.setattr(torch.Tensor, name, self._noting(name, getattr(torch.Tensor, name)))
        # On a CPU, recurrent layers read the lengths of packed sequences; these lie there on every device.
        for layer in (nn.LSTM, nn.GRU):
            monkeypatch.setattr(layer, "forward", self._ignoring(layer.forward))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        chosen = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        if name in WAITING or any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in chosen):
            self.note(name)
        return function(*args, **(kwargs or {}))

    def note(self, name: str) -> None:
        if not self._inside:
            self.found.append(name)

    def _ignoring(self, function):
        def run(*args, **kwargs):
            self._inside = True
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = False

        return run

    def _noting(self, name: str, function):
        def run(*args, **kwargs):
            self.note(name)
            return function(*args, **kwargs)

        return run


def gathered(batch: Batch) -> Batch:
    """A batch as the trainer gathers it: lengths are known on the CPU."""
    known = {
        name: replace(sequence, known_lengths=sequence.lengths)
        for name in MODALITIES
        for sequence in [getattr(batch, name)]
    }
    return replace(batch, **known, clean=None if batch.clean is None else gathered(batch.clean))


def put(x: torch.Tensor) -> None:
    x[x > 0] = x[x > 0] * 2


@pytest.mark.parametrize(
    "code",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: 1 if (x > 0).all() else 0,
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: (x > 0).nonzero(),
        lambda x: x.unique(),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: torch.equal(x, x),
        put,
    ],
)
def test_what_waits_for_the_device_is_noticed(code, monkeypatch):
    with Waiting(monkeypatch) as waiting:
        code(torch.arange(-2.0, 3.0))
    assert waiting.found


@pytest.mark.parametrize(("name", "spec"), TRAINED_TASKS, ids=task_id)
def test_a_training_step_never_waits_for_the_device(name, spec, monkeypatch):
    monkeypatch.setattr(transformer, "shares", lambda _: True)  # as on a GPU
    method = make(name, spec=spec).train()
    optimizers = fused_optimizers(method)
    batch = gathered(make_batch(7, spec=spec))
    for epoch in (1, 2):
        with monkeypatch.context() as patch, Waiting(patch) as waiting:
            learn(method, [batch, batch], optimizers, epoch=epoch)
        assert not waiting.found
