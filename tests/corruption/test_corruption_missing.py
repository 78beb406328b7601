import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.corruption.missing import (
    absent_rates,
    generator,
    generators,
    half_complete_rates,
    missing,
    mixed_rates,
    uniforms,
)
from elision.task import MODALITIES

IDS = [f"clip {i}" for i in range(40)]


def draw(ids=IDS, modality="audio", seed=1, stream="test", length=20):
    return uniforms(
        seed=seed,
        stream=stream,
        ids=ids,
        lengths=np.full(len(ids), length),
        modality=modality,
        keep_ends=modality == "text",
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_masks_are_nested_across_rates(first, second):
    low, high = sorted((first, second))
    uniform = draw(ids=IDS[:5])
    assert (missing(uniform, low) <= missing(uniform, high)).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_missing_positions_is_the_rate(rate):
    uniform = draw(length=500)
    deviation = np.sqrt(rate * (1 - rate) / len(uniform))
    assert abs(missing(uniform, rate).mean() - rate) < 4 * deviation


def test_nothing_is_missing_at_rate_0_and_everything_at_rate_1():
    assert not missing(draw(), 0.0).any()
    assert missing(draw(), 1.0).all()


def test_the_ends_of_a_text_are_never_missing():
    lost = missing(draw(modality="text"), 1.0).reshape(len(IDS), -1)
    assert not lost[:, [0, -1]].any()
    assert lost[:, 1:-1].all()


def test_a_draw_belongs_to_the_sample_and_not_to_its_place():
    forward = draw().reshape(len(IDS), -1)
    backward = draw(ids=IDS[::-1]).reshape(len(IDS), -1)
    assert np.array_equal(forward, backward[::-1])
    assert np.array_equal(forward[3], draw(ids=IDS[3:4]))


def test_a_longer_sample_begins_with_the_same_numbers():
    assert np.array_equal(draw(ids=IDS[:1], length=30)[:20], draw(ids=IDS[:1], length=20))


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"stream": "train 1"}, {"modality": "vision"}, {"ids": [*IDS[1:], "new"]}]
)
def test_streams_of_other_keys_are_independent(change):
    correlation = np.corrcoef(draw(length=200), draw(length=200, **change))[0, 1]
    assert abs(correlation) < 0.05


def test_the_generator_gives_known_numbers():
    """Masks of published results must not change with a release of NumPy or of ours."""
    drawn = generator(1111, "test", "audio", "video_1").random(3, dtype=np.float32)
    assert drawn.tolist() == [0.5198713541030884, 0.6072609424591064, 0.5314146876335144]


def test_generators_of_many_names_are_those_of_each_name_whatever_was_drawn_before():
    for name, random in zip(IDS, generators(1111, "test", names=IDS), strict=True):
        alone = generator(1111, "test", name)
        # Three numbers of 32 bits leave half a word of 64 behind.
        assert random.random(3, dtype=np.float32).tolist() == alone.random(3, dtype=np.float32).tolist()
        assert random.integers(10) == alone.integers(10)


def test_half_of_the_samples_are_complete_in_each_modality():
    rates = half_complete_rates(seed=3, stream="train 1", ids=IDS)
    assert rates.shape == (40, 3)
    assert ((rates == 0).sum(0) == 20).all()
    assert not np.array_equal(rates[:, 0] == 0, rates[:, 1] == 0)


def test_rates_of_incomplete_samples_are_uniform():
    rates = half_complete_rates(seed=3, stream="train 1", ids=[str(i) for i in range(2000)])
    drawn = np.sort(rates[rates > 0])
    assert np.abs(drawn - np.linspace(0, 1, len(drawn))).max() < 0.04
    assert abs(rates.mean() - 0.25) < 0.02


def test_rates_belong_to_the_ids_and_not_to_their_order():
    rates = half_complete_rates(seed=3, stream="train 1", ids=IDS)
    assert np.array_equal(rates[::-1], half_complete_rates(seed=3, stream="train 1", ids=IDS[::-1]))


def test_one_of_six_sets_of_modalities_is_absent_for_each_sample():
    ids = [f"s{i}" for i in range(3000)]
    rates = absent_rates(seed=1, stream="train 1", ids=ids, present=MODALITIES)
    kinds, counts = np.unique(rates, axis=0, return_counts=True)
    assert len(kinds) == 6 and set(rates.ravel().tolist()) == {0.0, 1.0}
    assert (counts > 400).all()
    assert np.array_equal(rates[5:9], absent_rates(seed=1, stream="train 1", ids=ids[5:9], present=MODALITIES))


def test_complete_is_one_more_set_with_the_chance_of_each_other():
    ids = [f"s{i}" for i in range(3500)]
    rates = absent_rates(seed=1, stream="train 1", ids=ids, present=MODALITIES, complete=True)
    kinds, counts = np.unique(rates, axis=0, return_counts=True)
    assert len(kinds) == 7 and not kinds[0].any()
    assert (abs(counts - 500) < 100).all()


def test_of_a_single_modality_nothing_is_absent():
    assert not absent_rates(seed=1, stream="x", ids=["a", "b"], present=("audio",), complete=True).any()
    assert not absent_rates(seed=1, stream="x", ids=["a", "b"], present=("audio",)).any()


def test_mixed_rates_hold_seven_sets_and_ten_rates():
    ids = [f"s{i}" for i in range(5000)]
    rates = mixed_rates(seed=1, stream="train 1", ids=ids, present=MODALITIES)
    assert len(np.unique(rates == 1, axis=0)) == 7
    assert np.allclose(np.unique(rates), np.arange(11) / 10)
    assert np.array_equal(rates[5:9], mixed_rates(seed=1, stream="train 1", ids=ids[5:9], present=MODALITIES))
