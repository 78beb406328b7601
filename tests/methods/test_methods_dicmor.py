import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, SPEC, assert_counts, make, make_batch
from torch.distributions import Normal

from elision.methods import build, resolve
from elision.methods.dicmor import ClassPriors, Flow, bits
from elision.methods.layers.text_encoder import StubEncoder
from elision.task import MODALITIES, OFFICIAL_SPECS

ALIGNED = SPEC.aligned("words")
# Counted on the released class.
COUNTS = {
    "mosi": {
        "": 3524817,
        **{f"flows.{name}": 272512 for name in MODALITIES},
        **{f"refine.{name}": 522224 for name in MODALITIES},
        **{f"join.{name}": 2080 for name in MODALITIES},
        **{f"weighing.{name}": 4160 for name in MODALITIES},
        "priors": 7 * 2176,
        "flows.text.couplings": 32 * 7360,
        "flows.text.shift flows.text.scale": 32 * 64,
        "flows.text.mixing": 32 * 1024,
        "flows.text.prior": 2176,
        "projections.text": 122880,
        "projections.audio": 800,
        "projections.vision": 3200,
        "crossmodal": 6 * 50880,
        "memory": 3 * 200064,
        "residual.0": 37056,
        "residual.3": 37056,
        "out": 193,
    },
    "mosei": {
        "": 13760673,
        **{f"flows.{name}": 479488 for name in MODALITIES},
        **{f"refine.{name}": 2080736 for name in MODALITIES},
        **{f"join.{name}": 8256 for name in MODALITIES},
        **{f"weighing.{name}": 16512 for name in MODALITIES},
        "priors": 7 * 8448,
        "flows.text.couplings": 32 * 10496,
        "flows.text.shift flows.text.scale": 32 * 128,
        "flows.text.mixing": 32 * 4096,
        "flows.text.prior": 8448,
        "projections.text": 245760,
        "projections.audio": 23680,
        "projections.vision": 11200,
        "crossmodal": 6 * 300032,
        "memory": 3 * 1189888,
        "residual.0": 147840,
        "residual.3": 147840,
        "out": 385,
    },
}


def at_official_sizes(dims, **overrides):
    hyperparameters, _ = resolve("dicmor", dims, overrides)
    with torch.device("meta"):
        return build("dicmor", hyperparameters, OFFICIAL_SPECS[dims].aligned("words"), StubEncoder(768))


