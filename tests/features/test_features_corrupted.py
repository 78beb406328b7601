from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
from skimage import data

import hub_models
from elision.corruption.clips import CorruptedClips, means
from elision.corruption.medium import At, PictureKind, WordsKind, kind
from elision.errors import ElisionError
from elision.features.audio import of_sound
from elision.features.corrupted import Corruptor, as_long_as, concerned, corrupt, finished, of_test, part
from elision.features.gating import spectral_gating
from elision.features.shards import extract, extractor
from elision.settings.params import AudioFeatures, Features, VisionFeatures
from elision.store import Sequences, Store, read_sequences, write_table
from elision.task import MODALITIES

RATE = 16000
FEATURES = Features.model_validate({"audio": {"max_length": 60}, "vision": {"max_length": 8}})
NAMES = ["a", "b", "c", "d"]


class Shouted(WordsKind):
    """The last words are lost, one more at each severity."""

    name = "shouted"

    def corrupt(self, text, severity, clip):
        words = text.split()
        return " ".join(words[:-severity]), {"lost": float(min(severity, len(words)))}


class Blink(PictureKind):
    """The fourth to sixth picture are black."""

    name = "blink"

    def corrupt(self, frames, severity, clip, measured):
        for number, (second, picture) in enumerate(frames):
            yield second, np.zeros_like(picture) if 3 <= number < 6 else picture


