"""What every reader gives: a file of named arrays, each an array, a list of arrays, or frames with times and names."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elision.arrayfiles import check_text
from elision.errors import ElisionError

NUMBERS = "biuf"  # kinds of dtype


@dataclass(frozen=True)
class Entries:
    """Arrays of different sizes, one per sample, which are read one by one.

    Attributes
    ----------
    count : int
    entry : function of int to np.ndarray
        Returns the array of a sample; None, or text, where the file holds that instead.
    """

    count: int
    entry: Callable[[int], Any]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return map(self.entry, range(self.count))


@dataclass(frozen=True)
class Frames:
    """Frames in rows, and what the file says of them.

    Attributes
    ----------
    values : np.ndarray or h5py.Dataset [shape=(T, d)]
    features : list of str
        A name for each dimension; empty where the file has none.
    times : np.ndarray [shape=(T, 2), dtype=float64] or None
        When each frame begins and ends, in seconds; of a frame that is a moment, both are the same.
    lost : np.ndarray [shape=(T,), dtype=bool] or None
        True where the file says that nothing was observed.
    confidence : np.ndarray [shape=(T,), dtype=float64] or None
        How sure the tool was of each frame, from 0 to 1.
    """

    values: Any
    features: list[str] = field(default_factory=list)
    times: np.ndarray | None = None
    lost: np.ndarray | None = None
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class File:
    """An open file of features.

    Attributes
    ----------
    names : list of str
        Of the arrays in it, for messages.
    find : function of str to an array, Entries, Frames or h5py.Group
        Returns an array by its name. It raises KeyError where there is none, and ElisionError where there is something
        else of this name.
    default : str or None
        Name of the array that is meant where the settings name none; None: they must name one.
    entries : mapping of str to Frames, or None
        The sequences of a file that is made of them, by the name of a sample, or of the video that holds it.
    """

    names: list[str]
    find: Callable[[str], Any]
    default: str | None = None
    entries: Mapping[str, Frames] | None = None


def array_of(item: Any) -> Any:
    """Return a value of Python as a reader gives it: numbers or text as an array, other lists as `Entries`.

    Raises
    ------
    ElisionError
        If it is none of these.
    """
    if isinstance(item, np.ndarray) and item.dtype != object:
        return check_text(item)
    if isinstance(item, np.ndarray) and item.ndim == 0:
        return array_of(item.item())
    if isinstance(item, int | float | str | bytes | np.generic):
        return np.array(item)
    if isinstance(item, np.ndarray) and item.ndim > 1 and {type(cell) for cell in item.flat} <= {int, float, bool}:
        return item.astype(np.float64)
    if not isinstance(item, list | tuple | np.ndarray):
        raise ElisionError(f"{type(item).__name__} instead of an array")
    kinds = {type(part) for part in item}
    if kinds and (kinds <= {str, bytes} or kinds <= {int, float, bool}):
        return np.array(item, dtype=object) if kinds <= {str, bytes} else np.array(item)
    return Entries(len(item), lambda i: _entry(item[i]))


def _entry(item: Any) -> Any:
    """Return the array of a sample; None stands for a sample that has nothing."""
    if item is None or isinstance(item, str | bytes):
        return item
    if isinstance(item, np.ndarray) and item.dtype != object:
        return item
    if isinstance(item, int | float | np.generic):
        return np.array([item])
    if not isinstance(item, list | tuple | np.ndarray):
        raise ElisionError(f"{type(item).__name__} instead of numbers")
    if not len(item):
        return np.zeros(0)
    rows = [np.asarray(row) for row in item]
    if any(row.dtype.kind not in NUMBERS or row.ndim > 1 for row in rows):
        raise ElisionError("not numbers")
    if len({row.shape for row in rows}) > 1:
        raise ElisionError("frames that differ in dimensions")
    return np.stack(rows)


def texts_of(found: Any, name: str) -> list[str]:
    """Return an array of ids as text: of text, bytes or whole numbers.

    Raises
    ------
    ElisionError
        If it holds something else.
    """
    cells = list(found) if isinstance(found, Entries) else np.asarray(found).ravel().tolist()
    texts = []
    for cell in cells:
        if isinstance(cell, np.ndarray) and cell.size == 1:
            cell = cell.item()
        if isinstance(cell, bytes):
            try:
                cell = cell.decode()
            except UnicodeDecodeError:
                cell = cell.decode("latin1")
        if isinstance(cell, float) and cell.is_integer():
            cell = int(cell)  # MATLAB has no other numbers
        if not isinstance(cell, str | int):
            raise ElisionError(f"{name} holds {type(cell).__name__}, not ids; save the ids as text")
        texts.append(str(cell).strip())
    return texts
