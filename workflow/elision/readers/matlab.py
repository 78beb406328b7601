"""MATLAB's .mat files: version 5, which SciPy reads, and version 7.3, which is HDF5.

Read are matrices of numbers, text, cell arrays of both, and structs of one element, in which arrays are found by a path
such as ``data/audio``. MATLAB writes the first dimension as the last one into HDF5; here it is the first again.

SciPy trusts the sizes in a file of version 5. So its elements are walked through first: none may be larger than the
file, or its compressed content larger than that can be.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elision.arrayfiles import check_size, find_hdf5
from elision.errors import ElisionError
from elision.readers._file import NUMBERS, Entries, File
from elision.readers.hdf5 import hdf5

if TYPE_CHECKING:
    import h5py

_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_CELL, _STRUCT = 1, 2  # classes of arrays
_NOT_READ = {3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object"}
_DEEPEST = 8
_STEP = 1 << 20


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is of MATLAB."""
    return start.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"))


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file; an array is read when it is asked for."""
    with path.open("rb") as file:
        is_hdf5 = file.read(10) == b"MATLAB 7.3"
    if is_hdf5:
        with hdf5(path) as file:
            names = [name for name in file if not name.startswith("#")]
            yield File(names, lambda name: _of_hdf5(file, find_hdf5(file, name), name))
        return
    import scipy.io

    _check(path)
    names = [name for name, *_ in scipy.io.whosmat(path)]

    def find(name: str) -> Any:
        top, *rest = name.split("/")
        if top not in names:
            raise KeyError(name)
        # Without the path, SciPy looks for a file of another name where this one is missing.
        with path.open("rb") as file:
            found = scipy.io.loadmat(file, variable_names=[top], verify_compressed_data_integrity=True)[top]
        for part in rest:
            if found.dtype.names is None or found.size != 1 or part not in found.dtype.names:
                raise KeyError(name)
            found = found.reshape(-1)[0][part]
        return _array(found, name)

    yield File(names, find)


def _array(found: np.ndarray, name: str) -> Any:
    """Return what SciPy read as a reader gives it."""
    if found.dtype.names:
        raise ElisionError(f"{name} is a struct; name an array in it: {', '.join(found.dtype.names[:20])}")
    if found.dtype == object:
        cells = found.ravel(order="F")
        return Entries(len(cells), lambda i: _cell(cells[i], name))
    return found


def _cell(cell: Any, name: str) -> Any:
    if not isinstance(cell, np.ndarray) or cell.dtype == object or cell.dtype.names:
        raise ElisionError(f"a cell of {name} holds no matrix and no text")
    return cell if cell.dtype.kind in NUMBERS else "".join(cell.ravel().tolist())


# --- version 7.3


def _of_hdf5(file: "h5py.File", found: "h5py.Dataset | h5py.Group", name: str) -> Any:
    import h5py

    if isinstance(found, h5py.Group):
        if "MATLAB_sparse" in found.attrs:
            raise ElisionError(f"{name} is a sparse matrix; save the matrix with full({name})")
        return found
    kind = found.attrs.get("MATLAB_class", b"").decode()
    if found.attrs.get("MATLAB_empty", 0):
        return np.zeros((0, 0))
    if kind == "cell" and h5py.check_ref_dtype(found.dtype) is h5py.Reference:
        # In MATLAB's order, which runs through the first dimension first, as HDF5 through its last.
        references = found[()].ravel()
        return Entries(len(references), lambda i: _referred(file, references[i], name))
    if kind == "char":
        return np.array(["".join(map(chr, row)) for row in np.atleast_2d(found[()].T).tolist()])
    if found.dtype.kind not in NUMBERS:
        raise ElisionError(f"{name} is {kind or found.dtype}, not numbers")
    return found[()].T


def _referred(file: "h5py.File", reference: Any, name: str) -> Any:
    """Return the content of a cell."""
    if not reference:
        return None
    found = _of_hdf5(file, find_hdf5(file, file[reference].name), name)
    if isinstance(found, Entries) or not hasattr(found, "dtype"):
        raise ElisionError(f"a cell of {name} holds no matrix and no text")
    return found if found.dtype.kind in NUMBERS else "".join(found.tolist())


# --- version 5


def _check(path: Path) -> None:
    """Refuse a file of version 5 whose elements are larger than it, or nested too deep."""
    content = np.memmap(path, np.uint8, "r")
    if content[126:128].tobytes() != b"IM":
        raise ElisionError("has the byte order of another machine; load and save the file again in MATLAB")
    for kind, part in _elements(memoryview(content)[_HEADER:]):
        if kind == _COMPRESSED:
            kind, part = next(_elements(memoryview(_inflated(bytes(part)))), (0, part[:0]))
        if kind != _MATRIX:
            raise ElisionError("holds something that is no array; is the file whole?")
        _check_matrix(part, 0)


def _inflated(part: bytes) -> bytes:
    """Unpack an element, as long as it is not much larger than what is stored of it."""
    unpack, made, size, stored = zlib.decompressobj(), [], 0, len(part)
    while part and not unpack.eof:
        made.append(unpack.decompress(part, _STEP))
        part = unpack.unconsumed_tail
        size += len(made[-1])
        check_size(size, stored, "an array")
    return b"".join(made)


def _elements(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Return type and content of each element."""
    start = 0
    while start + 8 <= len(content):
        kind = int.from_bytes(content[start : start + 4], "little")
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        if kind >> 16:  # a small element holds its content in the place of its size
            yield kind & 0xFFFF, content[start + 4 : start + 4 + min(kind >> 16, 4)]
            start += 8
            continue
        if start + 8 + size > len(content):
            raise ElisionError(f"an element takes {size} bytes, but {len(content) - start - 8} are left; is it whole?")
        yield kind, content[start + 8 : start + 8 + size]
        start += 8 + size + (-size % 8 if kind != _COMPRESSED else 0)


def _check_matrix(content: memoryview, depth: int) -> None:
    if depth > _DEEPEST:
        raise ElisionError(f"cells and structs nested more than {_DEEPEST} deep")
    parts, nothing = _elements(content), (0, content[:0])
    flags, dimensions = next(parts, nothing)[1], next(parts, nothing)[1]
    kind = flags[0] if len(flags) else 0
    if kind in _NOT_READ:
        raise ElisionError(f"holds {_NOT_READ[kind]}, which is not read; save matrices, text, cells and structs only")
    shape = np.frombuffer(dimensions[: len(dimensions) // 4 * 4], "<i4").tolist()
    if not shape or min(shape) < 0 or len(shape) > 32:
        raise ElisionError(f"an array of shape {tuple(shape)}; is the file whole?")
    if prod(shape) * (8 if kind in (_CELL, _STRUCT) else 1) > max(8, len(content)):
        raise ElisionError(f"an array of shape {tuple(shape)} in {len(content)} bytes; is the file whole?")
    if kind in (_CELL, _STRUCT):
        for kind_of, part in parts:
            if kind_of == _MATRIX and len(part):
                _check_matrix(part, depth + 1)
