"""What a source gives to the prepare step. This is the only place of the contract: `check` and the guide read it.

A source is a file ``datasets/NAME.py`` with these names:

=================== ===============================================================================================
``MAKES``           ``"clips"`` or ``"sequences"``
``Settings``        subclass of `DatasetSettings`, for clips of `ClipSettings`; its field ``source`` is
                    ``Literal["NAME"]``
``inputs``          function of the settings: the user's files, and folders of files, that ``prepare`` reads
``prepare``         function of the settings and a folder; clips: it returns a table (`COLUMNS`); sequences: it returns
                    a table and a dict of `Sequences` (`PARTS`)
``encoder``         only where ``prepare`` returns token ids: function of the settings, names the text encoder
``SYNTHETIC``       optional: True where the source makes its data, so that no one is recorded in them
``found``           optional: function of a `Folder`, tells `elision import-data` whether the folder is of the source:
                    settings with paths relative to the folder, or None
``DIALOGUES``       optional: True, where each utterance has a dialogue and a position (columns, or ids
                    ``video$_$clip``), so that ``methods: all`` has those that read dialogues
``training_size``   optional: function of the settings, number of training samples where it is known before ``prepare``
``columns``         optional: function of the settings, the columns of the table that are not in every table, where they
                    are known before ``prepare``; else None
=================== ===============================================================================================

A check changes no value, so this module is no part of the identity of an artifact.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from elision.datasets._labels import LABELS_OF_ONE, TOLERANCE, range_of
from elision.datasets._problems import odd_ids, refuse, some
from elision.errors import plural
from elision.task import TaskKind

if TYPE_CHECKING:
    import pandas as pd

    from elision.settings.params import DatasetSettings
    from elision.store import Sequences

KINDS = ("clips", "sequences")
MODALITIES = ("text", "audio", "vision", "text_features")
_ROWS = 1 << 16  # frames that are looked at together: memory for more than a few would double that of the source
_MOST = 80  # characters of a wrong cell, in messages
_FOLD = re.compile(r"fold-\d+")
_OURS = re.compile(r"sha256|length_.*")  # columns that the workflow adds
_NO_CHARACTER = re.compile(r"[\ud800-\udfff]")  # half of a pair, which UTF-8 cannot write


@dataclass(frozen=True)
class Column:
    """A column of the table that a source returns.

    Attributes
    ----------
    name : str
    holds : str
        What to give, for messages and for the guide.
    right : function of a cell to bool
        Whether a cell is right.
    kinds : tuple of str
        Sources whose tables have it.
    needed : bool
        Whether every table of these sources has it.
    """

    name: str
    holds: str
    right: Callable[[Any], bool]
    kinds: tuple[str, ...] = KINDS
    needed: bool = True


@dataclass(frozen=True)
class Part:
    """A part of the sequences of one modality that a source returns.

    Attributes
    ----------
    name : str
        Attribute of `Sequences`, or of its header.
    holds : str
        What to give, for messages and for the guide.
    right : function of (str, Sequences) to bool
        Whether the part is right, for a modality.
    """

    name: str
    holds: str
    right: Callable[[str, "Sequences"], bool]


def _absent(cell: object) -> bool:
    import pandas as pd

    return cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell))


def _text(cell: object) -> bool:
    return isinstance(cell, str) and not _NO_CHARACTER.search(cell)


def _name(cell: object) -> bool:
    return _absent(cell) or (_text(cell) and cell != "")


def _number(cell: object) -> bool:
    return isinstance(cell, int | float | np.integer | np.floating) and not isinstance(cell, bool)


def _plain(cells: list) -> bool:
    """Tell whether cells are text, numbers or bools, and not several of these."""
    kinds = (_text, _number, lambda cell: isinstance(cell, bool))
    return any(all(_absent(cell) or kind(cell) for cell in cells) for kind in kinds)


def _seconds(cell: object) -> bool:
    return _number(cell) and (np.isnan(cell) or 0 <= cell < np.inf)


def _words(cell: object) -> bool:
    if _absent(cell):
        return True
    try:
        return all(isinstance(word, str) and 0 <= start <= end for word, start, end in json.loads(cell))
    except (TypeError, ValueError):
        return False


# Labels, splits and folds depend on the settings: `_check_labels` and `_check_splits` look at their cells.
COLUMNS = (
    Column("id", "text that can be printed; no two samples have the same", _text),
    Column(
        "label",
        "a score (a number in the range of the corpus, or in `settings.scale`), or the name of a class (no comma, no "
        "colon). None or NaN where there is none: the workflow leaves such samples out, or refuses them",
        lambda cell: _absent(cell) or _number(cell) or (_text(cell) and not set(cell) & set(",:")),
    ),
    Column(
        "split", "train, valid, test, or another word for samples that are in none of them, such as unlabelled", _text
    ),
    Column(
        "fold-1, fold-2, ...",
        "in place of split: the split in each fold, one column for each of `settings.fold_count()` folds; no column "
        "where `settings.folds` is set, because the workflow then deals the folds",
        _text,
        kinds=("sequences",),
        needed=False,
    ),
    Column("text", "the transcript; None where it is unknown", lambda cell: _absent(cell) or _text(cell)),
    Column("speaker", "a name; None where the speaker is unknown", _name),
    Column("duration", "seconds, float64; NaN where the duration is unknown", _seconds),
    Column("path", "the path of a media file that exists; None for a clip without media", _name, kinds=("clips",)),
    Column(
        "has_audio, has_vision",
        "True where the media file has sound, or pictures; bool",
        lambda cell: isinstance(cell, bool | np.bool_),
        kinds=("clips",),
    ),
    Column(
        "words",
        "JSON list of [word, start, end], in seconds; None where the times are unknown",
        _words,
        kinds=("clips",),
    ),
    Column(
        "fps",
        "frames per second of the video, float64; NaN without a video",
        lambda cell: _number(cell) and (np.isnan(cell) or 0 < cell < np.inf),
        kinds=("clips",),
        needed=False,
    ),
    Column(
        ", ".join(LABELS_OF_ONE),
        "a score of the modality alone, float64; NaN where there is none",
        lambda cell: _number(cell) and not np.isinf(cell),
        needed=False,
    ),
    Column("dialogue", "the name of the dialogue of an utterance; None where it is unknown", _name, needed=False),
    Column(
        "position",
        "a number that rises along the dialogue, float64; NaN where the place of the utterance is unknown",
        lambda cell: _number(cell) and not np.isinf(cell),
        needed=False,
    ),
)


def _values_right(name: str, sequences: "Sequences") -> bool:
    values = sequences.values
    if name == "text":
        return values.dtype == np.int32 and values.ndim == 1 and (values >= 0).all()
    return values.dtype == np.float32 and values.ndim == 2 and values.shape[1] > 0


def _offsets_right(name: str, sequences: "Sequences") -> bool:
    offsets = sequences.offsets
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        return False
    return bool(offsets[0] == 0 and offsets[-1] == len(sequences.values) and (np.diff(offsets) >= 0).all())


def _times_right(name: str, sequences: "Sequences") -> bool:
    times = sequences.times
    if times is None:
        return True
    if name == "text" or times.dtype != np.float64 or times.shape != (len(sequences.values),):
        return False
    rising = np.diff(times) >= 0
    starts = sequences.offsets[1:-1]
    rising[starts[(starts > 0) & (starts < len(times))] - 1] = True  # from one sequence to the next
    return bool(np.isfinite(times).all() and rising.all())


def _settings_right(name: str, sequences: "Sequences") -> bool:
    try:
        json.dumps(sequences.header.settings, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return name != "text" or isinstance(sequences.header.settings.get("unk"), int)


PARTS = (
    Part(
        "values",
        "all sequences end to end: float32 (sum of lengths, d); text: token ids from 0, int32 (sum of lengths,). A "
        "frame is finite, or a row of NaN: it was not observed",
        _values_right,
    ),
    Part(
        "offsets",
        "int64 (N + 1,), from 0 to the sum of lengths: sequence i is `values[offsets[i]:offsets[i + 1]]`, in the order "
        "of the table. A sequence of length 0 is a modality that the sample does not have",
        _offsets_right,
    ),
    Part(
        "times",
        "seconds of the sample at which each frame is, float64 (sum of lengths,). They never fall within a sequence. "
        "None where they are unknown, and for token ids",
        _times_right,
    ),
    Part("header.modality", "the key of the modality", lambda name, s: s.header.modality == name),
    Part(
        "header.length",
        "padded length of batches, in frames or tokens: 1 or more, and no sequence is longer",
        lambda name, s: s.header.length >= max(1, s.lengths.max(initial=0)),
    ),
    Part(
        "header.rate",
        "frames per second; None for token ids, and where the rate is unknown",
        lambda name, s: s.header.rate is None or 0 < s.header.rate < np.inf,
    ),
    Part(
        "header.features",
        "d names of the dimensions, all different; [] where they are unknown, and for token ids",
        lambda name, s: not s.header.features or len(set(s.header.features)) == len(s.header.features) == s.width,
    ),
    Part(
        "header.extractor",
        "what made the values; text: the encoder that `encoder(settings)` names",
        lambda name, s: s.header.extractor != "",
    ),
    Part("header.version", "version of the extractor; empty where it is unknown", lambda name, s: True),
    Part(
        "header.settings",
        "what else matters, as JSON without NaN; text: special tokens, with `unk`, the id of [UNK]",
        _settings_right,
    ),
)


def check_source(source: ModuleType) -> None:
    """Refuse a file of ``datasets/`` that is no source.

    Raises
    ------
    ElisionError
        Names the file, and says what to write there.
    """
    from elision.settings.params import DatasetSettings

    name, problems = source.__name__.rpartition(".")[2], []
    if getattr(source, "MAKES", None) not in KINDS:
        problems.append('MAKES says nothing known; write MAKES = "clips" or MAKES = "sequences"')
    settings = getattr(source, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, DatasetSettings)):
        problems.append("Settings is missing; write class Settings(DatasetSettings)")
    elif get_args(settings.model_fields["source"].annotation) != (name,):
        problems.append(f'Settings.source is not the name of the file; write source: Literal["{name}"]')
    for function, arguments in (("inputs", "settings"), ("prepare", "settings, folder")):
        if not callable(getattr(source, function, None)):
            problems.append(f"{function} is missing; write def {function}({arguments})")
    refuse(Path(source.__file__), problems)


def check(source: ModuleType, settings: "DatasetSettings", made: Any) -> None:
    """Refuse what a source returned, where it is not as the contract says.

    Parameters
    ----------
    source : module
    settings : DatasetSettings
    made : pd.DataFrame, or tuple of pd.DataFrame and dict of str to Sequences
        What ``source.prepare`` returned.

    Raises
    ------
    ElisionError
        Names the file of the source, and lists every column and part that is wrong with what to give.
    """
    import pandas as pd

    file, kind = Path(source.__file__), source.MAKES
    table, modalities = (made, {}) if kind == "clips" else made if _is_pair(made) else (None, {})
    if not isinstance(table, pd.DataFrame):
        wanted = "a table (pandas.DataFrame)" + (" and a dict of Sequences" if kind == "sequences" else "")
        refuse(file, [f"prepare returned {type(made).__name__}; return {wanted}"])
    refuse(file, list(_check_shape(table, kind)))
    refuse(file, list(chain(_check_cells(table), _check_splits(table, settings, kind))))
    refuse(file, list(_check_labels(table, settings)))
    if kind == "sequences":
        refuse(file, list(_check_modalities(modalities)))
        names = getattr(source, "encoder", None)
        encoder = names(settings) if names else None
        found = (_check_sequences(name, sequences, table["id"], encoder) for name, sequences in modalities.items())
        refuse(file, list(chain.from_iterable(found)))
        refuse(file, list(_check_tokens(modalities)))


def _is_pair(made: object) -> bool:
    return isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], dict)


def _expanded() -> Iterator[tuple[str, Column]]:
    """Return each column by its own name; several that hold the same share an entry."""
    for column in COLUMNS:
        for name in column.name.split(", "):
            yield name, column


def _check_shape(table: "pd.DataFrame", kind: str) -> Iterator[str]:
    """Find missing, doubled and reserved columns."""
    import pandas as pd

    if not len(table):
        yield "the table has no rows; return a row per sample"
    if not table.index.equals(pd.RangeIndex(len(table))):
        yield "the index of the table is not 0 to N - 1; return table.reset_index(drop=True)"
    names = list(table.columns)
    if odd := [name for name in names if not isinstance(name, str) or names.count(name) > 1]:
        yield f"columns {some(odd)} are not text, or are there more than once; give each column a name of its own"
    if taken := [name for name in names if isinstance(name, str) and _OURS.fullmatch(name)]:
        yield f"columns {some(taken)} are added by the workflow; leave them out, or give them other names"
    for name, column in _expanded():
        if kind in column.kinds and column.needed and name != "split" and name not in names:
            yield f"column {name} is missing; give {column.holds}"


def _check_cells(table: "pd.DataFrame") -> Iterator[str]:
    """Find cells that are not what their column holds, and columns of the source's own that no file can hold."""
    columns = dict(_expanded())
    for name in table:
        cells, column = table[name].tolist(), columns.get("fold-1" if _FOLD.fullmatch(name) else name)
        if column and (wrong := [row for row, cell in enumerate(cells) if not column.right(cell)]):
            found, of = repr(cells[wrong[0]])[:_MOST], some(table["id"].iloc[wrong].tolist())
            yield f"column {name} is {found} for {plural(len(wrong), 'sample')} ({of}); give {column.holds}"
        elif not column and not _plain(cells):
            yield f"column {name} does not hold text alone, numbers alone or bools alone; give one of them, or drop it"
    ids = table["id"]
    if twice := ids[ids.duplicated()].unique().tolist():
        yield f"column id has {plural(len(twice), 'id')} more than once ({some(twice)}); ids must differ"
    for problem in odd_ids([name for name in ids if isinstance(name, str)]):
        yield f"column id has {problem}"
    if "path" in table:
        paths = table["path"]
        if gone := [name for name in paths if isinstance(name, str) and not Path(name).is_file()]:
            yield f"column path names files that do not exist ({some(gone)}); give paths of files"
        media = table["has_audio"].eq(True) | table["has_vision"].eq(True)
        if without := table["id"][media & paths.isna()].tolist():
            yield f"columns has_audio and has_vision are True without a path for {some(without)}; give False"


