"""What a kind of corruption of a clip is. Each file of ``corruption/media/`` defines one; no other file names it.

The kinds of ``corruption/kinds/`` corrupt features. Those here corrupt the clip: its sound, its pictures or its
words. The features of what is corrupted are then extracted again, and a trained model is tested on them. A severity
is a number from 0 to 5: 0 is the clean clip, to the bit, and a kind says what it does at the five others
(``levels``). What is drawn is a pure function of (seed, kind, clip), and not of the severity: where it is meaningful,
a stronger corruption holds the weaker one (the same noise scaled, the same part of the face hidden and more).
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel

from elision.corruption import media as folder
from elision.corruption.missing import generator

Medium = Literal["sound", "picture", "words"]
Box = tuple[float, float, float, float]
SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Clip:
    """The clip that is corrupted, and what a kind may ask beside the signal that it is given.

    Attributes
    ----------
    id : str
    seed : int
        Seed of the corruption.
    sound : callable
        From a sampling rate in Hz to the clean mono sound [shape=(n,), dtype=float32]; None without an audio track.
    others : callable
        From a sampling rate in Hz to an iterator over the clean sounds of other clips of the split, in an order that is
        drawn for this clip.
    face : callable
        From a second to the box of the face in the clean clip, as ``(left, top, right, bottom)`` in shares of the width
        and the height; None where no face was found.
    """

    id: str
    seed: int
    sound: Callable[[int], np.ndarray | None] = lambda rate: None
    others: Callable[[int], Iterator[np.ndarray]] = lambda rate: iter(())
    face: Callable[[Fraction], Box | None] = lambda second: None

    def random(self, *key: int | str) -> np.random.Generator:
        """Return the generator that belongs to this clip, its seed and a key, such as the name of a kind."""
        return generator(self.seed, "media", *key, self.id)


class MediaKind:
    """A kind of corruption of clips: the base class of `SoundKind`, `PictureKind` and `WordsKind`.

    Attributes
    ----------
    name : str
        The name of its file, and of its entry in ``corruption.media``.
    medium : str
        ``sound``, ``picture`` or ``words``: what is corrupted.
    levels : tuple of five float
        What severities 1 to 5 are, in ``unit``: from mild to strong.
    names : tuple of five str, or of none
        What severities 1 to 5 are called, where a number does not say it: "Opus, 12 kbit/s".
    unit : str
        Unit of the levels, such as ``dB``; empty for a plain number.
    caption : str
        What it is called in tables and plots: "White noise".
    level : str
        What the level is on axes: "signal-to-noise ratio".
    about : str
        One sentence for the page and the docs: what it does, and whose it is.
    measured : mapping of str to str
        Measurements of a corrupted clip that `corrupt` returns, and what they are, with their unit. A value is nan
        where there is nothing to measure, such as the signal-to-noise ratio of a silent clip.
    Options : type of BaseModel
        Its settings beside the severities; each has a default and a description.
    """

    name: ClassVar[str]
    medium: ClassVar[Medium]
    levels: ClassVar[tuple[float, float, float, float, float]]
    names: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = ""
    caption: ClassVar[str]
    level: ClassVar[str]
    about: ClassVar[str]
    measured: ClassVar[Mapping[str, str]] = {}

    class Options(BaseModel, extra="forbid"):
        """No settings beside the severities."""

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options = self.Options() if options is None else options

    def level_of(self, severity: int) -> float:
        """Return what a severity from 1 to 5 is, in the unit of the kind."""
        return self.levels[severity - 1]


class SoundKind(MediaKind):
    """A kind that corrupts the sound of a clip."""

    medium = "sound"

    def corrupt(self, y: np.ndarray, rate: int, severity: int, clip: Clip) -> tuple[np.ndarray, dict[str, float]]:
        """Corrupt a sound.

        Parameters
        ----------
        y : np.ndarray [shape=(n,), dtype=float32]
            Mono sound, nominally in [-1, 1]; it is not written to.
        rate : int
            Hz.
        severity : int
            From 1 to 5.
        clip : Clip

        Returns
        -------
        y : np.ndarray [shape=(n,), dtype=float32]
            As long as what came in, and at the same times.
        measured : dict of str to float
            A value for each name of ``measured``.
        """
        raise NotImplementedError


class PictureKind(MediaKind):
    """A kind that corrupts the pictures of a clip."""

    medium = "picture"

    def corrupt(
        self, frames: Iterable[tuple[Fraction, np.ndarray]], severity: int, clip: Clip, measured: dict[str, float]
    ) -> Iterator[tuple[Fraction, np.ndarray]]:
        """Corrupt pictures as they come; a clip need not fit into memory.

        Parameters
        ----------
        frames : iterable of (Fraction, np.ndarray [shape=(height, width, 3), dtype=uint8])
            Second and RGB picture of each frame, as ``features.media.read_frames`` yields them.
        severity : int
            From 1 to 5.
        clip : Clip
        measured : dict of str to float
            Takes a value for each name of ``measured``, at the latest when the last picture was yielded.

        Yields
        ------
        second, frame
            In the order of time; of the size of the first. A frame that is dropped is not yielded.
        """
        raise NotImplementedError


class WordsKind(MediaKind):
    """A kind that corrupts the words of a clip.

    Attributes
    ----------
    languages : tuple of str
        Scripts that it makes sense of: ``latin``, ``chinese``. Text of another script is refused.
    """

    medium = "words"
    languages: ClassVar[tuple[str, ...]] = ("latin",)

    def corrupt(self, text: str, severity: int, clip: Clip) -> tuple[str, dict[str, float]]:
        """Corrupt a transcript.

        Parameters
        ----------
        text : str
        severity : int
            From 1 to 5.
        clip : Clip

        Returns
        -------
        text : str
        measured : dict of str to float
            A value for each name of ``measured``.
        """
        raise NotImplementedError


@cache
def catalogue() -> dict[str, type[MediaKind]]:
    """Find the kinds of ``corruption/media/`` by the names of their files, which are the names of the kinds."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        if not module.name.startswith("_"):
            members = vars(importlib.import_module(f"{folder.__name__}.{module.name}")).values()
            found |= {
                each.name: each
                for each in members
                if isinstance(each, type) and issubclass(each, MediaKind) and vars(each).get("name") == module.name
            }
    return found
