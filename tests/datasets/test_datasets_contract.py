from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from elision.datasets import _contract, _prepare
from elision.datasets._contract import check, check_source
from elision.errors import ElisionError
from elision.settings import params
from elision.settings.params import DatasetSettings, Params
from elision.store import Header, Sequences


class Settings(DatasetSettings):
    source: Literal["mine"]


def source(**names) -> ModuleType:
    module = ModuleType("elision.datasets.mine")
    vars(module).update(
        {
            "__file__": "datasets/mine.py",
            "MAKES": "sequences",
            "Settings": Settings,
            "inputs": lambda settings: [],
            "prepare": lambda settings, folder: made(),
            "encoder": lambda settings: "minilm",
        }
        | names
    )
    return module


def table(**columns) -> pd.DataFrame:
    """Three samples; a column that is given as None is left out."""
    given = {
        "id": ["a", "b", "c"],
        "label": [1.0, -2.5, 0.0],
        "split": ["train", "valid", "test"],
        "text": ["words", None, ""],
        "speaker": ["kim", "lee", None],
        "duration": [1.5, np.nan, 0.0],
    } | columns
    return pd.DataFrame({name: pd.Series(cells) for name, cells in given.items() if cells is not None})


def clips(file: Path, **columns) -> pd.DataFrame:
    file.touch()
    media = {"path": [str(file), None, None], "has_audio": [True, False, False], "has_vision": False, "words": None}
    made = table(fps=[25.0, np.nan, np.nan])
    for name, cells in (media | columns).items():
        made[name] = pd.Series(cells, dtype=object) if isinstance(cells, list) and name in ("path", "words") else cells
    return made


def audio(values=None, **header) -> Sequences:
    values = np.ones((3, 2), np.float32) if values is None else values
    header = {"modality": "audio", "length": 2, "extractor": "x", "features": ["f", "g"]} | header
    return Sequences(values, np.array([0, 2, 2, 3]), Header(**header))


def tokens(**header) -> Sequences:
    header = {"modality": "text", "length": 2, "extractor": "minilm", "settings": {"unk": 100}} | header
    return Sequences(np.array([101, 102, 7], np.int32), np.array([0, 2, 2, 3]), Header(**header))


def made(columns=None, **modalities):
    return table(**(columns or {})), {"audio": audio(), "text": tokens()} | modalities


def settings(**options) -> Settings:
    return Settings(source="mine", **options)


def refusal(made, *, of=None, **options) -> str:
    with pytest.raises(ElisionError) as caught:
        check(of or source(), settings(**options), made)
    message = str(caught.value)
    assert message.startswith("datasets/mine.py: ")
    return message


def test_what_keeps_the_contract_is_accepted(tmp_path):
    check(source(), settings(), made())
    check(source(MAKES="clips"), settings(), clips(tmp_path / "a.wav", words=['[["so", 0.1, 0.3]]', None, None]))
    lost = np.array([[np.nan, np.nan], [1, 2], [3, 4]], np.float32)
    check(source(), settings(), made({"mood": ["x", None, "y"], "take": 1}, audio=audio(lost)))
    named = {"label": ["sad", "glad", None], "split": ["train", "test", "unlabelled"]}
    check(source(), settings(task="classification"), made(named))
    check(source(), settings(folds={"count": 2}), made({"split": None}))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"id": None}, {}, "column id is missing; give text that can be printed"),
        ({"speaker": None}, {}, "column speaker is missing; give a name; None where"),
        ({"id": ["a", "b", "a"]}, {}, "column id has 1 id more than once ('a'); ids must differ"),
        ({"id": ["a", "b", "c\x07"]}, {}, "column id has 1 id that cannot be printed"),
        ({"id": [1, 2, 3]}, {}, "column id is 1 for 3 samples ('1', '2', '3'); give text"),
        ({"text": ["a", "b", 4]}, {}, "column text is 4 for 1 sample ('c'); give the transcript"),
        ({"text": pd.Series(["a", "b", "\ud800"], dtype=object)}, {}, "column text is '\\ud800' for 1 sample ('c')"),
        ({"speaker": ["a", "", None]}, {}, "column speaker is '' for 1 sample ('b'); give a name; None"),
        ({"duration": [1.0, -1.0, np.inf]}, {}, "column duration is -1.0 for 2 samples ('b', 'c'); give seconds"),
        ({"position": [0.0, np.inf, 1.0]}, {}, "column position is inf for 1 sample ('b'); give a number that rises"),
        ({"label_text": ["a", "b", "c"]}, {}, "column label_text is 'a' for 3 samples"),
        ({"mood": ["x", 1, None]}, {}, "column mood does not hold text alone"),
        ({"length_audio": 1}, {}, "columns 'length_audio' are added by the workflow"),
        ({"label": [1.0, 3.5, 0.0]}, {}, "column label of 1 sample ('b') is outside [-3, 3], the range of corpus mosi"),
        ({"label": ["x", "y", "z"]}, {}, "column label holds 'x', but the settings want scores; give numbers"),
        ({"label": ["x", 1.0, "z"]}, {"task": "classification"}, "column label holds scores and names"),
        ({"label": ["x", "y:z", "z"]}, {"task": "classification"}, "column label is 'y:z' for 1 sample ('b')"),
        ({"split": None}, {}, "column split is missing; give train, valid or test for each sample"),
        ({"split": ["train", None, "test"]}, {}, "column split is nan for 1 sample ('b'); give train, valid"),
        ({"fold-1": "train"}, {}, "columns of folds are fold-1, but settings.fold_count() is 0; give none"),
        (
            {"fold-1": "train"},
            {"folds": {"count": 2}},
            "columns of folds are fold-1, but settings.folds is set; give none",
        ),
    ],
)
def test_a_wrong_column_is_named_with_what_to_give(columns, options, message):
    assert message in refusal(made(columns), **options)


