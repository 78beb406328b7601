import logging
import os
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from elision.datasets import gcnet
from elision.datasets._prepare import prepare as prepare_dataset
from elision.errors import ElisionError
from elision.settings.params import Params
from elision.store import Store
from elision.task import TaskKind

CLASSES = ["happy", "sad", "neutral", "angry"]
WIDTHS = {"audio": 5, "text": 6, "vision": 4}
SETS = {"text": "deberta-large-4-UTT", "audio": "wav2vec-large-c-UTT", "vision": "manet_UTT"}


def iemocap():
    """The parts of the pickle: five sessions of four dialogues, F and M in turn."""
    dialogues = [f"Ses0{s}{g}_impro0{k}" for s in range(1, 6) for g in "FM" for k in (1, 2)]
    speakers = {d: ["F", "M", "F"][: 2 + i % 2] for i, d in enumerate(dialogues)}
    ids = {d: [f"{d}_{s}00{k}" for k, s in enumerate(speakers[d])] for d in dialogues}
    labels = {d: [(i + k) % 4 for k in range(len(ids[d]))] for i, d in enumerate(dialogues)}
    sentences = {d: [f"words of {name}" for name in ids[d]] for d in dialogues}
    test = {d for d in dialogues if d[4] == "5"}
    return [ids, labels, speakers, sentences, set(dialogues) - test, test]


def mosi():
    dialogues = [f"video{k}" for k in range(6)]
    ids = {d: [f"{d}_{k}" for k in range(1, 4)] for d in dialogues}
    labels = {d: np.array([-3.0, 0.2, 2.6], np.float32) for d in dialogues}
    everyone = {d: [""] * 3 for d in dialogues}
    return [ids, labels, everyone, everyone, set(dialogues[:3]), {dialogues[3]}, set(dialogues[4:])]


def write(root, parts, protocol=2):
    """A small tree in the published layout; returns the vectors that the speaker should have."""
    random = np.random.default_rng(3)
    path = root / "labels.pkl"
    path.write_bytes(pickle.dumps(tuple(parts), protocol=protocol))
    expected = {}
    for modality, name in SETS.items():
        folder = root / "features" / name
        folder.mkdir(parents=True, exist_ok=True)
        for dialogue, utterances in parts[0].items():
            for k, utterance in enumerate(utterances):
                vectors = random.normal(size=(2, WIDTHS[modality])).astype("f4")
                speaker = parts[2][dialogue][k]
                if modality == "vision" and speaker:
                    (folder / utterance).mkdir(exist_ok=True)
                    for letter, vector in zip("FM", vectors, strict=True):
                        np.save(folder / utterance / f"compress_{letter}.npy", vector)
                else:
                    np.save(folder / f"{utterance}.npy", vectors[:1] if modality == "text" else vectors[0])
                expected[modality, utterance] = vectors["FM".index(speaker) if modality == "vision" and speaker else 0]
    return expected


def settings(root, corpus="iemocap", **options):
    if corpus == "iemocap":
        options = {"classes": CLASSES} | options
    return gcnet.Settings(
        source="gcnet", corpus=corpus, labels=root / "labels.pkl", features=root / "features", **options
    )


def prepare(root, corpus="iemocap", **options):
    return gcnet.prepare(settings(root, corpus, **options), root)


def message(root, parts=None, corpus="iemocap", **options):
    if parts is not None:
        write(root, parts)
    with pytest.raises(ElisionError) as caught:
        prepare(root, corpus, **options)
    return str(caught.value)


def test_utterances_keep_their_dialogue_speaker_and_place(tmp_path):
    parts = iemocap()
    write(tmp_path, parts)
    samples, _ = prepare(tmp_path)
    assert samples["id"].tolist() == [name for d in sorted(parts[0]) for name in parts[0][d]]
    for dialogue, same in samples.groupby("dialogue"):
        assert same["position"].tolist() == list(range(len(parts[0][dialogue])))
        assert same["id"].tolist() == parts[0][dialogue]
        assert same["text"].tolist() == parts[3][dialogue]
        assert same["label"].tolist() == [CLASSES[k] for k in parts[1][dialogue]]
        assert same["speaker"].tolist() == [f"{dialogue[:5]}_{letter}" for letter in parts[2][dialogue]]
    assert samples.attrs["classes"] == CLASSES
    assert samples["duration"].isna().all()


