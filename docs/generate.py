"""Write the parts of README.md and docs/ that follow from the code; with --check, only say which are out of date.

A part lies between `<!-- generated: NAME -->` and `<!-- end -->`, where NAME is a function of this file.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from elision.datasets import _contract
from elision.evaluation.metrics import METRICS, PER_CLASS, Metric
from elision.evaluation.metrics._base import CONVENTIONS, EMOTION
from elision.methods import load, method_names
from elision.methods.base import Method
from elision.methods.checks import all_checks
from elision.settings.catalogue import citation, title
from elision.settings.params import teacher_names
from elision.task import MODALITIES

REPOSITORY = Path(__file__).parent.parent
COMMAND = ".venv/bin/python docs/generate.py"
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)
READS = {"tokens": "token ids", "vectors": "frozen vectors", "nothing": "no text"}
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def catalogue(*, vectors: bool) -> list[type[Method]]:
    """Return the methods that are neither teachers nor floors, the newest paper first, and then those without one."""
    methods = [load(name) for name in method_names() if name not in teacher_names()]
    methods = [method for method in methods if not method.floor and (method.reads_text == "vectors") == vectors]
    return sorted(methods, key=year, reverse=True)


def floors() -> list[type[Method]]:
    """Return the methods below which the report names the others."""
    return [method for method in map(load, method_names()) if method.floor]


def year(method: type[Method]) -> int:
    """Return the year of the paper; 0 without one."""
    found = re.search(r"\d{4}$", citation(method.paper))
    return int(found[0]) if found else 0


def paper(method: type[Method]) -> str:
    """Return a short citation, with a link where the paper is on arXiv."""
    number = ARXIV.search(method.paper.partition(";")[0])
    link = f", [{number[1]}](https://arxiv.org/abs/{number[1]})" if number else ""
    return citation(method.paper) + link


def code(names: Iterable[str]) -> str:
    """Return names in the type of code."""
    return ", ".join(f"`{name}`" for name in names)


def methods() -> str:
    """All methods by name, in three items."""
    kinds = {
        "Sentiment": catalogue(vectors=False),
        "Emotion, from frozen text vectors": catalogue(vectors=True),
        "Floors": floors(),
    }
    return "".join(f"- {kind}: {code(method.name for method in listed)}\n" for kind, listed in kinds.items())


def sentiment_methods() -> str:
    """Methods that read tokens, or no text."""
    rows = [(f"`{method.name}`", paper(method), title(method)) for method in catalogue(vectors=False)]
    return table(("name", "paper", "what it is"), rows)


def floor_methods() -> str:
    """Methods that every other should beat."""
    rows = [(f"`{method.name}`", title(method), READS[method.reads_text]) for method in floors()]
    return table(("name", "what it is", "reads text as"), rows)


def emotion_methods() -> str:
    """Methods that read frozen vectors of text."""
    rows = [
        (f"`{method.name}`", paper(method), title(method), code(method.needs)) for method in catalogue(vectors=True)
    ]
    return table(("name", "paper", "what it is", "starts from"), rows)


def parameter_counts() -> str:
    """Parameters of every method at the official sizes."""
    methods = [method for method in map(load, method_names()) if method.official_counts]
    rows = [
        (
            f"`{method.name}`",
            "; ".join(f"{corpus}: {count:,}" for corpus, count in method.official_counts.items()),
            method.compared,
        )
        for method in methods
    ]
    return table(("method", "parameters", "compared with the released class"), rows)


def what_each_needs() -> str:
    """Modalities and tasks of every method, methods that need the same in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for method in map(load, method_names()):
        needed = [name for name in MODALITIES if name in method.requires]
        rows.setdefault((READS[method.reads_text], ", ".join(needed) or "none", " and ".join(method.task)), []).append(
            method.name
        )
    columns = ("methods", "reads text as", "cannot do without", "task")
    return table(columns, [(code(names), *facts) for facts, names in rows.items()])


def checks() -> str:
    """All checks of methods."""
    rows = [
        (f"`{check.name}`", check.holds, "run" if check.of_runs else "small method") for check in all_checks().values()
    ]
    return table(("check", "what holds", "made on"), rows)


