"""Foreign pickles: arrays and built-in containers are read, and nothing in the file is ever called.

A pickle is a program. Refusing its dangerous calls is not enough: NumPy trusts the state that a pickle gives to a
dtype, and a forged one reads arbitrary memory. So every call in the file only records its arguments, those of ``set``
and ``bytes`` included, and what they stand for is built from the records afterwards, by checked code. Dicts and sets
are recorded too, because their keys are hashed.
"""

import io
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from elision.arrayfiles import MOST_DIMENSIONS, Archive, check_size, check_text
from elision.errors import ElisionError
from elision.filekinds import kind_of, mistaken, start_of
from elision.files import replacing

_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray)
_KEYS = (type(None), int, str, bytes)
_ELEMENTS = (*_KEYS, float, complex)
_DTYPE = re.compile(r"[biufcSUO]\d{0,9}")
_PENDING = object()
_DEEPEST = 100
_LONGEST = 1023  # bits of a whole number; a float holds no more
_WEIGHT = 16  # of a value without its content; no value takes less than a byte of the file
_ALLOWANCE = 1 << 22  # bytes by which a file may seem larger than it is, so that it may share objects
_COLLISIONS = 100
_CONVERSIONS = {
    "pandas": "as a table: pandas.read_pickle('OLD.pkl').to_parquet('NEW.parquet')",
    "torch": "with arrays in the place of tensors: tensor.numpy()",
    "scipy": "with arrays in the place of sparse matrices: matrix.toarray()",
}
_OF_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # before version 1.6


