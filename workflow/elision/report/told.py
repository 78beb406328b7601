"""Which methods are told what their input lacks, where what stands in its place looks like data.

Zeros and unknown tokens tell every method what is absent. Noise looks like data. A method that is told which modalities
are noisy can do without them, and is then as good at every intensity. It has an easier task than one that has to see
for itself.
"""

import pandas as pd

from elision.corruption.kind import Kind
from elision.evaluation.aggregate import FLOOR
from elision.report.results import Results
from elision.settings.params import method_names, reads_text, told_absent

_ALL, _TEXT, _NOTHING = "all", "text", "nothing"


def column(frame: pd.DataFrame, results: Results, kind: Kind) -> pd.DataFrame:
    """Add the column ``told``, unless nothing that the kind puts in place looks like data, or no run has a record.

    Of each method it is "all", "text" (token ids become unknown ones), or "nothing".
    """
    of = {key[:2]: str(record.get("method", key[1])) for key, record in results.records.items()}
    if not kind.disguised or not of:
        return frame
    known = set(method_names())

    def told(dataset: str, row: str) -> str:
        method = of.get((results.trained_on(dataset), row), row)
        if row == FLOOR or method not in known:
            return _NOTHING
        return _ALL if told_absent(method) else _TEXT if reads_text(method) == "tokens" else _NOTHING

    return frame.assign(told=[told(*row) for row in zip(frame["dataset"], frame["method"], strict=True)])


def sentences(rows: pd.DataFrame, kind: Kind) -> list[str]:
    """Say which methods of the rows of one dataset are told, if this is known."""
    if "told" not in rows:
        return []
    told = rows[rows["method"] != FLOOR].drop_duplicates("method").groupby("told")["method"].agg(", ".join)
    said = {
        _ALL: f"Told which modalities are {kind.sets}: {{}}. Such a method can do without these modalities, and then "
        f"has one result at every {kind.level.split()[0]}.",
        _TEXT: f"Methods that read token ids, so that {kind.sets} text is [UNK]: {{}}.",
        _NOTHING: f"Not told which modalities are {kind.sets}: {{}}.",
    }
    return [text.format(told[what]) for what, text in said.items() if what in told]
