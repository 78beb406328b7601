"""What a kind of corruption is. Each file of ``corruption/kinds/`` defines one; no other file names it.

A kind says what it is called in the params, under which conditions the test split is seen, what it draws at test and in
training, how its conditions are summarised, and its words in tables, plots and the page. What is drawn is a pure
function of (seed, stream, sample, modality), so that it does not depend on batches, order, device or other samples.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from elision.corruption import kinds as folder
from elision.corruption.missing import RATES, generators, legacy_uniforms, rates_of, subsets, uniforms
from elision.task import MODALITIES

if TYPE_CHECKING:
    from elision.store import Store


@dataclass(frozen=True)
class Condition:
    """One way in which the test split is corrupted.

    Attributes
    ----------
    corruption : str
        One of the ``corruptions`` of a kind.
    level : float
        The missing rate, or the intensity of noise; 1 for modalities that are absent, 0 where nothing is missing.
    modalities : tuple of str
        The modalities that lose something, or that are absent as a whole; empty when nothing is missing.
    rates : tuple of float
        The missing rate of each of ``modalities``, where each has its own: the level is their mean.
    """

    corruption: str
    level: float
    modalities: tuple[str, ...]
    rates: tuple[float, ...] = ()

    @property
    def kind(self) -> "Kind":
        """The kind that draws what is missing."""
        return kind_of(self.corruption).source

    @property
    def which(self) -> str:
        """The modalities, with their rates where each has its own: ``text+audio``, ``text 0.8+audio 0.2``."""
        rates = [f" {rate:g}" for rate in self.rates] or [""] * len(self.modalities)
        return "+".join(f"{name}{rate}" for name, rate in zip(self.modalities, rates, strict=True))


@dataclass(frozen=True, eq=False)
class Origin:
    """The rows of a store that samples are: for a kind that asks when a position is heard or seen.

    Attributes
    ----------
    store : Store
    rows : np.ndarray [shape=(N,)]
    spans : mapping of str to np.ndarray, or None
        Frames of each text token of all rows (see ``features.align``); None: tokens have no time.
    """

    store: "Store"
    rows: np.ndarray
    spans: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Samples:
    """The samples of a split, as far as a draw depends on them.

    Attributes
    ----------
    ids : np.ndarray [shape=(N,)]
    lengths : dict of str to np.ndarray [shape=(N,)]
        Of each modality, in tokens or frames.
    padded : dict of str to int
        Length to which batches, or the file that they come from, pad each modality.
    widths : dict of str to int
        Values in a frame of each modality; 0 of token ids.
    ends : bool
        The text was tokenised: its first and last position, [CLS] and [SEP], are never missing at a rate below 1.
    origin : Origin or None
    """

    ids: np.ndarray
    lengths: dict[str, np.ndarray]
    padded: dict[str, int]
    widths: dict[str, int]
    ends: bool
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def present(self) -> tuple[str, ...]:
        """The modalities that some sample has."""
        return tuple(name for name in MODALITIES if name in self.lengths and self.lengths[name].any())

    def keeps_ends(self, modality: str) -> bool:
        """Return whether the first and the last position of a modality are never missing at a rate below 1."""
        return modality == "text" and self.ends

    def inner(self, modality: str) -> np.ndarray:
        """Return how many positions of each sample can be missing at a rate below 1 [shape=(N,)]."""
        lengths = self.lengths[modality]
        return np.maximum(lengths - 2, 0) if self.keeps_ends(modality) else lengths

    def with_ends(self, numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give the first and last position of the samples of some modalities 1 in place: below 1 they are kept."""
        for name in filter(self.keeps_ends, numbers):
            bounds, some = self.bounds(name), self.lengths[name] > 0
            numbers[name][bounds[:-1][some]] = numbers[name][bounds[1:][some] - 1] = 1.0
        return numbers

    def bounds(self, modality: str) -> np.ndarray:
        """Return where each sample begins and the last one ends, of samples end to end [shape=(N + 1,)]."""
        return np.concatenate([[0], np.cumsum(self.lengths[modality])])


@dataclass(frozen=True)
class Draw:
    """How numbers are drawn.

    Attributes
    ----------
    seed : int
    stream : str
        Sets draws apart: ``test``, ``train 3`` (epoch 3), ...
    shared : int or None
        Seed of one array of numbers for all modalities, splits and runs (``masks: shared``); None: each sample and
        modality has numbers of its own.
    """

    seed: int
    stream: str
    shared: int | None = None

    def uniforms(self, samples: Samples) -> dict[str, np.ndarray]:
        """Draw one uniform number per position of each modality [shape=(sum of lengths,)]."""
        drawn = {}
        for name, lengths in samples.lengths.items():
            ends = samples.keeps_ends(name)
            if self.shared is None:
                drawn[name] = uniforms(
                    seed=self.seed,
                    stream=self.stream,
                    ids=samples.ids,
                    modality=name,
                    lengths=lengths,
                    keep_ends=ends,
                )
            else:
                padded = samples.padded[name]
                drawn[name] = legacy_uniforms(seed=self.shared, lengths=lengths, padded=padded, keep_ends=ends)
        return drawn


