"""What every method must do, whatever it is: a new file in the catalogue is checked here without being named."""

from functools import cache

import pytest
import tiny_methods  # one thread  # noqa: F401

from elision.methods import load, method_names, resolve
from elision.methods.checks import Subject, all_checks
from elision.methods.checks._small import CLASSES, SPEC
from elision.methods.checks._subject import spec_for
from elision.task import DataSpec

METHODS = method_names()
TRAINED = [name for name in METHODS if resolve(name, "mosi")[0].epochs]
# What each can be trained for, with the sizes of a dataset of that kind.
TASKS = [(name, spec_for(name, spec)) for name in METHODS for spec in (SPEC, CLASSES) if spec.task in load(name).task]
TRAINED_TASKS = [(name, spec) for name, spec in TASKS if name in TRAINED]


def task_id(value: object) -> str | None:
    return value.task.value if isinstance(value, DataSpec) else None


@cache
def subjects(name: str) -> list[Subject]:
    return Subject.each(name)


@pytest.mark.parametrize("check", all_checks())
@pytest.mark.parametrize("name", METHODS)
def test_it_passes_every_check(name, check):
    outcome = all_checks()[check].outcome(subjects(name))
    told = "\n".join(f"{finding.about}: {finding.text}" for finding in outcome.findings)
    assert outcome.status != "failed", f"{outcome.holds}\n{told}"
    if outcome.status == "skipped":
        pytest.skip(outcome.reason)
