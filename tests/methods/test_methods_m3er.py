import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, learn, make, make_batch, spec_for
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods import build, resolve
from elision.methods.m3er import Memory, Moments, Pair, multiplicative_loss
from elision.task import MODALITIES, OFFICIAL_SPECS

SPEC = spec_for("m3er")
WIDTHS = {name: getattr(SPEC, name) for name in MODALITIES}
MAPS = {name: torch.randn(3, width, generator=torch.Generator().manual_seed(width)) for name, width in WIDTHS.items()}


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def related(size: int, *, noise: str = "", seed: int = 0, lost: float = 0.0) -> Batch:
    """Utterances whose modalities show the same three hidden numbers, except for one that is noise."""
    random = torch.Generator().manual_seed(seed)
    batch, length = make_batch(size, spec=SPEC, lost=lost, seed=seed), SPEC.length["text"]
    shown, sequences = torch.randn(size, 1, 3, generator=random) + torch.randn(size, length, 3, generator=random), {}
    for name, width in WIDTHS.items():
        values = shown @ MAPS[name] + 0.01 * torch.randn(size, length, width, generator=random)
        if name == noise:
            values = 3 * torch.randn(size, length, width, generator=random)
        sequence = getattr(batch, name)
        sequences[name] = replace(sequence, values=values * sequence.observed[..., None])
    return replace(batch, **sequences)


def fitted(**overrides):
    """A method that has collected the moments of related utterances."""
    method = make("m3er", **{"threshold": 0.5, **overrides}).train()
    learn(method, [related(40), related(40, seed=1)], method.optimizers(), epoch=1)
    return method.eval()


def test_parameters_of_the_sizes_of_the_paper():
    spec = replace(OFFICIAL_SPECS["iemocap"], text=300, audio=74, vision=35)
    with torch.device("meta"):
        method = build("m3er", resolve("m3er", "iemocap")[0], spec)
    lstms = {"lstms.text": 42_752, "lstms.audio": 13_824, "lstms.vision": 8_832}
    assert_counts(method, {**lstms, "hidden": 224 * 64 + 64, "head": 65 * 4, "alone": 3 * 33 * 4})
    assert method.pairs["audio_vision"].canonical_0.shape == (74, 35)
    assert method.pairs["text_audio"].canonical_1.shape == (74, 74)


def test_what_is_replaced_in_training_is_counted_and_no_part_of_the_loss():
    method = fitted().train()
    good, noisy = related(10, seed=3), related(10, noise="audio", seed=3)
    shares = []
    for batch in (good, noisy):
        taken = (method.available(batch) & ~method.effectual(batch)).sum() / method.available(batch).sum()
        terms = method.update(batch, method.optimizers(), 0)
        assert {*terms} - {*method.counts} == {"emotion", "unimodal"}
        assert not method.loss(batch)["replaced"].requires_grad
        shares.append(float(terms["replaced"]))
        assert shares[-1] == pytest.approx(float(taken))
    assert shares[0] < 0.2 < 0.3 < shares[1] < 0.5


def test_moments_are_those_of_the_samples_that_count():
    torch.manual_seed(0)
    first, second, counts = 5 + 2 * torch.randn(50, 2), torch.randn(50, 3), torch.rand(50) < 0.7
    moments = Moments(5, first)
    for part in (slice(0, 20), slice(20, 50)):
        moments.add(first[part], second[part], counts[part])
    x = array(torch.cat([first, second], 1)[counts])
    for found, expected in zip(moments.standardised(), (x.mean(0), x.std(0), np.corrcoef(x.T)), strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_canonical_projections_are_uncorrelated_but_for_those_of_one_number():
    random = torch.Generator().manual_seed(0)
    shown = torch.randn(2000, 2, generator=random)
    first = torch.cat([shown, torch.randn(2000, 2, generator=random)], 1) @ torch.randn(4, 4, generator=random)
    second = shown @ torch.randn(2, 3, generator=random) + 0.5 * torch.randn(2000, 3, generator=random)
    pair, moments = Pair(4, 3, 100), Moments(7, first)
    moments.add(first, second, torch.ones(2000, dtype=torch.bool))
    pair.fit(moments, moments, 1e-9)
    projected = [(first - pair.mean_0) @ pair.canonical_0, (second - pair.mean_1) @ pair.canonical_1]
    correlations = np.cov(array(torch.cat(projected, 1)).T, bias=True)
    np.testing.assert_allclose(correlations[:3, :3], np.eye(3), atol=1e-3)
    np.testing.assert_allclose(correlations[3:, 3:], np.eye(3), atol=1e-3)
    across = correlations[:3, 3:]
    np.testing.assert_allclose(across, np.diag(across.diagonal()), atol=1e-3)
    # No linear combination of the vectors correlates more than the first two numbers.
    assert across[0, 0] >= across[1, 1] > 0.5 > across[2, 2] >= 0
    expected = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(*map(array, projected), strict=True)
    ]
    np.testing.assert_allclose(array(pair.correlation(first, second, "cosine")), expected, atol=1e-4)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*map(array, projected), strict=True)]
    np.testing.assert_allclose(array(pair.correlation(first, second, "pearson")), expected, atol=1e-4)


