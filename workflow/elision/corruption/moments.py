"""When the positions of a sample are heard or seen: the moments that all of its modalities share."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from elision.corruption.kind import Origin, Samples

_MOST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Moments:
    """The moments of the samples of a split.

    Attributes
    ----------
    counts : np.ndarray [shape=(N,), dtype=int64]
        Moments of each sample, at least one; all are equally long.
    of_positions : dict of str to np.ndarray [shape=(sum of lengths,), dtype=int64]
        The moment of the middle of each position, counted from 0 in its sample.
    """

    counts: np.ndarray
    of_positions: dict[str, np.ndarray]


def moments(samples: Samples) -> Moments:
    """Cut each sample into moments, as many as its sparsest modality has positions.

    A modality of one position tells nothing of time, and [CLS] and [SEP] are no positions here. All modalities of the
    store count, whichever are seen. Positions lie in time as `times` says, or share the sample evenly.
    """
    known = {} if samples.origin is None else times(samples.origin)
    lengths = {name: samples.inner(name) for name in samples.lengths}
    if samples.origin is not None:
        lengths |= {
            name: np.maximum(of - 2, 0) if samples.keeps_ends(name) else of
            for name, of in _lengths(samples.origin).items()
        }
    fewest = np.full(len(samples), _MOST)
    for of in lengths.values():
        fewest = np.where(of > 1, np.minimum(fewest, of), fewest)
    counts = np.where(fewest < _MOST, fewest, 1)
    found = {}
    for name, of in samples.lengths.items():
        share = even(of, ends=samples.keeps_ends(name))
        if name in known and of.any():
            share = np.where(np.isnan(known[name]), share, known[name])
        many = np.repeat(counts, of)
        found[name] = (share * many).astype(np.int64).clip(0, many - 1)
    return Moments(counts, found)


def even(lengths: np.ndarray, *, ends: bool) -> np.ndarray:
    """Return where the middles of positions lie that share each sample evenly.

    Parameters
    ----------
    lengths : np.ndarray [shape=(N,)]
    ends : bool
        The first and the last position are no part of the time: they lie at its ends.

    Returns
    -------
    share : np.ndarray [shape=(sum of lengths,), dtype=float64]
        In [0, 1], of the time of the sample.
    """
    of = np.repeat(lengths, lengths)
    position = np.arange(len(of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return ((position - ends + 0.5) / np.maximum(of - 2 * ends, 1)).clip(0, 1)


def _lengths(origin: Origin) -> dict[str, np.ndarray]:
    """Return the lengths of all modalities of the store; text is as long in vectors as in tokens."""
    modalities = origin.store.modalities
    return {name.removesuffix("_features"): sequences.lengths[origin.rows] for name, sequences in modalities.items()}


@lru_cache(maxsize=4)
def times(origin: Origin) -> dict[str, np.ndarray]:
    """Return when the positions of samples are heard or seen.

    The time of a sample ends with the last frame of audio or vision. A token has the middle of the frames of its word.

    Returns
    -------
    share : dict of str to np.ndarray [shape=(sum of lengths,), dtype=float64]
        Of each modality: middles, as shares of the time of the sample; nan where no time is known.
    """
    from elision.features.align import frame_rates

    store = origin.store
    found: dict[str, np.ndarray] = {}
    lengths = _lengths(origin)
    seconds = {name: [np.full(n, np.nan) for n in lengths[name]] for name in lengths}
    last = np.full(len(origin.rows), np.nan)
    for name in (name for name in ("audio", "vision") if name in lengths):
        rates, sequences = frame_rates(store, name), store.modalities[name]
        for k, row in enumerate(origin.rows):
            begin, count = sequences.times_of(row), lengths[name][k]
            if not count or (begin is None and np.isnan(rates[row])):
                continue
            begin = np.arange(count) / rates[row] if begin is None else np.asarray(begin)
            step = (begin[-1] - begin[0]) / (count - 1) if count > 1 else np.nan_to_num(1 / rates[row])
            seconds[name][k] = begin + step / 2
            last[k] = np.fmax(last[k], begin[-1] + step)
    if "text" in store.modalities and origin.spans is not None:
        offsets = np.concatenate([[0], np.cumsum(store.positions())])
        for k, row in enumerate(origin.rows):
            for name in ("audio", "vision"):
                if lengths["text"][k] and name in origin.spans and name in seconds and len(seconds[name][k]):
                    middle = _of_tokens(origin.spans[name][offsets[row] : offsets[row + 1]], seconds[name][k])
                    if not np.isnan(middle).all():
                        seconds["text"][k] = middle
                        break
    for modality, of in seconds.items():
        share = [value / end if end > 0 else np.full(len(value), np.nan) for value, end in zip(of, last, strict=True)]
        found[modality] = np.concatenate([np.zeros(0), *share])
    return found


def _of_tokens(spans: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the middle of the frames of each token; one without frames lies between its neighbours that have some."""
    start, stop = spans.T
    known = np.flatnonzero(stop > start)
    if not len(known):
        return np.full(len(spans), np.nan)
    middles = (seconds[start[known]] + seconds[stop[known] - 1]) / 2
    return np.interp(np.arange(len(spans)), known, middles)
