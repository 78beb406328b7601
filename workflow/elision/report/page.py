"""The report as one HTML file that needs no network: headline, figures, tables, settings, glossary."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from elision.corruption.kind import Kind, kinds
from elision.evaluation.aggregate import FLOOR, VALID
from elision.evaluation.metrics import METRICS, PER_CLASS, metric
from elision.evaluation.metrics import family as family_of
from elision.files import replacing
from elision.report import charts
from elision.report.drawing import INK
from elision.report.figure import Figure, all_figures
from elision.report.findings import findings, percent
from elision.report.marks import ON_TEST, headings, of_methods, signs
from elision.report.marks import notes as marks_of
from elision.report.results import Results
from elision.report.table import Table, all_tables
from elision.report.text import filled
from elision.report.words import named, unit
from elision.task import MODALITIES

_NARROW = 5  # columns of blocks of which two or more stand beside each other
_LARGER = 1.4  # than in print
_SHOWN = 12  # values of a list
_KINDS = 2  # of corruption that follow each other; more are tabs
_FACTS = 7  # of a dataset that are open: those of the first kind of corruption
_COLOUR = "Colour: the worst mean of a metric has no colour, and the best mean has the darkest."


def _inline(svg: str, *, prefix: str, label: str) -> Markup:
    """Make an SVG part of a page: its own ids, the page's text colour, and a name for screen readers."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\b(width|height)="([\d.]+)pt"', lambda m: f'{m[1]}="{_LARGER * float(m[2]):.1f}pt"', svg, count=2)
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


def _figure(figure: Figure, svg: str, position: int, dataset: str, words: Mapping[str, str]) -> dict:
    caption = figure.caption.format(**words)
    inline = _inline(svg, prefix=f"d{position}-{figure.name}", label=f"{dataset}: {caption}")
    return {"style": figure.style or figure.name, "caption": caption, "svg": inline, "drawn": figure.drawn}


def _parts(text: str) -> list[str]:
    """Split what stands in a cell into its number and what may stand under it: a deviation, an interval or a remark."""
    return [part.replace(" ", "\xa0") for part in re.split(r" (?=[±\[(])", text)]


def _breakable(name: str) -> Markup:
    """Let the name of a method go on in the next line after a sign that joins words."""
    return Markup(re.sub("([_-])", r"\1<wbr>", str(escape(name))))


def _table(table: Table, rows: pd.DataFrame, dataset: str) -> dict:
    groups, left_out = filled(table, rows)
    coloured = any(cell.shade == cell.shade for group in groups for b in group for _, cells in b.rows for cell in cells)
    # Narrow blocks stand side by side.
    groups = [
        part for group in groups for part in ([[b] for b in group] if len(group[0].columns) <= _NARROW else [group])
    ]
    return {
        "name": table.name,
        "caption": f"{table.caption} ({'; '.join([dataset, *(text for text, _ in headings(rows))])})",
        "groups": groups,
        "signs": signs(rows),
        "notes": [*table.notes(rows), *left_out, *([_COLOUR] if coloured else [])],
        "folded": table.folded,
        "of": table.of.capitalize(),
        "matrix": coloured,
    }


def _sections(shown: Iterable[tuple[Figure | Table, dict]]) -> list[list[dict]]:
    """Put figures and tables into their sections, in the order of their places, and the sections into groups.

    The sections of more than two kinds of corruption are a group, in the place of the last of them, so that what
    compares kinds comes first. All other groups have one section.
    """
    sections: dict[str, dict] = {}
    for each, part in sorted(shown, key=lambda pair: pair[0].place):
        section = sections.setdefault(each.section, {"title": each.section, "figures": [], "tables": []})
        section["figures" if isinstance(each, Figure) else "tables"].append(part)
    of_kinds = [sections[title] for title in sections if title in {kind.heading for kind in kinds().values()}]
    if len(of_kinds) <= _KINDS:
        return [[section] for section in sections.values()]
    groups = ((section, [section]) for section in sections.values() if section not in of_kinds[:-1])
    return [of_kinds if section is of_kinds[-1] else group for section, group in groups]


def _reading(kind: Kind, metrics: pd.DataFrame) -> dict:
    """Say how to read the numbers of a kind of corruption, and under which of its conditions datasets were tested."""
    title, text = kind.reading or (kind.caption, kind.about)
    tested = []
    for dataset, rows in metrics.groupby("dataset") if kind.level else ():
        rows = rows[rows["corruption"].isin(list(kind.corruptions))]
        levels = ", ".join(f"{level:g}" for level in sorted(rows["level"].unique()))
        names = [named(name) for name in kind.corruptions if (rows["corruption"] == name).any()]
        used = {name for joined in rows["modalities"].unique() for name in joined.split("+")}
        if kind.sets:
            of = f" ({', '.join(names)})" if len(kind.corruptions) > 1 else ""
            tested += [f"{dataset}{of} at {levels}"] if names else []
        else:
            listed = ", ".join(name for name in MODALITIES if name in used)
            tested.append(f"{dataset} at {levels or f'no {unit(kind)}'}" + (f" ({listed})" if listed else ""))
    return {"title": title, "text": text, "tested": "; ".join(tested)}


