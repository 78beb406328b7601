"""The raw videos of MMSA: label.csv, and Raw/VIDEO/CLIP.mp4."""

import logging
from pathlib import Path

import pytest
from source_examples import mmsa_raw as example

from elision.cli.importing import entry
from elision.datasets import mmsa_raw
from elision.errors import ElisionError
from elision.task import TaskKind


@pytest.fixture
def settings(tmp_path) -> mmsa_raw.Settings:
    return mmsa_raw.Settings(**example.make(tmp_path))


def change(settings, old: str, new: str) -> None:
    table = settings.folder / "label.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))


def problem(settings) -> str:
    with pytest.raises(ElisionError) as caught:
        mmsa_raw.prepare(settings, Path())
    return str(caught.value).replace(str(settings.folder), "")


def test_a_clip_is_found_by_video_and_clip_and_has_all_labels(settings):
    found = mmsa_raw.prepare(settings, Path())
    assert found["id"].tolist()[:2] == ["video_0000$_$0000", "video_0000$_$0001"]
    assert found["path"][2] == str(settings.folder / "Raw" / "video_0001" / "0002.mp4")
    assert found["split"].tolist() == ["train", "valid", "test", "train"]
    assert found["label"].tolist() == [-1, -0.5, 0, 0.5]
    assert found[["label_text", "label_audio", "label_vision"]].iloc[0].tolist() == [0.5, 0, -0.5]
    assert found["annotation"].tolist() == ["Neutral"] * 4 and found["has_vision"].all()
    inputs = mmsa_raw.inputs(settings)
    assert inputs[0] == settings.folder / "label.csv" and len(inputs) == 5
    assert mmsa_raw.training_size(settings) == 2


def test_zeros_that_a_spreadsheet_removed_are_found_again_and_counted(settings, caplog):
    caplog.set_level(logging.INFO)
    whole = mmsa_raw.prepare(settings, Path())
    for k in range(4):
        change(settings, f",000{k},", f",{k},")
    found = mmsa_raw.prepare(settings, Path())
    assert found[["id", "path"]].equals(whole[["id", "path"]])
    assert "4 clips found with leading zeros, as 0001 for 1" in caplog.text


def test_empty_labels_of_modalities_are_no_columns(settings):
    change(settings, ",0.5,0,-0.5,", ",,,,")
    assert not {"label_text", "label_audio", "label_vision"} & set(mmsa_raw.prepare(settings, Path()))


def test_the_annotation_may_be_the_label(settings):
    change(settings, "0.0,0.5,0,-0.5,Neutral", "0.0,0.5,0,-0.5,Positive")
    settings = settings.model_copy(update={"task": TaskKind.CLASSIFICATION, "columns": {"label": "annotation"}})
    assert mmsa_raw.prepare(settings, Path())["label"].tolist() == ["Neutral", "Neutral", "Positive", "Neutral"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("video_id,clip_id", "video,clip", "there is no column video_id and no column clip_id; source mmsa_raw reads"),
        (
            "video_0001,0002",
            "video_0001,0009",
            "line 4, id 'video_0001$_$0009': /Raw/video_0001/0009.mp4: no such file",
        ),
        ("video_0001,0002", "Video_0001,0002", "path 'Raw/Video_0001/0002.mp4' does not exist; did you mean"),
        ("video_0001,0002", "../video_0001,0002", "the id cannot be a file name"),
        (",train", ",training", "split is 'training'; write train, valid or test, or splits: {train: training}"),
        (",mode", ",modus", "there is no column split; write train, valid or test for each clip"),
    ],
)
def test_what_is_wrong_is_told_with_the_line(settings, old, new, message):
    change(settings, old, new)
    assert message in problem(settings)


def test_the_folder_is_known_by_its_files(settings):
    assert entry(settings.folder, {}) == {"source": "mmsa_raw", "folder": "."}
