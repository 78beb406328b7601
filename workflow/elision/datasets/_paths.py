"""Where the files are that a table of the user's names."""

import os
import re
import unicodedata
from difflib import get_close_matches
from pathlib import Path

from elision.errors import ElisionError

_DIGITS = re.compile(r"\d+")
ALLOW = "set outside: true for this dataset in params.yaml"


def below(folder: Path, name: str, *, otherwise: str = ALLOW) -> Path:
    """Return the path of a file that a table names, provided that it lies below a folder.

    A table may come from somebody else, with paths that only exist on their machine, or that lead to files which are no
    data. Whether a path leads out of the folder is judged by its text: ``..`` is taken back before the path is used.
    A link below the folder may lead anywhere, and it is followed: whoever put it there chose its target, as DVC does
    (``cache.type symlink``), and as users do whose media are on another disk.

    Parameters
    ----------
    folder : Path
    name : str
        Relative to the folder, or absolute.
    otherwise : str
        What to do, for the message, when the file is to stay where it is.

    Raises
    ------
    ElisionError
        Says what is wrong with the name, to be completed by the name and where it was found.
    """
    if "\0" in name:
        raise ElisionError("holds a NUL character, which no path can hold; write the path again")
    path = Path(os.path.abspath(folder / name))  # noqa: PTH100 - resolve would follow links
    for whole in (os.path.abspath, os.path.realpath):  # an absolute path may name the folder or what it is a link to
        if path.is_relative_to(top := whole(folder)):
            return folder / path.relative_to(top)
    raise ElisionError(
        f"leads out of {folder}; move the file below this folder and write its path from there, or {otherwise}"
    )


def nearest(folder: Path, name: str, listed: dict[str, list[str]]) -> str | None:
    """Return the name of a file that is there and differs by case, accents' encoding or few letters.

    Parameters
    ----------
    folder : Path
    name : str
        Of a file that is not there, relative to the folder.
    listed : dict of str to list of str
        The names in each folder that was looked at; filled for the next call.

    Returns
    -------
    name : str or None
        Relative to the folder; None: no file has such a name.
    """
    here, parts = Path(), Path(os.path.normpath(name)).parts
    for number, part in enumerate(parts):
        place = folder / here
        try:
            names = listed.setdefault(str(place), sorted(file.name for file in place.iterdir()))
        except (OSError, ValueError):
            return None
        if part not in names:
            same = [other for other in names if _folded(other) == _folded(part)]
            # Another number is another file, and no slip of the keyboard.
            alike = [other for other in names if _DIGITS.findall(other) == _DIGITS.findall(part)]
            near = same or (get_close_matches(part, alike, 1, 0.85) if number == len(parts) - 1 else [])
            if len(near) != 1:
                return None
            (part,) = near
        here = here / part
    return str(here)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