def _test(trained_on: str, tested_on: str) -> str:
    """Say what methods are trained and tested on, where these are two datasets."""
    return f"Trained on {trained_on}, tested on the test split of {tested_on}." if trained_on != tested_on else ""


def _dataset(position: int, dataset: str, results: Results, frames: Mapping, drawn: Mapping) -> dict:
    metrics = results.metrics[results.metrics["dataset"] == dataset]
    family = family_of(metrics["family"].iloc[0])
    rows = {name: frame[frame["dataset"] == dataset] for name, frame in frames.items()}
    over = {name for each in rows.values() if "over" in each for name in each["over"]} - {""}
    words = {"f1": metric(family.f1).name, "floor": FLOOR, "over": " or ".join(sorted(over)) or "runs"}
    shown: list[tuple[Figure | Table, dict]] = []
    for name, figure in all_figures().items():
        if svg := drawn.get((dataset, name)):
            shown.append((figure, _figure(figure, svg, position, dataset, words)))
    shown += [(t, _table(t, rows[name], dataset)) for name, t in all_tables().items() if len(rows.get(name, ()))]
    lead, facts = findings(results, dataset, frames=frames)
    records = [record for (of, *_), record in results.records.items() if of == dataset]
    read, warnings = (
        list(dict.fromkeys(said for record in records for said in record.get(key, ()))) for key in ("read", "warnings")
    )
    facts += [("How the clips were read", read)] if read else []
    on_test = bool((metrics["checkpoint"] != VALID).any())
    trained = {method for of, method, _ in results.records if of == dataset}
    known = of_methods(dataset, sorted({*metrics["method"], *trained}), results.marks, on_test=on_test)
    return {
        "name": dataset,
        "id": f"d{position}",
        "on_test": on_test,
        "synthetic": dataset in results.synthetic,
        "headings": [text for text, _ in headings(known)],
        "marks": [*warnings, *marks_of(known, signed=True)],
        "protocol": results.protocols.get(dataset, ""),
        "test": _test(*results.tests.get(dataset, ("", ""))),
        "lead": lead,
        "facts": facts[:_FACTS],
        "more_facts": facts[_FACTS:],
        "groups": _sections(shown),
    }


def write(
    path: Path,
    *,
    results: Results,
    methods: Sequence[str],
    frames: Mapping[str, pd.DataFrame],
    figures: Mapping[tuple[str, str], str],
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
    frames : mapping of str to pd.DataFrame
        Tables by name.
    figures : mapping of (str, str) to str
        SVG text by dataset and name of the figure; what is not there is left out.
    settings : mapping
        How the runs were made: plain values, lists and mappings.
    title : str
    provenance : str
        Identity of the recipe, and digest of the data.
    """
    metrics = results.metrics
    names, tested = sorted(metrics["dataset"].unique()), set(metrics["corruption"])
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
    datasets = [_dataset(i, name, results, frames, figures) for i, name in enumerate(names)]
    synthetic = [dataset["name"] for dataset in datasets if dataset["synthetic"]]
    told = "synthetic data" if len(synthetic) == len(names) else f"synthetic data: {', '.join(synthetic)}"
    data = json.dumps(charts.data(results, methods), separators=(",", ":"), allow_nan=False)
    text = environment.get_template("page.html").render(
        title=title,
        provenance=provenance,
        marked=[dataset["name"] for dataset in datasets if dataset["on_test"]],
        synthetic=told if synthetic else "",
        test_mark=ON_TEST,
        parts=_parts,
        breakable=_breakable,
        has_floor=(metrics["method"] == FLOOR).any(),
        floor=FLOOR,
        datasets=datasets,
        readings=[_reading(kind, metrics) for kind in kinds().values() if set(kind.corruptions) & tested],
        methods=[*(method for method in methods if method != FLOOR), FLOOR],
        data=Markup(data.replace("<", "\\u003c")),
        settings=_settings(
            {
                **settings,
                "runs": {
                    " / ".join(key): {name: value for name, value in run.items() if name not in ("read", "warnings")}
                    for key, run in results.records.items()
                },
            }
        ),
        has_classes=any(family.labels for family in families),
        has_folds=(metrics["fold"] != "").any(),
        confidence=" and ".join(map(percent, sorted(results.intervals["confidence"].unique()))),
        significant=" and ".join(f"{1 - c:.3g}" for c in sorted(results.intervals["confidence"].unique())),
        glossary=glossary,
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
