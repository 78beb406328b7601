import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, SPEC, UNK, assert_counts, learn, make, make_batch, rows, tiny_encoder
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods import build, resolve
from elision.methods.tfr_net import GatedSummary, moment_discrepancy, reconstruction_error
from elision.task import MODALITIES

RECONSTRUCTIONS = {f"{name}_reconstruction" for name in MODALITIES}
ALIGNMENT, FUSION = "projection within between temporal", "summary head"
COUNTS = {
    "mosi": {
        "": 14850620,
        ALIGNMENT: 14518685,
        "generator.text": 69888,
        "generator.audio": 455,
        "generator.vision": 1820,
        FUSION: 259772,
    },
    "mosei": {
        "": 18812589,
        ALIGNMENT: 18473010,
        "generator.text": 69888,
        "generator.audio": 6734,
        "generator.vision": 3185,
        FUSION: 259772,
    },
    "sims": {
        "": 6668422,
        "projection.text": 23040,
        "projection.audio": 4950,
        "projection.vision": 63810,
        **{f"between.{x}_from_{y}": 22440 for x in MODALITIES for y in MODALITIES if x != y},
        **{f"within.{name}": 33630 for name in MODALITIES},
        "temporal.text": 56355,
        "temporal.audio": 5776400,
        "temporal.vision": 111155,
        "generator.text": 69888,
        "generator.audio": 3003,
        "generator.vision": 64519,
        FUSION: 259772,
    },
}


def second_epoch(**overrides):
    """A method that reconstructs, without dropout."""
    method = make("tfr_net", **overrides).eval()
    method.on_epoch_start(2)
    return method


def discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """The distance of the first three moments of rows, one channel at a time."""
    total = 0.0
    for moment in (1, 2, 3):
        squares = 0.0
        for channel in range(x.shape[1]):
            values = []
            for rows_ in (x[:, channel], y[:, channel]):
                mean = sum(rows_) / len(rows_)
                values.append(mean if moment == 1 else sum((v - mean) ** moment for v in rows_) / len(rows_))
            squares += (values[0] - values[1]) ** 2
        total += np.sqrt(squares + 1e-12)
    return total


@pytest.mark.parametrize("dims", COUNTS)
def test_parameters_are_as_many_as_in_the_released_code(official_method, dims):
    assert_counts(official_method("tfr_net", dims), COUNTS[dims])


def test_official_values_are_those_of_mmsa(official_method):
    mosi, mosei, sims = (official_method("tfr_net", dims).hyperparameters for dims in COUNTS)
    assert (mosi.text_weight, mosi.audio_weight, mosi.vision_weight) == (5, 2, 20)
    assert (mosei.text_weight, mosei.audio_weight, mosei.vision_weight) == (5e-6, 2e-6, 2e-5)
    assert (sims.text_weight, sims.audio_weight, sims.vision_weight) == (1, 0.01, 1e-4)
    assert [h.batch_size for h in (mosi, mosei, sims)] == [24, 24, 16]
    assert [h.layers for h in (mosi, mosei, sims)] == [3, 3, 2]
    assert [(h.learning_rate_text_encoder, h.learning_rate) for h in (mosi, mosei, sims)] == [
        (2e-6, 1e-3),
        (1e-5, 2e-3),
        (1e-5, 2e-3),
    ]
    assert [h.plateau_patience for h in (mosi, mosei, sims)] == [5, 5, 10]
    assert (sims.relu_dropout, sims.embedding_dropout, sims.residual_dropout, sims.head_dropout) == (0, 0.1, 0.2, 0.1)
    assert all((h.accumulate, h.patience, h.update) == (4, 6, "official") for h in (mosi, mosei, sims))


