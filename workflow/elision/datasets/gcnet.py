"""The features of GCNet: IEMOCAP, CMU-MOSI and CMU-MOSEI as dialogues, with a vector per utterance and modality.

``labels`` is a pickle of dicts whose keys are dialogues (videos), in this order:

===================== =========================================================================================
videoIDs              ids of the utterances, in the order in which they are spoken
videoLabels           label of each: the number of a class (IEMOCAP), or a score (MOSI, MOSEI)
videoSpeakers         who speaks: ``F`` or ``M`` (IEMOCAP), or an empty string
videoSentences        transcripts
trainVid              set of dialogues; IEMOCAP: those of sessions 1 to 4
valVid                set of dialogues; MOSI and MOSEI only
testVid               set of dialogues; IEMOCAP: those of session 5
===================== =========================================================================================

``features`` holds a folder for each feature set, and in it for each utterance ``{id}.npy`` ((d,), or (T, d), which is
averaged), or a folder ``{id}`` of such files. Two people are seen in a video of IEMOCAP: a file in such a folder is of
``F`` if there is an F in its name, and otherwise of ``M``, and the files of the speaker count.

The official code leaves one session of IEMOCAP out at a time and selects epochs on the session that it tests. Here a
tenth of the training dialogues is the validation split. It looks utterances up by the beginning of their names, which
finds the wrong file where one id begins with another; here names must be the same.

Source: Lian et al., IEEE TPAMI 2023, arXiv 2203.02177, and its code, https://github.com/zeroQiaoba/GCNet.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from elision import pickles
from elision.datasets import _labels
from elision.datasets._emotion import SCORES, FeatureFolders, LabelledSettings, inputs, read_folders, share, shuffled
from elision.datasets._found import Folder
from elision.datasets._problems import odd_ids, refuse, some, text_of
from elision.errors import plural
from elision.settings.params import AS_CORPUS, PublishedCorpus
from elision.store import Sequences

if TYPE_CHECKING:
    import pandas as pd

MAKES = "sequences"
DIALOGUES = True

__all__ = ["DIALOGUES", "MAKES", "Settings", "found", "inputs", "prepare"]

_PARTS = ("videoIDs", "videoLabels", "videoSpeakers", "videoSentences")
_SETS = {
    "iemocap": {"trainVid": "train", "testVid": "test"},
    "mosi": {"trainVid": "train", "valVid": "valid", "testVid": "test"},
    "mosei": {"trainVid": "train", "valVid": "valid", "testVid": "test"},
}

log = logging.getLogger(__name__)


class Settings(LabelledSettings, FeatureFolders):
    """Dialogues of utterance vectors in the layout of GCNet."""

    source: Literal["gcnet"] = Field(description="dialogues of utterance vectors in the layout of GCNet")
    corpus: Literal["iemocap", "mosi", "mosei"] = Field(
        "iemocap", description="whose label range, metrics and defaults apply"
    )
    labels: Path = Field(description="the .pkl file, such as IEMOCAP_features_raw_4way.pkl")
    text: str | None = Field("deberta-large-4-UTT", description="feature set; null: the dataset goes without")
    audio: str | None = Field("wav2vec-large-c-UTT", description="feature set; null: the dataset goes without")
    vision: str | None = Field("manet_UTT", description="feature set; null: the dataset goes without")
    cross_validation: int | None = Field(
        None, ge=0, description="sessions of iemocap, each left out once; 0: the file's one split; null: 5 for iemocap"
    )
    validation: float = Field(0.1, gt=0, lt=1, description="iemocap: share of the training dialogues that validate")
    seed: int = Field(1111, ge=0, description="iemocap: key by which the validation dialogues are drawn")
    published: PublishedCorpus | None = AS_CORPUS

    @model_validator(mode="after")
    def _only_iemocap_has_sessions(self) -> "Settings":
        if self.cross_validation and self.corpus != "iemocap":
            raise ValueError(f"{self.corpus} has one split and no sessions; leave out cross_validation")
        return self

    @property
    def sessions(self) -> int:
        """How many sessions are left out, each once; 0: the split of the file."""
        return (5 if self.corpus == "iemocap" else 0) if self.cross_validation is None else self.cross_validation

    def fold_count(self) -> int:
        """Return the number of folds; 0 without folds."""
        return super().fold_count() or self.sessions


def found(folder: Folder) -> dict[str, str] | None:
    """Recognise one ``.pkl`` file and feature sets named ``...UTT``."""
    if len(folder.pickles) != 1 or folder.features is None:
        return None
    return {"labels": folder.pickles[0], "features": folder.features}


def columns(settings: Settings) -> list[str]:
    """Return the columns that the table has beside those of every source."""
    return ["dialogue", "position"]


def prepare(settings: Settings, folder: Path) -> "tuple[pd.DataFrame, dict[str, Sequences]]":
    """Read and check labels, dialogues and vectors.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Not used: nothing is written.

    Returns
    -------
    samples : pd.DataFrame
        ``id``, ``split`` or ``fold-1``, ... (fold k tests session k), ``label`` (name of a class, or a score),
        ``text``, ``speaker`` (IEMOCAP: session and letter, as in ``Ses01_F``; else the video), ``dialogue``,
        ``position`` (of the utterance in its dialogue, from 0) and ``duration`` (unknown: NaN). By dialogue, in order
        of their names. ``attrs["classes"]`` are the names of the classes.
    modalities : dict of str to Sequences
        ``text_features``, ``audio`` and ``vision``: sequences of length 1, or 0 where there are no vectors, or zeros.

    Raises
    ------
    ElisionError
        Lists everything that is wrong: with the structure of the pickle first, then with its content, then with the
        vectors.
    """
    import pandas as pd

    content = pickles.load(settings.labels)
    names = [*_PARTS, *_SETS[settings.corpus]]
    if not isinstance(content, tuple | list) or len(content) != len(names):
        found = f"{len(content)} parts" if isinstance(content, tuple | list) else type(content).__name__
        refuse(settings.labels, [f"it holds {found}, not {', '.join(names)}; is corpus right in params.yaml?"])
    parts = dict(zip(names, map(_by_text, content), strict=True))
    refuse(settings.labels, list(_check_structure(parts)))

    samples = _samples(parts, settings)
    refuse(settings.labels, list(_check_samples(samples, settings)))
    if settings.corpus not in SCORES:
        samples["label"] = pd.Series(_labels.placed(samples["label"], settings.classes), dtype=object)
        samples.attrs["classes"] = list(settings.classes)
    if settings.sessions and not settings.folds:
        samples = _leave_sessions_out(samples, settings)

    of_whom = _is_of_speaker(samples["speaker"].tolist()) if settings.corpus == "iemocap" else None
    modalities, problems = read_folders(settings.folders, samples["id"].tolist(), of_whom=of_whom)
    refuse(settings.features, problems)
    return samples, modalities


def _by_text(part: object) -> object:
    """Return a part with the names of its dialogues as text, where they are bytes or numbers."""
    if isinstance(part, dict) and None not in (names := list(map(text_of, part))) and len(set(names)) == len(part):
        return dict(zip(names, part.values(), strict=True))
    if isinstance(part, set | frozenset | list | tuple):
        return [item if (name := text_of(item)) is None else name for item in part]
    return part


def _check_structure(parts: dict) -> Iterator[str]:
    """Find out whether every dialogue has everything of each of its utterances, and one split."""
    if wrong := [name for name in _PARTS if not isinstance(parts[name], dict)]:
        yield f"{', '.join(wrong)} should be dicts from dialogues to lists"
        return
    sets = {name: part for name, part in parts.items() if name not in _PARTS}
    if wrong := [name for name, part in sets.items() if not isinstance(part, list)]:
        yield f"{', '.join(wrong)} should be sets of dialogues"
        return
    if wrong := [name for name, part in parts.items() if not all(isinstance(d, str) and d for d in part)]:
        yield f"{', '.join(wrong)} should name dialogues by text, each once"
        return
    for name in _PARTS:
        if wrong := [dialogue for dialogue, entries in parts[name].items() if not _is_list(entries)]:
            yield f"{name} should hold a list for each dialogue, unlike {some(wrong)}"
            return
    listed = Counter(dialogue for part in sets.values() for dialogue in part)
    if twice := sorted(dialogue for dialogue, times in listed.items() if times > 1):
        yield f"{plural(len(twice), 'dialogue')} in more than one of {', '.join(sets)}: {some(twice)}; keep one"
    utterances = parts["videoIDs"]
    for name in _PARTS:
        if missing := sorted(listed.keys() - parts[name].keys()):
            yield f"{name} lacks {plural(len(missing), 'dialogue')} of {', '.join(sets)}: {some(missing)}"
        known = sorted(listed.keys() & utterances.keys() & parts[name].keys())
        if wrong := [dialogue for dialogue in known if len(parts[name][dialogue]) != len(utterances[dialogue])]:
            yield f"{name} has more or fewer entries than videoIDs in {plural(len(wrong), 'dialogue')}: {some(wrong)}"


def _is_list(entries: object) -> bool:
    return isinstance(entries, list | tuple) or (isinstance(entries, np.ndarray) and entries.ndim > 0)


def _samples(parts: dict, settings: Settings) -> "pd.DataFrame":
    """Make the table, with the split of the file and labels as they stand there."""
    import pandas as pd

    rows = []
    sets = {dialogue: split for name, split in _SETS[settings.corpus].items() for dialogue in parts[name]}
    for dialogue in sorted(sets):
        columns = zip(*(parts[name][dialogue] for name in _PARTS), strict=True)
        for position, (utterance, label, speaker, sentence) in enumerate(columns):
            person = f"{dialogue[:5]}_{speaker}" if settings.corpus == "iemocap" else dialogue
            name, said = text_of(utterance), text_of(sentence)
            if name is None or said is None:
                refuse(settings.labels, [f"utterance {position} of dialogue {dialogue!r}: its id or words are no text"])
            row = (name, sets[dialogue], _labels.number(label), said, person, dialogue, position)
            rows.append(row)
    names = ["id", "split", "label", "text", "speaker", "dialogue", "position"]
    samples = pd.DataFrame(rows, columns=names).assign(duration=np.nan)
    if settings.corpus == "iemocap" and not settings.folds and not settings.sessions:
        held = _validation(samples.loc[samples["split"] == "train", "dialogue"], settings, 0)
        samples.loc[samples["dialogue"].isin(held), "split"] = "valid"
    if unused := len(parts["videoIDs"]) - len(sets):
        log.info("%s: %s in no split, left out", settings.labels, plural(unused, "dialogue"))
    return samples


def _check_samples(samples: "pd.DataFrame", settings: Settings) -> Iterator[str]:
    ids, labels = samples["id"], samples["label"]
    yield from odd_ids(ids.tolist())
    if twice := ids[ids.duplicated()].unique().tolist():
        yield f"{plural(len(twice), 'utterance')} more than once: {some(twice)}; ids must differ"
    if settings.corpus in SCORES:
        bad = _labels.outside(labels.to_numpy(), settings)
        what = f"outside {_labels.interval(settings)}; is corpus right?"
    else:
        count = len(settings.classes)
        bad = _labels.beyond(labels.to_numpy(), settings.classes)
        what = f"not 0 to {count - 1}, the numbers of the {count} classes; name as many classes as there are labels"
    if bad.any():
        told = [f"{label:g}" if np.isfinite(label) else "no number" for label in labels]
        shown = ", ".join(f"{ids[row]!r} {told[row]}" for row in np.flatnonzero(bad)[:3])
        yield f"label of {plural(int(bad.sum()), 'utterance')} ({shown}) is {what}"
    if settings.corpus == "iemocap":
        if wrong := ids[~samples["speaker"].str.fullmatch(r"Ses0\d_[FM]")].tolist():
            yield (
                f"{plural(len(wrong), 'utterance')} ({some(wrong)}) whose dialogue does not begin with Ses0 and the "
                "number of the session, or whose speaker is neither F nor M"
            )
        elif settings.sessions and not settings.folds:
            found = sorted(set(samples["speaker"].str[4]))
            if found != [str(k + 1) for k in range(settings.sessions)]:
                yield (
                    f"the dialogues are of sessions {', '.join(found)}, but cross_validation is {settings.sessions} "
                    "in params.yaml; say how many sessions there are"
                )


def _validation(dialogues: "pd.Series", settings: Settings, fold: int) -> list[str]:
    """Draw the training dialogues that validate."""
    names = shuffled(dialogues.unique(), settings.seed, fold)
    return names[: share(len(names), settings.validation)]


def _leave_sessions_out(samples: "pd.DataFrame", settings: Settings) -> "pd.DataFrame":
    """Put a column for each fold in place of the split of the file."""
    import pandas as pd

    session, folds = samples["dialogue"].str[4].astype(int), {}
    for fold in range(1, settings.sessions + 1):
        held = _validation(samples.loc[session != fold, "dialogue"], settings, fold)
        split = np.where(samples["dialogue"].isin(held), "valid", "train")
        folds[f"fold-{fold}"] = np.where(session == fold, "test", split)
    attrs = samples.attrs
    samples = pd.concat([samples["id"], pd.DataFrame(folds), samples.drop(columns=["id", "split"])], axis=1)
    samples.attrs = attrs
    return samples


def _is_of_speaker(speakers: list[str]) -> Callable[[int, str], bool]:
    """Return whether a file in the folder of utterance i, named without its ending, shows the one who speaks."""
    return lambda i, file: ("F" in file) == speakers[i].endswith("F")