def test_each_fold_leaves_a_session_out_and_validates_on_whole_dialogues(tmp_path):
    write(tmp_path, iemocap())
    assert settings(tmp_path).fold_count() == 5
    samples, _ = prepare(tmp_path)
    assert "split" not in samples
    held = []
    for fold in range(1, 6):
        column = samples[f"fold-{fold}"]
        assert set(samples["dialogue"].str[4][column == "test"]) == {str(fold)}
        assert (samples["dialogue"].str[4][column != "test"] != str(fold)).all()
        assert (samples.assign(split=column).groupby("dialogue")["split"].nunique() == 1).all()
        held.append(frozenset(samples["dialogue"][column == "valid"]))
        assert len(held[-1]) == 2  # a tenth of 16
    assert len(set(held)) > 1
    assert prepare(tmp_path)[0].equals(samples)
    assert not prepare(tmp_path, seed=7)[0].equals(samples)
    half = prepare(tmp_path, validation=0.5)[0]
    assert half.loc[half["fold-1"] == "valid", "dialogue"].nunique() == 8


def test_the_vector_is_that_of_the_one_who_speaks(tmp_path):
    expected = write(tmp_path, iemocap())
    samples, modalities = prepare(tmp_path)
    assert list(modalities) == ["text_features", "audio", "vision"]
    for key, sequences in modalities.items():
        modality = key.removesuffix("_features")
        assert sequences.header.modality == key and sequences.header.extractor == SETS[modality]
        assert sequences.header.length == 1 and sequences.width == WIDTHS[modality]
        assert sequences.values.dtype == np.float32
        for i, name in enumerate(samples["id"]):
            assert np.array_equal(sequences[i], expected[modality, name][np.newaxis])


def test_frames_are_averaged(tmp_path):
    write(tmp_path, iemocap())
    first, second = "Ses01F_impro01_F000", "Ses01F_impro01_M001"
    frames = np.random.default_rng(0).normal(size=(7, WIDTHS["vision"])).astype("f4")
    np.save(tmp_path / "features" / SETS["audio"] / f"{first}.npy", np.arange(10.0).reshape(1, 2, 5))
    folder = tmp_path / "features" / SETS["vision"]
    for k, frame in enumerate(frames):
        np.save(folder / first / f"F_{k}.npy", frame)
    (folder / first / "compress_F.npy").unlink()
    (folder / second / "compress_M.npy").unlink()
    _, modalities = prepare(tmp_path)
    assert modalities["audio"][0].tolist() == [[2.5, 3.5, 4.5, 5.5, 6.5]]
    np.testing.assert_allclose(modalities["vision"][0][0], frames.mean(0), rtol=1e-6)
    assert len(modalities["vision"][1]) == 0  # only the other person was seen


def test_a_vector_of_zeros_is_an_absent_modality(tmp_path, caplog):
    expected = write(tmp_path, iemocap())
    name = "Ses03M_impro02_M001"
    np.save(tmp_path / "features" / SETS["vision"] / name / "compress_M.npy", np.zeros(WIDTHS["vision"]))
    with caplog.at_level(logging.INFO):
        samples, modalities = prepare(tmp_path)
    row = samples["id"].tolist().index(name)
    assert (modalities["vision"].lengths == 0).nonzero()[0].tolist() == [row]
    assert np.array_equal(modalities["vision"][row + 1][0], expected["vision", samples["id"][row + 1]])
    assert f"vision: absent from 1 sample: '{name}'" in caplog.text


