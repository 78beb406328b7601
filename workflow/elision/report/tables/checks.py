"""What the checks of `elision check` find."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from elision.report.results import Asked, Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

_STATUSES = {"passed": "passed", "failed": "failed", "declared": "declared", "skipped": "not applicable"}


class Checks(Table):
    """One row per method, and per teacher that methods start from: which checks of its first run hold."""

    name = "checks"
    caption = "Checks of the methods"
    section, place = "Checks", (1060, 0)
    empty = "No method was checked."

    def applies(self, asked: Iterable[Asked]) -> bool:
        """Methods are checked where ``report.check`` says so."""
        return any(each.checked for each in asked)

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Count the checks by their outcome.

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``method``, ``checkpoints``, the numbers of checks that ``passed``, ``failed``, are
            ``declared`` and are ``skipped``, the names of those that failed, and what was found: ``failures``
            and ``exceptions``.
        """
        import pandas as pd

        from elision.evaluation.aggregate import FLOOR, VALID
        from elision.settings.params import teacher_names

        columns = ["dataset", "method", "checkpoints", *_STATUSES, "failed_checks", "failures", "exceptions"]
        if results.checks is None:
            return pd.DataFrame(columns=columns)
        order = [*(method for method in methods if method != FLOOR), *teacher_names(), FLOOR]
        runs = {(dataset, method): record for (dataset, method, _), record in results.records.items()}
        rows = []
        for (dataset, method), found in results.checks.groupby(["dataset", "method"]):
            if method not in order:
                continue
            checkpoints = runs.get((dataset, method), {}).get("checkpoints", {VALID: {}})
            statuses = found.drop_duplicates("check")["status"]
            faults = found[(found["text"] != "") & (found["declared"] == "")]
            exceptions = found[found["declared"] != ""]
            rows.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "checkpoints": "valid" if set(checkpoints) == {VALID} else "TEST",
                    **{name: int((statuses == name).sum()) for name in _STATUSES},
                    "failed_checks": ", ".join(faults["check"].unique()),
                    "failures": "; ".join(f"{row.check}: {row.text}" for row in faults.itertuples()),
                    "exceptions": "; ".join(
                        f"{row.check}: {row.text.rstrip('.')} ({row.declared})" for row in exceptions.itertuples()
                    ),
                }
            )
        frame = pd.DataFrame(rows, columns=columns)
        place = frame["method"].map(order.index)
        return frame.assign(place=place).sort_values(["dataset", "place"]).drop(columns="place").reset_index(drop=True)

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Print the verdict and the numbers of checks; nothing is ranked."""
        from elision.report.text import Block, Cell

        rows = []
        for row in frame.to_dict("records"):
            verdict = f"FAILED: {row['failed_checks']}" if row["failed"] else "all hold"
            cells = [Cell(row["failed"], verdict, 0)]
            cells += [Cell(row[name], str(row[name]), 0) for name in _STATUSES if name != "failed"]
            rows.append((row["method"], cells))
        return [Block("", ["checks", *(title for name, title in _STATUSES.items() if name != "failed")], rows)]

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say what failed, and what methods declare."""
        told = [f"{row.method} fails {row.failures}" for row in frame.itertuples() if row.failures]
        told += [f"{row.method} declares {row.exceptions}." for row in frame.itertuples() if row.exceptions]
        return [
            *told,
            "The checks were made with the weights, the sizes and the hyperparameters of the first run, as far as a "
            "check depends on them, and else with a small method.",
            "A declared exception is a property that the class of the method states with its reason. "
            "docs/checks.md describes every check.",
        ]
