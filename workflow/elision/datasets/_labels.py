"""Labels as people write them: scores, names and numbers of classes, and cells that hold none."""

import logging
import math
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from elision.errors import plural
from elision.task import SPLITS, split_columns

if TYPE_CHECKING:
    import pandas as pd

    from elision.settings.params import DatasetSettings

# What spreadsheets and libraries write for a cell without a value, in lower case.
_NOTHING = frozenset(("", "nan", "none", "null", "na", "n/a", "<na>", "#n/a", "nat"))
LABELS_OF_ONE = ("label_text", "label_audio", "label_vision")  # labels of one modality alone
TOLERANCE = 1e-6  # of scores, which files hold as float32

Problem = tuple[list[int], str]  # rows of the table, and what is wrong with them

NO_POSITION = "is no number; write the place in the dialogue, or columns: {position: null} in params.yaml"
GIVE_LABELS = "write a label, or set skip_unlabelled: true to leave such samples out"

log = logging.getLogger(__name__)


def in_a_split(table: "pd.DataFrame") -> "pd.Series":
    """Tell which samples are in train, valid or test, of any fold; all, where the splits are not yet known."""
    import pandas as pd

    columns = split_columns(table)
    return table[columns].isin(SPLITS).any(axis=1) if columns else pd.Series(True, table.index)


def is_empty(cell: str, classes: Collection[str] = ()) -> bool:
    """Tell whether a cell holds no label: nothing, ``nan``, ``None``, ``N/A``, ..., unless a class has that name."""
    return cell.strip().lower() in _NOTHING and cell not in classes


def is_none(cell: object, classes: Collection[str] = ()) -> bool:
    """Tell whether what a file holds for a label is none: None, NaN, or an empty cell."""
    if isinstance(cell, bytes | str):
        return is_empty(cell.decode(errors="replace") if isinstance(cell, bytes) else cell, classes)
    return cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell))


def number(cell: object) -> float:
    """Return the number that a file holds for a label, which may be an array of one; NaN: none; inf: no number."""
    if isinstance(cell, np.ndarray) and cell.size == 1:
        cell = cell.item()
    if is_none(cell):
        return math.nan
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.inf


def unlabelled(cells: Sequence[str], settings: "DatasetSettings") -> list[Problem]:
    """Return the rows without a label, a problem for each way of writing that."""
    or_class = ", or name the class under classes" if settings.labels_are_names else ""
    found: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        if is_empty(cell, settings.classes or ()):
            found.setdefault(cell, []).append(row)
    return [
        (rows, f"label is {cell!r}, which means that there is no label; {GIVE_LABELS}{or_class}")
        if cell
        else (rows, f"there is no label; {GIVE_LABELS}")
        for cell, rows in found.items()
    ]


def told(without: int, total: int) -> int:
    """Log how many samples ``skip_unlabelled`` left out, and return that."""
    if without:
        log.info("skip_unlabelled: left out %d of %s without a label", without, plural(total, "sample"))
    return without


def scores(
    cells: Sequence[str], settings: "DatasetSettings", column: str = "label"
) -> tuple[np.ndarray, list[Problem]]:
    """Read scores.

    Parameters
    ----------
    cells : sequence of N str
    settings : DatasetSettings
        Their scale or corpus says which scores are allowed.
    column : str
        For messages.

    Returns
    -------
    values : np.ndarray [shape=(N,), dtype=float64]
        NaN where the cell is empty or wrong.
    problems : list of Problem
        Cells that are no numbers, or beyond the limits.
    """
    values, problems = np.full(len(cells), np.nan), []
    low, high = settings.label_limits
    for row, cell in enumerate(cells):
        if is_empty(cell):
            continue
        try:
            value = float(cell)
        except ValueError:
            hint = " (write a decimal point)" if "," in cell else ""
            problems.append(([row], f"{column} is {cell!r}, not a number{hint}"))
            continue
        if low - TOLERANCE <= value <= high + TOLERANCE:
            values[row] = value
        else:
            problems.append(([row], f"{column} is {cell}, not in {range_of(settings)}"))
    return values, problems


def outside(values: np.ndarray, settings: "DatasetSettings") -> np.ndarray:
    """Tell which scores [any shape] are beyond the limits; NaN, no label, is not."""
    low, high = settings.label_limits
    return (values < low - TOLERANCE) | (values > high + TOLERANCE)


