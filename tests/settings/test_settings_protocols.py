import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, recall_score

from elision.corruption.missing import absent_rates, legacy_uniforms, missing, mixed_rates, uniforms
from elision.corruption.noise import times
from elision.corruption.plan import conditions
from elision.errors import ElisionError
from elision.evaluation.aggregate import aggregate, reported, statistics
from elision.evaluation.metrics import score
from elision.methods import check, resolve_variant
from elision.settings.params import Params, trained_on
from elision.settings.protocols import described, names
from elision.settings.protocols import protocol as protocol_of

PRESENT = ("text", "audio", "vision")
LENGTHS = np.array([5, 50, 23, 3])
FOLDS = {"by": "speaker", "count": 3}


def params(protocol, *, dataset=None, **sections):
    folds = {"folds": FOLDS} if protocol_of(protocol).folds else {}
    datasets = {"d": {"source": "demo", **folds, **(dataset or {})}}
    return Params(datasets=datasets, methods=["majority"], protocol=protocol, **sections)


def listed(protocol):
    found = conditions(params(protocol).corruption_for("d"), PRESENT)
    return pd.DataFrame([(c.corruption, c.level, "+".join(c.modalities)) for c in found])


def kept(rate, *, padded, text):
    """Kept positions of padded samples [N, T], by the draws of LNLN's code."""
    drawn = legacy_uniforms(seed=1111, lengths=LENGTHS, padded=padded, keep_ends=text)
    positions = np.zeros((len(LENGTHS), padded), bool)
    positions[np.arange(padded) < LENGTHS[:, None]] = ~missing(drawn, rate)
    return positions


@pytest.mark.parametrize(
    ("padded", "rate", "count", "digest"),
    [
        (50, 0.1, 75, "542bda6d9b3cec96"),
        (50, 0.5, 40, "5accd75726d8186f"),
        (50, 0.9, 17, "9352962e5a8954d8"),
        (375, 0.1, 72, "c26fd4a9c9c2c40d"),
        (375, 0.5, 42, "3350c815925e3dd4"),
        (375, 0.9, 9, "5b1195d46c2c7913"),
    ],
)
def test_lnln_keeps_the_positions_that_its_code_keeps(padded, rate, count, digest):
    positions = kept(rate, padded=padded, text=padded == 50)
    assert positions.sum() == count
    assert hashlib.sha256(np.packbits(positions).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1.0])
def test_lnln_draws_as_the_legacy_generator_and_keeps_what_is_above_the_rate(rate):
    expected = (np.random.RandomState(1111).uniform(size=(4, 60)) > rate) & (np.arange(60) < LENGTHS[:, None])
    np.testing.assert_array_equal(kept(rate, padded=60, text=False), expected)


def test_lnln_masks_modalities_of_one_padded_length_alike_and_elision_does_not():
    audio, vision = (kept(0.5, padded=500, text=False) for _ in ("audio", "vision"))
    np.testing.assert_array_equal(audio, vision)
    key = {"seed": 1111, "stream": "test", "ids": list("abcd"), "lengths": LENGTHS, "keep_ends": False}
    assert not np.array_equal(uniforms(modality="audio", **key), uniforms(modality="vision", **key))


def test_elision_draws_by_sample_and_modality():
    drawn = uniforms(
        seed=1111, stream="test", ids=["a", "b"], lengths=np.array([3, 2]), modality="audio", keep_ends=False
    )
    np.testing.assert_allclose(drawn, [0.0693036, 0.1017994, 0.0880717, 0.6931708, 0.8558882], atol=1e-7)
    assert listed("elision")[0].value_counts().to_dict() == {"random": 10, "absent": 7}


def test_lnln_trains_and_selects_as_its_code():
    train = params("lnln").train_for("d")
    assert (train.corruption, train.redraw, train.validation_rate) == ("half_complete", "never", 0.5)
    assert (train.epochs, train.selection) == (200, "test_oracle")
    assert listed("lnln").equals(listed("elision"))


def test_lnln_rounds_scores_and_reports_both_orders_of_arguments():
    prediction, label = np.full(9, 0.123456), np.array([-1.0, -1, -1, 1, 1, 1, 1, 1, 1])
    share = 6 / 9
    values = score(prediction, label, "mosi", protocol="lnln")
    assert values["acc2_negpos"] == 0.6667
    assert values["f1_negpos"] == round(share * 2 * share / (1 + share), 4)
    assert values["f1_negpos_swapped"] == round(2 * share / (1 + share), 4)
    unrounded = score(prediction / 3, label / 3, "sims", protocol="lnln")
    assert unrounded["f1_swapped"] == pytest.approx(2 * share / (1 + share), abs=1e-12)
    assert "f1_negpos_swapped" not in score(prediction, label, "mosi")


