"""The page in headless Chromium."""

import re
import shutil

import numpy as np
import pytest
from report_results import draw, frame, frames

from elision.evaluation.aggregate import FLOOR, statistics
from elision.report import drawing, page

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")

DATASETS = ("emotion_data", "mosi_data")  # mosi_data: checkpoints chosen on test
METHODS = ["steady", "brittle_one", "third", "fourth", "fifth", FLOOR]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS += ["--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def path(five, tmp_path_factory):
    drawn = {
        ("emotion_data", "curve_f1"): draw("curve_f1", five, "emotion_data", METHODS),
        ("mosi_data", "confusion"): draw("confusion", five.only(["fifth"]), "mosi_data", ["fifth"]),
    }
    file = tmp_path_factory.mktemp("browser") / "report.html"
    page.write(
        file,
        results=five,
        methods=METHODS,
        frames=frames(five, METHODS),
        figures={name: drawing.svg(figure) for name, figure in drawn.items()},
        settings={"params": {"seeds": [1111, 1112], "a_long_name": {"digest": "0123456789abcdef" * 8}}},
        title="Robustness under missing data",
    )
    return file


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, path):
    """Open the page with its plots drawn; whatever it says on the console, throws or asks for is an error."""
    contexts, said = [], []

    def open_page(*, width=1280, scripts=True, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts, **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
        shown.goto(path.as_uri())
        return drawn(shown) if scripts else shown

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


MARKS = """(chart) => Object.fromEntries([...chart.querySelectorAll(".series")].map((group) => [
  group.dataset.method,
  [...group.querySelectorAll("path")].map((p) => p.getAttribute("d") + p.getAttribute("transform")).join(" "),
]))"""
SAMPLES = """(labels) => labels.map((label) => [...label.querySelectorAll("path")].map(
  (p) => p.getAttribute("d") + p.getAttribute("stroke-dasharray")
).join(" "))"""
DRAWN = """[...document.querySelectorAll('#charts .pane > svg')].every(
  (plot) => plot.hasAttribute('viewBox') || plot.closest('[hidden]')
)"""
ACTIVE = "(({ activeElement: e }) => e.id || e.value || e.getAttribute('role'))(document)"


def drawn(shown):
    """Wait until all plots are drawn, which they are when their width is known, a frame after they were made."""
    for _ in range(500):  # Playwright's own waiting evaluates text, which the policy of the page forbids
        if shown.evaluate(DRAWN):
            return shown
        shown.wait_for_timeout(20)
    raise AssertionError("the plots are not drawn after 10 seconds")


def marks(shown, chart=0):
    """Outlines and places of the drawn series of a plot, by method."""
    drawn(shown)
    return shown.locator("#charts .chart").nth(chart).evaluate(MARKS)


def values(shown, chart=0):
    """Values that stand beside a plot, by method."""
    drawn(shown)
    rows = shown.locator("#charts .chart").nth(chart).locator("li")
    return dict(zip(rows.locator("span").all_inner_texts(), rows.locator("b").all_inner_texts(), strict=True))


def test_another_metric_dataset_or_method_changes_what_is_drawn(opened):
    shown = opened()
    first = marks(shown)
    assert list(first) == METHODS
    assert len(set(first.values())) == len(METHODS)
    shown.get_by_label("Metric", exact=True).select_option("ua")
    assert all(marks(shown)[method] != first[method] for method in METHODS[:5])
    assert shown.locator("#charts .chart").count() == 5  # random, absent, combined, two kinds of noise
    assert shown.locator("#charts [role=tabpanel]").count() == 4
    shown.get_by_label("Dataset", exact=True).select_option(label="mosi_data")
    assert shown.locator("#charts .chart").count() == 2
    assert shown.locator("#charts [role=tabpanel]").count() == 0  # two kinds follow each other
    assert shown.get_by_label("Metric", exact=True).input_value() == "f1_negpos"
    shown.get_by_role("checkbox", name="third").uncheck()
    assert list(marks(shown)) == [method for method in METHODS if method != "third"]
    shown.get_by_role("button", name="All", exact=True).click()
    assert list(marks(shown)) == METHODS


def test_the_values_beside_a_plot_are_those_of_the_tables(opened, five):
    shown = opened()
    chosen = five.metrics.query("dataset == 'emotion_data' and corruption == 'random' and level == 0.5")
    expected = statistics(chosen[chosen["metric"] == "f1_weighted"]).set_index("method")
    assert values(shown) == {
        method: f"{100 * expected.loc[method, 'mean']:.2f} ± {100 * expected.loc[method, 'std']:.2f}"
        for method in METHODS
    }
    assert list(values(shown))[-1] == FLOOR
    shown.get_by_label("Bands", exact=True).select_option("interval")
    row = five.intervals.query("dataset == 'emotion_data' and corruption == 'random' and level == 0.5")
    row = row[(row["method"] == "steady") & (row["metric"] == "f1_weighted")].iloc[0]
    assert values(shown)["steady"].endswith(f"[{100 * row.low:.2f}, {100 * row.high:.2f}]")


def test_bands_are_what_is_chosen(opened):
    shown = opened()
    bands = shown.locator("#charts .chart").first.locator(".band")
    edges = set()
    for choice, count in (("std", 6), ("interval", 6), ("none", 0)):
        shown.get_by_label("Bands", exact=True).select_option(choice)
        drawn(shown)
        assert bands.count() == count
        edges.add(bands.nth(0).get_attribute("d") if count else "")
    assert len(edges) == 3


def test_a_plot_is_read_with_the_keyboard_and_with_the_pointer(opened):
    shown = opened()
    plot = shown.get_by_role("slider").first
    assert plot.get_attribute("aria-valuetext").startswith("missing rate 0.5: fifth ")
    plot.focus()
    shown.keyboard.press("ArrowRight")
    assert plot.get_attribute("aria-valuenow") == "6"
    assert shown.locator(".values p").first.inner_text() == "missing rate 0.6"
    shown.keyboard.press("Home")
    assert plot.get_attribute("aria-valuetext").startswith("missing rate 0: ")
    rule = shown.locator(".rule").first.get_attribute("transform")
    box = plot.bounding_box()
    for y in (60, 62, 64):  # the page may still be scrolling at the first
        plot.hover(position={"x": box["width"] - 20, "y": y})
    playwright.expect(plot).to_have_attribute("aria-valuenow", "9")  # the page hears of the pointer a moment later
    assert shown.locator(".rule").first.get_attribute("transform") != rule
    assert "missing rate r 0.9: " in shown.locator(".series title").nth(9).text_content()


def test_methods_differ_without_colour(opened):
    shown = opened()
    looks = shown.locator("#methods label").evaluate_all(SAMPLES)
    assert len(set(looks)) == len(METHODS)


def test_tables_sort_by_click_and_by_keyboard_with_what_is_undefined_last(opened, five):
    shown = opened()
    table = shown.get_by_role("table", name="Random missing: mean over the missing rates (mosi_data")
    names = table.locator("tbody th")
    assert names.all_inner_texts() == METHODS
    mae = table.get_by_role("button", name="MAE")
    mae.click()
    column = mae.locator("..")
    assert column.get_attribute("aria-sort") == "ascending"
    rows = frame("random_missing", five, METHODS).query("dataset == 'mosi_data'").sort_values("mae_mean")
    assert names.all_inner_texts() == list(rows["method"])
    mae.focus()
    shown.keyboard.press("Enter")
    assert column.get_attribute("aria-sort") == "descending"
    assert names.all_inner_texts() == list(rows["method"])[::-1]
    corr = table.get_by_role("button", name="Corr")
    for key in ("Space", "Space"):
        corr.focus()
        shown.keyboard.press(key)
        assert set(names.all_inner_texts()[-2:]) == {"brittle_one", FLOOR}


def test_the_confusion_matrices_are_of_the_chosen_method(opened, five):
    shown = opened()
    method = shown.get_by_label("Method", exact=True)
    assert method.input_value() == "fifth"
    assert shown.locator("#matrices caption").all_inner_texts() == [f"r = {r}, 4 classes" for r in (0, 0.1, 0.5, 0.9)]
    method.select_option(FLOOR)
    counts = [
        int(text) for text in shown.locator("#matrices table").last.locator("td").all_inner_texts()[1 + 0 :] if text
    ]
    assert sum(counts) == 2 * 2 * 30
    assert sorted(counts)[:12] == [0] * 12  # one column alone
    shown.get_by_label("Dataset", exact=True).select_option(label="mosi_data")
    assert shown.locator("#matrices table").count() == 2 * 4
    assert method.input_value() == FLOOR


def test_the_mark_of_selection_on_test_follows_the_dataset(opened):
    shown = opened()
    mark = shown.locator("#explorer .warning")
    assert not mark.is_visible()
    shown.get_by_label("Dataset", exact=True).select_option(label="mosi_data")
    assert mark.inner_text() == "mosi_data: checkpoints chosen on the TEST set."


def test_the_tab_key_reaches_all_controls_in_their_order(opened):
    shown = opened()
    reached = []
    for _ in range(28):
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate(ACTIVE))
    controls = [
        "dataset",
        "metric",
        "spread",
        "scores",
        *METHODS,
        "best",
        "every",
        "charts-tab-0",
        "slider",
        "confused",
    ]
    start = reached.index("dataset")
    assert reached[start : start + len(controls)] == controls