def beyond(numbers: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Tell which numbers [shape=(N,)] are no places in a list of classes, from 0; NaN, no label, is not."""
    return ~(np.isin(numbers, range(len(classes))) | np.isnan(numbers))


def placed(numbers: Iterable[float], classes: Sequence[str]) -> list[str | None]:
    """Return the names of classes by their places; None for NaN."""
    return [None if math.isnan(number) else classes[int(number)] for number in numbers]


def interval(settings: "DatasetSettings") -> str:
    """Return the limits of scores as ``[-3, 3]``."""
    return "[{:g}, {:g}]".format(*settings.label_limits)


def range_of(settings: "DatasetSettings") -> str:
    """Say which scores are allowed, and what to do where others are right."""
    of = "the scale of this dataset" if settings.scale else f"the range of corpus {settings.corpus}"
    return f"{interval(settings)}, {of}; correct the label, or say which range the scores have, such as scale: [1, 7]"


def moved(values: np.ndarray, scale: tuple[float, float], largest: float) -> np.ndarray:
    """Move scores from a scale to [-largest, largest]: the ends to the ends, and the middle to 0."""
    low, high = scale
    return (np.asarray(values, np.float64) - low) / (high - low) * (2 * largest) - largest


def as_classes(
    labels: Sequence[str | None], classes: Sequence[str] | None
) -> tuple[list[str | None], list[str], list[Problem]]:
    """Make names of classes of labels.

    Labels that are whole numbers, none of which is the name of a class, are places in ``classes``, from 0. Where no
    ``classes`` are given, ``1`` and ``1.0`` are one class.

    Parameters
    ----------
    labels : sequence of N str or None
        None: no label.
    classes : sequence of str, optional
        Names of the classes in their order; None: those that occur, sorted.

    Returns
    -------
    names : list of N str or None
    classes : list of str
    problems : list of Problem
        Labels that are no class, or whose spellings differ by case or accents alone; scores; a single class.
    """
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        if label is not None:
            rows.setdefault(label, []).append(row)
    numbers = _numbers(rows)
    names, problems = _meant(rows, numbers, classes)
    known = list(classes) if classes else _ordered(set(names.values()), numbers)
    if not problems and not classes:
        problems = list(_unusable(rows, names))
    return [None if label is None else names.get(label, label) for label in labels], known, problems


def _numbers(labels: Iterable[str]) -> dict[str, float]:
    """Return the number that each label is; nothing, where one of them is no number."""
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return {}
    return numbers if all(map(math.isfinite, numbers.values())) else {}


def _ordered(names: set[str], numbers: dict[str, float]) -> list[str]:
    return sorted(names, key=float) if numbers else sorted(names)


def _meant(
    rows: dict[str, list[int]], numbers: dict[str, float], classes: Sequence[str] | None
) -> tuple[dict[str, str], list[Problem]]:
    """Return the class that each label means, and the labels that mean none."""
    names = {label: label for label in rows}
    if fractions := [label for label, number in numbers.items() if not number.is_integer()]:
        if not set(names) & set(classes or ()):
            cuts = "give classes and cuts, such as classes: [negative, neutral, positive] and cuts: [-1, 1]"
            wrong = sorted(row for label in fractions for row in rows[label])
            return names, [(wrong, f"label is {fractions[0]}, a score and no class; {cuts}")]
    elif numbers:
        names = {label: label if label in (classes or ()) else f"{number:.0f}" for label, number in numbers.items()}
        if classes and not set(names.values()) & set(classes):
            return _placed(rows, numbers, classes)
    alike, problems = {_folded(name): name for name in classes or ()}, []
    for label, name in names.items():
        if classes and name not in classes:
            near = alike.get(_folded(name)) or next(iter(get_close_matches(name, classes, 1)), None)
            hint = f"did you mean {near}? " if near else ""
            problems.append(
                (rows[label], f"label is {label!r}, which is no class; {hint}classes: {', '.join(classes)}")
            )
    return names, problems


def _placed(
    rows: dict[str, list[int]], numbers: dict[str, float], classes: Sequence[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Take numbers as places in the list of classes."""
    names = {label: classes[int(number)] for label, number in numbers.items() if 0 <= number < len(classes)}
    problems = [
        (
            rows[label],
            f"label is {label}, but classes has {len(classes)} names, for the numbers 0 to {len(classes) - 1}; number "
            "the labels from 0, or, where labels are scores, give cuts as well",
        )
        for label in rows
        if label not in names
    ]
    if not problems:
        told = ", ".join(f"{place} is {name}" for place, name in enumerate(classes))
        log.info("labels are numbers of classes, in the order of params.yaml: %s", told)
    return names, problems


def _folded(name: str) -> str:
    """Return what spellings of a name have in common that differ by case, accents' encoding or spaces alone."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _unusable(rows: dict[str, list[int]], names: dict[str, str]) -> Iterator[Problem]:
    """Find what names of classes that are found in the labels cannot be."""
    alike: dict[str, list[str]] = {}
    for label, name in names.items():
        alike.setdefault(_folded(name), []).append(label)
        if set(name) & set(",:"):
            yield rows[label], f"label is {label!r}; the name of a class has no comma and no colon; rename the class"
    for labels in alike.values():
        if len({names[label] for label in labels}) > 1:
            shown = ", ".join(map(ascii, sorted(labels)))
            often = max(labels, key=lambda label: len(rows[label]))
            others = sorted(row for label in labels if label != often for row in rows[label])
            yield others, f"labels {shown} differ by case, accents or spaces alone; spell them alike"
    if len(set(names.values())) == 1:
        (name,) = set(names.values())
        yield [], f"every label is {name!r}; a classification needs two classes or more"
