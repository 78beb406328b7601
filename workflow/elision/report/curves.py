"""The numbers behind the curves as long tables: for figures, and as files that ``dvc plots`` draws."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from elision.corruption.kind import kind_of
from elision.report.results import Results
from elision.report.words import corruptions, is_first, named
from elision.task import GRADIENTS

if TYPE_CHECKING:
    import pandas as pd

_LOSS = "training loss"


def missing_rate(results: Results, methods: Sequence[str]) -> "pd.DataFrame":
    """Average the F1 and the second metric of each dataset at every level of what takes from all modalities alike.

    Returns
    -------
    curves : pd.DataFrame
        Columns ``panel`` (dataset, metric and, but for the first kind of corruption, what is missing, as text, with the
        headings of ``marks``), ``dataset``, ``metric``, ``method``, ``rate``, ``mean``, ``std`` and ``on_test`` (see
        ``aggregate.statistics``), sorted.
    """
    import pandas as pd

    from elision.evaluation.aggregate import FLOOR, statistics
    from elision.evaluation.metrics import family as family_of
    from elision.report.marks import ON_TEST
    from elision.report.text import heading

    names = corruptions(levels=True, sets=False)
    told = {name: "" if is_first(kind_of(name)) else f", {named(name)}" for name in names}
    metrics = results.metrics[results.metrics["method"].isin([*methods, FLOOR])]
    values = statistics(metrics[metrics["corruption"].isin(names)], ["corruption", "level"])
    values = values.rename(columns={"level": "rate"})
    headline = {name: (family_of(name).f1, family_of(name).second) for name in values["family"].unique()}
    pairs = pd.MultiIndex.from_frame(values[["family", "metric"]])
    values = values[pairs.isin([(name, key) for name, keys in headline.items() for key in keys])].copy()
    keys = zip(values["dataset"], values["metric"], values["corruption"], strict=True)
    values["panel"] = pd.Series(
        [f"{dataset}: {heading(name)}{told[of]}" for dataset, name, of in keys], values.index, dtype=str
    )
    values.loc[values.groupby("panel")["on_test"].transform("any"), "panel"] += f" ({ON_TEST})"
    marks = {name: _told(results, name, methods) for name in set(values["dataset"])}
    values["panel"] += pd.Series([marks[name] for name in values["dataset"]], values.index, dtype=str)
    columns = ["panel", "dataset", "metric", "method", "rate"]
    return values.sort_values(columns, ignore_index=True)[[*columns, "mean", "std", "on_test"]]


def _told(results: Results, dataset: str, methods: Sequence[str]) -> str:
    """Write the headings of rows that are marked for something else than how checkpoints were chosen."""
    from elision.evaluation.aggregate import FLOOR
    from elision.report.marks import headings, of_methods
    from elision.settings.params import teacher_names

    shown = of_methods(dataset, [*methods, FLOOR, *teacher_names()], results.marks, on_test=False)
    return "".join(f" ({text})" for text, _ in headings(shown))


def training(results: Results, methods: Sequence[str]) -> "pd.DataFrame":
    """Average the loss and the metric that selects, on the validation split, over the runs that reached each epoch.

    Teachers that methods start from are there, too.

    Returns
    -------
    curves : pd.DataFrame
        Columns ``panel`` (dataset and quantity, as text), ``dataset``, ``method``, ``quantity`` ("loss", or the
        metric), ``epoch``, ``mean``, ``std`` (ddof = 1; nan for one run) and ``runs``, sorted. A method that is not
        optimised has the epoch 0 alone.
    """
    from elision.evaluation.metrics import family as family_of
    from elision.evaluation.metrics import metric as metric_of

    def quantities(history: "pd.DataFrame", family: str) -> dict[str, tuple[str, "pd.Series"]]:
        metric = family_of(family).selection[0]
        named = {"loss": _LOSS, f"valid_{metric}": f"validation {metric_of(metric).name}"}
        return {c.removeprefix("valid_"): (name, history[c]) for c, name in named.items() if c in history}

    return _over_epochs(results, methods, quantities)


def learning(results: Results, methods: Sequence[str]) -> "pd.DataFrame":
    """Average the learning index of each modality over the runs that reached each epoch.

    The index is the share of the modality in the sum of the gradient norms of the encoders of all modalities. Methods
    with less than two such encoders have none.

    Returns
    -------
    curves : pd.DataFrame
        As of `training`; ``quantity`` is the modality.
    """

    def quantities(history: "pd.DataFrame", family: str) -> dict[str, tuple[str, "pd.Series"]]:
        norms = history[[name for name in GRADIENTS.values() if name in history]]
        shares = norms.div(norms.sum(axis=1), axis=0) if norms.shape[1] > 1 else norms.iloc[:, :0]
        return {m: (f"learning index of {m}", shares[c]) for m, c in GRADIENTS.items() if c in shares}

    return _over_epochs(results, methods, quantities)


def _over_epochs(
    results: Results,
    methods: Sequence[str],
    quantities: Callable[["pd.DataFrame", str], dict[str, tuple[str, "pd.Series"]]],
) -> "pd.DataFrame":
    """Average what the histories tell; ``quantities`` gives, of a history and a family, names in words and values."""
    import pandas as pd

    from elision.evaluation.aggregate import FLOOR
    from elision.settings.params import teacher_names

    families = dict(zip(results.metrics["dataset"], results.metrics["family"], strict=True))
    told = {dataset: _told(results, dataset, methods) for dataset in families}
    parts = []
    for (dataset, method, run), history in results.histories.items():
        if dataset not in families or method not in {*methods, FLOOR, *teacher_names()}:
            continue
        for quantity, (name, values) in quantities(history, families[dataset]).items():
            where = {"panel": f"{dataset}: {name}{told[dataset]}", "dataset": dataset, "method": method, "run": run}
            part = history[["epoch"]].assign(**where, quantity=quantity, value=values)
            parts.append(part[part["value"].notna()])
    columns = ["panel", "dataset", "method", "quantity", "epoch"]
    values = pd.concat(parts) if parts else pd.DataFrame(columns=[*columns, "run", "value"])
    # Sums in one order, whatever the order of the runs: the last bits belong to the numbers.
    groups = values.sort_values([*columns, "run"], kind="stable").groupby(columns)["value"]
    return groups.agg(mean="mean", std="std", runs="size").reset_index()


CURVES: dict[str, Callable[[Results, Sequence[str]], "pd.DataFrame"]] = {
    curve.__name__: curve for curve in (missing_rate, training)
}
