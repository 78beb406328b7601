import logging
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from elision.datasets import arrays, clips
from elision.datasets._prepare import prepare as prepare_dataset
from elision.dialogues import members
from elision.errors import ElisionError
from elision.features import text
from elision.settings.params import Params
from elision.store import Store
from elision.task import SPLITS
from elision.training.split import SplitData
from elision.training.view import View

IDS = ["a", "b", "c", "d"]
X = np.ones((4, 3))
TABLE = {"id": IDS, "label": [1.0, -2.5, 0.0, 3.0], "split": ["train", "train", "valid", "test"]}


def write_table(folder, name="table.csv", **columns):
    path = folder / name
    table = pd.DataFrame(TABLE | columns)
    table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
    return path


def settings(folder, *, table="table.csv", **options):
    return arrays.Settings(source="arrays", table=folder / table, **options)


def prepare(folder, columns=None, **options):
    write_table(folder, **(columns or {}))
    return arrays.prepare(settings(folder, **options), folder)


def audio(folder, columns=None, *, name="audio.npz", **options):
    """Prepare with one modality, of a file in the folder, and return its sequences."""
    _, modalities = prepare(folder, columns, audio={"file": folder / name, **options})
    return modalities["audio"]


def problems(call, folder, *arguments, **options):
    with pytest.raises(ElisionError) as caught:
        call(folder, *arguments, **options)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{folder / 'table.csv'}: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return [line.split(". ", 1)[1] for line in lines]


def random_sequences(count=4, width=3, lengths=(2, 5, 1, 3)):
    random = np.random.default_rng(1)
    return [random.normal(5, 1, (n, width)).astype(np.float32) for n in lengths[:count]]


def padded(sequences, length=None, *, value=0.0, at="end"):
    longest = max(map(len, sequences)) if length is None else length
    array = np.full((len(sequences), longest, sequences[0].shape[1]), value, np.float32)
    for row, frames in zip(array, sequences, strict=True):
        row[slice(0, len(frames)) if at == "end" else slice(longest - len(frames), longest)] = frames
    return array