def test_folds_of_the_source_are_as_many_as_the_settings_count():
    class Folded(Settings):
        def fold_count(self) -> int:
            return 2

    folds = {"split": None, "fold-1": ["train", "valid", "test"], "fold-2": ["test", "train", "valid"]}
    check(source(), Folded(source="mine"), made(folds))
    for wrong in (folds | {"fold-2": None}, folds | {"fold-3": folds["fold-1"]}):
        with pytest.raises(ElisionError, match=r"settings\.fold_count\(\) is 2; give fold-1, fold-2"):
            check(source(), Folded(source="mine"), made(wrong))
    with pytest.raises(ElisionError, match="column split is there beside the folds; leave it out"):
        check(source(), Folded(source="mine"), made(folds | {"split": folds["fold-1"]}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["nothing.wav", None, None]}, "column path names files that do not exist ('nothing.wav')"),
        ({"has_vision": [False, True, False]}, "columns has_audio and has_vision are True without a path for 'b'"),
        ({"has_vision": [0, 1, 0]}, "column has_vision is 0 for 3 samples"),
        (
            {"words": ["so", None, None]},
            "column words is 'so' for 1 sample ('a'); give JSON list of [word, start, end]",
        ),
        ({"words": ['[["so", 2, 1]]', None, None]}, "column words is"),
        ({"fps": [0.0, 1.0, 1.0]}, "column fps is 0.0 for 1 sample ('a')"),
        ({"fold-1": "train"}, "columns of folds are fold-1, but a table of clips has a split; give none"),
    ],
)
def test_a_wrong_column_of_clips_is_named(tmp_path, columns, message):
    assert message in refusal(clips(tmp_path / "a.wav", **columns), of=source(MAKES="clips"))


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        ({"smell": audio()}, "modality 'smell' is not known; give text, audio, vision, text_features"),
        ({"audio": np.ones(3)}, "modality 'audio' is ndarray; give Sequences"),
        ({"audio": audio(np.ones((3, 2)))}, "values of audio is wrong; give all sequences end to end: float32"),
        ({"audio": audio(np.ones(3, np.float32))}, "values of audio is wrong"),
        ({"text": replace(tokens(), values=np.ones(3, np.int64))}, "values of text is wrong"),
        ({"audio": replace(audio(), offsets=np.array([0, 2, 3, 2]))}, "offsets of audio is wrong; give int64 (N + 1,)"),
        (
            {"audio": replace(audio(), times=np.array([0.2, 0.1, 0.3]))},
            "times of audio is wrong; give seconds of the sa",
        ),
        ({"audio": replace(audio(), times=np.array([0.2, np.nan, 0.3]))}, "times of audio is wrong"),
        ({"audio": replace(audio(), times=np.zeros(2))}, "times of audio is wrong"),
        ({"audio": replace(audio(), offsets=np.array([0, 1, 3]))}, "audio has 2 sequences for 3 samples; give one per"),
        ({"audio": audio(np.array([[1, 2], [3, np.nan], [5, 6]], "f4"))}, "values of audio of 1 sample ('a') have inf"),
        ({"audio": audio(np.array([[1, 2], [3, 4], [5, np.inf]], "f4"))}, "values of audio of 1 sample ('c') have inf"),
        ({"vision": audio()}, "header.modality of vision is wrong; give the key of the modality"),
        ({"audio": audio(length=1)}, "header.length of audio is wrong; give padded length"),
        ({"audio": audio(rate=0.0)}, "header.rate of audio is wrong"),
        ({"audio": audio(features=["f"])}, "header.features of audio is wrong; give d names"),
        ({"audio": audio(features=["f", "f"])}, "header.features of audio is wrong; give d names"),
        ({"audio": audio(extractor="")}, "header.extractor of audio is wrong; give what made the values"),
        ({"audio": audio(settings={"at": np.nan})}, "header.settings of audio is wrong; give what else matters"),
        ({"text": tokens(settings={})}, "header.settings of text is wrong"),
        ({"text": tokens(extractor="bert")}, "extractor of text is 'bert', but encoder(settings) names 'minilm'"),
        (
            {"text_features": replace(audio(modality="text_features"), offsets=np.array([0, 1, 2, 3]))},
            "text and text_features differ in lengths",
        ),
    ],
)
def test_a_wrong_part_of_the_sequences_is_named_with_what_to_give(modalities, message):
    assert message in refusal(made(None, **modalities))


