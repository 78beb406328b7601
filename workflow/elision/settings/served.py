"""Whether a dataset can be used for what the params ask: told when a run is planned, prepared or trained.

A check changes no value, so this module is no part of the identity of an artifact.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from elision import dialogues
from elision.errors import ElisionError, plural
from elision.settings.fields import suggestion
from elision.settings.params import Params, check_cluster, columns, reads, reads_text, requires
from elision.task import SPLITS, split_columns

if TYPE_CHECKING:
    import pandas as pd


def check_splits(table: "pd.DataFrame", where: Path | str) -> None:
    """Refuse a table that leaves a split, of a fold or of all, empty.

    Raises
    ------
    ElisionError
    """
    for column in split_columns(table):
        found = table[column].value_counts()
        if empty := [split for split in SPLITS if not found.get(split)]:
            of = "" if column == "split" else f" of {column}"
            raise ElisionError(f"{where}: no sample in split {', '.join(empty)}{of}; every split needs some")


def columns_unknown(params: Params) -> Iterator[str]:
    """Find columns of samples that the params name and a dataset lacks, where its source knows the columns."""
    for dataset, settings in params.datasets.items():
        if (known := columns(params, dataset)) is None:
            continue
        try:
            check_cluster(params.statistics.cluster_of(dataset), known, f"dataset {dataset!r}")
        except ElisionError as error:
            yield str(error)
        for key in ("by", "validation_by") if settings.folds else ():
            name = getattr(settings.folds, key)
            if name is not None and name not in known:
                yield f"datasets.{dataset}.folds.{key}: unknown column {name!r}; {suggestion(name, known)}"


def check_methods(
    params: Params, dataset: str, table: "pd.DataFrame", present: Collection[str], *, names: Iterable[str] = ()
) -> None:
    """Refuse methods that cannot be trained on a dataset.

    Parameters
    ----------
    params : Params
    dataset : str
    table : pd.DataFrame
        With ``split``, or a column for each fold.
    present : collection of str
        Modalities that some sample has: ``text`` (token ids), ``text_features``, ``audio``, ``vision``.
    names : iterable of str, optional
        Methods and teachers that are checked; by default all that the params ask for.

    Raises
    ------
    ElisionError
        Names each method that lacks a modality or dialogues, or that would never take a step.
    """
    lines = []
    for name in names or params.trained:
        sizes = _sizes(params, dataset, name, table)
        lines += [*_lost(params, dataset, name, present), *_alone(params, dataset, name, table)]
        lines += steps_never_made(params, dataset, name, sizes)
    if lines:
        raise ElisionError("\n".join(lines))


def _lost(params: Params, dataset: str, name: str, present: Collection[str]) -> Iterator[str]:
    """Find the modalities that a method requires and no sample has; vectors of a text can be made of its token ids."""
    method = params.trained[name].method
    vectors = {"text"} if reads_text(method) == "vectors" and "text_features" in present else set()
    if lost := [modality for modality in requires(method) if modality not in {*present, *vectors}]:
        yield (
            f"{_place(params, name)}: {method} requires {' and '.join(lost)}, but dataset {dataset!r} has "
            f"{', '.join(sorted(present)) or 'nothing'}; leave the method out, or give the dataset {' and '.join(lost)}"
        )


def _together(params: Params, dataset: str, name: str) -> bool:
    """Tell whether a method reads the utterances of a dialogue together."""
    from elision.methods import resolve_variant  # which imports PyTorch for the hyperparameters

    variant = params.trained[name]
    return reads(variant.method) == "dialogues" and resolve_variant(params, variant, dataset)[0].dialogues == "dataset"


def _sizes(params: Params, dataset: str, name: str, table: "pd.DataFrame") -> dict[str, int]:
    """Count what a method trains on, utterances or dialogues, by the column of the split, or of each fold."""
    training = {column: table[table[column] == SPLITS[0]] for column in split_columns(table)}
    if not _together(params, dataset, name):
        return {column: len(rows) for column, rows in training.items()}
    return {column: len(dialogues.members(rows)) for column, rows in training.items()}


def _alone(params: Params, dataset: str, name: str, table: "pd.DataFrame") -> Iterator[str]:
    """Find utterances of which no dialogue is known, where a method reads dialogues."""
    if not _together(params, dataset, name):
        return
    if unknown := table.loc[dialogues.known(table)["dialogue"].isna(), "id"].tolist():
        yield (
            f"{_place(params, name)}: {params.trained[name].method} reads dialogues, but dataset {dataset!r} does not "
            f"say the dialogue and the position of {plural(len(unknown), 'utterance')} "
            f"({', '.join(map(str, unknown[:3]))}); add the columns dialogue and position, or leave the method out. "
            f"`{name}: {{dialogues: none}}` makes every utterance a dialogue of its own"
        )


def steps_never_made(params: Params, dataset: str, name: str, sizes: Mapping[str, int]) -> Iterator[str]:
    """Find out whether a method sums the gradients of more batches than an epoch has, so that nothing is learnt.

    Parameters
    ----------
    params : Params
    dataset, name : str
    sizes : mapping of str to int
        Training samples, or dialogues for a method that reads dialogues, by the column of the split, or of each fold.
    """
    from elision.methods import resolve_variant  # which imports PyTorch for the hyperparameters

    found, _ = resolve_variant(params, params.trained[name], dataset)
    column = min(sizes, key=lambda column: sizes[column])
    batches = math.ceil(sizes[column] / found.batch_size)
    if sizes[column] and found.epochs and batches < found.accumulate:
        of = "" if column == "split" else f" in {column}"
        yield (
            f"{_place(params, name)}: accumulate is {found.accumulate}, but an epoch of dataset {dataset!r} has only "
            f"{batches} of batch_size {found.batch_size} ({plural(sizes[column], 'training sample')}{of}), so nothing "
            "would be learnt; set accumulate or batch_size lower"
        )


def _place(params: Params, name: str) -> str:
    """Return where the params set the hyperparameters of a method, or of a teacher."""
    return f"{'methods' if name in params.variants else 'teachers'}.{name}"
