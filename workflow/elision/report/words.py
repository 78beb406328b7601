"""The words of conditions in tables, figures and on the page, from the kinds of corruption."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations

from elision.corruption.kind import Kind, kind_of, kinds
from elision.errors import plural
from elision.report.results import Asked
from elision.task import MODALITIES

# Sets of modalities, in the order in which tables and plots show them; all modalities can be noisy, but not absent.
SETS = ["+".join(subset) for size in (1, 2, 3) for subset in combinations(MODALITIES, size)]


def of_shape(*, levels: bool, sets: bool) -> list[Kind]:
    """Return the kinds that are tested at levels, under sets of modalities, at levels under each set, or neither."""
    found = (kind for kind in kinds().values() if kind.corruptions)
    return [kind for kind in found if (bool(kind.level), bool(kind.sets)) == (levels, sets)]


def corruptions(*, levels: bool, sets: bool) -> list[str]:
    """Return the corruptions of the kinds of a shape, as the column ``corruption`` has them."""
    return [name for kind in of_shape(levels=levels, sets=sets) for name in kind.corruptions]


def is_first(kind: Kind) -> bool:
    """Return whether a kind is the first of its shape; captions and columns need not say its name."""
    return kind is of_shape(levels=bool(kind.level), sets=bool(kind.sets))[0]


def about(kind: Kind, text: str) -> str:
    """Return a caption, which says the kind that it is about if this is not the first of its shape."""
    return text if is_first(kind) else f"{kind.caption}: {text}"


def sign(kind: Kind) -> str:
    """Return the sign of the levels of a kind, as in "r"."""
    return kind.level.split()[-1]


def named(corruption: str) -> str:
    """Return a corruption in words; where its kind has several, each is a heading."""
    kind = kind_of(corruption)
    text = kind.corruptions[corruption]
    return text if len(kind.corruptions) == 1 else text[0].upper() + text[1:]


def counted(corruption: str, count: int) -> str:
    """Count what a ranking is over, as in "10 missing rates"."""
    kind = kind_of(corruption)
    return plural(count, kind.condition.format(kind.corruptions[corruption]))


def of_set(kind: Kind, modalities: str, count: int = 0, *, present: Iterable[str] = MODALITIES) -> str:
    """Return a set of modalities in words, as in "text absent (audio and vision present)".

    Parameters
    ----------
    kind : Kind
    modalities : str
        As in the column ``modalities``; ``none`` is no modality, and ``mean`` the mean over sets.
    count : int
        How many sets the mean is over.
    present : iterable of str
        The modalities that the dataset has (see `present`).
    """
    if modalities == "mean":
        return f"mean over the {plural(count, 'set')} of {kind.sets} modalities"
    named = [] if modalities == "none" else modalities.split("+")
    others = [name for name in present if name not in named]
    text = f"{listed(named) or 'nothing'} {kind.sets}"
    return f"{text} ({listed(others)} {kind.others})" if others else text


def listed(names: Sequence[str]) -> str:
    """Join names as in "text, audio and vision"."""
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def present(sets: Iterable[str]) -> list[str]:
    """Return the modalities that a dataset has, from the sets that it was tested under."""
    used = {name for modalities in sets for name in str(modalities).split("+")}
    return [name for name in MODALITIES if name in used]


def label(corruption: str, part: str = "") -> str:
    """Return the value of the column ``condition`` of a corruption, or of a ``part``: a set, ``mean`` or ``area``."""
    return (part if is_first(kind_of(corruption)) else f"{corruption}: {part}") if part else corruption


def summary(name: str, corruption: str) -> str:
    """Return the value of the column ``condition`` of a summary, ``mean`` or ``area``, over all of a corruption."""
    return label(corruption, "" if name == "mean" and kind_of(corruption).level else name)


@cache
def conditions() -> Mapping[str, tuple[str, str]]:
    """Return the values of the column ``condition`` in their order, with the corruption and the part of each."""
    found = [(name, "") for kind in kinds().values() if kind.level or not kind.sets for name in kind.corruptions]
    found += [(name, part) for name in corruptions(levels=False, sets=True) for part in ("none", *SETS, "mean")]
    found += [(name, "area") for name in corruptions(levels=True, sets=False)]
    return {label(*pair): pair for pair in found}


def title(condition: str, count: int, *, present: Iterable[str] = MODALITIES) -> str:
    """Return a value of the column ``condition`` in words.

    Parameters
    ----------
    condition : str
    count : int
        Of how many conditions its numbers are made.
    present : iterable of str
        See `of_set`.
    """
    corruption, part = conditions()[condition]
    kind = kind_of(corruption)
    if not part:
        return f"{named(corruption)}, mean over {plural(count, 'condition' if kind.sets else unit(kind))}"
    text = f"area over the {kind.condition}s (AUILC)" if part == "area" else of_set(kind, part, count, present=present)
    return text if is_first(kind) else f"{named(corruption)}, {text}"


def unit(kind: Kind) -> str:
    """Return what a level of a kind is called in short, as in "rate"."""
    return kind.condition.split()[-1]


def one_condition(corruption: str, level: float, modalities: str, *, present: Iterable[str] = MODALITIES) -> str:
    """Return a single condition in words; ``present`` as of `of_set`."""
    kind = kind_of(corruption)
    parts = [named(corruption)] if kind.level or not kind.sets else []
    parts += [f"{sign(kind)} = {level:g}"] if kind.level else []
    parts += [modalities.replace("+", ", ")] if not (kind.level or kind.sets) else []
    parts += [of_set(kind, modalities, present=present)] if kind.sets else []
    return ", ".join(parts)


def average(corruption: str, level: float, count: int) -> str:
    """Return in words the mean over the levels of a corruption, or over the sets at a level."""
    kind = kind_of(corruption)
    if not kind.sets:
        return title(corruption, count)
    at = f"{named(corruption)}, {sign(kind)} = {level:g}, " if kind.level else ""
    return at + of_set(kind, "mean", count)


class OfKind:
    """A table or a figure of which each kind of corruption of a shape has its own.

    Attributes
    ----------
    levels, sets : bool
        The shape: see ``of_shape``.
    part : str
        What it shows of the kind: part of its name, unless ``Kind.names`` has another. The main table has none.
    number : int
        Its place in the section of the kind.
    """

    levels: bool
    sets: bool
    part: str = ""
    number: int

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.names.get(self.part, f"{kind.name}_{self.part}".strip("_"))
        self.section = kind.heading
        self.place = (kind.rank, self.number)

    @classmethod
    def each(cls) -> list:
        """Make one for each kind of the shape."""
        return [cls(kind) for kind in of_shape(levels=cls.levels, sets=cls.sets)]

    def applies(self, asked: Iterable[Asked]) -> bool:
        """Return whether the kind is tested, or is always shown."""
        return self.kind.always or any(self.kind.name in each.kinds for each in asked)
