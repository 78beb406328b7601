"""Feature files of MulT."""

import logging
import pickle

import numpy as np
import pytest

import python2
from elision.datasets import mult
from elision.errors import ElisionError
from elision.task import SPLITS

random = np.random.default_rng(11)
KEYS = ("text", "audio", "vision")


def part(split, count, lengths=(5, 7, 4), ids=True):
    made = {key: random.normal(size=(count, n, d)) for key, n, d in zip(KEYS, lengths, (6, 3, 2), strict=True)}
    made["labels"] = np.linspace(-3, 3, count).reshape(-1, 1, 1)
    if ids:
        made["id"] = np.array([[f"{split}{row}".encode(), b"1.5", b"4.0"] for row in range(count)], object)
    return made


def make(**options):
    return {split: part(split, count, **options) for split, count in zip(SPLITS, (3, 2, 2), strict=True)}


def prepare(folder, content, dumps=pickle.dumps, **options):
    (folder / "mosi_data.pkl").write_bytes(dumps(content))
    return mult.prepare(mult.Settings(source="mult", file=folder / "mosi_data.pkl", **options), folder)


def told(folder, content, **options):
    with pytest.raises(ElisionError) as caught:
        prepare(folder, content, **options)
    return str(caught.value)


@pytest.mark.parametrize("dumps", [pickle.dumps, python2.dumps], ids=["Python 3", "Python 2"])
def test_a_file_that_is_not_aligned_is_read_value_by_value(tmp_path, dumps):
    content = make()
    content["train"]["text"][0, :2] = content["train"]["audio"][0, 6:] = content["train"]["vision"][0] = 0
    content["train"]["audio"][0, 3] = 0
    samples, modalities = prepare(tmp_path, content, dumps)
    assert samples["id"].tolist()[:3] == ["train0_1.5_4.0", "train1_1.5_4.0", "train2_1.5_4.0"]
    assert samples["split"].tolist() == ["train"] * 3 + ["valid"] * 2 + ["test"] * 2
    assert samples["label"].tolist() == [-3, 0, 3, -3, 3, -3, 3] and samples["duration"].tolist() == [2.5] * 7
    assert samples["speaker"].tolist()[0] == "train0"
    first = {key: modalities[name][0] for name, key in (("text_features", "text"), ("audio", "audio"))}
    np.testing.assert_array_equal(first["text"], content["train"]["text"][0, 2:].astype(np.float32))
    np.testing.assert_array_equal(first["audio"], content["train"]["audio"][0, :6].astype(np.float32))
    assert len(modalities["vision"][0]) == 0, "nothing but zeros is absent"
    np.testing.assert_array_equal(modalities["vision"][1], content["train"]["vision"][1].astype(np.float32))
    assert [modalities[name].header.length for name in ("text_features", "audio", "vision")] == [5, 7, 4]


def test_modalities_of_an_aligned_file_are_cut_alike(tmp_path):
    content = make(lengths=(6, 6, 6))
    for key in KEYS:
        content["train"][key][0, :2] = 0
    content["train"]["audio"][0, :4] = 0
    _, modalities = prepare(tmp_path, content)
    assert {len(modalities[name][0]) for name in modalities} == {4}
    assert not modalities["audio"][0][:2].any() and modalities["text_features"][0][:2].all()


@pytest.mark.parametrize(("padding", "expected"), [("none", 7), ("start", 6), ("end", 5), ("both", 4)])
def test_padding_is_where_the_settings_say(tmp_path, padding, expected):
    content = make()
    content["train"]["audio"][0, :1] = content["train"]["audio"][0, 5:] = 0
    _, modalities = prepare(tmp_path, content, padding=padding)
    assert len(modalities["audio"][0]) == expected


def test_minus_infinity_in_audio_is_zero_and_counted(tmp_path, caplog):
    content = make()
    content["test"]["audio"][1, 2, :2] = -np.inf
    with caplog.at_level(logging.INFO):
        _, modalities = prepare(tmp_path, content)
    assert modalities["audio"][6][2].tolist()[:2] == [0, 0] and "audio: 2 values changed from -inf to 0" in caplog.text
    assert "test: audio of 1 sample holds nan or inf: number '1'" in told(tmp_path, content, audio_inf="error")


def test_a_file_without_ids_numbers_its_samples(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        samples, _ = prepare(tmp_path, make(ids=False))
    assert samples["id"].tolist()[:4] == ["train_0", "train_1", "train_2", "valid_0"]
    assert "no ids in the file; samples are named train_0" in caplog.text


def test_batches_may_be_padded_to_the_longest_sequence(tmp_path):
    content = make()
    for each in content.values():
        each["audio"][:, 4:] = 0
    _, modalities = prepare(tmp_path, content, trim=True)
    assert modalities["audio"].header.length == 4


PROBLEMS = {
    "no dict": (lambda d: d.clear(), "does not hold a dict of dicts with the keys train, valid and test"),
    "key": (lambda d: d["valid"].pop("text"), "valid: no text"),
    "shape": (lambda d: d["test"].update(audio=np.zeros((2, 3))), "test: audio is (2, 3), not an array (N, T, d)"),
    "list": (lambda d: d["test"].update(audio=[1]), "test: audio is list, not an array (N, T, d)"),
    "count": (lambda d: d["test"].update(audio=np.ones((3, 7, 3))), "test: audio has 3 samples, labels 2"),
    "labels of IEMOCAP": (
        lambda d: d["train"].update(labels=np.zeros((3, 4, 2))),
        "train: labels have shape (3, 4, 2), not (N, 1, 1); several labels per utterance are not read",
    ),
    "widths": (lambda d: d["test"].update(vision=np.ones((2, 4, 9))), "vision: the splits differ in dimensions: 2, 9"),
    "range": (lambda d: d["test"]["labels"].fill(4), "test: 2 labels outside [-3, 3]"),
    "same ids": (lambda d: d["train"]["id"].__setitem__(0, d["train"]["id"][1]), "1 id more than once"),
    "no ids": (lambda d: d["train"].update(id=[None] * 3), "train: id does not hold text for each of 3 samples"),
    "nan": (lambda d: d["valid"]["vision"][0].fill(np.nan), "valid: vision of 1 sample holds nan or inf"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_told(tmp_path, name):
    change, expected = PROBLEMS[name]
    content = make()
    change(content)
    assert expected in told(tmp_path, content)
