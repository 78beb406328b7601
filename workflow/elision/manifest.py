"""The manifest of a stage: what it holds, with checksums, and nothing else beside it."""

import hashlib
import json
from pathlib import Path

from elision.errors import ElisionError
from elision.store import replacing


def collect(folder: Path, files: list[Path], *, folders: list[Path]) -> None:
    """Write ``MANIFEST`` of a stage's folder and delete what the params no longer ask for.

    Parameters
    ----------
    folder : Path
        The stage's folder.
    files : list of Path
        The files that the params ask for.
    folders : list of Path
        Folders that are kept whole (media that a source made).

    Raises
    ------
    ElisionError
        If a file is missing.
    """
    if missing := [str(path) for path in files if not path.exists()]:
        raise ElisionError(
            f"{missing[0]}: no such file ({len(missing)} missing); run: snakemake --cores all {missing[0]}"
        )
    manifest = folder / "MANIFEST"
    kept = {manifest, *files}
    for whole in folders:
        kept |= {path for path in whole.rglob("*") if path.is_file()}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path not in kept and path.name != ".snakemake_timestamp":
            path.unlink()
    lines = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(kept - {manifest})}
    with replacing(manifest) as temporary:
        temporary.write_text(json.dumps(lines, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
