"""The report as one HTML file that needs no network: headline, figures, tables, settings, glossary."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from elision.errors import plural
from elision.evaluation.aggregate import FLOOR
from elision.evaluation.metrics import METRICS, PER_CLASS, Family, metric
from elision.evaluation.metrics import family as family_of
from elision.report.figures import INK
from elision.report.tables import CAPTIONS, NOISE, ON_TEST, blocks, estimate, headlines, notes, number
from elision.store import replacing
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
}
_SHOWN = 12


def _points(difference: float, name: str) -> str:
    unit = "points" if metric(name).percent else ""
    return f"{number(abs(difference), name)} {unit}".rstrip()


def _score(mean: float, std: float, name: str) -> str:
    return f"{metric(name).name} {estimate(mean, std, name)}{' %' if metric(name).percent else ''}"


def _lead(rows: pd.DataFrame, family: Family) -> list[str]:
    """Sentences on who is best, by how much, and over what floor; ``rows`` are one dataset's of ``headlines``."""
    ranked = rows[(rows["method"] != FLOOR) & rows["f1"].notna()]
    if ranked.empty:
        return ["No method was evaluated under random missing."]
    best = ranked.iloc[0]
    score = _score(best.f1, best.f1_std, family.f1)
    if family.labels:
        score += f" ({_score(best.second, best.second_std, family.second)})"
    over = plural(int(best.conditions), "missing rate")
    if np.isnan(best.over_floor):
        sentences = [f"{best.method} is best on average over {over}: {score}.", f"There is no {FLOOR} to compare with."]
    elif best.over_floor > 0:
        above = f"{_points(best.over_floor, family.f1)} above {FLOOR}, the floor"
        sentences = [f"{best.method} is best on average over {over}: {score}, {above}."]
    else:
        under = f"{_points(best.over_floor, family.f1)} under it"
        sentences = [
            f"No method is above the floor on average over {over}: {best.method}, the best, is {under}: {score}."
        ]
    if len(ranked) > 1:
        second = ranked.iloc[1]
        gap, spread = best.f1 - second.f1, np.nanmax([best.f1_std, second.f1_std, -1])
        behind = f"{second.method} is second, {_points(gap, family.f1)} behind"
        sentences.append(f"{behind}{', less than runs differ by (one standard deviation)' if gap < spread else ''}.")
    return sentences


def _falls(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Each method and where its F1 comes down to the floor."""
    compared = rows[(rows["method"] != FLOOR) & rows["over_floor"].notna()]
    return [
        (row.method, "at no rate" if np.isnan(row.falls_at) else f"at r = {row.falls_at:g}")
        for row in compared.itertuples(index=False)
    ]


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


def _dataset(
    position: int, dataset: str, metrics: pd.DataFrame, ranked: pd.DataFrame, tables: Mapping, figures: Mapping
) -> dict:
    family = family_of(metrics["family"].iloc[0])
    random, noisy = (metrics[metrics["corruption"].isin(names)] for names in (["random"], NOISE))
    used = {name for joined in random["modalities"].unique() for name in joined.split("+")}
    over = {word for table in tables.values() for word in table.loc[table["dataset"] == dataset, "over"]} - {""}
    shown = {}
    for kind, caption in FIGURES.items():
        if svg := figures.get(f"{kind}_{dataset}"):
            caption = caption.format(f1=metric(family.f1).name, floor=FLOOR, over=" or ".join(sorted(over)) or "runs")
            inline = _inline(svg, prefix=f"d{position}-{kind}", label=f"{dataset}: {caption}")
            shown[kind] = {"kind": kind, "caption": caption, "svg": inline}
    sections = {}
    for name, table in tables.items():
        rows = table[table["dataset"] == dataset]
        mark = f"; {ON_TEST}" if (rows["checkpoints"] == "TEST").any() else ""
        caption = f"{CAPTIONS[name]} ({dataset}{mark})"
        sections[name] = {"name": name, "caption": caption, "blocks": blocks(rows), "notes": notes(rows)}
    return {
        "name": dataset,
        "id": f"d{position}",
        "lead": _lead(ranked, family),
        "falls": _falls(ranked),
        "rates": [f"{rate:g}" for rate in sorted(random["level"].unique())],
        "modalities": [name for name in MODALITIES if name in used],
        "noise": [NOISE[kind] for kind in NOISE if (noisy["corruption"] == kind).any()],
        "intensities": [f"{level:g}" for level in sorted(noisy["level"].unique())],
        "curves": [shown[kind] for kind in ("curve_f1", f"curve_{family.second}") if kind in shown],
        "figures": shown,
        "tables": sections,
    }


def write(
    path: Path,
    *,
    metrics: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, str],
    settings: Mapping,
    title: str,
) -> None:
    """Write the page (atomically).

    Parameters
    ----------
    path : Path
    metrics : pd.DataFrame
        Of ``aggregate``.
    tables : mapping of str to pd.DataFrame
        By the keys of ``tables.TABLES``.
    figures : mapping of str to str
        SVG text by ``{kind}_{dataset}``, with the kinds of ``FIGURES``; what is not there is left out.
    settings : mapping
        How the runs were made: plain values, lists and mappings.
    title : str
    """
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
    text = environment.get_template("page.html").render(
        title=title,
        on_test=any((table["checkpoints"] == "TEST").any() for table in tables.values()),
        test_mark=ON_TEST,
        floor=FLOOR,
        datasets=[
            _dataset(i, name, metrics[metrics["dataset"] == name], ranked[ranked["dataset"] == name], tables, figures)
            for i, name in enumerate(names)
        ],
        settings=_settings(settings),
        has_classes=any(family.labels for family in families),
        has_folds=(metrics["fold"] != "").any(),
        glossary=glossary,
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
