"""Feature arrays that the user made with tools of their own, and a table that says what they belong to.

The table (CSV, TSV or Parquet) has a row per sample; ``columns`` and ``splits`` translate its names to these:

============================================ =======================================================================
``id``                                       unique
``split``                                    train, valid or test; not needed with ``folds``
``label``                                    sentiment, in the range of the corpus; or the name of a class
``text``                                     optional: the transcript, which is tokenised for the text encoder
``speaker``, ``duration``                    optional; seconds
``label_text, label_audio, label_vision``    optional: labels of a modality alone
============================================ =======================================================================

Audio and vision are arrays in NumPy (.npz, .npy), HDF5 or Parquet files, in one of these layouts:

=========================== ========================================================================================
(N, d)                      a vector per sample: a sequence of length 1
(N, T, d)                   a padded sequence per sample, with ``lengths`` or without
(sum of lengths, d)         all sequences end to end, with ``lengths`` (N,) or ``offsets`` (N + 1,)
an array per sample         (T, d) or (d,); the name of the array, or of the file, has ``{id}`` in it
a column of lists           Parquet: numbers (d), or lists of numbers (T, d); null or empty: absent
=========================== ========================================================================================

What ids and splits of the table put into the path of a file may not lead out of the folder that ``file`` names, unless
the settings say ``outside: true``. No pickle is ever opened, so an array of Python objects is refused.
"""

import csv
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

from elision.arrayfiles import Archive, check_size, check_text, find_hdf5, load_npy, read_parquet, read_text_hdf5
from elision.datasets._paths import ALLOW, below
from elision.datasets._problems import odd_ids, refuse, some, warn_of_shared_speakers
from elision.errors import ElisionError, plural
from elision.features import text
from elision.files import is_file
from elision.progress import Reporter, track
from elision.settings.params import DatasetSettings, suggestion
from elision.store import Header, Sequences
from elision.task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"

_REQUIRED = ("id", "label", "split")
_LABELS = ("label", "label_text", "label_audio", "label_vision")
_COLUMNS = (*_REQUIRED, "text", "speaker", "duration", *_LABELS[1:])
_OF_ALL = ("ids", "lengths", "offsets")
_NUMBERS = "biuf"  # kinds of dtype
_MOST = 20  # names in a message
_CACHE = 1 << 26  # bytes of HDF5 chunks; a chunk may hold many samples

log = logging.getLogger(__name__)


def _by_name(number: Any) -> Any:
    """JSON has no nan and no inf, so settings hold them by name."""
    return str(number) if isinstance(number, float) and not np.isfinite(number) else number


Number = Annotated[FiniteFloat | Literal["nan", "inf", "-inf"], BeforeValidator(_by_name)]


