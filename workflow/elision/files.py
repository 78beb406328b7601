"""Files of any kind: written whole or not at all, and known by their checksum."""

import fcntl
import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from elision.errors import ElisionError, of_disk


def is_file(path: Path) -> bool:
    """Tell whether a path is that of a file; one that cannot be a path, for its name is too long, is not."""
    return os.path.isfile(path)  # noqa: PTH113 - Path's own raises an error there


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes ``path`` when the block ends well, and vanishes otherwise.

    What has the name ``path`` is whole, also after a power failure. Temporary files of writers of ``path`` that were
    killed are deleted.

    Raises
    ------
    ElisionError
        If the disk is full, or may not be written to.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            _delete_left(path)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
            temporary, alive = Path(name), os.fdopen(handle, "rb+")
            _hold(alive)
        with alive:
            yield temporary
            # Opened again, because a library may have put a file of its own in its place.
            with temporary.open("rb+") as whole:
                _hold(whole)
                mask = os.umask(0)
                os.umask(mask)
                temporary.chmod(0o666 & ~mask)
                os.fsync(whole)
                temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except ElisionError:
        raise
    except Exception as error:
        if told := of_disk(error, path):
            raise told from error
        raise
    finally:
        if temporary:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one writer at a time begin in a folder: a file that is made and not yet locked looks like one left behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system may have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _hold(file: IO) -> bool:
    """Lock a temporary file, so that other writers see that its own is alive; False: somebody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # or the file system has no locks
        return False
    return True


def _delete_left(path: Path) -> None:
    """Delete temporary files of ``path`` whose writers were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
        with suppress(OSError), left.open("rb+") as file:
            if _hold(file):
                left.unlink()
