"""Tables of clips as people have them: pandas, R, Excel, JSON and Parquet write them."""

import json
import logging
import re
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
import yaml
from source_examples import mmsa_raw

from elision.datasets import clips
from elision.datasets._prepare import finish, prepare
from elision.errors import ElisionError
from elision.settings.params import Params
from elision.store import read_table

ROWS = [["a", "hi there", "1", "train"], ["b", "no", "-1", "valid"], ["c", "ok", "0", "test"]]
HEADER = ["id", "text", "label", "split"]
FRAME = pd.DataFrame(ROWS, columns=HEADER)


def read(folder: Path, content: str | bytes, name: str = "clips.csv", **settings) -> pd.DataFrame:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return clips.prepare(clips.Settings(source="clips", folder=folder, table=name, **settings), folder / "made")


def refused(folder: Path, content: str | bytes, name: str = "clips.csv", **settings) -> str:
    with pytest.raises(ElisionError) as caught:
        read(folder, content, name, **settings)
    return str(caught.value).replace(str(folder), "")


def assert_whole(found: pd.DataFrame) -> None:
    assert found[["id", "text", "split"]].to_numpy().tolist() == [[r[0], r[1], r[3]] for r in ROWS]
    assert found["label"].tolist() == [1, -1, 0]


def excel(path: Path, *sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path.read_bytes()


# --- what pandas, R and Excel add


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_an_index_column_is_left_out_and_said(tmp_path, caplog, first, separator):
    caplog.set_level(logging.INFO)
    lines = [separator.join([first, *HEADER]), *(separator.join([str(k), *row]) for k, row in enumerate(ROWS))]
    assert_whole(read(tmp_path, "\n".join(lines)))
    assert "clips.csv: not used: 1 column without a name" in caplog.text


def test_numbers_of_rows_that_r_writes_are_left_out(tmp_path):
    lines = [" ".join(HEADER), *(f"{k + 1},{','.join(row)}" for k, row in enumerate(ROWS))]
    lines[0] = ",".join(HEADER)
    assert_whole(read(tmp_path, "\n".join(lines)))
    lines[1] = lines[1].replace("1,a", "x,a")  # no number of a row: a cell too many
    assert "there are more cells than columns ('train')" in refused(tmp_path, "\n".join(lines))


def test_an_empty_column_between_others_is_left_out(tmp_path):
    lines = ["id,,text,label,split,", *(f"{a},,{b},{c},{d}," for a, b, c, d in ROWS)]
    assert_whole(read(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_line_of_excel_that_names_the_separator_is_read(tmp_path, line, newline):
    lines = [line, ";".join(HEADER), *(";".join(row) for row in ROWS)]
    assert_whole(read(tmp_path, newline.join(lines)))
    lines[-1] = lines[-1].replace("test", "tset")
    assert "line 5, id 'c': split is 'tset'" in refused(tmp_path, newline.join(lines))


# --- formats


def test_a_workbook_is_read_from_its_first_sheet(tmp_path):
    rows = [[], HEADER, *([r[0], r[1], float(r[2]), r[3]] for r in ROWS), [None] * 4]
    for name in ("clips.xlsx", "clips.csv"):  # its content tells
        assert_whole(read(tmp_path, excel(tmp_path / "x.xlsx", rows, [["other"]]), name))
    rows[3][2] = 9
    found = refused(tmp_path, excel(tmp_path / "x.xlsx", rows), "clips.xlsx")
    assert "row 4, id 'b': label is 9, not in [-3, 3]" in found


def test_a_workbook_needs_a_library_or_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    content = excel(tmp_path / "x.xlsx", [HEADER, *ROWS])
    found = refused(tmp_path, content, "clips.xlsx")
    assert "/clips.xlsx is an Excel workbook; save the table as CSV UTF-8, or type once: pip install" in found


def test_a_workbook_that_is_damaged_or_empty_is_refused(tmp_path):
    content = excel(tmp_path / "x.xlsx", [HEADER, *ROWS])
    assert "is a damaged .zip or .xlsx file" in refused(tmp_path, content[:400])
    assert "the first sheet is empty; move the table there" in refused(tmp_path, excel(tmp_path / "x.xlsx", [], ROWS))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("\n".join(json.dumps(dict(zip(HEADER, row, strict=True))) for row in ROWS) + "\n", True),
        (json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS], indent=1), False),
        (FRAME.to_json(orient="records", lines=True), True),
    ],
)
def test_json_is_an_object_per_line_or_a_list_of_them(tmp_path, text, lines):
    assert_whole(read(tmp_path, text, "clips.jsonl"))
    found = refused(tmp_path, text.replace('"-1"', "9.5"), "clips.jsonl")
    assert "line 2, id 'b': label is 9.5, not in [-3, 3]" in found


