"""The errors that a user can act on."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_FREE, _PERMIT = "free some space", "change the permissions of the file or of the folder"
_REMEDIES = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "raise the limit for the size of files",
    errno.EROFS: "make the file system writable",
    errno.EACCES: _PERMIT,
    errno.EPERM: _PERMIT,
    errno.EIO: "check the disk",
}


_LONGEST, _END = 4000, 1000  # characters of a message; the remedy is at the end


class ElisionError(Exception):
    """A mistake in the input or the settings; the message names the file, the sample and the remedy.

    Messages quote words of foreign files. So whatever is not printable, such as the codes that steer a terminal, is
    written as Python would, and the middle of a message that is too long to read is left out.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if (more := len(text) - _LONGEST) > 0:
            text = f"{text[: _LONGEST - _END]} [... {plural(more, 'character')} left out ...] {text[-_END:]}"
        return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def plural(count: int, noun: str) -> str:
    """Return ``count`` and ``noun``, with an s where there is not exactly one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def of_disk(error: BaseException, path: Path | str | None = None) -> ElisionError | None:
    """Return what to tell where a disk is full, broken or not to be written to; None: the error is another one.

    Parameters
    ----------
    error : BaseException
        An OSError; or what a library raises instead of one, or because of one.
    path : Path or str, optional
        What was written; by default the file that the error names.
    """
    while error:
        number = getattr(error, "errno", None)
        if not isinstance(error, OSError):
            number = next((number for number in _REMEDIES if os.strerror(number) in str(error)), None)
        if number in _REMEDIES:
            where, what = path or getattr(error, "filename", None) or "log", os.strerror(number).lower()
            return ElisionError(f"{where}: {what}; {_REMEDIES[number]} and start again. Finished work is kept")
        error = error.__context__
    return None


def of_path(error: OSError) -> ElisionError | None:
    """Return what to tell where a path is not what it should be, such as no folder; None: the error names no path."""
    if error.filename is None or error.strerror is None:
        return None
    return ElisionError(f"{error.filename}: {error.strerror.lower()}; give another path, or correct this path")


def stop(error: ElisionError | str) -> NoReturn:
    """End the process with a message and exit code 2, also where nothing can be written any more."""
    for number, stream in ((2, sys.stderr), (1, sys.stdout)):
        try:
            if stream is sys.stderr:
                print(f"elision: {error}", file=stream)
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # or the last flush, at exit, changes the exit code
    sys.exit(2)


@contextmanager
def installed(told: str) -> Iterator[None]:
    """Import packages inside: a missing one is an error that says what to type.

    Parameters
    ----------
    told : str
        The message; ``{name}`` in it stands for the package.

    Raises
    ------
    ElisionError
        If a package is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ElisionError(told.format(name=error.name)) from None
