"""From predictions to metrics: one long table over datasets, methods, runs and test conditions.

Pure functions of tables of predictions, with the columns ``id``, ``corruption`` ("random", "absent", "combined", or the
kind of noise: "gaussian", "impulse"), ``level`` (missing rate; 1 for absent, 0 for complete; of noise, its intensity),
``modalities`` (those corrupted, joined with "+"), ``checkpoint``, ``prediction`` and ``label`` (scores, or names of
classes), and, if known, ``empty`` (nothing of the sample is left). ``checkpoint`` is "valid", or the metric for which
the checkpoint was chosen on the test split; each metric is then read from its own checkpoint (``Family.selected_by``),
as in LNLN's code, and that of "valid" stands beside it.

A run is ``seed-S``, or ``seed-S.fold-F``: then every fold has other test samples, and the metrics of the predictions of
all folds of a seed, pooled, stand beside those of the folds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from elision.corruption.kind import kinds
from elision.errors import ElisionError, plural
from elision.evaluation.metrics import Family, classify, confusion_matrix, score
from elision.evaluation.metrics import family as family_of
from elision.settings.protocols import protocol as protocol_of
from elision.task import parse_run
from elision.training.selection import VALID

FLOOR = "majority"
# Share of samples of which nothing is left, above which a level is in no mean: arbitrary constants would be scored.
MOST_EMPTY = 0.1
CONFUSION_RATES = (0.0, 0.1, 0.5, 0.9)
POOLED = "pooled"

Predictions = tuple[str, str, str, str, pd.DataFrame]

CONDITION = ["corruption", "level", "modalities"]
_COLUMNS = ["id", *CONDITION, "checkpoint", "prediction", "label"]
_RUN = ["dataset", "family", "method", "run", "seed", "fold"]


@dataclass(frozen=True)
class Run:
    """Predictions of one run as a matrix: ``keys`` has a row per condition and checkpoint, samples are sorted by id.

    Classes are numbers. ``empty`` counts for each row of ``keys`` the samples of which nothing is left.
    """

    keys: pd.DataFrame
    ids: np.ndarray
    prediction: np.ndarray
    label: np.ndarray
    empty: np.ndarray


def _numbers(table: pd.DataFrame, column: str, name: str, labels: tuple[str, ...]) -> np.ndarray:
    """Scores, or the numbers of classes."""
    if not labels:
        return table[column].to_numpy(np.float64)
    codes = pd.Categorical(table[column], labels).codes.astype(np.int16)
    if (codes < 0).any():
        row = table.iloc[(codes < 0).argmax()]
        raise ElisionError(
            f'predictions of {name}: {column} of sample "{row["id"]}" is {row[column]!r}, but the classes are '
            f"{', '.join(labels)}; delete these predictions and run evaluate again"
        )
    return codes


def _matrix(table: pd.DataFrame, name: str, family: Family) -> Run:
    if absent := [column for column in _COLUMNS if column not in table]:
        raise ElisionError(
            f"predictions of {name}: missing column: {', '.join(absent)}; delete these predictions and run evaluate "
            "again"
        )
    if table.empty:
        raise ElisionError(f"predictions of {name} are empty; delete these predictions and run evaluate again")
    known = set(family.checkpoints)
    if (has := set(table["checkpoint"].unique())) != {VALID} and (lacks := known - has):
        raise ElisionError(
            f"predictions of {name}: the checkpoints are {', '.join(sorted(has))}, but {', '.join(sorted(lacks))} is "
            "missing; delete these predictions and run evaluate again"
        )
    sample, ids = pd.factorize(table["id"], sort=True)
    groups = table.assign(level=table["level"].round(6)).groupby([*CONDITION, "checkpoint"], observed=True)
    row, keys = groups.ngroup().to_numpy(), groups.size().index.to_frame(index=False)
    counts = np.bincount(row * len(ids) + sample, minlength=len(keys) * len(ids)).reshape(len(keys), len(ids))
    if (counts != 1).any():
        at, i = np.argwhere(counts != 1)[0]
        where = ", ".join(str(value) for value in keys.loc[at] if value != "")
        raise ElisionError(
            f'predictions of {name}: sample "{ids[i]}" has {plural(int(counts[at, i]), "row")} for condition {where}, '
            "but needs exactly one; delete these predictions and run evaluate again"
        )
    arrays = {}
    for column in ("prediction", "label"):
        values = _numbers(table, column, name, family.labels)
        arrays[column] = np.empty(counts.shape, values.dtype)
        arrays[column][row, sample] = values
        if not np.isfinite(arrays[column]).all():
            at, i = np.argwhere(~np.isfinite(arrays[column]))[0]
            raise ElisionError(
                f'predictions of {name}: {column} of sample "{ids[i]}" is {arrays[column][at, i]}; check the loss in '
                "history.csv, and set a lower learning rate, or leave the method out"
            )
    if (differs := (arrays["label"] != arrays["label"][0]).any(0)).any():
        raise ElisionError(
            f'predictions of {name}: sample "{ids[differs.argmax()]}" has several labels; delete these predictions and '
            "run evaluate again"
        )
    empty = np.bincount(row[table["empty"].to_numpy()] if "empty" in table else [], minlength=len(keys))
    return Run(keys, np.asarray(ids), arrays["prediction"], arrays["label"][0], empty)


def checked(tables: Iterable[Predictions]) -> Iterator[tuple[tuple[str, str, str, str, int, str], Run]]:
    """Check one table after the other, and give it with the values of ``_RUN``; only one is held at a time."""
    seen: set[tuple[str, str, str]] = set()
    families: dict[str, str] = {}
    conditions: dict[str, tuple[str, pd.DataFrame]] = {}
    for dataset, family, method, run, table in tables:
        name = f"{dataset}/{method}/{run}"
        if (dataset, method, run) in seen or families.setdefault(dataset, family) != family:
            raise ElisionError(
                f"predictions of {name} are given twice, or with two families of metrics; give them once"
            )
        seen.add((dataset, method, run))
        matrix = _matrix(table, name, family_of(family))
        here = matrix.keys[CONDITION].drop_duplicates(ignore_index=True)
        other, expected = conditions.setdefault(dataset, (name, here))
        if not here.equals(expected):
            raise ElisionError(
                f"predictions of {name} and of {other} have different test conditions; delete both and run evaluate "
                "again"
            )
        seed, fold = parse_run(run)
        yield (dataset, family, method, run, seed, str(fold) if fold else ""), matrix


def pool(folds: dict[str, Run], name: str) -> Run:
    """Put the test samples of all folds side by side."""
    first, *others = runs = [folds[fold] for fold in sorted(folds)]
    ids, counts = np.unique(np.concatenate([run.ids for run in runs]), return_counts=True)
    if (counts > 1).any():
        raise ElisionError(
            f'predictions of {name}: sample "{ids[counts > 1][0]}" is in the test split of several folds; move the '
            "sample to the test split of one fold"
        )
    if not all(run.keys.equals(first.keys) for run in others):
        raise ElisionError(
            f"predictions of {name}: the folds have different checkpoints; delete these predictions and run evaluate "
            "again"
        )
    return Run(
        first.keys,
        np.concatenate([run.ids for run in runs]),
        np.concatenate([run.prediction for run in runs], axis=1),
        np.concatenate([run.label for run in runs]),
        np.sum([run.empty for run in runs], axis=0),
    )


def _scores(names: tuple, run: Run, protocol: str) -> list[tuple]:
    """Rows of ``aggregate``'s table."""
    selected_by = family_of(names[1]).selected_by
    return [
        (*names, protocol, *key, metric, value)
        for key, prediction in zip(run.keys.itertuples(index=False), run.prediction, strict=True)
        for metric, value in score(prediction, run.label, names[1], protocol=protocol).items()
        if key.checkpoint in (VALID, selected_by.get(metric))
    ]


