"""How a dataset lies on disk: one table of utterances and one file of concatenated sequences per modality.

``samples.parquet`` has a row per utterance; ``{modality}.safetensors`` has ``values`` (all sequences end to end) and
``offsets``, also ``times`` of frames where they are known, and is memory-mapped. A row of NaN is a frame that the
extractor could not observe (no face); a sequence of length 0 is a modality that the sample does not have. No pickle is
ever written.
"""

import json
import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import BaseModel
from safetensors.numpy import save_file

from elision.errors import ElisionError
from elision.files import replacing
from elision.task import MODALITIES

if TYPE_CHECKING:
    import pandas as pd

# A single key: several would be written in an arbitrary order, and files would differ from run to run.
_METADATA_KEY = "elision"
_META = re.compile(r'<meta name="provenance" content="(\w+) (\w+)">')
_BLOCK = 1 << 22  # numbers that are read at once
_DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "BOOL": np.bool_, "U8": np.uint8}


class Header(BaseModel):
    """What a file of sequences says of itself.

    Attributes
    ----------
    modality : str
    length : int
        Padded length for batches, in tokens or frames: no sequence is longer.
    rate : float or None
        Frames per second; None for tokens and for feature files that do not say.
    features : list of str
        A name for each dimension; empty when the source does not tell them, or for token ids.
    extractor, version : str
        What made the values.
    settings : dict
        Its settings.
    facts : dict of str to dict
        What the reader would not expect of clips, by their ids; see ``Extracted``.
    provenance : dict
        See ``recipe``.
    """

    modality: str
    length: int
    rate: float | None = None
    features: list[str] = []
    extractor: str
    version: str = ""
    settings: dict = {}
    facts: dict[str, dict] = {}
    provenance: dict = {}


class Extracted(NamedTuple):
    """What an extractor makes of a clip.

    Attributes
    ----------
    values : np.ndarray [shape=(T, d), dtype=float32] or [shape=(T,), dtype=int32]
        Feature vectors, or token ids.
    times : np.ndarray [shape=(T,), dtype=float64] or None
        Seconds at which each frame is, where the rate of the header does not tell.
    facts : dict, optional
        What a reader would not expect of the clip, such as ``cut``; see ``features.media``.
    """

    values: np.ndarray
    times: np.ndarray | None = None
    facts: dict | None = None


@dataclass(frozen=True)
class Sequences:
    """The sequences of one modality, one per sample, in the order of the table.

    Attributes
    ----------
    values : np.ndarray [shape=(sum of lengths, d), dtype=float32] or [shape=(sum of lengths,), dtype=int32]
        Feature vectors, or token ids.
    offsets : np.ndarray [shape=(N + 1,), dtype=int64]
        Sequence i is ``values[offsets[i]:offsets[i + 1]]``.
    header : Header
    times : np.ndarray [shape=(sum of lengths,), dtype=float64] or None
        Seconds of the clip at which each frame is; None where the rate of the header tells, or nothing does.
    """

    values: np.ndarray
    offsets: np.ndarray
    header: Header
    times: np.ndarray | None = None

    @classmethod
    def of(
        cls, sequences: Iterable[np.ndarray], header: Header, times: Iterable[np.ndarray] | None = None
    ) -> "Sequences":
        """Concatenate sequences; those longer than ``header.length`` are cut at their end."""
        cut = [np.asarray(s)[: header.length] for s in sequences]
        offsets = np.concatenate([[0], np.cumsum([len(s) for s in cut], dtype=np.int64)]).astype(np.int64)
        timed = None if times is None else np.concatenate([np.asarray(t, np.float64)[: header.length] for t in times])
        return cls(np.concatenate(cut), offsets, header, timed)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def part(self, start: int, stop: int) -> "Sequences":
        """Return the sequences from ``start`` up to ``stop``."""
        begin, end = self.offsets[start], self.offsets[stop]
        times = None if self.times is None else self.times[begin:end]
        return Sequences(self.values[begin:end], self.offsets[start : stop + 1] - begin, self.header, times)

    def blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Read some sequences end to end, a few megabytes at once; what was read of a file does not stay in memory.

        Parameters
        ----------
        rows : np.ndarray [shape=(N,)]

        Yields
        ------
        values : np.ndarray [shape=(T, d)] or [shape=(T,)]
            Copies of the next sequences, one or several.
        """
        ends = np.cumsum(self.lengths[rows])
        size = max(1, _BLOCK // self.width)
        cuts = np.unique(np.searchsorted(ends, np.arange(size, ends[-1] if len(ends) else 0, size)))
        mapped, values = getattr(self.values, "_mmap", None), np.asarray(self.values)
        for part in np.split(np.asarray(rows), cuts):
            if len(part):
                yield np.concatenate([values[self.offsets[row] : self.offsets[row + 1]] for row in part])
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def times_of(self, i: int) -> np.ndarray | None:
        """Return the seconds of the frames of a sequence [shape=(T,)]; None if they are not stored."""
        return None if self.times is None else self.times[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Length of each sequence [shape=(N,), dtype=int64]."""
        return np.diff(self.offsets)

    @property
    def width(self) -> int:
        """Feature dimension; 1 for token ids."""
        return 1 if self.values.ndim == 1 else self.values.shape[1]


