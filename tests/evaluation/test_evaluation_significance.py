import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

from elision.errors import ElisionError
from elision.evaluation.aggregate import aggregate, headline_rows
from elision.evaluation.metrics import Once, score, weighted
from elision.evaluation.metrics import family as family_of
from elision.evaluation.significance import (
    Resamples,
    clusters,
    draw,
    holm,
    interval,
    p_value,
    ranks,
    significance,
    standard_error,
    summaries,
)
from elision.settings.params import Statistics

EMOTION = "emotion:happy,angry,sad,neutral"
NAMES = np.array(family_of(EMOTION).labels, dtype=object)
FAMILIES = ("mosi", "sims", EMOTION)
RATES = (0.0, 0.1, 0.5, 0.9)
CONDITIONS = [("random", rate, "text+audio+vision" if rate else "") for rate in RATES]
CONDITIONS += [("absent", 0.0, ""), ("absent", 1.0, "text"), ("absent", 1.0, "text+audio")]
SUMMARIES = ("mean_random", "mean_absent", "area_random")
KEYS = ["corruption", "level", "modalities"]


def directed(family):
    return family_of(family).directed


def predictions(family="mosi", *, seed=0, samples=40, noise=0.4, checkpoints=("valid",), prefix="v", predicted=None):
    """The label plus noise that grows with the level, or what ``predicted`` makes of labels and level."""
    labels = np.random.default_rng([1111, len(prefix)])
    label = labels.integers(0, 4, samples) if family == EMOTION else labels.uniform(-1, 1, samples).round(1)
    generator, tables = np.random.default_rng(seed), []
    for checkpoint in checkpoints:
        for corruption, level, modalities in CONDITIONS:
            if predicted:
                guess = predicted(label, level)
            elif family == EMOTION:
                wrong = generator.random(samples) < noise + 0.4 * level
                guess = np.where(wrong, generator.integers(0, 4, samples), label)
            else:
                guess = label + generator.normal(0, noise + level, samples)
            table = {"id": [f"{prefix}{i:03d}" for i in range(samples)], "corruption": corruption, "level": level}
            table |= {"modalities": modalities, "checkpoint": checkpoint}
            values = {"prediction": NAMES[guess], "label": NAMES[label]} if family == EMOTION else {}
            tables.append(pd.DataFrame({**table, **(values or {"prediction": guess, "label": label})}))
    return pd.concat(tables, ignore_index=True)


def people(*tables, of=lambda number: None):
    """Samples of the utterances of predictions, whose speaker is a function of their number."""
    ids = sorted({name for table in tables for name in table["id"]})
    return pd.DataFrame({"id": ids, "speaker": [of(i) for i in range(len(ids))]})


def compared(*methods, family="mosi", samples=None, **how):
    """Intervals and comparisons of methods "a", "b" ... with one run each."""
    tables = [("d", family, "abcdef"[i], "seed-1", table) for i, table in enumerate(methods)]
    return significance(tables, {"d": people(*methods) if samples is None else samples}, Statistics(**how))


def at(table, corruption="random", level=0.1, modalities=None, **equal):
    """The one row of a condition."""
    rows = table[table["corruption"] == corruption]
    rows = rows[rows["level"] == level] if level is not None else rows
    for column, value in equal.items() | ({"modalities": modalities}.items() if modalities is not None else set()):
        rows = rows[rows[column] == value]
    (row,) = rows.itertuples(index=False)
    return row


grid = st.integers(-40, 40).map(lambda tenths: tenths / 10)


@st.composite
def resampled(draw, family):
    """Labels, predictions under two conditions, and three weightings, each with a sample at least."""
    size = draw(st.integers(1, 25))
    values = st.integers(0, 3) if family == EMOTION else grid
    end = {"mosi": 3, "sims": 1, EMOTION: 3}[family]
    label = np.clip(draw(st.lists(values, min_size=size, max_size=size)), -end, end)
    prediction = np.array([draw(st.lists(values, min_size=size, max_size=size)) for _ in range(2)])
    times = np.array([draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)) for _ in range(3)])
    times[:, draw(st.integers(0, size - 1))] += 1
    return label, prediction, times


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=100)
def test_a_weighted_metric_is_that_of_samples_given_so_many_times(family, data):
    label, prediction, times = data.draw(resampled(family))
    found = weighted(prediction, label, family, weights=Resamples(np.arange(len(label)), times))
    expected = [
        [score(np.repeat(p, row), np.repeat(label, row), family, protocol="hrlf") for p in prediction] for row in times
    ]
    assert set(found) >= set(expected[0][0])
    for name in expected[0][0]:
        values = [[values[name] for values in line] for line in expected]
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=50)
def test_a_weight_of_0_leaves_a_sample_out_and_the_order_of_samples_does_not_count(family, data):
    label, prediction, times = data.draw(resampled(family))
    times = np.minimum(times, 1)
    order = data.draw(st.permutations(range(len(label))))
    names = np.arange(len(label))
    found = weighted(prediction, label, family, weights=Resamples(names, times))
    mixed = weighted(prediction[:, order], label[order], family, weights=Resamples(names, times[:, order]))
    for row, kept in enumerate(times > 0):
        alone = weighted(prediction[:, kept], label[kept], family, weights=Once())
        for name, values in alone.items():
            for other in (found, mixed):
                np.testing.assert_allclose(other[name][row], values[0], rtol=0, atol=1e-12, equal_nan=True)


