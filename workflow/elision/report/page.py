"""The report as one HTML file that needs no network: headline, figures, tables, settings, glossary."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from elision.evaluation.aggregate import FLOOR, VALID
from elision.evaluation.metrics import METRICS, PER_CLASS, metric
from elision.evaluation.metrics import family as family_of
from elision.files import replacing
from elision.report import Results, charts
from elision.report.figures import INK
from elision.report.findings import SIGNIFICANT, findings, percent
from elision.report.marks import ON_TEST, headings, of_methods, signs
from elision.report.marks import notes as marks_of
from elision.report.tables import CAPTIONS, NOISE, blocks, headlines, notes
from elision.task import MODALITIES

FIGURES = {
    "curve_f1": "{f1} against the missing rate. Bands: one standard deviation over {over}. Dashed: {floor}.",
    "curve_mae": "MAE against the missing rate; lower is better.",
    "curve_ua": "UA, the mean recall of the classes, against the missing rate.",
    "absent": "{f1} with whole modalities absent. Bars: one standard deviation over {over}. Dashed: {floor}.",
    "curve_classes": "F1 of each class against the rest, against the missing rate. A class that is rare and never "
    "predicted still has a high one: compare with {floor}, dashed.",
    "confusion": "True against predicted classes of one method. Colour: share of the true class. Number: samples, "
    "summed over runs. A single dark column is lazy behaviour: one answer for every input.",
    "training": "Training loss (each between its lowest and its highest mean), and the metric on the validation split "
    "that selects: mean over the runs that reached the epoch. Bands: one standard deviation over runs. Markers: epochs "
    "whose weights a run kept.",
    "representations": "Fused representations of test samples, complete and with parts missing, in two dimensions: in "
    "the plane in which the complete ones vary most (PCA), and by t-SNE of both together, where distances between "
    "groups mean little. Methods: the four that are best by {f1}, and text_only. Colour and shape: label.",
    "ranks": "Average ranks by {f1} over all conditions; 1 is best. Bars join methods that differ by less than "
    "Nemenyi's critical difference, which takes conditions as independent: those of one test set are not. Dashed: "
    "{floor}.",
}
# Those that the interactive curves and matrices stand for on a screen; print shows them.
DRAWN = {"curve_f1", "curve_mae", "curve_ua", "absent", "confusion"}
# Heading, figures and tables of the sections of a dataset; what stands nowhere comes last, under a heading of its own.
SECTIONS = (
    ("Random missing", ("curve_f1", "curve_mae", "curve_ua", "confusion"), ("random_missing", "area", "per_rate")),
    ("What differs, and what does not", ("ranks",), ("ranks", "comparisons", "intervals")),
    ("Absent modalities", ("absent",), ("absent",)),
    ("Both at once", (), ("combined",)),
    ("Noise", (), ("noise",)),
    ("Class by class", ("curve_classes",), ("per_class",)),
    ("Folds pooled", (), ("pooled",)),
    ("Beside published numbers", (), ("against_published",)),
    ("What selection on the test set would give", (), ("selection",)),
    ("Representations", ("representations",), ()),
    ("Training and cost", ("training", "cost"), ("cost",)),
)
FOLDED = {"per_rate", "comparisons", "intervals", "combined", "per_class", "pooled"}
_SHOWN = 12


def _inline(svg: str, *, prefix: str, label: str) -> Markup:
    """Make an SVG part of a page: its own ids, the page's text colour, and a name for screen readers."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1))


@dataclass(frozen=True)
class _Settings:
    """A mapping for display: its plain entries, a table of entries that have the same keys, and nested mappings."""

    entries: list[tuple[str, str]]
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    nested: list[tuple[str, "_Settings"]]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        listed = ", ".join(_text(item) for item in value[:_SHOWN])
        return f"{listed}, ... ({len(value)} values)" if len(value) > _SHOWN else listed or "none"
    return json.dumps(value, default=str)


def _settings(values: Mapping) -> _Settings:
    named = {
        str(key): {str(item.get("name", i)): item for i, item in enumerate(value)}
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)
        else value
        for key, value in values.items()
    }
    nested = {key: value for key, value in named.items() if isinstance(value, Mapping) and value}
    plain = [{key: _text(v) for key, v in item.items() if not isinstance(v, Mapping)} for item in nested.values()]
    entries = [(key, _text(value)) for key, value in named.items() if not isinstance(value, Mapping)]
    if len(nested) > 1 and plain[0] and all(item.keys() == plain[0].keys() for item in plain):
        rows = [(key, list(item.values())) for key, item in zip(nested, plain, strict=True)]
        inner = {key: {k: v for k, v in item.items() if isinstance(v, Mapping) and v} for key, item in nested.items()}
        return _Settings(entries, list(plain[0]), rows, [(key, _settings(item)) for key, item in inner.items() if item])
    return _Settings(entries, [], [], [(key, _settings(item)) for key, item in nested.items()])


