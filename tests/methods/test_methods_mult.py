import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch
from torch import nn

from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.layers.crossmodal import Convolution
from elision.task import MODALITIES

# Counted on the released class.
COUNTS = {
    "mosi": {
        "": 2571551,
        "projections.text": 192000,
        "projections.audio": 1250,
        "projections.vision": 5000,
        "crossmodal.text_from_audio": 122700,
        "crossmodal.text_from_vision": 122700,
        "crossmodal.audio_from_text": 122700,
        "crossmodal.audio_from_vision": 122700,
        "crossmodal.vision_from_text": 122700,
        "crossmodal.vision_from_audio": 122700,
        "memory.text": 485400,
        "memory.audio": 485400,
        "memory.vision": 485400,
        "residual.0": 90300,
        "residual.3": 90300,
        "out": 301,
    },
    "mosei": {
        "": 982951,
        "projections.text": 115200,
        "projections.audio": 2220,
        "projections.vision": 3150,
        "crossmodal": 6 * 44820,
        "memory.text": 176040,
        "memory": 3 * 176040,
        "residual.0": 32580,
        "residual.3": 32580,
        "out": 181,
    },
    "sims": {
        "": 1870701,
        "projections.text": 192000,
        "projections.audio": 1650,
        "projections.vision": 35450,
        "crossmodal": 6 * 61400,
        "memory.text": 364100,
        "memory": 3 * 364100,
        "residual.0": 90300,
        "residual.3": 90300,
        "out": 301,
    },
}
DROPOUTS = (
    *("attention_dropout", "attention_dropout_audio", "attention_dropout_vision", "relu_dropout"),
    *("embedding_dropout", "residual_dropout", "text_dropout", "output_dropout"),
)


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def encoders(method: nn.Module) -> dict[str, nn.Module]:
    return {**method.crossmodal, **method.memory}


@pytest.mark.parametrize("dims", COUNTS)
def test_parameter_counts_equal_the_official_ones_to_the_digit(dims, official_method):
    assert_counts(official_method("mult", dims), COUNTS[dims])


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_runs_over_time_without_padding(kernel):
    torch.manual_seed(0)
    projection, x = Convolution(4, 3, kernel), torch.randn(2, 5, 4)
    weights, values = array(projection.weight), array(x)
    steps = [sum(values[:, t + k] @ weights[:, :, k].T for k in range(kernel)) for t in range(6 - kernel)]
    np.testing.assert_allclose(array(projection(x)), np.stack(steps, 1), atol=1e-6)
    assert projection.bias is None


def test_a_sequence_shorter_than_the_kernel_is_padded_with_zeros_at_its_end():
    torch.manual_seed(0)
    projection, x = Convolution(4, 3, 5), torch.randn(2, 2, 4)
    padded = torch.cat([x, torch.zeros(2, 3, 4)], 1)
    assert projection(x).shape == (2, 1, 3)
    torch.testing.assert_close(projection(x), projection(padded))


def test_an_input_that_has_the_width_already_is_not_projected():
    method = make("mult", width=4, heads=2)
    assert not list(method.projections["vision"].parameters())
    x = torch.randn(2, 9, 4)
    assert method.projections["vision"](x) is x
    assert method.predict(make_batch()).output.isfinite().all()


def test_each_modality_attends_to_both_others_then_to_itself_and_gives_its_last_step(batch):
    method = make("mult").eval()
    inputs = {"text": method.encoder(batch.text), "audio": batch.audio.values, "vision": batch.vision.values}
    x = {name: method.projections[name](inputs[name]) for name in MODALITIES}
    assert {name: value.shape[1] for name, value in x.items()} == {"text": 6, "audio": 8, "vision": 5}
    pairs = {"text": ("audio", "vision"), "audio": ("text", "vision"), "vision": ("text", "audio")}
    last = []
    for target, sources in pairs.items():
        enriched = [method.crossmodal[f"{target}_from_{source}"](x[target], x[source]) for source in sources]
        last.append(method.memory[target](torch.cat(enriched, -1))[:, -1])
    fused = torch.cat(last, 1)
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, fused)

    z = array(fused)
    hidden = np.maximum(z @ array(method.residual[0].weight).T + array(method.residual[0].bias), 0)
    z = z + hidden @ array(method.residual[3].weight).T + array(method.residual[3].bias)
    expected = z @ array(method.out.weight)[0] + array(method.out.bias)
    np.testing.assert_allclose(array(prediction.output), expected, atol=1e-5)


def test_the_last_step_is_read_though_it_is_padded():
    method, batch = make("mult").eval(), make_batch(3, lengths={"audio": 4}, lost=0.0)
    before = method.predict(batch).output
    batch.audio.values[:, -1] = 1.0
    assert (method.predict(batch).output - before).abs().min() > 1e-6


@pytest.mark.parametrize(("layers", "memory"), [(1, 3), (2, 3), (4, 4)])
def test_self_attention_has_at_least_three_layers(layers, memory):
    method = make("mult", layers=layers)
    assert {len(encoder.layers) for encoder in method.crossmodal.values()} == {layers}
    assert {len(encoder.layers) for encoder in method.memory.values()} == {memory}


def test_the_dropout_of_an_attention_is_that_of_what_it_attends_to():
    method = make("mult", attention_dropout=0.1, attention_dropout_audio=0.2, attention_dropout_vision=0.3)
    rates = {name: {e.attention_dropout.p} for name, e in encoders(method).items()}
    assert rates == {
        **{"text_from_audio": {0.2}, "text_from_vision": {0.3}, "audio_from_text": {0.1}},
        **{"audio_from_vision": {0.3}, "vision_from_text": {0.1}, "vision_from_audio": {0.2}},
        **{name: {0.1} for name in MODALITIES},
    }


