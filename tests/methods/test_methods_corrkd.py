from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, make, make_batch, rows, spec_for
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import resolve
from elision.methods.corrkd import contrastive_distance, divergence, similarities, split_response
from elision.methods.layers.information import information_bound


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=spec_for("corrkd"))


@pytest.fixture
def classes_batch() -> Batch:
    return make_batch(7, spec=spec_for("corrkd", CLASSES))


def student(**changes):
    return make("corrkd", spec=spec_for("corrkd", CLASSES), **changes).eval()


def test_the_joint_vector_holds_the_mean_of_the_valid_steps_of_each_modality(batch):
    method = make("corrkd_teacher").eval()
    joint = method.represent(batch).joint
    steps, _ = method.sequences["audio"].steps(batch.audio)
    for row, valid in enumerate(batch.audio.valid):
        torch.testing.assert_close(joint[row, 8:16], steps[row, valid].mean(0))


def test_own_vectors_are_pulled_and_those_of_others_pushed_up_to_the_margin():
    teacher = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    # Distances to the own vectors are 0; 5, 1 and 18 ** 0.5 to those of others.
    assert contrastive_distance(teacher, teacher, 2.0).item() == pytest.approx(2 * 1 / 6)
    assert contrastive_distance(teacher, teacher, 0.5).item() == 0
    moved = teacher + torch.tensor([0.0, 2.0])
    own, lacking = 4.0, (2 - 1) ** 2  # only (0, 2) is near another's vector, (0, 1)
    assert contrastive_distance(moved, teacher, 2.0).item() == pytest.approx(own + lacking / 6)


def test_the_contrast_of_equal_vectors_and_of_one_sample_has_a_finite_gradient():
    for count in (1, 3):
        same = torch.ones(count, 4, requires_grad=True)
        contrastive_distance(same, torch.ones(count, 4), 1.0).backward()
        assert same.grad.isfinite().all()
    assert contrastive_distance(torch.ones(1, 4), torch.ones(1, 4), 1.0).item() == 0


def test_similarities_are_cosines_with_the_mean_vectors_of_classes():
    torch.manual_seed(0)
    joint, category = torch.randn(5, 4), torch.tensor([0, 0, 2, 2, 2])
    found = similarities(joint, category, 3)
    for column, mean in ((0, joint[:2].mean(0)), (2, joint[2:].mean(0))):
        torch.testing.assert_close(found[:, column], F.cosine_similarity(joint, mean[None]))
    assert not found[:, 1].any()


@pytest.mark.parametrize("kind", ["squared_error", "divergence"])
def test_a_class_that_the_batch_lacks_is_left_out(kind):
    torch.manual_seed(0)
    method = student(prototype_loss=kind)
    mine, wanted, category = torch.randn(5, 24), torch.randn(5, 24), torch.tensor([0, 0, 2, 2, 2])
    pairs = [similarities(joint, category, 3)[:, [0, 2]] for joint in (mine, wanted)]
    expected = F.mse_loss(*pairs) if kind == "squared_error" else divergence(*pairs)
    torch.testing.assert_close(method.compare_prototypes(mine, wanted, category), expected)
    assert method.compare_prototypes(mine, mine, category).item() == pytest.approx(0, abs=1e-6)


def test_a_response_is_parted_into_the_true_class_and_the_others():
    torch.manual_seed(0)
    logits, category = torch.randn(3, 4), torch.tensor([0, 3, 1])
    target, others = (part.softmax(1) for part in split_response(logits, category))
    shares = logits.softmax(1)
    for row, own in enumerate(category.tolist()):
        rest = [c for c in range(4) if c != own]
        torch.testing.assert_close(target[row], torch.stack([shares[row, own], shares[row, rest].sum()]))
        torch.testing.assert_close(target[row, 1] * others[row], shares[row, rest])


def test_the_divergence_is_that_of_the_true_class_and_that_of_the_others_by_their_share():
    torch.manual_seed(0)
    mine, wanted, category = torch.randn(1, 4), torch.randn(1, 4), torch.tensor([2])
    (target, others), (its_target, its_others) = split_response(mine, category), split_response(wanted, category)
    share = its_target.softmax(1)[0, 1]
    whole = divergence(target, its_target) + share * divergence(others, its_others)
    torch.testing.assert_close(divergence(mine, wanted), whole)
    decoupled = student(response="decoupled").compare_responses(mine, wanted, category)
    torch.testing.assert_close(decoupled, divergence(target, its_target) + divergence(others, its_others))
    torch.testing.assert_close(student(response="divergence").compare_responses(mine, wanted, category), whole)