def test_without_cross_validation_the_split_is_that_of_the_file(tmp_path):
    write(tmp_path, iemocap())
    samples, _ = prepare(tmp_path, cross_validation=0)
    assert settings(tmp_path, cross_validation=0).fold_count() == 0
    session = samples["dialogue"].str[4]
    assert ((samples["split"] == "test") == (session == "5")).all()
    assert samples.loc[samples["split"] == "valid", "dialogue"].nunique() == 2


def test_mosi_has_scores_videos_and_a_split(tmp_path):
    parts = mosi()
    expected = write(tmp_path, parts)
    samples, modalities = prepare(tmp_path, "mosi")
    assert settings(tmp_path, "mosi").task is TaskKind.REGRESSION and settings(tmp_path, "mosi").fold_count() == 0
    assert samples["label"].tolist() == [float(np.float32(x)) for x in (-3, 0.2, 2.6)] * 6
    assert samples["split"].tolist() == ["train"] * 9 + ["valid"] * 3 + ["test"] * 6
    assert (samples["speaker"] == samples["dialogue"]).all() and samples["dialogue"][0] == "video0"
    assert "classes" not in samples.attrs
    assert np.array_equal(modalities["vision"][4][0], expected["vision", "video1_2"])


def test_a_modality_can_be_left_out(tmp_path):
    write(tmp_path, iemocap())
    assert list(prepare(tmp_path, text=None, vision=None)[1]) == ["audio"]
    with pytest.raises(ValidationError, match="name a feature set"):
        settings(tmp_path, text=None, audio=None, vision=None)


def test_names_must_be_exactly_the_same(tmp_path):
    parts = mosi()
    parts[0]["video0"][2] = "video0_12"  # begins as video0_1 does
    expected = write(tmp_path, parts)
    samples, modalities = prepare(tmp_path, "mosi")
    for i in (0, 2):
        assert np.array_equal(modalities["audio"][i][0], expected["audio", samples["id"][i]])
    folder = tmp_path / "features" / SETS["audio"]
    (folder / "video0_1.npy").unlink()
    text = message(tmp_path, corpus="mosi")
    assert f"{folder}: 1 sample ('video0_1'): no .npy file and no folder of exactly this name" in text


def test_what_is_wrong_with_vectors_names_folder_sample_and_remedy(tmp_path):
    write(tmp_path, mosi())
    folder = tmp_path / "features" / SETS["audio"]
    np.save(folder / "video0_2.npy", np.full(5, np.nan))
    np.save(folder / "video0_3.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "video1_1.npy", np.ones(4))
    (folder / "video1_2.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "video1_3.npy", np.array(["a"]))
    (folder / "video2_1").mkdir()
    lines = [
        f"{folder}: 1 sample ('video0_2'): nan or inf; extract the features again",
        f"{folder}: 1 sample ('video0_3'): Python objects, not numbers",
        f"{folder}: 1 sample ('video1_1'): 4 dimensions, others 5",
        f"{folder}: 1 sample ('video1_2'): cannot be read; copy or extract the file again",
        f"{folder}: 1 sample ('video1_3'): not an array of numbers",
        f"{folder}: 1 sample ('video2_1'): both a .npy file and a folder; delete one of them",
    ]
    text = message(tmp_path, corpus="mosi", vision="manet")
    assert all(line in text for line in lines)
    assert f"{tmp_path / 'features' / 'manet'}: 18 samples" in text and "no such folder; check features" in text


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        (1, lambda labels: labels["Ses01F_impro01"].append(0), "videoLabels has more or fewer entries than videoIDs"),
        (
            2,
            lambda speakers: speakers.pop("Ses01F_impro01"),
            "videoSpeakers lacks 1 dialogue of trainVid, testVid: 'Ses01F_",
        ),
        (
            5,
            lambda test: test.add("Ses01F_impro01"),
            "1 dialogue in more than one of trainVid, testVid: 'Ses01F_impro01'",
        ),
        (
            1,
            lambda labels: labels["Ses02F_impro01"].__setitem__(0, 4),
            "label of 1 utterance ('Ses02F_impro01_F000' 4) is",
        ),
        (1, lambda labels: labels["Ses02F_impro01"].__setitem__(0, 1.5), "is not 0 to 3, the numbers of the 4 classes"),
        (
            1,
            lambda labels: labels["Ses02F_impro01"].__setitem__(0, "sad"),
            "('Ses02F_impro01_F000' no number) is not 0 to 3",
        ),
        (2, lambda speakers: speakers["Ses02F_impro01"].__setitem__(0, "x"), "speaker is neither F nor M"),
        (0, lambda ids: ids["Ses02F_impro01"].__setitem__(1, "Ses02F_impro01_F000"), "1 utterance more than once"),
    ],
)
def test_what_is_wrong_with_the_pickle_is_named(tmp_path, part, change, expected):
    parts = iemocap()
    write(tmp_path, parts)
    change(parts[part])
    (tmp_path / "labels.pkl").write_bytes(pickle.dumps(tuple(parts)))
    text = message(tmp_path)
    assert expected in text and str(tmp_path / "labels.pkl") in text


