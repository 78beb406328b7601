from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, rows, spec_for
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import build, resolve
from elision.methods.layers.text_encoder import StubEncoder
from elision.methods.mctn import Decoder, Encoder
from elision.task import OFFICIAL_SPECS

SPEC = spec_for("mctn")
# Counted on MMSA's class.
COUNTS = {
    "": 763778,
    "first_encoder": 206336,
    "first_decoder": 265504,
    "second_encoder": 17920,
    "second_decoder": 265504,
    "second_decoder.attention second_decoder.score": 2080,
    "summary score out": 8514,
}


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=SPEC)


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def lstm_step(lstm: torch.nn.LSTM, x: torch.Tensor, direction: str) -> torch.Tensor:
    """One step of one direction of an LSTM, from a state of zeros."""
    weight, first, second = (getattr(lstm, f"{part}_l0{direction}") for part in ("weight_ih", "bias_ih", "bias_hh"))
    i, _, g, o = (weight @ x + first + second).chunk(4)
    return o.sigmoid() * (i.sigmoid() * g.tanh()).tanh()


@pytest.mark.parametrize("dims", ["mosi", "mosei", "sims"])
def test_parameters_are_as_many_as_in_the_released_class(official_method, dims):
    assert_counts(official_method("mctn", dims), COUNTS)


def test_text_of_300_values_has_fewer_parameters():
    with torch.device("meta"):
        method = build("mctn", resolve("mctn", "mosi")[0], OFFICIAL_SPECS["mosi"], StubEncoder(300))
    assert_counts(method, {"": 343514, "summary score out": 8514})


def test_an_encoder_sums_its_directions_and_gives_a_start():
    torch.manual_seed(0)
    encoder, x = Encoder(5, 4), torch.randn(3, 6, 5)
    states, start = encoder(x)
    outputs, _ = encoder.lstm(x)
    torch.testing.assert_close(states, outputs[..., :4] + outputs[..., 4:])
    last = outputs[:, -1, :4] + outputs[:, 0, 4:]  # backwards, the first step is the last that is read
    torch.testing.assert_close(start, torch.tanh(last @ encoder.start.weight.T))


def test_a_decoder_equals_the_loops():
    torch.manual_seed(0)
    decoder, source, state, target = Decoder(5, 4), torch.randn(2, 6, 4), torch.randn(2, 4), torch.randn(2, 3, 5)
    found = decoder(source, state, target)
    for i in range(2):
        assert not found[i, 0].any()
        current = state[i]
        for t in (1, 2):
            scores = [decoder.score(torch.tanh(decoder.attention(torch.cat([current, s])))) for s in source[i]]
            weights = torch.cat(scores).softmax(0)
            context = sum(w * s for w, s in zip(weights, source[i], strict=True))
            given = torch.cat([target[i, t - 1], context])
            current = lstm_step(decoder.lstm, given, "") + lstm_step(decoder.lstm, given, "_reverse")
            torch.testing.assert_close(found[i, t], decoder.out(torch.cat([current, context])))


def test_a_target_of_one_step_is_predicted_as_zeros():
    assert not Decoder(5, 4)(torch.randn(2, 6, 4), torch.randn(2, 4), torch.randn(2, 1, 5)).any()


def test_every_loss_term_equals_the_loops(batch):
    method = make("mctn", translation_weight=0.3).eval()
    text, vision, audio = (method.sequence(name, batch) for name in ("text", "vision", "audio"))
    joint, start = method.first_encoder(text)
    translated = method.first_decoder(joint, start, vision)
    back = method.first_decoder(*method.first_encoder(translated), text)
    states, start = method.second_encoder(joint)
    second = method.second_decoder(states, start, audio)
    expected = {
        "sentiment": np.abs(array(method.predict(batch).output) - array(batch.label)).mean(),
        "translation": 0.3 * ((array(translated) - array(vision)) ** 2).mean(),
        "cycle": 0.3 * ((array(back) - array(text)) ** 2).mean(),
        "second_translation": 0.3 * ((array(second) - array(audio)) ** 2).mean(),
    }
    assert {k: term.item() for k, term in method.loss(batch).items()} == pytest.approx(expected, rel=1e-4)


def test_the_summary_is_a_mean_over_time_with_learnt_weights(batch):
    method = make("mctn").eval()
    joint, _ = method.first_encoder(method.sequence("text", batch))
    read = method.summary(method.second_encoder(joint)[0])[0]
    prediction = method.predict(batch)
    for i, steps in enumerate(array(read)):
        scores = np.exp(np.tanh(steps @ array(method.score.weight)[0] + array(method.score.bias)))
        expected = (scores / scores.sum()) @ steps
        np.testing.assert_allclose(array(prediction.representation[i]), expected, atol=1e-6)
        output = expected @ array(method.out.weight)[0] + array(method.out.bias)[0]
        assert prediction.output[i].item() == pytest.approx(output, abs=1e-6)