def write_tensors(path: Path | str, tensors: dict[str, np.ndarray], metadata: dict) -> None:
    """Write arrays and a JSON header to a safetensors file, atomically and with the same bytes every time."""
    with replacing(path) as temporary:
        contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(contiguous, temporary, metadata={_METADATA_KEY: json.dumps(metadata, sort_keys=True)})


def read_tensors(path: Path | str) -> tuple[dict[str, np.ndarray], dict]:
    """Memory-map the arrays of a safetensors file and read its JSON header.

    Raises
    ------
    ElisionError
        If the file is missing, or is not a safetensors file written by Elision.
    """
    path = Path(path)
    if not path.exists():
        raise ElisionError(f"{path} does not exist; make the file: snakemake --cores all {path}")
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(size))
        metadata = json.loads(entries.pop("__metadata__")[_METADATA_KEY])
        tensors: dict[str, np.ndarray] = {}
        for name, entry in entries.items():
            dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
            begin, end = entry["data_offsets"]
            if min(shape, default=0) < 0 or prod(shape) * np.dtype(dtype).itemsize != end - begin:
                raise ValueError(f"{name}: {end - begin} bytes for shape {shape}")
            if end > begin:
                tensors[name] = np.memmap(path, dtype, "r", 8 + size + begin, shape)
            else:
                tensors[name] = np.empty(shape, dtype)
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        raise ElisionError(
            f"{path} is damaged, or no store file of Elision ({error!r}); delete the file and run again"
        ) from error
    return tensors, metadata


def write_sequences(path: Path | str, sequences: Sequences) -> None:
    """Write one modality (atomically)."""
    values = sequences.values
    values = values.astype(np.int32 if values.ndim == 1 else np.float32, copy=False)
    tensors = {"values": values, "offsets": sequences.offsets}
    if sequences.times is not None:
        tensors["times"] = sequences.times
    write_tensors(path, tensors, sequences.header.model_dump())


def read_sequences(path: Path | str) -> Sequences:
    """Open one modality, memory-mapped."""
    tensors, metadata = read_tensors(path)
    try:
        offsets, times = np.asarray(tensors["offsets"]), tensors.get("times")
        sequences = Sequences(tensors["values"], offsets, Header(**metadata), times)
        edges = sequences.offsets
        if times is not None and times.shape != (len(sequences.values),):
            raise ValueError("times that are not one for each frame")
        if edges[0] != 0 or edges[-1] != len(sequences.values) or (np.diff(edges) < 0).any():
            raise ValueError("the offsets do not rise from 0 to the number of values")
    except Exception as error:  # a damaged file fails in whatever way its bytes happen to say
        raise ElisionError(
            f"{path} is damaged, or no store file of Elision ({error!r}); delete the file and run again"
        ) from error
    return sequences


def write_table(path: Path | str, table: "pd.DataFrame", provenance: dict) -> None:
    """Write a parquet table (atomically) with its provenance in the schema metadata."""
    import pyarrow as pa  # not above: params import this module, and so every job does
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {
        **(arrow.schema.metadata or {}),
        _METADATA_KEY.encode(): json.dumps(provenance, sort_keys=True).encode(),
    }
    with replacing(path) as temporary:
        pq.write_table(arrow.replace_schema_metadata(metadata), temporary, compression="zstd")