class Array(BaseModel):
    """Where the sequences of one modality are, and how they lie there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path = Field(description=".npz, .npy, HDF5 or Parquet; {split} and {id} stand for those of the sample")
    values: str | None = Field(
        None, description="name of the array, HDF5 path, or Parquet column; may hold {split} and {id}; null for .npy"
    )
    ids: str | None = Field(
        None, description="array of the ids, in the same file or a .npy file; null: in the order of the table"
    )
    lengths: str | None = Field(None, description="array of the frames of each sequence, as for ids")
    offsets: str | None = Field(None, description="array of N + 1 starts in values (sum of lengths, d), as for ids")
    padding: Literal["none", "start", "end", "both"] | None = Field(
        None,
        description="where frames of only pad_value are cut off; null: at the end of (N, T, d) without lengths, "
        "otherwise none",
    )
    pad_value: Number = Field(0.0, description="see padding; a number or nan")
    missing_values: tuple[Number, ...] = Field(
        (), description="numbers, or nan, inf, -inf, that stand for something missing: the frame was not observed"
    )
    missing_if: Literal["any", "all"] = Field(
        "any", description="a frame was not observed if any, or all, of its values are missing_values"
    )
    rate: float | None = Field(None, gt=0, description="frames per second, if known")
    max_length: int | None = Field(None, ge=1, description="frames; longer sequences are cut at their end; null: none")
    extractor: str = Field("unknown (feature file)", description="what made the values, for the record")

    @model_validator(mode="after")
    def _agree(self) -> "Array":
        given = [name for name in ("lengths", "offsets", "padding") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"there are both {' and '.join(given)}; keep one of them")
        of_all = [name for name in _OF_ALL if getattr(self, name) is not None]
        if of_all and self.each:
            raise ValueError(f"with {{id}} every sample has an array of its own; leave out {' and '.join(of_all)}")
        return self

    @property
    def each(self) -> bool:
        """Whether every sample has an array of its own."""
        return "{id}" in f"{self.file} {self.values}"

    @property
    def names(self) -> dict[str, str]:
        """What stands in the settings that name arrays."""
        return {name: value for name in ("values", *_OF_ALL) if (value := getattr(self, name)) is not None}


class Settings(DatasetSettings):
    """Feature arrays of the user's own, with a table."""

    source: Literal["arrays"] = Field(description="feature arrays of your own, with a table")
    table: Path = Field(description="CSV, TSV or Parquet file with a row per sample")
    columns: dict[Literal[_COLUMNS], str | None] = Field(
        {}, description="our name of a column: the table's name of it, or null: not to be used"
    )
    splits: dict[Literal[SPLITS], str] = Field({}, description="our name of a split: the table's name of it")
    encoder: str = Field("minilm", description="tokenises the transcripts; as in features.text")
    max_length: int = Field(50, ge=3, description="tokens with [CLS] and [SEP]; longer transcripts are cut")
    audio: Array | None = Field(None, description="arrays of audio features")
    vision: Array | None = Field(None, description="arrays of vision features")
    outside: bool = Field(
        False, description="whether ids and splits of the table may lead to files out of the folder of file"
    )

    @property
    def arrays(self) -> dict[str, Array]:
        """The modalities that have arrays."""
        return {name: array for name in ("audio", "vision") if (array := getattr(self, name))}

    @property
    def their_columns(self) -> dict[str, str]:
        """The table's name of each column."""
        names = {ours: self.columns.get(ours, ours) for ours in _COLUMNS}
        return {ours: name for ours, name in names.items() if name is not None}

    @property
    def required(self) -> tuple[str, ...]:
        """Our names of the columns that the table must have."""
        return ("id", "label") if self.folds else _REQUIRED

    @property
    def our_splits(self) -> dict[str, str]:
        """Our name of each split, by the table's."""
        return {self.splits.get(ours, ours): ours for ours in SPLITS}


def encoder(settings: Settings) -> str:
    """Name the text encoder of the transcripts."""
    return settings.encoder


