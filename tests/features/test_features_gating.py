import numpy as np
import pytest

from elision.features.gating import spectral_gating

RATES = (8000, 16000, 22050)


def voice(rate, seconds=3):
    """The harmonics of 120 Hz in the middle of silence."""
    t = np.arange(seconds * rate) / rate
    tones = sum(np.sin(2 * np.pi * 120 * k * t) / np.sqrt(k) for k in range(1, 25))
    return (0.1 * tones * (t > 1) * (t < 2)).astype(np.float32)


def ratio(y, noisy):
    return 10 * np.log10(np.sum(y.astype(np.float64) ** 2) / np.sum((noisy.astype(np.float64) - y) ** 2))


@pytest.mark.parametrize("rate", RATES)
def test_gating_takes_steady_noise_off_and_leaves_the_voice(rate):
    clean = voice(rate)
    noise = 0.03 * np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    noisy = clean + noise
    before = noisy.tobytes()
    gated = spectral_gating(noisy, rate)
    assert gated.shape == noisy.shape and gated.dtype == np.float32 and noisy.tobytes() == before
    assert ratio(clean, gated) > ratio(clean, noisy) + 1
    pause = slice(rate // 4, rate // 2)
    assert np.std(gated[pause]) < 0.35 * np.std(noisy[pause])


@pytest.mark.parametrize("rate", RATES)
def test_a_clean_sound_hardly_changes(rate):
    assert ratio(voice(rate), spectral_gating(voice(rate), rate)) > 20


@pytest.mark.parametrize("y", [np.zeros(20_000, np.float32), np.ones(1, np.float32), np.ones(80, np.float32)])
def test_a_silent_and_a_short_sound_come_back_as_they_are(y):
    gated = spectral_gating(y, 16000)
    assert np.array_equal(gated, y) and gated is not y


def test_every_length_is_kept_and_the_same_bytes_come_twice():
    y = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    for length in (2048, 2049, 2300, 8999):
        gated = spectral_gating(y[:length], 16000)
        assert len(gated) == length and np.isfinite(gated).all()
        assert gated.tobytes() == spectral_gating(y[:length], 16000).tobytes()
