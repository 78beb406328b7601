"""Transcripts in the formats of this field: what is said is read; no time stamp, number or markup becomes a word."""

import json
import logging

import pytest

from elision.datasets import clips
from elision.datasets._transcripts import text_of, words_of
from elision.errors import ElisionError

SRT = "1\n00:00:00,000 --> 00:00:01,200\nI like it\n\n2\n00:00:01,200 --> 00:00:02,000\nvery much\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:01.200\n<v Speaker>I like it\n\n00:01.200 --> 00:02.000\nvery much\n"
WORD_SRT = "1\n00:00:00,100 --> 00:00:00,400\nI\n\n2\n00:00:00,400 --> 00:00:00,900\nlike\n"
STYLED = (
    "\ufeff1\r\n00:00:00,000 --> 00:00:01,200\r\n{\\an8}<font color='#fff'>I &amp; you</font>\r\n\r\n"
    "2\r\n00:00:01,200 --> 00:00:02,000\r\n\r\n3\r\n00:00:03,200 --> 00:00:04,000\r\n1984\r\n"
)
NOTES = (
    "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a --> b\n\n1 - intro\n"
    "00:01.200 --> 00:02.000 align:start\nso <i>good</i>\n"
)
ROLLING = (  # what is on the screen already is written again in the next cue
    "WEBVTT\n\n00:00:00.000 --> 00:00:02.000 align:start\nhello<00:00:00.500><c> world</c>\n\n"
    "00:00:02.000 --> 00:00:02.010\nhello world\n \n\n"
    "00:00:02.010 --> 00:00:04.000\nhello world\nnext<00:00:03.000><c> line</c>\n"
)


