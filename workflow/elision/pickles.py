"""Foreign pickles: arrays and built-in containers are read, and nothing in the file is ever called.

A pickle is a program. Refusing its dangerous calls is not enough: NumPy trusts the state that a pickle gives to a
dtype, and a forged one reads arbitrary memory. So every NumPy call in the file only records its arguments, and the
arrays are built from the records afterwards, by checked code.
"""

import ast
import io
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from elision.errors import ElisionError
from elision.files import replacing

_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray)
_DTYPE = re.compile(r"[biufcSUO]\d{0,9}")
_PENDING = object()

Resolve = Callable[[Any], Any]


class _Call:
    """A call in a pickle that was not made: its arguments and, if there was one, the state set on its result.

    Having ``__setstate__`` matters: without it, a pickle could set attributes on the class itself.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def resolve(self, resolve: Resolve) -> Any:
        raise NotImplementedError


class _Dtype(_Call):
    """``numpy.dtype(code, align, copy)``, then its state: (version, byte order, ...)."""

    def resolve(self, resolve: Resolve) -> np.dtype:
        code = self.arguments[0]
        order = self.state[1] if self.state else "="
        if not _DTYPE.fullmatch(code) or order not in ("<", ">", "=", "|"):
            raise ValueError(f"arrays of dtype {order}{code} are not read")
        return np.dtype(order + code)


class _Array(_Call):
    """``numpy.ndarray`` or ``_reconstruct(...)``, then its state: (version, shape, dtype, Fortran order, data)."""

    def resolve(self, resolve: Resolve) -> np.ndarray:
        _, shape, dtype, fortran, data = resolve(self.state)
        return _array(shape, dtype, data, "F" if fortran else "C")


class _FromBuffer(_Call):
    """``_frombuffer(data, dtype, shape, order)``, which protocol 5 writes."""

    def resolve(self, resolve: Resolve) -> np.ndarray:
        data, dtype, shape, order = resolve(self.arguments)
        return _array(shape, dtype, data, order)


class _Scalar(_Call):
    """``scalar(dtype, data)``."""

    def resolve(self, resolve: Resolve) -> np.generic:
        dtype, data = resolve(self.arguments)
        return _array((), dtype, data, "C")[()]


class _Encode(_Call):
    """``_codecs.encode(text, "latin1")``, by which protocols up to 2 write bytes."""

    def resolve(self, resolve: Resolve) -> bytes:
        text, encoding = self.arguments
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r} are not read")
        return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _Encode,
    **{
        (f"numpy.{core}.{module}", name): call
        for core in ("core", "_core")
        for module, name, call in [
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _FromBuffer),
        ]
    },
    **{
        (module, builtin.__name__): builtin
        for module in ("builtins", "__builtin__")
        for builtin in (set, frozenset, complex, bytes)
    },
}


def _array(shape: tuple[int, ...], dtype: np.dtype, data: bytes | bytearray | str | list, order: str) -> np.ndarray:
    if isinstance(data, str):  # what Python 2 wrote are bytes, read as latin1
        data = data.encode("latin1")
    if dtype.hasobject:
        array = np.empty(len(data), object)
        for i, item in enumerate(data):
            array[i] = item
        return array.reshape(shape)  # NumPy lists objects in C order, whatever the order of the array
    if len(data) != prod(shape) * dtype.itemsize or (not dtype.itemsize and prod(shape) > 1):
        raise ValueError(f"{len(data)} bytes for an array of shape {shape} and dtype {dtype}")
    return np.ndarray(shape, dtype, data, order=order) if data else np.empty(shape, dtype, order)


def _resolve(item: Any, done: dict[int, Any]) -> Any:
    """Build what the records in ``item`` stand for; ``done`` holds what was built before, by identity."""
    if type(item) in _PLAIN:
        return item
    key = id(item)
    if key not in done:
        done[key] = _PENDING
        done[key] = _build(item, lambda part: _resolve(part, done))
    if done[key] is _PENDING:
        raise ValueError("an object in it contains itself")
    return done[key]


def _build(item: Any, resolve: Resolve) -> Any:
    if type(item) is dict:
        return {resolve(name): resolve(value) for name, value in item.items()}
    if type(item) in (list, tuple, set, frozenset):
        return type(item)(resolve(part) for part in item)
    if isinstance(item, _Call):
        return item.resolve(resolve)
    raise ValueError(f"{item!r} is neither an array nor a built-in container or value")


class _Unpickler(pickle._Unpickler):
    """The unpickler that is written in Python: the one in C makes its memo as large as any number that a file names."""

    dispatch = pickle._Unpickler.dispatch.copy()

    def __init__(self, file: io.BufferedIOBase, path: Path, encoding: str = "ASCII") -> None:
        super().__init__(file, encoding=encoding)
        self._path = path

    def find_class(self, module: str, name: str) -> type:
        """Look a global of the pickle up in the allow-list."""
        if (module, name) not in _ALLOWED:
            raise ElisionError(
                f"{self._path}: this pickle wants to use {module}.{name}; only NumPy arrays and built-in containers "
                "are read, because anything else can run code. If you trust where it comes from, load it elsewhere "
                "and save it again with NumPy arrays, lists and dicts only"
            )
        return _ALLOWED[module, name]

    def load_bytearray8(self) -> None:
        """Read a bytearray, without filling memory of a size that the file does not have."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


