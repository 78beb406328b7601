import hashlib
import json
import os
import re
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from elision.datasets import _face, _speech, demo
from elision.errors import ElisionError
from elision.task import SPLITS

pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")

COLUMNS = {"id", "path", "text", "label", "split", "speaker", "duration", "has_audio", "has_vision", "fps", "words"}
VOICE = _speech.Voice("en-us+f2", rate=180, pitch=50, pitch_range=50)


def settings_of(**changes):
    return demo.Settings(source="demo", **changes)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return demo.prepare(settings_of(clips=12), folder), folder


@pytest.fixture(scope="module")
def plan():
    return demo.plan(settings_of())


# The words


def test_not_turns_the_sentiment_round_and_shrinks_it():
    for adjective in demo.POLARITY:
        plain, negated = demo.sentiment(f"The film was {adjective}."), demo.sentiment(f"The film was not {adjective}.")
        assert plain * negated < 0
        assert abs(negated) < abs(plain)


def test_stronger_intensifiers_give_stronger_sentiment():
    by_strength = sorted(demo.INTENSITY, key=demo.INTENSITY.get)
    for adjective in ("good", "bad"):
        sizes = [abs(demo.sentiment(f"the film was {word} {adjective}")) for word in by_strength]
        assert sizes == sorted(sizes)
        assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The music was good.", 1.4),
        ("The music was very good on Sunday.", 1.8),
        ("Well, the music was not very good.", -0.9),
        ("I found the ending extremely awful.", -3.0),
        ("We saw the film last night.", 0.0),
        ("The film was surprising.", 0.0),
    ],
)
def test_sentiment_of_known_sentences(sentence, expected):
    assert demo.sentiment(sentence) == expected


@settings(max_examples=60)
@given(target=st.floats(-3, 3), seed=st.integers(0, 2**32))
def test_a_sentence_says_what_it_should(target, seed):
    assert demo.sentiment(demo.compose(target, plain=False, draw=np.random.default_rng(seed))) == pytest.approx(
        target, abs=0.25
    )
    assert demo.sentiment(demo.compose(target, plain=True, draw=np.random.default_rng(seed))) == 0


def test_every_word_stands_in_the_word_lists(plan):
    phrases = chain(
        demo.OPENINGS, demo.SUBJECTS, demo.OPINIONS, demo.STATEMENTS, demo.WHEN, demo.NEUTRAL, demo.POLARITY
    )
    known = set(re.findall(r"\w+", " ".join([*phrases, *demo.INTENSITY, "not"]).lower()))
    assert set(re.findall(r"\w+", " ".join(plan["text"]).lower())) <= known


def test_no_polar_word_hides_in_the_neutral_parts():
    parts = chain(demo.OPENINGS, demo.SUBJECTS, demo.OPINIONS, demo.STATEMENTS, demo.WHEN, demo.NEUTRAL)
    assert not set(" ".join(parts).split()) & (set(demo.POLARITY) | {"not"})


# The plan


def test_ids_are_unique_and_splits_share_no_speaker(plan):
    assert plan["id"].is_unique
    assert (plan.groupby("speaker")["split"].nunique() == 1).all()
    assert plan["split"].value_counts().to_dict() == {"train": 108, "valid": 26, "test": 26}


@pytest.mark.parametrize(("clips", "speakers"), [(12, 6), (12, 3), (13, 5), (100, 13)])
def test_small_and_odd_sizes_have_every_split_and_both_signs_in_each(clips, speakers):
    plan = demo.plan(settings_of(clips=clips, speakers=speakers))
    assert len(plan) == clips
    assert plan["speaker"].nunique() == speakers
    for split in SPLITS:
        labels = plan.loc[plan["split"] == split, "label"]
        assert labels.min() <= 0 <= labels.max()
        assert labels.min() < labels.max()


