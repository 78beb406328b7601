from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from elision.errors import ElisionError
from elision.features.facts import sentences, warning
from elision.features.shards import SKIPPED, assemble, extract, merge, shard_rows
from elision.settings.params import DatasetSettings, Features
from elision.store import Header, Sequences, Store, read_sequences, read_table, write_table

RECIPE = {"identity": "clips", "step": "prepare", "settings": {}, "code": "", "inputs": {}}
SETTINGS = DatasetSettings(source="clips")
TEXT = {**RECIPE, "identity": "text"}


@given(st.integers(0, 50), st.integers(1, 12))
def test_shards_cover_every_clip_once_and_evenly(count, shards):
    rows = [list(range(count))[shard_rows(count, k, shards)] for k in range(shards)]
    assert [row for shard in rows for row in shard] == list(range(count))
    sizes = [len(shard) for shard in rows]
    assert max(sizes) - min(sizes) <= 1


@pytest.fixture
def clips(tmp_path):
    """A table of five clips; one has no text, and the media of one does not exist."""
    texts = ["good film", "bad", None, "fine words", "the end"]
    table = pd.DataFrame(
        {
            "id": [f"clip_{i}" for i in range(5)],
            "path": [None, str(tmp_path / "nothing.mp4"), None, None, None],
            "text": texts,
            "label": np.arange(5.0),
            "split": ["train", "train", "train", "valid", "test"],
            "speaker": "s",
            "duration": 1.0,
            "has_audio": [False, True, False, False, False],
            "has_vision": False,
            "sha256": None,
        }
    )
    path = tmp_path / "clips.parquet"
    write_table(path, table, {**RECIPE, "data": "d"})
    return path


RATE = 16000


def film(path, seconds, *, face=True, loud=True, late=0.0, tracks=1):
    """A face, or darkness, at 10 frames per second, and a tone, or silence, that may start late."""
    photograph = np.ascontiguousarray(data.astronaut()[:256, 96:352])
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 256, 256, "yuv420p"
        sounds = [container.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(tracks)]
        for k in range(round(10 * seconds)):
            frame = av.VideoFrame.from_ndarray(photograph if face else np.zeros_like(photograph), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 10)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for sound in sounds:
            tone = 6000 * loud * np.sin(0.09 * np.arange(round(RATE * seconds)))
            frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, round(RATE * late), Fraction(1, RATE)
            for part in (frame, None):
                container.mux(sound.encode(part))


FILMS = {
    "plain": {"seconds": 1.0},
    "late": {"seconds": 1.0, "late": 0.7},
    "long": {"seconds": 3.0},
    "dark": {"seconds": 1.2, "face": False},
    "mute": {"seconds": 1.0, "loud": False, "tracks": 2},
}
FEATURES = Features.model_validate(
    {"shards": 2, "audio": {"max_length": 86}, "vision": {"max_length": 15}, "text": {"max_length": 6}}
)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A table of five films; audio is limited to 2 s, and vision to 1.5 s."""
    folder = tmp_path_factory.mktemp("films")
    for name, options in FILMS.items():
        film(folder / f"{name}.mkv", **options)
    texts = ["good", "bad", "a very long text that ends late", None, "the end"]
    table = pd.DataFrame(
        {
            "id": list(FILMS),
            "path": [str(folder / f"{name}.mkv") for name in FILMS],
            "text": texts,
            "label": np.arange(5.0),
            "split": ["train", "train", "train", "valid", "test"],
            "speaker": "s",
            "duration": [1.0, 1.7, 3.0, 1.2, 1.0],
            "has_audio": True,
            "has_vision": True,
            "fps": 10.0,
            "sha256": None,
        }
    )
    write_table(folder / "clips.parquet", table, {**RECIPE, "data": "d"})
    return folder / "clips.parquet"


@pytest.fixture(scope="module")
def extracted(films):
    """The store of the films, and what merging them printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as printed:
        modalities = {name: run(films, name, FEATURES) for name in ("text", "audio", "vision")}
    assemble(
        settings=SETTINGS,
        clips=films,
        modalities=modalities,
        recipes=dict.fromkeys(modalities, TEXT),
        output=films.parent / "samples.parquet",
        provenance={"identity": "store"},
    )
    return Store.open(films.parent), printed.getvalue()


def test_the_padded_length_is_that_of_the_longest_sequence_that_is_kept(extracted):
    store, printed = extracted
    for name, sequences in store.modalities.items():
        assert sequences.header.length == sequences.lengths.max()
        assert f"{name}: 5 sequences, padded to {sequences.header.length}, the length of the longest" in printed
    # Without the long one it is the length of the others, far below max_length.
    assert sorted(store.modalities["vision"].lengths) == [10, 10, 10, 12, 15]