class _Digesting(io.RawIOBase):
    """A file that updates a digest with every byte read."""

    def __init__(self, file: io.RawIOBase, digest: Any) -> None:
        self._file, self._digest = file, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into an error that says what to do."""
    try:
        yield
    except ElisionError:
        raise
    except FileNotFoundError as error:
        raise ElisionError(f"{path}: no such file; check the path in params.yaml") from error
    except OSError as error:
        raise ElisionError(f"{path}: cannot be read ({error.strerror})") from error
    except MemoryError as error:
        raise ElisionError(f"{path}: more than the memory of this machine holds, or not a whole pickle") from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes happen to say
        raise ElisionError(
            f"{path}: not a readable pickle of arrays ({str(error) or type(error).__name__}); "
            "if it was downloaded, compare its size and SHA-256 with the source's, and download it again"
        ) from error


def load(path: Path | str, *, digest: Any = None, encoding: str = "ASCII") -> Any:
    """Read a pickle of NumPy arrays and built-in containers without running anything in it.

    Parameters
    ----------
    path : Path or str
    digest : hashlib object, optional
        Updated with every byte of the file.
    encoding : str
        Of the strings that Python 2 wrote; ``latin1`` where there are arrays among them.

    Returns
    -------
    object
        dict, list, tuple, set, str, numbers, ... and arrays of numbers, strings or such objects. An array may share
        the memory of the bytes that were read, and may be read-only.

    Raises
    ------
    ElisionError
        If the file is missing, truncated or not a pickle, refers to anything but NumPy's array, dtype and scalar
        constructors, or holds arrays of another kind (structured, dates, subclasses).
    """
    path = Path(path)
    with _reading(path), path.open("rb", buffering=0) as raw:
        file = io.BufferedReader(_Digesting(raw, digest) if digest else raw, 1 << 20)
        item = _Unpickler(file, path, encoding).load()
        while file.read(1 << 20):
            pass
        return _resolve(item, {})


def load_archive(path: Path | str) -> dict[str, np.ndarray]:
    """Read a .npz file, and the arrays of Python objects in it as ``load`` reads a pickle.

    Parameters
    ----------
    path : Path or str

    Returns
    -------
    dict of str to np.ndarray
        By their names in the file. A dict that was saved is an array of shape ().

    Raises
    ------
    ElisionError
        If the file is missing or damaged, or as for ``load``.
    """
    path = Path(path)
    with _reading(path), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy"): _member(archive, name, path) for name in archive.namelist()}


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """Read one array of a .npz file; that of an array of objects is a header and a pickle."""
    with archive.open(name) as file:
        major, _ = np.lib.format.read_magic(file)
        size = int.from_bytes(file.read(2 if major == 1 else 4), "little")
        if ast.literal_eval(file.read(size).decode("latin1"))["descr"] == "|O":
            array = _resolve(_Unpickler(file, path).load(), {})
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is not an array")
            return array
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


class _Pickler(pickle.Pickler):
    def reducer_override(self, item: Any) -> Any:
        """Name no private module of NumPy, so that versions 1 and 2 both read the array."""
        if type(item) is np.ndarray:
            return np.ndarray, ((0,), "b"), item.__reduce__()[2]
        return NotImplemented


def dump(item: Any, path: Path | str) -> None:
    """Write arrays and built-in containers as a pickle (protocol 4, atomically) that every version of NumPy reads."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        _Pickler(file, protocol=4).dump(item)
