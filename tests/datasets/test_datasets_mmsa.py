import hashlib
import logging
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import python2
from elision import pickles
from elision.datasets import mmsa
from elision.errors import ElisionError
from elision.store import Header, Sequences, Store, write_sequences, write_table
from elision.task import SPLITS

COUNTS = {"train": 4, "valid": 2, "test": 3}


def make_part(split, count, *, tokens=8, audio=6, vision=5, da=3, dv=4, aligned=False, sims=False, seed=0):
    """One split as MMSA's files have it."""
    random = np.random.default_rng([seed, *split.encode()])
    lengths = random.integers(3, tokens + 1, count)
    bert = np.zeros((count, 3, tokens))
    text = np.zeros((count, tokens, 16), np.float32)
    for i, n in enumerate(lengths):
        bert[i, 0, :n] = [101, *random.integers(1000, 20000, n - 2), 102]
        bert[i, 1, :n] = 1
        text[i, :n] = random.normal(size=(n, 16))
    if aligned:
        audio = vision = tokens
    frames = {"audio": np.zeros((count, audio, da)), "vision": np.zeros((count, vision, dv))}
    part = {
        "id": [f"{split}video{i // 2}$_${i}" for i in range(count)],
        "raw_text": [f"{split} words {i}" for i in range(count)],
        "text": text,
        "text_bert": bert,
        "annotations": ["Neutral"] * count,
        "classification_labels": np.ones(count),
        "regression_labels": np.linspace(-1, 1, count).astype(np.float32),
    }
    for modality, array in frames.items():
        own = lengths if aligned else random.integers(1, array.shape[1] + 1, count)
        for i, n in enumerate(own):
            array[i, :n] = random.normal(size=(n, array.shape[2]))
        part[modality] = array
        if not aligned:
            part[f"{modality}_lengths"] = own.tolist()
    if sims:
        for k, letter in enumerate("TAV"):
            part[f"regression_labels_{letter}"] = np.full(count, 0.2 * k, np.float32)
    return part


def make(**options):
    return {split: make_part(split, count, **options) for split, count in COUNTS.items()}


def save(folder, data, name="features.pkl"):
    path = folder / name
    path.write_bytes(pickle.dumps(data, protocol=4))
    return path


def prepare(path, **settings):
    return mmsa.prepare(mmsa.Settings(source="mmsa", file=path, **settings), path.parent)


def write_store(folder, samples, modalities):
    for name, sequences in modalities.items():
        write_sequences(folder / f"{name}.safetensors", sequences)
    write_table(folder / "samples.parquet", samples, {"modalities": list(modalities)})
    return folder


def to_store(path, folder, **settings):
    return write_store(folder, *prepare(path, **settings))


def messages(data, folder, **settings):
    with pytest.raises(ElisionError) as caught:
        prepare(save(folder, data), **settings)
    return str(caught.value)


def test_samples_come_in_the_order_of_the_file_with_ids_as_they_stand(tmp_path):
    data = make()
    samples, _ = prepare(save(tmp_path, data))
    assert samples["split"].tolist() == [split for split, count in COUNTS.items() for _ in range(count)]
    assert samples["id"].tolist() == [i for split in SPLITS for i in data[split]["id"]]
    assert samples["text"].tolist() == [t for split in SPLITS for t in data[split]["raw_text"]]
    assert samples["speaker"].tolist()[:3] == ["trainvideo0", "trainvideo0", "trainvideo1"]
    assert np.array_equal(samples["label"], np.concatenate([data[split]["regression_labels"] for split in SPLITS]))
    assert samples["duration"].isna().all()
    assert "label_text" not in samples


def test_a_sample_without_a_video_has_no_speaker(tmp_path):
    data = make()
    data["train"]["id"][:2] = ["alone", "$_$1"]
    samples, _ = prepare(save(tmp_path, data))
    assert samples["speaker"].tolist()[:3] == [None, None, "trainvideo1"]


def test_sequences_are_the_frames_within_their_lengths_and_the_tokens_under_the_mask(tmp_path):
    data = make()
    _, modalities = prepare(save(tmp_path, data))
    assert list(modalities) == ["text", "audio", "vision", "text_features"]
    i = 0
    for split in SPLITS:
        part = data[split]
        for k in range(COUNTS[split]):
            n = int(part["text_bert"][k, 1].sum())
            assert np.array_equal(modalities["text"][i], part["text_bert"][k, 0, :n])
            assert np.array_equal(modalities["text_features"][i], part["text"][k, :n])
            for modality in ("audio", "vision"):
                n = part[f"{modality}_lengths"][k]
                assert np.array_equal(modalities[modality][i], part[modality][k, :n].astype(np.float32))
            i += 1
    assert modalities["text"].values.dtype == np.int32 and modalities["audio"].values.dtype == np.float32


