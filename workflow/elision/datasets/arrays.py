"""Features that the user extracted with tools of their own, and a table that says what they belong to.

The table (CSV, JSON, .xlsx or Parquet) has a row per sample; ``columns`` and ``splits`` translate its names to these:

============================================ =======================================================================
``id``                                       unique; or made of several columns, ``"{video_id}_{clip_id}"``
``split``                                    train, valid or test; not needed with ``folds``
``label``                                    sentiment, in the range of the corpus; or the name of a class
``text``                                     optional: the transcript, which is tokenised for the text encoder
``speaker``, ``duration``                    optional; seconds
``dialogue``, ``position``                   optional: the dialogue of an utterance, and a number that rises along it
``label_text, label_audio, label_vision``    optional: labels of a modality alone
``words``                                    optional: path of a file with the time of each word, beside the table
``video``, ``start``, ``end``                optional: where the sample lies in a file of whole videos; seconds
============================================ =======================================================================

Audio, vision and text vectors are in files of any form that `elision.readers` reads, in one of these layouts:

=========================== ========================================================================================
(N, d)                      a vector per sample: a sequence of length 1
(N, T, d)                   a padded sequence per sample, with ``lengths`` or without
(sum of lengths, d)         all sequences end to end, with ``lengths`` (N,) or ``offsets`` (N + 1,)
N arrays                    (T, d) or (d,): a Parquet column, an HDF5 array of variable length, a cell array, a list
an array per sample         (T, d) or (d,); the name of the array, or of the file, has ``{id}`` in it
an array per video          the same with ``{video}``; the frames from ``start`` to ``end`` are taken by their times
a file of sequences         .csd of the CMU Multimodal SDK: by sample, or by video
rows of text                CSV or ARFF: a file per sample, or with ``ids``, where rows of one id are a sequence
=========================== ========================================================================================

What ids, splits and videos of the table put into the path of a file may not lead out of the folder that ``file`` names,
unless the settings say ``outside: true``. Nothing in a pickle is ever called.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from elision.datasets import _labels, _tables, _transcripts
from elision.datasets._found import Folder
from elision.datasets._layouts import Array, Sample, existing_files, read_sequences
from elision.datasets._paths import below
from elision.datasets._problems import odd_ids, refuse, some, warn_of_shared_speakers
from elision.datasets._word_times import outside
from elision.errors import ElisionError, plural
from elision.features import text as tokenizer
from elision.files import is_file
from elision.progress import track
from elision.settings.params import DatasetSettings, suggestion
from elision.store import Header, Sequences
from elision.task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"

__all__ = ["MAKES", "Settings", "encoder", "found", "inputs", "prepare"]

_REQUIRED = ("id", "label", "split")
_LABELS = ("label", "label_text", "label_audio", "label_vision")
_PLACE = ("video", "start", "end")  # of a sample, in a file of whole videos
_KEPT = ("video", "dialogue")  # folds and statistics.cluster can name them, too
_COLUMNS = (*_REQUIRED, "text", "words", "speaker", "dialogue", "position", "duration", *_LABELS[1:], *_PLACE)
_IN_BRACES = re.compile(r"\{([^{}]+)\}")

log = logging.getLogger(__name__)


class Settings(DatasetSettings):
    """Feature arrays of the user's own, with a table."""

    source: Literal["arrays"] = Field(description="feature arrays of your own, with a table")
    table: Path = Field(description="file with a row per sample: CSV, JSON lines, .xlsx or Parquet")
    columns: dict[Literal[_COLUMNS], str | None] = Field(
        {},
        description="our name of a column: the table's name of it, several names in braces, or null: not to be used",
    )
    splits: dict[Literal[SPLITS], str] = Field({}, description="our name of a split: the table's name of it")
    encoder: str = Field("minilm", description="tokenises the transcripts; as in features.text")
    max_length: int = Field(50, ge=3, description="tokens with [CLS] and [SEP]; longer transcripts are cut")
    text: Array | None = Field(None, description="arrays of text vectors")
    audio: Array | None = Field(None, description="arrays of audio features")
    vision: Array | None = Field(None, description="arrays of vision features")
    outside: bool = Field(
        False, description="whether ids, splits and videos of the table may lead to files out of the folder of file"
    )

    @property
    def arrays(self) -> dict[str, Array]:
        """The modalities that have arrays."""
        names = {"text_features": self.text, "audio": self.audio, "vision": self.vision}
        return {name: array for name, array in names.items() if array}

    @property
    def their_columns(self) -> dict[str, str]:
        """The table's name of each column."""
        taken = set(self.columns.values())  # a column in braces can be a part of several
        names = {ours: self.columns.get(ours, None if ours in taken else ours) for ours in _COLUMNS}
        return {ours: name for ours, name in names.items() if name is not None}

    @property
    def used_columns(self) -> set[str]:
        """The table's names of all columns that are read."""
        return {column for name in self.their_columns.values() for column in _of(name)}

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
        samples, _ = _of_files(cells)
        words = [_words_path(name, settings) for name in cells.get("words", ()) if name]
    except (ElisionError, KeyError):
        return [settings.table]
    arrays = settings.arrays.values()
    files = {path for array in arrays for path in existing_files(array, samples, outside=settings.outside)}
    return [settings.table, *sorted(files.union(filter(is_file, words)))]


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise one table (.csv, .tsv, .parquet, .xlsx, .jsonl)."""
    return {"table": folder.tables[0]} if len(folder.tables) == 1 else None


def columns(settings: Settings) -> list[str] | None:
    """Return the columns of the table that are kept; None, where it cannot be read."""
    try:
        table, cells = _read_table(settings)
    except ElisionError:
        return None
    return [*_others(table, settings), *(name for name in _KEPT if name in cells)]


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check the table and the arrays.

    Only what the settings name is read: whole arrays of .npz, .mat, text and Parquet files, whole pickles, and sample
    by sample of others. Peak memory is about twice that of the largest modality, and the size of a pickle more.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``split``, ``label`` (and the labels of modalities that the table has), ``text``, ``speaker``,
        ``duration`` (seconds; NaN where the table does not say); ``dialogue`` and ``position`` where the table has
        them. In the order of the table.
    modalities : dict of str to Sequences
        ``text`` (token ids), ``text_features`` (text vectors), ``audio`` and ``vision``, as far as there are any.
        Where a file holds nothing of a sample, the modality is absent (length 0). With text vectors, transcripts are
        tokenised only where there is a vector for every token.

    Raises
    ------
    ElisionError
        Lists everything that is wrong: with the columns of the table first, then with all else.
    """
    table, cells = _read_table(settings)
    refuse(settings.table, list(_check_columns(table.columns, settings)))
    refuse(settings.table, list(odd_ids([name for name in cells["id"] if name])))  # before they become names of files
    others = [name for name in table.columns if name not in settings.used_columns]
    for note in [*(f"not used: {note}" for note in table.notes), *_tables.told(others, _others(table, settings))]:
        log.info("%s: %s", settings.table, note)
    samples, problems = _samples(cells, settings)
    problems = [f"{row}: {problem}" for row in table.rows for problem in _tables.overfull(row)] + problems
    of_files, wrong = _of_files(cells)
    if any(array.by_video or array.file.suffix == ".csd" for array in settings.arrays.values()):
        problems += wrong  # only files of whole videos are cut by start and end

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
        if array.by_video and "video" not in cells:
            problems.append(
                f"{modality}: there is no column video for {{video}}; add it, or say which one it is, columns: "
                "{video: ...} in params.yaml"
            )
            continue
        modalities[modality], wrong = read_sequences(modality, array, of_files, outside=settings.outside)
        problems += [f"{modality.removesuffix('_features')}: {problem}" for problem in wrong]
    if not problems:
        _keep_one_text(modalities)
    refuse(settings.table, problems or list(_check_content(samples, modalities)))

    if not settings.folds:
        warn_of_shared_speakers(samples["speaker"], samples["split"])
    return samples, modalities


