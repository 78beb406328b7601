"""Rows whose runs differ in versions of libraries, or whose code was accepted: marked wherever their numbers are."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from report_results import TABLES, draw, frame, latex, markdown, results
from test_report_page import text_of

from elision import report
from elision.evaluation.aggregate import FLOOR, summary
from elision.report import curves, drawing
from elision.report.marks import marked, marks
from elision.report.table import all_tables
from elision.report.text import csv

NEW, OLD = {"train": {"torch": "2.14.1", "numpy": "2.4.6"}}, {"train": {"torch": "2.13.0", "numpy": "2.4.6"}}
METHODS = ["steady", "brittle_one", FLOOR]
ACCEPTED = {("mosi_data", "brittle_one"): ("train",)}
CODE = "made in part by older code, which the user accepted (train)"
VERSIONS = "runs have different versions: training (torch 2.13.0 and 2.14.1)"


def made_with(changed: dict, datasets=("mosi_data", "sims_data"), runs=("seed-1111", "seed-1112")) -> dict:
    """Versions of all runs, with those of some (dataset, method, run) changed."""
    return {(d, m, r): changed.get((d, m, r), OLD) for d in datasets for m in METHODS for r in runs}


ONE_RUN = made_with({("mosi_data", "steady", "seed-1112"): NEW})


def test_synthetic_data_are_told_wherever_numbers_are(metrics):
    source = results(metrics, synthetic=("sims_data",))
    assert set(source.marks) == {("sims_data", method) for method in METHODS}
    table = marked(frame("random_missing", source, METHODS), source.marks)
    assert dict(zip(table["dataset"], table["data"], strict=True)) == {
        "emotion_data": "",
        "mosi_data": "",
        "sims_data": "synthetic",
    }
    told = "The data are synthetic. The numbers say nothing about recordings of people."
    for dataset, rows in table.groupby("dataset"):
        assert (told in markdown(rows, "random_missing")) == (dataset == "sims_data")
        assert (r"\textbf{synthetic data}" in latex(rows, "random_missing")) == (dataset == "sims_data")
    with drawing.STYLE():
        drawn = drawing.svg(draw("curve_f1", source, "sims_data", METHODS))
    assert "Synthetic data" in drawn
    line = next(line for line in report.headline(metrics, source.marks).splitlines() if line.startswith("sims_data"))
    assert line.endswith("(synthetic data)")
    assert summary(metrics, source.marks)["sims_data"]["steady"]["data"] == "synthetic"
    assert "data" not in summary(metrics, source.marks)["mosi_data"]["steady"]


def test_the_same_versions_mark_nothing():
    assert marks(made_with({}), {}) == {}


def test_runs_of_a_row_that_differ_are_named_with_both_versions():
    assert marks(ONE_RUN, {}) == {("mosi_data", "steady"): {"versions": VERSIONS}}


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("evaluate", "evaluation"),
        ("extract audio", "audio features"),
        ("train hrlf_teacher", "training of hrlf_teacher"),
        ("corrupt", "test conditions"),
    ],
)
def test_every_step_counts(step, what):
    found = made_with({})
    for run in found:
        found[run] = {step: {"numba": "1" if run[2] == "seed-1111" else "2"}}
    (text,) = {text["versions"] for text in marks(found, {}).values()}
    assert text == f"runs have different versions: {what} (numba 1 and 2)"


def test_a_row_unlike_the_others_of_its_dataset_is_named():
    changed = {("mosi_data", "steady", run): NEW for run in ("seed-1111", "seed-1112")}
    text = "versions differ from those of most runs: training (torch 2.14.1, not 2.13.0)"
    assert marks(made_with(changed), {}) == {("mosi_data", "steady"): {"versions": text}}


def test_another_dataset_may_have_other_versions():
    other = {run: NEW for run in ONE_RUN if run[0] == "sims_data"}
    assert marks(made_with(other), {}) == {}


def test_a_training_that_went_on_after_an_upgrade_marks_its_row():
    both = {"train": {"torch": "2.13.0 and 2.14.1", "numpy": "2.4.6"}}
    found = made_with({("mosi_data", "steady", "seed-1111"): both})
    assert marks(found, {}) == {("mosi_data", "steady"): {"versions": VERSIONS}}


def test_what_is_not_recorded_is_not_compared():
    assert marks(made_with({("mosi_data", "steady", "seed-1111"): {}}), {}) == {}


@pytest.fixture
def source(metrics):
    return results(metrics, made_with=ONE_RUN, accepted=ACCEPTED)


def test_every_table_carries_the_marks_as_columns_signs_headings_and_notes(source, metrics):
    for name, make in TABLES.items():
        table = marked(make(source, METHODS), source.marks)
        if all_tables()[name].of != "method":
            continue
        assert {"checkpoints", "versions", "code"} <= set(table)
        if table.empty:
            continue
        read = pd.read_csv(io.StringIO(csv(table)), keep_default_na=False)
        of_mosi = read["dataset"] == "mosi_data"
        assert set(read.loc[of_mosi & (read["method"] == "steady"), "versions"]) <= {VERSIONS}
        assert set(read.loc[of_mosi & (read["method"] == "brittle_one"), "code"]) <= {CODE}
        assert set(read.loc[~of_mosi, "versions"]) | set(read.loc[~of_mosi, "code"]) <= {""}
        if not of_mosi.any():
            continue
        for write, signs in ((markdown, ("‡", "§")), (latex, (r"$^\ddagger$", r"\S{}"))):
            text = write(table, name)
            assert all(f"{row} {sign}" in text for row, sign in zip(("steady", r"one"), signs, strict=True)), name
            assert "different versions of libraries" in text and "the user accepted" in text
            assert "torch 2.13.0 and 2.14.1" in text
        plain = markdown(make(results(metrics), METHODS), name)
        assert "‡" not in plain and "§" not in plain


def test_every_figure_carries_the_marks(source):
    for name in ("curve_f1", "absent"):
        figure = draw(name, source, "mosi_data", METHODS)
        assert figure.get_suptitle().startswith("‡ Runs were made with different versions")
        assert "the user accepted" in figure.get_suptitle().replace("\n", " ")
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["steady ‡", "brittle_one §", FLOOR]
        unmarked = draw(name, source, "sims_data", METHODS)
        assert not unmarked.get_suptitle()


def test_figures_of_results_carry_the_marks(five):
    names = sorted(five.metrics["method"].unique())
    run = ("mosi_data", "steady", "seed-1111")
    shown = replace(
        five,
        accepted={("mosi_data", "third"): ("train", "evaluate")},
        records={run: {"checkpoints": {"valid": {"epoch": 1}}}},
        histories={run: pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "valid_mae": [1.0, 0.9]})},
        made_with={run: {"train": {"torch": "2.13.0 and 2.14.1"}}},
    )
    ranks = draw("ranks", shown, "mosi_data", names)
    told = ranks.get_suptitle().replace("\n", " ")
    assert "‡ Runs were made with different versions of libraries" in told
    assert "§ Made in part by older code, which the user accepted" in told
    written = [text.get_text() for text in ranks.axes[0].texts]
    assert any("third §" in text for text in written) and any("steady ‡" in text for text in written)
    training = draw("training", shown, "mosi_data", names)
    assert training.get_suptitle() == "‡ Runs were made with different versions of libraries"
    assert [text.get_text() for text in training.legends[0].get_texts()] == ["steady ‡"]


def test_a_confusion_matrix_is_marked_for_its_own_method_alone(source, counted):
    for method, sign in (("steady", "‡"), ("brittle_one", "§"), (FLOOR, "")):
        figure = draw("confusion", replace(source, confusions=counted).only([method]), "mosi_data", [method])
        assert figure.get_suptitle()[:1] == sign
        assert f"{method} {sign}".strip() in figure.get_supxlabel()


def test_the_curves_that_dvc_draws_carry_the_marks(source):
    table = curves.missing_rate(source, METHODS).groupby("dataset")["panel"].first()
    assert "different versions of libraries" in table["mosi_data"] and "the user accepted" in table["mosi_data"]
    assert "(" not in table["sims_data"]


def test_the_page_says_what_is_marked_at_its_top_and_in_its_sections(source, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "write", lambda figure, stem: "")  # takes long, and figures have tests of their own
    report.build(source, tmp_path, methods=METHODS, settings={})
    text = (tmp_path / "report.html").read_text()
    head = text[: text.index("<main>")]
    assert f"mosi_data: ‡ steady: {VERSIONS}." in head
    assert f"mosi_data: § brittle_one: {CODE}." in head
    assert "sims_data: ‡" not in text and "sims_data: §" not in text
    assert "steady ‡</th>" in text and "brittle_<wbr>one §</th>" in text


def test_a_page_without_marks_has_no_sign(metrics, tmp_path):
    text = text_of(tmp_path, metrics, METHODS)
    assert not {"‡", "§"} & set(text)


def test_the_headline_and_its_file_carry_the_marks(source, metrics):
    text = report.headline(metrics, source.marks)
    assert "steady ‡" in text and f"§ brittle_one: {CODE}." in text
    assert "‡" not in report.headline(metrics)
    found = summary(metrics, source.marks)
    assert found["mosi_data"]["steady"]["versions"] == VERSIONS
    assert found["mosi_data"]["brittle_one"]["code"] == CODE
    assert set(found["sims_data"]["steady"]) == set(summary(metrics)["sims_data"]["steady"])


def test_a_teacher_is_marked_by_its_own_record(metrics):
    records = {
        ("mosi_data", "hrlf_teacher", run): {"versions": {"torch": version, "python": "3"}}
        for run, version in (("seed-1111", "2.13.0"), ("seed-1112", "2.14.1"))
    }
    assert results(metrics, records=records).marks[("mosi_data", "hrlf_teacher")] == {"versions": VERSIONS}


RECORDS = {
    ("mosi_data", method, "seed-1111"): {"known_from": text}
    for method, text in (("steady", "its abstract"), ("brittle_one", ""))
}


def test_a_method_that_was_built_without_its_paper_is_marked_by_its_record(metrics):
    source = results(metrics, records=RECORDS)
    assert source.marks == {("mosi_data", "steady"): {"known_from": "its abstract"}}
    note = "¶ steady: built without the paper, from its abstract."
    for name in ("random_missing", "absent"):
        table = marked(frame(name, source, METHODS), source.marks)
        of_mosi = table[table["dataset"] == "mosi_data"]
        assert set(of_mosi.loc[of_mosi["method"] != "steady", "known_from"]) == {""}
        text = markdown(table, name)
        assert "steady ¶" in text and note in text and "¶ Built without the paper of the method" in text
        assert r"steady \P{}" in latex(table, name)
    figure = draw("curve_f1", source, "mosi_data", METHODS)
    assert figure.get_suptitle() == "¶ Built without the paper of the method"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["steady ¶", "brittle_one", FLOOR]
    assert note in report.headline(metrics, source.marks)
    assert summary(metrics, source.marks)["mosi_data"]["steady"]["known_from"] == "its abstract"
    assert "¶" not in markdown(frame("random_missing", results(metrics), METHODS), "random_missing")


def test_marks_leave_the_mark_of_selection_on_test(metrics_on_test):
    source = results(metrics_on_test, made_with=ONE_RUN, accepted=ACCEPTED)
    table = marked(frame("random_missing", source, METHODS), source.marks)
    text = markdown(table, "random_missing")
    assert text.index("Checkpoints chosen on the TEST set") < text.index("different versions") < text.index("accepted")
    figure = draw("curve_f1", source, "mosi_data", METHODS)
    assert figure.get_suptitle().startswith("Checkpoints chosen on the TEST set")