def test_temporal_heads_are_the_most_that_divide_the_length(official_method):
    def heads(method) -> list[int]:
        return [method.temporal[name].heads for name in MODALITIES]

    assert heads(official_method("tfr_net", "mosi")) == [25, 25, 25]
    assert heads(official_method("tfr_net", "sims")) == [1, 1, 1]
    assert heads(make("tfr_net", spec=replace(SPEC, length={"text": 39, "audio": 50, "vision": 53}))) == [13, 25, 1]


def test_heads_are_the_most_that_divide_the_width():
    assert [make("tfr_net", width=width).within["text"].heads for width in (12, 10, 7)] == [6, 5, 1]


def test_encoders_within_a_sequence_have_three_layers_at_least():
    for layers, within in ((1, 3), (2, 3), (4, 4)):
        method = make("tfr_net", layers=layers)
        assert {len(each.layers) for each in (*method.within.values(), *method.temporal.values())} == {within}
        assert {len(each.layers) for each in method.between.values()} == {layers}


def test_attention_to_a_modality_has_the_dropout_of_that_modality():
    method = make("tfr_net", attention_dropout=0.3, attention_dropout_audio=0.2, attention_dropout_vision=0.1)
    rates = {"text": 0.3, "audio": 0.2, "vision": 0.1}
    for key, each in method.between.items():
        assert {each.attention_dropout.p} == {rates[key.split("_")[-1]]}
    for each in (*method.within.values(), *method.temporal.values()):
        assert {each.attention_dropout.p} == {0.3}


def test_temporal_encoders_know_no_positions_and_are_causal_over_samples_alone():
    for attention, causal in (("channel", False), ("batch", True)):
        method = make("tfr_net", temporal_attention=attention)
        assert all(each.causal and each.positions for each in (*method.within.values(), *method.between.values()))
        assert all(each.causal == causal and not each.positions for each in method.temporal.values())


def test_a_modality_is_encoded_by_itself_and_from_the_two_others_in_order(batch):
    method = make("tfr_net").eval()
    encoded = method.encode(batch)
    inputs = {"text": method.encoder(batch.text), "audio": batch.audio.values, "vision": batch.vision.values}
    kernels = {"text": 1, "audio": 5, "vision": 3}
    projected = {}
    for name, x in inputs.items():
        weight = method.projection[name].weight
        assert weight.shape == (12, x.shape[2], kernels[name]) and method.projection[name].bias is None
        around = kernels[name] // 2
        padded = F.pad(x, (0, 0, around, around))
        projected[name] = torch.stack(
            [torch.einsum("bki,oik->bo", padded[:, t : t + kernels[name]], weight) for t in range(x.shape[1])], 1
        )
    for name, (first, second) in {
        "text": ("audio", "vision"),
        "audio": ("text", "vision"),
        "vision": ("text", "audio"),
    }.items():
        x = projected[name]
        parts = [
            method.within[name](x),
            method.between[f"{name}_from_{first}"](x, projected[first]),
            method.between[f"{name}_from_{second}"](x, projected[second]),
        ]
        torch.testing.assert_close(encoded[name], torch.cat(parts, 2))


def test_text_alone_has_dropout_before_its_projection(batch):
    seen = {}
    method = make("tfr_net", encoder=tiny_encoder(dropout=0.0), text_dropout=0.5).train()
    for name in MODALITIES:
        method.projection[name].register_forward_hook(lambda _, x, __, name=name: seen.update({name: x[0]}))
    method.encode(batch)
    text = method.encoder(batch.text).transpose(1, 2)
    assert 0.4 < (seen["text"] == 0).float().mean() < 0.6
    torch.testing.assert_close(seen["text"], 2 * text * (seen["text"] != 0))
    for name in ("audio", "vision"):
        assert torch.equal(seen[name], getattr(batch, name).values.transpose(1, 2))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [4, 15])
def test_kernels_may_be_even_or_longer_than_the_sequence(kernel, batch):
    method = make("tfr_net", **{f"{name}_kernel": kernel for name in MODALITIES}).eval()
    encoded = method.encode(batch)
    assert all(encoded[name].shape == (7, SPEC.length[name], 36) for name in MODALITIES)