class Call:
    """A call in a pickle that was not made: its arguments and, if there was one, the state set on its result."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, None

    def build(self, build: "Builder") -> Any:
        """Return what the call stands for; ``build`` does so for the arguments."""
        raise NotImplementedError


class _Native(Call):
    """A string of Python 2: bytes, which are text, or the data of an array."""

    def build(self, build: "Builder") -> str:
        (content,) = self.arguments
        try:
            return build(content.decode())
        except UnicodeDecodeError:
            return build(content.decode("latin1"))


class _Dtype(Call):
    """``numpy.dtype(code, align, copy)``, then its state: (version, byte order, ...)."""

    def build(self, build: "Builder") -> np.dtype:
        code, order = build(self.arguments[0]), build(self.state[1]) if self.state else "="
        if not _DTYPE.fullmatch(code) or order not in ("<", ">", "=", "|"):
            raise ValueError(f"arrays of dtype {order}{code} are not read")
        return np.dtype(order + code)


class _Array(Call):
    """``numpy.ndarray`` or ``_reconstruct(...)``, then its state: (version, shape, dtype, Fortran order, data)."""

    def build(self, build: "Builder") -> np.ndarray:
        _, shape, dtype, fortran, data = self.state
        return _array(build(shape), build(dtype), _content(data, build), "F" if build(fortran) else "C")


class _FromBuffer(Call):
    """``_frombuffer(data, dtype, shape, order)``, which protocol 5 writes."""

    def build(self, build: "Builder") -> np.ndarray:
        data, dtype, shape, order = build(self.arguments)
        return _array(shape, dtype, data, order)


class _Scalar(Call):
    """``scalar(dtype, data)``."""

    def build(self, build: "Builder") -> np.generic:
        dtype, data = self.arguments
        return _array((), build(dtype), _content(data, build), "C")[()]


class _Encode(Call):
    """``_codecs.encode(text, "latin1")``, by which protocols up to 2 write bytes."""

    def build(self, build: "Builder") -> bytes:
        text, encoding = build(self.arguments)
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r} are not read")
        return text.encode("latin1")


class _Bytes(Call):
    """``bytes()``, by which protocols up to 2 write no bytes."""

    def build(self, build: "Builder") -> bytes:
        if self.arguments:
            raise ValueError("bytes of something else are not read")
        return b""


class _Complex(Call):
    """``complex(real, imaginary)``."""

    def build(self, build: "Builder") -> complex:
        real, imaginary = build(self.arguments)
        if type(real) is not float or type(imaginary) is not float:
            raise ValueError("a complex number that is not made of two numbers")
        return complex(real, imaginary)


class _Set(Call):
    """``set(list)``, or what protocol 4 writes without a call."""

    kind: type = set

    def build(self, build: "Builder") -> set | frozenset:
        (items,) = self.arguments
        if type(items) is not list:
            raise ValueError("a set that is not made of a list")
        return self.kind(_hashable(build(items), _ELEMENTS))


class _FrozenSet(_Set):
    """``frozenset(list)``, likewise."""

    kind = frozenset


class _Dict(Call):
    """A dict, of which the keys are not known to be hashable yet."""

    def __init__(self) -> None:
        super().__init__([], [])

    def build(self, build: "Builder") -> dict:
        keys, values = self.arguments
        keys = _hashable(build(keys), _KEYS)
        built = dict(zip(keys, build(values), strict=True))
        if len(built) < len(keys):
            raise ValueError("a key that stands twice in a dict")
        return built


class _Ordered(_Dict):
    """``collections.OrderedDict()``, or of a list of pairs, as Python 2 writes it."""

    def __init__(self, pairs: list | None = None) -> None:
        super().__init__()
        if pairs is None:
            return
        if type(pairs) is not list or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError("a dict that is not made of pairs")
        for part, column in zip(self.arguments, zip(*pairs, strict=True), strict=bool(pairs)):
            part.extend(column)


@dataclass(frozen=True)
class Global:
    """A name that a pickle uses: what a call of it is."""

    call: type[Call]


_ALLOWED: dict[tuple[str, str], type[Call]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _Encode,
    ("collections", "OrderedDict"): _Ordered,
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
        (module, name): call
        for module in ("builtins", "__builtin__")
        for name, call in [("set", _Set), ("frozenset", _FrozenSet), ("complex", _Complex), ("bytes", _Bytes)]
    },
}


def _content(data: Any, build: "Builder") -> bytes | bytearray | list:
    """Return the data of an array, which in a file of Python 2 are a string."""
    return data.arguments[0] if isinstance(data, _Native) else build(data)


def _array(shape: tuple[int, ...], dtype: np.dtype, data: bytes | bytearray | list, order: str) -> np.ndarray:
    if len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"an array of {len(shape)} dimensions")
    if dtype.hasobject:
        array = np.empty(len(data), object)
        for i, item in enumerate(data):
            array[i] = item
        return array.reshape(shape)  # NumPy lists objects in C order, whatever the order of the array
    if len(data) != prod(shape) * dtype.itemsize or (not dtype.itemsize and prod(shape) > 1):
        raise ValueError(f"{len(data)} bytes for an array of shape {shape} and dtype {dtype}")
    return check_text(np.ndarray(shape, dtype, data, order=order) if data else np.empty(shape, dtype, order))


def _hashable(items: list, kinds: tuple[type, ...]) -> list:
    """Refuse keys, or elements, whose hash does not come at once; return them without NumPy's scalars among them."""
    items = [item.item() if isinstance(item, np.generic) else item for item in items]
    if wrong := sorted({type(item).__name__ for item in items if not isinstance(item, kinds)}):
        raise ValueError(f"keys, or elements of sets, that are {', '.join(wrong)}; text, numbers and None are read")
    if len(items) - len({hash(item) for item in items}) > _COLLISIONS:
        raise ValueError("keys that are made to take for ever, because their hashes are all the same")
    return items


