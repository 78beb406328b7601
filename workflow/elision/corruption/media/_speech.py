"""Where a clip speaks, and how loud: what noise is measured against, by every kind of corruption of sound."""

import numpy as np

_FRAME = 0.02  # seconds
_MARGIN = 10**1.59  # 15.9 dB, as a ratio of powers (ITU-T P.56)
_SILENCE = 1e-12  # power; -120 dB of full scale, below the last bit of 24-bit sound


def speech_samples(y: np.ndarray, rate: int) -> np.ndarray:
    """Find the samples of speech by their energy.

    Frames of 20 ms without overlap are speech if they reach a threshold that lies at most 15.9 dB below the mean power
    of all frames that reach it: the margin between the active speech level and the threshold of activity of ITU-T P.56.
    The lowest such threshold counts. Unlike P.56, frames have hard borders, and pauses within speech are pauses however
    short. The mean of the sound is taken off before.

    Parameters
    ----------
    y : np.ndarray [shape=(n,), dtype=float]
        Mono sound, nominally in [-1, 1].
    rate : int
        Hz.

    Returns
    -------
    speech : np.ndarray [shape=(n,), dtype=bool]
        False everywhere if the sound is silent: constant, or below -120 dB of full scale.

    Examples
    --------
    >>> y = np.zeros(16000)
    >>> y[3200:11200] = np.sin(np.arange(8000))
    >>> float(speech_samples(y, 16000).mean())
    0.5
    """
    if not len(y):
        return np.zeros(0, bool)
    size = max(1, round(_FRAME * rate))
    starts = np.arange(0, len(y), size)
    sizes = np.diff([*starts, len(y)])
    square = np.square(y - y.mean(dtype=np.float64), dtype=np.float64)
    power = np.add.reduceat(square, starts) / sizes
    order = np.argsort(-power, kind="stable")
    loudest, weight = power[order], sizes[order]
    mean = np.cumsum(loudest * weight) / np.cumsum(weight)
    reached = loudest[(loudest >= _SILENCE) & (mean <= _MARGIN * loudest)]
    return np.repeat(power >= reached[-1], sizes) if len(reached) else np.zeros(len(y), bool)


def power(y: np.ndarray, where: np.ndarray) -> float:
    """Return the mean square of the samples that ``where`` marks [shape=(n,), dtype=bool]; at least one is."""
    return float(np.mean(np.square(y[where], dtype=np.float64)))


def at_level_one(y: np.ndarray, rate: int) -> np.ndarray | None:
    """Scale a sound so that the power of its speech, or of what is as loud, is 1; None if it is silent."""
    active = speech_samples(y, rate)
    return y / np.sqrt(power(y, active)) if active.any() else None


def looped(y: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Cut a sound to a length, or repeat it, from a place that is drawn: a longer sound is cut without a seam."""
    places = len(y) if len(y) < size else len(y) - size + 1
    start = int(random.random() * places)
    return np.resize(np.roll(y, -start), size) if len(y) < size else y[start : start + size]


def power_of_two(size: int) -> int:
    """Return the lowest power of two that is no less than a length: Fourier transforms of it are fast."""
    return 1 << (size - 1).bit_length()
