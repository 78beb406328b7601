"""Tables as people have them, of which every cell becomes text: CSV, JSON, Excel and Parquet, known by content."""

import csv
import io
import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from elision.arrayfiles import check_size, read_parquet
from elision.errors import ElisionError, plural
from elision.filekinds import mistaken

# What begins a file that is no table, beside what `filekinds` knows; the remedy is to save the table.
_OTHERS = (
    (b"\xd0\xcf\x11\xe0", "in the old format of Excel or Word (.xls, .doc)"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "rich text (RTF)"),
    (b"<", "XML"),
    (b"\x89PNG", "an image"),
    (b"\x00", "no text"),
)
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*\r?(\n|$)', re.IGNORECASE)  # Excel's, before the header
_UNNAMED = re.compile(r"unnamed: \d+", re.IGNORECASE)  # pandas, for a column without a name

# Columns that sources and the workflow make themselves.
_RESERVED = re.compile(r"duration|fps|has_(audio|vision)|position|sha256|openface.*|length_.*|fold-\d+")

MISSING = frozenset(("nan", "NaN", "NAN", "None", "NULL", "<NA>", "#N/A", "NaT"))  # as programs write an empty cell


@dataclass(frozen=True)
class Row:
    """A row: its cells by the names of their columns, under ``""`` those beyond the columns, and where it is."""

    line: int
    cells: dict[str, str]
    noun: str = "line"

    def __str__(self) -> str:
        return f"{self.noun} {self.line}, id {self.cells.get('id', '')!r}"


@dataclass
class Table:
    """A table.

    Attributes
    ----------
    columns : list of str
        Their names as they are written; of those without a name, the cells are left out.
    rows : list of Row
        Those that are not empty.
    notes : list of str
        What was left out.
    """

    columns: list[str]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def read(path: Path) -> Table:
    """Read a table.

    Raises
    ------
    ElisionError
        If the file is missing, in no format that can be read, or holds no table.
    """
    data = read_bytes(path, 4)
    noun, notes = "row", []
    if data == b"PAR1":  # which may hold features besides, and is not read as a whole
        names, lines, notes = _parquet(path)
        return _table(path, names, lines, noun, notes)
    data = read_bytes(path)
    if data.startswith(b"PK"):
        names, lines = _excel(path, data)
    else:
        if what := mistaken(data[:1024]):
            raise ElisionError(f"{path} {what}")
        for start, what in _OTHERS:
            if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start):
                raise ElisionError(f"{path} is {what}; save the table as CSV UTF-8")
        text, noun = decode(data, path), "line"
        names, lines = _json(text, path) if text.lstrip()[:1] in ("{", "[") else _csv(text, path)
    return _table(path, names, lines, noun, notes)


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Read a file that a user named, or its first bytes.

    Raises
    ------
    ElisionError
        If there is no such file, or it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise ElisionError(f"{path} is not a file")
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise ElisionError(f"{path} does not exist") from None
    except OSError as error:
        raise ElisionError(f"{path} cannot be read ({error.strerror})") from None


