import csv
import io
import json
import logging
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from elision.datasets import clips
from elision.datasets._prepare import prepare as prepare_dataset
from elision.dialogues import members
from elision.errors import ElisionError
from elision.settings.params import Params
from elision.store import read_table


def make_media(path, *, audio=True, vision=True, seconds=0.4):
    """A short noise over a grey picture."""
    with av.open(str(path), "w") as container:
        streams = {}
        if vision:
            streams["vision"] = container.add_stream("libx264", 10)
            streams["vision"].width, streams["vision"].height, streams["vision"].pix_fmt = 32, 32, "yuv420p"
        if audio:
            streams["audio"] = container.add_stream("aac" if vision else "pcm_s16le", 16000, layout="mono")
        for k in range(round(seconds * 10) if vision else 0):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * k, np.uint8), "rgb24")
            container.mux(streams["vision"].encode(frame))
        if audio:
            noise = np.random.default_rng(0).integers(-900, 900, (1, round(16000 * seconds)), np.int16)
            frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
            frame.sample_rate = 16000
            container.mux(streams["audio"].encode(frame))
        for stream in streams.values():
            container.mux(stream.encode())


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    make_media(folder / "both.mp4")
    make_media(folder / "silent.mkv", audio=False)
    make_media(folder / "voice.wav", vision=False, seconds=0.5)
    (folder / "broken.mp4").write_bytes(b"this is no video" * 50)
    return folder


@pytest.fixture
def folder(tmp_path, media):
    (tmp_path / "media").symlink_to(media)
    return tmp_path


def table(folder, text, encoding="utf-8"):
    (folder / "clips.csv").write_bytes(text.encode(encoding))
    return clips.Settings(source="clips", folder=folder)


def prepare(folder, text, **settings):
    return clips.prepare(table(folder, text).model_copy(update=settings), folder / "made")


def problems(folder, text, **settings):
    with pytest.raises(ElisionError) as caught:
        prepare(folder, text, **settings)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"{folder / 'clips.csv'}: {len(lines)} problem")
    assert [line.split(".")[0] for line in lines] == [str(n) for n in range(1, len(lines) + 1)]
    return [line.split(". ", 1)[1] for line in lines]


GOOD = """id,path,text,label,split,speaker
a,media/both.mp4,I loved it,2.5,train,kim
b,media/silent.mkv,"well, no",-1,valid,lee
c,media/voice.wav,,0,test,max
d,,only words,-3,test,
"""


def test_a_table_becomes_a_row_per_clip(folder):
    found = prepare(folder, GOOD)
    assert found["id"].tolist() == ["a", "b", "c", "d"]
    assert found["path"].tolist()[:3] == [str(folder / "media" / n) for n in ("both.mp4", "silent.mkv", "voice.wav")]
    assert found["path"][3] is None
    assert found["text"].tolist() == ["I loved it", "well, no", None, "only words"]
    assert found["label"].tolist() == [2.5, -1.0, 0.0, -3.0]
    assert found["split"].tolist() == ["train", "valid", "test", "test"]
    assert found["speaker"].tolist() == ["kim", "lee", "max", None]
    assert found["has_audio"].tolist() == [True, False, True, False]
    assert found["has_vision"].tolist() == [True, True, False, False]
    assert found["duration"].tolist()[:3] == pytest.approx([0.4, 0.4, 0.5], abs=0.1)
    assert np.isnan(found["duration"][3])
    assert found["fps"].tolist()[:2] == pytest.approx([10, 10], abs=0.1)
    assert found["fps"].isna().tolist() == [False, False, True, True]
    assert found["words"].tolist() == [None] * 4


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tables_of_every_spreadsheet_are_read(folder, separator, newline, encoding):
    cells = [
        ["id", "text", "label", "split", "", ""],
        ["a", "schön 好", "1", "train", "", ""],
        ["b", "commas, semicolons; and\ttabs", "0", "valid", "", ""],
        ["", "", "", "", "", ""],
        ["c", 'she said "no"', "-1.5", "test", "", ""],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=newline).writerows(cells)
    found = clips.prepare(table(folder, text.getvalue(), encoding), folder)
    assert found[["id", "text", "split"]].to_numpy().tolist() == [[c[0], c[1], c[3]] for c in cells[1:] if c[0]]
    assert found["label"].tolist() == [1, 0, -1.5]


