"""Our numbers beside published numbers, where both exist."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from elision.report.results import Results
from elision.report.table import Table
from elision.report.words import average, one_condition

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

_ERRATUM, _APART = "†", "not comparable"


class AgainstPublished(Table):
    """One row per published number for which we have a number."""

    name = "against_published"
    caption = "Ours beside published numbers"
    section, place = "Beside published numbers", (1020, 0)
    empty = "No comparison: no dataset sets `published`, or no published method was run under the published conditions."

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """See ``against.against_published``."""
        from elision.report.against import against_published

        return against_published(results, methods)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Give ours, theirs and the difference in rows per method; a block per printed table and condition.

        Numbers that were made of other features have no difference.
        """
        import numpy as np

        from elision.evaluation.metrics import family as family_of
        from elision.published import SOURCES
        from elision.report.marks import signs
        from elision.report.text import Block, Cell, estimate, heading, signed

        family = family_of(frame["family"].iloc[0])
        metrics = [m for m in (*family.reported, *family.swapped, *family.per_class) if (frame["metric"] == m).any()]

        def cells(rows: "pd.DataFrame", column: str, text: Callable[..., str]) -> list[Cell]:
            found = {row.metric: Cell(getattr(row, column), text(row), 0) for row in rows.itertuples(index=False)}
            return [found.get(name, Cell(np.nan, "", 0)) for name in metrics]

        found, sign = [], signs(frame)
        places = ["source", "table", "corruption", "level", "modalities"]
        for (source, number_of_table, *condition), rows in _summed_up(frame).groupby(places, sort=False, dropna=False):
            lines = []
            for (method, printed), own in rows.groupby(["method", "printed"], sort=False):
                ours, theirs = own[["protocol", "their_protocol"]].iloc[0]
                mark = sign.get(method, "")
                lines += [
                    (
                        f"{method}{mark}: ours ({ours})",
                        cells(own, "ours", lambda row: estimate(row.ours, row.std, row.metric)),
                    ),
                    (f"{method}: {printed}, printed ({theirs})", cells(own, "theirs", _printed)),
                ]
                if own["comparable"].all():
                    difference = cells(own, "difference", lambda row: signed(row.difference, row.metric))
                    lines.append((f"{method}: difference", difference))
            place = f"Table {number_of_table}" if number_of_table.isdigit() else number_of_table
            title = f"{SOURCES[source].name}, {place}: {_condition(*condition)}"
            there = [i for i in range(len(metrics)) if not all(cells[i].empty for _, cells in lines)]
            lines = [(label, [cells[i] for i in there]) for label, cells in lines]
            found.append(Block(title, [heading(metrics[i]) for i in there], lines))
        return found

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say where the printed numbers are from, and in what they are not ours; nothing is ranked."""
        from elision.evaluation.aggregate import CONDITION
        from elision.evaluation.metrics import metric
        from elision.published import AREAS, SOURCES, load
        from elision.report import wide

        sentences = wide.made(frame)
        for (name, ours, theirs), _ in frame.groupby(["source", "protocol", "their_protocol"], sort=False):
            source = SOURCES[name]
            same = "the same as ours" if ours == theirs else f"NOT the same as ours ({ours})"
            sentences.append(f"{source.name}: {source.title}; {source.where}. Protocol {theirs}, {same}. {source.note}")
        if not frame["comparable"].all():
            sentences.append(
                f"{_APART}: the method had other features, or lacked a modality. The text shows no difference; the csv "
                "file has the differences."
            )
        for (source, differs), rows in frame[frame["differs"] != ""].groupby(["source", "differs"], sort=False):
            which = ", ".join(rows["method"].unique())
            sentences.append(f"Differences from {SOURCES[source].name}: {which}: {differs}.")
        wrong = frame[frame["erratum"] != ""]
        for (source, printed, erratum), rows in wrong.groupby(["source", "printed", "erratum"], sort=False):
            which = ", ".join(metric(name).name for name in rows["metric"].unique())
            tables = ", ".join(rows["table"].unique())
            sentences.append(f"{_ERRATUM} {printed} in {SOURCES[source].name}, table {tables}: {which}: {erratum}.")
        if len(_summed_up(frame)) < len(frame):
            sentences.append("The table shows averages and complete data. The csv file has every condition.")
        corpus, there = frame["published"].iloc[0], ["source", "table", "printed", *CONDITION]
        swapped = frame["metric"].str.endswith("_swapped")
        count = len(frame[~swapped].drop_duplicates([*there, "metric"]))
        printed = load()
        printed = printed[printed["dataset"] == corpus]
        areas, total = int(printed["corruption"].isin(AREAS).sum()), len(printed)
        alone = f"{total - count} of {total} printed numbers of {corpus}"
        sentences.append(f"{alone} have no number of ours: the method or the condition was not run.")
        if areas:
            sentences.append(
                f"{areas} of these numbers are areas over missing rates, with a model trained at each rate. Our runs "
                "have one model for all rates, and are not compared with these areas."
            )
        return sentences


def _summed_up(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Rows of ``against_published`` that text shows: averages and complete data, or all where there are none."""
    chosen = frame["corruption"].str.startswith("mean_") | (frame["level"] == 0)
    return frame[chosen] if chosen.any() else frame


def _printed(row: tuple) -> str:
    import numpy as np

    from elision.report.text import number

    text = number(row.theirs, row.metric) + (_ERRATUM if row.erratum else "")
    told = [] if np.isnan(row.corrected) else [f"corrected: {number(row.corrected, row.metric)}"]
    told += [] if row.comparable else [_APART]
    return f"{text} ({'; '.join(told)})" if told else text


def _condition(corruption: str, level: float, modalities: str) -> str:
    """Return a condition of the published tables in words."""
    from elision.published import AVERAGES

    if level == 0:
        return "nothing missing"
    if corruption in AVERAGES:
        of, count = AVERAGES[corruption]
        return average(of, level, count)
    return one_condition(corruption, level, modalities)
