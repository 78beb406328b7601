import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import SPEC, make, make_batch
from torch import nn

from elision.batch import Sequence
from elision.methods import build
from elision.methods.layers.imagination import InvariantAutoencoder, PlainAutoencoder, ResidualAutoencoder
from elision.methods.layers.mmin_family import (
    WIDTH,
    Encoders,
    FamilyHyperparameters,
    InvariantHead,
    TeacherHyperparameters,
    masked,
)
from elision.methods.layers.moments import central_moment_discrepancy
from elision.methods.layers.utterance import Classifier, LSTMEncoder, TextCNN
from elision.task import MODALITIES

SPEC = replace(SPEC, text=6)


def sequence(lengths: list[int], total: int = 9, width: int = 4) -> Sequence:
    """Random frames, zeros beyond each length."""
    valid = torch.arange(total) < torch.tensor(lengths)[:, None]
    values = torch.randn(len(lengths), total, width, generator=torch.Generator().manual_seed(0)) * valid[..., None]
    return Sequence(values, valid, valid)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("pool", ["maximum", "last"])
def test_an_lstm_pools_the_states_of_the_valid_frames(pool):
    encoder, frames = LSTMEncoder(4, 3, pool=pool), sequence([1, 5, 9])
    for i, length in enumerate([1, 5, 9]):
        states = encoder.lstm(frames.values[i, :length])[0]
        torch.testing.assert_close(encoder(frames)[i], states.amax(0) if pool == "maximum" else states[-1])


@pytest.mark.parametrize("pool", ["maximum", "last"])
def test_an_lstm_that_does_not_mask_pools_the_states_of_all_frames(pool):
    encoder, frames = LSTMEncoder(4, 3, mask_padding=False, pool=pool), sequence([1, 5, 9])
    states = encoder.lstm(frames.values)[0]
    torch.testing.assert_close(encoder(frames), states.amax(1) if pool == "maximum" else states[:, -1])


def test_the_convolutions_take_windows_that_lie_within_the_sequence():
    encoder, frames = TextCNN(4, 3).eval(), sequence([1, 4, 6, 9])
    for i, length in enumerate([1, 4, 6, 9]):
        maxima = []
        for size, convolution in zip((3, 4, 5), encoder.convolutions, strict=True):
            windows = range(max(length - size, 0) + 1)  # a short sequence is one window, zeros appended
            sums = [(convolution.weight * frames.values[i, s : s + size].T).sum((1, 2)) for s in windows]
            maxima.append((torch.stack(sums) + convolution.bias).amax(0).relu())
        torch.testing.assert_close(encoder(frames)[i], encoder.out(torch.cat(maxima)))


def test_convolutions_that_do_not_mask_take_every_window():
    encoder, frames = TextCNN(4, 3, mask_padding=False).eval(), sequence([2, 5, 9])
    everything = replace(frames, valid=torch.ones_like(frames.valid))
    torch.testing.assert_close(encoder(frames), encoder(everything))
    encoder.mask_padding = True
    assert not torch.allclose(encoder(frames)[:2], encoder(everything)[:2])


@pytest.mark.parametrize("encoder", [LSTMEncoder(4, 3), TextCNN(4, 3).eval()], ids=["lstm", "cnn"])
@pytest.mark.parametrize("total", [1, 2, 4, 9])
def test_a_sequence_without_a_valid_position_is_one_frame_of_zeros(encoder, total):
    nothing, zero = sequence([0, 0], total), sequence([1, 1], total)
    assert torch.equal(encoder(nothing), encoder(replace(zero, values=torch.zeros_like(zero.values))))


@pytest.mark.parametrize("encoder", [LSTMEncoder(4, 3), TextCNN(4, 3).eval()], ids=["lstm", "cnn"])
def test_an_encoder_does_not_see_how_far_a_batch_is_padded(encoder):
    frames = sequence([1, 2, 6])
    cut = Sequence(frames.values[:, :6], frames.valid[:, :6], frames.observed[:, :6])
    torch.testing.assert_close(encoder(frames), encoder(cut))


