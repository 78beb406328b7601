"""What is predicted, from what: tasks, modalities, corpora, and the sizes that a method is built for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

MODALITIES = ("text", "audio", "vision")
SPLITS = ("train", "valid", "test")
GRADIENTS = {name: f"gradient_{name}" for name in MODALITIES}  # columns of history.csv: see training.gradients
_OF_SPLITS = re.compile(r"split|fold-\d+")


def split_columns(names: Iterable[str]) -> list[str]:
    """Return the columns of a table of samples that hold splits: ``split``, or one for each fold."""
    return [name for name in names if _OF_SPLITS.fullmatch(name)]


class TaskKind(StrEnum):
    """Kind of label that a dataset carries."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"


@dataclass(frozen=True)
class Corpus:
    """The conventions that come with a well-known corpus.

    Attributes
    ----------
    label_range : float or None
        Scores lie in [-label_range, label_range]; None: the corpus has classes alone.
    metrics : str or None
        Metric family of scores in ``evaluation.metrics``: ``mosi`` or ``sims``. Classes have a family of their own.
    defaults : tuple of str
        Whose official hyperparameters apply: the first that a method has (``Method.corpus_defaults``).
    """

    label_range: float | None
    metrics: str | None
    defaults: tuple[str, ...]


CORPORA = {
    "mosi": Corpus(label_range=3.0, metrics="mosi", defaults=("mosi",)),
    "mosei": Corpus(label_range=3.0, metrics="mosi", defaults=("mosei",)),
    "sims": Corpus(label_range=1.0, metrics="sims", defaults=("sims",)),
    "simsv2": Corpus(label_range=1.0, metrics="sims", defaults=("simsv2", "sims")),
    "demo": Corpus(label_range=3.0, metrics="mosi", defaults=("demo",)),
    # None of the others: no method has hyperparameters of its own for it.
    "other": Corpus(label_range=3.0, metrics="mosi", defaults=()),
    "iemocap": Corpus(label_range=None, metrics=None, defaults=("iemocap",)),
    "msp": Corpus(label_range=None, metrics=None, defaults=("msp",)),
    "mer2024": Corpus(label_range=None, metrics=None, defaults=("mer2024",)),
}


@dataclass(frozen=True)
class DataSpec:
    """The sizes and conventions of a dataset that a method is built for.

    Attributes
    ----------
    corpus : str
        Key of ``CORPORA``.
    audio, vision : int
        Feature dimensions; 1 for a modality that the dataset does not have.
    length : dict of str to int
        Padded length of each modality, in tokens or frames: every batch has it, whatever its samples.
    samples : int
        Size of the training split (label memories are that long).
    encoder : str
        Name of the text encoder whose token ids the dataset holds.
    task : TaskKind
    classes : tuple of str
        Class names in order; empty for regression.
    text : int
        Width of the text vectors that the method reads; 0 for one that reads token ids.
    speakers : int
        Most speakers of a dialogue, for a method that reads dialogues; else 1.
    """

    corpus: str
    audio: int
    vision: int
    length: dict[str, int]
    samples: int
    encoder: str
    task: TaskKind = TaskKind.REGRESSION
    classes: tuple[str, ...] = ()
    text: int = 0
    speakers: int = 1

    @property
    def label_range(self) -> float | None:
        """Largest absolute score; None, where the corpus has classes alone."""
        return CORPORA[self.corpus].label_range

    @property
    def outputs(self) -> int:
        """Width of the prediction head."""
        return len(self.classes) if self.task is TaskKind.CLASSIFICATION else 1

    def aligned(self, alignment: str) -> "DataSpec":
        """Return the sizes under an alignment of a method: audio and vision are as long as the text."""
        if alignment == "none":
            return self
        return replace(self, length=dict.fromkeys(MODALITIES, self.length["text"]))


# The sizes of the published feature files: unaligned ones of MMSA, those of MMIN, utterance vectors of MER2024.
OFFICIAL_SPECS = {
    "mosi": DataSpec("mosi", 5, 20, {"text": 50, "audio": 375, "vision": 500}, 1284, "bert-base-uncased"),
    "mosei": DataSpec("mosei", 74, 35, {"text": 50, "audio": 500, "vision": 500}, 16326, "bert-base-uncased"),
    "sims": DataSpec("sims", 33, 709, {"text": 39, "audio": 400, "vision": 55}, 1368, "bert-base-chinese"),
    "iemocap": DataSpec(
        "iemocap",
        130,
        342,
        {"text": 22, "audio": 60, "vision": 50},
        4446,
        "bert-large-uncased",
        task=TaskKind.CLASSIFICATION,
        classes=("angry", "happy", "sad", "neutral"),
        text=1024,
        speakers=2,
    ),
    "mer2024": DataSpec(
        "mer2024",
        1024,
        768,
        {"text": 1, "audio": 1, "vision": 1},
        4024,
        "baichuan2-13b-base",
        task=TaskKind.CLASSIFICATION,
        classes=("neutral", "angry", "happy", "sad", "worried", "surprise"),
        text=5120,
    ),
}


def parse_run(run: str) -> tuple[int, int]:
    """Return the seed and the fold of a run; fold 0 without folds."""
    seed, _, fold = run.removeprefix("seed-").partition(".fold-")
    return int(seed), int(fold or 0)
