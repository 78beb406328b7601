from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import SPEC, assert_counts, make, make_batch, spec_for

from elision.methods import build, resolve
from elision.methods.layers.crossmodal import CrossmodalEncoder
from elision.methods.layers.label_generation import HEADS
from elision.methods.layers.text_encoder import StubEncoder
from elision.methods.tetfn import SequenceSubnet, TextEnhancedEncoder
from elision.task import OFFICIAL_SPECS

# The parameters of MMSA's class, by its submodules.
ENCODERS = {
    "text_from_audio": 61400,
    "text_from_vision": 61400,
    "audio_from_text": 61400,
    "audio_from_vision": 92150,
    "vision_from_text": 61400,
    "vision_from_audio": 92150,
    "memories.text": 242800,
    "memories.audio": 242800,
    "memories.vision": 242800,
    "heads.fusion.feature": 19264,
    "heads.fusion.hidden": 4160,
    "heads.fusion.out": 65,
}
WIDE_TEXT = {"heads.text.feature": 3264, "heads.text.hidden": 4160, "heads.text.out": 65}
COUNTS = {
    "mosi": {
        **ENCODERS,
        "": 1254224,
        "audio_subnet": 2272,
        "vision_subnet": 25216,
        "text_projection": 38400,
        "heads.text.feature": 1632,
        "heads.text.hidden": 1056,
        "heads.text.out": 33,
        "heads.audio.feature": 1632,
        "heads.audio.hidden": 1056,
        "heads.audio.out": 33,
        "heads.vision.feature": 816,
        "heads.vision.hidden": 272,
        "heads.vision.out": 17,
    },
    "mosei": {
        **ENCODERS,
        **WIDE_TEXT,
        "": 1257360,
        "audio_subnet": 15424,
        "vision_subnet": 10432,
        "text_projection": 38400,
        "heads.audio": 1632 + 1056 + 33,
        "heads.vision": 816 + 272 + 17,
    },
    "sims": {
        **ENCODERS,
        **WIDE_TEXT,
        "": 1529968,
        "audio_subnet": 7264,
        "vision_subnet": 214400,
        "text_projection": 115200,
        "heads.audio": 816 + 272 + 17,
        "heads.vision": 1632 + 1056 + 33,
    },
}


@pytest.fixture
def batch():
    """Seven utterances whose audio and vision are aligned to the text, half of each lost."""
    return make_batch(7, spec=spec_for("tetfn"))


def sequences(method, batch):
    """The sequence of each modality before any attention."""
    return (
        method.text_projection(method.encoder(batch.text)),
        method.audio_subnet(batch.audio.values),
        method.vision_subnet(batch.vision.values),
    )


@pytest.mark.parametrize("dims", ["mosi", "mosei", "sims"])
def test_it_has_the_parameters_of_the_released_code(dims, official_method):
    method = official_method("tetfn", dims)
    assert_counts(method, COUNTS[dims])
    assert all(p.requires_grad for p in method.parameters())


def test_official_values_are_those_of_mmsa(official_method):
    mosi, mosei, sims = (official_method("tetfn", dims).hyperparameters for dims in ("mosi", "mosei", "sims"))
    assert [h.batch_size for h in (mosi, mosei, sims)] == [64, 32, 64]
    assert [h.alignment for h in (mosi, mosei, sims)] == ["words", "words", "pooled"]
    assert [h.vision_kernel for h in (mosi, mosei, sims)] == [3, 1, 1]
    rates = [(h.learning_rate_audio, h.learning_rate_vision, h.learning_rate) for h in (mosi, mosei, sims)]
    assert rates == [(5e-4, 3e-4, 3e-4), (1e-3, 5e-3, 1e-4), (3e-3, 5e-4, 3e-3)]
    decays = [(h.weight_decay_audio, h.weight_decay_vision, h.weight_decay) for h in (mosi, mosei, sims)]
    assert decays == [(1e-2, 0, 1e-2), (0, 1e-3, 1e-2), (0, 1e-2, 1e-3)]
    dropouts = [
        (h.attention_dropout, h.attention_dropout_audio, h.attention_dropout_vision) for h in (mosi, mosei, sims)
    ]
    assert dropouts == [(0.1, 0, 0.1), (0.1, 0, 0.1), (0, 0.1, 0)]
    others = [(h.relu_dropout, h.embedding_dropout, h.residual_dropout) for h in (mosi, mosei, sims)]
    assert others == [(0, 0, 0.1), (0.1, 0.1, 0), (0.1, 0, 0)]
    for h in (mosi, mosei, sims):
        assert (h.accumulate, h.patience, h.learning_rate_text_encoder, h.weight_decay_text_encoder) == (
            4,
            8,
            3e-5,
            1e-3,
        )