def _keep_one_text(modalities: dict[str, Sequences]) -> None:
    """Leave the tokens out where text vectors are not those of the tokens."""
    tokens, vectors = modalities.get("text"), modalities.get("text_features")
    if tokens and vectors and not np.array_equal(tokens.lengths, vectors.lengths):
        log.info(
            "text: there is not a vector for every token, so that transcripts are not tokenised: methods that read "
            "tokens have no text"
        )
        del modalities["text"]


# --- the table


def _splits(cells: dict[str, list[str]]) -> list[str]:
    """The table's split of each sample; where folds make it unnecessary, there may be none."""
    return cells.get("split", [""] * len(cells["id"]))


def _of_files(cells: dict[str, list[str]]) -> tuple[list[Sample], list[str]]:
    """Return what the table says of each sample that has to do with files, and what is wrong with its place there."""
    import pandas as pd

    count, problems = len(cells["id"]), []
    times = {}
    for name in _PLACE[1:]:
        given = pd.Series(cells.get(name, [""] * count), dtype=object)
        times[name] = pd.to_numeric(given, errors="coerce").to_numpy(np.float64)
        wrong = np.flatnonzero((given != "") & ~((times[name] >= 0) & (times[name] < np.inf)))
        if len(wrong):
            shown = ", ".join(f"{cells['id'][row]!r} {given[row]!r}" for row in wrong[:3])
            problems.append(f"{name} of {plural(len(wrong), 'sample')} is not a number of seconds ({shown})")
    start, end = times["start"], times["end"]
    if not problems and len(wrong := np.flatnonzero((np.isnan(start) != np.isnan(end)) | (end <= start))):
        shown = some([cells["id"][row] for row in wrong])
        problems.append(
            f"start and end of {plural(len(wrong), 'sample')} ({shown}): give both, and the end after start"
        )
    videos = cells.get("video", [""] * count)
    return list(map(Sample, cells["id"], _splits(cells), videos, start.tolist(), end.tolist())), problems


