"""The test conditions of a dataset, fixed once for all methods."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from elision.corruption.kind import Condition, Draw, Kind, Origin, Samples, kinds
from elision.corruption.missing import missing
from elision.files import replacing
from elision.store import Sequences, Store, read_tensors, write_tensors
from elision.task import MODALITIES, split_columns


class Settings(Protocol):
    """The section ``corruption`` of the params: what it has beside a setting of each kind."""

    @property
    def seed(self) -> int | Literal["run"]: ...  # noqa: D102

    @property
    def masks(self) -> str | None: ...  # noqa: D102


def conditions(settings: Settings, present: tuple[str, ...]) -> list[Condition]:
    """List the test conditions of a dataset that has the modalities ``present``, kind by kind.

    Parameters
    ----------
    settings : Settings
        The section ``corruption`` of the params, as a dataset has it.
    """
    return [each for kind in tested(settings) for each in kind.conditions(getattr(settings, kind.name), present)]


def tested(settings: Settings) -> list[Kind]:
    """Return the kinds that have conditions under given settings, by rank."""
    return [
        kind for kind in kinds().values() if kind.setting and kind.conditions(getattr(settings, kind.name), MODALITIES)
    ]


@dataclass(frozen=True)
class Plan:
    """Conditions, and the uniform numbers of the test samples that decide what is missing.

    Attributes
    ----------
    conditions : list of Condition
    seed : int or str
        Key of what is drawn: also that of the noise, which is drawn anew wherever it is needed. "run": each run has
        masks of its own (see `of_run`).
    uniforms : dict of str to np.ndarray [shape=(sum of lengths,)]
        Per modality, test samples end to end in the order of the store; ``KIND.MODALITY`` of a kind that has numbers of
        its own.
    provenance : dict
    """

    conditions: list[Condition]
    seed: int | str
    uniforms: dict[str, np.ndarray]
    provenance: dict

    def of_run(self, seed: int, store: Store, settings: Settings, spans: Mapping[str, np.ndarray] | None) -> "Plan":
        """Return the plan of a run: itself, unless each run has masks of its own, which are then drawn.

        Parameters
        ----------
        seed : int
            Of the run.
        settings, spans
            See `draw`.
        """
        if self.seed != "run":
            return self
        return replace(self, seed=seed, uniforms=draw(store, settings, spans, seed=seed)[1])

    def shared(self, store: Store, fold: int) -> dict[str, np.ndarray]:
        """Return the numbers of the test samples of a fold that most kinds share, by modality."""
        return self._of({name: values for name, values in self.uniforms.items() if "." not in name}, store, fold)

    def numbers(self, kind: Kind, store: Store, fold: int) -> dict[str, np.ndarray]:
        """Return the numbers that decide what a kind takes from the test samples of a fold, by modality."""
        start = f"{kind.name}."
        own = {name.removeprefix(start): v for name, v in self.uniforms.items() if name.startswith(start)}
        return self._of(own, store, fold) if own else self.shared(store, fold)

    def of_levels(self) -> list[Condition]:
        """Return the conditions of the first kind that takes from all modalities alike, at several levels."""
        of = [condition for condition in self.conditions if not condition.rates]
        found = [condition for condition in of if condition.kind.level and not condition.kind.sets]
        return [condition for condition in found if condition.kind is found[0].kind]

    def emptied(self, store: Store, fold: int, settings: Settings) -> dict[Condition, np.ndarray]:
        """Find the test samples of a fold of which nothing is left, of any modality of the dataset.

        No frame or vector is left that was observed, and no token but [CLS] and [SEP]. What a method predicts from such
        a sample is a constant, whatever it has learnt. Noise leaves something in its place.

        Parameters
        ----------
        store : Store
        fold : int
            0 without folds.
        settings : Settings
            Those of the plan.

        Returns
        -------
        empty : dict of Condition to np.ndarray [shape=(N,), dtype=bool]
            Of test samples in the order of the store.
        """
        rows = store.rows("test", fold)
        samples, found = _samples(store, rows), {}
        tells = {name: _tells(_sequences(store, name), rows) for name in samples.present}
        for kind in dict.fromkeys(condition.kind for condition in self.conditions):
            numbers = self.numbers(kind, store, fold)
            lasting = {name: _largest(values, tells[name], samples, name) for name, values in numbers.items()}
            for condition in (each for each in self.conditions if each.kind is kind):
                rates, of = np.zeros(len(MODALITIES)), lasting
                if not kind.disguised:
                    how = Draw(0, "test")  # the numbers are drawn
                    drawn = kind.test(condition, samples, how, numbers, getattr(settings, kind.name))
                    rates = drawn.rates
                    if drawn.numbers is not numbers:
                        of = {n: _largest(values, tells[n], samples, n) for n, values in drawn.numbers.items()}
                rates = np.broadcast_to(rates, (len(samples), len(MODALITIES)))
                lost = [
                    missing(of[name], rates[:, MODALITIES.index(name)])
                    | (rates[:, MODALITIES.index(name)] >= 1)
                    | (of[name] < 0)
                    for name in samples.present
                ]
                found[condition] = np.all(lost, axis=0) if lost else np.ones(len(samples), bool)
        return found

    @staticmethod
    def _of(numbers: dict[str, np.ndarray], store: Store, fold: int) -> dict[str, np.ndarray]:
        if not fold:
            return numbers
        rows = np.isin(_tested(store), store.rows("test", fold))
        return {name: values[np.repeat(rows, _lengths(store, name))] for name, values in numbers.items()}


def _tested(store: Store) -> np.ndarray:
    """Rows that are test samples, of any fold."""
    columns = split_columns(store.samples)
    return np.flatnonzero((store.samples[columns] == "test").any(axis=1).to_numpy())


def _sequences(store: Store, modality: str) -> Sequences:
    """Sequences of a modality; text is as long in vectors as in tokens."""
    return store.modalities[modality if modality in store.modalities else f"{modality}_features"]


def _lengths(store: Store, modality: str) -> np.ndarray:
    """Lengths of the test samples."""
    return _sequences(store, modality).lengths[_tested(store)]


def draw(
    store: Store, settings: Settings, spans: Mapping[str, np.ndarray] | None = None, *, seed: int | None = None
) -> tuple[list[Condition], dict[str, np.ndarray]]:
    """Draw the test corruption of a dataset: its conditions, and the numbers of the ``Plan``.

    Parameters
    ----------
    spans : mapping of str to np.ndarray, optional
        Frames of each text token (see ``features.align``): needed for kinds that are ``timed`` only.
    seed : int, optional
        Of the run, where each run has masks of its own; without it, nothing is drawn then.
    """
    key = settings.seed if seed is None else seed
    if key == "run":
        return conditions(settings, store.present), {}
    samples = _samples(store, _tested(store), spans)
    how = Draw(key, "test", key if settings.masks == "shared" else None)
    drawn = how.uniforms(samples)
    for kind in tested(settings):
        own = kind.numbers(samples, how, getattr(settings, kind.name)) or {}
        drawn |= {f"{kind.name}.{name}": values for name, values in own.items()}
    return conditions(settings, store.present), drawn


def _samples(store: Store, rows: np.ndarray, spans: Mapping[str, np.ndarray] | None = None) -> Samples:
    named = {name: _sequences(store, name) for name in store.present}
    return Samples(
        ids=store.samples["id"].to_numpy()[rows],
        lengths={name: sequences.lengths[rows] for name, sequences in named.items()},
        padded={name: sequences.header.length for name, sequences in named.items()},
        widths={name: 0 if sequences.values.ndim == 1 else sequences.width for name, sequences in named.items()},
        ends="text" in store.modalities,
        origin=Origin(store, rows, spans),
    )


def _tells(sequences: Sequences, rows: np.ndarray) -> np.ndarray:
    """Return which positions of some samples tell something: observed frames, and tokens but [CLS] and [SEP]."""
    if sequences.values.ndim > 1:
        return np.concatenate([~np.isnan(block).any(1) for block in sequences.blocks(rows)] or [np.zeros(0, bool)])
    lengths = sequences.lengths[rows]
    ends = np.cumsum(lengths)
    tells, some = np.ones(lengths.sum(), bool), lengths > 0
    tells[(ends - lengths)[some]] = tells[ends[some] - 1] = False
    return tells


def bare(store: Store, fold: int) -> np.ndarray:
    """Find the test samples of a fold that have nothing to begin with, of any modality (see `Plan.emptied`)."""
    rows = store.rows("test", fold)
    samples = _samples(store, rows)
    lost = [
        _largest(
            np.zeros(samples.lengths[name].sum(), np.float32), _tells(_sequences(store, name), rows), samples, name
        )
        < 0
        for name in samples.present
    ]
    return np.all(lost, axis=0) if lost else np.ones(len(samples), bool)


def _largest(numbers: np.ndarray, tells: np.ndarray, samples: Samples, modality: str) -> np.ndarray:
    """Return the largest number of each sample at a position that tells something [shape=(N,)]; -1 without one.

    A position is lost where its number lies below the rate, so that the largest decides whether one is left.
    """
    found, some = np.full(len(samples), -1.0, np.float32), samples.lengths[modality] > 0
    if some.any():
        starts = samples.bounds(modality)[:-1][some]
        found[some] = np.maximum.reduceat(np.where(tells, numbers, np.float32(-1)), starts)
    return found


def write(
    store: Store,
    settings: Settings,
    draws: Path,
    description: Path,
    provenance: dict,
    spans: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Draw the test corruption of a dataset and write it; last the draws, which carry the provenance of both."""
    listed, drawn = draw(store, settings, spans)
    document = {"seed": settings.seed, "conditions": [_described(condition) for condition in listed]}
    with replacing(description) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    write_tensors(draws, drawn, provenance)


def _described(condition: Condition) -> dict:
    """Write a condition as JSON; rates only where each modality has its own."""
    return {name: value for name, value in asdict(condition).items() if name != "rates" or value}


def read(draws: Path, description: Path) -> Plan:
    """Read what `write` wrote."""
    uniform, provenance = read_tensors(draws)
    document = json.loads(description.read_text(encoding="utf-8"))
    listed = [
        Condition(each["corruption"], each["level"], tuple(each["modalities"]), tuple(each.get("rates", ())))
        for each in document["conditions"]
    ]
    return Plan(listed, document["seed"], uniform, provenance)