def assert_sequences(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- the table


def test_a_table_becomes_samples_in_its_order(tmp_path):
    columns = {
        "text": ["so good", "", "  well, no ", "not bad"],
        "speaker": ["kim", "lee", None, "max"],
        "duration": [1.5, None, 2, 3],
        "label_audio": [0, 1, 2, -3],
    }
    np.savez(tmp_path / "audio.npz", x=X)
    samples, modalities = prepare(tmp_path, columns, audio={"file": tmp_path / "audio.npz", "values": "x"})
    assert samples["id"].tolist() == IDS
    assert samples["split"].tolist() == TABLE["split"]
    assert samples["label"].tolist() == TABLE["label"]
    assert samples["label_audio"].tolist() == [0, 1, 2, -3] and "label_text" not in samples
    assert samples["text"].tolist() == ["so good", None, "well, no", "not bad"]
    assert samples["speaker"].tolist() == ["kim", "lee", None, "max"]
    assert samples["duration"].tolist()[::2] == [1.5, 2] and np.isnan(samples["duration"][1])
    assert list(modalities) == ["text", "audio"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_tables_of_every_kind_are_read(tmp_path, separator, encoding):
    rows = [["id", "text", "label", "split"], *(["ä", "x, y; z", "1", split] for split in SPLITS), ["", "", "", ""]]
    for k, row in enumerate(rows[1:4]):
        row[0] += str(k)
    lines = [separator.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows]
    (tmp_path / "table.csv").write_bytes("\r\n".join(lines).encode(encoding))
    samples, _ = arrays.prepare(settings(tmp_path), tmp_path)
    assert samples["id"].tolist() == ["ä0", "ä1", "ä2"] and set(samples["text"]) == {"x, y; z"}


def test_a_parquet_table_is_read_with_numbers_and_nulls(tmp_path):
    write_table(tmp_path, "table.parquet", id=[7, 8, 9, 10], text=["x", None, "y", "z"], sound=[[1.0]] * 4)
    entry = {"file": tmp_path / "table.parquet", "values": "sound", "ids": "id"}
    samples, modalities = arrays.prepare(settings(tmp_path, table="table.parquet", audio=entry), tmp_path)
    assert samples["id"].tolist() == ["7", "8", "9", "10"]
    assert samples["text"].tolist() == ["x", None, "y", "z"]
    assert modalities["text"].lengths.tolist() == [3, 0, 3, 3]
    assert modalities["audio"].lengths.tolist() == [1, 1, 1, 1]


def test_times_of_utterances_do_not_matter_where_no_file_is_cut_by_them(tmp_path):
    table = {"id": IDS, "label": [1, 2, 3, -3], "split": ["train", "train", "valid", "test"], "text": "so good"}
    for times in ({"start": 127.6, "end": 127.6}, {"start": "00:01", "end": ""}):
        pd.DataFrame(table | times).to_csv(tmp_path / "table.csv", index=False)
        samples, _ = arrays.prepare(settings(tmp_path), tmp_path)
        assert len(samples) == 4


def test_columns_and_splits_may_have_other_names(tmp_path, caplog):
    table = {"name": IDS, "y": [1, 2, 3, -3], "label": 99, "fold": ["TR", "TR", "dev", "test"], "words": "so good"}
    pd.DataFrame(table).to_csv(tmp_path / "table.csv", index=False)
    columns = {"id": "name", "label": "y", "split": "fold", "text": "words"}
    with caplog.at_level(logging.INFO):
        samples, _ = arrays.prepare(
            settings(tmp_path, columns=columns, splits={"train": "TR", "valid": "dev"}), tmp_path
        )
    assert samples["label"].tolist() == [1, 2, 3, -3]
    assert samples["split"].tolist() == ["train", "train", "valid", "test"]
    assert "not used: 'label'" in caplog.text


def test_a_column_that_the_settings_call_otherwise_is_nothing_else(tmp_path):
    """Transcripts may be in a column ``words``, which else names files."""
    prepare(tmp_path, {"text": "x"})
    table = pd.read_csv(tmp_path / "table.csv").rename(columns={"text": "words"})
    table.to_csv(tmp_path / "table.csv", index=False)
    samples, _ = arrays.prepare(settings(tmp_path, columns={"text": "words"}), tmp_path)
    assert set(samples["text"]) == {"x"} and "words" not in samples
    with pytest.raises(
        ElisionError, match=r"x does not exist; if the column holds something else, write columns: \{wo"
    ):
        arrays.prepare(settings(tmp_path), tmp_path)


def test_transcripts_are_tokenised_as_the_clips_source_does(tmp_path):
    words = ["so good", "", "a much longer transcript than the others", "no"]
    np.savez(tmp_path / "audio.npz", x=X)
    array = {"file": tmp_path / "audio.npz", "values": "x"}
    _, modalities = prepare(tmp_path, {"text": words}, max_length=6, audio=array)
    expected = [text.extract(w, encoder="minilm", max_length=6) for w in words]
    assert_sequences(modalities["text"], expected)
    assert modalities["text"].values.dtype == np.int32
    header = modalities["text"].header
    assert (header.extractor, header.length) == ("minilm", 6)
    assert header.settings == {"encoder": "minilm", "max_length": 6, "unk": 100, "cls": 101, "sep": 102, "pad": 0}


def test_an_encoder_that_is_not_here_is_a_problem_among_others(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = problems(prepare, tmp_path, {"text": "x", "label": 9}, encoder="no/such-encoder")
    assert found[0].startswith("label of 4 samples") and found[1].startswith("text: text encoder 'no/such-encoder'")


TABLES = {
    "label range": (
        {"label": [1, 2, 3.5, "x"]},
        "label of 2 samples ('c' '3.5', 'd' 'x') is not a number in [-3, 3], the",
    ),
    "label empty": (
        {"label": [1, 2, None, 0]},
        "there is no label; write a label, or set skip_unlabelled: true to leave such samples out ('c')",
    ),
    "label inf": ({"label_text": [1, 2, np.inf, 0]}, "label_text of 1 sample ('c' 'inf') is not a number in [-3, 3]"),
    "same id": ({"id": ["a", "b", "a", "d"]}, "'a' is the id of 2 rows; ids must differ"),
    "no id": ({"id": ["a", "", "c", None]}, "2 rows without id: '2', '4'"),
    "duration": ({"duration": [1, -2, 3, "long"]}, "duration of 2 samples is not a number of seconds: 'b', 'd'"),
    "position": ({"position": [1, None, "last", "inf"]}, "position of 2 samples is no number; write the place"),
    "no split": ({"split": ["train", "", "valid", "test"]}, "split '' of 1 sample ('b') is none of train, valid, test"),
}


@pytest.mark.parametrize("case", list(TABLES))
def test_a_problem_of_the_table_is_told_with_its_samples(tmp_path, case):
    columns, expected = TABLES[case]
    (found,) = problems(prepare, tmp_path, {"text": "x", **columns})
    assert found.startswith(expected)


def test_labels_name_samples_and_remedy(tmp_path):
    (found,) = problems(prepare, tmp_path, {"text": "x", "label": [1, 2, 4, 0]}, corpus="mosei")
    assert found == (
        "label of 1 sample ('c' '4') is not a number in [-3, 3], the range of corpus mosei; correct the label, or say "
        "which range the scores have, such as scale: [1, 7]"
    )


def test_samples_without_a_label_are_marked_for_those_who_leave_them_out(tmp_path):
    content = {"text": "x", "label": ["1", "nan", "", "0"], "label_text": [1, None, 0, 1]}
    samples, _ = prepare(tmp_path, content, skip_unlabelled=True)
    assert samples["label"].isna().tolist() == [False, True, True, False]
    names = {"task": "classification", "classes": ["sad", "none", "glad"], "skip_unlabelled": True}
    samples, _ = prepare(tmp_path, {"text": "x", "label": ["sad", "none", "", "glad"]}, **names)
    assert [None if pd.isna(label) else label for label in samples["label"]] == ["sad", "none", None, "glad"]


def test_a_text_that_a_program_wrote_for_nothing_is_empty_and_said(tmp_path, caplog):
    content = {"text": ["so", "nan", "None", "no"], "speaker": ["kim", "<NA>", "lee", "lee"]}
    audio = {"file": tmp_path / "a.npy"}
    np.save(tmp_path / "a.npy", np.ones((4, 2), np.float32))
    with caplog.at_level(logging.INFO):
        samples, _ = prepare(tmp_path, content, audio=audio)
    assert samples["text"].tolist() == ["so", None, None, "no"]
    assert samples["speaker"].tolist() == ["kim", None, "lee", "lee"]
    assert "text: read as empty: 2 cells that a program wrote, such as 'nan' ('b', 'c')" in caplog.text


def test_scores_of_another_range_and_other_columns_are_kept(tmp_path, caplog):
    content = {"text": "x", "label": [1, 7, 4, 2.5], "session": [1, 2, 3, None], "length_audio": 3}
    with caplog.at_level(logging.INFO):
        samples, _ = prepare(tmp_path, content, scale=[1, 7])
    assert samples["label"].tolist() == [1, 7, 4, 2.5]
    assert samples["session"].tolist()[3] is None and "length_audio" not in samples
    assert "columns that only folds and statistics.cluster can use: session" in caplog.text
    assert "not used: 'length_audio'" in caplog.text
    (found,) = problems(prepare, tmp_path, content | {"label": [1, 7, 0.5, 2]}, scale=[1, 7])
    assert found.startswith("label of 1 sample ('c' '0.5') is not a number in [1, 7], the scale of this dataset")


def test_the_video_of_a_sample_is_kept_under_our_name(tmp_path):
    write_table(tmp_path, text="x", film=["f", "f", "g", None])
    samples, _ = arrays.prepare(settings(tmp_path, columns={"video": "film"}), tmp_path)
    assert samples["video"].tolist() == ["f", "f", "g", None] and "film" not in samples
    samples, _ = prepare(tmp_path, {"text": "x", "video": list("ffgg")})
    assert samples["video"].tolist() == list("ffgg")
    assert "video" not in prepare(tmp_path, {"text": "x"})[0]


def test_columns_say_the_dialogue_and_the_place_in_it(tmp_path):
    write_table(tmp_path, text="x", Dialogue_ID=[7, 7, 7, None], Utterance_ID=[2, 0, 1.5, 0])
    names = {"dialogue": "Dialogue_ID", "position": "Utterance_ID"}
    of = settings(tmp_path, columns=names)
    samples, _ = arrays.prepare(of, tmp_path)
    assert [rows.tolist() for rows in members(samples)] == [[1, 2, 0], [3]]
    assert arrays.columns(of) == ["dialogue"], "folds and clusters can name the dialogue"
    samples, _ = prepare(tmp_path, {"text": "x", "dialogue": list("xxyy"), "position": [1, None, 1, 0]})
    assert [rows.tolist() for rows in members(samples)] == [[0], [1], [3, 2]]


def test_scores_that_are_only_cut_into_classes_have_a_range_of_their_own(tmp_path):
    classes = {"task": "classification", "classes": ["low", "high"], "cuts": [3.5]}
    samples, _ = prepare(tmp_path, {"text": "x", "label": [1, 2, 4, 5]}, **classes)
    assert samples["label"].tolist() == [1, 2, 4, 5]
    (found,) = problems(prepare, tmp_path, {"text": "x", "label": [1, 2, "x", np.inf]}, **classes)
    assert found.startswith("label of 2 samples ('c' 'x', 'd' 'inf') is not a number in [-1e+09, 1e+09]")


def test_an_unknown_split_comes_with_the_mapping_that_repairs_it(tmp_path):
    found = problems(prepare, tmp_path, {"text": "x", "split": ["train", "train", "dev", "test"]})
    assert found == [
        "split 'dev' of 1 sample ('c') is none of train, valid, test; say what it is, for instance "
        "splits: {valid: dev} in params.yaml, or drop these rows",
        "there is no sample in split valid; every split needs some",
    ]
    found = problems(prepare, tmp_path, {"text": "x"}, splits={"valid": "test"})
    assert found[0].startswith("split 'valid' of 1 sample ('c') is none of train, test")
    assert found[1] == "there is no sample in split valid; every split needs some"


def test_columns_that_are_missing_are_told_before_anything_else(tmp_path):
    pd.DataFrame({"id": IDS, "y": 9, "fold": "dev", "lable_text": 1}).to_csv(tmp_path / "table.csv", index=False)
    options = settings(tmp_path, columns={"split": "folds", "label_text": "label_text"})
    with pytest.raises(ElisionError) as caught:
        arrays.prepare(options, tmp_path)
    assert str(caught.value).splitlines()[1:] == [
        "1. there is no column label; add it, or say which one it is, columns: {label: ...} in params.yaml; there is: "
        "id, y, fold, lable_text",
        "2. there is no column 'folds', which is to be split; did you mean fold? allowed: id, y, fold, lable_text",
        "3. there is no column 'label_text', which is to be label_text; did you mean lable_text? allowed: id, y, fold, "
        "lable_text",
    ]


def test_a_column_that_stands_there_twice_is_a_problem(tmp_path):
    (tmp_path / "table.csv").write_text("id,label,split,text,label,x,x\na,1,train,x,2,3,4\n")
    with pytest.raises(ElisionError, match=r"1 problem\n1\. column 'label' is there 2 times; rename all but one"):
        arrays.prepare(settings(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"table\.csv is empty"),
        (b'id,label\na,"1\n', r"table\.csv: line 2 is not valid CSV .*is a quote not closed"),
        (b"<html>", r"table\.csv .*web page"),
        (b"\xd0\xcf\x11\xe0", r"table\.csv is in the old format of Excel"),
        ("id,label\nä,1".encode("latin1"), r"table\.csv is not UTF-8 .*save it as UTF-8"),
        (b"PAR1 and no more", r"table\.csv cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, content, message):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ElisionError, match=message):
        arrays.prepare(settings(tmp_path), tmp_path)
    assert arrays.inputs(settings(tmp_path)) == [tmp_path / "table.csv"]


def test_a_cell_beyond_the_columns_is_a_problem(tmp_path):
    (tmp_path / "table.csv").write_text("id,label,split,text\na,1,train,well, no\nb,1,valid,x\nc,1,test,x\n")
    (found,) = problems(lambda folder: arrays.prepare(settings(folder), folder), tmp_path)
    assert found.startswith("line 2, id 'a': there are more cells than columns ('no'); put quotes")


def _with_index(frame, path):
    frame.to_csv(path)


def _of_excel(frame, path):
    path.write_text("sep=;\n" + frame.to_csv(index=False, sep=";"))


def _of_r(frame, path):
    lines = frame.to_csv(index=False).splitlines()
    path.write_text("\n".join([lines[0], *(f"{k},{line}" for k, line in enumerate(lines[1:], 1))]))


def _whole_json(frame, path):
    frame.to_json(path, orient="records", indent=1)


def _json_lines(frame, path):
    frame.to_json(path, orient="records", lines=True)


def _workbook(frame, path):
    frame.to_excel(path.with_suffix(".xlsx"), index=False)
    path.with_suffix(".xlsx").rename(path)


def _parquet_with_index(frame, path):
    frame.set_index(pd.Index([3, 1, 2, 0])).to_parquet(path)


@pytest.mark.parametrize(
    "write", [_with_index, _of_excel, _of_r, _whole_json, _json_lines, _workbook, _parquet_with_index]
)
def test_tables_are_read_as_those_of_clips(tmp_path, write):
    """The same table, as different programs write it, is the same dataset, of arrays and of clips."""
    frame = pd.DataFrame(TABLE | {"text": ["so", "good", "a", "movie"], "session": [1, 2, 1, 2]})
    write(frame, tmp_path / "table.csv")
    samples, _ = arrays.prepare(settings(tmp_path), tmp_path)
    of_clips = clips.prepare(clips.Settings(source="clips", folder=tmp_path, table="table.csv"), tmp_path)
    for name in ("id", "label", "split", "text", "session"):
        expected = frame[name].astype(str) if name == "session" else frame[name]
        assert samples[name].tolist() == of_clips[name].tolist() == expected.tolist()
    assert set(samples) == {*TABLE, "text", "speaker", "duration", "session"}


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(ElisionError, match=r"table\.csv: no such file; check the path in params\.yaml"):
        arrays.prepare(settings(tmp_path), tmp_path)


def test_a_speaker_in_two_splits_is_a_warning(tmp_path, caplog):
    prepare(tmp_path, {"text": "x", "speaker": ["kim", "lee", "kim", None]})
    assert "speakers in more than one split: 'kim';" in caplog.text


def test_there_must_be_something_of_every_sample(tmp_path):
    assert problems(prepare, tmp_path) == [
        "there are no data: no text in the table, and none of text, audio and vision in params.yaml"
    ]
    assert problems(prepare, tmp_path, {"text": ["x", "", "y", ""]}) == [
        "2 samples without any of text: 'b', 'd'; drop these rows"
    ]


# --- layouts


def save_npz(folder, **content):
    np.savez(folder / "audio.npz", **content)
    return "audio.npz"


def save_h5(folder, **content):
    with h5py.File(folder / "audio.h5", "w") as file:
        for name, array in content.items():
            file[name] = array.tolist() if array.dtype.kind == "U" else array
    return "audio.h5"


def save_npy(folder, **content):
    for name, array in content.items():
        np.save(folder / f"{name}.npy", array)
    return "values.npy"


FORMATS = {"npz": save_npz, "h5": save_h5, "npy": save_npy}


def stacked(folder, form, sequences, ids, *, layout):
    """Write sequences in a layout of one array for all, and return the settings that describe it."""
    content = {"values": padded(sequences, 7) if layout.startswith("padded") else np.concatenate(sequences)}
    lengths = np.array([len(frames) for frames in sequences])
    if "lengths" in layout:
        content["lengths"] = lengths
    if "offsets" in layout:
        content["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    content["ids"] = np.array(ids)
    file = FORMATS[form](folder, **content)
    if form == "npy":
        return {"name": file, **{name: str(folder / f"{name}.npy") for name in content if name != "values"}}
    return {"name": file, **{name: name for name in content}}


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize(
    "layout", ["vectors", "padded", "padded with lengths", "flat with lengths", "flat with offsets"]
)
@given(data=st.data())
@hypothesis_settings(max_examples=12)
def test_sequences_come_back_from_every_layout_of_one_array(tmp_path_factory, form, layout, data):
    folder = tmp_path_factory.mktemp("layout")
    count = data.draw(st.integers(3, 8))
    shortest = 1 if layout in ("vectors", "padded") else 0
    longest = 1 if layout == "vectors" else 6
    lengths = [shortest + 1, *(data.draw(st.integers(shortest, longest)) for _ in range(count - 1))]
    lengths = [min(n, longest) for n in lengths]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64, np.int16]))
    sequences = [random.integers(1, 99, (n, 3)).astype(dtype) for n in lengths]
    order = data.draw(st.permutations(range(count)))
    ids = [f"clip {k}" for k in range(count)]
    described = stacked(folder, form, [sequences[k] for k in order], [ids[k] for k in order], layout=layout)
    columns = {"id": ids, "label": 0, "split": [SPLITS[k % 3] for k in range(count)]}
    found = audio(folder, columns | {"text": "x"}, **described)
    assert_sequences(found, [frames.astype(np.float32) for frames in sequences])
    assert found.values.dtype == np.float32 and found.header.length == max(lengths)


@pytest.mark.parametrize(
    ("save", "options"),
    [
        (lambda folder, frames: np.savez(folder / "audio.npz", **frames), {"name": "audio.npz", "values": "{id}"}),
        (lambda folder, frames: save_h5(folder, **frames), {"name": "audio.h5", "values": "{id}"}),
        (
            lambda folder, frames: save_h5(folder, **{f"data/{n}/features": a for n, a in frames.items()}),
            {"name": "audio.h5", "values": "data/{id}/features"},
        ),
        (
            lambda folder, frames: [np.save(folder / f"{n}.npy", a) for n, a in frames.items()],
            {"name": "{id}.npy"},
        ),
        (
            lambda folder, frames: [np.savez(folder / f"{n}.npz", x=a, y=0) for n, a in frames.items()],
            {"name": "{id}.npz", "values": "x"},
        ),
        (
            lambda folder, frames: [
                np.savez(
                    folder / f"{split}.npz",
                    **{n: frames[n] for n, s in zip(IDS, TABLE["split"], strict=True) if s == split},
                )
                for split in SPLITS
            ],
            {"name": "{split}.npz", "values": "{id}"},
        ),
    ],
    ids=["npz", "h5", "h5 groups", "npy files", "npz files", "npz of splits"],
)
def test_every_sample_may_have_an_array_of_its_own(tmp_path, save, options):
    sequences = random_sequences()
    save(tmp_path, dict(zip(IDS, sequences, strict=True)))
    assert_sequences(audio(tmp_path, **options), sequences)


def test_an_array_of_a_sample_may_be_a_vector_or_have_no_frames(tmp_path):
    np.savez(tmp_path / "audio.npz", a=np.ones(3), b=np.full((2, 3), 2), c=np.zeros((0, 3)), d=np.zeros(0))
    found = audio(tmp_path, {"text": "x"}, values="{id}")
    assert_sequences(found, [np.ones((1, 3)), np.full((2, 3), 2), np.zeros((0, 3)), np.zeros((0, 3))])


@pytest.mark.parametrize("nested", [False, True])
def test_a_parquet_column_holds_vectors_or_lists_of_vectors(tmp_path, nested):
    sequences = random_sequences(lengths=(2, 5, 1, 3) if nested else (1, 1, 1, 1))
    cells = [s.tolist() if nested else s[0].tolist() for s in sequences]
    table = pa.table({"clip": [*IDS[::-1]], "x": [*cells[:2:-1], None, *cells[1::-1]], "label": [9.0] * 4})
    pq.write_table(table, tmp_path / "audio.parquet")
    found = audio(tmp_path, {"text": "x"}, name="audio.parquet", values="x", ids="clip")
    assert_sequences(found, [*sequences[:2], np.zeros((0, 3)), sequences[3]])


def test_files_and_arrays_of_splits_are_named_as_the_table_names_splits(tmp_path):
    columns = {"split": ["test", "train", "dev", "train"], "text": "x"}
    sequences = random_sequences()
    np.savez(tmp_path / "train.npz", x=padded([sequences[1], sequences[3]], 9))
    np.savez(tmp_path / "dev.npz", x=padded([sequences[2]]))
    np.savez(tmp_path / "test.npz", x=padded([sequences[0]]))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for split, rows in {"train": [1, 3], "dev": [2], "test": [0]}.items():
            file[f"{split}/x"] = np.concatenate([sequences[row] for row in rows])
            file[f"{split}/n"] = [len(sequences[row]) for row in rows]
    options = {
        "splits": {"valid": "dev"},
        "audio": {"file": tmp_path / "{split}.npz", "values": "x"},
        "vision": {"file": tmp_path / "all.h5", "values": "{split}/x", "lengths": "{split}/n"},
    }
    _, modalities = prepare(tmp_path, columns, **options)
    assert_sequences(modalities["audio"], sequences)
    assert_sequences(modalities["vision"], sequences)


def test_without_ids_the_order_of_the_table_counts_and_is_said(tmp_path, caplog):
    sequences = random_sequences()
    save_npz(tmp_path, x=padded(sequences))
    with caplog.at_level(logging.INFO):
        found = audio(tmp_path, values="x")
    assert_sequences(found, sequences)
    assert f"{tmp_path}/audio.npz: matched with the table by order" in caplog.text


def test_arrays_of_64_bits_are_cut_as_those_of_32(tmp_path):
    sequences = random_sequences()
    values = padded(sequences).astype(np.float64)
    save_h5(tmp_path, x=np.where(values == 0, -99.9, values))
    assert_sequences(audio(tmp_path, name="audio.h5", values="x", pad_value=-99.9), sequences)


@pytest.mark.parametrize("ids", [np.array(IDS, "S"), np.array(IDS), np.array(IDS)[:, None]])
def test_ids_may_be_bytes_or_text(tmp_path, ids):
    np.savez(tmp_path / "audio.npz", x=np.arange(8).reshape(4, 2), who=ids[::-1])
    assert audio(tmp_path, values="x", ids="who").values[:, 0].tolist() == [6, 4, 2, 0]


def test_ids_may_be_numbers(tmp_path):
    np.savez(tmp_path / "audio.npz", x=np.arange(8).reshape(4, 2), who=np.arange(4))
    assert audio(tmp_path, {"id": [3, 2, 1, 0]}, values="x", ids="who").values[:, 0].tolist() == [6, 4, 2, 0]


# --- frames


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 1, 0, 2], [3]]),
        ({"padding": "none"}, [[0, 1, 0, 2, 0, 0], [3, 0, 0, 0, 0, 0]]),
        ({"padding": "start"}, [[1, 0, 2, 0, 0], [3, 0, 0, 0, 0, 0]]),
        ({"padding": "both"}, [[1, 0, 2], [3]]),
        ({"pad_value": 7}, [[0, 1, 0, 2, 0, 0], [3, 0, 0, 0, 0, 0]]),
        ({"lengths": "n"}, [[0, 1, 0, 2, 0], [3, 0]]),
        ({"max_length": 2}, [[0, 1], [3]]),
        ({"padding": "both", "max_length": 2}, [[1, 0], [3]]),
    ],
)
def test_frames_of_only_the_pad_value_are_cut_off_where_padding_is(tmp_path, options, expected):
    values = np.array([[0, 1, 0, 2, 0, 0], [3, 0, 0, 0, 0, 0]] * 2)[..., None] * [1, 2]
    save_npz(tmp_path, x=values, n=np.array([5, 2] * 2))
    found = audio(tmp_path, values="x", **options)
    assert [frames[:, 0].tolist() for frames in found] == expected * 2
    assert found.header.length == max(map(len, expected))


