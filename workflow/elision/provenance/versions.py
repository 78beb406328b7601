"""Versions of the libraries that change numbers: everything that is made carries them.

Versions are part of no identity. After an upgrade, what was made before stays up to date, and the report names the rows
whose runs differ in them.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata

_OPENCV = ("opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python", "opencv-python-headless")
_MODEL = ("numpy", "tokenizers", "torch", "transformers")
# By step. Where one of them is not installed, the step does without.
_LIBRARIES = {
    "prepare": ("av", "espeakng-loader", "h5py", "numpy", "pandas", "pyarrow", "scikit-image", *_OPENCV),
    "extract text": ("numpy", "tokenizers", "transformers"),
    "extract audio": ("av", "librosa", "llvmlite", "numba", "numpy", "scipy"),
    "extract vision": ("av", "mediapipe", "numpy", "pandas", "scipy", *_OPENCV),
    "extract vision by pyfeat": (
        *("av", "numpy", "pandas", "py-feat", "scikit-image", "scikit-learn", "scipy", "timm", "torch", "torchvision"),
        "xgboost",
    ),
    "extract audio by hf": ("av", "librosa", *_MODEL),
    "extract vision by hf": ("av", "mediapipe", "pandas", "pillow", "scipy", *_OPENCV, *_MODEL),
    "assemble": ("numpy", "pandas"),
    "align": ("numpy", "tokenizers", "transformers"),
    "encode": _MODEL,
    "corrupt": ("numpy",),
    "corrupt media": (
        *("av", "jiwer", "librosa", "llvmlite", "mediapipe", "numba", "numpy", "pandas", "pillow", "pocketsphinx"),
        *("scipy", "tokenizers", "torch", "transformers", "vaderSentiment", *_OPENCV),
    ),
    "train": (*_MODEL, "scikit-learn"),  # centres of SMIL
    "tune-trial": (*_MODEL, "optuna", "scikit-learn"),
    "tune": ("optuna", "scikit-learn"),  # importances
    "index": _MODEL,
    "evaluate": _MODEL,
    "examine": _MODEL,
    "aggregate": ("numpy", "pandas"),
    "significance": ("numpy", "pandas", "scipy"),
    "report": ("matplotlib", "numpy", "pandas", "scikit-learn"),
}
_AND = " and "


@cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


def versions(*steps: str) -> dict[str, str]:
    """Return the versions of the libraries that change the numbers of steps, by library; no library is imported.

    Parameters
    ----------
    *steps : str
        As recipes name them; also "extract vision by pyfeat", "extract audio by hf" and "extract vision by hf".

    Examples
    --------
    >>> sorted(versions("corrupt"))
    ['numpy']
    """
    names = sorted({library for step in steps for library in _LIBRARIES[step]})
    return {name: found for name in names if (found := _version(name))}


def stamped(recipe: Mapping) -> dict:
    """Return the recipe of what is about to be made, with the versions of the libraries that are here.

    Parameters
    ----------
    recipe : mapping
    """
    step = recipe["step"]
    if (named := f"{step} by {recipe['settings'].get('extractor')}") in _LIBRARIES:
        step = named
    return {**recipe, "versions": versions(step)}


def joined(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the versions of what several processes made together, by library.

    Examples
    --------
    >>> joined([{"numba": "0.68.1", "numpy": "2.4.6"}, {"numba": "0.69.0", "numpy": "2.4.6"}])
    {'numba': '0.68.1 and 0.69.0', 'numpy': '2.4.6'}
    """
    found: dict[str, set[str]] = {}
    for each in several:
        for library, text in each.items():
            found.setdefault(library, set()).update(text.split(_AND))
    return {library: _AND.join(sorted(found[library])) for library in sorted(found)}


def differing(joint: Mapping[str, str]) -> str:
    """Name the libraries of which `joined` found several versions; empty, if there is none.

    Examples
    --------
    >>> differing({"numba": "0.68.1 and 0.69.0", "numpy": "2.4.6"})
    'numba 0.68.1 and 0.69.0'
    """
    return "; ".join(f"{library} {text}" for library, text in joint.items() if _AND in text)


def of_all(provenance: Mapping) -> dict[str, dict[str, str]]:
    """Return the versions of an artifact and of all that it is made from, by step.

    Parameters
    ----------
    provenance : mapping
        ``versions`` are those of its own step, ``made_with`` those of the steps before.
    """
    own = {provenance["step"]: provenance["versions"]} if {"step", "versions"} <= set(provenance) else {}
    return {**provenance.get("made_with", {}), **own}


def of_run(record: Mapping, step: str = "train") -> dict[str, dict[str, str]]:
    """Return the versions of a training and of all that it is made from, by step.

    Parameters
    ----------
    record : mapping
        ``run.json``, whose ``versions`` also name Python and Elision, which change no numbers by themselves.
    step : str
        What the training itself is called.
    """
    own = {name: found for name, found in record.get("versions", {}).items() if name not in ("elision", "python")}
    return {**record.get("made_with", {}), step: own}
