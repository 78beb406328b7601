"""Parquet: each column is an array, of numbers, of text, or of lists of numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from elision.arrayfiles import read_parquet
from elision.errors import ElisionError
from elision.readers._file import Entries, File, array_of


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is Parquet."""
    return start.startswith(b"PAR1")


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file; a column is read when it is asked for."""
    import pyarrow.parquet as pq

    names = pq.ParquetFile(path).schema_arrow.names
    yield File(names, lambda name: _column(path, name, names))


def _column(path: Path, name: str, names: list[str]) -> Any:
    if name not in names:
        raise KeyError(name)
    cells = read_parquet(path, [name])[name].to_numpy()
    if cells.dtype != object or all(isinstance(cell, str | bytes) for cell in cells):
        return cells
    return Entries(len(cells), lambda i: _cell(cells[i]))


def _cell(cell: Any) -> Any:
    if cell is not None and not isinstance(cell, np.ndarray):
        raise ElisionError(f"{type(cell).__name__} instead of a list of numbers")
    return cell if cell is None or cell.dtype != object else array_of_lists(cell)


def array_of_lists(cell: np.ndarray) -> np.ndarray:
    """Make an array [T, d] of a list of lists of numbers."""
    return array_of([cell]).entry(0)