def test_column_names_may_be_in_any_case_and_order(folder):
    found = prepare(folder, "Split, Label ,TEXT,ID\ntrain,1,x,a\nvalid,1,x,b\ntest,1,x,c\n")
    assert found["id"].tolist() == ["a", "b", "c"]


def test_transcripts_are_read_from_files(folder):
    (folder / "a.txt").write_bytes("\ufeffIt was\r\nfine.\n".encode())
    found = prepare(
        folder, "id,transcript,path,label,split\na,a.txt,,1,train\nb,,media/voice.wav,1,valid\nc,a.txt,,1,test"
    )
    assert found["text"].tolist() == ["It was fine.", None, "It was fine."]


def test_labels_of_single_modalities_and_words_are_kept(folder):
    (folder / "w.csv").write_text("word;start;end\nso;0;0.25\ngood;0.25;1\n")
    found = prepare(
        folder,
        "id,text,label,label_text,label_audio,label_vision,split,words\n"
        "a,so good,1,0.5,0,-1,train,w.csv\nb,x,1,1,1,1,valid,\nc,x,1,1,1,1,test,\n",
    )
    assert found[["label_text", "label_audio", "label_vision"]].iloc[0].tolist() == [0.5, 0, -1]
    assert json.loads(found["words"][0]) == [["so", 0, 0.25], ["good", 0.25, 1]]
    assert found["words"][1] is None


def test_columns_say_the_dialogue_and_the_place_in_it(folder):
    text = "id,text,label,split,Dialogue,turn\na,x,1,train,k,2\nb,x,1,train,k,1\nc,x,1,valid,l,1\nd,x,1,test,,\n"
    table(folder, text)
    of = clips.Settings(source="clips", folder=folder, columns={"position": "turn"})
    found = clips.prepare(of, folder / "made")
    assert [rows.tolist() for rows in members(found)] == [[1, 0], [2], [3]]
    assert clips.columns(of) == ["dialogue"], "folds and clusters can name the dialogue"


def test_the_table_passes_through_the_prepare_step(folder):
    table(folder, GOOD)
    params = Params(datasets={"mine": {"source": "clips", "folder": str(folder)}}, methods=["majority"])
    prepare_dataset(
        params,
        "mine",
        clips=folder / "out.parquet",
        media=folder / "m",
        store=folder / "s",
        provenance={"step": "prepare"},
    )
    found, _ = read_table(folder / "out.parquet")
    assert found["id"].tolist() == ["a", "b", "c", "d"]
    assert found["text"].isna().tolist() == [False, False, True, False]


def test_inputs_are_the_table_and_the_files_that_it_names(folder):
    (folder / "a.txt").write_text("x")
    (folder / "w.csv").write_text("word,start,end\n")
    settings = table(
        folder,
        "id,path,transcript,words,label,split\na,media/both.mp4,a.txt,w.csv,1,train\nb,media/none.mp4,,,1,test\n",
    )
    expected = [folder / name for name in ("clips.csv", "a.txt", "media/both.mp4", "w.csv")]
    assert clips.inputs(settings) == expected


def test_inputs_of_a_table_that_cannot_be_read_are_the_table(folder):
    assert clips.inputs(clips.Settings(source="clips", folder=folder)) == [folder / "clips.csv"]
    (folder / "clips.csv").write_bytes(b"\xff\xfe\x00")
    assert clips.inputs(clips.Settings(source="clips", folder=folder)) == [folder / "clips.csv"]


def rows(line, header="id,path,text,label,split"):
    """A table with one line to look at, and good clips in every split."""
    n = header.count(",")
    others = "".join(f"ok{k},,x,0,{split}{',' * (n - 4)}\n" for k, split in enumerate(("train", "valid", "test")))
    return f"{header}\n{line}\n{others}"


