"""The prepare step: from a source to a table of clips, or straight to a store."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from elision.datasets import _contract
from elision.datasets._labels import (
    GIVE_LABELS,
    LABELS_OF_ONE,
    TOLERANCE,
    as_classes,
    in_a_split,
    moved,
    range_of,
    told,
)
from elision.datasets._problems import some
from elision.errors import ElisionError, plural
from elision.files import sha256
from elision.progress import track
from elision.settings.params import (
    DatasetSettings,
    Folds,
    Params,
    check_cluster,
    dataset_source,
)
from elision.settings.served import check_methods, check_splits
from elision.store import Sequences, write_sequences, write_table
from elision.task import CORPORA, SPLITS, TaskKind, split_columns

_MOST = 5  # labels that are no class, in a message
_STRATA = 5  # groups of scores

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
    source, where = dataset_source(settings.source), f"dataset {dataset!r}"
    samples, modalities, unlabelled = read(settings, media if source.MAKES == "clips" else store, where)
    if unlabelled:
        provenance = {**provenance, "unlabelled": unlabelled}
    table, classes = finish(samples, settings, where)
    check_cluster(params.statistics.cluster_of(dataset), samples.columns, where)
    check_methods(params, dataset, table, _present(samples, modalities))
    if source.MAKES == "clips":
        table = samples  # clips that fail are in no split, so the step assemble finishes it again
        _forget_other_media(media, table)
        # With the content of the media in the table, other media under the same names are other clips.
        paths = track(table["path"], f"read the media of {dataset}", len(table))
        table["sha256"] = [sha256(Path(path)) if isinstance(path, str) else None for path in paths]
        write_table(clips, table, {**provenance, "data": data_digest(table)})
        return
    # Gone until all is there, so that new sequences beside the samples of an earlier file are no dataset.
    (store / "samples.parquet").unlink(missing_ok=True)
    for name, sequences in modalities.items():
        sequences.header.provenance = provenance
        write_sequences(store / f"{name}.safetensors", sequences)
    write_samples(store / "samples.parquet", table, modalities, {**provenance, "classes": classes})


def _present(samples: pd.DataFrame, modalities: dict[str, Sequences]) -> set[str]:
    """Return the modalities that some sample has: those of a source of sequences, or those that clips will have."""
    if modalities:
        return {name for name, sequences in modalities.items() if sequences.lengths.any()}
    found = {"text"} if samples["text"].notna().any() else set()
    found |= {"vision"} if "openface" in samples and samples["openface"].notna().any() else set()
    return found | {name for name in ("audio", "vision") if samples[f"has_{name}"].any()}


def write_samples(path: Path, samples: pd.DataFrame, modalities: dict[str, Sequences], provenance: dict) -> None:
    """Write the table of samples, with the length of each modality and a digest of all data."""
    digests = []
    for name, sequences in modalities.items():
        samples = samples.assign(**{f"length_{name}": sequences.lengths})
        arrays = [sequences.values] if sequences.times is None else [sequences.values, sequences.times]
        digests += [hashlib.sha256(np.ascontiguousarray(array)).hexdigest() for array in arrays]
    data = hashlib.sha256("".join([data_digest(samples), *digests]).encode()).hexdigest()[:16]
    write_table(path, samples, {**provenance, "data": data, "modalities": list(modalities)})


def data_digest(table: pd.DataFrame) -> str:
    """Return a digest of the content of a table."""
    return hashlib.sha256(table.to_json(orient="split", double_precision=15).encode()).hexdigest()[:16]


def read(settings: DatasetSettings, folder: Path, where: str) -> tuple[pd.DataFrame, dict[str, Sequences], int]:
    """Read and check what a source has, without the samples of a split that have no label.

    Parameters
    ----------
    settings : DatasetSettings
    folder : Path
        For what the source writes.
    where : str
        For messages.

    Returns
    -------
    samples, modalities
        As the source gives them; no modality of clips.
    unlabelled : int
        How many samples were left out, because the settings say so.

    Raises
    ------
    ElisionError
        If the source finds its files wanting, what it returns is against the contract, or samples lack labels.
    """
    source = dataset_source(settings.source)
    made = source.prepare(settings, folder)
    _contract.check(source, settings, made)
    samples, modalities = made if source.MAKES == "sequences" else (made, {})
    without = (in_a_split(samples) & samples["label"].isna()).to_numpy()
    before = samples.attrs.get("unlabelled", 0)  # a source may have left them out before it read their files
    if not without.any():
        return samples, modalities, before
    lost = samples["id"][without].tolist()
    if not settings.skip_unlabelled:
        raise ElisionError(f"{where}: {plural(len(lost), 'sample')} without a label ({some(lost)}); {GIVE_LABELS}")
    if without.all():
        raise ElisionError(f"{where}: no sample has a label; write labels")
    count, kept = before + told(len(lost), len(samples)), np.flatnonzero(~without)
    parts = {name: _kept(part, kept) for name, part in modalities.items()}
    return samples.iloc[kept].reset_index(drop=True), parts, count


def _kept(part: Sequences, rows: np.ndarray) -> Sequences:
    """Return some of the sequences."""
    times = None if part.times is None else [part.times_of(row) for row in rows]
    return Sequences.of([part[row] for row in rows], part.header, times)


def finish(samples: pd.DataFrame, settings: DatasetSettings, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Move scores to the range of the corpus, make classes and folds where the settings say so, and check the splits.

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
    if settings.scale is not None:
        samples = _move(samples, settings, where)
    if settings.task is TaskKind.CLASSIFICATION:
        samples, classes = _classify(samples, settings, where)
    if settings.folds:
        samples = deal(samples, settings.folds, where)
    check_splits(samples, where)
    _warn_of_classes(samples, classes, where)
    return samples, classes


def _move(samples: pd.DataFrame, settings: DatasetSettings, where: str) -> pd.DataFrame:
    """Move scores from the scale of the settings to the range of the corpus."""
    low, high = settings.scale
    columns = [name for name in samples if name == "label" or name in LABELS_OF_ONE]
    for name in columns:
        values = samples[name].to_numpy(np.float64)
        if (far := (values < low - TOLERANCE) | (values > high + TOLERANCE)).any():
            shown = some(samples["id"][far].tolist())
            what = f"{name} of {plural(int(far.sum()), 'sample')} ({shown}) is outside {range_of(settings)}"
            raise ElisionError(f"{where}: {what}")
    largest = CORPORA[settings.corpus].label_range
    log.info("%s: scores moved from [%g, %g] to [-%g, %g]", where, low, high, largest, largest)
    return samples.assign(**{name: moved(samples[name], settings.scale, largest) for name in columns})


def _classify(samples: pd.DataFrame, settings: DatasetSettings, where: str) -> tuple[pd.DataFrame, list[str]]:
    labels = samples["label"]
    if settings.cuts is not None:
        scores = labels.to_numpy(np.float64)
        number = np.searchsorted(settings.cuts, scores, side="right")
        names = np.array(settings.classes, dtype=object)[number]
        labels = pd.Series(np.where(np.isnan(scores), None, names), samples.index, dtype=object)
    elif pd.api.types.is_numeric_dtype(labels):
        if not settings.classes:
            raise ElisionError(
                f"{where}: task is classification, but the labels are scores; give classes and cuts in params.yaml, "
                "such as classes: [negative, neutral, positive] and cuts: [-1, 1]"
            )
        labels = pd.Series([None if np.isnan(label) else f"{label:g}" for label in labels], samples.index, dtype=object)
    labels = [None if pd.isna(label) else label for label in labels]
    names, classes, problems = as_classes(labels, settings.classes or samples.attrs.get("classes"))
    if problems:
        lines = [f"{what} ({some(samples['id'].iloc[rows].tolist())})" if rows else what for rows, what in problems]
        raise ElisionError("\n".join(f"{where}: {line}" for line in lines[:_MOST]))
    if unseen := [name for name in classes if name not in set(names)]:
        raise ElisionError(f"{where}: no sample of class {', '.join(unseen)}; leave it out of classes")
    return samples.assign(label=pd.Series(names, samples.index, dtype=object)), classes


def deal(samples: pd.DataFrame, folds: Folds, where: str) -> pd.DataFrame:
    """Deal groups of samples to the test splits of folds, and part of the other groups to validation.

    Groups are dealt in a random order to the fold that has the fewest samples so far, so that folds are about equally
    large, and leave each fold groups that it does not test: two or more, or one with ``validation_by``. Of these,
    validation takes the next ones in that order, beginning after those that it tests, until its share is reached. With
    ``validation_by``, validation takes smaller groups of the same samples (see `_validated`). Samples whose split is
    neither of ours (unlabelled, skipped) keep it.

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
    used = samples["split"].isin(SPLITS) if "split" in samples else pd.Series(True, samples.index)
    for name in filter(None, (folds.by, folds.validation_by)):
        if name not in samples:
            raise ElisionError(f"{where}: folds by {name!r}, but the samples have {', '.join(samples.columns)}")
        if nameless := samples.loc[used & samples[name].isna(), "id"].tolist():
            raise ElisionError(
                f"{where}: {plural(len(nameless), 'sample')} without {name}, as {nameless[0]!r}; give each sample one, "
                "or name another column under folds"
            )
    sizes = samples.loc[used, folds.by].astype(str).value_counts()
    groups = sorted(sizes.index)
    # Each fold validates and learns from other groups than it tests.
    others = 1 if folds.validation_by else 2
    needed = 2 * others if folds.count == 2 else max(folds.count, others + 1)
    if len(groups) < needed:
        raise ElisionError(
            f"{where}: {plural(len(groups), 'group')} of samples by {folds.by}; {folds.count} folds need {needed}; "
            "set a smaller count, or another column under by"
        )
    order = [groups[i] for i in np.random.Generator(np.random.Philox(folds.seed)).permutation(len(groups))]
    filled, dealt, test = np.zeros(folds.count), np.zeros(folds.count, int), {}
    for group in sorted(order, key=lambda group: -sizes[group]):
        test[group] = fold = int(np.where(dealt < len(groups) - others, filled, np.inf).argmin())
        filled[fold] += sizes[group]
        dealt[fold] += 1
    tested_by = samples[folds.by].astype(str).map(test)
    parts = {}
    for fold in range(folds.count):
        if folds.validation_by:
            rest = (used & (tested_by != fold)).to_numpy()
            part = np.where(_validated(samples, rest, folds, key=(folds.seed, fold)), "valid", "train")
            part = np.where(tested_by == fold, "test", part)
            parts[f"fold-{fold + 1}"] = np.where(used, part, samples.get("split", "unused"))
            continue
        start = max(i for i, group in enumerate(order) if test[group] == fold) + 1
        left = [group for group in order[start:] + order[:start] if test[group] != fold]
        held = left[: min(max(1, round(folds.validation * len(left))), len(left) - 1)]
        part = np.where(samples[folds.by].astype(str).isin(held), "valid", "train")
        part = np.where(tested_by == fold, "test", part)
        parts[f"fold-{fold + 1}"] = np.where(used, part, samples.get("split", "unused"))
    log.info("%s: %d folds of %d groups by %s", where, folds.count, len(groups), folds.by)
    return samples.drop(columns="split", errors="ignore").assign(**parts)