def _check_splits(table: "pd.DataFrame", settings: "DatasetSettings", kind: str) -> Iterator[str]:
    """Find out whether there is one split, or the folds of the settings."""
    folds = [name for name in table if _FOLD.fullmatch(name)]
    count = 0 if settings.folds or kind == "clips" else settings.fold_count()
    expected = [f"fold-{k}" for k in range(1, count + 1)]
    if folds != expected:
        why = "settings.folds is set" if settings.folds else f"settings.fold_count() is {count}"
        why = "a table of clips has a split" if kind == "clips" else why
        yield f"columns of folds are {', '.join(folds) or 'missing'}, but {why}; give {', '.join(expected) or 'none'}"
    if count and "split" in table:
        yield "column split is there beside the folds; leave it out"
    if not count and "split" not in table and (kind == "clips" or not settings.folds):
        yield "column split is missing; give train, valid or test for each sample"


def _check_labels(table: "pd.DataFrame", settings: "DatasetSettings") -> Iterator[str]:
    """Find labels that do not fit the task."""
    import pandas as pd

    labels, ids = table["label"], table["id"]
    low, high = settings.label_limits
    scores = pd.api.types.is_numeric_dtype(labels)
    if not scores and not all(isinstance(label, str) for label in labels.dropna()):
        yield "column label holds scores and names; give numbers (float64), or names of classes (text)"
    elif not scores and (settings.task is TaskKind.REGRESSION or settings.cuts is not None) and labels.notna().any():
        yield f"column label holds {labels.dropna().iloc[0]!r}, but the settings want scores; give numbers, float64"
    elif scores and (far := ids[(labels < low - TOLERANCE) | (labels > high + TOLERANCE)].tolist()):
        yield f"column label of {plural(len(far), 'sample')} ({some(far)}) is outside {range_of(settings)}"


