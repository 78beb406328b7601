import numpy as np
import pandas as pd
import pytest
from report_results import COMPARISONS, INTERVALS, TABLES, blocks, draw, frame, latex, markdown, results

from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics import metric
from elision.evaluation.significance import ranks, significance
from elision.report import drawing
from elision.report.figures.ranks import alike
from elision.report.text import NAN, csv
from elision.settings.params import Statistics

DATASETS = {"emotion_data": "emotion:happy,angry,sad,neutral", "mosi_data": "mosi", "sims_data": "sims"}
METHODS = ["steady", "brittle_one", FLOOR]
NONE = pd.DataFrame(columns=["method"])
NAMES = ("area", "intervals", "comparisons", "ranks")
MARK = "checkpoints chosen on the TEST set"


def compared(tables):
    """Results with intervals and comparisons only; ten speakers."""
    samples = {}
    for name in {name for name, *_ in tables}:
        ids = sorted({sample for other, *_, table in tables if other == name for sample in table["id"]})
        samples[name] = pd.DataFrame({"id": ids, "speaker": [f"speaker {i % 10}" for i in range(len(ids))]})
    intervals, comparisons = significance(tables, samples, Statistics(resamples=100))
    return results(NONE, intervals=intervals, comparisons=comparisons)


@pytest.fixture(scope="module")
def found(inputs_of):
    return compared(inputs_of())


@pytest.fixture(scope="module")
def on_test(inputs_of):
    return compared(inputs_of(on_test=True, datasets=("mosi_data",), seeds=(1111,)))


def test_their_columns_are_those_that_reports_are_tested_with(found):
    assert list(found.intervals) == INTERVALS
    assert list(found.comparisons) == COMPARISONS


def test_methods_stand_in_the_order_given_and_the_floor_last(found):
    for name in NAMES:
        table = TABLES[name](found, [FLOOR, "steady", "brittle_one"])
        assert set(table["dataset"]) == set(DATASETS)
        for _, rows in table.groupby("dataset"):
            assert list(rows["method"].unique()) == ["steady", "brittle_one", FLOOR]


def test_tables_do_not_depend_on_the_order_of_rows(found):
    mixed = results(
        NONE,
        intervals=found.intervals.sample(frac=1, random_state=1),
        comparisons=found.comparisons.sample(frac=1, random_state=2),
    )
    for name in NAMES:
        make = TABLES[name]
        pd.testing.assert_frame_equal(make(found, METHODS), make(mixed, METHODS), check_exact=True)


def test_means_and_areas_have_the_intervals_of_their_summaries(found):
    random = found.intervals.query("dataset == 'mosi_data' and method == 'steady' and metric == 'mae'")
    random = random.set_index("corruption")
    for table, condition, summary in (
        (frame("intervals", found, METHODS).query("condition == 'random'"), 10, "mean_random"),
        (frame("intervals", found, METHODS).query("condition == 'mean'"), 6, "mean_absent"),
        (frame("area", found, METHODS), 10, "area_random"),
    ):
        row = table.query("dataset == 'mosi_data' and method == 'steady'").iloc[0]
        shown = [row[f"mae_{column}"] for column in ("mean", "low", "high")]
        assert shown == list(random.loc[summary, ["value", "low", "high"]])
        assert row["conditions"] == condition
    assert set(zip(frame("area", found, METHODS)["first"], frame("area", found, METHODS)["last"], strict=True)) == {
        (0, 0.9)
    }