class Builder:
    """Builds what the records of a pickle stand for, each once, as far as they are neither too deep nor too large.

    Shared objects are built once, but whoever walks the result meets them every time: with each of them written out,
    the content may not be much larger than the file. References count for their content, as aliases do in YAML.
    """

    def __init__(self, size: int) -> None:
        self._most, self._weight = _WEIGHT * (size + _ALLOWANCE), 0
        self._depth, self._deepest = 0, 0
        self._done: dict[int, tuple[Any, int, int]] = {}

    def __call__(self, item: Any) -> Any:
        """Return what a record stands for; what is no record stands for itself."""
        if type(item) in _PLAIN:
            return self._plain(item)
        if id(item) in self._done:
            built, weight, height = self._done[id(item)]
            if built is _PENDING:
                raise ValueError("an object in it contains itself")
            self._count(weight)
            self._reach(self._depth + height)
            return built
        self._done[id(item)] = _PENDING, 0, 0
        before, deepest = self._weight, self._deepest
        self._count(_WEIGHT)
        self._depth += 1
        self._deepest = 0
        self._reach(self._depth)
        if isinstance(item, Call):
            built = item.build(self)
        elif type(item) in (list, tuple):
            built = type(item)([self(part) for part in item])
        else:
            raise ValueError("it holds the name of a function, which is neither an array nor a value")
        self._depth -= 1
        self._done[id(item)] = built, self._weight - before, self._deepest - self._depth
        self._deepest = max(deepest, self._deepest)
        return built

    def _reach(self, depth: int) -> None:
        self._deepest = max(self._deepest, depth)
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")

    def _plain(self, item: Any) -> Any:
        if isinstance(item, str) and not item.isascii():
            item.encode()  # lone surrogates have no bytes
        if isinstance(item, int) and item.bit_length() > _LONGEST:
            raise ValueError(f"a number of {item.bit_length()} bits")
        self._count(_WEIGHT + (len(item) if isinstance(item, str | bytes | bytearray) else 0))
        return item

    def _count(self, weight: int) -> None:
        self._weight += weight
        if self._weight > self._most:
            raise ValueError("with every object written out that is shared in it, it is far larger than the file")


