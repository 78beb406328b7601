import json

import numpy as np
import pandas as pd
import pytest

from elision.errors import ElisionError
from elision.evaluation.aggregate import (
    MOST_EMPTY,
    aggregate,
    averaged,
    confusions,
    headline_rows,
    statistics,
    summary,
)
from elision.evaluation.metrics import confusion_matrix, score
from elision.evaluation.metrics import family as family_of

FAMILIES = ("mosi", "sims")
EMOTION = "emotion:happy,angry,sad,neutral"
RATES = (0.0, 0.1, 0.5)
CONDITIONS = [("random", r, "text+audio+vision" if r else "") for r in RATES] + [
    ("absent", 0.0, ""),
    ("absent", 1.0, "text"),
]


def predictions(*, family="mosi", seed=0, samples=30, checkpoints=("valid",), constant=False):
    """Predictions that are the label, plus noise that grows with the level."""
    labels = np.random.default_rng(1111).uniform(-1, 1, samples).round(1) * (3 if family == "mosi" else 1)
    generator = np.random.default_rng(seed)
    tables = [
        pd.DataFrame(
            {
                "id": [f"v{i:02d}" for i in range(samples)],
                "corruption": corruption,
                "level": level,
                "modalities": modalities,
                "checkpoint": checkpoint,
                "prediction": 0.7 if constant else labels + generator.normal(0, 0.3 + level, samples),
                "label": labels,
            }
        )
        for checkpoint in checkpoints
        for corruption, level, modalities in CONDITIONS
    ]
    return pd.concat(tables, ignore_index=True)


def class_predictions(*, seed=0, fold=0, samples=40, checkpoints=("valid",), conditions=CONDITIONS):
    """Class names: the more is missing, the more are drawn at random; every fold has other samples."""
    names = np.array(family_of(EMOTION).labels, dtype=object)
    labels = np.random.default_rng([1111, fold]).integers(0, 4, samples)
    generator = np.random.default_rng([seed, fold])
    tables = []
    for checkpoint in checkpoints:
        for corruption, level, modalities in conditions:
            drawn = generator.random(samples) < 0.2 + 0.5 * min(level, 1)
            table = {"id": [f"fold{fold}-{i:02d}" for i in range(samples)], "corruption": corruption, "level": level}
            table |= {"modalities": modalities, "checkpoint": checkpoint}
            table["prediction"] = names[np.where(drawn, generator.integers(0, 4, samples), labels)]
            tables.append(pd.DataFrame({**table, "label": names[labels], "logit.happy": 0.5}))
    return pd.concat(tables, ignore_index=True)


def folded(*, seeds=(1, 2), folds=(1, 2, 10), methods=("mmin",)):
    return [
        (
            "iemocap",
            EMOTION,
            method,
            f"seed-{seed}.fold-{fold}",
            class_predictions(seed=seed, fold=fold, samples=20 + fold),
        )
        for method in methods
        for seed in seeds
        for fold in folds
    ]


def inputs():
    return [
        (dataset, family, method, f"seed-{seed}", predictions(family=family, seed=seed + len(method)))
        for dataset, family in (("mosi", "mosi"), ("sims", "sims"))
        for method in ("lnln", "almt-variant")
        for seed in (1, 2)
    ]


def test_every_metric_of_every_condition_and_run_has_one_row():
    metrics = aggregate(inputs())
    keys = ["dataset", "method", "run", "corruption", "level", "modalities", "checkpoint", "metric"]
    assert list(metrics["seed"].unique()) == [1, 2]
    assert (metrics["fold"] == "").all()
    assert not metrics.duplicated(keys).any()
    per_dataset = metrics.groupby("dataset").size()
    for family in FAMILIES:
        count = len(score([0.1, 0.2], [0.3, 0.4], family))
        assert per_dataset[family] == 2 * 2 * len(CONDITIONS) * count


def test_values_are_the_metrics_of_the_rows_of_the_condition():
    table = predictions(seed=3)
    metrics = aggregate([("mosi", "mosi", "lnln", "seed-3", table)])
    rows = table[(table["corruption"] == "random") & (table["level"] == 0.5)]
    expected = score(rows["prediction"], rows["label"], "mosi")
    got = metrics[(metrics["corruption"] == "random") & (metrics["level"] == 0.5)].set_index("metric")["value"]
    assert got.to_dict() == expected


