from dataclasses import replace

import pytest
import torch
from tiny_methods import make, make_batch, rows, spec_for, starting_points
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.smil import centres_of
from elision.settings.params import retrieves
from elision.task import MODALITIES


def batch_without(*absent: str, size: int = 7) -> Batch:
    return make_batch(size, spec=spec_for("smil"), lost=0.3, absent=absent)


@pytest.fixture
def batch() -> Batch:
    return batch_without("vision")


def doubled(batch: Batch) -> Batch:
    sequences = {name: getattr(batch, name) for name in MODALITIES}
    sequences = {name: replace(each, values=each.values.double()) for name, each in sequences.items()}
    clean = doubled(batch.clean) if batch.clean else None
    return replace(batch, **sequences, label=batch.label.double(), clean=clean)


def total(method, batch: Batch) -> torch.Tensor:
    return torch.stack(list(method.loss(batch).values())).sum()


def slope(method, batch: Batch, parameter: torch.Tensor, place: torch.Tensor, step: float = 1e-6) -> float:
    """The central difference of the loss by one entry of a parameter."""
    sides, value = [], parameter.data.view(-1)[place].item()
    for moved in (value + step, value - step):
        parameter.data.view(-1)[place] = moved
        sides.append(total(method, batch).item())
    parameter.data.view(-1)[place] = value
    return (sides[0] - sides[1]) / (2 * step)


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("meta", ["second_order", "first_order", "none"])
def test_the_meta_gradient_is_that_of_finite_differences_if_it_flows_back_through_the_step(batch, meta, clip):
    method = make("smil", meta=meta, inner_learning_rate=0.5, inner_gradient_clip=clip).double().eval()
    batch = doubled(batch)
    total(method, batch).backward()
    names = ["completion.weights.vision.weight", "completion.of_joined.weight", "completion.of_hidden.bias"]
    names += ["network.head.weight", "network.encoders.text.convolutions.0.weight", "network.fuse.bias"]
    equal = []
    for name in names:
        parameter = method.get_parameter(name)
        place = parameter.grad.abs().argmax()
        expected = slope(method, batch, parameter, place)
        equal.append(parameter.grad.view(-1)[place].item() == pytest.approx(expected, rel=1e-5, abs=1e-9))
    assert all(equal) == (meta != "first_order")


def test_the_validation_reads_the_weights_after_one_step_on_the_incomplete_samples(batch):
    method = make("smil", inner_learning_rate=0.2, inner_gradient_clip=None).eval()
    terms = method.loss(batch)
    other = make("smil").eval()
    learnt = F.mse_loss(other.predict(batch).output, batch.label)
    assert terms["meta_train"].item() == pytest.approx(learnt.item(), rel=1e-5)
    learnt.backward()
    with torch.no_grad():
        for p in other.network.parameters():
            p -= 0.2 * p.grad
        made, whole = other.network(batch, other.completion), other.network(batch.clean)
    assert terms["meta_validation"].item() == pytest.approx(F.mse_loss(made.output[:, 0], batch.label).item(), rel=1e-4)
    for term in ("joined", "hidden"):
        expected = 0.01 * F.mse_loss(getattr(made, term), getattr(whole, term)).item()
        assert terms[term].item() == pytest.approx(expected, rel=1e-4)
    assert not torch.equal(terms["meta_validation"], make("smil", meta="none").eval().loss(batch)["meta_validation"])


def test_a_step_is_at_most_as_long_as_its_limit(batch):
    method = make("smil", inner_learning_rate=1.0, inner_gradient_clip=0.01).eval()
    learnt = 1e4 * method.error(method.predict(batch).output, batch.label)
    moved, own = method.stepped(learnt), dict(method.network.named_parameters())
    length = sum((moved[name] - own[name]).square().sum() for name in own).sqrt()
    assert length.item() == pytest.approx(0.01, rel=1e-3)


def test_a_missing_modality_becomes_a_mix_of_its_centres_and_others_stay(batch):
    method = make("smil").eval()
    vectors, given = method.network.embed(batch), method.completion.given(batch)
    assert given.tolist() == [[batch.text.observed[i].any(), batch.audio.observed[i].any(), False] for i in range(7)]
    condition = method.completion.condition(vectors, given)
    full = given[:, :2].all(1)
    torch.testing.assert_close(condition[full], vectors[full, :2].mean(1))
    filled = method.completion.fill(vectors, given, condition)
    assert torch.equal(filled[given], vectors[given])
    shares = F.softplus(method.completion.weights["vision"](condition))
    shares = shares / shares.sum(1, keepdim=True)
    torch.testing.assert_close(filled[:, 2], shares @ method.completion.centres[2])


def test_complete_samples_are_neither_filled_in_nor_changed():
    batch = batch_without()
    whole = batch.clean
    method = make("smil").train()
    found = method.network(whole, method.completion, noisy=True)
    assert torch.equal(found.hidden, method.network(whole).hidden)