def inputs(settings: Settings) -> list[Path]:
    """Return the table, and every file of arrays that exists.

    ``prepare`` tells of those that do not exist, and of a table that cannot be read.
    """
    try:
        _, cells = _read_table(settings)
        samples = list(zip(cells["id"], _splits(cells), strict=True))
    except (ElisionError, KeyError):
        return [settings.table]
    parts = {part for array in settings.arrays.values() for part in _parts(array, samples, settings.outside)[0]}
    files = {path for part in parts for path in _files(part)}
    return [settings.table, *sorted(path for path in files if is_file(path))]


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check the table and the arrays.

    Only what the settings name is read: whole arrays of .npz and Parquet files, and sample by sample of others. Peak
    memory is about twice that of the largest modality.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``split``, ``label`` (and the labels of modalities that the table has), ``text``, ``speaker``,
        ``duration`` (seconds; NaN where the table does not say). In the order of the table.
    modalities : dict of str to Sequences
        ``text`` (token ids), ``audio`` and ``vision``, as far as there are any. Where a file holds nothing of a sample,
        the modality is absent (length 0).

    Raises
    ------
    ElisionError
        Lists everything that is wrong: with the columns of the table first, then with all else.
    """
    names, cells = _read_table(settings)
    refuse(settings.table, list(_check_columns(names, settings)))
    refuse(settings.table, list(odd_ids([name for name in cells["id"] if name])))  # before they become names of files
    if unused := [name for name in names if name not in settings.their_columns.values()]:
        log.info("%s: columns that are not used: %s", settings.table, ", ".join(unused))
    samples, problems = _samples(cells, settings)

    modalities = {}
    if samples["text"].notna().any():
        try:
            modalities["text"] = _text(samples["text"].tolist(), settings)
        except ElisionError as error:
            problems.append(f"text: {error}")
    for modality, array in settings.arrays.items():
        # A split without a name of ours is a problem already, and there may be no file of it.
        if samples["split"].isna().any() and "{split}" in f"{array.file} {array.names}":
            continue
        of_sample = list(zip(cells["id"], _splits(cells), strict=True))
        modalities[modality], wrong = _sequences(modality, array, of_sample, settings.outside)
        problems += [f"{modality}: {problem}" for problem in wrong]
    refuse(settings.table, problems or list(_check_content(samples, modalities)))

    if not settings.folds:
        warn_of_shared_speakers(samples["speaker"], samples["split"])
    return samples, modalities


# --- the table


def _splits(cells: dict[str, list[str]]) -> list[str]:
    """The table's split of each sample; where folds make it unnecessary, there may be none."""
    return cells.get("split", [""] * len(cells["id"]))


def _read_table(settings: Settings) -> tuple[list[str], dict[str, list[str]]]:
    """Return the names of all columns as they stand, and by our names the cells, as text, of those that are read."""
    path = settings.table
    try:
        with path.open("rb") as file:
            header = file.readline()
        if header.startswith(b"PAR1"):
            names, columns = _read_parquet(path, set(settings.their_columns.values()))
        else:
            names, columns = _read_csv(path, header.decode("utf-8-sig"))
    except FileNotFoundError:
        raise ElisionError(f"{path}: no such file; check the path in params.yaml") from None
    except UnicodeDecodeError as error:
        raise ElisionError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        why = str(error).strip() or type(error).__name__
        raise ElisionError(f"{path} cannot be read as a table ({why})") from None
    return names, {ours: columns[name] for ours, name in settings.their_columns.items() if name in columns}


def _read_parquet(path: Path, wanted: set[str]) -> tuple[list[str], dict[str, list[str]]]:
    from pyarrow.parquet import ParquetFile

    names = ParquetFile(path).schema_arrow.names
    table = read_parquet(path, [name for name in names if name in wanted])
    cells = {
        name: ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return names, cells


def _read_csv(path: Path, header: str) -> tuple[list[str], dict[str, list[str]]]:
    import pandas as pd

    separator = max(",;\t", key=header.count)
    with path.open(encoding="utf-8-sig", newline="") as file:
        width = len(next(csv.reader(file, delimiter=separator)))
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    # Short rows are filled up to the length of the first one.
    check_size(8 * lines * width, path.stat().st_size, f"{lines} rows like the first one")
    options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "compression": None}
    table = pd.read_csv(path, sep=separator, header=None, **options)
    table = table.fillna("").apply(lambda column: column.str.strip())
    names = table.iloc[0].tolist()
    rows = table.iloc[1:]
    rows = rows[(rows != "").any(axis=1)]
    return names, {name: rows[k].tolist() for k, name in enumerate(names)}


def _check_columns(names: list[str], settings: Settings) -> Iterator[str]:
    for ours, name in settings.their_columns.items():
        if names.count(name) > 1:
            yield f"column {name!r} stands there {names.count(name)} times"
        elif name not in names and ours in settings.columns:
            yield f"there is no column {name!r}, which is to be {ours}; {suggestion(name, names)}"
        elif name not in names and ours in settings.required:
            yield (
                f"there is no column {ours}; add it, or say which one it is, columns: {{{ours}: ...}} in params.yaml; "
                f"there is: {', '.join(names)}"
            )


