import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import SPEC, assert_counts, make, make_batch
from torch.nn import functional as F

from elision.methods.lnln import _reverse_gradient

# Counted on the released class of LNLN (Haoyu-ha/LNLN), text encoder left out.
COUNTS = {
    "mosi": {
        "": 6483012,
        "hyper": 1024,
        "proxy": 1024,
        "embedding.text": 699520,
        "embedding.audio": 643456,
        "embedding.vision": 661376,
        "proxy_generator": 597760,
        "discriminator": 8386,
        "completeness_check": 602241,
        "reconstructor": 1780992,
        "language_encoder hyper_modality fusion head": 1487233,
    },
    "mosei": {
        "": 7102404,
        "hyper": 1024,
        "proxy": 1024,
        "embedding.text": 699520,
        "embedding.audio": 668288,
        "embedding.vision": 663296,
        "proxy_generator": 597760,
        "discriminator": 8386,
        "completeness_check": 602241,
        "reconstructor": 1780992,
        "language_encoder hyper_modality fusion head": 2079873,
    },
    "sims": {
        "": 7112260,
        "hyper": 1024,
        "proxy": 1024,
        "embedding.text": 698112,
        "embedding.audio": 650240,
        "embedding.vision": 692608,
        "proxy_generator": 597760,
        "discriminator": 8386,
        "completeness_check": 602241,
        "reconstructor": 1780992,
        "language_encoder hyper_modality fusion head": 2079873,
    },
}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    assert_counts(official_method("lnln", dims), COUNTS[dims])


ONLY_SENTIMENT = {"adversarial_weight": 0, "completeness_weight": 0, "reconstruction_weight": 0}
TERMS = {"completeness", "adversarial", "reconstruction", "sentiment"}


def submodules(method) -> dict[str, int]:
    """Parameters of each attribute of a method, the text encoder aside."""
    counts = {}
    for name, p in method.named_parameters():
        counts[name.split(".")[0]] = counts.get(name.split(".")[0], 0) + p.numel()
    del counts["encoder"]
    return counts


def gradients(method, batch, term: str | None = None, module: str = "proxy_generator") -> list[torch.Tensor]:
    method.eval().zero_grad()  # no dropout
    terms = method.loss(batch)
    (terms[term] if term else sum(terms.values())).backward()
    return [p.grad.clone() for p in method.get_submodule(module).parameters() if p.grad is not None]


def test_the_loss_has_its_four_terms_and_they_are_finite(batch):
    terms = make("lnln").loss(batch)
    assert set(terms) == TERMS
    assert all(term.isfinite() and term > 0 for term in terms.values())


def test_every_weight_scales_its_term(batch):
    terms = make("lnln").eval().loss(batch)
    doubled = {"completeness": 1.8, "adversarial": 1.6, "reconstruction": 0.2, "sentiment": 2.0}
    scaled = make("lnln", **{f"{name}_weight": weight for name, weight in doubled.items()}).eval().loss(batch)
    for name in TERMS:
        torch.testing.assert_close(scaled[name], 2 * terms[name])


def test_completeness_lies_between_0_and_1_for_each_sample(batch):
    method = make("lnln").eval()
    weight = method.completeness(method.embed(batch)[0]["text"])
    assert weight.shape == (len(batch), 1)
    assert ((weight > 0) & (weight < 1)).all()


def test_completeness_learns_the_drawn_rate_and_that_no_text_is_not_complete(batch):
    method = make("lnln").eval()
    batch = replace(batch, rate=torch.rand(len(batch), 3), text=replace(batch.text, valid=batch.text.valid.clone()))
    batch.text.valid[2] = False
    target = 1 - batch.rate[:, 0]
    target[2] = 0
    weight = method.completeness(method.embed(batch)[0]["text"])[:, 0]
    torch.testing.assert_close(method.loss(batch)["completeness"], 0.9 * F.mse_loss(weight, target))


def test_the_discriminator_calls_corrected_language_1_and_complete_language_0(batch):
    method = make("lnln").eval()
    embedded, complete = method.embed(batch)[0], method.embed(batch.clean)[0]["text"]
    weight = method.completeness(embedded["text"])[:, :, None]
    corrected = (1 - weight) * method.generate_proxy(embedded) + weight * embedded["text"]
    says = [method.discriminator(tokens).log_softmax(-1).mean((0, 1)) for tokens in (corrected, complete)]
    torch.testing.assert_close(method.loss(batch)["adversarial"], -0.8 * (says[0][1] + says[1][0]) / 2)


def test_reversing_a_gradient_keeps_the_value_to_the_bit():
    x = torch.randn(1000, requires_grad=True)
    y = _reverse_gradient(x)
    assert torch.equal(x, y)
    y.sum().backward()
    assert torch.equal(x.grad, -torch.ones(1000))


def test_with_scope_all_the_sentiment_loss_reaches_the_generator_reversed(batch):
    reversed_, straight = (gradients(make("lnln", **ONLY_SENTIMENT, grl_scope=s), batch) for s in ("all", "adv"))
    assert any(g.any() for g in straight)
    for g, h in zip(reversed_, straight, strict=True):
        torch.testing.assert_close(g, -h)


