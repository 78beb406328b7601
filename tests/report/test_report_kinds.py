"""A kind of corruption has its place everywhere in a report, and nothing but its own words tells it from others."""

from dataclasses import replace

import pandas as pd
import pytest
from report_results import TABLES, blocks, draw, frame, markdown, results

from elision.corruption.kind import kind_of, kinds
from elision.evaluation.aggregate import FLOOR, aggregate, confusions, summary
from elision.evaluation.significance import significance
from elision.report import CURVES, build, charts
from elision.report.findings import findings
from elision.report.headlines import headline, headlines
from elision.report.words import conditions, named, title
from elision.settings.params import Statistics

METHODS = ["steady", "brittle_one", FLOOR]
TO_BURST = {"random": "burst", "mean_random": "mean_burst", "area_random": "area_burst"}
TABLES_OF = {"random_missing": "burst", "per_rate": "burst_per_level", "area": "burst_area"}


def renamed(table):
    return table.assign(corruption=table["corruption"].replace(TO_BURST))


@pytest.fixture(scope="module")
def random(inputs_of):
    """Results of one dataset under missing rates and absent modalities."""
    given = inputs_of(datasets=("mosi_data",))
    ids = pd.DataFrame({"id": given[0][-1]["id"].unique()})
    intervals, comparisons = significance(given, {"mosi_data": ids}, Statistics(resamples=100))
    return results(aggregate(given), confusions=confusions(given), intervals=intervals, comparisons=comparisons)


@pytest.fixture(scope="module")
def burst(random):
    """The same numbers, under spans in place of single positions."""
    tables = {name: renamed(getattr(random, name)) for name in ("metrics", "intervals", "comparisons")}
    return replace(random, **tables)


@pytest.fixture(scope="module")
def both(random, burst):
    """Under both."""
    tables = {}
    for name in ("metrics", "intervals", "comparisons"):
        pair = pd.concat([getattr(random, name), getattr(burst, name)], ignore_index=True)
        tables[name] = pair.drop_duplicates(ignore_index=True)
    return replace(random, **tables)


def test_the_same_numbers_give_the_same_tables_whatever_the_kind(random, burst, both):
    for name, other in TABLES_OF.items():
        expected = frame(name, random, METHODS)
        assert len(expected)
        for source in (burst, both):
            pd.testing.assert_frame_equal(frame(other, source, METHODS), expected, check_exact=True)
        assert frame(name, burst, METHODS).empty and frame(other, random, METHODS).empty
        assert [b.columns for b in blocks(other, expected)] == [b.columns for b in blocks(name, expected)]


def test_captions_say_what_is_missing(both):
    expected = {
        "burst": "Bursts missing: mean over the missing rates",
        "burst_per_level": "Bursts missing, rate by rate",
        "burst_area": "Bursts missing: Area under the metric over the missing rates (AUILC)",
    }
    for name, caption in expected.items():
        assert markdown(frame(name, both, METHODS), name).startswith(f"# {caption}\n")


def test_intervals_and_differences_have_a_block_of_its_summaries(random, both):
    found = frame("intervals", both, METHODS).set_index("condition")
    assert list(found.index.unique()) == ["random", "burst", "mean"]
    pd.testing.assert_frame_equal(found.loc["random"].reset_index(drop=True), found.loc["burst"].reset_index(drop=True))
    titles = [block.title for block in blocks("comparisons", frame("comparisons", both, METHODS))]
    assert titles == [
        "random missing, mean over 10 rates",
        "bursts missing, mean over 10 rates",
        "mean over the 6 sets of absent modalities",
        "area over the missing rates (AUILC)",
        "bursts missing, area over the missing rates (AUILC)",
    ]


def test_ranks_count_complete_data_once(random, both):
    assert set(frame("ranks", random, METHODS)["conditions"]) == {10 + 6}
    assert set(frame("ranks", both, METHODS)["conditions"]) == {10 + 9 + 6}


