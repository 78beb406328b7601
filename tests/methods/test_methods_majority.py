from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from tiny_methods import SPEC, make, make_batch

from elision.methods import build, resolve
from elision.methods.majority import majority_constant


def constant(*labels: float, corpus: str = "mosi") -> float:
    return majority_constant(torch.tensor(labels), corpus=corpus)


def test_a_neutral_majority_with_more_positive_than_negative_labels_gives_a_small_positive_score():
    found = constant(0, 0, 0, 0, 2, 2, -2)
    assert 0 < found < 0.5


def test_a_neutral_majority_without_a_positive_one_gives_exactly_0():
    assert constant(0, 0, 0, 1.2, -1.4, -2.2) == 0


def test_a_negative_majority_gives_a_negative_score_of_its_largest_class():
    assert -1.5 <= constant(-1, -1, -1.2, -2, -3, 2, 2, 0) <= -0.5


def test_within_the_majority_class_the_absolute_error_is_least():
    assert constant(1.2, 1.2, 1.2, 1.4, 0.6) == pytest.approx(1.2)


def test_a_score_of_0_is_negative_on_sims():
    assert constant(0, 0, 0, 0.2, 0.4, corpus="sims") <= 0
    assert 0.1 < constant(0, 0, 0.2, 0.4, 0.6, corpus="sims") <= 0.7


@settings(max_examples=60)
@given(st.lists(st.integers(-15, 15).map(lambda n: n / 5), min_size=1, max_size=30))
def test_its_accuracies_are_the_majority_shares_and_its_f1_follows_from_them(labels):
    found, y = constant(*labels), np.array(labels)
    for truth, predicted in (((y >= 0), found >= 0), ((y > 0)[y != 0], found > 0)):
        if not len(truth):
            continue
        share = max(truth.mean(), 1 - truth.mean())
        predictions = np.full(len(truth), predicted)
        assert (predictions == truth).mean() == pytest.approx(share)
        f1 = f1_score(truth, predictions, average="weighted", zero_division=0)
        assert f1 == pytest.approx(2 * share**2 / (1 + share))


def test_it_predicts_the_constant_of_the_training_labels_whatever_the_input():
    method = make("majority")
    method.begin_training(torch.full((SPEC.samples,), 1.2))
    batch = make_batch(5)
    torch.testing.assert_close(method.predict(batch).output, torch.full((5,), 1.2))
    assert method.state_dict()["constant"] == pytest.approx(1.2)
    assert not list(method.parameters())


def test_it_reads_no_text_so_it_loads_no_encoder():
    method = build("majority", resolve("majority", "mosi")[0], replace(SPEC, encoder="an encoder that is nowhere"))
    assert set(method.state_dict()) == {"constant"}