def textgrid(*tiers: tuple[str, list[tuple[float, float, str]]], short: bool = False) -> str:
    """A TextGrid as Praat writes it, long or short."""
    if short:
        lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "2", "<exists>", str(len(tiers))]
        for name, entries in tiers:
            lines += ['"IntervalTier"', f'"{name}"', "0", "2", str(len(entries))]
            lines += [part for start, end, label in entries for part in (str(start), str(end), f'"{label}"')]
        return "\n".join(lines) + "\n"
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 ", "xmax = 2 "]
    lines += ["tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for k, (name, entries) in enumerate(tiers, 1):
        lines += [f"    item [{k}]:", '        class = "IntervalTier" ', f'        name = "{name}" ']
        lines += ["        xmin = 0 ", "        xmax = 2 ", f"        intervals: size = {len(entries)} "]
        for n, (start, end, label) in enumerate(entries, 1):
            lines += [f"        intervals [{n}]:", f"            xmin = {start} ", f"            xmax = {end} "]
            lines += [f'            text = "{label}" ']
    return "\n".join(lines) + "\n"


SPOKEN = [(0, 0.5, "hello"), (0.5, 1, "<p:>"), (1, 1.4, ""), (1.4, 2, "you")]
PHONES = [(0, 0.2, "h"), (0.2, 2, "@")]

SEGMENTS = {
    "text": " I like it",
    "language": "en",
    "segments": [
        {"start": 0, "end": 1, "text": " I like", "words": [
            {"word": " I", "start": 0.0, "end": 0.4, "probability": 0.9},
            {"word": " like", "start": 0.4, "end": 0.9, "probability": 0.8},
        ]},
        {"start": 1, "end": 2, "text": " it", "words": [{"word": " it", "start": 1.0, "end": 1.2}]},
    ],
}  # fmt: skip

TEXTS = {
    "srt": (SRT, "I like it very much"),
    "srt of one word": (WORD_SRT, "I like"),
    "srt with styles": (STYLED, "I & you 1984"),
    "vtt": (VTT, "I like it very much"),
    "vtt with notes": (NOTES, "so good"),
    "vtt that rolls": (ROLLING, "hello world next line"),
    "textgrid": (textgrid(("phones", PHONES), ("words", SPOKEN)), "hello you"),
    "short textgrid": (textgrid(("Words", SPOKEN), short=True), "hello you"),
    "textgrid of one tier": (textgrid(("Mary", SPOKEN)), "hello you"),
    "textgrid of phrases": (textgrid(("Mary", [(0, 2, "hello you")]), ("notes", [(0, 2, "")])), "hello you"),
    "whisper": (json.dumps(SEGMENTS), "I like it"),
    "whisper without text": (json.dumps({"segments": SEGMENTS["segments"]}), "I like it"),
    "segments of whisper": ('[{"start": 0, "end": 1, "text": " I"}, {"start": 1, "end": 2, "text": "go"}]', "I go"),
    "plain": ("It was\r\nfine, at 10:30.\n[laughs] {sic} 3 -- 4", "It was fine, at 10:30. [laughs] {sic} 3 -- 4"),
    "plain in brackets": ("[laughs] no", "[laughs] no"),
    "plain with a tag": ("<laughs> no", "<laughs> no"),
    "plain of numbers": ("2 3 four", "2 3 four"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_what_is_said_is_read_whatever_the_format_and_the_name(tmp_path, case):
    content, expected = TEXTS[case]
    (tmp_path / "a.txt").write_text(content, encoding="utf-8", newline="")
    assert text_of(tmp_path / "a.txt") == expected


def test_a_textgrid_of_praat_in_utf_16_is_read(tmp_path):
    for encoding in ("utf-16", "utf-8-sig"):
        content = textgrid(("words", [(0, 1, "żółw"), (1, 2, "好")]))
        (tmp_path / "a.TextGrid").write_text(content, encoding=encoding)
        assert text_of(tmp_path / "a.TextGrid") == "żółw 好"


WORDS = {
    "srt of one word": (WORD_SRT, [("I", 0.1, 0.4), ("like", 0.4, 0.9)]),
    "textgrid": (TEXTS["textgrid"][0], [("hello", 0, 0.5), ("you", 1.4, 2)]),
    "whisper": (TEXTS["whisper"][0], [("I", 0, 0.4), ("like", 0.4, 0.9), ("it", 1, 1.2)]),
    "words on top": ('{"text": "so", "words": [{"word": "so", "start": 0.25, "end": 1}]}', [("so", 0.25, 1)]),
    "csv": ("word,start,end\nso,0,0.5\n", [("so", 0, 0.5)]),
    "csv of whisper": ("Word;Start;End;probability\nso;0;0.5;0.9\n", [("so", 0, 0.5)]),
}


@pytest.mark.parametrize("case", WORDS)
def test_times_of_words_are_read_where_the_format_has_them(tmp_path, case):
    content, expected = WORDS[case]
    (tmp_path / "a").write_text(content)
    assert words_of(tmp_path / "a")[0] == expected


def test_words_without_a_time_and_other_columns_are_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    entries = [{"word": "In", "start": 0.1, "end": 0.2}, {"word": "2014"}, {"word": "hi", "start": 0.3, "end": 0.4}]
    (tmp_path / "a.json").write_text(json.dumps({"segments": [{"text": "In 2014 hi", "words": entries}]}))
    assert words_of(tmp_path / "a.json") == ([("In", 0.1, 0.2), ("hi", 0.3, 0.4)], "1 word without a time")
    (tmp_path / "b.csv").write_text("word,start,end,probability\nI,0,0.5,0.9\n")
    rows = "a,x,1,train,a.json\nb,x,0,valid,b.csv\nc,x,1,test,b.csv\n"
    (tmp_path / "clips.csv").write_text("id,text,label,split,words\n" + rows)
    found = clips.prepare(clips.Settings(source="clips", folder=tmp_path), tmp_path)
    assert json.loads(found["words"][2]) == [["I", 0, 0.5]]
    assert "left out of 1 file of words: 1 word without a time" in caplog.text
    assert "left out of 2 files of words: columns probability" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SRT, "has times of lines ('I like it') and not of words; give a CSV file with the columns word, start, end"),
        (VTT, "has times of lines"),
        (textgrid(("Mary", [(0, 2, "hello you")])), "has times of lines ('hello you')"),
        (json.dumps({"text": "x", "segments": [{"start": 0, "end": 1, "text": "x"}]}), "word_timestamps=True"),
        ('{"words": [{"word": "so"}]}', "no word has a start and an end"),
        ('{"words": [{"word": "so", "start": 2, "end": 1}]}', "'so' is spoken from 2 to 1 s; needed is 0 <= start"),
        ("word,begin,end\nso,0,1\n", "has the columns word, begin, end, and no column start; give a CSV file"),
        ("just words\n", "has the columns just words, and no column word"),
    ],
)
def test_times_that_are_not_those_of_words_are_refused(tmp_path, content, message):
    (tmp_path / "a").write_text(content)
    with pytest.raises(ElisionError) as caught:
        words_of(tmp_path / "a")
    assert message in str(caught.value) and "\n" not in str(caught.value)