def film(path, tone):
    """A second of a face at 10 frames per second, and of a tone with breaks."""
    photograph = np.ascontiguousarray(data.astronaut()[:256, 96:352])
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 256, 256, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(photograph, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 10)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        seconds = np.arange(RATE) / RATE
        y = 9000 * np.sin(2 * np.pi * tone * seconds) * (np.sin(2 * np.pi * 3 * seconds) > -0.5)
        frame = av.AudioFrame.from_ndarray(y.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for each in (frame, None):
            container.mux(sound.encode(each))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A table of four clips; the third has no sound and no pictures, and the last no words."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(NAMES):
        film(folder / f"{name}.mkv", 150 + 40 * number)
    return pd.DataFrame(
        {
            "id": NAMES,
            "path": [str(folder / "a.mkv"), str(folder / "b.mkv"), None, str(folder / "d.mkv")],
            "text": ["a very good film indeed", "bad", "fine words", None],
            "speaker": ["x", "x", "y", "y"],
            "has_audio": [True, True, False, True],
            "has_vision": [True, True, False, True],
        },
        dtype=object,
    )


@pytest.fixture(scope="module")
def clean(clips):
    """What is extracted of the clean clips."""
    found = {}
    for name in MODALITIES:
        describe, header = extractor(name, FEATURES)
        found[name] = [describe(row) for row in clips.itertuples()], header
    return found


def store_of(clips, clean):
    modalities = {}
    for name, (parts, header) in clean.items():
        times = None if parts[0].times is None else [each.times for each in parts]
        whole = Sequences.of([each.values for each in parts], header, times)
        modalities[name] = replace(whole, header=header.model_copy(update={"length": int(whole.lengths.max())}))
    return Store(clips.assign(split=["test", "train", "test", "test"]), modalities, {})


def same(one, other):
    np.testing.assert_array_equal(one.values, other.values)
    assert one.values.dtype == other.values.dtype
    if one.times is not None:
        np.testing.assert_array_equal(one.times, other.times)


@pytest.mark.parametrize("pool", ["frames", "mean"])
def test_models_of_the_hub_extract_corrupted_clips(clips, tmp_path, pool):
    """Clean clips are those of extraction, a corruption changes the modality, and no share of voiced frames is told."""
    features = Features(
        audio=AudioFeatures(extractor="hf", model=hub_models.make("wavlm", tmp_path / "wavlm"), pool=pool),
        vision=VisionFeatures(extractor="hf", model=hub_models.make("dinov2", tmp_path / "dinov2"), pool=pool),
    )
    clips = clips.iloc[[0, 2]]
    corruptor = Corruptor(clips, features, seed=1)
    for name, of_kind in (("audio", kind("white_noise")()), ("vision", kind("sensor_noise")())):
        describe, _ = extractor(name, features)
        row = next(clips.itertuples())
        read = corruptor.read(row, [name])
        (found, measured), (noisy, told) = (
            corruptor.extracted(row, [(of_kind, severity)], read) for severity in (0, 3)
        )
        same(found[name], describe(row))
        assert noisy[name].values.shape == found[name].values.shape
        assert np.nanmax(np.abs(noisy[name].values - found[name].values)) > 1e-3
        assert "voiced" not in measured | told
        whole = corrupt(corruptor, of_kind, [3], clips)
        assert whole.sequences[3, name].header.settings["licence"] == "apache-2.0"
        assert whole.sequences[3, name].lengths.tolist() == [len(noisy[name].values), 0]
        assert (whole.sequences[3, name].times is None) == (name == "audio" or pool == "mean")


def test_at_severity_0_and_without_steps_features_are_the_clean_ones_to_the_bit(clips, clean):
    corruptor = Corruptor(clips, FEATURES, seed=1)
    kinds = [kind("white_noise")(), kind("sensor_noise")(), Shouted()]
    for steps in ([], [(each, 0) for each in kinds]):
        for number, row in enumerate(clips.itertuples()):
            found, measured = corruptor.extracted(row, steps, corruptor.read(row, MODALITIES))
            assert "distortion" not in measured
            assert "lost" not in measured
            for name in MODALITIES:
                same(found[name], clean[name][0][number])
                assert found[name].facts == clean[name][0][number].facts


def test_a_kind_changes_the_modality_of_its_medium_and_tells_what_it_measured(clips, clean):
    corruptor = Corruptor(clips, FEATURES, seed=1)
    found = {
        each.name: corrupt(corruptor, each, [0, 1, 3], clips)
        for each in (kind("white_noise")(), kind("black")(), Shouted())
    }
    assert [found[name].modalities for name in found] == [["audio"], ["vision"], ["text"]]
    assert [found[name].severities for name in found] == [[1, 3]] * 3
    noisy = found["white_noise"]
    for number in (0, 1, 3):
        weak, strong = (noisy.sequences[severity, "audio"][number] for severity in (1, 3))
        assert weak.shape == strong.shape == clean["audio"][0][number].values.shape
        near, far = (np.abs(each - clean["audio"][0][number].values).mean() for each in (weak, strong))
        assert 0 < near < far
    assert noisy.sequences[1, "audio"].lengths[2] == 0
    table = noisy.table()
    assert list(table["severity"]) == [1, 3] * 4
    heard = table[table["id"] != "c"]
    assert heard.loc[heard["severity"] == 1, "snr"].to_numpy() == pytest.approx(20, abs=0.5)
    assert heard.loc[heard["severity"] == 3, "snr"].to_numpy() == pytest.approx(5, abs=0.5)
    assert (heard.loc[heard["severity"] == 1, "distortion"].to_numpy() > 15).all()
    assert table.loc[table["id"] == "c", "snr"].isna().all()

    dark = found["black"].table().dropna()
    seen = np.mean(~np.isnan(clean["vision"][0][0].values).any(axis=1))
    assert seen == 1
    assert dark["faces"].to_numpy() == pytest.approx(1 - dark["black"].to_numpy())
    assert dark.groupby("severity")["faces"].mean().is_monotonic_decreasing
    assert (dark.loc[dark["severity"] == 3, "faces"] < 1).any()

    words = found["shouted"].table().set_index(["id", "severity"])
    assert words.loc[("a", 1), "text"] == "a very good film"
    assert words.loc[("a", 3), "wer"] == pytest.approx(60)
    assert words.loc[("b", 1), "wer"] == 100
    assert found["shouted"].sequences[1, "text"].lengths.tolist() == [6, 0, 3, 0]  # with [CLS] and [SEP]


def test_what_is_drawn_depends_on_the_clip_and_the_seed_alone(clips):
    white = kind("white_noise")()
    whole = corrupt(Corruptor(clips, FEATURES, seed=1), white, [2], clips)
    parts = [corrupt(Corruptor(clips, FEATURES, seed=1), white, [2], part(clips, k, 3)) for k in range(3)]
    joined = CorruptedClips.joined(parts, {})
    assert joined.ids == whole.ids
    assert joined.measured == whole.measured
    same(joined.sequences[2, "audio"], whole.sequences[2, "audio"])
    other = corrupt(Corruptor(clips, FEATURES, seed=2), white, [2], clips)
    assert not np.array_equal(other.sequences[2, "audio"].values, whole.sequences[2, "audio"].values)


def test_steps_that_happened_to_all_clips_come_before_the_condition(clips):
    corruptor = Corruptor(clips, FEATURES, seed=1)
    white, low = kind("white_noise")(), kind("low_pass")()
    row = next(clips.itertuples())
    found, measured = corruptor.extracted(row, [(low, 5), (white, 1)], corruptor.read(row, ["audio"]))
    made = corrupt(corruptor, white, [1], clips[:1], before=[(low, 5)])
    np.testing.assert_array_equal(made.sequences[1, "audio"].values, found["audio"].values)
    assert {"attenuation", "snr"} <= set(measured)


def test_the_file_gives_back_what_was_written(clips, tmp_path):
    corruptor = Corruptor(clips, FEATURES, seed=1)
    made = replace(corrupt(corruptor, kind("frozen_frames")(), [1, 5], clips), provenance={"identity": "i"})
    made.write(tmp_path / "one.safetensors")
    read = CorruptedClips.read(tmp_path / "one.safetensors")
    assert (read.ids, read.failed, read.provenance) == (made.ids, made.failed, made.provenance)
    pd.testing.assert_frame_equal(read.table(), made.table())
    for key, sequences in made.sequences.items():
        same(read.sequences[key], sequences)
        np.testing.assert_array_equal(read.sequences[key].offsets, sequences.offsets)
    made.write(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    (tmp_path / "one.safetensors").write_bytes(b"damaged")
    with pytest.raises(ElisionError, match="damaged"):
        CorruptedClips.read(tmp_path / "one.safetensors")


def test_a_corrupted_store_is_the_clean_one_but_for_its_test_samples(clips, clean):
    store = store_of(clips, clean)
    rows = of_test(clips, store.samples)
    assert rows["id"].tolist() == ["a", "c", "d"]
    features = as_long_as(FEATURES, store)
    corruptor = Corruptor(rows, features, seed=1)
    parts = [corrupt(corruptor, Shouted(), [2], part(rows, k, 2)) for k in range(2)]
    made = finished(parts, store, features, {"identity": "i"})
    assert made.table().loc[made.table()["severity"] == 0, "id"].tolist() == ["a", "c", "d"]
    found = made.store(store, 2)
    text = found.modalities["text"]
    assert text.lengths.tolist() == [5, 0, 0, 0]
    assert text.header.length == store.modalities["text"].header.length
    assert found.samples["text"].tolist() == ["a very good", "bad", "", None]
    assert found.modalities["audio"] is store.modalities["audio"]
    with pytest.raises(ElisionError, match="no sample"):
        replace(made, ids=["a", "c", "other"]).store(store, 2)


def test_measurements_of_clean_clips_stand_beside_those_of_corrupted_ones(clips, clean):
    store = store_of(clips, clean)
    rows = of_test(clips, store.samples)
    made = finished([corrupt(Corruptor(rows, FEATURES, seed=1), kind("black")(), [5], rows)], store, FEATURES, {})
    table = means(made.table(), ["faces", "black", "nothing"])
    rows = [tuple(row) for row in table.itertuples(index=False)]
    assert rows == [(0, "faces", pytest.approx(1.0), 2), (5, "faces", 0.0, 2), (5, "black", 1.0, 2)]


def test_the_mean_of_a_speaker_is_that_of_the_corrupted_clips(clips, clean):
    store = store_of(clips, clean)
    features = Features.model_validate({**FEATURES.model_dump(), "vision": {"max_length": 8, "centre": "speaker"}})
    rows = of_test(clips, store.samples)
    made = finished(
        [corrupt(Corruptor(rows, features, seed=1), kind("underexposure")(), [1], rows)], store, features, {}
    )
    for sequence in (made.sequences[1, "vision"][row] for row in (0, 2)):
        np.testing.assert_allclose(np.nanmean(sequence, axis=0), 0, atol=1e-3)


def test_a_kind_that_fails_names_the_clip_and_with_skip_is_counted(clips):
    class Fails(WordsKind):
        name = "fails"

        def corrupt(self, text, severity, clip):
            raise ElisionError("no such word")

    with pytest.raises(ElisionError, match=r"clip 'a': no such word\nRepair"):
        corrupt(Corruptor(clips, FEATURES, seed=1), Fails(), [1], clips)
    skip = FEATURES.model_copy(update={"on_error": "skip"})
    made = corrupt(Corruptor(clips, skip, seed=1), Fails(), [1], clips)
    assert made.failed == dict.fromkeys(["a", "b", "c"], "no such word")  # the last has no words
    assert made.sequences[1, "text"].lengths.tolist() == [0, 0, 0, 0]


def test_recognised_words_of_corrupted_sound_are_text(clips, monkeypatch):
    from elision.features import recognise

    monkeypatch.setattr(
        recognise, "recogniser", lambda name, sample_rate: lambda y: f"{name} heard {len(y)} at {sample_rate}"
    )
    corruptor = Corruptor(clips, FEATURES, seed=1, recogniser="ear")
    made = corrupt(corruptor, kind("white_noise")(), [1], clips[:1])
    assert made.modalities == ["text", "audio"]
    (row,) = made.measured
    assert row["text"].startswith("ear heard ")
    heard, rate = map(int, row["text"].split()[2::2])
    assert rate == FEATURES.audio.sample_rate
    assert heard == pytest.approx(0.8 * rate, rel=0.05)  # as the video is cut
    assert row["wer"] > 0
    assert concerned([(kind("black")(), 1)], recognised=True) == ["vision"]


def test_words_that_are_recognised_in_every_clip_are_those_of_the_corrupted_sound(clips, tmp_path, monkeypatch):
    from elision.features import recognise

    def hears(name, sample_rate):
        return lambda y: f"{name} {np.sqrt(np.mean(y.astype(np.float64) ** 2)):.9f}"

    monkeypatch.setattr(recognise, "recogniser", hears)
    features = Features.model_validate({**FEATURES.model_dump(), "shards": 1, "text": {"recogniser": "ear"}})
    describe, header = extractor("text", features)
    of_clean = {row.id: describe(row) for row in clips.itertuples()}
    assert header.settings["recogniser"] == "ear"
    assert of_clean["c"].facts["words"] == ""  # no sound
    assert len(of_clean["c"].values) == 0
    assert of_clean["d"].facts["words"].startswith("ear 0.")  # no transcript

    corruptor = Corruptor(clips, features, seed=1)
    row = next(clips.itertuples())
    for modalities in (["text"], ["audio", "text"]):
        found, _ = corruptor.extracted(row, [], corruptor.read(row, modalities))
        assert found["text"].facts == of_clean["a"].facts
    made = corrupt(corruptor, kind("white_noise")(), [5], clips)
    assert made.modalities == ["text", "audio"]
    noisy = {each["id"]: each.get("text") for each in made.measured}
    assert noisy["a"] != of_clean["a"].facts["words"]
    assert noisy["c"] is None
    assert made.measured[0]["wer"] == 100.0
    lost = corrupt(corruptor, Shouted(), [1], clips)  # of the recognised words
    assert [each.get("text") for each in lost.measured] == ["ear", "ear", None, "ear"]
    assert lost.measured[0]["wer"] == 100.0  # against the transcript

    recipe = {"identity": "clips", "step": "prepare", "settings": {}, "code": "", "inputs": {}}
    write_table(tmp_path / "clips.parquet", clips, {**recipe, "data": "d"})
    where = {"clips": tmp_path / "clips.parquet", "clips_recipe": recipe, "shard": 0, "features": features}
    extract(
        "text", **where, output=tmp_path / "t.safetensors", provenance={}, media={"white_noise": At(severity=5)}, seed=1
    )
    facts = read_sequences(tmp_path / "t.safetensors").header.facts
    assert {name: facts[name]["words"] for name in "abd"} == {name: noisy[name] for name in "abd"}


def test_gating_happens_after_corruption(clips):
    features = Features.model_validate({**FEATURES.model_dump(), "audio": {"max_length": 60, "gating": True}})
    corruptor, steps = Corruptor(clips, features, seed=1), [(kind("white_noise")(), 5)]
    row = next(clips.itertuples())
    found, measured = corruptor.extracted(row, steps, corruptor.read(row, ["audio"]))
    plain = Corruptor(clips, FEATURES, seed=1)
    other, same_measures = plain.extracted(row, steps, plain.read(row, ["audio"]))
    assert measured["snr"] == same_measures["snr"]
    assert not np.array_equal(found["audio"].values, other["audio"].values)
    signal = plain.corrupted(row, steps, plain.read(row, ["audio"]), {})["audio"]
    gated = replace(signal, y=spectral_gating(signal.y, FEATURES.audio.sample_rate))
    np.testing.assert_array_equal(found["audio"].values, of_sound(gated, FEATURES.audio).values)


def test_filled_frames_are_not_counted_as_faces(clips):
    features = Features.model_validate({**FEATURES.model_dump(), "vision": {"max_length": 8, "fill": "last"}})
    corruptor = Corruptor(clips, features, seed=1)
    row = next(clips.itertuples())
    found, measured = corruptor.extracted(row, [(Blink(), 1)], corruptor.read(row, ["vision"]))
    assert found["vision"].facts["filled_frames"] == 3
    assert not np.isnan(found["vision"].values).any()
    assert measured["faces"] == 5 / 8
    found, measured = corruptor.extracted(row, [(kind("black")(), 5)], corruptor.read(row, ["vision"]))
    assert measured["faces"] == 0.0
    assert "filled_frames" not in found["vision"].facts  # there is nothing to fill with


def test_the_face_of_the_clean_clip_is_where_it_is(clips):
    corruptor = Corruptor(clips, FEATURES, seed=1)
    clip = corruptor.clip(next(clips.itertuples()))
    left, top, right, bottom = clip.face(Fraction(1, 10))
    assert 0.2 < left < 0.5 < right < 0.9
    assert 0.0 < top < 0.4 < bottom < 0.95
    assert clip.face(Fraction(11, 100)) == clip.face(Fraction(1, 10))
    nothing = corruptor.clip(list(clips.itertuples())[2])
    assert nothing.face(Fraction(0)) is None
    assert nothing.sound(RATE) is None
    assert [len(y) for y in nothing.others(RATE)] == [RATE] * 3


def test_a_dataset_whose_clips_are_all_corrupted_has_the_features_of_the_corrupted_clips(clips, clean, tmp_path):
    recipe = {"identity": "clips", "step": "prepare", "settings": {}, "code": "", "inputs": {}}
    write_table(tmp_path / "clips.parquet", clips, {**recipe, "data": "d"})
    features = FEATURES.model_copy(update={"shards": 1})
    for modality in ("audio", "text"):
        extract(
            modality,
            clips=tmp_path / "clips.parquet",
            clips_recipe=recipe,
            shard=0,
            features=features,
            output=tmp_path / f"{modality}.safetensors",
            provenance={},
            media={"white_noise": At(severity=3)},
            seed=1,
        )
    made = corrupt(Corruptor(clips, features, seed=1), kind("white_noise")(), [3], clips)
    same(read_sequences(tmp_path / "audio.safetensors"), made.sequences[3, "audio"])
    text = read_sequences(tmp_path / "text.safetensors")  # which the kind does not concern
    assert [each.tolist() for each in text] == [each.values.tolist() for each in clean["text"][0]]
