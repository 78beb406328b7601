import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch
from torch import nn

from elision.batch import Batch
from elision.methods.misa import RecurrentSummary, moment_distance, overlap
from elision.task import MODALITIES

# Counted on MMSA's class, text encoder left out, and without the layers that get no gradient (516 + 3072 in all).
LINEAR = {"shared": 16512, "transformer": 593024, "head": 295681, "projection.text": 98688}
LINEAR |= {f"{module}.{name}": 16512 for module in ("private", "reconstructor") for name in MODALITIES}
COUNTS = {
    "mosi": LINEAR
    | {
        "": 1138033 - 516 - 3072,
        "recurrent.audio.first": 480,
        "recurrent.audio.norm": 20,
        "recurrent.audio.second": 680,
        "recurrent.vision.first": 6720,
        "recurrent.vision.norm": 80,
        "recurrent.vision.second": 9920,
        "projection.audio": 2944,
        "projection.vision": 10624,
    },
    "mosei": LINEAR
    | {
        "": 1435105 - 516 - 3072,
        "recurrent.audio.first": 88800,
        "recurrent.audio.norm": 296,
        "recurrent.audio.second": 132608,
        "recurrent.vision.first": 20160,
        "recurrent.vision.norm": 140,
        "recurrent.vision.second": 29960,
        "projection.audio": 38272,
        "projection.vision": 18304,
    },
    "sims": LINEAR
    | {
        "": 21664749 - 516 - 3072,
        "recurrent.audio.first": 17952,
        "recurrent.audio.norm": 132,
        "recurrent.audio.second": 26664,
        "recurrent.vision.first": 8054240,
        "recurrent.vision.norm": 2836,
        "recurrent.vision.second": 12075688,
        "projection.audio": 17280,
        "projection.vision": 363392,
    },
}


def overlap_by_loops(x: np.ndarray, z: np.ndarray) -> float:
    """The orthogonality loss, entry by entry."""
    x, z = ([row - v.mean(0) for row in v] for v in (x, z))
    x, z = ([row / (math.sqrt((row**2).sum()) + 1e-6) for row in v] for v in (x, z))
    width = len(x[0])
    entries = [sum(a[i] * b[j] for a, b in zip(x, z, strict=True)) ** 2 for i in range(width) for j in range(width)]
    return sum(entries) / width**2


def moments_by_loops(x: np.ndarray, z: np.ndarray) -> float:
    """The central moment discrepancy, moment by moment."""

    def moments(v: np.ndarray) -> list[np.ndarray]:
        mean = sum(v) / len(v)
        return [mean, *(sum((row - mean) ** k for row in v) / len(v) for k in (2, 3, 4, 5))]

    return sum(math.sqrt(((a - b) ** 2).sum()) for a, b in zip(moments(x), moments(z), strict=True))


def vectors(size: int = 7, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(size, width, generator=random, dtype=torch.float64) for _ in range(2))


def arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().double().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_less_what_is_never_trained(official_method, dims):
    assert_counts(official_method("misa", dims), COUNTS[dims])


def test_the_overlap_of_two_spaces_equals_the_loops():
    x, z = vectors()
    assert overlap(x, z).item() == pytest.approx(overlap_by_loops(x.numpy(), z.numpy()))
    assert overlap(x, z).item() == pytest.approx(overlap(z, x).item())


def test_no_gradient_flows_through_the_lengths():
    x, z = vectors()
    x.requires_grad_()
    overlap(x, z).backward()
    with torch.no_grad():
        centred = x - x.mean(0)
        lengths = centred.norm(dim=1, keepdim=True) + 1e-6
        others = z - z.mean(0)
        others = others / (others.norm(dim=1, keepdim=True) + 1e-6)
        # d/dX mean((X^T Z)^2) = 2 Z (X^T Z)^T / width^2, back through the fixed lengths and the centring.
        gradient = 2 * others @ ((centred / lengths).T @ others).T / x.shape[1] ** 2 / lengths
        gradient -= gradient.mean(0)
    torch.testing.assert_close(x.grad, gradient)


def test_the_distance_of_moments_equals_the_loops():
    x, z = vectors()
    assert moment_distance(x, z).item() == pytest.approx(moments_by_loops(x.numpy(), z.numpy()))
    assert moment_distance(x, x.flip(0)).item() == pytest.approx(0, abs=1e-12)


