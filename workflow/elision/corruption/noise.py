"""Noise in place of what is missing: pure functions of (seed, sample, modality, stream).

The noise scheduler of NMER (Fan et al., arXiv 2311.16114) replaces a missing modality by a noisy copy of itself, one
step x_t = sqrt(abar_t) x + sqrt(1 - abar_t) n of the forward process of a diffusion model. Its intensity T is the
number of steps: the betas keep their ends, so that more steps destroy more (but under ``squared_cosine``).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from elision.corruption.missing import generator, generators

Kind = Literal["gaussian", "impulse"]
Schedule = Literal["scaled_linear", "linear", "squared_cosine", "sigmoid"]

_LARGEST_BETA = 0.999
_COSINE_OFFSET = 0.008
_SIGMOID_END = 6.0
_ZERO_SHARE = 0.7  # of the entries of impulse noise; the official code calls it the frequency of occurrence


def betas(schedule: Schedule, steps: int, first: float = 0.01, last: float = 0.5) -> np.ndarray:
    """Return the share of the variance that each step turns into noise.

    Parameters
    ----------
    schedule : str
        How the betas go from ``first`` to ``last``. ``scaled_linear`` (NMER): their roots are equidistant; ``linear``:
        they are; ``sigmoid``: along the logistic function between -6 and 6, whose ends miss theirs by 0.25 % of the
        range; ``squared_cosine``: those for which abar is a squared cosine, capped at 0.999, whatever ``first`` and
        ``last`` (Nichol and Dhariwal, arXiv 2102.09672, equation 17).
    steps : int, at least 1
        Time steps T: the intensity of the noise.
    first, last : float in (0, 1)

    Returns
    -------
    beta : np.ndarray [shape=(T,), dtype=float64]

    Raises
    ------
    ValueError
        If there is no such schedule, or no step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; noise needs at least one time step")
    if schedule == "scaled_linear":
        return np.linspace(np.sqrt(first), np.sqrt(last), steps) ** 2
    if schedule == "linear":
        return np.linspace(first, last, steps)
    if schedule == "sigmoid":
        return first + (last - first) / (1 + np.exp(-np.linspace(-_SIGMOID_END, _SIGMOID_END, steps)))
    if schedule == "squared_cosine":
        time = np.arange(steps + 1) / steps
        left = np.cos((time + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2) ** 2
        return np.minimum(1 - left[1:] / left[:-1], _LARGEST_BETA)
    raise ValueError(f"unknown schedule {schedule!r}; choose scaled_linear, linear, squared_cosine or sigmoid")


def remaining(betas: np.ndarray) -> np.ndarray:
    """Return abar, the share of the variance of the signal that is left after each step [shape=(T,), dtype=float64]."""
    return np.cumprod(1 - betas)


def times(*, seed: int, stream: str, ids: Sequence[str] | np.ndarray, modality: str) -> np.ndarray:
    """Draw the time of one modality of every sample.

    Parameters
    ----------
    seed : int
    stream : str
        Sets draws apart: ``test``, ``train 3`` (epoch 3), ...
    ids : sequence of N str
        Sample ids; the result belongs to the ids, not to their order.
    modality : str
        Modalities have independent draws.

    Returns
    -------
    time : np.ndarray [shape=(N,), dtype=float64]
        Uniform in [0, 1). Of T steps, it is step floor(time * T), so that a sample is early or late at every intensity.
    """
    drawn = generators(seed, stream, "noise time", modality, names=ids)
    return np.array([random.random() for random in drawn], np.float64)


def draw(kind: str, *, seed: int, stream: str, name: str, modality: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the noise of one modality of a sample; a longer sample begins with the same noise.

    Parameters
    ----------
    kind : str
        ``gaussian``: standard normal; ``impulse``: +1 or -1 in 30 % of the entries, 0 in the others, with the signs of
        the Gaussian noise.
    seed : int
    stream : str
        As in `times`.
    name : str
        Sample id.
    modality : str
    shape : tuple of int
        (T, d): frames, and values in a frame.

    Returns
    -------
    noise : np.ndarray [shape=(T, d), dtype=float32]

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"no kind of noise: {kind!r}; choose one of {', '.join(get_args(Kind))}")
    noise = generator(seed, stream, "noise", modality, name).standard_normal(shape, dtype=np.float32)
    if kind == "gaussian":
        return noise
    struck = generator(seed, stream, "impulse", modality, name).random(shape, dtype=np.float32) > _ZERO_SHARE
    return np.where(struck, np.sign(noise), np.float32(0))


def noisy(
    x: np.ndarray,
    noise: np.ndarray,
    abar_t: float | np.ndarray,
    *,
    mean: np.ndarray | None = None,
    deviation: np.ndarray | None = None,
) -> np.ndarray:
    """Mix a signal with noise: sqrt(abar) x + sqrt(1 - abar) n.

    A signal in another unit is mixed as if it were standardised: m + sqrt(abar) (x - m) + sqrt(1 - abar) s n. Impulse
    noise, too, weakens the signal everywhere, also where there is no impulse.

    Parameters
    ----------
    x, noise : np.ndarray or Tensor [shape=(T, d), dtype=float32]
        Without ``mean`` and ``deviation``, the signal is meant to be standardised.
    abar_t : float in [0, 1], or np.ndarray
        Share of the signal's variance that is left; an array, such as one per frame [shape=(T, 1)], is broadcast.
    mean, deviation : np.ndarray or Tensor [shape=(d,)], optional
        Of the signal; by default 0 and 1.

    Returns
    -------
    x_t : np.ndarray or Tensor [shape=(T, d)]

    Examples
    --------
    The noise of a feature does not depend on its unit:

    >>> import numpy as np
    >>> from elision.corruption import noise
    >>> x, n = np.array([[0.5], [-1.0]]), np.array([[1.0], [0.0]])
    >>> other = noise.noisy(3 + 0.2 * x, n, 0.36, mean=np.array([3.0]), deviation=np.array([0.2]))
    >>> bool(np.allclose(other, 3 + 0.2 * noise.noisy(x, n, 0.36)))
    True
    """
    mixed = abar_t**0.5 * x + (1 - abar_t) ** 0.5 * (noise if deviation is None else deviation * noise)
    return mixed if mean is None else mixed + (1 - abar_t**0.5) * mean
