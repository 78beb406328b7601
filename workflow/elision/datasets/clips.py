"""A folder of the user's own clips, described by a table ``clips.csv``.

============================================ =======================================================================
``id``                                       unique; usable as a file name
``split``                                    train, valid or test
``label``                                    a score in the range of the corpus or of ``scale``; or a class
``path``                                     video or audio file, relative to the folder; empty: text only
``text`` or ``transcript``                   the words spoken, or the path of a file with them; empty: no text
``speaker``                                  optional
``dialogue``, ``position``                   optional: the dialogue of an utterance, and a number that rises along it
``words``                                    optional: path of a file with the time of each word
``label_text, label_audio, label_vision``    optional: labels of a modality alone
============================================ =======================================================================

``columns`` and ``splits`` translate the names of a table to these. Other columns are kept as they are: ``folds`` and
``statistics.cluster`` may name them. Files lie below the folder, unless the settings say ``outside: true``. A clip
without sound, pictures, faces or words lacks a modality; that is no error.
"""

import json
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from elision.datasets import _labels, _tables, _transcripts
from elision.datasets._found import Folder
from elision.datasets._paths import ALLOW, below, nearest
from elision.datasets._problems import refuse, some, warn_of_shared_speakers
from elision.datasets._tables import Row, lines_of
from elision.datasets._word_times import outside as words_outside
from elision.errors import ElisionError, plural
from elision.files import is_file, sha256
from elision.progress import track
from elision.settings.params import ClipSettings, suggestion
from elision.task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

    from elision.features.media import Media

MAKES = "clips"

_REQUIRED = ("id", "label", "split")
_CONTENT = ("path", "text", "transcript")
_LABELS = ("label", "label_text", "label_audio", "label_vision")
_COLUMNS = (*_REQUIRED, *_CONTENT, "speaker", "dialogue", "position", "words", *_LABELS[1:])
_FILES = ("path", "transcript", "words")
_FILE_NAME = re.compile(r"[^\x00-\x1f/\\:*?\"<>|.][^\x00-\x1f/\\:*?\"<>|]*")
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")  # a path that has been parsed has one / of two
_LONGEST = 200

log = logging.getLogger(__name__)

Reader = Callable[[Path, "Settings"], tuple[_tables.Table, list[str]]]


class Settings(ClipSettings):
    """A folder of clips with a table."""

    source: Literal["clips"] = Field(description="a folder of clips with a table")
    folder: Path = Field(description="the folder; paths in the table are relative to it")
    table: str = Field("clips.csv", description="name of the table in the folder: CSV, JSON lines, .xlsx or Parquet")
    columns: dict[Literal[_COLUMNS], str | None] = Field(
        {}, description="our name of a column: the table's name of it, or null: not to be used"
    )
    splits: dict[Literal[SPLITS], str] = Field({}, description="our name of a split: the table's name of it")
    outside: bool = Field(False, description="whether the table may name files that do not lie below the folder")
    openface: Path | None = Field(
        None,
        description="folder of OpenFace 2 CSV files, named by the ids of the clips: vision is read from them; "
        "null: vision is extracted from the videos",
    )


