"""Safetensors: named tensors, which are mapped into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from elision.readers._file import File


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is safetensors."""
    return path.suffix == ".safetensors" and start[8:9] == b"{"


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file; a tensor is read when it is asked for."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as tensors:
        names = sorted(tensors.keys())

        def find(name: str) -> np.ndarray:
            if name not in names:
                raise KeyError(name)
            return tensors.get_tensor(name)

        yield File(names, find, default=names[0] if len(names) == 1 else None)
