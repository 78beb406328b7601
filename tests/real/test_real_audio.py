import librosa
import numpy as np
import pytest

from elision.features.audio import extract
from elision.features.media import probe, read_audio, read_frames
from elision.features.pyin import pyin
from elision.settings.params import AudioFeatures

pytestmark = pytest.mark.real


@pytest.fixture
def recordings(real_data):
    return sorted((real_data / "emodb_two_speakers").rglob("*.wav"))[::20]


def test_pitch_of_speech_is_that_of_librosa(recordings):
    assert recordings
    for path in recordings:
        y = read_audio(path, sample_rate=22050)
        for fmax in (500, 2093):
            ours = pyin(y, fmin=65, fmax=fmax, sr=22050, hop_length=512)
            theirs = librosa.pyin(y, fmin=65, fmax=fmax, sr=22050, hop_length=512)
            for mine, expected in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, expected)


def test_speech_has_voiced_frames_and_finite_features(recordings):
    for path in recordings:
        features = extract(path, AudioFeatures()).values
        assert features.shape[1] == 33 and np.isfinite(features).all()
        assert 0.3 < np.mean(features[:, -1] > 0) < 0.95


def test_videos_give_as_many_frames_as_they_tell(real_data):
    for path in sorted((real_data / "clips").glob("*.mp4")):
        media = probe(path)
        frames = sum(frame.shape == (media.height, media.width, 3) for _, frame in read_frames(path))
        assert media.audio and frames == pytest.approx(media.duration * media.fps, rel=0.05)
        assert sum(1 for _ in read_frames(path, fps=5)) == pytest.approx(media.duration * 5, abs=1.5)
