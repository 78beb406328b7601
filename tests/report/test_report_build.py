import subprocess
import sys
from pathlib import Path

import pytest
from report_results import results

from elision import report
from elision.errors import ElisionError
from elision.evaluation.metrics import family
from elision.report import build, figure_kinds, files, page, tables
from elision.task import TaskKind

REPOSITORY = Path(__file__).parents[2]
TASKS = {"emotion_data": TaskKind.CLASSIFICATION, "mosi_data": TaskKind.REGRESSION}


@pytest.fixture(scope="module")
def chosen(metrics):
    return metrics[metrics["dataset"].isin(TASKS)]


@pytest.fixture(scope="module")
def built(chosen, counted, methods, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    build(results(chosen, confusions=counted), folder, methods=methods, settings={"seeds": [1111, 1112]})
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_exactly_the_declared_files_are_written_and_none_is_empty(built):
    written = contents(built)
    assert set(written) == set(files(TASKS))
    kinds = sum(len(figure_kinds(task)) for task in TASKS.values())
    assert len(written) == 3 * len(report.TABLES) + 3 * kinds + len(report.CURVES) + 1
    assert all(written.values())


def test_what_is_written_is_named_once_and_has_captions():
    assert report.TABLES == tuple(tables.TABLES) == tuple(tables.CAPTIONS)
    kinds = {task: figure_kinds(task) for task in TaskKind}
    assert set().union(*kinds.values()) == set(page.FIGURES)
    assert f"curve_{family('mosi').second}" in kinds[TaskKind.REGRESSION]
    assert f"curve_{family('emotion:a,b').second}" in kinds[TaskKind.CLASSIFICATION]


def test_the_names_of_files_are_known_without_pandas():
    code = (
        "import sys; from elision.report import files; files({'d': 'classification'}); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_same_input_in_another_order_gives_the_same_bytes(built, chosen, counted, methods, tmp_path):
    shuffled = results(chosen.sample(frac=1, random_state=3), confusions=counted.sample(frac=1, random_state=3))
    build(shuffled, tmp_path, methods=methods, settings={"seeds": [1111, 1112]})
    first, second = contents(built), contents(tmp_path)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_figures_of_the_page_are_the_files(built):
    page = (built / "report.html").read_text(encoding="utf-8")
    assert page.count('<svg role="img"') == sum(len(figure_kinds(task)) for task in TASKS.values())


def test_only_the_methods_given_and_the_floor_are_shown(metrics, counted, tmp_path):
    chosen = metrics[metrics["dataset"] == "sims_data"]
    build(results(chosen, confusions=counted), tmp_path, methods=["brittle_one"], settings={})
    everything = b"".join(body for name, body in contents(tmp_path).items() if not name.endswith("png"))
    assert b"brittle_one" in everything
    assert b"majority" in everything
    assert b"steady" not in everything


def test_methods_without_metrics_are_an_error(metrics, counted, tmp_path):
    with pytest.raises(ElisionError, match="nothing of mult"):
        build(results(metrics, confusions=counted).only(["steady"]), tmp_path, methods=["mult"], settings={})
