"""Everything that is wrong with a user's files, told at once."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from elision.errors import ElisionError, plural

_MOST = 50

log = logging.getLogger(__name__)


def refuse(file: Path, problems: Sequence[str]) -> None:
    """Raise one error that lists all problems of a file, numbered; do nothing when there are none."""
    if problems:
        lines = [f"{number}. {problem}" for number, problem in enumerate(problems[:_MOST], 1)]
        if len(problems) > _MOST:
            lines.append(f"... and {len(problems) - _MOST} more")
        raise ElisionError("\n".join([f"{file}: {plural(len(problems), 'problem')}", *lines]))


def odd_ids(ids: Sequence[str]) -> Iterator[str]:
    """Find ids that are empty or cannot be printed. A slash is allowed, as in ``video_0001/0001``.

    Parameters
    ----------
    ids : sequence of str
    """
    odd = [name for name in ids if not name or not name.isprintable()]
    if odd:
        yield (
            f"{plural(len(odd), 'id')} that cannot be printed: {some(odd)}; spell ids with letters, numbers and signs"
        )


def text_of(value: object) -> str | None:
    """Return what a file holds for a text or an id: text, its bytes, or a whole number; None: something else."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return str(value) if isinstance(value, str | int | np.integer) and not isinstance(value, bool) else None


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
