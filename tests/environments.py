"""The conda environments of the rules as tests read them: names, pins, and what distributions require."""

import re
from functools import cache
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parent.parent
ENVIRONMENTS = REPOSITORY / "envs"
NAMES = sorted(path.stem for path in ENVIRONMENTS.glob("*.yaml"))
# What conda-forge calls otherwise than PyPI.
PYPI = {
    "huggingface_hub": "huggingface-hub",
    "lazy_loader": "lazy-loader",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "py-xgboost": "xgboost",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "soxr-python": "soxr",
    "typing_extensions": "typing-extensions",
}


def document(name: str, folder: Path = ENVIRONMENTS) -> dict:
    return yaml.safe_load((folder / f"{name}.yaml").read_text())


def from_conda(name: str, folder: Path = ENVIRONMENTS) -> dict[str, str]:
    """Return what conda installs, apart from Python and pip: names there, and which versions."""
    lines = [line for line in document(name, folder)["dependencies"] if line not in ("python =3.11", "pip")]
    return dict(re.fullmatch(r"([\w-]+) ([<>=].*)", line).groups() for line in lines)


def from_pip(name: str, folder: Path = ENVIRONMENTS) -> dict[str, str]:
    """Return names and versions of what the script after the deployment installs, without requirements."""
    script = folder / f"{name}.post-deploy.sh"
    return dict(re.findall(r"(\S+)==(\S+)", script.read_text())) if script.exists() else {}


def requirements(distribution: metadata.Distribution) -> list[Requirement]:
    """Return what a distribution requires on this machine without any of its extras."""
    found = [Requirement(line) for line in distribution.requires or [] if "extra ==" not in line]
    return [each for each in found if each.marker is None or each.marker.evaluate()]


@cache
def held(name: str, folder: Path = ENVIRONMENTS) -> dict[str, metadata.Distribution | None]:
    """Return the distributions of an environment by their names on PyPI; None for one that is not installed here."""
    found: dict[str, metadata.Distribution | None] = {}
    waiting = [PYPI.get(package, package) for package in from_conda(name, folder)]
    while waiting:
        package = canonicalize_name(waiting.pop())
        if package not in found:
            found[package] = distribution = installed(package)
            waiting += [requirement.name for requirement in requirements(distribution)] if distribution else []
    return found | {canonicalize_name(package): installed(package) for package in from_pip(name, folder)}


@cache
def installed(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
