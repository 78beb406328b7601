from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import SPEC, assert_counts, make, make_batch, rows, tiny_encoder
from torch import nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods import load
from elision.methods.emt_dlfr import Fusion, PromotionUnit, attraction, words
from elision.methods.layers.crossmodal import interleaved_sinusoids
from elision.methods.layers.reconstruction import reconstruction_error
from elision.task import MODALITIES

VECTORS = (*MODALITIES, "context")
# Counted on the released class, text encoder left out.
COUNTS = {
    "mosi": {
        "": 2_322_779,
        "recurrent.audio": 5_520,
        "recurrent.vision": 24_096,
        "projection.text": 98_304,
        "projection.audio": 2_048,
        "projection.vision": 4_096,
        "fusion": 478_337,
        "projector.context": 147_840,
        "projector.text": 590_592,
        "projector.audio": 272,
        "projector.vision": 1_056,
        "predictor.context": 98_944,
        "predictor.text": 394_496,
        "predictor.audio": 288,
        "predictor.vision": 1_088,
        "reconstruction.text": 99_072,
        "reconstruction.audio": 645,
        "reconstruction.vision": 2_580,
        "head.1": 307_456,
        "head.3": 65_792,
        "head.5": 257,
    },
    "mosei": {
        "": 2_115_583,
        "recurrent.audio": 5_888,
        "recurrent.vision": 8_832,
        "fusion": 478_337,
        "reconstruction.audio": 9_546,
        "reconstruction.vision": 4_515,
        "head.1": 153_728,
        "head.3": 16_512,
        "head.5": 129,
    },
    "sims": {
        "": 1_525_592,
        "recurrent.audio": 3_264,
        "recurrent.vision": 95_104,
        "projection.audio": 512,
        "projection.text": 24_576,
        "projection.vision": 0,
        "fusion": 30_497,
        "projector.context": 9_312,
        "predictor.context": 24_928,
        "reconstruction.text": 25_344,
        "reconstruction.audio": 1_089,
        "reconstruction.vision": 23_397,
        "head.1": 233_728,
        "head.3": 65_792,
        "head.5": 257,
    },
}
READ = {"mosi": 985_906, "mosei": 767_874, "sims": 453_730}  # by a prediction


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def layer_norm(x: np.ndarray, norm: nn.LayerNorm) -> np.ndarray:
    deviation = np.sqrt(x.var(-1, keepdims=True) + norm.eps)
    return (x - x.mean(-1, keepdims=True)) / deviation * array(norm.weight) + array(norm.bias)


