import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_results import ABSENT, TABLES, blocks, frame, latex, markdown, notes, results

from elision.corruption.kind import kinds
from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import family as family_of
from elision.report import words
from elision.report.headlines import headline, headlines
from elision.report.table import KindTable, all_tables
from elision.report.text import NAN, _latex_text, _listed, csv, filled, number

MARK = "checkpoints chosen on the TEST set"
# Tables of what metrics alone do not hold, and of kinds of corruption that were not tested.
EMPTY = {name for name, table in all_tables().items() if isinstance(table, KindTable) and not table.kind.always}
EMPTY |= {"against_published", "checks", "cost", "selection", "area", "intervals", "comparisons", "ranks", "tuning"}


def test_a_row_is_the_mean_over_rates_and_then_over_runs(metrics, methods):
    row = (
        frame("random_missing", results(metrics), methods).set_index(["dataset", "method"]).loc[("sims_data", "steady")]
    )
    chosen = metrics.query(
        "dataset == 'sims_data' and method == 'steady' and corruption == 'random' and metric == 'f1'"
    )
    runs = [chosen.loc[chosen["run"] == run, "value"].mean() for run in ("seed-1111", "seed-1112")]
    assert row["f1_mean"] == pytest.approx(np.mean(runs))
    assert row["f1_std"] == pytest.approx(np.std(runs, ddof=1))
    assert (row["runs"], row["conditions"], row["checkpoints"]) == (2, 10, "valid")


def test_methods_stand_in_the_order_given_and_the_floor_last(metrics):
    for name, table in TABLES.items():
        shown = table(results(metrics), [FLOOR, "steady", "brittle_one"])
        assert name in EMPTY or list(shown["method"].unique()) == ["steady", "brittle_one", FLOOR]
    assert list(frame("random_missing", results(metrics), ["steady"])["method"].unique()) == ["steady", FLOOR]


def test_metrics_of_the_other_family_are_empty(metrics, methods):
    table = frame("random_missing", results(metrics), methods).set_index("dataset")
    assert table.loc["mosi_data", ["acc2_mean", "f1_mean", "acc3_mean"]].isna().all(axis=None)
    assert table.loc["sims_data", ["acc7_mean", "f1_negpos_mean"]].isna().all(axis=None)


def test_per_rate_has_a_row_per_method_and_rate(metrics, methods):
    table = frame("per_rate", results(metrics), methods)
    assert len(table) == 3 * 3 * 10
    row = table.query("dataset == 'mosi_data' and method == 'steady' and level == 0.3").iloc[0]
    chosen = metrics.query("dataset == 'mosi_data' and method == 'steady' and corruption == 'random' and level == 0.3")
    assert row["mae_mean"] == pytest.approx(chosen.loc[chosen["metric"] == "mae", "value"].mean())


def test_absent_has_the_complete_data_six_sets_and_their_mean(metrics, methods):
    table = frame("absent", results(metrics), methods).query("dataset == 'mosi_data' and method == 'steady'")
    assert list(table["absent"]) == ["none", *ABSENT, "mean"]
    by_set = table.set_index("absent")["acc7_mean"]
    assert by_set["mean"] == pytest.approx(by_set[ABSENT].mean())
    assert table.set_index("absent").loc["mean", "conditions"] == 6


def test_tables_carry_the_share_of_the_most_frequent_class(metrics, methods):
    table = frame("per_rate", results(metrics), methods).query("dataset == 'mosi_data' and method == 'brittle_one'")
    shares = table.set_index("level")["majority_share_7_mean"]
    assert (shares[shares.index >= 0.7] == 1).all()
    assert (shares[shares.index < 0.7] < 1).all()


def test_csv_has_full_precision_and_means_apart_from_deviations(metrics, methods):
    for make in TABLES.values():
        table = make(results(metrics), methods)
        read = pd.read_csv(io.StringIO(csv(table)), float_precision="round_trip")
        pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=False)
        assert table.empty or all(read[c].dtype.kind == "f" for c in read if c.endswith(("_mean", "_std")))


def test_best_and_second_are_of_the_printed_values_without_the_floor(metrics, methods):
    table = pd.DataFrame(
        {
            "dataset": "d",
            "family": "sims",
            "method": ["a", "b", "c", "e", FLOOR],
            "f1_mean": [0.71001, 0.71004, 0.5, 0.6, 0.9],
            "mae_mean": [0.4, 0.5, np.nan, 0.6, 0.1],
        }
    )
    empty = {f"{m}_{k}": np.nan for m in family_of("sims").reported for k in ("mean", "std")}
    block = blocks("random_missing", table.assign(**{name: nan for name, nan in empty.items() if name not in table}))[0]
    at = {name.split(" ")[0]: i for i, name in enumerate(block.columns)}
    cells = dict(block.rows)
    assert [cells[m][at["F1"]].rank for m in ("a", "b", "c", "e", FLOOR)] == [1, 1, 0, 2, 0]
    assert [cells[m][at["MAE"]].rank for m in ("a", "b", "c", "e", FLOOR)] == [1, 2, 0, 0, 0]
    assert cells["c"][at["MAE"]].text == "–"
    assert all(cell[at["One-class"]].rank == 0 for cell in cells.values())


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [(0.71284, "acc7", "71.28"), (1.0, "f1", "100.00"), (0.5238, "corr", "0.524"), (-0.0001, "corr", "0.000")],
)
def test_percent_has_two_decimals_and_the_rest_three(value, metric, text):
    assert number(value, metric) == text


