from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, make, make_batch, spec_for
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods import resolve
from elision.methods.umdf import Integration, Interaction, both_divergences


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=spec_for("umdf"))


def interaction(**switches) -> Interaction:
    torch.manual_seed(0)
    return Interaction(8, 2, 12, dropout=0.0, **{"coarse": True, "fine": True, **switches}).eval()


def sequence(length: int, valid: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, length, 8), (torch.arange(length) < valid).expand(3, -1)


def test_a_modality_attends_to_both_others_at_once_and_to_each_and_then_passes_a_layer():
    module, (x, _) = interaction(), sequence(5, 5)
    others = [sequence(5, 3), sequence(5, 4)]
    query, *keys = (module.norm_attention(values) for values in (x, *(values for values, _ in others)))
    masks = [attended for _, attended in others]
    sources = [(torch.cat(keys, 1), torch.cat(masks, 1)), *zip(keys, masks, strict=True)]
    expected = x
    for attention, (key, attended) in zip(module.attentions, sources, strict=True):
        expected = expected + attention(query, key, key, key_padding_mask=~attended)[0]
    expected = expected + module.feed_forward(module.norm_feed_forward(expected))
    torch.testing.assert_close(module(x, others), expected)


def test_padding_of_the_others_is_not_attended():
    module, (x, _) = interaction(), sequence(5, 5)
    others = [sequence(5, 3), sequence(5, 4)]
    moved = [(values + 9 * ~attended[..., None], attended) for values, attended in others]
    torch.testing.assert_close(module(x, moved), module(x, others))


@pytest.mark.parametrize(("switches", "count"), [({"coarse": False}, 2), ({"fine": False}, 1)])
def test_attention_that_is_left_out_has_no_weights(switches, count):
    module, (x, _) = interaction(**switches), sequence(5, 5)
    assert len(module.attentions) == count
    assert module(x, [sequence(5, 3), sequence(5, 4)]).shape == x.shape


def test_gates_enhance_each_modality_and_filter_all_together():
    torch.manual_seed(0)
    module, steps = Integration(4, enhancement=True, filtering=True), [torch.randn(2, 5, 4) for _ in range(3)]
    attended = torch.ones(2, 5, 3, dtype=torch.bool)
    enhanced = [x + torch.sigmoid(gate(x)) * x for x, gate in zip(steps, module.enhance, strict=True)]
    joined = torch.cat(enhanced, 2)
    joined = torch.sigmoid(module.filter(joined)) * joined
    expected = (joined[..., :4] + joined[..., 4:8] + joined[..., 8:]).mean(1)
    torch.testing.assert_close(module(steps, attended), expected)


def test_without_gates_the_vector_is_the_mean_over_time_of_the_sum_of_the_modalities():
    module, steps = Integration(4, enhancement=False, filtering=False), [torch.randn(1, 5, 4) for _ in range(3)]
    attended = torch.tensor([[[1, 1, 1]] * 2 + [[1, 0, 1]] * 2 + [[0, 0, 0]]], dtype=torch.bool)
    summed = [steps[0][0, i] + steps[2][0, i] + (steps[1][0, i] if i < 2 else 0) for i in range(4)]
    torch.testing.assert_close(module(steps, attended)[0], torch.stack(summed).mean(0))
    assert not list(module.parameters())


def test_answers_are_compared_in_both_directions_at_a_temperature():
    torch.manual_seed(0)
    one, other = torch.randn(4, 3), torch.randn(4, 3)
    p, q = (Categorical(logits=logits / 2) for logits in (one, other))
    expected = (kl_divergence(p, q) + kl_divergence(q, p)).mean()
    torch.testing.assert_close(both_divergences(one, other, 2.0), expected)
    assert both_divergences(one, one, 2.0).item() == 0


def test_one_network_learns_from_both_readings_and_from_their_difference(batch):
    method = make("umdf").eval()
    lossy, whole, terms = method.read(batch), method.read(batch.clean), method.loss(batch)
    expected = {
        "sentiment": F.mse_loss(lossy.output, batch.label),
        "complete": F.mse_loss(whole.output, batch.label),
        "answers": F.mse_loss(lossy.output, whole.output),
        "vectors": F.mse_loss(lossy.vector, whole.vector),
    }
    assert {k: v.item() for k, v in terms.items()} == pytest.approx({k: v.item() for k, v in expected.items()})
    same = method.loss(replace(batch.clean, clean=batch.clean))
    assert same["answers"].item() == same["vectors"].item() == 0


def test_the_gradient_of_the_difference_reaches_both_answers():
    classes = make_batch(7, spec=spec_for("umdf", CLASSES))
    method = make("umdf", spec=spec_for("umdf", CLASSES)).eval()
    one, other = (method.read(each).output.detach().requires_grad_() for each in (classes, classes.clean))
    method.compare(one, other).backward()
    assert one.grad.any() and other.grad.any()


@pytest.mark.parametrize(
    ("switch", "modules", "terms"),
    [
        ("distillation", set(), {"answers", "vectors"}),
        ("enhancement", {"integration.enhance"}, set()),
        ("filtering", {"integration.filter"}, set()),
    ],
)
def test_an_ablation_takes_away_its_part_and_nothing_else(batch, switch, modules, terms):
    full, without = make("umdf"), make("umdf", **{switch: False})
    assert set(full.loss(batch)) - set(without.loss(batch)) == terms
    gone = {key for key, _ in full.named_parameters()} - {key for key, _ in without.named_parameters()}
    assert {".".join(key.split(".")[:2]) for key in gone} == modules


def test_values_of_the_corpora_are_those_of_the_paper_of_hrlf():
    for corpus, rate in (("mosi", 1e-3), ("mosei", 2e-3), ("iemocap", 4e-3)):
        found, other = (resolve(name, corpus)[0] for name in ("umdf", "hrlf"))
        for key in ("epochs", "batch_size", "heads", "width"):
            assert getattr(found, key) == getattr(other, key)
        assert found.learning_rate == rate
    assert found.alignment == "words"