@pytest.mark.parametrize(("kind", "expected"), [("multiplied", lambda x, s: x * s), ("added", lambda x, s: x + s)])
def test_features_of_incomplete_samples_are_changed_by_the_softplus_of_their_mean(kind, expected):
    completion = make("smil", regularisation=kind).completion
    x, mean = torch.randn(2, 4), torch.randn(2, 4)
    given = torch.tensor([[True, True, False], [True, True, True]])
    found = completion.change(x, mean, given, noisy=False)
    torch.testing.assert_close(found, torch.stack([expected(x, F.softplus(mean))[0], x[1]]))
    drawn = completion.change(x, mean, given, noisy=True)
    assert not torch.equal(drawn[0], found[0]) and torch.equal(drawn[1], x[1])


def test_random_numbers_are_drawn_for_the_meta_training_alone(batch):
    method = make("smil").train()
    torch.manual_seed(0)
    first = method.loss(batch)
    torch.manual_seed(1)
    assert not torch.equal(first["meta_train"], method.loss(batch)["meta_train"])
    without = make("smil", regularisation="none", meta="none").train()
    assert torch.equal(without.loss(batch)["meta_train"], without.loss(batch)["meta_train"])


def test_centres_are_those_of_the_teachers_vectors_of_complete_training_samples():
    assert retrieves("smil") == "smil_teacher"
    method = make("smil")
    teachers, database = starting_points("smil", spec_for("smil"))
    labelled = database.vectors["audio"][database.labelled]
    assert torch.equal(method.completion.centres[1], centres_of(labelled, 4, "audio"))
    assert method.completion.centres.any(2).all()
    (teacher,) = teachers.values()
    assert torch.equal(method.network.head.weight, teacher.network.head.weight)
    assert not method.completion.centres.requires_grad
    assert "completion.centres" in method.state_dict()


def test_k_means_finds_groups_whatever_the_global_seed_and_leaves_out_samples_without_the_modality():
    torch.manual_seed(0)
    middles = torch.tensor([[9.0, 0.0], [0.0, 9.0], [-9.0, -9.0]])
    vectors = middles.repeat(20, 1) + 0.1 * torch.randn(60, 2)
    found = centres_of(torch.cat([vectors, torch.zeros(30, 2)]), 3, "audio")
    expected = torch.stack([vectors[i::3].mean(0) for i in range(3)])
    order = torch.cdist(middles, found).argmin(1)
    torch.testing.assert_close(found[order], expected, atol=1e-5, rtol=0)
    torch.manual_seed(9)
    assert torch.equal(centres_of(torch.cat([vectors, torch.zeros(30, 2)]), 3, "audio"), found)
    assert not centres_of(torch.zeros(5, 2), 3, "audio").any()


def test_fewer_samples_than_centres_are_an_error_that_says_what_to_set():
    with pytest.raises(ElisionError, match="clusters is 3, but vision has only 2 training samples; set clusters: 2"):
        centres_of(torch.ones(2, 4), 3, "vision")


def test_a_teacher_of_other_sizes_is_an_error():
    _, database = starting_points("smil", spec_for("smil"))
    with pytest.raises(ElisionError, match="set the same width, kernel, hidden and modalities under teachers"):
        make("smil").start({"smil_teacher": make("smil_teacher", hidden=5)}, database)


def test_without_a_teacher_it_predicts_as_with_one_once_its_weights_are_loaded(batch):
    method = make("smil").eval()
    other = make("smil", seed=5).eval()
    other.start({}, None)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).output, method.predict(batch).output)


def test_without_reconstruction_the_mean_of_the_centres_is_filled_in(batch):
    method = make("smil", reconstruction=False).eval()
    vectors, given = method.network.embed(batch), method.completion.given(batch)
    filled = method.completion.fill(vectors, given, method.completion.condition(vectors, given))
    torch.testing.assert_close(filled[:, 2], method.completion.centres[2].mean(0).expand(7, -1))
    assert not len(method.completion.weights)


def test_rates_fall_as_in_the_released_code():
    method = make("smil", epochs=16, inner_rate_falls=True, inner_learning_rate=1.0)
    rates = []
    for epoch in range(1, 17):
        method.on_epoch_start(epoch)
        rates.append(method._inner_rate)
    assert rates[:5] == pytest.approx([1, 1, 0.1, 0.1, 0.01]) and rates[-1] == pytest.approx(1e-7)
    assert [method.learning_rate_factor(epoch) for epoch in (1, 10, 11, 16)] == [1.0, 1.0, 0.1, 0.1]
    constant = make("smil", epochs=16)
    constant.on_epoch_start(16)
    assert constant._inner_rate == 1e-3


def test_a_sample_without_any_modality_and_one_sample_alone_are_enough_for_a_step():
    method = make("smil").train()
    one = rows(batch_without(*MODALITIES), torch.tensor([2]))
    assert all(term.isfinite() for term in method.update(one, method.optimizers(), 0).values())
    assert method.eval().predict(one).output.isfinite().all()


def test_values_are_those_of_the_released_code():
    found, _ = resolve("smil", "iemocap")
    values = found.clusters, found.batch_size, found.learning_rate, found.inner_learning_rate, found.weight_decay
    assert values == (10, 64, 1e-3, 1e-3, 1e-4)
    assert (found.joined_weight, found.hidden_weight) == (0.01, 0.01)