def moved(module, scale=0.2):
    """The same module with weights that are not 0."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=random))
    return module


@pytest.mark.parametrize("dims", COUNTS)
def test_with_unused_modules_parameter_counts_equal_the_official_ones_to_the_digit(dims):
    assert_counts(at_official_sizes(dims, unused_modules=True), COUNTS[dims])


@pytest.mark.parametrize(
    ("dims", "unused", "uncalled"), [("mosi", 6528 + 12480 + 14336, 104448), ("mosei", 25344 + 49536 + 57344, 405504)]
)
def test_without_them_exactly_the_unused_weights_are_left_out(dims, unused, uncalled):
    assert_counts(at_official_sizes(dims), {"": COUNTS[dims][""] - unused})
    assert_counts(at_official_sizes(dims, flow="coupling"), {"": COUNTS[dims][""] - unused - uncalled})


@pytest.mark.parametrize("flow", ["full", "coupling"])
def test_unused_modules_are_frozen_and_change_no_number(flow):
    plain, whole = (make("dicmor", flow=flow, unused_modules=unused).eval() for unused in (False, True))
    plain.load_state_dict({key: value for key, value in whole.state_dict().items() if key in plain.state_dict()})
    added = {key for key, _ in whole.named_parameters()} - {key for key, _ in plain.named_parameters()}
    assert any(key.startswith("weighing.") for key in added) and "priors.weight" in added
    assert ("flows.text.mixing" in added) == (flow == "coupling")
    assert not any(p.requires_grad for key, p in whole.named_parameters() if key in added)
    batch = make_batch(7, spec=ALIGNED, absent=("audio",))
    assert {k: v.item() for k, v in plain.loss(batch).items()} == {k: v.item() for k, v in whole.loss(batch).items()}


@pytest.mark.parametrize("full", [True, False])
def test_a_flow_is_undone_by_its_inverse_and_knows_its_determinant(full):
    torch.manual_seed(0)
    flow = moved(Flow(6, 4, 5, full=full, unused=False).double())
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    z, determinant = flow(x)
    torch.testing.assert_close(flow.inverse(z), x)
    assert not torch.allclose(z, x)
    for sample, position in ((0, 0), (1, 2)):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None, None])[0].flatten(), x[sample, position])
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(determinant[sample, position], expected)


def test_a_flow_starts_as_a_rotation_that_shrinks_and_couplings_start_at_a_scale_of_sigmoid_2():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6)
    z, determinant = Flow(6, 1, 5, full=False, unused=False)(x)
    shrunk = torch.cat([x[..., :3], x[..., 3:] * torch.tensor(2.0).sigmoid()], 2)
    torch.testing.assert_close(z, shrunk)
    torch.testing.assert_close(determinant, torch.full((2, 3), 3 * math.log(1 / (1 + math.exp(-2)))))
    mixing = Flow(6, 2, 5, full=True, unused=False).mixing
    torch.testing.assert_close(mixing @ mixing.mT, torch.eye(6).expand(2, 6, 6), atol=1e-5, rtol=0)


def test_couplings_alone_copy_half_of_the_source_to_the_bit_and_the_full_flow_does_not():
    batch = make_batch(4, spec=ALIGNED, lost=0.0, absent=("vision", "text"))
    for flow, copied in (("coupling", True), ("full", False)):
        method = make("dicmor", flow=flow).eval()
        moved(method.flows)
        with torch.no_grad():
            known = method.projected(batch)
            given, lost = method.flags(batch)
            found = method.generate(known, given, lost, batch.row)["vision"]
        assert torch.equal(found[..., :4], known["audio"][..., :4]) == copied
        assert not torch.equal(found[..., 4:], known["audio"][..., 4:])


def test_a_score_has_the_gaussian_of_its_nearest_whole_number_and_a_class_its_own():
    method = make("dicmor")
    scores = torch.tensor([-9.0, -3.0, -2.6, -0.5, 0.5, 1.5, 2.51, 3.4, 8.0])  # halves go to even numbers
    assert method.categories(scores).tolist() == [0, 0, 0, 3, 3, 5, 6, 6, 6]
    sims = make("dicmor", spec=replace(ALIGNED, corpus="sims"))
    assert sims.categories(torch.tensor([-1.0, -0.6, 0.0, 0.4, 1.0])).tolist() == [0, 1, 3, 4, 6]
    classes = make("dicmor", spec=CLASSES.aligned("words"))
    assert classes.categories(torch.tensor([2, 0])).tolist() == [2, 0]
    assert len(method.priors.bias) == 7
    assert len(classes.priors.bias) == 3


def test_the_density_of_a_latent_is_that_of_the_gaussian_of_its_class():
    priors = moved(ClassPriors(3, 4, unused=False))
    z, category = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([2, 0])
    both = priors.bias[category] * (3 * priors.scale[category]).exp()
    gaussian = Normal(both[:, None, :4], both[:, None, 4:].exp())
    torch.testing.assert_close(priors(z, category), gaussian.log_prob(z).sum(2))
    standard = ClassPriors(3, 4, unused=False)
    torch.testing.assert_close(standard(z, category), Normal(0.0, 1.0).log_prob(z).sum(2))


def test_a_likelihood_is_counted_in_bits_per_number_and_is_at_least_0():
    latent, counted = torch.zeros(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]])
    density = torch.tensor([[-8.0, -2.0, torch.inf], [-14.0, torch.nan, 1.0]])
    assert bits(density, counted, latent).item() == pytest.approx(24 / (3 * 4) / math.log(2))
    assert bits(-density, counted, latent).item() == 0
    assert bits(density, torch.zeros_like(counted), latent).item() == 0


def test_the_error_of_a_sample_is_the_mean_over_what_it_has_recovered():
    method = make("dicmor")
    lost = torch.tensor([[True, True, False], [False, False, False], [False, False, True], [False, False, False]])
    flags = dict(zip(MODALITIES, lost[..., None, None].unbind(1), strict=True))
    errors = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 6.0], [0.0, 0.0, 0.0]])
    assert method.reconstruction(errors, flags).item() == (2 + 0 + 6 + 0) / 4


def test_every_modality_has_a_likelihood_whether_it_is_missing_or_not_and_only_flows_and_priors_learn_from_it():
    method, batch = make("dicmor").train(), make_batch(7, spec=ALIGNED, absent=("audio",))
    terms = method.loss(batch)
    assert set(terms) == {"sentiment", "reconstruction", *(f"likelihood_{name}" for name in MODALITIES)}
    assert all(terms[f"likelihood_{name}"] > 0 for name in MODALITIES)
    parameters = {key: p for key, p in method.named_parameters() if p.requires_grad}

    def learning(keys):
        total = sum(terms[key] for key in keys)
        found = torch.autograd.grad(total, list(parameters.values()), retain_graph=True, allow_unused=True)
        return {key.partition(".")[0] for key, g in zip(parameters, found, strict=True) if g is not None and g.any()}

    assert learning([f"likelihood_{name}" for name in MODALITIES]) == {"flows", "priors"}
    assert learning(["sentiment"]) == {"join", "refine", "crossmodal", "memory", "residual", "out"}
    assert learning(["reconstruction"]) == {"join", "refine"}


def test_official_values_are_those_of_the_released_configuration(official_method):
    mosi, mosei = (official_method("dicmor", dims).hyperparameters for dims in COUNTS)
    for h, values in (
        (mosi, (4, 32, 4, 0.3, 0.2, 0.0, 0.2, 0.5, 0.5)),
        (mosei, (16, 64, 6, 0.2, 0.0, 0.0, 0.0, 0.2, 0.2)),
    ):
        attention = (h.attention_dropout, h.attention_dropout_audio, h.attention_dropout_vision)
        dropouts = (*attention, h.embedding_dropout, h.output_dropout, h.text_dropout)
        assert (h.batch_size, h.width, h.layers, *dropouts) == values
        assert (h.heads, h.text_kernel, h.audio_kernel, h.vision_kernel, h.learning_rate) == (8, 5, 5, 5, 1e-4)
        assert (h.accumulate, h.gradient_clip, h.patience, h.plateau_patience) == (8, 0.6, 10, 5)
        assert (h.recovery_weight, h.weight_decay, h.finetune_text_encoder) == (0.1, 0, False)


def test_its_teacher_has_the_same_values_and_trains_the_text_encoder(official_method):
    for dims in COUNTS:
        method, teacher = (official_method(name, dims).hyperparameters for name in ("dicmor", "dicmor_teacher"))
        different = {k for k, v in teacher.model_dump().items() if v != getattr(method, k)}
        assert different == {"finetune_text_encoder", "corruption"}
        assert teacher.finetune_text_encoder
