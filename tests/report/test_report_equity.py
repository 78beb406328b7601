"""Shapley values of modalities and their evenness."""

import doctest
import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from report_results import blocks, frame, markdown, notes, results

from elision.evaluation.aggregate import FLOOR
from elision.report.tables import equity as module
from elision.report.tables.equity import evenness, shapley

NAMES = ["text", "audio", "vision"]
# Scores by what is absent.
THREE = {"": 0.8, "text": 0.5, "audio": 0.7, "vision": 0.75}
THREE |= {"text+audio": 0.4, "text+vision": 0.45, "audio+vision": 0.7}
TWO = {"": 0.8, "text": 0.6, "audio": 0.7}
CONSTANT = 0.4


def table(scores, *, runs=(("seed-1", 1, ""),), of="sims", metric="f1"):
    """Metrics of a method with these scores {absent: score or one per run}, and of a constant."""
    rows = [
        ("d", of, method, run, seed, fold, "absent", float(bool(absent)), absent, metric, value)
        for method, values in (("men", scores), (FLOOR, dict.fromkeys(scores, CONSTANT)))
        for absent, each in values.items()
        for (run, seed, fold), value in zip(runs, np.broadcast_to(each, len(runs)), strict=True)
    ]
    columns = ["dataset", "family", "method", "run", "seed", "fold", "corruption", "level", "modalities", "metric"]
    return pd.DataFrame(rows, columns=[*columns, "value"]).assign(protocol="elision", checkpoint="valid")


def equity(metrics):
    """The row of the method, by column."""
    return frame("equity", results(metrics), ["men"]).set_index("method").loc["men"]


def by_orders(scores, names):
    """Shapley values as they are defined: the mean over all orders of what a modality adds to those before it."""
    worth = {frozenset(names) - set(absent.split("+")): score for absent, score in scores.items()}
    worth[frozenset()] = CONSTANT
    orders = list(permutations(names))
    before = {name: [frozenset(order[: order.index(name)]) for order in orders] for name in names}
    return {name: np.mean([worth[s | {name}] - worth[s] for s in before[name]]) for name in names}


def test_values_of_two_modalities_are_those_computed_by_hand():
    row = equity(table(TWO))
    # Text adds 0.7 - 0.4 to nothing and 0.8 - 0.6 to audio; audio 0.6 - 0.4 and 0.8 - 0.7.
    assert [row["text_mean"], row["audio_mean"]] == pytest.approx([(0.3 + 0.2) / 2, (0.2 + 0.1) / 2])
    assert row["all_mean"] == pytest.approx(0.8 - CONSTANT)
    assert row["evenness"] == pytest.approx(1 - 0.1 / 0.4)
    (block,) = blocks("equity", frame("equity", results(table(TWO)), ["men"]))
    assert block.columns == ["text", "audio", "all", "evenness"]
    assert [cell.text for cell in dict(block.rows)["men"]] == ["+25.00", "+15.00", "+40.00", "0.75"]
    assert [cell.text for cell in dict(block.rows)[FLOOR]] == ["0.00", "0.00", "0.00", "–"]


@pytest.mark.parametrize("seed", range(5))
def test_values_are_means_over_all_orders_and_sum_to_complete_minus_nothing(seed):
    drawn = np.random.default_rng(seed).random(len(THREE))
    scores = dict(zip(THREE, drawn, strict=True))
    row = equity(table(scores))
    found = {name: row[f"{name}_mean"] for name in NAMES}
    assert found == pytest.approx(by_orders(scores, NAMES))
    assert sum(found.values()) == pytest.approx(scores[""] - CONSTANT) == pytest.approx(row["all_mean"])


def test_modalities_that_are_interchangeable_have_equal_values_and_one_that_adds_nothing_has_none():
    worth = {frozenset(): 0.0, frozenset("a"): 1.0, frozenset("b"): 1.0, frozenset("ab"): 1.5}
    worth |= {kept | {"c"}: value for kept, value in worth.items()}
    assert shapley(worth, ["a", "b", "c"]) == pytest.approx({"a": 0.75, "b": 0.75, "c": 0.0})
    assert shapley({frozenset(): 0.25, frozenset({"a"}): 1.0}, ["a"]) == {"a": 0.75}


def test_where_lower_is_better_less_error_is_a_positive_contribution():
    errors = {absent: 1.2 - score for absent, score in TWO.items()}
    metrics = table(errors, metric="mae")
    metrics.loc[metrics["method"] == FLOOR, "value"] = 1.2 - CONSTANT
    row, other = equity(metrics), equity(table(TWO))
    columns = ["text_mean", "audio_mean", "all_mean", "evenness"]
    assert row[columns].tolist() == pytest.approx(other[columns].tolist())
    (block,) = blocks("equity", frame("equity", results(metrics), ["men"]))
    assert (block.title, dict(block.rows)["men"][0].text) == ("MAE", "+0.250")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 1], 1),
        ([1, 0, 0], 0),
        ([3, 2, 1], 1 - 4 / 12),  # the differences are 1, 2 and 1
        ([2, 1], 1 - 1 / 3),
        ([0.3, -0.2, 0.0], 0),
        ([30, 20, 10], 1 - 4 / 12),
    ],
)
def test_evenness_is_one_minus_the_normalised_gini_coefficient(values, expected):
    assert evenness(values) == pytest.approx(expected)
    kept = np.maximum(values, 0)
    gini = np.abs(kept[:, None] - kept).sum() / (2 * len(kept) ** 2 * kept.mean())
    assert evenness(values) == pytest.approx(1 - gini * len(kept) / (len(kept) - 1))


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [-1.0, 0.0], [1.0, math.nan], [math.nan, 1.0]])
def test_evenness_is_undefined_of_one_modality_of_no_contribution_and_of_nan(values):
    assert math.isnan(evenness(values))


