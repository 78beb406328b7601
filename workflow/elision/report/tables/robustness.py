"""How far methods fall: the worst condition, the level at which a floor is better, and effective robustness."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import kind_of, kinds
from elision.errors import plural
from elision.report.results import Results
from elision.report.table import Table
from elision.report.words import listed, one_condition, sign

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from elision.report.text import Block, Cell

_RUNS = ("runs", "seeds", "folds", "over")
_ALL, _NONE, _COMPLETE = "all", "none", "complete data"


def effective_robustness(
    clean: float, scores: "np.ndarray", clean_of_floors: "np.ndarray", scores_of_floors: "np.ndarray"
) -> "np.ndarray":
    """Return by how much a method is more robust than its score on complete data lets expect.

    The expected score is that of the least-squares line through simple methods: from the score on complete data to the
    score at a level (Taori et al., NeurIPS 2020, section 3.1, without their logit scale, which MAE does not have).

    Parameters
    ----------
    clean : float
        Score on complete data, in the unit of the metric.
    scores : np.ndarray [shape=(L,)]
        At each level.
    clean_of_floors : np.ndarray [shape=(F,)]
    scores_of_floors : np.ndarray [shape=(L, F)]

    Returns
    -------
    difference : np.ndarray [shape=(L,)]
        Score minus expected score; nan where two floors with different scores on complete data are not there.

    Examples
    --------
    >>> import numpy as np
    >>> floors, at_half = np.array([0.4, 0.8]), np.array([[0.4, 0.6]])
    >>> effective_robustness(0.9, np.array([0.7]), floors, at_half).round(3).tolist()
    [0.05]
    """
    import numpy as np

    if len(np.unique(clean_of_floors)) < 2:
        return np.full(len(scores), np.nan)
    centred = clean_of_floors - clean_of_floors.mean()
    slopes = scores_of_floors @ centred / (centred @ centred)
    return scores - (scores_of_floors.mean(1) + slopes * (clean - clean_of_floors.mean()))


class Robustness(Table):
    """One row per metric, corruption and method; the corruption ``all`` has the worst of all conditions."""

    name = "robustness"
    caption = "Worst condition, fall below the floors, and effective robustness"
    section, place = "Worst conditions and floors", (13, 0)
    empty = "No condition was evaluated."

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Compare means over runs, under the conditions that means are over (``aggregate.averaged``).

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``family``, ``method``, ``checkpoints``, ``metric`` (F1, and that beside it),
            ``corruption``, ``runs``, ``seeds``, ``folds``, ``over``, and ``compared``: the floors that a method is
            compared with. The worst condition is ``worst_corruption``, ``worst_level`` and ``worst_modalities``
            ("none": nothing is lost), with ``worst_mean``, ``worst_std`` and ``as_bad``: how many conditions print the
            same. Corruptions with levels have ``highest``, the highest level; ``below_{floor}``, the first level at
            which a floor is better (nan: at none, or not compared); ``effective_{level}``, the effective robustness,
            above 0 where the method is better than expected; and ``effective``, its mean over the levels above 0.
            ``missing``: what was not run, where something was not.
        """
        import pandas as pd

        from elision.evaluation.aggregate import FLOOR

        order = [*(method for method in methods if method != FLOOR), FLOOR]
        metrics = results.metrics[results.metrics["method"].isin(order)]
        frame = pd.DataFrame(
            [row for name, rows in metrics.groupby("dataset") for row in _of_dataset(results, str(name), rows, order)]
        )
        levels = [column for column in frame if column.startswith("effective_")]
        levels.sort(key=lambda column: float(column.removeprefix("effective_")))
        last = [column for column in ("effective", *levels, "missing") if column in frame]
        return frame[[*(column for column in frame if column not in last), *last]]

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block per metric: the worst of all conditions, and columns for each corruption with levels."""
        from elision.report.text import Block, heading

        floors, with_levels = _floors(frame), list(frame[frame["highest"].notna()]["corruption"].unique())
        columns = ["worst condition"]
        for corruption in with_levels:
            of = f", {corruption}" if len(with_levels) > 1 else ""
            columns += [*(f"below {floor}{of}" for floor in floors), f"effective robustness{of}"]
        found = []
        for metric, rows in frame.groupby("metric", sort=False):
            of_corruption = {name: part.set_index("method") for name, part in rows.groupby("corruption")}
            lines = []
            for method in rows["method"].unique():
                cells = [_worst_cell(of_corruption[_ALL].loc[method])]
                for corruption in with_levels:
                    cells += _cells(of_corruption[corruption].loc[method], floors)
                lines.append((method, cells))
            found.append(Block(heading(str(metric)), columns, lines))
        return found

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say what the numbers are, and what is missing."""
        from elision.evaluation.aggregate import FLOOR, MOST_EMPTY
        from elision.report import wide

        said = [
            *wide.made(frame),
            "Worst condition: the condition with the worst mean over runs. Others print the same score. A level at "
            f"which more than {100 * MOST_EMPTY:g} % of the samples have nothing left does not count.",
        ]
        rows, advice = frame[frame["highest"].notna()], []
        if rows.empty:
            advice.append('No corruption with levels was tested. Set "random: [0.0, 0.5]" under "corruption"')
        if _floors(rows):
            said.append(
                "Below a floor: the first level at which the mean over runs, as printed, is worse than the mean of the "
                "floor. –: not compared, because the method is a floor, lacks a modality of the floor, or reads text "
                "in another way."
            )
        if rows["effective"].notna().any():
            said.append(
                "Effective robustness: the score minus the score that a line through the floors predicts from the "
                "score on complete data. The mean is over the levels above 0, and the csv file has each level. A "
                "positive value is better, also for metrics where lower is better."
            )
        methods = rows[rows["method"] != FLOOR].drop_duplicates("method")
        for compared, of in methods[methods["effective"].notna()].groupby("compared", sort=False):
            said.append(f"The line goes through {listed(str(compared).split(', '))}: {', '.join(of['method'])}.")
        without = methods[methods["effective"].isna() & ~methods["method"].isin(_floors(rows))]["method"]
        lacks = frame["missing"].iloc[0].split("; ") if "missing" in frame and frame["missing"].notna().any() else []
        if len(without):
            said.append(
                f"No effective robustness: {', '.join(without)}. A line needs complete data, and two floors with "
                "different scores that read text as the method does."
            )
        if _COMPLETE in lacks:
            advice.append('Complete data were not tested. Add the rate 0.0 to "random" under "corruption"')
        if floors := [name for name in lacks if name != _COMPLETE]:
            advice.append(
                f'Floors that were not run: {", ".join(floors)}. Add a floor, as in "- {floors[0]}", under "methods"'
            )
        return [*said, *(f"{text} in params.yaml, and run the workflow again." for text in advice)]