def test_mmsa_trains_on_complete_data_and_rounds_all():
    train = params("mmsa").train_for("d")
    assert (train.corruption, train.selection, train.epochs) == ("complete", "valid", None)
    label = np.array([-0.5, 0.1, 1 / 3])
    assert score(label + 1 / 7, label, "sims", protocol="mmsa")["mae"] == 0.1429


def test_mmin_trains_and_tests_under_six_conditions():
    assert listed("mmin")[2].tolist() == ["", "text", "audio", "vision", "text+audio", "text+vision", "audio+vision"]
    train = params("mmin").train_for("d")
    assert (train.corruption, train.with_complete, train.selection) == ("absent", False, "valid")
    drawn = absent_rates(seed=1, stream="train 1", ids=list("abcd"), present=PRESENT)
    assert drawn.tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]


def test_mmin_averages_conditions_of_means_over_folds():
    rows = []
    for fold, accuracies in ((1, (4, 2)), (2, (1, 3))):
        for absent, right in zip(("text", "audio"), accuracies, strict=True):
            label = ["sad"] * 4
            prediction = ["sad"] * right + ["happy"] * (4 - right)
            ids = [f"{fold}-{i}" for i in range(4)]
            columns = {"corruption": "absent", "level": 1.0, "modalities": absent, "checkpoint": "valid"}
            rows.append((fold, pd.DataFrame({"id": ids, **columns, "prediction": prediction, "label": label})))
    tables = [
        ("d", "emotion:happy,sad", "mmin", f"seed-1.fold-{fold}", pd.concat([t for f, t in rows if f == fold]))
        for fold in (1, 2)
    ]
    metrics = aggregate(tables, protocols={"d": "mmin"})
    by_set = statistics(metrics, ["modalities"]).query("metric == 'wa'").set_index("modalities")["mean"]
    assert by_set.to_dict() == {"text": (1 + 0.25) / 2, "audio": (0.5 + 0.75) / 2}
    overall = statistics(metrics).query("metric == 'wa'")["mean"].item()
    assert overall == pytest.approx(by_set.mean()) == 0.625


def test_nmer_tests_noise_in_place_of_modalities():
    settings = params("nmer").corruption_for("d")
    assert settings.noise.t_per_batch
    assert settings.noise.intensities == [20, 40, 60, 80, 100]
    found = listed("nmer")
    assert found.groupby([0, 1]).size().tolist() == [6] * 10
    train = params("nmer").train_for("d")
    assert (train.corruption, train.with_complete) == ("noise", False)
    drawn = times(seed=1111, stream="test", ids=["a", "b", "c"], modality="audio")
    np.testing.assert_allclose(drawn, [0.1178084, 0.9400230, 0.2453416], atol=1e-7)


def test_noise_is_unscaled_under_a_protocol_that_says_so_and_in_no_params_file(tmp_path, monkeypatch):
    assert params("nmer").corruption_for("d").noise.scaled is False
    assert params("elision").corruption_for("d").noise.scaled is True
    found = params("nmer", corruption={"noise": {"scaled": True}})
    assert found.corruption_for("d").noise.scaled is True
    assert found.protocol_text("d") == "nmer (corruption.noise.scaled: True)"
    for name in ("elision", "nmer"):
        with pytest.raises(ValueError, match=r"noise\.scaled(.|\n)*or scaled: false in a protocol of your own"):
            params(name, corruption={"noise": {"scaled": False}})
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("source: ours\ncorruption: {noise: {kinds: [gaussian], scaled: false}}\n")
    assert params("mine.yaml").corruption_for("d").noise.scaled is False


def test_hrlf_trains_on_frames_lost_and_modalities_absent_at_once():
    assert params("hrlf").train_for("d").corruption == "combined"
    found = listed("hrlf")
    assert found[found[0] == "random"][1].tolist() == pytest.approx(np.arange(11) / 10)
    drawn = mixed_rates(seed=1, stream="train 1", ids=list("abc"), present=PRESENT)
    np.testing.assert_allclose(drawn, [[1, 1, 0.2], [0.1, 0.1, 0.1], [1, 1, 0.6]])


