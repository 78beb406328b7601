"""Labels as people write them, for every source: scores of any scale, names and numbers of classes, and none."""

import logging

import numpy as np
import pandas as pd
import pytest

from elision.datasets._labels import as_classes, is_empty, moved, outside, scores
from elision.datasets._prepare import finish, prepare
from elision.errors import ElisionError
from elision.settings.params import DatasetSettings, Params, checked
from elision.store import Store, read_table

MELD = ["neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"]


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "NAN", "None", "null", "NULL", "NA", "n/a", "<NA>", "#N/A"])
def test_what_libraries_write_for_nothing_is_no_label(cell):
    assert is_empty(cell)


def test_a_class_may_have_such_a_name_where_classes_says_so():
    assert not is_empty("none", ["none", "irony"])
    assert is_empty("None", ["none", "irony"])


def test_scores_outside_the_range_and_words_are_problems_of_their_rows():
    settings = DatasetSettings(source="clips", scale=(1, 7))
    values, problems = scores(["1", "7", "0.5", "well", "", "3,5"], settings)
    np.testing.assert_array_equal(values, [1, 7, np.nan, np.nan, np.nan, np.nan])
    assert [rows for rows, _ in problems] == [[2], [3], [5]]
    assert problems[0][1].startswith("label is 0.5, not in [1, 7], the scale of this dataset")
    assert problems[2][1] == "label is '3,5', not a number (write a decimal point)"


def test_feature_files_may_have_scores_of_a_scale_and_samples_without_one():
    values = np.array([1, 7, 0.5, np.nan])
    assert outside(values, DatasetSettings(source="mmsa", scale=(1, 7))).tolist() == [False, False, True, False]


def test_a_scale_is_moved_end_to_end():
    assert moved([1, 4, 7, 2.5], (1, 7), 3.0).tolist() == [-3, 0, 3, -1.5]
    assert moved([0, 100], (0, 100), 1.0).tolist() == [-1, 1]


def test_numbers_are_places_in_classes():
    names, classes, problems = as_classes(["0", "6", "4.0", None], MELD)
    assert (names, classes, problems) == (["neutral", "anger", "joy", None], MELD, [])


def test_numbers_that_are_the_names_of_classes_are_names():
    assert as_classes(["1", "2", "1"], ["2", "1"])[0] == ["1", "2", "1"]
    assert as_classes(["1.0", "2.0"], ["1", "2"])[0] == ["1", "2"]


def test_numbers_beyond_classes_are_refused():
    (found,) = as_classes(["1", "7", "2", "7"], MELD)[2]
    assert found[0] == [1, 3]
    assert found[1].startswith("label is 7, but classes has 7 names, for the numbers 0 to 6; number the labels from 0")


def test_one_and_one_point_nought_are_one_class():
    names, classes, problems = as_classes(["0", "1", "1.0", "10", "2"], None)
    assert (names, classes, problems) == (["0", "1", "1", "10", "2"], ["0", "1", "2", "10"], [])