def _floors(rows: "pd.DataFrame") -> list[str]:
    """Return the floors among the rows of one dataset, without the constant."""
    return [name for name in rows["method"].unique() if f"below_{name}" in rows]


def _worst_cell(row: "pd.Series") -> "Cell":
    """Print the worst score, the condition, and how many others print the same."""
    import numpy as np

    from elision.report.text import NAN, Cell, estimate

    if not row["as_bad"]:
        return Cell(np.nan, NAN, 0)
    modalities = "" if row["worst_modalities"] == _NONE else row["worst_modalities"]
    where = [one_condition(row["worst_corruption"], row["worst_level"], modalities, present=())]
    where += [plural(row["as_bad"] - 1, "other")] if row["as_bad"] > 1 else []
    score = estimate(row["worst_mean"], row["worst_std"], row["metric"])
    return Cell(row["worst_mean"], f"{score} ({', and '.join(where)})", 0)


def _cells(row: "pd.Series", floors: Sequence[str]) -> "list[Cell]":
    """Print the first level below each floor, and the effective robustness."""
    import numpy as np

    from elision.report.text import NAN, Cell, signed

    at, cells = f"{sign(kind_of(row['corruption']))} = ", []
    for floor in floors:
        if floor in row["compared"].split(", "):
            level = row[f"below_{floor}"]
            text = f"never (up to {at}{row['highest']:g})" if np.isnan(level) else f"{at}{level:g}"
            cells.append(Cell(level, text, 0))
        else:
            cells.append(Cell(np.nan, NAN, 0))
    return [*cells, Cell(row["effective"], signed(row["effective"], row["metric"]), 0)]