def test_correlation_is_safe_far_from_zero_and_for_tiny_differences():
    label = np.array([-1.0, 0.0, 1.0, 2.0])
    prediction = 1e6 + 1e-6 * np.array([[0.0, 2.0, 1.0, 3.0]])
    for weights in (Once(), Resamples(np.arange(4), np.ones((1, 4)))):
        found = weighted(prediction, label, "mosi", weights=weights)["corr"]
        assert found[0, 0] == pytest.approx(0.8, abs=1e-4)
        assert np.isnan(weighted(np.full((1, 4), 0.1), label, "mosi", weights=weights)["corr"]).all()


@pytest.mark.parametrize("weights", [Once(), Resamples(np.arange(3), np.array([[1, 1, 1], [2, 0, 1]]))])
def test_moments_are_those_of_numpy(weights):
    a, b = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]]), np.array([[0.5, -1.0, 2.0]])
    found = np.stack(weights.moments(a, b)[:2])
    for row, samples in enumerate([[0, 1, 2], [0, 0, 2]][: found.shape[1]]):
        for k in range(2):
            expected = np.cov(a[k, samples], b[0, samples])
            assert found[:, row, k] == pytest.approx(expected[0], abs=1e-14)
            assert weights.moments(a, b)[2][row, 0] == pytest.approx(expected[1, 1])
    assert (found[:, :, 1] == 0).all()


def test_sums_do_not_depend_on_threads_or_on_how_resamples_are_cut():
    random = np.random.default_rng(0)
    times = draw(977, resamples=300, key=("test",))
    values = random.normal(size=(37, 977))
    with threadpool_limits(2):
        whole = Resamples(np.arange(977), times).total(values)
    with threadpool_limits(1):
        alone = Resamples(np.arange(977), times).total(values)
    cut = np.concatenate([Resamples(np.arange(977), part).total(values) for part in np.array_split(times, 7)])
    one_by_one = np.stack([Resamples(np.arange(977), times).total(row[None])[:, 0] for row in values], axis=1)
    reverse = Resamples(np.arange(977), times[:, ::-1]).total(values[:, ::-1])
    for other in (alone, cut, one_by_one, reverse):
        assert other.tobytes() == whole.tobytes()
    np.testing.assert_allclose(whole, times.astype(float) @ values.T, rtol=0, atol=1e-11)


def test_utterances_of_a_cluster_are_drawn_together_and_every_resample_has_as_many_clusters():
    names = np.array(["b", "a", "b", "c", "a", "b"])
    times = draw(3, resamples=200, key=("test",))
    assert (times.sum(1) == 3).all()
    weights = Resamples(names, times).total(np.eye(6))
    for name, column in (("a", 0), ("b", 1), ("c", 2)):
        assert (weights[:, names == name] == times[:, [column]]).all()
    assert len({tuple(row) for row in times}) == 10  # all ways to draw three of three with replacement


def test_draws_are_keyed():
    first = draw(50, resamples=5, key=(1111, "bootstrap", "d"))
    assert (draw(50, resamples=5, key=(1111, "bootstrap", "d")) == first).all()
    assert (draw(50, resamples=7, key=(1111, "bootstrap", "d"))[:5] == first).all()
    assert (draw(50, resamples=5, key=(1111, "bootstrap", "other")) != first).any()
    assert (draw(50, resamples=5, key=(1112, "bootstrap", "d")) != first).any()