def test_what_stands_in_the_params_replaces_what_the_protocol_says_and_is_named():
    changed = params("lnln", train={"epochs": 20}, corruption={"random": [0.5]})
    assert changed.train_for("d").epochs == 20
    assert changed.corruption_for("d").random == [0.5]
    assert changed.protocol_text("d") == "lnln (corruption.random: [0.5], train.epochs: 20)"
    assert params("lnln", train={"epochs": 200}).protocol_text("d") == "lnln"


def test_a_dataset_may_have_a_protocol_of_its_own():
    found = params("elision", dataset={"protocol": "lnln"})
    assert found.train_for("d").selection == "test_oracle"
    assert found.protocol_text("d") == "lnln"


def test_a_protocol_of_folds_needs_folds_and_one_mask_array_has_none():
    with pytest.raises(ValueError, match="protocol mmin needs folds; add folds to dataset 'd'"):
        params("elision", dataset={"protocol": "mmin"})
    with pytest.raises(ValueError, match="dataset 'd' has folds"):
        params("lnln", dataset={"folds": FOLDS})


def predictions(seed):
    rng, tables = np.random.default_rng(seed), []
    label = np.array([-2.0, -1, 0, 1, 2, 3])
    for checkpoint in ("acc2_negpos", "acc2_nonneg", "acc5", "acc7", "mae", "valid"):
        for level in (0.0, 0.5):
            columns = {"corruption": "random", "level": level, "modalities": "", "checkpoint": checkpoint}
            noise = rng.normal(size=6)
            tables.append(pd.DataFrame({"id": list("abcdef"), **columns, "prediction": label + noise, "label": label}))
    return pd.concat(tables)


def test_of_a_run_chosen_on_test_the_checkpoint_of_validation_stands_beside_and_is_not_reported():
    metrics = aggregate([("d", "mosi", "lnln", "seed-1", predictions(1))], protocols={"d": "lnln"})
    assert set(metrics.query("metric == 'corr'")["checkpoint"]) == {"mae", "valid"}
    assert set(reported(metrics)["checkpoint"]) == {"acc2_negpos", "acc2_nonneg", "acc5", "acc7", "mae"}
    assert statistics(metrics)["conditions"].eq(2).all()


def test_lnln_averages_the_deviations_of_the_rates_and_elision_deviates_the_averages():
    tables = [("d", "mosi", "lnln", f"seed-{seed}", predictions(seed)) for seed in (1, 2, 3)]
    found = {}
    for protocol in ("lnln", "elision"):
        metrics = aggregate(tables, protocols={"d": protocol})
        found[protocol] = statistics(metrics).set_index("metric").loc["mae"]
    mae = reported(metrics).query("metric == 'mae'").pivot(index="seed", columns="level", values="value")
    assert found["lnln"]["std"] == pytest.approx(mae.std(ddof=1).mean(), abs=1e-4)
    assert found["elision"]["std"] == pytest.approx(mae.mean(axis=1).std(ddof=1))
    assert found["lnln"]["mean"] == pytest.approx(found["elision"]["mean"], abs=1e-4)


def chosen(protocol):
    return Params(datasets={"d": {"source": "demo"}}, methods=["majority"], protocol=protocol)


def written(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_protocol_is_a_file_of_the_users_own(tmp_path):
    path = written(
        tmp_path,
        "source: mine\ncorruption: {random: [0.5], burst: {rates: [0.2], length: 7}, noise: {schedule: linear}}\n"
        "train: {corruption: burst, epochs: 3}\nreport: {decimals: {mosi: 2}, deviation: conditions}\n",
    )
    found = params(path)
    corruption, train = found.corruption_for("d"), found.train_for("d")
    assert (corruption.random, corruption.burst.rates, corruption.burst.length) == ([0.5], [0.2], 7)
    assert corruption.noise.schedule == "linear"
    assert (train.corruption, train.epochs) == ("burst", 3)
    # What the file leaves open is as in elision.yaml.
    assert (corruption.absent, corruption.masks, train.selection, train.redraw) == (
        True,
        "per_sample",
        "valid",
        "epoch",
    )
    assert found.protocol_text("d") == path
    assert score(np.array([0.123]), np.array([0.0]), "mosi", protocol=path)["mae"] == 0.12
    wins = params(path, corruption={"burst": {"length": 20}}, train={"epochs": 9})
    assert wins.corruption_for("d").burst.rates == [0.2]
    assert wins.protocol_text("d") == f"{path} (corruption.burst.length: 20, train.epochs: 9)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: x\ntrain: {epoch: 3}\n", r"train.*epoch: unknown key; did you mean epochs\?"),
        ("source: x\ncorruption: {burst: {lenght: 3}}\n", r"burst\.lenght: unknown key; did you mean length\?"),
        ("source: x\ntrain: {corruption: lnln}\n", "lnln is now called half_complete; write half_complete"),
        ("source: x\nreports: {}\n", r"reports: unknown key; did you mean report\?"),
        ("source: x\nreport: {deviation: none}\n", r"report\.deviation: Input should be 'means' or 'conditions'"),
        ("train: {}\n", "source: Field required"),
        ("[1]\n", "give a mapping of some of the keys"),
        ("a: b: c\n", "mine.yaml"),
    ],
)
def test_a_wrong_protocol_is_told_with_its_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        chosen(written(tmp_path, text))
    assert "mine.yaml" in str(caught.value)


