"""What every method must do, whatever it is: a new file in the catalogue is tested here without being named."""

import copy
import io
from dataclasses import replace
from typing import Literal, get_args, get_origin

import pytest
import torch
from pydantic.fields import FieldInfo
from tiny_methods import (
    CLASSES,
    SPEC,
    assert_counts,
    learn,
    make,
    make_batch,
    recording,
    rows,
    small,
    spec_for,
    tiny_encoder,
)

from elision.batch import Batch, Sequence
from elision.methods import load, method_names, resolve
from elision.methods.base import TrainingHyperparameters
from elision.task import CORPORA, MODALITIES, DataSpec, TaskKind

METHODS = method_names()
TRAINED = [name for name in METHODS if resolve(name, "mosi")[0].epochs]
READS_TOKENS = [name for name in TRAINED if load(name).reads_text == "tokens"]
# What each can be trained for, with the sizes of a dataset of that kind.
TASKS = [(name, spec_for(name, spec)) for name in METHODS for spec in (SPEC, CLASSES) if spec.task in load(name).task]
OFFICIAL = [(name, corpus) for name in METHODS for corpus in load(name).official_counts]
TRAINED_TASKS = [(name, spec) for name, spec in TASKS if name in TRAINED]


def task_id(value: object) -> str | None:
    return value.task.value if isinstance(value, DataSpec) else None


def absent(name: str, length: int, *, vectors: bool) -> Sequence:
    """A modality that the dataset does not have."""
    valid = torch.zeros(3, length, dtype=torch.bool)
    values = torch.zeros(3, length, 1) if vectors or name != "text" else torch.zeros(3, length, dtype=torch.long)
    return Sequence(values, valid, valid)


def odd_batches(spec: DataSpec, *, aligned: bool) -> dict[str, tuple]:
    """Batches at the edges of what a dataset may hold, each with the sizes of its dataset."""
    shortest = replace(spec, length=dict.fromkeys(MODALITIES, 1))
    cases = {
        "one sample": (spec, make_batch(1, spec=spec)),
        "one valid position": (spec, make_batch(3, spec=spec, lengths=dict.fromkeys(MODALITIES, 1))),
        "one position": (shortest, make_batch(3, spec=shortest)),
        "nothing observed": (spec, make_batch(3, spec=spec, lost=1.0)),
        "one modality": (spec, make_batch(3, spec=spec, lost=0.0, absent=("text", "vision"))),
        "a sample without text": (spec, make_batch(3, spec=spec, lengths={"text": 0})),
        "samples without any modality": (spec, make_batch(3, spec=spec, lengths=dict.fromkeys(MODALITIES, 0))),
    }
    for name in MODALITIES:
        width = {name: 1} if spec.text or name != "text" else {}
        length = {**spec.length, name: 1}
        if aligned:
            length = dict.fromkeys(MODALITIES, length["text"])
        without = replace(spec, **width, length=length)
        batch = make_batch(3, spec=without)
        none = {name: absent(name, length[name], vectors=spec.text > 0)}
        batch = replace(batch, **none, clean=replace(batch.clean, **none))
        cases[f"a dataset without {name}"] = (without, batch)
    return cases


# Odd sizes for every method and task, except datasets without a modality that the method requires.
ODD = {
    (name, spec.task.value, case): (name, *sizes)
    for name, spec in TASKS
    for case, sizes in odd_batches(spec, aligned=spec.length["audio"] == spec.length["text"]).items()
    if case.removeprefix("a dataset without ") not in load(name).requires
}


@pytest.fixture
def batch(request) -> Batch:
    """Seven utterances with the sizes that the method asks for, half of each lost."""
    return make_batch(7, spec=spec_for(request.getfixturevalue("name")))


def trained(name: str, batch: Batch, steps: int = 2, **overrides):
    method = make(name, **overrides).train()
    optimizers = method.optimizers()
    torch.manual_seed(0)
    learn(method, [batch] * steps, optimizers, epoch=2)
    return method, optimizers


