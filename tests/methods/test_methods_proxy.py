"""What P-RMF and QDRF share."""

import math

import numpy as np
import pytest
import torch
from tiny_methods import make

from elision.methods.layers.proxy import Coder, Collector, ProxyLayer, code
from elision.methods.layers.transformer import TokenTransformer

BOTH = pytest.mark.parametrize("name", ["p_rmf", "qdrf"])


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def linear(x: np.ndarray, layer: torch.nn.Linear) -> np.ndarray:
    return x @ array(layer.weight).T + array(layer.bias)


def layer_norm(x: np.ndarray, norm: torch.nn.LayerNorm) -> np.ndarray:
    deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / deviation * array(norm.weight) + array(norm.bias)


def test_a_collector_returns_the_first_of_its_learned_tokens_and_the_others_take_part():
    torch.manual_seed(0)
    collector, whole = Collector(5, 8, 2, tokens=2, unread=3), TokenTransformer(5, 8, 2, tokens=5)
    whole.load_state_dict(collector.state_dict())
    x = torch.randn(3, 4, 8)
    found = collector(x)
    assert found.shape == (3, 2, 8)
    torch.testing.assert_close(found, whole(x)[:, :2])
    with torch.no_grad():
        collector.tokens[:, 4] += torch.randn(8)
    assert (collector(x) - found).abs().max() > 1e-4


def test_coders_of_one_shape_make_together_what_each_makes_alone():
    torch.manual_seed(0)
    coders, xs = [Coder(3, 8, 2, outputs=2) for _ in range(3)], [torch.randn(4, 3, 8) for _ in range(3)]
    found = code(coders, xs)
    assert found.shape == (3, 4, 3, 16)
    for each, coder, x in zip(found, coders, xs, strict=True):
        torch.testing.assert_close(each, coder.out(coder.transformer(coder.project(x).relu())))


@pytest.mark.parametrize("shape", [(3, 2, 4, 8), (3, 2, 1, 1)])
def test_a_layer_adds_the_weighted_answers_of_the_modalities(shape):
    torch.manual_seed(0)
    layer = ProxyLayer(8, 0.5).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    proxy, weights, embedded = torch.randn(2, 4, 8), torch.rand(shape), [torch.randn(2, 4, 8) for _ in range(3)]
    found = layer(proxy, layer.given(embedded), weights)
    for b in range(2):
        x = array(proxy[b])
        y = x.copy()
        for m, name in enumerate(("text", "audio", "vision")):
            asked = layer.attention[name]
            source = layer_norm(array(embedded[m][b]), asked.norm_source)
            score = linear(layer_norm(x, asked.norm_query), asked.query) @ linear(source, asked.key).T / math.sqrt(8)
            share = np.exp(score) / np.exp(score).sum(1, keepdims=True)
            y += array(weights[m, b]) * linear(share @ linear(source, asked.value), asked.out)
        norm, last, _ = layer.feed_forward
        np.testing.assert_allclose(array(found[b]), y + linear(layer_norm(y, norm), last), rtol=1e-4, atol=1e-5)


def test_dropout_acts_after_the_linear_layer_in_training_alone():
    torch.manual_seed(0)
    layer, proxy = ProxyLayer(8, 0.5), torch.randn(2, 4, 8)
    embedded, weights = [torch.randn(2, 4, 8) for _ in range(3)], torch.rand(3, 2, 1, 1)
    given = layer.given(embedded)
    calm = layer.eval()(proxy, given, weights)
    assert torch.equal(layer(proxy, given, weights), calm)
    lively = layer.train()(proxy, given, weights)
    # What is dropped leaves the answers as they are, and what is left counts twice.
    answered = proxy + sum(
        weight * asked(proxy, each)
        for asked, each, weight in zip(layer.attention.values(), given, weights, strict=True)
    )
    share = (lively - answered) / (calm - answered)
    assert set(share.round().flatten().tolist()) == {0.0, 2.0}


@BOTH
def test_text_encoder_and_cross_modal_encoder_learn_slowly(name):
    method = make(name)
    (optimizer,) = method.optimizers()
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert {key: group["lr"] for key, group in groups.items()} == {
        "method": 1e-4,
        "cross-modal encoder": 5e-6,
        "text encoder": 5e-6,
    }
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["weight_decay"] for group in groups.values()} == {1e-4}
    slow = set(map(id, groups["cross-modal encoder"]["params"]))
    assert slow == set(map(id, method.cross_modal.parameters()))


@BOTH
def test_every_weight_scales_its_term(name, batch):
    doubled = {"sentiment": 2.0, "reconstruction": 0.2}
    terms = make(name).eval().loss(batch)
    scaled = make(name, **{f"{term}_weight": weight for term, weight in doubled.items()}).eval().loss(batch)
    for term in doubled:
        torch.testing.assert_close(scaled[term], 2 * terms[term])


@BOTH
def test_the_reconstruction_is_the_error_against_the_complete_embeddings_which_learn_from_it(name, batch):
    method = make(name).eval()
    for modality in ("audio", "vision"):
        getattr(batch.clean, modality).values.requires_grad_()
    (lossy,), (complete,) = method.embed(method.read(batch)), method.embed(method.read(batch.clean))
    errors = [
        (rebuild(x) - y).square().mean()
        for rebuild, x, y in zip(method.reconstructor.values(), lossy, complete, strict=True)
    ]
    term = method.loss(batch)["reconstruction"]
    torch.testing.assert_close(term, 0.1 * sum(errors) / 3)
    term.backward()
    assert batch.clean.audio.values.grad.any()


@BOTH
def test_the_schedule_is_that_of_lnln(name):
    method = make(name, epochs=100)
    assert [method.learning_rate_factor(epoch) for epoch in (1, 6, 11, 12, 57)] == pytest.approx([0, 0.5, 1, 1, 0.5])