def _check_modalities(modalities: dict[str, "Sequences"]) -> Iterator[str]:
    from elision.store import Sequences

    if not modalities:
        yield f"prepare returned no modality; give one or more of {', '.join(MODALITIES)}"
    for name, sequences in modalities.items():
        if name not in MODALITIES:
            yield f"modality {name!r} is not known; give {', '.join(MODALITIES)}"
        if not isinstance(sequences, Sequences):
            yield f"modality {name!r} is {type(sequences).__name__}; give Sequences"


def _check_sequences(name: str, sequences: "Sequences", ids: "pd.Series", encoder: str | None) -> Iterator[str]:
    """Find what is wrong with the arrays first, and then with what the header says of them."""
    for part in PARTS:
        if not part.right(name, sequences):
            yield f"{part.name} of {name} is wrong; give {part.holds}"
            if not part.name.startswith("header."):
                return
    if len(sequences) != len(ids):
        yield f"{name} has {plural(len(sequences), 'sequence')} for {plural(len(ids), 'sample')}; give one per row"
        return
    if name == "text" and sequences.header.extractor != encoder:
        yield (
            f"header.extractor of text is {sequences.header.extractor!r}, but encoder(settings) names {encoder!r}; "
            "write a function encoder(settings) that returns the name of the text encoder"
        )
    if name != "text" and (broken := sorted(set(_broken(sequences)))):
        shown = some([ids[row] for row in broken])
        yield (
            f"values of {name} of {plural(len(broken), 'sample')} ({shown}) have inf, or frames that are NaN in part; "
            "give finite numbers, or a row of NaN for a frame that was not observed"
        )


def _broken(sequences: "Sequences") -> Iterator[int]:
    """Find the samples with frames that are neither finite nor NaN throughout."""
    for start in range(0, len(sequences.values), _ROWS):
        part = sequences.values[start : start + _ROWS]
        wrong = ~np.isfinite(part).all(1) & ~np.isnan(part).all(1)
        rows = np.searchsorted(sequences.offsets, start + np.flatnonzero(wrong), side="right") - 1
        yield from rows.tolist()


def _check_tokens(modalities: dict[str, "Sequences"]) -> Iterator[str]:
    """Find out whether text vectors are those of the tokens."""
    if {"text", "text_features"} <= modalities.keys() and not np.array_equal(
        modalities["text"].lengths, modalities["text_features"].lengths
    ):
        yield "text and text_features differ in lengths; give a vector per token, or leave one of them out"
