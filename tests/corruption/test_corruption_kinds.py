"""A battery that every kind of corruption meets, and what is particular to single kinds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.corruption.kind import Condition, Draw, Samples, kind_of, kinds
from elision.corruption.kinds.burst import Setting as Bursts
from elision.corruption.missing import missing
from elision.methods.base import TrainingHyperparameters
from elision.settings.params import Params
from elision.task import MODALITIES

KINDS = kinds()
TESTED = [name for name, kind in KINDS.items() if kind.setting]
TRAINED = [name for name, kind in KINDS.items() if kind.training]
OPTIONS = TrainingHyperparameters(intensity=20)
DRAW = Draw(7, "test")


def samples(count=40, *, start=0):
    random = np.random.default_rng(3)
    lengths = {name: random.integers(0, 30, 60)[start : start + count] for name in MODALITIES}
    ids = np.array([f"clip {k}" for k in range(start, start + count)])
    return Samples(ids, lengths, dict.fromkeys(MODALITIES, 30), {"text": 0, "audio": 5, "vision": 2}, ends=True)


def setting(name):
    """A setting of a kind under which it has conditions, from its own type: two levels, or true."""
    for value in ([0.2, 0.6], True, {"rates": [0.2, 0.6]}, {"kinds": ["gaussian", "impulse"], "intensities": [20, 60]}):
        try:
            found = Params(datasets={"d": {"source": "demo"}}, methods=["majority"], corruption={name: value})
        except ValueError:
            continue
        return getattr(found.corruption, name)
    raise AssertionError(f"say here which setting tests the kind {name}")


def numbers(kind, of, value, draw=DRAW):
    return kind.numbers(of, draw, value) or draw.uniforms(of)


def positions(of, name, row):
    bounds = of.bounds(name)
    return slice(bounds[row], bounds[row + 1])


@pytest.mark.parametrize("name", TESTED)
def test_a_kind_lists_its_conditions_and_has_words_for_them(name):
    kind = KINDS[name]
    listed = kind.conditions(setting(name), MODALITIES)
    assert listed and len(set(listed)) == len(listed)
    assert {each.corruption for each in listed} <= set(kind.corruptions)
    assert all(each.kind is kind and kind.describe(each) for each in listed)
    assert len({kind.describe(each) for each in listed}) == len(listed)
    assert kind.caption and kind.about.endswith(".") and kind.condition
    assert kind.level or kind.sets
    assert all(
        set(each.modalities) <= {"text", "vision"} for each in kind.conditions(setting(name), ("text", "vision"))
    )


@pytest.mark.parametrize("name", TESTED)
def test_what_is_missing_is_that_of_the_rates_and_of_the_sample_alone(name):
    kind, of, value = KINDS[name], samples(), setting(name)
    drawn, fewer, rest = numbers(kind, of, value), samples(8, start=20), None
    rest = numbers(kind, fewer, value)
    for modality in MODALITIES:
        assert len(drawn[modality]) == of.lengths[modality].sum()
        for row in range(8):
            mine = rest[modality][positions(fewer, modality, row)]
            np.testing.assert_array_equal(mine, drawn[modality][positions(of, modality, 20 + row)])
    for condition in kind.conditions(value, of.present):
        found = kind.test(condition, of, DRAW, drawn, value)
        assert np.shape(found.rates)[-1] == 3
        np.testing.assert_array_equal(found.rates, kind.rates(condition))
        assert set(found.noise) <= set(condition.modalities)


@pytest.mark.parametrize("name", [name for name in TESTED if not KINDS[name].sets])
def test_what_is_missing_at_one_level_is_missing_at_every_higher_one(name):
    kind, value = KINDS[name], setting(name)
    low, high = sorted(kind.conditions(value, MODALITIES), key=lambda condition: condition.level)
    for drawn in numbers(kind, samples(), value).values():
        lost = missing(drawn, low.level)
        assert lost.any() and not (lost & ~missing(drawn, high.level)).any()


@pytest.mark.parametrize("name", TRAINED)
def test_a_kind_draws_in_training_anew_each_epoch_and_by_sample(name):
    kind, of = KINDS[name], samples()
    value = setting(name) if kind.setting else None
    first, again, other = (kind.train(of, Draw(1, stream), value, OPTIONS) for stream in ("a", "a", "b"))
    assert (first is None) == (other is None)
    if first is None:
        return
    np.testing.assert_array_equal(first.rates, again.rates)
    assert first.rates.shape == (len(of), 3) and first.rates.dtype == np.float32
    assert not np.array_equal(first.rates, other.rates)
    for modality in first.numbers:
        np.testing.assert_array_equal(first.numbers[modality], again.numbers[modality])
    assert all(drawn is None or set(drawn.numbers) for drawn in kind.validate(of, Draw(1, "valid"), value, OPTIONS))


def test_what_is_not_set_is_not_tested():
    params = Params(
        datasets={"d": {"source": "demo"}}, methods=["majority"], corruption={"random": [], "absent": False}
    )
    corruption = params.corruption_for("d")
    assert not [c for name in TESTED for c in KINDS[name].conditions(getattr(corruption, name), MODALITIES)]


def test_every_corruption_belongs_to_one_kind():
    assert {kind_of(word).name for kind in KINDS.values() for word in kind.corruptions} == set(TESTED)
    assert Condition("impulse", 20.0, ("text",)).kind is KINDS["noise"]
    with pytest.raises(KeyError):
        kind_of("rain")


# --- bursts


@given(length=st.integers(1, 40), rate=st.sampled_from([0.1, 0.5, 0.9]), seed=st.integers(0, 99))
def test_a_burst_is_missing_in_one_piece(length, rate, seed):
    of = samples()
    drawn = KINDS["burst"].numbers(of, Draw(seed, "test"), Bursts(length=length))["audio"]
    for row in range(len(of)):
        part = drawn[positions(of, "audio", row)]
        # Positions of a span share their number, so that no rate cuts it.
        changes = np.flatnonzero(np.diff(part))
        assert len(set(part.tolist())) == len(changes) + (1 if len(part) else 0)
        assert not np.diff(missing(part, rate))[np.diff(part) == 0].any()


@pytest.mark.parametrize(("length", "rate"), [(1, 0.3), (5, 0.3), (20, 0.1), (20, 0.7)])
def test_bursts_have_their_rate_and_their_mean_length(length, rate):
    count, long = 60, 3000
    of = Samples(
        np.arange(count).astype(str), {"audio": np.full(count, long)}, {"audio": long}, {"audio": 1}, ends=False
    )
    lost = missing(KINDS["burst"].numbers(of, Draw(1, "test"), Bursts(length=length))["audio"], rate)
    assert lost.mean() == pytest.approx(rate, abs=0.02)
    lost = np.pad(lost.reshape(count, long), ((0, 0), (1, 1)))
    gaps = (np.diff(lost.astype(int), axis=1) == 1).sum()
    # Neighbours that are both missing make one gap; those at the ends of the sequence are cut.
    assert lost.sum() / gaps == pytest.approx(length / (1 - rate), rel=0.1)


def test_the_ends_of_a_text_stay_in_a_burst():
    of = samples()
    drawn = KINDS["burst"].numbers(of, DRAW, Bursts(length=50))
    for row in range(len(of)):
        part = drawn["text"][positions(of, "text", row)]
        assert (part[[0, -1]] == 1).all() if len(part) else True
    assert (drawn["audio"] < 1).all()