def test_padding_may_be_nan_and_may_be_in_arrays_of_single_samples(tmp_path):
    sequences = random_sequences()
    save_npz(tmp_path, x=padded(sequences, 8, value=np.nan, at="start"))
    assert_sequences(audio(tmp_path, values="x", padding="start", pad_value="nan"), sequences)
    np.savez(tmp_path / "audio.npz", **dict(zip(IDS, padded(sequences), strict=True)))
    assert audio(tmp_path, values="{id}").lengths.tolist() == [5, 5, 5, 5]
    assert_sequences(audio(tmp_path, values="{id}", padding="end"), sequences)


def test_a_sample_of_only_padding_lacks_the_modality_and_is_counted(tmp_path, caplog):
    save_npz(tmp_path, x=np.array([[1, 2], [0, 0], [3, 4], [0, 5]]))
    assert audio(tmp_path, {"text": "x"}, values="x").lengths.tolist() == [1, 1, 1, 1]
    with caplog.at_level(logging.INFO):
        assert audio(tmp_path, {"text": "x"}, values="x", padding="end").lengths.tolist() == [1, 0, 1, 1]
    assert "audio: absent from 1 sample: 'b'" in caplog.text


@pytest.mark.parametrize("missing_if", ["any", "all"])
def test_coded_values_make_a_frame_unobserved(tmp_path, missing_if, caplog):
    values = np.array([[1, 2], [255, 3], [-255, 255], [4, np.nan], [np.nan, 255], [np.inf, np.inf], [5, 6]])
    save_npz(tmp_path, **{name: np.where(np.isinf(values), 9, values) for name in IDS})
    codes = {"missing_values": [255, -255, float("nan")], "missing_if": missing_if}
    if missing_if == "all":
        save_npz(tmp_path, **{name: np.where(np.isfinite(values), values, 255) for name in IDS})
    with caplog.at_level(logging.INFO):
        found = audio(tmp_path, values="{id}", **codes)
    lost = [False, True, True, True, True, False, False]
    if missing_if == "all":
        lost = [False, False, True, False, True, True, False]
    assert np.isnan(found[0]).all(1).tolist() == np.isnan(found[0]).any(1).tolist() == lost
    assert f"audio: {4 * sum(lost)} frames of 28 not observed" in caplog.text


