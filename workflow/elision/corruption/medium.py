"""What a kind of corruption of a clip is. Each file of ``corruption/media/`` defines one; no other file names it.

The kinds of ``corruption/kinds/`` corrupt features. Those here corrupt the clip: its sound, its pictures or its
words. The features of what is corrupted are then extracted again, and a trained model is tested on them. A severity
is a number from 0 to 5: 0 is the clean clip, to the bit, and a kind says what it does at the five others
(``levels``). What is drawn is a pure function of (seed, kind, clip), and not of the severity: where it is meaningful,
a stronger corruption holds the weaker one (the same noise scaled, the same part of the face hidden and more).
"""

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elision.corruption import media as folder
from elision.corruption.missing import generator
from elision.settings.fields import Section, short, suggestion

Medium = Literal["sound", "picture", "words"]
Box = tuple[float, float, float, float]
SEVERITIES = (1, 2, 3, 4, 5)
Severity = Annotated[int, Field(ge=0, le=SEVERITIES[-1])]
MODALITY: dict[str, str] = {"sound": "audio", "picture": "vision", "words": "text"}  # that a medium is extracted to

# What is measured of every corrupted clip beside what its kind measures.
MEASURED: dict[str, dict[str, str]] = {
    "sound": {"distortion": "signal-to-distortion ratio, dB", "voiced": "share of voiced frames"},
    "picture": {"faces": "share of frames with a face"},
    "words": {"wer": "word error rate, in percent"},
}


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


@dataclass(frozen=True)
class Facts:
    """What a kind says of itself in the attributes of its class: see `MediaKind`."""

    name: str
    medium: Medium
    levels: tuple[float, ...]
    names: tuple[str, ...]
    unit: str
    caption: str
    level: str
    about: str
    measured: Mapping[str, str]

    @property
    def words(self) -> str:
        """What it is called within a sentence."""
        return self.caption[0].lower() + self.caption[1:] if self.caption[1:2].islower() else self.caption

    @property
    def all_measured(self) -> dict[str, str]:
        """What is measured of its clips: by the kind, and of every clip."""
        common = MEASURED[self.medium]
        return {**self.measured, **{name: what for name, what in common.items() if name not in self.measured}}

    def level_name(self, severity: int) -> str:
        """Return what a severity is, as in "5 dB"; nothing of severity 0."""
        if not severity:
            return "clean"
        if self.names:
            return self.names[severity - 1]
        text = f"{self.levels[severity - 1]:g}"
        return f"{text} {self.unit}".strip()


@cache
def names() -> tuple[str, ...]:
    """Return the names of all kinds: those of the files of ``corruption/media/``."""
    return tuple(sorted(each.name for each in pkgutil.iter_modules(folder.__path__) if not each.name.startswith("_")))


@cache
def facts(name: str) -> Facts:
    """Return what a kind says of itself, without the libraries that it computes with.

    The params, the planning of the workflow and the report ask for the facts, and have no decoders: the attributes are
    read from the file, where they are literals, or names of literals.

    Raises
    ------
    ValueError
        If the file does not define a kind of its name, or an attribute is missing or no literal.
    """
    found = {}
    for attribute in ("medium", "levels", "names", "unit", "caption", "level", "about", "measured"):
        try:
            found[attribute] = _literal(f"{folder.__name__}.{name}", name, attribute)
        except LookupError:
            raise ValueError(f"corruption/media/{name}.py: the class has no {attribute}; add it") from None
        except ValueError:
            raise ValueError(
                f"corruption/media/{name}.py: {attribute} is known only when the file runs; write it as a literal"
            ) from None
    return Facts(name, **found)


