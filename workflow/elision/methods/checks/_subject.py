"""What is checked: a method at small sizes, or a trained run at its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from elision.batch import Batch
from elision.methods import build, load, resolve
from elision.methods.base import Method, TrainingHyperparameters
from elision.methods.checks._small import CLASSES, SPEC, UNK, VOCABULARY, make_batch, make_labels, tiny_encoder
from elision.task import DataSpec, TaskKind


def small(name: str, **overrides: Any) -> TrainingHyperparameters:
    """Return the hyperparameters of a small method."""
    return resolve(name, "mosi", {**load(name).small, **overrides})[0]


def spec_for(name: str, spec: DataSpec = SPEC) -> DataSpec:
    """Return the sizes that a method is given: audio and vision are as long as the text where it aligns them."""
    if load(name).reads_text == "vectors":
        spec = replace(spec, text=6)
    if load(name).reads == "dialogues":
        spec = replace(spec, speakers=2)
    return spec.aligned(small(name).alignment)


@dataclass(frozen=True)
class Subject:
    """A method with hyperparameters and sizes, and everything that training and predicting need.

    Attributes
    ----------
    name : str
        File of ``methods/``.
    spec : DataSpec
    hyperparameters : Hyperparameters
    encoder : function
        Returns a text encoder; of its arguments, ``seed`` decides random weights, and ``pooler`` whether it pools.
    teachers : dict of str to Subject
        Those of ``Method.needs``.
    finished : function or None
        Returns the trained method; None: untrained ones are checked, whose weights follow from a seed.
    words : dict
        Arguments of `make_batch` that decide ids of tokens.
    """

    name: str
    spec: DataSpec
    hyperparameters: TrainingHyperparameters
    encoder: Callable[..., nn.Module] = tiny_encoder
    teachers: Mapping[str, "Subject"] = field(default_factory=dict)
    finished: Callable[[], Method] | None = None
    words: Mapping[str, Any] = field(default_factory=lambda: {"tokens": range(4, VOCABULARY), "unknown": UNK})

    @classmethod
    def small(cls, name: str, spec: DataSpec | None = None, **overrides: Any) -> "Subject":
        """Return a small method with a small text encoder; without ``spec``, for the first of its tasks."""
        if spec is None:
            spec = spec_for(name, SPEC if SPEC.task in load(name).task else CLASSES)
        teachers = {need: cls.small(need, spec) for need in load(name).needs}
        return cls(name, spec, small(name, **overrides), teachers=teachers)

    @classmethod
    def each(cls, name: str) -> "list[Subject]":
        """Return a small method for each of its tasks, that of scores first."""
        return [cls.small(name, spec_for(name, spec)) for spec in (SPEC, CLASSES) if spec.task in load(name).task]

    def sized(self, spec: DataSpec) -> "Subject":
        """Return the same method, and its teachers, for a dataset of other sizes."""
        return replace(self, spec=spec, teachers={name: each.sized(spec) for name, each in self.teachers.items()})

    @property
    def cls(self) -> type[Method]:
        """The class of the method."""
        return load(self.name)

    @property
    def is_trained(self) -> bool:
        """Whether the method learns anything by epochs."""
        return self.hyperparameters.epochs > 0

    @property
    def task(self) -> str:
        """The task, in a word."""
        return self.spec.task.value

    def make(
        self,
        *,
        seed: int = 0,
        encoder: nn.Module | None = None,
        hyperparameters: TrainingHyperparameters | None = None,
        **overrides: Any,
    ) -> Method:
        """Return an untrained method whose weights depend on ``seed`` alone, with labels where it needs them."""
        if hyperparameters is None:
            hyperparameters = self.hyperparameters
            if overrides:
                hyperparameters = type(hyperparameters)(**{**hyperparameters.model_dump(), **overrides})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder = encoder or self.encoder(seed, pooler=self.cls.uses_pooler)
            method = build(self.name, hyperparameters, self.spec, encoder)
        method.start(*self.starting_points())
        method.begin_training(make_labels(torch.linspace(-2, 2, self.spec.samples), self.spec))
        method.on_epoch_start(1)
        return method

    def starting_points(self) -> tuple[dict[str, Method], Any]:
        """Return the teachers that the method needs, with random weights, and the database that it searches."""
        teachers = {name: each.make(seed=1).eval().requires_grad_(False) for name, each in self.teachers.items()}
        if not self.cls.retrieves:
            return teachers, None
        from elision.methods.layers.retrieval import Database

        hidden = teachers[self.cls.retrieves].hidden(self.batch(16, lost=0.0, seed=2))
        return teachers, Database(hidden, rows=torch.arange(100, 116), labelled=torch.arange(16) < 12)

    @cached_property
    def ready(self) -> Method:
        """The method that predicts, in evaluation mode: the trained one, if there is one."""
        return (self.finished() if self.finished else self.make()).eval()

    def batch(self, size: int = 7, **given: Any) -> Batch:
        """Make random utterances (see `make_batch`), by default an odd number, so that signs of errors never cancel."""
        return make_batch(size, **{"spec": self.spec, **self.words, **given})

    @property
    def regression(self) -> bool:
        """Whether labels are scores."""
        return self.spec.task is TaskKind.REGRESSION
