import logging

import h5py
import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer

from elision.datasets import arrays
from elision.errors import ElisionError
from elision.features import text
from elision.task import SPLITS

pytestmark = pytest.mark.real


@pytest.fixture
def mosi(real_data):
    folder = real_data / "mosi"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    # Only `audio`: the other arrays of this file were made by networks that saw labels of the official test split.
    return {
        "source": "arrays",
        "table": folder / "mosi_index.csv",
        "columns": {"label": "y", "split": "official_split"},
        "corpus": "mosi",
        "audio": {"file": folder / "mosi_utterance_features.npz", "values": "audio", "ids": "id"},
    }


@pytest.fixture
def mmmo(real_data, tmp_path):
    """ICT-MMMO: files of each split and no ids; labels from 1 to 5, here around 0."""
    folder = real_data / "mmmo"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    tables = []
    for split in SPLITS:
        label = np.round(raw(folder / f"y_{split}.h5") - 3, 6)
        ids = [f"{split}_{k}" for k in range(len(label))]
        tables.append(pd.DataFrame({"id": ids, "label": label, "split": split}))
    pd.concat(tables).to_csv(tmp_path / "table.csv", index=False)
    return {
        "source": "arrays",
        "table": tmp_path / "table.csv",
        "audio": {
            "file": folder / "audio_{split}.h5",
            "values": "d1",
            "padding": "both",
            "missing_values": [-255, 255],
            "extractor": "COVAREP",
        },
        "vision": {
            "file": folder / "video_{split}.h5",
            "values": "d1",
            "padding": "both",
            "missing_values": [0],
            "missing_if": "all",
            "extractor": "FACET",
        },
    }


def raw(path):
    with h5py.File(path) as file:
        return file["d1"][...]


def prepare(entry, folder):
    return arrays.prepare(arrays.Settings(**entry), folder)


def test_utterances_of_mosi_are_those_of_the_official_split(mosi, tmp_path):
    samples, modalities = prepare(mosi, tmp_path)
    assert samples["split"].value_counts().to_dict() == {"train": 1284, "valid": 229, "test": 686}
    assert samples["label"].between(-3, 3).all() and samples["label"].nunique() > 15
    assert list(modalities) == ["text", "audio"]
    audio = modalities["audio"]
    assert (audio.lengths == 1).all() and audio.width == 73 and audio.header.length == 1
    with np.load(mosi["audio"]["file"], allow_pickle=False) as file:
        np.testing.assert_array_equal(audio.values, file["audio"])


def test_transcripts_of_mosi_are_tokens_of_minilm(mosi, tmp_path):
    samples, modalities = prepare(mosi, tmp_path)
    tokens, special = modalities["text"], text.special_tokens("minilm")
    assert tokens.header.extractor == "minilm" and special.items() <= tokens.header.settings.items()
    assert tokens.lengths.min() >= 3 and tokens.lengths.max() == tokens.header.length == 50
    for row in (0, 500, 2198):
        assert tokens[row][0] == special["cls"] and tokens[row][-1] == special["sep"]
        words = text.load_encoder_part(AutoTokenizer, "minilm").decode(tokens[row], skip_special_tokens=True)
        assert words.replace(" ", "") == samples["text"][row].lower().replace(" ", "")


def test_shuffled_rows_of_mosi_find_their_samples_by_id(mosi, tmp_path):
    expected = prepare(mosi, tmp_path)[1]["audio"]
    order = np.random.default_rng(0).permutation(2199)
    with np.load(mosi["audio"]["file"], allow_pickle=False) as file:
        np.savez(tmp_path / "shuffled.npz", x=file["audio"][order], ids=file["id"][order])
    entry = {**mosi, "audio": {"file": tmp_path / "shuffled.npz", "values": "x", "ids": "ids"}}
    np.testing.assert_array_equal(prepare(entry, tmp_path)[1]["audio"].values, expected.values)


def test_without_the_names_of_its_columns_mosi_is_refused_with_the_remedy(mosi, tmp_path):
    with pytest.raises(ElisionError, match=r"there is no column label; .* columns: \{label: \.\.\.\}.*bc_split"):
        prepare({**mosi, "columns": {}}, tmp_path)


def test_sequences_of_mmmo_come_without_padding_and_with_gaps(mmmo, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        samples, modalities = prepare(mmmo, tmp_path)
    assert samples["split"].value_counts().to_dict() == {"train": 220, "valid": 40, "test": 80}
    assert {name: sequences.width for name, sequences in modalities.items()} == {"audio": 74, "vision": 36}
    assert caplog.text.count("matched with the table by order") == 6
    for name, file in (("audio", "audio"), ("vision", "video")):
        values = np.concatenate([raw(mmmo[name]["file"].with_name(f"{file}_{s}.h5")) for s in SPLITS])
        seen = (values != 0).any(2)
        first, last = seen.argmax(1), seen.shape[1] - seen[:, ::-1].argmax(1)
        sequences = modalities[name]
        assert sequences.lengths.tolist() == (last - first).tolist() and sequences.header.length == 20
        for row in (0, 219, 220, 339):
            frames = values[row, first[row] : last[row]].astype(np.float32)
            lost = (np.abs(frames) == 255).any(1) if name == "audio" else (frames == 0).all(1)
            np.testing.assert_array_equal(sequences[row], np.where(lost[:, None], np.nan, frames))
    assert np.isnan(modalities["audio"].values).any(1).sum() == 65 + 78 + 395
    assert np.isnan(modalities["vision"].values).any(1).sum() == 144 + 65 + 438


def test_a_file_of_one_split_for_all_of_mmmo_is_noticed(mmmo, tmp_path):
    entry = {**mmmo, "audio": {**mmmo["audio"], "file": mmmo["audio"]["file"].with_name("audio_test.h5")}}
    with pytest.raises(ElisionError, match=r"audio_test\.h5: 80 sequences for 340 samples of the table, and no ids"):
        prepare(entry, tmp_path)