def test_a_code_of_float32_is_found_though_decimal(tmp_path):
    save_npz(tmp_path, x=np.array([[0.1, -99.9], [1, 1], [2, 2], [3, 3]], np.float32))
    assert np.isnan(audio(tmp_path, values="x", missing_values=[-99.9]).values).any(1).tolist() == [1, 0, 0, 0]


def test_frames_of_zeros_can_mean_that_nothing_was_seen(tmp_path):
    values = np.array([[[0, 0], [1, 0], [0, 0], [2, 3], [0, 0]]] * 4)
    save_npz(tmp_path, x=values)
    found = audio(tmp_path, values="x", padding="none", missing_values=[0], missing_if="all")
    assert np.isnan(found[0]).all(1).tolist() == [True, False, True, False, True]


def test_a_sample_that_the_file_does_not_hold_lacks_the_modality(tmp_path, caplog):
    np.savez(tmp_path / "audio.npz", x=np.ones((2, 3)), who=["d", "a"])
    np.savez(tmp_path / "own.npz", a=np.ones((2, 4)))
    np.save(tmp_path / "b.npy", np.ones((2, 4)))
    with caplog.at_level(logging.INFO):
        assert audio(tmp_path, {"text": "x"}, values="x", ids="who").lengths.tolist() == [1, 0, 0, 1]
        assert audio(tmp_path, {"text": "x"}, name="own.npz", values="{id}").lengths.tolist() == [2, 0, 0, 0]
        assert audio(tmp_path, {"text": "x"}, name="{id}.npy").lengths.tolist() == [0, 2, 0, 0]
    assert "audio: absent from 2 samples: 'b', 'c'" in caplog.text
    assert audio(tmp_path, {"text": "x"}, name="{id}.npy").width == 4


