import logging

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from elision.datasets import mmin
from elision.datasets._prepare import prepare as prepare_dataset
from elision.errors import ElisionError
from elision.settings.params import Params
from elision.store import Store
from elision.task import TaskKind
from elision.training.data import Scale

CLASSES = ["angry", "happy", "sad", "neutral"]
SPEAKERS = [f"Ses{session:02}_{letter}" for session in range(1, 6) for letter in "FM"]
PER_SPEAKER = 4


def ids(corpus):
    if corpus == "iemocap":
        return [f"{s[:5]}F_impro01_{s[6]}{k:03}" for s in SPEAKERS for k in range(PER_SPEAKER)]
    if corpus == "msp":
        return [f"MSP-IMPROV-S01A-{g}0{k}-S-FM{j:02}" for k in range(1, 7) for g in "FM" for j in range(4)]
    return [f"_dI--eQ{k}_{j}" for k in range(6) for j in range(1, 5)]


def label(k):
    return k % len(CLASSES)


def folds_of(names, corpus, count):
    """Leave a speaker out to test and the next one to validate, as the published splits do."""
    groups = {"iemocap": lambda n: n[:5] + n[-4], "msp": lambda n: n[16:19], "mosi": lambda n: n.rsplit("_", 1)[0]}
    group = [groups[corpus](name) for name in names]
    speakers = list(dict.fromkeys(group))
    for k in range(count):
        test, valid = speakers[k % len(speakers)], speakers[(k + 1) % len(speakers)]
        place = {test: "tst", valid: "val"}
        yield {
            part: [n for n, g in zip(names, group, strict=True) if place.get(g, "trn") == part]
            for part in ("trn", "val", "tst")
        }


def write_part(folder, part, names, corpus, everyone):
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.array([label(everyone.index(name)) for name in names])
    if corpus == "iemocap":
        # Rows of bytes, as h5py's tools write them, and one-hot labels.
        np.save(folder / f"{part}_int2name.npy", np.array([[name.encode()] for name in names]))
        np.save(folder / f"{part}_label.npy", np.eye(len(CLASSES), dtype=np.float32)[numbers])
        return
    np.save(folder / f"{part}_int2name.npy", np.array(names))
    np.save(folder / f"{part}_label.npy", numbers if corpus == "msp" else numbers.astype(np.float32) - 1.4)


def write(root, corpus="iemocap", folds=None):
    """A small tree in the published layout; returns the arrays of each modality."""
    names = ids(corpus)
    random = np.random.default_rng(5)
    count = folds or {"iemocap": 10, "msp": 12, "mosi": 10}[corpus]
    for fold, parts in enumerate(folds_of(names, corpus, count), 1):
        for part, of_part in parts.items():
            write_part(root / "target" / str(fold), part, of_part, corpus, names)
    written = {}
    for modality, (name, width) in mmin.PUBLISHED[corpus].items():
        folder = root / {"text": "L", "audio": "A", "vision": "V"}[modality]
        folder.mkdir(exist_ok=True)
        length = {"text": 5, "audio": None, "vision": 6}[modality]
        arrays = {n: random.normal(3, 2, (length or random.integers(2, 8), width)).astype("f4") for n in names}
        for k, array in enumerate(arrays.values()):  # padding with zeros, and a frame without a face
            if modality != "audio":
                array[2 + k % 4 :] = 0
            if modality == "vision":
                array[0] = 0
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for n, array in arrays.items():
                file[n] = array
        written[modality] = arrays
    return written


def settings(root, corpus="iemocap", **options):
    if corpus != "mosi":
        options = {"classes": CLASSES} | options
    return mmin.Settings(source="mmin", root=root, corpus=corpus, **options)


def prepare(root, corpus="iemocap", **options):
    return mmin.prepare(settings(root, corpus, **options), root)


def message(root, corpus="iemocap", **options):
    with pytest.raises(ElisionError) as caught:
        prepare(root, corpus, **options)
    return str(caught.value)


