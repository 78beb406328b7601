from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_methods import SPEC, assert_counts, learn, make, make_batch
from torch.nn import functional as F

from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.layers import transformer
from elision.methods.qdrf import divergence, observed_shares, quantise
from elision.task import MODALITIES

# Counted on the released class of QDRF (CICC-XJTLU/QDRF), text encoder left out.
SAME = {
    **{f"{half}.{name}": 626_688 for half in ("coder", "decoder") for name in MODALITIES},
    **{f"scorer.{name}": 8_321 for name in MODALITIES},
    "reconstructor": 1_780_992,
    "cross_modal": 649_344,
    "head.0": 16_512,
    "head.3": 129,
}
COUNTS = {
    "mosi": {"": 8_236_420, "embedding.text": 699_520, "embedding.audio": 643_456, "embedding.vision": 661_376},
    "mosei": {"": 8_263_172, "embedding.text": 699_520, "embedding.audio": 668_288, "embedding.vision": 663_296},
    "sims": {"": 8_296_836, "embedding.text": 706_048, "embedding.audio": 658_176, "embedding.vision": 700_544},
}
OF_TEACHER = {"mosi": 6_455_428, "mosei": 6_482_180, "sims": 6_515_844}
OWN = {"sentiment", "zeros", "reconstruction", "autoencoder"}
TAUGHT = {"proxy", "weights"}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    method = official_method("qdrf", dims)
    assert_counts(method, SAME | COUNTS[dims])
    assert sum(average.numel() for average in method.teacher.buffers()) == OF_TEACHER[dims]


def other(**how):
    """A method with other weights, of the text encoder, too."""
    return make("qdrf", seed=5, **how).eval()


def taught_by(method, weights: dict[str, torch.Tensor]):
    """Give the teacher of a method the weights of another."""
    method.teacher.follow({name: weights[name] for name in method.taught()}, 0.0)
    return method


@given(st.floats(-20, 20), st.sampled_from([3, 5, 9]))
def test_a_code_is_the_nearest_level_of_the_bounded_number(x, levels):
    code = quantise(torch.tensor([x]), levels).item()
    allowed = np.linspace(-1, 1, levels)
    bounded = 0.999 * np.tanh(x)
    assert np.abs(allowed - code).min() < 1e-6
    assert abs(code - bounded) <= np.abs(allowed - bounded).min() + 1e-5


def test_codes_of_three_levels_are_exactly_minus_1_0_and_1():
    x = torch.linspace(-4, 4, 101)
    assert set(quantise(x, 3).tolist()) == {-1.0, 0.0, 1.0}
    # 0.999 tanh(x) passes 0.5 at 0.5505.
    assert torch.equal(quantise(x, 3) != 0, x.abs() > 0.5505)


def test_gradients_pass_as_if_nothing_was_rounded():
    x = torch.linspace(-3, 3, 21, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantise(x, 5).sum(), x)
    torch.testing.assert_close(gradient, 0.999 * (1 - x.tanh().square()))


def test_an_even_number_of_levels_is_refused():
    with pytest.raises(ElisionError, match="levels must be odd"):
        resolve("qdrf", "mosi", {"levels": 4})


def test_the_proxy_is_the_mean_of_the_codes_with_learned_weights(batch):
    method = make("qdrf").eval()
    (embedded,) = method.embed(method.read(batch))
    proxy = method.propose(embedded)
    for m, name in enumerate(MODALITIES):
        coder, scorer = method.coder[name], method.scorer[name]
        z = coder.out(coder.transformer(coder.project(embedded[m]).relu()))
        torch.testing.assert_close(proxy.continuous[m], z)
        code = (0.999 * z.tanh()).round()
        assert torch.equal(proxy.codes[m], code)
        hidden = F.leaky_relu(scorer[0](code.mean(1)), 0.1)
        torch.testing.assert_close(proxy.scores[:, m : m + 1], scorer[2](hidden))
    share = proxy.scores.softmax(1)
    for kind, numbers in (("quantised", proxy.codes), ("continuous", proxy.continuous)):
        expected = sum(share[:, m, None, None] * numbers[m] for m in range(3))
        torch.testing.assert_close(proxy.mean(kind), expected)
    assert proxy.weights.shape == (3, len(batch), 1, 1)


