"""Which positions are missing: pure functions of (seed, sample, modality, stream).

Every position of a sample has one uniform number, and is missing where that number lies below the missing rate: what is
missing at one rate is missing at every higher rate (nested masks, as in LNLN's evaluation). The numbers come from
NumPy's Philox generator keyed by the sample, so they do not depend on batches, order, device, or other samples.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from elision.task import MODALITIES

RATES = tuple(number / 10 for number in range(10))  # of training, unless the params name others


def generator(*key: int | str) -> np.random.Generator:
    """Return the random generator that belongs to a key.

    Parameters
    ----------
    *key : int or str
        As in ``generator(seed, "train", epoch, sample_id, "audio")``.
    """
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def generators(*key: int | str, names: Iterable[int | str]) -> Iterator[np.random.Generator]:
    """Give the generator that belongs to ``(*key, name)`` for one name after the other.

    It is the same object every time, set to a new key: draw from one before you ask for the next. Making a new one
    takes several times as long as the draws of a sample, because NumPy asks the system for entropy.

    Examples
    --------
    >>> [float(random.random()) for random in generators(1111, "test", names=["a", "b"])] == [
    ...     generator(1111, "test", name).random() for name in ("a", "b")
    ... ]
    True
    """
    begun = hashlib.blake2b("".join(f"{part}\0" for part in key).encode(), digest_size=16)
    philox = np.random.Philox(key=0)
    random, state = np.random.Generator(philox), philox.state
    for name in names:
        whole = begun.copy()
        whole.update(str(name).encode())
        state["state"]["key"] = np.frombuffer(whole.digest(), "<u8")
        philox.state = state
        yield random


def uniforms(
    *, seed: int, stream: str, ids: Sequence[str] | np.ndarray, lengths: np.ndarray, modality: str, keep_ends: bool
) -> np.ndarray:
    """Draw one uniform number per position of every sample of one modality.

    Parameters
    ----------
    seed : int
    stream : str
        Sets draws apart: ``test``, ``train 3`` (epoch 3), ...
    ids : sequence of N str
        Sample ids.
    lengths : np.ndarray [shape=(N,)]
        Length of each sample, in tokens or frames.
    modality : str
        Modalities have independent draws.
    keep_ends : bool
        The first and the last position (of token ids: [CLS] and [SEP]) get 1, which is below no rate: they are never
        missing.

    Returns
    -------
    uniform : np.ndarray [shape=(sum of lengths,), dtype=float32]
        In [0, 1), samples end to end.
    """
    bounds = [0, *np.cumsum(lengths).tolist()]
    uniform = np.empty(int(bounds[-1]), np.float32)
    drawn = generators(seed, stream, modality, names=ids)
    for random, start, end in zip(drawn, bounds[:-1], bounds[1:], strict=True):
        random.random(dtype=np.float32, out=uniform[start:end])
        if keep_ends and end > start:
            uniform[start] = uniform[end - 1] = 1.0
    return uniform


def legacy_uniforms(*, seed: int, lengths: np.ndarray, padded: int, keep_ends: bool) -> np.ndarray:
    """Draw uniform numbers as LNLN's code does: one array for all samples, from NumPy's legacy generator.

    The generator starts anew for every modality and split, so that they share one stream of numbers: modalities of
    equal padded length lose the same positions. A position's number belongs to its place in the padded array; the code
    keeps a position if its number is above the rate.

    Parameters
    ----------
    seed : int
    lengths : np.ndarray [shape=(N,)]
        Length of each sample, in the order of the feature file.
    padded : int
        Length to which the file pads the modality.
    keep_ends : bool
        As in `uniforms`.

    Returns
    -------
    uniform : np.ndarray [shape=(sum of lengths,), dtype=float64]
        Samples end to end; the largest number below the one that was drawn, since `missing` asks for less than the rate
        and the code for no more than it.
    """
    drawn = np.random.RandomState(seed).uniform(size=(len(lengths), padded))
    drawn = np.nextafter(drawn, -1)
    if keep_ends:
        some = np.flatnonzero(lengths)
        drawn[some, 0] = drawn[some, np.asarray(lengths)[some] - 1] = 1.0
    return drawn[np.arange(padded) < np.asarray(lengths)[:, None]]


def missing(uniform: np.ndarray, rate: float | np.ndarray) -> np.ndarray:
    """Return where positions are missing at a rate, or at a rate per position [same shape, bool]."""
    return uniform < rate


def half_complete_rates(*, seed: int, stream: str, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Draw the training mixture of LNLN: a missing rate per sample and modality.

    Rates are uniform on (0, 1); then, for each modality on its own, half of the samples (rounded down) are complete
    (LNLN section 3.2 and its released data loader).

    Parameters
    ----------
    ids : sequence of N str
        Sample ids; the result belongs to the ids, not to their order.

    Returns
    -------
    rates : np.ndarray [shape=(N, 3), dtype=float32]
        For text, audio and vision.
    """
    draws = np.stack([random.random(2 * len(MODALITIES)) for random in generators(seed, stream, "rate", names=ids)])
    rates, order = draws[:, : len(MODALITIES)].astype(np.float32), draws[:, len(MODALITIES) :]
    complete = np.argsort(np.argsort(order, axis=0, kind="stable"), axis=0) < len(ids) // 2
    return np.where(complete, np.float32(0), rates)