def test_models_see_the_padded_sizes_of_the_file_unless_told_to_trim(tmp_path):
    data = make(tokens=9, audio=7, vision=30)
    path = save(tmp_path, data)
    padded, trimmed = prepare(path)[1], prepare(path, trim=True)[1]
    assert [padded[m].header.length for m in padded] == [9, 7, 30, 9]
    for sequences in trimmed.values():
        assert sequences.header.length == sequences.lengths.max()


def test_header_says_where_the_numbers_come_from(tmp_path):
    data = make()
    data["config"] = {
        "audio": {"tool": "librosa", "sample_rate": np.int64(22050)},
        "video": {"tool": "openface", "fps": 25},
        "text": {"model": "bert"},
    }
    path = save(tmp_path, data)
    _, modalities = prepare(path)
    assert modalities["audio"].header.extractor == "MMSA-FET: librosa"
    assert modalities["vision"].header.extractor == "MMSA-FET: openface"
    assert modalities["vision"].header.settings["config"] == {"tool": "openface", "fps": 25}
    assert modalities["text"].header.extractor == "bert-base-uncased"
    assert modalities["text"].header.settings["unk"] == 100
    assert all(
        s.header.settings["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() for s in modalities.values()
    )
    del data["config"]
    _, modalities = prepare(save(tmp_path, data))
    assert modalities["audio"].header.extractor == "unknown (feature file)"
    assert modalities["audio"].header.features == []
    assert Store.open(to_store(path, tmp_path / "store")).modalities["audio"].header == modalities["audio"].header


def test_features_stay_as_they_are_by_default(tmp_path):
    assert mmsa.Settings(source="mmsa", file=tmp_path).standardise == []


def test_aligned_files_have_a_frame_per_token(tmp_path):
    data = make(aligned=True)
    _samples, modalities = prepare(save(tmp_path, data))
    for modality in ("audio", "vision", "text_features"):
        assert np.array_equal(modalities[modality].lengths, modalities["text"].lengths)
    assert np.array_equal(
        modalities["audio"][0], data["train"]["audio"][0, : len(modalities["text"][0])].astype(np.float32)
    )


@pytest.mark.parametrize("corpus", ["sims", "simsv2"])
def test_ch_sims_has_a_label_per_modality_and_a_chinese_encoder(tmp_path, corpus):
    samples, modalities = prepare(save(tmp_path, make(sims=True)), corpus=corpus)
    assert samples[["label_text", "label_audio", "label_vision"]].iloc[0].tolist() == pytest.approx([0, 0.2, 0.4])
    assert modalities["text"].header.extractor == "bert-base-chinese"


def test_the_encoder_can_be_named(tmp_path):
    _, modalities = prepare(save(tmp_path, make()), encoder="data/encoders/bert")
    assert modalities["text"].header.extractor == "data/encoders/bert"
    assert modalities["text_features"].header.extractor == "data/encoders/bert"


def test_labels_may_be_a_column_and_lists_may_be_arrays(tmp_path):
    data = make()
    expected = prepare(save(tmp_path, data))
    for part in data.values():
        part["regression_labels"] = part["regression_labels"].reshape(-1, 1).tolist()
        part["audio_lengths"] = np.array(part["audio_lengths"])
        part["id"], part["raw_text"] = np.array(part["id"]), np.array(part["raw_text"], object)
        part["text_bert"] = part["text_bert"].astype(np.int64)
    samples, modalities = prepare(save(tmp_path, data))
    pd.testing.assert_frame_equal(samples, expected[0])
    assert all(np.array_equal(modalities[m].values, expected[1][m].values) for m in modalities)


def test_minus_infinity_in_audio_becomes_zero_and_is_counted(tmp_path, caplog):
    data = make()
    data["train"]["audio"][0, 0, :2] = -np.inf
    data["test"]["audio"][1, 0, 0] = -np.inf
    with caplog.at_level(logging.INFO):
        _, modalities = prepare(save(tmp_path, data))
    assert modalities["audio"][0][0, :2].tolist() == [0, 0]
    assert modalities["audio"].header.settings["minus_infinity_zeroed"] == 3
    assert "audio: 3 values changed from -inf to 0" in caplog.text
    text = messages(data, tmp_path, audio_inf="error")
    assert "1. train: audio of 1 sample holds nan or inf: 'trainvideo0$_$0'" in text
    assert "2. test: audio of 1 sample holds nan or inf: 'testvideo0$_$1'" in text


def test_lengths_beyond_the_padding_are_cut_and_zero_means_absent(tmp_path, caplog):
    data = make()
    data["train"]["audio_lengths"][0] = 99
    data["train"]["audio_lengths"][1] = 0
    data["train"]["audio"][1] = 0
    data["train"]["vision"][0] = 1.0
    data["train"]["vision_lengths"][0] = 2
    with caplog.at_level(logging.INFO):
        _, modalities = prepare(save(tmp_path, data))
    assert modalities["audio"].lengths[:2].tolist() == [6, 0]
    assert modalities["vision"].lengths[0] == 2
    assert "audio: 1 sample longer than the file's padding, cut" in caplog.text
    assert "audio: 1 sample absent" in caplog.text
    assert "vision: 1 sample not zero beyond the length, cut" in caplog.text


def test_a_transcript_cut_at_the_padding_may_lack_its_last_token(tmp_path, caplog):
    data = make()
    data["train"]["text_bert"][0, 0] = [101, *range(2000, 2007)]
    data["train"]["text_bert"][0, 1] = 1
    with caplog.at_level(logging.INFO):
        _, modalities = prepare(save(tmp_path, data))
    assert modalities["text"][0][-1] == 2006
    assert "1 transcript cut by the writer at the padded length, without [SEP]" in caplog.text


def test_an_empty_transcript_is_its_two_special_tokens(tmp_path, caplog):
    data = make()
    data["train"]["text_bert"][0, :2] = [[101, 102] + [0] * 6, [1, 1] + [0] * 6]
    with caplog.at_level(logging.INFO):
        _, modalities = prepare(save(tmp_path, data))
    assert modalities["text"][0].tolist() == [101, 102]
    assert "text_bert: 1 transcript without words" in caplog.text


# --- forms that people have


def edited(edit):
    data = make()
    for part in data.values():
        edit(part)
    return data


FORMS = {
    "lengths as text": lambda part: part.update(audio_lengths=[str(n) for n in part["audio_lengths"]]),
    "lengths as an array of text": lambda part: part.update(
        vision_lengths=np.array(part["vision_lengths"]).astype(str)
    ),
    "lengths as bytes": lambda part: part.update(audio_lengths=[str(n).encode() for n in part["audio_lengths"]]),
    "lengths as floats": lambda part: part.update(audio_lengths=np.array(part["audio_lengths"], float)),
    "labels as text": lambda part: part.update(regression_labels=[repr(float(y)) for y in part["regression_labels"]]),
    "ids as bytes": lambda part: part.update(id=[name.encode() for name in part["id"]]),
    "ids as an array of bytes": lambda part: part.update(id=np.array(part["id"]).astype("S")),
    "text as bytes": lambda part: part.update(raw_text=[words.encode() for words in part["raw_text"]]),
}


@pytest.mark.parametrize("name", FORMS)
def test_numbers_as_text_and_text_as_bytes_are_read(tmp_path, name):
    expected, sequences = prepare(save(tmp_path, make()))
    samples, modalities = prepare(save(tmp_path, edited(FORMS[name])))
    pd.testing.assert_frame_equal(samples, expected)
    assert all(np.array_equal(modalities[m].values, sequences[m].values) for m in sequences)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"train": [1], "dev": [1], "test": [1]}, "in the layout of MAG-BERT; set source: magbert in params.yaml"),
        ({s: {"text": 1, "labels": 2} for s in SPLITS}, "in the layout of MulT; set source: mult in params.yaml"),
    ],
)
def test_a_file_of_others_is_told_its_source(tmp_path, content, told):
    assert told in messages(content, tmp_path)


