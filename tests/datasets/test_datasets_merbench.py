"""Label files of MERBench, and feature sets."""

import logging

import numpy as np
import pytest
from pydantic import ValidationError

from elision.datasets import merbench
from elision.errors import ElisionError

FOUR = ["happy", "sad", "neutral", "angry"]
IEMOCAP = [f"Ses0{k % 5 + 1}{'FM'[k % 2]}_impro0{k // 10}_{'FM'[k % 2]}{k:03}" for k in range(60)]


def write(folder, names, **corpora):
    np.savez_compressed(folder / "label.npz", **corpora)
    (folder / "features" / "voices").mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        np.save(folder / "features" / "voices" / f"{name}.npy", np.full((2, 3), k, np.float32) + 1)


def settings(folder, **options):
    options = {"labels": folder / "label.npz", "features": folder / "features", "audio": "voices", **options}
    return merbench.Settings(source="merbench", **options)


def prepare(folder, **options):
    return merbench.prepare(settings(folder, **options), folder)


def whole(emo=lambda k: k % 4):
    return {name: {"emo": emo(k), "val": -10} for k, name in enumerate(IEMOCAP)}


def test_whole_corpus_of_iemocap_tests_each_session_once(tmp_path):
    write(tmp_path, IEMOCAP, whole_corpus=whole())
    samples, modalities = prepare(tmp_path, corpus="iemocap", classes=FOUR)
    assert samples["id"].tolist() == IEMOCAP
    assert samples["label"].tolist() == [FOUR[k % 4] for k in range(60)] and samples.attrs["classes"] == FOUR
    assert modalities["audio"].values[:, 0].tolist() == [k + 1 for k in range(60)]
    for fold in range(1, 6):
        split = samples[f"fold-{fold}"]
        assert (samples["id"][split == "test"].str[4] == str(fold)).all() and (split == "test").sum() == 12
        held = samples[split == "valid"]
        assert len(held) and not set(held["dialogue"]) & set(samples["dialogue"][split == "train"])
    assert samples["speaker"][0] == "Ses01_F" and samples["dialogue"][0] == "Ses01F_impro00"


@pytest.mark.parametrize("number", [np.int64, np.float32, lambda k: np.array(k), int])
def test_numbers_of_classes_may_be_of_any_type(tmp_path, number):
    write(tmp_path, IEMOCAP, whole_corpus=whole(lambda k: number(k % 4)))
    assert prepare(tmp_path, corpus="iemocap", classes=FOUR)[0]["label"].tolist() == [FOUR[k % 4] for k in range(60)]


def three(names, label):
    parts = {"train_corpus": names[:6], "val_corpus": names[6:9], "test_corpus": names[9:]}
    return {name: {clip: label(names.index(clip)) for clip in part} for name, part in parts.items()}


NAMES = [f"clip_{k:02}" for k in range(12)]


def test_train_val_and_test_of_mosi_are_the_splits(tmp_path):
    write(tmp_path, NAMES, **three(NAMES, lambda k: {"emo": 0, "val": k / 4}))
    samples, _ = prepare(tmp_path, corpus="mosi")
    assert samples["split"].tolist() == ["train"] * 6 + ["valid"] * 3 + ["test"] * 3
    assert samples["label"].tolist() == [k / 4 for k in range(12)]


def test_emotions_by_name_are_classes(tmp_path):
    write(tmp_path, NAMES, **three(NAMES, lambda k: {"emo": ("joy", "fear")[k % 2]}))
    samples, _ = prepare(tmp_path, corpus="mer2024")
    assert samples["label"].tolist() == ["joy", "fear"] * 6


def mer2023(folder):
    corpora = {"train_corpus": NAMES[:6], "test1_corpus": NAMES[6:9], "test2_corpus": NAMES[9:]}
    labels = {name: {clip: {"emo": "happy", "val": 0.5} for clip in part} for name, part in corpora.items()}
    write(folder, NAMES, **labels)


def test_validation_is_drawn_and_labelled_clips_that_are_left_out_are_counted(tmp_path, caplog):
    mer2023(tmp_path)
    with caplog.at_level(logging.INFO):
        samples, _ = prepare(tmp_path, corpus="mer2024")
    assert samples["split"].value_counts().to_dict() == {"train": 5, "valid": 1, "test": 3}
    assert samples["id"][samples["split"] == "test"].tolist() == NAMES[6:9]
    assert (
        "3 labelled clips left out: test2_corpus (3); to test on another array, set sets in params.yaml" in caplog.text
    )
    assert "1 of the training clips drawn for split valid" in caplog.text
    samples, _ = prepare(tmp_path, corpus="mer2024", sets={"train": "train_corpus", "test": "test2_corpus"})
    assert samples["id"][samples["split"] == "test"].tolist() == NAMES[9:]


def test_folds_of_the_user_replace_the_splits(tmp_path):
    write(tmp_path, IEMOCAP, whole_corpus=whole())
    options = {"corpus": "iemocap", "classes": FOUR, "folds": {"by": "speaker", "count": 4}}
    samples, _ = prepare(tmp_path, **options)
    assert "split" not in samples and settings(tmp_path, **options).fold_count() == 4


PROBLEMS = {
    "no dict": ({"whole_corpus": np.ones(3)}, {}, "whole_corpus should be a dict of clips"),
    "no label": ({"whole_corpus": {"a": 1}}, {}, "1 clip of whole_corpus without"),
    "no train": ({"val_corpus": {"a": {"emo": 1}}}, {}, "no array is the training split; say which one"),
    "unknown set": (
        {"train_corpus": {"a": {"val": 1}}},
        {"sets": {"train": "whole"}},
        "there is no array whole, which sets names in params.yaml; there is: train_corpus",
    ),
    "both": (
        {"train_corpus": {"a": {"val": 1}}, "val_corpus": {"a": {"val": 1}}},
        {},
        "1 clip in more than one split: 'a'; keep one of each",
    ),
    "no score": ({"whole_corpus": whole()}, {"corpus": "mosi"}, "no clip has a score (val); for emotions, set task"),
    "no names": (
        {"whole_corpus": whole()},
        {"corpus": "iemocap"},
        "emo is a number for each of 4 classes, whose names",
    ),
    "too few": (
        {"whole_corpus": whole()},
        {"corpus": "iemocap", "classes": ["a", "b"]},
        "emo of 30 clips ('Ses03F_impro00_F002 2'",
    ),
    "names of others": (
        {"whole_corpus": {"a": {"emo": 1}}},
        {"corpus": "iemocap", "classes": ["a", "b"]},
        "1 clip ('a') not named as in IEMOCAP, such as Ses01F_impro01_F000",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_told(tmp_path, name):
    corpora, options, expected = PROBLEMS[name]
    write(tmp_path, [], **corpora)
    with pytest.raises(ElisionError) as caught:
        prepare(tmp_path, **options)
    assert expected in str(caught.value)


def test_a_feature_set_must_be_named(tmp_path):
    with pytest.raises(ValidationError, match="name a feature set under text, audio or vision"):
        settings(tmp_path, audio=None)
