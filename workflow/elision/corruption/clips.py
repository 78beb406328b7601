"""What is extracted from corrupted clips: the sequences of the test samples at each severity, and what was measured.

One safetensors file per kind of corruption has the sequences, for each severity and each modality that the kind
concerns; a parquet table beside it has a row per clip and severity. Nothing here decodes media.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elision.errors import ElisionError
from elision.store import Header, Sequences, Store, read_tensors, write_tensors

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("values", "offsets", "times")


@dataclass(frozen=True)
class CorruptedClips:
    """The features of clips under one kind of corruption.

    Attributes
    ----------
    ids : list of N str
        The clips.
    sequences : dict of (int, str) to Sequences
        By severity and modality, one for each clip.
    measured : list of dict
        A row per clip and severity: ``id``, ``severity``, what was measured, and ``text``, if the words are corrupted.
    failed : dict of str to str
        Clips whose corrupted form cannot be extracted, and why (``features.on_error: skip``): they have no frame.
    provenance : dict
    """

    ids: list[str]
    sequences: dict[tuple[int, str], Sequences]
    measured: list[dict[str, Any]]
    failed: dict[str, str]
    provenance: dict

    @property
    def modalities(self) -> list[str]:
        """What the kind concerns."""
        return list(dict.fromkeys(modality for _, modality in self.sequences))

    @property
    def severities(self) -> list[int]:
        """Severities, without 0: the clean clips."""
        return list(dict.fromkeys(severity for severity, _ in self.sequences))

    def table(self) -> "pd.DataFrame":
        """Return what was measured: a row per clip and severity, with NaN where a clip has no such value."""
        import pandas as pd

        names = {name for row in self.measured for name in row} - {"id", "severity"}
        return pd.DataFrame(self.measured, columns=["id", "severity", *sorted(names)])

    def store(self, clean: Store, severity: int) -> Store:
        """Return a store as it would be if its clips were corrupted, where they were; other samples have no data.

        Parameters
        ----------
        clean : Store
            Of the clean clips; the padded lengths are its own.
        severity : int

        Raises
        ------
        ElisionError
            If a clip is none of its samples.
        """
        import pandas as pd

        place = {name: row for row, name in enumerate(clean.samples["id"])}
        if unknown := [name for name in self.ids if name not in place]:
            raise ElisionError(f"the corrupted clip {unknown[0]!r} is no sample of the dataset; run the workflow again")
        rows = np.array([place[name] for name in self.ids], np.int64)
        modalities = dict(clean.modalities)
        for modality in self.modalities:
            modalities[modality] = _at(self.sequences[severity, modality], rows, clean.modalities[modality])
        samples = clean.samples
        texts = {row["id"]: row["text"] for row in self.measured if row["severity"] == severity and "text" in row}
        if texts:  # words that are no longer those of the transcript have no times
            now = [texts.get(name, text) for name, text in zip(samples["id"], samples["text"], strict=True)]
            samples = samples.assign(text=pd.Series(now, samples.index, dtype=object))
            if "words" in samples:
                samples["words"] = samples["words"].astype(object).where(~samples["id"].isin(list(texts)), None)
        return replace(clean, samples=samples, modalities=modalities)

    def write(self, path: Path) -> None:
        """Write the sequences, and in the header of the file all else."""
        tensors, headers = {}, {}
        for (severity, modality), sequences in self.sequences.items():
            for part in _PARTS:
                if (array := getattr(sequences, part)) is not None:
                    tensors[f"{severity}.{modality}.{part}"] = np.asarray(array)
            headers[modality] = sequences.header.model_dump(exclude={"provenance", "facts"})
        about = {"ids": self.ids, "headers": headers, "measured": self.measured, "failed": self.failed}
        write_tensors(path, tensors, {**about, "provenance": self.provenance})

    @classmethod
    def read(cls, path: Path) -> "CorruptedClips":
        """Open what was written, memory-mapped.

        Raises
        ------
        ElisionError
            If the file is missing or damaged.
        """
        tensors, about = read_tensors(path)
        sequences: dict[tuple[int, str], Sequences] = {}
        try:
            for name in (name for name in tensors if name.endswith(".values")):
                severity, modality, _ = name.split(".")
                header = Header(**about["headers"][modality])
                offsets = np.asarray(tensors[f"{severity}.{modality}.offsets"])
                times = tensors.get(f"{severity}.{modality}.times")
                sequences[int(severity), modality] = Sequences(tensors[name], offsets, header, times)
            sequences = dict(sorted(sequences.items()))
            return cls(about["ids"], sequences, about["measured"], about["failed"], about["provenance"])
        except (KeyError, TypeError, ValueError) as error:
            raise ElisionError(
                f"{path} is damaged, or holds no corrupted clips ({error!r}); delete the file and run again"
            ) from None

    @classmethod
    def joined(cls, parts: Sequence["CorruptedClips"], provenance: dict) -> "CorruptedClips":
        """Put the clips of several shards end to end."""
        sequences = {
            key: Sequences.of(
                [each for part in parts for each in part.sequences[key]],
                first.header,
                None if first.times is None else _times(part.sequences[key] for part in parts),
            )
            for key, first in parts[0].sequences.items()
        }
        return cls(
            [name for part in parts for name in part.ids],
            sequences,
            [row for part in parts for row in part.measured],
            {name: why for part in parts for name, why in part.failed.items()},
            provenance,
        )


def _times(parts: Iterable[Sequences]) -> list[np.ndarray]:
    return [np.asarray(part.times_of(row)) for part in parts for row in range(len(part))]


def _at(found: Sequences, rows: np.ndarray, clean: Sequences) -> Sequences:
    """Give sequences the places ``rows``, which rise, among as many as the clean ones are; the others are empty."""
    lengths = np.zeros(len(clean), np.int64)
    order = np.argsort(rows, kind="stable")
    lengths[rows] = found.lengths
    if (order != np.arange(len(rows))).any():
        times = None if found.times is None else [np.asarray(found.times_of(row)) for row in order]
        found = Sequences.of([found[row] for row in order], found.header, times)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(found.values, offsets, clean.header, found.times)


def means(measured: "pd.DataFrame", names: Iterable[str]) -> "pd.DataFrame":
    """Average what was measured over the clips at each severity; infinite and missing values are left out.

    Returns
    -------
    means : pd.DataFrame
        Columns ``severity``, ``measurement``, ``mean`` and ``clips``, which have a value; a row for each measurement
        that some clip has at the severity.
    """
    shown = [name for name in names if name in measured]
    values = measured.melt("severity", shown, "measurement", "mean").replace([np.inf, -np.inf], np.nan).dropna()
    values = values.astype({"mean": np.float64, "measurement": str})
    found = values.groupby(["measurement", "severity"], sort=False)["mean"].agg(mean="mean", clips="size").reset_index()
    return found[["severity", "measurement", "mean", "clips"]]
