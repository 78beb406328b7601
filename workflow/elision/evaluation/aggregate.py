"""From predictions to metrics: one long table over datasets, methods, runs and test conditions.

Pure functions of tables of predictions, with the columns ``id``, ``protocol`` ("random" or "absent"), ``level``
(missing rate; 1 for absent, 0 for complete), ``modalities`` (those corrupted, joined with "+"), ``checkpoint``,
``prediction`` and ``label``. ``checkpoint`` is "valid", or the metric for which the checkpoint was chosen on the test
split; each metric is then read from its own checkpoint (``Family.selected_by``), as in LNLN's code.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from elision.errors import ElisionError, plural
from elision.evaluation.metrics import FAMILIES, classify, confusion_matrix, score
from elision.training.selection import VALID

FLOOR = "majority"
CONFUSION_RATES = (0.0, 0.1, 0.5, 0.9)

Predictions = tuple[str, str, str, str, pd.DataFrame]

_CONDITION = ["protocol", "level", "modalities"]
_COLUMNS = ["id", *_CONDITION, "checkpoint", "prediction", "label"]
_RUN = ["dataset", "family", "method", "run"]


@dataclass(frozen=True)
class _Run:
    """Predictions of one run as a matrix: ``keys`` has a row per condition and checkpoint, samples are sorted by id."""

    keys: pd.DataFrame
    prediction: np.ndarray
    label: np.ndarray


def _matrix(table: pd.DataFrame, name: str, family: str) -> _Run:
    if absent := [column for column in _COLUMNS if column not in table]:
        raise ElisionError(f"predictions of {name}: no column {', '.join(absent)}; delete them and run evaluate again")
    if table.empty:
        raise ElisionError(f"predictions of {name}: no rows; delete them and run evaluate again")
    known = set(FAMILIES[family].selected_by.values())
    if (has := set(table["checkpoint"])) != {VALID} and (lacks := known - has):
        raise ElisionError(
            f"predictions of {name}: checkpoints {', '.join(sorted(has))} are neither {VALID} nor all that are chosen "
            f"on test; {', '.join(sorted(lacks))} is missing: delete them and run evaluate again"
        )
    sample, ids = pd.factorize(table["id"], sort=True)
    groups = table.assign(level=table["level"].round(6)).groupby([*_CONDITION, "checkpoint"], observed=True)
    row, keys = groups.ngroup().to_numpy(), groups.size().index.to_frame(index=False)
    counts = np.bincount(row * len(ids) + sample, minlength=len(keys) * len(ids)).reshape(len(keys), len(ids))
    if (counts != 1).any():
        at, i = np.argwhere(counts != 1)[0]
        where = ", ".join(str(value) for value in keys.loc[at] if value != "")
        raise ElisionError(
            f'predictions of {name}: sample "{ids[i]}" stands {plural(int(counts[at, i]), "time")}, not once, at '
            f"{where}; delete them and run evaluate again"
        )
    arrays = {}
    for column in ("prediction", "label"):
        arrays[column] = np.empty(counts.shape)
        arrays[column][row, sample] = table[column]
        if not np.isfinite(arrays[column]).all():
            at, i = np.argwhere(~np.isfinite(arrays[column]))[0]
            raise ElisionError(
                f'predictions of {name}: {column} of sample "{ids[i]}" is {arrays[column][at, i]}; look at the loss in '
                "history.csv and lower the learning rate, or leave the method out"
            )
    if (differs := (arrays["label"] != arrays["label"][0]).any(0)).any():
        raise ElisionError(
            f'predictions of {name}: sample "{ids[differs.argmax()]}" has several labels; delete them and run again'
        )
    return _Run(keys, arrays["prediction"], arrays["label"][0])


def _runs(tables: Iterable[Predictions]) -> Iterator[tuple[tuple[str, str, str, str], _Run]]:
    """Check one table after the other; only one is held at a time."""
    seen: set[tuple[str, str, str]] = set()
    families: dict[str, str] = {}
    conditions: dict[str, tuple[str, pd.DataFrame]] = {}
    for dataset, family, method, run, table in tables:
        name = f"{dataset}/{method}/{run}"
        if (dataset, method, run) in seen or families.setdefault(dataset, family) != family:
            raise ElisionError(f"predictions of {name}: given twice, or with two families of metrics")
        seen.add((dataset, method, run))
        matrix = _matrix(table, name, family)
        here = matrix.keys[_CONDITION].drop_duplicates(ignore_index=True)
        other, expected = conditions.setdefault(dataset, (name, here))
        if not here.equals(expected):
            raise ElisionError(
                f"predictions of {name} and of {other} are for different test conditions; delete both and run again"
            )
        yield (dataset, family, method, run), matrix


def aggregate(tables: Iterable[Predictions]) -> pd.DataFrame:
    """Compute every metric of every run under every test condition.

    Parameters
    ----------
    tables : iterable of (dataset, family, method, run, predictions)
        ``family`` is a key of ``metrics.FAMILIES``. A generator keeps just one table in memory. The order of tables
        and of rows does not change a bit of the result.

    Returns
    -------
    metrics : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``run``, ``protocol``, ``level``, ``modalities``, ``checkpoint``,
        ``metric`` and ``value``, sorted by them.

    Raises
    ------
    ElisionError
        If a prediction is missing, doubled or not finite, or runs of a dataset have different test conditions.
    """
    rows = []
    for names, run in _runs(tables):
        selected_by = FAMILIES[names[1]].selected_by
        for key, prediction in zip(run.keys.itertuples(index=False), run.prediction, strict=True):
            rows += [
                (*names, *key, metric, value)
                for metric, value in score(prediction, run.label, names[1]).items()
                if key.checkpoint in (VALID, selected_by.get(metric))
            ]
    columns = [*_RUN, *_CONDITION, "checkpoint", "metric"]
    return pd.DataFrame(rows, columns=[*columns, "value"]).sort_values(columns, ignore_index=True)


def confusions(tables: Iterable[Predictions], *, rates: Sequence[float] = CONFUSION_RATES) -> pd.DataFrame:
    """Count true against predicted classes at some missing rates.

    Parameters
    ----------
    tables : iterable of (dataset, family, method, run, predictions)
        As for ``aggregate``.
    rates : sequence of float
        Those that were not evaluated are left out. Of checkpoints chosen on test, the one for the accuracy over the
        same classes is read.

    Returns
    -------
    confusions : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, ``run``, ``level``, ``checkpoint``, ``classes`` (how many),
        ``truth``, ``predicted`` (class numbers from 0) and ``count``, sorted; every pair of classes has a row.
    """
    wanted = {round(rate, 6) for rate in rates}
    rows = []
    for names, run in _runs(tables):
        family = FAMILIES[names[1]]
        for key, prediction in zip(run.keys.itertuples(index=False), run.prediction, strict=True):
            if key.protocol != "random" or key.level not in wanted:
                continue
            for classes in family.classes:
                if key.checkpoint not in (VALID, family.selected_by[f"majority_share_{classes}"]):
                    continue
                truth, predicted = (
                    classify(values, family=names[1], classes=classes) for values in (run.label, prediction)
                )
                counts = confusion_matrix(truth, predicted, classes=classes)
                here = (*names, key.level, key.checkpoint, classes)
                rows += [(*here, i, j, int(count)) for (i, j), count in np.ndenumerate(counts)]
    columns = [*_RUN, "level", "checkpoint", "classes", "truth", "predicted"]
    return pd.DataFrame(rows, columns=[*columns, "count"]).sort_values(columns, ignore_index=True)


def statistics(metrics: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Average over test conditions in each run, then over runs.

    An undefined value (a correlation of constant predictions) makes its mean undefined: it is never left out.

    Parameters
    ----------
    metrics : pd.DataFrame
        Rows of ``aggregate``'s table, of the conditions to average.
    by : sequence of str
        Columns that stay apart, for instance ``level``.

    Returns
    -------
    statistics : pd.DataFrame
        Columns ``dataset``, ``family``, ``method``, those of ``by``, ``metric``, ``mean``, ``std`` (sample standard
        deviation over runs, ddof = 1; nan for one run), ``runs``, ``conditions`` (averaged in each run),
        ``undefined`` (values that are nan) and ``on_test`` (a checkpoint was chosen on the test split).
    """
    keys = ["dataset", "family", "method", *by, "metric"]
    # Sums in one order, whatever the order of the rows: the last bits belong to the numbers.
    metrics = metrics.sort_values(["run", *_CONDITION], kind="stable")
    marked = metrics.assign(nan=metrics["value"].isna(), on_test=metrics["checkpoint"] != VALID)
    groups = marked.groupby([*keys, "run"], observed=True)
    runs = groups.agg(conditions=("value", "size"), undefined=("nan", "sum"), on_test=("on_test", "any"))
    runs["value"] = groups["value"].mean(skipna=False)
    groups = runs.groupby(keys, observed=True)
    return pd.DataFrame(
        {
            "mean": groups["value"].mean(skipna=False),
            "std": groups["value"].std(ddof=1, skipna=False),
            "runs": groups.size(),
            "conditions": groups["conditions"].max(),
            "undefined": groups["undefined"].sum(),
            "on_test": groups["on_test"].any(),
        }
    ).reset_index()


def summary(metrics: pd.DataFrame) -> dict:
    """Give the means over missing rates and runs, for ``metrics.json`` and ``dvc metrics show``.

    Returns
    -------
    summary : dict
        ``{dataset: {method: {metric: mean}}}``; None for an undefined mean. A method whose checkpoints were chosen on
        the test split also has the entry ``checkpoints``, which says so.
    """
    nested: dict[str, dict[str, dict]] = {}
    for row in statistics(metrics[metrics["protocol"] == "random"]).itertuples(index=False):
        method = nested.setdefault(row.dataset, {}).setdefault(row.method, {})
        if row.on_test:
            method["checkpoints"] = "chosen on the TEST set"
        method[row.metric] = None if np.isnan(row.mean) else float(row.mean)
    return nested
