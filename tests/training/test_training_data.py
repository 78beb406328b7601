import numpy as np
import pytest
import torch

from elision.training.data import Scale, SplitData, scales, spec

ALL = torch.arange(12)


def split(store, name="train", **options):
    return SplitData(store, name, **{"scales": {}, **options})


def test_a_batch_holds_the_samples_padded_to_the_fixed_length(store):
    batch = split(store).batch(torch.tensor([3, 0]), None)
    for name, length in (("text", 9), ("audio", 9), ("vision", 10)):
        sequence, source = getattr(batch, name), store.modalities[name]
        assert sequence.values.shape[:2] == (2, length)
        assert sequence.lengths.tolist() == source.lengths[[3, 0]].tolist()
        expected = torch.from_numpy(np.nan_to_num(source[3]).copy())
        assert torch.equal(sequence.values[0, : len(expected)], expected.to(sequence.values.dtype))
        assert not sequence.values[0, len(expected) :].any()
    assert batch.index.tolist() == [3, 0]
    assert batch.label.tolist() == pytest.approx(store.samples["label"][[3, 0]].tolist())
    assert not batch.rate.any()


def test_a_frame_without_a_face_is_valid_but_not_observed(store):
    vision = split(store).batch(torch.tensor([2]), None).vision
    assert vision.valid[0, 1]
    assert not vision.observed[0, 1]
    assert not vision.values[0, 1].any()


def test_a_modality_that_a_sample_lacks_is_nowhere_valid(store):
    batch = split(store).batch(ALL, None)
    assert not batch.audio.valid[5].any()
    assert not batch.text.valid[6].any()


def test_observed_is_a_subset_of_valid_and_missing_frames_are_zeros(store):
    data = split(store)
    corrupted = data.training_corruption("lnln", seed=1, stream="train 1")
    batch = data.batch(ALL, corrupted, with_clean=True)
    for name in ("audio", "vision"):
        sequence, clean = getattr(batch, name), getattr(batch.clean, name)
        assert (sequence.observed <= sequence.valid).all()
        assert torch.equal(sequence.valid, clean.valid)
        assert not sequence.values[~sequence.observed].any()
        assert torch.equal(sequence.values[sequence.observed], clean.values[sequence.observed])
    assert (batch.audio.observed.sum() < batch.clean.audio.observed.sum()).item()


def test_missing_tokens_are_unknown_and_the_ends_stay(store):
    data = split(store)
    corrupted = data.corruption(rates=np.ones(3, np.float32), uniform=_uniforms(data))
    text = data.batch(torch.tensor([0]), corrupted).text
    length = int(text.lengths[0])
    assert text.values[0, :length].tolist() == [101, *[100] * (length - 2), 102]
    assert text.observed[0].tolist() == [True, *[False] * (length - 2), True, *[False] * (9 - length)]
    assert text.valid[0].sum() == length


def test_a_sample_is_corrupted_alike_in_every_batch(store):
    data = split(store)
    corrupted = data.training_corruption("lnln", seed=1, stream="train 1")
    whole, single = data.batch(ALL, corrupted), data.batch(torch.tensor([7]), corrupted)
    for name in ("text", "audio", "vision"):
        assert torch.equal(getattr(whole, name).values[7:8], getattr(single, name).values)
    assert torch.equal(whole.rate[7:8], single.rate)


def test_epochs_are_corrupted_differently(store):
    data = split(store)
    first, second = (data.training_corruption("lnln", seed=1, stream=f"train {epoch}") for epoch in (1, 2))
    assert not torch.equal(first.rates, second.rates)
    assert not torch.equal(first.lost["vision"], second.lost["vision"])


def test_complete_data_lose_nothing(store):
    data = split(store)
    assert data.training_corruption("complete", seed=1, stream="train 1") is None
    batch = data.batch(ALL, None, with_clean=True)
    assert torch.equal(batch.audio.values, batch.clean.audio.values)


def test_a_modality_left_out_is_one_invalid_position(store):
    data = split(store, modalities=("text", "vision"))
    batch = data.batch(ALL, data.training_corruption("lnln", seed=1, stream="train 1"))
    assert batch.audio.values.shape == (12, 1, 1)
    assert not batch.audio.valid.any()
    found = spec(store, "mosi", ("text", "vision"))
    assert (found.audio, found.vision, found.length) == (1, 3, {"text": 9, "audio": 1, "vision": 10})


def test_text_left_out_is_one_invalid_token(store):
    batch = split(store, modalities=("audio",)).batch(ALL, None)
    assert batch.text.values.shape == (12, 1)
    assert batch.text.values.dtype == torch.int64
    assert not batch.text.valid.any()


def test_training_frames_are_standardised_and_missing_frames_stay_zero(store):
    measured = scales(store, standardise=True)
    batch = split(store, scales=measured).batch(ALL, None)
    for name in ("audio", "vision"):
        sequence = getattr(batch, name)
        frames = sequence.values[sequence.observed]
        assert frames.mean(0).abs().max() < 1e-5
        assert (frames.std(0, correction=0) - 1).abs().max() < 1e-4
        assert not sequence.values[~sequence.observed].any()


def test_only_training_frames_are_measured(store):
    expected = scales(store, standardise=True)["audio"]
    for row in store.rows("test"):
        store.modalities["audio"].values[store.modalities["audio"].offsets[row] :][:3] += 100
    assert np.array_equal(Scale.of(store, "audio").mean, expected.mean)


def test_nothing_is_measured_without_standardisation(store):
    assert scales(store, standardise=False) == {}


def test_a_constant_dimension_is_only_centred(store):
    store.modalities["audio"].values[:, 1] = 4.0
    measured = Scale.of(store, "audio")
    assert (measured.mean[1], measured.std[1]) == (4.0, 1.0)


def _uniforms(data):
    from elision.corruption.missing import uniforms

    return {
        name: uniforms(seed=1, stream="test", ids=data.ids, lengths=lengths, modality=name)
        for name, lengths in data.lengths.items()
    }
