"""Feature files of MulT, which many later papers use: CMU-MOSI and CMU-MOSEI, aligned to words or not.

A file (``mosi_data.pkl``, ``mosei_senti_data_noalign.pkl``) is a pickle of ``{"train": part, "valid": part, "test":
part}``, with these keys in every part:

========== ======================================================================================== ==================
``text``   GloVe vectors of the words                                                               (N, T, 300)
``audio``  COVAREP; ``-inf`` is the logarithm of 0                                                   (N, T, d)
``vision`` Facet                                                                                     (N, T, d)
``labels`` sentiment, in [-3, 3]                                                                     (N, 1, 1)
``id``     video, start and end of each utterance, as text or bytes; absent in some files           (N, 3) or (N, 1, 3)
========== ======================================================================================== ==================

Sequences are padded with zeros, at their start or end. In an aligned file a frame belongs to each word, so that the
same frames are padding in all modalities: those of zeros in all of them.

The files hold no words, so methods that read tokens have no text; the vectors are ``text_features``. Labels of IEMOCAP
are four answers of yes or no per utterance, and are refused.

Source: Tsai et al., ACL 2019, and its code, https://github.com/yaohungt/Multimodal-Transformer (``src/dataset.py``).
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from elision import pickles
from elision.datasets import _labels
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, text_of
from elision.errors import plural
from elision.settings.params import AS_CORPUS, DatasetSettings, PublishedCorpus
from elision.store import Header, Sequences
from elision.task import SPLITS

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"

_MODALITIES = {"text_features": "text", "audio": "audio", "vision": "vision"}

log = logging.getLogger(__name__)


class Settings(DatasetSettings):
    """A feature file of MulT."""

    source: Literal["mult"] = Field(description="a feature file of MulT")
    file: Path = Field(description="the .pkl file")
    standardise: bool = Field(
        False, description="scale audio and vision as for other sources; false: use the file's numbers, as MulT does"
    )
    padding: Literal["none", "start", "end", "both"] = Field(
        "both", description="where frames of zeros are padding, and are cut off"
    )
    audio_inf: Literal["zero", "error"] = Field(
        "zero", description="-inf in audio (COVAREP's logarithm of 0): zero, as MulT does, or an error"
    )
    trim: bool = Field(
        False, description="pad batches to the longest sequence; false: to the padded length of the file"
    )
    published: PublishedCorpus | None = AS_CORPUS


def inputs(settings: Settings) -> list[Path]:
    """Return the files that ``prepare`` reads."""
    return [settings.file]


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise one ``.pkl`` file with ``text`` and ``labels`` of each split."""
    data = folder.content(folder.pickles[0]) if len(folder.pickles) == 1 and folder.features is None else None
    part = data.get("train") if isinstance(data, dict) else None
    is_ours = isinstance(part, dict) and {"text", "labels"} <= part.keys() and "regression_labels" not in part
    return {"file": folder.pickles[0]} if is_ours else None


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check a feature file.

    Peak memory is about the size of the file and of the largest modality without its padding.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id`` (``video_start_end``, or split and number where the file has no ids), ``split``, ``label``, ``text``
        (unknown: None), ``speaker`` (the video, if the file says it), ``duration`` (seconds, likewise). In the order of
        the file: train, valid, test.
    modalities : dict of str to Sequences
        ``text_features``, ``audio`` and ``vision``. A sequence of nothing but zeros is absent (length 0).

    Raises
    ------
    ElisionError
        Lists everything that is wrong: with the structure of the file first, then with its values.
    """
    import pandas as pd

    data = pickles.load(settings.file)
    refuse(settings.file, list(_structure(data)))
    problems, tables = [], []
    for split in SPLITS:
        table, wrong = _samples(split, data[split], settings)
        tables.append(table)
        problems += wrong
    samples = pd.concat(tables, ignore_index=True)
    if twice := samples["id"][samples["id"].duplicated()].unique().tolist():
        problems.append(f"{plural(len(twice), 'id')} more than once ({some(twice)}); keep one of each")
    spans = [_aligned(data[split], settings.padding) for split in SPLITS]
    modalities = {}
    for modality, key in _MODALITIES.items():
        parts = {split: data[split].pop(key) for split in SPLITS}
        modalities[modality], wrong = _sequences(modality, parts, spans, settings)
        problems += wrong
    refuse(settings.file, problems)
    return samples, modalities


def _structure(data: Any) -> Iterator[str]:
    """Find what is wrong with keys, numbers of samples and shapes."""
    if not isinstance(data, dict) or not all(isinstance(data.get(split), dict) for split in SPLITS):
        yield "does not hold a dict of dicts with the keys train, valid and test"
        return
    for split in SPLITS:
        part = data[split]
        if missing := [key for key in (*_MODALITIES.values(), "labels") if key not in part]:
            yield f"{split}: no {', '.join(missing)}"
            continue
        for key in (*_MODALITIES.values(), "labels"):
            array = part[key]
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or array.ndim != 3:
                shape = getattr(array, "shape", type(array).__name__)
                yield f"{split}: {key} is {shape}, not an array (N, T, d) of numbers"
            elif len(array) != len(part["labels"]) or not len(array):
                yield f"{split}: {key} has {plural(len(array), 'sample')}, labels {len(part['labels'])}"
            elif key == "labels" and array.shape[1:] != (1, 1):
                yield (
                    f"{split}: labels have shape {array.shape}, not (N, 1, 1); several labels per utterance are not "
                    "read. Save one of them as an array, and read the file with source: arrays"
                )
    for key in _MODALITIES.values():
        widths = {part[key].shape[2] for part in data.values() if isinstance(part, dict) and _is_3d(part.get(key))}
        if len(widths) > 1:
            yield f"{key}: the splits differ in dimensions: {', '.join(map(str, sorted(widths)))}"


def _is_3d(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.ndim == 3


def _samples(split: str, part: dict, settings: Settings) -> "tuple[pd.DataFrame, list[str]]":
    """Make the table of one split, and find what is wrong with ids and labels."""
    import pandas as pd

    labels, problems = part["labels"].reshape(-1).astype(np.float64), []
    count = len(labels)
    names, videos, durations = [f"{split}_{row}" for row in range(count)], [None] * count, [np.nan] * count
    if "id" in part:
        rows = [_cells(row) for row in part["id"]]
        if len(rows) != count or any(None in row or not row for row in rows):
            problems.append(f"{split}: id does not hold text for each of {plural(count, 'sample')}")
        else:
            names = ["_".join(row) for row in rows]
            videos = [row[0] for row in rows]
            durations = [_seconds(row) for row in rows]
    else:
        log.info("%s: no ids in the file; samples are named %s, ...", split, names[0])
    bad = np.flatnonzero(_labels.outside(labels, settings))
    if len(bad):
        shown = ", ".join(f"{names[row]!r} {labels[row]:g}" for row in bad[:3])
        problems.append(
            f"{split}: {plural(len(bad), 'label')} outside {_labels.interval(settings)} ({shown}); is corpus right in "
            "params.yaml?"
        )
    problems += [f"{split}: {problem}" for problem in odd_ids(names)]
    nothing = pd.Series([None] * count, dtype=object)
    table = {"id": names, "split": split, "label": labels, "text": nothing}
    return pd.DataFrame(table | {"speaker": pd.Series(videos, dtype=object), "duration": durations}), problems


def _cells(row: Any) -> list[str | None]:
    """Return the parts of an id."""
    cells = row.reshape(-1).tolist() if isinstance(row, np.ndarray) else row
    cells = cells if isinstance(cells, list | tuple) else [cells]
    return [f"{cell:g}" if isinstance(cell, float) else text_of(cell) for cell in cells]


def _seconds(row: list[str]) -> float:
    try:
        duration = float(row[2]) - float(row[1])
    except (IndexError, ValueError):
        return np.nan
    return duration if 0 <= duration < np.inf else np.nan


def _aligned(part: dict, padding: str) -> list[slice] | None:
    """Return which frames of each sample of an aligned split are no padding in all modalities; None: not aligned."""
    if len({part[key].shape[1] for key in _MODALITIES.values()}) > 1:
        return None
    real = np.any([(part[key] != 0).any(2) for key in _MODALITIES.values()], axis=0)
    return [_span(row, padding) for row in real]


def _span(real: np.ndarray, padding: str) -> slice:
    """Return where a sequence lies between its padding."""
    places = np.flatnonzero(real)
    first = int(places.min(initial=len(real))) if padding in ("start", "both") else 0
    stop = int(places.max(initial=-1)) + 1 if padding in ("end", "both") else len(real)
    return slice(first, max(first, stop))


def _sequences(
    modality: str, parts: dict[str, np.ndarray], spans: list[list[slice] | None], settings: Settings
) -> tuple[Sequences, list[str]]:
    """Take the frames of one modality, without padding."""
    found, problems, infinite = [], [], 0
    for (split, values), aligned in zip(parts.items(), spans, strict=True):
        broken = []
        for row, frames in enumerate(values):
            span = aligned[row] if aligned else _span((frames != 0).any(1), settings.padding)
            with np.errstate(over="ignore"):
                kept = frames[span].astype(np.float32)
            if modality == "audio" and settings.audio_inf == "zero" and (low := np.isneginf(kept)).any():
                kept[low] = 0
                infinite += int(low.sum())
            broken += [] if np.isfinite(kept).all() else [row]
            found.append(kept if kept.any() else kept[:0])
        if broken:
            problems.append(
                f"{split}: {_MODALITIES[modality]} of {plural(len(broken), 'sample')} holds nan or inf: "
                f"number {some(broken)}; extract these again, or write 0 there"
            )
    if infinite:
        log.info("%s: %s changed from -inf to 0", modality, plural(infinite, "value"))
    if absent := sum(not len(frames) for frames in found):
        log.info("%s: absent from %s", modality, plural(absent, "sample"))
    longest = max(map(len, found)) if settings.trim else max(values.shape[1] for values in parts.values())
    header = Header(
        modality=modality,
        length=max(1, longest),
        extractor="GloVe (feature file)" if modality == "text_features" else "unknown (feature file)",
        settings={"padding": settings.padding, "minus_infinity_zeroed": infinite},
    )
    return Sequences.of(found, header), problems
