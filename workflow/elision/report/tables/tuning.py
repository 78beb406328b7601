"""What tuning found on the validation split, and what it cost."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from elision.report.results import Asked, Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

COLUMNS = ["dataset", "method", "checkpoints", "run", "trials", "pruned", "failed", "first", "best", "trial", "seconds"]


class Tuning(Table):
    """One row per tuned method, and per tuned teacher: its trials, and what the best of them gained."""

    name = "tuning"
    caption = "Tuning of hyperparameters on the validation split"
    section, place = "Tuning", (1055, 0)
    empty = "No method was tuned."

    def applies(self, asked: Iterable[Asked]) -> bool:
        """There are trials where the params have ``tune``."""
        return any(each.tuned for each in asked)

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Count trials.

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``method``, ``checkpoints``, ``run`` (that tunes), the numbers of ``trials``, of those
            that were ``pruned`` and that ``failed``, the validation scores of trial 0 (``first``) and of the ``best``
            trial, which is ``trial``, ``seconds`` of all trials, and ``values`` (JSON).
        """
        import pandas as pd

        from elision.settings.params import teacher_names

        if results.tuning is None:
            return pd.DataFrame(columns=[*COLUMNS, "values"])
        order = list(dict.fromkeys([*methods, *teacher_names()]))
        rows = []
        for (dataset, method, run), trials in results.tuning.groupby(["dataset", "method", "run"], sort=True):
            (best,) = trials[trials["number"] == trials["winner"]].to_dict("records")
            rows.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "checkpoints": "valid",
                    "run": run,
                    "trials": len(trials),
                    "pruned": (trials["state"] == "pruned").sum(),
                    "failed": (trials["state"] == "failed").sum(),
                    "first": trials.loc[trials["number"] == 0, "score"].item(),
                    "best": best["score"],
                    "trial": best["number"],
                    "seconds": trials["seconds"].sum(),
                    "values": best["values"],
                }
            )
        frame = pd.DataFrame(rows, columns=[*COLUMNS, "values"])
        frame = frame[frame["method"].isin(order)]
        return frame.sort_values("method", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Make a block for each fold; nothing is ranked."""
        from elision.report.text import NAN, Block, Cell

        forms = {"trials": ".0f", "pruned": ".0f", "failed": ".0f", "first": ".4f", "best": ".4f", "trial": ".0f"}
        titles = ["trials", "ended early", "failed", "score of trial 0", "score of the best trial", "best trial"]
        runs = frame["run"].unique()
        return [
            Block(
                run if len(runs) > 1 else "",
                [*titles, "hours"],
                [
                    (
                        row["method"],
                        [
                            Cell(value, NAN if value != value else f"{value:{form}}", 0)
                            for value, form in [
                                *((row[name], form) for name, form in forms.items()),
                                (row["seconds"] / 3600, ".2f"),
                            ]
                        ],
                    )
                    for row in frame[frame["run"] == run].to_dict("records")
                ],
            )
            for run in runs
        ]

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say what was searched and found."""
        from elision.report import marks

        values = [(row["method"], json.loads(row["values"])) for row in frame.to_dict("records")]
        chosen = [
            f"{method}: {', '.join(f'{name} {_short(value)}' for name, value in found.items())}."
            for method, found in values
        ]
        return [
            *marks.notes(frame, signed=True),
            "Scores are those of the validation split. No trial sees the test split.",
            "Trial 0 has the default values, unless tune.space excludes them.",
            *(chosen if frame["run"].nunique() == 1 else ["The csv file has the chosen values of every fold."]),
        ]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
