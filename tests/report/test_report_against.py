"""Our numbers beside published ones."""

import numpy as np
import pytest
from report_results import blocks, latex, markdown, notes, results

from elision.evaluation.aggregate import FLOOR, aggregate
from elision.published import AREAS, load
from elision.report.against import COLUMNS, against_published
from elision.report.marks import ON_TEST
from elision.report.text import csv

METHODS = ["tuned", "self_mm", "new_idea", FLOOR]
FILES = {"tuned": "lnln"}


def record(method, **changes):
    spec = {"encoder": "bert-base-uncased", "audio": 5, "vision": 20} | changes.pop("spec", {})
    settings = {"overrides": {"epochs": 4} if method == "tuned" else {}}
    values = {"method": FILES.get(method, method), "spec": spec, "present": ["text", "audio", "vision"]}
    return values | {"provenance": {"settings": settings}} | changes


def made(inputs, *, datasets=("mosi_data",), protocol="elision", lnln=False, **changes):
    tables_of = inputs(methods=METHODS, datasets=datasets)
    metrics = aggregate(tables_of, protocols=dict.fromkeys(datasets, "lnln" if lnln else "elision"))
    runs = {(d, m, f"seed-{s}"): record(m, **changes) for d in datasets for m in METHODS for s in (1111, 1112)}
    corpora = {"mosi_data": "mosi", "sims_data": "sims", "emotion_data": "iemocap"}
    published = {name: corpora[name] for name in datasets}
    return results(metrics, published=published, protocols=dict.fromkeys(datasets, protocol), records=runs)


@pytest.fixture(scope="module")
def here(inputs_of):
    return made(inputs_of)


@pytest.fixture(scope="module")
def table(here):
    return against_published(here, METHODS)


def rows(table, **where):
    return table[np.logical_and.reduce([table[column] == value for column, value in where.items()])]


def test_what_stands_there_is_ours_theirs_and_their_difference(here, table):
    row = rows(table, method="self_mm", source="lnln", corruption="random", level=0.3, metric="mae").iloc[0]
    own = here.metrics.query("method == 'self_mm' and corruption == 'random' and level == 0.3 and metric == 'mae'")
    assert row["ours"] == pytest.approx(own["value"].mean())
    assert row["std"] == pytest.approx(own["value"].std())
    assert row["theirs"] == 0.967
    assert row["difference"] == pytest.approx(row["ours"] - 0.967)
    assert (table["difference"] == table["ours"] - table["theirs"]).all()


def test_averages_are_over_the_printed_conditions(here, table):
    for corruption, mean, count in (("random", "mean_random", 10), ("absent", "mean_absent", 6)):
        own = here.metrics.query("method == 'self_mm' and corruption == @corruption and metric == 'acc5'")
        own = own[own["modalities"] != ""] if corruption == "absent" else own
        row = rows(table, method="self_mm", source="lnln", corruption=mean, metric="acc5").iloc[0]
        assert row["ours"] == pytest.approx(own["value"].mean())
        assert row["conditions"] == count


def test_only_what_is_on_both_sides_is_there(table):
    assert set(table["method"]) == {"tuned", "self_mm"}
    assert set(table["source"]) == {"lnln", "hrlf"}
    assert rows(table, source="hrlf")["metric"].unique().tolist() == ["f1_negpos"]
    printed = load().query("dataset == 'mosi' and method in ('lnln', 'self_mm') and corruption not in @AREAS")
    assert len(table) == len(printed)
    assert table.columns.tolist() == COLUMNS


def test_an_average_is_left_out_where_one_of_its_conditions_was_not_run(here):
    fewer = here.metrics.query("not (corruption == 'random' and level == 0.4) and modalities != 'text+audio'")
    table = against_published(results(fewer, published=here.published, records=here.records), METHODS)
    assert not table["corruption"].str.startswith("mean_").any()
    assert 0.4 not in set(table["level"])
    assert 0.3 in set(table["level"])


def test_a_variant_is_beside_the_numbers_of_its_method_and_says_what_it_changes(table):
    own = rows(table, method="tuned", source="lnln")
    assert set(own["printed"]) == {"LNLN"}
    assert set(own["differs"]) == {"epochs: 4"}
    assert set(rows(table, method="self_mm", source="lnln")["differs"]) == {""}


