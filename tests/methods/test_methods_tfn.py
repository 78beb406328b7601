from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch
from torch import nn

from elision.methods.tfn import MeanSubnet, TextSubnet, outer_product

# Counted on the released class, without its two constants.
COUNTS = {
    "mosi": {
        "": 9497043,
        "audio_subnet": 2314,
        "vision_subnet": 35752,
        "text_subnet": 463904,
        "fusion.1": 8990848,
        "fusion.3": 4160,
        "out": 65,
    },
    "mosei": {
        "": 5042539,
        "audio_subnet": 1892,
        "vision_subnet": 37702,
        "text_subnet": 476288,
        "fusion.1": 4526368,
        "fusion.3": 272,
        "out": 17,
    },
    "sims": {
        "": 35632077,
        "audio_subnet": 3266,
        "vision_subnet": 125322,
        "text_subnet": 492800,
        "fusion.1": 35009600,
        "fusion.3": 1056,
        "out": 33,
    },
}


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    assert_counts(official_method("tfn", dims), COUNTS[dims])


def test_the_outer_product_multiplies_every_value_and_a_one_with_every_other():
    torch.manual_seed(0)
    audio, vision, text = torch.randn(2, 2), torch.randn(2, 3), torch.randn(2, 4)
    product = outer_product(audio, vision, text)
    expected = []
    for sample in range(2):
        with_one = [[1.0, *vector[sample].tolist()] for vector in (audio, vision, text)]
        expected.append([a * v * t for a in with_one[0] for v in with_one[1] for t in with_one[2]])
    torch.testing.assert_close(product, torch.tensor(expected))
    assert torch.equal(product[:, 0], torch.ones(2))
    torch.testing.assert_close(product[:, 1:5], text)  # 1 * 1 * text
    torch.testing.assert_close(product[:, 5 * 4 :: 5 * 4], audio)  # audio * 1 * 1


def test_audio_and_vision_are_normalised_and_pass_three_layers():
    torch.manual_seed(0)
    subnet, x = MeanSubnet(5, 4, 0.3), torch.randn(6, 5)
    subnet(x + 2)  # moves the running statistics
    norm = subnet[0]
    expected = array(x)
    expected = (expected - array(norm.running_mean)) / np.sqrt(array(norm.running_var) + 1e-5)
    linears = [layer for layer in subnet if isinstance(layer, nn.Linear)]
    assert len(linears) == 3
    for linear in linears:
        expected = np.maximum(expected @ array(linear.weight).T + array(linear.bias), 0)
    np.testing.assert_allclose(array(subnet.eval()(x)), expected, atol=1e-5)


def test_the_text_lstm_runs_over_padding_and_has_no_dropout(batch):
    torch.manual_seed(0)
    subnet, x = TextSubnet(3, 4, 2).train(), torch.randn(2, 5, 3)
    cell = nn.LSTMCell(3, 4)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in subnet.lstm.state_dict().items()})
    state = (torch.zeros(2, 4), torch.zeros(2, 4))
    for step in range(5):
        state = cell(x[:, step], state)
    torch.testing.assert_close(subnet(x), subnet.out(state[0]))

    method = make("tfn").eval()
    hidden = method.encoder(batch.text)
    short = batch.text.lengths.argmin()
    assert not batch.text.valid[short, -1]
    before = method.text_subnet(hidden)
    hidden[short, -1] += 1
    after = method.text_subnet(hidden)
    assert [i for i in range(len(batch)) if not torch.allclose(before[i], after[i])] == [short]


def test_the_outer_product_of_the_three_vectors_is_read_by_two_layers_and_squashed(batch):
    method = make("tfn").eval()
    vectors = (
        method.audio_subnet(batch.audio.values.mean(1)),
        method.vision_subnet(batch.vision.values.mean(1)),
        method.text_subnet(method.encoder(batch.text)),
    )
    prediction = method.predict(batch)
    hidden = array(outer_product(*vectors))
    for linear in (method.fusion[1], method.fusion[3]):
        hidden = np.maximum(hidden @ array(linear.weight).T + array(linear.bias), 0)
    np.testing.assert_allclose(array(prediction.representation), hidden, atol=1e-5)
    raw = hidden @ array(method.out.weight)[0] + array(method.out.bias)
    np.testing.assert_allclose(array(prediction.output), 6 / (1 + np.exp(-raw)) - 3, atol=1e-5)