def test_text_shows_intervals_in_brackets_and_says_how_they_were_made(found):
    table = frame("area", found, METHODS)
    row = table.query("dataset == 'sims_data' and method == 'steady'").iloc[0]
    text = markdown(table, "area")
    assert f"{row['mae_mean']:.3f} [{row['mae_low']:.3f}, {row['mae_high']:.3f}]" in text
    assert f"{100 * row['f1_mean']:.2f} [{100 * row['f1_low']:.2f}, {100 * row['f1_high']:.2f}]" in text
    assert "95 % interval, from 100 resamples of 10 speakers (all utterances of a speaker together)" in text
    assert "A metric of 100 % at each of them gives 100." in text
    # The correlation of what is constant from r = 0.7 on has neither value nor interval.
    (block,) = blocks("area", table[table["dataset"] == "mosi_data"])
    cells = dict(zip(block.columns, dict(block.rows)["brittle_one"], strict=True))
    assert cells["Corr ↑"].text == NAN
    assert "undefined" in text
    titles = [
        block.title for block in blocks("intervals", frame("intervals", found, METHODS).query("dataset == 'mosi_data'"))
    ]
    assert titles == ["random missing, mean over 10 rates", "mean over the 6 sets of absent modalities"]


def test_differences_are_from_the_best_method_which_is_not_the_floor(found):
    table = frame("comparisons", found, METHODS)
    assert FLOOR not in set(table["best"])
    rows = table.query("dataset == 'sims_data' and condition == 'mean' and metric == 'mae'").set_index("method")
    assert set(rows["best"]) == {"brittle_one"}  # constant there, as the floor is, and better than a wild guess
    assert rows.loc["brittle_one", ["difference", "low", "p", "low_holm", "p_holm"]].isna().all()
    pair = found.comparisons.query(
        "dataset == 'sims_data' and corruption == 'mean_absent' and metric == 'mae' and other == 'steady'"
    )
    (pair,) = pair.query("method == 'brittle_one'").itertuples(index=False)
    shown = rows.loc["steady", ["difference", "low", "high", "low_holm", "high_holm", "p_holm"]].tolist()
    ends = [-pair.high, -pair.low, -pair.high_holm, -pair.low_holm]
    assert shown == [-pair.difference, *ends, pair.p_holm]
    assert shown[0] > 0
    assert rows.loc[FLOOR, ["difference", "low", "high", "p"]].tolist() == [0, 0, 0, 1]
    assert (rows["pairs"] == 3).all()


def test_text_of_differences_has_sign_interval_and_p(found):
    table = frame("comparisons", found, METHODS).query("dataset == 'mosi_data'")
    shown = blocks("comparisons", table)
    assert [block.title for block in shown][-1] == "area over the missing rates (AUILC)"
    first = dict(shown[0].rows)
    assert first["steady"][0].text.startswith("best: ") and first["steady"][0].rank == 1
    row = table.query("condition == 'random' and metric == 'f1_negpos' and method == 'brittle_one'").iloc[0]
    ends = f"[−{-100 * row['low_holm']:.2f}, −{-100 * row['high_holm']:.2f}]"
    assert first["brittle_one"][0].text == f"−{-100 * row['difference']:.2f} {ends}, p < 0.001"
    text = latex(table, "comparisons")
    assert "9 degrees of freedom. p and [ ] are corrected for the 3 pairs" in text
    assert "leaves 0 out exactly where p is below 0.05" in text
    assert text.isascii()


def test_a_single_method_is_compared_with_the_floor_and_the_floor_alone_with_nothing(found):
    one = frame("comparisons", found, ["steady"])
    assert set(one["method"]) == {"steady", FLOOR}
    alone = found.only([FLOOR])
    table = frame("comparisons", alone, [])
    assert table.empty
    assert "Fewer than two methods" in markdown(table, "comparisons")


