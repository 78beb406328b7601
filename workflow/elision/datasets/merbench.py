"""Utterance vectors in the layout of MERBench: many corpora, each with a file of labels and a folder of feature sets.

``labels`` is a .npz file (``label_4way.npz``, ``label.npz``) whose arrays hold a dict each, from the name of a clip to
``{"emo": emotion, "val": score}``; an emotion is a name, or the number of a class, and -10 is no score:

===================================================== ===============================================================
whole_corpus                                          IEMOCAP: all clips, one session is tested at a time
train_corpus, val_corpus, test_corpus                 MOSI, MOSEI, CH-SIMS, CH-SIMS v2, MELD
train_corpus, test1_corpus, test2_corpus, ...         MER2023: no validation split, several test sets
===================================================== ===============================================================

``features`` holds a folder for each feature set, and in it ``{name}.npy`` for each clip ((d,), or (T, d), which is
averaged), or a folder ``{name}`` of such files.

MERBench selects epochs on the split that it tests where there is no validation split. Here a tenth of the training
clips (IEMOCAP: of the dialogues) validates. The corpora of MER2024 are those of ``mer2024``.

Source: Lian et al., MERBench, arXiv 2401.03429, and its code, https://github.com/zeroQiaoba/MERTools (MERBench).
"""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from elision.datasets import _labels, mer2024
from elision.datasets._emotion import FeatureFolders, inputs, read_corpora, read_folders, share, shuffled
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, text_of
from elision.errors import plural
from elision.settings.params import AS_CORPUS, PublishedCorpus
from elision.store import Sequences
from elision.task import CORPORA, SPLITS, TaskKind

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"

__all__ = ["MAKES", "Settings", "found", "inputs", "prepare"]

_WHOLE = "whole_corpus"
_NO_SCORE = -10
_SESSIONS = 5

log = logging.getLogger(__name__)