def test_scores_are_shown_relative_to_complete_data_in_curves_and_tables(opened, five):
    shown = opened()
    shown.get_by_label("Dataset", exact=True).select_option(label="mosi_data")
    table = shown.get_by_role("table", name="Random missing, rate by rate (mosi_data")
    block = table.locator("tbody", has=shown.get_by_role("button", name="MAE"))
    cells = block.locator("tr", has=shown.get_by_role("rowheader", name="steady")).locator("td")
    written = cells.all_inner_texts()
    scores = frame("per_rate", five, METHODS).query("dataset == 'mosi_data' and method == 'steady'")
    means = scores.sort_values("level")["mae_mean"].to_numpy()
    note = block.locator("xpath=ancestor::figure").locator(".view")
    assert not note.is_visible()
    shown.get_by_label("Scores").select_option("relative")
    assert [text.replace("\xa0", " ") for text in cells.all_inner_texts()] == [
        f"{v:.1f} %" for v in 100 * means / means[0]
    ]
    assert note.is_visible()
    shown.get_by_label("Metric", exact=True).select_option("mae")
    assert values(shown)["steady"].startswith(f"{100 * means[5] / means[0]:.1f} ± ")
    assert "% of the score on complete data" in shown.locator("#charts figcaption").first.inner_text()
    shown.get_by_label("Metric", exact=True).select_option("corr")
    assert FLOOR not in values(shown)  # it has no score on complete data
    shown.get_by_label("Scores").select_option("absolute")
    assert cells.all_inner_texts() == written
    assert FLOOR in values(shown)


