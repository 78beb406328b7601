import numpy as np
import pytest
import torch

from elision.store import Sequences
from elision.task import MODALITIES
from elision.training.split import SplitData
from elision.training.view import Scale, View, scales, spec


def test_only_training_frames_are_measured(store):
    expected = scales(store, standardise=["audio"])["audio"]
    for row in store.rows("test"):
        store.modalities["audio"].values[store.modalities["audio"].offsets[row] :][:3] += 100
    assert np.array_equal(Scale.of(store, "audio").mean, expected.mean)


@pytest.mark.parametrize("block", [1, 50])
def test_what_is_read_does_not_depend_on_the_size_of_blocks(store, block, monkeypatch):
    measured = Scale.of(store, "vision", everyone=True)
    whole = SplitData(store, "train", scales={"vision": measured}, view=View()).batch(torch.arange(12), None)
    monkeypatch.setattr("elision.store._BLOCK", block)
    again = Scale.of(store, "vision", everyone=True)
    assert np.array_equal(again.mean, measured.mean) and np.array_equal(again.std, measured.std)
    parts = SplitData(store, "train", scales={"vision": measured}, view=View()).batch(torch.arange(12), None)
    for name in MODALITIES:
        assert torch.equal(getattr(parts, name).values, getattr(whole, name).values)
        assert torch.equal(getattr(parts, name).observed, getattr(whole, name).observed)


def test_nothing_is_measured_without_standardisation(store):
    assert scales(store, standardise=[]) == {}


def test_all_samples_are_measured_when_asked_for(store):
    values = store.modalities["vision"].values
    seen = values[~np.isnan(values).any(1)].astype(np.float64)
    measured = scales(store, standardise=["vision"], everyone=True)["vision"]
    np.testing.assert_allclose(measured.mean, seen.mean(0), rtol=1e-6)
    np.testing.assert_allclose(measured.std, seen.std(0), rtol=1e-6)
    assert not np.allclose(measured.mean, Scale.of(store, "vision").mean)


def test_a_constant_dimension_is_only_centred(store):
    store.modalities["audio"].values[:, 1] = 4.0
    measured = Scale.of(store, "audio")
    assert (measured.mean[1], measured.std[1]) == (4.0, 1.0)


def test_a_modality_left_out_has_one_position(store):
    found = spec(store, "mosi", View(("text", "vision")))
    assert (found.audio, found.vision, found.length) == (1, 3, {"text": 9, "audio": 1, "vision": 10})


@pytest.mark.parametrize("alignment", ["words", "pooled"])
@pytest.mark.parametrize("gone", MODALITIES)
def test_an_aligned_modality_has_the_length_of_the_text_though_it_is_left_out(store, gone, alignment):
    found = spec(store, "mosi", View(tuple(name for name in MODALITIES if name != gone), alignment))
    assert found.length == dict.fromkeys(MODALITIES, 9)
    assert (found.audio, found.vision) == (1 if gone == "audio" else 4, 1 if gone == "vision" else 3)


def test_text_is_read_as_tokens_or_vectors_and_other_modalities_as_they_are(store):
    text = store.modalities["text"]
    vectors = Sequences.of([np.zeros((n, 6), np.float32) for n in text.lengths], text.header)
    store.modalities["text_features"] = vectors
    for reads, expected in (("tokens", text), ("vectors", vectors)):
        seen = View(("text", "audio"), reads_text=reads).sequences(store)
        assert list(seen) == ["text", "audio"]
        assert seen["text"] is expected and seen["audio"] is store.modalities["audio"]
    assert list(View(reads_text="nothing").sequences(store)) == list(MODALITIES)
