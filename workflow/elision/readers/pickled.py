"""Pickles of dicts, lists and arrays, which are read through the allow-list: nothing in the file is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elision import pickles
from elision.errors import ElisionError
from elision.readers._file import File, array_of

_SUFFIXES = (".pkl", ".pickle", ".p", ".pk", ".joblib")


def reads(path: Path, start: bytes) -> bool:
    """Tell whether a file is a pickle: protocols from 2 begin with their number, others are known by the suffix."""
    return (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05") or path.suffix.lower() in _SUFFIXES


@contextmanager
def opened(path: Path) -> Iterator[File]:
    """Read a file."""
    try:
        yield tree(pickles.load(path))
    except ElisionError as error:
        raise ElisionError(str(error).removeprefix(f"{path}: ")) from error


def tree(content: Any) -> File:
    """Return dicts and lists in each other as a file whose arrays are found by a path, such as ``train/audio``."""

    def find(name: str) -> Any:
        item, whole = content, name
        while name:
            if not isinstance(item, dict):
                raise KeyError(name)
            # A key may hold a slash, as ids do: the longest that fits is meant.
            ends = [k for k in range(len(name), 0, -1) if k == len(name) or name[k] == "/"]
            end = next((k for k in ends if name[:k] in item), None)
            if end is None:
                raise KeyError(name)
            item, name = item[name[:end]], name[end + 1 :]
        if isinstance(item, dict):
            inner = ", ".join(map(str, list(item)[:20]))
            raise ElisionError(f"values names no array, but {whole or 'all of the file'}; name an array in it: {inner}")
        return array_of(item)

    names = list(map(str, content)) if isinstance(content, dict) else ["one without a name"]
    return File(names, find, default=None if isinstance(content, dict) else "")