@pytest.mark.parametrize("lengths", [["six"] * 4, [None] * 4, ["6.5"] * 4])
def test_lengths_that_are_no_numbers_are_refused(tmp_path, lengths):
    data = make()
    data["train"]["audio_lengths"] = lengths
    assert "train: audio_lengths" in messages(data, tmp_path)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_what_python_2_wrote_is_read(tmp_path, protocol):
    data = make()
    data["train"]["raw_text"][0] = "café"
    expected, sequences = prepare(save(tmp_path, data))
    (tmp_path / "python2.pkl").write_bytes(python2.dumps(data, protocol))
    samples, modalities = prepare(tmp_path / "python2.pkl")
    assert samples["text"][0] == "café"
    pd.testing.assert_frame_equal(samples, expected)
    assert all(np.array_equal(modalities[m].values, sequences[m].values) for m in sequences)


@pytest.mark.parametrize("key", ["audio", "vision"])
@pytest.mark.parametrize("full", [False, True], ids=["padded", "without padding"])
def test_transposed_arrays_are_refused_with_the_line_that_turns_them(tmp_path, key, full):
    """(N, d, T): with padding that shows, and with lengths that are all those of the last axis."""
    data = make(da=3, dv=3)
    for part in data.values():
        if full:
            part[key] = np.ones((len(part["id"]), 6, 3))
            part[f"{key}_lengths"] = [6] * len(part["id"])
        part[key] = part[key].swapaxes(1, 2)
    text = messages(data, tmp_path)
    assert f"train: {key} has shape (4, 3, {data['train'][key].shape[2]}), of which the last number" in text
    assert f"part['{key}'] = part['{key}'].swapaxes(1, 2)" in text


