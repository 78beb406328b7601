"""Classes that authors released, as `against_official` runs them beside ours. A file, a repository or a family of them.

Nothing of them is copied here: a file says how to build a class from a checkout, which of our modules each of its
modules is, and what its training loop does in a step. ``RELEASED`` of every file is found by its place.
"""

import importlib
import pkgutil
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from elision.batch import Batch
from elision.task import DataSpec

TEXT_WIDTH = 768


class Given(nn.Module):
    """A text encoder that returns the hidden states [B, T, 768] that it is given, whatever the text is.

    Parameters
    ----------
    states : Tensor, optional
    pooler : bool
        Whether it has the pooler of a BERT.
    """

    width = TEXT_WIDTH

    def __init__(self, states: Tensor | None = None, *, pooler: bool = False) -> None:
        super().__init__()
        self.states = states
        self.pooler = nn.Linear(TEXT_WIDTH, TEXT_WIDTH) if pooler else None

    def forward(self, text: Any = None, rewrite: Mapping[int, Any] | None = None, **_: Any) -> Tensor:
        """Return the states, rewritten at every depth that the method asks for."""
        states = self.states
        for function in (rewrite or {}).values():
            states = function(states)
        return states

    def pool(self, hidden: Tensor) -> Tensor:
        """Pool the first token."""
        return self.pooler(hidden[:, 0]).tanh()

    def freeze_embeddings(self) -> None:
        """Do nothing: there are none."""


class Through(nn.Module):
    """A layer of a text encoder that changes nothing."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
        """Return the hidden states as layers of BERT do."""
        return (hidden,)


class Settings(dict):
    """A dictionary whose keys are attributes, too."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class Released:
    """A class that was released.

    Attributes
    ----------
    repository : str
        Folder of the checkout.
    corpora : tuple of str
        Keys of ``OFFICIAL_SPECS`` for which it has a configuration; the first is the usual one.
    modules : dict of str to str
        Our module or parameter for each of theirs; paths with dots.
    unread : tuple of str
        Modules of theirs that do nothing for a prediction or a loss, and that we do not have.
    hyperparameters : dict
        Ours, with which our class is the released one.
    batch : int or None
        The only size of a batch that the class can train on.
    """

    repository: ClassVar[str]
    corpora: ClassVar[tuple[str, ...]] = ("mosi", "mosei", "sims")
    modules: ClassVar[dict[str, str]]
    unread: ClassVar[tuple[str, ...]] = ()
    hyperparameters: ClassVar[dict[str, Any]] = {}
    batch: ClassVar[int | None] = None

    def sizes(self, spec: DataSpec) -> DataSpec:
        """Return the sizes of the data that the class reads."""
        return spec

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Return an instance for a corpus, built from a checkout."""
        raise NotImplementedError

    def arrange(self, ours: nn.Module) -> None:
        """Change our weights, which are theirs by now, where we have modalities in another order."""

    def start(self, model: nn.Module, teacher: nn.Module) -> None:
        """Give the instance its teacher."""

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return what the data loader would give; not timed."""
        raise NotImplementedError

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return the scores [B, 1] or [B], or class logits."""
        raise NotImplementedError

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the loss that is minimised."""
        raise NotImplementedError

    def clip(self, model: nn.Module) -> None:
        """Limit the gradients."""

    def step(self, model: nn.Module, inputs: Any, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Take a training step, as the released loop does."""
        optimizer.zero_grad()
        self.loss(model, inputs, batch).backward()
        self.clip(model)
        optimizer.step()


def imported(
    folder: Path, name: str, *, bare: tuple[str, ...] = (), stubs: Mapping[str, types.ModuleType] | None = None
) -> types.ModuleType:
    """Import a module of a checkout, and forget its packages, whose names other checkouts have, too.

    Parameters
    ----------
    folder : Path
        Where the module's first package lies.
    name : str
    bare : tuple of str
        Packages whose own file is not run: it imports what is not needed.
    stubs : dict of str to module
        Stand-ins for what cannot be imported and does not count.
    """
    before = dict(sys.modules)
    sys.modules.update(stubs or {})
    for package in bare:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(folder.joinpath(*package.split(".")))]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        roots = {name.partition(".")[0], *bare, *(stubs or {})}
        for loaded in [key for key in sys.modules if key.partition(".")[0] in roots and key not in before]:
            del sys.modules[loaded]


def stub(name: str, **members: Any) -> types.ModuleType:
    """Return a module with some members."""
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def found() -> dict[str, Released]:
    """Return every released class by the name of our method."""
    released: dict[str, Released] = {}
    for module in pkgutil.iter_modules(__path__):
        released |= importlib.import_module(f"{__name__}.{module.name}").RELEASED
    return released