def test_ranks_are_over_all_conditions_and_complete_data_count_once(found):
    table = frame("ranks", found, METHODS).query("dataset == 'mosi_data' and metric == 'mae'")
    rows = found.intervals.query("dataset == 'mosi_data' and metric == 'mae' and level == level")
    rows = rows[(rows["corruption"] == "random") | (rows["modalities"] != "")]
    values = rows.pivot(index=["corruption", "level", "modalities"], columns="method", values="value")
    assert len(values) == 16
    average, critical, p = ranks(values[METHODS].to_numpy(), better="lower", confidence=0.95)
    assert list(table["rank"]) == list(average)
    assert set(zip(table["critical_difference"], table["p"], table["conditions"], strict=True)) == {(critical, p, 16)}
    assert sum(average) == pytest.approx(6)
    text = markdown(table, "ranks")
    assert f"critical difference {critical:.2f} (Nemenyi, 95 %)" in text
    assert "The conditions of one test set are not independent" in text


def test_checkpoints_chosen_on_test_are_marked(found, on_test):
    for name in NAMES:
        make = TABLES[name]
        assert (make(on_test, METHODS)["checkpoints"] == "TEST").all()
        for write in (markdown, latex):
            assert MARK in write(make(on_test, METHODS), name).replace("Checkpoints", "checkpoints")
            assert "TEST" not in write(make(found, METHODS), name)
    marked = draw("ranks", on_test, "mosi_data", METHODS)
    assert "TEST" in marked.get_suptitle()
    assert not draw("ranks", found, "mosi_data", METHODS).get_suptitle()


def test_groups_that_do_not_differ_are_the_longest():
    # Demsar's example: no two differ by 1.25.
    assert alike([1.964, 2.0, 2.893, 3.143], 1.25) == [(0, 3)]
    assert alike([1.964, 2.0, 2.893, 3.143], 1.15) == [(0, 2), (1, 3)]
    assert alike([1, 2, 3, 4], 1.5) == [(0, 1), (1, 2), (2, 3)]
    assert alike([1, 2, 3], 1) == []
    assert alike([2, 2, 2], 0.5) == [(0, 2)]


def test_the_critical_difference_plot_shows_ranks_bars_and_its_doubt(found):
    figure = draw("ranks", found, "mosi_data", METHODS)
    table = frame("ranks", found, METHODS).query("dataset == 'mosi_data' and metric == 'f1_negpos'").set_index("method")
    texts = [text.get_text() for text in figure.axes[0].texts]
    for method, row in table.iterrows():
        assert any(method in text and f"{row['rank']:.2f}" in text for text in texts)
    critical = table["critical_difference"].iloc[0]
    assert f"critical difference {critical:.2f}" in texts
    assert any("independent conditions, which they are not" in text for text in texts)
    bars = [line for line in figure.axes[0].get_lines() if line.get_linewidth() > 2]
    assert len(bars) == len(alike(sorted(table["rank"]), critical)) == 1
    dashed = [line for line in figure.axes[0].get_lines() if line.is_dashed()]
    assert [line.get_xdata()[0] for line in dashed] == [table.loc[FLOOR, "rank"]]
    # All ink: nothing is told by colour.
    assert {line.get_color() for line in figure.axes[0].get_lines()} == {drawing.INK}


def test_nothing_to_rank_is_said(found):
    none = results(NONE)
    for source, dataset in ((none, "mosi_data"), (found.only([FLOOR]), "mosi_data")):
        figure = draw("ranks", source, dataset, [])
        assert "Fewer than two methods" in figure.texts[0].get_text()
    for name in NAMES:
        table = TABLES[name](none, METHODS)
        assert table.empty
        assert markdown(table, name).strip() and latex(table, name).strip()
        assert csv(table).startswith("dataset,")


def test_every_metric_with_a_direction_has_an_interval(found):
    for dataset, family in DATASETS.items():
        rows = frame("intervals", found, METHODS)
        rows = rows[rows["dataset"] == dataset]
        columns = [column.removesuffix("_mean") for column in rows if column.endswith("_mean")]
        there = [name for name in columns if rows[f"{name}_mean"].notna().any()]
        assert set(there) == {name for name in family_of(family).reported if metric(name).better}
        assert np.isfinite(rows[[f"{there[0]}_low", f"{there[0]}_high"]]).all(axis=None)
