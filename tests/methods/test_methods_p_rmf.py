from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_methods import assert_counts, make
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from elision.methods import resolve
from elision.methods.p_rmf import certainty, divergence, divergence_of_pairs
from elision.task import MODALITIES

# Counted on the released class of P-RMF (the copy in 1579364808/PRD-Net), text encoder left out.
SAME = {
    **{f"coder.{name}": 643_200 for name in MODALITIES},
    **{f"decoder.{name}": 626_688 for name in MODALITIES},
    "reconstructor": 1_780_992,
    "cross_modal": 216_448,
    "head.0": 16_512,
    "head.3": 129,
}
COUNTS = {
    "mosi": {"": 7_828_097, "embedding.text": 699_520, "embedding.audio": 643_456, "embedding.vision": 661_376},
    "mosei": {"": 7_854_849, "embedding.text": 699_520, "embedding.audio": 668_288, "embedding.vision": 663_296},
    "sims": {"": 7_888_513, "embedding.text": 706_048, "embedding.audio": 658_176, "embedding.vision": 700_544},
}
TERMS = {"sentiment", "reconstruction", "autoencoder", "divergence"}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    assert_counts(official_method("p_rmf", dims), SAME | COUNTS[dims])


def gaussians(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mean, log_variance = torch.randn(2, 3, 4, 2, 5, generator=torch.Generator().manual_seed(seed))
    return mean, log_variance


def encoded(method, batch) -> tuple[torch.Tensor, torch.Tensor]:
    (embedded,) = method.embed(method.read(batch))
    return method.encode(embedded)


@given(st.lists(st.floats(-8, 8), min_size=3, max_size=3))
def test_both_weightings_are_the_formula_where_nothing_overflows(log_variances):
    lifted = np.exp(1 / np.sqrt(np.exp(np.array(log_variances))))
    for stable in (True, False):
        found = certainty(torch.tensor(log_variances), stable=stable)
        np.testing.assert_allclose(found.numpy(), lifted / lifted.sum(), rtol=1e-3, atol=1e-6)


def test_the_formula_as_it_is_written_overflows_for_small_sigma_and_the_softmax_does_not():
    log_variance = torch.tensor([[-9.0], [0.0], [1.0]])
    assert certainty(log_variance, stable=False).isnan().any()
    torch.testing.assert_close(certainty(log_variance, stable=True), torch.tensor([[1.0], [0.0], [0.0]]))
    # At the limit of the logarithm, too, and with gradients.
    limit = torch.full((3, 4), -10.0, requires_grad=True)
    certainty(limit, stable=True)[0].sum().backward()
    assert limit.grad.isfinite().all()
    torch.testing.assert_close(certainty(limit, stable=True), torch.full((3, 4), 1 / 3))


@pytest.mark.parametrize("weighting", ["softmax", "exponentials"])
def test_the_proxy_is_the_mean_weighted_by_certainty(weighting):
    mean, log_variance = gaussians()
    proxy, weights = make("p_rmf", weighting=weighting).propose(mean, log_variance)
    lifted = (1 / log_variance.mul(0.5).exp()).exp()
    torch.testing.assert_close(weights, lifted / lifted.sum(0))
    torch.testing.assert_close(proxy, sum(lifted[m] * mean[m] for m in range(3)) / lifted.sum(0))


def test_divergences_are_those_of_normal_distributions():
    mean, log_variance = gaussians()
    text, audio, vision = (Normal(m, (0.5 * v).exp()) for m, v in zip(mean, log_variance, strict=True))
    normal = Normal(torch.zeros_like(mean[0]), torch.ones_like(mean[0]))
    alone = [kl_divergence(each, normal).mean() for each in (text, audio, vision)]
    torch.testing.assert_close(divergence(mean, log_variance), sum(alone) / 3)
    pairs = [kl_divergence(p, q).mean() for p, q in ((vision, text), (audio, text), (audio, vision))]
    torch.testing.assert_close(divergence_of_pairs(mean, log_variance), sum(pairs) / 3)


def test_the_loss_has_the_terms_of_the_formula(batch):
    method = make("p_rmf").eval()
    terms = method.loss(batch)
    assert set(terms) == TERMS
    (complete,) = method.embed(method.read(batch.clean))
    mean, log_variance = encoded(method, batch)
    rebuilt = [
        decoder.out(decoder.transformer(decoder.project(m).relu()))
        for decoder, m in zip(method.decoder.values(), mean, strict=True)
    ]
    errors = [F.mse_loss(x, y) for x, y in zip(rebuilt, complete, strict=True)]
    torch.testing.assert_close(terms["autoencoder"], 0.5 * sum(errors) / 3)
    expected = 0.5 * (divergence(mean, log_variance) + divergence_of_pairs(mean, log_variance))
    torch.testing.assert_close(terms["divergence"], expected)
    output = method.predict(batch).output
    torch.testing.assert_close(terms["sentiment"], F.mse_loss(output, batch.label))


def test_the_decoder_reads_a_draw_in_training_and_the_mean_in_evaluation(batch):
    method = make("p_rmf", finetune_text_encoder=False)
    assert method.eval().loss(batch) == method.loss(batch)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(method.train().loss(batch))
    assert draws[0] == draws[1]
    assert draws[0]["autoencoder"] != draws[2]["autoencoder"]
    assert all(draws[0][name] == draws[2][name] for name in TERMS - {"autoencoder"})


def test_reversed_gradients_reach_the_means_and_nothing_else_changes(batch):
    found = {}
    for grl in (False, True):
        method = make("p_rmf", grl=grl).eval()
        mean, log_variance = (x.requires_grad_() for x in gaussians())
        proxy, weights = method.propose(mean, log_variance)
        through_proxy = torch.autograd.grad(proxy.square().sum(), (mean, log_variance), retain_graph=True)
        through_weights = torch.autograd.grad(weights.square().sum(), log_variance)
        found[grl] = (proxy, through_proxy, through_weights, method.loss(batch))
    straight, turned = found[False], found[True]
    assert torch.equal(straight[0], turned[0])
    for one, other in zip(straight[1], turned[1], strict=True):
        torch.testing.assert_close(one, -other)
    torch.testing.assert_close(straight[2], turned[2])
    assert straight[3] == turned[3]


def test_without_training_the_reconstructors_stay_and_the_embeddings_learn_from_them(batch):
    method = make("p_rmf", train_reconstructors=False).train()
    before = [p.clone() for p in method.reconstructor.parameters()]
    optimizers = method.optimizers()
    method.update(batch, optimizers, 0)
    assert all(torch.equal(p, old) for p, old in zip(method.reconstructor.parameters(), before, strict=True))
    method.zero_grad()
    method.loss(batch)["reconstruction"].backward()
    assert method.embedding.audio[0].weight.grad.any()
    trained = make("p_rmf").train()
    trained.update(batch, trained.optimizers(), 0)
    assert not any(torch.equal(p, old) for p, old in zip(trained.reconstructor.parameters(), before, strict=True))


def test_shared_layers_are_one_layer_that_is_used_again(batch):
    shared, apart = make("p_rmf", cross_modal_layers=3), make("p_rmf", cross_modal_layers=3, share_layers=False)
    assert (len(shared.cross_modal), len(apart.cross_modal)) == (1, 3)
    apart.load_state_dict(shared.state_dict(), strict=False)
    for layer in apart.cross_modal:
        layer.load_state_dict(shared.cross_modal[0].state_dict())
    torch.testing.assert_close(apart.eval().predict(batch).output, shared.eval().predict(batch).output)
    one = make("p_rmf", cross_modal_layers=1)
    one.load_state_dict(shared.state_dict())
    assert (one.eval().predict(batch).output - shared.predict(batch).output).abs().max() > 1e-5


def test_logarithms_of_variances_are_limited(batch):
    method = make("p_rmf").eval()
    with torch.no_grad():
        for coder in method.coder.values():
            coder.out.weight.mul_(100)
    free = make("p_rmf", log_variance_limit=None).eval()
    free.load_state_dict(method.state_dict())
    (mean, limited), (same, unlimited) = encoded(method, batch), encoded(free, batch)
    assert torch.equal(mean, same)
    assert torch.equal(limited, unlimited.clamp(-10, 10))
    assert unlimited.abs().max() > 10


@pytest.mark.parametrize(
    ("weight", "dropped"), [("variational", {"autoencoder", "divergence"}), ("reconstruction", {"reconstruction"})]
)
def test_a_weight_of_0_drops_its_losses(weight, dropped, batch):
    assert set(make("p_rmf", **{f"{weight}_weight": 0}).loss(batch)) == TERMS - dropped


def test_without_losses_that_compare_the_complete_input_is_not_read(batch):
    method = make("p_rmf", variational_weight=0, reconstruction_weight=0).eval()
    blind = replace(batch, clean=replace(batch.clean, audio=None, text=None))
    assert method.loss(blind) == method.loss(batch)
    assert set(method.loss(blind)) == {"sentiment"}


def test_unread_tokens_of_ch_sims_are_those_of_the_released_configuration():
    values = {corpus: resolve("p_rmf", corpus)[0] for corpus in ("mosi", "mosei", "sims", "simsv2")}
    assert {corpus: h.tokens + h.unread_tokens for corpus, h in values.items()} == {
        "mosi": 8,
        "mosei": 8,
        "sims": 39,
        "simsv2": 39,
    }
