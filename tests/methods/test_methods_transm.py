from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from tiny_methods import make, make_batch, spec_for
from torch import nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods import resolve
from elision.methods.transm import Attention, Layer, Reader, Steps, absolute_error

TERMS = ("to_vision", "from_vision", "to_audio", "from_audio")


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=spec_for("transm"))


def steps(length: int, valid: int) -> Steps:
    return Steps(torch.randn(3, length, 8), (torch.arange(length) < valid).expand(3, -1))


def copied(attention: Attention, other: nn.MultiheadAttention) -> None:
    projections = attention.query, attention.key, attention.value
    other.in_proj_weight.copy_(torch.cat([layer.weight for layer in projections]))
    other.in_proj_bias.copy_(torch.cat([layer.bias for layer in projections]))
    other.out_proj.load_state_dict(attention.out.state_dict())


@torch.no_grad()
def test_layers_without_the_relu_are_those_of_the_transformer():
    torch.manual_seed(0)
    own, source = steps(6, 5), steps(9, 4)
    sizes = {"dropout": 0.0, "batch_first": True}
    for decodes in (False, True):
        layer = Layer(8, 2, 12, dropout=0.0, relu=False, decodes=decodes)
        kind = nn.TransformerDecoderLayer if decodes else nn.TransformerEncoderLayer
        other = kind(8, 2, 12, **sizes)
        for attention, name in zip(layer.attentions, ("self_attn", "multihead_attn"), strict=False):
            copied(attention, getattr(other, name))
        other.linear1.load_state_dict(layer.feed_forward[0].state_dict())
        other.linear2.load_state_dict(layer.feed_forward[2].state_dict())
        if decodes:
            masks = {"tgt_key_padding_mask": ~own.attended, "memory_key_padding_mask": ~source.attended}
            expected = other(own.values, source.values, **masks)
        else:
            expected = other(own.values, src_key_padding_mask=~own.attended)
        found = layer(own, source if decodes else None)
        torch.testing.assert_close(found.values[:, :5], expected[:, :5])
        assert found.attended is own.attended


def test_a_relu_follows_every_projection_of_the_attention():
    torch.manual_seed(0)
    attention, x = Attention(8, 1, relu=True), steps(4, 4)
    query, key, value = (F.relu(layer(x.values)) for layer in (attention.query, attention.key, attention.value))
    weights = (query @ key.mT / 8**0.5).softmax(2)
    torch.testing.assert_close(attention(x.values, x), F.relu(attention.out(weights @ value)))


@pytest.mark.parametrize("kind", ["convolution", "gru"])
def test_a_reader_reads_no_padding(kind):
    torch.manual_seed(0)
    reader = Reader(5, 8, kind=kind, read_lost=True).eval()
    valid = (torch.arange(9) < 4).expand(3, -1)
    padded = Sequence(torch.randn(3, 9, 5) * valid[..., None], valid, valid)
    own = Sequence(*(t[:, :4] for t in (padded.values, padded.valid, padded.observed)))
    torch.testing.assert_close(reader(padded).values[:, :4], reader(own).values)
    assert torch.equal(reader(padded).attended, valid)


def test_lost_frames_are_attended_unless_told_otherwise(batch):
    for read_lost in (True, False):
        reader = Reader(5, 8, kind="convolution", read_lost=read_lost)
        attended = reader(batch.audio).attended
        expected = batch.audio.valid if read_lost else batch.audio.observed
        assert torch.equal(attended[:, 1:], expected[:, 1:])
        assert attended.any(1).all()