def test_what_is_fused_is_the_last_step_of_each_memory_and_what_the_heads_read_is_the_maximum_over_time(batch):
    method = make("tetfn").eval()
    text, audio, vision = sequences(method, batch)
    enhanced_audio = method.audio_from_vision.upper(audio, method.audio_from_vision.lower(vision, text))
    enhanced_vision = method.vision_from_audio.upper(vision, method.vision_from_audio.lower(audio, text))
    pairs = {
        "text": [method.text_from_audio(text, audio), method.text_from_vision(text, vision)],
        "audio": [method.audio_from_text(audio, text), enhanced_audio],
        "vision": [method.vision_from_text(vision, text), enhanced_vision],
    }
    expected = torch.cat([method.memories[name](torch.cat(pair, 2))[:, -1] for name, pair in pairs.items()], 1)
    read = method.represent(batch)
    torch.testing.assert_close(read["fusion"], expected)
    for name, sequence in (("text", text), ("audio", audio), ("vision", vision)):
        np.testing.assert_array_equal(read[name].detach(), sequence.detach().numpy().max(1))


def test_every_attention_is_causal_and_only_the_one_through_the_text_has_positions():
    method = make("tetfn")
    settings = {
        name: (module.causal, module.positions)
        for name, module in method.named_modules()
        if hasattr(module, "positions")
    }
    assert len(settings) == 4 + 2 * 2 + 3
    for name, (causal, positions) in settings.items():
        assert causal and positions == name.startswith(("audio_from_vision", "vision_from_audio"))


def test_attention_of_the_text_has_dropouts_of_its_own_and_the_lower_encoder_one_layer(official_method):
    method = official_method("tetfn", "sims")
    dropouts = {name: m.attention_dropout.p for name, m in method.named_modules() if isinstance(m, CrossmodalEncoder)}
    assert dropouts.pop("text_from_audio") == 0.1
    assert dropouts.pop("text_from_vision") == 0 and set(dropouts.values()) == {0}
    assert len(method.audio_from_vision.lower.layers) == 1 and len(method.audio_from_vision.upper.layers) == 2


def test_a_modality_enhanced_by_text_keeps_its_own_length():
    torch.manual_seed(0)
    encoder = TextEnhancedEncoder(8, heads=2, layers=2)
    x, other, text = torch.randn(2, 7, 8), torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    assert encoder.upper(x, encoder.lower(other, text)).shape == (2, 7, 8)


def test_the_subnet_reads_padded_frames_too():
    torch.manual_seed(0)
    subnet, audio = SequenceSubnet(5, 4, 6, 1), make_batch(3, lengths={"audio": 4}).audio
    states, _ = subnet.lstm(audio.values)
    torch.testing.assert_close(subnet(audio.values), states @ subnet.convolution.weight[:, :, 0].T)
    changed = audio.values.clone()
    changed[:, 6] = 1
    assert not torch.allclose(subnet(changed)[:, 6:], subnet(audio.values)[:, 6:])


def test_vision_has_the_kernel_of_audio_unless_it_is_given_its_own(batch):
    shared = make("tetfn", audio_kernel=5)
    own = make("tetfn", audio_kernel=5, tied_kernels=False)
    assert [m.vision_subnet.convolution.kernel_size for m in (shared, own)] == [(5,), (3,)]
    assert own.audio_subnet.convolution.kernel_size == (5,)
    assert [m.vision_subnet(batch.vision.values).shape[1] for m in (shared, own)] == [6, 8]