def test_the_interval_of_a_paired_difference_that_can_be_worked_out_by_hand():
    # Three utterances; one method is wrong by 3 on the last, the other never. The standard deviation of the difference
    # of MAE over resamples is sqrt(3 * 1/3 * 2/3); times sqrt(3/2), the standard error is 1, with 2 degrees of freedom.
    one = predictions(samples=3, predicted=lambda label, level: label + np.array([0, 0, 3]))
    other = predictions(samples=3, predicted=lambda label, level: label)
    for confidence in (0.9, 0.95):
        intervals, comparisons = compared(one, other, resamples=4000, confidence=confidence)
        row, reach = at(comparisons, metric="mae"), stats.t.isf((1 - confidence) / 2, 2)
        assert (row.method, row.other, row.difference) == ("a", "b", 1)
        assert (row.low, row.high) == pytest.approx((1 - reach, 1 + reach), rel=0.05)
        assert row.p == pytest.approx(2 * stats.t.sf(1, 2), rel=0.03)
        mae = at(intervals, method="a", metric="mae")
        assert mae.value == pytest.approx(1) and mae.low == 0  # no error is below 0
        assert mae.high == pytest.approx(1 + reach, rel=0.05)
        assert (row.freedom, row.clusters, row.samples) == (2, 3, 3)


def test_p_of_a_mean_over_utterances_is_that_of_the_paired_t_test():
    one, other = predictions(seed=1, samples=200), predictions(seed=2, samples=200, noise=0.46)
    _, comparisons = compared(one, other, resamples=20000)
    errors = [
        (rows["prediction"] - rows["label"]).abs()
        for table in (one, other)
        for rows in [table[(table["corruption"] == "random") & (table["level"] == 0.0)]]
    ]
    expected = stats.ttest_rel(*errors)
    row = at(comparisons, level=0.0, metric="mae")
    assert 0.001 < expected.pvalue < 0.5
    assert stats.t.isf(row.p / 2, 199) == pytest.approx(abs(expected.statistic), rel=0.02)


def test_differences_by_chance_are_significant_as_often_as_they_should_be_if_clusters_are_drawn():
    random, groups, size, rejected = np.random.default_rng(5), 25, 8, {"cluster": 0, "utterance": 0}
    for trial in range(400):
        differences = (random.normal(size=(groups, 1)) + random.normal(size=(groups, size))).reshape(1, -1)
        for kind, names in (("cluster", np.repeat(np.arange(groups), size)), ("utterance", np.arange(groups * size))):
            count = len(set(names))
            times = draw(count, resamples=100, key=(trial, kind))
            weights = Resamples(names, np.concatenate([np.ones((1, count)), times]))
            means = weights.total(differences) / weights.total(np.ones_like(differences))
            rejected[kind] += p_value(means[0], standard_error(means[1:], count), count - 1)[0] < 0.05
    assert 0.03 < rejected["cluster"] / 400 < 0.08
    assert rejected["utterance"] / 400 > 0.3