def test_frames_that_are_right_are_never_taken_for_transposed(tmp_path):
    """As many dimensions as frames, more, or fewer; and lengths beyond the padding, as CH-SIMS has them."""
    for width in (2, 5, 6, 9):
        data = make(da=width)
        data["train"]["audio_lengths"][0] = 8
        data["train"]["audio"][0] = 1
        _, modalities = prepare(save(tmp_path, data))
        assert modalities["audio"].width == width and len(modalities["audio"][0]) == 6


def broken(change):
    data = make()
    change(data)
    return data


PROBLEMS = {
    "not a dict": (lambda d: d.clear(), "it does not hold a dict with the keys train, valid and test"),
    "part is a list": (lambda d: d.update(valid=[1]), "valid is not a dict but list"),
    "key missing": (lambda d: d["valid"].pop("regression_labels"), "valid: no regression_labels"),
    "lengths in one split": (lambda d: d["test"].pop("audio_lengths"), "test: no audio_lengths"),
    "modality in some splits": (lambda d: d["test"].pop("vision"), "test: no vision"),
    "counts": (lambda d: d["train"]["id"].pop(), "train: the numbers of samples differ: id 3, raw_text 4"),
    "empty sequences": (
        lambda d: d["train"].update(vision=np.zeros((4, 0, 4))),
        "train: vision has shape (4, 0, 4), not (N, T, d)",
    ),
    "shape": (lambda d: d["train"].update(audio=np.zeros((4, 6))), r"train: audio has shape (4, 6), not (N, T, d)"),
    "bert shape": (
        lambda d: d["train"].update(text_bert=np.zeros((4, 8, 3))),
        "train: text_bert has shape (4, 8, 3), not (N, 3, T)",
    ),
    "label shape": (
        lambda d: d["train"].update(regression_labels=np.zeros((4, 2))),
        "train: regression_labels has shape (4, 2), not (N,)",
    ),
    "labels are words": (
        lambda d: d["train"].update(regression_labels=["good"] * 4),
        "train: regression_labels is not an array of numbers",
    ),
    "a list for an array": (
        lambda d: d["train"].update(audio=d["train"]["audio"].tolist()),
        "train: audio is not an array of numbers",
    ),
    "dimensions": (
        lambda d: d["test"].update(vision=np.zeros((3, 5, 9))),
        "vision: the splits differ in dimensions: {'train': 4, 'valid': 4, 'test': 9}",
    ),
    "no lengths": (
        lambda d: [part.pop("audio_lengths") for part in d.values()],
        "train: no audio_lengths, so audio should have a frame per token, but it has 6 frames for 8 tokens",
    ),
    "no features": (
        lambda d: [[part.pop(k) for k in ("text_bert", "audio", "vision")] for part in d.values()],
        "there is none of text_bert, audio and vision",
    ),
    "empty split": (lambda d: d.update(valid=make_part("valid", 0)), "valid: no samples; every split needs some"),
    "label range": (
        lambda d: d["test"]["regression_labels"].__setitem__(1, -3.5),
        "test: 1 sample with regression_labels outside [-3, 3] ('testvideo0$_$1' -3.5); is corpus right",
    ),
    "label inf": (
        lambda d: d["test"]["regression_labels"].__setitem__(1, np.inf),
        "test: 1 sample with regression_labels outside [-3, 3] ('testvideo0$_$1' inf)",
    ),
    "duplicate across splits": (
        lambda d: d["test"]["id"].__setitem__(0, d["train"]["id"][2]),
        "'trainvideo1$_$2' is the id of 2 samples, in train, test",
    ),
    "mask": (
        lambda d: d["train"]["text_bert"][1, 1].__setitem__(1, 0),
        "train: text_bert of 1 sample has an attention mask that is not ones followed by zeros: 'trainvideo0$_$1'",
    ),
    "one token": (
        lambda d: d["train"]["text_bert"][1].__setitem__(slice(0, 2), [[101] + [0] * 7, [1] + [0] * 7]),
        "train: text_bert of 1 sample has fewer tokens than [CLS] and [SEP]: 'trainvideo0$_$1'",
    ),
    "no cls": (
        lambda d: d["valid"]["text_bert"][:, 0].__setitem__((slice(None), 0), 7),
        "valid: text_bert of 2 samples has a first token that is not [CLS] (101): 'validvideo0$_$0', 'validvideo0$_$1'",
    ),
    "no sep": (
        lambda d: d["valid"]["text_bert"][0].__setitem__(slice(0, 2), [[101, 5, 6] + [0] * 5, [1, 1, 1] + [0] * 5]),
        "valid: text_bert of 1 sample has a last token that is not [SEP] (102): 'validvideo0$_$0'",
    ),
    "fractions of tokens": (
        lambda d: d["valid"]["text_bert"][0, 0].__setitem__(1, 4.5),
        "valid: text_bert of 1 sample has token ids that are not whole numbers: 'validvideo0$_$0'",
    ),
    "negative length": (
        lambda d: d["train"]["vision_lengths"].__setitem__(2, -1),
        "train: vision_lengths of 'trainvideo1$_$2' are not whole numbers from 0",
    ),
    "infinite length": (
        lambda d: d["train"].update(vision_lengths=[1, 2, np.inf, 2]),
        "train: vision_lengths of 'trainvideo1$_$2' are not whole numbers from 0",
    ),
    "length of 10^30": (
        lambda d: d["train"]["vision_lengths"].__setitem__(2, 10**30),
        "train: vision_lengths of 'trainvideo1$_$2' are not whole numbers from 0 (to 1000000000)",
    ),
    "length of 10^30 with a point": (
        lambda d: d["train"].update(vision_lengths=np.array([1, 2, 1e30, 2])),
        "train: vision_lengths of 'trainvideo1$_$2' are not whole numbers from 0",
    ),
    "length of 2^63": (
        lambda d: d["train"].update(vision_lengths=np.array([1, 2, 2**63, 2], np.uint64)),
        "train: vision_lengths of 'trainvideo1$_$2' are not whole numbers from 0",
    ),
    "length that is no number": (
        lambda d: d["train"].update(vision_lengths=np.array([1, 2, np.nan, 2])),
        "train: vision_lengths of 'trainvideo1$_$2' are not whole numbers from 0",
    ),
    "complex lengths": (
        lambda d: d["train"].update(vision_lengths=np.ones(4, complex)),
        "train: vision_lengths is not an array of numbers",
    ),
    "complex labels": (
        lambda d: d["train"].update(regression_labels=np.ones(4, complex)),
        "train: regression_labels is not an array of numbers",
    ),
    "lengths of lists": (
        lambda d: d["train"].update(vision_lengths=[[1], [2, 3], [1], [1]]),
        "train: vision_lengths is not an array of numbers",
    ),
    "token beyond the vocabulary": (
        lambda d: d["train"]["text_bert"][1, 0].__setitem__(1, 30522),
        "train: text_bert of 1 sample has token ids that bert-base-uncased does not have (0 to 30521): "
        "'trainvideo0$_$1'",
    ),
    "token of 10^30": (
        lambda d: d["train"]["text_bert"][1, 0].__setitem__(1, 1e30),
        "train: text_bert of 1 sample has token ids that are not whole numbers: 'trainvideo0$_$1'",
    ),
    "negative token": (
        lambda d: d["train"]["text_bert"][1, 0].__setitem__(1, -1),
        "train: text_bert of 1 sample has token ids that bert-base-uncased does not have (0 to 30521): "
        "'trainvideo0$_$1'",
    ),
    "token that wraps around": (
        lambda d: d["train"].update(text_bert=d["train"]["text_bert"].astype(np.int64) + 2**32),
        "train: text_bert of 4 samples has an attention mask that is not ones followed by zeros",
    ),
    "NUL in an id": (lambda d: d["train"]["id"].__setitem__(1, "a\0b"), "train: 1 id that cannot be printed"),
    "empty id": (lambda d: d["train"]["id"].__setitem__(1, ""), "train: 1 id that cannot be printed"),
    "one text for all": (lambda d: d["train"].update(id="abcd"), "train: id is not a list of texts but str"),
    "ids in a dict": (lambda d: d["train"].update(id={"a": 1}), "train: id is not a list of texts but dict"),
    "a transcript that is none": (
        lambda d: d["train"]["raw_text"].__setitem__(2, None),
        "train: raw_text of 1 sample is NoneType, not text: number '3'",
    ),
    "an id that is a list": (
        lambda d: d["train"]["id"].__setitem__(0, ["a"]),
        "train: id of 1 sample is list, not text: number '1'",
    ),
    "ids that are not UTF-8": (
        lambda d: d["train"].update(id=[b"\xff\xfe"] * 4),
        "train: id of 4 samples is bytes, not text: number '1', '2', '3' and 1 more",
    ),
    "nan": (
        lambda d: d["train"]["vision"][0].fill(np.nan),
        "train: vision of 1 sample holds nan or inf: 'trainvideo0$_$0'",
    ),
    "plus infinity": (
        lambda d: d["train"]["audio"][3].fill(np.inf),
        "train: audio of 1 sample holds nan or inf: 'trainvideo1$_$3'",
    ),
    "minus infinity in vision": (
        lambda d: d["test"]["vision"][0].fill(-np.inf),
        "test: vision of 1 sample holds nan or inf: 'testvideo0$_$0'",
    ),
    "too large for float32": (
        lambda d: d["test"]["vision"][0].fill(1e300),
        "test: vision of 1 sample holds nan or inf: 'testvideo0$_$0'",
    ),
    "nan in text features": (
        lambda d: d["test"]["text"][0].fill(np.nan),
        "test: text of 1 sample holds nan or inf: 'testvideo0$_$0'",
    ),
}


