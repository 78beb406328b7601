"""HDF5: datasets by their path; and the computational sequences of the CMU Multimodal SDK (.csd), which are HDF5.

A .csd file is a group with the name of the features, which holds ``data`` and ``metadata``; in ``data`` each entry, a
video or, after alignment, a segment such as ``video[3]``, is a group of ``features`` [T, d] and ``intervals`` [T, 2],
in seconds.

Source: https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK (``computational_sequence``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elision.arrayfiles import find_hdf5, read_text_hdf5
from elision.errors import ElisionError
from elision.readers._file import NUMBERS, Entries, File, Frames

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CACHE = 1 << 26  # bytes of chunks; a chunk may hold many samples


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is HDF5."""
    return start.startswith(SIGNATURE)


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file; arrays are read where they are indexed."""
    with hdf5(path) as file:
        names = list(file)
        entries = _Sequences.of(file) if len(names) == 1 else None
        yield File(names, lambda name: array(find_hdf5(file, name)), entries=entries)


def hdf5(path: Path) -> "h5py.File":
    """Open a file of HDF5."""
    import h5py  # params import the sources, and so every job does

    return h5py.File(path, "r", rdcc_nbytes=_CACHE, locking=False)


def array(found: Any) -> Any:
    """Return a dataset as a reader gives it; text is read, and arrays of any length become `Entries`."""
    import h5py

    if not isinstance(found, h5py.Dataset):
        return found
    kind = h5py.check_vlen_dtype(found.dtype)
    if kind is not None and kind not in (str, bytes) and np.dtype(kind).kind in NUMBERS and found.ndim == 1:
        return Entries(len(found), lambda i: np.asarray(found[i]))
    if h5py.check_string_dtype(found.dtype) and found.dtype.kind == "O":
        return np.array(read_text_hdf5(found), dtype=object)
    return found


class _Sequences(Mapping[str, Frames]):
    """The entries of a .csd file, which are read when they are asked for."""

    def __init__(self, file: "h5py.File", place: str) -> None:
        self._file, self._place = file, place
        self._names = dict.fromkeys(find_hdf5(file, place))

    @classmethod
    def of(cls, file: "h5py.File") -> "_Sequences | None":
        """Return the entries of a file; None: it is no .csd file."""
        import h5py

        place = f"{next(iter(file))}/data"
        try:
            found = find_hdf5(file, place)
        except (KeyError, ElisionError):
            return None
        if not isinstance(found, h5py.Group) or not len(found):
            return None
        try:
            find_hdf5(file, f"{place}/{next(iter(found))}/intervals")
        except KeyError:
            return None
        return cls(file, place)

    def __getitem__(self, name: str) -> Frames:
        parts = {}
        for part in ("features", "intervals"):
            found = find_hdf5(self._file, f"{self._place}/{name}/{part}")
            if getattr(found, "ndim", 0) != 2 or found.dtype.kind not in NUMBERS:
                raise ElisionError(f"{part} of {name} are no array (T, d) of numbers")
            parts[part] = found
        times = parts["intervals"][()].astype(np.float64)
        if times.shape != (len(parts["features"]), 2):
            raise ElisionError(f"intervals have shape {times.shape}, features {parts['features'].shape}")
        return Frames(parts["features"], times=times)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names
