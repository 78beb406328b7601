from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch, rows, spec_for
from torch import nn

from elision.batch import Batch, Sequence
from elision.methods import build, resolve
from elision.methods.ae import mean_over_time
from elision.task import MODALITIES, OFFICIAL_SPECS

ORDER = ("audio", "text", "vision")
# The utterance vectors of GCNet, and the counts of its official class for four classes.
UTTERANCES = replace(OFFICIAL_SPECS["iemocap"], text=1024, audio=512, vision=1024, length=dict.fromkeys(MODALITIES, 1))
HEADS = {
    "encoders.audio": 98688,
    "encoders.text": 164224,
    "encoders.vision": 164224,
    "decoders.audio": 131840,
    "decoders.text": 197888,
    "decoders.vision": 197888,
    "classifier": 66308,
}
COUNTS = HEADS | {"autoencoder": 263168, "": 1284228}


def official(name: str, **overrides):
    with torch.device("meta"):
        return build(name, resolve(name, "iemocap", overrides)[0], UTTERANCES)


def absent_in_turn(size: int = 6, *, spec=CLASSES, seed: int = 0) -> Batch:
    """Utterances that lack one modality each, in turn: text, audio, vision, text, ..."""
    spec = spec_for("ae", spec)
    lacking = [make_batch(size, spec=spec, lost=0.0, absent=(name,), seed=seed) for name in MODALITIES]
    parts = [rows(lacking[i % 3], torch.tensor([i])) for i in range(size)]

    def join(items: list):
        tensors = {key: torch.cat([getattr(item, key) for item in items]) for key in ("label", "index", "row", "rate")}
        sequences = {}
        for name in MODALITIES:
            each = [getattr(item, name) for item in items]
            parts = (torch.cat([getattr(s, part) for s in each]) for part in ("values", "valid", "observed"))
            sequences[name] = Sequence(*parts)
        return Batch(**sequences, **tensors)

    return replace(join(parts), clean=join([part.clean for part in parts]))


def gradients(method: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    method.zero_grad()
    torch.stack(list(method.loss(batch).values())).sum().backward()
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}


def test_parameter_counts_equal_the_official_ones():
    assert_counts(official("ae"), COUNTS)


def test_the_prediction_reads_the_completed_vector_and_nothing_else():
    method, batch = make("ae", spec=spec_for("ae", CLASSES)).eval(), absent_in_turn()
    h = torch.cat([method.encoders[name](mean_over_time(getattr(batch, name))) for name in ORDER], 1)
    first, second, third, fourth = (m for m in method.autoencoder.modules() if isinstance(m, nn.Linear))
    leaky = nn.functional.leaky_relu
    expected = fourth(leaky(third(leaky(second(leaky(first(h))))))).relu()
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, expected)
    torch.testing.assert_close(prediction.output, method.classifier(expected))
    assert prediction.output.shape == (6, 3) and (prediction.representation >= 0).all()


def test_the_vector_of_an_utterance_is_the_mean_of_its_frames_and_lost_ones_are_zeros():
    valid = torch.tensor([[True, True, True, False], [True, False, False, False], [False] * 4])
    values = torch.arange(24.0).reshape(3, 4, 2) + 1
    values[0, 1] = 0  # lost
    mean = mean_over_time(Sequence(values, valid, valid))
    torch.testing.assert_close(mean, torch.stack([(values[0, 0] + values[0, 2]) / 3, values[1, 0], torch.zeros(2)]))


@pytest.mark.parametrize("name", ["ae", "cra"])
def test_with_every_modality_there_is_nothing_to_rebuild_and_decoders_learn_nothing(name):
    method = make(name, spec=spec_for(name, CLASSES)).train()
    batch = make_batch(6, spec=spec_for(name, CLASSES), lost=0.0)
    assert method.loss(batch)["reconstruction"].item() == 0.0
    learning = {key.split(".")[0] for key in gradients(method, batch)}
    assert learning == {"encoders", "autoencoder", "classifier"}


@pytest.mark.parametrize("name", ["ae", "cra"])
@pytest.mark.parametrize("spec", [SPEC, CLASSES], ids=["regression", "classification"])
def test_everything_learns_where_every_modality_is_absent_somewhere(name, spec):
    method = make(name, spec=spec_for(name, spec), initialisation="kaiming").eval()
    assert set(gradients(method, absent_in_turn(spec=spec))) == {key for key, _ in method.named_parameters()}


@pytest.mark.parametrize("name", ["ae", "cra"])
def test_without_its_weight_the_reconstruction_changes_nothing(name):
    batch, spec = absent_in_turn(), spec_for(name, CLASSES)
    method = make(name, spec=spec, reconstruction_weight=0.0).eval()
    found = gradients(method, batch)
    method.zero_grad()
    torch.nn.functional.cross_entropy(method.predict(batch).output, batch.label).backward()
    assert not any(key.startswith("decoders.") for key in found)
    for key, gradient in found.items():
        torch.testing.assert_close(method.get_parameter(key).grad, gradient)


