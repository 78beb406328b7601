import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.errors import ElisionError
from elision.features.shards import SKIPPED, assemble, extract, merge, shard_rows
from elision.settings.params import DatasetSettings, Features
from elision.store import Store, read_sequences, read_table, write_table

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


def test_frozen_features_are_as_long_as_the_tokens(clips):
    features = Features(shards=2)
    tokens, states = (read_sequences(run(clips, name, features)) for name in ("text", "text_features"))
    assert states.lengths.tolist() == tokens.lengths.tolist()
    assert states.width == 384


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
    with pytest.raises(ElisionError, match="is not what the current params ask for"):
        merge(
            "text",
            [clips.parent / "text.0.safetensors"],
            clips=clips,
            features=Features(shards=1),
            output=output,
            recipe=other,
        )


def test_a_stale_table_of_clips_is_refused(clips):
    with pytest.raises(ElisionError, match=r"clips\.parquet: is not what the current params ask for"):
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
    with pytest.raises(ElisionError, match=r"text\.0\.safetensors: was made from data that have changed since"):
        merge("text", [shard], clips=clips, features=features, output=output, recipe=TEXT)
    with pytest.raises(ElisionError, match=r"text\.safetensors: was made from data that have changed since"):
        assemble(
            settings=SETTINGS,
            clips=clips,
            modalities={"text": output},
            recipes={"text": TEXT},
            output=clips.parent / "samples.parquet",
            provenance={},
        )
