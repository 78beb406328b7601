"""Transcripts as people have them, known by their content: plain text, SRT, WebVTT, TextGrid, and Whisper's JSON.

``text_of`` gives the words without times, numbers of cues and markup; ``words_of`` gives the time of each word, as far
as the format has that. Every other format is refused by name: its markup would be read as words.
"""

import html
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elision.datasets import _tables
from elision.errors import ElisionError, plural
from elision.filekinds import mistaken

Word = tuple[str, float, float]  # a word, its start and its end, in seconds

# What begins a file that is no plain text.
_OTHERS = (
    (rb"PK\x03\x04", "a Word or OpenDocument file (.docx, .odt)"),
    (rb"\xd0\xcf\x11\xe0", "an old Word document (.doc)"),
    (rb"\{\\rtf", "rich text (RTF)"),
    (rb"%PDF", "a PDF"),
    (rb"(?i)<(!doctype html|html|head|body)\b", "a web page (HTML)"),
    (rb"(?i)<tt\b|<\?xml[^>]*\?>\s*<tt\b", "TTML subtitles"),
    (rb"<\?xml|<!DOCTYPE|<[A-Z_]+ ", "XML (such as ELAN, EXMARaLDA or TTML)"),
    (rb"\[Script Info\]", "ASS subtitles"),
    (rb"@(UTF8|Begin)\b", "a CHAT transcript"),
    (rb"ooBinaryFile", "a binary TextGrid"),
)
_TEXTGRID = re.compile(r'\s*(File type\s*=\s*)?"ooTextFile')
_STAMP = r"^[ \t]*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}[ \t]*-->"
_CUE = re.compile(_STAMP, re.MULTILINE)
_EMPTY_CUE = re.compile(_STAMP + r"[^\n]*(?:\Z|\n[ \t]*(?:\n|\Z))", re.MULTILINE)
# Lines of a label track, such as CTM, HTK's or Audacity's: a start and an end, and perhaps names before them.
_LABELS = re.compile(r"(?:[^\s\d]\S*\s+\S+\s+)?\d+(\.\d+)?[\s,]+\d+(\.\d+)?[\s,]+\S+")
_TIMES = re.compile(r"-->|\b\d{1,2}:\d{2}:\d{2}[.,]\d{2,3}\b|^\s*[\[(]?\d{1,2}:\d{2}([.:]\d{2})?[\])]", re.MULTILINE)
_STYLES = re.compile(r"<[^>\n]*>|\{\\[^}\n]*\}")  # <i>, <v Speaker>, <00:00:01.500>; {\an8}
_WORD_STAMP = re.compile(r"<\d{2}:\d{2}:\d{2}\.\d{3}>")
# Tiers that hold what is said, the best first, and marks in them of silence and noise.
_TIERS = (
    "words",
    "word",
    "ort-mau",
    "ort",
    "orthography",
    "text",
    "transcript",
    "transcription",
    "utterances",
    "utterance",
)
_SILENCES = frozenset(("", "sp", "sil", "spn", "pau", "<p:>", "<eps>", "<sil>", "<unk>", "{sl}", "{sp}", "{ns}", "#"))
_PLAIN = "save the words alone as UTF-8 text, or as SRT, WebVTT, TextGrid or Whisper's JSON"
_WORD_TIMES = (
    "a CSV file with the columns word, start, end; a TextGrid with a tier of words; or Whisper's JSON with word times"
)


def text_of(path: Path) -> str:
    """Return what is said, on one line.

    Raises
    ------
    ElisionError
        If the file is missing or no UTF-8, or its format is none of those that are read.
    """
    kind, text = _opened(path)
    if kind == "json":
        found = _whisper(text, path)
        said = found["text"] if isinstance(found.get("text"), str) else " ".join(_segment_texts(found))
    elif kind == "textgrid":
        said = " ".join(label for label, _, _ in _tier(text, path))
    elif kind == "subtitles":
        said = " ".join(said for said, _, _ in _cues(text, path))
    elif kind == "words":
        raise ElisionError(f"{path} is a table of times; name a table of word times under words; {_PLAIN}")
    else:
        said = text
    return " ".join(said.split())


