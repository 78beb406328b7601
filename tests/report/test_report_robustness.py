"""The worst condition, the level at which a floor is better, and effective robustness."""

import doctest

import numpy as np
import pandas as pd
import pytest
from report_results import blocks, frame, notes, results

from elision.report.tables import robustness as module
from elision.report.tables.robustness import effective_robustness

ORDER = ["lnln", "text_only", "late_fusion", "majority"]
RATES = (0.0, 0.3, 0.6, 0.9)
# F1 at each rate. The line through text_only and majority has the slopes 1, 0.75, 0.5 and 0.25.
TEXT_ONLY, MAJORITY = (0.8, 0.7, 0.6, 0.5), (0.4, 0.4, 0.4, 0.4)
LNLN = (0.9, 0.8, 0.55, 0.55)
SETS = {"text": 0.45, "text+audio": 0.35, "audio": 0.7}


def table(scores, *, metric="f1", seeds=1, corruption="random", rates=RATES):
    """Metrics of the methods at each rate {method: scores, or an array [seeds, rates]}."""
    rows = [
        ("d", "sims", method, f"seed-{seed}", seed, "", corruption, rate, "text+audio" if rate else "", metric, value)
        for method, values in scores.items()
        for seed, of_seed in enumerate(np.broadcast_to(values, (seeds, len(rates))), 1)
        for rate, value in zip(rates, of_seed, strict=True)
    ]
    columns = ["dataset", "family", "method", "run", "seed", "fold", "corruption", "level", "modalities", "metric"]
    return pd.DataFrame(rows, columns=[*columns, "value"]).assign(protocol="elision", checkpoint="valid", empty=0.0)


def absent(method, scores=SETS):
    """Metrics of a method under sets of absent modalities."""
    rows = table({method: list(scores.values())}, corruption="absent", rates=range(1, 1 + len(scores)))
    return rows.assign(level=1.0, modalities=list(scores))


def robustness(metrics, records=None):
    """The table, with a row per (method, corruption)."""
    return frame("robustness", results(metrics, records=records or {}), ORDER).set_index(["method", "corruption"])


def cells(metrics, method="lnln", records=None):
    """The printed cells of a method, by column."""
    (block,) = blocks("robustness", frame("robustness", results(metrics, records=records or {}), ORDER))
    return dict(zip(block.columns, (cell.text for cell in dict(block.rows)[method]), strict=True))


def said(metrics):
    return " ".join(notes("robustness", frame("robustness", results(metrics), ORDER)))


THREE = {"lnln": LNLN, "text_only": TEXT_ONLY, "majority": MAJORITY}


def test_the_worst_condition_is_named_with_its_score():
    metrics = pd.concat([table(THREE), *(absent(method) for method in THREE)], ignore_index=True)
    found = robustness(metrics)
    columns = ["worst_corruption", "worst_level", "worst_modalities", "worst_mean", "as_bad"]
    assert found.loc[("lnln", "all"), columns].tolist() == ["absent", 1.0, "text+audio", 0.35, 1]
    assert found.loc[("lnln", "random"), columns].tolist() == ["random", 0.6, "text+audio", 0.55, 2]
    assert cells(metrics)["worst condition"] == "35.00 (text and audio absent)"
    assert cells(table(THREE))["worst condition"] == "55.00 (random missing, r = 0.6, and 1 other)"
    assert cells(table(THREE), "majority")["worst condition"] == "40.00 (random missing, r = 0, and 3 others)"
    assert found.loc[("majority", "random"), "worst_modalities"] == "none"


def test_the_worst_error_is_the_highest():
    metrics = table({"lnln": (0.4, 0.9, 0.6, 0.5), "majority": (0.7, 0.7, 0.7, 0.7)}, metric="mae")
    assert cells(metrics)["worst condition"] == "0.900 (random missing, r = 0.3)"


def test_a_mean_that_is_undefined_is_not_the_worst():
    nan = float("nan")
    assert cells(table({**THREE, "lnln": (0.9, nan, 0.5, 0.6)}))["worst condition"].startswith("50.00 (")
    assert cells(table({**THREE, "lnln": (nan,) * 4}))["worst condition"] == "–"


def test_levels_that_leave_nothing_do_not_count():
    metrics = table({**THREE, "lnln": (0.9, 0.8, 0.7, 0.1)})
    metrics.loc[metrics["level"] == 0.9, "empty"] = 0.5
    found = robustness(metrics).loc[("lnln", "random")]
    assert (found["worst_level"], found["highest"]) == (0.6, 0.6)
    assert "effective_0.9" not in found
    assert cells(metrics)["below text_only"] == "never (up to r = 0.6)"


def test_a_method_falls_below_a_floor_at_the_first_level_at_which_its_mean_is_worse():
    found = robustness(table(THREE)).loc[("lnln", "random")]
    assert (found["below_text_only"], found["highest"]) == (0.6, 0.9)
    assert cells(table(THREE))["below text_only"] == "r = 0.6"
    above = table({**THREE, "lnln": (0.9, 0.8, 0.7, 0.5)})
    assert cells(above)["below text_only"] == "never (up to r = 0.9)"
    assert cells(table({**THREE, "lnln": (0.7, 0.9, 0.9, 0.9)}))["below text_only"] == "r = 0"


def test_what_prints_the_same_as_the_floor_is_not_below():
    same = np.array(TEXT_ONLY) - [0.000001, 0.0, 0.000001, 0.001]
    assert cells(table({**THREE, "lnln": same}))["below text_only"] == "r = 0.9"