@pytest.mark.parametrize(("corpus", "largest"), [("mosi", 0.9), ("mosei", 0.9), ("sims", 0.3)])
def test_the_teacher_counts_after_five_epochs_and_wholly_after_ten(corpus, largest):
    h = resolve("qdrf", corpus)[0]
    method = make("qdrf", **h.model_dump(include={"distillation_wait", "distillation_rise", "distillation_weight"}))
    found = []
    for epoch in (1, 5, 6, 7, 10, 11, h.epochs):
        method.on_epoch_start(epoch)
        found.append(method._alpha)
    assert found == pytest.approx([0, 0, 0.2 * largest, 0.4 * largest, largest, largest, largest])


def test_before_that_the_teacher_computes_nothing(batch, monkeypatch):
    method = make("qdrf", distillation_wait=5)
    monkeypatch.delattr(type(method), "teach")
    method.on_epoch_start(5)
    assert set(method.loss(batch)) == OWN
    method.on_epoch_start(6)
    with pytest.raises(AttributeError, match="teach"):
        method.loss(batch)


def test_the_teacher_starts_as_the_method_and_follows_each_step_of_the_optimizer(batch):
    method = make("qdrf", accumulate=2, ema_decay=0.9).train()
    averages = {name: weight.detach().clone() for name, weight in method.taught().items()}
    assert {name.split(".")[0] for name in averages} == {
        *("encoder", "embedding", "coder", "decoder", "scorer", "cross_modal", "head")
    }
    optimizers = method.optimizers()
    for group in optimizers[0].param_groups:
        group["lr"] = 0.01
    for step in range(4):
        method.update(batch, optimizers, step)
        if step % 2:
            averages = {name: 0.9 * old + 0.1 * method.get_parameter(name) for name, old in averages.items()}
        for name, average in method.teacher.weights().items():
            torch.testing.assert_close(average, averages[name])
    assert not torch.allclose(averages["head.0.weight"], method.head[0].weight, atol=1e-3)


def test_the_teacher_is_stored_and_is_no_parameter():
    method = make("qdrf")
    stored = {name for name in method.state_dict() if name.startswith("teacher.")}
    assert len(stored) == len(method.taught())
    assert not any(name.startswith("teacher") for name, _ in method.named_parameters())
    frozen = make("qdrf", finetune_text_encoder=False)
    assert stored - set(frozen.state_dict()) == {name for name in stored if name.startswith("teacher.encoder/")}


@pytest.mark.parametrize("shared", [False, True])
def test_the_teacher_reads_complete_input_with_its_own_weights(shared, batch, monkeypatch):
    monkeypatch.setattr(transformer, "shares", lambda _: shared)  # True: as on a GPU
    teacher = other()
    method = taught_by(make("qdrf").eval(), dict(teacher.named_parameters()))
    (embedded,), (complete,) = method.embed(method.read(batch)), teacher.embed(teacher.read(batch.clean))
    student, lesson = method.propose(embedded), teacher.propose(complete)
    terms = method.loss(batch)
    assert set(terms) == OWN | TAUGHT
    error = (student.mean("quantised") - lesson.mean("continuous")).square().mean()
    torch.testing.assert_close(terms["proxy"], method._alpha * error)
    p, q = lesson.scores.softmax(1), student.scores.softmax(1)
    torch.testing.assert_close(terms["weights"], method._alpha * (p * (p / q).log()).sum(1).mean())
    assert method._alpha == pytest.approx(0.18)


def test_nothing_learns_through_the_teacher(batch):
    method = make("qdrf").eval()
    batch.clean.audio.values.requires_grad_()
    terms = method.loss(batch)
    before = {name: average.clone() for name, average in method.teacher.weights().items()}
    sum(terms[name] for name in TAUGHT).backward()
    assert not batch.clean.audio.values.grad.any()
    assert method.coder.audio.out.weight.grad.any()
    assert all(torch.equal(average, before[name]) for name, average in method.teacher.weights().items())


def test_the_targets_of_the_autoencoders_get_no_gradients(batch):
    method = make("qdrf").eval()
    batch.clean.audio.values.requires_grad_()
    term = method.loss(batch)["autoencoder"]
    (embedded,), (complete,) = method.embed(method.read(batch)), method.embed(method.read(batch.clean))
    errors = [
        F.mse_loss(decoder.out(decoder.transformer(decoder.project(codes).relu())), wanted)
        for decoder, codes, wanted in zip(
            method.decoder.values(), method.propose(embedded).codes, complete, strict=True
        )
    ]
    torch.testing.assert_close(term, 0.5 * sum(errors) / 3)
    term.backward()
    assert not batch.clean.audio.values.grad.any()