def _of_dataset(results: Results, dataset: str, metrics: "pd.DataFrame", order: Sequence[str]) -> list[dict]:
    """Compute the rows of one dataset."""
    import numpy as np

    from elision.evaluation.aggregate import CONDITION, FLOOR, averaged, statistics
    from elision.evaluation.metrics import family as family_of
    from elision.report.floors import comparable, rows_of
    from elision.settings.params import is_floor, method_names

    family = metrics["family"].iloc[0]
    keys = (family_of(family).f1, family_of(family).second)
    metrics = metrics[metrics["metric"].isin(keys)]
    conditions = averaged(metrics)
    tested = [name for kind in kinds().values() for name in kind.corruptions if (metrics["corruption"] == name).any()]
    single = statistics(conditions, CONDITION)
    single = single.sort_values("corruption", key=lambda names: names.map(tested.index), kind="stable")
    by_level = statistics(conditions, ["corruption", "level"])
    complete = metrics[(metrics["level"] == 0) & (metrics["modalities"] == "")]
    complete = statistics(complete[complete["corruption"] == complete["corruption"].min()])
    rows = rows_of(results, dataset, list(metrics["method"].unique()))
    made_of = {row.method for row in rows.values()}
    lacks = [name for name in method_names() if is_floor(name) and name not in made_of]
    lacks += [_COMPLETE] if complete.empty else []
    found = []
    for key in keys:
        clean = complete[complete["metric"] == key].set_index("method")["mean"].reindex(list(rows))
        for corruption in (_ALL, *tested):
            of_key = single[single["metric"] == key]
            of_key = of_key if corruption == _ALL else of_key[of_key["corruption"] == corruption]
            levels = by_level[(by_level["metric"] == key) & (by_level["corruption"] == corruption)]
            levels = levels.pivot(index="level", columns="method", values="mean")
            printed = levels.apply(_printed, key=key)
            of_method = {str(name): own for name, own in of_key.groupby("method")}
            for method in (name for name in order if name in of_method):
                own, floors = of_method[method], comparable(rows, method, lossy=True)
                row = {"dataset": dataset, "family": family, "method": method}
                row |= {"checkpoints": "TEST" if own["on_test"].any() else "valid", "metric": key}
                row |= {"corruption": corruption, **{name: own[name].iloc[0] for name in _RUNS}}
                row |= {"compared": ", ".join(floors) or _NONE, **_worst(own, key)}
                row |= {"highest": np.nan, "effective": np.nan}
                if corruption != _ALL and kind_of(corruption).level:
                    row["highest"] = levels.index.max()
                    for floor in (name for name in rows if rows[name].floor and name != FLOOR):
                        worse = (printed[method] < printed[floor]) & (floor in floors)
                        row[f"below_{floor}"] = levels.index[worse].min()
                    row |= _effective(levels, clean, method, floors, key)
                found.append(row | ({"missing": "; ".join(lacks)} if lacks else {}))
    return found


def _printed(means: "pd.Series", key: str) -> "pd.Series":
    """Return numbers as they are printed, with a sign that makes the higher one better; what prints the same is one."""
    from elision.evaluation.metrics import metric
    from elision.report.text import number

    better = 1 if metric(key).better == "higher" else -1
    return means.dropna().map(lambda mean: better * float(number(mean, key))).reindex(means.index)


def _worst(own: "pd.DataFrame", key: str) -> dict:
    """Find the worst of the conditions of a method, the first of those that print the same."""
    printed = _printed(own["mean"], key)
    as_bad = printed == printed.min()
    first = own[as_bad].iloc[0] if as_bad.any() else own.iloc[0]
    worst = {f"worst_{name}": first[name] for name in ("corruption", "level", "modalities", "mean", "std")}
    return worst | {"worst_modalities": first["modalities"] or _NONE, "as_bad": int(as_bad.sum())}


def _effective(levels: "pd.DataFrame", clean: "pd.Series", method: str, floors: Sequence[str], key: str) -> dict:
    """Return the effective robustness of a method at each level above 0, and the mean over these levels.

    ``levels`` [shape=(levels, methods)] has the means over runs, and ``clean`` those on complete data, by method.
    """
    from elision.evaluation.metrics import metric

    lost = levels[levels.index > 0]
    scores, of_floors = lost[method].to_numpy(), lost[floors].to_numpy()
    better = 1 if metric(key).better == "higher" else -1
    difference = better * effective_robustness(clean[method], scores, clean[floors].to_numpy(), of_floors)
    mean = difference.mean() if len(difference) else float("nan")
    return {"effective": mean, **{f"effective_{at:g}": one for at, one in zip(lost.index, difference, strict=True)}}
