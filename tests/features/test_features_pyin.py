import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elision.errors import ElisionError
from elision.features.pyin import _log_transitions, _viterbi, pyin

SR = 22050
SPEECH = {"fmin": 65, "fmax": 500, "sr": SR, "hop_length": 512}


def voice(f0, *, jitter=0.01, noise=0.003, sr=SR, seed=0):
    """Harmonics of a fundamental frequency per sample, in Hz, with jitter, pauses and breath."""
    random = np.random.default_rng(seed)
    n = len(f0)
    f0 = f0 * (1 + jitter * np.repeat(random.standard_normal(n // 200 + 1), 200)[:n])
    phase = np.cumsum(2 * np.pi * f0 / sr)
    y = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(np.arange(n) / sr * 15) > -0.6)
    return (0.1 * y + noise * random.standard_normal(n)).astype(np.float32)


def steps(*frequencies, seconds=0.15):
    return np.repeat(np.array(frequencies, float), int(seconds * SR))


SIGNALS = {
    "voice": voice(120 + 40 * np.sin(np.arange(SR) / SR * 9)),
    "voice in double precision": voice(np.linspace(90, 300, SR // 2)).astype(np.float64),
    "faint voice": 1e-5 * voice(np.full(SR // 2, 150.0)),
    "octave jumps": voice(steps(110, 440, 220, 110), jitter=0, noise=0),
    "noise": np.random.default_rng(1).normal(0, 0.1, SR // 2).astype(np.float32),
    "silence": np.zeros(SR // 2, np.float32),
    "silence, then voice": np.concatenate([np.zeros(6000, np.float32), voice(np.full(6000, 200.0))]),
    "constant": np.full(SR // 2, 0.3, np.float32),
    "click": np.eye(1, SR // 2, 5000, dtype=np.float32)[0],
    "sweep": librosa.chirp(fmin=40, fmax=1500, duration=0.7, sr=SR).astype(np.float32),
    "one sample": np.array([0.5], np.float32),
    "no sample": np.zeros(0, np.float32),
    "a hundredth of a second": voice(np.full(220, 150.0)),
}
SETTINGS = {
    "speech": SPEECH,
    "music": {**SPEECH, "fmin": 65.4, "fmax": 2093},
    "short hop": {**SPEECH, "fmin": 80, "fmax": 400, "hop_length": 100},
    "hop in which pitch cannot move": {**SPEECH, "hop_length": 23},
    "other rate": {"fmin": 50, "fmax": 1000, "sr": 16000, "hop_length": 160, "frame_length": 4096},
}


def assert_equal_to_librosa(y, **kwargs):
    for ours, theirs in zip(pyin(y, **kwargs), librosa.pyin(y, **kwargs), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("signal", SIGNALS)
def test_every_number_is_that_of_librosa(signal, setting):
    y = SIGNALS[signal]
    if setting == "hop in which pitch cannot move":
        y = y[:3000]
    assert_equal_to_librosa(y, **SETTINGS[setting])


def test_the_first_sample_of_a_frame_is_left_out_at_lag_one_as_in_librosa():
    # In one frame of this signal that sample decides whether a trough lies below a threshold.
    y = voice(np.full(8000, 352.0), noise=0.03, seed=36)
    assert_equal_to_librosa(y, fmin=65.4, fmax=2093, sr=SR, hop_length=128)


@settings(max_examples=15, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 6000),
    frequency=st.floats(30, 1200),
    noise=st.sampled_from([0, 1e-6, 0.1, 3.0]),
    scale=st.sampled_from([1e-8, 1e-2, 1.0, 100.0]),
    fmin=st.floats(40, 120),
    octaves=st.floats(1.1, 4),
    hop_length=st.integers(64, 512),
)
def test_any_signal_and_range_give_the_numbers_of_librosa(seed, n, frequency, noise, scale, fmin, octaves, hop_length):
    random = np.random.default_rng(seed)
    y = scale * (np.sin(2 * np.pi * frequency / SR * np.arange(n)) + noise * random.standard_normal(n))
    assert_equal_to_librosa(y.astype(np.float32), fmin=fmin, fmax=fmin * 2**octaves, sr=SR, hop_length=hop_length)


@settings(max_examples=40, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), certain=st.floats(0, 1), width=st.sampled_from([1, 3, 7]))
def test_the_banded_decoder_takes_the_path_of_the_dense_one(seed, certain, width):
    random = np.random.default_rng(seed)
    n_bins, n_frames, tiny = 12, 25, np.finfo(np.float64).tiny
    voiced = np.zeros((n_bins, n_frames))
    for t in range(n_frames):
        # Few candidates, with coarse probabilities: ties, and certain frames far apart that only a jump connects.
        probability = 1.0 if random.uniform() < certain else random.integers(0, 5) / 4
        candidates = random.integers(0, n_bins, 2)
        voiced[candidates, t] = probability / 2
        if candidates[0] == candidates[1]:
            voiced[candidates[0], t] = probability
    unvoiced = np.clip(1 - voiced.sum(axis=0), 0, 1) / n_bins

    local = librosa.sequence.transition_local(n_bins, width, window="triangle", wrap=False)
    expected = librosa.sequence.viterbi(
        np.concatenate([voiced, np.tile(unvoiced, (n_bins, 1))]),
        np.kron(librosa.sequence.transition_loop(2, 0.99), local),
        p_init=np.full(2 * n_bins, 1 / (2 * n_bins)),
    )
    states = _viterbi(
        np.log(voiced.T + tiny),
        np.log(unvoiced + tiny),
        *_log_transitions(n_bins, width),
        np.log(tiny),
        np.log(1 / (2 * n_bins) + tiny),
    )
    np.testing.assert_array_equal(states, expected)


@pytest.mark.parametrize("frequency", [80.0, 220.0, 440.0])
def test_the_frequency_of_a_tone_is_found_to_a_tenth_of_a_semitone(frequency):
    y = sum(np.sin(2 * np.pi * k * frequency * np.arange(SR // 2) / SR) / k for k in range(1, 8))
    f0, voiced, _ = pyin(y, **SPEECH)
    assert voiced[3:-3].all()
    assert np.all(np.abs(12 * np.log2(f0[3:-3] / frequency)) < 0.1)


def test_f0_is_nan_just_where_the_frame_is_unvoiced():
    f0, voiced, _ = pyin(SIGNALS["voice"], **SPEECH)
    assert 0 < voiced.sum() < len(voiced)
    np.testing.assert_array_equal(np.isnan(f0), ~voiced)


def test_silence_is_unvoiced():
    f0, voiced, probability = pyin(np.zeros(SR, np.float32), **SPEECH)
    assert len(f0) == 1 + SR // 512
    assert not voiced.any() and np.isnan(f0).all() and (probability < 0.02).all()


def test_twice_the_same_signal_gives_the_same_bits():
    first, second = (pyin(SIGNALS["voice"], **SPEECH) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmin": 500, "fmax": 65}, "between 0 and 11025"),
        ({"fmin": 0}, "between 0 and 11025"),
        ({"fmax": 12000}, "between 0 and 11025"),
        ({"fmin": 10}, "does not fit into 2048 samples"),
        ({"hop_length": 2048}, "Widen the range or shorten the hop"),
    ],
)
def test_settings_that_do_not_suit_each_other_are_errors(change, message):
    with pytest.raises(ElisionError, match=message):
        pyin(np.zeros(SR, np.float32), **{**SPEECH, **change})