def test_equal_moments_have_a_gradient_of_0_instead_of_nan():
    x, z = vectors(size=1)  # every central moment of one sample is 0
    x.requires_grad_()
    distance = moment_distance(x, z)
    distance.backward()
    assert distance.item() == pytest.approx((x - z).norm().item())
    torch.testing.assert_close(x.grad, ((x - z) / (x - z).norm()).detach())
    x.grad = None
    moment_distance(x, x.detach().clone()).backward()
    assert not x.grad.any()


def test_every_loss_term_equals_the_loops(batch: Batch):
    method = make("misa", difference_weight=0.7, similarity_weight=0.4, reconstruction_weight=0.9).eval()
    terms = method.loss(batch)
    utterances = method.project_utterances(batch)
    private, shared = map(arrays, method.split(utterances))
    rebuilt = arrays({n: method.reconstructor[n](sum(s[n] for s in method.split(utterances))) for n in MODALITIES})
    utterances = arrays(utterances)

    error = [(a - b) ** 2 for a, b in zip(method.predict(batch).output.tolist(), batch.label.tolist(), strict=True)]
    difference = sum(overlap_by_loops(private[n], shared[n]) for n in MODALITIES)
    difference += sum(overlap_by_loops(private[m], private[n]) for m, n in combinations(MODALITIES, 2))
    similarity = sum(moments_by_loops(shared[m], shared[n]) for m, n in combinations(MODALITIES, 2)) / 3
    reconstruction = sum(((rebuilt[n] - utterances[n]) ** 2).mean() for n in MODALITIES) / 3
    expected = {
        "sentiment": sum(error) / len(error),
        "difference": 0.7 * difference,
        "similarity": 0.4 * similarity,
        "reconstruction": 0.9 * reconstruction,
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-4)


def test_gradients_flow_through_the_vectors_that_are_reconstructed(batch):
    method = make("misa").eval()
    given = {n: v.detach().requires_grad_() for n, v in method.project_utterances(batch).items()}
    method.project_utterances = lambda _: given
    method.loss(batch)["reconstruction"].backward()
    private, shared = method.split(given)
    for name, vector in given.items():
        error = method.reconstructor[name](private[name] + shared[name]) - vector
        through = torch.autograd.grad(error, vector, 2 * error.detach() / error.numel() / 3)[0]
        torch.testing.assert_close(vector.grad, through)


def test_classes_have_the_same_terms_beside_the_cross_entropy():
    batch = make_batch(7, spec=CLASSES)
    method = make("misa", spec=CLASSES).eval()
    likelihood = method.predict(batch).output.detach().softmax(1)
    terms = method.loss(batch)
    expected = -sum(math.log(likelihood[i, batch.label[i]]) for i in range(7)) / 7
    assert terms["sentiment"].item() == pytest.approx(expected, rel=1e-5)
    assert set(terms) == {"sentiment", "difference", "similarity", "reconstruction"}


def test_the_recurrent_summary_reads_each_sample_as_if_it_were_alone():
    torch.manual_seed(0)
    summary, audio = RecurrentSummary(5), make_batch(6).audio
    for p in summary.norm.parameters():
        nn.init.normal_(p)
    together = summary(audio.values, audio.lengths)
    for i, length in enumerate(audio.lengths.tolist()):
        outputs, (first, _) = summary.first(audio.values[i : i + 1, :length])
        _, (second, _) = summary.second(summary.norm(outputs))
        forwards, backwards = (torch.cat([first[d, 0], second[d, 0]]) for d in (0, 1))
        torch.testing.assert_close(together[i], torch.cat([forwards, backwards]))


def changed(method, batch: Batch, name: str, frame: int) -> torch.Tensor:
    """Whether changing one frame of every sample changes what is said of it."""
    sequence = getattr(batch, name)
    values = sequence.values.clone()
    values[:, frame] += 1.0
    after = method.summarise(name, replace(batch, **{name: replace(sequence, values=values)}))
    return (after != method.summarise(name, batch)).any(1)


def test_audio_and_vision_are_read_up_to_the_length_of_the_text_or_up_to_their_own():
    batch = make_batch(12, lost=0.0, seed=3)
    for mode in ("text", "own"):
        method = make("misa", av_lengths=mode).eval()
        for name in ("audio", "vision"):
            for frame in range(SPEC.length[name]):
                lengths = (batch.text if mode == "text" else getattr(batch, name)).lengths
                assert torch.equal(changed(method, batch, name, frame), lengths > frame)


