from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, rows, small, spec_for
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods import build, resolve
from elision.methods.cubemlp import AxisMixer, FrameEncoder
from elision.methods.layers.text_encoder import StubEncoder
from elision.task import MODALITIES, OFFICIAL_SPECS

# Counted on the released class, BERT left out, with the features of its own files: COVAREP and Facet.
OWN = {"mosi": (74, 47), "mosei": (74, 35)}
SAME = {
    "text_projection": 98304,
    "frames.audio.gru": 453120,
    "frames.audio.norm frames.vision.norm": 512,
    "mixers": 73298,
    "mixers.0 mixers.1 mixers.2": 62503,
    "mixers.3 mixers.4 mixers.5": 10795,
    "out": 97,
}
COUNTS = {
    "mosi": {"": 1057715, "frames.vision.gru": 432384, **SAME},
    "mosei": {"": 1048499, "frames.vision.gru": 423168, **SAME},
}
SPEC = spec_for("cubemlp")
LENGTH = small("cubemlp").time_length


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=SPEC)


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("corpus", COUNTS)
def test_parameters_are_as_many_as_in_the_released_class(corpus):
    audio, vision = OWN[corpus]
    spec = replace(OFFICIAL_SPECS[corpus], audio=audio, vision=vision)
    with torch.device("meta"):
        method = build("cubemlp", resolve("cubemlp", corpus)[0], spec, StubEncoder(768))
    assert_counts(method, COUNTS[corpus])


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_mixer_reads_one_axis_of_the_cube_and_nothing_beside_it(axis):
    cube = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mixer = AxisMixer(axis, cube.shape[axis], 6, 0.5).eval()
    mixed = mixer(cube)
    assert mixed.shape == torch.Size(6 if i == axis else size for i, size in enumerate(cube.shape))
    norm, first, _, second, _ = mixer.perceptron
    mixed = mixed.movedim(axis, -1)
    for place, line in zip(
        np.ndindex(mixed.shape[:-1]), cube.movedim(axis, -1).reshape(-1, cube.shape[axis]), strict=True
    ):
        normed = (line - line.mean()) / (line.var(correction=0) + 1e-6).sqrt() * norm.weight + norm.bias
        hidden = F.gelu(first.weight @ normed + first.bias)
        expected = second.weight @ hidden + second.bias + mixer.residual.weight @ line
        torch.testing.assert_close(mixed[place], expected)


def test_each_block_mixes_time_then_modalities_then_channels():
    method = make("cubemlp")
    sizes = [(LENGTH, 3, 16), (6, 3, 16), (4, 3, 8)]
    expected = [(axis, a[axis - 1], b[axis - 1]) for a, b in pairwise(sizes) for axis in (1, 2, 3)]
    found = [(m.axis, m.residual.in_features, m.residual.out_features) for m in method.mixers]
    assert found == expected


def test_frames_are_read_both_ways_as_far_as_the_text_goes():
    torch.manual_seed(0)
    encoder, frames = FrameEncoder(5, 4), torch.randn(3, 6, 5)
    encoded = encoder(frames, torch.tensor([6, 2, 0]))
    for i, length in enumerate((6, 2)):
        outputs, _ = encoder.gru(frames[i, :length])
        summed = encoder.norm(outputs[:, :4] + outputs[:, 4:]).relu()
        torch.testing.assert_close(encoded[i, :length], summed)
    assert not encoded[1, 2:].any()  # the bias of a new norm is 0


def test_recurrent_weights_begin_orthogonal():
    encoder = FrameEncoder(5, 4)
    recurrent = [weight for name, weight in encoder.gru.named_parameters() if "weight_hh" in name]
    assert len(recurrent) == 4
    for weight in recurrent:
        torch.testing.assert_close(weight.T @ weight, torch.eye(4), atol=1e-6, rtol=0)


def test_the_cube_holds_the_encoded_modalities_and_zeros_beyond_the_text(batch):
    method = make("cubemlp").eval()
    cube, valid = method.cube(batch), batch.text.valid
    assert cube.shape == (7, LENGTH, 3, 16)
    text = method.text_projection(method.encoder(batch.text))
    for i, tokens in enumerate(valid):
        torch.testing.assert_close(cube[i, : len(tokens)][tokens][:, 0], text[i][tokens])
        for number, name in enumerate(MODALITIES[1:], start=1):
            frames = getattr(batch, name).values[i][tokens].clone()
            frames[(frames == 0).all(1)] = 1e-6
            encoded = method.frames[name](frames[None], tokens.sum()[None])[0]
            torch.testing.assert_close(cube[i, : len(tokens)][tokens][:, number], encoded)
        assert not cube[i, : len(tokens)][~tokens].any() and not cube[i, len(tokens) :].any()