def inputs(settings: Settings, read: Reader | None = None) -> list[Path]:
    """Return the table and every file that it names and that exists.

    ``prepare`` tells of those that do not exist, and of a table that cannot be read.
    """
    table, read = settings.folder / settings.table, read or read_table
    if not is_file(table):
        return [table]
    try:
        found, _ = read(table, settings)
    except ElisionError:
        return [table]
    files = _located(found.rows, settings.folder, outside=settings.outside, problems=[])
    named = {path for paths in files for path in paths.values()}
    named |= {path for row in found.rows if (path := _of_openface(settings, row.cells.get("id", "")))}
    return [table, *sorted(path for path in named if is_file(path))]


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise ``clips.csv`` in the folder."""
    return {"folder": "."} if "clips.csv" in folder.names else None


def training_size(settings: Settings, read: Reader | None = None) -> int | None:
    """Return how many rows of the table are of the split train; None, where it cannot be read."""
    try:
        found, _ = (read or read_table)(settings.folder / settings.table, settings)
    except ElisionError:
        return None
    labels = (row.cells.get("label", "") for row in found.rows if row.cells.get("split") == SPLITS[0])
    return sum(not (settings.skip_unlabelled and _labels.is_empty(label, settings.classes or ())) for label in labels)


def columns(settings: Settings, read: Reader | None = None) -> list[str] | None:
    """Return the columns that folds and ``statistics.cluster`` can name; None, where the table cannot be read."""
    try:
        found, _ = (read or read_table)(settings.folder / settings.table, settings)
    except ElisionError:
        return None
    return _kept(found.columns)


def prepare(settings: Settings, folder: Path, read: Reader | None = None) -> "pd.DataFrame":
    """Read and check the table and every file that it names.

    Media are opened, and their first frames decoded, before any feature is extracted.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: no media are made.
    read : function of (Path, Settings) to (Table, list of str), optional
        Reads a table in another layout; by default `read_table`.

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
    found, problems = (read or read_table)(table, settings)
    columns, rows = found.columns, found.rows
    for note in found.notes:
        log.info("%s: %s", table, note)

    required = [name for name in _REQUIRED if not (settings.folds and name == "split")]
    problems += _check_columns(columns, required)
    for row in rows:
        problems += [f"{row}: {problem}" for problem in (*_tables.overfull(row), *_check_cells(row.cells))]
    problems += _check_splits(columns, rows)
    labels, rows, wrong = _read_labels(columns, rows, settings)
    problems += [*wrong, *_check_whole(columns, rows, folds=settings.folds is not None)]
    clips, wrong = _open(rows, settings.folder, outside=settings.outside)
    refuse(table, problems + [f"{rows[number]}: {problem}" for number, problem in wrong])
    if settings.openface:
        clips = _with_openface(clips, settings)

    splits = [row.cells.get("split", SPLITS[0]) for row in rows]
    if not settings.folds:
        warn_of_shared_speakers([row.cells.get("speaker") for row in rows], splits)
    others = {name: pd.Series([row.cells[name] or None for row in rows], dtype=object) for name in _kept(columns)}
    if "position" in columns:
        others["position"] = pd.Series([_labels.number(row.cells["position"]) for row in rows], dtype=np.float64)
    first = ["id", "path", "text", *labels, "split"]
    clips = clips.assign(**labels, split=splits)
    clips = clips[[*first, *clips.columns.difference(first, sort=False)]].assign(**others)
    clips.attrs["unlabelled"] = len(found.rows) - len(rows)
    return clips


def _of_openface(settings: Settings, name: str) -> Path | None:
    """Return the file of OpenFace that a clip has, if there are such files."""
    return settings.openface / f"{name}.csv" if settings.openface and _FILE_NAME.fullmatch(name) else None


