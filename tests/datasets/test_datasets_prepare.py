import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.io import wavfile

from elision.datasets._prepare import deal, finish, prepare
from elision.errors import ElisionError
from elision.settings.params import DatasetSettings, Folds, Params
from elision.store import read_table
from elision.task import split_columns


@pytest.fixture
def folder(tmp_path):
    """A user's folder with three spoken clips."""
    rows = []
    for i, split in enumerate(("train", "valid", "test")):
        wavfile.write(tmp_path / f"{i}.wav", 16000, _noise(i))
        rows.append({"id": f"clip_{i}", "path": f"{i}.wav", "label": i - 1, "split": split})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path


def _noise(seed):
    return (np.random.default_rng(seed).normal(0, 3000, 16000)).astype(np.int16)


def run(folder, media):
    params = Params(datasets={"mine": {"source": "clips", "folder": str(folder)}}, methods=["majority"])
    clips = folder / "results" / "clips.parquet"
    prepare(params, "mine", clips=clips, media=media, store=folder / "store", provenance={"identity": "x"})
    return read_table(clips)


def test_other_media_of_the_same_name_are_other_clips(folder, tmp_path):
    first, before = run(folder, tmp_path / "media")
    again, same = run(folder, tmp_path / "media")
    assert before == same
    pd.testing.assert_frame_equal(first, again)
    wavfile.write(folder / "1.wav", 16000, _noise(9))
    second, after = run(folder, tmp_path / "media")
    assert second["duration"].tolist() == first["duration"].tolist()
    assert before["data"] != after["data"]


def test_media_of_earlier_settings_are_forgotten_and_the_users_own_are_not(folder, tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    (media / "old.mp4").touch()
    run(folder, media)
    assert not list(media.iterdir())
    assert sorted(path.name for path in folder.glob("*.wav")) == ["0.wav", "1.wav", "2.wav"]


def test_an_empty_split_is_refused(folder, tmp_path):
    table = pd.read_csv(folder / "clips.csv")
    table["split"] = ["train", "train", "test"]
    table.to_csv(folder / "clips.csv", index=False)
    with pytest.raises(ElisionError, match="valid"):
        run(folder, tmp_path / "media")


def utterances(sizes, **columns):
    """As many utterances of each speaker as ``sizes`` says."""
    speakers = [f"speaker {k}" for k, size in enumerate(sizes) for _ in range(size)]
    ids = [f"u{i}" for i in range(len(speakers))]
    return pd.DataFrame({"id": ids, "speaker": speakers, "split": "train", "label": 0.0, **columns})


@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=12), st.integers(2, 4), st.floats(0.05, 0.9), st.integers(0, 99)
)
def test_every_group_is_tested_once_and_never_torn_apart(sizes, count, share, seed):
    samples = utterances(sizes)
    dealt = deal(samples, Folds(count=count, validation=share, seed=seed), "here")
    folds = [f"fold-{k + 1}" for k in range(count)]
    assert "split" not in dealt
    assert ((dealt[folds] == "test").sum(axis=1) == 1).all()
    for fold in folds:
        assert (dealt.groupby("speaker")[fold].nunique() == 1).all()
        assert set(dealt[fold]) == {"train", "valid", "test"}
    shuffled = samples.sample(frac=1, random_state=seed)
    again = deal(shuffled, Folds(count=count, validation=share, seed=seed), "here").sort_index()
    pd.testing.assert_frame_equal(again, dealt)


def test_as_many_folds_as_groups_leave_each_out_once():
    dealt = deal(utterances([3, 1, 2, 5]), Folds(count=4), "here")
    tested = {tuple(dealt.loc[dealt[f"fold-{k}"] == "test", "speaker"].unique()) for k in range(1, 5)}
    assert tested == {(f"speaker {k}",) for k in range(4)}


def test_folds_are_about_equally_large():
    dealt = deal(utterances([10, 10, 1, 1, 9, 9]), Folds(count=2), "here")
    assert (dealt["fold-1"] == "test").sum() == 20


def test_samples_of_other_splits_are_in_no_fold():
    samples = utterances([2, 2, 2, 2])
    samples.loc[0, "split"] = "unlabelled"
    dealt = deal(samples, Folds(count=2), "here")
    assert dealt.loc[0, ["fold-1", "fold-2"]].tolist() == ["unlabelled", "unlabelled"]


def sessions(seed=0):
    """Five sessions of six dialogues of ten utterances, whose classes are as rare as in a corpus."""
    names = np.random.default_rng(seed).choice(["neutral", "angry", "fear"], 300, p=[0.7, 0.25, 0.05])
    session = np.repeat(np.arange(5), 60)
    dialogue = [f"d{k % 6}" for k in np.repeat(np.arange(30), 10)]  # the same names in every session
    return utterances([300], session=session.astype(str), dialogue=dialogue, label=names)


@pytest.mark.parametrize("by", ["id", "dialogue"])
def test_validation_may_be_a_share_of_utterances_or_dialogues_of_the_training_sessions(by):
    samples = sessions()
    dealt = deal(samples, Folds(by="session", count=5, validation=0.1, validation_by=by), "here")
    for fold in (f"fold-{k}" for k in range(1, 6)):
        assert dealt.loc[dealt[fold] == "test", "session"].nunique() == 1
        valid = dealt[dealt[fold] == "valid"]
        assert len(valid) == (pytest.approx(24, abs=2) if by == "id" else pytest.approx(24, abs=8))
        assert valid["session"].nunique() > 1
        assert (dealt.groupby(["session", by])[fold].nunique() == 1).all(), "no dialogue is torn apart"
        if by == "id":  # stratified: every class has its share, and at least one sample
            wanted = (dealt.loc[dealt[fold] != "test", "label"].value_counts() * 0.1).clip(lower=1)
            assert (valid["label"].value_counts() - wanted).abs().max() <= 1
    shuffled = samples.sample(frac=1, random_state=3)
    again = deal(shuffled, Folds(by="session", count=5, validation=0.1, validation_by=by), "here").sort_index()
    pd.testing.assert_frame_equal(again, dealt)