def _samples(cells: dict[str, list[str]], settings: Settings) -> "tuple[pd.DataFrame, list[str]]":
    """Make the table of samples, and find what is wrong with ids, splits, labels and durations."""
    import pandas as pd

    ids, problems = pd.Series(cells["id"], dtype=object), []
    if empty := np.flatnonzero(ids == "").tolist():
        problems.append(f"{plural(len(empty), 'row')} without id: {some([row + 1 for row in empty])}")
    for name, count in ids[(ids != "") & ids.duplicated(keep=False)].value_counts(sort=False).items():
        problems.append(f"id {name!r} stands there {count} times; ids must differ")

    ours = settings.our_splits if "split" in cells else {"": SPLITS[0]}
    for value, same in ids.groupby(pd.Series(_splits(cells), dtype=object), sort=False):
        if value not in ours:
            problems.append(
                f"split {value!r} of {plural(len(same), 'sample')} ({some(same.tolist())}) is none of "
                f"{', '.join(ours)}; say what it is, for instance splits: {{valid: {value}}} in params.yaml, or drop "
                "these rows"
            )
    table = {"id": ids, "split": [ours.get(value) for value in _splits(cells)]}
    problems += [
        f"there is no sample in split {split}; every split needs some"
        for split in SPLITS
        if split not in table["split"] and not settings.folds
    ]

    largest = settings.largest_label
    named = ["label"] if settings.labels_are_names else []
    for column in named:
        table[column] = pd.Series(cells[column], dtype=object)
        if empty := ids[table[column] == ""].tolist():
            problems.append(f"{plural(len(empty), 'sample')} without label: {some(empty)}")
    for column in (column for column in _LABELS if column in cells and column not in named):
        table[column] = pd.to_numeric(pd.Series(cells[column], dtype=object), errors="coerce").astype(np.float64)
        wrong = np.flatnonzero(~(table[column].abs() <= largest + 1e-6))
        if len(wrong):
            shown = ", ".join(f"{ids[row]!r} {cells[column][row]!r}" for row in wrong[:3])
            problems.append(
                f"{column} of {plural(len(wrong), 'sample')} is not a number in [{-largest:g}, {largest:g}], the range "
                f"of corpus {settings.corpus} ({shown}); choose another corpus, or scale the labels to its range"
            )
    table["text"] = pd.Series([cell or None for cell in cells.get("text", [""] * len(ids))], dtype=object)
    table["speaker"] = pd.Series([cell or None for cell in cells.get("speaker", [""] * len(ids))], dtype=object)
    duration = pd.Series(cells.get("duration", [""] * len(ids)), dtype=object)
    table["duration"] = pd.to_numeric(duration, errors="coerce").astype(np.float64)
    wrong = ids[(duration != "") & ~(table["duration"] >= 0)].tolist()
    if wrong:
        problems.append(f"duration of {plural(len(wrong), 'sample')} is not a number of seconds: {some(wrong)}")
    return pd.DataFrame(table), problems


def _check_content(samples: "pd.DataFrame", modalities: dict[str, Sequences]) -> Iterator[str]:
    """Find out whether there is anything to learn from."""
    if not modalities:
        yield "there are no data: no text in the table, and neither audio nor vision in params.yaml"
        return
    lengths = sum(sequences.lengths for sequences in modalities.values())
    if empty := samples["id"][lengths == 0].tolist():
        yield f"{plural(len(empty), 'sample')} without any of {', '.join(modalities)}: {some(empty)}; drop these rows"


def _text(texts: list[str | None], settings: Settings) -> Sequences:
    """Tokenise the transcripts."""
    options = {"encoder": settings.encoder, "max_length": settings.max_length}
    special = text.special_tokens(settings.encoder)
    tokens = [text.extract(words, **options) for words in track(texts, "tokenise", len(texts))]
    header = Header(
        modality="text",
        length=max(map(len, tokens)),
        extractor=settings.encoder,
        settings={**options, **special},
    )
    return Sequences.of(tokens, header)


