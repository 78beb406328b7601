from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_methods import assert_counts, learn, make, make_batch

from elision.methods.mmim import MMIM, RecurrentEncoder, contrastive_loss, entropy

COMMON = {
    "bounds.vision": 25220,
    "bounds.audio": 25220,
    "contrast.text": 99072,
    "contrast.vision": 2064,
    "contrast.audio": 2064,
    "fusion": 119169,
}
COUNTS = {
    "mosi": {"": 281673, "vision_encoder": 5392, "audio_encoder": 3472, **COMMON},
    "mosei": {"": 292425, "vision_encoder": 7312, "audio_encoder": 12304, **COMMON},
    "sims": {"": 373449, "vision_encoder": 93584, "audio_encoder": 7056, **COMMON},
}


def weights(method) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in method.named_parameters()}


def moved(method, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}


def entropy_of(samples: list[np.ndarray], labels: list[float]) -> float:
    """The entropy, one sample at a time."""
    total = 0.0
    for sign in (1, -1):
        members = [x for x, label in zip(samples, labels, strict=True) if np.sign(label) == sign]
        mean = sum(members) / len(members)
        covariance = sum(np.outer(x - mean, x - mean) for x in members) / len(members)
        total += np.log(np.linalg.det(covariance + 1e-6 * np.eye(len(mean))))
    return 0.25 * total


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_are_those_of_the_released_code(dims, official_method):
    assert_counts(official_method("mmim", dims), COUNTS[dims])


def test_official_values_are_those_of_mmsa_and_half_a_first_pass_on_mosei(official_method):
    mosi, mosei, sims = (official_method("mmim", dims).hyperparameters for dims in COUNTS)
    assert (mosi.batch_size, mosi.patience, mosi.memory, mosi.bound_share) == (32, 8, 1, 1.0)
    assert sims == mosi
    assert mosei == mosi.model_copy(update={"bound_share": 0.5})


def test_it_needs_signed_labels_and_accumulates_nothing():
    assert MMIM.task == ("regression",)
    with pytest.raises(ValidationError, match="accumulate"):
        MMIM.Hyperparameters(accumulate=2)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_an_encoder_reads_the_valid_frames_alone_and_both_ways_unless_told_otherwise(bidirectional):
    torch.manual_seed(0)
    encoder, audio = RecurrentEncoder(5, 4, 3, bidirectional), make_batch(6).audio
    assert encoder.out.in_features == (8 if bidirectional else 4)
    for i, length in enumerate(audio.lengths.tolist()):
        frames, _ = encoder.lstm(audio.values[i : i + 1, :length])
        ends = torch.cat([frames[0, -1, :4], frames[0, 0, 4:]])  # backwards, the first frame is read last
        torch.testing.assert_close(encoder(audio)[i], encoder.out(ends))


def test_the_switch_of_the_direction_reaches_both_encoders():
    method = make("mmim", bidirectional=False)
    assert not method.audio_encoder.lstm.bidirectional and not method.vision_encoder.lstm.bidirectional
    assert make("mmim").audio_encoder.lstm.bidirectional and make("mmim").vision_encoder.lstm.bidirectional


@pytest.mark.parametrize("log_variance_term", [False, True])
def test_the_likelihood_is_gaussian_without_its_normalisation(log_variance_term, batch):
    method = make("mmim", log_variance_term=log_variance_term).eval()
    vectors = method.represent(batch)
    expected = 0.0
    for name, bound in method.bounds.items():
        mean, log_variance = (f(vectors["text"]).tolist() for f in (bound.mean, bound.log_variance))
        for i, vector in enumerate(vectors[name].tolist()):
            for mu, s, y in zip(mean[i], log_variance[i], vector, strict=True):
                expected += (-((mu - y) ** 2) / (2 * np.exp(s)) - log_variance_term * s / 2) / len(batch)
    assert method.likelihood(vectors).item() == pytest.approx(expected, rel=1e-4)


def test_the_contrastive_loss_finds_the_own_prediction_by_its_cosine():
    random = np.random.default_rng(0)
    x, predicted = random.normal(size=(2, 5, 3))
    cosine = [[a @ b / np.sqrt(a @ a * (b @ b)) for b in predicted] for a in x]
    expected = -np.mean([cosine[i][i] - np.log(sum(np.exp(cosine[i]))) for i in range(5)])
    assert contrastive_loss(torch.tensor(x), torch.tensor(predicted)).item() == pytest.approx(expected)