def test_the_header_keeps_how_the_array_was_read(tmp_path):
    save_npz(tmp_path, x=np.ones((4, 3)))
    header = audio(tmp_path, values="x", rate=12.5, extractor="COVAREP 1.4", missing_values=[255]).header
    assert (header.modality, header.rate, header.extractor, header.length) == ("audio", 12.5, "COVAREP 1.4", 1)
    assert header.settings["missing_values"] == [255] and header.settings["file"] == str(tmp_path / "audio.npz")


# --- problems of arrays

PROBLEMS = {
    "no such array": ({"x": X, "y": X}, {"values": "z"}, "there is no array z; there is: x, y"),
    "no name": ({"x": X}, {}, "values does not say which array; there is: x"),
    "one dimension": (
        {"x": X[:, 0]},
        {"values": "x"},
        "x has shape (4,), not (N, d), (N, T, d) or, with offsets, (sum",
    ),
    "four dimensions": ({"x": X[:, :, None, None]}, {"values": "x"}, "x has shape (4, 3, 1, 1), not"),
    "offsets of padded": (
        {"x": X[:, None], "o": np.arange(5)},
        {"values": "x", "offsets": "o"},
        "x has shape (4, 1, 3), not",
    ),
    "count": (
        {"x": X[:3]},
        {"values": "x"},
        "3 sequences for 4 samples of the table, and no ids to match them by; say with ids: which array has them",
    ),
    "lengths do not sum": (
        {"x": X, "n": np.array([1, 1, 1])},
        {"values": "x", "lengths": "n"},
        "n sum to 3, but there are 4 rows of values",
    ),
    "lengths too long": (
        {"x": X[:, None], "n": np.array([1, 2, 1, 1])},
        {"values": "x", "lengths": "n"},
        "n are not 4 numbers up to 1, as x has shape (4, 1, 3)",
    ),
    "lengths too few": (
        {"x": X[:, None], "n": np.array([1, 1, 1])},
        {"values": "x", "lengths": "n"},
        "n are not 4 numbers up to 1, as x has shape (4, 1, 3)",
    ),
    "negative lengths": (
        {"x": X[:, None], "n": np.array([1, -1, 1, 1])},
        {"values": "x", "lengths": "n"},
        "n are not whole numbers from 0",
    ),
    "nan in lengths": (
        {"x": X[:, None], "n": np.array([1, np.nan, 1, 1])},
        {"values": "x", "lengths": "n"},
        "n are not whole numbers from 0",
    ),
    "starts without an end": (
        {"x": X, "o": np.arange(4)},
        {"values": "x", "offsets": "o"},
        "o are not N + 1 numbers that rise from 0 to 4, the end of the values",
    ),
    "offsets that fall": (
        {"x": X, "o": np.array([0, 3, 2, 3, 4])},
        {"values": "x", "offsets": "o"},
        "o are not N + 1 numbers that rise from 0 to 4, the end of the values",
    ),
    "number of ids": (
        {"x": X, "who": np.array(IDS[:3])},
        {"values": "x", "ids": "who"},
        "who has 3 ids for 4 sequences",
    ),
    "no known id": (
        {"x": X[:2], "who": np.array(["C", "D"])},
        {"values": "x", "ids": "who"},
        "who has no id of the table; spell ids alike (the table: 'a', 'b', 'c' and 1 more; the file: 'C', 'D')",
    ),
    "same id": (
        {"x": X, "who": np.array(["a", "b", "b", "d"])},
        {"values": "x", "ids": "who"},
        "who has 1 id more than once ('b'); keep one each",
    ),
    "ids of something else": (
        {"x": X, "who": np.array([1.5, 2, 3, 4])},
        {"values": "x", "ids": "who"},
        "who holds float, not ids; save the ids as text",
    ),
    "objects that are no arrays": (
        {"x": np.array([{"y": 1}, None, X, X], object)},
        {"values": "x"},
        "1 sample ('a'): dict instead of numbers",
    ),
    "frames of one that differ": (
        {"x": np.array([[[1, 2], [3]], None, X, X], object)},
        {"values": "x"},
        "1 sample ('a'): frames that differ in dimensions",
    ),
    "words": (
        {"x": np.array([["so", "good"]] * 4)},
        {"values": "x"},
        "4 samples ('a', 'b', 'c' and 1 more): not numbers",
    ),
    "nan": (
        {"x": np.where(np.eye(4, 3), np.nan, 1)},
        {"values": "x"},
        "3 samples ('a', 'b', 'c'): nan or inf; set missing_values: [nan] if this means",
    ),
    "inf": ({"x": np.where(np.eye(4, 3, 2), -np.inf, 1)}, {"values": "x"}, "1 sample ('a'): nan or inf; set"),
    "too large for float32": ({"x": X * 1e300}, {"values": "x"}, "4 samples ('a', 'b', 'c' and 1 more): nan or inf;"),
    "widths": (
        dict(zip(IDS, (X, X, X[:, :2], X), strict=True)),
        {"values": "{id}"},
        "the samples differ in dimensions: 2 ('c'), 3 ('d')",
    ),
    "shape of one": (
        dict(zip(IDS, (X, X, X[:, None], X), strict=True)),
        {"values": "{id}"},
        "1 sample ('c'): shape (4, 1, 3), not (T, d) or (d,)",
    ),
    "nobody": (
        {"A": X},
        {"values": "{id}"},
        "there is nothing of any sample, such as 'a', 'b', 'c' and 1 more; are the ids spelled as in the table?",
    ),
}