@dataclass(frozen=True)
class Noise:
    """Noise of one modality of a split, in place of what is missing.

    Attributes
    ----------
    values : np.ndarray [shape=(sum of lengths, d), dtype=float32]
        Zero for samples that keep the modality.
    left : np.ndarray [shape=(N,), dtype=float32]
        Share of the variance of each sample's signal that is left.
    per_batch : bool
        The first sample of a batch decides for all.
    scaled : bool
        The values are in deviations of the feature over the training split, from its mean; otherwise in its unit.
    """

    values: np.ndarray
    left: np.ndarray
    per_batch: bool
    scaled: bool = True


@dataclass(frozen=True)
class Drawn:
    """What a corruption does to a split.

    Attributes
    ----------
    rates : np.ndarray [shape=(N, 3) or (3,)]
        Missing rate of text, audio and vision. At rate 1 nothing is left but [CLS] and [SEP] of token ids.
    numbers : dict of str to np.ndarray [shape=(sum of lengths,)]
        A position is missing where its number lies below the rate.
    noise : dict of str to Noise
        What stands in place of what is missing; a modality without it is zero, and token ids are [UNK].
    """

    rates: np.ndarray
    numbers: dict[str, np.ndarray]
    noise: Mapping[str, Noise] = field(default_factory=dict)


def whole(samples: Samples, rates: np.ndarray) -> Drawn:
    """Take modalities away as a whole: where a rate is 0 or 1, no position needs a number of its own."""
    numbers = {name: np.zeros(lengths.sum(), np.float32) for name, lengths in samples.lengths.items()}
    return Drawn(rates, samples.with_ends(numbers))


def each_absence(samples: Samples, *, complete: bool) -> list[Drawn]:
    """Take away every set of modalities that can be absent, the empty one if ``complete``; nothing, if none can."""
    absences = (subset for subset in subsets(samples.present) if subset or complete)
    return [whole(samples, of_modalities(absent, 1.0).astype(np.float32)) for absent in absences]


def of_modalities(named: Sequence[str], rate: float, others: float = 0.0) -> np.ndarray:
    """Return one rate for the modalities named, and another for the others [shape=(3,)]."""
    return np.array([rate if name in named else others for name in MODALITIES])


def vector(rate: float | Mapping[str, float]) -> np.ndarray:
    """Return the missing rates of text, audio and vision, of one rate or of one for each [shape=(3,)]."""
    return np.array([rate[name] if isinstance(rate, Mapping) else rate for name in MODALITIES], np.float64)


def at_rates(name: str, rates: Sequence[float | Mapping[str, float]], present: Sequence[str]) -> list[Condition]:
    """List a condition of a corruption per rate; of rates of single modalities, those that the dataset has count."""
    listed: dict[Condition, None] = {}
    for rate in rates:
        if not isinstance(rate, Mapping):
            listed[Condition(name, rate, tuple(present) if rate else ())] = None
        elif lost := {modality: rate[modality] for modality in present if rate[modality]}:
            mean = sum(lost.values()) / len(present)
            listed[Condition(name + IMBALANCED, mean, tuple(lost), tuple(lost.values()))] = None
    return list(listed)


