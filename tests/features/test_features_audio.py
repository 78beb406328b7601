import librosa
import numpy as np
import pytest
import soundfile
from threadpoolctl import threadpool_limits

from elision.errors import ElisionError
from elision.features.audio import describe, extract, feature_names, frame_rate
from elision.settings.params import AudioFeatures

DEFAULT = AudioFeatures()
SR = DEFAULT.sample_rate


def tone(seconds, frequency=220.0, sr=SR):
    phase = 2 * np.pi * frequency * np.arange(int(seconds * sr)) / sr
    return sum(0.2 * np.sin(k * phase) / k for k in range(1, 6)).astype(np.float32)


def column(features, name, settings=DEFAULT):
    return features[:, feature_names(settings).index(name)]


def test_columns_are_those_that_are_named():
    names = feature_names(DEFAULT)
    assert len(names) == len(set(names)) == 33
    assert (names[0], names[20], names[-1]) == ("mfcc_0", "chroma_0", "log_f0")
    assert describe(tone(0.5), DEFAULT).shape[1] == 33


def test_frames_follow_at_the_frame_rate():
    assert frame_rate(DEFAULT) == pytest.approx(43.07, abs=0.01)
    assert len(describe(tone(1), DEFAULT)) == 1 + SR // 512


@threadpool_limits.wrap(limits=1, user_api="blas")  # as describe: on some processors more threads round otherwise
def test_numbers_are_those_of_librosa():
    y = np.concatenate([tone(1.6, 150), tone(1.6, 310)])
    features = describe(y, DEFAULT)
    np.testing.assert_array_equal(features[:, :20].T, librosa.feature.mfcc(y=y, sr=SR, n_mfcc=20, hop_length=512))
    np.testing.assert_array_equal(features[:, 20:32].T, librosa.feature.chroma_cqt(y=y, sr=SR, hop_length=512))
    f0, voiced, _ = librosa.pyin(y, fmin=65, fmax=500, sr=SR, hop_length=512)
    np.testing.assert_array_equal(features[:, 32], np.where(voiced, np.log(f0), 0).astype(np.float32))


@pytest.mark.parametrize(("frequency", "chroma"), [(220.0, "chroma_9"), (261.63, "chroma_0")])  # A, C
def test_a_tone_has_its_pitch_class_and_its_log_f0(frequency, chroma):
    features = describe(tone(1, frequency), DEFAULT)[5:-5]
    assert np.all(column(features, chroma) == 1)
    np.testing.assert_allclose(column(features, "log_f0"), np.log(frequency), atol=0.006)  # a bin is 0.1 semitone


def test_a_louder_voice_has_a_larger_first_coefficient():
    quiet, loud = (column(describe(gain * tone(0.5), DEFAULT), "mfcc_0").mean() for gain in (0.1, 1))
    # 20 dB in each of 128 bands, by an orthonormal cosine transform.
    assert loud - quiet == pytest.approx(20 * np.sqrt(128), rel=0.01)


def test_unvoiced_frames_have_log_f0_zero():
    noise = np.random.default_rng(0).normal(0, 0.1, SR // 2).astype(np.float32)
    assert np.mean(column(describe(noise, DEFAULT), "log_f0") == 0) > 0.5


def test_silence_gives_finite_values():
    features = describe(np.zeros(SR // 2, np.float32), DEFAULT)
    assert np.isfinite(features).all()
    assert (features[:, 20:] == 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 100, 511, 512, 2047, 12345])
def test_however_short_a_clip_has_its_frames_and_finite_values(n):
    for y in (tone(1)[:n], np.zeros(n, np.float32), np.full(n, 0.5, np.float32)):
        features = describe(y, DEFAULT)
        assert features.shape == (1 + n // 512, 33) and features.dtype == np.float32
        assert np.isfinite(features).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 8000},  # half of it lies under the seventh octave
        {"sample_rate": 16000, "hop_length": 160},
        {"sample_rate": 44100, "hop_length": 1024, "chroma": 24, "mfcc": 13},
        {"sample_rate": 96000, "hop_length": 2048},  # a period of 65 Hz is longer than half of the usual frame
        {"hop_length": 441},
        {"mfcc": 140},  # more than the usual number of mel bands
    ],
)
def test_other_settings_give_as_many_frames_of_each_feature(change):
    settings = AudioFeatures(**change)
    features = describe(tone(0.3, sr=settings.sample_rate), settings)
    n = int(0.3 * settings.sample_rate)
    assert features.shape == (1 + n // settings.hop_length, settings.mfcc + settings.chroma + 1)
    assert np.isfinite(features).all()
    assert np.exp(np.median(column(features, "log_f0", settings))) == pytest.approx(220, rel=0.01)


def test_a_file_is_described_at_the_sample_rate_of_the_settings(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(0.5, sr=44100), 44100)
    features = extract(path, DEFAULT).values
    assert abs(len(features) - (1 + SR // 2 // 512)) <= 1
    np.testing.assert_allclose(column(features, "log_f0")[3:-3], np.log(220), atol=0.006)


def test_what_exceeds_the_longest_length_is_cut(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(0.5), SR)
    whole = extract(path, AudioFeatures(max_length=None))
    assert whole.values.shape[0] == 22
    assert whole.facts == {}
    cut = extract(path, AudioFeatures(max_length=7))
    assert cut.values.shape[0] == 7
    assert cut.facts == {"cut": 7 * 512 / SR}
    # A frame of MFCC reaches two hops to each side; what lies beyond the cut is silence.
    np.testing.assert_allclose(cut.values[:5, :20], whole.values[:5, :20], atol=1e-3)


def test_no_more_is_decoded_than_is_kept(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, tone(30), SR)
    content = bytearray(path.read_bytes())
    content[-len(content) // 2 :] = bytes(len(content) // 2)  # nothing that decodes
    path.write_bytes(content)
    assert extract(path, AudioFeatures(max_length=100)).values.shape[0] == 100
    with pytest.raises(ElisionError):
        extract(path, AudioFeatures(max_length=None))


@pytest.mark.parametrize("level", [0.0, 2.0**-15])
def test_a_track_of_nothing_but_silence_is_told(tmp_path, level):
    for name, signal in (("silent", level * np.ones(SR // 2)), ("loud", tone(0.5))):
        soundfile.write(tmp_path / f"{name}.wav", signal, SR)
    assert extract(tmp_path / "silent.wav", DEFAULT).facts == {"silent": True}
    assert extract(tmp_path / "loud.wav", DEFAULT).facts == {}


def test_a_range_of_f0_that_does_not_suit_the_sampling_rate_is_an_error():
    with pytest.raises(ElisionError, match="5000"):
        describe(tone(0.2, sr=8000), AudioFeatures(sample_rate=8000, f0_max=5000))


def test_the_number_of_threads_does_not_change_a_bit():
    y = np.random.default_rng(0).normal(0, 0.1, SR).astype(np.float32)
    described = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            described.append(describe(y, DEFAULT))
    np.testing.assert_array_equal(*described)
