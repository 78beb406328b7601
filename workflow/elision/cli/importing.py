"""From a folder of the user's own to data that DVC tracks: the one module that knows of DVC.

What is imported is copied first, and the copy is read and checked by the source that will read it in the workflow: what
is tracked is what was checked.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from elision.datasets._found import Folder
from elision.datasets._paths import ALLOW
from elision.datasets._prepare import finish, read
from elision.datasets._problems import refuse, some
from elision.errors import ElisionError, of_disk, plural
from elision.progress import Reporter
from elision.settings import params as parameters
from elision.settings.params import DatasetSettings

_ARRAYS = (".npz", ".npy", ".h5", ".hdf5", ".csd", ".mat", ".pt", ".safetensors")
_GB = 1 << 30
_ELSEWHERE = "leave the file there, and write the entry into params.yaml yourself, with outside: true"


def entry(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a dataset, as under ``datasets:``, with paths relative to the folder that holds it.

    Parameters
    ----------
    path : Path
        A folder, or one feature file.
    settings : dict
        What the user says of it; if ``source`` is not among them, sources tell whether the folder is theirs.

    Raises
    ------
    ElisionError
        If no source, or several, take the folder for theirs, or there are arrays of which nothing is said.
    """
    if not path.exists():
        raise ElisionError(f"{path} does not exist; give a folder or a feature file")
    folder = Folder(path)
    found = _found(folder, settings.get("source"))
    arrays = [name for name in folder.names if name.endswith(_ARRAYS)]
    if found["source"] == "arrays" and arrays and not {"audio", "vision"} & set(settings):
        raise ElisionError(
            f"{path}: the modality of {some(arrays)} is unknown. Describe the arrays, for example: --settings "
            f"'audio: {{file: {arrays[0]}, values: audio, ids: id}}'. docs/own-data.md lists the layouts"
        )
    return {**found, **settings}


def _found(folder: Folder, named: str | None) -> dict[str, str]:
    """Return the source that reads a folder, and where in it its files are, as each source says.

    A source that takes the whole folder goes before one that takes a file in it, such as any table.
    """
    say = {name: getattr(parameters.dataset_source(name), "found", None) for name in parameters.source_names()}
    if named is not None:
        return {"source": named, **((say.get(named) or (lambda _: None))(folder) or {})}
    found = {name: where for name, function in say.items() if function and (where := function(folder))}
    found = {name: where for name, where in found.items() if "." in where.values()} or found
    if not found:
        known = [f"{name}: {_recognised(function)}" for name, function in say.items() if function]
        raise ElisionError(f"{folder.given}: no known data found. {'. '.join(known)}. See docs/own-data.md")
    if len(found) > 1:
        first = next(iter(found))
        raise ElisionError(
            f"{folder.given}: the data can be those of the sources {', '.join(found)}. Choose one, for example: "
            f"--settings 'source: {first}'"
        )
    return {"source": next(iter(found)), **found[next(iter(found))]}


def _recognised(function: Callable) -> str:
    """Return what a source recognises, as the first line of its function says."""
    line = inspect.getdoc(function).partition("\n")[0]
    return line.removeprefix("Recognise ").removesuffix(".").replace("``", "")


def settings_of(name: str, given: dict[str, Any], folder: Path) -> DatasetSettings:
    """Return the checked settings of an entry, with its paths under a folder.

    Raises
    ------
    ElisionError
        Names every wrong setting.
    """
    params = parameters.checked({"datasets": {name: given}, "methods": ["majority"]}, f"the entry of {name!r}")
    return _under(params.datasets[name], folder)


def _under(settings: BaseModel, folder: Path) -> Any:
    """Put a folder before the paths that were set."""
    moved = {}
    for key in settings.model_fields_set:
        value = getattr(settings, key)
        if isinstance(value, Path | str) and Path(os.path.normpath(value)).parts[:1] == ("..",):
            raise ElisionError(f"{key}: {value} leads out of the folder; only files in the folder are imported")
        # Names of arrays may be names of files, too.
        if isinstance(value, Path) or (isinstance(value, str) and value.endswith(".npy")):
            if Path(value).is_absolute():
                raise ElisionError(f"{key}: {value} is an absolute path; give a path relative to the folder")
            moved[key] = type(value)(folder / value) if isinstance(value, Path) else str(folder / value)
        elif isinstance(value, BaseModel):
            moved[key] = _under(value, folder)
    return settings.model_copy(update=moved)


