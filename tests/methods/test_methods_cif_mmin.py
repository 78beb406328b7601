import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch, spec_for
from torch.nn import functional as F

from elision.methods import build, resolve
from elision.methods.cif_mmin_teacher import contrastive_loss
from elision.task import DataSpec

VECTORS = replace(SPEC, text=6)
MOSI = DataSpec("mosi", 74, 47, {"text": 50, "audio": 375, "vision": 500}, 1284, "bert-base-uncased", text=768)
# Counted on the official classes.
ENCODERS = {
    "encoders.audio": 133120,
    "encoders.vision": 241664,
    "encoders.text": 1622528,
    "contrastive.audio": 133120,
    "contrastive.vision": 241664,
    "contrastive.text": 590848,
}


def test_parameter_counts_of_the_teacher_are_those_of_the_official_code_without_the_temperature(official_method):
    counts = ENCODERS | {f"projections.{name}": 33280 for name in ("audio", "text", "vision")}
    assert_counts(official_method("cif_mmin_teacher", "iemocap"), counts | {"classifier": 66308, "": 3129092})


def test_parameter_counts_are_those_of_the_official_code(official_method):
    counts = ENCODERS | {"imagination": 1694400, "classifier": 66308, "": 4723652}
    assert_counts(official_method("cif_mmin", "iemocap"), counts)


def test_parameter_counts_on_mosi_are_those_of_the_official_code():
    with torch.device("meta"):
        method = build("cif_mmin", resolve("cif_mmin", "mosi")[0], MOSI)
    counts = {"encoders.audio": 104448, "encoders.vision": 90624, "encoders.text": 1229312}
    counts |= {"contrastive.text": 459776, "imagination": 1694400, "classifier": 57601, "": 3831233}
    assert_counts(method, counts)


@pytest.mark.parametrize(("corpus", "rate"), [("iemocap", 2e-4), ("mosi", 2e-4), ("msp", 5e-4)])
def test_official_values_are_those_of_the_released_scripts(corpus, rate):
    teacher, h = (resolve(name, corpus)[0] for name in ("cif_mmin_teacher", "cif_mmin"))
    assert (teacher.constant_epochs, teacher.decay_epochs, teacher.epochs) == (30, 10, 40)
    assert (teacher.batch_size, teacher.beta1, teacher.clip, teacher.dropout) == (64, 0.9, 0.5, 0.3)
    assert (h.epochs, h.batch_size, h.beta1, h.clip, h.dropout) == (40, 64, 0.5, 1.0, 0.5)
    assert (h.imagination_weight, h.invariant_weight) == (8.0, 100.0)
    assert teacher.learning_rate == h.learning_rate == rate


def test_the_contrastive_loss_of_two_orthonormal_pairs_is_minus_e():
    assert contrastive_loss(torch.eye(2), torch.eye(2)).item() == pytest.approx(-math.e, abs=1e-6)


def test_the_contrastive_loss_follows_its_formula_both_ways():
    p, q = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    similarity = [[math.exp(math.e * F.cosine_similarity(a, b, dim=0).item()) for b in q] for a in p]
    expected = 0.0
    for i in range(5):
        row = sum(similarity[i][j] for j in range(5) if j != i)
        column = sum(similarity[j][i] for j in range(5) if j != i)
        expected -= (math.log(similarity[i][i] / row) + math.log(similarity[i][i] / column)) / 10
    assert contrastive_loss(p, q).item() == pytest.approx(expected)
    assert contrastive_loss(q, p).item() == pytest.approx(expected)
    assert contrastive_loss(3 * p, q / 7).item() == pytest.approx(expected)


def test_the_contrastive_loss_of_one_sample_and_of_zeros_is_finite():
    for p in (torch.randn(1, 4), torch.zeros(3, 4)):
        p.requires_grad_()
        value = contrastive_loss(p, p.detach())
        value.backward()
        assert value.isfinite() and p.grad.isfinite().all()


def test_the_teacher_contrasts_every_two_modalities_and_classifies_without_them():
    method, batch = make("cif_mmin_teacher").eval(), make_batch(7, spec=VECTORS)
    audio, text, vision = (
        method.projections[name](method.contrastive[name](getattr(batch, name))) for name in ("audio", "text", "vision")
    )
    terms = method.loss(batch)
    torch.testing.assert_close(terms["contrast text vision"], 0.25 * contrastive_loss(text, vision))
    torch.testing.assert_close(terms["contrast text audio"], 0.25 * contrastive_loss(text, audio))
    torch.testing.assert_close(terms["contrast vision audio"], 0.5 * contrastive_loss(vision, audio))
    torch.testing.assert_close(terms["emotion"], F.mse_loss(method.predict(batch).output, batch.label))
    torch.testing.assert_close(method.predict(batch).representation, method.encoders(batch))


def test_the_loss_has_three_terms_and_the_last_follows_the_teacher_on_the_complete_input():
    method, batch = make("cif_mmin", blocks=2).eval(), make_batch(5, spec=VECTORS, absent=("text",))
    fused, invariant = method.encoders(batch), method.contrastive(batch)
    imagined, _ = method.imagination(fused, invariant)
    aim = method.teacher.contrastive(batch.clean)
    terms = method.loss(batch)
    output = method.classifier(fused + imagined)[:, 0]
    torch.testing.assert_close(terms["emotion"], F.mse_loss(output, batch.label))
    torch.testing.assert_close(terms["imagination"], 8 * F.mse_loss(imagined, method.missing_target(batch)))
    torch.testing.assert_close(terms["invariant"], 100 * F.mse_loss(invariant, aim))
    torch.testing.assert_close(method.predict(batch).output, output)


def test_what_is_available_reaches_the_classifier_past_and_through_the_imagination():
    method, batch = make("cif_mmin").eval(), make_batch(5, spec=VECTORS)
    through = method.loss(batch)["emotion"]
    weight = method.encoders["audio"].lstm.bias_hh_l0
    both = torch.autograd.grad(through, weight)[0]
    torch.nn.init.zeros_(method.imagination.transition[-1].weight)
    torch.testing.assert_close(method.predict(batch).representation, method.encoders(batch))
    past = torch.autograd.grad(method.loss(batch)["emotion"], weight)[0]
    assert past.any() and not torch.allclose(both, past)


def test_scores_have_a_narrower_head_than_classes():
    widths = {}
    for spec in (SPEC, CLASSES):
        layers = make("cif_mmin", spec=spec_for("cif_mmin", spec)).classifier
        widths[spec.task.value] = [layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert widths == {"regression": [128, 64, 1], "classification": [128, 128, 3]}


def test_pooling_text_by_its_last_state_leaves_the_teacher_as_it_is():
    batch = make_batch(5, spec=VECTORS, lost=0.0, lengths=VECTORS.length)
    maximum, last = (make("cif_mmin", text_pool=pool).eval() for pool in ("maximum", "last"))
    assert maximum.loss(batch)["invariant"] < 1e-12 < last.loss(batch)["invariant"]
    states, _ = last.contrastive["text"].lstm(batch.text.values)
    torch.testing.assert_close(last.contrastive(batch)[:, 128:256], states[:, -1])
    assert torch.equal(last.invariant_target(batch), maximum.invariant_target(batch))
