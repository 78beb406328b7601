from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import erf
from test_methods_mplmm_backbone import OFFICIAL
from tiny_methods import SPEC, assert_counts, make, make_batch, spec_for
from torch import nn

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import build, resolve
from elision.task import MODALITIES, OFFICIAL_SPECS

# Of the released class: all parameters, and those that are trained after the weights of the backbone are copied.
COUNTS = {
    "mosi": (1_149_421, 88_141),
    "mosei": (1_156_981, 95_701),
    "sims": (1_443_875, 382_595),
    "iemocap": (1_239_366, 178_086),
}
# Sets of missing modalities: the six of the official code, complete data, and all.
MISSING = [
    ("text",),
    ("audio",),
    ("vision",),
    ("text", "audio"),
    ("text", "vision"),
    ("audio", "vision"),
    (),
    MODALITIES,
]


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def linear(x: np.ndarray, layer: nn.Linear) -> np.ndarray:
    y = x @ array(layer.weight).T
    return y if layer.bias is None else y + array(layer.bias)


def shaken(**overrides):
    """A method in evaluation mode whose prompts are not zero."""
    method = make("mplmm", **overrides).eval()
    torch.manual_seed(0)
    for p in (*method.generators.parameters(), *method.signals.parameters(), method.type_prompts):
        nn.init.normal_(p, std=0.4)
    return method


def losing(missing: list[tuple[str, ...]]) -> Batch:
    """A sample for each set of missing modalities."""
    batch = make_batch(len(missing), spec=spec_for("mplmm"), lost=0.0)
    rate = torch.tensor([[float(name in names) for name in MODALITIES] for names in missing])
    kept = {
        name: replace(getattr(batch, name), values=getattr(batch, name).values * (1 - rate[:, i, None, None]))
        for i, name in enumerate(MODALITIES)
    }
    return replace(batch, **kept, rate=rate)


@pytest.mark.parametrize("dims", COUNTS)
def test_parameters_at_the_sizes_of_the_paper_are_as_many_as_in_the_released_code(dims):
    text, length, _ = OFFICIAL[dims]
    spec = replace(OFFICIAL_SPECS[dims], text=text, length=length)
    with torch.device("meta"):
        method = build("mplmm", resolve("mplmm", dims)[0], spec)
    total, trained = COUNTS[dims]
    assert_counts(method, {"": total})
    assert sum(p.numel() for p in method.trainable()) == trained


def test_only_prompts_projections_and_the_last_layer_are_trained():
    method = make("mplmm")
    trained = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {"projection", "generators", "signals", "type_prompts", "out"}


def test_the_frozen_layers_are_those_of_the_backbone_and_the_projections_are_not():
    method, backbone = make("mplmm"), make("mplmm_backbone", seed=5)
    method.start({"mplmm_backbone": backbone}, None)
    for part in ("crossmodal", "memory", "residual"):
        for own, its in zip(getattr(method, part).parameters(), getattr(backbone, part).parameters(), strict=True):
            assert torch.equal(own, its) and not own.requires_grad
    assert not torch.equal(method.projection["text"].weight, backbone.projection["text"].weight)
    assert not torch.equal(method.out.weight, backbone.out.weight)


@pytest.mark.parametrize(("size", "value"), [("width", 12), ("heads", 5), ("layers", 2)])
def test_a_backbone_of_another_size_is_refused(size, value):
    backbone, own = make("mplmm_backbone", **{size: value}), getattr(make("mplmm").hyperparameters, size)
    with pytest.raises(
        ElisionError,
        match=f"mplmm: {size} is {own}, but mplmm_backbone has {value}; set teachers.mplmm_backbone.{size}: {own}",
    ):
        make("mplmm").start({"mplmm_backbone": backbone}, None)