def test_an_absent_modality_is_read_as_frames_of_a_millionth(batch):
    method = make("cubemlp").eval()
    absent = replace(batch, audio=replace(batch.audio, values=torch.zeros_like(batch.audio.values)))
    tiny = replace(batch, audio=replace(batch.audio, values=torch.full_like(batch.audio.values, 1e-6)))
    torch.testing.assert_close(method.cube(absent), method.cube(tiny))


def test_the_prediction_is_a_linear_layer_on_the_mean_over_time(batch):
    method = make("cubemlp").eval()
    prediction = method.predict(batch)
    mean = array(method.mixers(method.cube(batch))).mean(1).reshape(7, -1)
    np.testing.assert_allclose(array(prediction.representation), mean, atol=1e-6)
    output = mean @ array(method.out.weight)[0] + array(method.out.bias)
    np.testing.assert_allclose(array(prediction.output), output, atol=1e-6)
    error = np.abs(output - array(batch.label)).mean()
    terms = method.loss(batch)
    assert set(terms) == {"sentiment"} and terms["sentiment"].item() == pytest.approx(error, rel=1e-5)


def test_classes_have_logits():
    method = make("cubemlp", spec=spec_for("cubemlp", CLASSES)).eval()
    batch = make_batch(5, spec=method.spec)
    likelihood = method.predict(batch).output.softmax(1)[range(5), batch.label]
    assert method.loss(batch)["sentiment"].item() == pytest.approx(-likelihood.log().mean().item())


def test_a_text_longer_than_the_cube_loses_its_end():
    method = make("cubemlp", time_length=6, blocks=((4, 3, 8),)).eval()
    batch = make_batch(3, spec=SPEC, lengths={"text": 10})
    whole = make("cubemlp", time_length=10, blocks=((4, 3, 8),)).eval()
    assert torch.equal(method.cube(batch), whole.cube(batch)[:, :6])


def test_padding_is_read_up_to_the_longest_text_of_the_batch_only_where_asked_for():
    batch = make_batch(7, spec=SPEC)
    longest = int(batch.text.lengths.max())
    shortest = int(batch.text.lengths.argmin())
    method = make("cubemlp", read_padding=True).eval()
    assert not method.one_by_one and make("cubemlp").one_by_one
    filled = method.cube(batch)[shortest].flatten(1).any(1)
    assert filled[:longest].all() and not filled[longest:].any()
    alone = rows(batch, torch.tensor([shortest]))
    for reads in (True, False):
        outputs = [make("cubemlp", read_padding=reads).eval().predict(each).output for each in (alone, batch)]
        assert torch.allclose(outputs[0][0], outputs[1][shortest], atol=1e-6) != reads


def test_lower_layers_of_the_text_encoder_are_frozen_and_its_embeddings_are_trained(batch):
    method = make("cubemlp", frozen_layers=1)
    method.loss(batch)["sentiment"].backward()
    for name, weight in method.encoder.named_parameters():
        assert weight.requires_grad == ("layer.0." not in name)
        assert (weight.grad is not None) == weight.requires_grad


def test_learning_rates_are_slow_in_the_text_encoder_and_fall_after_sixty_epochs():
    method = make("cubemlp", frozen_layers=0)
    (optimizer,) = method.optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert [(g["name"], g["lr"]) for g in optimizer.param_groups] == [("method", 4e-3), ("text encoder", 4e-5)]
    assert [method.learning_rate_factor(epoch) for epoch in (1, 60, 61)] == pytest.approx([1, 1, 0.1])


def test_every_entry_of_the_gradient_is_clipped(batch):
    method = make("cubemlp", gradient_clip=1e-4).eval()
    method.update(batch, method.optimizers(), 0)
    largest = max(p.grad.abs().max().item() for p in method.parameters() if p.grad is not None)
    assert largest == pytest.approx(1e-4)


def test_official_values_are_those_of_the_command():
    for corpus in ("mosi", "mosei"):
        h = resolve("cubemlp", corpus)[0]
        assert (h.epochs, h.batch_size, h.frozen_layers, h.weight_decay, h.patience) == (70, 128, 9, 0, None)
        assert (h.time_length, h.width, h.blocks) == (100, 128, ((50, 3, 128), (10, 3, 32)))
        assert (h.dropout, h.block_dropout, h.gradient_clip, h.decay_every) == (0.1, 0.1, 1.0, 60)