def test_the_wrong_corpus_is_noticed(tmp_path):
    write(tmp_path, mosi())
    assert "it holds 7 parts, not videoIDs, videoLabels" in message(tmp_path)
    write(tmp_path, iemocap())
    assert "it holds 6 parts" in message(tmp_path, corpus="mosei") and "is corpus right" in message(
        tmp_path, corpus="mosei"
    )
    parts = mosi()
    parts[1]["video2"] = [4.0, 0.0, 0.0]
    assert "label of 1 utterance ('video2_1' 4) is outside [-3, 3]" in message(tmp_path, parts, "mosi")


def test_the_number_of_sessions_must_be_that_of_the_file(tmp_path):
    write(tmp_path, iemocap())
    assert "sessions 1, 2, 3, 4, 5, but cross_validation is 4" in message(tmp_path, cross_validation=4)
    with pytest.raises(ValidationError, match="mosi has one split and no sessions"):
        settings(tmp_path, "mosi", cross_validation=5)


def test_class_names_are_asked_for(tmp_path):
    with pytest.raises(ValidationError, match="the files do not name the classes; list the names"):
        settings(tmp_path, classes=None)


def test_a_pickle_of_python_2_is_read(tmp_path):
    """Strings are bytes there, and arrays hold them."""
    parts = iemocap()
    write(tmp_path, parts)
    path = tmp_path / "labels.pkl"
    # Protocol 2 writes text with BINUNICODE ("X", four bytes of length); Python 2 wrote str with SHORT_BINSTRING.
    sentence = "words of Ses01F_impro01_F000"
    content = path.read_bytes()
    new, old = b"X" + len(sentence).to_bytes(4, "little") + sentence.encode(), b"U\x05caf\xe9!"
    assert content.count(new) == 1
    path.write_bytes(content.replace(new, old))
    assert prepare(tmp_path)[0]["text"][0] == "café!"


def test_a_hostile_pickle_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    assert "this pickle wants to use" in message(tmp_path, [*iemocap()[:5], Hostile()])
    assert not (tmp_path / "marker").exists()


def test_inputs_are_the_labels_and_the_folders(tmp_path):
    assert gcnet.inputs(settings(tmp_path)) == []
    write(tmp_path, iemocap())
    folders = [tmp_path / "features" / name for name in SETS.values()]
    assert gcnet.inputs(settings(tmp_path)) == [tmp_path / "labels.pkl", *folders]