def markdown_tables(text):
    grids, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            grids, rows = [*grids, rows], []
    return grids


def test_markdown_shows_each_number_with_its_deviation(metrics, methods):
    table = frame("random_missing", results(metrics), methods)
    grids = markdown_tables(markdown(table, "random_missing"))
    assert len(grids) == 3
    for (_, rows), grid in zip(table.groupby("dataset"), grids, strict=True):
        head, _, *body = grid
        assert {len(row) for row in grid} == {len(head)}
        assert [row[0] for row in body] == methods
        classes = rows["family"].iloc[0].startswith("emotion")
        at, metric = (head.index("UA ↑"), "ua") if classes else (head.index("MAE ↓"), "mae")
        for (_, row), line in zip(rows.iterrows(), body, strict=True):
            mean, std = row[f"{metric}_mean"], row[f"{metric}_std"]
            shown = f"{100 * mean:.2f} ± {100 * std:.2f}" if classes else f"{mean:.3f} ± {std:.3f}"
            assert line[at].strip("*") == shown
        assert sum(cell.startswith("**") for row in body for cell in row) >= 4
        assert not any(cell.startswith("*") for cell in body[-1])


def test_one_run_has_no_plus_minus(single, methods):
    for name, make in TABLES.items():
        for write in (markdown, latex):
            table = make(results(single), methods)
            text = write(table, name)
            assert "±" not in text
            assert r"\pm" not in text
            assert table.empty or "no standard deviation" in text


def test_an_undefined_correlation_is_a_dash_with_a_note(metrics, methods):
    table = frame("random_missing", results(metrics), methods)
    text = markdown(table, "random_missing")
    assert re.search(r"^\| brittle_one .*\| +– \|", text, re.M)
    assert "undefined" in text
    assert "brittle_one 6" in text  # 3 rates, 2 runs
    assert re.search(r"^brittle\\_one & .*& -- &", latex(table, "random_missing"), re.M)
    steady = frame("random_missing", results(metrics[metrics["method"] == "steady"]), methods)
    assert "undefined" not in markdown(steady, "random_missing")