def test_a_higher_error_than_that_of_the_floor_is_below():
    scores = {"lnln": (0.5, 0.6, 0.9, 0.7), "text_only": (0.6, 0.7, 0.8, 0.9), "majority": (1.0,) * 4}
    assert cells(table(scores, metric="mae"))["below text_only"] == "r = 0.6"


def test_means_over_seeds_are_compared():
    seeds = np.array([LNLN, LNLN]) + np.array([[0.0, 0.0, 0.2, 0.0], [0.0, -0.05, -0.1, 0.0]])
    metrics = table({**THREE, "lnln": seeds}, seeds=2)
    found = robustness(metrics).loc[("lnln", "random")]
    assert np.isnan(found["below_text_only"])  # 0.6 at r = 0.6, as text_only
    assert (found["runs"], found["seeds"], found["over"]) == (2, 2, "seeds")
    assert found["worst_mean"] == pytest.approx(0.55) and found["worst_std"] == pytest.approx(0.0)


def test_effective_robustness_is_the_score_minus_what_the_line_through_the_floors_predicts():
    found = robustness(table(THREE)).loc[("lnln", "random")]
    expected = [0.8 - 0.775, 0.55 - 0.65, 0.55 - 0.525]
    assert [found[f"effective_{rate}"] for rate in RATES[1:]] == pytest.approx(expected)
    assert found["effective"] == pytest.approx(np.mean(expected))
    assert cells(table(THREE))["effective robustness"] == "−1.67"
    assert "The line goes through text_only and majority: lnln." in said(table(THREE))
    assert np.isnan(robustness(table(THREE)).loc[("text_only", "random"), "effective"])


def test_less_error_than_expected_is_positive():
    errors = {name: 1 - np.array(scores) for name, scores in THREE.items()}
    found, other = (robustness(rows).loc[("lnln", "random")] for rows in (table(errors, metric="mae"), table(THREE)))
    assert found["effective"] == pytest.approx(other["effective"])


def test_the_line_is_that_of_least_squares():
    generator = np.random.default_rng(3)
    floors, at_levels, clean, scores = (generator.random(shape) for shape in (4, (5, 4), (), 5))
    found = effective_robustness(float(clean), scores, floors, at_levels)
    predicted = [np.polyval(np.polyfit(floors, at_level, 1), clean) for at_level in at_levels]
    assert found == pytest.approx(scores - predicted)
    on_line = effective_robustness(0.7, 0.1 + 0.5 * np.full(2, 0.7), floors, np.stack([0.1 + 0.5 * floors] * 2))
    assert on_line == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("floors", [[], [0.4], [0.4, 0.4, 0.4]])
def test_floors_without_two_scores_have_no_line(floors):
    assert np.isnan(effective_robustness(0.9, np.zeros(2), np.array(floors), np.zeros((2, len(floors))))).all()


def test_floors_that_were_not_run_are_said_with_what_to_type():
    told = said(table(THREE))
    assert (
        'Floors that were not run: late_fusion, linear_probe. Add a floor, as in "- late_fusion", under "methods" in '
        "params.yaml, and run the workflow again." in told
    )
    alone = table({"lnln": LNLN, "majority": MAJORITY})
    assert "below text_only" not in cells(alone)
    assert "No effective robustness: lnln." in said(alone) and "linear_probe, text_only. Add" in said(alone)


def test_a_floor_that_reads_text_in_another_way_is_not_compared():
    found = robustness(table({**THREE, "late_fusion": TEXT_ONLY}))
    assert found.loc[("lnln", "random"), "compared"] == "text_only, majority"
    assert cells(table({**THREE, "late_fusion": TEXT_ONLY}))["below late_fusion"] == "–"
    held = {"audio": 1, "vision": 1, "text_features": 1}
    without = {
        ("d", name, "seed-1"): {"method": name, "sequences": {k: 1 for k in held if k != "text_features"}}
        for name in ORDER
    }
    metrics = table({**THREE, "late_fusion": TEXT_ONLY})
    assert cells(metrics, records=without)["below late_fusion"] == "r = 0.6"


def test_without_complete_data_or_levels_the_notes_say_what_to_test():
    lossy = table(THREE)
    lossy = lossy[lossy["level"] > 0]
    assert 'Complete data were not tested. Add the rate 0.0 to "random" under "corruption" in' in said(lossy)
    assert robustness(lossy)["effective"].isna().all()
    sets = pd.concat([absent(method) for method in THREE], ignore_index=True)
    assert 'No corruption with levels was tested. Set "random: [0.0, 0.5]" under "corruption" in' in said(sets)
    assert list(cells(sets)) == ["worst condition"]


def test_each_corruption_with_levels_has_its_columns_and_is_averaged_over_its_sets():
    metrics = table(THREE)
    lower = {name: np.array(scores) - 0.1 for name, scores in THREE.items()}
    combined = table(lower, corruption="combined")
    combined = combined[combined["level"] > 0]
    other = combined.assign(modalities="vision", value=combined["value"] + 0.2)
    both = pd.concat([metrics, combined, other], ignore_index=True)
    shown = cells(both)
    assert shown["below text_only, random"] == shown["below text_only, combined"] == "r = 0.6"
    found = robustness(both)
    assert found.loc[("lnln", "combined"), "effective"] == pytest.approx(found.loc[("lnln", "random"), "effective"])
    assert shown["worst condition"].startswith("45.00 (modalities absent and others missing at random, r = 0.6")


def test_the_order_of_the_rows_changes_nothing():
    metrics = pd.concat([table(THREE, seeds=2), absent("lnln"), absent("majority")], ignore_index=True)
    shuffled = metrics.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(robustness(shuffled), robustness(metrics), check_exact=True)


def test_examples_are_true():
    failed, tried = doctest.testmod(module)
    assert tried and not failed
