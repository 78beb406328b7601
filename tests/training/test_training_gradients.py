import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from elision.methods import load_all
from elision.methods.checks import Subject
from elision.methods.checks._small import learn, make_batch
from elision.task import MODALITIES
from elision.training.gradients import GradientNorms
from elision.training.loop import fused_optimizers


def make(name, **how):
    return Subject.small(name, None).make(**how)


@pytest.mark.parametrize(
    ("parameter", "modality"),
    [
        ("encoder.layer.0.weight", "text"),
        ("projections.audio.weight", "audio"),
        ("vision_lstm.weight_ih_l0", "vision"),
        ("autoencoder.encoder.0.weight", None),
        ("context.weight", None),
        ("crossmodal.text_from_audio.layers.0.weight", None),
        ("head.weight", None),
    ],
)
def test_a_parameter_is_that_of_the_one_modality_in_its_name(parameter, modality):
    assert make("text_only").modality_of(parameter) == modality


def test_the_norms_are_those_that_the_optimizer_gets_as_a_root_mean_square_over_steps():
    method = make("misa")
    optimizers = fused_optimizers(method)
    norms, expected = GradientNorms(method, optimizers), []

    def by_hand(*_):
        squares = dict.fromkeys(MODALITIES, 0.0)
        for name, parameter in method.named_parameters():
            if (modality := method.modality_of(name)) and parameter.grad is not None:
                squares[modality] += float(parameter.grad.double().square().sum())
        expected.append(squares)

    optimizers[0].register_step_pre_hook(by_hand)
    for step in range(3):
        learn(method, [make_batch(5, seed=step)], optimizers, epoch=1)
    assert len(expected) == 3 and all(each["text"] > 0 for each in expected)
    found = norms.read()
    assert list(found) == ["gradient_text", "gradient_audio", "gradient_vision"]
    for name in MODALITIES:
        mean = sum(each[name] for each in expected) / 3
        assert found[f"gradient_{name}"] == pytest.approx(math.sqrt(mean), rel=1e-5)
    assert all(math.isnan(value) for value in norms.read().values())  # nothing since


def test_a_modality_that_is_never_there_learns_nothing():
    subject = Subject.small("late_fusion", None)
    method = subject.make()
    optimizers = fused_optimizers(method)
    norms = GradientNorms(method, optimizers)
    learn(method, [subject.batch(absent=["vision"])], optimizers, epoch=1)
    found = norms.read()
    assert found["gradient_vision"] == 0 < min(found["gradient_text"], found["gradient_audio"])


def test_what_is_frozen_or_joint_has_no_column():
    assert "gradient_text" not in GradientNorms(make("gcnet"), []).read()
    frozen = make("text_only", finetune_text_encoder=False)
    assert GradientNorms(frozen, fused_optimizers(frozen)).read() == {}
    assert GradientNorms(make("linear_probe"), []).read() == {}


def test_most_methods_have_an_encoder_of_each_modality():
    methods, _ = load_all()
    without = {name for name in methods if set(GradientNorms(make(name), []).encoders) != set(MODALITIES)}
    # Constants and linear models; one modality; modalities side by side from the first layer on.
    assert without == {"majority", "linear_probe", "text_only", "gcnet", "mctn"}


def test_watching_never_waits_for_the_device():
    method = make("self_mm")
    optimizers = fused_optimizers(method)
    norms, read = GradientNorms(method, optimizers), []

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "is_nonzero"):
                read.append(function)
            return function(*args, **(kwargs or {}))

    for parameter in method.parameters():
        parameter.grad = torch.ones_like(parameter)
    with Reads():
        norms._watch(optimizers[0])
    assert norms.encoders and not read