def test_the_entropy_is_the_log_determinant_of_the_covariance_of_each_sign():
    random = np.random.default_rng(0)
    samples, labels = random.uniform(-1, 1, (60, 4)).astype(np.float32), random.uniform(-2, 2, 60)
    labels[:3] = 0  # of neither sign
    tensors = torch.tensor(samples), torch.tensor(labels)
    assert entropy(*tensors).item() == pytest.approx(entropy_of(list(samples.astype(float)), labels), rel=1e-6)
    plain = sum(torch.logdet(tensors[0][m].T.cov(correction=0)) for m in (tensors[1] > 0, tensors[1] < 0)) / 4
    torch.testing.assert_close(entropy(*tensors), plain, rtol=1e-4, atol=0)


@pytest.mark.parametrize("positive", range(6))
def test_the_entropy_and_its_gradient_stay_finite_with_few_samples_of_a_sign_or_none(positive):
    random = torch.Generator().manual_seed(positive)
    x = torch.rand(positive + 20, 4, generator=random).requires_grad_()
    label = torch.ones(positive + 20).index_fill(0, torch.arange(20), -1.0)
    entropy(x, label).backward()
    assert entropy(x, label).isfinite() and x.grad.isfinite().all()
    assert x.grad[:20].any() and x.grad[20:].any() == (positive > 1)


def test_the_entropy_of_samples_that_do_not_differ_is_finite_and_has_no_gradient():
    x = torch.full((12, 4), 0.3, requires_grad=True)
    value = entropy(x, torch.tensor([1.0, -1.0] * 6))
    value.backward()
    assert value.item() == pytest.approx(2 * np.log(1e-6)) and not x.grad.any()


def test_the_fused_vector_is_what_the_last_layer_reads(batch):
    method = make("mmim").eval()
    vectors = method.represent(batch)
    torch.testing.assert_close(vectors["text"], method.encoder(batch.text)[:, 0])
    hidden = torch.tanh(method.fusion.hidden(torch.cat([vectors[m] for m in ("text", "audio", "vision")], 1)))
    fused = torch.tanh(method.fusion.feature(hidden))
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, fused)
    torch.testing.assert_close(prediction.output, method.fusion.out(fused)[:, 0])


def test_the_second_pass_minimises_the_weighted_terms(batch):
    method = make("mmim", contrast_weight=0.2, bound_weight=0.3).eval()
    vectors, prediction = method.represent(batch), method.predict(batch)
    contrast = [contrastive_loss(vectors[m], method.contrast[m](prediction.representation)) for m in vectors]
    terms = method.loss(batch)
    assert list(terms) == ["sentiment", "contrast", "likelihood"]
    torch.testing.assert_close(terms["sentiment"], (prediction.output - batch.label).abs().mean())
    torch.testing.assert_close(terms["contrast"], 0.2 * sum(contrast))
    torch.testing.assert_close(terms["likelihood"], -0.3 * method.likelihood(vectors))


@pytest.mark.parametrize("memory", [1, 2])
def test_the_entropy_of_this_and_the_last_batches_counts_once_one_batch_more_was_seen(memory):
    method = make("mmim", memory=memory, bound_weight=0.2).eval()  # no dropout
    optimizers = method.optimizers()
    method.on_pass_start(1)
    projected, labels = [], []
    for step in range(memory + 3):
        batch = make_batch(16, seed=step)
        with torch.no_grad():  # before the step
            projected.append(method.project(method.represent(batch)))
        labels.append(batch.label)
        terms = method.update(batch, optimizers, step)
        assert ("entropy" in terms) == (step > memory)
        if step > memory:
            recent = torch.cat(labels[-memory - 1 :])
            for_each = [
                entropy_of(list(torch.cat([p[name] for p in projected[-memory - 1 :]]).double().numpy()), recent)
                for name in ("audio", "vision")
            ]
            assert terms["entropy"].item() == pytest.approx(-0.2 * sum(for_each), rel=1e-4)


def test_the_entropy_reaches_the_encoders_and_not_its_projection_or_the_memory():
    method = make("mmim").eval()
    method.on_pass_start(1)
    optimizers = method.optimizers()
    for step in range(2):
        method.update(make_batch(16, seed=step), optimizers, step)
    method.zero_grad()
    method.loss(make_batch(16, seed=2))["entropy"].backward()
    touched = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"audio_encoder", "vision_encoder"}


def test_a_pass_starts_without_memory_and_the_weights_file_has_none(batch):
    method = make("mmim").train()
    optimizers = method.optimizers()
    assert "entropy" in learn(method, [batch] * 3, optimizers, epoch=1)
    assert not any("memory" in key for key in method.state_dict())
    assert "entropy" not in learn(method, [batch] * 2, optimizers, epoch=2)
    method.on_pass_start(1)
    assert "entropy" not in method.loss(batch)