@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [
        (["happy", "Happy", "happy"], [1], "labels 'Happy', 'happy' differ by case, accents or spaces alone"),
        (["\u00e9te", "e\u0301te", "\u00e9te", "no"], [1], r"'e\u0301te', '\xe9te' differ by case, accents or"),
        (["very sad", "very  sad", "no", "very sad"], [1], "differ by case, accents or spaces alone"),
        (["happy", "happy"], [], "every label is 'happy'; a classification needs two classes or more"),
        (["anger, disgust", "joy"], [0], "label is 'anger, disgust'; the name of a class has no comma and no colon"),
        (["0.5", "1", "-2.4"], [0, 2], "label is 0.5, a score and no class; give classes and cuts, such as"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_classes_are_refused(labels, rows, message):
    ((found, what),) = as_classes(labels, None)[2]
    assert found == rows and message in what


@pytest.mark.parametrize(
    ("label", "hint"),
    [("Happy", "did you mean happy?"), ("hapy", "did you mean happy?"), ("zzz", "classes: happy, sad")],
)
def test_a_label_that_is_no_class_is_told_what_is_near(label, hint):
    (found,) = as_classes(["happy", "sad", label], ["happy", "sad"])[2]
    assert found[0] == [2] and hint in found[1]


# --- whatever the source


def samples(labels, **more):
    count = len(labels)
    splits = (["train", "valid", "test"] * count)[:count]
    return pd.DataFrame({"id": [f"u{k}" for k in range(count)], "label": labels, "split": splits, **more})


def test_all_scores_of_a_dataset_are_moved(caplog):
    caplog.set_level(logging.INFO)
    settings = DatasetSettings(source="mine", corpus="other", scale=(1, 7))
    found, classes = finish(samples([1.0, 4.0, 7.0], label_audio=[7.0, np.nan, 1.0]), settings, "here")
    assert found["label"].tolist() == [-3, 0, 3] and classes == []
    np.testing.assert_array_equal(found["label_audio"], [3, np.nan, -3])
    assert "here: scores moved from [1, 7] to [-3, 3]" in caplog.text


def test_scores_that_are_not_of_the_scale_are_refused():
    with pytest.raises(ElisionError, match=r"label of 1 sample \('u1'\) is outside \[1, 7\], the scale"):
        finish(samples([1.0, 0.0, 7.0]), DatasetSettings(source="mine", scale=(1, 7)), "here")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": [7, 1]}, "scale must be the lowest score and then the highest"),
        ({"scale": [1, 7], "task": "classification"}, "scale needs task: regression"),
        ({"scale": [1, 2, 3]}, "scale"),
    ],
)
def test_a_scale_that_means_nothing_is_refused(settings, message):
    with pytest.raises(ElisionError, match=message):
        checked({"datasets": {"mine": {"source": "demo", **settings}}, "methods": ["majority"]}, "here")


def test_numbers_of_classes_become_names_whatever_holds_them():
    settings = DatasetSettings(source="mine", task="classification", classes=["a", "b", "c"])
    for labels in ([0.0, 1.0, 2.0, 1.0], ["0", "1", "2", "1"], ["a", "b", "c", "b"]):
        found, classes = finish(samples(labels), settings, "here")
        assert (found["label"].tolist(), classes) == (["a", "b", "c", "b"], ["a", "b", "c"])


def test_a_single_class_is_refused():
    with pytest.raises(ElisionError, match="every label is 'sad'; a classification needs two classes or more"):
        finish(samples(["sad"] * 3), DatasetSettings(source="mine", task="classification"), "here")


def test_samples_without_a_label_are_left_out_with_their_sequences(tmp_path, monkeypatch, caplog, store):
    caplog.set_level(logging.INFO)
    from elision.datasets import mmsa

    table = store.samples.assign(duration=1.0, label=store.samples["label"].where(store.samples.index % 2 == 0))
    monkeypatch.setattr(mmsa, "prepare", lambda settings, folder: (table, store.modalities))
    monkeypatch.setattr(mmsa, "encoder", lambda settings: "minilm")
    entry = {"source": "mmsa", "file": str(tmp_path / "x.pkl"), "skip_unlabelled": True}
    params = Params.model_validate({"datasets": {"mine": entry}, "methods": ["majority"]})
    places = {"clips": tmp_path / "c", "media": tmp_path / "m", "store": tmp_path / "s"}
    prepare(params, "mine", **places, provenance={})
    found = Store.open(tmp_path / "s")
    assert found.samples["id"].tolist() == [f"sample_{k}" for k in range(0, 24, 2)]
    for name, sequences in found.modalities.items():
        assert len(sequences) == 12
        for k in range(12):
            np.testing.assert_array_equal(sequences[k], store.modalities[name][2 * k])
    assert found.provenance["unlabelled"] == 12
    assert "skip_unlabelled: left out 12 of 24 samples without a label" in caplog.text

    del entry["skip_unlabelled"]
    params = Params.model_validate({"datasets": {"mine": entry}, "methods": ["majority"]})
    with pytest.raises(ElisionError, match=r"12 samples without a label .* skip_unlabelled: true"):
        prepare(params, "mine", **places, provenance={})


