"""Readers of foreign feature files: a file per form, which says what it recognises and opens it.

A reader is a module with two names: ``reads(path, start)`` tells by the first bytes of a file, or by its suffix where
these do not tell, whether it is of this form; ``opened(path)`` is a context manager that gives a `File`. What readers
share is in ``_file.py``. To add one, write the module and name it below.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elision.errors import ElisionError
from elision.filekinds import kind_of, mistaken, start_of
from elision.readers import frames, hdf5, matlab, npy, parquet, pickled, safetensors, torch
from elision.readers._file import Entries, File, Frames, texts_of

__all__ = ["Entries", "File", "Frames", "opened", "texts_of"]

# In this order they are asked: those that know their files by the first bytes come first.
READERS = (npy, torch, matlab, hdf5, parquet, safetensors, frames, pickled)


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Open a file of features of any form that is read.

    Raises
    ------
    ElisionError
        If the file is of no such form, or not as its form says.
    """
    start = start_of(path)
    if told := mistaken(start):
        raise ElisionError(told)
    for reader in READERS:
        if reader.reads(path, start):
            with reader.opened(path) as file:
                yield file
            return
    raise ElisionError(
        f"is {kind_of(start) or 'of no form that is read'}; .npz, .npy, HDF5, Parquet, .mat, .pt, .safetensors, .pkl, "
        ".csd, .csv and .arff files are read. Save the arrays with numpy.savez"
    )
