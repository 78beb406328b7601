"""Our numbers beside published ones, wherever both are there; nothing is filled in."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from elision import published
from elision.corruption.kind import kind_of
from elision.evaluation.aggregate import CONDITION, statistics
from elision.report.results import Results
from elision.report.words import corruptions
from elision.task import MODALITIES

_ALIKE = corruptions(levels=True, sets=False)
_CONDITION = ["at", "at_level", "of"]
COLUMNS = [
    *("dataset", "family", "method", "source", "table", "printed", *CONDITION, "metric", "ours", "std", "theirs"),
    *("difference", "corrected", "erratum", "protocol", "their_protocol", "differs", "comparable", "checkpoints"),
    *("runs", "seeds"),
    *("folds", "over", "conditions", "undefined", "published"),
]


def against_published(results: Results, methods: Sequence[str]) -> pd.DataFrame:
    """One row per printed number that there is one of ours for.

    Our averages are over just the conditions of the printed ones, and are left out where one of these was not run. An
    F1 that was printed with swapped arguments stands a second time beside ours with swapped arguments, if there is one.

    Parameters
    ----------
    results : Results
    methods : sequence of str
        Rows and their order.

    Returns
    -------
    table : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``; ``source`` (key of ``published.SOURCES``), ``table``, ``printed``
        (the method there), ``corruption``, ``level``, ``modalities``, ``metric`` (see ``published.load``); ``ours``,
        ``std``, ``theirs`` (as printed), ``difference`` (ours - theirs), ``corrected`` (nan without), ``erratum`` (""
        if none is known); ``protocol`` (ours), ``their_protocol``, ``differs`` (in what else our runs are not theirs);
        ``comparable`` (whether our features are theirs, as far as records say);
        ``checkpoints`` to ``undefined`` as in ``wide.wide``; ``published`` (the corpus).
    """
    datasets = {
        name: corpus for name, corpus in results.published.items() if (results.metrics["dataset"] == name).any()
    }
    if not datasets:
        return pd.DataFrame(columns=COLUMNS)
    metrics = results.metrics[results.metrics["dataset"].isin(datasets) & results.metrics["method"].isin(methods)]
    numbers = published.load().rename(columns={"method": "file", "dataset": "published", "protocol": "their_protocol"})
    numbers = numbers[~numbers["corruption"].isin(published.AREAS)]  # ours have one model for all rates
    swapped = numbers[numbers["swapped"]]
    numbers = pd.concat([numbers, swapped.assign(metric=swapped["metric"] + "_swapped")], ignore_index=True)
    numbers = _keyed(numbers, numbers).rename(columns={"value": "theirs"}).assign(place=numbers.index)
    ours = statistics(pd.concat([_keyed(metrics, metrics), *_averages(metrics)], ignore_index=True), _CONDITION)
    expected = {name: count for name, (_, count) in published.AVERAGES.items()}
    ours = ours[ours["conditions"] == ours["at"].map(expected).fillna(1)]
    ours = ours.assign(published=ours["dataset"].map(datasets))
    runs = {key[:2]: record for key, record in reversed(results.records.items())}
    keys = list(zip(ours["dataset"], ours["method"], strict=True))
    ours["file"] = [runs.get(key, {}).get("method", key[1]) for key in keys]
    table = ours.rename(columns={"mean": "ours"}).merge(numbers, on=["published", "file", *_CONDITION, "metric"])
    found = [
        _differences(runs.get((row.dataset, row.method), {}), published.SOURCES[row.source].inputs[row.published])
        for row in table.itertuples(index=False)
    ]
    table = table.assign(
        difference=table["ours"] - table["theirs"],
        protocol=table["dataset"].map(results.protocols).fillna(""),
        differs=["; ".join([*features, *others]) for features, others in found],
        comparable=[not features for features, _ in found],
        checkpoints=np.where(table["on_test"], "TEST", "valid"),
        order=table["method"].map({method: i for i, method in enumerate(methods)}),
    )
    return table.sort_values(["dataset", "place", "order"], ignore_index=True)[COLUMNS]


def _averages(metrics: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give the rows that each printed average is over, with the keys of the average."""
    for name, (corruption, _) in published.AVERAGES.items():
        kind, rows = kind_of(corruption), metrics[metrics["corruption"] == corruption]
        rows = rows[rows["modalities"] != "" if kind.sets else rows["level"].round(6).isin(published.RATES)]
        level = rows["level"] if kind.sets and kind.level else np.nan
        yield _keyed(rows, rows.assign(corruption=name, level=level, modalities=""))


def _keyed(rows: pd.DataFrame, conditions: pd.DataFrame) -> pd.DataFrame:
    """Add conditions as keys of a join: whatever modalities there are, what takes from all alike hits all of them."""
    modalities = conditions["modalities"].where(~conditions["corruption"].isin(_ALIKE), "")
    return rows.assign(at=conditions["corruption"], at_level=conditions["level"].fillna(-1).round(6), of=modalities)


def _differences(record: dict, inputs: published.Inputs) -> tuple[list[str], list[str]]:
    """Say in what the features of a run differ from those of printed numbers, and in what else."""
    if not record:
        return [], ["unknown: the runs have no record"]
    spec, found = record["spec"], []
    if spec["encoder"] != inputs.encoder:
        found.append(f"text encoder {spec['encoder']}, theirs {inputs.encoder}")
    for name in MODALITIES:
        if name not in record["present"]:
            found.append(f"no {name}")
        elif name != "text" and spec[name] != getattr(inputs, name):
            found.append(f"{spec[name]} {name} features, theirs {getattr(inputs, name)}")
    overrides = record["provenance"]["settings"]["overrides"]
    return found, [f"{key}: {value}" for key, value in overrides.items()]