def test_audio_and_vision_are_cut_at_one_second_and_counted(extracted):
    store, printed = extracted
    row = store.samples.set_index("id").loc["long"]
    assert row["cut_at"] == 1.5
    assert (row["length_vision"], row["length_audio"]) == (15, np.ceil(1.5 * 22050 / 512))
    assert store.samples["cut_at"].isna().sum() == 4
    for name in ("audio", "vision"):
        assert f"{name}: max_length cuts the {name} of 1 clip after 1.50 s: long." in printed


def test_a_transcript_that_is_cut_is_counted(extracted):
    store, printed = extracted
    assert store.samples["tokens_left_out"].tolist() == [0, 0, 3, 0, 0]
    assert "text: features.text.max_length cuts 1 transcript: 3 tokens left out: long." in printed


def test_what_was_filled_chosen_and_not_found_is_counted(extracted):
    store, printed = extracted
    samples = store.samples.set_index("id")
    assert samples["filled"].tolist() == pytest.approx([0, 0.7, 0, 0, 0], abs=0.01)
    assert samples["silent"].tolist() == [False] * 4 + [True]
    assert samples["faces"].tolist() == [1, 1, 1, 0, 1]
    assert samples["other_faces"].tolist() == [0] * 5
    assert "audio: Silence fills 0.70 s of 1 clip, where the audio track starts late or pauses: late." in printed
    assert "audio: 1 clip with several audio tracks; FFmpeg's choice is read: mute (track 1 of 2)." in printed
    assert "audio: 1 audio track with nothing but silence: mute." in printed
    assert "vision: No face is observed in 1 of 5 clips with a video: dark." in printed
    assert f"vision: A face is observed in {100 * 45 / 57:.4g} % of the frames." in printed
    said = [line.partition(": ")[2] for line in printed.splitlines() if "padded to" not in line]
    assert store.provenance["read"] == said
    assert store.provenance["warnings"] == []


def test_words_can_be_recognised_in_place_of_the_transcripts(films, tmp_path, monkeypatch):
    from elision.features import recognise

    heard = iter(["good", "bed time", "long text", "", "the end"])
    monkeypatch.setattr(recognise, "recogniser", lambda name, sample_rate: lambda y: next(heard))
    features = FEATURES.model_copy(update={"text": FEATURES.text.model_copy(update={"recogniser": "ear"})})
    clips = tmp_path / "clips.parquet"
    clips.write_bytes(films.read_bytes())
    sequences = run(clips, "text", features)
    samples = tmp_path / "samples.parquet"
    assemble(
        settings=SETTINGS,
        clips=clips,
        modalities={"text": sequences},
        recipes={"text": TEXT},
        output=samples,
        provenance={"identity": "store"},
    )
    found, told = read_table(samples)
    assert found["text"].tolist() == ["good", "bed time", "long text", "", "the end"]
    assert found["wer"].tolist() == pytest.approx([0, 200, 100 * 5 / 7, np.nan, 0], nan_ok=True)
    assert told["read"][0] == (
        "ear recognised the words of 4 clips; their mean word error rate is 67.9 % in 4 clips with a transcript."
    )


def test_the_times_of_frames_are_stored(extracted):
    store, _ = extracted
    vision = store.modalities["vision"]
    for row, count in enumerate(vision.lengths):
        np.testing.assert_allclose(vision.times_of(row), np.arange(count) / 10, atol=2e-3)
    assert store.modalities["audio"].times is None


def test_shards_that_are_cut_from_what_was_made_earlier_are_the_same(films, extracted, tmp_path):
    for name in ("audio", "vision"):
        for shard in range(2):
            made = films.parent / f"{name}.{shard}.safetensors"
            again = tmp_path / made.name
            options = {"clips": films, "clips_recipe": RECIPE, "shard": shard, "features": FEATURES, "output": again}
            extract(name, **options, provenance=TEXT, merged=films.parent / f"{name}.safetensors")
            first, second = read_sequences(made), read_sequences(again)
            assert first.header.facts == second.header.facts
            np.testing.assert_array_equal(first.values, second.values)
            if name == "vision":
                np.testing.assert_array_equal(first.times, second.times)


