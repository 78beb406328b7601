"""The space of a search follows by rule from the fields of a method."""

import numpy as np
import pytest
from pydantic import BaseModel, Field, ValidationError

from elision.methods import load, method_names, resolve
from elision.search import Range, is_whole, space
from elision.settings.params import is_floor
from elision.task import CORPORA


class Model(BaseModel):
    learning_rate: float = 0.001
    learning_rate_text_encoder: float | None = None
    finetune_text_encoder: bool = True
    dropout: float = 0.3
    text_dropout: float = Field(0.8, ge=0, lt=0.9)
    reconstruction_weight: float = Field(0.5, le=2)
    share_weight: float = Field(0.5, lt=1)
    adversarial_weight: float = 0.0
    layers: int = 2
    epochs: int | None = 3
    margin: float = 0.2


def test_learning_rates_and_weights_are_searched_by_decades_and_dropouts_up_to_a_half():
    assert space(Model()) == {
        "learning_rate": Range(low=0.0001, high=0.01, log=True),
        "dropout": Range(low=0, high=0.5),
        "text_dropout": Range(low=0, high=0.8),
        "reconstruction_weight": Range(low=0.05, high=2, log=True),
        "share_weight": Range(low=0.05, high=np.nextafter(1, 0), log=True),
    }


def test_what_a_row_sets_is_not_searched_unless_the_user_asks():
    assert "dropout" not in space(Model(), fixed=["dropout"])
    asked = {"dropout": [0.1, 0.2], "layers": Range(low=1, high=4), "learning_rate": None, "unknown": [1, 2]}
    found = space(Model(), fixed=["dropout"], own={"layers": [1, 2], "margin": [0.1, 0.2]}, asked=asked)
    assert list(found) == ["dropout", "text_dropout", "reconstruction_weight", "share_weight", "layers", "margin"]
    assert found["dropout"] == [0.1, 0.2] and found["layers"] == Range(low=1, high=4)


def test_the_rate_of_a_frozen_text_encoder_is_not_searched():
    values = {"learning_rate_text_encoder": 1e-5}
    assert "learning_rate_text_encoder" in space(Model(**values))
    assert "learning_rate_text_encoder" not in space(Model(**values, finetune_text_encoder=False))


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (-1, 1, True)])
def test_a_range_has_two_ends_and_a_logarithm(low, high, log):
    with pytest.raises(ValidationError):
        Range(low=low, high=high, log=log)


def test_a_whole_number_is_known_by_its_field():
    fields = Model.model_fields
    assert [name for name in fields if is_whole(fields[name])] == ["layers", "epochs"]


@pytest.mark.parametrize("name", method_names())
def test_every_method_but_floors_has_a_space_with_its_defaults_in_it_and_limits_that_it_may_have(name):
    cls = load(name)
    for corpus in CORPORA:
        values, _ = resolve(name, corpus)
        found = space(values, own=cls.search_space)
        assert found or is_floor(name)
        for key, entry in found.items():
            assert not isinstance(entry, Range) or entry.low <= getattr(values, key) <= entry.high
            for end in (entry.low, entry.high) if isinstance(entry, Range) else entry:
                resolve(name, corpus, {key: end})
