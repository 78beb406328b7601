import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, assert_counts, make, make_batch, spec_for
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods import resolve

# Counted on the released class, without the two constants of its classifier.
COUNTS = {
    "mosi": {"": 1_235_802, "projection fusion": 1_156_904, "reconstruction": 36_368, "discriminator": 29_249},
    "mosei": {"": 1_071_346},
}
DROPOUTS = (
    *("embedding_dropout", "attention_dropout", "relu_dropout", "residual_dropout"),
    *("reconstruction_dropout", "head_dropout"),
)


@pytest.fixture
def batch() -> Batch:
    return make_batch(7, spec=spec_for("niat"))


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def receivers(method: torch.nn.Module, term: torch.Tensor) -> set[str]:
    """The modules that the gradient of a term reaches."""
    method.zero_grad()
    term.backward(retain_graph=True)
    return {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}


def distance_from(probability: np.ndarray, target: float) -> float:
    return -np.mean(target * np.log(probability) + (1 - target) * np.log(1 - probability))


@pytest.mark.parametrize("dims", COUNTS)
def test_parameters_are_as_many_as_in_the_released_class(dims, official_method):
    assert_counts(official_method("niat", dims), COUNTS[dims])


@pytest.mark.parametrize("readout", ["full", "causal"])
def test_the_vector_is_the_first_position_of_an_encoder_of_joined_convolutions(batch, readout):
    method = make("niat", readout=readout).eval()
    inputs = {"text": method.encoder(batch.text), "audio": batch.audio.values, "vision": batch.vision.values}
    joined = []
    for name, x in inputs.items():
        weight = array(method.projection[name].weight)
        half = weight.shape[2] // 2
        padded = np.pad(array(x), ((0, 0), (half, half), (0, 0)))
        steps = [sum(padded[:, t + k] @ weight[:, :, k].T for k in range(2 * half + 1)) for t in range(x.shape[1])]
        joined.append(np.stack(steps, 1))
    together = torch.tensor(np.concatenate(joined, 2), dtype=torch.float32)
    torch.testing.assert_close(method.fuse(batch), method.fusion(together)[:, 0], atol=1e-5, rtol=1e-4)
    assert method.fusion.causal == (readout == "causal")


@pytest.mark.parametrize("readout", ["full", "causal"])
def test_frames_after_the_first_ones_count_only_where_the_first_position_sees_all(batch, readout):
    method = make("niat", readout=readout, vision_kernel=3).eval()
    before = method.predict(batch).output
    batch.audio.values[:, 4:] += 1
    batch.vision.values[:, 4:] += 1
    assert torch.allclose(method.predict(batch).output, before) == (readout == "causal")


def test_scores_stay_in_the_range_of_the_labels_and_class_logits_have_none(batch):
    method = make("niat").eval()
    logit = F.linear(method.head[:-1](method.fuse(batch)), method.head[-1].weight, method.head[-1].bias)
    expected = 6 / (1 + np.exp(-array(logit)[:, 0])) - 3
    np.testing.assert_allclose(array(method.predict(batch).output), expected, atol=1e-5)

    method = make("niat", spec=spec_for("niat", CLASSES)).eval()
    batch = make_batch(7, spec=spec_for("niat", CLASSES))
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.output, method.head(prediction.representation))


def test_the_terms_are_those_of_the_released_trainer(batch):
    method = make("niat", noisy_weight=0.5).eval()
    complete, noisy = method.fuse(batch.clean), method.fuse(batch)
    genuine, imitated = (1 / (1 + np.exp(-array(method.discriminator(z)))) for z in (complete, noisy))
    rebuilt = array(method.reconstruction(noisy))
    errors = [np.abs(array(method.decide(z)) - array(batch.label)).mean() for z in (complete, noisy)]
    expected = {
        "reconstruction": 0.2 * 0.4 * np.abs(rebuilt - array(complete)).mean(),
        "adversarial": 0.2 * 0.6 * distance_from(imitated, 1),
        "sentiment": (errors[0] + 0.5 * errors[1]) / 1.5,
        "discriminator": 0.1 * (distance_from(genuine, 1) + distance_from(imitated, 0)),
    }
    assert {k: v.item() for k, v in method.loss(batch).items()} == pytest.approx(expected, rel=1e-4)


