"""What `tune` in the params says, and what it refuses."""

import pytest

from elision.errors import ElisionError
from elision.methods import resolve_variant
from elision.settings.params import Params, checked

BASE = {
    "datasets": {"demo": {"source": "demo"}},
    "methods": ["majority", "self_mm", {"mine": {"method": "mult", "dropout": 0.2}}],
    "seeds": [5, 6],
}
FOLDS = {"by": "speaker", "count": 2}


def params(tune, **sections):
    return checked({**BASE, "tune": tune, **sections}, "params.yaml")


def test_all_rows_but_floors_are_tuned_with_equal_budgets_and_nothing_without_tune():
    assert params({}).tuned == ["self_mm", "mine"]
    assert params({}).tune.trials == 30
    assert params(None).tuned == params(None).studies == params(None).tuning_runs("demo") == []
    assert params({"methods": ["mine", "majority"]}).tuned == ["majority", "mine"]


def test_a_search_has_the_first_seed_or_one_of_the_seeds_and_one_part_per_fold():
    assert params({"methods": ["mine"]}).studies == [("demo", "mine", "seed-5")]
    folds = params({"seed": 6}, datasets={"demo": {"source": "demo", "folds": FOLDS}})
    assert folds.tuning_runs("demo") == ["seed-6.fold-1", "seed-6.fold-2"]
    assert [folds.tuning_run("demo", run) for run in folds.runs("demo")] == 2 * folds.tuning_runs("demo")


def test_a_teacher_is_tuned_if_it_is_named():
    dataset = {"demo": {"source": "demo", "task": "classification", "classes": ["a", "b"], "cuts": [0]}}
    found = params({"methods": ["mmin_teacher"]}, datasets=dataset, methods=["mmin"])
    assert found.tuned == ["mmin_teacher"]
    changed = found.with_values({"mmin_teacher": {"dropout": 0.11}})
    assert resolve_variant(changed, changed.trained["mmin_teacher"], "demo")[0].dropout == 0.11
    assert changed.trained["mmin"] == found.trained["mmin"]


def test_tuned_values_replace_those_of_one_row_in_a_copy():
    found = params({})
    before = found.variants["mine"]
    changed = found.with_values({"mine": {"learning_rate": 0.5}})
    assert changed.variants["mine"].overrides == {"dropout": 0.2, "learning_rate": 0.5}
    assert changed.trained["self_mm"] == found.trained["self_mm"]
    assert found.variants["mine"] == before and changed.tune == found.tune


@pytest.mark.parametrize(
    ("tune", "sections", "told"),
    [
        ({"methods": ["mime"]}, {}, "tune.methods: unknown method 'mime'; did you mean mine?"),
        ({"methods": ["mine", "mine"]}, {}, "tune.methods: duplicate entry: mine"),
        ({"space": {"majority": {"a": [1, 2]}}}, {}, "tune.space.majority: unknown tuned method 'majority'"),
        ({"space": {"mine": {"dropout": [0.1]}}}, {}, "tune.space.mine.dropout: a list needs at least two values"),
        (
            {"space": {"mine": {"dropout": {"low": 1, "high": 0}}}},
            {},
            "tune.space.mine.dropout: low is 1 and high is 0; low must",
        ),
        (
            {"space": {"mine": {"dropout": {"low": 0, "high": 1, "lg": True}}}},
            {},
            "tune.space.mine.dropout: lg: unknown key; did",
        ),
        ({"space": {"mine": {"dropout": 0.3}}}, {}, "dropout: give {low: ..., high: ...}, a list of values, or null"),
        ({"seed": 7}, {}, "tune.seed is 7, but the runs on dataset 'demo' have the seeds 5, 6; choose one of them"),
        ({"trials": 0}, {}, "tune.trials"),
        ({"trails": 3}, {}, "tune.trails: unknown key; did you mean trials?"),
        ({}, {"methods": ["majority"]}, "all rows of methods are floors; name the rows to tune under tune.methods"),
        (
            {},
            {"datasets": {"demo": {"source": "demo", "scale_by": "all"}}},
            "datasets.demo.scale_by: all measures test samples, which tuning must not see; write scale_by: training",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused_with_what_to_write(tune, sections, told):
    with pytest.raises(ElisionError) as error:
        params(tune, **sections)
    assert told in str(error.value)


def test_params_with_and_without_tune_are_read_as_written():
    assert Params(**BASE).tune is None
    space = {"mine": {"dropout": [0, 0.5], "layers": {"low": 1, "high": 4}, "learning_rate": None}}
    found = params({"space": space}).tune.space["mine"]
    assert found["dropout"] == [0, 0.5] and found["learning_rate"] is None
    assert (found["layers"].low, found["layers"].high, found["layers"].log) == (1, 4, False)
