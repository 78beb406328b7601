"""Feature files of MAG-BERT and MISA."""

import pickle

import numpy as np
import pytest

import python2
from elision.datasets import magbert
from elision.errors import ElisionError
from elision.features import text

random = np.random.default_rng(11)
SAID = {"train": ["so good", "well no", "a long way home"], "dev": ["oh"], "test": ["fine words", "bad"]}


def example(words, label, segment, form="mag"):
    words = words.split()
    vision, audio = (random.normal(size=(len(words), width)) for width in (4, 3))
    if form == "mag":
        return ((np.array(words), vision, audio), np.array([[label]], np.float32), segment)
    content = (np.arange(len(words)), vision, audio, words)
    return (content, np.array([[label, 0, 0, 0, 0, 0, 0]], np.float32), *([segment] if form == "misa" else []))


def make(form="mag"):
    return {
        name: [example(words, k - 1.5, f"{name}video[{k}]", form) for k, words in enumerate(texts)]
        for name, texts in SAID.items()
    }


def prepare(folder, content, dumps=pickle.dumps, **options):
    (folder / "mosi.pkl").write_bytes(dumps(content))
    settings = magbert.Settings(source="magbert", file=folder / "mosi.pkl", encoder="minilm", **options)
    return magbert.prepare(settings, folder)


def check(samples, modalities, content):
    examples = [each for name in SAID for each in content[name]]
    assert samples["text"].tolist() == [words for texts in SAID.values() for words in texts]
    assert samples["split"].tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert samples["label"].tolist() == [-1.5, -0.5, 0.5, -1.5, -1.5, -0.5]
    for k, each in enumerate(examples):
        np.testing.assert_array_equal(modalities["vision"][k], each[0][1].astype(np.float32))
        np.testing.assert_array_equal(modalities["audio"][k], each[0][2].astype(np.float32))
        expected = text.extract(samples["text"][k], encoder="minilm", max_length=50)
        np.testing.assert_array_equal(modalities["text"][k], expected)


@pytest.mark.parametrize("dumps", [pickle.dumps, python2.dumps], ids=["Python 3", "Python 2"])
def test_the_file_of_mag_bert_is_read_value_by_value(tmp_path, dumps):
    content = make()
    if dumps is python2.dumps:
        content = {n: [((list(map(str, w)), v, a), y, s) for (w, v, a), y, s in part] for n, part in content.items()}
    samples, modalities = prepare(tmp_path, content, dumps)
    check(samples, modalities, content)
    assert samples["id"].tolist()[:2] == ["trainvideo[0]", "trainvideo[1]"]
    assert samples["speaker"].tolist()[3:5] == ["devvideo", "testvideo"]


@pytest.mark.parametrize("form", ["misa", "misa without segments"])
def test_the_folder_of_misa_is_read_value_by_value(tmp_path, form):
    content = make(form)
    for name, examples in content.items():
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(examples))
    settings = magbert.Settings(source="magbert", file=tmp_path, encoder="minilm")
    check(*magbert.prepare(settings, tmp_path), content)
    samples, _ = magbert.prepare(settings, tmp_path)
    assert samples["id"].tolist()[3] == ("devvideo[0]" if form == "misa" else "dev_0")
    assert set(magbert.inputs(settings)) == {tmp_path / f"{name}.pkl" for name in SAID}
    (tmp_path / "dev.pkl").unlink()
    with pytest.raises(ElisionError, match=r"dev\.pkl: no such file"):
        magbert.prepare(settings, tmp_path)


def first(change):
    """A file whose first example of train is changed."""
    content = make()
    content["train"][0] = change(*content["train"][0])
    return content


PROBLEMS = {
    "list": ([1], "does not hold a dict with the keys train, dev and test"),
    "no dev": ({"train": [1], "test": [1]}, "does not hold a dict with the keys train, dev and test"),
    "empty": (make() | {"dev": []}, "dev should be lists of examples"),
    "form": (first(lambda *_: 7), "train: 1 example (number '0'): not ((words, vision, audio), label, segment)"),
    "ids of words": (
        first(lambda c, y, s: ((np.arange(2), *c[1:]), y, s)),
        "numbers of words without the words; save the words as text in their place",
    ),
    "frames": (first(lambda c, y, s: ((c[0], c[1][:1], c[2]), y, s)), "vision or audio of 1 frame for 2 words"),
    "nan": (first(lambda c, y, s: ((c[0], c[1] * np.nan, c[2]), y, s)), "nan or inf in vision or audio; write 0 there"),
    "label": (first(lambda c, y, s: (c, "good", s)), "a label that is not a number"),
    "range": (first(lambda c, y, s: (c, y + 9, s)), "a label outside [-3, 3], as 7.5; is corpus right in params.yaml?"),
    "segments": (first(lambda c, y, s: (c, y, "trainvideo[1]")), "1 segment more than once ('trainvideo[1]')"),
    "widths": (
        first(lambda c, y, s: ((c[0], c[1][:, :2], c[2]), y, s)),
        "vision: the examples differ in dimensions: 2, 4",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_told(tmp_path, name):
    content, expected = PROBLEMS[name]
    with pytest.raises(ElisionError) as caught:
        prepare(tmp_path, content)
    assert expected in str(caught.value)