def decode(data: bytes, path: Path) -> str:
    """Return text in UTF-8.

    Raises
    ------
    ElisionError
        If the bytes are no UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ElisionError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _check_width(path: Path, lines: int, names: int) -> None:
    """Refuse a table of short rows, which are filled up to the length of the first one."""
    check_size(8 * lines * names, path.stat().st_size, f"{path}: {lines} rows like the first one")


def _table(path: Path, names: list[str], lines: Iterable[tuple[int, list[str]]], noun: str, notes: list[str]) -> Table:
    """Make a table of a header and lines of cells."""
    lines = [(number, cells) for number, cells in ((n, _trimmed(cells)) for n, cells in lines) if cells]
    names = [name.strip() for name in names]
    _check_width(path, len(lines), len(names))
    if lines and all(len(cells) == len(names) + 1 for _, cells in lines) and _counts(cells[0] for _, cells in lines):
        names = ["", *names]  # R writes the numbers of rows without a name for their column
    if not any(names):
        raise ElisionError(f"{path} is empty")
    unnamed = [k for k, name in enumerate(names) if not name or _UNNAMED.fullmatch(name)]
    places = {k for _, cells in lines for k, cell in enumerate(cells) if cell}
    if filled := [k for k in unnamed if k in places]:
        notes.append(f"{plural(len(filled), 'column')} without a name")
    kept = sorted(set(range(len(names))).difference(unnamed))
    rows = []
    for number, cells in lines:
        found = dict(zip_longest(range(len(names)), cells[: len(names)], fillvalue=""))
        beyond = ",".join(cells[len(names) :])
        rows.append(Row(number, {"": beyond, **{names[k]: found[k] for k in kept}}, noun))
    return Table([names[k] for k in kept], rows, notes)


def _trimmed(cells: list[str]) -> list[str]:
    cells = [cell.strip() for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _counts(cells: Iterable[str]) -> bool:
    """Tell whether cells are the numbers of rows, from 0 or 1."""
    cells = list(cells)
    return cells in ([str(k) for k in range(len(cells))], [str(k + 1) for k in range(len(cells))])


def _csv(text: str, path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and the line where each row begins with its cells."""
    line, separator = 1, None
    if found := _SEPARATOR_LINE.match(text):
        text, separator, line = text[found.end() :], found[1], 2
    header = text.lstrip().split("\n", 1)[0]
    separator = separator or max(",;\t", key=header.count)
    names, lines, skipped = None, [], line - 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if names is not None:
                lines.append((line, cells))
            elif any(cell.strip() for cell in cells):
                names = cells
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise ElisionError(f"{path}: line {line} is not valid CSV ({error}); is a quote not closed?") from None
    if names is None:
        raise ElisionError(f"{path} is empty")
    filled = max((len(_trimmed(cells[: len(names)])) for _, cells in lines), default=0)
    return names[: max(len(_trimmed(names)), filled)], lines


