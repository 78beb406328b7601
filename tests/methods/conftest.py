"""Fixtures of the tests of the methods."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_methods import make_batch

import elision.methods
from elision.batch import Batch
from elision.methods import official
from elision.settings import params


@pytest.fixture
def batch() -> Batch:
    """Seven utterances, half of each lost: an odd number, so that signs of errors cannot cancel."""
    return make_batch(7)


@pytest.fixture
def official_method():
    """Build a method at the official sizes of a corpus, without weights and without a text encoder."""
    return official


@pytest.fixture
def add_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Put a file beside the methods until the test ends."""

    def forget() -> None:
        params._modules.cache_clear()
        params._attributes.cache_clear()
        importlib.invalidate_caches()

    def add(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        forget()

    monkeypatch.setattr(elision.methods, "__path__", [*elision.methods.__path__, str(tmp_path)])
    yield add
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"elision.methods.{path.stem}", None)
    monkeypatch.undo()
    forget()