def read_provenance(path: Path | str) -> dict:
    """Read how an artifact was made, and not the artifact: a table, a safetensors file, ``run.json`` or the page.

    Of ``run.json`` it has the digest of the weights, too.

    Raises
    ------
    ElisionError, KeyError, TypeError, AttributeError, OSError, ValueError
        If Elision did not write the file.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        from pyarrow.parquet import read_schema

        return json.loads(read_schema(path).metadata[_METADATA_KEY.encode()])
    if path.suffix == ".html":
        found = _META.search(path.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{path}: the page has no identity")
        return {"identity": found[1], "data": found[2]}
    if path.suffix == ".json":
        record = json.loads(path.read_text(encoding="utf-8"))
        return {**record["provenance"], "weights": record["weights"]}
    _, metadata = read_tensors(path)
    return metadata.get("provenance", metadata)


def read_table(path: Path | str) -> "tuple[pd.DataFrame, dict]":
    """Read a parquet table and its provenance.

    Raises
    ------
    ElisionError
        If the file is missing, or is not a table that Elision wrote.
    """
    from pyarrow import parquet

    path = Path(path)
    if not path.exists():
        raise ElisionError(f"{path} does not exist; make the file: snakemake --cores all {path}")
    try:
        arrow = parquet.read_table(path)
        provenance = json.loads((arrow.schema.metadata or {})[_METADATA_KEY.encode()])
    except Exception as error:  # likewise
        raise ElisionError(
            f"{path} is damaged, or no table of Elision ({error!r}); delete the file and run again"
        ) from error
    table = arrow.to_pandas()
    # pandas reads a missing string as nan; a str or None is what was written.
    for column in table.select_dtypes("str"):
        table[column] = table[column].astype(object).where(table[column].notna(), None)
    return table, provenance


@dataclass(frozen=True)
class Store:
    """A whole dataset: the table of utterances and the sequences of each modality that it has."""

    samples: "pd.DataFrame"
    modalities: dict[str, Sequences]
    provenance: dict

    @classmethod
    def open(cls, folder: Path | str) -> "Store":
        """Open ``samples.parquet`` and every modality file that the table's provenance names.

        Raises
        ------
        ElisionError
            If a file is missing or does not have a sequence per sample.
        """
        folder = Path(folder)
        samples, provenance = read_table(folder / "samples.parquet")
        modalities = {name: read_sequences(folder / f"{name}.safetensors") for name in provenance["modalities"]}
        for name, sequences in modalities.items():
            if len(sequences) != len(samples):
                raise ElisionError(
                    f"{folder / name}.safetensors: {len(sequences)} sequences for {len(samples)} samples of "
                    f"samples.parquet. One of the two files is out of date; delete {folder} and run again"
                )
        return cls(samples, modalities, provenance)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in their order; empty for regression."""
        return tuple(self.provenance.get("classes", ()))

    @property
    def present(self) -> tuple[str, ...]:
        """The modalities that some sample has; text counts as token ids or as vectors."""
        has = {name.removesuffix("_features") for name, s in self.modalities.items() if s.lengths.any()}
        return tuple(name for name in MODALITIES if name in has)

    @property
    def text(self) -> Sequences | None:
        """Token ids of the text, or its vectors, where there are no ids."""
        return self.modalities.get("text", self.modalities.get("text_features"))

    @property
    def aligned_length(self) -> int:
        """Padded length of what is aligned: that of the text, or, without text, of the shorter other modality."""
        if self.text is not None:
            return self.text.header.length
        return min((sequences.header.length for sequences in self.modalities.values()), default=1)

    def positions(self) -> np.ndarray:
        """Count the positions of each sample that audio and vision are aligned to [shape=(N,), dtype=int64].

        They are the tokens of its text. A sample without text has as many as its shorter other modality has frames, but
        no more than ``aligned_length``.
        """
        tokens = np.zeros(len(self.samples), np.int64) if self.text is None else self.text.lengths
        others = [sequences.lengths for name, sequences in self.modalities.items() if not name.startswith("text")]
        most = np.iinfo(np.int64).max
        fewest = np.min([np.where(of > 0, of, most) for of in others], axis=0) if others else np.full(len(tokens), most)
        frames = np.where(fewest < most, np.minimum(fewest, self.aligned_length), 0)
        return np.where(tokens > 0, tokens, frames).astype(np.int64)

    def rows(self, split: str, fold: int = 0) -> np.ndarray:
        """Row numbers of a split, in the order of the table; of a fold, where the dataset has folds."""
        column = f"fold-{fold}" if fold else "split"
        return np.flatnonzero((self.samples[column] == split).to_numpy())
