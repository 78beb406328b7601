"""Which utterances make a dialogue."""

import numpy as np
import pandas as pd
import pytest
import torch

from elision.batch import Dialogues
from elision.dialogues import known, members, speakers


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_columns_say_dialogue_and_position():
    samples = table(id=list("abcd"), dialogue=["x", "y", "x", "y"], position=[1, 0, 0, 1])
    assert [rows.tolist() for rows in members(samples)] == [[2, 0], [1, 3]]


def test_ids_of_mmsa_say_the_video_and_the_number_of_the_clip():
    samples = table(id=["v$_$10", "w$_$0", "v$_$2", "v$_$9"])
    assert [rows.tolist() for rows in members(samples)] == [[2, 3, 0], [1]]


@pytest.mark.parametrize(
    "columns",
    [
        {"id": ["a", "b"]},
        {"id": ["a", "b"], "dialogue": ["x", "x"]},
        {"id": ["a", "b"], "position": [0, 1]},
        {"id": ["a", "b"], "dialogue": ["x", "x"], "position": [None, None]},
        {"id": ["a", "b"], "dialogue": ["x", "x"], "position": ["first", "second"]},
        {"id": ["v$_$one", "v$_$two"]},
    ],
    ids=["nothing", "no position", "no dialogue", "no numbers", "words", "words in ids"],
)
def test_without_both_of_them_an_utterance_is_a_dialogue_of_its_own(columns):
    samples = table(**columns)
    assert known(samples)["dialogue"].isna().all()
    assert [rows.tolist() for rows in members(samples)] == [[0], [1]]


def test_a_row_without_a_dialogue_is_alone_beside_rows_with_one():
    samples = table(id=list("abc"), dialogue=["x", None, "x"], position=[0, 0, 1])
    assert [rows.tolist() for rows in members(samples)] == [[0, 2], [1]]


def test_speakers_are_numbered_in_each_dialogue():
    samples = table(id=list("abcde"), dialogue=list("xxyyy"), position=range(5), speaker=["F", "M", "tom", None, "tom"])
    assert speakers(samples).tolist() == [0, 1, 1, 0, 1]


def test_without_speakers_one_speaks():
    assert speakers(table(id=list("ab"))).tolist() == [0, 0]


def test_what_belongs_to_utterances_goes_to_turns_and_back():
    dialogues = Dialogues.of(torch.tensor([2, 1, 3]), torch.tensor([0, 1, 0, 1, 0, 1]))
    values = torch.randn(6, 4)
    padded = dialogues.padded(values)
    assert padded.shape == (3, 3, 4)
    assert torch.equal(padded[0, :2], values[:2])
    assert not padded[~dialogues.valid].any()
    assert torch.equal(dialogues.flat(padded), values)
    assert dialogues.speaker.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert dialogues.known_lengths.tolist() == [2, 1, 3]
    assert np.array_equal(dialogues.valid.sum(1), [2, 1, 3])