def test_a_classifier_normalises_after_the_relu_and_before_dropout_and_trains_on_one_sample():
    plain, normalised = Classifier(7), Classifier(7, (5, 3), 2, batch_norm=True)
    assert [type(layer) for layer in list(plain)[:3]] == [nn.Linear, nn.ReLU, nn.Dropout]
    assert [layer.out_features for layer in plain if isinstance(layer, nn.Linear)] == [128, 128, 4]
    assert [type(layer).__name__ for layer in list(normalised)[:4]] == ["Linear", "ReLU", "BatchNorm", "Dropout"]
    assert normalised.train()(torch.randn(1, 7)).isfinite().all()


def test_one_residual_block_adds_its_correction_before_the_last_layers():
    cascade, x = ResidualAutoencoder(12, (8, 4), 1), torch.randn(5, 12)
    output, latent = cascade(x)
    torch.testing.assert_close(latent, cascade.encoders[0](x))
    torch.testing.assert_close(output, cascade.transition(x + cascade.decoders[0](latent)))


def test_residual_blocks_read_the_sum_of_all_before():
    cascade, x = ResidualAutoencoder(12, (8, 4), 3), torch.randn(5, 12)
    u, latents = x, []
    for encode, decode in zip(cascade.encoders, cascade.decoders, strict=True):
        latents.append(encode(u))
        u = u + decode(latents[-1])
    output, latent = cascade(x)
    torch.testing.assert_close(output, cascade.transition(u))
    torch.testing.assert_close(latent, torch.cat(latents, 1))
    assert latent.shape[1] == cascade.latent_width


def test_residual_blocks_that_correct_nothing_pass_their_input_on():
    cascade, x = ResidualAutoencoder(12, (8, 4), 3), torch.randn(5, 12)
    for decoder in cascade.decoders:
        nn.init.zeros_(decoder[-1].weight)
        nn.init.zeros_(decoder[-1].bias)
    torch.testing.assert_close(cascade(x)[0], cascade.transition(x))


def test_bottlenecks_and_outputs_of_residual_blocks_have_no_activation():
    output, latent = ResidualAutoencoder(12, (8, 4), 3)(torch.randn(200, 12))
    assert latent.min() < -0.1 and output.min() < 0


def test_each_block_of_the_cascade_adds_its_parameters():
    sizes = [sum(p.numel() for p in ResidualAutoencoder(384, (256, 128), n).parameters()) for n in (2, 5)]
    assert sizes[1] - sizes[0] == 3 * 263168


@pytest.mark.parametrize("residual", [False, True])
def test_without_an_invariant_vector_the_blocks_are_a_plain_chain(residual):
    cascade, x = InvariantAutoencoder(12, (8, 4), 2, residual=residual), torch.randn(5, 12)
    output, latent = cascade(x, torch.zeros(5, 12))
    torch.testing.assert_close(latent[:, :4], cascade.encoders[0](x))
    first = cascade.decoders[0](latent[:, :4])
    torch.testing.assert_close(latent[:, 4:], cascade.encoders[1](first))
    second = cascade.decoders[1](latent[:, 4:])
    torch.testing.assert_close(output, cascade.transition(first + second if residual else second))


def test_every_block_reads_the_invariant_vector():
    cascade, (x, invariant) = InvariantAutoencoder(12, (8, 4), 2), torch.randn(2, 5, 12)
    _, latent = cascade(x, invariant)
    torch.testing.assert_close(latent[:, :4], cascade.encoders[0](x + invariant))
    first = cascade.decoders[0](latent[:, :4])
    torch.testing.assert_close(latent[:, 4:], cascade.encoders[1](first + invariant))


