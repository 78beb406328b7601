"""What the sources of published emotion features share: their settings, and a vector per utterance in NumPy files."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from elision import pickles
from elision.arrayfiles import load_npy
from elision.datasets._problems import some
from elision.errors import ElisionError, plural
from elision.progress import track
from elision.settings.fields import Scaled
from elision.settings.params import DatasetSettings
from elision.store import Header, Sequences
from elision.task import MODALITIES, TaskKind

# Corpora whose labels are scores.
SCORES = ("mosi", "mosei")
_NUMBERS = "biuf"  # kinds of dtype

log = logging.getLogger(__name__)


class LabelledSettings(DatasetSettings):
    """A dataset whose files say what its labels are: numbers of classes without names, or scores."""

    task: TaskKind = Field(
        TaskKind.CLASSIFICATION, description="default: regression where labels are scores (mosi, mosei)"
    )

    @model_validator(mode="before")
    @classmethod
    def _task_of_corpus(cls, settings: Any) -> Any:
        scores = settings.get("corpus") in SCORES
        return {"task": TaskKind.REGRESSION if scores else TaskKind.CLASSIFICATION, **settings}

    @model_validator(mode="after")
    def _labels_are_known(self) -> "LabelledSettings":
        if self.corpus in SCORES:
            if self.task is TaskKind.CLASSIFICATION and self.cuts is None:
                raise ValueError(f"labels of {self.corpus} are scores; task: classification needs classes and cuts")
        elif self.task is TaskKind.REGRESSION:
            raise ValueError(f"labels of {self.corpus} are classes; leave out task: regression")
        elif self.cuts is not None:
            raise ValueError(f"labels of {self.corpus} are classes, not scores; leave out cuts")
        elif self.classes is None:
            raise ValueError(
                "the files do not name the classes; list the names under classes, in the order of the label numbers"
            )
        return self


class FeatureFolders(DatasetSettings):
    """A dataset whose features lie as NumPy files, in a folder for each feature set."""

    usual_protocol: ClassVar[str] = "utterances"  # an utterance is one vector per modality

    labels: Path
    features: Path = Field(description="folder of the folders of feature sets")
    standardise: Scaled = Field(
        [],
        description="modalities that are scaled, as for other sources; false: use the vectors of the files, as is",
    )

    @property
    def folders(self) -> dict[str, Path]:
        """Folder of each modality that the dataset has."""
        named = {modality: getattr(self, modality) for modality in MODALITIES}
        return {modality: self.features / name for modality, name in named.items() if name is not None}

    @model_validator(mode="after")
    def _has_features(self) -> "FeatureFolders":
        if not self.folders:
            raise ValueError("name a feature set under text, audio or vision")
        return self


def inputs(settings: FeatureFolders) -> list[Path]:
    """Return the file of labels and the folders of features that exist; every file in a folder counts."""
    return [path for path in (settings.labels, *settings.folders.values()) if path.exists()]


def shuffled(names: Iterable[str], *key: object) -> list[str]:
    """Return names in a random order that depends on the key and on each name alone, not on their own order."""
    return sorted(names, key=lambda name: hashlib.sha256("/".join(map(str, (*key, name))).encode()).digest())


def share(count: int, part: float) -> int:
    """Return how many of ``count`` a part is: at least one."""
    return max(1, round(part * count))


def read_corpora(path: Path) -> dict[str, Any]:
    """Return what the arrays of a file of labels hold, by name: dicts from clips to labels, if the file is in order."""
    arrays = pickles.load_archive(path)
    return {name: array if array.shape else array.item() for name, array in arrays.items()}


def read_folders(
    folders: Mapping[str, Path], names: Sequence[str], *, of_whom: Callable[[int, str], bool] | None = None
) -> tuple[dict[str, Sequences], list[str]]:
    """Read the vectors of all modalities, and what is wrong with their files; see `read_vectors`."""
    modalities, problems = {}, []
    for modality, place in folders.items():
        sequences, wrong = read_vectors(modality, place, names, of_whom=of_whom)
        modalities[sequences.header.modality] = sequences
        problems += wrong
    return modalities, problems


def read_vectors(
    modality: str,
    folder: Path,
    names: Sequence[str],
    *,
    of_whom: Callable[[int, str], bool] | None = None,
) -> tuple[Sequences, list[str]]:
    """Read a vector per utterance: ``{name}.npy``, or the mean over all frames of the files in ``{name}/``.

    Arrays of shape (T, d) are averaged over T. An utterance whose vector is zero throughout, or whose folder holds
    nothing for it, lacks the modality: extractors write zeros where they find no face or no words.

    Parameters
    ----------
    modality : str
        Key of the modality, ``text``, ``audio`` or ``vision``; text becomes ``text_features``.
    folder : Path
    names : sequence of str
        Utterances; files must have exactly these names.
    of_whom : function of (int, str) to bool, optional
        Whether a file in the folder of utterance i, named without its ending, counts; None: every file does.

    Returns
    -------
    sequences : Sequences
        Length 1, or 0 where the modality is absent.
    problems : list of str
        What is wrong with the files; the sequences are not to be used if there is anything.
    """
    entries = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    header = Header(modality="text_features" if modality == "text" else modality, length=1, extractor=folder.name)
    lengths = np.zeros(len(names), np.int64)
    values, found, wrong = np.zeros((0, 1), np.float32), 0, {}
    if entries is None:
        wrong["no such folder; check features and the name of the feature set in params.yaml"] = list(names)
    else:
        for i, name in enumerate(track(names, f"read {modality}", len(names))):
            try:
                vector = _vector(folder, entries, name, (lambda file, i=i: of_whom(i, file)) if of_whom else None)
            except ElisionError as error:
                wrong.setdefault(str(error), []).append(name)
                continue
            if vector is None:
                continue
            if not len(values):
                values = np.empty((len(names), len(vector)), np.float32)
            if len(vector) != values.shape[1]:
                wrong.setdefault(f"{len(vector)} dimensions, others {values.shape[1]}", []).append(name)
                continue
            values[found] = vector
            lengths[i], found = 1, found + 1
        if not found and not wrong:
            wrong["all vectors are zeros; extract the features again"] = list(names)
    problems = [f"{folder}: {plural(len(of), 'sample')} ({some(of)}): {what}" for what, of in wrong.items()]
    if absent := [name for name, length in zip(names, lengths, strict=True) if not length]:
        log.info("%s: absent from %s: %s", modality, plural(len(absent), "sample"), some(absent))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(values[:found], offsets, header), problems


def _vector(folder: Path, entries: set[str], name: str, counts: Callable[[str], bool] | None) -> np.ndarray | None:
    """Return the mean vector [d] float32 of an utterance; None: there is nothing of it."""
    if f"{name}.npy" in entries and name in entries:
        raise ElisionError("both a .npy file and a folder; delete one of them")
    if f"{name}.npy" in entries:
        files = [folder / f"{name}.npy"]
    elif name in entries:
        files = sorted((folder / name).glob("*.npy"))
        files = [path for path in files if counts is None or counts(path.stem)]
    else:
        raise ElisionError("no .npy file and no folder of exactly this name; extract the features, or correct the name")
    frames = [some_frames for path in files if len(some_frames := _frames(path))]
    if not frames:
        return None
    if len({part.shape[1] for part in frames}) > 1:
        raise ElisionError("files that differ in dimensions; extract the features again")
    vector = np.concatenate(frames).mean(0, dtype=np.float64).astype(np.float32)
    if not np.isfinite(vector).all():
        raise ElisionError("nan or inf; extract the features again")
    return vector if vector.any() else None


def _frames(path: Path) -> np.ndarray:
    """Read (d,), (T, d) or (1, T, d) as (T, d)."""
    try:
        values = load_npy(path)
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        if "Object arrays" in str(error):
            raise ElisionError("Python objects, not numbers; extract the features again") from None
        raise ElisionError("cannot be read; copy or extract the file again") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in _NUMBERS or values.ndim == 0:
        raise ElisionError("not an array of numbers; extract the features again")
    return values.reshape(-1, values.shape[-1]) if values.shape[-1] else np.zeros((0, 1))