def test_the_translation_back_starts_from_what_the_first_has_decoded_and_not_from_the_modality(batch):
    method = make("transm").eval()
    seen = {}
    method.forwards["audio"].register_forward_hook(lambda _m, given, out: seen.update(first=(given, out)))
    method.backwards["audio"].register_forward_hook(lambda _m, given, out: seen.update(second=(given, out)))
    joint, predicted = method.translate(batch)
    (source, target), (_, decoded) = seen["first"]
    (again, text), (encoded, _) = seen["second"]
    assert again is decoded and text is source and target.values.shape[1] == batch.audio.values.shape[1]
    assert predicted["from_audio"][0].shape == batch.text.values.shape
    assert predicted["to_audio"][0].shape == batch.audio.values.shape
    assert joint.shape == (7, 7 * 8)
    torch.testing.assert_close(joint[:, 24:32], method.pool(encoded))


def test_each_translation_is_charged_ten_times_its_mean_absolute_error_on_complete_frames(batch):
    method = make("transm").eval()
    terms = method.loss(batch)
    assert set(terms) == {"sentiment", *TERMS}
    _, predicted = method.translate(batch)
    for term, (frames, name) in predicted.items():
        wanted = getattr(batch.clean, name)
        errors = (frames - wanted.values).abs()[wanted.valid]
        assert terms[term].item() == pytest.approx(10 * errors.mean().item(), rel=1e-5)
    complete = batch.clean
    other = replace(complete, audio=replace(complete.audio, values=complete.audio.values + 1))
    changed = method.loss(replace(batch, clean=other))
    assert {term for term in terms if not torch.equal(terms[term], changed[term])} == {"to_audio"}


def test_observed_targets_need_no_complete_data(batch):
    method = make("transm", targets="observed").eval()
    terms = method.loss(replace(batch, clean=None))
    frames, _ = method.translate(batch)[1]["to_vision"]
    errors = (frames - batch.vision.values).abs()[batch.vision.observed]
    assert terms["to_vision"].item() == pytest.approx(10 * errors.mean().item(), rel=1e-5)


def test_without_a_frame_to_give_a_translation_costs_nothing():
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert absolute_error(torch.ones(2, 3, 4), torch.zeros(2, 3, 4), none).item() == 0


def test_gradients_of_a_translation_reach_its_own_networks_alone(batch):
    method = make("transm").eval()
    for term, expected in {
        "to_vision": {"readers.text", "readers.vision", "forwards.vision"},
        "from_vision": {"readers.text", "readers.vision", "forwards.vision", "backwards.vision"},
    }.items():
        method.zero_grad()
        method.loss(batch)[term].backward()
        reached = {".".join(key.split(".")[:2]) for key, p in method.named_parameters() if p.grad is not None}
        assert reached == expected


def test_a_relu_on_predicted_features_makes_none_negative(batch):
    for relu in (True, False):
        _, predicted = make("transm", relu_output=relu).eval().translate(batch)
        assert all((frames < 0).any().item() != relu for frames, _ in predicted.values())


def test_without_translations_back_their_networks_and_terms_are_gone(batch):
    full, without = make("transm"), make("transm", backward=False)
    assert set(full.loss(batch)) - set(without.loss(batch)) == {"from_vision", "from_audio"}
    assert not any(key.startswith("backwards") for key, _ in without.named_parameters())
    assert without.head.in_features == 5 * 8 < full.head.in_features


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_vector_of_a_sequence_is_its_last_step_or_the_mean_of_its_steps(pooling):
    values, attended = steps(6, 4)
    expected = values[:, 3] if pooling == "last" else values[:, :4].mean(1)
    torch.testing.assert_close(make("transm", pooling=pooling).pool(Steps(values, attended)), expected)


def test_sizes_of_the_code_are_allowed_and_heads_must_divide_the_width():
    code = {"width": 100, "encoder_layers": 10, "decoder_layers": 5, "reader": "gru", "relu_output": True}
    hyperparameters, _ = resolve("transm", "mosi", code)
    assert (hyperparameters.heads, hyperparameters.dropout, hyperparameters.translation_weight) == (5, 0.5, 10.0)
    with pytest.raises(ValidationError, match="5 heads do not divide a width of 12"):
        type(hyperparameters)(width=12)