@pytest.mark.parametrize("name", METHODS)
def test_every_official_or_demo_default_is_a_valid_hyperparameter(name):
    method = load(name)
    assert set(method.corpus_defaults) <= {name for corpus in CORPORA.values() for name in corpus.defaults}
    for values in method.corpus_defaults.values():
        method.Hyperparameters(**values)


@pytest.mark.parametrize(("name", "corpus"), OFFICIAL)
def test_parameters_are_as_many_as_in_the_released_classes(name, corpus, official_method):
    assert_counts(official_method(name, corpus), {"": load(name).official_counts[corpus]})


@pytest.mark.parametrize("name", METHODS)
def test_every_hyperparameter_is_described(name):
    assert all(field.description for field in load(name).Hyperparameters.model_fields.values())


def others(field: FieldInfo, current: object) -> list:
    """The other values of a switch: of a bool, or of a literal."""
    values = {bool: (True, False)}.get(field.annotation, get_args(field.annotation) if is_literal(field) else ())
    return [value for value in values if value != current]


def is_literal(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal


def unread(name: str, **overrides) -> set[str]:
    """Hyperparameters that neither the method nor the trainer reads from the building to a prediction."""
    hyperparameters, read = recording(small(name, **overrides))
    batch = make_batch(7, spec=spec_for(name))
    method = make(name, hyperparameters=hyperparameters)
    if name in TRAINED:
        optimizers = method.train().optimizers()
        for epoch in (1, 2):
            method.learning_rate_factor(epoch)
            learn(method, [batch, batch], optimizers, epoch=epoch)
            method.on_epoch_end(1.0)
        method.on_train_end()
    method.eval().predict(batch)
    # The trainer only compares `accumulate` with the size of the data; a method that is trained must follow it.
    of_the_trainer = set(TrainingHyperparameters.model_fields) - ({"accumulate"} if name in TRAINED else set())
    return set(type(hyperparameters).model_fields) - read - of_the_trainer


@pytest.mark.parametrize("name", METHODS)
def test_every_hyperparameter_is_read_if_only_under_another_value_of_a_switch(name):
    left, used = unread(name), small(name)
    for key, field in load(name).Hyperparameters.model_fields.items():
        for value in (
            others(field, getattr(used, key)) if left and key not in TrainingHyperparameters.model_fields else ()
        ):
            left &= unread(name, **{key: value})
    assert not left, f"{name} never reads {', '.join(sorted(left))}"


@pytest.mark.parametrize("odd", ODD.values(), ids=map(" - ".join, ODD))
def test_predictions_are_finite_and_one_per_sample_at_odd_sizes(odd):
    name, spec, batch = odd
    prediction = make(name, spec=spec).eval().predict(batch)
    classes = () if spec.task is TaskKind.REGRESSION else (len(spec.classes),)
    assert prediction.output.shape == (len(batch), *classes)
    assert prediction.representation.shape[0] == len(batch) and prediction.representation.ndim == 2
    assert prediction.output.isfinite().all() and prediction.representation.isfinite().all()


@pytest.mark.parametrize("odd", ODD.values(), ids=map(" - ".join, ODD))
def test_training_stays_finite_at_odd_sizes(odd):
    name, spec, batch = odd
    if name not in TRAINED:
        return
    method = make(name, spec=spec).train()
    for term in learn(method, [batch, batch], method.optimizers(), epoch=2).values():
        assert term.shape == () and term.isfinite()
    assert all(p.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize(("name", "spec"), TRAINED_TASKS, ids=task_id)
def test_every_trainable_parameter_gets_a_gradient(name, spec):
    batch = make_batch(7, spec=spec)
    method, _ = trained(name, batch, spec=spec)
    method.zero_grad()
    for gone in ((), *((modality,) for modality in MODALITIES)):  # some parts learn from absent modalities only
        terms = method.loss(make_batch(7, spec=spec, absent=gone))
        torch.stack(list(terms.values())).sum().backward()
    silent = [key for key, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # A softmax does not see the same number added to all its scores: the bias of a key has a gradient of rounding only.
    assert [key for key in silent if not key.endswith("key.bias")] == []


@pytest.mark.parametrize("name", TRAINED)
def test_every_trainable_parameter_is_in_one_optimizer_group(name):
    method = make(name)
    held = [id(p) for o in method.optimizers() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", READS_TOKENS)
def test_a_frozen_text_encoder_is_not_trained_and_has_no_dropout(name, batch):
    method, _ = trained(name, batch, finetune_text_encoder=False)
    assert not method.encoder.training
    assert all(p.grad is None for p in method.encoder.parameters())
    before = make(name, finetune_text_encoder=False).encoder.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in method.encoder.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_the_prediction_of_a_sample_does_not_depend_on_the_others(name, batch):
    method = make(name).eval()
    assert method.one_by_one
    together = method.predict(batch)
    for i in range(len(batch)):
        alone = method.predict(rows(batch, torch.tensor([i])))
        torch.testing.assert_close(alone.output, together.output[i : i + 1], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.representation, together.representation[i : i + 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_predictions_depend_on_padding_only_where_the_method_sees_it(name):
    spec = spec_for(name)
    lengths = {modality: length - 2 for modality, length in spec.length.items()}
    batch = make_batch(4, spec=spec, lengths=lengths)
    cut = replace(
        batch,
        **{
            modality: Sequence(*(t[:, : lengths[modality]] for t in (s.values, s.valid, s.observed)))
            for modality in MODALITIES
            for s in [getattr(batch, modality)]
        },
    )
    method = make(name).eval()
    output, without = method.predict(batch).output, method.predict(cut).output
    assert torch.allclose(output, without, atol=1e-5) == (not load(name).sees_padding)


@pytest.mark.parametrize("name", READS_TOKENS)
def test_a_text_encoder_that_leaves_out_padding_changes_no_prediction_and_no_loss(name):
    spec = spec_for(name)
    batch = make_batch(7, spec=spec, lengths={"text": spec.length["text"] - 4})
    batch = replace(batch, text=replace(batch.text, known_lengths=batch.text.lengths))
    batch.clean.text.known_lengths = batch.text.known_lengths
    method = make(name, finetune_text_encoder=False).eval()
    encode, rewrites, widths, found = method.encoder._encode, [], set(), {}
    method.encoder._encode = lambda text, rewrite: rewrites.extend(rewrite) or encode(text, rewrite)
    method.encoder.model.embeddings.register_forward_hook(lambda _module, given, _out: widths.add(given[0].shape[1]))
    for trims in (method.encoder.trims, False):
        method.encoder.trims = trims
        torch.manual_seed(0)
        prediction = method.predict(batch)
        found[trims] = [prediction.output, prediction.representation, *method.loss(batch).values()]
    for each in zip(*found.values(), strict=True):
        torch.testing.assert_close(each[0], each[-1], atol=1e-5, rtol=0)
    full = spec.length["text"]
    assert widths == ({full, full - 4} if len(found) == 2 and not rewrites else {full})


@pytest.mark.parametrize("name", METHODS)
def test_predictions_look_neither_at_labels_nor_at_the_complete_input(name, batch):
    method = make(name).eval()
    blind = replace(batch, label=torch.full_like(batch.label, torch.nan), clean=None)
    assert torch.equal(method.predict(batch).output, method.predict(blind).output)


@pytest.mark.parametrize("name", [name for name in TRAINED if load(name).combines])
def test_it_overfits_samples_whose_label_needs_every_modality(name):
    spec = spec_for(name)
    batch = make_batch(16, spec=spec, lost=0.0, lengths=spec.length)
    shown = torch.tensor([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)] * 2)
    if spec.text:
        batch.text.values[:, :, 0] = shown[:, 0:1]
    else:
        batch.text.values[:, 1] = torch.where(shown[:, 0] > 0, 20, 21)
    batch.audio.values[:, :, 0] = shown[:, 1:2]
    batch.vision.values[:, :, 0] = shown[:, 2:3]
    batch = replace(batch, label=shown.sum(1) * 2 / 3, index=torch.arange(16), clean=None)
    batch = replace(batch, clean=batch)
    method = make(name).train()
    method.begin_training(batch.label)
    optimizers = method.optimizers()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = max(group["lr"], 3e-3)
    torch.manual_seed(0)
    # How many epochs it takes, the rounding of the processor has a say in.
    for epoch in range(1, 201):
        learn(method.train(), [batch], optimizers, epoch=epoch)
        error = (method.eval().predict(batch).output - batch.label).abs().mean()
        if error < 0.25:  # the best constant has 1.0, the best two modalities 0.67
            return
    pytest.fail(f"after {epoch} epochs the mean absolute error is {error:.2f}")


@pytest.mark.parametrize("name", TRAINED)
def test_training_goes_on_from_a_saved_state_to_the_bit(name, batch):
    method, optimizers = trained(name, batch)
    other = make(name, seed=7).train()
    others = other.optimizers()
    file = io.BytesIO()
    torch.save([each.state_dict() for each in (method, *optimizers)], file)
    file.seek(0)
    for each, state in zip((other, *others), torch.load(file), strict=True):
        each.load_state_dict(state)
    for each, its in ((method, optimizers), (other, others)):
        torch.manual_seed(1)
        learn(each, [make_batch(spec=spec_for(name), seed=1)] * 2, its, epoch=3)
    state = other.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in method.state_dict().items())


@pytest.mark.parametrize("name", TRAINED)
def test_two_identical_trainings_give_equal_bits(name, batch):
    first, second = (trained(name, batch, steps=3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", TRAINED)
def test_learning_rate_factors_lie_between_0_and_1_in_every_epoch(name):
    method = make(name)
    factors = [method.learning_rate_factor(epoch) for epoch in range(1, method.hyperparameters.epochs + 1)]
    assert all(0 <= factor <= 1 for factor in factors) and max(factors) == 1


@pytest.mark.parametrize("name", [name for name in TRAINED if load(name).sums_gradients])
def test_gradients_of_accumulated_batches_are_summed_and_an_incomplete_group_is_dropped(name, batch, monkeypatch):
    for clip in ("clip_grad_norm_", "clip_grad_value_"):
        monkeypatch.setattr(torch.nn.utils, clip, lambda *_, **__: None)
    method = make(name, accumulate=2, finetune_text_encoder=False).eval()  # no dropout
    optimizers = method.optimizers()
    start = [p.clone() for p in method.parameters()]
    method.update(batch, optimizers, 0)
    once = [None if p.grad is None else p.grad.clone() for p in method.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(method.parameters(), start, strict=True))
    method.update(batch, optimizers, 0)  # the first batch of the next epoch
    assert all(q is None or torch.equal(p.grad, q) for p, q in zip(method.parameters(), once, strict=True))
    method.update(batch, optimizers, 1)
    for p, q in zip(method.parameters(), once, strict=True):
        if q is not None:
            torch.testing.assert_close(p.grad, 2 * q)
    assert not all(torch.equal(p, q) for p, q in zip(method.parameters(), start, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@pytest.mark.parametrize("name", TRAINED)
def test_a_step_on_the_gpu_equals_one_on_the_cpu(name, batch):
    method = make(name, encoder=tiny_encoder(dropout=0.0, pooler=load(name).uses_pooler)).train()
    steps = {}
    for device in ("cpu", "cuda"):
        moved, its = copy.deepcopy(method).to(device), batch.to(device)
        for module in moved.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        terms = learn(moved, [its], moved.optimizers(), epoch=2)
        gradients = {key: p.grad for key, p in moved.named_parameters() if p.grad is not None}
        steps[device] = {key: value.cpu() for key, value in {**terms, **gradients}.items()}
    # Gradients, not weights: Adam turns the rounding of a gradient near zero into a whole step.
    for key, value in steps["cpu"].items():
        assert torch.allclose(value, steps["cuda"][key], rtol=1e-3, atol=1e-5), key
