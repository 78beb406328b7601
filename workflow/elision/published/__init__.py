"""Published tables as data: the numbers as they are printed, where they come from, and what is wrong with them.

``{source}.csv`` holds a number per row, ``errata.csv`` what is known to be wrong. A printed number is never changed: an
erratum stands beside it.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent
CORPORA = ("mosi", "mosei", "sims", "iemocap", "mer2024")
WHERE = ("source", "table", "method", "dataset", "corruption", "level", "modalities", "metric")


# What each printed average is over: the corruption, and how many numbers there are (of noise: at the same intensity).
AVERAGES = {"mean_random": ("random", 10), "mean_absent": ("absent", 6), "mean_gaussian": ("gaussian", 6)}
# Printed areas under a metric over the random missing rates, where each rate has a model that was trained at this rate.
# They are by trapezoids, from rate 0 to the rate in ``level``, and not divided by it. No number of ours is made so.
AREAS = ("area_random_trained_per_rate",)
RATES = tuple(rate / 10 for rate in range(10))


@dataclass(frozen=True)
class Inputs:
    """Text encoder (or kind of vectors), and how many numbers an audio frame and a vision frame have."""

    encoder: str
    audio: int
    vision: int


@dataclass(frozen=True)
class Source:
    """Where numbers were printed, and how they were made.

    Attributes
    ----------
    name : str
        Short, as in tables.
    title, where : str
    protocol : str
        Ours (``elision.settings.protocols``) that is nearest.
    inputs : dict of str to Inputs
        By corpus.
    note : str
        What a reader of the numbers must know; "" for nothing.
    """

    name: str
    title: str
    where: str
    protocol: str
    inputs: dict[str, Inputs]
    note: str = ""


SOURCES = {
    "lnln": Source(
        "LNLN",
        "Zhang et al., Towards Robust Multimodal Sentiment Analysis with Incomplete Data, NeurIPS 2024",
        "arXiv 2409.20012, Tables 2, 3 and 9 to 14; corrigenda in the README of its code",
        "lnln",
        {
            "mosi": Inputs("bert-base-uncased", 5, 20),
            "mosei": Inputs("bert-base-uncased", 74, 35),
            "sims": Inputs("bert-base-chinese", 33, 709),
        },
        "Checkpoints chosen for each metric on the test split at r = 0.5.",
    ),
    "hrlf": Source(
        "HRLF",
        "Li et al., Toward Robust Incomplete Multimodal Sentiment Analysis via Hierarchical Representation Learning, "
        "NeurIPS 2024",
        "arXiv 2411.02793, the tables of absent modalities and of ablations",
        "hrlf",
        dict.fromkeys(("mosi", "mosei", "iemocap"), Inputs("GloVe", 74, 35)),
        "All methods were run again by its authors. It does not say whether F1 leaves out labels of 0, nor how it is "
        "averaged on IEMOCAP; it is put beside our F1 without them, and our weighted F1 of one class against the rest. "
        "IEMOCAP is that of MulT, 4,453 utterances.",
    ),
    "emt_dlfr": Source(
        "EMT-DLFR",
        "Sun et al., Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal "
        "Sentiment Analysis, IEEE TAFFC 2023",
        "arXiv 2208.07589, Tables 6 and 7, as shown in the repository of its code",
        "mmsa",
        {
            "mosi": Inputs("bert-base-uncased", 5, 20),
            "mosei": Inputs("bert-base-uncased", 74, 35),
            "sims": Inputs("bert-base-chinese", 33, 709),
        },
        "Areas under the metric over the missing rates. One model is trained per rate and tested at the same rate. The "
        "captions name the rates 0.1 to 1 (CH-SIMS: 0.1 to 0.5), but the code adds the trapezoids from rate 0 on. The "
        "area is not divided by the range, so that CH-SIMS has half of a mean. The second of two printed Acc-2 and F1 "
        "leaves out labels of 0: this is our reading, in the order of the code.",
    ),
    "nmer": Source(
        "NMER",
        "Fan et al., Learning Noise-Robust Joint Representation for Multimodal Emotion Recognition under Incomplete "
        "Data Scenarios, 2023",
        "arXiv 2311.16114; the numbers are those of a plotting script of its code (commit cd20f9a), since deleted",
        "nmer",
        {"iemocap": Inputs("bert-large-uncased", 130, 342)},
        "The kind of noise is not named; Gaussian is our reading.",
    ),
    "mmin": Source(
        "MMIN",
        "Zhao et al., Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing Modalities, "
        "ACL 2021",
        "doi 10.18653/v1/2021.acl-long.203; six numbers as a reader quotes them (AIM3-RUC/MMIN, issue 7)",
        "mmin",
        {"iemocap": Inputs("bert-large-uncased", 130, 342)},
        "Metric and sets are our reading of the quotation.",
    ),
}


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False)


@lru_cache
def _text() -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([_read(FOLDER / f"{name}.csv").assign(source=name) for name in SOURCES], ignore_index=True)


def errata() -> "pd.DataFrame":
    """Return what is known to be wrong, as text.

    Returns
    -------
    errata : pd.DataFrame
        Columns ``check`` (which check of ``elision.published.check`` finds it; "": no arithmetic does), those of
        ``WHERE`` (patterns, in which * stands for anything), ``corrected`` (the right value, where its authors give
        one), ``by`` (who says so) and ``why``.
    """
    return _read(FOLDER / "errata.csv")


def load() -> "pd.DataFrame":
    """Return all printed numbers, in the order in which they are printed.

    Returns
    -------
    numbers : pd.DataFrame
        Columns ``source`` (key of ``SOURCES``), ``table``, ``protocol``, ``method`` (our name, or one in our manner),
        ``printed`` (as in the table), ``dataset`` (corpus), ``corruption`` (as in the metrics of runs; "mean_random",
        "mean_absent", "mean_gaussian": an average that is printed; of ``AREAS``: an area), ``level`` (nan for a mean
        over levels; the last rate of an area), ``modalities`` (those corrupted), ``metric`` (our
        name), ``value`` (shares as fractions of 1), ``decimals`` (of the value, as printed), ``corrected`` (nan
        without), ``swapped`` (an F1 with swapped arguments), ``erratum`` (what is wrong and who says so, or "").
    """
    import pandas as pd

    numbers = _text()
    notes, corrected, swapped = [""] * len(numbers), [""] * len(numbers), [False] * len(numbers)
    for erratum in errata().itertuples(index=False):
        for row in matching(numbers, [getattr(erratum, column) for column in WHERE]):
            note = f"{erratum.why} ({erratum.by})"
            notes[row] = f"{notes[row]}; {note}" if notes[row] else note
            corrected[row] = erratum.corrected or corrected[row]
            swapped[row] |= erratum.check == "swapped_f1"
    numbers = numbers.assign(
        protocol=numbers["source"].map({name: source.protocol for name, source in SOURCES.items()}),
        decimals=numbers["value"].str.partition(".")[2].str.len(),
        corrected=pd.to_numeric(pd.Series(corrected)),
        swapped=swapped,
        erratum=notes,
    )
    numbers[["level", "value"]] = numbers[["level", "value"]].apply(pd.to_numeric)
    columns = ["source", "table", "protocol", "method", "printed", "dataset", "corruption", "level", "modalities"]
    return numbers[[*columns, "metric", "value", "decimals", "corrected", "swapped", "erratum"]]


def matching(numbers: "pd.DataFrame", patterns: list[str]) -> list[int]:
    """Return the positions of the rows (as text) that fit patterns of the columns of ``WHERE``."""
    fits = True
    for column, pattern in zip(WHERE, patterns, strict=True):
        known = [value for value in numbers[column].unique() if fnmatchcase(value, pattern)]
        fits &= numbers[column].isin(known).to_numpy()
    return [int(row) for row in fits.nonzero()[0]]