def test_folds_labels_and_people_are_those_of_the_files(tmp_path):
    write(tmp_path)
    samples, _ = prepare(tmp_path)
    assert sorted(samples["id"]) == sorted(ids("iemocap"))
    assert samples.attrs["classes"] == CLASSES
    order = ids("iemocap")
    assert samples["label"].tolist() == [CLASSES[label(order.index(name))] for name in samples["id"]]
    assert set(samples["speaker"]) == set(SPEAKERS)
    first = samples.set_index("id").loc["Ses03F_impro01_M002"]
    assert (first["speaker"], first["dialogue"]) == ("Ses03_M", "Ses03F_impro01")
    assert "split" not in samples
    for fold, speaker in enumerate(SPEAKERS, 1):
        column = samples[f"fold-{fold}"]
        assert set(samples["speaker"][column == "test"]) == {speaker}
        assert set(samples["speaker"][column == "valid"]) == {SPEAKERS[fold % 10]}
        assert column.value_counts().to_dict() == {"train": 32, "valid": 4, "test": 4}
    assert "fold-11" not in samples
    assert samples["fold-1"].tolist() == ["train"] * 32 + ["valid"] * 4 + ["test"] * 4


def test_sequences_are_those_of_the_files_without_zeros(tmp_path):
    written = write(tmp_path)
    samples, modalities = prepare(tmp_path)
    assert list(modalities) == ["text_features", "audio", "vision"]
    assert [modalities[m].width for m in modalities] == [1024, 130, 342]
    assert [modalities[m].header.length for m in modalities] == [5, max(map(len, written["audio"].values())), 6]
    assert all(modalities[name].header.modality == name for name in modalities)
    for i, name in enumerate(samples["id"]):
        assert np.array_equal(modalities["audio"][i], written["audio"][name])
        text, vision = modalities["text_features"][i], modalities["vision"][i]
        real = int(written["text"][name].any(1).sum())
        assert np.array_equal(text, written["text"][name][:real])
        assert np.isnan(vision[0]).all()
        assert np.array_equal(vision[1:], written["vision"][name][1 : len(vision)])
        assert not written["vision"][name][len(vision) :].any()
        assert vision.dtype == text.dtype == np.float32


def test_zeros_are_frames_like_others_when_asked_for(tmp_path):
    written = write(tmp_path)
    samples, modalities = prepare(tmp_path, mask_zeros=False)
    masked = prepare(tmp_path)[1]
    for modality, sequences in modalities.items():
        theirs = written[modality.removesuffix("_features")]
        for i, name in enumerate(samples["id"]):
            assert np.array_equal(sequences[i], theirs[name])
        # Padded with zeros, what the model reads is the same, masked or not.
        assert sequences.header.length == masked[modality].header.length


def test_a_clip_without_any_face_lacks_vision(tmp_path, caplog):
    write(tmp_path)
    with h5py.File(tmp_path / "V" / "denseface.h5", "r+") as file:
        file["Ses01F_impro01_F000"][...] = 0
    with caplog.at_level(logging.INFO):
        samples, modalities = prepare(tmp_path)
    row = samples["id"].tolist().index("Ses01F_impro01_F000")
    assert (modalities["vision"].lengths == 0).nonzero()[0].tolist() == [row]
    assert "vision: absent from 1 sample: 'Ses01F_impro01_F000'" in caplog.text


def test_msp_has_numbers_of_classes_and_twelve_folds(tmp_path):
    write(tmp_path, "msp")
    samples, modalities = prepare(tmp_path, "msp")
    order = ids("msp")
    assert samples["label"].tolist() == [CLASSES[label(order.index(name))] for name in samples["id"]]
    assert settings(tmp_path, "msp").fold_count() == 12 and "fold-12" in samples
    assert set(samples["speaker"]) == {f"{g}0{k}" for g in "FM" for k in range(1, 7)}
    assert samples["dialogue"].isna().all()
    assert set(samples["speaker"][samples["fold-2"] == "test"]) == {"M01"}
    assert modalities["audio"].header.extractor == "comparE_raw"


def test_mosi_has_scores(tmp_path):
    write(tmp_path, "mosi")
    samples, modalities = prepare(tmp_path, "mosi")
    assert settings(tmp_path, "mosi").task is TaskKind.REGRESSION
    order = ids("mosi")
    expected = [label(order.index(name)) - 1.4 for name in samples["id"]]
    assert samples["label"].dtype == np.float64
    np.testing.assert_allclose(samples["label"], expected, atol=1e-6)
    assert "classes" not in samples.attrs
    assert samples["speaker"][0] == samples["dialogue"][0] == samples["id"][0].rsplit("_", 1)[0]
    assert [modalities[m].width for m in modalities] == [768, 74, 47]


