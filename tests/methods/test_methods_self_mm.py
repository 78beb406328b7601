from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import SPEC, assert_counts, make, make_batch

from elision.methods.layers.label_generation import HEADS
from elision.methods.self_mm import RecurrentSubnet

# Counted on the released class of Self-MM (thuiar/MMSA), text encoder left out.
COUNTS = {
    "mosi": {
        "": 159332,
        "audio_subnet": 1744,
        "vision_subnet": 7968,
        "heads.fusion.feature": 104576,
        "heads.fusion.hidden": 16512,
        "heads.fusion.out": 129,
        "heads.text.feature": 24608,
        "heads.text.hidden": 1056,
        "heads.text.out": 33,
        "heads.audio.feature": 272,
        "heads.audio.hidden": 272,
        "heads.audio.out": 17,
        "heads.vision.feature": 1056,
        "heads.vision.hidden": 1056,
        "heads.vision.out": 33,
    },
    "mosei": {
        "": 165668,
        "audio_subnet": 6160,
        "vision_subnet": 9888,
        "heads.fusion.feature": 104576,
    },
    "sims": {
        "": 381380,
        "audio_subnet": 3536,
        "vision_subnet": 200480,
        "heads.fusion.feature": 104576,
        "heads.fusion.hidden": 16512,
        "heads.text.feature": 49216,
        "heads.text.hidden": 4160,
        "heads.text.out": 65,
        "heads.audio": 561,
        "heads.vision": 2145,
    },
}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    assert_counts(official_method("self_mm", dims), COUNTS[dims])


LIMIT = SPEC.label_range


def generated(labels, index, truth, features, centres, epoch):
    """The unimodal labels after one batch, one sample and one modality at a time."""
    labels = labels.copy()
    for i, sample in enumerate(index):
        delta = {}
        for head in HEADS:
            to_positive, to_negative = (np.sqrt(((features[head][i] - c) ** 2).sum()) for c in centres[head])
            delta[head] = (to_negative - to_positive) / (to_positive + 1e-8)
        for row, head in enumerate(HEADS):
            if head == "fusion":
                continue
            alpha = delta[head] / (delta["fusion"] + 1e-8)
            new = 0.5 * alpha * truth[i] + 0.5 * (truth[i] + delta[head] - delta["fusion"])
            new = min(max(new, -LIMIT), LIMIT)
            labels[row, sample] = (epoch - 1) / (epoch + 1) * labels[row, sample] + 2 / (epoch + 1) * new
    return labels


def filled(seed: int = 0):
    """A label generator in the middle of a training, a batch, and features of its samples."""
    generator = make("self_mm").label_generator
    random = torch.Generator().manual_seed(seed)
    for head in HEADS:
        for name in ("features", "centres"):
            buffer = getattr(generator, f"{name}_{head}")
            buffer.copy_(torch.rand(buffer.shape, generator=random))
    generator.labels[1:] += torch.randn(3, SPEC.samples, generator=random)
    batch = make_batch(7)
    features = {h: torch.rand(7, getattr(generator, f"centres_{h}").shape[1], generator=random) for h in HEADS}
    return generator, batch, features


def arrays(tensors: dict) -> dict:
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("epoch", [2, 3, 10])
def test_labels_are_generated_as_in_the_worked_example(epoch):
    generator, batch, features = filled()
    centres = {head: getattr(generator, f"centres_{head}").clone() for head in HEADS}
    expected = generated(
        generator.labels.double().numpy(),
        batch.index,
        batch.label.double().numpy(),
        arrays(features),
        arrays(centres),
        epoch,
    )
    generator.on_epoch_start(epoch)
    generator.remember(features, batch)
    np.testing.assert_allclose(generator.labels.numpy(), expected, rtol=1e-4, atol=1e-4)
    others = torch.ones(SPEC.samples, dtype=bool)
    others[batch.index] = False
    assert others.any() and torch.equal(generator.labels[0], torch.linspace(-2, 2, SPEC.samples))


def test_a_sample_nearer_to_the_positive_centre_in_one_modality_gets_a_more_positive_label_there():
    generator, batch, features = filled()
    for head in HEADS:
        getattr(generator, f"centres_{head}").copy_(
            torch.stack([torch.full_like(features[head][0], v) for v in (1.0, -1.0)])
        )
        features[head][:] = 0.1
    features["text"][:] = 0.3
    generator.labels[:] = 0
    batch = replace(batch, label=torch.full((7,), 0.5))
    generator.on_epoch_start(2)
    generator.remember(features, batch)
    # In one dimension times sqrt(width): delta = ((1 + f) - (1 - f)) / (1 - f) = 2 f / (1 - f), 0.2222 and 0.8571.
    fused, text = 0.2 / 0.9, 0.6 / 0.7
    expected = 2 / 3 * (0.5 * text / fused * 0.5 + 0.5 * (0.5 + text - fused))
    torch.testing.assert_close(generator.labels[1, batch.index], torch.full((7,), expected))
    torch.testing.assert_close(generator.labels[2, batch.index], torch.full((7,), 2 / 3 * 0.5))