def check(settings: DatasetSettings, name: str) -> str:
    """Read a dataset as the workflow will; returns how many samples each split, or how many in all folds.

    Raises
    ------
    ElisionError
        Lists everything that is wrong.
    """
    where = f"dataset {name!r}"
    samples, *_ = read(settings, Path(), where)  # no source makes media of the user's own files
    finish(samples, settings, where)
    counts = dict(samples["split"].value_counts()) if "split" in samples and not settings.folds else {}
    return ", ".join([plural(len(samples), "sample"), *(f"{counts[split]} {split}" for split in counts)])


def listed(path: Path) -> tuple[dict[Path, Path], list[str]]:
    """Return where each file of a folder lies, by its path in the folder, and what is said of links among them.

    Links are followed, to folders as well. One file is a folder of its own.

    Raises
    ------
    ElisionError
        Names links that lead nowhere or round in circles, and what is no file.
    """
    if path.is_file():
        return {Path(path.name): path}, []
    files, links, problems = {}, [], []
    waiting = [(path, {os.path.realpath(path)})]
    while waiting:
        folder, above = waiting.pop()
        try:
            children = sorted(folder.iterdir())
        except OSError as error:
            problems.append(f"{folder} cannot be read ({error.strerror})")
            continue
        for file in children:
            real = os.path.realpath(file)
            if file.is_symlink() and file.exists():
                links.append((file, real))
            if file.is_dir() and real in above:
                problems.append(f"{file} is a link to a folder above itself; delete the link")
            elif file.is_dir():
                waiting.append((file, above | {real}))
            elif file.is_file():
                files[file.relative_to(path)] = file
            else:
                problems.append(
                    f"{file} is a pipe, a socket or a device; delete it"
                    if os.path.exists(file)  # noqa: PTH110 - Path's own raises where a name is too long
                    else f"{file} is a link to a missing file; delete the link"
                )
    refuse(path, problems)
    notes = []
    if out := [f"{file} -> {real}" for file, real in links if not Path(real).is_relative_to(path.resolve())]:
        notes.append(f"{plural(len(out), 'link')} out of {path}: the files behind the links were copied: {some(out)}")
    if len(links) > len(out):
        notes.append(f"{plural(len(links) - len(out), 'link')} within {path}: each link was copied as a file")
    return files, notes


@contextmanager
def copied(path: Path, files: dict[Path, Path], target: Path) -> Iterator[Path]:
    """Copy files to a folder beside ``target``, which takes that name if the block ends well, and is deleted otherwise.

    Raises
    ------
    ElisionError
        If a file cannot be read, or the disk has no room for the copy and for DVC's.
    """
    target.parent.mkdir(exist_ok=True)
    needed = 2 * sum(file.stat().st_size for file in files.values())
    if needed > (free := shutil.disk_usage(target.parent).free):
        raise ElisionError(
            f"{target}: the copy and the cache of DVC need {needed / _GB:.1f} GB, but {free / _GB:.1f} GB are free; "
            "free some space"
        )
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with Reporter(f"copy {path} to {target}", len(files)) as reporter:
            for name, file in files.items():
                try:
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, partial / name)
                except OSError as error:
                    told = ElisionError(f"{file}: cannot be copied ({error.strerror or error}); nothing was imported")
                    raise of_disk(error) or told from None
                reporter.advance()
        yield partial
        try:
            partial.rename(target)
        except OSError as error:
            raise of_disk(error) or ElisionError(f"{target}: cannot make the folder ({error.strerror})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_place(target: Path, name: str) -> None:
    """Refuse to import where that cannot work.

    Raises
    ------
    ElisionError
        If this is no folder of Git and DVC, or the name is taken or no name.
    """
    if not re.match(parameters.NAME, name):
        raise ElisionError(f"{name!r} cannot be the name of a dataset; give a --name of letters, digits, _ and -")
    git = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], capture_output=True, check=False)
    for tool, there in {"git": git.returncode == 0, "dvc": Path(".dvc").is_dir()}.items():
        if not there:
            raise ElisionError(
                f"{Path.cwd()} is no repository of {tool}; run from the folder of params.yaml, or create the "
                f"repository: {tool} init"
            )
    if (tracked := target.with_name(f"{target.name}.dvc")).exists():
        raise ElisionError(
            f"{tracked} exists: DVC tracks {target} already. If the files of {target} have changed, type: dvc add "
            f"{target}. For other data, give another --name"
        )


