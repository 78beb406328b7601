"""Fixtures of the tests of the methods."""

import pytest
import torch
from tiny_methods import make_batch

from elision.batch import Batch
from elision.methods import build, resolve
from elision.methods.layers.text_encoder import StubEncoder
from elision.task import OFFICIAL_SPECS


@pytest.fixture
def batch() -> Batch:
    """Seven utterances, half of each lost: an odd number, so that signs of errors cannot cancel."""
    return make_batch(7)


@pytest.fixture
def official_method():
    """Build a method at the official sizes of a corpus, without weights and without a text encoder."""

    def build_official(name: str, dims: str):
        with torch.device("meta"):
            return build(name, resolve(name, dims)[0], OFFICIAL_SPECS[dims], StubEncoder(768))

    return build_official