class _Bounded:
    """A file of which nobody asks for more bytes at once than it has: memory of that size is not filled in vain."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        if size > self._size:
            raise ValueError(f"{size} bytes of a file of {self._size}")
        return self._file.read(size)


def _codes(names: str) -> list[int]:
    return [getattr(pickle, name)[0] for name in names.split()]


_KEPT = _codes(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET "
    "LONG_BINGET GLOBAL STACK_GLOBAL"
)
_REFUSED = _codes("PERSID INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER")


class _Unpickler(pickle._Unpickler):
    """The unpickler that is written in Python: the one in C makes its memo as large as any number that a file names.

    Opcodes that could call or hash something are replaced by such that only record it; those by which no array and no
    built-in container is written are refused.
    """

    dispatch: ClassVar[dict] = {code: pickle._Unpickler.dispatch[code] for code in _KEPT}

    def __init__(
        self, file: IO[bytes], size: int, more: dict[tuple[str, str], type[Call]], elsewhere: type[Call] | None
    ) -> None:
        super().__init__(_Bounded(file, size))
        self._allowed, self._elsewhere = {**_ALLOWED, **more}, elsewhere

    def _decode_string(self, value: bytes) -> _Native:
        return _Native(value)

    def find_class(self, module: str, name: str) -> Global:
        """Look a global of the pickle up in the allow-list."""
        if (module, name) not in self._allowed:
            convert = _CONVERSIONS.get(module.split(".")[0], "with NumPy arrays, lists and dicts only")
            raise ElisionError(
                f"this pickle wants to use {module}.{name}; only NumPy arrays and built-in containers are read, "
                f"because anything else can run code. If you trust the file, load and save it again {convert}"
            )
        return Global(self._allowed[module, name])

    def _top(self, kind: type) -> Any:
        """Return the object that an opcode changes."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"{type(self.stack[-1]).__name__} in the place of {kind.__name__.strip('_').lower()}")
        return self.stack[-1]

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise ValueError("a call of something that has no name")
        self.append(function.call(*arguments))

    def _build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Dtype | _Array):
            raise ValueError("a state of something that has none")
        self.stack[-1].state = state

    def _bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _append(self) -> None:
        item = self.stack.pop()
        self._top(list).append(item)

    def _appends(self) -> None:
        items = self.pop_mark()
        self._top(list).extend(items)

    def _set_items(self, items: list) -> None:
        keys, values = self._top(_Dict).arguments
        if len(items) % 2:
            raise ValueError("a key without a value")
        keys += items[::2]
        values += items[1::2]

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(_Dict())
        self._set_items(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _additems(self) -> None:
        items = self.pop_mark()
        self._top(_Set).arguments[0].extend(items)

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(_FrozenSet(items))

    def _load_elsewhere(self) -> None:
        if self._elsewhere is None:
            self._refuse()
        self.append(self._elsewhere(self.stack.pop()))

    def _refuse(self) -> None:
        raise ValueError("it makes objects other than arrays and built-in containers, or loads them from elsewhere")

    dispatch |= {
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray8,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.EMPTY_DICT[0]: lambda self: self.append(_Dict()),
        pickle.DICT[0]: _dict,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: lambda self: self._set_items(self.pop_mark()),
        pickle.EMPTY_SET[0]: lambda self: self.append(_Set([])),
        pickle.ADDITEMS[0]: _additems,
        pickle.FROZENSET[0]: _frozenset,
        pickle.BINPERSID[0]: _load_elsewhere,
        **dict.fromkeys(_REFUSED, _refuse),
    }


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
    except ElisionError as error:
        raise ElisionError(f"{path}: {error}") from error
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


def read(
    file: IO[bytes],
    size: int,
    *,
    more: dict[tuple[str, str], type[Call]] | None = None,
    elsewhere: type[Call] | None = None,
) -> Any:
    """Read a pickle from an open file, as `load` does.

    Parameters
    ----------
    file : file
    size : int
        Bytes of the pickle.
    more : dict of (str, str) to type, optional
        Further names that the pickle may use, by module and name, and what a call of each is.
    elsewhere : type, optional
        What stands for an object that is stored outside of the pickle; None: such objects are refused.

    Raises
    ------
    ElisionError
        If the pickle uses a name that is not known.
    Exception
        Whatever a damaged pickle leads to.
    """
    return Builder(size)(_Unpickler(file, size, more or {}, elsewhere).load())


def load(path: Path | str, *, digest: Any = None) -> Any:
    """Read a pickle of NumPy arrays and built-in containers without running anything in it.

    Parameters
    ----------
    path : Path or str
    digest : hashlib object, optional
        Updated with every byte of the file.

    Returns
    -------
    object
        dict, list, tuple, set, str, numbers, ... and arrays of numbers, strings or such objects. An array may share
        the memory of the bytes that were read, and may be read-only. Strings of Python 2 become text: UTF-8, or else
        Latin-1.

    Raises
    ------
    ElisionError
        If the file is missing, truncated or not a pickle, refers to anything but NumPy's array, dtype and scalar
        constructors, or holds arrays of another kind (structured, dates, subclasses).
    """
    path = Path(path)
    with _reading(path), path.open("rb", buffering=0) as raw:
        file = io.BufferedReader(_Digesting(raw, digest) if digest else raw, 1 << 20)
        size = os.fstat(raw.fileno()).st_size
        if told := _no_pickle(file.peek(1 << 10)):
            raise ElisionError(told)
        item = read(file, size)
        while file.read(1 << 20):
            pass
        return item


def _no_pickle(start: bytes) -> str | None:
    """Say what a file is that is no pickle; None: it may be one."""
    if told := mistaken(start):
        return told
    if start.startswith(_OF_TORCH):
        return (
            "is a file of PyTorch before 1.6, which is not read; convert the file: torch.save(torch.load('OLD.pt', "
            "weights_only=True), 'NEW.pt')"
        )
    kind = kind_of(start)
    remedy = "; unpack the archive first: unzip FILE" if kind and "zip" in kind else ""
    return f"is {kind}, not a pickle{remedy}" if kind else None


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

    def objects(file: IO[bytes], size: int) -> np.ndarray:
        array = read(file, size)
        if not isinstance(array, np.ndarray):
            raise ValueError("an array of objects that is no array")
        return array

    with _reading(path):
        if told := mistaken(start_of(path)):
            raise ElisionError(told)
    with _reading(path), Archive(path) as archive:
        check_size(sum(archive.sizes.values()), path.stat().st_size)
        return {name: archive.read(name, objects) for name in archive.sizes}


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
