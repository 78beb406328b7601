from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from tiny_methods import CLASSES, learn, make, make_batch, spec_for

from elision.methods import resolve_variant
from elision.methods.linear_probe import solve
from elision.settings.params import Params

STRENGTHS = (10.0, 0.3, 0.01)


def drawn(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of which a third is zeros, as where a modality is absent, and what they tell of scores or classes."""
    random = np.random.default_rng(1)
    x = random.normal(size=(90, 7)) * (random.random((90, 1)) > 0.3)
    y = x @ random.normal(size=(7, classes)) + random.normal(size=(90, classes)) + np.arange(classes)
    return x, y.argmax(1) if classes > 1 else y[:, 0]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_scores_are_solved_as_by_ridge_regression(strength):
    x, y = drawn(1)
    weight, bias = solve(torch.tensor(x), torch.tensor(y)[:, None], strength=strength, classes=False, steps=50)
    expected = Ridge(alpha=strength * len(x)).fit(x, y)
    np.testing.assert_allclose(weight[:, 0], expected.coef_, atol=1e-9)
    assert float(bias) == pytest.approx(expected.intercept_, abs=1e-9)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_classes_are_solved_as_by_logistic_regression(strength):
    x, y = drawn(3)
    one_hot = torch.eye(3, dtype=torch.float64)[torch.tensor(y)]
    weight, bias = solve(torch.tensor(x), one_hot, strength=strength, classes=True, steps=50)
    expected = LogisticRegression(C=1 / (strength * len(x)), tol=1e-8, max_iter=10000).fit(x, y)
    np.testing.assert_allclose((torch.tensor(x) @ weight + bias).softmax(1), expected.predict_proba(x), atol=2e-3)


def test_more_dimensions_than_samples_and_a_dimension_that_does_not_vary_are_solved():
    for classes in (False, True):
        targets = torch.eye(2, dtype=torch.float64)[[0, 1, 1]] if classes else torch.ones(3, 1, dtype=torch.float64)
        x = torch.cat([torch.randn(3, 40, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)], 1)
        assert all(found.isfinite().all() for found in solve(x, targets, strength=1e-3, classes=classes, steps=50))


def test_strengths_fall_from_the_strongest_to_the_weakest_at_equal_ratios():
    method = make("linear_probe", epochs=3, strongest=10.0, weakest=0.1)
    found = []
    for epoch in (1, 2, 3):
        method.on_epoch_start(epoch)
        found.append(method.strength)
    assert found == pytest.approx([10.0, 1.0, 0.1])


def test_a_modality_is_the_mean_of_what_is_observed_and_scaled_zeros_where_it_is_absent():
    spec = spec_for("linear_probe")
    method, batch = make("linear_probe").eval(), make_batch(5, spec=spec, absent=("vision",))
    method.centre.fill_(3.0)
    scaled = method.predict(batch).representation
    audio, seen = batch.audio.values[1], batch.audio.observed[1]
    torch.testing.assert_close(scaled[1, spec.text : spec.text + spec.audio], audio[seen].mean(0) - 3.0)
    assert not scaled[:, -spec.vision :].any()


def test_dimensions_are_scaled_over_the_training_samples_that_have_the_modality():
    spec = spec_for("linear_probe")
    batches = [make_batch(8, spec=spec, lost=0.0, absent=gone, seed=seed) for seed, gone in ((1, ()), (2, ("audio",)))]
    method = make("linear_probe")
    learn(method, batches, [], epoch=1)
    has, audio = batches[0].audio, slice(spec.text, spec.text + spec.audio)
    means = (has.values * has.valid[..., None]).sum(1) / has.valid.sum(1, keepdim=True)
    torch.testing.assert_close(method.centre[audio], means.mean(0))
    torch.testing.assert_close(method.scale[audio], means.std(0, correction=0))


def test_the_fit_does_not_depend_on_the_seed_of_the_weights():
    batch = make_batch(16, spec=spec_for("linear_probe"))
    first, second = (make("linear_probe", seed=seed) for seed in (0, 1))
    assert not torch.equal(first.head.weight, second.head.weight)
    for method in (first, second):
        learn(method, [batch], [], epoch=1)
    assert torch.equal(first.head.weight, second.head.weight)


@pytest.mark.parametrize("spec", [None, CLASSES], ids=["regression", "classification"])
def test_weaker_regularisation_fits_the_training_split_more_closely(spec):
    spec = spec_for("linear_probe", *([spec] if spec else []))
    batch, method = make_batch(16, spec=spec, lost=0.0), make("linear_probe", spec=spec)
    epochs = range(1, method.hyperparameters.epochs + 1)
    losses = [float(learn(method, [batch], [], epoch=epoch)["sentiment"]) for epoch in epochs]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.5 * losses[0]


def test_the_epochs_of_all_methods_do_not_change_the_strengths_that_are_tried():
    params = Params(datasets={"demo": {"source": "demo"}}, methods=["linear_probe"], train={"epochs": 200})
    hyperparameters, origins = resolve_variant(params, params.methods[0], "demo")
    assert (hyperparameters.epochs, origins["epochs"]) == (11, "card default")


def test_frames_beyond_the_observed_change_nothing():
    spec = spec_for("linear_probe")
    method, batch = make("linear_probe").eval(), make_batch(4, spec=spec)
    noise = torch.where(batch.audio.observed[..., None], batch.audio.values, 7.0)
    other = replace(batch, audio=replace(batch.audio, values=noise))
    assert torch.equal(method.predict(batch).output, method.predict(other).output)