REFUSED = {
    "rtf": (b"{\\rtf1\\ansi I like it}", "is rich text (RTF), and no plain text; save the words alone as UTF-8"),
    "docx": (b"PK\x03\x04" + bytes(30), "is a Word or OpenDocument file"),
    "doc": (b"\xd0\xcf\x11\xe0" + bytes(30), "is an old Word document"),
    "pdf": (b"%PDF-1.7", "is a PDF"),
    "html": (b"<!DOCTYPE html>\n<html>", "is a web page"),
    "page": (b"\n<html lang='en'>", "is a web page"),
    "ttml": (b"<?xml version='1.0'?>\n<tt xmlns='x'>", "is TTML subtitles"),
    "elan": (b"\xef\xbb\xbf<?xml version='1.0'?>\n<ANNOTATION_DOCUMENT>", "is XML"),
    "ass": (b"[Script Info]\nTitle: x\n", "is ASS subtitles"),
    "chat": (b"@UTF8\n@Begin\n*CHI: no .\n", "is a CHAT transcript"),
    "sbv": (b"0:00:00.000,0:00:01.200\nhello\n", "holds times, such as '0:00:00.000', which would be read as words"),
    "lrc": (b"[00:01.00]la la\n", "holds times, such as '[00:01.00]'"),
    "stamps": (b"[00:12] Kim: no\n", "holds times, such as '[00:12]'"),
    "ctm": (b"utt 1 0.00 0.30 hello\nutt 1 0.30 0.30 you\n", "holds times, such as 'utt 1 0.00 0.30 hello'"),
    "audacity": (b"0.0\t1.25\thello\n", "holds times"),
    "htk": (b"0 1000000 sil\n1000000 2000000 hello\n", "holds times"),
    "tsv of whisper": (b"start\tend\ttext\n0\t1200\tI like\n", "is a table of times"),
    "words": (b"word,start,end\nI,0,1\n", "is a table of times; name a table of word times under words"),
    "gzip": (b"\x1f\x8b\x08" + bytes(9), "is compressed with gzip"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    "nul": (b"a\x00b", "is no text: it holds NUL bytes"),
    "latin": ("schön".encode("latin1"), "is not UTF-8 (byte 3); save it as UTF-8"),
    "other json": (b'{"results": []}', "is JSON, but not Whisper's: there is no text and no segments"),
    "broken textgrid": (b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n', "open it in Praat"),
    "textgrid without the times of its tiers": (
        textgrid(("words", SPOKEN)).replace(
            "        xmin = 0 \n        xmax = 2 \n        intervals", "        intervals"
        ),
        "cannot be read as a TextGrid (Expected field in Textgrid missing.); open it in Praat and save",
    ),
    "two speakers": (
        textgrid(("Kim", SPOKEN), ("Lee", SPOKEN)).encode(),
        "has the tiers 'Kim', 'Lee'; call the tier of what is said words",
    ),
    "broken vtt": (b"WEBVTT\n\n00:01.000 --> 00:02\nhello\n", "cue"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_transcript_is_refused_with_a_remedy(tmp_path, case):
    content, message = REFUSED[case]
    (tmp_path / "a.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ElisionError) as caught:
        text_of(tmp_path / "a.txt")
    told = str(caught.value)
    assert message in told and "\n" not in told and "a.txt" in told