ROWS = {
    "missing file": ("a,nowhere.mp4,,1,train", "{folder}/nowhere.mp4: no such file"),
    "broken file": ("a,media/broken.mp4,x,1,train", "{folder}/media/broken.mp4: cannot be decoded"),
    "folder": ("a,media,x,1,train", "{folder}/media: is a folder"),
    "label is a word": ("a,,x,good,train", "label is 'good', not a number"),
    "label is empty": ("a,,x,,train", "there is no label; write a label, or set skip_unlabelled: true"),
    "decimal comma": ('a,,x,"0,5",train', "label is '0,5', not a number (write a decimal point)"),
    "label out of range": ("a,,x,3.1,train", "label is 3.1, not in [-3, 3], the range of corpus mosi; correct"),
    "label is nan": ("a,,x,nan,train", "label is 'nan', which means that there is no label; write a label"),
    "label is infinite": ("a,,x,-inf,train", "label is -inf, not in [-3, 3]"),
    "unknown split": (
        "a,,x,1,dev",
        "split is 'dev'; write train, valid or test, or splits: {{valid: dev}} in params.yaml",
    ),
    "position": (
        "a,,x,1,train,last",
        "position 'last' is no number; write the place",
        "id,path,text,label,split,position",
    ),
    "no split": ("a,,x,1", "split is ''; write train, valid or test"),
    "no data": ("a,,,1,train", "nothing in path or text: there are no data"),
    "too many cells": ("a,,well, no,1,train", "there are more cells than columns ('train')"),
}


@pytest.mark.parametrize("case", list(ROWS))
def test_a_problem_of_a_row_names_its_line_and_id(folder, case):
    line, expected, *more = ROWS[case]
    found = problems(folder, rows(line, *more))
    assert any(p.startswith("line 2, id 'a': " + expected.format(folder=folder)) for p in found)


@pytest.mark.parametrize(
    "name", ["", "a/b", "a\\b", ".hidden", "a:b", "a*", 'a""b', "a|b", "é" * 101, "a\x7fb", "a\u202eb"]
)
def test_an_id_must_be_usable_as_a_file_name(folder, name):
    (found,) = problems(folder, rows(f'"{name}",,x,1,train'))
    assert "the id cannot be a file name" in found


@pytest.mark.parametrize("name", ["03bSnISJMiM$_$11", "好", "a.b-c_d e", "x" * 200])
def test_other_ids_are_fine(folder, name):
    assert prepare(folder, rows(f"{name},,x,1,train"))["id"][0] == name


@pytest.mark.parametrize("label", ["-1.5", "1.01"])
def test_the_range_of_labels_is_that_of_the_corpus(folder, label):
    assert problems(folder, rows(f"a,,x,{label},train"), corpus="sims") == [
        f"line 2, id 'a': label is {label}, not in [-1, 1], the range of corpus sims; correct the label, or say which "
        "range the scores have, such as scale: [1, 7]"
    ]
    assert prepare(folder, rows(f"a,,x,{label},train"))["label"][0] == float(label)


def test_labels_of_modalities_are_checked_too(folder):
    header = "id,path,text,label,split,label_audio"
    (*_, first) = problems(folder, rows("a,,x,1,train,loud", header))[:1]
    assert first == "line 2, id 'a': label_audio is 'loud', not a number"


def test_duplicate_ids_name_their_lines(folder):
    assert problems(folder, rows("ok1,,x,1,train")) == ["id 'ok1' stands in lines 2, 4; ids must differ"]


def test_lines_are_counted_as_an_editor_does(folder):
    text = 'id,text,label,split\r\na,"one\r\ntwo",1,train\r\n\r\nb,x,9,valid\r\nc,x,1,test\r\n'
    assert problems(folder, text)[0].startswith("line 5, id 'b': label is 9")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_an_empty_split_is_a_problem(folder, split):
    lines = [line for line in rows("a,,x,1,train").splitlines() if not line.endswith(split)]
    assert problems(folder, "\n".join(lines)) == [f"there is no clip in split {split}; every split needs some"]


def test_columns_are_checked_and_near_names_suggested(folder):
    found = problems(folder, "id,pth,labels,text,transcript\na,,1,x,\n")
    assert "there is no column label; if it is 'labels', write columns: {label: labels} in params.yaml" in found
    assert any(p.startswith("there is no column split; write train, valid or test for each clip") for p in found)
    assert "there are both columns text and transcript; keep one of them" in found
    assert problems(folder, "id,label,split,id\na,1,train,b\nc,1,valid,d\ne,1,test,f") == [
        "column 'id' is there more than once; rename one",
        "there is none of the columns path, text, transcript",
    ]


