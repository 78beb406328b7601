"""MATLAB's .mat files: version 5, and version 7.3, which is HDF5.

Read are matrices of numbers, text, cell arrays of both, and structs of one element, in which arrays are found by a path
such as ``data/audio``. MATLAB writes the first dimension as the last one into HDF5; here it is the first again.

SciPy reads version 5, but trusts what a file says of itself: a damaged one ends the process. So the elements are read
here: none may be larger than the file, or than its compressed content can be.

Source: MathWorks, "MAT-File Format", version 5.
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
from elision.readers.pickled import tree

if TYPE_CHECKING:
    import h5py

_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_NUMBERS_OF = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_TEXT_OF = {2: "latin1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
_CELL, _STRUCT, _CHAR = 1, 2, 4  # classes of arrays; numbers have 6 to 15
_NOT_READ = {3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object"}
_COMPLEX = 8  # flag
_DEEPEST = 8
_MOST_DIMENSIONS = 8
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
        with hdf5(path) as arrays:
            names = [name for name in arrays if not name.startswith("#")]
            yield File(names, lambda name: _of_hdf5(arrays, find_hdf5(arrays, name), name))
        return
    content = memoryview(np.memmap(path, np.uint8, "r"))
    if bytes(content[126:128]) != b"IM":
        raise ElisionError("has the byte order of another machine; load and save the file again in MATLAB")
    variables = {_header(_matrix(*element))[3]: element for element in _elements(content[_HEADER:])}

    def find(name: str) -> Any:
        top = name.split("/")[0]
        return tree({top: _value(_matrix(*variables[top]), 0)}).find(name)

    yield File(list(variables), find)


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


def _matrix(kind: int, part: memoryview) -> memoryview:
    """Return the content of a variable, unpacked if it is compressed."""
    if kind == _COMPRESSED:
        kind, part = next(_elements(memoryview(_inflated(bytes(part)))), (0, part[:0]))
    if kind != _MATRIX:
        raise ElisionError("holds something that is no array; is the file whole?")
    return part


def _inflated(part: bytes) -> bytes:
    """Unpack an element, as long as it is not much larger than what is stored of it."""
    unpack, made, size, stored = zlib.decompressobj(), [], 0, len(part)
    while part and not unpack.eof:
        made.append(unpack.decompress(part, _STEP))
        part = unpack.unconsumed_tail
        size += len(made[-1])
        check_size(size, stored, "an array")
    if not unpack.eof:
        raise ElisionError("an array whose compressed content has no end; is the file whole?")
    return b"".join(made)


def _header(matrix: memoryview) -> tuple[int, int, list[int], str, Iterator[tuple[int, memoryview]]]:
    """Return class, flags, shape and name of an array, and the elements that are left."""
    parts, nothing = _elements(matrix), (0, matrix[:0])
    flags, dimensions, name = (next(parts, nothing)[1] for _ in range(3))
    shape = np.frombuffer(dimensions[: len(dimensions) // 4 * 4], "<i4").tolist()
    if len(flags) < 2 or not 2 <= len(shape) <= _MOST_DIMENSIONS or min(shape) < 0:
        raise ElisionError(f"an array of shape {tuple(shape[:_MOST_DIMENSIONS])}; is the file whole?")
    return flags[0], flags[1], shape, bytes(name).decode("latin1"), parts


def _value(matrix: memoryview, depth: int) -> Any:
    """Return numbers, text, the list of a cell array (column by column, as in MATLAB), or the dict of a struct."""
    if depth > _DEEPEST:
        raise ElisionError(f"cells and structs nested more than {_DEEPEST} deep")
    if not len(matrix):
        return None  # an empty cell
    kind, flags, shape, _, parts = _header(matrix)
    count = prod(shape)
    if kind in _NOT_READ:
        raise ElisionError(f"holds {_NOT_READ[kind]}, which is not read; save matrices, text, cells and structs only")
    if flags & _COMPLEX:
        raise ElisionError("holds complex numbers, which are not read; save real and imaginary parts as matrices")
    if kind in (_CELL, _STRUCT):
        names = _fields(parts) if kind == _STRUCT else []
        values = [_value(part, depth + 1) for kind_of, part in parts if kind_of == _MATRIX]
        if kind == _STRUCT and count != 1:
            raise ElisionError(f"holds a struct of {count} elements; save its fields as cell arrays")
        if len(values) != (len(names) if kind == _STRUCT else count):
            raise ElisionError(f"an array of shape {tuple(shape)} with {len(values)} elements; is the file whole?")
        return dict(zip(names, values, strict=True)) if kind == _STRUCT else values
    stored, content = next(parts, (0, matrix[:0]))
    if kind == _CHAR:
        return _text(stored, content, shape)
    dtype = np.dtype(_NUMBERS_OF.get(stored, "V1"))
    if count and (stored not in _NUMBERS_OF or len(content) != count * dtype.itemsize):
        raise ElisionError(f"an array of shape {tuple(shape)} in {len(content)} bytes; is the file whole?")
    return np.frombuffer(content, dtype).reshape(shape, order="F") if count else np.zeros(shape)


def _fields(parts: Iterator[tuple[int, memoryview]]) -> list[str]:
    """Return the names of the fields of a struct: each takes the same number of bytes."""
    length = int.from_bytes(next(parts, (0, b""))[1], "little")
    names = bytes(next(parts, (0, b""))[1])
    if not 0 < length <= 64:
        raise ElisionError("a struct whose fields have no names; is the file whole?")
    found = [names[k : k + length].split(b"\0")[0].decode("latin1") for k in range(0, len(names), length)]
    if len(set(found)) < len(found):
        raise ElisionError("a struct with two fields of one name; is the file whole?")
    return found


def _text(kind: int, content: memoryview, shape: list[int]) -> str | np.ndarray:
    """Return text, or the rows of a matrix of characters."""
    try:
        letters = bytes(content).decode(_TEXT_OF[kind])
    except (KeyError, UnicodeDecodeError):
        raise ElisionError("holds text in an encoding that is not known; is the file whole?") from None
    if len(shape) != 2 or len(letters) != prod(shape):
        raise ElisionError(f"text of shape {tuple(shape)} with {len(letters)} letters; is the file whole?")
    if shape[0] <= 1:
        return letters
    return np.array(["".join(letters[row :: shape[0]]).rstrip() for row in range(shape[0])])
