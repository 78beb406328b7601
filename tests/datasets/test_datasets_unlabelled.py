"""Ways in which published files say that a sample has no label: each is none, and a wrong label is still refused."""

import numpy as np
import pytest

from elision.datasets import _labels
from elision.settings.params import Params

EMPTY = [None, float("nan"), np.float32("nan"), np.array([np.nan]), "", "nan", b"N/A", np.str_("None"), np.array("")]
WRONG = ["happy", b"x", [1.0], np.array([1.0, 2.0]), {}]


@pytest.mark.parametrize("cell", EMPTY, ids=repr)
def test_no_label_is_none(cell):
    assert np.isnan(_labels.number(cell))


@pytest.mark.parametrize("cell", WRONG, ids=repr)
def test_what_is_no_number_is_outside_of_all_limits(cell):
    settings = Params(datasets={"demo": {"source": "demo"}}, methods=["majority"]).datasets["demo"]
    assert _labels.outside(np.array(_labels.number(cell)), settings)
    assert _labels.beyond(np.array([_labels.number(cell)]), ["a", "b"]).all()


def test_numbers_of_classes_are_their_places():
    numbers = np.array([0, 1, np.nan, 2, 0.5, -1])
    assert _labels.beyond(numbers, ["a", "b"]).tolist() == [False, False, False, True, True, True]
    assert _labels.placed(numbers[:3], ["a", "b"]) == ["a", "b", None]
