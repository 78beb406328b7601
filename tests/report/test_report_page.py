import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from report_results import blocks, draw, frame, frames, results

from elision.evaluation.aggregate import FLOOR
from elision.report import drawing, page

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input"}


class Document(HTMLParser):
    """Collects elements and text, and checks that every element is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


SETTINGS = {
    "selection": "valid",
    "seeds": [1111, 1112],
    "methods": [{"name": "steady", "method": "lnln"}, {"name": "<script>alert(1)</script>", "method": "tfn"}],
}
RECORDS = {
    ("mosi_data", "steady", f"seed-{seed}"): {
        "seed": seed,
        "parameters": 115968769,
        "seconds_per_epoch": 1.25,
        "hyperparameters": {"epochs": 3, "modalities": ["text", "audio"]},
        "scales": {"audio": {"mean": [0.5] * 40}},
        "overrides": {},
    }
    for seed in (1111, 1112)
}


def text_of(path, metrics, methods):
    """Text of a page without figures."""
    source = results(metrics)
    made = frames(source, methods)
    page.write(path / "p.html", results=source, methods=methods, frames=made, figures={}, settings={}, title="t")
    return (path / "p.html").read_text(encoding="utf-8")


def test_the_page_tells_once_how_the_clips_of_a_dataset_were_read(metrics, methods, tmp_path):
    said, warned = "A face is observed in 84.5 % of the frames.", "No face is observed in 9 of 10 clips with a video"
    records = {key: {**record, "read": [said], "warnings": [warned]} for key, record in RECORDS.items()}
    source = results(metrics, records=records)
    made = frames(results(metrics), methods)
    options = {"methods": methods, "frames": made, "figures": {}, "settings": {}, "title": "t"}
    page.write(tmp_path / "p.html", results=source, **options)
    words = Document((tmp_path / "p.html").read_text(encoding="utf-8")).words
    assert words.count(said) == 1
    assert words[words.index(said) - 1] == "How the clips were read"
    assert sum(f"mosi_data: {warned}" in word for word in words) == 2  # above all, and beside the curves
    page.write(tmp_path / "p.html", results=results(metrics, records=RECORDS), **options)
    assert "How the clips were read" not in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(metrics, counted, methods, tmp_path_factory):
    source = results(metrics, records=RECORDS, confusions=counted)
    shown = {
        "emotion_data": ("curve_f1", "curve_ua", "curve_classes"),
        "mosi_data": ("curve_f1", "curve_mae"),
        "sims_data": ("curve_f1", "absent", "confusion"),
    }
    drawn = {
        (dataset, name): drawing.svg(draw(name, source, dataset, methods))
        for dataset, names in shown.items()
        for name in names
    }
    path = tmp_path_factory.mktemp("page") / "report.html"
    page.write(
        path,
        results=results(metrics, records=RECORDS),
        methods=methods,
        frames=frames(results(metrics), methods),
        figures=drawn,
        settings=SETTINGS,
        title="Tests & <more>",
    )
    return path.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(written):
    document = Document(written)
    for tag, attributes in document.elements:
        for name in ("src", "href", "xlink:href", "data"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)|data:image", written)


def test_ids_are_unique_and_every_reference_has_its_target(written):
    ids = re.findall(r'\bid="([^"]+)"', written)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', written)
    assert used
    assert set(used) <= set(ids)


def test_the_headline_comes_first_and_names_the_best_its_lead_and_where_methods_fall(written):
    text = " ".join(" ".join(Document(written).words).split())
    assert text.index("On average over 10 missing rates, steady has") < text.index("Acc-7")
    assert re.search(r"points above majority, the floor\.", text)
    assert "Runner-up brittle_one, " in text
    assert "At r = 0.7: brittle_one. At no rate: steady." in text


def test_tables_have_captions_scopes_and_sortable_headers(written):
    document = Document(written)
    results = [a for a in document.all("td") if "data-value" in a]
    named = {a["aria-labelledby"] for a in document.all("table") if "aria-labelledby" in a}
    assert len(named) == 5 + 5 + 10 + 3
    assert named <= {a.get("id") for tag in ("figcaption", "summary") for a in document.all(tag)}
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in document.all("th"))
    sortable = [a for a in document.all("th") if "aria-sort" in a]
    folding = [a for a in document.all("button") if a.get("class") == "fold"]
    assert folding and all(a["aria-expanded"] == "true" for a in folding)  # all is there without the script
    assert len(sortable) == len([a for a in document.all("button") if "id" not in a]) - len(folding) > 6
    random = 3 * (12 + 10 + 6)
    conditions = 2 + 2 + 8  # random, combined, two kinds of noise, the complete data, six sets and their mean
    combined, noise = 7 * 2 * 6, 2 * 2 * 6
    kinds = 2 * (4 + 2 + 2)  # the means of a method under the kinds of each dataset
    noise_per_set = 2 * 2 * 4  # two kinds and two metrics: the complete data, two sets and their mean
    each = combined + noise + noise_per_set + conditions * 8 + conditions * 6 + kinds
    measures = 3 * 2 * (5 + 1)  # of each dataset and metric: what modalities contribute, and the worst condition
    assert len(results) == 19 * random + 3 * (each + measures)
    assert document.all("html") == [{"lang": "en"}]
    assert all(a.get("role") == "img" and a.get("aria-label") for a in document.all("svg"))


def test_everything_foreign_is_escaped(written):
    document = Document(written)
    assert [a.get("id") for a in document.all("script")] == ["data", None]
    assert "Tests & <more>" in document.words
    assert "<script>alert(1)</script>" in document.words


def test_settings_are_shown_with_long_lists_cut(written):
    text = " ".join(" ".join(Document(written).words).split())
    assert "mosi_data / steady / seed-1112 1112 115968769 1.25" in text
    assert "(40 values)" in text
    assert "text, audio" in text
    assert "overrides" not in text


def test_the_glossary_has_the_metrics_that_are_shown(written):
    text = written[written.index('id="glossary"') :]
    for name in ("Acc-7", "F1 neg/pos", "Acc-2", "MAE", "Corr", "One-class share of 5"):
        assert f"<dt>{name}" in text


def test_figures_take_the_colour_of_the_page(written):
    assert drawing.INK not in written[written.index("<body>") :]
    assert "currentColor" in written


def test_the_page_says_when_checkpoints_were_chosen_on_the_test_set(metrics_on_test, metrics, methods, tmp_path):
    texts = [text_of(tmp_path, source, methods) for source in (metrics_on_test, metrics)]
    head = texts[0][: texts[0].index("<h2")]
    assert "Checkpoints chosen on the TEST set" in head
    assert texts[0].count("checkpoints chosen on the TEST set") >= 3 + 12  # three headlines, twelve captions
    assert "TEST" not in texts[1]


def test_only_the_datasets_concerned_carry_the_mark(metrics_on_test, metrics, methods, tmp_path):
    mosi = metrics_on_test["dataset"] == "mosi_data"
    source = pd.concat([metrics_on_test[mosi], metrics[metrics["dataset"] == "sims_data"]], ignore_index=True)
    text = text_of(tmp_path, source, methods)
    mark = "checkpoints chosen on the TEST set"
    assert f"mosi_data: {mark}, one for each metric." in text
    assert "mosi_data: chosen on the TEST set" in text
    for first, second in (("d0", "d1"), ("d1", "reading")):
        section = text[text.index(f'<h2 id="{first}">') : text.index(f'<h2 id="{second}">')]
        assert (mark in section) == (first == "d0")


def test_data_of_the_curves_cannot_end_the_script(metrics, methods, tmp_path):
    renamed = metrics.assign(method=metrics["method"].replace("steady", "</script><b>"))
    text = text_of(tmp_path, renamed, ["</script><b>", *methods[1:]])
    document = Document(text)
    assert not document.all("b")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["methods"][0]["name"] == "</script><b>"


def test_a_page_without_floor_or_random_missing_is_still_a_page(metrics, methods, tmp_path):
    for source in (metrics[metrics["method"] != FLOOR], metrics[metrics["corruption"] == "absent"]):
        assert "steady" in " ".join(Document(text_of(tmp_path, source, methods)).words)


def test_sections_that_a_dataset_has_nothing_for_are_left_out(written):
    sections = re.split(r'<h2 id="d\d">', written[: written.index('id="reading"')])[1:]
    assert len(sections) == 3
    for heading in ("Noise", "Class by class", "Folds pooled"):
        assert [f"<h3>{heading}</h3>" in section for section in sections] == [True, False, False]


def test_the_parts_of_more_than_two_kinds_are_one_group_after_what_compares_kinds(written):
    sections = re.split(r'<h2 id="d\d">', written[: written.index('id="reading"')])[1:]
    grouped = [re.findall('<section data-tab="([^"]+)">', section) for section in sections]
    assert grouped == [["Random missing", "Absent modalities", "Absent modalities and random missing", "Noise"], [], []]
    headings = [re.findall("<h3>([^<]+)</h3>", section) for section in sections]
    comparing = ["Kinds of corruption", "Worst conditions and floors"]
    assert headings[0][:4] == [*comparing, "Contribution of each modality", "Random missing"]
    # Two kinds stand one after the other.
    assert headings[1][:4] == ["Random missing", *comparing, "Absent modalities"]


def test_the_best_and_the_worst_mean_of_the_matrix_have_the_ends_of_the_scale(metrics, methods):
    table = frame("kinds", results(metrics[metrics["dataset"] == "mosi_data"]), methods)
    for block, best in zip(blocks("kinds", table), (max, min), strict=True):
        cells = [cell for _, row in block.rows for cell in row if cell.value == cell.value]
        assert max(cells, key=lambda cell: cell.shade).value == best(cell.value for cell in cells)
        assert sorted([min(c.shade for c in cells), max(c.shade for c in cells)]) == [0, 1]
    assert all(row[0].shade != row[0].shade for _, row in block.rows)  # what a method is trained on has no colour
    same = table.assign(**{name: 0.5 for name in table if name.endswith("_mean")})
    assert all(c.shade != c.shade for block in blocks("kinds", same) for _, row in block.rows for c in row)


def test_the_lead_of_classes_names_both_metrics(written):
    text = " ".join(" ".join(Document(written).words).split())
    assert re.search(r"10 missing rates, \w+ has F1 weighted [\d.]+ ± [\d.]+ % \(UA [\d.]+ ± [\d.]+ %\)", text)


def test_the_reading_tells_of_noise_folds_and_single_classes_where_they_are(written, metrics, methods, tmp_path):
    scores = metrics[metrics["dataset"] == "mosi_data"]
    plain = text_of(tmp_path, scores, methods)
    for words in ("Noise of intensity t", "mean over its folds", "F1 CLASS/rest", "<dt>UA"):
        assert words in written
        assert words not in plain
    assert "emotion_data (Gaussian noise, Impulse noise) at 20, 100." in written


def test_the_title_says_synthetic_and_of_which_datasets(metrics, methods, tmp_path):
    every = tuple(metrics["dataset"].unique())
    for synthetic, told in (((), ""), (every, "synthetic data"), (("sims_data",), "synthetic data: sims_data")):
        source = results(metrics, synthetic=synthetic)
        made = frames(source, methods)
        page.write(tmp_path / "p", results=source, methods=methods, frames=made, figures={}, settings={}, title="Mine")
        text = (tmp_path / "p").read_text(encoding="utf-8")
        line = re.search("<h1>(.*)</h1>", text)[1]
        assert line == (f'Mine <span class="on-test">{told}</span>' if told else "Mine")
        assert f"<title>Mine{f' ({told})' if told else ''}</title>" in text
        for position, name in enumerate(sorted(every)):
            heading = re.search(f'<h2 id="d{position}">(.*)</h2>', text)[1]
            assert ("synthetic data" in heading) == (name in synthetic)


def test_paragraphs_and_choices_about_what_is_not_there_are_left_out(metrics, five, methods, tmp_path):
    plain = text_of(tmp_path, metrics[metrics["method"] != FLOOR], methods)
    assert "The floor: a method that ignores the input" not in plain
    assert "interval over test samples" not in plain
    made = frames(five, methods)
    page.write(tmp_path / "p", results=five, methods=methods, frames=made, figures={}, settings={}, title="t")
    text = (tmp_path / "p").read_text(encoding="utf-8")
    assert "The floor: a method that ignores the input" in text
    assert "95 % interval over test samples" in text


def test_facts_beyond_the_first_kinds_are_folded(metrics, methods, tmp_path):
    mosi, names = metrics[metrics["dataset"] == "mosi_data"], ("burst", "random")
    alike = [mosi[mosi["corruption"] == "random"].assign(corruption=name) for name in names]
    text = text_of(tmp_path, pd.concat([mosi[mosi["corruption"] == "absent"], *alike], ignore_index=True), methods)
    card = text[text.index('class="headline"') : text.index('id="explorer"')]
    assert card.count("<dt>") == card.count("</dt>") >= 7
    opened, *folded = card.split("more facts</summary>")
    assert opened.count("<dt>") == min(7, card.count("<dt>"))
    assert bool(folded) == (card.count("<dt>") > 7)


def test_a_cell_breaks_between_its_number_and_what_is_said_of_it():
    assert page._parts("71.30 ± 1.20") == ["71.30", "±\xa01.20"]
    assert page._parts("71.30 [70.00, 72.00]") == ["71.30", "[70.00,\xa072.00]"]
    assert page._parts("79.43† (corrected: 69.18; not comparable)") == [
        "79.43†",
        "(corrected:\xa069.18;\xa0not\xa0comparable)",
    ]
    assert page._parts("−") == ["−"]
