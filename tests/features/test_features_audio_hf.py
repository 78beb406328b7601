"""Speech models of the hub: frames, pieces, batches, and what the settings must be."""

from fractions import Fraction

import numpy as np
import pytest

import hub_models
from elision.errors import ElisionError
from elision.features import audio_hf
from elision.features.audio import Sound
from elision.settings.params import AudioFeatures

RATE = 16000


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A function from a family to the settings of a model of it."""
    folders = {name: hub_models.make(name, tmp_path_factory.mktemp(name)) for name in hub_models.SOUND}
    folders["dinov2"] = hub_models.make("dinov2", tmp_path_factory.mktemp("dinov2"))
    return lambda family, **given: AudioFeatures(extractor="hf", model=folders[family], **given)


def sound(seconds, seed=0):
    """Noise whose loudness changes ten times per second."""
    random = np.random.default_rng(seed)
    loud = np.repeat(random.uniform(0, 0.2, int(10 * seconds) + 1), RATE // 10)[: int(seconds * RATE)]
    return (random.normal(size=len(loud)) * loud).astype(np.float32)


@pytest.mark.parametrize("family", hub_models.SOUND)
def test_states_are_those_that_transformers_gives_for_the_clip_alone(settings, family):
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    y, folder = sound(0.9), settings(family).model
    processor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    model = model.encoder if family == "whisper" else model
    with torch.inference_mode():
        found = model(**processor(y, sampling_rate=RATE, return_tensors="pt"), output_hidden_states=True).hidden_states
    expected = torch.stack(found[-4:]).mean(0)[0].numpy()
    made = audio_hf.describe(y, settings(family))
    assert made.shape == (45 if family == "whisper" else 44, 16)
    np.testing.assert_allclose(made, expected[: len(made)], atol=1e-5)


@pytest.mark.parametrize("family", hub_models.SOUND)
@pytest.mark.parametrize("batch", [2, 3, 50])
def test_the_size_of_batches_changes_nothing_beyond_the_last_bits(settings, family, batch):
    y = sound(6.3)
    one, several = (
        audio_hf.describe(y, settings(family, batch_size=size), piece=1.0, overlap=0.4) for size in (1, batch)
    )
    np.testing.assert_allclose(several, one, atol=1e-5)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
@pytest.mark.parametrize(("piece", "overlap", "bound"), [(2.0, 1.0, 0.25), (6.0, 2.0, 0.2)])
def test_pieces_are_near_the_whole_within_the_bound_of_the_docs(settings, family, piece, overlap, bound):
    y = sound(14.03)
    whole, pieces = (
        audio_hf.describe(y, settings(family), piece=p, overlap=o) for p, o in ((60.0, 0.0), (piece, overlap))
    )
    assert pieces.shape == whole.shape
    assert np.linalg.norm(pieces - whole) / np.linalg.norm(whole) < bound


@pytest.mark.parametrize("seconds", [1.0, 1.999, 2.0, 2.001, 2.02, 2.5, 3.0, 3.31, 7.77])
def test_pieces_leave_out_no_frame_and_repeat_none(settings, seconds):
    """With the hidden states before the first layer of attention, only the scale of a piece's groups differs."""
    y = sound(seconds)
    given = settings("hubert", layers=[0])
    assert len(audio_hf.describe(y, given, piece=2.0)) == len(audio_hf.describe(y, given, piece=60.0))
    frames = len(audio_hf.describe(y, settings("whisper")))
    assert frames == -(-len(y) // 320)


@pytest.mark.parametrize("piece", [1.0, 2.0])
def test_a_frame_of_a_piece_is_at_its_place_in_the_clip(settings, piece):
    """Of all frames of the whole clip, the one at the same place is the nearest."""
    y, given = sound(5.0), settings("wavlm", layers=[0])
    whole, pieces = (audio_hf.describe(y, given, piece=each, overlap=0.4) for each in (60.0, piece))
    distances = np.linalg.norm(pieces[:, None] - whole, axis=2)
    assert np.mean(distances.argmin(axis=1) == np.arange(len(whole))) > 0.95


@pytest.mark.parametrize("family", hub_models.SOUND)
@pytest.mark.parametrize("samples", [1, 399, 400, 401])
def test_a_short_sound_has_a_frame(settings, family, samples):
    made = audio_hf.of_sound(Sound(sound(1.0)[:samples]), settings(family))
    assert made.values.shape == (2 if family == "whisper" and samples > 320 else 1, 16)
    assert np.isfinite(made.values).all()


def test_silence_is_told_and_has_finite_values(settings):
    made = audio_hf.of_sound(Sound(np.zeros(RATE, np.float32)), settings("hubert"))
    assert made.facts == {"silent": True}
    assert np.isfinite(made.values).all()


def test_no_sound_has_no_frames_of_the_right_width(settings):
    assert audio_hf.of_sound(Sound(None), settings("hubert")).values.shape == (0, 16)


def test_a_clip_that_is_cut_has_no_frame_beyond(settings):
    made = audio_hf.of_sound(Sound(sound(1.0), end=Fraction(1, 2)), settings("hubert"))
    assert len(made.values) == 25


def test_the_mean_has_one_row_and_no_rate(settings):
    frames, mean = settings("hubert"), settings("hubert", pool="mean")
    all_frames, one = (audio_hf.of_sound(Sound(sound(1.0)), each).values for each in (frames, mean))
    np.testing.assert_allclose(one, all_frames.mean(axis=0, keepdims=True), atol=1e-6)
    assert (audio_hf.frame_rate(frames), audio_hf.frame_rate(mean)) == (50.0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hop_length": 512}, "features.audio.hop_length is 512, but .* has 320; write hop_length: 320"),
        ({"sample_rate": 22050}, "features.audio.sample_rate is 22050, but .* has 16000; write sample_rate: 16000"),
    ],
)
def test_settings_that_do_not_suit_the_model_are_refused_with_those_that_do(settings, given, message):
    with pytest.raises(ElisionError, match=message):
        audio_hf.prepare(settings("hubert", **given))


def test_a_model_that_hears_nothing_is_refused(settings):
    with pytest.raises(ElisionError, match=r"features.audio.model: .*dinov2"):
        audio_hf.prepare(settings("dinov2"))