@cache
def _parsed(module: str) -> tuple[dict[str, ast.ClassDef], dict[str, ast.expr], dict[str, str]]:
    """Return the classes of a module, what it assigns, and the modules that its names come from, without running it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(module)
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    imported = {alias.asname or alias.name: node.module or "" for node in imports for alias in node.names}
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}, _assigned(tree), imported


def _assigned(node: ast.ClassDef | ast.Module) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for each in node.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            found |= {target.id: each.value for target in targets if isinstance(target, ast.Name)}
    return found


def _literal(module: str, name: str, attribute: str) -> Any:
    """Return an attribute of the class of a module that has a ``name``."""
    for cls, node in _parsed(module)[0].items():
        named = _assigned(node).get("name")
        if isinstance(named, ast.Constant) and named.value == name:
            return _of_class(module, cls, attribute)
    raise LookupError(name)


def _of_class(module: str, cls: str, attribute: str) -> Any:
    """Return an attribute of a class, or of the first of its bases that sets it."""
    classes, _, imported = _parsed(module)
    if cls not in classes:
        return _of_class(_ours(imported.get(cls, "")), cls, attribute)
    if attribute in (values := _assigned(classes[cls])):
        return _value(module, values[attribute])
    for base in classes[cls].bases:
        if isinstance(base, ast.Name):
            with suppress(LookupError):
                return _of_class(module, base.id, attribute)
    raise LookupError(attribute)


def _ours(module: str) -> str:
    if not module.startswith("elision.corruption"):
        raise LookupError(module)
    return module


def _value(module: str, node: ast.expr) -> Any:
    """Return the value of an expression of literals, names of literals and attributes of classes."""
    if isinstance(node, ast.Name):
        _, values, imported = _parsed(module)
        if node.id in values:
            return _value(module, values[node.id])
        return _value(_ours(imported.get(node.id, "")), node)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return _of_class(module, node.value.id, node.attr)
    if isinstance(node, ast.Dict):
        found: dict = {}
        for key, value in zip(node.keys, node.values, strict=True):
            found |= _value(module, value) if key is None else {_value(module, key): _value(module, value)}
        return found
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _value(module, node.left) | _value(module, node.right)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return "".join(str(_value(module, part)) for part in parts)
    return ast.literal_eval(node)


@cache
def kind(name: str) -> type[MediaKind]:
    """Import the class of a kind.

    Raises
    ------
    ValueError
        If the file does not define a kind of its name.
    """
    members = vars(importlib.import_module(f"elision.corruption.media.{name}")).values()
    for each in members:
        if isinstance(each, type) and issubclass(each, MediaKind) and vars(each).get("name") == name:
            return each
    raise ValueError(f"corruption/media/{name}.py: must define a MediaKind with name = {name!r}")


def known(name: str) -> str:
    """Return the name of a kind.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if name not in names():
        raise ValueError(f"unknown kind of corrupted media {name!r}; {suggestion(name, list(names()))}")
    return name


def made(name: str, options: Mapping[str, Any]) -> MediaKind:
    """Return a kind with its options.

    Raises
    ------
    ValueError
        If an option is unknown or wrong.
    """
    found = kind(name)
    try:
        return found(found.Options.model_validate(dict(options)))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key, why = ".".join(map(str, problem["loc"])), problem["msg"]
            if problem["type"] == "extra_forbidden":
                why = f"unknown key; {suggestion(key, list(found.Options.model_fields))}"
            lines.append(f"{name}.{key}: {why}")
        raise ValueError("\n".join(lines)) from None


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse wrong options of a kind, where the libraries of the kind are installed: not all steps have them.

    Raises
    ------
    ValueError
        See `made`.
    """
    with suppress(ImportError):
        if options:
            made(name, options)


class At(Section):
    """A severity of one kind. Options of the kind are further keys."""

    model_config = ConfigDict(extra="allow")

    severity: Severity = Field(description="how strong the corruption is: 0 (the clean clip), 1 (mild) to 5 (strong)")

    @model_validator(mode="before")
    @classmethod
    def _read_number(cls, value: Any) -> Any:
        if not isinstance(value, int | dict) or isinstance(value, bool):
            raise ValueError(f"found {short(value)}; give a severity from 1 to {SEVERITIES[-1]}")
        return {"severity": value} if isinstance(value, int) else value

    @property
    def options(self) -> dict[str, Any]:
        """The options of the kind that are set."""
        return dict(self.model_extra or {})


@cache
def catalogue() -> dict[str, type[MediaKind]]:
    """Import all kinds, by name."""
    return {name: kind(name) for name in names()}
