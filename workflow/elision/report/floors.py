"""Which methods are worse than a floor: a method that is simple enough that all others should be better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from elision.evaluation.aggregate import FLOOR, headline_rows
from elision.evaluation.metrics import Family, metric
from elision.evaluation.metrics import family as family_of
from elision.report.results import Results
from elision.report.text import number
from elision.report.wide import wide
from elision.report.words import counted
from elision.settings.params import is_floor, method_names, reads_text
from elision.task import MODALITIES


@dataclass(frozen=True)
class Row:
    """What decides with which floors a row of the tables is compared.

    Attributes
    ----------
    method : str
    floor : bool
    text : str
        What is read of a text; ``nothing``, where the dataset has none.
    sees : frozenset of str
        Modalities; none for the constant.
    """

    method: str
    floor: bool
    text: str
    sees: frozenset[str]


def below_floors(results: Results, dataset: str) -> dict[str, list[str]]:
    """Name every method that is worse than a floor, on complete data and on average over incomplete data.

    A floor is compared with the methods that see all modalities that the floor sees. On incomplete data, both must
    also read text in the same way: vectors were made from the complete text, and those that are left still tell of
    lost tokens. Two floors are not compared, except with ``majority``.

    Parameters
    ----------
    results : Results
    dataset : str

    Returns
    -------
    facts : dict of str to list of str
        Sentences, by the data that they are about; none without a floor.
    """
    metrics = results.metrics[results.metrics["dataset"] == dataset]
    rows = rows_of(results, dataset, metrics["method"].unique())
    if not any(row.floor for row in rows.values()):
        return {}
    complete = metrics[(metrics["level"] == 0) & (metrics["modalities"] == "")]
    lossy = headline_rows(metrics)
    facts = {}
    if len(complete):
        first = complete["corruption"] == complete["corruption"].iloc[0]
        facts["Below a floor, complete data"] = _worse(complete[first], rows, lossy=False)
    if len(lossy) and (lossy["level"] > 0).any():
        over = counted(lossy["corruption"].iloc[0], len(lossy.drop_duplicates(["level", "modalities"])))
        facts[f"Below a floor, mean over {over}"] = _worse(lossy, rows, lossy=True)
    return {name: sentences for name, sentences in facts.items() if sentences}


def rows_of(results: Results, dataset: str, names: Sequence[str]) -> dict[str, Row]:
    """Look up the method of each row, from the record of a run; a row without records is its own method."""
    trained_on = results.trained_on(dataset)
    records = {name: record for (of, name, _), record in results.records.items() if of == trained_on}
    known, rows = method_names(), {}
    for name in names:
        record = records.get(name, {})
        method = record.get("method", name)
        text = reads_text(method) if method in known else "tokens"
        sequences = {"text_features": "text" if text == "vectors" else "", "text": "text" if text == "tokens" else ""}
        held = {sequences.get(key, key) for key in record.get("sequences", [*MODALITIES, "text_features"])}
        sees = held.intersection(record.get("hyperparameters", {}).get("modalities", MODALITIES))
        text = text if "text" in sees else "nothing"
        sees = frozenset() if method == FLOOR else frozenset(sees)
        rows[name] = Row(method, method in known and is_floor(method), text, sees)
    # Floors last, the constant at the end; and the page does not depend on the order of its input.
    return dict(sorted(rows.items(), key=lambda row: (row[1].floor, row[0] == FLOOR, row[0])))


def comparable(rows: Mapping[str, Row], name: str, *, lossy: bool) -> list[str]:
    """Return the floors with which a row is compared on complete data, or on incomplete data (``lossy``)."""
    row = rows[name]
    floors = [floor for floor in rows if rows[floor].floor and _comparable(rows[floor], row)]
    return [floor for floor in floors if not lossy or rows[floor].text in ("nothing", row.text)]


def _worse(chosen: pd.DataFrame, rows: Mapping[str, Row], *, lossy: bool) -> list[str]:
    """Say which methods are worse than a floor, and in which metrics."""
    family = family_of(chosen["family"].iloc[0])
    means = wide(chosen, list(rows)).set_index("method")
    sentences, used, alike = [], set(), True
    for name in means.index:
        same = comparable(rows, name, lossy=lossy)
        used |= set(same)
        alike &= same == comparable(rows, name, lossy=False)
        if found := _metrics(means, name, same, family):
            sentences.append(f"{name}: {found}.")
    if used and not sentences:
        sentences = [f"No method is below {' or '.join(floor for floor in rows if floor in used)}."]
    if not alike:
        sentences.append(
            "On incomplete data, methods that read text as tokens are not compared with floors that read vectors of "
            "the complete text."
        )
    return sentences


def _comparable(floor: Row, row: Row) -> bool:
    """Tell whether a method that is worse than a floor should not be."""
    return floor is not row and floor.sees <= row.sees and bool(row.sees) and (not floor.sees or not row.floor)


def _metrics(means: pd.DataFrame, name: str, floors: Sequence[str], family: Family) -> str:
    """List the metrics in which a row is worse than a floor, with the best floor; the two main ones with numbers."""
    told, others = [], []
    main = (family.f1, family.second)
    for key in (*main, *(key for key in family.reported if key not in main)):
        better = metric(key).better
        if not better or f"{key}_mean" not in means:
            continue
        # As printed: what prints the same is not worse.
        values = means.loc[[name, *floors], f"{key}_mean"].dropna()
        values = values.map(lambda mean, key=key: float(number(mean, key)))
        ranked = values.sort_values(ascending=better == "lower", kind="stable")
        if name not in values or ranked.iloc[0] == values[name]:
            continue
        if key in main:
            best = ranked.index[0]
            of_both = [number(means.loc[row, f"{key}_mean"], key) for row in (name, best)]
            told.append(f"{metric(key).name} {of_both[0]} is worse than {of_both[1]} of {best}")
        else:
            others.append(metric(key).name)
    return "; ".join([*told, *([f"also worse in {', '.join(others)}"] if others else [])])