def test_a_title_folds_its_rows_and_what_is_no_score_is_folded_at_first(opened):
    shown = opened()
    table = shown.get_by_role("table", name="Random missing, rate by rate (emotion_data")
    for name, is_open in (("WA", True), ("One-class share", False), ("Entropy ratio", False)):
        button = table.get_by_role("button", name=name, exact=False)
        inside = shown.get_by_role("button", name=name, exact=False)
        rows = table.locator("tbody", has=inside).locator("tr:not(.group)")
        for expected in (is_open, not is_open):
            assert button.get_attribute("aria-expanded") == str(expected).lower()
            assert rows.first.is_visible() == expected
            button.click()
    plain = opened(scripts=False)
    assert all(row.is_visible() for row in plain.locator(".parts > figure.table > .tables tbody tr").all()[:40])


KINDS = ["Random missing", "Absent modalities", "Absent modalities and random missing", "Noise"]


def test_more_than_two_kinds_are_tabs_of_which_one_is_shown(opened):
    shown = opened()
    bars = shown.get_by_role("tablist")
    assert [bar.get_attribute("aria-label") for bar in bars.all()] == [
        "Curves: kinds of corruption",
        "emotion_data: kinds of corruption",  # mosi_data has two kinds
    ]
    tabs = bars.last.get_by_role("tab")
    assert tabs.all_inner_texts() == KINDS
    for key, at in (("", 0), ("ArrowRight", 1), ("End", 3), ("ArrowRight", 0), ("ArrowLeft", 3), ("Home", 0)):
        if key:
            shown.keyboard.press(key)
            assert tabs.nth(at).evaluate("(tab) => tab === document.activeElement")
        else:
            tabs.nth(2).click()
            tabs.nth(at).click()
        assert [tab.get_attribute("aria-selected") for tab in tabs.all()] == [str(i == at).lower() for i in range(4)]
        assert [tab.get_attribute("tabindex") for tab in tabs.all()] == ["0" if i == at else "-1" for i in range(4)]
        for i, tab in enumerate(tabs.all()):
            part = shown.locator(f"#{tab.get_attribute('aria-controls')}")
            assert part.get_attribute("aria-labelledby") == tab.get_attribute("id")
            assert bool(part.bounding_box()["height"]) == (i == at)