class Settings(FeatureFolders):
    """Utterance vectors in the layout of MERBench."""

    source: Literal["merbench"] = Field(description="utterance vectors in the layout of MERBench")
    task: TaskKind = Field(
        TaskKind.CLASSIFICATION,
        description="classification: by the emotion; regression: by the score. Default: regression where labels of the "
        "corpus are scores",
    )
    labels: Path = Field(description="the .npz file of labels")
    text: str | None = Field(None, description="feature set; null: the dataset goes without")
    audio: str | None = Field(None, description="feature set; null: the dataset goes without")
    vision: str | None = Field(None, description="feature set; null: the dataset goes without")
    sets: dict[Literal[SPLITS], str] = Field(
        {},
        description="array of labels for each split, such as test: test1_corpus; default: by the names of the arrays",
    )
    validation: float = Field(
        0.1, gt=0, lt=1, description="share of the training clips that validate, where no array is the validation split"
    )
    seed: int = Field(1111, ge=0, description="key by which clips that validate, or test, are drawn")
    published: PublishedCorpus | None = AS_CORPUS

    @model_validator(mode="before")
    @classmethod
    def _task_of_corpus(cls, settings: Any) -> Any:
        scores = getattr(CORPORA.get(settings.get("corpus", "mosi")), "label_range", None) is not None
        return {"task": TaskKind.REGRESSION if scores else TaskKind.CLASSIFICATION, **settings}

    @property
    def of_sessions(self) -> bool:
        """Whether the sessions of IEMOCAP are tested one at a time."""
        return self.corpus == "iemocap" and not self.sets and not self.folds

    def fold_count(self) -> int:
        """Return the number of folds; 0 without folds."""
        return super().fold_count() or (_SESSIONS if self.of_sessions else 0)


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise a file of labels (``label_4way.npz``, ``label.npz``, ...) and feature sets named ``...UTT``."""
    if len(folder.labels) != 1 or folder.features is None:
        return None
    is_of_mer2024 = mer2024.found(folder) is not None
    return None if is_of_mer2024 else {"labels": folder.labels[0], "features": folder.features}


def columns(settings: Settings) -> list[str]:
    """Return the columns that the table has beside those of every source."""
    return ["dialogue"]


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check labels and vectors.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``split`` or ``fold-1``, ... (IEMOCAP: fold k tests session k), ``label`` (name of a class, or a score),
        ``text`` (unknown: None), ``speaker`` and ``dialogue`` (IEMOCAP; else None), ``duration`` (unknown: NaN). In the
        order of the file.
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
    sets = settings.sets or _sets(corpora)
    refuse(settings.labels, list(_check_sets(sets, corpora)))
    if left := {name: len(clips) for name, clips in corpora.items() if name not in sets.values()}:
        log.warning(
            "%s: %s left out: %s; to test on another array, set sets in params.yaml",
            settings.labels,
            plural(sum(left.values()), "labelled clip"),
            ", ".join(f"{name} ({count})" for name, count in left.items()),
        )
    rows = [(text_of(name), split, label) for split, array in sets.items() for name, label in corpora[array].items()]
    samples = pd.DataFrame({"id": [name for name, _, _ in rows], "split": [split for _, split, _ in rows]})
    labels, problems = (_classes if settings.labels_are_names else _scores)(rows, settings)
    samples["label"] = labels
    nothing = pd.Series([None] * len(samples), dtype=object)
    samples = samples.assign(text=nothing, speaker=nothing, duration=np.nan)
    if settings.corpus == "iemocap":
        problems += _people(samples)
    refuse(settings.labels, problems)
    samples = _with_splits(samples, settings)
    if settings.classes and settings.labels_are_names:
        samples.attrs["classes"] = list(settings.classes)

    modalities, problems = read_folders(settings.folders, samples["id"].tolist())
    refuse(settings.features, problems)
    return samples, modalities


def _check(corpora: dict[str, Any]) -> Iterator[str]:
    """Find out whether the arrays are dicts from names to labels."""
    if not corpora:
        yield "holds no array"
    for corpus, clips in corpora.items():
        if not isinstance(clips, dict) or not clips:
            yield f"{corpus} should be a dict of clips"
            continue
        names = list(map(text_of, clips))
        if None in names or len(set(names)) < len(names):
            yield f"{corpus} should name clips by text, each once"
            continue
        yield from odd_ids(names)
        if wrong := [
            name for name, label in clips.items() if not isinstance(label, dict) or not {"emo", "val"} & set(label)
        ]:
            yield f'{plural(len(wrong), "clip")} of {corpus} without {{"emo": ..., "val": ...}}: {some(wrong)}'


def _sets(corpora: dict[str, Any]) -> dict[str, str]:
    """Return which array is which split, by their names."""
    if _WHOLE in corpora:
        return {"train": _WHOLE}
    names = {"train": ("train_corpus",), "valid": ("val_corpus",), "test": ("test_corpus", "test1_corpus")}
    return {split: found[0] for split, of in names.items() if (found := [name for name in of if name in corpora])}


def _check_sets(sets: dict[str, str], corpora: dict[str, Any]) -> Iterator[str]:
    there = ", ".join(corpora)
    if wrong := [name for name in sets.values() if name not in corpora]:
        yield f"there is no array {', '.join(wrong)}, which sets names in params.yaml; there is: {there}"
    elif "train" not in sets:
        yield f"no array is the training split; say which one, sets: {{train: ...}} in params.yaml; there is: {there}"
    elif len(set(sets.values())) == len(sets):
        names = [text_of(clip) for name in sets.values() for clip in corpora[name]]
        if twice := sorted(name for name, times in Counter(names).items() if times > 1):
            yield f"{plural(len(twice), 'clip')} in more than one split: {some(twice)}; keep one of each"
    else:
        yield "sets names an array twice in params.yaml; leave a split out, and its clips are drawn from those of train"


def _scores(rows: list[tuple], settings: Settings) -> tuple[list[float], list[str]]:
    """Return the scores, and what is wrong with them."""
    values, wrong = [], []
    for name, _, label in rows:
        values.append(_labels.number(label.get("val")))
        if values[-1] == _NO_SCORE:
            values[-1] = np.nan
        if _labels.outside(np.array(values[-1]), settings):
            wrong.append(f"{name} {label.get('val')}")
    if np.isnan(values).all():
        return values, ["no clip has a score (val); for emotions, set task: classification"]
    if not wrong:
        return values, []
    return values, [
        f"val of {plural(len(wrong), 'clip')} ({some(wrong)}) is no score in {_labels.interval(settings)}; is corpus "
        "right in params.yaml? For emotions, set task: classification"
    ]


def _classes(rows: list[tuple], settings: Settings) -> tuple[list[str | None], list[str]]:
    """Return the names of the classes, and what is wrong with them."""
    cells = [label.get("emo") for _, _, label in rows]
    cells = [cell.item() if isinstance(cell, np.generic | np.ndarray) and cell.size == 1 else cell for cell in cells]
    cells = [None if _labels.is_none(cell, settings.classes or ()) else cell for cell in cells]
    numbers = [isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells if cell is not None]
    if not numbers or not all(numbers):
        names = list(map(text_of, cells))
        wrong = [
            rows[row][0]
            for row, cell in enumerate(cells)
            if cell is not None and (names[row] is None or isinstance(cell, int | float))
        ]
        told = f"emo of {plural(len(wrong), 'clip')} ({some(wrong)}) is no name, unlike that of others"
        return names, [told] if wrong else []
    if not settings.classes:
        count = len(set(cells) - {None})
        return [None] * len(cells), [
            f"emo is a number for each of {count} classes, whose names the file does not say; name them in the order "
            "of the numbers, classes: [...] in params.yaml"
        ]
    known = range(len(settings.classes))
    if wrong := [f"{rows[row][0]} {cell}" for row, cell in enumerate(cells) if cell not in (None, *known)]:
        return [None] * len(cells), [
            f"emo of {plural(len(wrong), 'clip')} ({some(wrong)}) is not 0 to {len(known) - 1}; name as many classes "
            "as there are numbers"
        ]
    return _labels.placed(map(_labels.number, cells), settings.classes), []


def _people(samples: "pd.DataFrame") -> list[str]:
    """Add speaker and dialogue of IEMOCAP, which the names say."""
    parts = samples["id"].str.extract(r"^(?P<dialogue>(?P<session>Ses0\d)[FM]_.+)_(?P<letter>[FM])\d+$")
    if wrong := samples["id"][parts["letter"].isna()].tolist():
        return [f"{plural(len(wrong), 'clip')} ({some(wrong)}) not named as in IEMOCAP, such as Ses01F_impro01_F000"]
    samples["speaker"] = parts["session"] + "_" + parts["letter"]
    samples["dialogue"] = parts["dialogue"]
    return []


def _with_splits(samples: "pd.DataFrame", settings: Settings) -> "pd.DataFrame":
    """Draw the splits that the file does not have."""
    import pandas as pd

    if settings.folds:
        return samples.drop(columns="split")
    if settings.of_sessions:
        session, folds = samples["id"].str[4].astype(int), {}
        for fold in range(1, _SESSIONS + 1):
            held = _held(samples.loc[session != fold, "dialogue"].unique(), settings.validation, settings.seed, fold)
            split = np.where(samples["dialogue"].isin(held), "valid", "train")
            folds[f"fold-{fold}"] = np.where(session == fold, "test", split)
        return pd.concat([samples["id"], pd.DataFrame(folds), samples.drop(columns=["id", "split"])], axis=1)
    for split, part in (("test", 0.2), ("valid", settings.validation)):
        if split not in set(samples["split"]):
            train = samples["split"] == "train"
            held = _held(samples.loc[train, "id"], part, settings.seed, split)
            log.info("%s: %s of the training clips drawn for split %s", settings.labels, len(held), split)
            samples.loc[train & samples["id"].isin(held), "split"] = split
    return samples


def _held(names: Any, part: float, *key: object) -> list[str]:
    names = shuffled(names, *key)
    return names[: share(len(names), part)]
