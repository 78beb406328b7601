"""Text files with a row per frame, or per clip: CSV of OpenFace 2 and openSMILE, ARFF of openSMILE, and others alike.

=================== ===============================================================================================
OpenFace 2          a file per clip; names begin with a space; ``frame``, ``face_id``, ``timestamp``, ``confidence`` and
                    ``success``, then the features. A frame without ``success`` was not observed
openSMILE           ``name`` (a file or an instance), ``frameTime`` for frames, then the features; separated by ; or ,
opensmile (Python)  ``file``, ``start`` and ``end`` (as ``0 days 00:00:00.020000``), then the features
=================== ===============================================================================================

Sources: https://github.com/TadasBaltrusaitis/OpenFace/wiki/Output-Format; https://audeering.github.io/opensmile;
https://audeering.github.io/opensmile-python.
"""

import csv
import fnmatch
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from elision.arrayfiles import check_size
from elision.errors import ElisionError, plural
from elision.readers._file import NUMBERS, File, Frames

_SUFFIXES = (".csv", ".tsv", ".arff")
# Columns that say what a row is; the features are all others.
_OF_ROWS = ("frame", "face_id", "timestamp", "confidence", "success", "name", "file", "filename", "frameindex")
_OF_ROWS += ("frametime", "start", "end")
_MISSING = ["", "?", "nan", "NaN", "NA", "-nan", "-nan(ind)", "nan(ind)", "1.#QNAN", "-1.#IND", "1.#IND", "-1.#QNAN"]
_ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"[^\"]*\"|\S+)\s+(.*)", re.IGNORECASE)
_MOST = 20

log = logging.getLogger(__name__)


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is text in rows: its suffix says so, or its first line is that of ARFF."""
    if b"\0" in start:
        return False
    return path.suffix.lower() in _SUFFIXES or start.lstrip().lower().startswith(b"@relation")


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Read a file; its one array is named by patterns of the columns, such as ``AU*_r, gaze_*``."""
    table = _arff(path) if path.open("rb").read(1 << 10).lstrip()[:9].lower() == b"@relation" else _csv(path)
    yield File(list(table), lambda patterns: _found(table, patterns), default="")


def _csv(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        header = file.readline().decode("utf-8-sig", "replace")
    separator = max(",;\t", key=header.count)
    names = [name.strip() for name in next(csv.reader(io.StringIO(header), delimiter=separator))]
    if all(_is_number(name) for name in names):
        raise ElisionError("has no names of columns in the first line; write them there, or save the numbers as .npy")
    return _table(path, names, separator, skip=1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == ""
    return True


def _arff(path: Path) -> pd.DataFrame:
    names, lines = [], 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            lines += 1
            if found := _ATTRIBUTE.match(line.strip()):
                names.append(found[1].strip("'\""))
            elif line.strip().lower().startswith("@data"):
                break
        else:
            raise ElisionError("has no line @data; is the file whole?")
        data = (line.strip() for line in file)
        if next((line for line in data if line and not line.startswith("%")), "").startswith("{"):
            raise ElisionError("is ARFF of the sparse form; save the file as CSV")
    table = _table(path, names, ",", skip=lines, quotechar="'", comment="%")
    empty = [name for name in table if table[name].isna().all()]
    if empty and len(table):
        log.info("%s: %s without any value left out: %s", path, plural(len(empty), "column"), ", ".join(empty[:_MOST]))
    return table.drop(columns=empty) if len(table) else table


def _table(path: Path, names: list[str], separator: str, *, skip: int, **options: str) -> pd.DataFrame:
    """Read the rows of a file whose columns have names."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ElisionError(f"has several columns of one name: {', '.join(map(repr, twice[:_MOST]))}; rename them")
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    # Short rows are filled up to the length of the first one.
    check_size(8 * lines * len(names), path.stat().st_size, f"{lines} rows like the first one")
    try:
        return pd.read_csv(
            path,
            sep=separator,
            header=None,
            names=names,
            skiprows=skip,
            index_col=False,
            skipinitialspace=True,
            na_values=_MISSING,
            keep_default_na=False,
            compression=None,
            encoding="utf-8-sig",
            float_precision="round_trip",
            low_memory=False,
            **options,
        )
    except UnicodeDecodeError as error:
        raise ElisionError(f"is not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except pd.errors.ParserError as error:
        raise ElisionError(f"is no table of {plural(len(names), 'column')} ({str(error).strip()})") from None


def _found(table: pd.DataFrame, patterns: str) -> Frames | np.ndarray:
    """Return the text of one column of text; or frames."""
    if patterns in table and table[patterns].dtype.kind not in NUMBERS:
        return table[patterns].astype(str).str.strip().str.strip("'\"").to_numpy(object)
    return _frames(table, patterns)


def _frames(table: pd.DataFrame, patterns: str) -> Frames:
    """Return the columns that the patterns name, or all features, with what the other columns say of the rows."""
    lower = {name.lower(): name for name in table}
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    names = [name for name in table if name.lower() not in _OF_ROWS] if not wanted else []
    for pattern in wanted:
        found = [name for name in table if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise KeyError(pattern)
        names += [name for name in found if name not in names]
    if not names:
        raise ElisionError(f"has no column of features, but only {', '.join(table)}")
    if words := [name for name in names if table[name].dtype.kind not in NUMBERS]:
        shown = ", ".join(map(repr, words[:3]))
        raise ElisionError(
            f"holds text in {plural(len(words), 'column')} ({shown}); name the columns of features with patterns, such "
            f"as values: '{_pattern(table)}'"
        )
    rows = _one_face(table, lower)
    table = table.iloc[rows]
    is_openface = {"success", "confidence"} <= set(lower)
    return Frames(
        table[names].to_numpy(np.float64),
        features=names,
        times=_times(table, lower),
        lost=table[lower["success"]].to_numpy() != 1 if is_openface else None,
        confidence=table[lower["confidence"]].to_numpy(np.float64) if is_openface else None,
    )


def _pattern(table: pd.DataFrame) -> str:
    return next((name for name in table if table[name].dtype.kind in NUMBERS and name.lower() not in _OF_ROWS), "AU*")


def _one_face(table: pd.DataFrame, lower: dict[str, str]) -> np.ndarray:
    """Return the rows of the face that is seen in most frames: OpenFace writes a row per face, where it tracks many."""
    if "face_id" not in lower or "frame" not in lower or table[lower["face_id"]].nunique() < 2:
        return np.arange(len(table))
    faces = table[lower["face_id"]].to_numpy()
    seen = table[lower["success"]].to_numpy() == 1 if "success" in lower else np.ones(len(table), bool)
    names, counts = np.unique(faces[seen] if seen.any() else faces, return_counts=True)
    log.info("%s in one file: the one that is seen in most frames is read", plural(len(np.unique(faces)), "face"))
    return np.flatnonzero(faces == names[counts.argmax()])


def _times(table: pd.DataFrame, lower: dict[str, str]) -> np.ndarray | None:
    """Return when each row begins and ends, in seconds; None: the columns do not say."""
    moment = next((lower[name] for name in ("timestamp", "frametime") if name in lower), None)
    columns = [moment, moment] if moment else [lower[name] for name in ("start", "end") if name in lower]
    if len(columns) != 2:
        return None
    times = []
    for name in columns:
        column = table[name]
        if column.dtype.kind not in NUMBERS:
            column = pd.to_timedelta(column, errors="coerce").dt.total_seconds()
        times.append(column.to_numpy(np.float64))
    times = np.stack(times, axis=1)
    return times if np.isfinite(times).all() else None