@pytest.mark.parametrize("returned", [None, [], table(), (table(), []), ({}, {})])
def test_another_thing_than_a_table_and_sequences_is_refused(returned):
    assert "return a table (pandas.DataFrame) and a dict of Sequences" in refusal(returned)
    if not isinstance(returned, pd.DataFrame):
        assert "return a table (pandas.DataFrame)" in refusal(returned, of=source(MAKES="clips"))


def test_all_that_is_wrong_with_the_columns_is_told_at_once():
    message = refusal(made({"text": [1, 2, 3], "duration": ["x", "y", "z"], "split": None}))
    assert message.startswith("datasets/mine.py: 3 problems\n1. column text")


def test_frames_are_looked_at_in_blocks_of_any_size(monkeypatch):
    values = np.array([[1, 2], [3, 4], [5, np.nan]], np.float32)
    for rows in (1, 2, 3, 4):
        monkeypatch.setattr(_contract, "_ROWS", rows)
        assert "values of audio of 1 sample ('c')" in refusal(made(audio=audio(values)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"MAKES": "clip"}, 'MAKES says nothing known; write MAKES = "clips" or MAKES = "sequences"'),
        ({"Settings": None}, "Settings is missing; write class Settings(DatasetSettings)"),
        ({"Settings": DatasetSettings}, 'Settings.source is not the name of the file; write source: Literal["mine"]'),
        ({"inputs": None}, "inputs is missing; write def inputs(settings)"),
        ({"prepare": None}, "prepare is missing; write def prepare(settings, folder)"),
    ],
)
def test_a_file_that_is_no_source_is_told_what_it_lacks(names, message):
    check_source(source())
    with pytest.raises(ElisionError) as caught:
        check_source(source(**names))
    assert message in str(caught.value)


def test_a_file_with_a_mistake_is_named_when_params_are_read(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    monkeypatch.setattr("elision.datasets.__path__", [str(tmp_path)])
    monkeypatch.setattr(params, "source_names", lambda: ["broken"])
    with pytest.raises(ElisionError, match=r"datasets/broken\.py cannot be imported \(No module named 'nothing_of"):
        Params(datasets={"mine": {"source": "broken"}}, methods=["majority"])


def test_nothing_is_written_of_what_is_against_the_contract(monkeypatch, tmp_path):
    monkeypatch.setattr(_prepare, "dataset_source", lambda name: source(prepare=lambda *_: made({"speaker": None})))
    asked = Params(datasets={"mine": {"source": "mmsa", "file": "x.pkl"}}, methods=["majority"])
    places = {"clips": tmp_path / "clips.parquet", "media": tmp_path / "media", "store": tmp_path / "store"}
    with pytest.raises(ElisionError, match="column speaker is missing"):
        _prepare.prepare(asked, "mine", **places, provenance={})
    assert list(tmp_path.iterdir()) == []
