"""The prepare step: from a source to a table of clips, or straight to a store."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from elision.datasets import _contract
from elision.errors import ElisionError, plural
from elision.files import sha256
from elision.progress import track
from elision.settings.params import DatasetSettings, Folds, Params, dataset_source
from elision.store import Sequences, write_sequences, write_table
from elision.task import SPLITS, TaskKind

log = logging.getLogger(__name__)


def prepare(params: Params, dataset: str, *, clips: Path, media: Path, store: Path, provenance: dict) -> None:
    """Prepare a dataset.

    A source of media writes its table to ``clips`` (and media that it makes to the folder ``media``), where labels and
    splits are still those of the source; a source of sequences writes a whole store.

    Raises
    ------
    ElisionError
        If the source finds its files wanting, what it returns is against the contract, or a split is empty.
    """
    settings = params.datasets[dataset]
    source = dataset_source(settings.source)
    made = source.prepare(settings, media if source.MAKES == "clips" else store)
    _contract.check(source, settings, made)
    if source.MAKES == "clips":
        table = made
        if not settings.folds:
            check_splits(table, f"dataset {dataset!r}")
        _forget_other_media(media, table)
        # With the content of the media in the table, other media under the same names are other clips.
        paths = track(table["path"], f"read the media of {dataset}", len(table))
        table["sha256"] = [sha256(Path(path)) if isinstance(path, str) else None for path in paths]
        write_table(clips, table, {**provenance, "data": data_digest(table)})
        return
    samples, modalities = made
    samples, classes = finish(samples, settings, f"dataset {dataset!r}")
    # Gone until all is there, so that new sequences beside the samples of an earlier file are no dataset.
    (store / "samples.parquet").unlink(missing_ok=True)
    if params.features.text.frozen and "text" in modalities and "text_features" not in modalities:
        if not hasattr(source, "text_vectors"):
            raise ElisionError(
                f"features.text.frozen: source {settings.source} gives no text vectors; set frozen: false, "
                "or add to the file of the source: from elision.features.frozen import text_vectors"
            )
        modalities["text_features"] = source.text_vectors(modalities["text"])
    for name, sequences in modalities.items():
        sequences.header.provenance = provenance
        write_sequences(store / f"{name}.safetensors", sequences)
    write_samples(store / "samples.parquet", samples, modalities, {**provenance, "classes": classes})


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


def finish(samples: pd.DataFrame, settings: DatasetSettings, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Make classes of scores and folds of groups, where the settings say so, and check the splits.

    Parameters
    ----------
    samples : pd.DataFrame
        With ``label``, and ``split`` or ``fold-1``, ``fold-2``, ...; ``attrs["classes"]`` may hold the names of the
        classes in their order.
    settings : DatasetSettings
    where : str
        For messages.

    Returns
    -------
    samples : pd.DataFrame
    classes : list of str
        In their order; empty for regression.

    Raises
    ------
    ElisionError
        If a label is no class, a class has no sample, the folds cannot be made, or a split is empty.
    """
    classes = []
    if settings.task is TaskKind.CLASSIFICATION:
        samples, classes = _classify(samples, settings, where)
    if settings.folds:
        samples = deal(samples, settings.folds, where)
    check_splits(samples, where)
    return samples, classes


def _classify(samples: pd.DataFrame, settings: DatasetSettings, where: str) -> tuple[pd.DataFrame, list[str]]:
    if settings.cuts is not None:
        scores = samples["label"].to_numpy(np.float64)
        number = np.searchsorted(settings.cuts, scores, side="right")
        names = np.array(settings.classes, dtype=object)[number]
        samples = samples.assign(label=np.where(np.isnan(scores), None, names))
    elif pd.api.types.is_numeric_dtype(samples["label"]):
        raise ElisionError(
            f"{where}: task is classification, but the labels are scores; say in params.yaml what parts them, for "
            "instance classes: [negative, neutral, positive] and cuts: [-1, 1]"
        )
    found = set(samples["label"].dropna())
    classes = settings.classes or samples.attrs.get("classes") or sorted(found, key=str)
    if strange := sorted(found - set(classes), key=str):
        raise ElisionError(
            f"{where}: labels {', '.join(map(repr, strange[:5]))} are no class; classes: {', '.join(classes)}. Name "
            "every class under classes in params.yaml, or, where labels are scores, give cuts as well"
        )
    if unseen := [name for name in classes if name not in found]:
        raise ElisionError(f"{where}: no sample of class {', '.join(unseen)}; leave it out of classes")
    return samples, list(classes)


