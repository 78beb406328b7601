import subprocess
import sys
from pathlib import Path

import pytest
from report_results import results

from elision.errors import ElisionError
from elision.evaluation.metrics import family
from elision.report import CURVES, Asked, build, figure_names, files, table_names
from elision.report.figure import all_figures
from elision.report.table import all_tables
from elision.task import TaskKind

REPOSITORY = Path(__file__).parents[2]
ASKED = {
    "emotion_data": Asked(TaskKind.CLASSIFICATION, frozenset({"random", "absent", "combined", "noise"})),
    "mosi_data": Asked(TaskKind.REGRESSION, frozenset({"random", "absent"})),
}


@pytest.fixture(scope="module")
def chosen(metrics):
    return metrics[metrics["dataset"].isin(ASKED)]


@pytest.fixture(scope="module")
def built(chosen, counted, methods, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    build(results(chosen, confusions=counted), folder, methods=methods, settings={"seeds": [1111, 1112]})
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_exactly_the_declared_files_are_written_and_none_is_empty(built):
    written = contents(built)
    assert set(written) == set(files(ASKED))
    assert len(written) == 3 * len(table_names(ASKED)) + 3 * len(figure_names(ASKED)) + len(CURVES) + 1
    assert all(written.values())


def test_what_a_dataset_has_is_known_from_its_metrics(chosen):
    assert results(chosen).asked == ASKED


def test_every_table_and_figure_has_its_words_and_a_file_of_its_own():
    for found in (all_tables(), all_figures()):
        assert list(found) == [each.name for each in found.values()]
        assert all(each.caption and each.section != "More" for each in found.values())


def test_names_of_files_are_those_that_readers_know():
    assert set(table_names(ASKED)) == {
        *("random_missing", "per_rate", "absent", "combined", "noise", "per_class", "pooled", "against_published"),
        "noise_per_set",
        *("cost", "selection", "area", "intervals", "comparisons", "ranks", "kinds", "equity", "robustness"),
    }
    shown = {"absent", "confusion", "training", "learning", "representations", "ranks", "curve_f1"}
    names = {dataset: {name for of, name in figure_names(ASKED) if of == dataset} for dataset in ASKED}
    assert names == {"emotion_data": shown | {"curve_ua", "curve_classes"}, "mosi_data": shown | {"curve_mae"}}
    for dataset, of in (("mosi_data", "mosi"), ("emotion_data", "emotion:a,b")):
        assert f"curve_{family(of).second}" in names[dataset]


def test_files_of_a_kind_that_readers_know_are_there_also_where_nothing_was_tested_and_those_of_others_are_not():
    untested = {"mosi_data": Asked(TaskKind.REGRESSION)}
    assert set(table_names(untested)) == set(table_names(ASKED)) - {"kinds"}  # which compares several
    tested = {"mosi_data": Asked(TaskKind.REGRESSION, frozenset({"burst"}))}
    more = set(files(tested)) - set(files(untested))
    assert {name.split(".")[0] for name in more} == {
        *("tables/burst", "tables/burst_per_level", "tables/burst_area", "tables/burst_selection"),
        *("figures/burst_curve_f1_mosi_data", "figures/burst_curve_mae_mosi_data"),
    }


def test_the_names_of_files_are_known_without_pandas():
    code = (
        "import sys; from elision.report import Asked, files; files({'d': Asked('classification')});"
        "print({'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_same_input_in_another_order_gives_the_same_bytes(built, chosen, counted, methods, tmp_path):
    shuffled = results(chosen.sample(frac=1, random_state=3), confusions=counted.sample(frac=1, random_state=3))
    build(shuffled, tmp_path, methods=methods, settings={"seeds": [1111, 1112]})
    first, second = contents(built), contents(tmp_path)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_figures_of_the_page_are_the_files(built):
    page = (built / "report.html").read_text(encoding="utf-8")
    empty = ("training", "learning", "representations", "ranks")
    drawn = [name for _, name in figure_names(ASKED) if name not in empty]
    assert page.count('<svg role="img"') == len(drawn)  # of the others, these results have nothing to draw
    assert "No training has a history" not in page
    assert "No training has a history" in (built / "figures" / "training_mosi_data.svg").read_text(encoding="utf-8")


def test_only_the_methods_given_and_the_floor_are_shown(metrics, counted, tmp_path):
    chosen = metrics[metrics["dataset"] == "sims_data"]
    build(results(chosen, confusions=counted), tmp_path, methods=["brittle_one"], settings={})
    everything = b"".join(body for name, body in contents(tmp_path).items() if not name.endswith("png"))
    assert b"brittle_one" in everything
    assert b"majority" in everything
    assert b"steady" not in everything


def test_methods_without_metrics_are_an_error(metrics, counted, tmp_path):
    with pytest.raises(ElisionError, match="no rows for mult"):
        build(results(metrics, confusions=counted).only(["steady"]), tmp_path, methods=["mult"], settings={})
