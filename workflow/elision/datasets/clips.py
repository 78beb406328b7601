"""A folder of the user's own clips, described by a table ``clips.csv``.

============================================ =======================================================================
``id``                                       unique; usable as a file name
``split``                                    train, valid or test
``label``                                    sentiment, in the range of the corpus
``path``                                     video or audio file, relative to the folder; empty: text only
``text`` or ``transcript``                   the words spoken, or the path of a text file with them; empty: no text
``speaker``                                  optional
``words``                                    optional: path of a CSV file with the columns word, start, end (seconds)
``label_text, label_audio, label_vision``    optional: labels of a modality alone
============================================ =======================================================================

Files lie below the folder, unless the settings say ``outside: true``. UTF-8, separated by commas, semicolons or tabs. A
clip without sound, pictures, faces or words lacks a modality; that is no error.
"""

import csv
import io
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from elision.datasets._paths import ALLOW, below
from elision.datasets._problems import refuse, warn_of_shared_speakers
from elision.errors import ElisionError
from elision.files import is_file
from elision.progress import track
from elision.settings.params import DatasetSettings, suggestion
from elision.task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

    from elision.features.media import Media

MAKES = "clips"

_REQUIRED = ("id", "label", "split")
_CONTENT = ("path", "text", "transcript")
_LABELS = ("label", "label_text", "label_audio", "label_vision")
_COLUMNS = (*_REQUIRED, *_CONTENT, "speaker", "words", *_LABELS[1:])
_FILES = ("path", "transcript", "words")
_FILE_NAME = re.compile(r"[^\x00-\x1f/\\:*?\"<>|.][^\x00-\x1f/\\:*?\"<>|]*")
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")  # a path that has been parsed has one / of two
_LONGEST = 200

log = logging.getLogger(__name__)


class Settings(DatasetSettings):
    """A folder of clips with a table."""

    source: Literal["clips"] = Field(description="a folder of clips with a table")
    folder: Path = Field(description="the folder; paths in the table are relative to it")
    table: str = Field("clips.csv", description="name of the table in the folder")
    outside: bool = Field(False, description="whether the table may name files that do not lie below the folder")


@dataclass
class _Row:
    """A row of the table, and where it stands."""

    line: int
    cells: dict[str, str]

    def __str__(self) -> str:
        return f"line {self.line}, id {self.cells.get('id', '')!r}"


def inputs(settings: Settings) -> list[Path]:
    """Return the table and every file that it names and that exists.

    ``prepare`` tells of those that do not exist, and of a table that cannot be read.
    """
    table = settings.folder / settings.table
    if not is_file(table):
        return [table]
    try:
        _, rows = _read(table)
    except ElisionError:
        return [table]
    found = _located(rows, settings.folder, outside=settings.outside, problems=[])
    named = {path for paths in found for path in paths.values()}
    return [table, *sorted(path for path in named if is_file(path))]


def prepare(settings: Settings, folder: Path) -> "pd.DataFrame":
    """Read and check the table and every file that it names.

    Media are opened, and their first frames decoded, before any feature is extracted.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: no media are made.

    Returns
    -------
    clips : pd.DataFrame
        A row per utterance, in the order of the table: ``id``, ``path``, ``text``, ``label`` (and the labels of
        modalities), ``split``, ``speaker``, ``duration`` (seconds; NaN without media), ``has_audio``, ``has_vision``,
        ``fps`` (of the video; NaN without one), ``words`` (JSON list of [word, start, end] in seconds, or None).

    Raises
    ------
    ElisionError
        Lists every problem of the table and of the files.
    """
    import pandas as pd

    table = settings.folder / settings.table
    columns, rows = _read(table)

    required = [name for name in _REQUIRED if not (settings.folds and name == "split")]
    problems = list(_check_columns(columns, required))
    for row in rows:
        problems += [f"{row}: {problem}" for problem in [*_check_cells(row.cells), *_check_labels(row.cells, settings)]]
    problems += _check_whole(columns, rows, folds=settings.folds is not None)
    clips, wrong = _open(rows, settings.folder, outside=settings.outside)
    refuse(table, problems + [f"{rows[number]}: {problem}" for number, problem in wrong])

    splits = [row.cells.get("split", SPLITS[0]) for row in rows]
    if not settings.folds:
        warn_of_shared_speakers([row.cells.get("speaker") for row in rows], splits)
    named = ["label"] if settings.labels_are_names else []
    labels = {column: pd.Series([row.cells[column] for row in rows], dtype=object) for column in named}
    labels |= {
        column: [float(row.cells[column]) for row in rows]
        for column in _LABELS
        if column in columns and column not in named
    }
    first = ["id", "path", "text", *labels, "split"]
    return clips.assign(**labels, split=splits)[[*first, *clips.columns.difference(first, sort=False)]]