def test_copies_of_an_utterance_do_not_make_an_interval_narrower_if_they_are_one_cluster():
    few = predictions(samples=30)
    copies = pd.concat(
        [few.assign(id=[f"{name}-{copy}" for name in few["id"]]) for copy in range(10)], ignore_index=True
    )
    rows = {
        "few": compared(few)[0],
        "together": compared(copies, samples=people(copies, of=lambda i: f"speaker {i // 10}"))[0],
        "apart": compared(copies)[0],
    }
    widths = {}
    for name, intervals in rows.items():
        row = at(intervals, metric="mae")
        widths[name] = row.high - row.low
        assert row.value == pytest.approx(at(rows["few"], metric="mae").value)
    assert widths["together"] == pytest.approx(widths["few"], rel=0.15)
    assert widths["apart"] == pytest.approx(widths["few"] / np.sqrt(10), rel=0.2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_method_does_not_differ_from_itself(family):
    table = predictions(family)
    _, comparisons = compared(table, table, family=family, resamples=100)
    assert (comparisons[["difference", "low", "high", "low_holm", "high_holm"]] == 0).all(axis=None)
    assert (comparisons[["p", "p_holm"]] == 1).all(axis=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_the_means_over_seeds_of_the_metrics(family):
    tables = [("d", family, "a", f"seed-{seed}", predictions(family, seed=seed)) for seed in (1, 2, 3)]
    intervals, _ = significance(tables, {"d": people(tables[0][4])}, Statistics(resamples=100))
    expected = aggregate(tables).groupby([*KEYS, "metric"])["value"].mean()
    found = intervals[~intervals["corruption"].isin(SUMMARIES)].set_index([*KEYS, "metric"])["value"]
    assert set(found.index.get_level_values("metric")) == set(directed(family))
    np.testing.assert_allclose(found, expected[found.index], rtol=0, atol=1e-13)
    assert (intervals["seeds"] == 3).all()
    assert (intervals["low"] <= intervals["value"]).all() and (intervals["value"] <= intervals["high"]).all()
    assert (intervals["low"] < intervals["high"]).any()


def test_a_kind_says_how_its_conditions_are_summarised():
    listed = [("burst", rate, "text" if rate else "") for rate in (0.5, 0.0, 0.2)]
    listed += [("combined", 0.3, "text"), ("gaussian", 20.0, "text"), ("absent", 0.0, ""), ("random", 0.4, "text")]
    found = summaries(pd.DataFrame(listed, columns=KEYS))
    assert set(found) == {"mean_burst", "area_burst", "mean_random"}
    rows, weights = found["area_burst"]
    assert dict(zip(rows.tolist(), weights, strict=True)) == pytest.approx({1: 0.2, 2: 0.5, 0: 0.3})
    assert found["mean_burst"][1] == pytest.approx(np.full(3, 1 / 3))


def test_a_mean_is_over_the_levels_at_which_something_is_left_and_an_area_over_all():
    listed = pd.DataFrame([("random", rate, "text" if rate else "") for rate in (0.5, 0.0, 0.2)], columns=KEYS)
    plain, found = summaries(listed), summaries(listed.assign(empty=[0.2, 0.0, 0.1]))
    rows, weights = found["mean_random"]
    assert dict(zip(rows.tolist(), weights, strict=True)) == {1: 0.5, 2: 0.5}
    for one, other in zip(found["area_random"], plain["area_random"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_mean_of_significance_is_that_of_the_tables():
    tables = [("d", "mosi", "a", f"seed-{seed}", predictions(seed=seed)) for seed in (1, 2)]
    gone = [(table["level"] > 0) & table["id"].str.endswith(("1", "2")) for *_, table in tables]
    lost = [(*names, table.assign(empty=empty)) for (*names, table), empty in zip(tables, gone, strict=True)]
    intervals, _ = significance(lost, {"d": people(tables[0][4])}, Statistics(resamples=100))
    kept = headline_rows(aggregate(lost))
    assert kept["level"].nunique() < aggregate(lost)["level"].nunique()
    expected = kept.groupby("metric")["value"].mean()
    found = intervals[intervals["corruption"] == "mean_random"].set_index("metric")
    np.testing.assert_allclose(found["value"], expected[found.index], rtol=0, atol=1e-13)
    single = intervals[intervals["corruption"] == "random"].groupby("level")["empty"].first()
    assert (single[single.index > 0] > 0.1).all() and found["empty"].isna().all()


def test_a_metric_that_is_undefined_where_nothing_is_left_has_a_mean_with_its_interval():
    def constant_where_nothing_is_left(label, level):
        return np.full(len(label), 0.5) if level == 0.9 else label + np.sin(np.arange(len(label)))

    table = predictions(predicted=constant_where_nothing_is_left)
    intervals, _ = compared(table.assign(empty=table["level"] == 0.9), resamples=100)
    corr = intervals[intervals["metric"] == "corr"].set_index("corruption")
    assert corr.loc[["mean_random"], ["value", "low", "high"]].notna().all(axis=None)
    assert corr.loc[["area_random"], ["value", "low", "high"]].isna().all(axis=None)


def test_seeds_are_scored_on_the_same_resamples():
    table = predictions(seed=1)
    once, thrice = (
        significance([("d", "mosi", "a", f"seed-{seed}", table) for seed in seeds], {"d": people(table)}, Statistics())[
            0
        ]
        for seeds in ((1,), (1, 2, 3))
    )
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(thrice[column], once[column], rtol=0, atol=1e-13)


def test_folds_of_a_seed_are_pooled():
    tables = [
        ("d", EMOTION, "a", f"seed-{seed}.fold-{fold}", predictions(EMOTION, seed=10 * seed + fold, prefix="v" * fold))
        for seed in (1, 2)
        for fold in (1, 2)
    ]
    samples = people(*(table for *_, table in tables))
    intervals, _ = significance(tables, {"d": samples}, Statistics(resamples=100))
    pooled = aggregate(tables).query("fold == 'pooled'").groupby([*KEYS, "metric"])["value"].mean()
    found = intervals[~intervals["corruption"].isin(SUMMARIES)].set_index([*KEYS, "metric"])["value"]
    np.testing.assert_allclose(found, pooled[found.index], rtol=0, atol=1e-13)
    assert (intervals["clusters"] == 80).all() and (intervals["seeds"] == 2).all()


def test_a_metric_is_read_from_its_own_checkpoint_on_test_and_marked():
    family = family_of("mosi")
    checkpoints = (*family.checkpoints, "valid")
    on_test, plain = predictions(checkpoints=checkpoints), predictions(seed=7)
    intervals, comparisons = compared(on_test, plain, samples=people(on_test), resamples=100)
    for name in directed("mosi"):
        rows = on_test[(on_test["checkpoint"] == family.selected_by[name]) & (on_test["corruption"] == "random")]
        rows = rows[rows["level"] == 0.5]
        row = at(intervals, level=0.5, metric=name, method="a")
        assert row.value == pytest.approx(score(rows["prediction"], rows["label"], "mosi")[name], abs=1e-12)
        assert row.on_test
        assert not at(intervals, level=0.5, metric=name, method="b").on_test
    assert comparisons["on_test"].all()
    assert not compared(plain, plain, resamples=100)[1]["on_test"].any()


def test_the_order_of_tables_and_rows_does_not_change_a_bit():
    tables = [
        (dataset, family, method, f"seed-{seed}", predictions(family, seed=seed + len(method)))
        for dataset, family in (("one", "mosi"), ("two", EMOTION))
        for method in ("short", "much longer")
        for seed in (1, 2)
    ]
    samples = {dataset: people(tables[0][4], of=lambda i: f"speaker {i % 7}") for dataset in ("one", "two")}
    mixed = [(*names, table.sample(frac=1, random_state=3)) for *names, table in reversed(tables)]
    shuffled = {name: table.sample(frac=1, random_state=4) for name, table in reversed(samples.items())}
    with threadpool_limits(2):
        first = significance(tables, samples, Statistics(resamples=150))
    with threadpool_limits(1):
        second = significance(iter(mixed), shuffled, Statistics(resamples=150))
    for one, other in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert not first[0].duplicated(["dataset", "method", *KEYS, "metric"]).any()
    assert len(first[1]) == (len(CONDITIONS) + 3) * (3 + 2)


def test_one_dataset_does_not_depend_on_others():
    table = predictions()
    alone = significance([("one", "mosi", "a", "seed-1", table)], {"one": people(table)}, Statistics(resamples=100))
    tables = [(name, "mosi", "a", "seed-1", table) for name in ("one", "another")]
    both = significance(tables, {name: people(table) for name in ("one", "another")}, Statistics(resamples=100))
    there = both[0][both[0]["dataset"] == "one"].reset_index(drop=True)
    pd.testing.assert_frame_equal(there, alone[0], check_exact=True)
    other = both[0][both[0]["dataset"] == "another"].reset_index(drop=True)
    assert (other["value"] == there["value"]).all() and (other["low"] != there["low"]).any()


def test_the_area_is_over_the_range_of_the_rates():
    for rates in ([0.0, 0.1, 0.2, 0.5, 0.9], [0.9, 0.0], [0.0, 0.3, 0.9]):
        conditions = pd.DataFrame({"corruption": "random", "level": rates, "modalities": ""})
        rows, weights = summaries(conditions)["area_random"]
        line = 0.9 - 0.5 * np.array(rates)
        width = max(rates) - min(rates)
        assert (line[rows] * weights).sum() == pytest.approx((0.9 * 0.9 - 0.5 * 0.9**2 / 2) / width)
        assert weights.sum() == pytest.approx(1)  # so that a metric of 100 % has an area of 100 %
    one = summaries(pd.DataFrame({"corruption": ["random"], "level": [0.5], "modalities": [""]}))
    assert list(one) == ["mean_random"]


def test_summaries_are_those_of_the_values_and_of_each_resample():
    intervals, comparisons = compared(predictions(seed=1), predictions(seed=2, noise=0.8))
    for name in directed("mosi"):
        chosen = intervals[(intervals["metric"] == name) & (intervals["method"] == "a")]
        random = chosen[chosen["corruption"] == "random"].sort_values("level")
        absent = chosen[(chosen["corruption"] == "absent") & (chosen["modalities"] != "")]
        row = {kind: at(chosen, kind, level=None) for kind in SUMMARIES}
        assert row["mean_random"].value == pytest.approx(random["value"].mean())
        assert row["mean_absent"].value == pytest.approx(absent["value"].mean())
        assert row["area_random"].value == pytest.approx(np.trapezoid(random["value"], random["level"]) / 0.9)
        assert row["mean_random"].modalities == "" and np.isnan(row["mean_random"].level)
        # Means of correlated conditions are surer than one condition, and their ends are not the means of the ends.
        assert row["mean_random"].high - row["mean_random"].low < (random["high"] - random["low"]).max()
    difference = at(comparisons, "area_random", level=None, metric="mae")
    sides = [at(intervals, "area_random", level=None, metric="mae", method=method).value for method in "ab"]
    assert difference.difference == pytest.approx(sides[0] - sides[1])
    assert difference.p < 0.01


def test_holm_on_worked_examples():
    for p, expected in (
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.01, np.nan, 0.04, 0.03, 0.005], [0.03, np.nan, 0.06, 0.06, 0.02]),
        ([0.6, 0.7, 1.0], [1.8, 1.8, 1.8]),
        ([0.02, 0.02], [0.04, 0.04]),
    ):
        assert np.array(p) * holm(np.array(p)) == pytest.approx(expected, nan_ok=True)
    assert list(holm(np.array([0.0, 0.5, 0.0]))) == [3, 1, 2]


@given(st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=20))
def test_holm_never_makes_p_smaller_nor_larger_than_bonferroni_and_keeps_the_order(p):
    values = np.array(p)
    factor = holm(values)
    defined = ~np.isnan(values)
    assert (np.isnan(factor) == ~defined).all()
    assert (factor[defined] >= 1 - 1e-12).all() and (factor[defined] <= defined.sum() + 1e-9).all()
    order = np.argsort(values[defined], kind="stable")
    assert (np.diff((values * factor)[defined][order]) >= -1e-12).all()


def test_p_is_corrected_over_the_pairs_of_a_condition_and_metric():
    _, comparisons = compared(*(predictions(seed=seed, noise=0.3 + seed / 10) for seed in range(4)), resamples=200)
    assert set(comparisons["metric"]) == {"f1_negpos", "mae", "corr"}
    for _, rows in comparisons.groupby([*KEYS, "metric"], dropna=False):
        assert len(rows) == 6
        p = rows["p"].to_numpy()
        assert list(rows["p_holm"]) == pytest.approx(list(np.minimum(p * holm(p), 1)))
        assert rows["p_holm"].min() == pytest.approx(min(1, 6 * rows["p"].min()))


def test_the_correlation_of_a_constant_is_undefined_and_compared_with_nothing():
    constant = predictions(predicted=lambda label, level: np.full(len(label), 0.7))
    intervals, comparisons = compared(constant, predictions(seed=1), predictions(seed=2), resamples=100)
    rows = intervals[(intervals["method"] == "a") & (intervals["metric"] == "corr")]
    assert rows[["value", "low", "high"]].isna().all(axis=None)
    rows = comparisons[(comparisons["method"] == "a") & (comparisons["metric"] == "corr")]
    assert rows[["difference", "low", "high", "p", "p_holm"]].isna().all(axis=None)
    # The only pair that is left is the only test.
    rows = comparisons[(comparisons["method"] == "b") & (comparisons["metric"] == "corr")]
    assert (rows["p_holm"] == rows["p"]).all()
    rows = intervals[(intervals["method"] == "a") & (intervals["metric"] == "mae")]
    assert rows[["value", "low", "high"]].notna().all(axis=None)


def test_an_interval_whose_end_is_undefined_in_resamples_is_not_given():
    # One utterance of forty differs: 36 % of the resamples do not have it, and no correlation.
    nearly = predictions(predicted=lambda label, level: np.where(np.arange(len(label)) == 0, 0.9, 0.1))
    intervals, comparisons = compared(nearly, predictions(seed=1))
    row = at(intervals, method="a", metric="corr")
    assert not np.isnan(row.value)
    assert np.isnan([row.low, row.high]).all()
    row = at(comparisons, metric="corr")
    assert np.isnan([row.low, row.high, row.p, row.p_holm]).all()
    assert not np.isnan(row.difference)


def test_a_standard_error_leaves_undefined_resamples_out_as_long_as_they_are_few():
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values[:50, 0] = np.nan
    error = standard_error(values, 10)
    assert error == pytest.approx(
        [np.std(values[50:, 0], ddof=1) * np.sqrt(10 / 9), np.std(values[:, 1], ddof=1) * np.sqrt(10 / 9)]
    )
    values[:51, 0] = np.nan
    assert np.isnan(standard_error(values, 10)).tolist() == [True, False]
    assert standard_error(np.full((100, 1), 0.1), 10) == [0]
    assert np.isnan(standard_error(np.full((100, 1), np.nan), 10)).all()


@given(st.floats(-2, 2), st.floats(0.001, 2), st.floats(1, 500), st.floats(0.51, 0.999), st.floats(1, 500))
@settings(max_examples=300)
def test_an_interval_leaves_0_out_exactly_where_the_test_of_the_same_level_rejects(
    d, error, freedom, confidence, factor
):
    difference, error = np.array([d]), np.array([error])
    level = (1 - confidence) / factor
    p = p_value(difference, error, freedom)[0]
    ((low,), (high,)) = interval(difference, error, freedom, 1 - level)
    if abs(p - level) > 1e-9 * level:
        assert (low > 0 or high < 0) == (p < level)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_interval_without_0_and_a_test_that_tells_nothing_apart_cannot_meet(family, confidence):
    tables = [predictions(family, seed=seed, noise=0.3 + 0.03 * seed, samples=60) for seed in range(6)]
    _, rows = compared(
        *tables, family=family, samples=people(*tables, of=lambda i: i % 9), resamples=200, confidence=confidence
    )
    assert set(rows["cluster"]) == {"speaker"}
    for low, high, p in (("low", "high", "p"), ("low_holm", "high_holm", "p_holm")):
        without = (rows[low] > 0) | (rows[high] < 0)
        assert 0 < without.sum() < len(rows)
        assert (without == (rows[p] < 1 - confidence)).all()
    assert (rows["low_holm"] <= rows["low"]).all() and (rows["high_holm"] >= rows["high"]).all()


def test_few_clusters_and_clusters_of_unequal_size_have_wider_intervals():
    samples = 90
    table = predictions(samples=samples)
    even = compared(table, samples=people(table, of=lambda i: i % 9))[0]
    uneven = compared(table, samples=people(table, of=lambda i: max(0, i - 81)))[0]
    assert at(even, metric="mae").freedom == pytest.approx(8)
    assert at(uneven, metric="mae").freedom == pytest.approx(max(1, samples**2 / (82**2 + 8) - 1))
    assert at(uneven, metric="mae").clusters == 9

    def reach(rows):
        row = at(rows, metric="mae")
        return row.high - row.low

    assert reach(uneven) > 1.5 * reach(even)


def test_intervals_end_where_the_metric_does():
    right = predictions(predicted=lambda label, level: label + 0.3 * (np.arange(len(label)) < 2))
    intervals, _ = compared(right, resamples=200)
    for name, (low, high) in {"acc7": (0, 1), "mae": (0, np.inf), "corr": (-1, 1)}.items():
        rows = intervals[intervals["metric"] == name]
        assert (rows["low"] >= low).all() and (rows["high"] <= high).all()
        assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    assert (intervals.loc[intervals["metric"] == "mae", "low"] == 0).any()


def test_one_utterance_has_no_interval():
    intervals, comparisons = compared(predictions(samples=1), predictions(samples=1, seed=2), resamples=100)
    mae = intervals[intervals["metric"] == "mae"]
    assert mae["value"].notna().all() and mae[["low", "high"]].isna().all(axis=None)
    assert comparisons[["low", "high", "p"]].isna().all(axis=None)


def of_units(count=32, by="speaker", ids=None, **columns):
    """What is drawn of ``count`` utterances, whose speaker and so on are functions of their numbers."""
    ids = [f"u{i:02d}" for i in range(count)] if ids is None else ids
    made = {name: pd.Series(list(map(of, range(len(ids)))), dtype=object) for name, of in columns.items()}
    return clusters(ids, pd.DataFrame({"id": ids, **made}), by)


def drawn(found):
    return found.asked, found.asked_count, found.unit, found.count


def test_below_eight_clusters_the_next_finer_unit_that_is_known_is_drawn():
    speakers = {"speaker": lambda i: f"s{i % 2}"}
    assert drawn(of_units(speaker=lambda i: f"s{i % 8}")) == ("speaker", 8, "speaker", 8)
    assert drawn(of_units(speaker=lambda i: f"s{i % 7}")) == ("speaker", 7, "utterance", 32)
    assert drawn(of_units(**speakers, dialogue=lambda i: i // 4)) == ("speaker", 2, "dialogue", 8)
    assert drawn(of_units(**speakers, dialogue=lambda i: i // 8, video=lambda i: i // 2)) == ("speaker", 2, "video", 16)
    assert drawn(of_units(**speakers, Dialogue_ID=lambda i: i // 4)) == ("speaker", 2, "dialogue", 8)
    assert drawn(of_units(**speakers, dialogue=lambda i: i // 8)) == ("speaker", 2, "utterance", 32)
    # One that is not known for all is not drawn.
    some = {"speaker": lambda i: None if i == 3 else f"s{i}"}
    assert drawn(of_units(**some, dialogue=lambda i: i // 4)) == ("speaker", 0, "dialogue", 8)
    assert drawn(of_units(dialogue=lambda i: i // 4)) == ("speaker", 0, "dialogue", 8)
    assert drawn(of_units(3)) == ("speaker", 0, "utterance", 3)


def test_a_finer_unit_is_never_a_coarser_one():
    both = {"speaker": lambda i: i % 16, "session": lambda i: i % 4, "Dialogue_ID": lambda i: i % 3}
    assert drawn(of_units(by="session", **both)) == ("session", 4, "speaker", 16)
    assert drawn(of_units(by="Dialogue_ID", **both)) == ("Dialogue_ID", 3, "utterance", 32)
    assert drawn(of_units(by="video", video=lambda i: i % 4, speaker=lambda i: i % 16)) == (
        "video",
        4,
        "utterance",
        32,
    )


def test_the_video_is_what_is_before_the_sign_in_an_id_and_a_column_comes_first():
    ids = [f"v{i % 8}$_${i}" for i in range(16)]
    assert drawn(of_units(ids=ids)) == ("speaker", 0, "video", 8)
    assert list(of_units(ids=ids, by="video").names) == [name[:2] for name in ids]
    assert drawn(of_units(ids=ids, by="video", video=lambda i: i)) == ("video", 16, "video", 16)
    assert drawn(of_units(ids=ids[:7])) == ("speaker", 0, "utterance", 7)
    for by in ("none", "id"):
        found = of_units(ids=ids, by=by)
        assert drawn(found) == ("utterance", 16, "utterance", 16) and list(found.names) == ids


def test_any_column_can_be_drawn_and_a_wrong_one_is_refused_with_a_suggestion():
    assert drawn(of_units(by="show", show=lambda i: i % 9)) == ("show", 9, "show", 9)
    with pytest.raises(ElisionError, match="unknown unit 'dialog'; did you mean dialogue"):
        of_units(by="dialog", dialogue=lambda i: i)
    ids = ["x$_$1", "x$_$2", "y$_$1"]
    with pytest.raises(ElisionError, match=r'sample "x\$_\$2" has predictions, but is not in samples\.parquet'):
        clusters(ids, pd.DataFrame({"id": ids[::2]}), "speaker")


def test_what_was_drawn_is_said():
    table = predictions()
    intervals, comparisons = compared(table, table, samples=people(table, of=lambda i: i % 8), resamples=120)
    for made in (intervals, comparisons):
        columns = ["samples", "asked", "asked_clusters", "cluster", "clusters", "freedom", "resamples", "confidence"]
        (said,) = made[columns].drop_duplicates().itertuples(index=False, name=None)
        assert said == (40, "speaker", 8, "speaker", 8, 7, 120, 0.95)


def test_each_dataset_can_have_its_own_unit():
    table = predictions()
    samples = people(table, of=lambda i: i % 10).assign(show=lambda rows: rows.index % 20)
    tables = [(name, "mosi", "a", "seed-1", table) for name in ("one", "two")]
    how = Statistics(resamples=100, cluster={"two": "show"})
    intervals, _ = significance(tables, dict.fromkeys(("one", "two"), samples), how)
    assert set(zip(intervals["dataset"], intervals["cluster"], intervals["clusters"], strict=True)) == {
        ("one", "speaker", 10),
        ("two", "show", 20),
    }


def test_methods_with_other_samples_or_labels_cannot_be_compared():
    table = predictions()
    with pytest.raises(ElisionError, match="d/b and of d/a have different samples"):
        compared(table, predictions(samples=39))
    with pytest.raises(ElisionError, match="have different samples, folds or labels"):
        compared(table, table.assign(label=table["label"] + 0.1))


# Table 6 of Demsar: ranks of four classifiers on 14 data sets; as values, since a smaller one is better.
DEMSAR = np.array(
    [
        *([4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1]),
        *([2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5] * 4, [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2]),
    ]
)


def test_ranks_and_critical_difference_are_those_of_demsars_example():
    average, critical, p = ranks(DEMSAR, better="lower", confidence=0.95)
    assert average == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert critical == pytest.approx(1.25, abs=0.005)
    assert ranks(DEMSAR, better="lower", confidence=0.9)[1] == pytest.approx(1.12, abs=0.005)
    # Chi-squared is 9.28 with 3 degrees of freedom, to be divided by 1 - (3 * 6 + 60) / (14 * 60) for the ties.
    assert p == pytest.approx(stats.chi2.sf(9.28 / (1 - 78 / 840), 3), abs=1e-4)
    flipped, _, same = ranks(-DEMSAR, better="higher", confidence=0.95)
    assert list(flipped) == list(average) and same == p


def test_ranks_of_what_cannot_be_ranked():
    undefined = np.vstack([DEMSAR, [1, 2, np.nan, 3]])
    for one, other in zip(
        ranks(undefined, better="lower", confidence=0.95), ranks(DEMSAR, better="lower", confidence=0.95), strict=True
    ):
        assert np.array_equal(one, other)
    average, critical, p = ranks(np.ones((5, 3)), better="higher", confidence=0.95)
    assert list(average) == [2, 2, 2] and critical > 0 and p == 1
    # Two methods: q is that of the normal distribution, and there is no Friedman test.
    _, critical, p = ranks(DEMSAR[:, :2], better="lower", confidence=0.95)
    assert critical == pytest.approx(1.96 / np.sqrt(14), abs=1e-3) and np.isnan(p)
    average, critical, p = ranks(np.full((3, 4), np.nan), better="lower", confidence=0.95)
    assert np.isnan([*average, critical, p]).all()
