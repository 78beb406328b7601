"""Finished work that the params do not ask for: kept in ``results/unused``, and given back when it is asked for again.

Snakemake deletes the outputs of a job before it runs the job, and DVC's outs hold just what the params ask for. So work
that other settings, other code or other data made moves to ``unused/{identity}/`` and keeps its path from there on.
What was never finished, such as the state of an interrupted training, moves to ``unused/unfinished/``.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from elision.errors import ElisionError, plural
from elision.files import sha256
from elision.provenance.layout import Layout

_UNFINISHED = "unfinished"
# What a listing counts, by the stage and the end of the name of a file.
_COUNTED = (
    ("datasets", "samples.parquet", "dataset"),
    ("corruptions", ".json", "corruption plan"),
    ("corruptions", ".parquet", "media corruption"),
    ("tuning", "trials.parquet", "tuned method"),
    ("models", "run.json", "trained run"),
    ("predictions", ".parquet", "prediction file"),
    ("representations", ".safetensors", "representation file"),
)


def record(path: Path, root: Path) -> Path:
    """Return the file that says how ``path``, a file in the results folder ``root``, was made.

    Most artifacts are one file, which says so itself.
    """
    stage, *parts = path.relative_to(root).parts
    if stage == "models":
        if path.parent.name == "database":
            return path.with_name("vectors.safetensors")
        return path.with_name("run.json")
    if stage == "corruptions":
        return path.with_suffix(".safetensors")
    if stage == "datasets" and len(parts) > 2 and parts[1] == "clips":
        return root / stage / parts[0] / "clips.parquet"
    return path


def made_by(path: Path) -> dict:
    """Return the recipe that an artifact carries; empty, if the artifact has none or cannot be read."""
    from elision.store import read_provenance

    with suppress(ElisionError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return dict(read_provenance(path))
    return {}


def identity(path: Path) -> str:
    """Return the identity that an artifact carries; empty, if the artifact has none or cannot be read."""
    return str(made_by(path).get("identity", ""))


def put_aside(layout: Layout, files: Iterable[Path]) -> int:
    """Move files of the stages to the unused work; returns how many of them were artifacts that are finished.

    Parameters
    ----------
    layout : Layout
    files : iterable of Path
    """
    files = sorted(set(files))
    records = {path: record(path, layout.root) for path in files}
    identities = {path: identity(path) for path in set(records.values())}
    # The file that says how others were made goes last: a move that is interrupted can be taken up again.
    for path in sorted(files, key=lambda path: path == records[path]):
        folder = layout.unused / (identities[records[path]] or _UNFINISHED)
        _move(path, folder / path.relative_to(layout.root))
    return sum(bool(identities[path]) for path in set(records.values()) & set(files))


def find(layout: Layout, path: Path, expected: str) -> Path | None:
    """Return where an artifact with an identity is among the unused work; None, if the artifact is not."""
    there = layout.unused / expected / path.relative_to(layout.root)
    return there if there.exists() else None


def make_room(layout: Layout, path: Path, expected: str, **made_from: object) -> bool:
    """Make room for an artifact that is asked for, or give it back, if it is among the unused work.

    What stands in its place, and was made otherwise, becomes unused work.

    Parameters
    ----------
    layout : Layout
    path : Path
        The file that says how the artifact was made.
    expected : str
        Identity of its recipe.
    **made_from : str, dict of str to str, or None
        Digests of data or weights that the artifact must name, if they are known.

    Returns
    -------
    is_there : bool
        Whether the artifact was given back, and need not be made.
    """
    if not _waits(layout, path, expected, made_from):
        return False
    _give_back(layout, path, expected)
    print(f"{path}: taken from {layout.unused}; the same settings, code and data made it earlier", flush=True)
    return True


class Turns:
    """Artifacts of several runs, which one job makes one after the other.

    Snakemake deletes the outputs of a job that fails. So what is finished waits among the unused work for the last run,
    and a job that is started again makes only what is missing. What is in its place already stays there. The artifacts
    of a single run do not wait.

    Parameters
    ----------
    layout : Layout
    runs : list of str

    Attributes
    ----------
    missing : dict of str to dict of Path to str
        The identities of the artifacts that must be made, by run and by the file that says how each was made.
    """

    def __init__(self, layout: Layout, runs: list[str]) -> None:
        self.missing: dict[str, dict[Path, str]] = {}
        self._layout, self._several = layout, len(runs) > 1
        self._waiting: dict[Path, str] = {}

    def ask(self, run: str, path: Path, expected: str, **made_from: object) -> None:
        """Ask for an artifact of a run (parameters as of `make_room`)."""
        if not self._several:
            is_there = make_room(self._layout, path, expected, **made_from)
        elif is_there := _is(path, expected, made_from):
            print(f"{path}: is up to date", flush=True)
        elif is_there := _waits(self._layout, path, expected, made_from):
            self._waiting[path] = expected
        if not is_there:
            self.missing.setdefault(run, {})[path] = expected

    def __iter__(self) -> Iterator[tuple[str, list[Path]]]:
        """Yield each run with the artifacts that must be made; after the last one, put all in their places."""
        for number, (run, paths) in enumerate(self.missing.items(), start=1):
            if self._several:
                print(f"{run}: run {number} of the {len(self.missing)} that this job makes", flush=True)
            yield run, list(paths)
            if self._several:
                put_aside(self._layout, (file for path in paths for file in together(self._layout.root, path)))
                self._waiting |= paths
        for path, expected in self._waiting.items():
            _give_back(self._layout, path, expected)


def _is(path: Path, expected: str, made_from: dict[str, object]) -> bool:
    """Tell whether a file is an artifact of this identity, made from all that is known, and whole."""
    if not path.exists():
        return False
    provenance = made_by(path)
    if path.name == "run.json":
        weights, history = (path.with_name(name) for name in ("model.safetensors", "history.csv"))
        if not (history.exists() and weights.exists() and sha256(weights) == provenance.get("weights")):
            return False  # damaged
    return provenance.get("identity") == expected and all(
        provenance.get(name) == value for name, value in made_from.items() if value
    )


def _waits(layout: Layout, path: Path, expected: str, made_from: dict[str, object]) -> bool:
    """Make the place of an artifact free of other work; tells whether the artifact is among the unused work."""
    if (found := identity(path)) and found != expected:
        put_aside(layout, together(layout.root, path))
    there = find(layout, path, expected)
    if there is None and path.name == "run.json":
        _go_on(layout, path.parent)
    return there is not None and _is(there, expected, made_from)


def _give_back(layout: Layout, path: Path, expected: str) -> None:
    """Move an artifact from the unused work to its place.

    Raises
    ------
    ElisionError
        If it is gone.
    """
    inside = layout.unused / expected
    there = find(layout, path, expected)
    if there is None:
        raise ElisionError(f"{inside}: {path.name} was deleted while the job was running; start the workflow again")
    for file in together(inside, there):
        _move(file, layout.root / file.relative_to(inside))
    forget_empty(inside)
    with suppress(OSError):  # it is not empty
        layout.unused.rmdir()


def _go_on(layout: Layout, folder: Path) -> None:
    """Give an interrupted training back, so that it goes on after its last saved epoch."""
    unfinished = layout.unused / _UNFINISHED / folder.relative_to(layout.root)
    for file in unfinished.glob("*"):
        if file.is_file() and not (folder / file.name).exists():
            _move(file, folder / file.name)


def together(root: Path, path: Path) -> list[Path]:
    """Return the files that one job made, the one that says how, ``path``, last."""
    stage = path.relative_to(root).parts[0]
    files = [file for file in path.parent.iterdir() if file.is_file() and record(file, root) == path]
    if stage == "datasets" and path.name == "clips.parquet":
        files += [file for file in (path.parent / "clips").rglob("*") if file.is_file()]
    if stage == "datasets" and path.name == "samples.parquet":  # a source of sequences makes all files in one job
        mine = identity(path)
        files += [file for file in path.parent.glob("*.safetensors") if identity(file) == mine]
    return [*sorted({*files} - {path}), path]


def unused(layout: Layout) -> str:
    """Say what work is kept that the params do not ask for; empty, where there is none."""
    files = [path for path in layout.unused.rglob("*") if path.is_file()]
    if not files:
        return ""
    counts: dict[str, int] = {}
    for path in files:
        folder, stage, *_ = path.relative_to(layout.unused).parts
        for of, ending, noun in _COUNTED if folder != _UNFINISHED else ():
            if stage == of and path.name.endswith(ending):
                counts[noun] = counts.get(noun, 0) + 1
    told = [plural(counts[noun], noun) for *_, noun in _COUNTED if noun in counts]
    size = sum(path.stat().st_size for path in files) / 1e6
    return f"{', '.join(told) or 'unfinished jobs, tables and figures'} ({size:.1f} MB)"


def notice(layout: Layout) -> str:
    """Tell the user of work that the params do not ask for; empty, where there is none."""
    if not (found := unused(layout)):
        return ""
    return (
        f"{layout.unused} keeps finished work that the params do not ask for: {found}. If the params ask for the work "
        "again, Elision uses it without new training. To delete the work: elision clean --unused"
    )


def clean(layout: Layout) -> None:
    """Delete the unused work."""
    shutil.rmtree(layout.unused)


def _move(source: Path, target: Path) -> None:
    """Move a file or folder; of a link, what it leads to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():  # into the cache of DVC, which may be collected
        shutil.copy2(source, target)
        source.unlink()
    else:
        source.replace(target)


def forget_empty(folder: Path) -> None:
    """Delete the empty folders in a folder, and the folder itself if nothing is left of it."""
    for inner, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(inner).rmdir()
