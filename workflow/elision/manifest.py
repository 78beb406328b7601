"""The manifest of a stage: what it holds, with checksums, and nothing else beside it."""

import hashlib
import json
from pathlib import Path

from elision.errors import ElisionError
from elision.files import replacing, sha256
from elision.progress import track


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


def read(path: Path) -> dict[str, str]:
    """Read a manifest: checksums by name. One that cannot be read lists nothing."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}


def sources(files: list[Path], cache: Path) -> str | None:
    """Return a digest of the names and the content of the user's files, and of all files in folders among them.

    Parameters
    ----------
    files : list of Path
    cache : Path
        Where checksums are kept, so that no file is read again whose size and time are the same.

    Returns
    -------
    digest : str or None
        None, if a file is not there.
    """
    found = sorted({path for file in files for path in ([file] if not file.is_dir() else file.rglob("*"))})
    found = [path for path in found if not path.is_dir()]
    if not all(path.is_file() for path in found):
        return None
    known = read(cache) if cache.exists() else {}
    stamps = {str(path): f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in found}
    new = [name for name, stamp in stamps.items() if known.get(name, ["", ""])[0] != stamp]
    for name in track(new, "checksums of the user's files") if new else ():
        known[name] = [stamps[name], sha256(Path(name))]
    if new:
        with replacing(cache) as temporary:
            temporary.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    return hashlib.sha256(json.dumps([[name, known[name][1]] for name in stamps]).encode()).hexdigest()[:16]