def _with_openface(clips: "pd.DataFrame", settings: Settings) -> "pd.DataFrame":
    """Add the path and the checksum of the file of OpenFace that each clip has; count the clips that have none."""
    import pandas as pd

    files = [_of_openface(settings, name) for name in clips["id"]]
    there = [bool(path and is_file(path)) for path in files]
    if not any(there):
        raise ElisionError(
            f"{settings.openface}: there is no file {clips['id'].iloc[0]}.csv, and none of any other clip; check "
            "openface in params.yaml, and name each file by the id of its clip"
        )
    if absent := clips["id"][np.logical_not(there)].tolist():
        log.info("vision: absent from %s without a file of OpenFace: %s", plural(len(absent), "clip"), some(absent))
    paths = [str(path) if found else None for path, found in zip(files, there, strict=True)]
    digests = [sha256(path) if found else None for path, found in zip(files, there, strict=True)]
    columns = {"openface": paths, "openface_sha256": digests}
    return clips.assign(**{name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


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
    read, problems = read_table(table, None)
    problems += _check_columns(read.columns, ["id"])
    for row in read.rows:
        problems += [f"{row}: {problem}" for problem in (*_tables.overfull(row), *_check_cells(row.cells))]
    refuse(table, problems + list(_check_ids(read.rows)))
    return _open(read.rows, table.parent, otherwise="give the file itself in place of a table")


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
    return _open([Row(number, each) for number, each in enumerate(cells)], Path(), outside=True)


def _open(
    rows: list[Row], folder: Path, *, outside: bool = False, otherwise: str = ALLOW
) -> "tuple[pd.DataFrame, list[tuple[int, str]]]":
    """Open every file that the rows name; returns clips without labels and splits, and problems by row number."""
    import pandas as pd

    problems = []
    files = _located(rows, folder, outside=outside, otherwise=otherwise, problems=problems)
    texts = _texts(rows, files, problems)
    words = _all_words(files, problems)
    media = _media(files, folder, problems)
    for number, (spoken, found) in enumerate(zip(words, media, strict=True)):
        if spoken and found and (problem := words_outside(json.loads(spoken), found.duration)):
            problems.append((number, f"words {files[number]['words']}: {problem}"))
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
    rows: list[Row], folder: Path, *, outside: bool, problems: list[tuple[int, str]], otherwise: str = ALLOW
) -> list[dict[str, Path]]:
    """Return the file of each column that names one, row by row; those that may not be read are problems."""
    files: list[dict[str, Path]] = []
    listed: dict[str, list[str]] = {}
    for number, row in enumerate(rows):
        files.append({})
        for column in (column for column in _FILES if row.cells.get(column)):
            name = row.cells[column]
            try:
                path = folder / name if outside else below(folder, name, otherwise=otherwise)
                if not os.path.exists(path) and (hint := _no_path(name) or _near(folder, name, listed)):  # noqa: PTH110
                    raise ElisionError(hint)
                files[-1][column] = path
            except ElisionError as error:
                problems.append((number, f"{column} {name!r} {error}"))
    return files


def _near(folder: Path, name: str, listed: dict[str, list[str]]) -> str | None:
    """Name the file that is probably meant."""
    if (near := nearest(folder, name, listed)) is None:
        return None
    if near.strip() == name:
        return f"does not exist, but {near!r} does; rename the file: cells are read without spaces at their ends"
    alike = unicodedata.normalize("NFC", near) == unicodedata.normalize("NFC", name)
    how = f" The accents are stored otherwise: {near!a}, not {name!a}." if alike else ""
    return f"does not exist; did you mean {near!r}?{how} Write the name as the file has it"


def _no_path(name: str) -> str | None:
    """Say what a name is that is probably meant as something else than a path from here."""
    if _ADDRESS.match(name):
        return "is an address; download the file, and write the path of the copy"
    if name.startswith("~"):
        return "does not exist: ~ does not stand for the home folder here; write the path from the folder of the table"
    if "\\" in name:
        return "does not exist: write / between the names of folders"
    return None


def read_table(
    table: Path, settings: Settings | None, names: dict[str, str] | None = None
) -> tuple[_tables.Table, list[str]]:
    """Return a table with our names of its columns and splits, and what is wrong with the names in the settings.

    Parameters
    ----------
    table : Path
    settings : Settings, optional
        Their ``columns`` and ``splits`` are used.
    names : dict of str to str, optional
        Names that columns have in another layout, by ours.

    Raises
    ------
    ElisionError
        If the table cannot be read.
    """
    try:
        read = _tables.read(table)
    except ElisionError as error:
        raise ElisionError(f"{error}; docs/own-data.md shows a table") from None
    renamed = dict(settings.columns) if settings else {}
    ours, problems = {}, []
    for name in _COLUMNS:
        theirs = renamed.get(name, (names or {}).get(name, name))
        same = [column for column in read.columns if theirs is not None and column.lower() == theirs.lower()]
        if found := ([theirs] if theirs in same else same):
            ours[found[0]] = name
        elif name in renamed and theirs is not None:
            told = suggestion(theirs, read.columns)
            problems.append(f"there is no column {theirs!r}, which columns: says is {name}; {told}")
    others = [name for name in dict.fromkeys(read.columns) if name not in ours]
    kept = [name for name in _tables.kept(read.columns, [*_COLUMNS, *renamed]) if name not in ours]
    notes = [*(f"not used: {note}" for note in read.notes), *_tables.told(others, kept)]
    for name in kept:
        absent = [column for column in _COLUMNS if column not in ours.values() and column not in renamed]
        if near := get_close_matches(name.lower(), absent, 1, 0.75):
            notes.append(f"column {name!r} is not read; if it is {near[0]}, write columns: {{{near[0]}: {name}}}")
    twice = [name for name, count in Counter(read.columns).items() if count > 1]
    problems += [f"column {name!r} is there more than once; rename one" for name in twice]
    called = {"": "", **ours, **{name: name for name in kept}}
    rows = []
    for row in read.rows:
        cells = {called[old]: cell for old, cell in row.cells.items() if old in called}
        rows.append(Row(row.line, cells, row.noun))
    columns = [called[name] for name in dict.fromkeys(read.columns) if name in called]
    rows, emptied = _tables.emptied(rows, [name for name in columns if name not in ("id", "split", *_LABELS)])
    splits = {theirs: name for name, theirs in settings.splits.items()} if settings else {}
    for row in rows:
        if (split := row.cells.get("split")) in splits:
            row.cells["split"] = splits[split]
    return _tables.Table(columns, rows, [*notes, *emptied]), problems


def _others(columns: list[str]) -> list[str]:
    """Return the columns that are none of ours."""
    return [name for name in columns if name not in _COLUMNS]


def _kept(columns: list[str]) -> list[str]:
    return [name for name in columns if name == "dialogue" or name not in _COLUMNS]


def _check_columns(columns: list[str], required: Iterable[str]) -> Iterator[str]:
    for name in required:
        if name not in columns:
            how = "; write train, valid or test for each clip, and a speaker's clips into one split only"
            near = get_close_matches(name, _others(columns), 1)
            told = f"; if it is {near[0]!r}, write columns: {{{name}: {near[0]}}} in params.yaml" if near else ""
            yield f"there is no column {name}{told or (how if name == 'split' else '')}"
    if not set(_CONTENT) & set(columns):
        near = [f"{c}: {name}" for c in _CONTENT for name in get_close_matches(c, _others(columns), 1)]
        told = f"; if it is another one, write columns: {{{near[0]}}} in params.yaml" if near else ""
        yield f"there is none of the columns {', '.join(_CONTENT)}{told}"
    if {"text", "transcript"} <= set(columns):
        yield "there are both columns text and transcript; keep one of them"


def _check_cells(cells: dict[str, str]) -> Iterator[str]:
    """Find what is wrong within a row, apart from its labels, its split, and the files that it names."""
    name = cells.get("id", "id")
    if not (_FILE_NAME.fullmatch(name) and len(name.encode()) <= _LONGEST and name.isprintable()):
        what = f'write 1 to {_LONGEST} bytes that can be printed, without / \\ : * ? " < > | and without a dot in front'
        yield f"the id cannot be a file name; {what}"
    if (content := [column for column in _CONTENT if column in cells]) and not any(cells[column] for column in content):
        yield f"nothing in {' or '.join(content)}: there are no data"
    if np.isinf(_labels.number(cells.get("position", ""))):
        yield f"position {cells['position']!r} {_labels.NO_POSITION}"


def _check_splits(columns: list[str], rows: list[Row]) -> Iterator[str]:
    """Find names of splits that are none of ours, with their lines."""
    found: dict[str, list[Row]] = {}
    for row in rows if "split" in columns else ():
        if row.cells["split"] not in SPLITS:
            found.setdefault(row.cells["split"], []).append(row)
    for split, of in found.items():
        near = get_close_matches({"dev": "valid", "val": "valid"}.get(split.lower(), split.lower()), SPLITS, 1)
        told = f", or splits: {{{near[0]}: {split}}} in params.yaml" if near else ""
        yield f"{lines_of(of)}: split is {split!r}; write train, valid or test{told}"


def _read_labels(
    columns: list[str], rows: list[Row], settings: Settings
) -> tuple[dict[str, list], list[Row], list[str]]:
    """Read the labels; returns the columns of labels, the rows that stay, and what is wrong, by line."""
    import pandas as pd

    classes, labels, problems = settings.classes or (), {}, []
    if "label" not in columns:
        return labels, rows, problems
    if settings.skip_unlabelled:
        every, rows = rows, [row for row in rows if not _labels.is_empty(row.cells["label"], classes)]
        _labels.told(len(every) - len(rows), len(every))
    for column in (column for column in _LABELS if column in columns):
        cells = [row.cells[column] for row in rows]
        if column != "label" and not any(cells):
            continue
        found = _labels.unlabelled(cells, settings) if column == "label" else []
        if column == "label" and settings.labels_are_names:
            labels[column] = pd.Series([None if _labels.is_empty(c, classes) else c for c in cells], dtype=object)
            found += _labels.as_classes(labels[column].tolist(), settings.classes)[2]
        else:
            labels[column], wrong = _labels.scores(cells, settings, column)
            found += wrong
        problems += [f"{lines_of([rows[k] for k in of])}: {what}" if of else what for of, what in found]
    return labels, rows, problems


def _check_whole(columns: list[str], rows: list[Row], *, folds: bool) -> Iterator[str]:
    """Find what is wrong between rows."""
    yield from _check_ids(rows)
    filled = {row.cells.get("split") for row in rows}
    for split in SPLITS:
        if "split" in columns and split not in filled and not folds:
            yield f"there is no clip in split {split}; every split needs some"


def _check_ids(rows: list[Row]) -> Iterator[str]:
    lines: dict[str, list[str]] = {}
    for row in rows:
        lines.setdefault(row.cells.get("id", ""), []).append(str(row.line))
    for name, found in lines.items():
        if name and len(found) > 1:
            yield f"id {name!r} stands in lines {', '.join(found)}; ids must differ"


def _texts(rows: list[Row], files: list[dict[str, Path]], problems: list[tuple[int, str]]) -> list[str | None]:
    texts = []
    for number, (row, named) in enumerate(zip(rows, files, strict=True)):
        text = row.cells.get("text")
        if path := named.get("transcript"):
            try:
                text = _transcripts.text_of(path)
                if not text:
                    what = f"transcript {path} is empty; leave the cell empty for a clip without text"
                    problems.append((number, what))
            except ElisionError as error:
                problems.append((number, f"transcript {error}"))
        texts.append(text or None)
    return texts


def _all_words(files: list[dict[str, Path]], problems: list[tuple[int, str]]) -> list[str | None]:
    words, left_out = [], Counter()
    for number, named in enumerate(files):
        found = None
        if path := named.get("words"):
            try:
                times, not_read = _transcripts.words_of(path)
                found = json.dumps(times, ensure_ascii=False)
                left_out[not_read] += 1
            except ElisionError as error:
                problems.append((number, f"words {error}"))
        words.append(found)
    for what, count in left_out.items():
        if what:
            log.info("left out of %s of words: %s", plural(count, "file"), what)
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