def clips(folder, lines, **settings):
    (folder / "clips.csv").write_text("id,text,label,split\n" + lines, encoding="utf-8")
    entry = {"source": "clips", "folder": str(folder), **settings}
    params = Params.model_validate({"datasets": {"mine": entry}, "methods": ["majority"]})
    where = folder / "results" / "clips.parquet"
    prepare(params, "mine", clips=where, media=folder / "media", store=folder / "store", provenance={})
    return read_table(where)


def refused(folder, lines, **settings):
    with pytest.raises(ElisionError) as caught:
        clips(folder, lines, **settings)
    return str(caught.value)


def test_clips_without_a_label_are_left_out_before_their_media_are_opened(tmp_path):
    lines = "a,hi,1,train\nb,no,nan,train\nc,no,,valid\nd,ok,0,valid\ne,ok,2,test\n"
    table, provenance = clips(tmp_path, lines, skip_unlabelled=True)
    assert table["id"].tolist() == ["a", "d", "e"] and provenance["unlabelled"] == 2
    message = refused(tmp_path, lines)
    assert "line 3, id 'b': label is 'nan', which means that there is no label" in message
    assert "line 4, id 'c': there is no label; write a label, or set skip_unlabelled: true" in message


CLASS_NAN = "a,hi,happy,train\nb,no,nan,train\nc,no,sad,valid\nd,ok,sad,test\n"
ONE = "a,hi,0,train\nb,no,1,train\nc,no,1.0,valid\nd,ok,1,test\n"


def test_a_class_is_never_called_nan(tmp_path):
    message = refused(tmp_path, CLASS_NAN, task="classification")
    assert "line 3, id 'b': label is 'nan', which means that there is no label" in message
    table, _ = clips(tmp_path, CLASS_NAN, task="classification", skip_unlabelled=True)
    assert table["label"].tolist() == ["happy", "sad", "sad"]
    table, _ = clips(tmp_path, CLASS_NAN, task="classification", classes=["happy", "nan", "sad"])
    assert table["label"].tolist() == ["happy", "nan", "sad", "sad"]


def test_labels_one_and_one_point_nought_are_prepared_as_one_class(tmp_path):
    table, _ = clips(tmp_path, ONE, task="classification")
    found, classes = finish(table, DatasetSettings(source="clips", task="classification"), "here")
    assert (found["label"].tolist(), classes) == (["0", "1", "1", "1"], ["0", "1"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('a,hi,"anger, disgust",train\nb,no,joy,train\nc,ok,joy,valid\nd,ok,joy,test\n', "line 2, id 'a': label is"),
        ("a,x,happy,train\nb,x,Happy,train\nc,x,happy,valid\nd,x,Happy,test\ne,x,sad,test\n", "lines 3, 5: labels"),
        ("a,x,happy,train\nb,x,happy,valid\nc,x,happy,test\n", "every label is 'happy'"),
        ("a,x,0.2,train\nb,x,-1.4,valid\nc,x,2,test\n", "lines 2, 3: label is 0.2, a score and no class"),
    ],
)
def test_what_a_later_step_would_refuse_is_said_at_prepare_with_the_lines(tmp_path, lines, message):
    assert message in refused(tmp_path, lines, task="classification")


def test_folds_that_cannot_be_made_of_clips_are_refused_before_extraction(tmp_path):
    message = refused(tmp_path, "a,x,1,train\nb,x,0,valid\nc,x,1,test\n", folds={"by": "speaker", "count": 3})
    assert "3 samples without speaker" in message
