from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, rows, spec_for
from torch import nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.task import MODALITIES

SPACES = [f"{space}.{name}" for space in ("specific", "invariant") for name in MODALITIES]
INVARIANT = {f"invariant.{name}" for name in MODALITIES} | {"shared"}
PLAIN = {"classifier_input": "specific", "invariant": False, "pretrained": False}


@pytest.fixture
def batch() -> Batch:
    """Seven utterances, half of each lost."""
    return make_batch(7, spec=spec_for("men"))


def receivers(method: nn.Module, term: torch.Tensor) -> set[str]:
    """The sub-networks that a term of the loss has a gradient for."""
    method.zero_grad()
    term.backward(retain_graph=True)
    found = {key for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    return {name for name in [*SPACES, "shared", "classifier"] if any(key.startswith(name) for key in found)}


def test_parameter_counts_equal_those_of_nmer_without_the_autoencoder(official_method):
    expected = {f"{space}.audio": 133120 for space in ("specific", "invariant")}
    expected |= {f"{space}.vision": 241664 for space in ("specific", "invariant")}
    expected |= {f"{space}.text": 1622528 for space in ("specific", "invariant")}
    expected |= {"shared": 33024, "classifier": 115972, "": 17287044 - 13192576 - 66820 + 115972}
    assert_counts(official_method("men", "iemocap"), expected)


def test_training_is_that_of_nmer(official_method):
    men, nmer = (official_method(name, "iemocap").hyperparameters.model_dump() for name in ("men", "nmer"))
    assert {key: men[key] for key in men if key in nmer} == {key: nmer[key] for key in men if key in nmer}
    assert (men["epochs"], men["dropout"], men["corruption"], men["intensity"]) == (80, 0.1, "noise", 100)


def test_the_gradient_of_every_sub_network_is_clipped_by_itself(batch):
    method = make("men", clip=1e-3)
    torch.stack(list(method.loss(batch).values())).sum().backward()
    method.after_backward()
    for name in [*SPACES, "shared", "classifier"]:
        gradients = [p.grad for p in method.get_submodule(name).parameters()]
        assert nn.utils.get_total_norm(gradients).item() == pytest.approx(1e-3, rel=1e-2)


def test_what_is_classified_are_the_vectors_as_they_are(batch):
    for source in ("concat", "specific"):
        method = make("men", classifier_input=source).eval()
        specific, invariant = method.encode(batch)
        expected = torch.cat([specific, invariant], 1) if source == "concat" else specific
        prediction = method.predict(batch)
        assert torch.equal(prediction.representation, expected)
        assert torch.equal(prediction.output, method.classifier(expected).squeeze(1))


def test_on_clean_data_it_starts_where_the_teacher_stopped(batch):
    method = make("men").eval()
    clean = replace(batch.clean, clean=batch.clean)
    assert torch.equal(method.predict(clean).representation, method.teacher.predict(clean).representation)
    assert method.loss(clean)["invariant"] < 1e-12


@pytest.mark.parametrize("absent", MODALITIES)
def test_zeros_in_place_of_noise_cost_only_where_something_is_absent(absent):
    batch = make_batch(5, spec=spec_for("men"), lost=0.0, absent=(absent,))
    method = make("men").eval()
    (_, ours), (_, target) = method.encode(batch), method.teacher.encode(batch.clean)
    order = ("audio", "text", "vision")
    errors = {name: F.mse_loss(p, q) for name, p, q in zip(order, ours.chunk(3, 1), target.chunk(3, 1), strict=True)}
    assert {name for name, error in errors.items() if error > 0} == {absent}
    assert method.loss(batch)["invariant"].item() == pytest.approx(errors[absent].item() / 3)


def test_every_loss_term_equals_its_definition(batch):
    method = make("men").eval()
    terms = method.loss(batch)
    target = method.teacher.encode_invariant(batch.clean)
    expected = {
        "emotion": ((method.predict(batch).output - batch.label) ** 2).mean().item(),
        "invariant": ((method.encode(batch)[1] - target) ** 2).mean().item(),
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected)


def test_classes_have_the_cross_entropy():
    batch = make_batch(7, spec=spec_for("men", CLASSES))
    method = make("men", spec=spec_for("men", CLASSES)).eval()
    expected = F.cross_entropy(method.predict(batch).output, batch.label)
    assert method.loss(batch)["emotion"].item() == pytest.approx(expected.item())


def test_the_input_of_the_classifier_leaves_the_invariant_term_as_it_is(batch):
    concat, specific = (make("men", classifier_input=source).eval() for source in ("concat", "specific"))
    assert torch.equal(concat.loss(batch)["invariant"], specific.loss(batch)["invariant"])
    assert [each.classifier[0].in_features for each in (concat, specific)] == [768, 384]


def test_gradients_reach_what_each_term_reads_and_never_the_teacher(batch):
    for source, more in (("concat", INVARIANT), ("specific", set())):
        method = make("men", classifier_input=source).train()
        terms = method.loss(batch)
        specific = {f"specific.{name}" for name in MODALITIES}
        assert receivers(method, terms["emotion"]) == {*specific, "classifier", *more}
        assert receivers(method, terms["invariant"]) == INVARIANT
        assert all(p.grad is None for p in method.teacher.parameters())


def test_without_pretraining_only_the_target_is_the_teacher_s(batch):
    method = make("men", pretrained=False).eval()
    ours, its = method.encode(batch), method.teacher.encode(batch)
    assert not any(torch.equal(p, q) for p, q in zip(ours, its, strict=True))
    expected = F.mse_loss(ours[1], method.teacher.encode_invariant(batch.clean))
    assert method.loss(batch)["invariant"].item() == pytest.approx(expected.item())


def test_without_the_invariant_term_the_error_alone_trains_it(batch):
    method = make("men", invariant=False).train()
    terms = method.loss(replace(batch, clean=None))
    assert set(terms) == {"emotion"}
    assert receivers(method, terms["emotion"]) == {*SPACES, "shared", "classifier"}


@pytest.mark.parametrize("pretrained", [False, True])
def test_invariant_encoders_that_nothing_would_train_are_left_out(batch, pretrained):
    method = make("men", **{**PLAIN, "pretrained": pretrained}).train()
    assert {key.split(".")[0] for key in method.state_dict()} == {"specific", "classifier"}
    terms = method.update(batch, method.optimizers(), 0)
    assert set(terms) == {"emotion"}
    started = make("men", **{**PLAIN, "pretrained": pretrained}).specific.state_dict()
    teacher = method.teacher.specific.state_dict()
    assert all(torch.equal(value, teacher[key]) for key, value in started.items() if "weight" in key) == pretrained


@pytest.mark.parametrize("overrides", [{}, {"classifier_input": "specific"}, PLAIN])
def test_a_prediction_never_depends_on_the_rest_of_the_batch(batch, overrides):
    method = make("men", **overrides).eval()
    some = torch.tensor([4, 1, 2])
    torch.testing.assert_close(method.predict(rows(batch, some)).output, method.predict(batch).output[some])


@pytest.mark.parametrize("overrides", [{}, {"classifier_input": "specific"}, PLAIN])
def test_without_a_teacher_it_predicts_as_with_one_once_its_weights_are_loaded(batch, overrides):
    method = make("men", **overrides).eval()
    other = type(method)(method.hyperparameters, method.spec, nn.Identity()).eval()
    other.start({}, None)
    assert not torch.equal(other.predict(batch).output, method.predict(batch).output)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).output, method.predict(batch).output)


def test_the_teacher_is_no_part_of_the_method(batch):
    method = make("men").train()
    before = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    method.update(batch, method.optimizers(), 0)
    assert {key.split(".")[0] for key in method.state_dict()} == {"specific", "invariant", "shared", "classifier"}
    assert not {id(p) for p in method.parameters()} & {id(p) for p in method.teacher.parameters()}
    assert all(torch.equal(value, before[key]) for key, value in method.teacher.state_dict().items())
    assert not method.teacher.training