def test_the_kind_of_the_curves_stays_when_something_else_is_chosen(opened):
    shown = opened()
    shown.get_by_role("tablist").first.get_by_role("tab", name="Noise").click()
    visible = "(all) => all.filter((e) => !e.closest('[hidden]')).map((e) => e.querySelector('b').textContent)"
    for choice in ("f1_weighted", "ua"):
        shown.get_by_label("Metric", exact=True).select_option(choice)
        drawn(shown)
        assert shown.locator("#charts .chart").evaluate_all(visible) == [
            f"{name} noise (mean over the sets of modalities)" for name in ("Gaussian", "Impulse")
        ]
    assert len(marks(shown, chart=3)) == len(METHODS)


def test_a_search_in_the_page_opens_the_part_where_the_text_is(opened):
    shown = opened()
    part = shown.locator(".tabs [role=tabpanel]").last
    assert part.get_attribute("hidden") == "until-found"
    part.dispatch_event("beforematch")
    assert part.get_attribute("hidden") is None
    assert shown.locator(".tabs [role=tab]").last.get_attribute("aria-selected") == "true"


def test_without_script_the_kinds_follow_each_other_under_their_headings(opened):
    shown = opened(scripts=False)
    parts = shown.locator(".tabs > section")
    assert [part.locator("h3").inner_text() for part in parts.all()] == KINDS
    assert all(part.locator("table").first.is_visible() for part in parts.all()[:2])
    assert shown.locator("[role=tab]").count() == 0


def test_the_matrix_of_kinds_is_coloured_by_value_and_sorts(opened, five):
    shown = opened(reduced_motion="reduce")
    table = shown.get_by_role("table", name="Methods under each kind of corruption").first
    assert table.locator("thead th").all_inner_texts()[1:] == KINDS
    block = table.locator("tbody").first
    share = "parseFloat(e.style.getPropertyValue('--share'))"
    colours = f"(all) => all.map((e) => [+e.dataset.value, {share}, getComputedStyle(e).backgroundColor])"
    cells = sorted(block.locator("td[style]").evaluate_all(colours))
    assert len(cells) == len(METHODS) * len(KINDS)
    assert cells[0][1] == 0 and cells[-1][1] == 100
    assert [share for _, share, _ in cells] == sorted(share for _, share, _ in cells)
    assert len({colour for *_, colour in cells}) > len(cells) / 2
    table.get_by_role("button", name="Noise").click()
    values = [
        float(v) for v in block.locator("td:nth-child(5)").evaluate_all("(all) => all.map((e) => e.dataset.value)")
    ]
    assert values == sorted(values, reverse=True)
    ink = block.locator("td[style]").first.evaluate("(e) => getComputedStyle(e).color")
    assert min(contrast(ink, colour) for *_, colour in cells) > 4.5