@pytest.mark.parametrize("case", list(PROBLEMS))
def test_a_problem_of_an_array_names_file_sample_and_remedy(tmp_path, case):
    content, options, expected = PROBLEMS[case]
    np.savez(tmp_path / "audio.npz", **content)
    (found,) = problems(audio, tmp_path, {"text": "x"}, **options)
    assert found.startswith(f"audio: {tmp_path}/audio.npz: {expected}")


def test_ids_of_the_file_of_a_split_must_be_in_that_split(tmp_path):
    for split in SPLITS:
        np.savez(tmp_path / f"{split}.npz", x=X[:2], who=["a", "b"] if split == "train" else ["c", "d"])
    found = problems(audio, tmp_path, name="{split}.npz", values="x", ids="who")
    assert [problem.split(";")[0] for problem in found] == [
        f"audio: {tmp_path}/valid.npz: who has 1 id that the table has in another split ('d')",
        f"audio: {tmp_path}/test.npz: who has 1 id that the table has in another split ('c')",
    ]


def test_ids_that_the_table_does_not_have_are_counted(tmp_path, caplog):
    np.savez(tmp_path / "audio.npz", x=np.arange(12).reshape(6, 2), who=["z", "d", "c", "b", "a", "y"])
    with caplog.at_level(logging.INFO):
        found = audio(tmp_path, values="x", ids="who")
    assert found.values[:, 0].tolist() == [8, 6, 4, 2]
    assert "audio.npz: 2 ids that the table does not have left out: 'z', 'y'" in caplog.text