def test_a_protocol_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.yaml: the file does not exist; give one of elision, gcnet, hrlf"):
        chosen(str(tmp_path / "nothing.yaml"))
    with pytest.raises(ValueError, match=r"unknown protocol 'lnl'; did you mean lnln\?"):
        chosen("lnl")


def test_names_of_earlier_versions_are_answered_with_those_of_today():
    for values, message in (
        ({"train": {"corruption": "mixed"}}, "mixed is now called combined; write combined"),
        ({"corruption": {"masks": "lnln"}}, "lnln is now called shared; write shared"),
        ({"corruption": {"masks": "keyed"}}, "keyed is now called per_sample; write per_sample"),
        ({"stages": {"mmin_teacher": {"epochs": 5}}}, "stages: is now called teachers; write teachers:"),
    ):
        with pytest.raises(ValueError, match=message):
            params("elision", **values)


def test_what_a_protocol_sets_is_listed(tmp_path):
    assert described("lnln").splitlines() == [
        "lnln",
        "  LNLN, NeurIPS 2024, and its code; all other settings are as in elision",
        "    corruption.masks: shared",
        "    train.redraw: never",
        "    train.validation_rate: 0.5",
        "    train.epochs: 200",
        "    train.selection: test_oracle",
        "    report.decimals.mosi: 4",
        "    report.swapped_f1: true",
        "    report.deviation: conditions",
    ]
    assert "for cross-validation only" in described("mmin")
    assert "    corruption.random: [0.5]" in described(written(tmp_path, "source: mine\ncorruption: {random: [0.5]}\n"))
    assert all(len(line) <= 80 for name in names() for line in described(name).splitlines())


@pytest.mark.parametrize("name", names())
def test_a_protocol_says_whose_it_is_and_sets_what_exists(name):
    found = params(name)
    assert protocol_of(name).source
    assert found.corruption_for("d").masks and found.train_for("d").corruption
    assert found.protocol_text("d") == name


def rows(*methods, protocol="hrlf", **dataset):
    """Params whose dataset is one of classes, for the methods of emotion."""
    classes = {"task": "classification", "classes": ["down", "up"], "cuts": [0]}
    return Params(datasets={"d": {"source": "demo", **classes, **dataset}}, methods=list(methods), protocol=protocol)


def test_the_student_of_hrlf_starts_anew_under_its_protocol_and_from_the_teacher_elsewhere():
    other = {"mine": {"method": "hrlf", "start_from_teacher": True}}
    for protocol, expected in (("hrlf", False), ("elision", True)):
        found = rows("hrlf", other, protocol=protocol)
        hyperparameters, origins = resolve_variant(found, found.variants["hrlf"], "d")
        assert hyperparameters.start_from_teacher is expected
        assert origins["start_from_teacher"] == ("card default" if expected else "protocol")
        hyperparameters, origins = resolve_variant(found, found.variants["mine"], "d")
        assert (hyperparameters.start_from_teacher, origins["start_from_teacher"]) == (True, "override")
        check(found)