def test_means_divide_by_the_padded_length_or_by_that_of_the_sample(batch):
    audio = batch.audio
    expected = {"padded": [], "valid": []}
    for i, length in enumerate(audio.lengths.tolist()):
        total = array(audio.values[i, :length]).sum(0)  # missing frames are zeros, and count
        expected["padded"].append(total / SPEC.length["audio"])
        expected["valid"].append(total / length)
    for mean, values in expected.items():
        np.testing.assert_allclose(array(make("tfn", mean=mean).mean_frame(audio)), values, atol=1e-6)
    padded, valid = (make("tfn", mean=mean).eval().predict(batch).output for mean in expected)
    assert not torch.allclose(padded, valid)


def test_the_mean_of_no_frames_is_zero():
    audio = make_batch(3, lengths={"audio": 0}).audio
    for mean in ("padded", "valid"):
        assert not make("tfn", mean=mean).mean_frame(audio).any()


@pytest.mark.parametrize(
    ("corpus", "output_range", "limit"),
    [("mosi", "mosi", 3), ("mosi", "corpus", 3), ("sims", "mosi", 3), ("sims", "corpus", 1)],
)
def test_scores_lie_in_the_range_of_mosi_or_of_the_corpus(corpus, output_range, limit, batch):
    method = make("tfn", spec=replace(SPEC, corpus=corpus), output_range=output_range).eval()
    prediction = method.predict(batch)
    raw = method.out(prediction.representation).squeeze(1)
    torch.testing.assert_close(prediction.output, limit * torch.tanh(raw / 2))  # the same as a sigmoid, scaled
    with torch.no_grad():
        for bias, bound in ((1e3, limit), (-1e3, -limit)):
            method.out.bias.fill_(bias)
            assert torch.equal(method.predict(batch).output, torch.full((len(batch),), float(bound)))


def test_the_loss_is_the_mean_absolute_error(batch):
    method = make("tfn").eval()
    expected = np.abs(array(method.predict(batch).output) - array(batch.label)).mean()
    terms = method.loss(batch)
    assert set(terms) == {"sentiment"} and terms["sentiment"].item() == pytest.approx(expected)


def test_class_logits_are_not_squashed_and_are_learnt_by_cross_entropy():
    batch, method = make_batch(7, spec=CLASSES), make("tfn", spec=CLASSES).eval()
    with torch.no_grad():
        method.out.bias.copy_(torch.tensor([0.0, 10.0, -20.0]))
    logits = array(method.predict(batch).output)
    raw = method.out(method.predict(batch).representation)
    np.testing.assert_allclose(logits, array(raw))
    chosen = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, batch.label.tolist(), strict=True)]
    assert method.loss(batch)["sentiment"].item() == pytest.approx(np.mean(chosen), rel=1e-5)


def test_adam_has_one_group_without_decay_and_a_slow_one_where_the_text_encoder_is_trained():
    (optimizer,) = make("tfn").optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [("method", 1e-3, 0)]
    (optimizer,) = make("tfn", finetune_text_encoder=True).optimizers()
    assert [(g["name"], g["lr"]) for g in optimizer.param_groups] == [("method", 1e-3), ("text encoder", 5e-5)]


def test_the_text_encoder_is_frozen_unless_it_is_asked_for(batch):
    assert not any(p.requires_grad for p in make("tfn").encoder.parameters())
    method = make("tfn", finetune_text_encoder=True).train()
    method.loss(batch)["sentiment"].backward()
    assert method.encoder.training and any(p.grad.any() for p in method.encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("module", ["audio", "vision", "fusion"])
def test_dropout_is_where_it_is_configured(module):
    none = {"audio_dropout": 0, "vision_dropout": 0, "fusion_dropout": 0}
    method = make("tfn", **{**none, f"{module}_dropout": 0.25})
    rates = {name: m.p for name, m in method.named_modules() if isinstance(m, nn.Dropout) and "encoder" not in name}
    position = {"audio": "audio_subnet.1", "vision": "vision_subnet.1", "fusion": "fusion.0"}
    assert {name for name, rate in rates.items() if rate} == {position[module]} and len(rates) == 3


def test_official_values_are_those_of_mmsa(official_method):
    mosi, mosei, sims = (official_method("tfn", dims).hyperparameters for dims in COUNTS)
    for h, values in (
        (mosi, (32, 1e-3, 128, 32, 32, 128, 64, 0.3, 0.3, 0.5)),
        (mosei, (128, 5e-3, 128, 128, 16, 128, 16, 0.4, 0.4, 0.4)),
        (sims, (32, 5e-4, 128, 256, 32, 128, 32, 0.4, 0.4, 0.4)),
    ):
        widths = (h.text_hidden, h.text_width, h.audio_width, h.vision_width, h.fusion_width)
        dropouts = (h.audio_dropout, h.vision_dropout, h.fusion_dropout)
        assert (h.batch_size, h.learning_rate, *widths, *dropouts) == values
        assert (h.accumulate, h.patience, h.mean, h.output_range) == (1, 8, "padded", "mosi")