def words_of(path: Path) -> tuple[list[Word], str]:
    """Return each word with its time, in the order of the file, and what was left out.

    Raises
    ------
    ElisionError
        If the file is missing or no UTF-8, has no times of words, or a time is wrong.
    """
    kind, text = _opened(path, words=True)
    left_out = ""
    if kind == "json":
        words, without = _whisper_words(_whisper(text, path), path)
        left_out = f"{plural(without, 'word')} without a time" if without else ""
    elif kind == "textgrid":
        words = _tier(text, path)
    elif kind == "subtitles":
        words = _cues(text, path)
    else:
        return _table_words(path)
    if several := [said for said, _, _ in words if len(said.split()) > 1]:
        raise ElisionError(f"{path} has times of lines ({several[0][:40]!r}) and not of words; give {_WORD_TIMES}")
    for word, start, end in words:
        if not 0 <= start <= end < math.inf:
            raise ElisionError(f"{path}: {word!r} is spoken from {start:g} to {end:g} s; needed is 0 <= start <= end")
    return words, left_out


def _opened(path: Path, *, words: bool = False) -> tuple[str, str]:
    """Return the kind of a file, and its text."""
    data = _tables.read_bytes(path)
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:400]
    for pattern, what in _OTHERS:
        if re.match(pattern, start):
            raise ElisionError(f"{path} is {what}, and no plain text; {_PLAIN}")
    if data and (what := mistaken(data[:1024])):
        raise ElisionError(f"{path} {what}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and _TEXTGRID.match(wide := data.decode("utf-16", "replace")):
        return "textgrid", wide  # as Praat saves other letters than English ones
    text = _tables.decode(data, path).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise ElisionError(f"{path} is no text: it holds NUL bytes; {_PLAIN}")
    if _TEXTGRID.match(text):
        return "textgrid", text
    if _is_json(text):
        return "json", text
    if text.lstrip().startswith("WEBVTT") or _CUE.search(text):
        return "subtitles", text
    header = text.lstrip().split("\n", 1)[0].lower()
    if words or {"start", "end"} <= set(re.split(r"[,;\t]", header.replace(" ", "").replace('"', ""))):
        return "words", text
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    labels = [_LABELS.match(line) for line in lines]
    if labels and all(labels) and (len(labels) > 1 or labels[0][1]):
        raise ElisionError(f"{path} holds times, such as {lines[0][:40]!r}, which would be read as words; {_PLAIN}")
    if found := _TIMES.search(text):
        raise ElisionError(f"{path} holds times, such as {found[0].strip()!r}, which would be read as words; {_PLAIN}")
    return "text", text


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


# --- Whisper: openai-whisper, faster-whisper, WhisperX, whisper-timestamped, stable-ts


def _whisper(text: str, path: Path) -> dict[str, Any]:
    found = json.loads(text)
    found = {"segments": found} if isinstance(found, list) else found
    if not isinstance(found.get("text"), str) and not any(
        isinstance(found.get(k), list) for k in ("segments", "words")
    ):
        raise ElisionError(f"{path} is JSON, but not Whisper's: there is no text and no segments; {_PLAIN}")
    for part in ("segments", "words", "word_segments"):
        entries = found.get(part) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ElisionError(f"{path} is JSON, but not Whisper's: {part} is no list of objects; {_PLAIN}")
    return found


def _segment_texts(found: dict[str, Any]) -> Iterator[str]:
    for segment in found.get("segments") or found.get("words") or []:
        yield str(segment.get("text") or segment.get("word") or "")


def _whisper_words(found: dict[str, Any], path: Path) -> tuple[list[Word], int]:
    """Return the words with their times, and how many have none: WhisperX gives numerals no time."""
    entries = [word for segment in found.get("segments") or [] for word in segment.get("words") or []]
    entries = entries or found.get("words") or found.get("word_segments") or []
    if not entries:
        raise ElisionError(
            f"{path} has no times of words; run Whisper with word_timestamps=True, or give {_WORD_TIMES}"
        )
    words, without = [], 0
    for entry in entries:
        start, end = (entry.get(name) if isinstance(entry, dict) else None for name in ("start", "end"))
        if isinstance(start, int | float) and isinstance(end, int | float):
            words.append((str(entry.get("word") or entry.get("text") or "").strip(), float(start), float(end)))
        else:
            without += 1
    if not words:
        raise ElisionError(f"{path}: no word has a start and an end; give {_WORD_TIMES}")
    return words, without


# --- TextGrid


def _tier(text: str, path: Path) -> list[Word]:
    """Return the labels of the tier that holds what is said, without marks of silence."""
    from praatio.utilities.textgrid_io import parseTextgridStr

    try:
        tiers = parseTextgridStr(text)["tiers"]
        found = [(tier["name"], tier["entries"]) for tier in tiers if tier["class"] == "IntervalTier"]
        spoken = {
            name: [
                (str(e[2]).strip(), float(e[0]), float(e[1]))
                for e in entries
                if str(e[2]).strip().lower() not in _SILENCES
            ]
            for name, entries in found
        }
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        why = str(error).strip() or type(error).__name__
        raise ElisionError(
            f"{path} cannot be read as a TextGrid ({why}); open it in Praat and save it again as text"
        ) from None
    if len(spoken) < len(found):
        raise ElisionError(f"{path}: two tiers have the same name; rename one")
    if not spoken:
        raise ElisionError(f"{path} has no interval tier; add one that is called words")
    called = [name for wanted in _TIERS for name in spoken if name.strip().lower() == wanted]
    filled = called[:1] or [name for name, entries in spoken.items() if entries] or list(spoken)[:1]
    if len(filled) > 1:
        raise ElisionError(f"{path} has the tiers {', '.join(map(repr, filled))}; call the tier of what is said words")
    return spoken[filled[0]]


# --- SRT, WebVTT


def _cues(text: str, path: Path) -> list[Word]:
    """Return the text of each cue, without styles, and its time."""
    from webvtt import WebVTT
    from webvtt.errors import MalformedCaptionError, MalformedFileError

    is_vtt = text.lstrip().startswith("WEBVTT")
    try:
        found = list(WebVTT.from_buffer(io.StringIO(text.lstrip() + "\n"), format="vtt" if is_vtt else "srt"))
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise ElisionError(f"{path} cannot be read as {'WebVTT' if is_vtt else 'SRT'} ({error}); {_PLAIN}") from None
    if len(found) != (stamps := len(_CUE.findall(text)) - len(_EMPTY_CUE.findall(text))):
        raise ElisionError(f"{path}: only {len(found)} of {plural(stamps, 'cue')} can be read; repair the others")
    rolling = bool(_WORD_STAMP.search(text))  # captions that move up: each line is written again in the next cue
    cues, before = [], []
    for cue in found:
        lines = [" ".join(html.unescape(_STYLES.sub("", line)).split()) for line in cue.raw_text.split("\n")]
        new = [line for line in lines if line and not (rolling and line in before)]
        before = lines
        if new:
            start, end = (time.in_milliseconds() / 1000 for time in (cue.start_time, cue.end_time))
            cues.append((" ".join(new), start, end))
    return cues


# --- CSV


def _table_words(path: Path) -> tuple[list[Word], str]:
    table = _tables.read(path)
    names = {name.lower(): name for name in table.columns}
    if lost := [name for name in ("word", "start", "end") if name not in names]:
        found = ", ".join(table.columns)
        raise ElisionError(f"{path} has the columns {found}, and no column {lost[0]}; give {_WORD_TIMES}")
    words = []
    for row in table.rows:
        try:
            start, end = (float(row.cells[names[name]]) for name in ("start", "end"))
        except ValueError:
            start, end = math.nan, math.nan
        if not 0 <= start <= end < math.inf:
            raise ElisionError(f"{path}: {row.noun} {row.line} needs two numbers of seconds, 0 <= start <= end")
        words.append((row.cells[names["word"]], start, end))
    others = [name for name in table.columns if name.lower() not in ("word", "start", "end")]
    return words, f"columns {', '.join(others)}" if others else ""
