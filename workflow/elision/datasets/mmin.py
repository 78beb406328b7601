"""The features of MMIN and its successors: IEMOCAP, MSP-IMPROV and CMU-MOSI as sequences, with folds.

============================= =================================================================================
``{root}/A/comparE.h5``       a dataset per utterance [T, 130]: ComParE 2016 low-level descriptors (openSMILE 2.3),
                              about 10 frames per second; MSP-IMPROV: ``comparE_raw.h5``; MOSI: ``acoustic.h5`` [T, 74]
``{root}/V/denseface.h5``     [T, 342]: DenseNet trained on FER+; zeros without a face; MOSI: ``visual.h5`` [T, 47]
``{root}/L/bert_large.h5``    [T, 1024]: last layer of BERT-large; MOSI: a file of that name [T, 768]
``{target}/{fold}/``          folds 1 to 10 (MSP-IMPROV: 12), each with ``trn``, ``val`` and ``tst``:
  ``trn_int2name.npy``        ids [N], or rows [N, k] that begin with the id; bytes or text
  ``trn_label.npy``           one-hot rows [N, C] (IEMOCAP), numbers of classes [N] (MSP-IMPROV) or scores [N] (MOSI)
============================= =================================================================================

The files do not say which class is which; look at the script that wrote them.

Numbers are stored as they are in the files, and scaled when a method reads them. The official code (``norm_method
trn``) scales the audio of IEMOCAP by the mean and the standard deviation of the fold's training frames. The code reads
both from ``A/comparE_mean_std.h5``; here they are measured on the training split of each fold. For MSP-IMPROV the code
measures one mean and one standard deviation over all utterances, tested ones included. The code never scales vision and
text, nor anything of MOSI. ``standardise`` therefore is ``[audio]`` for iemocap and msp, and ``[]`` for mosi;
``scale_by`` is ``all`` for msp. ``scale_by: training`` keeps tested utterances out.

Sources: Zhao et al., ACL 2021, and its code, https://github.com/AIM3-RUC/MMIN (``data/multimodal_dataset.py``); for
MOSI, Liu et al., IEEE TAFFC 2024, and its code, https://github.com/ZhuoYulang/CIF-MMIN.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from elision.arrayfiles import check_size, find_hdf5, load_npy
from elision.datasets import _labels
from elision.datasets._emotion import SCORES, LabelledSettings
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, warn_of_shared_speakers
from elision.errors import ElisionError, plural
from elision.filekinds import mistaken, start_of
from elision.progress import track
from elision.settings.fields import Scaled
from elision.settings.params import AS_CORPUS, PublishedCorpus
from elision.store import Header, Sequences
from elision.task import MODALITIES, split_columns

if TYPE_CHECKING:
    import h5py
    import pandas as pd

MAKES = "sequences"

# Name and width of the published files.
PUBLISHED = {
    "iemocap": {"text": ("bert_large", 1024), "audio": ("comparE", 130), "vision": ("denseface", 342)},
    "msp": {"text": ("bert_large", 1024), "audio": ("comparE_raw", 130), "vision": ("denseface", 342)},
    "mosi": {"text": ("bert_large", 768), "audio": ("acoustic", 74), "vision": ("visual", 47)},
}
_FOLDERS = {"text": "L", "audio": "A", "vision": "V"}
_SETS = {"trn": "train", "val": "valid", "tst": "test"}
_NUMBERS = "biuf"  # kinds of dtype

log = logging.getLogger(__name__)


class Settings(LabelledSettings):
    """Sequences with folds in the layout of MMIN."""

    source: Literal["mmin"] = Field(description="sequences with folds in the layout of MMIN")
    corpus: Literal["iemocap", "msp", "mosi"] = Field(
        "iemocap", description="whose label range, metrics and defaults apply"
    )
    root: Path = Field(description="folder that holds A, V and L")
    target: Path | None = Field(None, description="folder that holds the folds; null: target in root")
    text: str | None = Field(None, description="file in L, without .h5; null: the published one of the corpus")
    audio: str | None = Field(None, description="file in A, without .h5; null: the published one of the corpus")
    vision: str | None = Field(None, description="file in V, without .h5; null: the published one of the corpus")
    cross_validation: int | None = Field(
        None, ge=0, description="folds in target; 0: they are all the same, one split; null: 12 for msp, otherwise 10"
    )
    mask_zeros: bool = Field(
        True,
        description="frames of zeros are padding at the end, and in vision frames without a face elsewhere; false: "
        "frames like any other, as in the official code",
    )
    standardise: Scaled = Field(
        default_factory=lambda settings: [] if settings.get("corpus") == "mosi" else ["audio"],
        description="modalities that are scaled, as for other sources (default: those of the released code, audio for "
        "iemocap and msp, none for mosi)",
    )
    scale_by: Literal["training", "all"] = Field(
        default_factory=lambda settings: "all" if settings.get("corpus") == "msp" else "training",
        description="samples that are measured for standardise: training (of the fold), or all, tested ones included "
        "(default: as in the released code, all for msp, training for iemocap and mosi)",
    )
    published: PublishedCorpus | None = AS_CORPUS

    @property
    def targets(self) -> Path:
        """Folder that holds the folds."""
        return self.target or self.root / "target"

    @property
    def files(self) -> dict[str, Path]:
        """The .h5 file of each modality."""
        names = {m: getattr(self, m) or PUBLISHED[self.corpus][m][0] for m in MODALITIES}
        return {modality: self.root / _FOLDERS[modality] / f"{name}.h5" for modality, name in names.items()}

    @property
    def published_folds(self) -> int:
        """How many folds ``target`` holds; 0: one split."""
        return (12 if self.corpus == "msp" else 10) if self.cross_validation is None else self.cross_validation

    def fold_count(self) -> int:
        """Return the number of folds; 0 without folds."""
        return super().fold_count() or self.published_folds


def inputs(settings: Settings) -> list[Path]:
    """Return the files of features and targets that exist."""
    arrays = [folder / f"{part}_{what}.npy" for folder in _folds(settings).values() for part, what in _ARRAYS]
    return [path for path in (*settings.files.values(), *arrays) if path.is_file()]


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise the folders ``A``, ``V`` and ``L``."""
    return {"root": "."} if set(_FOLDERS.values()) <= set(folder.names) else None