def test_a_plain_autoencoder_puts_out_no_negative_numbers():
    autoencoder = PlainAutoencoder(12, (8, 4))
    output, latent = autoencoder(torch.randn(50, 12))
    assert output.shape == (50, 12) and latent.shape == (50, autoencoder.latent_width)
    assert output.min() == 0 and output.any() and latent.min() < 0


def test_equal_samples_have_no_moment_discrepancy_and_a_finite_gradient():
    p = torch.randn(6, 4, requires_grad=True)
    value = central_moment_discrepancy(p, p.detach().clone())
    value.backward()
    assert value == 0 and p.grad.isfinite().all()


def test_a_shift_changes_the_first_moment_alone():
    p = torch.randn(50, 4, dtype=torch.float64)
    assert central_moment_discrepancy(p, p + 2.0).item() == pytest.approx(4.0)


@pytest.mark.parametrize("moments", [1, 3, 5])
def test_the_moment_discrepancy_adds_up_the_distances_of_the_moments(moments):
    p, q = np.random.default_rng(0).normal(size=(2, 30, 4)) * np.array([1, 2])[:, None, None]
    expected = np.linalg.norm(p.mean(0) - q.mean(0))
    for k in range(2, moments + 1):
        expected += np.linalg.norm(((p - p.mean(0)) ** k).mean(0) - ((q - q.mean(0)) ** k).mean(0))
    found = central_moment_discrepancy(torch.tensor(p), torch.tensor(q), moments)
    assert found.item() == pytest.approx(expected)


def test_the_fused_vector_holds_audio_text_and_vision_in_that_order():
    encoders = Encoders(FamilyHyperparameters(), SPEC).eval()
    batch = make_batch(4, spec=SPEC, lost=0.0)
    fused = encoders(batch).split(WIDTH, 1)
    for name, part in zip(("audio", "text", "vision"), fused, strict=True):
        torch.testing.assert_close(part, encoders[name](getattr(batch, name)))


def test_the_invariant_head_is_the_same_for_every_modality():
    head, fused = InvariantHead(), torch.randn(5, 3 * WIDTH)
    expected = [nn.Sequential.forward(head, part) for part in fused.split(WIDTH, 1)]
    torch.testing.assert_close(head(fused), torch.cat(expected, 1))


def test_a_masked_batch_keeps_the_values_of_the_modalities_that_are_asked_for():
    batch = make_batch(3, spec=SPEC, lost=0.0)
    kept = masked(batch, torch.eye(3, dtype=torch.bool))  # text of the first, audio of the second, ...
    for column, name in enumerate(MODALITIES):
        before, after = getattr(batch, name), getattr(kept, name)
        assert torch.equal(after.valid, before.valid)
        for row in range(3):
            assert torch.equal(after.values[row], before.values[row] * (row == column))


def test_epochs_are_the_sum_of_the_phases_unless_they_are_given():
    assert FamilyHyperparameters().epochs == 60
    assert FamilyHyperparameters(constant_epochs=20, decay_epochs=80).epochs == 100
    assert FamilyHyperparameters(epochs=7).epochs == 7
    assert TeacherHyperparameters().epochs == 20


def test_the_learning_rate_falls_linearly_after_the_constant_phase():
    method = make("mmin", constant_epochs=30, decay_epochs=30)
    factors = [method.learning_rate_factor(epoch) for epoch in range(1, 61)]
    # As the released scheduler has it, whose counter starts at 0.
    assert factors == pytest.approx([1 - max(0, e + 1 - 30) / 31 for e in range(60)])
    assert factors[29] == 1 and factors[59] == pytest.approx(1 / 31)


@pytest.mark.parametrize("epochs", [1, 2, 5, 10, 100])
def test_a_training_of_another_length_keeps_the_proportion_of_the_phases(epochs):
    method = make("mmin", constant_epochs=30, decay_epochs=30, epochs=epochs)
    factors = [method.learning_rate_factor(epoch) for epoch in range(1, epochs + 1)]
    constant = math.ceil(epochs / 2)
    assert factors[:constant] == [1] * constant
    assert all(0 < after < before for before, after in zip(factors[constant - 1 :], factors[constant:], strict=False))