def test_sequences_and_prompts_are_those_of_the_formulas_for_each_set_of_missing_modalities(monkeypatch):
    method, batch, seen = shaken(), losing(MISSING), {}

    def summarised(crossmodal, memory, sequences, appended):
        seen.update(sequences=sequences, appended=appended)
        return {name: torch.zeros(len(MISSING), 20) for name in MODALITIES}

    monkeypatch.setattr("elision.methods.mplmm.summarised", summarised)
    method.fuse(batch)
    raw = {name: array(getattr(batch, name).values) for name in MODALITIES}
    for b, missing in enumerate(MISSING):
        available = [name for name in MODALITIES if name not in missing]
        matrix = 0
        for name in MODALITIES:
            generator, signal = method.generators[name], method.signals[name]
            prompt = array(signal.missing if name in missing else signal.available)
            if name in available:
                expected = linear(raw[name][b], method.projection[name])
            elif available:
                parts = [gelu(linear(raw[other][b], generator.project[other])) for other in available]
                mixer = generator.mix["both" if len(available) == 2 else available[0]]
                expected = gelu(linear(np.concatenate([array(generator.prompt), *parts]).T, mixer)).T
            else:
                expected = 0
            np.testing.assert_allclose(array(seen["sequences"][name][b]), expected + prompt, atol=1e-5)
            matrix = matrix + prompt.T @ array(signal.to_type)
        for i, name in enumerate(MODALITIES):
            expected = array(method.type_prompts[i]) @ matrix
            np.testing.assert_allclose(array(seen["appended"][name][b]), expected, atol=1e-5)


def test_the_last_prompt_of_each_modality_is_read():
    method, batch = shaken(), losing([()] * 3)
    x = {
        name: method.projection[name](getattr(batch, name).values) + method.signals[name].available
        for name in MODALITIES
    }
    matrix = sum(method.signals[name].available.T @ method.signals[name].to_type for name in MODALITIES)
    last = []
    for i, name in enumerate(MODALITIES):
        others = [other for other in MODALITIES if other != name]
        found = [method.crossmodal[f"{name}_from_{other}"](x[name], x[other]) for other in others]
        prompts = (method.type_prompts[i] @ matrix).expand(3, -1, -1)
        steps = method.memory[name](torch.cat([torch.cat(found, 2), prompts], 1))
        assert steps.shape[1] == SPEC.length[name] + 16
        last.append(steps[:, -1])
    torch.testing.assert_close(method.predict(batch).representation, torch.cat(last, 1), atol=1e-5, rtol=1e-4)


def test_what_is_missing_is_never_read():
    method, batch = shaken(), losing(MISSING)
    other = losing(MISSING)
    noise = {
        name: replace(getattr(other, name), values=getattr(other, name).values + 3 * batch.rate[:, i, None, None])
        for i, name in enumerate(MODALITIES)
    }
    torch.testing.assert_close(method.predict(batch).output, method.predict(replace(other, **noise)).output)


def test_a_modality_that_the_dataset_never_has_counts_as_missing():
    method, batch = shaken(), losing([()] * 3)
    without = replace(batch, vision=replace(batch.vision, valid=torch.zeros_like(batch.vision.valid)))
    told = replace(batch, rate=torch.tensor([[0.0, 0.0, 1.0]] * 3))
    torch.testing.assert_close(method.predict(without).output, method.predict(told).output)


@pytest.mark.parametrize("start", ["normal", "zeros"])
def test_prompts_of_types_that_start_at_zero_never_train(start):
    method = make("mplmm", type_prompt_init=start).train()
    (optimizer,) = method.optimizers()
    batch = losing(MISSING)
    for _ in range(5):
        method.update(batch, [optimizer], 0)
    of_types = [method.type_prompts, *(signal.to_type for signal in method.signals.values())]
    assert all(bool(p.any()) == (start == "normal") for p in of_types)
    assert all(signal.missing.any() and signal.available.any() for signal in method.signals.values())


def test_prompts_start_at_zero_but_for_those_of_types():
    method = make("mplmm")
    assert not any(p.any() for p in method.signals.parameters())
    assert not any(generator.prompt.any() for generator in method.generators.values())
    assert 0.01 < method.type_prompts.std() < 0.03