class Kind:
    """A kind of corruption: the base class of those in ``corruption/kinds/``.

    A kind that is never tested has no ``setting``; one that is never trained on has no ``training``.

    Attributes
    ----------
    name : str
        The name of its file, of its setting in the section ``corruption``, and of ``train.corruption``.
    rank : int
        Its place among the kinds: the first that was tested ranks the methods.
    setting : tuple of (type, default, description)
        Its entry in the section ``corruption`` of the params. Where the default is None, the protocol decides, and
        what the protocol leaves open is not tested.
    training : str
        What it does in training, for the description of ``train.corruption``.
    corruptions : dict of str to str
        What it calls itself in the column ``corruption`` of predictions, and in words; most kinds have one.
    caption : str
        Heading of its table and of its plots.
    section : str
        Heading of its section of the page; by default the caption.
    plot : str
        Title of its interactive plots; by default the caption. ``{}`` is the corruption in words.
    names : dict of str to str
        Names of files of its tables and figures, by what they show, where they are not made from the name of the kind.
    always : bool
        Its tables and figures are there, too, where nothing was tested under it.
    level : str
        What the level of a condition is on axes, its sign last; empty where conditions differ in modalities alone.
    column : str
        The level as a column of tables.
    sets : str
        What is said of the modalities of a condition, "absent" or "noisy"; empty where all lose alike.
    others : str
        What is said of the other modalities, "present" or "clean".
    condition : str
        What one of its conditions is called, as in "mean over 10 missing rates"; ``{}`` is the corruption in words.
    about : str
        One sentence for the page and the docs: what it does, and whose it is.
    reading : tuple of (str, str)
        Heading and text of what the page says on how to read it; by default the caption and ``about``.
    disguised : bool
        What stands in place of what is lost looks like data: tables say which methods are told what is lost.
    summaries : tuple of str
        How intervals summarise its conditions: ``mean``, and ``area`` under the metric over the levels.
    training_rates : tuple of float
        Missing rates that training draws from where the params name none; empty: training has no rates to choose.
    imbalanced : bool
        Whether a rate may be one for each modality. Such conditions have tables of their own: see `Imbalanced`.
    timed : bool
        Whether it asks when a position is heard or seen: see `Origin`.
    measured : mapping of str to str
        What is measured of the test samples under its conditions, and what each measurement is, with its unit.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    setting: ClassVar[tuple[Any, Any, str] | None] = None
    training: ClassVar[str] = ""
    corruptions: ClassVar[dict[str, str]] = {}
    caption: ClassVar[str] = ""
    section: ClassVar[str] = ""
    plot: ClassVar[str] = ""
    names: ClassVar[dict[str, str]] = {}
    always: ClassVar[bool] = False
    level: ClassVar[str] = "missing rate r"
    column: ClassVar[str] = "level"
    sets: ClassVar[str] = ""
    others: ClassVar[str] = ""
    condition: ClassVar[str] = "condition"
    about: ClassVar[str] = ""
    reading: ClassVar[tuple[str, str] | None] = None
    disguised: ClassVar[bool] = False
    summaries: ClassVar[tuple[str, ...]] = ()
    training_rates: ClassVar[tuple[float, ...]] = ()
    imbalanced: ClassVar[bool] = False
    timed: ClassVar[bool] = False
    measured: ClassVar[Mapping[str, str]] = {}

    def parts(self) -> "list[Kind]":
        """Return the kinds that stand beside it in tables and plots, where its conditions are not of one sort."""
        return [Imbalanced(self)] if self.imbalanced and self.setting else []

    @property
    def heading(self) -> str:
        """The heading of its section of the page, and the name of its tab."""
        return self.section or self.caption

    @property
    def source(self) -> "Kind":
        """The kind that draws what is missing under its conditions."""
        return self

    # --- test

    def conditions(self, setting: Any, present: tuple[str, ...]) -> list[Condition]:
        """List the conditions of a dataset that has the modalities ``present``; none where ``setting`` is empty."""
        return []

    def rates(self, condition: Condition) -> np.ndarray:
        """Return the missing rates of text, audio and vision under a condition [shape=(3,)]."""
        if not condition.rates:
            return of_modalities(condition.modalities, condition.level)
        return vector(dict.fromkeys(MODALITIES, 0.0) | dict(zip(condition.modalities, condition.rates, strict=True)))

    def numbers(self, samples: Samples, draw: Draw, setting: Any) -> dict[str, np.ndarray] | None:
        """Draw the numbers of the test split that decide what is missing; None: those that most kinds share."""
        return None

    def test(
        self, condition: Condition, samples: Samples, draw: Draw, numbers: dict[str, np.ndarray], setting: Any
    ) -> Drawn:
        """Say what a condition does to the test split.

        Parameters
        ----------
        numbers : dict of str to np.ndarray [shape=(sum of lengths,)]
            What `numbers` drew, or the shared ones.
        """
        return Drawn(self.rates(condition), numbers)

    def describe(self, condition: Condition) -> str:
        """Say in words what is missing, as in "50 % of text, audio"."""
        if condition.rates:
            pairs = zip(condition.rates, condition.modalities, strict=True)
            return ", ".join(f"{100 * rate:g} % of {name}" for rate, name in pairs)
        names = ", ".join(condition.modalities)
        return f"{100 * condition.level:g} % of {names}" if names else "nothing"

    # --- training

    def trained_with(self, setting: Any) -> Any:
        """Return the part of the setting that training reads, as a JSON value."""
        return None

    def train(self, samples: Samples, draw: Draw, setting: Any, options: Any) -> Drawn | None:
        """Draw what the training split loses in an epoch; None: nothing.

        Parameters
        ----------
        options : TrainingHyperparameters
            Of the method that is trained.
        """
        raise NotImplementedError(f"{self.name} has no training corruption")

    def validate(self, samples: Samples, draw: Draw, setting: Any, options: Any) -> Sequence[Drawn | None]:
        """Draw what the validation split is seen under: by default one draw of the training corruption."""
        return [self.train(samples, draw, setting, options)]

    def at(self, rates: np.ndarray, samples: Samples, draw: Draw, setting: Any) -> Drawn:
        """Draw what is missing at given rates, of all samples [shape=(3,)] or of each [shape=(N, 3)]."""
        return Drawn(rates, self.numbers(samples, draw, setting) or draw.uniforms(samples))


class Pattern(Kind):
    """A kind under which tokens and frames are missing at a rate: all that is its own is which go missing together.

    Its setting is a list of rates, or a section with ``rates``. Training draws one of its rates for each sample.
    """

    condition = "missing rate"
    summaries = ("mean", "area")
    training_rates = RATES
    imbalanced = True

    def sequence(self, random: np.random.Generator, length: int, setting: Any) -> np.ndarray:
        """Draw the numbers of the positions of one sequence [shape=(length,)].

        A position is missing where its number lies below the rate: so what is missing at one rate is missing at every
        higher rate. Numbers lie in [0, 1).
        """
        raise NotImplementedError(f"{self.name}: define sequence")

    def conditions(self, setting: Any, present: tuple[str, ...]) -> list[Condition]:
        """List a condition per rate."""
        return at_rates(self.name, getattr(setting, "rates", setting) or (), present)

    def numbers(self, samples: Samples, draw: Draw, setting: Any) -> dict[str, np.ndarray] | None:
        """Draw each sequence by itself; of a tokenised text, what lies between [CLS] and [SEP]."""
        drawn = {}
        for name, lengths in samples.lengths.items():
            parts = np.zeros(lengths.sum())
            first = int(samples.keeps_ends(name))
            randoms = generators(draw.seed, draw.stream, self.name, name, names=samples.ids)
            for random, start, length in zip(randoms, samples.bounds(name), samples.inner(name), strict=False):
                if length:
                    begin = start + first
                    parts[begin : begin + length] = self.sequence(random, int(length), setting)
            drawn[name] = parts
        return samples.with_ends(drawn)

    def train(self, samples: Samples, draw: Draw, setting: Any, options: Any) -> Drawn:
        """Draw a rate for each sample, and what is missing at that rate."""
        chosen = np.stack([vector(rate) for rate in options.rates or self.training_rates])
        rates = rates_of(chosen, seed=draw.seed, stream=draw.stream, ids=samples.ids)
        return self.at(rates, samples, draw, setting)


IMBALANCED = "_imbalanced"  # ends the name of what a kind is called where each modality has a rate of its own


class Imbalanced(Kind):
    """The conditions of a kind in which each modality has a rate of its own, as far as tables and plots show them.

    They have no common level, so that they are no part of means and areas over missing rates.
    """

    level = ""

    def __init__(self, source: Kind) -> None:
        self._source = source
        (words,) = source.corruptions.values()
        name = source.name + IMBALANCED
        # What other kinds say in their class: there is one such kind for each kind that can be imbalanced.
        vars(self).update(
            name=name,
            rank=source.rank,
            corruptions={name: f"{words}, a rate for each modality"},
            caption=f"{source.caption}, a rate for each modality",
            about=f"{source.about.split('. ')[0].rstrip('.')}. Each modality has its own rate.",
        )

    @property
    def source(self) -> Kind:
        """The kind that draws what is missing."""
        return self._source


@cache
def kinds() -> dict[str, Kind]:
    """Return all kinds by name, in the order of their ranks.

    Raises
    ------
    ValueError
        If a file does not define the kind of its name, or two kinds share a rank or the name of a corruption.
    """
    found: list[Kind] = []
    for info in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"elision.corruption.kinds.{info.name}")
        classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Kind)]
        own = [cls for cls in classes if cls.__module__ == module.__name__ and vars(cls).get("name") == info.name]
        if len(own) != 1:
            raise ValueError(f"{module.__file__}: must define one Kind with name = {info.name!r}")
        found.append(own[0]())
    found.sort(key=lambda kind: kind.rank)
    for words in ([str(kind.rank) for kind in found], [word for kind in found for word in kind.corruptions]):
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"{folder.__path__[0]}: two kinds have the rank or the corruption {twice[0]!r}")
    return {each.name: each for kind in found for each in (kind, *kind.parts())}


@cache
def kind_of(corruption: str) -> Kind:
    """Return the kind of a corruption, as the column ``corruption`` of predictions names it.

    Raises
    ------
    KeyError
        If no kind has it.
    """
    return {word: kind for kind in kinds().values() for word in kind.corruptions}[corruption]
