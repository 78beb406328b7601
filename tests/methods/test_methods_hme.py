"""HME: similar samples against a loop, the memory of training samples, bottlenecks, mixes and switches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, learn, make, make_batch, rows, spec_for
from torch.nn import functional as F

from elision.methods.hme import HME, Attention, CertainMix, GatedFeedForward, HyperEncoder, divergence, mean_of_similar
from elision.task import MODALITIES

PAIRS = "crossed hyper"
COUNTS = {
    "mosi": {
        "": 44_090_573,
        "project.text": 147_456,
        "project.audio": 960,
        "project.vision": 3_840,
        "encoders": 3 * 1_779_840,
        "of_sample of_similar": 4 * 4_742_976,
        PAIRS: 9 * 1_779_072,
        "bottleneck": 3 * 369_985,
        "refine": 3 * 74_306,
        "join": 111_363,
        "transformer": 1_875_328,
        "head": 295_681,
    },
    "mosei": {
        "": 36_695_885,
        "project.audio": 14_208,
        "project.vision": 6_720,
        "encoders": 3 * 890_112,
        "of_sample of_similar": 4 * 3_557_568,
        PAIRS: 9 * 1_779_072,
    },
}


def hme(base=SPEC, **overrides) -> HME:
    return make("hme", spec=spec_for("hme", base), **overrides)


def utterances(size=6, base=SPEC, **given):
    return make_batch(size, spec=spec_for("hme", base), **{"lost": 0.2, **given})


def filled(**overrides) -> HME:
    """A method with a memory, after an epoch of two batches."""
    method = hme(**overrides).train()
    learn(method, [utterances(5, seed=1), utterances(3, seed=2)], method.optimizers(), epoch=1)
    return method.eval()


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones(official_method, dims):
    assert_counts(official_method("hme", dims), COUNTS[dims])


def looped(query, here, others, there, threshold, *, itself):
    """The mean of similar vectors, one at a time."""
    means = []
    for i, x in enumerate(query):
        similar = []
        for j, y in enumerate(others):
            cosine = float(x @ y) / max(float(x.norm() * y.norm()), 1e-8)
            if there[j] and cosine >= threshold and (itself or i != j):
                similar.append(y)
        every = [y for j, y in enumerate(others) if there[j]]
        chosen = similar if here[i] and similar else every
        means.append(torch.stack(chosen).mean(0) if chosen else torch.zeros_like(x))
    return torch.stack(means)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 0.99])
@pytest.mark.parametrize("itself", [False, True])
def test_the_mean_of_similar_vectors_equals_a_loop(threshold, itself):
    torch.manual_seed(0)
    query = torch.randn(7, 4)
    others = torch.randn(9, 4) if itself else query
    here = torch.tensor([True] * 5 + [False] * 2)
    there = torch.arange(len(others)) % 4 != 1
    found = mean_of_similar(query, here, others, there, threshold=threshold, itself=itself)
    torch.testing.assert_close(found, looped(query, here, others, there, threshold, itself=itself))


def test_without_any_vector_the_mean_is_zero():
    nothing = torch.zeros(3, dtype=torch.bool)
    found = mean_of_similar(
        torch.randn(2, 4), torch.ones(2) > 0, torch.randn(3, 4), nothing, threshold=0.6, itself=True
    )
    assert not found.any()


def test_the_released_code_takes_the_batch_and_tells_missing_modalities_by_zeros():
    method = hme(neighbours="batch").eval()
    vectors, available = torch.randn(3, 5, 16), torch.ones(3, 5, dtype=torch.bool)
    vectors[1, 2] = 0
    available[0, 3] = False  # which the vectors do not tell
    for x, found in zip(vectors, method.similar(vectors, available), strict=True):
        here = x.sum(1) != 0
        similar = looped(x, here, x, torch.ones(5, dtype=torch.bool), 0.6, itself=False)
        alone = [
            not any(i != j and F.cosine_similarity(x[i], x[j], dim=0) >= 0.6 for j in range(5)) or not here[i]
            for i in range(5)
        ]
        expected = torch.where(torch.tensor(alone)[:, None], x.mean(0), similar)
        torch.testing.assert_close(found, expected)
    assert not method.one_by_one
    assert not {"memory", "remembered"} & set(method.state_dict())
    assert method.passes(3) == [3]


def test_training_looks_among_the_available_modalities_of_the_batch():
    method = hme().train()
    vectors, available = torch.randn(3, 5, 16), torch.rand(3, 5) > 0.4
    for x, here, found in zip(vectors, available, method.similar(vectors, available), strict=True):
        torch.testing.assert_close(found, looped(x, here, x, here, 0.6, itself=False))


def test_predictions_look_in_the_memory():
    method = filled()
    vectors, available = torch.randn(3, 4, 16), torch.rand(3, 4) > 0.3
    expected = [
        looped(x, here, bank, there, 0.6, itself=True)
        for x, here, bank, there in zip(vectors, available, method.memory, method.remembered, strict=True)
    ]
    for found, each in zip(method.similar(vectors, available), expected, strict=True):
        torch.testing.assert_close(found, each)


def test_the_memory_holds_what_evaluation_makes_of_training_samples_at_the_end_of_the_epoch():
    method, batches = (
        filled(attention_dropout=0.5, embedding_dropout=0.5),
        [utterances(5, seed=1), utterances(3, seed=2)],
    )
    for batch in batches[::-1]:  # the same sample may be in both: the last one counts
        vectors, available = method.summarise(batch)
        last = ~torch.isin(batch.index, batches[1].index) if batch is batches[0] else torch.ones(3, dtype=torch.bool)
        torch.testing.assert_close(method.memory[:, batch.index[last]], vectors[:, last])
        assert torch.equal(method.remembered[:, batch.index[last]], available[:, last])
    assert int(method.remembered.any(0).sum()) <= 8


def test_filling_the_memory_learns_nothing_and_goes_on_in_training_mode():
    method, batch = hme().train(), utterances()
    method.on_epoch_start(1)
    assert method.passes(4) == [4, 4]
    method.on_pass_start(1)
    before = {name: p.clone() for name, p in method.named_parameters()}
    assert method.update(batch, method.optimizers(), 0) == {}
    assert all(torch.equal(p, before[name]) for name, p in method.named_parameters())
    assert method.training
    method.on_epoch_start(2)
    method.on_pass_start(0)
    assert set(method.update(batch, method.optimizers(), 0)) == {"label", "auxiliary", "information"}


def test_the_memory_is_part_of_the_weights_and_changes_predictions():
    method, other, batch = filled(), hme().eval(), utterances(seed=4)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).output, method.predict(batch).output)
    other.memory.zero_()
    assert not torch.allclose(other.predict(batch).output, method.predict(batch).output)


def test_only_the_released_code_lets_the_batch_change_a_prediction():
    batch = utterances(seed=4)
    for method, same in ((filled(), True), (filled(neighbours="batch"), False)):
        alone = method.predict(rows(batch, torch.tensor([2, 3]))).output
        assert torch.allclose(alone, method.predict(batch).output[2:4], atol=1e-6) is same


def test_a_text_without_an_observed_word_is_missing_and_reads_as_zeros():
    method, batch = hme().eval(), utterances(lost=0.0, lengths={"text": 6})
    observed = batch.text.observed.clone()
    observed[1, 1:5] = False  # [CLS] and [SEP] are never lost
    observed[2, 2:5] = False
    batch = replace(batch, text=replace(batch.text, observed=observed))
    vectors, available = method.summarise(batch)
    assert available[0].tolist() == [True, False, True, True, True, True]
    zeros = torch.zeros(1, 10, 16)
    expected = method.encoders["text"](zeros, zeros).max(1).values[0]
    torch.testing.assert_close(vectors[0, 1], expected)


def test_every_layer_of_an_encoder_attends_to_the_embedded_input():
    method, batch = hme(layers=2).eval(), utterances(lost=0.0)
    x = method.project["audio"](batch.audio.values.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(method.summarise(batch)[0][1], method.encoders["audio"](x, x).max(1).values)
    assert not torch.allclose(method.summarise(batch)[0][1], method.encoders["audio"](x).max(1).values)


def test_attention_and_feed_forward_layers_equal_their_formulas():
    torch.manual_seed(0)
    attention, x, context = Attention(8, 2, crossed=True), torch.randn(1, 2, 8), torch.randn(1, 3, 8)
    query = attention.query(attention.norm(x))[0]
    key, value = attention.key_value(attention.norm_context(context))[0].chunk(2, 1)
    heads = [(query[:, h] @ key[:, h].T / 2).softmax(1) @ value[:, h] for h in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(attention(x, context)[0], x[0] + attention.out(torch.cat(heads, 1)))
    layer = GatedFeedForward(8)
    hidden = layer.expand(layer.norm(x))
    torch.testing.assert_close(layer(x), x + layer.contract(hidden[..., :32] * F.gelu(hidden[..., 32:])))


def test_a_hyper_encoder_ends_in_a_norm_of_one_vector():
    encoder, x, context = HyperEncoder(8, 2, 1), torch.randn(2, 8), torch.randn(2, 3, 8)
    attention, feed_forward = encoder.layers[0]
    torch.testing.assert_close(encoder(x, context), encoder.norm(feed_forward(attention(x[:, None], context)))[:, 0])


def test_certainty_scales_the_scores_of_a_mix():
    mix, vectors = CertainMix(9, 2, 0.0), [torch.randn(4, 9), torch.randn(4, 9)]
    certainty = torch.tensor([[1.0, 0.2]] * 4)
    score = mix.score(torch.cat(vectors, 1)) * certainty / 3
    share = score.exp() / score.exp().sum(1, keepdim=True)
    torch.testing.assert_close(mix(vectors, certainty), share[:, :1] * vectors[0] + share[:, 1:] * vectors[1])


@pytest.mark.parametrize("base", [SPEC, CLASSES], ids=["regression", "classification"])
def test_the_loss_has_three_terms(base):
    method, batch = hme(base).eval(), utterances(base=base)
    fused, means, deviations, drawn = method(batch)
    terms = method.loss(batch)
    torch.testing.assert_close(drawn, means)
    torch.testing.assert_close(terms["label"], method.error(method.readout(method.head(fused)), batch.label))
    errors = [
        method.error(method.readout(method.bottleneck[name].head(x)), batch.label)
        for name, x in zip(MODALITIES, means, strict=True)
    ]
    torch.testing.assert_close(terms["auxiliary"], 0.8 * sum(errors) / 3)
    mu, sigma = means.detach().double().numpy(), deviations.detach().double().numpy()
    expected = 0.01 * 0.5 * np.mean(mu**2 + sigma**2 - 2 * np.log(sigma) - 1)
    assert terms["information"].item() == pytest.approx(expected, rel=1e-5)


def test_the_divergence_equals_that_of_pytorch():
    means, deviations = torch.randn(3, 2, 4), torch.rand(3, 2, 4) + 0.1
    normal = torch.distributions.Normal(means, deviations)
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(torch.zeros(4), torch.ones(4)))
    torch.testing.assert_close(divergence(means, deviations), expected.mean())
    assert divergence(means, torch.zeros(3, 2, 4)).isfinite()


def test_evaluation_draws_only_where_asked_and_then_by_utterance():
    batch = utterances(seed=4)
    drawing, mean = filled(sample_at_eval=True), filled()
    mean.load_state_dict(drawing.state_dict())
    found = drawing.predict(batch).output
    assert torch.equal(drawing.predict(batch).output, found)
    assert not torch.equal(mean.predict(batch).output, found)
    torch.testing.assert_close(drawing.predict(rows(batch, torch.tensor([4]))).output, found[4:5])
    _, means, deviations, drawn = drawing(batch)
    noise = (drawn - means) / deviations
    assert noise.std().item() == pytest.approx(1, abs=0.2)
    assert mean.train()(batch)[3].sub(mean.eval()(batch)[1]).abs().sum() > 0


def test_only_the_released_code_forgets_the_moments_of_the_optimizer():
    for fresh in (False, True):
        method, batch = hme(fresh_optimizer=fresh).train(), utterances()
        optimizers = method.optimizers()
        for epoch in (1, 2):
            learn(method, [batch, batch], optimizers, epoch=epoch)
        assert {int(state["step"]) for state in optimizers[0].state.values()} == ({2} if fresh else {4})


def test_gradients_are_clipped_by_value_and_biases_do_not_decay():
    method = hme(learning_rate_text_encoder=1e-6)
    for parameter in method.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    method.after_backward()
    assert all(float(p.grad.max()) == pytest.approx(0.8) for p in method.parameters())
    names = {id(p): name for name, p in method.named_parameters()}
    for group in method.optimizers()[0].param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            plain = "bias" in name or "LayerNorm" in name
            assert group["weight_decay"] == (0 if plain else 5e-4), name
            assert group["lr"] == (1e-6 if name.startswith("encoder.") else 2e-5)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="7 heads do not divide a width of 192"):
        HME.Hyperparameters(heads=7)