@pytest.mark.parametrize("problem", list(PROBLEMS))
def test_each_problem_is_told_with_file_split_and_sample(tmp_path, problem):
    change, expected = PROBLEMS[problem]
    text = messages(broken(change), tmp_path)
    assert text.startswith(f"{tmp_path / 'features.pkl'}: ")
    assert f"1. {expected}" in text


def test_ids_as_bytes_and_lengths_as_words_are_read_as_what_they_say(tmp_path):
    expected = prepare(save(tmp_path, make()))
    data = make()
    for part in data.values():
        part.update(
            id=np.array([[name.encode()] for name in part["id"]]),
            raw_text=[words.encode() for words in part["raw_text"]],
            audio_lengths=[str(length) for length in part["audio_lengths"]],
        )
    samples, modalities = prepare(save(tmp_path, data))
    pd.testing.assert_frame_equal(samples, expected[0])
    assert np.array_equal(modalities["audio"].offsets, expected[1]["audio"].offsets)


def test_the_vocabulary_is_that_of_the_encoder(tmp_path, caplog):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text('{"vocab_size": 20001}')
    data = make()
    data["valid"]["text_bert"][1, 0, 1] = 20001
    text = messages(data, tmp_path, encoder=str(tmp_path / "encoder"))
    assert "encoder does not have (0 to 20000): 'validvideo0$_$1'" in text
    data["valid"]["text_bert"][1, 0, 1] = 20000
    prepare(save(tmp_path, data), encoder=str(tmp_path / "encoder"))
    data["valid"]["text_bert"][1, 0, 1] = 25000
    assert "bert-base-chinese does not have (0 to 21127)" in messages(data, tmp_path, corpus="sims")
    assert not caplog.records or "not on this machine" not in caplog.text
    prepare(save(tmp_path, data), encoder="somebody/nothing")
    assert "encoder somebody/nothing is not on this machine, so token ids are not compared with it" in caplog.text
    data["valid"]["text_bert"][1, 0, 1] = -3
    assert "does not have (0 or more)" in messages(data, tmp_path, encoder="somebody/nothing")


