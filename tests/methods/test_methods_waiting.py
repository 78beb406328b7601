import pytest
import torch
from test_methods_battery import TRAINED_TASKS, task_id
from tiny_methods import learn, make, make_batch
from torch.utils._python_dispatch import TorchDispatchMode

from elision.training.loop import fused_optimizers

READ_BACK = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal", "unique", "_unique2")


class Waiting(TorchDispatchMode):
    """Note what needs values of the device: a step that runs it waits until the device has computed them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        chosen = args[1] if name in ("index", "index_put", "index_put_") else ()
        if name in READ_BACK or any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in chosen):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool((x > 0).all()), "_local_scalar_dense"),
        (lambda x: x[x > 0], "index"),
        (lambda x: x.masked_select(x > 0), "masked_select"),
        (lambda x: (x > 0).nonzero(), "nonzero"),
        (lambda x: x.clone().__setitem__(x > 0, x[:1].sum() * x[x > 0]), "index_put_"),
    ],
)
def test_what_waits_for_the_device_is_noticed(code, name):
    with Waiting() as waiting:
        code(torch.arange(-2.0, 3.0))
    assert name in waiting.found or name == "_local_scalar_dense" and "is_nonzero" in waiting.found


@pytest.mark.parametrize(("name", "spec"), TRAINED_TASKS, ids=task_id)
def test_a_training_step_never_waits_for_the_device(name, spec):
    method = make(name, spec=spec).train()
    optimizers = fused_optimizers(method)
    batch = make_batch(7, spec=spec)
    for epoch in (1, 2):
        with Waiting() as waiting:
            learn(method, [batch, batch], optimizers, epoch=epoch)
        assert waiting.found == []