def test_the_information_of_both_parts_of_a_response_is_bounded_by_a_network_each(classes_batch):
    torch.manual_seed(0)
    method = student(strangers=1)
    mine, wanted, category = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([2, 0, 1, 1, 0])
    expected = 0.0
    for number, net in enumerate(method.statistics):
        found, its = (split_response(logits, category)[number].softmax(1) for logits in (mine, wanted))
        if number == 0:
            found, its = found[:, :1], its[:, :1]
        expected -= information_bound(net(its, found), net(its.roll(1, 0), found))
    torch.testing.assert_close(method.compare_responses(mine, wanted, category), expected)
    assert [net.layers[0].in_features for net in method.statistics] == [2, 4]


def test_scores_have_two_classes_whose_other_class_tells_nothing(batch):
    method = make("corrkd").eval()
    assert len(method.statistics) == 1
    assert method.categories(torch.tensor([-0.5, 0.0, 1.0])).tolist() == [0, 1, 1]
    found = method.represent(batch)
    terms = method.task_terms(found, batch.label)
    torch.testing.assert_close(terms["polarity"], F.cross_entropy(found.logits, (batch.label >= 0).long()))
    assert terms["sentiment"].item() == pytest.approx(F.mse_loss(found.output, batch.label).item())
    assert not hasattr(student(), "polarity")


def test_the_student_reads_the_corrupted_data_and_the_teacher_the_complete(batch):
    method = make("corrkd").train()
    (teacher,) = method._teacher
    assert torch.equal(method.teach(batch).joint, teacher.represent(batch.clean).joint)
    assert not torch.allclose(method.teach(batch).joint, teacher.represent(batch).joint)
    method.update(batch, method.optimizers(), 0)
    assert all(p.grad is None for p in teacher.parameters())
    assert not any("teacher" in key for key in method.state_dict())
    assert not torch.equal(method.head.weight, teacher.head.weight)


@pytest.mark.parametrize(("switch", "term"), [("contrast", "contrast"), ("prototypes", "prototypes")])
def test_an_ablation_takes_away_its_term(classes_batch, switch, term):
    full, without = student().loss(classes_batch), student(**{switch: False}).loss(classes_batch)
    assert set(full) == {"sentiment", "contrast", "prototypes", "response"}
    assert set(full) - set(without) == {term}


@pytest.mark.parametrize("kind", ["decoupled", "divergence"])
def test_without_mutual_information_there_are_no_statistics_networks(classes_batch, kind):
    method = student(response=kind)
    assert not len(method.statistics)
    method.update(classes_batch, method.optimizers(), 0)
    (teacher,) = method._teacher
    method.load_state_dict(teacher.state_dict())
    whole = replace(classes_batch.clean, clean=classes_batch.clean)
    assert method.loss(whole)["response"].item() == pytest.approx(0, abs=1e-6)


def test_one_sample_is_enough_for_a_step(batch):
    method = make("corrkd").train()
    assert all(
        term.isfinite() for term in method.update(rows(batch, torch.tensor([2])), method.optimizers(), 0).values()
    )


def test_a_teacher_of_another_width_is_an_error():
    with pytest.raises(ElisionError, match="width is 8, but its teacher has 12; set teachers"):
        make("corrkd").start({"corrkd_teacher": make("corrkd_teacher", width=12)}, None)


@pytest.mark.parametrize(
    ("corpus", "margin", "rate"), [("mosi", 1.2, 4e-3), ("mosei", 1.0, 2e-3), ("iemocap", 1.4, 4e-3)]
)
def test_values_of_the_corpora_are_those_of_the_descriptions(corpus, margin, rate):
    found, _ = resolve("corrkd", corpus)
    teacher, _ = resolve("corrkd_teacher", corpus)
    assert (found.margin, found.learning_rate, teacher.learning_rate) == (margin, rate, rate)
