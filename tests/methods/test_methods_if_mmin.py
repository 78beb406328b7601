from dataclasses import replace
from itertools import combinations

import torch
from tiny_methods import SPEC, assert_counts, make, make_batch
from torch.nn import functional as F

from elision.methods.layers.moments import central_moment_discrepancy

VECTORS = replace(SPEC, text=6)
# Counted on the official classes.
ENCODERS = {"encoders.audio": 133120, "encoders.vision": 241664, "encoders.text": 1622528, "invariant": 33024}


def test_parameter_counts_of_the_teacher_are_those_of_the_official_code(official_method):
    assert_counts(official_method("if_mmin_teacher", "iemocap"), ENCODERS | {"classifier": 115460, "": 2145796})


def test_parameter_counts_are_those_of_the_official_code(official_method):
    counts = ENCODERS | {"imagination": 1694400, "classifier": 58116, "": 3782852}
    assert_counts(official_method("if_mmin", "iemocap"), counts)


def test_official_values_are_those_of_the_released_scripts(official_method):
    teacher, h = (official_method(name, "iemocap").hyperparameters for name in ("if_mmin_teacher", "if_mmin"))
    assert (teacher.epochs, teacher.batch_size, teacher.beta1, teacher.clip, teacher.dropout) == (20, 64, 0.9, 0.5, 0.3)
    assert (h.epochs, h.batch_size, h.beta1, h.clip, h.dropout) == (40, 128, 0.5, 1.0, 0.5)
    assert (h.imagination_weight, h.invariant_weight) == (1.0, 100.0)


def test_the_teacher_pulls_the_invariant_vectors_of_every_two_modalities_together():
    method, batch = make("if_mmin_teacher").eval(), make_batch(7, spec=VECTORS)
    vectors = [method.encoders[name](getattr(batch, name)) for name in ("audio", "text", "vision")]
    invariant = [method.invariant(vector) for vector in vectors]
    expected = sum(central_moment_discrepancy(p, q) for p, q in combinations(invariant, 2)) / 3
    torch.testing.assert_close(method.loss(batch)["discrepancy"], expected)
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, torch.cat([*vectors, *invariant], 1))


def test_the_loss_has_three_terms():
    method, batch = make("if_mmin", blocks=2).eval(), make_batch(5, spec=VECTORS, absent=("text",))
    fused = method.encoders(batch)
    invariant = method.invariant(fused)
    imagined, latent = method.imagination(fused, invariant)
    aim = method.teacher.invariant(method.teacher.encoders(batch.clean))
    terms = method.loss(batch)
    torch.testing.assert_close(terms["emotion"], F.mse_loss(method.classifier(latent)[:, 0], batch.label))
    torch.testing.assert_close(terms["imagination"], F.mse_loss(imagined, method.missing_target(batch)))
    torch.testing.assert_close(terms["invariant"], 100 * F.mse_loss(invariant, aim))


def test_before_training_the_invariant_loss_comes_from_missing_modalities_alone():
    method = make("if_mmin").eval()
    complete, lacking = (make_batch(5, spec=VECTORS, lost=0.0, absent=absent) for absent in ((), ("text",)))
    assert method.loss(complete)["invariant"] == 0
    assert method.loss(lacking)["invariant"] > 0
    audio_and_vision = torch.arange(384) // 128 != 1
    found = method.invariant(method.encoders(lacking))[:, audio_and_vision]
    torch.testing.assert_close(found, method.invariant_target(lacking)[:, audio_and_vision])