def test_sequences_are_as_wide_as_the_widest_and_are_cut(batch):
    method = make("mctn", max_length=6)
    width = method.encoder.width
    audio = method.sequence("audio", batch)
    assert audio.shape == (7, 6, width)
    assert torch.equal(audio, F.pad(batch.audio.values[:, :6], (0, width - SPEC.audio)))


@pytest.mark.parametrize("source", ["text", "audio"])
def test_a_prediction_reads_the_first_modality_alone(batch, source):
    others = [name for name in ("audio", "vision", "text") if name != source]
    method = make("mctn", order=(source, *others)).eval()
    expected = method.predict(batch).output
    other = make_batch(7, spec=SPEC, seed=1)
    without = replace(batch, **{name: getattr(other, name) for name in others})
    assert torch.equal(method.predict(without).output, expected)
    assert not torch.equal(method.predict(replace(batch, **{source: getattr(other, source)})).output, expected)


def test_targets_of_translations_get_no_gradient(batch):
    method = make("mctn", finetune_text_encoder=True, order=("audio", "text", "vision"))
    terms = method.loss(batch)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None for p in method.encoder.parameters())


def test_the_released_layers_run_over_the_batch(batch):
    first = make_batch(7, spec=SPEC, seed=1)
    mixed = replace(batch, text=replace(batch.text, values=batch.text.values.clone()))
    mixed.text.values[0] = first.text.values[0]
    mixed.text.valid[0], mixed.text.observed[0] = first.text.valid[0], first.text.observed[0]
    for axis, others in (("time", False), ("batch", True)):
        method = make("mctn", time_axis=axis).eval()
        changed = (method.predict(mixed).output - method.predict(batch).output).abs() > 1e-7
        assert changed[0] and changed[1:].any() == others
        assert method.one_by_one != others
        if not others:
            alone = method.predict(rows(batch, torch.tensor([2]))).output
            torch.testing.assert_close(alone[0], method.predict(batch).output[2])


def test_running_over_the_batch_is_running_over_time_on_turned_sequences(batch):
    turned, straight = make("mctn", time_axis="batch").eval(), make("mctn").eval()
    text, given = straight.sequence("text", batch), turned.sequence("text", batch)
    assert torch.equal(given, text.transpose(0, 1))
    states = straight.second_encoder(straight.first_encoder(given)[0])[0]
    read = straight.summary(states)[0].transpose(0, 1)
    expected = ((straight.score(read).tanh()).softmax(1) * read).sum(1)  # attention is over time in both
    torch.testing.assert_close(turned.predict(batch).representation, expected)


def test_sequences_of_different_lengths_are_translated_only_over_time():
    spec = replace(SPEC, length={"text": 10, "audio": 12, "vision": 9})
    method = make("mctn", spec=spec, alignment="none")
    lengths = [method.sequence(name, make_batch(3, spec=spec)).shape[1] for name in method.hyperparameters.order]
    assert lengths == [10, 9, 12] and all(a != b for a, b in pairwise(lengths))
    assert all(term.isfinite() for term in method.loss(make_batch(3, spec=spec)).values())
    with pytest.raises(ElisionError, match="batch needs sequences of equal length; set alignment to words or pooled"):
        resolve("mctn", "mosi", {"time_axis": "batch", "alignment": "none"})


def test_every_modality_is_named_once():
    with pytest.raises(ElisionError, match="order has a modality twice; name each of text, audio, vision once"):
        resolve("mctn", "mosi", {"order": ["text", "audio", "text"]})


def test_classes_have_logits():
    method = make("mctn", spec=spec_for("mctn", CLASSES)).eval()
    batch = make_batch(5, spec=method.spec)
    likelihood = method.predict(batch).output.softmax(1)[range(5), batch.label]
    assert method.loss(batch)["sentiment"].item() == pytest.approx(-likelihood.log().mean().item())


def test_the_norm_of_the_gradient_is_limited(batch):
    method = make("mctn", gradient_clip=1e-3).eval()
    method.update(batch, method.optimizers(), 0)
    norm = torch.stack([p.grad.norm() for p in method.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


def test_official_values_are_those_of_mmsa():
    h = resolve("mctn", "mosi")[0]
    assert (h.batch_size, h.learning_rate, h.patience, h.gradient_clip) == (32, 1e-4, 8, 1.0)
    assert (h.hidden, h.max_length, h.translation_weight, h.order) == (32, 50, 0.1, ("text", "vision", "audio"))
    (optimizer,) = make("mctn").optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [("method", 1e-4, 0)]


def test_it_learns_what_the_text_tells():
    batch = make_batch(16, spec=SPEC, lost=0.0, lengths=SPEC.length)
    score = torch.tensor([-1.0, 1.0] * 8)
    batch.text.values[:, 1] = torch.where(score > 0, 20, 21)
    batch = replace(batch, label=score)
    method = make("mctn", learning_rate=3e-3).train()
    optimizers = method.optimizers()
    for _ in range(60):
        method.update(batch, optimizers, 0)
    assert (method.eval().predict(batch).output - score).abs().mean() < 0.25  # a constant has 1