def test_a_protocol_may_decide_hyperparameters_and_a_row_replaces_them(tmp_path):
    path = written(tmp_path, "source: mine\nmethods: {mmin: {corruption: random, epochs: 7, clip: 2.0}}\n")
    found = rows("mmin", {"mine": {"method": "mmin", "epochs": 3}}, protocol=path)
    values = {name: resolve_variant(found, found.variants[name], "d")[0] for name in found.variants}
    assert [(h.epochs, h.clip, h.corruption) for h in values.values()] == [(7, 2.0, "random"), (3, 2.0, "random")]
    assert [trained_on(found, "d", variant) for variant in found.variants.values()] == ["random", "random"]
    assert "    methods.mmin.corruption: random" in described(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: {mmim_: {epochs: 3}}", r"methods\.mmim_: unknown method 'mmim_'; did you mean mmim\?"),
        ("methods: {mmin: {epoch: 3}}", r"methods\.mmin: epoch: unknown hyperparameter; did you mean epochs\?"),
        ("methods: {mmin: {epochs: -3}}", r"methods\.mmin: epochs: Input should be greater than or equal to 0"),
        ("standardise: {iemocp: [audio]}", r"standardise: unknown corpus 'iemocp'; did you mean iemocap\?"),
        ("standardise: {iemocap: [sound]}", r"standardise\.iemocap: found \['sound'\]; give true, false, or a list"),
    ],
)
def test_what_a_protocol_cannot_decide_is_told_before_anything_runs(tmp_path, text, message):
    path = written(tmp_path, f"source: mine\n{text}\n")
    with pytest.raises((ValueError, ElisionError), match=message) as caught:
        check(rows("majority", protocol=path))
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (True, ["audio", "vision"]),
        (False, []),
        ([], []),
        (["audio"], ["audio"]),
        (["vision"], ["vision"]),
        (["vision", "audio"], ["audio", "vision"]),
    ],
)
def test_modalities_are_scaled_as_listed(written, read):
    assert params("elision", dataset={"standardise": written}).standardised("d") == read


@pytest.mark.parametrize("wrong", [["text"], "audio", None, ["audio", "audio"], ["audio", 3], 1, {"audio": True}])
def test_what_is_no_list_of_modalities_is_told_with_what_to_type(wrong):
    with pytest.raises(ValueError, match=r"standardise: .*(give true, false, or a list such as \[audio\]|duplicate)"):
        params("elision", dataset={"standardise": wrong})
    with pytest.raises(ValueError, match="text is never scaled"):
        params("elision", dataset={"standardise": ["audio", "text"]})


def test_a_protocol_scales_by_corpus_and_the_dataset_replaces_it():
    other = {"source": "clips", "folder": "clips", "table": "table.csv", "task": "classification"}
    for protocol, corpus, expected in (
        ("mmin", "iemocap", ["audio"]),
        ("mmin", "msp", ["audio"]),
        ("mmin", "mosi", []),
        ("mmin", "mer2024", ["audio", "vision"]),
        ("nmer", "iemocap", ["audio"]),
        ("nmer", "mosi", ["audio", "vision"]),
        ("elision", "iemocap", ["audio", "vision"]),
    ):
        found = params(protocol, dataset={"corpus": corpus, **other})
        assert found.standardised("d") == expected
        assert found.protocol_text("d") == protocol
    found = params("mmin", dataset={"corpus": "iemocap", "standardise": True, **other})
    assert found.standardised("d") == ["audio", "vision"]
    assert found.protocol_text("d") == "mmin (standardise: audio and vision)"
    found = params("mmin", dataset={"corpus": "iemocap", "standardise": False, **other})
    assert found.protocol_text("d") == "mmin (standardise: nothing)"


def test_mmsa_watches_the_loss_and_all_others_the_metric():
    assert {name: params(name).train_for("d").watch for name in names()} == {
        **dict.fromkeys(names(), "metric"),
        "mmsa": "loss",
    }


def test_a_class_that_is_predicted_and_does_not_occur_counts_in_macro_f1_and_not_in_ua():
    family = "emotion:angry,happy,sad,neutral"
    label, prediction = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 3])
    values = score(prediction, label, family)
    assert values["ua"] == pytest.approx((1 + 1 / 2) / 2)
    # The released code, scikit-learn's, has three classes: those of the labels and those of the predictions.
    assert recall_score(label, prediction, average="macro", zero_division=0) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert values["f1_macro"] == pytest.approx(f1_score(label, prediction, average="macro", zero_division=0))
    everywhere = np.array([0, 1, 2, 3])
    other = np.array([0, 2, 2, 3])
    assert score(other, everywhere, family)["ua"] == pytest.approx(recall_score(everywhere, other, average="macro"))