def contrast(*colours):
    """The ratio of the luminances of two colours, as WCAG defines the contrast."""
    lights = []
    for colour in colours:
        parts = np.array([float(v) for v in re.findall(r"[\d.]+", colour)[:3]])
        parts = parts / 255 if colour.startswith("rgb") else parts
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(lights) / min(lights)


@pytest.mark.parametrize("width", [390, 1280])
def test_captions_and_notes_fit_into_the_window_and_wide_tables_scroll_alone(opened, width):
    shown = opened(width=width)
    shown.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for part in shown.locator("figure.table figcaption, figure.table .notes, figure.table .fold").all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, part.inner_text()


def test_the_open_tables_fit_into_a_window_of_1280_pixels(opened):
    shown = opened()
    tables = shown.locator(".parts > figure.table .scroll")
    wide = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
    assert tables.count() > 10 and tables.evaluate_all(wide) == []
    for tab in shown.locator(".tabs [role=tab]").all():
        tab.click()
        shown.wait_for_timeout(50)  # deviations go under their numbers a frame after the table is shown
        assert tables.evaluate_all(wide) == []
    # A deviation stands beside its number or under it in all cells of a table.
    stacked = shown.locator("table.stacked td small").evaluate_all(
        "(all) => all.map((e) => getComputedStyle(e).display)"
    )
    assert set(stacked) <= {"block"}


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    shown = opened(width=width)
    for name in DATASETS:
        shown.get_by_label("Dataset", exact=True).select_option(label=name)
        shown.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        for box in [
            item.bounding_box() for item in shown.locator("select, #methods input, .pane, .picks button").all()
        ]:
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_dark_mode_is_dark_and_readable(opened):
    colours = {}
    for scheme in ("light", "dark"):
        shown = opened(color_scheme=scheme)
        style = "(e) => { const s = getComputedStyle(e); return [s.backgroundColor, s.color]; }"
        ground, ink = (
            np.array([int(v) for v in text[4:-1].split(",")]).mean() for text in shown.locator("body").evaluate(style)
        )
        stroke = shown.locator(f".series[data-method={FLOOR}] .curve").first.evaluate(
            "(e) => getComputedStyle(e).stroke"
        )
        colours[scheme] = (ground, ink, np.array([int(v) for v in stroke[4:-1].split(",")]).mean())
    assert colours["light"][0] > 240 and max(colours["light"][1:]) < 60
    assert colours["dark"][0] < 40 and min(colours["dark"][1:]) > 200


def test_print_shows_the_drawn_figures_and_what_was_folded_up(opened):
    shown = opened()
    folded = shown.locator("details").first
    assert not folded.evaluate("(details) => details.open")
    pdf = shown.pdf()
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000
    assert not folded.evaluate("(details) => details.open")  # as before
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown.emulate_media(media="print")
    assert not shown.locator("#explorer").is_visible()
    assert all(figure.is_visible() for figure in shown.locator(".plot svg").all())
    assert shown.locator(".plot svg").count() == 2
    assert not shown.locator("[role=tablist]").first.is_visible()
    assert all(heading.is_visible() for heading in shown.locator("main h3").all()[1:])
    assert all(table.bounding_box()["height"] for table in shown.locator(".tabs table").all())


def test_without_script_there_are_the_drawn_figures(opened):
    shown = opened(scripts=False)
    assert not shown.locator("#explorer").is_visible()
    assert shown.locator(".plot svg").first.is_visible()
    assert shown.get_by_text("On average over").first.is_visible()
