"""What training and predicting cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elision.report.results import Results
from elision.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from elision.report.text import Block

# Heading and format of each quantity.
_COSTS = {
    "seconds_per_epoch": ("s per epoch", ".2f"),
    "epochs": ("epochs", ".1f"),
    "seconds": ("s in all", ".1f"),
    "peak_memory_mb": ("peak memory (MB)", ".0f"),
    "parameters": ("parameters", ",.0f"),
    "text_encoder_parameters": ("parameters of the text encoder", ",.0f"),
    "milliseconds_per_sample": ("ms per predicted sample", ".2f"),
}


class Cost(Table):
    """One row per method, and per teacher that methods start from: what a run cost, and what a prediction does."""

    name = "cost"
    caption = "Cost of training and of a prediction"
    section, place = "Training and cost", (1050, 0)
    empty = "No training has a record."

    def frame(self, results: Results, methods: Sequence[str]) -> "pd.DataFrame":
        """Average over runs.

        Returns
        -------
        frame : pd.DataFrame
            Columns ``dataset``, ``method``, ``checkpoints``, ``runs``, ``devices`` (with precision), and mean and
            sample standard deviation (ddof = 1) over runs of ``seconds_per_epoch`` (wall-clock, with validation),
            ``epochs``, ``seconds`` (of all epochs), ``peak_memory_mb`` (of the process, or of the GPU), ``parameters``
            (without those of the text encoder), ``text_encoder_parameters`` and ``milliseconds_per_sample`` (wall-clock
            time of a prediction in batches).
        """
        import numpy as np
        import pandas as pd

        from elision.evaluation.aggregate import FLOOR, VALID
        from elision.settings.params import teacher_names

        # A teacher may be a row, too.
        order = list(dict.fromkeys([*(method for method in methods if method != FLOOR), *teacher_names(), FLOOR]))
        rows = [
            {
                "dataset": dataset,
                "method": method,
                "on_test": set(record["checkpoints"]) != {VALID},
                "device": f"{record['device']}, {record.get('precision', 'float32')}"
                + (", compiled" if record.get("compiled") else ""),
                "seconds": record["seconds_per_epoch"] * record["epochs"],
                "milliseconds_per_sample": 1000 * record.get("seconds_per_sample", np.nan),
                **{name: record[name] for name in _COSTS if name in record},
            }
            for (dataset, method, _), record in sorted(results.records.items())
            if method in order
        ]
        runs = pd.DataFrame(rows, columns=["dataset", "method", "on_test", "device", *_COSTS])
        runs["method"] = pd.Categorical(runs["method"], order)
        groups = runs.groupby(["dataset", "method"], observed=True)
        frame = pd.DataFrame({"runs": groups.size()})
        frame.insert(0, "checkpoints", np.where(groups["on_test"].any().astype(bool), "TEST", "valid"))
        frame["devices"] = groups["device"].agg(lambda names: ", ".join(sorted(set(names))))
        for name in _COSTS:
            frame[f"{name}_mean"], frame[f"{name}_std"] = groups[name].mean(), groups[name].std(ddof=1)
        return frame.reset_index().astype({"method": str})

    def blocks(self, frame: "pd.DataFrame") -> "list[Block]":
        """Print means; more is not better, and nothing is ranked. What no method has is left out."""
        import numpy as np

        from elision.report.text import NAN, Block, Cell

        shown = {name: entry for name, entry in _COSTS.items() if (frame[f"{name}_mean"] > 0).any()}
        rows = []
        for row in frame.to_dict("records"):
            cells = []
            for name, (_, form) in shown.items():
                mean, std = row[f"{name}_mean"], row[f"{name}_std"]
                text = f"{mean:{form}} ± {std:{form}}" if std > 0 else f"{mean:{form}}"
                cells.append(Cell(mean, NAN if np.isnan(mean) else text, 0))
            rows.append((row["method"], cells))
        return [Block("", [title for title, _ in shown.values()], rows)]

    def notes(self, frame: "pd.DataFrame", *, second: str = "underlined") -> list[str]:
        """Say what was measured, and where."""
        from elision.report import marks, wide
        from elision.settings.params import teacher_names

        over = f"Mean over {wide.counts(frame['runs'], 'run')}, ±: sample standard deviation (ddof = 1)."
        trained = frame["seconds_mean"].max() > 0
        encodes = frame["text_encoder_parameters_mean"].max() > 0
        predicted = "A sample is an utterance of the validation split, predicted in batches as in the training."
        measured = [f"{predicted} The time includes {'the text encoder, but ' if encodes else ''}no extraction."]
        teachers = frame["method"].isin(teacher_names()).any()
        return [
            *marks.notes(frame, signed=True),
            over if frame["runs"].max() > 1 else "One run: no standard deviation.",
            f"Devices: {'; '.join(sorted(set(frame['devices'])))}.",
            *(["Seconds are wall-clock time of training with validation."] if trained else []),
            "Memory is that of the GPU, or of the process if no GPU was used. Times and memory differ between runs and "
            "between machines.",
            *(measured if frame["milliseconds_per_sample_mean"].notna().any() else []),
            *(["A teacher is trained once for all methods that start from the teacher."] if teachers else []),
        ]
