"""What a check is. Each file of ``methods/checks/`` defines one."""

import importlib
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from elision import methods
from elision.errors import ElisionError
from elision.methods.checks._subject import Subject

_TOLERANCE = 1e-5
_MOST = 12  # findings of one check that are told

Status = Literal["passed", "failed", "declared", "skipped"]


@dataclass(frozen=True)
class Finding:
    """Something that does not hold.

    Attributes
    ----------
    about : str
        The parameter, hyperparameter, line of code or input that is concerned; patterns of ``Method.exceptions`` are
        compared with it.
    text : str
        What is wrong, in one sentence.
    declared : str
        Why the method has it all the same, as ``Method.exceptions`` says; empty: it is a fault.
    """

    about: str
    text: str
    declared: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes
    ----------
    check, holds : str
        Name of the check, and the sentence that it checks.
    status : str
        ``passed``, ``failed``, ``declared`` (all findings are exceptions that the method declares) or ``skipped``.
    reason : str
        Why it was skipped.
    findings : tuple of Finding
    """

    check: str
    holds: str
    status: Status
    reason: str = ""
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, document: dict) -> "Outcome":
        """Read what `document` wrote."""
        return cls(**{**document, "findings": tuple(Finding(**each) for each in document["findings"])})

    @property
    def document(self) -> dict:
        """A JSON value."""
        return asdict(self)


class Check:
    """A check: the base class of those in ``methods/checks/``.

    Attributes
    ----------
    name : str
        Name of the file.
    holds : str
        What holds of a method that passes, in one sentence.
    place : int
        Its place among the checks.
    of_runs : bool
        Whether the outcome depends on trained weights, on sizes or on hyperparameters: it is then checked on the
        trained run itself.
    every_task : bool
        Whether it is made for each task of the method, or for the first alone.
    needs_training : bool
        Whether it says nothing of a method that is not trained.
    """

    name: ClassVar[str]
    holds: ClassVar[str]
    place: ClassVar[int]
    of_runs: ClassVar[bool] = False
    every_task: ClassVar[bool] = False
    needs_training: ClassVar[bool] = False

    def not_for(self, subject: Subject) -> str:
        """Say why it does not apply to a method; empty, where it does."""
        return ""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Yield what does not hold of a method."""
        raise NotImplementedError(f"check {self.name}: define findings")

    def outcome(self, subjects: list[Subject]) -> Outcome:
        """Check a method.

        Parameters
        ----------
        subjects : list of Subject
            The method for each of its tasks; or one trained run.

        Returns
        -------
        outcome : Outcome
            An error of the method is a finding.
        """
        subjects = subjects if self.every_task else subjects[:1]
        first = subjects[0]
        reason = self.not_for(first)
        if self.needs_training and not first.is_trained:
            reason = "The method is not trained."
        if reason:
            return Outcome(self.name, self.holds, "skipped", reason)
        found: list[Finding] = []
        for subject in subjects:
            several = f" ({subject.task})" if len(subjects) > 1 else ""
            with _noting(found):
                found.extend(replace(each, text=f"{each.text}{several}") for each in self.findings(subject))
        declared = first.cls.exceptions.get(self.name, {})
        found = [replace(f, declared=f.declared or _reason(f.about, declared)) for f in dict.fromkeys(found)]
        if not first.finished:
            found += [
                Finding(pattern, f"The class declares the exception {pattern!r}, which was not found; remove it.")
                for pattern in declared
                if not any(fnmatchcase(f.about, pattern) for f in found)
            ]
        faults = [f for f in found if not f.declared]
        status: Status = "failed" if faults else "declared" if found else "passed"
        found = [*faults, *(f for f in found if f.declared)]
        if len(found) > _MOST:
            more = f"{len(found) - _MOST} more findings are left out."
            found = [*found[:_MOST], Finding("", more, "" if faults else "as above")]
        return Outcome(self.name, self.holds, status, findings=tuple(found))


def _reason(about: str, declared: Mapping[str, str]) -> str:
    return next((reason for pattern, reason in declared.items() if fnmatchcase(about, pattern)), "")