def test_the_order_of_tables_and_rows_does_not_change_a_bit():
    shuffled = [(*names, table.sample(frac=1, random_state=5)) for *names, table in reversed(inputs())]
    pd.testing.assert_frame_equal(aggregate(inputs()), aggregate(iter(shuffled)), check_exact=True)
    pd.testing.assert_frame_equal(confusions(inputs()), confusions(shuffled), check_exact=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_metric_is_read_from_the_checkpoint_that_was_chosen_for_it(family):
    checkpoints = tuple(family_of(family).checkpoints)
    table = predictions(family=family, checkpoints=checkpoints)
    metrics = aggregate([("d", family, "lnln", "seed-1", table)])
    at = metrics[(metrics["corruption"] == "random") & (metrics["level"] == 0.1)].set_index("metric")
    assert set(at.index) == set(family_of(family).reported)
    sources = {"corr": "mae", "f1": "acc2", "f1_negpos": "acc2_negpos", "f1_nonneg": "acc2_nonneg"}
    sources |= {"majority_share_7": "acc7", "majority_share_5": "acc5"}
    sources |= {"entropy_7": "acc7", "entropy_5": "acc5"}
    sources |= dict.fromkeys(("majority_share_2", "entropy_2"), "acc2" if family == "sims" else "acc2_nonneg")
    for metric, row in at.iterrows():
        assert row["checkpoint"] == sources.get(metric, metric)
        rows = table[(table["level"] == 0.1) & (table["checkpoint"] == row["checkpoint"])]
        assert row["value"] == score(rows["prediction"], rows["label"], family)[metric]


def test_a_checkpoint_that_is_missing_is_an_error():
    table = predictions(checkpoints=("acc7", "mae"))
    with pytest.raises(ElisionError, match="acc2_negpos, acc2_nonneg, acc5 is missing"):
        aggregate([("mosi", "mosi", "lnln", "seed-1", table)])


def test_rates_that_differ_by_rounding_errors_are_the_same_rate():
    table = predictions()
    table["level"] = table["level"].where(table["level"] != 0.1, 0.3 - 0.2)
    assert sorted(aggregate([("mosi", "mosi", "lnln", "seed-1", table)])["level"].unique()) == [0.0, 0.1, 0.5, 1.0]


def test_a_prediction_that_is_missing_doubled_or_not_finite_is_named():
    table = predictions()
    with pytest.raises(ElisionError, match=r'mosi/lnln/seed-1: sample "v07" has 0 rows.*absent, 0.0, valid'):
        aggregate([("mosi", "mosi", "lnln", "seed-1", table.drop(index=3 * 30 + 7))])
    with pytest.raises(ElisionError, match=r'sample "v00" has 2 rows'):
        aggregate([("mosi", "mosi", "lnln", "seed-1", pd.concat([table, table.iloc[:1]]))])
    broken = table.assign(prediction=table["prediction"].where(table.index != 4))
    with pytest.raises(ElisionError, match=r'prediction of sample "v04" is nan'):
        aggregate([("mosi", "mosi", "lnln", "seed-1", broken)])


def test_a_label_that_changes_between_conditions_is_an_error():
    table = predictions()
    table.loc[3, "label"] += 1
    with pytest.raises(ElisionError, match=r'"v03" has several labels'):
        aggregate([("mosi", "mosi", "lnln", "seed-1", table)])


def test_a_table_without_a_column_or_rows_is_an_error():
    with pytest.raises(ElisionError, match="missing column: checkpoint"):
        aggregate([("mosi", "mosi", "lnln", "seed-1", predictions().drop(columns="checkpoint"))])
    with pytest.raises(ElisionError, match="are empty"):
        aggregate([("mosi", "mosi", "lnln", "seed-1", predictions().iloc[:0])])


def test_runs_with_other_conditions_or_given_twice_are_an_error():
    table = predictions()
    with pytest.raises(ElisionError, match="different test conditions"):
        aggregate([("d", "mosi", "a", "seed-1", table), ("d", "mosi", "b", "seed-1", table[table["level"] != 0.5])])
    with pytest.raises(ElisionError, match="are given twice"):
        aggregate([("d", "mosi", "a", "seed-1", table), ("d", "mosi", "a", "seed-1", table)])
    with pytest.raises(ElisionError, match="two families"):
        aggregate([("d", "mosi", "a", "seed-1", table), ("d", "sims", "b", "seed-1", table)])


def test_confusions_count_every_sample_once_per_run_rate_and_scheme():
    counted = confusions(inputs(), rates=(0.0, 0.5, 0.9))
    assert sorted(counted["level"].unique()) == [0.0, 0.5]
    keys = ["dataset", "method", "run", "level", "classes"]
    sums = counted.groupby(keys)["count"].agg(["sum", "size"])
    assert (sums["sum"] == 30).all()
    assert (sums["size"] == sums.index.get_level_values("classes") ** 2).all()
    table = predictions(seed=1 + len("lnln"))
    rows = table[(table["corruption"] == "random") & (table["level"] == 0.5)]
    expected = confusion_matrix((rows["label"] >= 0).to_numpy(int), (rows["prediction"] >= 0).to_numpy(int), classes=2)
    chosen = counted.query(
        "dataset == 'mosi' and method == 'lnln' and run == 'seed-1' and level == .5 and classes == 2"
    )
    assert chosen["count"].to_numpy().reshape(2, 2).tolist() == expected.tolist()


def test_confusions_read_the_checkpoint_of_the_accuracy_over_the_same_classes():
    table = predictions(checkpoints=tuple(family_of("mosi").checkpoints))
    counted = confusions([("mosi", "mosi", "lnln", "seed-1", table)])
    assert set(zip(counted["classes"], counted["checkpoint"], strict=True)) == {(7, "acc7"), (2, "acc2_nonneg")}


def test_statistics_average_conditions_first_and_then_runs():
    metrics = aggregate(inputs())
    random = metrics[metrics["corruption"] == "random"]
    row = statistics(random).query("dataset == 'sims' and method == 'lnln' and metric == 'mae'").iloc[0]
    values = random.query("dataset == 'sims' and method == 'lnln' and metric == 'mae'")
    by_run = [values.loc[values["run"] == run, "value"].mean() for run in ("seed-1", "seed-2")]
    assert row["mean"] == pytest.approx(np.mean(by_run))
    assert row["std"] == pytest.approx(np.std(by_run, ddof=1))
    assert (row["runs"], row["conditions"], row["undefined"], row["on_test"]) == (2, 3, 0, False)
    assert (row["over"], row["seeds"], row["folds"]) == ("seeds", 2, 1)


def test_one_run_has_no_standard_deviation():
    metrics = aggregate(inputs()[:1])
    assert statistics(metrics)["std"].isna().all()
    assert (statistics(metrics)["over"] == "").all()


def test_an_undefined_value_makes_the_mean_undefined_and_is_counted():
    tables = [
        ("d", "mosi", "lnln", "seed-1", predictions()),
        ("d", "mosi", "lnln", "seed-2", predictions(constant=True)),
    ]
    metrics = aggregate(tables)
    row = statistics(metrics[metrics["corruption"] == "random"]).set_index("metric").loc["corr"]
    assert np.isnan(row["mean"])
    assert row["undefined"] == len(RATES)


def test_the_summary_is_nested_json_of_the_headline_means_over_rates_and_runs():
    metrics = aggregate(inputs())
    metrics.loc[(metrics["dataset"] == "sims") & (metrics["metric"] == "f1"), "value"] = np.nan
    nested = json.loads(json.dumps(summary(metrics), allow_nan=False))
    assert set(nested) == {"mosi", "sims"}
    assert nested["sims"]["lnln"]["f1"] is None
    assert set(nested["mosi"]["lnln"]) == {"f1_negpos", "mae"}
    values = metrics.query("corruption == 'random' and dataset == 'mosi' and method == 'lnln' and metric == 'mae'")
    assert nested["mosi"]["lnln"]["mae"] == pytest.approx(values["value"].mean())


def test_the_summary_says_when_checkpoints_were_chosen_on_the_test_set():
    table = predictions(checkpoints=tuple(family_of("mosi").checkpoints))
    nested = summary(aggregate([("mosi", "mosi", "lnln", "seed-1", table)]))
    assert nested["mosi"]["lnln"]["checkpoints"] == "chosen on the TEST set"


def with_empty(table, level, count):
    """Nothing is left of the first samples at a level."""
    place = table.groupby(["corruption", "level", "modalities", "checkpoint"]).cumcount()
    return table.assign(empty=(table["corruption"] == "random") & (table["level"] >= level) & (place < count))


def test_means_are_over_levels_at_which_something_is_left():
    tables = [("d", "mosi", "lnln", "seed-1", predictions())]
    known = aggregate([(*names, with_empty(table, 0.5, 6)) for *names, table in tables])
    plain = aggregate(tables)
    pd.testing.assert_frame_equal(known.drop(columns="empty"), plain.drop(columns="empty"))
    random = known[known["corruption"] == "random"]
    levels = sorted(random["level"].unique())
    of_level = random.groupby("level")["empty"].unique().str[0]
    count = predictions()["id"].nunique()
    assert of_level.to_dict() == {level: 6 / count if level >= 0.5 else 0.0 for level in levels}
    assert 6 / count > MOST_EMPTY
    assert sorted(headline_rows(known)["level"].unique()) == [level for level in levels if level < 0.5]
    assert sorted(headline_rows(plain)["level"].unique()) == levels
    # A level at which just a tenth is lost stays, and all stay where none would be left; sets have no levels.
    assert len(averaged(known.assign(empty=MOST_EMPTY))) == len(averaged(plain))
    assert len(averaged(known.assign(empty=0.9))) == len(averaged(plain))
    values = random.query("level < 0.5 and metric == 'mae' and checkpoint == 'valid'")["value"]
    assert summary(known)["d"]["lnln"]["mae"] == pytest.approx(values.mean())


def test_empty_samples_of_folds_are_counted_together():
    folds = [("d", EMOTION, "mmin", f"seed-1.fold-{k}", class_predictions(seed=1, fold=k)) for k in (1, 2)]
    metrics = aggregate([(*names, with_empty(table, 0.5, int(names[-1][-1]) - 1)) for *names, table in folds])
    total = sum(table["id"].nunique() for *_, table in folds)
    random = metrics[metrics["corruption"] == "random"]
    assert set(random.loc[random["level"] >= 0.5, "empty"]) == {1 / total}


def test_no_tables_give_empty_tables_with_their_columns():
    assert list(aggregate([]).columns)[-3:] == ["metric", "value", "empty"]
    assert list(confusions([]).columns)[-1] == "count"
    assert summary(aggregate([])) == {}


def test_names_of_classes_become_the_numbers_of_the_family():
    table = class_predictions(seed=3)
    metrics = aggregate([("d", EMOTION, "mmin", "seed-3", table)])
    got = metrics[(metrics["corruption"] == "random") & (metrics["level"] == 0.5)].set_index("metric")["value"]
    rows = table[(table["corruption"] == "random") & (table["level"] == 0.5)]
    number = {name: i for i, name in enumerate(("happy", "angry", "sad", "neutral"))}
    assert got.to_dict() == score(rows["prediction"].map(number), rows["label"].map(number), EMOTION)
    assert got["wa"] == (rows["prediction"] == rows["label"]).mean()


def test_a_name_that_is_no_class_of_the_family_is_an_error():
    table = class_predictions()
    for column in ("prediction", "label"):
        broken = table.assign(**{column: table[column].where(table.index != 4, "bored")})
        with pytest.raises(
            ElisionError, match=rf'{column} of sample "fold0-04" is \'bored\', but the classes are happy'
        ):
            aggregate([("d", EMOTION, "mmin", "seed-1", broken)])


def test_scores_and_classes_stand_in_one_table():
    metrics = aggregate([*inputs(), *folded()])
    assert sorted(metrics["family"].unique()) == sorted((*FAMILIES, EMOTION))
    pd.testing.assert_frame_equal(
        metrics[metrics["dataset"] != "iemocap"].reset_index(drop=True), aggregate(inputs()), check_exact=True
    )


def test_each_metric_of_classes_is_read_from_its_checkpoint():
    checkpoints = tuple(family_of(EMOTION).checkpoints)
    metrics = aggregate([("d", EMOTION, "mmin", "seed-1", class_predictions(checkpoints=checkpoints))])
    sources = dict(zip(metrics["metric"], metrics["checkpoint"], strict=True))
    for name, source in sources.items():
        assert source == (name if name in ("wa", "ua", "f1_weighted", "f1_macro") else "f1_weighted")
    assert len(sources) == 6 + 2 * 4
    assert set(
        confusions([("d", EMOTION, "m", "seed-1", class_predictions(checkpoints=checkpoints))])["checkpoint"]
    ) == {"f1_weighted"}


def test_pooled_metrics_are_those_of_the_predictions_of_all_folds_together():
    tables = folded()
    metrics = aggregate(tables)
    assert list(metrics["fold"].unique()) == ["pooled", "1", "10", "2"]
    pooled = metrics[(metrics["fold"] == "pooled") & (metrics["corruption"] == "random") & (metrics["level"] == 0.5)]
    assert set(pooled["run"]) == {"seed-1", "seed-2"}
    everything = pd.concat([table for *_, run, table in tables if run.startswith("seed-2.")])
    rows = everything[(everything["corruption"] == "random") & (everything["level"] == 0.5)]
    assert len(rows) == 21 + 22 + 30
    got = pooled[pooled["seed"] == 2].set_index("metric")["value"]
    assert got["wa"] == pytest.approx((rows["prediction"] == rows["label"]).mean())
    recalls = (rows["prediction"] == rows["label"]).groupby(rows["label"]).mean()
    assert got["ua"] == pytest.approx(recalls.mean())


def test_pooled_scores_are_those_of_all_folds_too():
    tables = []
    for fold in (1, 2):
        table = predictions(seed=fold)
        tables.append(("d", "mosi", "cif", f"seed-7.fold-{fold}", table.assign(id=table["id"] + f"-{fold}")))
    metrics = aggregate(tables)
    rows = metrics[(metrics["corruption"] == "random") & (metrics["level"] == 0.1)].set_index(["metric", "fold"])[
        "value"
    ]
    assert rows["mae", "pooled"] == pytest.approx((rows["mae", "1"] + rows["mae", "2"]) / 2)
    assert rows["corr", "pooled"] != rows["corr", "1"]


def test_a_seed_that_lacks_a_fold_is_not_pooled():
    metrics = aggregate(folded()[:-1])
    assert list(metrics.loc[metrics["fold"] == "pooled", "seed"].unique()) == [1]


def test_folds_that_share_test_samples_are_an_error():
    table = class_predictions()
    with pytest.raises(ElisionError, match=r'd/mmin/seed-1: sample "fold0-00" is in the test split of several folds'):
        aggregate([("d", EMOTION, "mmin", f"seed-1.fold-{fold}", table) for fold in (1, 2)])


def test_the_order_of_folds_does_not_change_a_bit():
    tables = [*folded(methods=("mmin", "cra"))]
    shuffled = [(*names, table.sample(frac=1, random_state=5)) for *names, table in reversed(tables)]
    first, second = aggregate(tables), aggregate(shuffled)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    chosen = [statistics(m.sample(frac=1, random_state=seed)) for seed, m in enumerate((first, second))]
    pd.testing.assert_frame_equal(*chosen, check_exact=True)


def test_folds_are_averaged_inside_a_seed_before_seeds_are():
    metrics = aggregate(folded())
    random = metrics[metrics["corruption"] == "random"]
    row = statistics(random).set_index("metric").loc["ua"]
    values = random[(random["metric"] == "ua") & (random["fold"] != "pooled")]
    by_run = values.groupby(["seed", "fold"])["value"].mean()
    by_seed = by_run.groupby("seed").mean()
    assert row["mean"] == pytest.approx(by_seed.mean())
    assert row["std"] == pytest.approx(by_seed.std(ddof=1))
    assert (row["over"], row["runs"], row["seeds"], row["folds"], row["conditions"]) == ("seeds", 6, 2, 3, 3)


def test_the_deviation_of_a_single_seed_is_over_its_folds():
    metrics = aggregate(folded(seeds=(1,)))
    random = metrics[(metrics["corruption"] == "random") & (metrics["metric"] == "wa")]
    row = statistics(random).iloc[0]
    by_fold = random[random["fold"] != "pooled"].groupby("fold")["value"].mean()
    assert row["mean"] == pytest.approx(by_fold.mean())
    assert row["std"] == pytest.approx(by_fold.std(ddof=1))
    assert (row["over"], row["runs"], row["seeds"], row["folds"]) == ("folds", 3, 1, 3)


def test_confusions_of_folds_count_every_sample_once_per_seed():
    counted = confusions(folded())
    assert (counted.groupby(["seed", "level"])["count"].sum() == 21 + 22 + 30).all()
    assert set(counted["fold"]) == {"1", "2", "10"}


def test_noise_conditions_are_conditions_like_others():
    conditions = [(kind, t, "text+audio") for kind in ("gaussian", "impulse") for t in (20.0, 100.0)]
    metrics = aggregate([("d", EMOTION, "nmer", "seed-1", class_predictions(conditions=conditions))])
    assert metrics.groupby(["corruption", "level", "modalities"]).ngroups == 4
    gaussian = metrics.query("corruption == 'gaussian' and metric == 'ua'")["value"].mean()
    assert summary(metrics)["d"]["nmer"]["ua"] == pytest.approx(gaussian)


def test_headlines_are_of_incomplete_data():
    metrics = aggregate([("mosi", "mosi", "lnln", "seed-1", predictions())])
    assert set(headline_rows(metrics)["corruption"]) == {"random"}
    absent = metrics[metrics["corruption"] == "absent"]
    assert set(headline_rows(absent)["modalities"]) == set(absent["modalities"]) - {""}
    others = absent.assign(dataset="absent only")
    both = headline_rows(pd.concat([metrics, others]))
    assert both.groupby("dataset")["corruption"].unique().map(list).to_dict() == {
        "mosi": ["random"],
        "absent only": ["absent"],
    }