def unlabelled(table: Path) -> "tuple[pd.DataFrame, list[tuple[int, str]]]":
    """Read a table of clips whose labels and splits do not matter, as far as its files can be read.

    Parameters
    ----------
    table : Path
        In the same format, but ``id`` alone must be there; files lie below its folder, and paths are relative to that.

    Returns
    -------
    clips, problems
        See `opened`.

    Raises
    ------
    ElisionError
        Lists every problem of the table itself.
    """
    columns, rows = _read(table)
    problems = list(_check_columns(columns, ["id"]))
    for row in rows:
        problems += [f"{row}: {problem}" for problem in _check_cells(row.cells)]
    refuse(table, problems + list(_check_ids(rows)))
    return _open(rows, table.parent, otherwise="give the file itself in place of a table")


def opened(paths: Iterable[Path | None], text: str | None = None) -> "tuple[pd.DataFrame, list[tuple[int, str]]]":
    """Open media files that no table describes.

    Parameters
    ----------
    paths : iterable of Path or None
        None: there is nothing but the text.
    text : str, optional
        The words of each.

    Returns
    -------
    clips : pd.DataFrame
        As `prepare` returns them, without labels and splits; the id is the name of the file without its ending.
    problems : list of (int, str)
        Row of a clip, and what is wrong with a file of it.
    """
    cells = [{"id": path.stem if path else "text", "path": str(path or ""), "text": text or ""} for path in paths]
    return _open([_Row(number, each) for number, each in enumerate(cells)], Path(), outside=True)


def _open(
    rows: list[_Row], folder: Path, *, outside: bool = False, otherwise: str = ALLOW
) -> "tuple[pd.DataFrame, list[tuple[int, str]]]":
    """Open every file that the rows name; returns clips without labels and splits, and problems by row number."""
    import pandas as pd

    problems = []
    files = _located(rows, folder, outside=outside, otherwise=otherwise, problems=problems)
    texts = _texts(rows, files, problems)
    words = _all_words(files, problems)
    media = _media(files, folder, problems)
    paths = [str(named["path"]) if "path" in named else None for named in files]
    clips = pd.DataFrame(
        {
            "id": [row.cells.get("id") for row in rows],
            "path": pd.Series(paths, dtype=object),
            "text": pd.Series(texts, dtype=object),
            "speaker": pd.Series([row.cells.get("speaker") or None for row in rows], dtype=object),
            "duration": [found.duration if found else np.nan for found in media],
            "has_audio": [bool(found and found.audio) for found in media],
            "has_vision": [bool(found and found.vision) for found in media],
            "fps": [found.fps if found and found.fps else np.nan for found in media],
            "words": pd.Series(words, dtype=object),
        }
    )
    return clips, problems


def _located(
    rows: list[_Row], folder: Path, *, outside: bool, problems: list[tuple[int, str]], otherwise: str = ALLOW
) -> list[dict[str, Path]]:
    """Return the file of each column that names one, row by row; those that may not be read are problems."""
    files = []
    for number, row in enumerate(rows):
        files.append({})
        for column in (column for column in _FILES if row.cells.get(column)):
            name = row.cells[column]
            try:
                path = folder / name if outside else below(folder, name, otherwise=otherwise)
                if (hint := _no_path(name)) and not os.path.exists(path):  # noqa: PTH110 - Path's own raises
                    raise ElisionError(hint)
                files[-1][column] = path
            except ElisionError as error:
                problems.append((number, f"{column} {name!r} {error}"))
    return files


def _no_path(name: str) -> str | None:
    """Say what a name is that is probably meant as something else than a path from here."""
    if _ADDRESS.match(name):
        return "is an address; download the file, and write the path of the copy"
    if name.startswith("~"):
        return "does not exist: ~ does not stand for the home folder here; write the path from the folder of the table"
    if "\\" in name:
        return "does not exist: write / between the names of folders"
    return None