def _validated(samples: pd.DataFrame, rest: np.ndarray, folds: Folds, *, key: tuple[int, int]) -> np.ndarray:
    """Draw groups for validation, so that each class has about its share.

    Groups are taken in a random order, each if it brings the numbers of samples of the classes nearer to what is
    wanted: their shares, but at least one sample of every class that has several. Scores count as five classes of equal
    size.

    Parameters
    ----------
    samples : pd.DataFrame
        N rows, with ``label``.
    rest : np.ndarray [shape=(N,), dtype=bool]
        What the fold does not test.
    folds : Folds
    key : tuple of int
        Of the random order.

    Returns
    -------
    held : np.ndarray [shape=(N,), dtype=bool]
    """
    labels = samples.loc[rest, "label"]
    if pd.api.types.is_numeric_dtype(labels):
        labels = np.ceil(labels.rank(pct=True) * _STRATA)
    groups = [samples.loc[rest, name].astype(str) for name in dict.fromkeys((folds.by, folds.validation_by))]
    counts = pd.crosstab(groups, labels).sort_index()
    numbers, total = counts.to_numpy(np.float64), counts.to_numpy().sum(0)
    wanted = np.where(total > 1, np.maximum(1, folds.validation * total), 0)

    def distance(found: np.ndarray) -> float:
        return float(((found - wanted) ** 2 / total).sum())

    taken, found = [], np.zeros(len(total))
    for row in np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).permutation(len(numbers)):
        if distance(found + numbers[row]) < distance(found) and len(taken) < len(numbers) - 1:
            taken, found = [*taken, row], found + numbers[row]
    taken = taken or [min(range(len(numbers)), key=lambda row: distance(numbers[row]))]
    held = set(counts.index[taken])
    names = zip(*groups, strict=True) if len(groups) > 1 else groups[0]
    made = np.zeros(len(samples), bool)
    made[rest] = [name in held for name in names]
    return made


def _warn_of_classes(samples: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Log the classes that a split, of a fold or of all, does not have."""
    for column in split_columns(samples):
        for split in SPLITS:
            found = set(samples.loc[samples[column] == split, "label"])
            if lost := [name for name in classes if name not in found]:
                of = "" if column == "split" else f" of {column}"
                log.warning("%s: split %s%s has no sample of class %s", where, split, of, ", ".join(lost))


def _forget_other_media(folder: Path, table: pd.DataFrame) -> None:
    """Delete what earlier settings left in the folder of a source's own media."""
    kept = {Path(path) for path in table["path"].dropna()}
    for path in folder.glob("*"):
        if path not in kept:
            path.unlink()