# --- the arrays


@dataclass(frozen=True)
class _File:
    """An open file of arrays: their names, for messages, and how one is found (KeyError: there is none)."""

    names: list[str]
    find: Callable[[str], Any]


def _is_file(name: str | None) -> bool:
    return name is not None and name.endswith(".npy")


def _files(part: Array) -> set[Path]:
    """Return the files that hold the arrays of a group of samples."""
    return {part.file, *(Path(name) for name in part.names.values() if _is_file(name))}


def _parts(array: Array, samples: list[tuple[str, str]], outside: bool) -> tuple[dict[Array, list[int]], list[str]]:
    """Group samples, of which id and split are given, by the file and the arrays in it that hold them.

    Each group has its ``Array``, with ``{split}`` filled in, and in the names of files also ``{id}``. What would lead
    to files that may not be read is returned as problems.
    """
    parts: dict[Array, list[int]] = {}
    wrong: dict[str, list[str]] = {}
    for row, (sample, split) in enumerate(samples):
        try:
            file = Path(_filled(str(array.file), sample, split, outside))
            names = {
                name: _filled(value, sample, split, outside) if _is_file(value) else value.replace("{split}", split)
                for name, value in array.names.items()
            }
            for name, value in names.items():
                if _is_file(value) and not _is_file(getattr(array, name)):
                    raise ElisionError(f"split {split!r} makes {name} the path of a file; give the split another name")
        except ElisionError as error:
            wrong.setdefault(str(error), []).append(sample)
            continue
        parts.setdefault(array.model_copy(update={"file": file, **names}), []).append(row)
    return parts, [f"{array.file}: {plural(len(of), 'sample')} ({some(of)}): {what}" for what, of in wrong.items()]


def _filled(path: str, sample: str, split: str, outside: bool) -> str:
    """Fill ``{split}`` and ``{id}`` into the path of a file; what they bring may not lead out of the path's folder."""
    filled = path.replace("{split}", split).replace("{id}", sample)
    if outside or filled == path:
        return filled
    folder = Path(os.path.dirname(path.split("{id}")[0].split("{split}")[0]))  # noqa: PTH120 - keeps a final slash
    try:
        return str(below(folder, os.path.abspath(filled)))  # noqa: PTH100
    except ElisionError:
        raise ElisionError(f"id or split leads out of {folder}; rename it, and the file, or {ALLOW}") from None


def _sequences(
    modality: str, array: Array, samples: list[tuple[str, str]], outside: bool
) -> tuple[Sequences | None, list[str]]:
    """Read one modality of the samples, of which id and split are given, and find what is wrong with it."""
    ids = [sample for sample, _ in samples]
    found: list[np.ndarray | None] = [None] * len(ids)
    parts, problems = _parts(array, samples, outside)
    wrong, size, stored = {}, 0, 0
    with Reporter(f"read {modality}", len(ids)) as progress:
        for part, rows in parts.items():
            try:
                stored += sum(path.stat().st_size for path in _files(part) if is_file(path))
                with _open(part.file) as file:
                    frames_of, padding = _layout(file, part, [ids[row] for row in rows], each=array.each)
                    for k, row in enumerate(rows):
                        try:
                            found[row] = _clean(frames_of(k), part, padding)
                        except ElisionError as error:
                            wrong.setdefault(str(error), []).append(ids[row])
                        else:
                            size += 0 if found[row] is None else found[row].nbytes
                            check_size(size, stored, "together the samples have")
                        progress.advance()
            except FileNotFoundError:
                if "{id}" not in str(array.file):
                    problems.append(f"{part.file}: no such file; check the path in params.yaml")
            except ElisionError as error:
                problems += [f"{part.file}: {line}" for line in str(error).split("\n")]
            except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
                problems.append(f"{part.file}: cannot be read ({str(error) or type(error).__name__}); is it whole?")
    problems += [f"{array.file}: {plural(len(rows), 'sample')} ({some(rows)}): {what}" for what, rows in wrong.items()]

    widths = {frames.shape[1]: sample for sample, frames in zip(ids, found, strict=True) if frames is not None}
    if len(widths) > 1:
        shown = ", ".join(f"{width} ({sample!r})" for width, sample in sorted(widths.items()))
        problems.append(f"{array.file}: the samples differ in dimensions: {shown}")
    if not widths and not problems:
        problems.append(
            f"{array.file}: there is nothing of any sample, such as {some(ids)}; are the ids spelled as in the table?"
        )
    if problems:
        return None, problems

    (width,) = widths
    header = Header(
        modality=modality,
        length=max(len(frames) for frames in found if frames is not None),
        rate=array.rate,
        extractor=array.extractor,
        settings=array.model_dump(mode="json", exclude={"rate", "extractor"}),
    )
    made = Sequences.of([np.zeros((0, width), np.float32) if frames is None else frames for frames in found], header)
    if absent := [sample for sample, frames in zip(ids, found, strict=True) if frames is None]:
        log.info("%s: absent from %s: %s", modality, plural(len(absent), "sample"), some(absent))
    if lost := int(np.isnan(made.values).any(1).sum()):
        log.info("%s: %s of %d not observed", modality, plural(lost, "frame"), len(made.values))
    return made, []


