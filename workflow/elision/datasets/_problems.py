"""Everything that is wrong with a user's files, told at once."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elision.errors import ElisionError, plural

if TYPE_CHECKING:
    import h5py

_MOST = 50
_BEST_COMPRESSION = 2048  # deflate makes data at most 1032 times smaller

log = logging.getLogger(__name__)


def refuse(file: Path, problems: Sequence[str]) -> None:
    """Raise one error that lists all problems of a file, numbered; do nothing when there are none."""
    if problems:
        lines = [f"{number}. {problem}" for number, problem in enumerate(problems[:_MOST], 1)]
        if len(problems) > _MOST:
            lines.append(f"... and {len(problems) - _MOST} more")
        raise ElisionError("\n".join([f"{file}: {plural(len(problems), 'problem')}", *lines]))


def check_size(dataset: "h5py.Dataset") -> None:
    """Refuse an array of an HDF5 file that says that it is larger than what is stored of it can be."""
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _BEST_COMPRESSION * max(stored, 1):
        raise ElisionError(f"shape {dataset.shape}, but only {plural(stored, 'byte')} of it are stored; is it whole?")


def some(names: Sequence[object], most: int = 3) -> str:
    """Return the first names, quoted, and how many more there are."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def warn_of_shared_speakers(speakers: Iterable[str | None], splits: Iterable[str]) -> None:
    """Log the speakers who are in more than one split."""
    found: dict[str, set[str]] = {}
    for speaker, split in zip(speakers, splits, strict=True):
        if speaker:
            found.setdefault(speaker, set()).add(split)
    if shared := sorted(speaker for speaker, its in found.items() if len(its) > 1):
        log.warning(
            "speakers in more than one split: %s; scores will be better than for speakers never heard", some(shared, 10)
        )