@pytest.mark.parametrize("ridge", [1e-9, 0.3])
def test_a_proxy_is_the_ridge_regression_of_standardised_frames(ridge):
    random = torch.Generator().manual_seed(0)
    first = 3 + 2 * torch.randn(500, 4, generator=random)
    second = first @ torch.randn(4, 2, generator=random) - 1
    pair, moments = Pair(4, 2, 100), Moments(6, first)
    moments.add(first, second, torch.ones(500, dtype=torch.bool))
    pair.fit(moments, moments, ridge)
    x, y = array(first), array(second)
    scaled = (x - x.mean(0)) / x.std(0)
    targets = (y - y.mean(0)) / y.std(0)
    weight = np.linalg.solve(scaled.T @ scaled / 500 + ridge * np.eye(4), scaled.T @ targets / 500)
    found = pair.translate(first[None], 0)[0]
    np.testing.assert_allclose(array(found), scaled @ weight * y.std(0) + y.mean(0), atol=1e-3)
    if ridge < 1e-6:
        torch.testing.assert_close(found, second, atol=1e-3, rtol=1e-3)


def test_only_the_first_epoch_collects_and_collecting_teaches_nothing():
    method = make("m3er").train()
    before = {name: p.clone() for name, p in method.named_parameters()}
    method.on_epoch_start(1)
    assert method.passes(3) == [3, 3]
    method.on_pass_start(0)
    assert method.update(related(8), method.optimizers(), 0) == {}
    assert all(torch.equal(p, before[name]) for name, p in method.named_parameters())
    assert not any(pair.fitted for pair in method.pairs.values())
    method.on_pass_start(1)
    assert all(pair.fitted for pair in method.pairs.values())
    assert set(method.update(related(8), method.optimizers(), 0)) == {"emotion", "unimodal", "replaced"}
    method.on_epoch_start(2)
    assert method.passes(3) == [3]
    resumed = make("m3er", seed=1)
    resumed.load_state_dict(method.state_dict())
    assert torch.equal(resumed.pairs["text_audio"].map_0, method.pairs["text_audio"].map_0)


def test_moments_leave_out_what_is_lost_absent_or_noise():
    batch = related(12, lost=0.4)
    batch.rate[:] = torch.tensor([[0.0, 0.0, 1.0]] * 6 + [[0.0, 0.0, 0.0]] * 6)
    method = make("m3er")
    method.collect(batch)
    both = batch.text.observed & batch.audio.observed
    utterances, frames = method._moments["text_audio"]
    assert frames.count == both.sum()
    assert utterances.count == (batch.text.observed.any(1) & batch.audio.observed.any(1)).sum()
    utterances, frames = method._moments["text_vision"]
    assert frames.count == (batch.text.observed & batch.vision.observed)[6:].sum()
    there = batch.text.observed[6:].any(1) & batch.vision.observed[6:].any(1)
    assert utterances.count == there.sum()


@pytest.mark.parametrize("noise", MODALITIES)
def test_the_check_finds_the_modality_that_fits_none_of_the_others(noise):
    method, others = fitted(), [name != noise for name in MODALITIES]
    found = method.effectual(related(60, noise=noise, seed=2))
    # Some noise fits by chance.
    assert (found == torch.tensor(others)).float().mean() > 0.8
    assert method.effectual(related(60, seed=3)).float().mean() > 0.9
    assert fitted(check=False).effectual(related(60, noise=noise, seed=2)).all()


def test_an_absent_modality_is_ineffectual_and_not_asked_about_others():
    batch = related(9, seed=2)
    for name in ("text", "vision"):
        sequence = getattr(batch, name)
        nothing = torch.zeros_like(sequence.observed)
        batch = replace(batch, **{name: Sequence(torch.zeros_like(sequence.values), sequence.valid, nothing)})
    for method in (fitted(), fitted(check=False), make("m3er")):
        assert method.effectual(batch).tolist() == [[False, True, False]] * 9


def test_where_no_modality_fits_another_all_are_kept():
    assert fitted(threshold=1.0).effectual(related(9, seed=2)).all()