def aggregate(tables: Iterable[Predictions], *, protocols: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Compute every metric of every run under every test condition.

    Parameters
    ----------
    tables : iterable of (dataset, family, method, run, predictions)
        ``family`` is a name that ``metrics.family`` knows, ``run`` is ``seed-S`` or ``seed-S.fold-F``. A generator
        keeps just one table in memory, and of folds the predictions. The order of tables and of rows does not change
        a bit of the result.
    protocols : mapping of str to str, optional
        Name of the protocol of each dataset; "elision" where it is not given.

    Returns
    -------
    metrics : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``run``, ``seed``, ``fold``, ``protocol``, ``corruption``,
        ``level``, ``modalities``, ``checkpoint``, ``metric``, ``value``, sorted by them, and ``empty``: under the
        condition, the share of the test samples of the dataset of which nothing is left. ``fold`` is "" without
        folds, "1" and so on with them, and "pooled" for the metrics of the predictions of all folds of a seed (``run``
        is then ``seed-S``), where the seed has every fold that any run of the dataset has.

    Raises
    ------
    ElisionError
        If a prediction is missing, doubled, not finite or no class, runs of a dataset have different test conditions,
        or folds share test samples.
    """
    return both(tables, protocols=protocols)[0]


def both(
    tables: Iterable[Predictions],
    *,
    protocols: Mapping[str, str] | None = None,
    rates: Sequence[float] = CONFUSION_RATES,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute the metrics of ``aggregate`` and the counts of ``confusions`` while the predictions are read once."""
    rows: list[tuple] = []
    counts: list[tuple] = []
    folds: dict[str, set[str]] = {}
    parts: dict[tuple, dict[str, Run]] = {}
    emptied: Counter[tuple] = Counter()
    samples: Counter[tuple] = Counter()
    protocols, wanted = protocols or {}, {round(rate, 6) for rate in rates}
    for names, run in checked(tables):
        rows += _scores(names, run, protocols.get(names[0], "elision"))
        counts += _counts(names, run, wanted)
        for condition, empty in zip(run.keys[CONDITION].itertuples(index=False, name=None), run.empty, strict=True):
            emptied[names[0], *condition] += int(empty)
            samples[names[0], *condition] += len(run.ids)
        dataset, family, method, _, seed, fold = names
        if fold:
            folds.setdefault(dataset, set()).add(fold)
            parts.setdefault((dataset, family, method, seed), {})[fold] = run
    for (dataset, family, method, seed), runs in parts.items():
        if runs.keys() == folds[dataset]:
            pooled = pool(runs, f"{dataset}/{method}/seed-{seed}")
            names = (dataset, family, method, f"seed-{seed}", seed, POOLED)
            rows += _scores(names, pooled, protocols.get(dataset, "elision"))
    metrics = _sorted(rows, [*_RUN, "protocol", *CONDITION, "checkpoint", "metric"], "value")
    conditions = metrics[["dataset", *CONDITION]].itertuples(index=False, name=None)
    return (
        metrics.assign(empty=[emptied[condition] / samples[condition] for condition in conditions]),
        _sorted(counts, [*_RUN, "level", "checkpoint", "classes", "truth", "predicted"], "count"),
    )


def _sorted(rows: list[tuple], columns: list[str], value: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*columns, value]).sort_values(columns, ignore_index=True)