def test_transcripts_and_words_that_cannot_be_read_are_named(folder):
    (folder / "empty.txt").write_text(" \n")
    (folder / "latin.txt").write_bytes("schön".encode("latin1"))
    (folder / "header.csv").write_text("word,begin,end\n")
    (folder / "order.csv").write_text("word,start,end\nso,0,1\ngood,2,1\n")
    text = (
        "id,transcript,words,label,split\n"
        "a,empty.txt,,1,train\nb,latin.txt,,1,valid\nc,none.txt,,1,test\n"
        "d,,header.csv,1,test\ne,,order.csv,1,test\nf,,none.csv,1,test\n"
    )
    found = problems(folder, text)
    assert (
        f"line 2, id 'a': transcript {folder}/empty.txt is empty; leave the cell empty for a clip without text" in found
    )
    assert f"line 3, id 'b': transcript {folder}/latin.txt is not UTF-8 (byte 3); save it as UTF-8" in found
    assert f"line 4, id 'c': transcript {folder}/none.txt does not exist" in found
    assert (
        f"line 5, id 'd': words {folder}/header.csv has the columns word, begin, end, and no column start; give "
        "a CSV file with the columns word, start, end; a TextGrid with a tier of words; or Whisper's JSON with "
        "word times" in found
    )
    assert f"line 6, id 'e': words {folder}/order.csv: line 3 needs two numbers of seconds, 0 <= start <= end" in found
    assert f"line 7, id 'f': words {folder}/none.csv does not exist" in found


def test_all_problems_are_told_at_once(folder):
    text = "id,path,text,label,split,colour\na,none.mp4,x,9,train,red\na,,x,1,dev,\n,media/broken.mp4,,nan,test,\n"
    found = problems(folder, text)
    assert len(found) == 8
    for part in ("label is 9", "'dev'", "file name", "label is 'nan'", "stands in lines 2, 3", "split valid"):
        assert any(part in problem for problem in found)
    assert sum("no such file" in problem or "cannot be decoded" in problem for problem in found) == 2


def test_a_long_list_of_problems_is_cut_short(folder):
    text = "id,text,label,split\n" + "".join(f"a{i},x,9,train\n" for i in range(200))
    with pytest.raises(ElisionError, match=r"202 problems\n1\. line 2(.|\n)*\n50\. .*\n\.\.\. and 152 more$"):
        prepare(folder, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n , \n", "is empty"),
        ("id,text\nä".encode("latin1"), r"is not UTF-8 \(byte 8\); save it as UTF-8"),
        (b'id,text,label,split\na,"x,1,train\n', r"line 2 is not valid CSV .*; is a quote not closed\?"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_a_remedy(folder, content, message):
    (folder / "clips.csv").write_bytes(content)
    with pytest.raises(ElisionError, match=rf"clips\.csv:? {message}.*docs/own-data\.md"):
        clips.prepare(clips.Settings(source="clips", folder=folder), folder)


def test_a_missing_table_is_named(folder):
    with pytest.raises(ElisionError, match=r"other\.csv does not exist; docs/own-data\.md shows a table"):
        clips.prepare(clips.Settings(source="clips", folder=folder, table="other.csv"), folder)


def test_a_speaker_in_two_splits_is_a_warning(folder, caplog):
    text = "id,text,label,split,speaker\na,x,1,train,kim\nb,x,1,valid,lee\nc,x,1,test,kim\nd,x,1,test,\n"
    with caplog.at_level(logging.WARNING):
        found = prepare(folder, text)
    assert "speakers in more than one split: 'kim';" in caplog.text
    assert len(found) == 4
    caplog.clear()
    prepare(folder, text.replace("test,kim", "test,max"))
    assert not caplog.records


def test_the_same_table_gives_the_same_rows(folder):
    pd.testing.assert_frame_equal(prepare(folder, GOOD), prepare(folder, GOOD))


def test_the_table_of_the_guide_is_accepted(folder, media):
    guide = Path(__file__).parents[2] / "docs" / "own-data.md"
    example = next(block for block in guide.read_text(encoding="utf-8").split("```") if block.startswith("\nid,path"))
    for name in ("video/kim_01.mp4", "video/kim_02.mp4", "audio/lee_01.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(media / ("voice.wav" if name.endswith("wav") else "both.mp4"))
    found = prepare(folder, example)
    assert found["id"].tolist() == ["kim_01", "kim_02", "lee_01", "max_01"]
    assert found["text"].isna().tolist() == [False, True, False, False]
