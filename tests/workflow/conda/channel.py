"""Make a local conda channel out of the packages that are installed here, for the environments of envs/.

    PYTHONPATH=tests python tests/workflow/conda/channel.py CHANNEL

Every distribution that envs/*.yaml name, with all that it requires, becomes a conda package under the name that
conda-forge gives it; this Python becomes the package python. So a conda client can create the environments without
conda-forge. Which versions and builds conda-forge has is another matter.
"""

import hashlib
import io
import json
import os
import re
import stat
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import zstandard
from packaging.utils import canonicalize_name

from environments import NAMES, PYPI, document, installed, requirements

SUBDIR = "linux-64"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{PYTHON}/site-packages"
# Packages without files that choose a build of PyTorch, and what else they ask for.
BUILDS = {"pytorch-cpu": [], "pytorch-gpu": ["__cuda"]}
CONDA = {pypi: conda for conda, pypi in PYPI.items() if conda not in BUILDS}
# Of Python's own folders: what belongs to other environments, and what only its developers use.
UNWANTED = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib", "lib2to3", "ensurepip"}

Files = dict[str, Path | bytes]


def version_of(distribution: metadata.Distribution) -> str:
    """Return the version without the local part, such as +cpu."""
    return distribution.version.partition("+")[0]


def archived(files: Files, *, entries: list[dict] | None = None, placeholder: str | None = None) -> bytes:
    """Pack files into a tar, and describe each as conda does, where that is asked for.

    A text file that has ``placeholder`` in it gets the path of the environment instead.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, source in sorted(files.items()):
            member, entry = tarfile.TarInfo(path), {"_path": path, "path_type": "hardlink"}
            if isinstance(source, Path) and source.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, str(source.readlink())
                tar.addfile(member)
                entry["path_type"] = "softlink"
            else:
                data = source if isinstance(source, bytes) else source.read_bytes()
                executable = isinstance(source, Path) and source.stat().st_mode & stat.S_IXUSR
                member.size, member.mode = len(data), 0o755 if executable or path.startswith("bin/") else 0o644
                tar.addfile(member, io.BytesIO(data))
                entry |= {"size_in_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                if placeholder and placeholder.encode() in data and b"\0" not in data:
                    entry |= {"prefix_placeholder": placeholder, "file_mode": "text"}
            if entries is not None:
                entries.append(entry)
    return packed.getvalue()


def write(
    channel: Path, name: str, version: str, depends: list[str], files: Files, *, placeholder: str | None = None
) -> dict[str, dict]:
    """Write one package and return its entry in the index of the channel."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends, "subdir": SUBDIR}
    paths: list[dict] = []
    content = archived(files, entries=paths, placeholder=placeholder)
    about = {"index.json": index, "paths.json": {"paths": paths, "paths_version": 1}, "about.json": {}}
    described = archived({f"info/{file}": json.dumps(value).encode() for file, value in about.items()})
    stem = f"{name}-{version}-0"
    target = channel / SUBDIR / f"{stem}.conda"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        for part, tar in (("pkg", content), ("info", described)):
            archive.writestr(f"{part}-{stem}.tar.zst", zstandard.compress(tar, 1))
    data = target.read_bytes()
    hashes = {kind: hashlib.new(kind, data, usedforsecurity=False).hexdigest() for kind in ("md5", "sha256")}
    return {target.name: index | hashes | {"size": len(data)}}


def of_distribution(channel: Path, distribution: metadata.Distribution) -> dict[str, dict]:
    """Package an installed distribution; what it requires and is not installed here is left out."""
    files: Files = {}
    for file in distribution.files or []:
        path, source = os.path.normpath(f"{SITE}/{file}"), Path(distribution.locate_file(file))
        if file.suffix != ".pyc" and source.is_file() and not path.startswith(".."):
            files[path] = b"conda\n" if file.name == "INSTALLER" else source
    depends = {f"python {PYTHON}.*"}
    for requirement in requirements(distribution):
        if installed(requirement.name):
            name = canonicalize_name(requirement.name)
            depends.add(f"{CONDA.get(name, name)} {requirement.specifier}".strip())
    name = canonicalize_name(distribution.name)
    return write(
        channel, CONDA.get(name, name), version_of(distribution), sorted(depends), files, placeholder=sys.prefix
    )


def of_python(channel: Path) -> dict[str, dict]:
    """Package the Python that runs this, without packages of others and its own tests."""
    base = Path(sys.base_prefix)
    library = base / f"lib/python{PYTHON}"
    found = [path for path in library.rglob("*") if not UNWANTED & set(path.relative_to(library).parts)]
    files: Files = {
        str(path.relative_to(base)): path for path in [*found, *base.glob("lib/libpython*.so*")] if not path.is_dir()
    }
    # Where the program finds its library, if the library is a file of its own.
    program, old = (base / f"bin/python{PYTHON}").read_bytes(), f"{base}/lib\0".encode()
    program = program.replace(old, b"$ORIGIN/../lib\0".ljust(len(old), b"\0"))
    files |= dict.fromkeys(("bin/python", "bin/python3", f"bin/python{PYTHON}"), program)
    return write(channel, "python", ".".join(map(str, sys.version_info[:3])), [], files, placeholder=str(base))


def build(channel: Path) -> None:
    """Write the packages and the index of a channel, and say what is not in it because it is not installed here."""
    for subdir in (SUBDIR, "noarch"):
        (channel / subdir).mkdir(parents=True)
    packages = of_python(channel)
    wanted = {re.match(r"[\w.-]+", line)[0] for name in NAMES for line in document(name)["dependencies"]} - {"python"}
    for name, further in BUILDS.items():
        version = version_of(metadata.distribution("torch"))
        packages |= write(channel, name, version, [f"pytorch =={version}", *further], {})
    waiting, done = [PYPI.get(name, name) for name in wanted], set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in done:
            continue
        done.add(name)
        distribution = installed(name)
        if distribution is None:
            print(f"not installed here, so not in the channel: {name}", file=sys.stderr)
            continue
        packages |= of_distribution(channel, distribution)
        waiting += [requirement.name for requirement in requirements(distribution)]
    for subdir, found in ((SUBDIR, packages), ("noarch", {})):
        index = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": found, "repodata_version": 1}
        (channel / subdir / "repodata.json").write_text(json.dumps(index))
    print(f"{len(packages)} packages in {channel}")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
