"""What a method sees of a dataset: its modalities, their alignment and scales, one fold."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from elision.dialogues import speakers
from elision.methods.base import Method, TrainingHyperparameters
from elision.store import Sequences, Store
from elision.task import MODALITIES, DataSpec, TaskKind


@dataclass(frozen=True)
class View:
    """What a method sees of a dataset.

    Attributes
    ----------
    modalities : tuple of str
        The modalities that are seen; the rest is left out.
    alignment : str
        What becomes of audio and vision, after corruption. ``none``: they keep their own frames. ``words``: for each
        text token the mean of its frames. ``pooled``: with L their padded length and T that of the text, for each of T
        positions the mean of L / T padded frames, rounded up, whatever the length of the sample; where the frames do
        not suffice, the last one is repeated. In either alignment all modalities have length T; a position is valid, or
        observed, if one of its frames is.
    reads_text : str
        ``tokens``, ``vectors``, or ``nothing``: then the tokens are there all the same.
    fold : int
        0 without folds.
    dialogues : bool
        Whether the utterances of a dialogue are read together.
    """

    modalities: tuple[str, ...] = MODALITIES
    alignment: str = "none"
    reads_text: str = "tokens"
    fold: int = 0
    dialogues: bool = False

    @classmethod
    def of(cls, method: type[Method], hyperparameters: TrainingHyperparameters, fold: int) -> "View":
        """Return what a method with its hyperparameters sees."""
        h = hyperparameters
        together = method.reads == "dialogues" and h.dialogues == "dataset"
        return cls(h.modalities, h.alignment, method.reads_text, fold, together)

    @property
    def stored(self) -> dict[str, str]:
        """Name in the store of each modality that is seen, where the store has it."""
        names = {name: name for name in self.modalities}
        return names | {"text": "text_features"} if self.reads_text == "vectors" and "text" in names else names

    def sequences(self, store: Store) -> dict[str, Sequences]:
        """Return the sequences that are seen, by modality."""
        names = self.stored
        return {m: store.modalities[names[m]] for m in MODALITIES if m in names and names[m] in store.modalities}


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the observed frames of one modality that were measured, each [d] float32."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(
        cls, store: Store, modality: str, fold: int = 0, *, everyone: bool = False, constant: float = 1.0
    ) -> "Scale":
        """Measure a modality on the training split, or on all samples (``everyone``).

        A dimension that does not vary, or is never observed, has the deviation ``constant``: with 1, it is only
        centred.
        """
        sequences = store.modalities[modality]
        rows = np.arange(len(store.samples)) if everyone else store.rows("train", fold)
        count, mean = _mean(sequences, rows, np.zeros(sequences.width), power=1)
        if not count:
            return cls(np.zeros(sequences.width, np.float32), np.full(sequences.width, constant, np.float32))
        std = np.sqrt(_mean(sequences, rows, mean, power=2)[1])
        return cls(mean.astype(np.float32), np.where(std < 1e-6, constant, std).astype(np.float32))


def _mean(sequences: Sequences, rows: np.ndarray, centre: np.ndarray, *, power: int) -> tuple[int, np.ndarray]:
    """Count the observed frames, and average their differences from a centre [d], to a power; a block at a time."""
    count, total = 0, np.zeros((1, sequences.width))
    for block in sequences.blocks(rows):
        values = block[~np.isnan(block).any(1)].astype(np.float64)
        count += len(values)
        # The total goes before the frames: the sum is that of all frames in their order, wherever blocks end.
        total = np.concatenate([total, (values - centre) ** power]).sum(0, keepdims=True)
    return count, total[0] / max(count, 1)


def scales(store: Store, *, standardise: Collection[str], fold: int = 0, everyone: bool = False) -> dict[str, Scale]:
    """Measure the modalities ``standardise``, as far as the store has them (see ``Scale.of``)."""
    return {m: Scale.of(store, m, fold, everyone=everyone) for m in standardise if m in store.modalities}


def recorded_scales(record: dict) -> dict[str, Scale]:
    """Return what `scales` measured for a run, from its ``run.json``."""
    return {
        name: Scale(np.array(scale["mean"], np.float32), np.array(scale["std"], np.float32))
        for name, scale in record["scales"].items()
    }


def spec(store: Store, corpus: str, view: View = View()) -> DataSpec:
    """Return the sizes of a dataset, as a method that sees it so is built for them."""
    seen = view.sequences(store)
    length = {name: seen[name].header.length if name in seen else 1 for name in MODALITIES}
    width = {name: sequences.width for name, sequences in seen.items()}
    return DataSpec(
        corpus=corpus,
        audio=width.get("audio", 1),
        vision=width.get("vision", 1),
        length=length if view.alignment == "none" else dict.fromkeys(MODALITIES, store.aligned_length),
        samples=len(store.rows("train", view.fold)),
        encoder=store.modalities["text"].header.extractor if "text" in store.modalities else "minilm",
        task=TaskKind.CLASSIFICATION if store.classes else TaskKind.REGRESSION,
        classes=store.classes,
        text=width.get("text", 1) if view.reads_text == "vectors" else 0,
        speakers=int(speakers(store.samples).max()) + 1 if view.dialogues else 1,
    )