def confusions(tables: Iterable[Predictions], *, rates: Sequence[float] = CONFUSION_RATES) -> pd.DataFrame:
    """Count true against predicted classes at some levels of the first corruption that takes from all modalities alike.

    Parameters
    ----------
    tables : iterable of (dataset, family, method, run, predictions)
        As for ``aggregate``.
    rates : sequence of float
        Those that were not evaluated are left out. Of checkpoints chosen on test, the one is read that the share of
        the most frequent of the same classes comes from.

    Returns
    -------
    confusions : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``run``, ``seed``, ``fold``, ``level``, ``checkpoint``,
        ``classes`` (how many), ``truth``, ``predicted`` (class numbers from 0) and ``count``, sorted; every pair of
        classes has a row.
    """
    return both(tables, rates=rates)[1]


def _counts(names: tuple, run: Run, wanted: set[float]) -> Iterator[tuple]:
    """Give rows of the table of ``confusions``."""
    alike = [name for kind in kinds().values() if kind.level and not kind.sets for name in kind.corruptions]
    family = family_of(names[1])
    shown = next((name for name in alike if (run.keys["corruption"] == name).any()), None)
    on_test = (run.keys["checkpoint"] != VALID).any()
    for key, prediction in zip(run.keys.itertuples(index=False), run.prediction, strict=True):
        if key.corruption != shown or key.level not in wanted:
            continue
        for share, labels in family.confusions.items():
            if key.checkpoint != (family.selected_by[share] if on_test else VALID):
                continue
            classes = len(labels)
            truth, predicted = (
                classify(values, family=names[1], classes=classes) for values in (run.label, prediction)
            )
            counts = confusion_matrix(truth, predicted, classes=classes)
            here = (*names, key.level, key.checkpoint, classes)
            yield from ((*here, i, j, int(count)) for (i, j), count in np.ndenumerate(counts))