def test_the_discriminator_learns_from_its_own_term_alone(batch):
    method = make("niat").train()
    terms = method.loss(batch)
    assert receivers(method, terms["discriminator"]) == {"discriminator"}
    assert "discriminator" not in receivers(method, terms["adversarial"])
    assert receivers(method, terms["adversarial"]) == {"encoder", "projection", "fusion"}
    assert receivers(method, terms["reconstruction"]) == {"encoder", "projection", "fusion", "reconstruction"}
    assert receivers(method, terms["sentiment"]) == {"encoder", "projection", "fusion", "head"}


def test_the_discriminator_as_shipped_judges_and_keeps_its_random_weights(batch):
    method = make("niat", adversary="as_shipped").train()
    before = {name: p.clone() for name, p in method.discriminator.named_parameters()}
    assert set(method.loss(batch)) == {"reconstruction", "adversarial", "sentiment"}
    optimizers = method.optimizers()
    for step in range(3):
        method.update(batch, optimizers, step)
    assert all(torch.equal(p, before[name]) for name, p in method.discriminator.named_parameters())
    trained = make("niat").train()
    trained.update(batch, trained.optimizers(), 0)
    assert not torch.equal(trained.discriminator[1].weight, before["1.weight"])


@pytest.mark.parametrize(
    ("without", "terms", "parts"),
    [
        ({"reconstruction": False}, {"adversarial", "sentiment", "discriminator"}, {"discriminator"}),
        ({"adversary": "none"}, {"reconstruction", "sentiment"}, {"reconstruction"}),
        ({"reconstruction": False, "adversary": "none"}, {"sentiment"}, set()),
    ],
)
def test_an_ablation_leaves_out_terms_and_networks(batch, without, terms, parts):
    method = make("niat", **without)
    assert set(method.loss(batch)) == terms
    assert {name for name, _ in method.named_children()} & {"reconstruction", "discriminator"} == parts


@pytest.mark.parametrize("name", DROPOUTS)
def test_every_dropout_acts_in_training_alone(name, batch):
    none = dict.fromkeys(DROPOUTS, 0.0)
    plain, method = make("niat", **none), make("niat", **{**none, name: 0.5})
    torch.testing.assert_close(method.eval().predict(batch).output, plain.eval().predict(batch).output)
    terms = [sum(m.train().loss(batch).values()) for m in (plain, method)]
    assert not torch.allclose(*terms)


def test_groups_have_the_rates_and_penalties_of_the_released_trainer(official_method):
    (optimizer,) = official_method("niat", "mosi").optimizers()
    assert type(optimizer) is torch.optim.Adam
    (optimizer,) = make("niat").optimizers()
    found = {g["name"]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups}
    assert found == {
        "text encoder": (2e-5, 1e-4),
        "text encoder, no decay": (2e-5, 0.0),
        "method": (5e-4, 5e-4),
    }


def test_gradients_are_clipped_entry_by_entry(batch):
    method = make("niat", gradient_clip=1e-4).train()
    method.update(batch, method.optimizers(), 0)
    largest = max(p.grad.abs().max() for p in method.parameters() if p.grad is not None)
    assert float(largest) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"heads": 7}, "7 heads do not divide a width of 160"), ({"text_kernel": 4}, "a kernel size of 4 does not keep")],
)
def test_sizes_that_do_not_fit_are_refused_before_anything_is_built(overrides, message):
    with pytest.raises(ElisionError, match=message):
        resolve("niat", "mosi", overrides)


def test_official_values_are_those_of_the_released_configuration():
    mosi, mosei = (resolve("niat", corpus)[0] for corpus in COUNTS)
    for h, values in (
        (mosi, (96, 24, 40, 3, 3, 9, 8, 3, (80, 96), (128, 64), 80, 0.5, 0.5, 0.0, 0.4, 0.4, 0.3, 0.6)),
        (mosei, (96, 16, 32, 3, 5, 3, 4, 3, (128, 64), (80, 32), 256, 0.0, 0.1, 0.5, 0.5, 0.2, 0.2, 1.0)),
    ):
        sizes = (h.text_width, h.audio_width, h.vision_width, h.text_kernel, h.audio_kernel, h.vision_kernel)
        networks = (h.heads, h.layers, h.reconstruction_widths, h.discriminator_widths, h.head_width)
        assert (*sizes, *networks, *(getattr(h, name) for name in DROPOUTS), h.gradient_clip) == values
        assert (h.batch_size, h.patience, h.noisy_weight, h.adversarial_share) == (32, 8, 1.0, 0.6)
    assert resolve("niat", "sims")[0].alignment == "pooled"
