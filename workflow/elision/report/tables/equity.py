"""What each modality contributes to a score: exact Shapley values over the sets of absent modalities."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb, nan
from typing import TYPE_CHECKING, TypeVar

from elision.corruption.kind import kinds
from elision.report.results import Results
from elision.report.table import Table
from elision.report.words import listed, present
from elision.task import MODALITIES

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

Worth = TypeVar("Worth", float, "pd.Series")
_TOTAL = "all"


def shapley(worth: Mapping[frozenset[str], Worth], modalities: Sequence[str]) -> dict[str, Worth]:
    """Share what all modalities reach out among them (Shapley 1953).

    The value of modality i is the mean over all orders in which modalities can be added to nothing of what i adds:
    sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)). The values sum to v(all) - v(nothing).

    Parameters
    ----------
    worth : mapping of frozenset of str to float or pd.Series
        v: the score of each set of modalities that are present, nothing and all included.
    modalities : sequence of str

    Returns
    -------
    values : dict of str to float or pd.Series
        By modality, in the unit of the score.

    Examples
    --------
    >>> scores = {"": 0.5, "text": 0.8, "audio": 0.6, "text audio": 0.8}
    >>> found = shapley({frozenset(names.split()): v for names, v in scores.items()}, ["text", "audio"])
    >>> {name: round(value, 3) for name, value in found.items()}
    {'text': 0.25, 'audio': 0.05}
    """
    count, values = len(modalities), {}
    for name in modalities:
        others = [other for other in modalities if other != name]
        without = [frozenset(chosen) for size in range(count) for chosen in combinations(others, size)]
        values[name] = sum((worth[s | {name}] - worth[s]) / (count * comb(count - 1, len(s))) for s in without)
    return values


def evenness(values: Sequence[float]) -> float:
    """Return how even some contributions are: 1 minus their normalised Gini coefficient.

    With n values x, this is 1 - sum over i < j of |x_i - x_j| / ((n - 1) sum of x). A negative value counts as 0.

    Parameters
    ----------
    values : sequence of float

    Returns
    -------
    evenness : float in [0, 1]
        1: all values are equal. 0: one value alone is above 0. nan: a value is nan, none is above 0, or fewer than two
        values exist.

    Examples
    --------
    >>> evenness([0.5, 0.5, 0.5]), evenness([0.5, 0.0, -0.25]), evenness([0.75, 0.25])
    (1.0, 0.0, 0.5)
    """
    kept = [max(value, 0.0) for value in values]  # of nan and 0, Python keeps the first: nan
    if len(kept) < 2 or not sum(kept) > 0:
        return nan
    return 1 - sum(abs(a - b) for a, b in combinations(kept, 2)) / ((len(kept) - 1) * sum(kept))


class Equity(Table):
    """One row per metric and method: the Shapley value of each modality, their sum and their evenness."""

    name = "equity"
    caption = "Contribution of each modality (Shapley values) and their evenness"
    section, place = "Contribution of each modality", (21, 0)
    empty = "No condition was evaluated."

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Compute the values of each run, and average as all tables do.

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``family``, ``method``, ``checkpoints``, ``metric`` (F1, and that beside it), ``runs``,
            ``seeds``, ``folds``, ``over``, the mean and the sample standard deviation of each modality and of ``all``
            (the score of all modalities minus that of none), and ``evenness`` (of the means). Where something is
            missing, the values are nan, and ``missing`` names the sets and the floor.
        """
        import numpy as np
        import pandas as pd

        from elision.evaluation.aggregate import FLOOR, statistics

        order = [*(method for method in methods if method != FLOOR), FLOOR]
        tables = []
        for _, metrics in results.metrics[results.metrics["method"].isin(order)].groupby("dataset"):
            runs, names, lacks = _of_runs(metrics)
            long = statistics(runs.assign(method=pd.Categorical(runs["method"], order)), ["modalities"])
            rows = ["dataset", "family", "metric", "method"]
            table = long.groupby(rows, observed=True)[["runs", "seeds", "folds", "over"]].max()
            on_test = long.groupby(rows, observed=True)["on_test"].any()
            table.insert(0, "checkpoints", np.where(on_test, "TEST", "valid"))
            values = long.set_index([*rows, "modalities"])[["mean", "std"]].unstack("modalities").reindex(table.index)
            for name in (*names, _TOTAL):
                table[f"{name}_mean"], table[f"{name}_std"] = values["mean", name], values["std", name]
            means = table[[f"{name}_mean" for name in names]]
            table["evenness"] = [evenness(row) for row in means.itertuples(index=False, name=None)]
            tables.append(table.assign(missing=lacks) if lacks else table)
        frame = pd.concat(tables).reset_index().astype({"method": str})
        return frame[["dataset", "family", "method", *(c for c in frame if c not in ("dataset", "family", "method"))]]

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per metric; a contribution is no result to be ranked."""
        import numpy as np

        from elision.evaluation.metrics import metric
        from elision.report.text import NAN, Block, Cell, number, signed

        if _missing(frame):
            return []
        names = [n for n in (*MODALITIES, _TOTAL) if f"{n}_mean" in frame and frame[f"{n}_mean"].notna().any()]
        found = []
        for key, rows in frame.groupby("metric", sort=False):
            lines = []
            for row in rows.to_dict("records"):
                cells = []
                for name in names:
                    mean, std = row[f"{name}_mean"], row[f"{name}_std"]
                    text = signed(mean, key) + ("" if np.isnan(std) else f" ± {number(std, key)}")
                    cells.append(Cell(mean, text, 0))
                even = row["evenness"]
                lines.append((row["method"], [*cells, Cell(even, NAN if np.isnan(even) else f"{even:.2f}", 0)]))
            found.append(Block(metric(key).name, [*names, "evenness"], lines))
        return found

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say what the numbers are, or what is missing."""
        from elision.evaluation.aggregate import FLOOR
        from elision.report import marks, wide

        if lacks := _missing(frame):
            told = [] if lacks == [FLOOR] else ['set "absent: true" under "corruption"']
            told += [f'add "- {FLOOR}" under "methods"'] if FLOOR in lacks else []
            advice = " and ".join(told)
            return [
                *marks.notes(frame),
                f"No Shapley values: the results have no scores for {listed(lacks)}.",
                f"{advice[0].upper()}{advice[1:]} in params.yaml, and run the workflow again.",
            ]
        return [
            *wide.made(frame),
            "A modality has the mean of what it adds to each set of other modalities. A positive value is a better "
            "score, also for metrics where lower is better.",
            f"{_TOTAL}: the sum, which is the score on complete data minus the score of {FLOOR}.",
            "Evenness: 1 if all modalities contribute equally, 0 if one contributes alone. A negative contribution "
            "counts as 0. –: no modality has a positive contribution, or a score is undefined.",
        ]