def track(target: Path) -> list[str]:
    """Let DVC track a folder; returns the files that Git is to take a version of.

    Raises
    ------
    ElisionError
        If DVC cannot; it says itself why.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", str(target)], check=False)
    if done.returncode:
        raise ElisionError(
            f"{target} was written, but DVC cannot track it. Solve the problem above, then type: dvc add {target}"
        )
    written = [target.with_name(f"{target.name}.dvc"), target.with_name(".gitignore")]
    status = ["git", "status", "--porcelain", "--untracked-files=all", "--", *map(str, written)]
    changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    return [str(path) for path in written if path.name in changed]


def text_of(name: str, settings: DatasetSettings) -> str:
    """Return the lines of an entry for ``params.yaml``."""
    content = settings.model_dump(mode="json", exclude_unset=True)
    lines = yaml.safe_dump({name: content}, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return "".join(f"  {line}\n" for line in lines.splitlines())


def import_data(path: Path, name: str, settings: dict[str, Any], data: Path = Path("data")) -> str:
    """Copy a user's data into ``data/NAME``, provided that the copy is as its source expects; let DVC track them.

    Parameters
    ----------
    path : Path
        A folder, or one feature file. Data that are in ``data/NAME`` already are tracked where they are.
    name : str
        Of the dataset.
    settings : dict
        Of its source, with paths relative to the folder.
    data : Path
        Where data of the project lie.

    Returns
    -------
    text : str
        What was done, the entry for ``params.yaml``, and what to type next.

    Raises
    ------
    ElisionError
        If the data are not as their source expects, which leaves ``data`` as it was; or they cannot be copied or
        tracked.
    """
    target = data / name
    refuse_place(target, name)
    in_place = target.exists() and path.resolve() == target.resolve()
    if (target.exists() or target.is_symlink()) and not in_place:
        raise ElisionError(
            f"{target} exists already; give another --name, or track the existing folder: elision import-data {target}"
        )
    given = entry(path, settings)
    imported = settings_of(name, given, target)
    if getattr(imported, "outside", False):
        raise ElisionError(
            f"{path}: outside: true does not work with import-data, which copies and tracks only files in the folder. "
            "Leave outside out; or do not use import-data, and write the entry into params.yaml yourself"
        )
    if in_place:
        found, notes = _checked(name, imported, target), []
    else:
        files, notes = listed(path)
        with copied(path, files, target) as copy:
            top = path if path.is_dir() else path.parent
            try:
                found = _checked(name, settings_of(name, given, copy), copy)
            except ElisionError as error:
                told = str(error).replace(f"leads out of {copy}", f"leads out of the copy of {top}")
                raise ElisionError(told.replace(str(copy), str(top)).replace(ALLOW, _ELSEWHERE)) from None
    for_git = track(target)
    return (
        "".join(f"{note}\n" for note in notes) + f"{target}: {found}; DVC tracks the folder\n\n"
        f"Add these lines under datasets: in params.yaml:\n\n{text_of(name, imported)}\n"
        f"Then type:\n\n  git add {' '.join(for_git)}\n  git commit -m 'Add the data of {name}'\n"
    )


def _checked(name: str, settings: DatasetSettings, folder: Path) -> str:
    """Check a dataset whose files must all be in a folder: DVC tracks no others."""
    for file in parameters.dataset_source(settings.source).inputs(settings):
        if not Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder)):  # noqa: PTH100 - links stay
            raise ElisionError(f"{file} is not in {folder}; only files in the folder are imported")
    return check(settings, name)