def test_the_same_split_in_every_fold_can_be_one_split(tmp_path):
    write(tmp_path, "mosi", folds=1)
    options = {"cross_validation": 0}
    assert settings(tmp_path, "mosi", **options).fold_count() == 0
    one, _ = prepare(tmp_path, "mosi", **options)
    assert one["split"].value_counts().to_dict() == {"train": 16, "valid": 4, "test": 4}
    names = ids("mosi")
    for part, of_part in next(folds_of(names, "mosi", 1)).items():
        write_part(tmp_path / "target" / "2", part, of_part[::-1], "mosi", names)
    assert prepare(tmp_path, "mosi", **options)[0].equals(one)
    write(tmp_path, "mosi", folds=2)
    assert "fold 2 is not split as fold 1" in message(tmp_path, "mosi", **options)


def test_folds_of_the_user_replace_those_of_the_files(tmp_path):
    write(tmp_path)
    options = {"folds": {"by": "speaker", "count": 5}}
    samples, _ = prepare(tmp_path, **options)
    assert settings(tmp_path, **options).fold_count() == 5
    assert not [name for name in samples if name == "split" or name.startswith("fold-")]


def test_what_the_files_do_not_say_must_be_set(tmp_path):
    with pytest.raises(ValidationError, match="name the classes"):
        mmin.Settings(source="mmin", root=tmp_path)
    with pytest.raises(ValidationError, match="labels of iemocap are classes; leave out task: regression"):
        mmin.Settings(source="mmin", root=tmp_path, task="regression")
    with pytest.raises(ValidationError, match="needs classes and cuts"):
        settings(tmp_path, "mosi", task="classification", classes=["negative", "positive"])
    cut = settings(tmp_path, "mosi", task="classification", classes=["negative", "positive"], cuts=[0.0])
    write(tmp_path, "mosi")
    assert mmin.prepare(cut, tmp_path)[0]["label"].dtype == np.float64


@pytest.mark.parametrize(("found", "said"), [(3, 10), (10, 3), (2, None)])
def test_the_number_of_folds_must_be_that_of_the_files(tmp_path, found, said):
    write(tmp_path, folds=found)
    text = message(tmp_path, cross_validation=said)
    folds = ", ".join(str(k + 1) for k in range(found))
    assert f"there is folds {folds}, but it should have 1 to {said or 10}" in text
    assert str(tmp_path / "target") in text and "cross_validation" in text


def test_names_that_disagree_are_named(tmp_path):
    write(tmp_path)
    names, target = ids("iemocap"), tmp_path / "target"
    parts = list(folds_of(names, "iemocap", 10))
    write_part(target / "2", "val", [*parts[1]["val"], parts[1]["tst"][0]], "iemocap", names)
    write_part(target / "3", "trn", parts[2]["trn"][1:], "iemocap", names)
    write_part(target / "4", "tst", parts[3]["tst"] * 2, "iemocap", names)
    text = message(tmp_path)
    assert f"fold 2: 1 id in test and in valid: '{parts[1]['tst'][0]}'; splits must not share utterances" in text
    assert f"fold 3 lacks 1 id: '{parts[2]['trn'][0]}'" in text
    assert "fold 4: 4 ids twice in test" in text
    assert text.count("\n") == 3


def test_labels_that_disagree_are_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "target" / "7" / "trn_label.npy"
    labels = np.load(path)
    labels[3] = labels[3][[1, 2, 3, 0]]
    np.save(path, labels)
    name = np.load(path.with_name("trn_int2name.npy"))[3, 0].decode()
    assert f"fold 7: 1 label other than in fold 1: '{name}'" in message(tmp_path)


def test_labels_must_fit_the_classes(tmp_path):
    write(tmp_path)
    assert "labels are of 4 classes; classes names 3" in message(tmp_path, classes=CLASSES[:3])
    (tmp_path / "msp").mkdir()
    write(tmp_path / "msp", "msp")
    assert "labels are of 4 classes; classes names 5" in message(tmp_path / "msp", "msp", classes=[*CLASSES, "fear"])
    for path in (tmp_path / "target").glob("*/*_label.npy"):
        np.save(path, np.load(path) * 2)
    assert "label of 40 ids" in (text := message(tmp_path)) and "its row is not one-hot" in text


def test_scores_must_be_in_the_range(tmp_path):
    write(tmp_path, "mosi")
    for path in (tmp_path / "target").glob("*/*_label.npy"):
        np.save(path, np.load(path) * 2)
    assert "is no score in [-3, 3]; is corpus right" in message(tmp_path, "mosi")


