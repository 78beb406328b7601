"""The prepare step: from a source to a table of clips, or straight to a store."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from elision.errors import ElisionError
from elision.manifest import sha256
from elision.params import Params, dataset_source
from elision.progress import track
from elision.store import Sequences, write_sequences, write_table
from elision.task import SPLITS


def prepare(params: Params, dataset: str, *, clips: Path, media: Path, store: Path, provenance: dict) -> None:
    """Prepare a dataset.

    A source of media writes its table to ``clips`` (and media that it makes to the folder ``media``); a source of
    sequences writes a whole store.

    Raises
    ------
    ElisionError
        If the source finds its files wanting, or a split is empty.
    """
    settings = params.datasets[dataset]
    source = dataset_source(settings.source)
    if source.MAKES == "clips":
        table = source.prepare(settings, media)
        check_splits(table, f"dataset {dataset!r}")
        _forget_other_media(media, table)
        # With the content of the media in the table, other media under the same names are other clips.
        paths = track(table["path"], f"read the media of {dataset}", len(table))
        table["sha256"] = [sha256(Path(path)) if isinstance(path, str) else None for path in paths]
        write_table(clips, table, {**provenance, "data": data_digest(table)})
        return
    samples, modalities = source.prepare(settings, store)
    check_splits(samples, f"dataset {dataset!r}")
    for name, sequences in modalities.items():
        sequences.header.provenance = provenance
        write_sequences(store / f"{name}.safetensors", sequences)
    write_samples(store / "samples.parquet", samples, modalities, provenance)


def write_samples(path: Path, samples: pd.DataFrame, modalities: dict[str, Sequences], provenance: dict) -> None:
    """Write the table of samples, with the length of each modality and a digest of all data."""
    digests = []
    for name, sequences in modalities.items():
        samples = samples.assign(**{f"length_{name}": sequences.lengths})
        digests.append(hashlib.sha256(np.ascontiguousarray(sequences.values)).hexdigest())
    data = hashlib.sha256("".join([data_digest(samples), *digests]).encode()).hexdigest()[:16]
    write_table(path, samples, {**provenance, "data": data, "modalities": list(modalities)})


def data_digest(table: pd.DataFrame) -> str:
    """Return a digest of the content of a table."""
    return hashlib.sha256(table.to_json(orient="split", double_precision=15).encode()).hexdigest()[:16]


def check_splits(table: pd.DataFrame, where: Path | str) -> None:
    """Refuse a table that leaves a split empty."""
    found = table["split"].value_counts()
    if empty := [split for split in SPLITS if not found.get(split)]:
        raise ElisionError(f"{where}: no sample in split {', '.join(empty)}; every split needs some")


def _forget_other_media(folder: Path, table: pd.DataFrame) -> None:
    """Delete what earlier settings left in the folder of a source's own media."""
    kept = {Path(path) for path in table["path"].dropna()}
    for path in folder.glob("*"):
        if path not in kept:
            path.unlink()
