from dataclasses import replace

import pytest
import torch
from tiny_methods import SPEC, assert_counts, make, make_batch, spec_for
from torch import nn

from elision.methods import build, load, resolve
from elision.task import MODALITIES, OFFICIAL_SPECS

ALIGNED = dict.fromkeys(MODALITIES, 50)  # the files of MulT
# Width of the text vectors, padded lengths, and the count of the released class without text encoder.
OFFICIAL = {
    "mosi": (300, ALIGNED, 1_071_211),
    "mosei": (300, ALIGNED, 1_073_731),
    "sims": (768, OFFICIAL_SPECS["sims"].length, 1_106_761),
    "iemocap": (1024, {"text": 22, "audio": 50, "vision": 50}, 1_106_884),
}


@pytest.fixture
def batch():
    return make_batch(7, spec=spec_for("mplmm_backbone"))


@pytest.mark.parametrize("dims", OFFICIAL)
def test_parameters_at_the_sizes_of_the_paper_are_as_many_as_in_the_released_code(dims):
    text, length, total = OFFICIAL[dims]
    spec = replace(OFFICIAL_SPECS[dims], text=text, length=length)
    with torch.device("meta"):
        method = build("mplmm_backbone", resolve("mplmm_backbone", dims)[0], spec)
    sizes = {"text": text, "audio": spec.audio, "vision": spec.vision}
    projections = {f"projection.{name}": 30 * size for name, size in sizes.items()}
    layers = {"crossmodal": 6 * (5 * 11_190 + 60), "memory": 3 * (5 * 43_980 + 120)}
    assert_counts(method, {"": total, **projections, **layers, "residual": 2 * 32_580, "out": 181 * spec.outputs})


def test_each_modality_attends_to_the_others_and_its_last_step_is_read(batch):
    method = make("mplmm_backbone").eval()
    x = {name: method.projection[name](getattr(batch, name).values) for name in MODALITIES}
    last = []
    for name in MODALITIES:
        others = [other for other in MODALITIES if other != name]
        found = [method.crossmodal[f"{name}_from_{other}"](x[name], x[other]) for other in others]
        last.append(method.memory[name](torch.cat(found, 2))[:, -1])
    fused = torch.cat(last, 1)
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.representation, fused)
    hidden = method.residual[3](method.residual[0](fused).clamp(min=0))
    torch.testing.assert_close(prediction.output, method.out(fused + hidden)[:, 0])


def test_encoders_have_positions_and_see_no_later_steps():
    method = make("mplmm_backbone", layers=4)
    encoders = [*method.crossmodal.values(), *method.memory.values()]
    assert all(each.positions and each.causal and len(each.layers) == 4 for each in encoders)
    assert all(len(each.layers) == 3 for each in make("mplmm_backbone", layers=1).memory.values())


def test_shorter_batches_end_in_zeros_up_to_the_padded_length_of_the_dataset(batch):
    method = make("mplmm_backbone").eval()
    short = {name: replace(getattr(batch, name), values=getattr(batch, name).values[:, :5]) for name in MODALITIES}
    found = method.inputs(replace(batch, **short))
    for name in MODALITIES:
        assert found[name].shape[1] == SPEC.length[name]
        assert torch.equal(found[name][:, :5], short[name].values) and not found[name][:, 5:].any()


def test_text_alone_has_dropout_before_its_projection(batch):
    found = make("mplmm_backbone", embedding_dropout=0.5).train().inputs(batch)
    assert torch.equal(found["audio"], batch.audio.values) and torch.equal(found["vision"], batch.vision.values)
    text = batch.text.values
    torch.testing.assert_close(found["text"], 2 * text * (found["text"] != 0))
    assert 0.3 < (found["text"] == 0)[text != 0].float().mean() < 0.7


def test_gradients_have_a_norm_of_at_most_the_clip():
    method = make("mplmm_backbone", gradient_clip=0.1)
    method.out.weight.grad = torch.full_like(method.out.weight, 7.0)
    method.after_backward()
    assert nn.utils.get_total_norm([method.out.weight.grad]).item() == pytest.approx(0.1, rel=1e-3)


def test_the_learning_rate_falls_to_a_tenth_after_a_plateau():
    method = make("mplmm_backbone", plateau_patience=1)
    for error, factor in ((1.0, 1), (1.0, 1), (1.0, 0.1)):
        method.on_epoch_end(error)
        assert method.learning_rate_factor(2) == pytest.approx(factor)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="7 heads do not divide a width of 30"):
        load("mplmm_backbone").Hyperparameters(heads=7)