def test_the_error_is_summed_over_what_was_missing_and_divided_by_the_width():
    batch, spec = absent_in_turn(5), spec_for("ae", CLASSES)
    method = make("ae", spec=spec, reconstruction_weight=0.5).eval()
    completed, expected = method.predict(batch).representation, 0.0
    for i, name in enumerate(["text", "audio", "vision", "text", "audio"]):
        rebuilt = method.decoders[name](completed[i : i + 1])[0]
        clean = getattr(batch.clean, name)
        target = clean.values[i, clean.valid[i]].mean(0)
        assert rebuilt.shape == target.shape == (getattr(spec, name),)
        expected += sum((a - b) ** 2 for a, b in zip(rebuilt.tolist(), target.tolist(), strict=True)) / len(target)
    terms = method.loss(batch)
    assert terms["reconstruction"].item() == pytest.approx(0.5 * expected, rel=1e-4)
    cross_entropy = torch.nn.functional.cross_entropy(method.predict(batch).output, batch.label)
    torch.testing.assert_close(terms["sentiment"], cross_entropy)
    averaged = make("ae", spec=spec, reconstruction_weight=0.5, recon_reduction="mean").eval().loss(batch)
    assert averaged["reconstruction"].item() == pytest.approx(0.5 * expected * 256 / 5, rel=1e-4)


def test_frames_that_are_lost_one_by_one_are_not_rebuilt():
    spec = spec_for("ae", CLASSES)
    batch = make_batch(6, spec=spec, lost=0.9)
    assert make("ae", spec=spec).eval().loss(batch)["reconstruction"].item() == 0.0


def test_a_modality_that_an_utterance_never_had_is_not_rebuilt():
    spec = spec_for("ae", CLASSES)
    batch = make_batch(6, spec=spec, lost=0.0, absent=("audio",), lengths={"audio": 0})
    assert make("ae", spec=spec).eval().loss(batch)["reconstruction"].item() == 0.0


def test_scores_have_the_squared_error():
    spec = spec_for("ae")
    method, batch = make("ae").eval(), make_batch(7, spec=spec)
    expected = (method.predict(batch).output - batch.label).square().mean()
    torch.testing.assert_close(method.loss(batch)["sentiment"], expected)


@pytest.mark.parametrize("name", ["ae", "cra"])
def test_adam_its_rate_and_the_batch_are_those_of_the_official_script(name):
    h, _ = resolve(name, "iemocap")
    assert (h.epochs, h.batch_size, h.corruption, h.layers) == (100, 256, "absent", (256, 128))
    assert (h.reconstruction_weight, h.recon_reduction) == (0.01, "sum")
    method = build(name, h, spec_for(name, CLASSES))
    (optimizer,) = method.optimizers()
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.Adam
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.5, 0.999), 0)
    factors = [method.learning_rate_factor(epoch) for epoch in range(1, 101)]
    assert factors == pytest.approx([1 - max(0, e + 1 - 20) / 81 for e in range(100)])


@pytest.mark.parametrize("name", ["ae", "cra"])
def test_the_released_weights_start_near_zero_and_biases_at_zero(name):
    torch.manual_seed(0)
    method = build(name, resolve(name, "iemocap", {"initialisation": "normal"})[0], spec_for(name, CLASSES))
    for key, parameter in method.named_parameters():
        if key.endswith("bias"):
            assert not parameter.any()
        elif parameter.numel() > 10_000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("name", ["ae", "cra", "mmin_ae"])
def test_only_with_our_initial_weights_does_the_first_output_depend_on_the_input(name):
    def deviation(**changes) -> float:
        h, spec = resolve(name, "iemocap", changes)[0], spec_for(name, CLASSES)
        torch.manual_seed(0)
        method = build(name, h, spec).eval()
        return method.predict(make_batch(64, spec=spec, lost=0.0)).output.std(0).mean().item()

    assert deviation(initialisation="normal") < 1e-4
    assert 3e-3 < deviation() < 3


def test_the_released_values_are_those_of_the_switches():
    fields = type(resolve("ae", "iemocap")[0]).model_fields
    released = {name: field.json_schema_extra["released"] for name, field in fields.items() if field.json_schema_extra}
    expected = {"initialisation": "normal", "dropout": 0.5, "recon_reduction": "sum"}
    assert expected.items() <= released.items()


@pytest.mark.parametrize("name", ["ae", "cra", "mmin"])
def test_the_deviation_of_initial_weights_is_a_hyperparameter(name):
    changes = {"initialisation": "normal", "init_gain": 0.3}
    h = resolve(name, "iemocap", changes)[0]
    torch.manual_seed(0)
    method = build(name, h, spec_for(name, CLASSES))
    weights = [m.weight for m in method.modules() if isinstance(m, nn.Linear | nn.Conv1d) and m.weight.numel() > 5000]
    assert weights
    assert all(weight.std().item() == pytest.approx(0.3, rel=0.05) for weight in weights)


def test_the_family_of_mmin_keeps_its_deviation():
    gains = {name: resolve(name, "iemocap")[0].init_gain for name in ("ae", "cra", "mmin", "nmer", "if_mmin")}
    assert gains == {"ae": 0.02, "cra": 0.02, "mmin": 0.012, "nmer": 0.012, "if_mmin": 0.012}


@pytest.mark.parametrize("name", ["ae", "cra"])
def test_each_encoder_and_decoder_is_clipped_by_itself(name):
    method = make(name, spec=spec_for(name, CLASSES), clip=1e-4, initialisation="kaiming").eval()
    gradients(method, absent_in_turn())
    method.after_backward()
    networks = [*method.encoders.values(), *method.decoders.values(), method.autoencoder, method.classifier]
    for network in networks:
        norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
        assert norm.item() == pytest.approx(1e-4, rel=0.02)


def test_what_only_encoders_over_time_have_cannot_be_set():
    cls = type(make("ae").hyperparameters)
    for setting in ({"mask_padding": False}, {"text_dropout": 0.5}):
        with pytest.raises(ValidationError, match=next(iter(setting))):
            cls(**setting)