@contextmanager
def _open(path: Path) -> Iterator[_File]:
    """Open a file of arrays, of a format that its first bytes tell."""
    import h5py  # params import this module, and so every job does
    from pyarrow.parquet import ParquetFile

    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        yield _File(["one without a name"], lambda name: {"": load_npy(path, mapped=True)}[name])
    elif start.startswith(b"PK"):
        with Archive(path) as arrays:
            yield _File(list(arrays.sizes), arrays.read)
    elif start == b"\x89HDF\r\n\x1a\n":
        with h5py.File(path, "r", rdcc_nbytes=_CACHE, locking=False) as arrays:
            yield _File(list(arrays), lambda name: find_hdf5(arrays, name))
    elif start.startswith(b"PAR1"):
        names = ParquetFile(path).schema_arrow.names
        yield _File(names, lambda name: _column(path, name, names))
    else:
        raise ElisionError("is none of .npz, .npy, HDF5 and Parquet; save the arrays with numpy.savez")


def _column(path: Path, name: str, names: list[str]) -> np.ndarray:
    if name not in names:
        raise KeyError(name)
    return read_parquet(path, [name])[name].to_numpy()


def _find(file: _File, name: str | None, *, called: str | None) -> Any:
    """Return an array, ``called`` so in messages; of HDF5 a dataset, which is read where it is indexed.

    The settings, which give what it is ``called``, say whether it is a file of its own; an id of the table does not.
    """
    import h5py

    try:
        found = load_npy(Path(name), mapped=True) if _is_file(called) else file.find(name or "")
    except FileNotFoundError:
        raise ElisionError(f"{called}: no such file; check the path in params.yaml") from None
    except ValueError as error:
        if "bject" not in str(error):  # NumPy says: Object arrays cannot be loaded; Python objects in dtype
            raise
        raise ElisionError(
            f"{called or 'the array'} holds Python objects, for which a pickle would have to be opened; save it again "
            "as numbers, or as text: numpy.asarray(ids, dtype=str)"
        ) from None
    if isinstance(found, h5py.Group):
        raise ElisionError(f"{called} is a group; name an array in it: {', '.join(list(found)[:_MOST])}")
    return found


def _named(file: _File, name: str | None) -> Any:
    """Return an array that must be there."""
    try:
        return _find(file, name, called=name)
    except KeyError:
        missing = f"there is no array {name}" if name else "values does not say which array"
        raise ElisionError(f"{missing}; there is: {', '.join(file.names[:_MOST]) or 'none'}") from None