def test_types_of_json_become_text(tmp_path):
    rows = [
        {"id": 7, "text": None, "path": "a.wav", "label": 1, "split": "train"},
        {"id": "b", "text": "x", "label": -0.5, "split": "valid", "speaker": None},
        {"id": "c", "text": "x", "label": float("nan"), "split": "train"},
        {"id": "d", "text": "x", "label": 2.0, "split": "test"},
    ]
    rows[0].pop("path")
    rows[0]["text"] = "y"
    found = read(tmp_path, "\n".join(map(json.dumps, rows)), "clips.jsonl", skip_unlabelled=True)
    assert found["id"].tolist() == ["7", "b", "d"] and found["label"].tolist() == [1, -0.5, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}\n{"id": \n', "line 2 is not valid JSON"),
        ('{"a": {"text": "x"}}', "is one JSON object; a table in JSON is an object per line"),
        ("[1, 2]", "line 1 is int, no JSON object"),
        ('{"id": "a", "text": ["x"]}\n{"id": "b"}', "line 1: 'text' holds list; write text or a number"),
    ],
)
def test_other_json_is_refused(tmp_path, text, message):
    assert message in refused(tmp_path, text, "clips.jsonl")


def test_parquet_is_read(tmp_path):
    FRAME.assign(label=[1.0, -1.0, 0.0]).set_index(pd.Index([5, 6, 7])).to_parquet(tmp_path / "x.parquet")
    assert_whole(read(tmp_path, (tmp_path / "x.parquet").read_bytes(), "clips.parquet"))
    assert "cannot be read as a table" in refused(tmp_path, b"PAR1" + bytes(50), "clips.parquet")


def archive(folder: Path, *names: str) -> bytes:
    with zipfile.ZipFile(folder / "x.zip", "w") as file:
        for name in names:
            file.writestr(name, "x")
    return (folder / "x.zip").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (("word/document.xml",), "is a Word document (.docx); save the table as CSV UTF-8, or as .xlsx"),
        (("content.xml",), "is an OpenDocument file (.ods, .odt)"),
        (("a.csv",), "is a .zip file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is in the old format of Excel or Word (.xls, .doc)"),
        (b"\x1f\x8b\x08" + bytes(20), "is compressed with gzip; unpack the file first"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"{\\rtf1 id,text}", "is rich text (RTF)"),
        (b"%PDF-1.7\n", "is a PDF"),
    ],
)
def test_what_is_no_table_is_named_with_a_remedy(tmp_path, content, message):
    content = archive(tmp_path, *content) if isinstance(content, tuple) else content
    found = refused(tmp_path, content)
    assert message in found and "\n" not in found


# --- columns and splits


def test_columns_and_splits_of_a_table_are_translated(tmp_path):
    text = "utt,Utterance,Sentiment,set\na,hi,1,tr\nb,no,-1,dev\nc,ok,0,test\n"
    names = {"id": "utt", "text": "utterance", "label": "Sentiment", "split": "set"}
    found = read(tmp_path, text, columns=names, splits={"train": "tr", "valid": "dev"})
    assert found["split"].tolist() == ["train", "valid", "test"] and found["label"].tolist() == [1, -1, 0]
    found = refused(tmp_path, text, columns=names | {"speaker": "who"})
    assert "there is no column 'who', which columns: says is speaker; " in found
    assert "line 3, id 'b': split is 'dev'; write train, valid or test, or splits: {valid: dev} in params.yaml" in found


def test_a_column_can_be_put_out_of_use(tmp_path):
    text = "id,text,transcript,label,split\na,hi,,1,train\nb,no,,0,valid\nc,ok,,2,test\n"
    assert "there are both columns text and transcript" in refused(tmp_path, text)
    assert read(tmp_path, text, columns={"transcript": None})["text"].tolist() == ["hi", "no", "ok"]


def test_other_columns_are_kept_for_folds_and_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    text = "id,text,label,split,Session,duration,probability,,speaker_id\n"
    text += "a,hi,1,train,1,3,0.5,,kim\nb,no,-1,valid,2,3,,,lee\nc,ok,0,test,nan,3,0.1,,max\n"
    found = read(tmp_path, text)
    assert found["Session"].tolist() == ["1", "2", None] and found["probability"].tolist() == ["0.5", None, "0.1"]
    assert found["duration"].isna().all() and "fold" not in found
    assert "columns that only folds and statistics.cluster can use: Session, probability, speaker_id" in caplog.text
    assert "clips.csv: not used: 'duration'" in caplog.text
    assert "column 'speaker_id' is not read; if it is speaker, write columns: {speaker: speaker_id}" in caplog.text
    assert "Session is 'nan', which is read as empty: line 4, id 'c'" in caplog.text