def test_gcnet_tests_and_trains_modalities_missing_at_a_rate():
    assert listed("gcnet").groupby(0)[1].apply(list).to_dict() == {
        "modality_rate": pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    }
    assert params("gcnet").train_for("d").corruption == "modality_rate"


def test_niat_has_four_kinds_five_runs_and_masks_for_each():
    rates, found = pytest.approx([number / 10 for number in range(11)]), listed("niat")
    assert {name: rows[1].tolist() for name, rows in found.groupby(0) if name != "absent"} == {
        "random": rates,
        "block": rates,
        "synchronous": rates,
    }
    assert found[found[0] == "absent"][2].tolist()[1:4] == ["text", "audio", "vision"]
    settings = params("niat")
    assert settings.runs("d") == ["seed-1", "seed-11", "seed-111", "seed-1111", "seed-11111"]
    assert settings.corruption_for("d").seed == "run"
    train = settings.train_for("d")
    assert (train.corruption, train.rates, train.redraw) == ("synchronous", [0.2], "never")


def test_seeds_of_the_params_replace_those_of_a_protocol_and_are_named():
    assert params("niat").protocol_text("d") == "niat"
    few = params("niat", seeds=[3])
    assert few.runs("d") == ["seed-3"] and few.protocol_text("d") == "niat (seeds: [3])"
    assert params("elision").runs("d") == ["seed-1111", "seed-1112", "seed-1113"]


def test_rates_of_a_protocol_are_those_of_its_own_training_corruption():
    assert params("niat", train={"corruption": "half_complete"}).train_for("d").rates is None
    assert params("niat", train={"corruption": "block", "rates": [0.5]}).train_for("d").rates == [0.5]


def test_a_method_is_trained_on_one_kind_and_tested_on_all_by_two_lines():
    settings = params("patterns", train={"corruption": "block"})
    assert set(listed("patterns")[0]) == {"random", "modality_rate", "absent", "block", "burst", "synchronous"}
    assert trained_on(settings, "d", settings.trained["majority"]) == "block"


# --- what cannot be trained is refused before anything runs


def refused(methods, **sections):
    with pytest.raises(ElisionError) as error:
        check(Params(datasets={"d": {"source": "demo"}}, methods=methods, **sections))
    return str(error.value)


@pytest.mark.parametrize("method", ["lnln", "tfr_net", "ae"])
def test_a_method_that_needs_complete_data_is_refused_where_they_are_hidden(method):
    said = refused([method, "self_mm"], train={"clean": "hidden", "redraw": "never", "corruption": "random"})
    assert f"methods.{method}: {method} learns from complete data, but train.clean is hidden" in said
    assert "self_mm" not in said


def test_a_teacher_that_is_trained_on_complete_data_is_refused_where_they_are_hidden():
    classes = {"source": "demo", "task": "classification", "classes": ["a", "b"], "cuts": [0]}
    with pytest.raises(
        ElisionError, match=r"teachers\.mmin_teacher: mmin_teacher is trained on complete data for mmin"
    ):
        check(Params(datasets={"d": classes}, methods=["mmin"], train={"clean": "hidden"}))


@pytest.mark.parametrize(
    ("methods", "train", "said"),
    [
        (["self_mm"], {"rates": [0.5]}, "train.rates: half_complete draws no rate of a list"),
        (["self_mm"], {"rates": [0.5], "corruption": "absent"}, "train.rates: absent draws no rate of a list"),
        ([{"self_mm": {"rates": [0.5]}}], {}, "methods.self_mm.rates: half_complete draws no rate"),
        (
            ["self_mm"],
            {"corruption": "modality_rate", "rates": [{"text": 0.5}]},
            "train.rates: modality_rate has one rate for all modalities",
        ),
    ],
)
def test_rates_that_training_has_no_use_for_are_refused(methods, train, said):
    assert said in refused(methods, train=train)


def test_rates_of_the_training_reach_the_draw_and_a_method_may_have_its_own():
    from elision.training.run import Run

    each = {"text": 0.8, "audio": 0.2, "vision": 0.0}
    settings = Params(
        datasets={"d": {"source": "demo"}},
        methods=["self_mm", {"own": {"method": "self_mm", "rates": [0.3]}}, "hrlf"],
        train={"corruption": "block", "rates": [0.1, {"text": [0.8], "audio": 0.2}]},
    )
    rates = {name: Run(settings, "d", name, "seed-1111").mixture.options.rates for name in settings.variants}
    assert rates == {"self_mm": [0.1, each], "own": [0.3], "hrlf": None}