def test_the_gradient_of_each_sub_network_is_clipped_on_its_own():
    method = make("mmin", clip=1.0)
    networks = dict(method.encoders, imagination=method.imagination, cycle=method.cycle, classifier=method.classifier)
    assert set(map(id, networks.values())) <= set(map(id, method.sub_networks()))
    for p in method.parameters():
        p.grad = torch.full_like(p, 1e-6)
    for p in method.encoders["text"].parameters():
        p.grad.fill_(10.0)
    method.after_backward()
    norms = {
        name: torch.stack([p.grad.norm() for p in network.parameters()]).norm() for name, network in networks.items()
    }
    assert norms.pop("text").item() == pytest.approx(1, rel=1e-3)
    for name, norm in norms.items():
        size = sum(p.numel() for p in networks[name].parameters())
        assert norm.item() == pytest.approx(1e-6 * size**0.5, rel=1e-3)


@pytest.mark.parametrize(("initialisation", "deviation"), [("kaiming", (2 / 384) ** 0.5), ("normal", 0.012)])
def test_weights_start_as_asked_and_biases_at_0(initialisation, deviation):
    method = make("mmin_teacher", initialisation=initialisation)
    assert method.classifier[0].weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert not method.classifier[0].bias.any() and not method.encoders["text"].convolutions[0].bias.any()


def test_the_optimizer_is_adam_without_weight_decay():
    (optimizer,) = make("mmin", beta1=0.5).optimizers()
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.Adam
    assert group["betas"] == (0.5, 0.999) and group["weight_decay"] == 0 and group["lr"] == 2e-4


@pytest.mark.parametrize("name", ["mmin", "mmin_ae", "if_mmin", "cif_mmin"])
def test_the_teacher_is_neither_stored_nor_trained_and_moves_with_the_method(name):
    method = make(name)
    teacher = method.teacher
    held = set(map(id, method.parameters()))
    assert not held & set(map(id, teacher.parameters())) and teacher not in method.modules()
    assert not any("teacher" in key for key in method.state_dict())
    method.double()
    assert all(p.dtype == torch.float64 for p in teacher.parameters())


@pytest.mark.parametrize("name", ["mmin", "mmin_ae", "if_mmin", "cif_mmin"])
def test_a_method_starts_from_the_weights_of_its_teacher_and_leaves_them_as_they_are(name):
    method = make(name)
    teacher = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    for inherited in method.inherits:
        own = getattr(method, inherited).state_dict()
        assert own and all(torch.equal(value, teacher[f"{inherited}.{key}"]) for key, value in own.items())
    batch = make_batch(5, spec=SPEC, absent=("text",))
    method.train().update(batch, method.optimizers(), 0)
    assert all(torch.equal(value, teacher[key]) for key, value in method.teacher.state_dict().items())
    assert all(p.grad is None for p in method.teacher.parameters()) and not method.teacher.training


@pytest.mark.parametrize("name", ["mmin", "mmin_ae", "if_mmin", "cif_mmin"])
def test_the_target_holds_what_the_teacher_makes_of_the_missing_modalities_alone(name):
    method = make(name)
    batch = make_batch(4, spec=SPEC, lost=0.0, absent=("vision",))
    target = method.missing_target(batch)
    nothing = method.teacher.encoders(masked(batch.clean, torch.zeros(4, 3, dtype=torch.bool)))
    torch.testing.assert_close(target[:, : 2 * WIDTH], nothing[:, : 2 * WIDTH])
    torch.testing.assert_close(target[:, 2 * WIDTH :], method.teacher.encoders["vision"](batch.clean.vision))
    assert not target.requires_grad