def _figures(position: int, dataset: str, figures: Mapping[str, str], **words: str) -> dict[str, dict]:
    shown = {}
    for kind, caption in FIGURES.items():
        if svg := figures.get(f"{kind}_{dataset}"):
            caption = caption.format(**words)
            inline = _inline(svg, prefix=f"d{position}-{kind}", label=f"{dataset}: {caption}")
            shown[kind] = {"kind": kind, "caption": caption, "svg": inline, "drawn": kind in DRAWN}
    return shown


def _tables(dataset: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, dict]:
    shown = {}
    for name, table in tables.items():
        rows = table[table["dataset"] == dataset]
        if len(rows):
            caption = f"{CAPTIONS[name]} ({'; '.join([dataset, *(text for text, _ in headings(rows))])})"
            shown[name] = {
                "name": name,
                "caption": caption,
                "blocks": blocks(rows),
                "signs": signs(rows),
                "notes": notes(rows),
                "folded": name in FOLDED,
            }
    return shown


def _dataset(
    position: int, dataset: str, results: Results, ranked: pd.DataFrame, tables: Mapping, figures: Mapping
) -> dict:
    metrics = results.metrics[results.metrics["dataset"] == dataset]
    family = family_of(metrics["family"].iloc[0])
    random, noisy = (metrics[metrics["corruption"].isin(names)] for names in (["random"], NOISE))
    used = {name for joined in random["modalities"].unique() for name in joined.split("+")}
    over = set(tables["random_missing"].query("dataset == @dataset")["over"]) - {""}
    words = {"f1": metric(family.f1).name, "floor": FLOOR, "over": " or ".join(sorted(over)) or "runs"}
    drawn, shown = _figures(position, dataset, figures, **words), _tables(dataset, tables)
    sections = []
    for title, kinds, names in (*SECTIONS, ("More", tuple(drawn), tuple(shown))):
        parts = {
            "figures": [drawn.pop(kind) for kind in kinds if kind in drawn],
            "tables": [shown.pop(name) for name in names if name in shown],
        }
        if parts["figures"] or parts["tables"]:
            sections.append({"title": title, **parts})
    lead, facts = findings(results, dataset, ranked=ranked, tables=tables)
    on_test = bool((metrics["checkpoint"] != VALID).any())
    trained = {method for of, method, _ in results.records if of == dataset}
    known = of_methods(dataset, sorted({*metrics["method"], *trained}), results.marks, on_test=on_test)
    return {
        "name": dataset,
        "id": f"d{position}",
        "on_test": on_test,
        "headings": [text for text, _ in headings(known)],
        "marks": marks_of(known, signed=True),
        "protocol": results.protocols.get(dataset, ""),
        "lead": lead,
        "facts": facts,
        "rates": [f"{rate:g}" for rate in sorted(random["level"].unique())],
        "modalities": [name for name in MODALITIES if name in used],
        "noise": [NOISE[kind] for kind in NOISE if (noisy["corruption"] == kind).any()],
        "intensities": [f"{level:g}" for level in sorted(noisy["level"].unique())],
        "sections": sections,
    }


def write(
    path: Path,
    *,
    results: Results,
    methods: Sequence[str],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str],
    settings: Mapping,
    title: str,
    provenance: str = "",
) -> None:
    """Write the page (atomically).

    Parameters
    ----------
    path : Path
    results : Results
    methods : sequence of str
        In the order that gives them their looks in figures and curves.
    tables : mapping of str to pd.DataFrame
        By the keys of ``tables.TABLES``.
    figures : mapping of str to str
        SVG text by ``{kind}_{dataset}``, with the kinds of ``FIGURES``; what is not there is left out.
    settings : mapping
        How the runs were made: plain values, lists and mappings.
    title : str
    provenance : str
        Identity of the recipe, and digest of the data.
    """
    metrics = results.metrics
    ranked = headlines(metrics)
    names = sorted(metrics["dataset"].unique())
    families = [family_of(name) for name in sorted(metrics["family"].unique())]
    glossary = [m for key, m in METRICS.items() if any(key in family.reported for family in families)]
    if any(family.labels for family in families):
        glossary += [metric(f"{kind}.CLASS") for kind in PER_CLASS]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    datasets = [_dataset(i, name, results, ranked, tables, figures) for i, name in enumerate(names)]
    data = json.dumps(charts.data(results, methods), separators=(",", ":"), allow_nan=False)
    text = environment.get_template("page.html").render(
        title=title,
        provenance=provenance,
        marked=[dataset["name"] for dataset in datasets if dataset["on_test"]],
        test_mark=ON_TEST,
        floor=FLOOR,
        datasets=datasets,
        methods=[*(method for method in methods if method != FLOOR), FLOOR],
        data=Markup(data.replace("<", "\\u003c")),
        settings=_settings({**settings, "runs": {" / ".join(key): run for key, run in results.records.items()}}),
        has_classes=any(family.labels for family in families),
        has_folds=(metrics["fold"] != "").any(),
        confidence=" and ".join(map(percent, sorted(results.intervals["confidence"].unique()))),
        significant=SIGNIFICANT,
        glossary=glossary,
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