def test_what_is_wrong_with_sequences_names_file_sample_and_remedy(tmp_path):
    write(tmp_path)
    first, second, third = ids("iemocap")[:3]
    with h5py.File(tmp_path / "A" / "comparE.h5", "r+") as file:
        del file[first]
        file[second][0, 0] = np.nan
    with h5py.File(tmp_path / "V" / "denseface.h5", "r+") as file:
        del file[third]
        file[third] = np.ones((3, 341))
    (tmp_path / "L" / "bert_large.h5").write_bytes(b"no HDF5")
    text = message(tmp_path)
    assert f"A/comparE.h5: 1 sample ('{first}'): no dataset of this name; extract it" in text
    assert f"A/comparE.h5: 1 sample ('{second}'): nan or inf" in text
    assert "V/denseface.h5: the samples differ in dimensions: 341, 342" in text
    assert "L/bert_large.h5: cannot be read" in text
    (tmp_path / "L" / "bert_large.h5").unlink()
    assert "L/bert_large.h5: no such file; check root and text in params.yaml" in message(tmp_path)


def test_published_files_must_have_the_published_width_and_others_any(tmp_path):
    write(tmp_path)
    with h5py.File(tmp_path / "A" / "comparE.h5", "w") as file:
        for name in ids("iemocap"):
            file[name] = np.ones((2, 7))
    assert "7 dimensions, but the published comparE of iemocap has 130" in message(tmp_path)
    (tmp_path / "A" / "comparE.h5").rename(tmp_path / "A" / "mine.h5")
    _, modalities = prepare(tmp_path, audio="mine")
    assert modalities["audio"].width == 7 and modalities["audio"].header.extractor == "mine"


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("val_int2name", np.array([[b"a"], [1]], object), "2/val_int2name.npy: holds Python objects"),
        ("val_int2name", np.arange(4), "2/val_int2name.npy: int64 (4,), not ids as text"),
        ("val_label", np.zeros((3, 4)), "2/val_label.npy: float64 (3, 4), not numbers (N,) or one-hot rows"),
        ("val_label", b"", "2/val_label.npy: cannot be read"),
        ("val_label", None, "2/val_label.npy: no such file"),
    ],
)
def test_broken_targets_are_named(tmp_path, file, content, expected):
    write(tmp_path)
    path = tmp_path / "target" / "2" / f"{file}.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    assert expected in message(tmp_path)


def test_inputs_are_the_files_that_exist(tmp_path):
    assert mmin.inputs(settings(tmp_path)) == []
    write(tmp_path)
    found = mmin.inputs(settings(tmp_path))
    assert len(found) == 3 + 10 * 6 and found[0] == tmp_path / "L" / "bert_large.h5"
    (tmp_path / "target").rename(tmp_path / "folds")
    assert len(mmin.inputs(settings(tmp_path))) == 3
    assert len(mmin.inputs(settings(tmp_path, target=tmp_path / "folds"))) == 63
    assert prepare(tmp_path, target=tmp_path / "folds")[0]["fold-10"].notna().all()
    assert "no folder 1" in message(tmp_path)


def test_a_prepared_dataset_is_a_store_with_folds(tmp_path):
    written = write(tmp_path)
    entry = {"source": "mmin", "root": str(tmp_path), "classes": CLASSES}
    params = Params(datasets={"mine": entry}, methods=["majority"])
    assert mmin.Settings(**params.model_dump(mode="json")["datasets"]["mine"]) == params.datasets["mine"]
    assert len(params.runs("mine")) == 30
    places = {"clips": tmp_path / "clips.parquet", "media": tmp_path / "media", "store": tmp_path / "store"}
    prepare_dataset(params, "mine", **places, provenance={"step": "prepare"})
    store = Store.open(tmp_path / "store")
    assert store.classes == tuple(CLASSES) and store.present == ("text", "audio", "vision")
    assert len(store.rows("test", 3)) == 4
    # What standardisation measures is what the published mean and standard deviation of the fold are.
    names = next(folds_of(ids("iemocap"), "iemocap", 1))["trn"]
    frames = np.concatenate([written["audio"][name] for name in names])
    scale = Scale.of(store, "audio", 1)
    np.testing.assert_allclose(scale.mean, frames.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scale.std, frames.std(0), rtol=1e-4)


def test_a_pointer_in_the_place_of_the_features_is_named(tmp_path):
    write(tmp_path)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / "A" / "comparE.h5").write_text(pointer)
    assert "comparE.h5: is a Git LFS pointer, not the file itself; type in its repository: git lfs pull" in (
        message(tmp_path)
    )