@pytest.mark.parametrize("name", ["mmin", "mmin_ae", "if_mmin", "cif_mmin"])
def test_a_trained_method_is_restored_from_its_own_weights_without_its_teacher(name):
    method, batch = make(name).train(), make_batch(5, spec=SPEC, absent=("text",))
    method.update(batch, method.optimizers(), 0)
    restored = build(name, method.hyperparameters, SPEC)
    restored.start({}, None)
    restored.load_state_dict(method.state_dict())
    assert torch.equal(restored.eval().predict(batch).output, method.eval().predict(batch).output)


# Sub-networks that each term of the loss trains, and no others.
TRAINS = {
    ("mmin_teacher", "emotion"): "encoders classifier",
    ("mmin", "emotion"): "encoders imagination classifier",
    ("mmin", "imagination"): "encoders imagination",
    ("mmin", "cycle"): "encoders imagination cycle",
    ("mmin_ae", "emotion"): "encoders imagination classifier",
    ("mmin_ae", "imagination"): "encoders imagination",
    ("mmin_ae", "cycle"): "encoders imagination cycle",
    ("if_mmin_teacher", "emotion"): "encoders invariant classifier",
    ("if_mmin_teacher", "discrepancy"): "encoders invariant",
    ("if_mmin", "emotion"): "encoders invariant imagination classifier",
    ("if_mmin", "imagination"): "encoders invariant imagination",
    ("if_mmin", "invariant"): "encoders invariant",
    ("cif_mmin_teacher", "emotion"): "encoders classifier",
    ("cif_mmin_teacher", "contrast text vision"): "contrastive projections",
    ("cif_mmin_teacher", "contrast text audio"): "contrastive projections",
    ("cif_mmin_teacher", "contrast vision audio"): "contrastive projections",
    ("cif_mmin", "emotion"): "encoders contrastive imagination classifier",
    ("cif_mmin", "imagination"): "encoders contrastive imagination",
    ("cif_mmin", "invariant"): "contrastive",
}


@pytest.mark.parametrize("name", sorted({name for name, _ in TRAINS}))
def test_every_term_of_the_loss_trains_the_networks_that_it_is_for(name):
    method = make(name).train()
    terms = method.loss(make_batch(5, spec=SPEC, absent=("text",)))
    assert list(terms) == [term for other, term in TRAINS if other == name]
    weights = dict(method.named_parameters())
    for term, value in terms.items():
        gradients = torch.autograd.grad(value, list(weights.values()), retain_graph=True, allow_unused=True)
        reached = {key.split(".")[0] for key, g in zip(weights, gradients, strict=True) if g is not None and g.any()}
        assert reached == set(TRAINS[name, term].split()), term


def test_the_prediction_of_a_cascade_does_not_train_what_makes_the_imagined_vector_alone():
    method = make("mmin", blocks=2)
    error = method.loss(make_batch(5, spec=SPEC, absent=("text",)))["emotion"]
    error.backward()
    cascade = method.imagination
    trained = [*cascade.encoders.parameters(), *cascade.decoders[0].parameters()]
    spared = [*cascade.decoders[1].parameters(), *cascade.transition.parameters()]
    assert all(p.grad.any() for p in trained) and all(p.grad is None for p in spared)


@pytest.mark.parametrize("name", ["mmin_teacher", "mmin_ae", "if_mmin", "cif_mmin"])
def test_unmasked_padding_takes_part_in_every_encoder(name):
    method = make(name, mask_padding=False)
    encoders = [module for module in method.modules() if isinstance(module, LSTMEncoder | TextCNN)]
    assert len(encoders) == (6 if name == "cif_mmin" else 3)
    assert not any(encoder.mask_padding for encoder in encoders)


def test_every_sub_network_of_the_largest_method_is_clipped_on_its_own():
    method = make("cif_mmin_teacher")
    parts = [*method.encoders.values(), *method.contrastive.values(), *method.projections.values(), method.classifier]
    assert [n for n in method.sub_networks() if any(True for _ in n.parameters())] == parts