@pytest.mark.parametrize("name", DROPOUTS)
def test_every_dropout_acts_in_training_alone(name, batch):
    none = dict.fromkeys(DROPOUTS, 0.0)
    without, method = make("mult", **none), make("mult", **{**none, name: 0.5})
    expected = without.train().predict(batch).output
    torch.testing.assert_close(method.eval().predict(batch).output, expected)
    assert not torch.allclose(method.train().predict(batch).output, expected)


def test_positions_are_added_in_every_encoder_or_in_none(batch):
    plain, placed = make("mult"), make("mult", positions="sinusoidal")
    assert plain.hyperparameters.positions == "none"
    assert {encoder.positions for encoder in encoders(plain).values()} == {False}
    assert {encoder.positions for encoder in encoders(placed).values()} == {True}
    assert all(encoder.causal for encoder in encoders(plain).values())
    outputs = [method.eval().predict(batch).output for method in (plain, placed)]
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize("overrides", [{"width": 48}, {"heads": 7}, {"width": 30, "heads": 4}])
def test_heads_that_do_not_divide_the_width_are_refused_before_anything_is_built(overrides):
    with pytest.raises(ElisionError, match=r"mult: heads: .*heads do not divide a width of"):
        resolve("mult", "mosi", overrides)


def test_the_loss_is_the_mean_absolute_error_or_the_cross_entropy(batch):
    method = make("mult").eval()
    expected = np.abs(array(method.predict(batch).output) - array(batch.label)).mean()
    terms = method.loss(batch)
    assert set(terms) == {"sentiment"} and terms["sentiment"].item() == pytest.approx(expected)

    batch, method = make_batch(7, spec=CLASSES), make("mult", spec=CLASSES).eval()
    logits = array(method.predict(batch).output)
    chosen = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, batch.label.tolist(), strict=True)]
    assert method.loss(batch)["sentiment"].item() == pytest.approx(np.mean(chosen), rel=1e-5)


def test_adam_has_one_group_without_decay_and_a_slow_one_where_the_text_encoder_is_trained():
    (optimizer,) = make("mult").optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [("method", 2e-3, 0)]
    (optimizer,) = make("mult", finetune_text_encoder=True).optimizers()
    assert [(g["name"], g["lr"]) for g in optimizer.param_groups] == [("method", 2e-3), ("text encoder", 5e-5)]


def test_gradients_are_clipped_after_every_batch_and_before_the_step():
    limit, batches = 1e-3, [make_batch(7, seed=seed) for seed in (0, 1)]
    method = make("mult", accumulate=2, gradient_clip=limit).eval()  # no dropout
    alone = []
    for batch in batches:
        method.zero_grad()
        method.loss(batch)["sentiment"].backward()
        alone.append([p.grad.clone() for p in method.parameters() if p.grad is not None])
    optimizers = method.optimizers()
    for step, batch in enumerate(batches):
        method.update(batch, optimizers, step)
    assert any(g.abs().max() > limit for g in alone[0])
    summed = [(g.clamp(-limit, limit) + h).clamp(-limit, limit) for g, h in zip(*alone, strict=True)]
    found = [p.grad for p in method.parameters() if p.grad is not None]
    for expected, gradient in zip(summed, found, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-7, rtol=1e-4)
    moments = [optimizers[0].state[p]["exp_avg"] for p in method.parameters() if p.grad is not None]
    for expected, moment in zip(summed, moments, strict=True):  # what the step has seen
        torch.testing.assert_close(moment, 0.1 * expected, atol=1e-8, rtol=1e-4)


def test_learning_rates_fall_to_a_tenth_after_a_plateau_and_its_state_is_saved():
    method = make("mult", plateau_patience=2)
    factors = []
    for epoch, mae in enumerate([1.0, 0.9, 0.9, 0.9, 0.9, 0.8], start=1):
        factors.append(method.learning_rate_factor(epoch))
        method.on_epoch_end(mae)
    assert factors == pytest.approx([1, 1, 1, 1, 1, 0.1])
    resumed = make("mult", plateau_patience=2, seed=1)
    resumed.load_state_dict(method.state_dict())
    for each in (method, resumed):
        for _ in range(3):
            each.on_epoch_end(0.8)
        assert each.learning_rate_factor(10) == pytest.approx(0.01)


def test_the_text_encoder_is_frozen_unless_it_is_asked_for(batch):
    assert not any(p.requires_grad for p in make("mult").encoder.parameters())
    method = make("mult", finetune_text_encoder=True).train()
    method.loss(batch)["sentiment"].backward()
    assert method.encoder.training and any(p.grad.any() for p in method.encoder.parameters() if p.grad is not None)


def test_official_values_are_those_of_mmsa(official_method):
    mosi, mosei, sims = (official_method("mult", dims).hyperparameters for dims in COUNTS)
    for h, values in (
        (mosi, (50, 10, 4, 5, 5, 5, 16, 2e-3, 5, 0.3, 0.2, 0.0, 0.0, 0.2, 0.0, 0.5, 0.5)),
        (mosei, (30, 6, 4, 5, 1, 3, 4, 5e-4, 20, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.5)),
        (sims, (50, 10, 2, 5, 1, 1, 16, 2e-3, 10, 0.2, 0.1, 0.0, 0.0, 0.1, 0.2, 0.3, 0.1)),
    ):
        sizes = (h.width, h.heads, h.layers, h.text_kernel, h.audio_kernel, h.vision_kernel)
        training = (h.batch_size, h.learning_rate, h.plateau_patience)
        assert (*sizes, *training, *(getattr(h, name) for name in DROPOUTS)) == values
        assert (h.accumulate, h.patience, h.gradient_clip) == (8, 8, 0.6)