@contextmanager
def _noting(found: list[Finding]) -> Iterator[None]:
    """Turn an error inside the block into a finding."""
    try:
        yield
    except Exception as error:  # whatever the lines of a method raise
        found.append(of_error(error))


def of_error(error: Exception, doing: str = "") -> Finding:
    """Return the finding that an error is: with the innermost line of the method, as far as there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if in_method(frame.filename)]
    where = f" in {place(own[-1].filename, own[-1].lineno or 0)}" if own else ""
    told = str(error).strip().partition("\n")[0]
    what = told if isinstance(error, ElisionError) else f"{type(error).__name__}: {told}"
    return Finding(doing or "error", f"{f'{doing}: ' if doing else ''}an error is raised{where}: {what}")


def attempt(doing: str, function: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a function; an error that it raises is one, about what it was doing."""
    try:
        yield from function()
    except Exception as error:  # whatever the lines of a method raise
        yield of_error(error, doing)


def in_method(file: str) -> bool:
    """Return whether a file is part of a method: neither PyTorch, nor the base class, nor a check."""
    within = next((Path(file).relative_to(folder) for folder in methods.__path__ if file.startswith(folder)), None)
    return within is not None and within.parts[0] not in ("base.py", "checks")


def place(file: str, line: int) -> str:
    """Name a line of a file that is part of a method."""
    within = next(Path(file).relative_to(folder) for folder in methods.__path__ if file.startswith(folder))
    return f"methods/{within.as_posix()}, line {line}"


def differs(found: Tensor, expected: Tensor) -> str:
    """Say by how much two tensors differ; empty, where rounding alone makes the difference.

    Rounding is a difference of at most 1e-5, or of 1e-5 of the largest value, if that is above 1.
    """
    if found.shape != expected.shape:
        return f"the shape is {list(found.shape)} instead of {list(expected.shape)}"
    if not found.numel():
        return ""
    found, expected = found.detach().float(), expected.detach().float()
    if bool((found.isfinite() != expected.isfinite()).any()):
        return "values are finite in one, but not in the other"
    difference = float((found - expected).abs().nan_to_num(0.0).max())
    largest = float(expected.abs().nan_to_num(0.0, posinf=0.0, neginf=0.0).max())
    if difference <= _TOLERANCE * max(1.0, largest):
        return ""
    spread = f" (the values spread over {_spread(expected):.3g})" if len(expected) > 1 else ""
    return f"the difference is up to {difference:.2g}{spread}"


def _spread(values: Tensor) -> float:
    return float((values.amax(0) - values.amin(0)).max())


def same_bits(found: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors are equal, a NaN in both included."""
    both = found.isnan() & expected.isnan()
    return bool(((found == expected) | both).all())


@cache
def all_checks() -> dict[str, Check]:
    """Return all checks by name, in their order.

    Raises
    ------
    ValueError
        If a file does not define the check of its name, or two checks share a place.
    """
    from elision.methods import checks as folder

    found: list[Check] = []
    for info in pkgutil.iter_modules(folder.__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"elision.methods.checks.{info.name}")
        classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Check)]
        own = [cls for cls in classes if vars(cls).get("name") == info.name]
        if len(own) != 1:
            raise ValueError(f"{module.__file__}: must define one Check with name = {info.name!r}")
        found.append(own[0]())
    found.sort(key=lambda check: check.place)
    places = [check.place for check in found]
    if twice := sorted({number for number in places if places.count(number) > 1}):
        raise ValueError(f"{folder.__path__[0]}: two checks have the place {twice[0]}")
    return {check.name: check for check in found}


def check(subjects: list[Subject], run: Subject | None = None) -> list[Outcome]:
    """Make all checks of a method.

    Parameters
    ----------
    subjects : list of Subject
        The small method, for each of its tasks.
    run : Subject, optional
        A trained run of the method: what depends on weights, sizes and hyperparameters is checked on the run.

    Returns
    -------
    outcomes : list of Outcome
        One per check, in their order.
    """
    with torch.random.fork_rng():
        return [each.outcome([run] if run and each.of_runs else subjects) for each in all_checks().values()]