def test_all_problems_are_told_at_once(tmp_path):
    data = make()
    data["train"]["regression_labels"][0] = 9
    data["valid"]["text_bert"][0, 0, 0] = 5
    data["test"]["audio"][0] = np.nan
    data["test"]["vision"][0] = np.nan
    text = messages(data, tmp_path)
    assert "features.pkl: 4 problems" in text
    assert [line[:2] for line in text.splitlines()[1:]] == ["1.", "2.", "3.", "4."]


def test_labels_of_the_wrong_corpus_are_noticed(tmp_path):
    data = make()
    data["train"]["regression_labels"][:] = 2.5
    assert "4 samples with regression_labels outside [-1, 1]" in messages(data, tmp_path, corpus="sims")


def test_a_published_file_is_recognised_and_its_corpus_compared(tmp_path, caplog, monkeypatch):
    path = save(tmp_path, make())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(mmsa.OFFICIAL, sha256, ("mosei", "MOSEI/Processed/unaligned_50.pkl"))
    with pytest.raises(ElisionError, match=r"this is MOSEI/Processed/unaligned_50\.pkl, but corpus is mosi"):
        prepare(path)
    with caplog.at_level(logging.INFO):
        _, modalities = prepare(path, corpus="mosei")
    assert f"MMSA's MOSEI/Processed/unaligned_50.pkl, SHA-256 {sha256}" in caplog.text
    assert modalities["audio"].header.settings["published"] == "MOSEI/Processed/unaligned_50.pkl"


