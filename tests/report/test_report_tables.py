import io
import re

import numpy as np
import pandas as pd
import pytest

from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import FAMILIES
from elision.report import tables
from elision.report.tables import blocks, headline, headlines, number

MARK = "checkpoints chosen on the TEST set"


def test_a_row_is_the_mean_over_rates_and_then_over_runs(metrics, methods):
    row = tables.random_missing(metrics, methods).set_index(["dataset", "method"]).loc[("sims_data", "steady")]
    chosen = metrics.query("dataset == 'sims_data' and method == 'steady' and protocol == 'random' and metric == 'f1'")
    runs = [chosen.loc[chosen["run"] == run, "value"].mean() for run in ("seed-1111", "seed-1112")]
    assert row["f1_mean"] == pytest.approx(np.mean(runs))
    assert row["f1_std"] == pytest.approx(np.std(runs, ddof=1))
    assert (row["runs"], row["conditions"], row["checkpoints"]) == (2, 10, "valid")


def test_methods_stand_in_the_order_given_and_the_floor_last(metrics):
    for table in tables.TABLES.values():
        shown = table(metrics, [FLOOR, "steady", "brittle_one"])["method"].unique()
        assert list(shown) == ["steady", "brittle_one", FLOOR]
    assert list(tables.random_missing(metrics, ["steady"])["method"].unique()) == ["steady", FLOOR]


def test_metrics_of_the_other_family_are_empty(metrics, methods):
    table = tables.random_missing(metrics, methods).set_index("dataset")
    assert table.loc["mosi_data", ["acc2_mean", "f1_mean", "acc3_mean"]].isna().all(axis=None)
    assert table.loc["sims_data", ["acc7_mean", "f1_negpos_mean"]].isna().all(axis=None)


def test_per_rate_has_a_row_per_method_and_rate(metrics, methods):
    table = tables.per_rate(metrics, methods)
    assert len(table) == 2 * 3 * 10
    row = table.query("dataset == 'mosi_data' and method == 'steady' and level == 0.3").iloc[0]
    chosen = metrics.query("dataset == 'mosi_data' and method == 'steady' and protocol == 'random' and level == 0.3")
    assert row["mae_mean"] == pytest.approx(chosen.loc[chosen["metric"] == "mae", "value"].mean())


def test_absent_has_the_complete_data_six_sets_and_their_mean(metrics, methods):
    table = tables.absent(metrics, methods).query("dataset == 'mosi_data' and method == 'steady'")
    assert list(table["absent"]) == ["none", *tables.ABSENT, "mean"]
    by_set = table.set_index("absent")["acc7_mean"]
    assert by_set["mean"] == pytest.approx(by_set[tables.ABSENT].mean())
    assert table.set_index("absent").loc["mean", "conditions"] == 6


def test_tables_carry_the_share_of_the_most_frequent_class(metrics, methods):
    table = tables.per_rate(metrics, methods).query("dataset == 'mosi_data' and method == 'brittle_one'")
    shares = table.set_index("level")["majority_share_7_mean"]
    assert (shares[shares.index >= 0.7] == 1).all()
    assert (shares[shares.index < 0.7] < 1).all()


def test_csv_has_full_precision_and_means_apart_from_deviations(metrics, methods):
    for make in tables.TABLES.values():
        table = make(metrics, methods)
        read = pd.read_csv(io.StringIO(tables.csv(table)), float_precision="round_trip")
        pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=False)
        assert all(read[c].dtype.kind == "f" for c in read if c.endswith(("_mean", "_std")))


def test_best_and_second_are_of_the_printed_values_without_the_floor(metrics, methods):
    frame = pd.DataFrame(
        {
            "dataset": "d",
            "family": "sims",
            "method": ["a", "b", "c", "e", FLOOR],
            "f1_mean": [0.71001, 0.71004, 0.5, 0.6, 0.9],
            "mae_mean": [0.4, 0.5, np.nan, 0.6, 0.1],
        }
    )
    empty = {f"{m}_{k}": np.nan for m in FAMILIES["sims"].reported for k in ("mean", "std")}
    block = blocks(frame.assign(**{name: nan for name, nan in empty.items() if name not in frame}))[0]
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
    table = tables.random_missing(metrics, methods)
    grids = markdown_tables(tables.markdown(table, "random_missing"))
    assert len(grids) == 2
    for (_, rows), grid in zip(table.groupby("dataset"), grids, strict=True):
        head, _, *body = grid
        assert {len(row) for row in grid} == {len(head)}
        assert [row[0] for row in body] == methods
        at = head.index("MAE ↓")
        for (_, row), line in zip(rows.iterrows(), body, strict=True):
            assert line[at].strip("*") == f"{row['mae_mean']:.3f} ± {row['mae_std']:.3f}"
        assert sum(cell.startswith("**") for row in body for cell in row) >= 5
        assert not any(cell.startswith("*") for cell in body[-1])


def test_one_run_has_no_plus_minus(single, methods):
    for name, make in tables.TABLES.items():
        for write in (tables.markdown, tables.latex):
            text = write(make(single, methods), name)
            assert "±" not in text
            assert r"\pm" not in text
            assert "no standard deviation" in text


def test_an_undefined_correlation_is_a_dash_with_a_note(metrics, methods):
    table = tables.random_missing(metrics, methods)
    text = tables.markdown(table, "random_missing")
    assert re.search(r"^\| brittle_one .*\| +– \|", text, re.M)
    assert "undefined" in text
    assert "brittle_one 6" in text  # 3 rates, 2 runs
    assert re.search(r"^brittle\\_one & .*& -- &", tables.latex(table, "random_missing"), re.M)
    steady = tables.random_missing(metrics[metrics["method"] == "steady"], methods)
    assert "undefined" not in tables.markdown(steady, "random_missing")


def test_latex_is_balanced_with_the_same_number_of_cells_in_each_row(metrics, methods):
    for name, make in tables.TABLES.items():
        text = tables.latex(make(metrics, methods), name)
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}")
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
        assert "_one" not in text.replace(r"\_one", "")
        assert text.isascii()
        for part in text.split(r"\begin{tabular}")[1:]:
            columns = len(re.match(r"\{(l r*|lr*)\}", part)[1])
            rows = [line for line in part.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
            assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {columns}


def test_latex_escapes_every_special_sign():
    assert tables._latex_text(r"a_b&c%d#e$f{g}h~i^j\k") == (
        r"a\_b\&c\%d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


def test_tables_of_checkpoints_chosen_on_test_say_so(metrics_on_test, metrics, methods):
    for name, make in tables.TABLES.items():
        table = make(metrics_on_test, methods)
        assert (table["checkpoints"] == "TEST").all()
        assert MARK in tables.markdown(table, name).replace("Checkpoints", "checkpoints")
        assert tables.latex(table, name).count(rf"\textbf{{{MARK}}}") == 2
        valid = make(metrics, methods)
        assert (valid["checkpoints"] == "valid").all()
        assert "TEST" not in tables.markdown(valid, name) + tables.latex(valid, name)
    assert MARK in headline(metrics_on_test)
    assert MARK not in headline(metrics)


def test_conditions_that_were_not_evaluated_give_an_empty_table_that_says_so(metrics, methods):
    only_absent = metrics[metrics["protocol"] == "absent"]
    table = tables.random_missing(only_absent, methods)
    assert table.empty
    assert "No such condition" in tables.markdown(table, "random_missing")
    assert "% No such condition" in tables.latex(table, "random_missing")
    assert "No random-missing condition" in headline(only_absent)


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
