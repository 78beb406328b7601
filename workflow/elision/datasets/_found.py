"""A folder of a user's own, as sources look at it to tell whether it is theirs (``elision import-data``)."""

from functools import cached_property
from pathlib import Path
from typing import Any

from elision import pickles
from elision.errors import ElisionError

_TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".jsonl")
_SETS = "*[-_]UTT"  # folders of feature sets, a vector per utterance


class Folder:
    """A folder, or one file, which is a folder of its own.

    Attributes
    ----------
    given : Path
        The folder or the file.
    path : Path
        The folder.
    names : list of str
        Files and folders in it, sorted.
    """

    def __init__(self, path: Path) -> None:
        self.given = path
        self.path = path if path.is_dir() else path.parent
        self.names = sorted(child.name for child in path.iterdir()) if path.is_dir() else [path.name]
        self._read: dict[str, Any] = {}

    @cached_property
    def tables(self) -> list[str]:
        """Names of the tables."""
        return [name for name in self.names if name.endswith(_TABLES)]

    @cached_property
    def pickles(self) -> list[str]:
        """Names of the pickles."""
        return [name for name in self.names if name.endswith((".pkl", ".pickle"))]

    @cached_property
    def labels(self) -> list[str]:
        """Names of the .npz files of labels of the toolkit MERTools."""
        return [name for name in self.names if name.startswith("label") and name.endswith(".npz")]

    @cached_property
    def features(self) -> str | None:
        """Name of the folder that holds folders of feature sets, ``.`` for this one; None: there is none."""
        return next((name for name in (".", *self.names) if any((self.path / name).glob(_SETS))), None)

    def content(self, name: str) -> Any:
        """Return what a pickle holds, or the arrays of a .npz file, read once; None, where it cannot be read."""
        if name not in self._read:
            load = pickles.load_archive if name.endswith(".npz") else pickles.load
            try:
                self._read[name] = load(self.path / name)
            except ElisionError:
                self._read[name] = None
        return self._read[name]
