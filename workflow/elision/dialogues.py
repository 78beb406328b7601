"""Dialogues: which utterances belong together, in which order they were spoken, and by whom."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_OF_IDS = r"(?P<dialogue>.+)\$_\$(?P<position>\d+)"  # video$_$clip, as in MMSA's files: a video is a dialogue


def known(samples: "pd.DataFrame") -> "pd.DataFrame":
    """Return the dialogue and the position of each utterance; None and NaN where one of them is unknown.

    Parameters
    ----------
    samples : pd.DataFrame
        With ``id``. The columns ``dialogue`` and ``position`` say both, or else an id ``video$_$clip``, where ``clip``
        is a number.
    """
    import pandas as pd

    found = samples["id"].str.extract(_OF_IDS)
    if {"dialogue", "position"} <= set(samples):
        told = samples[["dialogue", "position"]]
        found = told.where(told.notna().all(axis=1), found)
    position = pd.to_numeric(found["position"], errors="coerce").astype(np.float64)
    dialogue = found["dialogue"].astype(object).where(position.notna() & found["dialogue"].notna(), None)
    return pd.DataFrame({"dialogue": dialogue, "position": position.where(dialogue.notna())})


def members(samples: "pd.DataFrame") -> list[np.ndarray]:
    """Return the rows of the utterances of each dialogue, in the order in which they were spoken.

    Dialogues are in the order of their first utterance in the table. An utterance of no known dialogue is a dialogue
    of its own.
    """
    table = known(samples)
    groups: dict[object, list[int]] = {}
    for row, name in enumerate(table["dialogue"]):
        groups.setdefault(("alone", row) if name is None else name, []).append(row)
    position = table["position"].to_numpy()
    return [np.array(sorted(rows, key=position.__getitem__)) for rows in groups.values()]


def speakers(samples: "pd.DataFrame") -> np.ndarray:
    """Return the number of the speaker of each utterance in its dialogue [N] int64, by name, from 0.

    Who is not known is one more speaker of the dialogue, the first.
    """
    if "speaker" not in samples:
        return np.zeros(len(samples), np.int64)
    names = samples["speaker"].where(samples["speaker"].notna(), "").astype(str)
    of = known(samples)["dialogue"]
    of = of.where(of.notna(), samples["id"])
    return names.groupby(of).rank(method="dense").to_numpy().astype(np.int64) - 1