def test_a_summary_is_the_gated_maximum_over_all_positions_as_computed_position_by_position():
    torch.manual_seed(0)
    summary, x = GatedSummary(5, 4, 3, 0.2).eval(), torch.randn(4, 6, 5)
    lengths = [6, 1, 3, 4]
    result = summary(x, torch.tensor(lengths))
    for i, length in enumerate(lengths):
        context = torch.zeros(6, 8)
        context[:length] = summary.gru(x[i : i + 1, :length])[0][0]
        padded = torch.cat([torch.zeros(1, 8), context, torch.zeros(1, 8)])
        positions = []
        for t in range(6):
            score = summary.gate.bias[0] + sum(summary.gate.weight[0, :, k] @ padded[t + k] for k in range(3))
            gated = torch.tanh(context[t]) / (1 + torch.exp(-score))
            positions.append(torch.tanh(summary.out(torch.cat([x[i, t], gated]))))
        torch.testing.assert_close(result[i], torch.stack(positions).max(0).values)


def test_a_sample_without_frames_is_summarised_as_one_frame():
    summary, x = GatedSummary(5, 4, 3, 0.2).eval(), torch.randn(3, 6, 5)
    torch.testing.assert_close(summary(x, torch.tensor([0, 2, 6])), summary(x, torch.tensor([1, 2, 6])))


