"""Small data and small methods for the tests of the methods: those of the checks."""

import torch

from elision.methods.checks._small import (
    CLASSES,
    CLS,
    PAD,
    SEP,
    SPEC,
    UNK,
    VOCABULARY,
    learn,
    make_batch,
    recording,
    rows,
    tiny_encoder,
)
from elision.methods.checks._subject import Subject, small, spec_for
from elision.task import DataSpec

__all__ = [
    "CLASSES",
    "CLS",
    "PAD",
    "SEP",
    "SPEC",
    "UNK",
    "VOCABULARY",
    "assert_counts",
    "learn",
    "make",
    "make_batch",
    "recording",
    "rows",
    "small",
    "spec_for",
    "starting_points",
    "tiny_encoder",
]

torch.set_num_threads(1)


def make(name: str, *, spec: DataSpec | None = None, **how):
    """A small method with weights that depend on the seed alone, and labels where it needs them."""
    return Subject.small(name, spec).make(**how)


def starting_points(name: str, spec: DataSpec):
    """The teachers that a method needs, with random weights, and the database that it searches."""
    return Subject.small(name, spec).starting_points()


def assert_counts(method: torch.nn.Module, expected: dict[str, int]) -> None:
    """Compare parameter counts: keys are attribute paths of the method, several joined by a space; "" is the total."""
    parameters = {key: p.numel() for key, p in method.named_parameters()}
    for paths, count in expected.items():
        within = [tuple(path.split(".")) for path in paths.split(" ")] if paths else [()]
        found = [n for key, n in parameters.items() if any(tuple(key.split("."))[: len(w)] == w for w in within)]
        assert sum(found) == count, paths