def test_labels_are_graded_symmetric_and_cover_the_range_in_every_split(plan):
    columns = plan[["label", "label_text", "label_audio", "label_vision"]]
    assert columns.abs().max().max() <= 3
    np.testing.assert_array_equal(columns, columns.round(1))
    for split in SPLITS:
        labels = plan.loc[plan["split"] == split, "label"]
        assert labels.min() < -2.5
        assert labels.max() > 2.5
        assert abs(labels.mean()) < 0.2
        assert (labels == 0).any()
        assert labels.nunique() >= 15


def test_no_modality_tells_the_label_and_together_they_tell_much_more():
    plan = demo.plan(settings_of(clips=2000))
    shown = plan[["label_text", "label_audio", "label_vision"]]
    alone = shown.corrwith(plan["label"])
    assert alone.between(0.7, 0.87).all()
    design = np.column_stack([shown, np.ones(len(plan))])
    train = np.arange(len(plan)) % 2 == 0
    weights = np.linalg.lstsq(design[train], plan["label"][train], rcond=None)[0]
    assert np.corrcoef(design[~train] @ weights, plan["label"][~train])[0, 1] > alone.max() + 0.06


def test_three_sentences_in_ten_tell_nothing_of_the_label():
    plan = demo.plan(settings_of(clips=2000))
    plain = plan["label_text"] == 0
    assert plain.mean() == pytest.approx(demo.PLAIN, abs=0.05)
    assert plan.loc[plain, "label"].std() > 1.3


def test_another_seed_gives_other_clips(plan):
    assert (demo.plan(settings_of(seed=7))["text"] != plan["text"]).mean() > 0.9


def test_too_few_clips_for_the_speakers_are_refused():
    with pytest.raises(ValidationError, match="too few for 8 speakers"):
        settings_of(clips=12, speakers=8)


# The clips


def test_the_table_has_the_columns_of_a_clips_source(made):
    table, folder = made
    assert set(table) == COLUMNS | {"dialogue", "position", "label_text", "label_audio", "label_vision"}
    assert table["path"].tolist() == [str(folder / f"{name}.mp4") for name in table["id"]]
    assert {path.name for path in folder.iterdir()} == {f"{name}.mp4" for name in table["id"]}
    assert table[["has_audio", "has_vision"]].all(axis=None)
    assert table["fps"].tolist() == [25.0] * len(table)


def test_clips_hold_a_picture_and_a_voice_of_the_said_duration(made):
    import av

    for clip in made[0].itertuples():
        assert 2 <= clip.duration <= 4
        with av.open(clip.path) as file:
            (video,), (audio,) = file.streams.video, file.streams.audio
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.width, video.height, video.average_rate) == (256, 256, 25)
            assert video.frames == round(clip.duration * 25)
            assert float(audio.duration * audio.time_base) == pytest.approx(clip.duration, abs=0.06)


def test_words_are_those_of_the_text_in_order_of_time(made):
    for clip in made[0].itertuples():
        words, starts, ends = zip(*json.loads(clip.words), strict=True)
        assert list(words) == re.findall(r"\w+", clip.text)
        assert all(start < end for start, end in zip(starts, ends, strict=True))
        assert list(starts) == sorted(starts)
        assert ends[-1] <= clip.duration