@pytest.mark.parametrize("nothing", ["nan", "NaN", "None", "NULL", "<NA>"])
def test_a_text_that_a_program_wrote_for_nothing_is_empty_and_said(tmp_path, caplog, nothing):
    caplog.set_level(logging.INFO)
    text = f"id,text,path,label,split\na,hi,,1,train\nb,{nothing},,-1,valid\nc,{nothing},,0,test\n"
    found = refused(tmp_path, text)
    assert "line 3, id 'b': nothing in path or text: there are no data" in found
    assert f"text is {nothing!r}, which is read as empty: lines 3, 4" in caplog.text


# --- to the end of the prepare step


def test_folds_may_be_by_any_column_of_a_table(tmp_path):
    rows = [f"u{k},words,{k % 3 - 1},{'abcdef'[k % 6]}" for k in range(24)]
    (tmp_path / "clips.csv").write_text("id,text,label,dialogue\n" + "\n".join(rows))
    entry = {"source": "clips", "folder": str(tmp_path), "folds": {"by": "dialogue", "count": 3}}
    params = Params.model_validate({"datasets": {"mine": entry}, "methods": ["majority"]})
    places = {"clips": tmp_path / "c.parquet", "media": tmp_path / "m", "store": tmp_path / "s"}
    prepare(params, "mine", **places, provenance={})
    assert read_table(tmp_path / "c.parquet")[0]["dialogue"].nunique() == 6


# --- what the guide shows

GUIDE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The blocks of the guide that begin so."""
    return [block for block in re.findall(r"```[a-z]*\n(.*?)```", GUIDE, re.DOTALL) if block.startswith(kind)]


def shown(name: str) -> dict:
    """The entry of a dataset that the guide shows."""
    (found,) = [entry for entry in map(yaml.safe_load, blocks("datasets:")) if name in entry["datasets"]]
    return found["datasets"][name]


def prepared(folder: Path, entry: dict) -> tuple[pd.DataFrame, list[str]]:
    params = Params.model_validate({"datasets": {"mine": entry | {"folder": str(folder)}}, "methods": ["majority"]})
    places = {"clips": folder / "c.parquet", "media": folder / "m", "store": folder / "s"}
    prepare(params, "mine", **places, provenance={})
    return finish(read_table(folder / "c.parquet")[0], params.datasets["mine"], "here")


def test_the_json_lines_of_the_guide_are_prepared_with_the_names_of_its_classes(tmp_path):
    entry = shown("meld")
    (table,) = blocks('{"utterance_id"')
    (tmp_path / entry["table"]).write_text(table)
    with pytest.raises(ElisionError, match="no sample of class fear, sadness, disgust, anger; leave it out of classes"):
        prepared(tmp_path, entry)  # four lines do not have all classes
    more = "".join(
        json.dumps({"utterance_id": f"more_{k}", "Utterance": "x", "Emotion": k, "set": "train", "Dialogue": 3}) + "\n"
        for k in (2, 3, 5, 6)
    )
    (tmp_path / entry["table"]).write_text(table + more)
    samples, classes = prepared(tmp_path, entry)
    assert classes == ["neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"]
    assert samples["label"].tolist()[:4] == ["surprise", "neutral", "surprise", "joy"]
    assert samples["speaker"].tolist()[:2] == ["Joey", "Rachel"] and samples["dialogue"].tolist()[:2] == ["0", "0"]


def test_the_label_csv_of_the_guide_is_prepared(tmp_path):
    (table,) = blocks("video_id,")
    (tmp_path / "label.csv").write_text(table)
    for video, clip in (("video_0001", "0001"), ("video_0001", "0002"), ("video_0002", "0001")):
        (tmp_path / "Raw" / video).mkdir(parents=True, exist_ok=True)
        (other := tmp_path / "made" / video / clip).mkdir(parents=True)
        made = mmsa_raw.make(other)
        (Path(made["folder"]) / "Raw" / "video_0000" / "0000.mp4").rename(tmp_path / "Raw" / video / f"{clip}.mp4")
    samples, _ = prepared(tmp_path, shown("sims"))
    assert samples["id"].tolist() == ["video_0001$_$0001", "video_0001$_$0002", "video_0002$_$0001"]
    assert samples["label"].tolist() == [-0.8, 0.6, 0.0] and samples["label_vision"].isna().tolist() == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("page", ["own-data.md", "emotion.md"])
def test_entries_of_datasets_in_the_guides_are_accepted(page):
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    found = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if b.startswith("datasets:")]
    assert found
    for content in found:
        Params.model_validate({"methods": ["majority"], **content})