def test_generated_labels_stay_within_the_label_range():
    generator, batch, features = filled()
    for head in HEADS[1:]:
        features[head][:] = generator.get_buffer(f"centres_{head}")[0]  # at the centre: infinitely positive
    generator.labels[:] = 0
    generator.on_epoch_start(2)
    generator.remember(features, replace(batch, label=batch.label.abs() + 0.1))
    torch.testing.assert_close(generator.labels[1:, batch.index].abs(), torch.full((3, 7), 2 / 3 * LIMIT))


def test_centres_are_means_over_the_whole_memory_by_the_sign_of_each_label():
    generator, batch, features = filled()
    memory = {head: getattr(generator, f"features_{head}").clone() for head in HEADS}
    generator.labels[2, 5] = 0
    generator.remember(features, batch)
    for row, head in enumerate(HEADS):
        memory[head][batch.index] = features[head]
        torch.testing.assert_close(getattr(generator, f"features_{head}"), memory[head])
        positive, negative = getattr(generator, f"centres_{head}")
        torch.testing.assert_close(positive, memory[head][generator.labels[row] > 0].mean(0))
        torch.testing.assert_close(negative, memory[head][generator.labels[row] < 0].mean(0))


def test_a_centre_without_samples_keeps_its_value():
    generator, batch, features = filled()
    generator.labels[:] = 1.0
    before = generator.centres_text[1].clone()
    generator.remember(features, batch)
    assert torch.equal(generator.centres_text[1], before)
    assert not torch.equal(generator.centres_text[0], before)


def test_in_the_first_epoch_labels_stay_and_unimodal_heads_get_no_gradient(batch):
    method = make("self_mm").train()
    batch = replace(batch, label=method.label_generator.labels[0, batch.index].clone())
    before = method.label_generator.labels.clone()
    terms = method.update(batch, method.optimizers(), 0)
    assert torch.equal(method.label_generator.labels, before)
    assert all(terms[head] == 0 for head in HEADS[1:]) and terms["fusion"] > 0
    for head in HEADS[1:]:
        assert not any(p.grad.any() for p in method.heads[head].parameters())
    assert any(p.grad.any() for p in method.heads["fusion"].parameters())
    assert method.label_generator.features_text[batch.index].any()


def test_unimodal_errors_count_more_the_more_their_label_differs(batch):
    method = make("self_mm").eval()
    outputs = method.forward_heads(batch)
    label = method.label_generator.labels[1, batch.index]
    expected = (torch.tanh((label - batch.label).abs()) * (outputs["text"][1] - label).abs()).mean()
    terms = method.loss(batch)
    torch.testing.assert_close(terms["text"], expected)
    torch.testing.assert_close(terms["fusion"], (outputs["fusion"][1] - batch.label).abs().mean())
    assert set(terms) == set(HEADS)


def test_labels_and_memory_are_saved_with_the_weights(batch):
    method = make("self_mm")
    state = method.state_dict()
    buffers = {"epoch", "labels"} | {f"{kind}_{head}" for kind in ("features", "centres") for head in HEADS}
    assert {f"label_generator.{name}" for name in buffers} <= set(state)
    assert torch.equal(state["label_generator.labels"], torch.linspace(-2, 2, SPEC.samples).expand(4, -1))


def test_the_recurrent_subnet_reads_the_valid_frames_alone():
    torch.manual_seed(0)
    subnet, audio = RecurrentSubnet(5, 4, 3), make_batch(6).audio
    for i, length in enumerate(audio.lengths.tolist()):
        _, (hidden, _) = subnet.lstm(audio.values[i : i + 1, :length])
        torch.testing.assert_close(subnet(audio)[i], subnet.out(hidden[-1, 0]))


def test_weight_decay_spares_biases_and_layer_norms_of_the_text_encoder_alone():
    method = make("self_mm")
    (optimizer,) = method.optimizers()
    assert type(optimizer) is torch.optim.Adam
    groups = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert groups == {
        "text encoder": (5e-5, 1e-3),
        "text encoder, no decay": (5e-5, 0.0),
        "audio": (5e-3, 1e-3),
        "vision": (5e-3, 1e-3),
        "heads": (1e-3, 1e-3),
    }
    names = {id(p): name for name, p in method.named_parameters()}
    spared = [names[id(p)] for p in optimizer.param_groups[1]["params"]]
    assert spared and all("bias" in name or "LayerNorm" in name for name in spared)
    assert not any("bias" in names[id(p)] for p in optimizer.param_groups[0]["params"])


def test_official_values_are_those_of_mmsa(official_method):
    mosei, sims = (official_method("self_mm", dims).hyperparameters for dims in ("mosei", "sims"))
    assert (mosei.batch_size, mosei.learning_rate_vision, mosei.weight_decay, mosei.fusion_dropout) == (
        32,
        1e-4,
        1e-2,
        0.1,
    )
    assert (sims.batch_size, sims.vision_hidden, sims.text_width, sims.weight_decay_audio) == (32, 64, 64, 1e-2)
    assert (mosei.accumulate, sims.accumulate, mosei.patience) == (4, 4, 8)