def test_clips_are_the_same_to_the_byte_with_one_worker(made, tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    table = demo.prepare(settings_of(clips=12), tmp_path)
    assert digests(tmp_path) == digests(made[1])
    assert table.drop(columns="path").equals(made[0].drop(columns="path"))


def test_a_missing_synthesiser_names_the_remedy(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ElisionError, match=re.escape("pip install -c constraints.txt -e '.[demo]'")):
        demo.prepare(settings_of(), tmp_path)


# The voice


def test_speech_repeats_itself_and_sets_a_time_for_every_word():
    first = _speech.speak("Well, the film was not very good.", VOICE)
    time.sleep(1)  # left to itself, espeak-ng seeds its noise by the second
    second = _speech.speak("Well, the film was not very good.", VOICE)
    assert first == second
    assert [word for word, _ in first.words] == ["Well", "the", "film", "was", "not", "very", "good"]
    assert 1 < first.duration < 3


@pytest.mark.parametrize("length", [1, 100, 200])
def test_speech_is_the_same_however_long_the_path_of_the_synthesiser_is(tmp_path, monkeypatch, length):
    """espeak-ng has 160 characters for a path, and conda environments in a project's folder have longer ones."""
    import espeakng_loader

    folder = tmp_path / ("a" * length)
    folder.mkdir()
    (folder / "espeakng_loader").symlink_to(Path(espeakng_loader.__file__).parent)
    expected = _speech.speak("Well, the film was not very good.", VOICE)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    assert _speech.speak("Well, the film was not very good.", VOICE) == expected


def pitch(samples, sample_rate):
    """Median over voiced frames of 50 ms of the frequency, from 80 to 500 Hz, of the highest autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, sample_rate // 20)[:: sample_rate // 100]
    power = np.abs(np.fft.rfft(frames - frames.mean(1, keepdims=True), n=sample_rate // 10)) ** 2
    correlation = np.fft.irfft(power)
    shortest = sample_rate // 500
    lags = correlation[:, shortest : sample_rate // 80]
    voiced = lags.max(1) > 0.5 * correlation[:, 0].clip(min=1e-3)
    return sample_rate / np.median(shortest + lags.argmax(1)[voiced])


def test_a_higher_mood_is_spoken_faster_and_higher():
    speaker = demo._speaker(0, 1111)

    def spoken(mood):
        voice = demo._voice(speaker, mood, np.random.default_rng(0))
        speech = _speech.speak("My friends asked about the music this evening.", voice)
        samples = np.frombuffer(speech.samples, np.int16) / 32768
        return speech.duration, pitch(samples, speech.sample_rate)

    durations, pitches = zip(*[spoken(mood) for mood in (-1, 0, 1)], strict=True)
    assert durations[0] > durations[1] > durations[2]
    assert pitches[0] * 1.1 < pitches[1] < pitches[2] / 1.1


def test_an_unknown_voice_is_an_error_that_names_the_sentence():
    with pytest.raises(ElisionError, match=r"could not say 'hello' \(OSError: no voice nobody\); install it again"):
        _speech.speak("hello", _speech.Voice("nobody", rate=180, pitch=50, pitch_range=50))


# The face


def motion(**amounts):
    rest = {"smile": 0.0, "jaw": 0.0, "brow": 0.0, "lid": 0.0, "roll": 0.0}
    arrays = {name: np.array([value]) for name, value in {**rest, **amounts}.items()}
    return _face.Motion(**arrays, shift=np.zeros((1, 2)))


def landmarks(**amounts):
    mediapipe = pytest.importorskip("mediapipe")
    (frame,) = _face.render(_face.Look(scale=1.3, tint=np.ones(3), flip=False), motion(**amounts))
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        (face,) = mesh.process(frame).multi_face_landmarks
    return 256 * np.array([(point.x, point.y) for point in face.landmark])


def test_the_face_smiles_speaks_frowns_and_blinks():
    rest = landmarks()
    up, down = landmarks(smile=1.0), landmarks(smile=-1.0)
    corners = [61, 291]
    assert (up[corners, 1] < rest[corners, 1] - 2).all()
    assert (down[corners, 1] > rest[corners, 1] + 2).all()
    assert landmarks(jaw=1.0)[17, 1] > rest[17, 1] + 2
    assert landmarks(brow=1.0)[55, 1] < rest[55, 1] - 2
    assert landmarks(brow=-1.0)[55, 1] > rest[55, 1] + 2
    closed = landmarks(lid=1.0)
    assert closed[145, 1] - closed[159, 1] < 0.7 * (rest[145, 1] - rest[159, 1])


def test_a_mirrored_speaker_is_the_mirrored_picture():
    looks = [_face.Look(scale=1.3, tint=np.array([1.0, 0.9, 0.9]), flip=flip) for flip in (False, True)]
    straight, mirrored = (next(_face.render(look, motion(smile=0.5, roll=2.0))) for look in looks)
    np.testing.assert_array_equal(mirrored, straight[:, ::-1])
    assert straight.shape == (256, 256, 3)
    assert straight.dtype == np.uint8