def reported(metrics: pd.DataFrame) -> pd.DataFrame:
    """Leave out checkpoints chosen on validation where a method also has some that were chosen on the test split."""
    on_test = metrics["checkpoint"] != VALID
    return metrics[on_test | ~on_test.groupby([metrics["dataset"], metrics["method"]], observed=True).transform("any")]


def statistics(metrics: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Average over test conditions in each run, over the folds of each seed, and then over seeds.

    An undefined value (a correlation of constant predictions) makes its mean undefined: it is never left out.

    Parameters
    ----------
    metrics : pd.DataFrame
        Rows of ``aggregate``'s table, of the conditions to average; pooled ones are left out, and so are those that
        ``reported`` leaves out.
    by : sequence of str
        Columns that stay apart, for instance ``level``.

    Returns
    -------
    statistics : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, those of ``by``, ``metric``, ``mean``, ``std`` (sample standard
        deviation, ddof = 1, over seeds, or over the folds of a single seed; nan for one run; over seeds, it is that of
        the runs' means, or as the protocol says the mean of those of the conditions), ``over`` ("seeds", "folds" or "":
        what ``std`` is over), ``runs``, ``seeds``, ``folds`` (of a seed, 1 without), ``conditions``
        (averaged in each run), ``undefined`` (values that are nan) and ``on_test`` (a checkpoint was chosen on the
        test split).
    """
    keys = ["dataset", "family", "method", *by, "metric"]
    # Sums in one order, whatever the order of the rows: the last bits belong to the numbers.
    metrics = reported(metrics[metrics["fold"] != POOLED]).sort_values(["run", *CONDITION], kind="stable")
    marked = metrics.assign(nan=metrics["value"].isna(), on_test=metrics["checkpoint"] != VALID)
    groups = marked.groupby([*keys, "seed", "fold"], observed=True)
    runs = groups.agg(conditions=("value", "size"), undefined=("nan", "sum"), on_test=("on_test", "any"))
    runs["value"] = groups["value"].mean(skipna=False)
    folds = runs.groupby([*keys, "seed"], observed=True)["value"]
    seeds = pd.DataFrame({"value": folds.mean(skipna=False), "folds": folds.size()}).groupby(keys, observed=True)
    groups = runs.groupby(keys, observed=True)
    found = pd.DataFrame(
        {
            "mean": seeds["value"].mean(skipna=False),
            "std": seeds["value"].std(ddof=1, skipna=False),
            "over": "",
            "runs": groups.size(),
            "seeds": seeds.size(),
            "folds": seeds["folds"].max(),
            "conditions": groups["conditions"].max(),
            "undefined": groups["undefined"].sum(),
            "on_test": groups["on_test"].any(),
        }
    )
    single = found["seeds"] == 1
    found["std"] = found["std"].where(~single, groups["value"].std(ddof=1, skipna=False))
    names = [n for n in metrics["protocol"].unique() if protocol_of(n).report.deviation == "conditions"]
    apart = metrics[metrics["protocol"].isin(names)]
    each = [*keys, *(column for column in CONDITION if column not in keys)]
    of_seeds = apart.groupby([*each, "seed"], observed=True)["value"].mean(skipna=False)
    of_conditions = of_seeds.groupby(each, observed=True).std(ddof=1, skipna=False)
    of_conditions = of_conditions.groupby(keys, observed=True).mean(skipna=False)
    found["std"] = of_conditions.reindex(found.index).where(~single).combine_first(found["std"])
    found["over"] = np.select([~single, found["folds"] > 1], ["seeds", "folds"], "")
    return found.reset_index()


def incomplete(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out complete data where conditions differ in modalities alone: they are not an incomplete case."""
    sets = [name for kind in kinds().values() if not kind.level for name in kind.corruptions]
    return rows[~rows["corruption"].isin(sets) | (rows["modalities"] != "")]


def averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of conditions that means are over: ``incomplete`` ones at which something is left.

    A level at which nothing is left of more than ``MOST_EMPTY`` of the samples is left out, unless this holds for every
    level of the corruption.

    Parameters
    ----------
    rows : pd.DataFrame
        With ``CONDITION``, and ``dataset`` and ``empty`` where there are several datasets, and where this is known.
    """
    rows = incomplete(rows)
    if "empty" not in rows:
        return rows
    of_levels = [name for kind in kinds().values() if kind.level for name in kind.corruptions]
    lost = rows["corruption"].isin(of_levels) & (rows["empty"] > MOST_EMPTY)
    every = lost.groupby([rows[name] for name in ("dataset", "corruption") if name in rows]).transform("all")
    return rows[~lost | every]


def first_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first corruption that each dataset was tested under."""
    names = [name for kind in kinds().values() for name in kind.corruptions]
    rank = metrics["corruption"].map({name: number for number, name in enumerate(names)})
    return incomplete(metrics[rank == rank.groupby(metrics["dataset"]).transform("min")])


def headline_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that rankings are made of: what is ``averaged`` of ``first_rows``."""
    return averaged(first_rows(metrics))


def summary(metrics: pd.DataFrame, marks: Mapping[tuple[str, str], Mapping[str, str]] | None = None) -> dict:
    """Give the headline metrics for ``metrics.json``: few, because each is a column of ``dvc exp show``.

    Parameters
    ----------
    metrics : pd.DataFrame
        Of ``aggregate``.
    marks : mapping of (str, str) to mapping of str to str, optional
        By dataset and method: what else is to be known of them, as ``report.marks`` says.

    Returns
    -------
    summary : dict
        ``{dataset: {method: {metric: mean}}}`` of the family's F1 and second metric, over the conditions of
        ``headline_rows``, folds and seeds; None for an undefined mean. A method whose checkpoints were chosen on the
        test split also has the entry ``checkpoints``, which says so, and those of ``marks``.
    """
    nested: dict[str, dict[str, dict]] = {}
    for row in statistics(headline_rows(metrics)).itertuples(index=False):
        if row.metric not in (family_of(row.family).f1, family_of(row.family).second):
            continue
        method = nested.setdefault(row.dataset, {}).setdefault(row.method, {})
        if row.on_test:
            method["checkpoints"] = "chosen on the TEST set"
        method |= (marks or {}).get((row.dataset, row.method), {})
        method[row.metric] = None if np.isnan(row.mean) else float(row.mean)
    return nested