def test_values_are_averaged_over_folds_and_then_over_seeds():
    runs = [(f"seed-{s}.fold-{f}", s, str(f)) for s in (1, 2) for f in (1, 2)]
    scores = {absent: np.array([1.0, 0.9, 0.8, 0.6]) * score for absent, score in THREE.items()}
    metrics = table(scores, runs=runs)
    # The constant of a fold is that of the fold; that of its seeds is the same.
    metrics.loc[(metrics["method"] == FLOOR) & (metrics["fold"] == "2"), "value"] = 0.3
    row = equity(metrics)
    runs_of = [equity(metrics[(metrics["seed"] == s) & (metrics["fold"] == f)])["text_mean"] for _, s, f in runs]
    seeds = np.mean(runs_of[:2]), np.mean(runs_of[2:])
    assert (row["text_mean"], row["text_std"]) == pytest.approx((np.mean(seeds), np.std(seeds, ddof=1)))
    assert (row["runs"], row["seeds"], row["folds"], row["over"]) == (4, 2, 2, "seeds")
    assert row["evenness"] == pytest.approx(evenness([row[f"{name}_mean"] for name in NAMES]))


def test_pooled_folds_and_checkpoints_of_validation_beside_those_of_test_do_not_count():
    metrics = table(TWO)
    pooled = metrics.assign(fold="pooled", value=0.1)
    on_test = metrics.assign(checkpoint="f1")
    valid = metrics.assign(value=0.1)
    row = equity(pd.concat([pooled, on_test, valid], ignore_index=True))
    assert (row["text_mean"], row["checkpoints"]) == (pytest.approx(0.25), "TEST")


def test_a_floor_with_fewer_seeds_has_the_same_answer_for_the_others():
    metrics = table(TWO, runs=[("seed-1", 1, ""), ("seed-2", 2, "")])
    fewer = metrics[(metrics["method"] != FLOOR) | (metrics["seed"] == 1)]
    columns = ["text_mean", "text_std", "audio_mean", "evenness"]
    assert equity(fewer)[columns].tolist() == equity(metrics)[columns].tolist()


@pytest.mark.parametrize(
    ("left_out", "said", "typed"),
    [
        ("majority", "majority", 'Add "- majority" under "methods" in params.yaml, and run the workflow again.'),
        (
            "audio+vision",
            "audio and vision absent",
            'Set "absent: true" under "corruption" in params.yaml, and run the workflow again.',
        ),
        (
            "absent",
            "any set of absent modalities and majority",
            'Set "absent: true" under "corruption" and add "- majority" under "methods" in params.yaml, and run the '
            "workflow again.",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_type(left_out, said, typed):
    metrics = table(THREE)
    if left_out == "absent":
        metrics = metrics[metrics["method"] != FLOOR].assign(corruption="random")
    metrics = metrics[(metrics["method"] != left_out) & (metrics["modalities"] != left_out)]
    found = frame("equity", results(metrics), ["men"])
    assert found[["text_mean", "evenness"]].isna().all(axis=None)
    assert notes("equity", found) == [f"No Shapley values: the results have no scores for {said}.", typed]
    assert blocks("equity", found) == []
    assert typed in markdown(found, "equity")


def test_a_fold_without_the_floor_is_missing():
    metrics = table(TWO, runs=[("seed-1.fold-1", 1, "1"), ("seed-1.fold-2", 1, "2")])
    metrics = metrics[(metrics["method"] != FLOOR) | (metrics["fold"] == "1")]
    assert equity(metrics)["missing"] == FLOOR


def test_datasets_with_other_modalities_and_without_absent_ones_are_side_by_side():
    three, two, none = table(THREE), table(TWO).assign(dataset="e"), table(TWO).assign(dataset="f", corruption="random")
    found = frame("equity", results(pd.concat([three, two, none], ignore_index=True)), ["men"])
    rows = {name: found[found["dataset"] == name] for name in "def"}
    assert [blocks("equity", rows[name])[0].columns[:-2] for name in "de"] == [NAMES, ["text", "audio"]]
    assert blocks("equity", rows["f"]) == [] and len(notes("equity", rows["e"])) > 2
    assert not any("No Shapley" in said for said in notes("equity", rows["d"]))
    assert any("No Shapley" in said for said in notes("equity", rows["f"]))


def test_examples_are_true():
    failed, tried = doctest.testmod(module)
    assert tried and not failed