def deal(samples: pd.DataFrame, folds: Folds, where: str) -> pd.DataFrame:
    """Deal groups of samples to the test splits of folds, and part of the other groups to validation.

    Groups are dealt in a random order to the fold that has the fewest samples so far, so that folds are about equally
    large, and leave each fold two groups or more that it does not test; of these, validation takes the next ones in
    that order, beginning after those that it tests, until its share is reached. Samples whose split is neither of ours
    (unlabelled, skipped) keep it.

    Parameters
    ----------
    samples : pd.DataFrame
    folds : Folds
    where : str
        For messages.

    Returns
    -------
    samples : pd.DataFrame
        With columns ``fold-1``, ..., in place of ``split``.

    Raises
    ------
    ElisionError
        If a sample has no group, or there are too few groups.
    """
    if folds.by not in samples:
        raise ElisionError(f"{where}: folds by {folds.by!r}, but the samples have {', '.join(samples.columns)}")
    used = samples["split"].isin(SPLITS) if "split" in samples else pd.Series(True, samples.index)
    if nameless := samples.loc[used & samples[folds.by].isna(), "id"].tolist():
        raise ElisionError(
            f"{where}: {plural(len(nameless), 'sample')} without {folds.by}, as {nameless[0]!r}; folds by "
            f"{folds.by} need it of every sample"
        )
    sizes = samples.loc[used, folds.by].astype(str).value_counts()
    groups = sorted(sizes.index)
    needed = 4 if folds.count == 2 else max(folds.count, 3)  # each fold validates and learns from others than it tests
    if len(groups) < needed:
        raise ElisionError(
            f"{where}: {plural(len(groups), 'group')} of samples by {folds.by}; {folds.count} folds need {needed}"
        )
    order = [groups[i] for i in np.random.Generator(np.random.Philox(folds.seed)).permutation(len(groups))]
    filled, dealt, test = np.zeros(folds.count), np.zeros(folds.count, int), {}
    for group in sorted(order, key=lambda group: -sizes[group]):
        test[group] = fold = int(np.where(dealt < len(groups) - 2, filled, np.inf).argmin())
        filled[fold] += sizes[group]
        dealt[fold] += 1
    tested_by = samples[folds.by].astype(str).map(test)
    parts = {}
    for fold in range(folds.count):
        start = max(i for i, group in enumerate(order) if test[group] == fold) + 1
        others = [group for group in order[start:] + order[:start] if test[group] != fold]
        held = others[: min(max(1, round(folds.validation * len(others))), len(others) - 1)]
        part = np.where(samples[folds.by].astype(str).isin(held), "valid", "train")
        part = np.where(tested_by == fold, "test", part)
        parts[f"fold-{fold + 1}"] = np.where(used, part, samples.get("split", "unused"))
    log.info("%s: %d folds of %d groups by %s", where, folds.count, len(groups), folds.by)
    return samples.drop(columns="split", errors="ignore").assign(**parts)


def check_splits(table: pd.DataFrame, where: Path | str) -> None:
    """Refuse a table that leaves a split, of a fold or of all, empty."""
    for column in [name for name in table if name == "split" or name.startswith("fold-")]:
        found = table[column].value_counts()
        if empty := [split for split in SPLITS if not found.get(split)]:
            of = "" if column == "split" else f" of {column}"
            raise ElisionError(f"{where}: no sample in split {', '.join(empty)}{of}; every split needs some")


def _forget_other_media(folder: Path, table: pd.DataFrame) -> None:
    """Delete what earlier settings left in the folder of a source's own media."""
    kept = {Path(path) for path in table["path"].dropna()}
    for path in folder.glob("*"):
        if path not in kept:
            path.unlink()
