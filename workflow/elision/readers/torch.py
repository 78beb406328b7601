"""Files that ``torch.save`` wrote since PyTorch 1.6: tensors, and dicts and lists of them.

Such a file is a zip archive of a pickle and of the numbers of each tensor. ``torch.load(weights_only=True)`` runs no
code of it, but a file can be made so that it hangs or fills memory. Here the pickle goes through the allow-list of
`pickles`, with its limits, and the numbers are mapped into memory; PyTorch is not imported.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from elision import pickles
from elision.arrayfiles import check_size
from elision.errors import ElisionError
from elision.readers._file import File
from elision.readers.pickled import tree

_DTYPES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "BFloat16": "<u2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}
_MOST_DIMENSIONS = 8
_LOCAL_HEADER = 30  # bytes of the header of a member of a zip archive, before its name


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is of PyTorch."""
    if not start.startswith(b"PK"):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file; the numbers of a tensor are read when it is indexed."""
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
            raise ElisionError("is compressed, as PyTorch never does; save the file again with torch.save")
        (name,) = [name for name in infos if name.endswith("/data.pkl") and name.count("/") == 1]
        folder = name.removesuffix("data.pkl")
        if f"{folder}byteorder" in infos and archive.read(f"{folder}byteorder") != b"little":
            raise ElisionError("holds numbers in the byte order of another machine; save the file again here")
        size = path.stat().st_size
        check_size(infos[name].file_size, min(infos[name].compress_size, size), "the pickle in it")

        def numbers(key: str, dtype: np.dtype, count: int) -> np.ndarray:
            info = infos[f"{folder}data/{key}"]
            archive.fp.seek(info.header_offset + 26)
            lengths = [int.from_bytes(archive.fp.read(2), "little") for _ in range(2)]
            begin = info.header_offset + _LOCAL_HEADER + sum(lengths)
            stored = min(info.file_size, size - begin)
            if not 0 <= count * dtype.itemsize <= stored:
                raise ElisionError(f"holds {stored} bytes for {count} numbers of {dtype}; is the file whole?")
            return np.memmap(path, dtype, "r", begin, (count,)) if count else np.zeros(0, dtype)

        class Storage(_Storage):
            read = staticmethod(numbers)

        with archive.open(name) as file:
            yield tree(pickles.read(file, infos[name].file_size, more=_NAMES, elsewhere=Storage))


class _Kind(pickles.Call):
    """The type of a storage, which is never called."""

    dtype = ""


class _Storage(pickles.Call):
    """``("storage", type, key, location, count)``: the numbers of one or more tensors."""

    read: Any

    def build(self, build: pickles.Builder) -> np.ndarray:
        (place,) = self.arguments
        if type(place) is not tuple or len(place) != 5:
            raise ValueError("a storage of another form")
        kind, key, count = place[1], build(place[2]), build(place[4])
        if not (isinstance(kind, pickles.Global) and issubclass(kind.call, _Kind)):
            raise ValueError("a storage of no type that is known")
        if type(key) is not str or type(count) is not int:
            raise ValueError("a storage without a name or a size")
        found = self.read(key, np.dtype(_DTYPES[kind.call.dtype]), count)
        # NumPy has no such type: its 16 bits are the first half of a float32.
        return (found.astype(np.uint32) << 16).view(np.float32) if kind.call.dtype == "BFloat16" else found


class _Tensor(pickles.Call):
    """``_rebuild_tensor_v2(storage, offset, size, stride, ...)``."""

    def build(self, build: pickles.Builder) -> np.ndarray:
        storage, offset, size, stride = map(build, self.arguments[:4])
        if not isinstance(storage, np.ndarray):
            raise ValueError("a tensor without numbers")
        whole = [offset, *size, *stride]
        if any(type(number) is not int or number < 0 for number in whole) or len(size) != len(stride):
            raise ValueError("a tensor of no shape")
        if len(size) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {len(size)} dimensions")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = prod(size)
        if count and last >= len(storage):
            raise ValueError("a tensor larger than its numbers")
        check_size(count * storage.itemsize, storage.nbytes, f"shape {size}")
        if not count:
            return np.zeros(size, storage.dtype)
        steps = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


class _Parameter(pickles.Call):
    """``_rebuild_parameter(tensor, ...)``."""

    def build(self, build: pickles.Builder) -> np.ndarray:
        return build(self.arguments[0])


_NAMES = {
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    **{("torch", f"{name}Storage"): type(f"_{name}", (_Kind,), {"dtype": name}) for name in _DTYPES},
}