def test_codes_compared_with_codes_are_equal_where_the_teacher_is_the_method(batch):
    complete = replace(batch.clean, clean=None)
    found = {kind: make("qdrf", teacher_proxy=kind).eval().loss(complete) for kind in ("continuous", "quantised")}
    assert found["quantised"]["proxy"] == 0
    assert found["continuous"]["proxy"] > 1e-4
    assert found["quantised"]["weights"].abs() < 1e-6


def test_a_frozen_text_encoder_encodes_the_complete_text_once(batch, monkeypatch):
    method = taught_by(make("qdrf", finetune_text_encoder=False).eval(), dict(other().named_parameters()))
    torch.testing.assert_close(
        method.teach(batch.clean, method.read(batch.clean)).mean("continuous"),
        method.teach(batch.clean, None).mean("continuous"),
    )
    calls, encode = [], method.encoder.forward
    monkeypatch.setattr(method.encoder, "forward", lambda text: calls.append(text) or encode(text))
    assert set(method.loss(batch)) == OWN | TAUGHT
    assert len(calls) == 2


def test_weights_of_0_drop_their_losses_and_the_complete_input(batch):
    without = {"reconstruction_weight": 0, "autoencoder_weight": 0, "distillation_weight": 0}
    method = make("qdrf", **without).eval()
    blind = replace(batch, clean=replace(batch.clean, audio=None, text=None))
    assert method.loss(blind) == method.loss(batch)
    assert set(method.loss(blind)) == {"sentiment", "zeros"}
    taught = make("qdrf", reconstruction_weight=0, autoencoder_weight=0).eval()
    assert set(taught.loss(batch)) == {"sentiment", "zeros"} | TAUGHT


def test_the_alignment_compares_scores_with_what_is_observed(batch):
    assert "alignment" not in make("qdrf").loss(batch)
    method = make("qdrf", align_weight=0.3).eval()
    (embedded,) = method.embed(method.read(batch))
    scores = method.propose(embedded).scores
    shares = torch.tensor(
        [
            [
                float(s.observed[b].sum()) / max(1, int(s.valid[b].sum()))
                for s in (batch.text, batch.audio, batch.vision)
            ]
            for b in range(len(batch))
        ]
    )
    torch.testing.assert_close(observed_shares(batch), shares)
    expected = 0.3 * (1 / (1 + (-scores).exp()) - shares).square().mean()
    torch.testing.assert_close(method.loss(batch)["alignment"], expected)


def test_complete_modalities_are_wholly_observed_and_missing_ones_are_not():
    nothing = make_batch(3, lengths=dict.fromkeys(MODALITIES, 0))
    assert not observed_shares(nothing).any()
    assert observed_shares(make_batch(3, lost=0.0, absent=("audio",))).tolist() == [[1, 0, 1]] * 3


def test_the_divergence_is_0_for_equal_weights_alone():
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert divergence(scores, scores + 1.0).abs() < 1e-6
    assert divergence(scores, scores.flip(1)) > 1e-3


def test_a_training_that_goes_on_without_the_average_of_the_teacher_ends_elsewhere(batch):
    def trained(forget: bool):
        torch.manual_seed(0)
        method = make("qdrf", ema_decay=0.5).train()
        optimizers = method.optimizers()
        learn(method, [batch] * 2, optimizers, epoch=3)
        if forget:
            method.teacher.follow(method.taught(), 0.0)
        learn(method, [batch] * 2, optimizers, epoch=4)
        return method.coder.audio.out.weight.detach()

    assert torch.equal(trained(forget=False), trained(forget=False))
    assert not torch.equal(trained(forget=False), trained(forget=True))


def test_epochs_are_those_of_the_released_configurations():
    assert {corpus: resolve("qdrf", corpus)[0].epochs for corpus in ("mosi", "mosei", "sims")} == {
        "mosi": 50,
        "mosei": 100,
        "sims": 50,
    }
    assert make("qdrf", spec=SPEC).hyperparameters.gradient_clip == 1.0