def test_other_inputs_are_named(inputs_of):
    here = made(inputs_of, spec={"encoder": "minilm", "audio": 33}, present=["text", "audio"])
    table = against_published(here, METHODS)
    differs = rows(table, method="self_mm", source="lnln")["differs"].iloc[0]
    assert differs == "text encoder minilm, theirs bert-base-uncased; 33 audio features, theirs 5; no vision"
    assert "Differences from LNLN: self_mm: text encoder minilm" in " ".join(notes("against_published", table))


def test_numbers_of_other_features_are_called_not_comparable_beside_the_number(inputs_of, table):
    other = against_published(made(inputs_of, spec={"encoder": "minilm"}), METHODS)
    assert table["comparable"].all() == (set(table["source"]) == {"lnln"})
    own = rows(table, source="lnln")
    assert own["comparable"].all() and not other["comparable"].any()
    # Hyperparameters of a variant are told, but are no other features.
    assert set(rows(own, method="tuned")["differs"]) == {"epochs: 4"}
    for found, told in ((own, False), (rows(other, source="lnln"), True)):
        cells = {
            label: [cell for cell in cells if cell.text]
            for block in blocks("against_published", found)
            for label, cells in block.rows
        }
        printed = [cell for label, of in cells.items() if "printed" in label for cell in of]
        assert printed and all(("not comparable" in cell.text) == told for cell in printed)
        assert any(label.endswith(": difference") for label in cells) != told
        assert any(note.startswith("not comparable: ") for note in notes("against_published", found)) == told
    assert other["difference"].notna().all()  # the csv file has it


def test_no_column_of_a_printed_table_is_empty(table):
    shown = blocks("against_published", table)
    assert len({tuple(block.columns) for block in shown}) > 1
    for block in shown:
        assert all(any(cells[i].text for _, cells in block.rows) for i in range(len(block.columns)))


def test_runs_without_a_record_are_of_unknown_make(here):
    table = against_published(results(here.metrics, published=here.published), METHODS)
    assert set(table["differs"]) == {"unknown: the runs have no record"}


def test_another_protocol_stands_in_every_row_and_in_a_note(table):
    labels = [label for block in blocks("against_published", table) for label, _ in block.rows]
    assert "self_mm: ours (elision)" in labels
    assert "self_mm: Self-MM, printed (lnln)" in labels
    assert any("Protocol lnln, NOT the same as ours (elision)." in note for note in notes("against_published", table))


def test_the_same_protocol_is_called_the_same(inputs_of):
    table = against_published(made(inputs_of, protocol="lnln"), METHODS)
    assert any("Protocol lnln, the same as ours." in note for note in notes("against_published", table))
    assert any("Protocol hrlf, NOT the same as ours (lnln)." in note for note in notes("against_published", table))


def test_an_erratum_is_marked_and_said(table):
    f1 = rows(table, method="tuned", source="lnln", corruption="mean_random", metric="f1_negpos").iloc[0]
    assert (f1["theirs"], f1["erratum"]) == (0.7273, "arguments of F1 swapped: too high (found by us)")
    block = next(
        b for b in blocks("against_published", table) if b.title == "LNLN, Table 2: random missing, mean over 10 rates"
    )
    cells = dict(zip(block.columns, dict(block.rows)["tuned: LNLN, printed (lnln)"], strict=True))
    assert cells["F1 neg/pos ↑"].text == "72.73†"
    assert cells["Acc-7 ↑"].text == "34.26"
    assert any(note.startswith("† LNLN in LNLN, table") for note in notes("against_published", table))


def test_a_corrected_number_stands_beside_the_printed_one(inputs_of):
    here = made(inputs_of, datasets=("sims_data",))
    table = against_published(here, METHODS)
    row = rows(table, method="tuned", corruption="mean_random", metric="f1").iloc[0]
    assert (row["theirs"], row["corrected"]) == (0.7943, 0.6918)
    assert "79.43† (corrected: 69.18; not comparable)" in markdown(table, "against_published")


