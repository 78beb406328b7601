"""The test conditions of a dataset, fixed once for all methods."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from elision.corruption.missing import legacy_uniforms, subsets, uniforms
from elision.files import replacing
from elision.settings.params import Corruption, Noise
from elision.store import Sequences, Store, read_tensors, write_tensors
from elision.task import MODALITIES


@dataclass(frozen=True)
class Condition:
    """One way in which the test data are corrupted.

    Attributes
    ----------
    corruption : str
        ``random``: positions missing at random, at the same rate in all modalities (LNLN section 3.2); ``absent``:
        whole modalities missing (LNLN appendix A.8: rate 1 for them, 0 for the others); ``combined``: both at once
        (HRLF section 4.4); ``gaussian``, ``impulse``: noise in place of the modalities that would be absent (NMER
        section 3).
    level : float
        The missing rate, of ``combined`` that of the other modalities; of noise, its intensity.
    modalities : tuple of str
        The modalities that lose something, of ``combined`` those that are absent; empty when nothing is missing.
    replacement : str
        What a missing token becomes, also one that would be noise; missing frames and vectors of text are zeros.
    """

    corruption: str
    level: float
    modalities: tuple[str, ...]
    replacement: str = "[UNK]"

    def rates(self) -> np.ndarray:
        """Return the missing rate of text, audio and vision, 1 for noise [shape=(3,)]."""
        rate = 1.0 if self.noise or self.corruption == "combined" else self.level
        others = self.level if self.corruption == "combined" else 0.0
        return np.array([rate if name in self.modalities else others for name in MODALITIES])

    @property
    def noise(self) -> str | None:
        """Kind of the noise."""
        return self.corruption if self.corruption in get_args(Noise) else None


def conditions(settings: Corruption, present: tuple[str, ...]) -> list[Condition]:
    """List the test conditions of a dataset that has the modalities ``present``."""
    listed = [Condition("random", rate, present if rate else ()) for rate in settings.random]
    if settings.absent:
        listed += [Condition("absent", 1.0 if subset else 0.0, subset) for subset in subsets(present)]
    for rate in settings.combined:
        listed += [Condition("combined", rate, subset) for subset in subsets(present) if subset]
    for kind in settings.noise.kinds:
        for intensity in settings.noise.intensities:
            listed += [Condition(kind, float(intensity), subset) for subset in subsets(present) if subset]
    return listed


@dataclass(frozen=True)
class Plan:
    """Conditions, and the uniform numbers of the test samples that decide what is missing.

    Attributes
    ----------
    conditions : list of Condition
    seed : int
        Key of what is drawn: also that of the noise, which is drawn anew wherever it is needed.
    uniforms : dict of str to np.ndarray [shape=(sum of lengths,)]
        Per modality, test samples end to end in the order of the store.
    provenance : dict
    """

    conditions: list[Condition]
    seed: int
    uniforms: dict[str, np.ndarray]
    provenance: dict

    def of(self, store: Store, fold: int) -> dict[str, np.ndarray]:
        """Return the uniform numbers of the test samples of a fold."""
        if not fold:
            return self.uniforms
        return {
            name: values[np.repeat(np.isin(_tested(store), store.rows("test", fold)), _lengths(store, name))]
            for name, values in self.uniforms.items()
        }


def _tested(store: Store) -> np.ndarray:
    """Rows that are test samples, of any fold."""
    columns = [name for name in store.samples if name == "split" or name.startswith("fold-")]
    return np.flatnonzero((store.samples[columns] == "test").any(axis=1).to_numpy())


def _sequences(store: Store, modality: str) -> Sequences:
    """Sequences of a modality; text is as long in vectors as in tokens."""
    return store.modalities[modality if modality in store.modalities else f"{modality}_features"]


def _lengths(store: Store, modality: str) -> np.ndarray:
    """Lengths of the test samples."""
    return _sequences(store, modality).lengths[_tested(store)]


def draw(store: Store, settings: Corruption) -> tuple[list[Condition], dict[str, np.ndarray]]:
    """Draw the test corruption of a dataset."""
    ids, drawn = store.samples["id"].to_numpy()[_tested(store)], {}
    for name in store.present:
        lengths, keep_ends = _lengths(store, name), name == "text" and "text" in store.modalities
        if settings.masks == "lnln":
            padded = _sequences(store, name).header.length
            drawn[name] = legacy_uniforms(seed=settings.seed, lengths=lengths, padded=padded, keep_ends=keep_ends)
        else:
            drawn[name] = uniforms(
                seed=settings.seed, stream="test", ids=ids, lengths=lengths, modality=name, keep_ends=keep_ends
            )
    return conditions(settings, store.present), drawn


def write(store: Store, settings: Corruption, draws: Path, description: Path, provenance: dict) -> None:
    """Draw the test corruption of a dataset and write it; last the draws, which carry the provenance of both."""
    listed, drawn = draw(store, settings)
    document = {"seed": settings.seed, "conditions": [asdict(condition) for condition in listed]}
    with replacing(description) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    write_tensors(draws, drawn, provenance)


def read(draws: Path, description: Path) -> Plan:
    """Read what `write` wrote."""
    uniform, provenance = read_tensors(draws)
    document = json.loads(description.read_text(encoding="utf-8"))
    listed = [Condition(**{**c, "modalities": tuple(c["modalities"])}) for c in document["conditions"]]
    return Plan(listed, document["seed"], uniform, provenance)
