"""What a file is, by its first bytes: so that a message names a file that is not what it should be."""

import re
from pathlib import Path

_FIRST = 1024  # bytes that are looked at
_COMPRESSED = {
    b"\x1f\x8b": ("compressed with gzip", "gunzip < FILE > NEW"),
    b"BZh": ("compressed with bzip2", "bunzip2 < FILE > NEW"),
    b"\xfd7zXZ\x00": ("compressed with xz", "unxz < FILE > NEW"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unzstd < FILE > NEW"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z x FILE"),
    b"Rar!": ("a RAR archive", "unrar x FILE"),
}
_OTHERS = {
    b"PK\x05\x06": "an empty zip archive",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"MATLAB 5.0": "a MATLAB file",
    b"MATLAB 7.3": "a MATLAB file (HDF5)",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an Office document",
}
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)


def start_of(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(_FIRST)


def mistaken(start: bytes) -> str | None:
    """Say what a file is that cannot be a file of features, and what to do; None: nothing is known.

    Parameters
    ----------
    start : bytes
        The first bytes, as of `start_of`.

    Examples
    --------
    >>> mistaken(b"<!DOCTYPE html><html>")
    'is a web page, not the file itself; download the file again, and sign in first if the site asks'
    >>> mistaken(b"text") is None
    True
    """
    if not start:
        return "is empty; download the file again"
    if _PAGE.match(start):
        return "is a web page, not the file itself; download the file again, and sign in first if the site asks"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; type in its repository: git lfs pull"
    for first, (kind, command) in _COMPRESSED.items():
        if start.startswith(first):
            return f"is {kind}; unpack the file first: {command}"
    if start[257:262] == b"ustar":
        return "is a tar archive; unpack the file first: tar xf FILE"
    return None


def kind_of(start: bytes) -> str | None:
    """Name the kind of a file that may be a file of features, but of another form; None: nothing is known."""
    if start.startswith(b"PK\x03\x04"):
        return "a file of PyTorch" if b"/data.pkl" in start else "a zip archive"
    return next((kind for first, kind in _OTHERS.items() if start.startswith(first)), None)