@pytest.mark.parametrize(("faceless", "warns"), [(0, False), (2, False), (3, True), (4, True)])
def test_a_dataset_in_which_most_videos_show_no_face_is_a_warning(faceless, warns):
    frames = [np.full((4, 2), np.nan if k < faceless else 1.0, np.float32) for k in range(4)]
    header = Header(modality="vision", length=4, extractor="test")
    sequences = Sequences.of([*frames, np.zeros((0, 2), np.float32)], header)  # the last has no video
    told = warning(sequences)
    assert (told is not None) == warns
    if told:
        assert told.startswith(f"No face is observed in {faceless} of 4 clips with a video: ")
    seen = [s for s in sentences(sequences, list("abcde")) if s.startswith("No face")]
    assert seen == (
        [f"No face is observed in {faceless} of 4 clips with a video: {', '.join('abcd'[:faceless])}."] * bool(faceless)
    )


def test_a_sentence_names_the_first_clips_and_counts_them_all():
    facts = {f"clip_{k}": {"others": 2} for k in range(30)}
    header = Header(modality="vision", length=1, extractor="test", facts=facts)
    sequences = Sequences.of([np.zeros((1, 2), np.float32)], header)
    (told,) = [sentence for sentence in sentences(sequences, ["clip_0"]) if "another person" in sentence]
    assert told == (
        "The face jumps to another person in 30 clips: 60 frames count as not observed: "
        "clip_0, clip_1, clip_2, clip_3, clip_4 and 25 more."
    )


def run(clips, modality, features):
    shards = [clips.parent / f"{modality}.{k}.safetensors" for k in range(features.shards)]
    for k, shard in enumerate(shards):
        extract(modality, clips=clips, clips_recipe=RECIPE, shard=k, features=features, output=shard, provenance=TEXT)
    output = clips.parent / f"{modality}.safetensors"
    merge(modality, shards, clips=clips, features=features, output=output, recipe=TEXT)
    return output


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_number_of_shards_does_not_change_the_sequences(clips, shards):
    sequences = read_sequences(run(clips, "text", Features(shards=shards)))
    assert sequences.lengths.tolist() == [4, 3, 0, 4, 4]
    assert sequences.header.length == 4
    assert sequences.header.settings["unk"] == 100
    assert sequences[1].tolist()[0] == 101


def test_a_clip_that_fails_stops_the_run_by_name(clips):
    with pytest.raises(ElisionError, match=r"clip 'clip_1': .*nothing\.mp4.*\n.*features\.on_error: skip"):
        run(clips, "audio", Features(shards=1))


def test_a_clip_that_fails_can_be_skipped_and_is_counted(clips, capsys):
    features = Features(shards=2, on_error="skip")
    modalities = {name: run(clips, name, features) for name in ("text", "audio")}
    recipes = dict.fromkeys(modalities, TEXT)
    assemble(
        settings=SETTINGS,
        clips=clips,
        modalities=modalities,
        recipes=recipes,
        output=clips.parent / "samples.parquet",
        provenance={"identity": "store"},
    )
    assert "left out 1 clip that failed: clip_1" in capsys.readouterr().err
    store = Store.open(clips.parent)
    assert store.samples["split"].tolist() == ["train", SKIPPED, "train", "valid", "test"]
    assert store.rows("train").tolist() == [0, 2]
    assert store.samples["length_text"].tolist() == [4, 3, 0, 4, 4]
    assert store.provenance["skipped"] == ["clip_1"]
    assert store.modalities["audio"].lengths.tolist() == [0] * 5


def test_a_stale_shard_is_refused(clips):
    output = run(clips, "text", Features(shards=1))
    other = {**TEXT, "identity": "other", "settings": {"max_length": 9}}
    with pytest.raises(ElisionError, match="does not fit the current params"):
        merge(
            "text",
            [clips.parent / "text.0.safetensors"],
            clips=clips,
            features=Features(shards=1),
            output=output,
            recipe=other,
        )


def test_a_stale_table_of_clips_is_refused(clips):
    with pytest.raises(ElisionError, match=r"clips\.parquet does not fit the current params"):
        extract(
            "text",
            clips=clips,
            clips_recipe={**RECIPE, "identity": "newer"},
            shard=0,
            features=Features(),
            output=clips.parent / "x",
            provenance=TEXT,
        )


def test_features_of_clips_that_changed_since_are_refused(clips):
    features = Features(shards=1)
    output = run(clips, "text", features)
    table, provenance = read_table(clips)
    write_table(clips, table, {**provenance, "data": "newer"})
    shard = clips.parent / "text.0.safetensors"
    with pytest.raises(ElisionError, match=r"text\.0\.safetensors was made from data that have changed since"):
        merge("text", [shard], clips=clips, features=features, output=output, recipe=TEXT)
    with pytest.raises(ElisionError, match=r"text\.safetensors was made from data that have changed since"):
        assemble(
            settings=SETTINGS,
            clips=clips,
            modalities={"text": output},
            recipes={"text": TEXT},
            output=clips.parent / "samples.parquet",
            provenance={},
        )
