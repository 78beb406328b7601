"""A search follows from its seed and its finished trials alone, sees the validation split alone, and keeps its word."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from elision.corruption.plan import Plan, conditions, draw
from elision.errors import ElisionError
from elision.methods import check, load
from elision.settings.params import Params
from elision.store import Sequences
from elision.training import loop, tuning
from elision.training.loop import NotFiniteError, train
from elision.training.run import Run
from elision.training.tuning import COMPLETE, FAILED, PRUNED, Study, Trial, best, promised, table, trials_of

RECIPE = {"step": "tune-trial", "identity": "abc"}
ROW = {"method": "late_fusion", "modalities": ["audio", "vision"], "epochs": 4, "batch_size": 4}


def params(train=None, row=None, corruption=None, dataset=None, **tune):
    return Params(
        datasets={"demo": {"source": "demo", **(dataset or {})}},
        corruption=corruption or {},
        methods=[{"mine": {**ROW, **(row or {})}}],
        seeds=[3, 4],
        train={"device": "cpu", **(train or {})},
        tune={"methods": ["mine"], "trials": 5, **tune},
    )


def study(store, settings=None):
    return Study(Run(settings or params(), "demo", "mine", "seed-3"), recipe=RECIPE, store=store)


def searched(store, folder, count=5, settings=None, known=()):
    """Make the trials of a search that knows some already."""
    search, done = study(store, settings), list(known)
    for number in range(len(done), count):
        earlier = [done[k] for k in search.settings.known_to(number)]
        done.append(search.trial(number, earlier, folder / f"trial-{number}"))
    return done


def result(trial):
    return replace(trial, seconds=0.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("search")


@pytest.fixture
def five(store, made):
    """The trials of one search, made once."""
    kept = made / "trials.json"
    if not kept.exists():
        kept.write_text(json.dumps(table(searched(store, made)).to_dict("records")))
    import pandas as pd

    return trials_of(pd.DataFrame(json.loads(kept.read_text())))


def test_trials_survive_their_table(five):
    assert trials_of(table(five)) == five


def test_trial_0_has_the_defaults_and_later_ones_other_values_of_the_space(store, five):
    search = study(store)
    assert five[0].values == search.default == {"learning_rate": 0.001, "weight_decay": 0.01, "dropout": 0.3}
    for trial in five[1:]:
        assert trial.values != search.default
        assert all(search.space[name].low <= value <= search.space[name].high for name, value in trial.values.items())
    assert len({json.dumps(trial.values) for trial in five}) == 5


def test_the_same_search_gives_the_same_trials_wherever_it_was_interrupted(store, five, tmp_path):
    assert [result(trial) for trial in searched(store, tmp_path, known=five[:2])] == [result(trial) for trial in five]


def test_a_training_that_was_interrupted_goes_on_and_ends_alike(store, five, tmp_path, monkeypatch):
    validated, validate = [], loop._Loop._validate

    def killed(self, epoch, row):
        if epoch == 3 and not validated:
            validated.append(epoch)
            raise KeyboardInterrupt
        return validate(self, epoch, row)

    monkeypatch.setattr(loop._Loop, "_validate", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(store, tmp_path, known=five[:2])
    assert (tmp_path / "trial-2" / "state.pt").exists()
    assert result(searched(store, tmp_path, count=3, known=five[:2])[2]) == result(five[2])
    assert not (tmp_path / "trial-2").exists()


def test_another_seed_tries_other_values(store, five, tmp_path):
    other = searched(store, tmp_path, count=2, settings=params(seed=4))
    assert other[0].values == five[0].values
    assert (
        result(
            Study(Run(params(seed=4), "demo", "mine", "seed-4"), recipe=RECIPE, store=store).trial(
                1, other[:1], tmp_path / "again"
            )
        ).values
        != five[1].values
    )


def test_a_trial_of_a_round_knows_no_other_of_its_round(store, five, tmp_path):
    assert [list(params(trials_at_once=3).tune.known_to(number)) for number in (0, 2, 3, 5, 6)] == [
        [],
        [],
        [0, 1, 2],
        [0, 1, 2],
        [0, 1, 2, 3, 4, 5],
    ]
    search = study(store, params(trials_at_once=5))
    last_first = [search.trial(number, [], tmp_path / str(number)) for number in (4, 1)]
    assert [result(trial) for trial in searched(store, tmp_path, settings=params(trials_at_once=5))[1::3]] == [
        result(trial) for trial in reversed(last_first)
    ]


def test_no_trial_reads_the_test_split(store, five, tmp_path):
    """Other test samples, or none that can be read, give the same trials."""
    test = store.rows("test")
    modalities = {}
    for name, sequences in store.modalities.items():
        values = [np.array(sequence) for sequence in sequences]
        for row in test:
            values[row] = np.full_like(values[row], np.nan if values[row].dtype.kind == "f" else 7)
        modalities[name] = Sequences.of(values, sequences.header)
    samples = store.samples.assign(
        label=np.where(store.samples["split"] == "test", np.nan, store.samples["label"].to_numpy())
    )
    spoilt = replace(store, samples=samples, modalities=modalities)
    assert [result(trial) for trial in searched(spoilt, tmp_path)] == [result(trial) for trial in five]


@pytest.mark.parametrize("selection", ["valid", "test_oracle"])
def test_no_trial_makes_a_test_split_however_runs_choose_checkpoints(store, tmp_path, monkeypatch, selection):
    splits, make = set(), Run.split

    def seen(self, store, name, **how):
        splits.add(name)
        return make(self, store, name, **how)

    monkeypatch.setattr(Run, "split", seen)
    searched(store, tmp_path, count=1, settings=params(train={"selection": selection}))
    assert splits == {"train", "valid"}


def test_a_run_with_the_values_of_a_trial_reaches_its_score_and_another_is_refused(store, five, tmp_path):
    won = best(five, "here")
    assert won.error == min(trial.error for trial in five)
    settings = params().with_values({"mine": won.values})
    run = Run(settings, "demo", "mine", "seed-3")
    assert won.values.items() <= run.hyperparameters.model_dump().items()
    word = promised(won, tmp_path / "study")
    train(run, store=store, plan=None, folder=tmp_path / "run", recipe=RECIPE, promised=word)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["checkpoints"]["valid"] == {"epoch": won.epoch, "score": won.score}
    told = r"validation score is .* but tuning found .* on cpu, 1 thread.*Delete .*study and start the workflow again"
    for wrong in ({"score": np.nextafter(won.score, 9)}, {"epoch": won.epoch + 1}):
        with pytest.raises(ElisionError, match=told):
            train(run, store=store, plan=None, folder=tmp_path / "b", recipe=RECIPE, promised={**word, **wrong})
        assert not (tmp_path / "b" / "run.json").exists()


@pytest.mark.parametrize("masks", ["per_sample", "shared"])
def test_a_score_is_reached_also_by_a_run_that_chooses_checkpoints_on_the_test_split(store, tmp_path, masks):
    settings = params(train={"selection": "test_oracle"}, corruption={"masks": masks})
    (won,) = searched(store, tmp_path, count=1, settings=settings)
    corruption = settings.corruption_for("demo")
    _, uniforms = draw(store, corruption)
    plan = Plan(conditions(corruption, ("text", "audio", "vision")), corruption.seed, uniforms, {})
    run = Run(settings.with_values({"mine": won.values}), "demo", "mine", "seed-3")
    assert run.oracle
    word = promised(won, tmp_path)
    train(run, store=store, plan=plan, folder=tmp_path / "run", recipe=RECIPE, promised=word)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(record["checkpoints"]) > 1 and record["checkpoints"]["valid"]["score"] == won.score


def fake(number, errors, state=COMPLETE, value=0.001):
    values = {"learning_rate": value, "weight_decay": 0.01, "dropout": 0.1}
    return Trial(number, state, values, min(errors), errors.index(min(errors)) + 1, errors, 1.0, "here")


def test_a_trial_worse_than_the_median_ends_early_and_is_recorded(store, tmp_path):
    good = [fake(number, [0.01, 0.01, 0.01, 0.01], value=0.0002 * (number + 1)) for number in range(6)]
    trials = {
        after: study(store, params(prune_after=after)).trial(6, good, tmp_path / str(after)) for after in (1, 2, None)
    }
    assert [trial.state for trial in trials.values()] == [PRUNED, PRUNED, COMPLETE]
    assert [len(trial.errors) for trial in trials.values()] == [1, 2, 4]
    assert trials[1].errors == trials[None].errors[:1]
    bad = [replace(trial, errors=[9.0] * 4) for trial in good]
    assert study(store, params(prune_after=1)).trial(6, bad, tmp_path / "bad").state == COMPLETE
    assert best([*good, trials[1]], "here").number == 0


def test_a_loss_that_is_not_finite_makes_a_failed_trial_and_not_a_stop(store, five, tmp_path, monkeypatch):
    def diverges(*arguments, **options):
        raise NotFiniteError("train demo mine seed-3: loss term 'task' is nan")

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train", diverges)
        failed = study(store).trial(2, five[:2], tmp_path / "failed")
    assert (failed.state, failed.errors) == (FAILED, []) and "loss term" in failed.reason
    assert trials_of(table([failed]))[0].reason == failed.reason
    assert study(store).trial(3, [*five[:2], failed], tmp_path / "next").state == COMPLETE
    with pytest.raises(ElisionError, match=r"here: none of the trials is complete .*smaller learning rates"):
        best([failed], "here")


def test_importances_are_shares_and_need_some_trials_that_differ(store, five):
    search = study(store)
    found = search.importances(five)
    assert set(found) == set(search.space) and sum(found.values()) == pytest.approx(1)
    assert found == search.importances(five)
    assert search.importances(five[:3]) == {}
    assert search.importances([fake(number, [0.5]) for number in range(6)]) == {}


def test_whole_numbers_and_choices_are_tried_as_they_are(store, tmp_path):
    space = {"mine": {"batch_size": {"low": 2, "high": 6}, "epochs": [1, 2], "learning_rate": None, "dropout": None}}
    settings = params(space=space)
    check(settings)
    found = searched(store, tmp_path, count=4, settings=settings)
    assert all(set(trial.values) == {"batch_size", "epochs", "weight_decay"} for trial in found)
    assert all(isinstance(trial.values["batch_size"], int) and len(trial.errors) <= 2 for trial in found)
    assert {trial.values["epochs"] for trial in found} <= {1, 2}


def test_without_optuna_the_params_are_refused_with_what_to_type(monkeypatch):
    check(params())
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, find=importlib.util.find_spec: None if name == "optuna" else find(name),
    )
    with pytest.raises(ElisionError, match=r"Optuna, which is not installed; type pip install -e \.\[tune\]"):
        check(params())


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"droput": [0.1, 0.2]}, "tune.space.mine: unknown hyperparameter 'droput'; did you mean dropout"),
        ({"dropout": {"low": 0.1, "high": 1.5}}, "tune.space.mine: late_fusion: dropout: .*less than 1"),
        ({"batch_size": ["many", 4]}, "tune.space.mine: late_fusion: batch_size"),
        ({"modalities": ["audio", "vision"]}, "modalities changes the validation data"),
        ({"learning_rate": None, "weight_decay": None, "dropout": None}, "mine has no hyperparameter that is searched"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space, told):
    with pytest.raises(ElisionError, match=told):
        check(params(space={"mine": space}))


def test_a_method_may_have_a_space_of_its_own(store, monkeypatch):
    monkeypatch.setattr(load("late_fusion"), "search_space", {"dropout": None, "patience": [2, 3]})
    assert list(study(store).space) == ["patience", "learning_rate", "weight_decay"]


def test_each_fold_has_a_search_of_its_own_that_sees_the_fold(store, five, tmp_path):
    split = store.samples["split"].to_numpy()
    folds = {"fold-1": split, "fold-2": np.roll(split, 6)}
    folded = replace(store, samples=store.samples.drop(columns="split").assign(**folds))
    settings = params(dataset={"folds": {"by": "speaker", "count": 2}})
    assert settings.tuning_runs("demo") == ["seed-3.fold-1", "seed-3.fold-2"]
    first, second = (
        Study(Run(settings, "demo", "mine", run), recipe=RECIPE, store=folded).trial(0, [], tmp_path / run)
        for run in settings.tuning_runs("demo")
    )
    assert result(first) == result(five[0])
    assert first.values == second.values and first.errors != second.errors
