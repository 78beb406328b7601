"""The features of MER2024: a vector per clip and modality, with labels of six emotions for a part of the clips.

``labels`` is ``label-6way.npz`` of the challenge's toolkit (MERTools), whose arrays hold a dict each:

===================== =========================================================================================
train_corpus          name of a clip: {"emo": its emotion}; the labelled clips
test1_corpus, ...     all others; the toolkit writes "neutral" for every one, so these labels are not read
===================== =========================================================================================

The file of MER2023 looks alike, but its test sets have labels. These are not read either, which is a warning; the
source ``merbench`` reads them.

``features`` holds a folder for each feature set, and in it ``{name}.npy`` for each clip ((d,), or (T, d), which is
averaged). The default sets are those of RAMER (Fan et al., arXiv 2410.02804).

The labels of the challenge's test clips are not in the file, so that the labelled clips are what there is to test on:
five folds at random, as in the toolkit. That shuffles without a seed, trains on four folds, and selects and reports on
the fifth; here the fifth is the test split and a tenth of the others the validation split.

Source: Lian et al., MER 2024, arXiv 2404.17113, and its code, https://github.com/zeroQiaoba/MERTools (MER2024).
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from elision.datasets import _labels
from elision.datasets._emotion import FeatureFolders, inputs, read_corpora, read_folders, share, shuffled
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, text_of
from elision.errors import plural
from elision.settings.params import AS_CORPUS, Folds, PublishedCorpus
from elision.store import Sequences
from elision.task import TaskKind

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"

__all__ = ["MAKES", "Settings", "found", "inputs", "prepare"]

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
_LABELLED = "train_corpus"

log = logging.getLogger(__name__)


class Settings(FeatureFolders):
    """Utterance vectors in the layout of MER2024."""

    source: Literal["mer2024"] = Field(description="utterance vectors in the layout of MER2024")
    corpus: Literal["mer2024"] = Field("mer2024", description="whose metrics and defaults apply")
    task: TaskKind = Field(TaskKind.CLASSIFICATION, description="classification: the labels are classes")
    labels: Path = Field(description="label-6way.npz")
    text: str | None = Field("Baichuan2-13B-Base-UTT", description="feature set; null: the dataset goes without")
    audio: str | None = Field("chinese-hubert-large-UTT", description="feature set; null: the dataset goes without")
    vision: str | None = Field("clip-vit-large-patch14-UTT", description="feature set; null: the dataset goes without")
    folds: Folds | None = Field(Folds(by="id", count=5), description="folds of the labelled clips; null: one split")
    seed: int = Field(1111, ge=0, description="key by which the one split is drawn; folds have their own")
    unlabelled: bool = Field(True, description="also read the clips without labels, which methods may retrieve from")
    published: PublishedCorpus | None = AS_CORPUS

    @model_validator(mode="after")
    def _labels_are_classes(self) -> "Settings":
        if self.task is TaskKind.REGRESSION or self.cuts is not None:
            raise ValueError("labels of mer2024 are classes; leave out task: regression and cuts")
        return self


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise ``label-6way.npz`` with one labelled array, and feature sets named ``...UTT``."""
    if folder.labels != ["label-6way.npz"] or folder.features is None:
        return None
    arrays = folder.content(folder.labels[0]) or {}
    others = [array.item() for name, array in arrays.items() if name != _LABELLED and not array.shape]
    if any(_is_labelled(label) for clips in others if isinstance(clips, dict) for label in clips.values()):
        return None
    return {"labels": folder.labels[0], "features": folder.features}


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check labels and vectors.

    Peak memory is about that of all vectors of the clips that are read: 3.4 GB with those of the default sets.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``split`` (``train``, ``valid`` and ``test`` of the labelled clips, 72 %, 8 % and 20 %; ``unlabelled``),
        ``label`` (name of the emotion, or None), ``text`` and ``speaker`` (unknown: None), ``duration`` (unknown: NaN).
        The labelled clips come first, all in the order of the file. ``attrs["classes"]`` are the six emotions.
    modalities : dict of str to Sequences
        ``text_features``, ``audio`` and ``vision``: sequences of length 1, or 0 where the vector is zero.

    Raises
    ------
    ElisionError
        Lists everything that is wrong: with the file of labels first, then with the vectors.
    """
    import pandas as pd

    corpora = read_corpora(settings.labels)
    refuse(settings.labels, list(_check(corpora)))
    labels = {text_of(name): label["emo"] for name, label in corpora.pop(_LABELLED).items()}
    emotions = {name: None if _labels.is_none(emotion) else text_of(emotion) for name, emotion in labels.items()}

    names = shuffled(emotions, settings.seed)
    tested = share(len(names), 0.2)
    validating = share(len(names) - tested, 0.1)
    split = dict.fromkeys(names, "train")
    split |= dict.fromkeys(names[:tested], "test") | dict.fromkeys(names[tested : tested + validating], "valid")
    for corpus, clips in corpora.items():
        if count := sum(_is_labelled(label) for label in clips.values()):
            log.warning(
                "%s: %s of %s %s a label other than neutral, and the labels of %s are left out; if this is the file of "
                "MER2023, source: merbench tests on these clips",
                settings.labels,
                plural(count, "clip"),
                corpus,
                "has" if count == 1 else "have",
                corpus,
            )
    others = dict.fromkeys(text_of(name) for corpus in corpora.values() for name in corpus)
    pool = {name: None for name in others if name not in emotions}
    if settings.unlabelled:
        log.info("%s: %s labelled, %d without label", settings.labels, plural(len(emotions), "clip"), len(pool))
    else:
        pool = {}

    ids = [*emotions, *pool]
    samples = pd.DataFrame(
        {
            "id": ids,
            "split": [split.get(name, "unlabelled") for name in ids],
            "label": pd.Series([emotions.get(name) for name in ids], dtype=object),
            "text": pd.Series([None] * len(ids), dtype=object),
            "speaker": pd.Series([None] * len(ids), dtype=object),
            "duration": np.nan,
        }
    )
    samples.attrs["classes"] = list(CLASSES)

    modalities, problems = read_folders(settings.folders, ids)
    if problems and pool:
        problems.append("clips without labels are among these files; to leave them out, set unlabelled: false")
    refuse(settings.features, problems)
    return samples, modalities


def _is_labelled(label: object) -> bool:
    """Tell whether a clip of another corpus than the labelled one has an emotion that the toolkit does not write."""
    return isinstance(label, dict) and text_of(label.get("emo", "neutral")) not in ("neutral", "")


def _check(corpora: dict[str, object]) -> Iterator[str]:
    """Find out whether the corpora are dicts of names, and the labelled one has emotions that are known."""
    if _LABELLED not in corpora:
        yield (
            f"there is no {_LABELLED}; there is: {', '.join(corpora) or 'nothing'}. For files of MERBench, set source: "
            "merbench"
        )
        return
    if wrong := [name for name, corpus in corpora.items() if not isinstance(corpus, dict)]:
        yield f"{', '.join(wrong)} should be dicts of clips"
        return
    for corpus, clips in corpora.items():
        names = list(map(text_of, clips))
        if wrong := [name for name in clips if text_of(name) is None]:
            yield f"{plural(len(wrong), 'clip')} of {corpus} whose names are no text: {some(wrong)}"
            return
        if len(set(names)) < len(names):
            yield f"{corpus} has two clips of one name, one of them as text and one as a number or bytes"
        yield from odd_ids(names)
    labelled = corpora[_LABELLED]
    if wrong := [name for name, label in labelled.items() if not isinstance(label, dict) or "emo" not in label]:
        yield f'{plural(len(wrong), "clip")} of {_LABELLED} without {{"emo": ...}}: {some(wrong)}'
        return
    emotions = {name: label["emo"] for name, label in labelled.items() if not _labels.is_none(label["emo"])}
    if wrong := [name for name, emotion in emotions.items() if text_of(emotion) not in CLASSES]:
        found = sorted({str(emotions[name]) for name in wrong})
        yield f"{plural(len(wrong), 'clip')} ({some(wrong)}) labelled {some(found)}, none of {', '.join(CLASSES)}"
