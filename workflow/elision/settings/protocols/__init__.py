"""Protocols: whole procedures by name, from what is corrupted to what is averaged.

A protocol is a YAML file of this folder, or one of the user's own: it lays values over the sections ``corruption`` and
``train`` of the params, and says the few things that only a protocol decides. A value of ``params.yaml`` wins, and the
results say so. What a protocol leaves open is as in ``elision.yaml``.
"""

import json
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from elision.errors import ElisionError, plural
from elision.settings import strict_yaml
from elision.settings.fields import Scaled, Section, Seed, explained, suggestion
from elision.task import CORPORA

DEFAULT = "elision"
_FOLDER = Path(__file__).parent
_SETS = {"seeds", "corruption", "train", "methods", "standardise", "report"}  # what a protocol sets, of its file


class Report(Section):
    """What only a protocol decides about numbers."""

    decimals: dict[str, int] = Field(
        {}, description="decimals to which metrics are rounded before anything is selected or averaged, by family"
    )
    swapped_f1: bool = Field(False, description="report the F1 with swapped arguments beside the right one")
    deviation: Literal["means", "conditions"] = Field(
        "means",
        description="deviation over runs of a mean over conditions: of the means of the runs, or the mean of the "
        "deviations of the conditions",
    )


class Protocol(Section):
    """A protocol, as its file holds it."""

    source: str = Field(description="source of the procedure: paper, code, and differences from them")
    folds: bool = Field(False, description="whether the protocol needs folds")
    seeds: list[Seed] | None = Field(
        None, min_length=1, description="seeds of the runs, unless params.yaml names some (null: any)"
    )
    corruption: dict[str, Any] = Field({}, description="values for the section corruption of the params")
    train: dict[str, Any] = Field({}, description="values for the section train of the params")
    methods: dict[str, dict[str, Any]] = Field(
        {}, description="hyperparameters of methods, which a row of params.yaml replaces: {hrlf: {epochs: 50}}"
    )
    standardise: dict[str, Scaled] = Field(
        {}, description="what of audio and vision is scaled, by corpus: {iemocap: [audio]}; others as their source says"
    )
    report: Report = Report()

    @field_validator("standardise")
    @classmethod
    def _know_corpora(cls, standardise: dict[str, Any]) -> dict[str, Any]:
        for corpus in standardise:
            if corpus not in CORPORA:
                raise ValueError(f"unknown corpus {corpus!r}; {suggestion(corpus, list(CORPORA))}")
        return standardise


def names() -> list[str]:
    """Return the names of the protocols that come with Elision, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    return [DEFAULT, *(name for name in found if name != DEFAULT)]


@cache
def protocol(name: str) -> Protocol:
    """Read a protocol.

    Parameters
    ----------
    name : str
        One of ``names``, or the path of a YAML file.

    Raises
    ------
    ElisionError
        If there is no such protocol, or the file holds something else.
    """
    path = _FOLDER / f"{name}.yaml"
    if name not in names():
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            raise ElisionError(f"unknown protocol {name!r}; {suggestion(name, names())}, or the path of a .yaml file")
    try:
        return Protocol.model_validate(strict_yaml.read(path))
    except FileNotFoundError:
        raise ElisionError(
            f"{path}: the file does not exist; give one of {', '.join(names())}, or the path of a file"
        ) from None
    except ValidationError as error:
        lines = explained(error, Protocol)
        raise ElisionError(f"{path}: {plural(len(lines), 'wrong setting')}:\n  " + "\n  ".join(lines)) from None


def described(name: str) -> str:
    """Say whose a protocol is, and what it sets: a line per setting, as ``section.key: value``.

    Raises
    ------
    ElisionError
        As ``protocol``.
    """
    found = protocol(name)
    default = "" if name == DEFAULT else f"; all other settings are as in {DEFAULT}"
    lines = [name, *textwrap.wrap(f"{found.source}{default}", 78, initial_indent="  ", subsequent_indent="  ")]
    if found.folds:
        lines.append("  for cross-validation only: add folds to the dataset")
    overlay = found.model_dump(mode="json", include=_SETS, exclude_unset=True)
    for key, value in _settings(overlay):
        text = f"{key}: {value if isinstance(value, str) else json.dumps(value)}"
        lines += textwrap.wrap(text, 78, initial_indent="    ", subsequent_indent="      ")
    return "\n".join(lines)


def _settings(values: dict[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value