def test_a_group_is_not_an_array(tmp_path):
    save_h5(tmp_path, **{"data/a/x": X, "data/b/x": X})
    (found,) = problems(audio, tmp_path, name="audio.h5", values="data")
    assert found.endswith("audio.h5: data is a group; name an array in it: a, b")
    (found,) = problems(audio, tmp_path, {"text": "x"}, name="audio.h5", values="data/{id}")
    assert "2 samples ('a', 'b'): data/{id} is a group; name an array in it: x" in found


def test_an_hdf5_array_of_words_is_refused(tmp_path):
    with h5py.File(tmp_path / "audio.h5", "w") as file:
        file["words"] = ["so", "good", "or", "not"]
    (found,) = problems(audio, tmp_path, name="audio.h5", values="words")
    assert "audio.h5: words has shape (4,), not (N, d)" in found


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["x", "y", "z", "w"], "x has shape (4,), not"),
        ([1.0, 2.0, 3.0, 4.0], "x has shape (4,), not"),
        ([["so"], ["good"], None, None], "2 samples ('a', 'b'): not numbers"),
        ([[[1.0], [2.0, 3.0]], [[1.0]], None, None], "1 sample ('a'): frames that differ in dimensions"),
        ([[1.0, None], [1.0, 2.0], None, None], "1 sample ('a'): nan or inf"),
    ],
    ids=["words", "numbers", "lists of words", "ragged", "null"],
)
def test_a_parquet_column_of_something_else_is_refused(tmp_path, cells, expected):
    pq.write_table(pa.table({"x": cells}), tmp_path / "audio.parquet")
    (found,) = problems(audio, tmp_path, {"text": "x"}, name="audio.parquet", values="x")
    assert found.startswith(f"audio: {tmp_path}/audio.parquet: {expected}")


def test_a_npy_file_has_one_array(tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert audio(tmp_path, name="x.npy").width == 3
    (found,) = problems(audio, tmp_path, name="x.npy", ids="who")
    assert found.endswith("x.npy: there is no array who; there is: one without a name")
    (found,) = problems(audio, tmp_path, name="x.npy", ids=f"{tmp_path}/who.npy")
    assert found.endswith(f"x.npy: {tmp_path}/who.npy: no such file; check the path in params.yaml")
    np.save(tmp_path / "x.npy", X.astype(object))
    assert_sequences(audio(tmp_path, name="x.npy"), X[:, np.newaxis])


def test_a_file_that_is_missing_damaged_or_of_another_kind_is_named(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.arange(4000.0).reshape(4, 1000))
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(content[:500])
    (tmp_path / "flipped.npz").write_bytes(content[:2000] + bytes(64) + content[2064:])
    save_h5(tmp_path, x=np.ones((4, 1000)))
    (tmp_path / "short.h5").write_bytes((tmp_path / "audio.h5").read_bytes()[:900])
    np.save(tmp_path / "whole.npy", X)
    (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:150])
    (tmp_path / "short.parquet").write_bytes(b"PAR1....")
    (tmp_path / "some.pkl").write_bytes(b"\x80\x04K\x01.")
    (tmp_path / "folder").mkdir()
    for name in ("short.npz", "flipped.npz", "short.h5", "short.npy", "short.parquet", "folder"):
        (found,) = problems(audio, tmp_path, name=name, values=None if name.endswith("npy") else "x")
        assert found.startswith(f"audio: {tmp_path}/{name}: cannot be read ("), name
    (found,) = problems(audio, tmp_path, name="some.pkl", values="x")
    assert found.endswith("some.pkl: there is no array x; there is: one without a name")
    (tmp_path / "some.doc").write_bytes(b"\xd0\xcf\x11\xe0")
    (found,) = problems(audio, tmp_path, name="some.doc", values="x")
    assert "some.doc: is an Office document; .npz, .npy, HDF5" in found
    (found,) = problems(audio, tmp_path, name="nowhere.npz", values="x")
    assert found == f"audio: {tmp_path}/nowhere.npz: no such file; check the path in params.yaml"


def test_an_array_of_objects_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/marker",)

    np.savez(tmp_path / "audio.npz", x=X, who=np.array([Evil()] * 4, object))
    np.save(tmp_path / "who.npy", np.array([Evil()] * 4, object))
    for ids in ("who", str(tmp_path / "who.npy")):
        (found,) = problems(audio, tmp_path, values="x", ids=ids)
        assert "this pickle wants to use posix.system; only NumPy arrays" in found
    assert not (tmp_path / "marker").exists()


def test_all_problems_are_told_at_once(tmp_path):
    np.savez(tmp_path / "audio.npz", x=X, who=["a", "b", "b", "z"])
    np.savez(tmp_path / "train.npz", **{"a": X, "b": X[:, :2] * np.nan})
    np.savez(tmp_path / "test.npz", d=X[:, :1])
    columns = {"label": [9, 0, 0, 0], "duration": "x", "text": "x"}
    found = problems(
        prepare,
        tmp_path,
        columns,
        audio={"file": tmp_path / "audio.npz", "values": "x", "ids": "who"},
        vision={"file": tmp_path / "{split}.npz", "values": "{id}"},
    )
    starts = ["label", "duration", "audio", "vision", "vision", "vision"]
    assert [problem.split()[0].strip(":") for problem in found] == starts
    assert "valid.npz: no such file" in found[3] and "nan or inf" in found[4] and "differ in dimensions" in found[5]


def test_files_of_splits_are_not_asked_for_while_a_split_is_unknown(tmp_path):
    for split in SPLITS:
        np.savez(tmp_path / f"{split}.npz", x=X[:1])
    columns = {"text": "x", "split": ["train", "valid", "test", "dev"]}
    (found,) = problems(audio, tmp_path, columns, name="{split}.npz", values="x")
    assert found.startswith("split 'dev'")