def test_a_proxy_is_the_mean_of_what_effectual_modalities_say_of_observed_frames():
    method, batch = fitted(), related(6, seed=2, lost=0.3)
    good = torch.tensor([[False, True, True]] * 3 + [[True, False, True]] * 2 + [[False, False, True]])
    method.effectual = lambda _: good
    repaired = method.repair(batch)
    for row in range(6):
        for name in MODALITIES:
            own = getattr(batch, name).values[row]
            if good[row, MODALITIES.index(name)]:
                assert torch.equal(repaired[name][row], own)
                continue
            for step in range(len(own)):
                told = []
                for other in MODALITIES:
                    sequence = getattr(batch, other)
                    if good[row, MODALITIES.index(other)] and sequence.observed[row, step]:
                        first = MODALITIES.index(other) < MODALITIES.index(name)
                        key = f"{other}_{name}" if first else f"{name}_{other}"
                        frame = sequence.values[row : row + 1, step : step + 1]
                        told.append(method.pairs[key].translate(frame, int(not first))[0, 0])
                expected = torch.stack(told).mean(0) if told else torch.zeros_like(own[step])
                torch.testing.assert_close(repaired[name][row, step], expected, atol=1e-4, rtol=1e-4)
    without = fitted(proxy=False)
    without.effectual = lambda _: good
    assert not without.repair(batch)["text"][:3].any() and without.repair(batch)["text"][3].any()


def test_the_memory_attends_to_two_steps_and_rests_beyond_the_end():
    torch.manual_seed(0)
    memory, states = Memory(4, 3, 5), torch.randn(1, 3, 4)

    def linear(layer, x):
        return x @ array(layer.weight).T + (0 if layer.bias is None else array(layer.bias))

    def through(layers, x):
        return linear(layers[2], np.maximum(linear(layers[0], x), 0))

    kept, before = np.zeros(3), np.zeros(4)
    for now in array(states)[0, :2]:
        both = np.concatenate([before, now])
        score = np.exp(through(memory.attention, both))
        attended = score / score.sum() * both
        hidden = np.maximum(linear(memory.gates_of_states, attended) + linear(memory.gates_of_memory, kept), 0)
        keep, write = (
            1 / (1 + np.exp(-linear(g, h))) for g, h in ((memory.keep, hidden[:5]), (memory.write, hidden[5:]))
        )
        kept, before = keep * kept + write * np.tanh(through(memory.candidate, attended)), now
    found = memory(states, torch.tensor([[True, True, False]]))
    np.testing.assert_allclose(array(found)[0], kept, atol=1e-6)


@pytest.mark.parametrize("combination", ["m3er", "original", "none"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_the_multiplicative_loss_equals_its_formula(combination, beta):
    p = np.array([[0.2, 0.5, 0.9], [0.6, 0.1, 0.3]])
    total = 0.0
    for row in p:
        for i in range(3):
            factor = 1.0
            if combination == "m3er":
                factor = row[i] ** (beta / 2)
            if combination == "original":
                factor = math.prod((1 - row[j]) ** (beta / 2) for j in range(3) if j != i)
            total -= factor * math.log(row[i]) / 2
    found = multiplicative_loss(torch.tensor(p).log(), beta=beta, combination=combination, detach=True)
    assert found.item() == pytest.approx(total)


def test_of_equal_chances_the_loss_is_known():
    chances = torch.full((5, 3), math.log(1 / 4))
    found = multiplicative_loss(chances, beta=2.0, combination="m3er", detach=True)
    assert found.item() == pytest.approx(3 * math.log(4) / 4)


@pytest.mark.parametrize(("chance", "falls"), [(0.25, True), (0.5, False)])
def test_with_a_gradient_in_the_factor_small_chances_become_smaller(chance, falls):
    for detach in (True, False):
        chances = torch.full((1, 3), math.log(chance), requires_grad=True)
        multiplicative_loss(chances, beta=2.0, combination="m3er", detach=detach).backward()
        # A step against the gradient raises the chance where the gradient is negative.
        assert bool((chances.grad > 0).all()) == (falls and not detach)


@pytest.mark.parametrize("spec", [SPEC, spec_for("m3er", CLASSES)])
def test_the_loss_is_the_joint_error_and_that_of_the_modalities_alone(spec):
    batch, method = make_batch(7, spec=spec), make("m3er", spec=spec, unimodal_weight=0.5).eval()
    joint, last = method.represent(batch)
    there = method.available(batch)
    output, scores = method.predict(batch).output, spec is SPEC
    target = (batch.label >= 0).long() if scores else batch.label
    alone = [F.cross_entropy(method.alone[name](last[name]), target, reduction="none") for name in MODALITIES]
    expected = {
        "emotion": (F.l1_loss if scores else F.cross_entropy)(output, batch.label).item(),
        "unimodal": 0.5 * sum((torch.exp(-loss) * loss).mean().item() for loss in alone),
        "replaced": ((there & ~method.effectual(batch)).sum() / there.sum()).item(),
    }
    assert {k: v.item() for k, v in method.loss(batch).items()} == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(output, method.readout(method.head(joint)))


def test_extreme_features_give_finite_proxies():
    method = make("m3er").train()
    batch = related(12)
    for name in MODALITIES:
        getattr(batch, name).values.mul_(1e4)
        getattr(batch, name).values[..., 0] = 0
    learn(method, [batch], method.optimizers(), epoch=1)
    assert all(buffer.isfinite().all() for buffer in method.buffers())
    assert method.predict(batch).output.isfinite().all()