def test_an_f1_that_was_printed_swapped_is_beside_ours_with_swapped_arguments_too(inputs_of):
    table = against_published(made(inputs_of, protocol="lnln", lnln=True), METHODS)
    where = {"method": "tuned", "source": "lnln", "corruption": "mean_random"}
    right, swapped = (rows(table, **where, metric=name).iloc[0] for name in ("f1_negpos", "f1_negpos_swapped"))
    assert right["theirs"] == swapped["theirs"] == 0.7273
    assert right["ours"] != swapped["ours"]
    assert not rows(table, method="self_mm", metric="f1_negpos_swapped").size


def test_folds_and_classes_are_compared_too(inputs_of):
    here = made(inputs_of, datasets=("emotion_data",))
    metrics = here.metrics.replace({"method": {"self_mm": "mmin"}})
    table = against_published(results(metrics, published=here.published), ["mmin", "tuned"])
    assert rows(table, source="mmin")["metric"].unique().tolist() == ["ua"]
    assert len(rows(table, source="mmin")) == 6
    assert set(rows(table, source="mmin")["folds"]) == {2}


def test_text_shows_averages_and_complete_data_and_the_csv_file_everything(table):
    titles = [block.title for block in blocks("against_published", table)]
    assert titles == [
        "LNLN, Table 2: random missing, mean over 10 rates",
        "LNLN, Table 9: nothing missing",
        "LNLN, Table 11: mean over the 6 sets of absent modalities",
        "HRLF, main: mean over the 6 sets of absent modalities",
        "HRLF, main: nothing missing",
    ]
    columns = [block.columns for block in blocks("against_published", table)]
    assert {len(of) for of in columns[:3]} == {8}
    assert columns[3:] == [["F1 neg/pos ↑"]] * 2, "HRLF prints one number for a condition"
    assert csv(table).count("\n") == len(table) + 1
    single = table[table["corruption"].eq("absent") & table["level"].eq(1)]
    titles = [block.title for block in blocks("against_published", single)]
    assert "LNLN, Table 13: text and audio absent (vision present)" in titles


def test_what_stands_alone_is_counted(table):
    total = int((load()["dataset"] == "mosi").sum())
    assert notes("against_published", table)[-2:] == [
        f"{total - len(table)} of {total} printed numbers of mosi have no number of ours: the method or the "
        "condition was not run.",
        "64 of these numbers are areas over missing rates, with a model trained at each rate. Our runs have one model "
        "for all rates, and are not compared with these areas.",
    ]


@pytest.mark.parametrize("name", AREAS)
def test_areas_of_models_trained_at_each_rate_are_never_beside_ours(here, name):
    complete = here.metrics[here.metrics["corruption"].eq("random") & here.metrics["level"].eq(0)]
    metrics = complete.assign(corruption=name, level=1.0, modalities="")
    table = against_published(results(metrics, published=here.published), METHODS)
    assert table.empty


def test_every_kind_of_text_is_written(table):
    assert "| self_mm: difference " in markdown(table, "against_published")
    text = latex(table, "against_published")
    assert r"72.73$^\dagger$" in text
    assert "−" not in text
    assert "†" not in text


@pytest.mark.parametrize("published", [{}, {"elsewhere": "mosi"}, {"mosi_data": "mer2024"}])
def test_without_anything_to_compare_with_there_is_a_sentence_that_says_why(metrics, published):
    table = against_published(results(metrics, published=published), METHODS)
    assert table.empty
    assert table.columns.tolist() == COLUMNS
    assert "No comparison: no dataset sets" in markdown(table, "against_published")
    assert "% No comparison: no dataset sets" in latex(table, "against_published")
    assert csv(table) == ",".join(COLUMNS) + "\n"


def test_checkpoints_chosen_on_test_are_marked(inputs_of):
    metrics = aggregate(inputs_of(on_test=True, methods=METHODS, datasets=("mosi_data",)))
    table = against_published(results(metrics, published={"mosi_data": "mosi"}), METHODS)
    assert set(table["checkpoints"]) == {"TEST"}
    assert ON_TEST in notes("against_published", table)[0].lower().replace("test", "TEST")