@pytest.mark.parametrize("label", [1.0, -1.0, 0.0])
def test_training_on_labels_of_one_sign_or_none_stays_finite(label, batch):
    method = make("mmim").train()
    batch = replace(batch, label=torch.full((7,), label))
    terms = learn(method, [batch] * 5, method.optimizers(), epoch=1)
    assert "entropy" in terms and all(term.isfinite() for term in terms.values())
    assert all(p.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize(("share", "batches", "first"), [(1.0, 7, 7), (0.5, 511, 256), (0.003, 511, 2), (0.0, 7, 0)])
def test_the_first_pass_takes_a_share_of_the_batches_and_the_second_all(share, batches, first):
    assert make("mmim", bound_share=share).passes(batches) == [first, batches]


def test_the_first_pass_moves_the_gaussians_alone_and_the_second_all_but_them(batch):
    method = make("mmim").train()
    optimizers = method.optimizers()
    gaussians = {n for n, p in method.named_parameters() if n.startswith("bounds.") and p.requires_grad}
    assert {name.split(".")[2] for name in gaussians} == {"mean", "log_variance"}
    for number, expected in ((0, gaussians), (1, {n for n in weights(method) if not n.startswith("bounds.")})):
        before = weights(method)
        method.on_pass_start(number)
        for step in range(3):
            terms = method.update(batch, optimizers, step)
        assert moved(method, before) == expected
        assert set(terms) == ({"sentiment", "contrast", "likelihood", "entropy"} if number else {"fit"})


def test_the_first_pass_maximises_the_likelihood_without_labels(batch):
    method = make("mmim").eval()
    method.on_pass_start(0)
    expected = -method.likelihood(method.represent(batch))
    blind = replace(batch, label=torch.full_like(batch.label, torch.nan))
    optimizers = method.optimizers()
    torch.testing.assert_close(method.update(blind, optimizers, 0)["fit"], expected)
    for step in range(1, 20):
        terms = method.update(blind, optimizers, step)
    assert terms["fit"] < expected


@pytest.mark.parametrize("number", [0, 1])
def test_the_clipped_norm_is_that_of_all_gradients_of_this_batch_alone(number, batch, monkeypatch):
    clip, norms = torch.nn.utils.clip_grad_norm_, []
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda p, limit: norms.append((float(clip(p, limit)), limit))
    )
    method = make("mmim", gradient_clip=0.7).eval()
    optimizers = method.optimizers()
    for stage in (1 - number, number):  # gradients are left over from another pass
        method.on_pass_start(stage)
        before = weights(method)
        method.update(batch, optimizers, 0)
    fresh = make("mmim").eval()
    fresh.load_state_dict({**method.state_dict(), **before})
    vectors = fresh.represent(batch)
    terms = fresh.terms(vectors, batch.label) if number else {"fit": -fresh.likelihood(vectors)}
    sum(terms.values()).backward()
    gradients = [p.grad for p in fresh.parameters() if p.grad is not None]
    assert any(p.grad is not None for p in fresh.encoder.parameters())
    assert norms[-1] == (pytest.approx(float(torch.cat([g.flatten() for g in gradients]).norm()), rel=1e-4), 0.7)


def test_one_adam_holds_the_gaussians_and_another_the_rest():
    bounds, main = make("mmim").optimizers()
    assert type(bounds) is type(main) is torch.optim.Adam
    described = [
        {g["name"]: (g["lr"], g["weight_decay"], g.get("constant", False)) for g in optimizer.param_groups}
        for optimizer in (bounds, main)
    ]
    assert described == [
        {"bounds": (1e-3, 1e-4, True)},
        {"rest": (1e-3, 1e-4, False), "text encoder": (5e-5, 1e-4, False)},
    ]
    _, main = make("mmim", finetune_text_encoder=False).optimizers()
    assert [group["name"] for group in main.param_groups] == ["rest"]


def test_rates_are_halved_after_more_epochs_without_improvement_than_are_tolerated():
    method = make("mmim")
    factors = []
    for epoch in range(1, 46):
        factors.append(method.learning_rate_factor(epoch))
        method.on_epoch_end(1.0)
    assert factors == [1.0] * 22 + [0.5] * 21 + [0.25] * 2


def test_every_matrix_but_those_of_the_text_encoder_starts_xavier_normal():
    method = make("mmim", audio_hidden=128, audio_width=256, vision_width=256)
    for name in ("audio_encoder.lstm.weight_hh_l0", "audio_encoder.out.weight", "bounds.vision.project.0.weight"):
        weight = method.get_parameter(name)
        normal = (2 / sum(weight.shape)) ** 0.5
        assert weight.std().item() == pytest.approx(normal, rel=0.05)
        assert weight.abs().max() > 3 * normal  # a uniform distribution ends at 1.7
    torch.testing.assert_close(method.encoder.state_dict(), make("lnln").encoder.state_dict())