def test_a_prepared_dataset_is_a_store_with_folds(tmp_path):
    write(tmp_path, iemocap())
    entry = {"source": "gcnet", "labels": str(tmp_path / "labels.pkl"), "features": str(tmp_path / "features")}
    params = Params(datasets={"mine": entry | {"classes": CLASSES}}, methods=["majority"], seeds=[1])
    assert gcnet.Settings(**params.model_dump(mode="json")["datasets"]["mine"]) == params.datasets["mine"]
    assert params.runs("mine") == [f"seed-1.fold-{k}" for k in range(1, 6)]
    places = {"clips": tmp_path / "clips.parquet", "media": tmp_path / "media", "store": tmp_path / "store"}
    prepare_dataset(params, "mine", **places, provenance={"step": "prepare"})
    store = Store.open(tmp_path / "store")
    assert store.classes == tuple(CLASSES) and store.present == ("text", "audio", "vision")
    assert len(store.rows("test", 2)) == 10
    assert store.samples["position"].tolist()[:5] == [0, 1, 0, 1, 2]


def test_folds_of_the_user_replace_the_sessions(tmp_path):
    write(tmp_path, iemocap())
    entry = {"source": "gcnet", "labels": str(tmp_path / "labels.pkl"), "features": str(tmp_path / "features")}
    entry |= {"classes": CLASSES, "folds": {"by": "dialogue", "count": 3}}
    params = Params(datasets={"mine": entry}, methods=["majority"], seeds=[1])
    places = {"clips": tmp_path / "clips.parquet", "media": tmp_path / "media", "store": tmp_path / "store"}
    prepare_dataset(params, "mine", **places, provenance={"step": "prepare"})
    samples = Store.open(tmp_path / "store").samples
    assert [name for name in samples if name.startswith("fold-")] == ["fold-1", "fold-2", "fold-3"]
    assert len(params.runs("mine")) == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p[4].add(None), "trainVid should name dialogues by text"),
        (lambda p: p[4].add(""), "trainVid should name dialogues by text"),
        (lambda p: p[0].update({None: []}), "videoIDs should name dialogues by text"),
        (lambda p: p[1].update({"video1": 3}), "videoLabels should hold a list for each dialogue, unlike 'video1'"),
        (lambda p: p[1].update({"video1": "abc"}), "videoLabels should hold a list for each dialogue, unlike 'video1'"),
        (lambda p: p[0].update({"video1": np.array(3)}), "videoIDs should hold a list for each dialogue"),
        (
            lambda p: p[0]["video1"].__setitem__(1, ["x"]),
            "utterance 1 of dialogue 'video1': its id or words are no text",
        ),
        (lambda p: p[0]["video1"].__setitem__(1, "a\0"), "1 id that cannot be printed"),
        (lambda p: p[1].update(video1=[1j, 0, 0]), "label of 1 utterance ('video1_1' no number) is outside [-3, 3]"),
        (lambda p: p[1].update(video1=[10**30, 0, 0]), "label of 1 utterance ('video1_1' 1e+30) is outside [-3, 3]"),
        (
            lambda p: p[1].update(video1=[[1, 2], 0, 0]),
            "label of 1 utterance ('video1_1' no number) is outside [-3, 3]",
        ),
    ],
)
def test_what_is_no_text_or_number_is_named(tmp_path, change, told):
    parts = mosi()
    write(tmp_path, parts)
    change(parts)
    (tmp_path / "labels.pkl").write_bytes(pickle.dumps(tuple(parts)))
    assert told in message(tmp_path, None, "mosi")


def test_names_of_dialogues_may_be_bytes_or_numbers(tmp_path):
    parts = mosi()
    write(tmp_path, parts)
    expected, _ = prepare(tmp_path, "mosi")
    for name in (str.encode, lambda dialogue: int(dialogue.removeprefix("video"))):
        dicts = [{name(dialogue): entries for dialogue, entries in part.items()} for part in parts[:4]]
        sets = [set(map(name, part)) for part in parts[4:]]
        (tmp_path / "labels.pkl").write_bytes(pickle.dumps((*dicts, *sets)))
        samples, _ = prepare(tmp_path, "mosi")
        columns = ["id", "split", "label", "text", "position"]
        assert samples[columns].equals(expected[columns])
