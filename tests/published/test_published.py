"""Published numbers: what is in them, and what arithmetic says of them."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from elision import cli
from elision.evaluation.metrics import family, metric
from elision.published import AREAS, AVERAGES, CORPORA, FOLDER, SOURCES, WHERE, check, errata, load, matching
from elision.settings.protocols import names
from elision.task import MODALITIES

KEY = list(WHERE)


@pytest.fixture(scope="module")
def numbers():
    return load()


def one(numbers, **where):
    fits = np.logical_and.reduce([numbers[column] == value for column, value in where.items()])
    assert fits.sum() == 1
    return numbers[fits].iloc[0]


@pytest.mark.parametrize(
    ("where", "value", "decimals"),
    [
        ({"table": "2", "method": "self_mm", "dataset": "mosi", "metric": "acc7"}, 0.2955, 4),
        ({"table": "3", "method": "almt", "metric": "f1"}, 0.7276, 4),
        ({"table": "9", "method": "tfr_net", "dataset": "mosei", "level": 0.9, "metric": "corr"}, 0.175, 3),
        ({"table": "13", "method": "lnln", "dataset": "mosei", "modalities": "text", "metric": "f1_nonneg"}, 0.8306, 4),
        ({"table": "14", "method": "almt", "modalities": "text+audio", "metric": "acc3"}, 0.1605, 4),
        (
            {"source": "hrlf", "table": "main", "method": "hrlf", "dataset": "mosi", "corruption": "mean_absent"},
            0.7674,
            4,
        ),
        ({"source": "nmer", "method": "men", "level": 100.0}, 0.5325, 4),
        ({"table": "6", "method": "emt_dlfr", "dataset": "mosei", "metric": "acc2_negpos"}, 0.769, 3),
        ({"table": "7", "method": "misa", "dataset": "sims", "source": "emt_dlfr", "metric": "corr"}, 0.053, 3),
    ],
)
def test_a_number_is_the_one_that_is_printed(numbers, where, value, decimals):
    row = one(numbers, **where)
    assert (row["value"], row["decimals"]) == (value, decimals)


def test_hrlf_names_what_remains_and_we_name_what_is_absent(numbers):
    text_alone = one(numbers, source="hrlf", table="main", method="hrlf", dataset="mosi", modalities="audio+vision")
    assert text_alone["value"] == 0.8336
    happy = {"source": "hrlf", "method": "corrkd", "metric": "f1_binary_weighted.happy"}
    assert one(numbers, **happy, modalities="text")["value"] == 0.700
    assert one(numbers, **happy, corruption="absent", level=0.0)["value"] == 0.875


def test_every_number_has_a_place_of_its_own(numbers):
    assert not numbers.duplicated(KEY).any()
    assert not numbers.duplicated([*KEY[:3], "printed", *KEY[3:]]).any()
    assert numbers.drop(columns=["level", "corrected"]).notna().all(axis=None)


def test_the_names_are_those_of_our_metrics(numbers):
    assert set(numbers["dataset"]) <= set(CORPORA)
    assert set(numbers["protocol"]) <= set(names())
    assert set(numbers["source"]) == set(SOURCES)
    for name, corpus in numbers[["metric", "dataset"]].drop_duplicates().itertuples(index=False):
        assert metric(name)
        if corpus != "iemocap":
            assert name in family("sims" if corpus == "sims" else "mosi").reported
    sets = set(numbers["modalities"]) - {""}
    assert sets == {"+".join(m for m in MODALITIES if m in joined.split("+")) for joined in sets}
    assert set(numbers["corruption"]) <= {"random", "absent", *AVERAGES, *AREAS}
    for corpus, rows in numbers.groupby("source"):
        assert set(rows["dataset"]) <= set(SOURCES[corpus].inputs)


def test_shares_are_fractions_and_means_over_levels_have_none(numbers):
    shares = numbers[~numbers["metric"].isin(["mae", "corr"])]
    assert shares["value"].between(0, 1).all()
    over_levels = numbers["corruption"].isin(["mean_random", "mean_absent"])
    assert (numbers["level"].isna() == over_levels).all()


@pytest.mark.parametrize("name", SOURCES)
def test_files_hold_what_is_loaded(numbers, name):
    text = pd.read_csv(FOLDER / f"{name}.csv", dtype=str, keep_default_na=False)
    rows = numbers[numbers["source"] == name]
    written = [f"{row.value:.{row.decimals}f}" for row in rows.itertuples()]
    assert written == text["value"].tolist()
    levels = ["" if np.isnan(level) else f"{level:g}" for level in rows["level"]]
    assert levels == text["level"].tolist()


def test_every_erratum_is_of_numbers_that_are_there(numbers):
    text = numbers.assign(level=["" if np.isnan(level) else f"{level:g}" for level in numbers["level"]])
    listed = errata()
    assert set(listed["check"]) == {"average", "copied", "outlier", "swapped_f1", ""}
    assert not listed.duplicated(["check", *WHERE]).any()
    for erratum in listed.itertuples(index=False):
        rows = matching(text, [getattr(erratum, column) for column in WHERE])
        assert rows, erratum
        assert not erratum.corrected or len(rows) == 1


def test_an_erratum_stands_beside_the_number_and_changes_nothing(numbers):
    cenet = one(numbers, table="9", method="cenet", dataset="mosi", level=0.7, metric="acc5")
    assert (cenet["value"], cenet["corrected"]) == (0.5986, 0.2357)
    assert "corrigendum 1" in cenet["erratum"]
    lnln = one(numbers, table="3", method="lnln", metric="f1")
    assert (lnln["value"], lnln["corrected"], lnln["swapped"]) == (0.7943, 0.6918, True)
    clean = one(numbers, table="9", method="misa", dataset="mosi", level=0.0, metric="acc7")
    assert (clean["erratum"], clean["swapped"]) == ("", False)
    assert (
        numbers["swapped"]
        == (
            numbers["source"].eq("lnln")
            & numbers["method"].isin(["lnln", "almt"])
            & numbers["metric"].str.startswith("f1")
        )
    ).all()


def test_an_area_is_that_of_a_series_trained_at_each_rate_up_to_its_level(numbers):
    areas = numbers[numbers["corruption"].isin(AREAS)]
    assert set(areas["source"]) == {"emt_dlfr"}
    assert areas.groupby("dataset")["level"].unique().map(list).to_dict() == {"mosi": [1], "mosei": [1], "sims": [0.5]}
    assert areas.groupby("dataset").size().to_dict() == {"mosi": 64, "mosei": 64, "sims": 48}
    # No metric of a share is above 1: with 0.5, the mean over the rates of CH-SIMS would not be one without the range.
    shares = areas[areas["metric"].str.startswith(("acc", "f1"))]
    assert (shares["value"] / shares["level"]).between(0.2, 0.8).all()


def test_the_checks_find_the_known_errata_and_nothing_else(numbers):
    found = check.findings(numbers)
    assert check.unexpected(found) == ([], [])
    assert len(found) == (errata()["check"] != "").sum() == len(set(found))


def test_the_order_of_rows_of_other_sources_does_not_matter(numbers):
    turned = pd.concat([numbers[numbers["source"] == name] for name in reversed(SOURCES)], ignore_index=True)
    assert check.findings(turned) == check.findings(numbers)


@pytest.mark.parametrize(
    ("source", "where", "value", "finding"),
    [
        ("hrlf", {"table": "main", "method": "smil", "dataset": "mosei", "modalities": "text"}, 0.6787, "average"),
        (
            "lnln",
            {"table": "9", "method": "misa", "dataset": "mosi", "level": 0.4, "metric": "acc5"},
            0.5537,
            "outlier",
        ),
        ("lnln", {"table": "10", "method": "misa", "level": 0.9, "metric": "f1"}, 0.8201, "swapped_f1"),
        ("emt_dlfr", {"table": "6", "method": "mult", "dataset": "mosi", "metric": "f1_negpos"}, 0.65, "swapped_f1"),
        ("emt_dlfr", {"table": "7", "method": "lmf", "metric": "f1"}, 0.42, "swapped_f1"),
    ],
)
def test_one_altered_number_is_found(numbers, source, where, value, finding):
    row = one(numbers, source=source, **where)
    altered = numbers.assign(value=numbers["value"].where(numbers.index != row.name, value))
    new, lost = check.unexpected(check.findings(altered))
    assert finding in {f.check for f in new}
    assert {(f.method, f.dataset, f.metric) for f in new} == {(row["method"], row["dataset"], row["metric"])}
    assert not lost


def test_a_copied_column_is_found(numbers):
    def column(method):
        return numbers.index[(numbers["table"] == "10") & (numbers["method"] == method) & (numbers["metric"] == "mae")]

    value = numbers["value"].copy()
    value[column("lnln")] = value[column("misa")].to_numpy()
    new, _ = check.unexpected(check.findings(numbers.assign(value=value)))
    assert {(f.check, f.table, f.method) for f in new} >= {("copied", "10", "lnln"), ("copied", "3", "lnln")}


def test_a_constant_predictor_reaches_the_bound_with_the_right_arguments_only():
    for share in (0.55, 0.6285, 0.71):
        bound = check.highest_f1(np.array([share, 1.0]), share)
        assert 2 * share**2 / (1 + share) < bound[0] < 2 * share / (1 + share)
        assert bound[1] == pytest.approx(1, abs=1e-4)


def test_no_predictor_and_no_mean_of_predictors_is_above_the_bound():
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(1111)
    labels = np.arange(500) < 340
    accuracy, f1 = [], []
    for _ in range(200):
        flip = np.where(labels, generator.random(), generator.random())
        predicted = labels ^ (generator.random(500) < flip)
        accuracy.append((predicted == labels).mean())
        f1.append(f1_score(labels, predicted, average="weighted", zero_division=0))
    pairs = np.column_stack([accuracy, f1])
    means = pairs[generator.integers(0, 200, (200, 3))].mean(axis=1)
    for values in (pairs, means):
        assert (values[:, 1] <= check.highest_f1(values[:, 0], 0.68) + 1e-9).all()


def test_the_command_ends_with_0_and_lists_what_it_found():
    done = CliRunner().invoke(cli.app, ["published", "check", "--json"])
    assert done.exit_code == 0
    listed = json.loads(done.output)
    assert len(listed["findings"]) == (errata()["check"] != "").sum()
    assert listed["unknown"] == listed["not_found"] == []
    assert "35 of 35 findings are known errata" in CliRunner().invoke(cli.app, ["published", "check"]).output


def test_the_command_ends_with_1_if_something_else_is_found(monkeypatch, numbers):
    row = one(numbers, table="2", method="misa", dataset="mosi", metric="mae")
    wrong = numbers.assign(value=numbers["value"].where(numbers.index != row.name, 1.1))
    monkeypatch.setattr("elision.published.load", lambda: wrong)
    done = CliRunner().invoke(cli.app, ["published", "check"])
    assert done.exit_code == 1
    assert (
        "not in the list of known errata: Finding(check='average', source='lnln', table='2', method='misa'"
        in done.stderr
    )
