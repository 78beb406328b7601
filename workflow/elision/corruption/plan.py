"""The test conditions of a dataset, fixed once for all methods."""

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from elision.corruption.missing import uniforms
from elision.params import Corruption
from elision.store import Store, read_tensors, replacing, write_tensors
from elision.task import MODALITIES


@dataclass(frozen=True)
class Condition:
    """One way in which the test data are corrupted.

    Attributes
    ----------
    protocol : str
        ``random``: positions missing at random, at the same rate in all modalities (LNLN section 3.2); ``absent``:
        whole modalities missing (LNLN appendix A.8: rate 1 for them, 0 for the others).
    level : float
        The missing rate.
    modalities : tuple of str
        The modalities that lose something; empty when nothing is missing.
    replacement : str
        What a missing token becomes; missing frames are zeros.
    """

    protocol: str
    level: float
    modalities: tuple[str, ...]
    replacement: str = "[UNK]"

    def rates(self) -> np.ndarray:
        """Return the missing rate of text, audio and vision [shape=(3,), dtype=float32]."""
        return np.array([self.level if name in self.modalities else 0.0 for name in MODALITIES], np.float32)


def conditions(settings: Corruption, present: tuple[str, ...]) -> list[Condition]:
    """List the test conditions of a dataset that has the modalities ``present``."""
    listed = [Condition("random", rate, present if rate else ()) for rate in settings.random]
    if settings.absent:
        subsets = [subset for size in range(len(present)) for subset in combinations(present, size)]
        listed += [Condition("absent", 1.0 if subset else 0.0, subset) for subset in subsets]
    return listed


@dataclass(frozen=True)
class Plan:
    """Conditions, and the uniform numbers of the test samples that decide what is missing.

    Attributes
    ----------
    conditions : list of Condition
    uniforms : dict of str to np.ndarray [shape=(sum of lengths,), dtype=float32]
        Per modality, test samples end to end in the order of the store.
    provenance : dict
    """

    conditions: list[Condition]
    uniforms: dict[str, np.ndarray]
    provenance: dict


def draw(store: Store, settings: Corruption) -> tuple[list[Condition], dict[str, np.ndarray]]:
    """Draw the test corruption of a dataset."""
    rows = store.rows("test")
    ids = store.samples["id"].to_numpy()[rows]
    present = tuple(name for name in MODALITIES if name in store.modalities and store.modalities[name].lengths.any())
    drawn = {
        name: uniforms(
            seed=settings.seed, stream="test", ids=ids, lengths=store.modalities[name].lengths[rows], modality=name
        )
        for name in present
    }
    return conditions(settings, present), drawn


def write(store: Store, settings: Corruption, draws: Path, description: Path, provenance: dict) -> None:
    """Draw the test corruption of a dataset and write it."""
    listed, drawn = draw(store, settings)
    write_tensors(draws, drawn, provenance)
    document = {"seed": settings.seed, "conditions": [asdict(condition) for condition in listed]}
    with replacing(description) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(draws: Path, description: Path) -> Plan:
    """Read what `write` wrote."""
    uniform, provenance = read_tensors(draws)
    listed = json.loads(description.read_text(encoding="utf-8"))["conditions"]
    return Plan([Condition(**{**c, "modalities": tuple(c["modalities"])}) for c in listed], uniform, provenance)