def test_latex_is_balanced_with_the_same_number_of_cells_in_each_row(metrics, methods):
    for name, make in TABLES.items():
        table = make(results(metrics), methods)
        text = latex(table, name)
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}")
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == table["dataset"].nunique()
        assert "_one" not in text.replace(r"\_one", "")
        assert text.isascii()
        for part in text.split(r"\begin{tabular}")[1:]:
            columns = len(re.match(r"\{(l r*|lr*)\}", part)[1])
            rows = [line for line in part.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
            assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {columns}


def test_latex_escapes_every_special_sign():
    assert _latex_text(r"a_b&c%d#e$f{g}h~i^j\k") == (
        r"a\_b\&c\%d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


def test_tables_of_checkpoints_chosen_on_test_say_so(metrics_on_test, metrics, methods):
    for name, make in TABLES.items():
        table = make(results(metrics_on_test), methods)
        if name in EMPTY - {"selection"}:
            continue
        assert name == "selection" or (table["checkpoints"] == "TEST").all()
        assert MARK in markdown(table, name).replace("Checkpoints", "checkpoints")
        assert latex(table, name).count(rf"\textbf{{{MARK}}}") == table["dataset"].nunique()
        valid = make(results(metrics), methods)
        assert (valid["checkpoints"] == "valid").all()
        assert "TEST" not in markdown(valid, name) + latex(valid, name)
    assert MARK in headline(metrics_on_test)
    assert MARK not in headline(metrics)


def test_conditions_that_were_not_evaluated_give_an_empty_table_that_says_so(metrics, methods):
    only_absent = metrics[metrics["corruption"] == "absent"]
    table = frame("random_missing", results(only_absent), methods)
    assert table.empty
    assert "No condition of this table was evaluated" in markdown(table, "random_missing")
    assert "% No condition of this table was evaluated" in latex(table, "random_missing")
    assert "emotion_data: mean over 6 incomplete cases" in headline(only_absent)
    complete = only_absent[only_absent["modalities"] == ""]
    assert headline(complete) == "No method was evaluated with incomplete data."


def test_the_ranking_is_by_mean_f1_with_the_floor_last(metrics):
    ranked = headlines(metrics)
    for _, rows in ranked.groupby("dataset"):
        assert list(rows["method"]) == ["steady", "brittle_one", FLOOR]
        assert rows["f1"].iloc[0] > rows["f1"].iloc[1]
        assert rows["over_floor"].iloc[0] == pytest.approx(rows["f1"].iloc[0] - rows["f1"].iloc[2])


def test_a_method_falls_to_the_floor_at_the_first_rate_where_it_is_not_above(metrics):
    falls = headlines(metrics).set_index(["dataset", "method"])["falls_at"]
    assert falls[("mosi_data", "brittle_one")] == 0.7
    assert np.isnan(falls[("mosi_data", "steady")])
    text = headline(metrics)
    assert re.search(r"brittle_one .* r = 0.7$", text, re.M)
    assert re.search(r"steady .* no rate$", text, re.M)


def test_without_a_floor_there_is_no_comparison_with_it(metrics):
    alone = metrics[metrics["method"] != FLOOR]
    assert headlines(alone)["over_floor"].isna().all()
    assert "no rate" not in headline(alone)


def test_scores_are_not_changed_by_classes_beside_them(metrics, methods):
    scores = metrics[metrics["dataset"] != "emotion_data"]
    for make in (TABLES[name] for name in ("random_missing", "per_rate", "absent")):
        alone, beside = make(results(scores), methods), make(results(metrics), methods)
        beside = beside[beside["dataset"] != "emotion_data"].reset_index(drop=True)
        pd.testing.assert_frame_equal(beside[alone.columns], alone, check_exact=True)
        assert beside[["wa_mean", "ua_mean", "f1_weighted_std"]].isna().all(axis=None)


def test_classes_have_their_metrics_with_the_share_of_one_class(metrics, methods):
    rows = frame("random_missing", results(metrics), methods).query("dataset == 'emotion_data'")
    (block,) = blocks("random_missing", rows)
    assert block.columns == ["WA ↑", "UA ↑", "F1 weighted ↑", "F1 macro ↑", "One-class share", "Entropy ratio"]
    assert [cell.text for cell in dict(block.rows)[FLOOR][-2:]] == ["100.00 ± 0.00", "0.000 ± 0.000"]
    assert dict(block.rows)[FLOOR][1].text == "25.00 ± 0.00"


def test_the_mean_row_of_absent_classes_is_the_mean_of_the_six_cases(metrics, methods):
    table = frame("absent", results(metrics), methods).query("dataset == 'emotion_data'")
    for _, rows in table.groupby("method"):
        cases = rows.set_index("absent")
        assert list(cases.index) == ["none", *ABSENT, "mean"]
        for column in [name for name in cases if name.endswith("_mean") and cases[name].notna().any()]:
            assert cases.loc["mean", column] == pytest.approx(cases.loc[ABSENT, column].mean())


# Rows of HRLF in Tables 1 and 2 of its paper, in percent: what is left is l, a, v, la, lv, av; their average; and lav.
@pytest.mark.parametrize(
    ("family", "name", "cases", "average", "complete"),
    [
        ("mosi", "f1_negpos", (83.36, 69.47, 64.59, 83.82, 83.56, 75.62), 76.74, 84.15),
        ("mosi", "f1_negpos", (82.05, 69.32, 64.90, 82.62, 81.09, 73.80), 75.63, 82.93),
        ("emotion:happy,sad", "f1_binary_weighted.happy", (84.9, 71.8, 69.7, 86.4, 85.6, 72.3), 78.5, 88.1),
        ("emotion:happy,sad", "f1_binary_weighted.sad", (83.7, 71.1, 69.0, 85.3, 83.9, 73.6), 77.8, 86.4),
    ],
)
def test_the_mean_over_absent_modalities_is_the_average_of_published_tables(family, name, cases, average, complete):
    absent = ("audio+vision", "text+vision", "text+audio", "vision", "audio", "text")
    metrics = pd.DataFrame(
        {
            "modalities": ["", *absent],
            "level": [0.0] + 6 * [1.0],
            "value": [value / 100 for value in (complete, *cases)],
        }
    ).assign(
        protocol="elision",
        corruption="absent",
        dataset="d",
        family=family,
        method="hrlf",
        run="seed-1",
        seed=1,
        fold="",
    )
    metrics = metrics.assign(checkpoint="valid", metric=name)
    classes = family.startswith("emotion")
    table = frame("per_class" if classes else "absent", results(metrics), ["hrlf"])
    row = table.set_index("condition" if classes else "absent").loc["mean"]
    # As many decimals as are printed there; what is printed has been rounded before it was averaged.
    assert 100 * row[f"{name}_mean"] == pytest.approx(average, abs=0.051 if classes else 0.0051)
    assert row["conditions"] == 6


def test_absent_and_random_missing_combined_have_a_row_per_set_and_rate(metrics, methods):
    table = frame("combined", results(metrics), methods)
    cases = table.query("method == 'steady' and level == 0.2").set_index("absent")
    assert list(cases.index) == [*ABSENT, "mean"]
    assert cases.loc["mean", "wa_mean"] == pytest.approx(cases["wa_mean"].iloc[:6].mean())
    shown = blocks("combined", table)
    assert shown[0].title == "text absent (audio and vision present in part): WA ↑" and shown[0].columns == [
        "r = 0.2",
        "r = 0.8",
    ]
    assert shown[-1].title.startswith("mean over the 6 sets of absent modalities: ")
    single = frame("per_class", results(metrics), methods)
    assert single.query("method == 'steady' and condition == 'combined'")["conditions"].tolist() == [12]


def with_empty(metrics):
    """Nothing is left of three quarters of the samples of a dataset from r = 0.7 on."""
    lost = (metrics["dataset"] == "mosi_data") & (metrics["corruption"] == "random") & (metrics["level"] > 0.6)
    return metrics.assign(empty=np.where(lost, 0.75, 0.0))


def test_the_share_of_empty_samples_stands_under_every_rate(metrics, methods):
    source = results(with_empty(metrics))
    table = frame("per_rate", source, methods)
    of = table[table["dataset"] == "mosi_data"]
    assert of.groupby("rate" if "rate" in of else "level")["empty"].first().tolist() == [0.0] * 7 + [0.75] * 3
    for block in blocks("per_rate", of):
        name, cells = block.rows[-1]
        assert name == "samples with nothing left"
        assert [cell.text for cell in cells] == ["0 %"] * 7 + ["75 %"] * 3
        assert {cell.rank for cell in cells} == {0}
    assert r"| samples with nothing left |" in markdown(of, "per_rate")
    assert "75 \\%" in latex(of, "per_rate")
    assert any("no frame, vector or token is left" in note for note in notes("per_rate", of))
    other = table[table["dataset"] == "sims_data"]
    assert all(name in methods for block in blocks("per_rate", other) for name, _ in block.rows)
    assert "empty" not in frame("per_rate", results(metrics.assign(empty=0.0)), methods)


def test_means_leave_rates_out_at_which_nothing_is_left_and_say_so(metrics, methods):
    source = results(with_empty(metrics))
    of, every = (
        frame("random_missing", each, methods).set_index(["dataset", "method"]) for each in (source, results(metrics))
    )
    kept = metrics.query("dataset == 'mosi_data' and method == 'steady' and corruption == 'random' and level < 0.65")
    value = kept.loc[kept["metric"] == "mae", "value"].mean()
    assert of.loc[("mosi_data", "steady"), "mae_mean"] == pytest.approx(value)
    assert of.loc[("mosi_data", "steady"), "conditions"] == 7
    assert of.loc[("sims_data", "steady"), "mae_mean"] == every.loc[("sims_data", "steady"), "mae_mean"]
    said = markdown(of.reset_index(), "random_missing")
    assert (
        said.count("Not in the mean: r = 0.7, 0.8, 0.9, because more than 10 % of the samples have nothing left.") == 1
    )
    row = headlines(source.metrics).set_index(["dataset", "method"]).loc[("mosi_data", "steady")]
    assert row["conditions"] == 7 and row["f1"] == of.loc[("mosi_data", "steady"), "f1_negpos_mean"]
    text = headline(source.metrics)
    assert "mosi_data: mean over 7 missing rates" in text and "sims_data: mean over 10 missing rates" in text
    assert text.count("At r = 0.7 to 0.9, 75 % of the samples have nothing left, of any modality.") == 1


def test_noise_has_a_row_per_kind_intensity_and_set_and_their_mean(metrics, methods):
    table = frame("noise", results(metrics), methods)
    assert len(table) == 3 * 2 * 2 * (2 + 1)
    cases = table.query("method == 'steady' and noise == 'impulse' and intensity == 20").set_index("noisy")
    assert list(cases.index) == ["text", "audio", "mean"]
    assert cases.loc["mean", "f1_weighted_mean"] == pytest.approx(cases["f1_weighted_mean"].iloc[:2].mean())
    assert cases.loc["mean", "conditions"] == 2


def test_noise_of_each_set_is_the_mean_over_intensities_beside_complete_data(metrics, methods):
    table = frame("noise_per_set", results(metrics), methods)
    every = frame("noise", results(metrics), methods)
    steady = table.query("method == 'steady' and noise == 'impulse'").set_index("noisy")
    assert list(steady.index) == ["none", "text", "audio", "mean"]
    for name in ("text", "audio", "mean"):
        levels = every.query(f"method == 'steady' and noise == 'impulse' and noisy == '{name}'")["f1_weighted_mean"]
        assert steady.loc[name, "f1_weighted_mean"] == pytest.approx(levels.mean())
    clean = metrics.query("dataset == 'emotion_data' and method == 'steady' and corruption == 'random' and level == 0")
    clean = clean[(clean["metric"] == "f1_weighted") & (clean["fold"] != "pooled")]
    assert steady.loc["none", "f1_weighted_mean"] == pytest.approx(clean["value"].mean())
    assert "told" not in table
    shown = blocks("noise_per_set", table)
    assert [block.title for block in shown] == [
        f"{kind}: {name}" for kind in ("Gaussian noise", "Impulse noise") for name in ("UA ↑", "F1 weighted ↑")
    ]
    assert shown[0].columns == ["nothing noisy", "text", "audio", "mean over the sets"]


@pytest.mark.parametrize("name", ["noise", "noise_per_set"])
@pytest.mark.parametrize(
    ("made_of", "said"),
    [
        ("ramer", r"Told which modalities are noisy: steady\. Such a method .* one result at every intensity\."),
        ("lnln", r"Methods that read token ids, so that noisy text is \[UNK\]: steady\."),
        ("ae", r"Not told which modalities are noisy: steady, brittle_one\."),
    ],
)
def test_tables_of_noise_say_which_methods_are_told_what_is_noisy(metrics, methods, name, made_of, said):
    made = {"steady": made_of, "brittle_one": "ae", FLOOR: FLOOR}
    records = {("emotion_data", row, "seed-1"): record(method=method) for row, method in made.items()}
    found = notes(name, frame(name, results(metrics, records=records), methods))
    assert any(re.fullmatch(said, sentence) for sentence in found)
    assert any("Not told" in sentence and "brittle_one" in sentence for sentence in found)


def test_text_of_noise_shows_the_means_a_block_per_kind_and_metric(metrics, methods):
    table = frame("noise", results(metrics), methods)
    shown = blocks("noise", table)
    assert [block.title for block in shown[::6]] == ["Gaussian noise: WA ↑", "Impulse noise: WA ↑"]
    assert {tuple(block.columns) for block in shown} == {("t = 20", "t = 100")}
    means = table.query("method == 'steady' and noise == 'gaussian' and intensity == 100 and noisy == 'mean'")
    assert dict(shown[0].rows)["steady"][1].value == means["wa_mean"].iloc[0]
    assert "Mean over 2 sets of noisy modalities. The csv file has every set." in markdown(table, "noise")


def test_single_classes_have_a_row_per_condition_and_two_metrics_each(metrics, methods):
    table = frame("per_class", results(metrics), methods)
    assert set(table["dataset"]) == {"emotion_data"}
    conditions = ["random", "combined", "gaussian", "impulse", "none", *ABSENT, "mean"]
    assert list(table.query("method == 'steady'")["condition"]) == conditions
    shown = blocks("per_class", table)
    assert [block.title for block in shown[:5]] == [
        "random missing, mean over 10 rates",
        "modalities absent and others missing at random, mean over 12 conditions",
        "Gaussian noise, mean over 4 conditions",
        "Impulse noise, mean over 4 conditions",
        "nothing absent (text, audio and vision present)",
    ]
    assert shown[5].title == "text absent (audio and vision present)"
    assert shown[-1].title == "mean over the 6 sets of absent modalities"
    classes = ("happy", "angry", "sad", "neutral")
    assert shown[0].columns == [*(f"F1 {name}/rest ↑" for name in classes), *(f"F1 {name} ↑" for name in classes)]
    chosen = metrics.query("method == 'steady' and corruption == 'random' and metric == 'f1_binary_pos.sad'")
    expected = chosen[chosen["fold"] != "pooled"].groupby(["seed", "fold"])["value"].mean().mean()
    assert table.query("method == 'steady' and condition == 'random'")["f1_binary_pos.sad_mean"].iloc[
        0
    ] == pytest.approx(expected)


def test_pooled_has_the_metrics_of_all_folds_together_over_seeds(metrics, methods):
    table = frame("pooled", results(metrics), methods)
    assert set(table["dataset"]) == {"emotion_data"}
    row = table.query("method == 'steady' and condition == 'text'").iloc[0]
    chosen = metrics.query("method == 'steady' and modalities == 'text' and corruption == 'absent' and metric == 'ua'")
    values = chosen.loc[(chosen["fold"] == "pooled") & (chosen["dataset"] == "emotion_data"), "value"]
    assert len(values) == 2
    assert (row["ua_mean"], row["ua_std"]) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (row["over"], row["folds"]) == ("seeds", 1)


def test_tables_say_what_deviations_are_over(metrics, single, single_seed, methods):
    def told(source, dataset):
        table = frame("random_missing", results(source), methods)
        return " ".join(notes("random_missing", table[table["dataset"] == dataset]))

    assert "over 2 seeds (each the mean over 2 folds)." in told(metrics, "emotion_data")
    assert "over 2 seeds." in told(metrics, "mosi_data")
    assert "over 2 folds of one seed." in told(single_seed, "emotion_data")
    assert "One run: no standard deviation." in told(single, "mosi_data")
    pooled = notes("pooled", frame("pooled", results(single_seed), methods))
    assert "One run: no standard deviation." in pooled


def test_without_classes_or_folds_their_tables_say_so(single, methods):
    for name, sentence in (("per_class", "No dataset has classes."), ("pooled", "No dataset has folds.")):
        table = TABLES[name](results(single), methods)
        assert table.empty
        assert sentence in markdown(table, name)
        assert f"% {sentence}" in latex(table, name)
        assert csv(table).startswith("dataset,family,method,condition,")


def test_the_ranking_of_classes_is_by_weighted_f1_with_the_recall_beside_it(metrics):
    ranked = headlines(metrics).query("dataset == 'emotion_data'").set_index("method")
    table = frame("random_missing", results(metrics), ["steady", "brittle_one"]).query("dataset == 'emotion_data'")
    table = table.set_index("method")
    assert list(ranked["f1"]) == list(table.loc[ranked.index, "f1_weighted_mean"])
    assert list(ranked["second"]) == list(table.loc[ranked.index, "ua_mean"])
    section = headline(metrics).split("\n\n")[0]
    assert section.startswith("emotion_data: mean over 10 missing rates, 2 seeds with 2 folds\n")
    assert re.search(r"method +F1 weighted ↑ +UA ↑ +over majority", section)


def test_what_choosing_on_test_adds_is_a_difference_within_each_run(metrics_on_test, methods):
    table = frame("selection", results(metrics_on_test), methods).set_index(["dataset", "method", "chosen"])
    chosen = metrics_on_test.query(
        "dataset == 'mosi_data' and method == 'steady' and corruption == 'random' and metric == 'corr'"
    )
    runs = chosen.groupby(["checkpoint", "seed"])["value"].mean().unstack("checkpoint")
    row = table.loc[("mosi_data", "steady")]
    assert row.loc["TEST", "corr_mean"] == pytest.approx(runs["mae"].mean())
    assert row.loc["validation", "corr_mean"] == pytest.approx(runs["valid"].mean())
    assert row.loc["difference", "corr_mean"] == pytest.approx((runs["mae"] - runs["valid"]).mean())
    assert row.loc["difference", "corr_std"] == pytest.approx((runs["mae"] - runs["valid"]).std(ddof=1))
    assert row["checkpoints"].to_dict() == {"validation": "valid", "TEST": "TEST", "difference": "TEST"}
    last = [
        cells[-1] for block in blocks("selection", table.loc[["mosi_data"]].reset_index()) for _, cells in block.rows
    ]
    assert {cell.rank for cell in last} == {0}


def record(**values):
    """What the table of costs reads of ``run.json``."""
    costs = {"seconds_per_epoch": 2.0, "epochs": 10, "peak_memory_mb": 900, "parameters": 1234567}
    costs |= {"text_encoder_parameters": 22000000, "seconds_per_sample": 0.0125}
    return {"checkpoints": {"valid": {}}, "device": "cpu, 1 thread(s)", **costs, **values}


def test_costs_are_means_over_runs_with_teachers_after_the_methods_that_start_from_them(metrics):
    records = {
        ("demo", FLOOR, "seed-1"): record(epochs=0, seconds_per_epoch=0.0),
        ("demo", "mmin_teacher", "seed-1"): record(device="A GPU", precision="bfloat16"),
        ("demo", "steady", "seed-1"): record(),
        ("demo", "steady", "seed-2"): record(seconds_per_epoch=3.0, epochs=20),
        ("demo", "not_shown", "seed-1"): record(),
    }
    table = frame("cost", results(metrics, records=records), [FLOOR, "steady"])
    assert table["method"].tolist() == ["steady", "mmin_teacher", FLOOR]
    row = table.iloc[0]
    assert row["runs"] == 2
    assert row["seconds_mean"] == pytest.approx((2 * 10 + 3 * 20) / 2)
    assert row["seconds_std"] == pytest.approx(np.std([20, 60], ddof=1))
    assert np.isnan(table.iloc[1]["seconds_std"])
    text = markdown(table, "cost")
    assert "| 2.50 ± 0.71 | 15.0 ± 7.1 | 40.0 ± 28.3 |" in text
    assert "1,234,567 |" in text
    assert "Devices: A GPU, bfloat16; cpu, 1 thread(s), float32." in text
    assert "differ between runs and between machines" in text
    assert "ms per predicted sample |" in text and "12.50 |" in text
    assert "The time includes the text encoder, but no extraction." in text
    assert r"mmin\_teacher & 2.00 & 10.0 & 20.0 & 900 &" in latex(table, "cost")


def test_a_teacher_that_is_a_row_costs_once(metrics):
    metrics = pd.concat([metrics, metrics[metrics["method"] == "steady"].assign(method="mmin_teacher")])
    records = {("demo", method, "seed-1"): record() for method in (FLOOR, "mmin_teacher", "steady")}
    table = frame("cost", results(metrics, records=records), [FLOOR, "mmin_teacher", "steady"])
    assert table["method"].tolist() == ["mmin_teacher", "steady", FLOOR]


def test_costs_that_no_method_has_are_left_out_and_notes_tell_only_of_what_is_there(metrics):
    records = {
        ("demo", FLOOR, "seed-1"): record(epochs=0, seconds_per_epoch=0.0, text_encoder_parameters=0),
        ("demo", "older", "seed-1"): record(text_encoder_parameters=0),
    }
    del records["demo", "older", "seed-1"]["seconds_per_sample"]  # accepted from before it was measured
    table = frame("cost", results(metrics, records=records), ["older"])
    (block,) = blocks("cost", table)
    assert not [column for column in block.columns if "encoder" in column]
    assert dict(block.rows)["older"][-1].text == NAN
    told = " ".join(notes("cost", table))
    assert "A teacher" not in told and "text encoder" not in told and "wall-clock time of training" in told
    untrained = notes("cost", table[table["method"] == FLOOR])
    assert "wall-clock time of training" not in " ".join(untrained)


def test_costs_of_trainings_that_chose_on_test_say_so_and_one_run_has_no_deviation(metrics):
    chosen = record(checkpoints={"valid": {}, "mae": {}})
    table = frame("cost", results(metrics, records={("demo", "steady", "seed-1"): chosen}), ["steady"])
    assert table["checkpoints"].tolist() == ["TEST"]
    text = markdown(table, "cost")
    assert MARK in text.replace("Checkpoints", "checkpoints")
    assert "±" not in text and "One run: no standard deviation." in text


def test_without_records_the_table_of_costs_says_so(metrics, methods):
    table = frame("cost", results(metrics), methods)
    assert "No training has a record." in markdown(table, "cost")
    assert csv(table).startswith("dataset,method,checkpoints,runs,devices,seconds_per_epoch_mean,")


def test_a_method_that_is_significantly_worse_than_the_best_of_its_column_has_a_sign(five):
    methods = ["steady", "brittle_one", "third", "fourth", "fifth"]
    for name, summary, by in (("random_missing", "mean_random", {}), ("per_rate", "random", {"level": 0.7})):
        table = frame(name, five, methods).query("dataset == 'mosi_data'")
        rows = table[np.logical_and.reduce([table[key] == value for key, value in by.items()])] if by else table
        tests = five.comparisons.query(f"dataset == 'mosi_data' and corruption == '{summary}' and metric == 'mae'")
        tests = tests[tests["level"] == 0.7] if by else tests
        pairs = {frozenset(pair): p for *pair, p in tests[["method", "other", "p_holm"]].itertuples(index=False)}
        means = rows[rows["method"] != FLOOR].set_index("method")["mae_mean"]
        best = means.idxmin()
        found = rows.set_index("method")["mae_p"]
        assert np.isnan(found[best])
        assert {m: found[m] for m in means.index.drop(best)} == {
            m: pairs[frozenset((m, best))] for m in means.index.drop(best)
        }
        shown = {block.title: block for block in blocks(name, table)}
        block = shown["MAE ↓"] if by else shown[""]
        at = block.columns.index("r = 0.7" if by else "MAE ↓")
        signs = {method: cells[at].sign for method, cells in block.rows}
        assert signs == {method: "*" if p < 0.05 else "" for method, p in found.items()}
        assert set(signs.values()) == {"", "*"}
        assert "\\*" in markdown(table, name) and "$^*$" in latex(table, name)
        (told,) = [note for note in notes(name, table) if note.startswith("*")]
        assert "p < 0.05 after Holm's correction" in told and "MAE and Corr" in told


def test_without_tests_there_is_no_sign_and_no_word_of_it(metrics, methods):
    for name in ("random_missing", "per_rate", "absent"):
        table = frame(name, results(metrics), methods)
        assert "alpha" not in table
        assert not any(cell.sign for block in blocks(name, table) for _, cells in block.rows for cell in cells)
        assert "significantly" not in markdown(table, name)


def test_the_limit_of_p_follows_from_the_confidence(five):
    stricter = five.comparisons.assign(confidence=0.9999999)
    table = frame("random_missing", replace(five, comparisons=stricter), ["steady", "brittle_one", "fifth"])
    assert set(table["alpha"]) == {0.0}
    assert "significantly" in markdown(table, "random_missing")
    cells = [cell for block in blocks("random_missing", table) for _, cells in block.rows for cell in cells]
    assert not any(cell.sign for cell in cells)


@pytest.mark.parametrize(
    ("name", "complete"), [("per_rate", {"level": 0.0}), ("absent", {"absent": "none"}), ("burst_per_level", None)]
)
def test_scores_are_also_known_as_shares_of_those_on_complete_data(metrics, methods, name, complete):
    if complete is None:
        metrics, complete = metrics.assign(corruption=metrics["corruption"].replace("random", "burst")), {"level": 0.0}
    table = frame(name, results(metrics), methods).query("dataset == 'mosi_data'")
    (column, value), *_ = complete.items()
    whole = table[table[column] == value].set_index("method")["mae_mean"]
    found = {}
    for block in blocks(name, table):
        for method, cells in block.rows:
            for part, cell in zip(block.columns, cells, strict=True):
                found[block.title, part, method] = cell
    maes = [(key, cell) for key, cell in found.items() if "MAE ↓" in key]
    assert maes
    for (*_, method), cell in maes:
        assert cell.relative == pytest.approx(cell.value / whole[method])
    assert {c.relative for key, c in maes if "r = 0" in key or key[0].startswith("nothing absent")} == {1.0}
    # What is neither good nor bad is no score.
    assert all(np.isnan(cell.relative) for key, cell in found.items() if "Entropy" in key[0] + key[1])


def test_the_table_of_every_rate_is_open_and_only_what_is_no_score_is_folded_in_it(metrics, methods):
    tables = all_tables()
    assert not tables["per_rate"].folded and tables["burst_per_level"].folded
    shown = blocks("per_rate", frame("per_rate", results(metrics), methods).query("dataset == 'mosi_data'"))
    assert {block.title.split(" of ")[0] for block in shown if block.folded} == {"One-class share", "Entropy ratio"}
    assert {block.title for block in shown if not block.folded} >= {"Acc-7 ↑", "F1 neg/pos ↑", "MAE ↓", "Corr ↑"}


def test_columns_of_kinds_that_are_left_out_are_named_together():
    names = ["Corr ↑", "below lnln, random", "below lnln, black", "effective robustness, black"]
    assert _listed(names) == "Corr ↑, below lnln (random, black), effective robustness (black)"


def test_a_column_in_which_no_method_has_a_value_is_left_out_and_named(metrics, methods):
    undefined = metrics.assign(value=metrics["value"].mask(metrics["metric"] == "corr"))
    table = frame("random_missing", results(undefined), methods).query("dataset == 'mosi_data'")
    ((block,),), told = filled(all_tables()["random_missing"], table)
    assert "Corr ↑" not in block.columns and "MAE ↓" in block.columns
    assert {len(cells) for _, cells in block.rows} == {len(block.columns)}
    assert told == ["Left out, because no method has a value: Corr ↑."]
    for text in (markdown(table, "random_missing"), latex(table, "random_missing")):
        assert "Left out, because no method has a value" in text
    assert "corr_mean" in csv(table)
    whole = frame("random_missing", results(metrics), methods)
    assert all(filled(all_tables()["random_missing"], rows)[1] == [] for _, rows in whole.groupby("dataset"))


@pytest.mark.parametrize(
    ("kind", "modalities", "there", "text"),
    [
        ("absent", "text", "text audio vision", "text absent (audio and vision present)"),
        ("absent", "text+vision", "text audio vision", "text and vision absent (audio present)"),
        ("absent", "none", "text vision", "nothing absent (text and vision present)"),
        ("absent", "audio", "text audio", "audio absent (text present)"),
        ("combined", "text", "text audio", "text absent (audio present in part)"),
        ("noise", "text", "text audio vision", "text noisy (audio and vision clean)"),
        ("noise", "text+audio+vision", "text audio vision", "text, audio and vision noisy"),
    ],
)
def test_a_set_is_named_by_what_is_present_and_by_what_is_absent(kind, modalities, there, text):
    assert words.of_set(kinds()[kind], modalities, present=there.split()) == text


def test_sets_name_only_modalities_that_the_dataset_has(metrics, methods):
    without = metrics[~metrics["modalities"].str.contains("vision") | (metrics["corruption"] != "absent")]
    without = without[(without["corruption"] != "absent") | (without["modalities"] != "text+audio")]
    titles = [block.title for block in blocks("absent", frame("absent", results(without), methods))]
    assert titles[:3] == [
        "nothing absent (text and audio present)",
        "text absent (audio present)",
        "audio absent (text present)",
    ]
