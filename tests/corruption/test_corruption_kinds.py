"""A battery that every kind of corruption meets, and what is particular to single kinds."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.corruption.kind import Condition, Draw, Pattern, Samples, kind_of, kinds
from elision.corruption.kinds.burst import Setting as Bursts
from elision.corruption.missing import missing
from elision.methods.base import TrainingHyperparameters
from elision.settings.params import Params
from elision.task import MODALITIES

KINDS = kinds()
TESTED = [name for name, kind in KINDS.items() if kind.setting and kind.corruptions]
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
        if found.rates.ndim == 1:  # one of all samples
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
    assert {
        kind_of(word).source.name for kind in KINDS.values() if kind.name in TESTED for word in kind.corruptions
    } == set(TESTED)
    assert Condition("impulse", 20.0, ("text",)).kind is KINDS["noise"]
    with pytest.raises(KeyError):
        kind_of("rain")


# --- properties of single kinds

PATTERNS = [name for name, kind in KINDS.items() if isinstance(kind, Pattern)]
rates = st.integers(0, 20).map(lambda number: number / 20)


def of_lengths(lengths, *, modality="audio", first=0):
    """Samples of one modality, without [CLS] and [SEP]."""
    ids, longest = np.arange(first, first + len(lengths)).astype(str), max(lengths, default=0)
    return Samples(ids, {modality: np.array(lengths, np.int64)}, {modality: longest}, {modality: 1}, ends=False)


def default(name):
    """The setting of a kind, without rates."""
    return KINDS[name].setting[1]


def runs(lost):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize("name", PATTERNS)
@given(lengths=st.lists(st.integers(0, 40), max_size=6), low=rates, high=rates, seed=st.integers(0, 999))
def test_a_pattern_is_nested_in_the_rate_and_ends_with_everything(name, lengths, low, high, seed):
    low, high = sorted((low, high))
    of, draw = of_lengths(lengths), Draw(seed, "test")
    drawn = numbers(KINDS[name], of, default(name), draw)["audio"]
    assert not missing(drawn, 0.0).any() and missing(drawn, 1.0).all()
    assert not (missing(drawn, low) & ~missing(drawn, high)).any()


@pytest.mark.parametrize("name", [*PATTERNS, "modality_rate"])
@given(order=st.permutations(range(12)), count=st.integers(1, 12), seed=st.integers(0, 999))
def test_what_a_sample_loses_depends_on_no_other_sample_and_no_order(name, order, count, seed):
    of, chosen = samples(12), np.array(order[:count])
    part = replace(of, ids=of.ids[chosen], lengths={name: n[chosen] for name, n in of.lengths.items()})
    drawn, alone = (numbers(KINDS[name], each, default(name), Draw(seed, "test")) for each in (of, part))
    for modality in MODALITIES:
        for row, was in enumerate(chosen):
            mine = alone[modality][positions(part, modality, row)]
            np.testing.assert_array_equal(mine, drawn[modality][positions(of, modality, was)])


@pytest.mark.parametrize("name", [name for name in PATTERNS if name != "block"])  # of which many rates lose nothing
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_pattern_loses_the_share_of_the_rate(name, rate):
    drawn = numbers(KINDS[name], of_lengths([4000] * 40), default(name))["audio"]
    assert missing(drawn, rate).mean() == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("name", PATTERNS)
def test_the_ends_of_a_text_stay_in_every_pattern(name):
    of = samples()
    drawn = numbers(KINDS[name], of, default(name))
    for row in range(len(of)):
        part = drawn["text"][positions(of, "text", row)]
        assert (part[[0, -1]] == 1).all() if len(part) else True
        assert (part[1:-1] < 1).all()
    assert (drawn["audio"] < 1).all()


@given(length=st.integers(1, 60), percent=st.integers(0, 100), seed=st.integers(0, 10_000))
def test_a_block_is_one_run_of_the_rounded_share(length, percent, seed):
    drawn = KINDS["block"].numbers(of_lengths([length]), Draw(seed, "test"), [])["audio"]
    expected = round(Fraction(percent, 100) * length)
    assert runs(missing(drawn, percent / 100)).tolist() == [expected] * (expected > 0)


def test_every_start_of_a_block_is_as_likely_as_any_other():
    length, count, at = 12, 9000, 0.5
    drawn = KINDS["block"].numbers(of_lengths([length] * count), DRAW, [])["audio"].reshape(count, length)
    starts = np.bincount(missing(drawn, at).argmax(1), minlength=7)
    assert len(starts) == 7 and starts == pytest.approx(np.full(7, count / 7), rel=0.12)


@pytest.mark.parametrize(
    ("length", "rate", "expected"),
    [
        *[(4, 0.3, 4), (5, 0.8, 5), (10, 0.1, 10), (20, 0.1, 20), (20, 0.7, 20), (20, 0.95, 20)],
        # 1 / (1 - r), where that is more than L: shorter ones would not hold what is missing at lower rates.
        *[(1, 0.3, 1 / 0.7), (10, 0.95, 20), (10, 0.99, 100)],
    ],
)
def test_bursts_have_their_rate_and_their_mean_length(length, rate, expected):
    count, long = 100, 20_000
    drawn = KINDS["burst"].numbers(of_lengths([long] * count), DRAW, Bursts(length=length))["audio"]
    lost = missing(drawn, rate).reshape(count, long)
    assert lost.mean() == pytest.approx(rate, rel=0.05)
    assert np.concatenate([runs(row) for row in lost]).mean() == pytest.approx(expected, rel=0.05)


@cache
def many(seed):
    """Many samples of three modalities, and what decides which they lack."""
    ids, lengths = np.arange(30_000).astype(str), dict.fromkeys(MODALITIES, np.ones(30_000, np.int64))
    of = Samples(ids, lengths, dict.fromkeys(MODALITIES, 1), dict.fromkeys(MODALITIES, 1), ends=False)
    return of, KINDS["modality_rate"].numbers(of, Draw(seed, "test"), [])


@given(level=st.floats(0, 1).map(lambda level: round(level, 3)), seed=st.sampled_from([1, 1111]))
def test_modalities_are_missing_at_their_rate_and_no_sample_is_empty(level, seed):
    (of, drawn), kind = many(seed), KINDS["modality_rate"]
    absent = kind.test(kind.conditions([level], MODALITIES)[0], of, DRAW, drawn, []).rates
    assert set(np.unique(absent)) <= {0.0, 1.0}
    assert (absent.sum(1) < 3).all()
    assert 1 - absent.mean() == pytest.approx(max(1 - level, 1 / 3), abs=0.005)
    assert absent.mean(0) == pytest.approx(np.full(3, absent.mean()), abs=0.015)
    if level >= 0.667:
        assert (absent.sum(1) == 2).all()


@given(
    has=st.lists(st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_a_sample_keeps_one_of_the_modalities_that_it_has(has, seed):
    lengths = dict(zip(MODALITIES, 4 * np.array(has).T, strict=True))
    ids = np.arange(len(has)).astype(str)
    of = Samples(ids, lengths, dict.fromkeys(MODALITIES, 4), {"text": 0, "audio": 1, "vision": 1}, ends=True)
    kept = KINDS["modality_rate"].at(np.ones(3), of, Draw(seed, "test"), []).rates == 0
    assert ((kept & np.array(has)).sum(1) == 1).all()


def test_of_modalities_that_are_missing_at_one_rate_all_are_at_every_higher_one():
    kind, of = KINDS["modality_rate"], samples()
    drawn = kind.numbers(of, DRAW, [])
    before = np.zeros((len(of), 3))
    for condition in kind.conditions([number / 20 for number in range(21)], MODALITIES):
        now = kind.test(condition, of, DRAW, drawn, []).rates
        assert (now >= before).all()
        before = now
    assert before.sum()


@pytest.mark.parametrize("name", [name for name in TRAINED if KINDS[name].training_rates])
def test_training_draws_from_the_rates_that_it_is_given(name):
    kind, of = KINDS[name], samples(60)
    found = kind.train(of, Draw(1, "train 1"), default(name), OPTIONS.model_copy(update={"rates": [0.0]})).rates
    if name != "combined":  # which takes whole modalities, too
        assert not found.any()
    if kind.imbalanced:
        each = [{"text": 0.8, "audio": 0.2, "vision": 0.0}, 0.5]
        rows = kind.train(of, Draw(1, "train 1"), default(name), OPTIONS.model_copy(update={"rates": each})).rates
        assert np.unique(rows, axis=0) == pytest.approx(np.array([[0.5, 0.5, 0.5], [0.8, 0.2, 0.0]]))


# --- rates of single modalities


def test_a_condition_may_have_a_rate_for_each_modality():
    kind, rates = KINDS["random"], [0.5, {"text": 0.8, "audio": 0.2, "vision": 0.0}]
    plain, each = kind.conditions(rates, MODALITIES)
    assert (plain.corruption, plain.rates, plain.which) == ("random", (), "text+audio+vision")
    assert (each.corruption, each.rates, each.which) == ("random_imbalanced", (0.8, 0.2), "text 0.8+audio 0.2")
    assert each.level == pytest.approx(1 / 3) and each.kind is kind
    assert kind.rates(each).tolist() == [0.8, 0.2, 0.0]
    assert kind.describe(each) == "80 % of text, 20 % of audio"
    (without,) = kind.conditions(rates[1:], ("audio", "vision"))
    assert without.which == "audio 0.2" and without.level == pytest.approx(0.1)
    assert not kind.conditions([{"text": 0.8, "audio": 0.0, "vision": 0.0}], ("audio",))


@pytest.mark.parametrize("name", [name for name in PATTERNS if KINDS[name].imbalanced])
def test_each_modality_loses_at_its_own_rate_what_it_loses_at_that_rate_of_all(name):
    kind, of = KINDS[name], samples()
    (condition,) = kind.conditions([{"text": 0.7, "audio": 0.2, "vision": 0.0}], MODALITIES)
    drawn = numbers(kind, of, default(name))
    found = kind.test(condition, of, DRAW, drawn, default(name))
    assert found.rates.tolist() == [0.7, 0.2, 0.0]
    for modality in MODALITIES:
        np.testing.assert_array_equal(found.numbers[modality], drawn[modality])