def test_digests_of_the_published_files_are_whole():
    assert sorted(key[:8] for key in mmsa.OFFICIAL) == ["45eccfb7", "78e0f8b5", "ad8b23d5", "c9e20c13", "d3994fd2"]
    assert all(len(key) == 64 and int(key, 16) for key in mmsa.OFFICIAL)


def test_a_file_of_single_clips_says_how_to_make_a_dataset(tmp_path):
    part = make_part("train", 2)
    text = messages({"audio": part["audio"], "text_bert": part["text_bert"]}, tmp_path)
    assert "make one with run_dataset and a label.csv" in text


def test_modalities_that_a_file_lacks_are_absent_from_the_dataset(tmp_path, caplog):
    data = make()
    for part in data.values():
        for key in ("text", "text_bert", "vision", "vision_lengths"):
            del part[key]
    _, modalities = prepare(save(tmp_path, data))
    assert list(modalities) == ["audio"]
    for part in data.values():
        part["text"] = np.zeros((len(part["id"]), 5, 300))
    with caplog.at_level(logging.WARNING):
        assert list(prepare(save(tmp_path, data))[1]) == ["audio"]
    assert "text is left out" in caplog.text


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/marker",)

    data = make()
    data["train"]["raw_text"] = np.array([Evil()] * 4, object)
    assert "this pickle wants to use" in messages(data, tmp_path)
    assert not (tmp_path / "marker").exists()


def test_only_the_file_is_an_input(tmp_path):
    settings = mmsa.Settings(source="mmsa", file=tmp_path / "a.pkl")
    assert mmsa.inputs(settings) == [tmp_path / "a.pkl"]


# --- export


def read_as_mmsa_does(path, mode, *, aligned=False):
    """The steps of MMSA's data loader."""
    data = pickle.loads(path.read_bytes())[mode]
    read = {
        "bert": data["text_bert"].astype(np.float32),
        "text": data["text"].astype(np.float32),
        "vision": data["vision"].astype(np.float32),
        "audio": data["audio"].astype(np.float32),
        "labels": np.array(data["regression_labels"]).astype(np.float32),
        "ids": data["id"],
        "raw_text": data["raw_text"],
    }
    if not aligned:
        read |= {m: data[m] for m in ("audio_lengths", "vision_lengths")}
    read["audio"][read["audio"] == -np.inf] = 0
    return read


@pytest.mark.parametrize("options", [{}, {"aligned": True}, {"sims": True}], ids=["unaligned", "aligned", "sims"])
def test_export_gives_the_arrays_of_the_imported_file_back(tmp_path, options):
    data = make(**options)
    corpus = "sims" if options.get("sims") else "mosi"
    path = save(tmp_path, data)
    mmsa.export(to_store(path, tmp_path / "store", corpus=corpus), tmp_path / "export.pkl")
    exported = pickles.load(tmp_path / "export.pkl")
    assert list(exported) == list(SPLITS)
    for split in SPLITS:
        was, now = data[split], exported[split]
        assert set(was) | {"audio_lengths", "vision_lengths"} == set(now)
        for key in was.keys() - {"annotations", "classification_labels"}:
            assert np.array_equal(np.asarray(was[key]), now[key]) or np.array_equal(
                was[key].astype(np.float32), now[key]
            )
        ours = read_as_mmsa_does(tmp_path / "export.pkl", split, aligned=options.get("aligned"))
        theirs = read_as_mmsa_does(path, split, aligned=options.get("aligned"))
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


def test_exported_types_are_those_that_readers_expect(tmp_path):
    mmsa.export(to_store(save(tmp_path, make(sims=True)), tmp_path / "store"), tmp_path / "export.pkl")
    part = pickle.loads((tmp_path / "export.pkl").read_bytes())["train"]
    for key in ("text", "text_bert", "audio", "vision", "regression_labels", "regression_labels_T"):
        assert part[key].dtype == np.float32 and part[key].flags.c_contiguous and part[key].flags.writeable
    assert part["regression_labels"].shape == (4,)
    assert all(type(n) is int for n in part["audio_lengths"])
    assert all(type(i) is str for i in part["id"] + part["raw_text"])
    assert part["annotations"] == ["Negative", "Negative", "Positive", "Positive"]
    assert part["classification_labels"].tolist() == [0, 0, 2, 2]