def test_the_first_kind_that_was_tested_ranks_the_methods(random, burst, both):
    ranked = headlines(burst.metrics)
    assert set(ranked["corruption"]) == {"absent"}  # of a lower rank
    alone = burst.metrics[burst.metrics["corruption"] == "burst"]
    expected = headlines(random.metrics)
    pd.testing.assert_frame_equal(headlines(alone).assign(corruption="random"), expected)
    assert headline(alone) == headline(random.metrics) == headline(both.metrics)
    assert summary(alone) == summary(random.metrics)


def test_findings_are_told_of_each_kind(random, both):
    plain, more = (
        dict(findings(source, "mosi_data", frames={n: make(source, METHODS) for n, make in TABLES.items()})[1])
        for source in (random, both)
    )
    assert set(more) - set(plain) == {f"Down to {FLOOR}, bursts missing", "Lazy behaviour, bursts missing"}
    assert more[f"Down to {FLOOR}, bursts missing"] == plain[f"Down to {FLOOR}"]
    assert more["Loss"][:2] == [plain["Loss"][0], f"Bursts missing: {plain['Loss'][0]}"]


def test_curves_have_panels_and_plots_of_their_own(random, burst, both):
    curve = CURVES["missing_rate"]
    mine = curve(burst, METHODS)
    assert set(mine["panel"]) == {"mosi_data: F1 neg/pos ↑, bursts missing", "mosi_data: MAE ↓, bursts missing"}
    expected = curve(random, METHODS)
    pd.testing.assert_frame_equal(mine.drop(columns="panel"), expected.drop(columns="panel"), check_exact=True)
    assert len(curve(both, METHODS)) == 2 * len(expected)
    plots = {plot["title"]: plot for plot in charts.data(both, METHODS)["datasets"][0]["plots"]}
    assert list(plots) == ["Random missing", "Whole modalities absent", "Bursts missing"]
    assert plots["Bursts missing"]["series"] == plots["Random missing"]["series"]
    assert plots["Bursts missing"]["x"] == "missing rate r"


def test_its_figures_are_those_of_the_same_numbers(random, burst):
    first, second = (
        draw(name, source, "mosi_data", METHODS).axes[0].get_lines()
        for name, source in (("curve_mae", random), ("burst_curve_mae", burst))
    )
    assert [line.get_xydata().tolist() for line in first] == [line.get_xydata().tolist() for line in second]
    assert "No bursts-missing condition" in draw("burst_curve_mae", random, "mosi_data", METHODS).texts[0].get_text()


def test_confusion_matrices_are_of_the_first_kind_of_levels(inputs_of):
    given = inputs_of(datasets=("mosi_data",), seeds=(1111,))
    spans = [(*names, renamed(table)) for *names, table in given]
    pd.testing.assert_frame_equal(confusions(spans), confusions(given))


def test_the_page_and_its_files_have_it(both, tmp_path, monkeypatch):
    monkeypatch.setattr("elision.report.drawing.write", lambda figure, stem: "")  # figures have tests of their own
    build(both, tmp_path, methods=METHODS, settings={})
    tables = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {f"{name}.{ending}" for name in TABLES_OF.values() for ending in ("csv", "md", "tex")} <= tables
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for word in ("<h3>Bursts missing</h3>", "<dt>Bursts missing</dt>", "Bursts missing, rate by rate (mosi_data)"):
        assert word in text
    spans = kinds()["burst"]
    assert f"<dd>{spans.about} Evaluated: mosi_data at 0, 0.1, " in text


def test_every_condition_has_a_name_of_its_own_and_words():
    assert len(conditions()) == len({title(name, 7) for name in conditions()})
    for name, (corruption, _) in conditions().items():
        assert kind_of(corruption).corruptions[corruption]
        assert name and title(name, 7)
    assert named("impulse") == "Impulse noise"
