"""Marks: what a reader must know about a row before comparing numbers. Every table, figure and page shows the marks.

A kind of mark is a column of the tables, and whatever prints a table or draws a figure takes signs, headings and notes
from here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

ON_TEST = "checkpoints chosen on the TEST set"


@dataclass(frozen=True)
class Kind:
    """A kind of mark.

    Attributes
    ----------
    column : str
        Column of the tables: what is to be known of a row.
    sign : str
        What the row's name carries; "" where the heading alone tells.
    heading : str
        What a table or figure with such rows says at its top.
    advice : str
        What to make of it.
    note : str
        Sentence of rows with one text.
    """

    column: str
    sign: str
    heading: str
    advice: str
    note: str

    def rows(self, table: pd.DataFrame) -> dict[str, list[str]]:
        """Return the methods that are marked, by what is to be known of them."""
        found: dict[str, list[str]] = {}
        if self.column in table:
            for method, text in dict.fromkeys(zip(table["method"], table[self.column], strict=True)):
                if text not in ("", "valid"):
                    found.setdefault(str(text), []).append(str(method))
        return found


KINDS = (
    Kind(
        "data",
        "",
        "synthetic data",
        "The numbers say nothing about recordings of people.",
        "The data are synthetic. The numbers say nothing about recordings of people.",
    ),
    Kind(
        "checkpoints",
        "",
        ON_TEST,
        "Compare these numbers only with numbers that were made in the same way.",
        f"{ON_TEST[0].upper()}{ON_TEST[1:]}, one for each metric: {{methods}}.",
    ),
    Kind(
        "versions",
        "‡",
        "runs were made with different versions of libraries",
        "The libraries may cause a part of the differences.",
        "‡ {methods}: {text}.",
    ),
    Kind(
        "code",
        "§",
        "made in part by older code, which the user accepted",
        "The current code may give other numbers.",
        "§ {methods}: {text}.",
    ),
    Kind(
        "known_from",
        "¶",
        "built without the paper of the method",
        "These numbers are not those of the published method.",
        "¶ {methods}: built without the paper, from {text}.",
    ),
    Kind(
        "tuned",
        "◊",
        "hyperparameters tuned on the validation split",
        "Compare tuned methods with methods that had equal budgets.",
        "◊ {methods}: tuned: {text}.",
    ),
)

# What each step makes, for sentences.
_MAKES = {
    "prepare": "prepared data",
    "assemble": "samples",
    "encode": "text vectors",
    "corrupt": "test conditions",
    "corrupt media": "corrupted media",
    "train": "training",
    "evaluate": "evaluation",
    "extract text": "text tokens",
    "extract audio": "audio features",
    "extract vision": "vision features",
}

Marks = Mapping[tuple[str, str], Mapping[str, str]]


def marks(
    made_with: Mapping[tuple[str, str, str], Mapping[str, Mapping[str, str]]],
    accepted: Mapping[tuple[str, str], Iterable[str]],
    synthetic: Iterable[tuple[str, str]] = (),
    known_from: Mapping[tuple[str, str], str] | None = None,
    tuned: Mapping[tuple[str, str], str] | None = None,
) -> dict[tuple[str, str], dict[str, str]]:
    """Say what is to be known of rows.

    Parameters
    ----------
    made_with : mapping
        By (dataset, method, run): versions of libraries by step, as ``versions.of_all`` gives them.
    accepted : mapping of (str, str) to sequence of str
        By (dataset, method): steps whose code was accepted though it had changed.
    synthetic : iterable of (str, str)
        Dataset and method, where the dataset is synthetic.
    known_from : mapping of (str, str) to str, optional
        By (dataset, method): what the method was built from without its paper (``Method.known_from``), if it was.
    tuned : mapping of (str, str) to str, optional
        By (dataset, method): the budget of its tuning, such as "30 trials", if it was tuned.

    Returns
    -------
    marks : dict
        By (dataset, method), and then by column of ``KINDS``. A method that is not marked is left out.
    """
    found: dict[tuple[str, str], dict[str, str]] = {row: {"data": "synthetic"} for row in synthetic}
    for dataset in dict.fromkeys(dataset for dataset, _, _ in made_with):
        runs = {(method, run): steps for (of, method, run), steps in made_with.items() if of == dataset}
        for method, text in _differing(runs).items():
            found.setdefault((dataset, method), {})["versions"] = text
    for row, steps in accepted.items():
        if names := ", ".join(steps):
            text = f"made in part by older code, which the user accepted ({names})"
            found.setdefault(row, {})["code"] = text
    for column, texts in {"known_from": known_from, "tuned": tuned}.items():
        for row, text in (texts or {}).items():
            if text:
                found.setdefault(row, {})[column] = text
    return found


def _differing(runs: Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]]) -> dict[str, str]:
    """Say of methods of one dataset in which versions their runs differ, from each other or from most others."""
    values: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for run, steps in runs.items():
        for step, libraries in steps.items():
            for library, version in libraries.items():
                values.setdefault((step, library), {})[run] = version
    own: dict[str, dict[str, list[str]]] = {}
    others: dict[str, dict[str, list[str]]] = {}
    for (step, library), of_runs in sorted(values.items()):
        counts = Counter(of_runs.values())
        usual = max(sorted(counts), key=counts.__getitem__)
        what = _MAKES.get(step, step.replace("train ", "training of "))
        for method in dict.fromkeys(method for method, _ in of_runs):
            here = {v for (of, _), text in of_runs.items() if of == method for v in text.split(" and ")}
            if len(here) > 1:
                listed = f"{library} {' and '.join(sorted(here))}"
                own.setdefault(method, {}).setdefault(what, []).append(listed)
            elif here != {usual}:
                other = f"{library} {min(here)}, not {usual}"
                others.setdefault(method, {}).setdefault(what, []).append(other)
    texts = {}
    for method in dict.fromkeys(method for method, _ in runs):
        parts = [f"runs have different versions: {_listed(own[method])}"] if method in own else []
        parts += [f"versions differ from those of most runs: {_listed(others[method])}"] if method in others else []
        if parts:
            texts[method] = "; ".join(parts)
    return texts


def _listed(found: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{what} ({'; '.join(libraries)})" for what, libraries in found.items())


def marked(table: pd.DataFrame, marks: Marks) -> pd.DataFrame:
    """Return a table with a column for each kind of mark, after ``checkpoints``; one without methods as it is."""
    if "checkpoints" not in table:
        return table
    table, at = table.copy(), list(table.columns).index("checkpoints") + 1
    rows = list(zip(table["dataset"], table["method"], strict=True))
    for kind in reversed([kind for kind in KINDS if kind.column not in table]):
        values = [marks.get(row, {}).get(kind.column, "") for row in rows]
        table.insert(at, kind.column, pd.Series(values, table.index, dtype=object))
    return table


def of_methods(dataset: str, methods: Iterable[str], marks: Marks, *, on_test: bool) -> pd.DataFrame:
    """Return what a figure shows as a table of marks."""
    names = list(methods)
    checkpoints = "TEST" if on_test else "valid"
    return marked(pd.DataFrame({"dataset": dataset, "method": names, "checkpoints": checkpoints}), marks)


def signs(table: pd.DataFrame) -> dict[str, str]:
    """Return what the name of each marked method carries, as in " ‡§"."""
    found: dict[str, str] = {}
    for kind in KINDS:
        for methods in kind.rows(table).values() if kind.sign else ():
            found |= {method: found.get(method, "") + kind.sign for method in methods}
    return {method: f" {sign}" for method, sign in found.items()}


def headings(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the heading of each kind of mark in a table, beginning with its sign, and the advice."""
    return [(f"{kind.sign} {kind.heading}".strip(), kind.advice) for kind in KINDS if kind.rows(table)]


def unsigned(table: pd.DataFrame) -> list[str]:
    """Return the headings of the marks that no row carries a sign for: they are true of all rows."""
    return [kind.heading for kind in KINDS if not kind.sign and kind.rows(table)]


def notes(table: pd.DataFrame, *, signed: bool = False) -> list[str]:
    """Return the sentences that say what is marked, and why; with ``signed``, of the kinds that have a sign."""
    return [
        kind.note.format(methods=", ".join(methods), text=text)
        for kind in KINDS
        for text, methods in kind.rows(table).items()
        if kind.sign or not signed
    ]


def capital(text: str) -> str:
    """Return a heading as the beginning of a line, its first letter large."""
    return re.sub("[a-z]", lambda letter: letter.group().upper(), text, count=1)
