"""Fused representations of some test samples at a few missing rates: what a method makes of what is left of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elision.corruption.missing import generators
from elision.errors import ElisionError
from elision.evaluation.aggregate import CONFUSION_RATES
from elision.store import read_tensors, write_tensors

RATES = CONFUSION_RATES
MOST = 1000


def choose(ids: Sequence[str], *, seed: int, most: int = MOST) -> np.ndarray:
    """Choose at most ``most`` samples; which ones does not depend on their order.

    Returns
    -------
    rows : np.ndarray [shape=(N,), dtype=int64]
        Positions in ``ids``, rising.
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    drawn = np.array([random.random() for random in generators(seed, "representations", names=ids)])
    return np.sort(np.lexsort((np.asarray(ids, str), drawn))[:most])


def write(path: Path, arrays: dict[str, np.ndarray], provenance: dict) -> None:
    """Write what ``Evaluation.representations`` returns; names of samples and of the checkpoint go to the header."""
    names = {"ids": arrays["ids"].tolist(), "checkpoint": str(arrays["checkpoint"])}
    tensors = {name: arrays[name] for name in ("values", "rates", "labels")}
    write_tensors(path, tensors, {"names": names, "provenance": provenance})


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Read what ``write`` wrote.

    Returns
    -------
    arrays : dict of str to np.ndarray
        ``values`` [conditions, N, D] float32; ``rates`` [conditions]: the missing rate of each; ``labels`` [N]: scores
        or numbers of classes; ``ids`` [N]; ``checkpoint``: one name.
    provenance : dict

    Raises
    ------
    ElisionError
        If the file is missing, or is no file of representations, or its parts do not fit together.
    """
    tensors, header = read_tensors(path)
    try:
        arrays = {**tensors, **{name: np.asarray(value, str) for name, value in header["names"].items()}}
        shape = (len(arrays["rates"]), len(arrays["labels"]), arrays["values"].shape[2])
        fits = arrays["values"].shape == shape and len(arrays["ids"]) == len(arrays["labels"])
        provenance = header["provenance"]
    except (KeyError, IndexError) as error:
        raise ElisionError(
            f"{path} is damaged, or holds no representations ({error!r}); delete the file and run again"
        ) from None
    if not fits:
        raise ElisionError(
            f"{path}: {arrays['values'].shape} values do not fit {shape[0]} rates and {shape[1]} samples; delete the "
            "file and run again"
        )
    return arrays, provenance