@pytest.mark.parametrize(("switch", "limit"), [("mosi", 3.0), ("corpus", 1.0)])
def test_generated_labels_are_limited_as_on_mosi_unless_by_the_range_of_the_corpus(switch, limit):
    spec = replace(spec_for("tetfn"), corpus="sims")
    method = make("tetfn", spec=spec, label_limit=switch)
    generator, batch = method.label_generator, make_batch(7, spec=spec)
    features = {head: torch.rand(7, getattr(generator, f"centres_{head}").shape[1]) for head in HEADS}
    for head in HEADS:
        getattr(generator, f"centres_{head}").normal_()
    for head in HEADS[1:]:
        features[head][:] = generator.get_buffer(f"centres_{head}")[0]  # at the centre: infinitely positive
    generator.labels[:] = 0
    generator.on_epoch_start(2)
    generator.remember(features, replace(batch, label=batch.label.abs() + 0.1))
    torch.testing.assert_close(generator.labels[1:, batch.index].abs(), torch.full((3, 7), 2 / 3 * limit))


def test_the_loss_is_the_absolute_error_of_every_head_weighted_by_how_much_its_label_differs(batch):
    method = make("tetfn").eval()
    generator = method.label_generator
    generator.labels[1:] += torch.randn(3, SPEC.samples, generator=torch.Generator().manual_seed(0))
    outputs, terms = method.forward_heads(batch), method.loss(batch)
    assert set(terms) == set(outputs) == set(HEADS)
    truth = batch.label.tolist()
    for row, head in enumerate(HEADS):
        scores, errors = outputs[head][1].tolist(), []
        for i, sample in enumerate(batch.index.tolist()):
            label = truth[i] if head == "fusion" else generator.labels[row, sample].item()
            weight = 1 if head == "fusion" else np.tanh(abs(label - truth[i]))
            errors.append(weight * abs(scores[i] - label))
        assert terms[head].item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_labels_stay_in_the_first_epoch_and_are_generated_from_the_second_on(batch):
    method = make("tetfn").train()
    generator, optimizers = method.label_generator, method.optimizers()
    batch = replace(batch, label=generator.labels[0, batch.index].clone())
    before = generator.labels.clone()
    terms = method.update(batch, optimizers, 0)
    assert torch.equal(generator.labels, before) and all(terms[head] == 0 for head in HEADS[1:])
    assert generator.features_vision[batch.index].any() and generator.centres_vision.any()
    method.on_epoch_start(2)
    method.update(batch, optimizers, 0)
    assert torch.equal(generator.labels[0], before[0])
    assert not torch.isclose(generator.labels[1:, batch.index], before[1:, batch.index]).all()


def test_what_is_represented_is_the_feature_of_the_fusion_head(batch):
    method = make("tetfn").eval()
    feature, score = method.forward_heads(batch)["fusion"]
    prediction = method.predict(batch)
    assert torch.equal(prediction.representation, feature) and torch.equal(prediction.output, score)


def test_subnets_have_rates_and_decays_of_their_own():
    method = make("tetfn")
    (optimizer,) = method.optimizers()
    assert type(optimizer) is torch.optim.Adam
    groups = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert groups == {
        "text encoder": (3e-5, 1e-3),
        "text encoder, no decay": (3e-5, 0.0),
        "audio": (5e-4, 1e-2),
        "vision": (3e-4, 0.0),
        "rest": (3e-4, 1e-2),
    }
    held = {group["name"]: {id(p) for p in group["params"]} for group in optimizer.param_groups}
    assert held["audio"] == {id(p) for p in method.audio_subnet.parameters()}
    assert held["vision"] == {id(p) for p in method.vision_subnet.parameters()}
    assert {id(p) for p in method.text_projection.parameters()} < held["rest"]


def test_it_also_takes_modalities_that_are_not_aligned():
    method = make("tetfn", spec=SPEC, alignment="none").eval()
    text, audio, vision = sequences(method, make_batch(3))
    assert [x.shape[1] for x in (text, audio, vision)] == [10, 12, 9]
    assert method.predict(make_batch(3)).output.isfinite().all()


def test_kernels_of_sims_fit_a_modality_that_is_absent():
    hyperparameters, _ = resolve("tetfn", "sims")
    spec = replace(OFFICIAL_SPECS["sims"], audio=1, vision=1, length={"text": 10, "audio": 1, "vision": 1})
    method = build("tetfn", hyperparameters, spec, StubEncoder(16)).eval()
    small = replace(SPEC, audio=1, vision=1, length=spec.length)
    assert method.predict(make_batch(2, spec=small)).output.shape == (2,)