def shaken(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, with norms that do something."""
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=0.4)
    return module.eval()


@pytest.mark.parametrize("dims", COUNTS)
def test_parameters_are_as_many_as_in_the_released_code(dims, official_method):
    method = official_method("emt_dlfr", dims)
    assert_counts(method, COUNTS[dims])
    assert_counts(method, {"recurrent projection fusion head": READ[dims]})


def test_official_values_are_those_of_the_released_configurations(official_method):
    mosi, mosei, sims = (official_method("emt_dlfr", dims).hyperparameters for dims in COUNTS)
    assert [(h.batch_size, h.accumulate, h.patience) for h in (mosi, mosei, sims)] == [
        (32, 4, 8),
        (16, 4, 8),
        (32, 4, 8),
    ]
    rates = ("learning_rate_text_encoder", "learning_rate_audio", "learning_rate_vision", "learning_rate")
    decays = ("weight_decay_text_encoder", "weight_decay_audio", "weight_decay_vision", "weight_decay")
    assert [[getattr(h, name) for name in rates] for h in (mosi, mosei, sims)] == [
        [5e-5, 1e-3, 1e-4, 1e-3],
        [2e-5, 1e-4, 1e-4, 1e-4],
        [2e-5, 1e-3, 1e-3, 1e-3],
    ]
    assert [[getattr(h, name) for name in decays] for h in (mosi, mosei, sims)] == [
        [1e-3, 1e-2, 1e-3, 1e-3],
        [1e-3, 1e-3, 1e-3, 1e-3],
        [1e-3, 0, 0, 0],
    ]
    assert [(h.width, h.layers, h.heads) for h in (mosi, mosei, sims)] == [(128, 3, 4), (128, 2, 4), (32, 4, 4)]
    dropouts = ("attention_dropout", "feed_forward_dropout", "head_dropout")
    assert [[getattr(h, name) for name in dropouts] for h in (mosi, mosei, sims)] == [[0.3, 0.1, 0.3], [0] * 3, [0] * 3]
    assert [(h.attraction_weight, h.reconstruction_weight) for h in (mosi, mosei, sims)] == [(1, 1), (1, 1), (0.5, 0.5)]


def test_a_unit_is_two_attentions_and_a_gated_layer_one_sample_and_position_at_a_time():
    unit = shaken(PromotionUnit(8, 2, attention_dropout=0.5, dropout=0.5))
    x, source = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    x_seen = torch.arange(5) < torch.tensor([[5], [1], [3]])
    source_seen = torch.arange(4) < torch.tensor([[2], [4], [1]])

    def attend(attention, queries, given, seen):
        key, value = np.split(given @ array(attention.key_value.weight).T, 2, -1)
        query, mixed = queries @ array(attention.query.weight).T, np.zeros_like(queries)
        for head in (slice(0, 4), slice(4, 8)):
            for t in range(len(queries)):
                score = np.array([query[t, head] @ key[s, head] / 2 for s in range(len(given)) if seen[s]])
                weight = np.exp(score - score.max())
                mixed[t, head] = weight / weight.sum() @ value[[s for s in range(len(given)) if seen[s]]][:, head]
        return mixed @ array(attention.out.weight).T + array(attention.out.bias)

    found = unit(x, source, x_seen, source_seen)
    for b in range(3):
        y = array(x)[b]
        y = y + attend(
            unit.cross, layer_norm(y, unit.norm_cross), layer_norm(array(source)[b], unit.norm_source), source_seen[b]
        )
        normed = layer_norm(y, unit.norm_within)
        y = y + attend(unit.within, normed, normed, x_seen[b])
        wide = layer_norm(y, unit.norm_feed_forward) @ array(unit.expand.weight).T + array(unit.expand.bias)
        gate = array(F.gelu(torch.tensor(wide[:, 32:])))
        y = y + (wide[:, :32] * gate) @ array(unit.contract.weight).T + array(unit.contract.bias)
        np.testing.assert_allclose(array(found[b]), y, atol=1e-4)


def test_a_layer_reads_what_the_layer_before_has_made_and_pools_the_three_contexts():
    fusion = shaken(Fusion(4, 2, 2, attention_dropout=0.5, dropout=0.5))
    context = torch.randn(2, 3, 4)
    given = {name: torch.randn(2, length, 4) for name, length in zip(MODALITIES, (5, 3, 4), strict=True)}
    seen = {name: torch.arange(x.shape[1]) < torch.tensor([[2], [x.shape[1]]]) for name, x in given.items()}
    found, found_sequences = fusion(context, given, seen)
    x = {name: x + interleaved_sinusoids(torch.arange(x.shape[1], device=x.device), 4) for name, x in given.items()}
    for _ in range(2):
        contexts = [fusion.unit(context, x[name], None, seen[name]).reshape(2, 12) for name in MODALITIES]
        x = {name: fusion.unit(x[name], context, seen[name], None) for name in MODALITIES}
        score = np.stack([array(fusion.pool(c))[:, 0] for c in contexts], 1)
        weight = np.exp(score) / np.exp(score).sum(1, keepdims=True)
        context = torch.tensor(sum(weight[:, i, None] * array(c) for i, c in enumerate(contexts))).float().view(2, 3, 4)
    torch.testing.assert_close(found, context, atol=1e-5, rtol=1e-4)
    for name in MODALITIES:
        torch.testing.assert_close(found_sequences[name], x[name], atol=1e-5, rtol=1e-4)


def test_positions_have_sines_at_even_and_cosines_at_odd_channels():
    table = array(interleaved_sinusoids(torch.arange(7), 6))
    for t in range(7):
        for k in range(3):
            angle = t / 10000 ** (2 * k / 6)
            assert table[t, 2 * k] == pytest.approx(np.sin(angle), abs=1e-5)
            assert table[t, 2 * k + 1] == pytest.approx(np.cos(angle), abs=1e-5)


def test_words_are_between_the_first_and_the_last_position_of_a_text(batch):
    found = words(batch)
    for i, length in enumerate(batch.text.lengths.tolist()):
        assert found[i].tolist() == [t < length - 2 for t in range(SPEC.length["text"])]


def test_the_vectors_are_the_first_token_and_the_last_steps_and_the_head_reads_them(batch):
    method = make("emt_dlfr").eval()
    view, prediction = method.view(batch), method.predict(batch)
    hidden = method.encoder(batch.text)
    torch.testing.assert_close(view.vectors["text"], hidden[:, 0])
    torch.testing.assert_close(view.text[:, :-1], hidden[:, 1:])
    for name in ("audio", "vision"):
        sequence, encoder = getattr(batch, name), method.recurrent[name]
        for i, length in enumerate(sequence.lengths.tolist()):
            steps, _ = encoder.lstm(sequence.values[i : i + 1, :length])
            torch.testing.assert_close(view.vectors[name][i], encoder.out(steps[0, -1]))
    torch.testing.assert_close(prediction.representation, torch.cat([view.vectors[name] for name in VECTORS], 1))
    torch.testing.assert_close(prediction.output, method.head(view.joint)[:, 0])


def test_a_prediction_reads_neither_projectors_nor_predictors_nor_reconstructions(batch):
    method = make("emt_dlfr").eval()
    before = method.predict(batch).output
    for part in (method.projector, method.predictor, method.reconstruction):
        shaken(part)
    assert torch.equal(method.predict(batch).output, before)


@pytest.mark.parametrize("absent", [(), ("text",), ("audio", "vision"), MODALITIES])
def test_samples_without_a_position_of_a_modality_are_predicted_as_if_alone(absent):
    batch = make_batch(5)
    nothing = {
        name: replace(getattr(batch, name), valid=torch.zeros_like(getattr(batch, name).valid)) for name in absent
    }
    batch = replace(batch, **nothing)
    method = make("emt_dlfr").eval()
    found = method.predict(batch).output
    assert found.isfinite().all()
    torch.testing.assert_close(method.predict(rows(batch, torch.tensor([3]))).output[0], found[3])


def test_a_text_of_one_position_has_a_sequence(batch):
    text = Sequence(batch.text.values[:, :1], torch.zeros(7, 1, dtype=torch.bool), torch.zeros(7, 1, dtype=torch.bool))
    assert make("emt_dlfr").eval().predict(replace(batch, text=text)).output.isfinite().all()


def test_attraction_is_the_negative_cosine_and_moves_the_prediction_alone():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    y = torch.tensor([[3.0, 0.0], [0.0, -1.0]], requires_grad=True)
    assert attraction(x[:1], y[:1]).item() == pytest.approx(-1)
    assert attraction(x, y).item() == pytest.approx(0)
    attraction(x, y + 1).backward()
    assert x.grad is not None and y.grad is None


def test_the_reconstruction_error_is_the_mean_over_missing_elements():
    torch.manual_seed(0)
    x, target = torch.randn(2, 3, 4) * 3, torch.randn(2, 3, 4)
    missing = torch.tensor([[True, False, True], [False, False, False]])
    errors = []
    for i, t in ((0, 0), (0, 2)):
        for a, b in zip(x[i, t].tolist(), target[i, t].tolist(), strict=True):
            errors.append(0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5)
    assert reconstruction_error(x, target, missing).item() == pytest.approx(np.mean(errors), rel=1e-5)
    x.requires_grad_()
    nothing = reconstruction_error(x, target, torch.zeros_like(missing))
    nothing.backward()
    assert nothing == 0 and torch.equal(x.grad, torch.zeros_like(x))


def test_every_term_is_what_the_two_views_give(batch):
    method = make("emt_dlfr", encoder=tiny_encoder(dropout=0.0), attraction_weight=0.7, reconstruction_weight=0.3)
    terms = method.train().loss(batch)
    complete, corrupted = method.view(batch.clean), method.view(batch)
    assert list(terms) == [
        *("sentiment", "complete"),
        *(f"{name}_attraction" for name in VECTORS),
        *(f"{name}_reconstruction" for name in MODALITIES),
    ]

    def error(view) -> torch.Tensor:
        return (method.head(view.joint)[:, 0] - batch.label).abs().mean()

    torch.testing.assert_close(terms["sentiment"], error(corrupted))
    torch.testing.assert_close(terms["complete"], 0.7 * error(complete))
    for name in VECTORS:
        z = [method.projector[name](view.vectors[name]) for view in (complete, corrupted)]
        p = [method.predictor[name](each) for each in z]
        cosines = F.cosine_similarity(p[0], z[1]).mean() + F.cosine_similarity(p[1], z[0]).mean()
        torch.testing.assert_close(terms[f"{name}_attraction"], -0.35 * cosines)
    for name, target in (("audio", batch.clean.audio.values), ("vision", batch.clean.vision.values)):
        lost = getattr(batch, name).valid & ~getattr(batch, name).observed
        rebuilt = method.reconstruction[name](corrupted.sequences[name])
        torch.testing.assert_close(terms[f"{name}_reconstruction"], 0.3 * F.smooth_l1_loss(rebuilt[lost], target[lost]))
    hidden = method.encoder(batch.clean.text)
    rebuilt, lost = method.reconstruction["text"](corrupted.sequences["text"]), []
    for i, length in enumerate(batch.text.lengths.tolist()):
        lost += [(i, t) for t in range(1, length - 1) if not batch.text.observed[i, t]]
    errors = [F.smooth_l1_loss(rebuilt[i, t - 1], hidden[i, t]) for i, t in lost]
    torch.testing.assert_close(terms["text_reconstruction"], 0.3 * torch.stack(errors).mean())


def test_the_text_target_gets_no_gradient(batch):
    method = make("emt_dlfr").train()
    calls = []
    method.encoder.register_forward_hook(
        lambda _module, _given, hidden: (hidden.retain_grad(), calls.append(hidden))[0]
    )
    method.loss(batch)["text_reconstruction"].backward()
    complete, corrupted = calls
    assert complete.grad is None or not complete.grad.any()
    assert corrupted.grad.any()


def test_positions_that_were_never_observed_are_not_rebuilt():
    batch = make_batch(5, lost=0.0)
    never = batch.clean.audio.valid & (torch.arange(SPEC.length["audio"]) % 2 == 0)
    observed = batch.clean.audio.observed & ~never
    batch = replace(
        batch,
        audio=replace(batch.audio, observed=observed),
        clean=replace(batch.clean, audio=replace(batch.clean.audio, observed=observed)),
    )
    assert make("emt_dlfr").loss(batch)["audio_reconstruction"] == 0


def test_a_batch_of_one_sample_is_trained(batch: Batch):
    method = make("emt_dlfr").train()
    (optimizer,) = method.optimizers()
    terms = method.update(rows(batch, torch.tensor([2])), [optimizer], 0)
    assert all(term.isfinite() for term in terms.values())


def test_each_group_has_its_own_learning_rate_and_penalty():
    (optimizer,) = make("emt_dlfr").optimizers()
    found = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert found == {
        "text encoder": (5e-5, 1e-3),
        "text encoder, no decay": (5e-5, 0.0),
        "audio": (1e-3, 1e-2),
        "vision": (1e-4, 1e-3),
        "method": (1e-3, 1e-3),
    }


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 128"):
        load("emt_dlfr").Hyperparameters(heads=3)