def columns(settings: Settings) -> list[str]:
    """Return the columns that the table has beside those of every source."""
    return ["dialogue"]


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check folds, labels and sequences.

    Peak memory is about twice that of the largest modality: 1 GB for IEMOCAP.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``fold-1``, ... or ``split``, ``label`` (name of a class, or a score), ``text`` (unknown: None),
        ``speaker`` (as ``Ses01_F``, ``F01``, or the video) and ``dialogue`` (IEMOCAP; MOSI: the video) where the id has
        the form that the corpus gives it, ``duration`` (unknown: NaN). In the order of fold 1: train, valid, test.
        ``attrs["classes"]`` are the names of the classes.
    modalities : dict of str to Sequences
        ``text_features``, ``audio`` and ``vision``. Batches are padded to the longest sequence as it stands in the
        file. Under ``mask_zeros`` a sequence of nothing but zeros is absent (length 0), and a row of NaN is a frame
        without a face.

    Raises
    ------
    ElisionError
        Lists everything that is wrong: with the folds first, then with names and labels, then with the sequences.
    """
    import pandas as pd

    folds = _read_folds(settings)
    refuse(settings.targets, list(_check_names(folds, one_split=settings.published_folds == 0)))
    refuse(settings.targets, list(_check_labels(folds, settings)))
    labels = _by_id(folds[1])

    samples = pd.DataFrame({"id": list(labels)})
    if not settings.folds:
        columns = {"split": folds[1]} if not settings.published_folds else {f"fold-{k}": folds[k] for k in folds}
        for column, parts in columns.items():
            split = {name: ours for ours, part in parts.items() for name in part.names}
            samples[column] = samples["id"].map(split)
    samples["label"] = list(labels.values())
    if settings.corpus not in SCORES:
        samples["label"] = pd.Series(_labels.placed(labels.values(), settings.classes), dtype=object)
        samples.attrs["classes"] = list(settings.classes)
    samples["text"] = pd.Series([None] * len(samples), dtype=object)
    people = [_person(name, settings.corpus) for name in labels]
    samples["speaker"] = pd.Series([speaker for speaker, _ in people], dtype=object)
    samples["dialogue"] = pd.Series([dialogue for _, dialogue in people], dtype=object)
    samples["duration"] = np.nan

    modalities, problems = {}, []
    for modality in MODALITIES:
        sequences, wrong = _sequences(modality, list(labels), settings)
        problems += wrong
        if not wrong:
            modalities[sequences.header.modality] = sequences
    refuse(settings.root, problems)
    for column in split_columns(samples):
        warn_of_shared_speakers(samples["speaker"], samples[column])
    return samples, modalities


# --- folds and labels

_ARRAYS = [(part, what) for part in _SETS for what in ("int2name", "label")]


@dataclass(frozen=True)
class _Part:
    """One split of one fold.

    Attributes
    ----------
    names : list of str
    labels : np.ndarray [shape=(N,), dtype=float64]
        Scores, or numbers of classes; NaN: no label; inf: a row that is not one-hot.
    classes : int or None
        Width of one-hot labels.
    """

    names: list[str]
    labels: np.ndarray
    classes: int | None


def _folds(settings: Settings) -> dict[int, Path]:
    """Return the folders of the folds that exist, by their number."""
    found = settings.targets.iterdir() if settings.targets.is_dir() else ()
    return dict(sorted((int(path.name), path) for path in found if path.name.isdecimal() and path.is_dir()))


def _read_folds(settings: Settings) -> dict[int, dict[str, _Part]]:
    """Read ids and labels of every fold; that there are as many as ``cross_validation`` says is checked."""
    found = _folds(settings)
    wanted = range(1, settings.published_folds + 1) if settings.published_folds else found
    if not found or set(found) != {*wanted, 1}:
        there = f"folds {', '.join(map(str, found))}" if found else "no folder 1"
        expected = f"1 to {settings.published_folds}" if settings.published_folds else "1, and others alike"
        refuse(
            settings.targets,
            [f"there is {there}, but it should have {expected}; check target and cross_validation in params.yaml"],
        )
    folds, problems = {}, []
    for number, folder in found.items():
        folds[number] = {}
        for part, split in _SETS.items():
            try:
                folds[number][split] = _read_part(folder, part)
            except ElisionError as error:
                problems.append(f"{number}/{error}")
    refuse(settings.targets, problems)
    return folds


def _read_part(folder: Path, part: str) -> _Part:
    arrays = {}
    for what in ("int2name", "label"):
        file = f"{part}_{what}.npy"
        try:
            arrays[what] = load_npy(folder / file)
        except FileNotFoundError:
            raise ElisionError(f"{file}: no such file") from None
        except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
            kind = "holds Python objects; save it again as numbers or text" if "Object arrays" in str(error) else ""
            raise ElisionError(f"{file}: {kind or 'cannot be read; is it whole?'}") from None
    names, labels = arrays["int2name"], arrays["label"]
    if names.dtype.kind not in "SU" or names.ndim not in (1, 2) or not names.size:
        raise ElisionError(f"{part}_int2name.npy: {names.dtype} {names.shape}, not ids as text: (N,) or (N, k)")
    names = names[:, 0] if names.ndim == 2 else names
    if labels.dtype.kind not in _NUMBERS or labels.ndim not in (1, 2) or len(labels) != len(names):
        raise ElisionError(
            f"{part}_label.npy: {labels.dtype} {labels.shape}, not numbers (N,) or one-hot rows (N, C) for "
            f"{plural(len(names), 'id')}"
        )
    try:
        ids = [name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist()]
    except UnicodeDecodeError:
        raise ElisionError(f"{part}_int2name.npy: an id is not UTF-8; is the file whole?") from None
    if labels.ndim == 1 or labels.shape[1] == 1:
        return _Part(ids, labels.reshape(-1).astype(np.float64), None)
    one_hot = (np.sort(labels, axis=1) == [0] * (labels.shape[1] - 1) + [1]).all(1)
    numbers = np.where(one_hot, labels.argmax(1), np.inf)
    nothing = np.isnan(labels).all(1) | ~labels.any(1)
    return _Part(ids, np.where(nothing, np.nan, numbers), labels.shape[1])


def _check_names(folds: dict[int, dict[str, _Part]], *, one_split: bool) -> Iterator[str]:
    """Find out whether the splits of a fold are disjoint, and together, or even one by one, the same in all folds."""
    everyone = {name for part in folds[1].values() for name in part.names}
    yield from odd_ids(sorted(everyone))
    for number, parts in folds.items():
        place: dict[str, str] = {}
        for split, part in parts.items():
            if twice := sorted(name for name, times in Counter(part.names).items() if times > 1):
                yield f"fold {number}: {plural(len(twice), 'id')} twice in {split}: {some(twice)}; keep one each"
            if both := sorted(place.keys() & set(part.names)):
                yield (
                    f"fold {number}: {plural(len(both), 'id')} in {split} and in {place[both[0]]}: {some(both)}; "
                    "splits must not share utterances"
                )
            place |= dict.fromkeys(part.names, split)
        for ids, what in ((everyone - place.keys(), "lacks"), (place.keys() - everyone, "has, unlike fold 1,")):
            if ids:
                shown = some(sorted(ids))
                yield f"fold {number} {what} {plural(len(ids), 'id')}: {shown}; all folds must have the same ids"
        if one_split and any(set(part.names) != set(folds[1][split].names) for split, part in parts.items()):
            yield f"fold {number} is not split as fold 1, so that there is no one split; leave out cross_validation: 0"


def _by_id(parts: dict[str, _Part]) -> dict[str, float]:
    """Return the label of each id of a fold."""
    return {name: label for part in parts.values() for name, label in zip(part.names, part.labels, strict=True)}


def _check_labels(folds: dict[int, dict[str, _Part]], settings: Settings) -> Iterator[str]:
    """Find out whether labels are the same in all folds, and scores in the range or numbers of the classes."""
    labels = _by_id(folds[1])
    for number, parts in folds.items():
        pairs = [(name, label, labels[name]) for name, label in _by_id(parts).items()]
        if changed := [name for name, label, first in pairs if not np.array_equal(label, first, equal_nan=True)]:
            yield f"fold {number}: {plural(len(changed), 'label')} other than in fold 1: {some(changed)}; correct them"

    values = np.array(list(labels.values()))
    counts = {part.classes for parts in folds.values() for part in parts.values()} - {None}
    if settings.corpus in SCORES:
        right, what = ~_labels.outside(values, settings), f"is no score in {_labels.interval(settings)}"
        right &= not counts
    else:
        count = len(settings.classes)
        right, what = (
            ~_labels.beyond(values, settings.classes),
            f"is none of 0 to {count - 1}, or its row is not one-hot",
        )
        counts = counts or {len(set(values[~np.isnan(values)]))}
        if counts != {count}:
            yield f"labels are of {', '.join(map(str, sorted(counts)))} classes; classes names {count} in params.yaml"
            return
    if not right.all():
        names = [name for name, is_right in zip(labels, right, strict=True) if not is_right]
        yield f"label of {plural(len(names), 'id')} ({some(names)}) {what}; is corpus right in params.yaml?"


def _person(name: str, corpus: str) -> tuple[str | None, str | None]:
    """Return speaker and dialogue of an utterance, as far as its id tells."""
    if corpus == "iemocap" and (match := re.fullmatch(r"((Ses\d\d)[FM]_.+)_([FM])\d+", name)):
        return f"{match[2]}_{match[3]}", match[1]  # Ses01F: who wears the markers; _F000: who speaks
    if corpus == "msp" and (match := re.search(r"-S\d\d[A-Z]-([FM]\d\d)-", name)):
        return match[1], None
    if corpus == "mosi" and (match := re.fullmatch(r"(.+?)(?:\$_\$|_)\d+", name)):
        return match[1], match[1]
    return None, None


# --- sequences


def _sequences(modality: str, names: list[str], settings: Settings) -> tuple[Sequences | None, list[str]]:
    """Read one modality of all utterances, and find what is wrong with it."""
    import h5py  # params import this module, and so every job does

    path = settings.files[modality]
    published, width = PUBLISHED[settings.corpus][modality]
    found, wrong, size = [], {}, 0
    try:
        if told := mistaken(start_of(path)):
            return None, [f"{path}: {told}"]
        with h5py.File(path, "r", locking=False) as file:
            for name in track(names, f"read {modality}", len(names)):
                try:
                    found.append(_frames(file, name))
                except ElisionError as error:
                    wrong.setdefault(str(error), []).append(name)
                    continue
                size += found[-1].nbytes
                check_size(size, path.stat().st_size, "together the utterances have")
    except FileNotFoundError:
        return None, [f"{path}: no such file; check root and {modality} in params.yaml"]
    except ElisionError as error:
        return None, [f"{path}: {error}"]
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        return None, [f"{path}: cannot be read ({str(error) or type(error).__name__}); is it whole?"]
    problems = [f"{path}: {plural(len(of), 'sample')} ({some(of)}): {what}" for what, of in wrong.items()]
    widths = sorted({frames.shape[1] for frames in found})
    if len(widths) > 1:
        problems.append(f"{path}: the samples differ in dimensions: {', '.join(map(str, widths))}")
    elif widths and path.stem == published and widths != [width]:
        problems.append(
            f"{path}: {widths[0]} dimensions, but the published {published} of {settings.corpus} has {width}; is "
            "corpus right in params.yaml? A file of your own needs another name"
        )
    if problems:
        return None, problems

    header = Header(
        modality="text_features" if modality == "text" else modality,
        length=max(1, *map(len, found)),
        extractor=path.stem,
        settings={"mask_zeros": settings.mask_zeros},
    )
    if settings.mask_zeros:
        found = [_masked(frames, inside=modality == "vision") for frames in found]
    sequences = Sequences.of(found, header)
    if absent := [name for name, frames in zip(names, found, strict=True) if not len(frames)]:
        log.info("%s: absent from %s: %s", modality, plural(len(absent), "sample"), some(absent))
    if lost := int(np.isnan(sequences.values).any(1).sum()):
        log.info("%s: %s of %d not observed", modality, plural(lost, "frame"), len(sequences.values))
    return sequences, []


def _frames(file: "h5py.File", name: str) -> np.ndarray:
    """Read the frames [T, d] float32 of an utterance."""
    import h5py

    try:
        dataset = find_hdf5(file, name)
    except KeyError:
        dataset = None
    if not isinstance(dataset, h5py.Dataset):
        raise ElisionError("no dataset of this name; extract it, or drop the utterance from every fold")
    if dataset.dtype.kind not in _NUMBERS or dataset.ndim != 2:
        raise ElisionError("not an array (T, d) of numbers; extract it again")
    frames = dataset[()]
    with np.errstate(over="ignore"):
        frames = frames.astype(np.float32)
    if not np.isfinite(frames).all():
        raise ElisionError("nan or inf; extract it again, or write 0 there")
    return frames


def _masked(frames: np.ndarray, *, inside: bool) -> np.ndarray:
    """Cut frames of only zeros off at the end, and mark (NaN) those ``inside`` as not observed."""
    real = frames.any(1)
    stop = np.flatnonzero(real).max(initial=-1) + 1
    if not inside:
        return frames[:stop]
    return np.where(real[:stop, np.newaxis], frames[:stop], np.float32(np.nan))
