"""Filling of frames that are not observed: what a practitioner does to features before a model sees them."""

from typing import Literal

import numpy as np


def fill(values: np.ndarray, how: Literal["none", "last", "interpolate"], times: np.ndarray) -> tuple[np.ndarray, int]:
    """Fill the frames of a clip that are not observed, as ``features.vision.fill`` says.

    Parameters
    ----------
    values : np.ndarray [shape=(T, d), dtype=float32]
        NaN in the rows of frames that are not observed.
    how : str
        ``none``, ``last`` (`fill_last`) or ``interpolate`` (`interpolate`).
    times : np.ndarray [shape=(T,)]
        Second of each frame, rising.

    Returns
    -------
    filled : np.ndarray [shape=(T, d), dtype=float32]
        NaN in the rows that cannot be filled.
    count : int
        How many rows were filled.
    """
    if how == "none":
        return values, 0
    observed = ~np.isnan(values).any(axis=1)
    filled, known = fill_last(values, observed) if how == "last" else interpolate(values, observed, times=times)
    return filled.astype(np.float32), int(known.sum() - observed.sum())


def fill_last(values: np.ndarray, observed: np.ndarray, *, longest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Give each frame that is not observed the values of the last observed frame before it.

    Parameters
    ----------
    values : np.ndarray [shape=(T, d)]
        Features; rows that are not observed may hold anything, such as zeros or NaN. It is not written to.
    observed : np.ndarray [shape=(T,), dtype=bool]
    longest : int, optional
        Most frames that are filled after an observed one. By default there is no limit.

    Returns
    -------
    filled : np.ndarray [shape=(T, d)]
        Rows that cannot be filled, such as those before the first observed frame, are as they were.
    observed : np.ndarray [shape=(T,), dtype=bool]
        True also for the rows that were filled.

    Examples
    --------
    >>> values, observed = fill_last(np.array([[0.0], [3], [0], [0]]), np.array([False, True, False, False]), longest=1)
    >>> values.ravel().tolist(), observed.tolist()
    ([0.0, 3.0, 3.0, 0.0], [False, True, True, False])
    """
    places = np.arange(len(observed))
    last = np.maximum.accumulate(np.where(observed, places, -1)) if len(places) else places
    known = (last >= 0) & (places - last <= (len(places) if longest is None else longest))
    filled = values.copy()
    filled[known] = values[last[known]]
    return filled, known


def interpolate(
    values: np.ndarray, observed: np.ndarray, *, times: np.ndarray | None = None, longest: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Give each frame between two observed frames the values on the line from one to the other.

    Parameters
    ----------
    values : np.ndarray [shape=(T, d)]
        Features; rows that are not observed may hold anything, such as zeros or NaN. It is not written to.
    observed : np.ndarray [shape=(T,), dtype=bool]
    times : np.ndarray [shape=(T,)], optional
        Second of each frame, rising. By default frames are evenly spaced.
    longest : int, optional
        Most frames of a gap that is filled. A longer gap is left as it is. By default there is no limit.

    Returns
    -------
    filled : np.ndarray [shape=(T, d)]
        Rows that cannot be filled, such as those before the first observed frame and after the last, are as they were.
    observed : np.ndarray [shape=(T,), dtype=bool]
        True also for the rows that were filled.

    Examples
    --------
    >>> values, observed = interpolate(np.array([[1.0], [0], [3], [0]]), np.array([True, False, True, False]))
    >>> values.ravel().tolist(), observed.tolist()
    ([1.0, 2.0, 3.0, 0.0], [True, True, True, False])
    """
    seen = np.flatnonzero(observed)
    filled, known = values.copy(), observed.copy()
    if not len(seen):
        return filled, known
    places = np.arange(len(observed))
    after = np.searchsorted(seen, places)
    between = ~observed & (after > 0) & (after < len(seen))
    start, end = seen[after[between] - 1], seen[after[between]]
    if longest is not None:
        short = end - start - 1 <= longest
        between[between] = short
        start, end = start[short], end[short]
    times = places if times is None else times
    part = ((times[between] - times[start]) / (times[end] - times[start]))[:, None]
    filled[between] = (1 - part) * values[start] + part * values[end]
    known |= between
    return filled, known
