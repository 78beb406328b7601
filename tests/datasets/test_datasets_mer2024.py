import logging
import os

import numpy as np
import pytest
from pydantic import ValidationError

from elision.datasets import mer2024
from elision.datasets._prepare import prepare as prepare_dataset
from elision.errors import ElisionError
from elision.settings.params import Params
from elision.store import Store
from elision.task import SPLITS

SETS = {"text": "Baichuan2-13B-Base-UTT", "audio": "chinese-hubert-large-UTT", "vision": "clip-vit-large-patch14-UTT"}
WIDTHS = {"text": 6, "audio": 5, "vision": 4}
LABELLED = {f"sample_{k:08}": {"emo": mer2024.CLASSES[k % 6]} for k in range(60)}
POOL = {f"samplenew_{k:08}": {"emo": "neutral"} for k in range(20)}


def write(root, train=LABELLED, **others):
    """A small tree in the published layout; returns the vectors."""
    others = others or {"test1_corpus": POOL}
    np.savez_compressed(root / "label-6way.npz", train_corpus=train, **others)
    random = np.random.default_rng(3)
    vectors = {}
    for modality, name in SETS.items():
        folder = root / "features" / name
        folder.mkdir(parents=True, exist_ok=True)
        for clip in [*train, *(clip for corpus in others.values() for clip in corpus)]:
            vectors[modality, clip] = random.normal(size=WIDTHS[modality]).astype("f4")
            np.save(folder / f"{clip}.npy", vectors[modality, clip])
    return vectors


def settings(root, **options):
    return mer2024.Settings(source="mer2024", labels=root / "label-6way.npz", features=root / "features", **options)


def prepare(root, **options):
    return mer2024.prepare(settings(root, **options), root)


def store(root, **options):
    entry = {"source": "mer2024", "labels": str(root / "label-6way.npz"), "features": str(root / "features")} | options
    params = Params(datasets={"mine": entry}, methods=["majority"], seeds=[1])
    assert mer2024.Settings(**params.model_dump(mode="json")["datasets"]["mine"]) == params.datasets["mine"]
    places = {"clips": root / "clips.parquet", "media": root / "media", "store": root / "store"}
    prepare_dataset(params, "mine", **places, provenance={"step": "prepare"})
    return Store.open(root / "store"), params


def message(root, **options):
    with pytest.raises(ElisionError) as caught:
        prepare(root, **options)
    return str(caught.value)


def test_labelled_clips_come_first_and_the_pool_has_no_labels(tmp_path):
    vectors = write(tmp_path)
    samples, modalities = prepare(tmp_path)
    assert samples["id"].tolist() == [*LABELLED, *POOL]
    assert samples["label"].tolist() == [*(label["emo"] for label in LABELLED.values()), *[None] * 20]
    assert samples.attrs["classes"] == ["neutral", "angry", "happy", "sad", "worried", "surprise"]
    assert ((samples["split"] == "unlabelled") == samples["label"].isna()).all()
    assert list(modalities) == ["text_features", "audio", "vision"]
    for key, sequences in modalities.items():
        modality = key.removesuffix("_features")
        assert sequences.header.modality == key and sequences.header.extractor == SETS[modality]
        assert sequences.header.length == 1 and (sequences.lengths == 1).all()
        for i, name in enumerate(samples["id"]):
            assert np.array_equal(sequences[i], vectors[modality, name][np.newaxis])


def test_folds_are_five_of_equal_size_that_test_every_clip_once(tmp_path):
    write(tmp_path)
    assert settings(tmp_path).fold_count() == 5
    made, params = store(tmp_path)
    assert params.runs("mine") == [f"seed-1.fold-{k}" for k in range(1, 6)]
    tested = [made.rows("test", fold) for fold in range(1, 6)]
    assert [len(rows) for rows in tested] == [12] * 5
    assert sorted(np.concatenate(tested)) == list(range(60))
    for fold in range(1, 6):
        rows = [made.rows(split, fold) for split in (*SPLITS, "unlabelled")]
        assert sorted(np.concatenate(rows)) == list(range(80))
        assert [len(r) for r in rows] == [43, 5, 12, 20]
    assert made.classes == mer2024.CLASSES


def test_folds_depend_on_the_names_and_the_seed_alone(tmp_path):
    write(tmp_path)
    made = store(tmp_path)[0].samples.set_index("id")
    write(tmp_path, train=dict(reversed(LABELLED.items())))
    again = store(tmp_path)[0].samples.set_index("id")
    assert again["fold-2"][made.index].equals(made["fold-2"])
    other = store(tmp_path, folds={"by": "id", "count": 5, "seed": 2})[0].samples.set_index("id")
    assert not other["fold-2"][made.index].equals(made["fold-2"])


def test_there_can_be_one_split(tmp_path):
    write(tmp_path)
    made, params = store(tmp_path, folds=None)
    assert params.runs("mine") == ["seed-1"]
    assert [len(made.rows(split)) for split in (*SPLITS, "unlabelled")] == [43, 5, 12, 20]
    split = made.samples["split"].tolist()
    assert split == prepare(tmp_path, folds=None)[0]["split"].tolist()
    assert split != prepare(tmp_path, folds=None, seed=3)[0]["split"].tolist()


