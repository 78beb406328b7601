"""NumPy's own files: .npy, with one array, and .npz, with several, of which some may hold lists of arrays."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from elision import pickles
from elision.arrayfiles import Archive, load_npy, read_header
from elision.errors import ElisionError
from elision.readers._file import File, array_of


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is .npy or .npz."""
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith("/data.pkl") for name in archive.namelist())
    return start.startswith(b"\x93NUMPY")


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file; an array of Python objects is read through the allow-list of `pickles`."""
    with path.open("rb") as file:
        is_one = file.read(6) == b"\x93NUMPY"
    if is_one:
        yield File(["one without a name"], lambda name: {"": lambda: one(path)}[name](), default="")
        return
    with Archive(path) as arrays:
        yield File(list(arrays.sizes), lambda name: array_of(arrays.read(name, objects)))


def one(path: Path) -> Any:
    """Read a .npy file: numbers and text are mapped into memory, objects are read through the allow-list."""
    try:
        return load_npy(path, mapped=True)
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
    with path.open("rb") as file:
        read_header(file)
        return array_of(objects(file, path.stat().st_size))


def objects(file: IO[bytes], size: int) -> np.ndarray:
    """Read an array of Python objects: of numbers, text, arrays and lists of these."""
    array = pickles.read(file, size)
    if not isinstance(array, np.ndarray):
        raise ElisionError("an array of objects that is no array; save the array again")
    return array
