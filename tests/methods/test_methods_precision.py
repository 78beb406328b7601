"""In bfloat16, every method learns and predicts nearly what it does in float32; what must be float32 is."""

import pytest
import torch
from test_methods_battery import TRAINED_TASKS, task_id
from tiny_methods import make, make_batch

from elision.methods.layers.precision import float32
from elision.training.loop import fused_optimizers

CPU = torch.device("cpu")


def computed(name, spec, precision):
    """Predict, learn from a batch, and predict again, with the same random numbers."""
    method = make(name, spec=spec)
    method.precision = precision
    batch = make_batch(7, spec=spec)
    optimizers = fused_optimizers(method)
    with torch.random.fork_rng(), torch.inference_mode(), method.eval().autocast(CPU):
        before = method.predict(batch).output.float()
    with torch.random.fork_rng(), method.train().autocast(CPU):
        torch.manual_seed(1)
        terms = method.update(batch, optimizers, 0)
    return before, terms, method


@pytest.mark.parametrize(("name", "spec"), TRAINED_TASKS, ids=task_id)
def test_a_method_learns_in_bfloat16_nearly_what_it_does_in_float32(name, spec):
    expected, exact, _ = computed(name, spec, "float32")
    before, terms, method = computed(name, spec, "bfloat16")
    torch.testing.assert_close(before, expected, rtol=0.05, atol=0.05)
    assert not torch.equal(before, expected)
    assert terms.keys() == exact.keys()
    for key, term in terms.items():
        assert term.dtype == torch.float32, key
        torch.testing.assert_close(term, exact[key], rtol=0.05, atol=0.01)
    assert torch.bfloat16 not in {value.dtype for value in method.state_dict().values()}
    for key, weight in method.named_parameters():
        assert weight.isfinite().all(), key
        assert weight.grad is None or weight.grad.dtype == torch.float32, key


def test_a_loss_that_is_marked_is_computed_in_float32():
    x, y = torch.linspace(0, 1, 64).split(32)

    @float32
    def product(a, b, *, scale):
        return scale * (a @ b)

    with torch.autocast("cpu", torch.bfloat16):
        found = product(x, y, scale=3)
        assert (x[None] @ y[:, None]).dtype == torch.bfloat16
    assert torch.equal(found, 3 * (x @ y))