def subsets(present: Sequence[str]) -> list[tuple[str, ...]]:
    """List the sets of modalities that can be absent, the smallest first: none, each alone, ..., but never all."""
    return [subset for size in range(len(present)) for subset in combinations(present, size)]


def absent_rates(
    *, seed: int, stream: str, ids: Sequence[str] | np.ndarray, present: Sequence[str], complete: bool = False
) -> np.ndarray:
    """Draw the training mixture of MMIN: for each sample one of the sets of absent modalities.

    Parameters
    ----------
    ids : sequence of N str
    present : sequence of str
        Modalities that the dataset has; with one alone nothing can be absent.
    complete : bool
        Whether the empty set is one of them, so that some samples are complete.

    Returns
    -------
    rates : np.ndarray [shape=(N, 3), dtype=float32]
        1 for a modality that is absent, 0 for others.
    """
    choices = [subset for subset in subsets(present) if subset or complete] or [()]
    drawn = [choices[random.integers(len(choices))] for random in generators(seed, stream, "absent", names=ids)]
    return np.array([[name in absent for name in MODALITIES] for absent in drawn], np.float32)


def rates_of(
    choices: np.ndarray, *, seed: int, stream: str, ids: Sequence[str] | np.ndarray, key: str = "level"
) -> np.ndarray:
    """Draw one of some missing rates for each sample.

    Parameters
    ----------
    choices : np.ndarray [shape=(R, 3)]
        Missing rates of text, audio and vision.

    Returns
    -------
    rates : np.ndarray [shape=(N, 3), dtype=float32]
    """
    rows = [random.integers(len(choices)) for random in generators(seed, stream, key, names=ids)]
    return choices[rows].astype(np.float32)


def mixed_rates(
    *,
    seed: int,
    stream: str,
    ids: Sequence[str] | np.ndarray,
    present: Sequence[str],
    levels: Sequence[np.ndarray | float] = RATES,
) -> np.ndarray:
    """Draw the training mixture of HRLF (section 3.2): frames lost and modalities absent at once.

    Each sample has one of some missing rates, and a set of modalities that are absent, none included.

    Parameters
    ----------
    levels : sequence of np.ndarray [shape=(3,)], or of float
        Missing rates: of text, audio and vision, or of all.

    Returns
    -------
    rates : np.ndarray [shape=(N, 3), dtype=float32]
        1 for a modality that is absent, the missing rate of the sample for others.
    """
    choices, rates = subsets(present), np.empty((len(ids), len(MODALITIES)), np.float32)
    for row, draw in enumerate(generators(seed, stream, "mixed", names=ids)):
        rates[row], absent = levels[int(draw.integers(len(levels)))], choices[draw.integers(len(choices))]
        rates[row, [modality in absent for modality in MODALITIES]] = 1
    return rates