def _read_table(settings: Settings) -> tuple[_tables.Table, dict[str, list[str]]]:
    """Return the table, and its cells by our names of the columns, or by those of other columns."""
    path = settings.table
    if not is_file(path):
        raise ElisionError(f"{path}: no such file; check the path in params.yaml")
    table = _tables.read(path)
    columns = {name: [row.cells[name] for row in table.rows] for name in table.columns}
    return table, {
        **{name: columns[name] for name in _others(table, settings)},
        **{ours: _cells(columns, name) for ours, name in settings.their_columns.items() if _of(name) <= set(columns)},
    }


def _others(table: _tables.Table, settings: Settings) -> list[str]:
    """Return the columns that are kept for folds and ``statistics.cluster``."""
    return _tables.kept(table.columns, [*_COLUMNS, *settings.used_columns])


def _of(name: str) -> set[str]:
    """Return the columns of the table that a name stands for: several are named in braces."""
    return set(_IN_BRACES.findall(name)) or {name}


def _cells(columns: dict[str, list[str]], name: str) -> list[str]:
    if not (parts := _IN_BRACES.findall(name)):
        return columns[name]
    rows = zip(*(columns[part] for part in parts), strict=True)
    pieces = _IN_BRACES.split(name)[::2]
    # A row without any of these is one without an id.
    return ["".join(p + c for p, c in zip(pieces, (*row, ""), strict=True)) if all(row) else "" for row in rows]