def test_the_representation_is_the_three_summaries_and_the_head_reads_it(batch):
    method = make("tfr_net").eval()
    prediction, encoded = method.predict(batch), method.encode(batch)
    summaries = [method.summary[name](encoded[name], getattr(batch, name).lengths) for name in MODALITIES]
    torch.testing.assert_close(prediction.representation, torch.cat(summaries, 1))
    assert [s.shape[1] for s in summaries] == [36, 20, 48]
    norm, hidden, _, _, out = method.head
    x = (prediction.representation - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    x = hidden(x * norm.weight + norm.bias)
    torch.testing.assert_close(prediction.output, out(torch.where(x > 0, x, 0.01 * x))[:, 0])


def test_predictions_need_no_temporal_encoder_and_work_at_any_length(batch):
    method = make("tfr_net").eval()
    before = method.predict(batch).output
    with torch.no_grad():
        for parameter in (*method.temporal.parameters(), *method.generator.parameters()):
            parameter.fill_(torch.nan)
    assert torch.equal(method.predict(batch).output, before)
    longer = make_batch(3, spec=replace(SPEC, length=dict.fromkeys(MODALITIES, 20)))
    assert method.predict(longer).output.isfinite().all()


def test_temporal_attention_over_channels_reads_one_sample_and_all_of_its_channels():
    method = second_epoch()
    encoded = torch.randn(4, SPEC.length["audio"], 36)
    whole = method.reconstruct("audio", encoded)
    for i in range(4):
        alone = method.temporal["audio"](encoded[i : i + 1].transpose(1, 2))
        torch.testing.assert_close(whole[i : i + 1], method.generator["audio"](alone.transpose(1, 2)))
    encoded.requires_grad_()
    # The generator is left out: it mixes the channels whatever the attention does.
    first_channel = method.temporal["audio"](encoded.transpose(1, 2))[0, 0]
    reached = torch.autograd.grad(first_channel.square().sum(), encoded)[0].abs().sum(1) > 0
    assert reached[0].all() and not reached[1:].any()


def test_temporal_attention_over_the_batch_reads_one_channel_of_the_samples_before():
    method = second_epoch(temporal_attention="batch")
    encoded = torch.randn(4, SPEC.length["audio"], 36)
    whole = method.reconstruct("audio", encoded)
    attended = torch.stack([method.temporal["audio"](encoded[None, :, :, c])[0] for c in range(36)], 2)
    torch.testing.assert_close(whole, method.generator["audio"](attended))
    for i in range(4):
        torch.testing.assert_close(method.reconstruct("audio", encoded[: i + 1])[i], whole[i])
    assert not torch.allclose(method.reconstruct("audio", encoded[1:])[0], whole[1], atol=1e-3)


def test_temporal_attention_changes_the_loss_but_no_prediction(batch):
    methods = [second_epoch(temporal_attention=attention) for attention in ("channel", "batch")]
    methods[1].load_state_dict(methods[0].state_dict())
    first, second = (method.loss(batch) for method in methods)
    assert first["sentiment"] == second["sentiment"]
    assert all(first[name] != second[name] for name in RECONSTRUCTIONS)
    assert torch.equal(*(method.predict(batch).output for method in methods))


def test_the_order_of_a_batch_matters_to_the_loss_only_where_attention_runs_over_the_batch(batch):
    for attention, same in (("channel", True), ("batch", False)):
        method = second_epoch(temporal_attention=attention)
        terms, turned = method.loss(batch), method.loss(rows(batch, torch.arange(6, -1, -1)))
        assert torch.allclose(terms["audio_reconstruction"], turned["audio_reconstruction"], rtol=1e-5) == same


def test_moments_are_compared_as_in_a_loop_over_channels():
    x, y = torch.randn(3, 5, 4, dtype=torch.float64), 2 * torch.rand(3, 5, 4, dtype=torch.float64)
    expected = discrepancy(x.flatten(0, 1).numpy(), y.flatten(0, 1).numpy())
    assert moment_discrepancy(x, y).item() == pytest.approx(expected, rel=1e-9)
    assert moment_discrepancy(x, x).item() == pytest.approx(3e-6)


def test_the_reconstruction_error_is_that_of_the_missing_elements():
    x, y = (3 * torch.randn(3, 5, 4, dtype=torch.float64) for _ in range(2))
    missing = torch.rand(3, 5) < 0.4
    smooth, shown = 0.0, np.zeros((2, 15, 4))
    for i in range(3):
        for t in range(5):
            if missing[i, t]:
                shown[:, 5 * i + t] = x[i, t], y[i, t]
                for d in (x[i, t] - y[i, t]).abs().tolist():
                    smooth += 0.5 * d * d if d < 1 else d - 0.5
    expected = (smooth + 7 * discrepancy(*shown)) / (4 * missing.sum().item() + 1e-4)
    assert reconstruction_error(x, y, missing, similarity_weight=7).item() == pytest.approx(expected, rel=1e-6)


def test_nothing_missing_is_no_error_and_gradients_stay_finite():
    x, y = (torch.randn(3, 5, 4, requires_grad=True) for _ in range(2))
    error = reconstruction_error(x, y, torch.zeros(3, 5, dtype=torch.bool), similarity_weight=5.0)
    error.backward()
    assert error == 0 and not x.grad.any() and not y.grad.any()


def test_the_loss_has_an_absolute_error_and_three_weighted_reconstructions(batch):
    method = second_epoch()
    terms, encoded = method.loss(batch), method.encode(batch)
    assert set(terms) == {"sentiment", *RECONSTRUCTIONS}
    torch.testing.assert_close(terms["sentiment"], (method.predict(batch).output - batch.label).abs().mean())
    targets = {
        "text": method.encoder(batch.clean.text),
        "audio": batch.clean.audio.values,
        "vision": batch.clean.vision.values,
    }
    for name, weight in {"text": 5, "audio": 2, "vision": 20}.items():
        sequence = getattr(batch, name)
        error = reconstruction_error(
            method.reconstruct(name, encoded[name]),
            targets[name],
            sequence.valid & ~sequence.observed,
            similarity_weight=5.0,
        )
        torch.testing.assert_close(terms[f"{name}_reconstruction"], weight * error)


def test_classes_are_predicted_by_logits_with_cross_entropy():
    method, batch = make("tfr_net", spec=CLASSES).eval(), make_batch(7, spec=CLASSES)
    output = method.predict(batch).output
    expected = -output.log_softmax(1)[torch.arange(7), batch.label].mean()
    torch.testing.assert_close(method.loss(batch)["sentiment"], expected)


@pytest.mark.parametrize("name", ["text_weight", "audio_weight", "vision_weight", "similarity_weight"])
def test_every_weight_scales_its_share_of_the_loss(name, batch):
    weights = {"text_weight": 5.0, "audio_weight": 2.0, "vision_weight": 20.0, "similarity_weight": 5.0}
    terms, doubled, without = (second_epoch(**{name: f * weights[name]}).loss(batch) for f in (1, 2, 0))
    for term in RECONSTRUCTIONS:
        if name == "similarity_weight":
            assert 0 < without[term] < terms[term]
            torch.testing.assert_close(doubled[term] - terms[term], terms[term] - without[term])
        elif term.startswith(name.removesuffix("_weight")):
            torch.testing.assert_close(doubled[term], 2 * terms[term])
            assert without[term] == 0
        else:
            assert doubled[term] == terms[term]


def test_positions_that_were_never_observed_are_not_reconstructed(batch):
    method = second_epoch()
    before = method.loss(batch)["audio_reconstruction"]
    lost = (batch.audio.valid & ~batch.audio.observed).nonzero()[0]
    batch.clean.audio.values[tuple(lost)] = 100.0
    assert method.loss(batch)["audio_reconstruction"] > 2 * before
    batch.clean.audio.observed[tuple(lost)] = False
    assert method.loss(batch)["audio_reconstruction"] < 2 * before


def test_the_first_epoch_learns_to_predict_only(batch):
    method = make("tfr_net").train()
    start = copy.deepcopy(method.state_dict())
    terms = learn(method, [batch] * 2, method.optimizers(), epoch=1)
    assert set(terms) == {"sentiment"}
    for module in ("temporal", "generator"):
        assert all(torch.equal(p, start[f"{module}.{n}"]) for n, p in method.get_submodule(module).named_parameters())
    assert set(learn(method, [batch], method.optimizers(), epoch=2)) == {"sentiment", *RECONSTRUCTIONS}


def test_gradients_flow_through_the_target_of_text(batch):
    method, word = second_epoch(), 30
    for text in (batch.text, batch.clean.text):
        text.values[text.values == word] = word - 1
    row, column = (batch.text.values == UNK).nonzero()[0].tolist()
    batch.clean.text.values[row, column] = word
    method.loss(batch)["text_reconstruction"].backward()
    gradient = method.encoder.model.embeddings.word_embeddings.weight.grad
    assert gradient[word].any()  # it occurs in the complete text alone


def test_complete_training_reconstructs_nothing_and_needs_no_second_batch(batch):
    complete = replace(batch.clean, clean=None)
    doubled = replace(batch.clean, clean=batch.clean)
    method = second_epoch()
    terms = method.loss(complete)
    assert terms == method.loss(doubled)
    assert all(terms[name] == 0 for name in RECONSTRUCTIONS)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def released_update(method, optimizer, batches: list[Batch], every: int) -> None:
    """The released training loop."""
    left = every
    for batch in batches:
        if left == every:
            optimizer.zero_grad()
        left -= 1
        torch.stack(list(method.loss(batch).values())).sum().backward()
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.grad.clamp_(-0.8, 0.8)
        optimizer.step()
        if not left:
            optimizer.step()
            left = every


def test_the_official_update_is_that_of_the_released_loop():
    batches = [make_batch(3, seed=seed) for seed in range(5)]
    method, other = second_epoch(accumulate=2), second_epoch(accumulate=2)
    learn(method, batches, method.optimizers(), epoch=2)
    released_update(other, other.optimizers()[0], batches, 2)
    expected = other.state_dict()
    for key, value in method.state_dict().items():
        torch.testing.assert_close(value, expected[key])


@pytest.mark.parametrize(
    ("update", "accumulate", "steps"),
    [("official", 4, 6), ("official", 2, 7), ("official", 1, 10), ("accumulate", 4, 1), ("accumulate", 2, 2)],
)
def test_the_update_decides_how_many_steps_five_batches_take(update, accumulate, steps, batch):
    method = make("tfr_net", update=update, accumulate=accumulate).train()
    (optimizer,) = optimizers = method.optimizers()
    learn(method, [rows(batch, torch.arange(2))] * 5, optimizers, epoch=2)
    assert optimizer.state[method.head[1].weight]["step"] == steps


def test_the_sound_update_sums_the_gradients_of_a_group(batch):
    method = second_epoch(update="accumulate", accumulate=2, gradient_clip=1e9)
    optimizers, weight = method.optimizers(), method.head[1].weight
    start = weight.detach().clone()
    method.update(batch, optimizers, 0)
    once = weight.grad.clone()
    assert torch.equal(weight, start)
    method.update(batch, optimizers, 1)
    torch.testing.assert_close(weight.grad, 2 * once)
    assert not torch.equal(weight, start)


@pytest.mark.parametrize("update", ["official", "accumulate"])
def test_gradients_are_clipped_by_value(update, batch):
    largest = {}
    for limit in (0.01, 1e9):
        method = make("tfr_net", update=update, accumulate=1, gradient_clip=limit).train()
        learn(method, [batch], method.optimizers(), epoch=2)
        largest[limit] = max(p.grad.abs().max().item() for p in method.parameters() if p.grad is not None)
    assert largest[0.01] == pytest.approx(0.01) and largest[1e9] > 0.01


def test_text_encoder_and_the_rest_have_rates_and_decays_of_their_own():
    (optimizer,) = make("tfr_net").optimizers()
    assert type(optimizer) is torch.optim.Adam
    groups = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert groups == {"text encoder": (2e-6, 1e-4), "text encoder, no decay": (2e-6, 0.0), "method": (1e-3, 1e-3)}
    (frozen,) = make("tfr_net", finetune_text_encoder=False).optimizers()
    assert [group["name"] for group in frozen.param_groups] == ["method"]


def test_learning_rates_fall_to_a_tenth_on_a_plateau_and_go_on_after_an_interruption():
    method = make("tfr_net", plateau_patience=2)
    factors = []
    for epoch, error in enumerate([1.0, 0.9, 0.95, 0.95, 0.95, 0.8, 0.9, 0.9, 0.9], start=1):
        factors.append(method.learning_rate_factor(epoch))
        method.on_epoch_end(error)
        other = make("tfr_net", seed=1, plateau_patience=2)
        other.load_state_dict(method.state_dict())
        method = other
    assert factors == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1])
    assert method.learning_rate_factor(10) == pytest.approx(0.01)


def test_padding_is_seen_by_the_maximum_of_a_summary():
    method, batch = make("tfr_net").eval(), make_batch(3, lengths={"audio": 4}, lost=0.0)
    before = method.predict(batch).representation
    values = batch.audio.values.clone()
    values[:, 9:] = 3.0
    changed = replace(batch, audio=Sequence(values, batch.audio.valid, batch.audio.observed))
    assert (method.predict(changed).representation - before)[:, 36:56].abs().max() > 1e-4


def test_it_is_built_for_any_length():
    lengths = {"text": 1, "audio": 97, "vision": 2}
    spec = replace(SPEC, length=lengths)
    method = build("tfr_net", resolve("tfr_net", "demo")[0], spec, tiny_encoder()).train()
    terms = learn(method, [make_batch(4, spec=spec)] * 2, method.optimizers(), epoch=2)
    assert all(term.isfinite() for term in terms.values())