def _json(text: str, path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read an object per line, or one list of objects."""
    how = 'a table in JSON is an object per line, such as {"id": "a", "text": "well", "label": 1, "split": "train"}'
    objects: list[tuple[int, object]] = []
    try:
        whole = json.loads(text)
    except ValueError:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    objects.append((number, json.loads(line)))
                except ValueError as error:
                    raise ElisionError(f"{path}: line {number} is not valid JSON ({error}); {how}") from None
    else:
        many = isinstance(whole, list)
        objects = list(enumerate(whole, 1)) if many else [(1, whole)]
        if not many and any(
            isinstance(value, dict | list) for value in (whole if isinstance(whole, dict) else {}).values()
        ):
            raise ElisionError(f"{path} is one JSON object; {how}")
    names: dict[str, None] = {}
    for number, found in objects:
        if not isinstance(found, dict):
            raise ElisionError(f"{path}: line {number} is {type(found).__name__}, no JSON object; {how}")
        for name, value in found.items():
            if isinstance(value, dict | list):
                raise ElisionError(
                    f"{path}: line {number}: {name!r} holds {type(value).__name__}; write text or a number"
                )
            names[name] = None
    _check_width(path, len(objects), len(names))
    return list(names), [(number, [_cell(found.get(name)) for name in names]) for number, found in objects]


def _parquet(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], list[str]]:
    """Read the columns of text and numbers; also returns what the others are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.ParquetFile(path).schema_arrow
        names = [name for name in schema.names if not name.startswith("__index_level_")]
        lists = [name for name in names if pa.types.is_nested(schema.types[schema.names.index(name)])]
        table = read_parquet(path, [name for name in names if name not in lists])
        columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    except ElisionError:
        raise
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        raise ElisionError(f"{path} cannot be read as a table ({str(error) or type(error).__name__})") from None
    notes = [f"{plural(len(lists), 'column')} of lists ({', '.join(map(repr, lists))})"] if lists else []
    rows = [(k, list(cells)) for k, cells in enumerate(zip(*columns, strict=True), 1)]
    return list(table.column_names), rows, notes


def _excel(path: Path, data: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the first sheet of a workbook."""
    what = "save the table as CSV UTF-8"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            check_size(sum(info.file_size for info in archive.infolist()), len(data), str(path))
    except zipfile.BadZipFile:
        raise ElisionError(f"{path} is a damaged .zip or .xlsx file; {what}") from None
    if "xl/workbook.xml" not in names:
        kind = "a Word document (.docx)" if "word/document.xml" in names else None
        kind = kind or ("an OpenDocument file (.ods, .odt)" if "content.xml" in names else "a .zip file")
        raise ElisionError(f"{path} is {kind}; {what}, or as .xlsx")
    try:
        import openpyxl
    except ImportError:
        raise ElisionError(f"{path} is an Excel workbook; {what}, or type once: pip install 'elision[xlsx]'") from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of its size may be wrong
        lines, size = [], 0
        for row in sheet.iter_rows(values_only=True):
            check_size(size := size + 8 * len(row), len(data), f"{path}: {len(lines) + 1} rows")
            lines.append([_cell(value) for value in row])
    except ElisionError:
        raise
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        raise ElisionError(
            f"{path} cannot be read as an Excel workbook ({str(error) or type(error).__name__}); {what}"
        ) from None
    first = next((k for k, cells in enumerate(lines) if any(cells)), None)
    if first is None:
        raise ElisionError(f"{path}: the first sheet is empty; move the table there")
    width = max(k + 1 for k, cell in enumerate(lines[first]) if cell)
    return lines[first][:width], [(first + 2 + k, cells) for k, cells in enumerate(lines[first + 1 :])]


def _cell(value: object) -> str:
    """Return what a cell of a file with types holds, as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def kept(names: Iterable[str], ours: Collection[str]) -> list[str]:
    """Return the columns of a table that are none of ours, and whose names are free: folds may name them."""
    free = (name for name, count in Counter(names).items() if name and count == 1 and not _UNNAMED.fullmatch(name))
    return [name for name in free if name not in ours and not _RESERVED.fullmatch(name)]


def told(names: Iterable[str], kept: Collection[str]) -> list[str]:
    """Say what becomes of the columns that are not ours."""
    used = set(kept)
    unused = [repr(name) for name in names if name not in used]
    notes = [f"not used: {', '.join(unused)}"] if unused else []
    return [*notes, *([f"columns that only folds and statistics.cluster can use: {', '.join(kept)}"] if kept else [])]


def overfull(row: Row) -> Iterator[str]:
    """Find cells beyond the columns."""
    if beyond := row.cells[""]:
        yield f"there are more cells than columns ({beyond!r}); put quotes around a text that holds the separator"


def emptied(rows: Iterable[Row], columns: Iterable[str]) -> tuple[list[Row], Iterator[str]]:
    """Empty the cells that hold what programs write for nothing, such as ``nan``.

    Parameters
    ----------
    rows : iterable of Row
    columns : iterable of str
        Where such a cell is empty.

    Returns
    -------
    rows : list of Row
    notes : iterator of str
        What was read as empty, and where.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    made = []
    for row in rows:
        wrong = {name: row.cells[name] for name in columns if row.cells.get(name) in MISSING}
        for key in wrong.items():
            found.setdefault(key, []).append(row)
        made.append(Row(row.line, row.cells | dict.fromkeys(wrong, ""), row.noun) if wrong else row)
    return made, (f"{name} is {cell!r}, which is read as empty: {lines_of(of)}" for (name, cell), of in found.items())


def lines_of(rows: list[Row], most: int = 10) -> str:
    """Say where rows are: ``line 3, id 'a'``, or ``lines 3, 5``."""
    if len(rows) == 1:
        return str(rows[0])
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"{rows[0].noun}s {', '.join(str(row.line) for row in rows[:most])}{more}"