# --- settings, inputs, and the rest of the workflow


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": "n", "offsets": "o"}, "there are both lengths and offsets; keep one of them"),
        ({"lengths": "n", "padding": "start"}, "there are both lengths and padding; keep one of them"),
        ({"values": "{id}", "ids": "who"}, "with {id} every sample has an array of its own; leave out ids"),
        ({"length": "n"}, "Extra inputs are not permitted"),
        ({"missing_values": ["none"]}, "Input should be 'nan', 'inf' or '-inf'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, options, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        settings(tmp_path, audio={"file": "a.npz", **options})


def test_settings_survive_json_with_nan(tmp_path):
    content = {"source": "arrays", "table": "t.csv", "audio": {"file": "a.npz", "missing_values": [float("nan"), -255]}}
    params = Params(datasets={"mine": content}, methods=["majority"])
    dumped = params.model_dump(mode="json")["datasets"]["mine"]
    assert dumped["audio"]["missing_values"] == ["nan", -255]
    assert arrays.Settings(**dumped) == params.datasets["mine"]


def test_inputs_are_the_table_and_the_files_that_exist(tmp_path):
    write_table(tmp_path)
    for name in ("a.npy", "c.npy", "train.npz", "ids_train.npy"):
        (tmp_path / name).touch()
    options = {
        "audio": {"file": tmp_path / "{id}.npy"},
        "vision": {"file": tmp_path / "{split}.npz", "values": "x", "ids": f"{tmp_path}/ids_{{split}}.npy"},
    }
    expected = [tmp_path / name for name in ("table.csv", "a.npy", "c.npy", "ids_train.npy", "train.npz")]
    assert arrays.inputs(settings(tmp_path, **options)) == expected
    (tmp_path / "table.csv").write_text("name\nx\n")
    assert arrays.inputs(settings(tmp_path, **options)) == expected[:1]


def test_a_prepared_dataset_can_be_trained_on(tmp_path):
    save_npz(tmp_path, x=padded(random_sequences()))
    write_table(tmp_path, text=["so good", "", "well", "no"])
    entry = {"source": "arrays", "table": str(tmp_path / "table.csv")}
    entry["audio"] = {"file": str(tmp_path / "audio.npz"), "values": "x", "missing_values": [float("nan")]}
    params = Params(datasets={"mine": entry}, methods=["majority"])
    places = {"clips": tmp_path / "clips.parquet", "media": tmp_path / "media", "store": tmp_path / "store"}
    prepare_dataset(params, "mine", **places, provenance={"step": "prepare"})
    store = Store.open(tmp_path / "store")
    assert list(store.modalities) == ["text", "audio"]
    split = SplitData(store, "train", scales={}, view=View())
    assert split.labels.tolist() == [1, -2.5]
    assert {name: lengths.tolist() for name, lengths in split.lengths.items()} == {
        "text": [4, 0],
        "audio": [2, 5],
        "vision": [0, 0],
    }


def test_the_same_files_give_the_same_sequences(tmp_path):
    save_h5(tmp_path, x=padded(random_sequences()))
    first, second = (audio(tmp_path, name="audio.h5", values="x") for _ in range(2))
    assert first.header == second.header and np.array_equal(first.values, second.values)


def test_the_settings_of_the_guide_are_accepted():
    guide = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    blocks = [block for block in guide.split("```yaml\n") if "source: arrays" in block.split("```")[0]]
    assert blocks
    for block in blocks:
        entries = yaml.safe_load(block.split("```")[0])["datasets"]
        read = Params(datasets=entries, methods=["majority"]).datasets
        assert all(isinstance(entry, arrays.Settings) for entry in read.values())


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        (np.array([1, 2, 1e30, 1]), "lengths are not 4 numbers up to 5, as x has shape (4, 5, 3)"),
        (np.array([1, 2, 2**63, 1], np.uint64), "lengths are not 4 numbers up to 5"),
        (np.array([1, 2, 6, 1]), "lengths are not 4 numbers up to 5"),
        (np.array([1, 2, -1, 1]), "lengths are not whole numbers from 0"),
        (np.array([1, 2, np.nan, 1]), "lengths are not whole numbers from 0"),
        (np.array([1, 2, np.inf, 1]), "lengths are not whole numbers from 0"),
        (np.array([1j, 2, 1, 1]), "lengths are not whole numbers from 0"),
        (np.array(["1", "2", "one", "1"]), "lengths are not whole numbers from 0"),
        (np.array(["1", "2", "6", "1"]), "lengths are not 4 numbers up to 5"),
    ],
)
@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_lengths_that_cannot_be_are_refused(tmp_path, suffix, lengths, told):
    content = {"x": np.ones((4, 5, 3)), "lengths": lengths if lengths.dtype.kind != "U" else lengths.astype("S")}
    np.savez(tmp_path / "audio.npz", **content)
    save_h5(tmp_path, **content)
    (found,) = problems(audio, tmp_path, name=f"audio.{suffix}", values="x", lengths="lengths")
    assert told in found


@pytest.mark.parametrize("edges", [[0, 2, 1e30, 3, 4], [0, 2, 2**62, 3, 4], [0, -2, 2, 3, 4], [0, 2, 3, 4]])
def test_offsets_and_lengths_of_rows_that_cannot_be_are_refused(tmp_path, edges):
    np.savez(tmp_path / "audio.npz", x=X, starts=np.array(edges), lengths=np.array(edges[1:]))
    for name in ("offsets", "lengths"):
        (found,) = problems(audio, tmp_path, values="x", **{name: "starts" if name == "offsets" else "lengths"})
        assert "audio.npz: " in found


@pytest.mark.parametrize("odd", ["a\0", "a\nb", "a\u202eb"])
def test_ids_that_cannot_be_printed_are_refused_before_a_file_is_opened(tmp_path, odd):
    table = TABLE | {"id": ["a", odd, "c", "d"], "text": ["x"] * 4}
    pd.DataFrame(table).to_parquet(tmp_path / "table.parquet")
    entry = {"file": tmp_path / "{id}.npy"}
    with pytest.raises(ElisionError, match="1 id that cannot be printed") as caught:
        arrays.prepare(settings(tmp_path, table="table.parquet", audio=entry), tmp_path)
    assert repr(odd) in str(caught.value)


def test_ids_with_invalid_code_points_are_refused(tmp_path):
    ids = np.array(["a", "b", "c", "d"])
    ids.view(np.uint32)[2] = 0xD800
    np.savez(tmp_path / "audio.npz", x=X, who=ids)
    (found,) = problems(audio, tmp_path, values="x", ids="who")
    assert "text with invalid code points" in found
    np.save(tmp_path / "who.npy", ids)
    (found,) = problems(audio, tmp_path, values="x", ids=f"{tmp_path}/who.npy")
    assert "text with invalid code points" in found


def test_ids_of_hdf5_may_be_text_of_any_length(tmp_path):
    for ids in (np.array(IDS, "S"), IDS, np.array([[name] for name in IDS], dtype=object)):
        with h5py.File(tmp_path / "audio.h5", "w") as file:
            file["x"] = np.arange(12.0).reshape(4, 3)
            file.create_dataset(
                "who",
                data=ids,
                **({} if isinstance(ids, list) or ids.dtype.kind == "S" else {"dtype": h5py.string_dtype()}),
            )
        assert (
            audio(tmp_path, {"text": "x"}, name="audio.h5", values="x", ids="who").values.tolist()
            == np.arange(12.0).reshape(4, 3).tolist()
        )