@given(seed=st.integers(0, 2**32), options=st.sampled_from([{}, {"aligned": True}, {"sims": True}]))
@hypothesis_settings(max_examples=10)
def test_exporting_an_imported_export_gives_the_same_bytes(tmp_path_factory, seed, options):
    folder = tmp_path_factory.mktemp("round")
    data = make(seed=seed, **options)
    if not options.get("aligned"):
        data["train"]["audio_lengths"][0] = 0
    data["valid"]["regression_labels"][0] = 0.1
    mmsa.export(to_store(save(folder, data), folder / "store"), folder / "once.pkl")
    mmsa.export(to_store(folder / "once.pkl", folder / "again"), folder / "twice.pkl")
    assert (folder / "once.pkl").read_bytes() == (folder / "twice.pkl").read_bytes()


def clip_store(folder, *, modalities=("text", "audio", "vision"), first=101, label=(1.0, 0.0, -1.0)):
    """A store as the extract step makes it from clips: with unseen frames and absent modalities."""
    samples = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "split": list(SPLITS),
            "label": list(label),
            "text": ["so good", None, "no"],
            "speaker": ["s1", None, None],
            "duration": [1.0, 2.0, 3.0],
        }
    )
    unseen = np.ones((4, 2), np.float32)
    unseen[1] = np.nan
    sequences = {
        "text": [np.array([first, 2061, 2204, 102]), np.zeros(0, np.int64), np.array([first, 102])],
        "audio": [np.ones((2, 3)), np.ones((1, 3)), np.zeros((0, 3))],
        "vision": [unseen, np.zeros((0, 2)), np.ones((3, 2))],
    }
    lengths = {"text": 4, "audio": 2, "vision": 4}
    made = {
        m: Sequences.of(
            [s.astype(np.int32 if m == "text" else np.float32) for s in sequences[m]],
            Header(modality=m, length=lengths[m], extractor="minilm", settings={}),
        )
        for m in modalities
    }
    return write_store(folder, samples, made)


def test_what_the_layout_cannot_say_is_written_as_documented(tmp_path, caplog):
    folder = clip_store(tmp_path / "store")
    with caplog.at_level(logging.WARNING):
        mmsa.export(folder, tmp_path / "export.pkl")
    assert "text is left out" in caplog.text and "text_features" in caplog.text
    data = pickles.load(tmp_path / "export.pkl")
    assert [data[split]["id"] for split in SPLITS] == [["s1$_$a"], ["b$_$b"], ["c$_$c"]]
    assert [data[split]["raw_text"] for split in SPLITS] == [["so good"], [""], ["no"]]
    assert data["train"]["vision"][0].tolist() == [[1, 1], [0, 0], [1, 1], [1, 1]]
    assert data["test"]["audio"][0].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert [data[split]["audio_lengths"] for split in SPLITS] == [[2], [1], [1]]
    assert data["train"]["text_bert"][0].tolist() == [[101, 2061, 2204, 102], [1] * 4, [0] * 4]
    for split in ("valid", "test"):
        assert data[split]["text_bert"][0].tolist() == [[101, 100, 102, 0], [1, 1, 1, 0], [0] * 4]
    assert [data[split]["annotations"][0] for split in SPLITS] == ["Positive", "Neutral", "Negative"]
    assert all("text" not in data[split] for split in SPLITS)


def test_an_export_of_clips_can_be_imported_and_exported_with_the_same_bytes(tmp_path):
    mmsa.export(clip_store(tmp_path / "store"), tmp_path / "once.pkl")
    mmsa.export(to_store(tmp_path / "once.pkl", tmp_path / "again"), tmp_path / "twice.pkl")
    assert (tmp_path / "once.pkl").read_bytes() == (tmp_path / "twice.pkl").read_bytes()
    assert Store.open(tmp_path / "again").samples["speaker"].tolist() == ["s1", "b", "c"]


def test_a_modality_that_the_store_lacks_is_left_out_and_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        mmsa.export(clip_store(tmp_path / "store", modalities=("text", "audio")), tmp_path / "export.pkl")
    assert "vision is left out" in caplog.text
    part = pickles.load(tmp_path / "export.pkl")["train"]
    assert "vision" not in part and "vision_lengths" not in part and "audio" in part


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(ElisionError, match="not of a BERT"):
        mmsa.export(clip_store(tmp_path / "roberta", first=0), tmp_path / "export.pkl")
    with pytest.raises(ElisionError, match="sentiment scores in train, valid and test only"):
        mmsa.export(clip_store(tmp_path / "classes", label=("happy", "sad", "angry")), tmp_path / "export.pkl")
    assert not (tmp_path / "export.pkl").exists()