def _decode(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ElisionError(f"{path} is not a file")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ElisionError(f"{path} does not exist") from None
    except OSError as error:
        raise ElisionError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ElisionError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _read_csv(path: Path) -> tuple[list[str], list[_Row]]:
    """Return the names of the columns, and the rows that are not empty; cells beyond the columns are under ``""``."""
    text = _decode(path)
    header = text.lstrip().split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns, rows, line = None, [], 1
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            while cells and not cells[-1]:
                cells.pop()
            if columns is None:
                columns = [name.lower() for name in cells] or None
            elif cells:
                beyond = separator.join(cells[len(columns) :])
                rows.append(_Row(line, {"": beyond, **dict(zip_longest(columns, cells[: len(columns)], fillvalue=""))}))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ElisionError(f"{path}: line {line} is not valid CSV ({error}); is a quote not closed?") from None
    if columns is None:
        raise ElisionError(f"{path} is empty")
    return columns, rows


def _read(table: Path) -> tuple[list[str], list[_Row]]:
    try:
        return _read_csv(table)
    except ElisionError as error:
        raise ElisionError(f"{error}; docs/own-data.md shows a table") from None


def _check_columns(columns: list[str], required: Iterable[str]) -> Iterator[str]:
    for name in required:
        if name not in columns:
            how = "; write train, valid or test for each clip, and a speaker's clips into one split only"
            yield f"there is no column {name}{how if name == 'split' else ''}"
    for name in dict.fromkeys(columns):
        if columns.count(name) > 1:
            yield f"column {name!r} is there more than once; rename one"
        if name not in _COLUMNS:
            yield f"column {name!r} is not known; {suggestion(name, [c for c in _COLUMNS if c not in columns])}"
    if not set(_CONTENT) & set(columns):
        yield f"there is none of the columns {', '.join(_CONTENT)}"
    if {"text", "transcript"} <= set(columns):
        yield "there are both columns text and transcript; keep one of them"


def _check_cells(cells: dict[str, str]) -> Iterator[str]:
    """Find what is wrong within a row, apart from its labels, its split, and the files that it names."""
    if cells[""]:
        yield f"there are more cells than columns ({cells['']!r}); put quotes around a text that holds the separator"
    name = cells.get("id", "id")
    if not (_FILE_NAME.fullmatch(name) and len(name.encode()) <= _LONGEST and name.isprintable()):
        what = f'1 to {_LONGEST} bytes that can be printed, none of / \\ : * ? " < > |, no dot in front'
        yield f"the id cannot be a file name: {what}"
    if (content := [column for column in _CONTENT if column in cells]) and not any(cells[column] for column in content):
        yield f"nothing in {' or '.join(content)}: there are no data"


def _check_labels(cells: dict[str, str], settings: Settings) -> Iterator[str]:
    if cells.get("split", "train") not in SPLITS:
        yield f"split is {cells['split']!r}; it must be train, valid or test"
    largest = settings.largest_label
    for column in (column for column in _LABELS if column in cells):
        cell = cells[column]
        if column == "label" and settings.labels_are_names:
            if not cell:
                yield "there is no label"
            continue
        try:
            within = abs(float(cell)) <= largest
        except ValueError:
            yield f"{column} is {cell!r}, not a number" + (" (write a decimal point)" if "," in cell else "")
            continue
        if not within:
            yield f"{column} is {cell}, not in [{-largest:g}, {largest:g}], the range of corpus {settings.corpus}"


def _check_whole(columns: list[str], rows: list[_Row], *, folds: bool) -> Iterator[str]:
    """Find what is wrong between rows."""
    yield from _check_ids(rows)
    filled = {row.cells.get("split") for row in rows}
    for split in SPLITS:
        if "split" in columns and split not in filled and not folds:
            yield f"there is no clip in split {split}; every split needs some"


def _check_ids(rows: list[_Row]) -> Iterator[str]:
    lines: dict[str, list[str]] = {}
    for row in rows:
        lines.setdefault(row.cells.get("id", ""), []).append(str(row.line))
    for name, found in lines.items():
        if name and len(found) > 1:
            yield f"id {name!r} stands in lines {', '.join(found)}; ids must differ"


def _texts(rows: list[_Row], files: list[dict[str, Path]], problems: list[tuple[int, str]]) -> list[str | None]:
    texts = []
    for number, (row, named) in enumerate(zip(rows, files, strict=True)):
        text = row.cells.get("text")
        if path := named.get("transcript"):
            try:
                text = " ".join(_decode(path).split())
                if not text:
                    what = f"transcript {path} is empty; leave the cell empty for a clip without text"
                    problems.append((number, what))
            except ElisionError as error:
                problems.append((number, f"transcript {error}"))
        texts.append(text or None)
    return texts


def _all_words(files: list[dict[str, Path]], problems: list[tuple[int, str]]) -> list[str | None]:
    words = []
    for number, named in enumerate(files):
        found = None
        if path := named.get("words"):
            try:
                found = json.dumps(_words(path), ensure_ascii=False)
            except ElisionError as error:
                problems.append((number, f"words {error}"))
        words.append(found)
    return words


def _words(path: Path) -> list[tuple[str, float, float]]:
    """Read when each word is spoken."""
    columns, rows = _read_csv(path)
    if sorted(columns) != ["end", "start", "word"]:
        raise ElisionError(f"{path} has the columns {', '.join(columns)}; it needs word, start, end")
    words = []
    for row in rows:
        try:
            start, end = float(row.cells["start"]), float(row.cells["end"])
        except (KeyError, ValueError):
            start, end = np.nan, np.nan
        if not 0 <= start <= end < np.inf:
            raise ElisionError(f"{path}: line {row.line} needs two numbers of seconds, 0 <= start <= end")
        words.append((row.cells["word"], start, end))
    return words


def _media(files: list[dict[str, Path]], folder: Path, problems: list[tuple[int, str]]) -> "list[Media | None]":
    """Open every media file; several at a time, because most of the time goes into waiting for the disk."""
    from elision.features.media import (  # params import this module, and so every job does, also one without PyAV
        Media,
        probe,
    )

    def look(named: dict[str, Path]) -> Media | ElisionError | None:
        if "path" not in named:
            return None
        try:
            return probe(named["path"])
        except ElisionError as error:
            return error

    with ThreadPoolExecutor() as pool:
        found = list(track(pool.map(look, files), f"check the clips of {folder}", len(files)))
    problems += [(number, str(item)) for number, item in enumerate(found) if isinstance(item, ElisionError)]
    return [item if isinstance(item, Media) else None for item in found]
