from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, learn, make, make_batch, spec_for
from torch.nn import functional as F

from elision.methods.late_fusion import mean_error
from elision.task import MODALITIES

SPEC = spec_for("late_fusion")


def alone(method, batch, name):
    """The prediction from one modality, as if the others were absent."""
    others = {
        other: replace(sequence, observed=torch.zeros_like(sequence.observed))
        for other in MODALITIES
        if other != name
        for sequence in [getattr(batch, other)]
    }
    return method.predict(replace(batch, **others)).output


@pytest.mark.parametrize("spec", [SPEC, spec_for("late_fusion", CLASSES)], ids=["regression", "classification"])
def test_the_prediction_is_the_mean_of_the_scores_of_the_modalities_that_are_present(spec):
    method = make("late_fusion", spec=spec).eval()
    complete = make_batch(5, spec=spec, lost=0.0)
    scores = {name: alone(method, complete, name) for name in MODALITIES}
    torch.testing.assert_close(method.predict(complete).output, sum(scores.values()) / 3)
    deaf = make_batch(5, spec=spec, lost=0.0, absent=("audio",))
    torch.testing.assert_close(method.predict(deaf).output, (scores["text"] + scores["vision"]) / 2)


def test_without_any_modality_the_labels_alone_decide():
    nothing = make_batch(4, spec=SPEC, lost=1.0)
    method = make("late_fusion").eval()
    method.begin_training(torch.tensor([1.0, 2.0, 0.0]))
    torch.testing.assert_close(method.predict(nothing).output, torch.ones(4))
    classes = spec_for("late_fusion", CLASSES)
    method = make("late_fusion", spec=classes).eval()
    method.begin_training(torch.tensor([2, 2, 2, 0, 2]))
    output = method.predict(make_batch(4, spec=classes, lost=1.0)).output
    torch.testing.assert_close(output.softmax(1), torch.tensor([2 / 8, 1 / 8, 5 / 8]).expand(4, 3))


@pytest.mark.parametrize("gone", MODALITIES)
def test_a_modality_learns_from_its_own_error_alone(gone):
    method = make("late_fusion", dropout=0.0).train()
    batch = make_batch(6, spec=SPEC, lost=0.0, absent=(gone,))
    terms = method.loss(batch)
    assert list(terms) == list(MODALITIES) and terms[gone] == 0
    other = next(name for name in MODALITIES if name != gone)
    expected = F.mse_loss(alone(method, batch, other), batch.label)
    torch.testing.assert_close(terms[other], expected)
    terms[other].backward()
    learnt = {key.split(".")[1] for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert learnt == {other}


def test_the_error_is_over_the_samples_that_have_the_modality():
    scores, label = torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([0.0, 0.0, 0.0])
    present = torch.tensor([True, False, True])
    assert mean_error(scores, label, present, classes=False) == 2.5
    logits = torch.tensor([[3.0, 0.0], [0.0, 9.0], [0.0, 0.0]])
    expected = F.cross_entropy(logits[[0, 2]], torch.tensor([0, 1]))
    found = mean_error(logits, torch.tensor([0, 0, 1]), present, classes=True)
    torch.testing.assert_close(found, expected)


def test_it_learns_what_each_modality_tells():
    batch = make_batch(16, spec=SPEC, lost=0.0)
    sign = torch.tensor([-1.0, 1.0] * 8)
    for name in MODALITIES:
        getattr(batch, name).values[:, :, 0] = 3 * sign[:, None]
    batch = replace(batch, label=2 * sign)
    method = make("late_fusion", learning_rate=1e-2, width=16).train()
    optimizers = method.optimizers()
    torch.manual_seed(0)
    for epoch in range(1, 61):
        learn(method, [batch], optimizers, epoch=epoch)
    for name in MODALITIES:
        assert (alone(method.eval(), batch, name) - batch.label).abs().mean() < 0.4