def test_the_pool_is_every_other_corpus_and_can_be_left_out(tmp_path):
    more = {"samplenew_99999999": {"emo": "happy"}, "sample_00000000": {"emo": "sad"}}
    write(tmp_path, test1_corpus=POOL, test2_corpus=more)
    samples, _ = prepare(tmp_path)
    assert samples["id"].tolist() == [*LABELLED, *POOL, "samplenew_99999999"]
    assert samples["label"][0] == "neutral"
    samples, modalities = prepare(tmp_path, unlabelled=False)
    assert samples["id"].tolist() == list(LABELLED) and len(modalities["audio"]) == 60


def test_features_that_are_missing_are_named_with_the_remedy(tmp_path):
    write(tmp_path)
    folder = tmp_path / "features" / SETS["text"]
    for name in POOL:
        (folder / f"{name}.npy").unlink()
    text = message(tmp_path)
    assert f"{folder}: 20 samples ('samplenew_00000000', " in text and "set unlabelled: false" in text
    assert len(prepare(tmp_path, unlabelled=False)[0]) == 60
    (folder / "sample_00000003.npy").unlink()
    text = message(tmp_path, unlabelled=False)
    assert f"{folder}: 1 sample ('sample_00000003'): no .npy file" in text and "set unlabelled" not in text


def test_a_clip_without_words_lacks_the_text(tmp_path):
    write(tmp_path)
    np.save(tmp_path / "features" / SETS["text"] / "sample_00000003.npy", np.zeros(6))
    _, modalities = prepare(tmp_path)
    assert (modalities["text_features"].lengths == 0).nonzero()[0].tolist() == [3]
    assert len(modalities["text_features"].values) == 79


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"test1_corpus": POOL}, "there is no train_corpus; there is: test1_corpus"),
        ({"train_corpus": ["a", "b"]}, "train_corpus should be dicts of clips"),
        ({"train_corpus": ["a"], "test1_corpus": POOL}, "train_corpus should be dicts of clips"),
        ({"train_corpus": LABELLED, "test1_corpus": np.array(5)}, "test1_corpus should be dicts of clips"),
        ({"train_corpus": {"a": "happy", **LABELLED}}, "1 clip of train_corpus without {\"emo\": ...}: 'a'"),
        ({"train_corpus": {"a": {"emo": "fear"}, **LABELLED}}, "1 clip ('a') labelled 'fear', none of neutral, angry"),
    ],
)
def test_what_is_wrong_with_the_labels_is_named(tmp_path, arrays, expected):
    np.savez(tmp_path / "label-6way.npz", **{name: np.array(array, None) for name, array in arrays.items()})
    text = message(tmp_path)
    assert expected in text and str(tmp_path / "label-6way.npz") in text


def test_a_hostile_file_of_labels_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    np.savez(tmp_path / "label-6way.npz", train_corpus={"sample": Hostile()})
    assert "this pickle wants to use" in message(tmp_path)
    assert not (tmp_path / "marker").exists()


def test_inputs_are_the_labels_and_the_folders(tmp_path):
    assert mer2024.inputs(settings(tmp_path)) == []
    write(tmp_path)
    folders = [tmp_path / "features" / name for name in SETS.values()]
    assert mer2024.inputs(settings(tmp_path)) == [tmp_path / "label-6way.npz", *folders]


def test_labels_are_classes(tmp_path):
    with pytest.raises(ValidationError, match="labels of mer2024 are classes"):
        settings(tmp_path, task="regression")
    assert settings(tmp_path, task="classification") == settings(tmp_path)


@pytest.mark.parametrize(
    ("clips", "told"),
    [
        ({None: {"emo": "happy"}}, "1 clip of train_corpus whose names are no text: 'None'"),
        ({1: {"emo": "happy"}, "1": {"emo": "sad"}}, "train_corpus has two clips of one name"),
        ({"a\0b": {"emo": "happy"}}, "1 id that cannot be printed"),
        ({"a": {"emo": ["happy"]}}, "1 clip ('a') labelled"),
        ({"a": {"emo": np.array(["happy", "sad"])}}, "1 clip ('a') labelled"),
        ({"a": {"emo": 3}}, "1 clip ('a') labelled '3'"),
    ],
)
def test_clips_that_have_no_name_or_no_emotion_are_named(tmp_path, clips, told):
    np.savez_compressed(tmp_path / "label-6way.npz", train_corpus={**LABELLED, **clips})
    assert told in message(tmp_path)


def test_labels_that_are_left_out_are_a_warning(tmp_path, caplog):
    """As in the file of MER2023, whose test sets have labels."""
    test = {f"test_{k}": {"emo": emo, "val": 0.5} for k, emo in enumerate(["happy", "neutral", "sad"])}
    write(tmp_path, test1_corpus=test, test2_corpus=POOL)
    with caplog.at_level(logging.WARNING):
        samples, _ = prepare(tmp_path)
    assert (samples["split"] == "unlabelled").sum() == 23
    (record,) = caplog.records
    assert "2 clips of test1_corpus have a label other than neutral, and the labels of test1_corpus are left out" in (
        record.getMessage()
    )
    assert "source: merbench tests on these clips" in record.getMessage()


def test_a_file_of_merbench_is_told_its_source(tmp_path):
    np.savez_compressed(tmp_path / "label-6way.npz", whole_corpus=LABELLED)
    assert "there is no train_corpus; there is: whole_corpus. For files of MERBench, set source: merbench" in (
        message(tmp_path)
    )


def test_a_page_in_the_place_of_the_labels_is_named(tmp_path):
    (tmp_path / "label-6way.npz").write_text("<html><body>Sign in to continue</body></html>")
    assert "label-6way.npz: is a web page, not the file itself" in message(tmp_path)