def test_in_both_scopes_the_generator_deceives_the_discriminator_and_the_discriminator_learns(batch):
    for scope in ("all", "adv"):
        for module, sign in (("proxy_generator", 1), ("discriminator", -1)):
            method = make("lnln", grl_scope=scope)
            before = method.eval().loss(batch)["adversarial"].item()
            descent = gradients(method, batch, "adversarial", module)
            with torch.no_grad():
                for p, g in zip(method.get_submodule(module).parameters(), descent, strict=True):
                    p -= 1e-2 * g / torch.stack([d.norm() for d in descent]).norm()
            assert sign * (method.loss(batch)["adversarial"].item() - before) > 0


def test_both_scopes_predict_and_lose_the_same(batch):
    losses = [make("lnln", grl_scope=scope).eval().loss(batch) for scope in ("all", "adv")]
    assert losses[0] == losses[1]


def test_gradients_flow_through_the_targets_of_the_reconstruction(batch):
    batch.clean.audio.values.requires_grad_()
    make("lnln").loss(batch)["reconstruction"].backward()
    assert batch.clean.audio.values.grad.any()


def test_training_on_complete_data_needs_no_second_batch(batch):
    complete = replace(batch.clean, clean=None)
    doubled = replace(batch.clean, clean=batch.clean)
    method = make("lnln").eval()
    assert method.loss(complete) == method.loss(doubled)


@pytest.mark.parametrize(
    ("overrides", "modules", "terms"),
    [
        (
            {"dominant_modality_correction": False},
            {"proxy", "proxy_generator", "discriminator", "completeness_check"},
            {"completeness", "adversarial"},
        ),
        ({"completeness_check": False}, {"completeness_check"}, {"completeness"}),
        ({"reconstructor": False}, {"reconstructor"}, {"reconstruction"}),
        ({"multimodal_learning": False}, {"hyper", "language_encoder", "hyper_modality", "fusion"}, set()),
        ({"completeness_weight": 0}, set(), {"completeness"}),
        ({"adversarial_weight": 0}, set(), {"adversarial"}),
        ({"reconstruction_weight": 0}, set(), {"reconstruction"}),
    ],
)
def test_a_switch_removes_its_modules_and_terms_and_nothing_else(overrides, modules, terms, batch):
    whole, part = submodules(make("lnln")), submodules(make("lnln", **overrides))
    assert set(whole) - set(part) == modules
    changed = {name for name in part if part[name] != whole[name]}
    assert changed == ({"head"} if "multimodal_learning" in overrides else set())
    method = make("lnln", **overrides)
    assert set(method.loss(batch)) == TERMS - terms
    assert method.eval().predict(batch).output.isfinite().all()


def test_without_correction_language_is_used_as_it_comes_and_without_check_half_of_it(batch):
    method = make("lnln", dominant_modality_correction=False).eval()
    embedded = method.embed(batch)[0]
    output = method.head(method.fuse(embedded["text"], embedded)).squeeze(1)
    torch.testing.assert_close(method.predict(batch).output, output)

    method = make("lnln", completeness_check=False).eval()
    embedded = method.embed(batch)[0]
    mixed = (embedded["text"] + method.generate_proxy(embedded)) / 2
    torch.testing.assert_close(method.predict(batch).output, method.head(method.fuse(mixed, embedded)).squeeze(1))


def test_without_multimodal_learning_the_mean_tokens_are_concatenated(batch):
    method = make("lnln", multimodal_learning=False).eval()
    embedded = method.embed(batch)[0]
    fused = method.fuse(embedded["text"], embedded)
    expected = torch.cat([embedded[name].mean(1) for name in ("text", "audio", "vision")], 1)
    torch.testing.assert_close(fused, expected)


def test_a_reconstructor_without_its_loss_is_no_reconstructor_to_the_bit(batch):
    states = []
    for overrides in ({"reconstructor": False}, {"reconstruction_weight": 0}):
        method = make("lnln", **overrides).train()
        optimizers = method.optimizers()
        torch.manual_seed(0)
        for _ in range(3):
            method.update(batch, optimizers, 0)
        states.append(method.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_learning_rates_warm_up_from_0_and_follow_a_cosine():
    method = make("lnln")
    assert method.hyperparameters.epochs == 200
    expected = {1: 0.0, 2: 0.05, 11: 0.5, 21: 1.0, 22: 1.0, 112: 0.5, 200: 0.5 * (1 + math.cos(math.pi * 178 / 180))}
    for epoch, factor in expected.items():
        assert method.learning_rate_factor(epoch) == pytest.approx(factor), epoch


def test_the_schedule_also_fits_few_epochs():
    method = make("lnln", epochs=5)
    assert [method.learning_rate_factor(epoch) for epoch in (1, 2)] == [0, 1]


def test_the_text_encoder_is_trained_by_adamw_like_the_rest():
    (optimizer,) = make("lnln").optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    settings = [(group["lr"], group["weight_decay"], group["betas"]) for group in optimizer.param_groups]
    assert settings == [(1e-4, 1e-4, (0.9, 0.999))] * 2


def test_padded_frames_are_ordinary_tokens():
    method, batch = make("lnln").eval(), make_batch(3, lengths={"audio": 4}, lost=0.0)
    before = method.predict(batch).output
    batch.audio.values[:, 8] = 1.0
    assert (method.predict(batch).output - before).abs().max() > 1e-6
    assert SPEC.length["audio"] > 8
