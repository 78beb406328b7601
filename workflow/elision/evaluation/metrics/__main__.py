"""Prints the list of metrics in Markdown: ``python -m elision.evaluation.metrics > docs/metrics.md``."""

from elision.evaluation.metrics import METRICS, PER_CLASS, Metric
from elision.evaluation.metrics._base import CONVENTIONS, EMOTION

_FAMILIES = {
    **{kind: f"Metrics of scores: `{kind}`" for kind in CONVENTIONS},
    EMOTION: "Metrics of classes: `emotion`",
}
_UNITS = {"percent": "%", "label": "units of the label", "": "–"}


def _row(entry: Metric, kind: str) -> str:
    key, name = (f"{entry.key}.CLASS", entry.name.format(label="CLASS")) if entry.per_class else (entry.key, entry.name)
    checkpoint = f"`{entry.families[kind]}`" if entry.families[kind] else "not in tables"
    cells = f"`{key}`", name, entry.better or "–", _UNITS[entry.unit], checkpoint, entry.description
    return f"| {' | '.join(cells)} |"


def listing() -> str:
    """Return a table of the metrics of each family, in the order of columns."""
    lines = [
        "# Metrics",
        "",
        "`python -m elision.evaluation.metrics` writes this list. [Add a metric](add-a-metric.md) is the guide.",
        "[protocols.md](protocols.md) has the formulas. The column *checkpoint* is for `train.selection: test_oracle`.",
        "The column names the metric that chooses the checkpoint on the test split.",
    ]
    for kind, title in _FAMILIES.items():
        entries = [entry for entry in (*METRICS.values(), *PER_CLASS.values()) if kind in entry.families]
        selecting = next(entry.key for entry in entries if entry.selects)
        lines += ["", f"## {title}", "", f"`{selecting}` on the validation split chooses the checkpoint.", ""]
        lines += ["| key | name | better | unit | checkpoint | meaning |", "|---|---|---|---|---|---|"]
        lines += [_row(entry, kind) for entry in entries]
    return "\n".join(lines)


if __name__ == "__main__":
    print(listing())
