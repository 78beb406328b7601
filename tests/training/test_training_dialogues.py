"""Batches of dialogues: whole, in order, and trained and predicted like any other."""

from dataclasses import replace

import pytest
import torch

from elision.training.split import SplitData
from elision.training.view import View

NAMES = ["b", "a", "b", "a", "b", "c", "c", "d", "d", "d", "d", "e"]
POSITIONS = [2, 0, 0, 1, 1, 1, 0, 3, 2, 1, 0, 0]


@pytest.fixture
def told(store):
    """A store whose training samples are of five dialogues."""
    samples = store.samples.copy()
    train = store.rows("train")
    samples["dialogue"], samples["position"] = "x", range(len(samples))
    samples.loc[samples.index[train], "dialogue"] = NAMES
    samples.loc[samples.index[train], "position"] = POSITIONS
    samples["speaker"] = ["F", "M"] * (len(samples) // 2) + ["F"] * (len(samples) % 2)
    return replace(store, samples=samples)


def read(store) -> SplitData:
    return SplitData(store, "train", scales={}, view=View(dialogues=True))


def test_dialogues_are_the_units_of_batches(told):
    data = read(told)
    assert (data.units, len(data)) == (5, 12)
    members = data.members(torch.tensor([1, 0, 4]))
    assert [NAMES[i] for i in members] == ["a", "a", "b", "b", "b", "e"]
    assert [POSITIONS[i] for i in members] == [0, 1, 0, 1, 2, 0]


def test_without_dialogues_utterances_are_the_units(store):
    data = SplitData(store, "train", scales={}, view=View())
    assert data.units == len(data) == 12
    units = torch.tensor([3, 0])
    assert torch.equal(data.members(units), units)
    assert data.batch(units, None).dialogues is None


def test_a_batch_says_which_utterances_make_a_dialogue(told):
    data = read(told)
    batch = data.batch(data.members(torch.tensor([2, 1])), None, with_clean=True)
    for dialogues in (batch.dialogues, batch.clean.dialogues):
        assert dialogues.known_lengths.tolist() == [2, 2]
        assert [NAMES[i] for i in batch.index[dialogues.member].flatten()] == ["c", "c", "a", "a"]
        who = [told.samples["speaker"].iloc[row] for row in batch.row[dialogues.member].flatten().tolist()]
        numbered = ["FM".index(name) if len({*pair}) == 2 else 0 for pair in (who[:2], who[2:]) for name in pair]
        assert dialogues.speaker.flatten().tolist() == numbered


def test_the_same_dialogue_twice_in_a_row_is_two_dialogues(told):
    data = read(told)
    for unit in (0, 4):
        twice = data.batch(data.members(torch.tensor([unit, unit])), None).dialogues
        assert len(twice.known_lengths) == 2