def test_a_text_longer_than_the_frames_reads_all_of_them_and_one_without_tokens_reads_one():
    longer = make_batch(3, lengths={"text": 10, "vision": 3})
    assert SPEC.length["vision"] == 9
    method = make("misa").eval()
    assert all(changed(method, longer, "vision", frame).all() for frame in range(9))
    without = make_batch(3, lengths={"text": 0, "vision": 3})
    assert [bool(changed(method, without, "vision", frame).any()) for frame in range(3)] == [True, False, False]


def test_lengths_of_the_own_kind_ignore_padding():
    batch = make_batch(4, lengths={"audio": 6})
    for mode, sees in (("text", True), ("own", False)):
        assert changed(make("misa", av_lengths=mode).eval(), batch, "audio", 6).any() == sees
    assert batch.text.lengths.max() > 6


def test_text_is_the_mean_of_its_tokens_and_nothing_is_zeros(batch):
    valid = batch.text.valid.clone()
    valid[2] = False
    batch = replace(batch, text=replace(batch.text, valid=valid))
    method = make("misa").eval()
    hidden, projected = method.encoder(batch.text), method.project_utterances(batch)["text"]
    for i, tokens in enumerate(valid):
        mean = hidden[i, tokens].mean(0) if tokens.any() else torch.zeros(16)
        torch.testing.assert_close(projected[i], method.projection["text"](mean))


def test_the_six_vectors_are_a_sequence_for_a_layer_with_its_norms_last(batch):
    method = make("misa").eval()
    layer, prediction = method.transformer, method.predict(batch)
    private, shared = method.split(method.project_utterances(batch))
    x = torch.stack([*(private[n] for n in MODALITIES), *(shared[n] for n in MODALITIES)], 1)
    x = layer.norm1(x + layer.self_attn(x, x, x)[0])
    x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    torch.testing.assert_close(prediction.representation, x.flatten(1))
    first, _, _, last = method.head
    torch.testing.assert_close(prediction.output, last(first(prediction.representation).relu()).squeeze(1))
    assert (layer.self_attn.num_heads, layer.linear1.out_features) == (2, 2048)


def test_what_accumulates_is_clipped_after_every_batch(batch):
    limit = 0.01
    other = make_batch(5, seed=4)
    gradients = []
    for each in (batch, other):
        method = make("misa").eval()
        torch.stack(list(method.loss(each).values())).sum().backward()
        gradients.append({name: p.grad for name, p in method.named_parameters() if p.grad is not None})
    assert any(g.abs().max() > limit for g in gradients[0].values())

    method = make("misa", accumulate=2, gradient_clip=limit).eval()
    optimizers = method.optimizers()
    expected = {name: g.clamp(-limit, limit) for name, g in gradients[0].items()}
    method.update(batch, optimizers, 0)
    for name, g in expected.items():
        torch.testing.assert_close(method.get_parameter(name).grad, g)
    method.update(other, optimizers, 1)
    for name, g in expected.items():
        torch.testing.assert_close(method.get_parameter(name).grad, (g + gradients[1][name]).clamp(-limit, limit))


def test_the_text_encoder_is_trained_by_adam_without_weight_decay_like_the_rest():
    method = make("misa")
    (optimizer,) = method.optimizers()
    assert type(optimizer) is torch.optim.Adam
    settings = [(group["lr"], group["weight_decay"], group["betas"]) for group in optimizer.param_groups]
    assert settings == [(1e-4, 0, (0.9, 0.999))] * 2
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(method.parameters()))


def test_official_values_are_those_of_mmsa(official_method):
    methods = [official_method("misa", dims) for dims in ("mosi", "mosei", "sims")]
    values = [method.hyperparameters for method in methods]
    for h in values:
        assert (h.learning_rate, h.width, h.accumulate, h.patience, h.av_lengths) == (1e-4, 128, 2, 8, "text")
    assert [h.batch_size for h in values] == [16, 64, 64]
    assert [h.dropout for h in values] == [method.head[1].p for method in methods] == [0.2, 0.5, 0.0]
    assert [h.difference_weight for h in values] == [0.1, 0.3, 0.3]
    assert [h.similarity_weight for h in values] == [0.3, 0.8, 1.0]
    assert [h.reconstruction_weight for h in values] == [1.0, 1.0, 0.8]
    assert [h.gradient_clip for h in values] == [0.8, 0.8, 1.0]
    assert all(method.transformer.dropout.p == method.transformer.self_attn.dropout == 0.1 for method in methods)