def _missing(frame: "pd.DataFrame") -> list[str]:
    """Return what has no scores, of the rows of one dataset."""
    texts = frame["missing"].dropna() if "missing" in frame else ()
    return texts.iloc[0].split("; ") if len(texts) else []


def _of_runs(metrics: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str], str]":
    """Compute the values of each run of one dataset.

    Returns
    -------
    runs : pd.DataFrame
        As ``metrics``, with a modality, or ``all``, in the place of a condition.
    names : list of str
        The modalities of the dataset.
    lacks : str
        What has no scores; "" where all is there.
    """
    import pandas as pd

    from elision.evaluation.aggregate import CONDITION, FLOOR, POOLED, reported
    from elision.evaluation.metrics import family, metric
    from elision.report import wide

    of = family(metrics["family"].iloc[0])
    rows = reported(metrics[(metrics["fold"] != POOLED) & metrics["metric"].isin([of.f1, of.second])])
    keys = [column for column in rows if column not in (*CONDITION, "value", "empty")]
    names = present(rows["modalities"].unique())
    whole = frozenset(names)
    lost = ["+".join(chosen) for size in range(len(names)) for chosen in combinations(names, size)]
    single = wide.of(rows, kinds()["absent"].corruptions).pivot(index=keys, columns="modalities", values="value")
    lacks = [f"{chosen.replace('+', ' and ') or 'nothing'} absent" for chosen in lost if chosen not in single]
    lacks = ["any set of absent modalities"] if len(lacks) == len(lost) else lacks
    index = pd.MultiIndex.from_frame(rows[keys].drop_duplicates()).sort_values()
    of_index = {name: index.get_level_values(name) for name in ("method", "fold", "metric")}
    better = of_index["metric"].map(lambda name: 1 if metric(name).better == "higher" else -1)
    scores = single.reindex(index=index, columns=["", *lost[1:]]).mul(better, axis=0)
    worth = {whole.difference(chosen.split("+")): scores[chosen] for chosen in scores}
    # The answer of the constant does not depend on the seed.
    constant = scores[""][of_index["method"] == FLOOR].groupby(["fold", "metric"]).mean()
    if set(of_index["fold"]) - set(constant.index.get_level_values("fold")):
        lacks.append(FLOOR)
    at = pd.MultiIndex.from_arrays([of_index["fold"], of_index["metric"]])
    nothing = pd.Series(constant.reindex(at).to_numpy(), index)
    values = shapley({**worth, frozenset(): nothing}, names) | {_TOTAL: scores[""] - nothing}
    tables = [v.rename("value").reset_index().assign(modalities=name) for name, v in values.items()]
    return pd.concat(tables, ignore_index=True).assign(corruption="absent", level=1.0), names, "; ".join(lacks)