def _layout(file: _File, part: Array, ids: list[str], *, each: bool) -> tuple[Callable[[int], np.ndarray | None], str]:
    """Return a function from the number of a sample to its frames, if it has any, and where these have padding."""
    padding = part.padding or "none"
    if each:
        return lambda k: _own(file, part, ids[k]), padding

    values, name = _named(file, part.values), part.values or "the array"
    shape = values.shape
    if not isinstance(values, np.ndarray) and len(shape) > 1 and values.dtype.kind not in _NUMBERS:
        raise ElisionError(f"{name} does not hold numbers")

    def of_entries(entry: Callable[[int], np.ndarray | None], count: int) -> Callable[[int], np.ndarray | None]:
        places = _places(file, part, ids, count)
        return lambda k: None if places[k] is None else entry(places[k])

    column = isinstance(values, np.ndarray) and values.dtype == object  # of a Parquet file
    if column and not (part.lengths or part.offsets):
        return of_entries(lambda i: _of_lists(values[i]), len(values)), padding
    if len(shape) == 2:
        edges = _edges(file, part, shape[0])
        return of_entries(lambda i: values[edges[i] : edges[i + 1]], len(edges) - 1), padding
    if len(shape) == 3 and part.lengths:
        lengths = _whole_numbers(file, part.lengths, shape[1])
        if lengths is None or len(lengths) != shape[0]:
            raise ElisionError(
                f"{part.lengths} are not {shape[0]} numbers up to {shape[1]}, as {name} has shape {shape}"
            )
        return of_entries(lambda i: values[i, : lengths[i]], len(values)), padding
    if len(shape) == 3 and not part.offsets:
        return of_entries(lambda i: values[i], len(values)), part.padding or "end"
    raise ElisionError(f"{name} has shape {shape}, not (N, d), (N, T, d) or, with offsets, (sum of lengths, d)")


def _own(file: _File, part: Array, sample: str) -> np.ndarray | None:
    """Return the frames of a sample that has an array of its own, if it is there."""
    if "{id}" not in (part.values or ""):
        return _numbers(_named(file, part.values))
    try:
        return _numbers(_find(file, part.values.replace("{id}", sample), called=part.values))
    except KeyError:
        return None


def _numbers(array: Any) -> np.ndarray:
    """Read an array; one of HDF5 whose entries can be of any length is not even read."""
    if not isinstance(array, np.ndarray) and array.dtype.kind not in _NUMBERS:
        raise ElisionError("not numbers")
    return np.array(array)


def _of_lists(cell: Any) -> np.ndarray | None:
    """Make an array of a cell of a Parquet file: numbers, or lists of numbers."""
    if cell is None:
        return None
    if not isinstance(cell, np.ndarray):
        raise ElisionError(f"{type(cell).__name__} instead of a list of numbers")
    if cell.dtype != object or not len(cell):
        return cell
    if len({np.shape(frame) for frame in cell}) > 1:
        raise ElisionError("frames that differ in dimensions")
    return np.stack(cell)


def _edges(file: _File, part: Array, rows: int) -> np.ndarray:
    """Return where each sequence starts in an array [rows, d], and after the last one where it ends."""
    if part.offsets:
        edges = _whole_numbers(file, part.offsets, rows)
        if edges is None or not (
            len(edges) > 1 and edges[0] == 0 and edges[-1] == rows and (np.diff(edges) >= 0).all()
        ):
            raise ElisionError(
                f"{part.offsets} are not N + 1 numbers that rise from 0 to {rows}, the end of the values"
            )
        return edges
    lengths = _whole_numbers(file, part.lengths, rows) if part.lengths else np.ones(rows, np.int64)
    if lengths is None:
        raise ElisionError(f"{part.lengths} has a length above {rows}, but there are {rows} rows of values")
    if lengths.sum() != rows:
        raise ElisionError(f"{part.lengths} sum to {lengths.sum()}, but there are {rows} rows of values")
    return np.concatenate([[0], np.cumsum(lengths)])


