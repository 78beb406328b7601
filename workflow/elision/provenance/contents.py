"""What artifacts are made from and params only name: the user's files and text encoders, known by their content."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from elision.files import replacing, sha256
from elision.progress import track

EMBEDDED = "minilm"
# Content of the embedded encoder. A recipe cannot look into the package: with conda, few environments hold it.
# `features.text` compares the package with it before it reads the weights.
EMBEDDED_DIGEST = "e4720306efc4f27a"
_EMBEDDED_FILES = (
    *("config.json", "model.safetensors", "special_tokens_map.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt"),
)

# Where `elision fetch pyfeat` keeps the weights that py-feat reads.
PYFEAT_WEIGHTS = Path("data/pyfeat")

_COMMIT = re.compile("[0-9a-f]{40}")

# Checksums of files by their size, times and inode. The folder is Snakemake's: without it, nothing is kept.
_KEPT = Path(".snakemake/elision-checksums.json")


def files(paths: Iterable[Path]) -> str | None:
    """Return a digest of the names and the content of files, and of all files in folders among them.

    A file is read again only if its size, a time or its inode has changed. Hidden files in folders do not count.

    Parameters
    ----------
    paths : iterable of Path

    Returns
    -------
    digest : str or None
        None, if a file is missing.
    """
    found = sorted({inner for path in paths for inner in (_inside(path) if path.is_dir() else [path])})
    try:
        stamps = {str(path): _stamp(path) for path in found}
    except FileNotFoundError:
        return None
    known = _known()
    new = [name for name, stamp in stamps.items() if known.get(name, ["", ""])[0] != stamp]
    for name in track(new, "checksums of the user's files") if new else ():
        known[name] = [stamps[name], sha256(Path(name))]
    if new and _KEPT.parent.is_dir():
        with replacing(_KEPT) as temporary:
            temporary.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    return _digest([name, known[name][1]] for name in stamps)


def _digest(checksums: Iterable[list[str]]) -> str:
    return hashlib.sha256(json.dumps(list(checksums)).encode()).hexdigest()[:16]


def _inside(folder: Path) -> list[Path]:
    """Return the files in a folder, hidden ones and those in hidden folders left out."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _known() -> dict[str, list[str]]:
    try:
        read = json.loads(_KEPT.read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError):
        return {}
    return {name: entry for name, entry in read if isinstance(entry, list) and len(entry) == 2}


def encoder(name: str) -> str:
    """Return what the tokenizer and the weights of a text encoder on this machine are known by.

    Parameters
    ----------
    name : str
        See ``features.text.encoder_path``.

    Returns
    -------
    digest : str
        A constant for the embedded encoder, a digest of the files of a local folder, or the commit of a snapshot of
        Hugging Face. Empty, where the encoder is not on this machine.
    """
    if name == EMBEDDED:
        return EMBEDDED_DIGEST
    if Path(name).is_dir():
        return files([Path(name)]) or ""
    reference = _hub() / f"models--{name.replace('/', '--')}" / "refs" / "main"
    return reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""


def staged(name: str, revision: str | None = None) -> Path | None:
    """Return the folder on this machine that holds a model.

    Parameters
    ----------
    name : str
        A local folder, or an id on the Hugging Face hub.
    revision : str, optional
        Commit, branch or tag of the id; by default main, as it was fetched.

    Returns
    -------
    folder : Path or None
        The local folder, or a snapshot in the cache of Hugging Face; None, where there is none.
    """
    if Path(name).is_dir():
        return Path(name)
    cached = _hub() / f"models--{name.replace('/', '--')}"
    reference = cached / "refs" / (revision or "main")
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = cached / "snapshots" / commit if commit else None
    return folder if folder and folder.is_dir() else None


def model(name: str, revision: str | None = None) -> str:
    """Return what the weights of a model are known by (parameters as of `staged`).

    Returns
    -------
    digest : str
        A digest of the files of a local folder, or the commit of an id. Empty, where the model is not on this machine
        and the revision is no commit.
    """
    if (folder := staged(name, revision)) is not None:
        return (files([folder]) or "") if Path(name).is_dir() else folder.name
    return revision if revision and _COMMIT.fullmatch(revision) else ""


@cache
def embedded(folder: Path) -> str:
    """Return the digest of an embedded encoder in a folder, to be compared with `EMBEDDED_DIGEST`.

    Raises
    ------
    FileNotFoundError
        If one of its files is missing.
    """
    return _digest([name, sha256(folder / name)] for name in _EMBEDDED_FILES)


def _hub() -> Path:
    """Return the folder where Hugging Face keeps what was downloaded; found without its library, which is slow."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{home}/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub").expanduser()


@cache
def newest(name: str) -> str:
    """Ask the hub for the newest commit of a Hugging Face id; empty, where there is no answer."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        return ""
    try:
        from huggingface_hub import HfApi

        return HfApi().model_info(name, timeout=5).sha or ""
    except Exception:  # no library, no network, no such id: whoever needs the encoder says so
        return ""