def _check_columns(names: list[str], settings: Settings) -> Iterator[str]:
    for ours, name in ((ours, part) for ours, all_of in settings.their_columns.items() for part in sorted(_of(all_of))):
        if names.count(name) > 1:
            yield f"column {name!r} is there {names.count(name)} times; rename all but one"
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
        problems.append(f"{name!r} is the id of {count} rows; ids must differ")

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

    if not settings.skip_unlabelled:
        empty = _labels.unlabelled(cells["label"], settings)
        problems += [f"{what} ({some(ids.iloc[rows].tolist())})" for rows, what in empty]
    for column in (column for column in _LABELS if column in cells):
        if column == "label" and settings.labels_are_names:
            empty = pd.Series([_labels.is_empty(cell, settings.classes or ()) for cell in cells[column]], dtype=bool)
            table[column] = pd.Series(cells[column], dtype=object).mask(empty, None)
            continue
        table[column], wrong = _labels.scores(cells[column], settings, column)
        if rows := [row for found, _ in wrong for row in found]:
            shown = ", ".join(f"{ids[row]!r} {cells[column][row]!r}" for row in rows[:3])
            problems.append(
                f"{column} of {plural(len(rows), 'sample')} ({shown}) is not a number in {_labels.range_of(settings)}"
            )
    table["text"], table["speaker"] = _given("text", cells), _given("speaker", cells)
    duration = pd.Series(cells.get("duration", [""] * len(ids)), dtype=object)
    table["duration"] = pd.to_numeric(duration, errors="coerce").astype(np.float64)
    wrong = ids[(duration != "") & ~(table["duration"] >= 0)].tolist()
    if wrong:
        problems.append(f"duration of {plural(len(wrong), 'sample')} is not a number of seconds: {some(wrong)}")
    if "words" in cells:
        table["words"], wrong = _words(table, _given("words", cells), settings)
        problems += wrong
    if "position" in cells:
        table["position"] = pd.Series([_labels.number(cell) for cell in cells["position"]], dtype=np.float64)
        if wrong := ids[np.isinf(table["position"])].tolist():
            problems.append(f"position of {plural(len(wrong), 'sample')} {_labels.NO_POSITION}: {some(wrong)}")
    others = [name for name in cells if name in _KEPT or name not in _COLUMNS]
    table |= {name: _given(name, cells) for name in others}
    return pd.DataFrame(table), problems


def _given(name: str, cells: dict[str, list[str]]) -> "pd.Series":
    """Return a column of text; None where a cell is empty, or holds what programs write for nothing."""
    import pandas as pd

    column = cells.get(name, [""] * len(cells["id"]))
    if lost := [sample for sample, cell in zip(cells["id"], column, strict=True) if cell in _tables.MISSING]:
        log.info(
            "%s: read as empty: %s that a program wrote, such as 'nan' (%s)",
            name,
            plural(len(lost), "cell"),
            some(lost),
        )
    return pd.Series([None if cell in _tables.MISSING else cell or None for cell in column], dtype=object)


def _words_path(name: str, settings: Settings) -> Path:
    folder = settings.table.parent
    return folder / name if settings.outside else below(folder, name)


def _words(table: dict, names: "pd.Series", settings: Settings) -> "tuple[pd.Series, list[str]]":
    """Read the times of words, and find what is wrong with their files."""
    import pandas as pd

    found, problems = [], []
    for name, sample, duration in zip(names, table["id"], table["duration"], strict=True):
        words = None
        try:
            if name is not None:
                words, left_out = _transcripts.words_of(_words_path(name, settings))
                if left_out:
                    log.info("words of %r: left out: %s", sample, left_out)
                if not np.isnan(duration) and (problem := outside(words, duration)):
                    raise ElisionError(f"{name}: {problem}")
        except ElisionError as error:
            hint = "if the column holds something else, write columns: {words: null} in params.yaml"
            problems.append(f"words of {sample!r}: {error}; {hint}")
        found.append(None if words is None else json.dumps(words, ensure_ascii=False))
    return pd.Series(found, dtype=object), problems


def _check_content(samples: "pd.DataFrame", modalities: dict[str, Sequences]) -> Iterator[str]:
    """Find out whether there is anything to learn from."""
    if not modalities:
        yield "there are no data: no text in the table, and none of text, audio and vision in params.yaml"
        return
    lengths = sum(sequences.lengths for sequences in modalities.values())
    if empty := samples["id"][lengths == 0].tolist():
        yield f"{plural(len(empty), 'sample')} without any of {', '.join(modalities)}: {some(empty)}; drop these rows"


def _text(texts: list[str | None], settings: Settings) -> Sequences:
    """Tokenise the transcripts."""
    options = {"encoder": settings.encoder, "max_length": settings.max_length}
    special = tokenizer.special_tokens(settings.encoder)
    tokens = [tokenizer.extract(words, **options) for words in track(texts, "tokenise", len(texts))]
    header = Header(
        modality="text",
        length=max(map(len, tokens)),
        extractor=settings.encoder,
        settings={**options, **special},
    )
    return Sequences.of(tokens, header)
