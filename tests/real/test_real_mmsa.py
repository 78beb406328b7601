import pickle

import numpy as np
import pytest

from elision import pickles
from elision.datasets import mmsa
from elision.errors import ElisionError
from elision.store import write_sequences, write_table
from elision.task import SPLITS

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

NAMES = ("example.pkl", "feature_unaligned.pkl")


@pytest.fixture
def sample(real_data):
    folder = real_data / "mmsa_fet_sample"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


def dataset(part, path, count):
    """Give the features of clips, which have no labels and no splits, both."""
    labels = np.linspace(-2, 2, count)
    parts = {
        split: {
            **part,
            "id": [f"{split}$_${i}" for i in range(count)],
            "raw_text": ["so there if you want to have fun"] * count,
            "regression_labels": labels,
        }
        for split in SPLITS
    }
    path.write_bytes(pickle.dumps(parts, protocol=4))
    return path


def round_trip(path, folder):
    samples, modalities = mmsa.prepare(mmsa.Settings(source="mmsa", file=path), folder)
    for name, sequences in modalities.items():
        write_sequences(folder / "store" / f"{name}.safetensors", sequences)
    write_table(folder / "store" / "samples.parquet", samples, {"modalities": list(modalities)})
    mmsa.export(folder / "store", folder / "export.pkl")
    return modalities, pickles.load(folder / "export.pkl")


@pytest.mark.parametrize("name", NAMES)
def test_files_of_mmsa_fet_are_read_as_pickle_reads_them(sample, name):
    expected, found = pickle.loads((sample / name).read_bytes()), pickles.load(sample / name)
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype and np.array_equal(found[key], value)
        else:
            assert found[key] == value


@pytest.mark.parametrize("name", NAMES)
def test_features_of_single_clips_are_refused_with_the_way_to_a_dataset(sample, name):
    with pytest.raises(ElisionError, match=r"features without train, valid and test.*run_dataset"):
        mmsa.prepare(mmsa.Settings(source="mmsa", file=sample / name), sample)


def test_padded_features_come_back_from_an_export(sample, tmp_path):
    features = pickle.loads((sample / "example.pkl").read_bytes())
    modalities, exported = round_trip(dataset(features, tmp_path / "features.pkl", 2), tmp_path)
    assert modalities["audio"].lengths.tolist() == [477, 478] * 3
    assert modalities["vision"].lengths.tolist() == [48, 48] * 3
    assert modalities["text"][0][[0, -1]].tolist() == [101, 102] and modalities["text"].lengths[0] == 16
    assert {name: s.header.length for name, s in modalities.items()} == {
        "text": 50,
        "audio": 1432,
        "vision": 143,
        "text_features": 50,
    }
    for part in exported.values():
        for key, value in features.items():
            assert np.array_equal(part[key], value.astype(np.float32))


def test_features_of_one_clip_come_back_from_an_export(sample, tmp_path):
    features = pickle.loads((sample / "feature_unaligned.pkl").read_bytes())
    part = {key: features[key][None] for key in ("text", "text_bert", "audio", "vision")}
    part |= {f"{key}_lengths": [features[key].shape[0]] for key in ("audio", "vision")}
    modalities, exported = round_trip(dataset(part, tmp_path / "features.pkl", 1), tmp_path)
    assert modalities["audio"].lengths.tolist() == [221] * 3
    for key in ("text", "text_bert", "audio", "vision"):
        assert np.array_equal(exported["test"][key][0], features[key].astype(np.float32))
