import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.corruption.noise import betas, draw, noisy, remaining, times

IDS = [f"clip {i}" for i in range(40)]
SCHEDULES = ("scaled_linear", "linear", "squared_cosine", "sigmoid")
KINDS = ("gaussian", "impulse")

# What the official scheduler computes, in float32: beta and abar at T // 2, the last abar, and the means of abar and of
# its root over the steps.
OFFICIAL = {
    ("scaled_linear", 20): (0.176005, 0.403209, 0.00840025395154953, 0.470927, 0.612877),
    ("scaled_linear", 40): (0.169198, 0.192057, 8.031982724787667e-05, 0.355074, 0.478764),
    ("scaled_linear", 60): (0.167034, 0.091026, 7.661227527933079e-07, 0.296117, 0.405727),
    ("scaled_linear", 80): (0.165971, 0.043091, 7.303318394491498e-09, 0.258520, 0.358326),
    ("scaled_linear", 100): (0.165339, 0.020390, 6.960523130095098e-11, 0.231736, 0.324239),
    ("linear", 20): (0.267895, 0.183538, 1.834529e-03, 0.353735, 0.493786),
    ("linear", 40): (0.261282, 0.043152, 3.509166e-06, 0.251314, 0.358320),
    ("linear", 60): (0.259153, 0.010096, 6.707527e-09, 0.203964, 0.293054),
    ("linear", 80): (0.258101, 0.002360, 1.281869e-11, 0.175274, 0.253192),
    ("linear", 100): (0.257475, 0.000551, 2.449596e-14, 0.155527, 0.225637),
    ("squared_cosine", 20): (0.156997, 0.416312, 6.059566e-06, 0.471086, 0.608565),
    ("squared_cosine", 40): (0.078776, 0.454941, 1.517193e-06, 0.483580, 0.621213),
    ("squared_cosine", 60): (0.052555, 0.467889, 6.744977e-07, 0.487745, 0.625407),
    ("squared_cosine", 80): (0.039427, 0.474373, 3.794423e-07, 0.489828, 0.627500),
    ("squared_cosine", 100): (0.031546, 0.478265, 2.428541e-07, 0.491078, 0.628754),
    ("sigmoid", 20): (0.293366, 0.357802, 1.276122e-03, 0.464949, 0.572195),
    ("sigmoid", 40): (0.273809, 0.179459, 1.659457e-06, 0.385607, 0.474411),
    ("sigmoid", 60): (0.267447, 0.088489, 2.157895e-09, 0.340760, 0.423938),
    ("sigmoid", 80): (0.264299, 0.043456, 2.806033e-12, 0.309210, 0.389985),
    ("sigmoid", 100): (0.262422, 0.021307, 3.648833e-15, 0.284884, 0.364291),
}
# How many steps of a hundred leave less than 1 % of the signal, rounded; by intensity.
LOST = {20: 5, 40: 22, 60: 33, 80: 41, 100: 46}


def of_sample(kind="gaussian", name="clip 0", modality="audio", seed=1, stream="test", shape=(50, 20)):
    return draw(kind, seed=seed, stream=stream, name=name, modality=modality, shape=shape)


def time_of(ids=IDS, modality="audio", seed=1, stream="test"):
    return times(seed=seed, stream=stream, ids=ids, modality=modality)


