from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch, spec_for
from torch.nn import functional as F

from elision.batch import Sequence
from elision.methods import build, resolve
from elision.task import MODALITIES, OFFICIAL_SPECS

VECTORS = replace(SPEC, text=6)
# Counted on the official classes.
ENCODERS = {"encoders.audio": 133120, "encoders.vision": 241664, "encoders.text": 1622528}
CASCADE = 1694400


def test_parameter_counts_of_the_teacher_are_those_of_the_official_code(official_method):
    assert_counts(official_method("mmin_teacher", "iemocap"), ENCODERS | {"classifier": 66308, "": 2063620})


def test_parameter_counts_are_those_of_the_official_code(official_method):
    counts = ENCODERS | {"imagination": CASCADE, "cycle": CASCADE, "classifier": 58116, "": 5444228}
    counts |= {"imagination.encoders.0 imagination.decoders.0": 279744, "imagination.transition": 295680}
    assert_counts(official_method("mmin", "iemocap"), counts)


def test_on_msp_improv_one_cascade_goes_both_ways():
    hyperparameters, _ = resolve("mmin", "msp")
    assert (hyperparameters.learning_rate, hyperparameters.imagination_weight, hyperparameters.cycle_weight) == (
        5e-4,
        2.0,
        0.5,
    )
    with torch.device("meta"):
        method = build("mmin", hyperparameters, replace(OFFICIAL_SPECS["iemocap"], corpus="msp"))
    assert_counts(method, {"": 5444228 - CASCADE})


def test_official_values_are_those_of_the_released_scripts(official_method):
    teacher, mmin = (official_method(name, "iemocap").hyperparameters for name in ("mmin_teacher", "mmin"))
    assert (teacher.epochs, teacher.beta1, teacher.clip, teacher.dropout, teacher.corruption) == (
        20,
        0.9,
        0.5,
        0.3,
        "complete",
    )
    assert (mmin.epochs, mmin.beta1, mmin.clip, mmin.dropout, mmin.corruption) == (60, 0.5, 1.0, 0.5, "absent")
    assert teacher.batch_size == mmin.batch_size == 128 and teacher.learning_rate == mmin.learning_rate == 2e-4
    assert resolve("mmin_teacher", "msp")[0].batch_size == 64


@pytest.mark.parametrize("spec", [SPEC, CLASSES], ids=["regression", "classification"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_has_three_terms_of_which_the_way_back_aims_at_what_was_available(spec, tied):
    spec = spec_for("mmin", spec)
    method, batch = make("mmin", spec=spec, tied=tied).eval(), make_batch(5, spec=spec, absent=("text",))
    terms = method.loss(batch)
    fused = method.encoders(batch)
    imagined, latent = method.imagination(fused)
    back, _ = (method.imagination if tied else method.cycle)(imagined)
    output = method.classifier(latent)
    wrong = F.cross_entropy(output, batch.label) if spec.classes else F.mse_loss(output[:, 0], batch.label)
    torch.testing.assert_close(terms["emotion"], wrong)
    torch.testing.assert_close(terms["imagination"], 4 * F.mse_loss(imagined, method.missing_target(batch)))
    torch.testing.assert_close(terms["cycle"], 2 * F.mse_loss(back, fused))
    if not tied:
        # What was available is the aim and is not drawn towards the way back.
        gradient = torch.autograd.grad(terms["cycle"], method.encoders["audio"].lstm.bias_hh_l0, retain_graph=True)
        through = 2 * F.mse_loss(back, fused.detach())
        expected = torch.autograd.grad(through, method.encoders["audio"].lstm.bias_hh_l0)
        torch.testing.assert_close(gradient, expected)


def test_the_prediction_reads_the_bottlenecks_of_all_blocks():
    method = make("mmin", spec=VECTORS, blocks=3, layers=(16, 5)).eval()
    batch = make_batch(5, spec=VECTORS)
    prediction = method.predict(batch)
    assert prediction.representation.shape == (5, 15)
    torch.testing.assert_close(prediction.output, method.classifier(prediction.representation).squeeze(1))


def test_without_missing_modalities_the_teacher_is_asked_for_zeros():
    method, batch = make("mmin").eval(), make_batch(5, spec=VECTORS, lost=0.0)
    target = method.missing_target(batch)
    zeros = {name: replace(s, values=torch.zeros_like(s.values)) for name in MODALITIES for s in [getattr(batch, name)]}
    torch.testing.assert_close(target, method.teacher.encoders(replace(batch, **zeros)))
    assert target.abs().sum() > 0  # biases


def test_what_is_imagined_is_closer_to_the_missing_modality_than_its_mean():
    # Three linear views of one latent: any of them tells the others.
    random = torch.Generator().manual_seed(0)
    spec = replace(VECTORS, length=dict.fromkeys(MODALITIES, 1))
    latent = torch.randn(64, 3, generator=random)
    valid = torch.ones(64, 1, dtype=torch.bool)
    clean, lost = {}, {}
    for name in MODALITIES:
        view = latent @ torch.randn(3, getattr(spec, name), generator=random)
        clean[name] = Sequence(view[:, None], valid, valid)
        lost[name] = replace(clean[name], values=view[:, None] * (name != "text"), observed=valid & (name != "text"))
    batch = replace(make_batch(spec=spec), label=latent[:, 0], rate=torch.tensor([[1.0, 0, 0]] * 64), **lost)
    batch.clean = replace(batch, rate=torch.zeros(64, 3), **clean, clean=None)
    method = make("mmin", spec=spec, learning_rate=3e-3).train()
    (optimizer,) = method.optimizers()
    for _ in range(20):
        method.update(batch, [optimizer], 0)
    text = slice(128, 256)
    imagined, _ = method.eval().imagination(method.encoders(batch))
    target = method.missing_target(batch)[:, text]
    assert F.mse_loss(imagined[:, text], target) < 0.4 * target.var(0).mean()