def test_scores_are_stratified_by_five_groups_of_equal_size():
    samples = utterances([200] * 4, label=np.random.default_rng(1).normal(0, 1, 800).round(2))
    dealt = deal(samples, Folds(count=4, validation=0.1, validation_by="id"), "here")
    for fold in (f"fold-{k}" for k in range(1, 5)):
        rest = dealt[dealt[fold] != "test"]
        fifth = np.ceil(rest["label"].rank(pct=True) * 5)
        assert (fifth[rest[fold] == "valid"].value_counts() - fifth.value_counts() * 0.1).abs().max() <= 1


@hypothesis_settings(max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=3, max_size=8), st.floats(0.05, 0.9), st.integers(0, 99))
def test_validation_by_smaller_groups_leaves_something_to_train_on(sizes, share, seed):
    samples = utterances(sizes, label=[f"{k % 2}" for k in range(sum(sizes))])
    dealt = deal(samples, Folds(count=3, validation=share, validation_by="id", seed=seed), "here")
    for fold in ("fold-1", "fold-2", "fold-3"):
        assert set(dealt[fold]) == {"train", "valid", "test"}


def test_a_class_that_a_split_of_a_fold_lacks_is_told(caplog):
    samples = utterances([4] * 4, label=["sad", "glad", "sad", "glad"] * 3 + ["fear", "glad", "sad", "glad"])
    settings = DatasetSettings(source="clips", task="classification", folds={"count": 4})
    finish(samples, settings, "here")
    told = [line for line in caplog.messages if "has no sample of class fear" in line]
    assert len(told) == 8, "each fold has the speaker who is afraid in one of three splits"
    assert told[0].startswith("here: split ") and " of fold-1 has" in told[0]


def test_a_unit_of_resampling_that_no_sample_has_is_refused_at_prepare(folder, tmp_path):
    entry = {"source": "clips", "folder": str(folder)}
    content = {"datasets": {"mine": entry}, "methods": ["majority"], "statistics": {"cluster": "dialog"}}
    places = {"clips": tmp_path / "c", "media": tmp_path / "m", "store": tmp_path / "s"}
    with pytest.raises(ElisionError, match="unknown unit 'dialog' for dataset 'mine'; allowed: speaker, video, none"):
        prepare(Params.model_validate(content), "mine", **places, provenance={})


@pytest.mark.parametrize(
    ("samples", "folds", "message"),
    [
        (utterances([2] * 4), {"count": 2, "validation_by": "scene"}, "folds by 'scene', but the samples have id"),
        (utterances([2, 2]), {"count": 2}, "2 groups of samples by speaker; 2 folds need 4"),
        (utterances([2] * 4), {"count": 5}, "4 groups of samples by speaker; 5 folds need 5"),
        (utterances([2] * 4), {"count": 2, "by": "session"}, "folds by 'session', but the samples have id, speaker"),
        (utterances([1, 1, 1], speaker=["a", None, "b"]), {"count": 2}, "1 sample without speaker, as 'u1'"),
    ],
)
def test_folds_that_cannot_be_made_are_refused(samples, folds, message):
    with pytest.raises(ElisionError, match=message):
        deal(samples, Folds(**folds), "here")


def classified(samples, **settings):
    settings = DatasetSettings(source="clips", task="classification", **settings)
    samples = samples.assign(split=["train", "valid", "test"] * (len(samples) // 3))
    samples, classes = finish(samples, settings, "here")
    return samples["label"].tolist(), classes


def test_cuts_make_classes_of_scores_and_belong_to_the_upper_one():
    samples = utterances([6], label=[-3.0, -1.0, -0.99, 0.99, 1.0, 3.0])
    labels, classes = classified(samples, classes=["low", "middle", "high"], cuts=[-1, 1])
    assert labels == ["low", "middle", "middle", "middle", "high", "high"]
    assert classes == ["low", "middle", "high"]


def test_cuts_make_no_class_of_a_sample_without_a_score():
    samples = utterances([3], label=[-3.0, 3.0, np.nan])
    *named, unlabelled = classified(samples, classes=["low", "high"], cuts=[0])[0]
    assert named == ["low", "high"] and pd.isna(unlabelled)


def test_names_are_classes_in_the_order_that_is_given_else_of_the_source_else_of_the_alphabet():
    samples = utterances([3], label=["sad", "happy", "angry"])
    assert classified(samples)[1] == ["angry", "happy", "sad"]
    samples.attrs["classes"] = ["happy", "sad", "angry"]
    assert classified(samples)[1] == ["happy", "sad", "angry"]
    assert classified(samples, classes=["sad", "angry", "happy"])[1] == ["sad", "angry", "happy"]


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (
            ["sad", "glad", "sad"],
            {"classes": ["sad", "happy"]},
            r"'glad', which is no class; classes: sad, happy \('u1'\)",
        ),
        (["sad", "sad", "sad"], {"classes": ["sad", "happy"]}, "no sample of class happy"),
        ([0.0, 1.0, 2.0], {}, "the labels are scores; give classes and cuts in params.yaml"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, settings, message):
    with pytest.raises(ElisionError, match=message):
        classified(utterances([3], label=labels), **settings)


def test_a_column_of_the_user_that_begins_like_a_fold_holds_no_splits():
    assert split_columns(["id", "split", "fold-1", "fold-10", "fold-old", "folds"]) == ["split", "fold-1", "fold-10"]