@pytest.mark.parametrize(("schedule", "steps"), OFFICIAL)
def test_every_schedule_equals_the_official_one(schedule, steps):
    middle_beta, middle, last, mean, mean_root = OFFICIAL[schedule, steps]
    beta = betas(schedule, steps)
    abar = remaining(beta)
    assert beta.dtype == abar.dtype == np.float64 and beta.shape == abar.shape == (steps,)
    found = (beta[steps // 2], abar[steps // 2], abar.mean(), np.sqrt(abar).mean())
    # Half of the last digit, and the rounding of float32; there, 1 - 0.999 has an error of its own.
    assert found == pytest.approx((middle_beta, middle, mean, mean_root), abs=6e-7)
    assert abar[-1] == pytest.approx(last, rel=2e-5 if schedule == "squared_cosine" else 1e-6)
    if schedule in ("scaled_linear", "linear"):
        assert (beta[0], beta[-1], abar[0]) == pytest.approx((0.01, 0.5, 0.99), rel=1e-12)


@pytest.mark.parametrize("steps", LOST)
def test_a_known_share_of_the_steps_leaves_next_to_nothing(steps):
    lost = remaining(betas("scaled_linear", steps)) < 0.01
    assert abs(100 * lost.mean() - LOST[steps]) <= 0.5


def test_the_schedules_follow_their_formulas():
    steps, first, last = 7, 0.02, 0.6
    for i in range(steps):
        share = i / (steps - 1)
        root = math.sqrt(first) + share * (math.sqrt(last) - math.sqrt(first))
        logistic = 1 / (1 + math.exp(6 - 12 * share))
        left = [math.cos((k / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for k in (i, i + 1)]
        expected = {
            "scaled_linear": root**2,
            "linear": first + share * (last - first),
            "sigmoid": first + logistic * (last - first),
            "squared_cosine": min(1 - left[1] / left[0], 0.999),
        }
        for schedule in SCHEDULES:
            assert betas(schedule, steps, first, last)[i] == pytest.approx(expected[schedule], rel=1e-9)


@given(st.sampled_from(SCHEDULES), st.integers(1, 200), st.floats(1e-4, 0.5), st.floats(0.5, 0.95))
def test_every_step_destroys_and_none_destroys_all(schedule, steps, first, last):
    beta = betas(schedule, steps, first, last)
    assert ((beta > 0) & (beta < 1)).all() and (np.diff(beta) >= 0).all()
    abar = remaining(beta)
    assert ((abar > 0) & (abar < 1)).all() and (np.diff(abar) < 0).all()


def test_more_intensity_leaves_every_sample_less_of_its_signal():
    """Up to the rounding of the step, which helps a few early samples by a fraction of a percent."""
    time = (np.arange(24_000) + 0.5) / 24_000
    left = [remaining(betas("scaled_linear", steps))[(time * steps).astype(int)] for steps in LOST]
    for (fewer, more), gain in zip(pairwise(left), (0, 0.002, 0.002, 0.003), strict=True):
        assert (more - fewer).max() <= gain and (more > fewer).mean() < 0.02


def test_a_schedule_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="unknown schedule 'cubic'"):
        betas("cubic", 20)
    with pytest.raises(ValueError, match="at least one"):
        betas("linear", 0)


@given(st.integers(1, 10**9))
def test_the_latest_time_is_the_last_step(steps):
    assert math.floor(np.nextafter(1.0, 0.0) * steps) == steps - 1


def test_steps_are_uniform_and_those_of_modalities_independent():
    ids = [str(i) for i in range(2000)]
    drawn = np.stack([time_of(ids, modality) for modality in ("text", "audio", "vision")])
    assert drawn.dtype == np.float64
    for time in drawn:
        assert np.abs(np.sort(time) - np.linspace(0, 1, len(ids))).max() < 0.04
    assert (np.abs(np.corrcoef(drawn) - np.eye(3)) < 0.08).all()


def test_times_belong_to_the_ids_and_not_to_their_order():
    assert np.array_equal(time_of()[::-1], time_of(IDS[::-1]))
    assert np.array_equal(time_of()[3:4], time_of(IDS[3:4]))
    assert time_of([]).shape == (0,)


@pytest.mark.parametrize("change", [{"seed": 2}, {"stream": "train 1"}, {"modality": "vision"}])
def test_other_keys_have_other_times_and_other_noise(change):
    assert not (time_of() == time_of(**change)).any()
    for kind in KINDS:
        correlation = np.corrcoef(of_sample(kind).ravel(), of_sample(kind, **change).ravel())[0, 1]
        assert abs(correlation) < 0.13  # 4 deviations


def test_gaussian_noise_is_standard_normal():
    noise = of_sample(shape=(500, 100))
    assert noise.dtype == np.float32 and noise.shape == (500, 100)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert abs((np.abs(noise) < 1).mean() - 0.6827) < 0.01


def test_three_entries_of_ten_get_an_impulse_of_either_sign():
    noise = of_sample("impulse", shape=(500, 100))
    assert noise.dtype == np.float32 and noise.shape == (500, 100)
    assert set(np.unique(noise)) == {-1.0, 0.0, 1.0}
    assert abs((noise > 0).mean() - 0.15) < 0.01 and abs((noise < 0).mean() - 0.15) < 0.01


@given(st.sampled_from(KINDS), st.integers(0, 30), st.integers(0, 30), st.integers(1, 8))
def test_a_longer_sample_begins_with_the_same_noise(kind, short, more, width):
    longer = of_sample(kind, shape=(short + more, width))
    assert np.array_equal(longer[:short], of_sample(kind, shape=(short, width)))


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_the_mixture_keeps_signal_and_noise_apart(seed, abar):
    x, noise = np.random.default_rng(seed).normal(size=(2, 4, 3)).astype(np.float32)
    mixed = noisy(x, noise, abar)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, math.sqrt(abar) * x + math.sqrt(1 - abar) * noise, rtol=1e-5, atol=1e-6)
    assert np.array_equal(noisy(x, noise, 1.0), x) and np.array_equal(noisy(x, noise, 0.0), noise)


def test_frames_may_have_an_abar_each():
    x, noise = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    abar = remaining(betas("scaled_linear", 4))
    together = noisy(x, noise, abar[:, None])
    assert np.array_equal(together, np.stack([noisy(*frame) for frame in zip(x, noise, abar, strict=True)]))


def test_gaussian_noise_keeps_the_variance_of_a_standardised_signal_and_impulses_lower_it():
    x = np.random.default_rng(0).normal(size=(500, 100)).astype(np.float32)
    for abar in (0.99, 0.5, 0.01):
        assert noisy(x, of_sample(shape=x.shape), abar).var() == pytest.approx(1, abs=0.02)
        assert noisy(x, of_sample("impulse", shape=x.shape), abar).var() == pytest.approx(0.3 + 0.7 * abar, abs=0.02)


def test_noise_gives_known_numbers():
    """Test data of published results must not change with a release of NumPy or of ours."""
    assert time_of(["video_1"]).tolist() == [0.5840119196959557]
    expected = [[0.09601638466119766, -0.6187321543693542, -2.3962807655334473]]
    assert of_sample(name="video_1", shape=(1, 3)).tolist() == expected
    expected = [[0, 0, 0, 1, 0, 1, 1, 1, -1, 0, 0, 0]]
    assert of_sample("impulse", name="video_1", shape=(1, 12)).tolist() == expected