def metrics() -> str:
    """All metrics, in a section for each family, in the order of columns."""
    everything = [*METRICS.values(), *PER_CLASS.values()]
    kinds = {**dict.fromkeys(CONVENTIONS, "scores"), EMOTION: "classes"}
    listed = {family: [metric for metric in everything if family in metric.families] for family in kinds}
    return "\n".join(
        f"## Metrics of {labels}: `{family}`\n\n{metrics_of(family, listed[family])}"
        for family, labels in kinds.items()
    )


def metrics_of(family: str, listed: list[Metric]) -> str:
    """The metrics of one family."""
    selecting = next(metric.key for metric in listed if metric.selects)
    units = {"percent": "%", "label": "units of the label", "": "–"}
    rows = [
        (
            f"`{metric.key}.CLASS`" if metric.per_class else f"`{metric.key}`",
            metric.name.format(label="CLASS"),
            metric.better or "–",
            units[metric.unit],
            f"`{metric.families[family]}`" if metric.families[family] else "not in tables",
            metric.description,
        )
        for metric in listed
    ]
    columns = ("key", "name", "better", "unit", "checkpoint", "meaning")
    selects = f"`{selecting}` on the validation split selects the checkpoint (`train.watch: metric`)."
    return f"{selects}\n\n{table(columns, rows)}"


def dataset_columns() -> str:
    """Columns of the table that a source of data returns."""
    rows = []
    for column in _contract.COLUMNS:
        names = ", ".join(name if name == "..." else f"`{name}`" for name in column.name.split(", "))
        sources = "both" if column.kinds == _contract.KINDS else "".join(column.kinds)
        rows.append((names, sources if column.needed else f"{sources}, optional", column.holds))
    return table(("column", "source of", "what to give"), rows)


def dataset_parts() -> str:
    """Parts of the sequences that a source of data returns."""
    return table(("part", "what to give"), [(f"`{part.name}`", part.holds) for part in _contract.PARTS])


def switches() -> str:
    """Hyperparameters that stand for a choice of the released code, methods with the same choice in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for method in map(load, method_names()):
        for key, field in method.Hyperparameters.model_fields.items():
            facts = field.json_schema_extra
            if not isinstance(facts, dict) or "released" not in facts:
                continue
            others = {corpus: values[key] for corpus, values in method.corpus_defaults.items() if key in values}
            shown = [value(field.default), *(f"{corpus}: {value(other)}" for corpus, other in others.items())]
            released = facts["released"]
            told = "nothing released" if released is None else released if noted(released) else value(released)
            rows.setdefault((f"`{key}`", "; ".join(shown), str(told), field.description or ""), []).append(method.name)
    columns = ("methods", "switch", "default", "released code", "what the switch does")
    ordered = sorted(rows.items(), key=lambda row: (row[1][0], row[0]))
    return table(columns, [(code(names), *facts) for facts, names in ordered])


def noted(released: object) -> bool:
    """Tell words about the released code from a value that a switch can have."""
    return isinstance(released, str) and " " in released


def value(of: object) -> str:
    """Return a value as it is typed in params.yaml."""
    if isinstance(of, tuple):
        return f"`[{', '.join(map(str, of))}]`"
    return f"`{'null' if of is None else str(of).lower() if isinstance(of, bool) else of}`"


PARTS = {
    "methods": methods,
    "sentiment-methods": sentiment_methods,
    "emotion-methods": emotion_methods,
    "floor-methods": floor_methods,
    "parameter-counts": parameter_counts,
    "switches": switches,
    "what-each-needs": what_each_needs,
    "metrics": metrics,
    "dataset-columns": dataset_columns,
    "checks": checks,
    "dataset-parts": dataset_parts,
}


def generated(text: str) -> str:
    """Return a document with its parts made anew."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}{part[3]}", text)


def main(words: list[str] | None = None) -> None:
    """Write the documents, or check them; ``words`` replace those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="folder of README.md and docs/")
    arguments = parser.parse_args(words)
    stale = []
    for path in [arguments.root / "README.md", *sorted((arguments.root / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            stale.append(path.relative_to(arguments.root).as_posix())
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    if stale and arguments.check:
        sys.exit(f"out of date: {', '.join(stale)}; run: {COMMAND}")
    print(f"written: {', '.join(stale)}" if stale else "nothing to write")


if __name__ == "__main__":
    main()
