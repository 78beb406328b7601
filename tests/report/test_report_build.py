import pytest

from elision.errors import ElisionError
from elision.report import build, files


@pytest.fixture(scope="module")
def built(metrics, counted, methods, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    build(metrics, counted, folder, methods=methods, settings={"seeds": [1111, 1112]})
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_exactly_the_declared_files_are_written_and_none_is_empty(built):
    written = contents(built)
    assert set(written) == set(files(["mosi_data", "sims_data"]))
    assert len(written) == 9 + 2 * 8 + 1
    assert all(written.values())


def test_the_same_input_in_another_order_gives_the_same_bytes(built, metrics, counted, methods, tmp_path):
    shuffled = metrics.sample(frac=1, random_state=3), counted.sample(frac=1, random_state=3)
    build(*shuffled, tmp_path, methods=methods, settings={"seeds": [1111, 1112]})
    first, second = contents(built), contents(tmp_path)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_figures_of_the_page_are_the_files(built):
    page = (built / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 8


def test_only_the_methods_given_and_the_floor_are_shown(metrics, counted, tmp_path):
    chosen = metrics[metrics["dataset"] == "sims_data"]
    build(chosen, counted, tmp_path, methods=["brittle_one"], settings={})
    everything = b"".join(body for name, body in contents(tmp_path).items() if not name.endswith("png"))
    assert b"brittle_one" in everything
    assert b"majority" in everything
    assert b"steady" not in everything


def test_methods_without_metrics_are_an_error(metrics, counted, tmp_path):
    with pytest.raises(ElisionError, match="nothing of mult"):
        build(metrics[metrics["method"] == "steady"], counted, tmp_path, methods=["mult"], settings={})