def _whole_numbers(file: _File, name: str, most: int) -> np.ndarray | None:
    """Return an array of whole numbers; None: one is larger than ``most``, and maybe than any integer of a machine."""
    found = _named(file, name)
    numbers = np.asarray(found).ravel() if found.dtype.kind in _NUMBERS else np.array([-1])
    if not (np.isfinite(numbers) & (numbers >= 0) & (np.floor(numbers) == numbers)).all():
        raise ElisionError(f"{name} are not whole numbers from 0")
    return numbers.astype(np.int64) if (numbers <= most).all() else None


def _places(file: _File, part: Array, ids: list[str], count: int) -> list[int | None]:
    """Return which of the ``count`` sequences of a file each sample has; None: none of them."""
    if part.ids is None:
        if count != len(ids):
            raise ElisionError(
                f"{plural(count, 'sequence')} for {plural(len(ids), 'sample')} of the table, and no ids to match them "
                "by; say with ids: which array has them"
            )
        log.info("%s: matched with the table by order, because ids are not given", part.file)
        return list(range(count))
    array = _named(file, part.ids)
    of_objects = not isinstance(array, np.ndarray) and array.dtype.kind == "O"
    found = read_text_hdf5(array) if of_objects else check_text(np.asarray(array)).ravel().tolist()
    found = [(name.decode() if isinstance(name, bytes) else str(name)).strip() for name in found]
    if len(found) != count:
        raise ElisionError(f"{part.ids} has {plural(len(found), 'id')} for {plural(count, 'sequence')}")
    problems = []
    if repeated := [name for name, times in Counter(found).items() if times > 1]:
        problems.append(
            f"{part.ids} has {plural(len(repeated), 'id')} more than once ({some(repeated)}); keep one each"
        )
    known = set(ids)
    if unknown := [name for name in found if name not in known]:
        problems.append(
            f"{part.ids} has {plural(len(unknown), 'id')} that the table does not have ({some(unknown)}); spell ids "
            f"alike (the table: {some(ids)}), or leave these out"
        )
    if problems:
        raise ElisionError("\n".join(problems))
    place = {name: i for i, name in enumerate(found)}
    return [place.get(sample) for sample in ids]


def _clean(frames: np.ndarray | None, part: Array, padding: str) -> np.ndarray | None:
    """Cut off what is padding or too long, and mark frames that were not observed, of one sample.

    Returns
    -------
    frames : np.ndarray [shape=(T, d), dtype=float32] or None
        NaN where not observed; None if nothing is left, or was there.

    Raises
    ------
    ElisionError
        Says what is wrong, to be completed by the names of the samples.
    """
    if frames is None or not frames.size:
        return None
    if frames.dtype.kind not in _NUMBERS:
        raise ElisionError("not numbers")
    if frames.ndim == 1:
        frames = frames[np.newaxis]
    if frames.ndim != 2:
        raise ElisionError(f"shape {frames.shape}, not (T, d) or (d,)")
    if padding != "none":
        real = np.flatnonzero(~_equal(frames, part.pad_value).all(1))
        first = real.min(initial=len(frames)) if padding in ("start", "both") else 0
        last = real.max(initial=-1) + 1 if padding in ("end", "both") else len(frames)
        frames = frames[first:last]
    frames = _float32(frames[: part.max_length])
    if not len(frames):
        return None
    missing = np.any([np.zeros(frames.shape, bool), *(_equal(frames, n) for n in part.missing_values)], axis=0)
    lost = missing.all(1) if part.missing_if == "all" else missing.any(1)
    if not np.isfinite(frames[~lost]).all():
        raise ElisionError(
            "nan or inf; set missing_values: [nan] if this means that a frame was not observed, or write a number there"
        )
    return np.where(lost[:, np.newaxis], np.float32(np.nan), frames) if lost.any() else frames


def _equal(frames: np.ndarray, number: float | str) -> np.ndarray:
    frames, number = _float32(frames), np.float32(number)
    return np.isnan(frames) if np.isnan(number) else frames == number


def _float32(frames: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return frames.astype(np.float32, copy=False)
